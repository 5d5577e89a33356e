"""Every zero-shot solver with one prior on the same crops: at 20 and at 100 evaluations, and at its authors' own count.

    python benchmarks/zero_shot.py --data FOLDER PRIOR [--only ddrm,ddnm] [--limit N] [--slow-crops N]
        [--budget-minutes M] [--threads 1] [--batch N] [--engine openvino]
    python benchmarks/zero_shot.py --merge FILES... (of runs elsewhere, -o, with other --only)
    python benchmarks/zero_shot.py --page-only
    python benchmarks/zero_shot.py --data FOLDER PRIOR --sheet FILE.png

PRIOR is a folder or file of weights of the method `prior`; `--data` holds the benchmarks of `quality.crops` (Set14,
BSD100). Writes benchmarks/results/zero_shot.json after every few crops and docs/zero-shot-figures.md at the end. A
further call goes on where the last one stopped, also at Ctrl-C; another prior starts anew. `--sheet` draws four crops
by some solvers, one sheet a setting, for the eye alone, and measures nothing: the crops may not be published.

Three settings: bicubic reduction by 4; the same with noise; means of cells of 4x4 with noise. The noise has a deviation
of 0.05 for pictures in [0, 1]. Small pictures are not rounded. Results are clipped and rounded to 8 bits, as a file
holds them. What comes first is what says most: 20 evaluations in all settings, then 100, then the authors' counts.
`--engine openvino` computes the prior sooner (docs/engines.md); times are taken in PyTorch, on a row's first crops.
"""

from __future__ import annotations

import argparse
import bisect
import json
import math
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from mezzotint import images, methods
from mezzotint.images import atomic, sheets
from mezzotint.methods.restorer import Restorer, build_restorer
from mezzotint.networks import engines
from mezzotint.noise import Noise, picture_id
from mezzotint.operators.linear import LinearOperator
from mezzotint.operators.named import named_operator
from mezzotint.operators.resize import imresize
from mezzotint.quality import lpips, psnr, ssim, statistics
from mezzotint.quality.crops import load_crops
from mezzotint.zero_shot import SOLVERS, Measurement
from mezzotint.zero_shot.spectral import Posterior
from mezzotint.zero_shot.table import Row

HERE = Path(__file__).resolve().parent
SCALE = 4
NOISE = 0.05
COUNTS = (20, 100)
FIGURES = ("psnr", "ssim", "lpips", "lr_psnr")
# Solvers in their first variant, then variants that ask for another trade of detail and PSNR.
RUNS = (*SOLVERS, "diffpir@fresh", "spectral@means")
NAMED = ("ddrm", "ddnm", "diffpir", "diffpir@fresh", "pigdm", "dps", "spectral", "spectral@means")
BATCHES = (1, 2, 4)
# The seed of the noise in small pictures; solvers draw with seed 0.
MEASURED = 1
PLAIN = ("bicubic", "wiener")


@dataclass(frozen=True)
class Setting:
    """How small pictures are made: an operator's name, and noise for pictures in [0, 1]."""

    name: str
    title: str
    operator: str
    noise: float

    def of(self, size: tuple[int, int]) -> LinearOperator:
        return named_operator(self.operator, scale=SCALE).for_large(*size)

    def small(self, crops: Sequence[Crop]) -> Tensor:
        """A y + noise, b 3 h w in [0, 1] but for the noise, float64; the noise is a function of each picture."""
        y = torch.stack([crop.unit for crop in crops])
        x = self.of((int(y.shape[-2]), int(y.shape[-1]))).A(y)
        noise = Noise(MEASURED, pictures=tuple(crop.id for crop in crops))
        return x + self.noise * noise.normal("degradation", 0, tuple(x.shape))


SETTINGS = (
    Setting("bicubic", "Bicubic, without noise", "bicubic", 0.0),
    Setting("bicubic, noise", f"Bicubic, noise {NOISE:g}", "bicubic", NOISE),
    Setting("average, noise", f"Average pooling, noise {NOISE:g}", "average", NOISE),
)
# Where the authors' own counts are run: without noise where the card refuses it, else as they published.
OWN = {"ddnm": "bicubic", "gdp": "average, noise", "pigdm": "average, noise", "red-diff": "average, noise"}
OWN_CROPS = ("Set14/baboon", "BSD100/3096")


@dataclass(frozen=True)
class Crop:
    """A true picture, uint8 (h, w, 3)."""

    name: str
    pixels: np.ndarray

    @property
    def id(self) -> int:
        return picture_id(self.pixels)

    @property
    def unit(self) -> Tensor:
        return torch.from_numpy(self.pixels).permute(2, 0, 1).double() / 255


