"""Where the crops of a batch lie: a pure function of (seed, step), whatever cuts them and in which process."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from mezzotint.errors import UsageError


@dataclass(frozen=True)
class Place:
    """One crop: picture `index`, its first row and column and its side in small pixels, and how it is turned.

    `turn` adds up 1 (left and right change), 2 (up and down change) and 4 (rows become columns, last).
    """

    index: int
    row: int
    column: int
    side: int
    turn: int


def generator(use: str, seed: int, step: int) -> torch.Generator:
    """Return a generator on the CPU for one use of (seed, step); another use draws other numbers."""
    digest = hashlib.sha256(f"{use} {seed} {step}".encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:8], "little") >> 1)


def areas(sizes: Sequence[tuple[int, int]]) -> Tensor:
    """Return the areas (n,) of small pictures of `sizes` (height, width), in float32, as `draw` weighs them."""
    return torch.tensor([float(height * width) for height, width in sizes])


def draw(
    sizes: Sequence[tuple[int, int]],
    *,
    seed: int,
    step: int,
    size: int,
    crop: int,
    flips: bool = True,
    rotations: bool = True,
    weights: Tensor | None = None,
) -> tuple[Place, ...]:
    """Return the `size` crops of batch `step` from small pictures of `sizes` (height, width).

    A picture is drawn in proportion to its area, a place in it and a turn evenly. `weights`: `areas(sizes)`, for those
    who have them already. Raises UsageError for a batch or a crop below 1 and for a crop that its picture does not
    hold.
    """
    if size < 1 or crop < 1:
        raise UsageError(f"a batch of {size} crops of {crop} pixels: both must be at least 1")
    source = generator("crops", seed, step)
    if weights is None:
        weights = areas(sizes)
    chosen: Sequence[int] = torch.multinomial(weights, size, replacement=True, generator=source).tolist()
    draws = torch.rand(size, 3, generator=source).tolist()
    places = []
    for index, (u, v, w) in zip(chosen, draws, strict=True):
        height, width = sizes[index]
        if min(height, width) < crop:
            raise UsageError(
                f"crops of {crop} pixels from a picture of {width}x{height}: leave the smaller pictures out first"
            )
        turn = turn_of(w, flips=flips, rotations=rotations)
        places.append(Place(index, int(u * (height - crop + 1)), int(v * (width - crop + 1)), crop, turn))
    return tuple(places)


def turn_of(share: float, *, flips: bool, rotations: bool) -> int:
    """Return the turn of a `Place` that a number from 0 to 1 stands for."""
    code = int(share * 8)
    return (code & 3 if flips else 0) | (code & 4 if rotations else 0)


def turned(crop: Tensor, turn: int) -> Tensor:
    """Return a crop (..., h, w) turned as `Place.turn` says."""
    if turn & 1:
        crop = crop.flip(-1)
    if turn & 2:
        crop = crop.flip(-2)
    return crop.transpose(-1, -2) if turn & 4 else crop


def cut(picture: Tensor, place: Place, *, scale: int = 1) -> Tensor:
    """Return the pixels (c, h, w) of a place that is counted in pixels `scale` times as large, turned."""
    rows = slice(place.row * scale, (place.row + place.side) * scale)
    columns = slice(place.column * scale, (place.column + place.side) * scale)
    return turned(picture[:, rows, columns], place.turn)


def gather(crops: Iterable[tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
    """Return (y, x), each b c h w float32 in [-1, 1], from pairs of crops c h w in grey levels (uint8 or float)."""
    ys, xs = zip(*crops, strict=True)
    y, x = (torch.stack([crop.float() for crop in side]) / 127.5 - 1 for side in (ys, xs))
    return y, x


@dataclass(frozen=True)
class Blur:
    """Blur of the small picture as an augmentation, so that a model does not trust its condition too much.

    Ho et al. 2022 (Cascaded Diffusion Models, section 4.2): a Gaussian of 3 x 3 pixels whose deviation is drawn evenly
    from `low` to `high` small pixels, on a `share` of the crops, half of them in the paper, 0.4 to 0.6 there. SR3 does
    the same. The border is mirrored without its edge. Differs from the paper in that crops are blurred, not pictures:
    one pixel at their border sees the mirror.

    Raises UsageError for a share outside [0, 1] and for deviations that are not 0 < low <= high <= 10.
    """

    low: float = 0.4
    high: float = 0.6
    share: float = 0.5

    def __post_init__(self) -> None:
        if not 0 < self.low <= self.high <= 10:
            raise UsageError(
                f"blur of {self.low} to {self.high} small pixels: use two deviations above 0, the smaller one first "
                "and none above 10, for example 0.4 and 0.6"
            )
        if not 0 <= self.share <= 1:
            raise UsageError(f"blur of a share of {self.share} of the crops: use 0 to 1, for example 0.5")

    def deviations(self, *, seed: int, step: int, size: int) -> tuple[float, ...]:
        """Return the deviation of each crop of batch `step`, 0 for a crop that stays as it is."""
        draws = torch.rand(size, 2, generator=generator("blur", seed, step), dtype=torch.float64).tolist()
        return tuple(self.low + u * (self.high - self.low) if v < self.share else 0.0 for u, v in draws)


def blurred(picture: Tensor, *, sigma: float) -> Tensor:
    """Return float pictures (c, h, w) under a Gaussian of 3 x 3 pixels and deviation `sigma`; 0 changes nothing."""
    if sigma == 0:
        return picture
    side = math.exp(-0.5 / sigma**2)
    weights = torch.tensor([side, 1.0, side], dtype=picture.dtype) / (1 + 2 * side)
    padded = torch.nn.functional.pad(picture[None], (1, 1, 1, 1), mode="reflect")[0]
    rows = weights[0] * padded[:, :-2] + weights[1] * padded[:, 1:-1] + weights[2] * padded[:, 2:]
    return weights[0] * rows[..., :-2] + weights[1] * rows[..., 1:-1] + weights[2] * rows[..., 2:]
