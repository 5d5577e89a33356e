"""The sets of pictures that have a name: what each holds, and whether it can be fetched."""

from __future__ import annotations

import dataclasses
import difflib
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from mezzotint.data import benchmarks, pictures, sets
from mezzotint.errors import UsageError

_SUMMARIES = {
    "training": "openly licensed photographs that train the shipped models",
    "training-large": "more of them, each as large as it is sharp",
}


@dataclass(frozen=True)
class Collection:
    """A named set: its purpose, number of pictures, their size, and its licences with their counts.

    `pictures` is 0 and `megapixels` None where nobody says.
    """

    name: str
    kind: Literal["training", "benchmark", "both"]
    pictures: int
    megapixels: float | None
    licence: str
    summary: str
    fetchable: bool


def collections() -> tuple[Collection, ...]:
    """Return all named sets: the training pictures, the test sets of known sizes, the others that have a reader."""
    training = tuple(_training(name) for name in pictures.LISTS)
    tests = (
        Collection(b.name, "benchmark", len(b.sizes), b.megapixels, b.licence, b.summary, False)
        for b in benchmarks.all_benchmarks()
    )
    known = {b.name for b in benchmarks.all_benchmarks()}
    others = (
        Collection(s.name, s.purpose, s.pictures, None, s.licence, s.summary, False)
        for s in sets.all_sets()
        if s.name not in known
    )
    return (*training, *tests, *others)


def _training(name: str) -> Collection:
    rows = pictures.read_pictures(pictures.list_files(name)[0])
    counts = Counter(row.licence for row in rows)
    return Collection(
        name=name,
        kind="training",
        pictures=len(rows),
        megapixels=sum(row.megapixels for row in rows),
        licence=", ".join(f"{count} {licence}" for licence, count in sorted(counts.items())),
        summary=_SUMMARIES[name],
        fetchable=True,
    )


def find(name: str) -> Collection:
    """Return the set of a name, upper or lower case; UsageError suggests the nearest name."""
    known = {collection.name.lower(): collection for collection in collections()}
    if name.lower() in known:
        return known[name.lower()]
    near = difflib.get_close_matches(name.lower(), known, n=1)
    hint = f"did you mean {known[near[0]].name}?" if near else f"use one of {', '.join(c.name for c in known.values())}"
    raise UsageError(f"set {name!r} is unknown: {hint}")


def rows(name: str) -> tuple[dict[str, str | float], ...]:
    """Return one dictionary a picture of a set: every column of the list, or name, height and width.

    Empty for a set whose pictures are not listed one by one, see `describe`.
    """
    collection = find(name)
    if collection.megapixels is None:
        return ()
    if collection.kind == "training":
        listed = pictures.read_pictures(pictures.list_files(collection.name)[0])
        return tuple(dataclasses.asdict(row) for row in listed)
    sizes = benchmarks.find(collection.name).sizes
    return tuple({"file": file, "height": height, "width": width} for file, (height, width) in sizes.items())


def describe(name: str) -> dict[str, Any] | None:
    """Return what is known of a set that has a reader, ready for JSON: licence, address, splits, layouts; else None."""
    collection = find(name)
    if collection.name not in {s.name for s in sets.all_sets()}:
        return None
    found = sets.find_set(collection.name)
    return {
        "name": found.name,
        "purpose": found.purpose,
        "pictures": found.pictures,
        "licence": found.licence,
        "address": found.address,
        "summary": found.summary,
        "caution": found.caution,
        "tracks": list(found.tracks),
        "splits": [
            {"name": s.name, "pictures": s.pictures, "layouts": list(sets.layout(s))} for s in found.splits
        ],
    }


def fetch(
    name: str,
    folder: Path,
    *,
    source_folder: Path | None = None,
    cache: Path | None = None,
    mirror: str | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> pictures.Fetched:
    """Build a set in a folder, see `pictures.fetch`; UsageError for a benchmark, which no registry carries."""
    collection = find(name)
    if not collection.fetchable:
        known = describe(collection.name)
        place = "its authors" if known is None else known["address"]
        raise UsageError(
            f"{collection.name} is in no package registry (licence: {collection.licence}): "
            f"get it from {place} and name its folder where a command takes one"
        )
    listed, packages = pictures.list_files(collection.name)
    return pictures.fetch(
        folder,
        rows=pictures.read_pictures(listed),
        packages=pictures.read_packages(packages),
        source_folder=source_folder,
        cache=cache,
        mirror=mirror,
        progress=progress,
    )
