"""Regression by a network alone: SPAN, and the predictor of `mezzotint-x4`, both with a bicubic skip."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from mezzotint import weights
from mezzotint.errors import UsageError, WeightsError
from mezzotint.networks.edsr import Edsr
from mezzotint.networks.predictors import make_predictor
from mezzotint.networks.span import Span

# Weights that hold such a network, and what its tensors' names start with in them.
_PREFIXES = {"span": "", **dict.fromkeys(("mezzotint-x4", "mezzotint-x2", "mezzotint-x4-real"), "predictor.")}


@dataclass(frozen=True)
class Predictor:
    """Enlarge x (b, 1 or 3, h, w in [0, 1]) by the network's own scale; not clipped."""

    network: Span | Edsr
    scale: int
    name: str

    @property
    def reach(self) -> int:
        """Pixels of x to each side that a large pixel depends on."""
        return self.network.reach

    @property
    def networks(self) -> tuple[Span | Edsr, ...]:
        """What an engine may compute (`networks.engines`)."""
        return (self.network,)

    @torch.no_grad()
    def __call__(self, x: Tensor, *, scale: float | None = None, size: tuple[int, int] | None = None) -> Tensor:
        goal = (x.shape[-2] * self.scale, x.shape[-1] * self.scale)
        if (scale is not None and scale != self.scale) or (size is not None and tuple(size) != goal):
            asked = size if size else scale
            raise UsageError(f"{self.name} makes pictures {self.scale} times larger, not {asked}")
        rgb = x.expand(-1, 3, -1, -1) if x.shape[1] == 1 else x
        y = self.network(rgb * 2 - 1)[0] * 0.5 + 0.5
        return y.mean(dim=1, keepdim=True) if x.shape[1] == 1 else y


def load(path: str | Path) -> Predictor:
    """Read the network out of weights of its own or of mezzotint-x4; raises WeightsError."""
    tensors, card = weights.load(path)
    if card.method not in _PREFIXES:
        raise WeightsError(f"{path}: weights of {card.method!r} hold no regression: use one of {', '.join(_PREFIXES)}")
    prefix, scale = _PREFIXES[card.method], int(card.scale)
    network = make_predictor(card.config, scale=scale)
    network.load_state_dict({k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)})
    network.eval().requires_grad_(False)
    return Predictor(network, scale, card.config["predictor"])


def build_span() -> Predictor:
    """Return SPAN with the shipped weights."""
    return load(weights.SHIPPED_FOLDER / "span.safetensors")
