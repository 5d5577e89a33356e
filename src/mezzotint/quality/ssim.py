"""Structural similarity as the field computes it: Wang et al. 2004, 11x11 Gaussian window, inside only; multi-scale."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import overload

import numpy as np
from torch import Tensor

from mezzotint.errors import InputError, UsageError
from mezzotint.quality import protocols
from mezzotint.quality.levels import Picture, as_figures, check_alike, to_levels

WINDOW = 11
SCALE_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
"""The exponents of MS-SSIM, finest scale first; they sum to 1."""
SMALLEST_MULTISCALE = (WINDOW - 1) * 2 ** (len(SCALE_WEIGHTS) - 1) + 1
_SIGMA = 1.5
_ROWS = 16  # rows of the map computed at a time: they stay in the cache, and memory does not grow with the picture
_COLUMNS, _BLOCK = 256, 32  # columns of one matrix product, down and across


@dataclass(frozen=True)
class SsimMaps:
    """The three factors of SSIM at every position, float64 (c, h - 10, w - 10) each.

    luminance: S(mu_a, mu_b, c1); contrast: S(sigma_a, sigma_b, c2), where sigma is the standard deviation, not the
    variance; structure: (sigma_ab + c3) / (sigma_a sigma_b + c3) with c3 = c2 / 2, the only factor that can be
    negative. S(u, v, c) = (2 u v + c) / (u^2 + v^2 + c). Wang et al. 2004, equations 6, 9 and 10.
    """

    luminance: np.ndarray
    contrast: np.ndarray
    structure: np.ndarray

    def combined(self, exponents: tuple[float, float, float] = (1, 1, 1)) -> np.ndarray:
        """Return luminance^alpha contrast^beta structure^gamma (equation 12) for exponents (alpha, beta, gamma).

        Raises UsageError for exponents that are not finite or negative, InputError where a fraction as gamma meets a
        negative structure.
        """
        _check_exponents(exponents)
        alpha, beta, gamma = exponents
        negative = int(np.count_nonzero(self.structure < 0))
        if negative and gamma != int(gamma):
            raise InputError(
                f"the structure is negative at {negative} of {self.structure.size} positions and has no power {gamma}: "
                "use a whole exponent for the structure"
            )
        return self.luminance**alpha * self.contrast**beta * self.structure**gamma


@overload
def ssim(
    a: np.ndarray,
    b: np.ndarray,
    *,
    protocol: str = ...,
    scale: float = ...,
    exponents: tuple[float, float, float] = ...,
) -> float: ...
@overload
def ssim(
    a: Tensor, b: Tensor, *, protocol: str = ..., scale: float = ..., exponents: tuple[float, float, float] = ...
) -> Tensor: ...
def ssim(
    a: Picture,
    b: Picture,
    *,
    protocol: str = protocols.DEFAULT,
    scale: float = 4,
    exponents: tuple[float, float, float] = (1, 1, 1),
) -> float | Tensor:
    """Return the SSIM of the candidate b against the reference a: 1 for equal pictures, negative is possible.

    a, b, protocol, scale, the returned form and the errors are those of `psnr`; what remains after the border is cut
    off must be at least 11 pixels a side. Channels are averaged. exponents: of luminance, contrast and structure, see
    `SsimMaps.combined`; everyone uses 1. Wang et al. 2004, equation 13, without the downsampling of the authors' later
    code; scikit-image agrees with gaussian_weights=True, sigma=1.5, use_sample_covariance=False, torchmetrics and
    scikit-image's default do not.
    """
    pairs = _pairs(a, b, protocol, scale)
    if tuple(exponents) == (1, 1, 1):
        return as_figures([ssim_of_planes(one, other) for one, other in pairs], a)
    _check_exponents(exponents)
    return as_figures([float(np.mean(maps_of_planes(one, other).combined(exponents))) for one, other in pairs], a)


def ssim_maps(a: Picture, b: Picture, *, protocol: str = protocols.DEFAULT, scale: float = 4) -> SsimMaps:
    """Return the maps of luminance, contrast and structure whose product, averaged, is `ssim`.

    Arguments and errors are those of `ssim`; one picture at a time: InputError for a batch of several.
    """
    pairs = _pairs(a, b, protocol, scale)
    if len(pairs) != 1:
        raise InputError(f"a batch of {len(pairs)} pictures has several maps: pass one picture at a time")
    return maps_of_planes(*pairs[0])


@overload
def ms_ssim(a: np.ndarray, b: np.ndarray, *, protocol: str = ..., scale: float = ...) -> float: ...
@overload
def ms_ssim(a: Tensor, b: Tensor, *, protocol: str = ..., scale: float = ...) -> Tensor: ...
def ms_ssim(a: Picture, b: Picture, *, protocol: str = protocols.DEFAULT, scale: float = 4) -> float | Tensor:
    """Return the multi-scale SSIM of the candidate b against the reference a, from 0 to 1.

    Contrast times structure at five scales and luminance at the coarsest, each to the power of `SCALE_WEIGHTS`; a
    negative mean counts as 0, because it has no such power. Between scales blocks of 2x2 are averaged, with the last
    row or column repeated where a side is odd, as in the authors' code; pytorch-msssim pads with zeros there, so that
    it differs for odd sides. Arguments, the returned form and the errors are those of `ssim`, but 161 pixels a side
    must be left. Wang et al. 2003, equation 7.
    """
    pairs = _pairs(a, b, protocol, scale)
    return as_figures([ms_ssim_of_planes(one, other) for one, other in pairs], a)


def ssim_of_planes(a: np.ndarray, b: np.ndarray, *, peak: float = 255.0) -> float:
    """Return the SSIM of two float64 arrays (c, h, w) with values 0..peak, averaged over position and channel.

    Raises InputError for arrays smaller than the window of 11x11.
    """
    _check_size(a, WINDOW, "SSIM")
    both, _ = _means_of_factors(a, b, peak)
    return float(np.mean(both))


def ms_ssim_of_planes(a: np.ndarray, b: np.ndarray, *, peak: float = 255.0) -> float:
    """Return the multi-scale SSIM of two float64 arrays (c, h, w) with values 0..peak, averaged over channels.

    Raises InputError for arrays of less than 161 pixels a side, which leave no window at the coarsest scale.
    """
    _check_size(a, SMALLEST_MULTISCALE, "MS-SSIM")
    product = np.ones(a.shape[0])
    for level, weight in enumerate(SCALE_WEIGHTS):
        if level:
            a, b = _halved(a), _halved(b)
        both, contrast = _means_of_factors(a, b, peak)
        factor = both if level == len(SCALE_WEIGHTS) - 1 else contrast
        product *= np.maximum(factor, 0.0) ** weight
    return float(np.mean(product))


def maps_of_planes(a: np.ndarray, b: np.ndarray, *, peak: float = 255.0) -> SsimMaps:
    """Return the three maps for two float64 arrays (c, h, w) with values 0..peak; errors as `ssim_of_planes`."""
    _check_size(a, WINDOW, "SSIM")
    c1, c2 = _constants(peak)
    rows = [_factors(first, second, c1, c2) for first, second in zip(a, b, strict=True)]
    luminance, contrast, structure = (np.stack(parts) for parts in zip(*rows, strict=True))
    return SsimMaps(luminance, contrast, structure)


def _pairs(a: Picture, b: Picture, protocol: str, scale: float) -> list[tuple[np.ndarray, np.ndarray]]:
    first, second = to_levels(a, name="a"), to_levels(b, name="b")
    check_alike(first, second)
    first, second = protocols.find(protocol).planes(first, second, scale=scale)
    return list(zip(first, second, strict=True))


def _check_size(a: np.ndarray, smallest: int, measure: str) -> None:
    height, width = a.shape[1:]
    if min(height, width) < smallest:
        raise InputError(
            f"{width}x{height} pixels are left to compare, {measure} needs {smallest} a side: "
            "use a larger picture, or a protocol that cuts off less"
        )


def _check_exponents(exponents: tuple[float, float, float]) -> None:
    if len(exponents) != 3 or not all(math.isfinite(value) and value >= 0 for value in exponents):
        raise UsageError(
            f"exponents {exponents} are not three finite numbers from 0: "
            "give those of luminance, contrast and structure, (1, 1, 1) as everyone"
        )


def _constants(peak: float) -> tuple[float, float]:
    return (0.01 * peak) ** 2, (0.03 * peak) ** 2


def _means_of_factors(a: np.ndarray, b: np.ndarray, peak: float) -> tuple[np.ndarray, np.ndarray]:
    """Return the means over positions, (c,) each, of SSIM and of contrast times structure."""
    c1, c2 = _constants(peak)
    height, width = (side - WINDOW + 1 for side in a.shape[1:])
    totals = np.zeros((2, a.shape[0]))
    for channel, (first, second) in enumerate(zip(a, b, strict=True)):
        for top in range(0, height, _ROWS):
            rows = slice(top, min(top + _ROWS, height) + WINDOW - 1)
            totals[:, channel] += _sums_of_factors(first[rows], second[rows], c1, c2)
    both, contrast = totals / (height * width)
    return both, contrast


def _sums_of_factors(a: np.ndarray, b: np.ndarray, c1: float, c2: float) -> tuple[float, float]:
    stack = np.empty((4, *a.shape))
    stack[0], stack[1] = a, b
    np.multiply(a, a, out=stack[2])
    stack[2] += b * b  # only the sum of both variances is needed
    np.multiply(a, b, out=stack[3])
    mean_a, mean_b, square, product = _blur(stack)
    means = mean_a * mean_b
    squares = np.add(np.square(mean_a, out=mean_a), np.square(mean_b, out=mean_b), out=mean_a)
    # contrast (2 (product - means) + c2) / (square - squares + c2), luminance (2 means + c1) / (squares + c1), in place
    product -= means
    product += product
    product += c2
    square -= squares
    square += c2
    contrast = np.divide(product, square, out=product)
    means += means
    means += c1
    squares += c1
    both = np.divide(means, squares, out=means)
    both *= contrast
    return float(np.sum(both)), float(np.sum(contrast))


def _factors(a: np.ndarray, b: np.ndarray, c1: float, c2: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return luminance, contrast and structure (h - 10, w - 10) of two planes."""
    mean_a, mean_b, square_a, square_b, product = _blur(np.stack((a, b, a * a, b * b, a * b)))
    # Rounding can leave a variance a little below 0 where a picture is flat.
    variance_a, variance_b = (np.maximum(square_a - mean_a**2, 0.0), np.maximum(square_b - mean_b**2, 0.0))
    deviations = np.sqrt(variance_a * variance_b)
    luminance = (2 * mean_a * mean_b + c1) / (mean_a**2 + mean_b**2 + c1)
    contrast = (2 * deviations + c2) / (variance_a + variance_b + c2)
    structure = (product - mean_a * mean_b + c2 / 2) / (deviations + c2 / 2)
    return luminance, contrast, structure


