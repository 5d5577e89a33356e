from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch

import mezzotint
from mezzotint.errors import InputError, UsageError
from mezzotint.methods import mezzotint_x4
from mezzotint.operators.resize import imresize, imresize_uint8
from mezzotint.record import from_json, to_json
from mezzotint.upscaler import Upscaler, load, target_size


@pytest.fixture(scope="module")
def refined(tmp_path_factory: pytest.TempPathFactory) -> Upscaler:
    folder = tmp_path_factory.mktemp("weights")
    torch.manual_seed(0)
    method = mezzotint_x4.build(preset="small")
    for parameter in method.refiner.parameters():
        parameter.data = 0.06 * torch.randn_like(parameter)
    method.deviations.uniform_(0.02, 0.1)
    method.save_pretrained(folder)
    return load(folder)


def _picture(height: int, width: int, channels: int = 3, dtype: type = np.uint8) -> np.ndarray:
    values = np.random.default_rng(0).random((height, width, channels))
    if np.issubdtype(dtype, np.floating):
        return values.astype(dtype)
    return (values * np.iinfo(dtype).max).astype(dtype)


@pytest.mark.parametrize(("request_", "size"), [
    ({}, (20, 28)),
    ({"scale": 2.5}, (13, 18)),
    ({"scale": 1.01}, (5, 7)),
    ({"width": 70}, (50, 70)),
    ({"height": 50}, (50, 70)),
    ({"long_side": 71}, (51, 71)),
])  # fmt: skip
def test_sizes(request_: dict, size: tuple[int, int]) -> None:
    assert target_size(5, 7, **request_) == size


@pytest.mark.parametrize("bad", [
    {"scale": 0}, {"scale": -4}, {"scale": float("nan")}, {"scale": 1e9}, {"scale": 1}, {"scale": 0.5},
    {"scale": float("inf")}, {"width": 0}, {"width": 5}, {"height": 10**6}, {"scale": 2, "width": 40},
])  # fmt: skip
def test_sizes_that_cannot_be_meant(bad: dict) -> None:
    with pytest.raises(UsageError):
        target_size(5, 7, **bad)


def test_bicubic_is_imresize() -> None:
    picture = _picture(9, 13)
    out = load("bicubic")(picture, scale=3).image
    x = torch.from_numpy(picture).permute(2, 0, 1).double() / 255
    expected = torch.floor(imresize(x, scale=3).clamp(0, 1) * 255 + 0.5)
    difference = np.abs(out.astype(int) - expected.permute(1, 2, 0).numpy().astype(int))
    assert out.shape == (27, 39, 3) and out.dtype == np.uint8
    assert (difference > 0).mean() < 0.01 and difference.max() <= 1


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32, np.float64])
@pytest.mark.parametrize("channels", [1, 3])
def test_the_kind_of_the_input_comes_back(dtype: type, channels: int, refined: Upscaler) -> None:
    for upscaler in (load("lanczos"), refined):
        out = upscaler(_picture(6, 5, channels, dtype)).image
        assert out.dtype == dtype and out.shape == (24, 20, channels)
        if np.issubdtype(dtype, np.floating):
            assert out.min() >= 0 and out.max() <= 1


def test_seeds_samples_and_spread(refined: Upscaler) -> None:
    picture = _picture(8, 9)
    three = refined(picture, seed=5, samples=3, spread=True)
    assert len(three.images) == 3 and three.spread is not None and three.spread.shape == (32, 36)
    alone = refined(picture, seed=6)
    assert np.array_equal(three.images[1], alone.image)
    assert three.records[1].request == alone.record.request == refined.request(picture, seed=6)
    assert not np.array_equal(three.images[0], three.images[1])
    stack = np.stack([im.astype(float) for im in three.images]) / 255
    expected = np.sqrt((stack.std(axis=0, ddof=1) ** 2).mean(axis=2))
    assert np.abs(three.spread - expected).max() < 0.01


def test_the_spread_states_the_error_that_the_card_knows_of(refined: Upscaler) -> None:
    picture = _picture(8, 9)
    plain = refined(picture, samples=3, spread=True, realism=0.5).spread
    card = refined.card.model_copy(update={"spread_factor": 1.5})
    wider = dataclasses.replace(refined, card=card)(picture, samples=3, spread=True, realism=0.5).spread
    assert plain is not None and wider is not None
    assert plain.max() > 0 and np.allclose(wider, 1.5 * plain, rtol=1e-5)
    # With less realism the samples lie nearer to each other, and the error of their mean is not smaller.
    raw = np.stack(refined(picture, samples=3, floats=True, realism=0.5).floats)
    assert np.allclose(plain, 2 * np.sqrt((raw.std(axis=0, ddof=1) ** 2).mean(axis=2)), atol=0.02)


def test_a_batch_equals_its_pictures_alone(refined: Upscaler) -> None:
    x = torch.rand(2, 3, 7, 6, generator=torch.Generator().manual_seed(1))
    both = refined(x, seed=3).image
    for i in range(2):
        assert torch.allclose(both[i], refined(x[i], seed=3).image, atol=1e-6)


@pytest.mark.parametrize("tile", [16, 31, None])
def test_tiles_do_not_show(refined: Upscaler, tile: int | None) -> None:
    x = torch.rand(3, 40, 53, generator=torch.Generator().manual_seed(2))
    assert (refined(x, tile=tile).image - refined(x, tile="none").image).abs().max() < 1e-4


