"""The difference from the bicubic enlargement as the state, multiplied by a number and clipped."""

from __future__ import annotations

import math
from dataclasses import dataclass

from torch import Tensor

from mezzotint.domains.pixel import Pixel, PixelContext
from mezzotint.errors import UsageError


@dataclass(frozen=True)
class Residual:
    """Diffuse gain * (y - up(x)), clipped to [-1, 1], with MATLAB's bicubic up(x) (SRDiff, arXiv 2104.14951).

    With the `gain` 2 of the authors' code a difference above 0.5 is lost, by design. A state of zeros is up(x).
    UsageError for a gain that is not positive and finite.
    """

    gain: float = 2.0

    def __post_init__(self) -> None:
        if not 0.0 < self.gain < math.inf:
            raise UsageError(f"gain {self.gain} of the residual must be positive and finite; 2 is SRDiff's")

    @property
    def cell(self) -> int:
        return 1

    def context(self, x: Tensor, *, size: tuple[int, int]) -> PixelContext:
        """Keep bicubic up(x) b c H W and the size; UsageError for a size without pixels."""
        context = Pixel().context(x, size=size)
        return PixelContext(x=Pixel().lift(x, context), size=context.size)

    def shape(self, context: PixelContext) -> tuple[int, int, int, int]:
        return (context.x.shape[0], context.x.shape[1], *context.size)

    def encode(self, y: Tensor, context: PixelContext) -> Tensor:
        """y b c H W -> its residual; UsageError where its shape is not that of the state."""
        return (self.gain * (Pixel().encode(y, context) - context.x)).clamp(-1.0, 1.0)

    def lift(self, x: Tensor, context: PixelContext) -> Tensor:
        """The residual of up(x) itself: zeros b c H W."""
        return context.x.new_zeros(context.x.shape)

    def decode(self, z: Tensor, context: PixelContext, *, size: tuple[int, int]) -> Tensor:
        """up(x) + z / gain, z clipped to [-1, 1]: b c H W."""
        return (context.x + z.clamp(-1.0, 1.0) / self.gain)[..., : size[0], : size[1]]
