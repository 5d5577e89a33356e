"""The reverse SDE, Langevin dynamics and the adaptive solver against closed forms."""

from __future__ import annotations

import math
from functools import partial

import pytest
import torch

from mezzotint.bridges import VE, VP, Pinned, ResShift, SoftBlur
from mezzotint.noise import Noise
from mezzotint.samplers import (
    Estimate,
    LangevinCorrector,
    Move,
    adaptive,
    ancestral,
    annealed_langevin,
    corrections,
    euler_maruyama,
    langevin_step,
    retained,
    reverse_diffusion,
    sample,
)
from mezzotint.samplers.adaptive import integrate
from mezzotint.samplers.coordinates import score
from mezzotint.schedules import Geometric, LinearSDE, linear
from mezzotint.testing import GaussianPrior, TwoPointPrior, affine_moments, check_sampler

PRIOR = GaussianPrior(0.3, 0.5)
BRIDGES = {"vp": VP(LinearSDE()), "resshift": ResShift(), "pinned": Pinned(0.141027)}


def one(value: float) -> torch.Tensor:
    return torch.full((1, 1, 1, 1), value, dtype=torch.float64)


def test_reverse_diffusion_of_ddpm_is_the_formula_of_the_paper():
    """z - f + G^2 score + G eps with f = (sqrt(1 - alpha) - 1) z and G^2 = alpha on the table of DDPM."""
    table = linear(1000)
    bridge = VP(table)
    z, y, eps = one(0.7), one(-0.2), one(1.1)
    for i in (2, 500, 1000):
        alpha, gamma = table.alpha[i - 1], table.gamma[i]
        pull = -(z - math.sqrt(gamma) * y) / (1 - gamma)
        wanted = z - (math.sqrt(1 - alpha) - 1) * z + alpha * pull + math.sqrt(alpha) * eps
        found, _ = reverse_diffusion(bridge, z, Estimate(y), None, i / 1000, (i - 1) / 1000, eps)
        assert found.item() == pytest.approx(wanted.item(), abs=1e-9)


def test_reverse_diffusion_of_ve_has_the_mean_of_ancestral():
    bridge, z, y = VE(Geometric()), one(0.7), one(-0.2)
    for t, r in ((0.9, 0.8), (0.5, 0.1)):
        first, _ = reverse_diffusion(bridge, z, Estimate(y), None, t, r, one(0.0))
        second, _ = ancestral(bridge, z, Estimate(y), None, t, r, one(0.0))
        assert first.item() == pytest.approx(second.item(), abs=1e-12)
        spread = reverse_diffusion(bridge, z, Estimate(y), None, t, r, one(1.0))[0] - first
        added = bridge.coefficients(t)[2] ** 2 - bridge.coefficients(r)[2] ** 2
        assert spread.item() == pytest.approx(math.sqrt(added), rel=1e-12)


def test_euler_maruyama_is_the_formula_of_the_paper():
    bridge, z, y, eps = VP(LinearSDE()), one(0.7), one(-0.2), one(1.1)
    t, r = 0.5, 0.48
    alpha = 0.1 + 19.9 * t
    pull = score(bridge, z, Estimate(y), None, t)
    wanted = z + 0.02 * (0.5 * alpha * z + alpha * pull) + math.sqrt(alpha * 0.02) * eps
    found, _ = euler_maruyama(bridge, z, Estimate(y), None, t, r, eps)
    assert found.item() == pytest.approx(wanted.item(), abs=1e-12)


@pytest.mark.parametrize("bridge", ["vp", "pinned"])
@pytest.mark.parametrize("step", [ancestral, euler_maruyama, reverse_diffusion])
def test_conformance(bridge, step):
    errors = check_sampler(
        step,
        bridge=BRIDGES[bridge],
        steps=(64, 192),
        keeps_marginals=step is ancestral,
        order=1,
        stochastic=True,
    )
    assert 0.85 < errors["order of convergence"] < 1.15


def test_a_discretised_sde_is_refused_as_one_that_keeps_the_marginals():
    with pytest.raises(AssertionError, match="the marginal at"):
        check_sampler(euler_maruyama, bridge=VP(LinearSDE()))
    with pytest.raises(AssertionError, match="falls with order"):
        check_sampler(ancestral, bridge=VP(LinearSDE()), order=2, stochastic=True)


# Langevin dynamics.


@pytest.mark.parametrize(("form", "factor"), [("survey", 1.0), ("released", 2.0)])
def test_the_stationary_variance_of_langevin_dynamics(form, factor):
    """v / (1 - alpha / 4 v) with the survey's step alpha: 0.5556 for v = 0.5, alpha = 0.2."""
    v, alpha = 0.5, 0.2

    def run(noise, batch):
        z = noise.normal("start", 0, (batch, 1, 1, 1))
        for draw in range(60):
            z = langevin_step(z, -z / v, noise.normal("step", draw, z.shape), size=alpha / factor, form=form)
        return z

    _, variance = affine_moments(run)
    assert variance.item() == pytest.approx(v / (1 - alpha / (4 * v)), rel=1e-9)
    assert variance.item() == pytest.approx(0.5556, abs=5e-5)


