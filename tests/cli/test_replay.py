from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from skimage.metrics import peak_signal_noise_ratio

from mezzotint import images
from mezzotint.cli.replay import EIGHT_BITS, FINE, Difference, range_of, scale_between
from mezzotint.errors import InputError
from mezzotint.record import Record, Request, from_json, to_json
from mezzotint.upscaler import target_size

Command = Callable[..., Any]
Save = Callable[..., Path]


@pytest.fixture
def photo(save: Save, tmp_path: Path) -> Path:
    return save(tmp_path / "photo.png", height=20, width=24)


def _upscaled(command: Command, photo: Path, name: str, *words: object) -> Path:
    """Make a result in a folder of its own, so that nothing lies beside it."""
    path = photo.parent / "out" / name
    path.parent.mkdir(exist_ok=True)
    outcome = command("upscale", photo, "-o", path, *words)
    assert outcome.status == 0, outcome.lines
    return path


def _findings(outcome: Any) -> dict[str, Any]:
    return json.loads(outcome.out)


def _record_of(path: Path) -> Record:
    return from_json(images.read_record(path) or "")


def _doctored(path: Path, change: Callable[[np.ndarray], None] | None = None, **fields: Any) -> Path:
    """Write a lossless result anew with changed pixels, or a record with changed fields."""
    record, pixels = _record_of(path), images.read(path).pixels.copy()
    if change is not None:
        change(pixels)
    asked = {name: value for name, value in fields.items() if name in Request.model_fields}
    update: dict[str, Any] = {"request": record.request.model_copy(update=asked)}
    update |= {name: value for name, value in fields.items() if name not in asked}
    text = to_json(record.model_copy(update=update))
    images.write(images.Picture(pixels), path, record=text, overwrite=True, lossless=True)
    return path


# -- what matches ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name, words",
    [
        ("a.png", ()),
        ("a.png", ("--realism", 0)),
        ("a.png", ("--no-consistent", "--steps", 2, "--realism", 1)),
        ("a.png", ("--method", "bicubic")),
        ("a.png", ("--method", "bicubic", "--consistent")),
        ("a.png", ("--method", "span", "--scale", 3)),
        ("a.png", ("--realism", 0, "--width", 70)),
        ("a.png", ("--realism", 0, "--height", 33, "--no-consistent")),
        ("a.png", ("--method", "lanczos", "--long-side", 61)),
        ("a.png", ("--realism", 0, "--scale", 7.3)),
        ("a.webp", ("--method", "bicubic")),
        ("a.webp", ("--method", "bicubic", "--quality", 60)),
        ("a.jpg", ("--method", "bicubic")),
        ("a.jpg", ("--realism", 0, "--quality", 30)),
    ],
)
def test_a_result_matches(command: Command, photo: Path, name: str, words: tuple[object, ...]) -> None:
    result = _upscaled(command, photo, name, *words)
    outcome = command("replay", result, "--input", photo, "--json")
    assert (outcome.status, outcome.lines) == (0, ())
    found = _findings(outcome)
    assert found["matches"] and found["equal"] and found["environment"] == found["warnings"] == []
    assert found["difference"] == {
        "samples": np.asarray(Image.open(result)).size,
        "differing": 0,
        "largest": 0,
        "psnr": "inf",
    }
    lossy = name == "a.jpg" or "--quality" in words
    assert found["lossless"] is not lossy and ("to_uncoded" in found) is lossy


@pytest.mark.parametrize("seed", [2**63, 2**64 - 2000])
def test_samples_match_one_by_one(command: Command, photo: Path, seed: int) -> None:
    words = ("--samples", 3, "--seed", seed, "--realism", 1, "--steps", 1)
    result = photo.parent / "a.png"
    assert command("upscale", photo, "-o", result, *words).status == 0
    several = [result.with_name(f"a_s{k}.png") for k in range(3)]
    for k, path in enumerate(several):
        outcome = command("replay", path, "--input", photo, "--json")
        assert outcome.status == 0 and _findings(outcome)["equal"]
        assert _findings(outcome)["request"]["seed"] == seed + k
    assert not np.array_equal(images.read(several[0]).pixels, images.read(several[1]).pixels)


def test_grey_pictures_match(command: Command, save: Save, tmp_path: Path) -> None:
    grey = save(tmp_path / "grey.png", height=20, width=24, channels=1)
    for name in ("a.png", "a.jpg"):
        result = _upscaled(command, grey, name, "--realism", 0.5)
        assert command("replay", result, "--input", grey).status == 0


