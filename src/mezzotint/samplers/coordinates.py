"""The coordinates in which every scalar bridge is one and the same diffusion.

u = z - b_t x is a diffusion of y with signal a_t and noise s_t, and u / a_t = y + sigma_t eps with sigma = s / a is the
variance-exploding one of Karras et al. 2022 (EDM), whatever the bridge. Solvers of ODEs and SDEs are written for these
two, with l = log(a / s) = -log(sigma), half the log-SNR, as the time of the fast ones (Lu et al. 2022, DPM-Solver).
Where s_t = 0 above the clean end (a pinned end, a bridge without noise) there is no such coordinate.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

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


def times_of(bridge: Bridge, sigmas: Sequence[float]) -> tuple[float, ...]:
    """The times at which the noise level s / a has given values, by bisection to the last digit.

    ValueError for a level outside those of the bridge's times.
    """
    top = noise_level(bridge, 1.0)
    for sigma in sigmas:
        if not 0.0 <= sigma <= top:
            raise ValueError(f"noise level {sigma} lies outside 0 to {top} of {type(bridge).__name__}")
    goal = -2.0 * torch.tensor(tuple(sigmas), dtype=torch.float64, device="cpu").log()
    low, high = torch.zeros_like(goal), torch.ones_like(goal)
    # 64 halvings reach neighbouring numbers for times above 1e-3, and the smallest noise level of any grid below.
    for _ in range(64):
        middle = 0.5 * (low + high)
        above = bridge.log_snr(middle) > goal
        low, high = torch.where(above, middle, low), torch.where(above, high, middle)
    return tuple(high.tolist())


def time_of(bridge: Bridge, sigma: float) -> float:
    """The time at which the noise level s / a is sigma; see `times_of`."""
    return times_of(bridge, (sigma,))[0]


def score(bridge: Bridge, z: Tensor, estimate: Estimate, x_state: Tensor | None, t: float) -> Tensor:
    """The score -(z - a y_hat - b x) / s^2 of the state that an estimate implies, in z's type."""
    _, _, s = bridge.coefficients(t)
    return (bridge.mean(estimate.y.to(z.dtype), x_state, t) - z) / s**2


def check_scalar(bridge: Bridge, *, name: str) -> None:
    """ValueError for a bridge whose mean is an operator, which these coordinates do not have."""
    if not bridge.scalar:
        raise ValueError(
            f"the mean of {type(bridge).__name__} is an operator on y, and {name} needs a_t y + b_t x: "
            "use ancestral or momentum, or cold where it has no noise"
        )


def check_step(bridge: Bridge, estimate: Estimate, t: float, r: float, *, name: str) -> None:
    """ValueError for a move that a solver of these coordinates cannot make, saying what can."""
    check_down(t, r)
    check_scalar(bridge, name=name)
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
