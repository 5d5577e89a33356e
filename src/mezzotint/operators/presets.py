"""Named degradations of the field: which stages they have and what they draw at random.

A preset draws a chain of fixed stages for one picture and one size; all that was drawn stands in the chain, whose
record says it. Uniform numbers and noise fields come from the stream "degradation": seed and picture decide alone.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

import torch

from mezzotint.errors import UsageError
from mezzotint.noise import NoiseSource
from mezzotint.operators.added_noise import AddNoise, PoissonNoise
from mezzotint.operators.jpeg import DifferentiableJpeg, Jpeg
from mezzotint.operators.kernels import BlurKernel, GaussianKernel, GeneralisedKernel, PlateauKernel, SincKernel
from mezzotint.operators.stages import (
    Bicubic,
    Clip,
    Degradation,
    EightBit,
    Filter,
    Modcrop,
    Resize,
    ResizeMode,
    Sharpen,
    Stage,
)

_Item = TypeVar("_Item")
_SMALLEST_SIGMA = 1e-3
"""Kernels of no width are drawn by a uniform number that is 0; they keep one pixel."""


class Draws:
    """Random numbers of one picture, in the order in which they are asked for, from the stream "degradation"."""

    def __init__(self, noise: NoiseSource) -> None:
        self._noise, self._numbers, self._fields = noise, 0, 0

    def uniform(self, low: float = 0.0, high: float = 1.0) -> float:
        """A number from `low` to `high`."""
        value = float(self._noise.uniform("degradation", self._numbers, 1)[0])
        self._numbers += 1
        return low + (high - low) * value

    def integer(self, low: int, high: int) -> int:
        """A whole number from `low` to `high`, both included."""
        return low + min(math.floor(self.uniform() * (high - low + 1)), high - low)

    def chance(self, probability: float) -> bool:
        """True with this probability."""
        return self.uniform() < probability

    def choice(self, items: Sequence[_Item], weights: Sequence[float] | None = None) -> _Item:
        """One of the items, with probabilities in proportion to the weights."""
        if weights is None:
            return items[self.integer(0, len(items) - 1)]
        left = self.uniform() * math.fsum(weights)
        for item, weight in zip(items, weights, strict=True):
            left -= weight
            if left < 0:
                return item
        return items[-1]

    def permutation(self, count: int) -> list[int]:
        """The numbers below `count` in random order (Fisher and Yates)."""
        order = list(range(count))
        for i in range(count - 1, 0, -1):
            j = self.integer(0, i)
            order[i], order[j] = order[j], order[i]
        return order

    def field(self) -> int:
        """The number of the next noise field."""
        self._fields += 1
        return self._fields - 1


@dataclass(frozen=True)
class Preset:
    """A named degradation.

    summary: one line. scales: those that it is defined for. draw: the stages of one picture of a size that is a
    multiple of the scale.
    """

    name: str
    summary: str
    scales: tuple[int, ...]
    draw: Callable[[Draws, tuple[int, int], int, Compress], Sequence[Stage]]

    def check_scale(self, scale: float) -> None:
        """UsageError for a scale that the preset does not have."""
        if scale not in self.scales:
            known = ", ".join(map(str, self.scales))
            raise UsageError(f"preset {self.name} has no scale {scale:g}: use {known}")

    def chain(
        self, noise: NoiseSource, *, size: tuple[int, int], scale: float, differentiable: bool = False
    ) -> Degradation:
        """The stages of one picture of `size`, cropped to a multiple of the scale; noise is that of a batch of one.

        JPEG is libjpeg's, or with `differentiable` the codec through which gradients flow. UsageError for a scale that
        the preset does not have, InputError for a picture that is smaller than the scale.
        """
        self.check_scale(scale)
        crop = Modcrop(multiple=int(scale))
        stages = self.draw(Draws(noise), crop.size(*size), int(scale), _soft if differentiable else _hard)
        return Degradation(stages=(crop, *stages))


class Compress(Protocol):
    """The stages of a JPEG compression."""

    def __call__(self, quality: int, /) -> tuple[Stage, ...]: ...


def _hard(quality: int, /) -> tuple[Stage, ...]:
    return (EightBit(), Jpeg(quality=quality))


def _soft(quality: int, /) -> tuple[Stage, ...]:
    return (DifferentiableJpeg(quality=quality),)


def _bicubic(draws: Draws, size: tuple[int, int], scale: int, compress: Compress) -> list[Stage]:
    return [Bicubic(scale=scale), EightBit()]


def _bd(draws: Draws, size: tuple[int, int], scale: int, compress: Compress) -> list[Stage]:
    """RDN's and RCAN's: a Gaussian of 7x7 pixels and sigma 1.6, the edge repeated; every third pixel."""
    return [Filter(kernel=GaussianKernel(size=7, sigmas=(1.6, 1.6)), scale=scale, border="replicate"), EightBit()]


_GAUSSIAN8 = {2: (0.8, 0.1), 3: (1.35, 0.15), 4: (1.8, 0.2)}


def _gaussian8(draws: Draws, size: tuple[int, int], scale: int, compress: Compress) -> list[Stage]:
    """Gu et al. 2019: one of eight isotropic Gaussians of 21x21 pixels, sigma 1.8, 2.0 ... 3.2 at scale 4."""
    first, step = _GAUSSIAN8[scale]
    sigma = round(first + step * draws.integer(0, 7), 6)
    return [Filter(kernel=GaussianKernel(size=21, sigmas=(sigma, sigma)), scale=scale), EightBit()]


# --- BSRGAN


_LIBRARY_MODES: tuple[ResizeMode, ...] = ("bilinear", "bicubic", "area")


def _bsrgan(draws: Draws, size: tuple[int, int], scale: int, compress: Compress) -> list[Stage]:
    """Zhang et al. 2021: two blurs, two resizes, noise and JPEG in random order, then JPEG.

    At scale 4 a quarter of the pictures is halved first. Differs from the authors' code in kernels that are sampled
    about the middle of a cell in place of shifted by interpolation, in resizing by OpenCV's formulas in float, and in
    the camera's noise, a seventh step which needs a model of a camera and is left out here as in their public code.
    """
    stages: list[Stage] = []
    height, width = size
    if scale == 4 and draws.chance(0.25):
        height, width, scale = height // 2, width // 2, 2
        mode = draws.choice(_LIBRARY_MODES) if draws.chance(0.5) else "matlab"
        stages += [Resize(height=height, width=width, mode=mode), Clip()]
    order = draws.permutation(7)
    first, second = sorted((order.index(2), order.index(3)))
    order[first], order[second] = 2, 3
    seen = height, width
    for step in order:
        if step in (0, 1):
            stages.append(Filter(kernel=_bsrgan_kernel(draws, scale)))
        elif step == 2:
            seen = height, width
            if draws.chance(0.75):
                factor = draws.uniform(1, 2 * scale)
                height, width = max(1, int(height / factor)), max(1, int(width / factor))
                stages.append(Resize(height=height, width=width, mode=draws.choice(_LIBRARY_MODES)))
            else:
                sigma = max(draws.uniform(0.1, 0.6 * scale), _SMALLEST_SIGMA)
                stages.append(Filter(kernel=GaussianKernel(size=25, sigmas=(sigma, sigma)), scale=scale))
                height, width = -(-height // scale), -(-width // scale)
            stages.append(Clip())
        elif step == 3:
            height, width = seen[0] // scale, seen[1] // scale
            stages += [Resize(height=height, width=width, mode=draws.choice(_LIBRARY_MODES)), Clip()]
        elif step == 4:
            stages += [_bsrgan_noise(draws), Clip()]
        elif step == 5 and draws.chance(0.9):
            stages += compress(draws.integer(30, 95))
    return [*stages, *compress(draws.integer(30, 95))]


def _bsrgan_kernel(draws: Draws, scale: int) -> BlurKernel:
    if draws.chance(0.5):
        eigenvalues = [max(draws.uniform(0, 4 + scale), _SMALLEST_SIGMA**2) for _ in range(2)]
        size, angle = 2 * draws.integer(2, 11) + 3, draws.uniform(0, math.pi)
        return GaussianKernel.from_eigenvalues(size=size, eigenvalues=(eigenvalues[0], eigenvalues[1]), angle=angle)
    size, sigma = 2 * draws.integer(2, 11) + 3, max(draws.uniform(0, 2 + 0.2 * scale), _SMALLEST_SIGMA)
    return GaussianKernel(size=size, sigmas=(sigma, sigma))


def _bsrgan_noise(draws: Draws) -> AddNoise:
    level, kind = draws.integer(2, 25), draws.uniform()
    if kind > 0.6:
        return AddNoise(sigma=level, draw=draws.field())
    if kind < 0.4:
        return AddNoise(sigma=level, channels="grey", draw=draws.field())
    variances = torch.tensor([draws.uniform() for _ in range(3)], dtype=torch.float64)
    numbers = torch.tensor([draws.uniform() for _ in range(9)], dtype=torch.float64).reshape(3, 3)
    basis = torch.linalg.svd(numbers)[0]
    covariance = (25**2 * (basis.T @ torch.diag(variances) @ basis)).abs()
    return AddNoise(covariance=tuple(tuple(row) for row in covariance.tolist()), draw=draws.field())


# --- Real-ESRGAN


@dataclass(frozen=True)
class _Order:
    """The ranges of one of Real-ESRGAN's two rounds."""

    sigma: tuple[float, float]
    resize: tuple[float, float, float]
    """Probabilities of enlarging, shrinking and keeping."""
    factor: tuple[float, float]
    noise: tuple[float, float]
    poisson: tuple[float, float]


