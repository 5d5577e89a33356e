"""The directories of a TIFF file: what its tags say, before a library is let at it."""

from __future__ import annotations

import os
import struct
import sys
from dataclasses import dataclass
from typing import BinaryIO

import numpy as np

# Tags, TIFF 6.0 section 8 and Adobe's supplements.
_SUBFILE, _WIDTH, _HEIGHT, _BITS, _COMPRESSION, _PHOTOMETRIC = 254, 256, 257, 258, 259, 262
_STRIP_OFFSETS, _STRIP_BYTES = 273, 279
_SAMPLES, _ROWS_PER_STRIP, _PLANAR, _TILE_WIDTH, _TILE_HEIGHT = 277, 278, 284, 322, 323
_INK_SET, _EXTRA, _FORMAT, _X_RESOLUTION, _Y_RESOLUTION, _UNIT = 332, 338, 339, 282, 283, 296
_WIDTHS = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}
_INTEGERS = {1: "B", 3: "H", 4: "I", 6: "b", 8: "h", 9: "i", 13: "I", 16: "Q", 17: "q", 18: "Q"}
_REDUCED_OR_MASK = 0b101
_MOST_ENTRIES = 4096
_MOST_PAGES = 10_000
_MOST_BLOCKS = 20_000_000
# Far more values than a picture of five channels has; what is longer is none of the tags that are looked at.
_MOST_VALUES = 64

GREY_FROM_WHITE, GREY, RGB, PALETTE, CMYK, YCBCR = 0, 1, 2, 3, 5, 6
UNSIGNED, FLOAT = 1, 3


class TiffError(ValueError):
    """What is wrong with a file, in half a sentence."""


