from __future__ import annotations

import math

import pytest
import torch

from mezzotint import schedules
from mezzotint.bridges import VP, ResShift
from mezzotint.schedules import LinearSDE, ShiftedCosine, Table


def gamma_at(schedule, *times: float) -> list[float]:
    return schedule.powers(torch.tensor(times, dtype=torch.float64))[0].tolist()


# t, added variance, signal power, posterior variance of the step, noise level s / a; digits as printed.
DDPM = [
    (1, 1e-4, 0.9999, 0.0, 0.010001, 5e-7),
    (2, 1.1991992e-4, 0.99978009, 5.4531877e-5, 0.014831, 5e-7),
    (100, 2.0720721e-3, 0.89701815, 2.0345963e-3, 0.338828, 5e-7),
    (500, 1.0040040e-2, 0.078587243, 1.0031355e-2, 3.424137, 5e-7),
    (1000, 0.02, 4.0358298e-5, 1.99999835e-2, 157.40728, 5e-6),
]


@pytest.mark.parametrize(("t", "alpha", "gamma", "posterior", "sigma", "digits"), DDPM)
def test_ddpm_linear_table(t, alpha, gamma, posterior, sigma, digits):
    table = schedules.linear(1000)
    assert table.alpha[t - 1] == pytest.approx(alpha, rel=5e-8)
    assert table.gamma[t] == pytest.approx(gamma, rel=2e-8)
    bridge = VP(table)
    assert bridge.variance((t - 1) / 1000, t / 1000) == pytest.approx(posterior, rel=5e-8, abs=1e-18)
    a, _, s = bridge.coefficients(t / 1000)
    assert s / a == pytest.approx(sigma, abs=digits)


def test_ddpm_half_log_snr_and_prior_divergence():
    bridge = VP(schedules.linear(1000))
    assert 0.5 * bridge.log_snr(1.0) == pytest.approx(-5.058837, abs=5e-7)
    gamma = schedules.linear(1000).gamma[-1]
    # KL(q(z_T) || N(0, 1)) a dimension, in bits, for a clean sample with mean square 1/3.
    divergence = 0.5 * (gamma / 3 - gamma - math.log1p(-gamma)) / math.log(2)
    assert divergence == pytest.approx(9.7047e-6, rel=1e-5)


def test_nichol_cosine_table():
    table = schedules.cosine(1000)
    assert table.alpha[0] == pytest.approx(4.1284225e-5, rel=2e-8)
    for t, gamma in [(250, 0.84701216), (500, 0.49384359), (750, 0.14427210)]:
        assert table.gamma[t] == pytest.approx(gamma, abs=5e-9)
    assert table.gamma[999] == pytest.approx(2.42877e-6, rel=3e-6)
    assert table.gamma[1000] == pytest.approx(2.42877e-9, rel=3e-6)
    assert schedules.cosine(4000).alpha[0] == pytest.approx(9.8658e-6, rel=5e-6)
    short = schedules.cosine(100)
    assert short.alpha[0] == pytest.approx(6.3128160e-4, rel=2e-8)
    assert short.gamma[99] == pytest.approx(2.42857e-4, rel=3e-6)
    assert short.gamma[100] == pytest.approx(2.42857e-7, rel=3e-6)
    assert short.gamma[50] == pytest.approx(0.493844, abs=5e-7)


def test_sr3_table():
    table = schedules.sr3()
    gamma = table.gamma
    assert gamma[1] == pytest.approx(0.999999, abs=1e-12)
    assert gamma[500] == pytest.approx(0.53525041, abs=5e-9)
    assert gamma[1000] == pytest.approx(0.08178379, abs=5e-9)
    assert gamma[1500] == pytest.approx(3.5560037e-3, rel=2e-8)
    assert gamma[2000] == pytest.approx(4.3859782e-5, rel=2e-8)
    first, last = (VP(table).coefficients(t) for t in (1 / 2000, 1.0))
    assert first[2] / first[0] == pytest.approx(0.001, rel=1e-6)
    assert last[2] / last[0] == pytest.approx(150.99, abs=5e-3)


