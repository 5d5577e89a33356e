"""Colour correction: give a result the colours of the picture that it was made from (survey, section 4.6).

A diffusion model that errs at high noise returns pictures with a cast: detail is right, low frequencies are not. Two
remedies take what is low from the enlarged small picture, `reference`, in floats and before the clip to [0, 1]:
`match_moments` its two moments a channel, over the whole picture (tiles would show), `match_low_frequencies` all of its
low frequencies, with their errors. Both are those of StableSR's code (Wang et al., arXiv 2305.07015).
Pictures are b c H W in [0, 1] of any number of channels, without alpha.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor

NAMES = ("none", "mean-std", "wavelet")
"""What an option of colour may be."""

REACH = 31
"""Pixels on each side that `low` looks at: 1 + 2 + 4 + 8 + 16."""

_LEVELS = 5
# Added to each variance, as the authors do, for pictures in [0, 1]: a flat channel stays flat.
_EPSILON = 1e-5


@dataclass(frozen=True, eq=False)
class Moments:
    """Number of pixels; of every channel the mean and the sum of squared deviations, float64 b c 1 1; parts add up."""

    count: int
    mean: Tensor
    squares: Tensor

    @classmethod
    def of(cls, part: Tensor) -> Moments:
        """Those of a picture or of rows of it, b c H W with at least one pixel."""
        values = part.double()
        mean = values.mean(dim=(2, 3), keepdim=True)
        return cls(part.shape[2] * part.shape[3], mean, (values - mean).square().sum(dim=(2, 3), keepdim=True))

    def __add__(self, other: Moments) -> Moments:
        """Those of both parts together (Chan et al. 1979)."""
        count = self.count + other.count
        change = other.mean - self.mean
        squares = self.squares + other.squares + change.square() * (self.count * other.count / count)
        return Moments(count, self.mean + change * (other.count / count), squares)

    @property
    def std(self) -> Tensor:
        """The standard deviation b c 1 1 with n - 1, of one pixel 0; 1e-5 is added to its square."""
        return (self.squares / max(1, self.count - 1) + _EPSILON).sqrt()


def match_moments(y: Tensor, reference: Tensor) -> Tensor:
    """y with the mean and the standard deviation of every channel of the reference, both b c H W: (y - m) r / s + m'.

    Any scaling and offset of a channel of y is undone, up to the 1e-5 in both variances. Pictures with more detail than
    the reference lose a little contrast, since detail counts in the deviation. The correction is in y's type.
    Raises ValueError for another number of pictures or channels.
    """
    if y.shape[:2] != reference.shape[:2]:
        raise ValueError(f"a picture {tuple(y.shape)} and a reference {tuple(reference.shape)} of other channels")
    return moved(y, Moments.of(y), Moments.of(reference))


def moved(y: Tensor, own: Moments, wanted: Moments) -> Tensor:
    """The same for rows of a picture, from the moments of the whole of it and of its reference."""
    gain = wanted.std / own.std
    return y * gain.to(y) + (wanted.mean - own.mean * gain).to(y)


def match_low_frequencies(y: Tensor, reference: Tensor) -> Tensor:
    """high(y) + low(reference) = y + low(reference - y), both b c H W of one size.

    An output pixel depends on `REACH` pixels on each side. Blocks and casts of the reference come along, and bright
    rims appear where the two differ at strong edges. Raises ValueError for another size.
    """
    if y.shape != reference.shape:
        raise ValueError(f"a picture {tuple(y.shape)} and a reference {tuple(reference.shape)}: enlarge it first")
    return y + low(reference - y)


def low(y: Tensor) -> Tensor:
    """What five levels of the a trous wavelet transform leave of y b c H W, about a Gaussian of 13 pixels.

    Level i blurs with (1, 2, 1) / 4 along rows and columns, its taps 2^i pixels apart, the border repeated;
    `y - low(y)` is the sum of the five bands.
    """
    for level in range(_LEVELS):
        step = 2**level
        y = F.pad(y, (step, step, step, step), mode="replicate")
        y = 0.25 * (y[..., : -2 * step, :] + y[..., 2 * step :, :]) + 0.5 * y[..., step:-step, :]
        y = 0.25 * (y[..., : -2 * step] + y[..., 2 * step :]) + 0.5 * y[..., step:-step]
    return y
