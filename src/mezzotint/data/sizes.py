"""The size of a picture from the head of its file, so that a folder of thousands is known in seconds."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from mezzotint import images
from mezzotint.errors import InputError

_PNG = b"\x89PNG\r\n\x1a\n"
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_BARE = frozenset((0x01, *range(0xD0, 0xD9)))


def picture_size(path: Path) -> tuple[int, int]:
    """Return (height, width) of a picture as `images.read` hands it out, upright.

    PNG and JPEG without EXIF are known from their heads; any other file is decoded. Raises InputError where the
    file is missing, and for files that have to be decoded, where `images.read` does.
    """
    try:
        with path.open("rb") as file:
            found = _png(file) or _jpeg(file)
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror}): check the name and its permissions") from None
    if found is None:
        picture = images.read(path)
        found = (picture.height, picture.width)
    return found


def _png(file: BinaryIO) -> tuple[int, int] | None:
    file.seek(0)
    head = file.read(33)
    if len(head) < 33 or not head.startswith(_PNG) or head[12:16] != b"IHDR":
        return None
    # The chunks before the pixels: EXIF may turn the picture, and several frames are refused by the reader.
    while len(begin := file.read(8)) == 8 and begin[4:] != b"IDAT":
        if begin[4:] in (b"eXIf", b"acTL"):
            return None
        file.seek(struct.unpack(">I", begin[:4])[0] + 4, 1)
    width, height = struct.unpack(">II", head[16:24])
    return height, width


def segments(file: BinaryIO) -> Iterator[tuple[int, bytes]]:
    """Yield (marker, body) of the segments of a JPEG up to its first scan; nothing for another file.

    Stops where the file is cut off or no marker stands where one must (ITU-T T.81, B.1.1).
    """
    file.seek(0)
    if file.read(2) != b"\xff\xd8":
        return
    while (byte := file.read(1)) == b"\xff":
        while byte == b"\xff":
            byte = file.read(1)
        if not byte or byte == b"\0":
            return
        marker = byte[0]
        if marker in _BARE:
            continue
        length = file.read(2)
        if len(length) < 2:
            return
        size = struct.unpack(">H", length)[0] - 2
        body = file.read(size) if size > 0 else b""
        if len(body) < size:
            return
        yield marker, body
        if marker == 0xDA:
            return


def _jpeg(file: BinaryIO) -> tuple[int, int] | None:
    for marker, body in segments(file):
        if marker == 0xE1 and body.startswith(b"Exif"):
            return None
        if marker in _FRAMES and len(body) >= 6:
            height, width = struct.unpack(">HH", body[1:5])
            # A height of 0 is given after the first scan.
            return (height, width) if height and width else None
    return None
