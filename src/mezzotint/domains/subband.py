"""The residual of a predictor in Haar bands of the small picture's size, every band scaled to unit variance."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor

from mezzotint.errors import UsageError

Transform = Literal["haar", "cells"]

# Orthonormal opponent colours: (R+G+B)/sqrt 3, (R-B)/sqrt 2, (R-2G+B)/sqrt 6.
_OPPONENT = (
    (3**-0.5, 3**-0.5, 3**-0.5),
    (2**-0.5, 0.0, -(2**-0.5)),
    (6**-0.5, -2 * 6**-0.5, 6**-0.5),
)


def haar_matrix(n: int) -> Tensor:
    """Return the orthonormal Haar matrix (n, n) in float64, coarsest row first; `n` is a power of two.

    Raises UsageError for another size.
    """
    if n < 1 or n & (n - 1):
        raise UsageError(f"a Haar transform of {n} samples: use a power of two")
    matrix = torch.ones(1, 1, dtype=torch.float64)
    while matrix.shape[0] < n:
        m = matrix.shape[0]
        coarse = torch.kron(matrix, torch.tensor([[1.0, 1.0]], dtype=torch.float64))
        fine = torch.kron(torch.eye(m, dtype=torch.float64), torch.tensor([[1.0, -1.0]], dtype=torch.float64))
        matrix = torch.cat([coarse, fine]) / 2**0.5
    return matrix


def cell_transform(scale: int, transform: Transform = "haar") -> Tensor:
    """Return the orthonormal analysis (3 s^2, 3, s, s) of one s x s cell of an RGB picture in float64.

    Haar along rows and columns times opponent colours: band = colour * s^2 + row * s + column, coarsest first; for
    "cells" the identity in the same order. Raises UsageError for a scale that is no power of two.
    """
    haar, colours = haar_matrix(scale), torch.tensor(_OPPONENT, dtype=torch.float64)
    if transform == "cells":
        haar, colours = torch.eye(scale, dtype=torch.float64), torch.eye(3, dtype=torch.float64)
    kernel = torch.einsum("kc,pi,qj->kpqcij", colours, haar, haar)
    return kernel.reshape(3 * scale * scale, 3, scale, scale)


@dataclass(frozen=True)
class SubBand:
    """Residual pictures (b, 3, H, W) as bands (b, 3 s^2, H / s, W / s), each divided by its own deviation.

    The transform is orthonormal, so white noise stays white; with `deviations` the standard deviation of every
    band over the training data, all bands are diffused at the same ratio of signal to noise.
    A state cell is `scale` pixels wide, and a cell is one pixel of the small picture.
    """

    scale: int = 4
    transform: Transform = "haar"

    def __post_init__(self) -> None:
        if self.transform not in get_args(Transform):
            raise UsageError(f"transform {self.transform!r} is unknown: use one of {', '.join(get_args(Transform))}")

    @property
    def channels(self) -> int:
        return 3 * self.scale * self.scale

    @property
    def cell(self) -> int:
        return self.scale

    @property
    def finest(self) -> Tensor:
        """Which of the 3 s^2 bands are of the finest octave, along rows or columns or both (bool).

        Raises UsageError for the transform "cells", which has no octaves.
        """
        if self.transform == "cells":
            raise UsageError('the transform "cells" has no finest octave: use "haar"')
        fine = torch.arange(self.scale) >= (self.scale + 1) // 2
        return (fine[:, None] | fine).flatten().repeat(3)

    @property
    def luminance(self) -> Tensor:
        """Which of the 3 s^2 bands are of luminance (bool).

        Raises UsageError for the transform "cells", which keeps red, green and blue.
        """
        if self.transform == "cells":
            raise UsageError('the transform "cells" has no bands of luminance: use "haar"')
        return torch.arange(self.channels) < self.scale**2

    def encode(self, residual: Tensor, deviations: Tensor) -> Tensor:
        """Map a residual b 3 H W, sides multiples of the scale, to scaled bands b 3s^2 H/s W/s."""
        height, width = residual.shape[-2:]
        if height % self.scale or width % self.scale:
            raise UsageError(f"a residual of {height}x{width} pixels does not divide into cells of {self.scale}")
        kernel = cell_transform(self.scale, self.transform).to(residual)
        return F.conv2d(residual, kernel, stride=self.scale) / deviations.to(residual)[:, None, None]

    def decode(self, z: Tensor, deviations: Tensor) -> Tensor:
        """Map scaled bands b 3s^2 h w back to a residual b 3 H W."""
        kernel = cell_transform(self.scale, self.transform).to(z)
        return F.conv_transpose2d(z * deviations.to(z)[:, None, None], kernel, stride=self.scale)
