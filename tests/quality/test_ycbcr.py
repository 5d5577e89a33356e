from __future__ import annotations

import numpy as np
import pytest
from skimage.color import rgb2ycbcr

from mezzotint.quality.ycbcr import full_luma, studio_luma


def test_black_is_16_and_white_235():
    assert studio_luma(np.zeros((3, 1, 1))).item() == 16
    assert studio_luma(np.full((3, 1, 1), 255.0)).item() == pytest.approx(235, abs=1e-12)


def test_equals_scikit_image():
    rgb = np.random.default_rng(0).integers(0, 256, (3, 9, 7)).astype(np.uint8)
    expected = rgb2ycbcr(rgb.transpose(1, 2, 0))[..., 0]
    assert np.abs(studio_luma(rgb.astype(np.float64))[0] - expected).max() < 1e-12


def test_full_luma_of_grey_is_the_grey_level():
    grey = np.arange(256.0).reshape(1, 16, 16)
    assert np.abs(full_luma(np.repeat(grey, 3, axis=0)) - grey).max() < 1e-12
