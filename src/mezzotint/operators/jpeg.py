"""JPEG's loss as a function of the picture: tables of Annex K, and a codec through which gradients flow.

RGB to YCbCr (ITU-R BT.601, full range), colour at half the size for 4:2:0, blocks of 8x8 through the orthonormal
DCT-II, divided by a table, rounded, and back. `Jpeg` is libjpeg itself; `DifferentiableJpeg` is for training and for
solvers that differentiate the measurement, and with hard rounding it agrees with libjpeg to 50 dB and more.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal, Protocol

import numpy as np
import torch
from torch import Tensor

from mezzotint.errors import InputError, UsageError
from mezzotint.noise import NoiseSource
from mezzotint.operators.resize import fold

Chroma = Literal["4:2:0", "4:4:4"]
Rounding = Literal["hard", "soft", "straight-through"]

LUMINANCE = (
    (16, 11, 10, 16, 24, 40, 51, 61),
    (12, 12, 14, 19, 26, 58, 60, 55),
    (14, 13, 16, 24, 40, 57, 69, 56),
    (14, 17, 22, 29, 51, 87, 80, 62),
    (18, 22, 37, 56, 68, 109, 103, 77),
    (24, 35, 55, 64, 81, 104, 113, 92),
    (49, 64, 78, 87, 103, 121, 120, 101),
    (72, 92, 95, 98, 112, 100, 103, 99),
)
"""Table K.1 of ITU-T T.81: rows are vertical frequencies."""

CHROMINANCE = (
    (17, 18, 24, 47, 99, 99, 99, 99),
    (18, 21, 26, 66, 99, 99, 99, 99),
    (24, 26, 56, 99, 99, 99, 99, 99),
    (47, 66, 99, 99, 99, 99, 99, 99),
    *((99,) * 8,) * 4,
)
"""Table K.2 of ITU-T T.81."""


def check_quality(quality: int) -> None:
    """UsageError for a quality that is not a whole number from 1 to 100."""
    if isinstance(quality, bool) or not isinstance(quality, int) or not 1 <= quality <= 100:
        raise UsageError(f"JPEG quality {quality} is not a whole number from 1 to 100: use for example 75")


@lru_cache(maxsize=512)
def quantisation_table(quality: int, *, of: Literal["luminance", "chrominance"] = "luminance") -> Tensor:
    """The table (8, 8) of a quality from 1 to 100 as libjpeg scales Annex K's, whole numbers from 1 to 255, float64.

    S = floor(5000 / q) below 50 and 200 - 2 q from there; floor((T S + 50) / 100), clipped. Rows are vertical
    frequencies. UsageError for another quality.
    """
    check_quality(quality)
    table = torch.tensor(LUMINANCE if of == "luminance" else CHROMINANCE)
    factor = 5000 // quality if quality < 50 else 200 - 2 * quality
    return ((table * factor + 50) // 100).clamp(1, 255).to(torch.float64)


@lru_cache(maxsize=1)
def _dct() -> Tensor:
    """The orthonormal DCT-II of 8 samples, rows are frequencies, float64."""
    k, n = torch.arange(8, dtype=torch.float64)[:, None], torch.arange(8, dtype=torch.float64)
    matrix = torch.cos(math.pi * (2 * n + 1) * k / 16) / 2
    matrix[0] /= math.sqrt(2)
    return matrix


_TO_YCBCR = ((0.299, 0.587, 0.114), (-0.168735892, -0.331264108, 0.5), (0.5, -0.418687589, -0.081312411))
_TO_RGB = ((1.0, 0.0, 1.402), (1.0, -0.344136286, -0.714136286), (1.0, 1.772, 0.0))


class _StraightThrough(torch.autograd.Function):
    """A function of steps with the gradient of the identity."""

    @staticmethod
    def forward(ctx: Any, v: Tensor, function: Callable[[Tensor], Tensor]) -> Tensor:
        return function(v)

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        return gradients[0], None


def straight_through(function: Callable[[Tensor], Tensor], v: Tensor) -> Tensor:
    """function(v), and in place of its gradient that of the identity."""
    return _StraightThrough.apply(v, function)  # pyright: ignore[reportReturnType]


def _half_up(v: Tensor) -> Tensor:
    return torch.floor(v + 0.5)


def _quantised(v: Tensor) -> Tensor:
    """Coefficients over their table rounded as libjpeg does, halves away from zero."""
    return v.sign() * torch.floor(v.abs() + 0.5)


def _softly(v: Tensor) -> Tensor:
    nearest = torch.round(v.detach())
    return nearest + (v - nearest) ** 3


def _by_column(v: Tensor, even: float, odd: float) -> Tensor:
    """floor(v + even) in even columns and floor(v + odd) in odd ones: libjpeg alternates what it adds to its sums."""
    added = torch.tensor([even, odd], dtype=torch.float64).to(v).repeat((v.shape[-1] + 1) // 2)[: v.shape[-1]]
    return torch.floor(v + added)


@dataclass(frozen=True, kw_only=True)
class DifferentiableJpeg:
    """JPEG of pictures b c h w (c 1 or 3) in grey levels, clipped to 0..255 before and after; gradients may flow.

    `rounding` "hard" is the codec (every intermediate that libjpeg keeps in 8 bits is rounded, and there are no
    gradients), "straight-through" the same with the gradients of no rounding, "soft" rounds by a cubic (Shin and Song
    2017), whose result is nearer to the source than any file's. Sizes that are no multiples of a block are continued
    by their edge, as libjpeg does. Chroma is made small by means of 2x2 and large again by libjpeg's triangle filter.

    `legacy_transposed` reproduces the tables of the "DiffJPEG" in BasicSR and Real-ESRGAN, transposed and not rounded,
    which agree with no file; use it to repeat their training only. UsageError for settings out of range.
    """

    quality: int
    chroma: Chroma = "4:2:0"
    rounding: Rounding = "straight-through"
    legacy_transposed: bool = False

    def __post_init__(self) -> None:
        check_quality(self.quality)
        if self.chroma not in ("4:2:0", "4:4:4"):
            raise UsageError(f"chroma {self.chroma!r} is unknown: use 4:2:0 or 4:4:4")
        if self.rounding not in ("hard", "soft", "straight-through"):
            raise UsageError(f"rounding {self.rounding!r} is unknown: use hard, soft or straight-through")

    def apply(self, picture: Tensor, *, noise: NoiseSource | None = None) -> Tensor:
        """The pictures after compression, of the same shape; InputError for other than 1 or 3 channels."""
        if picture.shape[1] not in (1, 3):
            raise InputError(f"JPEG holds 1 or 3 channels, the picture has {picture.shape[1]}: leave out JPEG")
        height, width = picture.shape[-2:]
        coloured = picture.shape[1] == 3
        halved = coloured and self.chroma == "4:2:0"
        unit = 16 if halved else 8
        v = _continued(picture.clamp(0, 255), unit)
        if not coloured:
            return self._plane(v, "luminance")[..., :height, :width]
        v = self._kept(_mixed(v, _TO_YCBCR, offset=(0.0, 128.0, 128.0)))
        luma, chroma = v[:, :1], v[:, 1:]
        if halved:
            chroma = self._kept(torch.nn.functional.avg_pool2d(chroma, 2), lambda c: _by_column(c, 1 / 4, 2 / 4))
        luma, chroma = self._plane(luma, "luminance"), self._plane(chroma, "chrominance")
        if halved:
            # libjpeg's "fancy" upsampling has the weights 3/4 and 1/4 a side of linear interpolation between centres.
            chroma = torch.nn.functional.interpolate(chroma, scale_factor=2, mode="bilinear", align_corners=False)
            chroma = self._kept(chroma, lambda c: _by_column(c, 8 / 16, 7 / 16))
        out = _mixed(torch.cat([luma, chroma], 1), _TO_RGB, before=(0.0, -128.0, -128.0))
        return self._kept(out[..., :height, :width].clamp(0, 255))

    def record(self) -> dict[str, Any]:
        kept = {"stage": "jpeg", "quality": self.quality, "chroma": self.chroma, "rounding": self.rounding}
        return {**kept, "table": "transposed"} if self.legacy_transposed else kept

    def _kept(self, v: Tensor, function: Callable[[Tensor], Tensor] = _half_up) -> Tensor:
        """What libjpeg holds as whole numbers; soft rounding is for the coefficients alone."""
        if self.rounding == "soft":
            return v
        return function(v) if self.rounding == "hard" else straight_through(function, v)

    def _plane(self, v: Tensor, of: Literal["luminance", "chrominance"]) -> Tensor:
        table = self._table(of).to(v)
        dct = _dct().to(v)
        b, c, h, w = v.shape
        blocks = (v - 128).reshape(b, c, h // 8, 8, w // 8, 8).transpose(3, 4)
        # libjpeg's transform gives eighths.
        coefficients = self._kept(8 * (dct @ blocks @ dct.T)) / 8 / table
        whole = _softly(coefficients) if self.rounding == "soft" else self._kept(coefficients, _quantised)
        back = dct.T @ (whole * table) @ dct
        return self._kept(back.transpose(3, 4).reshape(b, c, h, w) + 128).clamp(0, 255)

    def _table(self, of: Literal["luminance", "chrominance"]) -> Tensor:
        if not self.legacy_transposed:
            return quantisation_table(self.quality, of=of)
        factor = 5000 / self.quality if self.quality < 50 else 200 - 2 * self.quality
        table = torch.tensor(LUMINANCE if of == "luminance" else CHROMINANCE, dtype=torch.float64)
        return table.T * factor / 100


def _continued(v: Tensor, unit: int) -> Tensor:
    """v continued by its last row and column to multiples of `unit`."""
    height, width = v.shape[-2:]
    rows = fold(torch.arange(-(-height // unit) * unit), height, border="replicate").to(v.device)
    columns = fold(torch.arange(-(-width // unit) * unit), width, border="replicate").to(v.device)
    return v.index_select(-2, rows).index_select(-1, columns)


def _mixed(
    v: Tensor,
    matrix: tuple[tuple[float, ...], ...],
    *,
    before: tuple[float, ...] = (0.0, 0.0, 0.0),
    offset: tuple[float, ...] = (0.0, 0.0, 0.0),
) -> Tensor:
    weights = torch.tensor(matrix, dtype=torch.float64).to(v)
    start, end = (torch.tensor(c, dtype=torch.float64).to(v)[:, None, None] for c in (before, offset))
    return torch.einsum("oc,bchw->bohw", weights, v + start) + end


class JpegCodec(Protocol):
    """Encodes and decodes pixels h w c (uint8, c 1 or 3) as one JPEG file."""

    def __call__(self, pixels: np.ndarray, /, *, quality: int, chroma: Chroma) -> np.ndarray: ...


def jpeg_round_trip(pixels: np.ndarray, /, *, quality: int, chroma: Chroma) -> np.ndarray:
    """Return pixels h w c (uint8, c 1 or 3) as libvips decodes them from the JPEG that it wrote."""
    # Imported here: whoever degrades without JPEG, or brings another codec, needs no libvips.
    import pyvips

    height, width, channels = pixels.shape
    picture = pyvips.Image.new_from_memory(
        np.ascontiguousarray(pixels).tobytes(), width, height, channels, "uchar"
    ).copy(interpretation="srgb" if channels == 3 else "b-w")
    data = picture.jpegsave_buffer(Q=quality, subsample_mode="on" if chroma == "4:2:0" else "off")
    decoded = pyvips.Image.jpegload_buffer(data, fail_on="truncated", access="sequential")
    # A region is read in this thread: starting others takes longer than decoding a crop.
    samples = pyvips.Region.new(decoded).fetch(0, 0, width, height)
    return np.frombuffer(samples, dtype=np.uint8).reshape(height, width, channels)


@dataclass(frozen=True, kw_only=True)
class Jpeg:
    """Compress and decompress as JPEG; takes whole grey levels from 0 to 255 in 1 or 3 channels.

    No gradients pass through a file: pictures that ask for them are refused, and `DifferentiableJpeg` takes them.
    """

    quality: int
    chroma: Chroma = "4:2:0"
    codec: JpegCodec = jpeg_round_trip

    def __post_init__(self) -> None:
        check_quality(self.quality)

    def apply(self, picture: Tensor, *, noise: NoiseSource | None = None) -> Tensor:
        if picture.requires_grad:
            raise UsageError("no gradients pass through a JPEG file: use DifferentiableJpeg, or detach the picture")
        if picture.shape[1] not in (1, 3):
            raise InputError(f"JPEG holds 1 or 3 channels, the picture has {picture.shape[1]}: leave out --jpeg")
        if max(picture.shape[-2:]) > 65500:
            height, width = picture.shape[-2:]
            raise InputError(f"JPEG holds 65500 pixels a side, the picture has {height}x{width}: leave out --jpeg")
        pixels = picture.to(device="cpu", dtype=torch.uint8).movedim(1, -1).contiguous().numpy()
        decoded = [self.codec(one, quality=self.quality, chroma=self.chroma) for one in pixels]
        # Whole planes again: what follows is slow on interleaved ones.
        return torch.from_numpy(np.stack(decoded)).movedim(-1, 1).contiguous().to(picture)

    def record(self) -> dict[str, Any]:
        return {"stage": "jpeg", "quality": self.quality, "chroma": self.chroma}
