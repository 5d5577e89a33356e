"""What the weights in the package must do, on real pictures."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from mezzotint import images, quality
from mezzotint.operators.resize import imresize, imresize_uint8, modcrop
from mezzotint.upscaler import Upscaler, load

EXAMPLE = Path(__file__).resolve().parents[1] / "examples" / "dog.png"


@pytest.fixture(scope="module")
def upscaler() -> Upscaler:
    return load("mezzotint-x4")


@pytest.fixture(scope="module", params=["mezzotint-x4", "mezzotint-x2"])
def either(request: pytest.FixtureRequest) -> Upscaler:
    """A model for clean pictures."""
    return load(request.param)


@pytest.fixture(scope="module")
def picture() -> np.ndarray:
    return images.read(EXAMPLE).pixels[:100, :130]


def test_the_card_is_complete(either: Upscaler) -> None:
    card = either.card
    assert card.local and card.consistent_default and card.figures
    assert card.hours > {4: 1.0, 2: 0.9}[card.scale]
    assert card.receptive_field == either.enlarger.method.reach(card.steps_default)
    assert "photographs" in card.data and card.data_licence and len(card.authors) > 10


def test_a_sample_of_twice_the_size_is_sharper_than_the_mean_by_its_card() -> None:
    figures = load("mezzotint-x2").card.figures
    assert figures["BSD100 y-modern psnr realism 0"] >= 31.5
    assert figures["BSD100 y-modern lpips realism 1"] <= 0.6 * figures["BSD100 y-modern lpips realism 0"]


def test_weights_are_shipped_only_where_they_score_what_they_are_made_for(upscaler: Upscaler) -> None:
    # Measured by `python -m benchmarks.realism`; bicubic interpolation has 25.961 dB on BSD100.
    figures, default = upscaler.card.figures, f"{upscaler.card.realism_default:g}"
    assert figures["Set5 y-modern psnr realism 0"] >= 31.0 and figures["BSD100 y-modern psnr realism 0"] >= 27.1
    assert figures[f"BSD100 y-modern psnr realism {default}"] >= 25.961
    mean, usual, sample = (figures[f"BSD100 y-modern lpips realism {realism}"] for realism in ("0", default, "1"))
    assert usual <= 0.75 * mean and sample <= 0.6 * mean


def test_twice_the_size_holds_the_picture_where_half_of_four_times_does_not(upscaler: Upscaler) -> None:
    y = modcrop(torch.from_numpy(images.read(EXAMPLE).pixels.copy()).permute(2, 0, 1), multiple=2)
    x, true = imresize_uint8(y, scale=0.5).permute(1, 2, 0).numpy(), y.permute(1, 2, 0).numpy()
    twice = load("mezzotint-x2")
    made = [model(x, scale=2, realism=0.0).image for model in (twice, upscaler)]
    scores = [quality.psnr(true, image, protocol="y-modern", scale=2) for image in made]
    assert scores[0] > scores[1] - 0.1
    held = [quality.lr_psnr(image, x, scale=2) for image in made]
    assert held[0] > held[1] + 5
    assert load("auto")(x, scale=2).record.request.method == "mezzotint-x2"


@pytest.mark.parametrize("tile", [48, 160])
def test_tiles_do_not_show(either: Upscaler, picture: np.ndarray, tile: int) -> None:
    # The contract: at most 1e-4 in float, at most one grey level in at most 0.01 % of the 8-bit samples.
    scale = either.enlarger.scale
    whole, tiled = (either(picture, scale=scale, tile=size, floats=True) for size in ("none", tile))
    assert np.abs(whole.floats[0] - tiled.floats[0]).max() < 1e-4
    difference = np.abs(whole.image.astype(int) - tiled.image.astype(int))
    assert difference.max() <= 1 and (difference > 0).mean() <= 1e-4


def test_alone_or_in_a_batch(upscaler: Upscaler, picture: np.ndarray) -> None:
    x = torch.from_numpy(picture[:40, :40].copy()).permute(2, 0, 1).float() / 255
    other = x.flip(-1)
    both = upscaler(torch.stack([x, other]), seed=3).image
    assert torch.equal(both[0], upscaler(x, seed=3).image) and torch.equal(both[1], upscaler(other, seed=3).image)


def test_seeds(upscaler: Upscaler, picture: np.ndarray) -> None:
    small = picture[:40, :40]
    assert np.array_equal(upscaler(small, seed=1).image, upscaler(small, seed=1).image)
    assert not np.array_equal(upscaler(small, seed=1).image, upscaler(small, seed=2).image)


def test_the_mean_of_samples_tends_to_realism_0(upscaler: Upscaler, picture: np.ndarray) -> None:
    small = picture[:48, :48]
    count = 16
    result = upscaler(small, samples=count, realism=1.0, consistent=False, floats=True)
    y0 = upscaler(small, realism=0.0, consistent=False, floats=True).floats[0]
    errors = [float(np.square(sample - y0).mean()) for sample in result.floats]
    of_mean = float(np.square(np.mean(result.floats, axis=0) - y0).mean())
    # Independent samples about y0 would leave 1/16 of the squared distance; a bias of the sampler stays.
    assert of_mean < 3 / count * np.mean(errors)


def test_a_flat_picture_stays_flat(either: Upscaler) -> None:
    flat, scale = np.full((40, 40, 3), 190, np.uint8), either.enlarger.scale
    inner = (slice(10 * scale, -10 * scale), slice(10 * scale, -10 * scale))
    at_default = either(flat, scale=scale).image[inner].astype(float) - 190
    assert at_default.std() < 1 and np.abs(at_default).max() <= 6 and (np.abs(at_default) > 2).mean() < 0.01
    assert (either(flat, scale=scale, realism=1.0).image[inner].astype(float) - 190).std() < 2


def test_realism_0_on_set5(either: Upscaler, shared_data: Path) -> None:
    scale = either.enlarger.scale
    assert scale is not None
    scores, corrected = [], []
    for file in sorted((shared_data / "bench" / "Set5").glob("*.png")):
        pixels = torch.from_numpy(images.read(file).pixels.copy()).permute(2, 0, 1)
        y = modcrop(pixels, multiple=scale)
        x = imresize_uint8(y, scale=1 / scale).permute(1, 2, 0).numpy()
        result = either(x, scale=scale, realism=0.0, floats=True)
        scores.append(quality.psnr(y.permute(1, 2, 0).numpy(), result.image, protocol="y-modern", scale=scale))
        back = imresize(torch.from_numpy(result.floats[0]).permute(2, 0, 1).double(), scale=1 / scale)
        error = (back - torch.from_numpy(x).permute(2, 0, 1).double() / 255).square().mean()
        corrected.append(float(-10 * torch.log10(error)))
    assert np.mean(scores) >= {4: 31.0, 2: 37.0}[scale]
    assert min(corrected) >= 50
