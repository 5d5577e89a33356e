"""Stages and noise of practical degradations against SciPy, closed forms and the statistics of their distributions."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from scipy import ndimage, stats
from skimage import data as skimage_data
from torch import Tensor

from mezzotint.errors import InputError, UsageError
from mezzotint.noise import Noise
from mezzotint.operators.added_noise import AddNoise, PoissonNoise
from mezzotint.operators.diagonal import LUMINANCE
from mezzotint.operators.kernels import GaussianKernel, GeneralisedKernel, PlateauKernel
from mezzotint.operators.separable import resize
from mezzotint.operators.stages import Clip, EightBit, Filter, Linear, Resize, Sharpen, Stage

NOISE = Noise(5)


def levels(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed)) * 255


def apply(stage: Stage, picture: Tensor) -> Tensor:
    return stage.apply(picture, noise=NOISE)


# --- filters and sizes


@pytest.mark.parametrize("scale", [1, 2, 3, 4])
@pytest.mark.parametrize("size", [7, 21, 25])
def test_isotropic_filters_take_a_short_cut_to_the_same(scale: int, size: int) -> None:
    y = levels(1, 3, 24, 36)
    quick = apply(Filter(kernel=GaussianKernel(size=size, sigmas=(1.6, 1.6)), scale=scale), y)
    slow = apply(Filter(kernel=GeneralisedKernel(size=size, sigmas=(1.6, 1.6), beta=1.0), scale=scale), y)
    torch.testing.assert_close(quick, slow, rtol=0, atol=1e-10)


@pytest.mark.parametrize("mode", ["bilinear", "bicubic", "matlab", "area"])
@pytest.mark.parametrize("size", [(7, 9), (24, 36), (5, 50), (1, 1)])
def test_resizing_keeps_constants_and_gives_the_size(mode: str, size: tuple[int, int]) -> None:
    stage = Resize(height=size[0], width=size[1], mode=mode)  # type: ignore[arg-type]
    x = apply(stage, torch.full((1, 2, 24, 36), 91.0, dtype=torch.float64))
    assert x.shape == (1, 2, *size)
    torch.testing.assert_close(x, torch.full_like(x, 91.0))


def test_area_is_the_integral_over_areas() -> None:
    """A picture of steps, made 60 times larger and averaged: shrinking and enlarging by odd ratios."""
    y = levels(1, 1, 6, 10)
    fine = y.repeat_interleave(60, -2).repeat_interleave(60, -1)
    for height, width in ((4, 3), (9, 12), (6, 10), (5, 8)):
        expected = torch.nn.functional.avg_pool2d(fine, (360 // height, 600 // width))
        torch.testing.assert_close(apply(Resize(height=height, width=width, mode="area"), y), expected)


def test_adaptive_area_counts_every_pixel_that_is_touched() -> None:
    y = levels(1, 1, 1, 5)
    x = apply(Resize(height=1, width=2, mode="adaptive area"), y)
    torch.testing.assert_close(x[0, 0, 0], torch.stack([y[0, 0, 0, :3].mean(), y[0, 0, 0, 2:].mean()]))
    y = levels(1, 2, 24, 36)
    for size in ((7, 9), (10, 36), (24, 11), (30, 50), (1, 1)):
        made = apply(Resize(height=size[0], width=size[1], mode="adaptive area"), y)
        torch.testing.assert_close(made, torch.nn.functional.interpolate(y, size=size, mode="area"))


def test_bicubic_has_the_kernel_of_opencv_and_no_antialiasing() -> None:
    """Half-way between pixels the weights of Keys' cubic with -3/4 are (-3, 19, 19, -3) / 32."""
    y = torch.zeros(1, 1, 1, 16, dtype=torch.float64)
    y[..., 8] = 255
    x = apply(Resize(height=1, width=8, mode="bicubic"), y)
    assert x[0, 0, 0, 3:6].tolist() == pytest.approx([255 * w / 32 for w in (-3, 19, 0)], abs=1e-9)


