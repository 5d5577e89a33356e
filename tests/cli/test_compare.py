from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mezzotint import images, quality

Command = Callable[..., Any]
Save = Callable[..., Path]


@pytest.fixture
def pair(save: Save, tmp_path: Path) -> tuple[Path, Path]:
    """A picture and the same picture moved one pixel to the right, two grey levels brighter in green."""
    true = save(tmp_path / "true.png", height=64, width=80)
    moved = np.roll(images.read(true).pixels, 1, axis=1).astype(int)
    moved[..., 1] += 2
    images.write(images.Picture(moved.clip(0, 255).astype(np.uint8)), tmp_path / "moved.png")
    return true, tmp_path / "moved.png"


def test_figures_are_those_of_the_functions(command: Command, pair: tuple[Path, Path]) -> None:
    outcome = command("compare", *pair, "--scale", 2, "--protocol", "rgb", "--json")
    assert outcome.status == 0 and outcome.lines == ()
    found = json.loads(outcome.out)
    a, b = (images.read(path).pixels for path in pair)
    assert (found["protocol"], found["scale"]) == ("rgb", 2.0)
    assert found["psnr"] == quality.psnr(a, b, protocol="rgb", scale=2)
    assert found["ssim"] == quality.ssim(a, b, protocol="rgb", scale=2)
    assert found["lpips"] == quality.lpips(a, b)


def test_explanation_finds_shift_and_cast(command: Command, pair: tuple[Path, Path]) -> None:
    lines = command("compare", *pair, "--explain").out
    assert "moved by -1 pixels across and 0 down" in lines
    assert "green +1." in lines or "green +2." in lines
    assert all(name in lines for name in ("y-classic", "y-modern", "rgb-full"))


def test_explanation_compares_under_every_protocol(command: Command, save: Save, tmp_path: Path) -> None:
    true = save(tmp_path / "true.png", height=180, width=200)
    pixels = images.read(true).pixels
    noise = np.random.default_rng(0).integers(-30, 31, pixels.shape)
    images.write(images.Picture(np.clip(pixels + noise, 0, 255).astype(np.uint8)), tmp_path / "noisy.png")
    outcome = command("compare", true, tmp_path / "noisy.png", "--explain", "--json", "--scale", 3)
    found = json.loads(outcome.out)["protocols"]
    a, b = (images.read(path).pixels for path in (true, tmp_path / "noisy.png"))
    assert list(found) == list(quality.protocols.names())
    for name, row in found.items():
        assert row["psnr"] == quality.psnr(a, b, protocol=name, scale=3)
        assert row["ssim"] == quality.ssim(a, b, protocol=name, scale=3)
        assert row["ms_ssim"] == quality.ms_ssim(a, b, protocol=name, scale=3)
        maps = quality.ssim_maps(a, b, protocol=name, scale=3)
        assert [row[key] for key in ("luminance", "contrast", "structure")] == pytest.approx(
            [maps.luminance.mean(), maps.contrast.mean(), maps.structure.mean()]
        )
    lines = command("compare", true, tmp_path / "noisy.png", "--explain", "--scale", 3).out.splitlines()
    (line,) = [line for line in lines if line.startswith("  y-classic")]
    assert line.split()[1:3] == [f"{found['y-classic']['psnr']:.4f}", f"{found['y-classic']['ssim']:.6f}"]


def test_equal_pictures_are_infinitely_alike(command: Command, pair: tuple[Path, Path]) -> None:
    found = json.loads(command("compare", pair[0], pair[0], "--json").out)
    assert (found["psnr"], found["ssim"], found["lpips"]) == ("inf", 1.0, 0.0)


def test_tiny_pictures_are_compared_as_far_as_they_can_be(command: Command, save: Save, tmp_path: Path) -> None:
    photo = save(tmp_path / "tiny.png", height=8, width=8)
    outcome = command("compare", photo, photo, "--protocol", "rgb-full", "--scale", 2)
    assert outcome.status == 0
    assert "ssim     not defined" in outcome.out
    explained = command("compare", photo, photo, "--protocol", "rgb-full", "--scale", 2, "--explain")
    assert explained.status == 0 and "rgb-full           inf           -" in explained.out


def test_grey_and_colours_are_compared_only_where_it_is_meant(command: Command, save: Save, tmp_path: Path) -> None:
    colour = save(tmp_path / "colour.png", height=32, width=40)
    grey = save(tmp_path / "grey.png", height=32, width=40, channels=1)
    # A result that lost its colours is no candidate; one channel is the luma under y-classic.
    outcome = command("compare", colour, grey)
    assert outcome.status == 1 and "grey.png is grey" in outcome.line and "--protocol y-classic" in outcome.line
    outcome = command("compare", colour, grey, "--protocol", "y-classic", "--json")
    a, b = (images.read_plain(path).pixels for path in (colour, grey))
    assert outcome.status == 0 and json.loads(outcome.out)["psnr"] == quality.psnr(a, b, protocol="y-classic")
    # A grey reference, as one of Set14 is, has results in three channels: that is said.
    outcome = command("compare", grey, colour, "--json")
    assert outcome.status == 0 and "grey.png is grey" in outcome.line
    assert json.loads(outcome.out)["psnr"] == quality.psnr(b, a)


def test_values_out_of_range_are_refused(command: Command, save: Save, tmp_path: Path) -> None:
    photo = save(tmp_path / "photo.png", height=32, width=40)
    values = images.read(photo).pixels.astype(np.float32) / 255
    for name, change in (("large", 1.5 * values), ("nan", np.where(values > 0.9, np.nan, values))):
        images.write(images.Picture(change), tmp_path / f"{name}.pfm")
        outcome = command("compare", photo, tmp_path / f"{name}.pfm")
        assert outcome.status == 1 and f"{name}.pfm" in outcome.line, outcome


def test_pictures_of_two_sizes_fail_in_one_line(command: Command, save: Save, pair: tuple[Path, Path]) -> None:
    other = save(pair[0].parent / "other.png", height=32, width=32)
    outcome = command("compare", pair[0], other)
    assert outcome.status == 1 and "32x32" in outcome.line
    assert command("compare", pair[0], "nowhere.png").status == 1
    wrong = command("compare", *pair, "--protocol", "y-modem")
    assert wrong.status == 2 and "y-modern" in wrong.line
