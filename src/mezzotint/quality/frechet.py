"""Distances between two sets of pictures, from features of each: Fréchet distance (FID) and kernel distance (KID).

Both judge sets, not pictures, and both are functions of features alone: `quality.inception` makes those of the
published figures. The Fréchet distance is biased upwards for less than about 10,000 pictures; the kernel distance is
not.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from mezzotint.errors import InputError

_BLOCK = 1024  # rows of a kernel matrix computed at a time


@dataclass
class Moments:
    """Count, mean (d,) and scatter (d, d) of features in float64, for batches and across processes.

    Two of them that are merged equal one over all features, but for rounding (Chan, Golub and LeVeque 1979).
    """

    width: int
    count: int = 0

    def __post_init__(self) -> None:
        self.mean = np.zeros(self.width)
        self._scatter = np.zeros((self.width, self.width))

    def add(self, features: np.ndarray) -> None:
        """Take features (n, d); raises InputError for another d and for values that are not finite."""
        values = _features(features, self.width)
        if len(values):
            mean = values.mean(axis=0)
            centred = values - mean
            self._join(len(values), mean, centred.T @ centred)

    def merge(self, other: Moments) -> Moments:
        """Return the moments of both sets together; raises InputError if their features differ in width."""
        if other.width != self.width:
            raise InputError(f"features of {self.width} and of {other.width} numbers: use one network for both sets")
        merged = Moments(self.width)
        for part in (self, other):
            if part.count:
                merged._join(part.count, part.mean, part._scatter)
        return merged

    def covariance(self) -> np.ndarray:
        """Return the covariance (d, d), with n - 1; raises InputError for fewer than two features."""
        if self.count < 2:
            raise InputError(f"{self.count} feature has no covariance: give at least two pictures")
        return self._scatter / (self.count - 1)

    def _join(self, count: int, mean: np.ndarray, scatter: np.ndarray) -> None:
        total = self.count + count
        step = mean - self.mean
        self._scatter = self._scatter + scatter + np.outer(step, step) * (self.count * count / total)
        self.mean = self.mean + step * (count / total)
        self.count = total


class Features:
    """Features (n, d) of a set, kept one by one as float32 for distances that moments do not decide, and merged.

    2048 of them a picture take 8 KB.
    """

    def __init__(self) -> None:
        self._parts: list[np.ndarray] = []

    def __len__(self) -> int:
        return sum(len(part) for part in self._parts)

    def add(self, features: np.ndarray) -> None:
        """Take features (n, d); raises InputError for another d and for values that are not finite."""
        values = _features(features, self._parts[0].shape[1] if self._parts else None)
        self._parts.append(values.astype(np.float32))

    def merge(self, other: Features) -> Features:
        """Return the features of both sets, this one's first; raises InputError if they differ in width."""
        merged = Features()
        for part in (*self._parts, *other._parts):
            merged.add(part)
        return merged

    def array(self) -> np.ndarray:
        """Return all features (n, d) in float64; raises InputError for none."""
        if not self._parts:
            raise InputError("a set of 0 pictures has no distribution: give at least two")
        return np.concatenate(self._parts).astype(np.float64)


def frechet_distance(first: Moments, second: Moments) -> float:
    """Return the squared Fréchet distance of the Gaussians with the moments of two sets, FID for Inception features.

    |mu1 - mu2|^2 + Tr(S1 + S2 - 2 (S1 S2)^(1/2)), the trace of the root as the sum of the roots of the eigenvalues of
    S1^(1/2) S2 S1^(1/2), in float64. Raises InputError for other widths and fewer than two features in a set. Heusel et
    al. 2017, arXiv 1706.08500, equation 6.
    """
    if first.width != second.width:
        raise InputError(f"features of {first.width} and of {second.width} numbers: use one network for both sets")
    one, other = first.covariance(), second.covariance()
    values, vectors = np.linalg.eigh(one)
    root = (vectors * np.sqrt(np.maximum(values, 0.0))) @ vectors.T
    eigenvalues = np.linalg.eigvalsh(root @ other @ root)
    cross = float(np.sqrt(np.maximum(eigenvalues, 0.0)).sum())
    return max(_squared(first.mean - second.mean) + float(np.trace(one) + np.trace(other)) - 2 * cross, 0.0)


def frechet_distance_of_features(a: np.ndarray, b: np.ndarray) -> float:
    """Return `frechet_distance` of two sets of features (n, d) and (m, d), sooner where n and m are below d.

    With centred features A and B, Tr (S1 S2)^(1/2) is the sum of the singular values of A B^T / ((n - 1)(m - 1))^(1/2).
    Raises InputError as `frechet_distance` does.
    """
    first, second = _pair(a, b)
    if max(len(first), len(second)) > first.shape[1]:
        moments = [Moments(first.shape[1]), Moments(first.shape[1])]
        for one, values in zip(moments, (first, second), strict=True):
            one.add(values)
        return frechet_distance(*moments)
    mean_a, mean_b = first.mean(axis=0), second.mean(axis=0)
    one, other = (first - mean_a) / math.sqrt(len(first) - 1), (second - mean_b) / math.sqrt(len(second) - 1)
    cross = float(np.linalg.svd(one @ other.T, compute_uv=False).sum())
    return max(_squared(mean_a - mean_b) + _squared(one) + _squared(other) - 2 * cross, 0.0)


def kernel_distance(a: np.ndarray, b: np.ndarray) -> float:
    """Return the unbiased squared maximum mean discrepancy of two sets of features, KID for Inception features.

    a, b: (n, d) and (m, d). The kernel is (u v / d + 1)^3; pairs of a feature with itself are left out, so that the
    value is negative now and then for equal distributions. It is the estimate over all pairs, which the usual mean over
    random subsets of 1000 approaches with more noise. Raises InputError for other widths and fewer than two features in
    a set. Binkowski et al. 2018, arXiv 1801.01401, equation 3.
    """
    first, second = _pair(a, b)
    n, m = len(first), len(second)
    within_a = (_kernel_sum(first, first) - float(_kernel(np.einsum("nd,nd->n", first, first), first).sum())) / n
    within_b = (_kernel_sum(second, second) - float(_kernel(np.einsum("nd,nd->n", second, second), first).sum())) / m
    return within_a / (n - 1) + within_b / (m - 1) - 2 * _kernel_sum(first, second) / (n * m)


def _kernel_sum(a: np.ndarray, b: np.ndarray) -> float:
    return math.fsum(float(_kernel(a[top : top + _BLOCK] @ b.T, a).sum()) for top in range(0, len(a), _BLOCK))


def _kernel(products: np.ndarray, features: np.ndarray) -> np.ndarray:
    return (products / features.shape[1] + 1) ** 3


def _squared(values: np.ndarray) -> float:
    return float(np.square(values).sum())


def _pair(a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    first = _features(a, None)
    second = _features(b, first.shape[1])
    for values in (first, second):
        if len(values) < 2:
            raise InputError(f"a set of {len(values)} pictures has no distribution: give at least two")
    return first, second


def _features(features: np.ndarray, width: int | None) -> np.ndarray:
    values = np.asarray(features, dtype=np.float64)
    if values.ndim != 2 or width not in (None, values.shape[1]):
        wanted = "(n, d)" if width is None else f"(n, {width})"
        raise InputError(f"features have shape {values.shape}, {wanted} is needed: use one network for both sets")
    if not np.isfinite(values).all():
        raise InputError("features are not all finite: a picture or the weights of the network are damaged")
    return values
