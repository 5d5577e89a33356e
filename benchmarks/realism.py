"""The realism curve of `mezzotint-x4` or `-x2`: PSNR against LPIPS from the mean to a sample, beside bicubic.

    python -m benchmarks.realism ../shared/data/bench [--sets Set14,BSD100] [--calibration 3] [--vgg Set14]
    python -m benchmarks.realism ../shared/data/bench --method mezzotint-x2

Runs `mezzotint evaluate` on every set (protocol y-modern, seed 0) for realism 0, .25, .5, .75, 1, corrected; then the
largest realism whose PSNR is not below bicubic's, found on the curve and measured, also without the correction; then
the calibration of several samples. Writes benchmarks/results/*.json, docs/realism.md (-x2.md) and the table of the
model's card, for mezzotint-x4 that of the README too. LPIPS-VGG16 needs its weights: `mezzotint weights add` says how
to get them.
"""

from __future__ import annotations

import argparse
import json
import math
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks import marked
from mezzotint.images import atomic

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results"
CURVE = (0.0, 0.25, 0.5, 0.75, 1.0)


@dataclass(frozen=True)
class Subject:
    """What is measured: the model, its scale, and whether results that are there are kept."""

    method: str
    scale: int
    reuse: bool

    @property
    def suffix(self) -> str:
        """Of the files that are written; none for four times as large."""
        return "" if self.scale == 4 else f"-x{self.scale}"


def evaluate(subject: Subject, folder: Path, kind: str, *arguments: str) -> dict[str, Any]:
    """Run `mezzotint evaluate` and return its JSON, which stays in benchmarks/results."""
    output = RESULTS / f"{kind}{subject.suffix}-{folder.name}.json"
    if subject.reuse and output.exists():
        return json.loads(output.read_text())
    output.parent.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "mezzotint.cli", "evaluate", str(folder), "--scale", str(subject.scale)]
    print(" ".join(["mezzotint evaluate", folder.name, *arguments]), flush=True)
    subprocess.run([*command, "--quiet", "--json", str(output), *arguments], check=True)
    result = json.loads(output.read_text())
    result["data"]["folder"] = folder.name
    output.write_text(json.dumps(result, indent=1) + "\n")
    return result


def rows(result: dict[str, Any]) -> dict[float | str, dict[str, Any]]:
    """Return the figures by realism, or by name for methods without it."""
    return {method["settings"].get("realism", name): method for name, method in result["methods"].items()}


def largest_realism(curve: dict[float | str, dict[str, Any]], floor: float) -> float:
    """Return the realism at which the PSNR falls to `floor`, two decimals down; linear between the curve's points."""
    previous = CURVE[0]
    for realism in CURVE[1:]:
        high, low = curve[previous]["mean"]["psnr"], curve[realism]["mean"]["psnr"]
        if low < floor:
            # The squared error is quadratic in the realism, so a chord of the PSNR lies below the curve.
            share = (high - floor) / (high - low)
            return math.floor(100 * (previous + share * (realism - previous))) / 100
        previous = realism
    return 1.0


def table(name: str, curve: dict[float | str, dict[str, Any]], extra: dict[str, dict[str, Any]]) -> list[str]:
    """Return the lines of one set's table."""
    lines = [
        f"### {name}",
        "",
        "| realism | PSNR dB | SSIM | LPIPS-AlexNet | LPIPS-VGG16 | LR-PSNR dB, float | LR-PSNR dB, 8 bit |",
        "|---|--:|--:|--:|--:|--:|--:|",
    ]
    for label, method in [*((str(k), v) for k, v in curve.items()), *extra.items()]:
        m = method["mean"]
        vgg = f"{m['lpips_vgg']:.4f}" if m.get("lpips_vgg") is not None else "-"
        lines.append(
            f"| {label} | {m['psnr']:.3f} | {m['ssim']:.4f} | {m['lpips']:.4f} | {vgg} "
            f"| {float(m['lr_psnr_float']):.2f} | {float(m['lr_psnr']):.2f} |"
        )
    return [*lines, ""]


