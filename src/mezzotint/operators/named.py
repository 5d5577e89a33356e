"""Linear operators by name, as `--operator` takes them: one text for pictures of any size.

`bicubic`, `lanczos`, `average`, `gaussian:SIGMA`, `mask:FILE`, `grey`, `identity`, or the name of a file in TOML that
describes any other: steps one after the other, each a table `[[step]]`.

    [[step]]
    operator = "blur"              # bicubic, lanczos, average, gaussian, blur, mask, grey or identity
    scale = 4                      # 1 unless it is given
    border = "reflect"             # symmetric unless it is given; circular is solved by Fourier transforms
    kernel = { family = "gaussian", size = 21, sigmas = [2.0, 1.0], angle = 0.5 }
    shifts = [[0, 0], [0.5, 1]]    # optional, in the last step of all: one small picture for each shift

A Gaussian step has `sigma` in place of `kernel`, a mask `file`, grey optional `weights`. Kernels are of the families
gaussian, generalised and plateau (with `beta`), sinc (with `cutoff`) and given (with `values`, a square of numbers).
"""

from __future__ import annotations

import math
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mezzotint.errors import InputError, UsageError
from mezzotint.operators.bicubic import BicubicDown
from mezzotint.operators.blur import Blur, CircularBlur
from mezzotint.operators.composed import Stack, chain
from mezzotint.operators.diagonal import LUMINANCE, Average, Grey, Identity, Mask
from mezzotint.operators.kernels import (
    BlurKernel,
    GaussianKernel,
    GeneralisedKernel,
    GivenKernel,
    PlateauKernel,
    SincKernel,
)
from mezzotint.operators.linear import LinearOperator, Size
from mezzotint.operators.resize import Border
from mezzotint.operators.separable import average, gaussian, resize

OPERATORS = ("bicubic", "lanczos", "average", "gaussian:SIGMA", "mask:FILE", "grey", "identity", "FILE.toml")
"""What `named_operator` reads."""

Build = Callable[[int, int], LinearOperator]
"""The operator for large pictures of a height and a width."""

ReadMask = Callable[[str], Tensor]
"""A file of a mask as (h, w), where 0 is unknown."""


@dataclass(frozen=True)
class NamedOperator:
    """A linear operator for pictures of any size.

    name: as it was asked for. scale: large over small. size: the only size of large pictures, where there is one.
    """

    name: str
    scale: float
    build: Build
    size: Size | None = None

    def for_large(self, height: int, width: int) -> LinearOperator:
        """The operator of large pictures of this size; UsageError where it does not fit."""
        if self.size is not None and self.size != (height, width):
            raise UsageError(
                f"operator {self.name} is for pictures of {self.size[0]}x{self.size[1]} pixels, got {height}x{width}"
            )
        return self.build(height, width)

    def for_small(self, height: int, width: int) -> LinearOperator:
        """The operator whose small pictures have this size; its large ones are `size_in` of it."""
        return self.for_large(*self.size_in((height, width)))

    def size_out(self, size: Size) -> Size:
        """The size of the small picture of a large one of `size`: every side over the scale, rounded up."""
        return _divided(size[0], self.scale), _divided(size[1], self.scale)

    def size_in(self, size: Size) -> Size:
        """The size of the largest large picture of a small one of `size`: every side times the scale, rounded down."""
        return math.floor(size[0] * self.scale + 1e-9), math.floor(size[1] * self.scale + 1e-9)


def _divided(side: int, scale: float) -> int:
    return math.ceil(side / scale - 1e-9)


def named_operator(text: str, *, scale: float, read_mask: ReadMask | None = None) -> NamedOperator:
    """The operator of a text of `OPERATORS` at `scale`, large over small.

    `read_mask` reads the file of a mask. A file in TOML states its own scale, which must be the one that is asked for.
    Raises UsageError for an unknown text and for a scale that the operator cannot do, InputError for a file that cannot
    be read.
    """
    if not (math.isfinite(scale) and 1 <= scale <= 1024):
        raise UsageError(f"scale {scale} is not between 1 and 1024: use for example 4")
    name, colon, setting = text.partition(":")
    if text.lower().endswith(".toml"):
        return _from_file(text, scale=scale, read_mask=read_mask)
    step: dict[str, Any] = {"operator": name, "scale": int(scale) if scale == int(scale) else scale}
    known = {entry.partition(":")[0]: ":" in entry for entry in OPERATORS if not entry.endswith(".toml")}
    if name not in known or (colon and not known[name]):
        raise UsageError(f"operator {text!r} is unknown: use {', '.join(OPERATORS)}")
    if name == "gaussian":
        step["sigma"] = _sigma(setting)
    if name == "mask":
        step["file"] = setting
    build, _, size = _step(step, name=text, read_mask=read_mask, folder=None)
    return NamedOperator(text, scale, build, size)


