"""What a domain is: the way from pictures to what is diffused, and back."""

from __future__ import annotations

from typing import Any, Protocol

from torch import Tensor


class Domain(Protocol):
    """The space of the state. A domain sees the small picture once, in `context`, and keeps what it computed.

    Pictures are b c H W (large) and b c h w (small), in [-1, 1]; the state is b channels rows columns.
    """

    @property
    def cell(self) -> int:
        """Pixels of the large picture along a side of one state position; tiles and noise align to it."""
        ...

    def context(self, x: Tensor, *, size: tuple[int, int]) -> Any:
        """What the other functions need to know about the small picture and the size H W of the large one."""
        ...

    def shape(self, context: Any) -> tuple[int, int, int, int]:
        """The shape of the state."""
        ...

    def encode(self, y: Tensor, context: Any) -> Tensor:
        """The state of a large picture."""
        ...

    def lift(self, x: Tensor, context: Any) -> Tensor:
        """The small picture in the form of the state: the end of the bridges that lead to it."""
        ...

    def decode(self, z: Tensor, context: Any, *, size: tuple[int, int]) -> Tensor:
        """The large picture, H W, of a state."""
        ...
