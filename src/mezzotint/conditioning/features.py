"""Features of the small picture as condition, from residual-in-residual dense blocks (RRDB)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mezzotint.errors import UsageError


class DenseBlock(nn.Module):
    """Five convolutions, each seeing all results before it; the last one is added to the input, scaled by 0.2."""

    def __init__(self, features: int, growth: int) -> None:
        super().__init__()
        widths = [features + i * growth for i in range(5)]
        self.layers = nn.ModuleList(
            nn.Conv2d(width, growth if i < 4 else features, 3, padding=1) for i, width in enumerate(widths)
        )

    def forward(self, h: Tensor) -> Tensor:
        """b features h w -> the same."""
        seen = [h]
        for layer in list(self.layers)[:-1]:
            seen.append(F.leaky_relu(layer(torch.cat(seen, dim=1)), 0.2))
        return h + 0.2 * self.layers[-1](torch.cat(seen, dim=1))


class DenseFeatures(nn.Module):
    """Show the network features of the small picture, enlarged to the state, as more channels (SRDiff).

    Li et al., "SRDiff", arXiv 2104.14951, section 3.3. x, moved to [0, 1], passes one convolution and `blocks`
    residuals of three dense blocks; every third of the maps after each block and of the fused trunk is kept, and one
    transposed convolution (kernel 2 scale, stride scale) brings them to `width` channels at the state's size. Channels
    beside the state in front of the first convolution are features added after it, where the authors' code adds them
    one level later. Differs from it also in that the encoder learns together with the network instead of before it.
    UsageError for fewer than 2 blocks, or a scale that is no even whole number.
    """

    lifted = False

    def __init__(self, *, scale: float, channels: int = 3, blocks: int = 8, features: int = 32, growth: int = 16,
                 width: int = 64) -> None:  # fmt: skip
        super().__init__()
        if blocks < 2:
            raise UsageError(f"blocks {blocks} of the encoder: use 2 or more, so that a third map exists")
        if scale % 2 or scale < 2:
            raise UsageError(f"scale {scale}: the encoder's transposed convolution needs an even whole number, as 4")
        self.width, self.scale = width, int(scale)
        self.first = nn.Conv2d(channels, features, 3, padding=1)
        self.blocks = nn.ModuleList(
            nn.Sequential(*(DenseBlock(features, growth) for _ in range(3))) for _ in range(blocks)
        )
        self.trunk = nn.Conv2d(features, features, 3, padding=1)
        kept = len(range(2, blocks + 1, 3))
        self.enlarge = nn.ConvTranspose2d(kept * features, width, 2 * self.scale, self.scale, padding=self.scale // 2)

    def channels(self, channels: int) -> int:
        """Channels that the network sees, for states of `channels` channels."""
        return self.width + channels

    def prepare(self, x: Tensor, *, size: tuple[int, int]) -> Tensor:
        """x b c h w in [-1, 1] -> features b width H W, cut, or extended by the last row and column, to `size`."""
        start = self.first(0.5 * (x + 1.0))
        h, maps = start, []
        for block in self.blocks:
            h = h + 0.2 * block(h)
            maps.append(h)
        maps.append(start + self.trunk(h))
        features = self.enlarge(torch.cat(maps[2::3], dim=1))
        extra = [max(0, side - int(have)) for side, have in zip(size, features.shape[-2:], strict=True)]
        if any(extra):
            features = F.pad(features, (0, extra[1], 0, extra[0]), mode="replicate")
        return features[..., : size[0], : size[1]]

    def join(self, z: Tensor, condition: Tensor) -> Tensor:
        """The network's input from the state b c H W and the features: b width + c H W in the state's type."""
        return torch.cat((condition.to(z), z), dim=1)
