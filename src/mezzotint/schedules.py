"""Noise schedules and time grids, in float64.

Time runs over [0, 1], 0 is clean. A schedule with a table of T steps has its nodes at i / T; index 0 is
clean, so node i stands for the time that the papers call t = i and that their codes store under index i -
1.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import torch
from torch import Tensor


class Schedule(Protocol):
    """A variance-preserving schedule: how much of the signal's power is left at a time."""

    @property
    def nodes(self) -> int | None:
        """The steps of the table, None for a schedule in closed form."""
        ...

    def powers(self, t: Tensor) -> tuple[Tensor, Tensor]:
        """Signal power gamma and noise power 1 - gamma at float64 times, both without cancellation."""
        ...

    def slope(self, t: Tensor) -> Tensor:
        """The time derivative of sqrt(gamma) at float64 times; at a node of a table that of the interval below it."""
        ...


class Levels(Protocol):
    """A variance-exploding schedule: the noise level sigma at a time, 0 at the clean end."""

    @property
    def nodes(self) -> int | None:
        """The steps of the table, None for levels in closed form."""
        ...

    @property
    def first(self) -> float:
        """The smallest time above 0 that a grid in noise levels visits."""
        ...

    def level(self, t: Tensor) -> Tensor:
        """sigma at float64 times."""
        ...

    def slope(self, t: Tensor) -> Tensor:
        """The time derivative of sigma at float64 times above 0; at a node that of the interval below it."""
        ...


@dataclass(frozen=True)
class Table:
    """A schedule given by the variances added in each of T steps (beta of DDPM, 1 - alpha of SR3).

    `alpha`: T numbers in (0, 1], first the step next to the clean end; only the last may be 1.
    Between nodes sqrt(gamma) is linear, so a uniform time draws the continuous noise level of WaveGrad and of
    SR3's released code. Raises ValueError for other numbers.
    """

    alpha: tuple[float, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "alpha", tuple(float(value) for value in self.alpha))
        if not self.alpha:
            raise ValueError("a schedule needs at least one step")
        for index, value in enumerate(self.alpha):
            last = index == len(self.alpha) - 1
            if not (0.0 < value < 1.0 or (last and value == 1.0)):
                raise ValueError(f"added variance {value} of step {index + 1} is not between 0 and 1")

    @classmethod
    def from_gamma(cls, gamma: Sequence[float]) -> Table:
        """The table with given signal powers at its nodes 1..T, strictly falling and below 1."""
        powers = [1.0, *(float(value) for value in gamma)]
        for before, after in zip(powers, powers[1:], strict=False):
            if not 0.0 <= after < before:
                raise ValueError(f"signal power {after} after {before}: the powers must fall from 1 towards 0")
        return cls(tuple((before - after) / before for before, after in zip(powers, powers[1:], strict=False)))

    @property
    def nodes(self) -> int:
        return len(self.alpha)

    @cached_property
    def gamma(self) -> tuple[float, ...]:
        """Signal power at the T + 1 nodes, 1 at the clean one."""
        return tuple(torch.exp(2 * self._half_log_gamma).tolist())

    def powers(self, t: Tensor) -> tuple[Tensor, Tensor]:
        position = t * self.nodes
        index = position.floor().clamp(0, self.nodes - 1).long()
        weight = position - index
        lost = self._lost_amplitude.to(t.device)
        # Interpolating 1 - sqrt(gamma) keeps the digits of the noise power next to the clean end.
        loss = lost[index] + weight * (lost[index + 1] - lost[index])
        return (1.0 - loss) ** 2, loss * (2.0 - loss)

    def slope(self, t: Tensor) -> Tensor:
        index = interval_below(t, self.nodes)
        lost = self._lost_amplitude.to(t.device)
        return (lost[index] - lost[index + 1]) * self.nodes

    @cached_property
    def _half_log_gamma(self) -> Tensor:
        added = torch.tensor(self.alpha, dtype=torch.float64, device="cpu")
        return torch.cat([added.new_zeros(1), 0.5 * torch.cumsum(torch.log1p(-added), 0)])

    @cached_property
    def _lost_amplitude(self) -> Tensor:
        return -torch.expm1(self._half_log_gamma)


