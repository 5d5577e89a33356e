from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mezzotint import schedules
from mezzotint.bridges import (
    DDBM,
    NAMED,
    VE,
    VP,
    Bridge,
    Cold,
    Flow,
    InDI,
    MeanReverting,
    Pinned,
    Pixelate,
    ResShift,
    Shifted,
    SoftBlur,
    SubVP,
    named,
)
from mezzotint.noise import Noise
from mezzotint.operators.resize import imresize
from mezzotint.samplers import ancestral, sample
from mezzotint.schedules import Geometric, LinearSDE, Proportional, ShiftedCosine, Table
from mezzotint.testing import GaussianPrior, TwoPointPrior, check_bridge, propagate

# Every named bridge in its published configuration, and others of its type.
BRIDGES: dict[str, Bridge] = {
    **{name: build() for name, build in NAMED.items()},
    "vp-sr3-100": VP(schedules.sr3(100)),
    "vp-table-to-noise": VP(Table((0.1, 0.4, 1.0))),
    "vp-shifted-cosine-to-noise": VP(ShiftedCosine(log_snr_min=-math.inf)),
    "sub-vp-table": SubVP(schedules.linear(100, start=1e-3, end=0.15)),
    "ncsn-1": VE(schedules.geometric(1)),
    "resshift-1": ResShift(1),
    "resshift-wide": ResShift(50, kappa=0.7, power=1.0, min_noise=0.1, end=1.0),
    "pinned": Pinned(0.141027),
    "i2sb-deblurring": Pinned.i2sb(beta_max=1.0),
    "ddbm-sub-vp": DDBM(SubVP(LinearSDE(0.1, 2.1))),
    "ddbm-ncsn": DDBM(VE(schedules.geometric(10))),
    "indi-noisy": InDI(0.1),
    "indi-noise-free": InDI(0.0),
    "indi-strong-decay": InDI(0.2, decay=0.8),
    "shifted-edm": Shifted(VE(schedules.Proportional()), offset=-0.5),
    "soft-blur-table": SoftBlur((0.0, 0.5, 0.5, 3.0), schedules.geometric(5, low=0.05, high=0.3)),
    "cold-1": Cold(Pixelate(1)),
}
SCALAR = [name for name, bridge in BRIDGES.items() if bridge.scalar]
FIELD = (2, 3, 4, 5)


def scalar(value: float) -> torch.Tensor:
    return torch.full((1, 1, 1, 1), value, dtype=torch.float64)


def posterior(bridge: Bridge, r: float, t: float) -> tuple[float, float, float, float]:
    """Coefficients of y, x and z and the variance of q(z_r | z_t, y, x), read off `Bridge.posterior`."""
    zero, one = scalar(0.0), scalar(1.0)
    of_y = bridge.posterior(zero, one, zero, r, t)[0].item()
    of_x = bridge.posterior(zero, zero, one, r, t)[0].item()
    mean, std = bridge.posterior(one, zero, zero, r, t)
    return of_y, of_x, mean.item(), float(std) ** 2


@pytest.mark.parametrize("name", BRIDGES)
def test_conformance(name):
    errors = check_bridge(BRIDGES[name])
    rates = {identity for identity in errors if identity.startswith(("rate", "drift", "diffusion", "velocity"))}
    assert len(errors) - len(rates) >= 20 and max(errors[name] for name in errors.keys() - rates) < 1e-9
    assert len(rates) >= 4 or not BRIDGES[name].scalar


@pytest.mark.parametrize("name", SCALAR)
def test_posterior_is_the_conditional_of_the_joint_gaussian(name):
    """Brute force: Cov(z_r, z_t | y, x) = k s_t^2, so the pair's conditional must be the posterior."""
    bridge, rng = BRIDGES[name], np.random.default_rng(3)
    for _ in range(20):
        r, t = np.sort(rng.uniform(0.02, 0.999, 2)).tolist()
        (a_r, b_r, s_r), (a_t, b_t, s_t) = bridge.coefficients(r), bridge.coefficients(t)
        if s_t == 0.0:
            continue
        y, x, z = rng.normal(size=3).tolist()
        covariance = bridge.carry(r, t) * s_t**2
        mean = a_r * y + b_r * x + covariance / s_t**2 * (z - a_t * y - b_t * x)
        got, std = bridge.posterior(scalar(z), scalar(y), scalar(x), r, t)
        assert got.item() == pytest.approx(mean, abs=1e-12)
        assert float(std) ** 2 == pytest.approx(s_r**2 - covariance**2 / s_t**2, abs=1e-12)


@settings(max_examples=60, deadline=None)
@given(name=st.sampled_from(sorted(BRIDGES)), times=st.lists(st.floats(0.0, 1.0), min_size=3, max_size=3, unique=True))
def test_carries_and_variances_compose_at_any_times(name, times):
    bridge = BRIDGES[name]
    r, u, t = sorted(times)
    if u < 1e-6 or t - u < 1e-9:
        return
    k = bridge.carry(r, u)
    assert k * bridge.carry(u, t) == pytest.approx(bridge.carry(r, t), abs=1e-9)
    composed = bridge.variance(r, u) + k**2 * bridge.variance(u, t)
    assert composed == pytest.approx(bridge.variance(r, t), abs=1e-9)


# Published one-step transitions and posteriors.


def test_ddpm_transition_and_posterior():
    table = schedules.linear(60, start=1e-3, end=0.15)
    bridge, gamma = VP(table), table.gamma
    for i in range(1, 61):
        r, t, beta = (i - 1) / 60, i / 60, table.alpha[i - 1]
        moved = bridge.renoise(scalar(1.0), None, r, t, scalar(0.0)).item()
        added = bridge.renoise(scalar(0.0), None, r, t, scalar(1.0)).item()
        assert moved == pytest.approx(math.sqrt(1 - beta), abs=1e-12)
        assert added**2 == pytest.approx(beta, abs=1e-12)
        wanted = (
            math.sqrt(gamma[i - 1]) * beta / (1 - gamma[i]),
            0.0,
            math.sqrt(1 - beta) * (1 - gamma[i - 1]) / (1 - gamma[i]),
            beta * (1 - gamma[i - 1]) / (1 - gamma[i]),
        )
        assert posterior(bridge, r, t) == pytest.approx(wanted, abs=1e-11)


