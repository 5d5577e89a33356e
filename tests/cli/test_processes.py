"""Several processes on one output folder: each result is made once, and whole, whatever happens to one of them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mezzotint import images

Command = Callable[..., Any]
Save = Callable[..., Path]

PICTURES = 10


@pytest.fixture
def small(save: Save, tmp_path: Path) -> Path:
    folder = tmp_path / "small"
    folder.mkdir()
    for k in range(PICTURES):
        save(folder / f"{k}.png", height=160, width=200, seed=k)
    return folder


def _start(small: Path, made: Path, *, method: str = "back-projection") -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "mezzotint.cli", "upscale", str(small), "-o", str(made), "--events", "--method", method],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"},
    )


def _events(out: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in out.splitlines()]


def _made_by(events: list[dict[str, Any]]) -> list[str]:
    return [event["input"] for event in events if event["event"] == "file-done" and not event["skipped"]]


def _check(command: Command, small: Path, made: Path, tmp_path: Path) -> None:
    """All results are there, equal to those of one undisturbed process, and nothing else is."""
    wanted = tmp_path / "wanted"
    assert command("upscale", small, "-o", wanted, "--method", "back-projection").status == 0
    names = sorted(path.name for path in made.glob("[!.]*"))
    assert names == sorted(path.name for path in wanted.glob("[!.]*")) and len(names) == PICTURES
    for name in names:
        assert np.array_equal(images.read(made / name).pixels, images.read(wanted / name).pixels)
    assert {path.name for path in made.glob(".*")} == {".mezzotint-batch.sqlite"}


def test_two_processes_share_the_work(command: Command, small: Path, tmp_path: Path) -> None:
    made = tmp_path / "made"
    running = [_start(small, made) for _ in range(2)]
    ended = [process.communicate(timeout=120) for process in running]
    assert [process.returncode for process in running] == [0, 0], [err for _, err in ended]
    all_events = [_events(out) for out, _ in ended]
    done = Counter(name for events in all_events for name in _made_by(events))
    assert done == {str(small / f"{k}.png"): 1 for k in range(PICTURES)}
    for events in all_events:
        assert events[-1]["done"] + events[-1]["skipped"] == PICTURES and events[-1]["failed"] == 0
    _check(command, small, made, tmp_path)


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs kill -9")
def test_what_a_killed_process_had_claimed_is_done_by_the_other(command: Command, small: Path, tmp_path: Path) -> None:
    made = tmp_path / "made"
    first = _start(small, made)
    assert first.stdout is not None
    for line in first.stdout:
        if json.loads(line)["event"] == "file-start":
            break
    first.send_signal(signal.SIGSTOP)
    second = _start(small, made)
    assert second.stdout is not None
    seen: list[dict[str, Any]] = []
    for line in second.stdout:
        seen.append(json.loads(line))
        # All but one: that one is claimed by the process that stands still.
        if len({event["input"] for event in seen if "input" in event}) == PICTURES - 1:
            break
    first.kill()
    first.wait()
    out, err = second.communicate(timeout=120)
    assert second.returncode == 0, err
    events = seen + _events(out)
    assert len(_made_by(events)) >= 1 and events[-1]["failed"] == 0
    _check(command, small, made, tmp_path)
