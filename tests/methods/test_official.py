"""The official presets: published numbers of parameters, and every invariant of a method with few channels."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from mezzotint import methods
from mezzotint.conditioning.features import DenseFeatures
from mezzotint.data import sets
from mezzotint.methods.recipe import Recipe
from mezzotint.noise import Noise, SequentialNoise
from mezzotint.testing import check_method
from mezzotint.training import read_run
from mezzotint.training.loop import learning_rate

_BLOCKS = {"channels": 8, "multipliers": (1, 2), "blocks": 1, "groups": 4}
# What makes each official preset small; its parts stay those of the preset.
FEW: dict[str, dict[str, Any]] = {
    "ddpm-sr@official": {"network": {**_BLOCKS, "attention": (1,)}},
    "ddpm-sr@official-256": {"network": {**_BLOCKS, "attention": (1,)}},
    "srdiff@official": {
        "encoder": {"blocks": 2, "features": 8, "growth": 4, "width": 8},
        "network": {"channels": 8, "multipliers": (1, 2)},
    },
    "srdiff@official-faces": {
        "encoder": {"blocks": 2, "features": 8, "growth": 4, "width": 8},
        "network": {"channels": 8, "multipliers": (1, 2)},
    },
    "ncsn-sr@official": {"network": {"channels": 8, "multipliers": (1, 2, 2), "dilations": (1, 1, 2)}},
    "sde-sr@official": {"network": {**_BLOCKS, "attention": (1,)}},
    "sde-sr@official-ve": {"network": {**_BLOCKS, "attention": (1,)}},
    "resshift@official": {"network": {**_BLOCKS, "size": 16, "window": 4, "embed": 8, "head": 4, "ratio": 2}},
    "i2sb@official": {"network": {**_BLOCKS, "attention": (1,), "head": 4}},
    "cold-diffusion@official": {"network": {"channels": 8, "multipliers": (1, 2), "heads": 2, "head": 4}},
    "sr3@official": {"network": {**_BLOCKS, "attention": (1,)}},
    "sr3@official-512": {"network": {**_BLOCKS}},
    "diwa@official": {"predictor": {"width": 8, "layers": 2}, "network": {**_BLOCKS}},
    "diwa@official-faces": {"predictor": {"width": 8, "layers": 2}, "network": {**_BLOCKS}},
}
NAMES = list(FEW)


def few(name: str, **changes) -> Recipe:
    """The preset with few channels, and with random numbers in the layers that start at zero."""
    with torch.random.fork_rng():
        torch.manual_seed(1)
        method = methods.build(name, config={**FEW[name], **changes}).eval()
        for parameter in method.parameters():
            if not parameter.any():
                torch.nn.init.normal_(parameter, std=0.1)
    return method


def test_every_official_preset_is_here():
    """The page of methods, the presets and this file name the same ones."""
    named = [
        f"{card.name}@{preset}" for card in methods.cards() for preset in card.presets if preset.startswith("official")
    ]
    assert sorted(named) == sorted(NAMES)


@pytest.mark.parametrize(
    ("name", "changes", "parameters"),
    [
        # The U-Nets of DDPM with the three channels of x in the first convolution.
        ("ddpm-sr@official", {}, 35_746_307 + 3 * 128 * 9),
        ("ddpm-sr@official-256", {}, 113_673_219 + 3 * 128 * 9),
        ("ncsn-sr@official", {}, 29_694_083 + 3 * 128 * 9),
        # And those of the stochastic equations: once more where the input is halved beside the blocks.
        ("sde-sr@official", {}, 61_804_419 + 3 * 128 * 9),
        ("sde-sr@official-ve", {}, 62_758_915 + 2 * 3 * 128 * 9),
        ("resshift@official", {}, 118_593_583),
        ("resshift@official", {"schedule": 4}, 118_593_583),
        ("i2sb@official", {}, 552_807_171),
        ("i2sb@official", {"condition": "low-resolution"}, 552_814_083),
        ("cold-diffusion@official", {}, 56_615_708),
        ("sr3@official", {}, 97_807_491),
        ("sr3@official-512", {}, 155_334_339),
        ("diwa@official", {}, 8_966_460),
        ("diwa@official-faces", {}, 91_506_252),
    ],
    ids=str,
)
def test_networks_have_the_published_number_of_parameters(name, changes, parameters):
    with torch.device("meta"):
        method = methods.build(name, config=changes)
    assert sum(p.numel() for p in method.network.parameters()) == parameters
    assert not list(method.buffers())


@pytest.mark.parametrize(
    ("name", "scale", "unet", "rrdb"),
    [("srdiff@official", 4, 11_755_267, 1_478_755), ("srdiff@official-faces", 8, 10_545_795, 1_488_003)],
)
def test_srdiff_has_the_published_numbers_of_parameters(name, scale, unet, rrdb):
    """13,234,022 and 12,033,798 in all.

    Theirs counts the convolution that enlarges the features with the U-Net, and in the RRDB what only its pre-training
    uses: two or three convolutions 32 to 32 for the enlargement, one more, and one to 3 colours.
    """
    with torch.device("meta"):
        method = methods.build(name, scale=scale)
    encoder = method.conditioning
    assert isinstance(encoder, DenseFeatures)
    enlarge = sum(p.numel() for p in encoder.enlarge.parameters())
    assert sum(p.numel() for p in method.network.parameters()) + enlarge == unet
    spare = {4: 3, 8: 4}[scale] * (32 * 32 * 9 + 32) + 3 * 32 * 9 + 3
    assert sum(p.numel() for p in encoder.parameters()) - enlarge + spare == rrdb


def test_the_page_has_the_numbers_of_parameters(request):
    """docs/official.md: every official preset, at the scale that it is published for."""
    lines = (request.config.rootpath / "docs" / "official.md").read_text().splitlines()
    rows = [[cell.strip(" `") for cell in line.split("|")[1:-1]] for line in lines if line.startswith("| `")]
    assert sorted(row[0] for row in rows) == sorted(NAMES)
    for name, _, own, _ in rows:
        scale = 8 if name == "srdiff@official-faces" else 4
        with torch.device("meta"):
            method = methods.build(name, scale=scale)
        assert f"{sum(p.numel() for p in method.parameters()):,}" == own, name


@pytest.mark.parametrize("name", NAMES)
def test_official_presets_with_few_channels_pass_the_public_check(name):
    deterministic = name.startswith("cold-diffusion")
    assert "saved and loaded" in check_method(few(name), steps=2, deterministic=deterministic)


@pytest.mark.parametrize("name", NAMES)
def test_odd_sizes_are_exact_and_every_parameter_is_reached(name):
    method = few(name).train()
    generator = torch.Generator().manual_seed(2)
    y, x = (torch.rand(2, 3, *size, generator=generator) * 2 - 1 for size in ((13, 11), (4, 3)))
    method.loss(y, x, noise=SequentialNoise(0)).backward()
    for key, parameter in method.named_parameters():
        if parameter.requires_grad:
            assert parameter.grad is not None and torch.isfinite(parameter.grad).all(), key
            assert parameter.grad.any(), key
    method.eval()
    for size in ((1, 1), (4, 1)):
        out = method.sample(x[:1, :, : size[0], : size[1]], steps=2, noise=Noise(0))
        assert out.shape == (1, 3, 4 * size[0], 4 * size[1]) and torch.isfinite(out).all()


@pytest.mark.parametrize("name", ["ddpm-sr@official", "srdiff@official", "sde-sr@official-ve"])
def test_official_presets_can_be_guided(name):
    """One more channel says whether there is a condition; no other part of the preset changes."""
    method = few(name, drop=0.2)
    x = torch.rand(1, 3, 3, 2, generator=torch.Generator().manual_seed(2))
    plain, strong = (method.sample(x, steps=2, noise=Noise(0), guidance=guidance) for guidance in (1.0, 2.0))
    assert (plain - strong).abs().max() > 1e-4


# -- their run files --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "pictures", "warmup", "side"),
    [
        # Pictures seen in all, steps until the full rate, and the side of a large crop, as the authors have them.
        ("cold-diffusion", 700_000 * 32 * 2, 1, 128),
        ("ddpm-sr", 800_000 * 128, 5000, 32),
        ("diwa", 1_000_000 * 256, 1, 192),
        ("i2sb", 1_000_000 * 256, 1, 256),
        ("ncsn-sr", 300_000 * 128, 1, 32),
        ("resshift", 300_000 * 64, 5000, 256),
        ("sde-sr", 1_300_000 * 128, 5000, 32),
        ("sr3", 1_000_000 * 4, 1, 128),
        ("srdiff", 400_000 * 64, 1, 160),
    ],
)
def test_run_files_have_the_published_training(name, pictures, warmup, side, request):
    path = request.config.rootpath / "training" / f"{name}-official.toml"
    run = read_run(path)
    assert (run.method, run.preset) == (name, "official") and run.scale in methods.find(name).scales
    assert run.steps * run.batch == pictures and run.scale * run.pictures.crop == side
    assert learning_rate(run, warmup - 1) == pytest.approx(run.optimiser.rate)
    assert warmup == 1 or learning_rate(run, warmup // 2 - 1) == pytest.approx(run.optimiser.rate / 2, rel=1e-3)
    assert learning_rate(run, run.steps - 1) == pytest.approx(run.optimiser.final_rate, rel=1e-2)
    if run.pictures.dataset is not None:
        (chosen,) = (data for data in sets.all_sets() if data.name == run.pictures.dataset)
        assert run.pictures.split is None or run.pictures.split in {split.name for split in chosen.splits}
    with torch.device("meta"):
        methods.build(name, scale=run.scale, preset=run.preset, config=run.config)
    comment = path.read_text().split("method =")[0]
    assert "nobody has run this file" in comment.replace("\n# ", " ").lower()
    assert f"training/{name}-official.toml" in comment


def test_every_run_file_of_an_official_preset_is_checked(request):
    found = sorted(path.name for path in (request.config.rootpath / "training").glob("*-official.toml"))
    checked = [mark for mark in test_run_files_have_the_published_training.pytestmark if mark.name == "parametrize"]
    assert found == [f"{values[0]}-official.toml" for values in checked[0].args[1]]
