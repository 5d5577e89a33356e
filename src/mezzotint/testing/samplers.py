"""Conformance of a reverse step, and the exact moments of what it samples."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from mezzotint.bridges import Bridge
from mezzotint.noise import Noise
from mezzotint.samplers.loop import Denoiser, Step, sample
from mezzotint.samplers.step import Estimate
from mezzotint.testing.priors import Assumed, GaussianPrior

_X = 0.1


def propagate(
    step: Step,
    *,
    bridge: Bridge,
    grid: Sequence[float],
    prior: GaussianPrior,
    x: float = _X,
    variance: Assumed = "small",
    start: tuple[float, float] | None = None,
) -> tuple[float, float]:
    """Mean and standard deviation of what a sampler returns for a Gaussian prior, without drawing a sample.

    With the best denoiser of a Gaussian prior a step is affine in state and noise. Three states a step find
    the map, so the moments are exact for any number of steps. `x`: the value of the small picture; `start`:
    mean and deviation at grid[0] in place of the bridge's own start. The step must add the same noise
    everywhere.
    """
    x_state = _column(x, x, x)
    denoise = prior.denoiser(bridge, x_state, variance=variance)
    return _moments(step, denoise, bridge=bridge, grid=grid, x_state=x_state, start=start)[-1]


def check_sampler(
    step: Step,
    *,
    bridge: Bridge,
    prior: GaussianPrior | None = None,
    steps: Sequence[int] = (4, 32, 256),
    tolerance: float = 0.15,
    converges: bool = True,
) -> dict[str, float]:
    """The largest error of everything that a reverse step must do on a bridge, by name.

    The step to the clean end returns the estimate and adds no noise; with the clean sample known every
    marginal is kept; for a Gaussian prior the moments of the samples come at least twice as close to the
    prior's from one of `steps` to the next and end within `tolerance` of its deviation (not asked of steps
    that draw their noise anew, nor of a bridge without noise: `converges=False`); the state stays float64,
    arguments stay untouched, calls repeat to the bit, and a batch equals its items one by one. Raises
    AssertionError naming what failed.
    """
    prior = prior if prior is not None else GaussianPrior(mean=0.5, std=0.2)
    name = f"{getattr(step, '__name__', type(step).__name__)} on {type(bridge).__name__}"
    errors = {"last step returns the estimate": _check_last(name, step, bridge)}
    errors["known sample keeps the marginals"] = _check_known(name, step, bridge)
    if converges:
        errors["relative deviation"] = _check_convergence(name, step, bridge, prior, steps, tolerance)
    _check_behaviour(name, step, bridge, prior)
    return errors


def _moments(
    step: Step,
    denoise: Denoiser,
    *,
    bridge: Bridge,
    grid: Sequence[float],
    x_state: Tensor,
    start: tuple[float, float] | None = None,
) -> list[tuple[float, float]]:
    """Mean and standard deviation at every time of the grid."""
    if start is None:
        rest, lifted, _ = bridge.start(x_state, _column(0.0, 1.0, 0.0)).flatten().tolist()
        start = rest, lifted - rest
    mean, variance = start[0], start[1] ** 2
    noise = _column(0.0, 0.0, 1.0)
    carry: Any = None
    out = [(mean, math.sqrt(variance))]
    for t, r in itertools.pairwise(grid):
        z = _column(mean, mean + 1.0, mean)
        z, carry = step(bridge, z, denoise(z, t), x_state, t, r, noise, carry)
        rest, moved, noisy = z.flatten().tolist()
        mean, variance = rest, (moved - rest) ** 2 * variance + (noisy - rest) ** 2
        out.append((mean, math.sqrt(variance)))
    return out


def _check_last(name: str, step: Step, bridge: Bridge) -> float:
    y, z, x = _column(0.3, -0.2, 0.9), _column(1.0, -1.0, 0.5), _column(0.1, 0.2, 0.3)
    out, _ = step(bridge, z, Estimate(y, c2=0.5), x, 0.4, 0.0, _column(3.0, 3.0, 3.0), None)
    error = (out - y).abs().max().item()
    _assert(error == 0.0, f"{name}: the step to the clean end differs from the estimate by {error}")
    return error


def _check_known(name: str, step: Step, bridge: Bridge) -> float:
    y, x = 0.7, _column(_X, _X, _X)
    grid = (1.0, 0.93, 0.7, 0.41, 0.2, 0.05, 0.0)
    a, b, s = bridge.coefficients(1.0)
    moments = _moments(
        step,
        lambda z, t: Estimate(torch.full_like(z, y)),
        bridge=bridge,
        grid=grid,
        x_state=x,
        start=(a * y + b * _X, s),
    )
    worst = 0.0
    for t, (mean, std) in zip(grid, moments, strict=True):
        a, b, s = bridge.coefficients(t)
        error = max(abs(mean - a * y - b * _X), abs(std - s))
        _assert(error < 1e-9, f"{name}: with the clean sample known the marginal at {t} is off by {error}")
        worst = max(worst, error)
    return worst


def _check_convergence(
    name: str, step: Step, bridge: Bridge, prior: GaussianPrior, steps: Sequence[int], tolerance: float
) -> float:
    # The state at t = 1 that the prior would really leave: a start of the bridge's own is off by its design.
    a, b, s = bridge.coefficients(1.0)
    start = (a * prior.mean + b * _X, math.hypot(a * prior.std, s))
    found = [propagate(step, bridge=bridge, grid=bridge.grid(count), prior=prior, start=start) for count in steps]
    errors = [max(abs(std / prior.std - 1.0), abs(mean - prior.mean) / prior.std) for mean, std in found]
    for (few, before), (many, after) in itertools.pairwise(zip(steps, errors, strict=True)):
        # An error that has reached the rounding of float64 need not fall on.
        _assert(
            after <= 0.5 * before or after < 1e-9,
            f"{name}: the error falls only from {before} to {after} between {few} and {many} steps",
        )
    _assert(errors[-1] <= tolerance, f"{name}: error {errors[-1]} after {steps[-1]} steps is above {tolerance}")
    return errors[-1]


def _check_behaviour(name: str, step: Step, bridge: Bridge, prior: GaussianPrior) -> None:
    shape = (3, 2, 5, 4)
    noise = Noise(0, pictures=(11, 12, 13))
    x = torch.linspace(-1.0, 1.0, math.prod(shape), dtype=torch.float64).reshape(shape)
    kept = x.clone()

    def run(items: slice) -> Tensor:
        part = Noise(0, pictures=(noise.pictures or ())[items])
        return sample(
            prior.denoiser(bridge, x[items]),
            bridge=bridge,
            x_state=x[items],
            noise=part,
            grid=bridge.grid(5),
            step=step,
        )

    whole = run(slice(0, 3))
    _assert(whole.dtype == torch.float64, f"{name}: a float64 state became {whole.dtype}")
    _assert(bool(torch.isfinite(whole).all()), f"{name}: a sample is not finite")
    _assert(torch.equal(whole, run(slice(0, 3))), f"{name}: two equal calls differ")
    single = torch.cat([run(slice(i, i + 1)) for i in range(3)])
    _assert(torch.equal(whole, single), f"{name}: a batch of 3 differs from its items one by one")
    _assert(torch.equal(x, kept), f"{name}: x_state was changed")
    z, before = whole, whole.clone()
    estimate = Estimate(torch.zeros_like(z))
    step(bridge, z, estimate, x, 0.5, 0.25, torch.ones_like(z), None)
    _assert(torch.equal(z, before), f"{name}: the state it was given was changed")


def _assert(condition: bool, message: str) -> None:
    # Not the assert statement, which python -O drops.
    if not condition:
        raise AssertionError(message)


def _column(*values: float) -> Tensor:
    return torch.tensor(values, dtype=torch.float64).reshape(-1, 1, 1, 1)
