"""DiWa: diffuse the residual of a learned prediction in Haar bands of half the size.

Moser et al., "Waving Goodbye to Low-Res: A Diffusion-Wavelet Approach for Image Super-Resolution", arXiv 2304.01994.
SR3's noise levels (uniform in sqrt(gamma)), an L1 loss on the noise, which also trains the predictor through the state,
the larger variance, estimates clipped to [-1, 1]. `official` has the networks for DIV2K, `official-faces` those for
CelebA-HQ: the published numbers of parameters are those without attention and with a level without sines. Differs from
the authors' code in that few steps use a schedule that ends where the long one does (`sr3.walk`), and in that odd sizes
are extended and cut instead of resized; `small` is told log(s / a) / 4, as small levels look alike as amplitudes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mezzotint import samplers, schedules
from mezzotint.bridges import VP
from mezzotint.conditioning.lifted import Lifted
from mezzotint.domains.wavelet import WaveletResidual
from mezzotint.methods.presets import SMALL_UNET, pick, settle
from mezzotint.methods.recipe import LEVELS, Recipe
from mezzotint.methods.sr3 import walk
from mezzotint.networks.unet import UNet
from mezzotint.objectives import Objective

_OPTIONS = {"channels": 3, "sampler": "ancestral", "norm": "l1", "level": "amplitude"}
_DIV2K = {"channels": 48, "multipliers": (1, 2, 2, 4), "blocks": 2, "groups": 12, "dropout": 0.0}
_FACES = {"channels": 64, "multipliers": (1, 2, 4, 8, 8), "blocks": 2, "groups": 32, "dropout": 0.2}
_PLAIN = {"attention": (), "middle_attention": False, "sines": False}
_SMALL = {**SMALL_UNET, "sines": True, "patch": 2}
PRESETS: dict[str, dict[str, Any]] = {
    "small": {**_OPTIONS, "level": "log-ratio", "predictor": {"width": 16, "layers": 4}, "network": _SMALL},
    "official": {**_OPTIONS, "predictor": {"width": 64, "layers": 10}, "network": {**_DIV2K, **_PLAIN}},
    "official-faces": {**_OPTIONS, "predictor": {"width": 64, "layers": 10}, "network": {**_FACES, **_PLAIN}},
}


def build(*, scale: float = 4, preset: str = "small", config: Mapping[str, Any] | None = None) -> Recipe:
    """Return DiWa untrained; `config` changes settings of the preset, UsageError for those it does not have."""
    settings = settle(PRESETS, method="diwa", preset=preset, changes=config)
    conditioning, bands = Lifted(), 4 * settings["channels"]
    bridge = VP(schedules.sr3())
    return Recipe(
        name="diwa",
        scale=scale,
        preset=preset,
        config=settings,
        network=UNet(in_channels=conditioning.channels(bands), out_channels=bands, **settings["network"]),
        bridge=bridge,
        domain=WaveletResidual(channels=settings["channels"], **settings["predictor"]),
        conditioning=conditioning,
        objective=Objective(norm=settings["norm"], times="uniform"),
        walk=walk,
        step=samplers.build(settings["sampler"], bridge=bridge),
        level=pick("level", settings["level"], LEVELS),
        large_variance=True,
        clip=True,
        channels=settings["channels"],
        steps_default=100,
    )
