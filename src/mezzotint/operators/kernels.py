"""The blur kernels of the field, sampled on the pixels around any point: Gaussian, generalised, plateau, sinc, given.

A kernel is a density on the plane, cut at a square and normalised to sum 1 where it is sampled. Operators place its
centre where they need it, which for a reduction by an even factor is between pixels: nothing is shifted afterwards.

Sigmas are standard deviations in pixels, angles turn the first axis from the right towards the bottom. Differs from
BSRGAN's code, whose anisotropic kernels take the eigenvalues of the covariance: `from_eigenvalues` does.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from mezzotint.errors import UsageError
from mezzotint.noise import NoiseSource

LARGEST_SIZE = 513
"""Pixels a side of the largest kernel."""


@dataclass(frozen=True)
class Sampled:
    """A kernel on the pixels around a centre.

    `weights` (k, l), float64, sum 1; weight [i, j] belongs to the pixel (`top` + i, `left` + j) from the origin.
    """

    weights: Tensor
    top: int
    left: int


class BlurKernel(ABC):
    """A density on the plane, cut at a square of `size` pixels a side; hashable."""

    size: int

    @abstractmethod
    def density(self, down: Tensor, right: Tensor) -> Tensor:
        """The density, not normalised, at offsets in pixels from the centre."""
        ...

    @abstractmethod
    def record(self) -> dict[str, Any]:
        """Name and settings, ready for JSON."""
        ...

    def sample(self, centre: tuple[float, float] = (0.0, 0.0)) -> Sampled:
        """The weights that pixels at whole offsets have in the value at `centre` (down, right) pixels.

        The square holds the pixels at most (size - 1) / 2 from the centre: size x size of them around a pixel, one less
        a side around a corner of pixels.
        """
        return _sample(self, float(centre[0]), float(centre[1]))

    def weights(self) -> Tensor:
        """The kernel around a pixel, (size, size) for odd sizes, float64, sum 1."""
        return self.sample().weights


@lru_cache(maxsize=256)
def _sample(kernel: BlurKernel, down: float, right: float) -> Sampled:
    radius = (kernel.size - 1) / 2
    lines = []
    for centre in (down, right):
        # The tiny term keeps pixels that lie on the radius but for rounding; at least the nearest pixel stays.
        first, last = math.ceil(centre - radius - 1e-9), math.floor(centre + radius + 1e-9)
        if first > last:
            first = last = math.floor(centre + 0.5)
        lines.append(torch.arange(first, last + 1, dtype=torch.float64))
    density = kernel.density((down - lines[0])[:, None], (right - lines[1])[None, :])
    return Sampled(density / density.sum(), int(lines[0][0]), int(lines[1][0]))


def _quadratic(down: Tensor, right: Tensor, sigmas: tuple[float, float], angle: float) -> Tensor:
    """p^T Sigma^-1 p with the first sigma along the angle."""
    cosine, sine = math.cos(angle), math.sin(angle)
    along, across = cosine * right + sine * down, cosine * down - sine * right
    return (along / sigmas[0]).square() + (across / sigmas[1]).square()


def _check(kernel: Any) -> None:
    size = kernel.size
    if isinstance(size, bool) or int(size) != size or not 1 <= size <= LARGEST_SIZE or size % 2 == 0:
        raise UsageError(f"kernel size {size} is not an odd number from 1 to {LARGEST_SIZE}: use for example 21")
    sigmas = getattr(kernel, "sigmas", ())
    if not all(math.isfinite(sigma) and 0 < sigma <= 1000 for sigma in sigmas) or (sigmas and len(sigmas) != 2):
        raise UsageError(f"sigmas {sigmas} are not two standard deviations above 0 and at most 1000 pixels")
    if not math.isfinite(getattr(kernel, "angle", 0.0)):
        raise UsageError(f"angle {kernel.angle} is not a number of radians")
    beta = getattr(kernel, "beta", 1.0)
    if not (math.isfinite(beta) and 0 < beta <= 64):
        raise UsageError(f"beta {beta} is not above 0 and at most 64: 1 is a Gaussian")


@dataclass(frozen=True, kw_only=True)
class GaussianKernel(BlurKernel):
    """exp(-Q / 2) with Q = p^T Sigma^-1 p; isotropic where both sigmas agree. UsageError for settings out of range."""

    size: int = 21
    sigmas: tuple[float, float]
    angle: float = 0.0

    def __post_init__(self) -> None:
        _check(self)

    @classmethod
    def from_eigenvalues(cls, *, size: int, eigenvalues: tuple[float, float], angle: float) -> GaussianKernel:
        """The kernel by the eigenvalues of Sigma, variances, as BSRGAN's code gives them."""
        return cls(size=size, sigmas=(math.sqrt(eigenvalues[0]), math.sqrt(eigenvalues[1])), angle=angle)

    def density(self, down: Tensor, right: Tensor) -> Tensor:
        q = _quadratic(down, right, self.sigmas, self.angle)
        # A tiny sigma would make every weight underflow: only differences to the nearest pixel matter.
        return torch.exp(-0.5 * (q - q.min()))

    def record(self) -> dict[str, Any]:
        return {"kernel": "gaussian", "size": self.size, "sigmas": list(self.sigmas), "angle": self.angle}


