"""Conformance of a linear operator: adjoint, pseudo-inverse and projection."""

from __future__ import annotations

import torch

from mezzotint.operators.linear import LinearOperator
from mezzotint.testing.identities import Identities


def check_operator(
    operator: LinearOperator, *, channels: int = 3, tolerance: float = 1e-9, full_rank: bool = True
) -> dict[str, float]:
    """The largest error of every identity that a linear operator must hold, by name, on random float64 pictures.

    Checked: shapes; linearity; batch and channels independent; <A y, x> = <y, A^T x>; the four equations of Penrose for
    A^+; with `full_rank` A A^+ x = x and A (I - A^+ A) y = 0; the projection on the null space against A^+ A; the norm
    bounds A. Raises AssertionError naming the identity.
    """
    record = Identities(type(operator).__name__, tolerance)
    generator = torch.Generator().manual_seed(0)

    def draw(shape: tuple[int, int]) -> torch.Tensor:
        return torch.randn(2, channels, *shape, generator=generator, dtype=torch.float64)

    y, other = draw(operator.shape_in), draw(operator.shape_in)
    x, second = draw(operator.shape_out), draw(operator.shape_out)
    small = operator.A(y)
    record.true("A gives shape_out", tuple(small.shape) == tuple(x.shape))
    record.true("adjoint and pseudo-inverse give shape_in", operator.At(x).shape == operator.pinv(x).shape == y.shape)
    record.equal("linear", operator.A(2 * y - 3 * other), 2 * small - 3 * operator.A(other))
    record.equal("batch and channels are independent", operator.A(y[1:, :1]), small[1:, :1])
    scale = float(y.norm() * x.norm())
    record.equal("adjoint", (small * x).sum() / scale, (y * operator.At(x)).sum() / scale)
    back = operator.pinv(small)
    record.equal("A A+ A = A", operator.A(back), small)
    record.equal("A+ A A+ = A+", operator.pinv(operator.A(operator.pinv(x))), operator.pinv(x))
    record.equal(
        "A+ A is symmetric", (back * other).sum() / scale, (y * operator.pinv(operator.A(other))).sum() / scale
    )
    down = operator.A(operator.pinv(x))
    record.equal(
        "A A+ is symmetric", (down * second).sum() / scale, (x * operator.A(operator.pinv(second))).sum() / scale
    )
    if full_rank:
        record.equal("A A+ = I", down, x)
        record.equal("null space is unseen", operator.A(operator.project_null(y)), torch.zeros_like(x))
    record.equal("projection on the null space", operator.project_null(y), y - back)
    record.true("the norm bounds A", float(small.norm()) <= operator.norm * float(y.norm()) * (1 + tolerance))
    return record.errors
