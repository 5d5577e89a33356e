"""Structural similarity as the field computes it: Wang et al. 2004, 11x11 Gaussian window, valid region."""

from __future__ import annotations

from functools import lru_cache
from typing import overload

import numpy as np
from torch import Tensor

from mezzotint.errors import InputError
from mezzotint.quality import protocols
from mezzotint.quality.levels import Picture, as_figures, check_alike, to_levels

WINDOW = 11
_SIGMA = 1.5
_ROWS = 64  # rows of the map computed at a time: they stay in the cache, and memory does not grow with the picture


@overload
def ssim(a: np.ndarray, b: np.ndarray, *, protocol: str = ..., scale: float = ...) -> float: ...
@overload
def ssim(a: Tensor, b: Tensor, *, protocol: str = ..., scale: float = ...) -> Tensor: ...
def ssim(a: Picture, b: Picture, *, protocol: str = protocols.DEFAULT, scale: float = 4) -> float | Tensor:
    """Return the SSIM of the candidate b against the reference a: 1 for equal pictures, negative is possible.

    a, b, protocol, scale, the returned form and the errors are those of `psnr`; what remains after the border is cut
    off must be at least 11 pixels a side. Channels are averaged. Wang et al. 2004, equation 13, without the
    downsampling of the authors' later code; scikit-image agrees with gaussian_weights=True, sigma=1.5,
    use_sample_covariance=False, torchmetrics and scikit-image's default do not.
    """
    first, second = to_levels(a, name="a"), to_levels(b, name="b")
    check_alike(first, second)
    first, second = protocols.find(protocol).planes(first, second, scale=scale)
    return as_figures([ssim_of_planes(one, other) for one, other in zip(first, second, strict=True)], a)


def ssim_of_planes(a: np.ndarray, b: np.ndarray, *, peak: float = 255.0) -> float:
    """Return the SSIM of two float64 arrays (c, h, w) with values 0..peak, averaged over position and channel.

    Raises InputError for arrays smaller than the window of 11x11.
    """
    height, width = a.shape[1:]
    if min(height, width) < WINDOW:
        raise InputError(
            f"{width}x{height} pixels are left to compare, SSIM needs {WINDOW} a side: "
            "use a larger picture, or a protocol that cuts off less"
        )
    c1, c2 = (0.01 * peak) ** 2, (0.03 * peak) ** 2
    total = 0.0
    for first, second in zip(a, b, strict=True):
        for top in range(0, height - WINDOW + 1, _ROWS):
            rows = slice(top, min(top + _ROWS, height - WINDOW + 1) + WINDOW - 1)
            total += _sum_of_map(first[rows], second[rows], c1, c2)
    return total / (a.shape[0] * (height - WINDOW + 1) * (width - WINDOW + 1))


def _sum_of_map(a: np.ndarray, b: np.ndarray, c1: float, c2: float) -> float:
    mean_a, mean_b, square_a, square_b, product = _blur(np.stack((a, b, a * a, b * b, a * b)))
    means = mean_a * mean_b
    squares = mean_a * mean_a + mean_b * mean_b
    luminance = (2 * means + c1) / (squares + c1)
    contrast = (2 * (product - means) + c2) / (square_a + square_b - squares + c2)
    return float(np.sum(luminance * contrast))


def _blur(stack: np.ndarray) -> np.ndarray:
    """Return the Gaussian-weighted means (n, h - 10, w - 10) of arrays (n, h, w), inside only."""
    weights = _window()
    height, width = stack.shape[1] - WINDOW + 1, stack.shape[2] - WINDOW + 1
    tall = weights[0] * stack[:, :height]
    for k in range(1, WINDOW):
        tall += weights[k] * stack[:, k : k + height]
    out = weights[0] * tall[:, :, :width]
    for k in range(1, WINDOW):
        out += weights[k] * tall[:, :, k : k + width]
    return out


@lru_cache(maxsize=1)
def _window() -> tuple[float, ...]:
    distance = np.arange(WINDOW) - WINDOW // 2
    weights = np.exp(-0.5 * (distance / _SIGMA) ** 2)
    return tuple(float(weight) for weight in weights / weights.sum())
