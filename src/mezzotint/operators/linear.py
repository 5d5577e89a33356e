"""What every linear degradation offers to the code that inverts it: A, A^T, A^+, and where known A = U diag(sv) V^T.

An operator is bound to the sizes of its pictures and holds settings only: matrices and spectra are computed in float64
when they are first used, and kept. Device and type are those of the pictures.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from mezzotint.errors import UsageError
from mezzotint.operators.iterative import least_squares, regularised

Size = tuple[int, int]
"""Height and width in pixels."""

CUTOFF = 1e-6
"""Singular values below this part of the largest count as zero: float32 does not hold what they pass."""


@dataclass(frozen=True, eq=False)
class SVD:
    """The singular value decomposition A = U diag(sv) V^T in spectral form: functions in place of matrices.

    `sv` (c k l or 1 k l), float64 on the CPU, not sorted, has one value a coefficient; those that count as zero are 0.
    `Vt` takes large pictures b c H W to coefficients b c' k l and `V` takes them back; `Ut` and `U` do so for small
    pictures. U has orthonormal columns, and so has V where sv > 0; where it is 0, `Vt` gives 0 and `V` ignores what it
    is given, so that V V^T = A^+ A and the null space is y - V(Vt(y)).
    """

    sv: Tensor
    Vt: Callable[[Tensor], Tensor]
    V: Callable[[Tensor], Tensor]
    Ut: Callable[[Tensor], Tensor]
    U: Callable[[Tensor], Tensor]

    @property
    def inverse(self) -> Tensor:
        """1 / sv, and 0 where sv is 0: A^+ = V diag(inverse) U^T."""
        return reciprocal(self.sv)


class LinearOperator(ABC):
    """A linear map x = A y of pictures, of any range, with its adjoint and its pseudo-inverse.

    `A` takes b c H W and gives b c' h w; `At` and `pinv` go the other way and are never interchangeable. `shape_in` is
    (H, W), `shape_out` (h, w), `norm` the largest singular value or, where a class says so, a bound of it. float32 and
    float64 are computed as they are, shorter floats in float32 and returned in their own type. Everything is
    differentiable. Pictures of another size and integers raise UsageError.
    """

    mixes_channels: bool = False
    """Whether a channel of x depends on several channels of y."""

    @property
    @abstractmethod
    def shape_in(self) -> Size: ...

    @property
    @abstractmethod
    def shape_out(self) -> Size: ...

    @property
    @abstractmethod
    def norm(self) -> float: ...

    @property
    def tight(self) -> bool:
        """Whether A A^T = norm^2 I: then A^+ = A^T / norm^2."""
        return False

    def channels_out(self, channels: int) -> int:
        """The channels of A y for a y of so many; UsageError for a number that A does not take."""
        return channels

    def channels_in(self, channels: int) -> int:
        """The channels of A^T x for an x of so many; UsageError for a number that A^T does not take."""
        return channels

    def A(self, y: Tensor, /) -> Tensor:
        """The small pictures A y, b c' h w, of large ones, b c H W."""
        return self._run(self._forward, y, large=True)

    def At(self, x: Tensor, /) -> Tensor:
        """The adjoint A^T x, b c H W, of small pictures b c' h w."""
        return self._run(self._adjoint, x, large=False)

    def pinv(self, x: Tensor, /) -> Tensor:
        """A^+ x, b c H W: of all large pictures whose reduction is nearest to x, the smallest."""
        return self._run(self._pinv, x, large=False)

    def solve(self, x: Tensor, /, *, rho: float) -> Tensor:
        """(A A^T + rho I)^-1 x, b c' h w, for rho > 0; UsageError for another rho."""
        if not (rho > 0 and math.isfinite(rho)):
            raise UsageError(f"rho {rho} is not above 0: use pinv for the limit of no regularisation")
        return self._run(lambda v: self._solve(v, rho), x, large=False)

    def project_range(self, y: Tensor, /) -> Tensor:
        """A^+ A y, b c H W: the part of y that A sees."""
        return self.pinv(self.A(y))

    def project_null(self, y: Tensor, /) -> Tensor:
        """y - A^+ A y, b c H W: the part of y that A does not see."""
        return y - self.project_range(y)

    def consistent(self, y: Tensor, x: Tensor, /) -> Tensor:
        """y + A^+ (x - A y), b c H W: of all large pictures whose reduction is nearest to x, the nearest to y."""
        # Added in place: a third large picture would be the peak of memory.
        return self.pinv(x - self.A(y)).add_(y)

    @property
    def has_svd(self) -> bool:
        """Whether `svd` is known in closed form."""
        return False

    def svd(self) -> SVD:
        """The singular value decomposition; UsageError where there is no closed form."""
        raise UsageError(f"{type(self).__name__} has no singular vectors in closed form: use pinv, or solve with a rho")

    @abstractmethod
    def _forward(self, y: Tensor) -> Tensor: ...

    @abstractmethod
    def _adjoint(self, x: Tensor) -> Tensor: ...

    def _pinv(self, x: Tensor) -> Tensor:
        return least_squares(self._forward, self._adjoint, x)

    def _solve(self, x: Tensor, rho: float) -> Tensor:
        return regularised(self._forward, self._adjoint, x, rho)

    def _run(self, function: Callable[[Tensor], Tensor], v: Tensor, *, large: bool) -> Tensor:
        name = type(self).__name__
        if not v.is_floating_point():
            raise UsageError(f"{name} takes float pictures, got {v.dtype}: convert them first")
        shape = self.shape_in if large else self.shape_out
        if v.ndim < 3 or tuple(v.shape[-2:]) != shape:
            raise UsageError(
                f"a {'large' if large else 'small'} picture of {'x'.join(map(str, v.shape[-2:]))} pixels does not fit "
                f"this {name}, which takes b c pictures of {shape[0]}x{shape[1]}"
            )
        self.channels_out(v.shape[-3]) if large else self.channels_in(v.shape[-3])
        return function(widen(v)).to(v.dtype)


