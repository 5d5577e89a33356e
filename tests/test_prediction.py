from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch

from mezzotint import schedules
from mezzotint.bridges import DDBM, NAMED, VE, VP, Cold, Flow, InDI, MeanReverting, Pinned, Pixelate, ResShift, SoftBlur
from mezzotint.prediction import (
    KINDS,
    Preconditioning,
    convert,
    express,
    implied_weight,
    large_variance,
    learned_log_variance,
    learned_variance,
    min_snr_weight,
    noise_input,
    noise_of,
    target,
    usable_kinds,
)
from mezzotint.schedules import LinearSDE, Proportional, ShiftedCosine
from mezzotint.testing import GaussianPrior, check_prediction

BRIDGES = {
    "vp": VP(schedules.linear(1000)),
    "vp-to-noise": VP(ShiftedCosine(log_snr_min=-math.inf)),
    "resshift": ResShift(),
    "pinned": Pinned(0.141),
    "i2sb": Pinned.i2sb(),
}


def fields(seed: int = 0, shape: tuple[int, ...] = (3, 2, 4, 5)) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(shape, generator=generator, dtype=torch.float64) for _ in range(3)]


def exists(kind: str, bridge: object) -> bool:
    return kind != "i2sb" or not isinstance(bridge, VP)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", BRIDGES)
def test_a_perfect_prediction_gives_the_clean_sample(name, kind):
    bridge = BRIDGES[name]
    if not exists(kind, bridge):
        return
    y, x, eps = fields()
    for t in (0.02, 0.4, 0.97, torch.tensor([0.05, 0.5, 0.95], dtype=torch.float64)):
        z = bridge.q_sample(y, x, t, eps)
        p = target(y, x, z, eps, bridge=bridge, t=t, kind=kind)
        assert p.shape == y.shape
        assert (convert(p, z, x, bridge=bridge, t=t, kind=kind) - y).abs().max() < 1e-9


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", BRIDGES)
def test_implied_weight_is_the_ratio_of_squared_errors(name, kind):
    bridge = BRIDGES[name]
    if not exists(kind, bridge):
        return
    y, x, eps = fields()
    for t in (0.1, 0.4, 0.97):
        z = bridge.q_sample(y, x, t, eps)
        p = target(y, x, z, eps, bridge=bridge, t=t, kind=kind)
        off = convert(p + 0.01, z, x, bridge=bridge, t=t, kind=kind) - y
        weight = implied_weight(bridge, t, kind=kind).item()
        assert weight * off.square().mean().item() == pytest.approx(1e-4, rel=1e-6)


def test_v_and_tweedie_in_the_variance_preserving_form():
    bridge, (y, _, eps) = VP(LinearSDE()), fields()
    for t in (0.1, 0.6):
        gamma = bridge.coefficients(t)[0] ** 2
        z = bridge.q_sample(y, None, t, eps)
        v = target(y, None, z, eps, bridge=bridge, t=t, kind="v")
        assert torch.allclose(v, math.sqrt(gamma) * eps - math.sqrt(1 - gamma) * y, atol=1e-12)
        assert torch.allclose(math.sqrt(gamma) * z - math.sqrt(1 - gamma) * v, y, atol=1e-12)
        assert torch.allclose(math.sqrt(1 - gamma) * z + math.sqrt(gamma) * v, eps, atol=1e-12)
        score = -eps / math.sqrt(1 - gamma)
        tweedie = (z + (1 - gamma) * score) / math.sqrt(gamma)
        assert torch.allclose(convert(score, z, None, bridge=bridge, t=t, kind="score"), tweedie, atol=1e-12)


@pytest.mark.parametrize("name", ["vp", "resshift", "pinned"])
def test_the_score_of_a_gaussian_prior_is_its_gradient(name):
    bridge, prior = BRIDGES[name], GaussianPrior(0.3, 0.5)
    z, x, _ = fields()
    a, b, s = bridge.coefficients(0.6)
    z.requires_grad_()
    log_density = -0.5 * (z - a * 0.3 - b * x) ** 2 / (a**2 * 0.25 + s**2)
    (score,) = torch.autograd.grad(log_density.sum(), z)
    z = z.detach()
    y_hat, _ = prior.posterior(bridge, z, x, 0.6)
    assert torch.allclose(convert(score, z, x, bridge=bridge, t=0.6, kind="score"), y_hat, atol=1e-12)
    implied = noise_of(y_hat, z, x, bridge=bridge, t=0.6)
    assert torch.allclose(score, -implied / s, atol=1e-12)


