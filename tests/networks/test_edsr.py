from __future__ import annotations

import pytest
import torch

from mezzotint.errors import UsageError
from mezzotint.networks.collapsed import CollapsedConv, fuse
from mezzotint.networks.edsr import Edsr
from mezzotint.operators.resize import imresize


def test_the_baseline_has_1518k_parameters_less_what_its_enlargement_takes() -> None:
    # EDSR-baseline x4 (Lim et al. 2017): 64 channels, 16 blocks; 1,517,571 parameters, 297,216 of them in two
    # convolutions that enlarge by 2 each (64 to 256) and one to colours (64 to 3). Ours goes to 48 phases at once.
    head, block, last = 3 * 64 * 9 + 64, 2 * (64 * 64 * 9 + 64), 64 * 64 * 9 + 64
    body = head + 16 * block + last
    assert 1_517_571 - body == 2 * (64 * 256 * 9 + 256) + 64 * 3 * 9 + 3
    network = Edsr(channels=64, blocks=16, scale=4)
    assert sum(p.numel() for p in network.parameters()) == body + 64 * 48 * 9 + 48


@pytest.mark.parametrize("collapsed", [True, False])
def test_blocks_begin_as_the_identity_and_learn(collapsed: bool) -> None:
    torch.manual_seed(0)
    network = Edsr(channels=8, blocks=3, scale=2, collapsed=collapsed).double()
    x = torch.rand(1, 3, 9, 11, dtype=torch.float64) * 2 - 1
    y, features = network(x)
    assert y.shape == (1, 3, 18, 22) and features.shape == (1, 8, 9, 11)
    assert torch.allclose(features, network.tail(network.head(x)) + network.head(x), atol=1e-12)
    y.square().mean().backward()
    changed = [m for m in network.blocks[0].second.modules() if isinstance(m, torch.nn.Conv2d)]
    assert any(m.weight.grad is not None and float(m.weight.grad.abs().max()) > 0 for m in changed)


def test_fused_equals_collapsed() -> None:
    torch.manual_seed(1)
    network = Edsr(channels=8, blocks=2, collapsed=True).double()
    for p in network.parameters():
        torch.nn.init.normal_(p, std=0.1)
    x = torch.rand(1, 3, 9, 11, dtype=torch.float64) * 2 - 1
    before = network(x)[0]
    after = fuse(network)(x)[0]
    assert not any(isinstance(m, CollapsedConv) for m in network.modules())
    assert torch.allclose(before, after, atol=1e-12)


def test_without_detail_it_is_the_bicubic_enlargement() -> None:
    network = Edsr(channels=4, blocks=1).double()
    torch.nn.init.zeros_(network.phases.weight)
    assert network.phases.bias is not None
    torch.nn.init.zeros_(network.phases.bias)
    x = torch.rand(2, 3, 7, 5, dtype=torch.float64)
    assert torch.allclose(network(x)[0], imresize(x, scale=4), atol=1e-6)


def test_nothing_beyond_the_reach_changes_a_pixel_and_what_lies_in_it_does() -> None:
    torch.manual_seed(2)
    network = Edsr(channels=8, blocks=2).double()
    for p in network.parameters():
        torch.nn.init.normal_(p, std=0.2)
    reach = network.reach
    assert reach == 7
    x = torch.rand(1, 3, 1, 2 * reach + 9, dtype=torch.float64)
    other = x.clone()
    other[..., reach + 1 :] = torch.rand_like(other[..., reach + 1 :])
    first = slice(0, 4)
    assert torch.equal(network(x)[0][..., first], network(other)[0][..., first])
    other = x.clone()
    other[..., reach] += 0.5
    assert not torch.equal(network(x)[0][..., first], network(other)[0][..., first])


@pytest.mark.parametrize("settings", [{"blocks": 0}, {"channels": 0}])
def test_empty_networks_are_refused(settings: dict[str, int]) -> None:
    with pytest.raises(UsageError, match="at least 1 block and 1 channel"):
        Edsr(**settings)
