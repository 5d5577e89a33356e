"""Folders as inputs: which pictures are taken, where their results go, what is refused."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from mezzotint import images
from mezzotint.cli import outputs
from mezzotint.cli.state import NAME
from mezzotint.errors import UsageError

Command = Callable[..., Any]
Save = Callable[..., Path]

METHOD = ("--method", "nearest", "--scale", 2)


def _made(folder: Path) -> list[str]:
    """The files in a folder and below, but for the state of a batch."""
    return sorted(
        path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file() and path.name != NAME
    )


@pytest.fixture
def photos(save: Save, tmp_path: Path) -> Path:
    """A folder with a picture of each format, a subfolder with one, and what is no picture."""
    folder = tmp_path / "photos"
    (folder / "trip" / "day 1").mkdir(parents=True)
    (folder / ".hidden").mkdir()
    for seed, name in enumerate(("b10.png", "b9.JPG", "a ü.webp", "trip/day 1/c.png", ".hidden/d.png", ".e.png")):
        target = folder / name
        save(target.with_suffix(".tmp" + target.suffix.lower()), seed=seed, height=12 + seed).rename(target)
    shutil.copy(folder / "b10.png", folder / "no extension")
    (folder / "notes.txt").write_text("no picture")
    (folder / "nothing").write_text("no picture either")
    return folder


def test_pictures_are_taken_in_natural_order_and_nothing_else(photos: Path) -> None:
    found = outputs.find([str(photos)], output="out")
    assert [source.path.name for source in found] == ["a ü.webp", "b9.JPG", "b10.png", "no extension"]
    assert all(source.subfolder == Path() for source in found)
    found = outputs.find([str(photos)], output="out", recursive=True)
    assert [source.subfolder.as_posix() for source in found if source.path.name == "c.png"] == ["trip/day 1"]
    assert len(found) == 5


def test_subfolders_are_taken_on_request_and_repeated(command: Command, photos: Path, tmp_path: Path) -> None:
    top = ["a ü_x2.webp", "b10_x2.png", "b9_x2.JPG", "no extension_x2.png"]
    assert command("upscale", photos, "-o", tmp_path / "flat", *METHOD).status == 0
    assert _made(tmp_path / "flat") == top
    outcome = command("upscale", photos, "-o", tmp_path / "deep", "-r", *METHOD)
    assert outcome.status == 0 and outcome.out == ""
    assert _made(tmp_path / "deep") == sorted([*top, "trip/day 1/c_x2.png"])
    assert images.read(tmp_path / "deep" / "trip" / "day 1" / "c_x2.png").pixels.shape == (30, 32, 3)
    assert set(tmp_path.rglob(".mezzotint*")) == {tmp_path / "flat" / NAME, tmp_path / "deep" / NAME}
    again = command("upscale", photos, "-o", tmp_path / "deep", "-r", *METHOD)
    assert again.status == 0 and len(again.lines) == 5 and all("skipped" in line for line in again.lines)


def test_a_single_picture_leaves_no_state(command: Command, photo: Path, tmp_path: Path) -> None:
    command("upscale", photo, "-o", tmp_path / "out", *METHOD)
    command("upscale", photo, "-r", *METHOD)
    assert list(tmp_path.rglob(".*")) == []


def test_several_pictures_without_o_have_a_state_in_each_folder(command: Command, save: Save, tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        save(tmp_path / name / "x.png")
    words = ("upscale", tmp_path / "a" / "x.png", tmp_path / "b" / "x.png", "--strip", *METHOD)
    assert command(*words).status == 0
    assert [(tmp_path / name / NAME).is_file() for name in ("a", "b")] == [True, True]
    assert all("skipped" in line for line in command(*words).lines)


def test_results_are_never_inputs(command: Command, photos: Path, tmp_path: Path) -> None:
    inside = photos / "large"
    for _ in range(2):
        assert command("upscale", photos, "-o", inside, "-r", *METHOD).status == 0
    first = _made(inside)
    assert len(first) == 5
    assert command("upscale", photos, "-o", photos / "larger", "-r", "--method", "nearest", "--scale", 3).status == 0
    assert _made(photos / "larger") == sorted(name.replace("_x2", "_x3") for name in first)
    # Named itself, a folder of results is a folder of pictures like any other.
    assert command("upscale", inside, "-o", tmp_path / "again", *METHOD).status == 0
    assert "b10_x2_x2.png" in _made(tmp_path / "again")


def test_results_among_the_inputs_are_refused(command: Command, photos: Path, save: Save, tmp_path: Path) -> None:
    save(tmp_path / "other.png")
    before = _made(tmp_path)
    for words in (
        ["-o", photos],
        ["-r", "-o", photos / "trip" / ".."],
        [tmp_path / "other.png", "-o", photos],
        ["-r", "-o", photos / "one.png"],
    ):
        outcome = command("upscale", photos, *words, *METHOD)
        assert outcome.status == 2 and "-o" in outcome.line, words
    # photos/trip/photos/... of the input photos/trip/photos would lie in that input itself
    inner = photos / "trip"
    (inner / "trip" / "x").mkdir(parents=True)
    save(inner / "trip" / "x.png")
    save(inner / "x.png", seed=3)
    before = _made(tmp_path)
    outcome = command("upscale", inner, "-r", "-o", photos, *METHOD)
    assert outcome.status == 2 and "among the pictures" in outcome.line
    assert _made(tmp_path) == before and not list(tmp_path.rglob(NAME))


def test_an_input_folder_in_the_output_folder_is_fine_where_they_stay_apart(
    command: Command, photos: Path, tmp_path: Path
) -> None:
    for _ in range(2):
        assert command("upscale", photos, "-o", tmp_path, *METHOD).status == 0
    assert (tmp_path / "b10_x2.png").is_file() and len(list(tmp_path.glob("*_x2.*"))) == 4
    assert not list(photos.glob("*_x2*"))


def test_links_that_lead_in_circles_are_not_followed(command: Command, photos: Path, tmp_path: Path) -> None:
    (photos / "trip" / "back").symlink_to(photos)
    (photos / "self.png").symlink_to(photos / "self.png")
    (photos / "alias.png").symlink_to(photos / "b10.png")
    outcome = command("upscale", photos, "-o", tmp_path / "out", "-r", "--quiet", *METHOD)
    assert outcome.status == 1 and "self.png" in outcome.line
    assert len(_made(tmp_path / "out")) == 6 and (tmp_path / "out" / "alias_x2.png").is_file()


def test_a_pipe_does_not_hang(command: Command, photos: Path, tmp_path: Path) -> None:
    os.mkfifo(photos / "pipe.png")
    outcome = command("upscale", photos, "-o", tmp_path / "out", "--quiet", *METHOD)
    assert outcome.status == 1 and "pipe" in outcome.line and len(_made(tmp_path / "out")) == 4


def test_odd_names_are_pictures_too(command: Command, save: Save, tmp_path: Path) -> None:
    folder = tmp_path / "odd"
    (folder / "sub.png").mkdir(parents=True)
    names = ["two\nlines.png", " blank .png", "-o.png", "日本 é.png", os.fsdecode(b"bytes\xff.png"), "[red]x.png"]
    names += ["sub.png/x.png", "a" * 248 + ".png"]
    for seed, name in enumerate(names):
        save(folder / "plain.png", seed=seed).rename(folder / name)
    outcome = command("upscale", folder, "-r", "-o", tmp_path / "out", "--strip", *METHOD)
    assert outcome.status == 0, outcome.lines
    assert _made(tmp_path / "out") == sorted(name.removesuffix(".png") + "_x2.png" for name in names)
    again = command("upscale", folder, "-r", "-o", tmp_path / "out", "--strip", "--events", *METHOD)
    assert again.status == 0 and len(again.lines) == len(names)
    events = [json.loads(line) for line in again.out.splitlines()]
    inputs = [event["input"] for event in events if event["event"] == "file-done" and event["skipped"]]
    assert sorted(inputs) == sorted(str(folder / name) for name in names)


def test_a_name_that_becomes_too_long_fails_alone(command: Command, save: Save, tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    long = folder / ("ä" * 125 + ".png")
    save(folder / "z.png").rename(long)
    save(folder / "a.png", seed=1)
    outcome = command("upscale", folder, "-o", tmp_path / "out", "--quiet", *METHOD)
    assert outcome.status == 1 and long.stem in outcome.line and "257 bytes" in outcome.line and "255" in outcome.line
    assert _made(tmp_path / "out") == ["a_x2.png"]


def test_two_inputs_with_one_output_are_refused_before_any_work(command: Command, photos: Path, tmp_path: Path) -> None:
    shutil.copy(photos / "b9.JPG", photos / "b10.jpg")
    outcome = command("upscale", photos, "-o", tmp_path / "out", "--format", "png", *METHOD)
    assert outcome.status == 2 and "b10.png" in outcome.line and "b10.jpg" in outcome.line
    assert not (tmp_path / "out").exists()
    # The same name in two subfolders is no collision where the subfolders are repeated.
    shutil.copy(photos / "b10.png", photos / "trip" / "b10.png")
    assert command("upscale", photos, "-r", "-o", tmp_path / "out", *METHOD).status == 0


def test_folders_without_pictures_are_wrong_usage(command: Command, save: Save, tmp_path: Path) -> None:
    (tmp_path / "in" / "sub").mkdir(parents=True)
    outcome = command("upscale", tmp_path / "in", "-r", "-o", tmp_path / "out", *METHOD)
    assert outcome.status == 2 and "no picture" in outcome.line and str(tmp_path / "in") in outcome.line
    save(tmp_path / "in" / "sub" / "x.png")
    outcome = command("upscale", tmp_path / "in", "-o", tmp_path / "out", *METHOD)
    assert outcome.status == 2 and "--recursive" in outcome.line
    assert not (tmp_path / "out").exists()


def test_wrong_extensions_and_bad_files_among_good_ones(command: Command, photos: Path, tmp_path: Path) -> None:
    (photos / "b9.JPG").rename(photos / "is a jpeg.png")
    (photos / "half.png").write_bytes((photos / "b10.png").read_bytes()[:-30])
    (photos / "empty.webp").write_bytes(b"")
    outcome = command("upscale", photos, "-o", tmp_path / "out", *METHOD)
    assert outcome.status == 1
    assert images.read(tmp_path / "out" / "is a jpeg_x2.jpg").format == "jpeg"
    assert _made(tmp_path / "out") == ["a ü_x2.webp", "b10_x2.png", "is a jpeg_x2.jpg", "no extension_x2.png"]
    summary = outcome.lines[-3:]
    assert summary[0] == "4 done, 0 skipped, 2 failed:"
    assert "empty.webp" in summary[1] and "half.png" in summary[2]


def test_a_long_summary_is_cut(command: Command, save: Save, tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    for k in range(23):
        (folder / f"{k}.png").write_bytes(b"")
    save(folder / "good.png")
    outcome = command("upscale", folder, "-o", tmp_path / "out", *METHOD)
    assert outcome.status == 1 and len(outcome.lines) == 23 + 1 + 1 + 20 + 1
    assert outcome.lines[-22] == "1 done, 0 skipped, 23 failed:" and outcome.lines[-1] == "  and 3 more"
    assert f"{folder / '19.png'} is empty" in outcome.lines[-2]


@contextmanager
def _as_somebody(tmp_path: Path) -> Iterator[None]:
    """Within the block permissions bind this process, also where it is root's."""
    if os.geteuid() != 0:
        yield
        return
    parents = {path: path.stat().st_mode for path in tmp_path.parents[:2]}
    for path, mode in parents.items():
        path.chmod(mode | 0o011)
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)
        for path, mode in parents.items():
            path.chmod(mode)


