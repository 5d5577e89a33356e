"""Samplers against closed forms: Gaussian and two-point priors, published values of DDPM and DDIM."""

from __future__ import annotations

import itertools
import math
from functools import partial

import numpy as np
import pytest
import torch

from mezzotint import schedules
from mezzotint.bridges import VP, Pinned, ResShift
from mezzotint.noise import Noise
from mezzotint.prediction import large_variance
from mezzotint.samplers import Estimate, ancestral, carry_step, ddim, sample
from mezzotint.schedules import LinearSDE, ShiftedCosine, Table
from mezzotint.testing import GaussianPrior, TwoPointPrior, propagate

PRIOR = GaussianPrior(0.5, 0.2)
ROWS = {
    "resshift": (ancestral, lambda n: ResShift(n), {4: 0.0638, 15: 0.1257, 100: 0.1721, 1000: 0.1904}),
    "resshift-ddim": (ddim, lambda n: ResShift(n), {4: 0.0855, 15: 0.1480, 100: 0.1843, 1000: 0.1940}),
    "i2sb": (ancestral, lambda n: Pinned(0.141027), {4: 0.1199, 15: 0.1627, 100: 0.1895, 1000: 0.1982}),
    "ot-ode": (ancestral, lambda n: Pinned(0.0), {4: 0.0, 15: 0.0, 100: 0.0, 1000: 0.0}),
    "vp": (ancestral, lambda n: VP(LinearSDE()), {4: 0.0403, 15: 0.1157, 100: 0.1746, 1000: 0.1963}),
}
LONG = {"resshift": 0.1953, "resshift-ddim": 0.1959, "i2sb": 0.1999, "ot-ode": 0.0, "vp": 0.1998}


@pytest.mark.parametrize("steps", [4, 15, 100, 1000])
@pytest.mark.parametrize("row", ROWS)
def test_gaussian_prior(row, steps):
    """Exact moments of the sampler's output for y ~ N(0.5, 0.2^2), x = 0.1; the figures have four digits."""
    step, build, figures = ROWS[row]
    bridge = build(steps)
    mean, std = propagate(step, bridge=bridge, grid=bridge.grid(steps), prior=PRIOR)
    assert std == pytest.approx(figures[steps], abs=1e-4)
    assert 0.4991 < mean < 0.50005


@pytest.mark.slow
@pytest.mark.parametrize("row", ROWS)
def test_gaussian_prior_in_20000_steps(row):
    step, build, _ = ROWS[row]
    bridge = build(20000)
    mean, std = propagate(step, bridge=bridge, grid=bridge.grid(20000), prior=PRIOR)
    assert std == pytest.approx(LONG[row], abs=1e-4)
    assert 0.4991 < mean < 0.50005


@pytest.mark.parametrize("row", ROWS)
def test_the_loop_samples_what_the_moments_say(row):
    step, build, figures = ROWS[row]
    bridge, x = build(15), torch.full((1, 1, 256, 256), 0.1, dtype=torch.float64)
    y = sample(
        PRIOR.denoiser(bridge, x),
        bridge=bridge,
        x_state=x,
        noise=Noise(0),
        grid=bridge.grid(15),
        step=step,
    )
    count = y.numel()
    assert abs(y.std().item() - figures[15]) < 1e-4 + 4 * figures[15] / math.sqrt(2 * count)
    mean, _ = propagate(step, bridge=bridge, grid=bridge.grid(15), prior=PRIOR)
    assert abs(y.mean().item() - mean) < 1e-9 + 4 * figures[15] / math.sqrt(count)


@pytest.mark.parametrize("build", [ResShift, lambda: Pinned(0.141027), lambda: VP(LinearSDE())])
@pytest.mark.parametrize("steps", [1, 3, 10])
def test_the_true_variance_of_the_estimate_is_exact_in_any_number_of_steps(build, steps):
    """A step that assumes Var(y | z) samples the true reverse kernel; only the start and the last step are left."""
    bridge = build()
    grid = bridge.grid(steps)
    a, b, s = bridge.coefficients(1.0)
    start = (a * 0.5 + b * 0.1, math.hypot(a * 0.2, s))
    # Stop at a small time, as the step to 0 returns a mean.
    grid = (*grid[:-1], 1e-6)
    mean, std = propagate(ancestral, bridge=bridge, grid=grid, prior=PRIOR, variance="exact", start=start)
    a, b, s = bridge.coefficients(1e-6)
    assert mean == pytest.approx(a * 0.5 + b * 0.1, abs=1e-9)
    assert std == pytest.approx(math.hypot(a * 0.2, s), abs=1e-9)


def test_drawing_the_noise_anew_never_converges():
    """k = 0 loses variance at every step; with the VP schedule the deviation saturates at c / sqrt(2)."""
    naive, bridge = partial(carry_step, k=0.0), VP(LinearSDE())
    for steps, figure in [(15, 0.1042), (1000, 0.1387)]:
        _, std = propagate(naive, bridge=bridge, grid=bridge.grid(steps), prior=PRIOR)
        assert std == pytest.approx(figure, abs=1e-4)
    assert figure < 0.2 / math.sqrt(2)


