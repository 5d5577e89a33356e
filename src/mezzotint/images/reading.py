"""Picture files in: what is in a file, whole or refused in one line."""

from __future__ import annotations

import io
import os
import re
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, BinaryIO

import numpy as np

from mezzotint.errors import InputError
from mezzotint.images import containers, netpbm, profiles, tiff, xmp
from mezzotint.images.atomic import reason, shown
from mezzotint.images.capabilities import SPACES, TABLE
from mezzotint.images.libvips import libvips, one_line
from mezzotint.images.paths import MAX_WHOLE_PIXELS
from mezzotint.images.picture import Picture
from mezzotint.images.resolution import MM_PER_INCH, is_credible
from mezzotint.images.spool import MEMORY_LIMIT, Samples, Spool, rows_for, strips

MAX_PIXELS = 1_000_000_000
"""The most pixels that a file may unfold into: a small file can claim far more than memory holds."""

_READ = "PNG, JPEG, TIFF, WebP, AVIF, PPM and PFM are read"
_EXIF_LIMIT = 65_000
# Bytes of one strip or tile of a TIFF, which its library unfolds at once.
_MOST_BLOCK = 512 << 20
# The TIFF library of libvips takes 50 MB in all for one, unless told that there is no limit.
_USUAL_BLOCK = 12 << 20
# Bytes of samples that are asked of the decoder at once, and that are turned at once.
_FETCHED, _TURNED = 8 << 20, 64 << 20
_ROWS = 128
_LOADERS = {"png": "pngload", "jpeg": "jpegload", "tiff": "tiffload", "webp": "webpload", "avif": "heifload"}
_INTEGERS = {"uchar": np.dtype(np.uint8), "ushort": np.dtype(np.uint16), "float": np.dtype(np.float32)}


def read(
    path: str | os.PathLike[str],
    *,
    max_pixels: int = MAX_PIXELS,
    spool: str | os.PathLike[str] | None = None,
    memory: int = MEMORY_LIMIT,
) -> Picture:
    """The picture in the file `path`, a PNG, JPEG, TIFF, WebP, AVIF, PPM or PFM by its content, whatever its name.

    Grey, RGB and CMYK of 8, 16 and 32 (float) bits are read as they are, with or without alpha. Palettes become
    8-bit RGB, 1- to 4-bit grey becomes 8-bit, samples of 10 and 12 bits are spread over 16, premultiplied alpha is
    made straight and the EXIF orientation is applied; `Picture.notes` says so. Samples of more than `memory` bytes go
    into a `Spool` in the folder `spool`, by default the system's for temporary files.
    Raises InputError, one line with the path, the fact and the way out, for anything else: a file that is missing,
    empty, damaged or cut short, another kind of file, animation, several pages, other depths and colour spaces,
    floats that are not finite, more than `max_pixels` pixels.
    """
    with _opened(path) as file:
        return _read(file, name=shown(path), max_pixels=max_pixels, spool=spool, memory=memory)


def decode(
    data: bytes, *, name: str, max_pixels: int = MAX_PIXELS, spool: str | os.PathLike[str] | None = None
) -> Picture:
    """The picture in the bytes of a file, as `read`; `name` stands for the path in errors.

    Its samples are held in memory, large ones in the folder `spool` if it is given.
    """
    memory = 1 << 62 if spool is None else MEMORY_LIMIT
    return _read(io.BytesIO(data), name=name, max_pixels=max_pixels, spool=spool, memory=memory)


def read_plain(path: str | os.PathLike[str], *, max_pixels: int = MAX_PIXELS) -> Picture:
    """The picture in `path` as measurements and training take it: 8-bit grey or RGB, opaque, in memory.

    An alpha channel that is opaque everywhere is dropped with a note. Raises InputError for other pictures, and
    where `read` does.
    """
    with _opened(path) as file:
        name = shown(path)
        return plain(_read(file, name=name, max_pixels=max_pixels, spool=None, memory=1 << 62), name=name)


