from __future__ import annotations

import importlib.util
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mezzotint import images
from mezzotint.record import from_json, to_json

Command = Callable[..., Any]

needs_openvino = pytest.mark.skipif(
    importlib.util.find_spec("openvino") is None, reason="openvino is not installed: pip install '.[fast]'"
)


@needs_openvino
def test_upscale_plan_and_replay_with_an_engine(command: Command, photo: Path, tmp_path: Path) -> None:
    fast, plain = tmp_path / "fast.png", tmp_path / "plain.png"
    assert command("upscale", photo, "-o", fast, "--steps", "1", "--engine", "openvino").status == 0
    assert command("upscale", photo, "-o", plain, "--steps", "1").status == 0
    first, second = (images.read(path).pixels.astype(int) for path in (fast, plain))
    assert np.abs(first - second).max() <= 1 and (first != second).mean() <= 1e-3
    record = from_json(images.read_record(fast) or "")
    assert record.machine is not None and record.machine.engine == "openvino" and "openvino" in record.libraries
    skipped = command("upscale", photo, "-o", fast, "--steps", "1")
    assert skipped.status == 0 and "skipped" in skipped.line

    planned = json.loads(command("plan", photo, "--engine", "openvino", "--events").out)
    assert planned["engine"] == "openvino"

    again = json.loads(command("replay", fast, "--input", photo, "--json").out)
    assert again["equal"] and again["environment"] == []


@needs_openvino
def test_a_record_of_an_engine_that_is_not_here(
    command: Command, photo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    result = tmp_path / "fast.png"
    assert command("upscale", photo, "-o", result, "--steps", "1", "--engine", "openvino").status == 0
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    found = json.loads(command("replay", result, "--input", photo, "--json").out)
    assert "engine openvino against eager" in found["environment"]
    # Rounding to 8 bits makes a grey level of a difference of 1e-5, in a few samples.
    assert found["difference"]["largest"] <= 1 and float(found["difference"]["psnr"]) > 70


def test_evaluate_gives_the_engine_to_methods_with_a_network(command: Command, tmp_path: Path, save: Any) -> None:
    folder = tmp_path / "true"
    folder.mkdir()
    save(folder / "a.png", height=32, width=32)
    outcome = command("evaluate", folder, "--method", "bicubic", "--engine", "compile")
    assert outcome.status == 2 and "none of the methods has a network for --engine compile" in outcome.line
    if importlib.util.find_spec("openvino") is None:
        pytest.skip("openvino is not installed: pip install '.[fast]'")
    words = ("--method", "bicubic", "--method", "span", "--engine", "openvino", "--json", "-", "--quiet")
    methods = json.loads(command("evaluate", folder, *words).out)["methods"]
    assert methods["span"]["settings"]["engine"] == "openvino" and "engine" not in methods["bicubic"]["settings"]


@pytest.mark.parametrize("engine", ["tensorrt", "", "EAGER"])
@pytest.mark.parametrize("words", [("upscale",), ("plan",), ("evaluate", "--method", "span")])
def test_unknown_engines(command: Command, photo: Path, engine: str, words: tuple[str, ...]) -> None:
    outcome = command(words[0], photo, *words[1:], "--engine", engine)
    assert (outcome.status, outcome.out) == (2, "")
    assert f"--engine {engine!r} is unknown: use one of eager, compile, openvino" in outcome.line


def test_without_the_extra(command: Command, photo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    outcome = command("upscale", photo, "--engine", "openvino")
    assert outcome.status == 2 and "pip install 'mezzotint[fast]'" in outcome.line
    assert not list(photo.parent.glob("*_x4*"))


def test_a_record_names_the_engine_in_json(command: Command, photo: Path, tmp_path: Path) -> None:
    record = tmp_path / "record.json"
    assert command("upscale", photo, "--method", "span", "--record", record).status == 0
    content = json.loads(record.read_text())
    assert content["machine"]["engine"] == "eager"
    assert to_json(from_json(record.read_text())) == to_json(from_json(json.dumps(content)))
