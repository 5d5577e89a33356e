from __future__ import annotations

import math

import pytest
import torch

from mezzotint.bridges import VP, Pinned, ResShift
from mezzotint.noise import Noise
from mezzotint.samplers import bits_per_dimension, dequantise, log_likelihood
from mezzotint.schedules import LinearSDE
from mezzotint.testing import GaussianField, GaussianPrior, MixturePrior

PRIOR = GaussianPrior(0.3, 0.5)
BRIDGE = VP(LinearSDE())


def one(value: float) -> torch.Tensor:
    return torch.full((1, 1, 1, 1), value, dtype=torch.float64)


def marginal(bridge, t: float, x: float = 0.0):
    """The log density of the state at t of N(0.3, 0.25) data."""
    a, b, s = bridge.coefficients(t)

    def density(z):
        power = a**2 * 0.25 + s**2
        off = z - a * 0.3 - b * x
        return (-0.5 * off**2 / power - 0.5 * math.log(2 * math.pi * power)).flatten(1).sum(1)

    return density


@pytest.mark.parametrize("trace", ["exact", "rademacher"])
def test_the_figures_of_a_gaussian(trace):
    """z = 0.7 at t = 1e-5: with the true end -0.5457921334, with N(0, 1) 1.6e-3 nats less; ten digits."""

    def run(prior):
        return log_likelihood(
            PRIOR.denoiser(BRIDGE),
            one(0.7),
            bridge=BRIDGE,
            noise=Noise(0),
            prior=prior,
            trace=trace,
            rtol=1e-11,
            atol=1e-11,
        ).item()

    assert run(marginal(BRIDGE, 1.0)) == pytest.approx(-0.5457921334, abs=6e-11)
    # The specification's last digit is cut, not rounded; the flow and its Jacobian are known in closed form.
    found = run(None)
    assert found == pytest.approx(-0.5473770605, abs=1e-10)
    end = PRIOR.flow(BRIDGE, one(0.7), None, 1.0, 1e-5).item()
    power = [a**2 * 0.25 + s**2 for a, _, s in (BRIDGE.coefficients(1e-5), BRIDGE.coefficients(1.0))]
    closed = -0.5 * end**2 - 0.5 * math.log(2 * math.pi) + 0.5 * math.log(power[1] / power[0])
    assert found == pytest.approx(closed, abs=2e-11)
    assert marginal(BRIDGE, 1e-5)(one(0.7)).item() == pytest.approx(-0.5457921334, abs=6e-11)


@pytest.mark.parametrize(("bridge", "last"), [(ResShift(), 1.0), (Pinned(0.141027), 0.95)])
def test_bridges_to_the_small_picture(bridge, last):
    x, z = one(0.1), one(0.45)
    found = log_likelihood(
        PRIOR.denoiser(bridge, x),
        z,
        bridge=bridge,
        noise=Noise(0),
        x_state=x,
        first=0.1,
        last=last,
        prior=marginal(bridge, last, 0.1),
        rtol=1e-8,
        atol=1e-8,
    )
    assert found.item() == pytest.approx(marginal(bridge, 0.1, 0.1)(z).item(), abs=1e-5)


def test_traces_agree_and_probes_average_to_the_exact_one():
    """A joint Gaussian, whose Jacobian is not diagonal: probes scatter about the exact trace."""
    generator = torch.Generator().manual_seed(0)
    root = torch.randn(4, 4, generator=generator, dtype=torch.float64)
    field = GaussianField(torch.zeros(4, dtype=torch.float64), root @ root.T / 4)
    z = torch.randn(1, 1, 2, 2, generator=generator, dtype=torch.float64)

    def run(**options):
        tolerance = {"rtol": 1e-4, "atol": 1e-4}
        return log_likelihood(
            field.denoiser(BRIDGE), z, bridge=BRIDGE, noise=Noise(1), first=0.05, **tolerance, **options
        ).item()

    exact = run(trace="exact")
    a, _, s = BRIDGE.coefficients(0.05)
    spread = a**2 * field.covariance + s**2 * torch.eye(4, dtype=torch.float64)
    wanted = torch.distributions.MultivariateNormal(torch.zeros(4, dtype=torch.float64), spread)
    assert exact == pytest.approx(wanted.log_prob(z.flatten()).item(), abs=5e-3)
    few, many = run(trace="rademacher", probes=4), run(trace="rademacher", probes=100)
    assert abs(many - exact) < 0.1 and abs(run(trace="gaussian", probes=100) - exact) < 0.3
    assert few != exact


def test_a_density_that_is_no_gaussian():
    """A mixture of two: its density at a small time, by hand."""
    prior = MixturePrior((0.3, 0.7), (-0.6, 0.5), (0.2, 0.3))
    first = 1e-3
    z = torch.tensor([-0.7, 0.1, 0.6], dtype=torch.float64).reshape(3, 1, 1, 1)
    found = log_likelihood(
        prior.denoiser(BRIDGE), z, bridge=BRIDGE, noise=Noise(0), first=first, rtol=1e-7, atol=1e-7, trace="exact"
    )
    a, _, s = BRIDGE.coefficients(first)
    wanted = 0.0
    for weight, mean, std in zip(prior.weights, prior.means, prior.stds, strict=True):
        power = a**2 * std**2 + s**2
        wanted = wanted + weight * torch.exp(-0.5 * (z.flatten() - a * mean) ** 2 / power) / math.sqrt(
            2 * math.pi * power
        )
    assert torch.allclose(found, wanted.log(), atol=6e-3)


def test_bits_per_dimension_have_the_published_offsets():
    """A uniform density in [-1, 1] codes 8 bits; the offset is 7 there and 8 in [0, 1]."""
    flat = torch.tensor(-10 * math.log(2.0))
    assert bits_per_dimension(flat, dimensions=10).item() == pytest.approx(8.0)
    assert bits_per_dimension(torch.tensor(0.0), dimensions=10).item() == pytest.approx(7.0)
    assert bits_per_dimension(torch.tensor(0.0), dimensions=10, low=0.0).item() == pytest.approx(8.0)


def test_dequantised_pictures_fill_the_bins():
    indices = torch.arange(256).reshape(1, 1, 16, 16).expand(40, 1, 16, 16)
    eps = Noise(0, pictures=tuple(range(40))).normal("dequantise", 0, indices.shape)
    y = dequantise(indices, eps)
    assert torch.equal(((y + 1) * 128).floor().long(), indices) and y.min() >= -1.0 and y.max() <= 1.0
    inside = (y + 1) * 128 - indices
    assert abs(inside.mean().item() - 0.5) < 0.02 and abs(inside.var().item() - 1 / 12) < 0.005


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"trace": "hutch"}, "trace 'hutch'"),
        ({"probes": 0}, "probes 0"),
        ({"first": 0.0}, "a time above 0"),
        ({"first": 0.6, "last": 0.5}, "from 0.6 to 0.5"),
        ({"bridge": Pinned(0.1)}, "no noise at 1.0"),
        ({"x_state": torch.zeros(1, 1, 2, 2)}, "x_state has shape"),
    ],
)
def test_wrong_uses_are_refused(changes, message):
    arguments = {"bridge": BRIDGE, "noise": Noise(0), **changes}
    with pytest.raises(ValueError, match=message):
        log_likelihood(PRIOR.denoiser(BRIDGE), one(0.1), **arguments)
    with pytest.raises(ValueError, match="is no picture"):
        bits_per_dimension(torch.tensor(0.0), dimensions=0)
    with pytest.raises(ValueError, match="need noise"):
        dequantise(torch.zeros(1, 1), torch.zeros(1, 2))
