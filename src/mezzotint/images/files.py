"""Picture files in and out: what is in a file, whole or refused; what is written, whole or not at all."""

from __future__ import annotations

import json
import os
import re
import stat
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from mezzotint.errors import InputError
from mezzotint.images import containers, xmp
from mezzotint.images.atomic import reason, shown, write_bytes
from mezzotint.images.libvips import libvips, one_line
from mezzotint.images.paths import (
    FORMATS,
    SIDE_LIMITS,
    WRITABLE,
    check_collisions,
    check_output,
    check_size,
    format_of,
    limits,
    output_path,
)

__all__ = [
    "FORMATS",
    "MAX_PIXELS",
    "SIDE_LIMITS",
    "WRITABLE",
    "Picture",
    "check_collisions",
    "check_output",
    "check_size",
    "decode",
    "encode",
    "format_of",
    "limits",
    "output_path",
    "read",
    "read_record",
    "strip",
    "write",
]

MAX_PIXELS = 1_000_000_000
"""The most pixels that a file may unfold into: a small file can claim far more than memory holds."""

_NAMES = {"jpeg": "JPEG", "webp": "WebP", "png": "PNG"}
_MM_PER_INCH = 25.4
_DEFAULT_DPI = 72.0
# Beyond this a resolution is a slip, and libvips complains on stderr about far larger ones.
_LEAST_DPI, _MOST_DPI = 0.1, 1e6
# What libvips puts into one JPEG segment; it leaves out more than that with no more than a warning.
_JPEG_XMP_LIMIT = 60_000
_EXIF_LIMIT = 65_000


@dataclass(frozen=True, eq=False)
class Picture:
    """A decoded picture and everything of its file that an output must carry on.

    `pixels`: uint8, h w c, c = 1 (grey) or 3 (RGB), upright, in the colours of the profile `icc`.
    `format`: "png", "jpeg" or "webp", from the content. `depth`: bits a sample. `lossless`: whether the file
    coded its pixels without loss. `icc`: the colour profile. `resolution`: dots an inch, (across, down), None
    if the file does not say. `exif`, `xmp`, `iptc`: the metadata blocks as they were, the EXIF orientation
    included although `pixels` already follow it. `chunks`: text and colour chunks of a PNG, (kind, body).
    `notes`: one line for everything that was adapted in reading, for the record of the run.

    Two pictures are the same if pixels, depth, profile and metadata are (`is_same`).
    Raises InputError for pixels of another type or shape.
    """

    pixels: np.ndarray
    format: str = "png"
    depth: int = 8
    lossless: bool = True
    icc: bytes | None = None
    resolution: tuple[float, float] | None = None
    exif: bytes | None = None
    xmp: bytes | None = None
    iptc: bytes | None = None
    chunks: tuple[tuple[bytes, bytes], ...] = ()
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        pixels = self.pixels
        if not isinstance(pixels, np.ndarray) or pixels.dtype != np.uint8:
            found = getattr(pixels, "dtype", type(pixels).__name__)
            raise InputError(f"pixels of type {found}: a picture holds numpy uint8")
        if pixels.ndim != 3 or pixels.shape[2] not in (1, 3) or 0 in pixels.shape:
            raise InputError(f"pixels of shape {pixels.shape}: a picture is height x width x 1 or 3 (RGB)")
        if self.format not in SIDE_LIMITS:
            raise InputError(f"format {self.format!r} is unknown: use one of {', '.join(SIDE_LIMITS)}")
        if self.depth != 8:
            raise InputError(f"{self.depth} bits a sample: a picture holds 8")

    @property
    def height(self) -> int:
        return self.pixels.shape[0]

    @property
    def width(self) -> int:
        return self.pixels.shape[1]

    @property
    def channels(self) -> int:
        return self.pixels.shape[2]

    @cached_property
    def id(self) -> int:
        """The number that stands for the pixels: first 8 bytes of their SHA-256, see `noise.picture_id`."""
        from mezzotint.noise import picture_id

        return picture_id(self.pixels)

    def is_same(self, other: Picture) -> bool:
        """Whether pixels, depth, profile and metadata are equal; format, coding and notes do not count."""
        return (
            np.array_equal(self.pixels, other.pixels)
            and (self.depth, self.icc, self.exif, self.xmp, self.iptc, self.chunks)
            == (other.depth, other.icc, other.exif, other.xmp, other.iptc, other.chunks)
            and (self.resolution is None) == (other.resolution is None)
            and np.allclose(self.resolution or 0.0, other.resolution or 0.0, rtol=1e-3)
        )


