"""What every linear degradation offers to the code that inverts it."""

from __future__ import annotations

from typing import Protocol

from torch import Tensor


class LinearOperator(Protocol):
    """A linear map x = A y of pictures, of any range, with its adjoint and its pseudo-inverse.

    `A` takes b c H W and gives b c h w; `At` and `pinv` go the other way and are never interchangeable.
    Channels and batch are independent. `shape_in` is (H, W), `shape_out` (h, w), `norm` the largest
    singular value.
    """

    @property
    def shape_in(self) -> tuple[int, int]: ...

    @property
    def shape_out(self) -> tuple[int, int]: ...

    @property
    def norm(self) -> float: ...

    def A(self, y: Tensor, /) -> Tensor: ...

    def At(self, x: Tensor, /) -> Tensor: ...

    def pinv(self, x: Tensor, /) -> Tensor: ...

    def project_null(self, y: Tensor, /) -> Tensor: ...
