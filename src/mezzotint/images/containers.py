"""What the bytes of a picture file say about themselves, before any pixel is decoded.

Only the outermost structure is walked (PNG chunks, JPEG segments, RIFF chunks): the format, the depth, the
frames, and the parts that libvips neither reports nor keeps. Pixels are the business of libvips.
"""

from __future__ import annotations

import io
import os
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"

RECORD_KEYWORD = b"mezzotint"
_TEXT_CHUNKS = (b"tEXt", b"zTXt", b"iTXt")
_CARRIED_CHUNKS = (b"gAMA", b"cHRM", b"sRGB", b"cICP", b"tIME")
# Keywords of text chunks that libvips reads as metadata of their own, or that we write.
_OTHER_METADATA = (b"XML:com.adobe.xmp", b"Raw profile type", RECORD_KEYWORD)

# No text, profile or table of boxes is longer; what claims to be is not looked into.
_MOST_METADATA = 64 << 20
# A temporal delimiter, and the first byte of a sequence header with its length: how each stream of AV1 starts.
_AV1_START = b"\x12\0\x0a"

_START_OF_FRAME = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_PROGRESSIVE = (0xC2, 0xC6, 0xCA, 0xCE)
_START_OF_SCAN = 0xDA
_END_OF_IMAGE = b"\xff\xd9"

_AVIF_BRANDS = (b"avif", b"avis")
_NETPBM = (b"P1", b"P2", b"P3", b"P4", b"P5", b"P6", b"Pf", b"PF")
_NETPBM_AFTER = (b" ", b"\t", b"\n", b"\r", b"#")

_FOREIGN_BRANDS = {
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
    (b"BM", "a BMP picture"),
    (b"\xff\x0a", "a JPEG XL picture"),
    (b"\0\0\0\x0cJXL ", "a JPEG XL picture"),
    (b"\0\0\0\x0cjP  ", "a JPEG 2000 picture"),
    (b"8BPS", "a Photoshop picture"),
    (b"%PDF", "a PDF document"),
    (b"v/1\x01", "an OpenEXR picture"),
    (b"#?RADIANCE", "a Radiance HDR picture"),
    (b"P7\n", "a PAM picture"),
    (b"\0\0\1\0", "an icon file"),
    (b"\x93NUMPY", "a NumPy array"),
    (b"PK\3\4", "a zip archive"),
    (b"\x1f\x8b", "a gzip archive"),
    (b"version https://git-lfs", "a Git LFS pointer, not the picture itself"),
)


@dataclass(frozen=True)
class Facts:
    """What the container states; None where it states nothing.

    `depth`: bits a sample. `colours`: colour channels of a JPEG (4 is CMYK). `frames`: pictures of an animation, 0
    for one that does not say how many. `lossless`: whether the samples were coded without loss. `resolution`: dots
    an inch, across and down, of a PNG. `chunks`: text, time and colour chunks of a PNG as (kind, body), to be carried
    over as they are. `complete`: False where the end that the format demands is missing. `layered`: whether the
    samples come in several passes over the whole picture (interlaced PNG, progressive JPEG). `grey`: whether an AVIF
    holds a grey picture.
    """

    depth: int | None = None
    colours: int | None = None
    frames: int = 1
    lossless: bool = False
    resolution: tuple[float, float] | None = None
    chunks: tuple[tuple[bytes, bytes], ...] = ()
    complete: bool = True
    layered: bool = False
    grey: bool = False


