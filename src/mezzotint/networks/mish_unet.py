"""The U-Net of SRDiff: pairs of residual blocks without normalisation or attention, mirrored edges, Mish."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from mezzotint.errors import UsageError
from mezzotint.networks.embedding import Chain, Timed, TimeEmbedding
from mezzotint.networks.extension import extend, mirror_edges


class MishUNet(nn.Module):
    """Predict from features and a noisy picture, b in_channels H W, and its time b the noise, b out_channels H W.

    Li et al., "SRDiff", arXiv 2104.14951, section 3.2, and released code. The last `out_channels` channels of the
    input are the state, with which the network begins; those before are features of the small picture
    (`conditioning.features`), added once, after the two blocks of the first depth (through a 1x1 convolution where
    their number is not its width). `multipliers` give the width of each depth in units of `channels`. On the way up
    every depth but the first sees its result of the way down again; the first, of full size, is reached by a transposed
    convolution alone, as in the authors' code. With the transposed convolution that enlarges the features it has
    11,755,267 parameters for scale 4 (multipliers 1, 2, 3, 4) and 10,545,795 for faces and scale 8 (1, 2, 2, 4).

    Any size of at least 1x1 is accepted: sides are extended to multiples of 2^(depths - 1) by mirroring, and the
    prediction is cut again; the authors' code takes such multiples only. Differs from it also in that its nodes are
    counted from 0, ours from 1. No position sees the whole picture.
    UsageError for channels that cannot be embedded, and for an input without features.
    """

    def __init__(
        self,
        *,
        in_channels: int = 67,
        out_channels: int = 3,
        channels: int = 64,
        multipliers: tuple[int, ...] = (1, 2, 3, 4),
    ) -> None:
        super().__init__()
        if len(multipliers) < 2 or min(out_channels, channels, *multipliers) < 1:
            raise UsageError("this U-Net needs at least two depths and one channel everywhere")
        if in_channels <= out_channels:
            raise UsageError(
                f"{in_channels} channels in leave no features beside {out_channels} of the state: use an encoder"
            )
        widths = [channels * multiplier for multiplier in multipliers]
        self.features, self.multiple = in_channels - out_channels, 2 ** (len(widths) - 1)
        self.enter = nn.Conv2d(self.features, widths[0], 1) if self.features != widths[0] else nn.Identity()
        self.embedding = TimeEmbedding(channels, out=channels, activation=nn.Mish(), closed=True)

        def pair(width_in: int, width_out: int) -> Chain:
            return Chain(*(MishBlock(width, width_out, embedding=channels) for width in (width_in, width_out)))

        self.down, self.shrink = nn.ModuleList(), nn.ModuleList()
        for width_in, width_out in zip([out_channels, *widths], widths, strict=False):
            self.down.append(pair(width_in, width_out))
        for width in widths[:-1]:
            self.shrink.append(nn.Conv2d(width, width, 3, stride=2))
        self.middle = pair(widths[-1], widths[-1])
        self.up, self.grow = nn.ModuleList(), nn.ModuleList()
        for width_in, width_out in reversed(list(zip(widths[1:], widths, strict=False))):
            self.up.append(pair(2 * width_in, width_out))
            self.grow.append(nn.ConvTranspose2d(width_out, width_out, 4, stride=2, padding=1))
        self.last = nn.Sequential(MirroredConvolution(widths[0], widths[0]), nn.Conv2d(widths[0], out_channels, 1))

    def forward(self, z: Tensor, t: Tensor) -> Tensor:
        """Predict from z b in_channels H W, features first, and the time t b: b out_channels H W."""
        rows, columns = z.shape[-2:]
        embedding = self.embedding(t.to(z.dtype))
        z = extend(z, self.multiple)
        features, h = z[:, : self.features], z[:, self.features :]
        skips: list[Tensor] = []
        for depth, pair in enumerate(self.down):
            h = pair(h, embedding)
            if depth == 0:
                h = h + self.enter(features)
            skips.append(h)
            if depth < len(self.shrink):
                h = self.shrink[depth](mirror_edges(h))
        h = self.middle(h, embedding)
        for pair, grow in zip(self.up, self.grow, strict=True):
            h = grow(pair(torch.cat((h, skips.pop()), dim=1), embedding))
        return self.last(h)[..., :rows, :columns]


class MishBlock(Timed):
    """Convolution, Mish, the time added after Mish and a layer, convolution, Mish, beside a residual path."""

    def __init__(self, width_in: int, width_out: int, *, embedding: int) -> None:
        super().__init__()
        self.time = nn.Sequential(nn.Mish(), nn.Linear(embedding, width_out))
        self.first = MirroredConvolution(width_in, width_out)
        self.second = MirroredConvolution(width_out, width_out)
        self.residual = nn.Conv2d(width_in, width_out, 1) if width_in != width_out else nn.Identity()

    def forward(self, h: Tensor, embedding: Tensor) -> Tensor:
        return self.second(self.first(h) + self.time(embedding)[:, :, None, None]) + self.residual(h)


class MirroredConvolution(nn.Module):
    """A 3x3 convolution over mirrored edges, then Mish: b width_in H W to b width_out H W."""

    def __init__(self, width_in: int, width_out: int) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(width_in, width_out, 3)
        self.activation = nn.Mish()

    def forward(self, h: Tensor) -> Tensor:
        return self.activation(self.convolution(mirror_edges(h)))
