"""Every network that predicts for a recipe, by the name that presets and cards give it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from difflib import get_close_matches
from inspect import signature
from typing import Any

from torch import nn

from mezzotint.errors import UsageError
from mezzotint.networks.adm import ADM
from mezzotint.networks.convnext_unet import ConvNeXtUNet
from mezzotint.networks.ddpm import DDPMUNet
from mezzotint.networks.mish_unet import MishUNet
from mezzotint.networks.ncsnpp import NCSNpp
from mezzotint.networks.refinenet import RefineNet
from mezzotint.networks.swin_unet import SwinUNet
from mezzotint.networks.unet import UNet
from mezzotint.networks.unet2d import UNet2D

NETWORKS: dict[str, Callable[..., nn.Module]] = {
    "sr3": UNet,
    "ddpm": DDPMUNet,
    "refinenet": RefineNet,
    "ncsnpp": NCSNpp,
    "adm": ADM,
    "swin": SwinUNet,
    "mish": MishUNet,
    "convnext": ConvNeXtUNet,
    "unet2d": UNet2D,
}
"""Called with `in_channels`, `out_channels` and the settings of a preset; maps (b in_channels H W, level b) to
b out_channels H W for any H and W of 1 or more."""


def published(kind: str) -> dict[str, Any]:
    """The settings of the published network of that name, `kind` among them, which a preset may change key by key.

    They are the defaults of its class, apart from the channels in and out.
    """
    defaults = {name: value.default for name, value in signature(NETWORKS[kind]).parameters.items()}
    return {"kind": kind, **{name: value for name, value in defaults.items() if not name.endswith("_channels")}}


def build(settings: Mapping[str, Any], *, in_channels: int, out_channels: int) -> nn.Module:
    """The network of a preset's settings; `kind` is its name, "sr3" unless given.

    UsageError for a name that is not there, and for settings that the network cannot have.
    """
    own = dict(settings)
    kind = own.pop("kind", "sr3")
    if kind not in NETWORKS:
        near = get_close_matches(str(kind), NETWORKS, n=1)
        way = f"did you mean {near[0]!r}?" if near else f"use one of {', '.join(NETWORKS)}"
        raise UsageError(f"network {kind!r} is unknown: {way}")
    return NETWORKS[kind](in_channels=in_channels, out_channels=out_channels, **own)
