from __future__ import annotations

import math

import pytest
import torch

from mezzotint import schedules
from mezzotint.bridges import VE, VP, Bridge, MeanReverting, Pinned, ResShift, SoftBlur, SubVP
from mezzotint.errors import UsageError
from mezzotint.objectives import (
    Discrete,
    LogNormal,
    LossHistory,
    Objective,
    Uniform,
    corrupted_loss,
    discretised_log_likelihood,
    energy_score,
    hybrid_loss,
    likelihood_weight,
    mean_matching_loss,
    p2_weight,
    relativistic_loss,
    score_matching_loss,
    variational_term,
    vlb_weight,
    zero_centred_penalty,
)
from mezzotint.prediction import Preconditioning, convert, implied_weight, min_snr_weight, target
from mezzotint.schedules import Geometric, LinearSDE, Proportional
from mezzotint.testing import GaussianPrior


def gamma(bridge: VP, t: torch.Tensor) -> torch.Tensor:
    return bridge.coefficients(t)[0] ** 2


@pytest.mark.parametrize(("times", "power"), [("uniform-power", 1.0), ("uniform", 0.5)])
def test_levels_are_uniform_between_neighbours(times, power):
    """gamma, or its root, walks in equal steps from one node to the next."""
    bridge, steps = VP(schedules.linear(10, start=1e-3, end=0.4)), 8
    table = torch.tensor(bridge.schedule.gamma, dtype=torch.float64)
    for node in range(10):
        u = (node + torch.arange(1, steps, dtype=torch.float64) / steps) / 10
        levels = gamma(bridge, Objective(times=times).draw_times(u, bridge=bridge)) ** power
        weight = torch.arange(1, steps, dtype=torch.float64) / steps
        wanted = (1 - weight) * table[node] ** power + weight * table[node + 1] ** power
        torch.testing.assert_close(levels, wanted, atol=1e-14, rtol=1e-12)


def test_levels_next_to_the_clean_end_keep_their_digits():
    bridge = VP(schedules.sr3())
    u = torch.tensor([0.25, 0.5, 0.75], dtype=torch.float64) / 2000
    t = Objective(times="uniform-power").draw_times(u, bridge=bridge)
    lost = bridge.coefficients(t)[2] ** 2
    torch.testing.assert_close(lost, u * 2000 * 1e-6, atol=0, rtol=1e-8)


def test_times_stay_inside_and_in_order():
    bridge = VP(schedules.sr3())
    u = torch.linspace(1e-12, 1 - 1e-12, 20_001, dtype=torch.float64)
    t = Objective(times="uniform-power").draw_times(u, bridge=bridge)
    assert (t >= 0).all() and (t <= 1).all()
    assert (t.diff() > 0).all()


def test_the_two_draws_of_sr3_give_the_same_optimal_loss():
    """Gaussian data of variance v: the L1 optimum sqrt(2 / pi) sqrt(gamma v / V), averaged over either draw."""
    bridge, v = VP(schedules.sr3()), 0.1
    u = (torch.arange(200_000, dtype=torch.float64) + 0.5) / 200_000
    losses = []
    for times in ("uniform", "uniform-power"):
        g = gamma(bridge, Objective(times=times).draw_times(u, bridge=bridge))
        losses.append(float((math.sqrt(2 / math.pi) * (g * v / (g * v + 1 - g)).sqrt()).mean()))
    assert losses[0] == pytest.approx(losses[1], abs=1e-5)


def test_norms():
    prediction, target = torch.tensor([1.0, -3.0]), torch.tensor([0.0, 1.0])
    assert Objective(norm="l1").compare(prediction, target) == 2.5
    assert Objective(norm="l2").compare(prediction, target) == 8.5
    assert Objective(norm="l1").compare(prediction, target, norm="l2") == 8.5


