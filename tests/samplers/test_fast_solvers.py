"""DPM-Solver++, UniPC, Heun and the SDE solver against figures, identities and orders on Gaussian priors."""

from __future__ import annotations

import math
from functools import cache, partial

import pytest
import torch

from mezzotint import schedules
from mezzotint.bridges import VE, VP, Bridge, Pinned, ResShift, SoftBlur
from mezzotint.noise import Noise
from mezzotint.samplers import (
    DPMSolver,
    DPMSolverSDE,
    Estimate,
    Heun,
    UniPC,
    ancestral,
    churn,
    count_evaluations,
    ddim,
    sample,
)
from mezzotint.samplers.coordinates import noise_level, time_of, times_of
from mezzotint.schedules import LinearSDE, Proportional, ShiftedCosine
from mezzotint.testing import GaussianPrior, check_sampler, measure_order

PRIOR = GaussianPrior(0.3, 0.5)
BRIDGES = {"vp": VP(LinearSDE()), "resshift": ResShift(), "pinned": Pinned(0.141027)}


def one(value: float) -> torch.Tensor:
    return torch.full((1, 1, 1, 1), value, dtype=torch.float64)


def walk(step, *, bridge, grid, start, prior=PRIOR, x=0.1):
    return sample(
        prior.denoiser(bridge, one(x)),
        bridge=bridge,
        noise=Noise(0),
        grid=grid,
        step=step,
        start=one(start),
        x_state=one(x),
    ).item()


@cache
def karras(steps: int) -> tuple[float, ...]:
    """EDM's grid of noise levels and then 0, as times of its bridge."""
    return VE(Proportional()).grid(steps, spacing="karras")


def even(bridge: Bridge, steps: int, low: float = -3.0, high: float = 3.0) -> list[float]:
    """Times between which half the log-SNR grows by equal amounts."""
    return list(times_of(bridge, [math.exp(-(low + (high - low) * i / steps)) for i in range(steps + 1)]))


EDM = {
    10: (0.66384352, 0.90751126, 0.87721396),
    18: (0.72144507, 0.82564604, 0.82914830),
    40: (0.76310758, 0.80298358, 0.80329795),
    160: (0.78928765, 0.79839249, 0.79839651),
}


@pytest.mark.parametrize("steps", EDM)
def test_edm_figures(steps):
    """N(0.3, 0.25) from 80 at noise level 80, on EDM's grid and then 0: eight digits; exact end 0.7981152713."""
    bridge = VE(Proportional())
    assert PRIOR.flow(bridge, one(80.0), None, 0.0, 1.0).item() == pytest.approx(0.7981152713, abs=5e-11)
    for step, figure in zip((ddim, Heun(), DPMSolver()), EDM[steps], strict=True):
        assert walk(step, bridge=bridge, grid=karras(steps), start=80.0) == pytest.approx(figure, abs=6e-9)


def test_edm_orders():
    bridge = VE(Proportional())
    for step, figure in ((ddim, 0.998), (Heun(), 2.019), (DPMSolver(), 2.029)):
        errors = []
        for steps in (160, 320):
            grid = karras(steps)[:-1]
            exact = PRIOR.flow(bridge, one(80.0), None, grid[-1], 1.0).item()
            errors.append(abs(walk(step, bridge=bridge, grid=grid, start=80.0) - exact))
        assert math.log2(errors[0] / errors[1]) == pytest.approx(figure, abs=6e-4)


FAST = {
    "order 1": (ddim, 0.7261760132, 4.57e-3, 0.99),
    "2m": (DPMSolver(2), 0.8015513537, 4.07e-5, 1.99),
    "3m released": (DPMSolver(3, released=True), 0.8044160346, 1.40e-5, 2.04),
    "3m": (DPMSolver(3), 0.8022589149, 2.5e-8, None),
    "unipc2": (UniPC(2), 0.8029322211, 2.25e-6, 3.00),
    "unipc3": (UniPC(3), 0.7935919314, 4.6e-8, 3.91),
}


