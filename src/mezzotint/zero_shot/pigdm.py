"""PiGDM: the likelihood's gradient through the network, with an assumed variance of the estimate.

Song et al., "Pseudoinverse-Guided Diffusion Models for Inverse Problems", ICLR 2023, equations 7 and 8: y_c = y_hat +
(s^2 / a) J^T v, v = A^T (A R A^T + noise^2 I)^-1 (x - A y_hat) held fixed, R = r2 I with r2 = c s^2 / (a^2 c + s^2),
the variance of a prior N(m, c I): exact for that one. `form` "theory": as written, into any kernel. "released": the
shift is a w J^T A^+ (x - A y_hat), with the network's own noise carried on and the ddim kernel of eta 1.

J is at most about 1 / a. What is coarse in pictures comes near, as its variance is hundreds of times c: with c = 1 the
theory then moves it by up to 1 / a^2 of what is missing, which steps must be small to bear (100 do, 20 do not), where
the released shift, which is the theory's for c without bound, moves it by what is missing. So that is the default.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor

from mezzotint.bridges import Bridge
from mezzotint.errors import UsageError
from mezzotint.samplers.step import Estimate
from mezzotint.zero_shot.gradients import through
from mezzotint.zero_shot.kernels import Kernel, kernel
from mezzotint.zero_shot.solver import Plan, Problem, even_grid


@dataclass(frozen=True)
class PiGDM:
    """The solver; `data_variance` is c of the assumed prior, 1 for states of unit variance."""

    form: Literal["theory", "released"] = "released"
    data_variance: float = 1.0
    strength: float = 1.0
    kernel: Kernel = "ddim"
    eta: float = 1.0
    steps: int = 100
    gradients: bool = True

    def __post_init__(self) -> None:
        if self.form not in ("theory", "released"):
            raise UsageError(f"form {self.form!r} of pigdm is neither 'theory' nor 'released'")
        if not 0.0 < self.data_variance < float("inf"):
            raise UsageError(f"data_variance {self.data_variance} of pigdm must be positive and finite")

    def grid(self, bridge: Bridge, steps: int) -> tuple[float, ...]:
        return even_grid(bridge, steps)

    def plan(self, problem: Problem, grid: Sequence[float]) -> Plan:
        known, bridge = problem.measurement, problem.bridge

        def denoise(z: Tensor, t: float) -> Estimate:
            a, _, s = bridge.coefficients(t)
            variance = self.data_variance * s**2 / (a**2 * self.data_variance + s**2)

            def along(y: Tensor) -> Tensor:
                with torch.no_grad():
                    pull = known.pull(y.detach(), variance=variance)
                return (y * pull).flatten(1).sum(1)

            found, gradient = through(problem.denoise, z, t, along)
            if self.form == "theory":
                return replace(found, y=found.y + self.strength * s**2 / a * gradient)
            shift = a * self.strength * variance * gradient
            return replace(found, y=found.y + shift, y_carry=found.y)

        return Plan(grid, denoise, kernel(self.kernel, eta=self.eta))
