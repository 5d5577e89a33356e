"""Seconds and peak memory of the peers, each size in a process of its own, beside the rate of the matrix product."""

from __future__ import annotations

import datetime
import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.peers.archives import NotInstalled
from benchmarks.peers.running import Installed, describe, identity, write

SIZES = ("128x128", "256x192")
"""Small pictures, width x height: results of 0.26 and 0.79 megapixels."""
RUNS = 5

_PRODUCT = """
import json, sys, time, torch
torch.set_num_threads(int(sys.argv[1]))
a = torch.randn(1024, 1024)
best = float("inf")
for _ in range(20):
    began = time.perf_counter()
    a @ a
    best = min(best, time.perf_counter() - began)
print(json.dumps(2 * 1024**3 / best / 1e9))
"""


def matrix_rate(threads: int) -> float:
    """Return the float32 matrix product in GFLOP/s, the best of 20 products of 1024 x 1024, in a process of its own."""
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads)}
    done = subprocess.run(
        [sys.executable, "-c", _PRODUCT, str(threads)], stdout=subprocess.PIPE, text=True, check=True, env=environment
    )
    return json.loads(done.stdout)


class OtherWork:
    """Measures, from entry to exit, how many processors were busy with other work than this process and its children.

    The load average would count the peer before this one.
    """

    processors = 0.0

    def __enter__(self) -> OtherWork:
        self._began = time.perf_counter(), _busy_seconds() - _own_seconds()
        return self

    def __exit__(self, *error: object) -> None:
        began, busy = self._began
        self.processors = max(0.0, (_busy_seconds() - _own_seconds() - busy) / (time.perf_counter() - began))


def _busy_seconds() -> float:
    """Return the seconds that all processors have worked, time that the host took away included."""
    fields = Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]
    user, nice, system, _, _, interrupts, soft, stolen = map(int, fields)
    return (user + nice + system + interrupts + soft + stolen) / os.sysconf("SC_CLK_TCK")


def _own_seconds() -> float:
    spent = os.times()
    return spent.user + spent.system + spent.children_user + spent.children_system


def measure_speed(
    peers: Sequence[Installed],
    results: dict[str, Any],
    *,
    output: Path,
    sizes: Sequence[str] = SIZES,
    runs: int = RUNS,
    threads: int = 2,
    again: bool = False,
) -> None:
    """Fill `results["speed"]` and write it after every size.

    What is there is kept for the same machine, threads, number of runs and version of the peer. The rate of the matrix
    product is measured before every peer: a machine whose speed changes shows in it.
    """
    machine = {**describe(), "threads": threads}
    speed = results["speed"]
    if speed.get("machine") != machine:
        speed.clear()
        speed.update(machine=machine, peers={})
    for item in peers:
        name = item.peer.name
        row = speed["peers"].get(name, {})
        if again or row.get("identity") != identity(item.peer) or row.get("runs") != runs:
            row = {"identity": identity(item.peer), "runs": runs, "sizes": {}}
        lacking = [size for size in sizes if size not in row["sizes"]]
        if not lacking:
            continue
        rate = matrix_rate(threads)
        for size in lacking:
            try:
                with OtherWork() as other:
                    told = item.run("speed", size, str(runs), threads=threads)
            except NotInstalled as error:
                results["peers"].setdefault(name, {})["missing"] = str(error)
                break
            results["peers"].setdefault(name, {})["weights_bytes"] = told.pop("weights_bytes")
            now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
            megapixels = told["width"] * told["height"] / 1e6
            row["sizes"][size] = {
                **told,
                "seconds_per_megapixel": told["seconds"] / megapixels,
                "matrix_gflops": rate,
                "other_work": other.processors,
                "measured": now,
            }
            speed["peers"][name] = row
            write(results, output)
            print(
                f"{name:24s} {told['width']}x{told['height']} {told['seconds'] / megapixels:8.2f} s a megapixel"
                f" {told['peak_mib']:6.0f} MiB  matrix product {rate:.0f} GFLOP/s",
                flush=True,
            )
