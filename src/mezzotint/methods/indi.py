"""InDI: walk a straight line from the small picture to the large one, in steps towards the estimate.

Delbracio and Milanfar, "Inversion by Direct Iteration", arXiv 2303.11435. The network sees the state alone and predicts
y on an L1 loss; the last time, t = 1, is drawn as often as all others together (`last` 1). `noise` and `decay` are
those of `bridges.InDI`: constant 0.01 by default, Brownian with decay 0.5. The authors published no code; the U-Net is
SR3's (`networks.unet`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mezzotint import samplers
from mezzotint.bridges import InDI
from mezzotint.conditioning.nothing import Nothing
from mezzotint.domains.pixel import Pixel
from mezzotint.methods.presets import SMALL_UNET, settle
from mezzotint.methods.recipe import Recipe, node, on_grid
from mezzotint.networks.unet import UNet
from mezzotint.objectives import Objective, Uniform

PRESETS: dict[str, dict[str, Any]] = {
    "small": {
        "channels": 3, "noise": 0.01, "decay": 0.0, "last": 1.0, "sampler": "indi", "norm": "l1",
        "network": SMALL_UNET,
    },
}  # fmt: skip


def build(*, scale: float = 4, preset: str = "small", config: Mapping[str, Any] | None = None) -> Recipe:
    """Return InDI untrained; `config` changes settings of the preset, UsageError for those it does not have."""
    settings = settle(PRESETS, method="indi", preset=preset, changes=config)
    conditioning, channels = Nothing(), settings["channels"]
    bridge = InDI(settings["noise"], settings["decay"])
    return Recipe(
        name="indi",
        scale=scale,
        preset=preset,
        config=settings,
        network=UNet(in_channels=conditioning.channels(channels), out_channels=channels, **settings["network"]),
        bridge=bridge,
        domain=Pixel(),
        conditioning=conditioning,
        objective=Objective(kind="y", norm=settings["norm"], times=Uniform(last=settings["last"])),
        walk=on_grid(bridge),
        step=samplers.build(settings["sampler"], bridge=bridge),
        level=node,
        channels=channels,
        steps_default=10,
    )