def test_i2sb_target_in_terms_of_the_ends():
    bridge, (y, x, eps) = Pinned(0.141), fields()
    for tau in (0.05, 0.5, 0.95, 1.0):
        z = bridge.q_sample(y, x, tau, eps)
        wanted = math.sqrt(tau / 0.141) * (x - y) + math.sqrt(1 - tau) * eps
        assert torch.allclose(target(y, x, z, eps, bridge=bridge, t=tau, kind="i2sb"), wanted, atol=1e-12)


def test_the_mean_of_the_step_in_terms_of_the_noise():
    """mu = (z - alpha eps / sqrt(1 - gamma)) / sqrt(1 - alpha), alpha the variance added (foundation of SR3)."""
    bridge, (z, p, _) = VP(schedules.linear(1000)), fields()
    for i in (2, 100, 500, 1000):
        r, t = (i - 1) / 1000, i / 1000
        alpha, gamma = schedules.linear(1000).alpha[i - 1], schedules.linear(1000).gamma[i]
        y_hat = convert(p, z, None, bridge=bridge, t=t, kind="eps")
        mean, _ = bridge.posterior(z, y_hat, None, r, t)
        wanted = (z - alpha / math.sqrt(1 - gamma) * p) / math.sqrt(1 - alpha)
        assert torch.allclose(mean, wanted, atol=1e-11)


@pytest.mark.parametrize(("variance", "loss"), [(1.0, 0.275513), (0.25, 0.173053), (0.01, 0.041431)])
def test_irreducible_loss_of_noise_prediction(variance, loss):
    """The mean over DDPM's 1000 levels of the least squared error of eps for Gaussian data."""
    bridge, prior = VP(schedules.linear(1000)), GaussianPrior(0.0, math.sqrt(variance))
    z = torch.zeros(1, 1, 1, 1, dtype=torch.float64)
    times = [i / 1000 for i in range(1, 1001)]
    least = [implied_weight(bridge, t, kind="eps").item() * prior.posterior(bridge, z, None, t)[1] for t in times]
    assert sum(least) / 1000 == pytest.approx(loss, abs=5e-7)


def test_resshift_bound_weight():
    bridge = ResShift()
    for r, t in itertools.pairwise([i / 15 for i in range(1, 16)]):
        eta_r, eta_t = bridge.coefficients(r)[1], bridge.coefficients(t)[1]
        weight = 0.5 * (1 - bridge.carry(r, t)) ** 2 / bridge.variance(r, t)
        assert weight == pytest.approx((eta_t - eta_r) / (2 * 4 * eta_t * eta_r), rel=1e-12)


def test_preconditioning_minimises_the_output_scale():
    rng = np.random.default_rng(0)
    for name in BRIDGES:
        for t in (0.1, 0.5, 0.9):
            half = np.tril(rng.normal(size=(2, 2)))
            (var_y, cov), (_, var_x) = half @ half.T
            a, b, s = BRIDGES[name].coefficients(t)
            c_in, c_skip, c_out = (c.item() for c in Preconditioning(var_y, var_x, cov).scales(BRIDGES[name], t))
            total = a**2 * var_y + b**2 * var_x + 2 * a * b * cov + s**2

            def left(c: float, total=total, a=a, b=b, var_y=var_y, cov=cov) -> float:
                return var_y - 2 * c * (a * var_y + b * cov) + c**2 * total

            assert c_in**2 * total == pytest.approx(1.0) and left(c_skip) == pytest.approx(c_out**2, rel=1e-9)
            assert left(c_skip) <= min(left(c_skip - 1e-3), left(c_skip + 1e-3))


def test_preconditioning_of_edm_and_resshift():
    bridge = VP(LinearSDE())
    for t in (0.05, 0.3, 0.8):
        a, _, s = bridge.coefficients(t)
        sigma = s / a
        c_in, c_skip, c_out = (c.item() for c in Preconditioning(0.25).scales(bridge, t))
        # The variance-preserving state is a times EDM's.
        assert c_in * a == pytest.approx(1 / math.sqrt(sigma**2 + 0.25))
        assert c_skip * a == pytest.approx(0.25 / (sigma**2 + 0.25))
        assert c_out == pytest.approx(sigma * 0.5 / math.sqrt(sigma**2 + 0.25))
        eta = ResShift().coefficients(t)[1]
        c_in = Preconditioning(1.0, 1.0, 1.0).scales(ResShift(), t)[0].item()
        assert c_in == pytest.approx(1 / math.sqrt(4 * eta + 1))