@dataclass(frozen=True)
class LinearSDE:
    """gamma(t) = exp(-(low t + (high - low) t^2 / 2)), the VP SDE of Song et al. 2021, equation 29.

    `low`, `high`: the rate of added variance at t = 0 and t = 1, both positive.
    """

    low: float = 0.1
    high: float = 20.0

    def __post_init__(self) -> None:
        if not (0.0 < self.low < math.inf and 0.0 < self.high < math.inf):
            raise ValueError(f"rates {self.low} and {self.high} must be positive and finite")

    @property
    def nodes(self) -> None:
        return None

    def powers(self, t: Tensor) -> tuple[Tensor, Tensor]:
        log_gamma = -(self.low * t + 0.5 * (self.high - self.low) * t**2)
        return torch.exp(log_gamma), -torch.expm1(log_gamma)

    def slope(self, t: Tensor) -> Tensor:
        rate = self.low + (self.high - self.low) * t
        return -0.5 * rate * torch.exp(-0.5 * (self.low * t + 0.5 * (self.high - self.low) * t**2))


@dataclass(frozen=True)
class ShiftedCosine:
    """A schedule that is pure log-SNR: log(gamma / (1 - gamma)) = 2 log(shift) - 2 log tan(pi t / 2).

    Cosine schedule of Nichol and Dhariwal 2021 in the shifted form of Hoogeboom et al. 2023 (simple
    diffusion, section 3.1). `shift`: reference size over picture size, below 1 for more noise.
    `log_snr_min`: the log-SNR at t = 1, reached by stretching the angle; -inf ends in pure noise, where
    noise cannot be the prediction.
    """

    shift: float = 1.0
    log_snr_min: float = -15.0

    def __post_init__(self) -> None:
        if not 0.0 < self.shift < math.inf:
            raise ValueError(f"shift {self.shift} must be positive and finite")
        if not self.log_snr_min < math.inf:
            raise ValueError(f"log_snr_min {self.log_snr_min} must be a number below infinity")

    @property
    def nodes(self) -> None:
        return None

    def powers(self, t: Tensor) -> tuple[Tensor, Tensor]:
        angle = t * self._largest
        signal = self.shift**2 * torch.cos(angle) ** 2
        noise = torch.sin(angle) ** 2
        return signal / (signal + noise), noise / (signal + noise)

    def slope(self, t: Tensor) -> Tensor:
        angle = t * self._largest
        power = self.shift**2 * torch.cos(angle) ** 2 + torch.sin(angle) ** 2
        return -self.shift * self._largest * torch.sin(angle) / power**1.5

    @property
    def _largest(self) -> float:
        """The angle at t = 1."""
        if self.log_snr_min == -math.inf:
            return 0.5 * math.pi
        return math.atan(self.shift * math.exp(-0.5 * self.log_snr_min))


@dataclass(frozen=True)
class Geometric:
    """sigma(t) = low (high / low)^t, the VE SDE of Song et al. 2021 (appendix C), and 0 at t = 0 itself.

    The clean end is a jump of `low`, taken by the last step of a sampler. 0 < low < high.
    """

    low: float = 0.01
    high: float = 50.0

    def __post_init__(self) -> None:
        _check_levels(self.low, self.high)

    @property
    def nodes(self) -> None:
        return None

    @property
    def first(self) -> float:
        return 1e-5

    def level(self, t: Tensor) -> Tensor:
        return torch.where(t > 0.0, self.low * (self.high / self.low) ** t, 0.0)

    def slope(self, t: Tensor) -> Tensor:
        return math.log(self.high / self.low) * self.level(t)


@dataclass(frozen=True)
class Proportional:
    """sigma(t) = high t: EDM's time is the noise level (Karras et al. 2022, section 3), here in units of `high`.

    `low`: the last level above 0 of a grid in noise levels. 0 < low < high.
    """

    low: float = 0.002
    high: float = 80.0

    def __post_init__(self) -> None:
        _check_levels(self.low, self.high)

    @property
    def nodes(self) -> None:
        return None

    @property
    def first(self) -> float:
        return self.low / self.high

    def level(self, t: Tensor) -> Tensor:
        return self.high * t

    def slope(self, t: Tensor) -> Tensor:
        return torch.full_like(t, self.high)


