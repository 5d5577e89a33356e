"""A denoiser in overlapping windows: pictures larger than a prior was trained on, where the prior is not local.

The windows' estimates are added with weights that sum to 1 everywhere, raised cosines over the overlap, y_hat = sum_k
W_k y_hat_k. The solver works on the whole state, so that what it enforces, A y_hat = x, holds whatever the seams. A
prior that sees only so far needs none of this: its tiles equal the whole (`methods.prior`).
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor

from mezzotint.errors import UsageError
from mezzotint.samplers.loop import Denoiser
from mezzotint.samplers.step import Estimate

Offset = Callable[[float], tuple[int, int]]


def blended(
    denoise: Denoiser, *, tile: int, overlap: int, batch: int = 1, offset: Offset | None = None
) -> Denoiser:
    """The denoiser of states b c H W of any size that asks `denoise` for windows of `tile` x `tile` pixels.

    Windows overlap by `overlap` pixels at least; those at the border are moved inwards, so that all are of one size,
    and a side that is no larger than a tile is not cut. `batch` windows are asked at a time. `offset(t)`: rows and
    columns by which the windows inside the picture are moved at a time, so that no seam stays where it is. Everything
    an estimate holds for each pixel is blended. UsageError for an overlap that is not between 1 and half a tile, and a
    batch below 1.
    """
    if not 1 <= overlap <= tile // 2:
        raise UsageError(f"overlap {overlap} of tiles of {tile} pixels: use 1 to {tile // 2}, half a tile")
    if batch < 1:
        raise UsageError(f"batch {batch} of tiles: use 1 or more")

    def whole(z: Tensor, t: float) -> Estimate:
        height, width = int(z.shape[-2]), int(z.shape[-1])
        down, right = (0, 0) if offset is None else offset(t)
        rows, columns = places(height, tile, overlap, down), places(width, tile, overlap, right)
        if len(rows) == len(columns) == 1:
            return denoise(z, t)
        sides = (min(height, tile), min(width, tile))
        down_weights = weights(rows, height, sides[0], overlap).to(z)
        right_weights = weights(columns, width, sides[1], overlap).to(z)
        corners = list(itertools.product(range(len(rows)), range(len(columns))))
        sums: dict[str, Tensor] = {}
        first: Estimate | None = None
        for start in range(0, len(corners), batch):
            part = corners[start : start + batch]
            windows = [z[..., rows[i] : rows[i] + sides[0], columns[j] : columns[j] + sides[1]] for i, j in part]
            found = denoise(torch.cat(windows), t)
            first = first or found
            for name in ("y", "y_carry", "c2"):
                values = getattr(found, name)
                if not isinstance(values, Tensor) or values.shape[-2:] != windows[0].shape[-2:]:
                    continue
                total = sums.get(name)
                if total is None:
                    total = sums[name] = values.new_zeros(len(z), *values.shape[1:-2], height, width)
                for (i, j), one in zip(part, values.split(len(z)), strict=True):
                    weight = down_weights[i][:, None] * right_weights[j]
                    place = (..., slice(rows[i], rows[i] + sides[0]), slice(columns[j], columns[j] + sides[1]))
                    padded = torch.zeros_like(total)
                    padded[place] = weight.to(one) * one
                    total = total + padded
                sums[name] = total
        assert first is not None
        return replace(first, **sums)

    return whole


def places(size: int, tile: int, overlap: int, offset: int = 0) -> list[int]:
    """Where windows begin along a side: evenly, the first one at 0 and the last one at the end, overlapping by
    `overlap` at least; those between are moved by `offset` as far as that leaves the overlap."""
    if size <= tile:
        return [0]
    count = math.ceil((size - tile) / (tile - overlap)) + 1
    even = [round(i * (size - tile) / (count - 1)) for i in range(count)]
    slack = min([tile - overlap - (b - a) for a, b in itertools.pairwise(even)])
    moved = max(-slack, min(slack, offset))
    return [start if start in (even[0], even[-1]) else start + moved for start in even]


def weights(starts: list[int], size: int, tile: int, overlap: int) -> Tensor:
    """(windows, tile) float64: raised cosines that sum to 1 at every pixel of a side."""
    ramp = torch.sin(0.5 * math.pi * (torch.arange(overlap, dtype=torch.float64) + 0.5) / overlap) ** 2
    total, shapes = torch.zeros(size, dtype=torch.float64), []
    for start in starts:
        shape = torch.ones(tile, dtype=torch.float64)
        if start > 0:
            shape[:overlap] *= ramp
        if start + tile < size:
            shape[-overlap:] *= ramp.flip(0)
        shapes.append(shape)
        total[start : start + tile] += shape
    return torch.stack([shape / total[start : start + tile] for start, shape in zip(starts, shapes, strict=True)])
