"""Colour denoising of whole pictures by one evaluation of a prior: PSNR at three noise levels.

    python benchmarks/denoising.py --data FOLDER PRIOR [--limit N] [--threads 1]

PRIOR is a folder or file of weights of the method `prior`; FOLDER holds the pictures (BSD100) or a folder BSD100 with
them. Noise of 15, 25 and 50 grey levels, independent in every pixel and channel and seeded by the picture, is added;
the noisy picture is neither clipped nor rounded. The prior is asked once, at that noise level. PSNR over all three
channels of the whole picture (protocol rgb-full: the result is clipped and rounded to 8 bits), mean over pictures; the
row of the noisy picture is not clipped and not rounded. Writes benchmarks/results/denoising.json, which
`benchmarks/zero_shot.py --page-only` puts on its page.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from mezzotint import images, methods
from mezzotint.bridges import VE
from mezzotint.data.benchmarks import find_pictures
from mezzotint.images import atomic
from mezzotint.noise import Noise, picture_id
from mezzotint.quality import psnr
from mezzotint.quality.psnr import psnr_of_planes
from mezzotint.schedules import geometric

HERE = Path(__file__).resolve().parent
# dB wanted and hoped for, by noise in grey levels.
TARGETS = {15: (32.5, 33.0), 25: (29.8, 30.3), 50: (26.3, 26.8)}

Denoise = Callable[[Tensor, float], Tensor]
"""(y + level n, level) -> y_hat, b 3 H W for pictures in [-1, 1]."""


def denoiser(prior: nn.Module) -> Denoise:
    """One evaluation of the prior at a noise level."""

    def denoise(z: Tensor, level: float) -> Tensor:
        # The first of two nodes, at half of the time, has the level.
        bridge = VE(geometric(2, low=level, high=2.0 * level))
        with torch.no_grad():
            return prior.of(bridge, like=z)(z, 0.5).y  # pyright: ignore

    return denoise


def compare(pixels: np.ndarray, sigma: float, denoise: Denoise) -> tuple[float, float]:
    """PSNR in dB of the noisy picture and of what is made of it, for uint8 (h, w, 3) and noise in grey levels."""
    y = torch.from_numpy(pixels).permute(2, 0, 1)[None].double()
    noise = Noise(0, pictures=(picture_id(pixels),)).normal(f"denoising {sigma:g}", 0, tuple(y.shape))
    noisy = y + sigma * noise
    found = denoise((noisy / 127.5 - 1).float(), sigma / 127.5).double()
    levels = ((found[0].permute(1, 2, 0) + 1) * 127.5).clamp(0, 255).round().to(torch.uint8).numpy()
    return psnr_of_planes(noisy.numpy(), y.numpy()), psnr(pixels, levels, protocol="rgb-full")


def measure(
    pictures: Iterable[np.ndarray], denoise: Denoise, *, levels: Sequence[int] = tuple(TARGETS),
    report: Callable[[str], None] = print,
) -> dict[str, Any]:  # fmt: skip
    """The means over pictures (h, w, 1 or 3), grey ones taken as colour."""
    figures: dict[int, list[tuple[float, float]]] = {sigma: [] for sigma in levels}
    count = 0
    for picture in pictures:
        pixels = np.repeat(picture, 3 // picture.shape[2], axis=2)
        for sigma in levels:
            figures[sigma].append(compare(pixels, sigma, denoise))
        count += 1
        report(f"{count}: " + ", ".join(f"{figures[sigma][-1][1]:.2f}" for sigma in levels))
    if count == 0:
        raise SystemExit("there are no pictures to denoise")
    rows = {}
    for sigma in levels:
        noisy, denoised = np.mean(figures[sigma], axis=0)
        target, goal = TARGETS[sigma]
        rows[str(sigma)] = {
            "noisy": round(float(noisy), 4), "denoised": round(float(denoised), 4), "target": target, "goal": goal,
        }  # fmt: skip
    return {"pictures": count, "levels": rows}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("prior")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--limit", type=int, help="the first pictures alone")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("-o", "--output", type=Path, default=HERE / "results" / "denoising.json")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    prior, card = methods.load_with_card(Path(options.prior))
    if methods.find(card.method).family != "prior":
        parser.error(f"{options.prior} holds weights of {card.method}: name those of a prior")
    folder = options.data / "BSD100" if (options.data / "BSD100").is_dir() else options.data
    files = find_pictures(folder)[: options.limit]
    content = {"weights": card.digest, "iterations": card.iterations, "hours": card.hours}
    content |= measure((images.read_plain(file).pixels for file in files), denoiser(prior.eval()),
                       report=lambda text: print(text, flush=True))  # fmt: skip
    atomic.write_bytes(options.output, (json.dumps(content, indent=1) + "\n").encode(), overwrite=True)
    for sigma, row in content["levels"].items():
        print(f"sigma {sigma}: {row['denoised']:.2f} dB, wanted {row['target']}, noisy {row['noisy']:.2f}")


if __name__ == "__main__":
    main()