@dataclass(frozen=True)
class LevelTable:
    """Noise levels at the nodes 1..T of a table, rising, 0 at the clean end and linear in between.

    NCSN's code counts the same levels from the largest. ValueError for levels that do not rise from above 0.
    """

    levels: tuple[float, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "levels", tuple(float(value) for value in self.levels))
        if not self.levels:
            raise ValueError("a table of noise levels needs at least one")
        for before, after in zip((0.0, *self.levels), self.levels, strict=False):
            if not before < after < math.inf:
                raise ValueError(f"noise level {after} after {before}: levels must rise from above 0 and be finite")

    @property
    def nodes(self) -> int:
        return len(self.levels)

    @property
    def first(self) -> float:
        return 1.0 / self.nodes

    @cached_property
    def _ticks(self) -> Tensor:
        return torch.tensor((0.0, *self.levels), dtype=torch.float64, device="cpu")

    def level(self, t: Tensor) -> Tensor:
        position = t * self.nodes
        index = position.floor().clamp(0, self.nodes - 1).long()
        ticks = self._ticks.to(t.device)
        weight = position - index
        return (1.0 - weight) * ticks[index] + weight * ticks[index + 1]

    def slope(self, t: Tensor) -> Tensor:
        index = interval_below(t, self.nodes)
        ticks = self._ticks.to(t.device)
        return (ticks[index + 1] - ticks[index]) * self.nodes


def geometric(steps: int, *, low: float = 0.01, high: float = 1.0) -> LevelTable:
    """Noise levels in a geometric sequence; NCSN's are 10 from 0.01 to 1 (Song and Ermon 2019, section 4)."""
    _check_steps(steps)
    _check_levels(low, high)
    if steps == 1:
        return LevelTable((high,))
    return LevelTable(tuple(low * (high / low) ** (i / (steps - 1)) for i in range(steps)))


def overlap(ratio: float, *, size: int) -> float:
    """How much of one noise level lies within the next, Phi(u + 3 ratio) - Phi(u - 3 ratio), u = sqrt(2 size)
    (ratio - 1), for neighbouring levels in this `ratio` and states of `size` values.

    Technique 2 of Song and Ermon 2020 (NCSNv2): choose the number of levels so that it is about 0.5.
    """
    if not ratio > 1.0 or size < 1:
        raise ValueError(f"ratio {ratio} must be above 1 and size {size} at least 1")
    shift = math.sqrt(2 * size) * (ratio - 1.0)
    return 0.5 * (math.erf((shift + 3 * ratio) / math.sqrt(2)) - math.erf((shift - 3 * ratio) / math.sqrt(2)))


def linear(steps: int, *, start: float = 1e-4, end: float = 0.02) -> Table:
    """Added variance linear in the step; the defaults with 1000 steps are DDPM's (Ho et al. 2020, section
    4).
    """
    return Table(_spaced(steps, start, end, power=1))


def sqrt_linear(steps: int, *, start: float, end: float) -> Table:
    """The square root of the added variance linear in the step: what latent diffusion calls linear."""
    return Table(_spaced(steps, start, end, power=2))


def sr3(steps: int = 2000) -> Table:
    """SR3's schedule: linear from 1e-6, to 1e-2 in 2000 steps.

    Fewer steps keep the start and raise the end so that the signal power left at t = 1 stays that of the 2000
    steps (4.386e-5): the published end value with fewer steps would start from a state that is not noise.
    """
    start, end = 1e-6, 1e-2
    if steps == 2000:
        return linear(steps, start=start, end=end)
    return linear_to(steps, start=start, gamma_end=linear(2000, start=start, end=end).gamma[-1])


def linear_to(steps: int, *, start: float, gamma_end: float) -> Table:
    """Added variance linear from `start`, with the end value that leaves the signal power `gamma_end`.

    A single step has only the end. Raises ValueError where no end value in (0, 1) does.
    """
    _check_steps(steps)
    if not 0.0 < gamma_end < 1.0:
        raise ValueError(f"gamma_end {gamma_end} must lie between 0 and 1")
    if steps == 1:
        return Table.from_gamma((gamma_end,))

    def excess(end: float) -> float:
        added = torch.tensor(_spaced(steps, start, end, power=1), dtype=torch.float64, device="cpu")
        return float(torch.log1p(-added).sum()) - math.log(gamma_end)

    low, high = 1e-15, 1.0 - 1e-15
    if excess(low) < 0.0 or excess(high) > 0.0:
        raise ValueError(f"no linear schedule of {steps} steps from {start} leaves the signal power {gamma_end}")
    for _ in range(100):
        middle = 0.5 * (low + high)
        low, high = (middle, high) if excess(middle) > 0.0 else (low, middle)
    return linear(steps, start=start, end=0.5 * (low + high))


