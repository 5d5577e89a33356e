"""A report on a folder of pictures before a model is trained on them: what would spoil it, picture by picture.

Equal and nearly equal pictures (a test picture among the training ones, one picture twice), JPEG (a model learns its
blocks), detail that the pixels do not hold (an enlarged picture teaches blur), sizes, and the mean colour of the set.
"""

from __future__ import annotations

import dataclasses
import hashlib
import multiprocessing
import os
import signal
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import BrokenExecutor, ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from mezzotint import images
from mezzotint.data.benchmarks import find_pictures
from mezzotint.data.fingerprints import TURNS, Fingerprint, Near, fingerprint, near
from mezzotint.data.jpeg_history import Trace, earlier_quality, read_header, trace
from mezzotint.data.resolution import luma, true_resolution
from mezzotint.errors import InputError, UsageError

_SHOWN = 5
_SMALL_SIDE = 256
_LOW_QUALITY = 75
_CAST_LEVELS = 5.0
# Below this many pictures a second process costs more than it saves.
_WORTHWHILE = 60


@dataclass(frozen=True)
class Facts:
    """What is measured on one picture.

    `file`: below the folder. `problem`: why it cannot be trained on, "" for a picture that can; the rest is empty then.
    `height`, `width`: upright. `grey`: one channel, or three that are equal everywhere. `sha256`: of the pixels, one
    channel as three. `quality`, `standard`, `chroma`: of a JPEG file, see `jpeg_history.Header`; 0 for another file.
    `earlier`: quality of a coarser JPEG before, 0 where none shows: in a JPEG one on its grid, in another file the
    last. `grid`: where that one's blocks begin in another file, as (row, column). `factor`: how many times smaller it
    could be, None where it is too small to say. `colour`: mean levels of R, G and B. `clipped`: share of samples at 0
    or 255. `fingerprint`: for finding near duplicates.
    """

    file: str
    problem: str = ""
    format: str = ""
    height: int = 0
    width: int = 0
    grey: bool = False
    sha256: str = ""
    quality: int = 0
    standard: bool = False
    chroma: str = ""
    earlier: int = 0
    grid: tuple[int, int] | None = None
    factor: float | None = None
    kernel: str = "none"
    colour: tuple[float, float, float] = (0.0, 0.0, 0.0)
    clipped: float = 0.0
    fingerprint: Fingerprint | None = None

    def as_json(self) -> dict[str, Any]:
        """Return everything but the fingerprint, ready for JSON."""
        return {f.name: getattr(self, f.name) for f in dataclasses.fields(self) if f.name != "fingerprint"}


def measure(path: Path, *, name: str) -> Facts:
    """Return the facts of one picture; what cannot be read or trained on is a fact, not an error."""
    try:
        header = read_header(path)
        picture = images.read_plain(path)
    except InputError as error:
        return Facts(name, problem=str(error))
    pixels = picture.pixels
    rgb = np.repeat(pixels, 3, axis=2) if pixels.shape[2] == 1 else pixels
    levels = luma(pixels)
    found = true_resolution(levels)
    past: Trace | None = None
    earlier = 0
    if header is None:
        past = trace(levels) if picture.lossless else None
        earlier = past.quality if past is not None else 0
    elif picture.format == "jpeg" and "orientation" not in " ".join(picture.notes):
        # A picture that was turned has its blocks on another grid.
        earlier = earlier_quality(levels, header.table) or 0
    mean = rgb.reshape(-1, 3).mean(axis=0)
    return Facts(
        name,
        format=picture.format,
        height=picture.height,
        width=picture.width,
        grey=bool((rgb == rgb[..., :1]).all()),
        sha256=hashlib.sha256(np.ascontiguousarray(rgb).tobytes() + f"{rgb.shape}".encode()).hexdigest(),
        quality=0 if header is None else header.quality,
        standard=header is not None and header.standard,
        chroma="" if header is None else header.chroma,
        earlier=earlier,
        grid=None if past is None else past.grid,
        factor=None if found is None else round(found.factor, 2),
        kernel="none" if found is None else found.kernel,
        colour=(float(mean[0]), float(mean[1]), float(mean[2])),
        clipped=float(((rgb == 0) | (rgb == 255)).mean()),
        fingerprint=fingerprint(levels),
    )


def _quiet() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _measure(job: tuple[Path, str]) -> Facts:
    return measure(job[0], name=job[1])


def scan(
    folder: Path, *, workers: int | None = None, progress: Callable[[int, int], None] | None = None
) -> tuple[Facts, ...]:
    """Return the facts of every picture of a folder and its subfolders, in natural order of the names.

    `workers`: processes, spawned; None takes one a processor, and none for a few pictures. `progress` gets (done,
    total). Raises InputError for a folder without pictures and where a worker was lost, UsageError below 0 workers.
    """
    files = find_pictures(folder, recursive=True)
    jobs = [(path, path.relative_to(folder).as_posix()) for path in files]
    if workers is None:
        workers = 0 if len(jobs) < _WORTHWHILE else min(os.cpu_count() or 1, 16)
    if workers < 0:
        raise UsageError(f"{workers} workers: use 0 to measure in this process, or more")
    report = progress or (lambda done, total: None)
    facts = []
    for fact in _measured(jobs, workers):
        facts.append(fact)
        report(len(facts), len(jobs))
    return tuple(facts)


