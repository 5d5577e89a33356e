"""The reverse step: one formula with two freedoms, the carry k and the assumed variance c2 of the estimate.

z_r = D_r(y_hat, x) + k (z_t - D_t(y', x)) + sqrt(s_r^2 - k^2 s_t^2 + (a_r - k a_t)^2 c2) eps
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from mezzotint.bridges import Bridge

Field = Tensor | Callable[[], Tensor]
Carry = float | Callable[[Bridge, float, float], float]


@dataclass(frozen=True, eq=False)
class Estimate:
    """What a network, guided or corrected, says about the clean state at one time.

    `y`: the estimate, shaped like the state. `y_carry`: the estimate whose noise is carried on (y' of the
    formula); None means `y`, the uncorrected one is for methods that keep the network's noise. `c2`: the
    variance of the clean state about the estimate that the step assumes, a number or a tensor that
    broadcasts: 0 is the small variance of DDPM, s^2 / (a^2 + s^2) the large one
    (`mezzotint.prediction.large_variance`).
    """

    y: Tensor
    y_carry: Tensor | None = None
    c2: float | Tensor = 0.0


def ancestral(
    bridge: Bridge,
    z: Tensor,
    estimate: Estimate,
    x_state: Tensor | None,
    t: float,
    r: float,
    noise: Field | None,
    carry: Any = None,
    *,
    eta: float = 1.0,
) -> tuple[Tensor, Any]:
    """One step from t to r < t by the bridge's posterior; returns the state and the unchanged carry.

    `noise`: standard normal, shaped like the state, or a function that draws it; not drawn where the step
    is deterministic, as the last one is. `eta` from 1 (posterior) to 0 (DDIM) also scales the share of c2.
    The step that leaves a pinned end is stochastic whatever eta is.
    """
    k, std = bridge.transition(r, t, eta=eta)
    return _move(bridge, z, estimate, x_state, t, r, noise, k=k, base=std**2, share=eta**2), carry


def ddim(
    bridge: Bridge,
    z: Tensor,
    estimate: Estimate,
    x_state: Tensor | None,
    t: float,
    r: float,
    noise: Field | None,
    carry: Any = None,
) -> tuple[Tensor, Any]:
    """The deterministic step k = s_r / s_t (Song et al. 2021, DDIM); the estimate's variance is not used."""
    return ancestral(bridge, z, estimate, x_state, t, r, noise, carry, eta=0.0)


def carry_step(
    bridge: Bridge,
    z: Tensor,
    estimate: Estimate,
    x_state: Tensor | None,
    t: float,
    r: float,
    noise: Field | None,
    carry: Any = None,
    *,
    k: Carry,
) -> tuple[Tensor, Any]:
    """One step with a carry of the caller's: a number, or a function of (bridge, r, t).

    k = 0 draws the noise anew, k = 1 is Cold Diffusion (Bansal et al. 2022, algorithm 2). A negative variance
    counts as 0, and no noise is added at r = 0.
    """
    value = k(bridge, r, t) if callable(k) else float(k)
    base = bridge.coefficients(r)[2] ** 2 - value**2 * bridge.coefficients(t)[2] ** 2
    return _move(bridge, z, estimate, x_state, t, r, noise, k=value, base=base, share=1.0), carry


def check_down(t: float, r: float) -> None:
    """ValueError unless the step from t to r goes down in time."""
    if not r < t:
        raise ValueError(f"a step goes down in time, not from {t} to {r}: up is bridge.renoise")


def add_noise(z: Tensor, noise: Field | None, std: float | Tensor, *, t: float, r: float) -> Tensor:
    """z with noise of a deviation above 0, drawn where `noise` is a function; ValueError without noise."""
    return z + std * drawn(noise, t=t, r=r).to(z.dtype)


def drawn(noise: Field | None, *, t: float, r: float) -> Tensor:
    """The field of a stochastic step from t to r, given or drawn; ValueError without noise."""
    if noise is None:
        raise ValueError(f"the step from {t} to {r} is stochastic: give it noise")
    return noise() if callable(noise) else noise


def _move(
    bridge: Bridge,
    z: Tensor,
    estimate: Estimate,
    x_state: Tensor | None,
    t: float,
    r: float,
    noise: Field | None,
    *,
    k: float,
    base: float,
    share: float,
) -> Tensor:
    check_down(t, r)
    y = estimate.y.to(z.dtype)
    moved = bridge.mean(y, x_state, r)
    if k != 0.0:
        carried = y if estimate.y_carry is None else estimate.y_carry.to(z.dtype)
        moved = moved + k * (z - bridge.mean(carried, x_state, t))
    std = _std(bridge, estimate, t, r, k=k, base=base, share=share, like=z)
    return moved if std is None else add_noise(moved, noise, std, t=t, r=r)


def _std(
    bridge: Bridge,
    estimate: Estimate,
    t: float,
    r: float,
    *,
    k: float,
    base: float,
    share: float,
    like: Tensor,
) -> float | Tensor | None:
    """The step's standard deviation; None where it is 0, so that no field is drawn."""
    if r == 0.0:
        return None
    gain = share * (bridge.coefficients(r)[0] - k * bridge.coefficients(t)[0]) ** 2
    if isinstance(estimate.c2, Tensor):
        if gain == 0.0 and base <= 0.0:
            return None
        return torch.clamp(base + gain * estimate.c2.to(like.dtype), min=0.0).sqrt()
    variance = base + gain * estimate.c2
    return variance**0.5 if variance > 0.0 else None
