"""Every recipe of the survey's chapters 3 and 4: the invariants of a method, and what its paper says it computes."""

from __future__ import annotations

import functools
import inspect

import pytest
import torch
from torch import Tensor, nn

from mezzotint import methods
from mezzotint.bridges import Bridge
from mezzotint.conditioning.features import DenseFeatures
from mezzotint.domains.nearest import Nearest
from mezzotint.domains.residual import Residual
from mezzotint.domains.wavelet import WaveletResidual, haar, inverse_haar
from mezzotint.errors import UsageError
from mezzotint.methods import diwa
from mezzotint.methods.recipe import Recipe
from mezzotint.networks.unet import UNet
from mezzotint.noise import Noise, SequentialNoise
from mezzotint.operators.resize import imresize
from mezzotint.testing import check_method
from mezzotint.training import read_run

NAMES = ("ddpm-sr", "ncsn-sr", "sde-sr", "srdiff", "diwa", "resshift", "cold-diffusion", "i2sb", "indi")
TINY = {"network": {"channels": 8, "multipliers": (1, 2), "groups": 4}}
OPTIONS = [
    *((name, {}) for name in NAMES),
    ("sde-sr", {"sde": "sub-vp"}),
    ("sde-sr", {"sde": "ve"}),
    ("sde-sr", {"sampler": "unipc2", "corrections": 0}),
    ("i2sb", {"path": "ot-ode"}),
    ("i2sb", {"condition": "low-resolution"}),
    ("resshift", {"schedule": 4}),
    ("indi", {"decay": 0.5}),
    ("cold-diffusion", {"sampler": "cold1"}),
    ("ddpm-sr", {"sampler": "dpm++2m", "weight": "min-snr"}),
]


def build(name: str, *, scale: float = 4, **changes) -> Recipe:
    with torch.random.fork_rng():
        torch.manual_seed(1)
        return methods.build(name, scale=scale, config={**TINY, **changes}).eval()


def picture(*shape: int, seed: int = 2) -> Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) * 2 - 1


# -- invariants -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "changes"), OPTIONS, ids=str)
def test_odd_sizes_are_exact_and_finite(name, changes):
    method = build(name, **changes)
    x = picture(2, 3, 5, 3).float()
    y = method.sample(x, steps=3, noise=Noise(0, pictures=(4, 5)), size=(21, 13))
    assert y.shape == (2, 3, 21, 13) and y.dtype == x.dtype and torch.isfinite(y).all() and not y.requires_grad
    assert method.sample(x[:, :, :1, :1], steps=2, noise=Noise(0)).shape == (2, 3, 4, 4)


@pytest.mark.parametrize(("name", "changes"), OPTIONS, ids=str)
def test_the_loss_reaches_every_parameter(name, changes):
    method = build(name, **changes).train()
    method.loss(picture(4, 3, 13, 11).float(), picture(4, 3, 4, 3).float(), noise=SequentialNoise(0)).backward()
    assert all(p.grad is not None and bool(torch.isfinite(p.grad).all()) for p in method.parameters())
    # The parameters of a part that learns belong to the trained group too.
    (stage,) = method.stages
    assert {id(p) for p in stage.groups["denoiser"].parameters()} == {id(p) for p in method.parameters()}


@pytest.mark.parametrize(("name", "changes"), OPTIONS[len(NAMES) :], ids=str)
def test_every_option_passes_the_public_check(name, changes):
    deterministic = name == "cold-diffusion" or changes.get("path") == "ot-ode"
    assert "saved and loaded" in check_method(build(name, **changes), steps=3, deterministic=deterministic)


@pytest.mark.parametrize("name", NAMES)
def test_thirty_steps_lower_the_loss(name):
    method = build(name).train()
    y = imresize(picture(4, 3, 4, 4), size=(32, 32)).clamp(-1, 1).float()
    x = imresize(y, size=(8, 8))

    def judge() -> float:
        with torch.no_grad():
            return sum(float(method.loss(y, x, noise=SequentialNoise(9, step=step))) for step in range(6))

    before = judge()
    optimiser = torch.optim.Adam(method.parameters(), lr=3e-3)
    for step in range(30):
        optimiser.zero_grad()
        method.loss(y, x, noise=SequentialNoise(1, step=step)).backward()
        optimiser.step()
    assert judge() < 0.95 * before


