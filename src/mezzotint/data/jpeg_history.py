"""What JPEG has done to a picture: the quality its file states, and earlier compressions that its pixels betray.

JPEG rounds the DCT of every 8x8 block to multiples of the steps in a table; a file carries the table, and decoded
pixels carry the multiples. Three questions are answered: which quality the table of a file is, whether the pixels of a
picture in another format came out of JPEG, and whether the pixels of a JPEG had been through a coarser one before, on
the same grid (Fan and de Queiroz 2003, Lukas and Fridrich 2003 in another form). A first compression finer than the
last one leaves too little to tell, and so does one on another grid than the last one's.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import BinaryIO

import numpy as np

from mezzotint.data.sizes import segments
from mezzotint.errors import InputError

_LUMINANCE = np.array(
    [
        [16, 11, 10, 16, 24, 40, 51, 61],
        [12, 12, 14, 19, 26, 58, 60, 55],
        [14, 13, 16, 24, 40, 57, 69, 56],
        [14, 17, 22, 29, 51, 87, 80, 62],
        [18, 22, 37, 56, 68, 109, 103, 77],
        [24, 35, 55, 64, 81, 104, 113, 92],
        [49, 64, 78, 87, 103, 121, 120, 101],
        [72, 92, 95, 98, 112, 100, 103, 99],
    ]
)
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_BLOCKS = 2048
# Low frequencies, where photographs have coefficients that are not zero; the mean brightness is left out.
_USED = tuple((u, v) for u in range(6) for v in range(6 - u) if u + v > 0)
_LARGEST = 40
# Whole multiples: how far coefficients of rounded pixels lie from them, in grey levels.
_SPREAD = 0.6
_LEAST_SCORE, _LEAST_SHARE = 10.0, 0.3
_LEAST_DEPTH = 0.6


def luminance_table(quality: int) -> np.ndarray:
    """Return libjpeg's luminance table of a quality from 1 to 100: 8 x 8 whole numbers, rows are vertical frequencies.

    Table K.1 of ITU-T T.81 times S / 100, S = floor(5000 / q) below 50 and 200 - 2 q above, rounded, 1 to 255.
    """
    scale = 5000 // quality if quality < 50 else 200 - 2 * quality
    return np.clip((_LUMINANCE * scale + 50) // 100, 1, 255)


@lru_cache(maxsize=1)
def _tables() -> np.ndarray:
    return np.stack([luminance_table(quality) for quality in range(1, 101)])


def nearest_quality(table: np.ndarray) -> tuple[int, bool]:
    """Return the quality whose luminance table comes nearest to `table` 8 x 8, and whether it is that table.

    Nearest in the mean difference relative to the steps; the higher one of equals.
    """
    difference = np.abs(_tables() - table).astype(float) / np.maximum(_tables(), table)
    means = difference.mean(axis=(1, 2))
    best = 100 - int(means[::-1].argmin())
    return best, bool(means[best - 1] == 0)


@dataclass(frozen=True, eq=False)
class Header:
    """What a JPEG file states: its luminance table, the quality that this is nearest to, and how colour is stored.

    `standard`: whether it is libjpeg's table of that quality. `chroma`: "4:4:4", "4:2:2", "4:2:0", another ratio, or
    "grey". `progressive`: whether the samples come in several passes.
    """

    table: np.ndarray
    quality: int
    standard: bool
    chroma: str
    progressive: bool


def read_header(path: Path) -> Header | None:
    """Return what a JPEG file states, None for another file and for one without a table; InputError if unreadable."""
    try:
        with path.open("rb") as file:
            return _header(file)
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror}): check the name and its permissions") from None


_ZIGZAG = sorted(((u, v) for u in range(8) for v in range(8)), key=lambda p: (sum(p), p[0] if sum(p) % 2 else p[1]))


def _header(file: BinaryIO) -> Header | None:
    tables: dict[int, np.ndarray] = {}
    frame: tuple[int, bytes] | None = None
    for marker, body in segments(file):
        if marker == 0xDB:
            while body:
                wide, index = body[0] >> 4, body[0] & 15
                size = 128 if wide else 64
                if len(body) < size + 1:
                    break
                values = np.frombuffer(body[1 : size + 1], dtype=">u2" if wide else "u1").astype(int)
                table = np.zeros((8, 8), dtype=int)
                for value, (u, v) in zip(values, _ZIGZAG, strict=True):
                    table[u, v] = value
                tables[index] = table
                body = body[size + 1 :]
        elif marker in _FRAMES:
            frame = (marker, body)
    if frame is None or len(frame[1]) < 9 or frame[1][8] not in tables:
        return None
    marker, body = frame
    count = body[5]
    factors = [divmod(body[7 + 3 * k], 16) for k in range(count) if len(body) > 7 + 3 * k]
    table = tables[body[8]]
    if table.min() < 1:
        return None
    quality, standard = nearest_quality(table)
    return Header(table, quality, standard, _chroma(factors), marker in (0xC2, 0xC6, 0xCA, 0xCE))


def _chroma(factors: list[tuple[int, int]]) -> str:
    if len(factors) < 3:
        return "grey"
    across, down = factors[0][0] / factors[1][0], factors[0][1] / factors[1][1]
    names = {(1.0, 1.0): "4:4:4", (2.0, 1.0): "4:2:2", (2.0, 2.0): "4:2:0", (1.0, 2.0): "4:4:0", (4.0, 1.0): "4:1:1"}
    return names.get((across, down), f"{across:g}x{down:g}")


@lru_cache(maxsize=1)
def _dct() -> np.ndarray:
    k = np.arange(8)
    matrix = np.sqrt(2 / 8) * np.cos((2 * k[None] + 1) * k[:, None] * np.pi / 16)
    matrix[0] /= np.sqrt(2)
    return matrix


def coefficients(levels: np.ndarray, *, grid: tuple[int, int] = (0, 0)) -> np.ndarray:
    """Return the orthonormal DCT (n, 8, 8) of up to 2048 blocks of luma (h, w), spread evenly; rows are vertical.

    `grid`: row and column of the first block. Blocks with clipped pixels are left out: clipping moves coefficients.
    """
    levels = levels[grid[0] :, grid[1] :]
    rows, columns = levels.shape[0] // 8, levels.shape[1] // 8
    blocks = levels[: rows * 8, : columns * 8].reshape(rows, 8, columns, 8).swapaxes(1, 2).reshape(-1, 8, 8)
    if len(blocks) > _BLOCKS:
        blocks = blocks[np.linspace(0, len(blocks) - 1, _BLOCKS).astype(int)]
    whole = (blocks.max(axis=(1, 2)) < 254.5) & (blocks.min(axis=(1, 2)) > 0.5)
    return _dct() @ (blocks[whole] - 128.0) @ _dct().T


def find_grid(levels: np.ndarray) -> tuple[int, int]:
    """Return row and column, 0 to 7, of the first whole block of the 8 x 8 grid that luma (h, w) has steps on.

    The one with the largest mean step over that of its neighbours; where there was no JPEG, by chance.
    """
    offsets = []
    for axis in (0, 1):
        steps = np.abs(np.diff(levels, axis=axis)).mean(axis=1 - axis)
        above = steps[1:-1] - (steps[:-2] + steps[2:]) / 2
        # The step above[i] lies before pixel i + 2.
        means = [above[(k - 2) % 8 :: 8].mean() if len(above[(k - 2) % 8 :: 8]) else -np.inf for k in range(8)]
        offsets.append(int(np.argmax(means)))
    return offsets[0], offsets[1]


@dataclass(frozen=True)
class Trace:
    """A compression that pixels betray: its quality, off by at most 2 on photographs, and the grid it lay on."""

    quality: int
    grid: tuple[int, int]


def trace(levels: np.ndarray) -> Trace | None:
    """Return the last JPEG that luma (h, w) of a lossless file came out of, None where nothing speaks for one.

    Coefficients that are not zero are compared with multiples of the steps of each quality: their mean cosine is 1 on
    multiples and 0 by chance. Up to quality 95 or so, where steps of 1 and 2 are lost in the rounding of the pixels;
    of a part that was cut out, up to 75 or so, where the grid still shows as steps.
    """
    if min(levels.shape) < 32:
        return None
    best: tuple[float, float, int, tuple[int, int]] | None = None
    for grid in dict.fromkeys(((0, 0), find_grid(levels))):
        scores, shares = _scores(coefficients(levels, grid=grid))
        # The higher one of qualities that share the steps.
        index = 99 - int(scores[::-1].argmax())
        found = (float(scores[index]), float(shares[index]), index + 1, grid)
        if best is None or found > best:
            best = found
    if best is None or best[0] < _LEAST_SCORE or best[1] < _LEAST_SHARE:
        return None
    return Trace(best[2], best[3])


# Coefficients are counted in bins of 1/8 level up to 300 levels: enough for steps of 2, and all at once.
_BINS, _TOP = 8, 300


@lru_cache(maxsize=1)
def _cosines() -> tuple[np.ndarray, np.ndarray]:
    """Return (step, bin): the cosine of a bin's phase in each step from 0 to 255, and whether it counts there."""
    middle = (np.arange(_TOP * _BINS) + 0.5) / _BINS
    steps = np.arange(256)[:, None]
    counted = (middle > steps / 2) & (steps > 1)
    return np.cos(2 * np.pi * middle / np.maximum(steps, 1)) * counted, counted.astype(float)


