"""Whole files or none, and hidden files whose owners have ended."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from mezzotint.errors import InputError
from mezzotint.images import atomic, owners


def _other(code: str) -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)


def _hidden_file_of_another(folder: Path) -> tuple[subprocess.Popen[str], Path]:
    """A process that made a hidden file and waits, and that file."""
    process = _other(
        "import sys, time; from mezzotint.images import atomic\n"
        f"name = atomic.hidden_name('spool'); open({str(folder)!r} + '/' + name, 'w').close()\n"
        "print(name, flush=True); time.sleep(60)"
    )
    assert process.stdout is not None
    return process, folder / process.stdout.readline().strip()


def test_hidden_files_go_when_their_process_has_ended(tmp_path: Path) -> None:
    process, path = _hidden_file_of_another(tmp_path)
    assert path.is_file()
    assert atomic.remove_stale(tmp_path) == 0 and path.is_file()
    process.kill()
    # Not waited for yet: a process that has ended but is still listed is as dead as one that is gone.
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    assert atomic.remove_stale(tmp_path) == 1 and not path.exists()
    process.wait()


def test_own_hidden_files_and_those_of_strangers_stay(tmp_path: Path) -> None:
    own = tmp_path / atomic.hidden_name()
    foreign = tmp_path / f".mezzotint-ffffffff-ffffffff-{os.getpid()}-1-0123456789abcdef.part"
    names = (".mezzotint-batch.sqlite", "picture.part", ".mezzotint-notes.part.txt", ".other-0123456789abcdef.part")
    for path in (own, foreign, *(tmp_path / name for name in names)):
        path.write_bytes(b"x")
    assert atomic.remove_stale(tmp_path) == 0
    long_ago = time.time() - 2 * 24 * 3600
    for path in tmp_path.iterdir():
        os.utime(path, (long_ago, long_ago))
    assert atomic.remove_stale(tmp_path) == 1
    assert not foreign.exists() and own.exists() and all((tmp_path / name).exists() for name in names)
    assert atomic.remove_stale(tmp_path / "missing") == 0


def test_a_mark_tells_processes_apart_that_had_one_number() -> None:
    own = owners.mark()
    assert owners.lives(own) is True and owners.pid_of(own) == os.getpid()
    assert owners.lives(own.rpartition("-")[0] + "-12345") is False
    assert owners.lives("somebody") is None and owners.pid_of("somebody") is None
    process = _other("from mezzotint.images import owners; print(owners.mark(), flush=True); input()")
    assert process.stdout is not None
    other = process.stdout.readline().strip()
    process.wait()
    assert owners.pid_of(other) == process.pid and owners.lives(other) is False


def test_a_complete_file_is_announced_before_it_has_its_name(tmp_path: Path) -> None:
    seen = []

    def tell(part: Path, path: Path) -> None:
        seen.append((part.read_bytes(), path.exists()))

    target = tmp_path / "x.bin"
    with atomic.announced(tell):
        atomic.write_bytes(target, b"abc")
    assert seen == [(b"abc", False)] and target.read_bytes() == b"abc"
    atomic.write_bytes(tmp_path / "y.bin", b"abc")
    assert len(seen) == 1

    def refuse(part: Path, path: Path) -> None:
        raise InputError("not now")

    with atomic.announced(refuse), pytest.raises(InputError, match="not now"):
        atomic.write_bytes(target, b"new", overwrite=True)
    assert target.read_bytes() == b"abc"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["x.bin", "y.bin"]


def test_nothing_half_written_stays(tmp_path: Path) -> None:
    target = tmp_path / "x.bin"
    # A shell that starts the tests in the background lets them ignore Ctrl-C.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt), atomic.whole(target) as part:
            part.write_bytes(b"half")
            signal.raise_signal(signal.SIGINT)
    finally:
        signal.signal(signal.SIGINT, before)
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(InputError, match="make room"), atomic.whole(target) as part:
        part.write_bytes(b"half")
        raise OSError(28, "No space left on device")
    assert list(tmp_path.iterdir()) == []