def test_learned_variance_lies_between_small_and_large():
    bridge = VP(schedules.cosine(100))
    fraction = torch.tensor([0.0, 0.5, 1.0], dtype=torch.float64)
    for i in (2, 40, 99):
        r, t = (i - 1) / 100, i / 100
        small, beta = bridge.variance(r, t), schedules.cosine(100).alpha[i - 1]
        gain = (bridge.coefficients(r)[0] - bridge.carry(r, t) * bridge.coefficients(t)[0]) ** 2
        total = small + gain * learned_variance(fraction, bridge=bridge, r=r, t=t)
        assert total.tolist() == pytest.approx([small, math.sqrt(small * beta), beta], rel=1e-9)


def test_min_snr():
    bridge = VP(LinearSDE())
    assert min_snr_weight(bridge, 0.01).item() == 5.0
    assert min_snr_weight(bridge, 0.9).item() == pytest.approx(math.exp(bridge.log_snr(0.9)))


def test_large_variance_at_a_pinned_end_is_the_priors():
    assert large_variance(Pinned(0.1), 1.0) == 1.0
    assert large_variance(Pinned(0.1), 1 - 1e-9) == pytest.approx(1.0, abs=1e-7)


def test_float32_in_float32_out():
    y, x, eps = (field.float() for field in fields())
    t = torch.tensor([0.2, 0.5, 0.9], dtype=torch.float64)
    for bridge, kind in itertools.product((BRIDGES["resshift"], BRIDGES["i2sb"]), KINDS):
        z = bridge.q_sample(y, x, t, eps)
        p = target(y, x, z, eps, bridge=bridge, t=t, kind=kind)
        y_hat = convert(p, z, x, bridge=bridge, t=t, kind=kind)
        assert z.dtype == p.dtype == y_hat.dtype == torch.float32
        assert (y_hat - y).abs().max() < 1e-3


@pytest.mark.parametrize(
    ("bridge", "t", "kind", "message"),
    [
        (Pinned(0.1), 1.0, "eps", "undefined at 1.0 of Pinned"),
        (Pinned(0.1), 1.0, "score", "undefined at 1.0"),
        (Pinned(0.1), 1.0, "v", "undefined at 1.0"),
        (VP(LinearSDE()), 0.5, "i2sb", "no Brownian clock"),
        (VP(LinearSDE()), 0.5, "noise", "none of y, eps, v"),
        (VP(LinearSDE()), 0.5, "residual", "needs x_state"),
        (Pinned(0.1), 1.0, "eps", "use 'y' or 'i2sb' there"),
        (VP(ShiftedCosine(log_snr_min=-math.inf)), 1.0, "i2sb", "no Brownian clock"),
        (VP(schedules.jsd(9)), 1.0, "eps", "use 'y' or 'v' there"),
        (VP(schedules.jsd(9)), torch.tensor([0.5, 1.0], dtype=torch.float64), "score", "undefined at 1.0 of VP"),
        (Flow(), 0.0, "flow", "undefined at 0.0"),
        (Pinned(0.1), 1.0, "flow", "use 'y' or 'i2sb' there"),
        (SoftBlur(), 0.5, "eps", "use 'y', 'residual' or 'change'"),
        (Cold(Pixelate(1)), 0.5, "v", "is an operator"),
        (ResShift(), 0.5, "eps", "needs x_state"),
    ],
)
def test_what_determines_nothing_is_refused(bridge, t, kind, message):
    z = torch.zeros(1, 1, 1, 1, dtype=torch.float64)
    x = None if "x_state" in message else z
    with pytest.raises(ValueError, match=message):
        convert(z, z, x, bridge=bridge, t=t, kind=kind)


