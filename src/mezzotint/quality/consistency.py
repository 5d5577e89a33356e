"""Consistency: how well an enlargement, made small again, agrees with the small picture it came from."""

from __future__ import annotations

from typing import overload

import numpy as np
import torch
from torch import Tensor

from mezzotint.errors import InputError
from mezzotint.operators.resize import imresize, imresize_uint8
from mezzotint.quality.levels import Picture, as_figures, to_levels, to_unit
from mezzotint.quality.protocols import check_scale
from mezzotint.quality.psnr import psnr_of_planes

# A float enlargement is measured before it is clipped, so it may leave [0, 1] a little.
_SLACK = 0.5


@overload
def lr_psnr(y_hat: np.ndarray, x: np.ndarray, *, scale: float = ...) -> float: ...
@overload
def lr_psnr(y_hat: Tensor, x: Tensor, *, scale: float = ...) -> Tensor: ...
def lr_psnr(y_hat: Picture, x: Picture, *, scale: float = 4) -> float | Tensor:
    """Return the PSNR in dB between the reduced enlargement and the small picture, all in 8 bits and all channels.

    y_hat: the enlargement, rounded to 8 bits and reduced as MATLAB reduces 8-bit pictures; x: the small picture,
    rounded to 8 bits. Both as `psnr` takes them. More than 45 dB counts as consistent; the rounding of y_hat alone
    allows about 52 to 58 dB. Raises InputError unless y_hat is `scale` times as large as x, UsageError for a bad scale.
    Lugmayr et al. 2021, NTIRE challenge on learning the super-resolution space.
    """
    large, small = to_levels(y_hat, name="y_hat"), to_levels(x, name="x")
    _check_sizes(large, small, scale)
    size = (small.shape[2], small.shape[3])
    reduced = imresize_uint8(torch.from_numpy(large.astype(np.uint8)), size=size).numpy().astype(np.float64)
    return as_figures([psnr_of_planes(one, other) for one, other in zip(reduced, small, strict=True)], y_hat)


@overload
def lr_psnr_float(y_hat: np.ndarray, x: np.ndarray, *, scale: float = ...) -> float: ...
@overload
def lr_psnr_float(y_hat: Tensor, x: Tensor, *, scale: float = ...) -> Tensor: ...
def lr_psnr_float(y_hat: Picture, x: Picture, *, scale: float = 4) -> float | Tensor:
    """Return `lr_psnr` without any rounding or clipping: what the method itself achieves, before the file.

    y_hat may leave [0, 1] by up to 0.5. Arguments and errors are otherwise those of `lr_psnr`.
    """
    errors = _errors(y_hat, x, scale)
    return as_figures([psnr_of_planes(error, np.zeros_like(error), peak=1.0) for error in errors], y_hat)


@overload
def consistency(y_hat: np.ndarray, x: np.ndarray, *, scale: float = ...) -> float: ...
@overload
def consistency(y_hat: Tensor, x: Tensor, *, scale: float = ...) -> Tensor: ...
def consistency(y_hat: Picture, x: Picture, *, scale: float = 4) -> float | Tensor:
    """Return the mean squared error on [0, 1] between the reduced enlargement and the small picture, in float.

    SR3 prints it times 1e5. 10 log10(1 / consistency) is `lr_psnr_float`; arguments and errors are the same.
    Saharia et al. 2021, arXiv 2104.07636, which does not state the range.
    """
    return as_figures([float(np.mean(np.square(error))) for error in _errors(y_hat, x, scale)], y_hat)


def _errors(y_hat: Picture, x: Picture, scale: float) -> np.ndarray:
    large, small = to_unit(y_hat, name="y_hat", slack=_SLACK), to_unit(x, name="x", slack=_SLACK)
    _check_sizes(large, small, scale)
    size = (small.shape[2], small.shape[3])
    return imresize(torch.from_numpy(np.ascontiguousarray(large)), size=size).numpy() - small


def _check_sizes(large: np.ndarray, small: np.ndarray, scale: float) -> None:
    check_scale(scale)
    if large.shape[:2] != small.shape[:2]:
        raise InputError(
            f"the enlargement has {large.shape[0]} pictures of {large.shape[1]} channels, "
            f"the small one {small.shape[0]} of {small.shape[1]}"
        )
    if any(abs(big - scale * little) >= 1 for big, little in zip(large.shape[2:], small.shape[2:], strict=True)):
        raise InputError(
            f"the enlargement of {large.shape[3]}x{large.shape[2]} pixels is not {scale:g} times as large as "
            f"{small.shape[3]}x{small.shape[2]}: give both pictures of one run and its scale"
        )