def strip(picture: Picture) -> Picture:
    """`picture` without metadata; the profile and the resolution, which say how it looks, stay."""
    colour = tuple((kind, body) for kind, body in picture.chunks if kind not in (b"tEXt", b"zTXt", b"iTXt"))
    return replace(picture, exif=None, xmp=None, iptc=None, chunks=colour)


def read(path: str | os.PathLike[str], *, max_pixels: int = MAX_PIXELS) -> Picture:
    """The picture in the file `path`, a PNG, JPEG or WebP by its content, whatever its name.

    8-bit grey and RGB are read as they are. Palettes become RGB, 1- to 4-bit grey becomes 8-bit, the EXIF
    orientation is applied, an alpha channel that is opaque everywhere is dropped; `Picture.notes` says so.
    Raises InputError, one line with the path, the fact and the way out, for anything else: a file that is
    missing, empty, damaged or cut short, another kind of file, animation, transparency, CMYK, other depths,
    more than `max_pixels` pixels.
    """
    return decode(_read_bytes(path), name=shown(path), max_pixels=max_pixels)


def decode(data: bytes, *, name: str, max_pixels: int = MAX_PIXELS) -> Picture:
    """The picture in the bytes of a file, as `read`; `name` stands for the path in errors."""
    kind = _kind(data, name=name)
    facts = containers.facts(data, kind=kind)
    _refuse_unread(facts, name=name, kind=kind)
    image = _header(data, name=name, kind=kind)
    _refuse_unread_header(image, name=name, max_pixels=max_pixels)
    pixels, notes = _pixels(image, data, name=name, kind=kind)
    fields = set(image.get_fields())
    if "palette" in fields:
        notes.append("palette expanded to RGB")
    bits = image.get("bits-per-sample") if "bits-per-sample" in fields else 8
    if bits < 8 and "palette" not in fields:
        notes.append(f"{bits}-bit grey expanded to 8 bits")
    if pixels.shape[2] in (2, 4):
        if pixels[..., -1].min() < 255:
            raise InputError(f"{name} is transparent in places: flatten it to an opaque picture first")
        pixels = np.ascontiguousarray(pixels[..., :-1])
        notes.append("alpha channel dropped: it is opaque everywhere")
    resolution = _resolution(image, facts, kind=kind)
    if resolution is not None and not _is_credible(resolution):
        notes.append(f"resolution dropped: {resolution[0]:g} x {resolution[1]:g} dots an inch")
        resolution = None
    orientation = image.get("orientation") if "orientation" in fields else 1
    if orientation in range(2, 9):
        pixels = _upright(pixels, orientation)
        if resolution is not None and orientation >= 5:
            resolution = (resolution[1], resolution[0])
        notes.append(f"EXIF orientation {orientation} applied")
    icc = _blob(image, "icc-profile-data")
    if icc is not None and icc[16:20] != (b"GRAY" if pixels.shape[2] == 1 else b"RGB "):
        space = ascii(icc[16:20].decode("latin-1").strip())
        notes.append(f"colour profile dropped: it is for the colour space {space}")
        icc = None
    exif = _blob(image, "exif-data")
    if exif is not None and len(exif) > _EXIF_LIMIT:
        notes.append(f"EXIF block dropped: its {len(exif)} bytes are more than {_EXIF_LIMIT}")
        exif = None
    packet = xmp.without_record(_blob(image, "xmp-data"))
    if packet is not None and not xmp.is_extensible(packet):
        notes.append("XMP packet dropped: it is not one RDF element in UTF-8")
        packet = None
    return Picture(
        pixels,
        format=kind,
        lossless=facts.lossless,
        icc=icc,
        resolution=resolution,
        exif=exif.removeprefix(b"Exif\0\0") if exif else None,
        xmp=packet,
        iptc=_blob(image, "iptc-data"),
        chunks=facts.chunks,
        notes=tuple(notes),
    )


