"""A large picture in parts: for functions that see only so far, the same picture as in one piece."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, Protocol

from torch import Tensor

from mezzotint.errors import UsageError

SMALLEST = 16
"""Input pixels a side of the smallest tile, without the halo."""

DEFAULT_MEMORY = 2**30
"""Bytes that `tile="auto"` may use unless it is told otherwise."""


class WindowFunction(Protocol):
    """What `run` calls: `window` is b c h w of the picture, `origin` the (row, column) of its first pixel."""

    def __call__(self, window: Tensor, /, *, origin: tuple[int, int]) -> Tensor: ...


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
        return _within(self.rows, self.window_rows, scale=1), _within(self.columns, self.window_columns, scale=1)


def plan(height: int, width: int, *, tile: int | None, halo: int, cell: int = 1) -> list[Tile]:
    """Tiles whose cores cover every pixel of `height` x `width` exactly once, row by row.

    `tile`: the most pixels a side of a core, None for the whole picture; the cores of one direction differ by at
    most one cell. `halo`: pixels that a window adds on each side; at the border of the picture it ends at the
    border, so that a function which pads there does what it would do to the whole picture. `cell`: cores and
    windows start at multiples of it (a tile is at least one cell).
    Raises UsageError for a tile below 16, ValueError for a negative halo or a size below 1.
    """
    if tile is not None and tile < SMALLEST:
        raise UsageError(
            f"tile {tile} is smaller than the smallest, {SMALLEST} input pixels: "
            f"use --tile {SMALLEST} or larger, or --tile auto"
        )
    if height < 1 or width < 1 or halo < 0 or cell < 1:
        raise ValueError(f"a picture of {height} x {width}, halo {halo}, cell {cell}: sizes start at 1, halo at 0")
    rows = _spans(height, tile=tile, halo=halo, cell=cell)
    columns = _spans(width, tile=tile, halo=halo, cell=cell)
    return [
        Tile(rows=row, columns=column, window_rows=window_row, window_columns=window_column)
        for row, window_row in rows
        for column, window_column in columns
    ]


def choose(
    height: int, width: int, *, halo: int, bytes_per_pixel: float, memory: int = DEFAULT_MEMORY, batch: int = 1
) -> int | None:
    """The largest tile whose window fits into `memory` bytes; None if the whole picture does.

    `bytes_per_pixel`: what the function needs at its peak for one input pixel of one picture.
    Raises UsageError where not even the smallest tile fits.
    """
    if bytes_per_pixel * batch * height * width <= memory:
        return None
    side = math.isqrt(int(memory / (bytes_per_pixel * batch))) - 2 * halo
    if side < SMALLEST:
        needed = (SMALLEST + 2 * halo) ** 2 * bytes_per_pixel * batch
        raise UsageError(
            f"a tile of {SMALLEST} input pixels with a halo of {halo} needs {math.ceil(needed / 2**20)} MiB, and "
            f"{memory // 2**20} MiB may be used: give more memory, or a smaller batch"
        )
    return side


def run(
    function: WindowFunction,
    x: Tensor,
    *,
    tile: int | Literal["auto"] | None,
    halo: int,
    scale: int,
    cell: int = 1,
    memory: int = DEFAULT_MEMORY,
    bytes_per_pixel: float | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Tensor:
    """`function` on the whole of `x` (b c h w), tile by tile: b c' (h scale) (w scale).

    `function(window, origin=(row, column))` returns the window `scale` times as large. If no output pixel of it
    depends on input pixels more than `halo` away, the result equals `function(x, origin=(0, 0))` up to the
    rounding of the arithmetic, whatever the tile. `tile`, `halo`, `cell`: see `plan`; "auto" takes the largest
    tile that `memory` bytes allow at `bytes_per_pixel` (see `choose`). `progress(done, all)` is called after
    every tile. Raises UsageError for a tile that is too small, ValueError if `function` returns another size.
    """
    batch, _, height, width = x.shape
    if tile == "auto":
        if bytes_per_pixel is None:
            raise ValueError('tile "auto" needs bytes_per_pixel, the memory of the function for one input pixel')
        tile = choose(height, width, halo=halo, bytes_per_pixel=bytes_per_pixel, memory=memory, batch=batch)
    tiles = plan(height, width, tile=tile, halo=halo, cell=cell)
    result: Tensor | None = None
    for done, part in enumerate(tiles, start=1):
        window = x[:, :, part.window_rows, part.window_columns]
        large = function(window, origin=part.origin)
        expected = (batch, window.shape[2] * scale, window.shape[3] * scale)
        if large.ndim != 4 or (large.shape[0], *large.shape[2:]) != expected:
            raise ValueError(
                f"a window of {tuple(window.shape)} became {tuple(large.shape)}: "
                f"at scale {scale} it must be {expected[0]} x channels x {expected[1]} x {expected[2]}"
            )
        if len(tiles) == 1:
            result = large
        else:
            if result is None:
                result = large.new_empty(batch, large.shape[1], height * scale, width * scale)
            rows = _within(part.rows, part.window_rows, scale=scale)
            columns = _within(part.columns, part.window_columns, scale=scale)
            result[:, :, _times(part.rows, scale), _times(part.columns, scale)] = large[:, :, rows, columns]
        if progress is not None:
            progress(done, len(tiles))
    assert result is not None
    return result


def _spans(size: int, *, tile: int | None, halo: int, cell: int) -> list[tuple[slice, slice]]:
    """(core, window) along one direction."""
    cells = math.ceil(size / cell)
    count = 1 if tile is None else math.ceil(cells / max(1, tile // cell))
    edges = [min(size, cells * index // count * cell) for index in range(count + 1)]
    spans = []
    for start, stop in zip(edges[:-1], edges[1:], strict=True):
        first = max(0, (start - halo) // cell * cell)
        last = min(size, -(-(stop + halo) // cell) * cell)
        spans.append((slice(start, stop), slice(first, last)))
    return spans


def _times(span: slice, scale: int) -> slice:
    return slice(span.start * scale, span.stop * scale)


def _within(core: slice, window: slice, *, scale: int) -> slice:
    return slice((core.start - window.start) * scale, (core.stop - window.start) * scale)
