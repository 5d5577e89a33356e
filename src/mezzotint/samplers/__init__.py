"""Samplers: the reverse steps, the one loop that walks a grid of times, and the two that own theirs."""

from mezzotint.samplers.adaptive import adaptive
from mezzotint.samplers.cold_diffusion import cold
from mezzotint.samplers.dpm_solver import DPMSolver, DPMSolverSDE
from mezzotint.samplers.heun import Heun, churn
from mezzotint.samplers.indi import indi
from mezzotint.samplers.langevin import LangevinCorrector, annealed_langevin, corrections, langevin_step, retained
from mezzotint.samplers.likelihood import bits_per_dimension, dequantise, log_likelihood
from mezzotint.samplers.loop import Denoiser, Move, count_evaluations, sample
from mezzotint.samplers.sde import euler_maruyama, reverse_diffusion
from mezzotint.samplers.soft_score_matching import momentum
from mezzotint.samplers.step import Estimate, ancestral, carry_step, ddim
from mezzotint.samplers.table import LOOPS, SAMPLERS, Sampler, build
from mezzotint.samplers.unipc import UniPC

__all__ = [
    "LOOPS",
    "SAMPLERS",
    "DPMSolver",
    "DPMSolverSDE",
    "Denoiser",
    "Estimate",
    "Heun",
    "LangevinCorrector",
    "Move",
    "Sampler",
    "UniPC",
    "adaptive",
    "ancestral",
    "annealed_langevin",
    "bits_per_dimension",
    "build",
    "carry_step",
    "churn",
    "cold",
    "corrections",
    "count_evaluations",
    "ddim",
    "dequantise",
    "euler_maruyama",
    "indi",
    "langevin_step",
    "log_likelihood",
    "momentum",
    "retained",
    "reverse_diffusion",
    "sample",
]
