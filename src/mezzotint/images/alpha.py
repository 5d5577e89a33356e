"""Transparency: colours that were never meant to be seen must not colour what is."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

REACH = 24
"""Pixels that colours are bled into fully transparent areas: further than the predictors look."""


def bleed(colour: Tensor, alpha: Tensor) -> Tensor:
    """`colour` (b c h w) with the pixels where `alpha` (b 1 h w) is 0 coloured from the visible ones around them.

    Ring by ring, up to `REACH` pixels away from the nearest visible pixel, a transparent pixel takes the mean of its
    neighbours of the ring before; those further away keep their colour. An edge between a visible colour and the
    arbitrary one under full transparency would otherwise be sharpened into a halo. Local: a pixel depends on `REACH`
    pixels to each side.
    """
    known = (alpha > 0).to(colour.dtype)
    if bool(known.all()) or not bool(known.any()):
        return colour
    result = colour * known
    for _ in range(REACH):
        # A mean over 3 x 3 counts the border's missing neighbours as unknown.
        weight = F.avg_pool2d(known, 3, stride=1, padding=1)
        mean = F.avg_pool2d(result, 3, stride=1, padding=1)
        ring = (weight > 0) & (known == 0)
        if not bool(ring.any()):
            break
        result = torch.where(ring, mean / weight.clamp_min(1e-12), result)
        known = torch.maximum(known, ring.to(known.dtype))
    return torch.where(known > 0, result, colour)
