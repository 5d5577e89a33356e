"""MCG: a gradient step on the residual through the network, then the measured part is replaced.

Chung et al., "Improving Diffusion Models for Inverse Problems using Manifold Constraints", arXiv 2206.00941, equations
14 and 15: z'' = z' - alpha grad |W (x - A y_hat)|^2, then (I - P) z'' + P (a A^+ x + s eps). `weighted`: W = A^+
instead of the identity. The projection is strict: right for a measurement without noise, harmful otherwise, so noise is
refused. Differs from the authors' code in P = A^+ A, where that takes nearest enlargement for the adjoint of
super-resolution and projects onto something else.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from mezzotint.bridges import Bridge
from mezzotint.errors import UsageError
from mezzotint.samplers.step import Estimate
from mezzotint.zero_shot.dps import Descend
from mezzotint.zero_shot.gradients import Differentiated, through
from mezzotint.zero_shot.replacement import After, Replace
from mezzotint.zero_shot.solver import Plan, Problem, even_grid


@dataclass(frozen=True)
class MCG:
    """The solver; `alpha` is the length of the gradient step."""

    alpha: float = 0.1
    weighted: bool = False
    steps: int = 1000
    gradients: bool = True

    def __post_init__(self) -> None:
        if not 0.0 <= self.alpha < float("inf"):
            raise UsageError(f"alpha {self.alpha} of mcg must be 0 or a positive, finite length")

    def grid(self, bridge: Bridge, steps: int) -> tuple[float, ...]:
        return even_grid(bridge, steps)

    def plan(self, problem: Problem, grid: Sequence[float]) -> Plan:
        known = problem.measurement
        if known.noise > 0.0:
            raise UsageError(f"mcg pastes the measurement with its noise, {known.noise}: use pigdm, dps or diffpir")

        def denoise(z: Tensor, t: float) -> Estimate:
            def distance(y: Tensor) -> Tensor:
                off = known.residual(y)
                return (known.operator.pinv(off) if self.weighted else off).flatten(1).square().sum(1)

            found, gradient = through(problem.denoise, z, t, distance)
            return Differentiated(found.y, found.y_carry, found.c2, gradient)

        return Plan(grid, denoise, Descend(self.alpha), after=After(Replace(known, problem.bridge)))
