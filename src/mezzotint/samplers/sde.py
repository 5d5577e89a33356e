"""The reverse SDE: Euler-Maruyama and Song's reverse diffusion.

Both serve every scalar bridge through u = z - b_t x, whose forward SDE is du = f u dt + g dw
(`Bridge.diffusion`). Unlike the ancestral step they keep the marginals only in the limit of short steps. At the clean
end they return the estimate: the authors stop at a small time and return the mean of their step, which is the same to
first order.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from mezzotint.bridges import Bridge
from mezzotint.samplers.coordinates import check_step, score
from mezzotint.samplers.step import Estimate, Field, add_noise, ancestral


def euler_maruyama(
    bridge: Bridge,
    z: Tensor,
    estimate: Estimate,
    x_state: Tensor | None,
    t: float,
    r: float,
    noise: Field | None,
    carry: Any = None,
) -> tuple[Tensor, Any]:
    """One step of Euler and Maruyama for the reverse SDE (Song et al. 2021, equation 6).

    u_r = u_t + (t - r) (g^2 score - f u_t) + g sqrt(t - r) eps, in u = z - b x. The variance of the estimate is not
    used. Where a = 0 or s = 0 the drift is not finite, and the bridge's posterior makes the step. Strong order 1/2; the
    moments of the samples converge with order 1.
    """
    check_step(bridge, estimate, t, r, name="the reverse SDE")
    a_t, _, s_t = bridge.coefficients(t)
    if r == 0.0 or a_t == 0.0 or s_t == 0.0:
        return ancestral(bridge, z, Estimate(estimate.y), x_state, t, r, noise, carry)
    f, power = bridge.diffusion(t)
    u = z - bridge.mean(torch.zeros_like(z), x_state, t)
    moved = u + (t - r) * (power * score(bridge, z, estimate, x_state, t) - f * u)
    return _finish(bridge, moved, x_state, t, r, noise, variance=power * (t - r)), carry


def reverse_diffusion(
    bridge: Bridge,
    z: Tensor,
    estimate: Estimate,
    x_state: Tensor | None,
    t: float,
    r: float,
    noise: Field | None,
    carry: Any = None,
) -> tuple[Tensor, Any]:
    """One step of the reverse diffusion sampler (Song et al. 2021, equation 46).

    The forward step from r to t is discretised, not the SDE: with gain rho = a_t / a_r and variance
    G^2 = s_t^2 - rho^2 s_r^2, u_r = (2 - rho) u_t + G^2 score + G eps. The variance of the estimate is not used. A
    pinned end is left by the bridge's posterior.
    """
    check_step(bridge, estimate, t, r, name="reverse diffusion")
    (a_t, _, s_t), (a_r, _, s_r) = bridge.coefficients(t), bridge.coefficients(r)
    if r == 0.0 or s_t == 0.0:
        return ancestral(bridge, z, Estimate(estimate.y), x_state, t, r, noise, carry)
    rho = a_t / a_r
    variance = max(s_t**2 - rho**2 * s_r**2, 0.0)
    u = z - bridge.mean(torch.zeros_like(z), x_state, t)
    moved = (2.0 - rho) * u + variance * score(bridge, z, estimate, x_state, t)
    return _finish(bridge, moved, x_state, t, r, noise, variance=variance), carry


def _finish(
    bridge: Bridge, u: Tensor, x_state: Tensor | None, t: float, r: float, noise: Field | None, *, variance: float
) -> Tensor:
    """Back to the state at r, with noise of the given variance."""
    if variance > 0.0:
        u = add_noise(u, noise, math.sqrt(variance), t=t, r=r)
    return u + bridge.mean(torch.zeros_like(u), x_state, r)