def read_record(path: str | os.PathLike[str]) -> str | None:
    """The record that `write` put into the file `path`, a JSON text, or None if there is none.

    Only the header is decoded. Raises InputError where the file cannot be opened as a picture.
    """
    data, name = _read_bytes(path), shown(path)
    kind = _kind(data, name=name)
    image = _header(data, name=name, kind=kind)
    if kind == "png":
        ending = "-" + containers.RECORD_KEYWORD.decode()
        for field in image.get_fields():
            if field.startswith("png-comment-") and field.endswith(ending):
                return image.get(field)
        return None
    packet = _blob(image, "xmp-data")
    return None if packet is None else xmp.record_in(packet)


def write(
    picture: Picture,
    path: str | os.PathLike[str],
    *,
    quality: int = 95,
    lossless: bool | None = None,
    overwrite: bool = False,
    inputs: Iterable[str | os.PathLike[str]] = (),
    record: str | None = None,
    scale: float = 1.0,
) -> None:
    """Write `picture` to `path` in the format of its extension; the file is there whole or not at all.

    `inputs` are files that must not be overwritten. The other arguments are those of `encode`.
    Raises InputError (see `check_output`, `check_size`, `encode`, `atomic.write_bytes`).
    """
    check_output(path, inputs=inputs, overwrite=overwrite)
    check_size(path, width=picture.width, height=picture.height)
    data = encode(
        picture,
        fmt=format_of(path),
        quality=quality,
        lossless=lossless,
        record=record,
        scale=scale,
        name=shown(path),
    )
    write_bytes(path, data, overwrite=overwrite)


def encode(
    picture: Picture,
    *,
    fmt: str,
    quality: int = 95,
    lossless: bool | None = None,
    record: str | None = None,
    scale: float = 1.0,
    name: str = "the picture",
) -> bytes:
    """The bytes of a file of format `fmt` ("png", "jpeg", "webp") that holds `picture`.

    `quality`: 1 to 100, of JPEG (always 4:4:4) and of lossy WebP. `lossless`: of WebP; None means as the
    picture was. `record`: a JSON text put into the metadata (a text chunk of PNG, XMP of the others), with
    everything beyond ASCII escaped. `scale`: by how much the pixels are finer than those of the file that the
    metadata came from; it multiplies the resolution. Profile and metadata are carried over, the orientation
    becomes 1, a thumbnail goes. Raises InputError where the format cannot hold it, ValueError if `record` is
    not JSON.
    """
    if fmt not in SIDE_LIMITS:
        raise InputError(f"{name}: format {fmt!r} is not written: use one of {', '.join(SIDE_LIMITS)}")
    if not 1 <= quality <= 100:
        raise InputError(f"{name}: quality {quality} is outside 1 to 100: 95 is the default")
    record = None if record is None else _ascii_json(record)
    pyvips = libvips()
    pixels = np.ascontiguousarray(picture.pixels)
    resolution = picture.resolution and (picture.resolution[0] * scale, picture.resolution[1] * scale)
    if resolution is not None and not _is_credible(resolution):
        resolution = None
    across, down = resolution or (_DEFAULT_DPI, _DEFAULT_DPI)
    image = pyvips.Image.new_from_memory(pixels.data, picture.width, picture.height, picture.channels, "uchar").copy(
        interpretation="b-w" if picture.channels == 1 else "srgb"
    )
    blobs = _metadata(picture, fmt=fmt, record=record, name=name)
    keep = _attach(image, blobs, resolution_in_exif=resolution is not None and fmt != "png")
    # Only now: attaching an EXIF block sets the resolution that it states.
    image = image.copy(xres=across / _MM_PER_INCH, yres=down / _MM_PER_INCH)
    try:
        if fmt == "jpeg":
            return image.jpegsave_buffer(Q=quality, subsample_mode="off", optimize_coding=True, keep=keep)
        if fmt == "webp":
            exact = picture.lossless if lossless is None else lossless
            return image.webpsave_buffer(Q=quality, lossless=exact, smart_subsample=True, keep=keep)
        data = image.pngsave_buffer(keep=keep)
    except pyvips.Error as error:
        raise InputError(
            f"{name} cannot be written as {_NAMES[fmt]}: {one_line(error)}: choose another format"
        ) from error
    insert = picture.chunks
    if record is not None:
        insert = (*insert, (b"tEXt", containers.RECORD_KEYWORD + b"\0" + record.encode("ascii")))
    # libvips states a resolution even where none is known.
    return containers.png_with(data, drop=() if resolution else (b"pHYs",), insert=insert)


