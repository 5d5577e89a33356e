"""How a small test picture is made, x = ((y * k) down_s + n)_JPEG: a chain of stages, seeded and recorded.

A degradation is a chain of stages. The order is the field's: blur and reduce, noise, clip, 8 bits, JPEG. What
a stage needs beyond the picture (noise) is a function of the seed, so that a record and the large picture are
enough to make the small one again.
"""

from __future__ import annotations

import math
from typing import Any, Literal

import torch
from torch import Tensor

from mezzotint.errors import InputError, UsageError
from mezzotint.noise import Noise
from mezzotint.operators.added_noise import AddNoise
from mezzotint.operators.jpeg import Chroma, DifferentiableJpeg, Jpeg, JpegCodec, jpeg_round_trip
from mezzotint.operators.named import OPERATORS, ReadMask, named_operator
from mezzotint.operators.presets import preset as preset_named
from mezzotint.operators.stages import (
    Average,
    Bicubic,
    Degradation,
    EightBit,
    Gaussian,
    Linear,
    Modcrop,
    Stage,
)

__all__ = [
    "OPERATORS",
    "AddNoise",
    "Average",
    "Bicubic",
    "Chroma",
    "Degradation",
    "EightBit",
    "Gaussian",
    "Jpeg",
    "JpegCodec",
    "Linear",
    "Modcrop",
    "Stage",
    "degrade",
    "jpeg_round_trip",
    "reduction",
]


def reduction(
    operator: str, *, scale: float, rounded: bool = False, read_mask: ReadMask | None = None
) -> tuple[Stage, ...]:
    """Return the stages that `operator` (see OPERATORS) stands for at `scale`, large over small.

    `rounded` asks for MATLAB's rounding of 8-bit pictures where the operator has one. Whole scales crop first, but for
    operators in files, which take what they are given. Raises UsageError for an unknown operator and for a scale that
    it cannot do, InputError for a file that cannot be read.
    """
    named = named_operator(operator, scale=scale, read_mask=read_mask)
    if operator == "identity":
        return ()
    whole = scale == int(scale)
    crop = (Modcrop(multiple=int(scale)),) if whole and scale > 1 else ()
    name, _, setting = operator.partition(":")
    if name == "bicubic":
        return (*crop, Bicubic(scale=int(scale) if whole else scale, rounded=rounded))
    if name == "average":
        return (*crop, Average(scale=int(scale)))
    if name == "gaussian":
        return (*crop, Gaussian(scale=int(scale), sigma=float(setting)))
    return (*crop, Linear(name=operator, bind=named.for_large))


