"""Real or generated: the share of generated pictures that people take for photographs (two-alternative forced choice).

SR3 shows a photograph and a generated picture side by side for 3 or 5 seconds, with or without the small picture, and
asks which one a camera took: 50 % is what pictures that cannot be told apart get, and more is possible. Saharia et al.
2021, arXiv 2104.07636.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from mezzotint.errors import InputError, UsageError
from mezzotint.quality.opinions.intervals import check_level, wilson_interval
from mezzotint.quality.statistics import ratio_interval


@dataclass(frozen=True)
class Choice:
    """One trial: who chose, between a photograph and which method's picture of which source, and whether it fooled."""

    observer: str
    method: str
    stimulus: str
    fooled: bool


@dataclass(frozen=True)
class Choices:
    """Trials of forced choice; raises InputError for none."""

    trials: tuple[Choice, ...]

    def __post_init__(self) -> None:
        if not self.trials:
            raise InputError("there are no choices: give at least one trial")


@dataclass(frozen=True)
class FoolRate:
    """The fool rate of a method: the share of trials in which its picture was taken for the photograph.

    low, high: Wilson's interval, as if every trial were by another person; low_observers, high_observers: the interval
    when observers are drawn anew (None for one observer), which is the wider one where people differ.
    """

    method: str
    share: float
    fooled: int
    trials: int
    observers: int
    low: float
    high: float
    low_observers: float | None
    high_observers: float | None


def fool_rates(
    choices: Choices, *, level: float = 0.95, catch: str | None = None, attentive: float = 0.8
) -> tuple[FoolRate, ...]:
    """Return the fool rate of every method, in the order of the trials.

    catch: the name under which trials stand whose generated picture nobody attentive takes for a photograph; observers
    who see through less than the share `attentive` of theirs are left out, and the catch trials too. Raises InputError
    where there are no catch trials or nobody is left, UsageError for a bad level or share.
    """
    check_level(level)
    if not 0 <= attentive <= 1:
        raise UsageError(f"attentive {attentive} is no share: use a number from 0 to 1, for example 0.8")
    left_out = inattentive(choices, catch=catch, least=attentive) if catch is not None else ()
    trials = [trial for trial in choices.trials if trial.observer not in left_out and trial.method != catch]
    if not trials:
        raise InputError(f"no trials are left without {', '.join(left_out) or catch}: ask more attentive observers")
    return tuple(
        _rate(method, [trial for trial in trials if trial.method == method], level)
        for method in dict.fromkeys(trial.method for trial in trials)
    )


def inattentive(choices: Choices, *, catch: str, least: float = 0.8) -> tuple[str, ...]:
    """Return the observers who saw through less than the share `least` of the catch trials, sorted.

    Raises InputError where there are no catch trials.
    """
    caught = [trial for trial in choices.trials if trial.method == catch]
    if not caught:
        known = ", ".join(dict.fromkeys(trial.method for trial in choices.trials))
        raise InputError(f"there are no catch trials {catch!r}: the methods are {known}")
    right: dict[str, list[bool]] = {}
    for trial in caught:
        right.setdefault(trial.observer, []).append(not trial.fooled)
    return tuple(sorted(name for name, answers in right.items() if sum(answers) / len(answers) < least))


def _rate(method: str, trials: Sequence[Choice], level: float) -> FoolRate:
    fooled = sum(trial.fooled for trial in trials)
    observers = tuple(dict.fromkeys(trial.observer for trial in trials))
    of_observers = [[trial.fooled for trial in trials if trial.observer == name] for name in observers]
    low, high = wilson_interval(fooled, len(trials), level=level)
    drawn = ratio_interval(
        [sum(answers) for answers in of_observers], [len(answers) for answers in of_observers], level=level
    )
    return FoolRate(
        method=method,
        share=fooled / len(trials),
        fooled=fooled,
        trials=len(trials),
        observers=len(observers),
        low=low,
        high=high,
        low_observers=None if drawn is None else drawn[0],
        high_observers=None if drawn is None else drawn[1],
    )