def _read_bytes(path: str | os.PathLike[str]) -> bytes:
    name = shown(path)
    try:
        mode = os.stat(path).st_mode
        if stat.S_ISDIR(mode):
            raise InputError(f"{name} is a folder, not a picture: name the pictures in it")
        if not stat.S_ISREG(mode):
            raise InputError(f"{name} is a pipe, device or socket: save the picture to a file first")
        with open(path, "rb") as file:
            head = file.read(4096)
            if containers.recognise(head) is None:
                raise _unknown(head, name=name)
            return head + file.read()
    except FileNotFoundError as error:
        broken = os.path.islink(path)
        fact = "is a link to a file that does not exist" if broken else "does not exist"
        raise InputError(f"{name} {fact}: check the name and the folder") from error
    except PermissionError as error:
        raise InputError(f"{name} cannot be read: {reason(error)}: change its permissions") from error
    except OSError as error:
        raise InputError(f"{name} cannot be read: {reason(error)}: check the name and the disk") from error
    except ValueError as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{name} cannot be the name of a file: {error}: check the name") from error


def _unknown(head: bytes, *, name: str) -> InputError:
    if not head:
        return InputError(f"{name} is empty (0 bytes): copy or download it again")
    if not head.strip(b"\0"):
        return InputError(f"{name} holds only zeros where a picture begins: copy or download it again")
    foreign = containers.describe_foreign(head)
    if foreign is None:
        return InputError(f"{name} is not a picture of a known kind: PNG, JPEG and WebP are read")
    return InputError(f"{name} is {foreign}: PNG, JPEG and WebP are read, convert it first")


def _kind(data: bytes, *, name: str) -> str:
    kind = containers.recognise(data)
    if kind is None:
        raise _unknown(data, name=name)
    return kind


def _header(data: bytes, *, name: str, kind: str) -> Any:
    """A libvips image of which no pixel is decoded yet."""
    pyvips = libvips()
    try:
        return _loaded(data, kind=kind, fail_on="truncated")
    except pyvips.Error as error:
        raise _damaged(one_line(error), name=name, kind=kind) from error


def _loaded(data: bytes, *, kind: str, fail_on: str) -> Any:
    # The loader is named by the content, so no other loader of libvips is ever tried.
    return getattr(libvips().Image, f"{kind}load_buffer")(data, fail_on=fail_on, access="sequential")


def _damaged(fact: str, *, name: str, kind: str) -> InputError:
    return InputError(f"{name} is a damaged or incomplete {_NAMES[kind]} ({fact}): copy or download it again")


def _refuse_unread(facts: containers.Facts, *, name: str, kind: str) -> None:
    if facts.frames > 1:
        raise _animated(facts.frames, name=name)
    if facts.depth is not None and facts.depth > 8:
        raise InputError(f"{name} has {facts.depth} bits a sample, and 8 are read: convert it to 8 bits first")
    if facts.colours == 4:
        raise InputError(f"{name} is a CMYK picture, and grey and RGB are read: convert it to RGB first")
    if not facts.complete:
        raise _damaged("its end is missing", name=name, kind=kind)


def _refuse_unread_header(image: Any, *, name: str, max_pixels: int) -> None:
    count = image.width * image.height
    if count > max_pixels:
        raise InputError(
            f"{name} is {image.width} x {image.height} = {count:,} pixels, more than the limit of "
            f"{max_pixels:,}: cut it into smaller pictures first"
        )
    frames = image.get("n-pages") if "n-pages" in image.get_fields() else 1
    if frames > 1:
        raise _animated(frames, name=name)
    if image.format != "uchar":
        raise InputError(f"{name} has samples of type {image.format}, and 8 bits are read: convert it first")


def _animated(frames: int, *, name: str) -> InputError:
    return InputError(f"{name} is animated ({frames} frames): extract the frame you want as a PNG first")