@pytest.mark.parametrize(("scale", "chain"), [
    (4, ("mezzotint-x4",)),
    (3, ("mezzotint-x4", "bicubic to 18x21")),
    (5, ("mezzotint-x4", "mezzotint-x4", "bicubic to 30x35")),
    (16, ("mezzotint-x4", "mezzotint-x4")),
])  # fmt: skip
def test_other_scales_go_through_a_chain(refined: Upscaler, scale: float, chain: tuple[str, ...]) -> None:
    result = refined(_picture(6, 7), scale=scale)
    assert result.image.shape == (6 * scale, 7 * scale, 3)
    assert result.record.request.chain == chain
    assert any(text.startswith("size") for text in result.record.adapted) == (len(chain) > 1)


def test_consistency_is_reached_and_certified(refined: Upscaler) -> None:
    x = torch.rand(3, 12, 10, generator=torch.Generator().manual_seed(3)) * 0.2 + 0.4
    result = refined(x, consistent=True, realism=0.2)
    certificate = result.record.consistency
    assert certificate is not None
    back = imresize(result.image.double(), scale=0.25)
    assert float((back - x.double()).abs().max()) * 255 < 1e-2
    assert certificate.after_max < 1e-2 < certificate.before_max
    assert refined(x, consistent=False, realism=0.2).record.consistency.after_rms == pytest.approx(
        certificate.before_rms, rel=1e-4
    )
    assert certificate.saved_rms == certificate.after_rms
    pixels = (x.permute(1, 2, 0).numpy() * 255 + 0.5).astype(np.uint8)
    rounded = refined(pixels, consistent=True, realism=0.2)
    saved = imresize(torch.from_numpy(rounded.image).permute(2, 0, 1).double(), scale=0.25)
    error = saved - torch.from_numpy(pixels).permute(2, 0, 1).double()
    certificate = rounded.record.consistency
    assert certificate.after_rms < 1e-3 < certificate.saved_rms
    assert certificate.saved_rms == pytest.approx(float(error.square().mean().sqrt()), rel=1e-3)
    assert certificate.saved_max == pytest.approx(float(error.abs().max()), rel=1e-3)


def test_consistency_survives_saturated_areas(refined: Upscaler) -> None:
    blocks = (torch.rand(3, 3, 4, generator=torch.Generator().manual_seed(4)) > 0.5).float()
    y = blocks.repeat_interleave(16, 1).repeat_interleave(16, 2)
    x = torch.nn.functional.avg_pool2d(y, 4)
    certificate = refined(x, consistent=True, realism=0.2).record.consistency
    plain = refined(x, consistent=False, realism=0.2).record.consistency
    assert certificate.after_rms < 0.7 * plain.after_rms


def test_consistent_baselines_use_the_same_operator() -> None:
    picture = _picture(8, 8)
    result = load("nearest")(picture / 255 * 0.2 + 0.4, consistent=True)
    assert result.record.consistency.after_rms < 1e-3 < result.record.consistency.before_rms
    with pytest.raises(UsageError, match="whole scale"):
        load("nearest")(picture, scale=2.5, consistent=True)


def test_records_survive_json(refined: Upscaler) -> None:
    record = refined(_picture(4, 4)).record
    assert from_json(to_json(record)) == record
    assert record.evaluations == 1 + 4
    assert refined(_picture(4, 4), realism=0).record.evaluations == 1


@pytest.mark.parametrize(("options", "words"), [
    ({"steps": 0}, "steps 0"),
    ({"realism": 7}, "realism 7"),
    ({"tile": 3}, "tile 3 is smaller"),
    ({"tile": "big"}, "no number"),
    ({"samples": 0}, "samples 0"),
    ({"seed": -1}, "seed -1"),
    ({"seed": 2**64}, "seed"),
    ({"colour": "red"}, "colour"),
])  # fmt: skip
def test_wrong_options_are_known_before_any_work(refined: Upscaler, options: dict, words: str) -> None:
    for call in (refined, refined.request):
        with pytest.raises(UsageError, match=words):
            call(_picture(4, 4), **options)


def test_options_of_other_methods_are_refused() -> None:
    for options, words in (({"realism": 0.5}, "no realism"), ({"steps": 3}, "no steps")):
        with pytest.raises(UsageError, match=words):
            load("bicubic")(_picture(4, 4), **options)
    with pytest.raises(UsageError, match="mezzotint-x4"):
        load("mezotint-x4")
    with pytest.raises(UsageError, match="train"):
        load("sr3")


@pytest.mark.parametrize("bad", [
    np.zeros((4, 4, 5), np.uint8), np.zeros((0, 4, 3), np.uint8), np.zeros((4, 4, 3), np.int32),
    np.full((4, 4, 3), np.nan), np.full((4, 4, 3), 2.0), torch.zeros(4, 4), torch.zeros(1, 3, 4, 4, dtype=torch.uint8),
    [[1, 2]],
])  # fmt: skip
def test_pictures_that_cannot_be_used(bad) -> None:
    with pytest.raises(InputError):
        load("bicubic")(bad)


def test_a_recipe_goes_through_the_same_door(tmp_path: Path) -> None:
    mezzotint.build("sr3", scale=4, preset="small").save_pretrained(tmp_path)
    result = load(tmp_path)(_picture(5, 6), steps=2)
    assert result.image.shape == (20, 24, 3)
    assert result.record.request.method.startswith("sr3")
    seen = []
    load(tmp_path)(_picture(4, 4), steps=2, progress=lambda done, total: seen.append((done, total)))
    assert seen == [(1, 2), (2, 2)]


def test_the_small_picture_of_a_big_one_is_kept(shared_data: Path, refined: Upscaler) -> None:
    from mezzotint import images

    y = torch.from_numpy(images.read(shared_data / "bench" / "Set5" / "butterfly.png").pixels.copy()).permute(2, 0, 1)
    x = imresize_uint8(y, scale=0.25).permute(1, 2, 0).numpy()
    record = refined(x, consistent=True).record
    assert record.consistency.saved_rms < 1