@pytest.mark.parametrize(("steps", "end"), [(50, 0.350605), (100, 0.187638), (200, 0.097035)])
def test_sr3_with_fewer_steps_keeps_the_last_signal_power(steps, end):
    table = schedules.sr3(steps)
    assert table.alpha[0] == pytest.approx(1e-6, rel=1e-9) and table.alpha[-1] == pytest.approx(end, abs=5e-7)
    assert table.gamma[-1] == pytest.approx(schedules.sr3().gamma[-1], rel=1e-9)


@pytest.mark.parametrize("steps", [1, 2, 3])
def test_sr3_in_very_few_steps(steps):
    table = schedules.sr3(steps)
    assert table.nodes == steps and table.gamma[-1] == pytest.approx(schedules.sr3().gamma[-1], rel=1e-9)


@pytest.mark.parametrize(("steps", "gamma"), [(100, 0.6055), (200, 0.3666), (500, 0.0814), (1000, 0.00662)])
def test_linear_with_sr3s_end_values_and_fewer_steps_keeps_signal(steps, gamma):
    assert schedules.linear(steps, start=1e-6, end=1e-2).gamma[-1] == pytest.approx(gamma, rel=2e-3)


def test_latent_diffusion_table():
    gamma = schedules.sqrt_linear(1000, start=0.0015, end=0.0155).gamma
    assert gamma[1] == pytest.approx(0.9985, abs=1e-9)
    assert gamma[500] == pytest.approx(0.151077, abs=5e-7)
    assert gamma[1000] == pytest.approx(6.69e-4, abs=5e-7)
    upscaler = schedules.sqrt_linear(1000, start=1e-4, end=0.02).gamma
    assert upscaler[1000] == pytest.approx(7.334e-4, abs=5e-8)
    assert math.sqrt(1 - upscaler[21]) == pytest.approx(0.0519, abs=5e-5)


def test_hi_diff_table():
    gamma = schedules.linear(8, start=0.1, end=0.99).gamma[1:]
    wanted = (0.9, 0.6956, 0.4491, 0.2329, 0.0912, 0.0241, 0.0033, 3.3e-5)
    assert gamma == pytest.approx(wanted, abs=5e-5)


def test_vp_sde():
    schedule = LinearSDE()
    assert gamma_at(schedule, 0.25, 0.5) == pytest.approx([0.52367972, 0.07906381], abs=5e-9)
    assert gamma_at(schedule, 1.0)[0] == pytest.approx(4.3185749e-5, rel=2e-8)
    assert VP(schedule).coefficients(1e-3)[2] == pytest.approx(0.01048542, abs=5e-9)


def test_shifted_cosine_is_a_log_snr():
    for shift in (1.0, 0.25, 2.0):
        bridge = VP(ShiftedCosine(shift, log_snr_min=-math.inf))
        for t in (0.05, 0.3, 0.5, 0.77, 0.95):
            wanted = 2 * math.log(shift) - 2 * math.log(math.tan(0.5 * math.pi * t))
            assert bridge.log_snr(t) == pytest.approx(wanted, abs=1e-12)
        assert bridge.coefficients(1.0)[0] < 1e-15
    cut = VP(ShiftedCosine(0.5, log_snr_min=-10.0))
    assert cut.log_snr(1.0) == pytest.approx(-10.0, abs=1e-11)
    assert cut.coefficients(0.0) == (1.0, 0.0, 0.0)


def test_between_nodes_the_amplitude_is_linear():
    table = schedules.linear(10, start=0.01, end=0.5)
    for i in range(10):
        ends = [math.sqrt(table.gamma[i]), math.sqrt(table.gamma[i + 1])]
        for weight in (0.0, 0.25, 0.9):
            amplitude = VP(table).coefficients((i + weight) / 10)[0]
            assert amplitude == pytest.approx((1 - weight) * ends[0] + weight * ends[1], abs=1e-14)


