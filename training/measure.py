"""Choose how far every picture of a list is shrunk, build it, and write the measured columns of the list.

    python training/measure.py training-large -o pictures-large
    python training/measure.py --table pictures pictures-large

The first form reads what a person wrote down (source, licence, author, origin, evidence, note) and finds the rest, by
the rule of training/README.md: a picture is shrunk by the least factor that leaves no pixel without detail. Rows that
no factor makes sharp are left out and named. The second form writes the table of training/README.md from two folders.
"""

from __future__ import annotations

import argparse
import csv
import dataclasses
import hashlib
import multiprocessing
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from statistics import median

import numpy as np
from PIL import Image

from mezzotint import images
from mezzotint.data import pictures
from mezzotint.data.jpeg_history import earlier_quality, read_header, trace
from mezzotint.data.packages import default_cache, obtain, read_files
from mezzotint.data.resolution import luma, octave_fall, true_resolution

README = Path(__file__).with_name("README.md")
BEGIN, END = "<!-- table of training/measure.py -->", "<!-- end of the table -->"

FACTORS = (1.0, 1.25, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0, 6.0)
FALL = 8.5
"""Decibels by which the power of a sharp picture falls at most in its last octave: 95 of BSD100's 100 fall by less."""
LONGEST = 2600
SHORTEST = 256


def least_factor(data: bytes, pixels: np.ndarray) -> float:
    """Return the factor below which the coding of the file as shipped would show in the training pictures.

    4:2:0 and 4:2:2 keep colour at half the resolution, and coarse steps leave blocks.
    """
    with tempfile.NamedTemporaryFile() as file:
        file.write(data)
        file.flush()
        header = read_header(Path(file.name))
    levels = luma(pixels)
    if header is None:
        if data[:4] == b"RIFF" and b"VP8L" not in data:
            return 1.5
        past = trace(levels)
        return 1.0 if past is None or past.quality >= 90 else 1.5
    quality = header.quality
    if quality >= 80:
        quality = min(quality, earlier_quality(levels[:1024, :1024], header.table) or 100)
    if quality >= 90 and header.chroma == "4:4:4":
        return 1.0
    return 1.25 if quality >= 85 else 1.5 if quality >= 80 else 2.0


def is_sharp(pixels: np.ndarray) -> bool:
    levels = luma(pixels)
    found = true_resolution(levels)
    return found is not None and found.factor == 1 and octave_fall(levels) <= FALL


def choose(data: bytes, pixels: np.ndarray) -> tuple[float, np.ndarray] | None:
    """Return the least factor that makes a picture sharp, and its pixels; None where it would become too small."""
    least = least_factor(data, pixels)
    for factor in FACTORS:
        height, width = (int(side / factor) for side in pixels.shape[:2])
        if factor < least or max(height, width) > LONGEST:
            continue
        if min(height, width) < SHORTEST:
            return None
        # The bytes of `mezzotint.data.shrink`, many times as fast; fetching the set compares every pixel with it.
        box = (0, 0, width * factor, height * factor)
        whole = Image.fromarray(pixels)
        small = np.asarray(whole.resize((width, height), Image.Resampling.BICUBIC, box=box) if factor > 1 else whole)
        if is_sharp(small):
            return factor, small
    return None


def measured(job: tuple[pictures.Row, bytes, Path]) -> tuple[pictures.Row | None, str]:
    """Return a row with its measured columns, and what to say of it; None for a picture that is sharp at no size."""
    row, data, output = job
    pixels = pictures.decoded(data, row.source_file)
    chosen = choose(data, pixels)
    if chosen is None:
        return None, f"{row.file}: left out, it is sharp at no size"
    factor, small = chosen
    file = pictures.stored(small, name=row.file)
    (output / row.file).write_bytes(file)
    whole = dataclasses.replace(
        row,
        source_sha256=hashlib.sha256(data).hexdigest(),
        shrink=factor,
        height=small.shape[0],
        width=small.shape[1],
        pixels_sha256=pictures.pixels_sha256(pictures.decoded(file, row.file)),
        stored_sha256=hashlib.sha256(file).hexdigest(),
    )
    return whole, f"{row.file}: {pixels.shape[1]}x{pixels.shape[0]} / {factor:g}"


