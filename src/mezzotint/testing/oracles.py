"""Every part against every public check: the tables of docs/oracles.md, with what is measured and what is allowed.

`python -m mezzotint.testing.oracles > docs/oracles.md` writes the page, in half a minute on one core. Rows come from
the tables of the package (`bridges.NAMED`, `samplers.SAMPLERS`, `prediction.KINDS`, the methods) and from `OPERATORS`,
so a part that is added there appears by itself. A check that fails stops the page with its AssertionError.
"""

from __future__ import annotations

import inspect
import math
import textwrap
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from types import MappingProxyType

import torch
from torch import nn

from mezzotint import methods
from mezzotint.bridges import NAMED, VP, Bridge, InDI, Pinned, ResShift, named
from mezzotint.operators.bicubic import BicubicDown
from mezzotint.operators.blur import Blur, CircularBlur
from mezzotint.operators.composed import Chain, Stack, chain
from mezzotint.operators.diagonal import Average, Grey, Identity, Mask
from mezzotint.operators.kernels import GaussianKernel
from mezzotint.operators.linear import LinearOperator
from mezzotint.operators.separable import gaussian, resize
from mezzotint.prediction import KINDS, Kind, Preconditioning, usable_kinds
from mezzotint.samplers import SAMPLERS
from mezzotint.schedules import LinearSDE
from mezzotint.testing import check_bridge, check_method, check_operator, check_prediction, check_sampler

COMMAND = "python -m mezzotint.testing.oracles > docs/oracles.md"

_INTRODUCTION = (
    f"Written by `{COMMAND}`. A figure is the largest error that a public check of `mezzotint.testing` "
    "measures; unless the table says otherwise it counts relative to 1 + the size of what is compared. The head of the "
    "column has the largest that the check allows. Digits differ between machines. A test holds the page to the code."
)

_SLANTED = GaussianKernel(size=7, sigmas=(1.1, 0.5), angle=0.6)
# These pass nothing of some small pictures, so that A A^+ is not the identity.
_DEFICIENT = ("mask", "two shifted gaussian x2")

OPERATORS: Mapping[str, Callable[[], LinearOperator]] = MappingProxyType(
    {
        "bicubic x2": lambda: BicubicDown(scale=2, height=12, width=10),
        "bicubic x3": lambda: BicubicDown(scale=3, height=9, width=15),
        "bicubic x4": lambda: BicubicDown(scale=4, height=36, width=28),
        "bicubic x8": lambda: BicubicDown(scale=8, height=16, width=8),
        "bicubic x2.5": lambda: resize(height=17, width=22, scale=2.5),
        "lanczos x3": lambda: resize(height=17, width=22, scale=3, kernel="lanczos3"),
        "average x3": lambda: Average(scale=3, height=12, width=9),
        "gaussian x4": lambda: gaussian(height=30, width=21, scale=4, sigma=1.6),
        "slanted blur x2, torus": lambda: CircularBlur(kernel=_SLANTED, height=16, width=22, scale=2),
        "slanted blur x2, mirrored": lambda: Blur(kernel=_SLANTED, height=17, width=14, scale=2),
        "mask": lambda: Mask.of_stride(height=9, width=12, scale=2),
        "grey": lambda: Grey(height=7, width=9),
        "identity": lambda: Identity(height=7, width=9),
        "grey of bicubic x2": lambda: chain(resize(height=9, width=12, scale=2), Grey(height=5, width=6)),
        "mask, then average x2": lambda: Chain(
            Mask.of_stride(height=12, width=8, scale=2), Average(scale=2, height=12, width=8)
        ),
        "two shifted gaussian x2": lambda: Stack(
            tuple(gaussian(height=12, width=10, scale=2, sigma=0.5, shift=(s, s)) for s in (-0.5, 0.5))
        ),
    }
)
"""Every linear operator of the package, small: what `check_operator` is asked of. A new operator is one row."""

