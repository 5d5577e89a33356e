"""Small pictures made otherwise: each way against its definition, settings against the front door, and the page."""

from __future__ import annotations

import io
import json
import math
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from benchmarks import robustness as bench
from mezzotint import quality, upscaler
from mezzotint.operators.resize import imresize, imresize_uint8
from mezzotint.quality import published
from mezzotint.upscaler import Upscaler
from mezzotint.upscaler.enlargers import Refinement

ROOT = Path(__file__).resolve().parents[2]
WAYS = {way.name: way.make for way in bench.WAYS}


@pytest.fixture(scope="module")
def weights(made_up: Callable[[str], Path]) -> Path:
    return made_up("mezzotint-x4")


@pytest.fixture(scope="module")
def loaded(weights: Path) -> Upscaler:
    return upscaler.load(weights)


def photograph(seed: int, side: int = 64) -> np.ndarray:
    """Waves of several lengths and some grain, away from black and white: uint8 (side, side, 3)."""
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[0:side, 0:side]
    waves = [np.sin(rows * a + columns * b + c) for a, b, c in rng.uniform(-0.6, 0.6, (3, 3))]
    return (128 + 60 * np.stack(waves, -1) + rng.uniform(-20, 20, (side, side, 3))).astype(np.uint8)


# -- the ways ----------------------------------------------------------------------------------------------------------


def test_matlab_and_jpeg():
    y = photograph(0)
    x = imresize_uint8(torch.from_numpy(y).permute(2, 0, 1), size=(16, 16)).permute(1, 2, 0).numpy()
    assert np.array_equal(WAYS["matlab"](y), x)
    file = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(x)).save(file, "JPEG", quality=75, subsampling="4:2:0")
    off = WAYS["jpeg"](y).astype(int) - np.array(Image.open(file)).astype(int)
    # Both are libjpeg's, which differ in how they enlarge colour.
    assert abs(off).max() <= 8 and abs(off).mean() < 1
    assert abs(WAYS["jpeg"](y).astype(int) - x).max() > 8


def test_pillow_is_matlab_but_for_rounding_and_the_border():
    y = photograph(1)
    exact = imresize(torch.from_numpy(y).permute(2, 0, 1).double(), size=(16, 16)).permute(1, 2, 0).numpy()
    assert abs(WAYS["pillow"](y) - exact)[2:-2, 2:-2].max() <= 1.5


def test_means_of_cells():
    y = photograph(2)
    means = y.reshape(16, 4, 16, 4, 3).mean((1, 3))
    assert np.array_equal(WAYS["area"](y), np.floor(means + 0.5).astype(np.uint8))


