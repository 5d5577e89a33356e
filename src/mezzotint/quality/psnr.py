"""Peak signal-to-noise ratio under a protocol."""

from __future__ import annotations

import math
from typing import overload

import numpy as np
from torch import Tensor

from mezzotint.quality import protocols
from mezzotint.quality.levels import Picture, as_figures, check_alike, to_levels


@overload
def psnr(a: np.ndarray, b: np.ndarray, *, protocol: str = ..., scale: float = ...) -> float: ...
@overload
def psnr(a: Tensor, b: Tensor, *, protocol: str = ..., scale: float = ...) -> Tensor: ...
def psnr(a: Picture, b: Picture, *, protocol: str = protocols.DEFAULT, scale: float = 4) -> float | Tensor:
    """Return 10 log10(255^2 / MSE) in dB of the candidate b against the reference a; infinite for equal pictures.

    a, b: numpy h w c (uint8, uint16, or float in [0, 1]) or torch (b) c h w in [0, 1]; both are rounded to 8 bits, as
    the file would be. protocol: see `quality.protocols`; scale decides the border that it cuts off. Returns a float
    for arrays and a float64 tensor () or (b,) for tensors. Raises InputError for pictures of different sizes,
    outside their range or not finite, UsageError for an unknown protocol or a bad scale.
    """
    first, second = to_levels(a, name="a"), to_levels(b, name="b")
    check_alike(first, second)
    first, second = protocols.find(protocol).planes(first, second, scale=scale)
    return as_figures([psnr_of_planes(one, other) for one, other in zip(first, second, strict=True)], a)


def psnr_of_planes(a: np.ndarray, b: np.ndarray, *, peak: float = 255.0) -> float:
    """Return the PSNR in dB of two float64 arrays of the same shape, over all their samples."""
    error = float(np.mean(np.square(a - b)))
    return 10.0 * math.log10(peak * peak / error) if error > 0 else math.inf
