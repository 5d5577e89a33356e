"""One table of all measures: each is a function, an accumulator that other processes fill, a column of `evaluate`."""

from __future__ import annotations

import pickle
import subprocess
import sys
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from skimage import data

import mezzotint.quality
from mezzotint.operators.resize import imresize_uint8
from mezzotint.quality import Candidate, Collector, evaluate, merged, protocols
from mezzotint.quality.dists import DistsNetwork
from mezzotint.quality.diversity import BestOfSamples
from mezzotint.quality.evaluation import MEASURES
from mezzotint.quality.frechet import Features, frechet_distance_of_features, kernel_distance
from mezzotint.quality.inception import Inception
from mezzotint.quality.lpips import LpipsNetwork, load_network, prepare
from mezzotint.quality.published import write
from mezzotint.quality.statistics import Spread

q = mezzotint.quality
SEEDS = (0, 1)
# What a pair measure takes of a picture: the true one, what was made of it, and the small one between them.
PAIRS: dict[str, tuple[Callable[..., Any], Callable[[Any, Any, Any], tuple[Any, ...]]]] = {
    "psnr": (partial(q.psnr, scale=4), lambda y, made, x: (y, made)),
    "ssim": (partial(q.ssim, scale=4), lambda y, made, x: (y, made)),
    "ms_ssim": (q.ms_ssim, lambda y, made, x: (y, made)),
    "lpips": (q.lpips, lambda y, made, x: (y, made)),
    "lpips_vgg": (partial(q.lpips, net="vgg"), lambda y, made, x: (y, made)),
    "dists": (q.dists, lambda y, made, x: (y, made)),
    "niqe": (partial(q.niqe, crop=4), lambda y, made, x: (made,)),
    "colour_shift": (q.colour_shift, lambda y, made, x: (y, made)),
    "lr_psnr": (q.lr_psnr, lambda y, made, x: (made, x)),
    "lr_psnr_float": (q.lr_psnr_float, lambda y, made, x: (made, x)),
    "consistency": (q.consistency, lambda y, made, x: (made, x)),
}
SAMPLES: dict[str, tuple[Callable[..., Any], Callable[[Any, Any], tuple[Any, ...]]]] = {
    "stability": (q.stability, lambda y, samples: (samples,)),
    "diversity": (q.diversity, lambda y, samples: (samples,)),
    "lpips_diversity": (q.lpips_diversity, lambda y, samples: (samples,)),
    "diversity_score": (q.diversity_score, lambda y, samples: (y, samples)),
}


def alex_features(picture: np.ndarray) -> np.ndarray:
    with torch.no_grad():
        return load_network("alex").last(prepare(picture)).mean(dim=(2, 3)).numpy()


SETS: dict[str, tuple[Callable[..., float], Callable[[np.ndarray], np.ndarray]]] = {
    "fid": (frechet_distance_of_features, q.inception_features),
    "kid": (kernel_distance, q.inception_features),
    "frechet_alex": (frechet_distance_of_features, alex_features),
}


def test_the_table_has_every_measure() -> None:
    named = {measure.name: measure.of for measure in MEASURES}
    assert {name for name, of in named.items() if of == "picture"} == set(PAIRS)
    assert {name for name, of in named.items() if of == "set"} == set(SETS)
    # The two others come with several seeds, asked for or not.
    assert {name for name, of in named.items() if of == "samples"} | {"stability", "diversity"} == set(SAMPLES)


@pytest.mark.parametrize("name", [*PAIRS, *SETS, *SAMPLES])
def test_it_is_a_function_of_the_package(name: str) -> None:
    exported = {"lpips_vgg": "lpips", "frechet_alex": "frechet_distance"}.get(name, name)
    assert exported in q.__all__ and callable(getattr(q, exported)) and getattr(q, exported).__doc__


def grainy(x: np.ndarray, seed: int) -> np.ndarray:
    large = imresize_uint8(torch.from_numpy(x).permute(2, 0, 1), scale=4).permute(1, 2, 0).numpy()
    noise = 12 * np.random.default_rng(seed).standard_normal(large.shape)
    return np.clip(large + noise, 0, 255).round().astype(np.uint8)


