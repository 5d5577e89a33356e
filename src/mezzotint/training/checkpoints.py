"""The resume state of a run: weights, their average, Adam's moments and the step, in one safetensors file."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from mezzotint.errors import WeightsError
from mezzotint.training.run_file import Run

_KEY = "mezzotint-run"
COMPACT_BYTES = 10_000_000
"""What a compact resume state may take, as it is kept under version control."""


def write_state(
    path: Path, tensors: dict[str, Tensor], *, run: Run, step: int, seconds: float, compact: bool = False
) -> None:
    """Write a resume state atomically.

    `compact` stores Adam's moments as bfloat16: a small file that goes on training, but not to the same numbers. Where
    that is still above COMPACT_BYTES, only the average, in half precision, and the second moments are kept: the run
    then goes on from its average.
    """
    ready = {}
    for name, tensor in tensors.items():
        tensor = tensor.detach().cpu().contiguous()
        ready[name] = tensor.to(torch.bfloat16) if compact and name.startswith("moment") else tensor.clone()
    if compact and sum(tensor.numel() * tensor.element_size() for tensor in ready.values()) > COMPACT_BYTES:
        ready = {
            name: tensor.half() if name.startswith("average/") else tensor
            for name, tensor in ready.items()
            if not name.startswith(("weight/", "moment1/"))
        }
    meta = {"step": step, "seconds": seconds, "run": run.model_dump(mode="json")}
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        save_file(ready, partial, metadata={_KEY: json.dumps(meta)})
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def read_state(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read a resume state; raises WeightsError when the file is missing, damaged or something else."""
    try:
        with safe_open(path, framework="pt") as file:
            meta = (file.metadata() or {}).get(_KEY)
            if meta is None:
                raise WeightsError(f"{path} is no resume state of a training run: name the run's own output folder")
            return {name: file.get_tensor(name) for name in file.keys()}, json.loads(meta)  # noqa: SIM118
    except FileNotFoundError:
        raise WeightsError(f"there is no resume state {path}: train without --resume first") from None
    except (SafetensorError, OSError) as error:
        raise WeightsError(f"resume state {path} is damaged ({error}): train again without --resume") from None
