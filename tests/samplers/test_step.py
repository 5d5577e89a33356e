from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial

import numpy as np
import pytest
import torch
from torch import Tensor

from mezzotint import schedules
from mezzotint.bridges import VP, Bridge, Pinned, ResShift
from mezzotint.prediction import convert, large_variance, noise_of
from mezzotint.samplers import Estimate, ancestral, carry_step, ddim
from mezzotint.schedules import LinearSDE, ShiftedCosine
from mezzotint.testing import check_sampler

BRIDGES = {
    "vp": VP(LinearSDE()),
    "vp-sr3": VP(schedules.sr3()),
    "vp-shifted-cosine": VP(ShiftedCosine(0.5)),
    "resshift": ResShift(),
    "pinned": Pinned(0.141027),
    "i2sb": Pinned.i2sb(),
}
STEPS = {
    "ancestral": ancestral,
    "half": partial(ancestral, eta=0.5),
    "ddim": ddim,
}


def fields(count: int, seed: int = 0) -> list[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(2, 3, 4, 5, generator=generator, dtype=torch.float64) for _ in range(count)]


def spread(bridge: Bridge, estimate: Estimate, t: float, r: float, step=ancestral) -> float:
    """The standard deviation that a step adds: its answer to unit noise."""
    z = torch.zeros_like(estimate.y)
    still, _ = step(bridge, z, estimate, z, t, r, torch.zeros_like(z))
    moved, _ = step(bridge, z, estimate, z, t, r, torch.ones_like(z))
    return (moved - still).mean().item()


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("bridge", BRIDGES)
def test_conformance(bridge, step):
    errors = check_sampler(STEPS[step], bridge=BRIDGES[bridge])
    assert errors["known sample keeps the marginals"] < 1e-12


