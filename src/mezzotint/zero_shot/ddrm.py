"""DDRM: every singular coefficient takes the measurement as soon as its noise is below the state's.

Kawar et al., "Denoising Diffusion Restoration Models", arXiv 2201.11793, equations 7 and 8: in the basis V of the
operator and in the exploding state w = z / a, a coefficient of the next level sigma' is a normal number about the
estimate, pulled to the measurement. 20 leading steps, eta 0.85, eta_b 1. Compared as the paper says (sigma' >= noise /
sv); the released code's strict comparison (`strict`) sends the last step of a measurement without noise to the wrong
branch, and its result does not fit the measurement. For any noise above 0 the last step of the paper returns the
network's estimate as it is, so that the rule jumps at 0: here a coefficient whose own noise, noise / sv, is at most
`quiet` times the last level ends at the measurement (0: the paper's jump). Not a sampler of the posterior: with more
steps the coefficients draw to the data and lose variance; 20 is a tuned number.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from mezzotint.bridges import Bridge
from mezzotint.errors import UsageError
from mezzotint.samplers.step import Estimate, Field, drawn
from mezzotint.zero_shot.measurement import Measurement
from mezzotint.zero_shot.solver import Plan, Problem, even_grid, leading_grid


@dataclass(frozen=True)
class DDRM:
    """The solver; `eta` and `eta_b` from 0 to 1. UsageError for an operator without singular vectors in closed form."""

    eta: float = 0.85
    eta_b: float = 1.0
    strict: bool = False
    quiet: float = 1.0
    steps: int = 20
    gradients: bool = False

    def __post_init__(self) -> None:
        if not 0.0 <= self.quiet < float("inf"):
            raise UsageError(f"quiet {self.quiet} of ddrm must be 0 or a positive, finite share of the last level")
        for name, value in (("eta", self.eta), ("eta_b", self.eta_b)):
            if not 0.0 <= value <= 1.0:
                raise UsageError(f"{name} {value} of ddrm lies outside 0 to 1")

    def grid(self, bridge: Bridge, steps: int) -> tuple[float, ...]:
        return leading_grid(bridge, steps) if bridge.nodes else even_grid(bridge, steps)

    def plan(self, problem: Problem, grid: Sequence[float]) -> Plan:
        known = problem.measurement
        if not known.operator.has_svd:
            raise UsageError(
                f"ddrm works on singular vectors, and {type(known.operator).__name__} has none in closed form: use "
                "ddnm, diffpir, pigdm or dps"
            )
        a, _, s = problem.bridge.coefficients(grid[0])

        def start(eps: Tensor) -> Tensor:
            sv, x_bar = (value.to(eps.dtype) for value in known.spectral)
            variance = (s / a) ** 2 - (known.noise / torch.where(sv > 0, sv, 1.0)) ** 2
            measured = (sv > 0) & (variance >= 0)
            inner = known.svd.Vt(eps)
            drawn = torch.where(measured, x_bar + variance.clamp(min=0.0).sqrt() * inner, s / a * inner)
            return a * known.svd.V(drawn) + s * (eps - known.svd.V(inner))

        return Plan(grid, problem.denoise, DDRMStep(known, self.eta, self.eta_b, self.strict, self.quiet), start=start)


@dataclass(frozen=True, eq=False)
class DDRMStep:
    """The step in the basis V, equations 7 and 8."""

    known: Measurement
    eta: float
    eta_b: float
    strict: bool
    quiet: float
    constants: dict[torch.dtype, tuple[Tensor, Tensor, Tensor]] = field(default_factory=dict)

    def __call__(
        self, bridge: Bridge, z: Tensor, estimate: Estimate, x_state: Tensor | None, t: float, r: float,
        noise: Field | None, carry: Any = None, /,
    ) -> tuple[Tensor, Any]:  # fmt: skip
        (a_r, _, s_r), (a_t, _, s_t) = bridge.coefficients(r), bridge.coefficients(t)
        y, known, svd = estimate.y.to(z.dtype), self.known, self.known.svd
        x_bar, own, seen = self._constants(z.dtype)
        level, level_r = s_t / a_t, s_r / a_r
        kept = (1.0 - self.eta**2) ** 0.5
        off = z / a_t - y
        y_bar, off_bar = svd.Vt(y), svd.Vt(off)
        if r == 0.0 and not self.strict:
            clear = seen & (own <= self.quiet * level)
        else:
            clear = seen & ((level_r > own) if self.strict else (level_r >= own))
        # What the measurement does not see: the estimate with a share of the state's noise, and fresh noise.
        share = kept * level_r / level
        hidden, hidden_bar = y.add(off, alpha=share), y_bar.add(off_bar, alpha=share)
        if known.noise == 0.0:
            # 0 / 0: without noise the strict comparison falls to the rule of what is not seen.
            pulled = hidden_bar
        else:
            pulled = torch.lerp(y_bar, x_bar, kept * level_r / own)
        mean = torch.where(clear, torch.lerp(y_bar, x_bar, self.eta_b), pulled)
        if r > 0.0:
            variance = (level_r**2 - (self.eta_b * own) ** 2).clamp(min=0.0)
            fresh = self.eta * level_r
            eps = drawn(noise, t=t, r=r).to(z.dtype)
            inner = svd.Vt(eps)
            mean = mean.addcmul(torch.where(clear, variance.sqrt(), fresh), inner)
            hidden, hidden_bar = hidden.add_(eps, alpha=fresh), hidden_bar.add(inner, alpha=fresh)
        return a_r * (hidden + svd.V(mean - hidden_bar)), carry

    def _constants(self, dtype: torch.dtype) -> tuple[Tensor, Tensor, Tensor]:
        """x in the basis, the deviation of its noise there, and whether it is seen at all; the same for every step."""
        if dtype not in self.constants:
            sv, x_bar = (value.to(dtype) for value in self.known.spectral)
            seen = sv > 0
            self.constants[dtype] = (x_bar, self.known.noise / torch.where(seen, sv, 1.0), seen)
        return self.constants[dtype]
