"""`--method auto` with both methods of ours in the package: what is chosen for each picture, and where it is said."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from skimage import data

import mezzotint
from mezzotint import images, weights
from mezzotint.errors import UsageError, WeightsError
from mezzotint.operators.resize import imresize_uint8

Command = Callable[..., "object"]
CLEAN, REAL, TWICE = "mezzotint-x4", "mezzotint-x4-real", "mezzotint-x2"


@pytest.fixture
def package(model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Small made-up weights of both methods in place of those of the package."""
    folder = tmp_path / "shipped"
    folder.mkdir()
    tensors, card = weights.load(model)
    for name, change in ((CLEAN, 1.0), (REAL, 0.5)):
        own = {"name": name, "method": name, "consistent_default": name == CLEAN, "realism_default": change}
        named = {key: tensor * change for key, tensor in tensors.items()}
        weights.save(folder / f"{name}.safetensors", named, card.model_copy(update=own), precision="float32")
    monkeypatch.setattr(weights, "SHIPPED_FOLDER", folder)
    return folder


@pytest.fixture
def with_twice(package: Path) -> Path:
    """The same, and small weights of the method for twice the size."""
    sizes = {"channels": 16, "blocks": 2, "refiner_channels": 16, "refiner_blocks": 1}
    made = mezzotint.build(TWICE, scale=2, config=sizes)
    weights.save(package / f"{TWICE}.safetensors", made.state_dict(), made.describe())  # pyright: ignore
    return package


@pytest.fixture
def small(tmp_path: Path) -> dict[str, Path]:
    """A clean reduction as PNG and as a JPEG of quality 40, its picture of 80x96 pixels."""
    y = torch.from_numpy(data.astronaut()[:320, 64:448].copy()).movedim(-1, 0)
    x = imresize_uint8(y, scale=0.25).movedim(0, -1).numpy()
    folder = tmp_path / "small"
    folder.mkdir()
    images.write(images.Picture(x), folder / "clean.png")
    images.write(images.Picture(x), folder / "coded.jpg", quality=40)
    return {"clean": folder / "clean.png", "coded": folder / "coded.jpg", "folder": folder}


def _record(path: Path) -> dict:
    return json.loads(images.read_record(path) or "")


def test_each_picture_of_a_batch_gets_the_method_that_fits_it(command, package, small, tmp_path) -> None:
    words = ("upscale", small["folder"], "-r", "-o", tmp_path / "out", "--events")
    outcome = command(*words)
    assert outcome.status == 0, outcome
    clean, coded = (_record(tmp_path / "out" / name) for name in ("clean_x4.png", "coded_x4.jpg"))
    assert (clean["request"]["method"], coded["request"]["method"]) == (CLEAN, REAL)
    assert clean["reason"].startswith("auto: no JPEG") and coded["reason"] == "auto: JPEG quality 40, below 50"
    # Each with the defaults of its own card, and its own weights.
    assert clean["request"]["consistent"] and not coded["request"]["consistent"]
    assert (clean["request"]["realism"], coded["request"]["realism"]) == (1.0, 0.5)
    assert clean["request"]["weights"] != coded["request"]["weights"]
    assert coded["recipe"] == REAL and coded["request"]["chain"] == [REAL]
    said = [line for line in outcome.lines if "auto: " in line]
    assert len(said) == 2 and any(line.endswith(f"coded.jpg: {REAL}, {coded['reason']}") for line in said)
    events = [json.loads(line) for line in outcome.out.splitlines()]
    assert events[0]["settings"]["method"] == "auto"
    chosen = {Path(event["input"]).name: event for event in events if event["event"] == "method"}
    assert chosen["coded.jpg"]["method"] == REAL and chosen["coded.jpg"]["reason"] == coded["reason"]
    assert chosen["clean.png"]["method"] == CLEAN
    # The same choice is made again, so what is there is the same.
    again = command(*words)
    assert again.status == 0 and sum("skipped" in line for line in again.lines) == 2


def test_a_replay_takes_the_recorded_method(command, package, small, tmp_path) -> None:
    for name in ("clean", "coded"):
        target = tmp_path / f"{name}.png"
        assert command("upscale", small[name], "-o", target).status == 0
        found = command("replay", target, "--input", small[name], "--json")
        assert found.status == 0 and json.loads(found.out)["difference"]["differing"] == 0, found
    (package / f"{REAL}.safetensors").unlink()
    found = command("replay", tmp_path / "coded.png", "--input", small["coded"])
    assert found.status == 1 and f"weights of {REAL} are missing" in found.line
    assert command("replay", tmp_path / "clean.png", "--input", small["clean"]).status == 0


def test_a_plan_says_the_choice(command, package, small) -> None:
    outcome = command("plan", small["coded"])
    assert outcome.status == 0 and f"{REAL}, steps 2" in outcome.out and "JPEG quality 40, below 50" in outcome.out
    facts = json.loads(command("plan", small["clean"], "--events").out)
    assert facts["method"] == CLEAN and facts["reason"].startswith("auto: no JPEG") and facts["consistent"]


