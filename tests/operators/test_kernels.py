"""Blur kernels against closed forms, moments and SciPy."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from scipy import special

from mezzotint.errors import UsageError
from mezzotint.noise import Noise
from mezzotint.operators.kernels import (
    BlurKernel,
    GaussianKernel,
    GeneralisedKernel,
    GivenKernel,
    PlateauKernel,
    SincKernel,
    roughened,
)

FAMILIES: dict[str, BlurKernel] = {
    "gaussian": GaussianKernel(size=21, sigmas=(2.0, 2.0)),
    "slanted": GaussianKernel(size=25, sigmas=(2.5, 1.0), angle=0.5),
    "generalised": GeneralisedKernel(size=21, sigmas=(2.0, 1.0), angle=-0.3, beta=0.7),
    "plateau": PlateauKernel(size=15, sigmas=(3.0, 2.0), angle=1.0, beta=2.0),
    "sinc": SincKernel(size=21, cutoff=1.5),
    "given": GivenKernel(((0.0, 1.0, 0.0), (1.0, 4.0, 1.0), (0.0, 1.0, 0.0))),
}


def offsets(kernel: BlurKernel, centre: tuple[float, float] = (0.0, 0.0)) -> tuple[torch.Tensor, ...]:
    """Weights, and how far down and right of the centre each pixel is."""
    sampled = kernel.sample(centre)
    rows = sampled.top + torch.arange(sampled.weights.shape[0], dtype=torch.float64) - centre[0]
    columns = sampled.left + torch.arange(sampled.weights.shape[1], dtype=torch.float64) - centre[1]
    return sampled.weights, rows[:, None].expand_as(sampled.weights), columns.expand_as(sampled.weights)


@pytest.mark.parametrize("name", list(FAMILIES))
@pytest.mark.parametrize("centre", [(0.0, 0.0), (0.5, 0.5), (1.5, 0.0), (-7.0, 3.5)])
def test_sums_to_one_about_its_centre(name: str, centre: tuple[float, float]) -> None:
    weights, down, right = offsets(FAMILIES[name], centre)
    assert float(weights.sum()) == pytest.approx(1, abs=1e-14)
    assert float((weights * down).sum()) == pytest.approx(0, abs=1e-12)
    assert float((weights * right).sum()) == pytest.approx(0, abs=1e-12)
    torch.testing.assert_close(weights, weights.flip(0, 1), rtol=0, atol=1e-15)


@pytest.mark.parametrize("name", [name for name in FAMILIES if name != "given"])
def test_sizes(name: str) -> None:
    size = FAMILIES[name].size
    assert FAMILIES[name].weights().shape == (size, size)
    assert FAMILIES[name].sample((0.5, 0.0)).weights.shape == (size - 1, size)


@pytest.mark.parametrize("centre", [(0.0, 0.0), (0.5, 0.5)])
def test_moments_of_a_gaussian_are_its_covariance(centre: tuple[float, float]) -> None:
    """R(angle) diag(sigma^2) R(angle)^T with the first axis to the right, turning towards the bottom."""
    angle, sigmas = 0.5, (2.0, 1.2)
    weights, down, right = offsets(GaussianKernel(size=41, sigmas=sigmas, angle=angle), centre)
    c, s = math.cos(angle), math.sin(angle)
    assert float((weights * right * right).sum()) == pytest.approx(c * c * 4 + s * s * 1.44, rel=1e-6)
    assert float((weights * down * down).sum()) == pytest.approx(s * s * 4 + c * c * 1.44, rel=1e-6)
    assert float((weights * down * right).sum()) == pytest.approx(c * s * (4 - 1.44), rel=1e-6)


def test_bsrgan_counts_in_variances() -> None:
    by_variance = GaussianKernel.from_eigenvalues(size=15, eigenvalues=(4.0, 2.25), angle=0.3)
    assert by_variance == GaussianKernel(size=15, sigmas=(2.0, 1.5), angle=0.3)


def test_an_isotropic_gaussian_is_a_product() -> None:
    line = torch.exp(-torch.arange(-10, 11, dtype=torch.float64).square() / (2 * 1.3**2))
    line /= line.sum()
    torch.testing.assert_close(
        GaussianKernel(size=21, sigmas=(1.3, 1.3)).weights(), line[:, None] * line, rtol=0, atol=1e-16
    )


def test_the_generalised_gaussian_of_beta_one_is_the_gaussian() -> None:
    settings = {"size": 13, "sigmas": (2.0, 0.7), "angle": 0.4}
    a, b = GeneralisedKernel(beta=1.0, **settings).weights(), GaussianKernel(**settings).weights()
    torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-18)


@pytest.mark.parametrize("beta", [0.5, 1.0, 2.0])
def test_ratios_of_weights_are_the_closed_forms(beta: float) -> None:
    q = (2 / 1.5) ** 2  # two pixels along the axis of sigma 1.5
    general = GeneralisedKernel(size=9, sigmas=(1.5, 3.0), beta=beta).weights()
    assert float(general[4, 6] / general[4, 4]) == pytest.approx(math.exp(-0.5 * q**beta))
    plateau = PlateauKernel(size=9, sigmas=(1.5, 3.0), beta=beta).weights()
    assert float(plateau[4, 6] / plateau[4, 4]) == pytest.approx(1 / (1 + q**beta))
    assert float(plateau[6, 4] / plateau[4, 4]) == pytest.approx(1 / (1 + (2 / 3) ** (2 * beta)))


@pytest.mark.parametrize("cutoff", [math.pi / 5, 1.5, math.pi])
def test_sinc_is_scipys_bessel_function(cutoff: float) -> None:
    down, right = np.mgrid[-6:7, -6:7].astype(float)
    r = np.hypot(down, right)
    r[6, 6] = 1
    expected = cutoff * special.j1(cutoff * r) / (2 * np.pi * r)
    expected[6, 6] = cutoff**2 / (4 * np.pi)
    expected /= expected.sum()
    made = SincKernel(size=13, cutoff=cutoff).weights()
    torch.testing.assert_close(made, torch.from_numpy(expected), rtol=1e-12, atol=1e-15)


def test_sinc_passes_what_is_below_its_cutoff() -> None:
    weights, _, right = offsets(SincKernel(size=201, cutoff=1.5))
    for frequency, passed in ((0.5, 1.0), (1.0, 1.0), (2.0, 0.0), (3.0, 0.0)):
        assert float((weights * torch.cos(frequency * right)).sum()) == pytest.approx(passed, abs=0.06)


def test_a_given_kernel_between_pixels_is_interpolated() -> None:
    kernel = GivenKernel(((0.0, 0.0, 0.0), (1.0, 2.0, 1.0), (0.0, 0.0, 0.0)))
    assert torch.equal(kernel.weights()[1], torch.tensor([0.25, 0.5, 0.25], dtype=torch.float64))
    half = kernel.sample((0.0, 0.5))
    assert half.left == -1
    torch.testing.assert_close(half.weights[1], torch.tensor([1.0, 3.0, 3.0, 1.0], dtype=torch.float64) / 8)


def test_a_kernel_of_no_width_keeps_the_nearest_pixels() -> None:
    tiny = GaussianKernel(size=7, sigmas=(1e-3, 1e-3))
    expected = torch.zeros(7, 7, dtype=torch.float64)
    expected[3, 3] = 1
    assert torch.equal(tiny.weights(), expected)
    between = tiny.sample((0.5, 0.5)).weights
    assert float(between.max()) == 0.25 and float(between.sum()) == 1
    assert torch.equal(GaussianKernel(size=1, sigmas=(1.0, 1.0)).sample((0.5, 0.0)).weights, torch.ones(1, 1).double())


def test_kernels_are_hashable_and_say_what_they_are() -> None:
    assert len({kernel: name for name, kernel in FAMILIES.items()}) == len(FAMILIES)
    for kernel in FAMILIES.values():
        assert kernel.record()["size"] == kernel.size


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: GaussianKernel(size=4, sigmas=(1, 1)), "size 4.*odd.*21"),
        (lambda: GaussianKernel(size=999, sigmas=(1, 1)), "999"),
        (lambda: GaussianKernel(sigmas=(0, 1)), r"\(0, 1\)"),
        (lambda: GaussianKernel(sigmas=(1, math.nan)), "nan"),
        (lambda: GaussianKernel(sigmas=(1, 1, 1)), "two"),  # type: ignore[arg-type]
        (lambda: GaussianKernel(sigmas=(1, 1), angle=math.inf), "angle inf"),
        (lambda: PlateauKernel(sigmas=(1, 1), beta=0), "beta 0"),
        (lambda: SincKernel(cutoff=4), "cutoff 4.*pi"),
        (lambda: GivenKernel(((1.0, 2.0), (3.0, 4.0))), "odd"),
        (lambda: GivenKernel(((1.0, 2.0, 1.0),)), "square"),
        (lambda: GivenKernel(((0.0,),)), "cancel"),
    ],
)
def test_refuses(build: Callable[[], object], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        build()


def test_roughened_weights_lie_within_their_factors() -> None:
    kernel = FAMILIES["slanted"]
    rough = roughened(kernel, Noise(3), draw=2)
    assert rough == roughened(kernel, Noise(3), draw=2) != roughened(kernel, Noise(3), draw=1)
    ratio = rough.weights() / kernel.weights()
    assert float(ratio.max() / ratio.min()) <= 1.25 / 0.75 + 1e-9
    assert float(ratio.max() / ratio.min()) > 1.6  # 625 numbers reach both ends
    with pytest.raises(UsageError, match="from 0 to 1"):
        roughened(kernel, Noise(0), low=0, high=1)
