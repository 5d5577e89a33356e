"""The variance-exploding bridge: NCSN, the VE SDE and EDM."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from mezzotint.bridges.bridge import Bridge
from mezzotint.bridges.formulas import Time, floor, formula, formulas
from mezzotint.schedules import Levels


@dataclass(frozen=True)
class VE(Bridge):
    """Variance exploding: z = y + sigma_t eps.

    With a `LevelTable` NCSN (Song and Ermon 2019), with `Geometric` the VE SDE (Song et al. 2021, appendix C), with
    `Proportional` EDM (Karras et al. 2022). Carry sigma_r^2 / sigma_t^2, start sigma_1 eps, without the picture that
    the exact marginal has around it.
    """

    levels: Levels

    @property
    def nodes(self) -> int | None:
        return self.levels.nodes

    @property
    def first(self) -> float:
        return self.levels.first

    def brownian_variance(self, t: Time) -> Time:
        """sigma_t^2."""
        return formula(lambda t: self.levels.level(t) ** 2, t)

    def coefficients(self, t: Time) -> tuple[Time, Time, Time]:
        return formulas(self._coefficients, t)

    def _coefficients(self, t: Tensor) -> tuple[Tensor, ...]:
        level = self.levels.level(t)
        # Of the level, so that a derivative by automatic differentiation exists.
        return 1.0 + 0.0 * level, 0.0 * level, level

    def carry(self, r: Time, t: Time) -> Time:
        return formula(lambda r, t: (self.levels.level(r) / self.levels.level(t)) ** 2, r, t)

    def variance(self, r: Time, t: Time) -> Time:
        return formula(self._variance, r, t)

    def _variance(self, r: Tensor, t: Tensor) -> Tensor:
        ratio = self.levels.level(r) / self.levels.level(t)
        return floor(self.levels.level(r) ** 2 * (1.0 - ratio) * (1.0 + ratio))

    def derivatives(self, t: Time) -> tuple[Time, Time, Time]:
        return formulas(self._derivatives, t)

    def _derivatives(self, t: Tensor) -> tuple[Tensor, ...]:
        zero = torch.zeros_like(t)
        return zero, zero, 2.0 * self.levels.level(t) * self.levels.slope(t)

    def start(self, x_state: Tensor | None, eps: Tensor) -> Tensor:
        return self.coefficients(1.0)[2] * eps