def test_langevin_dynamics_diverges_beyond_four_variances():
    z = one(1.0)
    for _ in range(50):
        z = langevin_step(z, -z / 0.5, one(0.0), size=2.1)
    assert z.abs().item() > 50.0


@pytest.mark.parametrize("form", ["survey", "released"])
@pytest.mark.parametrize("bridge", [VE(Geometric(high=1.0)), VP(LinearSDE())], ids=["ve", "vp"])
def test_annealed_langevin_reaches_the_prior(form, bridge):
    """Exact moments: after the last level the chain of that level is stationary, then the estimate is taken."""
    last = 0.5 if isinstance(bridge, VE) else 0.1
    grid = (*(last + 0.08 * i for i in range(5, -1, -1)), 0.0)
    a, _, s = bridge.coefficients(last)
    sigma = s / a
    rate, repeats = 0.12 * sigma**2, 250
    moves: list[Move] = []

    def run(noise, batch):
        start = noise.normal("other", 0, (batch, 1, 1, 1))
        return annealed_langevin(
            PRIOR.denoiser(bridge),
            bridge=bridge,
            noise=noise,
            grid=grid,
            start=start,
            rate=rate,
            repeats=repeats,
            form=form,
            callback=moves.append,
        )

    mean, variance = affine_moments(run)
    alpha = rate * (2.0 if form == "released" else 1.0)
    v = 0.25 + sigma**2
    level = v / (1 - alpha / (4 * v))
    assert mean.item() == pytest.approx(0.3, abs=2e-2)
    assert variance.item() == pytest.approx((0.25 / v) ** 2 * level, rel=2e-2)
    assert [(m.t, m.r) for m in moves[:6]] == list(zip(grid, grid[1:], strict=False))


def test_annealed_langevin_of_one_level_is_the_plain_chain():
    bridge, noise = VE(Geometric(high=1.0)), Noise(4)
    shape = (1, 1, 3, 3)
    z = start = noise.normal("other", 0, shape)
    for draw in range(7):
        denoised = PRIOR.denoiser(bridge)(z, 0.5).y
        pull = (denoised - z) / 0.1**2
        z = z + 1e-3 * pull + math.sqrt(2e-3) * noise.normal("step", draw, shape)
    found = annealed_langevin(
        PRIOR.denoiser(bridge), bridge=bridge, noise=noise, grid=(0.5, 0.0), start=start, rate=1e-3, repeats=7
    )
    assert torch.allclose(found, PRIOR.denoiser(bridge)(z, 0.5).y, atol=1e-12)


def test_predictor_corrector_keeps_pictures_of_a_batch_apart():
    bridge = VE(Geometric())
    noise = Noise(0, pictures=(5, 6))
    grid = bridge.grid(12)
    denoise = TwoPointPrior().denoiser(bridge)

    def run(source, batch):
        return sample(
            denoise,
            bridge=bridge,
            noise=source,
            grid=grid,
            shape=(batch, 1, 6, 6),
            step=reverse_diffusion,
            after=LangevinCorrector(bridge, steps=2),
        )

    whole = run(noise, 2)
    for item, picture in enumerate((5, 6)):
        assert torch.equal(whole[item : item + 1], run(Noise(0, pictures=(picture,)), 1))


def test_the_corrector_takes_songs_step():
    bridge, noise = VP(LinearSDE()), Noise(3)
    z = noise.normal("z", 0, (1, 2, 4, 4))
    eps = noise.normal("eps", 0, z.shape)
    corrector = LangevinCorrector(bridge, factor=retained(bridge, 1000))
    found, carry = corrector(z, 0.4, PRIOR.denoiser(bridge), lambda: eps, "kept")
    pull = score(bridge, z, PRIOR.denoiser(bridge)(z, 0.4), None, 0.4)
    alpha = 1 - (bridge.coefficients(0.4)[0] / bridge.coefficients(0.399)[0]) ** 2
    size = 2 * (1 - alpha) * (0.16 * eps.norm() / pull.norm()) ** 2
    assert torch.allclose(found, z + size * pull + (2 * size).sqrt() * eps, atol=1e-12) and carry == "kept"
    assert corrector(z, 0.0, PRIOR.denoiser(bridge), lambda: eps, None)[0] is z


@pytest.mark.parametrize("bridge", [VP(LinearSDE()), VE(Geometric())], ids=["vp", "ve"])
def test_corrections_of_a_walk_have_the_factor_of_its_steps(bridge):
    make = corrections(steps=2, ratio=0.3)
    assert make is not None and corrections(steps=0, ratio=0.3) is None
    after = make(bridge, None, 100)
    assert isinstance(after, LangevinCorrector) and after.bridge is bridge and (after.steps, after.ratio) == (2, 0.3)
    wanted = 1.0 if isinstance(bridge, VE) else retained(bridge, 100)(0.4)
    assert after.factor is not None and after.factor(0.4) == wanted


