from __future__ import annotations

from pathlib import Path

import pytest
import torch

from mezzotint import methods, weights
from mezzotint.errors import UsageError, WeightsError


@pytest.fixture
def package(tmp_path, monkeypatch) -> Path:
    """An empty folder in place of the weights of the package."""
    monkeypatch.setattr(weights, "SHIPPED_FOLDER", tmp_path)
    return tmp_path


def test_a_shipped_method_is_found_by_name(package):
    sent = methods.build("mezzotint-x4", preset="small").fused()
    sent.save_pretrained(package / "made")
    (package / "made" / weights.FILE_NAME).rename(package / "mezzotint-x4.safetensors")
    (entry,) = weights.shipped()
    assert entry.card is not None and entry.card.method == "mezzotint-x4"
    back, card = methods.load_with_card("mezzotint-x4")
    assert card == entry.card
    assert not back.training
    assert all(torch.equal(tensor, back.state_dict()[name]) for name, tensor in sent.state_dict().items())


def test_missing_weights_of_the_package_are_said_to_be_missing(package):
    with pytest.raises(WeightsError, match="missing from the package"):
        methods.load("mezzotint-x4")


def test_both_names_of_ours_are_found_each_with_its_own_weights(package):
    for name in ("mezzotint-x4", "mezzotint-x4-real"):
        file = methods.build(name, preset="small").save_pretrained(package / "made")
        file.rename(package / f"{name}.safetensors")
    assert [entry.name for entry in weights.shipped()] == ["mezzotint-x4-real", "mezzotint-x4"]
    for name in ("mezzotint-x4", "mezzotint-x4-real"):
        method, card = methods.load_with_card(name)
        assert (method.name, card.method) == (name, name)
    (package / "mezzotint-x4-real.safetensors").unlink()
    with pytest.raises(WeightsError, match="mezzotint-x4-real are missing from the package: .* mezzotint-x4-real:FOLD"):
        methods.load("mezzotint-x4-real")


def test_weights_of_another_method_are_refused(package):
    file = methods.build("sr3").save_pretrained(package / "sr3")
    with pytest.raises(WeightsError, match="weights of 'sr3', not of 'mezzotint-x4': use --method sr3:"):
        methods.load(f"mezzotint-x4:{file}")


def test_baselines_have_no_card():
    assert callable(methods.load("bicubic"))
    with pytest.raises(UsageError, match="baseline"):
        methods.load_with_card("bicubic")
    with pytest.raises(UsageError, match="no presets"):
        methods.build("bicubic", preset="small")
    with pytest.raises(UsageError, match="takes no weights"):
        methods.load("bicubic:file.safetensors")


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(WeightsError, match="no such file"):
        methods.load(tmp_path / "none.safetensors")
    with pytest.raises(WeightsError, match="no such file"):
        methods.load(f"sr3:{tmp_path / 'none.safetensors'}")


def test_a_hub_id_is_fetched(tmp_path, monkeypatch):
    file = methods.build("sr3").save_pretrained(tmp_path)
    asked = []
    monkeypatch.setattr(weights, "hub", lambda identifier: asked.append(identifier) or file)
    monkeypatch.chdir(tmp_path)
    assert methods.load_with_card("anna/portraits-x4")[1].method == "sr3"
    assert asked == ["anna/portraits-x4"]


def test_a_misspelt_path_is_not_only_a_hub_id(tmp_path, monkeypatch):
    def refuse(identifier: str) -> Path:
        raise WeightsError(f"hub id {identifier!r}: not there")

    monkeypatch.setattr(weights, "hub", refuse)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(WeightsError, match="no file or folder runs/sr3, and hub id 'runs/sr3'"):
        methods.load("runs/sr3")
