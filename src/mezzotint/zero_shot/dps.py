"""DPS: after each step the state moves down the gradient of the residual, taken through the network.

Chung et al., "Diffusion Posterior Sampling for General Noisy Inverse Problems", arXiv 2209.14687, algorithm 1. `form`
"released": z_r = z'_r - zeta grad |x - A y_hat|; the paper's zeta' / |x - A y_hat| grad |x - A y_hat|^2 is the same
with zeta = 2 zeta', so that its zeta' = 1 for enlargement by 4 is the default, 2; the released configuration has 0.3.
Norms are those of each picture, where the released code takes one of the whole batch. Each step moves a length that
depends neither on the picture's size nor on the number of steps, so zeta is meant for a measurement of 3 x 64 x 64
numbers and 1000 steps, and multiplied by sqrt(m / m0) 1000 / steps for others, unless `absolute`: the whole way stays
the same, without which few steps leave the start. "likelihood": y_hat + (s^2 / a) grad log N(x; A y_hat, noise^2)
instead, the plain approximation, which counts the estimate as exact: over-confident, and unstable in few steps. Neither
draws from the posterior, for any zeta, and the result does not fit the measurement exactly.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import torch
from torch import Tensor

from mezzotint.bridges import Bridge
from mezzotint.errors import UsageError
from mezzotint.samplers.step import Estimate, Field, ancestral
from mezzotint.zero_shot.gradients import Differentiated, through
from mezzotint.zero_shot.solver import Plan, Problem, even_grid

REFERENCE = 3 * 64 * 64
"""The numbers of the measurement that published values of zeta were found on."""

REFERENCE_STEPS = 1000
"""The steps that they were found in."""


@dataclass(frozen=True)
class DPS:
    """The solver; `zeta` 0 is the prior alone. UsageError for a negative zeta."""

    zeta: float = 2.0
    form: Literal["released", "likelihood"] = "released"
    absolute: bool = False
    steps: int = 1000
    gradients: bool = True

    def __post_init__(self) -> None:
        if self.form not in ("released", "likelihood"):
            raise UsageError(f"form {self.form!r} of dps is neither 'released' nor 'likelihood'")
        if not 0.0 <= self.zeta < float("inf"):
            raise UsageError(f"zeta {self.zeta} of dps must be 0 or a positive, finite length")

    def grid(self, bridge: Bridge, steps: int) -> tuple[float, ...]:
        return even_grid(bridge, steps)

    def plan(self, problem: Problem, grid: Sequence[float]) -> Plan:
        known, bridge = problem.measurement, problem.bridge
        if self.form == "likelihood":
            if known.noise == 0.0:
                raise UsageError(
                    "dps in the form 'likelihood' needs a noise, without which the likelihood is infinitely steep: "
                    "state one, or use pigdm or ddnm"
                )

            def likely(z: Tensor, t: float) -> Estimate:
                a, _, s = bridge.coefficients(t)

                def along(y: Tensor) -> Tensor:
                    with torch.no_grad():
                        pull = known.pull(y.detach(), variance=0.0)
                    return (y * pull).flatten(1).sum(1)

                found, gradient = through(problem.denoise, z, t, along)
                return replace(found, y=found.y + s**2 / a * gradient)

            return Plan(grid, likely)

        def denoise(z: Tensor, t: float) -> Estimate:
            def distance(y: Tensor) -> Tensor:
                return _norm(known.residual(y))

            found, gradient = through(problem.denoise, z, t, distance)
            return Differentiated(found.y, found.y_carry, found.c2, gradient)

        share = (known.x[0].numel() / REFERENCE) ** 0.5 * REFERENCE_STEPS / (len(grid) - 1)
        return Plan(grid, denoise, Descend(self.zeta * (1.0 if self.absolute else share)))


@dataclass(frozen=True, eq=False)
class Descend:
    """The ancestral step, then `length` times the estimate's gradient down."""

    length: float

    def __call__(
        self, bridge: Bridge, z: Tensor, estimate: Estimate, x_state: Tensor | None, t: float, r: float,
        noise: Field | None, carry: Any = None, /,
    ) -> tuple[Tensor, Any]:  # fmt: skip
        moved, carry = ancestral(bridge, z, estimate, x_state, t, r, noise, carry)
        gradient = getattr(estimate, "gradient", None)
        if gradient is None:
            raise ValueError("this step goes down a gradient, and the estimate brings none: use the solver's denoiser")
        return moved - self.length * gradient.to(moved.dtype), carry


def _norm(v: Tensor) -> Tensor:
    """The norm of each item, with a gradient of 0 where it is 0."""
    square = v.flatten(1).square().sum(1)
    return torch.where(square > 0, square.clamp(min=1e-300 if v.dtype == torch.float64 else 1e-38).sqrt(), 0.0 * square)
