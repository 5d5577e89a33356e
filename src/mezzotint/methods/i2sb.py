"""I2SB: a Brownian bridge from the large picture to the enlarged small one, which is its exact end.

Liu et al., "I2SB: Image-to-Image Schrödinger Bridge", arXiv 2302.05872, equations 11 to 13. The network predicts
(z - y) / sqrt(f) with the Brownian variance f; `condition` "low-resolution" shows it x too, which the authors leave
out by default. `path` "ot-ode" is the bridge without noise: straight lines, on which the network predicts x - y.
Differs from the authors' code in clean ends of the schedule (`bridges.Pinned`), in OT-ODE's clock, which is time
itself, and in the U-Net (`networks.unet`, SR3's).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mezzotint import samplers
from mezzotint.bridges import Pinned
from mezzotint.conditioning.low_resolution import LowResolution
from mezzotint.conditioning.nothing import Nothing
from mezzotint.domains.nearest import Nearest
from mezzotint.methods.presets import SMALL_UNET, pick, settle
from mezzotint.methods.recipe import Recipe, node, on_grid
from mezzotint.networks.unet import UNet
from mezzotint.objectives import Objective

PRESETS: dict[str, dict[str, Any]] = {
    "small": {
        "channels": 3, "path": "bridge", "condition": "none", "sampler": "ancestral", "norm": "l2",
        "network": SMALL_UNET,
    },
}  # fmt: skip


def build(*, scale: float = 4, preset: str = "small", config: Mapping[str, Any] | None = None) -> Recipe:
    """Return I2SB untrained; `config` changes settings of the preset, UsageError for those it does not have."""
    settings = settle(PRESETS, method="i2sb", preset=preset, changes=config)
    channels = settings["channels"]
    conditioning = pick("condition", settings["condition"], {"none": Nothing(), "low-resolution": LowResolution()})
    noisy = pick("path", settings["path"], {"bridge": True, "ot-ode": False})
    bridge = Pinned.i2sb() if noisy else Pinned(0.0)
    return Recipe(
        name="i2sb",
        scale=scale,
        preset=preset,
        config=settings,
        network=UNet(in_channels=conditioning.channels(channels), out_channels=channels, **settings["network"]),
        bridge=bridge,
        domain=Nearest(),
        conditioning=conditioning,
        objective=Objective(
            kind="i2sb" if noisy else "flow", norm=settings["norm"], times="discrete" if noisy else "uniform"
        ),
        walk=on_grid(bridge, spacing="trailing" if noisy else "uniform"),
        step=samplers.build(settings["sampler"], bridge=bridge),
        level=node,
        channels=channels,
        steps_default=10,
    )
