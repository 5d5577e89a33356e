"""UniPC: a multistep predictor whose every state is corrected once its own estimate is known."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from mezzotint.bridges import Bridge
from mezzotint.samplers.coordinates import check_step, exponential_integrals, half_log_snr
from mezzotint.samplers.dpm_solver import Past
from mezzotint.samplers.step import Estimate, Field, ddim


@dataclass(frozen=True, eq=False)
class UniPCCarry:
    """What a step leaves for the next: the estimates so far, newest first, and the state and time it started from."""

    past: Past = ()
    z: Tensor | None = None
    t: float = math.nan


@dataclass(frozen=True)
class UniPC:
    """UniPC of order 1 to 3 with data prediction, for every scalar bridge where s_t > 0 (Zhao et al. 2023).

    The step from t first corrects the state at t, with the estimate at the uncorrected state, which is also the one
    that the step uses: one evaluation a step. Then it predicts the state at r. Arithmetic: section 3 of
    arXiv 2302.04867, multistep form. The state that a walk ends in is therefore never corrected, and the records of a
    walk hold predicted states. `variant`: `b2` has B(h) = exp(h) - 1, `b1` B(h) = h, with h negative in data
    prediction. `corrector=False` leaves the predictor alone: order 2 is then DPM-Solver++ 2M, order 3 its 3M. The
    orders rise at the start; a step to the clean end returns the estimate. Differs from the authors' code in that the
    order does not fall again before the end, as the last step does not depend on it where the grid ends at 0.
    """

    order: Literal[1, 2, 3] = 2
    variant: Literal["b1", "b2"] = "b2"
    corrector: bool = True

    multistep: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if self.order not in (1, 2, 3):
            raise ValueError(f"order {self.order} of UniPC is not 1, 2 or 3")
        if self.variant not in ("b1", "b2"):
            raise ValueError(f"variant {self.variant!r} of UniPC is neither 'b1' nor 'b2'")

    def __call__(
        self,
        bridge: Bridge,
        z: Tensor,
        estimate: Estimate,
        x_state: Tensor | None,
        t: float,
        r: float,
        noise: Field | None,
        carry: UniPCCarry | None = None,
    ) -> tuple[Tensor, UniPCCarry]:
        check_step(bridge, estimate, t, r, name="UniPC")
        carry = carry or UniPCCarry()
        y = estimate.y.to(z.dtype)
        here = half_log_snr(bridge, t)
        if self.corrector and carry.z is not None:
            z = self._move(bridge, carry.z, carry.past, (here, y), x_state, carry.t, t)
        if not math.isfinite(here):
            # No estimate before this one is at a finite distance, and a pinned end is left with noise.
            return ddim(bridge, z, Estimate(y), x_state, t, r, noise)[0], UniPCCarry()
        past = ((here, y), *carry.past)[: self.order]
        moved = self._move(bridge, z, past, None, x_state, t, r)
        return moved, UniPCCarry(past, z, t)

    def _move(
        self,
        bridge: Bridge,
        z: Tensor,
        past: Past,
        arrived: tuple[float, Tensor] | None,
        x_state: Tensor | None,
        t: float,
        r: float,
    ) -> Tensor:
        """The state at r from z at t: predicted, or corrected where the estimate at r has arrived."""
        (here, y), *before = past
        moved, _ = ddim(bridge, z, Estimate(y), x_state, t, r, None)
        points = [*before] if arrived is None else [*before, arrived]
        if r == 0.0 or not points:
            return moved
        h = half_log_snr(bridge, r) - here
        psi = exponential_integrals(-h, len(points) + 1)
        scale = math.expm1(-h) if self.variant == "b2" else -h
        distances = [(there - here) / h for there, _ in points[:-1]]
        # The distance of the arrived estimate is 1 by definition, not by rounding.
        distances.append(1.0 if arrived is not None else (points[-1][0] - here) / h)
        weights = self._weights(distances, psi, -h, scale)
        for (_, other), distance, weight in zip(points, distances, weights, strict=True):
            moved = moved - bridge.coefficients(r)[0] * scale * weight / distance * (other - y)
        return moved

    @staticmethod
    def _weights(distances: list[float], psi: list[float], h: float, scale: float) -> list[float]:
        """rho with sum_j r_j^(i-1) rho_j = h psi_(i+1)(h) i! / B(h) for i = 1, 2, ...; 1/2 for a single point."""
        if len(distances) == 1:
            return [0.5]
        count = len(distances)
        matrix = [[distance**i for distance in distances] for i in range(count)]
        right = [h * psi[i + 1] * math.factorial(i + 1) / scale for i in range(count)]
        system = torch.tensor(matrix, dtype=torch.float64, device="cpu")
        return torch.linalg.solve(system, torch.tensor(right, dtype=torch.float64, device="cpu")).tolist()
