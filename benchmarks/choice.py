"""How often `--method auto` is right, and where its limits come from; writes benchmarks/results/choice.json.

    python -m benchmarks.choice TRAINING GB82 [BSD100 ...] [-o benchmarks/results/choice.json] [--page docs/choice.md]

TRAINING is the folder of training pictures, on which the limits were set; the others are held out. Every picture is
reduced to a quarter by MATLAB's bicubic in 8 bits (clean: mezzotint-x4 is right) and degraded by the preset
`real-esrgan` with fixed seeds (mezzotint-x4-real is right); held out ones are also written as JPEG after the clean
reduction, and of some training pictures it is measured what both models make of such files. Times are those of the
processor, of one thread. The page is written from the file.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from benchmarks.robustness import Drawn, default_of, enlarged, middles, spread
from torch import Tensor

from mezzotint import images, upscaler
from mezzotint.data.benchmarks import find_pictures
from mezzotint.images.atomic import write_bytes
from mezzotint.operators.degradation import degrade
from mezzotint.operators.estimate import jpeg_quality
from mezzotint.operators.resize import imresize_uint8, modcrop
from mezzotint.quality import lpips, psnr
from mezzotint.upscaler import choice
from mezzotint.upscaler.samples import Coding

HERE = Path(__file__).resolve().parent
PRESET, SCALE = "real-esrgan", 4
SEEDS = (0, 1, 2)
QUALITIES = (30, 50, 75, 90)
FILE_QUALITIES = (20, 30, 40, 50, 75, 90)
SIDE, PICTURES = 256, 20
"""Of how many training pictures, and of how many pixels of each, both models are asked what they make."""
CODING = Coding(np.dtype(np.uint8))
LIMITS = {
    "quality": choice.LEAST_QUALITY,
    "traces": choice.LEAST_TRACED,
    "factor": choice.LARGEST_FACTOR,
    "blur": choice.LARGEST_BLUR,
    "noise": choice.LARGEST_NOISE,
    "colour_noise": choice.LARGEST_COLOUR_NOISE,
}
QUANTILES = (0.5, 0.9, 0.95, 0.98, 0.99)
SIZES = ((96, 128), (480, 640), (960, 1280), (1920, 2560))


def pictures(folder: Path) -> Iterator[tuple[str, Tensor]]:
    """Yield name and pixels, uint8 3 h w, of the pictures of a folder that are large enough for a choice."""
    for file in find_pictures(folder):
        pixels = images.read_plain(file).pixels
        y = torch.from_numpy(np.broadcast_to(pixels, (*pixels.shape[:2], 3)).copy()).movedim(-1, 0)
        if min(y.shape[1:]) >= choice.SMALLEST_SIDE * SCALE:
            yield file.name, modcrop(y, multiple=SCALE)


def figures_of(x: Tensor, *, quality: int | None = None) -> dict[str, Any]:
    """The figures of a small picture 3 h w, and how many of the limits speak for a real degradation."""
    found = choice.measure(x.movedim(0, -1).numpy(), CODING, quality=quality)
    assert found is not None
    return {
        "quality": found.quality,
        "traces": found.traces,
        "factor": round(found.factor, 3),
        "blur": round(found.blur, 3),
        "noise": round(found.noise, 3),
        "colour_noise": round(found.colour_noise, 3),
        "real": bool(choice.signs(found)),
    }


def through_jpeg(x: Tensor, quality: int) -> tuple[Tensor, int]:
    """A small picture 3 h w as a JPEG file holds it, and the quality that the file states."""
    data = images.encode(images.Picture(np.ascontiguousarray(x.movedim(0, -1).numpy())), fmt="jpeg", quality=quality)
    held = images.decode(data, name="small.jpg")
    return torch.from_numpy(np.asarray(held.rows[0 : held.height]).copy()).movedim(-1, 0), jpeg_quality(data).quality


def measure(folder: Path, *, seeds: Sequence[int], qualities: Sequence[int]) -> dict[str, list[dict[str, Any]]]:
    """The figures of every picture of a folder by what was done to it: "clean", PRESET, "JPEG 50", ..."""
    rows: dict[str, list[dict[str, Any]]] = {"clean": [], PRESET: []}
    for number, (name, y) in enumerate(pictures(folder)):
        x = imresize_uint8(y, scale=1 / SCALE)
        rows["clean"].append({"file": name, **figures_of(x)})
        for quality in qualities:
            held, stated = through_jpeg(x, quality)
            rows.setdefault(f"JPEG {quality}", []).append({"file": name, **figures_of(held, quality=stated)})
        for seed in seeds:
            small, _ = degrade(y[None], preset=PRESET, scale=SCALE, seed=seed, pictures=(number,))
            rows[PRESET].append({"file": name, "seed": seed, **figures_of(small[0])})
        print(f"{folder.name} {name}", flush=True)
    return rows


def shares(rows: dict[str, list[dict[str, Any]]]) -> dict[str, dict[str, float]]:
    """How many pictures of each kind there are, and the share for which mezzotint-x4-real is chosen."""
    return {
        kind: {"pictures": len(found), "real": round(float(np.mean([row["real"] for row in found])), 4)}
        for kind, found in rows.items()
    }


def wrong(rows: dict[str, list[dict[str, Any]]]) -> dict[str, list[str]]:
    """The files, with their seed, of clean pictures that were taken for degraded ones and the other way round."""
    found = {}
    for kind, bad in (("clean", True), (PRESET, False)):
        taken = [row for row in rows[kind] if row["real"] is bad]
        found[kind] = [" ".join(str(row[key]) for key in ("file", "seed") if key in row) for row in taken]
    return found


def nearer(folder: Path, *, qualities: Sequence[int] = FILE_QUALITIES, limit: int | None = PICTURES) -> dict[str, Any]:
    """What both models make of clean small pictures that were JPEG files: LPIPS and PSNR of each, by quality."""
    models = [upscaler.load(name) for name in (choice.CLEAN, choice.REAL)]
    drawn = [Drawn(model) for model in models]
    figures: dict[int, list[list[tuple[float, float]]]] = {quality: [] for quality in qualities}
    files = spread(find_pictures(folder), limit)
    for _, pixels in middles(files, SIDE):
        y = modcrop(torch.from_numpy(pixels.copy()).movedim(-1, 0), multiple=SCALE).expand(3, -1, -1)
        truth, x = y.movedim(0, -1).numpy(), imresize_uint8(y, scale=1 / SCALE)
        for quality in qualities:
            small = np.ascontiguousarray(through_jpeg(x, quality)[0].movedim(0, -1).numpy())
            each = []
            for model, walk in zip(models, drawn, strict=True):
                floats = enlarged(small, model, walk, realism=default_of(model), consistent=model.consistent)
                made = (floats * 255).round().astype(np.uint8)
                each.append((lpips(truth, made), psnr(truth, made, protocol="y-modern", scale=SCALE)))
            figures[quality].append(each)
    rows = []
    for quality, found in figures.items():
        table = np.array(found)
        means = table.mean(axis=0).round(4).tolist()
        rows.append({
            "quality": quality, "lpips": [m[0] for m in means], "psnr": [m[1] for m in means],
            "lower": round(float((table[:, 1, 0] < table[:, 0, 0]).mean()), 4),
        })  # fmt: skip
    return {"pictures": len(files), "rows": rows}


def by_limit(rows: dict[str, list[dict[str, Any]]]) -> dict[str, dict[str, Any]]:
    """For each figure its limit, quantiles over clean pictures, and the share of each kind that is beyond it."""
    table = {}
    for name, limit in LIMITS.items():
        values = {kind: np.array([row[name] or 101 for row in rows[kind]], float) for kind in ("clean", PRESET)}
        if name in ("quality", "traces"):
            beyond = {kind: found < limit for kind, found in values.items()}
        else:
            beyond = {kind: np.array([row[name] for row in rows[kind]], float) > limit for kind in values}
        table[name] = {
            "limit": limit,
            "clean": round(float(beyond["clean"].mean()), 4),
            PRESET: round(float(beyond[PRESET].mean()), 4),
        }
        if name not in ("quality", "traces"):
            clean = np.array([row[name] for row in rows["clean"]], float)
            table[name]["quantiles"] = {str(q): round(float(np.quantile(clean, q)), 2) for q in QUANTILES}
    return table


def cost() -> list[dict[str, float]]:
    """Milliseconds of the processor that the choice takes for pictures of SIZES, least of three."""
    generator = np.random.default_rng(0)
    lines = []
    for height, width in SIZES:
        coarse = generator.integers(0, 256, (height // 4, width // 4, 3), dtype=np.uint8)
        x = coarse.repeat(4, axis=0).repeat(4, axis=1)
        times = []
        for _ in range(4):
            began = time.process_time()
            choice.measure(x, CODING)
            times.append(1000 * (time.process_time() - began))
        # The first run fills the tables that all pictures share.
        lines.append({"height": height, "width": width, "first": round(times[0], 1), "ms": round(min(times[1:]), 1)})
    return lines


def page(result: dict[str, Any]) -> str:
    """The Markdown of a result."""
    lines = [
        "# How `--method auto` chooses",
        "",
        "`mezzotint upscale` without `--method` takes `mezzotint-x4`, whose small pictures were made by clean bicubic "
        "reduction, or `mezzotint-x4-real`, which has seen blur, noise and JPEG; the latter where at least one figure "
        "of the picture is beyond its limit. For results more than 4 times larger, with `--consistent`, and for sides "
        f"below {choice.SMALLEST_SIDE} pixels, it is `mezzotint-x4` (a JPEG file says its quality at any size). For "
        "results at most twice as large, `mezzotint-x2` takes the place of `mezzotint-x4`. What "
        "was chosen, and why, is said in a line, in the record, by `plan` and in `--events`; `replay` takes the "
        "recorded one. The rule is in `mezzotint.upscaler.choice`; made by `python -m benchmarks.choice`, with figures "
        "in `benchmarks/results/choice.json`.",
        "",
        f"## The limits, on the {result['training']['shares']['clean']['pictures']} training pictures",
        "",
        f"Clean: reduced to a quarter. Degraded: preset `{PRESET}` at scale {SCALE}. "
        "A JPEG file states its quality; the pixels of other files are searched for the traces of a JPEG.",
        "",
        "| figure | limit | clean beyond it | degraded beyond it | clean, 50 % | 95 % | 99 % |",
        "|---|--:|--:|--:|--:|--:|--:|",
    ]
    names = {
        "quality": "quality of a JPEG file, below",
        "traces": "quality of a JPEG by its traces, below",
        "factor": "times smaller without loss of detail",
        "blur": "blur, pixels",
        "noise": "noise, grey levels, in the channel with least",
        "colour_noise": "noise of colours, grey levels",
    }
    for name, row in result["training"]["limits"].items():
        quantiles = row.get("quantiles")
        ends = " |" * 3 if quantiles is None else "".join(f" {quantiles[q]:g} |" for q in ("0.5", "0.95", "0.99"))
        lines.append(
            f"| {names[name]} | {row['limit']:g} | {100 * row['clean']:.1f} % | {100 * row[PRESET]:.1f} % |{ends}"
        )
    both = result["training"]["shares"]
    lines += [
        "",
        f"Together: {100 * both['clean']['real']:.1f} % of the clean and {100 * both[PRESET]['real']:.1f} % of the "
        "degraded training pictures are taken for degraded.",
        "",
        "The limit of the traces is a judgement: pixels that were a JPEG once have a history, of which compression is "
        "seldom all. Noise below its limit hides in the texture of a reduced photograph, where it cannot be told from "
        "detail.",
        "",
        "## JPEG files of clean small pictures",
        "",
        f"What both models make of the middle {SIDE}x{SIDE} pixels of {result['jpeg']['pictures']} training pictures, "
        "reduced and compressed once, at their defaults:",
        "",
        "| quality | LPIPS mezzotint-x4 | mezzotint-x4-real | PSNR mezzotint-x4 | mezzotint-x4-real "
        "| mezzotint-x4-real has the lower LPIPS |",
        "|--:|--:|--:|--:|--:|--:|",
        *(
            f"| {row['quality']} | {row['lpips'][0]:.4f} | {row['lpips'][1]:.4f} | {row['psnr'][0]:.2f} "
            f"| {row['psnr'][1]:.2f} | {100 * row['lower']:.0f} % |"
            for row in result["jpeg"]["rows"]
        ),
        "",
        "## Pictures that no limit was set on",
        "",
        f"How often `mezzotint-x4-real` was chosen, of degraded ones over {len(SEEDS)} seeds; JPEG files are clean "
        "small pictures compressed once. The names of those that were taken wrongly are in the file of the figures.",
        "",
    ]
    kinds = list(next(iter(result["held_out"].values()))["shares"])
    lines += ["| set | pictures | " + " | ".join(kinds) + " |", "|---|--:|" + "--:|" * len(kinds)]
    for name, found in result["held_out"].items():
        cells = [f"{100 * found['shares'][kind]['real']:.1f} %" for kind in kinds]
        lines.append(f"| {name} | {found['shares']['clean']['pictures']} | " + " | ".join(cells) + " |")
    lines += [
        "",
        "## What it costs",
        "",
        "Milliseconds of one thread; the first picture of a process fills tables.",
        "",
        "| picture | the first | every other | a megapixel of it |",
        "|---|--:|--:|--:|",
    ]
    for row in result["cost"]:
        each = row["ms"] / (row["height"] * row["width"] / 1e6)
        lines.append(f"| {row['width']}x{row['height']} | {row['first']:.0f} | {row['ms']:.0f} | {each:.0f} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("training", type=Path)
    parser.add_argument("held_out", type=Path, nargs="+")
    parser.add_argument("-o", "--output", type=Path, default=HERE / "results" / "choice.json")
    parser.add_argument("--page", type=Path, default=HERE.parent / "docs" / "choice.md")
    parser.add_argument("--figures", type=Path, help="a file for the figures of every picture")
    options = parser.parse_args()
    torch.set_num_threads(1)
    result: dict[str, Any] = {"cost": cost(), "held_out": {}}
    figures = {}
    for folder in options.held_out:
        figures[folder.name] = found = measure(folder, seeds=SEEDS, qualities=QUALITIES)
        result["held_out"][folder.name] = {"shares": shares(found), "wrong": wrong(found)}
    figures["training"] = rows = measure(options.training, seeds=SEEDS[:1], qualities=())
    result["jpeg"] = nearer(options.training)
    result["training"] = {"shares": shares(rows), "limits": by_limit(rows), "wrong": wrong(rows)}
    if options.figures is not None:
        write_bytes(options.figures, json.dumps(figures).encode(), overwrite=True)
    write_bytes(options.output, (json.dumps(result, indent=1) + "\n").encode(), overwrite=True)
    write_bytes(options.page, page(result).encode(), overwrite=True)


if __name__ == "__main__":
    main()
