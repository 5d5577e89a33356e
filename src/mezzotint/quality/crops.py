"""The fixed crops that tables of slow methods use: 34 of 128x128 pixels, Set14 and every fifth picture of BSD100.

The list is a file of the package (`crops.csv`), made once by `choose_crops`; the pictures themselves are not ours to
distribute and are read from the user's folder.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mezzotint.errors import InputError
from mezzotint.quality.levels import to_levels
from mezzotint.quality.ycbcr import studio_luma

LIST = Path(__file__).with_name("crops.csv")
SIDE = 128
STEP = 4


@dataclass(frozen=True)
class Crop:
    """A square of `side` pixels whose upper left corner is at (row, column) of a picture of a benchmark.

    picture: file name without its extension, because the sets are kept as PNG, BMP, JPEG or WebP.
    """

    benchmark: str
    picture: str
    row: int
    column: int
    side: int = SIDE

    @property
    def name(self) -> str:
        """benchmark/picture, the name under which evaluations list the crop."""
        return f"{self.benchmark}/{self.picture}"

    def cut(self, pixels: np.ndarray) -> np.ndarray:
        """Return the crop of the picture (h, w, c); raises InputError if it does not lie inside."""
        bottom, right = self.row + self.side, self.column + self.side
        if bottom > pixels.shape[0] or right > pixels.shape[1]:
            raise InputError(
                f"{self.name} of {pixels.shape[1]}x{pixels.shape[0]} pixels ends before row {bottom}, column {right}: "
                "it is not the picture of the benchmark"
            )
        return pixels[self.row : bottom, self.column : right].copy()


def read_crops() -> tuple[Crop, ...]:
    """Return the 34 crops, Set14 first."""
    with LIST.open(encoding="utf-8", newline="") as file:
        return tuple(
            Crop(row["benchmark"], row["picture"], int(row["row"]), int(row["column"]), int(row["side"]))
            for row in csv.DictReader(file)
        )


def load_crops(folder: Path, *, read: Callable[[Path], np.ndarray]) -> Iterator[tuple[str, np.ndarray]]:
    """Yield name and pixels (128, 128, c) of every crop, one picture in memory at a time.

    folder: holds a folder for each benchmark; read: returns the pixels (h, w, c) of a file, for example
    `lambda path: images.read_plain(path).pixels`. Raises InputError for a missing picture, before the first is yielded.
    """
    crops = read_crops()
    files = [find_picture(folder, crop) for crop in crops]
    return ((crop.name, crop.cut(read(file))) for crop, file in zip(crops, files, strict=True))


def find_picture(folder: Path, crop: Crop) -> Path:
    """Return the file of a crop's picture in folder/benchmark, of whatever extension."""
    found = sorted((folder / crop.benchmark).glob(f"{crop.picture}.*"))
    if not found:
        raise InputError(f"{folder / crop.benchmark} holds no picture {crop.picture}: put the benchmark's files there")
    return found[0]


def choose_crops(pictures: Iterable[tuple[str, str, np.ndarray]]) -> tuple[Crop, ...]:
    """Return one crop a picture by the rule that made the list: much detail, hardly a saturated pixel.

    pictures: benchmark, name and pixels (h, w, 1 or 3). Among the windows of 128x128 at rows and columns that are
    multiples of 4, in which at most 5 % of the pixels are black or white in all channels (or, if those are few, the
    quarter of the windows with the fewest such pixels), the one with the largest sum of squared differences between
    neighbours in luma; the first of equals. Raises InputError for a picture smaller than a crop.
    """
    crops = []
    for benchmark, name, pixels in pictures:
        if min(pixels.shape[:2]) < SIDE:
            raise InputError(
                f"{benchmark}/{name} of {pixels.shape[1]}x{pixels.shape[0]} pixels is smaller than {SIDE}x{SIDE}"
            )
        row, column = _best_window(to_levels(pixels)[0])
        crops.append(Crop(benchmark, name, row, column))
    return tuple(crops)


def _best_window(levels: np.ndarray) -> tuple[int, int]:
    luma = studio_luma(levels)[0] if levels.shape[0] == 3 else levels[0]
    saturated = (levels == 0).all(axis=0) | (levels == 255).all(axis=0)
    down, right = np.square(np.diff(luma, axis=0)), np.square(np.diff(luma, axis=1))
    energy = _window_sums(down, SIDE - 1, SIDE) + _window_sums(right, SIDE, SIDE - 1)
    share = _window_sums(saturated.astype(np.float64), SIDE, SIDE) / SIDE**2
    allowed = share <= max(0.05, float(np.quantile(share, 0.25, method="lower")))
    energy = np.where(allowed, np.round(energy, 3), -1.0)  # rounded, so that ties do not hang on the order of a sum
    row, column = np.unravel_index(int(np.argmax(energy)), energy.shape)
    return int(row) * STEP, int(column) * STEP


def _window_sums(values: np.ndarray, height: int, width: int) -> np.ndarray:
    """Return the sums over all windows of height x width whose corner is at multiples of 4."""
    total = np.zeros((values.shape[0] + 1, values.shape[1] + 1))
    total[1:, 1:] = values.cumsum(axis=0).cumsum(axis=1)
    sums = total[height:, width:] - total[:-height, width:] - total[height:, :-width] + total[:-height, :-width]
    return sums[::STEP, ::STEP]
