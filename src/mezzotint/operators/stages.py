"""The stages of degradations, on pictures in grey levels: crop, filter, resize, sharpen, clip and round.

Each is fixed: what was drawn at random stands in its fields, and noise (`operators.added_noise`) is a function of the
seed, so that a chain of stages is a record of itself. Gradients flow through all of them. Pictures are b c h w in float
grey levels, 0 to 255 and not clipped unless a stage says so.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import torch
from torch import Tensor
from torch.nn import functional

from mezzotint.errors import InputError, UsageError
from mezzotint.noise import NoiseSource
from mezzotint.operators.blur import Blur
from mezzotint.operators.jpeg import straight_through
from mezzotint.operators.kernels import BlurKernel, GaussianKernel
from mezzotint.operators.linear import LinearOperator
from mezzotint.operators.resize import Border, imresize, imresize_uint8, modcrop
from mezzotint.operators.separable import FilterAxis, Separable, area, gaussian, gaussian_taps

ResizeMode = Literal["area", "adaptive area", "bilinear", "bicubic", "matlab"]


class Stage(Protocol):
    """One step of a degradation, on pictures b c h w in float grey levels (0 to 255, not clipped)."""

    def apply(self, picture: Tensor, *, noise: NoiseSource) -> Tensor:
        """Return the picture after this stage; the argument is not changed."""
        ...

    def record(self) -> dict[str, Any]:
        """Return name and settings of the stage, ready for JSON."""
        ...


@dataclass(frozen=True, kw_only=True)
class Modcrop:
    """Cut at the bottom and right to a multiple of some pixels."""

    multiple: int

    def apply(self, picture: Tensor, *, noise: NoiseSource) -> Tensor:
        self.size(picture.shape[-2], picture.shape[-1])
        return modcrop(picture, multiple=self.multiple)

    def size(self, height: int, width: int) -> tuple[int, int]:
        """The size that is left; InputError where nothing is."""
        if min(height, width) < self.multiple:
            raise InputError(
                f"a picture of {height}x{width} pixels is smaller than {self.multiple} pixels a side: "
                "use a larger picture or a smaller scale"
            )
        return height - height % self.multiple, width - width % self.multiple

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
        height, width = picture.shape[-2:]
        return gaussian(height=height, width=width, scale=self.scale, sigma=self.sigma).A(picture)

    def record(self) -> dict[str, Any]:
        return {"stage": "gaussian", "scale": self.scale, "sigma": self.sigma, "phase": "cell centre"}


@dataclass(frozen=True, kw_only=True)
class Linear:
    """Any linear operator, bound to the size of the picture: `name` is what the record says of it."""

    name: str
    bind: Callable[[int, int], LinearOperator]

    def apply(self, picture: Tensor, *, noise: NoiseSource) -> Tensor:
        return self.bind(*picture.shape[-2:]).A(picture)

    def record(self) -> dict[str, Any]:
        return {"stage": "operator", "operator": self.name}


@dataclass(frozen=True, kw_only=True)
class Filter:
    """Blur with a kernel, and keep the middle of every cell of scale x scale pixels; scale 1 keeps every pixel."""

    kernel: BlurKernel
    scale: int = 1
    border: Border = "reflect"

    def apply(self, picture: Tensor, *, noise: NoiseSource) -> Tensor:
        height, width = picture.shape[-2:]
        kernel = self.kernel
        if isinstance(kernel, GaussianKernel) and kernel.sigmas[0] == kernel.sigmas[1]:
            weights, first = gaussian_taps(
                kernel.sigmas[0], centre=(self.scale - 1) / 2, radius=(kernel.size - 1) / 2
            )
            rows, columns = (FilterAxis(n, self.scale, weights, first, self.border) for n in (height, width))
            return Separable(rows, columns).A(picture)
        return Blur(kernel=kernel, height=height, width=width, scale=self.scale, border=self.border).A(picture)

    def record(self) -> dict[str, Any]:
        return {"stage": "filter", **self.kernel.record(), "scale": self.scale, "border": self.border}


@dataclass(frozen=True, kw_only=True)
class Resize:
    """Resize to height x width pixels, by what image libraries do and not by what one should.

    "bilinear" and "bicubic" (Keys with -3/4) are those of OpenCV and PyTorch, without antialiasing; "area" is OpenCV's,
    means over areas; "adaptive area" PyTorch's, means over all pixels that an area touches; "matlab" is antialiased.
    """

    height: int
    width: int
    mode: ResizeMode

    def __post_init__(self) -> None:
        if self.mode not in ("area", "adaptive area", "bilinear", "bicubic", "matlab"):
            raise UsageError(f"mode {self.mode!r} is unknown: use area, adaptive area, bilinear, bicubic or matlab")
        if min(self.height, self.width) < 1:
            raise UsageError(f"resize to {self.height}x{self.width} pixels: both sides must be at least 1")

    def apply(self, picture: Tensor, *, noise: NoiseSource) -> Tensor:
        size = (self.height, self.width)
        if tuple(picture.shape[-2:]) == size:
            return picture
        if self.mode == "matlab":
            return imresize(picture, size=size)
        if self.mode == "area":
            return area(height=picture.shape[-2], width=picture.shape[-1], size=size).A(picture)
        if self.mode == "adaptive area":
            return _adaptive_area(picture, size)
        return functional.interpolate(picture, size=size, mode=self.mode, align_corners=False)

    def record(self) -> dict[str, Any]:
        return {"stage": "resize", "size": [self.height, self.width], "mode": self.mode}


def _adaptive_area(picture: Tensor, size: tuple[int, int]) -> Tensor:
    """PyTorch's "area"; made larger, where it is slow, by the means of the one or two pixels that an area touches."""
    if any(m < n for m, n in zip(size, picture.shape[-2:], strict=True)):
        return functional.interpolate(picture, size=size, mode="area")
    for dim, m in zip((-2, -1), size, strict=True):
        n, place = picture.shape[dim], torch.arange(m, device=picture.device)
        first, last = place * n // m, -(-(place + 1) * n // m) - 1
        picture = torch.lerp(picture.index_select(dim, first), picture.index_select(dim, last), 0.5)
    return picture


