"""The loop: walk a grid of times from noise, or from a given state, to the picture."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor

from mezzotint.bridges import Bridge
from mezzotint.noise import NoiseSource
from mezzotint.samplers.step import Estimate, Field, ancestral

Denoiser = Callable[[Tensor, float], Estimate]


class Step(Protocol):
    """A reverse step: state and carry at r from those at t > r."""

    def __call__(
        self,
        bridge: Bridge,
        z: Tensor,
        estimate: Estimate,
        x_state: Tensor | None,
        t: float,
        r: float,
        noise: Field | None,
        carry: Any,
        /,
    ) -> tuple[Tensor, Any]: ...


@runtime_checkable
class Staged(Protocol):
    """A reverse step that asks the network again inside itself, as Heun's does: the loop binds it to the denoiser."""

    def bind(self, denoise: Denoiser) -> Step: ...

    def evaluations(self, bridge: Bridge, t: float, r: float) -> int:
        """How often a step from t to r asks the network, the estimate at t included."""
        ...


class After(Protocol):
    """What is done to the state after a step down to r: ILVR, RePaint, a Langevin corrector."""

    def __call__(
        self, z: Tensor, r: float, denoise: Denoiser, noise: Callable[[], Tensor], carry: Any, /
    ) -> tuple[Tensor, Any]: ...


@dataclass(frozen=True, eq=False)
class Move:
    """The record of one move: number `index` of `count`, from time `t` to `r`.

    `z` is the state at r; `estimate` what the network said at t, None for a move up.
    """

    index: int
    count: int
    t: float
    r: float
    z: Tensor
    estimate: Estimate | None


@dataclass(frozen=True)
class Place:
    """Where a walk happens: the size, type and device of its state, and its part of the lattice of noise."""

    noise: NoiseSource
    shape: tuple[int, ...]
    origin: tuple[int, int]
    dtype: torch.dtype
    device: torch.device

    @classmethod
    def of(
        cls,
        *,
        noise: NoiseSource,
        x_state: Tensor | None,
        shape: Sequence[int] | None,
        start: Tensor | None,
        origin: tuple[int, int],
        dtype: torch.dtype | None,
        device: torch.device | str | None,
    ) -> Place:
        """The place that the arguments of a sampler say; ValueError where they say none, or two."""
        reference = start if start is not None else x_state
        if shape is None:
            if reference is None:
                raise ValueError("the size of the state is unknown: give shape, x_state or start")
            shape = reference.shape
        size = tuple(int(side) for side in shape)
        for name, given in (("x_state", x_state), ("start", start)):
            if given is not None and tuple(given.shape) != size:
                raise ValueError(f"{name} has shape {tuple(given.shape)}, the state has {size}")
        where = torch.device(device if device is not None else reference.device if reference is not None else "cpu")
        kind = dtype if dtype is not None else torch.float32 if where.type == "mps" else torch.float64
        return cls(noise, size, origin, kind, where)

    def draws(self, stream: str, first: int = 0) -> Callable[[], Tensor]:
        """A function that gives the next field of a stream at each call."""
        counter = itertools.count(first)

        def draw() -> Tensor:
            return self.noise.normal(
                stream, next(counter), self.shape, origin=self.origin, dtype=self.dtype, device=self.device
            )

        return draw

    def bring(self, field: Tensor | None) -> Tensor | None:
        """A given field in the type and on the device of the walk."""
        return None if field is None else field.to(device=self.device, dtype=self.dtype)

    def begin(self, bridge: Bridge, t: float, x_state: Tensor | None, start: Tensor | None) -> Tensor:
        """The state at the first time t: the given one, or the bridge's own start at t = 1."""
        if start is not None:
            return start.to(device=self.device, dtype=self.dtype)
        if t == 1.0:
            return bridge.start(x_state, self.draws("start")())
        raise ValueError(f"the bridge starts at time 1, the grid at {t}: give start, the state there")


