"""Gaussian bridges: how a picture is corrupted, and the exact way back.

For a known clean y and a lifted small picture x_state every bridge is

    z_t = a_t y + b_t x_state + s_t eps,     (a_0, b_0, s_0) = (1, 0, 0),
    q(z_r | z_t, y) = N(a_r y + b_r x_state + k (z_t - a_t y - b_t x_state),  s_r^2 - k^2 s_t^2),    r < t,

with a carry k = carry(r, t) that each bridge gives in closed form. Carries compose, k(q|t) = k(q|r) k(r|t),
so any falling grid of times is a legal grid of steps.

Times are floats or float64 tensors of shape (b,), one a batch item; floats give floats. Fields are b c h w;
the coefficients are cast to the fields' type.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar, Literal, TypeVar

import torch
from torch import Tensor

from mezzotint import schedules
from mezzotint.schedules import Schedule

Time = TypeVar("Time", float, Tensor)
Spacing = Literal["uniform", "quadratic", "nodes", "log-snr"]


class Bridge(ABC):
    """What a bridge is: three coefficients and a carry; the rest follows.

    A new bridge is a frozen dataclass with `coefficients`, `carry` and, where the clean sample is not met
    by noise at t = 1, `start`. `needs_x` says whether b is anywhere different from 0; `nodes` is the number
    of steps of its table, None in closed form. `mezzotint.testing.check_bridge` checks one.
    """

    needs_x: ClassVar[bool] = False

    @property
    def nodes(self) -> int | None:
        return None

    @abstractmethod
    def coefficients(self, t: Time) -> tuple[Time, Time, Time]:
        """(a, b, s) at t in [0, 1], float64."""

    @abstractmethod
    def carry(self, r: Time, t: Time) -> Time:
        """The carry k of the posterior for r < t, in closed form: 0 for r = 0, finite where s_t = 0."""

    @abstractmethod
    def start(self, x_state: Tensor | None, eps: Tensor) -> Tensor:
        """The state at t = 1 that the method starts from, given standard normal noise b c h w."""

    def brownian_variance(self, t: Time) -> Time:
        """The variance that the bridge's Brownian motion has gathered from the clean end to t.

        ValueError for a bridge that is not built on one.
        """
        raise ValueError(f"{type(self).__name__} has no Brownian clock, as ResShift and Pinned have")

    def variance(self, r: Time, t: Time) -> Time:
        """The variance s_r^2 - k^2 s_t^2 of the posterior for a known clean sample, r < t."""
        return _formula(self._difference, r, t)

    def _difference(self, r: Tensor, t: Tensor) -> Tensor:
        s_r, s_t = self.coefficients(r)[2], self.coefficients(t)[2]
        return _floor(s_r**2 - self.carry(r, t) ** 2 * s_t**2)

    def transition(self, r: Time, t: Time, *, eta: float = 1.0) -> tuple[Time, Time]:
        """Carry and standard deviation of a reverse step that keeps every marginal, r < t.

        k = sqrt(s_r^2 - eta^2 v) / s_t with v the posterior variance: eta = 1 is the posterior (ancestral),
        0 the deterministic step of DDIM (Song et al. 2021, equation 12). Where s_t = 0 the state holds no
        noise to carry, and the posterior's own step is taken whatever eta is.
        """
        if not 0.0 <= eta <= 1.0:
            raise ValueError(f"eta {eta} lies outside 0 (deterministic) to 1 (ancestral)")
        return _formulas(lambda r, t: self._transition(r, t, eta), r, t)

    def _transition(self, r: Tensor, t: Tensor, eta: float) -> tuple[Tensor, ...]:
        k, v = self.carry(r, t), self.variance(r, t)
        if eta == 1.0:
            return k, v.sqrt()
        s_r, s_t = self.coefficients(r)[2], self.coefficients(t)[2]
        pinned = s_t == 0.0
        kept = _floor(s_r**2 - eta**2 * v).sqrt() / torch.where(pinned, 1.0, s_t)
        return torch.where(pinned, k, kept), torch.where(pinned, v.sqrt(), eta * v.sqrt())

    def log_snr(self, t: Time) -> Time:
        """log(a_t^2 / s_t^2): infinite at the clean end, -inf where a = 0."""
        return _formula(self._log_snr, t)

    def _log_snr(self, t: Tensor) -> Tensor:
        a, _, s = self.coefficients(t)
        return torch.where(a == 0.0, -math.inf, 2.0 * (torch.log(a) - torch.log(s)))

    def mean(self, y: Tensor, x_state: Tensor | None, t: Time) -> Tensor:
        """D_t(y, x) = a_t y + b_t x: the state without its noise. ValueError where x_state is missing."""
        a, b, _ = _shaped(self.coefficients(t), y)
        if not self.needs_x or (isinstance(b, float) and b == 0.0):
            return a * y
        if x_state is None:
            raise ValueError(f"{type(self).__name__} ends at the small picture: give x_state, shaped like the state")
        return a * y + b * x_state.to(y.dtype)

    def q_sample(self, y: Tensor, x_state: Tensor | None, t: Time, eps: Tensor) -> Tensor:
        """The state a_t y + b_t x + s_t eps, in y's type."""
        _, _, s = _shaped(self.coefficients(t), y)
        return self.mean(y, x_state, t) + s * eps.to(y.dtype)

    def renoise(self, z: Tensor, x_state: Tensor | None, r: Time, t: Time, eps: Tensor) -> Tensor:
        """Move a state up from r to t > r without knowing y, keeping every marginal.

        The kernel with gain a_t / a_r: the forward process itself for VP and Pinned; for ResShift, whose own
        forward step looks at y, another process with the same marginals.
        """
        gain, drift, std = _shaped(_formulas(self._forward, r, t), z)
        moved = gain * z
        if self.needs_x:
            if x_state is None:
                raise ValueError(
                    f"{type(self).__name__} ends at the small picture: give x_state, shaped like the state"
                )
            moved = moved + drift * x_state.to(z.dtype)
        return moved + std * eps.to(z.dtype)

    def _forward(self, r: Tensor, t: Tensor) -> tuple[Tensor, ...]:
        a_r, b_r, s_r = self.coefficients(r)
        a_t, b_t, s_t = self.coefficients(t)
        gain = a_t / a_r
        return gain, b_t - gain * b_r, _floor(s_t**2 - gain**2 * s_r**2).sqrt()

    def posterior(
        self,
        z: Tensor,
        y_hat: Tensor,
        x_state: Tensor | None,
        r: Time,
        t: Time,
        *,
        eta: float = 1.0,
    ) -> tuple[Tensor, float | Tensor]:
        """Mean b c h w and standard deviation (a float, or b 1 1 1) of z_r given z_t and the clean sample."""
        k, std = _shaped(self.transition(r, t, eta=eta), z)
        y_hat = y_hat.to(z.dtype)
        return self.mean(y_hat, x_state, r) + k * (z - self.mean(y_hat, x_state, t)), std

    def grid(self, steps: int, *, spacing: Spacing = "uniform") -> tuple[float, ...]:
        """`steps` + 1 times that fall strictly from 1 to 0.

        spacing: `uniform` in time; `quadratic`; `nodes` of the table including the first and the last;
        `log-snr`, uniform in it between t = 1 (or its next neighbour where the SNR is 0) and the first node
        (1e-3 without a table). ValueError for a spacing that the bridge lacks.
        """
        if spacing == "uniform":
            return schedules.uniform(steps)
        if spacing == "quadratic":
            return schedules.quadratic(steps)
        if spacing == "nodes":
            if self.nodes is None:
                raise ValueError(f"{type(self).__name__} has no table of nodes here: use spacing 'uniform'")
            return schedules.on_nodes(steps, nodes=self.nodes)
        if spacing == "log-snr":
            return self._log_snr_grid(steps)
        raise ValueError(f"spacing {spacing!r} is none of uniform, quadratic, nodes, log-snr")

    def _log_snr_grid(self, steps: int) -> tuple[float, ...]:
        if steps == 1:
            return schedules.uniform(1)
        low = 1.0 / self.nodes if self.nodes else 1e-3
        high = 1.0 if math.isfinite(self.log_snr(1.0)) else 1.0 - low
        first, last = self.log_snr(high), self.log_snr(low)
        times = [1.0]
        for i in range(1, steps):
            goal = first + (last - first) * i / (steps - 1)
            times.append(low if i == steps - 1 else self._time_of(goal, low, high))
        return schedules.check_grid([*times, 0.0])

    def _time_of(self, log_snr: float, low: float, high: float) -> float:
        for _ in range(60):
            middle = 0.5 * (low + high)
            low, high = (middle, high) if self.log_snr(middle) > log_snr else (low, middle)
        return 0.5 * (low + high)


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
        return _formulas(self._coefficients, t)

    def _coefficients(self, t: Tensor) -> tuple[Tensor, ...]:
        signal, noise = self.schedule.powers(t)
        return signal.sqrt(), torch.zeros_like(signal), noise.sqrt()

    def carry(self, r: Time, t: Time) -> Time:
        return _formula(self._carry, r, t)

    def _carry(self, r: Tensor, t: Tensor) -> Tensor:
        signal_r, noise_r = self.schedule.powers(r)
        signal_t, noise_t = self.schedule.powers(t)
        return (signal_t / signal_r).sqrt() * noise_r / noise_t

    def variance(self, r: Time, t: Time) -> Time:
        return _formula(self._variance, r, t)

    def _variance(self, r: Tensor, t: Tensor) -> Tensor:
        signal_r, noise_r = self.schedule.powers(r)
        signal_t, noise_t = self.schedule.powers(t)
        # 1 - gamma_t / gamma_r from the smaller of the two powers, which has the digits.
        near = (noise_t - noise_r) / signal_r
        added = torch.where(signal_r > 0.5, near, 1.0 - signal_t / signal_r)
        return _floor(noise_r * added / noise_t)

    def start(self, x_state: Tensor | None, eps: Tensor) -> Tensor:
        return eps.clone()


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

    def brownian_variance(self, t: Time) -> Time:
        """kappa^2 eta_t."""
        return _formula(lambda t: (self.kappa * self._sqrt_eta(t)) ** 2, t)

    def coefficients(self, t: Time) -> tuple[Time, Time, Time]:
        return _formulas(self._coefficients, t)

    def _coefficients(self, t: Tensor) -> tuple[Tensor, ...]:
        root = self._sqrt_eta(t)
        return (1.0 - root) * (1.0 + root), root**2, self.kappa * root

    def carry(self, r: Time, t: Time) -> Time:
        return _formula(lambda r, t: (self._sqrt_eta(r) / self._sqrt_eta(t)) ** 2, r, t)

    def variance(self, r: Time, t: Time) -> Time:
        return _formula(self._variance, r, t)

    def _variance(self, r: Tensor, t: Tensor) -> Tensor:
        eta_r, eta_t = self._sqrt_eta(r) ** 2, self._sqrt_eta(t) ** 2
        return _floor(self.kappa**2 * eta_r * (1.0 - eta_r / eta_t))

    def start(self, x_state: Tensor | None, eps: Tensor) -> Tensor:
        if x_state is None:
            raise ValueError("ResShift starts at the small picture: give x_state, shaped like the state")
        return x_state.to(eps.dtype) + self.kappa * self.end * eps


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
        return torch.tensor(self.clock, dtype=torch.float64)

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
        return _formula(lambda t: self.total * self._tau(t), t)

    def coefficients(self, t: Time) -> tuple[Time, Time, Time]:
        return _formulas(self._coefficients, t)

    def _coefficients(self, t: Tensor) -> tuple[Tensor, ...]:
        tau = self._tau(t)
        return 1.0 - tau, tau, (self.total * tau * (1.0 - tau)).sqrt()

    def carry(self, r: Time, t: Time) -> Time:
        return _formula(lambda r, t: self._tau(r) / self._tau(t), r, t)

    def variance(self, r: Time, t: Time) -> Time:
        return _formula(self._variance, r, t)

    def _variance(self, r: Tensor, t: Tensor) -> Tensor:
        tau_r, tau_t = self._tau(r), self._tau(t)
        return _floor(self.total * tau_r * (1.0 - tau_r / tau_t))

    def start(self, x_state: Tensor | None, eps: Tensor) -> Tensor:
        if x_state is None:
            raise ValueError("Pinned starts at the small picture: give x_state, shaped like the state")
        return x_state.to(eps.dtype, copy=True)


