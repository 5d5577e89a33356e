"""The report on a folder in which everything was spoilt in a known way."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from mezzotint.data.report import Facts, conclude, measure, report, scan
from mezzotint.errors import InputError, UsageError
from mezzotint.operators.resize import imresize

Landscape = Callable[..., np.ndarray]
Compressed = Callable[[np.ndarray, int], np.ndarray]


def _enlarged(pixels: np.ndarray) -> np.ndarray:
    planes = imresize(torch.from_numpy(pixels.copy()).permute(2, 0, 1).double(), scale=2)
    return planes.round().clamp(0, 255).permute(1, 2, 0).numpy().astype(np.uint8)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, landscape: Landscape, compressed: Compressed) -> Path:
    root = tmp_path_factory.mktemp("report")
    (root / "sub").mkdir()
    for seed in range(3):
        Image.fromarray(landscape(seed)).save(root / f"plain{seed}.png")
    Image.fromarray(landscape(0)).save(root / "sub" / "equal.webp", lossless=True)
    Image.fromarray(landscape(1)[:, ::-1]).save(root / "mirrored.png")
    Image.fromarray(compressed(landscape(5), 60)).save(root / "came-out-of-60.png")
    Image.fromarray(landscape(6)).save(root / "once.jpg", quality=90, subsampling=0)
    Image.fromarray(compressed(landscape(7), 50)).save(root / "twice.jpg", quality=90)
    Image.fromarray(landscape(8)).save(root / "low.jpg", quality=30)
    Image.fromarray(_enlarged(landscape(9, 160, 176))).save(root / "enlarged.png")
    Image.fromarray(landscape(10)[..., 0]).save(root / "grey.png")
    Image.fromarray(landscape(11, 40, 50)).save(root / "small.png")
    Image.fromarray(landscape(12)[..., 0].astype(np.uint16) * 257).save(root / "deep.png")
    (root / "damaged.png").write_bytes((root / "plain2.png").read_bytes()[:2000])
    return root


@pytest.fixture(scope="module")
def facts(folder: Path) -> tuple[Facts, ...]:
    return scan(folder, workers=0)


def test_every_picture_is_measured(facts: tuple[Facts, ...]) -> None:
    known = {f.file: f for f in facts}
    assert len(known) == 14
    assert [f.file for f in facts if f.problem] == ["damaged.png", "deep.png"]
    assert "16 bits a sample" in known["deep.png"].problem
    assert known["sub/equal.webp"].sha256 == known["plain0.png"].sha256 != known["plain1.png"].sha256
    qualities = {f.file: (f.quality, f.standard, f.chroma) for f in facts if f.quality}
    assert qualities == {
        "once.jpg": (90, True, "4:4:4"), "twice.jpg": (90, True, "4:2:0"), "low.jpg": (30, True, "4:2:0")
    }  # fmt: skip
    earlier = {f.file: f.earlier for f in facts if f.earlier}
    assert set(earlier) == {"came-out-of-60.png", "twice.jpg"}
    assert abs(earlier["came-out-of-60.png"] - 60) <= 2 and abs(earlier["twice.jpg"] - 50) <= 3
    enlarged = {f.file: f.factor for f in facts if f.factor not in (None, 1.0)}
    assert enlarged == {"enlarged.png": pytest.approx(2, rel=0.06)}
    assert [f.file for f in facts if not f.problem and f.factor is None] == ["small.png"]
    assert [f.file for f in facts if f.grey] == ["grey.png"]
    assert (known["small.png"].height, known["small.png"].width) == (40, 50)


def test_the_report_names_what_was_done(folder: Path, facts: tuple[Facts, ...]) -> None:
    found = conclude(folder, facts)
    assert found.equal == (("plain0.png", "sub/equal.webp"),)
    assert [(a, b, how) for a, b, _, how in found.similar] == [("mirrored.png", "plain1.png", "mirrored")]
    text = "\n".join(found.lines())
    for words in (
        "14 pictures in ", "2 cannot be trained on", "damaged.png is a damaged or incomplete PNG",
        "shorter sides 40 to 320 pixels", "1 with a side below 256 pixels", "small.png: 50x40",
        "1 group of equal pictures, 1 pair of pictures that look the same", "plain0.png = sub/equal.webp",
        "mirrored.png ~ plain1.png (mirrored", "3 files of quality 30 to 90, median 90; 2 with less colour",
        "low.jpg: quality 30", "1 file compressed more coarsely before", "twice.jpg: quality 90, before that about ",
        "1 file of other formats that came out of JPEG", "1 picture with less detail than pixels; 1 too small to say",
        "enlarged.png: that of a 2.0 times smaller one", "1 grey picture",
    ):  # fmt: skip
        assert words in text, words


def test_the_report_as_json(folder: Path, facts: tuple[Facts, ...]) -> None:
    found = json.loads(json.dumps(conclude(folder, facts).as_json()))
    assert (found["pictures"], found["usable"]) == (14, 12)
    assert found["equal"] == [["plain0.png", "sub/equal.webp"]]
    assert found["similar"][0]["files"] == ["mirrored.png", "plain1.png"]
    assert found["images"]["low.jpg"]["quality"] == 30 and "fingerprint" not in found["images"]["low.jpg"]
    assert found["images"]["came-out-of-60.png"]["grid"] == [0, 0]


def test_workers_measure_the_same(folder: Path, facts: tuple[Facts, ...]) -> None:
    steps: list[tuple[int, int]] = []
    there = scan(folder, workers=2, progress=lambda done, total: steps.append((done, total)))
    assert [f.as_json() for f in there] == [f.as_json() for f in facts]
    marks = [[(f.fingerprint.bits, f.fingerprint.thumb) for f in some if f.fingerprint] for some in (there, facts)]
    assert marks[0] == marks[1] and len(marks[0]) == 12
    assert steps == [(k, 14) for k in range(1, 15)]


def test_a_colour_cast_is_measured_exactly(tmp_path: Path, landscape: Landscape) -> None:
    """Without clipping, 15 levels more red move the cast by 10, -5, -5."""
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    for seed in range(4):
        pixels = np.clip(landscape(seed, 64, 80), 20, 200)
        Image.fromarray(pixels).save(tmp_path / "a" / f"{seed}.png")
        Image.fromarray(pixels + np.array([15, 0, 0], np.uint8)).save(tmp_path / "b" / f"{seed}.png")
    plain, red = (report(tmp_path / name) for name in "ab")
    assert plain.cast is not None and red.cast is not None and plain.cast_error is not None
    assert np.subtract(red.cast, plain.cast) == pytest.approx([10, -5, -5], abs=1e-9)
    assert sum(plain.cast) == pytest.approx(0, abs=1e-9) and red.cast_error == pytest.approx(plain.cast_error)
    casts = np.array([f.colour for f in plain.facts]) - np.array([np.mean(f.colour) for f in plain.facts])[:, None]
    assert plain.cast_error == pytest.approx(casts.std(axis=0, ddof=1) / 2)
    assert "colour: a cast of R +" in "\n".join(red.lines())


def test_test_pictures_among_the_training_ones(
    folder: Path, facts: tuple[Facts, ...], tmp_path: Path, landscape: Landscape, compressed: Compressed
) -> None:
    Image.fromarray(landscape(2)).save(tmp_path / "same.webp", lossless=True)
    Image.fromarray(compressed(landscape(6), 40)[::-1]).save(tmp_path / "changed.jpg")
    Image.fromarray(landscape(99)).save(tmp_path / "other.png")
    found = conclude(folder, facts, against=tmp_path, others=scan(tmp_path, workers=0))
    assert [(a, b, how) for a, b, _, how in found.met] == [
        ("plain2.png", "same.webp", "the same pixels"), ("once.jpg", "changed.jpg", "upside down, mirrored")
    ]  # fmt: skip
    assert found.similar == conclude(folder, facts).similar
    text = "\n".join(found.lines())
    assert f"against {tmp_path}: 2 pairs of pictures that are the same" in text
    assert "plain2.png ~ same.webp (the same pixels)" in text
    assert found.as_json()["met"][1]["files"] == ["once.jpg", "changed.jpg"]
    assert "against" not in "\n".join(conclude(folder, facts).lines())


def test_folders_of_grey_pictures_and_of_one(tmp_path: Path, landscape: Landscape) -> None:
    Image.fromarray(landscape(0)[..., 0]).save(tmp_path / "a.png")
    found = report(tmp_path)
    assert found.cast is None and "colour: all of 1 picture grey" in list(found.lines())
    Image.fromarray(landscape(0)).save(tmp_path / "b.png")
    assert report(tmp_path).cast_error == (0.0, 0.0, 0.0)


def test_a_turned_jpeg_is_not_asked_for_its_past(tmp_path: Path, landscape: Landscape, compressed: Compressed) -> None:
    """Its pixels come upright: rows and columns of blocks have changed places with those of the table."""
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(compressed(landscape(0), 50)).save(tmp_path / "a.jpg", quality=90, exif=exif)
    found = measure(tmp_path / "a.jpg", name="a.jpg")
    assert (found.height, found.width, found.quality, found.earlier) == (320, 256, 90, 0)


def test_what_cannot_be_scanned(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds no picture"):
        report(tmp_path)
    Image.new("RGB", (8, 8)).save(tmp_path / "a.png")
    with pytest.raises(UsageError, match="-1 workers"):
        report(tmp_path, workers=-1)
    (tmp_path / "a.png").write_bytes(b"")
    found = report(tmp_path)
    assert found.usable == () and "1 cannot be trained on" in next(iter(found.lines()))


def test_the_room_needs_no_torch() -> None:
    import subprocess
    import sys

    code = "import sys, mezzotint.data.report; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
