from __future__ import annotations

import io
from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image


def _landscape(seed: int, height: int = 256, width: int = 320) -> np.ndarray:
    """Pixels (h, w, 3) uint8 whose power falls with the square of the frequency, as that of photographs does."""
    rng = np.random.default_rng(seed)
    rows, columns = np.fft.fftfreq(height)[:, None], np.fft.fftfreq(width)[None]
    amplitude = 1 / np.maximum(np.hypot(rows, columns), 1 / max(height, width))
    planes = []
    for _ in range(4):
        plane = np.fft.ifft2(np.fft.fft2(rng.standard_normal((height, width))) * amplitude).real
        planes.append(plane / plane.std())
    shared, *own = planes
    levels = 128 + 30 * shared[..., None] + 10 * np.stack(own, axis=2)
    return np.clip(np.rint(levels), 2, 253).astype(np.uint8)


def _compressed(pixels: np.ndarray, quality: int) -> np.ndarray:
    data = io.BytesIO()
    Image.fromarray(pixels).save(data, "JPEG", quality=quality)
    return np.asarray(Image.open(data))


@pytest.fixture(scope="session")
def landscape() -> Callable[..., np.ndarray]:
    """A picture with the spectrum of a photograph, another for each seed."""
    return _landscape


@pytest.fixture(scope="session")
def compressed() -> Callable[[np.ndarray, int], np.ndarray]:
    """Pixels after JPEG of a quality, by another library than ours."""
    return _compressed