def _formulas(formula: Callable[..., tuple[Tensor, ...]], *times: float | Tensor) -> tuple:
    """Evaluate a formula of float64 tensors at floats (giving floats) or at tensors of times."""
    if all(not isinstance(t, Tensor) for t in times):
        for t in times:
            if not 0.0 <= t <= 1.0:
                raise ValueError(f"time {t} lies outside [0, 1], 0 is clean")
        return tuple(value.item() for value in formula(*(torch.tensor(t, dtype=torch.float64) for t in times)))
    return formula(*(_float64(t) for t in times))


def _formula(formula: Callable[..., Tensor], *times: float | Tensor):
    return _formulas(lambda *tensors: (formula(*tensors),), *times)[0]


def _float64(t: float | Tensor) -> Tensor:
    if not isinstance(t, Tensor):
        return torch.tensor(t, dtype=torch.float64)
    # Apple's devices have no float64; coefficients are few, so they are computed on the CPU there.
    return t.to(device="cpu" if t.device.type == "mps" else t.device, dtype=torch.float64)


def _shaped(values: tuple, field: Tensor) -> tuple:
    """Scalars ready to meet a field b c h w: floats as they are, tensors (b,) as b 1 1 1 of the field's
    type.
    """
    return tuple(
        value.to(dtype=field.dtype, device=field.device).reshape(-1, *([1] * (field.dim() - 1)))
        if isinstance(value, Tensor)
        else value
        for value in values
    )


def _floor(variance: Tensor) -> Tensor:
    """A variance that rounding may have pushed below 0."""
    return variance.clamp(min=0.0)
