"""The methods of the survey with weights, on the same crops: a table and the curve over training time.

    python benchmarks/methods.py --data FOLDER WEIGHTS... [--seeds 0,1,2,3,4] [--limit N] [--sheet FILE]

Each WEIGHTS is a folder or file of a trained method; several of one method give its curve over training time, and the
one trained longest stands in the table. `--data` holds the benchmarks of `quality.crops` (Set14, BSD100); the 34 crops
of 128x128 are measured under the protocol y-modern, by a factor of 4, with as many evaluations of the network as
`EVALUATIONS` says. Writes benchmarks/results/methods.json and docs/methods.md; with `--sheet` a picture of five crops
by every method, for the eye alone: the crops may not be published. Rows of methods that are not named are kept. Nothing
is timed.
"""

from __future__ import annotations

import argparse
import json
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from mezzotint import images, methods
from mezzotint.images import sheets
from mezzotint.methods.recipe import Recipe
from mezzotint.noise import Noise
from mezzotint.operators.resize import imresize
from mezzotint.quality.crops import load_crops
from mezzotint.quality.evaluation import Candidate, Output, evaluate, to_json

HERE = Path(__file__).resolve().parent
MEASURES = ("psnr", "ssim", "lpips", "lr_psnr")
# The most that a small preset may ask its network for; annealed Langevin asks five times a level.
EVALUATIONS = {"ncsn-sr": 100}
MOST = 50
# Methods whose own configuration is short, or has exactly so many operations.
STEPS = {"resshift": 15, "i2sb": 10, "indi": 10, "cold-diffusion": None}
SHOWN = (0, 7, 15, 23, 30)


class Calls:
    """How often a network was asked."""

    def __init__(self, network: torch.nn.Module) -> None:
        self.count = 0
        network.register_forward_hook(self._add)

    def _add(self, *_: object) -> None:
        self.count += 1


