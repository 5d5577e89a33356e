"""The network of FID against pytorch-fid's, with made-up weights: the published ones are in no package.

The figures of the first test are those of pytorch-fid 0.3.0 on torchvision 0.28 with `made_up`, fed by the resizing of
clean-fid 0.1.35: a picture of 256x256 pixels, enlarged.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from skimage import data

from mezzotint.errors import InputError, WeightsError
from mezzotint.quality import fid, frechet_distance_of_features, inception_features, kernel_distance, kid
from mezzotint.quality.inception import Inception, _converted, convert, load_network, resized, save_weights
from mezzotint.quality.published import read


def made_up() -> dict[str, torch.Tensor]:
    """Weights that keep the size of activations, drawn by NumPy in the order of names."""
    generator = np.random.Generator(np.random.PCG64(0))
    with torch.device("meta"):
        shapes = {key: tuple(value.shape) for key, value in Inception().state_dict().items()}
    weights: dict[str, torch.Tensor] = {}
    for key in sorted(shapes):
        shape = shapes[key]
        if key.endswith("conv.weight"):
            values = generator.standard_normal(shape, dtype=np.float32) * np.sqrt(2 / np.prod(shape[1:]))
            weights[key] = torch.from_numpy(values.astype(np.float32))
        elif key.endswith(("bn.weight", "running_var")):
            weights[key] = torch.ones(shape)
        elif not key.endswith("tracked"):
            weights[key] = torch.zeros(shape)
    return weights


@pytest.fixture(scope="module")
def any_weights(tmp_path_factory) -> Path:
    return save_weights(made_up(), tmp_path_factory.mktemp("weights") / "inception.safetensors")


@pytest.fixture(scope="module")
def sets(any_weights) -> tuple[list[np.ndarray], list[np.ndarray]]:
    pictures = [data.astronaut()[k : k + 64, 2 * k : 2 * k + 80] for k in (0, 60)]
    return pictures, [255 - picture for picture in pictures]


def test_features_are_those_of_pytorch_fid(any_weights, face):
    features = inception_features(face[0], path=any_weights)
    assert features.shape == (1, 2048) and features.dtype == np.float32
    expected = [0.00016652, 0.85582304, 0.99955273, 0.03888186, 0.07241119]
    assert features[0, [0, 400, 1000, 1500, 2047]] == pytest.approx(expected, abs=2e-5)
    assert features.mean() == pytest.approx(0.4157452, abs=1e-5)


def test_the_network_has_the_published_size():
    with torch.device("meta"):
        network = Inception()
    # torchvision's Inception v3 has 23,834,568 without its auxiliary classifier, 2,049,000 of them in its classifier
    assert sum(parameter.numel() for parameter in network.parameters()) == 23_834_568 - 2049 * 1000


@pytest.mark.parametrize("shape", [(512, 512, 3), (40, 350, 3), (299, 299, 3), (300, 200)])
def test_resizing_is_pillows_in_float(shape):
    picture = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    rgb = np.broadcast_to(picture.reshape(*shape[:2], -1), (*shape[:2], 3))
    planes = [
        np.asarray(Image.fromarray(rgb[..., k].astype(np.float32)).resize((299, 299), Image.Resampling.BICUBIC))
        for k in range(3)
    ]
    expected = (np.stack(planes).clip(0, 255) - 128) / 128
    assert np.abs(resized(picture)[0].numpy() - expected).max() < 1e-5


def test_distances_are_those_of_the_features(any_weights, sets):
    first, second = (np.concatenate([inception_features(one, path=any_weights) for one in group]) for group in sets)
    assert fid(*sets, path=any_weights) == pytest.approx(frechet_distance_of_features(first, second), rel=1e-9)
    assert kid(*sets, path=any_weights) == pytest.approx(kernel_distance(first, second), rel=1e-9)


def test_sets_that_are_too_small_are_refused(any_weights, sets):
    with pytest.raises(InputError, match="at least two"):
        fid(sets[0], [], path=any_weights)
    with pytest.raises(InputError, match="at least two"):
        kid(sets[0][:1], sets[1], path=any_weights)


def test_without_weights_it_says_how_to_get_them(tmp_path, monkeypatch):
    monkeypatch.setenv("MEZZOTINT_HOME", str(tmp_path))
    with pytest.raises(WeightsError, match="FID and KID .*mezzotint weights add .* --from pytorch-fid"):
        inception_features(np.zeros((8, 8, 3), np.uint8))


def test_a_file_of_the_port_is_converted_without_its_classifier(tmp_path, any_weights):
    weights = read(any_weights, name="inception")
    port = {**weights, "fc.weight": torch.zeros(1008, 2048), "fc.bias": torch.zeros(1008)}
    torch.save(port, tmp_path / "port.pth")
    converted = _converted(tmp_path / "port.pth")
    assert converted.keys() == weights.keys()
    assert all(torch.equal(converted[key], weights[key]) for key in weights)
    assert not load_network(path=any_weights).training


def test_other_files_are_refused(tmp_path):
    other = tmp_path / "pt_inception-2015-12-05-6726825d.pth"
    with pytest.raises(WeightsError, match="is not one file"):
        convert([other])
    torch.save({"fc.bias": torch.zeros(3)}, other)
    with pytest.raises(WeightsError, match="SHA-256 .* must begin with 6726825d"):
        convert([other])
    with pytest.raises(WeightsError, match="do not fit the Inception network"):
        _converted(other)
    torch.save(Inception, other)  # a pickle that is no table of tensors
    with pytest.raises(WeightsError, match="cannot be read as tensors"):
        _converted(other)
