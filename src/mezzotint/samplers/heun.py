"""Heun's method for the probability-flow ODE, and EDM's churn."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from torch import Tensor

from mezzotint.bridges import Bridge
from mezzotint.samplers.coordinates import check_step, noise_level, time_of
from mezzotint.samplers.step import Estimate, Field, ddim
from mezzotint.schedules import check_grid

if TYPE_CHECKING:
    from mezzotint.samplers.loop import Denoiser, Step

_FAR = 1e-8


@dataclass(frozen=True)
class Heun:
    """Euler's step in the noise level, then the trapezoid (Karras et al. 2022, algorithm 1), for any scalar bridge.

    In the state u / a, u = z - b x, and sigma = s / a, with d = (z - a y_hat - b x) / s at both ends:
    z_r = DDIM's state + a_r (sigma_r - sigma_t) (d_r - d_t) / 2. Order 2, two evaluations a step. One evaluation, and
    DDIM's state, for a step to the clean end and for one from a time where a is 0 or below 1e-8 s, which is infinitely
    far; a pinned end is left by the bridge's own stochastic step. The noise level must fall by moderate factors: from a
    level in the thousands the trapezoid is worse than Euler's step. The loop hands it the denoiser by `bind`.
    """

    def evaluations(self, bridge: Bridge, t: float, r: float) -> int:
        """How often a step from t to r asks the network."""
        a, _, s = bridge.coefficients(t)
        return 1 if r == 0.0 or s == 0.0 or a <= _FAR * s else 2

    def bind(self, denoise: Denoiser) -> Step:
        """The step with the denoiser that it asks again at r."""
        return partial(self._step, denoise)

    def _step(
        self,
        denoise: Denoiser,
        bridge: Bridge,
        z: Tensor,
        estimate: Estimate,
        x_state: Tensor | None,
        t: float,
        r: float,
        noise: Field | None,
        carry: Any = None,
        /,
    ) -> tuple[Tensor, Any]:
        check_step(bridge, estimate, t, r, name="Heun's method")
        moved, _ = ddim(bridge, z, estimate, x_state, t, r, noise)
        if self.evaluations(bridge, t, r) == 1:
            return moved, carry
        (a_t, _, s_t), (a_r, _, s_r) = bridge.coefficients(t), bridge.coefficients(r)
        again = denoise(moved, r)
        before = (z - bridge.mean(estimate.y.to(z.dtype), x_state, t)) / s_t
        after = (moved - bridge.mean(again.y.to(z.dtype), x_state, r)) / s_r
        return moved + 0.5 * (s_r - a_r * s_t / a_t) * (after - before), carry


def churn(
    grid: Sequence[float],
    *,
    bridge: Bridge,
    amount: float,
    low: float = 0.0,
    high: float = math.inf,
) -> tuple[float, ...]:
    """The walk over `grid` that first raises the noise before steps, by moves up (Karras et al. 2022, algorithm 2).

    From every level sigma = s / a of the N steps with low <= sigma <= high the walk goes up to (1 + gamma) sigma,
    gamma = min(amount / N, sqrt(2) - 1). `amount` is EDM's S_churn; its S_noise is `renoise_scale` of `sample`. Differs
    from EDM where the level would rise above that of t = 1: the walk goes up to t = 1 only, and not at all from
    there. ValueError for a grid that does not fall, a negative amount, or low > high.
    """
    times = check_grid(grid)
    if not 0.0 <= amount < math.inf:
        raise ValueError(f"churn {amount} must be 0 or more and finite")
    if not 0.0 <= low <= high:
        raise ValueError(f"churn between noise levels {low} and {high}: the first must be the smaller, 0 or more")
    raised = 1.0 + min(amount / (len(times) - 1), math.sqrt(2.0) - 1.0)
    walk: list[float] = []
    for t in times[:-1]:
        walk.append(t)
        a, _, s = bridge.coefficients(t)
        if t == 1.0 or a == 0.0 or s == 0.0 or raised == 1.0 or not low <= s / a <= high:
            continue
        sigma = min(raised * s / a, noise_level(bridge, 1.0))
        top = time_of(bridge, sigma)
        if top > t:
            walk.append(top)
    return (*walk, times[-1])

