from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from mezzotint.errors import InputError, UsageError
from mezzotint.operators.resize import imresize, imresize_uint8
from mezzotint.quality import protocols, psnr, ssim

# Bicubic under each protocol, verified against the published tables: per set and scale the means and each picture's
# PSNR and SSIM, rounded to 5 and 6 (means), 4 and 5 (pictures) decimals.
FIGURES = json.loads(Path(__file__).with_name("bicubic_figures.json").read_text(encoding="utf-8"))


def bicubic(x: np.ndarray, scale: int) -> np.ndarray:
    tensor = torch.from_numpy(x).permute(2, 0, 1)
    large = imresize_uint8(tensor, scale=scale) if x.dtype == np.uint8 else imresize(tensor, scale=scale).clamp(0, 1)
    return large.permute(1, 2, 0).numpy()


def check_bicubic(folder: Path, benchmark: str, name: str, scale: int) -> None:
    protocol, figures = protocols.find(name), FIGURES[name][benchmark][f"x{scale}"]
    pairs = []
    for file in sorted((folder / "bench" / benchmark).iterdir()):
        pair = protocol.pair(np.asarray(Image.open(file)), scale=scale, one_channel=protocol.one_channel)
        enlarged = bicubic(pair.x, scale)
        pairs.append(
            (
                psnr(pair.reference, enlarged, protocol=name, scale=scale),
                ssim(pair.reference, enlarged, protocol=name, scale=scale),
            )
        )
        expected = figures["images"][file.stem]
        assert pairs[-1][0] == pytest.approx(expected[0], abs=1e-4), file.name
        assert pairs[-1][1] == pytest.approx(expected[1], abs=1e-5), file.name
    assert len(pairs) == len(figures["images"])
    mean = np.mean(pairs, axis=0)
    assert mean[0] == pytest.approx(figures["psnr"], abs=1e-5)
    assert mean[1] == pytest.approx(figures["ssim"], abs=1e-6)


@pytest.mark.parametrize("name", ["y-classic", "y-modern"])
@pytest.mark.parametrize(("benchmark", "scale"), [("Set5", 2), ("Set5", 3), ("Set5", 4), ("Set14", 4)])
def test_bicubic_scores_what_is_published(shared_data, benchmark, scale, name):
    check_bicubic(shared_data, benchmark, name, scale)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["y-classic", "y-modern"])
@pytest.mark.parametrize(
    ("benchmark", "scale"), [("Set14", 2), ("Set14", 3), ("BSD100", 2), ("BSD100", 3), ("BSD100", 4)]
)
def test_bicubic_scores_what_is_published_on_larger_sets(shared_data, benchmark, scale, name):
    check_bicubic(shared_data, benchmark, name, scale)


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_small_pictures_are_those_that_matlab_wrote(shared_data, scale):
    for file in sorted((shared_data / "bench" / "Set5").iterdir()):
        (written,) = (shared_data / "bench" / "matlab_lr" / f"Set5_X{scale}").glob(f"{file.stem}*")
        pair = protocols.find("y-modern").pair(np.asarray(Image.open(file)), scale=scale)
        assert np.array_equal(pair.x, np.asarray(Image.open(written).convert("RGB")))


def test_the_reference_is_cut_to_a_multiple_of_the_scale():
    picture = np.random.default_rng(0).integers(0, 256, (19, 22, 3), dtype=np.uint8)
    pair = protocols.find("y-modern").pair(picture, scale=4)
    assert np.array_equal(pair.reference, picture[:16, :20])
    assert pair.x.shape == (4, 5, 3) and pair.x.dtype == np.uint8


def test_grey_becomes_rgb_for_the_method_and_stays_grey_as_the_reference():
    picture = np.random.default_rng(0).integers(0, 256, (16, 16), dtype=np.uint8)
    pair = protocols.find("y-modern").pair(picture, scale=4)
    assert pair.reference.shape == (16, 16, 1)
    assert pair.x.shape == (4, 4, 3)
    assert np.array_equal(pair.x[..., 0], pair.x[..., 2])


def test_classic_luma_is_neither_rounded_nor_clipped():
    picture = np.zeros((16, 16), np.uint8)
    picture[:, 8:] = 255
    pair = protocols.find("y-classic").pair(picture, scale=4, one_channel=True)
    assert pair.x.dtype == np.float64 and pair.x.shape == (4, 4, 1)
    expected = imresize(torch.from_numpy(picture.astype(np.float64)), scale=0.25).numpy()
    assert np.abs(pair.x[..., 0] * 255 - expected).max() < 1e-9
    assert pair.x.min() < 0 and pair.x.max() > 1


@pytest.mark.parametrize("scale", [1.5, 2.7, 4.0])
def test_any_real_scale_gives_sizes_that_fit(scale):
    picture = np.random.default_rng(0).integers(0, 256, (50, 41, 3), dtype=np.uint8)
    pair = protocols.find("rgb").pair(picture, scale=scale)
    for side, large, small in zip((50, 41), pair.reference.shape, pair.x.shape, strict=False):
        assert large == round(small * scale)
        assert 0 <= side - large < scale + 1


def test_every_protocol_says_what_it_does():
    for name in protocols.names():
        protocol = protocols.find(name)
        steps = protocol.steps(scale=3)
        assert any("3 pixels are cut off" in step for step in steps) == protocol.cut_border
        assert any("16..235" in step for step in steps) == (protocol.channel == "y")


def test_bad_arguments_are_refused():
    picture = np.zeros((16, 16, 3), np.uint8)
    with pytest.raises(UsageError, match="one-channel"):
        protocols.find("y-modern").pair(picture, scale=4, one_channel=True)
    with pytest.raises(InputError, match="too small for scale 4"):
        protocols.find("y-modern").pair(picture[:3], scale=4)
    with pytest.raises(InputError, match="batch of 2"):
        protocols.find("y-modern").pair(torch.zeros(2, 3, 16, 16), scale=4)
    with pytest.raises(UsageError, match="use one of y-classic, y-modern, rgb, rgb-full"):
        protocols.find("xyz")
