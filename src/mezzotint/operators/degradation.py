"""How a small test picture is made: crop, reduce, add noise, round to 8 bits, compress; all recorded.

A degradation is a chain of stages. The order is the field's: blur and reduce, noise, clip, 8 bits, JPEG. What
a stage needs beyond the picture (noise) is a function of the seed, so that a record and the large picture are
enough to make the small one again.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import numpy as np
import torch
from torch import Tensor

from mezzotint.errors import InputError, UsageError
from mezzotint.noise import Noise, NoiseSource
from mezzotint.operators.resize import fold, imresize, imresize_uint8, modcrop

Chroma = Literal["4:2:0", "4:4:4"]

OPERATORS = ("bicubic", "average", "gaussian:SIGMA", "identity")
"""The reductions that `reduction` knows by name."""


class Stage(Protocol):
    """One step of a degradation, on pictures b c h w in float grey levels (0 to 255, not clipped)."""

    def apply(self, picture: Tensor, *, noise: NoiseSource) -> Tensor:
        """Return the picture after this stage; the argument is not changed."""
        ...

    def record(self) -> dict[str, Any]:
        """Return name and settings of the stage, ready for JSON."""
        ...


class JpegCodec(Protocol):
    """Encodes and decodes pixels h w c (uint8, c 1 or 3) as one JPEG file."""

    def __call__(self, pixels: np.ndarray, /, *, quality: int, chroma: Chroma) -> np.ndarray: ...


@dataclass(frozen=True, kw_only=True)
class Modcrop:
    """Cut at the bottom and right to a multiple of some pixels."""

    multiple: int

    def apply(self, picture: Tensor, *, noise: NoiseSource) -> Tensor:
        height, width = picture.shape[-2:]
        if min(height, width) < self.multiple:
            raise InputError(
                f"a picture of {height}x{width} pixels is smaller than {self.multiple} pixels a side: "
                "use a larger picture or a smaller scale"
            )
        return modcrop(picture, multiple=self.multiple)

    def record(self) -> dict[str, Any]:
        return {"stage": "modcrop", "multiple": self.multiple, "kept": "top left"}


@dataclass(frozen=True, kw_only=True)
class Bicubic:
    """Reduce with MATLAB's antialiased bicubic by any factor of at least 1.

    `rounded` is MATLAB's way with 8-bit pictures: rounded and clipped after each of the two passes. It takes
    grey levels that are whole numbers from 0 to 255.
    """

    scale: float
    rounded: bool = False

    def apply(self, picture: Tensor, *, noise: NoiseSource) -> Tensor:
        if self.rounded:
            return imresize_uint8(picture.to(torch.uint8), scale=1 / self.scale).to(picture.dtype)
        return imresize(picture, scale=1 / self.scale)

    def record(self) -> dict[str, Any]:
        rounding = "after each pass" if self.rounded else "none"
        return {"stage": "bicubic", "scale": self.scale, "rounding": rounding}


@dataclass(frozen=True, kw_only=True)
class Average:
    """Reduce by a whole factor to the means of cells of scale x scale pixels."""

    scale: int

    def apply(self, picture: Tensor, *, noise: NoiseSource) -> Tensor:
        return torch.nn.functional.avg_pool2d(picture, self.scale)

    def record(self) -> dict[str, Any]:
        return {"stage": "average", "scale": self.scale}


@dataclass(frozen=True, kw_only=True)
class Gaussian:
    """Blur with a Gaussian of `sigma` large pixels and keep one value a cell of scale x scale pixels.

    The kernel is centred on the middle of the cell, not on one of its pixels, so that the small picture is
    aligned as bicubic reduction aligns it. It is cut at 4 sigma and normalised; the border is mirrored with
    the edge repeated.
    """

    scale: int
    sigma: float

    def apply(self, picture: Tensor, *, noise: NoiseSource) -> Tensor:
        for axis in (-2, -1):
            picture = self._one_axis(picture, axis)
        return picture

    def _one_axis(self, picture: Tensor, axis: int) -> Tensor:
        n, middle = picture.shape[axis], (self.scale - 1) / 2
        radius = max(4 * self.sigma, 0.5)
        first, last = math.ceil(middle - radius), math.floor(middle + radius)
        offsets = torch.arange(first, last + 1, dtype=torch.float64)
        # A tiny sigma would make every weight underflow: only differences to the nearest pixel matter.
        squares = ((offsets - middle) / self.sigma).square()
        weights = torch.exp(-0.5 * (squares - squares.min()))
        weights = (weights / weights.sum()).to(device=picture.device, dtype=picture.dtype)
        count = n // self.scale
        positions = torch.arange(first, first + (count - 1) * self.scale + len(weights))
        extended = picture.index_select(axis, fold(positions, n).to(picture.device))
        return extended.unfold(axis, len(weights), self.scale) @ weights

    def record(self) -> dict[str, Any]:
        return {"stage": "gaussian", "scale": self.scale, "sigma": self.sigma, "phase": "cell centre"}


@dataclass(frozen=True, kw_only=True)
class AddNoise:
    """Add white Gaussian noise of `sigma` grey levels, draw `draw` of the stream "degradation"."""

    sigma: float
    draw: int = 0

    def apply(self, picture: Tensor, *, noise: NoiseSource) -> Tensor:
        batch, channels, height, width = picture.shape
        shape = (batch, channels, height, width)
        field = noise.normal("degradation", self.draw, shape, dtype=picture.dtype, device=picture.device)
        return picture + self.sigma * field

    def record(self) -> dict[str, Any]:
        return {"stage": "noise", "sigma": self.sigma, "unit": "grey levels", "draw": self.draw}


@dataclass(frozen=True, kw_only=True)
class EightBit:
    """Clip to 0..255 and round half up to whole grey levels."""

    def apply(self, picture: Tensor, *, noise: NoiseSource) -> Tensor:
        return torch.floor(picture.clamp(0, 255) + 0.5)

    def record(self) -> dict[str, Any]:
        return {"stage": "eight-bit"}


def jpeg_round_trip(pixels: np.ndarray, /, *, quality: int, chroma: Chroma) -> np.ndarray:
    """Return pixels h w c (uint8, c 1 or 3) as libvips decodes them from the JPEG that it wrote."""
    # Imported here: whoever degrades without JPEG, or brings another codec, needs no libvips.
    import pyvips

    height, width, channels = pixels.shape
    picture = pyvips.Image.new_from_memory(
        np.ascontiguousarray(pixels).tobytes(), width, height, channels, "uchar"
    ).copy(interpretation="srgb" if channels == 3 else "b-w")
    data = picture.jpegsave_buffer(Q=quality, subsample_mode="on" if chroma == "4:2:0" else "off")
    decoded = pyvips.Image.jpegload_buffer(data, fail_on="truncated")
    return np.frombuffer(decoded.write_to_memory(), dtype=np.uint8).reshape(height, width, channels)


@dataclass(frozen=True, kw_only=True)
class Jpeg:
    """Compress and decompress as JPEG; takes whole grey levels from 0 to 255 in 1 or 3 channels."""

    quality: int
    chroma: Chroma = "4:2:0"
    codec: JpegCodec = jpeg_round_trip

    def __post_init__(self) -> None:
        if not (isinstance(self.quality, int) and 1 <= self.quality <= 100):
            raise UsageError(
                f"JPEG quality {self.quality} is not a whole number from 1 to 100: use for example 75"
            )

    def apply(self, picture: Tensor, *, noise: NoiseSource) -> Tensor:
        if picture.shape[1] not in (1, 3):
            raise InputError(
                f"JPEG holds 1 or 3 channels, the picture has {picture.shape[1]}: leave out --jpeg"
            )
        if max(picture.shape[-2:]) > 65500:
            height, width = picture.shape[-2:]
            raise InputError(
                f"JPEG holds 65500 pixels a side, the picture has {height}x{width}: leave out --jpeg"
            )
        pixels = picture.to(device="cpu", dtype=torch.uint8).movedim(1, -1).numpy()
        decoded = [self.codec(one, quality=self.quality, chroma=self.chroma) for one in pixels]
        return torch.from_numpy(np.stack(decoded)).movedim(-1, 1).to(picture)

    def record(self) -> dict[str, Any]:
        return {"stage": "jpeg", "quality": self.quality, "chroma": self.chroma}


@dataclass(frozen=True, kw_only=True)
class Degradation:
    """Stages that follow each other."""

    stages: tuple[Stage, ...]

    def apply(self, picture: Tensor, *, noise: NoiseSource) -> Tensor:
        """Return the pictures b c h w, in float grey levels, after every stage."""
        for stage in self.stages:
            picture = stage.apply(picture, noise=noise)
        return picture

    def record(self) -> list[dict[str, Any]]:
        """Return the records of the stages in order."""
        return [stage.record() for stage in self.stages]


def reduction(operator: str, *, scale: float, rounded: bool = False) -> tuple[Stage, ...]:
    """Return the stages that `operator` (see OPERATORS) stands for at `scale`, large over small.

    `rounded` asks for MATLAB's rounding of 8-bit pictures where the operator has one. Whole scales crop
    first.
    Raises UsageError for an unknown operator and for a scale that it cannot do.
    """
    if not (math.isfinite(scale) and 1 <= scale <= 1024):
        raise UsageError(f"scale {scale} is not between 1 and 1024: use for example 4")
    whole = scale == int(scale)
    scale = int(scale) if whole else scale
    crop = (Modcrop(multiple=int(scale)),) if whole and scale > 1 else ()
    name, _, setting = operator.partition(":")
    if name == "identity" and not setting:
        if scale != 1:
            raise UsageError(f"operator identity keeps the size, scale {scale} does not: use scale 1")
        return ()
    if name == "bicubic" and not setting:
        return (*crop, Bicubic(scale=scale, rounded=rounded))
    if name == "average" and not setting:
        return (*crop, Average(scale=_whole(scale, name)))
    if name == "gaussian":
        return (*crop, Gaussian(scale=_whole(scale, name), sigma=_positive(setting)))
    raise UsageError(f"operator {operator!r} is unknown: use {', '.join(OPERATORS)}")


def _whole(scale: float, name: str) -> int:
    if scale != int(scale):
        raise UsageError(f"operator {name} takes whole scales, got {scale}: use bicubic or a whole scale")
    return int(scale)


def _positive(text: str) -> float:
    try:
        sigma = float(text)
    except ValueError:
        sigma = math.nan
    if not 0 < sigma <= 100:
        raise UsageError(
            f"gaussian:{text} needs a sigma above 0 and at most 100 large pixels: use gaussian:1.6"
        )
    return sigma


def degrade(
    y: Tensor,
    *,
    scale: float = 4,
    operator: str = "bicubic",
    noise: float = 0.0,
    jpeg: int | None = None,
    seed: int = 0,
    pictures: tuple[int, ...] | None = None,
    bits: Literal[8] | None = 8,
    chroma: Chroma = "4:2:0",
    codec: JpegCodec = jpeg_round_trip,
) -> tuple[Tensor, dict[str, Any]]:
    """Return small pictures made from large ones, and the record of how they were made.

    `y` is b c H W, uint8 or float in [0, 1]; the result b c h w is of the same type and range. `operator`
    is one of OPERATORS; on uint8 `bicubic` is MATLAB's to the bit. `noise` is the standard deviation in grey
    levels, `jpeg` a quality from 1 to 100. `seed` and `pictures` (one number a batch item, see
    `mezzotint.noise.picture_id`) fix the noise. `bits=None` keeps float pictures unrounded and unclipped, for
    exact measurements; JPEG needs 8 bits. Raises UsageError for settings out of range and InputError for a
    picture that they cannot be applied to.
    """
    if y.ndim != 4 or not (y.dtype == torch.uint8 or y.is_floating_point()):
        raise UsageError(f"degrade takes b c h w uint8 or float, got {y.dtype} of shape {tuple(y.shape)}")
    if not (math.isfinite(noise) and noise >= 0):
        raise UsageError(
            f"noise {noise} is not a standard deviation in grey levels: use 0 or more, for example 10"
        )
    integers = y.dtype == torch.uint8
    if bits is None and (integers or jpeg is not None):
        raise UsageError("unrounded results need float pictures and no JPEG: leave out bits=None")
    if pictures is not None and len(pictures) != len(y):
        raise UsageError(f"{len(pictures)} pictures for a batch of {len(y)}: give one number an item")
    try:
        source = Noise(seed, pictures)
    except ValueError as error:
        raise UsageError(str(error)) from error

    stages = list(reduction(operator, scale=scale, rounded=integers))
    if noise > 0:
        stages.append(AddNoise(sigma=noise))
    if bits is not None:
        stages.append(EightBit())
    if jpeg is not None:
        stages.append(Jpeg(quality=jpeg, chroma=chroma, codec=codec))
    chain = Degradation(stages=tuple(stages))

    levels = y.to(torch.float64) if integers else y.to(torch.promote_types(y.dtype, torch.float32)) * 255
    if not integers and not bool(torch.isfinite(levels).all()):
        raise InputError("the picture holds values that are not numbers: check where it was made")
    x = chain.apply(levels, noise=source)
    record = {
        "operator": operator,
        "scale": scale,
        "seed": seed,
        "pictures": None if pictures is None else list(pictures),
        "size_in": [y.shape[-2], y.shape[-1]],
        "size_out": [x.shape[-2], x.shape[-1]],
        "stages": chain.record(),
    }
    return (x.to(torch.uint8) if integers else (x / 255).to(y.dtype)), record
