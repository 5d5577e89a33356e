"""A matrix as an operator on rows of numbers, so that solvers meet problems with closed forms."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from mezzotint.operators.linear import SVD, LinearOperator, Size


@dataclass(frozen=True, eq=False)
class Dense(LinearOperator):
    """x = M y for pictures of one row, b c 1 D to b c 1 d; `matrix` (d, D), float64. Without `spectral` it hides its
    singular vectors.
    """

    matrix: Tensor
    spectral: bool = True

    @property
    def shape_in(self) -> Size:
        return 1, self.matrix.shape[1]

    @property
    def shape_out(self) -> Size:
        return 1, self.matrix.shape[0]

    @property
    def norm(self) -> float:
        return float(torch.linalg.matrix_norm(self.matrix, 2))

    @property
    def has_svd(self) -> bool:
        return self.spectral

    def svd(self) -> SVD:
        u, sv, vt = torch.linalg.svd(self.matrix, full_matrices=False)
        sv = torch.where(sv > 1e-12, sv, 0.0)
        vt = torch.where(sv[:, None] > 0, vt, 0.0)
        return SVD(
            sv[None, None],
            lambda y: y @ vt.to(y).T,
            lambda c: c @ vt.to(c),
            lambda x: x @ u.to(x),
            lambda c: c @ u.to(c).T,
        )

    def _forward(self, y: Tensor) -> Tensor:
        return y @ self.matrix.to(y).T

    def _adjoint(self, x: Tensor) -> Tensor:
        return x @ self.matrix.to(x)

    def _pinv(self, x: Tensor) -> Tensor:
        return x @ torch.linalg.pinv(self.matrix).to(x).T

    def _solve(self, x: Tensor, rho: float) -> Tensor:
        inner = self.matrix @ self.matrix.T + rho * torch.eye(len(self.matrix), dtype=self.matrix.dtype)
        return x @ torch.linalg.inv(inner).to(x).T
