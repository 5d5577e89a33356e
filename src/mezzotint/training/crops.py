"""Pairs of crops, held in memory as bytes; batch k of a run is a pure function of (seed, k)."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from mezzotint.errors import InputError, UsageError
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


def _generator(seed: int, step: int) -> torch.Generator:
    digest = hashlib.sha256(f"crops {seed} {step}".encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:8], "little") >> 1)


def _turn(crop: Tensor, code: int) -> Tensor:
    if code & 1:
        crop = crop.flip(-1)
    if code & 2:
        crop = crop.flip(-2)
    return crop.transpose(-1, -2) if code & 4 else crop


def batch(
    pairs: Pairs, *, seed: int, step: int, size: int, crop: int, flips: bool = True, rotations: bool = True
) -> tuple[Tensor, Tensor]:
    """Return batch `step`: y (size, 3, crop * scale, crop * scale) and x (size, 3, crop, crop), float32 in [-1, 1].

    A picture is drawn in proportion to its area. Resuming a run at any step gives the same batches.
    """
    if size < 1 or crop < 1:
        raise UsageError(f"a batch of {size} crops of {crop} pixels: both must be at least 1")
    generator = _generator(seed, step)
    areas = torch.tensor([float(x.shape[1] * x.shape[2]) for x in pairs.x])
    chosen: Sequence[int] = torch.multinomial(areas, size, replacement=True, generator=generator).tolist()
    draws = torch.rand(size, 3, generator=generator).tolist()
    ys, xs = [], []
    for index, (u, v, w) in zip(chosen, draws, strict=True):
        y, x = pairs.y[index], pairs.x[index]
        row = int(u * (x.shape[1] - crop + 1))
        column = int(v * (x.shape[2] - crop + 1))
        code = int(w * 8)
        code = (code & 3 if flips else 0) | (code & 4 if rotations else 0)
        s = pairs.scale
        ys.append(_turn(y[:, row * s : (row + crop) * s, column * s : (column + crop) * s], code))
        xs.append(_turn(x[:, row : row + crop, column : column + crop], code))
    return torch.stack(ys).float() / 127.5 - 1, torch.stack(xs).float() / 127.5 - 1
