from __future__ import annotations

import inspect
import math

import pytest
import torch
from torch import Tensor, nn

from mezzotint import methods, prediction, schedules, testing, weights
from mezzotint.bridges import VP
from mezzotint.errors import UsageError, WeightsError
from mezzotint.methods import sr3
from mezzotint.networks.unet import UNet
from mezzotint.noise import Noise, SequentialNoise
from mezzotint.samplers import Move

TINY = {"network": {"channels": 8, "multipliers": (1, 2), "groups": 4, "patch": 1}}


def tiny(**changes) -> sr3.Recipe:
    with torch.random.fork_rng():
        torch.manual_seed(1)
        return methods.build("sr3", config={**TINY, **changes}).eval()


def pictures(count: int = 2, size: tuple[int, int] = (4, 5)) -> Tensor:
    return torch.rand(count, 3, *size, generator=torch.Generator().manual_seed(2)) * 2 - 1


# -- the network and the schedule ------------------------------------------------------------------------------------


@pytest.mark.parametrize(("preset", "parameters"), [("official", 97_807_491), ("official-512", 155_334_339)])
def test_official_presets_have_the_published_number_of_parameters(preset, parameters):
    with torch.device("meta"):
        network = UNet(in_channels=6, out_channels=3, **sr3.PRESETS[preset]["network"])
    assert sum(parameter.numel() for parameter in network.parameters()) == parameters
    assert preset in methods.find("sr3").presets


def test_small_preset_is_small():
    method = methods.build("sr3")
    assert 1e5 < sum(parameter.numel() for parameter in method.parameters()) < 1e6


@pytest.mark.parametrize(("steps", "end"), [(50, 0.350605), (100, 0.187638), (200, 0.097035), (2000, 0.01)])
def test_few_steps_end_where_two_thousand_do(steps, end):
    bridge, grid = sr3.walk(steps)
    assert bridge.schedule.alpha[0] == pytest.approx(1e-6)
    assert bridge.schedule.alpha[-1] == pytest.approx(end, abs=5e-7)
    assert bridge.coefficients(1.0)[0] ** 2 == pytest.approx(4.3859782e-5, rel=1e-7)
    assert grid == schedules.uniform(steps)


@pytest.mark.parametrize("steps", [1, 2, 3, 7])
def test_very_few_steps_start_from_noise_too(steps):
    bridge, grid = sr3.walk(steps)
    assert len(grid) == steps + 1
    assert bridge.coefficients(1.0)[0] ** 2 == pytest.approx(4.3859782e-5, rel=1e-7)


@pytest.mark.parametrize("steps", [1, 20, 2000])
def test_its_parts_pass_the_public_checks(steps):
    bridge = sr3.walk(steps)[0]
    assert max(testing.check_bridge(bridge).values()) < 1e-9
    if steps == 2000:
        testing.check_sampler(tiny().step, bridge=bridge)
    assert methods.find("sr3").checks == ("check_bridge", "check_sampler", "check_method")


def test_the_recipe_is_short():
    lines = inspect.getsource(sr3.build).splitlines() + inspect.getsource(sr3.walk).splitlines()
    assert len(lines) < 60


# -- what the step does ----------------------------------------------------------------------------------------------


class Say(nn.Module):
    """A network that answers with one number, and remembers the noise levels that it was asked at."""

    def __init__(self, value: float) -> None:
        super().__init__()
        self.value, self.levels = value, []

    def forward(self, z: Tensor, level: Tensor) -> Tensor:
        self.levels.append(float(level[0]))
        return torch.full_like(z[:, 3:], self.value)


def test_the_network_is_told_the_level_of_its_state():
    method = tiny()
    method.network = Say(0.0)
    method.sample(pictures(1), steps=5, noise=Noise(0))
    gamma = sr3.walk(5)[0].schedule.gamma
    assert method.network.levels == pytest.approx([math.sqrt(g) for g in gamma[:0:-1]], rel=1e-6)


