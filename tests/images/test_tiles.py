"""The parts of a large picture."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mezzotint.errors import UsageError
from mezzotint.images import tiles

SIZES = st.integers(1, 70)


@settings(max_examples=150, deadline=None)
@given(
    height=SIZES, width=SIZES, tile=st.integers(16, 80) | st.none(), halo=st.integers(0, 30), cell=st.integers(1, 20)
)
def test_cores_cover_every_pixel_once(height: int, width: int, tile: int | None, halo: int, cell: int) -> None:
    count = np.zeros((height, width), int)
    cores = set()
    for part in tiles.plan(height, width, tile=tile, halo=halo, cell=cell):
        assert part.rows.start < part.rows.stop and part.columns.start < part.columns.stop
        count[part.rows, part.columns] += 1
        for core, window, size in (
            (part.rows, part.window_rows, height),
            (part.columns, part.window_columns, width),
        ):
            assert core.start % cell == window.start % cell == 0
            assert 0 <= window.start <= max(0, core.start - halo)
            assert min(size, core.stop + halo) <= window.stop <= size
            assert window.start > core.start - halo - cell and window.stop < core.stop + halo + cell
            if tile is not None:
                assert core.stop - core.start <= max(tile, cell)
            cores.add((size, core.stop - core.start))
        assert part.origin == (part.window_rows.start, part.window_columns.start)
    assert (count == 1).all()
    if cell == 1:
        for size in (height, width):
            lengths = [length for whole, length in cores if whole == size]
            assert max(lengths) - min(lengths) <= 1


@settings(max_examples=60, deadline=None)
@given(height=SIZES, width=SIZES, halo=st.integers(0, 30), cut=st.tuples(st.integers(0, 69), st.integers(1, 70)))
def test_rows_name_one_line_of_tiles(height: int, width: int, halo: int, cut: tuple[int, int]) -> None:
    start = min(cut[0], height - 1)
    stop = min(height, start + cut[1])
    parts = tiles.plan(height, width, tile=16, halo=halo, rows=(start, stop))
    assert {(part.rows.start, part.rows.stop) for part in parts} == {(start, stop)}
    assert all(part.window_rows == slice(max(0, start - halo), min(height, stop + halo)) for part in parts)
    assert sum(part.columns.stop - part.columns.start for part in parts) == width


def test_errors_name_the_value_the_limit_and_the_way_out() -> None:
    with pytest.raises(UsageError) as caught:
        tiles.plan(40, 40, tile=8, halo=2)
    assert str(caught.value) == (
        "tile 8 is smaller than the smallest, 16 input pixels: use --tile 16 or larger, or --tile auto"
    )
    with pytest.raises(ValueError, match="halo -1"):
        tiles.plan(4, 4, tile=None, halo=-1)
    with pytest.raises(ValueError, match="0 x 4"):
        tiles.plan(0, 4, tile=None, halo=1)
