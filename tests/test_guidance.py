from __future__ import annotations

import math

import pytest
import torch

from mezzotint.bridges import VP
from mezzotint.guidance import (
    CONVENTIONS,
    Conditional,
    classifier,
    classifier_free,
    draw_drops,
    drop_condition,
    lambda_of,
)
from mezzotint.noise import Noise, SequentialNoise
from mezzotint.prediction import convert, noise_of
from mezzotint.samplers import Estimate, ddim, sample
from mezzotint.schedules import LinearSDE, ShiftedCosine
from mezzotint.testing import GaussianField, GaussianPrior, LinearGaussian

BRIDGE = VP(LinearSDE())
FREE, GIVEN = GaussianPrior(0.0, 1.0), GaussianPrior(0.8, 0.3)


def one(value: float) -> torch.Tensor:
    return torch.full((1, 1, 1, 1), value, dtype=torch.float64)


def problem() -> tuple[LinearGaussian, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    root = torch.randn(4, 4, generator=generator, dtype=torch.float64)
    mean, x = torch.randn(2, 4, generator=generator, dtype=torch.float64)
    operator = torch.tensor([[0.5, 0.5, 0.0, 0.0], [0.0, 0.0, 0.5, 0.5]], dtype=torch.float64)
    return LinearGaussian(GaussianField(mean, root @ root.T / 4 + 0.1 * torch.eye(4)), operator, 0.2), x[:2]


class Counting:
    def __init__(self, denoise) -> None:
        self.denoise, self.calls = denoise, 0

    def __call__(self, z, t):
        self.calls += 1
        return self.denoise(z, t)


FIGURES = {0.0: (0.0, 1.0), 1.0: (0.8, 0.09), 2.0: (0.8376963, 0.0471204), 5.0: (0.8620690, 0.0193966)}


@pytest.mark.parametrize("strength", FIGURES)
def test_the_guided_score_of_two_gaussians(strength):
    """At t = 0 precision (1 - l) / 1 + l / 0.09 and mean l 0.8 / 0.09 over it, to seven digits, at small t."""
    denoise = classifier_free(GIVEN.denoiser(BRIDGE), FREE.denoiser(BRIDGE), strength=strength)
    t = 1e-7
    a, _, s = BRIDGE.coefficients(t)
    scores = [(a * denoise(one(z), t).y.item() - z) / s**2 for z in (0.0, 1.0)]
    precision = scores[0] - scores[1]
    mean, variance = FIGURES[strength]
    assert 1 / precision == pytest.approx(variance, abs=2e-7)
    assert scores[0] / precision == pytest.approx(mean, abs=2e-7)


@pytest.mark.parametrize("strength", [-0.5, 0.5, 2.0, 7.5])
def test_guidance_is_the_same_in_every_kind_of_prediction(strength):
    t, z = 0.4, torch.linspace(-2, 2, 8, dtype=torch.float64).reshape(1, 2, 2, 2)
    given, free = GIVEN.denoiser(BRIDGE)(z, t).y, FREE.denoiser(BRIDGE)(z, t).y
    guided = classifier_free(GIVEN.denoiser(BRIDGE), FREE.denoiser(BRIDGE), strength=strength)(z, t).y
    noise = [noise_of(y, z, None, bridge=BRIDGE, t=t) for y in (free, given)]
    mixed = (1 - strength) * noise[0] + strength * noise[1]
    assert torch.allclose(convert(mixed, z, None, bridge=BRIDGE, t=t, kind="eps"), guided, atol=1e-12)
    w, scale = CONVENTIONS["w"].from_lambda(strength), CONVENTIONS["scale"].from_lambda(strength)
    assert torch.allclose((1 + w) * noise[1] - w * noise[0], mixed, atol=1e-12)
    assert torch.allclose(noise[0] + scale * (noise[1] - noise[0]), mixed, atol=1e-12)


def test_conventions_convert_there_and_back():
    assert {name: lambda_of(3.0, convention=name) for name in CONVENTIONS} == {
        "lambda": 3.0,
        "scale": 3.0,
        "w": 4.0,
        "classifier-unconditional": 3.0,
        "classifier-conditional": 4.0,
    }
    for convention in CONVENTIONS.values():
        assert convention.from_lambda(convention.to_lambda(2.5)) == 2.5
    # No guidance is 0 in one world and 1 in the other.
    assert lambda_of(0.0, convention="w") == 1.0 and lambda_of(0.0, convention="scale") == 0.0


def test_one_call_where_one_is_enough():
    for strength, calls in ((1.0, (1, 0)), (0.0, (0, 1)), (3.0, (1, 1))):
        given, free = Counting(GIVEN.denoiser(BRIDGE)), Counting(FREE.denoiser(BRIDGE))
        classifier_free(given, free, strength=strength)(one(0.3), 0.5)
        assert (given.calls, free.calls) == calls
    given = GIVEN.denoiser(BRIDGE)
    assert classifier_free(given, strength=1.0) is given


def test_one_network_with_its_null_condition():
    seen = []

    def network(z, t, condition):
        seen.append(condition)
        return Estimate(condition + 0 * z, c2=0.5 if condition == 2.0 else 0.25)

    denoise = classifier_free(Conditional(network, 2.0, -1.0), strength=3.0)
    estimate = denoise(one(0.0), 0.5)
    assert estimate.y.item() == 8.0 and estimate.c2 == 0.5 and sorted(seen) == [-1.0, 2.0]
    assert classifier_free(Conditional(network, 2.0, -1.0), strength=1.0)(one(0.0), 0.5).y.item() == 2.0
    assert classifier_free(Conditional(network, 2.0, -1.0), strength=0.0)(one(0.0), 0.5).y.item() == -1.0


def test_carried_estimates_are_guided_too():
    given = lambda z, t: Estimate(one(2.0), y_carry=one(1.0))  # noqa: E731
    free = lambda z, t: Estimate(one(0.5))  # noqa: E731
    estimate = classifier_free(given, free, strength=2.0)(one(0.0), 0.5)
    assert estimate.y.item() == 3.5 and estimate.y_carry is not None and estimate.y_carry.item() == 1.5


@pytest.mark.parametrize("strength", [1.0, 2.5])
def test_the_exact_classifier_is_classifier_free_guidance(strength):
    """With the Bayes ratio as classifier the two coincide; with strength 1 both are the exact conditional."""
    task, x = problem()
    z = torch.randn(3, 1, 2, 2, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    free, given = task.prior.denoiser(BRIDGE), task.given(x).denoiser(BRIDGE)
    guided = classifier(free, task.log_likelihood(BRIDGE, x), bridge=BRIDGE, strength=strength)
    for t in (0.1, 0.5, 0.9):
        wanted = classifier_free(given, free, strength=strength)(z, t).y
        assert torch.allclose(guided(z, t).y, wanted, atol=1e-9)


def test_classifier_guidance_in_noise_is_the_papers():
    """e - lambda sqrt(1 - gamma) grad log q, and on top of a conditional network lambda = 1 + s."""
    task, x = problem()
    likely = task.log_likelihood(BRIDGE, x)
    z = torch.randn(2, 1, 2, 2, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    t = 0.5
    point = z.clone().requires_grad_()
    (pull,) = torch.autograd.grad(likely(point, t).sum(), point)
    _, _, s = BRIDGE.coefficients(t)
    free = task.prior.denoiser(BRIDGE)
    guided = classifier(free, likely, bridge=BRIDGE, strength=1.5)(z, t).y
    before, after = (noise_of(y, z, None, bridge=BRIDGE, t=t) for y in (free(z, t).y, guided))
    assert torch.allclose(after, before - 1.5 * s * pull, atol=1e-10)
    on_top = classifier(task.given(x).denoiser(BRIDGE), likely, bridge=BRIDGE, strength=1.5)(z, t).y
    both = lambda_of(1.5, convention="classifier-conditional")
    assert torch.allclose(on_top, classifier(free, likely, bridge=BRIDGE, strength=both)(z, t).y, atol=1e-9)


def test_guidance_inside_the_loop_and_gradients_through_it():
    task, x = problem()
    guided = classifier(task.prior.denoiser(BRIDGE), task.log_likelihood(BRIDGE, x), bridge=BRIDGE, strength=1.0)
    arguments = {"bridge": BRIDGE, "noise": Noise(0), "grid": BRIDGE.grid(6), "shape": (1, 1, 2, 2), "step": ddim}
    found = sample(guided, **arguments)
    assert torch.allclose(found, sample(task.given(x).denoiser(BRIDGE), **arguments), atol=1e-8)
    start = Noise(0).normal("start", 0, (1, 1, 2, 2)).requires_grad_()
    through = sample(guided, **{**arguments, "start": start}, differentiable=True)
    wanted = sample(task.given(x).denoiser(BRIDGE), **{**arguments, "start": start}, differentiable=True)
    gradients = [torch.autograd.grad(y.sum(), start)[0] for y in (through, wanted)]
    assert torch.allclose(*gradients, atol=1e-8)


def test_nothing_is_added_where_nothing_is_known_or_wanted():
    task, x = problem()
    free, likely = task.prior.denoiser(BRIDGE), task.log_likelihood(BRIDGE, x)
    assert classifier(free, likely, bridge=BRIDGE, strength=0.0) is free

    class Blind(VP):
        def coefficients(self, t):
            return 0.0, 0.0, 1.0

    z = torch.zeros(1, 1, 2, 2, dtype=torch.float64)
    blind = Blind(ShiftedCosine())
    assert torch.equal(classifier(free, likely, bridge=blind, strength=9.0)(z, 1.0).y, free(z, 1.0).y)


# The null condition in training.


def test_conditions_are_dropped_for_single_pictures_on_every_path():
    picture, code, features = torch.randn(3, 2, 4, 4), torch.randn(3, 5), [torch.randn(3, 2), torch.randn(3, 1, 2, 2)]
    condition = {"picture": picture, "code": code, "features": features, "coarse": None}
    null = {
        "picture": torch.full((2, 1, 1), 0.5),
        "code": torch.zeros(5),
        "features": [torch.zeros(2), torch.ones(1, 2, 2)],
        "coarse": None,
    }
    mask = torch.tensor([True, False, True])
    kept = picture.clone()
    out = drop_condition(mask, condition, null)
    assert torch.equal(picture, kept) and out["coarse"] is None and isinstance(out["features"], list)
    assert torch.equal(out["picture"][1], picture[1]) and torch.equal(out["code"][1], code[1])
    for item in (0, 2):
        assert (out["picture"][item] == 0.5).all() and (out["code"][item] == 0.0).all()
        assert (out["features"][0][item] == 0.0).all() and (out["features"][1][item] == 1.0).all()
    assert isinstance(drop_condition(mask, (code, code), (null["code"], null["code"])), tuple)


def test_a_learned_null_gets_its_gradient_from_the_dropped_pictures_alone():
    null = torch.zeros(2, 1, 1, requires_grad=True)
    out = drop_condition(torch.tensor([True, False]), torch.ones(2, 2, 3, 3), null)
    (found,) = torch.autograd.grad(out.sum(), null)
    assert torch.equal(found, torch.full((2, 1, 1), 9.0))


def test_drops_are_drawn_for_every_picture():
    drawn = torch.cat([draw_drops(SequentialNoise(0, step=i), 8, probability=0.2) for i in range(500)])
    assert abs(drawn.double().mean().item() - 0.2) < 4 * math.sqrt(0.16 / 4000)
    mixed = [len(set(draw_drops(SequentialNoise(0, step=i), 8, probability=0.5).tolist())) for i in range(20)]
    assert mixed.count(2) > 15
    assert not draw_drops(SequentialNoise(0), 8, probability=0.0).any()
    assert draw_drops(SequentialNoise(0), 8, probability=1.0).all()


MASK = torch.tensor([True, False])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: lambda_of(1.0, convention="cfg"), "convention 'cfg'"),
        (lambda: lambda_of(math.nan, convention="w"), "finite number"),
        (lambda: classifier_free(FREE.denoiser(BRIDGE), strength=math.inf), "strength inf"),
        (lambda: classifier_free(FREE.denoiser(BRIDGE), strength=2.0), "give a second denoiser"),
        (lambda: classifier(FREE.denoiser(BRIDGE), lambda z, t: z, bridge=BRIDGE, strength=math.nan), "strength nan"),
        (
            lambda: classifier(FREE.denoiser(BRIDGE), lambda z, t: z, bridge=BRIDGE, strength=1.0)(one(0), 0.5),
            "one number a picture",
        ),
        (
            lambda: classifier(FREE.denoiser(BRIDGE), lambda z, t: torch.zeros(1), bridge=BRIDGE, strength=1.0)(
                one(0), 0.5
            ),
            "does not depend on the state",
        ),
        (lambda: draw_drops(SequentialNoise(0), 2, probability=1.5), "probability 1.5"),
        (lambda: drop_condition(torch.ones(2), torch.ones(2, 1), torch.zeros(1)), "one bool a picture"),
        (lambda: drop_condition(MASK, torch.ones(3, 1), torch.zeros(1)), "mask is of 2 pictures"),
        (lambda: drop_condition(MASK, torch.ones(2, 3), torch.zeros(2)), "does not fit"),
        (lambda: drop_condition(MASK, {"a": torch.ones(2, 1)}, {}), "make them the same"),
        (lambda: drop_condition(MASK, [torch.ones(2, 1)], []), "make them the same"),
        (lambda: drop_condition(MASK, {"a": torch.ones(2, 1)}, {"a": None}), "condition.a is a Tensor, its null a"),
    ],
)
def test_wrong_uses_are_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
