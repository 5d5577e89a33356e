"""The state of a batch: what is skipped, what is made again, and files that are no good."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import resource
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from mezzotint import images
from mezzotint.cli import state as states
from mezzotint.cli.state import NAME, State, Watch
from mezzotint.errors import InputError

Command = Callable[..., Any]
Save = Callable[..., Path]

METHOD = ("--method", "nearest", "--scale", 2)


@pytest.fixture
def folder(save: Save, tmp_path: Path) -> Path:
    for k in range(3):
        save(tmp_path / "in" / f"{k}.png", seed=k) if k else (tmp_path / "in").mkdir()
    save(tmp_path / "in" / "0.png")
    return tmp_path / "in"


def _rows(out: Path, table: str) -> list[tuple]:
    connection = sqlite3.connect(out / NAME)
    try:
        return connection.execute(f"SELECT * FROM {table} ORDER BY 1").fetchall()
    finally:
        connection.close()


def _hidden(out: Path) -> list[str]:
    return sorted(path.name for path in out.iterdir() if path.name.startswith("."))


def test_state_says_what_was_finished_and_claims_nothing_afterwards(
    command: Command, folder: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    assert command("upscale", folder, "-o", out, *METHOD).status == 0
    assert _hidden(out) == [NAME] and _rows(out, "claims") == [] and _rows(out, "failed") == []
    finished = _rows(out, "finished")
    assert [row[0] for row in finished] == [b"0_x2.png", b"1_x2.png", b"2_x2.png"]
    for name, _, size, digest, record in finished:
        data = (out / os.fsdecode(name)).read_bytes()
        assert (size, digest, record) == (len(data), hashlib.sha256(data).hexdigest(), None)


def test_stripped_results_are_skipped_while_their_bytes_are_those(
    command: Command, save: Save, folder: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    words = ("upscale", folder, "-o", out, "--strip", *METHOD)
    assert command(*words).status == 0
    assert images.read_record(out / "0_x2.png") is None
    again = command(*words)
    assert again.status == 0 and len(again.lines) == 3 and all("skipped" in line for line in again.lines)

    with Image.open(out / "0_x2.png") as picture:  # the same pixels, other bytes
        picture.load()
    picture.save(out / "0_x2.png", compress_level=0)
    save(folder / "changed.png", seed=9).replace(folder / "1.png")
    refused = command(*words, "--quiet")
    assert refused.status == 1 and [line.split("/")[-1].split(" ")[0] for line in refused.lines] == [
        "0_x2.png",
        "1_x2.png",
    ]
    assert all("--overwrite" in line for line in refused.lines)
    replaced = command(*words, "--overwrite")
    assert replaced.status == 0 and sum("skipped" in line for line in replaced.lines) == 1
    assert all("skipped" in line for line in command(*words).lines)
    assert [row[0] for row in _rows(out, "finished")] == [b"0_x2.png", b"1_x2.png", b"2_x2.png"]


@pytest.mark.parametrize("change", [["--scale", 2, "--method", "bicubic"], ["--format", "jpg", "--quality", 80]])
def test_another_recipe_is_not_skipped(command: Command, folder: Path, tmp_path: Path, change: list[object]) -> None:
    out = tmp_path / "out"
    first = ("upscale", folder, "-o", out, "--strip", *METHOD, "--format", "jpg")
    assert command(*first).status == 0
    other = command(*first, *change, "--quiet")
    assert other.status == 1 and len(other.lines) == 3 and all("--overwrite" in line for line in other.lines)


def test_what_keeps_metadata_is_not_what_was_stripped(command: Command, folder: Path, tmp_path: Path) -> None:
    for first, second in (((), ("--strip",)), (("--strip",), ())):
        out = tmp_path / f"out{len(first)}"
        assert command("upscale", folder, "-o", out, *first, *METHOD).status == 0
        assert command("upscale", folder, "-o", out, *second, *METHOD).status == 1
        assert command("upscale", folder, "-o", out, *second, "--overwrite", *METHOD).status == 0
        assert (images.read_record(out / "0_x2.png") is None) == bool(second)


def test_records_for_a_file_outlive_the_file(command: Command, folder: Path, tmp_path: Path) -> None:
    beside = tmp_path / "record.json"
    words = ("upscale", folder, "-o", tmp_path / "out", "--record", beside, *METHOD)
    assert command(*words).status == 0
    first = json.loads(beside.read_text())
    assert len(first) == 3
    beside.unlink()
    again = command(*words)
    assert again.status == 0 and all("skipped" in line for line in again.lines)
    assert json.loads(beside.read_text()) == first
    # Without the state, the file of records is enough.
    (tmp_path / "out" / NAME).unlink()
    assert all("skipped" in line for line in command(*words).lines)
    # A run that fails keeps what is known of results that it did not come to.
    (tmp_path / "out" / NAME).unlink()
    shutil.rmtree(folder)
    (folder).mkdir()
    (folder / "0.png").write_bytes(b"")
    assert command(*words).status == 1
    assert json.loads(beside.read_text()) == first


def test_a_record_that_cannot_be_written_is_one_line(command: Command, folder: Path, tmp_path: Path) -> None:
    beside = tmp_path / "sub" / "record.json"
    beside.parent.mkdir()
    words = ("upscale", folder, "-o", tmp_path / "out", "--record", beside, *METHOD)

    def remove(*_: object) -> None:
        beside.parent.rmdir()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("mezzotint.cli.batch.remove_stale", remove)
        outcome = command(*words, "--quiet")
    assert outcome.status == 1 and str(beside) in outcome.line
    assert len(list((tmp_path / "out").glob("*.png"))) == 3


def _database(path: Path, *statements: str) -> None:
    connection = sqlite3.connect(path)
    for statement in statements:
        connection.execute(statement)
    connection.commit()
    connection.close()


def _damage(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[100:] = b"\xa5" * (len(data) - 100)
    path.write_bytes(data)


BAD_STATES = {
    "no database": (lambda path: path.write_bytes(b"not a database" * 99), "delete it"),
    "damaged": (_damage, "delete it"),
    "cut short": (lambda path: path.write_bytes(path.read_bytes()[:4000]), "delete it"),
    "newer": (lambda path: _database(path, "PRAGMA user_version = 2"), "newer"),
    "foreign": (lambda path: (path.unlink(), _database(path, "CREATE TABLE x (y)")), "no state"),
    "without tables": (lambda path: _database(path, "DROP TABLE claims"), "delete it"),
    "a folder": (lambda path: (path.unlink(), path.mkdir()), "delete it"),
}


@pytest.mark.parametrize("name", BAD_STATES)
def test_a_bad_state_is_one_line_and_touches_nothing(
    command: Command, folder: Path, tmp_path: Path, name: str
) -> None:
    out = tmp_path / "out"
    words = ("upscale", folder, "-o", out, *METHOD)
    assert command(*words).status == 0
    (out / "0_x2.png").unlink()
    spoil, way = BAD_STATES[name]
    spoil(out / NAME)
    outcome = command(*words)
    # Damage that is only met in the middle fails the input that met it.
    assert outcome.status in (1, 2)
    assert str(out / NAME) in outcome.lines[0] and way in outcome.lines[0], outcome.lines
    if outcome.status == 2:
        assert len(outcome.lines) == 1
    assert not (out / "0_x2.png").exists()
    path = out / NAME
    path.rmdir() if path.is_dir() else path.unlink()
    assert command(*words).status == 0


def test_an_empty_state_is_a_new_one(command: Command, folder: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / NAME).touch()
    assert command("upscale", folder, "-o", tmp_path / "out", *METHOD).status == 0
    assert len(_rows(tmp_path / "out", "finished")) == 3


def test_a_locked_state_is_one_line(
    command: Command, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(states, "_BUSY_SECONDS", 0.2)
    (tmp_path / "out").mkdir()
    connection = sqlite3.connect(tmp_path / "out" / NAME, isolation_level=None)
    connection.execute("BEGIN EXCLUSIVE")
    outcome = command("upscale", folder, "-o", tmp_path / "out", *METHOD)
    connection.close()
    assert outcome.status == 2 and "locked" in outcome.line and NAME in outcome.line


def test_a_state_deleted_in_the_middle_is_made_anew(command: Command, folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    write = images.write

    def write_and_delete(*words: Any, **options: Any) -> None:
        write(*words, **options)
        (out / NAME).unlink()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(images, "write", write_and_delete)
        assert command("upscale", folder, "-o", out, *METHOD).status == 0
    assert len(list(out.glob("*.png"))) == 3


def test_failures_are_noted_until_they_are_mended(
    command: Command, save: Save, folder: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    (folder / "1.png").write_bytes(b"")
    assert command("upscale", folder, "-o", out, *METHOD).status == 1
    ((output, source, reason, _),) = _rows(out, "failed")
    assert (output, os.fsdecode(source)) == (b"1_x2.png", str(folder / "1.png")) and "empty" in reason
    assert _rows(out, "claims") == []
    (folder / "1.png").unlink()
    save(folder / "1.png")
    assert command("upscale", folder, "-o", out, *METHOD).status == 0
    assert _rows(out, "failed") == []


def test_claims_are_of_all_results_or_of_none(tmp_path: Path) -> None:
    first, second, watch = State(tmp_path), State(tmp_path), Watch()
    one, two, three = (tmp_path / name for name in ("1.png", "sub/2.png", "3.png"))
    assert first.claim([one, two], watch=watch) is None
    assert first.claim([one], watch=watch) is None, "one's own claim is no obstacle"
    found = second.claim([three, two], watch=watch)
    assert found is not None and found.output == b"sub/2.png" and str(os.getpid()) in str(found)
    assert first.claim([three], watch=watch) is None, "a refused claim leaves nothing"
    second.release([one, two, three])
    assert second.claim([one], watch=watch) is not None, "nobody releases another's claim"
    first.release([one, two])
    assert second.claim([one, two], watch=watch) is None


def test_a_claim_from_elsewhere_lasts_while_it_is_heard_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    there, here, watch = State(tmp_path), State(tmp_path), Watch()
    output = tmp_path / "1.png"
    with monkeypatch.context() as elsewhere:
        elsewhere.setattr("mezzotint.images.owners.mark", lambda: "ffffffff-ffffffff-1-1")
        assert there.claim([output], watch=watch) is None
    now = time.monotonic()
    clock = [now]
    monkeypatch.setattr(states.time, "monotonic", lambda: clock[0])
    assert here.claim([output], watch=watch) is not None
    clock[0] = now + states.STALE_SECONDS - 1
    assert here.claim([output], watch=watch) is not None
    there.beat([output])
    clock[0] = now + 2 * states.STALE_SECONDS - 2
    assert here.claim([output], watch=watch) is not None, "it was heard of in between"
    clock[0] = now + 3 * states.STALE_SECONDS - 3
    assert here.claim([output], watch=watch) is not None
    clock[0] = now + 3 * states.STALE_SECONDS - 2
    assert here.claim([output], watch=watch) is None
    there.beat([output])
    there.release([output])
    assert len(_rows(tmp_path, "claims")) == 1, "the old owner has no say any more"


def test_work_is_heard_of_while_it_lasts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(states, "BEAT_SECONDS", 0.02)
    state, output = State(tmp_path), tmp_path / "1.png"
    state.claim([output], watch=Watch())
    ((*_, before),) = _rows(tmp_path, "claims")
    with states.beating(state, [output]):
        deadline = time.monotonic() + 20
        while _rows(tmp_path, "claims")[0][-1] == before and time.monotonic() < deadline:
            time.sleep(0.01)
    assert _rows(tmp_path, "claims")[0][-1] > before


def test_known_is_only_what_has_the_same_bytes(tmp_path: Path) -> None:
    state, output = State(tmp_path), tmp_path / "1.png"
    assert state.known(output, recipe="r") is None and state.results() == frozenset()
    assert not state.path.exists(), "asking makes no file"
    output.write_bytes(b"abc")
    state.finish(output, recipe="r", content=output, record='{"a": 1}')
    assert state.known(output, recipe="r") == '{"a": 1}' and state.known(output, recipe="s") is None
    assert state.results() == {output}
    output.write_bytes(b"abd")
    assert state.known(output, recipe="r") is None
    output.unlink()
    assert state.known(output, recipe="r") is None


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A folder on a file system of its own of 400 kB; skips where none can be mounted."""
    place = tmp_path / "disk"
    place.mkdir()
    mounted = shutil.which("mount") and subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=400k", "tmpfs", str(place)], capture_output=True, check=False
    )
    if not mounted or mounted.returncode:
        pytest.skip("no small file system can be mounted here")
    yield place
    subprocess.run(["umount", str(place)], check=True)