@pytest.mark.parametrize("bridge", BRIDGES)
def test_the_formula(bridge):
    """z_r = D_r(y, x) + k (z - D_t(y', x)) + sqrt(s_r^2 - k^2 s_t^2 + (a_r - k a_t)^2 c2) eps, term by term."""
    bridge, rng = BRIDGES[bridge], np.random.default_rng(0)
    y, other, x, z, eps = fields(5)
    c2 = torch.rand(2, 1, 4, 5, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    for _ in range(10):
        r, t = np.sort(rng.uniform(0.05, 0.98, 2)).tolist()
        (a_r, b_r, s_r), (a_t, b_t, s_t) = bridge.coefficients(r), bridge.coefficients(t)
        k = rng.uniform() * s_r / s_t
        out, carry = carry_step(bridge, z, Estimate(y, other, c2), x, t, r, eps, "kept", k=k)
        variance = s_r**2 - k**2 * s_t**2 + (a_r - k * a_t) ** 2 * c2
        wanted = a_r * y + b_r * x + k * (z - a_t * other - b_t * x) + variance.sqrt() * eps
        assert torch.allclose(out, wanted, atol=1e-12) and carry == "kept"


@pytest.mark.parametrize("bridge", BRIDGES)
def test_ancestral_is_the_carry_step_with_the_bridges_carry(bridge):
    bridge = BRIDGES[bridge]
    y, x, z, eps = fields(4)
    for r, t in ((0.3, 0.5), (0.0, 0.2), (0.7, 1.0)):
        first, _ = ancestral(bridge, z, Estimate(y, c2=0.3), x, t, r, eps)
        second, _ = carry_step(bridge, z, Estimate(y, c2=0.3), x, t, r, eps, k=lambda b, r, t: b.carry(r, t))
        assert torch.allclose(first, second, atol=1e-12)


@pytest.mark.parametrize(
    "schedule",
    [schedules.linear(1000), schedules.sr3(), schedules.cosine(1000), LinearSDE(), ShiftedCosine(0.25)],
    ids=["linear", "sr3", "cosine", "sde", "shifted-cosine"],
)
def test_the_large_variance_is_ddpms(schedule):
    """With c2 = s^2 / (a^2 + s^2) the step adds 1 - gamma_t / gamma_r, with c2 = 0 the posterior variance."""
    bridge, rng = VP(schedule), np.random.default_rng(0)
    y = torch.zeros(1, 1, 1, 1, dtype=torch.float64)
    pairs = [np.sort(rng.uniform(0.0005, 1, 2)).tolist() for _ in range(200)]
    if bridge.nodes:
        pairs += [((i - 1) / bridge.nodes, i / bridge.nodes) for i in (2, 3, 100, 500, bridge.nodes)]
    for r, t in pairs:
        gamma_r, gamma_t = bridge.coefficients(r)[0] ** 2, bridge.coefficients(t)[0] ** 2
        large = spread(bridge, Estimate(y, c2=large_variance(bridge, t)), t, r) ** 2
        assert abs(large - (1 - gamma_t / gamma_r)) < 1e-12
        small = spread(bridge, Estimate(y), t, r) ** 2
        assert abs(small - (1 - gamma_r) * (1 - gamma_t / gamma_r) / (1 - gamma_t)) < 1e-12


def test_ddim_update():
    """sqrt(gamma_r) y + sqrt(1 - gamma_r - v^2) eps_hat + v eps, v = eta times the posterior deviation."""
    bridge, (p, z, eps) = VP(schedules.linear(1000)), fields(3)
    for r, t in ((0.001, 0.05), (0.3, 0.5), (0.98, 1.0)):
        gamma_r, gamma_t = bridge.coefficients(r)[0] ** 2, bridge.coefficients(t)[0] ** 2
        y = convert(p, z, None, bridge=bridge, t=t, kind="eps")
        for eta in (0.0, 0.4, 1.0):
            v = eta * math.sqrt((1 - gamma_r) / (1 - gamma_t)) * math.sqrt(1 - gamma_t / gamma_r)
            wanted = math.sqrt(gamma_r) * y + math.sqrt(1 - gamma_r - v**2) * p + v * eps
            out, _ = ancestral(bridge, z, Estimate(y), None, t, r, eps, eta=eta)
            assert torch.allclose(out, wanted, atol=1e-11)


def test_ddim_is_euler_in_the_noise_level():
    """d(z / sqrt(gamma)) / d sigma = eps_hat with sigma = sqrt((1 - gamma) / gamma)."""
    bridge, (y, z) = VP(schedules.linear(1000)), fields(2)
    for r, t in ((0.0, 0.05), (0.3, 0.5), (0.98, 1.0)):
        (a_r, _, s_r), (a_t, _, s_t) = bridge.coefficients(r), bridge.coefficients(t)
        euler = z / a_t + (s_r / a_r - s_t / a_t) * noise_of(y, z, None, bridge=bridge, t=t)
        out, _ = ddim(bridge, z, Estimate(y), None, t, r, None)
        assert torch.allclose(out / a_r, euler, atol=1e-12)


def test_the_noise_free_pinned_step_is_eulers_of_the_flow():
    bridge, (y, x, z) = Pinned(0.0), fields(3)
    for r, t in ((0.0, 0.1), (0.4, 0.6), (0.9, 1.0)):
        out, _ = ancestral(bridge, z, Estimate(y), x, t, r, None)
        assert torch.allclose(out, z + (r - t) * (z - y) / t, atol=1e-12)


def test_the_last_step_returns_the_estimate_and_draws_nothing():
    y, x, z = fields(3)
    for bridge in BRIDGES.values():
        for step in STEPS.values():
            out, _ = step(bridge, z, Estimate(y, c2=0.7), x, 0.3, 0.0, None)
            assert torch.equal(out, y)


def test_noise_is_drawn_only_where_it_is_used():
    y, x, z, eps = fields(4)
    drawn = []

    def draw() -> Tensor:
        drawn.append(1)
        return eps

    ddim(ResShift(), z, Estimate(y, c2=0.5), x, 0.6, 0.3, draw)
    ancestral(Pinned(0.0), z, Estimate(y), x, 0.6, 0.3, draw)
    ancestral(ResShift(), z, Estimate(y), x, 0.6, 0.0, draw)
    assert not drawn
    ancestral(ResShift(), z, Estimate(y), x, 0.6, 0.3, draw)
    ddim(Pinned(0.1), z, Estimate(y), x, 1.0, 0.3, draw)
    assert len(drawn) == 2


def test_a_pinned_end_is_left_with_noise_by_ddim_too():
    bridge, (y, x, eps) = Pinned(0.141027), fields(3)
    out, _ = ddim(bridge, x, Estimate(y), x, 1.0, 0.6, eps)
    assert torch.allclose(out, 0.4 * y + 0.6 * x + math.sqrt(0.141027 * 0.6 * 0.4) * eps, atol=1e-12)


def test_a_kept_noise_differs_from_the_corrected_estimate():
    """DDNM's and DDRM's way: the mean moves to the corrected estimate, the noise stays the network's."""
    bridge, (y, corrected, z) = VP(LinearSDE()), fields(3)
    out, _ = ddim(bridge, z, Estimate(corrected, y_carry=y), None, 0.5, 0.3, None)
    a, _, s = bridge.coefficients(0.3)
    eps_hat = noise_of(y, z, None, bridge=bridge, t=0.5)
    assert torch.allclose(out, a * corrected + s * eps_hat, atol=1e-12)


@dataclass(frozen=True)
class Path(Bridge):
    """A noise-free path y + t e to a known end: an operator mean, as Cold Diffusion has."""

    e: float

    def coefficients(self, t):
        return (1.0 + 0 * t, 0 * t, 0 * t)

    def carry(self, r, t):
        return 0 * r + 1.0 if r > 0 else 0.0

    def start(self, x_state, eps):
        return eps

    def mean(self, y, x_state, t):
        return y + t * self.e


def test_cold_diffusion_with_full_carry_is_exact_for_any_estimate_of_a_linear_path():
    """Bansal et al. 2022: algorithm 2 (k = 1) undoes y + t e whatever is predicted, algorithm 1 (k = 0) does not."""
    y = torch.full((1, 1, 1, 1), 0.7, dtype=torch.float64)
    path = Path(-0.9)
    ends = []
    for k in (1.0, 0.0):
        z = path.mean(y, None, 1.0)
        for t, r in zip(np.linspace(1, 0.1, 10), np.linspace(0.9, 0, 10), strict=True):
            z, _ = carry_step(path, z, Estimate(0.3 * z - 5.0), None, float(t), float(r), None, k=k)
        ends.append(z.item())
    assert ends[0] == pytest.approx(0.7, abs=1e-12) and abs(ends[1] - 0.7) > 1.0


def test_steps_run_in_the_type_of_the_state():
    y, x, z, eps = fields(4)
    out, _ = ancestral(ResShift(), z, Estimate(y.float()), x, 0.6, 0.3, eps.float())
    assert out.dtype == torch.float64
    out, _ = ancestral(ResShift(), z.float(), Estimate(y), x.float(), 0.6, 0.3, eps)
    assert out.dtype == torch.float32


def test_wrong_steps_are_refused():
    y, x, z, eps = fields(4)
    with pytest.raises(ValueError, match="up is bridge.renoise"):
        ancestral(ResShift(), z, Estimate(y), x, 0.3, 0.6, eps)
    with pytest.raises(ValueError, match="stochastic: give it noise"):
        ancestral(ResShift(), z, Estimate(y), x, 0.6, 0.3, None)
    with pytest.raises(ValueError, match="eta 2"):
        ancestral(ResShift(), z, Estimate(y), x, 0.6, 0.3, eps, eta=2.0)