@pytest.mark.parametrize("variance", ["paper", "released"])
def test_one_step_is_the_formula_of_the_sheet(variance):
    """z_{t-1} = (z_t - alpha eps_hat / sqrt(1 - gamma)) / sqrt(1 - alpha) + sigma eps."""
    method = tiny(variance=variance)
    method.network, steps = Say(0.25), 8
    moves: list[Move] = []
    method.sample(pictures(1), steps=steps, noise=Noise(3), callback=moves.append)
    table = sr3.walk(steps)[0].schedule
    shape = tuple(moves[0].z.shape)
    z = Noise(3).normal("start", 0, shape)
    for index, move in enumerate(moves):
        t = steps - index
        alpha, gamma, before = table.alpha[t - 1], table.gamma[t], table.gamma[t - 1]
        eps_hat = torch.full(shape, 0.25, dtype=torch.float64)
        if variance == "paper":
            sigma2 = alpha
        else:
            sigma2 = alpha * (1 - before) / (1 - gamma)
            y_hat = ((z - math.sqrt(1 - gamma) * eps_hat) / math.sqrt(gamma)).clamp(-1, 1)
            eps_hat = (z - math.sqrt(gamma) * y_hat) / math.sqrt(1 - gamma)
        z = (z - alpha / math.sqrt(1 - gamma) * eps_hat) / math.sqrt(1 - alpha)
        if t > 1:
            z = z + math.sqrt(sigma2) * Noise(3).normal("step", index, shape)
        torch.testing.assert_close(move.z, z, atol=1e-6, rtol=1e-6)
        z = move.z


@pytest.mark.parametrize("t", [1e-4, 1e-6, 1e-9])
def test_without_noise_the_state_is_the_estimate(t):
    method, x = tiny(variance="paper"), pictures(1)
    context = method.domain.context(x, size=(16, 20))
    z = torch.randn(1, 3, 16, 20, dtype=torch.float64)
    estimate = method.denoiser(x, context=context, bridge=method.bridge)(z, t)
    noise = method.bridge.coefficients(t)[2]
    assert (estimate.y - z).abs().max() < 10 * noise
    assert (estimate.y - z).abs().max() > 0


@pytest.mark.parametrize("variance", ["paper", "released"])
def test_a_network_that_knows_the_noise_gives_the_picture(variance):
    method, x, steps = tiny(variance=variance), pictures(1).double(), 6
    y = torch.rand(1, 3, 16, 20, generator=torch.Generator().manual_seed(3), dtype=torch.float64) * 2 - 1

    class Knows(nn.Module):
        def forward(self, joined: Tensor, level: Tensor) -> Tensor:
            a = level[0]
            return (joined[:, 3:] - a * y) / (1 - a**2).sqrt()

    method.network = Knows()
    torch.testing.assert_close(method.sample(x, steps=steps, noise=Noise(2)), y, atol=1e-9, rtol=0)


# -- the whole path on a problem with an exact answer -----------------------------------------------------------------


class LinearGaussian(nn.Module):
    """The exact denoiser of y ~ N(mean, covariance) given x = average(y) + N(0, rho^2), on pictures of 2x2 pixels.

    The picture x has one pixel, so that its bicubic enlargement is x everywhere.
    """

    def __init__(self, *, rho: float) -> None:
        super().__init__()
        factor = torch.randn(4, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) * 0.3
        self.mean = torch.tensor([0.3, -0.2, 0.1, 0.4], dtype=torch.float64)
        self.covariance = factor @ factor.T + 0.05 * torch.eye(4, dtype=torch.float64)
        average = torch.full((1, 4), 0.25, dtype=torch.float64)
        gain = self.covariance @ average.T / (average @ self.covariance @ average.T + rho**2)
        self.gain, self.average = gain[:, 0], average
        self.posterior = self.covariance - gain @ average @ self.covariance

    def posterior_mean(self, x: Tensor) -> Tensor:
        """x b -> b 4."""
        return self.mean + (x[:, None] - self.average @ self.mean) * self.gain

    def forward(self, joined: Tensor, level: Tensor) -> Tensor:
        x, z = joined[:, 0, 0, 0].double(), joined[:, 1].flatten(1).double()
        gamma = level.double()[0] ** 2
        matrix = gamma * self.posterior + (1 - gamma) * torch.eye(4, dtype=torch.float64)
        centred = z - gamma.sqrt() * self.posterior_mean(x)
        eps = (1 - gamma).sqrt() * torch.linalg.solve(matrix, centred.T).T
        return eps.reshape(-1, 1, 2, 2).to(joined.dtype)


