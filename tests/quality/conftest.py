from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from skimage import data

from mezzotint.operators.resize import imresize_uint8
from mezzotint.quality import published

Pair = tuple[np.ndarray, np.ndarray]


@pytest.fixture(scope="session")
def published_weights() -> Callable[[str], Path]:
    """Return the file of a measure's published weights; skips where they were not added."""

    def find(name: str) -> Path:
        path = published.find(name)
        if path is None:
            pytest.skip(f"no weights {name} in {published.user_folder()}: `mezzotint weights` says how to add them")
        return path

    return find


@pytest.fixture(scope="session")
def calibration_pairs() -> dict[str, Pair]:
    """Five pairs of TID2013 by name, with published scores; skips where they are not there.

    MEZZOTINT_CALIBRATION names a folder with ref_dir and dist_dir: ResultsCalibra of the wheel of pyiqa 0.1.16.
    """
    folder = Path(os.environ.get("MEZZOTINT_CALIBRATION", "/nowhere"))
    if not (folder / "ref_dir").is_dir():
        pytest.skip("no calibration pairs: set MEZZOTINT_CALIBRATION to ResultsCalibra of the wheel of pyiqa 0.1.16")
    return {
        name: (
            np.asarray(Image.open(folder / "ref_dir" / f"{name}.bmp").convert("RGB")),
            np.asarray(Image.open(folder / "dist_dir" / f"{name}.bmp").convert("RGB")),
        )
        for name in ("I03", "I04", "I06", "I08", "I19")
    }


@pytest.fixture(scope="session")
def face() -> Pair:
    """A part of the astronaut, uint8 (256, 256, 3), and its bicubic copy by 4."""
    picture = torch.from_numpy(data.astronaut()[:256, 100:356]).permute(2, 0, 1)
    copy = imresize_uint8(imresize_uint8(picture, scale=0.25), scale=4)
    return picture.permute(1, 2, 0).numpy(), copy.permute(1, 2, 0).numpy()
