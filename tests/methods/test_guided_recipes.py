"""Guidance through whole recipes: what is dropped in training, and what a strength does in sampling."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from mezzotint import methods
from mezzotint.conditioning.droppable import Droppable, droppable
from mezzotint.conditioning.features import DenseFeatures
from mezzotint.conditioning.low_resolution import LowResolution
from mezzotint.conditioning.nothing import Nothing
from mezzotint.errors import UsageError
from mezzotint.methods.recipe import Recipe
from mezzotint.noise import Noise, SequentialNoise
from mezzotint.operators.resize import imresize

NAMES = ("ddpm-sr", "sr3", "ncsn-sr", "sde-sr", "srdiff")
TINY = {"network": {"channels": 8, "multipliers": (1, 2), "groups": 4}}


def build(name: str = "ddpm-sr", *, drop: float = 0.1, **changes) -> Recipe:
    with torch.random.fork_rng():
        torch.manual_seed(1)
        return methods.build(name, config={**TINY, "drop": drop, **changes}).eval()


def picture(*shape: int, seed: int = 2) -> Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed)) * 2 - 1


class Watching(nn.Module):
    """A network that answers with a half of its state and remembers what else it was shown."""

    def __init__(self, channels: int = 3) -> None:
        super().__init__()
        self.channels, self.seen = channels, []

    def forward(self, joined: Tensor, level: Tensor) -> Tensor:
        self.seen.append(joined[:, : -self.channels])
        return 0.5 * joined[:, -self.channels :]


class TwoGaussians(nn.Module):
    """The best network for pixels N(0, 1) without a condition and N(0.8, 0.3^2) with one."""

    def __init__(self, method: Recipe) -> None:
        super().__init__()
        self.method = [method]

    def forward(self, joined: Tensor, level: Tensor) -> Tensor:
        t = float(level[0]) / 1000
        a, _, s = self.method[0].bridge.coefficients(t)
        given, z = joined[:, :1], joined[:, -1:]
        mean, variance = 0.8 * given, 1.0 - 0.91 * given
        return s * (z - a * mean) / (a**2 * variance + s**2)


@pytest.mark.parametrize("strength", [-0.5, 0.0, 0.5, 1.0, 2.0, 5.0])
def test_the_guided_score_of_two_gaussians_is_the_known_one(strength):
    """Precision (1 - l) / V0 + l / V1 and mean l a 0.8 / V1 over it, with the variances V of the noisy states."""
    method = build(channels=1)
    method.network, method.clip = TwoGaussians(method), False
    x = torch.zeros(1, 1, 1, 1, dtype=torch.float64)
    context = method.domain.context(x, size=(1, 1))
    denoise = method.denoiser(x, context=context, bridge=method.bridge, guidance=strength)
    for t in (0.05, 0.3, 0.9):
        a, _, s = method.bridge.coefficients(t)
        free, given = a**2 + s**2, 0.09 * a**2 + s**2
        scores = [(a * float(denoise(torch.full_like(x, z), t).y) - z) / s**2 for z in (0.0, 1.0)]
        precision = (1 - strength) / free + strength / given
        assert scores[0] - scores[1] == pytest.approx(precision, abs=1e-9)
        assert scores[0] == pytest.approx(strength * a * 0.8 / given, abs=1e-9)


def test_strength_one_asks_once_and_other_strengths_twice():
    x = picture(2, 3, 3, 4)
    for strength, evaluations in ((0.0, 1), (0.5, 2), (1.0, 1), (3.0, 2)):
        method = build()
        method.network = Watching()
        method.sample(x, steps=5, noise=Noise(0), guidance=strength)
        assert len(method.network.seen) == 5 * evaluations == 5 * method.cost(strength)
        shown = {float(seen[:, 0].unique()) for seen in method.network.seen}
        assert shown == ({0.0} if strength == 0 else {1.0} if strength == 1 else {0.0, 1.0})
        # The whole condition goes with its channel, nothing of it stays.
        assert all(bool((seen[:, 1:] == 0).all()) for seen in method.network.seen if seen[0, 0, 0, 0] == 0)


@pytest.mark.parametrize("name", NAMES)
def test_training_drops_the_whole_condition_of_single_pictures(name):
    method, count = build(name, drop=0.3).train(), 0
    method.network = Watching()
    y, x = picture(8, 3, 8, 8), picture(8, 3, 2, 2, seed=3)
    for step in range(60):
        method.loss(y, x, noise=SequentialNoise(5, step=step))
    seen = torch.cat(method.network.seen)
    assert bool(torch.isin(seen[:, 0], torch.tensor([0.0, 1.0])).all())
    there = seen[:, 0].flatten(1).mean(dim=1)
    count = int((there == 0).sum())
    assert abs(count / len(seen) - 0.3) < 4.5 * math.sqrt(0.21 / len(seen))
    assert bool((seen[there == 0] == 0).all()) and bool((seen[there == 1][:, 1:].flatten(1).std(dim=1) > 0).all())
    # Pictures of one batch differ in it.
    mixed = sum(0 < int(part.sum()) < 8 for part in there.split(8))
    assert mixed > 40


@pytest.mark.parametrize("name", NAMES)
def test_guided_pictures_differ_and_are_saved_with_their_method(name, tmp_path):
    method, x = build(name), picture(2, 3, 3, 4)
    with torch.no_grad():
        for parameter in method.parameters():
            parameter.add_(0.05 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(0)))
    noise = Noise(1, pictures=(3, 4))
    plain, guided = (method.sample(x, steps=3, noise=noise, guidance=g) for g in (1.0, 2.0))
    assert plain.shape == guided.shape == (2, 3, 12, 16) and (plain - guided).abs().max() > 1e-3
    assert torch.equal(plain, method.sample(x, steps=3, noise=noise))
    alone = method.sample(x[1:], steps=3, noise=Noise(1, pictures=(4,)), guidance=2.0)
    assert (guided[1:] - alone).abs().max() < 1e-3
    method.save_pretrained(tmp_path)
    assert torch.equal(methods.load(tmp_path).sample(x, steps=3, noise=noise, guidance=2.0), guided)


@torch.no_grad()
def test_a_guided_estimate_is_clipped_last():
    method, x = build(), picture(1, 3, 2, 2)
    context = method.domain.context(x, size=(8, 8))
    z = 3 * picture(1, 3, 8, 8, seed=4)
    plain, free, guided = (
        method.denoiser(x, context=context, bridge=method.bridge, guidance=g)(z, 0.6).y for g in (1.0, 0.0, 4.0)
    )
    method.clip = False
    given, without = (
        method.denoiser(x, context=context, bridge=method.bridge, guidance=g)(z, 0.6).y for g in (1.0, 0.0)
    )
    expected = (without + 4.0 * (given - without)).clamp(-1, 1)
    torch.testing.assert_close(guided, expected, atol=1e-5, rtol=0)
    assert (given.abs() > 1).any() and (guided - (free + 4.0 * (plain - free))).abs().max() > 1e-3


def test_without_drops_the_network_is_the_plain_one():
    plain, dropping = build(drop=0.0), build(drop=0.2)
    assert isinstance(plain.conditioning, LowResolution) and isinstance(dropping.conditioning, Droppable)
    shapes = [{name: tensor.shape for name, tensor in m.state_dict().items()} for m in (plain, dropping)]
    assert shapes[0].keys() == shapes[1].keys()
    assert [name for name in shapes[0] if shapes[0][name] != shapes[1][name] and "first" not in name] in (
        [],
        ["network.direct.weight", "network.direct.bias"],
    )
    assert dropping.conditioning.channels(3) == plain.conditioning.channels(3) + 1


def test_one_network_learns_both():
    """y is x, one colour a picture: with the condition the error vanishes, without it the spread of y stays."""
    method = build(drop=0.3, channels=1).train()
    optimiser = torch.optim.Adam(method.parameters(), lr=1e-2)
    for step in range(150):
        x = picture(32, 1, 1, 1, seed=step)
        optimiser.zero_grad()
        method.loss(x.expand(-1, -1, 4, 4), x, noise=SequentialNoise(1, step=step)).backward()
        optimiser.step()
    method.eval().clip = False
    x = torch.linspace(-1, 1, 9).repeat(20)[:, None, None, None]
    context, t = method.domain.context(x, size=(4, 4)), 0.4
    a, _, s = method.bridge.coefficients(t)
    z = a * x + s * SequentialNoise(2).normal("test", 0, (len(x), 1, 4, 4), dtype=torch.float32)
    errors = []
    for strength in (1.0, 0.0):
        denoise = method.denoiser(x, context=context, bridge=method.bridge, guidance=strength)
        with torch.no_grad():
            errors.append(float((denoise(z, t).y.mean(dim=(1, 2, 3)) - x.flatten()).square().mean()))
    assert 5 * errors[0] < errors[1]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: build(drop=0.0).check_guidance(2.0), r"guidance 2 .* train it with drop = 0.1 under \[config\]"),
        (lambda: methods.build("i2sb").check_guidance(0.0), "guidance 0 .* only methods with a setting `drop`"),
        (lambda: build().check_guidance(math.nan), "guidance nan is not a finite number"),
        (lambda: methods.build("shared").check_guidance(2.0), "guidance 2 needs a network"),
        (lambda: build(drop=1.0), "drop 1.0 is not a probability from 0 to below 1"),
        (lambda: build(drop=-0.1), "drop -0.1 is not a probability"),
        (lambda: build(drop=True), "drop True is not a probability"),
        (lambda: methods.build("ddpm-sr", config={"drop": "0.1"}), "drop '0.1' is not a probability"),
        (lambda: droppable(Nothing(), drop=0.1), "drop 0.1: Nothing shows no condition"),
    ],
)
def test_what_cannot_be_guided_says_why(call, message):
    with pytest.raises(UsageError, match=message):
        call()


def test_a_state_that_holds_x_is_not_trained_without_it():
    parts = methods.build("resshift", config=TINY)
    names = ("name", "scale", "preset", "config", "network", "bridge", "domain", "objective", "walk", "step")
    with pytest.raises(UsageError, match="resshift: drop 0.1 leaves x out, but every state of ResShift holds it"):
        Recipe(**{name: getattr(parts, name) for name in names}, conditioning=Droppable(LowResolution(), drop=0.1))


def test_every_path_of_a_condition_is_the_inner_one_under_a_channel():
    x = picture(2, 3, 4, 4)
    inner = DenseFeatures(scale=4, blocks=2, features=4, growth=2, width=5)
    dropping = Droppable(inner, drop=0.1)
    condition = dropping.prepare(x, size=(16, 16))
    assert torch.equal(condition[:, 1:], inner.prepare(x, size=(16, 16))) and bool((condition[:, 0] == 1).all())
    z = picture(2, 3, 16, 16).double()
    joined = dropping.join(z, condition)
    assert joined.shape[1] == dropping.channels(3) == 9 and joined.dtype == z.dtype
    assert torch.equal(joined[:, 1:], inner.join(z, condition[:, 1:]))
    assert not dropping.null(condition).any() and not dropping.lifted
    enlarged = Droppable(LowResolution(), drop=0.1).prepare(x, size=(16, 16))
    assert torch.equal(enlarged[:, 1:], imresize(x, size=(16, 16)))
