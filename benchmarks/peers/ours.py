"""mezzotint-x4 through the front door, as `mezzotint upscale` runs it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mezzotint import weights
from mezzotint.upscaler import load as load_upscaler


def load(settings: Mapping[str, Any], files: Sequence[Path]) -> tuple[Callable[[np.ndarray], np.ndarray], int]:
    """Return the enlargement by 4 with seed 0; `realism` None is the default of the model."""
    upscaler = load_upscaler("mezzotint-x4", device="cpu")
    (file,) = (item.path for item in weights.shipped() if item.name == "mezzotint-x4")

    def enlarge(x: np.ndarray) -> np.ndarray:
        return upscaler(x, scale=4, seed=0, realism=settings["realism"]).image

    return enlarge, file.stat().st_size
