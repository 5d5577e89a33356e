"""The probability-flow ODE with an adaptive Runge-Kutta method, which owns its loop."""

from __future__ import annotations

import contextlib
import itertools
import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from mezzotint.bridges import Bridge
from mezzotint.noise import NoiseSource
from mezzotint.samplers.coordinates import check_scalar
from mezzotint.samplers.loop import Denoiser, Move, Place
from mezzotint.samplers.step import ancestral
from mezzotint.schedules import check_grid

# Dormand and Prince 1980: stages, fifth-order weights (those of the last stage) and their difference to the fourth.
_NODES = (0.0, 1 / 5, 3 / 10, 4 / 5, 8 / 9, 1.0, 1.0)
_STAGES = (
    (),
    (1 / 5,),
    (3 / 40, 9 / 40),
    (44 / 45, -56 / 15, 32 / 9),
    (19372 / 6561, -25360 / 2187, 64448 / 6561, -212 / 729),
    (9017 / 3168, -355 / 33, 46732 / 5247, 49 / 176, -5103 / 18656),
    (35 / 384, 0.0, 500 / 1113, 125 / 192, -2187 / 6784, 11 / 84),
)
_ERROR = (71 / 57600, 0.0, -71 / 16695, 71 / 1920, -17253 / 339200, 22 / 525, -1 / 40)


def integrate(
    slope: Callable[[Tensor, float], Tensor],
    z: Tensor,
    *,
    first: float,
    last: float,
    rtol: float = 1e-5,
    atol: float = 1e-5,
    limit: int = 10_000,
) -> Tensor:
    """z at `last` of dz/dt = slope(z, t) from z, b ..., at `first`: Runge-Kutta 4(5) of Dormand and Prince.

    The error of a step is the root mean square over an item of |error| / (atol + rtol max(|z|, |z_new|)), the largest
    over the batch: no item is worse than alone, but the times of the steps, and with them the result within the
    tolerance, depend on the batch. Either direction of time. ValueError for tolerances that are not positive,
    RuntimeError where `limit` steps do not suffice or a slope is not finite.
    """
    if not (0.0 < rtol < math.inf and 0.0 < atol < math.inf):
        raise ValueError(f"tolerances {rtol} and {atol} of the solver must be positive and finite")
    if first == last:
        return z
    sign = 1.0 if last > first else -1.0
    t, here = first, slope(z, first)
    step = _first_step(slope, z, here, first, last, rtol=rtol, atol=atol)
    for _ in range(limit):
        remaining = abs(last - t)
        step = min(step, remaining)
        end = last if step == remaining else t + sign * step
        slopes = [here]
        moved = z
        for node, weights in zip(_NODES[1:], _STAGES[1:], strict=True):
            moved = z + sign * step * _sum(weights, slopes)
            slopes.append(slope(moved, end if node == 1.0 else t + sign * step * node))
        tolerance = atol + rtol * torch.maximum(z.abs(), moved.abs()).detach()
        error = _size(step * _sum(_ERROR, slopes) / tolerance)
        if not math.isfinite(error):
            raise RuntimeError(f"the slope is not finite near time {t}: end the integration above it")
        if error <= 1.0:
            t, z, here = end, moved, slopes[-1]
            if t == last:
                return z
        step *= min(10.0, max(0.2, 0.9 * error**-0.2)) if error > 0.0 else 10.0
    raise RuntimeError(
        f"{limit} steps from {first} reach only {t} of {last} at tolerances {rtol} and {atol}: use larger ones, or end "
        "above the time where the slope grows without bound"
    )


