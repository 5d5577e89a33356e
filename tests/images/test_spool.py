"""Samples in a file behave like samples in an array, and nothing is left behind."""

from __future__ import annotations

import gc
import os
import resource
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mezzotint.errors import InputError
from mezzotint.images import Picture, Spool, rows_for
from mezzotint.images.atomic import remove_stale
from mezzotint.images.spool import strips
from mezzotint.noise import picture_id

RNG = np.random.default_rng(3)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.data())
def test_a_spool_is_read_and_written_like_an_array(data: st.DataObject) -> None:
    dtype = data.draw(st.sampled_from([np.uint8, np.uint16, np.float32]))
    shape = tuple(data.draw(st.integers(1, 9)) for _ in range(3))
    array = np.zeros(shape, dtype)
    with Spool(shape, dtype) as spool:
        assert (spool.shape, spool.dtype, len(spool), spool.nbytes) == (shape, array.dtype, shape[0], array.nbytes)
        for _ in range(4):
            top = data.draw(st.integers(0, shape[0]))
            stop = data.draw(st.integers(top, shape[0]))
            rows = RNG.integers(0, 200, (stop - top, *shape[1:])).astype(dtype)
            array[top:stop] = rows
            spool[top:stop] = rows
            assert np.array_equal(spool[top:stop], rows)
        left = data.draw(st.integers(0, shape[1] - 1))
        columns = RNG.integers(0, 200, (shape[0], shape[1] - left, shape[2])).astype(dtype)
        array[:, left:] = columns
        spool.put_columns(left, columns)
        assert np.array_equal(spool[:], array)
        assert (
            Picture(spool, space=space, alpha=False).id == picture_id(array)
            if (space := {1: "grey", 3: "rgb", 4: "cmyk"}.get(shape[2]))
            else True
        )


def test_wrong_shapes_and_steps_are_refused(tmp_path: Path) -> None:
    with Spool((4, 5, 3), np.uint8, folder=tmp_path) as spool:
        with pytest.raises(ValueError, match="shape"):
            spool[0:2] = np.zeros((3, 5, 3), np.uint8)
        with pytest.raises(ValueError, match="steps of 2"):
            spool[0:4:2]
        with pytest.raises(TypeError, match="by rows"):
            spool[1]  # type: ignore[index]
    with pytest.raises(ValueError, match="at least 1"):
        Spool((0, 5, 3), np.uint8)


def test_the_file_goes_whenever_its_spool_does(tmp_path: Path) -> None:
    spool = Spool((4, 5, 3), np.uint8, folder=tmp_path)
    (name,) = (path.name for path in tmp_path.iterdir())
    assert name.startswith(".mezzotint-") and name.endswith(".spool")
    assert remove_stale(tmp_path) == 0
    spool.close()
    spool.close()
    assert not list(tmp_path.iterdir())
    spool = Spool((4, 5, 3), np.uint8, folder=tmp_path)
    del spool
    gc.collect()
    assert not list(tmp_path.iterdir())
    make = (
        "import os, sys, numpy as np\nfrom mezzotint.images import Spool\nspool = Spool((4, 5, 3), np.uint8, "
        "folder=sys.argv[1])\nif sys.argv[2] == 'killed': os._exit(9)\n"
    )
    for how, left in (("ended", 0), ("killed", 1)):
        subprocess.run([sys.executable, "-c", make, str(tmp_path), how], check=False)
        assert len(list(tmp_path.iterdir())) == left
    assert remove_stale(tmp_path) == 1
    assert not list(tmp_path.iterdir())


def test_a_full_disk_is_one_line_with_the_missing_bytes(tmp_path: Path) -> None:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, before[1]))
    try:
        with pytest.raises(InputError, match="no room for the 30,000 bytes.*missing") as caught:
            Spool((100, 100, 3), np.uint8, folder=tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert "\n" not in str(caught.value)
    with pytest.raises(InputError, match="no room for the 4,000,000,000,000,000 bytes"):
        Spool((1_000_000, 1_000_000_000, 4), np.uint8, folder=tmp_path)
    assert not list(tmp_path.iterdir())
    with pytest.raises(InputError, match="no such file or directory: name another folder"):
        Spool((1, 1, 1), np.uint8, folder=tmp_path / "none")


def test_room_is_an_array_up_to_the_limit(tmp_path: Path) -> None:
    assert isinstance(rows_for((10, 10, 3), np.uint16, folder=tmp_path, limit=600), np.ndarray)
    rows = rows_for((10, 10, 3), np.uint16, folder=tmp_path, limit=599)
    assert isinstance(rows, Spool) and rows.path.parent == tmp_path
    rows.close()
    assert os.listdir(tmp_path) == []


def test_strips_cover_all_rows_once() -> None:
    for height, width, size in ((1, 1, 1), (7, 1000, 1), (1000, 10, 95), (5, 5, 10**9)):
        parts = list(strips((height, width, 3), np.dtype(np.uint8), size=size))
        assert [row for part in parts for row in range(part.start, part.stop)] == list(range(height))
        assert all((part.stop - part.start) * width * 3 <= max(size, width * 3) for part in parts)