@pytest.mark.parametrize(
    "words, method, reason",
    [
        (("--scale", 2.5), REAL, "JPEG quality 40"),
        (("--width", 200), REAL, "JPEG quality 40"),
        (("--no-consistent",), REAL, "JPEG quality 40"),
        (("--scale", 5), CLEAN, "more than 4 times larger"),
        (("--consistent",), CLEAN, "--consistent keeps"),
        (("--method", CLEAN), CLEAN, ""),
        (("--method", REAL), REAL, ""),
    ],
)
def test_what_is_asked_for_goes_first(command, package, small, tmp_path, words, method, reason) -> None:
    target = tmp_path / "out.png"
    assert command("upscale", small["coded"], "-o", target, *words).status == 0
    record = _record(target)
    assert record["request"]["method"] == method
    assert reason in record["reason"] and bool(reason) == bool(record["reason"])


@pytest.mark.parametrize(
    "name, words, method, reason, chain",
    [
        ("clean", ("--scale", 2), TWICE, "within their limits, at most twice as large", [TWICE]),
        ("clean", ("--scale", 1.5), TWICE, "at most twice as large", [TWICE, "bicubic to 120x144"]),
        ("clean", ("--width", 192), TWICE, "at most twice as large", [TWICE]),
        ("clean", ("--scale", 2.5), CLEAN, "within their limits", [CLEAN, "bicubic to 200x240"]),
        ("clean", ("--scale", 2, "--method", CLEAN), CLEAN, "", [CLEAN, "bicubic to 160x192"]),
        ("coded", ("--scale", 2), REAL, "JPEG quality 40, below 50", [REAL, "bicubic to 160x192"]),
        ("coded", ("--scale", 2, "--consistent"), TWICE, "what the picture holds, at most twice as large", [TWICE]),
    ],
)
def test_twice_the_size_has_a_method_of_its_own(
    command, with_twice, small, tmp_path, name, words, method, reason, chain
) -> None:
    target = tmp_path / "out.png"
    assert command("upscale", small[name], "-o", target, *words).status == 0
    record = _record(target)
    assert record["request"]["method"] == record["recipe"] == method and record["request"]["chain"] == chain
    assert record["reason"].endswith(reason)
    found = command("replay", target, "--input", small[name], "--json")
    assert found.status == 0 and json.loads(found.out)["difference"]["differing"] == 0, found
    assert json.loads(command("plan", small[name], "--events", *words).out)["method"] == method


def test_twice_the_size_is_chosen_without_the_weights_for_degraded_pictures(command, with_twice, small, tmp_path):
    (with_twice / f"{REAL}.safetensors").unlink()
    for scale, method, reason in ((2, TWICE, "at most twice as large"), (3, CLEAN, "more than twice as large")):
        target = tmp_path / f"{scale}.png"
        assert command("upscale", small["coded"], "-o", target, "--scale", scale).status == 0
        assert (_record(target)["request"]["method"], _record(target)["reason"]) == (method, f"auto: {reason}")


def test_pictures_that_say_too_little_are_taken_for_clean(command, package, small, photo, tmp_path) -> None:
    outcome = command("upscale", photo, "-o", tmp_path / "out.png")
    assert outcome.status == 0
    assert _record(tmp_path / "out.png")["reason"].startswith("auto: 16x12 pixels say too little")
    assert any(f"photo.png: {CLEAN}, auto: 16x12" in line for line in outcome.lines)
    # A JPEG file says its quality at any size.
    images.write(images.Picture(images.read_plain(photo).pixels), tmp_path / "tiny.jpg", quality=30)
    assert command("upscale", tmp_path / "tiny.jpg", "-o", tmp_path / "tiny.png").status == 0
    assert _record(tmp_path / "tiny.png")["request"]["method"] == REAL


def test_without_the_second_weights_nothing_is_open(command, package, small, tmp_path) -> None:
    (package / f"{REAL}.safetensors").unlink()
    outcome = command("upscale", small["coded"], "-o", tmp_path / "out.png")
    assert outcome.status == 0 and not any("auto" in line for line in outcome.lines)
    assert _record(tmp_path / "out.png")["request"]["method"] == CLEAN
    assert _record(tmp_path / "out.png")["reason"] == f"{CLEAN} is the only shipped model"
    outcome = command("upscale", small["coded"], "-o", tmp_path / "other.png", "--method", REAL)
    assert outcome.status == 2 and f"weights of {REAL} are missing" in outcome.line
    with pytest.raises(WeightsError, match=f"{REAL} are missing"):
        mezzotint.load(REAL)


def test_python_chooses_for_each_picture_of_a_batch(package, small) -> None:
    upscaler = mezzotint.load("auto")
    clean, coded = (images.read_plain(small[name]).pixels for name in ("clean", "coded"))
    batch = torch.from_numpy(np.stack([clean, coded])).movedim(-1, 1) / 255
    result = upscaler(batch)
    assert [record.request.method for record in result.records] == [CLEAN, REAL]
    for picture, name, k in ((batch[0], CLEAN, 0), (batch[1], REAL, 1)):
        assert torch.equal(mezzotint.load(name)(picture).image, result.image[k])
    # A path says the quality of its header, the pixels alone one that is off by two at most.
    assert upscaler(small["coded"]).record.reason == "auto: JPEG quality 40, below 50"
    assert upscaler.request(small["coded"]).method == REAL
    with pytest.raises(UsageError, match="takes no --noise"):
        upscaler.request(clean, noise=3.0)
