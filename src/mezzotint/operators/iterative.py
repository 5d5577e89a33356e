"""Conjugate gradients for operators whose singular vectors are not known.

Every item of a batch is solved by itself and stops by itself, so that a batch equals its pictures one by one. Gradients
come from the solution, not from the iterations: the adjoint of A^+ is (A^T)^+, and (A A^T + rho I)^-1 is its own.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

Map = Callable[[Tensor], Tensor]

LARGEST_NUMBER_OF_STEPS = 2000
_STALLED = 100
"""Steps without a smaller residual, which does not fall steadily, after which rounding is what is left of it."""


def least_squares(forward: Map, adjoint: Map, x: Tensor) -> Tensor:
    """A^+ x by conjugate gradients on A^T A y = A^T x from y = 0 (CGLS, Hestenes and Stiefel 1952), b c H W.

    The iterates stay in the range of A^T, so the limit is the smallest of all solutions. Stops for each item where
    A^T (x - A y) no longer falls or is 4 units of rounding of its start, and after 2000 steps.
    """
    return _LeastSquares.apply(x, forward, adjoint)  # pyright: ignore[reportReturnType]


def regularised(forward: Map, adjoint: Map, x: Tensor, rho: float) -> Tensor:
    """(A A^T + rho I)^-1 x by conjugate gradients, b c' h w; stops as `least_squares` does."""
    return _Regularised.apply(x, forward, adjoint, rho)  # pyright: ignore[reportReturnType]


class _LeastSquares(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, forward: Map, adjoint: Map) -> Tensor:
        ctx.maps = (forward, adjoint)
        with torch.no_grad():
            return _cgls(forward, adjoint, x)

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        forward, adjoint = ctx.maps
        return least_squares(adjoint, forward, gradients[0]), None, None


class _Regularised(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, forward: Map, adjoint: Map, rho: float) -> Tensor:
        ctx.settings = (forward, adjoint, rho)
        with torch.no_grad():
            return _cg(lambda v: forward(adjoint(v)) + rho * v, x)

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        forward, adjoint, rho = ctx.settings
        return regularised(forward, adjoint, gradients[0], rho), None, None, None


def _dot(u: Tensor, v: Tensor) -> Tensor:
    # Sums in float64: those of float32 would end the iterations early.
    return (u.double() * v.double()).flatten(1).sum(1).reshape(-1, *(1,) * (u.ndim - 1))


def _quotient(a: Tensor, b: Tensor, live: Tensor) -> Tensor:
    """a / b for the items that still move, 0 for the others."""
    return torch.where(live & (b > 0), a / b.clamp_min(torch.finfo(torch.float64).tiny), torch.zeros_like(a))


class _Stop:
    """Which items still move: their residual is above rounding and has fallen lately."""

    def __init__(self, start: Tensor, dtype: torch.dtype) -> None:
        self.limit = start * (4 * torch.finfo(dtype).eps) ** 2
        self.best, self.since = start.clone(), torch.zeros_like(start, dtype=torch.int64)
        self.live = start > 0

    def update(self, residual: Tensor) -> None:
        better = residual < self.best
        self.best = torch.minimum(self.best, residual)
        self.since = torch.where(better, torch.zeros_like(self.since), self.since + 1)
        self.live = self.live & (residual > self.limit) & (self.since < _STALLED)


def _cgls(forward: Map, adjoint: Map, x: Tensor) -> Tensor:
    residual = x.clone()
    s = adjoint(residual)
    y, direction = torch.zeros_like(s), s.clone()
    size = _dot(s, s)
    stop = _Stop(size, x.dtype)
    for _ in range(LARGEST_NUMBER_OF_STEPS):
        if not bool(stop.live.any()):
            break
        image = forward(direction)
        step = _quotient(size, _dot(image, image), stop.live).to(x.dtype)
        y = y + step * direction
        residual = residual - step * image
        s = adjoint(residual)
        new = _dot(s, s)
        direction = s + _quotient(new, size, stop.live).to(x.dtype) * direction
        size = new
        stop.update(size)
    return y


def _cg(map_: Map, x: Tensor) -> Tensor:
    residual, direction = x.clone(), x.clone()
    u = torch.zeros_like(x)
    size = _dot(residual, residual)
    stop = _Stop(size, x.dtype)
    for _ in range(LARGEST_NUMBER_OF_STEPS):
        if not bool(stop.live.any()):
            break
        image = map_(direction)
        step = _quotient(size, _dot(direction, image), stop.live).to(x.dtype)
        u = u + step * direction
        residual = residual - step * image
        new = _dot(residual, residual)
        direction = residual + _quotient(new, size, stop.live).to(x.dtype) * direction
        size = new
        stop.update(size)
    return u