@pytest.mark.parametrize("steps", [4, 15, 100])
def test_two_point_prior(steps):
    """The share of outputs within 0.1 of a point: noisy bridges reach them, noise-free ones regress to the mean."""
    x = torch.zeros(1, 1, 144, 144, dtype=torch.float64)
    floors = {4: 0.985, 15: 0.999, 100: 0.999}
    for bridge in (Pinned(0.141027), ResShift(steps), Pinned(0.0)):
        y = sample(
            TwoPointPrior().denoiser(bridge, x),
            bridge=bridge,
            x_state=x,
            noise=Noise(1),
            grid=bridge.grid(steps),
        )
        share = ((y.abs() - 1.0).abs() < 0.1).double().mean().item()
        if bridge == Pinned(0.0):
            assert share == 0.0
        else:
            assert share > floors[steps] and abs((y > 0).double().mean().item() - 0.5) < 0.015


# DDPM and DDIM.


@pytest.mark.parametrize(
    ("variance", "large", "small"),
    [(1.0, 0.9999, 0.991067), (0.25, 0.250752, 0.246125), (0.01, 0.0101537, 0.0092759)],
)
def test_ddpm_in_all_its_steps(variance, large, small):
    """Final variance of exact-score ancestral sampling of N(0, v) from N(0, 1)."""
    bridge, prior = VP(schedules.linear(1000)), GaussianPrior(0.0, math.sqrt(variance))
    for assumed, figure in (("large", large), ("small", small)):
        _, std = propagate(ancestral, bridge=bridge, grid=bridge.grid(1000), prior=prior, variance=assumed)
        assert std**2 == pytest.approx(figure, abs=6e-7)


RESPACED = {
    10: (0.520785, 0.663551, 0.358521),
    25: (0.746631, 0.858678, 0.287783),
    50: (0.855057, 0.928106, 0.267883),
    100: (0.920877, 0.963686, 0.258652),
    250: (0.966092, 0.985338, 0.253346),
}


@pytest.mark.parametrize("steps", RESPACED)
def test_respaced_ddpm(steps):
    """Final variances of respaced sampling: small and DDIM for N(0, 1), large for it and for v = 1/4."""
    bridge, unit, quarter = VP(schedules.linear(1000)), GaussianPrior(), GaussianPrior(0.0, 0.5)
    grid = bridge.grid(steps, spacing="nodes")
    small, deterministic, large = RESPACED[steps]
    run = partial(propagate, bridge=bridge, grid=grid)
    assert run(ancestral, prior=unit, variance="large")[1] ** 2 == pytest.approx(0.9999, abs=1e-9)
    assert run(ancestral, prior=unit)[1] ** 2 == pytest.approx(small, abs=6e-7)
    assert run(ddim, prior=unit)[1] ** 2 == pytest.approx(deterministic, abs=6e-7)
    assert run(ancestral, prior=quarter, variance="large")[1] ** 2 == pytest.approx(large, abs=6e-7)


def one(value: float) -> torch.Tensor:
    return torch.full((1, 1, 1, 1), value, dtype=torch.float64)


def test_ddim_of_a_gaussian():
    """Data N(0.3, 0.25), z = 1 at t = 1000: the exact flow and DDIM on three grids, ten digits."""
    bridge, prior = VP(schedules.linear(1000)), GaussianPrior(0.3, 0.5)
    assert prior.flow(bridge, one(1.0), None, 0.0, 1.0).item() == pytest.approx(0.7990546302, abs=5e-11)
    for grid, figure in [
        (bridge.grid(50, spacing="nodes"), 0.7710157104),
        (bridge.grid(10, spacing="nodes"), 0.6609225466),
        (tuple((i + 1) / 1000 for i in range(980, -1, -20)) + (0.0,), 0.7713501049),
    ]:
        y = sample(prior.denoiser(bridge), bridge=bridge, noise=Noise(0), grid=grid, step=ddim, start=one(1.0))
        assert y.item() == pytest.approx(figure, abs=5e-11)


@pytest.mark.parametrize("bridge", [VP(LinearSDE()), ResShift(), Pinned(0.141027)])
def test_ddim_converges_to_the_flow_with_order_one(bridge):
    prior, x = GaussianPrior(0.3, 0.5), one(0.1)
    # A pinned end has no flow, so the walk starts below it.
    first, last = 0.9, 0.02
    wanted = prior.flow(bridge, one(0.4), x, last, first).item()
    errors = []
    for steps in (40, 80, 160):
        grid = [first + (last - first) * i / steps for i in range(steps + 1)]
        z = sample(
            prior.denoiser(bridge, x),
            bridge=bridge,
            x_state=x,
            noise=Noise(0),
            grid=grid,
            step=ddim,
            start=one(0.4),
        )
        errors.append(abs(z.item() - wanted))
    for before, after in itertools.pairwise(errors):
        assert 1.8 < before / after < 2.2


