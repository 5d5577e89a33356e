"""Picture files out: what is written, whole or not at all, and never other than what was asked for."""

from __future__ import annotations

import io
import json
import os
import re
from collections.abc import Iterable
from typing import Any, BinaryIO

import numpy as np

from mezzotint.errors import InputError
from mezzotint.images import containers, netpbm, tiff, xmp
from mezzotint.images.atomic import shown, whole
from mezzotint.images.capabilities import TABLE, formats_for, stored_bits
from mezzotint.images.libvips import libvips, one_line
from mezzotint.images.paths import check_output, check_size, format_of
from mezzotint.images.picture import Picture
from mezzotint.images.resolution import DEFAULT_DPI, MM_PER_INCH, scaled
from mezzotint.images.spool import Samples, Spool, rows_for, strips

# What libvips puts into one JPEG segment; it leaves out more than that with no more than a warning.
_JPEG_XMP_LIMIT = 60_000
# A classic TIFF counts its bytes with 32 bits; deflate can make noise a little longer than it was.
_CLASSIC_TIFF = 4_000_000_000
_VIPS_FORMATS = {np.dtype(np.uint8): "uchar", np.dtype(np.uint16): "ushort", np.dtype(np.float32): "float"}
_INTERPRETATIONS = {
    ("grey", 8): "b-w",
    ("grey", 16): "grey16",
    ("grey", 32): "b-w",
    ("rgb", 8): "srgb",
    ("rgb", 16): "rgb16",
    ("rgb", 32): "scrgb",
}


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
    convert: bool = False,
) -> tuple[str, ...]:
    """Write `picture` to `path` in the format of its extension, and return notes of what the format changed.

    The file is there whole or not at all. A picture in a spool is never held in memory, save for WebP and AVIF.
    `inputs` are files that must not be overwritten. The other arguments are those of `encode`.
    Raises InputError (see `check_output`, `check_size`, `encode`, `atomic.whole`).
    """
    check_output(path, inputs=inputs, overwrite=overwrite)
    check_size(path, width=picture.width, height=picture.height)
    fmt, name = format_of(path), shown(path)
    if fmt == "ppm" and picture.space == "rgb" and os.fspath(path).lower().endswith(".pgm"):
        raise InputError(f"{name}: PGM holds grey pictures, and this one is RGB: write .ppm instead")
    bits, notes = changes(picture, fmt=fmt, convert=convert, name=name)
    job = _Job(picture, fmt=fmt, bits=bits, quality=quality, lossless=lossless, record=record, scale=scale, name=name)
    with (
        whole(path, overwrite=overwrite) as part,
        open(os.open(part, os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), 0o666), "w+b") as file,
    ):
        job.put(file)
    return (*notes, *job.notes)


def encode(
    picture: Picture,
    *,
    fmt: str,
    quality: int = 95,
    lossless: bool | None = None,
    record: str | None = None,
    scale: float = 1.0,
    convert: bool = False,
    name: str = "the picture",
) -> bytes:
    """The bytes of a file of format `fmt` (a key of `capabilities.TABLE`) that holds `picture`.

    `quality`: 1 to 100, of JPEG (always 4:4:4) and of lossy WebP and AVIF. `lossless`: of WebP and AVIF; None means as
    the picture was. `record`: a JSON text put into the metadata (a text chunk of PNG, XMP of the others), with
    everything beyond ASCII escaped. `scale`: by how much the pixels are finer than those of the file that the
    metadata came from; it multiplies the resolution. `convert`: whether samples that the format cannot hold are
    brought to the depth that it holds, see `changes`. Profile and metadata are carried over as far as the format has
    a place for them, the orientation becomes 1, a thumbnail goes. Raises InputError where the format cannot hold the
    picture, ValueError if `record` is not JSON.
    """
    if fmt not in TABLE:
        raise InputError(f"{name}: format {fmt!r} is not written: use one of {', '.join(TABLE)}")
    bits, _ = changes(picture, fmt=fmt, convert=convert, name=name)
    file = io.BytesIO()
    job = _Job(picture, fmt=fmt, bits=bits, quality=quality, lossless=lossless, record=record, scale=scale, name=name)
    job.put(file)
    return file.getvalue()


