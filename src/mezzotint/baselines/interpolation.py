"""Interpolation: what every method has to beat."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from mezzotint.errors import UsageError
from mezzotint.operators.resize import imresize, imresize_uint8

Size = tuple[int, int]
"""Height and width in pixels."""


@dataclass(frozen=True)
class Nearest:
    """Repeat the nearest pixel: large pixel j shows small pixel floor((j + 1/2) / scale), counted from 0.

    Call it with x (b c h w); it returns b c H W of the same type. H and W are `size`, or `scale` times h and w,
    rounded up. Raises UsageError for a scale or size that is not positive.
    """

    def __call__(self, x: Tensor, *, scale: float, size: Size | None = None) -> Tensor:
        for axis, (length, ratio) in zip((-2, -1), _targets(x, scale, size), strict=True):
            n = x.shape[axis]
            positions = torch.arange(length, dtype=torch.float64)
            # The tiny term keeps pixel centres that fall on an edge, but for rounding, on its right.
            indices = torch.floor((positions + 0.5) / ratio + 1e-9).to(torch.int64).clamp_max(n - 1)
            x = x.index_select(axis, indices.to(x.device))
        return x


@dataclass(frozen=True)
class Bicubic:
    """Interpolate with Keys' cubic (a = -1/2) as MATLAB's `imresize` does, antialiased where it shrinks.

    Call it with x (b c h w); it returns b c H W of the same type, not clipped. H and W are `size`, or `scale` times h
    and w, rounded up. A uint8 x is enlarged in MATLAB's 8-bit arithmetic, rounded after each of the two passes, as in
    the tables of the literature. Raises UsageError for a scale or size that is not positive.
    """

    def __call__(self, x: Tensor, *, scale: float, size: Size | None = None) -> Tensor:
        resize = imresize_uint8 if x.dtype == torch.uint8 else imresize
        return resize(x, scale=scale) if size is None else resize(x, size=size)


@dataclass(frozen=True)
class Lanczos:
    """Interpolate with sinc(u) sinc(u / 3), |u| < 3, weights of a pixel normalised, border mirrored.

    Call it with x (b c h w); it returns b c H W of the same type, not clipped. H and W are `size`, or `scale` times h
    and w, rounded up; a uint8 x is rounded after each of the two passes. Raises UsageError for a scale or size that is
    not positive.
    """

    def __call__(self, x: Tensor, *, scale: float, size: Size | None = None) -> Tensor:
        resize = imresize_uint8 if x.dtype == torch.uint8 else imresize
        if size is None:
            return resize(x, scale=scale, kernel="lanczos3")
        return resize(x, size=size, kernel="lanczos3")


def _targets(x: Tensor, scale: float, size: Size | None) -> list[tuple[int, float]]:
    """Return (length, ratio) of both axes."""
    if size is not None:
        if min(size) < 1:
            raise UsageError(f"size {size[0]}x{size[1]} is not at least 1 pixel a side")
        return [(m, m / n) for m, n in zip(size, x.shape[-2:], strict=True)]
    if not (math.isfinite(scale) and scale > 0):
        raise UsageError(f"scale {scale} is not a positive number: use for example 4")
    return [(math.ceil(n * scale - 1e-9), float(scale)) for n in x.shape[-2:]]
