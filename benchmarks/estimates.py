"""How far off the estimates of blur, noise and JPEG quality are; writes benchmarks/results/estimates.json.

    python benchmarks/estimates.py FOLDER [-o benchmarks/results/estimates.json] [--page docs/estimates.md]

FOLDER holds pictures (Set14: the estimates were calibrated on others). Of each, the middle of at most 512x512 pixels is
blurred and reduced, noised, or written as JPEG, and the estimate compared with what was done: the median over the
pictures of the error over the true value, and the part of the pictures within 15 % (blur) or 10 % (noise). Nothing is
timed. The page is written from the file.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyvips
import torch
from torch import Tensor

from mezzotint import images
from mezzotint.data.benchmarks import find_pictures
from mezzotint.operators.degradation import degrade
from mezzotint.operators.estimate import blur_width, jpeg_quality, noise_level

HERE = Path(__file__).resolve().parent
SIDE = 512
WIDTHS = {1: (0.7, 1.0, 1.5, 2.0, 3.0, 5.0), 2: (1.0, 1.6, 2.4), 3: (1.5, 2.4), 4: (1.6, 2.0, 2.4, 3.2)}
"""Sigmas of the blur, in large pixels, by the scale of the reduction after it."""
LEVELS = (2, 5, 10, 25, 50)
QUALITIES = (10, 30, 50, 75, 90, 95)
BLUR_LIMIT, NOISE_LIMIT = 0.15, 0.10


def middles(folder: Path) -> list[Tensor]:
    """The middle of every picture, uint8 1 3 h w."""
    found = []
    for file in find_pictures(folder):
        pixels = images.read_plain(file).pixels
        pixels = np.broadcast_to(pixels if pixels.ndim == 3 else pixels[..., None], (*pixels.shape[:2], 3))
        height, width = (min(n, SIDE) for n in pixels.shape[:2])
        top, left = (pixels.shape[0] - height) // 2, (pixels.shape[1] - width) // 2
        part = pixels[top : top + height, left : left + width].copy()
        found.append(torch.from_numpy(part).movedim(-1, 0)[None])
    return found


def errors(found: Sequence[float], true: float, *, limit: float) -> dict[str, float]:
    """Median of the relative errors, and the part of them within the limit."""
    off = np.abs(np.array(found) / true - 1)
    return {"median_error": round(float(np.median(off)), 4), "within": round(float((off <= limit).mean()), 4)}


def measure_blur(pictures: Sequence[Tensor], *, noise: float) -> list[dict[str, float]]:
    lines = []
    for scale, widths in WIDTHS.items():
        for sigma in widths:
            found = []
            for seed, y in enumerate(pictures):
                x, _ = degrade(y, operator=f"gaussian:{sigma}", scale=scale, noise=noise, seed=seed)
                found.append(float(blur_width(x, scale=scale)[0]))
            lines.append({"scale": scale, "sigma": sigma, "noise": noise, **errors(found, sigma, limit=BLUR_LIMIT)})
    return lines


def measure_noise(pictures: Sequence[Tensor]) -> list[dict[str, float]]:
    lines = []
    for level in LEVELS:
        found = []
        for seed, y in enumerate(pictures):
            x, _ = degrade(y, operator="identity", scale=1, noise=level, seed=seed)
            found.append(float(noise_level(x).mean()))
        lines.append({"sigma": level, **errors(found, level, limit=NOISE_LIMIT)})
    return lines


def measure_jpeg(pictures: Sequence[Tensor]) -> list[dict[str, int]]:
    lines = []
    for quality in QUALITIES:
        right = 0
        for y in pictures:
            pixels = np.ascontiguousarray(y[0].movedim(0, -1).numpy())
            height, width, bands = pixels.shape
            picture = pyvips.Image.new_from_memory(pixels.tobytes(), width, height, bands, "uchar")
            right += jpeg_quality(picture.copy(interpretation="srgb").jpegsave_buffer(Q=quality)).quality == quality
        lines.append({"quality": quality, "right": right})
    return lines


def page(result: dict[str, Any]) -> str:
    """The Markdown of a result."""
    lines = [
        "# How far off the estimates are",
        "",
        f"`mezzotint.operators.estimate` on the {result['pictures']} pictures of {result['folder']}, at most "
        f"{SIDE}x{SIDE} pixels of their middles, 8 bits; made by `python benchmarks/estimates.py`, with figures in "
        "`benchmarks/results/estimates.json`.",
        "",
        "## Blur",
        "",
        "A Gaussian of sigma large pixels, then one value a cell; without noise and with 5 grey levels of it. Widths "
        "of less than half a small pixel are hidden by the reduction.",
        "",
        "| scale | sigma | noise | median error | within 15 % |",
        "|--:|--:|--:|--:|--:|",
    ]
    for line in result["blur"]:
        lines.append(
            f"| {line['scale']} | {line['sigma']:g} | {line['noise']:g} | {100 * line['median_error']:.1f} % | "
            f"{100 * line['within']:.0f} % |"
        )
    lines += ["", "## Noise", "", "| sigma | median error | within 10 % |", "|--:|--:|--:|"]
    for line in result["noise"]:
        lines.append(f"| {line['sigma']:g} | {100 * line['median_error']:.1f} % | {100 * line['within']:.0f} % |")
    lines += ["", "## JPEG quality", "", f"Files of which the quality was read exactly, of {result['pictures']}.", ""]
    lines += ["| quality | " + " | ".join(str(line["quality"]) for line in result["jpeg"]) + " |"]
    lines += ["|---|" + "--:|" * len(result["jpeg"])]
    lines += ["| right | " + " | ".join(str(line["right"]) for line in result["jpeg"]) + " |"]
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("-o", "--output", type=Path, default=HERE / "results" / "estimates.json")
    parser.add_argument("--page", type=Path, default=HERE.parent / "docs" / "estimates.md")
    options = parser.parse_args()
    pictures = middles(options.folder)
    result = {
        "folder": options.folder.name,
        "pictures": len(pictures),
        "blur": [*measure_blur(pictures, noise=0), *measure_blur(pictures, noise=5)],
        "noise": measure_noise(pictures),
        "jpeg": measure_jpeg(pictures),
    }
    options.output.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    options.page.write_text(page(result), encoding="utf-8")


if __name__ == "__main__":
    main()
