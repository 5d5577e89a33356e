"""InDI: the way back on a straight line to the small picture, without looking at it."""

from __future__ import annotations

import math
from typing import Any

from torch import Tensor

from mezzotint.bridges import Bridge
from mezzotint.samplers.step import Estimate, Field, add_noise, check_down


def indi(
    bridge: Bridge,
    z: Tensor,
    estimate: Estimate,
    x_state: Tensor | None,
    t: float,
    r: float,
    noise: Field | None,
    carry: Any = None,
) -> tuple[Tensor, Any]:
    """One step of InDI (Delbracio and Milanfar 2023): (r / t) z + (1 - r / t) y_hat + noise, without the small picture.

    With tau = b the clock of a bridge with a = 1 - b, z_r = k z + (1 - k) y_hat + sqrt(s_r^2 - k^2 s_t^2) eps,
    k = tau_r / tau_t: noise of deviation r sqrt(e_r^2 - e_t^2) for InDI's schedules s = t e_t, none for a constant e.
    It is the posterior's step on InDI, ResShift and Pinned, from which x_state cancels; the network may well see x.
    ValueError for a bridge whose a is not 1 - b or whose noise rises too fast for it, and for a move up.
    """
    check_down(t, r)
    (a_t, tau_t, s_t), (a_r, tau_r, s_r) = bridge.coefficients(t), bridge.coefficients(r)
    if tau_t <= 0.0 or max(abs(a_t + tau_t - 1.0), abs(a_r + tau_r - 1.0)) > 1e-9:
        raise ValueError(f"{type(bridge).__name__} is no straight way to the small picture (a = 1 - b): use ancestral")
    k = tau_r / tau_t
    variance = s_r**2 - k**2 * s_t**2
    if variance < -1e-12 * s_t**2:
        raise ValueError(
            f"the noise of {type(bridge).__name__} falls from {s_t} to {s_r} faster than InDI carries it: use ddim"
        )
    moved = k * z + (1.0 - k) * estimate.y.to(z.dtype)
    # Of a constant noise schedule rounding leaves a variance of 1e-18 or so, which is no reason to draw a field.
    if variance > 1e-12 * s_r**2:
        moved = add_noise(moved, noise, math.sqrt(variance), t=t, r=r)
    return moved, carry
