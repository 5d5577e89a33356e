"""The U-Net of ResShift: ADM's blocks, with windows of attention (Swin) in the place of full attention."""

from __future__ import annotations

from functools import partial
from typing import Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mezzotint.errors import UsageError
from mezzotint.networks.embedding import TimeEmbedding
from mezzotint.networks.residual_unet import Doubled, Parts, ResidualUNet, TimedBlock

Mask = Literal["paper", "released"]


class SwinUNet(ResidualUNet):
    """Predict from a noisy picture b in_channels H W and its time b, the number of a node, b out_channels H W.

    Yue et al., "ResShift", arXiv 2307.12348, released code. `multipliers` give the width of each depth in units of
    `channels`. After the first block of every depth, down and up, and in the bottleneck stand `layers` layers of
    attention in windows of `window` x `window` positions (`WindowLayers`), with `embed` channels in heads of `head`.
    `size` is the side of the states of training: where it has become one window, every second layer does not shift,
    as anywhere else. With six channels in and three out it has 118,593,583 parameters.

    Differs from the authors' code in the sizes that it takes: sides are extended to multiples of `window` at the
    deepest depth, mirrored (they do so to 64 at test time); and in that theirs counts nodes from 0, ours from 1. Theirs
    sees a latent code of 64 x 64 beside the small picture. Their mask of shifted windows looks at rows only, and has
    rows and columns of a window exchanged: opposite borders of the picture see each other, and in the lowest windows
    the left half does not see the right one. `mask` "released" does so too, as their weights need it; "paper" is
    Swin's.
    UsageError for channels that the groups, the heads or the embedding do not divide, and a size below a window.
    """

    def __init__(
        self,
        *,
        in_channels: int = 6,
        out_channels: int = 3,
        channels: int = 160,
        multipliers: tuple[int, ...] = (1, 2, 2, 4),
        blocks: int = 2,
        size: int = 64,
        window: int = 8,
        layers: int = 2,
        embed: int = 192,
        head: int = 32,
        ratio: int = 4,
        mask: Mask = "paper",
        groups: int = 32,
        dropout: float = 0.0,
    ) -> None:
        stride = 2 ** (len(multipliers) - 1)
        if mask not in get_args(Mask):
            raise UsageError(f"mask {mask!r} is unknown: use one of {', '.join(get_args(Mask))}")
        if window < 2 or window % 2 or size < window * stride:
            raise UsageError(
                f"states of {size} pixels leave {size // stride} at the deepest depth for windows of {window}: "
                f"use an even window and a size of {window * stride} or more"
            )
        block = partial(TimedBlock, embedding=4 * channels, groups=groups, dropout=dropout, scale_shift=True)

        def mixer(width: int, depth: int, index: int | None) -> nn.Module | None:
            if index not in (0, None):
                return None
            return WindowLayers(
                width, embed=embed, head=head, window=window, layers=layers, ratio=ratio, groups=groups,
                dropout=dropout, shifts=size // 2**depth > window, mask=mask,
            )  # fmt: skip

        super().__init__(
            in_channels=in_channels,
            out_channels=out_channels,
            widths=tuple(channels * multiplier for multiplier in multipliers),
            blocks=blocks,
            parts=Parts(
                embedding=TimeEmbedding(
                    channels, out=4 * channels, activation=nn.SiLU(), closed=False, cosines_first=True
                ),
                block=block,
                mixer=mixer,
                down=lambda width: nn.Conv2d(width, width, 3, stride=2, padding=1),
                up=Doubled,
            ),
            groups=groups,
            zero_last=False,
            multiple=window * stride,
        )


class WindowLayers(nn.Sequential):
    """A 1x1 convolution to `embed` channels, `layers` times (attention in windows, two 1x1 convolutions), and back.

    b width H W to the same, sides multiples of `window`. Each half of a layer is added to its input, the whole is not.
    With `shifts` every second layer's windows lie half a window further.
    """

    def __init__(
        self, width: int, *, embed: int, head: int, window: int, layers: int, ratio: int, groups: int, dropout: float,
        shifts: bool, mask: Mask,
    ) -> None:  # fmt: skip
        if embed % groups or embed % head:
            raise UsageError(f"embed {embed} must be a multiple of {groups} groups and of heads of {head} channels")
        parts: list[nn.Module] = [nn.Conv2d(width, embed, 1)]
        for index in range(layers):
            shift = window // 2 if shifts and index % 2 else 0
            attention = WindowAttention(
                embed, heads=embed // head, window=window, shift=shift, mask=mask, dropout=dropout
            )
            mlp = nn.Sequential(
                nn.Conv2d(embed, ratio * embed, 1), nn.GELU(), nn.Dropout(dropout),
                nn.Conv2d(ratio * embed, embed, 1), nn.Dropout(dropout),
            )  # fmt: skip
            parts += [Added(nn.GroupNorm(groups, embed), attention), Added(nn.GroupNorm(groups, embed), mlp)]
        super().__init__(*parts, nn.Conv2d(embed, width, 1))


