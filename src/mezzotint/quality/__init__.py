"""How near a picture is to the true one: measures, protocols, evaluation of methods on folders, reports."""

from __future__ import annotations

from mezzotint.quality import evaluation, protocols, report
from mezzotint.quality.consistency import consistency, lr_psnr, lr_psnr_float
from mezzotint.quality.evaluation import Candidate, Evaluation, Output, Scored, evaluate
from mezzotint.quality.lpips import lpips
from mezzotint.quality.psnr import psnr
from mezzotint.quality.ssim import ssim

__all__ = [
    "Candidate",
    "Evaluation",
    "Output",
    "Scored",
    "consistency",
    "evaluate",
    "evaluation",
    "lpips",
    "lr_psnr",
    "lr_psnr_float",
    "protocols",
    "psnr",
    "report",
    "ssim",
]
