"""Small pictures that were not made as mezzotint-x4 was taught: five ways of making them, with figures.

    python -m benchmarks.robustness --data FOLDER [--method NAME] [--limit N] [--side 256] [--threads 1]
    python -m benchmarks.robustness --page-only

FOLDER holds the folders GB82 and BSD100. Of every picture of GB82 and of every fifth of BSD100 the middle, `--side`
pixels square, is reduced by 4 in each of `WAYS` and enlarged by bicubic interpolation, by NAME (mezzotint-x4, or a file
or folder of its weights) at realism 0, at the default and at realism 1, with its correction and without, and by
mezzotint-x4-real where the package has weights of it. Mean and sample of a small picture are drawn once; each setting
is what `upscale` makes of them. Protocol y-modern but for the small pictures, seed 0; DISTS is measured where its
weights are (`mezzotint weights add`). Writes benchmarks/results/robustness.json and docs/robustness.md. Nothing is
timed.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from mezzotint import images, upscaler, weights
from mezzotint.data.benchmarks import find_pictures, picture_name
from mezzotint.errors import MezzotintError
from mezzotint.images import atomic
from mezzotint.methods.mezzotint_x4 import PredictRefine
from mezzotint.noise import Noise, picture_id
from mezzotint.operators.degradation import degrade
from mezzotint.operators.resize import imresize_uint8
from mezzotint.quality import published
from mezzotint.quality.evaluation import Candidate, Output, evaluate
from mezzotint.upscaler import Interpolation, Upscaler

HERE = Path(__file__).resolve().parent
SCALE = 4
SETS: dict[str, int | None] = {"GB82": None, "BSD100": 20}
"""How many pictures of a set are taken, evenly spread over it; None is all."""
REAL = "mezzotint-x4-real"
BICUBIC = "bicubic"
UNCORRECTED = ", not corrected"
WAVES = (1, 3)
"""In 16 large pixels: one that the small picture can hold and one that is too fine for it."""
MEASURES = {"psnr": ("PSNR, dB", 2), "lpips": ("LPIPS-AlexNet", 4), "dists": ("DISTS", 4)}


# -- the small pictures ------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Way:
    """How a small picture is made: `make` takes uint8 (H, W, 1 or 3) and returns uint8 (H / 4, W / 4, 3)."""

    name: str
    says: str
    make: Callable[[np.ndarray], np.ndarray]


def by_degradation(
    operator: str = "bicubic", *, noise: float = 0.0, jpeg: int | None = None, preset: str | None = None, seed: int = 0
) -> Callable[[np.ndarray], np.ndarray]:
    """What `mezzotint degrade` makes of a picture, its draws those of the seed and of the picture."""

    def make(y: np.ndarray) -> np.ndarray:
        x, _ = degrade(
            _planes(y), preset=preset, scale=SCALE, operator=operator, noise=noise, jpeg=jpeg, seed=seed,
            pictures=(picture_id(y),),
        )  # fmt: skip
        return x[0].permute(1, 2, 0).contiguous().numpy()

    return make


def by_pillow(y: np.ndarray) -> np.ndarray:
    """Pillow's Image.BICUBIC: the same kernel in fixed point, one rounding a pass, weights cut off at the border."""
    size = (y.shape[1] // SCALE, y.shape[0] // SCALE)
    return np.array(Image.fromarray(_rgb(y)).resize(size, Image.Resampling.BICUBIC))


def _rgb(y: np.ndarray) -> np.ndarray:
    return np.repeat(y, 3 // y.shape[2], axis=2)


def _planes(y: np.ndarray) -> Tensor:
    return torch.from_numpy(_rgb(y)).permute(2, 0, 1)[None]


# The camera: the narrowest of the eight Gaussians of Gu et al. 2019 for a factor of 4, 0.45 small pixels of point
# spread, and the weakest noise of BSRGAN (Zhang et al. 2021).
WIDTH, NOISE, QUALITY = 1.8, 2.0, 75
WAYS = (
    Way("matlab", "MATLAB's bicubic in 8 bits, as in training", by_degradation()),
    Way("pillow", "Pillow's `BICUBIC`", by_pillow),
    Way("area", "means of 4 x 4 pixels", by_degradation("average")),
    Way(
        "camera",
        f"a camera: a Gaussian of {WIDTH:g} pixels about the middle of every cell, one value a cell, then white "
        f"noise of {NOISE:g} grey levels",
        by_degradation(f"gaussian:{WIDTH}", noise=NOISE),
    ),
    Way("jpeg", f"MATLAB's bicubic, then JPEG of quality {QUALITY}, 4:2:0", by_degradation(jpeg=QUALITY)),
)


# -- the enlargements --------------------------------------------------------------------------------------------------


class Drawn:
    """Mean and sample of one small picture at a time, uint8 (h, w, 3): (1, 3, 4 h, 4 w) in [0, 1], not clipped.

    SystemExit for a method that has none.
    """

    def __init__(self, loaded: Upscaler) -> None:
        method = getattr(loaded.enlarger, "method", None)
        if not isinstance(method, PredictRefine) or method.scale != SCALE:
            raise SystemExit(f"{loaded.name} has no realism at scale {SCALE}: name mezzotint-x4 or weights of it")
        self.method, self.steps = method, loaded.steps or method.steps_default
        self._kept: tuple[tuple[bytes, int], Tensor, Tensor] | None = None

    def of(self, x: np.ndarray, seed: int) -> tuple[Tensor, Tensor]:
        key = (x.tobytes(), seed)
        if self._kept is None or self._kept[0] != key:
            small = torch.from_numpy(x).permute(2, 0, 1)[None].float() / 255 * 2 - 1
            noise = Noise(seed, pictures=(picture_id(x),))
            mean, sample = self.method.mean(small), self.method.sample(small, steps=self.steps, noise=noise)
            self._kept = (key, mean * 0.5 + 0.5, sample * 0.5 + 0.5)
        return self._kept[1:]


def enlarged(
    x: np.ndarray, loaded: Upscaler, drawn: Drawn, *, realism: float, consistent: bool, seed: int = 0
) -> np.ndarray:
    """What `loaded` makes of uint8 (h, w, 3) at a realism, from what was drawn: float32 (4 h, 4 w, 3) in [0, 1]."""
    mean, sample = drawn.of(x, seed)
    known = Interpolation(lambda rows, **_: mean + realism * (sample - mean), scale=SCALE)
    stand_in = dataclasses.replace(loaded, enlarger=known, realism=None, steps=None, local=False)
    return stand_in(x, seed=seed, consistent=consistent, floats=True).floats[0]


def bicubic(x: np.ndarray, seed: int) -> np.ndarray:
    size = (SCALE * x.shape[0], SCALE * x.shape[1])
    return imresize_uint8(torch.from_numpy(x).permute(2, 0, 1), size=size).permute(1, 2, 0).contiguous().numpy()


def candidates(loaded: Upscaler, *, real: Upscaler | None = None) -> list[Candidate]:
    """Bicubic, every setting of our model, and the model for pictures as they are found, where there is one."""
    drawn = Drawn(loaded)
    default = default_of(loaded)

    def ours(realism: float, consistent: bool) -> Callable[[np.ndarray, int], np.ndarray]:
        return lambda x, seed: enlarged(x, loaded, drawn, realism=realism, consistent=consistent, seed=seed)

    found = [Candidate(BICUBIC, bicubic)]
    found += [Candidate(label(r), ours(r, loaded.consistent)) for r in sorted({0.0, default, 1.0})]
    if loaded.consistent:
        found += [Candidate(label(r) + UNCORRECTED, ours(r, False)) for r in sorted({0.0, default})]
    if real is not None:
        found.append(Candidate(REAL, lambda x, seed: Output(real(x, seed=seed, floats=True).floats[0])))
    return found


def default_of(loaded: Upscaler) -> float:
    return 1.0 if loaded.realism is None else loaded.realism


def label(realism: float) -> str:
    return f"realism {realism:g}"


# -- measuring ---------------------------------------------------------------------------------------------------------


def spread(files: Sequence[Path], count: int | None) -> list[Path]:
    """At most `count` files, evenly spread over the list."""
    if count is None or count >= len(files):
        return list(files)
    return [files[index * len(files) // count] for index in range(count)]


def middle(pixels: np.ndarray, side: int) -> np.ndarray:
    """The middle of a picture (h, w, c), at most `side` pixels each way."""
    height, width = (min(n, side) for n in pixels.shape[:2])
    top, left = (pixels.shape[0] - height) // 2, (pixels.shape[1] - width) // 2
    return pixels[top : top + height, left : left + width].copy()


def middles(files: Sequence[Path], side: int) -> Iterator[tuple[str, np.ndarray]]:
    for file in files:
        yield picture_name(file), middle(images.read_plain(file).pixels, side)


def departure(pictures: Iterable[tuple[str, np.ndarray]], way: Way) -> float:
    """Root mean square over all samples of small pictures less those of MATLAB's bicubic, in grey levels."""
    squares = []
    for _, y in pictures:
        y = y[: y.shape[0] // SCALE * SCALE, : y.shape[1] // SCALE * SCALE]
        off = way.make(y).astype(np.float64) - WAYS[0].make(y)
        squares.append(float(np.square(off).mean()))
    return math.sqrt(sum(squares) / len(squares))


def kept(way: Way, *, waves: int) -> float:
    """The part of its height that a wave keeps in the small picture, of which 16 large pixels hold `waves`.

    More than two are too fine for the small picture: what is kept of them shows as a coarser wave.
    """
    length, side = 4 * SCALE / waves, 64 * SCALE
    # Whole waves away from the borders; the mean over rows and channels is over the noise, over phases over rounding.
    inner = slice(8, 56)
    turned = np.exp(-2j * math.pi / length * SCALE * np.arange(64))[inner]
    heights = []
    for phase in np.arange(8) / 8:
        wave = 128 + 100 * np.cos(2 * math.pi / length * (np.arange(side) + phase))
        y = np.broadcast_to(wave.round().astype(np.uint8)[None, :, None], (side, side, 3)).copy()
        x = way.make(y).astype(np.float64).mean((0, 2))[inner]
        heights.append(2 * float(np.abs(np.mean(x * turned))) / 100)
    return sum(heights) / len(heights)


def measure(
    folder: Path, every: Sequence[Candidate], *, side: int, limit: int | None = None,
    report: Callable[[str], None] = print,
) -> dict[str, Any]:  # fmt: skip
    """The figures of both sets: {set: {"pictures", "ways": {way: {"departure", "methods": {name: {...}}}}}}."""
    measures = [name for name in MEASURES if name != "dists" or published.find("dists") is not None]
    chosen = {}
    for name, count in SETS.items():
        files = spread(find_pictures(folder / name), count)
        chosen[name] = spread(files, limit)
    result: dict[str, Any] = {}
    for name, files in chosen.items():
        ways: dict[str, Any] = {}
        for way in WAYS:
            found = evaluate(middles(files, side), every, scale=SCALE, measures=measures, folder=name, reduce=way.make)
            ways[way.name] = {
                "departure": round(departure(middles(files, side), way), 3),
                "methods": {
                    method: {
                        "mean": _rounded(figures.get("mean", {}), measures),
                        "images": {n: _rounded(one, measures) for n, one in figures.get("images", {}).items()},
                    }
                    for method, figures in found["methods"].items()
                },
            }
            means = (f"{m} {f['mean']['psnr']:.2f}" for m, f in ways[way.name]["methods"].items())
            report(f"{name}, {way.name}: " + "; ".join(means))
        result[name] = {"pictures": len(files), "ways": ways}
    return result


def _rounded(figures: Mapping[str, Any], measures: Sequence[str]) -> dict[str, float]:
    return {name: round(float(figures[name]), 4) for name in measures}


# -- the page ----------------------------------------------------------------------------------------------------------


def page(content: dict[str, Any]) -> str:
    """The page of the documentation, from the figures."""
    sets, default = content["sets"], label(content["default"])
    first = next(iter(sets.values()))
    methods = list(first["ways"]["matlab"]["methods"])
    counts = " and ".join(f"{s['pictures']} of {name}" for name, s in sets.items())
    lines = [
        "# Small pictures that were made otherwise",
        "",
        f"`{content['method']}` was taught one way of making a small picture. Here are five, by a factor of {SCALE}, "
        "and what becomes of them.",
        "Made by `python -m benchmarks.robustness`, with figures in `benchmarks/results/robustness.json`: the middle "
        f"{content['side']}x{content['side']} pixels of {counts}, protocol y-modern but for the small pictures, seed "
        f"{content['seed']}, {content['steps']} steps, weights {content['weights'][:8]}. Realism is corrected "
        f"(`--consistent`, A is MATLAB's bicubic) unless a column says otherwise; {default} is the default.",
        "",
        "| name | the small picture | keeps | aliases | " + " | ".join(f"off, {name}" for name in sets) + " |",
        "|---|---|--:|--:|" + "--:|" * len(sets),
    ]
    for way in WAYS:
        off = (f"{s['ways'][way.name]['departure']:.2f}" for s in sets.values())
        parts = (f"{value:.2f}" for value in content["kept"][way.name])
        lines.append(f"| {way.name} | {way.says} | " + " | ".join((*parts, *off)) + " |")
    lines += [
        "",
        "keeps: the part of its height that a wave of 16 large pixels has in the small picture. aliases: that of one "
        "of 16/3 large pixels, too fine for the small picture, where it shows as a coarser wave that the scene does "
        "not have. off: root mean square difference to the small picture of MATLAB's bicubic, in grey levels.",
        "",
    ]
    for name, one in sets.items():
        lines += [f"## {name}", ""]
        for measure_, (heading, digits) in MEASURES.items():
            if measure_ not in one["ways"]["matlab"]["methods"][BICUBIC]["mean"]:
                continue
            lines += [f"| {heading} | " + " | ".join(methods) + " |", "|---|" + "--:|" * len(methods)]
            for way in WAYS:
                means = one["ways"][way.name]["methods"]
                cells = (f"{means[m]['mean'][measure_]:.{digits}f}" for m in methods)
                lines.append(f"| {way.name} | " + " | ".join(cells) + " |")
            lines.append("")
    if default + UNCORRECTED in methods:
        lines += correction(sets, default)
    lines += ["## What breaks, and why", "", *verdict(sets, default), "", WHY]
    return "\n".join(lines) + "\n"


def correction(sets: dict[str, Any], default: str) -> list[str]:
    """A table of what the correction adds, corrected less not corrected."""
    lines = [
        "## What the correction does",
        "",
        "Corrected less not corrected, and of how many pictures the PSNR falls.",
        "",
        f"| set | small picture | {label(0)}: PSNR | falls | {default}: PSNR | LPIPS | falls |",
        "|---|---|--:|--:|--:|--:|--:|",
    ]
    for name, one in sets.items():
        for way in WAYS:
            methods = one["ways"][way.name]["methods"]
            cells = []
            for realism in (label(0), default):
                gain = gains(methods[realism], methods[realism + UNCORRECTED], "psnr")
                cells.append(f"{np.mean(gain):+.3f}")
                if realism == default:
                    closer = gains(methods[realism], methods[realism + UNCORRECTED], "lpips")
                    cells.append(f"{np.mean(closer):+.4f}")
                cells.append(f"{sum(value < 0 for value in gain)} of {len(gain)}")
            lines.append(f"| {name} | {way.name} | " + " | ".join(cells) + " |")
    return [*lines, ""]


def gains(method: dict[str, Any], other: dict[str, Any], measure_: str) -> list[float]:
    """A measure of a method less that of another, for every picture."""
    return [figures[measure_] - other["images"][name][measure_] for name, figures in method["images"].items()]


def verdict(sets: dict[str, Any], default: str) -> list[str]:
    """Sentences that say where our model keeps ahead of bicubic enlargement, and where the correction harms."""
    lines = []
    for name, one in sets.items():
        mean = {way.name: {m: f["mean"] for m, f in one["ways"][way.name]["methods"].items()} for way in WAYS}
        better = {w: m[label(0)]["psnr"] - m[BICUBIC]["psnr"] for w, m in mean.items()}
        closer = {w: m[default]["lpips"] - m[BICUBIC]["lpips"] for w, m in mean.items()}
        lines.append(
            f"{name}: {label(0)} against bicubic enlargement, dB: "
            + ", ".join(f"{w} {value:+.2f}" for w, value in better.items())
            + f"; {default}, LPIPS (lower is nearer): "
            + ", ".join(f"{w} {value:+.3f}" for w, value in closer.items())
            + "."
        )
        for realism in (label(0), default):
            if realism + UNCORRECTED not in mean["matlab"]:
                continue
            loss = {w: m[realism + UNCORRECTED]["psnr"] - m[realism]["psnr"] for w, m in mean.items()}
            harmed = [w for w, value in loss.items() if value > 0]
            lines[-1] += f" At {realism} the correction lowers the PSNR of " + (
                f"{', '.join(harmed)}, by at most {max(loss.values()):.3f} dB." if harmed else "none."
            )
        lines.append("")
    return lines[:-1]


WHY = """\
The model inverts one operator. It cannot tell a soft small picture from a soft scene, so what the camera takes from
fine waves (keeps, above) is not put back. Means of cells alias, and a false wave is a wave: it is sharpened like a true
one. Noise and the waves that JPEG leaves beside edges are detail to a model that never saw any; they are enlarged with
everything else, and a sample draws its grain about them. The correction adds no knowledge. A corrected result shrinks
by MATLAB's bicubic to exactly the small picture, so it brings back every error that the small picture has; what that
costs or gains stands in the table of the correction."""


def check(parser: argparse.ArgumentParser, options: argparse.Namespace) -> None:
    """End with an error of the parser for options that no measurement can be made with."""
    if options.data is None:
        parser.error("name --data")
    for name, value, low in (("--limit", options.limit, 1), ("--side", options.side, 64)):
        if value is not None and value < low:
            parser.error(f"{name} {value} is below {low}")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, help="the folder that holds " + " and ".join(SETS))
    parser.add_argument("--method", default="mezzotint-x4", metavar="NAME")
    parser.add_argument("--limit", type=int, help="so many pictures of each set")
    parser.add_argument("--side", type=int, default=256)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--page-only", action="store_true", help="write the page anew from the figures that are there")
    parser.add_argument("-o", "--output", type=Path, default=HERE / "results" / "robustness.json")
    parser.add_argument("--page", type=Path, default=HERE.parent / "docs" / "robustness.md")
    options = parser.parse_args()
    if not options.page_only:
        check(parser, options)
        torch.set_num_threads(options.threads)
        try:
            loaded = upscaler.load(options.method)
            there = [item for item in weights.shipped() if item.name == REAL]
            every = candidates(loaded, real=upscaler.load(there[0].path) if there else None)
            sets = measure(options.data, every, side=options.side, limit=options.limit,
                           report=lambda text: print(text, flush=True))  # fmt: skip
        except MezzotintError as error:
            parser.error(str(error))
        content = {
            "method": loaded.name, "weights": loaded.weights, "default": default_of(loaded), "steps": loaded.steps,
            "seed": 0, "side": options.side, "protocol": "y-modern",
            "kept": {way.name: [round(kept(way, waves=n), 3) for n in WAVES] for way in WAYS}, "sets": sets,
        }  # fmt: skip
        atomic.write_bytes(options.output, (json.dumps(content, indent=1) + "\n").encode(), overwrite=True)
    text = page(json.loads(options.output.read_text(encoding="utf-8")))
    atomic.write_bytes(options.page, text.encode(), overwrite=True)
    print(options.page)


if __name__ == "__main__":
    main()
