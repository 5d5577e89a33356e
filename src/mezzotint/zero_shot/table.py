"""Every zero-shot solver by name: how it is built, what a step costs, and which measurements it is for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
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


@dataclass(frozen=True)
class Row:
    """One solver.

    build: makes it; settings are keywords. cost: evaluations of the network a step of its grid. noise: whether it is
    for measurements with noise. fits: whether a measurement without noise is met exactly. singular: whether it needs
    singular vectors in closed form. own_loop: whether it is a loop of its own.
    """

    build: Callable[..., Solver]
    cost: str
    noise: bool
    fits: bool
    paper: str
    singular: bool = False
    own_loop: bool = False


SOLVERS: dict[str, Row] = {
    "repaint": Row(RePaint, "about `passes`", False, True, "2201.09865"),
    "ilvr": Row(ILVR, "1", False, True, "2108.02938"),
    "ccdf": Row(CCDF, "1", False, True, "2112.05146"),
    "snips": Row(SNIPS, "`repeats`", True, False, "2105.14951", singular=True, own_loop=True),
    "ddrm": Row(DDRM, "1", True, True, "2201.11793", singular=True),
    "ddnm": Row(DDNM, "1", True, True, "2212.00490"),
    "dps": Row(DPS, "1 and its gradient", True, False, "2209.14687"),
    "gdp": Row(GDP, "1", True, False, "2304.01247"),
    "mcg": Row(MCG, "1 and its gradient", False, True, "2206.00941"),
    "pigdm": Row(PiGDM, "1 and its gradient", True, False, "PiGDM, ICLR 2023"),
    "diffpir": Row(DiffPIR, "1", True, True, "2305.08995"),
    "red-diff": Row(REDDiff, "1", True, False, "2305.04391", own_loop=True),
    "daps": Row(DAPS, "`inner`", True, True, "2407.01521", own_loop=True),
}
"""The solvers that the survey names, then those beyond it."""


def build(name: str, **settings: Any) -> Solver:
    """The solver of a name with its defaults, or with other settings; UsageError for another name or setting."""
    if name not in SOLVERS:
        raise UsageError(f"solver {name!r} is none of {', '.join(SOLVERS)}")
    try:
        return SOLVERS[name].build(**settings)
    except TypeError as error:
        raise UsageError(f"solver {name}: {error}") from None