@dataclass(frozen=True)
class Work:
    """A row of the table: one solver in one setting with so many steps on some crops. `wanted`: the count that the
    steps are for, None for the authors' own."""

    solver: str
    setting: Setting
    steps: int
    evaluations: int
    wanted: int | None
    crops: tuple[Crop, ...]

    @property
    def key(self) -> str:
        return f"{self.solver} | {self.setting.name} | {self.steps}"


def read_crops(folder: Path) -> list[Crop]:
    """The crops of the list, grey ones in three channels."""
    found = load_crops(folder, read=lambda path: images.read_plain(path).pixels)
    return [Crop(name, np.repeat(pixels, 3 // pixels.shape[2], axis=2)) for name, pixels in found]


def spread(crops: Sequence[Crop], count: int | None) -> tuple[Crop, ...]:
    """So many crops at even distances of the list, the first among them; all where that is not said."""
    if count is None or count >= len(crops):
        return tuple(crops)
    return tuple(crops[i * len(crops) // count] for i in range(count))


def steps_for(restorer: Restorer, count: int) -> int:
    """The steps whose evaluations are nearest to `count`; the fewer of equals. More steps never take fewer."""
    places = range(1, count + 1)
    above = bisect.bisect_left(places, count, key=restorer.evaluations)
    near = [places[i] for i in (above - 1, above) if 0 <= i < count]
    return min(near, key=lambda steps: (abs(restorer.evaluations(steps) - count), steps))


def plan(
    restorers: dict[str, Restorer], crops: Sequence[Crop], slow_crops: int | None = None, counts: Sequence[int] = COUNTS
) -> Iterator[Work]:
    """All rows, those that say most first."""
    for count in counts:
        some = tuple(crops) if count == min(counts) else spread(crops, slow_crops)
        for setting in SETTINGS:
            for name, restorer in restorers.items():
                if setting.noise > 0 and not solver_of(name).noise:
                    continue
                steps = steps_for(restorer, count)
                yield Work(name, setting, steps, restorer.evaluations(steps), count, some)
    two = tuple(crop for crop in crops if crop.name in OWN_CROPS) or tuple(crops[:2])
    named = {setting.name: setting for setting in SETTINGS}
    for name, restorer in restorers.items():
        if "@" in name:
            continue
        setting = named[OWN.get(name, "bicubic, noise" if solver_of(name).noise else "bicubic")]
        steps = restorer.steps_default
        yield Work(name, setting, steps, restorer.evaluations(steps), None, two)


def restore(work: Work, restorer: Restorer, crops: Sequence[Crop]) -> Tensor:
    """What the solver makes of the crops' small pictures, b 3 H W in [0, 1], not clipped."""
    x = 2 * work.setting.small(crops) - 1
    noise = Noise(0, pictures=tuple(crop.id for crop in crops))
    y = restorer.sample(
        x.float(), noise=noise, steps=work.steps, operator=work.setting.operator, sigma=2 * work.setting.noise
    )
    return (y + 1) / 2


def plain(name: str, setting: Setting, crops: Sequence[Crop], prior: nn.Module) -> Tensor:
    """The rows that ask no network: bicubic enlargement, and the linear estimate from the spectrum of pictures."""
    x, size = setting.small(crops), (int(crops[0].pixels.shape[0]), int(crops[0].pixels.shape[1]))
    if name == "bicubic":
        return imresize(x, size=size)
    known = Measurement.of_unit(x, setting.of(size), noise=setting.noise)
    like = torch.zeros(len(crops), 3, *size, dtype=torch.float64)
    return (Posterior.at(known, prior.spectrum, float("inf"), like=like).mean(like) + 1) / 2  # pyright: ignore


def score(y: Tensor, setting: Setting, crop: Crop) -> list[float] | None:
    """The figures of one result 3 H W, in the order of `FIGURES`; None for one that is not finite."""
    if not bool(torch.isfinite(y).all()):
        return None
    levels = (y.permute(1, 2, 0).clamp(0, 1) * 255).round().to(torch.uint8).numpy()
    kept = Crop(crop.name, levels).unit[None]
    x = setting.small([crop])
    off = setting.of((int(kept.shape[-2]), int(kept.shape[-1]))).A(kept) - x
    found = (
        psnr(crop.pixels, levels, protocol="y-modern", scale=SCALE),
        ssim(crop.pixels, levels, protocol="y-modern", scale=SCALE),
        lpips(crop.pixels, levels),
        -10 * math.log10(max(float(off.square().mean()), 1e-12)),
    )
    return [round(value, 5) for value in found]


def evaluation_seconds(prior: nn.Module, bridge: Any, shape: Sequence[int], repeat: int = 1) -> float:
    """Processor seconds of one evaluation of the network for each picture of a batch, the least of the repeats."""
    z = torch.randn(*shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    denoise, least = prior.of(bridge, like=z.float()), math.inf  # pyright: ignore
    with torch.no_grad():
        for _ in range(repeat):
            began = time.process_time()
            denoise(z, 0.5)
            least = min(least, time.process_time() - began)
    return least / shape[0]


def choose_batch(prior: nn.Module, bridge: Any, side: int) -> tuple[int, dict[str, float]]:
    """The largest batch that is not slower per crop than another, to 2 %, and the seconds of all that were tried."""
    seconds = {n: evaluation_seconds(prior, bridge, (n, 3, side, side), repeat=4) for n in BATCHES}
    best = max(n for n in BATCHES if seconds[n] <= 1.02 * min(seconds.values()))
    return best, {str(n): round(value, 5) for n, value in seconds.items()}


def batch_difference(restorer: Restorer, crops: Sequence[Crop]) -> float:
    """The largest difference in grey levels between two crops together and alone, five steps, with noise."""
    work = Work(restorer.name, SETTINGS[1], 5, 5, None, tuple(crops[:2]))
    together = restore(work, restorer, work.crops)
    alone = torch.cat([restore(work, restorer, [crop]) for crop in work.crops])
    return float((together - alone).abs().max() * 255)


def peak_memory() -> tuple[int, int]:
    """Bytes of this process that are resident, and the most that ever were."""
    found = {}
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith(("VmRSS:", "VmHWM:")):
            found[line[:5]] = int(line.split()[1]) * 1024
    return found["VmRSS"], found["VmHWM"]


def grow(prior_name: str, solver: str, side: int) -> int:
    """Bytes by which the peak of this process grows while a solver works on one crop in few steps.

    `solver` "network" is one evaluation of the network. Run in a process of its own.
    """
    torch.set_num_threads(1)
    prior = load_prior(prior_name)[0]
    name = "ddrm" if solver == "network" else solver
    restorer = build_one(name, prior)
    before, _ = peak_memory()
    if solver == "network":
        evaluation_seconds(prior, restorer.bridge, (1, 3, side, side))
    else:
        restorer.sample(torch.zeros(1, 3, side // SCALE, side // SCALE), noise=Noise(0), steps=3)
    return peak_memory()[1] - before


def measure_memory(prior_name: str, solver: str, side: int) -> float | None:
    """`grow` in a new process, in MiB; None where /proc does not say it."""
    if not Path("/proc/self/status").exists():
        return None
    command = [sys.executable, str(Path(__file__).resolve()), prior_name, "--memory", solver, "--side", str(side)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return round(int(done.stdout.split()[-1]) / 2**20, 1)


def solver_of(name: str) -> Row:
    """The row of a solver, or of a solver@variant, in the package's table."""
    return SOLVERS[name.partition("@")[0]]


def build_one(name: str, prior: nn.Module) -> Restorer:
    """A solver in its first variant, or a solver@variant."""
    solver, _, preset = name.partition("@")
    preset = preset or next(iter(SOLVERS[solver].presets))
    return build_restorer(solver, scale=SCALE, preset=preset, config=None, prior=prior)


def load_prior(name: str) -> tuple[nn.Module, Any]:
    prior, card = methods.load_with_card(Path(name))
    if methods.find(card.method).family != "prior":
        raise SystemExit(f"{name} holds weights of {card.method}: name those of a prior")
    return prior.eval().requires_grad_(False), card


def build_all(prior: nn.Module, only: Sequence[str] | None = None) -> dict[str, Restorer]:
    """Every solver in its first variant on the prior; without `spectral` where the prior has no spectrum."""
    names = [name for name in RUNS if only is None or name in only]
    if getattr(prior, "spectrum", None) is None:
        names = [name for name in names if not name.startswith("spectral")]
    return {name: build_one(name, prior) for name in names}


def write(path: Path, content: dict[str, Any]) -> None:
    """Write the result at once or not at all, a line a row."""
    head = {key: value for key, value in content.items() if key != "rows"}
    lines = [f"  {json.dumps(key)}: {json.dumps(row)}" for key, row in content["rows"].items()]
    text = json.dumps(head, indent=1)[:-2] + ',\n "rows": {\n' + ",\n".join(lines) + "\n }\n}\n"
    atomic.write_bytes(path, text.encode(), overwrite=True)


def merge(content: dict[str, Any], other: dict[str, Any]) -> None:
    """Add the rows of another run with the same prior; of a row that both have the one with more crops stays.

    SystemExit where the prior is another.
    """
    if other["weights"] != content["weights"]:
        raise SystemExit(f"the prior {other['weights'][:12]} is not {content['weights'][:12]}: merge runs of one prior")
    for key, row in other["rows"].items():
        old = content["rows"].get(key, {"crops": {}, "own": False, "wanted": None})
        kept = row if len(row["crops"]) > len(old["crops"]) else old
        # What a row is for is what either run wanted it for.
        wanted = row["wanted"] if old["wanted"] is None else old["wanted"]
        content["rows"][key] = {**kept, "own": row["own"] or old["own"], "wanted": wanted}
    content["memory"] = {**other["memory"], **content["memory"]}


def begin(path: Path, card: Any, *, threads: int) -> dict[str, Any]:
    """What is there of the same prior, or nothing yet."""
    own = {"weights": card.digest, "iterations": card.iterations, "hours": card.hours}
    if path.exists():
        old = json.loads(path.read_text(encoding="utf-8"))
        if old.get("weights") == card.digest:
            return old
    return {**own, "threads": threads, "memory": {}, "rows": {}}


def row_of(content: dict[str, Any], work: Work, restorer: Restorer | None) -> dict[str, Any]:
    """The row of a piece of work, emptied where it was made with other settings."""
    about = {
        "solver": work.solver, "setting": work.setting.name, "operator": work.setting.operator,
        "noise": work.setting.noise, "steps": work.steps, "evaluations": work.evaluations,
        "preset": "" if restorer is None else restorer.preset,
        "config": {} if restorer is None else json.loads(json.dumps(restorer.config)),
    }  # fmt: skip
    row = content["rows"].get(work.key)
    if row is None or any(row.get(key) != value for key, value in about.items()):
        row = {**about, "wanted": None, "own": False, "crops": {}, "timing": []}
        content["rows"][work.key] = row
    if work.wanted is None:
        row["own"] = restorer is not None
    else:
        row["wanted"] = work.wanted
    return row


class Clock:
    """Says when the minutes are spent; without minutes, never."""

    def __init__(self, minutes: float | None, now: Callable[[], float] = time.monotonic) -> None:
        self.now, self.end = now, math.inf if minutes is None else now() + 60 * minutes

    @property
    def spent(self) -> bool:
        return self.now() >= self.end


def run(
    prior_name: str,
    crops: Sequence[Crop],
    *,
    output: Path,
    only: Sequence[str] | None = None,
    slow_crops: int | None = None,
    counts: Sequence[int] = COUNTS,
    batch: int | None = None,
    clock: Clock | None = None,
    memory: bool = True,
    threads: int = 1,
    engine: str = "eager",
    report: Callable[[str], None] = print,
) -> bool:
    """Do what is missing and return whether nothing is; the result is whole on disk after every few crops."""
    clock = clock or Clock(None)
    prior, card = load_prior(prior_name)
    restorers = build_all(prior, only)
    networks: tuple[nn.Module, ...] = prior.networks  # pyright: ignore
    used = "eager"
    engines.use(used, networks)
    bridge = next(iter(restorers.values())).bridge
    content, side = begin(output, card, threads=threads), int(crops[0].pixels.shape[0])
    content["crops"] = [crop.name for crop in crops]
    if "batch" not in content:
        best, tried = choose_batch(prior, bridge, side)
        content |= {"batch": best, "batch_seconds": tried}
        if len(crops) > 1:
            checked = restorers.get("ddrm") or build_all(prior, ["ddrm"])["ddrm"]
            content["batch_difference"] = round(batch_difference(checked, crops), 6)
    size = batch or content["batch"]
    for setting in SETTINGS:
        for name in PLAIN if getattr(prior, "spectrum", None) is not None else PLAIN[:1]:
            row = row_of(content, Work(name, setting, 0, 0, 0, tuple(crops)), None)
            for crop in crops:
                if crop.name not in row["crops"]:
                    row["crops"][crop.name] = score(plain(name, setting, [crop], prior)[0], setting, crop)
    write(output, content)
    works = list(plan(restorers, crops, slow_crops, counts))
    asked_memory = False
    for work in works:
        if not asked_memory and memory and work.wanted != min(counts):
            asked_memory = True
            for name in ("network", *restorers):
                if name not in content["memory"]:
                    if clock.spent:
                        return False
                    content["memory"][name] = measure_memory(prior_name, name, side)
                    write(output, content)
        restorer = restorers[work.solver]
        row = row_of(content, work, restorer)
        left = [crop for crop in work.crops if crop.name not in row["crops"]]
        while left:
            if clock.spent:
                write(output, content)
                return False
            now, left = left[:size], left[size:]
            shape = (len(now), 3, side, side)
            timed = engine == "eager" or restorer.differentiates or not row["timing"]
            if used != ("eager" if timed else engine):
                used = "eager" if timed else engine
                engines.use(used, networks)
            before = evaluation_seconds(prior, bridge, shape) if timed else 0.0
            began = time.process_time()
            y = restore(work, restorer, now)
            seconds = time.process_time() - began
            if timed:
                network = 0.5 * (before + evaluation_seconds(prior, bridge, shape))
                row["timing"].append([len(now), round(seconds, 4), round(network, 5)])
            for item, crop in zip(y, now, strict=True):
                row["crops"][crop.name] = score(item, work.setting, crop)
            write(output, content)
        report(f"{work.key}: {', '.join(f'{value:.4g}' for value in means(row) or ())}")
    write(output, content)
    return True


# -- the page --------------------------------------------------------------------------------------------------------


def means(row: dict[str, Any], names: Sequence[str] | None = None) -> list[float] | None:
    """The means of a row's figures over its crops, or over some of them; None where one has none."""
    wanted = [row["crops"].get(name) for name in (row["crops"] if names is None else names)]
    if not wanted or any(figures is None for figures in wanted):
        return None
    return [float(value) for value in np.mean([f for f in wanted if f is not None], axis=0)]


def timing(row: dict[str, Any]) -> tuple[float, float] | None:
    """Seconds for each crop, and their ratio to one evaluation of the network beside it."""
    if not row["timing"]:
        return None
    count = sum(n for n, _, _ in row["timing"])
    seconds = sum(seconds for _, seconds, _ in row["timing"]) / count
    return seconds, seconds / (sum(n * network for n, _, network in row["timing"]) / count)


def beats(row: dict[str, Any], other: dict[str, Any]) -> dict[str, float | bool] | None:
    """Whether LPIPS is lower and PSNR not, by means over the crops of `row`; with the 95 % interval of both gaps."""
    names = list(row["crops"])
    mine, theirs = means(row), means(other, names)
    if mine is None or theirs is None:
        return None
    gaps = {key: [row["crops"][n][i] - other["crops"][n][i] for n in names] for key, i in (("psnr", 0), ("lpips", 2))}
    psnr_gap, lpips_gap = (float(np.mean(gaps[key])) for key in ("psnr", "lpips"))
    found = {key: statistics.bootstrap_interval(values) for key, values in gaps.items()}
    sure = found["psnr"] is not None and found["lpips"] is not None
    sure = sure and found["psnr"][0] > 0 and found["lpips"][1] < 0  # pyright: ignore
    return {
        "beats": lpips_gap < 0 and psnr_gap >= 0, "sure": bool(sure), "psnr": psnr_gap, "lpips": lpips_gap,
        "crops": len(names),
    }  # fmt: skip


def _counts(content: dict[str, Any]) -> list[int]:
    return sorted({row["wanted"] for row in content["rows"].values() if row["wanted"]})


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def _cells(name: str, row: dict[str, Any], content: dict[str, Any], names: Sequence[str]) -> list[str]:
    shown = [n for n in names if n in row["crops"]]
    found, timed, memory = means(row, shown), timing(row), content["memory"].get(row["solver"])
    if len(shown) < len(names):
        name += f" ({len(shown)} of {len(names)} crops)"
    measures = ["not finite"] + [""] * 3
    if found is not None:
        measures = [f"{found[0]:.2f}", f"{found[1]:.4f}", f"{found[2]:.4f}", f"{found[3]:.1f}"]
    return [
        name, *([str(row["steps"]), str(row["evaluations"])] if row["preset"] else ["", ""]), *measures,
        f"{timed[1]:.1f}" if timed else "", f"{timed[0]:.2f}" if timed else "", f"{memory:.0f}" if memory else "",
    ]  # fmt: skip


_HEAD = [
    "| solver | steps | evaluations | PSNR | SSIM | LPIPS | LR-PSNR | time | seconds | memory |",
    "|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|",
]
_LABELS = {"bicubic": "bicubic enlargement", "wiener": "linear estimate"}


def _label(solver: str) -> str:
    return _LABELS.get(solver, f"`{solver}`")


def _plain_rows(content: dict[str, Any], setting: Setting) -> list[dict[str, Any]]:
    found = [row for row in content["rows"].values() if row["setting"] == setting.name]
    return [row for name in PLAIN for row in found if row["solver"] == name]


def _solver_rows(content: dict[str, Any], setting: Setting, count: int) -> list[dict[str, Any]]:
    found = [row for row in content["rows"].values() if row["setting"] == setting.name and row["crops"]]
    return [row for name in RUNS for row in found if row["solver"] == name and row["wanted"] == count]


def _tables(content: dict[str, Any]) -> list[str]:
    lines = []
    for setting in SETTINGS:
        of_counts = {count: _solver_rows(content, setting, count) for count in _counts(content)}
        of_counts = {count: rows for count, rows in of_counts.items() if rows}
        lines += [f"## {setting.title}", ""] if of_counts else []
        for count, rows in of_counts.items():
            # The crops that most rows have; a row that is not done yet says how far it is.
            names = max((list(row["crops"]) for row in rows), key=len)
            lines += [f"About {count} evaluations, {len(names)} crops.", "", *_HEAD]
            every = [*_plain_rows(content, setting), *rows]
            lines += [_line(_cells(_label(row["solver"]), row, content, names)) for row in every]
            lines.append("")
    return lines


def _verdicts(content: dict[str, Any]) -> list[str]:
    lines = [
        "## Who beats plain enlargement",
        "",
        "Yes: the mean LPIPS is lower than that of the other row and the mean PSNR is not, on the same crops; with a",
        "star both gaps have 95 % intervals over the crops that leave out 0. In brackets the gaps, of LPIPS and of",
        "PSNR in dB.",
        "",
    ]
    for against in PLAIN:
        table = []
        for name in NAMED:
            cells = [f"`{name}`"]
            for setting in SETTINGS:
                others = [row for row in _plain_rows(content, setting) if row["solver"] == against]
                said = []
                for count in _counts(content):
                    for row in _solver_rows(content, setting, count):
                        found = beats(row, others[0]) if row["solver"] == name and others else None
                        if found is not None:
                            word = ("yes*" if found["sure"] else "yes") if found["beats"] else "no"
                            gaps = f"{found['lpips']:+.3f}, {found['psnr']:+.2f}"
                            said.append(f"{word} at {row['evaluations']} ({gaps})")
                cells.append("; ".join(said))
            if any(cells[1:]):
                table.append(_line(cells))
        if table:
            titles = ["solver", *(setting.title.lower() for setting in SETTINGS)]
            lines += [f"Against the {_label(against)}:", "", _line(titles), "|---|---|---|---|", *table, ""]
    for setting in SETTINGS:
        measured = [row for count in _counts(content) for row in _solver_rows(content, setting, count)]
        if not any(row["solver"] in NAMED for row in measured):
            continue
        best = {}
        for against in PLAIN:
            others = [row for row in _plain_rows(content, setting) if row["solver"] == against]
            winners = []
            for name in NAMED:
                found = [beats(row, others[0]) for row in measured if row["solver"] == name] if others else []
                if any(one is not None and one["beats"] for one in found):
                    winners.append(f"`{name}`")
            best[against] = ", ".join(winners) or "none"
        lines.append(f"- {setting.title}: better than bicubic {best['bicubic']}; than the linear estimate "
                     f"{best['wiener']}.")  # fmt: skip
    return [*lines, ""]


def _own(content: dict[str, Any]) -> list[str]:
    rows = [row for name in RUNS for row in content["rows"].values() if row["own"] and row["solver"] == name]
    if not rows:
        return []
    crops = [name for name in OWN_CROPS if any(name in row["crops"] for row in rows)]
    crops = crops or content["crops"][:2]
    lines = [
        "## The authors' own counts",
        "",
        f"The crops {' and '.join(crops)}, each solver in a setting that it is for, with as many steps as its authors",
        "take.",
        "",
    ]
    for setting in SETTINGS:
        here = [row for row in rows if row["setting"] == setting.name and any(n in row["crops"] for n in crops)]
        if here:
            lines += [f"{setting.title}:", "", *_HEAD]
            every = [*_plain_rows(content, setting), *here]
            lines += [*(_line(_cells(_label(row["solver"]), row, content, crops)) for row in every), ""]
    return lines


def _denoising(content: dict[str, Any] | None) -> list[str]:
    if content is None:
        return []
    lines = [
        "## Denoising in one evaluation",
        "",
        f"Colour noise on {content['pictures']} whole pictures of BSD100, taken out by one evaluation of the prior:",
        "PSNR in dB over all channels, of the result clipped and rounded to 8 bits. The noisy picture is not rounded,",
        "its own PSNR is of what was drawn. Made by `python benchmarks/denoising.py`, figures in",
        "`benchmarks/results/denoising.json`.",
        "",
        "| noise, grey levels | noisy | denoised | wanted | hoped for |",
        "|--:|--:|--:|--:|--:|",
    ]
    for sigma, row in content["levels"].items():
        cells = [sigma, f"{row['noisy']:.2f}", f"{row['denoised']:.2f}", f"{row['target']:.1f}", f"{row['goal']:.1f}"]
        lines.append(_line(cells))
    short = [sigma for sigma, row in content["levels"].items() if row["denoised"] < row["target"]]
    return [*lines, "", f"Below what was wanted at: {', '.join(short) or 'none'}.", ""]


def page(content: dict[str, Any], denoising: dict[str, Any] | None = None) -> str:
    """The page of the documentation, from the figures."""
    refusing = ", ".join(f"`{name}`" for name, row in SOLVERS.items() if not row.noise)
    network = content["memory"].get("network")
    batch = (
        f"Crops went in batches of {content['batch']}, the largest of {', '.join(map(str, BATCHES))} that is not "
        "slower per crop"
    )
    if "batch_difference" in content:
        batch += f";\n  a batch and its crops alone differ by at most {content['batch_difference']:.2g} grey levels"
    same = same_weights(content, denoising)
    lines = [
        "# Zero-shot solvers on the same crops",
        "",
        "All solvers of [zero-shot.md](zero-shot.md), each in its default variant and some in others, with one prior.",
        "Made by `python benchmarks/zero_shot.py`, with figures in `benchmarks/results/zero_shot.json`; nothing is",
        "written by hand.",
        "",
        f"The prior: {content['iterations']} steps, {content['hours']:.1f} hours of training, weights "
        f"`{content['weights'][:12]}`.",
        "",
        f"- Pictures: {len(content['crops'])} crops of 128x128 of Set14 and BSD100, scale {SCALE}. Small pictures are",
        f"  made by the operator in float and are not rounded. Noise {NOISE:g} is the deviation for pictures in",
        f"  [0, 1], {255 * NOISE:g} grey levels, seeded by each picture; papers that state 0.05 for pictures in",
        "  [-1, 1] have half as much.",
        "- PSNR (dB) and SSIM: protocol y-modern, of the result clipped and rounded to 8 bits. LPIPS: AlexNet, lower",
        "  looks nearer.",
        "- LR-PSNR (dB): 10 log10(1 / mean (A y - x)^2), y that result and x the small picture as the solver got it,",
        "  both in [0, 1], all channels. Rounding alone leaves about 71. With noise the right",
        f"  value is {-20 * math.log10(NOISE):.1f}, that of the true picture: more is noise that was fitted, less is",
        "  picture that was lost.",
        "- Evaluations: the nearest number to the one wanted that the solver can make. Seconds: processor time per",
        f"  crop, all threads together ({content['threads']} here), which other work beside it hardly changes. Time:",
        "  the same over that of one evaluation of the network without gradients, measured before and after on crops",
        "  of the same batch. Rows that OpenVINO computed were timed on their first crops, in PyTorch.",
        f"- {batch}.",
        "- Memory (MiB): how far the peak of the resident set of a process of its own grows while the solver works on",
        "  one crop in three steps"
        + (f"; one evaluation of the network alone takes {network:.0f}." if network else "."),
        f"- {refusing} take the input for exact and refuse noise: they have rows without noise only.",
        "- Bicubic enlargement is that of the same input, noise included. The linear estimate asks no network: it is",
        "  the best linear one for pictures with the spectrum of the training pictures (Wiener), at a known noise.",
        "",
        *_tables(content),
        *_verdicts(content),
        *_own(content),
        *_denoising(denoising if same else None),
    ]
    return "\n".join(lines).rstrip("\n") + "\n"


def same_weights(content: dict[str, Any], denoising: dict[str, Any] | None) -> bool:
    return denoising is not None and denoising["weights"] == content["weights"]


# -- for the eye -----------------------------------------------------------------------------------------------------


def draw(prior_name: str, crops: Sequence[Crop], *, only: Sequence[str], count: int, path: Path) -> list[Path]:
    """A sheet of crops a setting: the input, bicubic, the solvers, the truth."""
    prior, _ = load_prior(prior_name)
    restorers, made = build_all(prior, only), []

    def levels(y: Tensor) -> np.ndarray:
        return (y.permute(1, 2, 0).clamp(0, 1) * 255).round().to(torch.uint8).numpy()

    for setting in SETTINGS:
        plains = PLAIN if getattr(prior, "spectrum", None) is not None else PLAIN[:1]
        columns = [[levels(x) for x in setting.small(crops)]]
        columns += [[levels(y) for y in plain(name, setting, crops, prior)] for name in plains]
        labels = ["input", *plains]
        for name, restorer in restorers.items():
            if setting.noise > 0 and not solver_of(name).noise:
                continue
            steps = steps_for(restorer, count)
            work = Work(name, setting, steps, restorer.evaluations(steps), count, tuple(crops))
            columns.append([levels(y) for y in restore(work, restorer, crops)])
            labels.append(f"{name} {work.evaluations}")
        columns.append([crop.pixels for crop in crops])
        rows = list(zip(*columns, strict=True))
        made.append(path.with_name(f"{path.stem}-{setting.name.replace(', ', '-')}{path.suffix}"))
        images.write(images.Picture(sheets.contact_sheet(rows, labels=(*labels, "truth"))), made[-1], overwrite=True)
    return made


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("prior", nargs="?")
    parser.add_argument("--data", type=Path)
    parser.add_argument("--only", help="solvers, separated by commas")
    parser.add_argument("--limit", type=int, help="the first crops of the list alone")
    parser.add_argument("--slow-crops", type=int, help="so many crops, spread over the list, above 20 evaluations")
    parser.add_argument("--budget-minutes", type=float, help="stop after so many minutes; a further call goes on")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--batch", type=int, help="crops at a time; the fastest of 1, 2, 4 without it")
    parser.add_argument("--engine", choices=engines.NAMES, default="eager", help="what computes the prior")
    parser.add_argument("--page-only", action="store_true", help="write the page anew from the figures that are there")
    parser.add_argument("--merge", type=Path, nargs="+", help="add the rows of these files of results, measure nothing")
    parser.add_argument("--sheet", type=Path, help="draw four crops into files of this name, measure nothing")
    parser.add_argument("--sheet-evaluations", type=int, default=20)
    parser.add_argument("--memory", help=argparse.SUPPRESS)
    parser.add_argument("--side", type=int, default=128, help=argparse.SUPPRESS)
    parser.add_argument("-o", "--output", type=Path, default=HERE / "results" / "zero_shot.json")
    parser.add_argument("--denoising", type=Path, default=HERE / "results" / "denoising.json")
    parser.add_argument("--page", type=Path, default=HERE.parent / "docs" / "zero-shot-figures.md")
    options = parser.parse_args()
    only = None if options.only is None else options.only.split(",")
    unknown = [name for name in only or () if name not in RUNS]
    if unknown:
        parser.error(f"{unknown[0]!r} is no solver: --only takes {', '.join(RUNS)}")
    if options.memory is not None:
        print(grow(options.prior, options.memory, options.side))
        return
    if options.merge:
        content = json.loads(options.output.read_text(encoding="utf-8"))
        for path in options.merge:
            merge(content, json.loads(path.read_text(encoding="utf-8")))
        write(options.output, content)
    elif not options.page_only:
        if options.prior is None or options.data is None:
            parser.error("name PRIOR and --data")
        torch.set_num_threads(options.threads)
        crops = read_crops(options.data)
        if options.sheet is not None:
            made = draw(options.prior, spread(crops, 4), only=only or NAMED, count=options.sheet_evaluations,
                        path=options.sheet)  # fmt: skip
            print(*made)
            return
        done = run(
            options.prior, crops[: options.limit], output=options.output, only=only, slow_crops=options.slow_crops,
            batch=options.batch, clock=Clock(options.budget_minutes), threads=options.threads, engine=options.engine,
            report=lambda text: print(text, flush=True),
        )  # fmt: skip
        print("done" if done else "the minutes are spent: call it again to go on", flush=True)
    content = json.loads(options.output.read_text(encoding="utf-8"))
    denoising = json.loads(options.denoising.read_text(encoding="utf-8")) if options.denoising.exists() else None
    options.page.write_text(page(content, denoising), encoding="utf-8")
    print(f"{len(content['rows'])} rows: {options.output}, {options.page}")


if __name__ == "__main__":
    main()
