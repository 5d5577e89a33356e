"""What `--method auto` measures, against what was done to the picture, and how the limits decide."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from skimage import data

from mezzotint import images
from mezzotint.operators.degradation import degrade
from mezzotint.operators.resize import imresize, imresize_uint8
from mezzotint.upscaler import choice
from mezzotint.upscaler.choice import Figures, measure, signs
from mezzotint.upscaler.samples import Coding

BYTES = Coding(np.dtype(np.uint8))


@pytest.fixture(scope="module")
def photo() -> torch.Tensor:
    """A photograph, uint8 1 3 512 512."""
    return torch.from_numpy(data.astronaut().copy()).movedim(-1, 0)[None]


@pytest.fixture(scope="module")
def clean(photo: torch.Tensor) -> np.ndarray:
    """A clean reduction to half its size, h w 3 uint8."""
    return _rows(imresize_uint8(photo[0], scale=0.5)[None])


def _rows(picture: torch.Tensor) -> np.ndarray:
    return picture[0].movedim(0, -1).numpy()


def _measured(rows: np.ndarray, coding: Coding = BYTES) -> Figures:
    found = measure(rows, coding)
    assert found is not None
    return found


@pytest.mark.parametrize(
    "name, limit, beyond, word",
    [
        ("quality", choice.LEAST_QUALITY, choice.LEAST_QUALITY - 1, "JPEG quality 49"),
        ("traces", choice.LEAST_TRACED, choice.LEAST_TRACED - 1, "traces of JPEG quality 89"),
        ("factor", choice.LARGEST_FACTOR, choice.LARGEST_FACTOR + 0.1, "1.4 times smaller"),
        ("blur", choice.LARGEST_BLUR, choice.LARGEST_BLUR + 0.1, "blur of 0."),
        ("noise", choice.LARGEST_NOISE, choice.LARGEST_NOISE + 1, "noise of"),
        ("colour_noise", choice.LARGEST_COLOUR_NOISE, choice.LARGEST_COLOUR_NOISE + 1, "colour noise of"),
    ],
)
def test_one_figure_beyond_its_limit_decides(name: str, limit: float, beyond: float, word: str) -> None:
    assert signs(Figures()) == ()
    assert signs(dataclasses.replace(Figures(), **{name: limit})) == ()
    (sign,) = signs(dataclasses.replace(Figures(), **{name: beyond}))
    assert word in sign
    jpeg = choice.LEAST_QUALITY - 1, choice.LEAST_TRACED - 1
    every = Figures(*jpeg, choice.LARGEST_FACTOR + 1, choice.LARGEST_BLUR + 1, 0.0, 100.0)
    assert len(signs(every)) == 5 and sign in signs(dataclasses.replace(every, **{name: beyond}))


def test_a_clean_reduction_has_no_sign(clean: np.ndarray) -> None:
    assert signs(_measured(clean)) == ()
    assert _measured(clean).traces is None and _measured(clean).quality is None


def test_what_was_done_is_measured(photo: torch.Tensor, clean: np.ndarray) -> None:
    blurred, _ = degrade(torch.from_numpy(clean).movedim(-1, 0)[None], operator="gaussian:1.5", scale=1)
    assert _measured(_rows(blurred)).blur == pytest.approx(1.5, rel=0.2)
    for level in (6, 15):
        noisy, _ = degrade(torch.from_numpy(clean).movedim(-1, 0)[None], operator="identity", scale=1, noise=level)
        assert _measured(_rows(noisy)).colour_noise == pytest.approx(level, rel=0.1)
        assert signs(_measured(_rows(noisy)))
    assert _measured(_rows(noisy)).noise == pytest.approx(15, rel=0.1)
    small = imresize_uint8(photo[0], scale=0.25).double()
    enlarged = imresize(small, scale=2).clamp(0, 255).round().to(torch.uint8)[None]
    assert _measured(_rows(enlarged)).factor == pytest.approx(2, rel=0.15)
    for quality in (30, 60, 80):
        held = images.decode(images.encode(images.Picture(clean), fmt="jpeg", quality=quality), name="x.jpg")
        found = _measured(np.asarray(held.rows[0:256])).traces
        assert found is not None and abs(found - quality) <= 2
    for rows in (_rows(blurred), _rows(enlarged)):
        assert signs(_measured(rows))


def test_the_header_of_a_file_goes_before_the_pixels(clean: np.ndarray) -> None:
    plain = _measured(clean)
    assert measure(clean, BYTES, quality=40) == dataclasses.replace(plain, quality=40)


def test_small_pictures_say_only_what_their_file_does(clean: np.ndarray) -> None:
    side = choice.SMALLEST_SIDE
    assert measure(clean[: side - 1], BYTES) is None and measure(clean[:, : side - 1], BYTES) is None
    assert measure(clean[:side, :side], BYTES) is not None
    assert measure(clean[:9, :5], BYTES, quality=30) == Figures(30)


def test_large_pictures_are_judged_by_their_sharpest_squares(photo: torch.Tensor) -> None:
    block = _rows(photo)
    rows = np.full((1536, 1544, 3), 128, np.uint8)
    # The squares of 256 pixels lie 256 apart, these four are a block.
    rows[512:1024, 1024 - 1024 : 512] = block
    large, small = _measured(rows), _measured(block)
    assert (large.factor, large.traces) == (small.factor, small.traces)
    assert large.blur == pytest.approx(small.blur, abs=0.15)
    held = images.decode(images.encode(images.Picture(rows), fmt="jpeg", quality=50), name="x.jpg")
    found = _measured(np.asarray(held.rows[0:1536])).traces
    assert found is not None and abs(found - 50) <= 2


@pytest.mark.parametrize("size", [(64, 513), (200, 800), (900, 70), (300, 1300), (520, 520)])
def test_any_shape_is_measured(size: tuple[int, int]) -> None:
    rows = np.random.default_rng(0).integers(0, 256, (*size, 3), dtype=np.uint8)
    assert any("noise" in sign for sign in signs(_measured(rows)))


def test_depth_range_and_channels_change_little(clean: np.ndarray) -> None:
    wanted = _measured(clean)
    alpha = np.full((*clean.shape[:2], 1), 255, np.uint8)
    for rows, coding in (
        (clean.astype(np.uint16) * 257, Coding(np.dtype(np.uint16))),
        (clean.astype(np.float32) / 255, Coding(np.dtype(np.float32))),
        (clean.astype(np.float32), Coding(np.dtype(np.float32), low=0.0, high=255.0)),
        (np.concatenate([clean, alpha], axis=2), Coding(np.dtype(np.uint8), alpha=True)),
        (np.concatenate([clean, alpha], axis=2), Coding(np.dtype(np.uint8), "cmyk")),
    ):
        found = _measured(rows, coding)
        assert (found.factor, found.quality) == (wanted.factor, wanted.quality)
        assert (found.blur, found.noise) == pytest.approx((wanted.blur, wanted.noise), abs=0.03)
        assert found.colour_noise == pytest.approx(wanted.colour_noise, abs=0.03)
    grey = _measured(clean[..., 1:2], Coding(np.dtype(np.uint8), "grey"))
    assert signs(grey) == () and grey.colour_noise == 0