def test_named_weights_are_loaded_from_their_place(command: Command, photo: Path, model: Path) -> None:
    result = _upscaled(command, photo, "a.png", "--method", model)
    assert command("replay", result, "--input", photo, "--weights", model).status == 0
    outcome = command("replay", result, "--input", photo)
    digest = _record_of(result).request.weights
    assert outcome.status == 1 and f"the weights differ: recorded {digest}" in outcome.line
    assert "--weights" in outcome.line and len(digest) == 64
    outcome = command("replay", result, "--input", photo, "--weights", photo.parent / "gone.safetensors")
    assert outcome.status == 2 and "gone.safetensors" in outcome.line


def test_lossy_findings_are_those_of_an_independent_decoder(command: Command, photo: Path) -> None:
    exact = _upscaled(command, photo, "a.png", "--method", "bicubic")
    lossy = _upscaled(command, photo, "b.jpg", "--method", "bicubic", "--quality", 50)
    found = _findings(command("replay", lossy, "--input", photo, "--json"))["to_uncoded"]
    error = np.asarray(Image.open(exact)).astype(float) - np.asarray(Image.open(lossy))
    assert found["largest"] == np.abs(error).max() and found["differing"] == np.count_nonzero(error)
    assert found["psnr"] == pytest.approx(10 * np.log10(255**2 / np.mean(error**2)), abs=1e-4)


def test_lines_for_a_person_name_what_was_found(command: Command, photo: Path) -> None:
    result = _upscaled(command, photo, "a.jpg", "--realism", 0, "--seed", 7, "--steps", 3)
    outcome = command("replay", result, "--input", photo)
    assert outcome.status == 0
    for words in (
        "seed 7, steps 3, realism 0, consistent",
        "took it from the new picture by PSNR",
        "matches: the pixels are equal",
    ):
        assert words in outcome.out


# -- what does not --------------------------------------------------------------------------------------------------


def test_a_changed_pixel_is_found(command: Command, photo: Path) -> None:
    result = _upscaled(command, photo, "a.png", "--method", "bicubic")

    def change(pixels: np.ndarray) -> None:
        pixels[3, 4, 1] ^= 64

    outcome = command("replay", _doctored(result, change), "--input", photo, "--json")
    assert outcome.status == 1
    found = _findings(outcome)
    assert not found["matches"] and not found["equal"]
    assert found["difference"]["differing"] == 1 and found["difference"]["largest"] == 64
    outcome = command("replay", result, "--input", photo)
    assert "1 of 23040 samples differ" in outcome.out and "by at most 64 grey levels" in outcome.out
    assert "DIFFERS" in outcome.out


def test_one_level_in_few_samples_is_allowed_and_said(command: Command, photo: Path) -> None:
    result = _upscaled(command, photo, "a.png", "--method", "nearest")

    def one(pixels: np.ndarray) -> None:
        pixels[0, 0, 0] ^= 1

    def several(pixels: np.ndarray) -> None:
        pixels[0, 1:4, 0] ^= 1

    assert 1 <= EIGHT_BITS.share * 23040 < 3
    outcome = command("replay", _doctored(result, one), "--input", photo)
    assert outcome.status == 0 and "1 of 23040 samples differ (0.00434 %), by at most 1 grey level of" in outcome.out
    assert "matches: allowed is at most 1 grey level of 255 in 0.01 % of the samples" in outcome.out
    assert command("replay", _doctored(result, several), "--input", photo).status == 1


def test_a_changed_lossy_picture_is_found(command: Command, photo: Path) -> None:
    result = _upscaled(command, photo, "a.jpg", "--method", "bicubic")
    record, picture = images.read_record(result), images.read(result)
    pixels = picture.pixels.copy()
    pixels[40:44, 40:44] ^= 64
    images.write(images.Picture(pixels), result, record=record, overwrite=True)
    outcome = command("replay", result, "--input", photo, "--json")
    assert outcome.status == 1 and _findings(outcome)["difference"]["largest"] > 4


def test_another_quality_than_recorded_is_found(command: Command, photo: Path) -> None:
    result = _upscaled(command, photo, "a.jpg", "--method", "bicubic")
    images.write(images.read(result), result, record=images.read_record(result), quality=40, overwrite=True)
    assert command("replay", result, "--input", photo).status == 1


def test_a_record_that_was_doctored_is_found(command: Command, photo: Path) -> None:
    result = _upscaled(command, photo, "a.png", "--realism", 1)
    assert command("replay", _doctored(result, seed=1), "--input", photo).status == 1
    assert command("replay", _doctored(result, seed=0), "--input", photo).status == 0
    assert command("replay", _doctored(result, realism=0.5), "--input", photo).status == 1
    outcome = command("replay", _doctored(result, weights="ab" * 32, realism=1.0), "--input", photo)
    assert outcome.status == 1 and "ab" * 32 in outcome.line and outcome.line.count("differ") == 1


