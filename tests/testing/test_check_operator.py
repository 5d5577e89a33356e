from __future__ import annotations

import dataclasses

import pytest
import torch

from mezzotint.operators.bicubic import BicubicDown
from mezzotint.operators.composed import Chain
from mezzotint.operators.diagonal import Average, Grey, Mask
from mezzotint.operators.linear import SVD, LinearOperator
from mezzotint.testing import check_operator


@pytest.mark.parametrize(("scale", "size"), [(2, (12, 10)), (3, (9, 15)), (4, (4, 20)), (4, (36, 28)), (8, (16, 8))])
def test_bicubic_passes(scale: int, size: tuple[int, int]) -> None:
    errors = check_operator(BicubicDown(scale=scale, height=size[0], width=size[1]))
    assert max(errors.values()) < 1e-10 and "A A+ = I" in errors


class _Broken(BicubicDown):
    """Nearest enlargement as the adjoint: the mistake of released code."""

    def _adjoint(self, x: torch.Tensor) -> torch.Tensor:
        return x.repeat_interleave(self.scale, -1).repeat_interleave(self.scale, -2) / self.scale**2


def test_a_wrong_adjoint_fails() -> None:
    with pytest.raises(AssertionError, match="adjoint"):
        check_operator(_Broken(scale=4, height=16, width=16))


class _Product(Chain):
    """The product of the pseudo-inverses, which is not that of the product: the mistake of DDNM's recipes."""

    def _pinv(self, x: torch.Tensor) -> torch.Tensor:
        return self.first.pinv(self.second.pinv(x))


def test_a_product_of_pseudo_inverses_fails() -> None:
    mask = Mask.of_stride(height=8, width=8, scale=2)
    with pytest.raises(AssertionError, match=r"A A\+ A = A"):
        check_operator(_Product(mask, Average(scale=2, height=8, width=8)))


class _Biased(Grey):
    def _forward(self, y: torch.Tensor) -> torch.Tensor:
        return super()._forward(y) + 0.1


def test_an_affine_map_fails() -> None:
    with pytest.raises(AssertionError, match="linear"):
        check_operator(_Biased(height=4, width=4))


class _Sorted(Average):
    """Singular vectors of which U and V disagree."""

    def svd(self) -> SVD:
        svd = super().svd()
        return dataclasses.replace(svd, U=lambda c: svd.U(c.flip(-1)))


def test_singular_vectors_that_do_not_belong_together_fail() -> None:
    with pytest.raises(AssertionError, match=r"U sv V\^T = A"):
        check_operator(_Sorted(scale=2, height=8, width=8))


def test_third_parties_need_two_methods_and_three_properties() -> None:
    """What is left is iterated: a difference of neighbours on a circle, which does not see the mean."""

    class Difference(LinearOperator):
        shape_in = shape_out = (5, 6)
        norm = 2.0

        def _forward(self, y: torch.Tensor) -> torch.Tensor:
            return y - y.roll(1, -1)

        def _adjoint(self, x: torch.Tensor) -> torch.Tensor:
            return x - x.roll(-1, -1)

    errors = check_operator(Difference(), full_rank=False)
    assert "U sv V^T = A" not in errors and max(errors.values()) < 1e-9
