"""`mezzotint data`: the sets that have a name, a folder against its set, and the report before training."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest


def test_sets_with_a_reader_are_listed_and_shown(command: Callable) -> None:
    out = command("data", "list").out
    for name in ("DIV2K", "Flickr2K", "DF2K", "FFHQ", "CelebA-HQ", "Urban100", "Manga109", "RealSR", "ImageNet"):
        assert f"\n{name} " in out
    shown = command("data", "show", "realsr").out
    for word in ("split canon-test", "Canon/Train/{scale} + Nikon/Train/{scale}", "github.com/csjcai/RealSR", "beware"):
        assert word in shown
    known = json.loads(command("data", "show", "DIV2K", "--json").out)
    assert known["tracks"][:5] == ["bicubic", "unknown", "mild", "difficult", "wild"]
    outcome = command("data", "fetch", "FFHQ", "-o", "out")
    assert outcome.status == 2 and "get it from https://github.com/NVlabs/ffhq-dataset" in outcome.line


def test_a_folder_is_checked_against_its_set(command: Callable, save: Callable[..., Path], tmp_path: Path) -> None:
    for name in ("baby", "bird", "butterfly", "head", "woman"):
        (tmp_path / "HR").mkdir(exist_ok=True)
        (tmp_path / "LR_bicubic" / "X4").mkdir(parents=True, exist_ok=True)
        save(tmp_path / "HR" / f"{name}.png")
        save(tmp_path / "LR_bicubic" / "X4" / f"{name}x4.png", height=3, width=4)
    outcome = command("data", "check", "Set5", tmp_path, "--track", "bicubic")
    assert outcome.status == 0 and outcome.out == "Set5, split test: 5 pairs, 0.0 MP\n" and outcome.lines == ()
    outcome = command("data", "check", "Set14", tmp_path)
    assert outcome.status == 1 and outcome.line == "mezzotint: Set14: 5 pictures, Set14 has 14 in split test"
    outcome = command("data", "check", "Set5", tmp_path, "--track", "bicubic", "--scale", "2")
    assert outcome.status == 2 and "lacks the small pictures of Set5" in outcome.line
    (tmp_path / "LR_bicubic" / "X4" / "babyx4.png").unlink()
    save(tmp_path / "LR_bicubic" / "X4" / "babyx4.png", height=4, width=4)
    outcome = command("data", "check", "Set5", tmp_path, "--track", "bicubic")
    assert outcome.status == 2 and "no pair at scale 4" in outcome.line


def test_ones_own_pairs_are_checked_as_pairs(command: Callable, save: Callable[..., Path], tmp_path: Path) -> None:
    for side in ("HR", "LR"):
        (tmp_path / side).mkdir()
    save(tmp_path / "HR" / "1.png")
    assert command("data", "check", "pairs", tmp_path).status == 2
    save(tmp_path / "LR" / "2.png", height=3, width=4)
    outcome = command("data", "check", "pairs", tmp_path)
    assert outcome.status == 2 and "1 of 1 large pictures have no small one" in outcome.line
    save(tmp_path / "LR" / "1.png", height=3, width=5)
    (tmp_path / "LR" / "2.png").unlink()
    outcome = command("data", "check", "pairs", tmp_path)
    assert outcome.status == 2 and "no pair at scale 4" in outcome.line
    assert command("data", "check", "pairs", tmp_path, "--track", "none").status == 0
    (tmp_path / "LR" / "1.png").unlink()
    save(tmp_path / "LR" / "1.png", height=3, width=4)
    outcome = command("data", "check", "pairs", tmp_path)
    assert outcome.status == 0 and outcome.out == "pairs, split all: 1 pairs, 0.0 MP\n"


@pytest.mark.parametrize("words", [["check"], ["check", "Set5"], ["check", "Set5", ".", "--scale", "0"], ["report"]])
def test_words_that_are_missing_or_wrong(command: Callable, words: list[str]) -> None:
    outcome = command("data", *words)
    assert outcome.status == 2 and outcome.line.startswith("mezzotint: ")


def test_a_report_before_training(command: Callable, save: Callable[..., Path], tmp_path: Path) -> None:
    for name, seed in (("a.png", 1), ("b.png", 1), ("c.png", 2)):
        save(tmp_path / name, height=64, width=80, seed=seed)
    outcome = command("data", "report", tmp_path)
    assert outcome.status == 0 and outcome.lines == ()
    assert outcome.out.startswith(f"3 pictures in {tmp_path}") and "a.png = b.png" in outcome.out
    found = json.loads(command("data", "report", tmp_path, "--json", "--workers", "0").out)
    assert found["equal"] == [["a.png", "b.png"]] and set(found["images"]) == {"a.png", "b.png", "c.png"}
    outcome = command("data", "report", tmp_path, "--against", tmp_path)
    assert f"against {tmp_path}: 3 pairs of pictures that are the same" in outcome.out
    (tmp_path / "c.png").write_bytes(b"no picture")
    outcome = command("data", "report", tmp_path)
    assert outcome.status == 1 and "1 cannot be trained on" in outcome.out and "c.png is not a picture" in outcome.out
    outcome = command("data", "report", tmp_path / "absent")
    assert outcome.status == 2 and "does not exist" in outcome.line
    outcome = command("data", "report", tmp_path, "--workers", "some")
    assert outcome.status == 2 and "--workers" in outcome.line
