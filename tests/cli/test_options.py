from __future__ import annotations

import pytest

from mezzotint import upscaler
from mezzotint.cli import options
from mezzotint.errors import UsageError


def test_limits_are_those_of_the_upscaler() -> None:
    assert options.LARGEST_SCALE == upscaler.SCALE_LIMIT
    assert options.SMALLEST_TILE == upscaler.SMALLEST_TILE


@pytest.mark.parametrize("text, value", [("4", 4.0), ("1.5", 1.5), ("64", 64.0), ("1e1", 10.0)])
def test_scale_is_read(text: str, value: float) -> None:
    assert options.scale(text) == value


@pytest.mark.parametrize("text", ["0", "-4", "nan", "inf", "1e9", "1", "0.5", "64.1", "four", "", "4x"])
def test_wrong_scale_is_named_with_the_way_out(text: str) -> None:
    with pytest.raises(UsageError, match="use for example --scale 4") as caught:
        options.scale(text)
    assert text in str(caught.value)


@pytest.mark.parametrize("text, value", [("auto", "auto"), ("none", None), ("16", 16), ("480", 480)])
def test_tile_is_read(text: str, value: object) -> None:
    assert options.tile(text) == value


@pytest.mark.parametrize("text", ["3", "15", "0", "-16", "12.5", "big", "nan"])
def test_wrong_tile_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="--tile auto"):
        options.tile(text)


def test_seed_reaches_the_largest_that_samples_leave_room_for() -> None:
    assert options.seed(str(options.LARGEST_SEED)) + 1000 < 2**64
    for text in ("-1", "x", "1.5", "nan", str(2**64)):
        with pytest.raises(UsageError, match="--seed"):
            options.seed(text)


def test_lists_of_numbers_are_read() -> None:
    assert options.reals("0, .5,1", option="--realism", low=0, high=1) == (0.0, 0.5, 1.0)
    assert options.integers("1,4,16", option="--steps", low=1) == (1, 4, 16)
    for text in ("0,7", "", "0,,1", "nan"):
        with pytest.raises(UsageError, match="--realism"):
            options.reals(text, option="--realism", low=0, high=1)
