"""The design of mezzotint-x4: one change a row, the same arithmetic, pictures and measures.

    python benchmarks/design.py --data FOLDER --pictures FOLDER --work FOLDER [--only plain,flow] [--steps 2400]
        [--budget-minutes M] [--threads 1]
    python benchmarks/design.py --page-only

Every row trains a new refiner behind the shipped predictor on `--pictures` (those of `mezzotint data fetch training`)
for as many operations as `--steps` steps of the plain design take, so that a larger network has fewer steps. Designs
that are scored spend the last half of them on the stage `scored` or `adversarial`, which need VGG16's weights. `--work`
keeps the states: a call goes on where the last one stopped. The pictures of Set14 and every fifth of BSD100 out of
`--data` are measured (protocol y-modern, without the correction, float results that are clipped). Writes
benchmarks/results/design.json after every row and docs/design.md. `--seeds 0,1,2` with `--only` gives a row its spread.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from mezzotint import images, methods
from mezzotint.data.benchmarks import find_pictures
from mezzotint.images import atomic
from mezzotint.methods.mezzotint_x4 import PredictRefine
from mezzotint.noise import Noise, SequentialNoise, picture_id
from mezzotint.operators.resize import imresize, imresize_uint8
from mezzotint.quality import lpips, psnr
from mezzotint.training.loop import find_stage, train
from mezzotint.training.run_file import Objective, Optimiser, Pictures, Run
from mezzotint.training.start import open_pictures

HERE = Path(__file__).resolve().parent
SCALE = 4
SAMPLES = 3
STEPS = (4,)
SETS = {"Set14": 1, "BSD100": 5}
"""Of each set one picture in so many is measured."""


@dataclass(frozen=True)
class Phase:
    """A stage of the training of a row, with its share of the operations and its learning rate."""

    stage: str
    share: float
    objective: Objective
    crop: int
    batch: int
    rate: float


@dataclass(frozen=True)
class Design:
    """A row: what is changed, and how. `sampled`: the steps it is sampled in, each of which is measured.

    `scored`: the steps of the samples that are scored in the second half, with that weight of VGG16's features, and
    beside it judged by a critic, with the weight `adversarial`.
    """

    name: str
    change: str
    config: dict[str, Any] = field(default_factory=dict)
    objective: Objective = Objective()
    crop: int = 24
    batch: int = 16
    sampled: tuple[int, ...] = STEPS
    scored: int | None = None
    features: float = 1.0
    rate: float = 2e-3
    adversarial: float = 0.0

    @property
    def phases(self) -> tuple[Phase, ...]:
        if self.scored is None:
            return (Phase("refiner", 1.0, self.objective, self.crop, self.batch, self.rate),)
        features = Objective(perceptual=self.features, perceptual_from=0.0, adversarial=self.adversarial or 1.0)
        last = ("adversarial", 2e-4) if self.adversarial else ("scored", 1e-4)
        return (
            Phase("refiner", 0.5, self.objective, self.crop, self.batch, self.rate),
            Phase(last[0], 0.5, features, 24, 2, last[1]),
        )


PLAIN = {
    "transform": "haar", "bridge": "cosine", "target": "v",
    "refiner_channels": 64, "refiner_blocks": 6, "fine_gain": 1.0, "gain": 1.0,
}  # fmt: skip
"""The refiner that every design changes in one thing, whatever is shipped by then."""

DESIGNS = (
    Design("plain", "Haar bands, cosine in log-SNR, v, 64 channels, 6 blocks", sampled=(1, 2, 4, 8)),
    Design("cells", "the pixels of a cell in place of its Haar bands", {"transform": "cells"}),
    Design("flow", "a straight line from noise to the residual in place of the cosine", {"bridge": "flow"}),
    Design("clean", "predicts the clean bands in place of v", {"target": "y"}),
    Design("noise", "predicts the noise in place of v", {"target": "eps"}),
    Design("clean cells", "cells and clean together", {"transform": "cells", "target": "y"}),
    Design("perceptual", "LPIPS-VGG16 with weight 0.1 in the last 30 % of the steps",
           objective=Objective(perceptual=0.1)),
    Design("narrow", "48 channels: more steps", {"refiner_channels": 48}),
    Design("wide", "96 channels: fewer steps", {"refiner_channels": 96}),
    Design("deep", "10 blocks: fewer steps", {"refiner_blocks": 10}),
    Design("scored 1", "energy score of samples in 1 step, in the second half", sampled=(1,), scored=1),
    Design("scored 2", "energy score of samples in 2 steps, in the second half", sampled=(2,), scored=2),
    Design("scored 4", "energy score of samples in 4 steps, in the second half", scored=4),
    Design("bands scored", "as scored 2, of the bands alone, without VGG16", sampled=(2,), scored=2, features=0.0),
    Design("critic", "as scored 2, and a critic of the samples' bands with weight 0.2", sampled=(2,), scored=2,
           adversarial=0.2),
    Design("slow", "a learning rate of 6e-4 in place of 2e-3", rate=6e-4),
    Design("large crops", "crops of 48 small pixels, 4 of them a batch", crop=48, batch=4),
)  # fmt: skip


@dataclass(frozen=True)
class Truth:
    """A picture y (h, w, 3) uint8, and its small one x (1, 3, h / 4, w / 4) in [-1, 1]."""

    name: str
    y: np.ndarray
    x: Tensor


def read_truths(folder: Path, limit: int | None) -> list[Truth]:
    found = []
    for name, every in SETS.items():
        for path in find_pictures(folder / name)[::every][:limit]:
            pixels = images.read_plain(path).pixels
            pixels = np.repeat(pixels, 3 // pixels.shape[2], axis=2)
            height, width = (side // SCALE * SCALE for side in pixels.shape[:2])
            pixels = np.ascontiguousarray(pixels[:height, :width])
            small = imresize_uint8(torch.from_numpy(pixels).permute(2, 0, 1), scale=1 / SCALE)
            found.append(Truth(f"{name}/{path.stem}", pixels, small[None].float() / 127.5 - 1))
    return found


def build(design: Design, seed: int) -> PredictRefine:
    """The method with the shipped predictor and a new refiner whose weights depend on the seed alone."""
    shipped = methods.load("mezzotint-x4")
    assert isinstance(shipped, PredictRefine)
    config = {**shipped.config, **PLAIN, "steps": design.scored or 4, **design.config}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        made = methods.build("mezzotint-x4", scale=SCALE, preset="shipped", config=config)
    made.predictor.load_state_dict(shipped.predictor.state_dict())
    return made


def operations(design: Design, phase: Phase) -> int:
    """Floating-point operations of one training step, counted."""
    method = build(design, 0)
    y = torch.zeros(phase.batch, 3, SCALE * phase.crop, SCALE * phase.crop)
    x = torch.zeros(phase.batch, 3, phase.crop, phase.crop)
    stage = find_stage(method.stages, phase.stage)
    settings = {"perceptual": phase.objective.perceptual} if phase.objective.perceptual_from == 0 else {}
    for group in stage.groups.values():
        group.requires_grad_(True)
    with FlopCounterMode(display=False) as counter:
        for loss in stage.losses.values():
            loss(y, x, noise=SequentialNoise(seed=0), **settings).backward()
    return counter.get_total_flops()


def run_of(phase: Phase, *, pictures: Path, folder: Path, steps: int, seed: int, threads: int) -> Run:
    return Run(
        method="mezzotint-x4", preset="shipped", stage=phase.stage, scale=SCALE, output=folder, steps=steps,
        batch=phase.batch, seed=seed, threads=threads,
        pictures=Pictures(folder=pictures, names=None, crop=phase.crop),
        optimiser=Optimiser(rate=phase.rate, warmup=0.02, ema=0.99),
        objective=phase.objective,
    )  # fmt: skip


def psnr_of(truth: Truth, y: np.ndarray) -> float:
    return psnr(truth.y, y, protocol="y-modern", scale=SCALE)


def realism_at(truths: Sequence[Truth], means: Sequence[Tensor], drawn: Sequence[Tensor], floor: float) -> float:
    """The largest realism, in steps of 0.01, at which the mean PSNR is not below `floor`."""
    low, high = 0, 100
    while low < high:
        middle = (low + high + 1) // 2
        values = [psnr_of(t, unit(m + middle / 100 * (d - m))) for t, m, d in zip(truths, means, drawn, strict=True)]
        low, high = (middle, high) if np.mean(values) >= floor else (low, middle - 1)
    return low / 100


def unit(y: Tensor) -> np.ndarray:
    """b 3 H W in [-1, 1] to h w 3 in [0, 1], clipped, float."""
    return ((y[0] + 1) / 2).clamp(0, 1).permute(1, 2, 0).double().numpy()


@torch.no_grad()
def measure(method: PredictRefine, truths: Sequence[Truth], steps: int) -> dict[str, float]:
    """The figures of one network sampled in so many steps."""
    method.eval()
    means, samples = [], []
    for truth in truths:
        means.append(method.mean(truth.x))
        every = [method.sample(truth.x, steps=steps, noise=Noise(seed, pictures=(picture_id(truth.y),)))
                 for seed in range(SAMPLES)]  # fmt: skip
        samples.append(torch.cat(every))
    first = [drawn[:1] for drawn in samples]
    plain = [unit(imresize((truth.x + 1) / 2, scale=SCALE) * 2 - 1) for truth in truths]
    floor = float(np.mean([psnr_of(truth, y) for truth, y in zip(truths, plain, strict=True)]))
    realism = realism_at(truths, means, first, floor)
    found: dict[str, float] = {"realism": realism, "bicubic_psnr": round(floor, 4)}
    for name, r in (("mean", 0.0), ("default", realism), ("sample", 1.0)):
        pictures = [unit(mean + r * (drawn - mean)) for mean, drawn in zip(means, first, strict=True)]
        found[f"psnr_{name}"] = float(np.mean([psnr_of(t, y) for t, y in zip(truths, pictures, strict=True)]))
        levels = [(y * 255).round().astype(np.uint8) for y in pictures]
        found[f"lpips_{name}"] = float(np.mean([lpips(t.y, y) for t, y in zip(truths, levels, strict=True)]))
    spread, error = 0.0, 0.0
    for truth, drawn in zip(truths, samples, strict=True):
        y = torch.from_numpy(truth.y).permute(2, 0, 1) / 127.5 - 1
        spread += float(drawn.var(dim=0).mean())
        error += float((drawn.mean(dim=0) - y).square().mean())
    # A sample and the truth are draws of one law where the error of their mean is the spread times 1 + 1 / samples.
    found["calibration"] = spread / error * (1 + 1 / SAMPLES)
    return {key: round(value, 5) for key, value in found.items()}


def write(path: Path, content: dict[str, Any]) -> None:
    atomic.write_bytes(path, (json.dumps(content, indent=1) + "\n").encode(), overwrite=True)


def parameters(method: PredictRefine) -> int:
    return sum(p.numel() for p in method.refiner.parameters())


def page(content: dict[str, Any]) -> str:
    """The page of the documentation, from the figures."""
    lines = [
        "# The design of mezzotint-x4, searched",
        "",
        "One change a row, but for *clean cells*: a new refiner behind the shipped predictor, trained for the",
        f"operations of {content['steps']} steps of the plain",
        "design on the same pictures, so that larger networks have fewer steps. *Scored* designs spend the second half",
        "of the operations on whole samples (stage `scored` or `adversarial`), most of them in VGG16. Made by",
        f"`python benchmarks/design.py --steps {content['steps']}`, with figures in `benchmarks/results/design.json`.",
        "",
        f"{content['pictures']} pictures (of Set14 and of every fifth of BSD100, with `--limit` the first of each),",
        "scale 4, protocol y-modern, results in float,",
        "without the correction that the command applies. *Realism*: the largest at which the PSNR is not below",
        f"bicubic's ({content['floor']:.2f} dB); LPIPS is AlexNet's, there and of a sample (realism 1). *Calibration*:",
        f"mean variance of {SAMPLES} samples over the mean squared error of their mean, times 1 + 1/{SAMPLES}: 1 is",
        "right, less is too sure. Where a row was trained with several seeds, its figures are means, and what follows",
        "them is their standard deviation.",
        "",
        "| design | what is changed | parameters | steps trained | sampled in | realism | LPIPS there "
        "| LPIPS of a sample | PSNR of a sample | calibration |",
        "|---|---|--:|--:|--:|--:|--:|--:|--:|--:|",
    ]
    for design in DESIGNS:
        runs = [row for row in content["rows"].values() if row["design"] == design.name]
        for steps in design.sampled:
            found = [row["figures"][str(steps)] for row in runs if str(steps) in row["figures"]]
            if not found:
                continue
            cells = [
                design.name, design.change, f"{runs[0]['parameters']:,}", " + ".join(map(str, runs[0]["trained"])),
                str(steps),
                *(_mean(found, key, digits) for key, digits in
                  (("realism", 2), ("lpips_default", 4), ("lpips_sample", 4), ("psnr_sample", 2), ("calibration", 2))),
            ]  # fmt: skip
            lines.append("| " + " | ".join(cells) + " |")
    return "\n".join([*lines, ""])


def _mean(rows: Sequence[dict[str, float]], key: str, digits: int) -> str:
    values = [row[key] for row in rows]
    text = f"{np.mean(values):.{digits}f}"
    return text if len(values) == 1 else f"{text} ({np.std(values, ddof=1):.{digits}f})"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, help="the folder that holds Set14 and BSD100")
    parser.add_argument("--pictures", type=Path, help="the training pictures")
    parser.add_argument("--work", type=Path, help="a folder for the states of the trainings")
    parser.add_argument("--only", help="designs, separated by commas")
    parser.add_argument("--seeds", default="0")
    parser.add_argument("--steps", type=int, default=2400, help="steps of the plain design")
    parser.add_argument("--limit", type=int, help="so many pictures of each set")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--budget-minutes", type=float, default=math.inf)
    parser.add_argument("--page-only", action="store_true", help="write the page anew from the figures that are there")
    parser.add_argument("-o", "--output", type=Path, default=HERE / "results" / "design.json")
    parser.add_argument("--page", type=Path, default=HERE.parent / "docs" / "design.md")
    options = parser.parse_args()
    names = [design.name for design in DESIGNS]
    only = names if options.only is None else options.only.split(",")
    if unknown := [name for name in only if name not in names]:
        parser.error(f"{unknown[0]!r} is no design: --only takes {', '.join(names)}")
    content = json.loads(options.output.read_text(encoding="utf-8")) if options.output.exists() else {}
    if not options.page_only:
        if None in (options.data, options.pictures, options.work):
            parser.error("name --data, --pictures and --work")
        search(content, options, [design for design in DESIGNS if design.name in only])
    options.page.write_text(page(content), encoding="utf-8")
    print(f"{len(content['rows'])} rows: {options.output}, {options.page}")


def search(content: dict[str, Any], options: argparse.Namespace, designs: Sequence[Design]) -> None:
    """Train and measure what is missing in `content`, and write it after every row."""
    torch.set_num_threads(options.threads)
    truths = read_truths(options.data, options.limit)
    own = {"steps": options.steps, "pictures": len(truths)}
    if {key: content.get(key) for key in own} != own:
        content.clear()
        content.update(own, floor=0.0, rows={})
    budget, began = options.steps * operations(DESIGNS[0], DESIGNS[0].phases[0]), time.monotonic()
    for seed in (int(text) for text in options.seeds.split(",")):
        for design in designs:
            key = f"{design.name} | {seed}"
            if key in content["rows"]:
                continue
            method, trained, seconds = build(design, seed), [], 0.0
            for phase in design.phases:
                folder = options.work / f"{key}-{phase.stage}".replace(" | ", "-").replace(" ", "-")
                steps = max(1, round(phase.share * budget / operations(design, phase)))
                run = run_of(phase, pictures=options.pictures, folder=folder, steps=steps, seed=seed,
                             threads=options.threads)  # fmt: skip
                with open_pictures(run) as pairs:
                    done = train(
                        method, pairs, run, resume=(folder / "state.safetensors").exists(),
                        stop=lambda: time.monotonic() - began > 60 * options.budget_minutes,
                    )  # fmt: skip
                if done.step < steps:
                    print("the minutes are spent: call it again to go on", flush=True)
                    return
                trained, seconds = [*trained, steps], seconds + done.seconds
            figures = {str(n): measure(method, truths, n) for n in design.sampled}
            content["floor"] = [found.pop("bicubic_psnr") for found in figures.values()][0]
            content["rows"][key] = {
                "design": design.name, "seed": seed, "parameters": parameters(method), "trained": trained,
                "minutes": round(seconds / 60, 1), "sampled": list(design.sampled), "figures": figures,
            }  # fmt: skip
            write(options.output, content)
            print(f"{key}: {json.dumps(figures)}", flush=True)


if __name__ == "__main__":
    main()
