"""True resolution: pictures that were enlarged in a known way are found out, with the factor; others are left alone."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from mezzotint.data.resolution import Kernel, luma, octave_fall, power, response, true_resolution
from mezzotint.data.shrink import shrink
from mezzotint.errors import UsageError
from mezzotint.operators.resize import imresize

Landscape = Callable[..., np.ndarray]
Compressed = Callable[[np.ndarray, int], np.ndarray]


def _enlarged(pixels: np.ndarray, factor: float, kernel: Kernel) -> np.ndarray:
    planes = torch.from_numpy(pixels.copy()).permute(2, 0, 1).double()
    name = {"cubic": "cubic", "linear": "linear", "lanczos3": "lanczos3"}[kernel]
    large = imresize(planes, scale=factor, kernel=name)  # pyright: ignore[reportArgumentType]
    return large.round().clamp(0, 255).permute(1, 2, 0).numpy().astype(np.uint8)


def test_power_of_white_noise_is_its_variance() -> None:
    levels = np.random.default_rng(0).normal(100, 7, (640, 640))
    found = power(levels, window=128)
    assert found.shape == (65,)
    assert found[2:].mean() == pytest.approx(49, rel=0.01)
    # 64 squares of 128 lines a direction, neighbouring frequencies share some under the window.
    assert np.abs(found[2:-1] / 49 - 1).max() < 0.06


@pytest.mark.parametrize("deviation", [0.0, 0.4, 0.6])
def test_octave_fall_of_blurred_noise_is_that_of_a_gaussian(deviation: float) -> None:
    noise = np.random.default_rng(1).normal(0, 20, (640, 640))
    rows, columns = np.fft.fftfreq(640)[:, None], np.fft.fftfreq(640)[None]
    gain = np.exp(-2 * (np.pi * deviation) ** 2 * (rows**2 + columns**2))
    found = octave_fall(np.fft.ifft2(np.fft.fft2(noise) * gain).real)
    frequency = np.arange(65) / 128
    left = np.exp(-4 * (np.pi * deviation * frequency) ** 2)
    assert found == pytest.approx(10 * np.log10(left[16:32].mean() / left[32:64].mean()), abs=0.15)


def test_an_enlarged_picture_falls_more_and_a_shrunk_one_less(landscape: Landscape) -> None:
    pixels = landscape(3, 512, 512)
    whole = octave_fall(luma(pixels))
    large = _enlarged(pixels[:256, :256], 2, "cubic")
    assert octave_fall(luma(large)) > whole + 5
    assert octave_fall(luma(shrink(large, factor=2))) < whole + 4


def test_octave_fall_needs_128_pixels_and_takes_a_flat_picture() -> None:
    with pytest.raises(UsageError, match="picture of 200x127 pixels is too small: use 128"):
        octave_fall(np.zeros((127, 200)))
    assert octave_fall(np.full((128, 128), 7.0)) == np.inf


def test_power_of_a_wave_is_at_its_frequency() -> None:
    rows, columns = np.mgrid[:256, :256]
    levels = 10 * np.cos(2 * np.pi * 20 / 128 * columns) + 10 * np.cos(2 * np.pi * 20 / 128 * rows)
    found = power(levels, window=128)
    assert int(found.argmax()) == 20 and found[23:].max() < 1e-12 * found[20]


@pytest.mark.parametrize("kernel", ["linear", "cubic", "lanczos3"])
def test_responses_of_kernels_that_interpolate_add_up_to_one(kernel: Kernel) -> None:
    """Poisson: sum over m of H(f + m) is the transform of the samples h(n), which are 1 at 0 and 0 elsewhere."""
    f = np.linspace(-0.5, 0.5, 21)
    reach = 100 if kernel == "linear" else 3  # the other transforms are tabulated up to 4 cycles
    total = sum(response(kernel, f + m) for m in range(-reach, reach + 1))
    assert np.abs(total - 1).max() < 0.01
    zeros = np.abs(response(kernel, np.array([1.0, 2.0, 3.0])))
    assert zeros.max() < (0.02 if kernel == "lanczos3" else 1e-4)


def test_the_response_of_the_cubic_kernel_is_its_integral() -> None:
    from scipy.integrate import quad

    def keys(t: float) -> float:
        return (1.5 * t - 2.5) * t * t + 1 if t <= 1 else ((-0.5 * t + 2.5) * t - 4) * t + 2

    for f in (0.0, 0.1234, 0.5, 1.37, 2.9):
        exact = 2 * quad(lambda t, f=f: keys(t) * np.cos(2 * np.pi * f * t), 0, 2, points=[1.0], limit=200)[0]
        assert float(response("cubic", np.array([f]))[0]) == pytest.approx(exact, abs=1e-4)


@pytest.mark.parametrize(
    "kernel, factor",
    [
        ("cubic", 2), ("cubic", 2.5), ("cubic", 3), ("cubic", 4), ("lanczos3", 2), ("lanczos3", 3), ("linear", 2),
        ("linear", 4),
    ],
)  # fmt: skip
def test_the_factor_of_an_enlarged_picture(landscape: Landscape, kernel: Kernel, factor: float) -> None:
    for seed in range(3):
        small = landscape(seed, 160, 176)
        found = true_resolution(luma(_enlarged(small, factor, kernel)))
        assert found is not None and found.factor == pytest.approx(factor, rel=0.06)
        assert found.cutoff == 1 / found.factor and found.error < found.plain_error / 1.6


def test_enlarged_by_less_than_two(landscape: Landscape) -> None:
    """Lanczos leaves an edge in the spectrum that shows, but where it lies is told less well."""
    for seed in range(3):
        found = true_resolution(luma(_enlarged(landscape(seed, 160, 176), 1.5, "lanczos3")))
        assert found is not None and 1.3 <= found.factor <= 1.9


def test_an_untouched_picture_uses_its_pixels(landscape: Landscape, compressed: Compressed) -> None:
    for seed in range(4):
        pixels = landscape(seed)
        for changed in (pixels, compressed(pixels, 90), compressed(pixels, 50), pixels[::2, ::2]):
            found = true_resolution(luma(changed))
            assert found is not None and found.factor == 1 and found.kernel == "none"


def test_the_factor_survives_jpeg(landscape: Landscape, compressed: Compressed) -> None:
    for seed in range(3):
        large = compressed(_enlarged(landscape(seed, 160, 176), 2, "cubic"), 95)
        found = true_resolution(luma(large))
        assert found is not None and found.factor == pytest.approx(2, rel=0.1)


def test_small_pictures_are_not_judged(landscape: Landscape) -> None:
    assert true_resolution(luma(landscape(0, 63, 200))) is None
    found = true_resolution(luma(_enlarged(landscape(0, 40, 50), 2, "cubic")))
    assert found is not None and found.factor == pytest.approx(2, rel=0.15)
    flat = true_resolution(np.full((200, 200), 7.0))
    assert flat is not None and flat.factor == 1


def test_photographs(shared_data: Path) -> None:
    """On photographs: of untouched ones at most one is taken for enlarged; two in three are found to 6 %."""
    files = sorted((shared_data / "bench" / "GB82").glob("*.png"))[::4]
    pictures = [np.asarray(Image.open(f).convert("RGB"))[:384, :384] for f in files]
    natural = [true_resolution(luma(p)) for p in pictures]
    assert sum(found is not None and found.factor > 1 for found in natural) <= 1
    for kernel, factor in (("cubic", 4.0), ("lanczos3", 2.0)):
        side = 320 if factor == 2 else 192
        found = [true_resolution(luma(_enlarged(p[:side, :side], factor, kernel))) for p in pictures]  # pyright: ignore
        factors = np.array([f.factor for f in found if f is not None])
        assert (np.abs(factors / factor - 1) <= 0.06).mean() >= 2 / 3, (kernel, factor, factors)
        assert (factors > 1).mean() >= 0.9
