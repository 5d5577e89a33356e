from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from mezzotint import images
from mezzotint.operators.resize import imresize
from mezzotint.record import from_json

Command = Callable[..., Any]
Save = Callable[..., Path]


def _hidden(folder: Path) -> list[Path]:
    return [path for path in folder.iterdir() if path.name.startswith(".")]


def test_result_lies_beside_the_input_and_is_bicubic_rounded_once(command: Command, photo: Path) -> None:
    outcome = command("upscale", photo, "--method", "bicubic", "--scale", 2)
    target = photo.with_name("photo_x2.png")
    assert (outcome.status, outcome.out) == (0, "")
    assert str(target) in outcome.line and "32x24" in outcome.line
    x = torch.from_numpy(images.read(photo).pixels).permute(2, 0, 1)
    wanted = imresize(x.double(), scale=2).permute(1, 2, 0).numpy().clip(0, 255)
    assert np.abs(images.read(target).pixels - wanted).max() <= 0.5 + 1e-3
    assert _hidden(photo.parent) == []


@pytest.mark.parametrize(
    "size, name, shape",
    [
        ([], "photo_x4.png", (48, 64)),
        (["--scale", "2.5"], "photo_x2.5.png", (30, 40)),
        (["--width", "40"], "photo_w40.png", (30, 40)),
        (["--height", "30"], "photo_h30.png", (30, 40)),
        (["--long-side", "40"], "photo_l40.png", (30, 40)),
    ],
)
def test_size_decides_name_and_pixels(
    command: Command, photo: Path, size: list[str], name: str, shape: tuple[int, int]
) -> None:
    assert command("upscale", photo, "--method", "bicubic", *size).status == 0
    assert images.read(photo.with_name(name)).pixels.shape[:2] == shape


def test_output_is_a_file_or_a_folder_that_is_made(command: Command, photo: Path, tmp_path: Path) -> None:
    assert command("upscale", photo, "--method", "bicubic", "-o", tmp_path / "big.webp").status == 0
    assert images.read(tmp_path / "big.webp").format == "webp"
    assert command("upscale", photo, "--method", "bicubic", "-o", tmp_path / "a" / "b", "--format", "jpg").status == 0
    assert images.read(tmp_path / "a" / "b" / "photo_x4.jpg").format == "jpeg"