# Each sampler is measured on the first of these that it can serve; orders need noise at t = 1.
_BRIDGES: tuple[Bridge, ...] = (VP(LinearSDE()), ResShift(), Pinned(0.141027), InDI(0.3))
# Steps of one path of corruption: they invert it, and need neither return the estimate nor keep the marginals.
_PATHS = ("cold1", "cold2", "momentum")
# Discretised equations keep the marginals in the limit of short steps only.
_DISCRETISED = ("euler-maruyama", "reverse-diffusion")

# The identities of `check_bridge` that are compared with finite differences, for which it allows more.
_RATES = 1e-7
_RATE_IDENTITIES = frozenset(
    {
        "rate of a",
        "rate of b",
        "rate of s^2",
        "rates of floats equal those of tensors",
        "diffusion is not negative",
        "drift of z - b x",
        "diffusion of z - b x",
        "velocity",
    }
)
# What `check_prediction` allows for the ratio of squared errors, and what `check_sampler` allows for the order.
_WEIGHT = 1e-6
_ORDER = 0.15
_PRECONDITIONED = Preconditioning(0.25)
_TIMES = (0.02, 0.1, 0.37, 0.5, 0.81, 0.97)


@dataclass(frozen=True)
class Column:
    """One figure of a table and the largest value that its check allows."""

    name: str
    threshold: float


@dataclass(frozen=True)
class Table:
    """One table of the page.

    measure: from the name of a row to the figure of every column that it has, by the name of the column.
    absent: from the names of a row and a column to the words that stand in place of a figure, "" where there is one.
    """

    title: str
    text: str
    part: str
    rows: tuple[str, ...]
    columns: tuple[Column, ...]
    measure: Callable[[str], dict[str, float]]
    absent: Callable[[str, str], str] = field(default=lambda row, column: "")

    def lines(self) -> Iterator[str]:
        """The table in Markdown, every figure measured now."""
        yield "| " + " | ".join([self.part, *map(heading, self.columns)]) + " |"
        yield "|---|" + "--:|" * len(self.columns)
        for row in self.rows:
            figures = self.measure(row)
            yield f"| {row} | " + " | ".join(self._cell(row, column, figures) for column in self.columns) + " |"

    def _cell(self, row: str, column: Column, figures: Mapping[str, float]) -> str:
        reason = self.absent(row, column.name)
        if bool(reason) == (column.name in figures):
            stated = reason or "a figure"
            raise AssertionError(f"{self.title}: {row}, {column.name}: {stated} is stated, {figures} found")
        return reason or figure(figures[column.name])


def heading(column: Column) -> str:
    """The head of a column: its name and its limit."""
    return f"{column.name} ≤ {column.threshold:g}"


def figure(value: float) -> str:
    """A figure as the page prints it: two digits; they differ between machines, the limits do not."""
    return "0" if value == 0.0 else f"{value:.2f}" if abs(value) >= 0.01 else f"{value:.1e}"


def wrapped(text: str) -> list[str]:
    """A paragraph of the page in lines."""
    return textwrap.wrap(text, 120, break_on_hyphens=False, break_long_words=False)


def tables() -> tuple[Table, ...]:
    """The tables of the page, in order."""
    return (_bridges(), _kinds(), _samplers(), _walks(), _operators(), _methods())


def page() -> Iterator[str]:
    """The lines of docs/oracles.md."""
    yield "# Every part against every check"
    yield ""
    yield from wrapped(_INTRODUCTION)
    for table in tables():
        yield ""
        yield f"## {table.title}"
        yield ""
        yield from wrapped(table.text)
        yield ""
        yield from table.lines()


