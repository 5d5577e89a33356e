"""Cold Diffusion: the way back along a path of corruption without noise."""

from __future__ import annotations

from typing import Any, Literal

from torch import Tensor

from mezzotint.bridges import Bridge
from mezzotint.samplers.step import Estimate, Field, check_down


def cold(
    bridge: Bridge,
    z: Tensor,
    estimate: Estimate,
    x_state: Tensor | None,
    t: float,
    r: float,
    noise: Field | None,
    carry: Any = None,
    *,
    algorithm: Literal[1, 2] = 2,
) -> tuple[Tensor, Any]:
    """One step of Cold Diffusion (Bansal et al. 2022), deterministic, from t to r < t.

    Algorithm 1 corrupts the estimate anew, D_r(y_hat); algorithm 2, theirs, moves the state by the difference of two
    corruptions, z - D_t(y_hat) + D_r(y_hat), down to the clean end, and is exact for D_t(y) = y + t e whatever is
    estimated. ValueError where the bridge has noise, for another algorithm, or a move up.
    """
    check_down(t, r)
    if algorithm not in (1, 2):
        raise ValueError(f"Cold Diffusion has the algorithms 1 and 2, not {algorithm}")
    if bridge.coefficients(t)[2] > 0.0 or bridge.coefficients(r)[2] > 0.0:
        raise ValueError(
            f"{type(bridge).__name__} has noise at {t} or {r}, Cold Diffusion none: use carry_step with k = "
            f"{algorithm - 1}"
        )
    y = estimate.y.to(z.dtype)
    target = bridge.mean(y, x_state, r)
    return (target if algorithm == 1 else z - bridge.mean(y, x_state, t) + target), carry
