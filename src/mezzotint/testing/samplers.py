"""Conformance of a reverse step, and the exact moments of what it samples."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from mezzotint.bridges import Bridge
from mezzotint.noise import Noise, NoiseSource
from mezzotint.samplers.coordinates import noise_level, times_of
from mezzotint.samplers.loop import Denoiser, Staged, Step, sample
from mezzotint.samplers.step import Estimate
from mezzotint.testing.priors import Assumed, GaussianPrior

_X = 0.1


def propagate(
    step: Step | Staged,
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
    the map, so the moments are exact for any number of steps; for a multistep sampler `affine_moments` finds that of
    the whole walk. `x`: the value of the small picture; `start`: mean and deviation at grid[0] in place of the bridge's
    own start. The step must add the same noise everywhere.
    """

    def denoiser(x_state: Tensor) -> Denoiser:
        return prior.denoiser(bridge, x_state, variance=variance)

    return _moments(step, denoiser, bridge=bridge, grid=grid, x=x, start=start)[-1]


def affine_moments(run: Callable[[NoiseSource, int], Tensor], *, tolerance: float = 1e-9) -> tuple[Tensor, Tensor]:
    """Mean c h w and covariance (D, D) of what a sampler returns, without drawing a sample, D = c h w.

    `run(noise, batch)` returns b c h w from a sampler that is affine in its noise, as any is with the denoiser of a
    Gaussian prior and steps that do not depend on the state. One run counts the draws; in another one every value of
    every draw is put into a batch item of its own. Noise of any stream is injected, the start's included. Raises
    ValueError where the output is not affine in the noise, by more than `tolerance` of its size.
    """
    counter = _Injected({})
    run(counter, 1)
    values = {key: number for key, number in counter.drawn.items()}
    total = sum(values.values())
    generator = torch.Generator().manual_seed(0)
    mixed = torch.randn(total, generator=generator, dtype=torch.float64)
    noise = _Injected(values, mixed)
    out = run(noise, total + 2)
    mean, columns = out[0], (out[2:] - out[0]).flatten(1)
    wanted = mean.flatten() + mixed @ columns
    error = (out[1].flatten() - wanted).abs().max().item() / (1.0 + wanted.abs().max().item())
    if not error <= tolerance:
        raise ValueError(f"the sampler is not affine in its noise: a mixture of fields is off by {error}")
    return mean, columns.T @ columns


def measure_order(
    step: Step | Staged,
    *,
    bridge: Bridge,
    steps: tuple[int, int] = (80, 160),
    high: float = 20.0,
    low: float = 0.05,
    stochastic: bool = False,
) -> float:
    """The measured order of convergence: log2 of the fall of the error from one number of steps to twice as many.

    On grids uniform in log-SNR between the noise levels s / a `high` (or nearly the bridge's largest) and `low`, with
    the best denoisers of Gaussian priors, for which the probability-flow ODE is solved exactly: the error of the state,
    or for a `stochastic` step that of the deviation of the samples, started as the prior would really leave them.
    The errors of three priors are added up, as that of one may pass through 0. A multistep sampler goes through its
    first step in halves of halves. `steps`: the two numbers.
    """
    high = min(high, 0.99 * noise_level(bridge, 1.0))
    first, last = times_of(bridge, (high, low))
    x = _column(_X)
    errors = []
    for count in steps:
        # Where the low-order steps of a multistep sampler's start are short enough not to count.
        warm = [0.5**i for i in range(10, 0, -1)] if getattr(step, "multistep", False) else []
        inside = [high * (low / high) ** (i / count) for i in [*warm, *range(1, count)]]
        grid = (first, *times_of(bridge, inside), last)
        found = 0.0
        for prior in (GaussianPrior(0.3, 0.5), GaussianPrior(-0.2, 0.25), GaussianPrior(0.1, 1.0)):
            (a, b, s), (a_r, _, s_r) = bridge.coefficients(first), bridge.coefficients(last)
            if stochastic:
                start = (a * prior.mean + b * _X, math.hypot(a * prior.std, s))
                _, std = propagate(step, bridge=bridge, grid=grid, prior=prior, start=start)
                found += abs(std - math.hypot(a_r * prior.std, s_r))
                continue
            z = bridge.mean(_column(prior.mean), x, first) + 0.8 * s + 0.1
            denoise = prior.denoiser(bridge, x)
            end = sample(denoise, bridge=bridge, noise=Noise(0), grid=grid, x_state=x, start=z, step=step)
            found += (end - prior.flow(bridge, z, x, last, first)).abs().item()
        errors.append(found)
    return math.log(errors[0] / errors[1]) / math.log(steps[1] / steps[0])


