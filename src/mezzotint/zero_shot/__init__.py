"""Restoration without training: an unconditional prior, a known degradation, and a solver (survey, chapter 5)."""

from mezzotint.zero_shot.blended import blended
from mezzotint.zero_shot.error_spectrum import ErrorSpectrum, measure_spectrum
from mezzotint.zero_shot.measurement import Measurement
from mezzotint.zero_shot.solver import Plan, Problem, Solver, restore
from mezzotint.zero_shot.table import SOLVERS, build

__all__ = [
    "SOLVERS",
    "ErrorSpectrum",
    "Measurement",
    "Plan",
    "Problem",
    "Solver",
    "blended",
    "build",
    "measure_spectrum",
    "restore",
]
