"""A local U-Net: no normalisation over positions and no attention, so that tiles of a picture equal the whole."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mezzotint.errors import UsageError
from mezzotint.networks.extension import extend
from mezzotint.networks.modulated import ModulatedBlock


class LocalUNet(nn.Module):
    """Map a noisy picture b c H W of any size and the logarithm of its noise level, b, to a prediction b c H W.

    Cells of `patch` x `patch` pixels become channels; then `widths` of features, each depth at half the sides of the
    one above, with `blocks` residual blocks going down, as many going up (the deepest has them once). What a pixel
    becomes depends on at most `reach` pixels to each side, a multiple of `stride`, as pictures are of after they are
    extended (mirrored at the bottom and the right). UsageError for sizes below 1.
    """

    def __init__(
        self,
        *,
        channels: int = 3,
        widths: tuple[int, ...] = (48, 96, 160),
        blocks: int = 2,
        patch: int = 2,
        embedding: int = 64,
    ) -> None:
        super().__init__()
        widths = tuple(widths)
        if not widths or min(*widths, blocks, patch, channels) < 1 or embedding < 4 or embedding % 2:
            raise UsageError(
                f"a local U-Net of widths {widths}, {blocks} blocks, patch {patch}, embedding {embedding}: each 1 or "
                "more, the embedding even and 4 or more"
            )
        self.patch, self.embedding = patch, embedding
        self.stride = patch * 2 ** (len(widths) - 1)
        inner = channels * patch**2
        self.level = nn.Sequential(
            nn.Linear(embedding, embedding), nn.SiLU(), nn.Linear(embedding, embedding), nn.SiLU()
        )

        def column(width: int) -> nn.ModuleList:
            return nn.ModuleList(ModulatedBlock(width, embedding) for _ in range(blocks))

        self.first = nn.Conv2d(inner, widths[0], 3, padding=1)
        self.down = nn.ModuleList(column(width) for width in widths[:-1])
        self.shrink = nn.ModuleList(
            nn.Conv2d(above, below, 2, stride=2) for above, below in zip(widths, widths[1:], strict=False)
        )
        self.middle = column(widths[-1])
        self.grow = nn.ModuleList(
            nn.Conv2d(below, 4 * above, 1) for above, below in zip(widths, widths[1:], strict=False)
        )
        self.up = nn.ModuleList(column(width) for width in widths[:-1])
        self.last = nn.Conv2d(widths[0], inner, 3, padding=1)
        nn.init.zeros_(self.last.weight)
        assert self.last.bias is not None
        nn.init.zeros_(self.last.bias)
        # Two convolutions a block, in pixels of each depth, one each at the ends, and the rest of the pixel's own cell.
        sides = [patch * 2**depth for depth in range(len(widths))]
        seen = 2 * patch + sum(2 * blocks * side * (2 if side < sides[-1] else 1) for side in sides) + self.stride - 1
        self.reach = -(-seen // self.stride) * self.stride

    def forward(self, z: Tensor, level: Tensor) -> Tensor:
        height, width = z.shape[-2:]
        half = self.embedding // 2
        rates = torch.exp(torch.linspace(math.log(0.1), math.log(10.0), half, device=z.device, dtype=z.dtype))
        angle = level.to(z.dtype)[:, None] * rates
        known = self.level(torch.cat([angle.sin(), angle.cos()], dim=1))
        h = self.first(F.pixel_unshuffle(extend(z, self.stride), self.patch))
        skips = []
        for column, shrink in zip(self.down, self.shrink, strict=True):
            for block in column:  # pyright: ignore[reportGeneralTypeIssues]
                h = block(h, known)
            skips.append(h)
            h = shrink(h)
        for block in self.middle:
            h = block(h, known)
        for column, grow in zip(reversed(self.up), reversed(self.grow), strict=True):
            h = F.pixel_shuffle(grow(h), 2) + skips.pop()
            for block in column:  # pyright: ignore[reportGeneralTypeIssues]
                h = block(h, known)
        return F.pixel_shuffle(self.last(h), self.patch)[..., :height, :width]
