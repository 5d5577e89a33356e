"""Time and memory of `mezzotint-x4` from 0.25 to 64 megapixels of output, beside the machine's matrix-product rate.

    python -m benchmarks.speed [--megapixels 0.25,1,4,16,64] [--threads 2] [-o benchmarks/results/speed.json]
    python -m benchmarks.speed --series engines [--engines eager,compile,openvino] [--engine-megapixels 1]

Two series of sizes: pictures of 4:3, and pictures of one width (4096 pixels) that grow in height alone. Every size runs
in a process of its own, so that its peak memory is its own. Input and result are hidden files, as large pictures have
them in `upscale`; the picture is decoded already and not encoded. Seconds are the median of five runs, of three above 4
and of one above 16 megapixels. The exponent is the slope of log seconds over log pixels, fitted to all sizes of a
series; the unevenness is the largest time a pixel over the smallest.

The series `engines` runs the engines (docs/engines.md) in turns in one process, five times: seconds for a megapixel
of output, as a ratio to eager in the same turn, and times the rate of the matrix product beside it, which is what
processors have in common. It also times the networks alone, on a tile with its surroundings: the share of the rate of
the matrix product that their floating-point operations reach, with and without those of the surroundings, which the
next tile needs again. `--clock processor` counts the seconds of the processor that this process had instead of those
that passed: with one thread these are the same on an idle machine, and other work beside it changes them less.

Series that a run leaves out (`--series`) stay as they are in the file, and docs/speed.md is written from all of them
where the file is in its usual place. Run it with nothing else running.
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
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

SETTINGS = {"realism 0": {"realism": 0.0}, "default": {}}
SERIES = {
    "realism-0": ("realism 0", "area"),
    "realism-0-height": ("realism 0", "height"),
    "default": ("default", "area"),
}
TITLES = {
    "realism-0": "Realism 0, pictures of 4:3",
    "realism-0-height": "Realism 0, one width",
    "default": "Default, pictures of 4:3",
}
WIDTH = 4096
RESULTS = Path(__file__).parent / "results" / "speed.json"
PAGE = Path(__file__).parents[1] / "docs" / "speed.md"


CLOCKS = {"wall": time.perf_counter, "processor": time.process_time}


def matrix_rate(*, clock: str = "wall") -> float:
    """Float32 matrix product in GFLOP/s, the best of 10 products of 1024 x 1024."""
    import torch

    a = torch.randn(1024, 1024)
    best, now = float("inf"), CLOCKS[clock]
    for _ in range(10):
        began = now()
        torch.matmul(a, a)
        best = min(best, now() - began)
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


def _turns(
    runs: dict[str, Callable[[], object]], *, repeats: int, rates: list[float], clock: str = "wall"
) -> dict[str, list[float]]:
    """Seconds of every function, in turns; the rate of the matrix product goes to `rates` once a turn."""
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(repeats):
        rates.append(matrix_rate(clock=clock))
        for name, run in runs.items():
            began = CLOCKS[clock]()
            run()
            seconds[name].append(CLOCKS[clock]() - began)
    return seconds


def _against(seconds: dict[str, list[float]], name: str) -> float:
    """The median over the turns of the time of one engine over that of the first, which is eager."""
    first = next(iter(seconds.values()))
    return statistics.median(one / other for one, other in zip(seconds[name], first, strict=True))


def measure_engines(
    names: list[str], megapixels: float, threads: int, *, repeats: int = 5, clock: str = "wall"
) -> dict[str, Any]:
    """Measure engines side by side in this process; the first is eager."""
    import numpy as np
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    from mezzotint import methods
    from mezzotint.errors import UsageError
    from mezzotint.networks import engines
    from mezzotint.upscaler import load
    from mezzotint.upscaler.enlargers import AUTO_TILE

    torch.set_num_threads(threads)
    missing, upscalers, starts = {}, {}, {}
    width = round((megapixels * 1e6 * 4 / 3) ** 0.5 / 4)
    height = round(megapixels * 1e6 / 16 / width)
    picture = np.random.default_rng(0).integers(0, 255, (height, width, 3)).astype(np.uint8)
    for name in names:
        try:
            upscaler = load("mezzotint-x4", device="cpu", engine=name)
        except UsageError as error:
            missing[name] = str(error)
            continue
        began = time.perf_counter()
        upscaler(picture[:48, :64])
        upscalers[name], starts[name] = upscaler, time.perf_counter() - began
        upscaler(picture, realism=0.0)
    rates: list[float] = []
    table: dict[str, dict[str, object]] = {name: {"first_seconds": starts[name]} for name in upscalers}
    made = height * width * 16 / 1e6
    for setting, values in SETTINGS.items():
        runs = {name: partial(upscaler, picture, **values) for name, upscaler in upscalers.items()}
        own: list[float] = []
        seconds = _turns(runs, repeats=repeats, rates=own, clock=clock)
        rates += own
        for name in upscalers:
            each = statistics.median(seconds[name]) / made
            table[name][setting] = {
                "seconds_per_megapixel": each,
                "ratio_to_eager": _against(seconds, name),
                "matrix_gflop_per_megapixel": each * statistics.median(own),
            }
    for part in ("predictor", "refiner"):
        networks = {}
        for name in upscalers:
            method = methods.load("mezzotint-x4").requires_grad_(False)
            engines.use(name, method.networks)
            networks[name] = method
        first = networks["eager"]
        # The predictor's features are told with a pixel more of their surroundings.
        reach = first.refiner.reach if part == "refiner" else first.predictor.reach + 1
        side = AUTO_TILE + 2 * reach
        channels = (first.domain.channels, first.config["refiner_channels"]) if part == "refiner" else (3,)
        tensors = [torch.randn(1, c, side, side).contiguous(memory_format=torch.channels_last) for c in channels]
        tensors += [torch.zeros(1)] if part == "refiner" else []
        with torch.no_grad():
            with FlopCounterMode(display=False) as counter:
                getattr(first, part)(*tensors)
            runs = {name: partial(getattr(method, part), *tensors) for name, method in networks.items()}
            _turns(runs, repeats=1, rates=[])
            own = []
            seconds = _turns(runs, repeats=repeats, rates=own, clock=clock)
        rates += own
        for name in upscalers:
            reached = counter.get_total_flops() / 1e9 / statistics.median(seconds[name])
            share = reached / statistics.median(own)
            table[name][part] = {
                "milliseconds": 1e3 * statistics.median(seconds[name]),
                "ratio_to_eager": _against(seconds, name),
                "share_of_matrix_rate": share,
                "share_without_surroundings": share * (AUTO_TILE / side) ** 2,
            }
    return {
        "threads": torch.get_num_threads(),
        "megapixels": made,
        "runs": repeats,
        "clock": clock,
        "tile": AUTO_TILE,
        "matrix_gflops": statistics.median(rates),
        "engines": table,
        "missing": missing,
    }


def page(result: dict[str, Any]) -> str:
    """The text of docs/speed.md from a file of results."""
    lines = [
        "# Speed",
        "",
        "Written by `python -m benchmarks.speed` from benchmarks/results/speed.json; what is measured, and how, stands",
        "at the top of that program.",
    ]
    for name, title in TITLES.items():
        series = result["series"].get(name)
        if series is None:
            continue
        each = [row["microseconds_per_pixel"] for row in series["rows"]]
        lines += [
            "",
            f"## {title}",
            "",
            "| output | megapixels | seconds | microseconds a pixel | peak MiB above the import of torch |",
            "|---|--:|--:|--:|--:|",
        ]
        lines += [
            f"| {row['width']}x{row['height']} | {row['megapixels']:.2f} | {row['seconds']:.2f} |"
            f" {row['microseconds_per_pixel']:.2f} | {row['peak_mib_above_import']:.0f} |"
            for row in series["rows"]
        ]
        if series["exponent"] is not None:
            lines += ["", f"Seconds grow with the pixels to the power of {series['exponent']:.2f}; the largest time a "
                      f"pixel is {max(each) / min(each):.2f} times the smallest."]  # fmt: skip
    found = result.get("engines")
    if found is not None:
        lines += [
            "",
            f"## Engines, {found['megapixels']:.2f} megapixels of output",
            "",
            "| engine | setting | seconds a megapixel | ratio to eager | matrix product GFLOP in the same time |",
            "|---|---|--:|--:|--:|",
        ]
        for engine, row in found["engines"].items():
            lines += [
                f"| {engine} | {setting} | {row[setting]['seconds_per_megapixel']:.2f} |"
                f" {row[setting]['ratio_to_eager']:.2f} | {row[setting]['matrix_gflop_per_megapixel']:.0f} |"
                for setting in SETTINGS
            ]
        lines += [
            "",
            f"The networks alone, on a tile of {found['tile']} pixels a side with its surroundings:",
            "",
            "| engine | network | ratio to eager | share of the matrix product's rate | without the surroundings |",
            "|---|---|--:|--:|--:|",
        ]
        for engine, row in found["engines"].items():
            lines += [
                f"| {engine} | {part} | {row[part]['ratio_to_eager']:.2f} | {row[part]['share_of_matrix_rate']:.2f} |"
                f" {row[part]['share_without_surroundings']:.2f} |"
                for part in ("predictor", "refiner")
            ]
        starts = ", ".join(f"{name} {row['first_seconds']:.1f} s" for name, row in found["engines"].items())
        lines += ["", f"The first picture, compilation included: {starts}. {found['runs']} turns, {found['threads']} "
                  f"threads, the matrix product at {found['matrix_gflops']:.0f} GFLOP/s."]  # fmt: skip
        lines += [f"Not measured: {name}, {reason}." for name, reason in found["missing"].items()]
    return "\n".join(lines) + "\n"


def summary(result: dict[str, Any]) -> list[str]:
    """The table of the README: pictures of 4:3."""
    lines = ["| setting | output | megapixels | seconds | peak MiB above the import of torch |"]
    lines.append("|---|---|--:|--:|--:|")
    for name in ("realism-0", "default"):
        lines += [
            f"| {SERIES[name][0]} | {row['width']}x{row['height']} | {row['megapixels']:.2f} | {row['seconds']:.2f} |"
            f" {row['peak_mib_above_import']:.0f} |"
            for row in result["series"][name]["rows"]
        ]
    rates = [row["matrix_gflops"] for name in ("realism-0", "default") for row in result["series"][name]["rows"]]
    return [*lines, "", f"The matrix product ran at {min(rates):.0f} to {max(rates):.0f} GFLOP/s beside them."]


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
    parser.add_argument("--series", default=",".join([*SERIES, "engines"]), help="of engines, " + ", ".join(SERIES))
    parser.add_argument("--engines", default="eager,compile,openvino", help="of the series engines, eager first")
    parser.add_argument("--engine-megapixels", type=float, default=1.0, help="of the series engines")
    parser.add_argument("--clock", choices=list(CLOCKS), default="wall", help="of the series engines")
    parser.add_argument("--repeat", type=int, default=5, help="turns of the series engines")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--worker", nargs=3, metavar=("MEGAPIXELS", "SETTING", "SERIES"))
    parser.add_argument("-o", "--output", type=Path, default=RESULTS)
    options = parser.parse_args()
    if options.worker:
        size, setting, series = options.worker
        if series == "engines":
            names = list(dict.fromkeys(["eager", *options.engines.split(",")]))
            found = measure_engines(names, float(size), options.threads, repeats=options.repeat, clock=options.clock)
        else:
            found = measure(float(size), setting, series, options.threads)
        print(json.dumps(found))
        return
    result: dict[str, Any] = json.loads(options.output.read_text()) if options.output.exists() else {}
    table: dict[str, Any] = result.get("series", {})
    for name in options.series.split(","):
        if name == "engines":
            result["engines"] = _worker(options, str(options.engine_megapixels), "", "engines")
            print(json.dumps(result["engines"], indent=1))
            continue
        setting, series = SERIES[name]
        rows: list[dict[str, float]] = []
        for size in options.megapixels.split(","):
            if setting == "default" and float(size) > options.default_up_to:
                continue
            row = _worker(options, size, setting, series)
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
    result |= {"threads": options.threads, "processor": platform.machine(), "series": table}
    options.output.write_text(json.dumps(result, indent=1) + "\n")
    if options.output.resolve() == RESULTS.resolve():
        # Workers run this file by its path, where the other benchmarks are not to be found.
        from benchmarks import marked

        PAGE.write_text(page(result))
        marked.write(PAGE.parents[1] / "README.md", "benchmarks/speed.py", summary(result))


def _worker(options: argparse.Namespace, size: str, setting: str, series: str) -> Any:
    """What one process measures."""
    command = [
        sys.executable, __file__, "--threads", str(options.threads), "--engines", options.engines, "--repeat",
        str(options.repeat), "--clock", options.clock, "--worker", size, setting, series,
    ]  # fmt: skip
    environment = {**os.environ, "OMP_NUM_THREADS": str(options.threads), "GOMP_SPINCOUNT": "1000"}
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, env=environment)
    return json.loads(done.stdout)


if __name__ == "__main__":
    main()
