"""Bridges and samplers at equal network: `shared` sampled as each scalar bridge of the table and with each solver.

    python benchmarks/bridges.py --weights FOLDER --data FOLDER [--evaluations 5,10,20] [--limit N] [--seeds 0]

`--data` holds the benchmarks of `quality.crops` (Set14, BSD100); the 34 crops of 128x128 are measured under the
protocol y-modern, by a factor of 4. Writes benchmarks/results/bridges.json and docs/bridges.md. Nothing is timed.
"""

from __future__ import annotations

import argparse
import itertools
import json
import zlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from mezzotint import images, methods
from mezzotint.bridges import Bridge
from mezzotint.bridges.table import NAMED
from mezzotint.methods.shared import Shared
from mezzotint.noise import Noise
from mezzotint.operators.resize import imresize
from mezzotint.quality.crops import load_crops
from mezzotint.quality.evaluation import Candidate, Output, evaluate, to_json
from mezzotint.samplers import SAMPLERS, build, count_evaluations, sample

HERE = Path(__file__).resolve().parent
# The solvers are compared on one bridge that ends in noise and one that ends at the small picture.
COMPARED = ("improved-ddpm", "resshift")
MEASURES = ("psnr", "ssim", "lpips", "lr_psnr")


def draw(
    method: Shared, x: np.ndarray, bridge: Bridge, sampler: str, spacing: str, evaluations: int, seed: int
) -> Output:
    """Sample one small picture, uint8 (h, w, 3), in at most so many evaluations of the network."""
    small = torch.from_numpy(x).permute(2, 0, 1)[None].float() / 127.5 - 1
    size = (4 * x.shape[0], 4 * x.shape[1])
    context = method.domain.context(small, size=size)
    step = build(sampler, bridge=bridge)
    steps = max(1, evaluations // SAMPLERS[sampler].evaluations)
    grid = bridge.grid(steps, spacing=spacing)  # pyright: ignore[reportArgumentType]
    y = sample(
        method.denoiser(small, context=context, bridge=bridge),
        bridge=bridge,
        noise=Noise(seed, pictures=(zlib.crc32(x.tobytes()),)),
        grid=grid,
        x_state=method.domain.lift(small, context),
        step=step,
    )
    used = count_evaluations(grid, step=step, bridge=bridge)
    return Output((y[0].permute(1, 2, 0).clamp(-1, 1).numpy() + 1) / 2, {"nfe": float(used)})


def candidates(method: Shared, evaluations: Sequence[int], note: Callable[[str, str], None]) -> Iterator[Candidate]:
    """Every combination that can be walked; the others are noted with what they were refused for."""

    def one(name: str, sampler: str, spacing: str, count: int) -> Candidate | None:
        bridge = NAMED[name]()
        label = f"{name} | {sampler} | {spacing} | {count}"
        try:
            build(sampler, bridge=bridge)
            bridge.grid(2, spacing=spacing)  # pyright: ignore[reportArgumentType]
        except ValueError as error:
            note(label, str(error))
            return None

        def upscale(x: np.ndarray, seed: int) -> Output:
            return draw(method, x, bridge, sampler, spacing, count, seed)

        settings = {"bridge": name, "sampler": sampler, "spacing": spacing, "evaluations": count}
        return Candidate(label, upscale, deterministic=False, settings=settings)

    # Animorphosis ends at another picture, not at the small one or noise.
    scalar = [name for name in NAMED if NAMED[name]().scalar and name != "animorphosis"]
    rows = [(name, sampler, "uniform") for name in scalar for sampler in ("ancestral", "ddim")]
    rows += [(name, sampler, "log-snr") for name in COMPARED for sampler in SAMPLERS]
    for (name, sampler, spacing), count in itertools.product(rows, evaluations):
        found = one(name, sampler, spacing, count)
        if found is not None:
            yield found


def reference() -> Candidate:
    def upscale(x: np.ndarray, seed: int) -> np.ndarray:
        y = imresize(torch.from_numpy(x).permute(2, 0, 1).double() / 255, scale=4)
        return y.permute(1, 2, 0).clamp(0, 1).numpy()

    return Candidate("bicubic", upscale, deterministic=True)


def page(result: dict[str, Any]) -> str:
    """The page of the documentation, from the figures."""
    evaluations, refused = result["evaluations"], result["refused"]
    trained = f"weights of {result['hours']:g} hours of training on two CPU cores ({result['iterations']} steps)"
    found = {tuple(m["settings"].get(k) for k in ("bridge", "sampler", "spacing", "evaluations")): m["mean"]
             for name, m in result["methods"].items() if name != "bicubic"}  # fmt: skip
    plain = result["methods"]["bicubic"]["mean"]
    head = "| bridge | sampler | " + " | ".join(f"PSNR, {n} | LPIPS, {n}" for n in evaluations) + " |"
    rule = "|---|---|" + "--:|--:|" * len(evaluations)

    def row(name: str, sampler: str, spacing: str) -> str | None:
        cells = []
        for n in evaluations:
            mean = found.get((name, sampler, spacing, n))
            if mean is None:
                return None
            cells.append(f"{mean['psnr']:.2f} | {mean['lpips']:.4f}")
        return f"| {name} | {sampler} | " + " | ".join(cells) + " |"

    def table(rows: Iterator[str | None]) -> list[str]:
        return [head, rule, *(line for line in rows if line is not None), ""]

    names = list(dict.fromkeys(key[0] for key in found))
    lines = [
        "# Bridges and samplers at equal network",
        "",
        "Every scalar bridge minus what it holds of the small picture is an ordinary noisy picture, so one network",
        "that knows the small picture serves them all. Here `shared` does: the same weights, noise and pictures; what",
        "differs is the process, the solver and the number of network evaluations. Made by",
        "`python benchmarks/bridges.py`, with figures in `benchmarks/results/bridges.json`.",
        "",
        f"{result['data']['images']} crops of 128x128 of Set14 and BSD100, scale 4, protocol {result['protocol']}, "
        f"seeds {', '.join(map(str, result['seeds']))}; {trained}.",
        f"Bicubic interpolation: {plain['psnr']:.2f} dB, LPIPS-AlexNet {plain['lpips']:.4f}.",
        "",
        "## Bridges, each on its own clock",
        "",
        "Steps are uniform in the time of the bridge, as published configurations count it; PSNR in dB (higher is",
        "nearer) and LPIPS-AlexNet (lower looks nearer), by evaluations.",
        "",
        *table(row(name, sampler, "uniform") for name in names for sampler in ("ancestral", "ddim")),
        "## Samplers, steps uniform in log-SNR",
        "",
        *table(row(name, sampler, "log-snr") for name in COMPARED for sampler in SAMPLERS),
    ]  # fmt: skip
    if refused:
        lines += ["## Refused", "", "Combinations that a sampler cannot serve, with its own words.", ""]
        said: dict[str, list[str]] = {}
        for label, reason in refused.items():
            bridge, sampler, *_ = label.split(" | ")
            said.setdefault(reason, []).append(f"{bridge} with {sampler}")
        lines += [f"- {', '.join(dict.fromkeys(labels))}: {reason}" for reason, labels in said.items()]
        lines.append("")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--weights")
    parser.add_argument("--data", type=Path)
    parser.add_argument("--page-only", action="store_true", help="write the page anew from the figures that are there")
    parser.add_argument("--evaluations", default="5,10,20")
    parser.add_argument("--limit", type=int, default=None)
    parser.add_argument("--seeds", default="0")
    parser.add_argument("-o", "--output", type=Path, default=HERE / "results" / "bridges.json")
    parser.add_argument("--page", type=Path, default=HERE.parent / "docs" / "bridges.md")
    options = parser.parse_args()
    if options.page_only:
        options.page.write_text(page(json.loads(options.output.read_text())))
        return
    if options.weights is None or options.data is None:
        parser.error("name --weights and --data")
    method, card = methods.load_with_card(options.weights)
    if not isinstance(method, Shared):
        parser.error(f"--weights {options.weights} holds {card.method}, not shared")
    method.eval().requires_grad_(False)
    counts = [int(n) for n in options.evaluations.split(",")]
    refused: dict[str, str] = {}
    every = [reference(), *candidates(method, counts, refused.__setitem__)]
    crops = itertools.islice(load_crops(options.data, read=lambda path: images.read_plain(path).pixels), options.limit)
    result = evaluate(
        crops, every, scale=4, seeds=[int(s) for s in options.seeds.split(",")], measures=MEASURES, folder="crops",
    )  # fmt: skip
    content = json.loads(to_json(result))
    for figures in content["methods"].values():
        figures.pop("images", None)
    content |= {"evaluations": counts, "refused": refused}
    content |= {"weights": card.digest, "hours": card.hours, "iterations": card.iterations}
    options.output.write_text(json.dumps(content, indent=1) + "\n")
    options.page.write_text(page(content))
    print(f"{len(every)} rows: {options.output}, {options.page}")


if __name__ == "__main__":
    main()
