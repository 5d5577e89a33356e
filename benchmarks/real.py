"""mezzotint-x4-real beside bicubic enlargement and mezzotint-x4, on pictures of degradations that nobody knows.

    python -m benchmarks.real --data FOLDER [--method NAME] [--seeds 0] [--limit N] [--side 256] [--threads 1]
    python -m benchmarks.real --page-only

FOLDER holds the folder GB82. The middle of every picture, `--side` pixels square, is degraded by the preset
`real-esrgan` at scale 4, once for each seed and as `mezzotint degrade` does, and enlarged by bicubic interpolation, by
mezzotint-x4 at its default and by NAME (mezzotint-x4-real, or a file or folder of its weights) at several realisms, its
default among them. Protocol y-modern but for the small pictures; DISTS needs its weights (`mezzotint weights add`).
Writes benchmarks/results/real.json and the table of docs/models/mezzotint-x4-real.md. Nothing is timed.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from benchmarks.robustness import (
    BICUBIC,
    MEASURES,
    SCALE,
    Drawn,
    bicubic,
    by_degradation,
    check,
    default_of,
    enlarged,
    label,
    middles,
    spread,
)

from benchmarks import marked
from mezzotint import upscaler
from mezzotint.data.benchmarks import find_pictures
from mezzotint.errors import MezzotintError
from mezzotint.images import atomic
from mezzotint.quality import statistics
from mezzotint.quality.evaluation import Candidate, evaluate
from mezzotint.upscaler import Upscaler

HERE = Path(__file__).resolve().parent
SET, PRESET = "GB82", "real-esrgan"
REALISMS = (0.0, 0.5, 1.0)


def degraded(y: np.ndarray, seed: int) -> np.ndarray:
    """The small picture uint8 (h, w, 3) of uint8 (H, W, 1 or 3), a function of the picture and the seed."""
    return by_degradation(preset=PRESET, seed=seed)(y)


def settings(loaded: Upscaler, realisms: Sequence[float]) -> list[Candidate]:
    """The model at each realism and at its default, drawn once for all."""
    drawn = Drawn(loaded)

    def at(realism: float) -> Callable[[np.ndarray, int], np.ndarray]:
        return lambda x, seed: enlarged(x, loaded, drawn, realism=realism, consistent=loaded.consistent, seed=seed)

    return [Candidate(f"{loaded.name}, {label(r)}", at(r)) for r in sorted({*realisms, default_of(loaded)})]


def measure(
    files: Sequence[Path], every: Sequence[Candidate], *, seeds: Sequence[int], side: int,
    report: Callable[[str], None] = print,
) -> dict[str, dict[str, dict[str, float]]]:  # fmt: skip
    """{name: {picture and seed: {measure: value}}}."""
    rows: dict[str, dict[str, dict[str, float]]] = {candidate.name: {} for candidate in every}
    for seed in seeds:
        smalls = [degraded(y, seed) for _, y in middles(files, side)]
        handed = iter(smalls)
        found = evaluate(
            middles(files, side), every, scale=SCALE, measures=tuple(MEASURES), folder=SET,
            reduce=lambda y: next(handed),  # noqa: B023
        )  # fmt: skip
        for name, figures in found["methods"].items():
            for picture, one in figures.get("images", {}).items():
                rows[name][f"{picture} {seed}"] = {m: round(float(one[m]), 4) for m in MEASURES}
        report(f"seed {seed}: {len(smalls)} pictures")
    return rows


def difference(row: dict[str, dict[str, float]], other: dict[str, dict[str, float]], name: str) -> str:
    """The mean of the one less the other over the same pictures, with its 95 % interval by bootstrap.

    Degradations of one picture are no independent pictures: their mean is drawn as one.
    """
    each: dict[str, list[float]] = {}
    for key in row:
        each.setdefault(key.rpartition(" ")[0], []).append(row[key][name] - other[key][name])
    gaps = [float(np.mean(values)) for values in each.values()]
    interval = statistics.bootstrap_interval(gaps)
    text = f"{np.mean(gaps):+.4f}"
    return text if interval is None else f"{text} ({interval[0]:+.4f} to {interval[1]:+.4f})"


def table(content: dict[str, Any]) -> list[str]:
    """The lines of the card, from the figures."""
    methods, default = content["methods"], f"{content['method']}, {label(content['default'])}"
    count = len({key.rpartition(" ")[0] for key in methods[BICUBIC]})
    seeds = ", ".join(map(str, content["seeds"]))
    lines = [
        f"The middle {content['side']}x{content['side']} pixels of {count} pictures of {SET}, each degraded by "
        f"`{PRESET}` with every seed of {seeds}; protocol y-modern but for "
        f"that, {content['steps']} steps, weights {content['weights'][:8]}. The default is "
        f"{label(content['default'])}. Made by `python -m benchmarks.real`.",
        "",
        "| | " + " | ".join(heading for heading, _ in MEASURES.values()) + " |",
        "|---|" + "--:|" * len(MEASURES),
    ]
    for name, rows in methods.items():
        cells = (f"{np.mean([r[m] for r in rows.values()]):.{digits}f}" for m, (_, digits) in MEASURES.items())
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    lines.append("")
    for other in (BICUBIC, content["clean"]):
        gaps = (f"{MEASURES[m][0]} {difference(methods[default], methods[other], m)}" for m in ("lpips", "dists"))
        lines += [f"The default less {other}, with the 95 % interval over the pictures: {', '.join(gaps)}.", ""]
    return lines[:-1]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, help=f"the folder that holds {SET}")
    parser.add_argument("--method", default="mezzotint-x4-real", metavar="NAME")
    parser.add_argument("--seeds", default="0")
    parser.add_argument("--limit", type=int, help="so many pictures")
    parser.add_argument("--side", type=int, default=256)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--page-only", action="store_true", help="write the table anew from the figures that are there")
    parser.add_argument("-o", "--output", type=Path, default=HERE / "results" / "real.json")
    parser.add_argument("--page", type=Path, default=HERE.parent / "docs" / "models" / "mezzotint-x4-real.md")
    options = parser.parse_args()
    if not options.page_only:
        check(parser, options)
        try:
            seeds = [int(text) for text in options.seeds.split(",")]
        except ValueError:
            parser.error(f"--seeds {options.seeds} is no list of whole numbers: write for example 0,1,2")
        torch.set_num_threads(options.threads)
        try:
            clean, real = upscaler.load("mezzotint-x4"), upscaler.load(options.method)
            (plain,) = settings(clean, ())
            every = [Candidate(BICUBIC, bicubic), plain, *settings(real, REALISMS)]
            files = spread(find_pictures(options.data / SET), options.limit)
            found = measure(files, every, seeds=seeds, side=options.side, report=lambda text: print(text, flush=True))
        except MezzotintError as error:
            parser.error(str(error))
        content = {
            "method": real.name, "weights": real.weights, "default": default_of(real), "steps": real.steps,
            "clean": plain.name, "seeds": seeds, "side": options.side, "methods": found,
        }  # fmt: skip
        atomic.write_bytes(options.output, (json.dumps(content, indent=1) + "\n").encode(), overwrite=True)
    content = json.loads(options.output.read_text(encoding="utf-8"))
    marked.write(options.page, "benchmarks/real.py", table(content))
    print("\n".join(table(content)))


if __name__ == "__main__":
    main()
