from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from mezzotint import methods, testing
from mezzotint.errors import UsageError
from mezzotint.methods import mezzotint_x4
from mezzotint.methods.mezzotint_x4 import PredictRefine
from mezzotint.noise import Noise, SequentialNoise
from mezzotint.samplers import ancestral
from mezzotint.training.loop import find_stage


@pytest.fixture(scope="module")
def method() -> PredictRefine:
    torch.manual_seed(0)
    built = mezzotint_x4.build(preset="small").eval()
    for parameter in built.refiner.parameters():
        # The zero initialisation of the last layers would hide every mistake.
        parameter.data = 0.06 * torch.randn_like(parameter)
    built.deviations.uniform_(0.02, 0.2)
    return built


def _x(*size: int) -> torch.Tensor:
    return torch.rand(*size, generator=torch.Generator().manual_seed(3)) * 2 - 1


def test_sizes_are_exact(method: PredictRefine) -> None:
    for size in ((1, 1), (1, 6), (5, 3), (17, 9)):
        assert method.sample(_x(1, 3, *size), steps=2, noise=Noise(0)).shape == (1, 3, 4 * size[0], 4 * size[1])


def test_realism_is_a_straight_line_from_the_mean(method: PredictRefine) -> None:
    x = _x(1, 3, 8, 8)
    y0, y1 = (method.sample(x, steps=2, noise=Noise(4), realism=r) for r in (0.0, 1.0))
    half = method.sample(x, steps=2, noise=Noise(4), realism=0.5)
    assert torch.equal(y0, method.mean(x))
    assert torch.allclose(half, 0.5 * (y0 + y1), atol=1e-5)
    assert not torch.allclose(y0, y1, atol=1e-3)


def test_seeds_and_batches(method: PredictRefine) -> None:
    x = _x(2, 3, 7, 9)
    both = method.sample(x, steps=3, noise=Noise(1, pictures=(5, 6)))
    alone = [method.sample(x[i : i + 1], steps=3, noise=Noise(1, pictures=(5 + i,))) for i in range(2)]
    assert torch.allclose(both, torch.cat(alone), atol=1e-5)
    assert torch.equal(both, method.sample(x, steps=3, noise=Noise(1, pictures=(5, 6))))
    assert not torch.allclose(both, method.sample(x, steps=3, noise=Noise(2, pictures=(5, 6))), atol=1e-2)


@pytest.mark.parametrize("tile", [16, 23, 40])
def test_tiles_do_not_show(method: PredictRefine, tile: int) -> None:
    x = _x(1, 3, 45, 61)
    whole = method.sample(x, steps=3, noise=Noise(0))
    tiled = method.sample(x, steps=3, noise=Noise(0), tile=tile)
    assert (whole - tiled).abs().max() < 1e-4


def test_the_reach_is_what_it_says(method: PredictRefine) -> None:
    reach = method.reach(2)
    x = _x(1, 3, 1, reach + 12)
    other = x.clone()
    other[..., reach + 1 :] = -other[..., reach + 1 :]
    a, b = (method.sample(p, steps=2, noise=Noise(0)) for p in (x, other))
    assert torch.allclose(a[..., :4], b[..., :4], atol=1e-6)
    assert not torch.allclose(a, b, atol=1e-2)


def test_an_untrained_refiner_draws_the_measured_variance() -> None:
    # v = 0 says: the clean bands are standard normal. The learned variance (log 0 = 1) then makes few steps exact but
    # for the last one, which returns the mean a z and keeps a^2 / (a^2 + s^2) of the variance.
    torch.manual_seed(1)
    method = mezzotint_x4.build(preset="small").eval()
    y = method.sample(torch.zeros(1, 3, 64, 64), steps=4, noise=Noise(0)) - method.mean(torch.zeros(1, 3, 64, 64))
    variance = method.domain.encode(y, method.deviations).square().mean()
    a, _, s = method.bridge.coefficients(0.25)
    assert float(variance) == pytest.approx(a * a, rel=0.03)
    assert a * a + s * s == pytest.approx(1)