def test_vp_transition_and_posterior_between_any_two_levels():
    """Gain sqrt(q), variance 1 - q and the posterior with q = gamma_t / gamma_r."""
    bridge, rng = VP(LinearSDE()), np.random.default_rng(0)
    for _ in range(30):
        r, t = np.sort(rng.uniform(0, 1, 2)).tolist()
        gamma_r, gamma_t = bridge.coefficients(r)[0] ** 2, bridge.coefficients(t)[0] ** 2
        q = gamma_t / gamma_r
        of_y = math.sqrt(gamma_r) * (1 - q) / (1 - gamma_t)
        of_z = math.sqrt(q) * (1 - gamma_r) / (1 - gamma_t)
        wanted = (of_y, 0.0, of_z, (1 - gamma_r) * (1 - q) / (1 - gamma_t))
        assert posterior(bridge, r, t) == pytest.approx(wanted, abs=1e-12)
        assert of_y + of_z * math.sqrt(gamma_t) == pytest.approx(math.sqrt(gamma_r), abs=1e-12)
        assert bridge.renoise(scalar(1.0), None, r, t, scalar(0.0)).item() == pytest.approx(math.sqrt(q), abs=1e-12)


def test_resshift_transition_and_posterior():
    """The published chain z_t = z_(t-1) + alpha_t (x - y) + kappa sqrt(alpha_t) eps gives marginals and posteriors."""
    bridge = ResShift(60)
    eta = [bridge.coefficients(i / 60)[1] for i in range(61)]
    of_y, of_x, variance = 1.0, 0.0, 0.0
    for i in range(1, 61):
        alpha = eta[i] - eta[i - 1]
        of_y, of_x, variance = of_y - alpha, of_x + alpha, variance + 4.0 * alpha
        a, b, s = bridge.coefficients(i / 60)
        assert (a, b, s**2) == pytest.approx((of_y, of_x, variance), abs=1e-12)
        wanted = (alpha / eta[i], 0.0, eta[i - 1] / eta[i], 4.0 * eta[i - 1] / eta[i] * alpha)
        assert posterior(bridge, (i - 1) / 60, i / 60) == pytest.approx(wanted, abs=1e-11)


def test_resshift_chain_by_simulation():
    rng, bridge, y, x, count = np.random.default_rng(0), ResShift(60), 0.8, -0.4, 100_000
    eta = [bridge.coefficients(i / 60)[1] for i in range(61)]
    z = np.full(count, y)
    for before, after in itertools.pairwise(eta):
        z += (after - before) * (x - y) + 2.0 * math.sqrt(after - before) * rng.normal(size=count)
    a, b, s = bridge.coefficients(1.0)
    assert abs(z.mean() - a * y - b * x) < 5 * s / math.sqrt(count)
    assert abs(z.std() - s) < 5 * s / math.sqrt(2 * count)


def test_i2sb_marginal_posterior_and_forward_step():
    total = 0.14
    bridge = Pinned(total)
    for i in range(1, 61):
        r, t = (i - 1) / 60, i / 60
        forth, back = total * t, total * (1 - t)
        wanted = (back / (forth + back), forth / (forth + back), forth * back / (forth + back))
        a, b, s = bridge.coefficients(t)
        assert (a, b, s**2) == pytest.approx(wanted, abs=1e-12)
        step = forth - total * r
        wanted = (step / forth, 0.0, total * r / forth, total * r * step / forth)
        assert posterior(bridge, r, t) == pytest.approx(wanted, abs=1e-12)
        if i < 60:
            # The forward step of a Brownian bridge that is pinned at x does not look at y.
            gain = bridge.renoise(scalar(1.0), scalar(0.0), r, t, scalar(0.0)).item()
            drift = bridge.renoise(scalar(0.0), scalar(1.0), r, t, scalar(0.0)).item()
            assert gain == pytest.approx((1 - t) / (1 - r), abs=1e-12)
            assert drift == pytest.approx((t - r) / (1 - r), abs=1e-12)


def test_renoise_runs_at_the_rate_of_the_stochastic_equation():
    """Variance a unit of time of a short move up: the SDE's G^2, with the memory that renoise uses (g = a)."""
    h = 1e-5

    def rate(bridge: Bridge, t: float) -> float:
        return bridge.renoise(scalar(0.0), scalar(0.0), t, t + h, scalar(1.0)).item() ** 2 / h

    for t in (0.2, 0.5, 0.8):
        assert rate(Pinned(0.14), t) == pytest.approx(0.14, rel=1e-4)
        assert rate(VP(LinearSDE()), t) == pytest.approx(0.1 + 19.9 * t, rel=1e-3)


# Facts that follow from one formula.


@pytest.mark.parametrize("name", ["resshift", "resshift-4", "pinned", "i2sb", "ot-ode"])
def test_the_small_picture_is_absent_from_the_update(name):
    for r, t in itertools.pairwise((0.05, 0.2, 0.5, 0.9, 1.0)):
        of_y, of_x, of_z, _ = posterior(BRIDGES[name], r, t)
        assert abs(of_x) < 1e-12 and of_y + of_z == pytest.approx(1.0, abs=1e-12)


def test_one_brownian_posterior_in_the_clock_of_the_clean_end():
    for bridge in (ResShift(), Pinned(0.141027), Pinned.i2sb()):
        for r, t in itertools.pairwise((0.03, 0.2, 0.5, 0.9, 1.0)):
            f_r, f_t = bridge.brownian_variance(r), bridge.brownian_variance(t)
            wanted = (1 - f_r / f_t, 0.0, f_r / f_t, f_r * (1 - f_r / f_t))
            assert posterior(bridge, r, t) == pytest.approx(wanted, abs=1e-12)


def test_any_smaller_carry_keeps_the_marginals():
    rng = np.random.default_rng(1)
    for name in ("ddpm", "resshift", "i2sb"):
        bridge = BRIDGES[name]
        for _ in range(20):
            r, t = np.sort(rng.uniform(0.01, 0.99, 2)).tolist()
            eta = rng.uniform()
            k, std = bridge.transition(r, t, eta=eta)
            s_r, s_t = bridge.coefficients(r)[2], bridge.coefficients(t)[2]
            assert bridge.carry(r, t) - 1e-12 <= k <= s_r / s_t + 1e-12
            assert k**2 * s_t**2 + std**2 == pytest.approx(s_r**2, abs=1e-12)
            assert std == pytest.approx(eta * math.sqrt(bridge.variance(r, t)), abs=1e-12)


