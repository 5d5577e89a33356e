from __future__ import annotations

import math

import pytest
import torch

from mezzotint.errors import UsageError
from mezzotint.networks.extension import extend
from mezzotint.networks.unet import NoiseEmbedding, SelfAttention, UNet, initialise_orthogonal

TINY = dict(channels=8, multipliers=(1, 2, 2), blocks=1, groups=4, middle_attention=False)


def tiny(**changes) -> UNet:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return UNet(**{**TINY, **changes}).eval()


@pytest.mark.parametrize(
    ("arguments", "parameters"),
    [
        (dict(dropout=0.2, attention=(3,)), 97_807_491),
        (dict(multipliers=(1, 2, 4, 8, 16), blocks=1, groups=16), 155_334_339),
    ],
    ids=["16 to 128", "64 to 512"],
)
def test_official_networks_have_the_published_number_of_parameters(arguments, parameters):
    with torch.device("meta"):
        network = UNet(**arguments)
    assert sum(parameter.numel() for parameter in network.parameters()) == parameters
    assert not list(network.buffers())  # nothing but parameters has to be stored with the weights


@pytest.mark.parametrize("size", [(1, 1), (1, 9), (3, 2), (7, 13), (16, 12), (5, 1)])
def test_any_size_comes_back(size):
    network = tiny()
    out = network(torch.randn(2, 6, *size), torch.tensor([0.3, 0.9]))
    assert out.shape == (2, 3, *size)
    assert torch.isfinite(out).all()


def test_padding_inside_equals_padding_before():
    network = tiny()
    z, level = torch.randn(1, 6, 7, 10), torch.tensor([0.5])
    assert torch.equal(network(z, level), network(extend(z, network.stride), level)[..., :7, :10])


def test_batch_equals_singles():
    network = tiny(attention=(1,), middle_attention=True)
    z, level = torch.randn(3, 6, 9, 12), torch.tensor([0.1, 0.5, 1.0])
    together = network(z, level)
    for index in range(3):
        alone = network(z[index : index + 1], level[index : index + 1])
        torch.testing.assert_close(together[index : index + 1], alone, atol=1e-5, rtol=1e-5)


def test_embedding_is_sines_and_cosines_of_falling_rates():
    embedding = NoiseEmbedding(8)
    embedding.layers = torch.nn.Identity()
    out = embedding(torch.tensor([0.25, 1.0], dtype=torch.float64))
    angles = [0.25 * 10 ** (-4 * k / 4) for k in range(4)]
    wanted = [math.sin(angle) for angle in angles] + [math.cos(angle) for angle in angles]
    assert out[0].tolist() == pytest.approx(wanted, abs=1e-15)


def test_noise_level_reaches_the_output():
    network = tiny()
    z = torch.randn(1, 6, 8, 8)
    assert (network(z, torch.tensor([0.1])) - network(z, torch.tensor([0.9]))).abs().max() > 1e-4


def test_attention_equals_the_written_out_softmax():
    layer = SelfAttention(8, groups=2).double()
    h = torch.randn(2, 8, 3, 5, dtype=torch.float64)
    query, key, value = layer.query_key_value(layer.normalise(h)).reshape(2, 3, 8, 15).unbind(1)
    weights = torch.einsum("bcn,bcm->bnm", query, key).div(math.sqrt(8)).softmax(dim=-1)
    wanted = h + layer.project(torch.einsum("bnm,bcm->bcn", weights, value).reshape(2, 8, 3, 5))
    torch.testing.assert_close(layer(h), wanted, atol=1e-12, rtol=0)


def test_dropout_is_off_in_evaluation_only():
    network = tiny(dropout=0.5)
    z, level = torch.randn(1, 6, 8, 8), torch.tensor([0.5])
    assert torch.equal(network(z, level), network(z, level))
    network.train()
    assert not torch.equal(network(z, level), network(z, level))


def test_orthogonal_start():
    network = tiny()
    initialise_orthogonal(network, generator=torch.Generator().manual_seed(3))
    weight = network.middle[0].before[2].weight.flatten(1)
    torch.testing.assert_close(weight @ weight.T, torch.eye(len(weight)), atol=1e-5, rtol=0)
    assert network.first.bias.abs().max() == 0


@pytest.mark.parametrize(
    "change",
    [dict(channels=10), dict(attention=(3,)), dict(dropout=1.0), dict(multipliers=()), dict(blocks=0)],
)
def test_impossible_shapes_are_refused(change):
    with pytest.raises(UsageError):
        UNet(**{**TINY, **change})
