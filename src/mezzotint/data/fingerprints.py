"""Fingerprints by which equal and nearly equal pictures are found, turned and mirrored ones too."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

SIDE = 32
_KEPT = 8
_THUMB = 16
NEAR_BITS = 10
NEAR_CORRELATION = 0.95

TURNS = (
    "as it is",
    "mirrored",
    "upside down, mirrored",
    "turned by 180 degrees",
    "transposed",
    "turned by 90 degrees",
    "turned by 270 degrees",
    "transposed the other way",
)
"""What was done to the second picture of a pair, by the number of `turned`."""


@dataclass(frozen=True, eq=False)
class Fingerprint:
    """Signs of the 63 lowest frequencies of luma shrunk to 32 x 32, and that picture at 16 x 16 (uint8, row by row).

    Bit 8 u + v is 1 where the coefficient of u vertical and v horizontal half waves is positive; bit 0 is not used.
    """

    bits: int
    thumb: bytes


def _shrink(side: int, to: int) -> np.ndarray:
    """Return the matrix (to, side) of means over equal parts of a side; pixels on an edge count by their share."""
    edges = np.linspace(0, side, to + 1)
    pixels = np.arange(side)
    overlap = np.minimum(edges[1:, None], pixels + 1) - np.maximum(edges[:-1, None], pixels)
    return np.clip(overlap, 0, None) * (to / side)


@lru_cache(maxsize=1)
def _waves() -> np.ndarray:
    k = np.arange(_KEPT)[:, None]
    return np.cos((2 * np.arange(SIDE) + 1) * k * np.pi / (2 * SIDE))


def fingerprint(levels: np.ndarray) -> Fingerprint:
    """Return the fingerprint of luma (h, w) in grey levels, of any size."""
    small = _shrink(levels.shape[0], SIDE) @ levels @ _shrink(levels.shape[1], SIDE).T
    waves = _waves() @ small @ _waves().T
    positive = (waves > 0).ravel()
    positive[0] = False
    halves = small.reshape(_THUMB, 2, _THUMB, 2).mean(axis=(1, 3))
    thumb = np.clip(np.rint(halves), 0, 255).astype(np.uint8)
    return Fingerprint(int(sum(1 << int(k) for k in np.flatnonzero(positive))), thumb.tobytes())


def turned(picture: np.ndarray, turn: int) -> np.ndarray:
    """Return (h, w) mirrored left and right (1), upside down (2), and then with rows as columns (4)."""
    if turn & 1:
        picture = picture[:, ::-1]
    if turn & 2:
        picture = picture[::-1]
    return picture.T if turn & 4 else picture


@lru_cache(maxsize=1)
def _odd() -> tuple[int, int]:
    rows = sum(1 << (8 * u + v) for u in range(8) for v in range(8) if u % 2)
    columns = sum(1 << (8 * u + v) for u in range(8) for v in range(8) if v % 2)
    return rows, columns


def turned_bits(bits: int, turn: int) -> int:
    """Return the bits of the turned picture.

    A mirror changes the signs of odd waves across it; a coefficient of exactly 0 is taken for a negative one, so flat
    pictures have no fingerprint to speak of.
    """
    rows, columns = _odd()
    if turn & 1:
        bits ^= columns
    if turn & 2:
        bits ^= rows
    if turn & 4:
        square = [(bits >> k) & 1 for k in range(64)]
        bits = sum(square[8 * v + u] << (8 * u + v) for u in range(8) for v in range(8))
    return bits & ~1


@dataclass(frozen=True)
class Near:
    """Two pictures, by their place in a list, that look the same: bits that differ, and what was done to the second."""

    first: int
    second: int
    distance: int
    turn: int


_COUNTS = np.array([bin(k).count("1") for k in range(1 << 16)], dtype=np.uint8)


def _distances(one: int, many: np.ndarray) -> np.ndarray:
    different = many ^ np.uint64(one)
    # In NumPy from 2.0 on, five times as fast.
    count = getattr(np, "bitwise_count", None)
    if count is not None:
        return count(different)
    return _COUNTS[different.view(np.uint16).reshape(len(many), 4)].sum(axis=1)


def near(prints: Sequence[Fingerprint]) -> tuple[Near, ...]:
    """Return every pair of pictures that look the same, each pair once, with the turn that fits best.

    At most 10 of 63 bits may differ, and the small pictures must correlate by 0.95 at least: photographs that share
    a horizon have similar bits. Time grows with the square of the number, about 3 s for 20 000. Crops of one another
    are not found, and pictures of one flat colour are left out.
    """
    bits = np.array([p.bits for p in prints], dtype=np.uint64)
    thumbs = np.stack([_normal(p.thumb) for p in prints]) if prints else np.zeros((0, _THUMB, _THUMB))
    flat = [not thumb.any() for thumb in thumbs]
    found = []
    for i in range(len(prints) - 1):
        if flat[i]:
            continue
        best: dict[int, Near] = {}
        for turn in range(8):
            distances = _distances(turned_bits(prints[i].bits, turn), bits[i + 1 :])
            for offset in np.flatnonzero(distances <= NEAR_BITS):
                j = i + 1 + int(offset)
                if flat[j] or float((turned(thumbs[i], turn) * thumbs[j]).sum()) < NEAR_CORRELATION:
                    continue
                candidate = Near(i, j, int(distances[offset]), turn)
                if j not in best or candidate.distance < best[j].distance:
                    best[j] = candidate
        found += [best[j] for j in sorted(best)]
    return tuple(found)


def _normal(thumb: bytes) -> np.ndarray:
    """Return a small picture with mean 0 and norm 1, zeros for a flat one."""
    picture = np.frombuffer(thumb, dtype=np.uint8).reshape(_THUMB, _THUMB).astype(np.float64)
    picture = picture - picture.mean()
    norm = np.linalg.norm(picture)
    return picture / norm if norm > _THUMB else np.zeros_like(picture)
