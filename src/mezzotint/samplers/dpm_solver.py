"""DPM-Solver++: multistep solvers of the probability-flow ODE and SDE in half the log-SNR.

Lu et al. 2022 (DPM-Solver++, arXiv 2211.01095), data prediction. One evaluation of the network a step; what earlier
steps saw travels in the carry, newest first.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar, Literal

from torch import Tensor

from mezzotint.bridges import Bridge
from mezzotint.samplers.coordinates import check_step, exponential_integrals, half_log_snr
from mezzotint.samplers.step import Estimate, Field, add_noise, ancestral, ddim

Past = tuple[tuple[float, Tensor], ...]


@dataclass(frozen=True)
class DPMSolver:
    """DPM-Solver++ 2M and 3M for every scalar bridge, on the part of the grid where s_t > 0.

    With l = log(a / s), h = l_r - l_t and the estimates D, D', D'' at t and at the two times before it:
    2M adds to the step of DDIM a_r (1 - exp(-h)) (D - D') / (2 r0), r0 = (l_t - l_t') / h; 3M adds
    a_r (phi_2 D1 - phi_3 D2), the two divided differences of three estimates. The first step has order 1, the second
    order 2 (so that 3M is of order 3 where they lie deep in the noise and of order 2 elsewhere), and a step to
    the clean end, which is infinitely long in l, returns the estimate. A pinned end is left by
    the bridge's own stochastic step. `order`: 2 or 3. `released`: the second divided difference of 3M without its
    factor 2, as in the authors' multistep code, diffusers and k-diffusion; it converges with order 2 only.
    """

    order: Literal[2, 3] = 2
    released: bool = False

    multistep: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if self.order not in (2, 3):
            raise ValueError(f"order {self.order} of DPM-Solver++ is not 2 or 3: order 1 is ddim")
        if self.released and self.order != 3:
            raise ValueError("released changes the third order only: use order=3 with it")

    def __call__(
        self,
        bridge: Bridge,
        z: Tensor,
        estimate: Estimate,
        x_state: Tensor | None,
        t: float,
        r: float,
        noise: Field | None,
        carry: Past | None = None,
    ) -> tuple[Tensor, Past]:
        check_step(bridge, estimate, t, r, name="DPM-Solver++")
        moved, _ = ddim(bridge, z, estimate, x_state, t, r, noise)
        y = estimate.y.to(z.dtype)
        past = carry or ()
        here = half_log_snr(bridge, t)
        if not math.isfinite(here):
            return moved, ()
        if r > 0.0 and past:
            h = half_log_snr(bridge, r) - here
            moved = moved + bridge.coefficients(r)[0] * self._correction(h, here, y, past)
        return moved, ((here, y), *past)[: self.order - 1]

    def _correction(self, h: float, here: float, y: Tensor, past: Past) -> Tensor:
        (before, y_before), *rest = past
        r0 = (here - before) / h
        slope = (y - y_before) / r0
        if self.order == 2 or not rest:
            return -0.5 * math.expm1(-h) * slope
        (earlier, y_earlier) = rest[0]
        r1 = (before - earlier) / h
        bend = slope - (y_before - y_earlier) / r1
        first = slope + r0 / (r0 + r1) * bend
        second = (1.0 if self.released else 2.0) / (r0 + r1) * bend
        # phi_2 = h psi_2(-h) and phi_3 = -h psi_3(-h) of the paper's appendix.
        _, psi_2, psi_3 = exponential_integrals(-h, 3)
        return h * psi_2 * first + h * psi_3 * second


@dataclass(frozen=True)
class DPMSolverSDE:
    """SDE-DPM-Solver++ 2M, midpoint form, for every scalar bridge.

    z_r = a_r (1 - exp(-(1 + eta) h)) [D + (D - D') / (2 r0)] + k u_t + s_r sqrt(1 - exp(-2 eta h)) eps in u = z - b x,
    k = (s_r / s_t) exp(-eta h). `eta`: 0 is 2M, 1 the reverse SDE, whose first order is the ancestral step of a
    variance-preserving bridge. The variance of the estimate is not used. A pinned end is left by the bridge's own step,
    the step to the clean end returns the estimate.
    """

    eta: float = 1.0

    multistep: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if not 0.0 <= self.eta < math.inf:
            raise ValueError(f"eta {self.eta} of the SDE must be 0 (the ODE) or more, and finite")

    def __call__(
        self,
        bridge: Bridge,
        z: Tensor,
        estimate: Estimate,
        x_state: Tensor | None,
        t: float,
        r: float,
        noise: Field | None,
        carry: Past | None = None,
    ) -> tuple[Tensor, Past]:
        check_step(bridge, estimate, t, r, name="SDE-DPM-Solver++")
        y = estimate.y.to(z.dtype)
        here, (_, _, s_t), (a_r, _, s_r) = half_log_snr(bridge, t), bridge.coefficients(t), bridge.coefficients(r)
        if r == 0.0 or s_t == 0.0:
            moved, _ = ancestral(bridge, z, Estimate(y), x_state, t, r, noise)
            return moved, ((here, y),) if math.isfinite(here) else ()
        h = half_log_snr(bridge, r) - here
        k = s_r / s_t * math.exp(-self.eta * h)
        moved = bridge.mean(y, x_state, r) + k * (z - bridge.mean(y, x_state, t))
        if carry and math.isfinite(here):
            before, y_before = carry[0]
            gain = -a_r * math.expm1(-(1.0 + self.eta) * h)
            moved = moved + 0.5 * gain * h / (here - before) * (y - y_before)
        if self.eta > 0.0:
            moved = add_noise(moved, noise, s_r * math.sqrt(-math.expm1(-2.0 * self.eta * h)), t=t, r=r)
        return moved, ((here, y),) if math.isfinite(here) else ()
