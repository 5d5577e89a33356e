"""Starts workers, and keeps what they and the measures found in one file."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.peers.archives import NotInstalled, install
from benchmarks.peers.table import Peer

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Installed:
    """A peer that can run here: its archives and the folders of its libraries."""

    peer: Peer
    files: tuple[Path, ...]
    libraries: tuple[Path, ...]

    def run(self, *arguments: str, threads: int) -> dict[str, Any]:
        """Run the worker and return what it printed; raises NotInstalled with the end of its errors where it fails."""
        command = [sys.executable, "-m", "benchmarks.peers.worker", self.peer.name, *arguments]
        for file in self.files:
            command += ["--file", str(file)]
        environment = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join(map(str, (*self.libraries, ROOT))),
            "OMP_NUM_THREADS": str(threads),
            # Threads that wait in a loop would take the time of those that work.
            "GOMP_SPINCOUNT": "1000",
        }
        done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
        if done.returncode != 0:
            lines = done.stderr.strip().splitlines() or [f"it ended with {done.returncode} and said nothing"]
            raise NotInstalled(f"{self.peer.name} does not run here: {lines[-1][:300]}")
        return json.loads(done.stdout.strip().splitlines()[-1])


def installed(peer: Peer, *, cache: Path) -> Installed:
    """Return a peer that can run; raises NotInstalled."""
    files, libraries = install(peer, cache=cache)
    return Installed(peer, files, libraries)


def identity(peer: Peer) -> str:
    """Return what tells one version of a peer from another: figures of another version are measured again."""
    if peer.archives or peer.libraries:
        return ", ".join(item.label for item in (*peer.archives, *peer.libraries))
    from mezzotint import __version__, weights

    (digest,) = (weights.sha256(item.path) for item in weights.shipped() if item.name == "mezzotint-x4")
    return f"mezzotint {__version__}, weights {digest[:12]}"


def read(path: Path) -> dict[str, Any]:
    """Return the results of earlier runs, empty where there are none."""
    empty: dict[str, Any] = {"protocol": "y-modern", "scale": 4, "peers": {}, "quality": {}, "speed": {}}
    return {**empty, **(json.loads(path.read_text(encoding="utf-8")) if path.exists() else {})}


def write(results: dict[str, Any], path: Path) -> None:
    """Write the results whole or not at all, infinite figures as "inf", which JSON lacks."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.part")
    part.write_text(json.dumps(_finite(results), indent=1, allow_nan=False) + "\n", encoding="utf-8")
    os.replace(part, path)


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


def number(value: float | str | None) -> float | None:
    """Return a figure of the file as a number."""
    return None if value is None else float(value)


def describe(machine: Sequence[str] = ("model name",)) -> dict[str, Any]:
    """Return what seconds depend on: processor, processors, Python and libraries."""
    import platform
    from importlib import metadata

    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.split("\t")[0] in machine]
    return {
        "processor": names[0] if names else platform.machine(),
        "processors": os.cpu_count(),
        "python": platform.python_version(),
        "torch": metadata.version("torch"),
        "numpy": metadata.version("numpy"),
    }
