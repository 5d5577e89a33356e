"""The difference from a learned prediction as the state, in the four Haar bands of half the size."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mezzotint.domains.pixel import Pixel, PixelContext

_SIGNS = torch.tensor([[1, 1, 1, 1], [1, -1, 1, -1], [1, 1, -1, -1], [1, -1, -1, 1]], dtype=torch.float64, device="cpu")


def haar(y: Tensor) -> Tensor:
    """The orthonormal Haar bands of y b c H W with even sides: b 4c H/2 W/2, low-pass first, by band and colour."""
    b, c, rows, columns = y.shape
    cells = F.pixel_unshuffle(y, 2).reshape(b, c, 4, rows // 2, columns // 2)
    return torch.einsum("ki,bcihw->bkchw", (_SIGNS / 2).to(y), cells).reshape(b, 4 * c, rows // 2, columns // 2)


def inverse_haar(bands: Tensor) -> Tensor:
    """The picture b c H W of its bands b 4c H/2 W/2."""
    b, c, rows, columns = bands.shape
    cells = torch.einsum("ki,bkchw->bcihw", (_SIGNS / 2).to(bands), bands.reshape(b, 4, c // 4, rows, columns))
    return F.pixel_shuffle(cells.reshape(b, c, rows, columns), 2)


@dataclass(frozen=True, eq=False)
class WaveletContext:
    """The bands of bicubic up(x), those that are predicted from them, both b 4c H/2 W/2, and the size of y."""

    seen: Tensor
    predicted: Tensor
    size: tuple[int, int]


class WaveletResidual(nn.Module):
    """Diffuse W y - P(W up(x)), W the orthonormal Haar transform, up MATLAB's bicubic (DiWa, arXiv 2304.01994).

    P(u) = u + CNN(u) on all bands at once: `layers` convolutions of `width` channels without bias between two that
    change the channels. It has no loss of its own: its gradient comes through the state. Odd sides are extended by the
    last row and column, and cut again.
    """

    def __init__(self, *, channels: int = 3, width: int = 64, layers: int = 10) -> None:
        super().__init__()
        widths = [4 * channels, *([width] * (layers + 1)), 4 * channels]
        parts: list[nn.Module] = []
        for before, after in zip(widths, widths[1:], strict=False):
            parts += [nn.Conv2d(before, after, 3, padding=1, bias=False), nn.ReLU()]
        self.cnn = nn.Sequential(*parts[:-1])

    @property
    def cell(self) -> int:
        return 2

    def context(self, x: Tensor, *, size: tuple[int, int]) -> WaveletContext:
        """The bands of x b c h w, enlarged to the size, and their prediction; UsageError for a size without pixels."""
        pixels = Pixel().context(x, size=size)
        seen = haar(_even(Pixel().lift(x, pixels)))
        return WaveletContext(seen=seen, predicted=seen + self.cnn(seen), size=pixels.size)

    def shape(self, context: WaveletContext) -> tuple[int, int, int, int]:
        b, c, rows, columns = context.seen.shape
        return (b, c, rows, columns)

    def encode(self, y: Tensor, context: WaveletContext) -> Tensor:
        """y b c H W -> b 4c H/2 W/2; UsageError where its shape is not that of the context."""
        b, c = context.seen.shape[:2]
        expected = PixelContext(x=y.new_empty(b, c // 4, 1, 1), size=context.size)
        return haar(_even(Pixel().encode(y, expected))) - context.predicted

    def lift(self, x: Tensor, context: WaveletContext) -> Tensor:
        """The bands of up(x), b 4c H/2 W/2: what the network sees."""
        return context.seen

    def decode(self, z: Tensor, context: WaveletContext, *, size: tuple[int, int]) -> Tensor:
        """The picture b c H W of z + P(W up(x))."""
        return inverse_haar(z + context.predicted.to(z))[..., : size[0], : size[1]]


def _even(y: Tensor) -> Tensor:
    rows, columns = (side % 2 for side in y.shape[-2:])
    return F.pad(y, (0, columns, 0, rows), mode="replicate") if rows or columns else y
