"""A U-Net that works at the size of the small picture, on states of the large one."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mezzotint.errors import UsageError
from mezzotint.networks.unet import UNet


class Shuffled(nn.Module):
    """Predict something of the large picture's shape from its noisy state, the small picture and a noise level.

    Every cell of `scale` x `scale` pixels of the state becomes channels of one pixel (and back again), so that the
    convolutions run at the size of the small picture, which is put beside them as it is.
    """

    def __init__(
        self, *, scale: int, channels: int = 3, width: int = 48, multipliers: tuple[int, ...] = (1, 1, 1),
        blocks: int = 1, groups: int = 8,
    ) -> None:  # fmt: skip
        super().__init__()
        self.scale = scale
        inner = channels * scale**2
        self.network = UNet(
            in_channels=inner + channels, out_channels=inner, channels=width, multipliers=multipliers, blocks=blocks,
            groups=groups, attention=(), middle_attention=False,
        )  # fmt: skip

    def forward(self, z: Tensor, x: Tensor, level: Tensor) -> Tensor:
        """z b c H W, x b c h w with H = scale h, level b: b c H W. UsageError for other sizes."""
        if tuple(z.shape[-2:]) != (x.shape[-2] * self.scale, x.shape[-1] * self.scale):
            raise UsageError(
                f"a state of {z.shape[-1]}x{z.shape[-2]} beside a small picture of {x.shape[-1]}x{x.shape[-2]}: this "
                f"network was made for exactly {self.scale} times the size"
            )
        inner = torch.cat((F.pixel_unshuffle(z, self.scale), x.to(z)), dim=1)
        return F.pixel_shuffle(self.network(inner, level), self.scale)