def changes(
    picture: Picture, *, fmt: str, convert: bool = False, name: str = "the picture"
) -> tuple[int, tuple[str, ...]]:
    """The depth in which a file of format `fmt` holds `picture`, and one note for everything that it changes.

    A depth that the format lacks is changed only with `convert`: to the largest smaller one, rounded half up, floats
    as values in [0, 1], what is outside becoming the nearest. 10 and 12 bits become 16 where there are no such depths,
    which loses nothing. Raises InputError, with the formats that hold the picture, where it would have to be changed
    without `convert`, and where the format has no place for its alpha channel or its colour space.
    """
    form = TABLE[fmt]
    fitting = " or ".join(formats_for(bits=picture.bits, space=picture.space, alpha=picture.alpha))
    way = f"write {fitting} instead"
    if picture.alpha and not form.alpha:
        raise InputError(f"{name}: {form.title} has no alpha channel, and this picture has one: {way}")
    if picture.space not in form.spaces:
        title = {"cmyk": "CMYK", "rgb": "RGB", "grey": "grey"}[picture.space]
        raise InputError(f"{name}: {form.title} holds no {title} pictures: {way}")
    notes = []
    bits = stored_bits(form, picture.bits)
    if bits is None:
        if not convert:
            kind = "floats" if picture.bits == 32 else f"{picture.bits} bits a sample"
            held = "floats" if form.bits == (32,) else " or ".join(map(str, form.bits)) + " bits"
            raise InputError(f"{name}: this picture has {kind}, and {form.title} holds {held}: {way}")
        bits = max((depth for depth in form.bits if depth < picture.bits), default=min(form.bits))
        kind = "floats" if picture.bits == 32 else f"{picture.bits}-bit samples"
        notes.append(f"{kind} became {'floats' if bits == 32 else f'{bits}-bit samples, rounded half up'}")
    elif bits != picture.bits:
        notes.append(f"{picture.bits}-bit samples stored in {bits} bits")
    if picture.space == "grey" and form.grey_as_rgb:
        notes.append(f"grey stored as RGB with three equal channels: {form.title} is always colour")
    for kind, value in (("icc", picture.icc), ("exif", picture.exif), ("xmp", picture.xmp), ("iptc", picture.iptc)):
        if value is not None and kind not in form.metadata:
            notes.append(f"{kind.upper()} metadata left out: {form.title} has no place for it")
    if picture.resolution is not None and "resolution" not in form.metadata:
        notes.append(f"resolution left out: {form.title} has no place for it")
    if any(kind in (b"tEXt", b"zTXt", b"iTXt", b"tIME") for kind, _ in picture.chunks) and "text" not in form.metadata:
        notes.append(f"text of the PNG left out: {form.title} has no place for it")
    return bits, tuple(notes)


