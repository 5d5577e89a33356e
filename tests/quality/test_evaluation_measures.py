"""The measures of `evaluate` beyond the usual ones: each is its function, on whole pictures, sets or samples."""

from __future__ import annotations

import itertools
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from skimage import data

from mezzotint.errors import InputError, UsageError, WeightsError
from mezzotint.operators.resize import imresize_uint8
from mezzotint.quality import (
    Candidate,
    colour_shift,
    dists,
    diversity,
    diversity_score,
    evaluate,
    evaluation,
    frechet_distance_of_features,
    kernel_distance,
    lpips_diversity,
    ms_ssim,
    niqe,
    stability,
)
from mezzotint.quality.dists import DistsNetwork
from mezzotint.quality.lpips import load_network, prepare
from mezzotint.quality.published import write


def bicubic(x: np.ndarray, seed: int) -> np.ndarray:
    large = imresize_uint8(torch.from_numpy(x).permute(2, 0, 1), scale=4)
    return large.permute(1, 2, 0).numpy()


def grainy(x: np.ndarray, seed: int) -> np.ndarray:
    noise = 12 * np.random.default_rng(seed).standard_normal((4 * x.shape[0], 4 * x.shape[1], 3))
    return np.clip(bicubic(x, seed) + noise, 0, 255).round().astype(np.uint8)


BICUBIC = Candidate("bicubic", bicubic, deterministic=True)
GRAINY = Candidate("grainy", grainy)


def pictures(count: int = 3, side: int = 64) -> list[tuple[str, np.ndarray]]:
    astronaut = data.astronaut()
    return [(f"{k}.png", astronaut[90 * k : 90 * k + side, 150 : 150 + side].copy()) for k in range(count)]


def result_of(run, picture: np.ndarray, seed: int) -> np.ndarray:
    small = imresize_uint8(torch.from_numpy(picture).permute(2, 0, 1), scale=0.25)
    return run(small.permute(1, 2, 0).numpy(), seed)


@pytest.fixture(scope="module")
def home(tmp_path_factory) -> Path:
    """Weights under the names of the published ones: small numbers for DISTS, a Gaussian for NIQE."""
    folder = tmp_path_factory.mktemp("home")
    with torch.random.fork_rng():
        torch.manual_seed(0)
        write(DistsNetwork().state_dict(), folder / "weights" / "dists.safetensors", card={"name": "dists"})
    model = {"mean": torch.ones(36), "covariance": torch.eye(36), "window": torch.full((7, 7), 1 / 49)}
    write(
        {key: value.double() for key, value in model.items()},
        folder / "weights" / "niqe.safetensors",
        card={"name": "niqe"},
    )
    return folder


@pytest.fixture
def weights(home, monkeypatch):
    monkeypatch.setenv("MEZZOTINT_HOME", str(home))


def test_every_figure_is_that_of_its_own_function(weights):
    ((name, picture),) = pictures(1, side=200)
    measures = ("ms_ssim", "dists", "niqe", "colour_shift")
    figures = evaluate([(name, picture)], [GRAINY], measures=measures)["methods"]["grainy"]["images"][name]
    made = result_of(grainy, picture, 0)
    assert figures["ms_ssim"] == ms_ssim(picture, made)
    assert figures["dists"] == pytest.approx(dists(picture, made), abs=1e-6)
    assert figures["niqe"] == niqe(made, crop=4)
    assert figures["colour_shift"] == colour_shift(picture, made)
    full = evaluate([(name, picture)], [GRAINY], measures=("niqe",), protocol="rgb-full")
    assert full["methods"]["grainy"]["images"][name]["niqe"] == niqe(made)


def mean_features(image: np.ndarray) -> np.ndarray:
    with torch.no_grad():
        return load_network("alex").last(prepare(image)).mean(dim=(2, 3)).numpy()


def test_sets_are_compared_for_each_seed():
    result = evaluate(pictures(), [BICUBIC, GRAINY], seeds=(1, 2), measures=("frechet_alex",))
    assert result["sets"] == {"patch": None, "count": 3}
    reference = np.concatenate([mean_features(picture) for _, picture in pictures()])
    expected = {}
    for name, run in (("bicubic", bicubic), ("grainy", grainy)):
        expected[name] = [
            frechet_distance_of_features(
                reference, np.concatenate([mean_features(result_of(run, picture, seed)) for _, picture in pictures()])
            )
            for seed in (1, 2)
        ]
    figures = result["methods"]["grainy"]
    assert figures["mean"]["frechet_alex"] == pytest.approx(np.mean(expected["grainy"]), rel=1e-5)
    assert figures["std"]["frechet_alex"] == pytest.approx(np.std(expected["grainy"], ddof=1), rel=1e-3)
    assert figures["ci95"]["frechet_alex"] is None and "frechet_alex" not in figures["images"]["0.png"]
    figures = result["methods"]["bicubic"]
    assert figures["mean"]["frechet_alex"] == pytest.approx(expected["bicubic"][0], rel=1e-5)
    assert figures["std"]["frechet_alex"] == 0


