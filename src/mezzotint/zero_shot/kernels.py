"""The three reverse kernels that zero-shot solvers mean by eta, by name, so that they never mix.

`ddpm`: the bridge's posterior. `ddim`: k = sqrt(s_r^2 - eta^2 v) / s_t with v the posterior's variance, so that eta = 1
is ddpm and 0 deterministic. `ddrm`: noise of eta s_r whatever the length of the step, k = sqrt(1 - eta^2) s_r / s_t
(the releases of DDRM and DDNM; DiffPIR with eta = sqrt(zeta)): it puts fresh noise into every step, so that on a
Gaussian prior the variance of what is not measured tends to (1 + sqrt(1 - eta^2)) / 2 of the prior's as the grid is
refined. A variance that the prior states for its estimate (c2, ADM's learned one) counts in ddpm alone: the noise of
the other two is what their eta says.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any, Literal

from torch import Tensor

from mezzotint.bridges import Bridge
from mezzotint.errors import UsageError
from mezzotint.samplers.loop import Step
from mezzotint.samplers.step import Estimate, Field, ancestral, carry_step

Kernel = Literal["ddpm", "ddim", "ddrm"]


def kernel(name: Kernel, *, eta: float = 1.0) -> Step:
    """The step of a kernel; `eta` from 0 to 1 (ignored by ddpm). UsageError for another name or eta."""
    if not 0.0 <= eta <= 1.0:
        raise UsageError(f"eta {eta} of kernel {name} lies outside 0 (no fresh noise) to 1")
    if name == "ddpm":
        return ancestral
    if name == "ddim":
        return _certain(partial(ancestral, eta=eta))
    if name == "ddrm":
        return _certain(partial(carry_step, k=partial(_kept, eta=eta)))
    raise UsageError(f"kernel {name!r} is none of ddpm, ddim, ddrm")


def _certain(step: Step) -> Step:
    """The step for an estimate that is taken for exact."""

    def certain(
        bridge: Bridge, z: Tensor, estimate: Estimate, x_state: Tensor | None, t: float, r: float,
        noise: Field | None, carry: Any = None, /,
    ) -> tuple[Tensor, Any]:  # fmt: skip
        return step(bridge, z, replace(estimate, c2=0.0), x_state, t, r, noise, carry)

    return certain


def _kept(bridge: Bridge, r: float, t: float, *, eta: float) -> float:
    s_r, s_t = bridge.coefficients(r)[2], bridge.coefficients(t)[2]
    return (1.0 - eta**2) ** 0.5 * s_r / s_t
