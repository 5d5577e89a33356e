"""Sheets: where the pictures stand, and that text is an extra."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from mezzotint import images as files
from mezzotint.errors import InputError
from mezzotint.images import sheets

RNG = np.random.default_rng(5)


def noise(height: int, width: int, channels: int = 3) -> np.ndarray:
    return RNG.integers(0, 255, (height, width, channels), dtype=np.uint8)


def test_pictures_stand_side_by_side_pixel_for_pixel(tmp_path: Path) -> None:
    large, grey, small = noise(40, 60), noise(40, 60, 1), noise(10, 15)
    sheets.side_by_side([large, grey, small], path=tmp_path / "sheet.png", gap=8)
    sheet = files.read(tmp_path / "sheet.png").pixels
    assert sheet.shape == (40 + 16, 60 * 3 + 8 * 4, 3)
    assert np.array_equal(sheet[8:48, 8:68], large)
    assert np.array_equal(sheet[8:48, 76:136], grey.repeat(3, 2))
    assert np.array_equal(sheet[8:48, 144:204], small.repeat(4, 0).repeat(4, 1))
    sheet = sheet.copy()
    for left in (8, 76, 144):
        sheet[8:48, left : left + 60] = 255
    assert (sheet == 255).all()


def test_a_small_picture_is_enlarged_to_its_row() -> None:
    rows = [[noise(10, 15), noise(40, 60)], [noise(40, 60), noise(13, 20)]]
    sheet = sheets.contact_sheet(rows, gap=2)
    assert sheet.shape == (40 * 2 + 6, 60 * 2 + 6, 3)
    assert np.array_equal(sheet[2:42, 2:62], rows[0][0].repeat(4, 0).repeat(4, 1))
    assert np.array_equal(sheet[44:83, 64:124], rows[1][1].repeat(3, 0).repeat(3, 1))
    flat = sheets.contact_sheet([[noise(1, 90), noise(40, 60)]], gap=0)
    assert flat.shape == (40, 150, 3)
    ragged = sheets.contact_sheet([[noise(5, 5), noise(5, 5)], [noise(5, 5)], []], gap=0)
    assert ragged.shape == (10, 10, 3)


def test_labels_are_ink_above_their_pictures() -> None:
    if not sheets._has_font():
        pytest.skip("no font on this machine")
    pictures = [noise(30, 90), noise(30, 90), noise(30, 90)]
    bare = sheets.contact_sheet([pictures], gap=8)
    labels = ["bicubic 28.42 dB", "", "a <b> & c\n"]
    sheet = sheets.contact_sheet([pictures], labels=labels, gap=8)
    extra = sheet.shape[0] - bare.shape[0]
    assert extra > 0
    starts = [column for column in range(sheet.shape[1]) if np.array_equal(sheet[8 + extra, column], pictures[1][0, 0])]
    assert starts
    strip = sheet[: 8 + extra]
    dark = (strip.min(axis=2) < 100).any(axis=0)
    left, middle, right = dark[: starts[0] - 8], dark[starts[0] : starts[0] + 90], dark[starts[0] + 90 :]
    assert left.any() and right.any() and not middle.any()
    assert np.array_equal(sheet[8 + extra : 38 + extra, starts[0] : starts[0] + 90], pictures[1])


def test_a_long_label_makes_its_column_wider_and_nothing_breaks() -> None:
    for label in (
        "a long label " * 9,
        "\u5317\u4eac \U0001f5bc \u0645\u0631\u062d\u0628\u0627",
        "&amp; <span",
        "\0\x1b[31m",
        "g\u0302\u0323" * 9,
    ):
        sheet = sheets.contact_sheet([[noise(4, 4), noise(4, 4)]], labels=[label, "b"], gap=1)
        assert sheet.shape[0] >= 6


NO_FONTS = """
import numpy as np
from mezzotint.images import sheets
sheet = sheets.contact_sheet([[np.zeros((30, 90, 3), np.uint8)]], labels=["some words"], gap=0)
print((sheet[:-30] == 255).all() and (sheet[-30:] == 0).all())
"""


def test_without_fonts_the_place_of_the_labels_stays_white(tmp_path: Path) -> None:
    (tmp_path / "fonts.conf").write_text("<fontconfig></fontconfig>")
    environment = {**os.environ, "FONTCONFIG_FILE": str(tmp_path / "fonts.conf")}
    done = subprocess.run([sys.executable, "-c", NO_FONTS], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout == "True\n" and done.stderr == ""


def test_what_cannot_be_on_a_sheet() -> None:
    for rows in ([], [[]], [[], []]):
        with pytest.raises(InputError, match="no pictures"):
            sheets.contact_sheet(rows)
    with pytest.raises(InputError, match="2 labels for 1 column"):
        sheets.contact_sheet([[noise(2, 2)]], labels=["a", "b"])
    with pytest.raises(InputError, match="picture"):
        sheets.contact_sheet([[np.zeros((2, 2, 3))]])
