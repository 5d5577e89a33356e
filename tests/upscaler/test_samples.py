from __future__ import annotations

import numpy as np
import pytest
import torch
from skimage.color import rgb2xyz

from mezzotint.errors import InputError, UsageError
from mezzotint.noise import picture_id
from mezzotint.upscaler.samples import Coding, check_range, survey

RNG = np.random.default_rng(3)


def _rows(dtype: type, channels: int, *, height: int = 9, width: int = 7) -> np.ndarray:
    values = RNG.random((height, width, channels))
    return values.astype(dtype) if np.issubdtype(dtype, np.floating) else (values * np.iinfo(dtype).max).astype(dtype)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize("space", ["grey", "rgb", "cmyk"])
@pytest.mark.parametrize("alpha", [False, True])
def test_samples_come_back_exactly(dtype: type, space: str, alpha: bool) -> None:
    coding = Coding(np.dtype(dtype), space, alpha)
    rows = _rows(dtype, coding.channels + alpha)
    x = coding.decode(rows)
    assert x.shape == (1, coding.channels + alpha, 9, 7) and float(x.min()) >= 0 and float(x.max()) <= 1
    assert np.array_equal(coding.encode(coding.levels(x)), rows)


def test_every_16_bit_level_comes_back() -> None:
    rows = np.arange(65536, dtype=np.uint16).reshape(256, 256, 1)
    coding = Coding(rows.dtype, "grey")
    assert np.array_equal(coding.encode(coding.levels(coding.decode(rows))), rows)


def test_integers_are_rounded_half_up() -> None:
    y = torch.tensor([0.0, 0.499, 0.5, 1.5, 254.4999, 254.5]).reshape(1, 1, 1, 6) / 255
    coding = Coding(np.dtype(np.uint8), "grey")
    assert coding.encode(coding.levels(y)).ravel().tolist() == [0, 0, 1, 2, 254, 255]


def test_a_range_is_mapped_and_alpha_is_not() -> None:
    coding = Coding(np.dtype(np.float32), "grey", True, low=-2.0, high=6.0)
    rows = np.array([[[-2.0, 0.25], [6.0, 1.0], [0.0, 0.0]]], np.float32)
    x = coding.decode(rows)
    assert torch.allclose(x[0, 0, 0], torch.tensor([0.0, 1.0, 0.25])) and x[0, 1, 0].tolist() == [0.25, 1.0, 0.0]
    assert np.allclose(coding.encode(x), rows)


def test_linear_light_is_worked_on_as_srgb() -> None:
    coding = Coding(np.dtype(np.float32), "rgb", linear=True)
    encoded = RNG.random((4, 5, 3))
    matrix = rgb2xyz(np.eye(3)[None])[0]
    linear = (rgb2xyz(encoded) @ np.linalg.inv(matrix)).astype(np.float32).clip(0, 1)
    assert np.allclose(coding.decode(linear)[0].permute(1, 2, 0), encoded, atol=1e-4)
    assert np.allclose(coding.encode(coding.decode(linear)), linear, atol=1e-5)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_the_survey_numbers_the_picture_and_sees_its_alpha(dtype: type) -> None:
    rows = _rows(dtype, 4, height=700)
    rows[..., 3].flat[5] = 0
    seen = survey(rows, Coding(np.dtype(dtype), "rgb", True))
    assert seen.number == picture_id(rows)
    assert seen.low == rows[..., :3].min() and seen.high == rows[..., :3].max()
    assert seen.is_transparent() and not seen.constant_alpha()
    rows[..., 3] = 1
    seen = survey(rows, Coding(np.dtype(dtype), "rgb", True))
    assert seen.constant_alpha() and not seen.is_transparent()
    rows[..., 3] = 0
    assert not survey(rows, Coding(np.dtype(dtype), "rgb", True)).is_transparent()


def test_values_outside_their_range_are_refused() -> None:
    rows = _rows(np.float32, 3)
    rows[0, 0, 0] = 1.5
    with pytest.raises(InputError, match=r"this one in \[.*, 1\.5\]: name its range with --range"):
        survey(rows, Coding(rows.dtype, "rgb"))
    survey(rows, Coding(rows.dtype, "rgb", high=1.5))
    rows[0, 0, 0] = np.nan
    with pytest.raises(InputError, match="not finite"):
        survey(rows, Coding(rows.dtype, "rgb"))
    alpha = np.full((2, 2, 4), 0.5, np.float32)
    alpha[0, 0, 3] = 2
    with pytest.raises(InputError, match="alpha of a float picture"):
        survey(alpha, Coding(alpha.dtype, "rgb", True))
    for bad in ((1.0, 0.0), (0.0, float("nan")), (2.0, 2.0)):
        with pytest.raises(UsageError, match="is no range"):
            check_range(bad, True)
    with pytest.raises(UsageError, match="leave --range out"):
        check_range((0.0, 255.0), False)
    assert check_range(None, False) == (0.0, 1.0)
