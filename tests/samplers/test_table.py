"""The table of samplers, steps along known paths, and every sampler on linear-Gaussian super-resolution."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial

import pytest
import torch

from mezzotint.bridges import NAMED, VP, Animorphosis, Bridge, InDI, MeanReverting, Pinned, ResShift, SoftBlur, named
from mezzotint.noise import Noise
from mezzotint.samplers import (
    LOOPS,
    SAMPLERS,
    Estimate,
    ancestral,
    annealed_langevin,
    build,
    carry_step,
    cold,
    count_evaluations,
    ddim,
    indi,
    momentum,
    sample,
)
from mezzotint.samplers.coordinates import noise_level, times_of
from mezzotint.samplers.loop import Staged
from mezzotint.schedules import LinearSDE, Proportional, cosine
from mezzotint.testing import (
    GaussianField,
    GaussianPrior,
    LinearGaussian,
    TwoPointPrior,
    affine_moments,
    check_sampler,
    measure_order,
    propagate,
)

BRIDGES = {"vp": VP(LinearSDE()), "resshift": ResShift(), "pinned": Pinned(0.141027), "indi": InDI(0.3)}
BLUR = SoftBlur((0.0, 3.0), Proportional(0.01, 0.5))
PATHS = {"cold1", "cold2", "momentum"}
# Kept in the limit of short steps only.
DISCRETISED = {"euler-maruyama", "reverse-diffusion"}


def one(value: float) -> torch.Tensor:
    return torch.full((1, 1, 1, 1), value, dtype=torch.float64)


def fields(count: int) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(2, 3, 4, 8, generator=generator, dtype=torch.float64) for _ in range(count)]


@pytest.mark.parametrize("name", [name for name, row in SAMPLERS.items() if row.order is not None])
def test_rows_have_the_order_that_they_state(name):
    row = SAMPLERS[name]
    bridge = next(bridge for bridge in BRIDGES.values() if row.can_serve(bridge))
    found = measure_order(row.build(), bridge=bridge, stochastic=row.stochastic)
    assert row.order is not None and (found == pytest.approx(row.order, abs=0.16) or found > row.order)


@pytest.mark.parametrize("name", SAMPLERS)
def test_rows_hold_what_they_state(name):
    """Evaluations, noise and history as stated, on the first bridge that the row serves."""
    row = SAMPLERS[name]
    bridge = next(b for b in (*BRIDGES.values(), Animorphosis(cosine(20))) if row.can_serve(b))
    asked, drawn, x = [], [], one(0.1)
    step = row.build()

    def denoise(z, t):
        asked.append(t)
        return Estimate(0.3 + 0.1 * z)

    class Source:
        def normal(self, stream, draw, shape, **options):
            drawn.append(stream)
            return Noise(0).normal(stream, draw, shape, **options)

        def uniform(self, stream, draw, count):
            raise AssertionError

    grid = (0.9, 0.6, 0.4, 0.2)
    sample(denoise, bridge=bridge, noise=Source(), grid=grid, x_state=x, start=one(0.4), step=step)
    assert len(asked) == row.evaluations * 3 == count_evaluations(grid, step=step, bridge=bridge)
    assert ("step" in drawn) == row.stochastic
    assert getattr(step, "multistep", False) == row.multistep
    assert isinstance(step, Staged) == (row.evaluations > 1)


@pytest.mark.parametrize("name", [name for name in SAMPLERS if name not in PATHS])
def test_rows_conform(name):
    row = SAMPLERS[name]
    bridge = next(bridge for bridge in BRIDGES.values() if row.can_serve(bridge))
    check_sampler(
        row.build(),
        bridge=bridge,
        steps=(48, 144) if row.stochastic else (24, 96),
        converges=row.order is not None,
        keeps_marginals=name not in DISCRETISED,
    )


@pytest.mark.parametrize("name", NAMED)
def test_coefficients_do_not_depend_on_the_default_device(name):
    """Under a default device without numbers, `meta`, on which large networks are built, and afterwards."""
    with torch.device("meta"):
        bridge = named(name)
        able = [row.can_serve(bridge) for row in SAMPLERS.values()]
        inside = [bridge.coefficients(t) for t in (0.25, 1.0)] if bridge.scalar else []
        grid = bridge.grid(4)
    other = named(name)
    assert able == [row.can_serve(other) for row in SAMPLERS.values()] and grid == other.grid(4)
    assert inside == ([bridge.coefficients(t) for t in (0.25, 1.0)] if bridge.scalar else [])


@pytest.mark.parametrize("name", SAMPLERS)
def test_every_named_bridge_is_served_or_refused(name):
    """From the bridge's start to a finite picture on three kinds of grid, or an error that names what to use."""
    row = SAMPLERS[name]
    for bridge_name in NAMED:
        bridge = named(bridge_name)
        x = Noise(5).normal("x", 0, (1, 1, 8, 8)) * 0.5
        if not row.can_serve(bridge):
            with pytest.raises(ValueError, match="use ancestral, ddim"):
                build(name, bridge=bridge)
            continue
        for grid in ((1.0, 0.6, 0.55, 0.2, 0.0), (1.0, 0.0), (1.0, 0.9, 0.1, 0.05)):
            z = sample(
                lambda z, t: Estimate(torch.tanh(z)),
                bridge=bridge,
                noise=Noise(0),
                grid=grid,
                x_state=x,
                step=build(name, bridge=bridge),
            )
            assert torch.isfinite(z).all(), (bridge_name, grid)


