from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.optimize import minimize

from mezzotint.errors import InputError, UsageError
from mezzotint.quality.opinions import Pairs, bradley_terry

# American League 1987, eastern division, wins of the row over the column: Agresti, Categorical Data Analysis, section
# 10.6 (the data of R's BradleyTerry packages).
TEAMS = ("Milwaukee", "Detroit", "Toronto", "New York", "Boston", "Cleveland", "Baltimore")
GAMES = np.array(
    [
        [0, 7, 9, 7, 7, 9, 11],
        [6, 0, 7, 5, 11, 9, 9],
        [4, 6, 0, 7, 7, 8, 12],
        [6, 8, 6, 0, 6, 7, 10],
        [6, 2, 6, 7, 0, 7, 12],
        [4, 4, 5, 6, 6, 0, 6],
        [2, 4, 1, 3, 1, 7, 0],
    ],
    dtype=float,
)


def test_published_example_of_agresti():
    found = bradley_terry(Pairs(TEAMS, GAMES))
    over_last = [one.strength - found[-1].strength for one in found]
    assert over_last == pytest.approx([1.581, 1.436, 1.294, 1.248, 1.108, 0.684, 0], abs=5e-4)
    assert found[0].wins == 50 and found[0].comparisons == 78
    assert sum(one.strength for one in found) == pytest.approx(0, abs=1e-12)


def test_two_have_a_closed_form():
    found = bradley_terry(Pairs.of([("a", "b", 1.0)] * 30 + [("b", "a", 1.0)] * 10))
    assert found[0].strength - found[1].strength == pytest.approx(math.log(3), abs=1e-12)
    # the variance of a log odds is 1 / 30 + 1 / 10, shared by two strengths that sum to 0
    assert found[0].error == pytest.approx(math.sqrt(1 / 30 + 1 / 10) / 2, abs=1e-12)
    assert found[0].high - found[0].strength == pytest.approx(1.959963984540054 * found[0].error, abs=1e-12)


def test_equals_a_general_optimiser():
    generator = np.random.default_rng(0)
    wins = generator.integers(1, 12, (5, 5)).astype(float)
    np.fill_diagonal(wins, 0)

    def loss(free: np.ndarray) -> float:
        strength = np.append(free, -free.sum())
        return float((wins * np.logaddexp(0, strength[None] - strength[:, None])).sum())

    expected = minimize(loss, np.zeros(4), method="BFGS", options={"gtol": 1e-9}).x
    found = [one.strength for one in bradley_terry(Pairs(tuple("abcde"), wins))]
    assert found[:4] == pytest.approx(expected, abs=1e-6)


def test_strengths_are_found_again_within_their_intervals():
    generator = np.random.default_rng(1)
    true = np.array([1.0, 0.5, 0.0, -0.5, -1.0])
    inside = []
    for _ in range(60):
        wins = np.zeros((5, 5))
        for i in range(5):
            for j in range(i):
                share = 1 / (1 + math.exp(true[j] - true[i]))
                won = generator.binomial(40, share)
                wins[i, j], wins[j, i] = won, 40 - won
        found = bradley_terry(Pairs(tuple("abcde"), wins))
        inside += [one.low <= value <= one.high for one, value in zip(found, true, strict=True)]
    assert np.mean(inside) == pytest.approx(0.95, abs=0.035)


def test_ties_count_half_for_both():
    found = bradley_terry(Pairs.of([("a", "b", 0.5)] * 7))
    assert [one.strength for one in found] == pytest.approx([0, 0], abs=1e-12)
    assert found[0].wins == 3.5


def test_extreme_counts_converge():
    wins = np.array([[0, 900, 5], [1, 0, 1000], [1, 1, 0]], dtype=float)
    found = [one.strength for one in bradley_terry(Pairs(("a", "b", "c"), wins))]
    share = 1 / (1 + np.exp(np.subtract.outer(found, found).T))
    # the likelihood's slope: what was won is what was expected
    assert wins.sum(axis=1) == pytest.approx(((wins + wins.T) * share).sum(axis=1), rel=1e-8)


def test_who_never_lost_has_no_finite_strength():
    rows = [("a", "b", 1.0), ("b", "c", 1.0), ("c", "b", 1.0)]
    with pytest.raises(InputError, match="a never lost to|b, c never won against a"):
        bradley_terry(Pairs.of(rows))
    with pytest.raises(InputError, match="c, d .* a, b"):  # two groups that never met
        bradley_terry(Pairs.of([("a", "b", 0.5), ("c", "d", 0.5)]))
    found = bradley_terry(Pairs.of(rows), prior=0.5)
    assert found[0].strength > found[1].strength > found[2].strength - 1e-9
    assert found[0].wins == 1  # the prior is no win
    with pytest.raises(InputError, match="compare them more often$"):
        bradley_terry(Pairs.of([("a", "b", 0.5), ("c", "d", 0.5)]), prior=1)


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: Pairs(("a",), np.zeros((1, 1))), InputError, "at least two"),
        (lambda: Pairs(("a", "a"), np.zeros((2, 2))), InputError, "names differing"),
        (lambda: Pairs(("a", "b"), np.zeros((2, 3))), InputError, "wins have shape"),
        (lambda: Pairs(("a", "b"), np.eye(2)), InputError, "0 for each with itself"),
        (lambda: Pairs(("a", "b"), np.array([[0, -1.0], [1, 0]])), InputError, "counts from 0"),
        (lambda: Pairs.of([("a", "a", 1.0)]), InputError, "compared with itself"),
        (lambda: Pairs.of([("a", "b", 2.0)]), InputError, "is no share"),
        (lambda: Pairs.of([]), InputError, "nothing cannot be compared"),
        (lambda: bradley_terry(Pairs(TEAMS, GAMES), prior=-1), UsageError, "prior -1"),
        (lambda: bradley_terry(Pairs(TEAMS, GAMES), level=2), UsageError, "level 2"),
    ],
)
def test_bad_comparisons_are_refused(call, error, words):
    with pytest.raises(error, match=words):
        call()