def _scores(found: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return for each quality by how many standard deviations the cosines exceed chance, and their mean."""
    rows, columns = (np.array(side) for side in zip(*_USED, strict=True))
    bins = np.minimum(np.abs(found[:, rows, columns]) * _BINS, _TOP * _BINS).astype(int)
    counts = np.stack([np.bincount(b, minlength=_TOP * _BINS + 1)[:-1] for b in bins.T], axis=1).astype(float)
    cosines, counted = _cosines()
    steps = _tables()[:, rows, columns]
    places = np.arange(len(_USED))
    total = (cosines @ counts)[steps, places].sum(axis=1)
    count = np.maximum((counted @ counts)[steps, places].sum(axis=1), 1)
    return total / np.sqrt(count / 2), total / count


def earlier_quality(levels: np.ndarray, table: np.ndarray) -> int | None:
    """Return the quality of a coarser JPEG that luma (h, w) went through before the one of `table`, None if none shows.

    Steps of the first that are larger than those of the last leave gaps among the multiples of the last: the share of
    gaps that are empty, against what a smooth distribution would put there, decides. The quality is off by at most 3
    on photographs. Blocks of both must lie on the same grid, that of the file.
    """
    if min(levels.shape) < 32:
        return None
    found = coefficients(levels)
    counts: dict[tuple[int, int], tuple[np.ndarray, np.ndarray]] = {}
    for u, v in _USED:
        multiples = np.abs(np.rint(found[:, u, v] / table[u, v])).astype(int)
        multiples = multiples[(multiples > 0) & (multiples <= _LARGEST)]
        if len(multiples) < 100:
            continue
        ratio = 1 - 1 / multiples.mean()
        shares = ratio ** np.arange(_LARGEST)
        counts[u, v] = np.bincount(multiples, minlength=_LARGEST + 1)[1:], shares / shares.sum()
    best: tuple[float, int] | None = None
    for quality in range(1, 100):
        score = _depth(counts, table, _tables()[quality - 1])
        if score is not None and score[0] >= _LEAST_DEPTH and score[1] >= _LEAST_SCORE:
            evidence = score[0] * score[1]
            if best is None or evidence > best[0]:
                best = (evidence, quality)
    return None if best is None else best[1]


@lru_cache(maxsize=1 << 14)
def _reached(step: int, before: int) -> np.ndarray:
    """Whether 1 to 40 times `step` is what a multiple of `before` is rounded to, having been rounded to pixels."""
    multiples = np.arange((_LARGEST + 1) * step // before + 2) * before
    reached = np.zeros(_LARGEST + 1, dtype=bool)
    for shift in (-_SPREAD, 0.0, _SPREAD):
        there = np.rint((multiples + shift) / step).astype(int)
        reached[there[(there > 0) & (there <= _LARGEST)]] = True
    return reached[1:]


def _depth(
    counts: dict[tuple[int, int], tuple[np.ndarray, np.ndarray]], last: np.ndarray, first: np.ndarray
) -> tuple[float, float] | None:
    """Return which share of the gaps is empty, and the deviation from chance, in standard deviations."""
    inside = expected = variance = total = 0.0
    for (u, v), (count, shares) in counts.items():
        step, before = int(last[u, v]), int(first[u, v])
        if before <= step:
            continue
        reached = _reached(step, before)
        chance = float(shares[reached].sum())
        # Too few gaps to tell.
        if chance > 0.85:
            continue
        number = float(count.sum())
        inside += float(count[reached].sum())
        expected += number * chance
        variance += number * chance * (1 - chance)
        total += number
    if total < 300 or variance == 0:
        return None
    return 1 - (total - inside) / (total - expected), (inside - expected) / variance**0.5
