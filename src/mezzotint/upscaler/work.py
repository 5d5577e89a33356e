"""A job: samples of a picture in memory or in a file, what is asked for them, and what results are written to."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from mezzotint.record import Request
from mezzotint.upscaler.engines import Settings
from mezzotint.upscaler.samples import Coding, Survey


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
    request of the first sample, settings, and how many samples."""

    rows: Rows
    coding: Coding
    survey: Survey
    request: Request
    settings: Settings
    samples: int


class Moments:
    """Mean and squared deviation of samples, pixel by pixel, as they come (Welford 1962)."""

    def __init__(self, mean: RowSink, squares: RowSink) -> None:
        self.mean, self.squares, self.count = mean, squares, 0

    def add(self, start: int, stop: int, rows: np.ndarray, *, number: int) -> None:
        """Add rows h w c of sample `number`, counted from 0."""
        self.count = number + 1
        if number == 0:
            self.mean[start:stop], self.squares[start:stop] = rows, np.zeros_like(rows)
            return
        mean = self.mean[start:stop]
        change = rows - mean
        mean = mean + change / self.count
        self.squares[start:stop] = self.squares[start:stop] + change * (rows - mean)
        self.mean[start:stop] = mean

    def deviation(self, out: RowSink) -> RowSink:
        """Write the root of the channels' mean variance (n - 1), rows h w 1."""
        step = 256
        for start in range(0, out.shape[0], step):
            stop = min(out.shape[0], start + step)
            variance = self.squares[start:stop] / (self.count - 1)
            out[start:stop] = np.sqrt(variance.mean(axis=2, keepdims=True))
        return out
