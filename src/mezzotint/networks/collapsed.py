"""A 3x3 convolution that trains with more weights than it runs with."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class CollapsedConv(nn.Module):
    """A 3x3 convolution, zero padding, whose kernel is the product of three (1x1, 3x3, 1x1) plus a 1x1 shortcut.

    Maps b i h w to b o h w. The branches are those of SPAN's training form (Wan et al. 2024, arXiv 2311.12770) with
    gain 2; as SPAN pads with zeros before the first 1x1, the product of the kernels is exact up to the border. The
    kernel is formed anew at each training step and the picture is convolved once, so training costs what the plain
    network costs.
    `fuse` replaces the branches by the one kernel.
    """

    def __init__(self, i: int, o: int, *, gain: int = 2) -> None:
        super().__init__()
        self.i, self.o = i, o
        self.shortcut = nn.Conv2d(i, o, 1)
        self.enter = nn.Conv2d(i, i * gain, 1)
        self.middle = nn.Conv2d(i * gain, o * gain, 3)
        self.leave = nn.Conv2d(o * gain, o, 1)

    def kernel(self) -> tuple[Tensor, Tensor]:
        """Return the one weight (o, i, 3, 3) and bias (o,) that the branches amount to."""
        enter, middle, leave = self.enter.weight[:, :, 0, 0], self.middle.weight, self.leave.weight[:, :, 0, 0]
        assert self.enter.bias is not None and self.middle.bias is not None and self.leave.bias is not None
        assert self.shortcut.bias is not None
        left = (leave @ middle.flatten(1)).view(self.o, enter.shape[0], 9)
        weight = torch.matmul(enter.t(), left).view(self.o, self.i, 3, 3)
        weight = weight + F.pad(self.shortcut.weight, (1, 1, 1, 1))
        bias = leave @ (middle.sum(dim=(2, 3)) @ self.enter.bias + self.middle.bias)
        return weight, bias + self.leave.bias + self.shortcut.bias

    def forward(self, h: Tensor) -> Tensor:
        with torch.autocast(h.device.type, enabled=False):
            weight, bias = self.kernel()
        return F.conv2d(h, weight, bias, padding=1)

    def fuse(self) -> nn.Conv2d:
        """Return the plain 3x3 convolution that computes the same."""
        weight, bias = self.kernel()
        plain = nn.Conv2d(self.i, self.o, 3, padding=1, device=weight.device, dtype=weight.dtype)
        with torch.no_grad():
            plain.weight.copy_(weight)
            assert plain.bias is not None
            plain.bias.copy_(bias)
        return plain


def fuse(module: nn.Module) -> nn.Module:
    """Replace every CollapsedConv inside `module` by its plain convolution, in place, and return the module."""
    for name, child in module.named_children():
        if isinstance(child, CollapsedConv):
            setattr(module, name, child.fuse())
        else:
            fuse(child)
    return module


def conv3x3(i: int, o: int, *, collapsed: bool) -> nn.Module:
    """Return a 3x3 convolution with zero padding, in training form (`collapsed`) or plain."""
    return CollapsedConv(i, o) if collapsed else nn.Conv2d(i, o, 3, padding=1)
