"""Quantiles and intervals that opinion scores need: Student's t and Wilson's interval of a share."""

from __future__ import annotations

import math
from functools import lru_cache
from statistics import NormalDist

from mezzotint.errors import UsageError

_TINY = 1e-300


def check_level(level: float) -> None:
    """Raise UsageError unless the level of an interval lies between 0 and 1."""
    if not 0 < level < 1:
        raise UsageError(f"level {level} of an interval is not between 0 and 1: use for example 0.95")


def normal_quantile(level: float) -> float:
    """Return how many standard deviations an interval of this level reaches to either side: 1.95996 for 0.95."""
    check_level(level)
    return NormalDist().inv_cdf(0.5 + level / 2)


@lru_cache(maxsize=1024)
def student_quantile(level: float, freedom: int) -> float:
    """Return the same for Student's t with `freedom` degrees of freedom, at least 1: 2.262 for 0.95 and 9."""
    check_level(level)
    if freedom < 1:
        raise UsageError(f"{freedom} degrees of freedom leave no interval: give at least two scores")
    # The share of t beyond x is the regularised incomplete beta function at freedom / (freedom + x^2).
    low, high = 0.0, 1.0
    outside = 1 - level
    for _ in range(200):
        middle = (low + high) / 2
        if _beta_share(middle, freedom / 2, 0.5) < outside:
            low = middle
        else:
            high = middle
    return math.sqrt(freedom * (1 / high - 1))


def wilson_interval(successes: float, count: int, *, level: float = 0.95) -> tuple[float, float]:
    """Return Wilson's interval of a share, inside 0..1 also where all or none succeed (Wilson 1927)."""
    if count < 1 or not 0 <= successes <= count:
        raise UsageError(f"{successes} of {count} is no share: give at least one trial")
    z = normal_quantile(level)
    share = successes / count
    centre = (share + z * z / (2 * count)) / (1 + z * z / count)
    half = z / (1 + z * z / count) * math.sqrt(share * (1 - share) / count + z * z / (4 * count * count))
    return max(centre - half, 0.0), min(centre + half, 1.0)


def _beta_share(x: float, a: float, b: float) -> float:
    """Return the regularised incomplete beta function by its continued fraction (Abramowitz and Stegun 26.5.8)."""
    if x <= 0 or x >= 1:
        return 0.0 if x <= 0 else 1.0
    if x > (a + 1) / (a + b + 2):
        return 1 - _beta_share(1 - x, b, a)
    front = math.exp(math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(x) + b * math.log1p(-x)) / a
    # Lentz's evaluation of 1 / (1 + d1 / (1 + d2 / ...))
    c, d = 1.0, 1 / _away(1 - (a + b) * x / (a + 1))
    fraction = d
    for m in range(1, 500):
        for term in (
            m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m)),
            -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1)),
        ):
            d = 1 / _away(1 + term * d)
            c = _away(1 + term / c)
            fraction *= c * d
        if abs(c * d - 1) < 1e-16:
            break
    return front * fraction


def _away(value: float) -> float:
    return value if abs(value) > _TINY else _TINY
