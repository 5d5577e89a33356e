"""The small picture as condition: enlarged and put beside the state."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from mezzotint.operators.resize import imresize


@dataclass(frozen=True)
class LowResolution:
    """Show the network the small picture, enlarged by MATLAB's bicubic to the state's size, as more channels.

    Saharia et al. 2021 (arXiv 2104.07636, section 2.4). The enlarged picture comes first, then the state. Differs
    from the released code of the PyTorch reimplementation in that the enlarged picture is neither rounded to 8
    bits nor clipped: bicubic interpolation overshoots [-1, 1] a little at edges, in training and sampling alike.
    """

    @property
    def lifted(self) -> bool:
        return False

    def channels(self, channels: int) -> int:
        """Channels that the network sees, for pictures and states of `channels` channels."""
        return 2 * channels

    def prepare(self, x: Tensor, *, size: tuple[int, int]) -> Tensor:
        """Compute once a picture what every step needs: x b c h w -> b c H W."""
        return imresize(x, size=size)

    def join(self, z: Tensor, condition: Tensor) -> Tensor:
        """The network's input from the state b c H W and the condition: b 2c H W in the state's type."""
        return torch.cat((condition.to(z), z), dim=1)