def _pixels(image: Any, data: bytes, *, name: str, kind: str) -> tuple[np.ndarray, list[str]]:
    """h w bands uint8, and notes about warnings of the decoder.

    The strict pass fails on any warning. Most are harmless and are noted after a second, tolerant pass; a
    JPEG whose coded data is corrupt decodes to rubbish from there on and is refused.
    """
    pyvips = libvips()
    notes: list[str] = []
    try:
        pixels = _loaded(data, kind=kind, fail_on="warning").numpy()
    except pyvips.Error as strict:
        warning = one_line(strict)
        if "Corrupt JPEG data" in warning and "extraneous bytes" not in warning:
            raise _damaged(warning, name=name, kind=kind) from strict
        try:
            pixels = _loaded(data, kind=kind, fail_on="truncated").numpy()
        except pyvips.Error as error:
            raise _damaged(one_line(error), name=name, kind=kind) from error
        notes.append(f"the decoder warned: {warning}")
    return pixels.reshape(image.height, image.width, image.bands), notes


def _upright(pixels: np.ndarray, orientation: int) -> np.ndarray:
    if orientation >= 5:
        pixels = pixels.transpose(1, 0, 2)
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    return np.ascontiguousarray(pixels)


def _resolution(image: Any, facts: containers.Facts, *, kind: str) -> tuple[float, float] | None:
    fields = image.get_fields()
    if facts.resolution is not None:
        return facts.resolution
    if kind == "jpeg":
        # libvips fills in a default; only this field says that the file stated one.
        stated = "resolution-unit" in fields
        return (image.xres * _MM_PER_INCH, image.yres * _MM_PER_INCH) if stated else None
    across, down = (_exif_number(image, f"exif-ifd0-{axis}Resolution") for axis in "XY")
    if not across or not down:
        return None
    factor = 2.54 if _exif_number(image, "exif-ifd0-ResolutionUnit") == 3 else 1.0
    return across * factor, down * factor


def _is_credible(resolution: tuple[float, float]) -> bool:
    return all(_LEAST_DPI <= dots <= _MOST_DPI for dots in resolution)


def _exif_number(image: Any, field: str) -> float | None:
    if field not in image.get_fields():
        return None
    match = re.match(r"(\d+)(?:/(\d+))?\s", image.get(field))
    if match is None:
        return None
    return int(match[1]) / int(match[2]) if match[2] and int(match[2]) else float(match[1])


def _blob(image: Any, field: str) -> bytes | None:
    if field not in image.get_fields():
        return None
    value = bytes(image.get(field))
    return value or None


def _metadata(picture: Picture, *, fmt: str, record: str | None, name: str) -> dict[str, bytes]:
    packet = None if picture.xmp is None else xmp.upright(picture.xmp)
    if record is not None and fmt != "png":
        packet = xmp.with_record(packet, record)
    if fmt == "jpeg" and packet is not None and len(packet) > _JPEG_XMP_LIMIT:
        raise InputError(
            f"{name}: {len(packet)} bytes of XMP metadata are more than a JPEG takes ({_JPEG_XMP_LIMIT}): "
            "write .png, drop metadata with --strip, or put the record into a file with --record"
        )
    blobs = {
        "icc-profile-data": picture.icc,
        "exif-data": None if picture.exif is None else b"Exif\0\0" + picture.exif,
        "xmp-data": packet,
        "iptc-data": picture.iptc if fmt == "jpeg" else None,
    }
    return {field: blob for field, blob in blobs.items() if blob}


def _attach(image: Any, blobs: dict[str, bytes], *, resolution_in_exif: bool) -> str:
    """Put the blocks on `image` and return which kinds its writer shall keep."""
    pyvips = libvips()
    for field, blob in blobs.items():
        image.set_type(pyvips.GValue.blob_type, field, blob)
    image.set_type(pyvips.GValue.gint_type, "orientation", 1)
    # A blob of no bytes makes the writer leave out the thumbnail of the small picture.
    image.set_type(pyvips.GValue.blob_type, "jpeg-thumbnail-data", b"")
    kinds = [field.split("-")[0] for field in blobs]
    if resolution_in_exif and "exif" not in kinds:
        kinds.append("exif")
    return ",".join(kinds) or "none"


def _ascii_json(text: str) -> str:
    json.loads(text)

    def escaped(match: re.Match[str]) -> str:
        return json.dumps(match[0])[1:-1]

    # JSON holds such characters in strings only, where an escape means the same.
    return re.sub(r"[^\x00-\x7f]+", escaped, text)