@dataclass(frozen=True, kw_only=True)
class Sharpen:
    """Unsharp masking where it matters: m clip(y + w r) + (1 - m) y with r = y - G y and m = G [|r| > threshold].

    G is a Gaussian of `size` pixels and OpenCV's sigma for it, 0.3 ((size - 1) / 2 - 1) + 0.8: 8 for 51. Real-ESRGAN
    sharpens its large pictures so before it degrades them. The mask is constant to the gradient.
    """

    weight: float = 0.5
    size: int = 51
    threshold: float = 10.0

    def apply(self, picture: Tensor, *, noise: NoiseSource) -> Tensor:
        sigma = 0.3 * ((self.size - 1) / 2 - 1) + 0.8
        blur = Filter(kernel=GaussianKernel(size=self.size, sigmas=(sigma, sigma)))
        residual = picture - blur.apply(picture, noise=noise)
        mask = blur.apply((residual.detach().abs() > self.threshold).to(picture), noise=noise)
        return picture + mask * ((picture + self.weight * residual).clamp(0, 255) - picture)

    def record(self) -> dict[str, Any]:
        return {"stage": "sharpen", "weight": self.weight, "size": self.size, "threshold": self.threshold}


@dataclass(frozen=True, kw_only=True)
class Clip:
    """Clip to 0..255."""

    def apply(self, picture: Tensor, *, noise: NoiseSource) -> Tensor:
        return picture.clamp(0, 255)

    def record(self) -> dict[str, Any]:
        return {"stage": "clip"}


@dataclass(frozen=True, kw_only=True)
class EightBit:
    """Clip to 0..255 and round half up to whole grey levels; the gradient is that of clipping alone."""

    def apply(self, picture: Tensor, *, noise: NoiseSource) -> Tensor:
        return straight_through(lambda v: (v + 0.5).floor_(), picture.clamp(0, 255))

    def record(self) -> dict[str, Any]:
        return {"stage": "eight-bit"}


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
