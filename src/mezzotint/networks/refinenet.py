"""The network of NCSNv2: dilated residual blocks, refined from the deepest to the first, told no level of noise."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mezzotint.errors import UsageError
from mezzotint.networks.extension import extend


class RefineNet(nn.Module):
    """Predict from a noisy picture b in_channels H W the noise, b out_channels H W, whatever its level.

    Song and Ermon, "Improved Techniques for Training Score-Based Generative Models", arXiv 2006.09011, appendix B, and
    released code (NCSNv2); RefineNet is Lin et al., arXiv 1611.06612. Every depth is two residual blocks of `channels`
    times its multiplier; those of dilation 1, but for the first depth, halve the sides, those of more keep them. From
    the deepest on, a depth is refined together with what was refined before it. The network is not told the level:
    theirs divides the result by sigma, which makes a score of the noise. 29,694,083 parameters for pictures of less
    than 96 pixels (multipliers 1, 2, 2, 2 and dilations 1, 1, 2, 4), with three channels in and out.

    Any size of at least 1x1 is accepted: sides are extended to a multiple by mirroring, and the prediction is cut
    again. Normalisation sees the whole picture: the network is not local. Differs from the authors' code in the sizes.
    UsageError for other numbers of dilations than of multipliers, and where neither is positive.
    """

    def __init__(
        self,
        *,
        in_channels: int = 3,
        out_channels: int = 3,
        channels: int = 128,
        multipliers: tuple[int, ...] = (1, 2, 2, 2),
        dilations: tuple[int, ...] = (1, 1, 2, 4),
    ) -> None:
        super().__init__()
        if len(multipliers) < 2 or min(in_channels, out_channels, *multipliers, *dilations) < 1 or channels < 2:
            raise UsageError("a RefineNet needs two depths, two channels and dilations of at least 1")
        if len(multipliers) != len(dilations):
            raise UsageError(f"{len(multipliers)} multipliers and {len(dilations)} dilations: a depth has one of each")
        widths = [channels * multiplier for multiplier in multipliers]
        self.multiple = 2 ** sum(dilation == 1 for dilation in dilations[1:])
        self.first = nn.Conv2d(in_channels, channels, 3, padding=1)
        self.depths = nn.ModuleList()
        for index, (width_in, width, dilation) in enumerate(
            zip([channels, *widths], widths, dilations, strict=False)
        ):
            self.depths.append(
                nn.Sequential(
                    DilatedBlock(width_in, width, dilation=dilation, enters=index > 0),
                    DilatedBlock(width, width, dilation=dilation, enters=False),
                )
            )
        self.refine = nn.ModuleList()
        before: list[int] = []
        for index in reversed(range(len(widths))):
            width = widths[max(0, index - 1)]
            self.refine.append(Refine([widths[index], *before], width, ends=index == 0))
            before = [width]
        self.last = nn.Sequential(
            InstanceNorm(before[0]), nn.ELU(), nn.Conv2d(before[0], out_channels, 3, padding=1)
        )

    def forward(self, z: Tensor, level: Tensor) -> Tensor:
        """Predict from z b in_channels H W: b out_channels H W. The level b is not looked at."""
        rows, columns = z.shape[-2:]
        h = self.first(extend(z, self.multiple))
        found: list[Tensor] = []
        for depth in self.depths:
            h = depth(h)
            found.append(h)
        refined: list[Tensor] = []
        for refine in self.refine:
            refined = [refine([found.pop(), *refined])]
        return self.last(refined[0])[..., :rows, :columns]


class DilatedBlock(nn.Module):
    """Normalise, ELU, convolution, twice, beside a path: b width_in H W to b width_out, H W or half of it.

    `enters`: the block opens a depth: with dilation 1 it halves the sides, by means of 2x2 results, and its path has a
    1x1 convolution; with more both keep the sides and are 3x3 and dilated.
    """

    def __init__(self, width_in: int, width_out: int, *, dilation: int, enters: bool) -> None:
        super().__init__()
        between = width_in if enters else width_out
        self.halves = enters and dilation == 1

        def convolution(i: int, o: int) -> nn.Conv2d:
            return nn.Conv2d(i, o, 3, padding=dilation, dilation=dilation)

        self.layers = nn.Sequential(
            InstanceNorm(width_in), nn.ELU(), convolution(width_in, between),
            InstanceNorm(between), nn.ELU(), convolution(between, width_out),
        )  # fmt: skip
        self.residual: nn.Module = nn.Identity()
        if enters or width_in != width_out:
            self.residual = convolution(width_in, width_out) if dilation > 1 else nn.Conv2d(width_in, width_out, 1)

    def forward(self, h: Tensor) -> Tensor:
        out = self.residual(h) + self.layers(h)
        return F.avg_pool2d(out, 2) if self.halves else out


class Refine(nn.Module):
    """Bring maps of several sizes together at the size of the first: a list of b w H W to b width H W.

    Each passes two residual units; several are summed, after a convolution, enlarged bilinearly from corner to corner;
    then pooled over 5x5 and convolved twice, each result added; then one residual unit, three where the network `ends`.
    """

    def __init__(self, widths: Sequence[int], width: int, *, ends: bool) -> None:
        super().__init__()
        self.adapt = nn.ModuleList(nn.Sequential(Unit(each), Unit(each)) for each in widths)
        several = len(widths) > 1
        self.join = nn.ModuleList(nn.Conv2d(each, width, 3, padding=1) for each in widths if several)
        self.pool = nn.ModuleList(nn.Conv2d(width, width, 3, padding=1, bias=False) for _ in range(2))
        self.leave = nn.Sequential(*(Unit(width) for _ in range(3 if ends else 1)))

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        adapted = [adapt(h) for adapt, h in zip(self.adapt, maps, strict=True)]
        h = adapted[0]
        if self.join:
            size = (int(h.shape[-2]), int(h.shape[-1]))
            joined = [convolution(each) for convolution, each in zip(self.join, adapted, strict=True)]
            h = joined[0]
            for each in joined[1:]:
                h = h + F.interpolate(each, size=size, mode="bilinear", align_corners=True)
        path = h = F.elu(h)
        for convolution in self.pool:
            path = convolution(F.max_pool2d(path, 5, stride=1, padding=2))
            h = h + path
        return self.leave(h)


class Unit(nn.Module):
    """ELU and a convolution without bias, twice, added to the input: b width H W to the same."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.ELU(), nn.Conv2d(width, width, 3, padding=1, bias=False),
            nn.ELU(), nn.Conv2d(width, width, 3, padding=1, bias=False),
        )  # fmt: skip

    def forward(self, h: Tensor) -> Tensor:
        return h + self.layers(h)


class InstanceNorm(nn.Module):
    """InstanceNorm++: every channel to mean 0 and variance 1, plus its mean among the means of all channels.

    Those means are brought to mean 0 and (unbiased) variance 1 over the channels and multiplied by a learned number
    each; then a scale and a shift a channel. b width H W to the same.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.means, self.weight = (nn.Parameter(1.0 + 0.02 * torch.randn(width)) for _ in range(2))
        self.bias = nn.Parameter(torch.zeros(width))

    def forward(self, h: Tensor) -> Tensor:
        variance, mean = torch.var_mean(h, dim=(2, 3), correction=0, keepdim=True)
        spread, middle = torch.var_mean(mean, dim=1, keepdim=True)
        own, weight, bias = (value[:, None, None] for value in (self.means, self.weight, self.bias))
        kept = own * (mean - middle) * (spread + 1e-5).rsqrt()
        return weight * ((h - mean) * (variance + 1e-5).rsqrt() + kept) + bias
