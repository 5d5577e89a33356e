"""The public check of predictions passes what is right and stops what is wrong."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from mezzotint.bridges import VP, Flow
from mezzotint.prediction import Preconditioning
from mezzotint.schedules import LinearSDE
from mezzotint.testing import check_prediction


@dataclass(frozen=True)
class WrongScales(Preconditioning):
    def scales(self, bridge, t):
        c_in, skip, out = super().scales(bridge, t)
        return c_in, skip, 0.0 * out + 1.0


class WrongRates(Flow):
    def derivatives(self, t):
        a, b, v = super().derivatives(t)
        return 1.5 * a, b, v


class WrongSample(VP):
    def q_sample(self, y, x_state, t, eps):
        return super().q_sample(y, x_state, t, 1.001 * eps)


def test_what_is_right_passes():
    errors = check_prediction(VP(LinearSDE()), kinds=("v", Preconditioning(0.25)), times=(0.2, 0.9))
    assert len(errors) >= 6 and max(errors.values()) < 1e-9


def test_another_choice_of_scales_is_a_kind_as_good_for_a_round_trip():
    """Any c_skip and c_out convert back and forth; what they are worth is tested beside their formula."""
    check_prediction(VP(LinearSDE()), kinds=(WrongScales(),))


def test_a_sample_that_is_not_of_the_bridge_is_named():
    with pytest.raises(AssertionError, match="the target gives the clean sample fails at \\('eps'"):
        check_prediction(WrongSample(LinearSDE()))


def test_wrong_rates_still_invert_but_have_another_flow():
    """A round trip cannot see a rate that is wrong in both directions: check_bridge measures the rates."""
    from mezzotint.testing import check_bridge

    check_prediction(WrongRates(), kinds=("flow",))
    with pytest.raises(AssertionError, match="rate of a"):
        check_bridge(WrongRates())


def test_the_tolerance_counts():
    with pytest.raises(AssertionError):
        check_prediction(VP(LinearSDE()), tolerance=1e-18)
