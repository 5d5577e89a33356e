"""The noise of degradations: Gaussian (white, grey, correlated, speckle) and that of photons, on grey levels 0 to 255.

Fields are functions of seed, picture, draw and place, and so are the counts of photons: a crop has the noise of the
whole. Noise is constant to the gradient, but for speckle, which is a factor.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
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
        places = levels.to(torch.int64)
        present = torch.bincount(places.flatten(), minlength=256) > 0
        peak = self.peak if self.peak is not None else 2.0 ** math.ceil(math.log2(int(present.sum())))
        if peak <= _KEPT_PEAK:
            counts = _counts(_table_of_levels(peak), places, field)
        else:
            rates = present.nonzero().flatten().double() * (peak / 255)
            counts = poisson_quantiles(rates, (torch.cumsum(present, 0) - 1)[places], field)
        return counts.mul_(255 / peak).sub_(levels)

    def record(self) -> dict[str, Any]:
        peak = "values" if self.peak is None else self.peak
        return {"stage": "poisson", "peak": peak, "strength": self.strength, "grey": self.grey, "draw": self.draw}


_KEPT_PEAK = 1024
"""Photons of white up to which the table of all 256 grey levels is kept: 2 MB at most, and Real-ESRGAN's go to 256."""
_CHUNK = 1 << 15
"""Pixels at a time: their table and numbers stay in the processor's cache."""


@dataclass(frozen=True, eq=False)
class _Quantiles:
    """Poisson's distribution functions of n rates, as standard normal quantiles: the field is compared as it is.

    `rising` (n k), float64, rows one after the other, each between minus and plus infinity. A guess of the place in it
    is `middle + deviation z + z^2 / 6` for the field z (Cornish and Fisher); a place less `first` is a count.
    """

    rising: Tensor
    low: Tensor
    high: Tensor
    middle: Tensor
    deviation: Tensor
    first: Tensor

    @classmethod
    def of(cls, rates: Tensor) -> _Quantiles:
        """Those of rates (n,), float64, 0 or more."""
        spread = 9 * rates.sqrt() + 12
        lowest = (rates - spread).floor().clamp_min(0)
        counts = lowest[:, None] + torch.arange(int((rates + spread - lowest).max()) + 1, dtype=torch.float64)
        logarithm = torch.xlogy(counts, rates[:, None]) - rates[:, None] - torch.lgamma(counts + 1)
        table = torch.special.ndtri(torch.exp(logarithm).cumsum(1).clamp_(max=1.0))
        width = table.shape[1] + 1
        rising = torch.cat([torch.full_like(table[:, :1], -math.inf), table], 1)
        rising[:, -1] = math.inf
        low = 1 + width * torch.arange(len(rates))
        first = low - lowest
        return cls(rising.flatten(), low, low + width - 2, rates + first - 1 / 6, rates.sqrt(), first)


@lru_cache(maxsize=12)
def _table_of_levels(peak: float) -> _Quantiles:
    return _Quantiles.of(torch.arange(256, dtype=torch.float64) * (peak / 255))


def poisson_quantiles(rates: Tensor, places: Tensor, field: Tensor) -> Tensor:
    """Counts with Poisson's distribution, float64, of the shape of `places` and `field`.

    A pixel has rate `rates[place]` (n,), float64, 0 or more; its count is the quantile at the standard normal `field`,
    float64: the first whose distribution function is at least that of the field.
    """
    return _counts(_Quantiles.of(rates), places, field)


def _counts(table: _Quantiles, places: Tensor, field: Tensor) -> Tensor:
    out = torch.empty(places.shape, dtype=torch.float64)
    all_places, values, made = (v.reshape(-1) for v in (places, field, out))
    for start in range(0, len(made), _CHUNK):
        # index_select takes a quarter of the time of indexing.
        place, value = all_places[start : start + _CHUNK], values[start : start + _CHUNK]
        guess = table.middle.index_select(0, place)
        guess.addcmul_(table.deviation.index_select(0, place), value).addcmul_(value, value, value=1 / 6)
        low, high = table.low.index_select(0, place), table.high.index_select(0, place)
        index = _first(table.rising, value, guess.round_().to(torch.int64).clamp_(low, high))
        torch.sub(index, table.first.index_select(0, place), out=made[start : start + _CHUNK])
    return out


def _first(rising: Tensor, value: Tensor, index: Tensor) -> Tensor:
    """The first index from which on a row of the table is at least the value, near the guess `index`, which changes.

    The guess is off by one at most nearly everywhere; the table decides.
    """
    here, wanted, moving = index, value, None
    while True:
        up = rising.index_select(0, here) < wanted
        down = rising.index_select(0, here - 1) >= wanted
        changed = up.logical_or(down).nonzero().flatten()
        if len(changed) == 0:
            return index
        moving = changed if moving is None else moving[changed]
        index[moving] += up[changed].to(torch.int64) * 2 - 1
        here, wanted = index[moving], value[moving]
