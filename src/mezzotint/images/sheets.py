"""Pictures side by side on one sheet, with a line of text above each: to look at, not to measure on."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from functools import lru_cache
from xml.sax.saxutils import escape

import numpy as np

from mezzotint.errors import InputError
from mezzotint.images.libvips import libvips
from mezzotint.images.picture import Picture
from mezzotint.images.writing import write

_FONT = "sans 11"
_DPI = 96
_LINE = 20
_PAPER = 255


def side_by_side(
    pictures: Sequence[np.ndarray],
    *,
    labels: Sequence[str] = (),
    path: str | os.PathLike[str],
    gap: int = 8,
    overwrite: bool = True,
) -> None:
    """Write `pictures` (uint8 h w c, c = 1 or 3) in one row, each under its label, as a picture file at `path`.

    See `contact_sheet`. Raises InputError where the file cannot be written.
    """
    write(Picture(contact_sheet([pictures], labels=labels, gap=gap)), path, overwrite=overwrite)


def contact_sheet(rows: Sequence[Sequence[np.ndarray]], *, labels: Sequence[str] = (), gap: int = 8) -> np.ndarray:
    """A white sheet with `rows` of pictures (uint8 h w c, c = 1 or 3) and `labels` above the columns: uint8 h w 3.

    A picture smaller than the largest of its row is enlarged by a whole factor, every pixel repeated, as far as
    it stays within that, so that an input stands beside its enlargement at the same size. `gap`: white pixels
    between and around. Where the system has no font, the place of the labels stays white.
    Raises InputError for an empty sheet, another kind of array, or more labels than columns.
    """
    columns = max((len(row) for row in rows), default=0)
    if columns == 0:
        raise InputError("a sheet of no pictures: give at least one")
    if len(labels) > columns:
        raise InputError(f"{len(labels)} labels for {columns} columns of pictures: give at most one a column")
    # A Picture checks the type and the shape.
    cells = [_enlarged([_rgb(Picture(pixels).pixels) for pixels in row]) for row in rows]
    heights = [max(cell.shape[0] for cell in row) if row else 0 for row in cells]
    widths = [max(row[column].shape[1] for row in cells if column < len(row)) for column in range(columns)]
    texts = [_text(label) for label in labels]
    head = _LINE if labels else 0
    spaces = [max(width, texts[column].shape[1] if column < len(texts) else 0) for column, width in enumerate(widths)]
    sheet = np.full(
        (head + sum(heights) + gap * (len(rows) + 1), sum(spaces) + gap * (columns + 1), 3), _PAPER, np.uint8
    )
    lefts = [gap + sum(spaces[:column]) + gap * column for column in range(columns)]
    for left, text in zip(lefts, texts, strict=False):
        top = gap // 2
        sheet[top : top + _LINE, left : left + text.shape[1]] = _PAPER - text[: sheet.shape[0] - top, :, None]
    top = head + gap
    for row, height in zip(cells, heights, strict=True):
        for left, cell in zip(lefts, row, strict=False):
            sheet[top : top + cell.shape[0], left : left + cell.shape[1]] = cell
        top += height + gap
    return sheet


def _enlarged(row: list[np.ndarray]) -> list[np.ndarray]:
    height = max((cell.shape[0] for cell in row), default=0)
    width = max((cell.shape[1] for cell in row), default=0)
    factors = [min(height // cell.shape[0], width // cell.shape[1]) for cell in row]
    return [cell.repeat(factor, axis=0).repeat(factor, axis=1) for cell, factor in zip(row, factors, strict=True)]


def _rgb(pixels: np.ndarray) -> np.ndarray:
    return pixels.repeat(3, axis=2) if pixels.shape[2] == 1 else pixels


def _text(label: str) -> np.ndarray:
    """Ink (0 to 255) of one line of text on an area of `_LINE` rows; nothing where there is no font."""
    words = "".join(letter if letter.isprintable() else " " for letter in label).strip()
    if not words or not _has_font():
        return np.zeros((_LINE, 0), np.uint8)
    ink, across, down = _ink(words)
    height = min(ink.shape[0], _LINE - down)
    area = np.zeros((_LINE, across + ink.shape[1]), np.uint8)
    area[down : down + height, across:] = ink[:height]
    return area


def _ink(words: str) -> tuple[np.ndarray, int, int]:
    """The ink and its offset from the left end and the top of the line."""
    image = libvips().Image.text(escape(words), font=_FONT, dpi=_DPI)
    ink = image.numpy().reshape(image.height, image.width)
    return ink, max(0, image.xoffset), min(max(0, image.yoffset), _LINE - 1)


@lru_cache(maxsize=1)
def _has_font() -> bool:
    # Without a configuration the font library complains on stderr before it goes on without fonts.
    configured = "FONTCONFIG_FILE" in os.environ or "FONTCONFIG_PATH" in os.environ
    if sys.platform.startswith("linux") and not configured and not os.path.exists("/etc/fonts/fonts.conf"):
        return False
    try:
        # Without a font every letter is the same empty box.
        return not np.array_equal(_ink("i")[0], _ink("W")[0])
    except libvips().Error:
        return False
