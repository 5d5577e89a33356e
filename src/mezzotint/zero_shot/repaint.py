"""RePaint: known pixels are pasted, noised, into every state, and the walk goes back up to blend them in.

Lugmayr et al., "RePaint: Inpainting using Denoising Diffusion Probabilistic Models", arXiv 2201.09865, equation 8 and
section 4.2: 250 steps, jumps of 10, each stretch passed 10 times: 2410 evaluations and as many re-noisings as 2160 of
the authors' single ones. Made for masks; other operators are replaced on their range, P = A^+ A. The paper's form ends
with the known pixels exact. `released`: known pixels are pasted before each evaluation, so at up-moves too, and not
after the last one, so that the output's known pixels are the network's. A single pass is biased where known and unknown
pixels depend on each other; the bias falls with the passes, and the variance ends a little low.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from mezzotint import schedules
from mezzotint.bridges import Bridge
from mezzotint.bridges.formulas import Time
from mezzotint.zero_shot.replacement import After, Replace
from mezzotint.zero_shot.solver import Plan, Problem, even_grid


@dataclass(frozen=True)
class RePaint:
    """The solver; `jump` and `passes` of the walk."""

    jump: int = 10
    passes: int = 10
    released: bool = False
    steps: int = 250
    gradients: bool = False

    def grid(self, bridge: Bridge, steps: int) -> tuple[float, ...]:
        return even_grid(bridge, steps)

    def plan(self, problem: Problem, grid: Sequence[float]) -> Plan:
        walk = schedules.time_travel(grid, jump=self.jump, repeats=self.passes)
        blend = Replace(problem.measurement, problem.bridge)
        if not self.released:
            return Plan(walk, problem.denoise, after=After(blend))
        # Below every time of the walk but 0: the last step is not followed by a paste.
        inside = min(t for t in walk if t > 0.0)
        return Plan(walk, problem.denoise, after=After(blend, inside), bridge=Pasting(problem.bridge, blend))


@dataclass(frozen=True, eq=False)
class Pasting(Bridge):
    """A bridge whose moves up paste the known part, noised to their end, into the state."""

    host: Bridge
    blend: Replace

    @property
    def nodes(self) -> int | None:
        return self.host.nodes

    def coefficients(self, t: Time) -> tuple[Time, Time, Time]:
        return self.host.coefficients(t)

    def carry(self, r: Time, t: Time) -> Time:
        return self.host.carry(r, t)

    def variance(self, r: Time, t: Time) -> Time:
        return self.host.variance(r, t)

    def start(self, x_state: Tensor | None, eps: Tensor) -> Tensor:
        return self.host.start(x_state, eps)

    def renoise(self, z: Tensor, x_state: Tensor | None, r: Any, t: Any, eps: Tensor) -> Tensor:
        # One field serves both parts, as they do not overlap.
        return self.blend(self.host.renoise(z, x_state, r, t, eps), t, eps)
