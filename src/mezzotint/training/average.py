"""The exponential moving average of weights that evaluation uses."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn


class Average:
    """Keep `decay * average + (1 - decay) * weights` of named parameters in float32.

    The decay starts low, min(decay, (1 + k) / (10 + k)) after k updates, so that the first weights are soon forgotten.
    """

    def __init__(self, parameters: dict[str, nn.Parameter], *, decay: float) -> None:
        self.decay = decay
        self.updates = 0
        self.values = {name: p.detach().float().clone() for name, p in parameters.items()}

    @torch.no_grad()
    def update(self, parameters: dict[str, nn.Parameter]) -> None:
        self.updates += 1
        decay = min(self.decay, (1 + self.updates) / (10 + self.updates))
        names = list(self.values)
        torch._foreach_lerp_(  # pyright: ignore[reportPrivateImportUsage]
            [self.values[n] for n in names], [parameters[n].detach().float() for n in names], 1 - decay
        )

    @contextmanager
    def applied(self, parameters: dict[str, nn.Parameter]) -> Iterator[None]:
        """Put the average into the parameters for the length of the block."""
        kept: dict[str, Tensor] = {}
        with torch.no_grad():
            for name, p in parameters.items():
                kept[name] = p.detach().clone()
                p.copy_(self.values[name])
        try:
            yield
        finally:
            with torch.no_grad():
                for name, p in parameters.items():
                    p.copy_(kept[name])
