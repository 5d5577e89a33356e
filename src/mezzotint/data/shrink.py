"""The shrinking that made the training pictures, in integers, so that it gives the same bytes everywhere."""

from __future__ import annotations

import math

import numpy as np

from mezzotint.errors import UsageError

_BITS = 22
_TALL = 2.5


def _cubic(u: float) -> float:
    v = abs(u)
    if v < 1.0:
        return (1.5 * v - 2.5) * v * v + 1.0
    if v < 2.0:
        return ((v - 5.0) * v + 8.0) * v * -0.5 + 2.0
    return 0.0


def _plan(n_in: int, n_out: int, factor: float) -> tuple[np.ndarray, np.ndarray]:
    """Return positions (n_out, k) and weights (n_out, k) in units of 2^-22; unused places have weight 0."""
    reach = 2.0 * factor
    count = 2 * math.ceil(reach) + 1
    positions = np.zeros((n_out, count), dtype=np.int64)
    weights = np.zeros((n_out, count), dtype=np.int32)
    for j in range(n_out):
        centre = (j + 0.5) * factor
        first = max(int(centre - reach + 0.5), 0)
        last = min(int(centre + reach + 0.5), n_in)
        kernel = [_cubic((i - centre + 0.5) / factor) for i in range(first, last)]
        total = sum(kernel)
        positions[j, : last - first] = range(first, last)
        for k, value in enumerate(kernel):
            scaled = value / total * (1 << _BITS)
            weights[j, k] = int(scaled + 0.5) if scaled >= 0 else -int(0.5 - scaled)
    return positions, weights


def _shrink_rows(pixels: np.ndarray, factor: float) -> np.ndarray:
    n_out = int(pixels.shape[0] / factor)
    positions, weights = _plan(pixels.shape[0], n_out, factor)
    # Rows that lie apart in memory would take four times as long.
    pixels = np.ascontiguousarray(pixels)
    # 32 bits suffice: the weights of a row, without their signs, sum to less than 1.3 * 2^22
    total = np.full((n_out, *pixels.shape[1:]), 1 << (_BITS - 1), dtype=np.int32)
    part = np.empty_like(total)
    for k in np.flatnonzero(weights.any(axis=0)):
        total += np.multiply(weights[:, k, None, None], pixels[positions[:, k]], out=part)
    return np.clip(total >> _BITS, 0, 255).astype(np.uint8)


def shrink(pixels: np.ndarray, *, factor: float) -> np.ndarray:
    """Return 8-bit pixels (h, w, c) shrunk to (floor(h / factor), floor(w / factor), c) by an antialiased cubic.

    Keys' cubic with a = -1/2 stretched by `factor`, its weights normalised over the pixels that exist and
    rounded to multiples of 2^-22; each axis is rounded half up and clipped to 0..255. The columns are shrunk
    before the rows, except for pictures more than 2.5 times as high as wide. Rows and columns beyond the last
    multiple of `factor` give no output, but are seen by the kernel. Pillow 13 gives the same bytes with
    `resize((m, n), BICUBIC, box=(0, 0, m * factor, n * factor))` for an output m wide and n high; it changes the
    order of the axes at about 2 instead of 2.5. Factor 1 returns the pixels as they are. Factors are multiples of
    1/4, whose products with whole numbers are exact.

    Raises UsageError for pixels that are not 8-bit (h, w, c), and for a factor that is below 1, above a side or no
    multiple of 1/4.
    """
    if pixels.dtype != np.uint8 or pixels.ndim != 3:
        raise UsageError(f"shrink takes uint8 pixels (h, w, c), got {pixels.dtype} of shape {pixels.shape}")
    height, width = pixels.shape[:2]
    most = min(height, width)
    if not 1 <= factor <= most:
        raise UsageError(f"a picture of {width}x{height} pixels cannot be shrunk {factor:g} times: use 1 to {most}")
    if (4 * factor) % 1:
        raise UsageError(f"factor {factor:g} is no multiple of 1/4: use {math.floor(4 * factor) / 4:g}")
    if factor == 1:
        return pixels
    if height > _TALL * width:
        return _shrink_rows(_shrink_rows(pixels, factor).swapaxes(0, 1), factor).swapaxes(0, 1).copy()
    return _shrink_rows(_shrink_rows(pixels.swapaxes(0, 1), factor).swapaxes(0, 1), factor)
