"""The zero-shot solvers as methods: a prior, a solver and an operator that is named when a picture comes.

A restorer is loaded with the weights of its prior, not with weights of its own: `ddnm` takes the prior in the package,
`ddnm:FOLDER` another. Presets are the variants of a solver, `ddnm@paper`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from mezzotint import schedules
from mezzotint.bridges import VP
from mezzotint.errors import UsageError
from mezzotint.methods.presets import settle
from mezzotint.noise import NoiseSource
from mezzotint.operators.linear import LinearOperator
from mezzotint.operators.named import NamedOperator, named_operator
from mezzotint.samplers.loop import Move
from mezzotint.zero_shot import SOLVERS, Measurement, Problem, Solver, restore
from mezzotint.zero_shot import build as build_solver

DEFAULT_OPERATOR = "bicubic"
"""What small pictures are taken for where nothing is said: MATLAB's bicubic reduction."""


class Restorer(nn.Module):
    """Restore pictures with one solver and one prior.

    prior: a module with `of(bridge, like=)`, which gives its denoiser, and `bridge`, the process whose grids the
    solver walks: `methods.prior` on DDPM's linear schedule, as the published settings of solvers are.
    """

    def __init__(
        self, *, name: str, scale: float, preset: str, config: Mapping[str, Any], solver: Solver, prior: nn.Module,
        bridge: Any,
    ) -> None:  # fmt: skip
        super().__init__()
        if not 1 <= scale < float("inf"):
            raise UsageError(f"scale {scale} of {name} is below 1: 1 keeps the size (mask, grey, identity)")
        self.name, self.scale, self.preset, self.config = name, scale, preset, dict(config)
        self.solver, self.prior, self.bridge = solver, prior, bridge
        self.channels = int(getattr(prior, "channels", 3))
        self.steps_default = solver.steps

    def sample(
        self,
        x: Tensor,
        *,
        noise: NoiseSource,
        steps: int | None = None,
        size: tuple[int, int] | None = None,
        operator: str | NamedOperator | LinearOperator = DEFAULT_OPERATOR,
        sigma: float = 0.0,
        origin: tuple[int, int] = (0, 0),
        callback: Callable[[Move], None] | None = None,
    ) -> Tensor:
        """The restored pictures b c H W of x b c' h w in [-1, 1], in x's type and not clipped.

        operator: what made x small: a name of `operators.named`, or an operator. sigma: the deviation of the noise that
        was added then, in the same unit as x (2 / 255 of grey levels). x may have all its channels where the operator
        leaves one (grey), and anything where a mask knows nothing: it is measured first. `steps`, `noise`, `origin`,
        `callback` as for `samplers.sample`. UsageError where operator, sizes and solver do not fit.
        """
        if x.dim() != 4 or not x.is_floating_point():
            raise UsageError(f"x of shape {tuple(x.shape)} and type {x.dtype}: {self.name} takes pictures b c h w")
        known = self._measure(x, operator, size, sigma)
        like = torch.empty(self._shape(known), dtype=x.dtype, device=x.device)
        problem = Problem(self.prior.of(self.bridge, like=like), self.bridge, known)  # pyright: ignore
        y = restore(self.solver, problem, noise=noise, steps=steps, origin=origin, callback=callback)
        return y.to(x.dtype)

    def operator_for(
        self, operator: str | NamedOperator | LinearOperator, small: tuple[int, int], size: tuple[int, int] | None
    ) -> LinearOperator:
        """The operator between a large picture of `size` and a small one; UsageError where they do not fit."""
        if isinstance(operator, LinearOperator):
            return operator
        if size is None:
            size = (max(1, round(small[0] * self.scale)), max(1, round(small[1] * self.scale)))
        if isinstance(operator, str):
            operator = named_operator(operator, scale=size[0] / small[0] if size[0] % small[0] == 0 else self.scale)
        built = operator.for_large(*size)
        if built.shape_out != small:
            raise UsageError(
                f"operator {operator.name} makes {built.shape_out[0]}x{built.shape_out[1]} pixels of "
                f"{size[0]}x{size[1]}, the input has {small[0]}x{small[1]}: name a size that is a whole multiple of it"
            )
        return built

    def _measure(
        self, x: Tensor, operator: str | NamedOperator | LinearOperator, size: tuple[int, int] | None, sigma: float
    ) -> Measurement:
        built = self.operator_for(operator, (int(x.shape[-2]), int(x.shape[-1])), size)
        if built.shape_in == built.shape_out and built.channels_out(self.channels) != x.shape[1]:
            x = built.A(x)
        elif built.shape_in == built.shape_out:
            x = built.A(built.pinv(x))  # what lies where nothing is known does not count
        return Measurement(built, x, sigma)

    def _shape(self, known: Measurement) -> tuple[int, int, int, int]:
        shape = (len(known.x), known.channels, *known.operator.shape_in)
        if shape[1] != self.channels:
            raise UsageError(
                f"the prior of {self.name} knows pictures of {self.channels} channels, this one has {shape[1]}: use a "
                "prior trained for them"
            )
        return shape


def build_restorer(
    name: str, *, scale: float, preset: str, config: Mapping[str, Any] | None, prior: nn.Module | None = None
) -> Restorer:
    """The solver `name` as a method, on a given prior or an untrained one; UsageError for unknown settings."""
    from mezzotint.methods import prior as own_prior

    row = SOLVERS[name]
    settings = settle(row.presets, method=name, preset=preset, changes=config)
    return Restorer(
        name=name,
        scale=scale,
        preset=preset,
        config=settings,
        solver=build_solver(name, **settings),
        prior=own_prior.build() if prior is None else prior,
        bridge=VP(schedules.linear(1000)),
    )


def _builder(name: str) -> Callable[..., Restorer]:
    def build(*, scale: float = 4, preset: str, config: Mapping[str, Any] | None = None) -> Restorer:
        return build_restorer(name, scale=scale, preset=preset, config=config)

    build.__doc__ = f"{name}, on an untrained prior."
    return build


repaint, ilvr, ccdf, snips, ddrm, ddnm, dps, gdp = map(
    _builder, ("repaint", "ilvr", "ccdf", "snips", "ddrm", "ddnm", "dps", "gdp")
)
mcg, pigdm, diffpir, red_diff, daps = map(_builder, ("mcg", "pigdm", "diffpir", "red-diff", "daps"))