def test_another_version_is_a_warning(command: Command, photo: Path) -> None:
    result = _doctored(_upscaled(command, photo, "a.png", "--method", "bicubic"), version="0.0.1")
    outcome = command("replay", result, "--input", photo, "--json")
    assert outcome.status == 0
    assert "warning" in outcome.line and "0.0.1" in outcome.line and "0.1.0" in outcome.line
    assert _findings(outcome)["version"] == {"recorded": "0.0.1", "here": "0.1.0"}


def test_a_different_machine_is_named_where_pixels_differ(command: Command, photo: Path) -> None:
    result = _upscaled(command, photo, "a.png", "--method", "bicubic")

    def change(pixels: np.ndarray) -> None:
        pixels[0, 0, 0] ^= 1

    _doctored(result, change, libraries={"torch": "1.0"})
    assert f"torch 1.0 against {torch.__version__}" in command("replay", result, "--input", photo).out


# -- the input ------------------------------------------------------------------------------------------------------


def test_the_input_is_found_by_name_and_pixels(
    command: Command, photo: Path, save: Save, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    result = _doctored(_upscaled(command, photo, "a.png", "--method", "bicubic"), source="photo.png")
    outcome = command("replay", result)
    assert outcome.status == 1 and "photo.png is neither beside" in outcome.line and "--input" in outcome.line
    monkeypatch.chdir(tmp_path)
    assert _findings(command("replay", result, "--json"))["input_found"] == "in the current folder"
    shutil.copy(photo, result.with_name("photo.png"))
    found = _findings(command("replay", result, "--json"))
    assert found["input_found"] == "beside the record" and found["input"] == str(result.with_name("photo.png"))
    save(result.with_name("photo2.png"), height=20, width=24, seed=5)
    result.with_name("photo2.png").replace(result.with_name("photo.png"))
    assert _findings(command("replay", result, "--json"))["input_found"] == "in the current folder"
    monkeypatch.chdir("/")
    outcome = command("replay", result)
    assert outcome.status == 1 and "another picture (its pixels have the number" in outcome.line


def test_a_wrong_input_is_refused(command: Command, photo: Path, save: Save, tmp_path: Path) -> None:
    result = _upscaled(command, photo, "a.png", "--method", "bicubic")
    other = save(tmp_path / "other.png", height=20, width=24, seed=1)
    outcome = command("replay", result, "--input", other)
    number = f"{images.read(photo).id:016x}"
    assert (outcome.status, outcome.out) == (1, "") and "is not the input" in outcome.line and number in outcome.line
    smaller = save(tmp_path / "smaller.png", height=20, width=23)
    assert "23x20" in command("replay", result, "--input", smaller).line
    outcome = command("replay", result, "--input", tmp_path / "gone.png")
    assert outcome.status == 1 and "gone.png does not exist" in outcome.line


def test_an_input_with_other_metadata_is_the_input(command: Command, photo: Path, tmp_path: Path) -> None:
    result = _upscaled(command, photo, "a.png", "--method", "bicubic")
    Image.open(photo).save(tmp_path / "copy.webp", lossless=True)
    assert command("replay", result, "--input", tmp_path / "copy.webp").status == 0


def test_a_result_without_a_named_input_says_so(command: Command, photo: Path) -> None:
    result = _doctored(_upscaled(command, photo, "a.png", "--method", "bicubic"), source="")
    outcome = command("replay", result)
    assert outcome.status == 1 and "does not name its input" in outcome.line and "--input" in outcome.line


# -- files of records -----------------------------------------------------------------------------------------------


def test_a_record_file_of_one_result(command: Command, photo: Path, tmp_path: Path) -> None:
    record = tmp_path / "run.json"
    result = _upscaled(command, photo, "a.png", "--method", "bicubic", "--record", record)
    assert images.read_record(result) is None
    words = ("replay", record, "--input", photo)
    assert command(*words, "--output", result).status == 0
    outcome = command(*words, "--output", tmp_path / "gone.png")
    assert outcome.status == 1 and "gone.png does not exist" in outcome.line
    content = json.loads(record.read_text())
    record.write_text(json.dumps({**content, "output": ""}))
    outcome = command(*words)
    assert (outcome.status, outcome.out) == (2, "") and "--output" in outcome.line
    record.write_text(json.dumps({**content, "output": "a.png"}))
    assert command(*words).status == 2
    shutil.copy(result, tmp_path / "a.png")
    assert command(*words).status == 0


def test_a_record_file_of_several_results(command: Command, photo: Path, tmp_path: Path) -> None:
    record = tmp_path / "run.json"
    words = ("--samples", 3, "--realism", 1, "--steps", 1, "--record", record)
    assert command("upscale", photo, "-o", tmp_path / "a.png", *words).status == 0
    content = json.loads(record.read_text())
    record.write_text(json.dumps([{**one, "output": ""} for one in content]))
    words = ("replay", record, "--input", photo)
    outcome = command(*words, "--output", tmp_path / "a_s1.png")
    assert outcome.status == 2 and "holds 3 records" in outcome.line and "--pick 1 to 3" in outcome.line
    assert "seed 2" in outcome.line
    assert command(*words, "--output", tmp_path / "a_s1.png", "--pick", 2).status == 0
    assert command(*words, "--output", tmp_path / "a_s1.png", "--pick", 1).status == 1
    outcome = command(*words, "--output", tmp_path / "a_s1.png", "--pick", 4)
    assert outcome.status == 2 and "--pick 4 is above" in outcome.line
    record.write_text(json.dumps([{**one, "output": f"a_s{k}.png"} for k, one in enumerate(content)]))
    assert command(*words, "--output", tmp_path / "a_s1.png").status == 0
    assert command(*words, "--pick", 3).status == 0
    assert command(*words).status == 2


@pytest.mark.parametrize("words", [("--pick", "1"), ("--output", "a.png")])
def test_options_of_record_files_do_not_go_with_a_picture(
    command: Command, photo: Path, words: tuple[str, str]
) -> None:
    outcome = command("replay", photo, *words)
    assert outcome.status == 2 and words[0] in outcome.line


# -- what is no result ----------------------------------------------------------------------------------------------


def test_pictures_without_a_record_and_foreign_ones(command: Command, photo: Path, tmp_path: Path) -> None:
    outcome = command("replay", photo)
    assert (outcome.status, outcome.out) == (1, "") and "holds no record" in outcome.line
    Image.new("RGB", (4, 4)).save(tmp_path / "foreign.jpg", comment=b"mezzotint")
    assert "holds no record" in command("replay", tmp_path / "foreign.jpg").line
    (tmp_path / "a.gif").write_bytes(b"GIF89a")
    assert "GIF" in command("replay", tmp_path / "a.gif").line
    assert "does not exist" in command("replay", tmp_path / "gone.png").line
    stripped = _upscaled(command, photo, "a.png", "--method", "bicubic", "--strip")
    assert command("replay", stripped, "--input", photo).status == 1


@pytest.mark.parametrize("text", ["{}", "[1, 2]", '"x"', '{"request": {"seed": -1}, "libraries": {}}'])
def test_damaged_metadata_is_one_line(command: Command, photo: Path, tmp_path: Path, text: str) -> None:
    for name in ("a.png", "a.jpg", "a.webp"):
        images.write(images.read(photo), tmp_path / name, record=text)
        outcome = command("replay", tmp_path / name)
        assert (outcome.status, outcome.out) == (1, "")
        assert name in outcome.line and "no record of mezzotint" in outcome.line


def test_impossible_records_are_one_line(command: Command, photo: Path) -> None:
    result = _upscaled(command, photo, "a.png", "--method", "bicubic")
    for change, named in (
        ({"method": "bicubik"}, "'bicubik' cannot be loaded"),
        ({"realism": 0.5}, "has no realism"),
        ({"output_size": (80, 300), "sizes": ()}, "300x80 is no enlargement of 24x20"),
        ({"output_size": (10, 12), "sizes": ()}, "12x10 is no enlargement"),
        ({"output_size": (40, 48), "sizes": ()}, "has 96x80 pixels, its record says 48x40"),
        ({"colour": "sepia"}, "sepia"),
    ):
        before = result.read_bytes()
        outcome = command("replay", _doctored(result, **change), "--input", photo)
        assert (outcome.status, outcome.out) == (1, "") and named in outcome.line, outcome.lines
        result.write_bytes(before)


def test_a_result_in_another_format_is_refused(command: Command, photo: Path) -> None:
    result = _upscaled(command, photo, "a.png", "--method", "bicubic")
    other = result.with_name("b.webp")
    images.write(images.read(result), other, record=images.read_record(result), lossless=True)
    outcome = command("replay", other, "--input", photo)
    assert outcome.status == 1 and "is a webp file, its record says png" in outcome.line


@pytest.mark.parametrize(
    "words, named", [(("--device", "tpu"), "tpu"), (("--pick", "x"), "'x'"), (("--pick", "0"), "0")]
)
def test_wrong_options(command: Command, photo: Path, words: tuple[str, str], named: str) -> None:
    outcome = command("replay", photo, *words)
    assert (outcome.status, outcome.out) == (2, "") and words[0] in outcome.line and named in outcome.line


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_a_device_that_is_not_there(command: Command, photo: Path) -> None:
    result = _upscaled(command, photo, "a.png", "--method", "bicubic")
    outcome = command("replay", result, "--input", photo, "--device", "cuda")
    assert outcome.status == 2 and "cuda is not available" in outcome.line


# -- sizes ----------------------------------------------------------------------------------------------------------


@given(
    h=st.integers(1, 500), w=st.integers(1, 500), option=st.sampled_from(["scale", "width", "height", "long_side"]),
    factor=st.floats(1.0001, 64), data=st.data(),
)  # fmt: skip
def test_every_size_is_reached_by_one_scale(h: int, w: int, option: str, factor: float, data: st.DataObject) -> None:
    reference = {"scale": None, "width": w, "height": h, "long_side": max(h, w)}[option]
    if reference is None:
        size = target_size(h, w, scale=factor)
    else:
        size = target_size(h, w, **{option: data.draw(st.integers(reference + 1, 64 * reference))})
    assert target_size(h, w, scale=scale_between((h, w), size)) == size


def test_sizes_that_no_scale_makes() -> None:
    assert scale_between((1, 1), (1, 1)) > 1
    assert scale_between((20, 24), (80, 96)) == 4
    assert 4.02 < scale_between((20, 24), (80, 97)) < 4.03
    for large in ((80, 100), (10, 12), (20 * 65, 24 * 65)):
        with pytest.raises(InputError, match="no enlargement"):
            scale_between((20, 24), large)


def test_tolerances_are_in_samples() -> None:
    assert EIGHT_BITS.holds(Difference(samples=10_000, differing=1, largest=1, psnr=90))
    assert not EIGHT_BITS.holds(Difference(samples=9_999, differing=1, largest=1, psnr=90))
    assert not EIGHT_BITS.holds(Difference(samples=10_000, differing=1, largest=2, psnr=90))


@pytest.mark.parametrize("kind, span", [("uint8", 1.0), ("uint16", 1.0), ("float32", 1.0), ("float32", 200.0)])
def test_differences_have_one_scale_for_every_depth(kind: str, span: float) -> None:
    peak = {"uint8": 255, "uint16": 65535}.get(kind, span)
    generator = np.random.default_rng(0)
    old = (generator.random((8, 9, 3)) * peak * 0.9).astype(kind)
    new = old.copy()
    assert Difference.between(old, new, span=span).describe() == "equal in all 216 samples"
    new[2, 3, 1] += np.asarray(peak / 51).astype(kind)
    found = Difference.between(old, new, span=span)
    assert (found.samples, found.differing) == (216, 1)
    assert found.largest == pytest.approx(5, rel=1e-4)
    wanted = peak_signal_noise_ratio(old.astype(float), new.astype(float), data_range=peak)
    assert found.psnr == pytest.approx(wanted, abs=1e-3)


def test_fine_samples_may_all_differ_by_little() -> None:
    old = np.full((4, 4, 3), 30_000, np.uint16)
    assert FINE.holds(Difference.between(old, old + np.uint16(6)))
    assert not FINE.holds(Difference.between(old, old + np.uint16(7)))


@pytest.mark.parametrize(
    "coding, wanted",
    [
        ("", None),
        ("uint8 rgb", None),
        ("float32 grey alpha 0..255", (0.0, 255.0)),
        ("float32 rgb linear -0.5..1e+03", (-0.5, 1000.0)),
    ],
)
def test_the_range_of_a_float_picture_is_recorded(coding: str, wanted: tuple[float, float] | None) -> None:
    request = Request(
        version="0.1.0", method="bicubic", weights="", picture="0" * 16, input_size=(2, 3), channels=3,
        output_size=(8, 12), chain=("bicubic",), seed=0, coding=coding,
    )  # fmt: skip
    assert range_of(request) == wanted
    with pytest.raises(InputError, match="names no range"):
        range_of(request.model_copy(update={"coding": "float32 rgb a..b"}))


def test_records_of_results_name_no_folder(command: Command, photo: Path, tmp_path: Path) -> None:
    result = _upscaled(command, photo, "a.png", "--method", "bicubic")
    record = tmp_path / "run.json"
    _upscaled(command, photo, "b.png", "--method", "bicubic", "--record", record)
    for text in (images.read_record(result) or "", record.read_text()):
        assert "bicubic" in text and str(photo.parent) not in text and photo.parent.name not in text
