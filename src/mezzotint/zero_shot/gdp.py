"""GDP: the mean of each step moves down the gradients of a distance to the measurement and of measures of quality.

Fei et al., "Generative Diffusion Prior for Unified Image Restoration and Enhancement", arXiv 2304.01247, algorithms 1
and 2: p(x | z_t) is proportional to exp(-[s L + lambda Q]). L is the mean over the picture of (A^+ A u - v)^2 with u
the picture and v = A^+ x, both in [0, 1] as in the released code, so that one step pulls what is measured by s / (2 C H
W): `strength` s = 2000 was found on 256x256 pixels and in 1000 steps, and is scaled with the number of values and, as
the pull of all steps adds up, with 1000 / steps, unless `absolute`. `at` "estimate" (GDP-x0): the gradient of the
estimate alone, not through the network; "state" (GDP-xt): L of the state itself. `form` "released": the gradient is
subtracted as it is; "paper": multiplied by the step's variance, which is larger where steps are few, so that they do
not count here.

`blind`: the degradation is D(y) = f A y + m with an unknown factor f and a map m of x's shape, which follow the
gradient of L by one step of `rate` after each reverse step (light, haze); they begin at 1 and 0. `exposure`, `colour`,
`smoothness`: weights of Q, after Zero-DCE: mean light of cells of 8x8 pixels near 0.3; equal means of the channels; a
small total variation of m.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from mezzotint.bridges import Bridge
from mezzotint.errors import UsageError
from mezzotint.samplers.step import Estimate, Field, ancestral
from mezzotint.zero_shot.measurement import Measurement
from mezzotint.zero_shot.solver import Plan, Problem, even_grid

REFERENCE = 3 * 256 * 256
"""The values of the picture that the published strength was found on."""

REFERENCE_STEPS = 1000
"""The steps that it was found in."""


@dataclass(frozen=True)
class GDP:
    """The solver. UsageError for weights below 0 and unknown forms."""

    strength: float = 2000.0
    at: Literal["estimate", "state"] = "estimate"
    form: Literal["released", "paper"] = "released"
    absolute: bool = False
    blind: bool = False
    rate: float = 1.0
    exposure: float = 0.0
    colour: float = 0.0
    smoothness: float = 0.0
    steps: int = 1000
    gradients: bool = False

    def __post_init__(self) -> None:
        if self.at not in ("estimate", "state") or self.form not in ("released", "paper"):
            raise UsageError(
                f"gdp at {self.at!r} in form {self.form!r}: at is 'estimate' or 'state', form 'released' or 'paper'"
            )
        for name in ("strength", "rate", "exposure", "colour", "smoothness"):
            value = getattr(self, name)
            if not 0.0 <= value < float("inf"):
                raise UsageError(f"{name} {value} of gdp must be 0 or positive and finite")

    def grid(self, bridge: Bridge, steps: int) -> tuple[float, ...]:
        return even_grid(bridge, steps)

    def plan(self, problem: Problem, grid: Sequence[float]) -> Plan:
        values = problem.shape[1] * problem.shape[2] * problem.shape[3]
        factor = 1.0 if self.absolute else values / REFERENCE
        if not self.absolute and self.form == "released":
            factor *= REFERENCE_STEPS / (len(grid) - 1)
        return Plan(grid, problem.denoise, GDPStep(problem.measurement, self, factor))


@dataclass(frozen=True, eq=False)
class Light:
    """The fitted degradation: factor b 1 1 1 and map b c' h w, in units of x; carried from step to step."""

    factor: Tensor
    offset: Tensor


@dataclass(frozen=True, eq=False)
class GDPStep:
    """The ancestral step, then down the gradient; the carry is the fitted `Light` of a blind one."""

    known: Measurement
    settings: GDP
    scale: float

    def __call__(
        self, bridge: Bridge, z: Tensor, estimate: Estimate, x_state: Tensor | None, t: float, r: float,
        noise: Field | None, carry: Any = None, /,
    ) -> tuple[Tensor, Any]:  # fmt: skip
        own = self.settings
        point = (estimate.y if own.at == "estimate" else z).detach().to(z.dtype)
        light: Light | None = carry
        if own.blind and light is None:
            light = Light(z.new_ones(len(z), 1, 1, 1), z.new_zeros(self.known.x.shape))
        with torch.enable_grad():
            y = point.clone().requires_grad_()
            parts = [y]
            if light is not None:
                light = Light(light.factor.detach().requires_grad_(), light.offset.detach().requires_grad_())
                parts += [light.factor, light.offset]
            distance = self._distance(y, light)
            total = self.scale * own.strength * distance + self._quality(y, light)
            (gradient,) = torch.autograd.grad(total.sum(), y, retain_graph=light is not None)
            if light is not None:
                factor, offset = torch.autograd.grad(distance.sum(), (light.factor, light.offset))
                light = Light(
                    (light.factor - own.rate * factor).detach().clamp(0.05, 20.0),
                    (light.offset - own.rate * offset).detach().clamp(-2.0, 2.0),
                )
        moved, _ = ancestral(bridge, z, estimate, x_state, t, r, noise, None)
        weight = 1.0 if own.form == "released" else bridge.transition(r, t)[1] ** 2
        return moved - weight * gradient, light

    def _distance(self, y: Tensor, light: Light | None) -> Tensor:
        """(b,): the mean of (A^+ A u - v)^2 over the picture, in [0, 1]; halves of differences in [-1, 1]."""
        small = self.known.operator.A(y)
        if light is not None:
            small = light.factor * small + light.offset
        off = self.known.operator.pinv(small - self.known.x.to(y.dtype))
        return 0.25 * off.flatten(1).square().mean(1)

    def _quality(self, y: Tensor, light: Light | None) -> Tensor:
        own, unit = self.settings, (y + 1.0) / 2.0
        total = y.new_zeros(len(y))
        if own.exposure > 0.0:
            cells = F.avg_pool2d(unit.mean(1, keepdim=True), 8, ceil_mode=True)
            total = total + own.exposure * (cells - 0.3).square().flatten(1).mean(1)
        if own.colour > 0.0 and y.shape[1] > 1:
            means = unit.flatten(2).mean(2)
            gaps = means - means.roll(1, dims=1)
            total = total + own.colour * gaps.square().sum(1)
        if own.smoothness > 0.0 and light is not None:
            rows, columns = light.offset.diff(dim=-2), light.offset.diff(dim=-1)
            total = total + own.smoothness * (rows.square().flatten(1).sum(1) + columns.square().flatten(1).sum(1))
        return total
