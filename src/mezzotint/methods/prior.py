"""An unconditional denoiser of photographs at all noise levels: the prior of the zero-shot solvers.

As `methods.shared`, without a small picture: E[y | signal-to-noise ratio], preconditioned as in Karras et al. 2022
(arXiv 2206.00364, table 1) for pictures in [-1, 1] of deviation 0.5, in a local network (`networks.local_unet`), so
that pictures of any size are denoised in tiles. What a local network knows of a large picture ends with its reach: at
high noise its estimate is a blur of that size. Scale 1: `sample` draws a picture as large as x, of which it takes the
size. The other presets are networks of others (`methods.foreign_prior`), whose weights are converted.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from mezzotint import schedules
from mezzotint.bridges import VE, VP, Bridge
from mezzotint.conditioning.nothing import Nothing
from mezzotint.domains.pixel import Pixel
from mezzotint.errors import UsageError
from mezzotint.images import tiles
from mezzotint.methods import foreign_prior
from mezzotint.methods.presets import settle
from mezzotint.methods.recipe import Recipe
from mezzotint.methods.shared import Shared, walk
from mezzotint.methods.stage import Stage
from mezzotint.networks.local_unet import LocalUNet
from mezzotint.objectives import Objective
from mezzotint.samplers import Denoiser
from mezzotint.zero_shot.error_spectrum import BINS, ErrorSpectrum, measure_spectrum

_NETWORK = {"widths": (48, 96, 160), "blocks": 2, "patch": 2, "embedding": 64}
PRESETS: dict[str, dict[str, Any]] = {
    "small": {"channels": 3, "deviation": 0.5, "centre": -1.6, "spread": 1.6, "network": _NETWORK},
}


LEVELS = (10.0, 3.0, 1.7, 1.0, 0.6, 0.35, 0.2, 0.12, 0.07, 0.04, 0.02, 0.01)
"""Noise levels s / a at which the errors of a prior are measured."""

TILE = 512
"""Pixels a side of what the network sees at a time, without its surroundings: with gradients about a gigabyte."""


class Prior(Shared):
    """The method. Its network is asked by `of`, for states of any scalar bridge that does not lead to x.

    States that are larger than a tile with its surroundings (`network.reach`) are seen in tiles of `tile` pixels, which
    equal the whole to rounding; with gradients a tile is computed again when its own are asked for, so that memory is
    that of one tile.
    """

    tile: int = TILE

    def __init__(self, **parts: Any) -> None:
        super().__init__(**parts)
        # Logarithms, which half precision holds; levels of 0 say that nothing was measured.
        self.register_buffer("error_levels", torch.zeros(1 + len(LEVELS)))
        self.register_buffer("error_logs", torch.zeros(1 + len(LEVELS), self.channels, BINS))

    @property
    def stages(self) -> tuple[Stage, ...]:
        """The one stage, `denoiser`; after it the errors are measured on pictures of the training."""
        (stage,) = super().stages
        return (replace(stage, finish=self.measure_errors),)

    @property
    def spectrum(self) -> ErrorSpectrum | None:
        """How far the denoiser is off, by noise level and frequency; None where that was not measured."""
        if not bool((self.error_levels > 0).all()):  # pyright: ignore
            return None
        return ErrorSpectrum(self.error_levels.double(), self.error_logs.double().exp())  # pyright: ignore

    def measure_errors(self, pairs: Iterable[tuple[Tensor, Tensor]]) -> None:
        """Measure `spectrum` on pictures y b c H W in [-1, 1] and keep it with the weights."""

        def denoise(z: Tensor, level: float) -> Tensor:
            # The first of two nodes, at half of the time, has the level.
            bridge = VE(schedules.geometric(2, low=level, high=2.0 * level))
            return self.of(bridge, like=z)(z, 0.5).y

        found = measure_spectrum(denoise, (y for y, _ in pairs), levels=LEVELS)
        self.error_levels.copy_(found.levels)  # pyright: ignore
        self.error_logs.copy_(found.power.log())  # pyright: ignore

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