def test_a_pinned_end_is_left_by_a_stochastic_step():
    """z_T = x, and z_r = (1 - tau) y_hat + tau x + sqrt(total tau (1 - tau)) eps whatever eta is."""
    bridge = Pinned(0.141027)
    assert bridge.coefficients(1.0) == (0.0, 1.0, 0.0)
    x, y = scalar(0.3), scalar(-0.8)
    assert torch.equal(bridge.start(x, scalar(5.0)), x)
    for r in (0.9, 0.4):
        for eta in (0.0, 0.5, 1.0):
            mean, std = bridge.posterior(x, y, x, r, 1.0, eta=eta)
            assert mean.item() == pytest.approx((1 - r) * -0.8 + r * 0.3, abs=1e-15)
            assert std == pytest.approx(math.sqrt(0.141027 * r * (1 - r)), abs=1e-15)


def test_the_exact_variance_for_unit_data_is_ddpms_beta():
    bridge = VP(schedules.linear(60, start=1e-3, end=0.15))
    for i in range(1, 61):
        r, t = (i - 1) / 60, i / 60
        a, _, s = bridge.coefficients(t)
        of_y, _, _, v = posterior(bridge, r, t)
        exact = v + of_y**2 * s**2 / (a**2 + s**2)
        assert exact == pytest.approx(1 - (a / bridge.coefficients(r)[0]) ** 2, abs=1e-12)


# Figures of the published configurations.


def test_resshift_official_tables():
    roots = (0.02, 0.117165, 0.176305, 0.233629, 0.291574, 0.351009, 0.412356, 0.475858, 0.541672)
    roots += (0.609910, 0.680658, 0.753985, 0.829951, 0.908606, 0.99)
    bridge = ResShift()
    for i, root in enumerate(roots, start=1):
        a, b, s = bridge.coefficients(i / 15)
        assert math.sqrt(b) == pytest.approx(root, abs=5e-7)
        assert s == pytest.approx(2 * root, abs=1e-6) and a == pytest.approx(1 - root**2, abs=1e-6)
    short = ResShift(4, min_noise=0.2)
    for i, root in enumerate((0.1, 0.520096, 0.761382, 0.99), start=1):
        assert math.sqrt(short.coefficients(i / 4)[1]) == pytest.approx(root, abs=5e-7)
    assert bridge.coefficients(1 / 15)[2] == pytest.approx(0.04, abs=1e-12)
    assert short.coefficients(1 / 4)[2] == pytest.approx(0.2, abs=1e-12)
    assert bridge.coefficients(1.0)[2] == pytest.approx(1.98, abs=1e-12)
    assert bridge.coefficients(1.0)[0] == pytest.approx(0.0199, abs=1e-12)
    start = bridge.start(scalar(0.5), scalar(1.0)) - bridge.start(scalar(0.5), scalar(0.0))
    assert start.item() == pytest.approx(1.98, abs=1e-12)


def test_resshift_official_posterior():
    bridge, grid = ResShift(), ResShift().grid(15)
    steps = [posterior(bridge, r, t) for t, r in itertools.pairwise(grid)]
    deviations, of_y = [math.sqrt(step[3]) for step in steps], [step[0] for step in steps]
    assert deviations[0] == pytest.approx(0.7216, abs=5e-5)
    assert deviations[-2] == pytest.approx(0.0394, abs=5e-5) and deviations[-1] == 0.0
    assert of_y[0] == pytest.approx(0.15767, abs=5e-6)
    assert of_y[-2] == pytest.approx(0.97086, abs=5e-6) and of_y[-1] == 1.0


def test_sinsr_ddim_coefficients():
    bridge = ResShift()
    for r, t in itertools.pairwise([i / 15 for i in range(1, 16)]):
        zero, one = scalar(0.0), scalar(1.0)
        eta_r, eta_t = bridge.coefficients(r)[1], bridge.coefficients(t)[1]
        root = math.sqrt(eta_r * eta_t)
        of_y = bridge.posterior(zero, one, zero, r, t, eta=0.0)[0].item()
        of_x = bridge.posterior(zero, zero, one, r, t, eta=0.0)[0].item()
        of_z, std = bridge.posterior(one, zero, zero, r, t, eta=0.0)
        ratio = math.sqrt(eta_r / eta_t)
        assert of_y == pytest.approx(1 - eta_r + root - ratio, abs=1e-12)
        assert of_z.item() == pytest.approx(ratio, abs=1e-12)
        assert of_x == pytest.approx(eta_r - root, abs=1e-12) and std == 0.0


def test_i2sb_official_figures():
    bridge = Pinned.i2sb()
    assert bridge.total == pytest.approx(0.141027, abs=5e-7)
    assert math.sqrt(bridge.total) == pytest.approx(0.375536, abs=5e-7)
    # .18789 in the released tables, which count the middle step twice.
    assert bridge.coefficients(0.5)[2] == pytest.approx(0.5 * math.sqrt(0.141027), abs=1e-6)
    assert bridge.coefficients(0.5)[:2] == pytest.approx((0.5, 0.5), abs=1e-12)
    beta = schedules.symmetric_ramp()
    for i in (1, 250, 500, 999):
        assert bridge.brownian_variance(i / 1000) == pytest.approx(math.fsum(beta[:i]), abs=1e-14)
    assert Pinned.i2sb(beta_max=1.0).total == pytest.approx(0.246929, abs=5e-7)


# Times, types and refusals.


@pytest.mark.parametrize("name", ["sr3", "resshift", "i2sb"])
def test_times_one_a_batch_item_equal_single_times(name):
    bridge = BRIDGES[name]
    y, x, eps = (torch.randn(FIELD, generator=torch.Generator().manual_seed(i)) for i in range(3))
    r, t = torch.tensor([0.1, 0.4]), torch.tensor([0.5, 1.0])
    z = bridge.q_sample(y, x, t.double(), eps)
    mean, std = bridge.posterior(z, y, x, r.double(), t.double())
    up = bridge.renoise(z, x, r.double(), t.double(), eps)
    assert z.dtype == mean.dtype == torch.float32 and isinstance(std, torch.Tensor) and std.shape == (2, 1, 1, 1)
    for i in range(2):
        one, now, before = slice(i, i + 1), float(t[i].double()), float(r[i].double())
        assert torch.allclose(z[one], bridge.q_sample(y[one], x[one], now, eps[one]), atol=1e-6)
        single, deviation = bridge.posterior(z[one], y[one], x[one], before, now)
        assert torch.allclose(mean[one], single, atol=1e-5)
        assert std[i].item() == pytest.approx(float(deviation), abs=1e-6)
        assert torch.allclose(up[one], bridge.renoise(z[one], x[one], before, now, eps[one]), atol=1e-5)


