"""ResShift: shift the residual between the large and the enlarged small picture, in few steps.

Yue et al., "ResShift: Efficient Diffusion Model for Image Super-resolution by Residual Shifting", arXiv 2307.12348,
equations 1 to 9. The network predicts y, on an unweighted squared error, from z / sqrt(kappa^2 eta + 1). `schedule`: 15
or 4 steps, whose nodes are trained; fewer of them may be walked. `official` has their network (`networks.swin_unet`).
Differs from the authors' code in that pixels are diffused, beside the enlarged x, instead of a latent code of a quarter
of the sides beside x: the same numbers of channels and parameters at 16 times the positions. The small preset has SR3's
U-Net.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mezzotint import samplers
from mezzotint.bridges import ResShift
from mezzotint.conditioning.low_resolution import LowResolution
from mezzotint.domains.pixel import Pixel
from mezzotint.methods.presets import SMALL_UNET, pick, settle
from mezzotint.methods.recipe import Recipe, node, on_grid, shrink_noise
from mezzotint.networks import table as networks
from mezzotint.objectives import Objective

_SCHEDULES = {15: ResShift(15, min_noise=0.04), 4: ResShift(4, min_noise=0.2)}
_OPTIONS = {"channels": 3, "schedule": 15, "sampler": "ancestral", "norm": "l2"}
PRESETS: dict[str, dict[str, Any]] = {
    "small": {**_OPTIONS, "network": SMALL_UNET},
    "official": {**_OPTIONS, "network": networks.published("swin")},
}


def build(*, scale: float = 4, preset: str = "small", config: Mapping[str, Any] | None = None) -> Recipe:
    """Return ResShift untrained; `config` changes settings of the preset, UsageError for those it does not have."""
    settings = settle(PRESETS, method="resshift", preset=preset, changes=config)
    conditioning, channels = LowResolution(), settings["channels"]
    bridge = pick("schedule", settings["schedule"], _SCHEDULES)
    return Recipe(
        name="resshift",
        scale=scale,
        preset=preset,
        config=settings,
        network=networks.build(settings["network"], in_channels=conditioning.channels(channels), out_channels=channels),
        bridge=bridge,
        domain=Pixel(),
        conditioning=conditioning,
        objective=Objective(kind="y", norm=settings["norm"], times="discrete"),
        walk=on_grid(bridge, spacing="trailing"),
        step=samplers.build(settings["sampler"], bridge=bridge),
        level=node,
        input_scale=shrink_noise,
        channels=channels,
        steps_default=bridge.nodes,
    )
