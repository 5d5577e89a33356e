"""Score-based diffusion by stochastic equations, conditioned on the bicubic enlargement.

Song et al., "Score-Based Generative Modeling through Stochastic Differential Equations", arXiv 2011.13456. `sde`: "vp",
"sub-vp" or "ve". `sampler` predicts, by default by reverse diffusion, and `corrections` Langevin steps with the
signal-to-noise `ratio` follow each (0: none); a deterministic sampler without corrections ("heun", "ddim", "unipc2")
solves the probability-flow equation. The score is learned as the noise, -s times it, weighted by the variance; times
are above 1e-5. Differs from the authors' code in the U-Net (`networks.unet`, SR3's) and what it is told (log(s / a) / 4
and, for "ve", a state divided by sqrt(s^2 + 1)), and in the corrector (`samplers.LangevinCorrector`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mezzotint import samplers, schedules
from mezzotint.bridges import VE, VP, SubVP
from mezzotint.conditioning.droppable import droppable
from mezzotint.conditioning.low_resolution import LowResolution
from mezzotint.domains.pixel import Pixel
from mezzotint.methods.presets import SMALL_UNET, pick, settle
from mezzotint.methods.recipe import Recipe, log_ratio, on_grid, shrink_noise
from mezzotint.networks.unet import UNet
from mezzotint.objectives import Objective, Uniform

_LINEAR = schedules.LinearSDE()
_BRIDGES = {"vp": VP(_LINEAR), "sub-vp": SubVP(_LINEAR), "ve": VE(schedules.Geometric())}
PRESETS: dict[str, dict[str, Any]] = {
    "small": {
        "channels": 3, "sde": "vp", "sampler": "reverse-diffusion", "corrections": 1, "ratio": 0.16, "norm": "l2",
        "drop": 0.0,
        "network": SMALL_UNET,
    },
}  # fmt: skip


def build(*, scale: float = 4, preset: str = "small", config: Mapping[str, Any] | None = None) -> Recipe:
    """Return the method untrained; `config` changes settings of the preset, UsageError for those it does not have."""
    settings = settle(PRESETS, method="sde-sr", preset=preset, changes=config)
    conditioning, channels = droppable(LowResolution(), drop=settings["drop"]), settings["channels"]
    bridge = pick("sde", settings["sde"], _BRIDGES)

    def correct(bridge, x_state, steps):
        factor = None if isinstance(bridge, VE) else samplers.retained(bridge, steps)
        return samplers.LangevinCorrector(
            bridge, x_state, ratio=settings["ratio"], steps=settings["corrections"], factor=factor
        )

    return Recipe(
        name="sde-sr",
        scale=scale,
        preset=preset,
        config=settings,
        network=UNet(in_channels=conditioning.channels(channels), out_channels=channels, **settings["network"]),
        bridge=bridge,
        domain=Pixel(),
        conditioning=conditioning,
        objective=Objective(norm=settings["norm"], times=Uniform(1e-5)),
        walk=on_grid(bridge),
        step=samplers.build(settings["sampler"], bridge=bridge),
        after=correct if settings["corrections"] else None,
        level=log_ratio,
        input_scale=shrink_noise if isinstance(bridge, VE) else None,
        channels=channels,
        steps_default=100,
    )
