"""JPEG's tables and the differentiable codec against two libjpegs, published rows and closed forms."""

from __future__ import annotations

import io
import math

import numpy as np
import pytest
import torch
from PIL import Image
from skimage import data as skimage_data
from torch import Tensor

from mezzotint.errors import InputError, UsageError
from mezzotint.noise import Noise
from mezzotint.operators.jpeg import (
    CHROMINANCE,
    LUMINANCE,
    Chroma,
    DifferentiableJpeg,
    Jpeg,
    jpeg_round_trip,
    quantisation_table,
)

NOISE = Noise(0)


def camera() -> np.ndarray:
    return skimage_data.camera()[:256, :256]


def astronaut() -> np.ndarray:
    return skimage_data.astronaut()[:256, 100:356]


def tensor(pixels: np.ndarray) -> Tensor:
    pixels = pixels[:, :, None] if pixels.ndim == 2 else pixels
    return torch.from_numpy(pixels.copy()).movedim(-1, 0)[None].double()


def decibels(a: Tensor, b: Tensor) -> float:
    return float(10 * torch.log10(255**2 / (a - b).square().mean()))


def libjpeg(pixels: np.ndarray, quality: int, chroma: Chroma = "4:2:0") -> Tensor:
    three = pixels[:, :, None] if pixels.ndim == 2 else pixels
    return tensor(jpeg_round_trip(three, quality=quality, chroma=chroma))


def test_tables_are_annex_k_the_right_way_round() -> None:
    table = quantisation_table(50)
    assert table.tolist() == [list(map(float, row)) for row in LUMINANCE]
    assert (table[0, 1], table[1, 0]) == (11, 12)
    assert quantisation_table(50, of="chrominance").tolist() == [list(map(float, row)) for row in CHROMINANCE]


@pytest.mark.parametrize(
    ("quality", "row"),
    [
        (30, [27, 18, 17, 27, 40, 66, 85, 101]),
        (75, [8, 6, 5, 8, 12, 20, 26, 31]),
        (90, [3, 2, 2, 3, 5, 8, 10, 12]),
        (10, [80, 55, 50, 80, 120, 200, 255, 255]),
    ],
)
def test_first_rows_of_scaled_tables(quality: int, row: list[int]) -> None:
    assert quantisation_table(quality)[0].tolist() == row


@pytest.mark.parametrize("quality", [1, 3, 10, 37, 49, 50, 51, 75, 88, 99, 100])
def test_tables_are_those_in_files_of_libjpeg(quality: int) -> None:
    buffer = io.BytesIO()
    Image.fromarray(astronaut()[:16, :16]).save(buffer, "JPEG", quality=quality)
    tables = Image.open(buffer).quantization  # type: ignore[attr-defined]
    for index, of in enumerate(("luminance", "chrominance")):
        made = quantisation_table(quality, of=of)  # type: ignore[arg-type]
        assert np.array(tables[index]).reshape(8, 8).tolist() == made.tolist()


@pytest.mark.parametrize("quality", [5, 10, 30, 50, 75, 90, 95])
def test_grey_agrees_with_libjpeg_and_the_transposed_table_does_not(quality: int) -> None:
    """The specification asks for 50 dB, and found 34 to 41 dB for the table that is widely copied."""
    y = tensor(camera())
    made = DifferentiableJpeg(quality=quality, rounding="hard").apply(y, noise=NOISE)
    assert decibels(made, libjpeg(camera(), quality)) > 55
    legacy = DifferentiableJpeg(quality=quality, rounding="hard", legacy_transposed=True).apply(y, noise=NOISE)
    assert 30 < decibels(legacy, libjpeg(camera(), quality)) < (48 if quality >= 90 else 42)


@pytest.mark.parametrize("quality", [10, 30, 50, 75, 90])
@pytest.mark.parametrize("chroma", ["4:2:0", "4:4:4"])
def test_colour_agrees_with_libjpeg(quality: int, chroma: Chroma) -> None:
    pixels = astronaut()[:250, :243]  # no multiples of a block
    made = DifferentiableJpeg(quality=quality, chroma=chroma, rounding="hard").apply(tensor(pixels), noise=NOISE)
    assert decibels(made, libjpeg(pixels, quality, chroma)) > (49 if quality == 10 else 51)
    assert bool((made == made.round()).all()) and made.shape == (1, 3, 250, 243)


