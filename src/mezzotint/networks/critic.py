"""A small critic of sub-bands, for training alone."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn


class BandCritic(nn.Module):
    """Judge a clean state of sub-bands z (b, bands, h, w) in the light of `guide` (b, guide, h, w): (b, 1, h, w).

    Higher is more like a true one. No normalisation, so that a penalty of its gradient means what it says; every
    judgement is of the 7 x 7 cells around its place.
    """

    def __init__(self, *, bands: int, guide: int, channels: int = 64) -> None:
        super().__init__()
        self.state = nn.Conv2d(bands, channels, 3, padding=1)
        self.guide = nn.Conv2d(guide, channels, 3, padding=1, bias=False)
        self.inner = nn.ModuleList(nn.Conv2d(channels, channels, 3, padding=1) for _ in range(2))
        self.out = nn.Conv2d(channels, 1, 1)

    def forward(self, z: Tensor, guide: Tensor) -> Tensor:
        h = F.leaky_relu(self.state(z) + self.guide(guide), 0.2)
        for layer in self.inner:
            h = F.leaky_relu(layer(h), 0.2)
        return self.out(h)
