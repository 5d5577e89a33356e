"""PBM, PGM, PPM and PFM files: a line of numbers, then samples. Read and written by rows, without a library."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

import numpy as np

from mezzotint.images.spool import Samples, strips

_KINDS = {b"P1": 1, b"P2": 1, b"P3": 3, b"P4": 1, b"P5": 1, b"P6": 3, b"Pf": 1, b"PF": 3}
_PLAIN = (b"P1", b"P2", b"P3")
_HEAD = 4096
_DIGITS = 12
# Characters of a plain file that are looked at in one go.
_PORTION = 1 << 20


class NetpbmError(ValueError):
    """What is wrong with a file, in half a sentence."""


@dataclass(frozen=True)
class Header:
    """What the head of a file says: its kind (P1 to P6, Pf, PF), size, largest value and byte order of floats.

    `start`: offset of the first sample.
    """

    kind: bytes
    width: int
    height: int
    largest: int
    little: bool
    start: int

    @property
    def channels(self) -> int:
        return _KINDS[self.kind]

    @property
    def is_float(self) -> bool:
        return self.kind in (b"Pf", b"PF")

    @property
    def dtype(self) -> np.dtype:
        """The type of the samples as they are handed out."""
        return np.dtype(np.float32 if self.is_float else np.uint8 if self.largest < 256 else np.uint16)

    @property
    def note(self) -> str | None:
        """What reading adapts, None if nothing."""
        if self.kind in (b"P1", b"P4"):
            return "1-bit grey expanded to 8 bits"
        if not self.is_float and self.largest not in (255, 65535):
            return f"samples of 0 to {self.largest} scaled to {8 if self.largest < 256 else 16} bits"
        return None


def header(file: BinaryIO) -> Header:
    """The head of a file. Raises NetpbmError for a damaged one."""
    file.seek(0)
    head = file.read(_HEAD)
    kind = head[:2]
    if kind not in _KINDS:
        raise NetpbmError("its head is not that of a PPM file")
    fields = _Fields(head, at=2)
    width, height = fields.integer("width"), fields.integer("height")
    if not (width and height):
        raise NetpbmError(f"it claims {width} x {height} pixels")
    largest, little = 1, False
    if kind in (b"Pf", b"PF"):
        text = fields.word("scale")
        try:
            scale = float(text)
        except ValueError:
            raise NetpbmError(f"its scale is {ascii(text.decode('latin-1'))}") from None
        if scale == 0 or not np.isfinite(scale):
            raise NetpbmError(f"its scale is {scale:g}")
        little = scale < 0
    elif kind not in (b"P1", b"P4"):
        largest = fields.integer("largest value")
        if not 1 <= largest <= 65535:
            raise NetpbmError(f"its largest value is {largest}, outside 1 to 65535")
    return Header(kind, width, height, largest, little, fields.end(strict=kind not in _PLAIN))


def bytes_needed(head: Header) -> int:
    """The least bytes that the file must have for all its samples."""
    count = head.width * head.height * head.channels
    if head.kind == b"P4":
        return head.start + (head.width + 7) // 8 * head.height
    if head.kind == b"P1":
        return head.start + count
    if head.kind in _PLAIN:
        return head.start + 2 * count - 1
    return head.start + count * (4 if head.is_float else 1 if head.largest < 256 else 2)


def rows(file: BinaryIO, head: Header) -> Iterator[tuple[slice, np.ndarray]]:
    """(rows, samples h w c) of the picture, some rows at a time; a PFM comes from the bottom up.

    Integers are scaled to the whole range of 8 or 16 bits, rounded half up: exact where that is possible.
    Raises NetpbmError for samples beyond the largest value and for a file that is too short.
    """
    shape = (head.height, head.width, head.channels)
    file.seek(head.start)
    plain = _PlainReader(file, head) if head.kind in _PLAIN else None
    for part in strips(shape, head.dtype):
        count = part.stop - part.start
        if plain is not None:
            samples = plain.take(count * head.width * head.channels)
        elif head.kind == b"P4":
            packed = _exactly(file, (head.width + 7) // 8 * count).reshape(count, -1)
            samples = np.unpackbits(packed, axis=1)[:, : head.width].ravel()
        elif head.is_float:
            samples = _exactly(file, count * head.width * head.channels * 4).view("<f4" if head.little else ">f4")
        elif head.largest < 256:
            samples = _exactly(file, count * head.width * head.channels)
        else:
            samples = _exactly(file, count * head.width * head.channels * 2).view(">u2")
        samples = samples.reshape(count, head.width, head.channels)
        if head.is_float:
            yield slice(head.height - part.stop, head.height - part.start), samples[::-1].astype(np.float32)
        else:
            yield part, _scaled(samples, head)


def is_followed(file: BinaryIO) -> bool:
    """Whether another picture follows in a file whose samples were read."""
    after = file.read(3)
    return after[:2] in _KINDS and after[2:].isspace()


def encoded_header(rows: Samples) -> bytes:
    """The head of a file of samples h w 1 or h w 3: P5, P6, Pf or PF."""
    height, width, channels = rows.shape
    if rows.dtype == np.float32:
        return b"%s\n%d %d\n-1.0\n" % (b"Pf" if channels == 1 else b"PF", width, height)
    largest = 255 if rows.dtype == np.uint8 else 65535
    return b"%s\n%d %d\n%d\n" % (b"P5" if channels == 1 else b"P6", width, height, largest)


def encoded_rows(rows: Samples) -> Iterator[bytes]:
    """The samples of a file after its head, some rows at a time."""
    height = rows.shape[0]
    for part in strips(rows.shape, rows.dtype):
        if rows.dtype == np.float32:
            yield np.ascontiguousarray(rows[height - part.stop : height - part.start][::-1], dtype="<f4").tobytes()
        else:
            yield np.ascontiguousarray(rows[part], dtype=">u2" if rows.dtype == np.uint16 else "u1").tobytes()


class _Fields:
    """The words of a head, between white space and comments."""

    def __init__(self, head: bytes, *, at: int) -> None:
        self._head, self._at = head, at

    def word(self, what: str) -> bytes:
        found = re.compile(rb"(?:\s|#[^\r\n]*[\r\n])*([^\s#]+)").match(self._head, self._at)
        if found is None or found.start(1) == self._at:
            raise NetpbmError(f"its {what} is missing")
        self._at = found.end()
        return found[1]

    def integer(self, what: str) -> int:
        text = self.word(what)
        if not text.isdigit() or len(text) > _DIGITS:
            raise NetpbmError(f"its {what} is {ascii(text[:20].decode('latin-1'))}")
        return int(text)

    def end(self, *, strict: bool) -> int:
        """The offset after the one white space that ends the head."""
        if not self._head[self._at : self._at + 1].isspace():
            if strict or self._at < len(self._head):
                raise NetpbmError("its head has no end")
            return self._at
        # A line end of two characters, as some programs write after the scale, is one white space too.
        return self._at + (2 if self._head[self._at : self._at + 2] == b"\r\n" else 1)


def _exactly(file: BinaryIO, count: int) -> np.ndarray:
    data = file.read(count)
    if len(data) < count:
        raise NetpbmError("its end is missing")
    return np.frombuffer(data, np.uint8)


class _PlainReader:
    """The numbers of a file in characters, as many as asked for."""

    def __init__(self, file: BinaryIO, head: Header) -> None:
        self._file, self._bitmap = file, head.kind == b"P1"
        self._pending = b""
        self._numbers = np.zeros(0, np.int64)
        file.seek(head.start)

    def take(self, count: int) -> np.ndarray:
        parts, held = [self._numbers], len(self._numbers)
        while held < count:
            more = self._portion()
            if more is None:
                raise NetpbmError("its end is missing")
            parts.append(more)
            held += len(more)
        numbers = np.concatenate(parts)
        self._numbers = numbers[count:]
        return numbers[:count]

    def _portion(self) -> np.ndarray | None:
        data = self._file.read(_PORTION)
        if not data and not self._pending:
            return None
        text = self._pending + data
        # A comment or a number may go on in the next portion.
        cut = max(text.rfind(b"\n"), text.rfind(b" "), text.rfind(b"\t")) + 1 if data else len(text)
        comment = text.rfind(b"#", 0, cut)
        if data and comment >= 0 and b"\n" not in text[comment:cut]:
            cut = comment
        text, self._pending = text[:cut], text[cut:]
        if len(self._pending) > _PORTION:
            raise NetpbmError("it holds something other than numbers")
        text = re.sub(rb"#[^\n]*", b" ", text)
        if re.search(rb"[^0-9\s]", text):
            raise NetpbmError("it holds something other than numbers")
        if self._bitmap:
            # The digits of a bitmap need nothing between them.
            return np.frombuffer(re.sub(rb"\s", b"", text), np.uint8).astype(np.int64) - ord("0")
        words = text.split()
        if any(len(word) > _DIGITS for word in words):
            raise NetpbmError("it holds a number beyond its largest value")
        return np.array([int(word) for word in words], np.int64)


def _scaled(samples: np.ndarray, head: Header) -> np.ndarray:
    if head.kind in (b"P1", b"P4"):
        if samples.size and samples.max() > 1:
            raise NetpbmError("it holds a number beyond its largest value")
        # 1 is black.
        return (1 - samples.astype(np.uint8)) * np.uint8(255)
    if samples.size and samples.max() > head.largest:
        raise NetpbmError(f"it holds the value {samples.max()}, and says that {head.largest} is the largest")
    peak = 255 if head.largest < 256 else 65535
    if head.largest == peak:
        return samples.astype(head.dtype)
    return ((samples.astype(np.int64) * (2 * peak) + head.largest) // (2 * head.largest)).astype(head.dtype)
