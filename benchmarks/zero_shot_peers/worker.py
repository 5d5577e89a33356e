"""Both sides in one process of deepinv's environment; a line of JSON for every restored picture.

    python -m benchmarks.zero_shot_peers.worker PRIOR PICTURES.npy [--only TEXT] [--seed 0]

PICTURES: uint8 (n, h, w, 3). First comes a line on the operators: how far both libraries' A and A^T are apart, and what
the same rule of DPS makes of the same noise. Sides take turns, and begin in turn. The number of threads is
OMP_NUM_THREADS.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from benchmarks.peers.speed import OtherWork
from benchmarks.zero_shot_peers import ours
from benchmarks.zero_shot_peers.cases import CASES, Case
from benchmarks.zero_shot_peers.problems import TASKS
from torch import Tensor

from mezzotint import methods
from mezzotint.quality.psnr import psnr_of_planes

TOLERANCE = 1e-4
"""How far operators and pictures of the same rule may be apart: both sides compute in float32."""
SMALL = 32
"""Pixels a side of the picture on which both sides draw the same noise."""


class GlobalDraws:
    """Normal fields out of PyTorch's own generator, in the order in which they are asked for, as deepinv draws them.

    Its DPS draws in float64, the others in float32.
    """

    def __init__(self, solver: str) -> None:
        self.drawn = torch.float64 if solver == "DPS" else torch.float32

    def normal(
        self, stream: str, draw: int, shape: Sequence[int], *, origin: tuple[int, int] = (0, 0),
        dtype: torch.dtype = torch.float64, device: torch.device | str = "cpu",
    ) -> Tensor:  # fmt: skip
        return torch.randn(tuple(shape), dtype=self.drawn, device=device).to(dtype)

    def uniform(self, stream: str, draw: int, count: int) -> Tensor:
        return torch.rand(count, dtype=torch.float64)


def agreement(prior: Any, *, size: tuple[int, int]) -> dict[str, dict[str, float]]:
    """Return the largest differences of A y and A^T x on normal fields, and of the pictures of one rule of DPS.

    For the latter the prior should be a plain one: a sharp denoiser enlarges the rounding of 50 steps.
    """
    from benchmarks.zero_shot_peers import theirs

    found = {}
    torch.manual_seed(0)
    for task in TASKS.values():
        operator, physics = task.operator(*size), theirs.physics_of(task, size=size)
        y, x = torch.randn(1, 3, *size), torch.randn(1, 3, *operator.shape_out)
        found[task.name] = {
            "A": float((operator.A(y) - physics.A(y)).abs().max()),
            "At": float((operator.At(x) - physics.A_adjoint(x)).abs().max()),
        }
    task, values = TASKS["super-resolution"], {"rule": "score", "weight": 30.0}
    x = task.measure(torch.rand(1, 3, SMALL, SMALL), seed=0)
    pictures = []
    for side in (ours.Side(prior), theirs.Side(prior)):
        run = side.prepare("DPS", values, task, x, size=(SMALL, SMALL))
        torch.manual_seed(0)
        pictures.append(run(GlobalDraws("DPS")) if isinstance(side, ours.Side) else run(0))
    found["DPS"] = {"picture": float((pictures[0] - pictures[1]).abs().max())}
    return found


def figures(y: Tensor, u: Tensor, x: Tensor, operator: Any) -> dict[str, float]:
    """Return PSNR of the picture clipped to [0, 1], and the misfit of the picture as it is, in grey levels."""
    clipped = y.clamp(0.0, 1.0)
    misfit = float((operator.A(y) - x).double().square().mean().sqrt())
    return {"psnr": psnr_of_planes(u.double().numpy(), clipped.double().numpy(), peak=1.0), "misfit": 255.0 * misfit}


def measure(case: Case, sides: Sequence[Any], pictures: Tensor, *, seed: int) -> None:
    """Print a line for every picture, row of settings and side.

    Seconds are those of a side that draws as it always does; the figures of a picture are of the same draws on both.
    """
    task, size = TASKS[case.task], (int(pictures.shape[-2]), int(pictures.shape[-1]))
    operator = task.operator(*size)
    for row in case.settings:
        chosen = [side for side in sides if side.name in row.sides]
        for index in range(len(pictures)):
            u = pictures[index : index + 1]
            x = task.measure(u, seed=seed + index)
            for side in chosen if index % 2 == 0 else chosen[::-1]:
                run = side.prepare(case.solver, row.values, task, x, size=size)
                with OtherWork() as other:
                    began = time.perf_counter()
                    y = run(seed + index + 1)
                    seconds = time.perf_counter() - began
                if isinstance(side, ours.Side):
                    torch.manual_seed(seed + index + 1)
                    y = run(GlobalDraws(case.solver))
                told = {
                    "case": case.name, "settings": row.label, "side": side.name, "picture": index, "seconds": seconds,
                    "other_work": other.processors, **figures(y, u, x, operator),
                }  # fmt: skip
                print(json.dumps(told), flush=True)


def measure_outside(case: Case, sides: Sequence[Any], picture: Tensor, *, runs: int = 3) -> None:
    """Print the milliseconds an evaluation of the last row of settings with a network that costs next to nothing."""
    task, size, row = TASKS[case.task], (int(picture.shape[-2]), int(picture.shape[-1])), case.settings[-1]
    x = task.measure(picture, seed=0)
    prepared = [side.prepare(case.solver, row.values, task, x, size=size) for side in sides]
    spent: list[list[float]] = [[] for _ in sides]
    for turn in range(runs):
        for run, times in zip(prepared, spent, strict=True):
            began = time.perf_counter()
            run(turn)
            times.append(1e3 * (time.perf_counter() - began) / row.evaluations)
    told = {side.name: statistics.median(times) for side, times in zip(sides, spent, strict=True)}
    print(json.dumps({"outside": case.name, "milliseconds": told}), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("prior", type=Path)
    parser.add_argument("pictures", type=Path)
    parser.add_argument("--only", default="", help="the cases whose name has this in it")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
    prior = methods.load(options.prior)
    prior.requires_grad_(False)
    tiny = methods.build("prior", scale=1, config={"network": {"widths": (4,), "blocks": 1, "embedding": 4}})
    tiny.eval().requires_grad_(False)
    # Contiguous: noise drawn "like" a picture lies in memory as the picture does.
    pictures = torch.from_numpy(np.load(options.pictures)).movedim(-1, 1).float().contiguous() / 255.0
    size = (int(pictures.shape[-2]), int(pictures.shape[-1]))
    found = agreement(tiny, size=size)
    print(json.dumps({"agreement": found}), flush=True)
    worst = max(value for values in found.values() for value in values.values())
    if not worst < TOLERANCE:
        raise SystemExit(f"the two sides differ by {worst:.2g}, more than {TOLERANCE:g}: they do not restore the same")
    from benchmarks.zero_shot_peers import theirs

    sides = (ours.Side(prior), theirs.Side(prior))
    # The first call of a size chooses how convolutions are computed, which no side should pay for.
    for _ in range(2):
        sides[1].denoiser(pictures[:1].clone().requires_grad_(), 0.5).sum().backward()
    chosen = [case for case in CASES if options.only in case.name]
    for case in chosen:
        measure(case, sides, pictures, seed=options.seed)
    for case in chosen:
        measure_outside(case, (ours.Side(tiny), theirs.Side(tiny)), pictures[:1])


if __name__ == "__main__":
    sys.exit(main())
