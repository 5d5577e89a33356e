"""deepinv's side; imported in its own environment only."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import deepinv  # pyright: ignore[reportMissingImports]
import numpy as np
import torch
from benchmarks.zero_shot_peers.cases import DIFFPIR, DPS
from benchmarks.zero_shot_peers.ours import published_levels, score_weight
from benchmarks.zero_shot_peers.problems import SCALE, Task, filter_of
from torch import Tensor, nn

from mezzotint import schedules
from mezzotint.bridges import VE
from mezzotint.operators.diagonal import Mask
from mezzotint.operators.separable import Separable

_HIGHEST = 1000.0


class Denoiser(nn.Module):
    """Our prior as deepinv asks one: pictures in [0, 1] and the deviation of their noise."""

    def __init__(self, prior: Any) -> None:
        super().__init__()
        self.prior, self.bridge = prior, VE(schedules.Proportional(high=_HIGHEST))

    def forward(self, x: Tensor, sigma: Tensor | float, **_: Any) -> Tensor:
        level = 2.0 * float(sigma)
        return (self.prior.of(self.bridge, like=x)(2.0 * x - 1.0, level / _HIGHEST).y + 1.0) / 2.0


def physics_of(task: Task, *, size: tuple[int, int], channels: int = 3) -> Any:
    """deepinv's operator of a task, with its noise."""
    noise, shape, operator = deepinv.physics.GaussianNoise(task.sigma), (channels, *size), task.operator(*size)
    if isinstance(operator, Separable):
        return deepinv.physics.Downsampling(
            img_size=shape, filter=filter_of(operator).float(), factor=SCALE, padding="circular", noise_model=noise
        )
    if isinstance(operator, Mask):
        mask = operator.values.float().expand(shape).clone()
        return deepinv.physics.Inpainting(img_size=shape, mask=mask, noise_model=noise)
    return deepinv.physics.Denoising(noise_model=noise)


def model_of(solver: str, values: Mapping[str, Any], denoiser: Denoiser, numbers: int) -> Any:
    """deepinv's solver with a row of settings; what is not named is its default."""
    if solver == "DiffPIR":
        # |A u - x|^2 / sigma^2 + weight |u - y|^2 / level^2 is its lambda = 2 weight: it has sigma of [0, 1] and the
        # level of [-1, 1], and halves the step of the proximal operator.
        return deepinv.sampling.DiffPIR(
            denoiser, deepinv.optim.data_fidelity.L2(), max_iter=DIFFPIR, zeta=values["zeta"],
            lambda_=2.0 * values["weight"],
        )  # fmt: skip
    if solver == "DPS":
        # Its count is that of the times, one more than of the steps between them.
        return deepinv.sampling.DPS(denoiser, num_steps=DPS + 1, weight=score_weight(values, numbers))
    levels = published_levels(values["count"]) if values["levels"] == "published" else None
    return deepinv.sampling.DDRM(
        denoiser, sigmas=np.linspace(1, 0, values["count"]) if levels is None else np.array(levels)
    )


class Side:
    """Restores measurements with one prior."""

    name = "deepinv"

    def __init__(self, prior: Any) -> None:
        self.denoiser = Denoiser(prior)

    def prepare(self, solver: str, values: Mapping[str, Any], task: Task, x: Tensor, *, size: tuple[int, int]) -> Any:
        """Return a function of a seed that returns the restored pictures in [0, 1]."""
        physics = physics_of(task, size=size, channels=x.shape[1])
        model = model_of(solver, values, self.denoiser, x[0].numel())

        def run(seed: int) -> Tensor:
            torch.manual_seed(seed)
            # A copy: its DDRM divides the measurement where it lies.
            return model(x.clone(), physics).detach().to(x.dtype)

        return run
