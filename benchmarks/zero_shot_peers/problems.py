"""The three restorations that are compared, as operators of ours, and as what a library of convolutions needs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import torch
from torch import Tensor

from mezzotint.noise import Noise
from mezzotint.operators.diagonal import Identity, Mask
from mezzotint.operators.linear import LinearOperator
from mezzotint.operators.separable import Separable, resize

SCALE = 4
KNOWN = 0.5
"""The share of the pixels that inpainting knows."""


@dataclass(frozen=True)
class Task:
    """A restoration: its name, and the deviation of the noise for pictures in [0, 1]."""

    name: str
    sigma: float

    def operator(self, height: int, width: int) -> LinearOperator:
        """The operator on pictures of this size, the same for every call."""
        if self.name == "super-resolution":
            return resize(height=height, width=width, scale=SCALE, border="circular")
        if self.name == "inpainting":
            field = Noise(0).normal("mask", 0, (1, 1, height, width))[0, 0]
            return Mask((torch.special.ndtr(field) < KNOWN).double())
        return Identity(height=height, width=width)

    def measure(self, u: Tensor, *, seed: int) -> Tensor:
        """The measurement A (u) + noise of pictures b c H W in [0, 1]; no noise where nothing is known."""
        operator = self.operator(int(u.shape[-2]), int(u.shape[-1]))
        x = operator.A(u)
        noisy = x + self.sigma * Noise(seed).normal("measurement", 0, tuple(x.shape), dtype=x.dtype)
        return operator.A(operator.pinv(noisy)) if isinstance(operator, Mask) else noisy


TASKS: Mapping[str, Task] = MappingProxyType(
    {task.name: task for task in (Task("super-resolution", 0.05), Task("inpainting", 0.05), Task("denoising", 0.1))}
)


def filter_of(operator: Separable) -> Tensor:
    """The filter (1, 1, k, k) whose circular convolution, kept at the first pixel of every cell, is the operator.

    float64, of odd size, with its centre in the middle: (y * h)(p) = sum_q h(q) y(p - q). The operator is one on a
    torus. The filter of deepinv's `bicubic_filter` is the same, half a pixel from the first pixel of the cell in place
    of the middle of it.
    """
    lines = []
    for axis in (operator.rows, operator.columns):
        weights, positions = axis.taps()
        middle, scale = axis.n_out // 2, axis.n_in // axis.n_out
        offsets = (positions[middle] - scale * middle).tolist()
        reach = max(map(abs, offsets))
        line = torch.zeros(2 * reach + 1, dtype=torch.float64)
        for weight, offset in zip(weights[middle].tolist(), offsets, strict=True):
            # Weight w belongs to y(p + offset): convolution has it at -offset.
            line[reach - offset] += weight
        lines.append(line)
    return torch.outer(*lines)[None, None]
