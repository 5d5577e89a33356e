"""Score-based diffusion by stochastic equations, conditioned on the bicubic enlargement.

Song et al., "Score-Based Generative Modeling through Stochastic Differential Equations", arXiv 2011.13456. `sde`: "vp",
"sub-vp" or "ve". `sampler` predicts and `corrections` Langevin steps with the signal-to-noise `ratio` follow each (0:
none); deterministic samplers without them solve the probability-flow equation. The score is learned as the noise, -s
times it, weighted by the variance, above t = 1e-5. `official` has DDPM++, `official-ve` NCSN++. `told` "ratio": log(s /
a) / 4, for "ve" of a state over sqrt(s^2 + 1); "released": the time, for "ve" the noise, of the state itself. Differs
from the authors' code in the corrector; the levels of "ve" are theirs, for pictures in [0, 1], and ours in [-1, 1].
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mezzotint import samplers
from mezzotint.bridges import named
from mezzotint.conditioning.droppable import droppable
from mezzotint.conditioning.low_resolution import LowResolution
from mezzotint.domains.pixel import Pixel
from mezzotint.methods.presets import SMALL_UNET, pick, settle
from mezzotint.methods.recipe import Recipe, log_ratio, node, on_grid, shrink_noise
from mezzotint.networks import table as networks
from mezzotint.objectives import Objective, Uniform

_STEPS = {"sampler": "reverse-diffusion", "corrections": 1, "ratio": 0.16}
_OPTIONS = {"channels": 3, "sde": "vp", **_STEPS, "norm": "l2", "told": "released", "drop": 0.0}
_NCSNPP = {**networks.published("ncsnpp"), "dropout": 0.1}
_DDPMPP = {**_NCSNPP, "filtered": False, "pyramid": False, "told": "time"}
PRESETS: dict[str, dict[str, Any]] = {
    "small": {**_OPTIONS, "told": "ratio", "network": SMALL_UNET},
    "official": {**_OPTIONS, "sampler": "euler-maruyama", "corrections": 0, "network": _DDPMPP},
    "official-ve": {**_OPTIONS, "sde": "ve", "network": _NCSNPP},
}


def build(*, scale: float = 4, preset: str = "small", config: Mapping[str, Any] | None = None) -> Recipe:
    """Return the method untrained; `config` changes settings of the preset, UsageError for those it does not have."""
    settings = settle(PRESETS, method="sde-sr", preset=preset, changes=config)
    conditioning, channels = droppable(LowResolution(), drop=settings["drop"]), settings["channels"]
    bridge = named(pick("sde", settings["sde"], {"vp": "vp-sde", "sub-vp": "sub-vp-sde", "ve": "ve-sde"}))
    ratio, exploding = pick("told", settings["told"], {"ratio": True, "released": False}), settings["sde"] == "ve"
    return Recipe(
        name="sde-sr",
        scale=scale,
        preset=preset,
        config=settings,
        network=networks.build(settings["network"], in_channels=conditioning.channels(channels), out_channels=channels),
        bridge=bridge,
        domain=Pixel(),
        conditioning=conditioning,
        objective=Objective(norm=settings["norm"], times=Uniform(1e-5)),
        walk=on_grid(bridge),
        step=samplers.build(settings["sampler"], bridge=bridge),
        after=samplers.corrections(steps=settings["corrections"], ratio=settings["ratio"]),
        level=log_ratio if ratio or exploding else node,
        input_scale=shrink_noise if ratio and exploding else None,
        channels=channels,
        steps_default=100,
    )
