"""The names that tensors of our U-Nets have in the checkpoints of their authors, and how they are laid out there.

A form is a family of checkpoints: `adm` (guided-diffusion's UNetModel), `diffusers` (UNet2DModel), `score-sde` (NCSN++,
DDPM++ and DDPM of the PyTorch code). `from_official` reads such tensors into ours, `to_official` writes ours as theirs,
both without a change of what is computed: our joined query, key and value of a head are three matrices elsewhere, 1x1
convolutions are matrices (transposed in score-SDE's `NIN`), and score-SDE numbers its modules in the order of use.
Names and shapes were compared with the definitions themselves (tests/networks/official_keys).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor, nn

from mezzotint.errors import UsageError, WeightsError
from mezzotint.networks.adm import ADM
from mezzotint.networks.embedding import TimeEmbedding
from mezzotint.networks.ncsnpp import FilteredHalf, Mixed, NCSNpp, NoiseWaves, ScoreBlock
from mezzotint.networks.residual_unet import Attention, Doubled, Halved, TimedBlock
from mezzotint.networks.unet2d import UNet2D

Form = Literal["adm", "diffusers", "score-sde"]
FORMS: tuple[Form, ...] = get_args(Form)
Layout = Literal["same", "matrix", "vector", "transposed"]


@dataclass(frozen=True)
class Names:
    """One tensor of ours, and the official tensors that it is made of: one, or query, key and value.

    layout: "same"; "matrix" and "vector" (a linear layer, or a convolution along one axis, for our 1x1 convolution,
    with `trailing` axes of length 1); "transposed", in by out. `heads`: of the attention, where q, k and v are joined
    head by head. `thirds`: one official tensor in which all queries lie before all keys and all values.
    """

    ours: str
    official: tuple[str, ...]
    layout: Layout = "same"
    trailing: int = 0
    heads: int = 1
    thirds: bool = False

    def read(self, parts: list[Tensor], shape: torch.Size) -> Tensor:
        """Our tensor of `shape` from the official ones."""
        if self.thirds:
            parts = list(parts[0].chunk(3))
        if self.layout == "transposed":
            parts = [part.t() for part in parts]
        if len(parts) == 1:
            return parts[0].reshape(shape)
        split = [part.reshape(self.heads, part.shape[0] // self.heads, *part.shape[1:]) for part in parts]
        return torch.stack(split, dim=1).reshape(shape)

    def write(self, tensor: Tensor) -> dict[str, Tensor]:
        """The official tensors that ours is made of."""
        if self.layout in ("matrix", "transposed"):
            tensor = tensor.reshape(*tensor.shape[:2], *([1] * self.trailing))
        parts = [tensor]
        if len(self.official) == 3 or self.thirds:
            joined = tensor.reshape(self.heads, 3, -1, *tensor.shape[1:])
            parts = [part.reshape(-1, *tensor.shape[1:]) for part in joined.unbind(1)]
        if self.thirds:
            parts = [torch.cat(parts)]
        if self.layout == "transposed":
            parts = [part.t() for part in parts]
        return dict(zip(self.official, parts, strict=True))


def names(network: nn.Module, *, form: Form, thirds: bool = False) -> tuple[Names, ...]:
    """What every tensor of a network is called in checkpoints of a form, in the order of their definition.

    `thirds`: ADM's "new attention order", where queries, keys and values of all heads lie one after the other, which
    shapes do not tell. UsageError for a network that the form does not have.
    """
    if form not in FORMS:
        raise UsageError(f"form {form!r} of checkpoints is unknown: use one of {', '.join(FORMS)}")
    if form == "adm" and isinstance(network, ADM):
        return tuple(_adm(network, thirds=thirds))
    if form == "diffusers" and isinstance(network, UNet2D):
        return tuple(_diffusers(network))
    if form == "score-sde" and isinstance(network, NCSNpp | UNet2D):
        return tuple(_score_sde(network))
    raise UsageError(
        f"{type(network).__name__} has no form {form!r}: adm is ADM's, diffusers UNet2D's, score-sde NCSNpp's "
        "and UNet2D's"
    )


def to_official(network: nn.Module, *, form: Form, thirds: bool = False) -> dict[str, Tensor]:
    """The tensors of a network under official names and in official shapes; see `names`."""
    own = network.state_dict()
    official: dict[str, Tensor] = {}
    for name in names(network, form=form, thirds=thirds):
        official.update(name.write(own[name.ours]))
    return official


def from_official(
    tensors: Mapping[str, Tensor], network: nn.Module, *, form: Form, source: object, thirds: bool = False
) -> dict[str, Tensor]:
    """Our tensors of a network, which may lie on the meta device, from official ones; `source` names them in errors.

    Raises WeightsError where a tensor is missing, unknown or of another shape.
    """
    compare(tensors, to_official(network, form=form, thirds=thirds), form=form, source=source)
    own = network.state_dict()
    return {
        name.ours: name.read([tensors[part] for part in name.official], own[name.ours].shape)
        for name in names(network, form=form, thirds=thirds)
    }


def compare(tensors: Mapping[str, Tensor], wanted: Mapping[str, Tensor], *, form: Form, source: object) -> None:
    """WeightsError unless official tensors are one to one those that are wanted; its message names the first."""
    absent = [name for name in wanted if name not in tensors]
    foreign = [name for name in tensors if name not in wanted]
    for found, problem in ((absent, "lacks the tensor"), (foreign, "has the unknown tensor")):
        if found:
            more = f" and {len(found) - 1} more" if len(found) > 1 else ""
            raise WeightsError(f"{source}: {problem} {found[0]!r}{more}: a {form} checkpoint of another network")
    for name, tensor in wanted.items():
        if tensors[name].shape != tensor.shape:
            raise WeightsError(
                f"{source}: tensor {name!r} has shape {_sides(tensors[name])}, the network needs {_sides(tensor)}: "
                f"a {form} checkpoint of another network"
            )


def _sides(tensor: Tensor) -> str:
    return "x".join(map(str, tensor.shape)) or "()"


def _both(ours: str, official: str, **layout: object) -> Iterator[Names]:
    for kind in ("weight", "bias"):
        yield Names(f"{ours}.{kind}", (f"{official}.{kind}",), **layout)  # pyright: ignore[reportArgumentType]


def _adm(network: ADM, *, thirds: bool) -> Iterator[Names]:
    yield from _both("embedding.layers.0", "time_embed.0")
    yield from _both("embedding.layers.2", "time_embed.2")
    yield from _both("first", "input_blocks.0.0")
    chains = [(f"down.{i}", f"input_blocks.{i + 1}", chain) for i, chain in enumerate(network.down)]
    chains += [("middle", "middle_block", network.middle)]
    chains += [(f"up.{i}", f"output_blocks.{i}", chain) for i, chain in enumerate(network.up)]
    for ours, theirs, chain in chains:
        for index, part in enumerate(chain):  # pyright: ignore[reportArgumentType]
            here, there = f"{ours}.{index}", f"{theirs}.{index}"
            if isinstance(part, TimedBlock):
                yield from _both(f"{here}.enter.0", f"{there}.in_layers.0")
                yield from _both(f"{here}.first", f"{there}.in_layers.2")
                yield from _both(f"{here}.time.1", f"{there}.emb_layers.1")
                yield from _both(f"{here}.normalise", f"{there}.out_layers.0")
                yield from _both(f"{here}.leave.2", f"{there}.out_layers.3")
                if isinstance(part.residual, nn.Conv2d):
                    yield from _both(f"{here}.residual", f"{there}.skip_connection")
            elif isinstance(part, Attention):
                yield from _both(f"{here}.normalise", f"{there}.norm")
                for kind, layout in (("weight", "matrix"), ("bias", "vector")):
                    own = f"{here}.query_key_value.{kind}"
                    yield Names(own, (f"{there}.qkv.{kind}",), layout, 1, part.heads, thirds)  # pyright: ignore
                yield Names(f"{here}.project.weight", (f"{there}.proj_out.weight",), "matrix", 1)
                yield Names(f"{here}.project.bias", (f"{there}.proj_out.bias",), "vector")
    yield from _both("last.0", "out.0")
    yield from _both("last.2", "out.2")


def _diffusers(network: UNet2D) -> Iterator[Names]:
    yield from _both("first", "conv_in")
    yield from _both("embedding.layers.0", "time_embedding.linear_1")
    yield from _both("embedding.layers.2", "time_embedding.linear_2")
    # A depth ends with the chain that halves or doubles its sides; each of its chains has one block.
    for ours, theirs, chains in (("down", "down_blocks", network.down), ("up", "up_blocks", network.up)):
        depth = block = attention = 0
        for index, chain in enumerate(chains):
            ends = False
            for place, part in enumerate(chain):  # pyright: ignore[reportArgumentType]
                here = f"{ours}.{index}.{place}"
                if isinstance(part, TimedBlock):
                    yield from _resnet(part, here, f"{theirs}.{depth}.resnets.{block}")
                    block += 1
                elif isinstance(part, Attention):
                    yield from _attention(part, here, f"{theirs}.{depth}.attentions.{attention}")
                    attention += 1
                elif isinstance(part, Halved | Doubled):
                    sampler = "downsamplers" if isinstance(part, Halved) else "upsamplers"
                    yield from _both(f"{here}.convolution", f"{theirs}.{depth}.{sampler}.0.conv")
                    ends = True
            if ends:
                depth, block, attention = depth + 1, 0, 0
        if ours == "down":
            yield from _middle(network.middle)
    yield from _both("last.0", "conv_norm_out")
    yield from _both("last.2", "conv_out")


def _middle(chain: nn.Sequential) -> Iterator[Names]:
    block = 0
    for place, part in enumerate(chain):
        if isinstance(part, TimedBlock):
            yield from _resnet(part, f"middle.{place}", f"mid_block.resnets.{block}")
            block += 1
        elif isinstance(part, Attention):
            yield from _attention(part, f"middle.{place}", "mid_block.attentions.0")


def _resnet(part: TimedBlock, here: str, there: str) -> Iterator[Names]:
    yield from _both(f"{here}.enter.0", f"{there}.norm1")
    yield from _both(f"{here}.first", f"{there}.conv1")
    yield from _both(f"{here}.time.1", f"{there}.time_emb_proj")
    yield from _both(f"{here}.normalise", f"{there}.norm2")
    yield from _both(f"{here}.leave.2", f"{there}.conv2")
    if isinstance(part.residual, nn.Conv2d):
        yield from _both(f"{here}.residual", f"{there}.conv_shortcut")


def _attention(part: Attention, here: str, there: str) -> Iterator[Names]:
    yield from _both(f"{here}.normalise", f"{there}.group_norm")
    for kind, layout in (("weight", "matrix"), ("bias", "vector")):
        official = tuple(f"{there}.to_{letter}.{kind}" for letter in "qkv")
        yield Names(f"{here}.query_key_value.{kind}", official, layout, 0, part.heads)  # pyright: ignore
    yield Names(f"{here}.project.weight", (f"{there}.to_out.0.weight",), "matrix")
    yield Names(f"{here}.project.bias", (f"{there}.to_out.0.bias",), "vector")


def legacy(name: str) -> str:
    """The present name of a tensor of diffusers' attention: checkpoints from before version 0.14 use other ones."""
    for old, new in (("query", "to_q"), ("key", "to_k"), ("value", "to_v"), ("proj_attn", "to_out.0")):
        for kind in ("weight", "bias"):
            if ".attentions." in name and name.endswith(f".{old}.{kind}"):
                return name.removesuffix(f"{old}.{kind}") + f"{new}.{kind}"
    return name