def test_unbounded_targets_are_refused():
    y, x, eps = fields()
    for kind, bridge in (("score", VP(LinearSDE())), ("i2sb", Pinned(0.1))):
        with pytest.raises(ValueError, match="undefined at 0.0"):
            target(y, x, y, eps, bridge=bridge, t=0.0, kind=kind)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="two variables"):
        Preconditioning(1.0, 1.0, 1.5)
    with pytest.raises(ValueError, match="limit 0"):
        min_snr_weight(VP(LinearSDE()), 0.5, limit=0.0)


# All kinds on all bridges.


@pytest.mark.parametrize("name", NAMED)
def test_conformance(name):
    errors = check_prediction(NAMED[name]())
    assert len(errors) >= 6 and all(value < 1e-10 for key, value in errors.items() if key != "implied weight")


def test_usable_kinds():
    assert usable_kinds(VP(LinearSDE()), 0.5) == ("y", "eps", "v", "score", "residual", "change", "flow")
    assert usable_kinds(Pinned(0.141), 1.0) == ("y", "residual", "change", "i2sb")
    assert usable_kinds(VP(schedules.jsd(9)), 1.0) == ("y", "v", "residual", "change", "flow")
    assert usable_kinds(Pinned(0.0), 0.5) == ("y", "residual", "change", "flow")
    assert usable_kinds(SoftBlur(), 0.5) == ("y", "residual", "change")
    assert "i2sb" in usable_kinds(VE(Proportional()), 0.3)


def test_flow_is_the_velocity_of_the_papers():
    y, x, eps = fields()
    for t in (0.03, 0.4, 1.0):
        for bridge, far, wanted in ((Flow(), eps, eps - y), (Pinned(0.0), x, x - y), (InDI(0.1), x + 0.1 * eps, None)):
            z = bridge.q_sample(y, x, t, eps)
            v = target(y, x, z, eps, bridge=bridge, t=t, kind="flow")
            assert torch.allclose(v, far - y if wanted is None else wanted, atol=1e-12)
            assert torch.allclose(v, (z - y) / t, atol=1e-12)
            # The network need not see x: one unit of error of v counts t in y.
            assert torch.allclose(convert(v + 1.0, z, x, bridge=bridge, t=t, kind="flow"), y - t, atol=1e-12)
            assert implied_weight(bridge, t, kind="flow").item() == pytest.approx(1 / t**2, rel=1e-12)
    for bridge in (VP(LinearSDE()), MeanReverting.ir_sde(), ResShift()):
        z = bridge.q_sample(y, x, 0.41, eps)
        v = target(y, x, z, eps, bridge=bridge, t=0.41, kind="flow")
        assert torch.allclose(v, bridge.velocity(z, y, x, 0.41), atol=1e-11)


def test_implied_weights_of_the_table():
    t = 0.37
    gamma = VP(LinearSDE()).coefficients(t)[0] ** 2
    assert implied_weight(VP(LinearSDE()), t, kind="v").item() == pytest.approx(1 / (1 - gamma), rel=1e-12)
    assert implied_weight(VP(LinearSDE()), t, kind="eps").item() == pytest.approx(gamma / (1 - gamma), rel=1e-12)
    assert implied_weight(Pinned(0.14), t, kind="i2sb").item() == pytest.approx(1 / (0.14 * t), rel=1e-12)
    edm, sigma = VE(Proportional()), 80 * t
    found = implied_weight(edm, t, kind=Preconditioning(0.25)).item()
    assert found == pytest.approx((sigma**2 + 0.25) / (0.5 * sigma) ** 2, rel=1e-12)


def test_edm_figures():
    """At sigma = 1/2; lambda c_out^2 = 1; a target of unit variance at every level."""
    edm, kind = VE(Proportional()), Preconditioning(0.25)
    c_in, c_skip, c_out = (c.item() for c in kind.scales(edm, 0.5 / 80))
    assert (c_skip, c_out, c_in) == pytest.approx((0.5, 0.353553, 1.414214), abs=5e-7)
    assert kind.noise_input(edm, 0.5 / 80).item() == pytest.approx(0.25 * math.log(0.5), abs=1e-12)
    assert noise_input(VP(LinearSDE()), 0.3).item() == pytest.approx(-0.125 * VP(LinearSDE()).log_snr(0.3), abs=1e-12)
    generator = torch.Generator().manual_seed(0)
    y, eps = torch.randn(2, 1, 1, 200, 500, generator=generator, dtype=torch.float64)
    for sigma in (0.002, 0.5, 3.0, 80.0):
        t = sigma / 80
        z = edm.q_sample(0.5 * y, None, t, eps)
        wanted = target(0.5 * y, None, z, eps, bridge=edm, t=t, kind=kind)
        assert wanted.var().item() == pytest.approx(1.0, abs=0.02)
        scales = kind.scales(edm, t)
        assert (implied_weight(edm, t, kind=kind) * scales[2] ** 2).item() == pytest.approx(1.0, rel=1e-12)
        assert (scales[0] * z).var().item() == pytest.approx(1.0, abs=0.02)
        assert torch.allclose(convert(wanted, z, None, bridge=edm, t=t, kind=kind), 0.5 * y, atol=1e-12)