def check_sampler(
    step: Step | Staged,
    *,
    bridge: Bridge,
    prior: GaussianPrior | None = None,
    steps: Sequence[int] = (4, 32, 256),
    tolerance: float = 0.15,
    converges: bool = True,
    keeps_marginals: bool = True,
    order: int | None = None,
    stochastic: bool = False,
) -> dict[str, float]:
    """The largest error of everything that a reverse step must do on a bridge, by name.

    The step to the clean end returns the estimate and adds no noise; with the clean sample known every
    marginal is kept (not asked of discretised SDEs, which do so in the limit only: `keeps_marginals=False`); for a
    Gaussian prior the moments of the samples come at least twice as close to the prior's from one of `steps` to the
    next and end within `tolerance` of its deviation (not asked of steps that draw their noise anew, nor of a bridge
    without noise: `converges=False`); with `order` given, the measured order of convergence (`measure_order`, of
    moments where `stochastic`) is at most 0.15 below it; the state stays float64, arguments stay untouched, calls
    repeat to the bit, and a batch equals its items one by one. Raises AssertionError naming what failed.
    """
    prior = prior if prior is not None else GaussianPrior(mean=0.5, std=0.2)
    name = f"{getattr(step, '__name__', type(step).__name__)} on {type(bridge).__name__}"
    errors = {"last step returns the estimate": _check_last(name, step, bridge)}
    if keeps_marginals:
        errors["known sample keeps the marginals"] = _check_known(name, step, bridge)
    if converges:
        errors["relative deviation"] = _check_convergence(name, step, bridge, prior, steps, tolerance)
    if order is not None:
        found = measure_order(step, bridge=bridge, stochastic=stochastic)
        _assert(found >= order - 0.15, f"{name}: the error falls with order {found}, not {order}")
        errors["order of convergence"] = found
    _check_behaviour(name, step, bridge, prior)
    return errors


class _Injected:
    """A source of noise whose fields are 0 but for chosen values: item 0 gets none, item 1 all of them by given
    weights, and each further item one value of one draw, 1.
    """

    def __init__(self, values: dict[tuple[str, int], int], mixed: Tensor | None = None) -> None:
        self.drawn: dict[tuple[str, int], int] = {}
        self._values, self._mixed = values, mixed

    def normal(
        self,
        stream: str,
        draw: int,
        shape: Sequence[int],
        *,
        origin: tuple[int, int] = (0, 0),
        dtype: torch.dtype = torch.float64,
        device: torch.device | str = "cpu",
    ) -> Tensor:
        self.drawn[stream, draw] = math.prod(shape[1:])
        out = torch.zeros(tuple(shape), dtype=dtype, device=device)
        if self._mixed is not None and (stream, draw) in self._values:
            before = 0
            for key, number in self._values.items():
                if key == (stream, draw):
                    break
                before += number
            number = self._values[stream, draw]
            flat = out.view(len(out), -1)
            flat[1] = self._mixed[before : before + number].to(dtype)
            flat[2 + before : 2 + before + number] = torch.eye(number, dtype=dtype)
        return out

    def uniform(self, stream: str, draw: int, count: int) -> Tensor:
        raise ValueError("a sampler that draws uniform numbers is not affine in its noise")


