"""Formulas of time: float64 inside; floats give floats, tensors of times give tensors."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import torch
from torch import Tensor

Time = TypeVar("Time", float, Tensor)


def formulas(formula: Callable[..., tuple[Tensor, ...]], *times: float | Tensor) -> tuple:
    """Evaluate a formula at floats (giving floats) or at tensors of times (giving float64 tensors).

    Two times are r and t. ValueError for times outside [0, 1] and for r not below t.
    """
    if all(not isinstance(t, Tensor) for t in times):
        for t in times:
            if not 0.0 <= t <= 1.0:
                raise ValueError(f"time {t} lies outside [0, 1], 0 is clean: divide a step's number by the steps")
        if len(times) == 2 and not times[0] < times[1]:
            raise ValueError(f"r = {times[0]} is not below t = {times[1]}: a step goes down; up is bridge.renoise")
        return tuple(value.item() for value in formula(*(float64(t) for t in times)))
    tensors = [float64(t) for t in times]
    _check(tensors)
    return formula(*tensors)


def formula(formula: Callable[..., Tensor], *times: float | Tensor):
    """`formulas` for a formula of one value."""
    return formulas(lambda *tensors: (formula(*tensors),), *times)[0]


def float64(t: float | Tensor) -> Tensor:
    if not isinstance(t, Tensor):
        # Named, because torch's default device may be one that no number can be read back from.
        return torch.tensor(t, dtype=torch.float64, device="cpu")
    # Apple's devices have no float64; coefficients are few, so they are computed on the CPU there.
    return t.to(device="cpu" if t.device.type == "mps" else t.device, dtype=torch.float64)


def shaped(values: tuple, field: Tensor) -> tuple:
    """Scalars ready to meet a field b c h w: floats as they are, tensors (b,) as b 1 1 1 of the field's type."""
    return tuple(
        value.to(dtype=field.dtype, device=field.device).reshape(-1, *([1] * (field.dim() - 1)))
        if isinstance(value, Tensor)
        else value
        for value in values
    )


def floor(variance: Tensor) -> Tensor:
    """A variance that rounding may have pushed below 0."""
    return variance.clamp(min=0.0)


def _check(times: list[Tensor]) -> None:
    # Reading a value back from a graphics card would stall training for a check of the caller's own times.
    if any(t.device.type != "cpu" for t in times):
        return
    for t in times:
        if not bool(((t >= 0.0) & (t <= 1.0)).all()):
            raise ValueError(f"times {t.flatten()[:8].tolist()} lie outside [0, 1], 0 is clean")
    if len(times) == 2 and not bool((times[0] < times[1]).all()):
        raise ValueError("some r is not below its t: a step goes down; up is bridge.renoise")