@dataclass(frozen=True)
class Directory:
    """The first picture of a file.

    `bits`, `sample_format`: of each sample, those of the first if they agree, else None. `extra`: kinds of the samples
    beyond the colours (0 unknown, 1 premultiplied alpha, 2 alpha). `tile`: (width, height), None for strips. `pages`:
    pictures in the file, small copies and masks not counted. `resolution`: dots an inch.
    """

    width: int
    height: int
    bits: int | None
    sample_format: int | None
    samples: int
    photometric: int
    compression: int
    separate: bool
    extra: tuple[int, ...]
    ink_set: int
    tile: tuple[int, int] | None
    rows_per_strip: int
    pages: int
    resolution: tuple[float, float] | None

    @property
    def block_bytes(self) -> int:
        """Bytes of one strip or tile when unfolded."""
        width, height = self.tile or (self.width, min(self.height, self.rows_per_strip))
        return width * height * (1 if self.separate else self.samples) * max(1, (self.bits or 8) // 8)


def directory(file: BinaryIO) -> Directory:
    """The tags of the first picture in a TIFF or BigTIFF. Raises TiffError where they make no sense."""
    reader = _Reader(file)
    tags, following = reader.tags(reader.first)
    pages, seen = 1, {reader.first}
    while following and following not in seen and pages < _MOST_PAGES:
        seen.add(following)
        try:
            other, following = reader.tags(following)
        except TiffError:
            break  # the chain ends in rubbish, which libraries overlook too
        if not reader.number(other, _SUBFILE, 0) & _REDUCED_OR_MASK:
            pages += 1
    width, height = reader.number(tags, _WIDTH, 0), reader.number(tags, _HEIGHT, 0)
    if width < 1 or height < 1:
        raise TiffError(f"it claims {width} x {height} pixels")
    tile = None
    if _TILE_WIDTH in tags:
        tile = reader.number(tags, _TILE_WIDTH, 0), reader.number(tags, _TILE_HEIGHT, 0)
        if tile[0] < 1 or tile[1] < 1:
            raise TiffError(f"it claims tiles of {tile[0]} x {tile[1]} pixels")
    reader.check_samples(tags, tiled=tile is not None)
    bits, formats = set(reader.numbers(tags, _BITS) or (1,)), set(reader.numbers(tags, _FORMAT) or (1,))
    return Directory(
        width=width,
        height=height,
        bits=bits.pop() if len(bits) == 1 else None,
        sample_format=formats.pop() if len(formats) == 1 else None,
        samples=reader.number(tags, _SAMPLES, 1),
        photometric=reader.number(tags, _PHOTOMETRIC, -1),
        compression=reader.number(tags, _COMPRESSION, 1),
        separate=reader.number(tags, _PLANAR, 1) == 2,
        extra=reader.numbers(tags, _EXTRA),
        ink_set=reader.number(tags, _INK_SET, 1),
        tile=tile,
        rows_per_strip=max(1, reader.number(tags, _ROWS_PER_STRIP, height)),
        pages=pages,
        resolution=reader.resolution(tags),
    )


def head_of_samples(shape: tuple[int, ...], *, bits: int, is_float: bool) -> bytes:
    """The head of a BigTIFF in machine order whose samples, h w n and not compressed, follow at once.

    So samples in a file of ours reach a library through the one format that it reads strip by strip.
    """
    height, width, samples = shape
    row = width * samples * bits // 8
    rows = max(1, (1 << 18) // row)
    strips = -(-height // rows)
    entries = [
        (_WIDTH, "I", [width]),
        (_HEIGHT, "I", [height]),
        (_BITS, "H", [bits] * samples),
        (_COMPRESSION, "H", [1]),
        (_PHOTOMETRIC, "H", [GREY]),
        (_STRIP_OFFSETS, "Q", [0] * strips),
        (_SAMPLES, "H", [samples]),
        (_ROWS_PER_STRIP, "I", [rows]),
        (_STRIP_BYTES, "Q", [row * min(rows, height - top) for top in range(0, height, rows)]),
        (_PLANAR, "H", [1]),
    ]
    if samples > 1:
        entries.append((_EXTRA, "H", [0] * (samples - 1)))
    entries.append((_FORMAT, "H", [FLOAT if is_float else UNSIGNED] * samples))
    order = "<" if sys.byteorder == "little" else ">"
    at = 16 + 8 + 20 * len(entries) + 8
    start = at + sum(max(0, -(-struct.calcsize(f"={len(values)}{form}") // 8) * 8) for _, form, values in entries)
    directory, after = struct.pack(order + "Q", len(entries)), b""
    for tag, form, values in entries:
        if tag == _STRIP_OFFSETS:
            values = [start + row * top for top in range(0, height, rows)]
        field = struct.pack(f"{order}{len(values)}{form}", *values)
        directory += struct.pack(order + "HHQ", tag, {"H": 3, "I": 4, "Q": 16}[form], len(values))
        if len(field) <= 8:
            directory += field.ljust(8, b"\0")
        else:
            directory += struct.pack(order + "Q", at + len(after))
            after += field.ljust(-(-len(field) // 8) * 8, b"\0")
    head = (b"II" if order == "<" else b"MM") + struct.pack(order + "HHHQ", 43, 8, 0, 16)
    return (head + directory + bytes(8) + after).ljust(start, b"\0")


def forget_resolution(file: BinaryIO) -> None:
    """Say in the first directory of a file that its resolution has no unit, which is to say that none is known."""
    _Reader(file).overwrite_short(_UNIT, 1)


class _Reader:
    """Numbers out of a file in its byte order, classic or BigTIFF."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        file.seek(0)
        head = file.read(16)
        self._order = "<" if head[:2] == b"II" else ">"
        if len(head) < 8:
            raise TiffError("its head is cut short")
        (version,) = struct.unpack_from(self._order + "H", head, 2)
        self._big = version == 43
        if self._big and len(head) < 16:
            raise TiffError("its head is cut short")
        (self.first,) = struct.unpack_from(self._order + ("Q" if self._big else "I"), head, 8 if self._big else 4)

    def tags(self, offset: int) -> tuple[dict[int, tuple[int, int, bytes]], int]:
        """tag -> (type, count, the four or eight bytes of its entry), and the offset of the next directory."""
        count_form, entry, end_form = ("Q", 20, "Q") if self._big else ("H", 12, "I")
        head = self._at(offset, struct.calcsize(count_form))
        (count,) = struct.unpack(self._order + count_form, head)
        if not 1 <= count <= _MOST_ENTRIES:
            raise TiffError(f"a directory of it claims {count} tags")
        size = count * entry
        body = self._at(offset + len(head), size)
        tags = {}
        for at in range(0, size, entry):
            tag, kind, number = struct.unpack_from(self._order + ("HHQ" if self._big else "HHI"), body, at)
            tags.setdefault(tag, (kind, number, body[at + entry - (8 if self._big else 4) : at + entry]))
        end = struct.calcsize(end_form)
        tail = self._at(offset + len(head) + size, end, strict=False)
        return tags, struct.unpack(self._order + end_form, tail)[0] if len(tail) == end else 0

    def overwrite_short(self, tag: int, value: int) -> None:
        """Change the one short number of a tag of the first directory, where it is there."""
        head, entry = (8, 20) if self._big else (2, 12)
        for index, found in enumerate(self.tags(self.first)[0]):
            if found == tag:
                self._file.seek(self.first + head + index * entry + (12 if self._big else 8))
                self._file.write(struct.pack(self._order + "H", value))

    def values(self, tags: dict[int, tuple[int, int, bytes]], tag: int) -> tuple[int, bytes, int]:
        """(type, bytes, count) of a tag; count 0 where it is not there or too long to matter."""
        kind, count, field = tags.get(tag, (0, 0, b""))
        width = _WIDTHS.get(kind, 0)
        if not width or not 0 < count <= _MOST_VALUES:
            return 0, b"", 0
        size = width * count
        if size > len(field):
            (offset,) = struct.unpack(self._order + ("Q" if self._big else "I"), field)
            field = self._at(offset, size, strict=False)
        return (kind, field[:size], count) if len(field) >= size else (0, b"", 0)

    def numbers(self, tags: dict[int, tuple[int, int, bytes]], tag: int) -> tuple[int, ...]:
        """The integers of a tag, none where it is missing."""
        kind, field, count = self.values(tags, tag)
        return struct.unpack(f"{self._order}{count}{_INTEGERS[kind]}", field) if kind in _INTEGERS else ()

    def number(self, tags: dict[int, tuple[int, int, bytes]], tag: int, default: int) -> int:
        """The first integer of a tag."""
        return next(iter(self.numbers(tags, tag)), default)

    def check_samples(self, tags: dict[int, tuple[int, int, bytes]], *, tiled: bool) -> None:
        """Raise TiffError where strips or tiles lie beyond the end of the file, which libraries read as zeros."""
        end = self._file.seek(0, os.SEEK_END)
        columns = [self._column(tags, tag) for tag in ((324, 325) if tiled else (_STRIP_OFFSETS, _STRIP_BYTES))]
        count = min(len(column) for column in columns)
        offsets, sizes = (column[:count].astype(np.float64) for column in columns)
        if count and (offsets + sizes).max() > end:
            raise TiffError("its samples lie beyond its end")

    def _column(self, tags: dict[int, tuple[int, int, bytes]], tag: int) -> np.ndarray:
        kind, count, field = tags.get(tag, (0, 0, b""))
        if kind not in (3, 4, 13, 16, 18):
            return np.zeros(0, np.uint64)
        if count > _MOST_BLOCKS:
            raise TiffError(f"it claims {count:,} strips or tiles")
        if count * _WIDTHS[kind] > len(field):
            (offset,) = struct.unpack(self._order + ("Q" if self._big else "I"), field)
            field = self._at(offset, count * _WIDTHS[kind])
        return np.frombuffer(field, f"{self._order}u{_WIDTHS[kind]}", count)

    def resolution(self, tags: dict[int, tuple[int, int, bytes]]) -> tuple[float, float] | None:
        """Dots an inch; None where they are not stated, or without a unit."""
        unit = {2: 1.0, 3: 2.54}.get(self.number(tags, _UNIT, 2))
        found = []
        for tag in (_X_RESOLUTION, _Y_RESOLUTION):
            kind, field, _ = self.values(tags, tag)
            if kind != 5 or unit is None:
                return None
            above, below = struct.unpack_from(self._order + "II", field)
            if not above or not below:
                return None
            found.append(above / below * unit)
        return found[0], found[1]

    def _at(self, offset: int, size: int, *, strict: bool = True) -> bytes:
        if offset >= 1 << 62:
            raise TiffError("an offset of it lies beyond its end")
        self._file.seek(offset)
        data = self._file.read(size)
        if strict and len(data) < size:
            raise TiffError("its directory is cut short")
        return data
