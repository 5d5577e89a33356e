"""Our U-Nets hold one to one the tensors of the official definitions, and read and write them without a change.

The lists in official_keys/ were written by tools/official_keys from the definitions themselves.
"""

from __future__ import annotations

import csv
import gzip
import importlib.util
import json
import math
import re
from pathlib import Path
from typing import Any

import pytest
import torch

from mezzotint.errors import UsageError, WeightsError
from mezzotint.methods.foreign_prior import PUBLISHED
from mezzotint.networks.adm import ADM
from mezzotint.networks.ncsnpp import NCSNpp
from mezzotint.networks.official_keys import Form, from_official, legacy, names, to_official
from mezzotint.networks.table import build
from mezzotint.networks.unet import UNet
from mezzotint.networks.unet2d import UNet2D

LISTS = Path(__file__).parent / "official_keys"
_EXAMPLE = {"head": 8, "closed": False, "cosines_first": True, "around": True, "epsilon": 1e-5}
# The configurations of tools/official_keys/unet2d.py in our terms.
DIFFUSERS: dict[str, dict[str, Any]] = {
    "ddpm-celebahq-256": {},
    "ddpm-cifar10-32": {"widths": (128, 256, 256, 256), "down_attention": (1,), "up_attention": (1,)},
    "defaults": {
        **_EXAMPLE, "widths": (224, 448, 672, 896), "down_attention": (1, 2, 3), "up_attention": (1, 2, 3),
    },
    "training-example": _EXAMPLE,
}  # fmt: skip
# Tables that the networks compute themselves, and the embedding of classes.
BESIDE = ("sigmas", "label_emb.weight")


def official(form: str) -> dict[str, dict[str, tuple[int, ...]]]:
    networks: dict[str, dict[str, tuple[int, ...]]] = {}
    with gzip.open(LISTS / f"{form}.csv.gz", "rt", newline="") as file:
        for row in csv.DictReader(file):
            shape = tuple(int(side) for side in row["shape"].split("x")) if row["shape"] else ()
            networks.setdefault(row["network"], {})[row["key"]] = shape
    return networks


def ours(form: Form, settings: dict[str, Any]) -> dict[str, tuple[int, ...]]:
    with torch.device("meta"):
        network = build(settings, in_channels=3, out_channels=6 if form == "adm" else 3)
    return {key: tuple(tensor.shape) for key, tensor in to_official(network, form=form).items()}


@pytest.mark.parametrize("form", ["adm", "diffusers", "score-sde"])
def test_every_official_network_is_ours_one_to_one(form):
    lists = official(form)
    assert set(lists) == set(DIFFUSERS if form == "diffusers" else PUBLISHED[form])
    made: dict[str, dict[str, tuple[int, ...]]] = {}
    for name, wanted in lists.items():
        settings = {"kind": "unet2d", **DIFFUSERS[name]} if form == "diffusers" else PUBLISHED[form][name]["network"]
        if repr(settings) not in made:
            made[repr(settings)] = ours(form, settings)
        got = made[repr(settings)]
        assert got == {key: shape for key, shape in wanted.items() if key not in BESIDE}, name


def test_the_page_of_priors_has_every_network_and_its_size():
    lines = (Path(__file__).parents[2] / "docs" / "priors.md").read_text(encoding="utf-8").splitlines()
    stated = dict(re.findall(r"^\| `(.*?` \| `.*?)` \| ([\d,]+) \|$", "\n".join(lines), re.MULTILINE))
    counted = {
        f"{form}` | `{name}": f"{sum(math.prod(shape) for key, shape in tensors.items() if key not in BESIDE):,}"
        for form in ("adm", "score-sde")
        for name, tensors in official(form).items()
    }
    assert stated == counted


SMALL: list[tuple[Form, torch.nn.Module, bool]] = [
    ("adm", ADM(channels=8, multipliers=(0.5, 1), blocks=1, attention=(1,), heads=2, groups=4, out_channels=6), False),
    ("adm", ADM(channels=8, multipliers=(1, 2), blocks=2, attention=(0, 1), head=4, groups=4), True),
    ("diffusers", UNet2D(widths=(8, 16), blocks=1, down_attention=(1,), up_attention=(0,), head=4, groups=4), False),
    ("score-sde", UNet2D(widths=(8, 16), blocks=1, down_attention=(1,), up_attention=(1,), once=True, groups=4), False),
    ("score-sde", NCSNpp(channels=8, multipliers=(1, 2), blocks=1), False),
    ("score-sde", NCSNpp(channels=8, multipliers=(1, 2), blocks=1, pyramid=False, skips=True), False),
    ("score-sde", NCSNpp(channels=8, multipliers=(1, 2), blocks=1, pyramid=False, filtered=False, told="time"), False),
]  # fmt: skip


