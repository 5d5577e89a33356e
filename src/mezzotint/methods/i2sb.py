"""I2SB: a Brownian bridge from the large picture to the enlarged small one, which is its exact end.

Liu et al., "I2SB: Image-to-Image Schrödinger Bridge", arXiv 2302.05872, equations 11 to 13. The network predicts
(z - y) / sqrt(f) with the Brownian variance f; `condition` "low-resolution" shows it x too, which the authors leave
out by default. `path` "ot-ode" is the bridge without noise: straight lines, on which the network predicts x - y.
`official` has their network, ADM's (`networks.adm`). Differs from the authors' code in clean ends of the schedule
(`bridges.Pinned`), in OT-ODE's clock, which is time itself, and in weights that start from nothing, theirs from those
of ADM. The small preset has SR3's U-Net.
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
from mezzotint.networks import table as networks
from mezzotint.objectives import Objective

_OPTIONS = {"channels": 3, "path": "bridge", "condition": "none", "sampler": "ancestral", "norm": "l2"}
PRESETS: dict[str, dict[str, Any]] = {
    "small": {**_OPTIONS, "network": SMALL_UNET},
    "official": {**_OPTIONS, "network": networks.published("adm")},
}


def build(*, scale: float = 4, preset: str = "small", config: Mapping[str, Any] | None = None) -> Recipe:
    """Return I2SB untrained; `config` changes settings of the preset, UsageError for those it does not have."""
    settings = settle(PRESETS, method="i2sb", preset=preset, changes=config)
    channels = settings["channels"]
    conditioning = pick("condition", settings["condition"], {"none": Nothing(), "low-resolution": LowResolution()})
    noisy = pick("path", settings["path"], {"bridge": True, "ot-ode": False})
    bridge = Pinned.i2sb() if noisy else Pinned(0.0)
    kind, times = ("i2sb", "discrete") if noisy else ("flow", "uniform")
    return Recipe(
        name="i2sb",
        scale=scale,
        preset=preset,
        config=settings,
        network=networks.build(settings["network"], in_channels=conditioning.channels(channels), out_channels=channels),
        bridge=bridge,
        domain=Nearest(),
        conditioning=conditioning,
        objective=Objective(kind=kind, norm=settings["norm"], times=times),
        walk=on_grid(bridge, spacing="trailing" if noisy else "uniform"),
        step=samplers.build(settings["sampler"], bridge=bridge),
        level=node,
        channels=channels,
        steps_default=10,
    )