class _Job:
    """One picture on its way into one file."""

    def __init__(
        self,
        picture: Picture,
        *,
        fmt: str,
        bits: int,
        quality: int,
        lossless: bool | None,
        record: str | None,
        scale: float,
        name: str,
    ) -> None:
        if not 1 <= quality <= 100:
            raise InputError(f"{name}: quality {quality} is outside 1 to 100: 95 is the default")
        self.picture, self.fmt, self.bits, self.quality, self.name = picture, fmt, bits, quality, name
        self.lossless = picture.lossless if lossless is None else lossless
        self.record = None if record is None else _ascii_json(record)
        self.resolution = scaled(picture.resolution, scale)
        if self.record is not None and not TABLE[fmt].record:
            raise InputError(f"{name}: {TABLE[fmt].title} has no place for a record: put it into a file with --record")
        # Whatever is wrong with the metadata is known before the first byte.
        self.blobs = _metadata(picture, fmt=fmt, record=self.record, name=name)
        self.notes: list[str] = []

    def put(self, file: BinaryIO) -> None:
        """Write everything to `file`, which can be read too and is empty."""
        rows = _with_depth(self.picture, self.bits, shifted=self.fmt == "avif")
        try:
            if self.fmt in ("ppm", "pfm"):
                file.write(netpbm.encoded_header(rows))
                for part in netpbm.encoded_rows(rows):
                    file.write(part)
            else:
                self._save(rows, file)
                if self.fmt == "tiff" and self.resolution is None:
                    # libvips states a resolution even where none is known.
                    tiff.forget_resolution(file)
            file.flush()
        finally:
            if isinstance(rows, Spool) and rows is not self.picture.rows:
                rows.close()

    def _save(self, rows: Samples, file: BinaryIO) -> None:
        try:
            self._save_once(rows, file)
        except InputError:
            if self.fmt != "png" or "icc-profile-data" not in self.blobs:
                raise
            # The PNG library refuses pictures with a profile that has mistakes; others write such profiles.
            file.seek(0)
            file.truncate()
            del self.blobs["icc-profile-data"]
            self._save_once(rows, file)
            self.notes.append("colour profile left out: it has mistakes, and a PNG takes none of those")

    def _save_once(self, rows: Samples, file: BinaryIO) -> None:
        pyvips = libvips()
        self._samples = _SpoolSource()
        sink = _Sink(file, head=self._png_head if self.fmt == "png" else None)
        target = pyvips.TargetCustom()
        target.on_write(sink.write)
        target.on_seek(sink.seek)
        target.on_read(sink.read)
        try:
            image = self._image(rows)
            save = {"avif": "heif"}.get(self.fmt, self.fmt)
            getattr(image, f"{save}save_target")(target, **self._options(rows), keep=self._keep())
        except pyvips.Error as error:
            self._samples.check()
            sink.check()
            raise InputError(
                f"{self.name} cannot be written as {TABLE[self.fmt].title}: {one_line(error)}: choose another format"
            ) from error
        sink.check()

    def _options(self, rows: Samples) -> dict[str, Any]:
        if self.fmt == "jpeg":
            return {"Q": self.quality, "subsample_mode": "off", "optimize_coding": True}
        if self.fmt == "webp":
            # Colours under full transparency are part of a lossless picture.
            return {
                "Q": self.quality,
                "lossless": self.lossless,
                "exact": self.lossless,
                "alpha_q": 100,
                "smart_subsample": True,
            }
        if self.fmt == "avif":
            depth = {"compression": "av1", "bitdepth": self.bits, "subsample_mode": "off", "effort": 4}
            return depth | ({"lossless": True} if self.lossless else {"Q": self.quality})
        if self.fmt == "tiff":
            size = rows.shape[0] * rows.shape[1] * rows.shape[2] * rows.dtype.itemsize
            return {
                "compression": "deflate",
                "predictor": "none" if self.bits == 32 else "horizontal",
                "bigtiff": size > _CLASSIC_TIFF,
                "resunit": "inch",
            }
        return {}

    def _image(self, rows: Samples) -> Any:
        pyvips = libvips()
        height, width, bands = rows.shape
        form = _VIPS_FORMATS[np.dtype(rows.dtype)]
        picture = self.picture
        depth = {"uchar": 8, "ushort": 16, "float": 32}[form]
        meaning = "cmyk" if picture.space == "cmyk" else _INTERPRETATIONS[picture.space, depth]
        if isinstance(rows, Spool):
            # Not the loader of raw files, which maps the whole file into memory.
            image = pyvips.Image.tiffload_source(self._samples.open(rows, depth), access="sequential", fail_on="error")
        else:
            samples = np.ascontiguousarray(rows)
            image = pyvips.Image.new_from_memory(samples.data, width, height, bands, form)
        image = image.copy(interpretation=meaning)
        if picture.space == "cmyk":
            ink = image.extract_band(0, n=4).invert()
            image = (ink.bandjoin(image.extract_band(4)) if picture.alpha else ink).copy(interpretation=meaning)
        for field, blob in self.blobs.items():
            image.set_type(pyvips.GValue.blob_type, field, blob)
        image.set_type(pyvips.GValue.gint_type, "orientation", 1)
        # A blob of no bytes makes the writer leave out the thumbnail of the small picture.
        image.set_type(pyvips.GValue.blob_type, "jpeg-thumbnail-data", b"")
        across, down = self.resolution or (DEFAULT_DPI, DEFAULT_DPI)
        # Only now: attaching an EXIF block sets the resolution that it states.
        return image.copy(xres=across / MM_PER_INCH, yres=down / MM_PER_INCH)

    def _keep(self) -> str:
        """Which kinds of metadata the writer shall keep."""
        kinds = [field.split("-")[0] for field in self.blobs]
        if self.resolution is not None and self.fmt in ("jpeg", "webp", "avif") and "exif" not in kinds:
            kinds.append("exif")
        return ",".join(kinds) or "none"

    def _png_head(self, begun: bytes) -> tuple[bytes, int] | None:
        insert = self.picture.chunks
        if self.record is not None:
            insert = (*insert, (b"tEXt", containers.RECORD_KEYWORD + b"\0" + self.record.encode("ascii")))
        # libvips states a resolution even where none is known.
        return containers.png_head(begun, drop=() if self.resolution else (b"pHYs",), insert=insert)