def _bridges() -> Table:
    limit, round_trips = _tolerance(check_bridge), _tolerance(check_prediction)

    def measure(name: str) -> dict[str, float]:
        bridge = _named(name)
        errors, kinds = check_bridge(bridge), check_prediction(bridge)
        rates = [error for identity, error in errors.items() if identity in _RATE_IDENTITIES]
        found = {
            "identities": max(error for identity, error in errors.items() if identity not in _RATE_IDENTITIES),
            "round trips": max(error for identity, error in kinds.items() if identity != "implied weight"),
            "implied weights": kinds["implied weight"],
        }
        return {**found, "rates": max(rates)} if rates else found

    return Table(
        "Bridges",
        "`check_bridge` and `check_prediction`, on every row of `mezzotint.bridges.NAMED`. Identities: the clean "
        "end, carries and variances that compose, the way back against the marginals, `renoise`, floats against "
        "tensors. Rates: `derivatives`, `diffusion` and `velocity` against finite differences. The others: all "
        "kinds of prediction at once.",
        "bridge",
        tuple(NAMED),
        (
            Column("identities", limit),
            Column("rates", _RATES),
            Column("round trips", round_trips),
            Column("implied weights", _WEIGHT),
        ),
        measure,
        lambda row, column: "no rates" if column == "rates" and not _has_rates(_named(row)) else "",
    )


def _kinds() -> Table:
    kinds: dict[str, Kind | Preconditioning] = {**{kind: kind for kind in KINDS}, "preconditioned": _PRECONDITIONED}

    def absent(row: str, column: str) -> str:
        return "" if column in _usable(row) else "-"

    def measure(name: str) -> dict[str, float]:
        found = {}
        for column, kind in kinds.items():
            if not absent(name, column):
                errors = check_prediction(_named(name), kinds=(kind,), times=_usable(name)[column])
                found[column] = max(error for identity, error in errors.items() if identity != "implied weight")
        return found

    limit = _tolerance(check_prediction)
    return Table(
        "Kinds of prediction",
        "`check_prediction`, kind by kind: a target gives the clean sample back, an estimate and a prediction come "
        "back, a batch of times equals its items, at those of six times where the kind determines the clean sample; "
        "- where it does at none. Preconditioned: EDM's scales for data of deviation 0.25.",
        "bridge",
        tuple(NAMED),
        tuple(Column(kind, limit) for kind in kinds),
        measure,
        absent,
    )


def _samplers() -> Table:
    columns = {
        "last step": "last step returns the estimate",
        "marginals": "known sample keeps the marginals",
        "deviation": "relative deviation",
    }

    def absent(row: str, column: str) -> str:
        if row in _PATHS:
            return "own path"
        if column == "marginals" and row in _DISCRETISED:
            return "in the limit"
        return "no limit" if column in ("deviation", "order") and SAMPLERS[row].order is None else ""

    def measure(name: str) -> dict[str, float]:
        row = SAMPLERS[name]
        if name in _PATHS:
            return {}
        bridge = next(bridge for bridge in _BRIDGES if row.can_serve(bridge))
        errors = check_sampler(
            row.build(),
            bridge=bridge,
            steps=(48, 144) if row.stochastic else (24, 96),
            converges=row.order is not None,
            keeps_marginals=name not in _DISCRETISED,
            order=row.order,
            stochastic=row.stochastic,
        )
        found = {column: errors[identity] for column, identity in columns.items() if identity in errors}
        if row.order is not None:
            found["order"] = max(row.order - errors["order of convergence"], 0.0)
        return found

    return Table(
        "Samplers",
        "`check_sampler`, on the first of VP with the SDE's schedule, ResShift, a pinned bridge and InDI that the "
        "sampler serves. Last step: it returns the estimate. Marginals: kept with the clean sample known. "
        "Deviation: of the samples of a Gaussian prior after 144 steps, or 96 without noise, in units of the "
        "prior's. Order: what the measured order of convergence lacks of the stated one. *In the limit*: a "
        "discretised equation keeps the marginals for short steps only. *No limit*: noise drawn anew loses variance "
        "in every step. *Own path*: the step inverts one path of corruption and belongs to no other; "
        "`tests/samplers/test_table.py` holds it.",
        "sampler",
        tuple(SAMPLERS),
        (
            Column("last step", 0.0),
            Column("marginals", 1e-9),
            Column("deviation", _tolerance(check_sampler)),
            Column("order", _ORDER),
        ),
        measure,
        absent,
    )


