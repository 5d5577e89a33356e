from __future__ import annotations

import math

import pytest
import torch

import mezzotint
from mezzotint import schedules
from mezzotint.bridges import VP, Bridge, Pinned, ResShift
from mezzotint.errors import UsageError
from mezzotint.methods.shared import Shared
from mezzotint.noise import Noise, SequentialNoise


@pytest.fixture(scope="module")
def method() -> Shared:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        built = mezzotint.build("shared", scale=4)
    assert isinstance(built, Shared)
    return built.eval().requires_grad_(False)


def _time(bridge: Bridge, ratio: float) -> float:
    """The time at which s / a is `ratio`."""
    low, high = 0.0, 0.7
    for _ in range(60):
        middle = (low + high) / 2
        a, _, s = bridge.coefficients(middle)
        low, high = (middle, high) if s / a < ratio else (low, middle)
    return low


def test_every_bridge_gets_the_same_estimate_at_the_same_ratio(method: Shared) -> None:
    x = torch.rand(2, 3, 5, 6) * 2 - 1
    y, eps = torch.rand(2, 3, 20, 24) * 2 - 1, torch.randn(2, 3, 20, 24)
    context = method.domain.context(x, size=(20, 24))
    x_state = method.domain.lift(x, context)
    found = []
    for bridge in (VP(schedules.cosine(1000)), ResShift(), Pinned(total=1.0)):
        t = _time(bridge, 0.3)
        z = bridge.q_sample(y, x_state, t, eps)
        found.append(method.denoiser(x, context=context, bridge=bridge)(z, t).y)
    for other in found[1:]:
        assert (other - found[0]).abs().max() < 2e-5


def test_the_ends_are_the_state_and_a_picture_without_it(method: Shared) -> None:
    x, z = torch.rand(1, 3, 4, 4), torch.randn(1, 3, 16, 16)
    context = method.domain.context(x, size=(16, 16))
    x_state = method.domain.lift(x, context)
    clean = method.denoiser(x, context=context, bridge=Pinned(total=1.0))(z, 0.0).y
    assert (clean - z).abs().max() < 1e-5
    # Pinned: at t = 1 the state is x, and says nothing.
    pinned = method.denoiser(x, context=context, bridge=Pinned(total=1.0))(x_state, 1.0).y
    assert torch.isfinite(pinned).all()
    noise = method.denoiser(x, context=context, bridge=VP(schedules.cosine(1000)))(z, 1.0).y
    assert (noise - x_state).abs().max() < 10 * method.deviation


def test_the_target_has_unit_variance(method: Shared) -> None:
    """With a silent network and a residual of the assumed deviation the loss is 1 at every ratio."""
    x = torch.zeros(8, 3, 8, 8)
    y = method.deviation * torch.randn(8, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    silent = mezzotint.build("shared", scale=4).eval().requires_grad_(False)
    assert isinstance(silent, Shared)
    for parameter in silent.network.parameters():
        parameter.zero_()
    losses = [float(silent.loss(y, x, noise=SequentialNoise(1, step=step))) for step in range(8)]
    assert math.isclose(sum(losses) / 8, 1.0, rel_tol=0.03)


def test_a_picture_is_drawn_and_other_sizes_are_refused(method: Shared) -> None:
    x = torch.rand(1, 3, 5, 7)
    y = method.sample(x, steps=3, noise=Noise(0))
    assert y.shape == (1, 3, 20, 28) and torch.isfinite(y).all()
    assert torch.equal(y, method.sample(x, steps=3, noise=Noise(0)))
    with pytest.raises(UsageError, match="exactly 4 times"):
        method.sample(x, steps=1, noise=Noise(0), size=(21, 28))
