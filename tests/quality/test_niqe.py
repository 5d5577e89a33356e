"""NIQE against a plain reading of its paper with any model, and with the published model against two packages."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.ndimage import correlate
from scipy.special import gamma
from skimage import data

from mezzotint.errors import InputError, UsageError, WeightsError
from mezzotint.operators.resize import resize_matrix
from mezzotint.quality import niqe
from mezzotint.quality.niqe import convert, describe, load_model, save_weights, weights_file


def window() -> np.ndarray:
    weights = np.exp(-((np.arange(7) - 3) ** 2) / (2 * (7 / 6) ** 2))
    weights = np.outer(weights, weights)
    return weights / weights.sum()


def any_model() -> dict[str, torch.Tensor]:
    generator = np.random.default_rng(0)
    root = generator.normal(0, 1, (36, 36))
    mean = generator.normal(1, 0.3, 36)
    arrays = {"mean": mean, "covariance": root @ root.T / 36, "window": window()}
    return {key: torch.from_numpy(value) for key, value in arrays.items()}


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    """A model that is not the published one, under its name, for what holds with any."""
    return save_weights(any_model(), tmp_path_factory.mktemp("weights") / "niqe.safetensors")


def statistics_by_the_paper(block: np.ndarray) -> list[float]:
    """The 18 statistics of one block, with gamma functions of scipy and a loop over its neighbours."""

    def fit(values: np.ndarray) -> tuple[float, float, float]:
        left, right = (np.sqrt((values[side] ** 2).mean()) for side in (values < 0, values > 0))
        ratio = left / right
        moment = np.abs(values).mean() ** 2 / (values**2).mean()
        moment *= (ratio**3 + 1) * (ratio + 1) / (ratio**2 + 1) ** 2
        shapes = np.arange(0.2, 10.0005, 0.001)
        moments = gamma(2 / shapes) ** 2 / (gamma(1 / shapes) * gamma(3 / shapes))
        shape = shapes[np.argmin((moments - moment) ** 2)]
        scale = np.sqrt(gamma(1 / shape) / gamma(3 / shape))
        return shape, left * scale, right * scale

    shape, left, right = fit(block)
    found = [shape, (left + right) / 2]
    for down, across in ((0, 1), (1, 0), (1, 1), (1, -1)):
        rows = (np.arange(len(block)) - down) % len(block)
        columns = (np.arange(len(block)) - across) % len(block)
        shape, left, right = fit(block * block[np.ix_(rows, columns)])
        found += [shape, (right - left) * gamma(2 / shape) / gamma(1 / shape), left, right]
    return found


def test_statistics_follow_the_paper():
    luma = np.round(16 + data.camera()[100:300, 150:360] * (219 / 255))
    found = describe(luma, window())
    half = resize_matrix(192, 96, ratio=0.5).numpy()
    planes = {96: luma[:192, :192], 48: half @ luma[:192, :192] @ half.T}
    expected = []
    for column in range(2):
        for row in range(2):
            block = []
            for side, plane in planes.items():
                mean = correlate(plane, window(), mode="nearest")
                deviation = np.sqrt(np.abs(correlate(plane**2, window(), mode="nearest") - mean**2))
                normal = np.where(np.abs(plane - mean) < 1e-9, 0, plane - mean) / (deviation + 1)
                part = normal[row * side : (row + 1) * side, column * side : (column + 1) * side]
                block += statistics_by_the_paper(part)
            expected.append(block)
    assert found.shape == (4, 36)
    assert np.abs(found - np.array(expected)).max() < 1e-9


def test_the_distance_is_that_of_equation_11(model):
    picture = data.camera()[:192, 100:390]
    features = describe(np.round(16 + picture * (219 / 255)), window())
    weights = {key: value.numpy() for key, value in any_model().items()}
    difference = features.mean(axis=0) - weights["mean"]
    inverse = np.linalg.pinv((weights["covariance"] + np.cov(features.T)) / 2)
    assert niqe(picture, path=model) == pytest.approx(np.sqrt(difference @ inverse @ difference), rel=1e-9)


def test_what_is_left_over_and_cut_off_is_not_measured(model):
    picture = data.camera()[:210, :200].copy()
    value = niqe(picture[:192, :192], path=model)
    assert niqe(picture, path=model) == value
    assert niqe(np.pad(picture[:192, :192], 4, mode="edge"), crop=4, path=model) == value
    assert niqe(np.stack([picture] * 3, axis=2), path=model) == value
    tensors = torch.from_numpy(np.stack([picture, picture]))[:, None]
    assert torch.equal(niqe(tensors, path=model), torch.tensor([value] * 2, dtype=torch.float64))


def test_flat_parts_are_exactly_flat(model):
    """Black bars leave the local mean equal to the picture but for rounding, which must not count on either side."""
    picture = data.camera()[:192, :192].copy()
    picture[:40] = 77
    features = describe(picture.astype(np.float64), window())
    nudged = describe(picture.astype(np.float64), window() * (1 + 1e-14))
    assert np.abs(features - nudged).max() < 1e-6


def test_photographs_are_better_than_noise_and_blur(published_weights):
    published_weights("niqe")
    photo = data.chelsea()
    noisy = np.clip(photo + np.random.default_rng(0).normal(0, 40, photo.shape), 0, 255).astype(np.uint8)
    blurred = photo[::4, ::4].repeat(4, axis=0).repeat(4, axis=1)
    value = niqe(photo)
    assert 2 < value < 6 and niqe(noisy) > value + 2 and niqe(blurred) > value + 2


def test_basicsr_agrees(published_weights):
    # calculate_niqe(crop_border=0) of basicsr 1.4.2, which computes in float32: more apart where a picture is flat
    published_weights("niqe")
    assert niqe(data.coffee()) == pytest.approx(4.115242, abs=2e-5)
    assert niqe(data.chelsea()) == pytest.approx(2.625524, abs=2e-5)
    assert niqe(data.astronaut()) == pytest.approx(3.064948, abs=1e-3)


def test_matlab_agrees_on_the_baboon(published_weights, shared_data):
    # MATLAB R2021a, as basicsr's niqe.py states
    published_weights("niqe")
    baboon = np.asarray(Image.open(shared_data / "bench" / "Set14" / "baboon.png"))
    assert niqe(baboon) == pytest.approx(5.72957338, abs=2e-6)


def test_small_and_flat_pictures_are_refused(model):
    assert np.isfinite(niqe(data.camera()[:96, :192], path=model))
    with pytest.raises(InputError, match="191x96 pixels are left to measure, NIQE needs two blocks"):
        niqe(data.camera()[:96, :191], path=model)
    with pytest.raises(InputError, match="184x88 pixels are left"):
        niqe(data.camera()[:96, :192], crop=4, path=model)
    with pytest.raises(InputError, match="0 of the picture's blocks has texture"):
        niqe(np.full((192, 192), 90, np.uint8), path=model)
    with pytest.raises(UsageError, match="crop -1"):
        niqe(data.camera(), crop=-1, path=model)


def test_without_the_model_it_says_how_to_get_it(tmp_path, monkeypatch):
    monkeypatch.setenv("MEZZOTINT_HOME", str(tmp_path))
    with pytest.raises(WeightsError, match="mezzotint weights add .* --from niqe"):
        niqe(data.camera())


def test_the_model_is_kept_bit_by_bit(tmp_path, monkeypatch):
    monkeypatch.setenv("MEZZOTINT_HOME", str(tmp_path))
    path = save_weights(any_model(), tmp_path / "weights" / "niqe.safetensors")
    assert weights_file() == path
    assert np.array_equal(load_model().covariance, any_model()["covariance"].numpy())
    save_weights({"mean": any_model()["mean"]}, tmp_path / "half.safetensors")
    with pytest.raises(WeightsError, match="do not fit niqe"):
        load_model(path=tmp_path / "half.safetensors")
    save_weights(any_model() | {"mean": torch.zeros(35)}, tmp_path / "short.safetensors")
    with pytest.raises(WeightsError, match="mean, covariance and window"):
        load_model(path=tmp_path / "short.safetensors")


def test_sources_that_are_not_the_published_ones_are_refused(tmp_path):
    archive = tmp_path / "basicsr-1.4.2.tar.gz"
    with pytest.raises(WeightsError, match="cannot be read"):
        convert([archive])
    content = io.BytesIO()
    np.savez(content, mu_pris_param=np.zeros(36))
    (tmp_path / "niqe_pris_params.npz").write_bytes(content.getvalue())
    with tarfile.open(archive, "w:gz") as file:
        file.add(tmp_path / "niqe_pris_params.npz", "basicsr-1.4.2/basicsr/metrics/niqe_pris_params.npz")
    for source in (archive, tmp_path, tmp_path / "niqe_pris_params.npz"):
        with pytest.raises(WeightsError, match="SHA-256"):
            convert([source])
