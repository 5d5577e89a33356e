"""Time and memory of `mezzotint-x4` from 0.25 to 64 megapixels of output, beside the machine's matrix-product rate.

    python benchmarks/speed.py [--megapixels 0.25,1,4,16,64] [--threads 2] [-o benchmarks/results/speed.json]

Two series: pictures of 4:3, and pictures of one width (4096 pixels) that grow in height alone. Every size runs in a
process of its own, so that its peak memory is its own. Input and result are hidden files, as large pictures have them
in `upscale`; the picture is decoded already and not encoded. Seconds are the median of five runs, of three above 4 and
of one above 16 megapixels. The exponent is the slope of log seconds over log pixels, fitted to all sizes of a series.
Series that a run leaves out (`--series`) stay as they are in the file. Run it with nothing else running.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import platform
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path

SETTINGS = {"realism 0": {"realism": 0.0}, "default": {}}
SERIES = {
    "realism-0": ("realism 0", "area"),
    "realism-0-height": ("realism 0", "height"),
    "default": ("default", "area"),
}
WIDTH = 4096


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


def measure(megapixels: float, setting: str, series: str, threads: int) -> dict[str, float]:
    """Measure one size in this process."""
    import numpy as np
    import torch

    torch.set_num_threads(threads)
    base = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    from mezzotint import images
    from mezzotint.upscaler import load
    from mezzotint.upscaler.samples import Coding

    pixels = megapixels * 1e6
    width = WIDTH // 4 if series == "height" else round((pixels * 4 / 3) ** 0.5 / 4)
    height = round(pixels / 16 / width)
    rng = np.random.default_rng(0)
    picture = images.Spool((height, width, 3), np.uint8)
    for top in range(0, height, 64):
        rows = min(64, height - top)
        cells = rng.integers(0, 255, (rows // 8 + 1, width // 8 + 1, 3))
        picture[top : top + rows] = np.kron(cells, np.ones((8, 8, 1)))[:rows, :width].astype(np.uint8)
    upscaler = load("mezzotint-x4")
    coding = Coding.of(np.dtype(np.uint8), "rgb")
    job = upscaler.prepare(picture, coding, **SETTINGS[setting])
    warm = upscaler.prepare(picture[0 : min(height, 64)][:, :64], coding, **SETTINGS[setting])
    list(upscaler.enlarge(warm, sink=images.Spool))
    seconds = []
    for _ in range(5 if megapixels <= 4 else 3 if megapixels <= 16 else 1):
        began = time.perf_counter()
        list(upscaler.enlarge(job, sink=images.Spool))
        seconds.append(time.perf_counter() - began)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    median, made = statistics.median(seconds), math.prod(job.request.output_size)
    return {
        "megapixels": made / 1e6,
        "width": job.request.output_size[1],
        "height": job.request.output_size[0],
        "seconds": median,
        "microseconds_per_pixel": median / made * 1e6,
        "peak_mib_above_import": (peak - base) / 1024,
        "runs": len(seconds),
        "matrix_gflops": matrix_rate(),
    }


def exponent(rows: list[dict[str, float]]) -> float | None:
    """The slope of log seconds over log pixels, None for fewer than two sizes."""
    points = [(math.log(row["megapixels"]), math.log(row["seconds"])) for row in rows]
    if len(points) < 2:
        return None
    return statistics.linear_regression([x for x, _ in points], [y for _, y in points]).slope


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--megapixels", default="0.25,1,4,16,64")
    parser.add_argument("--default-up-to", type=float, default=16.0, help="megapixels of the default setting")
    parser.add_argument("--series", default=",".join(SERIES), help="of " + ", ".join(SERIES))
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--worker", nargs=3, metavar=("MEGAPIXELS", "SETTING", "SERIES"))
    parser.add_argument("-o", "--output", type=Path, default=Path(__file__).parent / "results" / "speed.json")
    options = parser.parse_args()
    if options.worker:
        size, setting, series = options.worker
        print(json.dumps(measure(float(size), setting, series, options.threads)))
        return
    table: dict[str, dict[str, object]] = {}
    if options.output.exists():
        table = json.loads(options.output.read_text())["series"]
    for name in options.series.split(","):
        setting, series = SERIES[name]
        rows: list[dict[str, float]] = []
        for size in options.megapixels.split(","):
            if setting == "default" and float(size) > options.default_up_to:
                continue
            command = [sys.executable, __file__, "--threads", str(options.threads), "--worker", size, setting, series]
            environment = {**os.environ, "OMP_NUM_THREADS": str(options.threads), "GOMP_SPINCOUNT": "1000"}
            done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, env=environment)
            row = json.loads(done.stdout)
            rows.append(row)
            print(
                f"{setting:9s} {series:6s} {row['width']:6d} x {row['height']:6d} {row['megapixels']:6.2f} MP"
                f" {row['seconds']:8.2f} s {row['microseconds_per_pixel']:6.2f} us/px"
                f" {row['peak_mib_above_import']:6.0f} MiB  matrix product {row['matrix_gflops']:.0f} GFLOP/s",
                flush=True,
            )
        table[name] = {"exponent": exponent(rows), "rows": rows}
        print(f"{setting:9s} {series:6s} exponent {exponent(rows)}")
    options.output.parent.mkdir(parents=True, exist_ok=True)
    result = {"threads": options.threads, "processor": platform.machine(), "series": table}
    options.output.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
