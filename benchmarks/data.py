"""How long the report on a folder takes, and how many batches of crops a second come from files.

    python benchmarks/data.py [--pictures 100] [--seconds 5] [-o benchmarks/results/data.json]

Pictures of noise with the spectrum of photographs, PNG and JPEG by turns, in a folder of its own: 0.25, 1 and 2.8
megapixels (the last as in DIV2K). The report is timed in one process and in one a processor, start included, and given
for 1000 pictures. Batches are 16 crops of 32 small pixels at scale 4: from memory, from decoded files, from a cache
that holds a quarter of the pictures and without a cache, made here and by two workers. Run it with nothing else
running.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import tempfile
import time
from pathlib import Path

import numpy as np

SIZES = {"0.25": (500, 500), "1": (1000, 1000), "2.8": (1356, 2040)}


def landscape(seed: int, height: int, width: int) -> np.ndarray:
    """Pixels (h, w, 3) uint8 whose power falls with the square of the frequency."""
    rng = np.random.default_rng(seed)
    frequency = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)[None])
    amplitude = 1 / np.maximum(frequency, 1 / max(height, width))
    planes = []
    for _ in range(3):
        plane = np.fft.irfft2(np.fft.rfft2(rng.standard_normal((height, width))) * amplitude, s=(height, width))
        planes.append(plane / plane.std())
    return np.clip(128 + 35 * np.stack(planes, 2), 0, 255).astype(np.uint8)


def write_pictures(folder: Path, count: int, size: tuple[int, int]) -> None:
    from mezzotint import images

    folder.mkdir(parents=True)
    for k in range(count):
        kind = "png" if k % 2 else "jpg"
        images.write(images.Picture(landscape(k, *size)), folder / f"{k:04d}.{kind}")


def time_report(folder: Path, workers: int) -> float:
    from mezzotint.data.report import report

    began = time.perf_counter()
    found = report(folder, workers=workers)
    return (time.perf_counter() - began) * 1000 / len(found.facts)


def batch_rate(
    folder: Path, *, memory: int | None, workers: int, seconds: float, unpacked: Path | None = None
) -> float:
    """Batches a second over `seconds`, after three that do not count."""
    from mezzotint.data.pairs import PairFile
    from mezzotint.data.stream import Stream

    files = [PairFile(path.name, path) for path in sorted(folder.iterdir())]
    with Stream(files, scale=4, crop=32, memory=memory, workers=workers, unpacked=unpacked) as stream:
        for step in range(3):
            stream.batch(seed=0, step=step, size=16, crop=32)
        began, step = time.perf_counter(), 3
        while time.perf_counter() - began < seconds:
            stream.batch(seed=0, step=step, size=16, crop=32)
            step += 1
        return (step - 3) / (time.perf_counter() - began)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--pictures", type=int, default=100)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("-o", "--output", type=Path)
    asked = parser.parse_args()
    processors = os.cpu_count() or 1
    result: dict[str, object] = {"machine": platform.machine(), "processors": processors, "pictures": asked.pictures}
    with tempfile.TemporaryDirectory() as name:
        for megapixels, size in SIZES.items():
            folder = Path(name) / megapixels
            count = max(8, round(asked.pictures / (1 + 2 * float(megapixels))))
            write_pictures(folder, count, size)
            here, there = time_report(folder, 0), time_report(folder, processors)
            line = {"seconds of 1000, one process": round(here, 1), f"{processors} processes": round(there, 1)}
            whole = count * size[0] * size[1] * 3
            cases: tuple[tuple[str, int | None, Path | None], ...] = (
                ("all in memory", None, None), ("decoded files", None, Path(name) / f"{megapixels}-decoded"),
                ("a quarter in memory", whole // 4, None), ("no cache", 0, None),
            )  # fmt: skip
            for label, memory, where in cases:
                for workers in (0, 2):
                    rate = batch_rate(folder, memory=memory, workers=workers, seconds=asked.seconds, unpacked=where)
                    line[f"batches a second, {label}, {workers} workers"] = round(rate, 1)
            print(megapixels, line, flush=True)
            result[f"{megapixels} MP"] = line
    if asked.output is not None:
        asked.output.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
