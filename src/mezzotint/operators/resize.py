"""MATLAB's `imresize`, exactly: for 8-bit pictures to the bit, for float pictures differentiable.

The field's low-resolution pictures are made by MATLAB's antialiased bicubic. Other libraries differ from it at
the border (they truncate and renormalise the kernel) or everywhere (no antialiasing, another cubic).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import torch
from torch import Tensor

from mezzotint.errors import UsageError

Kernel = Literal["cubic", "lanczos3", "linear", "box", "nearest"]
Border = Literal["symmetric", "replicate", "reflect", "circular"]
"""Beyond the edge: mirrored with the edge repeated, the edge itself, mirrored without the edge, the other side."""

BORDERS: tuple[Border, ...] = ("symmetric", "replicate", "reflect", "circular")

_SUPPORT: dict[str, float] = {"cubic": 4.0, "lanczos3": 6.0, "linear": 2.0, "box": 1.0}


def _evaluate(kernel: str, u: Tensor) -> Tensor:
    v = u.abs()
    if kernel == "cubic":  # Keys 1981 with a = -1/2
        inner = (1.5 * v - 2.5) * v * v + 1.0
        outer = ((-0.5 * v + 2.5) * v - 4.0) * v + 2.0
        return torch.where(v <= 1, inner, torch.where(v <= 2, outer, torch.zeros_like(v)))
    if kernel == "lanczos3":
        return torch.where(v < 3, torch.sinc(u) * torch.sinc(u / 3), torch.zeros_like(v))
    if kernel == "linear":
        return (1 - v).clamp_min(0)
    return ((u >= -0.5) & (u < 0.5)).to(u.dtype)


def fold(indices: Tensor, n: int, *, border: Border = "symmetric") -> Tensor:
    """Map integer positions outside 0..n-1 back inside, as `border` says; ValueError for an unknown one."""
    if border == "replicate":
        return indices.clamp(0, n - 1)
    if border == "circular":
        return indices.remainder(n)
    if border == "reflect":
        inside = indices.remainder(max(1, 2 * n - 2))
        return torch.where(inside < n, inside, 2 * n - 2 - inside)
    if border != "symmetric":
        raise UsageError(f"border {border!r} is unknown: use one of {', '.join(BORDERS)}")
    inside = indices.remainder(2 * n)
    return torch.where(inside < n, inside, 2 * n - 1 - inside)


@lru_cache(maxsize=64)
def taps(
    n_in: int,
    n_out: int,
    *,
    ratio: float,
    kernel: Kernel = "cubic",
    antialias: bool = True,
    border: Border = "symmetric",
) -> tuple[Tensor, Tensor]:
    """Return the weights (n_out, k) in float64 and the input positions (n_out, k) of a one-axis resize.

    `ratio` is output over input (1/4 to shrink four times); weights of a row sum to 1. Rows are those of MATLAB's
    `imresize`: centre u = j / ratio + (1 - 1 / ratio) / 2 counted from 1, kernel stretched by 1 / ratio when shrinking.
    "nearest" is not MATLAB's: pixel j, counted from 0, is pixel floor((j + 1/2) / ratio).
    """
    if kernel == "nearest":
        position = (torch.arange(n_out, dtype=torch.float64) + 0.5) / ratio
        # The tiny term keeps pixel centres that fall on an edge, but for rounding, on its right.
        indices = torch.floor(position + 1e-9).to(torch.int64).clamp_max(n_in - 1)
        return torch.ones(n_out, 1, dtype=torch.float64), indices[:, None]
    if kernel not in _SUPPORT:
        raise UsageError(f"kernel {kernel!r} is unknown: use one of {', '.join((*_SUPPORT, 'nearest'))}")
    stretched = antialias and ratio < 1
    width = _SUPPORT[kernel] / ratio if stretched else _SUPPORT[kernel]
    centre = torch.arange(1, n_out + 1, dtype=torch.float64) / ratio + 0.5 * (1 - 1 / ratio)
    left = torch.floor(centre - width / 2)
    count = math.ceil(width) + 2
    position = left[:, None] + torch.arange(count, dtype=torch.float64)
    distance = centre[:, None] - position
    weights = ratio * _evaluate(kernel, ratio * distance) if stretched else _evaluate(kernel, distance)
    weights = weights / weights.sum(dim=1, keepdim=True)
    indices = fold(position.to(torch.int64) - 1, n_in, border=border)
    used = (weights != 0).any(dim=0)
    return weights[:, used].contiguous(), indices[:, used].contiguous()


def resize_matrix(
    n_in: int,
    n_out: int,
    *,
    ratio: float,
    kernel: Kernel = "cubic",
    antialias: bool = True,
    border: Border = "symmetric",
) -> Tensor:
    """Return the dense one-axis resize matrix (n_out, n_in) in float64; meant for small sizes and for tests."""
    weights, indices = taps(n_in, n_out, ratio=ratio, kernel=kernel, antialias=antialias, border=border)
    matrix = torch.zeros(n_out, n_in, dtype=torch.float64)
    return matrix.scatter_add_(1, indices, weights)


_SMALLEST_BLOCK, _LARGEST_BLOCK = 16, 64
"""Rows of a matrix that are multiplied at a time: few enough to skip most zeros, enough for a fast product."""

Band = tuple[int, int, Tensor]
"""First and one past the last column of a block of rows, and the float64 matrix between them."""


def make_bands(weights: Tensor, indices: Tensor, n_in: int, *, transposed: bool = False) -> tuple[Band, ...]:
    """Return a matrix of taps (`weights` at `indices`, see `taps`), or its transpose, in blocks of 16 to 64 rows.

    Each block has the columns from the first to the last that it touches, about 64 and the width of a row.
    """
    n_rows, n_columns = indices.shape[0], n_in
    values = weights.flatten()
    rows = torch.arange(n_rows)[:, None].expand_as(indices).flatten()
    columns = indices.flatten()
    if transposed:
        rows, columns, n_rows, n_columns = columns, rows, n_columns, n_rows
    height = min(max(_SMALLEST_BLOCK, _LARGEST_BLOCK * n_rows // n_columns), _LARGEST_BLOCK)
    order = torch.argsort(rows, stable=True)
    rows, columns, values = rows[order], columns[order], values[order]
    bands = []
    for start in range(0, n_rows, height):
        stop = min(start + height, n_rows)
        part = slice(*torch.searchsorted(rows, torch.tensor([start, stop])).tolist())
        touched = columns[part]
        low, high = (int(touched.min()), int(touched.max()) + 1) if len(touched) else (0, 1)
        block = torch.zeros(stop - start, high - low, dtype=torch.float64)
        block.index_put_((rows[part] - start, touched - low), values[part], accumulate=True)
        bands.append((low, high, block))
    return tuple(bands)


def apply_bands(v: Tensor, bands: tuple[Band, ...], axis: int) -> Tensor:
    """Return the product of a matrix in bands with every column (axis -2) or row (axis -1) of v (..., h, w).

    On the CPU every plane is a product of its own from aligned memory, so that a batch has the values of its pictures
    to the bit: libraries of linear algebra sum in another order for another batch or another alignment.
    """
    planes = v.reshape(-1, *v.shape[-2:])
    blocks = [(low, high, block.to(device=v.device, dtype=v.dtype)) for low, high, block in bands]
    size = list(v.shape[-2:])
    size[axis] = sum(len(block) for _, _, block in blocks)
    if v.device.type != "cpu" or len(planes) == 0:
        out = torch.cat(list(_products(planes, blocks, axis)), axis)
    elif v.requires_grad and torch.is_grad_enabled():
        out = torch.stack([torch.cat(list(_products(_aligned(plane), blocks, axis)), axis) for plane in planes])
    else:
        out = planes.new_empty(len(planes), *size)
        for plane, made in zip(planes, out, strict=True):
            start = 0
            for part in _products(_aligned(plane), blocks, axis):
                made.narrow(axis, start, part.shape[axis]).copy_(part)
                start += part.shape[axis]
    return out.reshape(*v.shape[:-2], *size)


def _products(v: Tensor, blocks: list[Band], axis: int) -> Iterator[Tensor]:
    for low, high, block in blocks:
        yield block @ v[..., low:high, :] if axis == -2 else v[..., low:high] @ block.T


def _aligned(plane: Tensor) -> Tensor:
    """The plane, contiguous and at the start of a line of the processor's cache."""
    plane = plane.contiguous()
    return plane if plane.data_ptr() % 64 == 0 else plane.clone()