@dataclass(frozen=True, kw_only=True)
class GeneralisedKernel(BlurKernel):
    """exp(-Q^beta / 2): flatter than a Gaussian inside for beta above 1, with longer tails below (Liu et al. 2020)."""

    size: int = 21
    sigmas: tuple[float, float]
    angle: float = 0.0
    beta: float

    def __post_init__(self) -> None:
        _check(self)

    def density(self, down: Tensor, right: Tensor) -> Tensor:
        q = _quadratic(down, right, self.sigmas, self.angle).pow(self.beta)
        return torch.exp(-0.5 * (q - q.min()))

    def record(self) -> dict[str, Any]:
        return {
            "kernel": "generalised",
            "size": self.size,
            "sigmas": list(self.sigmas),
            "angle": self.angle,
            "beta": self.beta,
        }


@dataclass(frozen=True, kw_only=True)
class PlateauKernel(BlurKernel):
    """1 / (1 + Q^beta): a disc with soft edges."""

    size: int = 21
    sigmas: tuple[float, float]
    angle: float = 0.0
    beta: float

    def __post_init__(self) -> None:
        _check(self)

    def density(self, down: Tensor, right: Tensor) -> Tensor:
        return 1 / (1 + _quadratic(down, right, self.sigmas, self.angle).pow(self.beta))

    def record(self) -> dict[str, Any]:
        return {
            "kernel": "plateau",
            "size": self.size,
            "sigmas": list(self.sigmas),
            "angle": self.angle,
            "beta": self.beta,
        }


def _bessel_j1(x: Tensor) -> Tensor:
    """J_1(x), float64, as the mean of cos(theta - x sin theta) over a circle: exact once it has more points than x.

    `torch.special.bessel_j1` errs by 1e-7.
    """
    count = math.ceil(float(x.abs().max())) + 48
    theta = 2 * math.pi * torch.arange(count, dtype=torch.float64) / count
    return torch.cos(theta - x[..., None] * torch.sin(theta)).mean(-1)


@dataclass(frozen=True, kw_only=True)
class SincKernel(BlurKernel):
    """The ideal low-pass of radius w = `cutoff` radians a pixel, w J_1(w r) / (2 pi r), w^2 / (4 pi) at 0: it rings."""

    size: int = 21
    cutoff: float

    def __post_init__(self) -> None:
        _check(self)
        if not (math.isfinite(self.cutoff) and 0 < self.cutoff <= math.pi):
            raise UsageError(f"cutoff {self.cutoff} is not above 0 and at most pi radians a pixel")

    def density(self, down: Tensor, right: Tensor) -> Tensor:
        r = torch.sqrt(down.square() + right.square())
        ring = self.cutoff / (2 * math.pi) * _bessel_j1(self.cutoff * r) / r
        return torch.where(r > 0, ring, torch.full_like(r, self.cutoff**2 / (4 * math.pi)))

    def record(self) -> dict[str, Any]:
        return {"kernel": "sinc", "size": self.size, "cutoff": self.cutoff}