def _score_sde(network: NCSNpp | UNet2D) -> Iterator[Names]:
    for index, (here, part) in enumerate(_in_order(network)):
        there = f"all_modules.{index}"
        if isinstance(part, nn.Linear | nn.Conv2d | nn.GroupNorm):
            # A 1x1 convolution that stands alone is `Combine`.
            alone = isinstance(part, nn.Conv2d) and part.kernel_size == (1, 1)
            yield from _both(here, f"{there}.Conv_0" if alone else there)
        elif isinstance(part, NoiseWaves):
            yield Names(f"{here}.rates", (f"{there}.W",))
        elif isinstance(part, FilteredHalf):
            yield from _both(f"{here}.convolution", f"{there}.Conv2d_0")
        elif isinstance(part, Halved | Doubled):
            yield from _both(f"{here}.convolution", f"{there}.Conv_0")
        elif isinstance(part, Attention):
            yield from _both(f"{here}.normalise", f"{there}.GroupNorm_0")
            for kind, official, layout in (("weight", "W", "transposed"), ("bias", "b", "vector")):
                three = tuple(f"{there}.NIN_{i}.{official}" for i in range(3))
                yield Names(f"{here}.query_key_value.{kind}", three, layout)  # pyright: ignore[reportArgumentType]
            yield Names(f"{here}.project.weight", (f"{there}.NIN_3.W",), "transposed")
            yield Names(f"{here}.project.bias", (f"{there}.NIN_3.b",), "vector")
        elif isinstance(part, ScoreBlock):
            yield from _both(f"{here}.enter.0", f"{there}.GroupNorm_0")
            yield from _both(f"{here}.first", f"{there}.Conv_0")
            yield from _both(f"{here}.level.1", f"{there}.Dense_0")
            yield from _both(f"{here}.leave.0", f"{there}.GroupNorm_1")
            yield from _both(f"{here}.leave.3", f"{there}.Conv_1")
            if isinstance(part.residual, nn.Conv2d):
                yield from _both(f"{here}.residual", f"{there}.Conv_2")
        elif isinstance(part, TimedBlock):
            yield from _both(f"{here}.enter.0", f"{there}.GroupNorm_0")
            yield from _both(f"{here}.first", f"{there}.Conv_0")
            yield from _both(f"{here}.time.1", f"{there}.Dense_0")
            yield from _both(f"{here}.normalise", f"{there}.GroupNorm_1")
            yield from _both(f"{here}.leave.2", f"{there}.Conv_1")
            if isinstance(part.residual, nn.Conv2d):
                yield Names(f"{here}.residual.weight", (f"{there}.NIN_0.W",), "transposed")
                yield Names(f"{here}.residual.bias", (f"{there}.NIN_0.b",), "vector")