def test_sharpening_is_scipys() -> None:
    """Unsharp masking written down with SciPy's filters: sigma 8, radius 25."""
    y = skimage_data.camera()[100:260, 150:300].astype(float)

    def blur(v: np.ndarray) -> np.ndarray:
        return ndimage.gaussian_filter(v, 8.0, mode="mirror", radius=25)

    residual = y - blur(y)
    mask = blur((np.abs(residual) > 10).astype(float))
    expected = mask * np.clip(y + 0.5 * residual, 0, 255) + (1 - mask) * y
    made = apply(Sharpen(), torch.from_numpy(y)[None, None])
    torch.testing.assert_close(made[0, 0], torch.from_numpy(expected), rtol=0, atol=1e-9)


def test_sharpening_leaves_flat_pictures() -> None:
    y = torch.full((1, 3, 20, 30), 80.0, dtype=torch.float64)
    torch.testing.assert_close(apply(Sharpen(), y), y)


# --- noise


def test_grey_noise_is_one_field_for_all_channels() -> None:
    y = levels(1, 3, 20, 24)
    change = apply(AddNoise(sigma=7, channels="grey", draw=3), y) - y
    field = NOISE.normal("degradation", 3, (1, 1, 20, 24))
    torch.testing.assert_close(change, (7 * field).expand(1, 3, 20, 24), rtol=0, atol=1e-12)


def test_correlated_noise_has_its_covariance() -> None:
    covariance = ((100.0, 60.0, 20.0), (60.0, 90.0, 30.0), (20.0, 30.0, 50.0))
    y = torch.zeros(1, 3, 256, 256, dtype=torch.float64)
    change = apply(AddNoise(covariance=covariance), y)[0].flatten(1)
    torch.testing.assert_close(torch.cov(change), torch.tensor(covariance, dtype=torch.float64), rtol=0.03, atol=1.0)


def test_a_covariance_that_is_not_positive_is_read_as_numpy_does() -> None:
    """NumPy's multivariate normal takes singular values: eigenvalues 3 and -1, of ((1, 2), (2, 1)), are 3 and 1."""
    covariance = ((1.0, 2.0, 0.0), (2.0, 1.0, 0.0), (0.0, 0.0, 0.0))
    change = apply(AddNoise(covariance=covariance), torch.zeros(1, 3, 256, 256, dtype=torch.float64))[0].flatten(1)
    expected = torch.tensor([[2.0, 1.0], [1.0, 2.0]], dtype=torch.float64)
    torch.testing.assert_close(torch.cov(change)[:2, :2], expected, rtol=0.03, atol=0)


def test_a_grey_picture_gets_the_luminance_of_correlated_noise() -> None:
    covariance = ((100.0, 60.0, 20.0), (60.0, 90.0, 30.0), (20.0, 30.0, 50.0))
    w = torch.tensor(LUMINANCE, dtype=torch.float64)
    change = apply(AddNoise(covariance=covariance), torch.zeros(1, 1, 256, 256, dtype=torch.float64))
    assert float(change.var()) == pytest.approx(float(w @ torch.tensor(covariance).double() @ w), rel=0.03)


def test_speckle_is_in_proportion_to_the_picture() -> None:
    y = levels(1, 3, 16, 16)
    speckle, plain = apply(AddNoise(sigma=10, speckle=True), y), apply(AddNoise(sigma=10), y)
    torch.testing.assert_close(speckle - y, (plain - y) * y / 255, rtol=0, atol=1e-12)


@pytest.mark.parametrize("peak", [20.0, 300.0, 9000.0])
def test_photons_have_the_mean_and_variance_of_their_number(peak: float) -> None:
    for level in (10.0, 128.0, 255.0):
        y = torch.full((1, 1, 256, 256), level, dtype=torch.float64)
        x = apply(PoissonNoise(peak=peak), y)
        variance = 255**2 / peak * (level / 255)
        assert float(x.mean()) == pytest.approx(level, abs=5 * math.sqrt(variance) / 256)
        assert float(x.var()) == pytest.approx(variance, rel=0.03)


def test_photon_counts_are_quantiles_of_poissons_distribution() -> None:
    y = torch.floor(levels(1, 2, 40, 30))
    x = apply(PoissonNoise(peak=64.0, draw=2), y)
    uniform = stats.norm.cdf(NOISE.normal("degradation", 2, (1, 2, 40, 30)).numpy())
    expected = stats.poisson.ppf(uniform, (y / 255 * 64).numpy()) * 255 / 64
    torch.testing.assert_close(x, torch.from_numpy(expected), rtol=0, atol=1e-9)


