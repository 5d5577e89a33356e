"""Every network of the table: published numbers of parameters, any size, batches, gradients, refusals."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from mezzotint.conditioning.features import DenseFeatures
from mezzotint.errors import UsageError
from mezzotint.networks.embedding import TimeEmbedding, sines
from mezzotint.networks.extension import extend
from mezzotint.networks.table import NETWORKS, build, published

# Channels in and out, and settings of each network's class with few channels.
SMALL: dict[str, tuple[int, int, dict[str, Any]]] = {
    "sr3": (6, 3, {"channels": 8, "multipliers": (1, 2), "blocks": 1, "groups": 4, "attention": (1,)}),
    "ddpm": (6, 3, {"channels": 8, "multipliers": (1, 2, 2), "blocks": 1, "groups": 4, "attention": (1,)}),
    "refinenet": (6, 3, {"channels": 8, "multipliers": (1, 2, 2), "dilations": (1, 1, 2)}),
    "ncsnpp": (6, 3, {"channels": 8, "multipliers": (1, 2, 2), "blocks": 1, "attention": (1,)}),
    "adm": (3, 3, {"channels": 8, "multipliers": (1, 1, 2), "blocks": 1, "attention": (1,), "head": 4, "groups": 4}),
    "swin": (6, 3, {"channels": 8, "multipliers": (1, 2), "blocks": 1, "size": 16, "window": 4, "embed": 8, "head": 4,
                    "ratio": 2, "groups": 4}),
    "mish": (11, 3, {"channels": 8, "multipliers": (1, 2, 2)}),
    "convnext": (3, 3, {"channels": 8, "multipliers": (1, 2, 2), "heads": 2, "head": 4}),
    "unet2d": (3, 3, {"widths": (8, 16, 16), "blocks": 1, "down_attention": (1,), "up_attention": (2,), "head": 4,
                      "around": True, "groups": 4}),
}  # fmt: skip


def small(kind: str, **changes) -> nn.Module:
    """The network with random numbers everywhere: layers that start at zero would hide what lies before them."""
    i, o, settings = SMALL[kind]
    network = build({"kind": kind, **settings, **changes}, in_channels=i, out_channels=o)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            scale = 0.2 if parameter.dim() < 2 else parameter[0].numel() ** -0.5
            parameter.copy_(scale * noise + float(parameter.dim() == 1 and name.endswith("weight")))
    return network.eval()


def picture(kind: str, *size: int, batch: int = 1, seed: int = 1) -> Tensor:
    return torch.randn(batch, SMALL[kind][0], *size, generator=torch.Generator().manual_seed(seed))


def count(kind: str, **settings) -> int:
    with torch.device("meta"):
        network = NETWORKS[kind](**settings)
    assert not list(network.buffers())  # nothing but parameters has to be stored with the weights
    return sum(p.numel() for p in network.parameters())


# -- published numbers of parameters ----------------------------------------------------------------------------------

LARGE = {"multipliers": (1, 1, 2, 2, 4, 4), "attention": (4,)}


@pytest.mark.parametrize(
    ("settings", "parameters"),
    [
        ({}, 35_746_307),
        ({"multipliers": (1, 2, 2, 2, 4), "attention": (2,)}, 78_700_803),
        (LARGE, 113_673_219),
        ({"in_channels": 6}, 35_746_307 + 3 * 128 * 9),
        ({"in_channels": 6, **LARGE}, 113_673_219 + 3 * 128 * 9),
    ],
    ids=["CIFAR-10", "CelebA 64", "LSUN 256", "CIFAR-10 with condition", "LSUN 256 with condition"],
)
def test_ddpm_has_the_published_number_of_parameters(settings, parameters):
    """The paper states 35.7 million for CIFAR-10 and 114 million for 256 x 256.

    Measured once: with the weights of models/diffusion.py of ermongroup/ddim (commit e8df66c), copied in order (query,
    key and value joined), random numbers in float64 and times 3 and 871, the largest difference of the outputs was
    3e-15 of 1.0 for CIFAR-10 with six channels in, and 4e-15 of 1.5 for six depths from 32 channels on 64 x 64.
    """
    assert count("ddpm", **settings) == parameters


def test_the_form_of_diffusers_and_score_sde_has_the_parameters_of_ddpm():
    """UNet2DModel(...) of diffusers 0.42.1 as configured by google/ddpm-celebahq-256 and google/ddpm-cifar10-32.

    Attention after the last of three blocks alone saves two of its layers on the way up.
    """
    assert count("unet2d") == 113_673_219
    assert count("unet2d", widths=(128, 256, 256, 256), down_attention=(1,), up_attention=(1,)) == 35_746_307
    attention = 512 * 512 * 4 + 512 * 4 + 2 * 512
    assert count("unet2d", once=True) == 113_673_219 - 2 * attention


def test_ncsnv2_has_the_number_of_parameters_of_the_released_code():
    """Counted in models/ncsnv2.py of ermongroup/ncsnv2 (commit 1bcea03) with its CIFAR-10 configuration.

    Measured once, all parameters copied in order, random numbers in float64 on 32 x 24, their result times sigma:
    9e-15 of 1.7. (The copy of that network in yang-song/score_sde_pytorch cannot run: its dilated convolutions have
    the padding of plain ones.)
    """
    assert count("refinenet") == 29_694_083


@pytest.mark.parametrize(
    ("settings", "parameters"),
    [({}, 62_758_915), ({"filtered": False, "pyramid": False, "told": "time"}, 61_804_419)],
    ids=["NCSN++", "DDPM++"],
)
def test_ncsnpp_has_the_number_of_parameters_of_the_released_code(settings, parameters):
    """Counted in models/ncsnpp.py of yang-song/score_sde_pytorch (commit cb1f359) with its CIFAR-10 configurations.

    Those are ve/cifar10_ncsnpp_continuous and vp/cifar10_ddpmpp_continuous. Measured once, all parameters copied in
    order, random numbers in float64 on 32 x 32: 6e-16 of 0.4 for NCSN++ at sigma 0.02 and 31 (centred pictures, no
    division by sigma), 6e-16 of 0.6 for DDPM++ at times 3 and 871.
    """
    assert count("ncsnpp", **settings) == parameters


@pytest.mark.parametrize(
    ("settings", "parameters"),
    [({"out_channels": 6}, 552_814_086), ({}, 552_807_171), ({"in_channels": 6}, 552_814_083)],
    ids=["ADM", "I2SB", "I2SB that sees x"],
)
def test_adm_has_the_published_number_of_parameters(settings, parameters):
    """ADM unconditional at 256 x 256, and I2SB's without the variance and with the small picture as condition.

    Measured once: with the weights of guided_diffusion/unet.py in NVlabs/I2SB (commit 1ffdfaa), copied in order, random
    numbers, six channels in, on 64 x 64 at times 3 and 871: 3e-7 of 0.83 in float32 with all 552,814,083 parameters,
    and 4e-12 of 0.47 in float64 with 64 channels (their softmax is in float32).
    """
    assert count("adm", **settings) == parameters


def test_resshift_has_the_published_number_of_parameters():
    """118.59 million in the paper.

    Measured once: with the weights of models/unet.py (UNetModelSwin) of zsyOAOA/ResShift (commit 3ce1d81), copied in
    order, `mask` "released": 1e-15 of 0.46 in float64 with 32 channels (embed 64), on 64 x 64 and 64 x 128; 1.5e-7 of
    0.38 in float32 with all 118,593,583 parameters. With `mask` "paper" 0.014 of 0.46: their mask is another.
    """
    assert count("swin") == count("swin", mask="released") == 118_593_583


@pytest.mark.parametrize(
    ("scale", "multipliers", "parameters"), [(4, (1, 2, 3, 4), 11_755_267), (8, (1, 2, 2, 4), 10_545_795)]
)
def test_srdiff_has_the_published_number_of_parameters(scale, multipliers, parameters):
    """12 million for faces in the paper. Their U-Net holds the convolution that enlarges the features.

    Measured once: with the weights of models/diffsr_modules.py of LeiaLi/SRDiff (commit 5628508), copied in order, and
    random numbers in float64 at scale 4: the features of the encoder equal theirs, and the largest difference of the
    predictions was 8e-10 of 0.2 and 0.3 (theirs embeds the time in float32), for both networks.
    """
    with torch.device("meta"):
        enlarge = DenseFeatures(scale=scale).enlarge
    assert count("mish", multipliers=multipliers) + sum(p.numel() for p in enlarge.parameters()) == parameters


def test_cold_diffusion_has_the_published_number_of_parameters():
    """The released network for colour pictures.

    Measured once: with the weights of resolution_diffusion_pytorch.py in arpitbansal297/Cold-Diffusion-Models (commit
    f8b1379), copied by name, and random numbers in float64 on 32 x 24, all 56,615,708 parameters: 7e-11 of 0.5
    (theirs embeds the time in float32).
    """
    assert count("convnext") == 56_615_708


# -- invariants -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", SMALL)
@pytest.mark.parametrize("size", [(1, 1), (1, 9), (7, 2), (9, 13)])
def test_any_size_comes_back(kind, size):
    network = small(kind)
    out = network(picture(kind, *size, batch=2), torch.tensor([3.0, 40.0]))
    assert out.shape == (2, SMALL[kind][1], *size) and out.dtype == torch.float32 and torch.isfinite(out).all()
    assert out.std() > 1e-3 or size == (1, 1)


@pytest.mark.parametrize("kind", SMALL)
def test_padding_inside_equals_padding_before(kind):
    network, z, t = small(kind), picture(kind, 7, 10), torch.tensor([5.0])
    multiple = getattr(network, "stride" if kind == "sr3" else "multiple")
    assert multiple == {"sr3": 2, "swin": 8, "refinenet": 2}.get(kind, 4)
    assert torch.equal(network(z, t), network(extend(z, multiple), t)[..., :7, :10])


@pytest.mark.parametrize("kind", SMALL)
def test_batch_equals_singles(kind):
    network, z, t = small(kind), picture(kind, 9, 12, batch=3), torch.tensor([1.0, 30.0, 900.0])
    together = network(z, t)
    for index in range(3):
        alone = network(z[index : index + 1], t[index : index + 1])
        torch.testing.assert_close(together[index : index + 1], alone, atol=2e-5, rtol=1e-5)


@pytest.mark.parametrize("kind", SMALL)
def test_every_parameter_and_every_channel_matters(kind):
    network, z = small(kind).train(), picture(kind, 8, 8, batch=2).requires_grad_()
    network(z, torch.tensor([3.0, 40.0])).square().sum().backward()
    for name, parameter in network.named_parameters():
        if parameter.requires_grad:
            assert parameter.grad is not None and torch.isfinite(parameter.grad).all(), name
            assert parameter.grad.abs().max() > 0.0, name
    assert z.grad is not None and (z.grad.abs().amax(dim=(0, 2, 3)) > 0.0).all()


@pytest.mark.parametrize("kind", SMALL)
def test_the_time_reaches_the_output(kind):
    network, z = small(kind), picture(kind, 8, 8)
    difference = (network(z, torch.tensor([1.0])) - network(z, torch.tensor([2.0]))).abs().max()
    assert difference > 1e-4 if kind != "refinenet" else difference == 0.0


@pytest.mark.parametrize("kind", SMALL)
def test_the_first_depth_may_be_wider_than_its_unit(kind):
    if kind == "unet2d":
        network = small(kind, widths=(16, 24, 24))
    else:
        network = small(kind, multipliers=(2, 3, 3)[: len(SMALL[kind][2]["multipliers"])])
    assert network(picture(kind, 5, 3), torch.tensor([2.0])).shape == (1, 3, 5, 3)


@pytest.mark.parametrize("kind", SMALL)
def test_settings_may_come_from_a_card(kind):
    """JSON has lists in the place of tuples; double precision follows the input."""
    i, o, settings = SMALL[kind]
    lists = {key: list(value) if isinstance(value, tuple) else value for key, value in settings.items()}
    network = build({"kind": kind, **lists}, in_channels=i, out_channels=o).double()
    assert network(picture(kind, 4, 4).double(), torch.tensor([2.0])).dtype == torch.float64


@pytest.mark.parametrize("kind", SMALL)
def test_short_numbers_of_training_are_near(kind):
    """bfloat16 under autocast, as `precision = "bfloat16"` of a run file trains."""
    network, z, t = small(kind), picture(kind, 8, 8, batch=2), torch.tensor([3.0, 40.0])
    with torch.autocast("cpu", dtype=torch.bfloat16):
        short = network(z, t)
    exact = network(z, t)
    assert short.dtype == torch.bfloat16 and (short - exact).abs().max() < 0.05 * exact.abs().max()


@pytest.mark.parametrize("kind", ["ddpm", "ncsnpp", "adm"])
def test_networks_start_at_zero(kind):
    i, o, settings = SMALL[kind]
    network = build({"kind": kind, **settings}, in_channels=i, out_channels=o)
    assert network(picture(kind, 8, 8), torch.tensor([2.0])).abs().max() == 0.0


def test_the_network_of_srdiff_is_local():
    """It has neither normalisation nor attention: a far pixel changes nothing."""
    network, z, t = small("mish", multipliers=(1, 2)), picture("mish", 8, 96), torch.tensor([2.0])
    other = z.clone()
    other[..., -1] += 1.0
    changed = (network(z, t) != network(other, t)).flatten(0, 2).any(dim=0).nonzero()
    assert int(changed.min()) > 60


def test_the_features_of_srdiff_are_added_to_the_first_depth():
    """Features enter as a sum: what they change does not depend on the blocks before, the last layers aside."""
    network, z, t = small("mish"), picture("mish", 8, 8), torch.tensor([2.0])
    seen: list[Tensor] = []
    network.shrink[0].register_forward_pre_hook(lambda module, given: seen.append(given[0]))
    network(z, t)
    network(torch.cat((torch.zeros_like(z[:, :8]), z[:, 8:]), dim=1), t)
    torch.testing.assert_close((seen[0] - seen[1])[..., 1:-1, 1:-1], z[:, :8], atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    ("kind", "change", "message"),
    [
        ("ddpm", {"channels": 10}, "10 channels do not divide into 4 groups"),
        ("ddpm", {"attention": (3,)}, "outside 0..2"),
        ("ddpm", {"multipliers": ()}, "at least one depth|outside 0..-1"),
        ("ddpm", {"blocks": 0}, "one block"),
        ("adm", {"head": 16}, "8 channels do not divide into heads of 16"),
        ("adm", {"attention": (-1,)}, "outside 0..2"),
        ("refinenet", {"dilations": (1, 2)}, "3 multipliers and 2 dilations"),
        ("refinenet", {"dilations": (1, 0, 1)}, "dilations of at least 1"),
        ("ncsnpp", {"channels": 10}, "channels do not divide into [0-9]+ groups"),
        ("ncsnpp", {"told": "level"}, "told 'level' is unknown: use one of time, noise"),
        ("ncsnpp", {"attention": (5,)}, "outside 0..2"),
        ("swin", {"size": 4}, "leave 2 at the deepest depth for windows of 4: use an even window and a size of 8"),
        ("swin", {"window": 3}, "even window"),
        ("swin", {"embed": 10}, "embed 10 must be a multiple of 4 groups and of heads of 4"),
        ("swin", {"mask": "none"}, "mask 'none' is unknown: use one of paper, released"),
        ("mish", {"multipliers": (1,)}, "two depths"),
        ("convnext", {"multipliers": (2,)}, "two depths"),
        ("convnext", {"channels": 7}, "7 channels cannot embed a time"),
    ],
)
def test_impossible_shapes_are_refused(kind, change, message):
    with pytest.raises(UsageError, match=message):
        small(kind, **change)


def test_srdiff_needs_features():
    with pytest.raises(UsageError, match="3 channels in leave no features beside 3 of the state"):
        build({"kind": "mish", "channels": 8}, in_channels=3, out_channels=3)


def test_unknown_networks_are_refused():
    with pytest.raises(UsageError, match="network 'swim' is unknown: did you mean 'swin'"):
        build({"kind": "swim"}, in_channels=3, out_channels=3)
    with pytest.raises(UsageError, match="network 'x' is unknown: use one of sr3, ddpm"):
        build({"kind": "x"}, in_channels=3, out_channels=3)


@pytest.mark.parametrize("kind", NETWORKS)
def test_published_settings_build_what_the_defaults_build(kind):
    settings = published(kind)
    assert settings["kind"] == kind and not {"in_channels", "out_channels"} & set(settings)
    with torch.device("meta"):
        one, two = build(settings, in_channels=67, out_channels=3), NETWORKS[kind](in_channels=67, out_channels=3)
    assert {n: p.shape for n, p in one.named_parameters()} == {n: p.shape for n, p in two.named_parameters()}


# -- the embedded time ------------------------------------------------------------------------------------------------


def test_times_become_sines_and_cosines_of_falling_rates():
    t = torch.tensor([7.0, 1000.0], dtype=torch.float64)
    for closed, last in ((True, 1e-4), (False, 1e-3)):
        rates = [last ** (k / 3) for k in range(4)]
        wanted = [[f(v * rate) for f in (math.sin, math.cos) for rate in rates] for v in t.tolist()]
        torch.testing.assert_close(
            sines(t, width=8, closed=closed), torch.tensor(wanted, dtype=torch.float64), atol=1e-11, rtol=0
        )


def test_cosines_may_come_first():
    embedding = TimeEmbedding(8, out=8, activation=nn.SiLU(), closed=False, cosines_first=True)
    embedding.layers = nn.Identity()
    out = embedding(torch.tensor([0.0]))
    assert out.tolist() == [[1.0] * 4 + [0.0] * 4]
