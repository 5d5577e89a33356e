"""Put trained weights of mezzotint-x4 into the package: half precision, with a complete card.

    python training/ship.py runs/mezzotint-x4-refiner --hours 2.0 --iterations 30000 --realism 0.5 --steps 4 \
        [--figure "Set5 y-modern psnr realism 0=30.9" ...]
"""

from __future__ import annotations

import argparse
import subprocess
from collections import Counter
from pathlib import Path

from mezzotint import methods, weights
from mezzotint.data import pictures

ROOT = Path(__file__).resolve().parents[1]


def commit() -> str:
    """Return the commit that the working tree stands on."""
    done = subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", help="the output folder of the refiner's run")
    parser.add_argument("--hours", type=float, required=True, help="hours of training, predictor and refiner")
    parser.add_argument("--iterations", type=int, required=True)
    parser.add_argument("--realism", type=float, required=True, help="the default realism")
    parser.add_argument("--steps", type=int, required=True, help="the default number of steps")
    parser.add_argument("--pictures", choices=pictures.LISTS, default=pictures.TRAINING, help="what it was trained on")
    parser.add_argument("--figure", action="append", default=[], metavar="NAME=VALUE")
    parser.add_argument("-o", "--output", type=Path, default=weights.SHIPPED_FOLDER / "mezzotint-x4.safetensors")
    options = parser.parse_args()
    method, card = methods.load_with_card(options.folder)
    listed = pictures.list_files(options.pictures)[0]
    rows = pictures.read_pictures(listed)
    licences = ", ".join(f"{count} {name}" for name, count in sorted(Counter(row.licence for row in rows).items()))
    named = sorted({row.author for row in rows if row.licence.startswith("CC-BY")}, key=str.casefold)
    megapixels = sum(row.megapixels for row in rows)
    card = card.model_copy(
        update={
            "preset": "shipped",
            "data": f"{len(rows)} openly licensed photographs, {megapixels:.1f} megapixels: training/{listed.name}",
            "data_licence": licences,
            "authors": tuple(named),
            "licence": "Apache-2.0",
            "hours": options.hours,
            "iterations": options.iterations,
            "commit": commit(),
            "figures": {k: float(v) for k, v in (f.rsplit("=", 1) for f in options.figure)},
            "steps_default": options.steps,
            "realism_default": options.realism,
            "receptive_field": method.reach(options.steps),
            "consistent_default": True,
            "local": True,
        }
    )
    tensors = method.fused().state_dict()
    weights.save(options.output, tensors, card, keep_float32=("deviations",))
    print(f"{options.output}: {options.output.stat().st_size / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
