"""Pairs of crops, in memory as bytes or made from files on the way; batch k of a run is a function of (seed, k)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from mezzotint.data.crops import cut, draw, gather
from mezzotint.data.stream import Stream
from mezzotint.errors import InputError
from mezzotint.operators.resize import imresize_uint8, modcrop


@dataclass(frozen=True)
class Pairs:
    """High-resolution pictures (3, H, W uint8, sides multiples of `scale`) with their MATLAB-bicubic small pictures."""

    y: tuple[Tensor, ...]
    x: tuple[Tensor, ...]
    scale: int
    names: tuple[str, ...]

    @property
    def megapixels(self) -> float:
        return sum(y.shape[1] * y.shape[2] for y in self.y) / 1e6


def pair(y: Tensor, *, scale: int) -> tuple[Tensor, Tensor]:
    """Return (y, x): an 8-bit picture (c, h, w) cut to a multiple of `scale`, as RGB, and its small picture."""
    y = modcrop(y.expand(3, -1, -1) if y.shape[0] == 1 else y, multiple=scale).contiguous()
    return y, imresize_uint8(y, scale=1 / scale)


def load_pairs(files: Iterable[Path], *, scale: int, crop: int) -> Pairs:
    """Decode `files` once and leave out those with a side below `crop` * `scale`; InputError when none is left."""
    from mezzotint import images

    ys, xs, names = [], [], []
    count = 0
    for file in files:
        count += 1
        pixels = torch.from_numpy(images.read_plain(file).pixels.copy()).permute(2, 0, 1)
        if min(pixels.shape[1:]) < crop * scale:
            continue
        y, x = pair(pixels, scale=scale)
        ys.append(y)
        xs.append(x)
        names.append(file.name)
    if not ys:
        raise InputError(
            f"none of {count} pictures has sides of at least {crop * scale} pixels: "
            "name another folder or a smaller pictures.crop"
        )
    return Pairs(tuple(ys), tuple(xs), scale, tuple(names))


Source = Pairs | Stream
"""What batches are made of."""


def batch(
    pairs: Source,
    *,
    seed: int,
    step: int,
    size: int,
    crop: int,
    flips: bool = True,
    rotations: bool = True,
) -> tuple[Tensor, Tensor]:
    """Return batch `step`: y (size, 3, crop * scale, crop * scale) and x (size, 3, crop, crop), float32 in [-1, 1].

    A picture is drawn in proportion to its area. Resuming a run at any step gives the same batches, and so do the same
    pictures in memory and on the disk.
    """
    if isinstance(pairs, Stream):
        return pairs.batch(seed=seed, step=step, size=size, crop=crop, flips=flips, rotations=rotations)
    sizes = [(x.shape[1], x.shape[2]) for x in pairs.x]
    places = draw(sizes, seed=seed, step=step, size=size, crop=crop, flips=flips, rotations=rotations)
    return gather((cut(pairs.y[p.index], p, scale=pairs.scale), cut(pairs.x[p.index], p)) for p in places)