def test_noise_power_keeps_its_digits_next_to_the_clean_end():
    a, _, s = VP(schedules.sr3()).coefficients(1 / 2000)
    assert s**2 == pytest.approx(1e-6, rel=1e-14)
    signal, noise = schedules.sr3().powers(torch.linspace(0, 1, 4001, dtype=torch.float64))
    assert (signal + noise - 1).abs().max() < 4e-16


def test_a_table_from_its_signal_powers():
    gamma = schedules.cosine(50).gamma
    again = Table.from_gamma(gamma[1:])
    assert again.gamma == pytest.approx(gamma, rel=1e-12)
    with pytest.raises(ValueError, match="must fall"):
        Table.from_gamma([0.5, 0.6])


def test_i2sb_ramp():
    """Sums and peaks of the published ramps, and the double count that the released tables make of a step."""
    for beta_max, total, peak, middle in [(0.3, 0.141027, 1.8650e-4, 0.18789), (1.0, 0.246929, 4.3266e-4, 0.24868)]:
        beta = torch.tensor(schedules.symmetric_ramp(beta_max=beta_max), dtype=torch.float64)
        assert beta.sum().item() == pytest.approx(total, abs=5e-7)
        assert beta[499].item() == pytest.approx(peak, rel=1e-4) and beta[0].item() == pytest.approx(1e-4)
        assert torch.equal(beta, beta.flip(0))
        forth, back = beta.cumsum(0), beta.flip(0).cumsum(0).flip(0)
        assert (forth + back - beta.sum() - beta).abs().max() < 1e-15
        deviation = (forth * back / (forth + back)).sqrt()
        assert deviation.max().item() == pytest.approx(middle, abs=5e-6)
        assert deviation[0].item() == pytest.approx(0.01, abs=5e-6)
    assert math.sqrt(math.fsum(schedules.symmetric_ramp())) == pytest.approx(0.375536, abs=5e-7)


def test_grids():
    assert schedules.uniform(4) == (1.0, 0.75, 0.5, 0.25, 0.0)
    assert schedules.quadratic(2) == (1.0, 0.25, 0.0)
    assert schedules.on_nodes(1, nodes=9) == (1.0, 0.0)
    grid = schedules.on_nodes(50, nodes=1000)
    assert len(grid) == 51 and grid[0] == 1.0 and grid[-2] == 1 / 1000 and grid[-1] == 0.0
    assert schedules.on_nodes(15, nodes=15) == pytest.approx(schedules.uniform(15))
    grid = VP(schedules.cosine(1000)).grid(12, spacing="log-snr")
    levels = [VP(schedules.cosine(1000)).log_snr(t) for t in grid[:-1]]
    gaps = [b - a for a, b in zip(levels, levels[1:], strict=False)]
    assert max(gaps) - min(gaps) < 1e-6 and grid[-2] == 1e-3


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: schedules.uniform(0), "steps 0"),
        (lambda: schedules.uniform(2.5), "steps 2.5"),  # type: ignore[arg-type]
        (lambda: schedules.on_nodes(11, nodes=10), "at most 10"),
        (lambda: VP(LinearSDE()).grid(3, spacing="nodes"), "no table"),
        (lambda: ResShift().grid(3, spacing="linear"), "none of uniform"),  # type: ignore[arg-type]
        (lambda: Table(()), "at least one"),
        (lambda: Table((0.1, 1.0, 0.1)), "step 2"),
        (lambda: Table((float("nan"),)), "nan"),
        (lambda: LinearSDE(low=0.0), "positive"),
        (lambda: ShiftedCosine(shift=0.0), "shift 0.0"),
        (lambda: ShiftedCosine(log_snr_min=math.nan), "log_snr_min"),
        (lambda: schedules.linear_to(10, start=1e-6, gamma_end=2.0), "gamma_end 2.0"),
        (lambda: schedules.linear_to(10, start=0.5, gamma_end=0.9999), "no linear schedule"),
        (lambda: schedules.symmetric_ramp(7), "even"),
        (lambda: schedules.check_grid((1.0, 0.5, 0.5, 0.0)), "does not fall"),
        (lambda: schedules.check_grid((1.5, 0.0)), "in \\[0, 1\\]"),
    ],
)
def test_wrong_numbers_are_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.parametrize(
    "schedule",
    [schedules.linear(10, start=0.01, end=0.5), schedules.jsd(7), LinearSDE(), ShiftedCosine(0.4), ShiftedCosine(2.0)],
    ids=lambda schedule: type(schedule).__name__,
)
def test_slopes_are_the_differences_of_the_amplitude(schedule):
    h = 1e-6
    t = torch.tensor([0.033, 0.217, 0.5501, 0.83, 0.99], dtype=torch.float64)
    before, after = ((schedule.powers(t + side)[0]).sqrt() for side in (-h, h))
    assert torch.allclose(schedule.slope(t), (after - before) / (2 * h), rtol=1e-7, atol=1e-8)


