"""Bridges whose mean is an operator on the clean picture: Cold Diffusion and Soft Score Matching.

z_t = D_t(y) + s_t eps with D_0 the identity. The step of every bridge serves them: D_t stands where a_t y + b_t x_state
stood. Their `coefficients` are (1, 0, s): those of what the operator passes unchanged.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar, Protocol

import torch
from torch import Tensor
from torch.nn import functional

from mezzotint.bridges.bridge import Bridge
from mezzotint.bridges.formulas import Time, float64, floor, formula, formulas
from mezzotint.operators.resize import imresize
from mezzotint.schedules import Geometric, Levels, Schedule


class Corruption(Protocol):
    """Degradations that are applied one after the other, each to the result of the one before it."""

    @property
    def steps(self) -> int:
        """How many there are."""
        ...

    def apply(self, picture: Tensor, index: int) -> Tensor:
        """The picture b c h w after degradation `index` from 1 to `steps`, of the same shape."""
        ...


@dataclass(frozen=True)
class Pixelate:
    """Cold Diffusion's loss of resolution: degradation i shrinks the current picture by 2^i and enlarges it again.

    Bansal et al. 2022, section 5.3 and released code: down by bicubic interpolation without antialiasing (kernel of
    PyTorch, -0.75), up by nearest neighbour, so that after i of them the picture is constant on blocks of 2^i. `steps`
    3 for 28 and 32 pixels, 4 for 128 in the paper. With `antialias` degradation i halves the picture of blocks as
    MATLAB's imresize does, so that all of them together are nearly the small picture of super-resolution, which those
    of the paper are not. ValueError for sides that 2^steps does not divide.
    """

    steps: int = 3
    antialias: bool = False

    def __post_init__(self) -> None:
        if isinstance(self.steps, bool) or int(self.steps) != self.steps or self.steps < 1:
            raise ValueError(f"steps {self.steps} is not a whole number of 1 or more")

    def apply(self, picture: Tensor, index: int) -> Tensor:
        size = (int(picture.shape[-2]), int(picture.shape[-1]))
        block, whole = 2**index, 2**self.steps
        if size[0] % whole or size[1] % whole:
            raise ValueError(f"sides {size[0]}x{size[1]} are no multiples of {whole}: pad or crop the picture")
        target = (size[0] // block, size[1] // block)
        if self.antialias:
            inner = block // 2
            small = imresize(picture[..., ::inner, ::inner], size=target)
        else:
            small = functional.interpolate(picture, target, mode="bicubic")
        return small.repeat_interleave(block, -2).repeat_interleave(block, -1)


@dataclass(frozen=True)
class Cold(Bridge):
    """Cold Diffusion: z_t = D_t(y), known degradations and no noise (Bansal et al. 2022, algorithms 1 and 2).

    D_t for t = i / steps is the first i degradations of `corruption`, composed; in between it is interpolated linearly,
    so that every grid is legal. The carry is 1, algorithm 2; that algorithm carries the residual even into the clean
    end, which is the step `samplers.carry_step` with k = 1; k = 0 is algorithm 1. Start x_state, the small picture as
    enlarged by its method.
    """

    corruption: Corruption

    needs_x: ClassVar[bool] = True
    scalar: ClassVar[bool] = False

    @property
    def nodes(self) -> int:
        return self.corruption.steps

    def coefficients(self, t: Time) -> tuple[Time, Time, Time]:
        return formulas(lambda t: (torch.ones_like(t), torch.zeros_like(t), torch.zeros_like(t)), t)

    def carry(self, r: Time, t: Time) -> Time:
        return formula(lambda r, t: torch.where(r > 0.0, 1.0, 0.0).to(r.dtype), r, t)

    def variance(self, r: Time, t: Time) -> Time:
        return formula(lambda r, t: torch.zeros_like(r), r, t)

    def mean(self, y: Tensor, x_state: Tensor | None, t: Time) -> Tensor:
        """D_t(y); x_state is not used."""
        return _by_item(lambda field, time: self._continue(field, 0.0, time), y, t)

    def renoise(self, z: Tensor, x_state: Tensor | None, r: Time, t: Time, eps: Tensor) -> Tensor:
        """The degradations between r and t applied to a state at r. Exact where r is a node.

        ValueError for another r: what lies between two degradations cannot be degraded on.
        """
        formulas(lambda r, t: (r, t), r, t)
        return _by_item(self._continue, z, r, t)

    def _continue(self, field: Tensor, r: float, t: float) -> Tensor:
        first, last = r * self.nodes, t * self.nodes
        if abs(first - round(first)) > 1e-9:
            raise ValueError(f"time {r} lies between two degradations: move up from a node, i / {self.nodes}")
        below = math.floor(last + 1e-9)
        for index in range(round(first) + 1, below + 1):
            field = self.corruption.apply(field, index)
        weight = last - below
        if weight <= 1e-9:
            return field.clone()
        return (1.0 - weight) * field + weight * self.corruption.apply(field, below + 1)

    def start(self, x_state: Tensor | None, eps: Tensor) -> Tensor:
        if x_state is None:
            raise ValueError("Cold starts at the small picture: give x_state, shaped like the state")
        return x_state.to(eps.dtype, copy=True)


@dataclass(frozen=True)
class Animorphosis(Bridge):
    """Cold Diffusion towards another picture: z = sqrt(gamma) y + sqrt(1 - gamma) x (Bansal et al. 2022, section 5.6).

    DDPM with a picture in the place of the noise, which is kept (carry 1, algorithm 2). Start x, which is exact where
    gamma ends at 0.
    """

    schedule: Schedule

    needs_x: ClassVar[bool] = True

    @property
    def nodes(self) -> int | None:
        return self.schedule.nodes

    def coefficients(self, t: Time) -> tuple[Time, Time, Time]:
        return formulas(self._coefficients, t)

    def _coefficients(self, t: Tensor) -> tuple[Tensor, ...]:
        signal, noise = self.schedule.powers(t)
        return signal.sqrt(), noise.sqrt(), torch.zeros_like(signal)

    def carry(self, r: Time, t: Time) -> Time:
        return formula(lambda r, t: torch.where(r > 0.0, 1.0, 0.0).to(r.dtype), r, t)

    def variance(self, r: Time, t: Time) -> Time:
        return formula(lambda r, t: torch.zeros_like(r), r, t)

    def derivatives(self, t: Time) -> tuple[Time, Time, Time]:
        return formulas(self._derivatives, t)

    def _derivatives(self, t: Tensor) -> tuple[Tensor, ...]:
        a, b, zero = self._coefficients(t)
        slope = self.schedule.slope(t)
        return slope, -a * slope / b, zero

    def start(self, x_state: Tensor | None, eps: Tensor) -> Tensor:
        if x_state is None:
            raise ValueError("Animorphosis starts at another picture: give x_state, shaped like the state")
        return x_state.to(eps.dtype, copy=True)


@dataclass(frozen=True)
class SoftBlur(Bridge):
    """Blur and a little noise: z = C_t y + sigma_t eps, C_t a Gaussian low-pass (Daras et al. 2022, Soft Diffusion).

    In the cosine basis (edges mirrored, the sample at the edge repeated) C_t multiplies the frequency w of an axis by
    exp(-w^2 width_t^2 / 2), so that for each frequency this is a scalar bridge with a_t(w) and carry
    sigma_r^2 / sigma_t^2. `widths`: standard deviations of the blur in pixels at equally spaced times, from 0, not
    falling, linear in between. The posterior keeps the marginals exactly; differs from the paper's momentum sampler
    only in the deviation of the step, which there is sqrt(sigma_t^2 - sigma_r^2). Start x_state + sigma_1 eps.
    """

    widths: tuple[float, ...] = (0.0, 2.0)
    levels: Levels = Geometric(0.01, 0.1)

    needs_x: ClassVar[bool] = True
    scalar: ClassVar[bool] = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "widths", tuple(float(value) for value in self.widths))
        rises = all(before <= after for before, after in zip(self.widths, self.widths[1:], strict=False))
        if len(self.widths) < 2 or self.widths[0] != 0.0 or not rises or not self.widths[-1] < math.inf:
            raise ValueError(f"widths {self.widths[:8]} must begin with 0 and not fall")

    @property
    def nodes(self) -> int | None:
        return self.levels.nodes

    @property
    def first(self) -> float:
        return self.levels.first

    @cached_property
    def _ticks(self) -> Tensor:
        return torch.tensor(self.widths, dtype=torch.float64, device="cpu")

    def width(self, t: Time) -> Time:
        """The standard deviation of the blur at t, in pixels."""
        return formula(self._width, t)

    def _width(self, t: Tensor) -> Tensor:
        position = t * (len(self.widths) - 1)
        index = position.floor().clamp(0, len(self.widths) - 2).long()
        ticks = self._ticks.to(t.device)
        return ticks[index] + (position - index) * (ticks[index + 1] - ticks[index])

    def gains(self, t: Time, size: tuple[int, int], *, r: Time | None = None) -> Tensor:
        """a_t(w), or a_t(w) / a_r(w), at the frequencies of pictures of `size`: h w or b h w, float64, on the CPU.

        Frequency k of an axis of n pixels is pi k / n.
        """
        square = float64(t).cpu()
        square = self._width(square) ** 2
        if r is not None:
            square = square - self._width(float64(r).cpu()) ** 2
        down, across = (math.pi * torch.arange(n, dtype=torch.float64, device="cpu") / n for n in size)
        return torch.exp(-0.5 * square[..., None, None] * (down[:, None] ** 2 + across[None, :] ** 2))

    def coefficients(self, t: Time) -> tuple[Time, Time, Time]:
        return formulas(self._coefficients, t)

    def _coefficients(self, t: Tensor) -> tuple[Tensor, ...]:
        return torch.ones_like(t), torch.zeros_like(t), self.levels.level(t)

    def carry(self, r: Time, t: Time) -> Time:
        return formula(lambda r, t: (self.levels.level(r) / self.levels.level(t)) ** 2, r, t)

    def variance(self, r: Time, t: Time) -> Time:
        return formula(self._variance, r, t)

    def _variance(self, r: Tensor, t: Tensor) -> Tensor:
        ratio = self.levels.level(r) / self.levels.level(t)
        return floor(self.levels.level(r) ** 2 * (1.0 - ratio) * (1.0 + ratio))

    def mean(self, y: Tensor, x_state: Tensor | None, t: Time) -> Tensor:
        """C_t y; x_state is not used."""
        formulas(lambda t: (t,), t)
        return _filter(y, self.gains(t, (int(y.shape[-2]), int(y.shape[-1]))))

    def renoise(self, z: Tensor, x_state: Tensor | None, r: Time, t: Time, eps: Tensor) -> Tensor:
        """A state at r blurred on to t, with the noise of each frequency filled up to sigma_t."""
        size = (int(z.shape[-2]), int(z.shape[-1]))
        gains = self.gains(t, size, r=r)
        s_r, s_t = formulas(lambda r, t: (self.levels.level(r), self.levels.level(t)), r, t)
        s_r, s_t = (s.cpu()[:, None, None] if isinstance(s, Tensor) and s.dim() else s for s in (s_r, s_t))
        missing = floor(s_t**2 - gains**2 * s_r**2).sqrt()
        return _filter(z, gains) + _filter(eps.to(z.dtype), missing)

    def start(self, x_state: Tensor | None, eps: Tensor) -> Tensor:
        if x_state is None:
            raise ValueError("SoftBlur starts at the small picture: give x_state, shaped like the state")
        return x_state.to(eps.dtype) + self.coefficients(1.0)[2] * eps


def _filter(field: Tensor, gains: Tensor) -> Tensor:
    """Multiply the cosine coefficients (type II, orthonormal) of the last two axes by h w or b h w gains."""
    down, across = (_cosines(n).to(field) for n in field.shape[-2:])
    if gains.dim() == 3:
        gains = gains[:, None]
    coefficients = down @ field @ across.T
    return down.T @ (gains.to(field) * coefficients) @ across


def _cosines(n: int) -> Tensor:
    """The orthonormal cosine matrix n n: row k is the wave of frequency pi k / n, even about both edges."""
    place = torch.arange(n, dtype=torch.float64, device="cpu")
    waves = torch.cos(math.pi / n * place[:, None] * (place[None, :] + 0.5)) * math.sqrt(2.0 / n)
    waves[0] /= math.sqrt(2.0)
    return waves


def _by_item(move, field: Tensor, *times: float | Tensor) -> Tensor:
    """Apply move(items, *floats) to the items of a batch that share their times."""
    for t in times:
        formulas(lambda t: (t,), t)
    if all(not isinstance(t, Tensor) or t.dim() == 0 for t in times):
        return move(field, *(float(t) for t in times))
    columns = [float64(t).expand(len(field)).tolist() for t in times]
    rows = list(zip(*columns, strict=True))
    out = torch.empty_like(field)
    for row in dict.fromkeys(rows):
        items = [index for index, other in enumerate(rows) if other == row]
        out[items] = move(field[items], *row)
    return out
