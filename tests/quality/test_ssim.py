from __future__ import annotations

import numpy as np
import pytest
import torch
from skimage import data
from skimage.metrics import structural_similarity

from mezzotint.errors import InputError
from mezzotint.operators.resize import imresize_uint8
from mezzotint.quality import ssim
from mezzotint.quality.ssim import ssim_of_planes


def wang(a: np.ndarray, b: np.ndarray) -> float:
    return float(
        structural_similarity(
            a, b, gaussian_weights=True, sigma=1.5, use_sample_covariance=False, data_range=255, win_size=None
        )
    )


def camera_pair() -> tuple[np.ndarray, np.ndarray]:
    camera = torch.from_numpy(data.camera())
    return camera.numpy(), imresize_uint8(imresize_uint8(camera, scale=0.25), scale=4).numpy()


def test_camera_and_its_bicubic_copy():
    a, b = camera_pair()
    assert ssim(a, b, protocol="rgb-full") == pytest.approx(0.7475463, abs=5e-8)


def test_constant_pictures():
    a, b = np.full((32, 32), 100, np.uint8), np.full((32, 32), 120, np.uint8)
    assert ssim(a, b, protocol="rgb-full") == pytest.approx(0.9836109, abs=5e-8)


def test_a_negative_is_negative():
    camera = data.camera()
    assert ssim(camera, 255 - camera, protocol="rgb-full") == pytest.approx(-0.0942595, abs=5e-8)


@pytest.mark.parametrize("shape", [(11, 11), (11, 40), (75, 12), (74, 30), (139, 33)])
def test_equals_scikit_image(shape):
    # 64 rows of the map are summed at a time: the shapes lie on both sides of one and two strips
    generator = np.random.default_rng(sum(shape))
    a = generator.uniform(0, 255, shape)
    b = np.clip(a + generator.normal(0, 30, shape), 0, 255)
    assert abs(ssim_of_planes(a[None], b[None]) - wang(a, b)) < 1e-12


def test_equals_scikit_image_on_a_picture():
    a, b = (plane.astype(np.float64) for plane in camera_pair())
    assert abs(ssim_of_planes(a[None], b[None]) - wang(a, b)) < 1e-12


def test_is_symmetric_and_one_for_equal_pictures():
    a, b = camera_pair()
    assert ssim(a, b, protocol="rgb") == ssim(b, a, protocol="rgb")
    assert ssim(a, a, protocol="rgb") == pytest.approx(1, abs=1e-12)


def test_channels_are_averaged():
    generator = np.random.default_rng(0)
    a, b = generator.integers(0, 256, (2, 30, 30, 3), dtype=np.uint8)
    expected = np.mean([wang(a[..., channel].astype(float), b[..., channel].astype(float)) for channel in range(3)])
    assert ssim(a, b, protocol="rgb-full") == pytest.approx(expected, abs=1e-12)


def test_the_border_is_cut_off_first():
    generator = np.random.default_rng(1)
    a, b = generator.integers(0, 256, (2, 40, 40), dtype=np.uint8)
    inner = (slice(4, -4), slice(4, -4))
    assert ssim(a, b, protocol="rgb", scale=4) == ssim(a[inner], b[inner], protocol="rgb-full")


def test_a_batch_equals_its_pictures():
    a, b = torch.rand(2, 2, 3, 24, 24, generator=torch.Generator().manual_seed(0))
    assert torch.equal(ssim(a, b), torch.stack([ssim(a[0], b[0]), ssim(a[1], b[1])]))


def test_less_than_the_window_is_refused():
    a = np.zeros((18, 30, 3), np.uint8)
    with pytest.raises(InputError, match="22x10 pixels are left"):
        ssim(a, a, scale=4)
    assert ssim(a, a, protocol="rgb-full") == pytest.approx(1)
