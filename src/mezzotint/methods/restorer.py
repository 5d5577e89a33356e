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
from mezzotint.operators.composed import Chain
from mezzotint.operators.diagonal import Grey, Identity, Mask
from mezzotint.operators.linear import LinearOperator
from mezzotint.operators.named import NamedOperator, named_operator
from mezzotint.samplers.loop import Move
from mezzotint.zero_shot import SOLVERS, Measurement, Plan, Problem, Solver, restore
from mezzotint.zero_shot import build as build_solver

DEFAULT_OPERATOR = "bicubic"
"""What small pictures are taken for where nothing is said: MATLAB's bicubic reduction."""

Operator = str | NamedOperator | LinearOperator


def read_mask(path: str) -> Tensor:
    """The picture of a mask, (h, w): 0 where every channel is black, where nothing is known."""
    from mezzotint import images

    return torch.from_numpy(images.read_plain(path).pixels).amax(-1)


class Restorer(nn.Module):
    """Restore pictures with one solver and one prior.

    prior: a module with `of(bridge, like=)`, which gives its denoiser, and `bridge`, the process whose grids the
    solver walks: `methods.prior` on DDPM's linear schedule, as the published settings of solvers are, those of others
    (`methods.foreign_prior`) on the process of their training.
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

    @property
    def networks(self) -> tuple[nn.Module, ...]:
        """Those of the prior."""
        return self.prior.networks  # pyright: ignore

    @property
    def differentiates(self) -> bool:
        """Whether the solver looks through the prior."""
        return self.solver.gradients

    def sample(
        self,
        x: Tensor,
        *,
        noise: NoiseSource,
        steps: int | None = None,
        size: tuple[int, int] | None = None,
        operator: Operator = DEFAULT_OPERATOR,
        sigma: float = 0.0,
        origin: tuple[int, int] = (0, 0),
        callback: Callable[[Move], None] | None = None,
    ) -> Tensor:
        """The restored pictures b c H W of x b c' h w in [-1, 1], in x's type and not clipped.

        operator: what made x small: a name of `operators.named`, or an operator. sigma: the deviation of the noise that
        was added then, in the same unit as x (2 / 255 of grey levels). x may have all its channels where the operator
        leaves one (grey), and anything where a mask knows nothing. `steps`, `noise`, `origin`, `callback` as for
        `samplers.sample`. UsageError where operator, sizes and solver do not fit.
        """
        if x.dim() != 4 or not x.is_floating_point():
            raise UsageError(f"x of shape {tuple(x.shape)} and type {x.dtype}: {self.name} takes pictures b c h w")
        built = self.operator_for(operator, (int(x.shape[-2]), int(x.shape[-1])), size)
        problem = self._problem(self.measured(x, built), built, sigma)
        y = restore(self.solver, problem, noise=noise, steps=steps, origin=origin, callback=callback)
        return y.to(x.dtype)

    def operator_for(
        self, operator: Operator, small: tuple[int, int], size: tuple[int, int] | None
    ) -> LinearOperator:
        """The operator between a large picture of `size` and a small one; UsageError where they do not fit."""
        if isinstance(operator, LinearOperator):
            return operator
        if size is None:
            size = (max(1, round(small[0] * self.scale)), max(1, round(small[1] * self.scale)))
        if isinstance(operator, str):
            scale = size[0] / small[0] if size[0] % small[0] == 0 else self.scale
            operator = named_operator(operator, scale=scale, read_mask=read_mask)
        built = operator.for_large(*size)
        if built.shape_out != small:
            raise UsageError(
                f"operator {operator.name} makes {built.shape_out[1]}x{built.shape_out[0]} pixels of "
                f"{size[1]}x{size[0]}, the input has {small[1]}x{small[0]}: name a size that is a whole multiple of it"
            )
        return built

    def measured(self, x: Tensor, operator: LinearOperator) -> Tensor:
        """A y of the pictures y in [-1, 1] that a small picture x, b c h w in [-1, 1], was made of.

        y = 2 u - 1 makes it 2 A u - A 1, which is x itself where A keeps constants and differs from it where a mask has
        left black. What lies where a mask knows nothing is left out, and of colours only grey is kept where the
        operator keeps no more.
        """
        grey = _grey(operator)
        if grey is None:
            one = x + 1.0
        else:
            one = x[:, :1] + 1.0
            if x.shape[1] == len(grey.weights) > 1:
                own = Grey(height=int(x.shape[-2]), width=int(x.shape[-1]), weights=grey.weights)
                # A grey picture in three channels is the measurement itself, whatever the weights add up to.
                equal = (x == x[:, :1]).flatten(1).all(1)[:, None, None, None]
                one = torch.where(equal, one, own.A(x) + sum(grey.weights))
        ones = torch.ones(1, self.channels, *operator.shape_in, dtype=x.dtype, device=x.device)
        constant = operator.A(ones)[:, : one.shape[1]]
        if float((constant - 1.0).abs().max()) < 1e-5:
            return self._known(one - 1.0 if grey is not None else x, operator)
        return self._known(one - constant, operator)

    def check(self, operator: LinearOperator, *, channels: int, sigma: float, steps: int | None = None) -> None:
        """UsageError for a restoration that cannot be done, before anything is computed."""
        shape = (1, operator.channels_out(self.channels), *operator.shape_out)
        if channels not in (1, 3) or self.channels not in (channels, 3):
            raise UsageError(
                f"the prior of {self.name} knows pictures of {self.channels} channels, this one has {channels}: use a "
                "prior trained for them"
            )
        plan = self.plan(self._problem(torch.zeros(shape), operator, sigma), steps)
        if self.solver.gradients:
            self._check_gradients(plan.walk[0])

    def plan(self, problem: Problem, steps: int | None = None) -> Plan:
        """How the solver goes about a problem; UsageError where it cannot."""
        try:
            count = self.steps_default if steps is None else steps
            return self.solver.plan(problem, self.solver.grid(problem.bridge, count))
        except ValueError as error:
            raise error if isinstance(error, UsageError) else UsageError(f"{self.name}: {error}") from error

    def evaluations(self, steps: int | None = None) -> int:
        """How often the prior is asked in so many steps."""
        return self._plain_plan(steps).evaluations

    def moves(self, steps: int | None = None) -> int:
        """How often `sample` calls back."""
        return self._plain_plan(steps).moves

    def _plain_plan(self, steps: int | None) -> Plan:
        nothing, row = torch.zeros(1, self.channels, 1, 1), SOLVERS.get(self.name)
        # With noise where there may be some: one solver is for noise alone.
        sigma = 1.0 if row is not None and row.noise else 0.0
        return self.plan(self._problem(nothing, Identity(height=1, width=1), sigma), steps)

    def _problem(self, x: Tensor, operator: LinearOperator, sigma: float) -> Problem:
        row = SOLVERS.get(self.name)
        if sigma > 0 and row is not None and not row.noise:
            others = ", ".join(name for name, other in SOLVERS.items() if other.noise and not other.gradients)
            raise UsageError(
                f"{self.name} takes the input for exact, and noise of {127.5 * sigma:g} grey levels is not: use one of "
                f"{others}, or leave the noise out"
            )
        known = Measurement(operator, x, sigma)
        shape = (len(x), known.channels, *operator.shape_in)
        if shape[1] != self.channels:
            raise UsageError(
                f"the prior of {self.name} knows pictures of {self.channels} channels, this one has {shape[1]}: use a "
                "prior trained for them"
            )
        like = torch.empty(shape, dtype=x.dtype, device=x.device)
        denoise = self.prior.of(self.bridge, like=like)  # pyright: ignore
        return Problem(denoise, self.bridge, known, getattr(self.prior, "spectrum", None))

    def _known(self, x: Tensor, operator: LinearOperator) -> Tensor:
        last = operator.second if isinstance(operator, Chain) else operator
        return last.A(last.pinv(x)) if isinstance(last, Mask) else x

    def _check_gradients(self, t: float) -> None:
        like = torch.zeros(1, self.channels, 32, 32)
        for parameter in self.prior.parameters():
            like = like.to(parameter)
            break
        with torch.enable_grad():
            y = self.prior.of(self.bridge, like=like)(like.double().requires_grad_(), t).y  # pyright: ignore
        if not y.requires_grad:
            raise UsageError(
                f"{self.name} looks through the network, and this prior gives no gradients: use ddnm, ddrm or diffpir, "
                "or a prior that runs in PyTorch"
            )


def _grey(operator: LinearOperator) -> Grey | None:
    """The part of an operator that mixes channels: a chain does it first."""
    first = operator.first if isinstance(operator, Chain) else operator
    return first if isinstance(first, Grey) else None


def build_restorer(
    name: str, *, scale: float, preset: str, config: Mapping[str, Any] | None, prior: nn.Module | None = None
) -> Restorer:
    """The solver `name` as a method, on a given prior or an untrained one; UsageError for unknown settings."""
    from mezzotint.methods import prior as own_prior

    row = SOLVERS[name]
    settings = settle(row.presets, method=name, preset=preset, changes=config)
    prior = own_prior.build() if prior is None else prior
    # A prior that was trained on one process is asked on that; ours serves all, and solvers were published on DDPM's.
    native = getattr(prior, "native", None)
    return Restorer(
        name=name,
        scale=scale,
        preset=preset,
        config=settings,
        solver=build_solver(name, **settings),
        prior=prior,
        bridge=VP(schedules.linear(1000)) if native is None else native,
    )


def _builder(name: str) -> Callable[..., Restorer]:
    def build(*, scale: float = 4, preset: str, config: Mapping[str, Any] | None = None) -> Restorer:
        return build_restorer(name, scale=scale, preset=preset, config=config)

    build.__doc__ = f"{name}, on an untrained prior."
    return build


repaint, ilvr, ccdf, snips, ddrm, ddnm, dps, gdp = map(
    _builder, ("repaint", "ilvr", "ccdf", "snips", "ddrm", "ddnm", "dps", "gdp")
)
mcg, pigdm, diffpir, red_diff, daps, spectral = map(
    _builder, ("mcg", "pigdm", "diffpir", "red-diff", "daps", "spectral")
)