def plain(picture: Picture, *, name: str) -> Picture:
    """`picture` if it is 8-bit grey or RGB, without its alpha channel if that is opaque; else InputError."""
    if picture.space == "cmyk":
        raise InputError(f"{name} is a CMYK picture, and grey and RGB are taken here: convert it to RGB first")
    if picture.bits != 8:
        kind = "floats" if picture.bits == 32 else f"{picture.bits} bits a sample"
        raise InputError(f"{name} has {kind}, and 8 bits are taken here: convert it to 8 bits first")
    if not picture.alpha:
        return picture
    for part in strips(picture.rows.shape, picture.dtype):
        if picture.rows[part][..., -1].min() < 255:
            raise InputError(f"{name} is transparent in places: flatten it to an opaque picture first")
    rows = np.ascontiguousarray(picture.pixels)
    notes = (*picture.notes, "alpha channel dropped: it is opaque everywhere")
    return replace(picture, rows=rows, alpha=False, notes=notes)


def read_record(path: str | os.PathLike[str]) -> str | None:
    """The record that `write` put into the file `path`, a JSON text, or None if there is none.

    Only the header is decoded. Raises InputError where the file cannot be opened as a picture.
    """
    name = shown(path)
    with _opened(path) as file:
        kind = _kind(file, name=name)
        if not TABLE[kind].record:
            return None
        image = _Decoder(file, name=name, kind=kind).header()
        if kind == "png":
            return containers.png_record(file)
        packet = _blob(image, "xmp-data")
    return None if packet is None else xmp.record_in(packet)


@dataclass
class _Layout:
    """What the samples of a file are, and how they become those of a picture."""

    space: str
    alpha: bool
    bits: int
    notes: list[str] = field(default_factory=list)
    convert: Callable[[np.ndarray], np.ndarray] | None = None


def _read(file: BinaryIO, *, name: str, max_pixels: int, spool: str | os.PathLike[str] | None, memory: int) -> Picture:
    kind = _kind(file, name=name)
    if kind in ("ppm", "pfm"):
        return _read_netpbm(file, name=name, kind=kind, max_pixels=max_pixels, spool=spool, memory=memory)
    directory = None
    if kind == "tiff":
        directory = _tiff_directory(file, name=name)
        facts = containers.Facts(lossless=directory.compression not in _LOSSY_TIFF, resolution=directory.resolution)
        _check_count(directory.width, directory.height, name=name, max_pixels=max_pixels)
    else:
        facts = containers.facts(file, kind=kind)
        _refuse_unread(facts, name=name, kind=kind)
    large_blocks = directory is not None and directory.block_bytes > _USUAL_BLOCK
    decoder = _Decoder(file, name=name, kind=kind, unlimited=large_blocks)
    image = decoder.header()
    _refuse_unread_header(image, facts, name=name, kind=kind, max_pixels=max_pixels)
    if not (facts.layered or kind in ("webp", "avif")):
        _check_plausible(image, directory, size=file.seek(0, os.SEEK_END), name=name, kind=kind)
    layout = _layout(image, facts, directory, name=name, kind=kind)
    fields = set(image.get_fields())
    notes = layout.notes
    resolution = _resolution(image, facts, kind=kind)
    if resolution is not None and not is_credible(resolution):
        notes.append(f"resolution dropped: {resolution[0]:g} x {resolution[1]:g} dots an inch")
        resolution = None
    orientation = image.get("orientation") if "orientation" in fields and kind != "avif" else 1
    if orientation in range(2, 9):
        if resolution is not None and orientation >= 5:
            resolution = (resolution[1], resolution[0])
        notes.append(f"EXIF orientation {orientation} applied")
    else:
        orientation = 1
    icc = _blob(image, "icc-profile-data")
    if icc is not None and profiles.space_of(icc) != layout.space:
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
    iptc = _blob(image, "iptc-data")
    samples = SPACES[layout.space] + layout.alpha
    size = (image.width, image.height, samples) if orientation >= 5 else (image.height, image.width, samples)
    dtype = np.dtype(np.uint8) if layout.bits == 8 else np.dtype(np.float32 if layout.bits == 32 else np.uint16)
    # The header's image and the decoder's share the file's position: only one of them reads.
    del image
    rows = rows_for(size, dtype, folder=spool, limit=memory)
    try:
        warning = decoder.fill(rows, layout, orientation)
    except BaseException:
        if isinstance(rows, Spool):
            rows.close()
        raise
    if warning is not None:
        notes.insert(0, f"the decoder warned: {warning}")
    return Picture(
        rows,
        format=kind,
        space=layout.space,
        alpha=layout.alpha,
        bits=layout.bits,
        linear=layout.bits == 32 and icc is not None and profiles.is_linear(icc),
        lossless=facts.lossless,
        icc=icc,
        resolution=resolution,
        exif=exif.removeprefix(b"Exif\0\0") if exif else None,
        xmp=packet,
        iptc=iptc,
        chunks=facts.chunks,
        notes=tuple(notes),
    )