def test_unknown_names_and_loops_are_told_apart():
    assert set(LOOPS) == {"adaptive", "annealed-langevin"} and LOOPS["annealed-langevin"] is annealed_langevin
    with pytest.raises(ValueError, match="LOOPS\\['adaptive'\\] instead of sample"):
        build("adaptive")
    with pytest.raises(ValueError, match="sampler 'euler' is none of ancestral"):
        build("euler")
    with pytest.raises(ValueError, match="use ancestral, ddim or one of indi, cold1, cold2|cold1, cold2"):
        build("heun", bridge=Pinned(0.0))
    assert build("ddim", bridge=Pinned(0.0)) is ddim


# Steps along known paths.


def test_cold_diffusion_towards_another_picture_is_ddim_of_it():
    """With the picture estimated from the state both algorithms are DDIM, and algorithm 1 is k = 0, 2 is k = 1."""
    bridge, (y, z) = Animorphosis(cosine(200)), fields(2)
    for t, r in ((0.5, 0.495), (0.9, 0.3), (0.2, 0.0)):
        a, b, _ = bridge.coefficients(t)
        x = (z - a * y) / b
        wanted, _ = ddim(VP(cosine(200)), z, Estimate(y), None, t, r, None)
        for algorithm in (1, 2):
            found, _ = cold(bridge, z, Estimate(y), x, t, r, None, algorithm=algorithm)
            assert torch.allclose(found, wanted, atol=1e-12)
            same, _ = carry_step(bridge, z, Estimate(y), x + 1.0, t, r, None, k=algorithm - 1.0)
            found, _ = cold(bridge, z, Estimate(y), x + 1.0, t, r, None, algorithm=algorithm)
            assert torch.allclose(found, same, atol=1e-12)


def test_the_second_algorithm_is_exact_for_absurd_estimates_on_a_line():
    """D_t(y) = y + t e with a known e: algorithm 2 returns y whatever is estimated, algorithm 1 does not."""

    @dataclass(frozen=True)
    class Line(Animorphosis):
        def mean(self, y, x_state, t):
            return y - 0.9 * t

    ends = [
        sample(
            lambda z, t: Estimate(0.3 * z - 5.0),
            bridge=Line(cosine(20)),
            noise=Noise(0),
            grid=tuple(i / 10 for i in range(10, -1, -1)),
            start=one(0.7 - 0.9),
            step=partial(cold, algorithm=algorithm),
        ).item()
        for algorithm in (1, 2)
    ]
    assert abs(ends[0] - 0.7) > 1.0 and ends[1] == pytest.approx(0.7, abs=1e-12)