class ExactOfWhiteNoise(nn.Module):
    """What the refiner should say of bands that are independent standard normal numbers."""

    reach = 0

    def __init__(self, bridge: str, target: str) -> None:
        super().__init__()
        self.bridge, self.target = bridge, target

    def condition(self, guide: torch.Tensor) -> torch.Tensor:
        return guide

    def forward(self, z: torch.Tensor, condition: torch.Tensor, log_snr: torch.Tensor) -> tuple[torch.Tensor, ...]:
        ratio = float(log_snr[0].exp())
        power = 1 + ratio**2 if self.bridge == "cosine" else (1 + ratio) ** 2
        a, s = ratio / power**0.5, 1 / power**0.5
        n2 = a * a + s * s
        predicted, variance = {
            "y": (a / n2 * z, s * s / n2),
            "eps": (s / n2 * z, a * a / n2),
            "v": (torch.zeros_like(z), 1.0),
        }[self.target]
        return predicted, torch.full_like(z, math.log(variance))


@pytest.mark.parametrize(("bridge", "target"), [("cosine", "v"), ("cosine", "y"), ("cosine", "eps"), ("flow", "v"),
                                                ("flow", "y")])  # fmt: skip
def test_every_bridge_and_target_keeps_the_law_up_to_the_last_step(bridge: str, target: str) -> None:
    built = mezzotint_x4.build(preset="small", config={
        "channels": 16, "blocks": 2, "refiner_channels": 16, "refiner_blocks": 2, "bridge": bridge, "target": target,
    }).eval()  # fmt: skip
    built.refiner = ExactOfWhiteNoise(bridge, target)  # pyright: ignore
    built.config["refiner_channels"] = 16 + 48 + 3
    x = torch.zeros(1, 3, 64, 64)
    drawn = built.sample(x, steps=3, noise=Noise(0)) - built.mean(x)
    # The last step returns the mean given z, which has this share of the variance; 0.3 % is its deviation here.
    a, _, s = built.bridge.coefficients(1 / 3)
    assert float(drawn.var()) == pytest.approx(a * a / (a * a + s * s), rel=0.015)
    assert float(drawn.mean()) == pytest.approx(0.0, abs=0.01)


def test_measure_sets_the_deviations_and_loss_has_its_optimum_at_the_truth() -> None:
    torch.manual_seed(2)
    method = mezzotint_x4.build(preset="small")
    x = _x(4, 3, 8, 8)
    y = method.mean(x).detach() + 0.1 * torch.randn(4, 3, 32, 32)
    method.measure([(y, x)])
    assert torch.allclose(method.deviations, torch.full((48,), 0.1), rtol=0.25)
    assert torch.isfinite(method.loss(y, x, noise=SequentialNoise(0, step=1)))
    with pytest.raises(UsageError, match="no pictures"):
        method.measure([])


def test_training_both_stages_lowers_their_losses() -> None:
    torch.manual_seed(3)
    method = mezzotint_x4.build(preset="small")
    coarse = torch.rand(4, 3, 4, 4)
    y = torch.nn.functional.interpolate(coarse, scale_factor=8, mode="nearest") * 2 - 1
    x = torch.nn.functional.avg_pool2d(y, 4)
    for index, stage in enumerate(method.stages[:2]):
        if stage.prepare is not None:
            stage.prepare([(y, x)])
        ((name, module),) = stage.groups.items()
        optimiser = torch.optim.Adam(module.parameters(), 1e-2)
        losses = []
        for step in range(80):
            loss = stage.losses[name](y, x, noise=SequentialNoise(0, step=step))
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            losses.append(float(loss.detach()))
        assert sum(losses[-10:]) < 0.8 * sum(losses[:10]), (index, losses)


