"""What several samples of one small picture tell: how stable a method is, and how much its samples differ.

A method that returns one picture has stability and diversity 0. Diversity is good only where it is meaningful: read it
beside the consistency and the distance to the true picture.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import numpy as np
import torch

from mezzotint.errors import InputError
from mezzotint.quality.levels import Picture, check_alike, to_levels
from mezzotint.quality.lpips import Net, load_network, lpips_map, prepare
from mezzotint.quality.statistics import Spread


def stability(samples: Sequence[Picture]) -> float:
    """Return the mean squared error between two samples, averaged over all pairs, in squared 8-bit levels; 0 is stable.

    samples: at least two pictures of one size, as `psnr` takes them, each alone; rounded to 8 bits. It is twice the
    variance of the samples (n - 1). Raises InputError for fewer than two, or for other sizes.
    """
    return _spread(samples).stability


def diversity(samples: Sequence[Picture]) -> float:
    """Return the standard deviation of the samples (n - 1), averaged over pixels and channels, in 8-bit levels.

    samples and errors are those of `stability`.
    """
    return _spread(samples).diversity


def lpips_diversity(samples: Sequence[Picture], *, net: Net = "alex") -> float:
    """Return the LPIPS between two samples, averaged over all pairs.

    samples and errors are those of `stability` and of `lpips`; nothing is rounded.
    """
    network = load_network(net)
    pictures = [prepare(sample, name="a sample") for sample in samples]
    _check_several(len(pictures))
    for picture in pictures[1:]:
        check_alike(pictures[0].numpy(), picture.numpy())
    with torch.no_grad():
        described = [network.describe(picture) for picture in pictures]
        values = [float(network.distance(a, b)[0]) for a, b in itertools.combinations(described, 2)]
    return math.fsum(values) / len(values)


def diversity_score(reference: Picture, samples: Sequence[Picture], *, net: Net = "alex") -> float:
    """Return by how many per cent the best sample at every pixel is nearer to the reference than the best whole sample.

    100 (min_m mean d_m - mean min_m d_m) / min_m mean d_m of the LPIPS maps d_m of the samples: 0 where all samples are
    equal, or where one is best everywhere. The challenges use 10 samples, AlexNet, and the mean of the pictures'
    scores. samples and errors are those of `stability`; InputError for a sample that equals the reference. Lugmayr et
    al. 2021, NTIRE challenge on learning the super-resolution space.
    """
    best = BestOfSamples()
    for sample in samples:
        found = np.asarray(lpips_map(_one(reference), _one(sample), net=net))
        best.add(found)
    return best.score()


class BestOfSamples:
    """The running minimum of distance maps (h, w) and of their means: `diversity_score`, one sample at a time.

    Two of them that are merged equal one over all samples, whatever the order.
    """

    def __init__(self) -> None:
        self.count = 0
        self._least: np.ndarray = np.zeros(())
        self.least_mean = math.inf

    def add(self, distance: np.ndarray) -> None:
        """Take the map of one more sample; all have the same shape."""
        self._join(1, np.asarray(distance, dtype=np.float64), float(np.mean(distance, dtype=np.float64)))

    def merge(self, other: BestOfSamples) -> BestOfSamples:
        """Return the minima over the samples of both."""
        merged = BestOfSamples()
        for part in (self, other):
            if part.count:
                merged._join(part.count, part._least, part.least_mean)
        return merged

    def score(self) -> float:
        """Return the score in per cent; raises InputError for fewer than two samples and for a perfect one."""
        _check_several(self.count)
        if self.least_mean == 0:
            raise InputError("a sample equals the reference: its diversity score is not defined")
        return 100 * (self.least_mean - float(self._least.mean())) / self.least_mean

    def _join(self, count: int, least: np.ndarray, mean: float) -> None:
        if self.count and least.shape != self._least.shape:
            raise InputError(f"maps of {least.shape} and of {self._least.shape}: samples of one picture have one size")
        self._least = np.minimum(self._least, least) if self.count else least.copy()
        self.least_mean = min(self.least_mean, mean)
        self.count += count


def _spread(samples: Sequence[Picture]) -> Spread:
    _check_several(len(samples))
    spread = Spread()
    for sample in samples:
        levels = to_levels(sample, name="a sample")
        if len(levels) != 1:
            raise InputError(f"a batch of {len(levels)} pictures is no sample: pass a list of single pictures")
        if spread.count:
            check_alike(levels, spread.mean.transpose(2, 0, 1)[None])
        spread.add(levels[0].transpose(1, 2, 0) / 255.0)
    return spread


def _one(picture: Picture) -> np.ndarray:
    tensor = prepare(picture)
    if len(tensor) != 1:
        raise InputError(f"a batch of {len(tensor)} pictures is no sample: pass a list of single pictures")
    return tensor[0].permute(1, 2, 0).numpy()


def _check_several(count: int) -> None:
    if count < 2:
        raise InputError(f"{count} sample has nothing to differ from: take at least 2, for example with --samples 10")
