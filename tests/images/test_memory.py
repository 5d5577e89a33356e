"""Pictures larger than memory should hold: what reading and writing take, in a process of its own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

_PROGRAM = """
import sys, threading, time
import numpy as np
from mezzotint import images
from mezzotint.images.spool import Spool, strips
from mezzotint.images.libvips import libvips
libvips()

def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * 4096

peak = before = resident()
done = threading.Event()

def watch():
    global peak
    while not done.wait(0.005):
        peak = max(peak, resident())

threading.Thread(target=watch, daemon=True).start()
height, width, name, folder, turned = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3], sys.argv[4], int(sys.argv[5])
generator = np.random.default_rng(0)
block = generator.integers(0, 256, (64, width, 3), dtype=np.uint8)
spool = Spool((height, width, 3), np.uint8, folder=folder)
for part in strips(spool.shape, spool.dtype, size=block.nbytes):
    spool[part] = block[: part.stop - part.start] // np.uint8(1 + part.start % 7)
first = images.Picture(spool)
images.write(first, folder + "/" + name)
if turned:
    with open(folder + "/" + name, "r+b") as file:
        from mezzotint.images import tiff
        tiff._Reader(file).overwrite_short(274, turned)
second = images.read(folder + "/" + name, spool=folder)
assert isinstance(second.rows, Spool)
if turned:
    assert (second.height, second.width) == (width, height)
    assert np.array_equal(second.rows[5:6][0], np.stack([spool[y:y+1][0, 5].copy() for y in range(height - 1, -1, -1)]))
else:
    assert second.id == first.id
done.set()
print((peak - before) / 2**20)
"""


def growth(folder: Path, name: str, *, height: int, width: int, turned: int = 0) -> float:
    """MiB by which a process grows that writes and reads a picture from and into spools."""
    done = subprocess.run(
        [sys.executable, "-c", _PROGRAM, str(height), str(width), name, str(folder), str(turned)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert sorted(path.name for path in folder.iterdir()) == [name]
    return float(done.stdout)


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="memory is watched through /proc")
@pytest.mark.parametrize("name", ["a.png", "a.tif", "a.ppm"])
def test_200_megapixels_are_written_and_read_in_300_megabytes(tmp_path: Path, name: str) -> None:
    assert growth(tmp_path, name, height=12_500, width=16_000) < 300


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="memory is watched through /proc")
def test_a_large_picture_is_turned_in_300_megabytes(tmp_path: Path) -> None:
    assert growth(tmp_path, "a.tif", height=12_500, width=16_000, turned=6) < 300
