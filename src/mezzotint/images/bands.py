"""A picture as rows that are computed when they are asked for: stages of bounded reach, in bounded memory.

A stage makes its rows a band at a time from the rows of the stages before it. Readers go down the picture only, so a
stage keeps no more than the bands that some reader may still ask for; nothing is computed twice, and the numbers do
not depend on how tall the bands are.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Protocol

import torch
from torch import Tensor

from mezzotint.images import tiles
from mezzotint.operators.resize import Kernel, RowResize

Compute = Callable[[int, int], tuple[Tensor, ...]]


class Stage:
    """Rows 0 to `height` of one or more tensors b c h w, made by `compute(start, stop)` a band at a time.

    height: rows of the stage.
    band: rows that are computed at a time, from the top; the last band may be shorter.
    compute: returns one tensor an output; output k has `scales[k]` rows for each row of the stage.
    done: called after each band.

    Readers must exist before the first row is taken; afterwards there is nothing left to read from the top.
    """

    def __init__(
        self,
        compute: Compute,
        *,
        height: int,
        band: int,
        scales: tuple[int, ...] = (1,),
        done: Callable[[], None] | None = None,
    ) -> None:
        if height < 1 or band < 1:
            raise ValueError(f"a stage of {height} rows in bands of {band}: both start at 1")
        self.height, self.band, self.scales = height, band, scales
        self.compute, self._done = compute, done
        self._kept: deque[tuple[Tensor, ...]] = deque()
        self._first = self._made = 0
        self._readers: list[Reader] = []

    @property
    def bands(self) -> int:
        """How many bands the picture has."""
        return -(-self.height // self.band)

    def reader(self, output: int = 0) -> Reader:
        """A new reader of one output."""
        if self._made:
            raise ValueError("the first rows of this stage were computed already: make readers before that")
        reader = Reader(self, output)
        self._readers.append(reader)
        return reader

    def _rows(self, output: int, start: int, stop: int) -> Tensor:
        """Rows of the stage (not of the output) from `start` to `stop`."""
        while self._made * self.band < stop:
            top = self._made * self.band
            self._kept.append(self.compute(top, min(self.height, top + self.band)))
            self._made += 1
            if self._done is not None:
                self._done()
        first, last = start // self.band, (stop - 1) // self.band
        if first < self._first:
            raise ValueError(f"rows from {start} on were let go of: readers go down the picture only")
        parts = [self._kept[index - self._first][output] for index in range(first, last + 1)]
        rows = parts[0] if len(parts) == 1 else torch.cat(parts, dim=-2)
        scale, offset = self.scales[output], first * self.band
        if start == offset and rows.shape[-2] == (stop - start) * scale:
            return rows
        return rows[..., (start - offset) * scale : (stop - offset) * scale, :]

    def _forget(self) -> None:
        needed = min(reader.position for reader in self._readers)
        # The last band is needed until every reader says that it is done with the picture.
        while self._kept and (self._first + 1) * self.band <= needed:
            self._kept.popleft()
            self._first += 1
        if needed >= self.height:
            self._kept.clear()


class Reader:
    """One reader's place in the rows of one output of a stage."""

    def __init__(self, stage: Stage, output: int) -> None:
        self.stage, self.output, self.position = stage, output, 0

    def take(self, start: int, stop: int, *, keep: int | None = None) -> Tensor:
        """Rows of the stage from `start` to `stop`, as rows of the output: b c (stop - start) * scale w.

        Rows above `keep` (default `start`) are never asked for again by this reader. Raises ValueError for rows above
        what was kept.
        """
        if not self.position <= start < stop <= self.stage.height:
            raise ValueError(
                f"rows {start} to {stop} of a stage of {self.stage.height} rows, read down to {self.position} already"
            )
        rows = self.stage._rows(self.output, start, stop)
        self.position = start if keep is None else keep
        self.stage._forget()
        return rows

    def window(self, start: int, stop: int, *, halo: int) -> tuple[Tensor, int]:
        """The rows from `start` to `stop` with `halo` rows more on each side as far as the picture goes, and the
        number of the first one; the next call begins at `stop`."""
        first, last = max(0, start - halo), min(self.stage.height, stop + halo)
        return self.take(first, last, keep=self._next(stop, halo)), first

    def skip(self, stop: int, *, halo: int) -> None:
        """Go on as after `window(..., stop, halo=halo)`, without the rows."""
        self.position = max(self.position, self._next(stop, halo))
        self.stage._forget()

    def _next(self, stop: int, halo: int) -> int:
        return self.stage.height if stop == self.stage.height else max(0, stop - halo)


def of_tensor(x: Tensor, *, band: int) -> Stage:
    """A stage that hands out the rows of a picture b c h w that is in memory."""
    return Stage(lambda start, stop: (x[..., start:stop, :],), height=x.shape[-2], band=band)


