"""SNIPS: annealed Langevin dynamics in the singular basis, with the measurement's noise as part of the diffusion's.

Kawar, Vaksman and Elad, "SNIPS: Solving Noisy Inverse Problems Stochastically", arXiv 2105.14951, equations 13 to 16:
at the noise level l a coefficient that is not measured follows the prior's score; one with sv l > noise follows the
measurement alone; one with sv l < noise both. Steps a = rate / l_min^2 times a variance of its own: l^2, l^2 - noise^2
/ sv^2, l^2 (1 - sv^2 l^2 / noise^2); where sv l = noise the coefficient stands still. Repeats and rate: 5 and 3.3e-6
for states in [0, 1] (CelebA, levels 90 to 0.01), four times that here as our states span 2; the number of levels is
that of the grid's steps. Differs from the authors' code in naming what is not measured instead of taking the last
coefficients, which for an operator of full rank loses all data.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from mezzotint.bridges import Bridge
from mezzotint.errors import UsageError
from mezzotint.noise import NoiseSource
from mezzotint.samplers.coordinates import noise_level, times_of
from mezzotint.samplers.loop import Denoiser, Move, Place
from mezzotint.samplers.step import Estimate
from mezzotint.zero_shot.measurement import Measurement
from mezzotint.zero_shot.solver import Plan, Problem


@dataclass(frozen=True)
class SNIPS:
    """The solver. `rate` is the step of the last level. UsageError for a rate that is not positive, fewer repeats than
    1, and an operator without singular vectors in closed form.
    """

    rate: float = 1.32e-5
    repeats: int = 5
    steps: int = 500
    gradients: bool = False

    def __post_init__(self) -> None:
        if not 0.0 < self.rate < math.inf or isinstance(self.repeats, bool) or self.repeats < 1:
            raise UsageError(f"rate {self.rate} and repeats {self.repeats} of snips: above 0, and 1 or more")

    def grid(self, bridge: Bridge, steps: int) -> tuple[float, ...]:
        """Levels uniform in their logarithm, without the end that has no signal."""
        if isinstance(steps, bool) or int(steps) != steps or steps < 1:
            raise UsageError(f"steps {steps} of snips: 1 or more")
        low, ends = bridge.first, bridge.coefficients(1.0)[0] == 0.0
        first, last = (math.log(noise_level(bridge, t)) for t in (1.0 - low if ends else 1.0, low))
        found = times_of(bridge, [math.exp(first + (last - first) * i / steps) for i in range(1, steps)])
        return (*found, low, 0.0) if ends else (1.0, *found, 0.0)

    def plan(self, problem: Problem, grid: Sequence[float]) -> Plan:
        known = problem.measurement
        if not known.operator.has_svd:
            raise UsageError(
                f"snips works on singular vectors, and {type(known.operator).__name__} has none in closed form: use "
                "ddnm, diffpir, pigdm or dps"
            )
        a, _, s = problem.bridge.coefficients(grid[0])
        return Plan(
            grid,
            problem.denoise,
            start=lambda eps: (a**2 + s**2) ** 0.5 * eps,
            loop=partial(langevin, known=known, rate=self.rate, repeats=self.repeats),
            each=self.repeats,
        )


def langevin(
    denoise: Denoiser,
    *,
    bridge: Bridge,
    noise: NoiseSource,
    grid: Sequence[float],
    known: Measurement,
    rate: float,
    repeats: int,
    x_state: Tensor | None = None,
    shape: Sequence[int] | None = None,
    start: Tensor | None = None,
    callback: Callable[[Move], None] | None = None,
    origin: tuple[int, int] = (0, 0),
    dtype: torch.dtype | None = None,
    device: torch.device | str | None = None,
) -> Tensor:
    """The exploding state after the levels of `grid` that are above 0; called as `samplers.sample` is."""
    place = Place.of(
        noise=noise, x_state=x_state, shape=shape, start=start, origin=origin, dtype=dtype, device=device
    )
    times, draw = [t for t in grid if t > 0.0], place.draws("step")
    svd, last = known.svd, bridge.coefficients(times[-1])
    size = rate / (last[2] / last[0]) ** 2
    with torch.no_grad():
        z = place.begin(bridge, times[0], None, start)
        w = z / bridge.coefficients(times[0])[0]
        sv, x_bar = (value.to(w.dtype) for value in known.spectral)
        own = known.noise / torch.where(sv > 0, sv, 1.0)
        for index, t in enumerate(times):
            a, _, s = bridge.coefficients(t)
            level = s / a
            coarse, fine = (sv > 0) & (level > own), (sv > 0) & (level < own)
            gap = torch.where(coarse | fine, level**2 - own**2, 1.0)
            variance = torch.where(coarse, gap, torch.where(fine, -gap * level**2 / own.clamp(min=1e-300) ** 2, 0.0))
            estimate: Estimate | None = None
            for _ in range(repeats):
                estimate = denoise(a * w, t)
                score = (estimate.y.to(w.dtype) - w) / level**2
                w_bar, score_bar, eps = svd.Vt(w), svd.Vt(score), draw()
                force = torch.where(fine, score_bar, 0.0) + (x_bar - w_bar) / gap.abs() * (coarse | fine)
                eps_bar = svd.Vt(eps)
                step = size * variance
                measured = step * force + (2.0 * step).sqrt() * eps_bar
                hidden = size * level**2 * (score - svd.V(score_bar)) + (2.0 * size) ** 0.5 * level * (
                    eps - svd.V(eps_bar)
                )
                w = w + hidden + svd.V(measured)
            if callback is not None:
                r = times[index + 1] if index + 1 < len(times) else t
                callback(Move(index=index, count=len(times), t=t, r=r, z=a * w, estimate=estimate))
    return w
