"""The noise of degradations: Gaussian (white, grey, correlated, speckle) and that of photons, on grey levels 0 to 255.

Fields are functions of seed, picture, draw and place, and so are the counts of photons: a crop has the noise of the
whole. Noise is constant to the gradient, but for speckle, which is a factor.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from mezzotint.errors import InputError, UsageError
from mezzotint.noise import NoiseSource
from mezzotint.operators.diagonal import LUMINANCE

Channels = Literal["independent", "grey"]


@dataclass(frozen=True, kw_only=True)
class AddNoise:
    """Add Gaussian noise, draw `draw` of the stream "degradation": white, grey, correlated, or speckle.

    `sigma` in grey levels. `channels` "grey" is one field for all channels. `covariance` (3 x 3, grey levels squared)
    takes the place of both for pictures of three channels, and gives grey ones the noise of its luminance; one that is
    not positive is read by the size of its eigenvalues, as NumPy reads it. With `speckle` the noise is multiplied by
    the picture over 255. UsageError for settings out of range, InputError for other channels than the covariance has.
    """

    sigma: float = 0.0
    draw: int = 0
    channels: Channels = "independent"
    covariance: tuple[tuple[float, ...], ...] | None = None
    speckle: bool = False

    def __post_init__(self) -> None:
        if not (math.isfinite(self.sigma) and self.sigma >= 0):
            raise UsageError(f"noise {self.sigma} is not a standard deviation in grey levels: use 0 or more")
        if self.covariance is not None and [len(row) for row in self.covariance] != [3] * 3:
            raise UsageError(f"covariance {self.covariance} is not 3 x 3: give sigma for other channels")
        if self.channels not in ("independent", "grey"):
            raise UsageError(f"channels {self.channels!r} is unknown: use independent or grey")

    def apply(self, picture: Tensor, *, noise: NoiseSource) -> Tensor:
        batch, channels, height, width = picture.shape
        one = self.channels == "grey" and self.covariance is None
        shape = (batch, 1 if one else channels, height, width)
        field = noise.normal("degradation", self.draw, shape, dtype=picture.dtype, device=picture.device)
        if self.covariance is None:
            field = self.sigma * field
        else:
            field = torch.einsum("oc,bchw->bohw", self._root(channels).to(field), field)
        return picture + (field * picture / 255 if self.speckle else field)

    def _root(self, channels: int) -> Tensor:
        covariance = torch.tensor(self.covariance, dtype=torch.float64)
        if channels not in (1, len(covariance)):
            raise InputError(
                f"a covariance of {len(covariance)} channels does not fit a picture of {channels}: use sigma"
            )
        values, vectors = torch.linalg.eigh(covariance)
        root = (vectors * values.abs().sqrt()) @ vectors.T
        if channels == len(covariance):
            return root
        return (torch.tensor(LUMINANCE, dtype=torch.float64) @ root).norm().reshape(1, 1)

    def record(self) -> dict[str, Any]:
        size: dict[str, Any] = {"sigma": self.sigma}
        if self.covariance is not None:
            size = {"covariance": [list(row) for row in self.covariance]}
        elif self.channels == "grey":
            size["channels"] = "grey"
        name = "speckle" if self.speckle else "noise"
        return {"stage": name, **size, "unit": "grey levels", "draw": self.draw}


@dataclass(frozen=True, kw_only=True)
class PoissonNoise:
    """Photon noise: y + strength (Poisson(v y) / v - y) with y in [0, 1], rounded to 8 bits before it is counted.

    `peak` is v, the photons of white; None is Real-ESRGAN's rule, 2^ceil(log2 n) for the n different values of the
    picture. `grey` draws the noise of the luminance for all channels. Counts are the quantiles of Poisson's
    distribution at the normal field of draw `draw`, so that they too are functions of seed and place.
    """

    peak: float | None = None
    strength: float = 1.0
    grey: bool = False
    draw: int = 0

    def __post_init__(self) -> None:
        if self.peak is not None and not (math.isfinite(self.peak) and 0 < self.peak <= 1e6):
            raise UsageError(f"peak {self.peak} is not above 0 and at most 1e6 photons: use for example 1000")
        if not (math.isfinite(self.strength) and self.strength >= 0):
            raise UsageError(f"strength {self.strength} is not 0 or more")

    def apply(self, picture: Tensor, *, noise: NoiseSource) -> Tensor:
        batch, channels, height, width = picture.shape
        source = picture.detach()
        if self.grey and channels == 3:
            weights = torch.tensor(LUMINANCE, dtype=torch.float64).to(source)[:, None, None]
            source = (source * weights).sum(1, keepdim=True)
        elif self.grey:
            source = source.mean(1, keepdim=True)
        levels = torch.floor(source.clamp(0, 255) + 0.5)
        shape = (batch, int(levels.shape[1]), height, width)
        field = noise.normal("degradation", self.draw, shape, dtype=torch.float64, device="cpu")
        change = [self._one(level.cpu(), normal) for level, normal in zip(levels, field, strict=True)]
        return picture + self.strength * torch.stack(change).to(picture)

    def _one(self, levels: Tensor, field: Tensor) -> Tensor:
        """The change in grey levels of one picture c h w of whole levels."""
        indices = levels.to(torch.int64)
        present = torch.bincount(indices.flatten(), minlength=256) > 0
        peak = self.peak if self.peak is not None else 2.0 ** math.ceil(math.log2(int(present.sum())))
        places = (torch.cumsum(present, 0) - 1)[indices]
        counts = poisson_quantiles(present.nonzero().flatten().double() * (peak / 255), places, field)
        return counts * (255 / peak) - levels.double()

    def record(self) -> dict[str, Any]:
        peak = "values" if self.peak is None else self.peak
        return {"stage": "poisson", "peak": peak, "strength": self.strength, "grey": self.grey, "draw": self.draw}


def poisson_quantiles(rates: Tensor, places: Tensor, field: Tensor) -> Tensor:
    """Counts with Poisson's distribution, float64, of the shape of `places` and `field`.

    A pixel has rate `rates[place]` (n,), float64, 0 or more; its count is the quantile at the standard normal `field`,
    float64: the first whose distribution function is at least that of the field.
    """
    spread = 9 * rates.sqrt() + 12
    lowest = (rates - spread).floor().clamp_min(0)
    counts = lowest[:, None] + torch.arange(int((rates + spread - lowest).max()) + 1, dtype=torch.float64)
    logarithm = torch.xlogy(counts, rates[:, None]) - rates[:, None] - torch.lgamma(counts + 1)
    # The table holds normal quantiles, so that the field is compared as it is.
    table = torch.special.ndtri(torch.exp(logarithm).cumsum(1).clamp_(max=1.0))
    # Cornish and Fisher's expansion is off by one at most nearly everywhere; the table decides.
    middle, deviation = rates - lowest - 1 / 6, rates.sqrt()
    out = torch.empty(places.shape, dtype=torch.float64)
    flat = out.reshape(-1)
    for start in range(0, len(flat), _CHUNK):
        place, value = (v.reshape(-1)[start : start + _CHUNK] for v in (places, field))
        guess = middle[place].addcmul_(deviation[place], value).addcmul_(value, value, value=1 / 6)
        index = _first(table, place * table.shape[1], value, guess.round_().to(torch.int64))
        flat[start : start + _CHUNK] = lowest[place].add_(index)
    return out


_CHUNK = 1 << 15
"""Pixels at a time: their table and numbers stay in the processor's cache."""


def _first(table: Tensor, starts: Tensor, value: Tensor, index: Tensor) -> Tensor:
    """The first index from each start at which the rising table is at least the value, near the guess `index`."""
    width, table = table.shape[1], table.flatten()
    index = index.clamp_(0, width - 1)
    moving = None
    while True:
        here, first, wanted = (v if moving is None else v[moving] for v in (index, starts, value))
        at = first + here
        up = (table[at] < wanted) & (here < width - 1)
        down = (table[(at - 1).clamp_min_(0)] >= wanted) & (here > 0)
        changed = (up | down).nonzero().flatten()
        if len(changed) == 0:
            return index
        moving = changed if moving is None else moving[changed]
        index[moving] += up[changed].to(torch.int64) * 2 - 1