def test_soft_rounding_is_optimistic() -> None:
    """Hard 30.5, soft 31.2 and libjpeg 30.5 dB to the source: soft rounding hides a part of the loss."""
    y = tensor(skimage_data.astronaut())
    file = decibels(libjpeg(skimage_data.astronaut(), 30), y)
    hard = decibels(DifferentiableJpeg(quality=30, rounding="hard").apply(y, noise=NOISE), y)
    soft = decibels(DifferentiableJpeg(quality=30, rounding="soft").apply(y, noise=NOISE), y)
    assert file == pytest.approx(30.54, abs=0.005)
    assert hard == pytest.approx(file, abs=0.03) and soft > hard + 0.5


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("rounding", ["hard", "soft", "straight-through"])
def test_a_constant_errs_by_at_most_its_first_table_entry(channels: int, rounding: str) -> None:
    for quality, first in ((10, 80), (50, 16), (90, 3)):
        y = torch.full((2, channels, 17, 23), 77.0, dtype=torch.float64)
        x = DifferentiableJpeg(quality=quality, rounding=rounding).apply(y, noise=NOISE)  # type: ignore[arg-type]
        assert x.shape == y.shape
        assert float((x - y).abs().max()) <= first / 16 + 1


def test_straight_through_has_the_values_of_hard_rounding_and_the_gradient_of_none() -> None:
    y = (60 + 0.5 * tensor(astronaut()[:32, :32])).round().requires_grad_()
    hard = DifferentiableJpeg(quality=40, chroma="4:4:4", rounding="hard").apply(y.detach(), noise=NOISE)
    x = DifferentiableJpeg(quality=40, chroma="4:4:4").apply(y, noise=NOISE)
    assert torch.equal(x.detach(), hard)
    v = torch.randn(x.shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    assert float(x.detach().min()) > 0 and float(x.detach().max()) < 255
    (gradient,) = torch.autograd.grad((x * v).sum(), y)
    # Without rounding the codec is the identity: transforms and colours and back, to the digits of its matrices.
    torch.testing.assert_close(gradient, v, rtol=0, atol=1e-4)


def test_gradients_of_soft_rounding_are_its_derivatives() -> None:
    y = torch.rand(1, 3, 8, 8, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    y = (40 + 150 * y).requires_grad_()
    codec = DifferentiableJpeg(quality=60, rounding="soft")
    assert torch.autograd.gradcheck(lambda v: codec.apply(v, noise=NOISE), (y,), eps=1e-5, atol=1e-3, rtol=1e-3)


def test_float32_and_batches() -> None:
    y = torch.cat([tensor(astronaut()[:40, :56]), tensor(astronaut()[50:90, :56])])
    codec = DifferentiableJpeg(quality=35)
    together = codec.apply(y, noise=NOISE)
    assert torch.equal(together[1:], codec.apply(y[1:], noise=NOISE))
    single = codec.apply(y.float(), noise=NOISE)
    assert single.dtype == torch.float32 and decibels(single.double(), together) > 55


def test_records_and_refusals() -> None:
    assert DifferentiableJpeg(quality=30).record() == {
        "stage": "jpeg",
        "quality": 30,
        "chroma": "4:2:0",
        "rounding": "straight-through",
    }
    assert DifferentiableJpeg(quality=30, legacy_transposed=True).record()["table"] == "transposed"
    for quality in (0, 101, 7.5, True, math.nan):
        with pytest.raises(UsageError, match="whole number from 1 to 100"):
            DifferentiableJpeg(quality=quality)  # type: ignore[arg-type]
        with pytest.raises(UsageError, match="75"):
            quantisation_table(quality)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="4:1:1.*4:2:0"):
        DifferentiableJpeg(quality=50, chroma="4:1:1")  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="none.*soft"):
        DifferentiableJpeg(quality=50, rounding="none")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="1 or 3.*2"):
        DifferentiableJpeg(quality=50).apply(torch.zeros(1, 2, 8, 8), noise=NOISE)
    with pytest.raises(UsageError, match="DifferentiableJpeg"):
        Jpeg(quality=50).apply(torch.zeros(1, 1, 8, 8, requires_grad=True), noise=NOISE)
