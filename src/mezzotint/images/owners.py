"""Which process a hidden file or a claim belongs to, and whether that process still lives."""

from __future__ import annotations

import hashlib
import os
import re
import socket
import subprocess
import sys
from functools import lru_cache
from pathlib import Path

_MARK = re.compile(r"([0-9a-f]{8})-([0-9a-f]{8})-([0-9]+)-([0-9a-z]+)")
_UNKNOWN_START = "0"


def mark() -> str:
    """The name of this process among all processes: HOST-RUN-PID-START, letters and digits only.

    HOST stands for the machine's name, RUN for what its numbers of processes are valid in (this start of the machine,
    this container), START tells processes apart that had the same number one after the other.
    """
    return _mark_of(os.getpid())


def pid_of(owner: str) -> int | None:
    """The number of the process that `mark` names, None for a text that is no mark."""
    found = _MARK.fullmatch(owner)
    return None if found is None else int(found[3])


def lives(owner: str) -> bool | None:
    """Whether the process with this `mark` still runs; None where that cannot be known from here.

    It cannot for processes of other machines, other containers, an earlier start of this machine, and on Windows.
    """
    found = _MARK.fullmatch(owner)
    if found is None or (found[1], found[2]) != _place() or found[4] == _UNKNOWN_START:
        return None
    pid = int(found[3])
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        pass  # it runs, as another user
    started = _started(pid)
    if started == _UNKNOWN_START:
        return None
    return started == found[4]


@lru_cache(maxsize=1)
def _mark_of(pid: int) -> str:
    return "-".join((*_place(), str(pid), _started(pid) or _UNKNOWN_START))


@lru_cache(maxsize=1)
def _place() -> tuple[str, str]:
    run = [_text("/proc/sys/kernel/random/boot_id")]
    try:
        run.append(os.readlink("/proc/self/ns/pid"))
    except OSError:
        run.append(sys.platform)
    return _digest(socket.gethostname()), _digest(" ".join(run))


def _started(pid: int) -> str | None:
    """What tells when the process started; None if it has ended, `_UNKNOWN_START` where the system does not say."""
    if os.name == "nt":
        return _UNKNOWN_START
    if os.path.exists("/proc/self/stat"):
        # The name of the program, in brackets, may hold anything.
        fields = _text(f"/proc/{pid}/stat").rpartition(")")[2].split()
        if not fields:
            return None if not _exists(pid) else _UNKNOWN_START
        return None if fields[0] in "ZX" else fields[19]
    try:
        told = subprocess.run(["ps", "-o", "lstart=", "-p", str(pid)], capture_output=True, text=True, check=False)
    except OSError:
        return _UNKNOWN_START
    return _digest(told.stdout.strip()) if told.stdout.strip() else None


def _exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _text(path: str) -> str:
    """What a file of the system says, nothing where there is none."""
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()[:8]
