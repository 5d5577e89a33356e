"""Blur with any kernel and keep one value a cell, x = (y * k) down_s: by FFT on the torus, by convolution elsewhere.

Convolution is that of mathematics, (y * k)(p) = sum_q k(p - q) y(q), which turns a kernel that is not symmetric by half
against the "convolution" of networks. The value of a cell is taken at its middle, (scale - 1) / 2 from its first pixel,
as every reduction of this package does; `shift` moves it from there.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor
from torch.nn import functional

from mezzotint.errors import UsageError
from mezzotint.operators.kernels import BlurKernel, Sampled
from mezzotint.operators.linear import (
    SVD,
    LinearOperator,
    Size,
    check_size,
    check_whole,
    reciprocal,
    spectral_inverse,
    spectral_solve,
    truncated,
)
from mezzotint.operators.resize import BORDERS, Border, fold

_DIRECT = 80
"""Products a large pixel up to which direct convolution is faster than a Fourier transform."""


def _check(operator: CircularBlur | Blur) -> None:
    check_size("blur", operator.height, operator.width)
    check_whole("blur", operator.scale)
    if not all(math.isfinite(s) and abs(s) <= 1000 for s in operator.shift):
        raise UsageError(f"shift {operator.shift} is not two numbers of at most 1000 large pixels")


def _sampled(operator: CircularBlur | Blur) -> Sampled:
    middle = (operator.scale - 1) / 2
    return operator.kernel.sample((middle + operator.shift[0], middle + operator.shift[1]))


@lru_cache(maxsize=4)
def _transfer(operator: CircularBlur) -> Tensor:
    """The DFT of the filter whose circular convolution, at the first pixel of each cell, is A; complex128."""
    sampled = _sampled(operator)
    plane = torch.zeros(operator.height, operator.width, dtype=torch.float64)
    # Weight w belongs to y(p + d): convolution has it at -d.
    rows = -(sampled.top + torch.arange(sampled.weights.shape[0])) % operator.height
    columns = -(sampled.left + torch.arange(sampled.weights.shape[1])) % operator.width
    plane.index_put_((rows[:, None], columns[None, :]), sampled.weights, accumulate=True)
    return torch.fft.fft2(plane)


@lru_cache(maxsize=4)
def _spectrum(operator: CircularBlur) -> Tensor:
    """The singular values of A, (h, w), float64: A A^T is circulant, with the mean of the aliases of |k|^2."""
    s, (h, w) = operator.scale, operator.shape_out
    power = _transfer(operator).abs().square()
    return torch.sqrt(power.reshape(s, h, s, w).mean((0, 2)))


@dataclass(frozen=True, kw_only=True)
class CircularBlur(LinearOperator):
    """x = (y * k) down_s on the torus, for sizes that are multiples of the scale: everything in O(N log N) operations.

    A A^T is circulant on the small grid with eigenvalue 1/s^2 times the sum over the s^2 aliases of |k^|^2 (the blocks
    of Zhao et al. 2016), so that A^+ x = A^T F^-1 (F x / eigenvalue). Its real orthonormal eigenvectors are those of
    the Hartley transform, cas(2 pi (m p / h + n q / w)): U is that transform, V = A^T U / sv. Raises UsageError for
    other sizes; `Blur` takes every size.
    """

    kernel: BlurKernel
    height: int
    width: int
    scale: int = 1
    shift: tuple[float, float] = (0.0, 0.0)

    def __post_init__(self) -> None:
        _check(self)
        if self.height % self.scale or self.width % self.scale:
            raise UsageError(
                f"a picture of {self.height}x{self.width} pixels is not a multiple of scale {self.scale}, so that its "
                "torus has no cells: crop it first (modcrop), or use Blur with border circular"
            )

    @property
    def shape_in(self) -> Size:
        return self.height, self.width

    @property
    def shape_out(self) -> Size:
        return self.height // self.scale, self.width // self.scale

    @property
    def norm(self) -> float:
        return float(_spectrum(self).max())

    @property
    def has_svd(self) -> bool:
        return True

    def svd(self) -> SVD:
        sv = truncated(_spectrum(self))[None]

        inverse = reciprocal(sv)

        def whiten(c: Tensor) -> Tensor:
            return c * inverse.to(c)

        return SVD(
            sv=sv,
            Vt=lambda y: whiten(hartley(self._forward(y))),
            V=lambda c: self._adjoint(hartley(whiten(c))),
            Ut=hartley,
            U=hartley,
        )

    def _forward(self, y: Tensor) -> Tensor:
        blurred = torch.fft.irfft2(torch.fft.rfft2(y) * self._half(y), s=self.shape_in)
        return blurred[..., :: self.scale, :: self.scale]

    def _adjoint(self, x: Tensor) -> Tensor:
        s = self.scale
        # The spectrum of x with zeros between its pixels is its own, repeated.
        spectrum = torch.fft.fft2(x).repeat(*(1,) * (x.ndim - 2), s, s)[..., : self.width // 2 + 1]
        return torch.fft.irfft2(spectrum * self._half(x).conj(), s=self.shape_in)

    def _half(self, v: Tensor) -> Tensor:
        dtype = torch.complex128 if v.dtype == torch.float64 else torch.complex64
        return _transfer(self)[:, : self.width // 2 + 1].to(device=v.device, dtype=dtype)

    def _pinv(self, x: Tensor) -> Tensor:
        return spectral_inverse(self.svd(), x)

    def _solve(self, x: Tensor, rho: float) -> Tensor:
        return spectral_solve(self.svd(), x, rho)


def hartley(v: Tensor) -> Tensor:
    """The orthonormal Hartley transform of the last two axes, Re F - Im F: real, symmetric and its own inverse."""
    spectrum = torch.fft.fft2(v, norm="ortho")
    return spectrum.real - spectrum.imag


@dataclass(frozen=True, kw_only=True)
class Blur(LinearOperator):
    """x = (y * k) down_s for any kernel, size and border; ceil(height / scale) x ceil(width / scale) pixels.

    Nothing is known in closed form: `pinv` and `solve` are iterated to rounding (`operators.iterative`), and `norm` is
    the bound sqrt(|A|_1 |A|_inf), the largest singular value itself on a torus with a kernel that is not negative.
    """

    kernel: BlurKernel
    height: int
    width: int
    scale: int = 1
    shift: tuple[float, float] = (0.0, 0.0)
    border: Border = "reflect"

    def __post_init__(self) -> None:
        _check(self)
        if self.border not in BORDERS:
            raise UsageError(f"border {self.border!r} is unknown: use one of {', '.join(BORDERS)}")

    @property
    def shape_in(self) -> Size:
        return self.height, self.width

    @property
    def shape_out(self) -> Size:
        return -(-self.height // self.scale), -(-self.width // self.scale)

    @property
    def norm(self) -> float:
        weights = _sampled(self).weights.abs()
        one = torch.ones(1, 1, *self.shape_out, dtype=torch.float64)
        largest_column = float(self._spread(one, weights).max())
        return math.sqrt(largest_column * float(weights.sum()))

    def _positions(self) -> tuple[Tensor, Tensor]:
        """The rows and columns of y that the filter reads in turn, folded into the picture."""
        sampled, lines = _sampled(self), []
        for axis, first in enumerate((sampled.top, sampled.left)):
            count = (self.shape_out[axis] - 1) * self.scale + sampled.weights.shape[axis]
            lines.append(fold(torch.arange(first, first + count), self.shape_in[axis], border=self.border))
        return lines[0], lines[1]

    def _forward(self, y: Tensor) -> Tensor:
        weights = _sampled(self).weights.to(y)
        rows, columns = (line.to(y.device) for line in self._positions())
        extended = y.index_select(-2, rows).index_select(-1, columns)
        return correlate(extended, weights, scale=self.scale)

    def _adjoint(self, x: Tensor) -> Tensor:
        return self._spread(x, _sampled(self).weights.to(x))

    def _spread(self, x: Tensor, weights: Tensor) -> Tensor:
        rows, columns = (line.to(x.device) for line in self._positions())
        extended = _transposed(x, weights, scale=self.scale)
        narrow = x.new_zeros(*extended.shape[:-1], self.width).index_add_(-1, columns, extended)
        return x.new_zeros(*x.shape[:-2], self.height, self.width).index_add_(-2, rows, narrow)


def correlate(v: Tensor, weights: Tensor, *, scale: int = 1) -> Tensor:
    """sum_d weights(d) v(s p + d) for every p where the filter lies inside v (..., h, w); directly, or by FFT."""
    height, width = v.shape[-2:]
    k, m = weights.shape
    if k * m / scale**2 <= _DIRECT:
        return functional.conv2d(v.reshape(-1, 1, height, width), weights[None, None], stride=scale).reshape(
            *v.shape[:-2], (height - k) // scale + 1, (width - m) // scale + 1
        )
    size = (fast_length(height), fast_length(width))
    product = torch.fft.rfft2(v, s=size) * torch.fft.rfft2(weights, s=size).conj()
    return torch.fft.irfft2(product, s=size)[..., : height - k + 1 : scale, : width - m + 1 : scale]


def _transposed(x: Tensor, weights: Tensor, *, scale: int) -> Tensor:
    """The transpose of `correlate`: (s (h - 1) + k, s (w - 1) + m) pixels."""
    h, w = x.shape[-2:]
    k, m = weights.shape
    height, width = scale * (h - 1) + k, scale * (w - 1) + m
    if k * m / scale**2 <= _DIRECT:
        spread = functional.conv_transpose2d(x.reshape(-1, 1, h, w), weights[None, None], stride=scale)
        return spread.reshape(*x.shape[:-2], height, width)
    size = (fast_length(height), fast_length(width))
    zeros = x.new_zeros(*x.shape[:-2], scale * (h - 1) + 1, scale * (w - 1) + 1)
    zeros[..., ::scale, ::scale] = x
    product = torch.fft.rfft2(zeros, s=size) * torch.fft.rfft2(weights, s=size)
    return torch.fft.irfft2(product, s=size)[..., :height, :width]


@lru_cache(maxsize=256)
def fast_length(n: int) -> int:
    """The smallest even number of at least n without prime factors above 5: Fourier transforms of it are fast."""
    while True:
        rest = n
        for p in (2, 3, 5):
            while rest % p == 0:
                rest //= p
        if rest == 1 and n % 2 == 0:
            return n
        n += 1
