from __future__ import annotations

from pathlib import Path

import pytest
import torch

from mezzotint import weights
from mezzotint.baselines import regression
from mezzotint.errors import UsageError, WeightsError
from mezzotint.methods import build, mezzotint_x4


@pytest.fixture
def saved(tmp_path: Path) -> tuple[Path, mezzotint_x4.PredictRefine]:
    torch.manual_seed(0)
    method = mezzotint_x4.build(preset="small").eval()
    return method.save_pretrained(tmp_path), method


def test_it_is_the_mean_of_the_model(saved: tuple[Path, mezzotint_x4.PredictRefine]) -> None:
    file, method = saved
    x = torch.rand(2, 3, 6, 9)
    assert torch.allclose(regression.load(file)(x, scale=4), method.mean(x * 2 - 1) * 0.5 + 0.5, atol=1e-5)


@pytest.mark.parametrize("kind", ["span", "edsr"])
def test_a_network_alone_is_read_without_its_prefix(kind: str, tmp_path: Path) -> None:
    torch.manual_seed(1)
    method = mezzotint_x4.build(preset="small", config={"predictor": kind, "collapsed": False}).eval()
    config = {"predictor": kind, "channels": 16, "blocks": 2, "collapsed": False}
    card = method.describe().model_copy(update={"name": "span", "method": "span", "config": config})
    weights.save(tmp_path / "alone.safetensors", method.predictor.state_dict(), card, precision="float32")
    x = torch.rand(1, 3, 6, 9)
    found = regression.load(tmp_path / "alone.safetensors")
    assert found.name == kind and found.reach == method.predictor.reach
    assert torch.equal(found(x), method.predictor(x * 2 - 1)[0] * 0.5 + 0.5)


def test_grey_stays_grey(saved: tuple[Path, mezzotint_x4.PredictRefine]) -> None:
    x = torch.rand(1, 1, 5, 5)
    predictor = regression.load(saved[0])
    assert torch.allclose(predictor(x), predictor(x.expand(-1, 3, -1, -1)).mean(1, keepdim=True), atol=1e-6)


def test_other_scales_and_other_weights_are_refused(
    saved: tuple[Path, mezzotint_x4.PredictRefine], tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match="4 times larger"):
        regression.load(saved[0])(torch.rand(1, 3, 4, 4), scale=3)
    other = tmp_path / "sr3"
    build("sr3", scale=4, preset="small").save_pretrained(other)
    with pytest.raises(WeightsError):
        regression.load(other)