def _walks() -> Table:
    """Samplers by bridges: the part of `check_sampler` that needs no limit."""
    columns = tuple(name for name in SAMPLERS if name not in (*_PATHS, *_DISCRETISED))

    def absent(row: str, column: str) -> str:
        return "" if SAMPLERS[column].can_serve(_named(row)) else "refused"

    def measure(name: str) -> dict[str, float]:
        found = {}
        for column in columns:
            if not absent(name, column):
                errors = check_sampler(SAMPLERS[column].build(), bridge=_named(name), converges=False)
                found[column] = errors["known sample keeps the marginals"]
        return found

    return Table(
        "Samplers on every bridge",
        "`check_sampler` without its limits, on every scalar row of `NAMED`: the last step returns the estimate, a "
        "batch equals its items, and with the clean sample known every marginal is kept, whose error is shown, by the "
        "samplers that promise it. *Refused*: `samplers.build` says so and names samplers that serve the bridge. The "
        "bridges of an operator are walked in `tests/samplers/test_table.py`.",
        "bridge",
        tuple(name for name in NAMED if _named(name).scalar),
        tuple(Column(name, 1e-9) for name in columns),
        measure,
        absent,
    )


def _operators() -> Table:
    return Table(
        "Operators",
        "`check_operator`: shapes, linearity, the adjoint, the equations of Penrose, full rank (but of a mask and of "
        "pictures that overlap), the projections, the regularised solution, the norm, gradients and, in closed form, "
        "the singular vectors.",
        "operator",
        tuple(OPERATORS),
        (Column("check_operator", _tolerance(check_operator)),),
        lambda name: {
            "check_operator": max(check_operator(OPERATORS[name](), full_rank=name not in _DEFICIENT).values())
        },
    )


def _methods() -> Table:
    cards = {card.name: card for card in methods.cards()}

    def absent(row: str, column: str) -> str:
        if column in cards[row].checks:
            return ""
        return {"baseline": "a function", "zero-shot": "a solver"}.get(cards[row].family, "not claimed")

    def measure(name: str) -> dict[str, float]:
        if absent(name, "check_method"):
            return {}
        scale = 4 if 4 in cards[name].scales else cards[name].scales[0]
        preset = "small" if "small" in cards[name].presets else None
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(1)
            method = _filled(methods.build(name, scale=scale, preset=preset))
        errors = check_method(method, scale=scale, deterministic=cards[name].deterministic)
        return {"check_method": max(errors.values())}

    return Table(
        "Methods",
        "`check_method`, on the small preset with random weights: exact sizes, seeds, a batch against its pictures "
        "alone, losses and gradients, saved and loaded weights. *A function*: a baseline, without loss, weights and "
        "noise of its own. *A solver*: a zero-shot method, trained by nobody; tests/zero_shot holds it.",
        "method",
        tuple(cards),
        (Column("check_method", _tolerance(check_method)),),
        measure,
        absent,
    )


def _filled(method: nn.Module) -> nn.Module:
    """The method with other weights than those of its start, whose zeros would let a wrong conditioning pass."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in method.parameters():
            parameter += 0.02 * torch.randn(parameter.shape, generator=generator)
    return method


@cache
def _named(name: str) -> Bridge:
    return named(name)


@cache
def _usable(name: str) -> dict[str, tuple[float, ...]]:
    """The times at which each kind determines the clean sample of a bridge; without the kinds that never do."""
    bridge = _named(name)
    found = {kind: tuple(t for t in _TIMES if kind in usable_kinds(bridge, t)) for kind in KINDS}
    kept: dict[str, tuple[float, ...]] = {kind: times for kind, times in found.items() if times}
    if bridge.scalar:
        weights = {t: _PRECONDITIONED.scales(bridge, t)[2] for t in _TIMES}
        times = tuple(t for t, out in weights.items() if float(out) != 0.0 and math.isfinite(float(out)))
        return {**kept, "preconditioned": times} if times else kept
    return kept


def _has_rates(bridge: Bridge) -> bool:
    return bridge.scalar and type(bridge).derivatives is not Bridge.derivatives


def _tolerance(check: Callable) -> float:
    return inspect.signature(check).parameters["tolerance"].default


if __name__ == "__main__":
    print("\n".join(page()))