@lru_cache(maxsize=16)
def _resize_bands(
    n_in: int, n_out: int, ratio: float, kernel: Kernel, antialias: bool, border: Border
) -> tuple[Band, ...]:
    return make_bands(*taps(n_in, n_out, ratio=ratio, kernel=kernel, antialias=antialias, border=border), n_in)


def _resize_axis(picture: Tensor, axis: int, weights: Tensor, indices: Tensor) -> Tensor:
    shape = [1] * picture.ndim
    shape[axis] = -1
    weights = weights.to(device=picture.device, dtype=picture.dtype)
    indices = indices.to(picture.device)
    out = picture.index_select(axis, indices[:, 0]) * weights[:, 0].reshape(shape)
    for k in range(1, weights.shape[1]):
        out = torch.addcmul(out, picture.index_select(axis, indices[:, k]), weights[:, k].reshape(shape))
    return out


def _plan(shape: tuple[int, int], scale: float | None, size: tuple[int, int] | None) -> list[tuple[int, int, float]]:
    """Return (axis, output length, ratio) in MATLAB's order: the smaller ratio first, rows first on a tie."""
    if (scale is None) == (size is None):
        raise UsageError("imresize takes either scale or size")
    if scale is not None:
        if not (math.isfinite(scale) and scale > 0):
            raise UsageError(f"scale {scale} is not a positive number: use for example 0.25 to shrink four times")
        lengths = [math.ceil(n * scale - 1e-9) for n in shape]
        ratios = [float(scale), float(scale)]
    else:
        assert size is not None
        lengths = list(size)
        ratios = [m / n for m, n in zip(size, shape, strict=True)]
    if min(lengths) < 1:
        raise UsageError(f"imresize to {lengths[0]}x{lengths[1]} pixels: both sides must be at least 1")
    steps = [(axis - 2, lengths[axis], ratios[axis]) for axis in (0, 1)]
    return sorted(steps, key=lambda step: step[2])