@pytest.mark.parametrize(("form", "network", "thirds"), SMALL)
def test_what_is_written_is_read_back(form, network, thirds):
    back = from_official(to_official(network, form=form, thirds=thirds), network, form=form, source="x", thirds=thirds)
    own = network.state_dict()
    assert sorted(back) == sorted(own) == sorted(name.ours for name in names(network, form=form))
    assert all(torch.equal(back[name], own[name]) for name in own)


def test_queries_keys_and_values_are_joined_head_by_head():
    """A head's query, key and value are consecutive here; elsewhere those of all heads lie together."""
    network = UNet2D(widths=(8,), blocks=1, down_attention=(0,), up_attention=(), head=4, groups=4)
    key = "down_blocks.0.attentions.0"
    tensors = to_official(network, form="diffusers")
    for index, letter in enumerate("qkv"):
        tensors[f"{key}.to_{letter}.bias"] = 100.0 * index + torch.arange(8.0)
    joined = from_official(tensors, network, form="diffusers", source="x")["down.0.1.query_key_value.bias"]
    head = torch.arange(4.0)
    wanted = [head, head + 100, head + 200, head + 4, head + 104, head + 204]
    assert torch.equal(joined, torch.cat(wanted))


def test_old_names_of_attention_have_new_ones():
    assert legacy("mid_block.attentions.0.query.weight") == "mid_block.attentions.0.to_q.weight"
    assert legacy("up_blocks.1.attentions.2.proj_attn.bias") == "up_blocks.1.attentions.2.to_out.0.bias"
    assert legacy("mid_block.resnets.0.conv1.weight") == "mid_block.resnets.0.conv1.weight"


def test_tensors_that_do_not_fit_are_named():
    network = UNet2D(widths=(8,), blocks=1, down_attention=(), up_attention=(), groups=4)
    whole = to_official(network, form="diffusers")
    without = {key: tensor for key, tensor in whole.items() if not key.startswith("conv_out")}
    with pytest.raises(WeightsError, match="a.bin: lacks the tensor 'conv_out.weight' and 1 more"):
        from_official(without, network, form="diffusers", source="a.bin")
    with pytest.raises(WeightsError, match="unknown tensor 'add_embedding.bias': a diffusers checkpoint"):
        from_official({**whole, "add_embedding.bias": torch.zeros(1)}, network, form="diffusers", source="a.bin")
    with pytest.raises(WeightsError, match="'conv_in.weight' has shape 8x4x3x3, the network needs 8x3x3x3"):
        wrong = {**whole, "conv_in.weight": torch.zeros(8, 4, 3, 3)}
        from_official(wrong, network, form="diffusers", source="a.bin")


def test_forms_that_a_network_does_not_have():
    with pytest.raises(UsageError, match="'torch' of checkpoints is unknown: use one of adm"):
        names(SMALL[0][1], form="torch")  # pyright: ignore[reportArgumentType]
    with pytest.raises(UsageError, match="UNet has no form 'adm'"):
        names(UNet(channels=8, multipliers=(1,), blocks=1, groups=4, in_channels=6, out_channels=3), form="adm")


# -- what is computed -------------------------------------------------------------------------------------------------

_spec = importlib.util.spec_from_file_location("official_cases", LISTS / "cases.py")
assert _spec is not None and _spec.loader is not None
cases = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(cases)


@pytest.mark.parametrize(("form", "name"), [(form, name) for form in cases.CASES for name in cases.CASES[form]])
def test_the_official_definition_computes_the_same(form, name):
    """Outputs of the definitions themselves, with weights by formula, in float32 (tools/official_keys/outputs.py).

    They are those of openai/guided-diffusion at commit 22e0df8, diffusers 0.42.1 and yang-song/score_sde_pytorch at
    commit cb1f359; ours is in float64. The largest difference was 4e-6 of 1.6: the rounding of 32 bits.
    """
    case = cases.CASES[form][name]
    settings = dict(case["ours"])
    network = build(settings, in_channels=3, out_channels=6 if form == "adm" else 3).double().eval()
    thirds = case.get("thirds", False)
    shapes = {key: tuple(t.shape) for key, t in to_official(network, form=form, thirds=thirds).items()}
    tensors = {key: cases.weight(key, shape) for key, shape in shapes.items()}
    if "label" in case:
        tensors["time_embed.2.bias"] += cases.weight("label_emb.weight", (5, 128))[case["label"]]
    network.load_state_dict(from_official(tensors, network, form=form, source=name, thirds=thirds))
    level = torch.full((2,), cases.TIME, dtype=torch.float64)
    if "sigma" in case:
        level = torch.full_like(level, 0.25 * math.log(case["sigma"]))
    with torch.no_grad():
        out = network(cases.picture(), level)
    if "sigma" in case:
        out = out / case["sigma"]
    wanted = torch.tensor(json.loads((LISTS / f"{form}.json").read_text())[name], dtype=torch.float64)
    got = torch.tensor(cases.kept(out), dtype=torch.float64)
    assert wanted.abs().max() > 0.1
    assert (got - wanted).abs().max() < 2e-5 * wanted.abs().max()
