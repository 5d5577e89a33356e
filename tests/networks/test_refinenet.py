"""The parts of NCSNv2 against what they are said to be."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from mezzotint.networks.refinenet import DilatedBlock, InstanceNorm, Refine


def field(*shape: int, seed: int = 1) -> torch.Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def test_instance_norm_keeps_how_means_differ_between_channels():
    norm, h = InstanceNorm(5).double(), 2.0 + 3.0 * field(2, 5, 4, 6)
    out = (norm(h) - norm.bias[:, None, None]) / norm.weight[:, None, None]
    means = h.mean(dim=(2, 3))
    wanted = norm.means * (means - means.mean(1, keepdim=True)) / (means.var(1, keepdim=True) + 1e-5).sqrt()
    torch.testing.assert_close(out.mean(dim=(2, 3)), wanted, atol=1e-12, rtol=0)
    flat = F.instance_norm(h)
    torch.testing.assert_close(out - wanted[..., None, None], flat, atol=1e-12, rtol=0)
    # One position has no variance, so only the means are left.
    assert torch.isfinite(norm(h[..., :1, :1])).all()


def test_blocks_of_dilation_one_halve_where_they_open_a_depth():
    for dilation, enters, size in ((1, True, (2, 3)), (1, False, (4, 6)), (2, True, (4, 6)), (2, False, (4, 6))):
        block = DilatedBlock(4, 8, dilation=dilation, enters=enters).double()
        assert block(field(1, 4, 4, 6)).shape == (1, 8, *size)
    # The path of a halving block, its layers being silent, is the mean of 2x2 pixels.
    block = DilatedBlock(4, 4, dilation=1, enters=True).double()
    with torch.no_grad():
        block.layers[-1].weight.zero_()
        block.layers[-1].bias.zero_()
    h = field(1, 4, 4, 6)
    torch.testing.assert_close(block(h), block.residual(F.avg_pool2d(h, 2)), atol=1e-12, rtol=0)


def test_dilated_convolutions_reach_as_far_as_they_say():
    block = DilatedBlock(2, 2, dilation=4, enters=False).double()
    for parameter in block.parameters():
        torch.nn.init.ones_(parameter)
    h = field(1, 2, 1, 31).requires_grad_()
    # Normalisation ties all positions together, so only the convolutions are looked at.
    (gradient,) = torch.autograd.grad(block.layers[5](block.layers[2](h))[0, 0, 0, 15], h)
    assert gradient[0, 0, 0].nonzero().flatten().tolist() == [7, 11, 15, 19, 23]


def test_maps_are_joined_from_corner_to_corner():
    """Ramps of two sizes, joined by centre taps alone, are one ramp twice: corners lie on corners."""
    refine = Refine([1, 1], 1, ends=False).double()
    with torch.no_grad():
        for parameter in refine.parameters():
            parameter.zero_()
        for convolution in refine.join:
            convolution.weight[0, 0, 1, 1] = 1.0
    large, small = (torch.linspace(1.0, 2.0, n, dtype=torch.float64).expand(1, 1, 2, n) for n in (9, 4))
    torch.testing.assert_close(refine([large, small]), 2.0 * large)