def discrete_variance(bridge: VP, steps: int, variances: Tensor, *, large: bool) -> Tensor:
    """The variance that `steps` exact steps give along the axes of the posterior, from its recursion."""
    value = torch.ones_like(variances)
    for i in range(steps, 0, -1):
        t, r = i / steps, (i - 1) / steps
        (a_t, _, s_t), (a_r, _, _) = bridge.coefficients(t), bridge.coefficients(r)
        k = bridge.carry(r, t)
        # y_hat = shrink z + const, so z_r = (a_r shrink + k (1 - a_t shrink)) z + noise.
        shrink = a_t * variances / (a_t**2 * variances + s_t**2)
        value = (a_r * shrink + k * (1 - a_t * shrink)) ** 2 * value
        if r > 0:
            c2 = prediction.large_variance(bridge, t) if large else 0.0
            value = value + bridge.variance(r, t) + (a_r - k * a_t) ** 2 * c2
    return value


@pytest.mark.parametrize("variance", ["paper", "released"])
@pytest.mark.parametrize("steps", [10, 100])
def test_samples_have_the_mean_and_covariance_of_the_posterior(variance, steps):
    count = 20_000
    method = methods.build("sr3", scale=2, config={**TINY, "channels": 1, "variance": variance})
    method.network, method.clip = LinearGaussian(rho=0.1), False
    x = torch.full((count, 1, 1, 1), 0.5, dtype=torch.float64)
    y = method.sample(x, steps=steps, noise=SequentialNoise(seed=4)).flatten(1)
    values, axes = torch.linalg.eigh(method.network.posterior)
    expected = discrete_variance(sr3.walk(steps)[0], steps, values, large=variance == "paper")
    mean = method.network.posterior_mean(torch.tensor([0.5], dtype=torch.float64))[0]
    along = (y - mean) @ axes
    assert (along.mean(dim=0).abs() < 4.5 * (expected / count).sqrt() + 2e-3).all()
    # Standard error of a variance: sqrt(2 / n); of a correlation: 1 / sqrt(n).
    assert ((along.var(dim=0) / expected - 1).abs() < 4.5 * math.sqrt(2 / count)).all()
    correlation = torch.corrcoef(along.T) - torch.eye(4)
    assert correlation.abs().max() < 4.5 / math.sqrt(count)
    if steps == 100:
        assert ((along.var(dim=0) / values - 1).abs() < 0.35).all()


def test_the_average_of_samples_is_the_posterior_mean():
    method = methods.build("sr3", scale=2, config={**TINY, "channels": 1, "variance": "paper"})
    method.network = LinearGaussian(rho=0.3)
    x = torch.linspace(-1, 1, 5, dtype=torch.float64)
    many = x.repeat_interleave(4000)[:, None, None, None]
    y = method.sample(many, steps=50, noise=SequentialNoise(seed=5)).reshape(5, 4000, 4).mean(dim=1)
    torch.testing.assert_close(y, method.network.posterior_mean(x), atol=0.03, rtol=0)


# -- invariants of every method ---------------------------------------------------------------------------------------


