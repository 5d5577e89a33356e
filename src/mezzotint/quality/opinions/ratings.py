"""Ratings of pictures on a scale: ACR (1 bad to 5 excellent) and DSIS (1 very annoying to 5 imperceptible).

Means with intervals, the screening of observers of ITU-R BT.500, and the models of observers of ITU-T P.913 (a bias
each) and P.910 (a bias and an inconsistency each). The two kinds of test differ in what was shown, not in what is
computed.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from mezzotint.errors import InputError, UsageError
from mezzotint.quality.opinions.intervals import check_level, normal_quantile, student_quantile

FEW_STIMULI = 10
"""Below this many stimuli the inconsistency of an observer is hardly known; the models say so."""
Interval = Literal["student", "normal"]


@dataclass(frozen=True)
class Ratings:
    """A table of scores: one row a stimulus, one column an observer, NaN where one did not rate.

    stimuli, observers: their names, all different. scores: float64 (stimuli, observers). lowest, highest: the ends of
    the scale. methods, sources: for each stimulus what made the picture and which picture it shows, both or neither;
    `method_opinions` and `against_reference` need them. Raises InputError for a table of another shape, scores outside
    the scale, repeated names, and a stimulus or an observer without any score.
    """

    stimuli: tuple[str, ...]
    observers: tuple[str, ...]
    scores: np.ndarray
    lowest: float = 1.0
    highest: float = 5.0
    methods: tuple[str, ...] = ()
    sources: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not self.stimuli or not self.observers:
            raise InputError("there are no ratings: give at least one stimulus and one observer")
        if self.scores.shape != (len(self.stimuli), len(self.observers)):
            raise InputError(
                f"scores have shape {self.scores.shape} for {len(self.stimuli)} stimuli and "
                f"{len(self.observers)} observers: give a row a stimulus and a column an observer"
            )
        if not self.lowest < self.highest:
            raise UsageError(f"a scale from {self.lowest:g} to {self.highest:g} is none: name its lower end first")
        for kind, names in (("stimulus", self.stimuli), ("observer", self.observers)):
            if len(set(names)) < len(names):
                double = next(name for name in names if names.count(name) > 1)
                raise InputError(f"{kind} {double!r} is there twice: names must differ")
        rated = ~np.isnan(self.scores)
        wrong = np.argwhere(rated & ((self.scores < self.lowest) | (self.scores > self.highest)))
        if len(wrong):
            row, column = wrong[0]
            raise InputError(
                f"the score {self.scores[row, column]:g} of {self.stimuli[row]!r} by {self.observers[column]!r} is not "
                f"from {self.lowest:g} to {self.highest:g}: correct it, or name the scale"
            )
        for kind, names, some in (
            ("stimulus", self.stimuli, rated.any(axis=1)),
            ("observer", self.observers, rated.any(axis=0)),
        ):
            if not some.all():
                raise InputError(f"{kind} {names[int(np.argmin(some))]!r} has no score: leave it out")
        if bool(self.methods) != bool(self.sources):
            raise InputError("methods and sources belong together: give both, or neither")
        if self.methods and not len(self.methods) == len(self.sources) == len(self.stimuli):
            raise InputError(
                f"{len(self.methods)} methods and {len(self.sources)} sources for {len(self.stimuli)} stimuli: "
                "give one of each for every stimulus"
            )

    def without(self, observers: Sequence[str]) -> Ratings:
        """Return the ratings of the other observers; raises InputError for an unknown name or if none is left."""
        unknown = next((name for name in observers if name not in self.observers), None)
        if unknown is not None:
            raise InputError(f"observer {unknown!r} has rated nothing: names are {', '.join(self.observers)}")
        kept = [k for k, name in enumerate(self.observers) if name not in observers]
        return replace(self, observers=tuple(self.observers[k] for k in kept), scores=self.scores[:, kept])


@dataclass(frozen=True)
class Opinion:
    """A mean opinion score: mean, standard deviation (n - 1) and number of scores, and its interval.

    Deviation and interval are None for a single score.
    """

    name: str
    mean: float
    deviation: float | None
    count: int
    low: float | None
    high: float | None


def mean_opinions(ratings: Ratings, *, level: float = 0.95, interval: Interval = "student") -> tuple[Opinion, ...]:
    """Return the mean opinion score of every stimulus: mean +- q S / sqrt(n), S with n - 1.

    interval: q of Student's t with n - 1 degrees of freedom, or "normal", 1.96 as BT.500 has it, which is too narrow
    for few observers. Raises UsageError for another interval or a bad level.
    """
    _check_interval(interval, level)
    return tuple(
        _opinion(name, row[~np.isnan(row)], level, interval)
        for name, row in zip(ratings.stimuli, ratings.scores, strict=True)
    )


def method_opinions(ratings: Ratings, *, level: float = 0.95, interval: Interval = "student") -> tuple[Opinion, ...]:
    """Return the mean opinion score of every method, over the observers' means over its pictures.

    count is that of observers, who are what the interval generalises to; the pictures are taken as they are. Every
    observer should have seen the same pictures. Raises InputError without methods, UsageError as `mean_opinions`.
    """
    _check_interval(interval, level)
    if not ratings.methods:
        raise InputError("the ratings name no methods: give the columns method and source")
    found = []
    for method in dict.fromkeys(ratings.methods):
        rows = ratings.scores[[name == method for name in ratings.methods]]
        seen = ~np.isnan(rows).all(axis=0)
        found.append(_opinion(method, np.nanmean(rows[:, seen], axis=0), level, interval))
    return tuple(found)


def against_reference(ratings: Ratings, reference: str) -> Ratings:
    """Return differential scores: score less the same observer's score of the hidden reference, plus the highest.

    reference: the method whose pictures are the references, one for each source; they are left out of the result. A
    score above the highest is kept: the observer preferred the picture to the reference. ITU-T P.910, hidden reference;
    DMOS is `mean_opinions` of the result. Raises InputError where a source has no reference.
    """
    if reference not in ratings.methods:
        known = ", ".join(dict.fromkeys(ratings.methods)) or "none"
        raise InputError(f"no picture was made by {reference!r}: the methods are {known}")
    row_of = {
        source: row
        for row, (method, source) in enumerate(zip(ratings.methods, ratings.sources, strict=True))
        if method == reference
    }
    kept = [row for row, method in enumerate(ratings.methods) if method != reference]
    missing = next((ratings.sources[row] for row in kept if ratings.sources[row] not in row_of), None)
    if missing is not None:
        raise InputError(f"{reference!r} has no picture of {missing!r}: rate a reference of every source")
    if not kept:
        raise InputError(f"every picture was made by {reference!r}: there is nothing to compare with it")
    references = ratings.scores[[row_of[ratings.sources[row]] for row in kept]]
    span = ratings.highest - ratings.lowest
    return Ratings(
        stimuli=tuple(ratings.stimuli[row] for row in kept),
        observers=ratings.observers,
        scores=ratings.scores[kept] - references + ratings.highest,
        lowest=ratings.highest - span,
        highest=ratings.highest + span,
        methods=tuple(ratings.methods[row] for row in kept),
        sources=tuple(ratings.sources[row] for row in kept),
    )


@dataclass(frozen=True)
class Screening:
    """Who is rejected, and on which evidence: how often each observer was above and below what is usual.

    above, below: counts for each observer; rejected: names; notes: what a reader should know.
    """

    observers: tuple[str, ...]
    above: tuple[int, ...]
    below: tuple[int, ...]
    rejected: tuple[str, ...]
    notes: tuple[str, ...] = ()


def screen(ratings: Ratings) -> Screening:
    """Return the observers whom ITU-R BT.500 (annex on screening) rejects.

    A score counts as above or below where it is 2 standard deviations from the mean of its stimulus, if the stimulus'
    kurtosis lies in 2..4, or sqrt(20) otherwise (population moments). Rejected is who is outside in more than 5 % of
    the stimuli and on both sides about equally, |above - below| / (above + below) < 0.3: observers that are merely
    severe or mild stay. Done once; if all would be rejected, none is. Differs from sureal where all scores of a
    stimulus are equal, which here counts for nobody, and in dividing by the stimuli that the observer rated.
    """
    scores = ratings.scores
    above = np.zeros(len(ratings.observers), dtype=np.int64)
    below = np.zeros_like(above)
    for row in scores:
        given = row[~np.isnan(row)]
        mean, deviation = float(given.mean()), float(given.std())
        if deviation == 0:
            continue
        kurtosis = float(np.mean((given - mean) ** 4)) / deviation**4
        reach = (2.0 if 2 <= kurtosis <= 4 else math.sqrt(20)) * deviation
        above += row >= mean + reach  # NaN compares as false
        below += row <= mean - reach
    outside = above + below
    rated = (~np.isnan(scores)).sum(axis=0)
    with np.errstate(invalid="ignore"):
        one_sided = np.abs(above - below) / outside
    rejected = (outside / rated > 0.05) & (one_sided < 0.3)
    notes: tuple[str, ...] = ()
    if rejected.all():
        rejected[:] = False
        notes = ("all observers would be rejected, so none is",)
    return Screening(
        observers=ratings.observers,
        above=tuple(int(value) for value in above),
        below=tuple(int(value) for value in below),
        rejected=tuple(name for name, out in zip(ratings.observers, rejected, strict=True) if out),
        notes=notes,
    )


def remove_bias(ratings: Ratings) -> tuple[Ratings, tuple[float, ...]]:
    """Return the ratings without the observers' biases, and the biases (ITU-T P.913).

    The bias of an observer is the mean, over the stimuli that he rated, of his score less the stimulus' mean. The scale
    of the result is as wide as the biases ask for. `screen` may follow, and `mean_opinions`.
    """
    scores = ratings.scores
    bias = np.nanmean(scores - np.nanmean(scores, axis=1, keepdims=True), axis=0)
    reach = float(np.abs(bias).max())
    moved = replace(ratings, scores=scores - bias, lowest=ratings.lowest - reach, highest=ratings.highest + reach)
    return moved, tuple(float(value) for value in bias)


@dataclass(frozen=True)
class SubjectModel:
    """What a model of the observers says: the quality of each stimulus with its interval, and each observer's part.

    bias: how much higher an observer scores than the others, 0 in the mean; inconsistency: the standard deviation of
    what is left. iterations: until the qualities stood still; notes: what a reader should know.
    """

    opinions: tuple[Opinion, ...]
    observers: tuple[str, ...]
    bias: tuple[float, ...]
    inconsistency: tuple[float, ...]
    iterations: int
    notes: tuple[str, ...] = ()


def fit_subjects(
    ratings: Ratings,
    *,
    level: float = 0.95,
    spread: Literal["stimulus", "observer"] = "stimulus",
    floor: float = 0.1,
) -> SubjectModel:
    """Return the model of ITU-T P.910, score = quality + bias + inconsistency noise, by alternating projections.

    Qualities are means of the scores less the bias, weighted by 1 / inconsistency^2, so that an inattentive observer
    counts little. The interval is q / sqrt(sum over observers of 1 / v^2) with v the deviation of the stimulus'
    residuals (P.910) or, with spread="observer", the observers' inconsistencies. floor: the smallest inconsistency: the
    likelihood grows without bound where one goes to 0, as it does in small tables. The deviation of an opinion is that
    of its residuals. Raises UsageError for a bad option. Li et al. 2020, HVEI; ITU-T P.910, appendix on alternating
    projections.
    """
    check_level(level)
    if spread not in ("stimulus", "observer"):
        raise UsageError(f"spread {spread!r} is unknown: use stimulus or observer")
    if not (math.isfinite(floor) and floor > 0):
        raise UsageError(f"floor {floor} of the inconsistency is not a positive number: use for example 0.1")
    scores = ratings.scores
    rated = ~np.isnan(scores)
    quality = np.nanmean(scores, axis=1)
    bias = np.nanmean(scores - quality[:, None], axis=0)
    iterations, largest = 0, 1000
    inconsistency = np.full(len(bias), floor)
    while iterations < largest:
        iterations += 1
        residual = scores - quality[:, None] - bias
        inconsistency = np.maximum(np.nanstd(residual, axis=0), floor)
        weight = np.where(rated, 1 / (inconsistency**2 + 1e-8), 0.0)
        before = quality
        quality = np.where(rated, (scores - bias) * weight, 0.0).sum(axis=1) / weight.sum(axis=1)
        bias = np.nanmean(scores - quality[:, None], axis=0)
        if np.linalg.norm(quality - before) < 1e-8:
            break
    residual = scores - quality[:, None] - bias
    of_stimuli = np.nanstd(residual, axis=1)
    if spread == "stimulus":
        error = of_stimuli / np.sqrt(rated.sum(axis=1))
    else:
        error = 1 / np.sqrt(np.where(rated, 1 / inconsistency**2, 0.0).sum(axis=1))
    centre = float(bias.mean())
    quality, bias = quality + centre, bias - centre
    reach = normal_quantile(level)
    notes = []
    if len(ratings.stimuli) < FEW_STIMULI:
        notes.append(f"{len(ratings.stimuli)} stimuli say little of inconsistencies: use {FEW_STIMULI} or more")
    if (inconsistency == floor).any():
        held = [name for name, value in zip(ratings.observers, inconsistency, strict=True) if value == floor]
        notes.append(f"the inconsistency of {', '.join(held)} was held at {floor:g}")
    if iterations == largest:
        notes.append(f"the qualities still moved after {largest} iterations")
    return SubjectModel(
        opinions=tuple(
            Opinion(name, float(mean), float(deviation), int(count), float(mean - half), float(mean + half))
            for name, mean, deviation, count, half in zip(
                ratings.stimuli, quality, of_stimuli, rated.sum(axis=1), reach * error, strict=True
            )
        ),
        observers=ratings.observers,
        bias=tuple(float(value) for value in bias),
        inconsistency=tuple(float(value) for value in inconsistency),
        iterations=iterations,
        notes=tuple(notes),
    )


def _check_interval(interval: str, level: float) -> None:
    check_level(level)
    if interval not in ("student", "normal"):
        raise UsageError(f"interval {interval!r} is unknown: use student or normal")


def _opinion(name: str, scores: np.ndarray, level: float, interval: Interval) -> Opinion:
    count, mean = len(scores), float(scores.mean())
    if count < 2:
        return Opinion(name, mean, None, count, None, None)
    deviation = float(scores.std(ddof=1))
    reach = student_quantile(level, count - 1) if interval == "student" else normal_quantile(level)
    half = reach * deviation / math.sqrt(count)
    return Opinion(name, mean, deviation, count, mean - half, mean + half)
