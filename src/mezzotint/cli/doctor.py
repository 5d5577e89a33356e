"""`mezzotint doctor`: whether this installation works, and what it runs on."""

from __future__ import annotations

import os
import platform
import tempfile
import time
from collections.abc import Callable
from importlib import metadata
from pathlib import Path

from mezzotint.cli import exits
from mezzotint.cli.messages import one_line

_LIBRARIES = ("torch", "numpy", "pyvips", "pyvips-binary", "pydantic", "safetensors", "typer", "rich")
_EXTRAS = ("accelerate", "huggingface-hub", "openvino")


def doctor() -> int:
    """Print versions and devices, verify the weights and upscale a small picture. Exit status 1 if one fails."""
    checks: tuple[tuple[str, Callable[[], str]], ...] = (
        ("mezzotint", _versions),
        ("libraries", _libraries),
        ("devices", _devices),
        ("formats", _formats),
        ("weights", _weights),
        ("a 64x64 picture", _picture),
    )
    broken = 0
    for name, check in checks:
        try:
            print(f"{name:<16} {check()}", flush=True)
        except KeyboardInterrupt:
            raise
        except Exception as error:
            broken += 1
            if exits.traceback_wanted():
                exits.report_unexpected(error)
            print(f"{name:<16} BROKEN: {type(error).__name__}: {one_line(error)}", flush=True)
    print("everything works" if not broken else f"{broken} of {len(checks)} checks failed")
    return exits.FAILED if broken else exits.DONE


def _versions() -> str:
    system = f"{platform.system()} {platform.machine()}"
    return f"{metadata.version('mezzotint')} with Python {platform.python_version()} on {system}"


def _libraries() -> str:
    found = [f"{name} {metadata.version(name)}" for name in _LIBRARIES]
    for name in _EXTRAS:
        try:
            found.append(f"{name} {metadata.version(name)}")
        except metadata.PackageNotFoundError:
            found.append(f"no {name}")
    return ", ".join(found)


def _devices() -> str:
    import torch

    found = [f"cpu with {torch.get_num_threads()} threads of {os.cpu_count()} processors"]
    if torch.cuda.is_available():
        found += [f"cuda:{k} {torch.cuda.get_device_name(k)}" for k in range(torch.cuda.device_count())]
    if torch.backends.mps.is_available():
        found.append("mps")
    return ", ".join(found)


def _formats() -> str:
    """Write and read a picture in every format; lossless ones must return it."""
    import numpy as np

    from mezzotint import images

    pixels = (np.arange(32 * 32 * 3) % 251).astype(np.uint8).reshape(32, 32, 3)
    names = []
    for kind in dict.fromkeys(images.FORMATS.values()):
        written = (pixels / 250).astype(np.float32) if kind == "pfm" else pixels
        data = images.encode(images.Picture(written), fmt=kind, lossless=True if kind in ("webp", "avif") else None)
        back = images.decode(data, name=kind).pixels
        if back.shape != written.shape or (kind != "jpeg" and not np.array_equal(back, written)):
            raise RuntimeError(f"a {kind} file does not hold the picture that was written")
        names.append(kind)
    return ", ".join(names)


def _weights() -> str:
    from mezzotint import weights

    results = weights.verify()
    damaged = [result.problem for result in results if result.problem is not None]
    if damaged:
        raise RuntimeError("; ".join(damaged))
    if not results:
        raise RuntimeError("the package holds no weights: install it again")
    size = sum(result.path.stat().st_size for result in results) / 1e6
    return f"{', '.join(result.name for result in results)}: good, {size:.1f} MB"


def _picture() -> str:
    """Upscale a file with the method of clean pictures, end to end, twice: equal seeds must give equal pictures."""
    import numpy as np

    from mezzotint import images
    from mezzotint.upscaler import load

    rows, columns = np.mgrid[0:64, 0:64]
    pixels = np.stack([rows * 4, columns * 4, (rows + columns) * 2], axis=-1).astype(np.uint8)
    with tempfile.TemporaryDirectory() as folder:
        small, large = Path(folder, "small.png"), Path(folder, "large.png")
        images.write(images.Picture(pixels), small)
        upscaler = load("mezzotint-x4")
        started = time.monotonic()
        result = upscaler(images.read_plain(small).pixels, scale=4, seed=0)
        seconds = time.monotonic() - started
        images.write(images.Picture(result.image), large)
        if images.read_plain(large).pixels.shape != (256, 256, 3):
            raise RuntimeError("the result has the wrong size")
        if not np.array_equal(upscaler(pixels, scale=4, seed=0).image, result.image):
            raise RuntimeError("the same seed gave two different pictures")
    return f"made 256x256 with {result.record.request.method} in {seconds:.2f} s"
