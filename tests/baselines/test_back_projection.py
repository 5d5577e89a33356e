"""Back-projection against its definition, its rate and measured figures."""

from __future__ import annotations

import pytest
import torch
from skimage import data as skimage_data
from torch import Tensor

from mezzotint.baselines.back_projection import BackProjection
from mezzotint.errors import UsageError
from mezzotint.operators.resize import imresize, imresize_uint8


def picture(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def psnr(a: Tensor, b: Tensor) -> float:
    return float(10 * torch.log10(255**2 / (a.double() - b.double()).square().mean()))


@pytest.mark.parametrize(
    ("iterations", "decibels", "small"), [(0, 26.167, 37.5), (5, 26.796, 65.2), (20, 26.799, 108.8)]
)
def test_camera(iterations: int, decibels: float, small: float) -> None:
    """PSNR of the 8-bit result without a border of 4 pixels; PSNR of the reduced float result to its input."""
    y = torch.from_numpy(skimage_data.camera().copy())[None, None]
    x = imresize_uint8(y, scale=1 / 4).double()
    made = BackProjection(iterations=iterations)(x, scale=4)
    inside = (..., slice(4, -4), slice(4, -4))
    assert psnr(made.round().clamp(0, 255)[inside], y[inside]) == pytest.approx(decibels, abs=5e-4)
    assert psnr(imresize(made, scale=1 / 4), x) == pytest.approx(small, abs=0.05)
    if iterations == 20:  # what the rounding to 8 bits leaves
        rounded = made.round().clamp(0, 255).to(torch.uint8)
        assert psnr(imresize_uint8(rounded, scale=1 / 4), x) == pytest.approx(60.95, abs=0.005)


@pytest.mark.parametrize("strength", [1.0, 0.5, 1.3])
@pytest.mark.parametrize(
    ("shape", "size"), [((6, 9), (24, 36)), ((5, 7), (15, 21)), ((1, 8), (4, 32)), ((7, 5), (17, 13))]
)
def test_equals_the_iteration_on_large_pictures(shape: tuple[int, int], size: tuple[int, int], strength: float) -> None:
    x = picture(2, 1, *shape)
    y = imresize(x, size=size)
    for _ in range(7):
        y = y + strength * imresize(x - imresize(y, size=shape), size=size)
    made = BackProjection(iterations=7, strength=strength)(x, scale=4, size=size)
    torch.testing.assert_close(made, y, rtol=0, atol=1e-12)


@pytest.mark.parametrize("scale", [2, 3, 4, 8])
def test_the_limit_reduces_to_the_input(scale: int) -> None:
    x = picture(1, 2, 13, 10)
    small = BackProjection(iterations=150)(x, scale=scale)
    torch.testing.assert_close(imresize(small, scale=1 / scale), x, rtol=0, atol=1e-12)


def test_the_slowest_part_keeps_at_most_76_hundredths() -> None:
    x = torch.ones(1, 1, 32, 32, dtype=torch.float64)
    x[..., 1::2, :] *= -1
    x[..., 1::2] *= -1  # a chequerboard is what the pair of resizings weakens most
    residuals = []
    for iterations in range(4, 7):
        y = BackProjection(iterations=iterations)(x, scale=4)
        residuals.append(float((x - imresize(y, scale=1 / 4)).norm()))
    for before, after in zip(residuals, residuals[1:], strict=False):
        assert 0.7 < after / before < 0.765


def test_corrects_pictures_from_elsewhere() -> None:
    x, y = picture(1, 1, 9, 8), picture(1, 1, 36, 32, seed=1)
    made = BackProjection(iterations=200).correct(y, x)
    torch.testing.assert_close(imresize(made, scale=1 / 4), x, rtol=0, atol=1e-12)
    consistent = imresize(x, scale=4)
    consistent = BackProjection(iterations=200).correct(consistent, x)
    torch.testing.assert_close(BackProjection().correct(consistent, x), consistent, rtol=0, atol=1e-12)


def test_settings_out_of_range_are_refused() -> None:
    with pytest.raises(UsageError, match="-1 iterations"):
        BackProjection(iterations=-1)
    for strength in (0.0, 2.0, float("nan")):
        with pytest.raises(UsageError, match=str(strength)):
            BackProjection(strength=strength)
