"""Times as the networks of the papers see them: sines and cosines of falling rates, then two layers."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from mezzotint.errors import UsageError


def sines(t: Tensor, *, width: int, closed: bool) -> Tensor:
    """Sines, then cosines, of t 10000^(-k / n) for k < width / 2: t b to b width, in t's type.

    `closed`: n = width / 2 - 1, so that the slowest rate is 1 / 10000 itself (Ho et al. 2020's code, and those built
    on it); otherwise n = width / 2.
    """
    half = width // 2
    # Computed, not stored: a buffer would stay on the meta device when the weights are loaded into it.
    places = torch.arange(half, device=t.device, dtype=t.dtype)
    angles = t[:, None] * 10000.0 ** (-places / (half - 1 if closed else half))
    return torch.cat((angles.sin(), angles.cos()), dim=1)


class Timed(nn.Module):
    """A module that is called with (h, embedding), h b c H W and the embedded time b e."""


class Chain(nn.Sequential):
    """Modules one after the other, those that are None left out; a `Timed` one also gets the embedded time."""

    def __init__(self, *layers: nn.Module | None) -> None:
        super().__init__(*(layer for layer in layers if layer is not None))

    def forward(self, h: Tensor, embedding: Tensor) -> Tensor:
        for layer in self:
            h = layer(h, embedding) if isinstance(layer, Timed) else layer(h)
        return h


class TimeEmbedding(nn.Module):
    """Embed times b, numbers of nodes, as b `out`: `sines`, a layer of 4 `width`, an activation, a layer of `out`.

    `cosines_first` puts the cosines before the sines (Dhariwal and Nichol 2021's code). UsageError for a width that is
    odd or below 4.
    """

    def __init__(
        self, width: int, *, out: int, activation: nn.Module, closed: bool, cosines_first: bool = False
    ) -> None:
        super().__init__()
        if width % 2 or width < 4:
            raise UsageError(f"{width} channels cannot embed a time: use an even number of 4 or more")
        self.width, self.closed, self.cosines_first = width, closed, cosines_first
        self.layers = nn.Sequential(nn.Linear(width, 4 * width), activation, nn.Linear(4 * width, out))

    def forward(self, t: Tensor) -> Tensor:
        waves = sines(t, width=self.width, closed=self.closed)
        return self.layers(waves.roll(self.width // 2, 1) if self.cosines_first else waves)
