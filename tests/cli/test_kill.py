"""Batches that are killed at any moment: what is there is whole, and the next run goes on."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
import pytest
from PIL import Image

from mezzotint.cli.state import NAME
from mezzotint.images import read_record
from mezzotint.record import from_json

Command = Callable[..., Any]
Save = Callable[..., Path]

PICTURES = 8
MODES = ((), ("--strip",), ("--record",), ("--strip", "--record"))


@dataclass(frozen=True)
class Folders:
    """Small pictures in `small`, what an undisturbed run makes of them in `wanted`, and where the killed ones write."""

    small: Path
    wanted: Path
    made: Path

    def words(self, *, output: Path, mode: tuple[str, ...]) -> list[str]:
        words = ["upscale", str(self.small), "-r", "-o", str(output), "--events", "--method", "bicubic"]
        return [*words, *mode, *([str(self.record)] if "--record" in mode else [])]

    @property
    def record(self) -> Path:
        return self.made.with_name("record.json")


@pytest.fixture
def folders(command: Command, save: Save, tmp_path: Path) -> Folders:
    made = Folders(tmp_path / "small", tmp_path / "wanted", tmp_path / "made")
    for k in range(PICTURES):
        place = made.small if k < 5 else made.small / "sub folder"
        place.mkdir(parents=True, exist_ok=True)
        save(place / f"{k}.{('png', 'jpg', 'webp')[k % 3]}", height=40 + k, width=60, seed=k)
    assert command(*made.words(output=made.wanted, mode=())).status == 0
    return made


def _running(words: list[str]) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "mezzotint.cli", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"},
    )


def _files(folder: Path) -> dict[str, Path]:
    return {path.relative_to(folder).as_posix(): path for path in sorted(folder.rglob("*")) if path.is_file()}


def _results(folder: Path) -> dict[str, Path]:
    return {name: path for name, path in _files(folder).items() if not path.name.startswith(".")}


def _pixels(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        image.load()
        return np.asarray(image)


def _events(stream: IO[str]) -> Iterator[dict]:
    for line in stream:
        if not line.endswith("\n"):
            return  # the last thing that a killed process said
        yield json.loads(line)


def _run_and_kill(folders: Folders, *, mode: tuple[str, ...], after: int, delay: float) -> bool:
    """Kill a run with all its processes `delay` seconds after it began its input number `after`.

    Returns whether it was killed before its end.
    """
    process = _running(folders.words(output=folders.made, mode=mode))
    assert process.stdout is not None and process.stderr is not None
    begun = 0
    for event in _events(process.stdout):
        begun += event["event"] == "file-start"
        if event["event"] == "end" or begun == after:
            break
    time.sleep(delay)
    os.killpg(process.pid, signal.SIGKILL)
    process.stdout.read()
    assert "Traceback" not in process.stderr.read()
    return process.wait() == -signal.SIGKILL


def _check_what_is_there(folders: Folders) -> None:
    wanted = _results(folders.wanted)
    for name, path in _results(folders.made).items():
        assert np.array_equal(_pixels(path), _pixels(wanted[name])), name


def _finish_and_check(command: Command, folders: Folders, *, mode: tuple[str, ...]) -> None:
    """Let a run end undisturbed: all is there, nothing was made twice, nothing else lies about."""
    there = {name: path.stat().st_mtime_ns for name, path in _results(folders.made).items()}
    outcome = command(*folders.words(output=folders.made, mode=mode))
    assert outcome.status == 0, outcome.lines
    events = [json.loads(line) for line in outcome.out.splitlines()]
    done = {Path(e["outputs"][0]).relative_to(folders.made).as_posix(): e for e in events if e["event"] == "file-done"}
    wanted = _results(folders.wanted)
    assert set(done) == set(wanted) and {name for name, event in done.items() if event["skipped"]} == set(there)
    made = _results(folders.made)
    assert set(made) == set(wanted)
    assert set(_files(folders.made)) - set(made) == {NAME}
    for name, path in made.items():
        if name in there:
            assert path.stat().st_mtime_ns == there[name], name
        text = read_record(path)
        assert (text is None) == bool(mode), name
        if text is not None:
            assert from_json(text).request == from_json(read_record(wanted[name]) or "").request, name
    if "--record" in mode:
        kept = [from_json(json.dumps(record)).request for record in json.loads(folders.record.read_text())]
        assert kept == [from_json(read_record(wanted[name]) or "").request for name in sorted(wanted)]
    _check_what_is_there(folders)


def _kill_often(command: Command, folders: Folders, *, kills: int, seed: int) -> None:
    """Kill runs at random moments; every few kills let one end, and begin anew in another mode."""
    chance = random.Random(seed)
    killed = rounds = 0
    while killed < kills:
        mode = MODES[rounds % len(MODES)]
        for _ in range(chance.randint(2, 5)):
            # A picture takes some hundredths of a second; the first of a run, which loads libraries, longer.
            if _run_and_kill(folders, mode=mode, after=chance.randint(1, 4), delay=chance.uniform(0, 0.15)):
                killed += 1
            _check_what_is_there(folders)
            if killed == kills:
                break
        _finish_and_check(command, folders, mode=mode)
        for path in [*_files(folders.made).values(), folders.record]:
            path.unlink(missing_ok=True)
        rounds += 1


def test_batch_killed_three_times_is_whole_and_complete(command: Command, folders: Folders) -> None:
    for mode, after in ((("--strip",), 2), (("--strip",), 3), (("--strip",), 4)):
        assert _run_and_kill(folders, mode=mode, after=after, delay=0.01)
        _check_what_is_there(folders)
    _finish_and_check(command, folders, mode=("--strip",))


@pytest.mark.slow
def test_batch_killed_fifty_times_is_whole_and_complete(command: Command, folders: Folders) -> None:
    _kill_often(command, folders, kills=50, seed=20)
