"""A stage of training: what is trained, and on which loss."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from torch import Tensor, nn


@dataclass(frozen=True)
class Stage:
    """One stage of a method's training.

    `groups` maps a name to the module that one optimiser trains (several where they compete, as in a GAN);
    `losses` maps the same names to callables `loss(y, x, *, noise) -> scalar` for y (b, c, H, W) and x (b, c, h, w)
    in [-1, 1]. A loss may take the keywords `norm` ("l1" or "l2"),
    `perceptual`, `adversarial`, `spread` and `perceptual_spread` (weights) that a run file sets. What is in no group is
    frozen.
    `prepare` measures what training needs (band deviations, say) on a few batches (y, x) before the first step, and
    `finish` what is to be known of the trained method after the last;
    `preview` maps x to y_hat for sample sheets and checks.
    """

    name: str
    groups: Mapping[str, nn.Module]
    losses: Mapping[str, Callable[..., Tensor]]
    prepare: Callable[[Iterable[tuple[Tensor, Tensor]]], None] | None = None
    preview: Callable[[Tensor], Tensor] | None = None
    finish: Callable[[Iterable[tuple[Tensor, Tensor]]], None] | None = None