def test_saved_weights_are_fused_and_give_the_same_picture(tmp_path) -> None:
    torch.manual_seed(4)
    method = mezzotint_x4.build(preset="small").eval()
    method.save_pretrained(tmp_path)
    loaded = methods.load(str(tmp_path))
    x = _x(1, 3, 6, 6)
    assert not loaded.config["collapsed"]
    assert torch.allclose(
        loaded.sample(x, steps=2, noise=Noise(0)), method.sample(x, steps=2, noise=Noise(0)), atol=1e-5
    )


def test_settings_that_do_not_exist_are_refused() -> None:
    for config, words in (
        ({"bridge": "cosin"}, "cosine, flow"), ({"target": "x"}, "v, y, eps"), ({"transform": "dct"}, "haar, cells"),
        ({"bridge": "flow", "target": "eps"}, "target v or y"),
    ):  # fmt: skip
        with pytest.raises(UsageError, match=words):
            mezzotint_x4.build(config=config)


def test_wrong_arguments(method: PredictRefine) -> None:
    x = _x(1, 3, 4, 4)
    with pytest.raises(UsageError, match="realism 7"):
        method.sample(x, noise=Noise(0), realism=7)
    with pytest.raises(UsageError, match="steps 0"):
        method.sample(x, noise=Noise(0), steps=0)
    with pytest.raises(UsageError, match="only size"):
        method.sample(x, noise=Noise(0), size=(15, 16))
    with pytest.raises(UsageError, match="2, 4 or 8"):
        mezzotint_x4.build(scale=3)
    with pytest.raises(UsageError, match="no preset"):
        mezzotint_x4.build(preset="large")


def test_its_bridge_and_step_pass_the_public_checks(method: PredictRefine) -> None:
    assert max(testing.check_bridge(method.bridge).values()) < 1e-9
    testing.check_sampler(ancestral, bridge=method.bridge)
    assert methods.find("mezzotint-x4").checks == ("check_bridge", "check_sampler", "check_method")


def test_settings_change_the_preset_and_leave_the_rest_of_it() -> None:
    plain = methods.build("mezzotint-x4", config={}).config
    assert (plain["predictor"], plain["channels"], plain["collapsed"]) == ("edsr", 48, False)
    changed = methods.build("mezzotint-x4", preset="small", config={"refiner_blocks": 3}).config
    assert (changed["collapsed"], changed["channels"], changed["refiner_blocks"]) == (True, 16, 3)


def test_the_second_name_is_the_same_networks_without_a_correction() -> None:
    clean, real = (methods.build(name, preset="small") for name in ("mezzotint-x4", "mezzotint-x4-real"))
    assert [(n, p.shape) for n, p in clean.named_parameters()] == [(n, p.shape) for n, p in real.named_parameters()]
    card, other = real.fused().describe(), clean.describe()
    assert (card.name, card.method, card.consistent_default) == ("mezzotint-x4-real", "mezzotint-x4-real", False)
    assert other.consistent_default and other.method == "mezzotint-x4"
    assert methods.find("mezzotint-x4-real").axes == methods.find("mezzotint-x4").axes
    with pytest.raises(UsageError, match="mezzotint-x4-real with scale 3"):
        methods.build("mezzotint-x4-real", scale=3)


def test_twice_the_size_is_the_same_method_with_fewer_bands() -> None:
    twice = methods.build("mezzotint-x2", scale=2)
    card = twice.describe()  # pyright: ignore
    assert (card.name, card.scale, card.steps_default, card.consistent_default) == ("mezzotint-x2", 2, 2, True)
    assert (card.config["predictor"], card.config["refiner_blocks"]) == ("edsr", 6)
    assert methods.find("mezzotint-x2").axes == methods.find("mezzotint-x4").axes
    assert methods.find("mezzotint-x2").scales == (2,)
    small = methods.build("mezzotint-x2", scale=2, preset="small").sample(_x(1, 3, 6, 7), steps=2, noise=Noise(0))  # pyright: ignore
    assert small.shape == (1, 3, 12, 14)
    with pytest.raises(UsageError, match="mezzotint-x2 with scale 4: it is for scale 2, use mezzotint-x4"):
        methods.build("mezzotint-x2", scale=4)