_FIRST = _Order((0.2, 3.0), (0.2, 0.7, 0.1), (0.15, 1.5), (1.0, 30.0), (0.05, 3.0))
_SECOND = _Order((0.2, 1.5), (0.3, 0.4, 0.3), (0.3, 1.2), (1.0, 25.0), (0.05, 2.5))
_FAMILIES = ("iso", "aniso", "generalised iso", "generalised aniso", "plateau iso", "plateau aniso")
_FAMILY_WEIGHTS = (0.45, 0.25, 0.12, 0.03, 0.12, 0.03)
_BETA = {"generalised": (0.5, 4.0), "plateau": (1.0, 2.0)}
_GREY, _SINC, _BLUR, _FINAL_SINC = 0.4, 0.1, 0.8, 0.8
_PLAIN_MODES: tuple[ResizeMode, ...] = ("adaptive area", "bilinear", "bicubic")


def _real_esrgan(draws: Draws, size: tuple[int, int], scale: int, compress: Compress) -> list[Stage]:
    """Wang et al. 2021: sharpened, then twice blur, resize, noise and JPEG, with ringing at the end.

    Differs from the authors' code in JPEG, which is libjpeg's with whole qualities where theirs has transposed tables;
    in sizes, of a whole picture in place of crops of 400; and in that all is drawn for each picture, where theirs draws
    sizes once a batch. Kernels have their drawn size and are not padded to 21.
    """
    height, width = size
    stages: list[Stage] = [Sharpen(), Filter(kernel=_real_esrgan_kernel(draws, _FIRST))]
    factor = _factor(draws, _FIRST)
    height, width = max(1, int(height * factor)), max(1, int(width * factor))
    stages.append(Resize(height=height, width=width, mode=draws.choice(_PLAIN_MODES)))
    stages += [_real_esrgan_noise(draws, _FIRST), Clip(), *compress(draws.integer(30, 95))]
    if draws.chance(_BLUR):
        stages.append(Filter(kernel=_real_esrgan_kernel(draws, _SECOND)))
    factor = _factor(draws, _SECOND) / scale
    height, width = max(1, int(size[0] * factor)), max(1, int(size[1] * factor))
    stages.append(Resize(height=height, width=width, mode=draws.choice(_PLAIN_MODES)))
    stages += [_real_esrgan_noise(draws, _SECOND), Clip()]
    last: list[Stage] = [Resize(height=size[0] // scale, width=size[1] // scale, mode=draws.choice(_PLAIN_MODES))]
    if draws.chance(_FINAL_SINC):
        last.append(Filter(kernel=SincKernel(size=_odd(draws), cutoff=draws.uniform(math.pi / 3, math.pi))))
    quality = draws.integer(30, 95)
    if draws.chance(0.5):
        stages += [*last, Clip(), *compress(quality)]
    else:
        stages += [*compress(quality), *last]
    return [*stages, EightBit()]


def _odd(draws: Draws) -> int:
    return 2 * draws.integer(3, 10) + 1


def _real_esrgan_kernel(draws: Draws, order: _Order) -> BlurKernel:
    size = _odd(draws)
    if draws.chance(_SINC):
        return SincKernel(size=size, cutoff=draws.uniform(math.pi / (3 if size < 13 else 5), math.pi))
    family = draws.choice(_FAMILIES, _FAMILY_WEIGHTS)
    sigma, angle = draws.uniform(*order.sigma), 0.0
    sigmas = (sigma, sigma)
    if family.endswith("aniso"):
        sigmas, angle = (sigma, draws.uniform(*order.sigma)), draws.uniform(-math.pi, math.pi)
    if family in ("iso", "aniso"):
        return GaussianKernel(size=size, sigmas=sigmas, angle=angle)
    kind = family.split()[0]
    low, high = _BETA[kind]
    beta = draws.uniform(low, 1.0) if draws.chance(0.5) else draws.uniform(1.0, high)
    made = GeneralisedKernel if kind == "generalised" else PlateauKernel
    return made(size=size, sigmas=sigmas, angle=angle, beta=beta)


def _factor(draws: Draws, order: _Order) -> float:
    kind = draws.choice(("up", "down", "keep"), order.resize)
    low, high = order.factor
    return {"up": lambda: draws.uniform(1, high), "down": lambda: draws.uniform(low, 1), "keep": lambda: 1.0}[kind]()


def _real_esrgan_noise(draws: Draws, order: _Order) -> Stage:
    if draws.chance(0.5):
        sigma, grey = draws.uniform(*order.noise), draws.chance(_GREY)
        return AddNoise(sigma=sigma, channels="grey" if grey else "independent", draw=draws.field())
    strength, grey = draws.uniform(*order.poisson), draws.chance(_GREY)
    return PoissonNoise(strength=strength, grey=grey, draw=draws.field())


_ANY = tuple(range(1, 17))

PRESETS: dict[str, Preset] = {
    preset.name: preset
    for preset in (
        Preset("bicubic", "MATLAB's antialiased bicubic", _ANY, _bicubic),
        Preset("bd", "Gaussian blur of sigma 1.6 and 7x7 pixels, then decimation (published at 3)", _ANY, _bd),
        Preset("gaussian8", "one of eight Gaussian blurs, then decimation", tuple(_GAUSSIAN8), _gaussian8),
        Preset("bsrgan", "blur, resizing, noise and JPEG in random order (Zhang et al. 2021)", (1, 2, 3, 4), _bsrgan),
        Preset("real-esrgan", "two rounds of blur, resizing, noise and JPEG (Wang et al. 2021)", _ANY, _real_esrgan),
    )
}
"""The named degradations."""


def preset(name: str) -> Preset:
    """The preset of a name; UsageError that lists them for another one."""
    if name not in PRESETS:
        raise UsageError(f"preset {name!r} is unknown: use {', '.join(PRESETS)}")
    return PRESETS[name]
