"""Pictures in every accepted form, brought to one form for the measures.

Accepted are numpy arrays (h, w), (h, w, 1) or (h, w, 3) of uint8, uint16 or float in [0, 1], and tensors (c,
h, w) or (b, c, h, w) of uint8 or float in [0, 1]. The measures work in float64 on the CPU, on arrays (b, c,
h, w).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from mezzotint.errors import InputError

Picture = np.ndarray | Tensor

# Float pictures may leave [0, 1] by the rounding of one float32 operation, not more.
_TOLERANCE = 1e-6


def _planes(picture: Picture, name: str) -> np.ndarray:
    """Return the values as they are, as an array (b, c, h, w)."""
    if isinstance(picture, Tensor):
        values = picture.detach()
        if values.dtype == torch.bfloat16:
            values = values.to(torch.float32)
        array = values.cpu().numpy()
        if array.ndim == 3:
            array = array[None]
        if array.ndim != 4 or array.shape[1] not in (1, 3):
            raise InputError(
                f"{name} is a tensor of shape {tuple(picture.shape)}: "
                "a picture tensor is (c, h, w) or (b, c, h, w) with 1 or 3 channels"
            )
    elif isinstance(picture, np.ndarray):
        array = picture[..., None] if picture.ndim == 2 else picture
        if array.ndim != 3 or array.shape[2] not in (1, 3):
            raise InputError(
                f"{name} is an array of shape {picture.shape}: a picture array is (h, w), (h, w, 1) or "
                "(h, w, 3); drop the alpha channel, and pass several pictures as a tensor (b, c, h, w)"
            )
        array = array.transpose(2, 0, 1)[None]
    else:
        raise InputError(f"{name} is a {type(picture).__name__}: a picture is a numpy array or a tensor")
    if array.size == 0:
        raise InputError(f"{name} has no pixels: its shape is {tuple(picture.shape)}")
    return array


def to_unit(picture: Picture, *, name: str = "picture", slack: float = _TOLERANCE) -> np.ndarray:
    """Return the picture as float64 (b, c, h, w) in [0, 1], neither rounded nor clipped.

    Float values may lie `slack` outside [0, 1]. Raises InputError for other shapes or types, for values
    outside the range and for values that are not finite.
    """
    array = _planes(picture, name)
    if array.dtype == np.uint8:
        return array / 255.0
    if array.dtype == np.uint16:
        return array / 65535.0
    if array.dtype.kind != "f":
        raise InputError(f"{name} has values of type {array.dtype}: use uint8, uint16 or float in [0, 1]")
    values = array.astype(np.float64)
    low, high = float(values.min()), float(values.max())
    if not (np.isfinite(low) and np.isfinite(high)):
        bad = int(np.count_nonzero(~np.isfinite(values)))
        raise InputError(f"{name} has {bad} values that are not finite: a picture holds numbers from 0 to 1")
    if low < -slack or high > 1 + slack:
        raise InputError(
            f"{name} has float values from {low:.4g} to {high:.4g}: float pictures lie in [0, 1]; "
            "map [-1, 1] with (y + 1) / 2, divide 8-bit levels by 255, clip small overshoots"
        )
    return values


def to_levels(picture: Picture, *, name: str = "picture") -> np.ndarray:
    """Return the picture as 8-bit levels: float64 (b, c, h, w) of whole numbers 0..255, rounded half up.

    Raises InputError as `to_unit` does.
    """
    array = _planes(picture, name)
    if array.dtype == np.uint8:
        return array.astype(np.float64)
    return np.clip(np.floor(to_unit(picture, name=name) * 255.0 + 0.5), 0.0, 255.0)


def check_alike(a: np.ndarray, b: np.ndarray) -> None:
    """Raise InputError unless two arrays (b, c, h, w) hold as many pictures of the same height and width."""
    if a.shape[2:] != b.shape[2:]:
        raise InputError(
            f"the pictures differ in size: {a.shape[3]}x{a.shape[2]} and {b.shape[3]}x{b.shape[2]} pixels; "
            "crop or resize one of them first"
        )
    if a.shape[0] != b.shape[0]:
        raise InputError(f"the batches differ in length: {a.shape[0]} and {b.shape[0]} pictures")


def as_figures(values: Sequence[float], like: Picture) -> float | Tensor:
    """Return one figure a picture as the input asks: a float for an array, a float64 tensor () or (b,) for a
    tensor.
    """
    if isinstance(like, Tensor):
        figures = torch.tensor(list(values), dtype=torch.float64)
        return figures if like.ndim == 4 else figures[0]
    return float(values[0])
