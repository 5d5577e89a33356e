"""Our side: the solvers of `mezzotint.zero_shot`, and deepinv's rule of DPS made of the same parts."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from benchmarks.zero_shot_peers.cases import DIFFPIR, DPS
from benchmarks.zero_shot_peers.problems import Task
from torch import Tensor

from mezzotint import schedules
from mezzotint.bridges import VE, VP, Bridge
from mezzotint.noise import Noise, NoiseSource
from mezzotint.samplers.step import Estimate
from mezzotint.zero_shot import Measurement, Plan, Problem, build, restore
from mezzotint.zero_shot.dps import REFERENCE, REFERENCE_STEPS
from mezzotint.zero_shot.gradients import through
from mezzotint.zero_shot.solver import Solver, leading_grid

DISCRETE = VP(schedules.linear(1000))
CONTINUOUS = VP(schedules.LinearSDE())


@dataclass(frozen=True)
class ScoreGuided:
    """DPS as deepinv 0.5.0 computes it: the gradient of the residual's norm is added to the score.

    y_hat - s^2 / a * `weight` / 2 * grad |x - A y_hat| in place of y_hat in the ancestral step, with the norm of
    pictures in [-1, 1], which makes the length of a step weight / 2 a_t a_r (s_t^2 / a_t^2 - s_r^2 / a_r^2). What the
    network returns is clipped to [-3, 1], which is [-1, 1] in its own range.
    """

    weight: float
    steps: int = DPS
    gradients: bool = True

    def grid(self, bridge: Bridge, steps: int) -> tuple[float, ...]:
        return tuple(float(t) for t in np.linspace(1.0, 0.0, steps + 1))

    def plan(self, problem: Problem, grid: Sequence[float]) -> Plan:
        known, bridge = problem.measurement, problem.bridge

        def clipped(z: Tensor, t: float) -> Estimate:
            found = problem.denoise(z, t)
            return replace(found, y=found.y.clamp(-3.0, 1.0))

        def denoise(z: Tensor, t: float) -> Estimate:
            a, _, s = bridge.coefficients(t)
            found, gradient = through(clipped, z, t, lambda y: known.residual(y).flatten(1).norm(dim=1))
            return replace(found, y=found.y - 0.5 * self.weight * s**2 / a * gradient)

        return Plan(grid, denoise)


def score_weight(values: Mapping[str, Any], numbers: int) -> float:
    """The weight of a row of settings for the rule in the score; numbers: those of the measurement.

    Where the row says `as_far_as` a zeta, all steps together are as long as those of the published rule with it.
    """
    if "weight" in values:
        return float(values["weight"])
    bridge, unit = CONTINUOUS, 0.0
    for t, r in itertools.pairwise(ScoreGuided(1.0).grid(bridge, DPS)):
        (a_t, _, s_t), (a_r, _, s_r) = bridge.coefficients(t), bridge.coefficients(r)
        unit += 0.5 * a_t * a_r * ((s_t / a_t) ** 2 - (s_r / a_r) ** 2)
    return REFERENCE_STEPS * values["as_far_as"] * (numbers / REFERENCE) ** 0.5 / unit


def published_levels(count: int) -> tuple[float, ...]:
    """The falling noise levels, for pictures in [0, 1], at which DDRM asks the network in `count` steps."""
    return tuple(s / a / 2.0 for a, _, s in (DISCRETE.coefficients(t) for t in leading_grid(DISCRETE, count)[:-1]))


def planned(solver: str, values: Mapping[str, Any], numbers: int) -> tuple[Solver, Bridge, tuple[float, ...]]:
    """The solver with a row of settings, the bridge and the grid; numbers: those of the measurement."""
    if solver == "DiffPIR":
        made = build("diffpir", weight=values["weight"], zeta=values["zeta"])
        return made, DISCRETE, made.grid(DISCRETE, DIFFPIR)
    if solver == "DPS":
        if values["rule"] == "released":
            made = build("dps", zeta=values["zeta"])
            return made, DISCRETE, made.grid(DISCRETE, DPS)
        made = ScoreGuided(score_weight(values, numbers))
        return made, CONTINUOUS, made.grid(CONTINUOUS, DPS)
    made, count = build("ddrm"), values["count"]
    if values["levels"] == "published":
        return made, DISCRETE, leading_grid(DISCRETE, count)
    # Levels of pictures in [-1, 1] are twice those of [0, 1]; the last one, 0, is where the walk ends.
    rising = tuple(2.0 * i / (count - 1) for i in range(1, count))
    return made, VE(schedules.LevelTable(rising)), tuple(i / (count - 1) for i in range(count - 1, -1, -1))


@dataclass(frozen=True)
class Scaled:
    """The normal fields of another source, multiplied by a number."""

    source: NoiseSource
    factor: float

    def normal(
        self, stream: str, draw: int, shape: Sequence[int], *, origin: tuple[int, int] = (0, 0),
        dtype: torch.dtype = torch.float64, device: torch.device | str = "cpu",
    ) -> Tensor:  # fmt: skip
        return self.factor * self.source.normal(stream, draw, shape, origin=origin, dtype=dtype, device=device)

    def uniform(self, stream: str, draw: int, count: int) -> Tensor:
        return self.source.uniform(stream, draw, count)


class Side:
    """Restores measurements with one prior."""

    name = "mezzotint"

    def __init__(self, prior: Any) -> None:
        self.prior = prior

    def prepare(self, solver: str, values: Mapping[str, Any], task: Task, x: Tensor, *, size: tuple[int, int]) -> Any:
        """Return a function of a seed, or of a source of noise, that returns the restored pictures in [0, 1]."""
        known = Measurement.of_unit(x, task.operator(*size), noise=task.sigma)
        made, bridge, grid = planned(solver, values, x[0].numel())
        like = torch.empty(len(x), known.channels, *size, dtype=x.dtype)
        problem = Problem(self.prior.of(bridge, like=like), bridge, known)

        def run(seed: int | NoiseSource) -> Tensor:
            noise = Noise(seed) if isinstance(seed, int) else seed
            if "draws" in values:
                noise = Scaled(noise, values["draws"])
            return ((restore(made, problem, noise=noise, grid=grid) + 1.0) / 2.0).to(x.dtype)

        return run
