"""Bridges of the variance-preserving family: DDPM and its kin, sub-VP, and noise around a mean that moves to x."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from mezzotint import schedules
from mezzotint.bridges.bridge import Bridge
from mezzotint.bridges.formulas import Time, floor, formula, formulas
from mezzotint.schedules import Schedule


@dataclass(frozen=True)
class VP(Bridge):
    """Variance preserving: z = sqrt(gamma) y + sqrt(1 - gamma) eps (Ho et al. 2020, equation 4; SR3, LDM).

    Carry sqrt(gamma_t / gamma_r) (1 - gamma_r) / (1 - gamma_t), start eps. Papers that diffuse a residual use
    the same bridge on it.
    """

    schedule: Schedule

    @property
    def nodes(self) -> int | None:
        return self.schedule.nodes

    def coefficients(self, t: Time) -> tuple[Time, Time, Time]:
        return formulas(self._coefficients, t)

    def _coefficients(self, t: Tensor) -> tuple[Tensor, ...]:
        signal, noise = self.schedule.powers(t)
        return signal.sqrt(), torch.zeros_like(signal), noise.sqrt()

    def carry(self, r: Time, t: Time) -> Time:
        return formula(self._carry, r, t)

    def _carry(self, r: Tensor, t: Tensor) -> Tensor:
        signal_r, noise_r = self.schedule.powers(r)
        signal_t, noise_t = self.schedule.powers(t)
        return (signal_t / signal_r).sqrt() * noise_r / noise_t

    def variance(self, r: Time, t: Time) -> Time:
        return formula(self._variance, r, t)

    def _variance(self, r: Tensor, t: Tensor) -> Tensor:
        signal_r, noise_r = self.schedule.powers(r)
        signal_t, noise_t = self.schedule.powers(t)
        # 1 - gamma_t / gamma_r from the smaller of the two powers, which has the digits.
        near = (noise_t - noise_r) / signal_r
        added = torch.where(signal_r > 0.5, near, 1.0 - signal_t / signal_r)
        return floor(noise_r * added / noise_t)

    def derivatives(self, t: Time) -> tuple[Time, Time, Time]:
        return formulas(self._derivatives, t)

    def _derivatives(self, t: Tensor) -> tuple[Tensor, ...]:
        a, slope = self.schedule.powers(t)[0].sqrt(), self.schedule.slope(t)
        return slope, torch.zeros_like(slope), -2.0 * a * slope

    def start(self, x_state: Tensor | None, eps: Tensor) -> Tensor:
        return eps.clone()


@dataclass(frozen=True)
class SubVP(Bridge):
    """Sub-VP: z = sqrt(gamma) y + (1 - gamma) eps (Song et al. 2021, equation 29 and appendix B).

    Its forward process does not look at y, so that the carry is sqrt(gamma_t / gamma_r) ((1 - gamma_r) /
    (1 - gamma_t))^2; the authors' code has no ancestral step for it. Start eps, though s_1 is a little below 1.
    """

    schedule: Schedule

    @property
    def nodes(self) -> int | None:
        return self.schedule.nodes

    def coefficients(self, t: Time) -> tuple[Time, Time, Time]:
        return formulas(self._coefficients, t)

    def _coefficients(self, t: Tensor) -> tuple[Tensor, ...]:
        signal, noise = self.schedule.powers(t)
        return signal.sqrt(), torch.zeros_like(signal), noise

    def carry(self, r: Time, t: Time) -> Time:
        return formula(self._carry, r, t)

    def _carry(self, r: Tensor, t: Tensor) -> Tensor:
        signal_r, noise_r = self.schedule.powers(r)
        signal_t, noise_t = self.schedule.powers(t)
        return (signal_t / signal_r).sqrt() * (noise_r / noise_t) ** 2

    def derivatives(self, t: Time) -> tuple[Time, Time, Time]:
        return formulas(self._derivatives, t)

    def _derivatives(self, t: Tensor) -> tuple[Tensor, ...]:
        signal, noise = self.schedule.powers(t)
        slope = self.schedule.slope(t)
        return slope, torch.zeros_like(slope), -4.0 * signal.sqrt() * slope * noise

    def start(self, x_state: Tensor | None, eps: Tensor) -> Tensor:
        return eps.clone()


@dataclass(frozen=True)
class MeanReverting(Bridge):
    """Noise around a mean that moves from y to x: z = sqrt(gamma) y + (1 - sqrt(gamma)) x + noise sqrt(1 - gamma) eps.

    (z - x) / noise is DDPM's chain on (y - x) / noise. IR-SDE (Luo et al. 2023, equation 6, gamma = exp(-2 theta)) and
    Refusion; in pixel coordinates also what diffuses a residual: SRDiff with noise = 1/2, and with noise = 1 and a
    predicted picture as x Whang et al. 2022, ResDiff and DiWa. Carry that of VP, variance noise^2 times it, start
    x + noise eps.
    """

    schedule: Schedule
    noise: float = 1.0

    needs_x: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if not 0.0 < self.noise < math.inf:
            raise ValueError(f"noise {self.noise} must be positive and finite")

    @classmethod
    def ir_sde(cls, *, steps: int = 100, max_sigma: float = 50.0, left: float = 0.005) -> MeanReverting:
        """IR-SDE's bridge for states in [-1, 1]: noise = 2 max_sigma / 255, as the authors' states are in [0, 1].

        `max_sigma` 50 is Refusion's, 10 IR-SDE's for rain, blur and shadow, 30 for super-resolution and inpainting.
        """
        return cls(schedules.mean_reverting(steps, left=left), noise=2.0 * max_sigma / 255.0)

    @property
    def nodes(self) -> int | None:
        return self.schedule.nodes

    @property
    def _chain(self) -> VP:
        return VP(self.schedule)

    def coefficients(self, t: Time) -> tuple[Time, Time, Time]:
        return formulas(self._coefficients, t)

    def _coefficients(self, t: Tensor) -> tuple[Tensor, ...]:
        signal, noise = self.schedule.powers(t)
        a = signal.sqrt()
        # 1 - a, with its digits next to the clean end.
        return a, noise / (1.0 + a), self.noise * noise.sqrt()

    def carry(self, r: Time, t: Time) -> Time:
        return self._chain.carry(r, t)

    def variance(self, r: Time, t: Time) -> Time:
        return self.noise**2 * self._chain.variance(r, t)

    def derivatives(self, t: Time) -> tuple[Time, Time, Time]:
        return formulas(self._derivatives, t)

    def _derivatives(self, t: Tensor) -> tuple[Tensor, ...]:
        a, slope = self.schedule.powers(t)[0].sqrt(), self.schedule.slope(t)
        return slope, -slope, -2.0 * self.noise**2 * a * slope

    def start(self, x_state: Tensor | None, eps: Tensor) -> Tensor:
        if x_state is None:
            raise ValueError("MeanReverting starts at the small picture: give x_state, shaped like the state")
        return x_state.to(eps.dtype) + self.noise * eps
