"""One network for every bridge: it knows E[y | signal-to-noise ratio, x], which all scalar bridges share.

For every bridge z - b x is an ordinary noisy picture a y + s eps. A network that also sees x therefore needs to know
no more than the ratio s / a, and one trained on a continuum of ratios serves each bridge and each solver. What it
learns is preconditioned as in Karras et al. 2022 (arXiv 2206.00364, table 1) on the residual y - up(x), whose deviation
is `deviation`; times do not occur in training: log(s / a) is drawn from a normal distribution.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from mezzotint import schedules
from mezzotint.bridges import VP, Bridge
from mezzotint.conditioning.low_resolution import LowResolution
from mezzotint.domains.pixel import Pixel
from mezzotint.methods.presets import settle
from mezzotint.methods.recipe import Recipe
from mezzotint.networks.shuffled import Shuffled
from mezzotint.noise import NoiseSource
from mezzotint.objectives import Norm, Objective
from mezzotint.samplers import Denoiser, Estimate

# Ratios beyond these look alike to the network: the state is as good as clean, or nothing but noise.
_LOWEST, _HIGHEST = -7.0, 5.0
_NETWORK = {"width": 48, "multipliers": (1, 1, 1), "blocks": 1, "groups": 8}
PRESETS: dict[str, dict[str, Any]] = {
    "small": {"channels": 3, "deviation": 0.1, "centre": -2.0, "spread": 1.7, "network": _NETWORK},
}


class Shared(Recipe):
    """The method; `walk` of the recipe says which bridge is sampled, by default VP with the cosine schedule."""

    def __init__(self, *, deviation: float, centre: float, spread: float, **parts: Any) -> None:
        super().__init__(**parts)
        self.deviation, self.centre, self.spread = deviation, centre, spread

    def loss(self, y: Tensor, x: Tensor, *, noise: NoiseSource, norm: Norm | None = None) -> Tensor:
        """The training loss, a scalar, for y b c H W and x b c h w in [-1, 1]; streams `time` and `noise`."""
        context = self.domain.context(x, size=(int(y.shape[-2]), int(y.shape[-1])))
        clean, up = self.domain.encode(y, context), self._center(x, context)
        level = self.centre + self.spread * torch.special.ndtri(noise.uniform("time", 0, len(y)))
        level = level.clamp(_LOWEST, _HIGHEST)
        eps = noise.normal("noise", 0, clean.shape, dtype=clean.dtype, device=clean.device)
        s = level.exp().to(clean)[:, None, None, None]
        size = (s**2 + self.deviation**2).sqrt()
        noisy = clean - up + s * eps
        wanted = (clean - up - self.deviation**2 / size**2 * noisy) * size / (s * self.deviation)
        out = self._ask(noisy / size, x, level.to(clean))
        return self.objective.compare(out.to(wanted.dtype), wanted, norm=norm)

    def denoiser(self, x: Tensor, *, context: Any, bridge: Bridge, guidance: float = 1.0) -> Denoiser:
        """The function (z, t) -> Estimate that the samplers call, for any scalar bridge; UsageError for guidance."""
        self.check_guidance(guidance)
        up = self._center(x, context)

        def denoise(z: Tensor, t: float) -> Estimate:
            a, b, s = bridge.coefficients(t)
            size = (s**2 + (a * self.deviation) ** 2) ** 0.5
            # At a pinned end the state is x: no noise to scale, and nothing to learn from it.
            shifted = (z.to(x.dtype) - (a + b) * up) / size if size > 0 else torch.zeros_like(up)
            level = _HIGHEST if a == 0 else _LOWEST if s == 0 else math.log(s / a)
            levels = torch.full((len(z),), min(max(level, _LOWEST), _HIGHEST), dtype=x.dtype, device=x.device)
            out = self._ask(shifted, x, levels)
            kept, learned = (self.deviation * a / size, s / size) if size > 0 else (0.0, 1.0)
            return Estimate(up + self.deviation * (kept * shifted + learned * out))

        return denoise

    def _center(self, x: Tensor, context: Any) -> Tensor:
        """What the picture is expected to be before the network is asked, b c H W: up(x)."""
        return self.domain.lift(x, context)

    def _ask(self, z: Tensor, x: Tensor, level: Tensor) -> Tensor:
        return self.network(z, x, level)


def build(*, scale: float = 4, preset: str = "small", config: Mapping[str, Any] | None = None) -> Recipe:
    """Return the method untrained; `config` changes settings of the preset, UsageError for those it does not have."""
    settings = settle(PRESETS, method="shared", preset=preset, changes=config)
    return Shared(
        name="shared",
        scale=scale,
        preset=preset,
        config=settings,
        network=Shuffled(scale=int(scale), channels=settings["channels"], **settings["network"]),
        bridge=VP(schedules.cosine(1000)),
        domain=Pixel(),
        conditioning=LowResolution(),
        objective=Objective(kind="y", norm="l2"),
        walk=walk,
        channels=settings["channels"],
        deviation=settings["deviation"],
        centre=settings["centre"],
        spread=settings["spread"],
    )


def walk(steps: int) -> tuple[VP, tuple[float, ...]]:
    """The process and the grid of sampling."""
    bridge = VP(schedules.cosine(1000))
    return bridge, bridge.grid(steps)
