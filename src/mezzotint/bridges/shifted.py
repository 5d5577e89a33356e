"""A bridge that runs around another picture."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from mezzotint.bridges.bridge import Bridge
from mezzotint.bridges.formulas import Time, formulas


@dataclass(frozen=True)
class Shifted(Bridge):
    """The states of `bridge` moved by offset x_state: DiffuseVAE's second form, x_state the decoded picture of its VAE
    (Pandey et al. 2022, section 3.3).

    b = `offset` at all t > 0 and 0 at the clean end, so that the last step takes the picture away again; everything
    else is the bridge's own. Start that of the bridge, moved. ValueError for a bridge that uses x_state itself.
    """

    bridge: Bridge
    offset: float = 1.0

    needs_x: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if self.bridge.needs_x or not self.bridge.scalar:
            raise ValueError(
                f"{type(self.bridge).__name__} uses x_state itself: shift a bridge that does not, such as VP or VE"
            )
        if not math.isfinite(self.offset):
            raise ValueError(f"offset {self.offset} must be finite")

    @property
    def nodes(self) -> int | None:
        return self.bridge.nodes

    @property
    def first(self) -> float:
        return self.bridge.first

    def coefficients(self, t: Time) -> tuple[Time, Time, Time]:
        return formulas(self._coefficients, t)

    def _coefficients(self, t: Tensor) -> tuple[Tensor, ...]:
        a, b, s = self.bridge.coefficients(t)
        return a, b + torch.where(t > 0.0, self.offset, 0.0).to(t.dtype), s

    def carry(self, r: Time, t: Time) -> Time:
        return self.bridge.carry(r, t)

    def variance(self, r: Time, t: Time) -> Time:
        return self.bridge.variance(r, t)

    def derivatives(self, t: Time) -> tuple[Time, Time, Time]:
        return self.bridge.derivatives(t)

    def start(self, x_state: Tensor | None, eps: Tensor) -> Tensor:
        if x_state is None:
            raise ValueError("Shifted starts around the small picture: give x_state, shaped like the state")
        return self.bridge.start(None, eps) + self.offset * x_state.to(eps.dtype)
