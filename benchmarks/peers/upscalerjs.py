"""UpscalerJS' ESRGANs: the layers of a tfjs model (model.json and its shards inside an npm package) in PyTorch."""

from __future__ import annotations

import json
import tarfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from benchmarks.peers.dat import on_tensors
from torch import Tensor

FOLDER = "package/models/x4/"
SHARE = 0.2
"""What its layer MultiplyBeta multiplies by: the share of a residual."""


def load(settings: Mapping[str, Any], files: Sequence[Path]) -> tuple[Callable[[np.ndarray], np.ndarray], int]:
    """Return the enlargement by 4; `white`: the value of white that the network was trained with, 255 or 1."""
    with tarfile.open(files[0]) as archive:

        def read(name: str) -> bytes:
            member = archive.extractfile(FOLDER + name)
            if member is None:
                raise RuntimeError(f"{files[0].name} holds no {FOLDER}{name}")
            return member.read()

        model = json.loads(read("model.json"))
        arrays = _arrays(model, read)
    layers = model["modelTopology"]["model_config"]["config"]["layers"]
    stored = sum(array.nbytes for array in arrays.values())
    return on_tensors(network(layers, arrays, white=settings["white"])), stored


def depth_to_space(h: Tensor, factor: int) -> Tensor:
    """Return TensorFlow's depth_to_space of (b, c f f, h, w): (b, c, f h, f w).

    Channels are counted row, column, channel within a cell, PyTorch's pixel_shuffle channel, row, column.
    """
    b, c, height, width = h.shape
    cells = h.view(b, factor, factor, c // factor**2, height, width)
    return cells.permute(0, 3, 4, 1, 5, 2).reshape(b, c // factor**2, height * factor, width * factor)


def _arrays(model: Mapping[str, Any], read: Callable[[str], bytes]) -> dict[str, np.ndarray]:
    """Return the float32 arrays of the shards by name."""
    arrays = {}
    for group in model["weightsManifest"]:
        data, place = b"".join(read(path) for path in group["paths"]), 0
        for weight in group["weights"]:
            if weight["dtype"] != "float32":
                raise RuntimeError(f"weight {weight['name']} has {weight['dtype']}: float32 is read")
            count = int(np.prod(weight["shape"]))
            arrays[weight["name"]] = np.frombuffer(data, np.float32, count, place).reshape(weight["shape"])
            place += 4 * count
        if place != len(data):
            raise RuntimeError(f"shards of {len(data)} bytes, the manifest says {place}")
    return arrays


def network(
    layers: Sequence[Mapping[str, Any]], arrays: Mapping[str, np.ndarray], *, white: float
) -> Callable[[Tensor], Tensor]:
    """Return the function of a Keras graph, (b, 3, h, w) in [0, 1] to (b, 3, 4h, 4w)."""
    weights = {
        layer["config"]["name"]: (
            torch.from_numpy(arrays[layer["config"]["name"] + "/kernel"].transpose(3, 2, 0, 1).copy()),
            torch.from_numpy(arrays[layer["config"]["name"] + "/bias"].copy()),
        )
        for layer in layers
        if layer["class_name"] == "Conv2D"
    }
    sources = [[entry[0] for node in layer["inbound_nodes"] for entry in node] for layer in layers]
    last_use = {name: number for number, names in enumerate(sources) for name in names}

    def forward(x: Tensor) -> Tensor:
        values: dict[str, Tensor] = {}
        h = x * white
        for number, (layer, names) in enumerate(zip(layers, sources, strict=True)):
            name = layer["config"]["name"]
            h = _layer(layer, [values[source] for source in names], weights) if names else x * white
            values[name] = h
            for source in names:
                if last_use[source] == number:
                    values.pop(source, None)  # or every layer's result would stay in memory
        return h / white

    return forward


def _layer(layer: Mapping[str, Any], inputs: list[Tensor], weights: Mapping[str, tuple[Tensor, Tensor]]) -> Tensor:
    kind, config = layer["class_name"], layer["config"]
    if kind == "Conv2D":
        kernel, bias = weights[config["name"]]
        h = F.conv2d(inputs[0], kernel, bias, padding=kernel.shape[-1] // 2)
        if config["activation"] not in ("relu", "linear"):
            raise RuntimeError(f"layer {config['name']} has the activation {config['activation']}: none such is known")
        return F.relu(h) if config["activation"] == "relu" else h
    if kind == "Activation" and config["activation"] == "relu":
        return F.relu(inputs[0])
    if kind == "Concatenate":
        return torch.cat(inputs, 1)
    if kind == "Add":
        return sum(inputs[1:], inputs[0])
    if kind == "MultiplyBeta":
        return SHARE * inputs[0]
    if kind.startswith("PixelShuffle"):
        return depth_to_space(inputs[0], 4)
    if kind == "UpSampling2D":
        return F.interpolate(inputs[0], scale_factor=4, mode="nearest")
    raise RuntimeError(f"layer {config['name']} is a {kind}: none such is known")
