"""An unconditional denoiser of photographs at all noise levels: the prior of the zero-shot solvers.

As `methods.shared`, without a small picture: E[y | signal-to-noise ratio], preconditioned as in Karras et al. 2022
(arXiv 2206.00364, table 1) for pictures in [-1, 1] of deviation 0.5, in a local network (`networks.local_unet`), so
that pictures of any size are denoised in tiles. What a local network knows of a large picture ends with its reach: at
high noise its estimate is a blur of that size. Scale 1: `sample` draws a picture as large as x, of which it takes the
size. The other presets are networks of others (`methods.foreign_prior`), whose weights are converted.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from mezzotint import schedules
from mezzotint.bridges import VP, Bridge
from mezzotint.conditioning.nothing import Nothing
from mezzotint.domains.pixel import Pixel
from mezzotint.errors import UsageError
from mezzotint.images import tiles
from mezzotint.methods import foreign_prior
from mezzotint.methods.presets import settle
from mezzotint.methods.recipe import Recipe
from mezzotint.methods.shared import Shared, walk
from mezzotint.networks.local_unet import LocalUNet
from mezzotint.objectives import Objective
from mezzotint.samplers import Denoiser

_NETWORK = {"widths": (48, 96, 160), "blocks": 2, "patch": 2, "embedding": 64}
PRESETS: dict[str, dict[str, Any]] = {
    "small": {"channels": 3, "deviation": 0.5, "centre": -1.6, "spread": 1.6, "network": _NETWORK},
}


TILE = 512
"""Pixels a side of what the network sees at a time, without its surroundings: with gradients about a gigabyte."""


class Prior(Shared):
    """The method. Its network is asked by `of`, for states of any scalar bridge that does not lead to x.

    States that are larger than a tile with its surroundings (`network.reach`) are seen in tiles of `tile` pixels, which
    equal the whole to rounding; with gradients a tile is computed again when its own are asked for, so that memory is
    that of one tile.
    """

    tile: int = TILE

    def of(self, bridge: Bridge, *, like: Tensor) -> Denoiser:
        """The function (z, t) -> Estimate of states shaped like b c H W."""
        context = self.domain.context(like, size=(int(like.shape[-2]), int(like.shape[-1])))
        return self.denoiser(like, context=context, bridge=bridge)

    def pixels_seen(self, height: int, width: int) -> int:
        """How many pixels the network sees of a state of this size, the surroundings of tiles included."""
        windows = ((tile.window_rows, tile.window_columns) for tile in self._tiles(height, width))
        return sum((rows.stop - rows.start) * (columns.stop - columns.start) for rows, columns in windows)

    def _tiles(self, height: int, width: int) -> list[tiles.Tile]:
        reach, cell = int(self.network.reach), int(self.network.stride)  # pyright: ignore
        whole = max(height, width) <= self.tile + 2 * reach
        return tiles.plan(height, width, tile=None if whole else self.tile, halo=reach, cell=cell)

    def _center(self, x: Tensor, context: Any) -> Tensor:
        return torch.zeros(self.domain.shape(context), dtype=x.dtype, device=x.device)

    def _ask(self, z: Tensor, x: Tensor, level: Tensor) -> Tensor:
        parts = self._tiles(int(z.shape[-2]), int(z.shape[-1]))
        if len(parts) == 1:
            return self.network(z, level)
        rows: dict[int, list[Tensor]] = {}
        for tile in parts:
            window = z[..., tile.window_rows, tile.window_columns]
            # Without parameters that learn only the state can bear gradients.
            bears = torch.is_grad_enabled() and window.requires_grad
            out = _later(self.network, window, level) if bears else self.network(window, level)
            rows.setdefault(tile.rows.start, []).append(out[..., tile.inner[0], tile.inner[1]])
        return torch.cat([torch.cat(row, dim=-1) for row in rows.values()], dim=-2)


def _later(network: Callable[..., Tensor], window: Tensor, level: Tensor) -> Tensor:
    """The network's answer, computed a second time where its gradients are asked for; nothing in it is random."""
    out = checkpoint(network, window, level, use_reentrant=False, preserve_rng_state=False)
    assert isinstance(out, Tensor)
    return out


def build(*, scale: float = 1, preset: str = "small", config: Mapping[str, Any] | None = None) -> Recipe:
    """Return the prior untrained; `config` changes settings of the preset, UsageError for those it does not have."""
    if scale != 1:
        raise UsageError(f"scale {scale:g}: a prior keeps the size of pictures, it is built for scale 1")
    if preset in foreign_prior.PRESETS:
        return foreign_prior.build(preset=preset, config=config)
    settings = settle(PRESETS, method="prior", preset=preset, changes=config)
    return Prior(
        name="prior",
        scale=scale,
        preset=preset,
        config=settings,
        network=LocalUNet(channels=settings["channels"], **settings["network"]),
        bridge=VP(schedules.cosine(1000)),
        domain=Pixel(),
        conditioning=Nothing(),
        objective=Objective(kind="y", norm="l2"),
        walk=walk,
        channels=settings["channels"],
        deviation=settings["deviation"],
        centre=settings["centre"],
        spread=settings["spread"],
        steps_default=100,
    )