@pytest.mark.parametrize("name", NAMES)
def test_the_recipe_is_short_and_has_a_run_file(name, request):
    module = inspect.getmodule(methods.resolve_function(methods.find(name)))
    assert module is not None and len(inspect.getsource(module).splitlines()) <= 60
    run = read_run(request.config.rootpath / "training" / f"{name}.toml")
    assert (run.method, run.preset) == (name, "small")


def test_the_networks_have_one_size():
    """Comparisons are fair: the network is SR3's, apart from what it is shown; the parts that learn add a quarter."""
    sr3 = sum(p.numel() for p in methods.build("sr3").parameters())
    for name in NAMES:
        method = methods.build(name)
        assert abs(sum(p.numel() for p in method.network.parameters()) / sr3 - 1) < 0.05
        assert sum(p.numel() for p in method.parameters()) < 1.27 * sr3


def test_what_a_method_cannot_do_is_said():
    x = picture(1, 3, 2, 2).float()
    with pytest.raises(UsageError, match="resshift: 16 steps on a table of 15: use at most 15"):
        build("resshift").sample(x, steps=16, noise=Noise(0))
    with pytest.raises(UsageError, match="scale 3: cold-diffusion"):
        build("cold-diffusion", scale=3)
    with pytest.raises(UsageError, match="scale 3: the encoder"):
        build("srdiff", scale=3)
    with pytest.raises(UsageError, match="schedule 7 is unknown: use one of 15, 4"):
        build("resshift", schedule=7)
    with pytest.raises(ValueError, match="sampler 'hein' is none of"):
        build("sde-sr", sampler="hein")
    with pytest.raises(ValueError, match="the sampler needs a bridge without noise, and InDI is not one"):
        build("indi", sampler="cold2")


# -- exact answers through the whole recipe ---------------------------------------------------------------------------


class Gaussian(nn.Module):
    """The best network for y ~ N(0.5, 0.2^2), every pixel alone, whose x is 0.1; `kind` is what it answers with."""

    def __init__(self, method: Recipe) -> None:
        super().__init__()
        self.method = [method]

    def forward(self, joined: Tensor, level: Tensor) -> Tensor:
        (method,) = self.method
        bridge, t = self.at(method, float(level[0]))
        scale = method.input_scale(bridge, t) if method.input_scale else 1.0
        z = joined[:, -1:] / scale
        a, b, s = bridge.coefficients(t)
        y = 0.5 + a * 0.04 / (a**2 * 0.04 + s**2) * (z - a * 0.5 - b * 0.1)
        return y if method.objective.kind == "y" else (z - a * y - b * 0.1) / s

    @staticmethod
    @functools.cache
    def at(method: Recipe, level: float) -> tuple[Bridge, float]:
        low, high = 1e-9, 1.0
        for _ in range(60):
            middle = (low + high) / 2
            low, high = (middle, high) if method.level(method.bridge, middle) < level else (low, middle)
        return method.bridge, high


def spread(name: str, steps: int, *, side: int = 64, **changes) -> tuple[float, float]:
    method = build(name, channels=1, **changes)
    method.network, method.clip = Gaussian(method), False
    x = torch.full((1, 1, side, side), 0.1, dtype=torch.float64)
    y = method.sample(x, steps=steps, noise=Noise(3))
    return float(y.mean()), float(y.std())


@pytest.mark.parametrize(
    ("name", "steps", "changes", "std"),
    [
        ("resshift", 15, {}, 0.1257),
        ("indi", 4, {}, 0.0295),
        ("indi", 15, {}, 0.1086),
        ("indi", 4, {"noise": 0.1}, 0.1362),
        ("indi", 15, {"noise": 0.1}, 0.1811),
        ("sde-sr", 4, {"sampler": "ancestral", "corrections": 0}, 0.0403),
        ("sde-sr", 15, {"sampler": "ancestral", "corrections": 0}, 0.1157),
    ],
)
def test_the_spread_of_a_gaussian_is_the_known_one(name, steps, changes, std):
    """The exact deviations of the chains; 65536 pixels have a standard error of std / 362."""
    mean, found = spread(name, steps, **changes)
    assert mean == pytest.approx(0.5, abs=4 * std / 256 + 1e-3)
    assert found == pytest.approx(std, abs=4 * std / 362 + 1e-4)