def _read_netpbm(
    file: BinaryIO, *, name: str, kind: str, max_pixels: int, spool: str | os.PathLike[str] | None, memory: int
) -> Picture:
    rows: Samples | None = None
    try:
        head = netpbm.header(file)
        _check_count(head.width, head.height, name=name, max_pixels=max_pixels)
        if file.seek(0, os.SEEK_END) < netpbm.bytes_needed(head):
            raise netpbm.NetpbmError("its end is missing")
        rows = rows_for((head.height, head.width, head.channels), head.dtype, folder=spool, limit=memory)
        for part, samples in netpbm.rows(file, head):
            _check_finite(samples, name=name)
            rows[part] = samples
        if netpbm.is_followed(file):
            raise InputError(f"{name} holds several pictures: split it first, for example with pamsplit")
    except netpbm.NetpbmError as error:
        _close(rows)
        raise _damaged(str(error), name=name, kind=kind) from error
    except BaseException:
        _close(rows)
        raise
    return Picture(rows, format=kind, notes=(head.note,) if head.note else ())


def _close(rows: Samples | None) -> None:
    if isinstance(rows, Spool):
        rows.close()


class _Decoder:
    """The samples of one open file, through libvips; the loader is named, so that no other one is ever tried."""

    def __init__(self, file: BinaryIO, *, name: str, kind: str, unlimited: bool = False) -> None:
        self._file, self._name, self._kind, self._unlimited = file, name, kind, unlimited
        self._data = file.getvalue() if isinstance(file, io.BytesIO) else None

    def header(self) -> Any:
        """A libvips image of which no pixel is decoded yet."""
        try:
            return self._loaded("truncated")
        except libvips().Error as error:
            raise _damaged(one_line(error), name=self._name, kind=self._kind) from error

    def fill(self, rows: Samples, layout: _Layout, orientation: int) -> str | None:
        """Decode the samples into `rows`, upright; what the decoder warned of, if anything.

        The strict pass fails on any warning. Most are harmless and are told after a second, tolerant pass; a JPEG
        whose coded data is corrupt decodes to rubbish from there on and is refused.
        """
        pyvips = libvips()
        try:
            self._fill(rows, layout, orientation, fail_on="warning")
        except pyvips.Error as strict:
            warning = one_line(strict)
            if "Corrupt JPEG data" in warning and "extraneous bytes" not in warning:
                raise _damaged(warning, name=self._name, kind=self._kind) from strict
        else:
            return None
        try:
            self._fill(rows, layout, orientation, fail_on="truncated")
        except pyvips.Error as error:
            raise _damaged(one_line(error), name=self._name, kind=self._kind) from error
        return warning

    def _loaded(self, fail_on: str) -> Any:
        pyvips = libvips()
        if self._data is not None:
            source = pyvips.Source.new_from_memory(self._data)
        else:
            self._file.seek(0)
            os.lseek(self._file.fileno(), 0, os.SEEK_SET)
            source = pyvips.Source.new_from_descriptor(self._file.fileno())
        load = getattr(pyvips.Image, f"{_LOADERS[self._kind]}_source")
        options = {"unlimited": True} if self._unlimited else {}
        return load(source, fail_on=fail_on, access="sequential", **options)

    def _fill(self, rows: Samples, layout: _Layout, orientation: int, *, fail_on: str) -> None:
        image = self._loaded(fail_on)
        dtype = _INTEGERS[image.format]
        region = libvips().Region.new(image)
        shape = (image.height, image.width, image.bands)
        # Every turned strip is written row by row of the result: the fewer strips, the better. Fetching takes some
        # times the memory of what is fetched.
        gathered = _TURNED if orientation >= 5 and isinstance(rows, Spool) else _FETCHED
        # A decoder that fails is asked again for every row that is fetched.
        fetched = min(_FETCHED, _ROWS * image.width * image.bands * dtype.itemsize)
        for whole in strips(shape, dtype, size=gathered):
            block = None
            for part in strips((whole.stop - whole.start, *shape[1:]), dtype, size=fetched):
                count = part.stop - part.start
                buffer = region.fetch(0, whole.start + part.start, image.width, count)
                samples = np.frombuffer(buffer, dtype).reshape(count, image.width, image.bands)
                if layout.convert is not None:
                    samples = layout.convert(samples)
                _check_finite(samples, name=self._name)
                if count == whole.stop - whole.start:
                    block = samples
                else:
                    if block is None:
                        block = np.empty((whole.stop - whole.start, *samples.shape[1:]), samples.dtype)
                    block[part] = samples
            assert block is not None
            _place(rows, block, top=whole.start, height=image.height, orientation=orientation)


