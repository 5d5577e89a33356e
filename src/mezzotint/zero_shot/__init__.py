"""Restoration without training: an unconditional prior, a known degradation, and a solver (survey, chapter 5)."""

from mezzotint.zero_shot.measurement import Measurement
from mezzotint.zero_shot.solver import Plan, Problem, Solver, restore
from mezzotint.zero_shot.table import SOLVERS, build

__all__ = ["SOLVERS", "Measurement", "Plan", "Problem", "Solver", "build", "restore"]
