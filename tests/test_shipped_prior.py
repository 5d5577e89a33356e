"""What the prior in the package must do, on a real picture."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from mezzotint import images, methods
from mezzotint.bridges import VE
from mezzotint.methods.prior import Prior
from mezzotint.noise import Noise
from mezzotint.operators.named import named_operator
from mezzotint.operators.resize import imresize
from mezzotint.schedules import geometric
from mezzotint.upscaler import load

EXAMPLE = Path(__file__).resolve().parents[1] / "examples" / "dog.png"


@pytest.fixture(scope="module")
def prior() -> Prior:
    return methods.load("prior")


@pytest.fixture(scope="module")
def y() -> Tensor:
    """The head of the dog, 1 3 93 106 in [-1, 1]: sides that nothing divides."""
    pixels = images.read(EXAMPLE).pixels[18:111, 30:136, :3]
    return torch.from_numpy(np.ascontiguousarray(pixels)).permute(2, 0, 1)[None].float() / 127.5 - 1


def psnr(a: Tensor, b: Tensor) -> float:
    return float(10 * torch.log10(4 / (a.clamp(-1, 1) - b).double().square().mean()))


def test_the_card_is_complete() -> None:
    card = methods.load_with_card("prior")[1]
    assert card.hours > 1 and card.iterations > 10_000 and card.licence == "Apache-2.0"
    assert "photographs" in card.data and card.data_licence and len(card.authors) > 10


@pytest.mark.parametrize("level", [15, 25, 50])
def test_it_takes_out_most_of_the_noise(prior: Prior, y: Tensor, level: int) -> None:
    # Noise of so many grey levels has 20 log10(255 / level) dB; networks of this size gain 8 to 12 on photographs.
    sigma = 2 * level / 255
    bridge = VE(geometric(2, low=sigma, high=2 * sigma))
    z = y + sigma * Noise(1).normal("noise", 0, tuple(y.shape)).float()
    with torch.no_grad():
        # The first of two nodes, at half of the time, has the level.
        denoised = prior.of(bridge, like=y)(z, 0.5)
    assert psnr(torch.as_tensor(denoised.y), y) > 20 * math.log10(255 / level) + 6


@pytest.mark.parametrize("solver", ["ddnm", "ddrm", "ilvr", "diffpir", "spectral"])
def test_solvers_fit_the_small_picture_exactly(y: Tensor, solver: str) -> None:
    # Sides that 4 divides.
    large = y[..., :92, :104]
    down = named_operator("bicubic", scale=4).for_large(92, 104)
    x = down.A(large.double())
    method = methods.load(solver)
    made = method.sample(x.float(), noise=Noise(0), steps=6, operator="bicubic", sigma=0.0)
    # The results are float32, whose rounding alone is 1e-7 of what a coarse operator sums.
    assert float((down.A(made.double()) - x.float()).abs().max()) < 1e-5
    plain = imresize(x, size=(92, 104)).float()
    assert psnr(made, large) > psnr(plain, large) - 1.5


def test_the_command_needs_no_other_prior() -> None:
    picture = images.read(EXAMPLE).pixels[40:60, 40:61, :3]
    result = load("ddnm")(picture, scale=2, steps=3)
    assert result.image.shape == (40, 42, 3)
    assert result.record.request.method == "ddnm@released"