def test_the_stage_scored_walks_as_sampling_does_and_learns_the_spread() -> None:
    torch.manual_seed(5)
    method = mezzotint_x4.build(preset="small", config={"steps": 2})
    assert method.steps_default == method.describe().steps_default == 2
    x = _x(2, 3, 6, 6)
    noise = SequentialNoise(0, step=1)
    y0, _, z = method._drawn(x, noise)
    drawn = method.sample(x, steps=2, noise=noise)
    assert torch.allclose(y0 + method.domain.decode(z, method.deviations), drawn, atol=1e-5)

    # The truth scatters by 0.1 about the predictor, whatever x is: draws have to scatter as much.
    stage = find_stage(method.stages, "scored")
    optimiser = torch.optim.Adam(method.refiner.parameters(), 1e-2)
    method.deviations.fill_(0.2)
    method.requires_grad_(False).refiner.requires_grad_(True)
    mean = method.mean(x.repeat(8, 1, 1, 1))
    for step in range(200):
        # Down at the end: what is left of the last steps otherwise moves the spread by as much as is allowed.
        optimiser.param_groups[0]["lr"] = 1e-2 * min(1.0, (200 - step) / 100)
        noise = SequentialNoise(7, step=step)
        y = mean + 0.1 * noise.normal("truth", 0, mean.shape)
        optimiser.zero_grad()
        stage.losses["refiner"](y, x.repeat(8, 1, 1, 1), noise=noise).backward()
        optimiser.step()
    with torch.no_grad():
        y0, _, z = method._drawn(x.repeat(64, 1, 1, 1), SequentialNoise(8))
    spread = (method.domain.decode(z, method.deviations)).var(dim=0).mean().sqrt()
    assert float(spread) == pytest.approx(0.1, rel=0.15)


def test_fine_gain_amplifies_the_finest_octave_of_a_sample_alone(tmp_path: Path) -> None:
    torch.manual_seed(5)
    method, gain = mezzotint_x4.build(preset="small"), 1.5
    amplified = mezzotint_x4.build(preset="small", config={"fine_gain": gain})
    method.deviations.fill_(0.1)
    amplified.load_state_dict(method.state_dict())
    x = _x(1, 3, 9, 8)
    y0, plain, changed = (m.sample(x, noise=Noise(3), realism=r) for m, r in ((method, 0), (method, 1), (amplified, 1)))
    assert torch.equal(amplified.mean(x), y0)
    before, after = (method.domain.encode(y - y0, method.deviations) for y in (plain, changed))
    # Of 4 x 4 pixels, the mean and three differences of halves are coarse.
    coarse = [16 * colour + 4 * row + column for colour in range(3) for row in range(2) for column in range(2)]
    fine = [band for band in range(48) if band not in coarse]
    assert torch.allclose(after[:, coarse], before[:, coarse], atol=1e-4)
    assert torch.allclose(after[:, fine], gain * before[:, fine], atol=1e-4)
    assert before[:, fine].std() > 0.1

    amplified.save_pretrained(tmp_path)
    assert torch.allclose(methods.load(tmp_path).sample(x, noise=Noise(3)), changed, atol=1e-5)
    noise = SequentialNoise(0, step=1)
    assert torch.allclose(
        amplified._drawn(x, noise)[2], torch.where(method.domain.finest, gain, 1.0)[:, None, None]
        * method._drawn(x, noise)[2],
    )  # fmt: skip


def test_gain_amplifies_the_luminance_of_a_sample_alone() -> None:
    torch.manual_seed(5)
    method = mezzotint_x4.build(preset="small", config={"fine_gain": 1.5})
    amplified = mezzotint_x4.build(preset="small", config={"fine_gain": 1.5, "gain": 1.25})
    method.deviations.fill_(0.1)
    amplified.load_state_dict(method.state_dict())
    x = _x(1, 3, 9, 8)
    before, after = (m.sample(x, noise=Noise(3)) - method.mean(x) for m in (method, amplified))
    # The mean of red, green and blue is scaled, and what each has beside it is left.
    grey, wide = before.mean(dim=1, keepdim=True), after.mean(dim=1, keepdim=True)
    assert grey.std() > 0.02
    assert torch.allclose(wide, 1.25 * grey, atol=1e-5)
    assert torch.allclose(after - wide, before - grey, atol=1e-5)