def _noise(path: Path, *, side: int) -> Path:
    """A picture that no format makes small: side x side pixels, 3 bytes each."""
    Image.frombytes("RGB", (side, side), os.urandom(3 * side * side)).save(path)
    return path


def test_a_full_disk_fails_what_does_not_fit_and_nothing_else(
    command: Command, save: Save, small_disk: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    for name in ("a.png", "c.png"):
        save(folder / name)
    _noise(folder / "b.png", side=400)
    out = small_disk / "out"
    outcome = command("upscale", folder, "-o", out, "--method", "bicubic", "--scale", 2, "--quiet")
    assert outcome.status == 1 and "b_x2.png" in outcome.line and os.strerror(errno.ENOSPC).lower() in outcome.line
    assert sorted(path.name for path in out.iterdir()) == [NAME, "a_x2.png", "c_x2.png"]
    assert all(images.read(path).width == 32 for path in out.glob("*.png"))
    (small_disk / "ballast").write_bytes(b"x")
    with (small_disk / "ballast").open("wb", buffering=0) as file, pytest.raises(OSError):
        while True:
            file.write(b"x" * 4096)
    full = command("upscale", folder, "-o", out, "--method", "bicubic", "--scale", 3, "--quiet")
    assert full.status in (1, 2) and all(line.startswith("mezzotint: ") for line in full.lines)
    assert not any("Traceback" in line for line in full.lines) and len(full.lines) in (1, 3)
    assert sorted(path.name for path in out.glob("[!.]*")) == ["a_x2.png", "c_x2.png"]
    (small_disk / "ballast").unlink()
    assert command("upscale", folder / "a.png", folder / "c.png", "-o", out, *METHOD[:1], "bicubic").status == 0
    assert _hidden(out) == [NAME]


def test_a_limit_of_the_size_of_files_fails_what_is_larger(
    command: Command, save: Save, tmp_path: Path
) -> None:
    folder, out = tmp_path / "in", tmp_path / "out"
    folder.mkdir()
    for name in ("a.png", "c.png"):
        save(folder / name)
    _noise(folder / "b.png", side=200)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, before[1]))
    try:
        outcome = command("upscale", folder, "-o", out, "--method", "bicubic", "--scale", 2, "--quiet")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)
    assert outcome.status == 1 and "b_x2.png" in outcome.line and os.strerror(errno.EFBIG).lower() in outcome.line
    assert sorted(path.name for path in out.iterdir()) == [NAME, "a_x2.png", "c_x2.png"]


def test_hidden_files_of_dead_processes_are_removed(command: Command, folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    (out / "sub").mkdir(parents=True)
    (folder / "sub").mkdir()
    shutil.copy(folder / "0.png", folder / "sub" / "0.png")
    code = "from mezzotint.images.atomic import hidden_name as n; print(n()); print(n('spool'))"
    dead = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    from mezzotint.images.atomic import hidden_name

    living = hidden_name("spool")
    for name in (*dead, living):
        (out / name).write_bytes(b"x")
        (out / "sub" / name).write_bytes(b"x")
    assert command("upscale", folder, "-r", "-o", out, *METHOD).status == 0
    assert _hidden(out) == sorted([NAME, living]) and _hidden(out / "sub") == [living]


def test_a_problem_of_the_state_names_the_file_and_the_way_out(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="-o") as caught:
        State(tmp_path / "missing").prepare()
    assert str(tmp_path / "missing" / NAME) in str(caught.value)
