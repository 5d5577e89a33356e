"""The gallery: crops and figures of made-up weights, and what stands in the repository."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from benchmarks import gallery as bench
from mezzotint import images, quality, upscaler
from mezzotint.operators.resize import imresize_uint8
from mezzotint.quality.crops import Crop

ROOT = Path(__file__).resolve().parents[2]
LIMIT = 1.5e6
SMALL = replace(bench.GALLERY[0], crop=Crop("GB82", "night", 8, 64, side=32))


@pytest.fixture(scope="module")
def weights(made_up: Callable[[str], Path]) -> Path:
    return made_up("mezzotint-x4")


@pytest.fixture(scope="module")
def pixels() -> np.ndarray:
    return np.random.default_rng(0).integers(60, 200, (130, 133, 3), np.uint8)


def test_a_margin_ends_with_the_picture(pixels: np.ndarray):
    window, top, left = bench.around(SMALL.crop, pixels)
    assert (top, left) == (8, 64) and window.shape == (104, 132, 3)
    assert np.array_equal(window[top : top + 32, left : left + 32], SMALL.crop.cut(pixels))


def test_what_is_made_of_a_crop(pixels: np.ndarray, weights: Path):
    loaded = upscaler.load(weights)
    made = bench.make(SMALL, pixels, loaded)
    truth, window = pixels[8:40, 64:96], pixels[:104, :132]
    x = imresize_uint8(torch.from_numpy(window).permute(2, 0, 1), size=(26, 33)).permute(1, 2, 0).numpy()
    assert np.array_equal(made.pictures["truth"], truth)
    assert np.array_equal(made.pictures["small picture"], x[2:10, 16:24])
    samples = [loaded(x, realism=1.0, seed=seed).image[8:40, 64:96] for seed in range(bench.SAMPLES)]
    assert np.array_equal(made.pictures["realism 1"], samples[0])
    assert np.array_equal(made.pictures["realism 1, seed 1"], samples[1])
    assert made.spread == pytest.approx(np.stack(samples).std(0, ddof=1).mean(), rel=0.25)
    y = made.pictures["realism 0"]
    assert made.figures["realism 0"]["psnr"] == pytest.approx(quality.psnr(truth, y), abs=0.005)
    assert made.figures["realism 0"]["lpips"] == pytest.approx(quality.lpips(truth, y), abs=5e-5)


def test_jpeg_is_of_the_small_picture(pixels: np.ndarray, weights: Path):
    loaded = upscaler.load(weights)
    plain, stored = bench.make(SMALL, pixels, loaded), bench.make(replace(SMALL, jpeg=30), pixels, loaded)
    assert np.array_equal(plain.pictures["truth"], stored.pictures["truth"])
    off = stored.pictures["small picture"].astype(int) - plain.pictures["small picture"]
    assert abs(off).max() > 4


def test_a_sheet_has_rows_of_four():
    pictures = {str(n): np.full((16, 16, 3), n, np.uint8) for n in range(6)}
    pictures["small"] = np.full((4, 4, 1), 9, np.uint8)
    made = bench.sheet(pictures)
    for n in (*range(6), 9):
        assert (made == n).all(2).sum() >= 32 * 32
    assert made.shape[1] >= 4 * 32 and made.shape[0] >= 2 * 32


# -- the command -------------------------------------------------------------------------------------------------------


def command(folder: Path, *arguments: str) -> None:
    with pytest.MonkeyPatch.context() as patch:
        files = ["-o", str(folder / "out.json"), "--page", str(folder / "page.md"), "--images", str(folder)]
        patch.setattr(sys, "argv", ["gallery", *arguments, *files])
        patch.setattr(bench, "GALLERY", (SMALL, *bench.GALLERY))
        bench.main()


def test_the_command(tmp_path: Path, pixels: np.ndarray, weights: Path):
    (tmp_path / "GB82").mkdir()
    Image.fromarray(pixels).save(tmp_path / "GB82" / "night.png")
    given = ("--data", str(tmp_path), "--method", str(weights), "--limit", "1")
    command(tmp_path, *given)
    content, text = json.loads((tmp_path / "out.json").read_text()), (tmp_path / "page.md").read_text()
    (crop,) = content["crops"].values()
    cells = " | ".join(f"{row['psnr']:.2f}" for row in crop["figures"].values())
    assert f"| PSNR, dB | {cells} |" in text and f"(images/{SMALL.file})" in text
    assert f"written of the weights {bench.SEEN}" in text
    assert images.read_plain(tmp_path / SMALL.file).pixels.shape[1] >= 4 * 64
    (tmp_path / "page.md").unlink()
    command(tmp_path, "--page-only")
    assert (tmp_path / "page.md").read_text() == text
    command(tmp_path, *given, "--sheet", str(tmp_path / "sheet.png"))
    sheet = images.read_plain(tmp_path / "sheet.png").pixels
    made = upscaler.load(weights)(bench.by_degradation()(pixels)).image
    assert np.array_equal(sheet[4:132, 4:136], made)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "name --data"),
        (["--data", "nowhere", "--limit", "0"], "--limit 0 is below 1"),
        (["--data", "nowhere"], "nowhere"),
    ],
)
def test_wrong_usage_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture, arguments: list[str], said: str):
    with pytest.raises(SystemExit):
        command(tmp_path, *arguments)
    assert said in capsys.readouterr().err and not list(tmp_path.iterdir())


# -- the repository ----------------------------------------------------------------------------------------------------


def test_the_page_in_the_repository_is_that_of_the_results():
    content = json.loads((ROOT / "benchmarks" / "results" / "gallery.json").read_text(encoding="utf-8"))
    text = (ROOT / "docs" / "gallery.md").read_text(encoding="utf-8")
    assert text == bench.page(content), "python -m benchmarks.gallery --page-only"
    assert list(content["crops"]) == [shown.name for shown in bench.GALLERY]


def test_sheets_are_there_small_and_of_pictures_with_an_open_licence():
    files = {shown.file for shown in bench.GALLERY}
    there = {path.name: path.stat().st_size for path in (ROOT / "docs" / "images").glob("gallery-*")}
    assert set(there) == files and sum(there.values()) <= LIMIT
    rows = list(csv.reader((ROOT / "src" / "mezzotint" / "data" / "benchmarks.csv").open(encoding="utf-8")))
    sides = {name: (int(height), int(width)) for benchmark, name, height, width in rows[1:] if benchmark == "GB82"}
    notice = (ROOT / "NOTICE").read_text(encoding="utf-8")
    for shown in bench.GALLERY:
        crop = shown.crop
        height, width = sides[crop.picture]
        assert crop.benchmark == "GB82" and f'"{crop.picture}"' in notice
        assert crop.row % 4 == crop.column % 4 == 0
        assert crop.row + crop.side <= height and crop.column + crop.side <= width


def test_no_picture_of_the_gallery_is_in_training():
    for name in ("pictures.csv", "pictures-large.csv"):
        assert "gb82" not in (ROOT / "training" / name).read_text(encoding="utf-8").lower()