def test_momentum_is_the_reverse_step_of_an_operator():
    """z + (C_r - C_t) y + (s_t^2 - s_r^2) score: the one step with k = s_r^2 / s_t^2, noise of the posterior."""
    bridge, (y, z, eps) = BLUR, fields(3)
    for t, r in ((0.8, 0.5), (0.3, 0.29)):
        s_t, s_r = 0.5 * t, 0.5 * r
        pull = (bridge.mean(y, None, t) - z) / s_t**2
        mean = z + bridge.mean(y, None, r) - bridge.mean(y, None, t) + (s_t**2 - s_r**2) * pull
        found, _ = momentum(bridge, z, Estimate(y), None, t, r, eps)
        assert torch.allclose(found, mean + s_r * math.sqrt(1 - s_r**2 / s_t**2) * eps, atol=1e-12)
        assert torch.allclose(found, ancestral(bridge, z, Estimate(y), None, t, r, eps)[0], atol=1e-12)
        published, _ = momentum(bridge, z, Estimate(y), None, t, r, eps, published=True)
        assert torch.allclose(published, mean + math.sqrt(s_t**2 - s_r**2) * eps, atol=1e-12)
    assert torch.allclose(momentum(bridge, z, Estimate(y), None, 0.4, 0.0, eps)[0], y, atol=1e-12)


def test_a_known_sample_is_followed_through_operator_and_noise():
    """With y known the momentum walk keeps every marginal: mean C_r y, deviation s_r."""
    bridge, y = BLUR, torch.linspace(-1, 1, 8, dtype=torch.float64).reshape(1, 1, 1, 8)
    noise, count = Noise(0, pictures=tuple(range(4000))), 4000
    start = bridge.mean(y, None, 1.0) + 0.5 * noise.normal("start", 0, (count, 1, 1, 8))
    z = sample(
        lambda z, t: Estimate(y.expand(z.shape)),
        bridge=bridge,
        noise=noise,
        grid=(1.0, 0.7, 0.5, 0.3),
        start=start,
        step=momentum,
    )
    assert (z.mean(0) - bridge.mean(y, None, 0.3)[0]).abs().max() < 5 * 0.15 / math.sqrt(count)
    assert (z.std(0) - 0.15).abs().max() < 5 * 0.15 / math.sqrt(2 * count)


INDI = {
    0.01: {4: 0.0295, 15: 0.1086, 100: 0.1839, 1000: 0.1983},
    0.1: {4: 0.1362, 15: 0.1811, 100: 0.1971, 1000: 0.1997},
}


@pytest.mark.parametrize("e", INDI)
def test_indi_figures(e):
    """Standard deviations of InDI's output for y ~ N(0.5, 0.2^2), x = 0.1; four digits."""
    bridge = InDI(e)
    for steps, figure in INDI[e].items():
        mean, std = propagate(indi, bridge=bridge, grid=bridge.grid(steps), prior=GaussianPrior(0.5, 0.2))
        assert std == pytest.approx(figure, abs=5.1e-5)
        assert 0.4991 < mean < 0.50005


def test_ir_sde_figures():
    """The same for IR-SDE's exact posterior with lambda = 10 / 255, its own schedule in as many steps."""
    for steps, figure in {4: 0.1162, 15: 0.1644, 100: 0.1935, 1000: 0.1993}.items():
        bridge = MeanReverting.ir_sde(steps=steps, max_sigma=5.0)
        mean, std = propagate(ancestral, bridge=bridge, grid=bridge.grid(steps), prior=GaussianPrior(0.5, 0.2))
        assert std == pytest.approx(figure, abs=5.1e-5)
        assert 0.4975 < mean < 0.50005