class _SpoolSource:
    """The samples of a spool as a file that libvips reads; errors are kept, since they cannot pass libvips."""

    def __init__(self) -> None:
        self._error: BaseException | None = None

    def open(self, spool: Spool, bits: int) -> Any:
        """The source for a loader."""
        self._spool, self._at = spool, 0
        self._head = tiff.head_of_samples(spool.shape, bits=bits, is_float=bits == 32)
        self._end = len(self._head) + spool.nbytes
        # libvips calls back through this object as long as the image lives.
        self._source = libvips().SourceCustom()
        self._source.on_read(self.read)
        self._source.on_seek(self.seek)
        return self._source

    def read(self, size: int) -> bytes:
        try:
            if self._at < len(self._head):
                data = self._head[self._at : self._at + size]
            else:
                data = self._spool.raw(self._at - len(self._head), min(size, self._end - self._at))
        except BaseException as error:
            self._error = error
            return b""
        self._at += len(data)
        return data

    def seek(self, offset: int, whence: int) -> int:
        self._at = offset + {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._end}[whence]
        return self._at

    def check(self) -> None:
        """Raise the error that kept the samples from being read, if any."""
        if self._error is not None:
            raise self._error


class _Sink:
    """What libvips writes, on its way into a file; the errors of the file are kept, since they cannot pass libvips.

    `head` gets what has been written so far, until it returns what to write instead, and of how many bytes.
    """

    def __init__(self, file: BinaryIO, *, head: Any = None) -> None:
        self._file, self._head = file, head
        self._begun = bytearray()
        self._error: BaseException | None = None

    def write(self, data: Any) -> int:
        if self._error is not None:
            return -1
        try:
            if self._head is None:
                self._file.write(data)
            else:
                self._begun += data
                found = self._head(bytes(self._begun))
                if found is not None:
                    head, replaced = found
                    self._file.write(head)
                    self._file.write(self._begun[replaced:])
                    self._head, self._begun = None, bytearray()
        except BaseException as error:
            self._error = error
            return -1
        return len(data)

    def seek(self, offset: int, whence: int) -> int:
        try:
            return self._file.seek(offset, whence)
        except (OSError, ValueError) as error:
            self._error = error
            return -1

    def read(self, size: int) -> bytes:
        try:
            return self._file.read(size)
        except (OSError, ValueError) as error:
            self._error = error
            return b""

    def check(self) -> None:
        """Raise the error that kept the file from being written, if any."""
        if self._error is not None:
            raise self._error


def _with_depth(picture: Picture, bits: int, *, shifted: bool) -> Samples:
    """The samples of `picture` in a depth of `bits`; `shifted`: those of 10 and 12 bits in the upper bits of 16."""
    rows = picture.rows
    if bits == picture.bits and not (shifted and bits in (10, 12)):
        return rows
    if bits == 16 and picture.bits in (10, 12):
        return rows
    dtype = np.dtype(np.uint8 if bits == 8 else np.float32 if bits == 32 else np.uint16)
    peak = (1 << bits) - 1
    folder = rows.path.parent if isinstance(rows, Spool) else None
    result = rows_for(rows.shape, dtype, folder=folder) if folder else np.empty(rows.shape, dtype)
    try:
        for part in strips(rows.shape, np.dtype(np.float64)):
            samples = rows[part]
            if bits == 32:
                values = samples.astype(np.float64) / np.iinfo(samples.dtype).max
            elif picture.bits == 32:
                values = np.floor(samples.astype(np.float64).clip(0, 1) * peak + 0.5)
            else:
                most = int(np.iinfo(samples.dtype).max)
                values = (samples.astype(np.int64) * (2 * peak) + most) // (2 * most)
            if shifted and bits in (10, 12):
                values = values.astype(np.uint16) << (16 - bits)
            result[part] = values.astype(dtype)
    except BaseException:
        if isinstance(result, Spool):
            result.close()
        raise
    return result


def _metadata(picture: Picture, *, fmt: str, record: str | None, name: str) -> dict[str, bytes]:
    held = TABLE[fmt].metadata
    packet = None if picture.xmp is None else xmp.upright(picture.xmp)
    if record is not None and fmt != "png":
        packet = xmp.with_record(packet, record)
    if fmt == "jpeg" and packet is not None and len(packet) > _JPEG_XMP_LIMIT:
        raise InputError(
            f"{name}: {len(packet)} bytes of XMP metadata are more than a JPEG takes ({_JPEG_XMP_LIMIT}): "
            "write .png, drop metadata with --strip, or put the record into a file with --record"
        )
    blobs = {
        "icc-profile-data": picture.icc if "icc" in held else None,
        "exif-data": None if picture.exif is None or "exif" not in held else b"Exif\0\0" + picture.exif,
        "xmp-data": packet if "xmp" in held else None,
        "iptc-data": picture.iptc if "iptc" in held else None,
    }
    return {field: blob for field, blob in blobs.items() if blob}


def _ascii_json(text: str) -> str:
    json.loads(text)

    def escaped(match: re.Match[str]) -> str:
        return json.dumps(match[0])[1:-1]

    # JSON holds such characters in strings only, where an escape means the same.
    return re.sub(r"[^\x00-\x7f]+", escaped, text)
