"""How far a denoiser is off, by noise level and frequency: a covariance that is diagonal in cosines, measured on
pictures.

The error y - y_hat of a good denoiser is small where the picture is smooth and has the frequencies that the noise hid,
so its covariance R is far from a multiple of the identity. Here it is diagonal in the discrete cosine transform of each
component of three orthonormal colours (the sum, and two differences), with a variance for each frequency and noise
level. Where the noise hides everything it is the spectrum of pictures itself.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from mezzotint.errors import UsageError

BINS = 32
"""Frequencies are told apart by this many rings between 0 and sqrt(2) half cycles a pixel."""


@lru_cache(maxsize=16)
def cosines(count: int) -> Tensor:
    """The orthonormal DCT-II, (count, count), float64: rows are frequencies."""
    n = torch.arange(count, dtype=torch.float64)
    rows = torch.cos(math.pi / count * n[:, None] * (n[None] + 0.5)) * (2.0 / count) ** 0.5
    rows[0] *= 0.5**0.5
    return rows


@lru_cache(maxsize=4)
def colours(channels: int) -> Tensor:
    """Orthonormal components of the channels, rows: for three the sum, red against blue, green against both."""
    if channels != 3:
        return torch.eye(channels, dtype=torch.float64)
    rows = torch.tensor([[1.0, 1.0, 1.0], [1.0, 0.0, -1.0], [-1.0, 2.0, -1.0]], dtype=torch.float64)
    return rows / rows.norm(dim=1, keepdim=True)


def to_cosines(y: Tensor) -> Tensor:
    """b c H W as coefficients of components and frequencies, of the same shape; orthonormal."""
    mixed = torch.einsum("kc,bchw->bkhw", colours(y.shape[1]).to(y), y)
    return cosines(y.shape[-2]).to(y) @ mixed @ cosines(y.shape[-1]).to(y).T


def from_cosines(c: Tensor) -> Tensor:
    """The inverse, and the transpose, of `to_cosines`."""
    mixed = cosines(c.shape[-2]).to(c).T @ c @ cosines(c.shape[-1]).to(c)
    return torch.einsum("kc,bkhw->bchw", colours(c.shape[1]).to(c), mixed)


def rings(height: int, width: int) -> Tensor:
    """For every frequency of a picture its place among the rings, (H, W), float64 from 0 to BINS - 1."""
    rows = torch.arange(height, dtype=torch.float64) / height
    columns = torch.arange(width, dtype=torch.float64) / width
    radius = (rows[:, None] ** 2 + columns[None] ** 2).sqrt()
    # Rings are narrow next to frequency 0, where spectra are steep.
    return (BINS - 1) * (radius / math.sqrt(2.0)) ** 0.5


@dataclass(frozen=True, eq=False)
class ErrorSpectrum:
    """Variances of the error.

    levels: falling noise levels s / a, (L,). power: variances of the error for pictures in
    [-1, 1], (L, c, BINS), float64, above 0. UsageError for shapes that do not fit.
    """

    levels: Tensor
    power: Tensor

    def __post_init__(self) -> None:
        if self.levels.dim() != 1 or self.power.dim() != 3 or self.power.shape[0] != len(self.levels):
            raise UsageError(
                f"an error spectrum of levels {tuple(self.levels.shape)} and power {tuple(self.power.shape)}: give "
                "(levels,) and (levels, channels, rings)"
            )
        if bool((self.levels.diff() >= 0).any()) or not bool((self.power > 0).all()):
            raise UsageError("levels of an error spectrum fall, and its variances are above 0")

    def at(self, level: float, *, height: int, width: int) -> Tensor:
        """Variances at a noise level for every component and frequency, (c, H, W), float64.

        Linear in the logarithms between the levels, proportional to level^2 below the lowest, those of the first above
        the highest.
        """
        logs, floor = self.power.log(), float(self.levels[-1])
        if level <= floor:
            row = logs[-1] + 2.0 * math.log(max(level, 1e-12) / floor)
        else:
            if level >= float(self.levels[0]):
                row = logs[0]
            else:
                below = next(i for i, value in enumerate(self.levels.tolist()) if value <= level)
                high, low = math.log(float(self.levels[below - 1])), math.log(float(self.levels[below]))
                share = (math.log(level) - low) / (high - low)
                row = share * logs[below - 1] + (1.0 - share) * logs[below]
        place = rings(height, width)
        first = place.floor().long().clamp(max=self.power.shape[2] - 2)
        rest = (place - first).clamp(0.0, 1.0)
        return ((1.0 - rest) * row[:, first] + rest * row[:, first + 1]).exp()


def measure_spectrum(
    denoise: Callable[[Tensor, float], Tensor], pictures: Iterable[Tensor], *, levels: Iterable[float], seed: int = 0
) -> ErrorSpectrum:
    """The error spectrum of a denoiser: `denoise(y + level n, level)` gives y_hat, for pictures b c H W in [-1, 1].

    Adds a level, the highest, at which the estimate is the mean of all pictures and the error their spectrum. Raises
    UsageError without pictures.
    """
    wanted = sorted((float(level) for level in levels), reverse=True)
    generator = torch.Generator().manual_seed(seed)
    sums: Tensor | None = None
    counts = torch.zeros(BINS, dtype=torch.float64)
    kept = [picture.detach() for picture in pictures]
    if not kept:
        raise UsageError("there are no pictures to measure a denoiser on")
    mean = sum(float(picture.double().mean()) for picture in kept) / len(kept)
    for picture in kept:
        rows = [picture.double() - mean]
        for level in wanted:
            eps = torch.randn(picture.shape, generator=generator, dtype=torch.float64).to(picture)
            with torch.no_grad():
                rows.append((picture - denoise(picture + level * eps, level)).double())
        place = rings(picture.shape[-2], picture.shape[-1])
        nearest = place.round().long().flatten()
        if sums is None:
            sums = torch.zeros(len(rows), picture.shape[1], BINS, dtype=torch.float64)
        for index, row in enumerate(rows):
            square = to_cosines(row).square().mean(0).flatten(1)
            sums[index].index_add_(1, nearest, square)
        counts.index_add_(0, nearest, torch.ones(len(nearest), dtype=torch.float64))
    assert sums is not None
    power = sums / counts.clamp(min=1.0)
    # A ring that no frequency of the pictures falls into takes the value of the nearest one that some do.
    filled = counts.nonzero().flatten()
    for ring in (counts == 0).nonzero().flatten():
        power[..., ring] = power[..., filled[(filled - ring).abs().argmin()]]
    highest = wanted[0]
    return ErrorSpectrum(torch.tensor([max(1e3, 10.0 * highest), *wanted], dtype=torch.float64), power.clamp(min=1e-12))
