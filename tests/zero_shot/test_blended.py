"""Windows of a denoiser that is not local."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mezzotint.bridges import VP
from mezzotint.errors import UsageError
from mezzotint.noise import Noise
from mezzotint.operators.named import named_operator
from mezzotint.samplers.step import Estimate
from mezzotint.schedules import linear
from mezzotint.zero_shot import Measurement, Problem, build, restore
from mezzotint.zero_shot.blended import blended, places, weights

F64 = torch.float64


def mean_of_window(z, t):
    """The least local of all: every pixel becomes the mean of what is seen."""
    return Estimate(z.mean((-2, -1), keepdim=True).expand_as(z).clone())


def pixels(*shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0), dtype=F64)


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 200), st.integers(8, 40), st.integers(1, 4), st.integers(-9, 9))
def test_windows_cover_the_side_and_their_weights_sum_to_one(size, tile, overlap, offset):
    starts = places(size, tile, overlap, offset)
    side = min(size, tile)
    assert starts[0] == 0 and starts[-1] + side == size
    assert all(0 < b - a <= tile - overlap for a, b in zip(starts, starts[1:], strict=False))
    total = torch.zeros(size, dtype=F64)
    for start, weight in zip(starts, weights(starts, size, side, overlap), strict=True):
        assert (weight >= 0).all()
        total[start : start + side] += weight
    assert (total - 1).abs().max() < 1e-12


@pytest.mark.parametrize("size", [(40, 23), (16, 50), (61, 61)])
def test_a_constant_stays_and_a_pixelwise_denoiser_is_untouched(size):
    z = pixels(2, 3, *size)
    constant = torch.full_like(z, 0.3)
    whole = blended(mean_of_window, tile=16, overlap=6)
    assert (whole(constant, 0.5).y - 0.3).abs().max() < 1e-12

    def pixelwise(z, t):
        return Estimate(torch.tanh(t * z), y_carry=0.5 * z, c2=0.1)

    found = blended(pixelwise, tile=16, overlap=6)(z, 0.7)
    assert (found.y - torch.tanh(0.7 * z)).abs().max() < 1e-12
    assert found.y_carry is not None and (found.y_carry - 0.5 * z).abs().max() < 1e-12
    assert found.c2 == 0.1


def test_one_tile_is_the_denoiser_itself():
    z = pixels(1, 3, 16, 12)
    assert torch.equal(blended(mean_of_window, tile=16, overlap=4)(z, 0.5).y, mean_of_window(z, 0.5).y)


def test_how_many_windows_are_asked_at_a_time_does_not_matter_and_where_they_stand_does():
    z = pixels(2, 1, 50, 34)
    one, many = (blended(mean_of_window, tile=16, overlap=5, batch=n)(z, 0.5).y for n in (1, 100))
    assert (one - many).abs().max() < 1e-12
    assert one.std() > 0.01
    moved = blended(mean_of_window, tile=16, overlap=5, offset=lambda t: (1, -1))(z, 0.5).y
    assert (moved - one).abs().max() > 1e-3


def test_gradients_pass():
    z = pixels(1, 1, 20, 20).requires_grad_()
    (gradient,) = torch.autograd.grad(blended(mean_of_window, tile=16, overlap=4)(z, 0.5).y.sum(), z)
    assert gradient.sum() == pytest.approx(400.0)


def test_the_measurement_is_met_across_the_seams():
    bridge, y = VP(linear(1000)), torch.tanh(pixels(1, 3, 44, 60))
    operator = named_operator("bicubic", scale=4).for_large(44, 60)
    known = Measurement(operator, operator.A(y))
    problem = Problem(blended(mean_of_window, tile=16, overlap=4), bridge, known)
    found = restore(build("ddnm"), problem, noise=Noise(0), steps=5)
    assert known.residual(found).abs().max() < 1e-9


def test_bad_tiles():
    for overlap, batch in ((0, 1), (9, 1), (4, 0)):
        with pytest.raises(UsageError, match="tiles"):
            blended(mean_of_window, tile=16, overlap=overlap, batch=batch)