@pytest.mark.parametrize(("e", "share"), [(0.1, 1.0), (0.0, 0.0)])
def test_indi_reaches_two_points_with_noise_alone(e, share):
    """The share of outputs within 0.1 of +-1: all of them, or none, as without noise the way is one regression."""
    bridge, x = InDI(e), torch.zeros(1, 1, 64, 64, dtype=torch.float64)
    denoise = TwoPointPrior().denoiser(bridge, x)
    y = sample(denoise, bridge=bridge, noise=Noise(1), grid=bridge.grid(15), x_state=x, step=indi)
    assert ((y.abs() - 1.0).abs() < 0.1).double().mean().item() == pytest.approx(share, abs=5e-3)


@pytest.mark.parametrize("bridge", [ResShift(), Pinned(0.141027), InDI(0.1), Pinned(0.0)])
def test_indi_is_the_posterior_without_the_small_picture(bridge):
    y, x, z, eps = fields(4)
    for t, r in ((1.0, 0.8), (0.6, 0.3), (0.2, 0.0)):
        wanted, _ = ancestral(bridge, z, Estimate(y), x, t, r, eps)
        assert torch.allclose(indi(bridge, z, Estimate(y), None, t, r, eps)[0], wanted, atol=1e-9)
    # One step is the regressor itself.
    assert torch.equal(indi(bridge, z, Estimate(y), None, 1.0, 0.0, None)[0], y)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda z: cold(ResShift(), z, Estimate(z), z, 0.5, 0.3, None), "use carry_step with k = 1"),
        (lambda z: cold(Pinned(0.0), z, Estimate(z), z, 0.5, 0.3, None, algorithm=3), "not 3"),
        (lambda z: cold(Pinned(0.0), z, Estimate(z), z, 0.3, 0.5, None), "up is bridge.renoise"),
        (lambda z: momentum(Pinned(0.1), z, Estimate(z), z, 0.9, 0.6, z), "does not fall"),
        (lambda z: momentum(BLUR, z, Estimate(z), z, 0.9, 0.6, None), "give it noise"),
        (lambda z: indi(VP(LinearSDE()), z, Estimate(z), z, 0.9, 0.6, z), "no straight way"),
        (lambda z: indi(ResShift(), z, Estimate(z), z, 0.9, 0.6, None), "give it noise"),
    ],
)
def test_wrong_steps_are_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call(one(0.0))


# Linear-Gaussian super-resolution: 2x2 values seen as the mean of two rows, with noise.