def test_batch_equals_singles():
    method, x = tiny(), pictures(3)
    together = method.sample(x, steps=4, noise=Noise(7, pictures=(11, 12, 13)))
    for index, picture in enumerate((11, 12, 13)):
        alone = method.sample(x[index : index + 1], steps=4, noise=Noise(7, pictures=(picture,)))
        # The first step magnifies the rounding of the network by 1 / sqrt(gamma) = 151.
        assert (together[index : index + 1] - alone).abs().max() < 1e-3


def test_same_seed_same_picture():
    method, x = tiny(), pictures(1)
    one, two, other = (method.sample(x, steps=4, noise=Noise(seed)) for seed in (7, 7, 8))
    assert torch.equal(one, two)
    assert not torch.equal(one, other)


@pytest.mark.parametrize(("small", "size"), [((1, 1), None), ((1, 7), None), ((5, 3), (11, 13)), ((4, 4), (9, 21))])
def test_sizes_are_exact(small, size):
    y = tiny().sample(pictures(1, small), steps=2, noise=Noise(0), size=size)
    assert tuple(y.shape[-2:]) == (size or (4 * small[0], 4 * small[1]))
    assert torch.isfinite(y).all()
    assert y.dtype == torch.float32


@pytest.mark.parametrize("precision", ["float32", "float16"])
def test_saved_and_loaded_equal(tmp_path, precision):
    method, x = tiny(variance="paper"), pictures(1)
    file = method.save_pretrained(tmp_path / "runs" / "sr3", precision=precision)
    for text in (
        str(tmp_path / "runs" / "sr3"),
        tmp_path / "runs" / "sr3",
        str(file),
        f"sr3:{file}",
        f"sr3@small:{file}",
    ):
        back, card = methods.load_with_card(text)
        assert card.method == "sr3" and card.config["variance"] == "paper" and card.scale == 4
        assert not back.training
    if precision == "float16":
        method.network.load_state_dict({n: t.half().float() for n, t in method.network.state_dict().items()})
    same = methods.load(file).sample(x, steps=3, noise=Noise(1))
    assert torch.equal(same, method.sample(x, steps=3, noise=Noise(1)))


def test_weights_that_do_not_fit_are_refused(tmp_path):
    method = tiny()
    folder = method.save_pretrained(tmp_path / "a").parent
    with pytest.raises(WeightsError, match="leave the preset out"):
        methods.load(f"sr3@official:{folder}")
    card = method.describe()
    wide = card.model_copy(update={"config": {**card.config, "network": {**card.config["network"], "channels": 16}}})
    method.save_pretrained(tmp_path / "b", card=wide)
    with pytest.raises(
        WeightsError, match="'network.embedding.layers.0.weight' has shape 32x8, the network needs 64x16"
    ):
        methods.load(tmp_path / "b")
    for change in ({"brightness": 1}, {"network": {"channels": "many"}}, {"variance": "huge"}):
        method.save_pretrained(tmp_path / "c", card=card.model_copy(update={"config": change}))
        with pytest.raises(WeightsError, match="does not describe a sr3"):
            methods.load(tmp_path / "c")
    method.save_pretrained(tmp_path / "d", card=card.model_copy(update={"method": "sr9"}))
    with pytest.raises(WeightsError, match="'sr9'"):
        methods.load(tmp_path / "d")


def test_wrong_arguments():
    method = tiny()
    for steps in (0, -1, 2.5, True):
        with pytest.raises(UsageError, match="steps"):
            method.sample(pictures(1), steps=steps, noise=Noise(0))
    with pytest.raises(UsageError, match="c = 3"):
        method.sample(torch.zeros(1, 1, 4, 4), steps=2, noise=Noise(0))
    with pytest.raises(UsageError, match="c = 3"):
        method.sample(torch.zeros(3, 4, 4), steps=2, noise=Noise(0))
    with pytest.raises(UsageError, match="0x8"):
        method.sample(pictures(1), steps=2, noise=Noise(0), size=(0, 8))
    with pytest.raises(UsageError, match="scale"):
        methods.build("sr3", scale=0)


