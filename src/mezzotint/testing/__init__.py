"""Analytic priors and conformance checks, public: for tests of one's own bridges, steps and methods."""

from mezzotint.testing.bridges import check_bridge
from mezzotint.testing.methods import check_method
from mezzotint.testing.operators import check_operator
from mezzotint.testing.predictions import check_prediction
from mezzotint.testing.priors import GaussianField, GaussianPrior, LinearGaussian, MixturePrior, TwoPointPrior
from mezzotint.testing.samplers import affine_moments, check_sampler, measure_order, propagate

__all__ = [
    "GaussianField",
    "GaussianPrior",
    "LinearGaussian",
    "MixturePrior",
    "TwoPointPrior",
    "affine_moments",
    "check_bridge",
    "check_method",
    "check_operator",
    "check_prediction",
    "check_sampler",
    "measure_order",
    "propagate",
]
