"""The U-Net of SR3: residual blocks, a noise level added inside each, self-attention at chosen depths."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mezzotint.errors import UsageError
from mezzotint.networks.extension import extend


class UNet(nn.Module):
    """Map a noisy picture and its noise level to a prediction of the same height and width.

    `multipliers` give the width of each depth in units of `channels`; every depth but the last ends in a
    stride-2 convolution, so the deepest features have 1/`stride` of the sides, `stride` being
    2**(len(multipliers) - 1). `blocks` residual blocks a depth go down, one more each goes up.
    `attention` names the depths (0 is full size) whose blocks end in single-head self-attention;
    `middle_attention` is that of the bottleneck. GroupNorm and attention see the whole picture, so the
    network is not local: tiles of a picture differ from the whole.

    With `patch` above 1 every cell of `patch` x `patch` pixels becomes the channels of one pixel before the
    first layer and comes back after the last, so that the network works at 1/`patch` of the sides (and `stride`
    is `patch` times as large): many times cheaper. Such a cell holds more numbers than the features may have
    channels, so the input also reaches the output directly, every pixel through one matrix that the noise level
    gives: without it the noise of a state could not pass.

    Any size of at least 1x1 is accepted: the input is extended at the bottom and the right to the next
    multiple of `stride` by mirroring without repeating the edge pixel (as often as a small picture needs;
    a side of one pixel repeats it), and the output is cropped to the size of the input. Nothing is padded
    where the sides already are multiples.

    Saharia et al., "Image Super-Resolution via Iterative Refinement", arXiv 2104.07636, section 2.4, in
    the smaller form of the public PyTorch reimplementation (`sines` False: the noise level enters its two layers as it
    is, as in DiWa's code): skips are not scaled by 1/sqrt(2), the blocks
    are not BigGAN's, and the noise level is not multiplied by a large constant before its sines.
    """

    def __init__(
        self,
        *,
        in_channels: int = 6,
        out_channels: int = 3,
        channels: int = 64,
        multipliers: tuple[int, ...] = (1, 2, 4, 8, 8),
        blocks: int = 2,
        groups: int = 32,
        dropout: float = 0.0,
        attention: tuple[int, ...] = (),
        middle_attention: bool = True,
        sines: bool = True,
        patch: int = 1,
    ) -> None:
        super().__init__()
        multipliers, attention = tuple(multipliers), tuple(attention)
        if not multipliers or blocks < 1 or min(in_channels, out_channels, channels, *multipliers) < 1:
            raise UsageError("a U-Net needs at least one depth, one block and one channel everywhere")
        if channels % groups or channels % 2:
            raise UsageError(f"channels {channels} must be an even multiple of groups {groups}")
        if any(not 0 <= depth < len(multipliers) for depth in attention):
            raise UsageError(f"attention {attention} names a depth outside 0..{len(multipliers) - 1}")
        if not 0.0 <= dropout < 1.0:
            raise UsageError(f"dropout {dropout} is outside 0..1 (1 excluded)")
        if patch < 1:
            raise UsageError(f"patch {patch} is below 1: use 1 for none")
        self.patch, self.stride = patch, patch * 2 ** (len(multipliers) - 1)
        self.embedding = NoiseEmbedding(channels, sines=sines)
        self.first = nn.Conv2d(in_channels * patch**2, channels, 3, padding=1)

        def block(width_in: int, width_out: int, with_attention: bool) -> ResidualBlock:
            return ResidualBlock(
                width_in,
                width_out,
                embedding=channels,
                groups=groups,
                dropout=dropout,
                attention=with_attention,
            )

        widths = [channels * multiplier for multiplier in multipliers]
        deepest, width = len(widths) - 1, channels
        skips = [channels]
        self.down = nn.ModuleList()
        for depth, target in enumerate(widths):
            for _ in range(blocks):
                self.down.append(block(width, target, depth in attention))
                width = target
                skips.append(width)
            if depth < deepest:
                self.down.append(nn.Conv2d(width, width, 3, stride=2, padding=1))
                skips.append(width)
        self.middle = nn.ModuleList([block(width, width, middle_attention), block(width, width, False)])
        self.up = nn.ModuleList()
        for depth, target in reversed(list(enumerate(widths))):
            for _ in range(blocks + 1):
                self.up.append(block(width + skips.pop(), target, depth in attention))
                width = target
            if depth > 0:
                self.up.append(nn.Conv2d(width, width, 3, padding=1))
        last = nn.Conv2d(width, out_channels * patch**2, 3, padding=1)
        self.last = nn.Sequential(nn.GroupNorm(groups, width), nn.SiLU(), last)
        self.direct = nn.Linear(channels, out_channels * in_channels) if patch > 1 else None

    def forward(self, z: Tensor, level: Tensor) -> Tensor:
        """Predict from the state and its noise level.

        Args:
            z: b in_channels H W, the noisy picture with what conditions it.
            level: b, the noise level sqrt(gamma) in (0, 1].

        Returns:
            b out_channels H W.
        """
        height, width = z.shape[-2:]
        embedding = self.embedding(level.to(z.dtype))
        h = self.first(F.pixel_unshuffle(extend(z, self.stride), self.patch))
        skips = [h]
        for layer in self.down:
            h = layer(h, embedding) if isinstance(layer, ResidualBlock) else layer(h)
            skips.append(h)
        for layer in self.middle:
            h = layer(h, embedding)
        for layer in self.up:
            if isinstance(layer, ResidualBlock):
                h = layer(torch.cat((h, skips.pop()), dim=1), embedding)
            else:
                h = layer(F.interpolate(h, scale_factor=2.0, mode="nearest"))
        out = F.pixel_shuffle(self.last(h), self.patch)[..., :height, :width]
        if self.direct is None:
            return out
        mixing = self.direct(F.silu(embedding)).reshape(len(z), out.shape[1], z.shape[1])
        return out + torch.einsum("boi,bihw->bohw", mixing, z)


class NoiseEmbedding(nn.Module):
    """Embed a noise level: sines and cosines of level * 10**(-4k / (d/2)), k < d/2, or itself, then two layers."""

    def __init__(self, width: int, *, sines: bool = True) -> None:
        super().__init__()
        self.width, self.sines = width, sines
        self.layers = nn.Sequential(nn.Linear(width if sines else 1, 4 * width), nn.SiLU(), nn.Linear(4 * width, width))

    def forward(self, level: Tensor) -> Tensor:
        """b -> b width."""
        if not self.sines:
            return self.layers(level[:, None])
        half = self.width // 2
        # Computed, not stored: a buffer would stay on the meta device when the weights are loaded into it.
        places = torch.arange(half, device=level.device, dtype=level.dtype)
        angles = level[:, None] * torch.exp(places * (-4 * math.log(10) / half))
        return self.layers(torch.cat((angles.sin(), angles.cos()), dim=1))


class ResidualBlock(nn.Module):
    """Two convolutions with the embedded noise level added between them, a residual path, then attention."""

    def __init__(
        self, width_in: int, width_out: int, *, embedding: int, groups: int, dropout: float, attention: bool
    ) -> None:
        super().__init__()
        self.level = nn.Linear(embedding, width_out)
        self.before = nn.Sequential(
            nn.GroupNorm(groups, width_in), nn.SiLU(), nn.Conv2d(width_in, width_out, 3, padding=1)
        )
        self.after = nn.Sequential(
            nn.GroupNorm(groups, width_out),
            nn.SiLU(),
            nn.Dropout(dropout),
            nn.Conv2d(width_out, width_out, 3, padding=1),
        )
        self.residual = nn.Conv2d(width_in, width_out, 1) if width_in != width_out else nn.Identity()
        self.attention = SelfAttention(width_out, groups=groups) if attention else nn.Identity()

    def forward(self, h: Tensor, embedding: Tensor) -> Tensor:
        """b width_in H W and b embedding -> b width_out H W."""
        inner = self.before(h) + self.level(embedding)[:, :, None, None]
        return self.attention(self.after(inner) + self.residual(h))


class SelfAttention(nn.Module):
    """Let every position of the feature map look at every other; one head, added to the input."""

    def __init__(self, width: int, *, groups: int) -> None:
        super().__init__()
        self.normalise = nn.GroupNorm(groups, width)
        self.query_key_value = nn.Conv2d(width, 3 * width, 1, bias=False)
        self.project = nn.Conv2d(width, width, 1)

    def forward(self, h: Tensor) -> Tensor:
        """b width H W -> b width H W; time grows with the square of H W."""
        batch, width, height, columns = h.shape
        rows = self.query_key_value(self.normalise(h)).flatten(2).transpose(1, 2).unsqueeze(1)
        query, key, value = rows.chunk(3, dim=-1)
        seen = F.scaled_dot_product_attention(query, key, value)
        return h + self.project(seen.squeeze(1).transpose(1, 2).reshape(batch, width, height, columns))


def initialise_orthogonal(network: nn.Module, *, generator: torch.Generator | None = None) -> None:
    """Draw every convolution and linear layer from the orthogonal matrices and zero the biases, in place."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            nn.init.orthogonal_(module.weight, generator=generator)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