def cosine(steps: int, *, offset: float = 0.008, limit: float = 0.999) -> Table:
    """The table of Nichol and Dhariwal 2021, equation 17; added variances are cut at `limit`."""
    _check_steps(steps)

    def power(i: int) -> float:
        return math.cos((i / steps + offset) / (1.0 + offset) * 0.5 * math.pi) ** 2

    return Table(tuple(min(1.0 - power(i + 1) / power(i), limit) for i in range(steps)))


def jsd(steps: int) -> Table:
    """Added variances 1 / T, 1 / (T - 1), ..., 1 (Sohl-Dickstein et al. 2015, section 2.4.1; `jsd` in DDPM's code).

    gamma falls linearly, to exactly 0: at t = 1 noise determines no clean sample, so predict `y` or `v`.
    """
    _check_steps(steps)
    return Table(tuple(1.0 / (steps - i) for i in range(steps)))


def mean_reverting(steps: int = 100, *, left: float = 0.005, offset: float = 0.008) -> Table:
    """IR-SDE's schedule (Luo et al. 2023, released code): gamma = exp(-2 theta), theta the gathered rate.

    The rate of step i is 1 - f(i + 1) / f(0) with the cosine f of Nichol and Dhariwal over `steps` + 2, scaled so
    that exp(-theta) = `left` at t = 1. It is one minus a cumulative power, not an added variance.
    """
    _check_steps(steps)
    if not 0.0 < left < 1.0:
        raise ValueError(f"left {left}, the share of the clean sample at t = 1, must lie between 0 and 1")

    def power(i: int) -> float:
        return math.cos((i / (steps + 2) + offset) / (1.0 + offset) * 0.5 * math.pi) ** 2

    rates = [1.0 - power(i + 1) / power(0) for i in range(1, steps + 1)]
    scale = -math.log(left) / math.fsum(rates)
    return Table(tuple(-math.expm1(-2.0 * scale * rate) for rate in rates))


