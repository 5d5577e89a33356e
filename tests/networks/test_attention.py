"""The attentions of the networks against sums over all pairs of positions."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from mezzotint.networks.convnext_unet import ChannelNorm, LinearAttention
from mezzotint.networks.residual_unet import Attention, TimedBlock
from mezzotint.networks.swin_unet import WindowAttention


def randomised(module: torch.nn.Module) -> torch.nn.Module:
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in module.double().parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator, dtype=torch.float64) * 0.4)
    return module


def field(*shape: int) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("heads", [1, 2])
def test_attention_equals_the_written_out_softmax(heads):
    layer, h = randomised(Attention(8, heads=heads, groups=2)), field(2, 8, 3, 5)
    joined = layer.query_key_value(layer.normalise(h)).reshape(2, heads, 3, 8 // heads, 15)
    out = torch.empty(2, heads, 8 // heads, 15, dtype=torch.float64)
    for b in range(2):
        for head in range(heads):
            query, key, value = joined[b, head]
            weights = (query.T @ key / math.sqrt(8 / heads)).softmax(dim=-1)
            out[b, head] = value @ weights.T
    wanted = h + layer.project(out.reshape(2, 8, 3, 5))
    torch.testing.assert_close(layer(h), wanted, atol=1e-12, rtol=0)


def is_seen(p: int, q: int, *, side: int, window: int, shift: int) -> bool:
    """Whether two places of one axis share a window whose borders lie at shift + k window; none wraps around."""
    assert 0 <= p < side and 0 <= q < side
    return (p - shift) // window == (q - shift) // window


@pytest.mark.parametrize("shift", [0, 2])
@pytest.mark.parametrize(("rows", "columns"), [(8, 12), (4, 8), (4, 4)])
def test_windows_equal_the_sum_over_pairs_that_share_one(shift, rows, columns):
    heads, w = 2, 4
    layer, h = randomised(WindowAttention(8, heads=heads, window=w, shift=shift)), field(1, 8, rows, columns)
    got = layer(h)
    joined = layer.query_key_value(h[0].permute(1, 2, 0)).reshape(rows, columns, 3, heads, 4)
    for i, j in ((0, 0), (1, columns - 1), (rows - 1, columns // 2), (rows // 2, 2)):
        out = torch.zeros(heads, 4, dtype=torch.float64)
        for head in range(heads):
            logits, values = [], []
            for k in range(rows):
                for m in range(columns):
                    down = is_seen(i, k, side=rows, window=w, shift=shift)
                    if down and is_seen(j, m, side=columns, window=w, shift=shift):
                        place = (i - k + w - 1) * (2 * w - 1) + j - m + w - 1
                        product = joined[i, j, 0, head] @ joined[k, m, 1, head] / 2.0
                        logits.append(product + layer.offsets[place, head])
                        values.append(joined[k, m, 2, head])
            out[head] = torch.stack(logits).softmax(0) @ torch.stack(values)
        torch.testing.assert_close(got[0, :, i, j], layer.project(out.flatten()), atol=1e-12, rtol=0)


def test_the_released_mask_lets_opposite_borders_see_each_other():
    """What ResShift's released weights were trained with (`SwinUNet`): only the lowest windows are masked at all."""
    h = field(1, 8, 8, 12).requires_grad_()
    influence = {}
    for mask in ("paper", "released"):
        layer = randomised(WindowAttention(8, heads=2, window=4, shift=2, mask=mask))
        (gradient,) = torch.autograd.grad(layer(h)[0, :, 2, 11].sum(), h)
        influence[mask] = {(int(i), int(j)) for i, j in gradient[0].abs().sum(0).nonzero()}
        # The lowest windows hold rows 6, 7, 0 and 1.
        (gradient,) = torch.autograd.grad(layer(h)[0, :, 7, 3].sum(), h)
        influence[mask + " below"] = {(int(i), int(j)) for i, j in gradient[0].abs().sum(0).nonzero()}
    rows = range(2, 6)
    assert influence["paper"] == {(i, j) for i in rows for j in (10, 11)}
    assert influence["released"] == {(i, j) for i in rows for j in (10, 11, 0, 1)}
    assert influence["paper below"] == {(i, j) for i in (6, 7) for j in (2, 3, 4, 5)}
    assert influence["released below"] == {(i, j) for i in (6, 7, 0, 1) for j in (2, 3)}


def test_linear_attention_equals_its_matrix_of_pairs():
    layer, h = randomised(LinearAttention(6, heads=2, head=3)), field(2, 6, 3, 4)
    joined = layer.query_key_value(layer.normalise(h)).reshape(2, 3, 2, 3, 12)
    query, key, value = joined.unbind(1)
    pairs = torch.zeros(2, 2, 12, 12, dtype=torch.float64)
    for d in range(3):
        pairs += query[:, :, d, :, None] * key[:, :, d].softmax(-1)[:, :, None, :] / math.sqrt(3)
    wanted = h + layer.project(torch.einsum("bhnm,bhem->bhen", pairs, value).reshape(2, 6, 3, 4))
    torch.testing.assert_close(layer(h), wanted, atol=1e-12, rtol=0)


def test_channels_are_normalised_as_a_layer_norm_of_every_position():
    layer, h = randomised(ChannelNorm(6)), field(2, 6, 3, 4)
    wanted = F.layer_norm(h.permute(0, 2, 3, 1), (6,), layer.weight, layer.bias).permute(0, 3, 1, 2)
    torch.testing.assert_close(layer(h), wanted, atol=1e-12, rtol=0)


@pytest.mark.parametrize(("resample", "size"), [("none", (4, 6)), ("down", (2, 3)), ("up", (8, 12))])
def test_blocks_change_the_sides_on_both_paths(resample, size):
    """With a second convolution of zeros a block is its path: means of 2x2 pixels, or repeated pixels."""
    block, h = TimedBlock(4, 4, embedding=8, groups=2, scale_shift=True, resample=resample), field(1, 4, 4, 6).float()
    wanted = {"none": h, "down": F.avg_pool2d(h, 2), "up": h.repeat_interleave(2, 2).repeat_interleave(2, 3)}[resample]
    out = block(h, torch.randn(1, 8))
    assert out.shape[-2:] == size and torch.equal(out, wanted)


def test_a_time_scales_and_shifts_what_the_second_normalisation_gives():
    block, h = randomised(TimedBlock(4, 6, embedding=8, groups=2, scale_shift=True)), field(1, 4, 3, 3)
    embedding = field(1, 8)
    scale, shift = (F.silu(embedding) @ block.time[1].weight.T + block.time[1].bias)[0].reshape(2, 6, 1, 1)
    inner = block.normalise(block.first(F.silu(block.enter[0](h))))
    wanted = block.residual(h) + block.leave[2](F.silu(inner * (1 + scale) + shift))
    torch.testing.assert_close(block(h, embedding), wanted, atol=1e-12, rtol=0)