def _measured(jobs: Sequence[tuple[Path, str]], workers: int) -> Iterator[Facts]:
    if workers < 2:
        yield from map(_measure, jobs)
        return
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(min(workers, len(jobs)), mp_context=context, initializer=_quiet)
    try:
        yield from pool.map(_measure, jobs, chunksize=4)
    except BrokenExecutor:
        raise InputError(
            "a process that measures pictures is gone (out of memory, or begun by a script without "
            '`if __name__ == "__main__":`): use fewer workers, or 0'
        ) from None
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


@dataclass(frozen=True)
class Report:
    """What was found in a folder.

    `equal`: groups of files with the same pixels. `similar`: (file, file, bits of 63 that differ, what was done to the
    second) of pictures that look the same, one of every group of equal ones. `cast`: mean level of R, G and B over the
    pictures, each less the mean of the three, and `cast_error` their standard errors; grey pictures do not count.
    `against`: another folder, whose pictures should not be here; `met`: those that are, as `similar`, with 0 bits and
    "the same pixels" for equal ones.
    """

    folder: str
    facts: tuple[Facts, ...]
    equal: tuple[tuple[str, ...], ...]
    similar: tuple[tuple[str, str, int, str], ...]
    cast: tuple[float, float, float] | None
    cast_error: tuple[float, float, float] | None
    against: str = ""
    met: tuple[tuple[str, str, int, str], ...] = ()

    @property
    def usable(self) -> tuple[Facts, ...]:
        return tuple(f for f in self.facts if not f.problem)

    def as_json(self) -> dict[str, Any]:
        """Return everything as JSON holds it."""
        good = self.usable
        return {
            "folder": self.folder,
            "pictures": len(self.facts),
            "usable": len(good),
            "megapixels": round(sum(f.height * f.width for f in good) / 1e6, 3),
            "equal": [list(group) for group in self.equal],
            "similar": [_pair(found) for found in self.similar],
            "against": self.against,
            "met": [_pair(found) for found in self.met],
            "colour": {
                "cast": None if self.cast is None else [round(c, 3) for c in self.cast],
                "standard_error": None if self.cast_error is None else [round(c, 3) for c in self.cast_error],
                "grey": sum(f.grey for f in good),
            },
            "images": {f.file: f.as_json() for f in self.facts},
        }

    def lines(self) -> Iterator[str]:
        """Yield the report as text: what was found, and the first five pictures of each kind."""
        good, bad = self.usable, [f for f in self.facts if f.problem]
        pixels = sum(f.height * f.width for f in good) / 1e6
        yield f"{_many(len(self.facts), 'picture')} in {self.folder}, {pixels:.1f} MP; {len(bad)} cannot be trained on"
        yield from _listed(f.problem for f in bad)
        if not good:
            return
        yield from self._sizes(good)
        yield from self._duplicates()
        yield from self._met()
        yield from self._jpeg(good)
        coarse = sorted((f for f in good if f.factor is not None and f.factor > 1), key=lambda f: -(f.factor or 1))
        small = sum(f.factor is None for f in good)
        unknown = f"; {small} too small to say" if small else ""
        yield f"resolution: {_many(len(coarse), 'picture')} with less detail than pixels{unknown}"
        yield from _listed(f"{f.file}: that of a {f.factor:.1f} times smaller one, as if by {f.kernel}" for f in coarse)
        yield from self._colour(good)

    def _sizes(self, good: Sequence[Facts]) -> Iterator[str]:
        sides = sorted(min(f.height, f.width) for f in good)
        formats = ", ".join(f"{n} {name}" for name, n in Counter(f.format for f in good).most_common())
        yield f"sizes: shorter sides {sides[0]} to {sides[-1]} pixels, median {median(sides):g}; {formats}"
        small = [f for f in good if min(f.height, f.width) < _SMALL_SIDE]
        if small:
            yield f"  {len(small)} with a side below {_SMALL_SIDE} pixels"
            yield from _listed(f"{f.file}: {f.width}x{f.height}" for f in small)

    def _duplicates(self) -> Iterator[str]:
        groups, pairs = _many(len(self.equal), "group"), _many(len(self.similar), "pair")
        yield f"duplicates: {groups} of equal pictures, {pairs} of pictures that look the same"
        yield from _listed(" = ".join(group) for group in self.equal)
        yield from _listed(f"{a} ~ {b} ({how}, {bits} of 63 bits differ)" for a, b, bits, how in self.similar)

    def _met(self) -> Iterator[str]:
        if self.against:
            yield f"against {self.against}: {_many(len(self.met), 'pair')} of pictures that are the same"
            yield from _listed(f"{a} ~ {b} ({how})" for a, b, _, how in self.met)

    def _jpeg(self, good: Sequence[Facts]) -> Iterator[str]:
        files = [f for f in good if f.quality]
        others = [f for f in good if not f.quality and f.earlier]
        text = f"JPEG: {_many(len(files), 'file')}"
        if files:
            found = sorted(f.quality for f in files)
            halved = sum(f.chroma not in ("4:4:4", "grey") for f in files)
            text += f" of quality {found[0]} to {found[-1]}, median {median(found):g}; {halved} with less colour"
        yield text
        low = sorted((f for f in files if f.quality < _LOW_QUALITY), key=lambda f: f.quality)
        yield from _listed(f"{f.file}: quality {f.quality}" for f in low)
        twice = [f for f in files if f.earlier]
        if twice:
            yield f"  {_many(len(twice), 'file')} compressed more coarsely before"
            yield from _listed(f"{f.file}: quality {f.quality}, before that about {f.earlier}" for f in twice)
        if others:
            yield f"  {_many(len(others), 'file')} of other formats that came out of JPEG"
            yield from _listed(f"{f.file}: quality about {f.earlier}" for f in others)

    def _colour(self, good: Sequence[Facts]) -> Iterator[str]:
        grey = sum(f.grey for f in good)
        if self.cast is None or self.cast_error is None:
            yield f"colour: all of {_many(len(good), 'picture')} grey"
            return
        shown = ", ".join(
            f"{name} {c:+.1f} +- {e:.1f}" for name, c, e in zip("RGB", self.cast, self.cast_error, strict=True)
        )
        strong = any(abs(c) > max(_CAST_LEVELS, 3 * e) for c, e in zip(self.cast, self.cast_error, strict=True))
        yield f"colour: {'a cast of' if strong else 'no strong cast,'} {shown} levels; {_many(grey, 'grey picture')}"


