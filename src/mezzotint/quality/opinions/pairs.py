"""Choices between two pictures, and the strengths that explain them: Bradley and Terry 1952."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from mezzotint.errors import InputError, UsageError
from mezzotint.quality.opinions.intervals import check_level, normal_quantile


@dataclass(frozen=True)
class Pairs:
    """How often each was preferred to each other.

    names: what was compared, all different. wins: float64 (n, n), wins[i, j] how often i was preferred to j; a tie
    counts half for both. Raises InputError for another shape, negative numbers, a comparison with itself, or repeated
    names.
    """

    names: tuple[str, ...]
    wins: np.ndarray

    def __post_init__(self) -> None:
        count = len(self.names)
        if count < 2 or len(set(self.names)) != count:
            raise InputError(
                f"{', '.join(self.names) or 'nothing'} cannot be compared: give at least two, names differing"
            )
        if self.wins.shape != (count, count):
            raise InputError(f"wins have shape {self.wins.shape} for {count} names: give a row and a column for each")
        if not np.isfinite(self.wins).all() or (self.wins < 0).any() or np.diagonal(self.wins).any():
            raise InputError("wins must be counts from 0, and 0 for each with itself")

    @classmethod
    def of(cls, rows: Iterable[tuple[str, str, float]]) -> Pairs:
        """Count comparisons (first, second, share): share 1 if the first was preferred, 0 if the second, 1/2 a tie."""
        listed = list(rows)
        names = tuple(dict.fromkeys(name for first, second, _ in listed for name in (first, second)))
        place = {name: k for k, name in enumerate(names)}
        wins = np.zeros((len(names), len(names)))
        for first, second, share in listed:
            if first == second:
                raise InputError(f"{first!r} was compared with itself: leave that row out")
            if not 0 <= share <= 1:
                raise InputError(f"{share} of {first!r} against {second!r} is no share: use 1, 0, or 0.5 for a tie")
            wins[place[first], place[second]] += share
            wins[place[second], place[first]] += 1 - share
        return cls(names, wins)


@dataclass(frozen=True)
class Strength:
    """How strong one is: log strength (0 in the mean), its standard error and interval, wins and comparisons.

    One is preferred to another with probability 1 / (1 + exp(theirs - its own)).
    """

    name: str
    strength: float
    error: float
    low: float
    high: float
    wins: float
    comparisons: float


def bradley_terry(pairs: Pairs, *, level: float = 0.95, prior: float = 0.0) -> tuple[Strength, ...]:
    """Return the strengths of largest likelihood, in the order of the names.

    Log strengths by Newton's method, errors from the inverse of the information with strengths that sum to 0. prior:
    wins that each pair that was compared gets on both sides beforehand, 0 for plain likelihood. Raises InputError where
    the strengths are not finite or not comparable: when the names fall into two groups of which one never won against
    the other (Ford 1957).
    """
    check_level(level)
    if not (math.isfinite(prior) and prior >= 0):
        raise UsageError(f"prior {prior} is not a number of wins from 0: use for example 0.5")
    wins = pairs.wins + prior * (pairs.wins + pairs.wins.T > 0)
    _check_finite(pairs.names, wins, prior)
    met = wins + wins.T
    strength = np.zeros(len(pairs.names))
    value = _likelihood(wins, strength)
    for _ in range(200):
        share = _shares(strength)
        slope = (wins - met * share).sum(axis=1)
        step = _covariance(met, share) @ slope
        while _likelihood(wins, strength + step) < value - 1e-12 * abs(value):
            step = step / 2
        strength = strength + step - (strength + step).mean()
        value = _likelihood(wins, strength)
        if np.abs(step).max() < 1e-10:
            break
    error = np.sqrt(np.diagonal(_covariance(met, _shares(strength))))
    reach = normal_quantile(level)
    return tuple(
        Strength(
            name,
            float(mean),
            float(deviation),
            float(mean - reach * deviation),
            float(mean + reach * deviation),
            float(won),
            float(played),
        )
        for name, mean, deviation, won, played in zip(
            pairs.names,
            strength,
            error,
            pairs.wins.sum(axis=1),
            (pairs.wins + pairs.wins.T).sum(axis=1),
            strict=True,
        )
    )


def _shares(strength: np.ndarray) -> np.ndarray:
    """Return the probabilities (n, n) that the row is preferred to the column."""
    return 1 / (1 + np.exp(strength[None] - strength[:, None]))


def _likelihood(wins: np.ndarray, strength: np.ndarray) -> float:
    return -float((wins * np.logaddexp(0.0, strength[None] - strength[:, None])).sum())


def _covariance(met: np.ndarray, share: np.ndarray) -> np.ndarray:
    """Return the covariance of strengths that sum to 0: the pseudo-inverse of the information, blind to a shift."""
    weight = met * share * share.T
    information = np.diag(weight.sum(axis=1)) - weight
    shift = 1 / len(met)
    return np.linalg.inv(information + shift) - shift


def _check_finite(names: tuple[str, ...], wins: np.ndarray, prior: float) -> None:
    """Refuse where some set of names has no win against the rest: from each one every other must be reached by wins."""
    for edges, words in ((wins > 0, "never lost to"), (wins.T > 0, "never won against")):
        reached = np.zeros(len(names), dtype=bool)
        reached[0] = True
        for _ in names:
            reached = reached | edges[reached].any(axis=0)
        if not reached.all():
            # What the first cannot reach by wins has never lost to what it reaches.
            outside = ", ".join(name for name, inside in zip(names, reached, strict=True) if not inside)
            inside = ", ".join(name for name, inside in zip(names, reached, strict=True) if inside)
            way = "compare them more often" if prior else "compare them more often, or give a prior such as 0.5"
            raise InputError(f"{outside} {words} {inside}: their distance has no finite estimate; {way}")