def test_slopes_at_nodes_are_those_below():
    table = schedules.linear(10, start=0.01, end=0.5)
    roots = [math.sqrt(value) for value in table.gamma]
    found = table.slope(torch.tensor([i / 10 for i in range(11)], dtype=torch.float64))
    wanted = [10 * (after - before) for before, after in zip(roots, roots[1:], strict=False)]
    assert found.tolist() == pytest.approx([wanted[0], *wanted], rel=1e-12)


def test_ncsn_levels():
    wanted = (0.01, 0.01668101, 0.02782559, 0.04641589, 0.07742637, 0.12915497, 0.21544347, 0.35938137, 0.59948425, 1.0)
    table = schedules.geometric(10)
    assert table.levels == pytest.approx(wanted, abs=5e-9)
    t = torch.tensor([0.0, 0.05, 0.1, 1.0], dtype=torch.float64)
    assert table.level(t).tolist() == pytest.approx([0.0, 0.005, 0.01, 1.0], abs=1e-12)
    assert schedules.geometric(1, high=3.0).levels == (3.0,)


@pytest.mark.parametrize(
    ("high", "levels", "side", "figure"), [(50, 232, 32, 0.567), (90, 500, 64, 0.567), (190, 1086, 128, 0.566)]
)
def test_ncsnv2_levels_overlap_by_half(high, levels, side, figure):
    ratio = (high / 0.01) ** (1 / (levels - 1))
    assert schedules.overlap(ratio, size=3 * side * side) == pytest.approx(figure, abs=5e-4)


def test_levels_of_stochastic_equations():
    t = torch.tensor([0.0, 1e-9, 0.5, 1.0], dtype=torch.float64)
    assert schedules.Geometric().level(t).tolist() == pytest.approx([0.0, 0.01, 0.70710678, 50.0], rel=2e-8)
    assert schedules.Proportional().level(t).tolist() == pytest.approx([0.0, 8e-8, 40.0, 80.0])


def test_jsd_leaves_nothing():
    table = schedules.jsd(1000)
    assert table.gamma == pytest.approx([1 - i / 1000 for i in range(1001)], abs=1e-12) and table.gamma[-1] == 0.0


def test_srdiffs_cosine_is_nichols():
    """Its grid counts T + 1 points over T + 1 steps, which are the T steps themselves."""
    points = [math.cos((i / 100 + 0.008) / 1.008 * math.pi / 2) ** 2 for i in range(101)]
    gamma = 1.0
    for i in range(100):
        gamma *= 1 - min(1 - points[i + 1] / points[i], 0.999)
        assert schedules.cosine(100).gamma[i + 1] == pytest.approx(gamma, rel=1e-11)


