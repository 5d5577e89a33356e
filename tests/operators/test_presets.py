"""Named degradations: closed forms where nothing is random, published tables where something is, and the records."""

from __future__ import annotations

import json
import math
from collections import Counter
from typing import Any

import numpy as np
import pytest
import torch
from scipy import ndimage
from skimage import data as skimage_data
from torch import Tensor

from mezzotint.errors import InputError, UsageError
from mezzotint.noise import Noise
from mezzotint.operators import presets
from mezzotint.operators.degradation import degrade
from mezzotint.operators.kernels import GaussianKernel, GeneralisedKernel, PlateauKernel, SincKernel
from mezzotint.operators.presets import PRESETS, Draws, preset


def astronaut(height: int = 96, width: int = 112) -> Tensor:
    return torch.from_numpy(skimage_data.astronaut()[40 : 40 + height, 150 : 150 + width].copy()).movedim(-1, 0)[None]


def stages(name: str, *, seed: int = 0, scale: int = 4, size: tuple[int, int] = (96, 112)) -> list[dict[str, Any]]:
    return preset(name).chain(Noise(seed), size=size, scale=scale).record()


# --- nothing at random


@pytest.mark.parametrize("kind", ["uint8", "float"])
def test_bicubic_is_the_operator(kind: str) -> None:
    y = astronaut() if kind == "uint8" else astronaut().double() / 255
    assert torch.equal(degrade(y, preset="bicubic")[0], degrade(y)[0])


def test_bd_is_the_filter_of_matlab_and_every_third_pixel() -> None:
    """fspecial('gaussian', 7, 1.6), imfilter 'replicate', imresize 'nearest' by 1/3: the middle of every cell."""
    y = astronaut(96, 111)
    line = np.exp(-(np.arange(-3, 4) ** 2) / (2 * 1.6**2))
    kernel = np.outer(line, line) / np.outer(line, line).sum()
    blurred = np.stack([ndimage.correlate(c.numpy().astype(float), kernel, mode="nearest") for c in y[0]])
    expected = np.floor(blurred[:, 1::3, 1::3] + 0.5).clip(0, 255)
    x, record = degrade(y, preset="bd", scale=3)
    difference = (x[0].double() - torch.from_numpy(expected)).abs()
    assert float(difference.max()) <= 1 and float(difference.mean()) < 1e-3  # halves, in float32
    assert [stage["stage"] for stage in record["stages"][0]] == ["modcrop", "filter", "eight-bit"]


@pytest.mark.parametrize(("scale", "first", "last"), [(2, 0.8, 1.5), (3, 1.35, 2.4), (4, 1.8, 3.2)])
def test_gaussian8_draws_one_of_eight_widths(scale: int, first: float, last: float) -> None:
    drawn = Counter(stages("gaussian8", seed=seed, scale=scale)[1]["sigmas"][0] for seed in range(200))
    assert sorted(drawn) == pytest.approx(np.linspace(first, last, 8).tolist())
    assert min(drawn.values()) >= 10
    assert all(stages("gaussian8", seed=s, scale=scale)[1]["size"] == 21 for s in range(3))


# --- seeds, sizes, records


@pytest.mark.parametrize("name", list(PRESETS))
def test_the_seed_and_the_picture_decide_alone(name: str) -> None:
    pair = torch.cat([astronaut(), astronaut().flip(-1)])
    x, record = degrade(pair, preset=name, seed=3, pictures=(11, 12))
    assert x.shape == (2, 3, 24, 28) and x.dtype == torch.uint8
    assert record["preset"] == name and record["size_out"] == [24, 28]
    assert json.loads(json.dumps(record)) == record and len(record["stages"]) == 2
    for index, number in enumerate((11, 12)):
        alone, one = degrade(pair[index : index + 1], preset=name, seed=3, pictures=(number,))
        assert torch.equal(alone[0], x[index]) and one["stages"] == record["stages"][index : index + 1]
    other, _ = degrade(pair, preset=name, seed=5, pictures=(11, 12))
    assert torch.equal(other, x) == (name in ("bicubic", "bd"))


