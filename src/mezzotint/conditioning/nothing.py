"""No condition: the network sees the state alone, which holds the small picture where the bridge leads to it."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class Nothing:
    """Show the network nothing but the state: InDI, Cold Diffusion, and I2SB as its authors train it."""

    @property
    def lifted(self) -> bool:
        return False

    def channels(self, channels: int) -> int:
        """Channels that the network sees, for states of `channels` channels."""
        return channels

    def prepare(self, x: Tensor, *, size: tuple[int, int]) -> Tensor:
        """x b c h w -> the same, unused."""
        return x

    def join(self, z: Tensor, condition: Tensor) -> Tensor:
        """The state b c H W as it is."""
        return z
