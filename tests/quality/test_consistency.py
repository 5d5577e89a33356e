from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from mezzotint.errors import InputError, UsageError
from mezzotint.operators.resize import imresize, imresize_uint8
from mezzotint.quality import consistency, lr_psnr, lr_psnr_float


def picture(height: int = 48, width: int = 40) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)


def small(large: np.ndarray, scale: int) -> np.ndarray:
    tensor = torch.from_numpy(large).permute(2, 0, 1)
    return imresize_uint8(tensor, scale=1 / scale).permute(1, 2, 0).numpy()


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_the_true_picture_is_perfectly_consistent(scale):
    large = picture(48, 36)
    assert lr_psnr(large, small(large, scale), scale=scale) == math.inf


def test_float_form_sees_no_rounding():
    large = torch.rand(1, 3, 48, 40, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    x = imresize(large, scale=0.25)
    assert lr_psnr_float(large, x.clamp(0, 1)).item() > 200
    assert consistency(large, x.clamp(0, 1)).item() < 1e-20


def test_one_level_off_in_the_small_picture():
    large = np.full((32, 32, 3), 100, np.uint8)
    x = np.full((8, 8, 3), 101, np.uint8)
    assert lr_psnr(large, x) == pytest.approx(48.130804, abs=1e-6)
    assert lr_psnr_float(large, x) == pytest.approx(48.130804, abs=1e-6)


def test_sr3_figures_in_decibels():
    # the pairs of SR3's table: 2.68e-5 is 45.7 dB, 161.1e-5 27.9 dB
    x = np.full((8, 8, 3), 0.5)
    for error, expected in ((2.68e-5, 45.7), (161.1e-5, 27.9), (33.8e-5, 34.7)):
        large = np.full((32, 32, 3), 0.5 + math.sqrt(error))
        assert consistency(large, x) == pytest.approx(error, rel=1e-9)
        assert lr_psnr_float(large, x) == pytest.approx(expected, abs=0.05)
        assert 10 * math.log10(1 / consistency(large, x)) == pytest.approx(lr_psnr_float(large, x))


def test_overshoot_is_measured_before_it_is_clipped():
    large, x = np.full((32, 32, 3), 1.1), np.ones((8, 8, 3))
    assert lr_psnr_float(large, x) == pytest.approx(20, abs=1e-9)
    with pytest.raises(InputError):
        lr_psnr(large, x)


def test_sizes_must_fit_the_scale():
    large = picture()
    with pytest.raises(InputError, match="not 4 times"):
        lr_psnr(large, small(large, 2), scale=4)
    with pytest.raises(InputError, match="channels"):
        lr_psnr(large, small(large, 4)[..., :1])
    with pytest.raises(UsageError, match="scale"):
        lr_psnr(large, small(large, 4), scale=0)


def test_a_batch_equals_its_pictures():
    large = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    x = torch.rand(2, 3, 8, 8, generator=torch.Generator().manual_seed(2))
    for measure in (lr_psnr, lr_psnr_float, consistency):
        assert measure(large, x).tolist() == [measure(large[i], x[i]).item() for i in range(2)]
