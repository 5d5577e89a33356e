"""Put trained weights of a method into the package: half precision, with a complete card.

    python training/ship.py runs/mezzotint-x4-refiner --hours 2.0 --iterations 30000 --realism 0.5 --steps 4 \
        [--figure "Set5 y-modern psnr realism 0=30.9" ...]
    python training/ship.py runs/mezzotint-x4-real-adversarial --gain 1.2 --realism 0.5 --steps 3 \
        --spread-factor 1.86 --hours 1.7 --iterations 18041 --pictures training,training-large
    python training/ship.py runs/mezzotint-x4-long --fine-gain 1.15 --gain 1.2 \
        --realism 0.56 --steps 3 --spread-factor 1.07 --hours 7.4 --iterations 58800 \
        --pictures training,training-large
    python training/ship.py runs/span-wide --predictor
    python training/ship.py runs/prior

The file has the name of the method that the run trained, mezzotint-x4-real.safetensors in the second line. Hours and
iterations are those of the run in the folder unless they are given, as for a method of two stages. `--average` mixes
in the weights of another run that this one comes from or that came from it: their mean is often better than either
(Wortsman et al. 2022, arXiv 2203.05482). What is mixed, and the gain of the finest octave, are chosen by `--try
FOLDER`, which writes nothing and prints the figures of what would be shipped, on pictures that the tables of
docs/realism.md do not use, such as those of GB82:

    python training/ship.py runs/mezzotint-x4-again --average runs/mezzotint-x4-adversarial=0.3 --steps 4 --try GB82
    python training/ship.py runs/mezzotint-x4-again --steps 4 --try BSDS399 --every 5 --shrink 1
    python training/ship.py runs/mezzotint-x4-again --steps 4 --try pictures-large --every 13 --shrink 1
    python training/ship.py runs/mezzotint-x4-real-adversarial --gain 1.2 --steps 3 --try BSDS399 --every 20 \
        --shrink 1 --preset real-esrgan
"""

from __future__ import annotations

import argparse
import subprocess
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import nn

from mezzotint import images, methods, weights
from mezzotint.data import pictures
from mezzotint.data.benchmarks import find_pictures
from mezzotint.methods.mezzotint_x4 import PredictRefine
from mezzotint.networks.edsr import Edsr
from mezzotint.noise import Noise
from mezzotint.operators.degradation import degrade
from mezzotint.operators.resize import imresize_uint8
from mezzotint.quality import lpips, psnr

ROOT = Path(__file__).resolve().parents[1]
REALISMS = (0.0, 0.25, 0.5, 0.75, 1.0)


def commit() -> str:
    """Return the commit that the working tree stands on."""
    done = subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=True)
    return done.stdout.strip()


@torch.no_grad()
def mix(method: nn.Module, other: nn.Module, share: float) -> None:
    """Bring the weights of `method` nearer to those of `other`, the same networks, by `share` of the way."""
    if not 0 <= share <= 1:
        raise SystemExit(f"a share of {share} lies outside 0 to 1")
    theirs = other.state_dict()
    for name, value in method.state_dict().items():
        value.lerp_(theirs[name].to(value), share)


def amplified(method: PredictRefine, **gains: float) -> PredictRefine:
    """Return the same networks with another `fine_gain` or `gain`."""
    made = PredictRefine(name=method.name, scale=method.scale, preset=method.preset, **{**method.config, **gains})
    made.load_state_dict(method.state_dict())
    return made