def _sigma(text: str) -> float:
    try:
        sigma = float(text)
    except ValueError:
        sigma = math.nan
    if not 0 < sigma <= 100:
        raise UsageError(f"gaussian:{text} needs a sigma above 0 and at most 100 large pixels: use gaussian:1.6")
    return sigma


def _from_file(text: str, *, scale: float, read_mask: ReadMask | None) -> NamedOperator:
    path = Path(text)
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"operator {text}: cannot be read ({error}): name a file in TOML") from error
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"operator {text}: is not TOML, {error}: see the documentation of operators") from error
    steps = content.pop("step", None)
    if content or not isinstance(steps, list) or not steps or not all(isinstance(step, dict) for step in steps):
        raise UsageError(f"operator {text}: a file holds tables [[step]], one an operator, and nothing else")
    builds: list[tuple[Build, float]] = []
    size: Size | None = None
    for number, step in enumerate(steps, 1):
        if "shifts" in step and number < len(steps):
            raise UsageError(f"operator {text}: step {number} has shifts, which only the last may have")
        build, factor, fixed = _step(step, name=f"{text}, step {number}", read_mask=read_mask, folder=path.parent)
        if fixed is not None and number == 1:
            size = fixed
        builds.append((build, factor))
    total = math.prod(factor for _, factor in builds)
    if not math.isclose(total, scale, rel_tol=1e-9):
        raise UsageError(f"operator {text} has scale {total:g}, not {scale:g}: use --scale {total:g}")
    return NamedOperator(text, scale, partial(_chain, builds=tuple(build for build, _ in builds)), size)


_KEYS = {
    "bicubic": (),
    "lanczos": (),
    "average": (),
    "gaussian": ("sigma", "border", "shifts"),
    "blur": ("kernel", "border", "shifts"),
    "mask": ("file",),
    "grey": ("weights",),
    "identity": (),
}
_KEEPS_SIZE = ("mask", "grey", "identity")
_ANY_SCALE = ("bicubic", "lanczos")


def _step(
    step: Mapping[str, Any], *, name: str, read_mask: ReadMask | None, folder: Path | None
) -> tuple[Build, float, Size | None]:
    """What builds one step, its scale, and the only size that it takes, if there is one."""
    kind, scale = step.get("operator"), step.get("scale", 1)
    if kind not in _KEYS:
        raise UsageError(f"operator {name}: {kind!r} is unknown: use {', '.join(_KEYS)}")
    unknown = sorted(set(step) - {"operator", "scale", *_KEYS[kind]})
    if unknown:
        allowed = ", ".join(("scale", *_KEYS[kind]))
        raise UsageError(f"operator {name}: {unknown[0]!r} is no setting of {kind}: it has {allowed}")
    if isinstance(scale, bool) or not isinstance(scale, int | float) or not 1 <= scale <= 1024:
        raise UsageError(f"operator {name}: scale {scale} is not a number between 1 and 1024: use for example 4")
    if kind in _KEEPS_SIZE and scale != 1:
        raise UsageError(f"operator {name} keeps the size, scale {scale} does not: use scale 1")
    if kind not in _ANY_SCALE and scale != int(scale):
        raise UsageError(f"operator {name} takes whole scales, got {scale}: use bicubic or a whole scale")
    if kind == "mask":
        mask = _mask(step.get("file"), name=name, read_mask=read_mask, folder=folder)
        return partial(_always, operator=mask), 1, mask.shape_in
    try:
        return _build(kind, step, scale, name), scale, None
    except (TypeError, ValueError) as error:
        raise UsageError(f"operator {name}: {error}") from error


