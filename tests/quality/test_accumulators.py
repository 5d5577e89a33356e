from __future__ import annotations

import math
import pickle
from functools import partial

import numpy as np
import pytest
from skimage import data

from mezzotint.errors import InputError, UsageError
from mezzotint.quality import Collector, merged, psnr, ssim


def pairs(count: int = 7) -> list[tuple[str, np.ndarray, np.ndarray]]:
    generator = np.random.default_rng(0)
    found = []
    for k in range(count):
        picture = data.chelsea()[10 * k : 10 * k + 40, 50:100]
        noise = generator.integers(-5 * k - 5, 5 * k + 6, picture.shape)
        found.append((f"{k}.png", picture, np.clip(picture + noise, 0, 255).astype(np.uint8)))
    return found


@pytest.mark.parametrize("measure", [psnr, partial(ssim, protocol="rgb", scale=2)])
def test_shared_out_pictures_give_the_same_to_the_last_bit(measure):
    whole = Collector(measure)
    for name, a, b in pairs():
        assert whole.add(name, a, b) == measure(a, b)
    parts = [Collector(measure) for _ in range(3)]
    for k, (name, a, b) in enumerate(reversed(pairs())):
        parts[k % 2].add(name, a, b)
    joined = merged([pickle.loads(pickle.dumps(part)) for part in parts])
    assert joined.values == whole.values
    assert (joined.mean, joined.deviation, joined.interval()) == (whole.mean, whole.deviation, whole.interval())
    assert whole.mean == pytest.approx(np.mean([measure(a, b) for _, a, b in pairs()]))
    assert [len(part.values) for part in parts] == [4, 3, 0]


def test_nothing_measured_has_no_mean_and_perfect_pictures_an_infinite_one():
    collector = Collector(psnr)
    assert collector.mean is None and collector.deviation is None and collector.interval() is None
    picture = pairs(1)[0][1]
    collector.add("a", picture, picture)
    collector.add("b", picture, picture)
    assert collector.mean == math.inf and collector.deviation is None


def test_a_picture_is_measured_once():
    (name, a, b), *_ = pairs(1)
    first, second = Collector(psnr), Collector(psnr)
    first.add(name, a, b)
    second.add(name, a, b)
    with pytest.raises(InputError, match="0.png was measured twice"):
        first.add(name, a, b)
    with pytest.raises(InputError, match="0.png was measured twice"):
        first.merge(second)
    with pytest.raises(UsageError, match="nothing to merge"):
        merged([])
