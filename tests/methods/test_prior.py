"""The prior: local, of any size, and a denoiser on every bridge; an untrained one already bears the solvers."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from mezzotint import methods
from mezzotint.bridges import VE, VP
from mezzotint.errors import UsageError
from mezzotint.methods.restorer import build_restorer
from mezzotint.networks.local_unet import LocalUNet
from mezzotint.noise import Noise, SequentialNoise
from mezzotint.schedules import geometric, linear
from mezzotint.upscaler import load

TINY = {"network": {"widths": (8, 12, 16), "blocks": 1, "embedding": 16}}


def tiny():
    with torch.random.fork_rng():
        torch.manual_seed(3)
        method = methods.build("prior", scale=1, config=TINY).eval()
        for parameter in method.parameters():
            torch.nn.init.normal_(parameter, std=0.1)
        return method


def pixels(*shape):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(1)) * 2 - 1


def test_a_pixel_sees_its_reach_and_no_more():
    network, z = tiny().network.double(), pixels(1, 3, 160, 160).double().requires_grad_()
    out = network(z, torch.zeros(1, dtype=torch.float64))
    (gradient,) = torch.autograd.grad(out[0, :, 80, 80].sum(), z)
    rows = gradient.abs().sum((0, 1, 3)).nonzero().flatten()
    assert network.reach <= 80
    assert 80 - rows.min() <= network.reach
    assert rows.max() - 80 <= network.reach
    assert rows.max() - rows.min() > 1.5 * network.reach  # the claim is not far too large


def test_tiles_equal_the_whole():
    network, z, level = tiny().network.double(), pixels(1, 3, 192, 48).double(), torch.full((1,), -1.0)
    margin = network.reach
    with torch.no_grad():
        whole = network(z, level)
        part = network(z[..., 88 - margin : 88 + margin + 16, :], level)
    assert (part[..., margin : margin + 16, :] - whole[..., 88:104, :]).abs().max() < 1e-12


@pytest.mark.parametrize("size", [(200, 24), (17, 211), (150, 146)])
def test_a_large_picture_is_seen_in_tiles_that_equal_the_whole(size):
    method, z = tiny(), pixels(1, 3, *size)
    bridge, w = VP(linear(1000)), pixels(1, 3, *size)
    found = {}
    for side in (512, 32):
        method.tile = side
        assert (max(size) > side + 2 * method.network.reach) == (side == 32)
        assert (method.pixels_seen(size[0], size[1]) > size[0] * size[1]) == (side == 32)
        point = z.clone().requires_grad_()
        y = method.of(bridge, like=z)(point, 0.4).y
        (gradient,) = torch.autograd.grad((w * y).sum(), point)
        with torch.no_grad():
            assert (method.of(bridge, like=z)(z, 0.4).y - y).abs().max() < 1e-6
        found[side] = y.detach(), gradient
    assert (found[32][0] - found[512][0]).abs().max() < 1e-6
    assert (found[32][1] - found[512][1]).abs().max() < 1e-5 * found[512][1].abs().max()


@pytest.mark.parametrize("solver", ["ddnm", "pigdm"])
def test_what_was_measured_is_met_in_tiles_too(solver):
    prior = tiny()
    prior.tile = 32
    restorer = build_restorer(solver, scale=4, preset=methods.find(solver).presets[0], config=None, prior=prior)
    x = pixels(1, 3, 48, 11)
    assert 32 + 2 * prior.network.reach < 4 * 48
    y = restorer.sample(x, noise=Noise(0), steps=3)
    prior.tile = 512
    whole = restorer.sample(x, noise=Noise(0), steps=3)
    assert (whole - y).abs().max() < 1e-4 * max(1.0, float(whole.abs().max()))
    if solver == "ddnm":
        operator = restorer.operator_for("bicubic", (48, 11), (192, 44))
        assert (operator.A(y) - x).abs().max() < 1e-5 * max(1.0, float(y.abs().max()))


@pytest.mark.parametrize("size", [(1, 1), (1, 7), (5, 3), (17, 24)])
def test_any_size(size):
    method = tiny()
    y = method.sample(pixels(2, 3, *size), steps=2, noise=Noise(0))
    assert y.shape == (2, 3, *size)
    assert torch.isfinite(y).all()


@pytest.mark.parametrize("bridge", [VP(linear(1000)), VE(geometric(100, low=0.01, high=50.0))])
def test_the_estimate_is_the_same_at_one_noise_level_on_every_bridge(bridge):
    method, y, eps = tiny(), pixels(1, 3, 16, 16), torch.randn(1, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    denoise = method.of(bridge, like=y)
    clean = denoise(bridge.q_sample(y.double(), None, 0.0, eps), 0.0)
    assert (clean.y - y).abs().max() < 1e-5
    t = bridge.time_at(2.0, low=bridge.first, high=1.0 - bridge.first)
    a, _, s = bridge.coefficients(t)
    other = VE(geometric(2, low=s / a, high=2 * s / a))
    there = method.of(other, like=y)((y + s / a * eps).double(), 0.5)
    assert (denoise((a * y + s * eps).double(), t).y - there.y).abs().max() < 1e-5


def test_the_loss_is_one_for_a_network_that_says_nothing():
    """The preconditioning makes the target of unit variance for pictures of the assumed deviation."""
    method = methods.build("prior", scale=1, config=TINY)
    y = 0.5 * torch.randn(64, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    assert float(method.loss(y, y, noise=SequentialNoise(seed=0)).detach()) == pytest.approx(1.0, abs=0.02)


def test_training_lowers_the_loss():
    method = methods.build("prior", scale=1, config=TINY).train()
    y = torch.nn.functional.interpolate(pixels(8, 3, 4, 4), scale_factor=4, mode="bilinear")
    optimiser = torch.optim.Adam(method.parameters(), lr=1e-2)
    losses = []
    for step in range(60):
        optimiser.zero_grad()
        loss = method.loss(y, y, noise=SequentialNoise(seed=0, step=step))
        loss.backward()
        optimiser.step()
        losses.append(float(loss.detach()))
    assert sum(losses[-10:]) < 0.9 * sum(losses[:10])


def test_a_prior_alone_enlarges_nothing(tmp_path):
    tiny().save_pretrained(tmp_path / "prior")
    with pytest.raises(UsageError, match="ddnm:"):
        load(tmp_path / "prior")


def test_bad_settings():
    wrong: tuple[dict[str, Any], ...] = ({"widths": ()}, {"blocks": 0}, {"embedding": 3}, {"patch": 0})
    for settings in wrong:
        with pytest.raises(UsageError, match="local U-Net"):
            LocalUNet(**settings)
