"""A condition that training leaves out at times, so that the same network also knows the states without it."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor, nn

from mezzotint.errors import UsageError
from mezzotint.guidance import draw_drops, drop_condition
from mezzotint.noise import NoiseSource


class Concatenated(Protocol):
    """A conditioning whose condition is put beside the state, as more channels."""

    @property
    def lifted(self) -> bool: ...

    def channels(self, channels: int) -> int: ...

    def prepare(self, x: Tensor, *, size: tuple[int, int]) -> Tensor: ...

    def join(self, z: Tensor, condition: Tensor) -> Tensor: ...


class Droppable(nn.Module):
    """Another conditioning with one more channel, which says whether there is a condition (Ho and Salimans 2022).

    The channel is 1 beside a condition; the null is zeros with 0 in it, since zeros alone are a grey picture. It comes
    first, so that the state stays last. `drop`: the probability, for each picture of a training step, that the whole
    condition is lost, whatever `inner` makes it of (pictures, features). Differs from the learned embedding of the
    authors in that nothing is learned: no picture can be taken for the null.
    UsageError for a probability outside 0 to 1 (both excluded), and for an `inner` that shows the network nothing.
    """

    def __init__(self, inner: Concatenated, *, drop: float) -> None:
        super().__init__()
        if isinstance(drop, bool) or not isinstance(drop, int | float) or not 0.0 < drop < 1.0:
            raise UsageError(f"drop {drop!r} is not a probability from 0 to below 1: use 0.1, or 0 to never drop x")
        if inner.channels(1) == 1:
            raise UsageError(f"drop {drop}: {type(inner).__name__} shows no condition that could be dropped: use 0")
        self.inner, self.drop = inner, float(drop)

    @property
    def lifted(self) -> bool:
        return self.inner.lifted

    def channels(self, channels: int) -> int:
        """Channels that the network sees, for states of `channels` channels."""
        return self.inner.channels(channels) + 1

    def prepare(self, x: Tensor, *, size: tuple[int, int]) -> Tensor:
        """The condition of `inner`, b c' H W, under a channel of ones: b 1 + c' H W."""
        condition = self.inner.prepare(x, size=size)
        return torch.cat((torch.ones_like(condition[:, :1]), condition), dim=1)

    def null(self, condition: Tensor) -> Tensor:
        """What stands for no condition, shaped like one."""
        return torch.zeros_like(condition)

    def dropped(self, condition: Tensor, *, noise: NoiseSource) -> Tensor:
        """The condition, with the null for the pictures that lose it in this training step: stream `drop`."""
        return drop_condition(draw_drops(noise, len(condition), probability=self.drop), condition, self.null(condition))

    def join(self, z: Tensor, condition: Tensor) -> Tensor:
        """The network's input from the state b c H W and the condition, in the state's type."""
        return torch.cat((condition[:, :1].to(z), self.inner.join(z, condition[:, 1:])), dim=1)


def droppable(conditioning: Concatenated, *, drop: float) -> Concatenated:
    """The conditioning as it is where `drop` is 0, the same network with it; else `Droppable`."""
    return conditioning if drop == 0 and not isinstance(drop, bool) else Droppable(conditioning, drop=drop)
