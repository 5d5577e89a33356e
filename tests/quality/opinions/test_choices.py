from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from mezzotint.errors import InputError, UsageError
from mezzotint.quality.opinions import Choice, Choices, fool_rates, inattentive
from mezzotint.quality.opinions.intervals import normal_quantile, student_quantile, wilson_interval


def trials(method: str, table: dict[str, list[int]]) -> tuple[Choice, ...]:
    return tuple(
        Choice(observer, method, f"{k}", bool(value))
        for observer, values in table.items()
        for k, value in enumerate(values)
    )


def test_shares_and_wilson():
    choices = Choices(trials("sr3", {"a": [1, 0, 1, 1], "b": [0, 0, 1, 0]}) + trials("gan", {"a": [0, 0]}))
    sr3, gan = fool_rates(choices)
    assert (sr3.method, sr3.share, sr3.fooled, sr3.trials, sr3.observers) == ("sr3", 0.5, 4, 8, 2)
    interval = stats.binomtest(4, 8).proportion_ci(0.95, method="wilson")
    assert (sr3.low, sr3.high) == pytest.approx((interval.low, interval.high), abs=1e-12)
    assert sr3.low_observers == 0.25 and sr3.high_observers == 0.75
    assert gan.share == 0 and gan.low == 0 and 0 < gan.high < 1
    assert gan.low_observers is None


@pytest.mark.parametrize(("successes", "count"), [(0, 1), (1, 1), (0, 30), (3, 20), (54, 100), (77, 77)])
@pytest.mark.parametrize("level", [0.9, 0.95])
def test_wilson_is_that_of_scipy(successes, count, level):
    interval = stats.binomtest(successes, count).proportion_ci(level, method="wilson")
    found = wilson_interval(successes, count, level=level)
    assert found == pytest.approx((interval.low, interval.high), abs=1e-12)


def test_coin_flips_are_held_as_often_as_the_level_says():
    generator = np.random.default_rng(0)
    counts = generator.binomial(50, 0.5, 3000)
    held = [low <= 0.5 <= high for low, high in (wilson_interval(int(count), 50) for count in counts)]
    assert np.mean(held) == pytest.approx(0.95, abs=0.02)


def test_observers_who_differ_make_the_interval_wider():
    generator = np.random.default_rng(1)
    alike = {f"o{k}": [int(v) for v in generator.uniform(size=40) < 0.5] for k in range(20)}
    split = {f"o{k}": [int(v) for v in generator.uniform(size=40) < (0.2 if k % 2 else 0.8)] for k in range(20)}
    (one,), (other,) = (fool_rates(Choices(trials("m", table))) for table in (alike, split))
    assert other.high_observers - other.low_observers > 2 * (other.high - other.low)
    assert one.high_observers - one.low_observers < 1.5 * (one.high - one.low)


def test_inattentive_observers_are_left_out():
    caught = trials("noise", {"good": [0] * 9 + [1], "asleep": [0, 1, 1, 0]})
    choices = Choices(caught + trials("sr3", {"good": [1, 0], "asleep": [1, 1], "new": [0, 0]}))
    assert inattentive(choices, catch="noise") == ("asleep",)
    (rate,) = fool_rates(choices, catch="noise")
    assert (rate.share, rate.trials, rate.observers) == (0.25, 4, 2)
    (all_of_them,) = fool_rates(choices, catch="noise", attentive=0.5)
    assert all_of_them.trials == 6
    with pytest.raises(InputError, match="no catch trials 'catch': the methods are noise, sr3"):
        fool_rates(choices, catch="catch")
    with pytest.raises(InputError, match="no trials are left without asleep"):
        fool_rates(Choices(trials("noise", {"asleep": [1]}) + trials("sr3", {"asleep": [1]})), catch="noise")
    with pytest.raises(UsageError, match="attentive 80"):
        fool_rates(choices, attentive=80)


def test_nothing_is_no_study():
    with pytest.raises(InputError, match="no choices"):
        Choices(())
    with pytest.raises(UsageError, match="no share"):
        wilson_interval(0, 0)


@pytest.mark.parametrize("freedom", [1, 2, 3, 9, 25, 100, 5000])
@pytest.mark.parametrize("level", [0.5, 0.9, 0.95, 0.999])
def test_quantiles_of_students_t(freedom, level):
    assert student_quantile(level, freedom) == pytest.approx(stats.t.ppf(0.5 + level / 2, freedom), rel=1e-9)


def test_quantiles_of_the_normal_distribution():
    assert normal_quantile(0.95) == pytest.approx(1.959963984540054, abs=1e-12)
    assert student_quantile(0.95, 10**7) == pytest.approx(normal_quantile(0.95), rel=1e-6)
    with pytest.raises(UsageError, match="degrees of freedom"):
        student_quantile(0.95, 0)
    with pytest.raises(UsageError, match="level 1"):
        normal_quantile(1)