def _place(rows: Samples, samples: np.ndarray, *, top: int, height: int, orientation: int) -> None:
    """Put a strip of the file, from row `top` of `height` on, where it belongs in the upright picture."""
    if orientation < 5:
        if orientation in (2, 3):
            samples = samples[:, ::-1]
        if orientation in (3, 4):
            stop = height - top
            rows[stop - len(samples) : stop] = samples[::-1]
        else:
            rows[top : top + len(samples)] = samples
        return
    columns = samples.transpose(1, 0, 2)
    if orientation in (7, 8):
        columns = columns[::-1]
    left = top
    if orientation in (6, 7):
        columns = columns[:, ::-1]
        left = height - top - len(samples)
    if isinstance(rows, Spool):
        rows.put_columns(left, columns)
    else:
        assert isinstance(rows, np.ndarray)
        rows[:, left : left + len(samples)] = columns


def _check_finite(samples: np.ndarray, *, name: str) -> None:
    if samples.dtype == np.float32 and not np.isfinite(samples).all():
        raise InputError(f"{name} holds values that are not finite (NaN or infinity): mend it first")


@contextmanager
def _opened(path: str | os.PathLike[str]) -> Iterator[BinaryIO]:
    """The file `path`, if it can be read and begins like a picture."""
    name = shown(path)
    try:
        # The system waits for a writer before it opens a pipe.
        mode = os.stat(path).st_mode
        if stat.S_ISDIR(mode):
            raise InputError(f"{name} is a folder, not a picture: name the pictures in it")
        if not stat.S_ISREG(mode):
            raise InputError(f"{name} is a pipe, device or socket: save the picture to a file first")
        file = open(path, "rb")  # noqa: SIM115
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
    with file:
        try:
            yield file
        except OSError as error:
            raise InputError(f"{name} cannot be read: {reason(error)}: check the disk") from error


