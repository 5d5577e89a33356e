"""Unconditional samples of a prior, for the eye: what it takes photographs for.

    python benchmarks/prior_samples.py [PRIOR] [--side 128] [--count 12] [--steps 100] [-o FILE.png]

PRIOR is a folder or file of weights of the method `prior`, the one in the package without it. Every sample has a seed
of its own, from 0 on; nothing is picked. Writes docs/images/prior.png, four samples a row.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from mezzotint import images, methods
from mezzotint.images import sheets
from mezzotint.noise import Noise

ROOT = Path(__file__).resolve().parents[1]
ROW = 4


@torch.no_grad()
def samples(prior: nn.Module, *, side: int, count: int, steps: int) -> list[np.ndarray]:
    """Pictures (side, side, 3) uint8 of the seeds 0, 1, ..."""
    x = torch.zeros(1, 3, side, side)
    drawn = (prior.sample(x, noise=Noise(seed), steps=steps) for seed in range(count))  # pyright: ignore
    return [levels(y[0]) for y in drawn]


def levels(y: Tensor) -> np.ndarray:
    return ((y.permute(1, 2, 0).clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8).numpy()


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("prior", nargs="?", default="prior")
    parser.add_argument("--side", type=int, default=128)
    parser.add_argument("--count", type=int, default=12)
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("-o", "--output", type=Path, default=ROOT / "docs" / "images" / "prior.png")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    prior = methods.load_with_card(options.prior)[0]
    made = samples(prior, side=options.side, count=options.count, steps=options.steps)
    sheet = sheets.contact_sheet([made[i : i + ROW] for i in range(0, len(made), ROW)])
    images.write(images.Picture(sheet), options.output, overwrite=True)
    print(options.output)


if __name__ == "__main__":
    main()