@pytest.mark.parametrize("row", FAST)
def test_fast_solvers_figures(row):
    """Half log-SNR from -3 to 3 in equal steps, z = 1: the end in 10 steps, the error in 160, the order before."""
    step, figure, error, order = FAST[row]
    bridge = VP(LinearSDE())
    exact = PRIOR.flow(bridge, one(1.0), None, even(bridge, 1)[1], even(bridge, 1)[0]).item()
    assert exact == pytest.approx(0.7944525132, abs=5e-11)
    ends = {steps: walk(step, bridge=bridge, grid=even(bridge, steps), start=1.0) for steps in (10, 80, 160)}
    assert ends[10] == pytest.approx(figure, abs=6e-11)
    errors = {steps: abs(end - exact) for steps, end in ends.items()}
    half = 0.5 * 10.0 ** (math.floor(math.log10(error)) - (1 if row in ("3m", "unipc3") else 2))
    assert errors[160] == pytest.approx(error, abs=1.01 * half)
    found = math.log2(errors[80] / errors[160])
    assert found > 3.0 if order is None else found == pytest.approx(order, abs=6e-3)


def test_second_order_on_the_table_of_ddpm():
    bridge = VP(schedules.linear(1000))
    grid = bridge.grid(50, spacing="nodes")[:-1]
    assert walk(DPMSolver(), bridge=bridge, grid=grid, start=1.0) == pytest.approx(0.8270029417, abs=5e-11)


@pytest.mark.parametrize("bridge", BRIDGES)
@pytest.mark.parametrize("steps", [1, 2, 3, 20])
def test_identities(bridge, steps):
    """UniP-1 is DDIM, UniP-2 is 2M, UniP-3 is 3M with its factor, SDE 2M without noise is 2M: on every bridge."""
    bridge = BRIDGES[bridge]
    for grid in (bridge.grid(steps), [0.93 - 0.8 * i / steps for i in range(steps + 1)]):
        run = partial(walk, bridge=bridge, grid=grid, start=0.4)
        assert run(UniPC(1, corrector=False)) == pytest.approx(run(ddim), abs=1e-12)
        assert run(UniPC(2, corrector=False)) == pytest.approx(run(DPMSolver(2)), abs=1e-12)
        assert run(UniPC(3, corrector=False)) == pytest.approx(run(DPMSolver(3)), abs=1e-12)
        if bridge.coefficients(grid[0])[2] > 0.0:
            assert run(DPMSolverSDE(eta=0.0)) == pytest.approx(run(DPMSolver(2)), abs=1e-12)


def test_the_sde_solver_of_first_order_is_ancestral_on_a_variance_preserving_bridge():
    bridge, y, z, eps = VP(LinearSDE()), one(0.3), one(-0.7), one(1.3)
    for t, r in ((1.0, 0.6), (0.5, 0.3), (0.2, 0.0)):
        first, _ = DPMSolverSDE()(bridge, z, Estimate(y), None, t, r, eps)
        second, _ = ancestral(bridge, z, Estimate(y), None, t, r, eps)
        assert first.item() == pytest.approx(second.item(), abs=1e-12)


def test_the_released_third_order_is_a_second_order():
    assert measure_order(DPMSolver(3, released=True), bridge=VP(LinearSDE())) < 2.3


@pytest.mark.parametrize("bridge", ["pinned", "vp-pure"])
@pytest.mark.parametrize(
    "step", [Heun(), DPMSolver(), DPMSolver(3), UniPC(), UniPC(3), DPMSolverSDE()], ids=lambda step: str(step)
)
def test_conformance(bridge, step):
    """Pinned ends and a start without any signal included."""
    bridge = BRIDGES.get(bridge, VP(ShiftedCosine(log_snr_min=-math.inf)))
    errors = check_sampler(step, bridge=bridge, steps=(8, 64))
    assert errors["known sample keeps the marginals"] < 1e-10


def test_churn_rises_by_edms_rule_and_asks_no_more():
    bridge = VE(Proportional())
    grid = karras(18)
    walked = churn(grid, bridge=bridge, amount=40.0, low=0.05, high=50.0)
    raised = 1.0 + min(40.0 / 18, math.sqrt(2.0) - 1.0)
    ups = [(t, r) for t, r in zip(walked, walked[1:], strict=False) if r > t]
    levels = [80.0 * t for t in grid]
    assert len(ups) == sum(0.05 <= level <= 50.0 for level in levels)
    for t, r in ups:
        assert r / t == pytest.approx(raised, rel=1e-9)
    assert [t for t in walked if t in grid] == list(grid)
    assert churn(grid, bridge=bridge, amount=0.0) == grid
    assert count_evaluations(walked, step=Heun(), bridge=bridge) == 2 * 18 - 1
    assert count_evaluations(grid, step=DPMSolver()) == 18


