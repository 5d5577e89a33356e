"""The small picture as condition in the form of the state: its bands beside the bands that are diffused."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Lifted:
    """Show the network the domain's lift of the small picture as more channels (DiWa, arXiv 2304.01994).

    The lift comes first, then the state.
    """

    @property
    def lifted(self) -> bool:
        return True

    def channels(self, channels: int) -> int:
        """Channels that the network sees, for states of `channels` channels."""
        return 2 * channels

    def prepare(self, x: Tensor, *, size: tuple[int, int]) -> Tensor:
        """The lift b c H W -> the same."""
        return x

    def join(self, z: Tensor, condition: Tensor) -> Tensor:
        """The network's input from the state b c H W and the lift: b 2c H W in the state's type."""
        return torch.cat((condition.to(z), z), dim=1)
