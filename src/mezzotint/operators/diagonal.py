"""Operators whose A A^T is diagonal: masks, means of cells, colour to grey, the identity. All is exact."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from mezzotint.errors import UsageError
from mezzotint.operators.linear import CUTOFF, SVD, LinearOperator, Size, check_size, check_whole, truncated

LUMINANCE = (0.299, 0.587, 0.114)
"""Weights of red, green and blue in the luminance of ITU-R BT.601."""


@dataclass(frozen=True, kw_only=True)
class Identity(LinearOperator):
    """x = y."""

    height: int
    width: int

    def __post_init__(self) -> None:
        check_size("identity", self.height, self.width)

    @property
    def shape_in(self) -> Size:
        return self.height, self.width

    @property
    def shape_out(self) -> Size:
        return self.height, self.width

    @property
    def norm(self) -> float:
        return 1.0

    @property
    def tight(self) -> bool:
        return True

    @property
    def has_svd(self) -> bool:
        return True

    def svd(self) -> SVD:
        return _scaled(self, 1.0)

    def _forward(self, y: Tensor) -> Tensor:
        return y.clone()

    def _adjoint(self, x: Tensor) -> Tensor:
        return x.clone()

    def _pinv(self, x: Tensor) -> Tensor:
        return x.clone()

    def _solve(self, x: Tensor, rho: float) -> Tensor:
        return x / (1 + rho)


@dataclass(frozen=True, kw_only=True)
class Average(LinearOperator):
    """Means of cells of scale x scale pixels, for sizes that are multiples of the scale.

    A A^T = I / scale^2, so that A^+ repeats every small pixel over its cell and every singular value is 1 / scale.
    Raises UsageError for other sizes; `separable.average` takes every size.
    """

    scale: int
    height: int
    width: int

    def __post_init__(self) -> None:
        check_size("average", self.height, self.width)
        check_whole("average", self.scale)
        if self.height % self.scale or self.width % self.scale:
            raise UsageError(
                f"a picture of {self.height}x{self.width} pixels is not a multiple of scale {self.scale}: "
                "crop it first (modcrop)"
            )

    @property
    def shape_in(self) -> Size:
        return self.height, self.width

    @property
    def shape_out(self) -> Size:
        return self.height // self.scale, self.width // self.scale

    @property
    def norm(self) -> float:
        return 1 / self.scale

    @property
    def tight(self) -> bool:
        return True

    @property
    def has_svd(self) -> bool:
        return True

    def svd(self) -> SVD:
        return _scaled(self, 1 / self.scale)

    def _forward(self, y: Tensor) -> Tensor:
        return torch.nn.functional.avg_pool2d(y, self.scale)

    def _adjoint(self, x: Tensor) -> Tensor:
        return self._pinv(x) / self.scale**2

    def _pinv(self, x: Tensor) -> Tensor:
        return x.repeat_interleave(self.scale, -1).repeat_interleave(self.scale, -2)

    def _solve(self, x: Tensor, rho: float) -> Tensor:
        return x / (self.scale**-2 + rho)


@dataclass(frozen=True, eq=False)
class Mask(LinearOperator):
    """x = m y for one weight a pixel, in every channel: 1 where the pixel is known and 0 where it is not.

    `values` (h, w), float64, finite; weights other than 0 and 1 (vignetting) are divided out by `pinv`. Those below
    CUTOFF of the largest count as zero there. `Mask.of_stride` keeps one pixel of every cell, super-resolution as
    inpainting sees it. UsageError for other values, and where nothing is known.
    """

    values: Tensor

    def __post_init__(self) -> None:
        values = torch.as_tensor(self.values)
        if values.ndim != 2 or values.numel() == 0 or values.is_complex():
            raise UsageError(f"a mask has one real value a pixel, (h, w), got shape {tuple(values.shape)}")
        values = values.detach().to(device="cpu", dtype=torch.float64).clone()
        if not bool(torch.isfinite(values).all()) or not bool(values.any()):
            raise UsageError("a mask needs finite values of which some are not 0: nothing would be known otherwise")
        object.__setattr__(self, "values", values)

    @classmethod
    def of_stride(cls, *, height: int, width: int, scale: int, phase: Size = (0, 0)) -> Mask:
        """The mask that keeps pixel `phase` (row, column) of every cell of scale x scale pixels."""
        check_size("mask", height, width)
        check_whole("mask", scale)
        if not all(0 <= p < scale for p in phase):
            raise UsageError(f"phase {phase} lies outside a cell of {scale}x{scale} pixels")
        values = torch.zeros(height, width)
        values[phase[0] :: scale, phase[1] :: scale] = 1
        return cls(values)

    @property
    def shape_in(self) -> Size:
        return int(self.values.shape[0]), int(self.values.shape[1])

    @property
    def shape_out(self) -> Size:
        return self.shape_in

    @property
    def norm(self) -> float:
        return float(self.values.abs().max())

    @property
    def has_svd(self) -> bool:
        return True

    def svd(self) -> SVD:
        sv = truncated(self.values.abs())
        sign = self.values.sign() + (self.values == 0)
        kept = (sv > 0).double()
        return SVD(
            sv=sv[None],
            Vt=lambda y: y * kept.to(y),
            V=lambda c: c * kept.to(c),
            Ut=lambda x: x * sign.to(x),
            U=lambda c: c * sign.to(c),
        )

    def _forward(self, y: Tensor) -> Tensor:
        return y * self.values.to(y)

    def _adjoint(self, x: Tensor) -> Tensor:
        return x * self.values.to(x)

    def _pinv(self, x: Tensor) -> Tensor:
        known = self.values.abs() > CUTOFF * self.norm
        inverse = torch.where(known, 1 / self.values, torch.zeros_like(self.values))
        return x * inverse.to(x)

    def _solve(self, x: Tensor, rho: float) -> Tensor:
        return x / (self.values.square() + rho).to(x)


@dataclass(frozen=True, kw_only=True)
class Grey(LinearOperator):
    """Colour to grey, x = w . y over the channels, and A^+ x = w x / |w|^2.

    `weights` are those of BT.601 luminance; (1/3, 1/3, 1/3) is DDNM's colourisation (Wang et al. 2023), whose A^+
    repeats x. b c H W with as many channels as weights to b 1 H W. UsageError for other channels, and for weights that
    are not finite or all 0.
    """

    height: int
    width: int
    weights: Sequence[float] = LUMINANCE

    mixes_channels = True

    def __post_init__(self) -> None:
        check_size("grey", self.height, self.width)
        object.__setattr__(self, "weights", tuple(float(w) for w in self.weights))
        if not all(math.isfinite(w) for w in self.weights) or not any(self.weights):
            raise UsageError(f"weights {self.weights} must be finite and not all 0: use for example {LUMINANCE}")

    @property
    def shape_in(self) -> Size:
        return self.height, self.width

    @property
    def shape_out(self) -> Size:
        return self.height, self.width

    @property
    def norm(self) -> float:
        return math.hypot(*self.weights)

    @property
    def tight(self) -> bool:
        return True

    @property
    def has_svd(self) -> bool:
        return True

    def channels_out(self, channels: int) -> int:
        if channels != len(self.weights):
            raise UsageError(f"grey takes {len(self.weights)} channels, got {channels}: give one weight a channel")
        return 1

    def channels_in(self, channels: int) -> int:
        if channels != 1:
            raise UsageError(f"the adjoint of grey takes one channel, got {channels}")
        return len(self.weights)

    def svd(self) -> SVD:
        return _scaled(self, self.norm)

    def _weights(self, v: Tensor) -> Tensor:
        return torch.tensor(self.weights, dtype=torch.float64).to(v)[:, None, None]

    def _forward(self, y: Tensor) -> Tensor:
        return (y * self._weights(y)).sum(-3, keepdim=True)

    def _adjoint(self, x: Tensor) -> Tensor:
        return x * self._weights(x)

    def _pinv(self, x: Tensor) -> Tensor:
        return x * (self._weights(x) / self.norm**2)

    def _solve(self, x: Tensor, rho: float) -> Tensor:
        return x / (self.norm**2 + rho)


def _scaled(operator: LinearOperator, norm: float) -> SVD:
    """A A^T = norm^2 I: U is the identity and V^T = A / norm."""
    return SVD(
        sv=torch.full((1, 1, 1), norm, dtype=torch.float64).expand(1, *operator.shape_out),
        Vt=lambda y: operator.A(y) / norm,
        V=lambda c: operator.At(c) / norm,
        Ut=lambda x: x.clone(),
        U=lambda c: c.clone(),
    )
