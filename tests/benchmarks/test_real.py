"""Pictures of unknown degradations: the small ones, the figures, and the table of the card."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks import real as bench
from mezzotint import images, quality, upscaler
from mezzotint.operators.resize import imresize_uint8
from mezzotint.quality import published


def photograph(seed: int, side: int = 256) -> np.ndarray:
    """Waves of several lengths and some grain, uint8 (side, side, 3)."""
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[0:side, 0:side]
    waves = [np.sin(rows * a + columns * b + c) for a, b, c in rng.uniform(-0.6, 0.6, (3, 3))]
    return (128 + 60 * np.stack(waves, -1) + rng.uniform(-20, 20, (side, side, 3))).astype(np.uint8)


@pytest.fixture(scope="module")
def weights(made_up: Callable[[str], Path]) -> Path:
    return made_up("mezzotint-x4-real")


def test_small_pictures_follow_from_picture_and_seed_and_are_no_clean_ones():
    y = photograph(0)
    x = bench.degraded(y, 0)
    assert x.shape == (64, 64, 3) and x.dtype == np.uint8
    assert np.array_equal(x, bench.degraded(y, 0)) and not np.array_equal(x, bench.degraded(y, 1))
    clean = imresize_uint8(torch.from_numpy(y).permute(2, 0, 1), size=(64, 64)).permute(1, 2, 0).numpy()
    assert abs(x.astype(float) - clean).mean() > 2
    grey = bench.degraded(y[..., :1], 0)
    assert grey.shape == (64, 64, 3)


def test_settings_are_what_the_model_makes_and_are_not_corrected(weights):
    loaded, x = upscaler.load(weights), photograph(1, 24)
    found = {candidate.name: candidate.upscale for candidate in bench.settings(loaded, (0.0, 0.5))}
    assert list(found) == [f"mezzotint-x4-real, realism {r}" for r in ("0", "0.5", "1")]
    assert not loaded.consistent
    wanted = loaded(x, seed=0, realism=0.5, floats=True).floats[0]
    assert abs(np.asarray(found["mezzotint-x4-real, realism 0.5"](x, 0)) - wanted).max() < 1e-5


@pytest.mark.skipif(published.find("dists") is None, reason="DISTS has no weights here: see `mezzotint weights list`")
def test_the_command_measures_and_writes_the_table(weights, tmp_path, monkeypatch):
    folder = tmp_path / "GB82"
    folder.mkdir()
    for seed in (0, 1):
        images.write(images.Picture(photograph(seed)), folder / f"{seed}.png")
    output, page = tmp_path / "real.json", tmp_path / "card.md"
    page.write_text("above\n<!-- written by benchmarks/real.py -->\nold\n<!-- end of benchmarks/real.py -->\nbelow\n")
    command = ["real", "--method", str(weights), "--data", str(tmp_path), "--seeds", "0,1", "--side", "128",
               "--threads", "1", "-o", str(output), "--page", str(page)]  # fmt: skip
    monkeypatch.setattr(sys, "argv", command)
    bench.main()
    content = json.loads(output.read_text())
    rows = content["methods"][bench.BICUBIC]
    assert list(rows) == ["0 0", "1 0", "0 1", "1 1"]
    y = photograph(1)[64:192, 64:192]
    wanted = quality.psnr(y, bench.bicubic(bench.degraded(y, 1), 0), protocol="y-modern", scale=4)
    assert abs(rows["1 1"]["psnr"] - wanted) < 1e-3
    text = page.read_text()
    assert "old" not in text and text.startswith("above\n")
    assert " 2 pictures of GB82" in text and "seed of 0, 1;" in text
    mean = np.mean([row["dists"] for row in rows.values()])
    assert f"| {mean:.4f} |" in next(line for line in text.splitlines() if line.startswith("| bicubic |"))
    monkeypatch.setattr(sys, "argv", ["real", "--page-only", "-o", str(output), "--page", str(page)])
    bench.main()
    assert page.read_text() == text


def test_differences_are_paired_and_seeds_of_a_picture_count_as_one():
    values = {"a 0": 0.1, "a 1": 0.2, "b 0": 0.6, "b 1": 0.3}
    one = {key: {"lpips": value} for key, value in values.items()}
    other = {key: {"lpips": value + 0.05} for key, value in values.items()}
    assert bench.difference(one, other, "lpips") == "-0.0500 (-0.0500 to -0.0500)"
    # The seeds differ by far more than the pictures, whose means are all that the interval sees.
    wide = {"a 0": 0.92, "a 1": -0.9, "b 0": 0.72, "b 1": -0.7}
    spread = {key: {"lpips": values[key] + value} for key, value in wide.items()}
    assert bench.difference(spread, one, "lpips") == "+0.0100 (+0.0100 to +0.0100)"


def test_seeds_that_are_no_numbers_are_named(monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(sys, "argv", ["real", "--data", str(tmp_path), "--seeds", "0,one"])
    with pytest.raises(SystemExit):
        bench.main()
    assert "--seeds 0,one is no list of whole numbers" in capsys.readouterr().err
