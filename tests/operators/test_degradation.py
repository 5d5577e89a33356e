"""Small test pictures: every stage against a closed form or another library, the chain against its record."""

from __future__ import annotations

import io
import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.ndimage import gaussian_filter
from skimage import data as skimage_data
from torch import Tensor

from mezzotint.errors import InputError, UsageError
from mezzotint.noise import Noise
from mezzotint.operators.degradation import (
    AddNoise,
    Average,
    Bicubic,
    Chroma,
    Degradation,
    EightBit,
    Gaussian,
    Jpeg,
    Modcrop,
    degrade,
    jpeg_round_trip,
    reduction,
)
from mezzotint.operators.resize import imresize, imresize_uint8

NOISE = Noise(0)


def astronaut() -> Tensor:
    return torch.from_numpy(skimage_data.astronaut().copy()).movedim(-1, 0)[None]


def grey_levels(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed)) * 255


def test_bicubic_of_8_bit_pictures_is_matlab_to_the_bit(shared_data: Path) -> None:
    y = torch.from_numpy(np.array(Image.open(shared_data / "bench" / "Set5" / "woman.png"))).movedim(-1, 0)[
        None
    ]
    x, record = degrade(y, scale=4)
    matlab = Image.open(shared_data / "bench" / "matlab_lr" / "Set5_X4" / "womanx4.png")
    assert torch.equal(x[0].movedim(0, -1), torch.from_numpy(np.array(matlab)))
    assert record["size_in"] == [344, 228] and record["size_out"] == [86, 57]


def test_float_pictures_are_rounded_once() -> None:
    y = astronaut()[:, :, :101, :102]
    x, _ = degrade(y.double() / 255, scale=3)
    exact = imresize(y.double()[:, :, :99, :102], scale=1 / 3)
    assert torch.equal(x * 255, torch.floor(exact.clamp(0, 255) + 0.5))
    unrounded, _ = degrade(y.double() / 255, scale=3, bits=None)
    torch.testing.assert_close(unrounded * 255, exact, rtol=0, atol=1e-11)


def test_crop_keeps_the_top_left_and_other_scales_do_not_crop() -> None:
    y = grey_levels(1, 1, 11, 14).to(torch.uint8)
    x, record = degrade(y, scale=4)
    assert torch.equal(x, imresize_uint8(y[..., :8, :12], scale=1 / 4))
    assert record["stages"][0] == {"stage": "modcrop", "multiple": 4, "kept": "top left"}
    x, record = degrade(y, scale=2.5)
    assert x.shape[-2:] == (5, 6) and record["stages"][0]["stage"] == "bicubic"


def test_average_is_the_mean_of_cells() -> None:
    y = grey_levels(2, 3, 12, 8)
    cells = y.reshape(2, 3, 3, 4, 2, 4).mean((3, 5))
    torch.testing.assert_close(Average(scale=4).apply(y, noise=NOISE), cells)


@pytest.mark.parametrize("sigma", [0.8, 1.6, 3.0])
def test_gaussian_with_odd_scale_equals_scipy(sigma: float) -> None:
    y = grey_levels(1, 1, 30, 45)
    x = Gaussian(scale=3, sigma=sigma).apply(y, noise=NOISE)
    blurred = gaussian_filter(y[0, 0].numpy(), sigma, mode="reflect", radius=math.floor(4 * sigma))
    torch.testing.assert_close(x[0, 0], torch.from_numpy(blurred[1::3, 1::3].copy()), rtol=0, atol=1e-10)


@pytest.mark.parametrize("scale", [1, 2, 3, 4])
@pytest.mark.parametrize("sigma", [1e-3, 0.3, 1.6, 3.2])
def test_gaussian_is_aligned_with_the_cells(scale: int, sigma: float) -> None:
    """A ramp has the value of the cell's middle, constants stay, mirroring commutes."""
    gaussian = Gaussian(scale=scale, sigma=sigma)
    ramp = torch.arange(30 * scale, dtype=torch.float64).expand(1, 1, 2 * scale, -1)
    middles = torch.arange(30, dtype=torch.float64) * scale + (scale - 1) / 2
    inside = slice(13, -13)
    made = gaussian.apply(ramp, noise=NOISE)[0, 0, 0]
    torch.testing.assert_close(made[inside], middles[inside], rtol=0, atol=1e-10)
    y = grey_levels(1, 2, 5 * scale, 7 * scale)
    torch.testing.assert_close(
        gaussian.apply(y.flip(-1, -2), noise=NOISE),
        gaussian.apply(y, noise=NOISE).flip(-1, -2),
        rtol=0,
        atol=1e-10,
    )
    constant = torch.full((1, 1, scale, scale), 17.0, dtype=torch.float64)
    torch.testing.assert_close(gaussian.apply(constant, noise=NOISE), constant[..., :1, :1])


