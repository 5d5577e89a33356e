"""EDSR's baseline with a bicubic skip: residual blocks that give the posterior mean."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from mezzotint.errors import UsageError
from mezzotint.networks.collapsed import CollapsedConv, conv3x3
from mezzotint.networks.span import BicubicUp


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions with a ReLU between, added to the input (b c h w to b c h w); nothing is added at first."""

    def __init__(self, channels: int, *, collapsed: bool) -> None:
        super().__init__()
        self.first = conv3x3(channels, channels, collapsed=collapsed)
        self.second = conv3x3(channels, channels, collapsed=collapsed)
        last = (self.second.leave, self.second.shortcut) if isinstance(self.second, CollapsedConv) else (self.second,)
        for layer in last:
            assert isinstance(layer, nn.Conv2d) and layer.bias is not None
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)

    def forward(self, h: Tensor) -> Tensor:
        return h + self.second(F.relu(self.first(h)))


class Edsr(nn.Module):
    """Enlarge x (b, 3, h, w in [-1, 1]) by `scale`; also return the features (b, channels, h, w) behind the picture.

    The baseline of EDSR (Lim et al. 2017, arXiv 1707.02921): head, residual blocks without normalisation, tail, a skip
    around both. It differs from the published network in the bicubic skip, in one 3x3 to scale^2 phases in place of
    a convolution and a shuffle for every factor of 2, and in blocks that begin as the identity. Strictly local: the
    receptive field reaches `reach` pixels of x to each side.
    """

    def __init__(self, *, channels: int = 48, blocks: int = 8, scale: int = 4, collapsed: bool = False) -> None:
        super().__init__()
        if blocks < 1 or channels < 1:
            raise UsageError(f"EDSR with {blocks} blocks of {channels} channels: use at least 1 block and 1 channel")
        self.scale, self.channels = scale, channels
        self.reach = 2 * blocks + 3
        self.head = conv3x3(3, channels, collapsed=collapsed)
        self.blocks = nn.ModuleList(ResidualBlock(channels, collapsed=collapsed) for _ in range(blocks))
        self.tail = conv3x3(channels, channels, collapsed=collapsed)
        self.phases = nn.Conv2d(channels, 3 * scale * scale, 3, padding=1)
        self.skip = BicubicUp(scale)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        h = head = self.head(x)
        for block in self.blocks:
            h = block(h)
        features = self.tail(h) + head
        detail = F.pixel_shuffle(self.phases(features), self.scale)
        return self.skip(x) + detail.to(x.dtype), features
