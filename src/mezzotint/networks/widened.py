"""A convolution that begins as a narrower one."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn


@torch.no_grad()
def widen(wide: nn.Conv2d, narrow: nn.Conv2d, *, inputs: Sequence[tuple[int, int]]) -> None:
    """Make the first channels that `wide` puts out those of `narrow`, whatever its further inputs are.

    `inputs` are the channels (narrow, wide) of each part of a concatenated input, in order. What `wide` puts out
    besides keeps the weights it was made with: it starts to matter where later weights take it up, which are zero but
    have a gradient (Chen et al. 2016, arXiv 1511.05641, widen by copies of channels instead).
    """
    o = narrow.out_channels
    wide.weight[:o] = 0
    here = there = 0
    for small, large in inputs:
        wide.weight[:o, there : there + small] = narrow.weight[:, here : here + small]
        here, there = here + small, there + large
    assert wide.bias is not None and narrow.bias is not None
    wide.bias[:o] = narrow.bias
