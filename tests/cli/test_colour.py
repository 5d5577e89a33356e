"""`--colour` of upscale, plan, evaluate and replay."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import mezzotint
from mezzotint import images
from mezzotint.record import from_json

Command = Callable[..., Any]
Save = Callable[..., Path]


@pytest.mark.parametrize("colour", ["mean-std", "wavelet"])
def test_colour_is_recorded_repeated_and_cited(command: Command, photo: Path, model: Path, colour: str) -> None:
    out = photo.parent / "out"
    out.mkdir()
    words = ["upscale", photo, "--method", model, "--no-consistent"]
    assert command(*words, "-o", out / "plain.png").status == 0
    assert command(*words, "-o", out / "corrected.png", "--colour", colour).status == 0
    plain, corrected = (images.read(out / f"{name}.png").pixels for name in ("plain", "corrected"))
    expected = mezzotint.load(model)(images.read(photo).pixels, colour=colour, consistent=False)
    assert (corrected == expected.image).all() and (corrected != plain).mean() > 0.1
    record = from_json(images.read_record(out / "corrected.png") or "")
    assert record.request.colour == colour and "colour" in record.timings
    assert "skipped" in command(*words, "-o", out / "corrected.png", "--colour", colour).line
    assert command(*words, "-o", out / "corrected.png").status == 1
    replay = ["replay", out / "corrected.png", "--input", photo, "--weights", model, "-q"]
    found = json.loads(command(*replay, "--json").out)
    assert found["equal"] and found["request"]["colour"] == colour and found["warnings"] == []
    assert f"colour {colour}" in command(*replay).out
    assert "2305.07015" in command("cite", out / "corrected.png").out


def test_a_plan_names_it(command: Command, photo: Path) -> None:
    words = ["plan", photo, "--method", "bicubic", "--colour", "wavelet"]
    assert json.loads(command(*words, "--events").out)["colour"] == "wavelet"
    assert "colour wavelet" in command(*words).out
    outcome = command("plan", photo, "--colour", "sepia")
    assert outcome.status == 2 and "--colour 'sepia' is unknown: use one of none, mean-std, wavelet" in outcome.line


def test_an_evaluation_corrects_what_learned(command: Command, save: Save, tmp_path: Path, model: Path) -> None:
    (tmp_path / "set").mkdir()
    save(tmp_path / "set" / "0.png", height=64, width=72)
    words = ["evaluate", tmp_path / "set", "--method", model, "--no-consistent", "--json", "-"]
    plain, corrected = (
        json.loads(command(*words, "--colour", colour).out)["methods"][str(model)] for colour in ("none", "mean-std")
    )
    assert (plain["settings"]["colour"], corrected["settings"]["colour"]) == ("none", "mean-std")
    assert corrected["mean"]["psnr"] != plain["mean"]["psnr"]
