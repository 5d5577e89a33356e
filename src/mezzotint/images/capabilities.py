"""What each format of picture files can hold: one table, from which refusals, limits and the documentation follow."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Format:
    """What files of one format hold when they are written.

    `title`: its name for people. `extensions`: the first is the usual one. `bits`: depths a sample, 32 is float.
    `spaces`: colour spaces that are kept. `grey_as_rgb`: grey is stored as RGB with three equal channels.
    `alpha`: whether there is an alpha channel. `lossless`: "always", "never" or "choice". `metadata`: which of "icc",
    "resolution", "exif", "xmp", "iptc" and "text" are kept. `record`: whether the record of a run fits in. `side`:
    the most pixels a side. `whole`: whether its library holds the whole picture in memory to write it.
    """

    title: str
    extensions: tuple[str, ...]
    bits: tuple[int, ...]
    spaces: tuple[str, ...]
    grey_as_rgb: bool
    alpha: bool
    lossless: str
    metadata: tuple[str, ...]
    record: bool
    side: int
    whole: bool = False


TABLE = {
    "png": Format(
        "PNG",
        (".png",),
        bits=(8, 16),
        spaces=("grey", "rgb"),
        grey_as_rgb=False,
        alpha=True,
        lossless="always",
        metadata=("icc", "resolution", "exif", "xmp", "text"),
        record=True,
        side=100_000_000,  # of libvips itself
    ),
    "jpeg": Format(
        "JPEG",
        (".jpg", ".jpeg", ".jpe", ".jfif"),
        bits=(8,),
        spaces=("grey", "rgb", "cmyk"),
        grey_as_rgb=False,
        alpha=False,
        lossless="never",
        metadata=("icc", "resolution", "exif", "xmp", "iptc"),
        record=True,
        side=65_500,  # of the JPEG library
    ),
    "tiff": Format(
        "TIFF",
        (".tif", ".tiff"),
        bits=(8, 16, 32),
        spaces=("grey", "rgb", "cmyk"),
        grey_as_rgb=False,
        alpha=True,
        lossless="always",
        metadata=("icc", "resolution", "xmp", "iptc"),
        record=True,
        side=100_000_000,
    ),
    "webp": Format(
        "WebP",
        (".webp",),
        bits=(8,),
        spaces=("grey", "rgb"),
        grey_as_rgb=True,
        alpha=True,
        lossless="choice",
        metadata=("icc", "resolution", "exif", "xmp"),
        record=True,
        side=16_383,  # of the format
        whole=True,
    ),
    "avif": Format(
        "AVIF",
        (".avif",),
        bits=(8, 10, 12),
        spaces=("grey", "rgb"),
        grey_as_rgb=True,
        alpha=True,
        lossless="choice",
        metadata=("icc", "resolution", "exif", "xmp"),
        record=True,
        side=16_384,  # of the writing library: libheif makes no larger picture without a grid
        whole=True,
    ),
    "ppm": Format(
        "PPM",
        (".ppm", ".pgm", ".pnm", ".pbm"),
        bits=(8, 16),
        spaces=("grey", "rgb"),
        grey_as_rgb=False,
        alpha=False,
        lossless="always",
        metadata=(),
        record=False,
        side=100_000_000,
    ),
    "pfm": Format(
        "PFM",
        (".pfm",),
        bits=(32,),
        spaces=("grey", "rgb"),
        grey_as_rgb=False,
        alpha=False,
        lossless="always",
        metadata=(),
        record=False,
        side=100_000_000,
    ),
}
"""Format -> what it holds."""

SPACES = {"grey": 1, "rgb": 3, "cmyk": 4}
"""Colour space -> colour channels."""


def can_hold_record(fmt: str) -> bool:
    """Whether files of the format `fmt` ("png", ...) can hold the record of a run."""
    return TABLE[fmt].record


def formats_for(*, bits: int, space: str, alpha: bool) -> tuple[str, ...]:
    """The usual extensions of the formats that hold such a picture as it is, or in more bits."""
    return tuple(
        form.extensions[0]
        for form in TABLE.values()
        if space in form.spaces and (form.alpha or not alpha) and stored_bits(form, bits) is not None
    )


def stored_bits(form: Format, bits: int) -> int | None:
    """The depth that samples of `bits` bits get in `form` without loss, None if there is none."""
    if bits in form.bits:
        return bits
    # Integers of 10 and 12 bits are held in 16 exactly; nothing else is widened.
    return 16 if bits in (10, 12) and 16 in form.bits else None
