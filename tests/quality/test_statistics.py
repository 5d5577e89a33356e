from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st

from mezzotint.errors import UsageError
from mezzotint.quality import statistics
from mezzotint.quality.statistics import Spread


def test_undefined_values_are_left_out():
    assert statistics.mean([1.0, None, 3.0]) == 2.0
    assert statistics.mean([None]) is None
    assert statistics.mean([30.0, math.inf]) == math.inf
    assert statistics.deviation([1.0, None, 3.0]) == pytest.approx(math.sqrt(2))
    assert statistics.deviation([1.0]) is None
    assert statistics.deviation([1.0, math.inf]) is None


def test_interval_of_many_values_is_that_of_the_normal_law():
    values = np.random.default_rng(0).normal(30, 2, 400)
    low, high = statistics.bootstrap_interval(list(values))
    half = 1.96 * values.std() / math.sqrt(len(values))
    assert low == pytest.approx(values.mean() - half, abs=0.03)
    assert high == pytest.approx(values.mean() + half, abs=0.03)


def test_interval_covers_the_true_mean_as_often_as_it_says():
    generator = np.random.default_rng(1)
    hits = 0
    for _ in range(300):
        low, high = statistics.bootstrap_interval(list(generator.normal(0, 1, 40)), resamples=400)
        hits += low <= 0 <= high
    assert 0.90 <= hits / 300 <= 0.98


def test_interval_is_a_function_of_its_arguments():
    values = [1.0, 2.0, 4.0, 8.0]
    assert statistics.bootstrap_interval(values) == statistics.bootstrap_interval(values)
    assert statistics.bootstrap_interval(values, level=0.5) != statistics.bootstrap_interval(values)
    state = np.random.get_state()[1].copy()
    statistics.bootstrap_interval(values)
    assert np.array_equal(np.random.get_state()[1], state)


def test_interval_of_one_value_or_of_infinite_ones():
    assert statistics.bootstrap_interval([1.0]) is None
    assert statistics.bootstrap_interval([1.0, None]) is None
    low, high = statistics.bootstrap_interval([30.0, 31.0, math.inf])
    assert 30 <= low < math.inf and high == math.inf


def test_bad_levels_are_refused():
    for level in (0.0, 1.0, 95.0):
        with pytest.raises(UsageError, match="level"):
            statistics.bootstrap_interval([1.0, 2.0], level=level)
    with pytest.raises(UsageError, match="resamples"):
        statistics.bootstrap_interval([1.0, 2.0], resamples=0)


@given(st.lists(st.tuples(st.integers(-5, 5), st.integers(-5, 5)), min_size=3, max_size=30))
def test_rank_correlation_equals_scipy_with_ties(pairs):
    a, b = (np.array(column, dtype=float) for column in zip(*pairs, strict=True))
    found = statistics.rank_correlation(a, b)
    if len(set(a)) == 1 or len(set(b)) == 1:
        assert found is None
    else:
        assert found == pytest.approx(scipy.stats.spearmanr(a, b).statistic, abs=1e-12)


def test_block_means_leave_out_what_is_no_whole_block():
    plane = np.arange(17 * 10, dtype=float).reshape(17, 10)
    means = statistics.block_means(plane)
    assert means.shape == (2, 1)
    assert means[1, 0] == plane[8:16, :8].mean()


def test_running_mean_and_variance_equal_numpy():
    samples = np.random.default_rng(2).uniform(0, 1, (7, 5, 4, 3)) + 1e6
    spread = Spread()
    for sample in samples:
        spread.add(sample)
    assert np.allclose(spread.mean, samples.mean(axis=0), rtol=1e-15)
    assert np.allclose(spread.variance(), samples.var(axis=0, ddof=1), rtol=1e-6)


def test_one_sample_has_no_variance():
    spread = Spread()
    spread.add(np.zeros((8, 8, 3)))
    with pytest.raises(UsageError, match="at least 2"):
        spread.variance()


@pytest.mark.parametrize("count", [2, 4, 16])
def test_samples_of_the_posterior_are_calibrated(count):
    # truth and samples are drawn from one law, whose deviation differs from block to block
    generator = np.random.default_rng(3)
    deviation = np.kron(generator.uniform(0.01, 0.1, (12, 12)), np.ones((8, 8)))[..., None]
    truth = 0.5 + deviation * generator.standard_normal((96, 96, 3))
    spread = Spread()
    for _ in range(count):
        spread.add(0.5 + deviation * generator.standard_normal((96, 96, 3)))
    calibration = spread.calibration(truth)
    assert calibration.ratio == pytest.approx(count / (count + 1), rel=0.05)
    assert calibration.spread2 == pytest.approx(255**2 * np.mean(deviation**2), rel=0.05)
    assert calibration.rank_correlation is not None and calibration.rank_correlation > 0.9


def test_too_sure_a_method_has_a_small_ratio():
    generator = np.random.default_rng(4)
    truth = 0.1 * generator.standard_normal((64, 64, 3))
    spread = Spread()
    for _ in range(8):
        spread.add(0.05 * generator.standard_normal((64, 64, 3)))
    assert spread.calibration(truth).ratio == pytest.approx(0.25 / (1 + 0.25 / 8), rel=0.05)


def test_diversity_is_the_mean_deviation_in_levels():
    spread = Spread()
    for value in (0.4, 0.6):
        spread.add(np.full((8, 8, 3), value))
    calibration = spread.calibration(np.full((8, 8, 3), 0.5))
    assert calibration.diversity == pytest.approx(255 * 0.2 / math.sqrt(2))
    assert calibration.error2 == pytest.approx(0, abs=1e-20)
    assert calibration.rank_correlation is None
