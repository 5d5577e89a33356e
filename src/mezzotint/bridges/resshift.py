"""Residual shifting: ResShift and SinSR."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from mezzotint.bridges.bridge import Bridge
from mezzotint.bridges.formulas import Time, floor, formula, formulas


@dataclass(frozen=True)
class ResShift(Bridge):
    """Residual shifting: z = (1 - eta) y + eta x + kappa sqrt(eta) eps (Yue et al. 2023, equation 2).

    sqrt(eta) at step i of `steps` is first (end / first)^(((i - 1) / (steps - 1))^power), first =
    min(min_noise / kappa, min_noise), as in the released code; between steps the same expression, and sqrt(eta) linear
    between the clean end and the first step. Carry eta_r / eta_t, start x + kappa sqrt(eta_T) eps. `end` is
    the square root of the last eta, as in the released configurations; (15, 0.04) and (4, 0.2) are theirs.
    """

    steps: int = 15
    kappa: float = 2.0
    power: float = 0.3
    min_noise: float = 0.04
    end: float = 0.99

    needs_x: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if isinstance(self.steps, bool) or int(self.steps) != self.steps or self.steps < 1:
            raise ValueError(f"steps {self.steps} is not a whole number of 1 or more")
        for name in ("kappa", "power", "min_noise"):
            if not 0.0 < getattr(self, name) < math.inf:
                raise ValueError(f"{name} {getattr(self, name)} must be positive and finite")
        if not self._first < self.end <= 1.0:
            raise ValueError(f"end {self.end} must lie above the first value {self._first} and be at most 1")

    @property
    def nodes(self) -> int:
        return self.steps

    @property
    def _first(self) -> float:
        return min(self.min_noise / self.kappa, self.min_noise)

    def _sqrt_eta(self, t: Tensor) -> Tensor:
        if self.steps == 1:
            return t * self.end
        position = t * self.steps
        progress = ((position - 1.0) / (self.steps - 1)).clamp(0.0, 1.0)
        later = self._first * (self.end / self._first) ** progress**self.power
        return torch.where(position < 1.0, position * self._first, later)

    def _sqrt_eta_slope(self, t: Tensor) -> Tensor:
        """The rate of sqrt(eta): at the first node that of the interval below, as on tables."""
        if self.steps == 1:
            return torch.full_like(t, self.end)
        position = t * self.steps
        progress = ((position - 1.0) / (self.steps - 1)).clamp(0.0, 1.0)
        early = position <= 1.0 + 1e-9
        safe = torch.where(early, 1.0, progress)
        exponent = math.log(self.end / self._first) * self.power * safe ** (self.power - 1.0)
        later = self._sqrt_eta(t) * exponent * self.steps / (self.steps - 1)
        return torch.where(early, self.steps * self._first, later)

    def brownian_variance(self, t: Time) -> Time:
        """kappa^2 eta_t."""
        return formula(lambda t: (self.kappa * self._sqrt_eta(t)) ** 2, t)

    def coefficients(self, t: Time) -> tuple[Time, Time, Time]:
        return formulas(self._coefficients, t)

    def _coefficients(self, t: Tensor) -> tuple[Tensor, ...]:
        root = self._sqrt_eta(t)
        return (1.0 - root) * (1.0 + root), root**2, self.kappa * root

    def carry(self, r: Time, t: Time) -> Time:
        return formula(lambda r, t: (self._sqrt_eta(r) / self._sqrt_eta(t)) ** 2, r, t)

    def variance(self, r: Time, t: Time) -> Time:
        return formula(self._variance, r, t)

    def _variance(self, r: Tensor, t: Tensor) -> Tensor:
        eta_r, eta_t = self._sqrt_eta(r) ** 2, self._sqrt_eta(t) ** 2
        return floor(self.kappa**2 * eta_r * (1.0 - eta_r / eta_t))

    def derivatives(self, t: Time) -> tuple[Time, Time, Time]:
        return formulas(self._derivatives, t)

    def _derivatives(self, t: Tensor) -> tuple[Tensor, ...]:
        rate = 2.0 * self._sqrt_eta(t) * self._sqrt_eta_slope(t)
        return -rate, rate, self.kappa**2 * rate

    def start(self, x_state: Tensor | None, eps: Tensor) -> Tensor:
        if x_state is None:
            raise ValueError("ResShift starts at the small picture: give x_state, shaped like the state")
        return x_state.to(eps.dtype) + self.kappa * self.end * eps