def test_noise_is_that_of_the_stream_and_of_the_stated_size() -> None:
    y = torch.full((1, 3, 128, 128), 0.5, dtype=torch.float64)
    x, record = degrade(y, scale=1, operator="identity", noise=10, seed=7, bits=None)
    field = Noise(7).normal("degradation", 0, (1, 3, 128, 128))
    torch.testing.assert_close(x * 255, 127.5 + 10 * field, rtol=0, atol=1e-11)
    assert float((x * 255).std()) == pytest.approx(10, rel=0.02)
    assert (
        record["seed"] == 7
        and {"stage": "noise", "sigma": 10, "unit": "grey levels", "draw": 0} in record["stages"]
    )


def test_noise_depends_on_seed_and_picture_and_on_nothing_else() -> None:
    y = astronaut()[:, :, :64, :64]
    pair = torch.cat([y, y.flip(-1)])
    x, _ = degrade(pair, noise=5, seed=1, pictures=(11, 12))
    for index, number in enumerate((11, 12)):
        alone, _ = degrade(pair[index : index + 1], noise=5, seed=1, pictures=(number,))
        assert torch.equal(alone[0], x[index])
    again, _ = degrade(y, noise=5, seed=1, pictures=(11,))
    other_seed, _ = degrade(y, noise=5, seed=2, pictures=(11,))
    other_picture, _ = degrade(y, noise=5, seed=1, pictures=(12,))
    assert torch.equal(again[0], x[0])
    assert not torch.equal(other_seed, again) and not torch.equal(other_picture, again)


def test_no_noise_is_the_limit_of_little_noise() -> None:
    y = astronaut()[:, :, :64, :64]
    assert torch.equal(degrade(y, noise=1e-9)[0], degrade(y)[0])


def test_eight_bit_clips_then_rounds_half_up() -> None:
    y = torch.tensor([-3.0, -0.2, 0.49, 0.5, 1.5, 254.5, 255.4, 300.0], dtype=torch.float64)[None, None, None]
    assert EightBit().apply(y, noise=NOISE).flatten().tolist() == [0, 0, 0, 1, 2, 255, 255, 255]


@pytest.mark.parametrize("quality", [10, 50, 90])
@pytest.mark.parametrize("chroma", ["4:2:0", "4:4:4"])
def test_jpeg_is_that_of_an_independent_libjpeg(quality: int, chroma: Chroma) -> None:
    """Tables and chroma are the same in both; decoders differ by the rounding of their transforms."""
    y = astronaut()[:, :, 100:196, 100:228]
    made = jpeg_round_trip(y[0].movedim(0, -1).numpy(), quality=quality, chroma=chroma)
    buffer = io.BytesIO()
    Image.fromarray(y[0].movedim(0, -1).numpy()).save(
        buffer, "JPEG", quality=quality, subsampling={"4:2:0": 2, "4:4:4": 0}[chroma]
    )
    pillow = np.asarray(Image.open(buffer))
    difference = np.abs(made.astype(int) - pillow.astype(int))
    assert difference.mean() < 0.05 and difference.max() <= 8
    other = jpeg_round_trip(y[0].movedim(0, -1).numpy(), quality=quality - 5, chroma=chroma)
    assert np.abs(other.astype(int) - pillow.astype(int)).mean() > 0.2


@pytest.mark.parametrize("channels", [1, 3])
def test_jpeg_of_a_constant_errs_by_at_most_its_first_table_entry(channels: int) -> None:
    for quality, first in ((10, 80), (50, 16), (90, 3)):
        y = torch.full((2, channels, 17, 23), 77.0, dtype=torch.float64)
        x = Jpeg(quality=quality).apply(y, noise=NOISE)
        assert x.shape == y.shape and x.dtype == y.dtype
        assert float((x - y).abs().max()) <= first / 16 + 1


