from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch

REPOSITORY = Path(__file__).resolve().parents[1]

# Tests are small: a second thread waits more than it works, and starves on a busy machine.
torch.set_num_threads(int(os.environ.get("MEZZOTINT_TEST_THREADS", "1")))


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of benchmark pictures beside the checkout; skips where it does not exist."""
    folder = Path(os.environ.get("MEZZOTINT_DATA", REPOSITORY.parent / "shared" / "data"))
    if not (folder / "bench").is_dir():
        pytest.skip(f"no benchmark pictures in {folder}; set MEZZOTINT_DATA to a folder that has bench/")
    return folder