def _in_order(network: NCSNpp | UNet2D) -> Iterator[tuple[str, nn.Module]]:
    """The modules that score-SDE numbers, in its order, with their names here."""
    if isinstance(network.embedding, NoiseWaves):
        yield "embedding", network.embedding
    assert isinstance(network.embedding, NoiseWaves | TimeEmbedding)
    yield "embedding.layers.0", network.embedding.layers[0]
    yield "embedding.layers.2", network.embedding.layers[2]
    yield "first", network.first
    halvings = iter(enumerate(network.pyramid)) if isinstance(network, NCSNpp) else iter(())
    for index, chain in enumerate(network.down):
        yield from _unfolded(chain, f"down.{index}")
        if isinstance(network, NCSNpp) and (index + 1) % (network.blocks + 1) == 0:
            for place, halve in halvings:
                yield f"pyramid.{place}", halve
                break
    yield from _unfolded(network.middle, "middle")
    pictures = iter(enumerate(network.pictures)) if isinstance(network, NCSNpp) else iter(())
    for index, chain in enumerate(network.up):
        yield from _unfolded(chain, f"up.{index}")
        if isinstance(network, NCSNpp) and network.skips and index % (network.blocks + 2) == network.blocks:
            place, picture = next(pictures)
            yield f"pictures.{place}.0", picture[0]  # pyright: ignore[reportIndexIssue]
            yield f"pictures.{place}.2", picture[2]  # pyright: ignore[reportIndexIssue]
    if isinstance(network.last, nn.Sequential):
        yield "last.0", network.last[0]
        yield "last.2", network.last[2]


def _unfolded(chain: nn.Module, name: str) -> Iterator[tuple[str, nn.Module]]:
    for place, part in enumerate(chain):  # pyright: ignore[reportArgumentType]
        if isinstance(part, Mixed):
            yield f"{name}.{place}.attention", part.attention
        else:
            yield f"{name}.{place}", part
