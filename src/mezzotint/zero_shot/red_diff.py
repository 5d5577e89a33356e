"""RED-diff: one picture is optimised so that it fits the measurement and the prior finds nothing to take out of it.

Mardani et al., "A Variational Perspective on Solving Inverse Problems with Diffusion Models", arXiv 2305.04391,
algorithm 1: Adam on (v / 2) mean |x - A mu|^2 + lambda (s / a) mean <eps_hat - eps, mu>, eps_hat - eps held fixed, at
falling times; the means are over all numbers, so nothing depends on the size. No gradient goes through the network.
What is found is a maximum, not a sample: no texture where nothing was measured, and no more spread over seeds than the
last steps of Adam leave, which is about its rate.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from mezzotint.bridges import Bridge
from mezzotint.errors import UsageError
from mezzotint.noise import NoiseSource
from mezzotint.samplers.loop import Denoiser, Move, Place
from mezzotint.zero_shot.measurement import Measurement
from mezzotint.zero_shot.solver import Plan, Problem, even_grid


@dataclass(frozen=True)
class REDDiff:
    """The solver. `rate` and `betas` are Adam's (`optimiser` "sgd": plain steps of `rate` times the number of values);
    `weight` lambda, `fit` v. UsageError for a rate that is not positive and another optimiser.
    """

    rate: float = 0.25
    weight: float = 0.25
    fit: float = 1.0
    optimiser: str = "adam"
    betas: tuple[float, float] = (0.9, 0.99)
    steps: int = 100
    gradients: bool = False

    def __post_init__(self) -> None:
        if not 0.0 < self.rate < float("inf"):
            raise UsageError(f"rate {self.rate} of red-diff must be positive and finite")
        if self.optimiser not in ("adam", "sgd"):
            raise UsageError(f"optimiser {self.optimiser!r} of red-diff is neither 'adam' nor 'sgd'")

    def grid(self, bridge: Bridge, steps: int) -> tuple[float, ...]:
        return even_grid(bridge, steps)

    def plan(self, problem: Problem, grid: Sequence[float]) -> Plan:
        loop = partial(descend, known=problem.measurement, settings=self)
        return Plan(grid, problem.denoise, start=lambda eps: problem.measurement.seen.to(eps), loop=loop)


def descend(
    denoise: Denoiser,
    *,
    bridge: Bridge,
    noise: NoiseSource,
    grid: Sequence[float],
    known: Measurement,
    settings: REDDiff,
    x_state: Tensor | None = None,
    shape: Sequence[int] | None = None,
    start: Tensor | None = None,
    callback: Callable[[Move], None] | None = None,
    origin: tuple[int, int] = (0, 0),
    dtype: torch.dtype | None = None,
    device: torch.device | str | None = None,
) -> Tensor:
    """The picture after one step at each time of `grid` above 0; `start` is the first guess."""
    place = Place.of(
        noise=noise, x_state=x_state, shape=shape, start=start, origin=origin, dtype=dtype, device=device
    )
    draw, times = place.draws("step"), [t for t in grid if t > 0.0]
    with torch.no_grad():
        mu = place.begin(bridge, times[0], None, start)
        first, second = torch.zeros_like(mu), torch.zeros_like(mu)
        count, measured = mu[0].numel(), known.x[0].numel()
        (low, high) = settings.betas
        for index, t in enumerate(times):
            a, _, s = bridge.coefficients(t)
            eps = draw()
            z = a * mu + s * eps
            estimate = denoise(z, t)
            off = (z - a * estimate.y.to(z.dtype)) / s - eps
            gradient = settings.weight * (s / a) * off / count
            gradient = gradient - settings.fit * known.operator.At(known.residual(mu)) / measured
            if settings.optimiser == "sgd":
                mu = mu - settings.rate * count * gradient
            else:
                first = low * first + (1.0 - low) * gradient
                second = high * second + (1.0 - high) * gradient**2
                root = (second / (1.0 - high ** (index + 1))).sqrt() + 1e-8
                mu = mu - settings.rate * first / (1.0 - low ** (index + 1)) / root
            if callback is not None:
                r = times[index + 1] if index + 1 < len(times) else 0.0
                callback(Move(index=index, count=len(times), t=t, r=r, z=mu, estimate=estimate))
    return mu
