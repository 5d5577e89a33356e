"""Samplers: the reverse step, and the one loop that walks a grid of times."""

from mezzotint.samplers.loop import Denoiser, Move, count_evaluations, sample
from mezzotint.samplers.step import Estimate, ancestral, carry_step, ddim

__all__ = [
    "Denoiser",
    "Estimate",
    "Move",
    "ancestral",
    "carry_step",
    "count_evaluations",
    "ddim",
    "sample",
]
