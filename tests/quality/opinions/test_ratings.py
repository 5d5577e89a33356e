"""Mean opinion scores against closed forms and against the published examples of ITU's reference code.

`nflx_public.csv` is the raw table of Netflix's public set and `p910_sample.csv` the example of the P.910, P.913 and
BT.500 demonstrations (the same study with inattentive observers put in), both out of github.com/Netflix/sureal,
Apache-2.0.
"""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from mezzotint.errors import InputError, UsageError
from mezzotint.quality.opinions import (
    Ratings,
    against_reference,
    fit_subjects,
    mean_opinions,
    method_opinions,
    read_ratings,
    remove_bias,
    screen,
)

HERE = Path(__file__).parent


@pytest.fixture(scope="module")
def public() -> Ratings:
    return read_ratings(HERE / "nflx_public.csv")


@pytest.fixture(scope="module")
def sample() -> Ratings:
    return read_ratings(HERE / "p910_sample.csv")


def table(scores, **more) -> Ratings:
    scores = np.array(scores, dtype=np.float64)
    stimuli = tuple(f"s{k}" for k in range(scores.shape[0]))
    return Ratings(stimuli, tuple(f"o{k}" for k in range(scores.shape[1])), scores, **more)


def test_published_means(public):
    # test_mos_subjective_model of sureal
    opinions = mean_opinions(public)
    means = [opinion.mean for opinion in opinions]
    assert len(means) == 79 and opinions[0].count == 26
    assert means[0] == pytest.approx(4.884615384615385, abs=1e-12)
    assert means[10] == pytest.approx(2.076923076923077, abs=1e-12)
    assert np.mean(means) == pytest.approx(3.544790652385589, abs=1e-12)
    errors = [opinion.deviation / math.sqrt(opinion.count) for opinion in opinions]
    assert np.mean(errors) == pytest.approx(0.12986637295658307, abs=1e-12)
    assert errors[0] == pytest.approx(0.08461538461538462, abs=1e-12)


def test_normal_intervals_are_those_of_sureal(public):
    opinion = mean_opinions(public, interval="normal")[0]
    assert opinion.high - opinion.mean == pytest.approx(1.95996 * 0.08461538461538462, abs=1e-6)
    assert opinion.mean - opinion.low == pytest.approx(opinion.high - opinion.mean, abs=1e-12)


def test_student_intervals_are_those_of_scipy():
    scores = np.array([[3.0, 4, 4, 5, 2, np.nan], [1, 1, 2, 2, 1, 1]])
    for opinion, row in zip(mean_opinions(table(scores), level=0.9), scores, strict=True):
        given = row[~np.isnan(row)]
        low, high = stats.t.interval(0.9, len(given) - 1, given.mean(), stats.sem(given))
        assert (opinion.low, opinion.high) == pytest.approx((low, high), abs=1e-9)
        assert opinion.count == len(given)


def test_intervals_hold_the_mean_as_often_as_they_say():
    generator = np.random.default_rng(0)
    scores = np.clip(3 + 0.5 * generator.standard_normal((4000, 6)), 1, 5)
    held = [opinion.low <= 3 <= opinion.high for opinion in mean_opinions(table(scores))]
    assert np.mean(held) == pytest.approx(0.95, abs=0.012)
    normal = [opinion.low <= 3 <= opinion.high for opinion in mean_opinions(table(scores), interval="normal")]
    assert np.mean(normal) < 0.93  # as the docstring warns


def test_one_score_has_no_interval_and_equal_scores_none_that_is_wide():
    one, equal = mean_opinions(table([[3.0, np.nan], [4, 4]]))
    assert (one.mean, one.count, one.deviation, one.low, one.high) == (3, 1, None, None, None)
    assert (equal.deviation, equal.low, equal.high) == (0, 4, 4)


def test_published_screening(public, sample):
    assert screen(sample).rejected == ("o00", "o01")  # SubjrejMosModel of sureal 0.9 on the sample
    assert screen(public).rejected == ("o02",)
    means = [opinion.mean for opinion in mean_opinions(public.without(screen(public).rejected))]
    assert (means[0], means[10], np.mean(means)) == pytest.approx((4.88, 2.08, 3.535189873417722), abs=1e-12)


def test_screening_rejects_guesses_not_severity():
    generator = np.random.default_rng(1)
    quality = generator.uniform(2.5, 3.5, (100, 1))
    scores = quality + 0.4 * generator.standard_normal((100, 24))
    scores[:, 3] = generator.uniform(1, 5, 100)  # guesses
    scores[:, 7] -= 1.0  # severe
    found = screen(table(np.clip(scores, 1, 5)))
    assert found.rejected == ("o3",)
    assert found.below[7] > 10 and found.above[7] == 0


def test_screening_of_equal_votes_rejects_nobody():
    found = screen(table(np.full((5, 4), 3.0)))
    assert found.rejected == () and set(found.above) == set(found.below) == {0}


