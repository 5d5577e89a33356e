"""A solver as a plan for the one loop: what is done to the estimate, which step, which walk, which start."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from mezzotint.bridges import Bridge
from mezzotint.errors import UsageError
from mezzotint.noise import NoiseSource
from mezzotint.samplers.loop import After, Denoiser, Move, Step, sample
from mezzotint.samplers.step import ancestral
from mezzotint.zero_shot.error_spectrum import ErrorSpectrum
from mezzotint.zero_shot.measurement import Measurement


@dataclass(frozen=True, eq=False)
class Problem:
    """A prior and a measurement. `denoise(z, t)` is the prior's, on states z = a y + s eps of `bridge`; `spectrum` that
    of its errors, where they were measured.

    UsageError for a bridge that ends at the small picture, or is no scalar one: a prior knows no x.
    """

    denoise: Denoiser
    bridge: Bridge
    measurement: Measurement
    spectrum: ErrorSpectrum | None = None

    def __post_init__(self) -> None:
        if self.bridge.needs_x or not self.bridge.scalar:
            raise UsageError(
                f"{type(self.bridge).__name__} leads to the small picture: a prior diffuses to noise (VP, SubVP, VE)"
            )

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """b c H W of the state."""
        m = self.measurement
        return (len(m.x), m.channels, *m.operator.shape_in)

    def level(self, t: float) -> float:
        """The noise level s / a of the state at t."""
        a, _, s = self.bridge.coefficients(t)
        return s / a


@dataclass(frozen=True, eq=False)
class Plan:
    """How a problem is solved.

    walk: the times, up-moves included. denoise: the prior, corrected. step, after: as for `samplers.sample`.
    start: makes the state at walk[0] of `fields` standard normal fields; the bridge's own start without it.
    bridge: another than the problem's, where moves up are different. loop: a sampler that owns its loop, called as
    `samplers.sample` is but without step and after. each: evaluations of the prior in a move down.
    """

    walk: Sequence[float]
    denoise: Denoiser
    step: Step = ancestral
    after: After | None = None
    start: Callable[..., Tensor] | None = None
    fields: int = 1
    bridge: Bridge | None = None
    loop: Callable[..., Tensor] | None = None
    each: int = 1

    @property
    def moves(self) -> int:
        """How often the loop calls back."""
        return len(self.walk) - 1

    @property
    def evaluations(self) -> int:
        """How often the prior is asked."""
        return self.each * sum(r < t for t, r in itertools.pairwise(self.walk))


class Solver(Protocol):
    """What a solver is: a frozen dataclass of its settings that makes plans.

    `steps`: of its own configuration. `gradients`: whether it differentiates the prior. `plan` gets the falling grid of
    times that the walk is made of.
    """

    @property
    def steps(self) -> int: ...

    @property
    def gradients(self) -> bool: ...

    def grid(self, bridge: Bridge, steps: int) -> tuple[float, ...]: ...

    def plan(self, problem: Problem, grid: Sequence[float]) -> Plan: ...


def even_grid(bridge: Bridge, steps: int) -> tuple[float, ...]:
    """Equal strides down from the last node of a table, or uniform times: t = 1 first, 0 last."""
    return bridge.grid(steps, spacing="trailing" if bridge.nodes else "uniform")


def leading_grid(bridge: Bridge, steps: int) -> tuple[float, ...]:
    """The released grids of DDRM, DDNM and ADM's respacing: every (nodes / steps)-th node from the first one up, so
    that a walk starts below the last node. UsageError without a table, or for more steps than nodes.
    """
    nodes = bridge.nodes
    if nodes is None or not 1 <= steps <= nodes:
        raise UsageError(f"{steps} leading steps need a table of as many nodes, and this bridge has {nodes}")
    stride = nodes // steps
    return tuple((i * stride + 1) / nodes for i in range(steps - 1, -1, -1)) + (0.0,)


def restore(
    solver: Solver,
    problem: Problem,
    *,
    noise: NoiseSource,
    steps: int | None = None,
    grid: Sequence[float] | None = None,
    origin: tuple[int, int] = (0, 0),
    callback: Callable[[Move], None] | None = None,
    dtype: torch.dtype | None = None,
) -> Tensor:
    """The large picture b c H W that the solver finds, in [-1, 1] but not clipped.

    steps: of the solver's grid, its own number unless given; grid: falling times in its place. `noise`, `origin`,
    `callback`, `dtype` as for `samplers.sample`. Raises UsageError for a problem that the solver is not for.
    """
    count = solver.steps if steps is None else steps
    times = tuple(grid) if grid is not None else solver.grid(problem.bridge, count)
    plan = solver.plan(problem, times)
    where, kind = problem.measurement.x.device, dtype if dtype is not None else torch.float64
    start = None
    if plan.start is not None:
        start = plan.start(
            *(
                noise.normal("start", draw, problem.shape, origin=origin, dtype=kind, device=where)
                for draw in range(plan.fields)
            )
        )
    elif plan.walk[0] != 1.0:
        # A grid that begins below the last node: pure noise of that level.
        a, _, s = problem.bridge.coefficients(plan.walk[0])
        field = noise.normal("start", 0, problem.shape, origin=origin, dtype=kind, device=where)
        start = (a**2 + s**2) ** 0.5 * field
    own = {} if plan.loop is not None else {"step": plan.step, "after": plan.after}
    return (plan.loop or sample)(
        plan.denoise,
        bridge=plan.bridge or problem.bridge,
        noise=noise,
        grid=plan.walk,
        shape=problem.shape,
        start=start,
        origin=origin,
        callback=callback,
        dtype=kind,
        device=where,
        **own,
    )
