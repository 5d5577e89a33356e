"""Colour correction in the chain of stages: bands of it against whole pictures, on engines with a cast."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from mezzotint.baselines.interpolation import Lanczos
from mezzotint.colour import match_low_frequencies, match_moments
from mezzotint.errors import UsageError
from mezzotint.images.spool import Spool
from mezzotint.methods import mezzotint_x4
from mezzotint.operators.resize import imresize
from mezzotint.upscaler import Upscaler, load
from mezzotint.upscaler.enlargers import Interpolation
from mezzotint.upscaler.samples import Coding

MATCHES = {"mean-std": match_moments, "wavelet": match_low_frequencies}
CAST = torch.tensor([0.08, -0.1, 0.05]).reshape(1, 3, 1, 1)


@dataclasses.dataclass(frozen=True)
class Casting:
    """Lanczos with a cast, over the whole picture at once."""

    def __call__(self, x: Tensor, *, scale: float, size: tuple[int, int] | None = None) -> Tensor:
        return 0.9 * Lanczos()(x, scale=scale, size=size) + CAST[:, : x.shape[1]]


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


@pytest.fixture(scope="module")
def casting() -> Upscaler:
    return dataclasses.replace(load("lanczos"), name="casting", enlarger=Interpolation(Casting()))


def _picture(height: int, width: int, channels: int = 3, *, low: float = 0.3, high: float = 0.6) -> np.ndarray:
    values = np.random.default_rng(height * 71 + width).random((height, width, channels)).astype(np.float32)
    return low + (high - low) * values


def _tensor(rows: np.ndarray) -> Tensor:
    return torch.from_numpy(rows).permute(2, 0, 1)[None]


@pytest.mark.parametrize("colour", MATCHES)
@pytest.mark.parametrize("size", [{"scale": 4}, {"scale": 1.7}])
def test_the_result_is_that_of_the_whole_picture(casting: Upscaler, colour: str, size: dict) -> None:
    picture = _picture(37, 29)
    plain, corrected = (casting(picture, colour=name, **size).image for name in ("none", colour))
    enlarged = imresize(_tensor(picture).double(), size=plain.shape[:2])
    expected = MATCHES[colour](_tensor(plain).double(), enlarged).clamp(0, 1)
    assert np.abs(corrected - expected[0].permute(1, 2, 0).numpy()).max() < 1e-6
    means = [image.mean(axis=(0, 1)) for image in (plain, corrected, enlarged[0].permute(1, 2, 0).numpy())]
    assert np.abs(means[0] - means[2]).max() > 0.02 and np.abs(means[1] - means[2]).max() < 2e-4


@settings(max_examples=3, deadline=None)
@given(
    height=st.integers(1, 48), width=st.integers(1, 48), tile=st.integers(16, 40), colour=st.sampled_from([*MATCHES]),
    scale=st.sampled_from([4.0, 2.6, 5.3]), consistent=st.booleans(), channels=st.sampled_from([1, 2, 3, 4]),
)  # fmt: skip
def test_bands_do_not_show(
    refined: Upscaler, height: int, width: int, tile: int, scale: float, consistent: bool, channels: int, colour: str
) -> None:
    picture = _picture(height, width, channels, low=0.0, high=1.0)
    if channels in (2, 4):
        picture[..., -1] *= np.arange(width) > width // 2
    options = {"scale": scale, "consistent": consistent, "seed": 3, "colour": colour}
    whole, cut = refined(picture, tile="none", **options), refined(picture, tile=tile, **options)
    assert whole.image.shape == cut.image.shape
    assert np.abs(whole.image - cut.image).max() < 1e-4
    a, b = whole.record.consistency, cut.record.consistency
    assert a is not None and b is not None
    assert a.after_rms == pytest.approx(b.after_rms, abs=2e-3)


@pytest.mark.parametrize("colour", MATCHES)
def test_a_correction_stands_in_the_record_and_before_consistency(refined: Upscaler, colour: str) -> None:
    picture = _picture(20, 24)
    result = refined(picture, colour=colour, consistent=True)
    assert result.record.request.colour == colour and "colour" in result.record.timings
    assert result.record.consistency is not None and result.record.consistency.after_rms < 0.01
    assert "colour" not in refined(picture).record.timings
    alone = refined(picture, colour=colour, samples=2).images[1]
    assert (alone == refined(picture, colour=colour, seed=1).image).all()


@pytest.mark.parametrize("colour", MATCHES)
def test_a_cast_goes_in_every_kind_of_picture(casting: Upscaler, colour: str) -> None:
    for channels in (1, 2, 3, 4):
        picture = _picture(24, 20, channels)
        out = casting(picture, scale=2, colour=colour).image
        colours = 1 if channels < 3 else 3
        shift = out[..., :colours].mean(axis=(0, 1)) - picture[..., :colours].mean(axis=(0, 1))
        assert np.abs(shift).max() < 2e-3
        if channels % 2 == 0:
            assert (out[..., -1] == casting(picture, scale=2).image[..., -1]).all()


def test_a_picture_may_wait_on_disk(refined: Upscaler, tmp_path: Path) -> None:
    picture = (_picture(40, 24) * 255).astype(np.uint8)
    made: list[tuple[int, ...]] = []

    def sink(shape: tuple[int, int, int], dtype: np.dtype) -> Spool:
        made.append(shape)
        return Spool(shape, dtype, folder=tmp_path)

    coding = Coding.of(np.dtype(np.uint8), "rgb")
    job = refined.prepare(picture, coding, colour="mean-std", tile=16)
    (sample,) = refined.enlarge(job, sink=sink)
    assert (np.asarray(sample.rows[0:160]) == refined(picture, colour="mean-std", tile=16).image).all()
    assert made == [(160, 96, 3)] * 2


def test_a_plan_counts_what_waits(refined: Upscaler) -> None:
    picture = np.zeros((64, 64, 3), np.uint8)
    coding = Coding.of(picture.dtype, "rgb")
    memory = {
        name: refined.plan(refined.prepare(picture, coding, colour=name)).memory for name in ("none", *MATCHES)
    }  # fmt: skip
    assert memory["mean-std"] - memory["none"] == 4 * 3 * (64**2 + 256**2)
    assert memory["wavelet"] > memory["none"]


def test_another_name_is_refused(refined: Upscaler) -> None:
    with pytest.raises(UsageError, match="colour 'sepia' is unknown: use one of none, mean-std, wavelet"):
        refined(_picture(4, 4), colour="sepia")
