from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from skimage.metrics import peak_signal_noise_ratio

from mezzotint.errors import InputError, UsageError
from mezzotint.quality import protocols, psnr

NAMES = protocols.names()


def picture(seed: int, size: tuple[int, int] = (40, 36), channels: int = 3) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (*size, channels), dtype=np.uint8)


@pytest.mark.parametrize("protocol", NAMES)
def test_equal_pictures_are_infinitely_good(protocol):
    reference = np.clip(picture(0), 20, 200)
    assert psnr(reference, reference, protocol=protocol) == math.inf


def test_one_level_everywhere_is_48_13_db():
    reference = np.full((32, 32, 3), 100, np.uint8)
    assert psnr(reference, reference + 1, protocol="rgb-full") == pytest.approx(48.130804, abs=1e-6)


def test_studio_luma_lies_1_32_db_above_full_range():
    reference = np.repeat(picture(1, channels=1), 3, axis=2)
    other = np.repeat(picture(2, channels=1), 3, axis=2)
    difference = psnr(reference, other, protocol="y-modern") - psnr(reference, other, protocol="rgb")
    assert difference == pytest.approx(20 * math.log10(255 / 219), abs=1e-9)


def test_equals_scikit_image_inside_the_border():
    a, b = picture(3), picture(4)
    expected = peak_signal_noise_ratio(a[3:-3, 3:-3], b[3:-3, 3:-3], data_range=255)
    assert psnr(a, b, protocol="rgb", scale=3) == pytest.approx(expected, abs=1e-12)
    assert psnr(a, b, protocol="rgb-full", scale=3) == pytest.approx(
        peak_signal_noise_ratio(a, b, data_range=255), abs=1e-12
    )


def test_errors_in_the_border_do_not_count():
    a = np.clip(picture(5), 20, 200)
    b = a.copy()
    b[:4] = 0
    b[:, -4:] = 0
    assert psnr(a, b, protocol="y-modern", scale=4) == math.inf
    assert psnr(a, b, protocol="y-modern", scale=3) < 40
    assert psnr(a, b, protocol="rgb-full", scale=4) < 40


def test_classic_clamps_the_candidate_only():
    reference = np.full((20, 20), 128, np.uint8)
    assert psnr(reference, np.full((20, 20), 255, np.uint8), protocol="y-classic") == pytest.approx(
        20 * math.log10(255 / (235 - 128)), abs=1e-12
    )
    white = np.full((20, 20), 255, np.uint8)
    assert psnr(white, white, protocol="y-classic") == pytest.approx(20 * math.log10(255 / 20), abs=1e-12)


def test_classic_rounds_luma():
    a = np.full((20, 20, 3), 100, np.uint8)
    b = a.copy()
    b[..., 2] = 101  # luma + 0.0979: vanishes in whole levels
    assert psnr(a, b, protocol="y-classic") == math.inf
    assert psnr(a, b, protocol="y-modern") == pytest.approx(20 * math.log10(255 / (24.966 / 255)), abs=1e-9)


def test_classic_takes_one_channel_as_luma_of_a_colour_picture_and_reduces_colour_for_a_grey_one():
    colour = np.clip(picture(6), 20, 200)
    luma = np.floor(16 + colour @ np.array([65.481, 128.553, 24.966]) / 255 + 0.5)
    assert psnr(colour, (luma / 255)[..., None], protocol="y-classic") == math.inf
    grey = np.clip(picture(7, channels=1), 16, 235)
    assert psnr(grey, np.repeat(grey, 3, axis=2), protocol="y-classic") == math.inf


def test_a_batch_equals_its_pictures():
    first = torch.rand(3, 3, 24, 20, generator=torch.Generator().manual_seed(0))
    second = torch.rand(3, 3, 24, 20, generator=torch.Generator().manual_seed(1))
    together = psnr(first, second)
    assert together.shape == (3,) and together.dtype == torch.float64
    for index in range(3):
        assert psnr(first[index], second[index]) == together[index]
        array = psnr(first[index].permute(1, 2, 0).numpy(), second[index].permute(1, 2, 0).numpy())
        assert array == together[index].item()


def test_bad_arguments_are_refused():
    a = picture(8)
    with pytest.raises(InputError, match="36x40 and 36x38"):
        psnr(a, a[:38])
    with pytest.raises(UsageError, match="did you mean y-modern"):
        psnr(a, a, protocol="y-moder")
    for scale in (0.5, 0, -4, math.nan, math.inf):
        with pytest.raises(UsageError, match="scale"):
            psnr(a, a, scale=scale)
    with pytest.raises(InputError, match="leaves nothing"):
        psnr(a[:8, :8], a[:8, :8], scale=4)
    with pytest.raises(InputError, match="batches"):
        psnr(torch.zeros(2, 3, 20, 20), torch.zeros(3, 3, 20, 20))
