"""SRDiff: diffuse the doubled residual of the bicubic enlargement, conditioned on features of the small picture.

Li et al., "SRDiff: Single Image Super-Resolution with Diffusion Probabilistic Models", arXiv 2104.14951: cosine
schedule of 100 steps, an L1 loss on the noise, the smaller variance, estimates clipped to [-1, 1]. Differs from the
authors' code in the encoder (`conditioning.features`), in the enlargement of x as it is, without their bias of 1/256,
and in the U-Net (`networks.unet`, SR3's, with normalisation).
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
from mezzotint.networks.unet import UNet
from mezzotint.objectives import Objective

PRESETS: dict[str, dict[str, Any]] = {
    "small": {
        "channels": 3, "gain": 2.0, "sampler": "ancestral", "norm": "l1", "drop": 0.0,
        "encoder": {"blocks": 2, "features": 16, "growth": 8, "width": 8},
        "network": SMALL_UNET,
    },
}  # fmt: skip


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
        network=UNet(in_channels=conditioning.channels(channels), out_channels=channels, **settings["network"]),
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
