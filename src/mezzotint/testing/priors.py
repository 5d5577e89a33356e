"""Priors whose best estimate is known in closed form: they stand in for a perfectly trained network."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
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


@dataclass(frozen=True)
class MixturePrior:
    """Every value of the clean sample is drawn from a mixture of normal distributions, independently.

    `weights`: positive, they are normalised; `means` and `stds`: one a component, deviations 0 or more.
    """

    weights: tuple[float, ...] = (0.5, 0.5)
    means: tuple[float, ...] = (-0.7, 0.7)
    stds: tuple[float, ...] = (0.2, 0.2)

    def __post_init__(self) -> None:
        sizes = {len(self.weights), len(self.means), len(self.stds)}
        if len(sizes) != 1 or sizes == {0}:
            raise ValueError("a mixture needs as many weights as means and deviations, and one at least")
        if min(self.weights) <= 0.0 or min(self.stds) < 0.0:
            raise ValueError(f"weights {self.weights} must be positive and deviations {self.stds} 0 or more")

    def denoiser(self, bridge: Bridge, x_state: Tensor | None = None, *, variance: Assumed = "small") -> Denoiser:
        """The best denoiser where s_t > 0: component means weighted by their responsibilities for the state, which are
        taken in the logarithm; see `GaussianPrior.denoiser`.
        """

        def denoise(z: Tensor, t: float) -> Estimate:
            a, _, s = bridge.coefficients(t)
            if s == 0.0:
                raise ValueError(f"the mixture's estimate is not defined without noise, at {t}: use a time inside")
            lifted = None if x_state is None else x_state.to(z.dtype)
            u = (z - bridge.mean(torch.zeros_like(z), lifted, t))[None]
            weights, means, stds = (
                torch.tensor(values, dtype=z.dtype).reshape(-1, *([1] * z.dim()))
                for values in (self.weights, self.means, self.stds)
            )
            power = a**2 * stds**2 + s**2
            likely = weights.log() - 0.5 * power.log() - 0.5 * (u - a * means) ** 2 / power
            share = torch.softmax(likely, dim=0)
            best = means + a * stds**2 / power * (u - a * means)
            y_hat = (share * best).sum(dim=0)
            exact = (share * (stds**2 * s**2 / power + best**2)).sum(dim=0) - y_hat**2
            c2 = {"small": 0.0, "large": large_variance(bridge, t), "exact": exact.clamp(min=0.0)}[variance]
            return Estimate(y_hat, c2=c2)

        return denoise


@dataclass(frozen=True, eq=False)
class GaussianField:
    """A clean sample c h w whose D values are jointly N(mean, covariance); float64 (D,) and (D, D)."""

    mean: Tensor
    covariance: Tensor

    def __post_init__(self) -> None:
        count = self.mean.numel()
        if self.mean.dim() != 1 or self.covariance.shape != (count, count):
            raise ValueError(
                f"a mean {tuple(self.mean.shape)} needs a covariance (D, D), not {tuple(self.covariance.shape)}"
            )
        if not torch.allclose(self.covariance, self.covariance.T, atol=1e-10):
            raise ValueError("the covariance is not symmetric")
        if self._spectrum[0].min() < -1e-10 * self._spectrum[0].max().clamp(min=1.0):
            raise ValueError("the covariance has a negative eigenvalue")

    @cached_property
    def _spectrum(self) -> tuple[Tensor, Tensor]:
        values, vectors = torch.linalg.eigh(self.covariance)
        return values, vectors

    @property
    def _variances(self) -> Tensor:
        return self._spectrum[0].clamp(min=0.0)

    def _apply(self, gains: Tensor, field: Tensor) -> Tensor:
        """A function of the covariance, given by its values on the eigenvectors, applied to fields b c h w."""
        vectors = self._spectrum[1].to(field.dtype)
        return ((field.flatten(1) @ vectors) * gains.to(field.dtype) @ vectors.T).reshape(field.shape)

    def _center(self, like: Tensor) -> Tensor:
        return self.mean.to(like.dtype).reshape(1, *like.shape[1:]).expand(like.shape)

    def denoiser(
        self, bridge: Bridge, x_state: Tensor | None = None, *, variance: Literal["small", "large"] = "small"
    ) -> Denoiser:
        """The best denoiser mean + a C (a^2 C + s^2)^-1 (z - a mean - b x), with the assumed variance 0 or DDPM's large
        one; where a = s = 0 the mean.
        """

        def denoise(z: Tensor, t: float) -> Estimate:
            a, _, s = bridge.coefficients(t)
            lifted = None if x_state is None else x_state.to(z.dtype)
            power = a**2 * self._variances + s**2
            gains = torch.where(power > 0.0, a * self._variances / power.clamp(min=1e-300), 0.0)
            center = self._center(z)
            y_hat = center + self._apply(gains, z - bridge.mean(center, lifted, t))
            return Estimate(y_hat, c2=0.0 if variance == "small" else large_variance(bridge, t))

        return denoise

    def flow(self, bridge: Bridge, z: Tensor, x_state: Tensor | None, r: float, t: float) -> Tensor:
        """The state at r that the probability-flow ODE leads to from z at t; where s_t > 0, exact."""
        (a_r, _, s_r), (a_t, _, s_t) = bridge.coefficients(r), bridge.coefficients(t)
        gains = ((a_r**2 * self._variances + s_r**2) / (a_t**2 * self._variances + s_t**2)).sqrt()
        center = self._center(z)
        return bridge.mean(center, x_state, r) + self._apply(gains, z - bridge.mean(center, x_state, t))


@dataclass(frozen=True, eq=False)
class LinearGaussian:
    """Super-resolution with a Gaussian prior: y ~ N(mean, covariance), x = A y + N(0, noise^2), all in closed form.

    prior: of the D values of y. operator: A, float64 (d, D). noise: deviation of the measurement, above 0.
    """

    prior: GaussianField
    operator: Tensor
    noise: float

    def __post_init__(self) -> None:
        if self.operator.dim() != 2 or self.operator.shape[1] != self.prior.mean.numel():
            raise ValueError(f"operator {tuple(self.operator.shape)} does not fit {self.prior.mean.numel()} values")
        if not 0.0 < self.noise < math.inf:
            raise ValueError(f"noise {self.noise} of the measurement must be positive and finite")

    def given(self, x: Tensor) -> GaussianField:
        """The distribution of y given the measurement x, (d,): its denoiser is the exact conditional one."""
        spread = self.prior.covariance @ self.operator.T
        inner = self.operator @ spread + self.noise**2 * torch.eye(len(self.operator), dtype=spread.dtype)
        gain = torch.linalg.solve(inner, spread.T).T
        covariance = self.prior.covariance - gain @ spread.T
        mean = self.prior.mean + gain @ (x - self.operator @ self.prior.mean)
        return GaussianField(mean, 0.5 * (covariance + covariance.T))

    def log_likelihood(self, bridge: Bridge, x: Tensor) -> Callable[[Tensor, float], Tensor]:
        """log q(x | z, t) of the measurement x, (d,), up to a constant in z: (b,), the perfect classifier.

        Given z the measurement is N(A y_hat, A Var(y | z) A^T + noise^2). For bridges that do not end at x.
        """
        denoise = self.prior.denoiser(bridge)
        identity = torch.eye(len(self.operator), dtype=torch.float64)

        def value(z: Tensor, t: float) -> Tensor:
            a, _, s = bridge.coefficients(t)
            values, vectors = self.prior._variances, self.prior._spectrum[1]
            left = values * s**2 / (a**2 * values + s**2)
            spread = self.operator @ (vectors * left) @ vectors.T @ self.operator.T + self.noise**2 * identity
            off = x - denoise(z, t).y.flatten(1) @ self.operator.T
            return -0.5 * (off * torch.linalg.solve(spread, off.T).T).sum(dim=1)

        return value
