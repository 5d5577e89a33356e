"""SRDiff: diffuse the doubled residual of the bicubic enlargement, conditioned on features of the small picture.

Li et al., "SRDiff: Single Image Super-Resolution with Diffusion Probabilistic Models", arXiv 2104.14951: cosine
schedule of 100 steps, an L1 loss on the noise, the smaller variance, estimates clipped to [-1, 1]. Differs from the
authors' code in the encoder (`conditioning.features`), which learns together with the network instead of before it,
and in the enlargement of x as it is, without their bias of 1/256. `official` has the networks for DF2K and scale 4,
`official-faces` those for CelebA and scale 8; the small preset has SR3's U-Net (`networks.unet`, with normalisation).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mezzotint import samplers, schedules
from mezzotint.bridges import VP
from mezzotint.conditioning.droppable import droppable
from mezzotint.conditioning.features import DenseFeatures
from mezzotint.domains.residual import Residual
from mezzotint.methods.presets import SMALL_UNET, settle
from mezzotint.methods.recipe import Recipe, node, on_grid
from mezzotint.networks import table as networks
from mezzotint.objectives import Objective

_OPTIONS = {"channels": 3, "gain": 2.0, "sampler": "ancestral", "norm": "l1", "drop": 0.0}
_FEW = {"blocks": 2, "features": 16, "growth": 8, "width": 8}
_RRDB = {"blocks": 8, "features": 32, "growth": 16, "width": 64}
_FACES = {**networks.published("mish"), "multipliers": (1, 2, 2, 4)}
PRESETS: dict[str, dict[str, Any]] = {
    "small": {**_OPTIONS, "encoder": _FEW, "network": SMALL_UNET},
    "official": {**_OPTIONS, "encoder": _RRDB, "network": networks.published("mish")},
    "official-faces": {**_OPTIONS, "encoder": _RRDB, "network": _FACES},
}


def build(*, scale: float = 4, preset: str = "small", config: Mapping[str, Any] | None = None) -> Recipe:
    """Return SRDiff untrained; `config` changes settings of the preset, UsageError for those it does not have."""
    settings = settle(PRESETS, method="srdiff", preset=preset, changes=config)
    channels, bridge = settings["channels"], VP(schedules.cosine(100))
    encoder = DenseFeatures(scale=scale, channels=channels, **settings["encoder"])
    conditioning = droppable(encoder, drop=settings["drop"])
    return Recipe(
        name="srdiff",
        scale=scale,
        preset=preset,
        config=settings,
        network=networks.build(settings["network"], in_channels=conditioning.channels(channels), out_channels=channels),
        bridge=bridge,
        domain=Residual(settings["gain"]),
        conditioning=conditioning,
        objective=Objective(norm=settings["norm"], times="discrete"),
        walk=on_grid(bridge, spacing="trailing"),
        step=samplers.build(settings["sampler"], bridge=bridge),
        level=node,
        clip=True,
        channels=channels,
        steps_default=100,
    )
