from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from mezzotint import methods
from mezzotint.errors import InputError, UsageError, WeightsError
from mezzotint.methods.stage import Stage
from mezzotint.noise import Noise
from mezzotint.training import DivergedError, Run, checkpoints, read_run, train
from mezzotint.training.average import Average
from mezzotint.training.checkpoints import read_state
from mezzotint.training.crops import Pairs, batch, load_pairs, pair
from mezzotint.training.loop import find_stage, learning_rate
from mezzotint.training.start import build_method

RUN = """
method = "mezzotint-x4"
steps = 12
batch = 2
output = "{output}"
[pictures]
folder = "pictures"
crop = 8
"""


class Linear(nn.Module):
    """A one-layer model with a stage: small enough to train in a test, real enough to diverge."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Conv2d(3, 48, 1)
        self.other = nn.Conv2d(3, 3, 1)
        nn.init.constant_(self.layer.weight, 0.1)

    @property
    def stages(self) -> tuple[Stage, ...]:
        return (
            Stage("other", {"other": self.other}, {"other": self.loss}),
            Stage("main", {"main": self.layer}, {"main": self.loss}),
        )

    def loss(self, y: Tensor, x: Tensor, *, noise) -> Tensor:
        y_hat = nn.functional.pixel_shuffle(self.layer(x), 4)
        jitter = noise.normal("jitter", 0, y.shape, dtype=torch.float32)
        return (y_hat + 0.01 * jitter - y).square().mean()


@pytest.fixture
def pairs() -> Pairs:
    generator = torch.Generator().manual_seed(0)
    made = [pair((torch.rand(3, 40, 52, generator=generator) * 255).to(torch.uint8), scale=4) for _ in range(3)]
    return Pairs(tuple(y for y, _ in made), tuple(x for _, x in made), 4, ("a", "b", "c"))


@pytest.fixture
def run(tmp_path: Path) -> Run:
    file = tmp_path / "run.toml"
    file.write_text(RUN.format(output=tmp_path / "out"))
    return read_run(file)


def test_run_files_are_strict(tmp_path: Path) -> None:
    file = tmp_path / "run.toml"
    file.write_text(RUN.format(output="out"))
    run = read_run(file, changes=("optimiser.rate=2e-4", "pictures.crop=16", "method=sr3"))
    assert (run.optimiser.rate, run.pictures.crop, run.method) == (2e-4, 16, "sr3")
    for change, words in (
        ("optimiser.speed=1", "optimiser.speed"),
        ("steps=0", "steps"),
        ("steps", "KEY=VALUE"),
        ("steps.more=1", "not a table"),
    ):
        with pytest.raises(UsageError, match=words):
            read_run(file, changes=(change,))
    with pytest.raises(UsageError, match="cannot be read"):
        read_run(tmp_path / "none.toml")
    file.write_text("method = ")
    with pytest.raises(UsageError, match="not TOML"):
        read_run(file)


def test_a_run_file_changes_settings_of_the_preset(tmp_path: Path) -> None:
    file = tmp_path / "run.toml"
    file.write_text(RUN.format(output="out") + '[config]\ndrop = 0.25\n[config.network]\nmultipliers = [1, 2]\n')
    run = read_run(file, changes=('method="ddpm-sr"', "config.network.channels=16"))
    method: Any = build_method(run)
    assert method.config["drop"] == 0.25 and method.config["network"]["multipliers"] == [1, 2]
    assert method.network.first.out_channels == 16
    folder = tmp_path / "weights"
    method.save_pretrained(folder)
    again = build_method(run.model_copy(update={"initial": folder}))
    assert all(torch.equal(a, b) for a, b in zip(method.parameters(), again.parameters(), strict=True))
    for change, words in (
        ("config.drops=0.1", "ddpm-sr has no setting 'drops': did you mean 'drop'"),
        ("config.network.width=3", "ddpm-sr, network has no setting 'width'"),
        ("config.network=3", "setting 'network' is a table"),
    ):
        with pytest.raises(UsageError, match=words):
            build_method(read_run(file, changes=('method="ddpm-sr"', change)))
    for change, words in (
        ("config.drop=0.1", r"config.drop is 0.1, .*weights was made with 0.25: leave it out"),
        ("config.network.blocks=2", r'config.network is .*"blocks": 2.* was made with .*"blocks": 1'),
    ):
        given = ('method="ddpm-sr"', "config.network.channels=16", f"initial={folder}", change)
        changed = read_run(file, changes=given)
        with pytest.raises(UsageError, match=words):
            build_method(changed)


def test_a_run_starts_from_the_same_networks_under_another_name(tmp_path: Path) -> None:
    file = tmp_path / "run.toml"
    file.write_text(RUN.format(output="out"))
    clean: Any = build_method(read_run(file, changes=("preset=small",)))
    folder = tmp_path / "weights"
    clean.save_pretrained(folder)
    real: Any = build_method(read_run(file, changes=('method="mezzotint-x4-real"', f"initial={folder}")))
    # Trained are plain convolutions: the branches of the training form are not kept.
    assert real.name == "mezzotint-x4-real" and not real.config["collapsed"]
    x = torch.rand(1, 3, 9, 7, generator=torch.Generator().manual_seed(0)) * 2 - 1
    assert torch.allclose(real.mean(x), clean.eval().mean(x), atol=1e-5)
    assert torch.equal(real.deviations, clean.deviations)
    for stage in real.stages:
        assert all(p.requires_grad for group in stage.groups.values() for p in group.parameters())
    real.save_pretrained(tmp_path / "real")
    again: Any = build_method(read_run(file, changes=('method="mezzotint-x4-real"', f"initial={tmp_path / 'real'}")))
    assert again.name == "mezzotint-x4-real"
    with pytest.raises(WeightsError, match="holds weights of mezzotint-x4, the run trains ddpm-sr"):
        build_method(read_run(file, changes=('method="ddpm-sr"', f"initial={folder}")))


def test_the_number_of_steps_may_change_from_stage_to_stage_and_stays_with_the_weights(tmp_path: Path) -> None:
    file = tmp_path / "run.toml"
    file.write_text(RUN.format(output="out"))
    first: Any = build_method(read_run(file, changes=("preset=small",)))
    first.save_pretrained(tmp_path / "weights")
    changed = read_run(file, changes=(f"initial={tmp_path / 'weights'}", "config.steps=2"))
    method: Any = build_method(changed)
    assert (first.steps_default, method.steps_default) == (4, 2)
    assert torch.equal(method.refiner.state.weight, first.refiner.state.weight)
    method.save_pretrained(tmp_path / "again")
    again, card = methods.load_with_card(str(tmp_path / "again"))
    assert (again.steps_default, card.steps_default) == (2, 2)


def with_refiner(file: Path, folder: Path, *changes: str) -> Any:
    """A small method of a run file whose refiner says something, saved in a folder as initial weights."""
    file.write_text(RUN.format(output="out"))
    made: Any = build_method(read_run(file, changes=("preset=small", "config.collapsed=false", *changes)))
    for parameter in made.refiner.parameters():
        torch.nn.init.normal_(parameter, std=0.05)
    made.deviations.fill_(0.5)
    made.save_pretrained(folder)
    return made


def test_a_predictor_of_more_channels_starts_as_the_one_of_the_initial_weights(tmp_path: Path) -> None:
    file = tmp_path / "run.toml"
    narrow = with_refiner(file, tmp_path / "weights", "config.channels=6")
    given = (f"initial={tmp_path / 'weights'}", "config.channels=10")
    wide: Any = build_method(read_run(file, changes=given))
    again: Any = build_method(read_run(file, changes=given))
    assert wide.config["channels"] == wide.predictor.channels == 10
    assert all(torch.equal(a, b) for a, b in zip(wide.parameters(), again.parameters(), strict=True))
    x = torch.rand(1, 3, 9, 7, generator=torch.Generator().manual_seed(0)) * 2 - 1
    for realism in (0.0, 1.0):
        before, after = (m.eval().sample(x, steps=2, noise=Noise(1), realism=realism) for m in (narrow, wide))
        assert torch.allclose(before, after, atol=1e-5)
    with pytest.raises(UsageError, match="SPAN of 4 channels cannot grow from one of 6"):
        build_method(read_run(file, changes=(given[0], "config.channels=4")))
    with pytest.raises(UsageError, match="use a plain one with the same scale and blocks"):
        build_method(read_run(file, changes=(*given, "config.blocks=3")))


def test_the_refiner_is_taken_over_behind_a_predictor_of_another_kind(tmp_path: Path) -> None:
    file = tmp_path / "run.toml"
    first = with_refiner(file, tmp_path / "weights")
    given = (f"initial={tmp_path / 'weights'}", "config.predictor=edsr", "config.channels=12", "config.blocks=1")
    other: Any = build_method(read_run(file, changes=given))
    assert type(other.predictor).__name__ == "Edsr" and other.config["predictor"] == "edsr"
    assert (other.predictor.channels, len(other.predictor.blocks)) == (12, 1)
    assert torch.equal(other.deviations, first.deviations)
    own, taken = other.refiner.state_dict(), first.refiner.state_dict()
    assert all(torch.equal(own[key], taken[key]) for key in own if key != "guide.0.weight")
    # The new features say nothing at first, what else the refiner is told says what it did.
    assert torch.equal(own["guide.0.weight"][:, 12:], taken["guide.0.weight"][:, 16:])
    assert float(own["guide.0.weight"][:, :12].abs().max()) == 0
    with pytest.raises(UsageError, match="only a predictor of kind span grows"):
        other.save_pretrained(tmp_path / "edsr")
        build_method(read_run(file, changes=(f"initial={tmp_path / 'edsr'}", "config.channels=16")))


def test_a_refiner_of_more_blocks_starts_as_the_one_of_the_initial_weights(tmp_path: Path) -> None:
    file = tmp_path / "run.toml"
    short = with_refiner(file, tmp_path / "weights")
    given = (f"initial={tmp_path / 'weights'}", "config.refiner_blocks=4")
    deep: Any = build_method(read_run(file, changes=given))
    again: Any = build_method(read_run(file, changes=given))
    assert all(torch.equal(a, b) for a, b in zip(deep.parameters(), again.parameters(), strict=True))
    x = torch.rand(1, 3, 9, 7, generator=torch.Generator().manual_seed(0)) * 2 - 1
    before, after = (m.eval().sample(x, steps=2, noise=Noise(1)) for m in (short, deep))
    assert torch.allclose(before, after, atol=1e-5) and after.std() > 0.1
    added = deep.refiner.blocks[3]
    deep.train().loss(torch.rand(1, 3, 36, 28), x, noise=Noise(0)).backward()
    assert added.second.weight.grad.abs().max() > 0  # it can learn


@pytest.mark.parametrize("change", ["transform=cells", "target=y", "refiner_blocks=1", "refiner_channels=24"])
def test_another_refiner_is_made_behind_the_predictor_of_the_initial_weights(tmp_path: Path, change: str) -> None:
    file = tmp_path / "run.toml"
    file.write_text(RUN.format(output="out"))
    first: Any = build_method(read_run(file, changes=("preset=small", "config.collapsed=false")))
    first.deviations.fill_(0.5)
    first.save_pretrained(tmp_path / "weights")
    key, value = change.split("=")
    made: Any = build_method(read_run(file, changes=(f"initial={tmp_path / 'weights'}", f"config.{change}")))
    assert str(made.config[key]) == value
    taken, own = first.predictor.state_dict(), made.predictor.state_dict()
    assert all(torch.equal(taken[name], own[name]) for name in taken)
    assert not made.refiner.out.weight.any() and torch.equal(made.deviations, torch.ones(48))


@pytest.mark.parametrize("part", ["predictor", "refiner", "adversarial"])
def test_the_run_files_of_the_realistic_model_degrade_and_start_from_the_clean_one(part: str) -> None:
    run = read_run(Path(__file__).parents[2] / "training" / f"mezzotint-x4-real-{part}.toml")
    assert (run.method, run.stage, run.pictures.preset) == ("mezzotint-x4-real", part, "real-esrgan")
    assert run.batch % run.pictures.reuse == 0
    if part == "predictor":
        method: Any = build_method(run)
        assert method.name == "mezzotint-x4-real" and find_stage(method.stages, run.stage).name == part
        assert "fine_gain" not in method.config and "gain" not in method.config


def test_the_run_files_of_mezzotint_x4_follow_each_other_and_deepen_the_refiner(tmp_path: Path) -> None:
    changes: tuple[str, ...] = ()
    parts = {"predictor": 6, "refiner": 6, "scored": 6, "again": 10, "adversarial": 10, "long": 10}
    for part, blocks in parts.items():
        run = read_run(Path(__file__).parents[2] / "training" / f"mezzotint-x4-{part}.toml", changes=changes)
        method: Any = build_method(run)
        assert method.config["refiner_blocks"] == blocks
        assert find_stage(method.stages, run.stage).name == run.stage
        method.save_pretrained(tmp_path / part)
        changes = (f"initial={tmp_path / part}",)


def test_another_scale_starts_from_what_has_the_same_shape(tmp_path: Path) -> None:
    file = tmp_path / "run.toml"
    first = with_refiner(file, tmp_path / "weights", "config.refiner_blocks=3")
    given = (
        f"initial={tmp_path / 'weights'}", 'method="mezzotint-x2"', "scale=2", "config.refiner_blocks=2"
    )  # fmt: skip
    twice: Any = build_method(read_run(file, changes=given))
    again: Any = build_method(read_run(file, changes=given))
    assert all(torch.equal(a, b) for a, b in zip(twice.parameters(), again.parameters(), strict=True))
    own, given_weights = twice.state_dict(), first.state_dict()
    for key in ("predictor.blocks.1.first.weight", "refiner.level.0.weight", "refiner.blocks.1.first.weight"):
        assert torch.equal(own[key], given_weights[key])
    assert own["predictor.phases.weight"].shape[0] == 12 and own["refiner.state.weight"].shape[1] == 12
    x = torch.rand(1, 3, 9, 7, generator=torch.Generator().manual_seed(0)) * 2 - 1
    assert twice.eval().sample(x, steps=2, noise=Noise(1)).shape == (1, 3, 18, 14)
    with pytest.raises(UsageError, match="mezzotint-x2 with scale 4: it is for scale 2"):
        build_method(read_run(file, changes=(*given, "scale=4")))


def test_a_method_that_does_not_grow_keeps_the_scale_of_the_initial_weights(tmp_path: Path) -> None:
    file = tmp_path / "run.toml"
    file.write_text(RUN.format(output="out"))
    chosen = ('method="sr3"', "preset=small")
    build_method(read_run(file, changes=chosen)).save_pretrained(tmp_path / "weights")  # pyright: ignore
    with pytest.raises(UsageError, match="scale is 2, .*weights was made for 4: use that"):
        build_method(read_run(file, changes=(*chosen, f"initial={tmp_path / 'weights'}", "scale=2")))


def test_the_run_files_of_mezzotint_x2_follow_each_other(tmp_path: Path) -> None:
    changes: tuple[str, ...] = ()
    for part in ("predictor", "refiner", "adversarial"):
        run = read_run(Path(__file__).parents[2] / "training" / f"mezzotint-x2-{part}.toml", changes=changes)
        method: Any = build_method(run)
        assert (method.name, method.scale, method.steps_default) == ("mezzotint-x2", 2, 2)
        assert method.config["refiner_blocks"] == 6
        assert "fine_gain" not in method.config and "gain" not in method.config
        assert find_stage(method.stages, run.stage).name == part
        method.save_pretrained(tmp_path / part)
        changes = (f"initial={tmp_path / part}",)


def test_batches_depend_on_seed_and_step_alone(pairs: Pairs) -> None:
    first = batch(pairs, seed=1, step=5, size=4, crop=8)
    again = batch(pairs, seed=1, step=5, size=4, crop=8)
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    assert not torch.equal(first[0], batch(pairs, seed=1, step=6, size=4, crop=8)[0])
    assert not torch.equal(first[0], batch(pairs, seed=2, step=5, size=4, crop=8)[0])
    y, x = first
    assert y.shape == (4, 3, 32, 32) and x.shape == (4, 3, 8, 8)
    assert y.min() >= -1 and y.max() <= 1


def test_crops_are_aligned_whatever_the_turn() -> None:
    # A picture that is its own enlargement: constant 4x4 cells, and a small picture that says which cell is which.
    cells = torch.randint(0, 255, (1, 12, 9), dtype=torch.uint8, generator=torch.Generator().manual_seed(1)).expand(
        3, -1, -1
    )
    y = cells.repeat_interleave(4, 1).repeat_interleave(4, 2)
    pairs = Pairs((y,), (cells,), 4, ("cells",))
    for step in range(20):
        ys, xs = batch(pairs, seed=0, step=step, size=2, crop=5)
        assert torch.equal(ys[..., ::4, ::4], xs) and torch.equal(ys[..., 3::4, 3::4], xs)


def test_pictures_that_are_too_small_are_left_out(shared_data: Path) -> None:
    files = sorted((shared_data / "bench" / "Set5").glob("*.png"))
    pairs = load_pairs(files, scale=4, crop=70)
    assert "butterfly.png" not in pairs.names and "baby.png" in pairs.names
    with pytest.raises(InputError, match="none of 5 pictures"):
        load_pairs(files, scale=4, crop=1000)


def test_a_resumed_run_gives_the_same_numbers(pairs: Pairs, run: Run) -> None:
    whole, parts = Linear(), Linear()
    parts.load_state_dict(whole.state_dict())
    train(whole, pairs, run.model_copy(update={"output": run.output / "whole"}))
    stopped = run.model_copy(update={"output": run.output / "parts"})
    count = iter(range(100))
    first = train(parts, pairs, stopped, stop=lambda: next(count) == 4)
    assert first.step == 5
    fresh = Linear()
    last = train(fresh, pairs, stopped, resume=True)
    assert last.step == 12
    assert torch.equal(whole.layer.weight, fresh.layer.weight)
    a, _ = read_state(run.output / "whole" / "state.safetensors")
    b, _ = read_state(run.output / "parts" / "state.safetensors")
    assert a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


def test_a_lean_state_of_a_large_network_goes_on_from_the_average(pairs: Pairs, run: Run, monkeypatch) -> None:
    monkeypatch.setattr(checkpoints, "COMPACT_BYTES", 0)
    short = run.model_copy(update={"steps": 6})
    model = Linear()
    train(model, pairs, short)
    lean, _ = read_state(run.output / "resume.safetensors")
    assert not [name for name in lean if name.startswith(("weight/", "moment1/"))]
    (run.output / "resume.safetensors").rename(run.output / "state.safetensors")
    fresh = Linear()
    trained = train(fresh, pairs, short, resume=True)
    assert trained.step == 6
    assert (fresh.layer.weight - model.layer.weight).abs().max() < 1e-3 * model.layer.weight.abs().max()
    assert train(Linear(), pairs, run, resume=True).step == 12


def test_what_a_method_measures_at_the_end_is_saved(pairs: Pairs, run: Run) -> None:
    class Measured(Linear):
        batches = 0

        @property
        def stages(self) -> tuple[Stage, ...]:
            return (replace(super().stages[1], finish=self.measure),)

        def measure(self, found) -> None:
            Measured.batches += len(list(found))

    saved: list[int] = []
    train(Measured(), pairs, run, save=lambda folder, step, seconds: saved.append(Measured.batches))
    assert saved == [0, 16]


def test_only_the_stage_named_is_trained(pairs: Pairs, run: Run) -> None:
    model = Linear()
    before = {k: v.clone() for k, v in model.state_dict().items()}
    train(model, pairs, run)
    after = model.state_dict()
    assert torch.equal(before["other.weight"], after["other.weight"])
    assert not torch.equal(before["layer.weight"], after["layer.weight"])
    assert find_stage(model.stages, None).name == "main"
    with pytest.raises(UsageError, match="this method has other, main"):
        find_stage(model.stages, "third")


def test_a_loss_that_is_no_number_stops_the_run_and_keeps_its_batch(pairs: Pairs, run: Run) -> None:
    model = Linear()
    model.layer.weight.data.fill_(math.nan)
    with pytest.raises(DivergedError, match="step 0"):
        train(model, pairs, run)
    tensors, meta = read_state(run.output / "diverged.safetensors")
    expected = batch(pairs, seed=run.seed, step=0, size=2, crop=8)
    assert torch.equal(tensors["y"], expected[0]) and meta["step"] == 0


def test_missing_and_damaged_states(tmp_path: Path, pairs: Pairs, run: Run) -> None:
    with pytest.raises(WeightsError, match="without --resume"):
        train(Linear(), pairs, run, resume=True)
    bad = tmp_path / "bad.safetensors"
    bad.write_bytes(b"\x10\0\0\0\0\0\0\0nonsense")
    with pytest.raises(WeightsError, match="damaged"):
        read_state(bad)


def test_the_rate_warms_up_and_decays(run: Run) -> None:
    long = run.model_copy(update={"steps": 1000})
    rates = [learning_rate(long, step) for step in range(1000)]
    peak = max(rates)
    assert peak == pytest.approx(long.optimiser.rate) and 28 <= rates.index(peak) <= 31
    assert rates[-1] < 1e-5 and all(a > b for a, b in zip(rates[30:], rates[31:], strict=False))


def test_the_average_forgets_its_start_and_is_put_back() -> None:
    parameter = nn.Parameter(torch.zeros(1))
    average = Average({"p": parameter}, decay=0.9)
    with torch.no_grad():
        parameter.fill_(1.0)
    for _ in range(100):
        average.update({"p": parameter})
    assert float(average.values["p"]) == pytest.approx(1, abs=1e-3)
    average.values["p"].fill_(5.0)
    with average.applied({"p": parameter}):
        assert float(parameter.detach()) == 5.0
    assert float(parameter.detach()) == 1.0