def test_patches_are_all_whole_ones():
    measured = evaluate(pictures(2, side=100), [BICUBIC], measures=("frechet_alex",), patch=48)
    assert measured["sets"] == {"patch": 48, "count": 8}
    features = []
    for make in (lambda picture: picture, lambda picture: result_of(bicubic, picture, 0)):
        parts = [
            mean_features(make(picture)[top : top + 48, left : left + 48])
            for _, picture in pictures(2, side=100)
            for top, left in itertools.product((0, 48), (0, 48))
        ]
        features.append(np.concatenate(parts))
    assert measured["methods"]["bicubic"]["mean"]["frechet_alex"] == pytest.approx(
        frechet_distance_of_features(*features), rel=1e-5
    )


def test_fid_and_kid_share_their_features(monkeypatch):
    calls: list[int] = []
    made: list[np.ndarray] = []

    def watch(picture: np.ndarray) -> np.ndarray:
        calls.append(1)
        made.append(np.asarray(picture, dtype=np.float64).reshape(-1, 3).mean(axis=0)[None] / 255)
        return made[-1]

    monkeypatch.setattr("mezzotint.quality.evaluation.inception_features", watch)
    monkeypatch.setattr("mezzotint.quality.evaluation.load_inception", lambda: None)  # weights that nobody may ship
    mean = evaluate(pictures(2), [BICUBIC], measures=("fid", "kid"))["methods"]["bicubic"]["mean"]
    assert len(calls) == 2 * 2
    reference, candidate = (np.concatenate(made[k::2]).astype(np.float32) for k in (0, 1))
    assert mean["fid"] == pytest.approx(frechet_distance_of_features(reference, candidate), rel=1e-9)
    assert mean["kid"] == pytest.approx(kernel_distance(reference, candidate), rel=1e-9)


def test_samples_are_compared_with_each_other():
    measures = ("psnr", "lpips_diversity", "diversity_score")
    figures = evaluate(pictures(2), [GRAINY, BICUBIC], seeds=(0, 1, 2), measures=measures)["methods"]["grainy"]
    expected: dict[str, list[float]] = {}
    for name, picture in pictures(2):
        samples = [result_of(grainy, picture, seed) for seed in range(3)]
        one = {
            "stability": stability(samples),
            "diversity": diversity(samples),
            "lpips_diversity": lpips_diversity(samples),
            "diversity_score": diversity_score(picture, samples),
        }
        for key, value in one.items():
            assert figures["images"][name]["samples"][key] == pytest.approx(value, rel=1e-5), key
            expected.setdefault(key, []).append(value)
    for key, values in expected.items():
        assert figures["calibration"][key] == pytest.approx(np.mean(values), rel=1e-5), key
    assert "lpips_diversity" not in figures["mean"]


def test_what_is_too_small_is_noted(weights):
    measures = ("ms_ssim", "niqe", "lpips_diversity", "diversity_score", "frechet_alex")
    figures = evaluate(pictures(1), [GRAINY], seeds=(0, 1), measures=measures)["methods"]["grainy"]
    assert figures["mean"]["ms_ssim"] is None and figures["mean"]["niqe"] is None
    assert figures["notes"] == [
        "0.png is too small for MS-SSIM",
        "0.png is too small or too flat for NIQE",
        "one picture is no set: frechet_alex is not defined",
    ]
    assert figures["mean"]["frechet_alex"] is None
    tiny = evaluate(pictures(1, side=16), [GRAINY], seeds=(0, 1), measures=("lpips_diversity", "diversity_score"))
    samples = tiny["methods"]["grainy"]["images"]["0.png"]["samples"]
    assert samples["lpips_diversity"] is None and samples["diversity_score"] is None


def test_bad_options_are_known_before_the_first_picture(tmp_path, monkeypatch):
    def never():
        raise AssertionError("a picture was read")
        yield

    monkeypatch.setenv("MEZZOTINT_HOME", str(tmp_path))
    bad = [
        (WeightsError, "DISTS", {"measures": ("dists",)}),
        (WeightsError, "NIQE", {"measures": ("niqe",)}),
        (WeightsError, "FID and KID", {"measures": ("kid",)}),
        (UsageError, "patch 64 is for measures of sets", {"patch": 64}),
        (UsageError, "patch 31 is below the smallest, 32", {"patch": 31, "measures": ("frechet_alex",)}),
        (UsageError, "compares samples", {"measures": ("diversity_score",)}),
        (UsageError, "compares samples", {"measures": ("lpips_diversity",), "seeds": (0, 1), "methods": [BICUBIC]}),
    ]
    for error, words, options in bad:
        with pytest.raises(error, match=words):
            evaluate(never(), options.pop("methods", [GRAINY]), **options)


def test_every_measure_stands_on_its_page():
    page = (Path(__file__).parents[2] / "docs" / "quality.md").read_text(encoding="utf-8")
    listed = {name.strip() for row in re.findall(r"^\| ([a-z_, ]+) \| `", page, re.M) for name in row.split(",")}
    assert {measure.name for measure in evaluation.MEASURES} <= listed


def test_a_picture_without_a_patch_is_refused():
    with pytest.raises(InputError, match="0.png has 64x64 pixels and no patch of 65"):
        evaluate(pictures(1), [BICUBIC], measures=("frechet_alex",), patch=65)
