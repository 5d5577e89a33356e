"""What is compared: a solver, a task, and settings that are those of one side, of the other, or of both.

A row of settings is run by every side that can express it, on the same measurements. There is a row of what each
library does when nothing is said, which for us is what the paper or its release says; a row that both sides have is the
word on identical settings, there from the same noise.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

DIFFPIR = 100
DPS = 50
"""Published are 1000, which no one waits for on a processor."""
ZETA = 0.3
OURS = 2.0
"""Our default. As ZETA it is meant for 1000 steps: in fewer each step goes as much further."""


@dataclass(frozen=True)
class Settings:
    """A row of settings: `label` is how the page names it, `values` what the sides are given, `sides` who runs it.

    evaluations: how often each side asks the network.
    """

    label: str
    evaluations: int
    values: Mapping[str, Any] = field(default_factory=dict)
    sides: tuple[str, ...] = ("mezzotint", "deepinv")


@dataclass(frozen=True)
class Case:
    """A solver on a task, with its rows of settings."""

    solver: str
    task: str
    settings: tuple[Settings, ...]

    @property
    def name(self) -> str:
        return f"{self.solver}, {self.task}"


_DDRM = (
    Settings("published: 20 levels of DDPM", 20, {"levels": "published", "count": 20}, ("mezzotint",)),
    Settings("published levels, deepinv's draws", 20, {"levels": "published", "count": 20, "draws": 0.5**0.5}),
    Settings("100 levels, evenly from 1 to 0", 100, {"levels": "even", "count": 100}, ("mezzotint",)),
    Settings("deepinv's: those levels, its draws", 100, {"levels": "even", "count": 100, "draws": 0.5**0.5}),
)
CASES: tuple[Case, ...] = (
    Case(
        "DiffPIR", "super-resolution",
        (
            Settings("ours: weight 1, zeta 0.25", DIFFPIR, {"weight": 1.0, "zeta": 0.25}),
            Settings("deepinv's: lambda 7, zeta 0.1", DIFFPIR, {"weight": 3.5, "zeta": 0.1}),
        ),
    ),
    Case(
        "DPS", "super-resolution",
        (
            Settings(f"released: zeta {ZETA}", DPS, {"rule": "released", "zeta": ZETA}, ("mezzotint",)),
            Settings("deepinv's: in the score, weight 1", DPS, {"rule": "score", "weight": 1.0}),
            Settings(f"ours: zeta {OURS:g}", DPS, {"rule": "released", "zeta": OURS}, ("mezzotint",)),
            Settings("in the score, in all as far as the row above", DPS, {"rule": "score", "as_far_as": OURS}),
        ),
    ),
    Case("DDRM", "inpainting", _DDRM),
    Case("DDRM", "denoising", _DDRM),
)  # fmt: skip
