from __future__ import annotations

import numpy as np
import pytest
import torch
from skimage import data
from skimage.metrics import structural_similarity

from mezzotint.errors import InputError, UsageError
from mezzotint.operators.resize import imresize_uint8
from mezzotint.quality import ms_ssim, ssim, ssim_maps
from mezzotint.quality.ssim import _halved, maps_of_planes, ms_ssim_of_planes, ssim_of_planes


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


@pytest.mark.parametrize("shape", [(11, 11), (11, 40), (26, 30), (27, 12), (42, 33), (75, 20)])
def test_equals_scikit_image(shape):
    # 16 rows of the map are summed at a time: the shapes lie on both sides of one and two strips
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


def by_the_paper(a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Luminance, contrast and structure at every position, window by window, as equations 6, 9 and 10 say."""
    distance = np.arange(11) - 5
    weights = np.exp(-(distance**2) / (2 * 1.5**2))
    weights = np.outer(weights, weights) / np.outer(weights, weights).sum()
    c1, c2 = 6.5025, 58.5225
    shape = (a.shape[0] - 10, a.shape[1] - 10)
    luminance, contrast, structure = (np.zeros(shape) for _ in range(3))
    for row, column in np.ndindex(shape):
        first, second = (plane[row : row + 11, column : column + 11] for plane in (a, b))
        mean_a, mean_b = (weights * first).sum(), (weights * second).sum()
        deviation_a, deviation_b = (
            np.sqrt((weights * (part - mean) ** 2).sum()) for part, mean in ((first, mean_a), (second, mean_b))
        )
        covariance = (weights * (first - mean_a) * (second - mean_b)).sum()
        luminance[row, column] = (2 * mean_a * mean_b + c1) / (mean_a**2 + mean_b**2 + c1)
        contrast[row, column] = (2 * deviation_a * deviation_b + c2) / (deviation_a**2 + deviation_b**2 + c2)
        structure[row, column] = (covariance + c2 / 2) / (deviation_a * deviation_b + c2 / 2)
    return luminance, contrast, structure


def test_maps_are_the_three_factors_of_the_paper():
    generator = np.random.default_rng(3)
    a = generator.uniform(0, 255, (17, 20))
    b = np.clip(a + generator.normal(0, 60, a.shape), 0, 255)
    maps = maps_of_planes(a[None], b[None])
    for found, expected in zip((maps.luminance, maps.contrast, maps.structure), by_the_paper(a, b), strict=True):
        assert found.shape == (1, 7, 10)
        assert np.abs(found[0] - expected).max() < 1e-10


def test_the_product_of_the_maps_is_ssim():
    a, b = camera_pair()
    maps = ssim_maps(a, b, protocol="rgb-full")
    assert maps.combined().mean() == pytest.approx(ssim(a, b, protocol="rgb-full"), abs=1e-12)
    assert ssim(a, b, protocol="rgb-full", exponents=(1.0, 1.0, 1.0)) == ssim(a, b, protocol="rgb-full")


def test_exponents_weigh_the_factors():
    a, b = camera_pair()
    maps = ssim_maps(a, b)
    for exponents, expected in (
        ((0, 0, 0), np.ones(1)),
        ((1, 0, 0), maps.luminance),
        ((0, 1, 0), maps.contrast),
        ((0, 0, 1), maps.structure),
        ((0.5, 2, 3), maps.luminance**0.5 * maps.contrast**2 * maps.structure**3),
    ):
        assert ssim(a, b, exponents=exponents) == pytest.approx(expected.mean(), abs=1e-12)


def test_exponents_that_have_no_power_are_refused():
    camera = data.camera()[100:164, 200:264]
    with pytest.raises(UsageError, match="three finite numbers from 0"):
        ssim(camera, camera, exponents=(1, -1, 1))
    with pytest.raises(UsageError, match="three finite numbers"):
        ssim(camera, camera, exponents=(1, 1))  # type: ignore[arg-type]
    with pytest.raises(InputError, match="structure is negative .* whole exponent"):
        ssim(camera, 255 - camera, exponents=(1, 1, 0.5))
    assert ssim(camera, camera, exponents=(1, 1, 0.5)) == pytest.approx(1, abs=1e-12)


def test_maps_of_a_batch_are_refused():
    batch = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    with pytest.raises(InputError, match="batch of 2"):
        ssim_maps(batch, batch)


def test_several_scales_of_camera():
    a, b = camera_pair()
    assert ms_ssim(a, b, protocol="rgb-full") == pytest.approx(0.940731, abs=5e-7)


def test_several_scales_equal_pytorch_msssim(face):
    # pytorch-msssim 1.0.0, ms_ssim(data_range=255) in float64 with its float32 window; all sides stay even
    assert ms_ssim(*face, protocol="rgb-full") == pytest.approx(0.9633010, abs=1e-6)


def test_several_scales_are_the_product_of_single_ones():
    a, b = camera_pair()
    first, second = (plane[None, :176, :224].astype(np.float64) for plane in (a, b))
    expected = 1.0
    for level, weight in enumerate((0.0448, 0.2856, 0.3001, 0.2363, 0.1333)):
        maps = maps_of_planes(first, second)
        factor = maps.combined((1, 1, 1) if level == 4 else (0, 1, 1)).mean()
        expected *= factor**weight
        first, second = (
            plane.reshape(1, plane.shape[1] // 2, 2, plane.shape[2] // 2, 2).mean(axis=(2, 4)) if level < 4 else plane
            for plane in (first, second)
        )
    assert ms_ssim_of_planes(*(plane[None, :176, :224].astype(np.float64) for plane in (a, b))) == pytest.approx(
        expected, abs=1e-12
    )


def test_odd_sides_repeat_their_end():
    """A picture whose last column and row are doubled has the same scales but the first."""
    generator = np.random.default_rng(5)
    a, b = generator.uniform(0, 255, (2, 1, 161, 163))
    halves = [_halved(plane) for plane in (a, b)]
    assert halves[0].shape == (1, 81, 82)
    doubled = [np.pad(plane, ((0, 0), (0, 1), (0, 1)), mode="edge") for plane in (a, b)]
    assert all(np.array_equal(_halved(plane), half) for plane, half in zip(doubled, halves, strict=True))
    assert 0 <= ms_ssim_of_planes(a, b) < 0.1


def test_several_scales_are_symmetric_one_for_equal_pictures_and_never_negative():
    camera = data.camera()
    a, b = camera_pair()
    assert ms_ssim(a, b) == ms_ssim(b, a)
    assert ms_ssim(camera, camera) == pytest.approx(1, abs=1e-12)
    assert ms_ssim(camera, 255 - camera) == 0
    flat = np.full((161, 161), 100, np.uint8)
    assert ms_ssim(flat, flat, protocol="rgb-full") == pytest.approx(1, abs=1e-12)


def test_several_scales_need_161_pixels():
    a = np.zeros((168, 200), np.uint8)
    with pytest.raises(InputError, match="192x160 pixels are left to compare, MS-SSIM needs 161"):
        ms_ssim(a, a, protocol="rgb", scale=4)
    assert ms_ssim(a, a, protocol="rgb-full") == pytest.approx(1)
