from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from mezzotint.data.shrink import shrink
from mezzotint.errors import UsageError


def _noise(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(height * 1000 + width).integers(0, 256, (height, width, 3), dtype=np.uint8)


@pytest.mark.parametrize("factor", [1.25, 1.5, 2, 2.5, 2.75, 3, 4, 5, 6])
@pytest.mark.parametrize("size", [(40, 57), (61, 60), (33, 90), (71, 45)])
def test_shrink_gives_the_bytes_of_an_independent_library(size: tuple[int, int], factor: float) -> None:
    pixels = _noise(*size)
    height, width = int(size[0] // factor), int(size[1] // factor)
    expected = Image.fromarray(pixels).resize(
        (width, height), Image.Resampling.BICUBIC, box=(0, 0, width * factor, height * factor)
    )
    assert np.array_equal(shrink(pixels, factor=factor), np.asarray(expected))


def test_shrink_is_the_rounded_cubic_of_a_real_computation() -> None:
    signal = _noise(1, 48).astype(np.float64)[0, :, 0]
    pixels = np.broadcast_to(signal.astype(np.uint8)[None, :, None], (8, 48, 3)).copy()
    centre = 4 * (np.arange(12) + 0.5)
    u = np.abs((np.arange(48) + 0.5 - centre[:, None]) / 4)
    weights = np.where(u < 1, 1.5 * u**3 - 2.5 * u**2 + 1, np.where(u < 2, -0.5 * u**3 + 2.5 * u**2 - 4 * u + 2, 0))
    exact = weights @ signal / weights.sum(axis=1)
    found = shrink(pixels, factor=4)
    assert found.shape == (2, 12, 3)
    assert np.abs(found[1, :, 2] - exact.clip(0, 255)).max() <= 0.5 + 1e-4


def test_rows_go_first_only_in_very_high_pictures() -> None:
    very_high, high = _noise(102, 40), _noise(100, 40)
    turned = shrink(very_high.swapaxes(0, 1), factor=2).swapaxes(0, 1)
    assert np.array_equal(shrink(very_high, factor=2), turned)
    assert not np.array_equal(shrink(high, factor=2), shrink(high.swapaxes(0, 1), factor=2).swapaxes(0, 1))


@pytest.mark.parametrize("value", [0, 1, 128, 255])
def test_a_flat_picture_stays_flat(value: int) -> None:
    assert (shrink(np.full((20, 31, 3), value, np.uint8), factor=3) == value).all()


def test_extremes_neither_wrap_round_nor_overflow() -> None:
    board = ((np.indices((64, 64)) // 8).sum(axis=0) % 2 * 255).astype(np.uint8)[..., None].repeat(3, axis=2)
    small = shrink(board, factor=4)
    light = ((np.indices((16, 16)) // 2).sum(axis=0) % 2)[..., None].repeat(3, axis=2)
    assert (small[light == 1] > 200).all() and (small[light == 0] < 55).all()


def test_factor_one_changes_nothing() -> None:
    pixels = _noise(7, 5)
    assert np.array_equal(shrink(pixels, factor=1), pixels)


@pytest.mark.parametrize("factor", [0, -2, 8])
def test_an_impossible_factor_is_refused(factor: int) -> None:
    with pytest.raises(UsageError, match=f"5x7 pixels cannot be shrunk {factor} times: use 1 to 5"):
        shrink(_noise(7, 5), factor=factor)


@pytest.mark.parametrize("factor", [1.1, 2.6, 4 / 3])
def test_a_factor_that_is_no_multiple_of_a_quarter_is_refused(factor: float) -> None:
    with pytest.raises(UsageError, match="is no multiple of 1/4: use"):
        shrink(_noise(7, 9), factor=factor)


def test_other_than_bytes_is_refused() -> None:
    with pytest.raises(UsageError, match="uint8"):
        shrink(np.zeros((4, 4, 3)), factor=2)
