"""What the bytes of a picture file say about themselves, before any pixel is decoded.

Only the outermost structure is walked (PNG chunks, JPEG segments, RIFF chunks): the format, the depth, the
frames, and the parts that libvips neither reports nor keeps. Pixels are the business of libvips.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"

RECORD_KEYWORD = b"mezzotint"
_TEXT_CHUNKS = (b"tEXt", b"zTXt", b"iTXt")
_COLOUR_CHUNKS = (b"gAMA", b"cHRM", b"sRGB", b"cICP")
# Keywords of text chunks that libvips reads as metadata of their own, or that we write.
_OTHER_METADATA = (b"XML:com.adobe.xmp", b"Raw profile type", RECORD_KEYWORD)

_START_OF_FRAME = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_START_OF_SCAN = 0xDA
_END_OF_IMAGE = b"\xff\xd9"

_FOREIGN_BRANDS = {
    b"avif": "an AVIF picture",
    b"avis": "an AVIF sequence",
    b"heic": "an HEIC picture",
    b"heix": "an HEIC picture",
    b"hevc": "an HEIC sequence",
    b"mif1": "a HEIF picture",
    b"msf1": "a HEIF sequence",
    b"jxl ": "a JPEG XL picture",
    b"jp2 ": "a JPEG 2000 picture",
    b"crx ": "a camera's raw picture",
}
_FOREIGN_STARTS = (
    (b"GIF8", "a GIF picture"),
    (b"II*\0", "a TIFF picture or a camera's raw picture"),
    (b"MM\0*", "a TIFF picture or a camera's raw picture"),
    (b"II+\0", "a BigTIFF picture"),
    (b"MM\0+", "a BigTIFF picture"),
    (b"BM", "a BMP picture"),
    (b"\xff\x0a", "a JPEG XL picture"),
    (b"\0\0\0\x0cJXL ", "a JPEG XL picture"),
    (b"\0\0\0\x0cjP  ", "a JPEG 2000 picture"),
    (b"8BPS", "a Photoshop picture"),
    (b"%PDF", "a PDF document"),
    (b"v/1\x01", "an OpenEXR picture"),
    (b"#?RADIANCE", "a Radiance HDR picture"),
    (b"P5", "a PGM picture"),
    (b"P6", "a PPM picture"),
    (b"\0\0\1\0", "an icon file"),
    (b"\x93NUMPY", "a NumPy array"),
    (b"PK\3\4", "a zip archive"),
    (b"\x1f\x8b", "a gzip archive"),
    (b"version https://git-lfs", "a Git LFS pointer, not the picture itself"),
)


@dataclass(frozen=True)
class Facts:
    """What the container states; None where it states nothing.

    `depth`: bits a sample. `colours`: colour channels of a JPEG (4 is CMYK). `frames`: pictures in an
    animated PNG. `lossless`: whether the pixels were coded without loss. `resolution`: dots an inch, across
    and down, of a PNG. `chunks`: text and colour chunks of a PNG as (kind, body), to be carried over as they
    are. `complete`: False where the end that the format demands is missing.
    """

    depth: int | None = None
    colours: int | None = None
    frames: int = 1
    lossless: bool = False
    resolution: tuple[float, float] | None = None
    chunks: tuple[tuple[bytes, bytes], ...] = ()
    complete: bool = True


def recognise(data: bytes) -> str | None:
    """The format, "png", "jpeg" or "webp", from the first bytes; None for anything else."""
    if data.startswith(PNG_SIGNATURE):
        return "png"
    if data.startswith(b"\xff\xd8\xff"):
        return "jpeg"
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "webp"
    return None


def describe_foreign(data: bytes) -> str | None:
    """A noun phrase for a known kind of file that is not read, such as "a GIF picture"; None if unknown."""
    if data[4:8] == b"ftyp":
        return _FOREIGN_BRANDS.get(data[8:12], "a video or another ISO media file")
    for start, name in _FOREIGN_STARTS:
        if data.startswith(start):
            return name
    text = data[:512].lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if text.startswith((b"<svg", b"<?xml")) and b"<svg" in text:
        return "an SVG drawing"
    if text.startswith((b"<!doctype html", b"<html")):
        return "a web page"
    return None


def facts(data: bytes, *, kind: str) -> Facts:
    """The facts of `data`, a file of format `kind`; damage is left for the decoder to name."""
    if kind == "png":
        return _png_facts(data)
    if kind == "jpeg":
        return _jpeg_facts(data)
    return Facts(depth=8, lossless=any(name == b"VP8L" for name, _ in _riff_chunks(data)))


def png_with(data: bytes, *, drop: tuple[bytes, ...], insert: tuple[tuple[bytes, bytes], ...]) -> bytes:
    """The PNG `data` without chunks of the kinds `drop` and with the chunks `insert` before its pixels."""
    head, tail = [PNG_SIGNATURE], len(data)
    for kind, body, start in _png_chunks(data):
        if kind in (b"PLTE", b"IDAT"):
            tail = start
            break
        if kind not in drop:
            head.append(_png_chunk(kind, body))
    head.extend(_png_chunk(kind, body) for kind, body in insert)
    return b"".join(head) + data[tail:]


def _png_chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def _png_chunks(data: bytes) -> Iterator[tuple[bytes, bytes, int]]:
    """(kind, body, offset) of every whole chunk, up to the first that is cut short."""
    at = len(PNG_SIGNATURE)
    while at + 12 <= len(data):
        (length,) = struct.unpack_from(">I", data, at)
        if at + 12 + length > len(data):
            return
        yield data[at + 4 : at + 8], data[at + 8 : at + 8 + length], at
        at += 12 + length


def _png_facts(data: bytes) -> Facts:
    depth, frames, resolution = None, 1, None
    carried: list[tuple[bytes, bytes]] = []
    for kind, body, _ in _png_chunks(data):
        if kind == b"IDAT":
            break
        if kind == b"IHDR" and len(body) == 13:
            # A palette's indices may be shorter, its colours are always 8 bits.
            depth = 8 if body[9] == 3 else body[8]
        elif kind == b"acTL" and len(body) == 8:
            frames = struct.unpack(">I", body[:4])[0]
        elif kind == b"pHYs" and len(body) == 9 and body[8] == 1:
            across, down = struct.unpack(">II", body[:8])
            resolution = (across * 0.0254, down * 0.0254) if across and down else None
        elif kind in _COLOUR_CHUNKS or (kind in _TEXT_CHUNKS and not body.startswith(_OTHER_METADATA)):
            carried.append((kind, body))
    return Facts(depth=depth, frames=frames, lossless=True, resolution=resolution, chunks=tuple(carried))


def _jpeg_facts(data: bytes) -> Facts:
    depth, colours = None, None
    at = 2
    while at + 4 <= len(data) and data[at] == 0xFF:
        marker = data[at + 1]
        if marker == 0xFF:
            at += 1
            continue
        (length,) = struct.unpack_from(">H", data, at + 2)
        if marker in _START_OF_FRAME and at + 10 <= len(data):
            depth, colours = data[at + 4], data[at + 9]
        at += 2 + length
        if marker == _START_OF_SCAN:
            # A file whose tail was never filled in decodes without a warning; only this mark is missing.
            return Facts(depth=depth, colours=colours, complete=data.find(_END_OF_IMAGE, at) >= 0)
    return Facts(depth=depth, colours=colours)


def _riff_chunks(data: bytes) -> Iterator[tuple[bytes, int]]:
    """(name, offset of the body) of every chunk of a RIFF file."""
    at = 12
    while at + 8 <= len(data):
        (length,) = struct.unpack_from("<I", data, at + 4)
        yield data[at : at + 4], at + 8
        at += 8 + length + (length & 1)