@pytest.mark.parametrize(("steps", "figure"), [(10, 0.8834851837), (1, 0.0)])
def test_ddim_in_equal_angles(steps, figure):
    """For N(0, 1) a step multiplies by the cosine of its angle: cos(pi / 2N)^N in N equal ones."""
    bridge = VP(ShiftedCosine(log_snr_min=-math.inf))
    y = sample(
        GaussianPrior().denoiser(bridge),
        bridge=bridge,
        noise=Noise(0),
        grid=bridge.grid(steps),
        step=ddim,
        start=one(1.0),
    )
    assert y.item() == pytest.approx(figure, abs=5e-11)
    assert figure == pytest.approx(math.cos(math.pi / (2 * steps)) ** steps, abs=5e-11)


def test_ddim_returns_a_point_mass_in_any_number_of_steps():
    for bridge in (VP(LinearSDE()), ResShift(), Pinned(0.141027)):
        for steps in (1, 2, 9):
            x = torch.zeros(1, 1, 4, 4)
            y = sample(
                GaussianPrior(0.37, 0.0).denoiser(bridge, x),
                bridge=bridge,
                x_state=x,
                noise=Noise(0),
                grid=bridge.grid(steps),
                step=ddim,
            )
            assert (y - 0.37).abs().max() < 1e-12


def test_eta_one_over_all_steps_is_ddpm_with_the_same_noise():
    table = schedules.linear(50, start=1e-3, end=0.3)
    bridge, prior, noise = VP(table), GaussianPrior(0.3, 0.5), Noise(3)
    shape = (1, 1, 8, 8)
    y = sample(prior.denoiser(bridge), bridge=bridge, noise=noise, grid=bridge.grid(50), shape=shape)
    z, gamma = noise.normal("start", 0, shape), table.gamma
    for draw, i in enumerate(range(50, 0, -1)):
        alpha = table.alpha[i - 1]
        y_hat, _ = prior.posterior(bridge, z, None, i / 50)
        eps_hat = (z - math.sqrt(gamma[i]) * y_hat) / math.sqrt(1 - gamma[i])
        mean = (z - alpha / math.sqrt(1 - gamma[i]) * eps_hat) / math.sqrt(1 - alpha)
        small = alpha * (1 - gamma[i - 1]) / (1 - gamma[i])
        z = mean + (math.sqrt(small) * noise.normal("step", draw, shape) if i > 1 else 0.0)
    assert (y - z).abs().max() < 1e-12


def test_the_ode_sampler_of_resshift_is_ddim_of_a_vp_with_the_same_signal_to_noise():
    """Shift coordinate: z - b x is an ordinary diffusion; with a prior that is not linear."""
    resshift = ResShift()
    levels = [resshift.coefficients(i / 15) for i in range(1, 16)]
    vp = VP(Table.from_gamma([a**2 / (a**2 + s**2) for a, _, s in levels]))
    a, b, s = levels[-1]
    eps = torch.from_numpy(np.random.default_rng(0).normal(size=(1, 1, 30, 30)))
    x = torch.full_like(eps, 0.3)
    prior = TwoPointPrior(-1.0, 0.6, 0.3)
    first = sample(
        prior.denoiser(resshift, x),
        bridge=resshift,
        x_state=x,
        noise=Noise(0),
        grid=resshift.grid(15),
        step=ddim,
        start=b * x + s * eps,
    )
    second = sample(
        prior.denoiser(vp),
        bridge=vp,
        noise=Noise(0),
        grid=vp.grid(15),
        step=ddim,
        start=s / math.hypot(a, s) * eps,
    )
    assert (first - second).abs().max() < 1e-9


def test_time_travel_keeps_the_distribution():
    """Moves up and down with the true variance of the estimate leave a Gaussian prior as it is."""
    for bridge in (VP(LinearSDE()), ResShift(), Pinned(0.141027)):
        x = torch.full((1, 1, 256, 256), 0.1, dtype=torch.float64)
        grid = (1.0, 0.8, 0.6, 0.9, 0.5, 0.3, 0.7, 0.4, 1e-6)
        a, b, s = bridge.coefficients(1.0)
        start = a * 0.5 + b * x + math.hypot(a * 0.2, s) * Noise(9).normal("start", 0, x.shape)
        y = sample(
            PRIOR.denoiser(bridge, x, variance="exact"),
            bridge=bridge,
            x_state=x,
            noise=Noise(2),
            grid=grid,
            start=start,
        )
        assert abs(y.std().item() - 0.2) < 4 * 0.2 / math.sqrt(2 * y.numel()) + 1e-4
        assert abs(y.mean().item() - 0.5) < 4 * 0.2 / math.sqrt(y.numel()) + 1e-4


def test_the_large_variance_stays_stationary_for_unit_data_on_every_schedule():
    for schedule in (schedules.sr3(100), schedules.cosine(100), LinearSDE()):
        bridge = VP(schedule)
        grid = (*bridge.grid(20)[:-1], 1e-3)
        _, std = propagate(ancestral, bridge=bridge, grid=grid, prior=GaussianPrior(), variance="large")
        assert std == pytest.approx(1.0, abs=1e-12)
    estimate = Estimate(one(0.0), c2=large_variance(VP(LinearSDE()), 0.5))
    assert 0.0 < float(estimate.c2) < 1.0
