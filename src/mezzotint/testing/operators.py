"""Conformance of a linear operator: adjoint, pseudo-inverse, projection, regularised solution and singular vectors."""

from __future__ import annotations

import torch
from torch import Tensor

from mezzotint.operators.linear import LinearOperator
from mezzotint.testing.identities import Identities


def check_operator(
    operator: LinearOperator,
    *,
    channels: int = 3,
    tolerance: float = 1e-9,
    full_rank: bool = True,
    dtype: torch.dtype = torch.float64,
    rho: float = 0.1,
) -> dict[str, float]:
    """The largest error of every identity that a linear operator must hold, by name, on random pictures of `dtype`.

    Checked: shapes and type; linearity; batch independent, and channels unless the operator mixes them; <A y, x> =
    <y, A^T x>; the four equations of Penrose for A^+; with `full_rank` A A^+ x = x and A (I - A^+ A) y = 0; the
    projections on range and null space, and the consistent picture; `solve` against (A A^T + rho I); the norm bounds A;
    arguments unchanged; gradients of A and A^+ against their adjoints; with `has_svd` U diag(sv) V^T = A, orthonormal U
    and V, and A^+ = V sv^+ U^T. `channels` are those of the large picture. Raises AssertionError naming the identity.
    """
    record = Identities(type(operator).__name__, tolerance)
    generator = torch.Generator().manual_seed(0)

    def draw(channels: int, shape: tuple[int, int]) -> Tensor:
        return torch.randn(2, channels, *shape, generator=generator, dtype=torch.float64).to(dtype)

    small_channels = operator.channels_out(channels)
    record.true("channels_in undoes channels_out", operator.channels_in(small_channels) == channels)
    y, other = draw(channels, operator.shape_in), draw(channels, operator.shape_in)
    x, second = draw(small_channels, operator.shape_out), draw(small_channels, operator.shape_out)
    kept = y.clone(), x.clone()
    small = operator.A(y)
    record.true("A gives shape_out", small.shape == x.shape)
    record.true("adjoint and pseudo-inverse give shape_in", operator.At(x).shape == operator.pinv(x).shape == y.shape)
    record.true("types are kept", {small.dtype, operator.At(x).dtype, operator.pinv(x).dtype} == {dtype})
    record.equal("linear", operator.A(2 * y - 3 * other), 2 * small - 3 * operator.A(other))
    if operator.mixes_channels:
        record.equal("batch is independent", operator.A(y[1:]), small[1:])
    else:
        record.equal("batch and channels are independent", operator.A(y[1:, :1]), small[1:, :1])
    scale = float(y.norm() * x.norm())
    record.equal("adjoint", (small * x).sum() / scale, (y * operator.At(x)).sum() / scale)
    back = operator.pinv(small)
    record.equal("A A+ A = A", operator.A(back), small)
    lifted = operator.pinv(x)
    record.equal("A+ A A+ = A+", operator.pinv(operator.A(lifted)), lifted)
    record.equal(
        "A+ A is symmetric", (back * other).sum() / scale, (y * operator.pinv(operator.A(other))).sum() / scale
    )
    down = operator.A(lifted)
    record.equal(
        "A A+ is symmetric", (down * second).sum() / scale, (x * operator.A(operator.pinv(second))).sum() / scale
    )
    if full_rank:
        record.equal("A A+ = I", down, x)
        record.equal("null space is unseen", operator.A(operator.project_null(y)), torch.zeros_like(x))
        record.equal("the consistent picture reduces to x", operator.A(operator.consistent(y, x)), x)
    record.equal("projection on the null space", operator.project_null(y), y - back)
    record.equal("projection on the range", operator.project_range(y), back)
    solved = operator.solve(x, rho=rho)
    record.equal("(A A^T + rho) solve = I", operator.A(operator.At(solved)) + rho * solved, x)
    record.true("the norm bounds A", float(small.norm()) <= operator.norm * float(y.norm()) * (1 + tolerance))
    _check_gradients(record, operator, y, x)
    if operator.has_svd:
        _check_svd(record, operator, y, x)
    record.true("arguments are unchanged", torch.equal(y, kept[0]) and torch.equal(x, kept[1]))
    return record.errors


def _check_gradients(record: Identities, operator: LinearOperator, y: Tensor, x: Tensor) -> None:
    """Of <A y, x> by y: A^T x; of <A^+ x, y> by x: the number <gradient, x> is <A^+ x, y> again."""
    with torch.enable_grad():
        large, small = y.clone().requires_grad_(), x.clone().requires_grad_()
        (gradient,) = torch.autograd.grad((operator.A(large) * x).sum(), large)
        record.equal("gradient of A", gradient, operator.At(x))
        value = (operator.pinv(small) * y).sum()
        (gradient,) = torch.autograd.grad(value, small)
    scale = float(y.norm() * x.norm())
    record.equal("gradient of A+", (gradient * x).sum() / scale, value.detach() / scale)


def _check_svd(record: Identities, operator: LinearOperator, y: Tensor, x: Tensor) -> None:
    svd = operator.svd()
    sv = svd.sv.to(y)
    record.true("singular values are not negative", bool((svd.sv >= 0).all()) and svd.sv.dtype == torch.float64)
    record.equal("the norm is at least the largest singular value", min(operator.norm - float(svd.sv.max()), 0.0), 0.0)
    coefficients = svd.Vt(y)
    record.equal("U sv V^T = A", svd.U(sv * coefficients), operator.A(y))
    c = torch.randn(coefficients.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64).to(y)
    record.equal("U^T U = I", svd.Ut(svd.U(c)), c)
    seen = (sv > 0).to(y)
    record.equal("V^T V = I where sv > 0", svd.Vt(svd.V(c)), c * seen)
    record.equal("V V^T = A+ A", svd.V(coefficients), operator.project_range(y))
    scale = float(y.norm() * c.norm())
    record.equal("V is the transpose of V^T", (svd.V(c) * y).sum() / scale, (c * coefficients).sum() / scale)
    scale = float(x.norm() * c.norm())
    record.equal("U is the transpose of U^T", (svd.U(c) * x).sum() / scale, (c * svd.Ut(x)).sum() / scale)
    inverse = torch.where(sv > 0, svd.Ut(x) / sv, torch.zeros_like(sv))
    record.equal("A+ = V sv+ U^T", svd.V(inverse), operator.pinv(x))