@pytest.mark.parametrize(
    ("name", "steps", "changes"),
    [
        ("sde-sr", 150, {}),
        ("sde-sr", 150, {"sde": "sub-vp"}),
        ("sde-sr", 150, {"sde": "ve"}),
        ("sde-sr", 60, {"sampler": "unipc2", "corrections": 0}),
        ("ddpm-sr", 500, {}),
        ("ncsn-sr", 232, {}),
    ],
    ids=str,
)
def test_many_steps_give_the_posterior(name, steps, changes):
    mean, std = spread(name, steps, side=32, **changes)
    assert mean == pytest.approx(0.5, abs=0.01) and std == pytest.approx(0.2, abs=0.01)


class Knows(nn.Module):
    """A network that knows the clean state y: it answers exactly, in the kind of the method."""

    def __init__(self, method: Recipe, y: Tensor) -> None:
        super().__init__()
        self.method, self.y, self.channels = [method], y, y.shape[1]

    def forward(self, joined: Tensor, level: Tensor) -> Tensor:
        (method,) = self.method
        if method.objective.kind == "y":
            return self.y
        bridge, t = Gaussian.at(method, float(level[0]))
        z = joined[:, -self.channels :]
        if method.objective.kind == "i2sb":
            return (z - self.y) / bridge.brownian_variance(t) ** 0.5
        a, _, s = bridge.coefficients(t)
        return (z - a * self.y) / s


@pytest.mark.parametrize("name", ["ddpm-sr", "srdiff", "resshift", "i2sb", "indi", "cold-diffusion"])
@pytest.mark.parametrize("steps", [1, 4])
def test_a_network_that_knows_the_picture_gives_it(name, steps):
    method, x = build(name).double(), picture(1, 3, 3, 4)
    y = (imresize(x, scale=4) + 0.4 * picture(1, 3, 12, 16, seed=7)).clamp(-1, 1)
    clean = method.domain.encode(y, method.domain.context(x, size=(12, 16)))
    method.network = Knows(method, clean)
    got = method.sample(x, steps=steps, noise=Noise(2))
    # Pictures of algorithm 2 keep the difference between the start and the last degradation of y.
    if name == "cold-diffusion":
        start = method.domain.lift(x, method.domain.context(x, size=(12, 16)))
        y = y + start - method.bridge.mean(y, None, 1.0)
    far = name == "srdiff" and (y - imresize(x, scale=4)).abs() > 0.5
    # Eps at the first node is known to the rounding of its bisected time.
    assert (torch.where(torch.as_tensor(far), y, got) - y).abs().max() < 1e-5


def test_one_step_of_indi_is_its_regressor():
    method, x = build("indi", noise=0.0).double(), picture(1, 3, 4, 4)
    expected = method.network(imresize(x, scale=4), torch.full((1,), 1000.0, dtype=torch.float64))
    torch.testing.assert_close(method.sample(x, steps=1, noise=Noise(0)), expected, atol=1e-9, rtol=0)


def test_i2sb_starts_at_the_small_picture_and_ot_ode_is_deterministic():
    x = picture(1, 3, 4, 4).float()
    method = build("i2sb", path="ot-ode")
    one, other = (method.sample(x, steps=4, noise=Noise(seed)) for seed in (0, 1))
    assert torch.equal(one, other)
    method = build("i2sb")
    seen: list[Tensor] = []
    method.network.register_forward_pre_hook(lambda module, given: seen.append(given[0]))
    method.sample(x, steps=2, noise=Noise(0))
    assert torch.equal(seen[0], x.repeat_interleave(4, 2).repeat_interleave(4, 3))
    assert method.bridge.brownian_variance(1.0) ** 0.5 == pytest.approx(0.375536, abs=5e-7)


# -- their domains ----------------------------------------------------------------------------------------------------


