"""The rule by which training pictures are shrunk: no further than their detail and their coding ask for."""

from __future__ import annotations

import importlib.util
import io
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from PIL import Image

from mezzotint.data import pictures

SCRIPT = Path(__file__).resolve().parents[2] / "training" / "measure.py"


@pytest.fixture(scope="module")
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("training_measure", SCRIPT)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _photograph(side: int = 768) -> np.ndarray:
    """Pixels (h, w, 3) uint8 whose power falls in the last octave by about 4 dB, as in the sharpest photographs."""
    rng = np.random.default_rng(5)
    distance = np.hypot(np.fft.fftfreq(side)[:, None], np.fft.fftfreq(side)[None])
    amplitude = np.maximum(distance, 1 / side) ** -1.15
    plane = np.fft.ifft2(np.fft.fft2(rng.standard_normal((side, side))) * amplitude).real
    levels = 128 + 45 * plane / plane.std()
    return np.clip(np.rint(levels), 2, 253).astype(np.uint8)[..., None].repeat(3, axis=2)


def _file(pixels: np.ndarray, kind: str, **settings: object) -> bytes:
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, kind, **settings)  # pyright: ignore[reportArgumentType]
    return out.getvalue()


@pytest.mark.parametrize(
    ("kind", "settings", "least"),
    [
        ("PNG", {}, 1),
        ("WEBP", {"lossless": True}, 1),
        ("JPEG", {"quality": 95, "subsampling": 0}, 1),
        ("JPEG", {"quality": 95, "subsampling": 2}, 1.25),
        ("JPEG", {"quality": 86, "subsampling": 0}, 1.25),
        ("JPEG", {"quality": 82, "subsampling": 0}, 1.5),
        ("WEBP", {"quality": 90}, 1.5),
        ("JPEG", {"quality": 70, "subsampling": 0}, 2),
    ],
)
def test_coarser_coding_asks_for_more_shrinking(
    script: ModuleType, kind: str, settings: dict[str, object], least: float
) -> None:
    data = _file(_photograph(), kind, **settings)
    assert script.least_factor(data, pictures.decoded(data, "p")) == least


def test_a_sharp_picture_stays_and_an_enlarged_one_is_shrunk_by_what_it_was_enlarged(script: ModuleType) -> None:
    sharp = _photograph()
    factor, small = script.choose(_file(sharp, "PNG"), sharp)
    assert factor == 1 and np.array_equal(small, sharp)
    large = np.asarray(Image.fromarray(sharp).resize((1536, 1536), Image.Resampling.BICUBIC))
    factor, small = script.choose(_file(large, "PNG"), large)
    assert 1.5 <= factor <= 2.5 and small.shape[0] == int(1536 / factor)


def test_a_picture_that_is_sharp_at_no_size_is_left_out(script: ModuleType) -> None:
    soft = np.asarray(Image.fromarray(_photograph(256)).resize((768, 768), Image.Resampling.BICUBIC))
    chosen = script.choose(_file(soft, "PNG"), soft)
    assert chosen is None or chosen[0] >= 2.5
    flat = np.full((400, 400, 3), 90, np.uint8)
    assert script.choose(_file(flat, "PNG"), flat) is None


def test_squares_of_fine_stripes_have_detail_and_slopes_have_none(script: ModuleType) -> None:
    levels = np.broadcast_to(np.arange(256) * 0.5, (192, 256)).copy()
    levels[:, 192:] += 10 * (np.arange(64) % 2)
    assert script.detailed(levels) == pytest.approx(3 * 64**2 / 1e6)
