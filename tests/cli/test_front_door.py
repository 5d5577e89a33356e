"""Every picture that is read, through `upscale` as a user types it: nothing of it is lost on the way."""

from __future__ import annotations

import io
import itertools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image, ImageCms

from mezzotint import images
from mezzotint.images import Picture
from mezzotint.images.capabilities import SPACES, TABLE
from mezzotint.operators.resize import imresize
from mezzotint.record import Record, from_json

Command = Callable[..., Any]

_TYPES = {8: np.uint8, 10: np.uint16, 12: np.uint16, 16: np.uint16, 32: np.float32}
SCALE = 3
"""Odd, so that the middle of each cell lies on the pixel it was made of: bicubic interpolation returns that pixel."""


def picture(
    height: int, width: int, *, kind: str, bits: int, space: str, alpha: bool, seed: int = 0, **more: Any
) -> Picture:
    """Noise in every level of the depth, with alpha fully transparent in places."""
    rng = np.random.default_rng(seed)
    shape = (height, width, SPACES[space] + alpha)
    if bits == 32:
        rows = rng.random(shape, dtype=np.float32)
    else:
        peak, full = 2**bits - 1, 255 if bits == 8 else 65535
        rows = ((rng.integers(0, 2**bits, shape) * 2 * full + peak) // (2 * peak)).astype(_TYPES[bits])
    if alpha:
        rows[: height // 2, :, -1] = 0
    return Picture(rows, format=kind, bits=bits, space=space, alpha=alpha, **more)


def combinations() -> list[tuple[str, int, str, bool]]:
    """Format, depth, space and alpha of every picture that some format holds exactly."""
    return [
        (kind, bits, space, alpha)
        for kind, form in TABLE.items()
        for bits, space, alpha in itertools.product(form.bits, form.spaces, (False, True))
        if form.lossless != "never" and (form.alpha or not alpha) and not (bits == 32 and space == "cmyk")
    ]


def metadata(kind: str, space: str) -> dict[str, Any]:
    """A profile, a resolution and metadata blocks, as far as the format holds them."""
    held = TABLE[kind].metadata
    exif = Image.Exif()
    exif[0x0110], exif[0x0112] = "A camera", 1
    more: dict[str, Any] = {}
    if "icc" in held and space == "rgb":
        more["icc"] = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    if "resolution" in held:
        more["resolution"] = (100.0, 50.0)
    if "exif" in held:
        more["exif"] = exif.tobytes()[len(b"Exif\0\0") :]
    return more


@pytest.mark.parametrize(("kind", "bits", "space", "alpha"), combinations())
def test_the_identity_returns_the_file(
    command: Command, tmp_path: Path, kind: str, bits: int, space: str, alpha: bool
) -> None:
    """Cells of one pixel each hold exactly it: samples, depth, alpha, profile and metadata, through the whole path."""
    more = metadata(kind, space)
    given = picture(11, 7, kind=kind, bits=bits, space=space, alpha=alpha, **more)
    source = tmp_path / f"a{TABLE[kind].extensions[0]}"
    images.write(given, source)
    before = images.read(source)
    record = [] if images.can_hold_record(kind) else ["--record", tmp_path / "a.json"]
    outcome = command("upscale", source, "--method", "nearest", "--scale", SCALE, *record)
    assert outcome.status == 0, outcome.lines
    after = images.read(source.with_name(f"a_x3{source.suffix}"))
    assert (after.format, after.bits, after.space, after.alpha) == (kind, bits, before.space, alpha)
    assert after.rows.shape == (33, 21, before.rows.shape[2]) and after.lossless
    assert np.array_equal(after.rows[0:33][1::SCALE, 1::SCALE], before.rows[0:11])
    if not alpha:
        assert np.array_equal(after.rows[0:33], before.rows[0:11].repeat(SCALE, axis=0).repeat(SCALE, axis=1))
    assert after.icc == before.icc == more.get("icc")
    if "resolution" in more:
        assert after.resolution is not None
        assert np.allclose(after.resolution, (300, 150), rtol=2e-3)
    if "exif" in more:
        assert after.exif is not None and b"A camera" in after.exif


@pytest.mark.parametrize("space", ["grey", "rgb", "cmyk"])
def test_a_jpeg_is_what_the_encoder_makes_of_the_right_samples(command: Command, tmp_path: Path, space: str) -> None:
    source = tmp_path / "a.jpg"
    images.write(picture(20, 14, kind="jpeg", bits=8, space=space, alpha=False), source)
    assert command("upscale", source, "--method", "nearest", "--scale", SCALE).status == 0
    before = images.read(source).rows[0:20]
    wanted = Picture(np.ascontiguousarray(before.repeat(SCALE, 0).repeat(SCALE, 1)), space=space)
    decoded = images.decode(images.encode(wanted, fmt="jpeg", quality=95), name="wanted")
    assert np.array_equal(images.read(tmp_path / "a_x3.jpg").rows[0:60], decoded.rows[0:60])


def test_the_orientation_is_applied_and_becomes_1(command: Command, tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    rows = picture(10, 16, kind="png", bits=8, space="rgb", alpha=False).rows[0:10]
    Image.fromarray(rows).save(tmp_path / "a.png", exif=exif.tobytes())
    assert command("upscale", tmp_path / "a.png", "--method", "nearest", "--scale", SCALE).status == 0
    with Image.open(tmp_path / "a_x3.png") as made:
        assert made.size == (30, 48) and made.getexif()[0x0112] == 1
        assert np.array_equal(np.asarray(made)[1::3, 1::3], np.rot90(rows, k=-1))


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    size=st.tuples(st.integers(1, 70), st.integers(1, 70)),
    which=st.sampled_from(combinations()),
    seed=st.integers(0, 1000),
)
def test_every_size_of_every_depth(
    command: Command, tmp_path: Path, size: tuple[int, int], which: tuple[str, int, str, bool], seed: int
) -> None:
    kind, bits, space, alpha = which
    source = tmp_path / f"a{TABLE[kind].extensions[0]}"
    images.write(picture(*size, kind=kind, bits=bits, space=space, alpha=alpha, seed=seed), source, overwrite=True)
    outcome = command("upscale", source, "--method", "nearest", "--scale", SCALE, "--overwrite", "-q")
    assert outcome.status == 0, outcome.lines
    before, after = images.read(source), images.read(source.with_name(f"a_x3{source.suffix}"))
    assert after.bits == bits
    assert np.array_equal(after.rows[0 : after.height][1::3, 1::3], before.rows[0 : before.height])


REPLAYED = [
    ("png", 16, "rgb", True, []),
    ("png", 8, "grey", True, ["--format", "webp", "--quality", "80"]),
    ("tiff", 8, "cmyk", False, []),
    ("tiff", 16, "rgb", False, ["--format", "jpg"]),
    ("tiff", 32, "rgb", True, []),
    ("tiff", 32, "rgb", False, ["--range", "-0.5,2"]),
    ("avif", 10, "rgb", False, ["--quality", "70"]),
    ("pfm", 32, "grey", False, ["--record", "r.json"]),
    ("jpeg", 8, "cmyk", False, []),
]


@pytest.mark.parametrize(("kind", "bits", "space", "alpha", "words"), REPLAYED)
def test_a_result_is_made_again_from_its_record(
    command: Command,
    model: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    kind: str,
    bits: int,
    space: str,
    alpha: bool,
    words: list[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    source = Path(f"a{TABLE[kind].extensions[0]}")
    images.write(picture(20, 24, kind=kind, bits=bits, space=space, alpha=alpha), source)
    outcome = command("upscale", source, "--method", model, "--scale", 4, *words)
    assert outcome.status == 0, outcome.lines
    (made,) = Path().glob("a_x4.*")
    subject = ["r.json"] if "--record" in words else [made]
    found = command("replay", *subject, "--weights", model, "--json")
    assert found.status == 0, (found.out, found.lines)
    findings = json.loads(found.out)
    assert findings["matches"] and findings["input_found"] == "beside the record"
    if "--format" not in words:
        assert findings["equal"]
    record = _record(made, Path("r.json"))
    assert record.source == source.name and record.output == made.name and record.recipe == "mezzotint-x4"
    # Another picture under the same name is found out.
    images.write(picture(20, 24, kind=kind, bits=bits, space=space, alpha=alpha, seed=9), source, overwrite=True)
    other = command("replay", *subject, "--weights", model)
    assert other.status == 1 and "another picture" in other.line


def _record(made: Path, beside: Path) -> Record:
    return from_json(beside.read_text() if beside.exists() else images.read_record(made) or "")


@pytest.mark.parametrize("words", [[], ["--quality", "40"], ["--format", "webp", "--quality", "60"]])
def test_the_certificate_is_that_of_the_file(command: Command, model: Path, tmp_path: Path, words: list[str]) -> None:
    """Measured here anew, from the pixels that a reader of the file sees."""
    source = tmp_path / "a.jpg"
    smooth = np.kron(np.random.default_rng(0).integers(60, 190, (6, 8, 3)), np.ones((5, 5, 1)))
    images.write(Picture(smooth.astype(np.uint8)), source)
    assert command("upscale", source, "--method", model, "--consistent", *words).status == 0
    (made,) = tmp_path.glob("a_x4.*")
    record = from_json(images.read_record(made) or "")
    large = torch.from_numpy(images.read(made).rows[0:120]).permute(2, 0, 1).double()
    small = torch.from_numpy(images.read(source).rows[0:30]).permute(2, 0, 1).double()
    error = imresize(large, scale=1 / 4) - small
    found = record.consistency
    assert found is not None
    assert found.saved_rms == pytest.approx(float(error.square().mean().sqrt()), abs=2e-3)
    assert found.saved_max == pytest.approx(float(error.abs().max()), abs=2e-3)
    assert found.after_rms < 0.1 < found.saved_rms and found.before_rms > 1
    assert "measuring the file" in record.timings


def test_16_bits_in_a_lossy_file_are_measured_as_8(command: Command, tmp_path: Path) -> None:
    source = tmp_path / "a.png"
    images.write(picture(30, 20, kind="png", bits=16, space="grey", alpha=False), source)
    outcome = command("upscale", source, "--method", "bicubic", "--consistent", "--format", "jpg")
    assert outcome.status == 0 and any("16-bit samples became 8-bit" in line for line in outcome.lines)
    record = from_json(images.read_record(tmp_path / "a_x4.jpg") or "")
    assert record.saved is not None and (record.saved.quality, record.saved.bits) == (95, 8)
    assert record.consistency is not None and 0.1 < record.consistency.saved_rms < 40
    assert any("16-bit samples became 8-bit" in line for line in record.adapted)


@pytest.mark.parametrize("kind", ["webp", "avif"])
def test_transparent_places_do_not_count_in_a_lossy_file(command: Command, tmp_path: Path, kind: str) -> None:
    source = tmp_path / "a.png"
    smooth = np.kron(np.random.default_rng(0).integers(60, 190, (5, 4, 4)), np.ones((10, 10, 1))).astype(np.uint8)
    smooth[..., 3] = 255
    smooth[:20, :20, :3] = np.random.default_rng(1).integers(0, 256, (20, 20, 3))
    smooth[:20, :20, 3] = 0
    images.write(Picture(smooth, alpha=True), source)
    words = ["--method", "bicubic", "--consistent", "--format", kind, "--quality", 90]
    assert command("upscale", source, *words).status == 0
    record = from_json(images.read_record(tmp_path / f"a_x4.{kind}") or "")
    assert record.consistency is not None and record.consistency.saved_rms < 3


def test_floats_keep_their_range_or_say_what_stops_them(command: Command, tmp_path: Path) -> None:
    source = tmp_path / "a.tif"
    rows = picture(9, 8, kind="tiff", bits=32, space="rgb", alpha=False).rows[0:9] * 300 - 20
    images.write(Picture(rows, format="tiff"), source)
    refused = command("upscale", source, "--method", "nearest")
    assert refused.status == 1 and "--range" in refused.line
    assert not (tmp_path / "a_x4.tif").exists()
    named = command("upscale", source, "--method", "nearest", "--range", "-20,280", "--format", "png")
    assert named.status == 1 and ".tif or .pfm" in named.line
    assert command("upscale", source, "--method", "nearest", "--range", "-20,280").status == 0
    assert np.abs(images.read(tmp_path / "a_x4.tif").rows[0:36][1::4, 1::4] - rows).max() < 1e-3
    for bad in ("1", "2,1", "a,b", "0,inf"):
        assert command("upscale", source, "--range", bad).status == 2
    images.write(Picture(np.zeros((4, 4, 3), np.uint8)), tmp_path / "b.png")
    integers = command("upscale", tmp_path / "b.png", "--method", "nearest", "--range", "0,255")
    assert integers.status == 1 and "float" in integers.line


def test_a_format_without_a_place_for_the_record_says_so(command: Command, tmp_path: Path) -> None:
    source = tmp_path / "a.ppm"
    images.write(picture(6, 5, kind="ppm", bits=8, space="rgb", alpha=False), source)
    outcome = command("upscale", source, "--method", "nearest")
    assert outcome.status == 0 and any("--record" in line for line in outcome.lines)
    # In a batch, its state remembers what the file cannot say.
    (tmp_path / "in").mkdir()
    source.rename(tmp_path / "in" / "a.ppm")
    for skipped in (False, True):
        outcome = command("upscale", tmp_path / "in", "-o", tmp_path / "out", "--method", "nearest")
        assert outcome.status == 0 and ("skipped" in outcome.lines[-1]) is skipped


def test_a_deadline_chooses_steps_and_is_part_of_the_record(command: Command, model: Path, photo: Path) -> None:
    target = photo.with_name("photo_x4.png")
    first = command("upscale", photo, "--method", model, "--deadline", 60)
    assert first.status == 0 and "2 of 2 steps" in first.line
    record = from_json(images.read_record(target) or "")
    assert record.deadline is not None and record.deadline.seconds == 60 and record.request.steps == 2
    assert "2 of 2 steps" in record.deadline.chosen
    assert "skipped" in command("upscale", photo, "--method", model, "--deadline", 60).line
    tight = command("upscale", photo, "--method", model, "--deadline", 1e-3, "--overwrite", "--quiet")
    assert tight.status == 0 and "% over the deadline" in tight.line
    assert from_json(images.read_record(target) or "").request.steps == 1
    assert "skipped" in command("upscale", photo, "--method", model, "--deadline", 1e-3).line
    assert command("upscale", photo, "--method", model, "--deadline", 30).status == 1, "another deadline, another run"
    for words in (["--deadline", 0], ["--deadline", "soon"], ["--deadline", 5, "--steps", 3]):
        assert command("upscale", photo, "--method", model, *words).status == 2


def test_a_plan_says_what_would_happen_and_writes_nothing(command: Command, model: Path, photo: Path) -> None:
    words = [photo, "--method", model, "--scale", 10, "--samples", 2]
    outcome = command("plan", *words)
    assert outcome.status == 0 and outcome.lines == ()
    assert list(photo.parent.glob("photo_*")) == []
    for text in ("16x12 to 160x120", "then bicubic to 120x160", "evaluations", "MiB", "about", "photo_x10_s0.png"):
        assert text in outcome.out
    facts = json.loads(command("plan", *words, "--events").out)
    assert facts["event"] == "plan" and facts["output_size"] == [120, 160] and facts["samples"] == 2
    assert facts["memory"] > 0 and facts["seconds"] > 0 and facts["evaluations"] == 2 * 2 * 3
    assert "of 2 steps" in command("plan", photo, "--method", model, "--deadline", 100).out
    missing = command("plan", photo.parent / "none.png", photo, "--method", model)
    assert missing.status == 1 and "none.png" in missing.line and "photo_x4.png" in missing.out
    assert command("plan", photo, "--scale", 0.5).status == 2
    assert command("plan", photo.parent, "-o", photo.parent.with_name("made"), "--method", model).status == 0
    assert not photo.parent.with_name("made").exists()


def test_a_transparent_picture_has_no_halo(command: Command, tmp_path: Path) -> None:
    """A red disc on transparent green: over any ground no pixel shows the green, whatever made it larger."""
    yy, xx = np.mgrid[:24, :24]
    inside = (yy - 11.5) ** 2 + (xx - 11.5) ** 2 < 64
    rows = np.where(inside[..., None], np.array([200, 30, 30, 255]), np.array([0, 255, 0, 0])).astype(np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(rows).save(buffer, "png")
    (tmp_path / "a.png").write_bytes(buffer.getvalue())
    for method in ("bicubic", "lanczos", "auto"):
        made = tmp_path / f"{method}.png"
        words = ["--realism", 0] if method == "auto" else []
        assert command("upscale", tmp_path / "a.png", "--method", method, "-o", made, *words).status == 0
        result = images.read(made).rows[0:96].astype(float)
        alpha = result[..., 3:] / 255
        for ground in (0, 255):
            shown = result[..., :3] * alpha + ground * (1 - alpha)
            # Between red and the ground: green and blue are alike, as in both of them.
            assert np.abs(shown[..., 1] - shown[..., 2]).max() < 8
