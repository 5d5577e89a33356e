"""Interpolation: what every method has to beat."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from mezzotint.errors import UsageError
from mezzotint.operators.resize import Kernel, imresize, imresize_uint8

Size = tuple[int, int]
"""Height and width in pixels."""


@dataclass(frozen=True)
class _Kernel:
    kernel: ClassVar[Kernel]

    def __call__(self, x: Tensor, *, scale: float, size: Size | None = None) -> Tensor:
        if size is not None and min(size) < 1:
            raise UsageError(f"size {size[0]}x{size[1]} is not at least 1 pixel a side")
        resize = imresize_uint8 if x.dtype == torch.uint8 else imresize
        return resize(x, scale=None if size else scale, size=size, kernel=self.kernel)


@dataclass(frozen=True)
class Nearest(_Kernel):
    """Repeat the nearest pixel: large pixel j shows small pixel floor((j + 1/2) / scale), counted from 0.

    Call it with x (b c h w); it returns b c H W of the same type. H and W are `size`, or `scale` times h and w,
    rounded up. Raises UsageError for a scale or size that is not positive.
    """

    kernel: ClassVar[Kernel] = "nearest"


@dataclass(frozen=True)
class Bicubic(_Kernel):
    """Interpolate with Keys' cubic (a = -1/2) as MATLAB's `imresize` does, antialiased where it shrinks.

    Call it with x (b c h w); it returns b c H W of the same type, not clipped. H and W are `size`, or `scale` times h
    and w, rounded up. A uint8 x is enlarged in MATLAB's 8-bit arithmetic, rounded after each of the two passes, as in
    the tables of the literature. Raises UsageError for a scale or size that is not positive.
    """

    kernel: ClassVar[Kernel] = "cubic"


@dataclass(frozen=True)
class Lanczos(_Kernel):
    """Interpolate with sinc(u) sinc(u / 3), |u| < 3, weights of a pixel normalised, border mirrored.

    Call it with x (b c h w); it returns b c H W of the same type, not clipped. H and W are `size`, or `scale` times h
    and w, rounded up; a uint8 x is rounded after each of the two passes. Raises UsageError for a scale or size that is
    not positive.
    """

    kernel: ClassVar[Kernel] = "lanczos3"
