from __future__ import annotations

import itertools
import pickle

import numpy as np
import pytest
import torch

from mezzotint.errors import InputError
from mezzotint.quality import diversity, diversity_score, lpips, lpips_diversity, lpips_map, merged, stability
from mezzotint.quality.diversity import BestOfSamples
from mezzotint.quality.statistics import Spread


def samples(count: int, *, side: int = 40) -> list[np.ndarray]:
    return list(np.random.default_rng(0).integers(0, 256, (count, side, side, 3), dtype=np.uint8))


def test_stability_is_the_error_between_pairs():
    pictures = [picture.astype(np.float64) for picture in samples(5)]
    pairs = [np.mean((a - b) ** 2) for a, b in itertools.combinations(pictures, 2)]
    assert stability(samples(5)) == pytest.approx(np.mean(pairs), rel=1e-12)


def test_diversity_is_the_deviation_at_each_place():
    expected = np.stack(samples(5)).astype(np.float64).std(axis=0, ddof=1).mean()
    assert diversity(samples(5)) == pytest.approx(expected, rel=1e-12)
    tensors = [torch.from_numpy(picture).permute(2, 0, 1) for picture in samples(5)]
    assert diversity(tensors) == pytest.approx(expected, rel=1e-12)


def test_lpips_between_pairs():
    pictures = samples(3)
    expected = np.mean([lpips(a, b) for a, b in itertools.combinations(pictures, 2)])
    assert lpips_diversity(pictures) == pytest.approx(expected, abs=1e-6)


def test_equal_samples_have_none_of_it(face):
    copies = [face[1][:64, :64]] * 3
    assert stability(copies) == diversity(copies) == lpips_diversity(copies) == 0
    assert diversity_score(face[0][:64, :64], copies) == pytest.approx(0, abs=1e-9)


def test_score_is_that_of_the_challenge(face):
    a, b = (picture[:96, :96] for picture in face)
    left, right = a.copy(), a.copy()
    left[:, 48:], right[:, :48] = b[:, 48:], b[:, :48]
    maps = np.stack([lpips_map(a, one).astype(np.float64) for one in (left, right, b)])
    means = maps.mean(axis=(1, 2))
    expected = 100 * (means.min() - maps.min(axis=0).mean()) / means.min()
    found = diversity_score(a, [left, right, b])
    assert found == pytest.approx(expected, rel=1e-9)
    assert found > 30  # at nearly every place one of the halves is right


def test_shared_out_samples_give_the_same_figures():
    maps = np.random.default_rng(1).uniform(0, 1, (7, 12, 9))
    whole = BestOfSamples()
    for one in maps:
        whole.add(one)
    parts = [BestOfSamples() for _ in range(3)]
    for k, one in enumerate(maps):
        parts[(k // 3) % 2].add(one)
    joined = merged([pickle.loads(pickle.dumps(part)) for part in parts])
    assert joined.count == 7 and joined.score() == whole.score()
    pictures = np.random.default_rng(2).uniform(0, 1, (7, 6, 5, 3))
    all_of_them, first, second, none = Spread(), Spread(), Spread(), Spread()
    for k, picture in enumerate(pictures):
        all_of_them.add(picture)
        (first if k < 2 else second).add(picture)
    joined = merged([none, first, second])
    assert joined.count == 7
    assert np.abs(joined.variance() - all_of_them.variance()).max() < 1e-15
    assert np.abs(joined.mean - pictures.mean(axis=0)).max() < 1e-15
    assert joined.stability == pytest.approx(all_of_them.stability, rel=1e-12)
    assert (first.count, second.count) == (2, 5)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: stability(samples(1)), "1 sample has nothing to differ from"),
        (lambda: lpips_diversity([]), "0 sample"),
        (lambda: diversity_score(samples(1)[0], samples(1)), "1 sample"),
        (lambda: diversity_score(samples(1)[0], samples(2)), "equals the reference"),
        (lambda: diversity([samples(1)[0], samples(1, side=41)[0]]), "differ in size"),
        (lambda: lpips_diversity([samples(1)[0], samples(1, side=41)[0]]), "differ in size"),
        (lambda: stability([torch.zeros(2, 3, 8, 8)] * 2), "batch of 2"),
        (lambda: diversity_score(torch.zeros(2, 3, 40, 40), samples(2)), "batch of 2"),
    ],
)
def test_bad_samples_are_refused(call, words):
    with pytest.raises(InputError, match=words):
        call()


def test_spreads_of_other_shapes_are_not_merged():
    first, second = Spread(), Spread()
    first.add(np.zeros((2, 2, 3)))
    second.add(np.zeros((2, 3, 3)))
    with pytest.raises(InputError, match="one shape"):
        first.merge(second)
    one, other = BestOfSamples(), BestOfSamples()
    one.add(np.ones((2, 2)))
    other.add(np.ones((3, 2)))
    with pytest.raises(InputError, match="one size"):
        one.merge(other)
