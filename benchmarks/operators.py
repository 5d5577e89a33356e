"""Speed of operators and degradations, as ratios to peers in the same run; writes benchmarks/results/operators.json.

    python benchmarks/operators.py [--threads 2] [--repeat 9] [-o FILE.json]

- `imresize` of 1024x1024 RGB by 4 against Pillow (float planes, and 8 bits to the bit of MATLAB), and against a plain
  NumPy version that gathers all taps of an axis and sums them, as the usual ports of MATLAB's function do.
- `BicubicDown.pinv` of one channel to 1024x1024.
- The preset `real-esrgan` on 400x400 RGB, the crop of its authors, against the same drawn chains written down with
  OpenCV and NumPy; left out where OpenCV is not installed.

Medians of the repeats, each taken in turn with its peer. Run it with nothing else running: Pillow, NumPy and OpenCV
suffer otherwise as we do, but not equally.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from mezzotint.noise import Noise
from mezzotint.operators.added_noise import AddNoise, PoissonNoise
from mezzotint.operators.bicubic import BicubicDown
from mezzotint.operators.jpeg import Jpeg
from mezzotint.operators.presets import preset
from mezzotint.operators.resize import imresize, imresize_uint8, taps
from mezzotint.operators.separable import resize
from mezzotint.operators.stages import Clip, Degradation, EightBit, Filter, Modcrop, Resize, Sharpen

HERE = Path(__file__).resolve().parent
LIMITS = {
    "imresize / Pillow": 2.0,
    "imresize / NumPy port": 0.2,
    "pinv, ms a channel": 20.0,
    "real-esrgan / OpenCV": 1.5,
}
CHAINS = 12


def medians(repeat: int, *functions: Callable[[], Any]) -> list[float]:
    """Median milliseconds of each function; they take turns, after one run that does not count."""
    spent: list[list[float]] = [[] for _ in functions]
    for turn in range(repeat + 1):
        for function, times in zip(functions, spent, strict=True):
            began = time.perf_counter()
            function()
            if turn:
                times.append(1e3 * (time.perf_counter() - began))
    return [statistics.median(times) for times in spent]


def numpy_port(picture: np.ndarray, scale: int) -> np.ndarray:
    """MATLAB's bicubic reduction of h w c: all taps of an axis gathered, weighted and summed."""
    for axis in (0, 1):
        n = picture.shape[axis]
        weights, indices = (t.numpy() for t in taps(n, n // scale, ratio=1 / scale))
        gathered = np.take(picture, indices, axis=axis)
        shape = [1] * gathered.ndim
        shape[axis : axis + 2] = weights.shape
        picture = (gathered * weights.reshape(shape)).sum(axis=axis + 1)
    return picture


def opencv_chain(chain: Degradation, picture: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """The stages of a drawn chain on h w 3 in grey levels, float32, as one writes them with OpenCV."""
    import cv2  # pyright: ignore[reportMissingImports]

    modes = {"adaptive area": cv2.INTER_AREA, "bilinear": cv2.INTER_LINEAR, "bicubic": cv2.INTER_CUBIC}
    for stage in chain.stages:
        height, width = picture.shape[:2]
        if isinstance(stage, Modcrop):
            picture = picture[: height - height % stage.multiple, : width - width % stage.multiple]
        elif isinstance(stage, Sharpen):
            blur = cv2.GaussianBlur(picture, (51, 51), 0)
            residual = picture - blur
            mask = cv2.GaussianBlur((np.abs(residual) > 10).astype(np.float32), (51, 51), 0)
            picture = mask * np.clip(picture + 0.5 * residual, 0, 255) + (1 - mask) * picture
        elif isinstance(stage, Filter):
            kernel = stage.kernel.weights().numpy().astype(np.float32)
            picture = cv2.filter2D(picture, -1, kernel, borderType=cv2.BORDER_REFLECT_101)
        elif isinstance(stage, Resize):
            picture = cv2.resize(picture, (stage.width, stage.height), interpolation=modes[stage.mode])
        elif isinstance(stage, AddNoise):
            shape = picture.shape[:2] + ((1,) if stage.channels == "grey" else (3,))
            picture = picture + stage.sigma * generator.standard_normal(shape).astype(np.float32)
        elif isinstance(stage, PoissonNoise):
            source = picture @ np.array([0.299, 0.587, 0.114], dtype=np.float32) if stage.grey else picture
            source = np.clip(source.round(), 0, 255) / 255
            peak = 2 ** np.ceil(np.log2(len(np.unique(source))))
            change = 255 * stage.strength * (generator.poisson(source * peak) / peak - source)
            picture = picture + (change[..., None] if stage.grey else change).astype(np.float32)
        elif isinstance(stage, Clip):
            picture = np.clip(picture, 0, 255)
        elif isinstance(stage, EightBit):
            picture = np.clip(picture, 0, 255).round()
        elif isinstance(stage, Jpeg):
            done, data = cv2.imencode(".jpg", picture.astype(np.uint8), [cv2.IMWRITE_JPEG_QUALITY, stage.quality])
            assert done
            picture = cv2.imdecode(data, 1).astype(np.float32)
        else:
            raise AssertionError(stage)
    return picture


def measure_imresize(repeat: int) -> dict[str, float]:
    pixels = np.random.default_rng(0).integers(0, 256, (1024, 1024, 3), dtype=np.uint8)
    y = torch.from_numpy(pixels).movedim(-1, 0)[None].contiguous()
    floats, whole = y.float(), Image.fromarray(pixels)
    planes = [Image.fromarray(pixels[..., i].astype(np.float32)) for i in range(3)]
    ours, eight, pillow, pillow_eight, port = medians(
        repeat,
        lambda: imresize(floats, scale=1 / 4),
        lambda: imresize_uint8(y, scale=1 / 4),
        lambda: [plane.resize((256, 256), Image.Resampling.BICUBIC) for plane in planes],
        lambda: whole.resize((256, 256), Image.Resampling.BICUBIC),
        lambda: numpy_port(pixels.astype(np.float64), 4),
    )
    return {
        "imresize / Pillow": ours / pillow,
        "imresize_uint8 / Pillow": eight / pillow_eight,
        "imresize / NumPy port": ours / port,
        "imresize_uint8 / NumPy port": eight / port,
        "imresize, ms": ours,
    }


def measure_inverse(repeat: int) -> dict[str, float]:
    x = torch.rand(1, 1, 256, 256, generator=torch.Generator().manual_seed(0))
    tiled, dense = BicubicDown(scale=4, height=1024, width=1024), resize(height=1024, width=1024, scale=4)
    fast, matrices = medians(repeat, lambda: tiled.pinv(x), lambda: dense.pinv(x))
    return {"pinv, ms a channel": fast, "pinv by matrices, ms a channel": matrices}


def measure_real_esrgan(repeat: int) -> dict[str, float]:
    try:
        import cv2  # noqa: F401  # pyright: ignore[reportMissingImports]
    except ImportError:
        print("no OpenCV here: real-esrgan is not measured")
        return {}
    rows = np.arange(400)[:, None, None]
    pixels = 127 + 90 * np.sin(rows / 9 + np.arange(400)[:, None] / 13 + np.arange(3)) + np.zeros((400, 400, 3))
    pixels = pixels.astype(np.float32)
    y = torch.from_numpy(pixels).movedim(-1, 0)[None].contiguous()
    chains = [preset("real-esrgan").chain(Noise(seed), size=(400, 400), scale=4) for seed in range(CHAINS)]
    generator = np.random.default_rng(0)
    for chain in chains:  # the same sizes, before they are compared
        made = opencv_chain(chain, pixels, generator)
        assert made.shape[:2] == chain.apply(y, noise=Noise(0)).shape[-2:] == (100, 100)

    ours, opencv = medians(
        repeat,
        lambda: [chain.apply(y, noise=Noise(0)) for chain in chains],
        lambda: [opencv_chain(chain, pixels, generator) for chain in chains],
    )
    return {"real-esrgan / OpenCV": ours / opencv, "real-esrgan, ms a picture": ours / CHAINS}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeat", type=int, default=9)
    parser.add_argument("-o", "--output", type=Path, default=HERE / "results" / "operators.json")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    try:
        import cv2  # pyright: ignore[reportMissingImports]

        cv2.setNumThreads(options.threads)
    except ImportError:
        pass
    figures = {**measure_imresize(options.repeat), **measure_inverse(options.repeat)}
    figures |= measure_real_esrgan(options.repeat)
    for name, value in figures.items():
        limit = f", at most {LIMITS[name]:g}" if name in LIMITS else ""
        print(f"{name}: {value:.3g}{limit}")
    content = {"threads": options.threads, "repeat": options.repeat, "limits": LIMITS, "figures": figures}
    options.output.write_text(json.dumps(content, indent=1) + "\n")


if __name__ == "__main__":
    main()
