from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mezzotint.errors import InputError
from mezzotint.quality.levels import as_figures, to_levels, to_unit

LEVELS = np.arange(256, dtype=np.uint8).reshape(16, 16)


def test_every_form_of_one_picture_gives_the_same_levels():
    rgb = np.stack((LEVELS, LEVELS.T, 255 - LEVELS), axis=2)
    tensor = torch.from_numpy(rgb).permute(2, 0, 1)
    expected = rgb.transpose(2, 0, 1)[None].astype(np.float64)
    forms = [
        rgb,
        rgb.astype(np.uint16) * 257,
        rgb / 255.0,
        (rgb / 255.0).astype(np.float32),
        tensor,
        tensor[None],
        tensor / 255,
        (tensor / 255)[None].double(),
    ]
    for form in forms:
        assert np.array_equal(to_levels(form), expected)
        assert to_levels(form).dtype == np.float64


def test_grey_is_accepted_with_and_without_a_channel():
    for form in (LEVELS, LEVELS[..., None], torch.from_numpy(LEVELS)[None]):
        assert to_levels(form).shape == (1, 1, 16, 16)


def test_float_levels_are_rounded_half_up():
    values = np.array([[0.5, 1.5, 2.5, 254.49, 254.51]]) / 255
    assert to_levels(values)[0, 0, 0].tolist() == [1, 2, 3, 254, 255]


@given(st.floats(0, 1))
def test_levels_are_at_most_half_a_level_away(value):
    level = to_levels(np.full((1, 1), value))[0, 0, 0, 0]
    assert abs(level - 255 * value) <= 0.5 + 1e-9
    assert level == int(level)


@pytest.mark.parametrize(
    ("picture", "words"),
    [
        (np.full((4, 4, 3), 200.0), "0, 1"),
        (np.full((4, 4, 3), -0.5), "[-1, 1]"),
        (np.full((4, 4, 3), np.nan), "not finite"),
        (np.full((4, 4, 3), np.inf), "not finite"),
        (np.zeros((4, 4, 4), np.uint8), "alpha"),
        (np.zeros((3, 4, 4, 3), np.uint8), "tensor (b, c, h, w)"),
        (np.zeros((4, 4, 3), np.int64), "int64"),
        (np.zeros((0, 4, 3), np.uint8), "no pixels"),
        (torch.zeros(4, 4), "(c, h, w)"),
        (torch.zeros(2, 4, 4, 3), "1 or 3 channels"),
        ("picture.png", "str"),
    ],
)
def test_what_is_no_picture_is_refused_in_one_line(picture, words):
    with pytest.raises(InputError) as caught:
        to_levels(picture, name="the candidate")
    assert words in str(caught.value)
    assert str(caught.value).startswith("the candidate")
    assert "\n" not in str(caught.value)


def test_one_nan_among_many_is_found():
    picture = np.full((4, 4, 3), 0.5)
    picture[2, 1, 0] = np.nan
    with pytest.raises(InputError, match="1 values"):
        to_unit(picture)


def test_unit_values_are_not_rounded():
    assert to_unit(np.full((2, 2), 0.123456789))[0, 0, 0, 0] == 0.123456789


def test_figures_take_the_form_of_the_input():
    assert as_figures([2.0], np.zeros((2, 2))) == 2.0
    assert isinstance(as_figures([2.0], np.zeros((2, 2))), float)
    assert as_figures([2.0], torch.zeros(1, 2, 2)).shape == ()
    assert as_figures([2.0, 3.0], torch.zeros(2, 1, 2, 2)).tolist() == [2.0, 3.0]
