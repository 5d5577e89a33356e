"""Spectral correction: the one correction of `Measurement` with a covariance measured on pictures, in 5 to 20 steps.

With the clean picture given the state assumed to be N(y_hat, R), R diagonal in cosines (`error_spectrum`), both the
mean given the measurement and a draw from what is then left follow from one linear system: with K = R A^T (A R A^T +
noise^2 I)^-1,

    y_c = y_hat + K (x - A y_hat),      y - y_c ~ u - K (A u + n),   u ~ N(0, R), n the measurement's noise.

What the measurement misses is so put into the frequencies where the network errs, instead of evenly as A^+ does, and
the steps have the spread that is left, instead of none: for pictures whose distribution is normal with independent
cosines the result is the posterior in any number of steps. No gradient, one evaluation a step.

The walk begins at the noise level `begin` with the posterior of the spectrum of pictures alone, noised: higher levels
tell a network nothing that the measurement has not. The system is solved by conjugate gradients with the diagonal of A
R A^T in cosines of the small picture, which for reductions along rows and columns with symmetric kernels and borders is
nearly all of it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from mezzotint.bridges import Bridge
from mezzotint.errors import UsageError
from mezzotint.operators.bicubic import BicubicDown
from mezzotint.operators.diagonal import Average, Identity
from mezzotint.operators.separable import FilterAxis, Separable, matrix, resize
from mezzotint.samplers.coordinates import times_of
from mezzotint.samplers.step import Estimate, Field
from mezzotint.zero_shot.error_spectrum import ErrorSpectrum, colours, cosines, from_cosines, to_cosines
from mezzotint.zero_shot.measurement import Measurement
from mezzotint.zero_shot.solver import Plan, Problem


@dataclass(frozen=True)
class Spectral:
    """The solver. begin: the highest noise level s / a; low: the last one above 0. spread: the share of the remaining
    deviation that steps put in, 1 for draws from the posterior, 0 for its mean under each step. ends_noisy: whether the
    last step draws too, as the posterior does, instead of ending on its mean. UsageError for levels that do not fall
    and a spread outside 0 to 1.
    """

    begin: float = 3.0
    low: float = 0.02
    spread: float = 1.0
    ends_noisy: bool = False
    steps: int = 20
    gradients: bool = False

    def __post_init__(self) -> None:
        if not 0.0 < self.low < self.begin < float("inf"):
            raise UsageError(f"levels of spectral from {self.begin} to {self.low}: they fall, and stay above 0")
        if not 0.0 <= self.spread <= 1.0:
            raise UsageError(f"spread {self.spread} of spectral lies outside 0 (means) to 1 (draws)")

    def grid(self, bridge: Bridge, steps: int) -> tuple[float, ...]:
        """Times whose levels fall by one factor from `begin` to `low`, then 0."""
        if steps < 1:
            raise UsageError(f"steps {steps} of spectral: 1 or more")
        ratio = (self.low / self.begin) ** (1.0 / max(steps - 1, 1))
        return (*times_of(bridge, [self.begin * ratio**i for i in range(steps)]), 0.0)

    def plan(self, problem: Problem, grid: Sequence[float]) -> Plan:
        if problem.spectrum is None:
            raise UsageError(
                "spectral needs to know how far its prior is off, and this prior does not say: use ddnm or diffpir, "
                "or a prior that was trained to the end of its steps"
            )
        known, bridge, spectrum = problem.measurement, problem.bridge, problem.spectrum
        a, _, s = bridge.coefficients(grid[0])

        def start(eps: Tensor, inner: Tensor, other: Tensor) -> Tensor:
            before = Posterior.at(known, spectrum, float("inf"), like=eps)
            y = before.mean(torch.zeros_like(eps)) + before.deviation(inner, _shaped(other, known.x))
            return a * y + s * eps

        return Plan(grid, problem.denoise, SpectralStep(known, spectrum, self), start=start, fields=3)


@dataclass(frozen=True, eq=False)
class Posterior:
    """N(y_hat, R) given the measurement: `variances` (c, H, W) of R in cosines, `diagonal` (c' h w) near A R A^T +
    noise^2 in cosines of the small picture.
    """

    known: Measurement
    variances: Tensor
    diagonal: Tensor

    @classmethod
    def at(cls, known: Measurement, spectrum: ErrorSpectrum, level: float, *, like: Tensor) -> Posterior:
        variances = spectrum.at(level, height=int(like.shape[-2]), width=int(like.shape[-1])).to(like)
        return cls(known, variances, _diagonal(known, variances))

    def gain(self, residual: Tensor) -> Tensor:
        """R A^T (A R A^T + noise^2 I)^-1 residual, b c H W."""
        operator, noise = self.known.operator, self.known.noise

        def apply(v: Tensor) -> Tensor:
            return operator.A(self._spread(operator.At(v))) + noise**2 * v

        def precondition(v: Tensor) -> Tensor:
            return from_cosines(to_cosines(v) / self.diagonal)

        return self._spread(operator.At(_solve(apply, precondition, residual)))

    def mean(self, y: Tensor) -> Tensor:
        """y_c, b c H W."""
        return y + self.gain(self.known.residual(y))

    def deviation(self, eps: Tensor, noise: Tensor) -> Tensor:
        """A draw of y - y_c from standard normal fields b c H W and b c' h w."""
        u = from_cosines(self.variances.sqrt() * eps)
        return u - self.gain(self.known.operator.A(u) + self.known.noise * noise)

    def _spread(self, y: Tensor) -> Tensor:
        return from_cosines(self.variances * to_cosines(y))


@dataclass(frozen=True, eq=False)
class SpectralStep:
    """The ancestral step from the corrected estimate, with the variance that the correction leaves."""

    known: Measurement
    spectrum: ErrorSpectrum
    settings: Spectral

    def __call__(
        self, bridge: Bridge, z: Tensor, estimate: Estimate, x_state: Tensor | None, t: float, r: float,
        noise: Field | None, carry: Any = None, /,
    ) -> tuple[Tensor, Any]:  # fmt: skip
        (a_r, _, _), (a_t, _, s_t) = bridge.coefficients(r), bridge.coefficients(t)
        k, sd = bridge.transition(r, t)
        weight = a_r - k * a_t
        posterior = Posterior.at(self.known, self.spectrum, s_t / a_t, like=z)
        moved = weight * posterior.mean(estimate.y.to(z.dtype)) + k * z
        if r == 0.0 and not self.settings.ends_noisy:
            return moved, carry
        if not callable(noise):
            raise ValueError("this step draws several fields: give it a function that draws them")
        if self.settings.spread > 0.0:
            eps, other = noise().to(z.dtype), noise().to(z.dtype)
            moved = moved + self.settings.spread * weight * posterior.deviation(eps, _shaped(other, self.known.x))
        return (moved if r == 0.0 else moved + sd * noise().to(z.dtype)), carry


def _shaped(field: Tensor, like: Tensor) -> Tensor:
    """The first values of every item of a field in the shape of a measurement; UsageError where they do not suffice."""
    count = like[0].numel()
    if field[0].numel() < count:
        raise UsageError("this measurement has more numbers than the picture: spectral is for fewer or as many")
    return field.flatten(1)[:, :count].reshape(len(field), *like.shape[1:])


def _axes(known: Measurement) -> tuple[Tensor, Tensor] | None:
    """The matrices of rows and columns of a separable operator."""
    operator = known.operator
    if isinstance(operator, BicubicDown):
        # The same map in blocks of convolutions, which shows no matrices.
        operator = resize(height=operator.height, width=operator.width, scale=operator.scale)
    if isinstance(operator, Separable):
        return matrix(operator.rows), matrix(operator.columns)
    if isinstance(operator, Average):
        weights = (1.0 / operator.scale,) * operator.scale
        rows, columns = (FilterAxis(side, operator.scale, weights, 0) for side in operator.shape_in)
        return matrix(rows), matrix(columns)
    if isinstance(operator, Identity):
        height, width = operator.shape_in
        return torch.eye(height, dtype=torch.float64), torch.eye(width, dtype=torch.float64)
    return None


def _diagonal(known: Measurement, variances: Tensor) -> Tensor:
    """The diagonal of A R A^T + noise^2 I in cosines of the small picture, or one number near it, (c', h, w)."""
    axes = _axes(known)
    if axes is not None:
        gains = [(cosines(len(axis)) @ axis @ cosines(axis.shape[1]).T).square().to(variances) for axis in axes]
        return gains[0] @ variances @ gains[1].T + known.noise**2 + 1e-12 * float(variances.max())
    shape = tuple(known.x.shape[1:])
    mixed = colours(variances.shape[0]).to(variances).square().T @ variances.flatten(1).mean(1)
    level = float(mixed.mean()) * known.operator.norm**2 + known.noise**2
    return torch.full(shape, level, dtype=variances.dtype, device=variances.device)


def _solve(
    apply: Callable[[Tensor], Tensor], precondition: Callable[[Tensor], Tensor], b: Tensor, *, steps: int = 200
) -> Tensor:
    """Preconditioned conjugate gradients for each item of b, to a few units of rounding."""

    def dot(u: Tensor, v: Tensor) -> Tensor:
        return (u.double() * v.double()).flatten(1).sum(1).reshape(-1, *(1,) * (u.dim() - 1))

    x, residual = torch.zeros_like(b), b.clone()
    direction = precondition(residual)
    power = dot(residual, direction)
    limit = power * (32 * torch.finfo(b.dtype).eps) ** 2
    for _ in range(steps):
        live = power > limit
        if not bool(live.any()):
            break
        applied = apply(direction)
        length = torch.where(live, power / dot(direction, applied).clamp(min=1e-300), 0.0).to(b.dtype)
        x, residual = x + length * direction, residual - length * applied
        turned = precondition(residual)
        after = dot(residual, turned)
        share = torch.where(live, after / power.clamp(min=1e-300), 0.0).to(b.dtype)
        direction, power = turned + share * direction, torch.where(live, after, power.new_zeros(()))
    return x
