"""The small local denoiser of sub-band residuals, run at the size of the small picture."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mezzotint.networks.modulated import ModulatedBlock


class Refiner(nn.Module):
    """Predict v and the logarithm of its variance for a state of sub-bands.

    `condition(guide)` maps what is known of the small picture (b, guide, h, w) to features that serve all steps;
    `forward(z, condition, log_snr)` maps the state (b, bands, h, w), those features and the half log-SNR (b,) to
    (v, log variance), both (b, bands, h, w). No normalisation over positions and no attention: the output depends on
    `reach` pixels of the state to each side and nothing else.
    """

    def __init__(self, *, bands: int, guide: int, channels: int = 64, blocks: int = 6, embedding: int = 64) -> None:
        super().__init__()
        self.reach = 2 * blocks + 2
        self.embedding = embedding
        self.guide = nn.Sequential(
            nn.Conv2d(guide, channels, 3, padding=1), nn.SiLU(), nn.Conv2d(channels, channels, 1)
        )
        self.state = nn.Conv2d(bands, channels, 3, padding=1)
        self.level = nn.Sequential(
            nn.Linear(embedding, embedding), nn.SiLU(), nn.Linear(embedding, embedding), nn.SiLU()
        )
        self.blocks = nn.ModuleList(ModulatedBlock(channels, embedding) for _ in range(blocks))
        self.out = nn.Conv2d(channels, 2 * bands, 3, padding=1)
        nn.init.zeros_(self.out.weight)
        assert self.out.bias is not None
        nn.init.zeros_(self.out.bias)

    def condition(self, guide: Tensor) -> Tensor:
        return self.guide(guide)

    def forward(self, z: Tensor, condition: Tensor, log_snr: Tensor) -> tuple[Tensor, Tensor]:
        half = self.embedding // 2
        rates = torch.exp(torch.linspace(math.log(0.1), math.log(10.0), half, device=z.device))
        angle = log_snr.to(z.device, torch.float32)[:, None] * rates
        level = self.level(torch.cat([angle.sin(), angle.cos()], dim=1))
        h = self.state(z) + condition
        for block in self.blocks:
            h = block(h, level)
        v, log_variance = self.out(F.silu(h)).chunk(2, dim=1)
        return v, log_variance
