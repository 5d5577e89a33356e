"""Colour shift: by how much the mean colour of a picture is off, which PSNR hides and an eye sees at once."""

from __future__ import annotations

from typing import overload

import numpy as np
from torch import Tensor

from mezzotint.quality.levels import Picture, as_figures, check_alike, to_levels


@overload
def colour_shift(a: np.ndarray, b: np.ndarray) -> float: ...
@overload
def colour_shift(a: Tensor, b: Tensor) -> Tensor: ...
def colour_shift(a: Picture, b: Picture) -> float | Tensor:
    """Return the root mean square, over red, green and blue, of `colour_difference`, in 8-bit levels.

    a, b: reference and candidate as `psnr` takes them, whole pictures; grey is taken as RGB. Returns a float for arrays
    and a float64 tensor () or (b,) for tensors. Raises InputError for pictures of different sizes or outside their
    range.
    """
    difference = _differences(a, b)
    return as_figures([float(np.sqrt(np.mean(np.square(one)))) for one in difference], a)


def colour_difference(a: Picture, b: Picture) -> np.ndarray:
    """Return mean of the candidate b less mean of the reference a, in 8-bit levels: red, green, blue, (b, 3) float64.

    An array or a tensor (c, h, w) is a batch of one. Errors are those of `colour_shift`.
    """
    return _differences(a, b)


def _differences(a: Picture, b: Picture) -> np.ndarray:
    first, second = to_levels(a, name="a"), to_levels(b, name="b")
    check_alike(first, second)
    means = (np.broadcast_to(levels.mean(axis=(2, 3)), (len(levels), 3)) for levels in (first, second))
    reference, candidate = means
    return candidate - reference
