from __future__ import annotations

import math
from functools import partial

import pytest
import torch

from mezzotint.bridges import VP, Pinned, ResShift
from mezzotint.samplers import Estimate, ancestral, carry_step, ddim
from mezzotint.schedules import LinearSDE
from mezzotint.testing import GaussianPrior, TwoPointPrior, check_sampler, propagate


def noisy_at_the_end(bridge, z, estimate, x_state, t, r, noise, carry=None):
    eps = noise() if callable(noise) else noise
    out, carry = ancestral(bridge, z, estimate, x_state, t, r, eps, carry)
    return (out + 0.01 * eps if r == 0.0 else out), carry


def too_quiet(bridge, z, estimate, x_state, t, r, noise, carry=None):
    eps = noise() if callable(noise) else noise
    return ancestral(bridge, z, estimate, x_state, t, r, 0.9 * eps, carry)


def overwrites(bridge, z, estimate, x_state, t, r, noise, carry=None):
    return ancestral(bridge, z.mul_(1.0), estimate, x_state, t, r, noise, carry)[0] + z.sub_(z), carry


def mixes_the_batch(bridge, z, estimate, x_state, t, r, noise, carry=None):
    out, carry = ddim(bridge, z, estimate, x_state, t, r, noise, carry)
    return (out if r == 0.0 else out + 1e-9 * z.norm()), carry


def loses_precision(bridge, z, estimate, x_state, t, r, noise, carry=None):
    return ancestral(bridge, z.float(), estimate, x_state, t, r, noise, carry)


@pytest.mark.parametrize(
    ("step", "message"),
    [
        (noisy_at_the_end, "step to the clean end"),
        (too_quiet, "marginal at"),
        (overwrites, "marginal at|changed"),
        (mixes_the_batch, "marginal at|differs from its items"),
        (loses_precision, "clean end|float64|marginal"),
        (partial(carry_step, k=0.0), "the error falls only"),
    ],
    ids=["noisy-at-the-end", "too-quiet", "overwrites", "mixes", "float32", "naive"],
)
def test_a_wrong_step_is_named(step, message):
    with pytest.raises(AssertionError, match=message):
        check_sampler(step, bridge=VP(LinearSDE()))


def test_a_step_that_renoises_passes_what_it_promises():
    errors = check_sampler(partial(carry_step, k=0.0), bridge=VP(LinearSDE()), converges=False)
    assert "relative deviation" not in errors and len(errors) == 2


def test_propagate_is_exact_for_two_hand_made_steps():
    """One step to the middle of a Brownian bridge and one to its end, by hand."""
    bridge, prior = Pinned(0.2), GaussianPrior(0.5, 0.2)
    mean, std = propagate(ancestral, bridge=bridge, grid=(1.0, 0.5, 0.0), prior=prior, x=0.1)
    noise = math.sqrt(0.2 * 0.25)
    gain = 0.5 * 0.04 / (0.25 * 0.04 + noise**2)
    assert mean == pytest.approx(0.5, abs=1e-14) and std == pytest.approx(gain * noise, abs=1e-14)


def test_best_estimates_by_quadrature():
    """The posterior means and variances of both priors against sums over a fine grid of clean values."""
    y = torch.linspace(-4, 4, 80001, dtype=torch.float64)
    gaussian, points = GaussianPrior(0.5, 0.2), TwoPointPrior(-0.3, 1.2, 0.7)
    for bridge in (VP(LinearSDE()), ResShift(), Pinned(0.5)):
        for t, value in ((0.3, 0.4), (0.7, -0.2)):
            z, x = (torch.full((1, 1, 1, 1), v, dtype=torch.float64) for v in (value, 0.1))
            a, b, s = bridge.coefficients(t)
            for prior, clean, weight in (
                (gaussian, y, torch.exp(-0.5 * ((y - 0.5) / 0.2) ** 2)),
                (points, torch.tensor([-0.3, 1.2]), torch.tensor([0.3, 0.7])),
            ):
                likely = weight * torch.exp(-0.5 * ((value - a * clean - b * 0.1) / s) ** 2)
                mean = (likely * clean).sum() / likely.sum()
                variance = (likely * (clean - mean) ** 2).sum() / likely.sum()
                estimate = prior.denoiser(bridge, x, variance="exact")(z, t)
                assert isinstance(estimate, Estimate)
                assert estimate.y.item() == pytest.approx(mean.item(), abs=1e-6)
                assert float(estimate.c2) == pytest.approx(variance.item(), abs=1e-6)


def test_priors_at_the_ends():
    z = torch.tensor([[[[0.2, -0.4]]]], dtype=torch.float64)
    pinned = Pinned(0.1)
    assert torch.equal(GaussianPrior(0.3, 0.5).denoiser(pinned, z)(z, 1.0).y, torch.full_like(z, 0.3))
    assert torch.allclose(TwoPointPrior(weight=0.75).denoiser(pinned, z)(z, 1.0).y, torch.full_like(z, 0.5))
    assert torch.equal(TwoPointPrior().denoiser(Pinned(0.0), 0 * z)(z, 0.5).y, torch.sign(z))


def test_wrong_priors_are_refused():
    with pytest.raises(ValueError, match="not a normal distribution"):
        GaussianPrior(0.0, -1.0)
    with pytest.raises(ValueError, match="not two points"):
        TwoPointPrior(1.0, 1.0)
