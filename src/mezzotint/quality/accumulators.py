"""Figures collected picture by picture, in several processes, and put together again.

`Collector` keeps the figures of any measure by the picture's name, so that the order of pictures and the way they were
shared out change nothing. Sets have `frechet.Moments` and `frechet.Features`, the samples of one picture
`statistics.Spread` and `diversity.BestOfSamples`. All of them pickle, and `merged` puts a list of one kind together.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import reduce
from typing import Any, Protocol, TypeVar

import numpy as np
from torch import Tensor

from mezzotint.errors import InputError, UsageError
from mezzotint.quality import statistics


class Mergeable(Protocol):
    """What `merged` takes: `merge` returns one accumulator of the data of both and changes neither."""

    def merge(self, other: Any, /) -> Any: ...


Kind = TypeVar("Kind", bound=Mergeable)


def merged(accumulators: Sequence[Kind]) -> Kind:
    """Return one accumulator of the data of all; raises UsageError for none."""
    if not accumulators:
        raise UsageError("there is nothing to merge: give at least one accumulator")
    return reduce(lambda first, second: first.merge(second), accumulators)


class Collector:
    """The figures of one measure, by the names of pictures.

    measure: a function of pictures that returns one number, for example `quality.psnr` or
    `partial(quality.ssim, protocol="rgb")`; a module's function, so that the collector can be sent to another process.
    """

    def __init__(self, measure: Callable[..., Any]) -> None:
        self.measure = measure
        self.values: dict[str, float] = {}

    def add(self, name: str, *pictures: np.ndarray | Tensor) -> float:
        """Measure one picture, keep the figure under its name and return it.

        Raises InputError for a name that is there already, and what the measure raises.
        """
        self._check_new(name)
        self.values[name] = float(self.measure(*pictures))
        return self.values[name]

    def merge(self, other: Collector) -> Collector:
        """Return a collector of the figures of both; raises InputError for a picture that both measured."""
        merged = Collector(self.measure)
        merged.values = dict(self.values)
        for name, value in other.values.items():
            merged._check_new(name)
            merged.values[name] = value
        return merged

    @property
    def mean(self) -> float | None:
        """The mean over pictures, the same to the last bit in any order; None without pictures."""
        ordered = self._ordered()
        return math.fsum(ordered) / len(ordered) if ordered else None

    @property
    def deviation(self) -> float | None:
        """The standard deviation (n - 1) over pictures; None for fewer than two or infinite figures."""
        return statistics.deviation(self._ordered())

    def interval(self, *, level: float = 0.95) -> tuple[float, float] | None:
        """Return the bootstrap interval of the mean over pictures, see `statistics.bootstrap_interval`."""
        return statistics.bootstrap_interval(self._ordered(), level=level)

    def _ordered(self) -> list[float]:
        return [self.values[name] for name in sorted(self.values)]

    def _check_new(self, name: str) -> None:
        if name in self.values:
            raise InputError(f"picture {name} was measured twice: share the pictures out without overlap")