def recognise(data: bytes) -> str | None:
    """The format, a key of `capabilities.TABLE`, from the first bytes; None for anything else."""
    if data.startswith(PNG_SIGNATURE):
        return "png"
    if data.startswith(b"\xff\xd8\xff"):
        return "jpeg"
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "webp"
    if data[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"):
        return "tiff"
    if data[4:8] == b"ftyp" and (data[8:12] in _AVIF_BRANDS or (data[8:12] == b"mif1" and b"avif" in data[16:64])):
        return "avif"
    if data[:2] in _NETPBM and data[2:3] in _NETPBM_AFTER:
        return "pfm" if data[1:2] in b"fF" else "ppm"
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


def facts(file: BinaryIO, *, kind: str) -> Facts:
    """The facts of a file of format `kind`; damage is left for the decoder to name."""
    if kind == "png":
        return _png_facts(file)
    if kind == "jpeg":
        return _jpeg_facts(file)
    if kind == "webp":
        return _webp_facts(file)
    return _avif_facts(file)


def png_head(
    begun: bytes, *, drop: tuple[bytes, ...], insert: tuple[tuple[bytes, bytes], ...]
) -> tuple[bytes, int] | None:
    """The head of the PNG that begins with `begun`, without chunks of the kinds `drop` and with the chunks `insert`.

    The head goes up to the palette or the pixels; its length in `begun` comes with it. None where that is too short.
    """
    head = [PNG_SIGNATURE]
    for kind, body, start in _png_chunks(io.BytesIO(begun)):
        if kind in (b"PLTE", b"IDAT"):
            head.extend(_png_chunk(kind, body) for kind, body in insert)
            return b"".join(head), start
        if kind not in drop:
            head.append(_png_chunk(kind, body))
    return None


def png_record(file: BinaryIO) -> str | None:
    """The record in a PNG."""
    start = RECORD_KEYWORD + b"\0"
    for kind, body, _ in _png_chunks(file):
        if kind == b"tEXt" and body.startswith(start):
            return body[len(start) :].decode("latin-1")
    return None


def _png_chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def _png_chunks(file: BinaryIO) -> Iterator[tuple[bytes, bytes, int]]:
    """(kind, body, offset) of every whole chunk, up to the first that is cut short or holds pixels.

    The body of that one and of chunks too long for metadata is left out.
    """
    at, end = len(PNG_SIGNATURE), file.seek(0, os.SEEK_END)
    while at + 12 <= end:
        file.seek(at)
        length, kind = struct.unpack(">I4s", file.read(8))
        if kind == b"IDAT":
            yield kind, b"", at
            return
        if at + 12 + length > end:
            return
        yield kind, b"" if length > _MOST_METADATA else file.read(length), at
        at += 12 + length


def _png_facts(file: BinaryIO) -> Facts:
    depth, frames, resolution, layered = None, 1, None, False
    carried: list[tuple[bytes, bytes]] = []
    for kind, body, _ in _png_chunks(file):
        if kind == b"IHDR" and len(body) == 13:
            # A palette's indices may be shorter, its colours are always 8 bits.
            depth = 8 if body[9] == 3 else body[8]
            layered = body[12] != 0
        elif kind == b"acTL" and len(body) == 8:
            frames = struct.unpack(">I", body[:4])[0]
        elif kind == b"pHYs" and len(body) == 9 and body[8] == 1:
            across, down = struct.unpack(">II", body[:8])
            resolution = (across * 0.0254, down * 0.0254) if across and down else None
        elif kind in _CARRIED_CHUNKS or (kind in _TEXT_CHUNKS and body and not body.startswith(_OTHER_METADATA)):
            carried.append((kind, body))
    return Facts(
        depth=depth, frames=frames, lossless=True, resolution=resolution, chunks=tuple(carried), layered=layered
    )


def _jpeg_facts(file: BinaryIO) -> Facts:
    depth, colours, layered = None, None, False
    at = 2
    while True:
        file.seek(at)
        data = file.read(10)
        if len(data) < 4 or data[0] != 0xFF:
            return Facts(depth=depth, colours=colours, layered=layered)
        marker = data[1]
        if marker == 0xFF:
            at += 1
            continue
        (length,) = struct.unpack_from(">H", data, 2)
        if marker in _START_OF_FRAME and len(data) == 10:
            depth, colours, layered = data[4], data[9], marker in _PROGRESSIVE
        at += 2 + length
        if marker == _START_OF_SCAN:
            # A file whose tail was never filled in decodes without a warning; only this mark is missing.
            complete = _holds(file, _END_OF_IMAGE, start=at)
            return Facts(depth=depth, colours=colours, complete=complete, layered=layered)


def _holds(file: BinaryIO, mark: bytes, *, start: int) -> bool:
    """Whether `mark` is somewhere from `start` on; the end of the file, where it belongs, is looked at first."""
    end = file.seek(0, os.SEEK_END)
    file.seek(max(start, end - 4096))
    if mark in file.read():
        return True
    file.seek(start)
    tail = b""
    while data := file.read(1 << 20):
        if mark in tail + data:
            return True
        tail = data[-1:]
    return False


def _webp_facts(file: BinaryIO) -> Facts:
    at, end, lossless = 12, file.seek(0, os.SEEK_END), False
    while at + 8 <= end:
        file.seek(at)
        name, length = struct.unpack("<4sI", file.read(8))
        lossless |= name == b"VP8L"
        at += 8 + length + (length & 1)
    return Facts(depth=8, lossless=lossless)


def _av1_matrix(data: bytes) -> int | None:
    """The matrix coefficients of the first colour picture among the streams in `data`, None where none are stated."""
    at = data.find(_AV1_START)
    while at >= 0:
        length = data[at + 3] if at + 3 < len(data) else 0
        matrix = _matrix_of_header(data[at + 4 : at + 4 + length])
        if matrix is not None:
            return matrix
        at = data.find(_AV1_START, at + 1)
    return None


def _matrix_of_header(header: bytes) -> int | None:
    """The matrix coefficients in a sequence header (AV1 5.5), None for grey and where none are stated.

    Headers with timing, as moving pictures have, are not followed.
    """
    bits = "".join(f"{byte:08b}" for byte in header)
    at = 0

    def take(count: int) -> int:
        nonlocal at
        at += count
        return int(bits[at - count : at], 2) if count and at <= len(bits) else 0

    profile, _, reduced = take(3), take(1), take(1)
    if reduced:
        take(5)
    else:
        if take(1):
            return None
        delays = take(1)
        for _ in range(take(5) + 1):
            take(12)
            if take(5) > 7:
                take(1)
            if delays and take(1):
                take(4)
    width, height = take(4) + 1, take(4) + 1
    take(width)
    take(height)
    if not reduced and take(1):
        take(7)
    take(3)
    if not reduced:
        take(4)
        ordered = take(1)
        take(2 * ordered)
        forced = 2 if take(1) else take(1)
        if forced and not take(1):
            take(1)
        take(3 * ordered)
    take(3)
    high = take(1)
    if profile == 2 and high:
        take(1)
    mono = 0 if profile == 1 else take(1)
    if mono or not take(1):
        return None
    take(16)
    matrix = take(8)
    return matrix if at <= len(bits) else None


def _avif_facts(file: BinaryIO) -> Facts:
    """The configuration (AV1-ISOBMFF 2.3) of the first picture, and whether there is a sequence beside it.

    Samples that are R, G and B themselves (matrix 0) and not chroma are how a lossless picture is coded.
    """
    at, end = 0, file.seek(0, os.SEEK_END)
    frames, depth, grey, complete, matrix = 1, None, False, True, None
    while at + 8 <= end:
        file.seek(at)
        length, name = struct.unpack(">I4s", file.read(8))
        if length == 1 and at + 16 <= end:
            (length,) = struct.unpack(">Q", file.read(8))
        if length == 0:
            length = end - at
        if length < 8:
            break
        complete &= at + length <= end
        if name == b"moov" or (name == b"ftyp" and file.read(4) == b"avis"):
            frames = 0
        if name == b"meta" and length <= _MOST_METADATA:
            body = file.read(length)
            found = body.find(b"av1C")
            if found >= 0 and found + 8 <= len(body):
                flags = body[found + 6]
                depth = (12 if flags & 0x20 else 10) if flags & 0x40 else 8
                grey = bool(flags & 0x10)
                colour = body.find(b"colrnclx")
                matrix = int.from_bytes(body[colour + 12 : colour + 14], "big") if colour >= 0 else None
        if name == b"mdat" and matrix is None:
            # Beside a profile the container does not state the matrix, the header of the stream does.
            matrix = _av1_matrix(file.read(min(length, _MOST_METADATA)))
        at += length
    return Facts(depth=depth, frames=frames, complete=complete, grey=grey, lossless=matrix == 0)