def _many(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"


def _listed(lines: Any) -> Iterator[str]:
    lines = list(lines)
    for line in lines[:_SHOWN]:
        yield f"    {line}"
    if len(lines) > _SHOWN:
        yield f"    and {len(lines) - _SHOWN} more"


def _pair(found: tuple[str, str, int, str]) -> dict[str, Any]:
    first, second, bits, how = found
    return {"files": [first, second], "bits": bits, "second": how}


def report(
    folder: Path,
    *,
    against: Path | None = None,
    workers: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Report:
    """Measure every picture of a folder and compare them with each other, see `scan` for the arguments.

    `against`: a folder of pictures that should not be among them, such as a test set.
    """
    facts = scan(folder, workers=workers, progress=progress)
    if against is None:
        return conclude(folder, facts)
    return conclude(folder, facts, against=against, others=scan(against, workers=workers, progress=progress))


def conclude(
    folder: Path, facts: Sequence[Facts], *, against: Path | None = None, others: Sequence[Facts] = ()
) -> Report:
    """Return the report on measured pictures; `others` are those of the folder `against`."""
    good = [f for f in facts if not f.problem]
    groups = _groups(good)
    first = [group[0] for group in groups.values()]
    coloured = np.array([f.colour for f in good if not f.grey])
    cast = error = None
    if len(coloured):
        casts = coloured - coloured.mean(axis=1, keepdims=True)
        cast = _three(casts.mean(axis=0))
        error = _three(casts.std(axis=0, ddof=1) / len(casts) ** 0.5) if len(casts) > 1 else (0.0, 0.0, 0.0)
    return Report(
        str(folder),
        tuple(facts),
        tuple(tuple(f.file for f in group) for group in groups.values() if len(group) > 1),
        tuple((first[n.first].file, first[n.second].file, n.distance, TURNS[n.turn]) for n in _near(first)),
        cast,
        error,
        "" if against is None else str(against),
        _met(groups, _groups(f for f in others if not f.problem)),
    )


def _groups(facts: Iterable[Facts]) -> dict[str, list[Facts]]:
    """Return pictures by their pixels."""
    groups: dict[str, list[Facts]] = {}
    for f in facts:
        groups.setdefault(f.sha256, []).append(f)
    return groups


def _near(facts: Sequence[Facts]) -> tuple[Near, ...]:
    return near([f.fingerprint for f in facts if f.fingerprint is not None])


def _met(ours: dict[str, list[Facts]], theirs: dict[str, list[Facts]]) -> tuple[tuple[str, str, int, str], ...]:
    """Return the pictures of one folder that are in the other, equal ones first."""
    shared = [(f.file, theirs[key][0].file) for key, group in ours.items() if key in theirs for f in group]
    equal = [(file, other, 0, "the same pixels") for file, other in shared]
    here = [group[0] for key, group in ours.items() if key not in theirs]
    both = [*here, *(group[0] for group in theirs.values())]
    similar = [
        (both[n.first].file, both[n.second].file, n.distance, TURNS[n.turn])
        for n in _near(both)
        if n.first < len(here) <= n.second
    ]
    return (*equal, *similar)


def _three(values: np.ndarray) -> tuple[float, float, float]:
    return float(values[0]), float(values[1]), float(values[2])