def widen(v: Tensor) -> Tensor:
    """Shorter floats than float32 as float32."""
    return v if v.dtype in (torch.float32, torch.float64) else v.to(torch.float32)


def check_size(name: str, height: int, width: int) -> None:
    """UsageError for sides that are not whole numbers of 1 or more."""
    for side in (height, width):
        if isinstance(side, bool) or int(side) != side or side < 1:
            raise UsageError(f"{name} of {height}x{width} pixels: both sides must be whole numbers of at least 1")


def check_whole(name: str, scale: float, *, low: int = 1, high: int = 1024) -> None:
    """UsageError for a scale that is not a whole number from `low` to `high`."""
    if isinstance(scale, bool) or not math.isfinite(scale) or int(scale) != scale or not low <= scale <= high:
        raise UsageError(f"{name}: scale {scale} is not a whole number from {low} to {high}: use for example 4")


def spectral_inverse(svd: SVD, x: Tensor) -> Tensor:
    """A^+ x from the singular value decomposition."""
    return svd.V(svd.Ut(x) * svd.inverse.to(x))


def reciprocal(sv: Tensor) -> Tensor:
    """1 / sv, and 0 where sv is 0."""
    # Not a quotient in the branch that is not taken: its gradient would be infinite times zero.
    return torch.where(sv > 0, 1 / torch.where(sv > 0, sv, torch.ones_like(sv)), torch.zeros_like(sv))


def spectral_solve(svd: SVD, x: Tensor, rho: float) -> Tensor:
    """(A A^T + rho I)^-1 x for a U that spans all small pictures."""
    return svd.U(svd.Ut(x) / (svd.sv.to(x).square() + rho))


def truncated(sv: Tensor, *, cutoff: float = CUTOFF) -> Tensor:
    """Singular values with those below `cutoff` of the largest set to 0."""
    return torch.where(sv > cutoff * sv.max(), sv, torch.zeros_like(sv))
