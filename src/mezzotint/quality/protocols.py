"""Protocols of quality: how the small picture is made and how the large one is measured.

The same enlargement scores up to 2 dB apart under the conventions of the literature, so every figure carries
the name of its protocol and a table never mixes two. A protocol has a data half (`pair`: the small picture that
a method gets) and a measure half (`planes`: channel, rounding, clamp and border of what is compared).

    y-classic  reproduces the published bicubic tables (VDSR, DRCN): integer studio luma, a grey file as it is;
               one-channel methods get the unrounded luma; the result is clamped to 16..235
    y-modern   today's files and metrics (EDSR, BasicSR): 8-bit RGB, studio luma in float, grey taken as RGB
    rgb        8-bit RGB, the border cut off (NTIRE)
    rgb-full   8-bit RGB, nothing cut off (SRFlow, SRDiff)
"""

from __future__ import annotations

import difflib
import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch

from mezzotint.errors import InputError, UsageError
from mezzotint.operators.resize import imresize, imresize_uint8
from mezzotint.quality.levels import Picture, to_levels
from mezzotint.quality.ycbcr import full_luma, studio_luma


@dataclass(frozen=True)
class Pair:
    """A reference and the small picture made from it.

    reference: uint8 (H, W, 1 or 3), cut at the bottom and right so that the scale divides it.
    x: uint8 (h, w, 3), or float64 (h, w, 1) for one-channel methods under y-classic, level / 255 and unclipped.
    """

    reference: np.ndarray
    x: np.ndarray