def adaptive(
    denoise: Denoiser,
    *,
    bridge: Bridge,
    noise: NoiseSource,
    grid: Sequence[float],
    x_state: Tensor | None = None,
    shape: Sequence[int] | None = None,
    start: Tensor | None = None,
    callback: Callable[[Move], None] | None = None,
    origin: tuple[int, int] = (0, 0),
    dtype: torch.dtype | None = None,
    device: torch.device | str | None = None,
    differentiable: bool = False,
    rtol: float = 1e-5,
    atol: float = 1e-5,
) -> Tensor:
    """The state at the end of `grid` by the probability-flow ODE, with steps that the solver chooses itself.

    Song et al. 2021, section 4.3, with the tolerances of their code. The times of `grid`, which falls, are met exactly,
    and between them `integrate` goes as it must in time; (1.0, 1e-3, 0.0) is what they do for a variance-preserving
    bridge. The move to 0 returns the estimate, as the ODE cannot be followed to the clean end. A pinned end is left by
    the bridge's own stochastic step to the second time of the grid. Other arguments, the result and the streams of
    noise are those of `sample`; the number of evaluations is known only to `denoise`. The steps depend on the whole
    batch and, in tiles, on the tile: pictures alone, in a batch or in tiles agree within the tolerances only.

    Raises ValueError for a grid that does not fall or has no time between its start and 0, and for a bridge without
    noise or without finite rates of change at a time of the grid; RuntimeError as `integrate`.
    """
    times = check_grid(grid)
    if len(times) == 2 and times[-1] == 0.0:
        raise ValueError(f"the ODE cannot be followed from {times[0]} to 0: put a small time between, for example 1e-3")
    check_scalar(bridge, name="the flow")
    place = Place.of(
        noise=noise, x_state=x_state, shape=shape, start=start, origin=origin, dtype=dtype, device=device
    )
    draw = place.draws("step")
    with contextlib.nullcontext() if differentiable else torch.no_grad():
        x_state = place.bring(x_state)
        z = place.begin(bridge, times[0], x_state, start)

        def slope(z: Tensor, t: float) -> Tensor:
            return bridge.velocity(z, denoise(z, t).y, x_state, t)

        for index, (t, r) in enumerate(itertools.pairwise(times)):
            estimate = None
            pinned = bridge.coefficients(t)[2] == 0.0
            if pinned and bridge.coefficients(r)[2] == 0.0 and r > 0.0:
                raise ValueError(
                    f"{type(bridge).__name__} has no noise at {r} and {t}: use ancestral, whose step is Euler's there"
                )
            if r == 0.0 or pinned:
                estimate = denoise(z, t)
                z, _ = ancestral(bridge, z, estimate, x_state, t, r, draw)
            else:
                z = integrate(slope, z, first=t, last=r, rtol=rtol, atol=atol)
            if callback is not None:
                callback(Move(index=index, count=len(times) - 1, t=t, r=r, z=z, estimate=estimate))
    return z


def _first_step(
    slope: Callable[[Tensor, float], Tensor],
    z: Tensor,
    here: Tensor,
    first: float,
    last: float,
    *,
    rtol: float,
    atol: float,
) -> float:
    """A first step for which an explicit step of order 1 would be about as good as the tolerance (Hairer, Norsett and
    Wanner, Solving ODEs I, section II.4).
    """
    tolerance = atol + rtol * z.abs().detach()
    length, speed = _size(z / tolerance), _size(here / tolerance)
    span = abs(last - first)
    guess = min(0.01 * length / speed if min(length, speed) > 1e-5 else 1e-6, span)
    sign = 1.0 if last > first else -1.0
    ahead = slope(z + sign * guess * here, first + sign * guess)
    bend = _size((ahead - here) / tolerance) / guess
    largest = max(speed, bend)
    better = max(1e-6, guess * 1e-3) if largest <= 1e-15 else (0.01 / largest) ** 0.2
    return min(100.0 * guess, better, span)


def _sum(weights: Sequence[float], fields: Sequence[Tensor]) -> Tensor:
    terms = [weight * field for weight, field in zip(weights, fields, strict=True) if weight != 0.0]
    return sum(terms[1:], terms[0])


def _size(field: Tensor) -> float:
    """The root mean square of every item, the largest over the batch."""
    return field.detach().flatten(1).square().mean(dim=1).sqrt().max().item()
