"""Gaussian bridges: how a picture is corrupted, and the exact way back.

For a known clean y and a lifted small picture x_state every bridge is

    z_t = a_t y + b_t x_state + s_t eps,     (a_0, b_0, s_0) = (1, 0, 0),
    q(z_r | z_t, y) = N(a_r y + b_r x_state + k (z_t - a_t y - b_t x_state),  s_r^2 - k^2 s_t^2),    r < t,

with a carry k = carry(r, t) that each bridge gives in closed form. Carries compose, k(q|t) = k(q|r) k(r|t),
so any falling grid of times is a legal grid of steps.

z - b x_state is a diffusion of y alone: du = f u dt + g dw with f = a'/a and g^2 = (s^2)' - 2 f s^2, which every solver
of stochastic and ordinary equations works on.

Times are floats or float64 tensors of shape (b,), one a batch item; floats give floats. Fields are b c h w;
the coefficients are cast to the fields' type.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import ClassVar, Literal, get_args

import torch
from torch import Tensor

from mezzotint import schedules
from mezzotint.bridges.formulas import Time, floor, formula, formulas, shaped

Spacing = Literal["uniform", "quadratic", "cosine", "nodes", "trailing", "log-snr", "karras"]


class Bridge(ABC):
    """What a bridge is: three coefficients and a carry; the rest follows.

    A new bridge is a frozen dataclass with `coefficients`, `carry`, `start` and, for solvers of stochastic
    equations, `derivatives`. `needs_x` says whether x_state is needed, as b is somewhere different from 0 or the
    start is at the small picture; `nodes` is the number of steps of its table, None in closed form; `scalar` is False
    where the mean is an operator on y instead of a_t y + b_t x_state. A row in `mezzotint.bridges.NAMED` puts it under
    the tests of all bridges; `mezzotint.testing.check_bridge` checks one.
    """

    needs_x: ClassVar[bool] = False
    scalar: ClassVar[bool] = True

    @property
    def nodes(self) -> int | None:
        return None

    @property
    def first(self) -> float:
        """The smallest time above 0 that grids in noise levels visit: the first node, 1e-3 without a table."""
        return 1.0 / self.nodes if self.nodes else 1e-3

    @abstractmethod
    def coefficients(self, t: Time) -> tuple[Time, Time, Time]:
        """(a, b, s) at t in [0, 1], float64."""

    @abstractmethod
    def carry(self, r: Time, t: Time) -> Time:
        """The carry k of the posterior for r < t, in closed form: 0 for r = 0, finite where s_t = 0."""

    @abstractmethod
    def start(self, x_state: Tensor | None, eps: Tensor) -> Tensor:
        """The state at t = 1 that the method starts from, given standard normal noise b c h w."""

    def derivatives(self, t: Time) -> tuple[Time, Time, Time]:
        """(a', b', (s^2)') at t, float64: rates a unit of time, in closed form.

        The rate of s^2, not of s, which is unbounded next to the clean end and a pinned one; (s^2)' = 2 s s'. On a
        table they are those of the interval below a node, the one that a reverse step from there crosses; at t = 0
        the limit from above, which may be infinite. ValueError for a bridge that has none.
        """
        raise ValueError(f"{type(self).__name__} gives no derivatives: use steps (ancestral, ddim), or write them")

    def diffusion(self, t: Time) -> tuple[Time, Time]:
        """(f, g^2) at t of the diffusion du = f u dt + g dw of u = z - b_t x_state, float64.

        f = a'/a and g^2 = (s^2)' - 2 f s^2 >= 0 (Song et al. 2021, equation 5, for the kernel of `renoise`). ValueError
        at a float t where a = 0 and f is unbounded; tensors are infinite or not a number there.
        """
        values = formulas(self._diffusion, t)
        if isinstance(values[0], float) and not math.isfinite(values[0]):
            raise ValueError(
                f"the drift of {type(self).__name__} is unbounded at time {t}, where nothing of y is left: "
                "leave that end by one ancestral step, or start the solver below it"
            )
        return values

    def _diffusion(self, t: Tensor) -> tuple[Tensor, ...]:
        a, _, s = self.coefficients(t)
        a_rate, _, v_rate = self.derivatives(t)
        f = a_rate / a
        return f, floor(v_rate - 2.0 * f * s**2)

    def velocity(self, z: Tensor, y_hat: Tensor, x_state: Tensor | None, t: Time) -> Tensor:
        """dz/dt of the probability-flow equation, b c h w: a' y_hat + b' x_state + (s'/s) (z - a y_hat - b x_state).

        Song et al. 2021, equation 13, for any scalar bridge; DDBM's guided equation with w = 1 is this (Zhou et al.
        2024, equation 10). Where s = 0 on a whole stretch the state carries no noise and the last term is 0. ValueError
        where s_t = 0 inside a noisy bridge, which a step has to leave.
        """
        a_rate, b_rate, growth = shaped(formulas(self._flow, t), z)
        if isinstance(growth, float) and not math.isfinite(growth):
            raise ValueError(
                f"the flow of {type(self).__name__} is unbounded at time {t}, where s = 0: "
                "leave that end by one ancestral step, or start the solver below it"
            )
        y_hat = y_hat.to(z.dtype)
        moved = a_rate * y_hat + growth * (z - self.mean(y_hat, x_state, t))
        return moved if x_state is None or not self.needs_x else moved + b_rate * x_state.to(z.dtype)

    def _flow(self, t: Tensor) -> tuple[Tensor, ...]:
        variance = self.coefficients(t)[2] ** 2
        a_rate, b_rate, v_rate = self.derivatives(t)
        still = (variance == 0.0) & (v_rate == 0.0)
        return a_rate, b_rate, torch.where(still, 0.0, 0.5 * v_rate / torch.where(still, 1.0, variance))

    def brownian_variance(self, t: Time) -> Time:
        """The variance that the bridge's Brownian motion has gathered from the clean end to t.

        ValueError for a bridge that is not built on one.
        """
        raise ValueError(f"{type(self).__name__} has no Brownian clock, as VE, ResShift and Pinned have")

    def variance(self, r: Time, t: Time) -> Time:
        """The variance s_r^2 - k^2 s_t^2 of the posterior for a known clean sample, r < t."""
        return formula(self._difference, r, t)

    def _difference(self, r: Tensor, t: Tensor) -> Tensor:
        s_r, s_t = self.coefficients(r)[2], self.coefficients(t)[2]
        return floor(s_r**2 - self.carry(r, t) ** 2 * s_t**2)

    def transition(self, r: Time, t: Time, *, eta: float = 1.0) -> tuple[Time, Time]:
        """Carry and standard deviation of a reverse step that keeps every marginal, r < t.

        k = sqrt(s_r^2 - eta^2 v) / s_t with v the posterior variance: eta = 1 is the posterior (ancestral),
        0 the deterministic step of DDIM (Song et al. 2021, equation 12). Where s_t = 0 the state holds no
        noise to carry, and the posterior's own step is taken whatever eta is.
        """
        if not 0.0 <= eta <= 1.0:
            raise ValueError(f"eta {eta} lies outside 0 (deterministic) to 1 (ancestral)")
        return formulas(lambda r, t: self._transition(r, t, eta), r, t)

    def _transition(self, r: Tensor, t: Tensor, eta: float) -> tuple[Tensor, ...]:
        k, v = self.carry(r, t), self.variance(r, t)
        if eta == 1.0:
            return k, v.sqrt()
        s_r, s_t = self.coefficients(r)[2], self.coefficients(t)[2]
        pinned = s_t == 0.0
        kept = floor(s_r**2 - eta**2 * v).sqrt() / torch.where(pinned, 1.0, s_t)
        return torch.where(pinned, k, kept), torch.where(pinned, v.sqrt(), eta * v.sqrt())

    def log_snr(self, t: Time) -> Time:
        """log(a_t^2 / s_t^2): infinite at the clean end, -inf where a = 0."""
        return formula(self._log_snr, t)

    def _log_snr(self, t: Tensor) -> Tensor:
        a, _, s = self.coefficients(t)
        return torch.where(a == 0.0, -math.inf, 2.0 * (torch.log(a) - torch.log(s)))

    def mean(self, y: Tensor, x_state: Tensor | None, t: Time) -> Tensor:
        """D_t(y, x) = a_t y + b_t x: the state without its noise. ValueError where x_state is missing."""
        a, b, _ = shaped(self.coefficients(t), y)
        if not self.needs_x or (isinstance(b, float) and b == 0.0):
            return a * y
        if x_state is None:
            raise ValueError(f"{type(self).__name__} ends at the small picture: give x_state, shaped like the state")
        return a * y + b * x_state.to(y.dtype)

    def q_sample(self, y: Tensor, x_state: Tensor | None, t: Time, eps: Tensor) -> Tensor:
        """The state a_t y + b_t x + s_t eps, in y's type."""
        _, _, s = shaped(self.coefficients(t), y)
        return self.mean(y, x_state, t) + s * eps.to(y.dtype)

    def renoise(self, z: Tensor, x_state: Tensor | None, r: Time, t: Time, eps: Tensor) -> Tensor:
        """Move a state up from r to t > r without knowing y, keeping every marginal.

        The kernel with gain a_t / a_r: the forward process itself for VP and Pinned; for ResShift, whose own
        forward step looks at y, another process with the same marginals.
        """
        gain, drift, std = shaped(formulas(self._forward, r, t), z)
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
        return gain, b_t - gain * b_r, floor(s_t**2 - gain**2 * s_r**2).sqrt()

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
        k, std = shaped(self.transition(r, t, eta=eta), z)
        y_hat = y_hat.to(z.dtype)
        return self.mean(y_hat, x_state, r) + k * (z - self.mean(y_hat, x_state, t)), std

    def grid(self, steps: int, *, spacing: Spacing = "uniform", rho: float = 7.0) -> tuple[float, ...]:
        """`steps` + 1 times that fall strictly from 1 to 0.

        spacing: `uniform` in time; `quadratic`, short next to the clean end; `cosine`, short next to both; `nodes` of
        the table including the first and the last; `trailing`, nodes in equal strides down from the last; `log-snr`,
        uniform in it between t = 1 (or its next neighbour where the SNR is 0) and `first`; `karras`, the same with
        noise levels s / a uniform in their `rho`-th root (Karras et al. 2022, equation 5). ValueError for a spacing
        that the bridge lacks.
        """
        if spacing == "uniform":
            return schedules.uniform(steps)
        if spacing == "quadratic":
            return schedules.quadratic(steps)
        if spacing == "cosine":
            return schedules.cosine_times(steps)
        if spacing in ("nodes", "trailing"):
            if self.nodes is None:
                raise ValueError(f"{type(self).__name__} has no table of nodes here: use spacing 'uniform'")
            rule = schedules.on_nodes if spacing == "nodes" else schedules.trailing
            return rule(steps, nodes=self.nodes)
        if spacing in ("log-snr", "karras"):
            return self._level_grid(steps, rho=rho if spacing == "karras" else None)
        raise ValueError(f"spacing {spacing!r} is none of {', '.join(get_args(Spacing))}")

    def time_at(self, log_snr: float, *, low: float = 0.0, high: float = 1.0) -> float:
        """The time between `low` and `high` at which the log-SNR has fallen to `log_snr`, by bisection.

        ValueError where it does not lie between theirs.
        """
        if not self.log_snr(high) <= log_snr <= self.log_snr(low):
            raise ValueError(
                f"log-SNR {log_snr} lies outside {self.log_snr(high)} to {self.log_snr(low)}, those of times {high} "
                f"and {low} of {type(self).__name__}"
            )
        for _ in range(200):
            middle = 0.5 * (low + high)
            if middle in (low, high):
                break
            low, high = (middle, high) if self.log_snr(middle) > log_snr else (low, middle)
        return high

    def _level_grid(self, steps: int, *, rho: float | None) -> tuple[float, ...]:
        if steps == 1:
            return schedules.uniform(1)
        low = self.first
        high = 1.0 if math.isfinite(self.log_snr(1.0)) else 1.0 - low
        top, bottom = self.log_snr(low), self.log_snr(high)
        if not math.isfinite(top):
            raise ValueError(f"{type(self).__name__} adds no noise, so it has no noise levels: use spacing 'uniform'")
        if rho is None:
            schedules.uniform(steps)  # refuses a wrong number of steps
            goals = [bottom + (top - bottom) * i / (steps - 1) for i in range(steps)]
        else:
            levels = schedules.karras_levels(steps, low=math.exp(-0.5 * top), high=math.exp(-0.5 * bottom), rho=rho)
            goals = [-2.0 * math.log(level) for level in levels]
        inner = [self.time_at(goal, low=low, high=high) for goal in goals[1:-1]]
        return schedules.check_grid([1.0, *inner, low, 0.0])
