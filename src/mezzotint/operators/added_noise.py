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

    `sigma` in grey levels. `channels` "grey" is one field for all channels; `covariance` (3 x 3, grey levels squared)
    takes the place of both for pictures of three channels. With `speckle` the noise is multiplied by the picture over
    255. A covariance that is not positive is read by the size of its eigenvalues, as NumPy reads it.
    """

    sigma: float = 0.0
    draw: int = 0
    channels: Channels = "independent"
    covariance: tuple[tuple[float, ...], ...] | None = None
    speckle: bool = False

    def __post_init__(self) -> None:
        if not (math.isfinite(self.sigma) and self.sigma >= 0):
            raise UsageError(f"noise {self.sigma} is not a standard deviation in grey levels: use 0 or more")
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
        if covariance.shape != (channels, channels):
            raise InputError(
                f"a covariance of {covariance.shape[0]} channels does not fit a picture of {channels}: use sigma"
            )
        values, vectors = torch.linalg.eigh(covariance)
        return (vectors * values.abs().sqrt()) @ vectors.T

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
        counts = poisson_quantiles(present.nonzero().flatten().double() * (peak / 255), indices, present, field)
        return counts * (255 / peak) - levels.double()

    def record(self) -> dict[str, Any]:
        peak = "values" if self.peak is None else self.peak
        return {"stage": "poisson", "peak": peak, "strength": self.strength, "grey": self.grey, "draw": self.draw}


def poisson_quantiles(rates: Tensor, indices: Tensor, present: Tensor, field: Tensor) -> Tensor:
    """Counts with Poisson's distribution, float64, of the shape of `indices` and `field`.

    A pixel of level k, where `present` (256,) is true, has the rate of its place among the present ones; its count is
    the quantile at the standard normal `field`.
    """
    # One sorted line of all distribution functions, each moved by the place of its rate: one search for all pixels.
    starts, lows, pieces, total = [], [], [], 0
    for place, rate in enumerate(rates.tolist()):
        spread = 9 * math.sqrt(rate) + 12
        low, high = max(0, math.floor(rate - spread)), math.ceil(rate + spread)
        n = torch.arange(low, high + 1, dtype=torch.float64)
        logarithm = torch.xlogy(n, torch.tensor(rate, dtype=torch.float64)) - rate - torch.lgamma(n + 1)
        pieces.append(torch.cumsum(torch.exp(logarithm), 0).clamp(max=1.0) + 2 * place)
        starts.append(total)
        lows.append(low)
        total += len(n)
    line, order = torch.cat(pieces), torch.cumsum(present, 0)[indices] - 1
    uniform = torch.special.ndtr(field).clamp(max=1 - 1e-12)
    found = torch.searchsorted(line, (uniform + 2 * order).flatten()).reshape(indices.shape)
    first = torch.tensor(starts)[order]
    last = torch.tensor([*starts[1:], total])[order] - 1
    return (torch.minimum(found, last) - first + torch.tensor(lows)[order]).double()
