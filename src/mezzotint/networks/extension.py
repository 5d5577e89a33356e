"""Pictures of any size for networks that halve them: sides extended by mirroring."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def extend(z: Tensor, multiple: int) -> Tensor:
    """Extend b c h w at the bottom and the right to sides that are multiples of `multiple`.

    Mirrored without repeating the edge pixel, as often as a small picture needs; a side of one pixel repeats it.
    """
    for dim in (-2, -1):
        size = z.shape[dim]
        extra = -size % multiple
        if extra:
            period = max(1, 2 * (size - 1))
            # index_select, because torch's own reflection refuses more new pixels than there are old ones.
            places = torch.arange(size + extra, device=z.device) % period
            z = z.index_select(dim, torch.minimum(places, period - places) if size > 1 else places)
    return z


def mirror_edges(h: Tensor) -> Tensor:
    """Add one mirrored pixel on each of the four sides of b c h w; a side of one pixel repeats it."""
    rows, columns = h.shape[-2:]
    if rows > 1 and columns > 1:
        return F.pad(h, (1, 1, 1, 1), mode="reflect")
    h = F.pad(h, (1, 1, 0, 0), mode="reflect" if columns > 1 else "replicate")
    return F.pad(h, (0, 0, 1, 1), mode="reflect" if rows > 1 else "replicate")
