"""SPAN with a bicubic skip: the small local regression network that gives the posterior mean."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mezzotint.errors import UsageError
from mezzotint.networks.collapsed import conv3x3
from mezzotint.networks.widened import widen
from mezzotint.operators.resize import fold, taps


class BicubicUp(nn.Module):
    """MATLAB's bicubic enlargement by an integer `scale` as one small convolution: b c h w to b c H W.

    Equals `imresize(x, scale=scale)` to rounding, border included.
    """

    weight: Tensor

    def __init__(self, scale: int) -> None:
        super().__init__()
        self.scale = scale
        # An interior row of the resize matrix repeats with period `scale` and reaches two pixels to each side.
        size = 8
        weights, indices = taps(size, size * scale, ratio=float(scale))
        kernel = torch.zeros(scale, 5, dtype=torch.float64)
        for phase in range(scale):
            for w, j in zip(weights[4 * scale + phase], indices[4 * scale + phase], strict=True):
                kernel[phase, int(j) - 2] += w
        outer = torch.einsum("pi,qj->pqij", kernel, kernel).reshape(scale * scale, 1, 5, 5)
        self.register_buffer("weight", outer.float(), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        b, c, h, w = x.shape
        rows = fold(torch.arange(-2, h + 2, device=x.device), h)
        columns = fold(torch.arange(-2, w + 2, device=x.device), w)
        padded = x.index_select(2, rows).index_select(3, columns)
        with torch.autocast(x.device.type, enabled=False):
            phases = F.conv2d(padded.reshape(b * c, 1, h + 4, w + 4), self.weight.to(x.dtype))
        return F.pixel_shuffle(phases, self.scale).reshape(b, c, h * self.scale, w * self.scale)


class AttentionFreeBlock(nn.Module):
    """SPAN's block: three 3x3 convolutions, gated by an odd function of their own output (b c h w to b c h w)."""

    def __init__(self, channels: int, *, collapsed: bool) -> None:
        super().__init__()
        self.first = conv3x3(channels, channels, collapsed=collapsed)
        self.second = conv3x3(channels, channels, collapsed=collapsed)
        self.third = conv3x3(channels, channels, collapsed=collapsed)

    def forward(self, h: Tensor) -> tuple[Tensor, Tensor]:
        first = self.first(h)
        third = self.third(F.silu(self.second(F.silu(first))))
        return (third + h) * (torch.sigmoid(third) - 0.5), first


class Span(nn.Module):
    """Enlarge x (b, 3, h, w in [-1, 1]) by `scale`; also return the features (b, channels, h, w) behind the picture.

    SPAN (Wan et al. 2024, arXiv 2311.12770): head, `blocks` blocks, tail, a 1x1 over [head, tail, first block,
    inside of the last block], a 3x3 to scale^2 phases. Differs from the published network in the bicubic skip and in
    the training form (`collapsed`), which computes the same. With 28 channels, 6 blocks and scale 4 it has 150,688
    parameters when fused. Strictly local: the receptive field reaches `reach` pixels of x to each side.
    """

    def __init__(self, *, channels: int = 48, blocks: int = 6, scale: int = 4, collapsed: bool = True) -> None:
        super().__init__()
        if blocks < 2 or channels < 1:
            raise UsageError(f"SPAN with {blocks} blocks of {channels} channels: use at least 2 blocks and 1 channel")
        self.scale, self.channels = scale, channels
        self.reach = 3 * blocks + 3
        self.head = conv3x3(3, channels, collapsed=collapsed)
        self.blocks = nn.ModuleList(AttentionFreeBlock(channels, collapsed=collapsed) for _ in range(blocks))
        self.tail = conv3x3(channels, channels, collapsed=collapsed)
        self.fusion = nn.Conv2d(4 * channels, channels, 1)
        self.phases = nn.Conv2d(channels, 3 * scale * scale, 3, padding=1)
        self.skip = BicubicUp(scale)

    def grow_from(self, narrow: Span) -> None:
        """Take over what a network of fewer channels computes; the further channels are as at the start.

        Both in the plain form, with as many blocks and the same scale. Raises UsageError otherwise.
        """
        sides = [(n.scale, len(n.blocks), isinstance(n.head, nn.Conv2d)) for n in (narrow, self)]
        if sides[0] != sides[1] or not sides[0][2] or narrow.channels > self.channels:
            raise UsageError(
                f"SPAN of {self.channels} channels cannot grow from one of {narrow.channels}: use a plain one with the "
                "same scale and blocks and at most as many channels"
            )
        layers = dict(narrow.named_modules())
        for name, layer in self.named_modules():
            if isinstance(layer, nn.Conv2d):
                other = layers[name]
                assert isinstance(other, nn.Conv2d)
                parts = 4 if name == "fusion" else 1
                widen(layer, other, inputs=[(other.in_channels // parts, layer.in_channels // parts)] * parts)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        head = self.head(x)
        h, early, inner = head, head, head
        for index, block in enumerate(self.blocks):
            h, inner = block(h)
            if index == 0:
                early = h
        features = self.fusion(torch.cat([head, self.tail(h), early, inner], dim=1))
        detail = F.pixel_shuffle(self.phases(features), self.scale)
        return self.skip(x) + detail.to(x.dtype), features