def _kind(file: BinaryIO, *, name: str) -> str:
    file.seek(0)
    head = file.read(4096)
    kind = containers.recognise(head)
    if kind is not None:
        return kind
    if not head:
        raise InputError(f"{name} is empty (0 bytes): copy or download it again")
    if not head.strip(b"\0"):
        raise InputError(f"{name} holds only zeros where a picture begins: copy or download it again")
    foreign = containers.describe_foreign(head)
    if foreign is None:
        raise InputError(f"{name} is not a picture of a known kind: {_READ}")
    raise InputError(f"{name} is {foreign}: {_READ}, convert it first")


def _damaged(fact: str, *, name: str, kind: str) -> InputError:
    title = TABLE[kind].title
    return InputError(f"{name} is a damaged or incomplete {title} ({fact}): copy or download it again")


def _check_count(width: int, height: int, *, name: str, max_pixels: int) -> None:
    if width * height > max_pixels:
        raise InputError(
            f"{name} is {width} x {height} = {width * height:,} pixels, more than the limit of "
            f"{max_pixels:,}: cut it into smaller pictures first"
        )


# The most bytes that one byte of a file can unfold into: deflate 1032, a JPEG block of 64 samples is at least 2 bits,
# LZW 4096 strings of at most 4096 bytes in 12 bits, PackBits 128 in 2 bytes. By the compression tag for TIFF.
_MOST_FROM_A_BYTE = {"png": 1100, "jpeg": 300}
_FAX = (2, 3, 4)
_MOST_FROM_A_TIFF_BYTE = {1: 1, 5: 2800, 7: 300, 8: 1100, 32946: 1100, 32773: 66}


def _check_plausible(image: Any, directory: tiff.Directory | None, *, size: int, name: str, kind: str) -> None:
    """Refuse sizes that cannot be in a file of `size` bytes, before room is made for them."""
    ratio = _MOST_FROM_A_BYTE.get(kind)
    needed = image.width * image.height * image.bands * (1 if image.format == "uchar" else 2)
    if directory is not None:
        ratio = _MOST_FROM_A_TIFF_BYTE.get(directory.compression)
        needed = directory.width * directory.height * directory.samples * (directory.bits or 1) // 8
        if directory.compression in _FAX and directory.height > 8 * size:
            # A row is one bit at least.
            ratio = 0
    elif kind == "png":
        # A palette, a bitmap and a transparent colour have fewer bits in the file than here.
        needed //= 8 * image.bands
    if ratio is not None and needed > size * ratio:
        raise _damaged(
            f"it claims {image.width} x {image.height} pixels, which cannot be in {size:,} bytes", name=name, kind=kind
        )


def _refuse_unread(facts: containers.Facts, *, name: str, kind: str) -> None:
    if facts.frames != 1:
        raise _animated(facts.frames, name=name)
    if kind == "jpeg" and facts.depth not in (None, 8):
        raise InputError(f"{name} is a JPEG of {facts.depth} bits a sample, and 8 are read: convert it to TIFF first")
    if not facts.complete:
        raise _damaged("its end is missing", name=name, kind=kind)


def _refuse_unread_header(image: Any, facts: containers.Facts, *, name: str, kind: str, max_pixels: int) -> None:
    _check_count(image.width, image.height, name=name, max_pixels=max_pixels)
    fields = image.get_fields()
    frames = image.get("n-pages") if "n-pages" in fields else 1
    if frames > 1 and kind != "tiff":
        raise _animated(frames, name=name)
    several = "jpeg-multiscan" in fields and image.get("jpeg-multiscan")
    count = image.width * image.height
    if count > MAX_WHOLE_PIXELS and (facts.layered or several or kind in ("webp", "avif")):
        what = "an interlaced PNG" if kind == "png" else "a progressive JPEG" if kind == "jpeg" else TABLE[kind].title
        way = f"save it as a plain {TABLE[kind].title}" if kind in ("png", "jpeg") else "convert it to TIFF or PNG"
        raise InputError(
            f"{name} is {what} of {count:,} pixels, which can only be decoded whole, up to {MAX_WHOLE_PIXELS:,} "
            f"pixels: {way} first"
        )
    if image.format not in _INTEGERS:
        raise InputError(
            f"{name} has samples of type {image.format}, and unsigned 8 and 16 bits and 32-bit floats are read: "
            "convert it first"
        )


