"""The coordinates in which every scalar bridge is one and the same diffusion.

u = z - b_t x is a diffusion of y with signal a_t and noise s_t, and u / a_t = y + sigma_t eps with sigma = s / a is the
variance-exploding one of Karras et al. 2022 (EDM), whatever the bridge. Solvers of ODEs and SDEs are written for these
two, with l = log(a / s) = -log(sigma), half the log-SNR, as the time of the fast ones (Lu et al. 2022, DPM-Solver).
Where s_t = 0 above the clean end (a pinned end, a bridge without noise) there is no such coordinate.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from mezzotint.bridges import Bridge
from mezzotint.samplers.step import Estimate, check_down


def noise_level(bridge: Bridge, t: float) -> float:
    """sigma = s / a at t: infinite where a = 0, a pinned end included, whose neighbours' levels grow without bound."""
    a, _, s = bridge.coefficients(t)
    return s / a if a > 0.0 else math.inf


def half_log_snr(bridge: Bridge, t: float) -> float:
    """l = log(a / s) at t: infinite at the clean end, -inf where a = 0 (a pinned end included)."""
    return 0.5 * bridge.log_snr(t)


def time_of(bridge: Bridge, sigma: float) -> float:
    """The time at which the noise level s / a is sigma, by bisection to the last digit.

    ValueError for a level outside that of the bridge's times.
    """
    top = noise_level(bridge, 1.0)
    if not 0.0 <= sigma <= top:
        raise ValueError(f"noise level {sigma} lies outside 0 to {top} of {type(bridge).__name__}")
    low, high = 0.0, 1.0
    for _ in range(200):
        middle = 0.5 * (low + high)
        if middle in (low, high):
            break
        low, high = (middle, high) if noise_level(bridge, middle) < sigma else (low, middle)
    return high


def rates(bridge: Bridge, t: float) -> tuple[float, float, float]:
    """The time derivatives (a', b', s') at t, float64, by differentiating the bridge's own formulas.

    Between the nodes of a table those are straight lines. ValueError where one of them is not finite, as s' is at the
    clean end of most bridges.
    """
    with torch.enable_grad():
        time = torch.tensor(t, dtype=torch.float64, requires_grad=True)
        a, b, s = (_derivative(value, time) for value in bridge.coefficients(time))
    if not all(math.isfinite(rate) for rate in (a, b, s)):
        raise ValueError(f"{type(bridge).__name__} has no finite rates of change at time {t}: use one inside its ends")
    return a, b, s


def drift(bridge: Bridge, t: float) -> tuple[float, float]:
    """(f, g^2) of du = f u dt + g dw, the SDE of u = z - b_t x that has the bridge's marginals and looks at no y.

    f = a' / a, g^2 = 2 s s' - 2 f s^2 (Karras et al. 2022, equations 9 and 28, for any a and s). ValueError where
    a = 0.
    """
    a, _, s = bridge.coefficients(t)
    if a == 0.0:
        raise ValueError(f"{type(bridge).__name__} has no signal at {t}, so no drift: use a smaller time")
    rate_a, _, rate_s = rates(bridge, t)
    f = rate_a / a
    return f, max(2.0 * s * (rate_s - f * s), 0.0)


def score(bridge: Bridge, z: Tensor, estimate: Estimate, x_state: Tensor | None, t: float) -> Tensor:
    """The score -(z - a y_hat - b x) / s^2 of the state that an estimate implies, in z's type."""
    _, _, s = bridge.coefficients(t)
    return (bridge.mean(estimate.y.to(z.dtype), x_state, t) - z) / s**2


def velocity(bridge: Bridge, z: Tensor, estimate: Estimate, x_state: Tensor | None, t: float) -> Tensor:
    """dz/dt of the probability-flow ODE: a' y_hat + b' x + (s' / s) (z - a y_hat - b x), in z's type.

    Song et al. 2021, equation 13, written for any scalar bridge with s_t > 0; DDBM's guided ODE is the same.
    """
    _, _, s = bridge.coefficients(t)
    rate_a, rate_b, rate_s = rates(bridge, t)
    y = estimate.y.to(z.dtype)
    out = rate_a * y + (rate_s / s) * (z - bridge.mean(y, x_state, t))
    # A bridge that needs x_state has refused its absence in `mean`.
    return out + rate_b * x_state.to(z.dtype) if bridge.needs_x and x_state is not None else out


def check_step(bridge: Bridge, estimate: Estimate, t: float, r: float, *, name: str) -> None:
    """ValueError for a move that a solver of these coordinates cannot make, saying what can."""
    check_down(t, r)
    if estimate.y_carry is not None:
        raise ValueError(f"{name} carries the noise of its own estimate: use ancestral or ddim where y_carry is given")
    if r > 0.0 and bridge.coefficients(r)[2] == 0.0 and bridge.coefficients(t)[2] == 0.0:
        raise ValueError(
            f"{name} needs noise, and {type(bridge).__name__} has none at {r} and {t}: "
            "use ancestral, whose step is Euler's there"
        )


def exponential_integrals(x: float, count: int) -> list[float]:
    """psi_1 .. psi_count at x: psi_0 = exp(x), psi_k = (psi_(k-1) - 1 / (k-1)!) / x, without cancellation near 0."""
    if abs(x) < 1.0:
        return [sum(x**n / math.factorial(n + k) for n in range(20)) for k in range(1, count + 1)]
    values = [math.expm1(x) / x]
    for k in range(2, count + 1):
        values.append((values[-1] - 1.0 / math.factorial(k - 1)) / x)
    return values


def _derivative(value: Tensor, time: Tensor) -> float:
    if not value.requires_grad:
        return 0.0
    (rate,) = torch.autograd.grad(value, time, retain_graph=True, allow_unused=True)
    return 0.0 if rate is None else rate.item()
