from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mezzotint import schedules
from mezzotint.bridges import VP, Bridge, Pinned, ResShift
from mezzotint.schedules import LinearSDE, ShiftedCosine, Table
from mezzotint.testing import check_bridge

BRIDGES: dict[str, Bridge] = {
    "vp-ddpm": VP(schedules.linear(1000)),
    "vp-sr3": VP(schedules.sr3()),
    "vp-sr3-100": VP(schedules.sr3(100)),
    "vp-cosine": VP(schedules.cosine(1000)),
    "vp-latent": VP(schedules.sqrt_linear(1000, start=0.0015, end=0.0155)),
    "vp-table-to-noise": VP(Table((0.1, 0.4, 1.0))),
    "vp-sde": VP(LinearSDE()),
    "vp-shifted-cosine": VP(ShiftedCosine(0.5)),
    "vp-shifted-cosine-to-noise": VP(ShiftedCosine(log_snr_min=-math.inf)),
    "resshift-15": ResShift(),
    "resshift-4": ResShift(4, min_noise=0.2),
    "resshift-1": ResShift(1),
    "resshift-wide": ResShift(50, kappa=0.7, power=1.0, min_noise=0.1, end=1.0),
    "pinned": Pinned(0.141027),
    "pinned-noise-free": Pinned(0.0),
    "i2sb": Pinned.i2sb(),
    "i2sb-deblurring": Pinned.i2sb(beta_max=1.0),
}
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
    assert len(errors) >= 20 and max(errors.values()) < 1e-9


@pytest.mark.parametrize("name", BRIDGES)
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


@pytest.mark.parametrize("name", ["resshift-15", "resshift-4", "pinned", "i2sb", "pinned-noise-free"])
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
    for name in ("vp-ddpm", "resshift-15", "i2sb"):
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


@pytest.mark.parametrize("name", ["vp-sr3", "resshift-15", "i2sb"])
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