def test_churn_keeps_the_distribution_and_noise_can_be_inflated():
    """With the true variance of the estimate ancestral steps are exact, so moves up must be, too."""
    bridge, prior = VE(Proportional()), GaussianPrior(0.3, 0.5)
    grid = (*(t for t in karras(12) if t > 0.0),)
    x = torch.zeros(1, 1, 192, 192, dtype=torch.float64)
    start = 0.3 + math.hypot(0.5, 80.0) * Noise(3).normal("start", 0, x.shape)
    stds = []
    for inflate in (1.0, 1.2):
        z = sample(
            prior.denoiser(bridge, variance="exact"),
            bridge=bridge,
            noise=Noise(1),
            grid=churn(grid, bridge=bridge, amount=3.0),
            start=start,
            renoise_scale=inflate,
        )
        stds.append(z.std().item())
    assert stds[0] == pytest.approx(0.5, abs=4 * 0.5 / math.sqrt(2 * x.numel()) + 1e-4) and stds[1] > stds[0]


def test_heun_asks_as_often_as_it_says():
    asked = []
    bridge = Pinned(0.141027)
    denoise = PRIOR.denoiser(bridge, one(0.1))

    def counting(z, t):
        asked.append(t)
        return denoise(z, t)

    grid = bridge.grid(5)
    sample(counting, bridge=bridge, noise=Noise(0), grid=grid, x_state=one(0.1), step=Heun())
    # The pinned end and the clean one take one evaluation each.
    assert len(asked) == count_evaluations(grid, step=Heun(), bridge=bridge) == 8


def test_the_noise_level_and_its_time():
    for bridge in (*BRIDGES.values(), VE(Proportional())):
        for t in (0.02, 0.3, 0.77):
            assert time_of(bridge, noise_level(bridge, t)) == pytest.approx(t, rel=1e-9)
    assert noise_level(Pinned(0.1), 1.0) == math.inf
    with pytest.raises(ValueError, match="lies outside"):
        time_of(VE(Proportional()), 81.0)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: DPMSolver(4), "order 4"),  # pyright: ignore
        (lambda: DPMSolver(2, released=True), "third order only"),
        (lambda: DPMSolverSDE(-1.0), "eta -1.0"),
        (lambda: UniPC(0), "order 0"),  # pyright: ignore
        (lambda: UniPC(2, variant="b3"), "variant 'b3'"),  # pyright: ignore
        (lambda: walk(DPMSolver(), bridge=Pinned(0.0), grid=(1.0, 0.5, 0.2, 0.0), start=0.1), "needs noise.*ancestral"),
        (lambda: walk(Heun(), bridge=Pinned(0.0), grid=(0.9, 0.5, 0.0), start=0.1), "needs noise.*ancestral"),
        (lambda: walk(UniPC(), bridge=VP(LinearSDE()), grid=(1.0, 0.5, 0.7, 0.0), start=0.1), "a move up forgets"),
        (lambda: churn((1.0, 0.0), bridge=ResShift(), amount=-1.0), "churn -1.0"),
        (lambda: churn((1.0, 0.0), bridge=ResShift(), amount=1.0, low=2.0, high=1.0), "the first must be the smaller"),
        (lambda: count_evaluations((1.0, 0.0), step=Heun()), "depend on the bridge"),
        (lambda: DPMSolver()(ResShift(), one(0), Estimate(one(0), one(1)), one(0), 0.5, 0.3, None), "use ancestral or"),
        (lambda: DPMSolver()(SoftBlur(), one(0), Estimate(one(0)), None, 0.5, 0.3, None), "is an operator on y"),
        (lambda: UniPC()(ResShift(), one(0), Estimate(one(0)), one(0), 0.3, 0.5, None), "up is bridge.renoise"),
        (lambda: DPMSolverSDE()(ResShift(), one(0), Estimate(one(0)), one(0), 0.5, 0.3, None), "give it noise"),
    ],
)
def test_wrong_uses_are_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_a_multistep_sampler_bears_no_after_and_estimates_have_the_shape_of_the_state():
    arguments = {"bridge": VP(LinearSDE()), "noise": Noise(0), "grid": (1.0, 0.5, 0.0), "shape": (1, 1, 2, 2)}
    with pytest.raises(ValueError, match="which `after` changes"):
        sample(
            PRIOR.denoiser(VP(LinearSDE())), step=DPMSolver(), after=lambda z, r, d, n, carry: (z, carry), **arguments
        )
    with pytest.raises(ValueError, match="answers in the shape of the state"):
        sample(lambda z, t: Estimate(z[..., :1]), **arguments)
