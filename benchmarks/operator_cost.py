"""What the closed forms of operators save, and the peak memory of every zero-shot solver on a picture of 512x512.

    python -m benchmarks.operator_cost [--threads 2] [--solvers-only] [--solvers A,B] [--page-only]

Operators, on one channel of 64x64: the singular value decomposition in closed form beside that of the dense matrix by
LAPACK, in float64: seconds to decompose, seconds of one correction y + A^T (A A^T + rho I)^-1 (x - A y) and of V V^T y,
memory that the process had to add, and the largest difference of corrections, pseudo-inverses and singular values,
which must be at most 1e-6. Solvers: the whole process with the small preset of the prior, untrained, in two steps,
bicubic by 4, which must stay below 4 GiB; and on 256x256 in two and in six steps, with which it must not grow. Every
measurement is made in a process of its own; Linux only. Writes benchmarks/results/operator_cost.json and
docs/zero-shot-cost.md. Memory does not depend on other work, seconds do.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from benchmarks.peers.running import ROOT, describe, write
from benchmarks.peers.speed import OtherWork
from benchmarks.peers.worker import peak_bytes
from torch import Tensor

from mezzotint.operators.blur import CircularBlur
from mezzotint.operators.kernels import GaussianKernel
from mezzotint.operators.linear import LinearOperator
from mezzotint.operators.named import named_operator
from mezzotint.zero_shot import SOLVERS, Measurement

SIDE = 64
RHO = 0.01
TOLERANCE = 1e-6
SIZE = 512
PROBES = {"peak": (SIZE, 2), "few": (SIZE // 2, 2), "many": (SIZE // 2, 6)}
"""Sides and steps of what is measured of a solver; `few` and `many` say whether memory grows with the steps."""
LIMIT_MIB = 4096
GROWTH_MIB = 48
"""What four steps may add before it counts as growth: what allocators keep varies from run to run by half of it."""
QUIET = 0.1


def _named(text: str, scale: int) -> Callable[[int], LinearOperator]:
    return lambda side: named_operator(text, scale=scale).for_large(side, side)


OPERATORS: Mapping[str, Callable[[int], LinearOperator]] = {
    "bicubic, 4": _named("bicubic", 4),
    "bicubic, 2": _named("bicubic", 2),
    "average, 4": _named("average", 4),
    "gaussian 1.6, 4": _named("gaussian:1.6", 4),
    "gaussian 1.6 on a torus, 4": lambda side: CircularBlur(
        kernel=GaussianKernel(size=15, sigmas=(1.6, 1.6)), height=side, width=side, scale=4
    ),
}


def dense_matrix(operator: LinearOperator) -> Tensor:
    """The matrix (small pixels, large pixels) of an operator on one channel, float64, from pictures of one pixel."""
    height, width = operator.shape_in
    matrix = torch.empty(operator.shape_out[0] * operator.shape_out[1], height * width, dtype=torch.float64)
    for row in range(height):  # a row of pixels at a time: all of them would be the peak of memory
        units = torch.zeros(width, 1, height, width, dtype=torch.float64)
        units[:, 0, row] = torch.eye(width, dtype=torch.float64)
        matrix[:, row * width : (row + 1) * width] = operator.A(units).flatten(1).T
    return matrix


def measure_operator(name: str, form: str, *, runs: int = 9) -> dict[str, Any]:
    """Seconds and added memory of one form, "closed" or "dense", of an operator; run it in a process of its own."""
    operator = OPERATORS[name](SIDE)
    # What libraries load at their first use is no part of an operator.
    _closed(OPERATORS[name](16), runs=1) if form == "closed" else _dense(OPERATORS[name](16), runs=1)
    before = peak_bytes()
    spent = _closed(operator, runs=runs) if form == "closed" else _dense(operator, runs=runs)
    return {**spent, "added_mib": max(0.0, (peak_bytes() - before) / 2**20)}


def _fields(operator: LinearOperator) -> tuple[Tensor, Tensor]:
    """Normal fields: a large and a small picture of one channel, float64."""
    g = torch.Generator().manual_seed(0)
    y = torch.randn(1, 1, *operator.shape_in, dtype=torch.float64, generator=g)
    return y, torch.randn(1, 1, *operator.shape_out, dtype=torch.float64, generator=g)


def _closed(operator: LinearOperator, *, runs: int) -> dict[str, float]:
    y, x = _fields(operator)
    known = Measurement(operator, x, RHO**0.5)
    began = time.perf_counter()
    svd = operator.svd()
    decomposed = time.perf_counter() - began
    return {
        "decompose": decomposed,
        "correct": _median(lambda: known.correct(y, variance=1.0), runs),
        "project": _median(lambda: svd.V(svd.Vt(y)), runs),
    }


def _dense(operator: LinearOperator, *, runs: int) -> dict[str, float]:
    matrix = dense_matrix(operator)
    began = time.perf_counter()
    u, sv, vt = torch.linalg.svd(matrix, full_matrices=False)
    decomposed = time.perf_counter() - began
    row, small = (field.flatten() for field in _fields(operator))

    def correct() -> Tensor:
        off = small - u @ (sv * (vt @ row))
        return row + vt.T @ (sv * (u.T @ off) / (sv**2 + RHO))

    return {
        "decompose": decomposed,
        "correct": _median(correct, runs),
        "project": _median(lambda: vt.T @ (vt @ row), runs),
    }


def differences(operator: LinearOperator) -> dict[str, float]:
    """Largest differences of the closed forms from the dense singular value decomposition, on normal fields, float64.

    correction: of the mean given the measurement; pinv: of A^+ x; sv: of the singular values, sorted.
    """
    matrix = dense_matrix(operator)
    u, sv, vt = torch.linalg.svd(matrix, full_matrices=False)
    y, x = _fields(operator)
    row, small = y.flatten(), x.flatten()
    exact = row + vt.T @ (sv * (u.T @ (small - matrix @ row)) / (sv**2 + RHO))
    found = Measurement(operator, x, RHO**0.5).correct(y, variance=1.0)
    closed = operator.svd().sv.flatten()
    if len(closed) == 1:
        closed = closed.expand(len(sv))
    return {
        "correction": float((found.flatten() - exact).abs().max()),
        "pinv": float((operator.pinv(x).flatten() - vt.T @ ((u.T @ small) / sv)).abs().max()),
        "sv": float((closed.sort(descending=True).values - sv).abs().max()),
    }


def _median(function: Callable[[], Any], runs: int) -> float:
    function()
    spent = []
    for _ in range(runs):
        began = time.perf_counter()
        function()
        spent.append(time.perf_counter() - began)
    return statistics.median(spent)


def measure_solver(name: str, steps: int, *, size: int = SIZE) -> dict[str, float]:
    """Peak memory of this process after one restoration of size x size pixels; run it in a process of its own."""
    from mezzotint.methods import prior as priors
    from mezzotint.methods.restorer import build_restorer
    from mezzotint.noise import Noise

    prior = priors.build().eval().requires_grad_(False)
    if name == "spectral":
        small = torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(0)).clamp(-1, 1)
        prior.measure_errors([(small, small)])  # pyright: ignore[reportCallIssue]
    method = build_restorer(name, scale=4, preset=next(iter(SOLVERS[name].presets)), config=None, prior=prior)
    x = torch.rand(1, 3, size // 4, size // 4, generator=torch.Generator().manual_seed(0)) * 2 - 1
    before = peak_bytes()
    method.sample(x, noise=Noise(0), steps=steps, sigma=0.1 if SOLVERS[name].noise else 0.0)
    # The kernel counts pages of threads in batches: a peak may be reported a little below an earlier one.
    return {"peak_mib": peak_bytes() / 2**20, "added_mib": max(0.0, (peak_bytes() - before) / 2**20)}


def _child(threads: int, *arguments: str) -> dict[str, Any]:
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads), "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "benchmarks.operator_cost", "--threads", str(threads), "--child", *arguments]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, env=environment, check=True, cwd=ROOT)
    return json.loads(done.stdout.strip().splitlines()[-1])


def page(content: Mapping[str, Any]) -> str:
    """Return docs/zero-shot-cost.md."""
    lines = [
        "# What operators and solvers cost",
        "",
        "Written by `python -m benchmarks.operator_cost` out of `benchmarks/results/operator_cost.json`.",
        "",
        f"## Closed forms beside a dense decomposition, one channel of {SIDE}x{SIDE}",
        "",
        "In float64. Decompose: the singular value decomposition in closed form, and LAPACK's of the dense matrix.",
        "Correct: the mean given the measurement, y + A^T (A A^T + rho I)^-1 (x - A y). Project: V V^T y. Memory: what",
        "the process added for these. Difference: the largest of corrections, pseudo-inverses and singular values.",
        "",
        "| operator | decompose, ms | dense | correct, ms | dense | project, ms | dense | memory, MiB | dense |"
        " difference |",
        "|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|",
    ]
    for name, row in content["operators"].items():
        closed, dense = row["closed"], row["dense"]
        cells = [f"{1e3 * form[key]:.3g}" for key in ("decompose", "correct", "project") for form in (closed, dense)]
        cells += [f"{closed['added_mib']:.1f}", f"{dense['added_mib']:.1f}", f"{max(row['differences'].values()):.1e}"]
        mark = "*" if row["other_work"] > QUIET else ""
        lines.append(f"| {name}{mark} | " + " | ".join(cells) + " |")
    if any(row["other_work"] > QUIET for row in content["operators"].values()):
        lines += ["", "*: measured beside other work; the milliseconds say little."]
    lines += [
        "",
        f"## Peak memory of the solvers, {SIZE}x{SIZE}",
        "",
        "The whole process with its libraries (`idle`: before the solver begins), in MiB, with the small preset of the",
        f"prior and `bicubic` by 4, in 2 steps; the limit is {LIMIT_MIB}. It does not grow with the steps: beside it",
        f"stands that of {SIZE // 2}x{SIZE // 2} in 2 and in 6 steps.",
        "",
        f"| solver | through the network | idle | peak | {SIZE // 2}x{SIZE // 2}, 2 steps | 6 steps |",
        "|---|---|--:|--:|--:|--:|",
    ]
    for name in (name for name in SOLVERS if name in content["solvers"]):
        row = content["solvers"][name]
        idle = row["peak"]["peak_mib"] - row["peak"]["added_mib"]
        cells = [f"{value:.0f}" for value in (idle, *(row[probe]["peak_mib"] for probe in PROBES))]
        lines.append(f"| `{name}` | {'yes' if SOLVERS[name].gradients else 'no'} | " + " | ".join(cells) + " |")
    lacking = [f"`{name}`" for name in SOLVERS if name not in content["solvers"]]
    if lacking:
        lines += ["", f"Not measured yet: {', '.join(lacking)}."]
    machine = content["machine"]
    lines += ["", f"{machine['processor']}, threads: {machine['threads']}, torch {machine['torch']}."]
    return "\n".join(lines) + "\n"


def broken_limits(content: Mapping[str, Any]) -> list[str]:
    """Return a line for every limit that the figures break."""
    found = []
    for name, row in content["operators"].items():
        found += [
            f"{name}: {key} {value:.2g} from the dense decomposition, more than {TOLERANCE:g}"
            for key, value in row["differences"].items()
            if not value <= TOLERANCE
        ]
    for name, row in content["solvers"].items():
        if not row["peak"]["peak_mib"] < LIMIT_MIB:
            found.append(f"{name}: {row['peak']['peak_mib']:.0f} MiB, the limit is {LIMIT_MIB}")
        grown = row["many"]["peak_mib"] - row["few"]["peak_mib"]
        if grown > GROWTH_MIB:
            found.append(f"{name}: {grown:.0f} MiB more in six steps than in two")
    return found


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.operator_cost", description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--solvers", default=",".join(SOLVERS), metavar="A,B")
    parser.add_argument("--solvers-only", action="store_true", help="keep the figures of operators that are there")
    parser.add_argument("--page-only", action="store_true", help="write the page out of the results that are there")
    parser.add_argument("--child", nargs="+", help=argparse.SUPPRESS)
    parser.add_argument("-o", "--output", type=Path, default=ROOT / "benchmarks" / "results" / "operator_cost.json")
    parser.add_argument("--page", type=Path, default=ROOT / "docs" / "zero-shot-cost.md")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    if options.child:
        kind, name, last = options.child
        if kind == "operator":
            told = measure_operator(name, last)
        else:
            side, steps = map(int, last.split("x"))
            told = measure_solver(name, steps, size=side)
        print(json.dumps(told))
        return 0
    content: dict[str, Any] = {"operators": {}, "solvers": {}}
    if options.output.exists():
        content |= json.loads(options.output.read_text(encoding="utf-8"))
    if not options.page_only:
        content["machine"] = {**describe(), "threads": options.threads}
        for name, make in () if options.solvers_only else OPERATORS.items():
            with OtherWork() as other:
                row = {form: _child(options.threads, "operator", name, form) for form in ("closed", "dense")}
            content["operators"][name] = {**row, "differences": differences(make(SIDE)), "other_work": other.processors}
            print(f"{name:28s} {row['closed']['decompose']:.2g} s, dense {row['dense']['decompose']:.2g} s", flush=True)
        for name in options.solvers.split(","):
            row = {
                probe: _child(options.threads, "solver", name, f"{side}x{steps}")
                for probe, (side, steps) in PROBES.items()
            }
            content["solvers"][name] = row
            peaks = ", ".join(f"{value['peak_mib']:.0f}" for value in row.values())
            print(f"{name:28s} {peaks} MiB", flush=True)
            write(content, options.output)
    options.page.write_text(page(content), encoding="utf-8")
    broken = broken_limits(content)
    print("\n".join(broken) or "every limit is met")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
