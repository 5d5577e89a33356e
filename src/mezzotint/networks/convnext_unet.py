"""The U-Net of Cold Diffusion: pairs of ConvNeXt blocks and linear attention at every depth."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from mezzotint.errors import UsageError
from mezzotint.networks.embedding import Chain, Timed, TimeEmbedding
from mezzotint.networks.extension import extend


class ConvNeXtUNet(nn.Module):
    """Predict from a degraded picture b in_channels H W and its time b, the number of a node, b out_channels H W.

    Bansal et al., "Cold Diffusion", arXiv 2208.09392, released code. `multipliers` give the width of each depth in
    units of `channels`; a depth is two ConvNeXt blocks and linear attention in `heads` heads of `head` channels. On the
    way up every depth but the first sees its result of the way down again; the first, of full size, is reached by a
    transposed convolution alone, as in the authors' code. 56,615,708 parameters with 64 channels and three in and out.

    Any size of at least 1x1 is accepted: sides are extended to multiples of 2^(depths - 1) by mirroring, and the
    prediction is cut again; the authors' code takes such multiples only. Differs from it also in that its nodes are
    counted from 0, ours from 1. Linear attention sees the whole picture: the network is not local.
    UsageError for channels that cannot be embedded.
    """

    def __init__(
        self,
        *,
        in_channels: int = 3,
        out_channels: int = 3,
        channels: int = 64,
        multipliers: tuple[int, ...] = (1, 2, 4, 8),
        heads: int = 4,
        head: int = 32,
    ) -> None:
        super().__init__()
        if len(multipliers) < 2 or min(in_channels, out_channels, channels, heads, head, *multipliers) < 1:
            raise UsageError("this U-Net needs at least two depths, one head and one channel everywhere")
        widths = [channels * multiplier for multiplier in multipliers]
        self.multiple = 2 ** (len(widths) - 1)
        self.embedding = TimeEmbedding(channels, out=channels, activation=nn.GELU(), closed=True)

        def depth(width_in: int, width_out: int, *, normalise: bool = True) -> Chain:
            return Chain(
                ConvNeXtBlock(width_in, width_out, embedding=channels, normalise=normalise),
                ConvNeXtBlock(width_out, width_out, embedding=channels),
                LinearAttention(width_out, heads=heads, head=head),
            )

        pairs = list(zip([in_channels, *widths], widths, strict=False))
        self.down = nn.ModuleList(depth(*pair, normalise=index > 0) for index, pair in enumerate(pairs))
        self.shrink = nn.ModuleList(nn.Conv2d(width, width, 4, stride=2, padding=1) for width in widths[:-1])
        deepest = widths[-1]
        self.middle = Chain(
            ConvNeXtBlock(deepest, deepest, embedding=channels),
            LinearAttention(deepest, heads=heads, head=head),
            ConvNeXtBlock(deepest, deepest, embedding=channels),
        )
        self.up = nn.ModuleList(depth(2 * width_out, width_in) for width_in, width_out in reversed(pairs[1:]))
        self.grow = nn.ModuleList(
            nn.ConvTranspose2d(width, width, 4, stride=2, padding=1) for width in reversed(widths[:-1])
        )
        self.last = nn.Sequential(ConvNeXtBlock(widths[0], widths[0]), nn.Conv2d(widths[0], out_channels, 1))

    def forward(self, z: Tensor, t: Tensor) -> Tensor:
        """Predict from z b in_channels H W and the time t b: b out_channels H W."""
        rows, columns = z.shape[-2:]
        embedding = self.embedding(t.to(z.dtype))
        h = extend(z, self.multiple)
        skips: list[Tensor] = []
        for index, layers in enumerate(self.down):
            h = layers(h, embedding)
            skips.append(h)
            if index < len(self.shrink):
                h = self.shrink[index](h)
        h = self.middle(h, embedding)
        for layers, grow in zip(self.up, self.grow, strict=True):
            h = grow(layers(torch.cat((h, skips.pop()), dim=1), embedding))
        return self.last(h)[..., :rows, :columns]


class ConvNeXtBlock(Timed):
    """A 7x7 convolution of each channel alone, the time added, then 3x3 to twice the width and back, beside a path.

    b width_in H W to b width_out H W. `embedding`: channels of the time, 0 for none. `normalise` False leaves the
    normalisation over channels out.
    """

    def __init__(self, width_in: int, width_out: int, *, embedding: int = 0, normalise: bool = True) -> None:
        super().__init__()
        self.time = nn.Sequential(nn.GELU(), nn.Linear(embedding, width_in)) if embedding else None
        self.depthwise = nn.Conv2d(width_in, width_in, 7, padding=3, groups=width_in)
        self.layers = nn.Sequential(
            ChannelNorm(width_in) if normalise else nn.Identity(),
            nn.Conv2d(width_in, 2 * width_out, 3, padding=1),
            nn.GELU(),
            nn.Conv2d(2 * width_out, width_out, 3, padding=1),
        )
        self.residual = nn.Conv2d(width_in, width_out, 1) if width_in != width_out else nn.Identity()

    def forward(self, h: Tensor, embedding: Tensor | None = None) -> Tensor:
        inner = self.depthwise(h)
        if self.time is not None:
            inner = inner + self.time(embedding)[:, :, None, None]
        return self.layers(inner) + self.residual(h)


class ChannelNorm(nn.Module):
    """Mean 0 and variance 1 over the channels of every position, then a scale and shift a channel: b width H W."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.ones(width)), nn.Parameter(torch.zeros(width))

    def forward(self, h: Tensor) -> Tensor:
        variance, mean = torch.var_mean(h, dim=1, correction=0, keepdim=True)
        weight, bias = self.weight[:, None, None], self.bias[:, None, None]
        return (h - mean) * (variance + 1e-5).rsqrt() * weight + bias


class LinearAttention(nn.Module):
    """Attention without the matrix of all pairs, on normalised channels, added to the input: b width H W.

    Shen et al., "Efficient Attention", arXiv 1812.01243, without softmax on the queries: keys are weights over the
    positions, by which values are averaged; queries over sqrt(head) pick from the averages. Time grows with H W.
    """

    def __init__(self, width: int, *, heads: int, head: int) -> None:
        super().__init__()
        self.heads, self.head = heads, head
        self.normalise = ChannelNorm(width)
        self.query_key_value = nn.Conv2d(width, 3 * heads * head, 1, bias=False)
        self.project = nn.Conv2d(heads * head, width, 1)

    def forward(self, h: Tensor) -> Tensor:
        b, _, rows, columns = h.shape
        joined = self.query_key_value(self.normalise(h))
        query, key, value = joined.reshape(b, 3, self.heads, self.head, rows * columns).unbind(1)
        averages = key.softmax(dim=-1) @ value.transpose(-1, -2)
        picked = (averages.transpose(-1, -2) @ query) * self.head**-0.5
        return h + self.project(picked.reshape(b, self.heads * self.head, rows, columns))
