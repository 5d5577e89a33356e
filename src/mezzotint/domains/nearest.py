"""The picture as the state, where the small picture stands as blocks of equal pixels."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from mezzotint.domains.pixel import Pixel, PixelContext
from mezzotint.errors import UsageError


@dataclass(frozen=True)
class Nearest:
    """Diffuse pixels; the lift of the small picture repeats them (I2SB, Cold Diffusion).

    The state is extended at the bottom and the right to sides that are multiples of `multiple`, by repeating the last
    row and column, and cut again. UsageError for a multiple below 1.
    """

    multiple: int = 1

    def __post_init__(self) -> None:
        if self.multiple < 1:
            raise UsageError(f"multiple {self.multiple} must be 1 or more")

    @property
    def cell(self) -> int:
        return 1

    def context(self, x: Tensor, *, size: tuple[int, int]) -> PixelContext:
        """Keep the small picture b c h w and the size; UsageError for a size without pixels."""
        return Pixel().context(x, size=size)

    def shape(self, context: PixelContext) -> tuple[int, int, int, int]:
        rows, columns = (side + -side % self.multiple for side in context.size)
        return (context.x.shape[0], context.x.shape[1], rows, columns)

    def encode(self, y: Tensor, context: PixelContext) -> Tensor:
        """y b c H W -> the same, extended; UsageError where it is not of the size."""
        return self._extend(Pixel().encode(y, context))

    def lift(self, x: Tensor, context: PixelContext) -> Tensor:
        """x b c h w -> b c H W, extended: at each pixel that of x whose centre is nearest, the later one of two."""
        for dim, side in zip((-2, -1), context.size, strict=True):
            small = x.shape[dim]
            x = x.index_select(dim, (2 * torch.arange(side, device=x.device) + 1) * small // (2 * side))
        return self._extend(x)

    def decode(self, z: Tensor, context: PixelContext, *, size: tuple[int, int]) -> Tensor:
        """z b c H W -> the same, cut to the size."""
        return z[..., : size[0], : size[1]]

    def _extend(self, y: Tensor) -> Tensor:
        rows, columns = (-side % self.multiple for side in y.shape[-2:])
        return F.pad(y, (0, columns, 0, rows), mode="replicate") if rows or columns else y
