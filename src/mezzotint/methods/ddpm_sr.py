"""DDPM for super-resolution: the first diffusion model, conditioned on the bicubic enlargement.

Ho et al., "Denoising Diffusion Probabilistic Models", arXiv 2006.11239: linear schedule of 1000 steps, L_simple, the
larger variance, estimates clipped to [-1, 1]; any of the samplers may walk fewer steps (`sampler`). A share `drop` of
the training pictures is learned without the condition, for classifier-free guidance (Ho and Salimans, arXiv
2207.12598). `official` has the network for CIFAR-10, `official-256` that for LSUN and CelebA-HQ: theirs but for the
first convolution, which sees x too. Differs from the authors' code in the condition; the small preset has SR3's U-Net
and the smaller variance, as the larger one leaves noise in few steps (Nichol and Dhariwal, arXiv 2102.09672).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mezzotint import samplers, schedules
from mezzotint.bridges import VP
from mezzotint.conditioning.droppable import droppable
from mezzotint.conditioning.low_resolution import LowResolution
from mezzotint.domains.pixel import Pixel
from mezzotint.methods.presets import SMALL_UNET, pick, settle
from mezzotint.methods.recipe import Recipe, node, on_grid
from mezzotint.networks import table as networks
from mezzotint.objectives import Objective

_OPTIONS = {"channels": 3, "sampler": "ancestral", "variance": "large", "norm": "l2", "weight": "none", "drop": 0.0}
_CIFAR = {**networks.published("ddpm"), "dropout": 0.1}
_LSUN = {**networks.published("ddpm"), "multipliers": (1, 1, 2, 2, 4, 4), "attention": (4,)}
PRESETS: dict[str, dict[str, Any]] = {
    "small": {**_OPTIONS, "variance": "small", "drop": 0.1, "network": SMALL_UNET},
    "official": {**_OPTIONS, "network": _CIFAR},
    "official-256": {**_OPTIONS, "network": _LSUN},
}


def build(*, scale: float = 4, preset: str = "small", config: Mapping[str, Any] | None = None) -> Recipe:
    """Return the method untrained; `config` changes settings of the preset, UsageError for those it does not have."""
    settings = settle(PRESETS, method="ddpm-sr", preset=preset, changes=config)
    conditioning, channels = droppable(LowResolution(), drop=settings["drop"]), settings["channels"]
    bridge = VP(schedules.linear(1000))
    return Recipe(
        name="ddpm-sr",
        scale=scale,
        preset=preset,
        config=settings,
        network=networks.build(settings["network"], in_channels=conditioning.channels(channels), out_channels=channels),
        bridge=bridge,
        domain=Pixel(),
        conditioning=conditioning,
        objective=Objective(norm=settings["norm"], times="discrete", weight=settings["weight"]),
        walk=on_grid(bridge, spacing="trailing"),
        step=samplers.build(settings["sampler"], bridge=bridge),
        level=node,
        large_variance=pick("variance", settings["variance"], {"large": True, "small": False}),
        clip=True,
        channels=channels,
        steps_default=100,
    )