def test_the_corrector_brings_a_wrong_distribution_nearer():
    """Steps that draw their noise anew lose variance; corrections between them bring it back."""
    bridge = VP(LinearSDE())
    stds = []
    for after in (None, LangevinCorrector(bridge, ratio=0.3, steps=3, factor=retained(bridge, 1000))):
        z = sample(
            PRIOR.denoiser(bridge),
            bridge=bridge,
            noise=Noise(0),
            grid=bridge.grid(30),
            shape=(1, 1, 64, 64),
            step=ancestral,
            after=after,
        )
        stds.append(z.std().item())
    assert abs(stds[1] - 0.5) < abs(stds[0] - 0.5)


# The adaptive solver.


def test_the_runge_kutta_method_has_its_order_and_both_directions():
    """dz/dt = -z + sin t, whose solution is known; the error follows the tolerance."""

    def exact(t):
        return 2.5 * math.exp(-t) + 0.5 * (math.sin(t) - math.cos(t))

    for first, last in ((0.0, 4.0), (4.0, 0.0)):
        errors = []
        for tolerance in (1e-4, 1e-7, 1e-10):
            z = integrate(
                lambda z, t: math.sin(t) - z, one(exact(first)), first=first, last=last, rtol=tolerance, atol=tolerance
            )
            errors.append(abs(z.item() - exact(last)))
        assert errors[2] < 1e-8 and errors[2] < errors[1] < errors[0] < 1e-1


@pytest.mark.parametrize("bridge", BRIDGES)
def test_the_adaptive_solver_follows_the_flow(bridge):
    bridge = BRIDGES[bridge]
    x, z = one(0.1), one(0.4)
    found = adaptive(
        PRIOR.denoiser(bridge, x),
        bridge=bridge,
        noise=Noise(0),
        grid=(0.9, 0.4, 0.08),
        x_state=x,
        start=z,
        rtol=1e-9,
        atol=1e-9,
    )
    assert found.item() == pytest.approx(PRIOR.flow(bridge, z, x, 0.08, 0.9).item(), abs=1e-7)


def test_the_adaptive_solver_takes_ends_as_the_steps_do():
    bridge, x = Pinned(0.141027), torch.full((1, 1, 64, 64), 0.1, dtype=torch.float64)
    moves: list[Move] = []
    y = adaptive(
        PRIOR.denoiser(bridge, x),
        bridge=bridge,
        noise=Noise(0),
        grid=(1.0, 0.999, 1e-3, 0.0),
        x_state=x,
        callback=moves.append,
    )
    # What the one stochastic step to 0.999 leaves is carried on by the exact flow.
    _, _, s = bridge.coefficients(0.999)
    assert y.std().item() == pytest.approx(0.5, rel=0.05) and len(moves) == 3 and moves[1].estimate is None
    assert s > 0.0


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: LangevinCorrector(ResShift(), ratio=0.0), "ratio 0.0"),
        (lambda: LangevinCorrector(ResShift(), steps=0), "steps 0"),
        (lambda: retained(ResShift(), 0), "steps 0"),
        (lambda: langevin_step(one(0), one(0), one(0), size=1.0, form="x"), "form 'x'"),  # pyright: ignore
        (
            lambda: LangevinCorrector(Pinned(0.0), one(0))(one(0), 0.5, PRIOR.denoiser(Pinned(0.0)), lambda: one(0), 0),
            "no noise at 0.5",
        ),
        (lambda: integrate(lambda z, t: z, one(1), first=0, last=1, rtol=0.0), "tolerances 0.0"),
        (
            lambda: euler_maruyama(Pinned(0.0), one(0), Estimate(one(0)), one(0), 0.5, 0.2, one(0)),
            "needs noise.*use ancestral",
        ),
    ],
)
def test_wrong_uses_are_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_loops_refuse_what_they_cannot_walk():
    langevin = partial(annealed_langevin, PRIOR.denoiser(VP(LinearSDE())), noise=Noise(0), shape=(1, 1, 1, 1))
    solver = partial(adaptive, PRIOR.denoiser(VP(LinearSDE())), noise=Noise(0), shape=(1, 1, 1, 1))
    with pytest.raises(ValueError, match="does not fall"):
        langevin(bridge=VP(LinearSDE()), grid=(1.0, 0.5, 0.7))
    with pytest.raises(ValueError, match="needs signal and noise at every level"):
        langevin(bridge=Pinned(0.1), grid=(1.0, 0.5, 0.0))
    with pytest.raises(ValueError, match="rate 0"):
        langevin(bridge=VP(LinearSDE()), grid=(1.0, 0.0), rate=0.0)
    with pytest.raises(ValueError, match="put a small time between"):
        solver(bridge=VP(LinearSDE()), grid=(1.0, 0.0))
    with pytest.raises(ValueError, match="has no noise at 0.5"):
        solver(bridge=Pinned(0.0), grid=(1.0, 0.5, 0.0), x_state=one(0.0))
    for loop in (langevin, solver):
        with pytest.raises(ValueError, match="an operator on y"):
            loop(bridge=SoftBlur(), grid=(1.0, 0.5, 0.0), x_state=one(0.0))
    with pytest.raises(RuntimeError, match="steps from 0.0 reach only"):
        integrate(lambda z, t: 1e3 * z, one(1.0), first=0.0, last=1.0, limit=3)
