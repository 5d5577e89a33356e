"""Bridges that end at the small picture exactly: I2SB, OT-ODE, DDBM and their kin."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import torch
from torch import Tensor

from mezzotint import schedules
from mezzotint.bridges.bridge import Bridge
from mezzotint.bridges.formulas import Time, floor, formula, formulas
from mezzotint.bridges.ve import VE
from mezzotint.bridges.vp import VP, MeanReverting, SubVP


@dataclass(frozen=True)
class Pinned(Bridge):
    """Brownian bridge from y to x: z = (1 - tau) y + tau x + sqrt(total tau (1 - tau)) eps.

    I2SB (Liu et al. 2023, equation 11) and Brownian bridges in general; `total` = 0 is the noise-free
    bridge (OT-ODE, rectified flow). `clock`: tau at equally spaced times, from 0 to 1, strictly rising,
    linear in between; the default is tau = t. Carry tau_r / tau_t, start x exactly. Differs from the
    authors' code in that tau is exactly 0 and 1 at the ends: theirs counts the variance of a step twice, in
    both directions.
    """

    total: float
    clock: tuple[float, ...] = (0.0, 1.0)

    needs_x: ClassVar[bool] = True

    def __post_init__(self) -> None:
        object.__setattr__(self, "clock", tuple(float(value) for value in self.clock))
        if not 0.0 <= self.total < math.inf:
            raise ValueError(f"total variance {self.total} must be 0 or more and finite")
        rises = all(before < after for before, after in zip(self.clock, self.clock[1:], strict=False))
        if len(self.clock) < 2 or self.clock[0] != 0.0 or self.clock[-1] != 1.0 or not rises:
            raise ValueError("the clock must rise strictly from 0 to 1")

    @classmethod
    def i2sb(cls, *, beta_max: float = 0.3, beta_min: float = 1e-4, steps: int = 1000) -> Pinned:
        """The bridge of I2SB's released configurations: beta_max 0.3 for super-resolution, 1 for
        deblurring.
        """
        added = schedules.symmetric_ramp(steps, beta_max=beta_max, beta_min=beta_min)
        return cls.from_variances(added)

    @classmethod
    def from_variances(cls, added: tuple[float, ...]) -> Pinned:
        """The bridge whose Brownian motion adds the given positive variance in each step."""
        total = math.fsum(added)
        clock = [math.fsum(added[:i]) / total for i in range(len(added))]
        return cls(total=total, clock=(*clock, 1.0))

    @property
    def nodes(self) -> int | None:
        return len(self.clock) - 1 if len(self.clock) > 2 else None

    @cached_property
    def _ticks(self) -> Tensor:
        return torch.tensor(self.clock, dtype=torch.float64, device="cpu")

    def _tau(self, t: Tensor) -> Tensor:
        if len(self.clock) == 2:
            return t
        position = t * (len(self.clock) - 1)
        index = position.floor().clamp(0, len(self.clock) - 2).long()
        ticks = self._ticks.to(t.device)
        weight = position - index
        return (1.0 - weight) * ticks[index] + weight * ticks[index + 1]

    def brownian_variance(self, t: Time) -> Time:
        """total tau_t."""
        return formula(lambda t: self.total * self._tau(t), t)

    def coefficients(self, t: Time) -> tuple[Time, Time, Time]:
        return formulas(self._coefficients, t)

    def _coefficients(self, t: Tensor) -> tuple[Tensor, ...]:
        tau = self._tau(t)
        return 1.0 - tau, tau, (self.total * tau * (1.0 - tau)).sqrt()

    def carry(self, r: Time, t: Time) -> Time:
        return formula(lambda r, t: self._tau(r) / self._tau(t), r, t)

    def variance(self, r: Time, t: Time) -> Time:
        return formula(self._variance, r, t)

    def _variance(self, r: Tensor, t: Tensor) -> Tensor:
        tau_r, tau_t = self._tau(r), self._tau(t)
        return floor(self.total * tau_r * (1.0 - tau_r / tau_t))

    def _tau_slope(self, t: Tensor) -> Tensor:
        if len(self.clock) == 2:
            return torch.ones_like(t)
        intervals = len(self.clock) - 1
        index = schedules.interval_below(t, intervals)
        ticks = self._ticks.to(t.device)
        return (ticks[index + 1] - ticks[index]) * intervals

    def derivatives(self, t: Time) -> tuple[Time, Time, Time]:
        return formulas(self._derivatives, t)

    def _derivatives(self, t: Tensor) -> tuple[Tensor, ...]:
        tau, rate = self._tau(t), self._tau_slope(t)
        return -rate, rate, self.total * rate * (1.0 - 2.0 * tau)

    def start(self, x_state: Tensor | None, eps: Tensor) -> Tensor:
        if x_state is None:
            raise ValueError("Pinned starts at the small picture: give x_state, shaped like the state")
        return x_state.to(eps.dtype, copy=True)


@dataclass(frozen=True)
class DDBM(Bridge):
    """A diffusion that is conditioned to end at x: denoising diffusion bridges (Zhou et al. 2024, table 1).

    `base`: a process whose forward step does not look at y (VP, SubVP, VE or MeanReverting) and keeps some signal at
    t = 1. With the coefficients (alpha, beta, sigma) and the carry K of the base, and m = K(t, 1), the bridge has
    a = alpha_t - m alpha_1, b = beta_t + m (1 - beta_1), s^2 the base's posterior variance from 1 to t, and at all
    other times the carry of the base: given z_t, the way back does not care what comes after. A VE base is I2SB in the
    clock sigma^2, a MeanReverting base is the pinned Ornstein-Uhlenbeck bridge (GOUB). Start x exactly.
    """

    base: Bridge

    needs_x: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if not isinstance(self.base, VP | SubVP | VE | MeanReverting):
            raise ValueError(
                f"a base {type(self.base).__name__} looks at y on its way up or ends at x by itself: "
                "use VP, SubVP, VE or MeanReverting"
            )
        if not self.base.coefficients(1.0)[0] > 0.0:
            raise ValueError(
                "the base keeps nothing of y at t = 1, so its end cannot pull it: use a schedule that keeps some signal"
            )

    @property
    def nodes(self) -> int | None:
        return self.base.nodes

    @property
    def first(self) -> float:
        return self.base.first

    @cached_property
    def _end(self) -> tuple[float, float, float]:
        return self.base.coefficients(1.0)

    def coefficients(self, t: Time) -> tuple[Time, Time, Time]:
        return formulas(self._coefficients, t)

    def _coefficients(self, t: Tensor) -> tuple[Tensor, ...]:
        a, b, s = self.base.coefficients(t)
        left = self._left(t)
        return a * left, b + (1.0 - left) * a / self._end[0] * (1.0 - self._end[1]), s * left.sqrt()

    def _left(self, t: Tensor) -> Tensor:
        """1 - R, with R = m alpha_1 / alpha_t the ratio of the two SNRs: exactly 0 at t = 1."""
        (a_t, _, s_t), (a_1, _, s_1) = self.base.coefficients(t), self._end
        root = (a_1 * s_t) / (a_t * s_1)
        return torch.where(t < 1.0, floor((1.0 - root) * (1.0 + root)), 0.0)

    def carry(self, r: Time, t: Time) -> Time:
        return self.base.carry(r, t)

    def variance(self, r: Time, t: Time) -> Time:
        return self.base.variance(r, t)

    def derivatives(self, t: Time) -> tuple[Time, Time, Time]:
        return formulas(self._derivatives, t)

    def _derivatives(self, t: Tensor) -> tuple[Tensor, ...]:
        a, _, s = self.base.coefficients(t)
        a_rate, b_rate, v_rate = self.base.derivatives(t)
        (a_1, b_1, s_1), left = self._end, self._left(t)
        ratio = 1.0 - left
        # d(s^2 / a^2) / dt times the SNR at the end.
        ratio_rate = (a_1 / s_1) ** 2 * (v_rate - 2.0 * a_rate / a * s**2) / a**2
        pull_rate = (ratio_rate * a + ratio * a_rate) / a_1
        return (
            a_rate * left - a * ratio_rate,
            b_rate + pull_rate * (1.0 - b_1),
            v_rate * left - s**2 * ratio_rate,
        )

    def start(self, x_state: Tensor | None, eps: Tensor) -> Tensor:
        if x_state is None:
            raise ValueError("DDBM starts at the small picture: give x_state, shaped like the state")
        return x_state.to(eps.dtype, copy=True)
