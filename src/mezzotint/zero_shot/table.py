"""Every zero-shot solver by name: how it is built, what a step costs, and which measurements it is for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import Any

from mezzotint.errors import UsageError
from mezzotint.zero_shot.ccdf import CCDF
from mezzotint.zero_shot.daps import DAPS
from mezzotint.zero_shot.ddnm import DDNM
from mezzotint.zero_shot.ddrm import DDRM
from mezzotint.zero_shot.diffpir import DiffPIR
from mezzotint.zero_shot.dps import DPS
from mezzotint.zero_shot.gdp import GDP
from mezzotint.zero_shot.ilvr import ILVR
from mezzotint.zero_shot.mcg import MCG
from mezzotint.zero_shot.pigdm import PiGDM
from mezzotint.zero_shot.red_diff import REDDiff
from mezzotint.zero_shot.repaint import RePaint
from mezzotint.zero_shot.snips import SNIPS
from mezzotint.zero_shot.solver import Solver
from mezzotint.zero_shot.spectral import Spectral


@dataclass(frozen=True)
class Row:
    """One solver.

    build: makes it; settings are keywords. presets: its variants, the first one is the default. cost: evaluations of
    the network a step of its grid. noise: whether it is for measurements with noise. fits: whether a measurement
    without noise is met exactly, by the default. singular: whether it needs singular vectors in closed form. own_loop:
    whether it is a loop of its own.
    """

    build: Callable[..., Solver]
    presets: Mapping[str, Mapping[str, Any]]
    cost: str
    noise: bool
    fits: bool
    paper: str
    singular: bool = False
    own_loop: bool = False

    @property
    def gradients(self) -> bool:
        """Whether it differentiates the prior."""
        return self.build().gradients


def _settings(solver: type, **changes: Any) -> dict[str, Any]:
    """All settings of a solver that a card can hold, with some changed."""
    found = {field.name: field.default for field in fields(solver) if field.name not in _FIXED}
    return {**found, **changes}


_FIXED = ("steps", "gradients", "guess")
_DDNM_PAPER = {"kernel": "ddpm", "eta": 1.0, "keeps_noise": False, "leading": False}

SOLVERS: dict[str, Row] = {
    "repaint": Row(
        RePaint, {"paper": _settings(RePaint), "released": _settings(RePaint, released=True)},
        "about `passes`", False, True, "2201.09865",
    ),
    "ilvr": Row(
        ILVR,
        {
            "paper": _settings(ILVR), "low-pass": _settings(ILVR, filter="bicubic"),
            "released": _settings(ILVR, filter="bicubic", released=True),
        },
        "1", False, True, "2108.02938",
    ),
    "ccdf": Row(CCDF, {"paper": _settings(CCDF)}, "1", False, True, "2112.05146"),
    "snips": Row(SNIPS, {"paper": _settings(SNIPS)}, "`repeats`", True, False, "2105.14951", singular=True,
                 own_loop=True),
    "ddrm": Row(
        DDRM, {"paper": _settings(DDRM), "released": _settings(DDRM, strict=True)}, "1", True, True, "2201.11793",
        singular=True,
    ),
    "ddnm": Row(
        DDNM, {"released": _settings(DDNM), "paper": _settings(DDNM, **_DDNM_PAPER)}, "1", True, True, "2212.00490"
    ),
    "dps": Row(
        DPS,
        {
            "paper": _settings(DPS), "released": _settings(DPS, zeta=0.3),
            "likelihood": _settings(DPS, form="likelihood"),
        },
        "1 and its gradient", True, False, "2209.14687",
    ),
    "gdp": Row(
        GDP,
        {
            "released": _settings(GDP), "paper": _settings(GDP, form="paper"), "state": _settings(GDP, at="state"),
            "blind": _settings(GDP, blind=True),
        },
        "1", True, False, "2304.01247",
    ),
    "mcg": Row(MCG, {"paper": _settings(MCG)}, "1 and its gradient", False, True, "2206.00941"),
    "pigdm": Row(
        PiGDM, {"released": _settings(PiGDM), "theory": _settings(PiGDM, form="theory")}, "1 and its gradient", True,
        False, "PiGDM, ICLR 2023",
    ),
    "diffpir": Row(
        DiffPIR,
        {
            "paper": _settings(DiffPIR), "released": _settings(DiffPIR, last=False),
            "fresh": _settings(DiffPIR, zeta=1.0),
        },
        "1", True, True, "2305.08995",
    ),
    "red-diff": Row(REDDiff, {"released": _settings(REDDiff)}, "1", True, False, "2305.04391", own_loop=True),
    "daps": Row(
        DAPS, {"exact": _settings(DAPS), "mean": _settings(DAPS, centre="mean")}, "`inner`", True, True, "2407.01521",
        own_loop=True,
    ),
    "spectral": Row(
        Spectral, {"draws": _settings(Spectral), "means": _settings(Spectral, spread=0.0)}, "1", True, True, ""
    ),
}  # fmt: skip
"""The solvers that the survey names, those beyond it, and ours."""


def build(name: str, **settings: Any) -> Solver:
    """The solver of a name with its defaults, or with other settings; UsageError for another name or setting."""
    if name not in SOLVERS:
        raise UsageError(f"solver {name!r} is none of {', '.join(SOLVERS)}")
    try:
        return SOLVERS[name].build(**settings)
    except TypeError as error:
        raise UsageError(f"solver {name}: {error}") from None