# -- training ---------------------------------------------------------------------------------------------------------


def test_loss_is_the_error_of_the_noise():
    """With a network that answers 0 the L1 loss is E|eps| = sqrt(2 / pi), the L2 loss 1."""
    method = tiny()
    method.network = Say(0.0)
    y, x = torch.zeros(8, 3, 64, 64), torch.zeros(8, 3, 16, 16)
    noise = SequentialNoise(seed=0)
    assert float(method.loss(y, x, noise=noise)) == pytest.approx(math.sqrt(2 / math.pi), abs=0.01)
    assert float(method.loss(y, x, noise=noise, norm="l2")) == pytest.approx(1.0, abs=0.02)


def test_the_best_loss_is_the_irreducible_one():
    """The exact denoiser of the linear-Gaussian problem reaches the mean over levels of E|eps - eps_hat|^2, no less."""

    class PerItem(LinearGaussian):
        def forward(self, joined: Tensor, level: Tensor) -> Tensor:
            outs = [super(PerItem, self).forward(joined[i : i + 1], level[i : i + 1]) for i in range(len(joined))]
            return torch.cat(outs)

    count, rho = 3000, 0.1
    method = methods.build("sr3", scale=2, config={**TINY, "channels": 1, "norm": "l2"})
    method.network = exact = PerItem(rho=rho)
    generator = torch.Generator().manual_seed(6)
    root = torch.linalg.cholesky(exact.covariance)
    y = exact.mean + torch.randn(count, 4, dtype=torch.float64, generator=generator) @ root.T
    x = y @ exact.average[0] + rho * torch.randn(count, dtype=torch.float64, generator=generator)
    loss = float(method.loss(y.reshape(-1, 1, 2, 2), x[:, None, None, None], noise=SequentialNoise(seed=1)))
    u = (torch.arange(20_000, dtype=torch.float64) + 0.5) / 20_000
    gamma = method.bridge.coefficients(u)[0][:, None] ** 2
    v = torch.linalg.eigvalsh(exact.posterior)
    assert loss == pytest.approx(float((gamma * v / (gamma * v + 1 - gamma)).mean()), abs=0.02)


def test_training_on_one_batch_reduces_the_loss():
    method = tiny().train()
    (stage,) = method.stages
    y = pictures(4, (16, 16))
    x = torch.nn.functional.avg_pool2d(y, 4)
    optimiser = torch.optim.Adam(stage.groups["denoiser"].parameters(), lr=2e-3)
    losses = []
    for step in range(60):
        optimiser.zero_grad()
        loss = stage.losses["denoiser"](y, x, noise=SequentialNoise(seed=0, step=step))
        loss.backward()
        optimiser.step()
        losses.append(float(loss.detach()))
    assert sum(losses[-10:]) < 0.8 * sum(losses[:10])


def test_each_item_of_a_batch_has_its_own_level():
    method = tiny()
    seen: list[Tensor] = []

    class Record(nn.Module):
        def forward(self, z: Tensor, level: Tensor) -> Tensor:
            seen.append(level)
            return torch.zeros_like(z[:, 3:])

    method.network = Record()
    method.loss(pictures(6, (16, 16)), pictures(6, (4, 4)), noise=SequentialNoise(seed=0))
    assert len(set(seen[0].tolist())) == 6


def test_preview_of_the_stage_is_a_sheet_of_samples():
    method = tiny()
    method.steps_default = 2
    preview = method.stages[0].preview
    assert preview is not None
    assert preview(pictures(2)).shape == (2, 3, 16, 20)


def test_the_card_rebuilds_the_method():
    card = tiny().describe()
    again = methods.build(card.method, scale=card.scale, preset=card.preset, config=card.config)
    assert weights.Card.model_validate_json(card.model_dump_json()) == card
    assert {n: p.shape for n, p in again.named_parameters()} == {n: p.shape for n, p in tiny().named_parameters()}
