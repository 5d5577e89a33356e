from __future__ import annotations

import math
import pickle

import numpy as np
import pytest
from scipy.linalg import sqrtm

from mezzotint.errors import InputError
from mezzotint.quality import frechet_distance, frechet_distance_of_features, kernel_distance, merged
from mezzotint.quality.frechet import Features, Moments


def normal(count: int, width: int, *, seed: int = 0, shift: float = 0.0, spread: float = 1.0) -> np.ndarray:
    return shift + spread * np.random.default_rng(seed).standard_normal((count, width))


def moments(features: np.ndarray) -> Moments:
    found = Moments(features.shape[1])
    found.add(features)
    return found


def with_moments(mean: np.ndarray, covariance: np.ndarray) -> np.ndarray:
    """Features whose mean and covariance (n - 1) are exactly these."""
    width = len(mean)
    values = normal(4 * width, width, seed=width)
    values -= values.mean(axis=0)
    whitened = values @ np.linalg.inv(np.linalg.cholesky(np.atleast_2d(np.cov(values.T)))).T
    return mean + whitened @ np.linalg.cholesky(covariance).T


def of_moments(a: np.ndarray, b: np.ndarray) -> float:
    return frechet_distance(moments(a), moments(b))


@pytest.mark.parametrize("distance", [of_moments, frechet_distance_of_features])
def test_closed_forms_of_gaussians(distance):
    generator = np.random.default_rng(1)
    root = generator.normal(0, 1, (5, 5))
    covariance = root @ root.T + 0.1 * np.eye(5)
    here, there = generator.normal(0, 1, (2, 5))
    # equal covariances leave the distance of the means
    assert distance(with_moments(here, covariance), with_moments(there, covariance)) == pytest.approx(
        np.sum((here - there) ** 2), rel=1e-9
    )
    # covariances that commute: the squared distance of their roots
    scale = np.array([0.5, 1, 2, 3, 0.1])
    turn = np.linalg.qr(root)[0]
    first, second = (turn @ np.diag(values) @ turn.T for values in (scale, scale[::-1]))
    assert distance(with_moments(here, first), with_moments(here, second)) == pytest.approx(
        np.sum((np.sqrt(scale) - np.sqrt(scale[::-1])) ** 2), rel=1e-9
    )
    # one number a picture
    assert distance(with_moments(here[:1], np.eye(1) * 4), with_moments(there[:1], np.eye(1) * 9)) == pytest.approx(
        (here[0] - there[0]) ** 2 + (2 - 3) ** 2, rel=1e-9
    )


def test_equals_the_matrix_root_of_scipy():
    a, b = normal(60, 8, seed=1) @ normal(8, 8, seed=2), normal(50, 8, seed=3, shift=0.3)
    one, other = np.cov(a.T), np.cov(b.T)
    expected = np.sum((a.mean(0) - b.mean(0)) ** 2) + np.trace(one + other - 2 * np.real(sqrtm(one @ other)))
    assert frechet_distance(moments(a), moments(b)) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize(("n", "m"), [(5, 7), (40, 40), (41, 6)])
def test_few_features_give_the_distance_of_their_moments(n, m):
    a, b = normal(n, 40, seed=1), normal(m, 40, seed=2, shift=0.5, spread=2)
    assert frechet_distance_of_features(a, b) == pytest.approx(frechet_distance(moments(a), moments(b)), rel=1e-7)


def test_a_set_is_at_distance_zero_of_itself_and_distances_are_symmetric():
    a, b = normal(30, 64), normal(25, 64, seed=1, shift=1)
    assert frechet_distance_of_features(a, a) == pytest.approx(0, abs=1e-9)
    assert frechet_distance(moments(a), moments(a)) == pytest.approx(0, abs=1e-5)
    assert frechet_distance_of_features(a, b) == pytest.approx(frechet_distance_of_features(b, a), rel=1e-12)
    assert kernel_distance(a, b) == pytest.approx(kernel_distance(b, a), rel=1e-12)


def test_kernel_distance_equals_brute_force():
    a, b = normal(7, 5, seed=1), normal(9, 5, seed=2, shift=0.4)

    def kernel(u: np.ndarray, v: np.ndarray) -> float:
        return (float(u @ v) / 5 + 1) ** 3

    within_a = np.mean([kernel(a[i], a[j]) for i in range(7) for j in range(7) if i != j])
    within_b = np.mean([kernel(b[i], b[j]) for i in range(9) for j in range(9) if i != j])
    between = np.mean([kernel(u, v) for u in a for v in b])
    assert kernel_distance(a, b) == pytest.approx(within_a + within_b - 2 * between, rel=1e-10)


def test_kernel_distance_in_strips_is_the_same(monkeypatch):
    a, b = normal(50, 6, seed=1), normal(33, 6, seed=2)
    expected = kernel_distance(a, b)
    monkeypatch.setattr("mezzotint.quality.frechet._BLOCK", 7)
    assert kernel_distance(a, b) == pytest.approx(expected, rel=1e-10)


def test_kernel_distance_is_unbiased():
    """Over many pairs of sets of one distribution it averages to 0, which the Fréchet distance does not."""
    sets = [(normal(10, 4, seed=2 * k), normal(10, 4, seed=2 * k + 1)) for k in range(400)]
    kernel = np.array([kernel_distance(*pair) for pair in sets])
    assert abs(kernel.mean()) < 4 * kernel.std() / math.sqrt(len(sets))
    frechet = np.array([frechet_distance_of_features(*pair) for pair in sets])
    assert frechet.mean() > 10 * frechet.std() / math.sqrt(len(sets))


def test_moments_are_those_of_numpy_however_they_come():
    features = normal(101, 6, seed=3, shift=100, spread=0.01)
    whole = moments(features)
    assert np.abs(whole.covariance() - np.cov(features.T)).max() < 1e-15
    parts = []
    for rows in np.split(features, [1, 1, 40, 77]):
        part = Moments(6)
        for row in np.array_split(rows, 3):
            part.add(row)
        parts.append(pickle.loads(pickle.dumps(part)))
    joined = merged(parts)
    assert joined.count == whole.count == 101
    assert np.abs(joined.mean - whole.mean).max() < 1e-12
    assert np.abs(joined.covariance() - whole.covariance()).max() < 1e-15
    assert [part.count for part in parts] == [1, 0, 39, 37, 24]  # merging changes none of them


def test_features_are_merged_in_order():
    first, second = Features(), Features()
    first.add(normal(3, 4, seed=1))
    second.add(normal(2, 4, seed=2))
    both = first.merge(second)
    assert (len(first), len(second), len(both)) == (3, 2, 5)
    assert np.array_equal(both.array(), np.concatenate([first.array(), second.array()]))


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: kernel_distance(normal(3, 4), normal(3, 5)), r"\(n, 4\) is needed"),
        (lambda: frechet_distance_of_features(normal(3, 4), normal(1, 4)), "at least two"),
        (lambda: frechet_distance_of_features(normal(3, 4)[0], normal(3, 4)), r"\(n, d\) is needed"),
        (lambda: frechet_distance(moments(normal(3, 4)), moments(normal(3, 5))), "one network"),
        (lambda: frechet_distance(moments(normal(3, 4)), moments(normal(1, 4))), "at least two pictures"),
        (lambda: moments(normal(3, 4)).merge(Moments(5)), "features of 4 and of 5"),
        (lambda: moments(np.full((3, 4), np.nan)), "not all finite"),
        (lambda: Features().array(), "0 pictures"),
    ],
)
def test_bad_features_are_refused(call, words):
    with pytest.raises(InputError, match=words):
        call()
