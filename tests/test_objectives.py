from __future__ import annotations

import math

import pytest
import torch

from mezzotint import schedules
from mezzotint.bridges import VP
from mezzotint.errors import UsageError
from mezzotint.objectives import Objective


def gamma(bridge: VP, t: torch.Tensor) -> torch.Tensor:
    return bridge.coefficients(t)[0] ** 2


@pytest.mark.parametrize(("times", "power"), [("uniform-power", 1.0), ("uniform", 0.5)])
def test_levels_are_uniform_between_neighbours(times, power):
    """gamma, or its root, walks in equal steps from one node to the next."""
    bridge, steps = VP(schedules.linear(10, start=1e-3, end=0.4)), 8
    table = torch.tensor(bridge.schedule.gamma, dtype=torch.float64)
    for node in range(10):
        u = (node + torch.arange(1, steps, dtype=torch.float64) / steps) / 10
        levels = gamma(bridge, Objective(times=times).draw_times(u, bridge=bridge)) ** power
        weight = torch.arange(1, steps, dtype=torch.float64) / steps
        wanted = (1 - weight) * table[node] ** power + weight * table[node + 1] ** power
        torch.testing.assert_close(levels, wanted, atol=1e-14, rtol=1e-12)


def test_levels_next_to_the_clean_end_keep_their_digits():
    bridge = VP(schedules.sr3())
    u = torch.tensor([0.25, 0.5, 0.75], dtype=torch.float64) / 2000
    t = Objective(times="uniform-power").draw_times(u, bridge=bridge)
    lost = bridge.coefficients(t)[2] ** 2
    torch.testing.assert_close(lost, u * 2000 * 1e-6, atol=0, rtol=1e-8)


def test_times_stay_inside_and_in_order():
    bridge = VP(schedules.sr3())
    u = torch.linspace(1e-12, 1 - 1e-12, 20_001, dtype=torch.float64)
    t = Objective(times="uniform-power").draw_times(u, bridge=bridge)
    assert (t >= 0).all() and (t <= 1).all()
    assert (t.diff() > 0).all()


def test_the_two_draws_of_sr3_give_the_same_optimal_loss():
    """Gaussian data of variance v: the L1 optimum sqrt(2 / pi) sqrt(gamma v / V), averaged over either draw."""
    bridge, v = VP(schedules.sr3()), 0.1
    u = (torch.arange(200_000, dtype=torch.float64) + 0.5) / 200_000
    losses = []
    for times in ("uniform", "uniform-power"):
        g = gamma(bridge, Objective(times=times).draw_times(u, bridge=bridge))
        losses.append(float((math.sqrt(2 / math.pi) * (g * v / (g * v + 1 - g)).sqrt()).mean()))
    assert losses[0] == pytest.approx(losses[1], abs=1e-5)


def test_norms():
    prediction, target = torch.tensor([1.0, -3.0]), torch.tensor([0.0, 1.0])
    assert Objective(norm="l1").compare(prediction, target) == 2.5
    assert Objective(norm="l2").compare(prediction, target) == 8.5
    assert Objective(norm="l1").compare(prediction, target, norm="l2") == 8.5


def test_unknown_values_are_refused():
    with pytest.raises(UsageError, match="'l3'"):
        Objective(norm="l3")
    with pytest.raises(UsageError, match="'daily'"):
        Objective(times="daily")
    with pytest.raises(UsageError, match="table"):
        Objective(times="uniform-power").draw_times(
            torch.tensor([0.5], dtype=torch.float64), bridge=VP(schedules.ShiftedCosine())
        )