@dataclass(frozen=True)
class Protocol:
    """One convention of measuring super-resolution.

    channel: "y" compares studio luma, "rgb" all three channels.
    integer_luma: luma is rounded to whole levels, and a grey picture is its own luma, in 0..255.
    limits: levels to which the candidate is clamped, or None.
    cut_border: `scale` pixels are cut off at every side.
    one_channel: one-channel methods get the reference's luma, reduced in float and not rounded.
    """

    name: str
    channel: Literal["y", "rgb"]
    integer_luma: bool
    limits: tuple[float, float] | None
    cut_border: bool
    one_channel: bool
    summary: str

    def pair(self, picture: Picture, *, scale: float, one_channel: bool = False) -> Pair:
        """Return the reference and the small picture that MATLAB's antialiased bicubic makes of it.

        picture: one picture of high resolution, as `levels` accepts it; it is rounded to 8 bits first.
        one_channel: make the small picture for a method that takes luma only. Raises InputError for a picture
        smaller than one small pixel, UsageError for a bad scale or where the protocol has no one-channel form.
        """
        check_scale(scale)
        if one_channel and not self.one_channel:
            raise UsageError(f"protocol {self.name} has no one-channel form: use y-classic, or give the method RGB")
        levels = _one(to_levels(picture))
        small = [math.floor(side / scale + 1e-9) for side in levels.shape[1:]]
        if min(small) < 1:
            raise InputError(
                f"a picture of {levels.shape[2]}x{levels.shape[1]} pixels is too small for scale {scale:g}: "
                "both sides must be at least the scale"
            )
        height, width = (min(round(count * scale), side) for count, side in zip(small, levels.shape[1:], strict=True))
        levels = levels[:, :height, :width]
        size = (small[0], small[1])
        if one_channel:
            x = imresize(torch.from_numpy(self._luma(levels) / 255.0), size=size).numpy()
        else:
            x = imresize_uint8(torch.from_numpy(levels.astype(np.uint8)), size=size).numpy()
            x = np.repeat(x, 3 // x.shape[0], axis=0)
        return Pair(
            reference=np.ascontiguousarray(levels.astype(np.uint8).transpose(1, 2, 0)),
            x=np.ascontiguousarray(x.transpose(1, 2, 0)),
        )

    def planes(self, reference: np.ndarray, candidate: np.ndarray, *, scale: float) -> tuple[np.ndarray, np.ndarray]:
        """Return what is compared: float64 (b, c, h, w) in levels of a reference and a candidate.

        reference, candidate: 8-bit levels (b, c, h, w) of the same size, as `levels.to_levels` returns them. Under
        y-classic a one-channel candidate of a colour reference is its luma, and a colour candidate of a grey
        reference is reduced to grey. Raises UsageError for a bad scale, InputError if the border leaves nothing.
        """
        check_scale(scale)
        border = math.ceil(scale) if self.cut_border else 0
        height, width = reference.shape[2:]
        if 2 * border >= min(height, width):
            raise InputError(
                f"protocol {self.name} cuts {border} pixels off every side and leaves nothing of {width}x{height} "
                "pixels: use rgb-full, or a smaller scale"
            )
        if self.channel == "rgb":
            first, second = _as_rgb(reference), _as_rgb(candidate)
        elif self.integer_luma:
            first, second = self._luma(reference), self._luma(candidate, grey=reference.shape[1] == 1)
        else:
            first, second = studio_luma(_as_rgb(reference)), studio_luma(_as_rgb(candidate))
        if self.limits is not None:
            second = np.clip(second, *self.limits)
        if border:
            inner = (..., slice(border, -border), slice(border, -border))
            first, second = first[inner], second[inner]
        return first, second

    def steps(self, *, scale: float = 4) -> tuple[str, ...]:
        """Return what the protocol does, one sentence a step, for a reader who compares figures of two tools."""
        check_scale(scale)
        border = math.ceil(scale) if self.cut_border else 0
        steps = [f"The true picture is cut at the bottom and right to a multiple of {scale:g} pixels."]
        if self.one_channel:
            steps.append(
                "One-channel methods get its luma, Y = 16 + (65.481 R + 128.553 G + 24.966 B) / 255 rounded to whole "
                "levels (a grey file as it is), reduced by MATLAB's bicubic in float, neither rounded nor clipped."
            )
        steps.append(
            f"{'Other methods get' if self.one_channel else 'The method gets'} 8-bit RGB (grey repeated), reduced by "
            f"MATLAB's antialiased bicubic by {scale:g}, rounded after each of the two passes."
        )
        steps.append("The result is clipped and rounded to 8 bits.")
        if self.channel == "rgb":
            steps.append("All three channels are compared.")
        elif self.integer_luma:
            steps.append("Luma rounded to whole levels is compared; a grey file is its own luma, in 0..255.")
        else:
            steps.append("Luma in 16..235, not rounded, is compared; grey files are taken as RGB.")
        if self.limits is not None:
            steps.append(f"The result is clamped to {self.limits[0]:g}..{self.limits[1]:g}.")
        steps.append(f"{border} pixels are cut off at every side." if border else "Nothing is cut off at the sides.")
        steps.append(
            "PSNR has the peak 255; SSIM is Wang's: 11x11 Gaussian window of sigma 1.5, inside only, averaged."
        )
        steps.append("LPIPS, DISTS and measures of sets see the whole 8-bit result in RGB, NIQE what is not cut off.")
        steps.append("Figures of a set are means over its pictures.")
        return tuple(steps)

    def _luma(self, levels: np.ndarray, *, grey: bool = False) -> np.ndarray:
        """Return whole levels of luma; one channel is taken as it is."""
        if levels.shape[-3] == 1:
            return levels
        return np.floor((full_luma(levels) if grey else studio_luma(levels)) + 0.5)


def _one(levels: np.ndarray) -> np.ndarray:
    if levels.shape[0] != 1:
        raise InputError(f"a batch of {levels.shape[0]} pictures: the data half of a protocol takes one at a time")
    return levels[0]


def _as_rgb(levels: np.ndarray) -> np.ndarray:
    return np.repeat(levels, 3 // levels.shape[-3], axis=-3)


def check_scale(scale: float) -> None:
    """Raise UsageError unless the scale, HR over LR, is a finite number from 1."""
    if not (math.isfinite(scale) and scale >= 1):
        raise UsageError(
            f"scale {scale} is not a finite number from 1: it is the size of the large picture over the small"
        )


_PROTOCOLS = (
    Protocol(
        name="y-classic",
        channel="y",
        integer_luma=True,
        limits=(16.0, 235.0),
        cut_border=True,
        one_channel=True,
        summary=(
            "as the published bicubic tables: integer studio luma (a grey file as it is), reduced in float for "
            "one-channel methods, result clamped to 16..235 and rounded, scale pixels cut off at every side"
        ),
    ),
    Protocol(
        name="y-modern",
        channel="y",
        integer_luma=False,
        limits=None,
        cut_border=True,
        one_channel=False,
        summary=(
            "8-bit RGB by MATLAB's bicubic (grey as RGB), result rounded to 8 bits, studio luma in float, "
            "scale pixels cut off at every side"
        ),
    ),
    Protocol(
        name="rgb",
        channel="rgb",
        integer_luma=False,
        limits=None,
        cut_border=True,
        one_channel=False,
        summary="8-bit RGB by MATLAB's bicubic, result rounded to 8 bits, all channels, scale pixels cut off",
    ),
    Protocol(
        name="rgb-full",
        channel="rgb",
        integer_luma=False,
        limits=None,
        cut_border=False,
        one_channel=False,
        summary="8-bit RGB by MATLAB's bicubic, result rounded to 8 bits, all channels, nothing cut off",
    ),
)

DEFAULT = "y-modern"


def names() -> tuple[str, ...]:
    """Return the names of the protocols."""
    return tuple(protocol.name for protocol in _PROTOCOLS)


def find(name: str) -> Protocol:
    """Return a protocol by name; raises UsageError, with the nearest name, for an unknown one."""
    for protocol in _PROTOCOLS:
        if protocol.name == name:
            return protocol
    near = difflib.get_close_matches(name, names(), n=1)
    hint = f"did you mean {near[0]}?" if near else f"use one of {', '.join(names())}"
    raise UsageError(f"protocol {name!r} is unknown: {hint}")
