"""What a network is trained towards: which times, which target, which norm."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor

from mezzotint.bridges import Bridge
from mezzotint.errors import UsageError
from mezzotint.prediction import Kind

Norm = Literal["l1", "l2"]
Times = Literal["uniform", "uniform-power"]


@dataclass(frozen=True)
class Objective:
    """Distribution of the training times, target of the network and norm of its error.

    kind: what the network predicts (`mezzotint.prediction`).
    norm: `l1`, the mean absolute error over all values, or `l2`, the mean squared one.
    times: `uniform` in time; `uniform-power`: uniform among the nodes of the bridge's table, then uniform in the
    signal power gamma between two neighbours (SR3, arXiv 2104.07636, section 2.4). On a table whose sqrt(gamma) is
    linear between nodes the first is the rule of WaveGrad and of SR3's PyTorch reimplementation.
    Raises UsageError for other values.
    """

    kind: Kind = "eps"
    norm: Norm = "l1"
    times: Times = "uniform"

    def __post_init__(self) -> None:
        for name, value, allowed in (("norm", self.norm, Norm), ("times", self.times, Times)):
            if value not in get_args(allowed):
                raise UsageError(f"{name} {value!r} is unknown: use one of {', '.join(get_args(allowed))}")

    def draw_times(self, u: Tensor, *, bridge: Bridge) -> Tensor:
        """Turn uniform numbers in (0, 1), float64 (b,), into times."""
        if self.times == "uniform":
            return u
        if bridge.nodes is None:
            raise UsageError(f"times {self.times!r} need a schedule with a table: use times 'uniform'")
        node = (u * bridge.nodes).floor().clamp(max=bridge.nodes - 1)
        weight = u * bridge.nodes - node
        upper = bridge.coefficients(node / bridge.nodes)[0]
        lower = bridge.coefficients((node + 1) / bridge.nodes)[0]
        # gamma = a^2 is uniform; the time is where a, linear between two nodes, has that square.
        amplitude = (upper**2 + weight * (lower**2 - upper**2)).sqrt()
        return (node + (upper - amplitude) / (upper - lower)).clamp(max=bridge.nodes) / bridge.nodes

    def compare(self, prediction: Tensor, target: Tensor, *, norm: Norm | None = None) -> Tensor:
        """The loss, a scalar, of a prediction and its target of one shape; `norm` overrides that of the objective."""
        error = prediction - target
        if (norm or self.norm) == "l1":
            return error.abs().mean()
        if (norm or self.norm) == "l2":
            return torch.square(error).mean()
        raise UsageError(f"norm {norm!r} is unknown: use one of {', '.join(get_args(Norm))}")
