"""Time and memory of `mezzotint-x4` from 0.25 to 16 megapixels of output, beside the machine's matrix-product rate.

    python benchmarks/speed.py [--megapixels 0.25,1,4,16] [--repeat 5] [--threads 2] [-o benchmarks/results/speed.json]

Every size runs in a process of its own, so that its peak memory is its own. Seconds are the median of the repeats (of
one repeat above 4 megapixels), the picture is decoded already and not encoded. Run it with nothing else running.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path

SETTINGS = {"predictor": {"realism": 0.0}, "default": {}}


def matrix_rate() -> float:
    """Float32 matrix product in GFLOP/s, the best of 10 products of 1024 x 1024."""
    import torch

    a = torch.randn(1024, 1024)
    best = float("inf")
    for _ in range(10):
        began = time.perf_counter()
        a @ a
        best = min(best, time.perf_counter() - began)
    return 2 * 1024**3 / best / 1e9


def measure(megapixels: float, setting: str, repeat: int, threads: int) -> dict[str, float]:
    """Measure one size in this process."""
    import numpy as np
    import torch

    torch.set_num_threads(threads)
    base = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    from mezzotint.upscaler import load

    height = round((megapixels * 1e6 * 3 / 4) ** 0.5 / 4)
    width = round(height * 4 / 3)
    rng = np.random.default_rng(0)
    picture = np.kron(rng.integers(0, 255, (height // 8 + 1, width // 8 + 1, 3)), np.ones((8, 8, 1)))
    picture = picture[:height, :width].astype(np.uint8)
    upscaler = load("mezzotint-x4")
    warm = picture[:64, :64]
    upscaler(warm, **SETTINGS[setting])
    seconds = []
    for _ in range(repeat if megapixels <= 4 else 1):
        began = time.perf_counter()
        result = upscaler(picture, **SETTINGS[setting])
        seconds.append(time.perf_counter() - began)
    pixels = result.image.shape[0] * result.image.shape[1]
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    median = statistics.median(seconds)
    return {
        "megapixels": pixels / 1e6,
        "seconds": median,
        "microseconds_per_pixel": median / pixels * 1e6,
        "peak_mib_above_import": (peak - base) / 1024,
        "matrix_gflops": matrix_rate(),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--megapixels", default="0.25,1,4,16")
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--worker", nargs=2, metavar=("MEGAPIXELS", "SETTING"))
    parser.add_argument("-o", "--output", type=Path, default=Path(__file__).parent / "results" / "speed.json")
    options = parser.parse_args()
    if options.worker:
        print(json.dumps(measure(float(options.worker[0]), options.worker[1], options.repeat, options.threads)))
        return
    table: dict[str, list[dict[str, float]]] = {}
    for setting in SETTINGS:
        for size in options.megapixels.split(","):
            command = [sys.executable, __file__, "--repeat", str(options.repeat), "--threads", str(options.threads)]
            environment = {**os.environ, "OMP_NUM_THREADS": str(options.threads)}
            done = subprocess.run(
                [*command, "--worker", size, setting], capture_output=True, text=True, check=True, env=environment
            )
            row = json.loads(done.stdout)
            table.setdefault(setting, []).append(row)
            print(
                f"{setting:10s} {row['megapixels']:6.2f} MP {row['seconds']:8.2f} s"
                f" {row['microseconds_per_pixel']:6.2f} us/px"
                f" {row['peak_mib_above_import']:7.0f} MiB  matrix product {row['matrix_gflops']:.0f} GFLOP/s",
                flush=True,
            )
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.write_text(json.dumps({"threads": options.threads, "settings": table}, indent=1) + "\n")


if __name__ == "__main__":
    main()