def test_what_may_not_be_read_fails_alone(command: Command, photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert command("upscale", photos, "-o", tmp_path / "modules loaded", *METHOD).status == 0
    tmp_path.chmod(0o755)
    out.mkdir()
    out.chmod(0o777)
    (photos / "b10.png").chmod(0)
    (photos / "trip" / "day 1").chmod(0)
    with _as_somebody(tmp_path):
        outcome = command("upscale", photos, "-r", "-o", out, *METHOD)
    assert outcome.status == 1 and "3 done, 0 skipped, 2 failed:" in outcome.lines
    assert [line for line in outcome.lines if "b10.png cannot be read: permission denied" in line]
    assert [line for line in outcome.lines if f"the folder {photos / 'trip' / 'day 1'} cannot be read" in line]
    assert _made(out) == ["a ü_x2.webp", "b9_x2.JPG", "no extension_x2.png"]
    (photos / "trip" / "day 1").chmod(0o755)


def test_a_folder_that_may_not_be_written_is_one_line(command: Command, photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert command("upscale", photos, "-o", tmp_path / "modules loaded", *METHOD).status == 0
    tmp_path.chmod(0o755)
    out.mkdir(mode=0o555)
    with _as_somebody(tmp_path):
        outcome = command("upscale", photos, "-o", out, *METHOD)
        inside = command("upscale", photos, "-o", out / "sub", *METHOD)
    assert outcome.status == 2 and str(out) in outcome.line and "-o" in outcome.line
    assert inside.status == 2 and str(out / "sub") in inside.line
    assert list(out.iterdir()) == []


def test_a_state_that_may_not_be_written_is_one_line(command: Command, photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert command("upscale", photos, "-o", out, *METHOD).status == 0
    tmp_path.chmod(0o755)
    (out / NAME).chmod(0o444)
    with _as_somebody(tmp_path):
        outcome = command("upscale", photos, "-o", out, *METHOD)
    assert outcome.status == 2 and str(out / NAME) in outcome.line and "writable" in outcome.line


def test_find_refuses_an_empty_name() -> None:
    with pytest.raises(UsageError, match="INPUT"):
        outputs.find(["a.png", ""], output=None)
