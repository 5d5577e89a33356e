"""Estimates of blur, noise and JPEG quality: on pictures whose making is known, and on fields of known spectrum."""

from __future__ import annotations

import io
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from skimage import data as skimage_data
from torch import Tensor

from mezzotint.errors import InputError, UsageError
from mezzotint.noise import Noise
from mezzotint.operators.degradation import degrade
from mezzotint.operators.estimate import blur_width, jpeg_quality, noise_level
from mezzotint.operators.jpeg import quantisation_table
from mezzotint.operators.separable import gaussian


def crops(shared_data: Path, side: int) -> list[Tensor]:
    """The middles of the pictures of Set14, at most side x side, uint8 1 3 h w."""
    found = []
    for path in sorted((shared_data / "bench" / "Set14").iterdir()):
        pixels = np.asarray(Image.open(path).convert("RGB"))
        height, width = (min(n, side) for n in pixels.shape[:2])
        top, left = ((n - m) // 2 for n, m in zip(pixels.shape[:2], (height, width), strict=True))
        middle = pixels[top : top + height, left : left + width].copy()
        found.append(torch.from_numpy(middle).movedim(-1, 0)[None])
    assert len(found) == 14
    return found


def blurred(y: Tensor, sigma: float, scale: int) -> Tensor:
    return degrade(y, operator=f"gaussian:{sigma}", scale=scale)[0]


def median_error(found: list[float], true: float) -> float:
    return float(np.median([abs(value - true) / true for value in found]))


# --- on photographs


@pytest.mark.parametrize(("scale", "sigma"), [(1, 1.0), (1, 2.0), (1, 3.0), (4, 2.4), (4, 3.2)])
def test_blur_of_set14_within_15_percent(shared_data: Path, scale: int, sigma: float) -> None:
    """Calibrated on other pictures; a reduction hides widths below half a small pixel."""
    side = 256 if scale == 1 else 512
    found = [float(blur_width(blurred(y, sigma, scale), scale=scale)[0]) for y in crops(shared_data, side)]
    assert median_error(found, sigma) <= 0.15, found


def test_blur_under_noise_within_15_percent(shared_data: Path) -> None:
    found = []
    for index, y in enumerate(crops(shared_data, 256)):
        x, _ = degrade(y, operator="gaussian:2", scale=1, noise=5, seed=index)
        found.append(float(blur_width(x)[0]))
    assert median_error(found, 2.0) <= 0.15, found


@pytest.mark.parametrize("sigma", [5, 10, 25, 50])
def test_noise_of_set14_within_10_percent(shared_data: Path, sigma: float) -> None:
    """Clipped and rounded to 8 bits; every second picture as one channel of grey."""
    found = []
    for index, y in enumerate(crops(shared_data, 256)):
        x, _ = degrade(y[:, : 1 + 2 * (index % 2)], operator="identity", scale=1, noise=sigma, seed=index)
        found.append(float(noise_level(x).mean()))
    assert median_error(found, sigma) <= 0.10, found


@pytest.mark.parametrize("sigma", [10, 25])
def test_noise_of_one_picture(sigma: float) -> None:
    y = torch.from_numpy(skimage_data.astronaut()[:256, 100:356].copy()).movedim(-1, 0)[None].double() / 255
    x, _ = degrade(y, operator="identity", scale=1, noise=sigma, bits=None)
    assert noise_level(x)[0].tolist() == pytest.approx([sigma] * 3, rel=0.1)


# --- on fields that are known


def natural(size: int, seed: int, slope: float = 2.0) -> Tensor:
    """A Gaussian field of power f^-slope, standard deviation 40 about 128."""
    field = Noise(seed).normal("start", 0, (1, 1, size, size))
    f = torch.fft.fftfreq(size, dtype=torch.float64)
    radius = torch.sqrt(f[:, None].square() + f[: size // 2 + 1].abs().square()).clamp_min(1 / size)
    v = torch.fft.irfft2(torch.fft.rfft2(field) * radius ** (-slope / 2), s=(size, size))
    return 128 + 40 * (v - v.mean()) / v.std()


@pytest.mark.parametrize("sigma", [1.0, 2.0, 3.0])
@pytest.mark.parametrize("slope", [1.8, 2.2])
def test_blur_of_a_field_of_the_fitted_spectrum(sigma: float, slope: float) -> None:
    """The widths add up in squares: the field has no blur of its own, of which photographs have half a pixel."""
    x = gaussian(height=256, width=256, scale=1, sigma=sigma, border="circular").A(natural(256, 1, slope))
    found = float(blur_width(x / 255)[0])
    assert math.sqrt(found**2 + 0.25) == pytest.approx(sigma, rel=0.07)


def test_widths_grow_with_the_blur_and_do_not_depend_on_contrast() -> None:
    y = natural(256, 2)
    found = []
    for sigma in (0.8, 1.2, 1.8, 2.6, 3.6):
        x = gaussian(height=256, width=256, scale=1, sigma=sigma).A(y) / 255
        found.append(float(blur_width(x)[0]))
        assert float(blur_width(0.5 * x + 0.2)[0]) == pytest.approx(found[-1], rel=0.05)
    assert found == sorted(found) and found[-1] > 3


def test_white_noise_alone_is_measured_to_its_sampling_error() -> None:
    for sigma in (1.0, 8.0, 30.0):
        x = (128 + sigma * Noise(3).normal("start", 1, (2, 3, 96, 128))) / 255
        level = noise_level(x)
        assert level.shape == (2, 3)
        torch.testing.assert_close(level, torch.full_like(level, sigma), rtol=0.05, atol=0)


def test_constants_have_no_noise_and_batches_are_their_pictures() -> None:
    assert float(noise_level(torch.full((1, 1, 40, 40), 0.5)).max()) < 1e-3
    y = torch.cat([natural(64, 1), natural(64, 2)]) / 255
    assert torch.equal(noise_level(y)[1:], noise_level(y[1:])) and torch.equal(blur_width(y)[1:], blur_width(y[1:]))


# --- JPEG


def file(quality: int, *, grey: bool = False, subsampling: int = 2, **settings: Any) -> bytes:
    buffer = io.BytesIO()
    pixels = skimage_data.astronaut()[:40, :56]
    picture = Image.fromarray(pixels[..., 0] if grey else pixels)
    picture.save(buffer, "JPEG", quality=quality, subsampling=subsampling, **settings)
    return buffer.getvalue()


@pytest.mark.parametrize("quality", [1, 2, 10, 30, 49, 50, 51, 75, 90, 95, 100])
@pytest.mark.parametrize("grey", [False, True])
def test_quality_is_read_from_the_tables(quality: int, grey: bool) -> None:
    found = jpeg_quality(file(quality, grey=grey))
    assert (found.quality, found.exact) == (quality, True)
    assert found.chroma == ("grey" if grey else "4:2:0") and len(found.tables) == (1 if grey else 2)
    assert torch.equal(found.tables[0], quantisation_table(quality))


@pytest.mark.parametrize(("subsampling", "name"), [(0, "4:4:4"), (1, "4:2:2"), (2, "4:2:0")])
def test_sampling_is_read_from_the_frame(subsampling: int, name: str) -> None:
    assert jpeg_quality(file(80, subsampling=subsampling, progressive=True)).chroma == name


def test_the_header_is_enough() -> None:
    data = file(62)
    assert jpeg_quality(data[: data.index(b"\xff\xda") + 4]).quality == 62


def test_other_tables_give_the_nearest_quality() -> None:
    """Those of 70 made a little coarser, as a camera might."""
    table = [min(255, int(1.07 * v) + 1) for v in quantisation_table(70).flatten().int().tolist()]
    found = jpeg_quality(file(50, grey=True, qtables=[table]))
    assert not found.exact and 62 <= found.quality <= 69
    assert found.tables[0].flatten().int().tolist() == table


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "no JPEG file"),
        (b"\x89PNG\r\n\x1a\n", "no JPEG file"),
        (b"\xff\xd8\xff\xd9", "no quantisation table"),
        (b"\xff\xd8\xff\xdb\x00\x05\x00\x01\x02", "cut"),
        (b"\xff\xd8\xff\xdb\x00\x43\x00" + bytes(64), "holds 0"),
    ],
)
def test_damaged_files_are_refused(data: bytes, message: str) -> None:
    with pytest.raises(InputError, match=message):
        jpeg_quality(data)


def test_any_bytes_are_read_or_refused() -> None:
    data = bytearray(file(50))
    generator = np.random.default_rng(0)
    for _ in range(200):
        broken = bytearray(data[: int(generator.integers(2, 700))])
        for place in generator.integers(2, len(broken), 3) if len(broken) > 2 else ():
            broken[int(place)] = int(generator.integers(0, 256))
        try:
            assert 1 <= jpeg_quality(bytes(broken)).quality <= 100
        except InputError as error:
            assert "JPEG" in str(error)


# --- refusals


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: noise_level(torch.zeros(1, 1, 7, 20)), InputError, "7x20.*8"),
        (lambda: blur_width(torch.zeros(1, 1, 20, 15)), InputError, "20x15.*16"),
        (lambda: blur_width(torch.zeros(1, 1, 20, 20), scale=0), UsageError, "scale 0"),
        (lambda: noise_level(torch.zeros(3, 20, 20)), UsageError, "b c h w"),
        (lambda: noise_level(torch.full((1, 1, 20, 20), math.nan)), InputError, "not numbers"),
        (lambda: noise_level(torch.zeros(1, 1, 20, 20, dtype=torch.int32)), UsageError, "int32"),
    ],
)
def test_refuses(call: Callable[[], object], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        call()
