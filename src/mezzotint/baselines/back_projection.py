"""Iterative back-projection: correct a large picture until it reduces to the small one."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from mezzotint.baselines.interpolation import Bicubic, Size
from mezzotint.errors import UsageError
from mezzotint.operators.resize import imresize, taps


@dataclass(frozen=True, kw_only=True)
class BackProjection:
    """Enlarge bicubically, then repeat y <- y + strength * U (x - D y); D and U are MATLAB's bicubic.

    With strength 1 an iteration leaves at most 0.78 of any part of the residual x - D y, and the limit reduces
    to x exactly. Call it with x (b c h w); it returns b c H W, not clipped. H and W are `size`, or `scale` times
    h and w, rounded up. Raises UsageError for settings out of range.

    Irani and Peleg, "Improving resolution by image registration", CVGIP 53 (1991), for one small picture.
    """

    iterations: int = 20
    strength: float = 1.0

    def __post_init__(self) -> None:
        if self.iterations < 0:
            raise UsageError(f"{self.iterations} iterations of back-projection: use 0 or more, for example 20")
        if not 0 < self.strength < 2:
            raise UsageError(f"strength {self.strength} of back-projection does not converge: use 1")

    def __call__(self, x: Tensor, *, scale: float, size: Size | None = None) -> Tensor:
        return self.correct(Bicubic()(x, scale=scale, size=size), x)

    def correct(self, y: Tensor, x: Tensor) -> Tensor:
        """Return the large pictures y (b c H W), from wherever they come, after correction towards x (b c h w)."""
        small, large = (x.shape[-2], x.shape[-1]), (y.shape[-2], y.shape[-1])
        # Every correction is U of something small, so the loop runs on small pictures: the sum v of the residuals
        # obeys v <- v + strength * (r - D U v), and U is applied once, at the end.
        target = x - imresize(y, size=small)
        rows, columns = (_up_and_down(n, m).to(x) for n, m in zip(small, large, strict=True))
        total = torch.zeros_like(target)
        for _ in range(self.iterations):
            seen = _banded(_banded(total, rows, axis=-2), columns, axis=-1)
            total = total + self.strength * (target - seen)
        return y + imresize(total, size=large)


def _up_and_down(n: int, m: int) -> Tensor:
    """Return the bands of D U on one axis, float64 (n, 2 k + 1): row i holds the weights of pixels i-k..i+k."""
    down, between = taps(m, n, ratio=n / m)
    up, source = taps(n, m, ratio=m / n)
    weights = (down[:, :, None] * up[between]).flatten(1)
    offsets = source[between].flatten(1) - torch.arange(n)[:, None]
    reach = int(offsets.abs().max())
    bands = torch.zeros(n, 2 * reach + 1, dtype=torch.float64)
    return bands.scatter_add_(1, offsets + reach, weights)


def _banded(v: Tensor, bands: Tensor, *, axis: int) -> Tensor:
    """Apply a matrix given by its bands along an axis."""
    n, reach = v.shape[axis], bands.shape[1] // 2
    shape = (-1, 1) if axis == -2 else (-1,)
    out = torch.zeros_like(v)
    for k in range(2 * reach + 1):
        positions = (torch.arange(n, device=v.device) + k - reach).clamp(0, n - 1)  # weights beyond are zero
        out = torch.addcmul(out, v.index_select(axis, positions), bands[:, k].reshape(shape))
    return out
