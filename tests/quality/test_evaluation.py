from __future__ import annotations

import dataclasses
import json
import math
import time
import weakref

import numpy as np
import pytest
import torch
from PIL import Image
from skimage import data

from mezzotint.errors import InputError, UsageError, WeightsError
from mezzotint.operators.resize import imresize, imresize_uint8
from mezzotint.quality import (
    Candidate,
    Output,
    consistency,
    evaluate,
    evaluation,
    lpips,
    lr_psnr,
    lr_psnr_float,
    protocols,
    psnr,
    ssim,
)
from mezzotint.quality.lpips import LpipsNetwork


def bicubic(x: np.ndarray, seed: int) -> np.ndarray:
    tensor = torch.from_numpy(x).permute(2, 0, 1)
    large = imresize_uint8(tensor, scale=4) if x.dtype == np.uint8 else imresize(tensor, scale=4)
    return large.permute(1, 2, 0).numpy()


def grainy(x: np.ndarray, seed: int) -> np.ndarray:
    large = bicubic(x, seed) / 255
    return large + 0.05 * np.random.default_rng(seed).standard_normal(large.shape)


BICUBIC = Candidate("bicubic", bicubic, one_channel=True, deterministic=True)
GRAINY = Candidate("grainy", grainy, settings={"steps": 1})


def pictures(count: int = 3, side: int = 64):
    astronaut = data.astronaut()
    for index in range(count):
        yield f"{index}.png", astronaut[100 * index : 100 * index + side, 150 : 150 + side].copy()


def test_every_figure_is_that_of_its_own_function():
    result = evaluate(
        pictures(1), [GRAINY], measures=[measure for measure in evaluation.DEFAULT_MEASURES] + ["consistency"]
    )
    ((_, picture),) = pictures(1)
    pair = protocols.find("y-modern").pair(picture, scale=4)
    raw = grainy(pair.x, 0)
    file = np.floor(np.clip(raw, 0, 1) * 255 + 0.5).astype(np.uint8)
    figures = result["methods"]["grainy"]["images"]["0.png"]
    assert figures["psnr"] == psnr(pair.reference, file)
    assert figures["ssim"] == ssim(pair.reference, file)
    assert figures["lpips"] == pytest.approx(lpips(pair.reference, file), abs=1e-6)
    assert figures["lr_psnr"] == lr_psnr(file, pair.x)
    assert figures["lr_psnr_float"] == lr_psnr_float(raw, pair.x)
    assert figures["consistency"] == consistency(raw, pair.x)
    assert figures["seconds"] > 0


def test_the_structure_is_that_of_the_contract():
    result = evaluate(pictures(), [BICUBIC, GRAINY], seeds=(0, 1), folder="three")
    assert set(result) == {"protocol", "scale", "seeds", "data", "methods"}
    assert result["data"] == {"folder": "three", "images": 3}
    assert result["seeds"] == [0, 1] and result["scale"] == 4 and result["protocol"] == "y-modern"
    assert list(result["methods"]) == ["bicubic", "grainy"]
    for figures in result["methods"].values():
        assert {"settings", "mean", "std", "ci95", "images"} <= set(figures)
        assert list(figures["images"]) == ["0.png", "1.png", "2.png"]
        for measure in ("psnr", "ssim", "lpips", "lr_psnr", "lr_psnr_float", "seconds"):
            values = [image[measure] for image in figures["images"].values()]
            assert figures["mean"][measure] == pytest.approx(np.mean(values))
            low, high = figures["ci95"][measure]
            assert min(values) - 1e-9 <= low <= figures["mean"][measure] <= high <= max(values) + 1e-9
    assert result["methods"]["grainy"]["settings"] == {"steps": 1}
    assert json.loads(evaluation.to_json(result))["data"] == result["data"]


def test_seeds_are_averaged_and_their_deviation_is_that_of_the_means():
    result = evaluate(pictures(), [GRAINY], seeds=(3, 4, 5))["methods"]["grainy"]
    rows = np.array([image["seeds"]["psnr"] for image in result["images"].values()])
    assert rows.shape == (3, 3) and len(set(rows[0])) == 3
    assert result["mean"]["psnr"] == pytest.approx(rows.mean())
    assert result["std"]["psnr"] == pytest.approx(rows.mean(axis=0).std(ddof=1))
    single = evaluate(pictures(), [GRAINY], seeds=(4,))["methods"]["grainy"]
    assert single["mean"]["psnr"] == pytest.approx(rows[:, 1].mean())
    assert single["std"]["psnr"] is None and "calibration" not in single