@dataclass(frozen=True)
class RowResize:
    """`imresize` to a size, for pictures (..., h, w) of which only some rows are there at a time.

    `shape` and `size` are (height, width) of the whole picture before and after.
    """

    shape: tuple[int, int]
    size: tuple[int, int]
    kernel: Kernel = "cubic"

    def _taps(self, axis: int) -> tuple[Tensor, Tensor]:
        n, m = self.shape[axis], self.size[axis]
        return taps(n, m, ratio=m / n, kernel=self.kernel)

    def needed(self, start: int, stop: int) -> tuple[int, int]:
        """First and one past the last row before that rows `start` to `stop` after depend on."""
        indices = self._taps(0)[1][start:stop]
        return int(indices.min()), int(indices.max()) + 1

    def __call__(self, window: Tensor, *, first: int, rows: tuple[int, int]) -> Tensor:
        """Rows `rows` (first and one past the last) after, from a window of rows before that starts at row `first`."""
        weights, indices = self._taps(0)
        down = (-2, weights[rows[0] : rows[1]], indices[rows[0] : rows[1]] - first)
        across = (-1, *self._taps(1))
        ratios = [m / n for m, n in zip(self.size, self.shape, strict=True)]
        for axis, w, j in (down, across) if ratios[0] <= ratios[1] else (across, down):
            window = _resize_axis(window, axis, w, j)
        return window


