"""The predictor of `mezzotint-x4` alone: SPAN with a bicubic skip, a regression to the posterior mean."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from mezzotint import weights
from mezzotint.errors import UsageError
from mezzotint.networks.span import Span

_PREFIX = "predictor."


@dataclass(frozen=True)
class Predictor:
    """Enlarge x (b, 1 or 3, h, w in [0, 1]) by the network's own scale; not clipped."""

    network: Span
    scale: int

    @property
    def reach(self) -> int:
        """Pixels of x to each side that a large pixel depends on."""
        return self.network.reach

    @property
    def networks(self) -> tuple[Span, ...]:
        """What an engine may compute (`networks.engines`)."""
        return (self.network,)

    @torch.no_grad()
    def __call__(self, x: Tensor, *, scale: float | None = None, size: tuple[int, int] | None = None) -> Tensor:
        goal = (x.shape[-2] * self.scale, x.shape[-1] * self.scale)
        if (scale is not None and scale != self.scale) or (size is not None and tuple(size) != goal):
            raise UsageError(f"span makes pictures {self.scale} times larger, not {size if size else scale}")
        rgb = x.expand(-1, 3, -1, -1) if x.shape[1] == 1 else x
        y = self.network(rgb * 2 - 1)[0] * 0.5 + 0.5
        return y.mean(dim=1, keepdim=True) if x.shape[1] == 1 else y


def load(path: str | Path = weights.SHIPPED_FOLDER / "mezzotint-x4.safetensors") -> Predictor:
    """Read the predictor out of weights of mezzotint-x4; raises WeightsError."""
    tensors, card = weights.load(path, method="mezzotint-x4")
    scale = int(card.scale)
    network = Span(channels=card.config["channels"], blocks=card.config["blocks"], scale=scale, collapsed=False)
    network.load_state_dict({k.removeprefix(_PREFIX): v for k, v in tensors.items() if k.startswith(_PREFIX)})
    network.eval().requires_grad_(False)
    return Predictor(network, scale)


def build() -> Predictor:
    """Return the predictor with the shipped weights."""
    return load()
