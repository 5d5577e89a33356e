"""Soft Score Matching: the way back along an operator and noise at once."""

from __future__ import annotations

import math
from typing import Any

from torch import Tensor

from mezzotint.bridges import Bridge
from mezzotint.samplers.step import Estimate, Field, add_noise, check_down


def momentum(
    bridge: Bridge,
    z: Tensor,
    estimate: Estimate,
    x_state: Tensor | None,
    t: float,
    r: float,
    noise: Field | None,
    carry: Any = None,
    *,
    published: bool = False,
) -> tuple[Tensor, Any]:
    """One momentum step of Soft Score Matching (Daras et al. 2022): deblur, denoise, add noise.

    z + D_r(y_hat) - D_t(y_hat) + (1 - s_r^2 / s_t^2) (D_t(y_hat) - z) plus noise of deviation
    s_r sqrt(1 - s_r^2 / s_t^2), which keeps the marginals; `published` adds sqrt(s_t^2 - s_r^2) instead, which does
    not. It is the one reverse step with k = s_r^2 / s_t^2. The step to the clean end returns the estimate. ValueError
    where s_t = 0, as the noise levels rise with time, and for a move up.
    """
    check_down(t, r)
    s_t, s_r = bridge.coefficients(t)[2], bridge.coefficients(r)[2]
    if s_t == 0.0 or s_r >= s_t:
        raise ValueError(
            f"the noise of {type(bridge).__name__} does not fall from {s_t} at {t} to {s_r} at {r}, as momentum steps "
            "need: use ancestral"
        )
    y = estimate.y.to(z.dtype)
    lost = 1.0 - s_r**2 / s_t**2
    start = bridge.mean(y, x_state, t)
    moved = z + bridge.mean(y, x_state, r) - start + lost * (start - z)
    variance = (s_t**2 - s_r**2 if published else s_r**2 * lost) if r > 0.0 else 0.0
    return (add_noise(moved, noise, math.sqrt(variance), t=t, r=r) if variance > 0.0 else moved), carry
