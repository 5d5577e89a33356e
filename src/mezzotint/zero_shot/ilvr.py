"""ILVR: the low frequencies of every state are those of the noised reference.

Choi et al., "ILVR: Conditioning Method for Denoising Diffusion Probabilistic Models", arXiv 2108.02938, equations 7 and
8; 100 steps. `filter` "orthogonal": P = A^+ A, which fits a measurement without noise exactly. "bicubic": the paper's
phi = U A with U the bicubic enlargement, whose reference is known only as x: z - U A z + U (a x + s A eps). To hand it
U x as a reference picture, as one would to the released code, filters twice and leaves a residual. phi contracts the
residual to about half a step and is never exact. `until`: time below which steps are free (range_t / 100 of the code).
`released`: the reference is noised to the level of the step's begin instead of its end, one too many.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

from torch import Tensor

from mezzotint.bridges import Bridge
from mezzotint.errors import UsageError
from mezzotint.operators.resize import imresize
from mezzotint.samplers.loop import Step
from mezzotint.samplers.step import Estimate, Field, ancestral
from mezzotint.zero_shot.measurement import Measurement
from mezzotint.zero_shot.replacement import After, Blend, Replace
from mezzotint.zero_shot.solver import Plan, Problem, even_grid


@dataclass(frozen=True)
class ILVR:
    """The solver. UsageError for a filter of another name and a time outside [0, 1]."""

    filter: Literal["orthogonal", "bicubic"] = "orthogonal"
    until: float = 0.0
    released: bool = False
    steps: int = 100
    gradients: bool = False

    def __post_init__(self) -> None:
        if self.filter not in ("orthogonal", "bicubic"):
            raise UsageError(f"filter {self.filter!r} of ilvr is neither 'orthogonal' nor 'bicubic'")
        if not 0.0 <= self.until <= 1.0:
            raise UsageError(f"until {self.until} of ilvr is no time in [0, 1]")

    def grid(self, bridge: Bridge, steps: int) -> tuple[float, ...]:
        return even_grid(bridge, steps)

    def plan(self, problem: Problem, grid: Sequence[float]) -> Plan:
        known, bridge = problem.measurement, problem.bridge
        blend: Blend = Replace(known, bridge) if self.filter == "orthogonal" else LowPass(known, bridge)
        if self.released:
            return Plan(grid, problem.denoise, partial(_late, blend=blend, until=self.until))
        return Plan(grid, problem.denoise, after=After(blend, self.until))


@dataclass(frozen=True, eq=False)
class LowPass:
    """z - U A z + U (a x + s A eps), U the bicubic enlargement to the size of z."""

    known: Measurement
    bridge: Bridge

    def __call__(self, z: Tensor, t: float, eps: Tensor) -> Tensor:
        a, _, s = self.bridge.coefficients(t)
        wanted = a * self.known.x.to(z.dtype) + s * self.known.operator.A(eps.to(z.dtype))
        size = (int(z.shape[-2]), int(z.shape[-1]))
        return z + imresize(wanted - self.known.operator.A(z), size=size)


def _late(
    bridge: Bridge, z: Tensor, estimate: Estimate, x_state: Tensor | None, t: float, r: float, noise: Field | None,
    carry: Any = None, /, *, blend: Blend, until: float, step: Step = ancestral,
) -> tuple[Tensor, Any]:  # fmt: skip
    z, carry = step(bridge, z, estimate, x_state, t, r, noise, carry)
    if r < until or not callable(noise):
        return z, carry
    return blend(z, t, noise()), carry