def test_folder_as_input_means_its_pictures(command: Command, save: Save, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    for seed, name in enumerate(("b.png", "a b ü.jpg")):
        save(tmp_path / "in" / name, seed=seed)
    (tmp_path / "in" / "notes.txt").write_text("no picture")
    assert command("upscale", tmp_path / "in", "--method", "nearest", "-o", tmp_path / "out").status == 0
    # Beside them lies the hidden state of the batch.
    assert sorted(p.name for p in (tmp_path / "out").glob("[!.]*")) == ["a b ü_x4.jpg", "b_x4.png"]


def test_folder_as_input_needs_another_folder_for_its_results(command: Command, photo: Path) -> None:
    for words in ([], ["-o", photo.parent]):
        outcome = command("upscale", photo.parent, "--method", "nearest", *words)
        assert outcome.status == 2 and "-o" in outcome.line
    assert list(photo.parent.iterdir()) == [photo]


def test_record_lies_in_the_metadata_or_in_a_file(command: Command, photo: Path, tmp_path: Path) -> None:
    command("upscale", photo, "--method", "bicubic", "--seed", 5)
    text = images.read_record(photo.with_name("photo_x4.png"))
    assert text is not None
    record = from_json(text)
    assert (record.request.method, record.request.seed, record.request.output_size) == ("bicubic", 5, (48, 64))
    assert record.saved is not None and record.saved.format == "png"

    beside = tmp_path / "record.json"
    command("upscale", photo, "--method", "bicubic", "-o", tmp_path / "other.png", "--record", beside)
    assert images.read_record(tmp_path / "other.png") is None
    assert from_json(beside.read_text()).request.method == "bicubic"


def test_same_run_is_skipped_and_another_is_refused(command: Command, photo: Path) -> None:
    target = photo.with_name("photo_x4.png")
    command("upscale", photo, "--method", "bicubic")
    before = target.stat().st_mtime_ns
    again = command("upscale", photo, "--method", "bicubic")
    assert again.status == 0 and "skipped" in again.line
    other = command("upscale", photo, "--method", "nearest")
    assert other.status == 1 and "--overwrite" in other.line
    assert target.stat().st_mtime_ns == before
    assert command("upscale", photo, "--method", "nearest", "--overwrite").status == 0
    assert "nearest" in (images.read_record(target) or "")


def test_changed_input_and_changed_quality_are_not_the_same_run(command: Command, save: Save, tmp_path: Path) -> None:
    photo = save(tmp_path / "photo.jpg", seed=1)
    assert command("upscale", photo, "--method", "nearest").status == 0
    assert command("upscale", photo, "--method", "nearest", "--quality", 50).status == 1
    photo.unlink()
    save(photo, seed=2)
    assert command("upscale", photo, "--method", "nearest").status == 1


def test_run_recorded_in_a_file_is_skipped_too(command: Command, save: Save, tmp_path: Path) -> None:
    photos = [save(tmp_path / f"{k}.png", seed=k) for k in range(2)]
    words = ("upscale", *photos, "--method", "nearest", "-o", tmp_path / "out", "--record", tmp_path / "r.json")
    assert command(*words).status == 0
    assert len(json.loads((tmp_path / "r.json").read_text())) == 2
    again = command(*words)
    assert again.status == 0 and all("skipped" in line for line in again.lines) and len(again.lines) == 2
    assert len(json.loads((tmp_path / "r.json").read_text())) == 2


def test_stripped_results_have_no_record(command: Command, photo: Path) -> None:
    command("upscale", photo, "--method", "nearest", "--strip")
    assert images.read_record(photo.with_name("photo_x4.png")) is None


def test_one_bad_input_does_not_stop_the_rest(command: Command, save: Save, tmp_path: Path) -> None:
    good = [save(tmp_path / name) for name in ("a.png", "z.png")]
    (tmp_path / "empty.png").write_bytes(b"")
    (tmp_path / "text.png").write_text("not a picture")
    (tmp_path / "half.png").write_bytes(good[0].read_bytes()[:-40])
    bad = [tmp_path / name for name in ("empty.png", "text.png", "half.png", "missing.png")]
    outcome = command("upscale", good[0], *bad, good[1], "--method", "nearest", "--quiet")
    assert outcome.status == 1
    assert [str(path) in line for path, line in zip(bad, outcome.lines, strict=True)] == [True] * 4
    assert sorted(p.name for p in tmp_path.glob("*_x4.png")) == ["a_x4.png", "z_x4.png"]


def test_output_is_never_the_input(command: Command, photo: Path) -> None:
    before = photo.read_bytes()
    for words in (["-o", photo], ["-o", photo, "--overwrite"], ["-o", photo.parent / "." / photo.name, "--overwrite"]):
        outcome = command("upscale", photo, "--method", "nearest", *words)
        assert outcome.status == 1 and "input" in outcome.line
    assert photo.read_bytes() == before


BAD_OPTIONS = [
    (["--scale", "0"], "--scale"),
    (["--scale", "-2"], "--scale"),
    (["--scale", "nan"], "--scale"),
    (["--scale", "1e9"], "--scale"),
    (["--seed", "seven"], "--seed"),
    (["--tile", "3"], "16"),
    (["--realism", "7"], "--realism"),
    (["--realism", "nan"], "--realism"),
    (["--steps", "0"], "--steps"),
    (["--samples", "0"], "--samples"),
    (["--quality", "0"], "--quality"),
    (["--format", "bmp"], "bmp"),
    (["--device", "gpu"], "--device"),
    (["--width", "0"], "--width"),
    (["--width", "9", "--scale", "2"], "--width"),
    (["--spread", "s.png"], "--samples"),
    (["--nonsense"], "--nonsense"),
    (["--scale"], "--scale"),
    (["--method", "bicubik"], "'bicubic'"),
    (["--method", "bicubic", "--realism", "0.5"], "realism"),
    (["--method", "bicubic", "--steps", "5"], "steps"),
    (["--method", "sr3"], "train"),
    (["-o", "missing/folder/x.png"], "missing/folder"),
    (["-o", "x.bmp"], ".png"),
    (["-o", ""], "-o"),
    ([""], "INPUT"),
    (["--record", "missing/r.json"], "missing"),
]


@pytest.mark.parametrize("words, named", BAD_OPTIONS, ids=[" ".join(words) for words, _ in BAD_OPTIONS])
def test_wrong_usage_is_one_line_and_touches_nothing(
    command: Command, photo: Path, words: list[str], named: str
) -> None:
    outcome = command("upscale", photo, *words)
    assert outcome.status == 2
    assert named in outcome.line and outcome.line.startswith("mezzotint: ")
    assert outcome.out == ""
    assert list(photo.parent.iterdir()) == [photo]


@pytest.mark.parametrize(
    "words", [[], ["nonsense"], ["--nonsense"], ["upscale"], ["data", "show"], ["data", "show", "x"], ["weights", "x"]]
)
def test_wrong_commands_are_one_line(command: Command, words: list[str]) -> None:
    outcome = command(*words)
    if not words:
        assert outcome.status == 0 and "upscale" in outcome.out
    else:
        assert outcome.status == 2 and outcome.line.startswith("mezzotint: ")


def test_two_inputs_for_one_output_are_refused_before_any_work(command: Command, save: Save, tmp_path: Path) -> None:
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        save(tmp_path / folder / "x.png")
    inputs = [tmp_path / "a" / "x.png", tmp_path / "b" / "x.png"]
    assert command("upscale", *inputs, "--method", "nearest", "-o", tmp_path / "out").status == 2
    assert command("upscale", *inputs, "--method", "nearest", "-o", tmp_path / "one.png").status == 2
    assert not (tmp_path / "out").exists() and not (tmp_path / "one.png").exists()


def test_weights_that_are_none_are_wrong_usage(command: Command, photo: Path, tmp_path: Path) -> None:
    contents = {"zeros": bytes(100), "zip": b"PK\x03\x04" + bytes(60), "pickle": b"\x80\x04K\x01."}
    for name, content in contents.items():
        path = tmp_path / f"{name}.safetensors"
        path.write_bytes(content)
        outcome = command("upscale", photo, "--method", f"sr3:{path}")
        assert outcome.status == 2 and str(path) in outcome.line
    assert "pickle" in command("upscale", photo, "--method", tmp_path / "pickle.safetensors").line
    assert command("upscale", photo, "--method", f"sr3:{tmp_path / 'no.safetensors'}").status == 2


def test_unexpected_error_is_one_line_and_a_traceback_on_request(
    command: Command, photo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise ZeroDivisionError("the\nmoon")

    monkeypatch.setattr("mezzotint.images.read", fail)
    outcome = command("upscale", photo, "--method", "nearest")
    assert outcome.status == 1
    assert "ZeroDivisionError" in outcome.line and "the moon" in outcome.line and str(photo) in outcome.line
    monkeypatch.setenv("MEZZOTINT_DEBUG", "1")
    told = command("upscale", photo, "--method", "nearest")
    assert told.status == 1 and any(line.startswith("Traceback") for line in told.lines)


def test_interrupt_leaves_whole_files_only(save: Save, tmp_path: Path) -> None:
    sources = [save(tmp_path / f"{k:03d}.png", height=96, width=96, seed=k) for k in range(200)]
    code = "import sys; from mezzotint.cli import main; sys.exit(main())"
    words = ["upscale", *map(str, sources), "--method", "back-projection", "-o", str(tmp_path / "out")]
    process = subprocess.Popen(
        [sys.executable, "-c", code, *words],
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and len(list((tmp_path / "out").glob("*.png"))) < 3:
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=30)
    done = list((tmp_path / "out").glob("[!.]*"))
    assert process.returncode == 130
    assert "Traceback" not in err and err.splitlines()[-1].startswith("mezzotint: interrupted")
    assert 3 <= len(done) < len(sources)
    assert all(images.read(path).pixels.shape == (384, 384, 3) for path in done)