def _animated(frames: int, *, name: str) -> InputError:
    several = f" ({frames} frames)" if frames else ""
    return InputError(f"{name} is animated{several}: extract the frame you want as a PNG first")


_JPEG_IN_TIFF = (6, 7)
# JPEG, JPEG 2000, JPEG XR, WebP, JPEG XL and lossy raw.
_LOSSY_TIFF = (*_JPEG_IN_TIFF, 33003, 33005, 34712, 34933, 34934, 50001, 50002, 34892)


def _tiff_directory(file: BinaryIO, *, name: str) -> tiff.Directory:
    """The tags of a TIFF that is read; InputError for others."""
    try:
        found = tiff.directory(file)
    except tiff.TiffError as error:
        raise _damaged(str(error), name=name, kind="tiff") from error
    if found.pages > 1:
        raise InputError(
            f"{name} holds {found.pages} pages, and one is read: extract the page you want first, for example with "
            f"magick '{name}[0]' page.tif"
        )
    colours = {
        tiff.GREY_FROM_WHITE: 1, tiff.GREY: 1, tiff.RGB: 3, tiff.PALETTE: 1, tiff.CMYK: 4, tiff.YCBCR: 3
    }.get(found.photometric)  # fmt: skip
    if colours is None or (found.photometric == tiff.CMYK and found.ink_set != 1):
        raise InputError(
            f"{name} is a TIFF in a colour space (photometric {found.photometric}) that is not read: convert it to "
            "grey, RGB or CMYK first"
        )
    extra = found.samples - colours
    if extra not in (0, 1) or (extra and found.photometric == tiff.PALETTE):
        raise InputError(
            f"{name} has {found.samples} samples a pixel, and grey, RGB and CMYK are read with at most one for alpha: "
            "extract the channels you want first"
        )
    form, bits = found.sample_format, found.bits
    known = (
        bits in (8, 16) or (bits in (1, 2, 4) and found.samples == 1)
        if form in (tiff.UNSIGNED, 4)
        else (form == tiff.FLOAT and bits in (16, 32))
    )
    if not known:
        kind = {1: "unsigned integers", 2: "signed integers", 3: "floats", 5: "complex", 6: "complex"}
        sort = kind.get(form or 0, "samples")
        raise InputError(
            f"{name} has {sort} of {bits or 'several'} bits, and 8- and 16-bit unsigned integers and 32-bit floats are "
            "read: convert it first"
        )
    if form == tiff.FLOAT and found.photometric == tiff.CMYK:
        raise InputError(f"{name} is a CMYK picture of floats, and 8 and 16 bits are read: convert it first")
    if found.separate and (found.tile or found.samples == 2):
        # libvips refuses the former and mixes up the rows of the latter.
        what = "in separate tiles" if found.tile else "of grey and alpha one after the other"
        raise InputError(
            f"{name} is a TIFF with its planes {what}, which is not read: save it interleaved first, for example with "
            "tiffcp -p contig"
        )
    if found.photometric == tiff.YCBCR and found.compression not in _JPEG_IN_TIFF:
        # libvips hands these out as if they were R, G and B.
        raise InputError(f"{name} is a TIFF of YCbCr samples without JPEG, which is not read: convert it to RGB first")
    # Strips that are not compressed are read row by row.
    if found.block_bytes > _MOST_BLOCK and (found.tile or found.compression != 1):
        blocks = "tiles" if found.tile else "strips"
        raise InputError(
            f"{name} is a TIFF with {blocks} of {found.block_bytes:,} bytes, more than the limit of {_MOST_BLOCK:,}: "
            f"save it in smaller {blocks} first"
        )
    return found


