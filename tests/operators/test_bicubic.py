"""The bicubic operator against dense matrices, its own algebra, and its tiles against the whole."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from mezzotint.errors import UsageError
from mezzotint.operators.bicubic import MARGIN, REDUCTION_MARGIN, BicubicDown
from mezzotint.operators.linear import LinearOperator
from mezzotint.operators.resize import imresize, resize_matrix

SIZES = [(1, 1), (1, 9), (2, 3), (7, 1), (5, 4), (17, 40), (70, 33)]
SCALES = [1, 2, 3, 4, 5, 8]


def operator(scale: int, h: int, w: int) -> BicubicDown:
    return BicubicDown(scale=scale, height=scale * h, width=scale * w)


def normal(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(*shape, dtype=dtype, generator=torch.Generator().manual_seed(seed))


def largest(difference: Tensor) -> float:
    return float(difference.detach().abs().max())


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize(("h", "w"), SIZES)
def test_equals_dense_matrices(scale: int, h: int, w: int) -> None:
    op: LinearOperator = operator(scale, h, w)
    y, x = normal(2, 3, scale * h, scale * w), normal(2, 3, h, w, seed=1)
    rows, columns = resize_matrix(scale * h, h, ratio=1 / scale), resize_matrix(scale * w, w, ratio=1 / scale)
    assert op.A(y).shape == (2, 3, h, w) and (op.shape_in, op.shape_out) == ((scale * h, scale * w), (h, w))
    assert largest(op.A(y) - rows @ y @ columns.T) < 1e-14
    assert largest(op.At(x) - rows.T @ x @ columns) < 1e-14
    inverse = torch.linalg.pinv(rows) @ x @ torch.linalg.pinv(columns).T
    assert largest(op.pinv(x) - inverse) < 1e-12
    assert op.norm == pytest.approx(
        float(torch.linalg.matrix_norm(rows, 2) * torch.linalg.matrix_norm(columns, 2)), abs=1e-12
    )


def test_equals_the_kronecker_product() -> None:
    op = operator(3, 4, 3)
    rows, columns = resize_matrix(12, 4, ratio=1 / 3), resize_matrix(9, 3, ratio=1 / 3)
    dense = torch.kron(rows, columns)
    basis = torch.eye(108, dtype=torch.float64).reshape(108, 1, 12, 9)
    assert largest(op.A(basis).reshape(108, 12).T - dense) < 1e-15
    small = torch.eye(12, dtype=torch.float64).reshape(12, 1, 4, 3)
    assert largest(op.At(small).reshape(12, 108).T - dense.T) < 1e-15
    assert largest(op.pinv(small).reshape(12, 108).T - torch.linalg.pinv(dense)) < 1e-13


@given(
    scale=st.sampled_from(SCALES),
    h=st.integers(1, 40),
    w=st.integers(1, 40),
    channels=st.sampled_from([1, 3, 4]),
    seed=st.integers(0, 99),
)
@settings(max_examples=40, deadline=None)
def test_algebra(scale: int, h: int, w: int, channels: int, seed: int) -> None:
    op = operator(scale, h, w)
    y, u = normal(2, channels, scale * h, scale * w, seed=seed), normal(2, channels, h, w, seed=seed + 1)
    forward, backward = float((op.A(y) * u).sum()), float((y * op.At(u)).sum())
    assert forward == pytest.approx(backward, abs=1e-12 * (1 + float(y.norm() * u.norm())))
    assert largest(op.A(op.pinv(u)) - u) < 1e-12
    null = op.project_null(y)
    assert largest(op.A(null)) < 1e-12
    assert largest(op.project_null(null) - null) < 1e-12
    other = normal(2, channels, scale * h, scale * w, seed=seed + 2)
    assert float((null * other).sum()) == pytest.approx(
        float((y * op.project_null(other)).sum()), abs=1e-12 * (1 + float(y.norm() * other.norm()))
    )
    made = op.consistent(y, u)
    assert largest(op.A(made) - u) < 1e-12
    assert largest(op.project_null(made - y)) < 1e-12  # moved in the range only: the nearest such picture
    assert largest(op.consistent(made, u) - made) < 1e-12


@pytest.mark.parametrize("scale", SCALES)
def test_constants_map_to_constants(scale: int) -> None:
    op = operator(scale, 6, 45)
    large, small = torch.full((1, 1, *op.shape_in), 0.7), torch.full((1, 1, *op.shape_out), 0.7)
    for dtype, bound in ((torch.float64, 1e-14), (torch.float32, 1e-6)):
        assert largest(op.A(large.to(dtype)) - small) < bound
        assert largest(op.pinv(small.to(dtype)) - large) < bound
        assert largest(op.At(small.to(dtype)) * scale**2 - large) < 10 * bound


def test_reduction_is_that_of_imresize() -> None:
    op = operator(4, 31, 22)
    y = normal(1, 3, 124, 88)
    assert largest(op.A(y) - imresize(y, scale=1 / 4)) < 1e-14


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_shorter_floats(dtype: torch.dtype) -> None:
    op = operator(4, 20, 37)
    y, x = normal(1, 3, 80, 148), normal(1, 3, 20, 37, seed=1)
    bound = {torch.float32: 2e-6, torch.float16: 4e-3, torch.bfloat16: 4e-2}[dtype]
    for exact, short in (
        (op.A(y), op.A(y.to(dtype))),
        (op.At(x), op.At(x.to(dtype))),
        (op.pinv(x), op.pinv(x.to(dtype))),
        (op.consistent(y, x), op.consistent(y.to(dtype), x.to(dtype))),
    ):
        assert short.dtype == dtype
        assert largest(short - exact) < bound * max(1.0, largest(exact))


def test_gradients() -> None:
    op = operator(2, 3, 4)
    y = normal(1, 2, 6, 8).requires_grad_()
    x = normal(1, 2, 3, 4, seed=1).requires_grad_()
    assert torch.autograd.gradcheck(op.A, (y,))
    assert torch.autograd.gradcheck(op.At, (x,))
    assert torch.autograd.gradcheck(op.pinv, (x,))
    assert torch.autograd.gradcheck(op.consistent, (y, x))
    (gradient,) = torch.autograd.grad(op.A(y), y, x)
    assert largest(gradient - op.At(x)) < 1e-15


def test_arguments_are_kept() -> None:
    op = operator(3, 8, 5)
    y, x = normal(1, 1, 24, 15), normal(1, 1, 8, 5, seed=1)
    before = y.clone(), x.clone()
    op.consistent(y, x), op.project_null(y), op.At(x)
    assert torch.equal(y, before[0]) and torch.equal(x, before[1])


# --- tiles


def crop(v: Tensor, unit: int, rows: tuple[int, int], columns: tuple[int, int]) -> Tensor:
    return v[..., rows[0] * unit : rows[1] * unit, columns[0] * unit : columns[1] * unit]


def tiles(shape: tuple[int, int], side: int) -> list[tuple[tuple[int, int], tuple[int, int]]]:
    spans = [[(i, min(i + side, n)) for i in range(0, n, side)] for n in shape]
    return [(rows, columns) for rows in spans[0] for columns in spans[1]]


@pytest.mark.parametrize("scale", [2, 3, 4, 8])
def test_tiles_equal_the_whole(scale: int) -> None:
    h, w = 150, 83
    op = operator(scale, h, w)
    x, y = normal(1, 1, h, w), normal(1, 1, scale * h, scale * w, seed=1)
    whole, reduced = op.pinv(x), op.A(y)
    error = reduced_error = 0.0
    for rows, columns in tiles((h, w), 37):
        for margin in (MARGIN, REDUCTION_MARGIN):
            around = [
                (max(0, span[0] - margin), min(n, span[1] + margin)) for span, n in ((rows, h), (columns, w))
            ]
            origin = (around[0][0], around[1][0])
            if margin == MARGIN:
                tile = op.pinv_tile(crop(x, 1, *around), origin=origin, rows=rows, columns=columns)
                error = max(error, largest(tile - crop(whole, scale, rows, columns)))
            else:
                tile = op.A_tile(crop(y, scale, *around), origin=origin, rows=rows, columns=columns)
                reduced_error = max(reduced_error, largest(tile - crop(reduced, 1, rows, columns)))
    assert error < 1e-13 and reduced_error < 1e-14


def test_a_tile_reads_nothing_beyond_its_margin() -> None:
    op = operator(4, 200, 200)
    x = normal(1, 1, 200, 200)
    rows, columns = (90, 100), (80, 105)
    inside = torch.zeros(200, 200, dtype=torch.bool)
    inside[90 - MARGIN : 100 + MARGIN, 80 - MARGIN : 105 + MARGIN] = True
    other = torch.where(inside, x, normal(1, 1, 200, 200, seed=1))
    tile = crop(op.pinv(x), 4, rows, columns)
    assert torch.equal(crop(op.pinv(other), 4, rows, columns), tile)
    inside[90 - MARGIN] = False  # one row less shows, at 1e-15: the margin is enough and not wasted on zeros
    assert 0 <= largest(crop(op.pinv(torch.where(inside, x, other)), 4, rows, columns) - tile) < 1e-13


@pytest.mark.parametrize("scale", [2, 3, 4, 8])
def test_the_margin_against_the_exact_inverse(scale: int) -> None:
    """A tile that knows MARGIN pixels around it, against a solve of the whole picture."""
    n, span = 200, (95, 105)
    dense = resize_matrix(scale * n, n, ratio=1 / scale).numpy()
    inverse = dense.T @ np.linalg.inv(dense @ dense.T)
    x = normal(1, 1, n, n)
    exact = torch.from_numpy(inverse @ x[0, 0].numpy() @ inverse.T)
    around = (span[0] - MARGIN, span[1] + MARGIN)
    origin = (around[0], around[0])
    tile = operator(scale, n, n).pinv_tile(crop(x, 1, around, around), origin=origin, rows=span, columns=span)
    assert largest(tile[0, 0] - crop(exact, scale, span, span)) < 1e-12


def test_bands_do_not_show() -> None:
    """A picture of several bands of rows equals its rows computed alone."""
    op = operator(4, 400, 700)  # 4.5 million large pixels: more than one band
    x = normal(1, 1, 400, 700, dtype=torch.float32)
    whole = op.pinv(x)
    tile = op.pinv_tile(x, origin=(0, 0), rows=(250, 400), columns=(0, 700))
    assert largest(tile - whole[..., 1000:, :]) < 1e-5
    assert largest(op.A(whole) - x) < 1e-5


# --- errors


def test_sizes_that_do_not_fit_are_refused() -> None:
    with pytest.raises(UsageError, match="10x8.*scale 4.*modcrop"):
        BicubicDown(scale=4, height=10, width=8)
    with pytest.raises(UsageError, match="scale 0"):
        BicubicDown(scale=0, height=8, width=8)
    with pytest.raises(UsageError, match=r"scale 2\.5"):
        BicubicDown(scale=2.5, height=10, width=10)  # type: ignore[arg-type]
    op = operator(4, 50, 50)
    with pytest.raises(UsageError, match="10x10.*200x200"):
        op.A(torch.rand(1, 1, 10, 10))
    with pytest.raises(UsageError, match="200x200.*50x50"):
        op.pinv(torch.rand(1, 1, 200, 200))
    with pytest.raises(UsageError, match="uint8"):
        op.A(torch.zeros(1, 1, 200, 200, dtype=torch.uint8))
    with pytest.raises(UsageError, match="too small.*32"):
        op.pinv_tile(torch.rand(1, 1, 20, 20), origin=(10, 10), rows=(12, 14), columns=(12, 14))
    with pytest.raises(UsageError, match="outside"):
        op.pinv_tile(torch.rand(1, 1, 50, 50), origin=(0, 0), rows=(40, 51), columns=(0, 5))
