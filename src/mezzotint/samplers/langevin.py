"""Langevin dynamics: the corrector of predictor-corrector samplers, and annealed Langevin, which owns its loop."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import torch
from torch import Tensor

from mezzotint.bridges import Bridge
from mezzotint.noise import NoiseSource
from mezzotint.samplers.coordinates import check_scalar, score
from mezzotint.samplers.loop import After, Denoiser, Move, Place
from mezzotint.schedules import check_grid

Form = Literal["survey", "released"]


@dataclass(frozen=True, eq=False)
class LangevinCorrector:
    """The corrector of predictor-corrector sampling, an `after` for `sample` (Song et al. 2021, algorithms 4 and 5).

    After each step down, `steps` times: z + e score + sqrt(2 e) eps, e = 2 c (ratio |eps| / |score|)^2, with one
    network evaluation each. The norms are those of a picture, so that pictures of a batch stay independent: differs
    from the authors' code, which averages them over the batch. `bridge` and `x_state` are those of the walk.
    `factor`: c as a function of the time r; 1, the default, is for variance-exploding bridges,
    `retained(bridge, steps)` for variance-preserving ones. `ratio` (0.16) is the signal-to-noise ratio of their
    CIFAR-10 configurations. The authors correct before they predict: theirs has one more correction, at the first
    time. The clean end is not corrected. Raises ValueError for a ratio or a number of steps that is not positive, or
    where the state has no noise.
    """

    bridge: Bridge
    x_state: Tensor | None = None
    ratio: float = 0.16
    steps: int = 1
    factor: Callable[[float], float] | None = None

    def __post_init__(self) -> None:
        if not 0.0 < self.ratio < math.inf:
            raise ValueError(f"ratio {self.ratio} of the Langevin corrector must be positive and finite")
        if isinstance(self.steps, bool) or int(self.steps) != self.steps or self.steps < 1:
            raise ValueError(f"steps {self.steps} of the Langevin corrector is not a whole number of 1 or more")

    def __call__(
        self, z: Tensor, r: float, denoise: Denoiser, noise: Callable[[], Tensor], carry: Any, /
    ) -> tuple[Tensor, Any]:
        if r == 0.0:
            return z, carry
        if self.bridge.coefficients(r)[2] == 0.0:
            raise ValueError(f"{type(self.bridge).__name__} has no noise at {r}, so no score: leave the corrector out")
        factor = 1.0 if self.factor is None else self.factor(r)
        for _ in range(self.steps):
            pull = score(self.bridge, z, denoise(z, r), self.x_state, r)
            eps = noise()
            length = _norm(pull)
            # A picture whose score vanishes is at a mode, where the rule would take an infinite step.
            size = 2.0 * factor * torch.where(length > 0.0, self.ratio * _norm(eps) / length, 0.0) ** 2
            z = z + size * pull + (2.0 * size).sqrt() * eps
        return z, carry


def retained(bridge: Bridge, steps: int) -> Callable[[float], float]:
    """c(r) = 1 - alpha of the step that ends at r on a table of `steps`: (a_r / a_(r - 1 / steps))^2.

    The factor per step, as in Song's code; readers of the paper take it for the cumulative product.
    """
    if isinstance(steps, bool) or int(steps) != steps or steps < 1:
        raise ValueError(f"steps {steps} is not a whole number of 1 or more")

    def factor(r: float) -> float:
        return (bridge.coefficients(r)[0] / bridge.coefficients(max(r - 1.0 / steps, 0.0))[0]) ** 2

    return factor


def corrections(*, steps: int, ratio: float) -> Callable[[Bridge, Tensor | None, int], After] | None:
    """What makes the corrector of a walk from its bridge, x_state and number of steps; None for 0 `steps`.

    A `LangevinCorrector` with the factor `retained` of each step, which is 1 on variance-exploding bridges.
    """
    if steps == 0:
        return None
    return lambda bridge, x_state, walked: LangevinCorrector(
        bridge, x_state, ratio=ratio, steps=steps, factor=retained(bridge, walked)
    )


def langevin_step(z: Tensor, pull: Tensor, eps: Tensor, *, size: float, form: Form = "survey") -> Tensor:
    """One step of Langevin dynamics, all fields of one shape; `pull` is the score at z.

    `survey`: z + (size / 2) score + sqrt(size) eps (Moser et al., rule 2 of annealed Langevin, and Song and Ermon 2019
    as printed). `released`: z + size score + sqrt(2 size) eps, the code of NCSN and NCSNv2: twice the step for the same
    number. On N(0, v) the chain's own variance is v / (1 - size / 4 v) in the survey's form, above v, and it diverges
    for size > 4 v.
    """
    if form not in get_args(Form):
        raise ValueError(f"form {form!r} of Langevin dynamics is neither 'survey' nor 'released'")
    step = size if form == "released" else 0.5 * size
    return z + step * pull + math.sqrt(2.0 * step) * eps


def annealed_langevin(
    denoise: Denoiser,
    *,
    bridge: Bridge,
    noise: NoiseSource,
    grid: Sequence[float],
    x_state: Tensor | None = None,
    shape: Sequence[int] | None = None,
    start: Tensor | None = None,
    callback: Callable[[Move], None] | None = None,
    origin: tuple[int, int] = (0, 0),
    dtype: torch.dtype | None = None,
    device: torch.device | str | None = None,
    differentiable: bool = False,
    rate: float = 2e-5,
    repeats: int = 100,
    form: Form = "released",
) -> Tensor:
    """The state after annealed Langevin dynamics over the noise levels of `grid` (Song and Ermon 2019, algorithm 1).

    Level by level, `repeats` times `langevin_step` with size rate (sigma / sigma_last)^2, in the variance-exploding
    state (z - b x) / a with sigma = s / a, which serves every scalar bridge; sigma_last is the last level above 0. The
    step to 0 at the end of the grid is the final denoising of NCSNv2, one evaluation more; a grid that ends above 0 has
    none, and the result is then the noisy state at its last time. `form`: `released` or `survey`, see `langevin_step`.
    The defaults are those of NCSN's code; NCSNv2 has rates 6.2e-6 (CIFAR-10), 3.3e-6 (CelebA) with 5 repeats. Start:
    that of the bridge, N(0, sigma_1^2) for a variance-exploding one (NCSN: uniform in [0, 1], give `start`).

    Other arguments, the result and the streams of noise are those of `sample`. Raises ValueError for a grid that does
    not fall, a level without signal or without noise, and a rate or number of repeats that is not positive.
    """
    times = check_grid(grid)
    if not 0.0 < rate < math.inf:
        raise ValueError(f"rate {rate} of annealed Langevin must be positive and finite")
    if isinstance(repeats, bool) or int(repeats) != repeats or repeats < 1:
        raise ValueError(f"repeats {repeats} of annealed Langevin is not a whole number of 1 or more")
    if form not in get_args(Form):
        raise ValueError(f"form {form!r} of Langevin dynamics is neither 'survey' nor 'released'")
    check_scalar(bridge, name="annealed Langevin")
    levels = times[:-1] if times[-1] == 0.0 else times
    for t in levels:
        a, _, s = bridge.coefficients(t)
        if a == 0.0 or s == 0.0:
            raise ValueError(
                f"annealed Langevin needs signal and noise at every level, and {type(bridge).__name__} at {t} has "
                f"a = {a}, s = {s}: use times between its ends"
            )
    place = Place.of(
        noise=noise, x_state=x_state, shape=shape, start=start, origin=origin, dtype=dtype, device=device
    )
    draw = place.draws("step")
    a_last, _, s_last = bridge.coefficients(levels[-1])
    with contextlib.nullcontext() if differentiable else torch.no_grad():
        x_state = place.bring(x_state)
        z = place.begin(bridge, times[0], x_state, start)
        for index, t in enumerate(levels):
            a, _, s = bridge.coefficients(t)
            size = rate * (s / a * a_last / s_last) ** 2
            estimate = None
            for _ in range(repeats):
                estimate = denoise(z, t)
                # In the exploding state (z - b x) / a the score is a times that of z, and z moves a times as far.
                pull = a * score(bridge, z, estimate, x_state, t)
                z = z + a * langevin_step(torch.zeros_like(z), pull, draw(), size=size, form=form)
            r = times[index + 1] if index + 1 < len(times) else t
            if r == 0.0:
                estimate = denoise(z, t)
            if r < t:
                # The exploding state stays as it is from one level to the next.
                z = _rescale(bridge, z, x_state, t, r) if r > 0.0 else estimate.y.to(z.dtype)  # pyright: ignore[reportOptionalMemberAccess]
            if callback is not None:
                callback(Move(index=index, count=len(levels), t=t, r=r, z=z, estimate=estimate))
    return z


def _rescale(bridge: Bridge, z: Tensor, x_state: Tensor | None, t: float, r: float) -> Tensor:
    (a_t, _, _), (a_r, _, _) = bridge.coefficients(t), bridge.coefficients(r)
    nothing = torch.zeros_like(z)
    return bridge.mean(nothing, x_state, r) + a_r / a_t * (z - bridge.mean(nothing, x_state, t))


def _norm(field: Tensor) -> Tensor:
    """The norm of every picture, b 1 1 1."""
    return field.flatten(1).norm(dim=1).reshape(-1, *([1] * (field.dim() - 1)))