def summary(found: dict[str, dict[str, dict[str, Any]]]) -> list[str]:
    """Return the table of the README and of the card, from the methods of every set by the name of the setting."""
    lines = ["| set | setting | PSNR dB | SSIM | LPIPS-AlexNet | LPIPS-VGG16 |", "|---|---|--:|--:|--:|--:|"]
    for name, settings in found.items():
        for setting, method in settings.items():
            m = method["mean"]
            vgg = f"{m['lpips_vgg']:.4f}" if m.get("lpips_vgg") is not None else "-"
            lines.append(f"| {name} | {setting} | {m['psnr']:.2f} | {m['ssim']:.4f} | {m['lpips']:.4f} | {vgg} |")
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path, help="the folder that holds the sets")
    parser.add_argument("--sets", default="Set14,BSD100")
    parser.add_argument("--calibration", type=int, default=3, metavar="K", help="samples a picture; 0 for none")
    parser.add_argument("--vgg", help="sets that LPIPS-VGG16, by far the slowest measure, is measured on; all without")
    parser.add_argument("--limit", default=None)
    parser.add_argument("--reuse", action="store_true", help="keep the results that are there")
    parser.add_argument("--method", default="mezzotint-x4", choices=("mezzotint-x4", "mezzotint-x2"))
    options = parser.parse_args()
    method = options.method
    subject = Subject(method, int(method[-1]), options.reuse)
    limit = ["--limit", options.limit] if options.limit else []
    lines = [
        f"# The realism curve of {method}",
        "",
        f"Written by `python -m benchmarks.realism{'' if subject.scale == 4 else f' --method {method}'}`, which runs "
        f"`mezzotint evaluate`: scale {subject.scale}, protocol y-modern,",
        "seed 0, the default number of steps, the correction `--consistent` on unless a row says otherwise. Realism 0",
        "is the predictor, the posterior mean; realism 1 is a sample.",
        "",
    ]
    shown: dict[str, dict[str, dict[str, Any]]] = {}
    for name in options.sets.split(","):
        folder = options.folder / name
        vgg = ["--measure", "lpips_vgg"] if options.vgg is None or name in options.vgg.split(",") else []
        curve = rows(
            evaluate(subject, folder, "realism", "--method", method, "--method", "bicubic", "--realism",
                     ",".join(str(r) for r in CURVE), *vgg, *limit)
        )  # fmt: skip
        floor = curve["bicubic"]["mean"]["psnr"]
        best = largest_realism(curve, floor)
        plain = rows(
            evaluate(subject, folder, "uncorrected", "--method", method, "--realism", f"0,{best}",
                     "--no-consistent", *limit)
        )  # fmt: skip
        chosen = ["--method", method, "--realism", str(best)]
        found = rows(evaluate(subject, folder, "default", *chosen, *limit))
        extra = {f"{best} (the largest not below bicubic)": found[best]}
        extra |= {f"{k}, not corrected": v for k, v in plain.items()}
        lines += table(name, curve, extra)
        shown[name] = {"bicubic": curve["bicubic"], "realism 0": curve[0.0], "realism 0.5": curve[0.5]}
        shown[name] |= {f"realism {best}, the largest not below bicubic": found[best], "realism 1": curve[1.0]}
        gain = 1 - found[best]["mean"]["lpips"] / curve[0.0]["mean"]["lpips"]
        lines += [f"At realism {best} LPIPS-AlexNet is {100 * gain:.1f} % below realism 0.", ""]
        if options.calibration > 1:
            samples = evaluate(
                subject, folder, "calibration", "--method", method, "--realism", "1", "--samples",
                str(options.calibration), *limit,
            )  # fmt: skip
            (measured,) = samples["methods"].values()
            figures = [
                f"{key.replace('_', ' ')} {value:.3f}"
                for key, value in measured["calibration"].items()
                if isinstance(value, float)
            ]
            count = measured["calibration"]["samples"]
            lines += [f"Calibration, {count} samples at realism 1: {', '.join(figures)}.", ""]
    text = "\n".join(lines).rstrip() + "\n"
    target = ROOT / "docs" / f"realism{subject.suffix}.md"
    atomic.write_bytes(target, text.encode(), overwrite=True)
    pages = [ROOT / "docs" / "models" / f"{method}.md", *([ROOT / "README.md"] if subject.scale == 4 else [])]
    for page in pages:
        marked.write(page, "benchmarks/realism.py", summary(shown))
    print(f"wrote {target}, and the table in {', '.join(page.name for page in pages)}")


if __name__ == "__main__":
    main()
