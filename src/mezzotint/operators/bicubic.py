"""Antialiased bicubic reduction by a whole factor as a linear operator: adjoint, pseudo-inverse, consistency.

Per axis the reduction is a matrix R (n, s n): a symmetric filter centred on each cell of s pixels, with the
picture mirrored at its border. Mirroring commutes with such filters, so R, its adjoint and (R R^T)^-1 are
each one shift-invariant filter applied to the mirrored picture. (R R^T)^-1 is not short, but its taps fall
by a factor of three a pixel: those beyond 30 pixels sum to less than 1e-14 of it, for every scale. Cut
there, the pseudo-inverse is exact in float64, costs a fixed number of operations a pixel, and any tile of
it needs no more than 32 small pixels around it.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import torch
from torch import Tensor

from mezzotint.errors import UsageError
from mezzotint.operators.linear import SVD, LinearOperator, widen
from mezzotint.operators.resize import fold, resize_matrix
from mezzotint.operators.separable import Separable, resize

MARGIN = 32
"""Small pixels around a tile that its pseudo-inverse reads."""

REDUCTION_MARGIN = 2
"""Cells (of scale x scale large pixels) around a tile that its reduction reads."""

Span = tuple[int, int]
"""First and one past the last small pixel of a tile along one axis."""

_Kind = Literal["down", "up", "inverse"]
_INVERSE_RADIUS = MARGIN - REDUCTION_MARGIN
_REACH: dict[_Kind, int] = {"down": REDUCTION_MARGIN, "up": REDUCTION_MARGIN, "inverse": _INVERSE_RADIUS}
_BLOCK: dict[_Kind, int] = {"down": 16, "up": 16, "inverse": 64}  # cells made by one matrix product
_BAND_SAMPLES = 1 << 22  # large samples computed at a time: bounds the memory beside input and output


@lru_cache(maxsize=16)
def _taps(scale: int) -> Tensor:
    """Return one interior row of R in float64, over the 5 cells that it touches."""
    row = resize_matrix(8 * scale, 8, ratio=1 / scale)[4]
    return row[2 * scale : 7 * scale].contiguous()


@lru_cache(maxsize=16)
def _inverse_taps(scale: int) -> Tensor:
    """Return the taps -30..30 of (R R^T)^-1 in float64; their sum is exactly `scale`."""
    taps = _taps(scale)
    correlation = torch.zeros(512, dtype=torch.float64)
    for lag in range(-4, 5):
        first, last = max(0, lag) * scale, (5 + min(0, lag)) * scale
        correlation[lag] = taps[first:last] @ taps[first - lag * scale : last - lag * scale]
    inverse = torch.fft.ifft(1 / torch.fft.fft(correlation).real).real
    inverse = torch.cat([inverse[-_INVERSE_RADIUS:], inverse[: _INVERSE_RADIUS + 1]])
    return inverse * (scale / inverse.sum())  # a constant picture comes back as it was


@lru_cache(maxsize=64)
def _block(kind: _Kind, scale: int, cells: int) -> Tensor:
    """Return the float64 matrix that makes `cells` neighbouring output cells from the cells they read."""
    if kind == "up":
        # Cell j of the adjoint reads the small pixels j-2..j+2: the taps of R by cell, in reverse.
        by_cell = _taps(scale).reshape(5, scale).flip(0).T
        up = torch.zeros(cells, scale, cells + 4, dtype=torch.float64)
        for cell in range(cells):
            up[cell, :, cell : cell + 5] = by_cell
        return up.reshape(cells * scale, cells + 4)
    taps, step = (_inverse_taps(scale), 1) if kind == "inverse" else (_taps(scale), scale)
    matrix = torch.zeros(cells, (cells + 2 * _REACH[kind]) * step, dtype=torch.float64)
    for cell in range(cells):
        matrix[cell, cell * step : cell * step + len(taps)] = taps
    return matrix


def _filter(v: Tensor, kind: _Kind, *, scale: int, axis: int, first: int, length: int, span: Span) -> Tensor:
    """Return the output cells `span` of one filter along one axis, -2 or -1.

    `v` holds the input from cell `first` on; the whole picture has `length` cells.
    """
    reach, size = _REACH[kind], scale if kind == "down" else 1
    count = span[1] - span[0]
    cells = min(_BLOCK[kind], count)
    blocks = -(-count // cells)
    positions = torch.arange((span[0] - reach) * size, (span[0] + blocks * cells + reach) * size)
    # The last block may be cut: what it alone would read need not exist.
    positions = positions.clamp_max((span[1] + reach) * size - 1)
    indices = fold(positions, length * size) - first * size
    window = v.index_select(axis, indices.to(v.device)).unfold(axis, (cells + 2 * reach) * size, cells * size)
    matrix = _block(kind, scale, cells).to(device=v.device, dtype=v.dtype)
    kept = count * (scale if kind == "up" else 1)
    if axis == -1:
        return (window @ matrix.T).flatten(-2)[..., :kept]
    return (matrix @ window.transpose(-1, -2)).flatten(-3, -2)[..., :kept, :]


def _filter_both(
    v: Tensor, kind: _Kind, *, scale: int, origin: Span, shape: Span, rows: Span, columns: Span
) -> Tensor:
    """Return the output cells `rows` x `columns` of one filter along both axes, a band of rows at a time."""
    unit = scale if kind == "up" else 1
    width = columns[1] - columns[0]
    samples = max(1, v.shape[:-2].numel() * width * scale**2)
    height = max(1, _BAND_SAMPLES // (samples * _BLOCK[kind])) * _BLOCK[kind]
    out = v.new_empty((*v.shape[:-2], (rows[1] - rows[0]) * unit, width * unit))
    for start in range(rows[0], rows[1], height):
        band = (start, min(start + height, rows[1]))
        part = _filter(v, kind, scale=scale, axis=-2, first=origin[0], length=shape[0], span=band)
        part = _filter(part, kind, scale=scale, axis=-1, first=origin[1], length=shape[1], span=columns)
        out[..., (band[0] - rows[0]) * unit : (band[1] - rows[0]) * unit, :] = part
    return out


@dataclass(frozen=True, kw_only=True)
class BicubicDown(LinearOperator):
    """Reduce pictures by a whole factor with MATLAB's antialiased bicubic, as the linear map x = A y.

    `height` and `width` are those of the large picture, multiples of `scale`; `separable.resize` takes every size and
    scale. Raises UsageError for a size that is not a multiple of the scale.
    """

    scale: int
    height: int
    width: int

    def __post_init__(self) -> None:
        if self.scale < 1 or self.scale != int(self.scale):
            raise UsageError(f"scale {self.scale} is not a whole number of at least 1: use for example 4")
        if min(self.height, self.width) < 1 or self.height % self.scale or self.width % self.scale:
            raise UsageError(
                f"a picture of {self.height}x{self.width} pixels is not a multiple of scale {self.scale}: "
                "crop it first (modcrop)"
            )

    @property
    def shape_in(self) -> tuple[int, int]:
        return self.height, self.width

    @property
    def shape_out(self) -> tuple[int, int]:
        return self.height // self.scale, self.width // self.scale

    @property
    def norm(self) -> float:
        """The largest singular value, 1 / scale: that of constant pictures."""
        return 1 / self.scale

    @property
    def has_svd(self) -> bool:
        return True

    def svd(self) -> SVD:
        """The singular value decomposition, from the matrices of the two axes."""
        return self._matrices().svd()

    def _matrices(self) -> Separable:
        return resize(height=self.height, width=self.width, scale=self.scale)

    def _forward(self, y: Tensor) -> Tensor:
        return self._reduce(y, (0, 0), (0, self.shape_out[0]), (0, self.shape_out[1]))

    def _adjoint(self, x: Tensor) -> Tensor:
        rows, columns = (0, self.shape_out[0]), (0, self.shape_out[1])
        return _filter_both(x, "up", scale=self.scale, origin=(0, 0), shape=self.shape_out, rows=rows, columns=columns)

    def _pinv(self, x: Tensor) -> Tensor:
        return self._invert(x, (0, 0), (0, self.shape_out[0]), (0, self.shape_out[1]))

    def _solve(self, x: Tensor, rho: float) -> Tensor:
        return self._matrices().solve(x, rho=rho)

    def A_tile(self, y: Tensor, *, origin: Span, rows: Span, columns: Span) -> Tensor:
        """Return the small pixels `rows` x `columns` of A y from a crop of y.

        `y` holds the cells (scale x scale large pixels) from `origin` on, b c and both sides a multiple of
        `scale`; it reaches REDUCTION_MARGIN cells beyond the tile, or to the border of the picture. Raises
        UsageError otherwise.
        """
        self._check_tile(y, self.scale, REDUCTION_MARGIN, origin, rows, columns)
        return self._reduce(y, origin, rows, columns)

    def pinv_tile(self, x: Tensor, *, origin: Span, rows: Span, columns: Span) -> Tensor:
        """Return the large pixels of A^+ x inside the small pixels `rows` x `columns` from a crop of x.

        `x` holds b c and the small pixels from `origin` on; it reaches MARGIN pixels beyond the tile, or to
        the border of the picture. Raises UsageError otherwise. Equal to the same part of `pinv` of the
        whole, up to rounding.
        """
        self._check_tile(x, 1, MARGIN, origin, rows, columns)
        return self._invert(x, origin, rows, columns)

    def _reduce(self, y: Tensor, origin: Span, rows: Span, columns: Span) -> Tensor:
        out = _filter_both(
            widen(y),
            "down",
            scale=self.scale,
            origin=origin,
            shape=self.shape_out,
            rows=rows,
            columns=columns,
        )
        return out.to(y.dtype)

    def _invert(self, x: Tensor, origin: Span, rows: Span, columns: Span) -> Tensor:
        v = widen(x)
        height, width = self.shape_out
        reach = REDUCTION_MARGIN
        wide = (max(0, rows[0] - reach), min(height, rows[1] + reach))
        v = _filter(v, "inverse", scale=self.scale, axis=-2, first=origin[0], length=height, span=wide)
        long = (max(0, columns[0] - reach), min(width, columns[1] + reach))
        v = _filter(v, "inverse", scale=self.scale, axis=-1, first=origin[1], length=width, span=long)
        origin = (wide[0], long[0])
        out = _filter_both(
            v, "up", scale=self.scale, origin=origin, shape=self.shape_out, rows=rows, columns=columns
        )
        return out.to(x.dtype)

    def _check_tile(self, v: Tensor, unit: int, margin: int, origin: Span, rows: Span, columns: Span) -> None:
        if not v.is_floating_point():
            raise UsageError(f"the bicubic operator takes float pictures, got {v.dtype}: convert them first")
        for axis, (start, stop) in ((0, rows), (1, columns)):
            length, first, held = self.shape_out[axis], origin[axis], v.shape[axis - 2] // unit
            if not 0 <= start < stop <= length:
                raise UsageError(
                    f"a tile from {start} to {stop} lies outside a picture of {length} small pixels"
                )
            if first > max(0, start - margin) or first + held < min(length, stop + margin):
                raise UsageError(
                    f"a crop from {first} to {first + held} is too small for a tile from {start} to {stop}: "
                    f"it must reach {margin} small pixels beyond it, or to the border"
                )
