"""`mezzotint degrade` with presets and operators: what is written, what is recorded, what is refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from mezzotint import images
from mezzotint.noise import picture_id
from mezzotint.operators.degradation import degrade

Command = Callable[..., Any]
Save = Callable[..., Path]


def record(path: Path) -> dict[str, Any]:
    return json.loads(images.read_record(path) or "")["degradation"]


@pytest.mark.parametrize("preset", ["bicubic", "bd", "gaussian8", "bsrgan", "real-esrgan"])
def test_presets_are_those_of_the_function_and_repeat(
    command: Command, save: Save, tmp_path: Path, preset: str
) -> None:
    photo = save(tmp_path / "photo.png", height=33, width=42)
    words = ("degrade", photo, "--preset", preset, "--scale", 4, "--seed", 9)
    assert command(*words, "-o", tmp_path / "a").status == 0
    assert command(*words, "-o", tmp_path / "b").status == 0
    made, again = (images.read(tmp_path / folder / "photo.png").pixels for folder in "ab")
    assert np.array_equal(made, again) and made.shape == (8, 10, 3)
    pixels = images.read(photo).pixels
    y = torch.from_numpy(pixels).permute(2, 0, 1)[None]
    x, expected = degrade(y, preset=preset, scale=4, seed=9, pictures=(picture_id(pixels),))
    assert np.array_equal(made, x[0].permute(1, 2, 0).numpy())
    assert record(tmp_path / "a" / "photo.png") == json.loads(json.dumps(expected))


def test_masks_files_and_grey(command: Command, save: Save, tmp_path: Path) -> None:
    photo = save(tmp_path / "photo.png", height=12, width=16)
    mask = np.zeros((12, 16, 1), dtype=np.uint8)
    mask[::2] = 255
    images.write(images.Picture(mask), tmp_path / "mask.png", overwrite=False)
    (tmp_path / "op.toml").write_text('[[step]]\noperator = "mask"\nfile = "mask.png"\n')
    y = images.read(photo).pixels
    for name in (f"mask:{tmp_path / 'mask.png'}", str(tmp_path / "op.toml")):
        outcome = command("degrade", photo, "-o", tmp_path / "out", "--scale", 1, "--operator", name, "--overwrite")
        assert outcome.status == 0, outcome.lines
        x = images.read(tmp_path / "out" / "photo.png").pixels
        assert np.array_equal(x[::2], y[::2]) and not x[1::2].any()
    assert command("degrade", photo, "-o", tmp_path / "g", "--scale", 1, "--operator", "grey").status == 0
    grey = images.read(tmp_path / "g" / "photo.png").pixels
    expected = np.floor(y.astype(float) @ [0.299, 0.587, 0.114] + 0.5)
    assert grey.shape[-1] == 1 and np.abs(grey[..., 0] - expected).max() <= 1


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--preset", "esrgan"), "real-esrgan"),
        (("--preset", "gaussian8", "--scale", "8"), "2, 3, 4"),
        (("--preset", "bd", "--noise", "3"), "leave out --noise"),
        (("--preset", "bd", "--operator", "bicubic"), "leave out --operator"),
        (("--preset", "bd", "--jpeg", "30"), "leave out --jpeg"),
        (("--operator", "mask:none.png", "--scale", "1"), "none.png"),
        (("--operator", "none.toml"), "none.toml"),
    ],
)
def test_refusals_come_before_the_first_picture(
    command: Command, save: Save, tmp_path: Path, words: tuple[str, ...], message: str
) -> None:
    photo = save(tmp_path / "photo.png", height=33, width=42)
    outcome = command("degrade", photo, "-o", tmp_path / "out", *words)
    assert outcome.status in (1, 2) and message in outcome.line
    assert not (tmp_path / "out").exists()
