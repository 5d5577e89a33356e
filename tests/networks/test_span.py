from __future__ import annotations

import pytest
import torch

from mezzotint.errors import UsageError
from mezzotint.networks.collapsed import CollapsedConv, fuse
from mezzotint.networks.span import BicubicUp, Span
from mezzotint.operators.resize import imresize


def test_the_published_network_has_150688_parameters() -> None:
    # SPAN with 28 channels, 6 blocks, scale 4 (NTIRE 2026 baseline): 150,688 fused parameters.
    assert sum(p.numel() for p in Span(channels=28, blocks=6, collapsed=False).parameters()) == 150_688


def test_it_costs_983_gigamacs_on_256x256() -> None:
    # 9.83 GMAC at 256 x 256 small pixels: every weight is used once a pixel, biases are not multiplied.
    weights = sum(p.numel() for n, p in Span(channels=28, collapsed=False).named_parameters() if n.endswith("weight"))
    assert weights * 256 * 256 / 1e9 == pytest.approx(9.83, abs=0.01)


def test_collapsed_equals_its_three_convolutions_border_included() -> None:
    torch.manual_seed(0)
    conv = CollapsedConv(3, 5).double()
    h = torch.randn(2, 3, 6, 7, dtype=torch.float64)
    padded = torch.nn.functional.pad(h, (1, 1, 1, 1))
    chained = conv.leave(conv.middle(conv.enter(padded))) + conv.shortcut(h)
    assert torch.allclose(chained, conv(h), atol=1e-12)


def test_fused_equals_collapsed() -> None:
    torch.manual_seed(1)
    network = Span(channels=8, blocks=2).double()
    x = torch.rand(1, 3, 9, 11, dtype=torch.float64) * 2 - 1
    before = network(x)[0]
    after = fuse(network)(x)[0]
    assert not any(isinstance(m, CollapsedConv) for m in network.modules())
    assert torch.allclose(before, after, atol=1e-12)


@pytest.mark.parametrize("scale", [2, 3, 4])
@pytest.mark.parametrize("size", [(1, 1), (1, 5), (2, 3), (7, 12)])
def test_bicubic_skip_is_imresize(scale: int, size: tuple[int, int]) -> None:
    x = torch.rand(2, 3, *size, dtype=torch.float64)
    assert torch.allclose(BicubicUp(scale).double()(x), imresize(x, scale=scale), atol=1e-6)


def test_nothing_beyond_the_reach_changes_a_pixel() -> None:
    torch.manual_seed(2)
    network = Span(channels=8, blocks=2, collapsed=False).double()
    reach = network.reach
    x = torch.rand(1, 3, 1, 2 * reach + 9, dtype=torch.float64)
    other = x.clone()
    other[..., reach + 1 :] = torch.rand_like(other[..., reach + 1 :])
    first = slice(0, 4)
    assert torch.equal(network(x)[0][..., first], network(other)[0][..., first])
    other[..., 1] += 0.5
    assert not torch.equal(network(x)[0][..., first], network(other)[0][..., first])


def test_too_few_blocks_are_refused() -> None:
    with pytest.raises(UsageError, match="at least 2 blocks"):
        Span(blocks=1)


def test_a_wider_network_starts_as_the_narrower_one_and_its_further_channels_can_learn() -> None:
    torch.manual_seed(3)
    narrow, wide = (Span(channels=n, blocks=3, scale=2, collapsed=False).double() for n in (6, 10))
    wide.grow_from(narrow)
    x = torch.rand(1, 3, 9, 11, dtype=torch.float64) * 2 - 1
    (before, seen), (after, features) = narrow(x), wide(x)
    assert torch.allclose(before, after, atol=1e-12) and torch.allclose(seen, features[:, :6], atol=1e-12)
    assert float(features[:, 6:].detach().abs().max()) > 0
    after.square().mean().backward()
    assert wide.phases.weight.grad is not None
    assert float(wide.phases.weight.grad[:, 6:].abs().max()) > 0


@pytest.mark.parametrize(
    "other",
    [
        Span(channels=8, blocks=2, scale=2, collapsed=False),
        Span(channels=8, blocks=3, scale=3, collapsed=False),
        Span(channels=8, blocks=3, scale=2, collapsed=True),
        Span(channels=12, blocks=3, scale=2, collapsed=False),
    ],
    ids=["blocks", "scale", "training form", "wider"],
)
def test_no_network_grows_from_one_of_another_kind(other: Span) -> None:
    with pytest.raises(UsageError, match=f"SPAN of 10 channels cannot grow from one of {other.channels}"):
        Span(channels=10, blocks=3, scale=2, collapsed=False).grow_from(other)
