"""Priors whose best estimate is known in closed form: they stand in for a perfectly trained network."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from mezzotint.bridges import Bridge
from mezzotint.prediction import large_variance
from mezzotint.samplers.loop import Denoiser
from mezzotint.samplers.step import Estimate

Assumed = Literal["small", "large", "exact"]


@dataclass(frozen=True)
class GaussianPrior:
    """Every value of the clean sample is N(mean, std^2), whatever the small picture is."""

    mean: float = 0.0
    std: float = 1.0

    def __post_init__(self) -> None:
        if not (math.isfinite(self.mean) and 0.0 <= self.std < math.inf):
            raise ValueError(f"N({self.mean}, {self.std}^2) is not a normal distribution")

    def posterior(self, bridge: Bridge, z: Tensor, x_state: Tensor | None, t: float) -> tuple[Tensor, float]:
        """Mean, shaped like z, and variance of the clean sample given the state at t."""
        a, _, s = bridge.coefficients(t)
        power = a**2 * self.std**2 + s**2
        variance = self.std**2 * s**2 / power if power > 0.0 else self.std**2 if a == 0.0 else 0.0
        gain = a * self.std**2 / power if power > 0.0 else 0.0
        center = torch.full_like(z, self.mean)
        return center + gain * (z - bridge.mean(center, x_state, t)), variance

    def denoiser(self, bridge: Bridge, x_state: Tensor | None = None, *, variance: Assumed = "small") -> Denoiser:
        """The best denoiser, with the assumed variance c2 of its estimate: 0, DDPM's large one, or the true
        one.
        """

        def denoise(z: Tensor, t: float) -> Estimate:
            lifted = None if x_state is None else x_state.to(z.dtype)
            y_hat, exact = self.posterior(bridge, z, lifted, t)
            c2 = {"small": 0.0, "large": large_variance(bridge, t), "exact": exact}[variance]
            return Estimate(y_hat, c2=c2)

        return denoise

    def flow(self, bridge: Bridge, z: Tensor, x_state: Tensor | None, r: float, t: float) -> Tensor:
        """The state at r that the probability-flow ODE (Song et al. 2021, equation 13) leads to from z at t.

        Defined where s_t > 0; exact, as the flow of a Gaussian prior is linear.
        """
        center = torch.full_like(z, self.mean)
        (a_r, _, s_r), (a_t, _, s_t) = bridge.coefficients(r), bridge.coefficients(t)
        gain = math.sqrt((a_r**2 * self.std**2 + s_r**2) / (a_t**2 * self.std**2 + s_t**2))
        return bridge.mean(center, x_state, r) + gain * (z - bridge.mean(center, x_state, t))


@dataclass(frozen=True)
class TwoPointPrior:
    """Every value of the clean sample is `low` or `high`, the latter with probability `weight`."""

    low: float = -1.0
    high: float = 1.0
    weight: float = 0.5

    def __post_init__(self) -> None:
        if not (self.low < self.high and 0.0 < self.weight < 1.0):
            raise ValueError(f"{self.low}, {self.high} with weight {self.weight} are not two points")

    def denoiser(self, bridge: Bridge, x_state: Tensor | None = None, *, variance: Assumed = "small") -> Denoiser:
        """The best denoiser: middle + half tanh(log-odds / 2); see `GaussianPrior.denoiser`."""
        middle, half = 0.5 * (self.low + self.high), 0.5 * (self.high - self.low)
        bias = 0.5 * math.log(self.weight / (1.0 - self.weight))

        def denoise(z: Tensor, t: float) -> Estimate:
            a, _, s = bridge.coefficients(t)
            lifted = None if x_state is None else x_state.to(z.dtype)
            off = z - bridge.mean(torch.full_like(z, middle), lifted, t)
            if s > 0.0:
                tilt = torch.tanh(bias + a * half * off / s**2)
            else:
                tilt = torch.sign(off) if a > 0.0 else torch.full_like(z, math.tanh(bias))
            exact = half**2 * (1.0 - tilt**2)
            c2 = {"small": 0.0, "large": large_variance(bridge, t), "exact": exact}[variance]
            return Estimate(middle + half * tilt, c2=c2)

        return denoise
