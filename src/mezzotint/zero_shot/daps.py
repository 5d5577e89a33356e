"""DAPS: at every noise level a clean picture is drawn from what the prior and the measurement say, and noised anew.

Zhang et al., "Improving Diffusion Inverse Problem Solving with Decoupled Noise Annealing", arXiv 2407.01521, algorithm
1: (1) from the level the probability-flow equation leads to a clean centre, in `inner` Euler steps, or (`centre`
"mean") the network's estimate is it; (2) a picture is drawn about the mean of N(y; centre, R) N(x; A y, noise^2), in
one linear solution where the authors walk with Langevin steps and trust the data 7 times more than stated; (3) it is
noised to the next level. R = `spread` level^2 I. 200 levels from 100 to 0.1, in states of [-1, 1], as far as the prior
reaches.

Fine structure has far less variance than R, and a whole draw puts noise of the level's deviation in its place: 13 grey
levels at the last one, and ruin where levels are few. The authors' walk begins at the centre and is too short for that.
`walk` is its length in the time of Langevin's equation, 100 steps of 1e-4 at the first level, and falls evenly to a
hundredth of it at the last: what is not measured gets the variance R (1 - exp(-2 walk / R)), and the deviation of what
is gets the same share. Infinite: whole draws. Those, with the mean as the centre and R the true covariance, are the
posterior for any number of levels; with the end of the flow they are not.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal

import torch
from torch import Tensor

from mezzotint import schedules
from mezzotint.bridges import Bridge
from mezzotint.errors import UsageError
from mezzotint.noise import NoiseSource
from mezzotint.samplers.coordinates import times_of
from mezzotint.samplers.loop import Denoiser, Move, Place
from mezzotint.samplers.step import Estimate
from mezzotint.zero_shot.measurement import Measurement
from mezzotint.zero_shot.solver import Plan, Problem


@dataclass(frozen=True)
class DAPS:
    """The solver; `steps` are levels, each of `inner` evaluations (one with the mean as the centre)."""

    centre: Literal["flow", "mean"] = "flow"
    inner: int = 4
    spread: float = 1.0
    walk: float = 0.01
    high: float = 100.0
    low: float = 0.1
    steps: int = 200
    gradients: bool = False

    def __post_init__(self) -> None:
        if self.centre not in ("flow", "mean"):
            raise UsageError(f"centre {self.centre!r} of daps is neither 'flow' nor 'mean'")
        if not 0.0 < self.low < self.high or self.inner < 1 or not (self.spread > 0.0 and self.walk > 0.0):
            raise UsageError(
                f"daps with levels {self.high} to {self.low}, inner {self.inner}, spread {self.spread} and walk "
                f"{self.walk}: levels fall and stay above 0, inner is 1 or more, spread and walk above 0"
            )

    def grid(self, bridge: Bridge, steps: int) -> tuple[float, ...]:
        """Times whose levels are uniform in their seventh root, and 0."""
        first = 1.0 if bridge.coefficients(1.0)[0] > 0.0 else 1.0 - bridge.first
        a, _, s = bridge.coefficients(first)
        high = min(self.high, s / a)
        levels = schedules.karras_levels(steps, low=min(self.low, 0.5 * high), high=high)
        # The first one by name: looked up it would be next to it.
        found = times_of(bridge, levels[1:] if high < self.high else levels)
        return (*((first,) if high < self.high else ()), *found, 0.0)

    def plan(self, problem: Problem, grid: Sequence[float]) -> Plan:
        a, _, s = problem.bridge.coefficients(grid[0])
        return Plan(
            grid,
            problem.denoise,
            start=lambda eps: (a**2 + s**2) ** 0.5 * eps,
            loop=partial(anneal, known=problem.measurement, settings=self),
            each=1 if self.centre == "mean" else self.inner,
        )


def anneal(
    denoise: Denoiser,
    *,
    bridge: Bridge,
    noise: NoiseSource,
    grid: Sequence[float],
    known: Measurement,
    settings: DAPS,
    x_state: Tensor | None = None,
    shape: Sequence[int] | None = None,
    start: Tensor | None = None,
    callback: Callable[[Move], None] | None = None,
    origin: tuple[int, int] = (0, 0),
    dtype: torch.dtype | None = None,
    device: torch.device | str | None = None,
) -> Tensor:
    """The last picture drawn; streams `step` (two draws a level), and `measurement` for the noise n."""
    place = Place.of(
        noise=noise, x_state=x_state, shape=shape, start=start, origin=origin, dtype=dtype, device=device
    )
    draw = place.draws("step")
    with torch.no_grad():
        z = place.begin(bridge, grid[0], None, start)
        for index, (t, r) in enumerate(zip(grid, grid[1:], strict=False)):
            a, _, s = bridge.coefficients(t)
            level = s / a
            if settings.centre == "mean":
                estimate = denoise(z, t)
                y = estimate.y.to(z.dtype)
            else:
                y, estimate = _flow(denoise, z / a, t, bridge, settings.inner)
            spread = settings.spread * level**2
            length = settings.walk * (1.0 - 0.99 * index / max(len(grid) - 2, 1))
            share = (-math.expm1(-2.0 * length / spread)) ** 0.5
            u, n = y + share * spread**0.5 * draw(), 0.0
            if known.noise > 0.0:
                field = noise.normal(
                    "measurement", index, tuple(known.x.shape), dtype=place.dtype, device=place.device
                )
                n = share * known.noise * field
            off = known.residual(u) - n
            if known.noise > 0.0:
                drawn = u + known.operator.At(known.operator.solve(off, rho=known.noise**2 / spread))
            else:
                drawn = u + known.operator.pinv(off)
            a_r, _, s_r = bridge.coefficients(r)
            z = drawn if r == 0.0 else a_r * drawn + s_r * draw()
            if callback is not None:
                callback(Move(index=index, count=len(grid) - 1, t=t, r=r, z=z, estimate=estimate))
    return z


def _flow(denoise: Denoiser, w: Tensor, t: float, bridge: Bridge, steps: int) -> tuple[Tensor, Estimate]:
    """The end of the probability-flow equation dw = (w - y_hat) dl / l from w at t, in Euler steps."""
    a, _, s = bridge.coefficients(t)
    level = s / a
    low = min(0.5 * level, 0.01)
    levels = [level] if steps == 1 else list(schedules.karras_levels(steps, low=low, high=level))
    times = [t, *times_of(bridge, levels[1:])] if steps > 1 else [t]
    estimate: Estimate | None = None
    for index, (place, here) in enumerate(zip(times, levels, strict=True)):
        estimate = denoise(bridge.coefficients(place)[0] * w, place)
        y = estimate.y.to(w.dtype)
        below = levels[index + 1] if index + 1 < len(levels) else 0.0
        w = y + below / here * (w - y)
    assert estimate is not None
    return w, estimate