def test_haar_is_orthonormal_with_a_doubled_mean_in_front():
    y = picture(2, 3, 8, 6)
    bands = haar(y)
    torch.testing.assert_close(inverse_haar(bands), y, atol=1e-12, rtol=0)
    torch.testing.assert_close(bands.square().sum(), y.square().sum(), atol=1e-9, rtol=0)
    torch.testing.assert_close(bands[:, :3], 2 * torch.nn.functional.avg_pool2d(y, 2), atol=1e-12, rtol=0)


@pytest.mark.parametrize("size", [(8, 12), (9, 11)])
def test_the_wavelet_residual_is_the_pixel_residual_in_other_coordinates(size):
    domain = WaveletResidual(width=8, layers=2).double()
    x, y = picture(1, 3, 2, 3), picture(1, 3, *size)
    context = domain.context(x, size=size)
    torch.testing.assert_close(domain.decode(domain.encode(y, context), context, size=size), y, atol=1e-12, rtol=0)
    for parameter in domain.parameters():
        parameter.data.zero_()
    context = domain.context(x, size=size)
    picture_of_state = inverse_haar(domain.encode(y, context))[..., : size[0], : size[1]]
    torch.testing.assert_close(picture_of_state, y - imresize(x, size=size), atol=1e-12, rtol=0)


@pytest.mark.parametrize(("preset", "parameters"), [("official", 8_966_460), ("official-faces", 91_506_252)])
def test_official_presets_of_diwa_have_the_published_number_of_parameters(preset, parameters):
    settings = diwa.PRESETS[preset]
    with torch.device("meta"):
        network = UNet(in_channels=24, out_channels=12, **settings["network"])
        domain = WaveletResidual(**settings["predictor"])
    assert sum(p.numel() for p in network.parameters()) == parameters
    assert sum(p.numel() for p in domain.parameters()) == 382_464
    assert preset in methods.find("diwa").presets


def test_the_predictor_of_diwa_has_the_published_number_of_parameters():
    assert sum(p.numel() for p in WaveletResidual().parameters()) == 382_464


def test_the_encoder_of_srdiff_is_the_published_one():
    """Its RRDB of 1,478,755 parameters has three more convolutions 32 to 32 and one to 3 colours, for pre-training."""
    encoder = DenseFeatures(scale=4)
    parts = (encoder.first, encoder.blocks, encoder.trunk)
    own = sum(p.numel() for part in parts for p in part.parameters())
    assert own + 3 * (32 * 32 * 9 + 32) + (32 * 3 * 9 + 3) == 1_478_755
    assert encoder.enlarge(torch.zeros(1, 96, 3, 2)).shape == (1, 64, 12, 8)


def test_a_level_without_sines_changes_the_prediction():
    method = build("diwa", network={"sines": False})
    z = picture(1, 24, 4, 4).float()
    low, high = (method.network(z, torch.tensor([level])) for level in (0.2, 0.9))
    assert (low - high).abs().max() > 1e-4


def test_the_residual_is_clipped_and_zeros_are_the_enlargement():
    domain, x, y = Residual(), picture(1, 3, 3, 4), picture(1, 3, 12, 16)
    context = domain.context(x, size=(12, 16))
    up = imresize(x, scale=4)
    state = domain.encode(y, context)
    assert state.abs().max() == 1.0
    torch.testing.assert_close(domain.decode(state, context, size=(12, 16)), up + (y - up).clamp(-0.5, 0.5))
    torch.testing.assert_close(domain.decode(torch.zeros_like(state), context, size=(12, 16)), up)


def test_nearest_repeats_pixels_and_extends_to_its_multiple():
    domain, x = Nearest(4), picture(1, 3, 3, 2)
    context = domain.context(x, size=(10, 8))
    assert domain.shape(context) == (1, 3, 12, 8) and domain.lift(x, context).shape == (1, 3, 12, 8)
    whole = domain.lift(x, domain.context(x, size=(12, 8)))
    assert torch.equal(whole, x.repeat_interleave(4, 2).repeat_interleave(4, 3))
    y = picture(1, 3, 10, 8)
    assert torch.equal(domain.decode(domain.encode(y, context), context, size=(10, 8)), y)
