"""`--operator auto` and `--noise auto`: what a picture tells of its making, given to a zero-shot solver."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from skimage import data

import mezzotint
from mezzotint import images
from mezzotint.errors import InputError, UsageError
from mezzotint.operators.degradation import degrade
from mezzotint.operators.estimate import blur_width, noise_level

Command = Callable[..., "object"]


@pytest.fixture(scope="module")
def prior(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with weights of an untrained prior, as small as can be."""
    folder = tmp_path_factory.mktemp("prior")
    config = {"network": {"widths": (8,), "blocks": 1, "embedding": 8}}
    mezzotint.build("prior", scale=1, config=config).save_pretrained(folder)
    return folder


def small(operator: str, *, scale: int, noise: float = 0.0) -> np.ndarray:
    """A reduction of the astronaut, h w 3 uint8."""
    y = torch.from_numpy(data.astronaut()[:256, 128:384].copy()).movedim(-1, 0)[None]
    x, _ = degrade(y, operator=operator, scale=scale, noise=noise, seed=1)
    return x[0].movedim(0, -1).numpy()


@pytest.mark.parametrize(
    ("operator", "scale", "noise", "found", "level"),
    [
        ("gaussian:2.4", 2, 10, "gaussian", 10),
        ("gaussian:2", 1, 5, "gaussian", 5),
        ("bicubic", 2, 25, "bicubic", 25),
        ("identity", 1, 15, "identity", 15),
        ("gaussian:3.2", 4, 0, "gaussian", 0),
    ],
)
def test_blur_and_noise_are_found_and_told(
    command, prior: Path, tmp_path: Path, operator: str, scale: int, noise: float, found: str, level: float
) -> None:
    x = small(operator, scale=scale, noise=noise)
    images.write(images.Picture(x), tmp_path / "x.png")
    target = tmp_path / "y.png"
    words = ("--method", f"ddrm:{prior}", "--scale", scale, "--steps", 2, "--operator", "auto", "--noise", "auto")
    outcome = command("upscale", tmp_path / "x.png", "-o", target, *words)
    assert outcome.status == 0, outcome
    record = json.loads(images.read_record(target) or "")
    request = record["request"]
    tensor = torch.from_numpy(x).movedim(-1, 0)[None]
    assert request["operator"].partition(":")[0] == found
    assert request["noise"] == pytest.approx(level, rel=0.1)
    if found == "gaussian":
        assert float(request["operator"][9:]) == pytest.approx(float(blur_width(tensor, scale=scale)[0]), abs=0.006)
        assert float(request["operator"][9:]) == pytest.approx(float(operator[9:]), rel=0.3)
    if level:
        assert request["noise"] == pytest.approx(float(noise_level(tensor).mean()), abs=0.006)
    # What was found is said, and is in the record: a replay and a second run need no estimate.
    assert any(f"operator: {request['operator']}" in line for line in outcome.lines)
    assert any(f"noise: {request['noise']:g} grey levels" in line for line in record["adapted"])
    assert any("skipped" in line for line in command("upscale", tmp_path / "x.png", "-o", target, *words).lines)
    told = ("--operator", request["operator"], "--noise", request["noise"])
    again = command("upscale", tmp_path / "x.png", "-o", target, *words[:6], *told)
    assert again.status == 0 and any("skipped" in line for line in again.lines)
    planned = command("plan", tmp_path / "x.png", *words)
    assert (
        f"operator {request['operator']}, noise {request['noise']:g}" in planned.out and "estimated as" in planned.out
    )
    replayed = command("replay", target, "--weights", prior, "--json")
    assert replayed.status == 0 and json.loads(replayed.out)["difference"]["differing"] == 0


def test_grey_depth_and_range_do_not_change_what_is_found(prior: Path) -> None:
    upscaler = mezzotint.load(f"ddrm:{prior}")
    x = small("gaussian:2.4", scale=2, noise=10)
    alpha = np.full((*x.shape[:2], 1), 255, np.uint8)
    settings = {"scale": 2, "operator": "auto", "noise": "auto"}
    wanted = upscaler.request(x, **settings)
    for other, more in (
        (x.astype(np.uint16) * 257, {}),
        (x / 255, {}),
        (x * 100.0 - 50, {"range": (-50, 25450)}),
        (np.concatenate([x, alpha], 2), {}),
    ):
        found = upscaler.request(other, **settings, **more)
        assert found.operator == wanted.operator and found.noise == pytest.approx(wanted.noise, abs=0.011)
    grey = upscaler.request(x[..., 1], **settings)
    assert grey.noise == pytest.approx(10, rel=0.1)


def test_large_pictures_are_judged_by_their_middle(prior: Path) -> None:
    middle = small("gaussian:2", scale=1, noise=5)
    x = np.pad(middle, ((512, 512), (512, 512), (0, 0)), mode="symmetric")
    x[:100] = x[-100:] = 0
    x[:, :100] = x[:, -100:] = 0
    found = mezzotint.load(f"ddrm:{prior}").request(x, scale=1, operator="auto", noise="auto")
    assert found.noise == pytest.approx(5, rel=0.1) and found.operator.startswith("gaussian:")


def test_what_cannot_be_estimated_is_said(command, photo: Path, prior: Path, save, tmp_path: Path) -> None:
    words = ("-o", tmp_path / "out.png", "--method", f"ddrm:{prior}", "--scale", 1)
    outcome = command("upscale", photo, *words, "--operator", "auto", "--noise", "auto")
    assert outcome.status == 1 and "--operator and --noise auto" in outcome.line and "16 a side" in outcome.line
    mask = np.full((20, 20, 1), 255, np.uint8)
    images.write(images.Picture(mask), tmp_path / "mask.png")
    picture = save(tmp_path / "holes.png", height=20, width=20)
    outcome = command("upscale", picture, *words, "--operator", f"mask:{tmp_path / 'mask.png'}", "--noise", "auto")
    assert outcome.status == 2 and "holes" in outcome.line
    outcome = command("upscale", picture, *words, "--consistent", "--noise", "auto")
    assert outcome.status == 2 and "--consistent" in outcome.line
    for option in ("--operator", "--noise"):
        outcome = command("upscale", picture, "--method", "bicubic", option, "auto")
        assert outcome.status == 2 and option in outcome.line and "ddnm:FOLDER" in outcome.line
    outcome = command("upscale", picture, *words, "--noise", "much")
    assert outcome.status == 2 and "--noise" in outcome.line
    assert not (tmp_path / "out.png").exists()
    upscaler = mezzotint.load(f"ddrm:{prior}")
    with pytest.raises(UsageError, match="'much'.*auto"):
        upscaler.request(np.zeros((20, 20, 3), np.uint8), scale=1, noise="much")
    with pytest.raises(InputError, match="15x20"):
        upscaler.request(np.zeros((20, 15, 3), np.uint8), scale=1, operator="auto")