def test_deterministic_methods_run_once():
    calls: list[int] = []

    def counted(x: np.ndarray, seed: int) -> np.ndarray:
        calls.append(seed)
        return bicubic(x, seed)

    result = evaluate(pictures(2), [Candidate("counted", counted, deterministic=True)], seeds=(7, 8, 9))
    assert calls == [7, 7]
    assert result["methods"]["counted"]["std"]["psnr"] == 0
    assert "calibration" not in result["methods"]["counted"]


def test_calibration_is_that_of_the_samples():
    result = evaluate(pictures(2), [GRAINY], seeds=range(6))["methods"]["grainy"]
    calibration = result["calibration"]
    spread, error = [], []
    for _, picture in pictures(2):
        pair = protocols.find("y-modern").pair(picture, scale=4)
        samples = np.stack([np.clip(grainy(pair.x, seed), 0, 1) for seed in range(6)])
        spread.append(samples.var(axis=0, ddof=1).mean() * 255**2)
        error.append(np.mean((samples.mean(axis=0) - pair.reference / 255) ** 2) * 255**2)
    assert calibration["samples"] == 6
    assert calibration["ratio"] == pytest.approx(np.mean(spread) / np.mean(error))
    assert calibration["mean_ratio"] == pytest.approx(np.mean(np.divide(spread, error)))
    assert calibration["ideal_ratio"] == pytest.approx(6 / 7)
    assert (calibration["spread_factor"], calibration["stated_ratio"]) == (1, calibration["ratio"])
    stating = dataclasses.replace(GRAINY, spread_factor=1.5)
    stated = evaluate(pictures(2), [stating], seeds=range(6))["methods"]["grainy"]["calibration"]
    assert stated["ratio"] == calibration["ratio"]
    assert stated["stated_ratio"] == pytest.approx(2.25 * calibration["ratio"])
    # noise averages out: the mean of the samples is nearer to the truth than each of them
    assert calibration["sample_mean"]["psnr"] > result["mean"]["psnr"] + 1
    assert -1 <= calibration["rank_correlation"] <= 1


def test_pictures_stream():
    alive: list[weakref.ref] = []

    def stream():
        for name, picture in pictures(4):
            assert all(reference() is None for reference in alive)
            alive.append(weakref.ref(picture))
            yield name, picture
            del picture

    evaluate(stream(), [BICUBIC], measures=("psnr",))
    assert len(alive) == 4


def test_reference_features_are_computed_once_a_picture(monkeypatch):
    calls = []
    describe = LpipsNetwork.describe
    monkeypatch.setattr(LpipsNetwork, "describe", lambda self, x: (calls.append(1), describe(self, x))[1])
    evaluate(pictures(2), [GRAINY, BICUBIC], seeds=(0, 1), measures=("lpips",))
    assert len(calls) == 2 * (1 + 2 + 1)


def test_progress_hands_over_what_was_measured():
    seen = []
    evaluate(pictures(1), [BICUBIC, GRAINY], seeds=(0, 1), progress=seen.append)
    assert [(one.picture, one.method, one.seed) for one in seen] == [
        ("0.png", "bicubic", 0),
        ("0.png", "grainy", 0),
        ("0.png", "grainy", 1),
    ]
    ((_, picture),) = pictures(1)
    assert all(one.image.dtype == np.uint8 and one.image.shape == (64, 64, 3) for one in seen)
    assert seen[1].figures["psnr"] == psnr(picture, seen[1].image)


def test_further_figures_of_a_method_are_averaged():
    method = Candidate("counted", lambda x, seed: Output(bicubic(x, seed), {"nfe": 4 + seed}))
    result = evaluate(pictures(2), [method], seeds=(0, 2), measures=("psnr",))["methods"]["counted"]
    assert result["mean"]["nfe"] == 5
    assert result["std"]["nfe"] == pytest.approx(math.sqrt(2))


def test_classic_gives_luma_to_those_who_take_it_and_says_so():
    seen: dict[str, tuple] = {}

    def watch(name: str):
        def run(x: np.ndarray, seed: int) -> np.ndarray:
            seen[name] = (x.shape, x.dtype)
            return bicubic(x, seed)

        return run

    methods = [
        Candidate("luma", watch("luma"), one_channel=True, deterministic=True),
        Candidate("colour", watch("colour"), deterministic=True),
    ]
    result = evaluate(pictures(1), methods, protocol="y-classic")["methods"]
    assert seen == {"luma": ((16, 16, 1), np.float64), "colour": ((16, 16, 3), np.uint8)}
    assert "measure half only" in result["colour"]["notes"][0]
    assert result["luma"]["mean"]["lpips"] is None and result["luma"]["mean"]["lr_psnr"] is None
    assert result["colour"]["mean"]["lpips"] is not None
    assert abs(result["luma"]["mean"]["psnr"] - result["colour"]["mean"]["psnr"]) < 0.1