def test_photons_of_black_are_none_and_strength_scales_the_noise() -> None:
    y = torch.zeros(1, 1, 8, 8, dtype=torch.float64)
    assert torch.equal(apply(PoissonNoise(peak=50), y), y)
    y = levels(1, 1, 30, 30)
    once, half = apply(PoissonNoise(peak=50), y), apply(PoissonNoise(peak=50, strength=0.5), y)
    torch.testing.assert_close(half - y, 0.5 * (once - y))


def test_real_esrgans_peak_is_the_number_of_values_rounded_up_to_a_power_of_two() -> None:
    y = torch.arange(100, dtype=torch.float64).reshape(1, 1, 10, 10) * 2
    torch.testing.assert_close(apply(PoissonNoise(), y), apply(PoissonNoise(peak=128.0), y))


def test_grey_photons_are_those_of_the_luminance() -> None:
    y = levels(1, 3, 12, 12)
    change = apply(PoissonNoise(peak=100.0, grey=True), y) - y
    luminance = (y[0] * torch.tensor(LUMINANCE).double()[:, None, None]).sum(0)[None, None]
    whole = torch.floor(luminance + 0.5)
    expected = apply(PoissonNoise(peak=100.0), whole) - whole
    torch.testing.assert_close(change, expected.expand(1, 3, 12, 12), rtol=0, atol=1e-9)


def test_photons_of_a_batch_are_those_of_its_pictures() -> None:
    noise = Noise(1, pictures=(7, 8))
    y = levels(2, 3, 16, 16)
    together = PoissonNoise().apply(y, noise=noise)
    for index, picture in enumerate((7, 8)):
        alone = PoissonNoise().apply(y[index : index + 1], noise=noise.for_pictures((picture,)))
        assert torch.equal(together[index : index + 1], alone)


# --- gradients, records, refusals


STAGES: dict[str, Stage] = {
    "filter": Filter(kernel=PlateauKernel(size=5, sigmas=(1.0, 2.0), beta=1.5)),
    "isotropic": Filter(kernel=GaussianKernel(size=5, sigmas=(1.0, 1.0)), scale=2),
    "area": Resize(height=3, width=5, mode="area"),
    "bicubic": Resize(height=3, width=5, mode="bicubic"),
    "adaptive": Resize(height=3, width=5, mode="adaptive area"),
    "matlab": Resize(height=3, width=5, mode="matlab"),
    "clip": Clip(),
    "noise": AddNoise(sigma=3, channels="grey"),
    "speckle": AddNoise(sigma=3, speckle=True),
    "linear": Linear(name="half", bind=lambda h, w: resize(height=h, width=w, scale=2)),
}


@pytest.mark.parametrize("name", list(STAGES))
def test_gradients_are_derivatives(name: str) -> None:
    y = (20 + 0.8 * levels(1, 3, 6, 8)).requires_grad_()
    assert torch.autograd.gradcheck(lambda v: apply(STAGES[name], v), (y,), eps=1e-4)


def test_photons_and_rounding_are_constant_to_the_gradient() -> None:
    y = (levels(1, 1, 6, 6) * 1.2 - 20).requires_grad_()
    expectations = {PoissonNoise(peak=50): torch.ones_like(y), EightBit(): ((y >= 0) & (y <= 255)).double()}
    for stage, expected in expectations.items():
        (gradient,) = torch.autograd.grad(apply(stage, y).sum(), y)
        assert torch.equal(gradient, expected)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: AddNoise(sigma=-1), "noise -1"),
        (lambda: AddNoise(channels="red"), "red.*grey"),  # type: ignore[arg-type]
        (lambda: AddNoise(covariance=((1.0,),)), "not 3 x 3"),
        (lambda: PoissonNoise(peak=0), "peak 0"),
        (lambda: PoissonNoise(strength=-1), "strength -1"),
        (lambda: Resize(height=0, width=3, mode="area"), "0x3"),
        (lambda: Resize(height=3, width=3, mode="lanczos"), "lanczos.*area"),  # type: ignore[arg-type]
    ],
)
def test_refuses(build: Callable[[], object], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        build()


def test_refuses_a_covariance_of_other_channels() -> None:
    with pytest.raises(InputError, match="3 channels.*4: use sigma"):
        apply(AddNoise(covariance=((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0))), levels(1, 4, 4, 4))
