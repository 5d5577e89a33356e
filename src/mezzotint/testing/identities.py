"""The largest error of every identity of a check, and the first that fails."""

from __future__ import annotations

import torch
from torch import Tensor


class Identities:
    """Collects the largest error of every identity and stops at the first above the tolerance."""

    def __init__(self, name: str, tolerance: float) -> None:
        self.errors: dict[str, float] = {}
        self._name, self._tolerance = name, tolerance

    def equal(self, identity: str, value: float | Tensor, wanted: float | Tensor, *, at: object = "") -> None:
        value = torch.as_tensor(value, dtype=torch.float64)
        wanted = torch.as_tensor(wanted, dtype=torch.float64)
        error = ((value - wanted).abs() / (1.0 + wanted.abs())).max().item()
        # A comparison that also fails for NaN.
        if not error <= self._tolerance:
            raise AssertionError(f"{self._name}: {identity} fails at {at}: {value.tolist()} is not {wanted.tolist()}")
        self.errors[identity] = max(error, self.errors.get(identity, 0.0))

    def true(self, identity: str, condition: bool, *, at: object = "") -> None:
        if not condition:
            raise AssertionError(f"{self._name}: {identity} fails at {at}")
        self.errors.setdefault(identity, 0.0)
