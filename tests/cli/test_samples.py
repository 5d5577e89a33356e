"""Options of diffusion methods, on a small untrained model of our own kind."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mezzotint import images
from mezzotint.record import from_json

Command = Callable[..., Any]
Save = Callable[..., Path]


def _pixels(path: Path) -> np.ndarray:
    return images.read(path).pixels


def test_samples_are_the_pictures_of_the_following_seeds(
    command: Command, photo: Path, model: Path, tmp_path: Path
) -> None:
    words = ("upscale", photo, "--method", model, "--realism", 1)
    assert command(*words, "--seed", 5, "--samples", 3).status == 0
    several = [photo.with_name(f"photo_x4_s{k}.png") for k in range(3)]
    for k, path in enumerate(several):
        assert command(*words, "--seed", 5 + k, "-o", tmp_path / f"{k}.png").status == 0
        assert np.array_equal(_pixels(path), _pixels(tmp_path / f"{k}.png"))
        assert from_json(images.read_record(path) or "").request.seed == 5 + k
    assert not np.array_equal(_pixels(several[0]), _pixels(several[1]))


def test_only_missing_samples_are_made_again(command: Command, photo: Path, model: Path) -> None:
    words = ("upscale", photo, "--method", model, "--samples", 3)
    command(*words)
    several = [photo.with_name(f"photo_x4_s{k}.png") for k in range(3)]
    contents = [path.read_bytes() for path in several]
    times = [path.stat().st_mtime_ns for path in several]
    several[1].unlink()
    outcome = command(*words)
    assert outcome.status == 0 and "skipped" not in outcome.line
    assert np.array_equal(_pixels(several[1]), images.decode(contents[1], name="s1").pixels)
    assert [several[k].stat().st_mtime_ns == times[k] for k in range(3)] == [True, False, True]
    assert "skipped" in command(*words).line


def test_spread_is_the_deviation_of_the_samples_times_eight(
    command: Command, photo: Path, model: Path, tmp_path: Path
) -> None:
    words = ("upscale", photo, "--method", model, "--realism", 1, "--samples", 4, "-o", tmp_path / "out.png")
    outcome = command(*words, "--spread", tmp_path / "spread.png")
    assert outcome.status == 0
    several = np.stack([_pixels(tmp_path / f"out_s{k}.png") for k in range(4)]).astype(np.float64)
    deviation = np.sqrt(several.var(axis=0, ddof=1).mean(axis=-1))
    spread = _pixels(tmp_path / "spread.png")
    assert spread.shape == (48, 64, 1) and spread.max() > 0
    inside = deviation * 8 < 250
    # The samples were rounded to 8 bits before we see them, the spread was not.
    assert np.abs(spread[..., 0] - deviation * 8)[inside].max() < 8
    again = command(*words[:-1], tmp_path / "other.png", "--spread", tmp_path / "spread.png")
    assert again.status == 1 and "spread.png" in again.line


def test_realism_zero_is_one_picture_for_every_seed(command: Command, photo: Path, model: Path, tmp_path: Path) -> None:
    made = []
    for seed in (0, 1):
        words = ("--method", model, "--realism", 0, "--seed", seed, "-o", tmp_path / f"{seed}.png")
        assert command("upscale", photo, *words).status == 0
        made.append(_pixels(tmp_path / f"{seed}.png"))
    assert np.array_equal(made[0], made[1])


def test_tiles_and_batches_change_nothing(command: Command, save: Save, model: Path, tmp_path: Path) -> None:
    photos = [save(tmp_path / f"{k}.png", height=40, width=52, seed=k) for k in range(2)]
    for name, tile in (("whole", "none"), ("tiles", 16)):
        assert command("upscale", *photos, "--method", model, "--tile", tile, "-o", tmp_path / name).status == 0
    assert command("upscale", photos[1], "--method", model, "--tile", "none", "-o", tmp_path / "alone").status == 0
    assert np.array_equal(_pixels(tmp_path / "alone" / "1_x4.png"), _pixels(tmp_path / "whole" / "1_x4.png"))
    for name in ("0_x4.png", "1_x4.png"):
        difference = _pixels(tmp_path / "whole" / name).astype(int) - _pixels(tmp_path / "tiles" / name)
        assert np.abs(difference).max() <= 1 and np.mean(difference != 0) <= 1e-4


@pytest.mark.parametrize("words, named", [(["--tile", "3"], "16"), (["--realism", "2"], "--realism")])
def test_wrong_settings_are_known_before_the_first_picture(
    command: Command, model: Path, tmp_path: Path, words: list[str], named: str
) -> None:
    outcome = command("upscale", tmp_path / "missing.png", "--method", model, *words)
    assert outcome.status == 2 and named in outcome.line


def test_evaluate_goes_through_settings_and_calibrates(
    command: Command, save: Save, model: Path, tmp_path: Path
) -> None:
    (tmp_path / "set").mkdir()
    save(tmp_path / "set" / "a.png", height=64, width=64)
    words = ["--method", "nearest", "--method", model, "--realism", "0,1", "--samples", 2, "--json", "-"]
    outcome = command("evaluate", tmp_path / "set", *words)
    assert outcome.status == 0, outcome.lines
    result = json.loads(outcome.out)
    assert result["seeds"] == [0, 1]
    assert list(result["methods"]) == ["nearest", f"{model} realism 0", f"{model} realism 1"]
    mean, sample = (result["methods"][f"{model} realism {r}"] for r in (0, 1))
    assert mean["mean"]["nfe"] == 1 and sample["mean"]["nfe"] == 3
    assert sample["settings"]["steps"] == 2
    assert "calibration" in sample and "calibration" not in mean


def test_evaluate_measures_what_upscale_makes(command: Command, save: Save, model: Path, tmp_path: Path) -> None:
    (tmp_path / "set").mkdir()
    true = save(tmp_path / "set" / "a.png", height=64, width=64)
    words = ["--method", model, "--seed", 3, "--save", tmp_path / "saved"]
    assert command("evaluate", tmp_path / "set", *words).status == 0
    assert command("degrade", true, "-o", tmp_path / "small").status == 0
    command("upscale", tmp_path / "small" / "a.png", "--method", model, "--seed", 3, "-o", tmp_path / "made.png")
    (saved,) = (tmp_path / "saved").rglob("*.png")
    assert np.array_equal(_pixels(saved), _pixels(tmp_path / "made.png"))
