"""Qualities of JPEG: of tables against another library, of pixels that were compressed with a known one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mezzotint.data.jpeg_history import (
    coefficients,
    earlier_quality,
    find_grid,
    luminance_table,
    nearest_quality,
    read_header,
    trace,
)
from mezzotint.data.resolution import luma
from mezzotint.errors import InputError

Landscape = Callable[..., np.ndarray]
Compressed = Callable[[np.ndarray, int], np.ndarray]


def _photographs(folder: Path, count: int) -> list[np.ndarray]:
    files = sorted((folder / "bench" / "GB82").glob("*.png"))
    return [np.asarray(Image.open(f).convert("RGB")) for f in files[:: len(files) // count]][:count]


def test_tables_are_libjpegs() -> None:
    """First rows of Annex K's luminance table at four qualities, and the table itself at 50."""
    rows = {
        10: [80, 55, 50, 80, 120, 200, 255, 255],
        30: [27, 18, 17, 27, 40, 66, 85, 101],
        75: [8, 6, 5, 8, 12, 20, 26, 31],
        90: [3, 2, 2, 3, 5, 8, 10, 12],
    }
    assert all(luminance_table(q)[0].tolist() == row for q, row in rows.items())
    table = luminance_table(50)
    assert (int(table[0, 1]), int(table[1, 0]), int(table.sum())) == (11, 12, 3688)


def test_tables_are_those_of_the_differentiable_codec() -> None:
    """This room keeps a table of its own to be without torch."""
    from mezzotint.operators.jpeg import quantisation_table

    for quality in range(1, 101):
        assert np.array_equal(luminance_table(quality), quantisation_table(quality).numpy())


@pytest.mark.parametrize("quality", [1, 2, 10, 37, 49, 50, 51, 75, 93, 99, 100])
def test_the_table_and_the_quality_of_a_file(tmp_path: Path, landscape: Landscape, quality: int) -> None:
    path = tmp_path / "a.jpg"
    Image.fromarray(landscape(0, 32, 48)).save(path, quality=quality)
    header = read_header(path)
    assert header is not None and header.standard and header.quality == quality
    # Pillow hands the steps out row by row, in the order of the picture.
    assert header.table.ravel().tolist() == list(Image.open(path).quantization[0])  # pyright: ignore
    assert np.array_equal(header.table, luminance_table(quality))


def test_how_a_file_stores_colour(tmp_path: Path, landscape: Landscape) -> None:
    path = tmp_path / "a.jpg"
    picture = Image.fromarray(landscape(0, 32, 48))
    for subsampling, name in ((0, "4:4:4"), (1, "4:2:2"), (2, "4:2:0")):
        picture.save(path, subsampling=subsampling)
        header = read_header(path)
        assert header is not None and header.chroma == name and not header.progressive
    picture.convert("L").save(path, progressive=True)
    header = read_header(path)
    assert header is not None and header.chroma == "grey" and header.progressive


def test_a_table_of_ones_own_gets_the_nearest_quality(tmp_path: Path, landscape: Landscape) -> None:
    own = luminance_table(80).copy()
    own[0, 0] += 1
    path = tmp_path / "a.jpg"
    Image.fromarray(landscape(0, 32, 48)).save(path, qtables=[own.ravel().tolist()] * 2)
    header = read_header(path)
    assert header is not None and (header.quality, header.standard) == (80, False)
    assert nearest_quality(luminance_table(1)) == (1, True)


def test_other_files_have_no_header(tmp_path: Path, landscape: Landscape) -> None:
    Image.fromarray(landscape(0, 32, 48)).save(tmp_path / "a.png")
    Image.fromarray(landscape(0, 32, 48)).save(tmp_path / "b.jpg")
    assert read_header(tmp_path / "a.png") is None
    data = (tmp_path / "b.jpg").read_bytes()
    for length in (0, 1, 3, 30, 100, 170):
        (tmp_path / "b.jpg").write_bytes(data[:length])
        assert read_header(tmp_path / "b.jpg") is None
    with pytest.raises(InputError, match="cannot be read"):
        read_header(tmp_path / "absent.jpg")


def test_coefficients_are_the_orthonormal_dct() -> None:
    from scipy.fft import dctn

    def theirs(block: np.ndarray) -> np.ndarray:
        return np.asarray(dctn(block - 128, norm="ortho"))

    levels = np.random.default_rng(0).uniform(5, 250, (40, 48))
    found = coefficients(levels, grid=(3, 5))
    assert found.shape == (20, 8, 8)
    assert np.allclose(found[0], theirs(levels[3:11, 5:13]), atol=1e-10)
    assert np.allclose(found[6], theirs(levels[11:19, 13:21]), atol=1e-10)
    levels[0, 0] = 255
    assert len(coefficients(levels)) == 29  # a clipped block tells nothing


@pytest.mark.parametrize("quality", [20, 50, 75, 90, 94])
def test_pixels_tell_the_quality_that_they_went_through(
    landscape: Landscape, compressed: Compressed, quality: int
) -> None:
    for seed in range(3):
        pixels = landscape(seed)
        assert trace(luma(pixels)) is None
        found = trace(luma(compressed(pixels, quality)))
        assert found is not None and abs(found.quality - quality) <= 2 and found.grid == (0, 0)


def test_the_grid_of_a_part_that_was_cut_out_is_found(landscape: Landscape, compressed: Compressed) -> None:
    pixels = compressed(landscape(0), 60)
    for top, left in ((3, 5), (0, 7), (1, 0)):
        levels = luma(pixels[top:, left:])
        assert find_grid(levels) == (-top % 8, -left % 8)
        found = trace(levels)
        assert found is not None and found.grid == (-top % 8, -left % 8) and abs(found.quality - 60) <= 2


@pytest.mark.parametrize("first, last", [(50, 75), (60, 80), (75, 90), (80, 95)])
def test_a_coarser_compression_before_is_found(
    landscape: Landscape, compressed: Compressed, first: int, last: int
) -> None:
    table = luminance_table(last)
    for seed in range(3):
        pixels = landscape(seed)
        assert earlier_quality(luma(compressed(pixels, last)), table) is None
        found = earlier_quality(luma(compressed(compressed(pixels, first), last)), table)
        assert found is not None and abs(found - first) <= 3


def test_an_equal_or_finer_compression_before_is_not_claimed(landscape: Landscape, compressed: Compressed) -> None:
    for first in (80, 95):
        twice = compressed(compressed(landscape(0), first), 80)
        assert earlier_quality(luma(twice), luminance_table(80)) is None


def test_small_and_flat_pictures_tell_nothing() -> None:
    for levels in (np.full((16, 16), 90.0), np.full((64, 64), 90.0), np.full((40, 300), 255.0)):
        assert trace(levels) is None and earlier_quality(levels, luminance_table(80)) is None


def test_photographs(shared_data: Path, compressed: Compressed) -> None:
    photographs = _photographs(shared_data, 6)
    for pixels in photographs:
        assert trace(luma(pixels)) is None
        for quality in (50, 90):
            found = trace(luma(compressed(pixels, quality)))
            assert found is not None and abs(found.quality - quality) <= 2
        once, twice = compressed(pixels, 85), compressed(compressed(pixels, 60), 85)
        assert earlier_quality(luma(once), luminance_table(85)) is None
        earlier = earlier_quality(luma(twice), luminance_table(85))
        assert earlier is not None and abs(earlier - 60) <= 3