def test_screening_never_rejects_everybody():
    # two of eleven observers are 2.12 deviations away, at a kurtosis of 3.72, once above and once below; each in turn
    rows = []
    for who in range(11):
        for value in (1, 5):
            row = np.full(11, 3.0)
            row[[who, (who + 1) % 11]] = value
            rows.append(row)
    found = screen(table(rows))
    assert found.above == found.below == (2,) * 11
    assert found.rejected == () and "none is" in found.notes[0]


def test_published_bias_removal(public):
    # BiasremvMosModel and BiasremvSubjrejMosModel of sureal 0.9.0
    moved, bias = remove_bias(public)
    assert bias[:2] == pytest.approx((-0.19036027263875366, -0.20301850048685494), abs=1e-12)
    assert np.var(bias) == pytest.approx(0.08903258562151982, abs=1e-9)
    errors = [opinion.deviation / math.sqrt(opinion.count) for opinion in mean_opinions(moved)]
    assert np.mean(errors) == pytest.approx(0.11886817577814432, abs=1e-12)
    rejected = screen(moved).rejected
    assert rejected == ("o03", "o04", "o09", "o12")
    means = [opinion.mean for opinion in mean_opinions(moved.without(rejected))]
    assert (means[0], means[10]) == pytest.approx((4.94064796, 1.94064796), abs=1e-8)
    assert np.var(means) == pytest.approx(1.4713438591240793, abs=1e-12)


def test_bias_removal_leaves_means_and_takes_what_was_added():
    scores = np.random.default_rng(0).uniform(2, 4, (12, 5))
    shifted = table(scores + np.array([0, 0.5, -0.5, 0.25, -0.25]))
    moved, bias = remove_bias(shifted)
    _, before = remove_bias(table(scores))
    assert np.array(bias) - before == pytest.approx([0, 0.5, -0.5, 0.25, -0.25], abs=1e-12)
    assert [opinion.mean for opinion in mean_opinions(moved)] == pytest.approx(scores.mean(axis=1), abs=1e-12)


def test_published_example_of_p910(sample):
    # the output in the README of sureal's itut_p910_demo
    model = fit_subjects(sample)
    assert model.bias[:3] == pytest.approx((-0.189852445792812, -0.20251067364091327, 0.24052730104263095), abs=1e-7)
    assert model.inconsistency[:3] == pytest.approx(
        (1.8339364220090855, 1.792802362622858, 1.605246371617004), abs=1e-7
    )
    means = [opinion.mean for opinion in model.opinions]
    assert means[:3] == pytest.approx((4.926232195563247, 4.871884030934237, 4.660024317825715), abs=1e-7)
    assert means[-1] == pytest.approx(4.5726059728251345, abs=1e-7)
    errors = [(opinion.high - opinion.mean) / 1.959963984540054 for opinion in model.opinions]
    assert errors[:3] == pytest.approx((0.1548785178603921, 0.19724755984636633, 0.1232903501245844), abs=1e-7)
    assert model.iterations == 16 and model.notes == ()


def test_published_figures_of_p910_on_the_public_set(public):
    # SubjectMLEModelProjectionSolver(2) of sureal 0.9.0
    model = fit_subjects(public)
    means = [opinion.mean for opinion in model.opinions]
    assert (means[0], means[1], means[10]) == pytest.approx((4.91807257, 4.89204482, 2.058970912050979), abs=1e-8)
    assert np.mean(means) == pytest.approx(3.5447906523855885, abs=1e-9)
    assert np.var(means) == pytest.approx(1.4355485664344716, abs=1e-8)
    assert model.inconsistency[:2] == pytest.approx((0.5823933134761798, 0.5685692484325658), abs=1e-8)
    assert model.iterations == 14
    assert model.opinions[0].high - means[0] == pytest.approx(0.18156551, abs=1e-6)
    observers = fit_subjects(public, spread="observer").opinions
    assert {round(opinion.high - opinion.mean, 5) for opinion in observers} == {0.22099}


def test_the_model_finds_what_was_put_in():
    generator = np.random.default_rng(2)
    quality = generator.uniform(1.5, 4.5, 300)
    bias = generator.normal(0, 0.3, 20)
    bias -= bias.mean()
    inconsistency = generator.uniform(0.3, 1.0, 20)
    scores = quality[:, None] + bias + inconsistency * generator.standard_normal((300, 20))
    scores[generator.uniform(size=scores.shape) < 0.2] = np.nan
    model = fit_subjects(table(scores, lowest=-5, highest=12))
    assert np.abs(np.array(model.bias) - bias).max() < 0.15
    assert np.abs(np.array(model.inconsistency) - inconsistency).max() < 0.12
    found = np.array([opinion.mean for opinion in model.opinions])
    plain = np.array([opinion.mean for opinion in mean_opinions(table(scores, lowest=-5, highest=12))])
    assert np.mean((found - quality) ** 2) < 0.8 * np.mean((plain - quality) ** 2)
    held = [opinion.low <= true <= opinion.high for opinion, true in zip(model.opinions, quality, strict=True)]
    assert 0.9 < np.mean(held) < 0.99
    assert sum(model.bias) == pytest.approx(0, abs=1e-9)