def symmetric_ramp(steps: int = 1000, *, beta_max: float = 0.3, beta_min: float = 1e-4) -> tuple[float, ...]:
    """I2SB's added Brownian variances (Liu et al. 2023, released code): a ramp that is kept to its half and
    mirrored.

    The ramp is linear in the square root, from `beta_min` to `beta_max` / `steps`; `steps` is even.
    """
    _check_steps(steps)
    if steps % 2:
        raise ValueError(f"a mirrored ramp of {steps} steps does not exist: use an even number")
    half = _spaced(steps, beta_min, beta_max / steps, power=2)[: steps // 2]
    return half + half[::-1]


def uniform(steps: int) -> tuple[float, ...]:
    """Times i / steps from 1 down to 0."""
    _check_steps(steps)
    return tuple(i / steps for i in range(steps, -1, -1))


def quadratic(steps: int) -> tuple[float, ...]:
    """Times (i / steps)^2 from 1 down to 0: short steps next to the clean end."""
    return tuple(t**2 for t in uniform(steps))


def on_nodes(steps: int, *, nodes: int) -> tuple[float, ...]:
    """`steps` nodes of a table of `nodes` steps, evenly spread over the first and the last, then 0.

    This visits both ends of the table; the uniform grid visits the last node but not the first.
    """
    _check_steps(steps)
    if steps > nodes:
        raise ValueError(f"{steps} steps on a table of {nodes}: use at most {nodes}")
    if steps == 1:
        return (1.0, 0.0)
    # Rounded from 0 as the published codes index, which matters at halves.
    indices = [1 + round(i * (nodes - 1) / (steps - 1)) for i in range(steps)]
    return tuple(index / nodes for index in reversed(indices)) + (0.0,)


def trailing(steps: int, *, nodes: int) -> tuple[float, ...]:
    """`steps` nodes of a table of `nodes` steps in equal strides down from the last, then 0 ("trailing" elsewhere)."""
    _check_steps(steps)
    if steps > nodes:
        raise ValueError(f"{steps} steps on a table of {nodes}: use at most {nodes}")
    return tuple(round(nodes * i / steps) / nodes for i in range(steps, -1, -1))


def cosine_times(steps: int) -> tuple[float, ...]:
    """Times (1 + cos(pi i / steps)) / 2 from 1 down to 0: short steps next to both ends, for pinned bridges."""
    _check_steps(steps)
    # Written so that the two halves mirror each other to the last digit.
    return tuple(math.sin(0.5 * math.pi * i / steps) ** 2 for i in range(steps, 0, -1)) + (0.0,)


def karras_levels(steps: int, *, low: float, high: float, rho: float = 7.0) -> tuple[float, ...]:
    """`steps` noise levels from `high` down to `low`, uniform in their rho-th root (Karras et al. 2022, eq. 5)."""
    _check_steps(steps)
    _check_levels(low, high)
    if not 0.0 < rho < math.inf:
        raise ValueError(f"rho {rho} must be positive and finite; Karras et al. use 7")
    if steps == 1:
        return (high,)
    first, last = high ** (1.0 / rho), low ** (1.0 / rho)
    inner = [(first + i / (steps - 1) * (last - first)) ** rho for i in range(1, steps - 1)]
    return (high, *inner, low)


def time_travel(grid: Sequence[float], *, jump: int, repeats: int) -> tuple[float, ...]:
    """A walk over a falling grid that goes back up and down again (Lugmayr et al. 2022, RePaint, section 4.2).

    From the points 1, 1 + jump, 1 + 2 jump, ... of the grid, counted from its clean end, the walk goes up `jump`
    points in one move and down again, until it has passed that stretch `repeats` times; repeats = 1 is the grid
    itself. Differs from the authors' code in that the way up is one move, which has the same law as `jump` small
    ones. ValueError for a grid that does not fall.
    """
    times = check_grid(grid)
    for name, value in (("jump", jump), ("repeats", repeats)):
        if isinstance(value, bool) or int(value) != value or value < 1:
            raise ValueError(f"{name} {value} is not a whole number of 1 or more")
    rising = times[::-1]
    walk = list(times[:1])
    for point in range(len(rising) - 2, -1, -1):
        walk.append(rising[point])
        if (point - 1) % jump == 0 and 1 <= point <= len(rising) - 1 - jump:
            stretch = rising[point : point + jump + 1][::-1]
            walk.extend(list(stretch) * (repeats - 1))
    return tuple(walk)


def check_grid(grid: Sequence[float]) -> tuple[float, ...]:
    """The grid as floats; ValueError unless it falls strictly inside [0, 1]."""
    times = tuple(float(t) for t in grid)
    if len(times) < 2 or not all(0.0 <= t <= 1.0 for t in times):
        raise ValueError(f"a grid needs two or more times in [0, 1], not {times[:8]}")
    for t, r in zip(times, times[1:], strict=False):
        if not r < t:
            raise ValueError(
                f"the grid does not fall from {t} to {r}: give falling times; moves up are for the walks of "
                "samplers.sample with a one-step sampler (schedules.time_travel makes one)"
            )
    return times


def interval_below(t: Tensor, nodes: int) -> Tensor:
    """The index of the table's interval that ends at t or holds it."""
    position = t * nodes
    nearest = position.round()
    # i / T times T need not be i, and the other side of a node has another slope.
    position = torch.where((position - nearest).abs() < 1e-9 * nodes, nearest, position)
    return (position.ceil() - 1.0).clamp(0, nodes - 1).long()


def _check_levels(low: float, high: float) -> None:
    if not 0.0 < low < high < math.inf:
        raise ValueError(f"noise levels {low} to {high} must be positive, finite and rise")


def _spaced(steps: int, start: float, end: float, *, power: int) -> tuple[float, ...]:
    _check_steps(steps)
    first, last = start ** (1 / power), end ** (1 / power)
    return tuple((torch.linspace(first, last, steps, dtype=torch.float64, device="cpu") ** power).tolist())


def _check_steps(steps: int) -> None:
    if isinstance(steps, bool) or int(steps) != steps or steps < 1:
        raise ValueError(f"steps {steps} is not a whole number of 1 or more")
