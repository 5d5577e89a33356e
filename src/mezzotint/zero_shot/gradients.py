"""Products with the Jacobian J of a denoiser, for the solvers that look through the network."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from mezzotint.errors import UsageError
from mezzotint.samplers.loop import Denoiser
from mezzotint.samplers.step import Estimate


@dataclass(frozen=True, eq=False)
class Differentiated(Estimate):
    """An estimate with the gradient, in the state, of something of it: shaped like the state."""

    gradient: Tensor | None = None


def through(
    denoise: Denoiser, z: Tensor, t: float, function: Callable[[Tensor], Tensor]
) -> tuple[Estimate, Tensor]:
    """The estimate at z, and the gradient in z of the sum of `function(y_hat)`, (b,) or a scalar, through the network.

    Items must not mix. UsageError for a prior that cannot be differentiated.
    """
    outer = torch.is_grad_enabled() and z.requires_grad
    with torch.enable_grad():
        point = z if outer else z.detach().requires_grad_()
        found = denoise(point, t)
        if not found.y.requires_grad:
            raise UsageError(
                "this prior gives no gradients, which the solver needs: use ddnm, ddrm or diffpir, or a prior that "
                "runs in PyTorch"
            )
        value = function(found.y)
        (gradient,) = torch.autograd.grad(value.sum(), point, create_graph=outer)
    if outer:
        return found, gradient
    free = replace(found, y=found.y.detach())
    if isinstance(found.c2, Tensor):
        free = replace(free, c2=found.c2.detach())
    return free, gradient