def sample(
    denoise: Denoiser,
    *,
    bridge: Bridge,
    noise: NoiseSource,
    grid: Sequence[float],
    x_state: Tensor | None = None,
    shape: Sequence[int] | None = None,
    step: Step | Staged = ancestral,
    after: After | None = None,
    start: Tensor | None = None,
    callback: Callable[[Move], None] | None = None,
    origin: tuple[int, int] = (0, 0),
    draw: int = 0,
    renoise_scale: float = 1.0,
    dtype: torch.dtype | None = None,
    device: torch.device | str | None = None,
    differentiable: bool = False,
) -> Tensor:
    """The state at the end of the walk over `grid`, b c h w, in the type of the walk.

    `denoise(z, t) -> Estimate` is the only contact with a network: it gets the state in the type of the
    walk (float64; float32 on a device without it, or `dtype`) and casts it itself. `grid`: times in [0, 1],
    usually `bridge.grid(steps)`; each pair (t, r) is a move, down by `step`, up (r > t) by
    `bridge.renoise`. `x_state`: the small picture lifted to the state, for bridges that end at it. `shape`
    b c h w is needed where neither `x_state` nor `start` gives it. `start`: the state at grid[0] instead of
    the bridge's own start, which is for grid[0] = 1 only. `after` follows each move down. `callback` gets
    one `Move` after each move.

    A step with `multistep = True` (DPM-Solver++, UniPC) builds on the states and estimates before it: it goes down all
    the way and bears no `after`, which would move the state behind its back. `renoise_scale` multiplies the noise of
    moves up (EDM's S_noise; 1 keeps the marginals).

    Noise is drawn from the streams `start` (draw 0), `step` and `after` (draws counted from `draw`, which is 0
    but for a walk that goes on from a later state), at `origin`, the row and column of the state on the noise's
    lattice, so that tiles get the noise of the whole picture. Steps that add none draw none. Gradients are
    recorded only with `differentiable`. Raises ValueError for a grid that leaves [0, 1] or stands still, for
    a missing shape or start, for an estimate that is not shaped like the state, for a multistep `step` with `after` or
    with moves up, and for a move that the step cannot make on this bridge.
    """
    times = _check_walk(grid)
    _check_history(step, times, after)
    place = Place.of(
        noise=noise, x_state=x_state, shape=shape, start=start, origin=origin, dtype=dtype, device=device
    )
    move = step.bind(denoise) if isinstance(step, Staged) else step
    stepping, correcting = place.draws("step", draw), place.draws("after", draw)
    with contextlib.nullcontext() if differentiable else torch.no_grad():
        x_state = place.bring(x_state)
        z = place.begin(bridge, times[0], x_state, start)
        carry: Any = None
        count = len(times) - 1
        for index, (t, r) in enumerate(itertools.pairwise(times)):
            estimate = None
            if r > t:
                z = bridge.renoise(z, x_state, t, r, renoise_scale * stepping())
            else:
                estimate = denoise(z, t)
                if estimate.y.shape != z.shape:
                    raise ValueError(
                        f"the estimate has shape {tuple(estimate.y.shape)}, the state {tuple(z.shape)}: "
                        "a denoiser answers in the shape of the state"
                    )
                z, carry = move(bridge, z, estimate, x_state, t, r, stepping, carry)
                if after is not None:
                    z, carry = after(z, r, denoise, correcting, carry)
            if callback is not None:
                callback(Move(index=index, count=count, t=t, r=r, z=z, estimate=estimate))
    return z


def count_evaluations(grid: Sequence[float], *, step: Step | Staged = ancestral, bridge: Bridge | None = None) -> int:
    """How often a walk over the grid asks the network: once a move down, or as often as a staged step says.

    `bridge`: needed for a staged step, whose number of evaluations depends on where its moves lie; ValueError without.
    What an `after` asks is not counted.
    """
    down = [(t, r) for t, r in itertools.pairwise(_check_walk(grid)) if r < t]
    if not isinstance(step, Staged):
        return len(down)
    if bridge is None:
        raise ValueError(f"the evaluations of {type(step).__name__} depend on the bridge: give it")
    return sum(step.evaluations(bridge, t, r) for t, r in down)


def _check_history(step: Step | Staged, times: Sequence[float], after: After | None) -> None:
    if not getattr(step, "multistep", False):
        return
    name = type(step).__name__
    if after is not None:
        raise ValueError(f"{name} builds on earlier states, which `after` changes: use ancestral, ddim or Heun with it")
    if any(r > t for t, r in itertools.pairwise(times)):
        raise ValueError(f"{name} builds on earlier states, which a move up forgets: use ancestral, ddim or Heun")


def _check_walk(grid: Sequence[float]) -> tuple[float, ...]:
    times = tuple(float(t) for t in grid)
    if len(times) < 2 or not all(0.0 <= t <= 1.0 for t in times):
        raise ValueError(f"a walk needs two or more times in [0, 1], not {times[:8]}")
    if any(t == r for t, r in itertools.pairwise(times)):
        raise ValueError("a walk does not stand still: two neighbouring times are equal")
    return times
