"""The public checks must pass what is right (tests of the bridges and steps) and stop what is wrong (here)."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
import torch

from mezzotint.bridges import VP, Bridge, ResShift
from mezzotint.schedules import LinearSDE
from mezzotint.testing import check_bridge


@dataclass(frozen=True)
class Straight(Bridge):
    """A minimal bridge of a third party: constant-noise InDI, (1 - t) y + t x + 0.1 t eps."""

    needs_x = True

    def coefficients(self, t):
        return 1.0 - t, t * 1.0, 0.1 * t

    def carry(self, r, t):
        return r / t

    def start(self, x_state, eps):
        return x_state + 0.1 * eps


class WrongCarry(Straight):
    def carry(self, r, t):
        return (r / t) ** 0.5


class NoisyAtZero(Straight):
    def coefficients(self, t):
        return 1.0 - t, t * 1.0, 0.1 * t + 0.01


class TooMuchCarry(Straight):
    def carry(self, r, t):
        return 1.2 * r / t


class Renoises(Straight):
    def renoise(self, z, x_state, r, t, eps):
        return z + 0.1 * (t - r) * eps


class Mutates(Straight):
    def q_sample(self, y, x_state, t, eps):
        return y.add_(eps)


class Promotes(Straight):
    def q_sample(self, y, x_state, t, eps):
        return super().q_sample(y, x_state, t, eps).double()


class Unbounded(Straight):
    def coefficients(self, t):
        return 1.0 - t, t * 1.0, 0.1 * t / (1.0 - t) ** 0.5 if not isinstance(t, float) or t < 1.0 else 0.0


class NegativeGrid(Straight):
    def grid(self, steps, *, spacing="uniform"):
        return tuple(reversed(super().grid(steps)))


class SharedStart(Straight):
    def start(self, x_state, eps):
        return x_state


def test_a_bridge_of_a_third_party_passes():
    errors = check_bridge(Straight())
    assert max(errors.values()) < 1e-12 and "carries compose" in errors


@pytest.mark.parametrize(
    ("bridge", "identity"),
    [
        (WrongCarry(), "s_r / s_t"),
        (NoisyAtZero(), "clean end"),
        (TooMuchCarry(), "s_r / s_t"),
        (Renoises(), "renoise"),
        (Mutates(), "q_sample|untouched"),
        (Promotes(), "float32"),
        (Unbounded(), "fails at"),
        (NegativeGrid(), "grid falls"),
        (SharedStart(), "new tensor"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Bridge) else "",
)
def test_a_wrong_bridge_is_named(bridge, identity):
    with pytest.raises(AssertionError, match=identity):
        check_bridge(bridge)


def test_a_carry_that_does_not_compose_is_named():
    class Halved(VP):
        def carry(self, r, t):
            return 0.5 * super().carry(r, t)

        def variance(self, r, t):
            return Bridge.variance(self, r, t)

    with pytest.raises(AssertionError, match="carries compose"):
        check_bridge(Halved(LinearSDE()))


def test_times_must_rise_from_0_to_1():
    with pytest.raises(ValueError, match="rise"):
        check_bridge(ResShift(), times=(0.0, 0.5))


def test_the_tolerance_counts():
    class Off(ResShift):
        def mean(self, y, x_state, t):
            return super().mean(y, x_state, t) + (1e-7 if isinstance(t, torch.Tensor) or t > 0 else 0.0)

    with pytest.raises(AssertionError):
        check_bridge(Off())
    check_bridge(Off(), tolerance=1e-5)