def roughened(
    kernel: BlurKernel, noise: NoiseSource, *, draw: int = 0, low: float = 0.75, high: float = 1.25
) -> GivenKernel:
    """The kernel with every weight multiplied by its own uniform number, and normalised again (DIV2KRK, Real-ESRGAN).

    The numbers are those of the field `draw` of the stream "degradation". UsageError for limits that are not positive.
    """
    if not (0 < low <= high < math.inf):
        raise UsageError(f"factors from {low} to {high}: the first must be above 0 and not above the second")
    weights = kernel.weights()
    field = noise.normal("degradation", draw, (1, 1, *weights.shape))[0, 0]
    return GivenKernel.of(weights * (low + (high - low) * torch.special.ndtr(field)))


@dataclass(frozen=True)
class GivenKernel(BlurKernel):
    """Any weights, rows of equal odd length, whose centre is the middle one; normalised to sum 1.

    Between pixels the kernel is interpolated linearly (which blurs it by half a pixel: give it where it is needed).
    UsageError for other shapes, for values that are not finite, and for a sum of 0.
    """

    values: tuple[tuple[float, ...], ...]

    def __post_init__(self) -> None:
        values = tuple(tuple(float(v) for v in row) for row in self.values)
        object.__setattr__(self, "values", values)
        sides = {len(row) for row in values} | {len(values)}
        if len(sides) != 1 or len(values) % 2 == 0 or len(values) > LARGEST_SIZE:
            raise UsageError(
                f"a kernel of {len(values)} rows of {sorted({len(row) for row in values})} weights is not a square of "
                f"odd size up to {LARGEST_SIZE}: pad it with zeros"
            )
        total = math.fsum(v for row in values for v in row)
        if not math.isfinite(total) or abs(total) < 1e-12:
            raise UsageError(f"the weights of a kernel sum to {total}: they must be finite and not cancel")

    @classmethod
    def of(cls, weights: Tensor) -> GivenKernel:
        """The kernel of a tensor (k, k)."""
        return cls(tuple(tuple(row) for row in weights.to(torch.float64).tolist()))

    @property
    def size(self) -> int:  # pyright: ignore[reportIncompatibleVariableOverride]
        return len(self.values)

    def density(self, down: Tensor, right: Tensor) -> Tensor:
        radius = (self.size - 1) // 2
        values = torch.nn.functional.pad(torch.tensor(self.values, dtype=torch.float64), (1, 1, 1, 1))
        rows = self._weights(down.flatten(), radius)
        columns = self._weights(right.flatten(), radius)
        return rows @ values @ columns.T

    def _weights(self, offsets: Tensor, radius: int) -> Tensor:
        """Linear interpolation: (offsets, size + 2) weights of the padded values."""
        places = torch.arange(-radius - 1, radius + 2, dtype=torch.float64)
        return (1 - (offsets[:, None] - places).abs()).clamp_min(0)

    def sample(self, centre: tuple[float, float] = (0.0, 0.0)) -> Sampled:
        # Linear interpolation reaches half a pixel further than the weights.
        lines = []
        for c in centre:
            radius = (self.size - 1) / 2 + (0.0 if c == round(c) else 1.0)
            first, last = math.ceil(c - radius), math.floor(c + radius)
            lines.append(torch.arange(first, last + 1, dtype=torch.float64))
        density = self.density((centre[0] - lines[0])[:, None], (centre[1] - lines[1])[None, :])
        return Sampled(density / density.sum(), int(lines[0][0]), int(lines[1][0]))

    def record(self) -> dict[str, Any]:
        return {"kernel": "given", "size": self.size, "values": [list(row) for row in self.values]}
