"""Classifier guidance as a method: with exact parts it is the exact posterior, and training comes near it."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from mezzotint import methods
from mezzotint.errors import UsageError
from mezzotint.guidance import gradient
from mezzotint.methods.classifier_sr import ClassifierGuided
from mezzotint.methods.recipe import log_ratio
from mezzotint.methods.table import find, resolve_function
from mezzotint.networks.classifier import NoisyClassifier
from mezzotint.noise import Noise, SequentialNoise
from mezzotint.samplers import ddim, sample
from mezzotint.testing import GaussianField, LinearGaussian, check_method
from mezzotint.training import read_run, train
from mezzotint.training.crops import Pairs, pair
from mezzotint.training.loop import find_stage

TINY = {
    "network": {"channels": 8, "multipliers": (1, 2), "groups": 4},
    "classifier": {"width": 8, "multipliers": (1,), "groups": 4},
}


def build(*, scale: float = 4, **changes) -> ClassifierGuided:
    with torch.random.fork_rng():
        torch.manual_seed(1)
        return methods.build("classifier-sr", scale=scale, config={**TINY, **changes}).eval()


def picture(*shape: int, seed: int = 2) -> Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed)) * 2 - 1


# -- a problem with an exact answer: 2x2 pixels, x is their mean and noise ---------------------------------------------


def problem(*, rho: float = 0.1) -> LinearGaussian:
    root = torch.randn(4, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    mean = torch.tensor([0.3, -0.2, 0.1, 0.4], dtype=torch.float64)
    prior = GaussianField(mean, 0.1 * root @ root.T + 0.05 * torch.eye(4, dtype=torch.float64))
    return LinearGaussian(prior, torch.full((1, 4), 0.25, dtype=torch.float64), rho)


class ExactNetwork(nn.Module):
    """The best noise of the prior of a problem, without x."""

    def __init__(self, method: ClassifierGuided, task: LinearGaussian) -> None:
        super().__init__()
        self.bridge, self.denoise = method.bridge, task.prior.denoiser(method.bridge)

    def forward(self, z: Tensor, level: Tensor) -> Tensor:
        t = float(level[0]) / 1000
        a, _, s = self.bridge.coefficients(t)
        return (z - a * self.denoise(z, t).y) / s


class ExactClassifier(nn.Module):
    """q(x | z) of a problem with one value of x, in closed form: mean and logarithm of the variance."""

    def __init__(self, task: LinearGaussian) -> None:
        super().__init__()
        self.task = task

    def forward(self, z: Tensor, level: Tensor) -> tuple[Tensor, Tensor]:
        ratio = math.exp(4 * float(level[0]))
        a, s = 1 / math.hypot(1, ratio), ratio / math.hypot(1, ratio)
        prior, operator = self.task.prior, self.task.operator
        gain = a * torch.linalg.solve(
            a**2 * prior.covariance + s**2 * torch.eye(4, dtype=torch.float64), prior.covariance
        )
        y_hat = prior.mean + (z.flatten(1) - a * prior.mean) @ gain
        left = prior.covariance - a * gain @ prior.covariance
        mean = (y_hat @ operator.T)[..., None, None]
        variance = operator @ left @ operator.T + self.task.noise**2
        return mean, variance.log().expand_as(mean)


def exact(*, rho: float = 0.1) -> tuple[ClassifierGuided, LinearGaussian]:
    method, task = build(scale=2, channels=1), problem(rho=rho)
    method.network, method.classifier, method.clip = ExactNetwork(method, task), ExactClassifier(task), False
    return method.double(), task


@pytest.mark.parametrize("t", [0.02, 0.1, 0.3, 0.6, 0.9])
def test_the_exact_classifier_gives_the_exact_conditional_denoiser(t):
    method, task = exact()
    x = torch.tensor([0.5, -0.3], dtype=torch.float64)
    z = torch.randn(2, 1, 2, 2, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    pictures = x[:, None, None, None]
    context = method.domain.context(pictures, size=(2, 2))
    guided, free = (
        method.denoiser(pictures, context=context, bridge=method.bridge, guidance=g)(z, t).y for g in (1.0, 0.0)
    )
    assert (guided - free).abs().max() > 1e-3
    for item in range(2):
        given = task.given(x[item : item + 1]).denoiser(method.bridge)
        assert (guided[item] - given(z[item : item + 1], t).y[0]).abs().max() < 1e-10
    # Its log-likelihood is that of the problem, up to the constant.
    likely = method.log_likelihood(pictures[:1], bridge=method.bridge)
    wanted = gradient(task.log_likelihood(method.bridge, x[:1]), z[:1], t)
    assert (gradient(likely, z[:1], t) - wanted).abs().max() < 1e-10 * wanted.abs().max().clamp(min=1)


def test_guided_samples_are_those_of_the_conditional_denoiser():
    method, task = exact()
    method.step, x = ddim, torch.tensor([0.5], dtype=torch.float64)
    found = method.sample(x[:, None, None, None], steps=8, noise=Noise(4))
    given = task.given(x).denoiser(method.bridge)
    bridge, grid = method.walk(8)
    wanted = sample(given, bridge=bridge, noise=Noise(4), grid=grid, shape=(1, 1, 2, 2), step=ddim)
    assert (found - wanted).abs().max() < 1e-9


def test_large_strengths_overshoot_in_few_steps_only():
    method, task = exact(rho=0.02)
    method.step, x = ddim, torch.full((1, 1, 1, 1), 0.9, dtype=torch.float64)
    missing = {
        (strength, steps): abs(float(method.sample(x, steps=steps, noise=Noise(4), guidance=strength).mean() - x))
        for strength in (0.0, 1.0, 8.0) for steps in (10, 100)
    }  # fmt: skip
    assert all(missing[0.0, steps] > 0.4 and missing[1.0, steps] < 0.02 for steps in (10, 100))
    assert missing[8.0, 10] > 0.5 and missing[8.0, 100] < 0.002


# -- the classifier ----------------------------------------------------------------------------------------------------


def test_untrained_the_classifier_is_bayes_for_white_pictures():
    """Pixels N(0, scale^2 d^2) have cell means N(0, d^2): then no correction is wanted."""
    classifier = NoisyClassifier(scale=2, channels=1, width=8, multipliers=(1,), groups=4, deviation=0.4, floor=0.1)
    classifier.double()
    operator = torch.kron(torch.eye(2, dtype=torch.float64), torch.full((1, 2), 0.25, dtype=torch.float64))
    operator = torch.cat((operator, operator), dim=1)
    white = GaussianField(torch.zeros(8, dtype=torch.float64), 0.64 * torch.eye(8, dtype=torch.float64))
    task = LinearGaussian(white, operator, 0.1)
    method = build(scale=2, channels=1)
    method.classifier = classifier
    x, z = picture(1, 1, 1, 2).double(), picture(1, 1, 2, 4, seed=4).double()
    for t in (0.001, 0.1, 0.5, 1.0):
        likely = method.log_likelihood(x, bridge=method.bridge)
        wanted = gradient(task.log_likelihood(method.bridge, x.flatten()), z, t)
        assert torch.allclose(gradient(likely, z, t), wanted, rtol=1e-6, atol=1e-9)


def correlated() -> tuple[LinearGaussian, Tensor]:
    """Pictures of 4x4 pixels around 0.4 whose cells of 2x2 are alike, not white; and the root of their covariance."""
    cell = torch.tensor([0.4, 0.3, 0.2, 0.1], dtype=torch.float64)
    inner = 0.15 * torch.outer(cell, cell) + 0.02 * torch.eye(4, dtype=torch.float64)
    places = torch.arange(16).reshape(2, 2, 2, 2).permute(0, 2, 1, 3).reshape(4, 4)
    covariance, operator = torch.zeros(16, 16, dtype=torch.float64), torch.zeros(4, 16, dtype=torch.float64)
    for row, place in enumerate(places):
        covariance[place[:, None], place] = inner
        operator[row, place] = 0.25
    mean = torch.full((16,), 0.4, dtype=torch.float64)
    return LinearGaussian(GaussianField(mean, covariance), operator, 0.05), torch.linalg.cholesky(covariance)


def draws(task: LinearGaussian, root: Tensor, count: int, *, seed: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    y = task.prior.mean + torch.randn(count, 16, generator=generator, dtype=torch.float64) @ root.T
    x = y @ task.operator.T + task.noise * torch.randn(count, 4, generator=generator, dtype=torch.float64)
    return y.reshape(-1, 1, 4, 4), x.reshape(-1, 1, 2, 2)


def distance(method: ClassifierGuided, task: LinearGaussian, root: Tensor) -> float:
    """The root of the mean squared error of s grad log q(x | z), the move of the noise, over its own size."""
    y, x = draws(task, root, 32, seed=999)
    error = size = 0.0
    for t in (0.1, 0.2, 0.4, 0.6):
        a, _, s = method.bridge.coefficients(t)
        z = a * y + s * SequentialNoise(8).normal("test", 0, y.shape)
        exact = torch.cat([
            gradient(task.log_likelihood(method.bridge, one.flatten()), part[None], t)
            for one, part in zip(x, z, strict=True)
        ])  # fmt: skip
        found = gradient(method.log_likelihood(x.float(), bridge=method.bridge), z.float(), t).double()
        error, size = error + float(((found - exact) * s).square().mean()), size + float((exact * s).square().mean())
    return math.sqrt(error / size)


def test_a_trained_classifier_comes_near_the_exact_gradient():
    """Two hundred steps divide the error of the gradient, first 1.81 times its size, by more than three (0.49)."""
    (task, root), method = correlated(), build(scale=2, channels=1)
    before = distance(method, task, root)
    classifier = method.classifier.train()
    optimiser = torch.optim.Adam(classifier.parameters())
    rates = torch.optim.lr_scheduler.OneCycleLR(optimiser, 2e-2, total_steps=200)
    losses = []
    for step in range(200):
        y, x = draws(task, root, 64, seed=step)
        optimiser.zero_grad()
        loss = method.classifier_loss(y.float(), x.float(), noise=SequentialNoise(1, step=step))
        loss.backward()
        optimiser.step()
        rates.step()
        losses.append(loss.item())
    after = distance(method.eval(), task, root)
    assert 1.7 < before < 1.9 and 3 * after < before
    assert sum(losses[-20:]) < sum(losses[:20])


def test_the_loss_is_the_negative_logarithm_of_the_density():
    method = build()
    y, x = picture(2, 3, 8, 12), picture(2, 3, 2, 3, seed=3)
    loss = method.classifier_loss(y, x, noise=SequentialNoise(3))
    t = method.objective.draw_times(SequentialNoise(3).uniform("time", 0, 2), bridge=method.bridge)
    eps = SequentialNoise(3).normal("noise", 0, y.shape, dtype=torch.float32)
    z = method.bridge.q_sample(y, None, t, eps)
    mean, log_variance = method.classifier(z, log_ratio(method.bridge, t).float())
    density = torch.distributions.Normal(mean, (0.5 * log_variance).exp()).log_prob(x)
    assert loss.item() == pytest.approx(float(-density.detach().mean() - 0.5 * math.log(2 * math.pi)), rel=1e-5)
    summed = [method.log_likelihood(x, bridge=method.bridge)(z, float(time)) for time in t]
    for item in range(2):
        wanted = density[item].sum() + 0.5 * math.log(2 * math.pi) * x[item].numel()
        assert summed[item][item].item() == pytest.approx(wanted.item(), rel=1e-4)


def test_outputs_have_one_size_at_every_level():
    classifier = NoisyClassifier(scale=4, width=8, multipliers=(1,), groups=4)
    z = torch.randn(1, 3, 8, 12, generator=torch.Generator().manual_seed(0))
    for ratio in (1e-4, 1e-2, 1.0, 160.0):
        mean, log_variance = classifier(z, torch.tensor([math.log(ratio) / 4]))
        assert mean.shape == log_variance.shape == (1, 3, 2, 3)
        assert float(mean.detach().abs().max()) < 3 and 2 * math.log(0.05) - 8 < log_variance.min().item() < 4


# -- the method --------------------------------------------------------------------------------------------------------


def test_it_passes_the_public_check():
    assert "saved and loaded" in check_method(build(), steps=3)


def test_strength_zero_is_unconditional_and_more_moves_further():
    method, x = build(), picture(2, 3, 2, 3)
    calls = []
    method.classifier.register_forward_hook(lambda *_: calls.append(1))
    free, other = (method.sample(p, steps=4, noise=Noise(1), guidance=0.0) for p in (x, -x))
    assert torch.equal(free, other) and not calls and method.cost(0.0) == 1
    once, twice = (method.sample(x, steps=4, noise=Noise(1), guidance=g) for g in (1.0, 2.0))
    assert len(calls) == 8 and method.cost(1.0) == method.cost(2.0) == 2 and method.guidable
    assert (once - free).abs().max() > 1e-4 and not torch.equal(once, twice)
    assert once.abs().max() <= 1 and not once.requires_grad
    assert torch.equal(once, method.sample(x, steps=4, noise=Noise(1)))


def test_each_stage_trains_its_own_part(request: pytest.FixtureRequest):
    method = build()
    assert [stage.name for stage in method.stages] == ["classifier", "denoiser"]
    y, x = picture(2, 3, 8, 8), picture(2, 3, 2, 2)
    for stage in method.stages:
        method.zero_grad()
        stage.losses[stage.name](y, x, noise=SequentialNoise(0)).backward()
        trained = {id(p) for p in stage.groups[stage.name].parameters()}
        assert {id(p) for p in method.parameters() if p.grad is not None} == trained
    run = read_run(request.config.rootpath / "training" / "classifier-sr.toml", changes=("stage=classifier",))
    assert (run.method, run.preset) == ("classifier-sr", "small")
    assert find_stage(method.stages, run.stage).preview is None
    assert find_stage(method.stages, None).name == "denoiser"


def test_both_stages_through_the_training_loop(tmp_path: Path):
    made = [pair((torch.rand(3, 40, 48, generator=torch.Generator().manual_seed(k)) * 255).to(torch.uint8), scale=4)
            for k in range(2)]  # fmt: skip
    pairs = Pairs(tuple(y for y, _ in made), tuple(x for _, x in made), 4, ("a", "b"))
    file = tmp_path / "run.toml"
    text = f'method = "classifier-sr"\nsteps = 4\nbatch = 2\noutput = "{tmp_path}/out"\n'
    file.write_text(text + '[pictures]\nfolder = "pictures"\ncrop = 8\n')
    method = build()
    before = {name: value.clone() for name, value in method.state_dict().items()}
    for stage, part in (("classifier", "classifier."), ("denoiser", "network.")):
        run = read_run(file, changes=(f"stage={stage}", f"output={tmp_path / stage}"))
        train(method, pairs, run)
        changed = {name for name, value in method.state_dict().items() if not torch.equal(value, before[name])}
        assert changed and all(name.startswith(part) for name in changed)
        before = {name: value.clone() for name, value in method.state_dict().items()}
    method.save_pretrained(tmp_path / "weights")
    loaded = methods.load(tmp_path / "weights").state_dict()
    assert all(torch.equal(value, loaded[name]) for name, value in before.items())


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: build(scale=2.5), "scale 2.5: the classifier works on whole cells"),
        (lambda: build(classifier={"floor": 0.0}), "floor 0.0 of the classifier must be positive"),
        (lambda: build().check_guidance(math.inf), "guidance inf is not a finite number"),
        (
            lambda: build().classifier_loss(picture(1, 3, 8, 8), picture(1, 3, 2, 2), noise=Noise(0), norm="l1"),
            "leave objective.norm out",
        ),
        (
            lambda: build().sample(picture(1, 3, 2, 2), steps=1, noise=Noise(0), size=(9, 8)),
            "a state of 8x9 is not made of cells of 4x4",
        ),
        (
            lambda: build().sample(picture(1, 3, 2, 2), steps=1, noise=Noise(0), size=(12, 8)),
            "a picture of 8x12 for x of 2x2: this classifier-sr makes pictures of exactly 4 times",
        ),
    ],
)
def test_what_it_cannot_do_is_said(call, message):
    with pytest.raises(UsageError, match=message):
        call()


def test_its_row_names_its_guidance():
    card = find("classifier-sr")
    assert (card.axes.guidance, card.axes.conditioning, card.any_scale) == ("classifier", "none", False)
    assert resolve_function(card).__module__ == "mezzotint.methods.classifier_sr"
