"""The U-Nets of the stochastic equations, NCSN++ and DDPM++: BigGAN's blocks, and sums that keep their variance."""

from __future__ import annotations

import math
from typing import Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mezzotint.errors import UsageError
from mezzotint.networks.embedding import Chain, Timed, TimeEmbedding
from mezzotint.networks.extension import extend
from mezzotint.networks.residual_unet import Attention, Halved, zeroed

Told = Literal["time", "noise"]
_EPSILON = 1e-6


class NCSNpp(nn.Module):
    """Predict from a noisy picture b in_channels H W and its level b the noise, b out_channels H W.

    Song et al., "Score-Based Generative Modeling through Stochastic Differential Equations", arXiv 2011.13456, appendix
    H, and released PyTorch code. `multipliers` give the width of each depth in units of `channels`; `attention` names
    the depths (0 is full size) with attention of one head: after every block on the way down, once on the way up, and
    in the bottleneck. Sums are divided by sqrt(2). `filtered`: sides change through the binomial filter 1, 3, 3, 1
    instead of means and repeated pixels. `pyramid`: the input, halved again and again by filtered convolutions, is
    added to every depth; with `skips` instead the filtered input is added to every depth through a 1x1 convolution, and
    every depth draws a picture, which is doubled and added to that of the next (the networks for 256 x 256 pixels and
    more; sums without the divisor). `told`: "time" takes numbers of nodes, up to 1000, "noise" log(s / a) / 4, as
    random sines. With three channels in and out and four blocks NCSN++ (filtered, pyramid, told the noise) has
    62,758,915 parameters, the 128 rates of the sines among them, and DDPM++ (neither, told the time) 61,804,419.

    Any size of at least 1x1 is accepted: sides are extended to multiples of 2^(depths - 1) by mirroring, and the
    prediction is cut again. GroupNorm and attention see the whole picture: the network is not local. Differs from the
    authors' code in the sizes; in the weights at the start, PyTorch's own with zeros where theirs are scaled to 1e-10;
    in times up to 1000, theirs to 999; and in what is predicted, for theirs the score, which is minus this over s.
    UsageError for channels that groups or embedding do not divide, and an unknown kind of level.
    """

    def __init__(
        self,
        *,
        in_channels: int = 3,
        out_channels: int = 3,
        channels: int = 128,
        multipliers: tuple[int, ...] = (1, 2, 2, 2),
        blocks: int = 4,
        attention: tuple[int, ...] = (1,),
        filtered: bool = True,
        pyramid: bool = True,
        skips: bool = False,
        told: Told = "noise",
        groups: int = 32,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        if not multipliers or blocks < 1 or min(in_channels, out_channels, channels, *multipliers) < 1:
            raise UsageError("a U-Net needs at least one depth, one block and one channel everywhere")
        if any(not 0 <= depth < len(multipliers) for depth in attention):
            raise UsageError(f"attention {tuple(attention)} names a depth outside 0..{len(multipliers) - 1}")
        if pyramid and skips:
            raise UsageError("pyramid and skips both show the input to every depth: set one of them to false")
        if told not in get_args(Told):
            raise UsageError(f"told {told!r} is unknown: use one of {', '.join(get_args(Told))}")
        self.multiple = 2 ** (len(multipliers) - 1)
        self.embedding = (
            NoiseWaves(channels, out=4 * channels)
            if told == "noise"
            else TimeEmbedding(channels, out=4 * channels, activation=nn.SiLU(), closed=True)
        )

        def block(i: int, o: int, *, resample: Resample = "none") -> ScoreBlock:
            return ScoreBlock(
                i, o, embedding=4 * channels, groups=groups, dropout=dropout, filtered=filtered, resample=resample
            )

        def attend(width: int) -> nn.Module:
            return Mixed(Attention(width, groups=_groups(width, groups), epsilon=_EPSILON))

        widths = [channels * multiplier for multiplier in multipliers]
        deepest, width, seen = len(widths) - 1, channels, in_channels
        self.first = nn.Conv2d(in_channels, width, 3, padding=1)
        self.down, self.pyramid, kept = nn.ModuleList(), nn.ModuleList(), [width]
        for depth, target in enumerate(widths):
            for _ in range(blocks):
                layers: list[nn.Module] = [block(width, target)]
                if depth in attention:
                    layers.append(attend(target))
                self.down.append(Chain(*layers))
                width = target
                kept.append(width)
            if depth < deepest:
                self.down.append(Chain(block(width, width, resample="down")))
                kept.append(width)
                if pyramid:
                    self.pyramid.append(FilteredHalf(seen, width) if filtered else Halved(seen, width))
                    seen = width
                elif skips:
                    self.pyramid.append(nn.Conv2d(in_channels, width, 1))
        self.middle = Chain(block(width, width), attend(width), block(width, width))
        self.up, self.pictures = nn.ModuleList(), nn.ModuleList()
        for depth, target in reversed(list(enumerate(widths))):
            for index in range(blocks + 1):
                layers = [block(width + kept.pop(), target)]
                width = target
                if index == blocks and depth in attention:
                    layers.append(attend(width))
                if index == blocks and depth > 0 and not skips:
                    layers.append(block(width, width, resample="up"))
                self.up.append(Chain(*layers))
            if skips:
                self.pictures.append(_picture(width, out_channels, groups))
                if depth > 0:
                    self.up.append(Chain(block(width, width, resample="up")))
        self.last = nn.Identity() if skips else _picture(width, out_channels, groups)
        self.blocks, self.filtered, self.skips = blocks, filtered, skips

    def forward(self, z: Tensor, level: Tensor) -> Tensor:
        """Predict from z b in_channels H W and its level b, a time or log(s / a) / 4: b out_channels H W."""
        rows, columns = z.shape[-2:]
        embedding = self.embedding(level.to(z.dtype))
        z = extend(z, self.multiple)
        h = self.first(z)
        kept, halvings = [h], iter(self.pyramid)
        for index, layers in enumerate(self.down):
            h = layers(h, embedding)
            # Every depth is its blocks and one that halves, which the input pyramid joins.
            if (index + 1) % (self.blocks + 1) == 0 and (halve := next(halvings, None)) is not None:
                if self.skips:
                    z = self._half(z)
                    h = halve(z) + h
                else:
                    z = h = _mean(halve(z), h)
            kept.append(h)
        h = self.middle(h, embedding)
        if self.skips:
            return self._drawn(h, kept, embedding)[..., :rows, :columns]
        for layers in self.up:
            h = layers(torch.cat((h, kept.pop()), dim=1), embedding)
        return self.last(h)[..., :rows, :columns]

    def _drawn(self, h: Tensor, kept: list[Tensor], embedding: Tensor) -> Tensor:
        """The sum of the pictures of all depths, doubled up to full size."""
        picture: Tensor | None = None
        for index, layers in enumerate(self.up):
            # Every depth is one more block than on the way down, and one that doubles once its picture is drawn.
            place = index % (self.blocks + 2)
            h = layers(h if place > self.blocks else torch.cat((h, kept.pop()), dim=1), embedding)
            if place == self.blocks:
                drawn = self.pictures[index // (self.blocks + 2)](h)
                picture = drawn if picture is None else self._double(picture) + drawn
        assert picture is not None
        return picture

    def _half(self, z: Tensor) -> Tensor:
        return filter_down(z) if self.filtered else F.avg_pool2d(z, 2)

    def _double(self, z: Tensor) -> Tensor:
        return filter_up(z) if self.filtered else F.interpolate(z, scale_factor=2.0, mode="nearest")


Resample = Literal["none", "down", "up"]


class ScoreBlock(Timed):
    """Two 3x3 convolutions with the embedded level added between them, beside a path, the sum over sqrt(2).

    b width_in H W to b width_out H W. `resample` halves or doubles the sides of both before the first convolution; the
    path then has a 1x1 convolution, as where the width changes. The second convolution starts at zero.
    """

    def __init__(
        self, width_in: int, width_out: int, *, embedding: int, groups: int, dropout: float, filtered: bool,
        resample: Resample,
    ) -> None:  # fmt: skip
        super().__init__()
        self.filtered, self.resample = filtered, resample
        self.enter = nn.Sequential(nn.GroupNorm(_groups(width_in, groups), width_in, eps=_EPSILON), nn.SiLU())
        self.first = nn.Conv2d(width_in, width_out, 3, padding=1)
        self.level = nn.Sequential(nn.SiLU(), nn.Linear(embedding, width_out))
        second = zeroed(nn.Conv2d(width_out, width_out, 3, padding=1))
        self.leave = nn.Sequential(
            nn.GroupNorm(_groups(width_out, groups), width_out, eps=_EPSILON), nn.SiLU(), nn.Dropout(dropout), second
        )
        changed = width_in != width_out or resample != "none"
        self.residual = nn.Conv2d(width_in, width_out, 1) if changed else nn.Identity()

    def forward(self, h: Tensor, embedding: Tensor) -> Tensor:
        inner = self.first(self._resampled(self.enter(h))) + self.level(embedding)[:, :, None, None]
        return _mean(self.residual(self._resampled(h)), self.leave(inner))

    def _resampled(self, h: Tensor) -> Tensor:
        if self.resample == "down":
            return filter_down(h) if self.filtered else F.avg_pool2d(h, 2)
        if self.resample == "up":
            return filter_up(h) if self.filtered else F.interpolate(h, scale_factor=2.0, mode="nearest")
        return h


class Mixed(nn.Module):
    """Attention whose sum with its input is divided by sqrt(2)."""

    def __init__(self, attention: Attention) -> None:
        super().__init__()
        self.attention = attention

    def forward(self, h: Tensor) -> Tensor:
        return self.attention(h) / math.sqrt(2.0)


class NoiseWaves(nn.Module):
    """Embed levels log(s / a) / 4 b as b `out`: sines and cosines of random rates, then two layers.

    The `width` rates are drawn once, normal with deviation 16 turns a unit of log(s / a), and never learned.
    """

    def __init__(self, width: int, *, out: int) -> None:
        super().__init__()
        self.rates = nn.Parameter(torch.randn(width) * 16.0, requires_grad=False)
        self.layers = nn.Sequential(nn.Linear(2 * width, 4 * width), nn.SiLU(), nn.Linear(4 * width, out))

    def forward(self, level: Tensor) -> Tensor:
        angles = 2.0 * math.pi * (4.0 * level)[:, None] * self.rates
        return self.layers(torch.cat((angles.sin(), angles.cos()), dim=1))


class FilteredHalf(nn.Module):
    """The binomial filter, then a 3x3 convolution of stride 2: b width_in 2H 2W to b width_out H W."""

    def __init__(self, width_in: int, width_out: int) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(width_in, width_out, 3, stride=2)

    def forward(self, h: Tensor) -> Tensor:
        kernel = _binomial(h).expand(h.shape[1], 1, 4, 4)
        return self.convolution(F.conv2d(h, kernel, padding=2, groups=h.shape[1]))


def filter_down(h: Tensor) -> Tensor:
    """Halve the sides of b c 2H 2W after the filter 1, 3, 3, 1 over 8 along both, zeros outside."""
    return F.conv2d(h, _binomial(h).expand(h.shape[1], 1, 4, 4), stride=2, padding=1, groups=h.shape[1])


def filter_up(h: Tensor) -> Tensor:
    """Double the sides of b c H W: zeros between the pixels, then the filter 1, 3, 3, 1 over 4 along both."""
    kernel = 4.0 * _binomial(h).expand(h.shape[1], 1, 4, 4)
    return F.conv_transpose2d(h, kernel, stride=2, padding=1, groups=h.shape[1])


def _binomial(like: Tensor) -> Tensor:
    row = torch.tensor((1.0, 3.0, 3.0, 1.0), dtype=like.dtype, device=like.device) / 8.0
    return row[:, None] * row


def _groups(width: int, groups: int) -> int:
    """A quarter of the channels, at most `groups`; UsageError where the channels do not divide into them."""
    number = min(width // 4, groups)
    if number < 1 or width % number:
        raise UsageError(f"{width} channels do not divide into {number} groups: choose channels or groups anew")
    return number


def _picture(width: int, out_channels: int, groups: int) -> nn.Sequential:
    """GroupNorm, SiLU and a 3x3 convolution that starts at zero."""
    last = zeroed(nn.Conv2d(width, out_channels, 3, padding=1))
    return nn.Sequential(nn.GroupNorm(_groups(width, groups), width, eps=_EPSILON), nn.SiLU(), last)


def _mean(one: Tensor, other: Tensor) -> Tensor:
    return (one + other) / math.sqrt(2.0)