def test_a_perfect_method_is_infinitely_good_and_still_json():
    ((_, picture),) = pictures(1)
    result = evaluate(pictures(1), [Candidate("oracle", lambda x, seed: picture, deterministic=True)])
    figures = result["methods"]["oracle"]["mean"]
    assert figures["psnr"] == math.inf and figures["ssim"] == pytest.approx(1) and figures["lpips"] == 0
    text = json.loads(evaluation.to_json(result), parse_constant=pytest.fail)
    assert text["methods"]["oracle"]["mean"]["psnr"] == "inf"


def test_pictures_too_small_for_a_measure_are_noted():
    result = evaluate(pictures(1, side=16), [BICUBIC])["methods"]["bicubic"]
    assert result["mean"]["psnr"] is not None
    assert result["mean"]["ssim"] is None and result["mean"]["lpips"] is None
    assert result["notes"] == ["0.png is too small for SSIM", "0.png is too small for LPIPS-alex"]


def test_grey_pictures_are_evaluated():
    camera = [("camera.png", data.camera()[:64, :64])]
    result = evaluate(camera, [GRAINY, BICUBIC], seeds=(0, 1))
    one = evaluate(camera, [Candidate("one", lambda x, seed: bicubic(x, seed)[..., :1], deterministic=True)])
    assert result["methods"]["bicubic"]["mean"]["psnr"] == one["methods"]["one"]["mean"]["psnr"]


def test_tensors_are_taken_from_methods():
    method = Candidate("tensor", lambda x, seed: torch.from_numpy(bicubic(x, seed)).permute(2, 0, 1) / 255)
    result = evaluate(pictures(1), [method, BICUBIC], measures=("psnr",))["methods"]
    assert result["tensor"]["mean"]["psnr"] == result["bicubic"]["mean"]["psnr"]


def test_methods_cannot_change_the_small_picture():
    def vandal(x: np.ndarray, seed: int) -> np.ndarray:
        large = bicubic(x, seed)
        x[:] = 0
        return large

    result = evaluate(pictures(1), [Candidate("vandal", vandal), BICUBIC], measures=("lr_psnr",))["methods"]
    assert result["vandal"]["mean"] | {"seconds": 0} == result["bicubic"]["mean"] | {"seconds": 0}


@pytest.mark.parametrize(
    ("method", "words"),
    [
        (lambda x, seed: bicubic(x, seed)[:-1], "result of bad for 0.png has 64x63 pixels"),
        (lambda x, seed: bicubic(x, seed) * np.nan, "not finite"),
        (lambda x, seed: bicubic(x, seed) * 1.0, "result of bad for 0.png has float values"),
        (lambda x, seed: None, "NoneType"),
    ],
)
def test_results_that_cannot_be_measured_are_named(method, words):
    with pytest.raises(InputError, match=words):
        evaluate(pictures(1), [Candidate("bad", method)])


def test_bad_options_are_known_before_the_first_picture(tmp_path, monkeypatch):
    def never():
        raise AssertionError("a picture was read")
        yield

    monkeypatch.setenv("MEZZOTINT_HOME", str(tmp_path))
    bad = [
        (UsageError, {"protocol": "y"}),
        (UsageError, {"scale": 0.0}),
        (UsageError, {"seeds": ()}),
        (UsageError, {"seeds": (1, 1)}),
        (UsageError, {"measures": ("pnsr",)}),
        (UsageError, {"methods": []}),
        (UsageError, {"methods": [BICUBIC, BICUBIC]}),
        (WeightsError, {"measures": ("lpips_vgg",)}),
    ]
    for error, options in bad:
        methods = options.pop("methods", [BICUBIC])
        with pytest.raises(error):
            evaluate(never(), methods, **options)


def test_no_pictures_and_double_names_are_refused():
    with pytest.raises(InputError, match="no pictures"):
        evaluate([], [BICUBIC])
    with pytest.raises(InputError, match="two pictures"):
        evaluate([*pictures(1), *pictures(1)], [BICUBIC])


def test_bicubic_on_set5_takes_seconds(shared_data):
    def read():
        for file in sorted((shared_data / "bench" / "Set5").iterdir()):
            yield file.name, np.asarray(Image.open(file))

    for protocol, expected in (("y-classic", (28.42113, 0.810402)), ("y-modern", (28.42902, 0.811135))):
        start = time.perf_counter()
        mean = evaluate(read(), [BICUBIC], protocol=protocol, folder="Set5")["methods"]["bicubic"]["mean"]
        assert mean["psnr"] == pytest.approx(expected[0], abs=1e-5)
        assert mean["ssim"] == pytest.approx(expected[1], abs=1e-6)
        assert time.perf_counter() - start < 10
