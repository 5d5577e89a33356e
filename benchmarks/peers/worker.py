"""One peer in a process of its own: pictures of a folder, or its time and memory at one size.

    python -m benchmarks.peers.worker PEER pictures IN OUT [--file ARCHIVE ...]
    python -m benchmarks.peers.worker PEER speed WIDTHxHEIGHT RUNS [--file ARCHIVE ...]

Pictures are numpy files, so that no peer carries a reader of pictures in its memory. Only what the peer needs is
imported. The number of threads is OMP_NUM_THREADS. Prints one line of JSON.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from benchmarks.peers.table import PEERS, Peer

THREADS = int(os.environ.get("OMP_NUM_THREADS", "1"))


def peak_bytes() -> int:
    """Return the largest resident memory of this process so far.

    From VmHWM, not from getrusage: its maximum is handed down from the process that started this one.
    """
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    raise RuntimeError("/proc/self/status has no VmHWM: peak memory is measured on Linux only")


def load(peer: Peer, files: list[Path]) -> tuple[Callable[[np.ndarray], np.ndarray], int]:
    """Return what enlarges a picture, and the bytes of its weights."""
    if peer.runs == "PyTorch":
        import torch

        torch.set_num_threads(THREADS)
    module, function = peer.runner.split(":")
    return getattr(importlib.import_module(module), function)(peer.settings, files)


def checked(enlarge: Callable[[np.ndarray], np.ndarray], x: np.ndarray) -> np.ndarray:
    """Return the enlargement of uint8 (h, w, 3), refused unless it is uint8 (4h, 4w, 3)."""
    result = enlarge(x)
    wanted = (4 * x.shape[0], 4 * x.shape[1], 3)
    if result.shape != wanted or result.dtype != np.uint8:
        raise RuntimeError(f"the result is {result.dtype} {result.shape}, expected uint8 {wanted}")
    return result


def pictures(enlarge: Callable[[np.ndarray], np.ndarray], source: Path, target: Path) -> int:
    """Enlarge every .npy of a folder that has no result yet; return how many there were."""
    target.mkdir(parents=True, exist_ok=True)
    count = 0
    for file in sorted(source.glob("*.npy")):
        if not (target / file.name).exists():
            part = target / f".{file.name}"
            with part.open("wb") as opened:
                np.save(opened, checked(enlarge, np.load(file)))
            os.replace(part, target / file.name)
            count += 1
    return count


def speed(enlarge: Callable[[np.ndarray], np.ndarray], width: int, height: int, runs: int) -> dict[str, float]:
    """Return the median of the seconds of `runs` enlargements after one that does not count, and the peak memory."""
    cells = np.random.default_rng(0).integers(0, 255, (height // 8 + 1, width // 8 + 1, 3), dtype=np.uint8)
    x = np.ascontiguousarray(np.kron(cells, np.ones((8, 8, 1), np.uint8))[:height, :width])
    checked(enlarge, x)
    seconds = []
    for _ in range(runs):
        began = time.perf_counter()
        enlarge(x)
        seconds.append(time.perf_counter() - began)
    return {
        "width": 4 * width,
        "height": 4 * height,
        "seconds": statistics.median(seconds),
        "fastest": min(seconds),
        "slowest": max(seconds),
        "runs": runs,
        "peak_mib": peak_bytes() / 2**20,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("peer", choices=list(PEERS))
    parser.add_argument("task", choices=("pictures", "speed"))
    parser.add_argument("first", help="the folder of the small pictures, or WIDTHxHEIGHT of the small picture")
    parser.add_argument("second", help="the folder of the results, or the number of runs")
    parser.add_argument("--file", action="append", default=[], type=Path, help="an archive of the peer, in its order")
    options = parser.parse_args()
    enlarge, stored = load(PEERS[options.peer], options.file)
    result: dict[str, float] = {"weights_bytes": stored}
    if options.task == "pictures":
        result["pictures"] = pictures(enlarge, Path(options.first), Path(options.second))
    else:
        width, height = map(int, options.first.split("x"))
        result.update(speed(enlarge, width, height, int(options.second)))
    print(json.dumps(result))


if __name__ == "__main__":
    sys.exit(main())
