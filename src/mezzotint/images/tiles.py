"""A large picture in parts: for functions that see only so far, the same picture as in one piece."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

from mezzotint.errors import UsageError

SMALLEST = 16
"""Input pixels a side of the smallest tile, without the halo."""


@dataclass(frozen=True)
class Tile:
    """One part of a picture, in input pixels.

    `rows`, `columns`: the core, which is kept. `window_rows`, `window_columns`: the core with its halo, as far as
    the picture goes.
    """

    rows: slice
    columns: slice
    window_rows: slice
    window_columns: slice

    @property
    def origin(self) -> tuple[int, int]:
        """Row and column of the first pixel of the window."""
        return self.window_rows.start, self.window_columns.start

    @property
    def inner(self) -> tuple[slice, slice]:
        """Rows and columns of the core within the window."""
        return _within(self.rows, self.window_rows), _within(self.columns, self.window_columns)


def plan(
    height: int, width: int, *, tile: int | None, halo: int, cell: int = 1, rows: tuple[int, int] | None = None
) -> list[Tile]:
    """Tiles whose cores cover every pixel of `height` x `width` exactly once, row by row.

    `tile`: the most pixels a side of a core, None for the whole picture; the cores of one direction differ by at
    most one cell. `halo`: pixels that a window adds on each side; at the border of the picture it ends at the
    border, so that a function which pads there does what it would do to the whole picture. `cell`: cores and
    windows start at multiples of it (a tile is at least one cell). `rows`: first and one past the last row that the
    cores shall cover, in one line of tiles however tall; all rows without it.
    Raises UsageError for a tile below 16, ValueError for a negative halo or a size below 1.
    """
    if tile is not None and tile < SMALLEST:
        raise UsageError(
            f"tile {tile} is smaller than the smallest, {SMALLEST} input pixels: "
            f"use --tile {SMALLEST} or larger, or --tile auto"
        )
    if height < 1 or width < 1 or halo < 0 or cell < 1:
        raise ValueError(f"a picture of {height} x {width}, halo {halo}, cell {cell}: sizes start at 1, halo at 0")
    lines = _spans(height, tile=tile, halo=halo, cell=cell)
    if rows is not None:
        lines = [(slice(*rows), _window(*rows, size=height, halo=halo, cell=cell))]
    columns = _spans(width, tile=tile, halo=halo, cell=cell)
    return [
        Tile(rows=row, columns=column, window_rows=window_row, window_columns=window_column)
        for row, window_row in lines
        for column, window_column in columns
    ]


def _spans(size: int, *, tile: int | None, halo: int, cell: int) -> list[tuple[slice, slice]]:
    """(core, window) along one direction."""
    cells = math.ceil(size / cell)
    count = 1 if tile is None else math.ceil(cells / max(1, tile // cell))
    edges = [min(size, cells * index // count * cell) for index in range(count + 1)]
    return [
        (slice(start, stop), _window(start, stop, size=size, halo=halo, cell=cell))
        for start, stop in itertools.pairwise(edges)
    ]


def _window(start: int, stop: int, *, size: int, halo: int, cell: int) -> slice:
    return slice(max(0, (start - halo) // cell * cell), min(size, -(-(stop + halo) // cell) * cell))


def _within(core: slice, window: slice) -> slice:
    return slice(core.start - window.start, core.stop - window.start)
