"""Operators made of operators: one after the other, and several of one scene."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from mezzotint.errors import UsageError
from mezzotint.operators.diagonal import Grey, Identity
from mezzotint.operators.linear import SVD, LinearOperator, Size
from mezzotint.operators.separable import ComposedAxis, Separable


@dataclass(frozen=True)
class Chain(LinearOperator):
    """x = A_2 A_1 y: `second` after `first`; the function `chain` joins any number and simplifies what it can.

    The product of pseudo-inverses A_1^+ A_2^+ is the pseudo-inverse where A_1 A_1^T = c I (means of cells, grey); so is
    then the singular value decomposition, if A_2 has one. Elsewhere, as with a mask before a reduction, it is not, and
    A^+ is iterated to rounding (`operators.iterative`); differs there from DDNM's recipes, which take the product and
    lose consistency. `norm` is the product of the norms, a bound where the first is not tight. UsageError for sizes
    that do not meet.
    """

    first: LinearOperator
    second: LinearOperator

    def __post_init__(self) -> None:
        if self.first.shape_out != self.second.shape_in:
            given, taken = (f"{h}x{w}" for h, w in (self.first.shape_out, self.second.shape_in))
            raise UsageError(
                f"an operator on {taken} pixels cannot follow one that gives {given}: bind the second to {given}"
            )

    @property
    def mixes_channels(self) -> bool:  # pyright: ignore[reportIncompatibleVariableOverride]
        return self.first.mixes_channels or self.second.mixes_channels

    @property
    def shape_in(self) -> Size:
        return self.first.shape_in

    @property
    def shape_out(self) -> Size:
        return self.second.shape_out

    @property
    def norm(self) -> float:
        return self.first.norm * self.second.norm

    @property
    def tight(self) -> bool:
        return self.first.tight and self.second.tight

    @property
    def has_svd(self) -> bool:
        return self.first.tight and self.second.has_svd

    def channels_out(self, channels: int) -> int:
        return self.second.channels_out(self.first.channels_out(channels))

    def channels_in(self, channels: int) -> int:
        return self.first.channels_in(self.second.channels_in(channels))

    def svd(self) -> SVD:
        if not self.has_svd:
            return super().svd()
        # A_1 = c Q with Q Q^T = I: the singular vectors of A_2 Q are those of A_2, taken back by Q^T.
        c, outer = self.first.norm, self.second.svd()
        return SVD(
            sv=c * outer.sv,
            Vt=lambda y: outer.Vt(self.first.A(y) / c),
            V=lambda v: self.first.At(outer.V(v)) / c,
            Ut=outer.Ut,
            U=outer.U,
        )

    def _forward(self, y: Tensor) -> Tensor:
        return self.second.A(self.first.A(y))

    def _adjoint(self, x: Tensor) -> Tensor:
        return self.first.At(self.second.At(x))

    def _pinv(self, x: Tensor) -> Tensor:
        return self.first.pinv(self.second.pinv(x)) if self.first.tight else super()._pinv(x)

    def _solve(self, x: Tensor, rho: float) -> Tensor:
        if self.first.tight:
            square = self.first.norm**2
            return self.second.solve(x, rho=rho / square) / square
        return super()._solve(x, rho)


def chain(*operators: LinearOperator) -> LinearOperator:
    """The operators one after the other, the first one first, as simply as they can be written.

    Two separable operators become one, identities fall away, and grey moves to the front, where it is tight (it works
    on channels and commutes with what treats them alike). UsageError for none, and for sizes that do not meet.
    """
    if not operators:
        raise UsageError("a chain needs at least one operator")
    whole = operators[0]
    for operator in operators[1:]:
        whole = _join(whole, operator)
    return whole


def _join(first: LinearOperator, second: LinearOperator) -> LinearOperator:
    plain = Chain(first, second)
    if isinstance(second, Identity):
        return first
    if isinstance(first, Identity):
        return second
    if isinstance(first, Separable) and isinstance(second, Separable):
        return Separable(ComposedAxis(first.rows, second.rows), ComposedAxis(first.columns, second.columns))
    if isinstance(second, Grey) and not first.mixes_channels:
        height, width = first.shape_in
        return Chain(replace(second, height=height, width=width), first)
    if isinstance(first, Chain) and isinstance(first.first, Grey):
        return Chain(first.first, _join(first.second, second))
    return plain


@dataclass(frozen=True)
class Stack(LinearOperator):
    """Several small pictures of one scene: x holds A_1 y, A_2 y, ... in its channels, b (k c) h w.

    All members take and give the same sizes; with shifts of less than a small pixel their aliases differ, and together
    they see more than one of them. A^T sums the adjoints; A^+ is iterated to rounding (`operators.iterative`) and is
    the picture that fits all members best. `norm` is the bound sqrt(sum of squares). UsageError for no members and for
    sizes that differ.
    """

    members: tuple[LinearOperator, ...]

    mixes_channels = True

    def __post_init__(self) -> None:
        object.__setattr__(self, "members", tuple(self.members))
        if not self.members:
            raise UsageError("a stack needs at least one operator")
        sizes = {(member.shape_in, member.shape_out) for member in self.members}
        if len(sizes) != 1:
            raise UsageError(f"the members of a stack take and give different sizes, {sorted(sizes)}: use one size")

    @property
    def shape_in(self) -> Size:
        return self.members[0].shape_in

    @property
    def shape_out(self) -> Size:
        return self.members[0].shape_out

    @property
    def norm(self) -> float:
        return math.hypot(*(member.norm for member in self.members))

    def channels_out(self, channels: int) -> int:
        return sum(member.channels_out(channels) for member in self.members)

    def channels_in(self, channels: int) -> int:
        count = len(self.members)
        if channels % count:
            raise UsageError(f"{channels} channels are not those of {count} small pictures: give a multiple of {count}")
        return self.members[0].channels_in(channels // count)

    def _forward(self, y: Tensor) -> Tensor:
        return torch.cat([member.A(y) for member in self.members], -3)

    def _adjoint(self, x: Tensor) -> Tensor:
        parts = x.chunk(len(self.members), -3)
        total = self.members[0].At(parts[0])
        for member, part in zip(self.members[1:], parts[1:], strict=True):
            total = total + member.At(part)
        return total
