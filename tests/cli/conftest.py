from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch

import mezzotint
from mezzotint import images
from mezzotint.cli import main


@dataclass(frozen=True)
class Outcome:
    """What a command left: exit status, stdout, and the lines of stderr."""

    status: int
    out: str
    lines: tuple[str, ...]

    @property
    def line(self) -> str:
        """The only line of stderr."""
        (line,) = self.lines
        return line


@pytest.fixture
def command(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Callable[..., Outcome]:
    """Run the command line in this process."""
    monkeypatch.delenv("MEZZOTINT_DEBUG", raising=False)

    def run(*words: object) -> Outcome:
        capfd.readouterr()
        status = main([str(word) for word in words])
        out, err = capfd.readouterr()
        return Outcome(status, out, tuple(err.splitlines()))

    return run


def _save(path: Path, *, height: int = 12, width: int = 16, seed: int = 0, channels: int = 3) -> Path:
    """Write a picture of smooth noise, another for each seed."""
    generator = np.random.default_rng(seed)
    coarse = generator.integers(0, 256, (height // 4 + 2, width // 4 + 2, channels))
    pixels = coarse.repeat(4, axis=0).repeat(4, axis=1)[:height, :width].astype(np.uint8)
    images.write(images.Picture(np.ascontiguousarray(pixels)), path)
    return path


@pytest.fixture
def save() -> Callable[..., Path]:
    return _save


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    return _save(tmp_path / "photo.png")


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with weights of an untrained mezzotint-x4: small, and different for different seeds."""
    folder = tmp_path_factory.mktemp("model")
    with torch.random.fork_rng():
        torch.manual_seed(0)
        sizes = {"channels": 16, "blocks": 2, "refiner_channels": 16, "refiner_blocks": 1}
        method = mezzotint.build("mezzotint-x4", scale=4, config=sizes)
        for parameter in method.parameters():
            torch.nn.init.normal_(parameter, std=0.05)
    card = method.describe().model_copy(update={"steps_default": 2, "realism_default": 0.5, "local": True})
    method.save_pretrained(folder, card=card)
    return folder