def _layout(image: Any, facts: containers.Facts, directory: tiff.Directory | None, *, name: str, kind: str) -> _Layout:
    """Space, alpha and depth of what the loader hands out, and what turns it into the samples of a picture."""
    fields = set(image.get_fields())
    stated = image.get("bits-per-sample") if "bits-per-sample" in fields else 8
    is_cmyk = image.interpretation == "cmyk"
    colours = 4 if is_cmyk else 1 if image.bands < 3 else 3
    alpha = image.bands - colours
    if alpha not in (0, 1):
        raise InputError(f"{name} has {image.bands} channels: extract those you want first")
    layout = _Layout(
        space="cmyk" if is_cmyk else "grey" if colours == 1 else "rgb",
        alpha=alpha == 1,
        bits={"uchar": 8, "ushort": 16, "float": 32}[image.format],
    )
    notes = layout.notes
    if "palette" in fields or (directory is not None and directory.photometric == tiff.PALETTE):
        notes.append("palette expanded to RGB")
    elif stated < 8:
        notes.append(f"{stated}-bit grey expanded to 8 bits")
    if directory is not None:
        if directory.sample_format == tiff.FLOAT and stated == 16:
            notes.append("16-bit floats expanded to 32 bits")
        if layout.alpha and 1 in directory.extra:
            notes.append("premultiplied alpha made straight")
            if layout.bits == 32 and colours == 1:
                # libvips divides by the alpha as if that went to 255 in grey floats.
                layout.convert = _divided
        elif layout.alpha and 2 not in directory.extra:
            notes.append("the channel beyond the colours read as alpha")
    if is_cmyk:
        layout.convert = _inverted(layout.alpha)
    if kind == "avif":
        depth = facts.depth or 8
        if depth in (10, 12):
            layout.bits, layout.convert = depth, _spread(depth)
        if facts.grey and image.bands >= 3:
            layout.space = "grey"
            layout.convert = _grey(layout.convert)
    return layout


def _inverted(alpha: bool) -> Callable[[np.ndarray], np.ndarray]:
    """Ink to its inverse, alpha as it is."""

    def convert(samples: np.ndarray) -> np.ndarray:
        result = ~samples
        if alpha:
            result[..., -1] = samples[..., -1]
        return result

    return convert


def _divided(samples: np.ndarray) -> np.ndarray:
    """Grey floats that came out 255 times too large, and alpha as it is."""
    return samples / np.array([255, 1], np.float32)


def _spread(bits: int) -> Callable[[np.ndarray], np.ndarray]:
    """Samples that the loader left in the upper `bits` bits of 16, spread over the whole range, rounded half up."""
    peak = (1 << bits) - 1
    table = ((np.arange(peak + 1, dtype=np.int64) * (2 * 65535) + peak) // (2 * peak)).astype(np.uint16)

    def convert(samples: np.ndarray) -> np.ndarray:
        return table[samples >> (16 - bits)]

    return convert


def _grey(before: Callable[[np.ndarray], np.ndarray] | None) -> Callable[[np.ndarray], np.ndarray]:
    """The first of three equal channels, and alpha."""

    def convert(samples: np.ndarray) -> np.ndarray:
        samples = samples[..., ::3]
        return samples if before is None else before(samples)

    return convert


def _resolution(image: Any, facts: containers.Facts, *, kind: str) -> tuple[float, float] | None:
    fields = image.get_fields()
    if facts.resolution is not None or kind == "tiff":
        return facts.resolution
    if kind == "jpeg":
        # libvips fills in a default; only this field says that the file stated one.
        stated = "resolution-unit" in fields
        return (image.xres * MM_PER_INCH, image.yres * MM_PER_INCH) if stated else None
    across, down = (_exif_number(image, f"exif-ifd0-{axis}Resolution") for axis in "XY")
    if not across or not down:
        return None
    factor = 2.54 if _exif_number(image, "exif-ifd0-ResolutionUnit") == 3 else 1.0
    return across * factor, down * factor


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