def test_small_tables_are_held_at_the_floor_and_noted():
    scores = np.random.default_rng(0).integers(1, 6, (5, 5)).astype(float)
    model = fit_subjects(table(scores))
    assert min(model.inconsistency) >= 0.1 and all(np.isfinite(opinion.mean) for opinion in model.opinions)
    assert any("5 stimuli say little" in note for note in model.notes)
    agreed = fit_subjects(table(np.repeat(np.arange(1.0, 6)[:, None], 4, axis=1)))
    assert [opinion.mean for opinion in agreed.opinions] == pytest.approx([1, 2, 3, 4, 5])
    assert set(agreed.inconsistency) == {0.1} and any("held at 0.1" in note for note in agreed.notes)


METHODS = ("HR", "a", "b", "HR", "a", "b")
SOURCES = ("x", "x", "x", "y", "y", "y")


def test_methods_are_means_over_observers():
    scores = np.array([[5.0, 5, 5], [3, 4, 2], [1, 1, 2], [5, 4, 5], [4, 4, 3], [2, 1, np.nan]])
    ratings = table(scores, methods=METHODS, sources=SOURCES)
    reference, a, b = method_opinions(ratings)
    assert (reference.name, a.name, b.name) == ("HR", "a", "b")
    of_observers = (scores[1] + scores[4]) / 2
    low, high = stats.t.interval(0.95, 2, of_observers.mean(), stats.sem(of_observers))
    assert (a.mean, a.low, a.high, a.count) == pytest.approx((of_observers.mean(), low, high, 3))
    assert b.mean == pytest.approx(np.mean([1.5, 1, 2]))


def test_hidden_references_are_subtracted_for_each_observer():
    scores = np.array([[5.0, 4, 3], [3, 4, 4], [1, 1, 2], [5, 4, 5], [4, np.nan, 3], [2, 1, 1]])
    ratings = against_reference(table(scores, methods=METHODS, sources=SOURCES), "HR")
    assert ratings.methods == ("a", "b", "a", "b") and ratings.sources == ("x", "x", "y", "y")
    assert ratings.scores[0].tolist() == [3, 5, 6]  # the third observer liked it more than the reference
    assert ratings.scores[2, [0, 2]].tolist() == [4, 3] and np.isnan(ratings.scores[2, 1])
    # without missing votes: DMOS = MOS - MOS of the reference + 5
    full = table(np.nan_to_num(scores, nan=2.0), methods=METHODS, sources=SOURCES)
    before = {opinion.name: opinion.mean for opinion in method_opinions(full)}
    for opinion in method_opinions(against_reference(full, "HR")):
        assert opinion.mean == pytest.approx(before[opinion.name] - before["HR"] + 5)


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: table([[3.0, 6]]), InputError, "the score 6 of 's0' by 'o1' is not from 1 to 5"),
        (lambda: table([[3.0, np.nan]]), InputError, "observer 'o1' has no score"),
        (lambda: table([[3.0], [np.nan]]), InputError, "stimulus 's1' has no score"),
        (lambda: Ratings(("a", "a"), ("o",), np.ones((2, 1))), InputError, "stimulus 'a' is there twice"),
        (lambda: Ratings(("a",), ("o", "o"), np.ones((1, 2))), InputError, "observer 'o' is there twice"),
        (lambda: Ratings((), (), np.ones((0, 0))), InputError, "no ratings"),
        (lambda: Ratings(("a",), ("o",), np.ones((1, 2))), InputError, "scores have shape"),
        (lambda: table([[3.0]], lowest=5, highest=1), UsageError, "a scale from 5 to 1"),
        (lambda: table([[3.0]], methods=("a",)), InputError, "belong together"),
        (lambda: table([[3.0]], methods=("a", "b"), sources=("x", "y")), InputError, "one of each"),
        (lambda: table([[3.0]]).without(["p"]), InputError, "observer 'p' has rated nothing"),
        (lambda: table([[3.0]]).without(["o0"]), InputError, "no ratings"),
        (lambda: method_opinions(table([[3.0]])), InputError, "no methods"),
        (lambda: against_reference(table([[3.0]]), "HR"), InputError, "no picture was made by 'HR'"),
        (lambda: mean_opinions(table([[3.0]]), interval="t"), UsageError, "interval 't' is unknown"),  # type: ignore
        (lambda: mean_opinions(table([[3.0]]), level=95), UsageError, "level 95"),
        (lambda: fit_subjects(table([[3.0]]), spread="both"), UsageError, "spread 'both'"),  # type: ignore
        (lambda: fit_subjects(table([[3.0]]), floor=0), UsageError, "floor 0"),
    ],
)
def test_bad_ratings_are_refused(call, error, words):
    with pytest.raises(error, match=words):
        call()


def test_references_must_be_complete():
    ratings = table([[5.0], [3], [2]], methods=("HR", "a", "a"), sources=("x", "x", "y"))
    with pytest.raises(InputError, match="'HR' has no picture of 'y'"):
        against_reference(ratings, "HR")
    only = replace(ratings, methods=("HR",) * 3, sources=("x", "y", "z"))
    with pytest.raises(InputError, match="every picture was made by 'HR'"):
        against_reference(only, "HR")
