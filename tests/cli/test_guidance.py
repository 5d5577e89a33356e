"""`--guidance` of upscale, plan, evaluate and replay, with an untrained method that knows states without x."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

import mezzotint
from mezzotint import images
from mezzotint.errors import UsageError
from mezzotint.record import from_json

Command = Callable[..., Any]
Save = Callable[..., Path]


def _weights(folder: Path, *, drop: float) -> Path:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = {"channels": 8, "multipliers": [1], "groups": 4}
        method = mezzotint.build("ddpm-sr", config={"network": network, "drop": drop})
    card = method.describe().model_copy(update={"steps_default": 3})
    method.save_pretrained(folder, card=card)
    return folder


@pytest.fixture(scope="session")
def guidable(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return _weights(tmp_path_factory.mktemp("guidable"), drop=0.1)


def test_guidance_changes_the_picture_is_recorded_and_repeated(command: Command, photo: Path, guidable: Path) -> None:
    out = photo.parent / "out"
    out.mkdir()
    names = {"1": out / "plain.png", "2.5": out / "guided.png"}
    for strength, path in names.items():
        outcome = command("upscale", photo, "-o", path, "--method", guidable, "--guidance", strength)
        assert outcome.status == 0, outcome.lines
        record = from_json(images.read_record(path) or "")
        assert record.request.guidance == float(strength)
        assert record.evaluations == (3 if strength == "1" else 6)
    plain, guided = (images.read(path).pixels for path in names.values())
    assert plain.shape == guided.shape and (plain != guided).mean() > 0.1
    assert command("upscale", photo, "-o", out / "default.png", "--method", guidable).status == 0
    assert (images.read(out / "default.png").pixels == plain).all()
    again = command("upscale", photo, "-o", names["2.5"], "--method", guidable, "--guidance", "2.50")
    assert again.status == 0 and "skipped" in again.line
    other = command("upscale", photo, "-o", names["2.5"], "--method", guidable)
    assert other.status == 1 and "exists" in other.lines[0]
    replayed = command("replay", names["2.5"], "--input", photo, "--weights", guidable, "--json", "-q")
    found = json.loads(replayed.out)
    assert replayed.status == 0 and found["equal"] and found["request"]["guidance"] == 2.5 and found["warnings"] == []
    told = command("replay", names["2.5"], "--input", photo, "--weights", guidable, "-q").out
    assert "guidance 2.5" in told
    cited = command("cite", names["2.5"]).out
    assert "2207.12598" in cited and "2207.12598" not in command("cite", names["1"]).out


def test_a_plan_counts_both_estimates(command: Command, photo: Path, guidable: Path) -> None:
    words = ["plan", photo, "--method", guidable, "--events"]
    plain, guided = (json.loads(command(*words, "--guidance", g).out) for g in (1, 3))
    assert (plain["guidance"], plain["evaluations"]) == (1.0, 3)
    assert (guided["guidance"], guided["evaluations"]) == (3.0, 6)
    assert "guidance 3" in command("plan", photo, "--method", guidable, "--guidance", "3").out


def test_a_deadline_counts_guidance_as_it_is(command: Command, photo: Path, guidable: Path) -> None:
    outcome = command("plan", photo, "--method", guidable, "--guidance", 2, "--deadline", 1000, "--events")
    assert "3 of 3 steps" in json.loads(outcome.out)["deadline"]


def test_each_strength_is_a_row_of_an_evaluation(command: Command, save: Save, tmp_path: Path, guidable: Path) -> None:
    (tmp_path / "set").mkdir()
    save(tmp_path / "set" / "0.png", height=64, width=72)
    words = ["evaluate", tmp_path / "set", "--method", guidable, "--method", "bicubic", "--json", "-"]
    methods = json.loads(command(*words, "--guidance", "1,2").out)["methods"]
    rows = [f"{guidable} guidance 1", f"{guidable} guidance 2"]
    assert list(methods) == [*rows, "bicubic"]
    assert [methods[name]["settings"]["guidance"] for name in rows] == [1.0, 2.0]
    assert [methods[name]["mean"]["nfe"] for name in rows] == [3, 6]
    assert methods[rows[0]]["mean"]["psnr"] != methods[rows[1]]["mean"]["psnr"]
    refused = command("evaluate", tmp_path / "set", "--method", "bicubic", "--guidance", "2")
    assert refused.status == 2 and "none of the methods takes --guidance" in refused.line


def test_what_was_not_trained_for_it_refuses(command: Command, photo: Path, tmp_path: Path) -> None:
    for name in ("mezzotint-x4", "bicubic"):
        outcome = command("upscale", photo, "--method", name, "--guidance", "2")
        assert outcome.status == 2 and f"{name} has no guidance: leave --guidance out" in outcome.line
    plain = _weights(tmp_path / "plain", drop=0.0)
    outcome = command("upscale", photo, "--method", plain, "--guidance", "0")
    assert outcome.status == 2 and "train it with drop = 0.1 under [config]" in outcome.line
    assert command("upscale", photo, "--method", plain, "--guidance", "1").status == 0
    for text, words in (("x", "'x' is not a number"), ("-1", "not in the range 0 to 100"), ("nan", "not in the range")):
        outcome = command("upscale", photo, f"--guidance={text}")
        assert outcome.status == 2 and words in outcome.line


def test_python_takes_it_too(guidable: Path) -> None:
    upscaler = mezzotint.load(guidable)
    x = torch.rand(2, 3, 6, 5, generator=torch.Generator().manual_seed(0))
    plain, guided = upscaler(x), upscaler(x, guidance=3.0)
    assert (plain.image != guided.image).any() and guided.records[1].request.guidance == 3.0
    assert torch.equal(upscaler(x[1], guidance=3.0).image, guided.image[1])
    assert upscaler.request(x[0], guidance=3.0) == guided.record.request
    for strength in (-1.0, 101.0, float("nan")):
        with pytest.raises(UsageError, match="lies outside 0 to 100"):
            upscaler(x, guidance=strength)