@pytest.mark.parametrize(
    ("steps", "left", "first", "last", "half"),
    [(100, 0.005, 1.764e-4, 0.104070, 0.360822), (100, 0.01, None, None, None), (1000, 0.005, None, None, None)],
)
def test_mean_reverting_schedule(steps, left, first, last, half):
    """The released recipe, step by step, and the figures of 100 steps."""
    table = schedules.mean_reverting(steps, left=left)
    power = [math.cos((i / (steps + 2) + 0.008) / 1.008 * math.pi / 2) ** 2 for i in range(steps + 3)]
    theta = [1 - value / power[0] for value in power][1:-1]
    gathered = [math.fsum(theta[1 : i + 1]) for i in range(steps + 1)]
    unit = -math.log(left) / gathered[-1]
    for i in (1, steps // 2, steps):
        assert math.sqrt(table.gamma[i]) == pytest.approx(math.exp(-gathered[i] * unit), rel=1e-11)
    assert math.sqrt(table.gamma[-1]) == pytest.approx(left, rel=1e-11)
    if first is not None:
        assert theta[1] * unit == pytest.approx(first, abs=5e-8)
        assert theta[-1] * unit == pytest.approx(last, abs=5e-7)
        assert math.sqrt(table.gamma[50]) == pytest.approx(half, abs=5e-7)


def test_walks_of_time_travel():
    """RePaint's 250 steps take 2410 evaluations, DDNM's 100 with stretches of 10 passed 3 times 280."""
    for steps, jump, repeats, evaluations, passes in ((250, 10, 10, 2410, 2160), (100, 10, 3, 280, 180)):
        walk = schedules.time_travel(schedules.uniform(steps), jump=jump, repeats=repeats)
        moves = list(zip(walk, walk[1:], strict=False))
        assert sum(r < t for t, r in moves) == evaluations
        ups = [(t, r) for t, r in moves if r > t]
        assert len(ups) * jump == passes
        assert all(round((r - t) * steps) == jump for t, r in ups)
        assert walk[0] == 1.0 and walk[-1] == 0.0 and set(walk) == set(schedules.uniform(steps))
    assert schedules.time_travel(schedules.uniform(4), jump=2, repeats=2) == (1, 0.75, 0.5, 0.25, 0.75, 0.5, 0.25, 0)
    assert schedules.time_travel((0.9, 0.5, 0.0), jump=5, repeats=9) == (0.9, 0.5, 0.0)
    assert schedules.time_travel(schedules.quadratic(5), jump=1, repeats=1) == schedules.quadratic(5)


def test_more_grids():
    assert schedules.trailing(3, nodes=1000) == (1.0, 0.667, 0.333, 0.0)
    for steps in (1, 7, 20):
        times = schedules.cosine_times(steps)
        assert times == pytest.approx([(1 + math.cos(math.pi * i / steps)) / 2 for i in range(steps + 1)], abs=1e-15)
        schedules.check_grid(times)
    assert schedules.karras_levels(1, low=0.1, high=3.0) == (3.0,)
    assert schedules.karras_levels(3, low=1.0, high=9.0, rho=1.0) == pytest.approx((9.0, 5.0, 1.0))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: schedules.LevelTable(()), "at least one"),
        (lambda: schedules.LevelTable((0.1, 0.1)), "0.1 after 0.1"),
        (lambda: schedules.LevelTable((0.0, 0.1)), "0.0 after 0.0"),
        (lambda: schedules.Geometric(1.0, 0.1), "must be positive, finite and rise"),
        (lambda: schedules.Proportional(0.0, 0.1), "must be positive, finite and rise"),
        (lambda: schedules.overlap(1.0, size=3), "ratio 1.0"),
        (lambda: schedules.mean_reverting(10, left=1.0), "left 1.0"),
        (lambda: schedules.trailing(20, nodes=10), "at most 10"),
        (lambda: schedules.karras_levels(4, low=1.0, high=2.0, rho=-1.0), "use 7"),
        (lambda: schedules.time_travel((1.0, 0.5, 0.7, 0.0), jump=1, repeats=2), "does not fall from 0.5 to 0.7"),
        (lambda: schedules.time_travel((1.0, 0.0), jump=0, repeats=2), "jump 0"),
        (lambda: schedules.time_travel((1.0, 0.0), jump=1, repeats=1.5), "repeats 1.5"),
    ],
)
def test_more_wrong_numbers_are_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
