"""How near a picture is to the true one: measures, protocols, evaluation of methods on folders, reports."""

from __future__ import annotations

from mezzotint.quality import evaluation, opinions, protocols, report
from mezzotint.quality.accumulators import Collector, merged
from mezzotint.quality.colour_shift import colour_difference, colour_shift
from mezzotint.quality.consistency import consistency, lr_psnr, lr_psnr_float
from mezzotint.quality.dists import dists
from mezzotint.quality.diversity import diversity, diversity_score, lpips_diversity, stability
from mezzotint.quality.evaluation import Candidate, Evaluation, Output, Scored, evaluate
from mezzotint.quality.frechet import frechet_distance, frechet_distance_of_features, kernel_distance
from mezzotint.quality.inception import fid, inception_features, kid
from mezzotint.quality.lpips import lpips, lpips_map
from mezzotint.quality.niqe import niqe
from mezzotint.quality.psnr import psnr
from mezzotint.quality.ssim import ms_ssim, ssim, ssim_maps

__all__ = [
    "Candidate",
    "Collector",
    "Evaluation",
    "Output",
    "Scored",
    "colour_difference",
    "colour_shift",
    "consistency",
    "dists",
    "diversity",
    "diversity_score",
    "evaluate",
    "evaluation",
    "fid",
    "frechet_distance",
    "frechet_distance_of_features",
    "inception_features",
    "kernel_distance",
    "kid",
    "lpips",
    "lpips_diversity",
    "lpips_map",
    "lr_psnr",
    "lr_psnr_float",
    "merged",
    "ms_ssim",
    "niqe",
    "opinions",
    "protocols",
    "psnr",
    "report",
    "ssim",
    "ssim_maps",
    "stability",
]