class Added(nn.Sequential):
    """Modules one after the other, the result added to the input."""

    def forward(self, h: Tensor) -> Tensor:
        return h + super().forward(h)


class WindowAttention(nn.Module):
    """Attention inside windows, with a learned number for every offset and head: b width H W to the same.

    Liu et al., "Swin Transformer", arXiv 2103.14030, equation 4 and figure 4. With `shift` the windows lie `shift`
    positions further down and right, around the border, and positions that are no neighbours in the picture do not
    see each other (`mask` "paper"; for "released" see `SwinUNet`). Sides are multiples of `window`.
    """

    def __init__(
        self, width: int, *, heads: int, window: int, shift: int = 0, mask: Mask = "paper", dropout: float = 0.0
    ) -> None:
        super().__init__()
        self.heads, self.window, self.shift, self.mask = heads, window, shift, mask
        self.offsets = nn.Parameter(torch.empty((2 * window - 1) ** 2, heads))
        nn.init.trunc_normal_(self.offsets, std=0.02)
        self.query_key_value = nn.Linear(width, 3 * width)
        self.project = nn.Linear(width, width)
        self.dropout = nn.Dropout(dropout)

    def forward(self, h: Tensor) -> Tensor:
        b, width, rows, columns = h.shape
        w, down, across = self.window, rows // self.window, columns // self.window
        moved = h.roll((-self.shift, -self.shift), (2, 3)) if self.shift else h
        cells = moved.reshape(b, width, down, w, across, w).permute(0, 2, 4, 3, 5, 1)
        joined = self.query_key_value(cells.reshape(b, down, across, w * w, width))
        joined = joined.reshape(b, down, across, w * w, 3, self.heads, width // self.heads).permute(4, 0, 1, 2, 5, 3, 6)
        seen = self._look(joined) if not self.shift else self._look_apart(joined)
        out = self.dropout(self.project(seen.transpose(3, 4).reshape(b, down, across, w, w, width)))
        out = out.permute(0, 5, 1, 3, 2, 4).reshape(h.shape)
        return out.roll((self.shift, self.shift), (2, 3)) if self.shift else out

    def _look_apart(self, joined: Tensor) -> Tensor:
        """`_look`, windows that hold both ends of the picture, the last of each axis, masked as their parts lie."""
        head, last = slice(None, -1), slice(-1, None)
        return torch.cat(
            [
                torch.cat(
                    [self._look(joined[:, :, rows, columns], ends=(rows is last, columns is last))
                     for columns in (head, last)], dim=2,
                )
                for rows in (head, last)
            ],
            dim=1,
        )  # fmt: skip

    def _look(self, joined: Tensor, *, ends: tuple[bool, bool] = (False, False)) -> Tensor:
        """Attention of windows: query, key and value 3 b down across heads n d to b down across heads n d.

        `ends`: whether the windows are the last ones down and across.
        """
        query, key, value = joined.flatten(1, 3)
        added = self._added(ends, like=query)[None]
        # Four axes, because that form of the function needs no memory for the products.
        return F.scaled_dot_product_attention(query, key, value, attn_mask=added).reshape(joined.shape[1:])

    def _added(self, ends: tuple[bool, bool], *, like: Tensor) -> Tensor:
        """What is added to the products of query and key, heads n n: -inf for a pair that does not see each other."""
        w = self.window
        place = torch.arange(w, device=like.device)
        down, across = (axis.flatten() for axis in torch.meshgrid(place, place, indexing="ij"))
        apart = (down[:, None] - down + w - 1) * (2 * w - 1) + across[:, None] - across + w - 1
        added = self.offsets[apart].permute(2, 0, 1).to(like.dtype)
        if self.mask == "released":
            down, across, ends = across, down, (ends[0], False)
        for axis, end in zip((down, across), ends, strict=True):
            if end:
                far = axis >= w - self.shift
                added = added.masked_fill(far[:, None] != far, float("-inf"))
        return added