def problem() -> tuple[LinearGaussian, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    root = torch.randn(4, 4, generator=generator, dtype=torch.float64)
    mean, x = 0.5 * torch.randn(2, 4, generator=generator, dtype=torch.float64)
    operator = torch.tensor([[0.5, 0.5, 0.0, 0.0], [0.0, 0.0, 0.5, 0.5]], dtype=torch.float64)
    covariance = root @ root.T / 4 + 0.2 * torch.eye(4, dtype=torch.float64)
    return LinearGaussian(GaussianField(mean, covariance), operator, 0.3), x[:2]


def levels(bridge: Bridge, steps: int, low: float = 0.01) -> tuple[float, ...]:
    """From t = 1 to 0, in between noise levels uniform in the logarithm; the step from a pinned end shrinks too."""
    high = min(50.0, noise_level(bridge, 1.0 - 0.02 / steps))
    return (1.0, *times_of(bridge, [high * (low / high) ** (i / (steps - 2)) for i in range(steps - 1)]), 0.0)


def moments(name: str, bridge: Bridge, field: GaussianField, steps: int) -> tuple[torch.Tensor, torch.Tensor]:
    def run(noise, batch):
        x_state = torch.full((batch, 1, 2, 2), 0.1, dtype=torch.float64)
        # The state that the distribution really leaves, for bridges whose own start is off by design.
        a, _, s = bridge.coefficients(1.0)
        values, vectors = torch.linalg.eigh(a**2 * field.covariance + s**2 * torch.eye(4, dtype=torch.float64))
        eps = noise.normal("prior", 0, (batch, 1, 2, 2)).flatten(1) * values.clamp(min=0.0).sqrt() @ vectors.T
        start = bridge.mean(field.mean.reshape(1, 1, 2, 2).expand(x_state.shape), x_state, 1.0)
        return sample(
            field.denoiser(bridge, x_state),
            bridge=bridge,
            noise=noise,
            grid=levels(bridge, steps),
            x_state=x_state,
            start=start + eps.reshape(start.shape),
            step=build(name, bridge=bridge),
        )

    mean, covariance = affine_moments(run)
    return mean.flatten(), covariance


@pytest.mark.parametrize("bridge", ["resshift", "pinned"])
@pytest.mark.parametrize("name", [name for name in SAMPLERS if SAMPLERS[name].order is not None and name != "momentum"])
def test_linear_gaussian_super_resolution(name, bridge):
    """Mean and covariance tend to the exact posterior's as the grid is refined, for every sampler and bridge."""
    task, x = problem()
    field, bridge = task.given(x), BRIDGES[bridge]
    few, many = (20, 40) if SAMPLERS[name].stochastic else (20, 80)
    errors = []
    for steps in (few, many):
        mean, covariance = moments(name, bridge, field, steps)
        off = (mean - field.mean).abs().max() + (covariance - field.covariance).abs().max()
        errors.append(off.item())
    assert errors[1] < 0.75 * errors[0] or errors[1] < 2e-3


@pytest.mark.parametrize("name", ["ancestral", "ddim", "euler-maruyama", "reverse-diffusion"])
def test_every_sampler_is_its_own_affine_recursion(name):
    """The moments by injected noise equal those of a recursion written with matrices, in the eigenvectors' basis."""
    task, x = problem()
    field, bridge = task.given(x), BRIDGES["vp"]
    mean, covariance = moments(name, bridge, field, 12)
    values, vectors = torch.linalg.eigh(field.covariance)
    grid = levels(bridge, 12)
    a, _, s = bridge.coefficients(1.0)
    center, power = a * (vectors.T @ field.mean), a**2 * values + s**2
    for t, r in zip(grid, grid[1:], strict=False):
        (a_t, _, s_t), (a_r, _, s_r) = bridge.coefficients(t), bridge.coefficients(r)
        gain = a_t * values / (a_t**2 * values + s_t**2)
        # y_hat = gain z + (1 - a gain) mean; score = (a y_hat - z) / s^2; z_r = p z + q y_hat + noise.
        if name == "ancestral" or r == 0.0:
            k = (a_t / a_r) * s_r**2 / s_t**2
            p, q, added = k, a_r - k * a_t, s_r**2 - k**2 * s_t**2
        elif name == "ddim":
            k = s_r / s_t
            p, q, added = k, a_r - k * a_t, 0.0
        elif name == "euler-maruyama":
            rate = 0.1 + 19.9 * t
            p, q = 1 + (t - r) * (0.5 * rate - rate / s_t**2), (t - r) * rate * a_t / s_t**2
            added = rate * (t - r)
        else:
            rho = a_t / a_r
            added = s_t**2 - rho**2 * s_r**2
            p, q = 2 - rho - added / s_t**2, added * a_t / s_t**2
        slope = p + q * gain
        center = slope * center + q * (1 - a_t * gain) * (vectors.T @ field.mean)
        power = slope**2 * power + added
    assert torch.allclose(mean, vectors @ center, atol=1e-6, rtol=1e-6)
    assert torch.allclose(covariance, vectors * power @ vectors.T, atol=1e-6, rtol=1e-6)