def _halved(planes: np.ndarray) -> np.ndarray:
    """Return the means of blocks of 2x2 of arrays (c, h, w); an odd side is first made even by repeating its end."""
    odd = [(0, 0), *((0, side % 2) for side in planes.shape[1:])]
    even = np.pad(planes, odd, mode="edge")
    return (even[:, ::2, ::2] + even[:, 1::2, ::2] + even[:, ::2, 1::2] + even[:, 1::2, 1::2]) / 4


def _blur(stack: np.ndarray) -> np.ndarray:
    """Return the Gaussian-weighted means (n, h - 10, w - 10) of arrays (n, h, w), inside only.

    Products with small banded matrices: twice as fast as adding shifted copies, though most of their entries are 0, and
    below the size at which libraries of linear algebra call in threads that would wait for each other.
    """
    count, height, width = stack.shape[0], stack.shape[1] - WINDOW + 1, stack.shape[2] - WINDOW + 1
    tall = np.empty((count, height, width + WINDOW - 1))
    for top in range(0, height, _ROWS):
        rows = slice(top, min(top + _ROWS, height))
        band = _band(rows.stop - rows.start)
        for left in range(0, tall.shape[2], _COLUMNS):
            columns = slice(left, min(left + _COLUMNS, tall.shape[2]))
            np.matmul(band, stack[:, rows.start : rows.stop + WINDOW - 1, columns], out=tall[:, rows, columns])
    flat = tall.reshape(count * height, -1)
    out = np.empty((count * height, width))
    for top in range(0, len(flat), count * _ROWS):
        rows = slice(top, min(top + count * _ROWS, len(flat)))
        for left in range(0, width, _BLOCK):
            right = min(left + _BLOCK, width)
            np.matmul(flat[rows, left : right + WINDOW - 1], _band(right - left).T, out=out[rows, left:right])
    return out.reshape(count, height, width)


@lru_cache(maxsize=128)
def _band(size: int) -> np.ndarray:
    """Return the matrix (size, size + 10) that takes the weighted means of neighbours."""
    matrix = np.zeros((size, size + WINDOW - 1))
    for row in range(size):
        matrix[row, row : row + WINDOW] = _window()
    matrix.setflags(write=False)
    return matrix


@lru_cache(maxsize=1)
def _window() -> tuple[float, ...]:
    distance = np.arange(WINDOW) - WINDOW // 2
    weights = np.exp(-0.5 * (distance / _SIGMA) ** 2)
    return tuple(float(weight) for weight in weights / weights.sum())