@torch.no_grad()
def attempt(
    method: PredictRefine, paths: Sequence[Path], *, steps: int, shrink: float, preset: str | None = None,
    side: int = 384, seeds: int = 4,
) -> str:  # fmt: skip
    """Measure mean and samples on the middle of every picture: protocol y-modern, not corrected, float.

    The pictures are shrunk by `shrink` first: 2 makes photographs of today as sharp in every pixel as those of the
    usual sets. Then MATLAB's bicubic makes the small ones, or the degradation `preset`. Calibration: the variance of
    the samples over the squared error of their mean, times 1 + 1 / seeds; 1 is right, and the spread factor is what
    makes it 1.
    """
    figures, scale = [], int(method.scale)
    for number, path in enumerate(paths):
        pixels = images.read_plain(path).pixels
        pixels = np.repeat(pixels, 3 // pixels.shape[2], axis=2)
        planes = imresize_uint8(torch.from_numpy(pixels).permute(2, 0, 1), scale=1 / shrink)
        height, width = (min(side, n // scale * scale) for n in planes.shape[1:])
        top, left = ((n - size) // 2 for n, size in zip(planes.shape[1:], (height, width), strict=True))
        planes = planes[:, top : top + height, left : left + width]
        true = planes.permute(1, 2, 0).contiguous().numpy()
        small, _ = degrade(planes[None], scale=scale, preset=preset, seed=number)
        x = small.float() / 127.5 - 1
        drawn = torch.cat([method.sample(x, steps=steps, noise=Noise(seed)) for seed in range(seeds)])
        mean = method.mean(x)[0]
        each = (mean + realism * (drawn[0] - mean) for realism in REALISMS)
        made = [((y + 1) / 2).clamp(0, 1).permute(1, 2, 0).double().numpy() for y in each]
        row = [psnr(true, y, protocol="y-modern", scale=scale) for y in made]
        row += [lpips(true, (y * 255).round().astype(np.uint8)) for y in made]
        error = (drawn.mean(dim=0) - (planes / 127.5 - 1)).square().mean()
        figures.append([*row, float(drawn.var(dim=0).mean()), float(error)])
    *row, variance, error = np.mean(figures, axis=0)
    calibration = variance / error * (1 + 1 / seeds)
    lines = [f"{len(figures)} pictures"]
    for realism, decibels, distance in zip(REALISMS, row, row[len(REALISMS) :], strict=False):
        below = 1 - distance / row[len(REALISMS)]
        lines.append(f"realism {realism:g}: PSNR {decibels:.3f} dB, LPIPS-AlexNet {distance:.4f}, {below:.1%} below")
    return "\n".join([*lines, f"calibration {calibration:.3f}, spread factor {calibration**-0.5:.2f}"])


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", help="the output folder of the (last) run")
    parser.add_argument("--hours", type=float, help="hours of training, of all stages")
    parser.add_argument("--iterations", type=int, help="steps of training, of all stages")
    parser.add_argument("--realism", type=float, help="the default realism, where the method has one")
    parser.add_argument("--steps", type=int, help="the default number of steps; the method's own without it")
    parser.add_argument("--fine-gain", type=float, help="of the finest octave of a sample, where the method has one")
    parser.add_argument("--gain", type=float, help="of the luminance of a sample, where the method has one")
    parser.add_argument("--spread-factor", type=float, default=1.0, help="what --try prints at its end")
    parser.add_argument("--predictor", action="store_true", help="the network of the mean alone, under its own name")
    parser.add_argument(
        "--average",
        action="append",
        default=[],
        metavar="FOLDER=SHARE",
        help="another run, and its share of every weight; several are mixed in one after the other",
    )
    parser.add_argument("--pictures", default=pictures.TRAINING, help="the lists it was trained on, in their order")
    parser.add_argument("--figure", action="append", default=[], metavar="NAME=VALUE")
    parser.add_argument("--try", dest="folder_tried", type=Path, metavar="FOLDER", help="measure, and write nothing")
    parser.add_argument("--shrink", type=float, default=2.0, help="by how much --try shrinks its pictures first")
    parser.add_argument("--preset", help="the degradation that makes the small pictures of --try, as of a run file")
    parser.add_argument("--every", type=int, default=1, metavar="N", help="--try the first of every N pictures only")
    parser.add_argument("-o", "--output", type=Path, help="in the package without it, in the name of the method")
    options = parser.parse_args()
    if options.every < 1:
        parser.error(f"--every {options.every} is below 1, which takes all pictures")
    method, card = methods.load_with_card(options.folder)
    for text in options.average:
        other, _, share = text.rpartition("=")
        mix(method, methods.load(other), float(share))
    gains = {key: value for key in ("fine_gain", "gain") if (value := getattr(options, key)) is not None}
    if gains:
        if not isinstance(method, PredictRefine):
            parser.error(f"--{next(iter(gains)).replace('_', '-')} is for mezzotint-x4 and its like, not {card.method}")
        method = amplified(method, **gains)
    if options.folder_tried is not None:
        if not isinstance(method, PredictRefine):
            parser.error(f"--try measures mezzotint-x4 and its like, not {card.method}")
        steps = options.steps or card.steps_default or method.steps_default
        paths = find_pictures(options.folder_tried)[:: options.every]
        print(attempt(method.eval(), paths, steps=steps, shrink=options.shrink, preset=options.preset))
        return
    parts, rows = [], []
    for name in options.pictures.split(","):
        listed = pictures.list_files(name)[0]
        found = pictures.read_pictures(listed)
        megapixels = sum(row.megapixels for row in found)
        parts.append(f"{len(found)} openly licensed photographs, {megapixels:.1f} megapixels: training/{listed.name}")
        rows += found
    # A picture of two lists counts once, whatever it was shrunk by.
    rows = list({(row.source, row.source_file): row for row in rows}.values())
    licences = ", ".join(f"{count} {name}" for name, count in sorted(Counter(row.licence for row in rows).items()))
    named = sorted({row.author for row in rows if row.licence.startswith("CC-BY")}, key=str.casefold)
    # As the run noted it, "" for MATLAB's bicubic.
    made = "".join(card.data.partition(", made small by ")[1:])
    steps: int = options.steps or card.steps_default or 1
    about = {
        "name": card.method,
        "data": f"{'; then '.join(parts)}{made}",
        "data_licence": licences,
        "authors": tuple(named),
        "licence": "Apache-2.0",
        "hours": card.hours if options.hours is None else options.hours,
        "iterations": card.iterations if options.iterations is None else options.iterations,
        "commit": commit(),
        "figures": {k: float(v) for k, v in (f.rsplit("=", 1) for f in options.figure)},
        "steps_default": steps,
    }
    kept: tuple[str, ...] = ()
    if options.predictor:
        if not isinstance(method, PredictRefine):
            parser.error(f"--predictor is a part of mezzotint-x4 and its like, not of {card.method}")
        method = method.fused().predictor
        name = "edsr" if isinstance(method, Edsr) else "span"
        config = {key: card.config[key] for key in ("predictor", "channels", "blocks", "collapsed")}
        about |= {
            "name": name, "method": name, "config": config, "receptive_field": method.reach, "local": True,
            "steps_default": None, "realism_default": None, "consistent_default": False,
        }  # fmt: skip
    elif isinstance(method, PredictRefine):
        if options.realism is None:
            parser.error("name the default --realism")
        about |= {
            "config": method.fused().config, "preset": "shipped",
            "realism_default": options.realism, "receptive_field": method.reach(steps),
            "consistent_default": method.describe().consistent_default, "local": True,
            "spread_factor": options.spread_factor,
        }  # fmt: skip
        method, kept = method.fused(), ("deviations",)
    output = options.output or weights.SHIPPED_FOLDER / f"{about['name']}.safetensors"
    output.parent.mkdir(parents=True, exist_ok=True)
    weights.save(output, method.state_dict(), card.model_copy(update=about), keep_float32=kept)
    print(f"{output}: {output.stat().st_size / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
