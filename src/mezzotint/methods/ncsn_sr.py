"""A score network over noise levels with annealed Langevin dynamics, conditioned on the bicubic enlargement.

Song and Ermon, "Generative Modeling by Estimating Gradients of the Data Distribution", arXiv 1907.05600, with the rules
of their "Improved Techniques for Training Score-Based Generative Models", arXiv 2006.09011: few repeats of many levels,
step sizes of 0.062 sigma^2, a last denoising. A step is one noise level, asked `repeats` times. The score is learned as
the noise, -sigma times it, weighted by sigma^2, at levels uniform in their logarithm between `low` and `high`, so that
any number of them can be walked. `official` has their network and levels for CIFAR-10, twice as large for pictures in
[-1, 1] (and the `rate` four times); its states are not `scaled`. Differs from the authors' code in the start, which has
the first level's noise; `small` has SR3's U-Net. Few levels leave too wide a spread: with 0.062 sigma^2 on pixels
N(0.5, 0.2^2) a deviation of 0.24 for 50, 0.217 for 100, 0.207 for 232; the 19 levels of `small` have 0.3 sigma^2.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

from mezzotint import schedules
from mezzotint.bridges import VE
from mezzotint.conditioning.droppable import droppable
from mezzotint.conditioning.low_resolution import LowResolution
from mezzotint.domains.pixel import Pixel
from mezzotint.methods.presets import SMALL_UNET, settle
from mezzotint.methods.recipe import Recipe, log_ratio, made_anew, shrink_noise
from mezzotint.networks import table as networks
from mezzotint.objectives import Objective, Uniform
from mezzotint.samplers import annealed_langevin

_OPTIONS = {"channels": 3, "repeats": 5, "norm": "l2", "drop": 0.0}
_FEW = {"low": 0.01, "high": 1.0, "levels": 19, "rate": 3e-5, "scaled": True}
_CIFAR = {"low": 0.02, "high": 100.0, "levels": 232, "rate": 2.48e-5, "scaled": False}
PRESETS: dict[str, dict[str, Any]] = {
    "small": {**_OPTIONS, **_FEW, "network": SMALL_UNET},
    "official": {**_OPTIONS, **_CIFAR, "network": networks.published("refinenet")},
}


def build(*, scale: float = 4, preset: str = "small", config: Mapping[str, Any] | None = None) -> Recipe:
    """Return the method untrained; `config` changes settings of the preset, UsageError for those it does not have."""
    settings = settle(PRESETS, method="ncsn-sr", preset=preset, changes=config)
    conditioning, channels = droppable(LowResolution(), drop=settings["drop"]), settings["channels"]
    low, high = settings["low"], settings["high"]
    return Recipe(
        name="ncsn-sr",
        scale=scale,
        preset=preset,
        config=settings,
        network=networks.build(settings["network"], in_channels=conditioning.channels(channels), out_channels=channels),
        bridge=VE(schedules.Geometric(low, high)),
        domain=Pixel(),
        conditioning=conditioning,
        objective=Objective(norm=settings["norm"], times=Uniform(1e-5)),
        walk=made_anew(lambda steps: VE(schedules.geometric(steps, low=low, high=high))),
        loop=partial(annealed_langevin, repeats=settings["repeats"], rate=settings["rate"]),
        level=log_ratio,
        input_scale=shrink_noise if settings["scaled"] else None,
        channels=channels,
        steps_default=settings["levels"],
    )
