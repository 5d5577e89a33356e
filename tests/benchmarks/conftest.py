from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from mezzotint import methods

ROOT = Path(__file__).resolve().parents[2]
# The benchmarks are run from the root of the repository and are no part of the package or of its source archive.
sys.path.insert(0, str(ROOT))
collect_ignore_glob = [] if (ROOT / "benchmarks" / "peers").is_dir() else ["test_*.py"]


@pytest.fixture(scope="session")
def made_up(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Write a small model of that name with made-up weights, and return its folder."""

    def write(name: str) -> Path:
        with torch.random.fork_rng():
            torch.manual_seed(0)
            model = methods.build(name, preset="small")
            for parameter in model.parameters():
                torch.nn.init.normal_(parameter, std=0.05)
        folder = tmp_path_factory.mktemp("weights")
        model.save_pretrained(folder)  # pyright: ignore
        return folder

    return write