def _build(kind: str, step: Mapping[str, Any], scale: float, name: str) -> Build:
    """What builds an operator: functions with their settings, which other processes can be sent."""
    whole = int(scale)
    if kind == "identity":
        return _identity
    if kind == "grey":
        weights = tuple(map(float, step.get("weights", LUMINANCE)))
        _grey(1, 1, weights=weights)
        return partial(_grey, weights=weights)
    if kind in ("bicubic", "lanczos"):
        return partial(_bicubic if kind == "bicubic" else _lanczos, scale=scale)
    if kind == "average":
        return partial(_average, scale=whole)
    kernel = _kernel(step.get("kernel"), name=name) if kind == "blur" else float(step.get("sigma", math.nan))
    shifts = tuple((float(down), float(right)) for down, right in step.get("shifts", []))
    build = partial(_blur, kernel=kernel, scale=whole, border=step.get("border", "symmetric"), shifts=shifts)
    build(whole, whole)  # refuses bad settings now, not with the first picture
    return build


def _chain(height: int, width: int, *, builds: tuple[Build, ...]) -> LinearOperator:
    operators = []
    for build in builds:
        operators.append(build(height, width))
        height, width = operators[-1].shape_out
    return chain(*operators)


def _always(height: int, width: int, *, operator: LinearOperator) -> LinearOperator:
    return operator


def _identity(height: int, width: int) -> LinearOperator:
    return Identity(height=height, width=width)


def _grey(height: int, width: int, *, weights: tuple[float, ...]) -> LinearOperator:
    return Grey(height=height, width=width, weights=weights)


def _lanczos(height: int, width: int, *, scale: float) -> LinearOperator:
    return resize(height=height, width=width, scale=scale, kernel="lanczos3")


def _blur(
    height: int,
    width: int,
    *,
    kernel: BlurKernel | float,
    scale: int,
    border: Border,
    shifts: tuple[tuple[float, float], ...],
) -> LinearOperator:
    """Blur with a kernel or a Gaussian of a sigma; several shifts make a stack."""
    size: dict[str, int] = {"height": height, "width": width, "scale": scale}
    members: list[LinearOperator] = []
    for shift in shifts or ((0.0, 0.0),):
        if not isinstance(kernel, BlurKernel):
            members.append(gaussian(**size, sigma=kernel, shift=shift, border=border))
        elif border == "circular" and not (height % scale or width % scale):
            members.append(CircularBlur(kernel=kernel, **size, shift=shift))
        else:
            members.append(Blur(kernel=kernel, **size, shift=shift, border=border))
    return Stack(tuple(members)) if shifts else members[0]


def _bicubic(height: int, width: int, *, scale: float) -> LinearOperator:
    if scale == int(scale) and not (height % int(scale) or width % int(scale)):
        return BicubicDown(height=height, width=width, scale=int(scale))
    return resize(height=height, width=width, scale=scale)


def _average(height: int, width: int, *, scale: int) -> LinearOperator:
    if height % scale or width % scale:
        return average(height=height, width=width, scale=scale)
    return Average(height=height, width=width, scale=scale)


_FAMILIES: dict[str, tuple[Callable[..., BlurKernel], tuple[str, ...]]] = {
    "gaussian": (GaussianKernel, ("size", "sigmas", "angle")),
    "generalised": (GeneralisedKernel, ("size", "sigmas", "angle", "beta")),
    "plateau": (PlateauKernel, ("size", "sigmas", "angle", "beta")),
    "sinc": (SincKernel, ("size", "cutoff")),
    "given": (GivenKernel, ("values",)),
}


def _kernel(table: Any, *, name: str) -> BlurKernel:
    if not isinstance(table, dict) or table.get("family") not in _FAMILIES:
        raise UsageError(f"a blur needs a kernel with a family: {', '.join(_FAMILIES)}")
    made, keys = _FAMILIES[table["family"]]
    settings = {key: value for key, value in table.items() if key != "family"}
    unknown = sorted(set(settings) - set(keys))
    if unknown:
        raise UsageError(f"{unknown[0]!r} is no setting of a {table['family']} kernel: it has {', '.join(keys)}")
    if "sigmas" in settings:
        settings["sigmas"] = tuple(map(float, settings["sigmas"]))
    return made(**settings)


def _mask(file: Any, *, name: str, read_mask: ReadMask | None, folder: Path | None) -> Mask:
    if not isinstance(file, str) or not file:
        raise UsageError(f"operator {name}: a mask needs a file, a picture that is black where nothing is known")
    if read_mask is None:
        raise UsageError(f"operator {name}: files of masks cannot be read here: give read_mask")
    values = read_mask(str(file if folder is None else folder / file))
    return Mask((torch.as_tensor(values) != 0).double())
