"""A job: samples of a picture in memory or in a file, what is asked for them, and what results are written to."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from mezzotint.record import Request
from mezzotint.upscaler.enlargers import Settings
from mezzotint.upscaler.samples import Coding, Survey

_ROWS = 256


class Rows(Protocol):
    """Samples h w n of a picture, in memory or in a file: a numpy array is one."""

    @property
    def shape(self) -> tuple[int, ...]: ...
    @property
    def dtype(self) -> np.dtype: ...
    def __getitem__(self, rows: slice, /) -> np.ndarray: ...


class RowSink(Rows, Protocol):
    """Rows that can also be written, from the top."""

    def __setitem__(self, rows: slice, samples: np.ndarray, /) -> None: ...


Sink = Callable[[tuple[int, int, int], np.dtype], RowSink]


@dataclass(frozen=True)
class Job:
    """One picture and everything that is asked for it: samples h w n, what they stand for, what was seen in them, the
    request of the first sample, settings, how many samples, why its method was chosen, "" where it was named, and what
    the deviation of the samples is multiplied by to give the error to expect."""

    rows: Rows
    coding: Coding
    survey: Survey
    request: Request
    settings: Settings
    samples: int
    reason: str = ""
    spread_factor: float = 1.0

    @property
    def estimates(self) -> tuple[str, ...]:
        """What was estimated from the picture instead of being told, in words."""
        return () if self.settings.known is None else self.settings.known.found


class Moments:
    """Mean and squared deviation of a job's samples, pixel by pixel, as they come (Welford 1962).

    Memory is that of what `sink` makes: rows h w c float32, twice.
    """

    def __init__(self, job: Job, sink: Sink) -> None:
        self._coding, self._sink = job.coding, sink
        self._size = job.request.output_size
        self._mean, self._squares = (sink((*self._size, job.coding.channels), np.dtype(np.float32)) for _ in range(2))
        self._count, self._factor = 0, job.spread_factor

    def add(self, rows: Rows) -> None:
        """Add a sample, rows h w n of the job's type."""
        self._count += 1
        for part in self._parts():
            values = self._coding.decode(rows[part])[0, : self._coding.channels].permute(1, 2, 0).numpy()
            if self._count == 1:
                self._mean[part], self._squares[part] = values, np.zeros_like(values)
                continue
            mean = self._mean[part]
            change = values - mean
            mean = mean + change / self._count
            self._squares[part] = self._squares[part] + change * (values - mean)
            self._mean[part] = mean

    def deviation(self) -> RowSink:
        """The root of the channels' mean variance (n - 1), times the job's `spread_factor`: rows h w 1 float32, 1 the
        whole range; two samples at least."""
        out = self._sink((*self._size, 1), np.dtype(np.float32))
        for part in self._parts():
            variance = self._squares[part] / (self._count - 1)
            out[part] = self._factor * np.sqrt(variance.mean(axis=2, keepdims=True))
        return out

    def _parts(self) -> Iterator[slice]:
        for start in range(0, self._size[0], _ROWS):
            yield slice(start, min(self._size[0], start + _ROWS))
