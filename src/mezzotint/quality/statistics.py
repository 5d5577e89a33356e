"""Statistics of evaluations: bootstrap intervals, rank correlation, and how well a spread predicts an error."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mezzotint.errors import InputError, UsageError

RESAMPLES = 2000


def mean(values: Sequence[float | None]) -> float | None:
    """Return the mean of the values that are defined, or None where none is."""
    defined = [value for value in values if value is not None]
    return float(np.mean(defined)) if defined else None


def deviation(values: Sequence[float | None]) -> float | None:
    """Return the standard deviation (n - 1) of the defined values; None for fewer than two or infinite ones."""
    defined = [value for value in values if value is not None]
    if len(defined) < 2 or not all(math.isfinite(value) for value in defined):
        return None
    return float(np.std(defined, ddof=1))


def bootstrap_interval(
    values: Sequence[float | None], *, level: float = 0.95, resamples: int = RESAMPLES, seed: int = 0
) -> tuple[float, float] | None:
    """Return the percentile interval of the mean when pictures are drawn anew, with replacement.

    values: one a picture; undefined ones (None) are left out. The drawing is a function of `seed` and of their
    number, so that equal evaluations print equal intervals. Returns None for fewer than two values.
    Efron 1979; with five pictures the interval is rough, and it knows nothing of pictures outside the set.
    """
    defined = np.array([value for value in values if value is not None], dtype=np.float64)
    return ratio_interval(defined, np.ones_like(defined), level=level, resamples=resamples, seed=seed)


def ratio_interval(
    numerators: Sequence[float] | np.ndarray,
    denominators: Sequence[float] | np.ndarray,
    *,
    level: float = 0.95,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> tuple[float, float] | None:
    """Return the percentile interval of sum(numerators) / sum(denominators) under the same drawing of pictures."""
    if not 0 < level < 1:
        raise UsageError(f"level {level} of an interval is not between 0 and 1: use for example 0.95")
    if resamples < 1:
        raise UsageError(f"{resamples} resamples give no interval: use for example {RESAMPLES}")
    above, below = np.asarray(numerators, dtype=np.float64), np.asarray(denominators, dtype=np.float64)
    if len(above) < 2:
        return None
    drawn = np.random.Generator(np.random.PCG64(seed)).integers(0, len(above), size=(resamples, len(above)))
    with np.errstate(divide="ignore", invalid="ignore"):
        outcomes = above[drawn].sum(axis=1) / below[drawn].sum(axis=1)
    tail = (1 - level) / 2
    # "nearest" picks one of the outcomes; to interpolate between infinite ones would give NaN
    low, high = np.quantile(outcomes, (tail, 1 - tail), method="nearest")
    return float(low), float(high)


def rank_correlation(a: np.ndarray, b: np.ndarray) -> float | None:
    """Return Spearman's rank correlation of two arrays of equal size, ties at their mean rank; None if one is flat."""
    first, second = _ranks(np.ravel(a)), _ranks(np.ravel(b))
    first, second = first - first.mean(), second - second.mean()
    size = math.sqrt(float(first @ first) * float(second @ second))
    return float(first @ second) / size if size > 0 else None


def _ranks(values: np.ndarray) -> np.ndarray:
    _, place, count = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(count)
    return (last - (count - 1) / 2)[place]


def block_means(plane: np.ndarray, *, side: int = 8) -> np.ndarray:
    """Return the means (h // side, w // side) of the whole blocks of an array (h, w)."""
    rows, columns = plane.shape[0] // side, plane.shape[1] // side
    return plane[: rows * side, : columns * side].reshape(rows, side, columns, side).mean(axis=(1, 3))


@dataclass(frozen=True)
class Calibration:
    """How well the spread of the samples of one picture predicts their error.

    spread2: mean over pixels and channels of the samples' variance (n - 1), in squared 8-bit levels.
    error2: mean squared error of the mean of the samples, in the same unit.
    rank_correlation: Spearman's, between the two in blocks of 8x8 pixels; None where one is flat.
    diversity: mean over pixels of the samples' standard deviation, in levels.
    """

    spread2: float
    error2: float
    rank_correlation: float | None
    diversity: float

    @property
    def ratio(self) -> float:
        """spread2 / error2: n / (n + 1) for n samples of the true posterior, less if the method is too sure."""
        return self.spread2 / self.error2 if self.error2 > 0 else math.inf


class Spread:
    """The running mean and variance of pictures (h, w, c) in [0, 1], one at a time (Welford 1962)."""

    def __init__(self) -> None:
        self.count = 0
        self.mean: np.ndarray = np.zeros(())
        self._squares: np.ndarray = np.zeros(())

    def add(self, sample: np.ndarray) -> None:
        """Take one more sample; all have the same shape."""
        values = np.asarray(sample, dtype=np.float64)
        self.count += 1
        if self.count == 1:
            self.mean, self._squares = values.copy(), np.zeros_like(values)
            return
        step = values - self.mean
        self.mean = self.mean + step / self.count
        self._squares = self._squares + step * (values - self.mean)

    def merge(self, other: Spread) -> Spread:
        """Return the spread of the samples of both, equal but for rounding to one over all (Chan et al. 1979)."""
        merged = Spread()
        if not (self.count and other.count):
            whole = self if self.count else other
            merged.count, merged.mean, merged._squares = whole.count, whole.mean.copy(), whole._squares.copy()
            return merged
        if self.mean.shape != other.mean.shape:
            raise InputError(f"samples of {self.mean.shape} and of {other.mean.shape}: all must have one shape")
        merged.count = self.count + other.count
        step = other.mean - self.mean
        merged.mean = self.mean + step * (other.count / merged.count)
        merged._squares = self._squares + other._squares + step * step * (self.count * other.count / merged.count)
        return merged

    @property
    def stability(self) -> float:
        """The mean squared error between two samples over all pairs, in squared 8-bit levels: twice the variance."""
        return 2 * 255.0**2 * float(self.variance().mean())

    @property
    def diversity(self) -> float:
        """The standard deviation of the samples averaged over the picture, in 8-bit levels."""
        return 255.0 * float(np.sqrt(self.variance()).mean())

    def variance(self) -> np.ndarray:
        """Return the variance (n - 1) at every sample of the picture; raises UsageError for fewer than two pictures."""
        if self.count < 2:
            raise UsageError(f"{self.count} sample has no spread: take at least 2")
        return self._squares / (self.count - 1)

    def calibration(self, reference: np.ndarray) -> Calibration:
        """Compare the spread with the error of the mean against the reference (h, w, c) in [0, 1]."""
        variance = self.variance() * 255.0**2
        error = np.square((self.mean - reference) * 255.0)
        spread_map, error_map = variance.mean(axis=2), error.mean(axis=2)
        return Calibration(
            spread2=float(spread_map.mean()),
            error2=float(error_map.mean()),
            rank_correlation=rank_correlation(block_means(spread_map), block_means(error_map))
            if min(spread_map.shape) >= 8
            else None,
            diversity=float(np.sqrt(variance).mean()),
        )