def test_components_are_values():
    assert ResShift() == ResShift(15) and hash(Pinned.i2sb()) == hash(Pinned.i2sb())
    with pytest.raises(AttributeError):
        ResShift().kappa = 3.0  # type: ignore[misc]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: ResShift(0), "steps 0"),
        (lambda: ResShift(kappa=-1.0), "kappa -1.0"),
        (lambda: ResShift(power=math.nan), "power nan"),
        (lambda: ResShift(end=0.01), "end 0.01"),
        (lambda: Pinned(-0.1), "total variance -0.1"),
        (lambda: Pinned(0.1, (0.0, 0.6, 0.5, 1.0)), "rise strictly"),
        (lambda: Pinned(0.1, (0.0, 0.9)), "rise strictly"),
        (lambda: ResShift().coefficients(1.5), "time 1.5 lies outside"),
        (lambda: ResShift().coefficients(math.nan), "time nan lies outside"),
        (lambda: ResShift().transition(0.1, 0.2, eta=1.5), "eta 1.5"),
        (lambda: ResShift().mean(scalar(0.0), None, 0.5), "give x_state"),
        (lambda: Pinned(0.1).start(None, scalar(0.0)), "give x_state"),
        (lambda: ResShift().renoise(scalar(0.0), None, 0.2, 0.5, scalar(0.0)), "give x_state"),
        (lambda: VP(LinearSDE()).brownian_variance(0.5), "no Brownian clock"),
    ],
)
def test_wrong_arguments_are_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()


# What every named bridge does.


@pytest.mark.parametrize("name", BRIDGES)
def test_times_that_no_bridge_has_are_refused(name):
    bridge = BRIDGES[name]
    for wrong in (-0.1, 1.5, math.nan, torch.tensor([0.5, 1.5])):
        with pytest.raises(ValueError, match="outside"):
            bridge.coefficients(wrong)  # type: ignore[type-var]
    with pytest.raises(ValueError, match="not below"):
        bridge.carry(0.5, 0.5)
    with pytest.raises(ValueError, match="not below"):
        bridge.carry(torch.tensor([0.1, 0.6]), torch.tensor([0.2, 0.5]))
    if bridge.needs_x:
        with pytest.raises(ValueError, match="give x_state"):
            bridge.start(None, scalar(0.0))


@pytest.mark.parametrize("name", SCALAR)
def test_renoise_runs_at_the_rate_of_the_diffusion(name):
    """The variance that a short move up adds, a unit of time, is g^2; its gain is 1 + f h."""
    bridge, h = BRIDGES[name], 1e-7
    nodes = bridge.nodes
    for t in (0.2, 0.5, 0.8):
        # Inside an interval of a table.
        t = (math.floor(t * nodes) + 0.5) / nodes if nodes else t
        f, g2 = bridge.diffusion(t)
        gain = bridge.renoise(scalar(1.0), scalar(0.0), t, t + h, scalar(0.0)).item()
        added = bridge.renoise(scalar(0.0), scalar(0.0), t, t + h, scalar(1.0)).item()
        assert (gain - 1.0) / h == pytest.approx(f, rel=1e-4, abs=1e-6)
        assert added**2 / h == pytest.approx(g2, rel=1e-3, abs=2e-6 * (1 + bridge.coefficients(t)[2] ** 2))


