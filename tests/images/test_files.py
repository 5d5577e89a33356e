"""Picture files, judged by Pillow as the independent reader and writer."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import json
import os
import resource
import struct
import subprocess
import sys
import zlib
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image, ImageCms, ImageOps, PngImagePlugin

from mezzotint import images as files
from mezzotint.errors import InputError
from mezzotint.images import Picture
from mezzotint.images.atomic import shown
from mezzotint.images.libvips import libvips

RNG = np.random.default_rng(7)


def smooth(height: int = 24, width: int = 37, channels: int = 3) -> np.ndarray:
    """A soft picture: what a JPEG at quality 95 keeps to within a few grey levels."""
    rows, columns = np.mgrid[0:height, 0:width]
    planes = [128 + 90 * np.sin(rows / (5 + c)) * np.cos(columns / (7 - c)) for c in range(channels)]
    return np.stack(planes, axis=2).astype(np.uint8)


def encoded(pixels: np.ndarray | Image.Image, form: str, **options: object) -> bytes:
    image = pixels if isinstance(pixels, Image.Image) else Image.fromarray(np.squeeze(pixels))
    stream = io.BytesIO()
    image.save(stream, form, **options)
    return stream.getvalue()


def decoded(data: bytes | Path) -> np.ndarray:
    image = Image.open(io.BytesIO(data) if isinstance(data, bytes) else data)
    pixels = np.asarray(image)
    return pixels[..., None] if pixels.ndim == 2 else pixels


def put(folder: Path, name: str, data: bytes) -> Path:
    path = folder / name
    path.write_bytes(data)
    return path


@lru_cache  # a profile states the second in which it was made
def srgb_profile() -> bytes:
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def grey_profile() -> bytes:
    """The smallest valid grey ICC profile, version 2, gamma 2.2."""

    def text(signature: bytes, words: bytes) -> bytes:
        return signature + b"\0" * 4 + words

    description = text(b"desc", struct.pack(">I", 5) + b"grey\0" + b"\0" * (4 + 4 + 2 + 1 + 67))
    tags = {
        b"desc": description,
        b"cprt": text(b"text", b"none\0"),
        b"wtpt": text(b"XYZ ", struct.pack(">iii", 63190, 65536, 54061)),
        b"kTRC": text(b"curv", struct.pack(">IH", 1, int(2.2 * 256))),
    }
    at = 128 + 4 + 12 * len(tags)
    table, body = struct.pack(">I", len(tags)), b""
    for name, data in tags.items():
        data += b"\0" * (-len(data) % 4)
        table += name + struct.pack(">II", at + len(body), len(data))
        body += data
    header = bytearray(128)
    header[8:12] = b"\x02\x10\0\0"
    header[12:16], header[16:20], header[20:24] = b"mntr", b"GRAY", b"XYZ "
    header[36:40] = b"acsp"
    header[68:80] = struct.pack(">iii", 63190, 65536, 54061)
    header[0:4] = struct.pack(">I", 128 + len(table) + len(body))
    return bytes(header) + table + body


def exif(orientation: int | None = None, *, thumbnail: bytes | None = None) -> bytes:
    block = Image.Exif()
    block[0x010F] = "A maker"
    if orientation is not None:
        block[0x0112] = orientation
    data = block.tobytes()
    if thumbnail is None:
        return data
    first = struct.pack("<HHHII", 1, 0x0112, 3, 1, orientation or 1)
    second_at = 8 + len(first) + 4
    picture_at = second_at + 2 + 3 * 12 + 4
    second = struct.pack("<H", 3)
    for tag, kind, value in ((0x0103, 3, 6), (0x0201, 4, picture_at), (0x0202, 4, len(thumbnail))):
        second += struct.pack("<HHII", tag, kind, 1, value)
    start = b"Exif\0\0II*\0" + struct.pack("<I", 8)
    return start + first + struct.pack("<I", second_at) + second + b"\0" * 4 + thumbnail


def png_chunks(data: bytes) -> list[tuple[bytes, bytes]]:
    at, found = 8, []
    while at < len(data):
        (length,) = struct.unpack_from(">I", data, at)
        kind, body = data[at + 4 : at + 8], data[at + 8 : at + 8 + length]
        assert struct.unpack_from(">I", data, at + 8 + length)[0] == zlib.crc32(kind + body)
        found.append((kind, body))
        at += 12 + length
    return found


def png_with_chunk(data: bytes, kind: bytes, body: bytes) -> bytes:
    """`data` with a chunk after the header."""
    chunk = struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
    return data[:33] + chunk + data[33:]


def refusal(path: Path | str, *, max_pixels: int = files.MAX_PIXELS, read: Callable[..., Picture] = files.read) -> str:
    with pytest.raises(InputError) as caught:
        read(path, max_pixels=max_pixels)
    message = str(caught.value)
    assert "\n" not in message
    assert shown(path) in message
    assert ":" in message.replace(str(path), ""), f"no way out in {message!r}"
    return message


# Reading


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("size", [(1, 1), (1, 9), (9, 1), (24, 37)])
def test_a_png_is_read_bit_for_bit(tmp_path: Path, channels: int, size: tuple[int, int]) -> None:
    pixels = RNG.integers(0, 256, (*size, channels), dtype=np.uint8)
    image = Image.fromarray(pixels[..., 0] if channels == 1 else pixels)
    picture = files.read(put(tmp_path, "a.png", encoded(image, "PNG")))
    assert np.array_equal(picture.pixels, pixels)
    assert (picture.height, picture.width, picture.channels) == pixels.shape
    assert (picture.format, picture.bits, picture.lossless, picture.notes) == ("png", 8, True, ())
    assert picture.pixels.flags.writeable and picture.pixels.flags.c_contiguous
    assert picture.icc is picture.exif is picture.xmp is picture.resolution is None


def test_jpeg_and_webp_decode_as_pillow_does(tmp_path: Path) -> None:
    pixels = smooth(64, 80)
    for form, name, options, lossless in (
        ("JPEG", "a.jpg", {"quality": 90, "subsampling": 0}, False),
        ("JPEG", "b.jpg", {"quality": 80, "progressive": True}, False),
        ("WEBP", "a.webp", {"quality": 80}, False),
        ("WEBP", "b.webp", {"lossless": True}, True),
    ):
        data = encoded(pixels, form, **options)
        picture = files.read(put(tmp_path, name, data))
        assert picture.lossless is lossless
        assert picture.notes == ()
        assert np.abs(picture.pixels.astype(int) - decoded(data)).max() <= (0 if form == "WEBP" else 3)
    grey = files.read(put(tmp_path, "g.jpg", encoded(smooth(16, 16, 1), "JPEG", quality=95)))
    assert grey.pixels.shape == (16, 16, 1)


def test_content_decides_not_the_name(tmp_path: Path) -> None:
    assert files.read(put(tmp_path, "a.jpg", encoded(smooth(), "PNG"))).format == "png"
    assert files.read(put(tmp_path, "a.png", encoded(smooth(), "WEBP"))).format == "webp"
    assert files.read(put(tmp_path, "noname", encoded(smooth(), "JPEG"))).format == "jpeg"


def test_palettes_and_short_grey_are_expanded_and_noted(tmp_path: Path) -> None:
    palette = Image.fromarray(smooth()).quantize(17)
    picture = files.read(put(tmp_path, "p.png", encoded(palette, "PNG")))
    assert np.array_equal(picture.pixels, np.asarray(palette.convert("RGB")))
    assert picture.notes == ("palette expanded to RGB",)
    bilevel = Image.fromarray(smooth()).convert("1")
    picture = files.read(put(tmp_path, "b.png", encoded(bilevel, "PNG")))
    assert np.array_equal(picture.pixels[..., 0], np.asarray(bilevel.convert("L")))
    assert picture.notes == ("1-bit grey expanded to 8 bits",)
    for bits in (2, 4):
        levels = 2**bits
        values = RNG.integers(0, levels, (6, 8), dtype=np.uint8)
        rows = np.zeros((6, 8 * bits // 8), np.uint8)
        for column in range(8):
            at, shift = divmod(column * bits, 8)
            rows[:, at] |= values[:, column] << (8 - bits - shift)
        raw = b"".join(b"\0" + row.tobytes() for row in rows)
        header = struct.pack(">IIBBBBB", 8, 6, bits, 0, 0, 0, 0)
        data = b"\x89PNG\r\n\x1a\n"
        for kind, body in ((b"IHDR", header), (b"IDAT", zlib.compress(raw)), (b"IEND", b"")):
            data += struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        picture = files.read(put(tmp_path, f"g{bits}.png", data))
        assert np.array_equal(picture.pixels[..., 0], values * (255 // (levels - 1)))
        assert picture.notes == (f"{bits}-bit grey expanded to 8 bits",)


def test_measurements_take_opaque_8_bit_grey_and_rgb_only(tmp_path: Path) -> None:
    for mode in ("RGBA", "LA"):
        image = Image.fromarray(smooth()).convert(mode)
        path = put(tmp_path, "a.png", encoded(image, "PNG"))
        picture = files.read_plain(path)
        assert np.array_equal(picture.pixels, decoded(encoded(image.convert(mode[:-1]), "PNG")))
        assert picture.notes == ("alpha channel dropped: it is opaque everywhere",) and not picture.alpha
        assert files.read(path).alpha and files.read(path).notes == ()
        image.putpixel((3, 3), (*image.getpixel((3, 3))[:-1], 254))  # type: ignore[index]
        assert "transparent" in refusal(put(tmp_path, "b.png", encoded(image, "PNG")), read=files.read_plain)
    image = Image.fromarray(smooth()).convert("RGBA")
    image.putalpha(100)
    path = put(tmp_path, "c.webp", encoded(image, "WEBP", lossless=True))
    assert "transparent" in refusal(path, read=files.read_plain)
    deep = Image.fromarray(RNG.integers(0, 65536, (5, 6), dtype=np.uint16))
    assert "16 bits" in refusal(put(tmp_path, "deep.png", encoded(deep, "PNG")), read=files.read_plain)
    cmyk = Image.fromarray(smooth()).convert("CMYK")
    assert "CMYK" in refusal(put(tmp_path, "cmyk.jpg", encoded(cmyk, "JPEG")), read=files.read_plain)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP"])
def test_the_orientation_is_applied_as_pillow_does(tmp_path: Path, orientation: int, form: str) -> None:
    options = {"quality": 95, "subsampling": 0} if form == "JPEG" else {"lossless": True}
    data = encoded(smooth(), form, exif=exif(orientation), **options)
    picture = files.read(put(tmp_path, "a", data))
    upright = np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(data))))
    assert picture.pixels.shape == upright.shape
    assert np.abs(picture.pixels.astype(int) - upright).max() <= 3
    noted = () if orientation == 1 else (f"EXIF orientation {orientation} applied",)
    assert picture.notes == noted
    written = tmp_path / f"b.{form.lower()}"
    files.write(picture, written)
    with Image.open(written) as image:
        assert image.getexif().get(0x0112, 1) == 1
        assert image.getexif()[0x010F] == "A maker"
        assert image.size == upright.shape[1::-1]
        assert np.abs(np.asarray(image.convert("RGB")).astype(int) - upright).mean() < 1.5
    assert files.read(written).notes == ()


def test_resolution_is_read_turned_and_absent(tmp_path: Path) -> None:
    for form in ("PNG", "JPEG"):
        path = put(tmp_path, "a", encoded(smooth(), form, dpi=(300, 150)))
        assert files.read(path).resolution == pytest.approx((300, 150), rel=1e-4)
        assert files.read(put(tmp_path, "b", encoded(smooth(), form))).resolution is None
    block = Image.Exif()
    block[0x0112], block[0x011A], block[0x011B], block[0x0128] = 6, 300.0, 150.0, 2
    for form in ("JPEG", "WEBP"):
        picture = files.read(put(tmp_path, "c", encoded(smooth(), form, exif=block.tobytes())))
        assert picture.resolution == pytest.approx((150, 300), rel=1e-4)
    block[0x0128] = 3
    picture = files.read(put(tmp_path, "d", encoded(smooth(), "WEBP", exif=block.tobytes())))
    assert picture.resolution == pytest.approx((381, 762), rel=1e-4)
    assert files.read(put(tmp_path, "e", encoded(smooth(), "WEBP"))).resolution is None


def test_a_resolution_beyond_sense_goes_with_a_note(capfd: pytest.CaptureFixture[str]) -> None:
    data = png_with_chunk(encoded(smooth(), "PNG"), b"pHYs", struct.pack(">IIB", 2**32 - 1, 2**32 - 1, 1))
    picture = files.decode(data, name="a.png")
    assert picture.resolution is None
    assert picture.notes == ("resolution dropped: 1.09092e+08 x 1.09092e+08 dots an inch",)
    for fmt in ("png", "jpeg", "webp"):
        absurd = Picture(smooth(), resolution=(1e5, 1e5))
        assert files.decode(files.encode(absurd, fmt=fmt), name="b").resolution == pytest.approx((1e5, 1e5), rel=1e-3)
        assert files.decode(files.encode(absurd, fmt=fmt, scale=1e4), name="b").resolution is None
    captured = capfd.readouterr()
    assert captured.out == captured.err == ""


def test_a_replaced_file_is_read_anew(tmp_path: Path) -> None:
    path = put(tmp_path, "a.png", encoded(np.zeros((8, 8, 3), np.uint8), "PNG"))
    stamp = os.stat(path)
    assert files.read(path).pixels.max() == 0
    path.write_bytes(encoded(np.full((8, 8, 3), 200, np.uint8), "PNG"))
    os.utime(path, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))
    assert files.read(path).pixels.min() == 200


def test_benchmark_pictures_are_read_exactly(shared_data: Path) -> None:
    bench = shared_data / "bench"
    some = [*sorted(bench.glob("Set5/*.png")), bench / "Set14" / "bridge.png"]
    some += sorted(bench.glob("BSD100/*.webp"))[:5] + sorted(bench.glob("GB82/*.png"))[:2]
    for path in some:
        picture = files.read(path)
        assert np.array_equal(picture.pixels, decoded(path)), path
        assert picture.lossless, path
    assert files.read(bench / "Set14" / "bridge.png").channels == 1


def test_the_number_of_a_picture_is_that_of_its_pixels(tmp_path: Path) -> None:
    from mezzotint.noise import picture_id

    picture = files.read(put(tmp_path, "a.png", encoded(smooth(), "PNG")))
    other = files.read(put(tmp_path, "b.webp", encoded(smooth(), "WEBP", lossless=True)))
    assert picture.id == other.id == picture_id(smooth())


# What is refused, and how


def test_missing_empty_and_odd_paths(tmp_path: Path) -> None:
    assert "does not exist" in refusal(tmp_path / "none.png")
    (tmp_path / "link.png").symlink_to("nowhere.png")
    assert "link to a file that does not exist" in refusal(tmp_path / "link.png")
    assert "folder" in refusal(tmp_path)
    assert "empty" in refusal(put(tmp_path, "empty.png", b""))
    assert "zeros" in refusal(put(tmp_path, "zeros.png", b"\0" * 5000))
    os.mkfifo(tmp_path / "pipe.png")
    assert "pipe" in refusal(tmp_path / "pipe.png")
    assert "device" in refusal("/dev/zero")
    assert "cannot be read" in refusal(tmp_path / ("n" * 300))
    assert "cannot be read" in refusal(put(tmp_path, "file.png", b"x") / "below.png")
    assert "null" in refusal("a\0b")
    assert "line\\nbreak" in refusal(tmp_path / "line\nbreak.png")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_without_permission(tmp_path: Path) -> None:
    path = put(tmp_path, "a.png", encoded(smooth(), "PNG"))
    path.chmod(0)
    assert "permission" in refusal(path)


@pytest.mark.parametrize(
    ("data", "what"),
    [
        (encoded(smooth(), "GIF"), "a GIF"),
        (encoded(smooth(), "BMP"), "a BMP"),
        (b"P7\nWIDTH 1\n", "a PAM"),
        (b"%PDF-1.7\n", "a PDF"),
        (b"\0\0\0\x1cftypheic\0\0\0\0", "an HEIC"),
        (b"\0\0\0\x18ftypmp42", "a video"),
        (b"\xff\x0a\xfa\x1f", "a JPEG XL"),
        (b"<?xml version='1.0'?>\n<svg xmlns='http://www.w3.org/2000/svg'/>", "an SVG"),
        (b"\xef\xbb\xbf<!DOCTYPE html><title>404</title>", "a web page"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0", "a Git LFS pointer"),
        (b"just some words", "not a picture of a known kind"),
        (RNG.integers(0, 256, 900, dtype=np.uint8).tobytes(), "not a picture of a known kind"),
    ],
)
def test_other_files_are_named_for_what_they_are(tmp_path: Path, data: bytes, what: str) -> None:
    message = refusal(put(tmp_path, "a.png", data))
    assert what in message
    assert "PNG, JPEG, TIFF, WebP, AVIF, PPM and PFM are read" in message


def test_other_kinds_of_png_jpeg_and_webp_are_refused(tmp_path: Path) -> None:
    frames = [Image.fromarray(RNG.integers(0, 256, (9, 9, 3), dtype=np.uint8)) for _ in range(3)]
    for form in ("PNG", "WEBP"):
        data = encoded(frames[0], form, save_all=True, append_images=frames[1:])
        assert "animated (3 frames)" in refusal(put(tmp_path, "moving", data))
    jpeg = bytearray(encoded(smooth(), "JPEG"))
    at = jpeg.index(b"\xff\xc0")
    jpeg[at + 4] = 12
    assert "12 bits" in refusal(put(tmp_path, "deep.jpg", bytes(jpeg)))


def test_a_bomb_is_refused_on_its_header(tmp_path: Path) -> None:
    # 60,000 x 60,000 grey pixels, said by a header of which no pixel follows.
    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 0, 0, 0, 0)
    data = encoded(np.zeros((4, 4, 1), np.uint8), "PNG")
    data = data[:16] + header + struct.pack(">I", zlib.crc32(b"IHDR" + header)) + data[33:]
    message = refusal(put(tmp_path, "bomb.png", data))
    assert "3,600,000,000 pixels" in message and "1,000,000,000" in message
    path = put(tmp_path, "a.png", encoded(smooth(10, 11), "PNG"))
    assert files.read(path, max_pixels=110).pixels.shape == (10, 11, 3)
    assert "110 pixels, more than the limit of 109" in refusal(path, max_pixels=109)


@pytest.mark.parametrize(
    ("form", "options"),
    [
        ("PNG", {}),
        ("JPEG", {"quality": 90}),
        ("JPEG", {"quality": 90, "progressive": True}),
        ("WEBP", {"quality": 80}),
        ("WEBP", {"lossless": True}),
    ],
)
def test_a_file_cut_short_anywhere_is_refused(tmp_path: Path, form: str, options: dict[str, object]) -> None:
    noise = RNG.integers(0, 256, (40, 50, 3), dtype=np.uint8)
    data = encoded(noise, form, **options)
    # A PNG is whole once its last pixel is there: 16 bytes of checksum and end mark may be missing.
    whole = len(data) - (16 if form == "PNG" else 0)
    for end in [*range(12, whole - 1, max(1, whole // 60)), whole - 1]:
        message = refusal(put(tmp_path, "a.png", data[:end]))
        assert "damaged or incomplete" in message or "known kind" in message, (end, message)


def test_a_file_whose_tail_was_never_written_is_refused(tmp_path: Path) -> None:
    for form, options in (("PNG", {}), ("JPEG", {}), ("JPEG", {"progressive": True})):
        data = bytearray(encoded(RNG.integers(0, 256, (40, 50, 3), dtype=np.uint8), form, **options))
        half = len(data) // 2
        data[half:] = bytes(len(data) - half)
        assert "damaged or incomplete" in refusal(put(tmp_path, "a", bytes(data)))


def test_every_changed_byte_of_a_png_is_found(tmp_path: Path) -> None:
    data = encoded(RNG.integers(0, 256, (9, 7, 3), dtype=np.uint8), "PNG")
    reference = decoded(data)
    for at in range(8, len(data)):
        changed = bytearray(data)
        changed[at] ^= 0x15
        path = put(tmp_path, "a.png", bytes(changed))
        try:
            picture = files.read(path)
        except InputError as error:
            assert "\n" not in str(error)
        else:
            # Only the end mark may be wrong, or the checksum of the zlib stream's last bytes.
            assert np.array_equal(picture.pixels, reference), at


@settings(max_examples=150, deadline=None, derandomize=True)
@given(st.data())
def test_mutated_files_are_read_or_refused_in_one_line(data: st.DataObject) -> None:
    seeds = MUTATED
    original = bytearray(seeds[data.draw(st.integers(0, len(seeds) - 1))])
    for _ in range(data.draw(st.integers(1, 6))):
        at = data.draw(st.integers(0, len(original) - 1))
        original[at] = data.draw(st.integers(0, 255))
    try:
        picture = files.decode(bytes(original), name="mutated", max_pixels=1_000_000)
    except InputError as error:
        assert "\n" not in str(error) and str(error).startswith("mutated")
    else:
        assert picture.pixels.dtype == np.uint8
        files.encode(picture, fmt="jpeg", record="{}")


MUTATED = [
    encoded(smooth(9, 12), "PNG", dpi=(300, 300)),
    encoded(Image.fromarray(smooth(9, 12)).quantize(9), "PNG"),
    encoded(smooth(9, 12), "JPEG", exif=exif(6), quality=60),
    encoded(smooth(9, 12), "JPEG", progressive=True),
    encoded(smooth(9, 12), "WEBP", lossless=True, exif=exif(3)),
    encoded(smooth(9, 12), "WEBP", quality=50, icc_profile=srgb_profile()),
]


def test_harmless_warnings_are_noted_and_corrupt_data_is_refused(tmp_path: Path) -> None:
    data = encoded(smooth(32, 32), "JPEG")
    at = data.index(b"\xff\xda")
    picture = files.read(put(tmp_path, "a.jpg", data[:at] + b"padding!" + data[at:]))
    assert len(picture.notes) == 1 and "8 extraneous bytes" in picture.notes[0]
    assert np.abs(picture.pixels.astype(int) - decoded(data)).max() <= 3
    data = encoded(RNG.integers(0, 256, (64, 64, 3), dtype=np.uint8), "JPEG", progressive=True)
    said = []
    for at in range(len(data) - 200, len(data) - 2):
        broken = bytearray(data)
        broken[at] ^= 0xFF
        try:
            said += files.decode(bytes(broken), name="b.jpg").notes
        except InputError as error:
            said.append(str(error))
    # Not every change can be seen in a JPEG, but what the decoder calls corrupt is never passed on.
    corrupt = [line for line in said if "Corrupt JPEG data" in line]
    assert any("b.jpg is a damaged" in line for line in corrupt)
    assert all("b.jpg is a damaged" in line or "extraneous bytes" in line for line in corrupt)


def test_nothing_is_printed(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    data = encoded(smooth(32, 32), "JPEG")
    at = data.index(b"\xff\xda")
    for broken in (data[:-9], data[:at] + b"padding!" + data[at:], data[:300], b"\x89PNG\r\n\x1a\n" + b"x" * 60):
        with contextlib.suppress(InputError):
            files.read(put(tmp_path, "a", broken))
    captured = capfd.readouterr()
    assert captured.out == captured.err == ""


FORKED = """
import os, sys, time
from mezzotint import images as files
from mezzotint.errors import InputError
if sys.argv[2] == "before":
    files.read(sys.argv[1])