def test_networks_of_other_papers_in_the_coordinates_of_edm():
    """c_skip = 1, c_out = -sigma of Karras et al., table 1 (VP): the kind eps, seen from z / a."""
    bridge, (z, p, _) = VP(LinearSDE()), fields()
    for t in (0.1, 0.7):
        a, _, s = bridge.coefficients(t)
        assert torch.allclose(convert(p, z, None, bridge=bridge, t=t, kind="eps"), z / a - s / a * p, atol=1e-12)
    edm = VE(Proportional())
    assert torch.allclose(convert(p, z, None, bridge=edm, t=0.1, kind="score"), z + 64.0 * p, atol=1e-12)


def test_ddbm_preconditioning():
    """Their scales of the VE bridge (appendix, table 1), written in sigma with variances and covariance."""
    bridge, kind, high = DDBM(VE(Proportional(high=80.0))), Preconditioning(0.25, 0.36, 0.2), 80.0
    for sigma in (0.1, 5.0, 79.0):
        a = sigma**2 / high**2
        total = a**2 * 0.36 + (1 - a) ** 2 * 0.25 + 2 * a * (1 - a) * 0.2 + sigma**2 * (1 - a)
        skip = ((1 - a) * 0.25 + a * 0.2) / total
        out = math.sqrt(a**2 * (0.25 * 0.36 - 0.04) + 0.25 * sigma**2 * (1 - a)) / math.sqrt(total)
        found = [c.item() for c in kind.scales(bridge, sigma / high)]
        assert found == pytest.approx([total**-0.5, skip, out], rel=1e-10)
    # At the pinned end nothing is singular: the small picture itself is the state.
    assert kind.scales(bridge, 1.0)[0].item() == pytest.approx(1 / 0.6)


def test_learned_log_variance():
    bridge, table = VP(schedules.cosine(100)), schedules.cosine(100)
    fraction = torch.tensor([0.0, 0.5, 1.0], dtype=torch.float64).reshape(1, 3, 1, 1)
    for i in (2, 40, 100):
        found = learned_log_variance(fraction, bridge=bridge, r=(i - 1) / 100, t=i / 100).flatten().exp().tolist()
        small, beta = bridge.variance((i - 1) / 100, i / 100), table.alpha[i - 1]
        assert found == pytest.approx([small, math.sqrt(small * beta), beta], rel=1e-9)
    # The first step has no small variance: that of the second stands in.
    low, _, high = learned_log_variance(fraction, bridge=bridge, r=0.0, t=0.01).flatten().exp().tolist()
    assert low == pytest.approx(bridge.variance(0.01, 0.02), rel=1e-12) and high == pytest.approx(table.alpha[0])
    batch = torch.tensor([0.5, 0.9], dtype=torch.float64)
    both = learned_log_variance(torch.full((2, 1, 1, 1), 0.3), bridge=bridge, r=batch - 0.01, t=batch)
    one = learned_log_variance(torch.full((1, 1, 1, 1), 0.3), bridge=bridge, r=0.89, t=0.9)
    assert both.dtype == torch.float32 and torch.allclose(both[1], one[0])
    assert torch.isfinite(learned_log_variance(fraction, bridge=bridge, r=0.0, t=1.0)).all()


def test_express_refuses_what_no_prediction_says():
    y, x, _ = fields()
    for bridge, t, kind in ((Pinned(0.1), 1.0, "v"), (VP(LinearSDE()), 0.0, "eps"), (Pinned(0.0), 0.0, "flow")):
        with pytest.raises(ValueError, match=f"undefined at {t}"):
            express(y, y, x, bridge=bridge, t=t, kind=kind)  # type: ignore[arg-type]
