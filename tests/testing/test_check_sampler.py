from __future__ import annotations

import math
from functools import partial

import pytest
import torch

from mezzotint.bridges import VP, Pinned, ResShift
from mezzotint.samplers import Estimate, UniPC, ancestral, carry_step, ddim
from mezzotint.schedules import LinearSDE
from mezzotint.testing import (
    GaussianField,
    GaussianPrior,
    LinearGaussian,
    MixturePrior,
    TwoPointPrior,
    affine_moments,
    check_sampler,
    measure_order,
    propagate,
)


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


def test_affine_moments_are_those_of_a_walk_by_hand():
    """Two draws of a field of two values through a known matrix: mean and covariance to rounding."""
    matrix = torch.tensor([[2.0, 0.0], [1.0, 0.5]], dtype=torch.float64)

    def run(noise, batch):
        shape = (batch, 1, 1, 2)
        z = 3.0 + noise.normal("start", 0, shape) @ matrix.T
        return 0.5 * z + 0.1 * noise.normal("step", 0, shape)

    mean, covariance = affine_moments(run)
    assert torch.allclose(mean.flatten(), torch.tensor([1.5, 1.5], dtype=torch.float64), atol=1e-14)
    wanted = 0.25 * matrix @ matrix.T + 0.01 * torch.eye(2, dtype=torch.float64)
    assert torch.allclose(covariance, wanted, atol=1e-14)


def test_a_sampler_that_is_not_affine_is_refused():
    with pytest.raises(ValueError, match="not affine in its noise"):
        affine_moments(lambda noise, batch: noise.normal("start", 0, (batch, 1, 1, 1)) ** 2)
    with pytest.raises(ValueError, match="uniform"):
        affine_moments(lambda noise, batch: noise.uniform("start", 0, batch).reshape(-1, 1, 1, 1))


def test_the_moments_of_a_multistep_sampler_are_those_of_its_step_where_it_has_one():
    """UniPC of order 1 without corrector is DDIM: the whole-walk moments and the recursion agree."""
    bridge, prior = VP(LinearSDE()), GaussianPrior(0.5, 0.2)
    grid = bridge.grid(9)
    first = propagate(UniPC(1, corrector=False), bridge=bridge, grid=grid, prior=prior)
    assert first == pytest.approx(propagate(ddim, bridge=bridge, grid=grid, prior=prior), abs=1e-12)


def test_the_order_is_measured():
    assert measure_order(ddim, bridge=VP(LinearSDE())) == pytest.approx(1.0, abs=0.05)
    with pytest.raises(AssertionError, match="falls with order"):
        check_sampler(ddim, bridge=VP(LinearSDE()), order=2)


def field() -> GaussianField:
    generator = torch.Generator().manual_seed(0)
    root = torch.randn(4, 4, generator=generator, dtype=torch.float64)
    return GaussianField(torch.tensor([0.1, -0.3, 0.5, 0.0], dtype=torch.float64), root @ root.T / 4)


def test_a_diagonal_field_is_the_prior_of_single_values():
    diagonal = GaussianField(torch.full((4,), 0.5, dtype=torch.float64), 0.04 * torch.eye(4, dtype=torch.float64))
    single = GaussianPrior(0.5, 0.2)
    z = torch.linspace(-1, 1, 8, dtype=torch.float64).reshape(2, 1, 2, 2)
    x = torch.full_like(z, 0.1)
    for bridge in (VP(LinearSDE()), ResShift(), Pinned(0.5)):
        for t in (0.3, 0.8):
            assert torch.allclose(
                diagonal.denoiser(bridge, x)(z, t).y, single.denoiser(bridge, x)(z, t).y, atol=1e-12
            )
            assert torch.allclose(
                diagonal.flow(bridge, z, x, 0.1, t), single.flow(bridge, z, x, 0.1, t), atol=1e-12
            )


def test_a_joint_field_and_its_measurement_by_direct_solution():
    """E[y | z] and E[y | z, x] from one big linear system, without an eigenvector in sight."""
    prior, bridge, t = field(), VP(LinearSDE()), 0.4
    operator = torch.tensor([[0.5, 0.5, 0.0, 0.0], [0.0, 0.0, 1.0, 0.0]], dtype=torch.float64)
    task, x = LinearGaussian(prior, operator, 0.3), torch.tensor([0.2, -0.7], dtype=torch.float64)
    z = torch.tensor([0.3, -0.2, 0.9, 0.4], dtype=torch.float64)
    a, _, s = bridge.coefficients(t)
    eye = torch.eye(4, dtype=torch.float64)
    for seen, value, power, estimate in (
        (a * eye, z, s**2 * eye, prior.denoiser(bridge)),
        (
            torch.cat([a * eye, operator]),
            torch.cat([z, x]),
            torch.diag(torch.tensor([s**2] * 4 + [0.09] * 2, dtype=torch.float64)),
            task.given(x).denoiser(bridge),
        ),
    ):
        spread = prior.covariance @ seen.T
        wanted = prior.mean + spread @ torch.linalg.solve(seen @ spread + power, value - seen @ prior.mean)
        assert torch.allclose(estimate(z.reshape(1, 1, 2, 2), t).y.flatten(), wanted, atol=1e-12)


def test_a_mixture_of_one_is_a_gaussian_and_of_two_points_the_two_point_prior():
    bridge = VP(LinearSDE())
    z = torch.linspace(-2, 2, 9, dtype=torch.float64).reshape(1, 1, 3, 3)
    for t in (0.02, 0.5, 1.0):
        for mixture, known in (
            (MixturePrior((2.0,), (0.5,), (0.2,)), GaussianPrior(0.5, 0.2)),
            (MixturePrior((0.3, 0.7), (-0.3, 1.2), (0.0, 0.0)), TwoPointPrior(-0.3, 1.2, 0.7)),
        ):
            first, second = (p.denoiser(bridge, variance="exact")(z, t) for p in (mixture, known))
            assert torch.allclose(first.y, second.y, atol=1e-10)
            spread = torch.as_tensor(second.c2, dtype=torch.float64)
            assert torch.allclose(torch.as_tensor(first.c2), spread, atol=1e-10)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: MixturePrior((1.0,), (0.0, 1.0), (1.0, 1.0)), "as many weights"),
        (lambda: MixturePrior((1.0, -1.0)), "must be positive"),
        (lambda: MixturePrior().denoiser(Pinned(0.0), torch.zeros(1))(torch.zeros(1), 0.5), "without noise"),
        (lambda: GaussianField(torch.zeros(2), torch.eye(3)), "needs a covariance"),
        (lambda: GaussianField(torch.zeros(2), torch.tensor([[1.0, 0.5], [0.0, 1.0]])), "not symmetric"),
        (lambda: GaussianField(torch.zeros(2), torch.tensor([[1.0, 2.0], [2.0, 1.0]])), "negative eigenvalue"),
        (lambda: LinearGaussian(field(), torch.zeros(2, 3), 0.1), "does not fit 4 values"),
        (lambda: LinearGaussian(field(), torch.zeros(2, 4), 0.0), "noise 0.0"),
    ],
)
def test_wrong_analytic_problems_are_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
