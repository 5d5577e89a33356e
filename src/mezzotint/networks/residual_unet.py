"""The skeleton of the U-Nets of DDPM, ADM and ResShift: residual blocks that know the time, depth by depth."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mezzotint.errors import UsageError
from mezzotint.networks.embedding import Chain, Timed
from mezzotint.networks.extension import extend


@dataclass(frozen=True)
class Parts:
    """What a U-Net is made of, as functions that make a module.

    `block(width_in, width_out)`: called with (h, embedding). `mixer(width, depth, index)`: what follows block `index`
    of a depth, on the way down or up, or stands in the bottleneck (index None); None for nothing. `mixer_up`, where it
    is given, says so for the way up alone. `down(width)` and `up(width)` change the sides by 2: a module of h, or of h
    and the embedding (`Timed`). `embedding` maps times b to b e.
    """

    embedding: nn.Module
    block: Callable[[int, int], nn.Module]
    mixer: Callable[[int, int, int | None], nn.Module | None]
    down: Callable[[int], nn.Module]
    up: Callable[[int], nn.Module]
    mixer_up: Callable[[int, int, int | None], nn.Module | None] | None = None


class ResidualUNet(nn.Module):
    """Map a noisy picture, with what conditions it, and its time to a prediction of the same height and width.

    A 3x3 convolution to the first width; going down, `blocks` blocks a depth, whose results and the entry of each
    depth are kept; a bottleneck of block, mixer, block; going up, `blocks` + 1 blocks a depth, each beside one of the
    kept results; GroupNorm, SiLU and a 3x3 convolution. `widths` are the channels of the depths, each with half the
    sides of the one before.

    Any size of at least 1x1 is accepted: sides are extended to multiples of `multiple` (`extension.extend`) and the
    prediction is cut again. GroupNorm and attention see the whole picture: the network is not local.
    """

    def __init__(
        self,
        *,
        in_channels: int,
        out_channels: int,
        widths: tuple[int, ...],
        blocks: int,
        parts: Parts,
        groups: int,
        epsilon: float = 1e-5,
        zero_last: bool = True,
        multiple: int | None = None,
    ) -> None:
        super().__init__()
        if not widths or blocks < 1 or min(in_channels, out_channels, *widths) < 1:
            raise UsageError("a U-Net needs at least one depth, one block and one channel everywhere")
        for width in widths:
            if width % groups:
                raise UsageError(f"{width} channels do not divide into {groups} groups: choose channels or groups anew")
        deepest, width = len(widths) - 1, widths[0]
        self.multiple = 2**deepest if multiple is None else multiple
        self.embedding = parts.embedding
        self.first = nn.Conv2d(in_channels, width, 3, padding=1)
        skips = [width]
        self.down = nn.ModuleList()
        for depth, target in enumerate(widths):
            for index in range(blocks):
                self.down.append(Chain(parts.block(width, target), parts.mixer(target, depth, index)))
                width = target
                skips.append(width)
            if depth < deepest:
                self.down.append(Chain(parts.down(width)))
                skips.append(width)
        self.middle = Chain(parts.block(width, width), parts.mixer(width, deepest, None), parts.block(width, width))
        self.up, mixer_up = nn.ModuleList(), parts.mixer_up or parts.mixer
        for depth, target in reversed(list(enumerate(widths))):
            for index in range(blocks + 1):
                layers = [parts.block(width + skips.pop(), target), mixer_up(target, depth, index)]
                width = target
                if depth > 0 and index == blocks:
                    layers.append(parts.up(width))
                self.up.append(Chain(*layers))
        last = nn.Conv2d(width, out_channels, 3, padding=1)
        last = zeroed(last) if zero_last else last
        self.last = nn.Sequential(nn.GroupNorm(groups, width, eps=epsilon), nn.SiLU(), last)

    def forward(self, z: Tensor, t: Tensor) -> Tensor:
        """Predict from the picture z b in_channels H W and the time t b, the number of a node: b out_channels H W."""
        rows, columns = z.shape[-2:]
        embedding = self.embedding(t.to(z.dtype))
        h = self.first(extend(z, self.multiple))
        skips = [h]
        for chain in self.down:
            h = chain(h, embedding)
            skips.append(h)
        h = self.middle(h, embedding)
        for chain in self.up:
            h = chain(torch.cat((h, skips.pop()), dim=1), embedding)
        return self.last(h)[..., :rows, :columns]


class TimedBlock(Timed):
    """Two 3x3 convolutions around the embedded time, beside a residual path (b width_in H W to b width_out H W).

    The time, after SiLU and a layer, is added between the convolutions; with `scale_shift` it scales (by 1 + ...) and
    shifts the second GroupNorm's result instead. `resample` halves the sides before the first convolution by means
    of 2x2 pixels, or doubles them by repeating pixels, on both paths. The second convolution starts at zero.
    """

    def __init__(
        self,
        width_in: int,
        width_out: int,
        *,
        embedding: int,
        groups: int,
        dropout: float = 0.0,
        epsilon: float = 1e-5,
        scale_shift: bool = False,
        resample: Literal["none", "down", "up"] = "none",
    ) -> None:
        super().__init__()
        self.scale_shift, self.resample = scale_shift, resample
        self.enter = nn.Sequential(nn.GroupNorm(groups, width_in, eps=epsilon), nn.SiLU())
        self.first = nn.Conv2d(width_in, width_out, 3, padding=1)
        self.time = nn.Sequential(nn.SiLU(), nn.Linear(embedding, width_out * (2 if scale_shift else 1)))
        self.normalise = nn.GroupNorm(groups, width_out, eps=epsilon)
        second = nn.Conv2d(width_out, width_out, 3, padding=1)
        self.leave = nn.Sequential(nn.SiLU(), nn.Dropout(dropout), zeroed(second))
        self.residual = nn.Conv2d(width_in, width_out, 1) if width_in != width_out else nn.Identity()

    def forward(self, h: Tensor, embedding: Tensor) -> Tensor:
        inner = self.first(self._resampled(self.enter(h)))
        time = self.time(embedding)[:, :, None, None]
        if self.scale_shift:
            scale, shift = time.chunk(2, dim=1)
            inner = self.normalise(inner) * (1 + scale) + shift
        else:
            inner = self.normalise(inner + time)
        return self.residual(self._resampled(h)) + self.leave(inner)

    def _resampled(self, h: Tensor) -> Tensor:
        if self.resample == "down":
            return F.avg_pool2d(h, 2)
        return F.interpolate(h, scale_factor=2.0, mode="nearest") if self.resample == "up" else h


class Attention(nn.Module):
    """Every position of b width H W looks at every other, in `heads` heads, added to the input.

    A head's query, key and value are consecutive in one 1x1 convolution; the last convolution starts at zero. Time
    grows with the square of H W.
    """

    def __init__(self, width: int, *, heads: int = 1, groups: int, epsilon: float = 1e-5) -> None:
        super().__init__()
        if width % heads:
            raise UsageError(f"{width} channels do not divide into {heads} heads of attention")
        self.heads = heads
        self.normalise = nn.GroupNorm(groups, width, eps=epsilon)
        self.query_key_value = nn.Conv2d(width, 3 * width, 1)
        self.project = zeroed(nn.Conv2d(width, width, 1))

    def forward(self, h: Tensor) -> Tensor:
        joined = self.query_key_value(self.normalise(h)).reshape(len(h), self.heads, 3, -1, h.shape[-2] * h.shape[-1])
        query, key, value = joined.transpose(-1, -2).unbind(2)
        seen = F.scaled_dot_product_attention(query, key, value)
        return h + self.project(seen.transpose(-1, -2).reshape(h.shape))


class Halved(nn.Module):
    """A 3x3 convolution of stride 2: b width_in 2H 2W to b width_out H W.

    Zeros lie at the bottom and the right only, or with `around` at the top and the left.
    """

    def __init__(self, width_in: int, width_out: int, *, around: bool = False) -> None:
        super().__init__()
        self.around = around
        self.convolution = nn.Conv2d(width_in, width_out, 3, stride=2)

    def forward(self, h: Tensor) -> Tensor:
        return self.convolution(F.pad(h, (1, 1, 1, 1) if self.around else (0, 1, 0, 1)))


class Doubled(nn.Module):
    """Double the sides by repeating pixels, then a 3x3 convolution: b width H W to b width 2H 2W."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(width, width, 3, padding=1)

    def forward(self, h: Tensor) -> Tensor:
        return self.convolution(F.interpolate(h, scale_factor=2.0, mode="nearest"))


def zeroed(layer: nn.Conv2d) -> nn.Conv2d:
    """The layer with weights and bias 0, so that training starts from its surroundings alone."""
    nn.init.zeros_(layer.weight)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
    return layer
