"""The environment in which both sides run: deepinv with torchvision, pinned, in a folder of the cache.

Mezzotint itself is not installed there: the worker takes it from the checkout, so that what is measured is what is
there. torchvision must be of the same build as torch, which is why torch is in it too.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import venv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.peers.archives import NotInstalled
from benchmarks.peers.running import ROOT

REQUIREMENTS = Path(__file__).with_name("requirements.txt")
GIGABYTES = 12
"""Room that pip may need: the CUDA build of torch is unpacked into 5.6 GB, beside its archives."""
SECONDS = 3600


def python_of(cache: Path, *, options: Sequence[str] = ()) -> Path:
    """Return the interpreter of the environment, which is made in `cache` where it is not there yet.

    options: further ones of `pip install`, for example an index of torch's CPU builds. Raises NotInstalled where there
    is too little room or pip fails.
    """
    digest = hashlib.sha256(REQUIREMENTS.read_bytes()).hexdigest()[:12]
    folder = cache / f"zero-shot-{digest}-{sys.implementation.cache_tag}"
    python, done = folder / "bin" / "python", folder / "installed"
    if done.exists():
        return python
    cache.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(cache).free / 1e9
    if free < GIGABYTES:
        raise NotInstalled(
            f"{cache} has {free:.1f} GB left, the environment of deepinv may need {GIGABYTES}: make room, or name "
            "another folder by --cache"
        )
    print(f"making {folder}: torch, torchvision and deepinv, up to 6 GB", file=sys.stderr, flush=True)
    venv.create(folder, clear=True, with_pip=True)
    command = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-r", str(REQUIREMENTS)]
    try:
        made = subprocess.run(
            [*command, *options], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=SECONDS,
            check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        raise NotInstalled(f"the environment of deepinv was not there after {SECONDS} seconds") from None
    if made.returncode != 0:
        lines = [line.strip() for line in made.stdout.splitlines() if "ERROR" in line] or ["no reason given"]
        raise NotInstalled(f"the environment of deepinv: {' '.join(lines[:2])[:300]}")
    done.write_text("")
    return python


def run_worker(python: Path, arguments: Sequence[str], *, threads: int) -> subprocess.Popen[str]:
    """Start the worker in the environment; its lines of JSON are read from `stdout`."""
    environment: dict[str, Any] = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join((str(ROOT / "src"), str(ROOT))),
        "OMP_NUM_THREADS": str(threads),
        # Threads that wait in a loop would take the time of those that work.
        "GOMP_SPINCOUNT": "1000",
    }
    environment.pop("PYTHONHOME", None)
    return subprocess.Popen(
        [str(python), "-m", "benchmarks.zero_shot_peers.worker", *arguments],
        stdout=subprocess.PIPE, text=True, env=environment, cwd=ROOT,
    )  # fmt: skip