def degrade(
    y: Tensor,
    *,
    scale: float = 4,
    operator: str = "bicubic",
    noise: float = 0.0,
    jpeg: int | None = None,
    preset: str | None = None,
    seed: int = 0,
    pictures: tuple[int, ...] | None = None,
    bits: Literal[8] | None = 8,
    chroma: Chroma = "4:2:0",
    codec: JpegCodec = jpeg_round_trip,
    differentiable: bool = False,
    read_mask: ReadMask | None = None,
) -> tuple[Tensor, dict[str, Any]]:
    """Return small pictures made from large ones, and the record of how they were made.

    `y` is b c H W, uint8 or float in [0, 1]; the result b c h w is of the same type and range. `operator`
    is one of OPERATORS; on uint8 `bicubic` is MATLAB's to the bit. `noise` is the standard deviation in grey
    levels, `jpeg` a quality from 1 to 100. `seed` and `pictures` (one number a batch item, see
    `mezzotint.noise.picture_id`) fix the noise. `bits=None` keeps float pictures unrounded and unclipped, for
    exact measurements; JPEG needs 8 bits. `read_mask` reads the file of a mask.

    `preset` is a name of `presets.PRESETS` in place of operator, noise and JPEG: what it draws at random it draws for
    each picture by its seed and number, in float32 for uint8; the record then has one list of stages a picture.

    `differentiable` lets gradients flow to a float y: through rounding as if there were none, and through JPEG by
    `jpeg.DifferentiableJpeg` in place of libjpeg.

    Raises UsageError for settings out of range and InputError for a picture that they cannot be applied to.
    """
    if y.ndim != 4 or not (y.dtype == torch.uint8 or y.is_floating_point()):
        raise UsageError(f"degrade takes b c h w uint8 or float, got {y.dtype} of shape {tuple(y.shape)}")
    if not (math.isfinite(noise) and noise >= 0):
        raise UsageError(f"noise {noise} is not a standard deviation in grey levels: use 0 or more, for example 10")
    integers = y.dtype == torch.uint8
    if bits is None and (integers or jpeg is not None or preset is not None):
        raise UsageError("unrounded results need float pictures, no preset and no JPEG: leave out bits=None")
    if pictures is not None and len(pictures) != len(y):
        raise UsageError(f"{len(pictures)} pictures for a batch of {len(y)}: give one number an item")
    if preset is not None and (operator != "bicubic" or noise or jpeg is not None):
        raise UsageError(f"preset {preset} has its own operator, noise and JPEG: leave them out, or the preset")
    try:
        source = Noise(seed, pictures)
    except ValueError as error:
        raise UsageError(str(error)) from error
    settings = {"scale": scale, "seed": seed, "pictures": None if pictures is None else list(pictures)}
    if preset is not None:
        x, stages = _by_preset(y, preset, scale=scale, source=source, differentiable=differentiable)
        record = {"preset": preset, **settings}
    else:
        chain = list(reduction(operator, scale=scale, rounded=integers, read_mask=read_mask))
        if noise > 0:
            chain.append(AddNoise(sigma=noise))
        if bits is not None:
            chain.append(EightBit())
        if jpeg is not None and differentiable:
            chain.append(DifferentiableJpeg(quality=jpeg, chroma=chroma))
        elif jpeg is not None:
            chain.append(Jpeg(quality=jpeg, chroma=chroma, codec=codec))
        whole = Degradation(stages=tuple(chain))
        x, stages = whole.apply(_grey_levels(y, torch.float64), noise=source), whole.record()
        record = {"operator": operator, **settings}
    record |= {"size_in": list(y.shape[-2:]), "size_out": list(x.shape[-2:]), "stages": stages}
    return (x.to(torch.uint8) if integers else (x / 255).to(y.dtype)), record


def _grey_levels(y: Tensor, integers_as: torch.dtype) -> Tensor:
    """Pictures as float grey levels."""
    if y.dtype == torch.uint8:
        return y.to(integers_as)
    levels = y.to(torch.promote_types(y.dtype, torch.float32)) * 255
    if not bool(torch.isfinite(levels).all()):
        raise InputError("the picture holds values that are not numbers: check where it was made")
    return levels


def _by_preset(
    y: Tensor, name: str, *, scale: float, source: Noise, differentiable: bool
) -> tuple[Tensor, list[list[dict[str, Any]]]]:
    """Small pictures in grey levels, each by a chain of its own, and the records of the chains."""
    named = preset_named(name)
    if name == "bicubic" and y.dtype == torch.uint8:
        # MATLAB rounds 8-bit pictures after each pass.
        chain = Degradation(stages=reduction("bicubic", scale=scale, rounded=True))
        return chain.apply(_grey_levels(y, torch.float64), noise=source), [chain.record()] * len(y)
    levels, made, records = _grey_levels(y, torch.float32), [], []
    numbers = source.pictures or (0,) * len(y)
    size = (int(y.shape[-2]), int(y.shape[-1]))
    for one, number in zip(levels, numbers, strict=True):
        own = source.for_pictures((number,))
        chain = named.chain(own, size=size, scale=scale, differentiable=differentiable)
        made.append(chain.apply(one[None], noise=own))
        records.append(chain.record())
    return torch.cat(made), records
