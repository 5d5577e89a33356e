"""PSNR and SSIM of 100 pairs against scikit-image in the same run: the ratio of times, and the largest difference.

    python benchmarks/quality.py FOLDER [--repeat 5] [--threads 2] [-o benchmarks/results/quality.json]

FOLDER holds pictures (BSD100: 100 of them). Each is compared with its bicubic copy by 4, on studio luma in float with 4
pixels cut off, both by `quality.psnr_of_planes` and `ssim_of_planes` and by scikit-image's peak_signal_noise_ratio and
structural_similarity (gaussian_weights=True, sigma=1.5, use_sample_covariance=False), which agree to the last digits.
Reading and luma are not timed. Both take turns over all pairs; the ratio is the median of the turns' ratios, above 1
where Mezzotint is faster. A ratio of one run holds while other work slows both down; seconds do not.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import torch
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from mezzotint import images
from mezzotint.data.benchmarks import find_pictures
from mezzotint.operators.resize import imresize_uint8
from mezzotint.quality import protocols
from mezzotint.quality.levels import to_levels
from mezzotint.quality.psnr import psnr_of_planes
from mezzotint.quality.ssim import ssim_of_planes

Pair = tuple[np.ndarray, np.ndarray]
Figures = tuple[float, float]


def read_pairs(folder: Path) -> list[Pair]:
    """Return luma (1, h, w) of every picture and of its bicubic copy."""
    rules = protocols.find("y-modern")
    pairs = []
    for file in find_pictures(folder):
        pair = rules.pair(images.read_plain(file).pixels, scale=4)
        small = torch.from_numpy(pair.x).permute(2, 0, 1)
        height, width = pair.reference.shape[:2]
        copy = imresize_uint8(small, size=(height, width)).permute(1, 2, 0).numpy()
        first, second = rules.planes(to_levels(pair.reference), to_levels(copy), scale=4)
        pairs.append((first[0], second[0]))
    return pairs


def ours(pair: Pair) -> Figures:
    return psnr_of_planes(*pair), ssim_of_planes(*pair)


def theirs(pair: Pair) -> Figures:
    a, b = pair[0][0], pair[1][0]
    ssim: Any = structural_similarity(
        a, b, gaussian_weights=True, sigma=1.5, use_sample_covariance=False, data_range=255
    )
    return float(peak_signal_noise_ratio(a, b, data_range=255)), float(ssim)


def timed(measure: Callable[[Pair], Figures], pairs: Sequence[Pair]) -> tuple[float, list[Figures]]:
    began = time.perf_counter()
    figures = [measure(pair) for pair in pairs]
    return time.perf_counter() - began, figures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("-o", "--output", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    pairs = read_pairs(options.folder)
    for measure in (ours, theirs):
        timed(measure, pairs[:3])
    seconds: dict[str, list[float]] = {"mezzotint": [], "scikit-image": []}
    difference = 0.0
    for _ in range(options.repeat):
        ours_took, own = timed(ours, pairs)
        theirs_took, other = timed(theirs, pairs)
        seconds["mezzotint"].append(ours_took)
        seconds["scikit-image"].append(theirs_took)
        difference = max(difference, float(np.abs(np.subtract(own, other)).max()))
    ratios = [slower / own for own, slower in zip(seconds["mezzotint"], seconds["scikit-image"], strict=True)]
    result = {
        "pictures": len(pairs),
        "folder": options.folder.name,
        "threads": options.threads,
        "processors": os.cpu_count(),
        "load": os.getloadavg()[0],
        "torch": torch.__version__,
        "scikit-image": metadata.version("scikit-image"),
        "seconds": {name: statistics.median(values) for name, values in seconds.items()},
        "ratio": statistics.median(ratios),
        "ratios": ratios,
        "largest_difference": difference,
    }
    print(f"{result['ratio']:.2f} times as fast as scikit-image on {len(pairs)} pairs", file=sys.stderr)
    text = json.dumps(result, indent=1)
    if options.output is None:
        print(text)
    else:
        options.output.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