def jobs(name: str, *, output: Path, cache: Path) -> Iterator[tuple[pictures.Row, bytes, Path]]:
    listed, packages = pictures.list_files(name)
    rows = pictures.read_pictures(listed)
    for package in pictures.read_packages(packages):
        group = [row for row in rows if (row.source, row.version) == (package.source, package.version)]
        sources = read_files(obtain(package, cache=cache), [row.source_file for row in group])
        yield from ((row, sources[row.source_file], output) for row in group)


def measure(name: str, *, output: Path, cache: Path, workers: int) -> None:
    output.mkdir(parents=True, exist_ok=True)
    rows = []
    with ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn")) as pool:
        for row, message in pool.map(measured, jobs(name, output=output, cache=cache)):
            print(message, flush=True)
            if row is not None:
                rows.append(row)
    rows.sort(key=lambda row: row.file)
    for path in (pictures.list_files(name)[0], output / "pictures.csv"):
        pictures.write_list(path, rows)


def detailed(levels: np.ndarray) -> float:
    """Return the megapixels of luma (h, w) that lie in squares of 64 pixels with detail that a four times smaller
    picture cannot hold: squares whose levels deviate by more than 4 from the means of their 4x4 cells.
    """
    rows, columns = (side // 64 for side in levels.shape)
    cells = levels[: rows * 64, : columns * 64].reshape(rows, 16, 4, columns, 16, 4)
    deviation = np.sqrt(cells.var(axis=(2, 5)).mean(axis=(1, 3)))
    return float((deviation > 4).sum()) * 64**2 / 1e6


def facts(folder: Path) -> dict[str, str]:
    """Return the cells of the table for one folder of training pictures, measured from its pixels."""
    with (folder / "pictures.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    sizes, factors, falls, details = [], [], [], []
    for row in rows:
        levels = luma(images.read_plain(folder / row["file"]).pixels)
        found = true_resolution(levels)
        sizes.append(levels.size / 1e6)
        factors.append(1.0 if found is None else found.factor)
        falls.append(octave_fall(levels))
        details.append(detailed(levels))
    held = [size / factor**2 for size, factor in zip(sizes, factors, strict=True)]
    sharp = sum(size for size, factor, fall in zip(sizes, factors, falls, strict=True) if factor == 1 and fall <= FALL)
    sources = {row["source"] for row in rows}
    size = sum((folder / row["file"]).stat().st_size for row in rows)
    return {
        "pictures": str(len(rows)),
        "packages": str(len(sources)),
        "megapixels": f"{sum(sizes):.1f}",
        "of pictures that are sharp at pixel level": f"{sharp:.1f}",
        "in squares with detail that x4 has to restore": f"{sum(details):.1f}",
        "median picture, megapixels": f"{median(sizes):.2f}",
        "median true resolution, megapixels": f"{median(held):.2f}",
        "pictures with less detail than pixels": str(sum(factor > 1 for factor in factors)),
        "median fall in the last octave, dB": f"{median(falls):.1f}",
        "as files, MB": f"{size / 1e6:.0f}",
        **{licence: str(count) for licence, count in sorted(Counter(row["licence"] for row in rows).items())},
    }


def table(folders: Iterable[Path]) -> str:
    columns = [facts(folder) for folder in folders]
    names = dict.fromkeys(name for column in columns for name in column)
    lines = [f"| | {' | '.join(f'`{name}`' for name in pictures.LISTS)} |", "|---|" + "---|" * len(columns)]
    lines += [f"| {name} | {' | '.join(column.get(name, '0') for column in columns)} |" for name in names]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("name", nargs="?", help="the list to measure")
    parser.add_argument("-o", "--output", type=Path, help="the folder to build")
    parser.add_argument("--cache", type=Path, default=default_cache(), help="where fetched packages are kept")
    parser.add_argument("--workers", type=int, default=2, help="processes")
    parser.add_argument("--table", nargs=2, type=Path, metavar="FOLDER", help="folders of training and training-large")
    options = parser.parse_args()
    if options.name:
        measure(options.name, output=options.output, cache=options.cache, workers=options.workers)
    if options.table:
        text = README.read_text(encoding="utf-8")
        before, after = text.partition(BEGIN)[0], text.partition(END)[2]
        README.write_text(f"{before}{BEGIN}\n{table(options.table)}\n{END}{after}", encoding="utf-8")


if __name__ == "__main__":
    main()
