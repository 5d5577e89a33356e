from __future__ import annotations

import numpy as np
import pytest
import torch
from skimage import data

from mezzotint.errors import InputError
from mezzotint.quality import colour_difference, colour_shift


def test_a_cast_is_found():
    picture = data.chelsea()[:60, :80] // 2 + 40
    cast = picture + np.array([6, 0, 8], np.uint8)
    assert colour_difference(picture, cast)[0] == pytest.approx([6, 0, 8], abs=1e-12)
    assert colour_shift(picture, cast) == pytest.approx(np.sqrt(100 / 3), abs=1e-12)
    assert colour_shift(picture, cast) == pytest.approx(colour_shift(cast, picture), abs=1e-12)


def test_what_moves_no_mean_is_no_shift():
    picture = data.chelsea()[:60, :80]
    assert colour_shift(picture, picture) == 0
    assert colour_shift(picture, picture[::-1, ::-1]) == pytest.approx(0, abs=1e-12)


def test_grey_is_taken_as_rgb_and_batches_are_their_pictures():
    grey = data.camera()[:32, :32]
    assert colour_difference(grey, np.stack([grey] * 3, axis=2)).tolist() == [[0, 0, 0]]
    batch = torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    found = colour_shift(batch, batch.flip(0))
    assert found.shape == (2,) and found[0] == pytest.approx(colour_shift(batch[0], batch[1]).item())


def test_bad_pictures_are_refused():
    with pytest.raises(InputError, match="differ in size"):
        colour_shift(np.zeros((4, 4, 3)), np.zeros((4, 5, 3)))
    with pytest.raises(InputError, match=r"\[0, 1\]"):
        colour_shift(np.zeros((4, 4, 3)), np.full((4, 4, 3), 9.0))
