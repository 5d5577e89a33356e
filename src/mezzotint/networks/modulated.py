"""A residual block without normalisation whose features a noise level scales and shifts."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn


class ModulatedBlock(nn.Module):
    """Two 3x3 convolutions around a shortcut; between them a scale and shift that depend on the noise level alone."""

    def __init__(self, channels: int, embedding: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(channels, channels, 3, padding=1)
        self.second = nn.Conv2d(channels, channels, 3, padding=1)
        self.level = nn.Linear(embedding, 2 * channels)
        for parameter in (self.second.weight, self.second.bias, self.level.weight, self.level.bias):
            assert parameter is not None
            nn.init.zeros_(parameter)

    def forward(self, h: Tensor, level: Tensor) -> Tensor:
        scale, shift = self.level(level)[:, :, None, None].to(h.dtype).chunk(2, dim=1)
        inner = self.first(F.silu(h)) * (1 + scale) + shift
        return h + self.second(F.silu(inner))
