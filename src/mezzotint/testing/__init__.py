"""Analytic priors and conformance checks, public: for tests of one's own bridges, steps and methods."""

from mezzotint.testing.bridges import check_bridge
from mezzotint.testing.methods import check_method
from mezzotint.testing.operators import check_operator
from mezzotint.testing.priors import GaussianPrior, TwoPointPrior
from mezzotint.testing.samplers import check_sampler, propagate

__all__ = [
    "GaussianPrior",
    "TwoPointPrior",
    "check_bridge",
    "check_method",
    "check_operator",
    "check_sampler",
    "propagate",
]