@pytest.mark.parametrize(
    ("config", "told"),
    [
        ({"fine_gain": 0.0}, "fine_gain 0.0"),
        ({"fine_gain": math.nan}, "fine_gain nan"),
        ({"fine_gain": 2.0, "transform": "cells"}, "no finest octave"),
        ({"gain": -1.0}, "gain -1.0"),
        ({"gain": 2.0, "transform": "cells"}, "no bands of luminance"),
    ],
)
def test_a_gain_that_cannot_be_is_refused(config: dict[str, Any], told: str) -> None:
    with pytest.raises(UsageError, match=told):
        mezzotint_x4.build(preset="small", config=config)


def _pushed(scatter: float) -> tuple[PredictRefine, list[float], dict[str, float]]:
    """A small method untouched by training, the losses of its critic on truths that scatter `scatter` times as much as
    its draws do, and by how much a short step down the critic's part of the refiner's loss, and down the score, widens
    the draws."""
    torch.manual_seed(5)
    method = mezzotint_x4.build(preset="small", config={"steps": 2})
    stage, x = find_stage(method.stages, "adversarial"), _x(1, 3, 5, 5).repeat(4, 1, 1, 1)
    method.deviations.fill_(0.2)
    method.requires_grad_(False)
    mean = method.mean(x)

    @torch.no_grad()
    def spread() -> float:
        _, _, z = method._drawn(x.repeat(16, 1, 1, 1), SequentialNoise(8))
        return float(method.domain.decode(z, method.deviations).var(dim=0).mean().sqrt())

    before = spread()

    def truth(noise: SequentialNoise) -> Tensor:
        return mean + scatter * before * noise.normal("truth", 0, mean.shape)

    stage.groups["critic"].requires_grad_(True)
    optimiser, losses = torch.optim.Adam(stage.groups["critic"].parameters(), 3e-3), []
    for step in range(40):
        noise = SequentialNoise(7, step=step)
        optimiser.zero_grad()
        loss = stage.losses["critic"](truth(noise), x, noise=noise)
        loss.backward()
        optimiser.step()
        losses.append(float(loss.detach()))

    stage.groups["refiner"].requires_grad_(True)
    weights = list(method.refiner.parameters())
    noise = SequentialNoise(9)
    score, both = (
        torch.autograd.grad(
            stage.losses["refiner"](truth(noise), x, noise=noise, spread=0.5, adversarial=share), weights
        )
        for share in (0.0, 1.0)
    )
    wider = {}
    for name, slope in (("score", score), ("critic", [b - s for b, s in zip(both, score, strict=True)])):
        step = [1e-2 * part / torch.stack([p.norm() for p in slope]).norm() for part in slope]
        with torch.no_grad():
            for value, part in zip(weights, step, strict=True):
                value -= part
            wider[name] = spread() - before
            for value, part in zip(weights, step, strict=True):
                value += part
    return method, losses, wider


def test_a_critic_widens_draws_that_are_too_narrow_and_is_no_part_of_the_weights(tmp_path: Path) -> None:
    for scatter in (2.0, 0.5):
        method, losses, wider = _pushed(scatter)
        assert losses[0] == pytest.approx(math.log(2), abs=0.05) and losses[-1] < 0.6
        # A score of half the spread narrows draws whatever the truth is; the critic moves them to the truth's scatter.
        assert wider["score"] < -1e-5
        assert wider["critic"] > 1e-5 if scatter > 1 else wider["critic"] < -1e-5
    assert not any("critic" in name for name in method.state_dict())
    method.save_pretrained(tmp_path)
    assert methods.load(tmp_path).describe().config["steps"] == 2