def test_unknown_values_are_refused():
    with pytest.raises(UsageError, match="'l3'"):
        Objective(norm="l3")
    with pytest.raises(UsageError, match="'daily'"):
        Objective(times="daily")
    with pytest.raises(UsageError, match="table"):
        Objective(times="uniform-power").draw_times(
            torch.tensor([0.5], dtype=torch.float64), bridge=VP(schedules.ShiftedCosine())
        )


def double(*values: float) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64)


def fields(shape: tuple[int, ...] = (3, 2, 4, 5)) -> torch.Tensor:
    return torch.randn(4, *shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


# Times.


def test_discrete_times_are_the_nodes():
    u = (torch.arange(30, dtype=torch.float64) + 0.5) / 30
    t = Objective(times="discrete").draw_times(u, bridge=ResShift())
    assert t.tolist() == pytest.approx([(i // 2 + 1) / 15 for i in range(30)])
    assert Discrete().draw(double(1.0), bridge=ResShift()) == 1.0


def test_times_above_a_limit_and_more_of_the_last():
    u = (torch.arange(1000, dtype=torch.float64) + 0.5) / 1000
    t = Uniform(low=1e-5).draw(u, bridge=VP(LinearSDE()))
    assert t.min() >= 1e-5 and t.max() < 1.0 and t.mean().item() == pytest.approx(0.5 + 5e-6, abs=1e-9)
    mixed = Uniform(last=0.25).draw(u, bridge=VP(LinearSDE()))
    assert (mixed == 1.0).double().mean().item() == pytest.approx(0.2) and (mixed.diff() >= 0).all()
    assert mixed[mixed < 1.0].mean().item() == pytest.approx(0.5, abs=1e-3)


def test_log_normal_levels_on_any_bridge():
    quantiles = double(0.02275013194817921, 0.15865525393145707, 0.5, 0.8413447460685429)  # -2, -1, 0, 1 deviations
    wanted = [math.exp(-1.2 + 1.2 * deviations) for deviations in (-2, -1, 0, 1)]
    for bridge in (VE(Proportional()), VP(LinearSDE()), Pinned(0.3)):
        t = Objective(times="log-normal").draw_times(quantiles, bridge=bridge)
        a, _, s = bridge.coefficients(t)
        assert (s / a).tolist() == pytest.approx(wanted, rel=1e-9)
    edm = VE(Proportional())
    ends = LogNormal(0.0, 30.0).draw(double(1e-9, 1 - 1e-9), bridge=edm)
    assert (80 * ends).tolist() == pytest.approx([0.002, 80.0])


# Weights.


def test_weights_of_the_error_of_y_mean_the_same_for_every_kind():
    """One wrong estimate, put as eps, v or y, has the same weighted loss."""
    y, _, eps, off = fields()
    bridge, t = VP(schedules.linear(100, start=1e-3, end=0.1)), double(0.1, 0.55, 0.9)
    z = bridge.q_sample(y, None, t, eps)
    weights = {"y", "vlb", "likelihood", "p2", "min-snr"}
    for weight in weights:
        losses = []
        for kind in ("y", "eps", "v", "score", Preconditioning(0.3)):
            objective = Objective(kind=kind, norm="l2", weight=weight)  # type: ignore[arg-type]
            size = implied_weight(bridge, t, kind=kind).sqrt().reshape(-1, 1, 1, 1)  # type: ignore[arg-type]
            wanted = target(y, None, z, eps, bridge=bridge, t=t, kind=kind)  # type: ignore[arg-type]
            losses.append(objective.loss(wanted + size * off, y, None, z, eps, bridge=bridge, t=t).item())
        assert losses == pytest.approx([losses[0]] * 5, rel=1e-9)
    plain = Objective(kind="eps", norm="l2")
    assert plain.loss(eps + off, y, None, z, eps, bridge=bridge, t=t).item() == pytest.approx(
        off.square().mean().item()
    )
    absolute = Objective(kind="eps", norm="l1").loss(eps + off, y, None, z, eps, bridge=bridge, t=t)
    assert absolute.item() == pytest.approx(off.abs().mean().item())


def test_vlb_weights_of_the_papers():
    """alpha^2 / (2 v (1 - alpha) (1 - gamma)) for eps, with either variance; ResShift's for y."""
    table = schedules.linear(1000)
    bridge = VP(table)
    for i in (2, 100, 500, 1000):
        r, t, alpha, power = (i - 1) / 1000, i / 1000, table.alpha[i - 1], table.gamma[i]
        for variance, v in (("small", bridge.variance(r, t)), ("large", alpha)):
            found = vlb_weight(bridge, r, t, variance=variance) / implied_weight(bridge, t, kind="eps")  # type: ignore[arg-type]
            assert found.item() == pytest.approx(alpha**2 / (2 * v * (1 - alpha) * (1 - power)), rel=1e-9)
    assert math.isinf(vlb_weight(bridge, 0.0, 0.001).item())
    shift = ResShift()
    for i in range(2, 16):
        eta_r, eta_t = (shift.coefficients(j / 15)[1] for j in (i - 1, i))
        found = vlb_weight(shift, (i - 1) / 15, i / 15).item()
        assert found == pytest.approx((eta_t - eta_r) / (2 * 4 * eta_t * eta_r), rel=1e-10)


@pytest.mark.parametrize(
    "bridge", [VP(LinearSDE()), SubVP(LinearSDE()), VE(Geometric()), Pinned(0.14), MeanReverting(LinearSDE(), 0.3)]
)
def test_likelihood_weight_is_the_limit_of_the_bound(bridge):
    for t in (0.2, 0.5, 0.8):
        wanted = likelihood_weight(bridge, t).item()
        assert vlb_weight(bridge, t - 1e-6, t).item() / 1e-6 == pytest.approx(wanted, rel=1e-4)
        # g^2 / 2 on the squared error of the score.
        score = 0.5 * bridge.diffusion(t)[1] * implied_weight(bridge, t, kind="score").item()
        assert score == pytest.approx(wanted, rel=1e-10)
        slope = (math.exp(bridge.log_snr(t + 1e-6)) - math.exp(bridge.log_snr(t - 1e-6))) / 2e-6
        assert -0.5 * slope == pytest.approx(wanted, rel=1e-5)


def test_p2_and_min_snr_weights_of_eps():
    bridge, t = VP(LinearSDE()), double(0.05, 0.4, 0.9)
    snr = bridge.log_snr(t).exp()
    found = p2_weight(bridge, t, k=2.0, gamma=0.5) / implied_weight(bridge, t, kind="eps")
    assert torch.allclose(found, (2.0 + snr) ** -0.5, rtol=1e-12)
    found = min_snr_weight(bridge, t) / implied_weight(bridge, t, kind="eps")
    assert torch.allclose(found, torch.minimum(snr, double(5.0)) / snr, rtol=1e-12)


# Score matching.


def expected(score, bridge: Bridge, t: float, *, variance: float, weight) -> float:
    """The expected loss of a score that is linear in z, for y of mean 0: exact from one field of y and one of eps."""
    y, eps = double(math.sqrt(variance), 0.0).reshape(2, 1, 1, 1), double(0.0, 1.0).reshape(2, 1, 1, 1)
    z = bridge.q_sample(y, torch.zeros_like(y), t, eps)
    return 2.0 * score_matching_loss(score(z), eps, bridge=bridge, t=t, weight=weight).item()


@pytest.mark.parametrize("variance", [1.0, 0.25, 0.01])
def test_irreducible_loss_of_score_matching(variance):
    """NCSN's weight: v / (2 (v + sigma^2)) at every level of the table and of the SDE."""
    for bridge, times in ((VE(schedules.geometric(10)), [i / 10 for i in range(1, 11)]), (VE(Geometric()), [0.1, 0.6])):
        for t in times:
            sigma = bridge.coefficients(t)[2]
            found = expected(lambda z, p=variance + sigma**2: -z / p, bridge, t, variance=variance, weight="variance")
            assert found == pytest.approx(0.5 * variance / (variance + sigma**2), rel=1e-12)


@pytest.mark.parametrize("bridge", [VP(LinearSDE()), SubVP(LinearSDE()), VE(Geometric()), VP(schedules.linear(100))])
def test_the_minimiser_is_the_score_of_the_noised_marginal(bridge):
    for t in (0.25, 0.6):
        a, _, s = bridge.coefficients(t)
        power = 0.25 * a**2 + s**2
        for weight, scale in (
            ("variance", s**2),
            ("likelihood", bridge.diffusion(t)[1]),
            (lambda b, t: 3.0 * t, 3 * t),
        ):
            least, less, more = (
                expected(lambda z, c=c, power=power: -c * z / power, bridge, t, variance=0.25, weight=weight)
                for c in (1.0, 0.99, 1.01)
            )
            assert least < min(less, more)
            assert least == pytest.approx(0.5 * scale * (1 / s**2 - 1 / power), rel=1e-9)


def test_score_matching_is_half_the_simple_loss():
    y, _, eps, p = fields()
    bridge, t = VP(LinearSDE()), double(0.1, 0.5, 0.9)
    score = -p / bridge.coefficients(t)[2].reshape(-1, 1, 1, 1)
    found = score_matching_loss(score, eps, bridge=bridge, t=t)
    assert found.item() == pytest.approx(0.5 * (p - eps).square().flatten(1).sum(1).mean().item(), rel=1e-12)
    with pytest.raises(ValueError, match="unbounded where s = 0"):
        score_matching_loss(score, eps, bridge=bridge, t=0.0)
    with pytest.raises(ValueError, match="none of variance"):
        score_matching_loss(score, eps, bridge=bridge, t=0.5, weight="std")  # type: ignore[arg-type]


# Objectives of their own.


def test_ir_sdes_objective():
    """Gain and implied target of its L1 on noise, in the authors' unit of [0, 1] and lambda = 50 / 255."""
    bridge = MeanReverting(schedules.mean_reverting(), 50 / 255)
    y, x, eps = (torch.full((1, 1, 1, 1), value, dtype=torch.float64) for value in (0.3, 0.1, 1.0))
    found = {}
    for i in (1, 25, 100):
        r, t = (i - 1) / 100, i / 100
        z = bridge.q_sample(y, x, t, eps)

        def loss(noise: torch.Tensor, z=z, r=r, t=t) -> float:
            return mean_matching_loss(noise, y, x, z, bridge=bridge, r=r, t=t).item()

        # |gain (noise - best)| from two values far above the best.
        gain = (loss(eps + 101.0) - loss(eps + 100.0)) / 1.0
        best = 101.0 - loss(eps + 100.0) / gain
        assert loss(best * eps) == pytest.approx(0.0, abs=1e-9)
        found[i] = gain, best
    assert found[1][0] == pytest.approx(0.00368, abs=5e-6) and found[100][0] == pytest.approx(0.0408, abs=5e-5)
    # The part of eps, without that of y - x: 0.975 at the noisy end, and eps itself at the clean one.
    assert found[100][1] == pytest.approx(0.975, abs=1e-3) and found[1][1] == pytest.approx(1.0, abs=1e-3)
    z = bridge.q_sample(y, x, 0.01, eps)
    step, _ = bridge.posterior(z, y, x, 0.0, 0.01)
    assert torch.allclose(step, y)


def test_soft_score_matching_compares_what_is_left():
    y, y_hat, _, _ = fields((2, 1, 8, 8))
    ve, same = VE(Geometric(0.1, 2.0)), SoftBlur((0.0, 0.0), Geometric(0.1, 2.0))
    t = double(0.3, 0.8)
    s = ve.coefficients(t)[2]
    weight = lambda bridge, t: bridge.coefficients(t)[2] ** -2  # noqa: E731
    found = corrupted_loss(y_hat, y, None, bridge=same, t=t, weight=weight)
    assert found.item() == pytest.approx(((y_hat - y).square() / s.reshape(-1, 1, 1, 1) ** 2).mean().item(), rel=1e-12)
    # A wave that the blur has destroyed has no gradient.
    blur, wave = SoftBlur((0.0, 6.0)), torch.cos(math.pi * 7 / 8 * (torch.arange(8, dtype=torch.float64) + 0.5))
    guess = y_hat.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(corrupted_loss(guess, y, None, bridge=blur, t=1.0), guess)
    assert (gradient * wave).sum(-1).abs().max() < 1e-12 and gradient.abs().max() > 1e-4


# Learned variance.


def test_the_discretised_normal_is_a_distribution():
    from scipy.stats import norm

    values = torch.arange(256, dtype=torch.float64) / 127.5 - 1.0
    for mean, std in ((0.0, 1.0), (0.3, 0.01), (-1.2, 0.1), (0.999, 1e-3), (5.0, 0.2)):
        logs = discretised_log_likelihood(values, double(mean).expand(256), double(math.log(std)).expand(256))
        assert logs.exp().sum().item() == pytest.approx(1.0, abs=1e-12)
        edges = norm.cdf([(float(v) - mean) / std for v in values[:-1] + 1 / 255])
        wanted = [edges[0], *(edges[1:] - edges[:-1]), 1 - edges[-1]]
        assert logs.exp().tolist() == pytest.approx(wanted, abs=1e-13)
    # Far tails stay finite, with a gradient that points back.
    mean = double(0.9).requires_grad_()
    log = discretised_log_likelihood(double(-0.5), mean, double(math.log(1e-3)))
    (gradient,) = torch.autograd.grad(log.sum(), mean)
    assert log.item() == pytest.approx(-0.5 * 1396.08**2, rel=1e-3) and gradient.item() < -1e5
    for edge in (-1.0, 1.0):
        mean = double(0.0).requires_grad_()
        (gradient,) = torch.autograd.grad(discretised_log_likelihood(double(edge), mean, double(0.0)).sum(), mean)
        assert torch.isfinite(gradient).all() and gradient.item() * edge > 0.0


@pytest.mark.parametrize(
    "bridge", [VP(schedules.linear(40, start=1e-3, end=0.3)), VE(schedules.geometric(40, high=4.0))]
)
def test_the_terms_of_the_bound_add_up_to_the_entropy(bridge):
    """Gaussian data and the exact reverse step, which is Gaussian: the bound is tight, whatever the schedule."""
    v, prior = 0.3, GaussianPrior(0.0, math.sqrt(0.3))
    z, total = torch.zeros(1, 1, 1, 1, dtype=torch.float64), 0.0
    for i in range(2, 41):
        r, t = (i - 1) / 40, i / 40
        c2 = prior.posterior(bridge, z, None, t)[1]
        gain = (bridge.coefficients(r)[0] - bridge.carry(r, t) * bridge.coefficients(t)[0]) ** 2
        log_variance = torch.full_like(z, math.log(bridge.variance(r, t) + gain * c2))
        # The squared error of the estimate has the mean c2.
        term = variational_term(z, z + math.sqrt(c2), log_variance, bridge=bridge, r=r, t=t)
        total += math.log(2) * term.item()
    total += 0.5 * math.log(2 * math.pi * math.e * prior.posterior(bridge, z, None, 1 / 40)[1])
    a, _, s = bridge.coefficients(1.0)
    total += 0.5 * math.log((a * a * v + s * s) / (s * s))
    assert total == pytest.approx(0.5 * math.log(2 * math.pi * math.e * v), abs=1e-10)


def test_the_hybrid_loss_trains_the_variance_alone_with_the_bound():
    y, _, eps, p = fields((2, 1, 4, 4))
    y = y.clamp(-1, 1)
    bridge = VP(schedules.cosine(1000))
    r, t = double(0.499, 0.0), double(0.5, 0.001)
    z = bridge.q_sample(y, None, t, eps)
    guess, fraction = (eps + 0.1 * p).requires_grad_(), torch.full_like(y, 0.4).requires_grad_()
    total = hybrid_loss(guess, fraction, y, None, z, eps, bridge=bridge, r=r, t=t)
    assert total.shape == (2,)
    simple = (guess - eps).square().flatten(1).mean(1)
    of_guess, of_fraction = torch.autograd.grad(total.sum(), (guess, fraction), retain_graph=True)
    assert torch.equal(of_guess, torch.autograd.grad(simple.sum(), guess)[0])
    assert torch.isfinite(of_fraction).all() and of_fraction.flatten(1).abs().max(1).values.min() > 0.0
    heavier = hybrid_loss(guess, fraction, y, None, z, eps, bridge=bridge, r=r, t=t, weight=4e-3)
    assert torch.allclose(heavier - simple, 4 * (total - simple))
    y_hat = convert(guess, z, None, bridge=bridge, t=t, kind="eps")
    assert torch.isfinite(variational_term(y, y_hat, torch.zeros_like(y), bridge=bridge, r=r, t=t)).all()


def test_the_best_fraction_is_small_for_known_and_large_for_unit_data():
    """The bound is least where the variance is the true one: the posterior's, or DDPM's large one for N(0, 1)."""
    from mezzotint.prediction import large_variance, learned_log_variance

    bridge, r, t = VP(schedules.linear(100)), 0.49, 0.5
    y = torch.zeros(1, 1, 1, 1, dtype=torch.float64)
    for error, best in ((0.0, 0.0), (math.sqrt(large_variance(bridge, t)), 1.0)):
        fraction = torch.full_like(y, best).requires_grad_()
        logs = learned_log_variance(fraction, bridge=bridge, r=r, t=t)
        term = variational_term(y, y + error, logs, bridge=bridge, r=r, t=t)
        assert torch.autograd.grad(term.sum(), fraction)[0].abs().item() < 1e-9


# Importance sampling.


def test_times_by_importance():
    history = LossHistory.empty(4, size=3, mix=0.1)
    assert not history.is_warm and history.probabilities().tolist() == [0.25] * 4
    start, t = history, double(0.25, 0.5, 0.75, 1.0)
    for k in (9.0, 1.0, 2.0, 3.0):
        history = history.record(t, k * double(1.0, 2.0, 0.5, 4.0))
    assert start.losses.abs().sum() == 0.0 and start.counts.sum() == 0
    # The first losses have left; sqrt(E L^2) is proportional to 1, 2, 1/2, 4.
    assert history.is_warm and history.losses[0].tolist() == [1.0, 2.0, 3.0]
    p = history.probabilities()
    assert p.tolist() == pytest.approx([0.025 + 0.9 * value / 7.5 for value in (1.0, 2.0, 0.5, 4.0)])
    u = (torch.arange(100_000, dtype=torch.float64) + 0.5) / 100_000
    times, weights = history.draw(u)
    for node in range(4):
        assert (times == (node + 1) / 4).double().mean().item() == pytest.approx(p[node].item(), abs=2e-5)
    values = double(3.0, -1.0, 7.0, 2.0)[(times * 4).long() - 1]
    assert (weights * values).mean().item() == pytest.approx(11.0 / 4, abs=1e-3)
    for wrong in (0.3, 0.0, 1.25):
        with pytest.raises(ValueError, match="none of the 4 nodes"):
            history.record(double(wrong), double(1.0))


def test_repeated_times_of_a_batch_all_enter_the_history():
    history = LossHistory.empty(2, size=2).record(double(0.5, 0.5, 0.5), double(1.0, 2.0, 3.0))
    assert history.losses[0].tolist() == [2.0, 3.0] and history.counts.tolist() == [2, 0]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: Objective(weight="snr"), "weight 'snr'"),  # type: ignore[arg-type]
        (lambda: Objective(weight="p2"), "use norm 'l2'"),
        (lambda: Objective(norm="l2", weight="p2").compare(double(0.0), double(0.0)), "use loss"),
        (lambda: Objective(norm="l2", weight="vlb").weights(double(0.5), bridge=VP(LinearSDE())), "needs a schedule"),
        (lambda: Objective(times="discrete").draw_times(double(0.5), bridge=VP(LinearSDE())), "needs a schedule"),
        (lambda: Uniform(low=1.0), "low 1.0"),
        (lambda: Uniform(last=-1.0), "last -1.0"),
        (lambda: LogNormal(std=0.0), "positive deviation"),
        (lambda: p2_weight(VP(LinearSDE()), 0.5, k=-1.0), "k -1.0"),
        (lambda: LossHistory.empty(0), "nodes 0"),
        (lambda: LossHistory.empty(3, mix=0.0), "mix 0.0"),
    ],
)
def test_wrong_objectives_are_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.parametrize(("mean", "std"), [(0.0, 1.0), (0.5, 1.0), (0.0, 0.5), (0.0, 1.5)])
def test_the_energy_score_of_normal_draws_is_the_closed_form_and_least_at_the_law_of_the_truth(mean, std) -> None:
    generator = torch.Generator().manual_seed(0)
    first, second, truth = torch.randn(3, 400_000, dtype=torch.float64, generator=generator)
    found = energy_score(mean + std * first, mean + std * second, truth, distance=lambda a, b: (a - b).abs()).mean()

    def expected(mean: float, std: float) -> float:
        wide = math.sqrt(1 + std * std)
        folded = wide * math.sqrt(2 / math.pi) * math.exp(-(mean**2) / (2 * wide**2))
        return folded + mean * math.erf(mean / (wide * math.sqrt(2))) - std / math.sqrt(math.pi)

    assert float(found) == pytest.approx(expected(mean, std), abs=0.004)
    assert expected(0, 1) <= expected(mean, std)


def test_a_smaller_weight_of_the_spread_asks_for_the_variance_that_is_stated() -> None:
    generator = torch.Generator().manual_seed(1)
    first, second, truth = torch.randn(3, 400_000, dtype=torch.float64, generator=generator)
    weight = 0.9
    best = math.sqrt(weight**2 / (2 - weight**2))

    def found(std: float) -> float:
        draws = std * first, std * second
        return float(energy_score(*draws, truth, distance=lambda a, b: (a - b).abs(), spread=weight).mean())

    # Differences of the score on the same draws; its curvature there makes 0.1 worth more than their noise.
    assert found(best) < min(found(best - 0.1), found(best + 0.1))


def test_a_relativistic_pair_costs_the_same_whoever_leads_less_the_lead() -> None:
    true, drawn = torch.tensor([1.0, -2.0, 0.5]), torch.tensor([0.0, 1.0, 0.5])
    leads = relativistic_loss(true, drawn), relativistic_loss(drawn, true)
    # softplus(-d) = softplus(d) - d.
    assert float(leads[1] - leads[0]) == pytest.approx(float((true - drawn).mean()), abs=1e-6)
    assert float(relativistic_loss(true, true)) == pytest.approx(math.log(2), abs=1e-6)


def test_the_penalty_of_a_linear_critic_is_the_square_of_its_weights() -> None:
    weights = torch.tensor([0.5, -1.0, 2.0], requires_grad=True)
    at = torch.randn(2, 3, 4, 5, generator=torch.Generator().manual_seed(0)).requires_grad_()
    penalty = zero_centred_penalty((weights[:, None, None] * at).sum(dim=1, keepdim=True), at)
    assert float(penalty.detach()) == pytest.approx(5.25)
    penalty.backward()
    assert weights.grad is not None and torch.allclose(weights.grad, 2 * weights.detach())
