"""DDNM: the estimate's range part is replaced by what was measured.

Wang, Yu and Zhang, "Zero-Shot Image Restoration Using Denoising Diffusion Null-Space Model", arXiv 2212.00490: y_c =
A^+ x + (I - A^+ A) y_hat, equation 13 (the limit of `Measurement.correct` for any variance), into the reverse kernel.
`DDNM.paper`: the ancestral kernel. `DDNM.released`: 100 leading steps with DDRM's kernel and eta 0.85, which carries on
the network's own noise; with measured noise it is DDRM (`zero_shot.ddrm`, eta_b = 1), to which the released code is
equal. Both end at y_c and fit a measurement without noise exactly. `travel` (length, repeats): the walk goes back up by
so many steps (section 3.3), re-noising the state as the paper says, not the estimate as the code does.

With noise the paper's DDNM+ (equations 16 to 19) pulls each measured coefficient by lambda and injects less noise, so
that the measurement's own noise becomes part of the step's. It is a heuristic: the same noise enters at every step, so
that it adds up, and nearly all of it stays in the picture. An operator without singular vectors in closed form gets the
paper's simplified rule, one number with noise in place of noise / sv. The errors of the released simplified branch
(gamma squared twice) are not repeated.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from mezzotint import schedules
from mezzotint.bridges import Bridge
from mezzotint.errors import UsageError
from mezzotint.samplers.loop import Denoiser
from mezzotint.samplers.step import Estimate, Field, drawn
from mezzotint.zero_shot.ddrm import DDRM
from mezzotint.zero_shot.kernels import Kernel, kernel
from mezzotint.zero_shot.measurement import Measurement
from mezzotint.zero_shot.solver import Plan, Problem, even_grid, leading_grid


@dataclass(frozen=True)
class DDNM:
    """The solver. `kernel`, `eta`: the reverse kernel; `keeps_noise`: the uncorrected estimate's noise is carried on;
    `travel`: length and repeats of time travel; `leading`: the released grid where the bridge has a table.
    """

    kernel: Kernel = "ddrm"
    eta: float = 0.85
    keeps_noise: bool = True
    travel: tuple[int, int] = (1, 1)
    leading: bool = True
    steps: int = 100
    gradients: bool = False

    @classmethod
    def released(cls, **changes: Any) -> DDNM:
        return replace(cls(), **changes)

    @classmethod
    def paper(cls, **changes: Any) -> DDNM:
        return replace(cls(kernel="ddpm", eta=1.0, keeps_noise=False, leading=False), **changes)

    def grid(self, bridge: Bridge, steps: int) -> tuple[float, ...]:
        return leading_grid(bridge, steps) if self.leading and bridge.nodes else even_grid(bridge, steps)

    def plan(self, problem: Problem, grid: Sequence[float]) -> Plan:
        length, repeats = self.travel
        walk = schedules.time_travel(grid, jump=length, repeats=repeats)
        known = problem.measurement
        if known.noise == 0.0:
            denoise = self._corrected(problem.denoise, known)
            return Plan(walk, denoise, kernel(self.kernel, eta=self.eta))
        if self.kernel == "ddrm" and known.operator.has_svd:
            return replace(DDRM(eta=self.eta).plan(problem, grid), walk=walk)
        if self.kernel != "ddpm":
            raise UsageError(
                f"ddnm with kernel {self.kernel} has no rule for noise {known.noise} on this operator: use ddnm@paper, "
                "whose kernel is ddpm, diffpir or pigdm, or noise 0"
            )
        return Plan(walk, problem.denoise, PlusStep(known))

    def _corrected(self, denoise: Denoiser, known: Measurement) -> Denoiser:
        def corrected(z: Tensor, t: float) -> Estimate:
            found = denoise(z, t)
            y = known.project(found.y)
            return replace(found, y=y, y_carry=found.y if self.keeps_noise else None)

        return corrected


@dataclass(frozen=True, eq=False)
class PlusStep:
    """The ancestral step of DDNM+ (equations 16 to 19) in the singular basis, or with one number where there is none.

    y_hat + lambda A^+ (x - A y_hat), and noise of variance gamma on what is measured; per coefficient lambda = 1 and
    gamma = sd^2 - (c noise / sv)^2 where that is not negative, else lambda = sd sv / (c noise) and gamma = 0, with c
    the weight of the estimate in the step and sd the step's deviation.
    """

    known: Measurement

    def __call__(
        self, bridge: Bridge, z: Tensor, estimate: Estimate, x_state: Tensor | None, t: float, r: float,
        noise: Field | None, carry: Any = None, /,
    ) -> tuple[Tensor, Any]:  # fmt: skip
        (a_r, _, _), (a_t, _, _) = bridge.coefficients(r), bridge.coefficients(t)
        k, sd = bridge.transition(r, t)
        weight = a_r - k * a_t
        y, known = estimate.y.to(z.dtype), self.known
        if known.operator.has_svd:
            sv, x_bar = (value.to(z.dtype) for value in known.spectral)
            limit = weight * known.noise / torch.where(sv > 0, sv, 1.0)
            pull = torch.where(limit > sd, sd / limit, 1.0)
            moved = y + known.svd.V(pull * (x_bar - known.svd.Vt(y)))
        else:
            limit = torch.tensor(weight * known.noise, dtype=z.dtype)
            pull = torch.where(limit > sd, sd / limit, 1.0)
            moved = y + pull * known.operator.pinv(known.residual(y))
        moved = weight * moved + k * z
        if r == 0.0:
            return moved, carry
        deviation = (sd**2 - (pull * limit) ** 2).clamp(min=0.0).sqrt()
        eps = drawn(noise, t=t, r=r).to(z.dtype)
        if known.operator.has_svd:
            seen = known.svd.Vt(eps)
            return moved + sd * (eps - known.svd.V(seen)) + known.svd.V(deviation * seen), carry
        seen = known.range_part(eps)
        return moved + sd * (eps - seen) + deviation * seen, carry
