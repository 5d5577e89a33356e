"""A decoded picture: its samples, what they stand for, and everything of its file that an output must carry on."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from mezzotint.errors import InputError
from mezzotint.images.capabilities import SPACES, TABLE
from mezzotint.images.spool import Samples, Spool, strips

_BITS = {np.dtype(np.uint8): (8,), np.dtype(np.uint16): (16, 10, 12), np.dtype(np.float32): (32,)}
_DATES = (b"tIME",)
_TEXTS = (b"tEXt", b"zTXt", b"iTXt")


@dataclass(frozen=True, eq=False)
class Picture:
    """A decoded picture and everything of its file that an output must carry on.

    `rows`: the samples, h w n, upright, uint8, uint16 (the whole range, whatever `bits`) or float32, in the colours of
    the profile `icc`: an array, or a `Spool` where they are too many for memory. `format`: the key of its format in
    `capabilities.TABLE`, from the content. `space`: "grey" (1 channel), "rgb" (3) or "cmyk" (4; inverted ink: the
    largest sample is no ink, so that C, M and Y look like R, G and B and K like a grey picture); left out, it follows
    from the number of channels, 4 with `alpha` being RGB. `alpha`: whether the last channel is straight alpha.
    `bits`: significant bits a sample to write back: 8, 10, 12, 16, or 32 for floats; left out, those of the type.
    `linear`: whether a float picture holds linear light, as its profile says; other floats are encoded for display.
    `lossless`: whether the file coded its samples without loss. `icc`: the colour profile. `resolution`: dots an inch,
    (across, down), None if the file does not say. `exif`, `xmp`, `iptc`: the metadata blocks as they were, the EXIF
    orientation included although `rows` already follow it. `chunks`: text, time and colour chunks of a PNG, (kind,
    body). `notes`: one line for everything that was adapted in reading, for the record of the run.

    Two pictures are the same if samples, depth, profile and metadata are (`is_same`).
    Raises InputError for samples of another type or shape, and where the parts contradict each other.
    """

    rows: Samples
    format: str = "png"
    space: str = ""
    alpha: bool = False
    bits: int = 0
    linear: bool = False
    lossless: bool = True
    icc: bytes | None = None
    resolution: tuple[float, float] | None = None
    exif: bytes | None = None
    xmp: bytes | None = None
    iptc: bytes | None = None
    chunks: tuple[tuple[bytes, bytes], ...] = ()
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        rows = self.rows
        if not isinstance(rows, (np.ndarray, Spool)) or rows.dtype not in _BITS:
            found = getattr(rows, "dtype", type(rows).__name__)
            raise InputError(f"samples of type {found}: a picture holds numpy uint8, uint16 or float32")
        if len(rows.shape) != 3 or 0 in rows.shape:
            raise InputError(f"samples of shape {rows.shape}: a picture is height x width x channels")
        colours = rows.shape[2] - self.alpha
        if not self.space:
            named = {count: space for space, count in SPACES.items()}
            object.__setattr__(self, "space", named.get(colours, ""))
        if SPACES.get(self.space) != colours:
            raise InputError(
                f"samples of shape {rows.shape}: a picture has 1 (grey), 3 (RGB) or 4 (CMYK) channels"
                f"{' and alpha' if self.alpha else '; say alpha=True where one of them is alpha'}"
            )
        if self.format not in TABLE:
            raise InputError(f"format {self.format!r} is unknown: use one of {', '.join(TABLE)}")
        depths = _BITS[np.dtype(rows.dtype)]
        if not self.bits:
            object.__setattr__(self, "bits", depths[0])
        if self.bits not in depths:
            known = " or ".join(map(str, sorted(depths)))
            raise InputError(f"{self.bits} bits a sample: samples of type {rows.dtype} have {known}")
        if self.linear and self.bits != 32:
            raise InputError(f"{self.bits} bits of linear light: a picture holds linear light in float32 only")

    @property
    def height(self) -> int:
        return self.rows.shape[0]

    @property
    def width(self) -> int:
        return self.rows.shape[1]

    @property
    def channels(self) -> int:
        """Colour channels, without alpha."""
        return SPACES[self.space]

    @property
    def dtype(self) -> np.dtype:
        return np.dtype(self.rows.dtype)

    @property
    def pixels(self) -> np.ndarray:
        """The colour channels as one array h w c; a picture in a spool is read into memory for it."""
        rows = self.rows if isinstance(self.rows, np.ndarray) else self.rows[0 : self.height]
        return rows[..., : self.channels] if self.alpha else rows

    @cached_property
    def id(self) -> int:
        """The number that stands for the samples, alpha included: the `noise.picture_id` of all rows."""
        digest = hashlib.sha256()
        little = self.dtype.newbyteorder("<")
        for part in strips(self.rows.shape, self.dtype):
            digest.update(np.ascontiguousarray(self.rows[part], dtype=little).data)
        return int.from_bytes(digest.digest()[:8], "big")

    def is_same(self, other: Picture) -> bool:
        """Whether samples, depth, profile and metadata are equal; format, coding and notes do not count."""
        return (
            (self.rows.shape, self.dtype, self.space, self.alpha, self.bits, self.linear)
            == (other.rows.shape, other.dtype, other.space, other.alpha, other.bits, other.linear)
            and all(np.array_equal(self.rows[part], other.rows[part]) for part in strips(self.rows.shape, self.dtype))
            and (self.icc, self.exif, self.xmp, self.iptc, self.chunks)
            == (other.icc, other.exif, other.xmp, other.iptc, other.chunks)
            and (self.resolution is None) == (other.resolution is None)
            and np.allclose(self.resolution or 0.0, other.resolution or 0.0, rtol=1e-3)
        )


def strip(picture: Picture) -> Picture:
    """`picture` without metadata; the profile and the resolution, which say how it looks, stay."""
    colour = tuple((kind, body) for kind, body in picture.chunks if kind not in (*_TEXTS, *_DATES))
    return replace(picture, exif=None, xmp=None, iptc=None, chunks=colour)
