"""The picture itself as the state."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from mezzotint.errors import UsageError
from mezzotint.operators.resize import imresize


@dataclass(frozen=True, eq=False)
class PixelContext:
    """The small picture b c h w and the size of the large one."""

    x: Tensor
    size: tuple[int, int]


@dataclass(frozen=True)
class Pixel:
    """Diffuse pixels: the state is the large picture, the lift of the small one MATLAB's bicubic enlargement."""

    @property
    def cell(self) -> int:
        return 1

    def context(self, x: Tensor, *, size: tuple[int, int]) -> PixelContext:
        """Keep the small picture b c h w and the size; UsageError for a size without pixels."""
        if min(size) < 1:
            raise UsageError(f"size {size[0]}x{size[1]} has no pixels: both sides must be at least 1")
        return PixelContext(x=x, size=(int(size[0]), int(size[1])))

    def shape(self, context: PixelContext) -> tuple[int, int, int, int]:
        return (context.x.shape[0], context.x.shape[1], *context.size)

    def encode(self, y: Tensor, context: PixelContext) -> Tensor:
        """y b c H W -> the same; UsageError where its shape is not that of the state."""
        if tuple(y.shape) != self.shape(context):
            raise UsageError(f"picture of shape {tuple(y.shape)}, the state has {self.shape(context)}")
        return y

    def lift(self, x: Tensor, context: PixelContext) -> Tensor:
        """x b c h w -> b c H W by bicubic interpolation, which overshoots [-1, 1] at edges and is not clipped."""
        return imresize(x, size=context.size)

    def decode(self, z: Tensor, context: PixelContext, *, size: tuple[int, int]) -> Tensor:
        """z b c H W -> the same, cut to the size where it is smaller."""
        return z[..., : size[0], : size[1]]