PICTURES = {f"{k}.png": data.astronaut()[100 * k : 100 * k + 200, 150:350].copy() for k in range(2)}
SMALL = {name: protocols.find("y-modern").pair(y, scale=4).x for name, y in PICTURES.items()}
MADE = {name: [grainy(x, seed) for seed in SEEDS] for name, x in SMALL.items()}


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights under the names of the published ones: what is tested here holds with any."""
    folder = tmp_path_factory.mktemp("home")
    with torch.random.fork_rng():
        torch.manual_seed(0)
        for name, tensors in {
            "dists": DistsNetwork().state_dict(),
            "lpips-vgg": LpipsNetwork("vgg").state_dict(),
            "inception": Inception().state_dict(),
            "niqe": {
                "mean": torch.ones(36).double(),
                "covariance": torch.eye(36).double(),
                "window": torch.full((7, 7), 1 / 49).double(),
            },
        }.items():
            positive = {key: value.abs() if key.endswith("var") else value for key, value in tensors.items()}
            write(positive, folder / "weights" / f"{name}.safetensors", card={"name": name})
    return folder


@pytest.fixture(scope="module")
def columns(home: Path) -> Any:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MEZZOTINT_HOME", str(home))
        return evaluate(
            PICTURES.items(), [Candidate("grainy", grainy)], seeds=SEEDS, measures=[m.name for m in MEASURES]
        )


@pytest.mark.parametrize("name", PAIRS)
def test_a_column_is_its_function(name: str, columns: Any, home: Path, monkeypatch) -> None:
    monkeypatch.setenv("MEZZOTINT_HOME", str(home))
    function, arguments = PAIRS[name]
    figures = columns["methods"]["grainy"]
    for file, y in PICTURES.items():
        each = [float(function(*arguments(y, made, SMALL[file]))) for made in MADE[file]]
        assert figures["images"][file][name] == pytest.approx(np.mean(each), rel=1e-5)
    mean = np.mean([figures["images"][file][name] for file in PICTURES])
    assert figures["mean"][name] == pytest.approx(mean, rel=1e-9)


@pytest.mark.parametrize("name", SAMPLES)
def test_a_column_of_samples_is_its_function(name: str, columns: Any) -> None:
    function, arguments = SAMPLES[name]
    for file, y in PICTURES.items():
        found = columns["methods"]["grainy"]["images"][file]["samples"][name]
        assert found == pytest.approx(function(*arguments(y, MADE[file])), rel=1e-5)


@pytest.mark.parametrize("name", SETS)
def test_a_column_of_sets_is_its_function(name: str, columns: Any, home: Path, monkeypatch) -> None:
    monkeypatch.setenv("MEZZOTINT_HOME", str(home))
    distance, features = SETS[name]
    true = np.concatenate([features(y) for y in PICTURES.values()])
    each = [distance(true, np.concatenate([features(made[k]) for made in MADE.values()])) for k in range(len(SEEDS))]
    assert columns["methods"]["grainy"]["mean"][name] == pytest.approx(np.mean(each), rel=1e-4)
    if name != "frechet_alex":
        assert getattr(q, name)(list(PICTURES.values()), [made[0] for made in MADE.values()]) == pytest.approx(
            each[0], rel=1e-6
        )


WORKER = """
import pickle, sys
accumulators, tasks = pickle.load(sys.stdin.buffer)
for key, make, arguments in tasks:
    found = arguments if make is None else (make(*arguments),)
    accumulators[key].add(*found)
pickle.dump(accumulators, sys.stdout.buffer)
"""
Task = tuple[Any, Callable[..., Any] | None, tuple[Any, ...]]


def in_another_process(accumulators: Mapping[Any, Any], tasks: list[Task], home: Path) -> dict[Any, Any]:
    done = subprocess.run(
        [sys.executable, "-c", WORKER],
        input=pickle.dumps((accumulators, tasks)),
        capture_output=True,
        env={"MEZZOTINT_HOME": str(home), "OMP_NUM_THREADS": "1"},
        timeout=300,
    )
    assert done.returncode == 0, done.stderr.decode()
    return pickle.loads(done.stdout)


@pytest.mark.slow
def test_processes_fill_accumulators_that_give_the_figures_of_one(home: Path, monkeypatch) -> None:
    """Two processes have a picture each, or a sample each of one picture; what they return is put together here."""
    monkeypatch.setenv("MEZZOTINT_HOME", str(home))
    first = next(iter(PICTURES))
    whole_pairs = {name: Collector(PAIRS[name][0]) for name in PAIRS}
    whole_samples = {name: Collector(SAMPLES[name][0]) for name in SAMPLES}
    parts = []
    for number, (file, y) in enumerate(PICTURES.items()):
        accumulators: dict[Any, Any] = {name: Collector(function) for name, (function, _) in PAIRS.items()}
        accumulators |= {name: Collector(function) for name, (function, _) in SAMPLES.items()}
        accumulators |= {"inception": Features(), "spread": Spread(), "best": BestOfSamples()}
        tasks: list[Task] = []
        for name, (_, arguments) in PAIRS.items():
            tasks.append((name, None, (file, *arguments(y, MADE[file][0], SMALL[file]))))
            whole_pairs[name].add(file, *arguments(y, MADE[file][0], SMALL[file]))
        for name, (_, arguments) in SAMPLES.items():
            tasks.append((name, None, (file, *arguments(y, MADE[file]))))
            whole_samples[name].add(file, *arguments(y, MADE[file]))
        tasks.append(("inception", q.inception_features, (MADE[file][0],)))
        tasks.append(("spread", None, (MADE[first][number] / 255,)))
        tasks.append(("best", q.lpips_map, (PICTURES[first], MADE[first][number])))
        parts.append(in_another_process(accumulators, tasks, home))
    for name, whole in {**whole_pairs, **whole_samples}.items():
        joined = merged([part[name] for part in reversed(parts)])
        assert list(joined.values) != list(whole.values) and joined.mean == pytest.approx(whole.mean, rel=1e-6), name
    true = np.concatenate([q.inception_features(y) for y in PICTURES.values()])
    features = merged([part["inception"] for part in parts]).array()
    made = [made[0] for made in MADE.values()]
    assert frechet_distance_of_features(true, features) == pytest.approx(q.fid(list(PICTURES.values()), made), rel=1e-4)
    assert kernel_distance(true, features) == pytest.approx(q.kid(list(PICTURES.values()), made), rel=1e-4)
    spread = merged([part["spread"] for part in parts])
    assert spread.stability == pytest.approx(q.stability(MADE[first]), rel=1e-9)
    assert spread.diversity == pytest.approx(q.diversity(MADE[first]), rel=1e-9)
    score = merged([part["best"] for part in parts]).score()
    assert score == pytest.approx(q.diversity_score(PICTURES[first], MADE[first]), rel=1e-5)
