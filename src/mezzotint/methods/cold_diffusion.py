"""Cold Diffusion: undo a loss of resolution in steps, without noise.

Bansal et al., "Cold Diffusion: Inverting Arbitrary Image Transforms Without Noise", arXiv 2208.09392, section 5.3:
`bridges.Pixelate` with one degradation a factor of 2, an L1 loss on y, algorithm 2 (`sampler` "cold1" is algorithm 1).
The start is the small picture with its pixels repeated, which is not the last degradation of the paper: that one
shrinks without antialiasing, so that blocks stay. With `antialias`, as in the small preset, it nearly is. `official`
has their network (`networks.convnext_unet`). Differs from the authors' code in times between the degradations
(`bridges.Cold`), so that any number of steps can be walked, and in the extension of sides that 2^steps does not divide.
The small preset has SR3's U-Net.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from mezzotint import samplers
from mezzotint.bridges import Cold, Pixelate
from mezzotint.conditioning.nothing import Nothing
from mezzotint.domains.nearest import Nearest
from mezzotint.errors import UsageError
from mezzotint.methods.presets import SMALL_UNET, settle
from mezzotint.methods.recipe import Recipe, node, on_grid
from mezzotint.networks import table as networks
from mezzotint.objectives import Objective

_OPTIONS = {"channels": 3, "sampler": "cold2", "norm": "l1"}
PRESETS: dict[str, dict[str, Any]] = {
    "small": {**_OPTIONS, "antialias": True, "network": SMALL_UNET},
    "official": {**_OPTIONS, "antialias": False, "network": networks.published("convnext")},
}


def build(*, scale: float = 4, preset: str = "small", config: Mapping[str, Any] | None = None) -> Recipe:
    """Return the method untrained; `config` changes settings of the preset.

    UsageError for settings that it does not have, and for a scale that is no power of two.
    """
    settings = settle(PRESETS, method="cold-diffusion", preset=preset, changes=config)
    if scale not in (2, 4, 8, 16):
        raise UsageError(f"scale {scale}: cold-diffusion halves the picture again and again: use 2, 4, 8 or 16")
    conditioning, channels = Nothing(), settings["channels"]
    bridge = Cold(Pixelate(int(math.log2(scale)), antialias=settings["antialias"]))
    return Recipe(
        name="cold-diffusion",
        scale=scale,
        preset=preset,
        config=settings,
        network=networks.build(settings["network"], in_channels=conditioning.channels(channels), out_channels=channels),
        bridge=bridge,
        domain=Nearest(int(scale)),
        conditioning=conditioning,
        objective=Objective(kind="y", norm=settings["norm"], times="uniform"),
        walk=on_grid(bridge),
        step=samplers.build(settings["sampler"], bridge=bridge),
        level=node,
        channels=channels,
        steps_default=bridge.nodes,
    )
