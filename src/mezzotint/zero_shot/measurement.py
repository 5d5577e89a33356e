"""What is known of a picture: x = A y + noise, and the corrections of an estimate that follow from it.

With the clean picture given the state assumed to be N(y_hat, R), the mean given the measurement too is

    y_c = y_hat + R A^T (A R A^T + sigma^2 I)^-1 (x - A y_hat).

Here R = variance I; most zero-shot solvers are this formula with a variance of their own, and its limit without noise,
y_hat + A^+ (x - A y_hat), does not depend on it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from mezzotint.errors import UsageError
from mezzotint.operators.linear import SVD, LinearOperator


@dataclass(frozen=True, eq=False)
class Measurement:
    """A measurement x b c' h w of pictures b c H W in [-1, 1], with noise of a known deviation in the same unit.

    UsageError for a noise below 0 or not finite, and an x that is not of the operator's size.
    """

    operator: LinearOperator
    x: Tensor
    noise: float = 0.0

    def __post_init__(self) -> None:
        if not (isinstance(self.noise, int | float) and 0.0 <= self.noise < math.inf):
            raise UsageError(f"noise {self.noise} of the measurement must be 0 or a positive, finite deviation")
        if self.x.dim() != 4 or tuple(self.x.shape[-2:]) != tuple(self.operator.shape_out):
            h, w = self.operator.shape_out
            raise UsageError(f"a measurement of shape {tuple(self.x.shape)}: this operator gives pictures b c {h} {w}")

    @classmethod
    def of_unit(
        cls, x: Tensor, operator: LinearOperator, *, noise: float = 0.0, noise_range: float = 1.0
    ) -> Measurement:
        """The measurement of a small picture in [0, 1], and noise for pictures that span `noise_range`.

        255 for grey levels, 1 for [0, 1], 2 for [-1, 1]: papers mean different things by 0.05. As y = 2 u - 1 the
        picture becomes 2 x - A 1, which is 2 x - 1 only where A keeps constants. UsageError for another range.
        """
        if noise_range not in (1, 2, 255):
            raise UsageError(f"noise_range {noise_range} is none of 1 ([0, 1]), 2 ([-1, 1]) and 255 (grey levels)")
        channels = operator.channels_in(x.shape[1])
        ones = operator.A(torch.ones(1, channels, *operator.shape_in, dtype=x.dtype, device=x.device))
        return cls(operator, 2.0 * x - ones, 2.0 * noise / noise_range)

    @property
    def channels(self) -> int:
        """Of the large picture."""
        return self.operator.channels_in(self.x.shape[1])

    @cached_property
    def seen(self) -> Tensor:
        """A^+ x, b c H W: what the measurement says of the picture."""
        return self.operator.pinv(self.x)

    @cached_property
    def svd(self) -> SVD:
        """The singular value decomposition; UsageError for an operator without one in closed form."""
        return self.operator.svd()

    @cached_property
    def spectral(self) -> tuple[Tensor, Tensor]:
        """(sv, x_bar): singular values, and U^T x / sv, which is V^T y with noise of deviation noise / sv (0 where sv
        is 0)."""
        sv = self.svd.sv.to(self.x)
        inner = self.svd.Ut(self.x)
        return sv, torch.where(sv > 0, inner / torch.where(sv > 0, sv, 1.0), torch.zeros_like(inner))

    def residual(self, y: Tensor) -> Tensor:
        """x - A y."""
        return self.x.to(y) - self.operator.A(y)

    def project(self, y: Tensor) -> Tensor:
        """y + A^+ (x - A y): of the pictures that fit the measurement, the nearest to y."""
        return y + self.operator.pinv(self.residual(y))

    def range_part(self, y: Tensor) -> Tensor:
        """A^+ A y."""
        return self.operator.pinv(self.operator.A(y))

    def pull(self, y: Tensor, *, variance: float) -> Tensor:
        """A^T (A R A^T + noise^2 I)^-1 (x - A y) with R = variance I: the gradient of log N(x; A y, ...) in y.

        UsageError for a variance and a noise of 0, whose gradient is infinite.
        """
        if variance == 0.0 and self.noise == 0.0:
            raise UsageError(
                "without noise the likelihood of an exact estimate is infinitely steep: state a noise, or use a solver "
                "that assumes a variance of the estimate (pigdm, ddnm)"
            )
        if variance == 0.0:
            return self.operator.At(self.residual(y)) / self.noise**2
        if self.noise == 0.0:
            return self.operator.pinv(self.residual(y)) / variance
        return self.operator.At(self.operator.solve(self.residual(y), rho=self.noise**2 / variance)) / variance

    def correct(self, y: Tensor, *, variance: float) -> Tensor:
        """The mean of y given the measurement, for y ~ N(y, variance I): b c H W."""
        return y if variance == 0.0 else y + variance * self.pull(y, variance=variance)