@pytest.mark.parametrize("name", ["ddpm", "ncsn", "srdiff", "resshift", "i2sb", "animorphosis"])
def test_rates_at_a_node_are_those_of_the_step_down(name):
    bridge = BRIDGES[name]
    nodes, reach = bridge.nodes, 1e-6
    for i in {1, 2, nodes // 3, nodes}:
        now, below = (bridge.coefficients(t) for t in (i / nodes, i / nodes - reach))
        squares = [(at[0], at[1], at[2] ** 2) for at in (now, below)]
        for rate, high, low in zip(bridge.derivatives(i / nodes), *squares, strict=True):
            assert rate == pytest.approx((high - low) / reach, rel=1e-3, abs=1e-5)


def test_the_table_of_names():
    assert named("resshift") == ResShift() and len({type(bridge) for bridge in BRIDGES.values()}) == 13
    with pytest.raises(ValueError, match="did you mean 'ir-sde'"):
        named("irsde")


# Continuous time: the equations that the papers print.


def test_diffusions_of_the_papers():
    rate, noise = lambda t: 0.1 + 19.9 * t, 0.25
    schedule = LinearSDE()
    for t in (0.13, 0.5, 0.9, 1.0):
        gamma = math.exp(-(0.1 * t + 9.95 * t * t))
        assert VP(schedule).diffusion(t) == pytest.approx((-0.5 * rate(t), rate(t)), rel=1e-12)
        assert SubVP(schedule).diffusion(t) == pytest.approx((-0.5 * rate(t), rate(t) * (1 - gamma**2)), rel=1e-12)
        level = 0.01 * 5000**t
        assert VE(Geometric()).diffusion(t) == pytest.approx((0.0, level**2 * 2 * math.log(5000)), rel=1e-12)
        # dz = theta (x - z) dt + sqrt(2 theta) noise dw, theta = rate / 2.
        f, g2 = MeanReverting(schedule, noise).diffusion(t)
        assert (f, g2) == pytest.approx((-0.5 * rate(t), noise**2 * rate(t)), rel=1e-12)
        assert VE(Proportional()).diffusion(t) == pytest.approx((0.0, 2 * 80**2 * t), rel=1e-12)
        # y is absent from the drift of z, so that it is theta (x - z).
        a_rate, b_rate, _ = MeanReverting(schedule, noise).derivatives(t)
        a, b, _ = MeanReverting(schedule, noise).coefficients(t)
        assert b_rate - f * b == pytest.approx(-f, rel=1e-12) and a_rate - f * a == pytest.approx(0.0, abs=1e-12)
        if t < 1.0:
            # I2SB: drift (x - z) / (1 - tau), a variance of `total` a unit of tau.
            assert Pinned(0.14).diffusion(t) == pytest.approx((-1 / (1 - t), 0.14), rel=1e-12)
            assert InDI(0.0).diffusion(t) == pytest.approx((-1 / (1 - t), 0.0), rel=1e-12)
            assert Flow().diffusion(t) == pytest.approx((-1 / (1 - t), 2 * t / (1 - t)), rel=1e-12)
    assert math.sqrt(VE(Geometric()).diffusion(0.5)[1]) == pytest.approx(2.9184231, abs=5e-8)
    assert VE(Geometric()).coefficients(0.5)[2] == pytest.approx(0.70710678, abs=5e-9)
    for bridge in (Pinned(0.14), Flow(), named("jsd")):
        with pytest.raises(ValueError, match="unbounded at time 1.0"):
            bridge.diffusion(1.0)
    with pytest.raises(ValueError, match="unbounded at time 1.0"):
        Pinned(0.14).velocity(scalar(0.0), scalar(0.0), scalar(0.0), 1.0)
    with pytest.raises(ValueError, match="gives no derivatives"):
        Cold(Pixelate(1)).derivatives(0.5)


def test_sub_vp_figures():
    """The variance equation dv/dt = -rate v + rate (1 - gamma^2), integrated, is (1 - gamma)^2."""
    bridge = SubVP(LinearSDE())
    found, v, steps = {}, 0.0, 400

    def change(t: float, v: float) -> float:
        f, g2 = bridge.diffusion(t)
        return 2 * f * v + g2

    for i in range(steps):
        t, h = i / steps, 1 / steps
        k1 = change(t, v)
        k2 = change(t + h / 2, v + h / 2 * k1)
        k3 = change(t + h / 2, v + h / 2 * k2)
        k4 = change(t + h, v + h * k3)
        v += h / 6 * (k1 + 2 * k2 + 2 * k3 + k4)
        found[i + 1] = v
    for t, figure in ((0.25, 0.226881), (0.5, 0.848123), (1.0, 0.999914)):
        assert bridge.coefficients(t)[2] ** 2 == pytest.approx(figure, abs=5e-7)
        assert found[round(t * steps)] == pytest.approx(figure, abs=5e-7)


def test_likelihood_by_the_flow():
    """Data N(0.3, 0.25), z = 0.7 at t = 1e-5: the log-density along the probability flow, ten digits."""
    from scipy.integrate import solve_ivp

    bridge, prior = VP(LinearSDE()), GaussianPrior(0.3, 0.5)

    def change(t: float, values):
        z, one = scalar(float(values[0])), scalar(1.0)
        speed = [bridge.velocity(q, prior.posterior(bridge, q, None, t)[0], None, t).item() for q in (z, z + one)]
        return [speed[0], speed[1] - speed[0]]

    z, gained = solve_ivp(change, (1e-5, 1.0), [0.7, 0.0], method="DOP853", rtol=1e-11, atol=1e-13).y[:, -1]
    a, _, s = bridge.coefficients(1.0)

    def density(z: float, mean: float, variance: float) -> float:
        return -0.5 * (math.log(2 * math.pi * variance) + (z - mean) ** 2 / variance)

    assert density(z, 0.3 * a, 0.25 * a * a + s * s) + gained == pytest.approx(-0.5457921334, abs=2e-10)
    assert density(z, 0.0, 1.0) + gained == pytest.approx(-0.5473770605, abs=2e-10)


# Identities between methods.


def test_ir_sde_is_ddpm_in_the_scaled_residual():
    """u = (z - x) / noise with u_0 = (y - x) / noise is DDPM's chain: sample, posterior and move up."""
    bridge = MeanReverting.ir_sde()
    chain = VP(bridge.schedule)
    generator = torch.Generator().manual_seed(0)
    y, x, eps = (torch.randn(FIELD, generator=generator, dtype=torch.float64) for _ in range(3))
    w, size = (y - x) / bridge.noise, 1 + 1 / bridge.noise
    for r, t in [(0.0, 0.01), (0.2, 0.21), (0.5, 0.9), (0.99, 1.0), (0.123, 0.77)]:
        z, u = bridge.q_sample(y, x, t, eps), chain.q_sample(w, None, t, eps)
        assert ((z - x) / bridge.noise - u).abs().max() < 1e-12 * size
        mean, std = bridge.posterior(z, y, x, r, t)
        other, deviation = chain.posterior(u, w, None, r, t)
        assert ((mean - x) / bridge.noise - other).abs().max() < 1e-12 * size
        assert float(std) == pytest.approx(bridge.noise * float(deviation), abs=1e-12)
        up, up_chain = bridge.renoise(z, x, r, t, eps), chain.renoise(u, None, r, t, eps)
        assert ((up - x) / bridge.noise - up_chain).abs().max() < 1e-12 * size
    start = bridge.start(x, eps)
    assert torch.allclose((start - x) / bridge.noise, eps, atol=1e-12)


def test_ir_sde_optimum_step():
    bridge = MeanReverting(schedules.mean_reverting(60), 50 / 255)
    for i in range(1, 61):
        a_r, a_t = (bridge.coefficients(j / 60)[0] for j in (i - 1, i))
        kept = a_t / a_r
        of_z = kept * (1 - a_r**2) / (1 - a_t**2)
        of_y = a_r * (1 - kept**2) / (1 - a_t**2)
        variance = bridge.noise**2 * (1 - kept**2) * (1 - a_r**2) / (1 - a_t**2)
        wanted = (of_y, 1 - of_z - of_y, of_z, variance)
        assert posterior(bridge, (i - 1) / 60, i / 60) == pytest.approx(wanted, abs=1e-12)


def test_ir_sde_figures():
    bridge = MeanReverting.ir_sde()
    rates = [-0.5 * math.log1p(-value) for value in bridge.schedule.alpha]
    assert rates[0] == pytest.approx(1.764e-4, abs=5e-8) and rates[-1] == pytest.approx(0.104070, abs=5e-7)
    assert math.fsum(rates) == pytest.approx(5.298317, abs=5e-7)
    a, b, s = bridge.coefficients(0.5)
    assert a == pytest.approx(0.360822, abs=5e-7) and a + b == pytest.approx(1.0, abs=1e-15)
    assert s / bridge.noise == pytest.approx(0.93263, abs=5e-6)
    assert bridge.coefficients(1.0)[0] == pytest.approx(0.005, rel=1e-12)
    # In grey levels of pictures in [0, 1], half of ours.
    assert 255 * bridge.noise / 2 * math.sqrt(2 * rates[0]) == pytest.approx(0.94, abs=5e-3)


def test_a_clipped_residual_in_its_own_coordinates_is_srdiffs_bridge():
    """z_0 = 2 (y - x) under DDPM is x + z_0 / 2 under the shifted chain, noise 1/2."""
    bridge, chain = named("srdiff"), VP(schedules.cosine(100))
    y, x, eps = (torch.randn(FIELD, generator=torch.Generator().manual_seed(i), dtype=torch.float64) for i in range(3))
    for t in (0.01, 0.5, 1.0):
        z0 = chain.q_sample(2 * (y - x), None, t, eps)
        assert torch.allclose(bridge.q_sample(y, x, t, eps), x + 0.5 * z0, atol=1e-14)
    gamma = schedules.cosine(100).gamma
    assert (gamma[1], gamma[50]) == pytest.approx((0.999369, 0.493844), abs=5e-7)
    assert (gamma[99], gamma[100]) == pytest.approx((2.4e-4, 2.4e-7), rel=0.03)


def test_resshift_ve_and_i2sb_have_one_posterior_in_the_brownian_clock():
    """The same clock values, reached at other times: bridges of equal total variance."""
    resshift, ve, pinned = ResShift(end=1.0), VE(Proportional(high=2.0)), Pinned(4.0)
    for f_r, f_t in [(0.01, 0.02), (0.3, 0.31), (0.5, 3.9), (0.0016, 3.99)]:
        rows = []
        for bridge in (resshift, ve, pinned):
            r, t = (_time_of_clock(bridge, f) for f in (f_r, f_t))
            rows.append(posterior(bridge, r, t))
        wanted = (1 - f_r / f_t, 0.0, f_r / f_t, f_r * (1 - f_r / f_t))
        for row in rows:
            assert row == pytest.approx(wanted, abs=1e-12)


def _time_of_clock(bridge: Bridge, value: float) -> float:
    low, high = 0.0, 1.0
    for _ in range(100):
        middle = 0.5 * (low + high)
        low, high = (middle, high) if bridge.brownian_variance(middle) < value else (low, middle)
    return high


def test_ddbm_ve_is_i2sb_in_the_clock_of_the_noise():
    bridge, pinned = DDBM(VE(Proportional(high=0.4))), Pinned(0.16)
    for r, t in [(0.1, 0.2), (0.3, 0.9), (0.5, 1.0), (0.0, 0.4)]:
        assert bridge.coefficients(t) == pytest.approx(pinned.coefficients(t**2), abs=1e-15)
        assert posterior(bridge, r, t) == pytest.approx(posterior(pinned, r**2, t**2), abs=1e-15)


def test_ddbm_vp_figures_and_posterior():
    """Table 1 of the paper, and the posterior of the process that is not pinned."""
    base = VP(LinearSDE(0.1, 2.1))
    bridge = DDBM(base)
    a_1, _, s_1 = base.coefficients(1.0)
    assert a_1**2 == pytest.approx(0.33287, abs=5e-6) and (a_1 / s_1) ** 2 == pytest.approx(0.49896, abs=5e-6)
    for r, t in [(0.1, 0.2), (0.3, 0.9), (0.7, 1.0)]:
        alpha, _, sigma = base.coefficients(t)
        ratio = (a_1 / s_1) ** 2 * (sigma / alpha) ** 2
        wanted = alpha * (1 - ratio), ratio * alpha / a_1, sigma**2 * (1 - ratio)
        a, b, s = bridge.coefficients(t)
        assert (a, b, s**2) == pytest.approx(wanted, abs=1e-15)
        assert posterior(bridge, r, t) == pytest.approx(posterior(base, r, t), abs=1e-12)
    assert bridge.coefficients(1.0) == (0.0, 1.0, 0.0)


def test_ddbm_is_the_joint_gaussian_given_its_end():
    """Brute force: condition (z_t, z_1) of the base on z_1 = x, all of its kinds."""
    for base in (
        VP(LinearSDE(0.1, 2.1)),
        SubVP(LinearSDE(0.1, 2.1)),
        VE(Proportional(0.1, 3.0)),
        MeanReverting.ir_sde(),
    ):
        bridge = DDBM(base)
        a_1, b_1, s_1 = base.coefficients(1.0)
        for t in (0.1, 0.5, 0.93):
            a, b, s = base.coefficients(t)
            covariance = a_1 / a * s**2  # the base's forward gain is a_1 / a
            gain = covariance / s_1**2
            wanted = a - gain * a_1, b + gain * (1 - b_1), s**2 - gain * covariance
            found = bridge.coefficients(t)
            assert (found[0], found[1], found[2] ** 2) == pytest.approx(wanted, abs=1e-13)
        # The Doob transform leaves the diffusion as it is.
        assert bridge.diffusion(0.4)[1] == pytest.approx(base.diffusion(0.4)[1], rel=1e-10)
    goub = DDBM(MeanReverting.ir_sde())
    a, b, _ = goub.coefficients(0.3)
    assert a + b == pytest.approx(1.0, abs=1e-14)


def test_ddbm_equation_is_the_velocity():
    high = 3.0
    bridge = DDBM(VE(Proportional(high=high)))
    rng = np.random.default_rng(0)
    for sigma in (0.3, 1.1, 2.5):
        y, x, z = rng.normal(size=3).tolist()
        tau = sigma**2 / high**2
        mean, variance = (1 - tau) * y + tau * x, sigma**2 * (1 - tau)
        ddbm = -2 * sigma * (0.5 * (-(z - mean) / variance) - (x - z) / (high**2 - sigma**2))
        found = bridge.velocity(scalar(z), scalar(y), scalar(x), sigma / high).item() / high
        assert found == pytest.approx(ddbm, rel=1e-12)


def test_indi_update_and_its_relatives():
    for r, t in [(0.2, 0.3), (0.5, 1.0), (0.0, 0.1)]:
        constant, brownian = InDI(0.1), InDI(0.1, decay=0.5)
        assert posterior(constant, r, t) == pytest.approx((1 - r / t, 0.0, r / t, 0.0), abs=1e-15)
        variance = r**2 * (0.01 / r - 0.01 / t) if r else 0.0
        assert posterior(brownian, r, t) == pytest.approx((1 - r / t, 0.0, r / t, variance), abs=1e-15)
        # Brownian noise is residual shifting with eta = t and kappa the noise; without noise it is OT-ODE.
        a, b, s = brownian.coefficients(t)
        assert (a, b, s) == pytest.approx((1 - t, t, 0.1 * math.sqrt(t)), abs=1e-15)
        assert posterior(InDI(0.0), r, t) == pytest.approx(posterior(Pinned(0.0), r, t), abs=1e-15)
        # An Euler step of the flow with the velocity (z - y) / t.
        z, y = 0.7, -0.3
        of_y, _, of_z, _ = posterior(Flow(), r, t)
        assert z + (r - t) * (z - y) / t == pytest.approx(of_y * y + of_z * z, abs=1e-15)


def test_a_shifted_chain_is_the_chain_around_the_picture():
    """DiffuseVAE's second form: posterior mean c0 y + c1 z + (1 - c1) x, and y itself at the clean end."""
    chain = VP(schedules.linear(1000))
    bridge = Shifted(chain)
    for r, t in [(0.001, 0.002), (0.4, 0.7), (0.999, 1.0)]:
        of_y, _, of_z, variance = posterior(chain, r, t)
        assert posterior(bridge, r, t) == pytest.approx((of_y, 1 - of_z, of_z, variance), abs=1e-12)
    assert posterior(bridge, 0.0, 0.001) == pytest.approx((1.0, 0.0, 0.0, 0.0), abs=1e-12)
    assert bridge.start(scalar(0.3), scalar(1.0)).item() == pytest.approx(1.3)
    with pytest.raises(ValueError, match="uses x_state itself"):
        Shifted(ResShift())


# Operators.


def test_soft_blur_is_a_scalar_bridge_at_every_frequency():
    """Waves of the cosine basis pass every formula with their own a_t(w)."""
    bridge, size = SoftBlur((0.0, 2.5), Geometric(0.05, 0.5)), (6, 9)
    place = [torch.arange(n, dtype=torch.float64) + 0.5 for n in size]
    r, t, y0, z0, e0 = 0.35, 0.8, 0.7, -0.2, 0.4
    for k, m in [(0, 0), (1, 0), (2, 5), (5, 8)]:
        w = (math.pi * k / size[0], math.pi * m / size[1])
        wave = (torch.cos(w[0] * place[0])[:, None] * torch.cos(w[1] * place[1]))[None, None]
        a_r, a_t = (math.exp(-0.5 * (2.5 * time) ** 2 * (w[0] ** 2 + w[1] ** 2)) for time in (r, t))
        s_r, s_t = bridge.coefficients(r)[2], bridge.coefficients(t)[2]
        assert torch.allclose(bridge.mean(wave, None, t), a_t * wave, atol=1e-13)
        kept = s_r**2 / s_t**2
        mean, std = bridge.posterior(z0 * wave, y0 * wave, None, r, t)
        assert torch.allclose(mean, (a_r * y0 + kept * (z0 - a_t * y0)) * wave, atol=1e-13)
        assert float(std) == pytest.approx(s_r * math.sqrt(1 - kept), abs=1e-14)
        up = bridge.renoise(z0 * wave, None, r, t, e0 * wave)
        gain = a_t / a_r
        wanted = gain * z0 + math.sqrt(s_t**2 - gain**2 * s_r**2) * e0
        assert torch.allclose(up, wanted * wave, atol=1e-13)
        # The paper's momentum step, with the exact deviation.
        score = (a_t * y0 - z0) / s_t**2
        momentum = z0 + (a_r - a_t) * y0 + (s_t**2 - s_r**2) * score
        assert torch.allclose(mean, momentum * wave, atol=1e-13)


def test_soft_blur_is_the_blur_of_the_mirrored_picture():
    from scipy.ndimage import gaussian_filter

    bridge = SoftBlur((0.0, 2.0))
    y = torch.rand(1, 1, 40, 32, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    wanted = gaussian_filter(y[0, 0].numpy(), 2.0, mode="reflect", truncate=10)
    assert np.abs(bridge.mean(y, None, 1.0)[0, 0].numpy() - wanted).max() < 1e-8
    without = SoftBlur((0.0, 0.0), Geometric(0.01, 50.0))
    ve = VE(Geometric(0.01, 50.0))
    assert torch.allclose(without.q_sample(y, None, 0.6, y), ve.q_sample(y, None, 0.6, y), atol=1e-12)


def test_operators_take_times_of_a_batch():
    y, eps = torch.rand(2, 3, 2, 8, 8, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    for bridge in (SoftBlur(), Cold(Pixelate(3))):
        r, t = (
            torch.tensor([1 / 3, 0.0, 1 / 3], dtype=torch.float64),
            torch.tensor([0.5, 0.4, 0.5], dtype=torch.float64),
        )
        mean, up = bridge.mean(y, None, t), bridge.renoise(y, None, r, t, eps)
        for i in range(3):
            one = slice(i, i + 1)
            assert torch.allclose(mean[one], bridge.mean(y[one], None, float(t[i])), atol=1e-14)
            assert torch.allclose(up[one], bridge.renoise(y[one], None, float(r[i]), float(t[i]), eps[one]), atol=1e-14)


def test_antialiased_pixelation_ends_at_the_small_picture():
    """Halved twice, a picture with fine structure is nearly MATLAB's quarter; the paper's loss is far from it."""
    generator = torch.Generator().manual_seed(0)
    y = torch.rand(1, 3, 64, 48, generator=generator, dtype=torch.float64)
    x = imresize(y, size=(16, 12)).repeat_interleave(4, -2).repeat_interleave(4, -1)
    errors = [
        float((Cold(Pixelate(2, antialias=antialias)).mean(y, None, 1.0) - x).square().mean().sqrt())
        for antialias in (False, True)
    ]
    assert errors[1] < 0.2 * errors[0]
    assert errors[1] < 0.02
    flat = torch.full_like(y, 0.3)
    assert torch.allclose(Cold(Pixelate(2, antialias=True)).mean(flat, None, 1.0), flat, atol=1e-12)


def test_pixelate():
    """Linear, keeps constants, constant on its blocks, not idempotent, and not the last shrinking alone."""
    cold = Cold(Pixelate(3))
    y, other = (
        torch.rand(1, 2, 16, 24, generator=torch.Generator().manual_seed(i), dtype=torch.float64) for i in range(2)
    )
    for i in (1, 2, 3):
        out = cold.mean(y, None, i / 3)
        assert torch.allclose(
            cold.mean(2 * y - other, None, i / 3), 2 * out - cold.mean(other, None, i / 3), atol=1e-12
        )
        assert torch.allclose(cold.mean(torch.full_like(y, 0.3), None, i / 3), torch.full_like(y, 0.3), atol=1e-12)
        blocks = out.unfold(-2, 2**i, 2**i).unfold(-2, 2**i, 2**i)
        assert (blocks - blocks[..., :1, :1]).abs().max() == 0.0
    # Bicubic shrinking by 2 of a picture that is constant on blocks of 2 looks past the block.
    once = cold.corruption.apply(y, 1)
    assert (cold.corruption.apply(once, 1) - once).abs().max() > 1e-3
    assert (cold.mean(y, None, 1.0) - cold.corruption.apply(y, 3)).abs().max() > 1e-3
    with pytest.raises(ValueError, match="no multiples of 8"):
        cold.mean(y[..., :20], None, 1.0)
    with pytest.raises(ValueError, match="between two degradations"):
        cold.renoise(y, None, 0.5, 0.9, y)


def test_animorphosis_with_an_estimated_picture_is_ddim():
    """Algorithm 2 with x estimated from the state has no residual, which is DDIM's step."""
    bridge, ddpm = named("animorphosis"), VP(schedules.cosine(200))
    rng = np.random.default_rng(0)
    for i in (1, 2, 77, 199):
        z, y = (scalar(value) for value in rng.normal(size=2).tolist())
        r, t = i / 200, (i + 1) / 200
        a, b, _ = bridge.coefficients(t)
        x = (z - a * y) / b
        found, std = bridge.posterior(z, y, x, r, t)
        ddim, _ = ddpm.posterior(z, y, None, r, t, eta=0.0)
        assert found.item() == pytest.approx(ddim.item(), abs=1e-11) and std == 0.0
    assert math.sqrt(schedules.cosine(200).gamma[200]) < 1e-3


# What a sampler makes of them for a Gaussian and for two points.

ROWS = {
    "indi-0.01": (lambda n: InDI(0.01), {4: 0.0295, 15: 0.1086, 100: 0.1839, 1000: 0.1983}),
    "indi-0.1": (lambda n: InDI(0.1), {4: 0.1362, 15: 0.1811, 100: 0.1971, 1000: 0.1997}),
    "indi-0": (lambda n: InDI(0.0), {4: 0.0, 15: 0.0, 100: 0.0, 1000: 0.0}),
    "ir-sde": (
        lambda n: MeanReverting(schedules.mean_reverting(n), 10 / 255),
        {4: 0.1162, 15: 0.1644, 100: 0.1935, 1000: 0.1993},
    ),
}


@pytest.mark.parametrize("row", ROWS)
def test_exact_deviations_of_ancestral_sampling(row):
    """y ~ N(0.5, 0.2^2), x = 0.1: the exact moments of what the posterior's steps make, four digits."""
    build, figures = ROWS[row]
    for steps, figure in figures.items():
        bridge = build(steps)
        mean, std = propagate(ancestral, bridge=bridge, grid=bridge.grid(steps), prior=GaussianPrior(0.5, 0.2))
        assert std == pytest.approx(figure, abs=6e-5) and 0.4991 < mean < 0.50005


@pytest.mark.slow
@pytest.mark.parametrize(("row", "figure"), [("indi-0.01", 0.1999), ("indi-0.1", 0.2), ("ir-sde", 0.2)])
def test_exact_deviations_in_20000_steps(row, figure):
    bridge = ROWS[row][0](20000)
    _, std = propagate(ancestral, bridge=bridge, grid=bridge.grid(20000), prior=GaussianPrior(0.5, 0.2))
    assert std == pytest.approx(figure, abs=6e-5)


@pytest.mark.parametrize(("noise", "least", "most"), [(0.1, 0.97, 1.0), (0.0, 0.0, 0.0)])
def test_two_points_are_reached_with_noise_and_never_without(noise, least, most):
    bridge, x = InDI(noise), torch.zeros(1, 1, 100, 100, dtype=torch.float64)
    denoise = TwoPointPrior().denoiser(bridge, x)
    for steps in (4, 100):
        y = sample(denoise, bridge=bridge, x_state=x, noise=Noise(0), grid=bridge.grid(steps), step=ancestral)
        share = ((y.abs() - 1.0).abs() < 0.1).double().mean().item()
        assert share <= most and (steps < 100 or share >= least)


# Grids.


def test_karras_grid_of_edm():
    levels = (80, 57.5859847, 40.7855738, 28.3745846, 19.3524530, 12.9100824, 8.40093531, 5.31519452, 3.25682152)
    levels += (1.92333984, 1.08817064, 0.585348123, 0.296442284, 0.139516469, 0.0599473112, 0.0229345184)
    levels += (0.00752801996, 0.002, 0)
    bridge = named("edm")
    found = [bridge.coefficients(t)[2] for t in bridge.grid(18, spacing="karras")]
    assert found == pytest.approx(levels, rel=6e-9, abs=1e-12)
    # On another bridge the same levels s / a are found.
    vp = VP(LinearSDE())
    times = vp.grid(9, spacing="karras")
    found = [math.exp(-0.5 * vp.log_snr(t)) for t in times[:-1]]
    wanted = schedules.karras_levels(9, low=found[-1], high=found[0])
    assert found == pytest.approx(wanted, rel=1e-9) and times[-2] == 1e-3


def test_grids_of_a_bridge():
    assert named("ddpm").grid(4, spacing="trailing") == (1.0, 0.75, 0.5, 0.25, 0.0)
    assert ResShift().grid(4, spacing="cosine") == schedules.cosine_times(4)
    assert VP(LinearSDE()).time_at(VP(LinearSDE()).log_snr(0.37)) == pytest.approx(0.37, abs=1e-15)
    for call, message in [
        (lambda: Pinned(0.0).grid(5, spacing="karras"), "adds no noise"),
        (lambda: VP(LinearSDE()).grid(5, spacing="trailing"), "no table"),
        (lambda: named("edm").grid(5, spacing="karras", rho=0.0), "rho 0.0"),
        (lambda: named("edm").time_at(-20.0), "outside"),
    ]:
        with pytest.raises(ValueError, match=message):
            call()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: DDBM(ResShift()), "use VP, SubVP, VE"),
        (lambda: DDBM(named("jsd")), "keeps nothing of y"),
        (lambda: MeanReverting(LinearSDE(), 0.0), "noise 0.0"),
        (lambda: InDI(-1.0), "noise -1.0"),
        (lambda: InDI(0.1, decay=1.0), "decay 1.0"),
        (lambda: Shifted(Flow(), math.inf), "offset inf"),
        (lambda: Pixelate(0), "steps 0"),
        (lambda: SoftBlur((0.0, 2.0, 1.0)), "not fall"),
        (lambda: SoftBlur((1.0, 2.0)), "begin with 0"),
    ],
)
def test_wrong_bridges_are_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
