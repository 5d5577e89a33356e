"""Straight lines between two ends: InDI and flow matching from noise."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from mezzotint.bridges.bridge import Bridge
from mezzotint.bridges.formulas import Time, floor, formula, formulas


@dataclass(frozen=True)
class InDI(Bridge):
    """Inversion by direct iteration: z = (1 - t) y + t x + t e(t) n (Delbracio and Milanfar 2023), n = eps here.

    e(t) = noise t^(-decay) does not rise: decay 0 is the paper's constant noise, whose steps add none, 1/2 its Brownian
    one. Carry r / t, variance r^2 (e(r)^2 - e(t)^2), start x + noise eps; noise = 0 is OT-ODE and rectified flow from
    paired x. ValueError unless noise >= 0 and 0 <= decay < 1.
    """

    noise: float = 0.01
    decay: float = 0.0

    needs_x: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if not 0.0 <= self.noise < math.inf:
            raise ValueError(f"noise {self.noise} must be 0 or more and finite")
        if not 0.0 <= self.decay < 1.0:
            raise ValueError(f"decay {self.decay} must lie in [0, 1): 0 for constant noise, 0.5 for Brownian")

    def coefficients(self, t: Time) -> tuple[Time, Time, Time]:
        return formulas(self._coefficients, t)

    def _coefficients(self, t: Tensor) -> tuple[Tensor, ...]:
        return 1.0 - t, t.clone(), self.noise * t ** (1.0 - self.decay)

    def carry(self, r: Time, t: Time) -> Time:
        return formula(lambda r, t: r / t, r, t)

    def variance(self, r: Time, t: Time) -> Time:
        return formula(self._variance, r, t)

    def _variance(self, r: Tensor, t: Tensor) -> Tensor:
        share = 1.0 - (r / t) ** (2.0 * self.decay)
        return floor(self.noise**2 * r ** (2.0 - 2.0 * self.decay) * share)

    def derivatives(self, t: Time) -> tuple[Time, Time, Time]:
        return formulas(self._derivatives, t)

    def _derivatives(self, t: Tensor) -> tuple[Tensor, ...]:
        if self.noise == 0.0:
            return -torch.ones_like(t), torch.ones_like(t), torch.zeros_like(t)
        power = 2.0 - 2.0 * self.decay
        return -torch.ones_like(t), torch.ones_like(t), self.noise**2 * power * t ** (power - 1.0)

    def start(self, x_state: Tensor | None, eps: Tensor) -> Tensor:
        if x_state is None:
            raise ValueError("InDI starts at the small picture: give x_state, shaped like the state")
        return x_state.to(eps.dtype) + self.noise * eps


@dataclass(frozen=True)
class Flow(Bridge):
    """Flow matching from noise: z = (1 - t) y + t eps (Lipman et al. 2023; Liu et al. 2023, rectified flow).

    Carry r / t and no noise in the steps, start eps. Rectified flow between paired pictures is `Pinned(0.0)`.
    """

    def coefficients(self, t: Time) -> tuple[Time, Time, Time]:
        return formulas(lambda t: (1.0 - t, 0.0 * t, t.clone()), t)

    def carry(self, r: Time, t: Time) -> Time:
        return formula(lambda r, t: r / t, r, t)

    def variance(self, r: Time, t: Time) -> Time:
        return formula(lambda r, t: 0.0 * r, r, t)

    def derivatives(self, t: Time) -> tuple[Time, Time, Time]:
        return formulas(lambda t: (-torch.ones_like(t), torch.zeros_like(t), 2.0 * t), t)

    def start(self, x_state: Tensor | None, eps: Tensor) -> Tensor:
        return eps.clone()
