"""Folders of test pictures: what is in them, in a fixed order, and whether they are a whole benchmark set."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from mezzotint.errors import InputError, UsageError
from mezzotint.images import WRITABLE

_PARTS = re.compile(r"(\d+)")
_ENDING = re.compile(r"[_-](hr|gt|orig|original)\Z", re.IGNORECASE)


@dataclass(frozen=True)
class Benchmark:
    """A test set of the field: `sizes` maps the name of each picture, without extension, to (height, width)."""

    name: str
    sizes: dict[str, tuple[int, int]]
    licence: str
    summary: str

    @property
    def megapixels(self) -> float:
        return sum(height * width for height, width in self.sizes.values()) / 1e6


@dataclass(frozen=True)
class Differences:
    """How a folder differs from a benchmark: names it lacks, files it has besides, (file, found, official size)."""

    missing: tuple[str, ...]
    extra: tuple[Path, ...]
    other_size: tuple[tuple[Path, tuple[int, int], tuple[int, int]], ...]

    @property
    def is_none(self) -> bool:
        return not (self.missing or self.extra or self.other_size)

    def report(self) -> str:
        """Return one line that names up to three pictures of each kind, or an empty one."""
        kinds = (
            ("missing", list(self.missing)),
            ("not part of it", [path.name for path in self.extra]),
            ("of another size", [f"{p.name} ({a[1]}x{a[0]}, not {b[1]}x{b[0]})" for p, a, b in self.other_size]),
        )
        parts = []
        for what, names in kinds:
            if names:
                more = f" and {len(names) - 3} more" if len(names) > 3 else ""
                parts.append(f"{len(names)} {what}: {', '.join(names[:3])}{more}")
        return "; ".join(parts)


_FACTS = {
    "Set5": ("none stated, used for research by custom", "five pictures of Bevilacqua et al. 2012"),
    "Set14": ("none stated, used for research by custom", "fourteen pictures of Zeyde et al. 2010; bridge is grey"),
    "BSD100": ("non-commercial research and education", "the 100 test pictures of the Berkeley set BSDS300"),
    "GB82": ("CC0-1.0", "25 photographs by Gianni Rosato"),
}


@lru_cache(maxsize=1)
def all_benchmarks() -> tuple[Benchmark, ...]:
    """Return the benchmark sets whose official sizes are known."""
    sizes: dict[str, dict[str, tuple[int, int]]] = {name: {} for name in _FACTS}
    with (Path(__file__).parent / "benchmarks.csv").open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            sizes[row["benchmark"]][row["picture"]] = (int(row["height"]), int(row["width"]))
    return tuple(Benchmark(name, sizes[name], *facts) for name, facts in _FACTS.items())


def find(name: str) -> Benchmark:
    """Return the benchmark of a name, upper or lower case; UsageError names those that are known."""
    for benchmark in all_benchmarks():
        if benchmark.name.lower() == name.lower():
            return benchmark
    raise UsageError(f"benchmark {name!r} is unknown: use one of {', '.join(b.name for b in all_benchmarks())}")


def natural_key(name: str) -> tuple[tuple[int, int, str], ...]:
    """Return a key that sorts names as a person does: `img2` before `img10`, without regard to case."""
    parts = _PARTS.split(name.casefold())
    key = tuple((0, int(part), part) if part.isdecimal() else (1, 0, part) for part in parts if part)
    return (*key, (2, 0, name))


def find_pictures(folder: Path, *, recursive: bool = False) -> tuple[Path, ...]:
    """Return the picture files of a folder in natural order; hidden files and other kinds are left out.

    With `recursive` also those of its subfolders, hidden ones excepted. Raises InputError for a folder that is
    missing, no folder, unreadable or without a picture.
    """
    if not folder.is_dir():
        fact = "is not a folder" if folder.exists() else "does not exist"
        raise InputError(f"{folder} {fact}: name a folder of pictures")
    try:
        found = sorted(folder.rglob("*") if recursive else folder.iterdir())
        kept = []
        for path in found:
            inside = path.relative_to(folder)
            hidden = any(part.startswith(".") for part in inside.parts)
            if not hidden and path.suffix.lower() in WRITABLE and path.is_file():
                kept.append((natural_key(inside.as_posix()), path))
    except OSError as error:
        raise InputError(f"folder {folder} cannot be read: {error.strerror}") from None
    if not kept:
        raise InputError(f"folder {folder} holds no picture ({' '.join(WRITABLE)}): name another")
    return tuple(path for _, path in sorted(kept))


def picture_name(path: Path) -> str:
    """Return the name of a picture as benchmarks list it: no extension, no `_HR` or `_GT` at its end."""
    return _ENDING.sub("", path.stem)


def recognise(files: Iterable[Path]) -> Benchmark | None:
    """Return the benchmark that at least half of the files belong to by name and that is most complete, or None."""
    names = {picture_name(path).lower() for path in files}
    best, most = None, 0.0
    for benchmark in all_benchmarks():
        listed = {name.lower() for name in benchmark.sizes}
        shared = len(names & listed)
        if 2 * shared >= max(len(names), 1) and shared / len(listed) > most:
            best, most = benchmark, shared / len(listed)
    return best


def compare(benchmark: Benchmark, sizes: dict[Path, tuple[int, int]]) -> Differences:
    """Compare decoded files, {path: (height, width)}, with the official set."""
    official = {name.lower(): (name, size) for name, size in benchmark.sizes.items()}
    seen: set[str] = set()
    extra, other = [], []
    for path, size in sizes.items():
        key = picture_name(path).lower()
        if key not in official or key in seen:
            extra.append(path)
            continue
        seen.add(key)
        if size != official[key][1]:
            other.append((path, size, official[key][1]))
    missing = tuple(name for key, (name, _) in official.items() if key not in seen)
    return Differences(missing, tuple(extra), tuple(other))