def small_tensor(x: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(x).permute(2, 0, 1)[None].float() / 127.5 - 1


def unit(y: torch.Tensor) -> np.ndarray:
    return (y[0].permute(1, 2, 0).clamp(-1, 1).numpy() + 1) / 2


def steps_for(method: Recipe, calls: Calls) -> int:
    """As many steps as the evaluations allow, found by asking, or the method's own short walk."""
    own = STEPS.get(method.name, 0)
    if own != 0:
        return own or method.steps_default
    most = EVALUATIONS.get(method.name, MOST)
    x = torch.zeros(1, method.channels, 4, 4)
    counts = []
    for steps in (2, 4):
        calls.count = 0
        method.sample(x, steps=steps, noise=Noise(0))
        counts.append(calls.count)
    each = (counts[1] - counts[0]) / 2
    return int((most - (counts[0] - 2 * each)) // each)


def candidates(weights: list[str]) -> tuple[list[Candidate], dict[str, dict[str, Any]]]:
    """Every weights file as a candidate, the longest trained of a method also with its own prediction."""
    loaded = []
    for name in weights:
        method, card = methods.load_with_card(name)
        if not isinstance(method, Recipe):
            raise SystemExit(f"{name} holds {card.method}, which is not a recipe of one diffusion")
        method.eval().requires_grad_(False)
        loaded.append((method, card))
    longest = {m.name: max(c.iterations or 0 for n, c in loaded if n.name == m.name) for m, _ in loaded}
    found, about = [], {}
    for method, card in loaded:
        final = (card.iterations or 0) == longest[method.name]
        label = method.name if final else f"{method.name} after {card.iterations}"
        if label in about:
            continue  # the same weights twice, as a run and its last point
        calls = Calls(method.network)
        steps = steps_for(method, calls)
        about[label] = {
            "method": method.name, "final": final, "steps": steps, "iterations": card.iterations,
            "minutes": round(60 * (card.hours or 0.0), 1), "weights": card.digest,
            "parameters": sum(p.numel() for p in method.parameters()),
        }  # fmt: skip
        draw = sampler(method, steps, calls)
        found.append(Candidate(label, draw, deterministic=not final, settings=about[label]))
        if final and (prediction := predictor(method)) is not None:
            found.append(Candidate(f"{method.name}, its prediction", prediction, deterministic=True))
    return found, about


def sampler(method: Recipe, steps: int, calls: Calls) -> Callable[[np.ndarray, int], Output]:
    def upscale(x: np.ndarray, seed: int) -> Output:
        calls.count = 0
        y = method.sample(small_tensor(x), steps=steps, noise=Noise(seed, pictures=(zlib.crc32(x.tobytes()),)))
        return Output(unit(y), {"nfe": float(calls.count)})

    return upscale


def predictor(method: Recipe) -> Callable[[np.ndarray, int], np.ndarray] | None:
    """The picture that a method starts from where it diffuses a residual: that of a state of zeros."""
    if method.name not in ("diwa", "srdiff"):
        return None

    def upscale(x: np.ndarray, seed: int) -> np.ndarray:
        small, size = small_tensor(x), (4 * x.shape[0], 4 * x.shape[1])
        context = method.domain.context(small, size=size)
        return unit(method.domain.decode(torch.zeros(method.domain.shape(context)), context, size=size))

    return upscale


def bicubic(x: np.ndarray, seed: int) -> np.ndarray:
    y = imresize(torch.from_numpy(x).permute(2, 0, 1).double() / 255, scale=4)
    return y.permute(1, 2, 0).clamp(0, 1).numpy()


def sheet(crops: list[tuple[str, np.ndarray]], every: list[Candidate], path: Path) -> None:
    """A row a crop: bicubic, every method, the truth."""
    named = [c for c in every if "," not in c.name and " after " not in c.name]
    rows = []
    for index in SHOWN:
        if index >= len(crops):
            continue
        y = crops[index][1]
        x = imresize(torch.from_numpy(y).permute(2, 0, 1).double() / 255, size=(y.shape[0] // 4, y.shape[1] // 4))
        small = (x.permute(1, 2, 0).clamp(0, 1) * 255).round().to(torch.uint8).numpy()
        made = [c.upscale(small, 0) for c in named]
        pictures = [m.image if isinstance(m, Output) else m for m in made]
        rows.append((*[(np.asarray(p) * 255).round().astype(np.uint8) for p in pictures], y))
    images.write(
        images.Picture(sheets.contact_sheet(rows, labels=(*(c.name for c in named), "truth"))), path, overwrite=True
    )


def page(content: dict[str, Any]) -> str:
    """The page of the documentation, from the figures."""
    found = content["methods"]
    plain = found["bicubic"]["mean"]
    lines = [
        "# The methods of the survey at equal network",
        "",
        "Small presets, trained on two CPU cores with the run files in `training/`: the same U-Net, pictures and",
        "steps, and as many parameters but for what a method adds. So little training compares what methods make of",
        "it; it says nothing of their papers' figures. Made by `python benchmarks/methods.py`, with figures in",
        "`benchmarks/results/methods.json`.",
        "",
        f"{content['images']} crops of 128x128 of Set14 and BSD100, scale 4, protocol {content['protocol']}; means",
        f"over the seeds {', '.join(map(str, content['seeds']))}.",
        "PSNR and LR-PSNR in dB, LPIPS of AlexNet (lower looks nearer), spread in grey levels: the deviation between",
        "seeds, root mean square over pixels.",
        "",
        "| method | minutes | evaluations | PSNR | SSIM | LPIPS | LR-PSNR | spread |",
        "|---|--:|--:|--:|--:|--:|--:|--:|",
    ]  # fmt: skip

    def row(name: str, figures: dict[str, Any]) -> str:
        mean, about = figures["mean"], figures["settings"]
        spread = figures.get("calibration", {}).get("spread2")
        cells = [
            name, f"{about['minutes']:.0f}" if about else "", f"{mean['nfe']:.0f}" if "nfe" in mean else "",
            f"{mean['psnr']:.2f}", f"{mean['ssim']:.4f}", f"{mean['lpips']:.4f}", f"{mean['lr_psnr']:.2f}",
            f"{spread**0.5:.2f}" if spread is not None else "",
        ]  # fmt: skip
        return "| " + " | ".join(cells) + " |"

    final = {n: f for n, f in found.items() if " after " not in n}
    lines += [row(name, figures) for name, figures in final.items()]
    short = [n for n, f in final.items() if f["settings"] and f["mean"]["lpips"] >= plain["lpips"]]
    lines += ["", "Not below bicubic in LPIPS: " + (", ".join(short) or "none") + ".", ""]
    lines += ["## Over training time", ""]
    lines += ["LPIPS (PSNR) after so many minutes, one seed.", "", "| method | |", "|---|---|"]
    for name in (n for n, f in final.items() if f["settings"]):
        points = sorted((f["settings"]["minutes"], f["mean"]) for f in found.values()
                        if f["settings"].get("method") == name)  # fmt: skip
        curve = ", ".join(f"{minutes:.0f}: {mean['lpips']:.3f} ({mean['psnr']:.1f})" for minutes, mean in points)
        lines.append(f"| {name} | {curve} |")
    lines.append("")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("weights", nargs="*")
    parser.add_argument("--data", type=Path)
    parser.add_argument("--page-only", action="store_true", help="write the page anew from the figures that are there")
    parser.add_argument("--sheet", type=Path, help="also draw five crops by every method into this file")
    parser.add_argument("--sheet-only", action="store_true", help="draw --sheet, measure nothing")
    parser.add_argument("--limit", type=int, default=None)
    parser.add_argument("--seeds", default="0,1,2,3,4")
    parser.add_argument("-o", "--output", type=Path, default=HERE / "results" / "methods.json")
    parser.add_argument("--page", type=Path, default=HERE.parent / "docs" / "methods.md")
    options = parser.parse_args()
    old = json.loads(options.output.read_text()) if options.output.exists() else {"methods": {}}
    if options.page_only:
        options.page.write_text(page(old))
        return
    if not options.weights or options.data is None:
        parser.error("name WEIGHTS and --data")
    if options.sheet_only and options.sheet is None:
        parser.error("name the file of the sheet: --sheet FILE")
    with torch.no_grad():
        every, about = candidates(options.weights)
        every.insert(0, Candidate("bicubic", bicubic, deterministic=True))
        crops = list(load_crops(options.data, read=lambda path: images.read_plain(path).pixels))[: options.limit]
        if options.sheet_only:
            sheet(crops, every, options.sheet)
            return
        result = evaluate(
            crops, every, scale=4, seeds=[int(s) for s in options.seeds.split(",")], measures=MEASURES, folder="crops",
        )  # fmt: skip
        if options.sheet is not None:
            sheet(crops, every, options.sheet)
    new = json.loads(to_json(result))
    for figures in new["methods"].values():
        figures.pop("images", None)
    asked = {row["method"] for row in about.values()}
    kept = {n: f for n, f in old["methods"].items() if n.split(",")[0].split(" after ")[0] not in {*asked, "bicubic"}}
    together = {**new["methods"], **kept}
    order = ["bicubic", *(card.name for card in methods.cards())]
    names = sorted(together, key=lambda n: (order.index(n.split(",")[0].split(" after ")[0]), n))
    content = {
        "protocol": new["protocol"], "seeds": new["seeds"], "images": new["data"]["images"],
        "methods": {name: together[name] for name in names},
    }  # fmt: skip
    options.output.write_text(json.dumps(content, indent=1) + "\n")
    options.page.write_text(page(content))
    print(f"{len(every)} rows: {options.output}, {options.page}")


if __name__ == "__main__":
    main()
