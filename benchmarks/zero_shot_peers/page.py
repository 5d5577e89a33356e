"""docs/zero-shot-peers.md, out of the file of results alone."""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.peers.page import QUIET
from benchmarks.zero_shot_peers.cases import CASES, DPS, Case, Settings

SIDES = ("mezzotint", "deepinv")

_HEAD = """# Zero-shot solvers beside deepinv

Written by `python -m benchmarks.zero_shot_peers FOLDER --prior FOLDER --cache FOLDER` out of
`benchmarks/results/deepinv.json`.

[deepinv](https://deepinv.org) is the library that has most of these solvers. Both sides run in one process, with one
network, the same measurements, as many evaluations and, where both have a row, the same draws of noise, and take turns.
Tasks: `super-resolution` by 4 with MATLAB's
bicubic kernel on a torus and noise of 0.05 (for pictures in [0, 1]); `inpainting` of half of the pixels with noise of
0.05; `denoising` of 0.1. Its DDRM has no singular vectors of a reduction, so that it is compared where it has some.
"""

_RULES = f"""## What the rows mean

DiffPIR: deepinv's lambda is twice our weight, because it takes the noise of pictures in [0, 1] and the level of those
in [-1, 1]. Both walk as the release does. deepinv asks the network a last time without using what it says; ours returns
that, corrected.

DPS: published are 1000 evaluations, here there are {DPS}. In the published rule every step goes the same length; ours
takes zeta for that of 1000 steps and goes as much further in each of fewer. deepinv adds the gradient to the score, so
that the length of a step falls with the noise, and with its own weight does not reach the measurement in so few. Rows
"in the score" are that one rule on both sides, ours made of our parts (`ScoreGuided` in
`benchmarks/zero_shot_peers/ours.py`); from the same noise it gives the same picture.

DDRM: deepinv divides what it draws by the square root of 2, so that its pictures have half of the variance that the
paper's have where nothing was measured: less variance is less error to PSNR, whatever the law of the pictures. In the
rows "its draws" ours are divided likewise; the rows without are ours by the paper. Levels are those of DDRM's release,
or those that deepinv takes by default, of which we ask the network at all but the last, 0. deepinv returns what the
network makes of the last state.
"""


def write_page(results: Mapping[str, Any], path: Path) -> None:
    """Write the page of the results."""
    path.write_text(page(results), encoding="utf-8")


def page(results: Mapping[str, Any]) -> str:
    """Return the page as Markdown: agreement, a table a case, time outside the network, what the rows mean."""
    parts = [_HEAD, "\n".join(_agreement(results)) + "\n"]
    parts += ["\n".join(_case(case, results)) + "\n" for case in CASES]
    parts += ["\n".join(_outside(results)) + "\n", _RULES, "\n".join(_machine(results)) + "\n"]
    return "\n".join(parts)


def rows_of(results: Mapping[str, Any], case: Case, settings: Settings, side: str) -> list[Mapping[str, Any]]:
    """Return the runs of a row of settings on one side, one a picture."""
    wanted = (case.name, settings.label, side)
    return [run for run in results["runs"] if (run["case"], run["settings"], run["side"]) == wanted]


def _agreement(results: Mapping[str, Any]) -> list[str]:
    found = results["agreement"]
    lines = ["## The same problem", "", "Largest differences between the two libraries, on normal numbers:", ""]
    lines += ["| | A | adjoint of A |", "|---|--:|--:|"]
    lines += [f"| {name} | {row['A']:.1e} | {row['At']:.1e} |" for name, row in found.items() if "A" in row]
    lines += ["", f"Pictures of the rule of DPS in the score, from the same noise: {found['DPS']['picture']:.1e}."]
    return lines


def _case(case: Case, results: Mapping[str, Any]) -> list[str]:
    lines = [
        f"## {case.name}",
        "",
        "| settings | evaluations | PSNR mezzotint | deepinv | misfit mezzotint | deepinv | seconds mezzotint |"
        " deepinv | ratio |",
        "|---|--:|--:|--:|--:|--:|--:|--:|--:|",
    ]
    marked = False
    for settings in case.settings:
        found = {side: rows_of(results, case, settings, side) for side in SIDES}
        cells = [_mean(found[side], "psnr", 2) for side in SIDES] + [_mean(found[side], "misfit", 1) for side in SIDES]
        medians = {side: statistics.median(run["seconds"] for run in rows) for side, rows in found.items() if rows}
        cells += [f"{medians[side]:.2f}" if side in medians else "-" for side in SIDES]
        cells.append(f"{_ratio(found):.2f}" if len(medians) == 2 else "-")
        loud = any(run["other_work"] > QUIET for rows in found.values() for run in rows)
        marked |= loud
        lines.append(f"| {settings.label}{'*' if loud else ''} | {settings.evaluations} | " + " | ".join(cells) + " |")
    if marked:
        lines += ["", "*: measured beside other work; the seconds say little."]
    return lines


def _ratio(found: Mapping[str, list[Mapping[str, Any]]]) -> float:
    """The median over the pictures of our seconds over deepinv's."""
    ours, theirs = ({run["picture"]: run["seconds"] for run in found[side]} for side in SIDES)
    return statistics.median(ours[picture] / theirs[picture] for picture in ours)


def _mean(rows: list[Mapping[str, Any]], key: str, digits: int) -> str:
    return f"{statistics.mean(run[key] for run in rows):.{digits}f}" if rows else "-"


def _outside(results: Mapping[str, Any]) -> list[str]:
    lines = [
        "## Outside the network",
        "",
        "Milliseconds an evaluation with a network of four features, which costs next to nothing; the last row of each",
        "table.",
        "",
        "| | mezzotint | deepinv |",
        "|---|--:|--:|",
    ]
    marked = False
    for name, row in results["outside"].items():
        loud = any(run["other_work"] > QUIET for run in results["runs"] if run["case"] == name)
        marked |= loud
        lines.append(f"| {name}{'*' if loud else ''} | {row['mezzotint']:.1f} | {row['deepinv']:.1f} |")
    return lines + (["", "*: the runs of the table were measured beside other work."] if marked else [])


def _machine(results: Mapping[str, Any]) -> list[str]:
    machine = results["machine"]
    return [
        "## Measured on",
        "",
        f"{machine['processor']}, threads: {machine['threads']}; torch {machine['torch']}, torchvision"
        f" {machine['torchvision']}, deepinv {machine['deepinv']}; a prior whose weights have the SHA-256",
        f"{results['prior']['sha256'][:16]}..., on {len(results['pictures'])} of the fixed crops:"
        f" {', '.join(results['pictures'])}.",
        "",
        "PSNR in RGB of the picture clipped to [0, 1], mean over the crops; misfit: how far A of the picture, not",
        "clipped, is from the measurement, rms in grey levels (the noise is 12.75 in the first three tables and 25.5",
        "in the last). Seconds: median over the crops; ratio: the median of ours over deepinv's.",
    ]
