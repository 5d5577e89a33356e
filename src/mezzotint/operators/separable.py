"""Operators that treat rows and columns one after the other: x = R_h y R_w^T, with everything from two small matrices.

Resizing with any kernel and scale, and filters with decimation, at any border. The singular vectors of A are products
of those of the two axes, so that its pseudo-inverse and its spectral form are exact for every size and cost O(N^1.5)
operations for N pixels; A and A^T skip the zeros of the matrices.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Protocol

import torch
from torch import Tensor

from mezzotint.errors import UsageError
from mezzotint.operators.linear import (
    CUTOFF,
    SVD,
    LinearOperator,
    Size,
    check_size,
    check_whole,
    reciprocal,
    spectral_inverse,
    truncated,
)
from mezzotint.operators.resize import BORDERS, Band, Border, Kernel, apply_bands, fold, make_bands, taps


class Axis(Protocol):
    """A linear map along one axis, n_in samples to n_out: hashable, so that its matrices are made once."""

    @property
    def n_in(self) -> int: ...

    @property
    def n_out(self) -> int: ...

    def __hash__(self) -> int: ...

    def taps(self) -> tuple[Tensor, Tensor]:
        """Weights (n_out, k), float64, and input positions (n_out, k); a position may occur twice in a row."""
        ...


@dataclass(frozen=True)
class ResizeAxis:
    """One axis of `resize.imresize`; `ratio` is output over input."""

    n_in: int
    n_out: int
    ratio: float
    kernel: Kernel = "cubic"
    antialias: bool = True
    border: Border = "symmetric"

    def taps(self) -> tuple[Tensor, Tensor]:
        return taps(
            self.n_in, self.n_out, ratio=self.ratio, kernel=self.kernel, antialias=self.antialias, border=self.border
        )


@dataclass(frozen=True)
class FilterAxis:
    """Every cell of `scale` samples to one: weights for the samples from `first` on, counted from the cell's start.

    There are ceil(n_in / scale) cells.
    """

    n_in: int
    scale: int
    weights: tuple[float, ...]
    first: int
    border: Border = "symmetric"

    @property
    def n_out(self) -> int:
        return -(-self.n_in // self.scale)

    def taps(self) -> tuple[Tensor, Tensor]:
        weights = torch.tensor(self.weights, dtype=torch.float64).expand(self.n_out, -1)
        starts = self.scale * torch.arange(self.n_out) + self.first
        positions = starts[:, None] + torch.arange(len(self.weights))
        return weights, fold(positions, self.n_in, border=self.border)


@dataclass(frozen=True)
class AreaAxis:
    """Means over n_out equal lengths of the axis, whose ends may lie inside samples."""

    n_in: int
    n_out: int

    def taps(self) -> tuple[Tensor, Tensor]:
        length = self.n_in / self.n_out
        start = length * torch.arange(self.n_out, dtype=torch.float64)
        # The tiny term keeps ends that fall on the edge of a sample, but for rounding, on it.
        first = torch.floor(start + 1e-9)
        position = first[:, None] + torch.arange(math.ceil(length) + 1, dtype=torch.float64)
        overlap = torch.minimum(start[:, None] + length, position + 1) - torch.maximum(start[:, None], position)
        weights = overlap.clamp_min(0) / length
        return weights / weights.sum(1, keepdim=True), position.to(torch.int64).clamp(max=self.n_in - 1)


@dataclass(frozen=True)
class ComposedAxis:
    """`second` after `first`."""

    first: Axis
    second: Axis

    def __post_init__(self) -> None:
        if self.first.n_out != self.second.n_in:
            raise UsageError(
                f"an axis of {self.second.n_in} samples cannot follow one that gives {self.first.n_out}: "
                "bind the second operator to the size that the first one gives"
            )

    @property
    def n_in(self) -> int:
        return self.first.n_in

    @property
    def n_out(self) -> int:
        return self.second.n_out

    def taps(self) -> tuple[Tensor, Tensor]:
        inner, middle = self.first.taps()
        outer, positions = self.second.taps()
        weights = outer[:, :, None] * inner[positions]
        return weights.flatten(1), middle[positions].flatten(1)


# Few are kept: those of a side of 4096 pixels are 33 MB each.
@lru_cache(maxsize=4)
def matrix(axis: Axis) -> Tensor:
    """The dense matrix (n_out, n_in) of an axis, float64."""
    weights, indices = axis.taps()
    dense = torch.zeros(axis.n_out, axis.n_in, dtype=torch.float64)
    return dense.scatter_add_(1, indices, weights.contiguous())


@lru_cache(maxsize=4)
def _decomposition(axis: Axis) -> tuple[Tensor, Tensor, Tensor]:
    """U (n_out, k), sv (k,) and V (n_in, k) of an axis, k the smaller side, float64."""
    u, sv, vh = torch.linalg.svd(matrix(axis), full_matrices=False)
    return u, sv, vh.T.contiguous()


@lru_cache(maxsize=4)
def _inverse(axis: Axis) -> Tensor:
    """The pseudo-inverse (n_in, n_out) of an axis, float64; singular values below CUTOFF of the largest are dropped."""
    u, sv, v = _decomposition(axis)
    return (v * reciprocal(truncated(sv))) @ u.T


@lru_cache(maxsize=16)
def _bands(axis: Axis, transposed: bool) -> tuple[Band, ...]:
    """The matrix of an axis, or its transpose, in blocks of rows with the columns that each touches."""
    return make_bands(*axis.taps(), axis.n_in, transposed=transposed)


def apply_axis(v: Tensor, axis: Axis, dim: int, *, transposed: bool = False) -> Tensor:
    """The map of an axis, or its transpose, along dimension -2 or -1 of v."""
    return apply_bands(v, _bands(axis, transposed), dim)


def _both(v: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """rows v columns^T for dense float64 matrices, in the type of v; the axis that shrinks most comes first."""
    rows, columns = rows.to(v), columns.to(v)
    if rows.shape[0] * columns.shape[1] <= columns.shape[0] * rows.shape[1]:
        return (rows @ v) @ columns.T
    return rows @ (v @ columns.T)


@dataclass(frozen=True)
class Separable(LinearOperator):
    """x = R_h y R_w^T for the matrices of two axes, channel by channel.

    Singular values are the products of those of the axes, which `svd` keeps as a picture of coefficients; those below
    CUTOFF of the largest count as zero in `pinv` and `svd`.
    """

    rows: Axis
    columns: Axis

    @property
    def shape_in(self) -> Size:
        return self.rows.n_in, self.columns.n_in

    @property
    def shape_out(self) -> Size:
        return self.rows.n_out, self.columns.n_out

    @property
    def norm(self) -> float:
        return float(_decomposition(self.rows)[1].max() * _decomposition(self.columns)[1].max())

    @property
    def has_svd(self) -> bool:
        return True

    def svd(self) -> SVD:
        rows, columns = _decomposition(self.rows), _decomposition(self.columns)
        sv = truncated(rows[1][:, None] * columns[1])[None]
        kept = sv > 0

        def masked(v: Tensor) -> Tensor:
            return v if bool(kept.all()) else v * kept.to(v)

        return SVD(
            sv=sv,
            Vt=lambda y: masked(_both(y, rows[2].T, columns[2].T)),
            V=lambda c: _both(masked(c), rows[2], columns[2]),
            Ut=lambda x: _both(x, rows[0].T, columns[0].T),
            U=lambda c: _both(c, rows[0], columns[0]),
        )

    def _forward(self, y: Tensor) -> Tensor:
        return self._two(y, transposed=False)

    def _adjoint(self, x: Tensor) -> Tensor:
        return self._two(x, transposed=True)

    def _two(self, v: Tensor, *, transposed: bool) -> Tensor:
        # The axis that makes the picture smaller comes first, or the one that makes it larger last.
        ratios = [axis.n_out / axis.n_in for axis in (self.rows, self.columns)]
        order = [(self.rows, -2), (self.columns, -1)]
        if (ratios[0] > ratios[1]) != transposed:
            order.reverse()
        for axis, dim in order:
            v = apply_axis(v, axis, dim, transposed=transposed)
        return v

    def _pinv(self, x: Tensor) -> Tensor:
        smallest = float(_decomposition(self.rows)[1].min() * _decomposition(self.columns)[1].min())
        if smallest > CUTOFF * self.norm:
            return _both(x, _inverse(self.rows), _inverse(self.columns))
        return spectral_inverse(self.svd(), x)

    def _solve(self, x: Tensor, rho: float) -> Tensor:
        svd, full = self.svd(), all(axis.n_out <= axis.n_in for axis in (self.rows, self.columns))
        coefficients = svd.Ut(x)
        squares = svd.sv.to(x).square()
        if full:
            return svd.U(coefficients / (squares + rho))
        # U does not span all small pictures; beyond it A A^T is zero.
        return (x - svd.U(coefficients * squares / (squares + rho))) / rho


def resize(
    *,
    height: int,
    width: int,
    scale: float,
    size: Size | None = None,
    kernel: Kernel = "cubic",
    antialias: bool = True,
    border: Border = "symmetric",
) -> Separable:
    """MATLAB's `imresize` by any real scale (large over small, below 1 to enlarge), as a linear operator.

    The small picture has `size`, or ceil(height / scale) x ceil(width / scale) pixels. Raises UsageError for a scale
    that is not a positive number and for sides below 1.
    """
    check_size("resize", height, width)
    if not (math.isfinite(scale) and scale > 0):
        raise UsageError(f"scale {scale} is not a positive number: use for example 4")
    if kernel not in ("cubic", "lanczos3", "linear", "box", "nearest"):
        raise UsageError(f"kernel {kernel!r} is unknown: use cubic, lanczos3, linear, box or nearest")
    _check_border(border)
    lengths = size or tuple(math.ceil(n / scale - 1e-9) for n in (height, width))
    check_size("resize", *lengths)
    rows, columns = (
        ResizeAxis(n, m, ratio=1 / scale, kernel=kernel, antialias=antialias, border=border)
        for n, m in zip((height, width), lengths, strict=True)
    )
    return Separable(rows, columns)


def gaussian_taps(sigma: float, *, centre: float, radius: float | None = None) -> tuple[tuple[float, ...], int]:
    """Weights of a sampled Gaussian around `centre`, which sum to 1, and the offset of the first.

    `sigma` and `centre` in pixels; cut at `radius`, or at 4 sigma and at least half a pixel.
    """
    reach = max(4 * sigma, 0.5) if radius is None else radius
    # The tiny term keeps samples that lie on the radius but for rounding.
    first, last = math.ceil(centre - reach - 1e-9), math.floor(centre + reach + 1e-9)
    offsets = torch.arange(first, last + 1, dtype=torch.float64)
    # A tiny sigma would make every weight underflow: only differences to the nearest pixel matter.
    squares = ((offsets - centre) / sigma).square()
    weights = torch.exp(-0.5 * (squares - squares.min()))
    return tuple((weights / weights.sum()).tolist()), first


def gaussian(
    *,
    height: int,
    width: int,
    scale: int,
    sigma: float,
    radius: float | None = None,
    shift: tuple[float, float] = (0.0, 0.0),
    border: Border = "symmetric",
) -> Separable:
    """An isotropic Gaussian blur of `sigma` large pixels, and one value kept a cell of scale x scale pixels.

    The kernel is centred on the middle of the cell, (scale - 1) / 2 from its first pixel, so that the small picture is
    aligned as bicubic reduction aligns it, and then moved by `shift` (down, right) large pixels: the small pictures of
    a shaken camera. It is cut at `radius` pixels, or at 4 sigma. Raises UsageError for settings out of range.
    """
    check_size("gaussian", height, width)
    check_whole("gaussian", scale)
    if not (math.isfinite(sigma) and 0 < sigma <= 100):
        raise UsageError(f"sigma {sigma} is not above 0 and at most 100 large pixels: use for example 1.6")
    if radius is not None and not (math.isfinite(radius) and radius >= 0.5):
        raise UsageError(f"radius {radius} is below half a pixel, the least that surely holds one: use {4 * sigma:g}")
    if not all(math.isfinite(s) and abs(s) <= 1000 for s in shift):
        raise UsageError(f"shift {shift} is not two numbers of at most 1000 large pixels")
    _check_border(border)
    axes = []
    for n, moved in zip((height, width), shift, strict=True):
        weights, first = gaussian_taps(sigma, centre=(scale - 1) / 2 + moved, radius=radius)
        axes.append(FilterAxis(n, scale, weights, first, border))
    return Separable(*axes)


def average(*, height: int, width: int, scale: int, border: Border = "symmetric") -> Separable:
    """Means of cells of scale x scale pixels for any size; a cell that the picture does not fill is folded into it.

    `diagonal.Average` is the same for sizes that are multiples of the scale, without matrices.
    """
    check_size("average", height, width)
    check_whole("average", scale)
    _check_border(border)
    rows, columns = (FilterAxis(n, scale, (1 / scale,) * scale, 0, border) for n in (height, width))
    return Separable(rows, columns)


def area(*, height: int, width: int, size: Size) -> Separable:
    """Means over the areas of `size` equal pixels: OpenCV's INTER_AREA, to shrink and to enlarge.

    Raises UsageError for sides below 1.
    """
    check_size("area", height, width)
    check_size("area", *size)
    return Separable(AreaAxis(height, size[0]), AreaAxis(width, size[1]))


def _check_border(border: str) -> None:
    if border not in BORDERS:
        raise UsageError(f"border {border!r} is unknown: use one of {', '.join(BORDERS)}")