class WindowFunction(Protocol):
    """What `local` calls: `window` is b c h w of the picture, `origin` the (row, column) of its first pixel."""

    def __call__(self, window: Tensor, /, *, origin: tuple[int, int]) -> Tensor: ...


def local(
    function: WindowFunction,
    source: Stage,
    *,
    width: int,
    halo: int,
    scale: int,
    band: int,
    tile: int | None = None,
    done: Callable[[], None] | None = None,
) -> Stage:
    """`function` on the picture that `source` hands out, `width` pixels wide, band by band and tile by tile.

    `function(window, origin=(row, column))` returns the window `scale` times as large. If no output pixel of it
    depends on input pixels more than `halo` away, the rows equal those of `function` on the whole picture up to the
    rounding of the arithmetic, whatever `band` and `tile` (pixels of a tile's core across, None for the whole width).
    The stage raises ValueError if `function` returns another size.
    """
    reader = source.reader()

    def compute(start: int, stop: int) -> tuple[Tensor, ...]:
        rows, first = reader.window(start, stop, halo=halo)
        result: Tensor | None = None
        for part in tiles.plan(source.height, width, tile=tile, halo=halo, rows=(start, stop)):
            window = rows[..., part.window_columns]
            large = function(window, origin=(first, part.window_columns.start))
            expected = (window.shape[-2] * scale, window.shape[-1] * scale)
            if tuple(large.shape[-2:]) != expected:
                raise ValueError(f"a window of {tuple(window.shape)} became {tuple(large.shape)} at scale {scale}")
            lines, columns = (slice(scale * s.start, scale * s.stop) for s in part.inner)
            if result is None:
                result = large.new_empty(*large.shape[:-2], (stop - start) * scale, width * scale)
            result[..., scale * part.columns.start : scale * part.columns.stop] = large[..., lines, columns]
        assert result is not None
        return (result,)

    return Stage(compute, height=source.height, band=band, scales=(scale,), done=done)


def resized(
    source: Stage, *, width: int, size: tuple[int, int], band: int, kernel: Kernel = "cubic", output: int = 0
) -> Stage:
    """The picture of one output of `source`, `width` pixels wide, resized to (height, width) `size` as `imresize` does.

    `band` counts rows after. The output may have several rows for each row of its stage.
    """
    reader, scale = source.reader(output), source.scales[output]
    resize = RowResize((source.height * scale, width), size, kernel)

    def compute(start: int, stop: int) -> tuple[Tensor, ...]:
        top, bottom = resize.needed(start, stop)
        first, last = top // scale, -(-bottom // scale)
        # At the border the kernel mirrors, so a later row may need an earlier one.
        later = source.height if stop == size[0] else resize.needed(stop, size[0])[0] // scale
        rows = reader.take(first, last, keep=later)
        return (resize(rows, first=first * scale, rows=(start, stop)),)

    return Stage(compute, height=size[0], band=band)


def regrouped(source: Stage, *, rows: int, band: int, output: int = 0) -> Stage:
    """One output of `source` as a stage that counts `rows` rows of it as one; `band` counts those.

    Raises ValueError where the rows do not come out even.
    """
    reader, scale = source.reader(output), source.scales[output]
    total = source.height * scale
    if total % rows:
        raise ValueError(f"{total} rows cannot be counted by {rows}")

    def compute(start: int, stop: int) -> tuple[Tensor, ...]:
        first, last = start * rows // scale, -(-stop * rows // scale)
        taken = reader.take(first, last, keep=stop * rows // scale)
        offset = start * rows - first * scale
        return (taken[..., offset : offset + (stop - start) * rows, :],)

    return Stage(compute, height=total // rows, band=band, scales=(rows,))


def mapped(source: Stage, function: Callable[[Tensor], Tensor], *, output: int = 0) -> Stage:
    """`function` of the rows of one output, which looks at each pixel alone."""
    reader = source.reader(output)

    def compute(start: int, stop: int) -> tuple[Tensor, ...]:
        return (function(reader.take(start, stop, keep=stop)),)

    return Stage(compute, height=source.height, band=source.band, scales=(source.scales[output],))


def whole(stage: Stage, *, output: int = 0) -> Tensor:
    """All rows of one output, b c h w."""
    reader, scale = stage.reader(output), stage.scales[output]
    if stage.bands == 1:
        return reader.take(0, stage.height, keep=stage.height)
    result: Tensor | None = None
    for start in range(0, stage.height, stage.band):
        stop = min(stage.height, start + stage.band)
        rows = reader.take(start, stop, keep=stop)
        if result is None:
            result = rows.new_empty(*rows.shape[:-2], stage.height * scale, rows.shape[-1])
        result[..., start * scale : stop * scale, :] = rows
    assert result is not None
    return result