def test_the_camera_is_a_gaussian_about_the_middle_of_a_cell_and_noise():
    """A wave of w radians a pixel keeps exp(-w^2 sigma^2 / 2) of its height, and its place."""
    w, side = 2 * math.pi / 32, 256
    wave = 100 * np.cos(w * np.arange(side))
    y = np.broadcast_to((128 + wave).round().astype(np.uint8)[None, :, None], (side, side, 3)).copy()
    x = WAYS["camera"](y).astype(float)
    middles = 4 * np.arange(side // 4) + 1.5
    wanted = 128 + 100 * math.exp(-((w * 1.8) ** 2) / 2) * np.cos(w * middles)
    inner = slice(4, -4)
    assert abs(x.mean((0, 2)) - wanted)[inner].max() < 0.8
    noise = (x - x.mean((0, 2), keepdims=True))[:, inner]
    # A twelfth of a squared level comes from rounding.
    assert noise.std() == pytest.approx(math.sqrt(2**2 + 1 / 12), rel=0.05)
    assert np.array_equal(WAYS["camera"](y), WAYS["camera"](y))


@pytest.mark.parametrize("waves", bench.WAVES)
def test_what_a_way_keeps_of_a_wave(waves: int):
    """Means of 4 pixels keep sin(2 w) / (4 sin(w / 2)) of a wave of w radians a pixel, the Gaussian as above."""
    w = 2 * math.pi * waves / 16
    found = {way.name: bench.kept(way, waves=waves) for way in bench.WAYS if way.name != "jpeg"}
    assert found["area"] == pytest.approx(math.sin(2 * w) / (4 * math.sin(w / 2)), abs=3e-3)
    assert found["camera"] == pytest.approx(math.exp(-((w * 1.8) ** 2) / 2), abs=3e-3)
    assert found["pillow"] == pytest.approx(found["matlab"], abs=3e-3)


def test_grey_pictures_become_colour():
    y = photograph(3)[..., :1]
    assert all(make(y).shape == (16, 16, 3) and make(y).dtype == np.uint8 for make in WAYS.values())


# -- the settings ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("realism", [0.0, 0.6, 1.0])
@pytest.mark.parametrize("consistent", [True, False])
def test_what_is_drawn_once_is_what_the_command_makes(loaded: Upscaler, realism: float, consistent: bool):
    x = photograph(4, 20)[:, :16]
    assert isinstance(loaded.enlarger, Refinement) and loaded.steps
    drawn = bench.Drawn(loaded)
    for seed in (0, 3):
        found = bench.enlarged(x, loaded, drawn, realism=realism, consistent=consistent, seed=seed)
        wanted = loaded(x, realism=realism, consistent=consistent, seed=seed, floats=True).floats[0]
        assert abs(found - wanted).max() < 1e-5


def test_a_model_of_real_pictures_is_a_column(loaded: Upscaler):
    x = photograph(5, 16)
    found = {c.name: c for c in bench.candidates(loaded, real=loaded)}
    assert list(found)[:2] == ["bicubic", "realism 0"] and bench.REAL in found
    made = found[bench.REAL].upscale(x, 0)
    assert isinstance(made, quality.Output)
    assert np.array_equal(made.image, loaded(x, floats=True).floats[0])
    assert bench.REAL not in {c.name for c in bench.candidates(loaded)}


def test_methods_without_realism_are_refused():
    with pytest.raises(SystemExit, match="has no realism at scale 4: name mezzotint-x4"):
        bench.candidates(upscaler.load("bicubic"))


def test_files_are_spread_and_middles_cut():
    files = [Path(str(n)) for n in range(100)]
    assert [int(f.name) for f in bench.spread(files, 5)] == [0, 20, 40, 60, 80]
    assert bench.spread(files, None) == files and bench.spread(files[:3], 5) == files[:3]
    y = np.arange(7 * 9).reshape(7, 9, 1)
    assert np.array_equal(bench.middle(y, 4), y[1:5, 2:6]) and np.array_equal(bench.middle(y, 99), y)


# -- the command -------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def ran(weights: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("robustness")
    for seed, name in enumerate(bench.SETS):
        (folder / name).mkdir()
        Image.fromarray(photograph(seed)).save(folder / name / "one.png")
        Image.fromarray(photograph(seed + 9)).save(folder / name / "two.png")
    command(folder, "--data", str(folder), "--method", str(weights), "--limit", "1", "--side", "64")
    return folder


def command(folder: Path, *arguments: str) -> None:
    with pytest.MonkeyPatch.context() as patch:
        files = ["-o", str(folder / "out.json"), "--page", str(folder / "page.md")]
        patch.setattr(sys, "argv", ["robustness", *arguments, *files])
        bench.main()


def test_figures_are_those_of_the_pictures(ran: Path):
    content = json.loads((ran / "out.json").read_text())
    one = content["sets"]["GB82"]
    assert content["side"] == 64 and one["pictures"] == 1 and set(one["ways"]) == set(WAYS)
    y, x = photograph(0), WAYS["area"](photograph(0))
    enlarged = imresize_uint8(torch.from_numpy(x).permute(2, 0, 1), size=(64, 64)).permute(1, 2, 0).numpy()
    found = one["ways"]["area"]["methods"]["bicubic"]["mean"]
    assert found["psnr"] == pytest.approx(quality.psnr(y, enlarged), abs=1e-4)
    assert found["lpips"] == pytest.approx(quality.lpips(y, enlarged), abs=1e-4)
    off = x.astype(float) - WAYS["matlab"](y)
    assert one["ways"]["area"]["departure"] == pytest.approx(math.sqrt((off**2).mean()), abs=1e-3)
    assert one["ways"]["matlab"]["departure"] == 0


def test_the_page_holds_the_figures_and_is_written_again_without_pictures(ran: Path):
    text = (ran / "page.md").read_text()
    one = json.loads((ran / "out.json").read_text())["sets"]["BSD100"]["ways"]["camera"]["methods"]
    cells = " | ".join(f"{method['mean']['psnr']:.2f}" for method in one.values())
    assert f"| camera | {cells} |" in text and "64x64 pixels of 1 of GB82 and 1 of BSD100" in text
    gain = one["realism 0"]["mean"]["psnr"] - one["realism 0, not corrected"]["mean"]["psnr"]
    assert f"| BSD100 | camera | {gain:+.3f} | {int(gain < 0)} of 1 |" in text
    (ran / "page.md").unlink()
    command(ran, "--page-only")
    assert (ran / "page.md").read_text() == text


def test_dists_has_a_table_where_it_was_measured(ran: Path):
    content = json.loads((ran / "out.json").read_text())
    assert (published.find("dists") is not None) == ("DISTS" in bench.page(content))
    for one in content["sets"].values():
        for way in one["ways"].values():
            for rank, figures in enumerate(way["methods"].values()):
                figures["mean"]["dists"] = rank / 8
    values = (f"{rank / 8:.4f}" for rank in range(len(one["ways"]["area"]["methods"])))
    assert bench.page(content).count("| area | " + " | ".join(values) + " |") == len(content["sets"])


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "name --data"),
        (["--data", "nowhere", "--limit", "0"], "--limit 0 is below 1"),
        (["--data", "nowhere", "--side", "32"], "--side 32 is below 64"),
        (["--data", "nowhere"], "nowhere"),
        (["--data", "nowhere", "--method", "mezotint"], "mezotint"),
    ],
)
def test_wrong_usage_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture, arguments: list[str], said: str):
    with pytest.raises(SystemExit):
        command(tmp_path, *arguments)
    assert said in capsys.readouterr().err and not list(tmp_path.iterdir())


def test_the_page_in_the_repository_is_that_of_the_results():
    content = json.loads((ROOT / "benchmarks" / "results" / "robustness.json").read_text(encoding="utf-8"))
    text = (ROOT / "docs" / "robustness.md").read_text(encoding="utf-8")
    assert text == bench.page(content), "python -m benchmarks.robustness --page-only"