def test_a_codec_can_be_brought_and_comes_last() -> None:
    seen: list[tuple[np.ndarray, int, str]] = []

    def codec(pixels: np.ndarray, /, *, quality: int, chroma: str) -> np.ndarray:
        seen.append((pixels.copy(), quality, chroma))
        return 255 - pixels

    y = astronaut()[:, :, :40, :48]
    without, _ = degrade(y, noise=20, seed=3)
    x, record = degrade(y, noise=20, seed=3, jpeg=40, codec=codec)
    assert torch.equal(x, 255 - without)
    assert len(seen) == 1 and seen[0][1:] == (40, "4:2:0")
    assert np.array_equal(seen[0][0], without[0].movedim(0, -1).numpy())
    assert [stage["stage"] for stage in record["stages"]] == [
        "modcrop",
        "bicubic",
        "noise",
        "eight-bit",
        "jpeg",
    ]


def test_the_record_is_json_and_names_every_setting() -> None:
    y = astronaut()[:, :, :41, :50]
    _, record = degrade(y, scale=2, operator="gaussian:1.2", noise=3.5, jpeg=60, seed=5, pictures=(9,))
    assert json.loads(json.dumps(record)) == record
    assert record == {
        "operator": "gaussian:1.2",
        "scale": 2,
        "seed": 5,
        "pictures": [9],
        "size_in": [41, 50],
        "size_out": [20, 25],
        "stages": [
            {"stage": "modcrop", "multiple": 2, "kept": "top left"},
            {"stage": "gaussian", "scale": 2, "sigma": 1.2, "phase": "cell centre"},
            {"stage": "noise", "sigma": 3.5, "unit": "grey levels", "draw": 0},
            {"stage": "eight-bit"},
            {"stage": "jpeg", "quality": 60, "chroma": "4:2:0"},
        ],
    }


def test_type_and_range_are_those_of_the_input() -> None:
    y = astronaut()[:, :1, :16, :16]
    for picture in (y, y.float() / 255, y.double() / 255, (y.float() / 255).half()):
        before = picture.clone()
        x, _ = degrade(picture, noise=4, jpeg=80)
        assert x.dtype == picture.dtype and x.shape == (1, 1, 4, 4)
        assert torch.equal(picture, before)
        if picture.is_floating_point():
            assert float(x.min()) >= 0 and float(x.max()) <= 1


def test_stages_compose_as_one_likes() -> None:
    y = grey_levels(1, 1, 9, 9)
    chain = Degradation(
        stages=(Modcrop(multiple=4), AddNoise(sigma=1, draw=0), Bicubic(scale=4), AddNoise(sigma=1, draw=1))
    )
    first, second = (
        Noise(0).normal("degradation", 0, (1, 1, 8, 8)),
        Noise(0).normal("degradation", 1, (1, 1, 2, 2)),
    )
    expected = imresize(y[..., :8, :8] + first, scale=1 / 4) + second
    torch.testing.assert_close(chain.apply(y, noise=NOISE), expected)
    assert reduction("identity", scale=1) == ()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"scale": 0}, "scale 0"),
        ({"scale": float("nan")}, "scale nan"),
        ({"scale": 1e9}, "1024"),
        ({"operator": "blur"}, "blur.*bicubic, lanczos"),
        ({"operator": "bicubic:3"}, "bicubic:3"),
        ({"operator": "gaussian"}, "gaussian:1.6"),
        ({"operator": "gaussian:-1"}, "gaussian:-1"),
        ({"operator": "average", "scale": 2.5}, "whole scale"),
        ({"operator": "identity"}, "scale 1"),
        ({"noise": -1}, "noise -1"),
        ({"noise": float("inf")}, "noise inf"),
        ({"jpeg": 0}, "quality 0"),
        ({"jpeg": 101}, "quality 101"),
        ({"seed": -1}, "-1"),
        ({"pictures": (1, 2)}, "2 pictures"),
        ({"bits": None}, "float"),
    ],
)
def test_bad_settings_are_refused(settings: dict, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        degrade(torch.zeros(1, 3, 8, 8, dtype=torch.uint8), **settings)


def test_bad_pictures_are_refused() -> None:
    with pytest.raises(InputError, match="3x9.*smaller"):
        degrade(torch.zeros(1, 3, 3, 9, dtype=torch.uint8))
    with pytest.raises(InputError, match="2"):
        degrade(torch.zeros(1, 2, 8, 8, dtype=torch.uint8), jpeg=50)
    with pytest.raises(InputError, match="not numbers"):
        degrade(torch.full((1, 1, 8, 8), math.nan))
    with pytest.raises(UsageError, match="b c h w"):
        degrade(torch.zeros(3, 8, 8, dtype=torch.uint8))
    with pytest.raises(UsageError, match="int64"):
        degrade(torch.zeros(1, 3, 8, 8, dtype=torch.int64))