child = os.fork()
if child == 0:
    try:
        print(files.read(sys.argv[1]).pixels.shape, flush=True)
    except InputError as error:
        print(error, flush=True)
    os._exit(0)
for _ in range(200):
    if os.waitpid(child, os.WNOHANG)[0]:
        break
    time.sleep(0.05)
else:
    os.kill(child, 9)
    print("hung")
"""


def test_a_forked_process_is_told_instead_of_hanging(tmp_path: Path) -> None:
    path = put(tmp_path, "a.png", encoded(smooth(), "PNG"))
    said = {}
    for when in ("before", "after"):
        done = subprocess.run(
            [sys.executable, "-c", FORKED, str(path), when], capture_output=True, text=True, check=True
        )
        said[when] = done.stdout
    assert "forked" in said["before"] and "spawn" in said["before"]
    assert said["after"] == "(24, 37, 3)\n"


def test_loaders_for_untrusted_files_are_blocked() -> None:
    pyvips = libvips()
    drawing = b"<svg xmlns='http://www.w3.org/2000/svg' width='4' height='4'/>"
    with pytest.raises(pyvips.Error, match="blocked"):
        pyvips.Image.svgload_buffer(drawing)
    assert pyvips.cache_get_max() == 0


# Writing


def test_png_and_webp_hold_every_pixel(tmp_path: Path) -> None:
    for channels in (1, 3):
        pixels = RNG.integers(0, 256, (17, 23, channels), dtype=np.uint8)
        for name in ("a.png", f"a{channels}.webp"):
            files.write(Picture(pixels), tmp_path / name, overwrite=True)
            assert np.array_equal(
                decoded(tmp_path / name), pixels.repeat(3, 2) if "webp" in name and channels == 1 else pixels
            )
            back = files.read(tmp_path / name)
            assert back.lossless and back.notes == () and back.resolution is None


def test_jpeg_is_quality_95_and_without_subsampling(tmp_path: Path) -> None:
    pixels = smooth(64, 64)
    pixels[::2, ::2] = (250, 20, 20)
    files.write(Picture(pixels), tmp_path / "a.jpg")
    with Image.open(tmp_path / "a.jpg") as image:
        assert [component[1:3] for component in image.layer] == [(1, 1)] * 3
        table = image.quantization
    with Image.open(io.BytesIO(encoded(pixels, "JPEG", quality=95))) as image:
        assert table == image.quantization
    files.write(Picture(pixels), tmp_path / "b.jpg", quality=40)
    assert (tmp_path / "b.jpg").stat().st_size < (tmp_path / "a.jpg").stat().st_size / 2
    ours = np.abs(decoded(tmp_path / "a.jpg").astype(int) - pixels).mean()
    theirs = np.abs(decoded(encoded(pixels, "JPEG", quality=95, subsampling=0)).astype(int) - pixels).mean()
    assert ours == pytest.approx(theirs, rel=0.05)


def test_webp_is_lossless_only_if_the_input_was(tmp_path: Path) -> None:
    pixels = smooth()
    for lossless, asked, result in (
        (True, None, True),
        (False, None, False),
        (False, True, True),
        (True, False, False),
    ):
        files.write(Picture(pixels, lossless=lossless), tmp_path / "a.webp", lossless=asked, overwrite=True)
        assert files.read(tmp_path / "a.webp").lossless is result


METADATA = [(form, name) for form in ("PNG", "JPEG", "WEBP") for name in ("out.png", "out.jpg", "out.webp")]


@pytest.mark.parametrize(("form", "name"), METADATA)
def test_profile_metadata_and_resolution_are_carried_over(tmp_path: Path, form: str, name: str) -> None:
    block = Image.Exif()
    block[0x010F], block[0x011A], block[0x011B], block[0x0128], block[0x0112] = "A maker", 300.0, 150.0, 2, 3
    block.get_ifd(0x8769)[0x927C] = b"what only the maker understands"
    block.get_ifd(0x8769)[0xA002] = 37
    block.get_ifd(0x8825)[0x0011] = 12.5
    packet = PACKET.encode()
    options: dict[str, object] = {"exif": block.tobytes(), "icc_profile": srgb_profile(), "dpi": (300, 150)}
    if form == "PNG":
        text = PngImagePlugin.PngInfo()
        text.add_itxt("XML:com.adobe.xmp", PACKET)
        options["pnginfo"] = text
    else:
        options["xmp"] = packet
    source = files.read(put(tmp_path, "in", encoded(smooth(), form, lossless=True, **options)))
    assert source.icc == srgb_profile() and source.xmp == packet
    large = dataclasses.replace(source, rows=source.pixels.repeat(4, 0).repeat(4, 1))
    files.write(large, tmp_path / name, scale=4, record='{"seed": 0}')
    with Image.open(tmp_path / name) as image:
        assert image.info["icc_profile"] == srgb_profile()
        found = image.getexif()
        assert (found[0x010F], found[0x0112]) == ("A maker", 1)
        assert (float(found[0x011A]), float(found[0x011B])) == pytest.approx((1200, 600), rel=1e-4)
        assert found.get_ifd(0x8769)[0x927C] == b"what only the maker understands"
        assert (found.get_ifd(0x8769)[0xA002], found.get_ifd(0x8769)[0xA003]) == (148, 96)
        assert float(found.get_ifd(0x8825)[0x0011]) == 12.5
        if name == "out.png":
            assert image.info["dpi"] == pytest.approx((1200, 600), rel=1e-4)
    back = files.read(tmp_path / name)
    assert back.resolution == pytest.approx((1200, 600), rel=1e-4)
    assert back.xmp is not None
    assert back.xmp.replace(b'Orientation="1"', b'Orientation="3"') == packet
    assert files.read_record(tmp_path / name) == '{"seed": 0}'


PACKET = (
    '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?><x:xmpmeta xmlns:x="adobe:ns:meta/">'
    '<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description rdf:about="" '
    'xmlns:dc="http://purl.org/dc/elements/1.1/" xmlns:tiff="http://ns.adobe.com/tiff/1.0/" '
    'dc:format="image/jpeg" tiff:Orientation="3"><dc:title>Gro\u00dfes \u5317</dc:title></rdf:Description></rdf:RDF>'
    '</x:xmpmeta><?xpacket end="w"?>'
)


def test_the_identity_returns_the_file(tmp_path: Path) -> None:
    """Pixels, depth, profile and metadata of a lossless file survive reading and writing."""
    text = PngImagePlugin.PngInfo()
    text.add_text("Title", "caf\xe9")
    text.add_itxt("Author", "\u5317\u4eac")
    text.add_text("Comment", "long " * 100, zip=True)
    text.add(b"gAMA", struct.pack(">I", 100_000))
    data = encoded(smooth(), "PNG", pnginfo=text, dpi=(144, 144), exif=exif(), icc_profile=srgb_profile())
    first = files.read(put(tmp_path, "a.png", data))
    files.write(first, tmp_path / "b.png")
    second = files.read(tmp_path / "b.png")
    assert second.is_same(dataclasses.replace(first, exif=second.exif))
    before, after = png_chunks(data), png_chunks((tmp_path / "b.png").read_bytes())
    for kind in (b"tEXt", b"iTXt", b"zTXt", b"gAMA", b"pHYs"):
        assert [chunk for chunk in after if chunk[0] == kind] == [chunk for chunk in before if chunk[0] == kind]
    # EXIF gains the tags that it must have, once; after that nothing moves any more.
    files.write(second, tmp_path / "c.png")
    assert files.read(tmp_path / "c.png").is_same(second)
    webp = encoded(smooth(), "WEBP", lossless=True, icc_profile=srgb_profile())
    first = files.read(put(tmp_path, "a.webp", webp))
    files.write(first, tmp_path / "b.webp")
    assert files.read(tmp_path / "b.webp").is_same(first)


def test_two_pictures_differ_by_each_part() -> None:
    picture = Picture(smooth(), icc=b"p", resolution=(72.0, 72.0), exif=b"e", xmp=b"x", chunks=((b"tEXt", b"a\0b"),))
    assert picture.is_same(dataclasses.replace(picture, format="webp", notes=("anything",)))
    for change in (
        {"rows": smooth() + 1},
        {"icc": None},
        {"exif": b"f"},
        {"xmp": None},
        {"iptc": b"i"},
        {"chunks": ()},
        {"resolution": None},
        {"resolution": (72.0, 96.0)},
    ):
        assert not picture.is_same(dataclasses.replace(picture, **change)), change


def test_a_file_without_metadata_gets_none(tmp_path: Path) -> None:
    for name in ("a.png", "a.jpg", "a.webp"):
        files.write(Picture(smooth()), tmp_path / name)
        with Image.open(tmp_path / name) as image:
            assert not image.getexif()
            assert not {"icc_profile", "dpi", "xmp", "mezzotint"} & set(image.info)
    assert [kind for kind, _ in png_chunks((tmp_path / "a.png").read_bytes())] == [b"IHDR", b"IDAT", b"IEND"]


def test_profiles_that_do_not_fit_go_with_a_note(tmp_path: Path) -> None:
    grey = smooth(channels=1)
    for name in ("g.png", "g.jpg"):
        files.write(Picture(grey, icc=grey_profile()), tmp_path / name)
        back = files.read(tmp_path / name)
        assert back.icc == grey_profile() and back.notes == ()
    files.write(Picture(grey, icc=grey_profile()), tmp_path / "g.webp")
    back = files.read(tmp_path / "g.webp")
    assert back.icc is None and back.channels == 3
    data = encoded(grey, "JPEG", icc_profile=srgb_profile())
    picture = files.read(put(tmp_path, "odd.jpg", data))
    assert picture.icc is None
    assert picture.notes == ("colour profile dropped: it is for the colour space 'RGB'",)


def test_a_thumbnail_goes_and_strip_keeps_the_looks(tmp_path: Path) -> None:
    small = encoded(smooth(16, 16), "JPEG")
    data = encoded(smooth(), "JPEG", exif=exif(6, thumbnail=small), icc_profile=srgb_profile(), dpi=(300, 300))
    picture = files.read(put(tmp_path, "a.jpg", data))
    assert small in data
    files.write(picture, tmp_path / "b.jpg")
    assert small[20:] not in (tmp_path / "b.jpg").read_bytes()
    bare = files.strip(picture)
    assert bare.exif is bare.xmp is bare.iptc is None
    assert (bare.icc, bare.resolution) == (picture.icc, picture.resolution)
    chunks = ((b"tEXt", b"a\0b"), (b"gAMA", b"\0\1\x86\xa0"))
    assert files.strip(Picture(smooth(), chunks=chunks)).chunks == chunks[1:]


def test_iptc_stays_in_a_jpeg() -> None:
    block = b"Photoshop 3.0\0008BIM\4\4\0\0\0\0\0\x0c" + b"\x1c\2\5\0\7a title"
    data = encoded(smooth(), "JPEG")
    data = data[:2] + b"\xff\xed" + struct.pack(">H", len(block) + 2) + block + data[2:]
    picture = files.decode(data, name="a.jpg")
    assert picture.iptc == block
    assert files.decode(files.encode(picture, fmt="jpeg", record="{}"), name="b.jpg").iptc == block
    for fmt in ("png", "webp"):
        assert files.decode(files.encode(picture, fmt=fmt), name="b").iptc is None


def test_useless_metadata_does_not_stop_a_picture(tmp_path: Path) -> None:
    for block in (b"Exif\0\0garbage and more garbage", b"Exif\0\0", b"Exif\0\0II*\0\xff\xff\xff\xff"):
        picture = files.read(put(tmp_path, "a.jpg", encoded(smooth(), "JPEG", exif=block)))
        for name in ("b.jpg", "b.png", "b.webp"):
            files.write(picture, tmp_path / name, overwrite=True, record="{}")
            assert files.read_record(tmp_path / name) == "{}"
    picture = files.read(put(tmp_path, "x.jpg", encoded(smooth(), "JPEG", xmp=b"<not rdf/>")))
    assert picture.xmp is None and "XMP packet dropped" in picture.notes[0]


# The record


RECORDS = [
    "{}",
    '{"seed": 0, "method": "mezzotint-x4", "notes": ["a < b & c > d \\"quoted\\""]}',
    json.dumps({"a": "x" * 30_000, "b": list(range(500))}),
    json.dumps({"lines": "one\ntwo", "apostrophe": "it's ]]> --> <?xpacket"}, indent=2),
]


@pytest.mark.parametrize("name", ["a.png", "a.jpg", "a.webp"])
@pytest.mark.parametrize("record", RECORDS)
def test_the_record_comes_back(tmp_path: Path, name: str, record: str) -> None:
    files.write(Picture(smooth()), tmp_path / name, record=record)
    assert files.read_record(tmp_path / name) == record
    if name == "a.png":
        with Image.open(tmp_path / name) as image:
            assert image.text["mezzotint"] == record
    assert files.read(tmp_path / name).is_same(files.read(tmp_path / name))
    assert files.read(tmp_path / name).xmp is None


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    value=st.recursive(
        st.none() | st.integers() | st.text(max_size=30),
        lambda below: st.lists(below, max_size=4) | st.dictionaries(st.text(max_size=9), below, max_size=4),
        max_leaves=8,
    )
)
def test_any_record_comes_back_with_its_meaning(value: object) -> None:
    record = json.dumps(value, ensure_ascii=False)
    for fmt in ("png", "jpeg", "webp"):
        try:
            data = files.encode(Picture(smooth(3, 4)), fmt=fmt, record=record)
        except UnicodeEncodeError:
            pytest.fail("a record must be escaped to ASCII")
        assert json.loads(record_of(data)) == value


def record_of(data: bytes) -> str:
    import tempfile

    with tempfile.NamedTemporaryFile() as file:
        file.write(data)
        file.flush()
        record = files.read_record(file.name)
    assert record is not None
    return record


def test_a_new_record_replaces_the_old_one_and_others_have_none(tmp_path: Path) -> None:
    source = put(tmp_path, "in.jpg", encoded(smooth(), "JPEG", xmp=PACKET.encode()))
    assert files.read_record(source) is None
    path = source
    for turn, name in enumerate(("1.jpg", "2.webp", "3.png", "4.jpg")):
        files.write(files.read(path), tmp_path / name, record=json.dumps({"turn": turn}))
        path = tmp_path / name
        assert json.loads(files.read_record(path) or "") == {"turn": turn}
        assert path.read_bytes().count(b'"turn"') == 1
    files.write(files.read(path), tmp_path / "5.jpg")
    assert files.read_record(tmp_path / "5.jpg") is None
    assert files.read_record(put(tmp_path, "p.png", encoded(smooth(), "PNG"))) is None
    with pytest.raises(InputError, match="does not exist"):
        files.read_record(tmp_path / "none.png")


def test_a_record_that_is_not_json_or_too_long_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError):
        files.write(Picture(smooth()), tmp_path / "a.png", record="not json")
    long = json.dumps("x" * 70_000)
    for name in ("a.png", "a.webp"):
        files.write(Picture(smooth()), tmp_path / name, record=long)
        assert files.read_record(tmp_path / name) == long
    with pytest.raises(InputError, match="60000.*--record"):
        files.write(Picture(smooth()), tmp_path / "a.jpg", record=long)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.png", "a.webp"]
    # The largest that is let through does arrive.
    for size in range(59_400, 60_001, 20):
        record = json.dumps("x" * size)
        try:
            data = files.encode(Picture(smooth()), fmt="jpeg", record=record)
        except InputError:
            break
        assert record_of(data) == record
    else:
        pytest.fail("the limit was never met")


# Whole or not at all


def listing(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_an_existing_file_stays_unless_overwritten(tmp_path: Path) -> None:
    path = put(tmp_path, "a.png", b"precious")
    with pytest.raises(InputError, match="exists.*--overwrite"):
        files.write(Picture(smooth()), path)
    assert path.read_bytes() == b"precious"
    path.chmod(0o640)
    files.write(Picture(smooth()), path, overwrite=True)
    assert np.array_equal(decoded(path), smooth())
    assert path.stat().st_mode & 0o777 == 0o640
    assert listing(tmp_path) == ["a.png"]


def test_a_new_file_has_the_usual_permissions(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        files.write(Picture(smooth()), tmp_path / "a.png")
    finally:
        os.umask(before)
    assert (tmp_path / "a.png").stat().st_mode & 0o777 == 0o640


def test_a_file_that_appears_meanwhile_is_not_overwritten(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.png"
    real = os.fsync

    def appear(handle: int) -> None:
        real(handle)
        path.write_bytes(b"precious")

    monkeypatch.setattr(os, "fsync", appear)
    with pytest.raises(InputError, match="exists"):
        files.write(Picture(smooth()), path)
    assert path.read_bytes() == b"precious"
    assert listing(tmp_path) == ["a.png"]


def test_file_systems_without_hard_links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    files.write(Picture(smooth()), tmp_path / "a.png")
    assert np.array_equal(decoded(tmp_path / "a.png"), smooth())
    with pytest.raises(InputError, match="exists"):
        files.write(Picture(smooth()), tmp_path / "a.png")
    assert listing(tmp_path) == ["a.png"]


@pytest.mark.parametrize("stop", [KeyboardInterrupt, MemoryError])
@pytest.mark.parametrize("overwrite", [False, True])
def test_nothing_is_left_after_an_interruption(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stop: type[BaseException], overwrite: bool
) -> None:
    path = put(tmp_path, "a.png", b"precious") if overwrite else tmp_path / "a.png"

    def interrupt(handle: int) -> None:
        assert len(listing(tmp_path)) == 1 + overwrite
        raise stop

    monkeypatch.setattr(os, "fsync", interrupt)
    with pytest.raises(stop):
        files.write(Picture(smooth()), path, overwrite=overwrite)
    assert listing(tmp_path) == (["a.png"] if overwrite else [])
    if overwrite:
        assert path.read_bytes() == b"precious"


def test_a_full_disk_is_one_line_and_leaves_nothing(tmp_path: Path) -> None:
    noise = Picture(RNG.integers(0, 256, (64, 64, 3), dtype=np.uint8))
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, before[1]))
    try:
        with pytest.raises(InputError, match="cannot be written: file too large") as caught:
            files.write(noise, tmp_path / "a.png")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert "\n" not in str(caught.value)
    assert listing(tmp_path) == []


def test_pixels_must_be_what_a_picture_holds() -> None:
    for pixels in (
        np.zeros((4, 4, 3)),
        np.zeros((4, 4), np.uint8),
        np.zeros((4, 4, 2), np.uint8),
        np.zeros((0, 4, 3), np.uint8),
    ):
        with pytest.raises(InputError, match="picture"):
            Picture(pixels)
    with pytest.raises(InputError, match="'gif'"):
        Picture(smooth(), format="gif")
    with pytest.raises(InputError, match="quality 0"):
        files.encode(Picture(smooth()), fmt="jpeg", quality=0)
    with pytest.raises(InputError, match="'gif'"):
        files.encode(Picture(smooth()), fmt="gif")


def test_pixels_are_not_changed_and_may_be_strided(tmp_path: Path) -> None:
    base = RNG.integers(0, 256, (20, 30, 3), dtype=np.uint8)
    view = base[::2, ::-3]
    kept = base.copy()
    files.write(Picture(view), tmp_path / "a.png")
    assert np.array_equal(decoded(tmp_path / "a.png"), view)
    assert np.array_equal(base, kept)
