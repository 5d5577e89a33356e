"""The parts of NCSN++ against an independent library, adjoints and known variances."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy.signal import upfirdn

from mezzotint.networks.ncsnpp import FilteredHalf, NoiseWaves, ScoreBlock, filter_down, filter_up

TAPS = np.array([1.0, 3.0, 3.0, 1.0])


def field(*shape: int, seed: int = 1) -> torch.Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def both(values: np.ndarray, *, taps: np.ndarray, up: int = 1, down: int = 1, skip: int, keep: tuple) -> np.ndarray:
    """scipy's filter along both last axes, of which `keep` values from `skip` on are kept."""
    for axis, count in zip((-2, -1), keep, strict=True):
        values = upfirdn(taps, values, up=up, down=down, axis=axis)
        values = np.take(values, range(skip, skip + count), axis=axis)
    return values


@pytest.mark.parametrize("size", [(6, 8), (2, 4)])
def test_sides_are_halved_through_the_binomial_filter(size):
    h = field(2, 3, *size)
    # Every second value from the second tap on: the filter of four taps starts one place outside.
    wanted = both(h.numpy(), taps=TAPS / 8, skip=2, keep=size)[..., ::2, ::2]
    assert np.abs(filter_down(h).numpy() - wanted).max() < 1e-14


@pytest.mark.parametrize("size", [(3, 4), (1, 2)])
def test_sides_are_doubled_through_the_binomial_filter(size):
    h = field(2, 3, *size)
    wanted = both(h.numpy(), taps=TAPS / 4, up=2, skip=1, keep=(2 * size[0], 2 * size[1]))
    assert np.abs(filter_up(h).numpy() - wanted).max() < 1e-14


def test_doubling_is_four_times_the_adjoint_of_halving():
    y, x = field(1, 2, 8, 6), field(1, 2, 4, 3, seed=2)
    assert float((filter_down(y) * x).sum() * 4) == pytest.approx(float((y * filter_up(x)).sum()), abs=1e-12)
    flat = torch.ones(1, 1, 8, 8, dtype=torch.float64)
    torch.testing.assert_close(filter_down(flat)[..., 1:-1, 1:-1], flat[..., :2, :2], atol=1e-14, rtol=0)
    torch.testing.assert_close(filter_up(flat)[..., 1:-1, 1:-1], flat[..., :1, :1].expand(1, 1, 14, 14))


def test_the_input_is_halved_as_filter_and_convolution():
    layer, h = FilteredHalf(2, 3).double(), field(1, 2, 6, 8)
    # One more value than pixels: the convolution of stride 2 needs a margin.
    blurred = torch.from_numpy(np.ascontiguousarray(both(h.numpy(), taps=TAPS / 8, skip=1, keep=(7, 9))))
    wanted = F.conv2d(blurred, layer.convolution.weight, layer.convolution.bias, stride=2)
    torch.testing.assert_close(layer(h), wanted, atol=1e-13, rtol=0)


def test_sums_keep_their_variance():
    """At the start a block of equal widths is its input over sqrt(2): the other summand is zero."""
    block = ScoreBlock(8, 8, embedding=4, groups=32, dropout=0.0, filtered=True, resample="none")
    h = field(2, 8, 4, 4).float()
    torch.testing.assert_close(block(h, torch.randn(2, 4)), h / math.sqrt(2.0))


def test_noise_is_told_in_random_sines_that_are_not_learned():
    waves = NoiseWaves(64, out=8)
    assert not waves.rates.requires_grad and 10.0 < float(waves.rates.std()) < 22.0
    waves.layers = torch.nn.Identity()
    sigma = torch.tensor([0.02, 31.0], dtype=torch.float64)
    angles = 2 * math.pi * sigma.log()[:, None] * waves.rates.double()
    wanted = torch.cat((angles.sin(), angles.cos()), dim=1)
    torch.testing.assert_close(waves.double()(sigma.log() / 4), wanted, atol=1e-10, rtol=0)
