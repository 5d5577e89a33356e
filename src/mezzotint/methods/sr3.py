"""SR3: diffuse pixels, conditioned on the bicubic enlargement, with a continuous noise level.

Saharia et al., "Image Super-Resolution via Iterative Refinement", arXiv 2104.07636, sections 2.1 to 2.4. `levels`:
"paper" draws gamma uniformly between neighbours of the schedule; "released" draws sqrt(gamma), as the PyTorch
reimplementation does, but anew for every item, not once a batch. `variance`: "paper" steps with the added variance and
clips nothing, which needs a well trained network (an error of the noise at t = 1 counts 151 times in the picture);
"released" steps with the posterior's and clips the estimate to [-1, 1]. Differs from the paper in the U-Net
(`networks.unet`) and in the schedules of sampling, which are not searched (`schedules.sr3`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mezzotint import schedules
from mezzotint.bridges import VP
from mezzotint.conditioning.droppable import droppable
from mezzotint.conditioning.low_resolution import LowResolution
from mezzotint.domains.pixel import Pixel
from mezzotint.methods.presets import SMALL_UNET, pick, settle
from mezzotint.methods.recipe import Recipe
from mezzotint.networks.unet import UNet, initialise_orthogonal
from mezzotint.objectives import Objective, Times

_LEVELS: dict[str, Times] = {"paper": "uniform-power", "released": "uniform"}
_OPTIONS = {
    "channels": 3, "levels": "paper", "variance": "released", "norm": "l1", "drop": 0.0, "initial": "orthogonal",
}  # fmt: skip
_FACES = {"channels": 64, "multipliers": (1, 2, 4, 8, 8), "blocks": 2, "groups": 32, "dropout": 0.2}
_LARGE = {"channels": 64, "multipliers": (1, 2, 4, 8, 16), "blocks": 1, "groups": 16, "dropout": 0.0}
PRESETS: dict[str, dict[str, Any]] = {
    "small": {**_OPTIONS, "network": SMALL_UNET},
    "official": {**_OPTIONS, "network": {**_FACES, "attention": (3,), "middle_attention": True}},
    "official-512": {**_OPTIONS, "network": {**_LARGE, "attention": (), "middle_attention": True}},
}


def build(*, scale: float = 4, preset: str = "small", config: Mapping[str, Any] | None = None) -> Recipe:
    """Return SR3 untrained; `config` changes settings of the preset, UsageError for those it does not have."""
    settings = settle(PRESETS, method="sr3", preset=preset, changes=config)
    conditioning, channels = droppable(LowResolution(), drop=settings["drop"]), settings["channels"]
    network = UNet(in_channels=conditioning.channels(channels), out_channels=channels, **settings["network"])
    if pick("initial", settings["initial"], {"default": False, "orthogonal": True}):
        initialise_orthogonal(network)
    paper = pick("variance", settings["variance"], {"paper": True, "released": False})
    return Recipe(
        name="sr3",
        scale=scale,
        preset=preset,
        config={**settings, "initial": "default"},  # loaded weights need no costly start
        network=network,
        bridge=VP(schedules.sr3()),
        domain=Pixel(),
        conditioning=conditioning,
        objective=Objective(norm=settings["norm"], times=pick("levels", settings["levels"], _LEVELS)),
        walk=walk,
        large_variance=paper,
        clip=not paper,
        channels=channels,
        steps_default=100,
    )


def walk(steps: int) -> tuple[VP, tuple[float, ...]]:
    """The process and the grid of sampling: SR3's schedule of that many steps, every step taken."""
    bridge = VP(schedules.sr3(steps))
    return bridge, bridge.grid(steps)
