"""training/ship.py puts weights of either name of ours into the package, with a complete card."""

from __future__ import annotations

import importlib.util
import re
import sys
from pathlib import Path
from types import ModuleType

import pytest
import torch
from PIL import Image
from skimage import data

import mezzotint
from mezzotint import methods, weights
from mezzotint.data import pictures

FILE = Path(__file__).resolve().parents[2] / "training" / "ship.py"


@pytest.fixture
def ship(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location("ship", FILE)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr(module, "commit", lambda: "0000000")
    (tmp_path / "shipped").mkdir()
    monkeypatch.setattr(weights, "SHIPPED_FOLDER", tmp_path / "shipped")
    return module


@pytest.mark.parametrize(
    "name, consistent, made", [("mezzotint-x4", True, ""), ("mezzotint-x4-real", False, ", made small by real-esrgan")]
)
def test_weights_are_shipped_under_the_name_of_their_method(
    ship: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str, consistent: bool, made: str
) -> None:
    trained = methods.build(name, preset="small")
    card = trained.describe().model_copy(update={"data": f"3 pictures, 0.1 megapixels{made}"})
    trained.save_pretrained(tmp_path / "run", card=card)
    words = ["--hours", "2", "--iterations", "30", "--realism", "0.4", "--spread-factor", "1.4"]
    words += ["--figure", "Set5 y-modern psnr=30.5"]
    monkeypatch.setattr(sys, "argv", ["ship.py", str(tmp_path / "run"), *words])
    ship.main()
    (entry,) = weights.shipped()
    assert entry.path.name == f"{name}.safetensors" and entry.card is not None
    found = entry.card
    assert (found.name, found.method, found.preset) == (name, name, "shipped")
    assert (found.consistent_default, found.realism_default, found.steps_default) == (consistent, 0.4, 4)
    assert found.spread_factor == 1.4
    assert found.data.endswith(f"training/pictures.csv{made}")
    assert "not stated" not in (found.licence, found.data_licence)
    assert (found.hours, found.iterations, found.commit) == (2, 30, "0000000")
    upscaler = mezzotint.load(name)
    assert (upscaler.name, upscaler.consistent, upscaler.realism) == (name, consistent, 0.4)
    # Half precision, but for the deviations.
    back = methods.load(name).state_dict()
    for key, tensor in trained.fused().state_dict().items():
        assert torch.equal(back[key], tensor if key == "deviations" else tensor.half().float())


def test_another_run_is_mixed_in_by_its_share(
    ship: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    runs = []
    for seed in (0, 1):
        torch.manual_seed(seed)
        runs.append(methods.build("mezzotint-x4", preset="small", config={"collapsed": False}))
        runs[-1].save_pretrained(tmp_path / str(seed))
    words = ["--realism", "0.4", "--hours", "1", "--iterations", "1", "--average"]
    monkeypatch.setattr(sys, "argv", ["ship.py", str(tmp_path / "0"), *words, f"{tmp_path / '1'}=0.25"])
    ship.main()
    back, first, second = (made.state_dict() for made in (methods.load("mezzotint-x4"), *runs))
    for key, tensor in back.items():
        assert torch.allclose(tensor, 0.75 * first[key] + 0.25 * second[key], rtol=1e-3, atol=1e-4), key
    with pytest.raises(SystemExit, match="share of 1.5 lies outside"):
        ship.mix(runs[0], runs[1], 1.5)


def test_what_would_be_shipped_is_measured_and_not_written(
    ship: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    trained = methods.build("mezzotint-x4", preset="small")
    trained.save_pretrained(tmp_path / "run")
    folder = tmp_path / "pictures"
    folder.mkdir()
    Image.fromarray(data.astronaut()[:256, :200]).save(folder / "a.png")
    Image.fromarray(data.camera()[:128, :128]).save(folder / "b.png")
    found: list[list[float]] = []
    for words in ([], ["--preset", "real-esrgan"]):
        monkeypatch.setattr(sys, "argv", ["ship.py", str(tmp_path / "run"), "--try", str(folder), *words])
        ship.main()
        said = capsys.readouterr().out
        first, *lines, last = said.splitlines()
        assert first == "2 pictures"
        rows = [re.fullmatch(r"realism (\S+): PSNR (\S+) dB, LPIPS-AlexNet (\S+), \S+ below", line) for line in lines]
        assert [row and float(row[1]) for row in rows] == list(ship.REALISMS), said
        decibels = [float(row[2]) for row in rows if row is not None]
        # The further from the mean, the further from the truth, of a network that has learned nothing.
        assert 40 > decibels[0] > decibels[1] > decibels[-1] > 5
        calibration, factor = map(float, re.findall(r"\d+\.\d+", last))
        assert factor == pytest.approx(calibration**-0.5, abs=0.01)
        found.append(decibels)
    assert found[1][0] < found[0][0] - 1
    assert not weights.shipped()


def test_the_gains_of_samples_are_shipped(
    ship: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    methods.build("mezzotint-x4", preset="small").save_pretrained(tmp_path / "run")
    words = ["--realism", "0.4", "--fine-gain", "1.5", "--gain", "1.25"]
    monkeypatch.setattr(sys, "argv", ["ship.py", str(tmp_path / "run"), *words])
    ship.main()
    card = weights.shipped()[0].card
    for config in (card and card.config, methods.load("mezzotint-x4").describe().config):
        assert config is not None and (config["fine_gain"], config["gain"]) == (1.5, 1.25)


def test_weights_of_two_lists_name_both_and_count_every_picture_once(
    ship: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    methods.build("mezzotint-x4", preset="small", config={"steps": 2}).save_pretrained(tmp_path / "run")
    words = ["--realism", "0.4", "--pictures", "training,training-large", "--figure", "Set5 y-modern psnr=30.5"]
    monkeypatch.setattr(sys, "argv", ["ship.py", str(tmp_path / "run"), *words])
    ship.main()
    card = weights.shipped()[0].card
    assert card is not None and card.steps_default == 2
    small, large = (pictures.read_pictures(pictures.list_files(name)[0]) for name in pictures.LISTS)
    assert f"{len(small)} openly" in card.data and f"; then {len(large)} openly" in card.data
    counted = sum(int(part.split()[0]) for part in card.data_licence.split(", "))
    assert counted == len({(row.source, row.source_file) for row in (*small, *large)}) < len(small) + len(large)