def _moments(
    step: Step | Staged,
    denoiser: Callable[[Tensor], Denoiser],
    *,
    bridge: Bridge,
    grid: Sequence[float],
    x: float,
    start: tuple[float, float] | None = None,
) -> list[tuple[float, float]]:
    """Mean and standard deviation at every time of the grid, with the denoiser for a given x_state."""
    x_state = _column(x, x, x)
    if start is None:
        rest, lifted, _ = bridge.start(x_state, _column(0.0, 1.0, 0.0)).flatten().tolist()
        start = rest, lifted - rest
    if getattr(step, "multistep", False):
        return _multistep_moments(step, denoiser, bridge=bridge, grid=grid, x=x, start=start)
    denoise = denoiser(x_state)
    move = step.bind(denoise) if isinstance(step, Staged) else step
    mean, variance = start[0], start[1] ** 2
    noise = _column(0.0, 0.0, 1.0)
    carry: Any = None
    out = [(mean, math.sqrt(variance))]
    for t, r in itertools.pairwise(grid):
        z = _column(mean, mean + 1.0, mean)
        z, carry = move(bridge, z, denoise(z, t), x_state, t, r, noise, carry)
        rest, moved, noisy = z.flatten().tolist()
        mean, variance = rest, (moved - rest) ** 2 * variance + (noisy - rest) ** 2
        out.append((mean, math.sqrt(variance)))
    return out


def _multistep_moments(
    step: Step | Staged,
    denoiser: Callable[[Tensor], Denoiser],
    *,
    bridge: Bridge,
    grid: Sequence[float],
    x: float,
    start: tuple[float, float],
) -> list[tuple[float, float]]:
    seen: list[Tensor] = []

    def run(noise: NoiseSource, batch: int) -> Tensor:
        shape = (batch, 1, 1, 1)
        x_state = torch.full(shape, x, dtype=torch.float64)
        first = start[0] + start[1] * noise.normal("prior", 0, shape)
        seen[:] = [first]
        return sample(
            denoiser(x_state),
            bridge=bridge,
            noise=noise,
            grid=grid,
            x_state=x_state,
            start=first,
            step=step,
            callback=lambda move: seen.append(move.z),
        )

    affine_moments(run)
    columns = [(z.flatten()[0].item(), (z.flatten()[2:] - z.flatten()[0]).norm().item()) for z in seen]
    return columns


def _check_last(name: str, step: Step | Staged, bridge: Bridge) -> float:
    y, z, x = _column(0.3, -0.2, 0.9), _column(1.0, -1.0, 0.5), _column(0.1, 0.2, 0.3)
    move = step.bind(lambda z, t: Estimate(y)) if isinstance(step, Staged) else step
    out, _ = move(bridge, z, Estimate(y, c2=0.5), x, 0.4, 0.0, _column(3.0, 3.0, 3.0), None)
    error = (out - y).abs().max().item()
    _assert(error == 0.0, f"{name}: the step to the clean end differs from the estimate by {error}")
    return error


def _check_known(name: str, step: Step | Staged, bridge: Bridge) -> float:
    y = 0.7
    grid = (1.0, 0.93, 0.7, 0.41, 0.2, 0.05, 0.0)
    a, b, s = bridge.coefficients(1.0)
    moments = _moments(
        step,
        lambda x_state: lambda z, t: Estimate(torch.full_like(z, y)),
        bridge=bridge,
        grid=grid,
        x=_X,
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
    name: str, step: Step | Staged, bridge: Bridge, prior: GaussianPrior, steps: Sequence[int], tolerance: float
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


def _check_behaviour(name: str, step: Step | Staged, bridge: Bridge, prior: GaussianPrior) -> None:
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
    move = step.bind(lambda z, t: estimate) if isinstance(step, Staged) else step
    move(bridge, z, estimate, x, 0.5, 0.25, torch.ones_like(z), None)
    _assert(torch.equal(z, before), f"{name}: the state it was given was changed")


def _assert(condition: bool, message: str) -> None:
    # Not the assert statement, which python -O drops.
    if not condition:
        raise AssertionError(message)


def _column(*values: float) -> Tensor:
    return torch.tensor(values, dtype=torch.float64).reshape(-1, 1, 1, 1)
