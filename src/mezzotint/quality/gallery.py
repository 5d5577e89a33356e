"""Crops of what an evaluation measured, kept while it runs, to be shown side by side in its report."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from mezzotint.errors import UsageError
from mezzotint.quality.crops import SIDE, choose_crops
from mezzotint.quality.evaluation import Scored
from mezzotint.quality.lpips import load_network, lpips_map

ERROR_GAIN = 4
"""An error of 64 levels or more is white in `error_map`."""
LPIPS_GAIN = 255
"""A local LPIPS of 1 or more is white in `perceptual_map`."""


@dataclass
class Shown:
    """The crops of one picture: where it lies, the reference, and each method's first result, uint8 (h, w, 3)."""

    row: int
    column: int
    reference: np.ndarray
    results: dict[str, np.ndarray] = field(default_factory=dict)


class Gallery:
    """One square crop of each picture, where it has most detail: what `evaluate` hands to `progress` goes to `add`.

    side: of the crop; a smaller picture is kept whole. A picture of ten methods takes half a megabyte.
    """

    def __init__(self, *, side: int = SIDE) -> None:
        if side < 1:
            raise UsageError(f"crops of {side} pixels show nothing: use for example {SIDE}")
        self.side = side
        self.pictures: dict[str, Shown] = {}

    def add(self, scored: Scored) -> None:
        """Keep the crop of one result; of a method with several seeds the first one."""
        shown = self.pictures.get(scored.picture)
        if shown is None:
            row, column = self._corner(scored)
            shown = Shown(row, column, self._cut(scored.reference, row, column))
            self.pictures[scored.picture] = shown
        if scored.method not in shown.results:
            shown.results[scored.method] = self._cut(scored.image, shown.row, shown.column)

    def _corner(self, scored: Scored) -> tuple[int, int]:
        height, width = scored.reference.shape[:2]
        if min(height, width) < SIDE:
            return 0, 0
        (crop,) = choose_crops([("", scored.picture, scored.reference)])
        return min(crop.row, max(height - self.side, 0)), min(crop.column, max(width - self.side, 0))

    def _cut(self, pixels: np.ndarray, row: int, column: int) -> np.ndarray:
        part = pixels[row : row + self.side, column : column + self.side]
        return np.repeat(part, 3 // part.shape[2], axis=2).copy()


def error_map(reference: np.ndarray, result: np.ndarray) -> np.ndarray:
    """Return the absolute error, averaged over channels, times `ERROR_GAIN`, as uint8 (h, w)."""
    error = np.abs(reference.astype(np.float64) - result).mean(axis=2)
    return np.clip(np.round(error * ERROR_GAIN), 0, 255).astype(np.uint8)


def perceptual_map(reference: np.ndarray, result: np.ndarray) -> np.ndarray | None:
    """Return the LPIPS map times `LPIPS_GAIN` as uint8 (h, w), or None for a crop too small for AlexNet."""
    if min(reference.shape[:2]) < load_network("alex").smallest:
        return None
    return np.clip(np.round(lpips_map(reference, result) * LPIPS_GAIN), 0, 255).astype(np.uint8)
