from __future__ import annotations

import pytest
import torch

from mezzotint.domains.pixel import Pixel
from mezzotint.errors import UsageError
from mezzotint.operators.resize import imresize


@pytest.mark.parametrize("size", [(8, 12), (7, 5), (1, 1)])
def test_pictures_come_back_as_they_went_in(size):
    domain = Pixel()
    y, x = torch.randn(2, 3, *size), torch.randn(2, 3, 2, 3)
    context = domain.context(x, size=size)
    state = domain.encode(y, context)
    assert tuple(state.shape) == domain.shape(context)
    assert torch.equal(domain.decode(state, context, size=size), y)
    assert domain.cell == 1


def test_lift_is_the_bicubic_enlargement():
    domain, x = Pixel(), torch.randn(1, 3, 4, 5, dtype=torch.float64)
    context = domain.context(x, size=(16, 20))
    assert torch.equal(domain.lift(x, context), imresize(x, scale=4))


def test_wrong_shapes_are_refused():
    domain, x = Pixel(), torch.zeros(2, 3, 4, 4)
    with pytest.raises(UsageError, match=r"\(2, 3, 15, 16\)"):
        domain.encode(torch.zeros(2, 3, 15, 16), domain.context(x, size=(16, 16)))
    with pytest.raises(UsageError, match="0x16"):
        domain.context(x, size=(0, 16))