@pytest.mark.parametrize("name", ["bsrgan", "real-esrgan"])
@pytest.mark.parametrize("seed", range(12))
def test_sizes_are_exact_whatever_is_drawn(name: str, seed: int) -> None:
    for scale, size in ((4, (50, 67)), (2, (31, 40)), (4, (4, 5))):
        y = astronaut(*size).float() / 255
        x, _ = degrade(y, preset=name, scale=scale, seed=seed)
        assert x.shape[-2:] == (size[0] // scale, size[1] // scale)
        assert float(x.min()) >= 0 and float(x.max()) <= 1
        levels = x * 255
        torch.testing.assert_close(levels, levels.round(), rtol=0, atol=1e-4)


@pytest.mark.parametrize("name", ["bsrgan", "real-esrgan"])
def test_grey_pictures_are_taken_too(name: str) -> None:
    for seed in range(8):
        x, _ = degrade(astronaut()[:, :1], preset=name, seed=seed)
        assert x.shape == (1, 1, 24, 28)


@pytest.mark.parametrize("name", ["bicubic", "bd", "gaussian8", "bsrgan", "real-esrgan"])
def test_gradients_reach_the_large_picture(name: str) -> None:
    y = (0.2 + 0.6 * astronaut(64, 64).double() / 255).requires_grad_()
    for seed in range(3):
        x, record = degrade(y, preset=name, seed=seed, differentiable=True)
        (gradient,) = torch.autograd.grad(x.mean(), y)
        assert bool(torch.isfinite(gradient).all())
        # A reduction that keeps the mean hands every large pixel its part of it.
        assert float(gradient.sum()) == pytest.approx(1, abs=0.35), (seed, record)


def test_libjpeg_has_no_gradients_and_says_so() -> None:
    y = astronaut(32, 32).float().div(255).requires_grad_()
    with pytest.raises(UsageError, match="DifferentiableJpeg"):
        degrade(y, preset="real-esrgan")
    x, record = degrade(y, jpeg=50, differentiable=True)
    assert record["stages"][-1]["rounding"] == "straight-through" and x.requires_grad


def test_libjpeg_and_the_differentiable_codec_make_nearly_the_same() -> None:
    y = astronaut().float() / 255
    hard, _ = degrade(y, preset="real-esrgan", seed=2)
    soft, _ = degrade(y, preset="real-esrgan", seed=2, differentiable=True)
    assert float(10 * torch.log10(1 / (hard - soft).square().mean())) > 38


# --- the published tables


def draws(seed: int) -> Draws:
    return Draws(Noise(seed))


def share(count: int, total: int, probability: float) -> bool:
    """Whether a count is within four standard deviations of what is expected."""
    return abs(count - total * probability) <= 4 * math.sqrt(total * probability * (1 - probability))


@pytest.mark.parametrize(("order", "sigma"), [(presets._FIRST, (0.2, 3.0)), (presets._SECOND, (0.2, 1.5))])
def test_real_esrgans_kernels(order: presets._Order, sigma: tuple[float, float]) -> None:
    total = 2500
    source, found, sizes = draws(1), Counter(), Counter()
    for _ in range(total):
        kernel = presets._real_esrgan_kernel(source, order)
        sizes[kernel.size] += 1
        if isinstance(kernel, SincKernel):
            found["sinc"] += 1
            assert math.pi / (3 if kernel.size < 13 else 5) <= kernel.cutoff <= math.pi
            continue
        assert isinstance(kernel, GaussianKernel | GeneralisedKernel | PlateauKernel)
        assert all(sigma[0] <= s <= sigma[1] for s in kernel.sigmas) and abs(kernel.angle) <= math.pi
        equal = "iso" if kernel.sigmas[0] == kernel.sigmas[1] else "aniso"
        found[f"{type(kernel).__name__} {equal}"] += 1
        if isinstance(kernel, GeneralisedKernel):
            found["beta below 1"] += kernel.beta < 1
            assert 0.5 <= kernel.beta <= 4
        if isinstance(kernel, PlateauKernel):
            found["plateau 1"] += kernel.beta == 1
            assert 1 <= kernel.beta <= 2
    assert sorted(sizes) == list(range(7, 22, 2)) and all(share(n, total, 1 / 8) for n in sizes.values())
    assert share(found["sinc"], total, 0.1)
    expected = {"GaussianKernel": (0.45, 0.25), "GeneralisedKernel": (0.12, 0.03), "PlateauKernel": (0.12, 0.03)}
    for name, (iso, aniso) in expected.items():
        assert share(found[f"{name} iso"], total, 0.9 * iso) and share(found[f"{name} aniso"], total, 0.9 * aniso)
    assert share(found["beta below 1"], found["GeneralisedKernel iso"] + found["GeneralisedKernel aniso"], 0.5)
    assert share(found["plateau 1"], found["PlateauKernel iso"] + found["PlateauKernel aniso"], 0.5)


def test_real_esrgans_sizes_noise_and_order() -> None:
    total, found = 400, Counter()
    for seed in range(total):
        record = stages("real-esrgan", seed=seed, size=(400, 400))
        names = [stage["stage"] for stage in record]
        assert names[:3] == ["modcrop", "sharpen", "filter"] and names[-1] == "eight-bit"
        resizes = [stage["size"][0] for stage in record if stage["stage"] == "resize"]
        assert len(resizes) == 3 and resizes[2] == 100
        first, second = resizes[0] / 400, resizes[1] / 100
        assert 0.15 - 0.01 <= first <= 1.5 and 0.3 - 0.01 <= second <= 1.2
        found["up"] += first > 1
        found["keep"] += first == 1
        found["up 2"] += second > 1
        found["keep 2"] += second == 1
        noises = [stage for stage in record if stage["stage"] in ("noise", "poisson")]
        assert len(noises) == 2 and [noise["draw"] for noise in noises] == [0, 1]
        for noise, sigma, strength in zip(noises, (30, 25), (3, 2.5), strict=True):
            gaussian = noise["stage"] == "noise"
            found["gaussian"] += gaussian
            found["grey"] += noise.get("channels") == "grey" or noise.get("grey", False)
            assert 1 <= noise["sigma"] <= sigma if gaussian else 0.05 <= noise["strength"] <= strength
        assert all(30 <= stage["quality"] <= 95 for stage in record if stage["stage"] == "jpeg")
        found["jpeg last"] += names[-2] == "jpeg"
        found["filters"] += names.count("filter")
    for name, probability in (("up", 0.2), ("keep", 0.1), ("up 2", 0.3), ("keep 2", 0.3), ("jpeg last", 0.5)):
        # A size of 100 pixels rounds some factors to 1.
        assert abs(found[name] / total - probability) < 0.08, (name, found[name])
    assert share(found["gaussian"], 2 * total, 0.5) and share(found["grey"], 2 * total, 0.4)
    assert found["filters"] / total == pytest.approx(1 + 0.8 + 0.8, abs=0.1)


def test_bsrgans_order_and_ranges() -> None:
    total, found = 400, Counter()
    for seed in range(total):
        record = stages("bsrgan", seed=seed, size=(288, 288))
        names = [stage["stage"] for stage in record]
        assert names[-2:] == ["eight-bit", "jpeg"]
        halved = names[1] == "resize" and record[1]["size"] == [144, 144] and names[2] == "clip"
        reductions = [s for s in record if s["stage"] == "resize" or (s["stage"] == "filter" and s["scale"] > 1)]
        found["halved"] += halved and len(reductions) == 3
        assert reductions[-1]["size"] == [72, 72]
        found["decimated"] += any(s["stage"] == "filter" and s["scale"] > 1 for s in record)
        blurs = [stage for stage in record if stage["stage"] == "filter" and stage["scale"] == 1]
        assert len(blurs) == 2 and all(7 <= blur["size"] <= 25 for blur in blurs)
        found["isotropic"] += sum(blur["sigmas"][0] == blur["sigmas"][1] for blur in blurs)
        assert all(max(blur["sigmas"]) <= math.sqrt(8) + 1e-9 for blur in blurs)
        (noise,) = [stage for stage in record if stage["stage"] == "noise"]
        kind = "correlated" if "covariance" in noise else noise.get("channels", "independent")
        found[kind] += 1
        assert "covariance" in noise or 2 <= noise["sigma"] <= 25 and noise["sigma"] == int(noise["sigma"])
        found["jpegs"] += names.count("jpeg")
        found["blur first"] += names[1 + 2 * halved] == "filter" and record[1 + 2 * halved]["scale"] == 1
    assert share(found["halved"], total, 0.25) and share(found["decimated"], total, 0.25)
    assert share(found["isotropic"], 2 * total, 0.5)
    assert share(found["independent"], total, 0.4) and share(found["grey"], total, 0.4)
    assert share(found["correlated"], total, 0.2) and share(found["jpegs"] - total, total, 0.9)
    # Two of seven steps; the camera's, and JPEG a tenth of times, leave no stage.
    assert 0.25 < found["blur first"] / total < 0.5


def test_draws_are_uniform_and_their_choices_weighted() -> None:
    source, total = draws(0), 3000
    numbers = [source.uniform(2, 4) for _ in range(total)]
    assert min(numbers) >= 2 and max(numbers) <= 4 and np.mean(numbers) == pytest.approx(3, abs=0.05)
    assert len(set(numbers)) == total
    whole = Counter(source.integer(3, 5) for _ in range(total))
    assert sorted(whole) == [3, 4, 5] and all(share(n, total, 1 / 3) for n in whole.values())
    weighted = Counter(source.choice("abc", (1, 0, 3)) for _ in range(total))
    assert sorted(weighted) == ["a", "c"] and share(weighted["c"], total, 0.75)
    orders = Counter(tuple(source.permutation(3)) for _ in range(total))
    assert len(orders) == 6 and all(share(n, total, 1 / 6) for n in orders.values())
    assert [source.field(), source.field()] == [0, 1]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"preset": "esrgan"}, "esrgan.*bicubic, bd, gaussian8, bsrgan, real-esrgan"),
        ({"preset": "gaussian8", "scale": 8}, "no scale 8: use 2, 3, 4"),
        ({"preset": "bsrgan", "scale": 2.5}, "no scale 2.5"),
        ({"preset": "bd", "operator": "average"}, "has its own operator"),
        ({"preset": "bd", "noise": 3}, "has its own operator"),
        ({"preset": "bd", "jpeg": 30}, "has its own operator"),
        ({"preset": "bicubic", "bits": None}, "no preset"),
    ],
)
def test_refuses(settings: dict, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        degrade(torch.zeros(1, 3, 16, 16), **settings)


def test_refuses_what_is_smaller_than_a_cell() -> None:
    for name in PRESETS:
        with pytest.raises(InputError, match="3x9.*smaller"):
            degrade(torch.zeros(1, 3, 3, 9), preset=name)