def imresize(
    picture: Tensor,
    *,
    scale: float | None = None,
    size: tuple[int, int] | None = None,
    antialias: bool = True,
    kernel: Kernel = "cubic",
    border: Border = "symmetric",
) -> Tensor:
    """Resize float pictures (..., h, w) as MATLAB's `imresize` resizes double pictures; differentiable, not clipped.

    `scale` is output over input and gives ceil(n * scale) pixels; `size` is (height, width). Raises UsageError for a
    scale that is not a positive number. Current MATLAB mirrors at the border, versions before 2010 replicate.
    """
    if not picture.is_floating_point():
        raise UsageError(f"imresize takes float pictures, got {picture.dtype}: use imresize_uint8 for 8-bit pictures")
    for axis, length, ratio in _plan((picture.shape[-2], picture.shape[-1]), scale, size):
        if kernel == "nearest":
            weights, indices = taps(picture.shape[axis], length, ratio=ratio, kernel=kernel)
            picture = _resize_axis(picture, axis, weights, indices)
        else:
            bands = _resize_bands(picture.shape[axis], length, ratio, kernel, antialias, border)
            picture = apply_bands(picture, bands, axis)
    return picture


def imresize_uint8(
    picture: Tensor,
    *,
    scale: float | None = None,
    size: tuple[int, int] | None = None,
    antialias: bool = True,
    kernel: Kernel = "cubic",
    border: Border = "symmetric",
) -> Tensor:
    """Resize 8-bit pictures (..., h, w) exactly as MATLAB does: rounded half up and clipped after each pass."""
    if picture.dtype != torch.uint8:
        raise UsageError(f"imresize_uint8 takes uint8 pictures, got {picture.dtype}")
    for axis, length, ratio in _plan((picture.shape[-2], picture.shape[-1]), scale, size):
        picture = _resize_axis_uint8(picture, axis, length, ratio, kernel, antialias, border)
    return picture


def _resize_axis_uint8(
    picture: Tensor, axis: int, length: int, ratio: float, kernel: Kernel, antialias: bool, border: Border
) -> Tensor:
    """One pass of `imresize_uint8`: in float32 where that decides the rounding, else tap by tap in float64."""
    settings = (picture.shape[axis], length)
    weights, indices = taps(*settings, ratio=ratio, kernel=kernel, antialias=antialias, border=border)
    if kernel == "nearest":
        return _resize_axis(picture.to(torch.float64), axis, weights, indices).to(torch.uint8)
    passed = apply_bands(picture.float(), _resize_bands(*settings, ratio, kernel, antialias, border), axis)
    rounded = torch.floor(passed + 0.5)
    # Sums of so many products of at most 255 err by less than this, four times over.
    limit = 4 * 255 * (weights.shape[1] + 1) * 2.0**-24
    unsure = (passed.sub_(rounded).abs_() > 0.5 - limit).flatten().nonzero().flatten()
    rounded = rounded.clamp_(0, 255).to(torch.uint8)
    if 4 * len(unsure) > rounded.numel():
        exact = _resize_axis(picture.to(torch.float64), axis, weights, indices)
        return torch.floor(exact + 0.5).clamp_(0, 255).to(torch.uint8)
    if len(unsure):
        rounded.view(-1)[unsure] = _exactly(picture, axis, unsure, rounded.shape[-2:], weights, indices)
    return rounded


def _exactly(picture: Tensor, axis: int, places: Tensor, size: torch.Size, weights: Tensor, indices: Tensor) -> Tensor:
    """The samples of one pass at flat `places` of a result of `size` (h, w) a plane, tap by tap in float64."""
    weights, indices = weights.to(picture.device), indices.to(picture.device)
    samples, width = picture.reshape(-1), picture.shape[-1]
    line, column = places // size[1], places % size[1]
    if axis == -2:
        row, step = line % size[0], width
        origin = line // size[0] * (picture.shape[-2] * width) + column
    else:
        row, step, origin = column, 1, line * width
    exact = torch.zeros(len(places), dtype=torch.float64, device=picture.device)
    for k in range(weights.shape[1]):
        at = torch.add(origin, indices[:, k].index_select(0, row), alpha=step)
        exact.addcmul_(samples.index_select(0, at).to(torch.float64), weights[:, k].index_select(0, row))
    return torch.floor(exact.add_(0.5)).clamp_(0, 255).to(torch.uint8)


def modcrop(picture: Tensor, *, multiple: int) -> Tensor:
    """Cut pictures (..., h, w) at the bottom and right to a multiple of `multiple` pixels."""
    height, width = picture.shape[-2], picture.shape[-1]
    return picture[..., : height - height % multiple, : width - width % multiple]
