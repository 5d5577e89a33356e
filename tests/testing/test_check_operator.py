from __future__ import annotations

import pytest
import torch

from mezzotint.operators.bicubic import BicubicDown
from mezzotint.testing import check_operator


@pytest.mark.parametrize(("scale", "size"), [(2, (12, 10)), (3, (9, 15)), (4, (4, 20)), (4, (36, 28)), (8, (16, 8))])
def test_bicubic_passes(scale: int, size: tuple[int, int]) -> None:
    errors = check_operator(BicubicDown(scale=scale, height=size[0], width=size[1]))
    assert max(errors.values()) < 1e-10 and "A A+ = I" in errors


class _Broken(BicubicDown):
    """Nearest enlargement as the adjoint: the mistake of released code."""

    def At(self, x: torch.Tensor) -> torch.Tensor:
        return x.repeat_interleave(self.scale, -1).repeat_interleave(self.scale, -2) / self.scale**2


def test_a_wrong_adjoint_fails() -> None:
    with pytest.raises(AssertionError, match="adjoint"):
        check_operator(_Broken(scale=4, height=16, width=16))
