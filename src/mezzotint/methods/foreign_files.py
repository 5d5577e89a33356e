"""Checkpoints of others, read as priors: folders of diffusers, files of guided-diffusion and of score-SDE.

Nothing in them is run: safetensors are read as they are, pickles with PyTorch's `weights_only`, which takes tensors and
plain values and refuses everything else. What is read is compared tensor by tensor with the network that the settings
describe, and stored with a card of the method `prior`, after which it is a prior like our own.
"""

from __future__ import annotations

import ast
import json
import pickle
import tomllib
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import SafetensorError
from safetensors import torch as safetensors
from torch import Tensor

from mezzotint import weights
from mezzotint.errors import UsageError, WeightsError
from mezzotint.methods.foreign_prior import PRESETS, PUBLISHED, ForeignPrior, build
from mezzotint.networks import table as networks
from mezzotint.networks.official_keys import FORMS, Form, compare, from_official, legacy, to_official

_CONFIG = "config.json"
_TENSORS = ("diffusion_pytorch_model.safetensors", "diffusion_pytorch_model.bin")
_SCHEDULES = {"linear": "linear", "scaled_linear": "sqrt-linear", "squaredcos_cap_v2": "cosine"}
_PREDICTS = {"epsilon": "eps", "v_prediction": "v", "sample": "y"}
_VARIANCES = {
    "fixed_small": "small", "fixed_small_log": "small", "fixed_large": "large", "fixed_large_log": "large",
    "learned_range": "learned",
}  # fmt: skip


class Converted(NamedTuple):
    """Our tensors of a checkpoint, and their card."""

    tensors: dict[str, Tensor]
    card: weights.Card


def convert(
    path: str | Path,
    *,
    form: Form,
    network: str | None = None,
    changes: Sequence[str] = (),
    label: int | None = None,
    licence: str | None = None,
    name: str | None = None,
) -> Converted:
    """Read a checkpoint of a form (adm and score-sde: a file, diffusers: a folder) as a prior of ours.

    Args:
        network: which of the published networks it is (`foreign_prior.PUBLISHED`); found by its tensors unless given.
        changes: settings of the preset to change, "network.channels=64" or "clip=false", values as in TOML.
        label: the class to draw, for a network that knows classes: its embedding is added to that of the time for good.
        licence: what the card says of the weights' licence; "not stated" unless given.
        name: the name on the card; that of the file or folder unless given.

    Raises:
        WeightsError: the checkpoint is missing, damaged, a pickle of more than tensors, of another network, or no prior
            of pictures of one or three channels.
        UsageError: an unknown form, network or setting, or a class that is not there, missing or not needed.
    """
    if form not in FORMS:
        near = get_close_matches(str(form), FORMS, n=1)
        raise UsageError(f"form {form!r} is unknown: {_meant(near, FORMS)}")
    path = Path(path)
    if form == "diffusers":
        if network is not None:
            raise UsageError("the network of a diffusers folder is what its config.json says: leave the network out")
        preset, settings, tensors = _diffusers(path)
        thirds, called = False, path.resolve().name
    else:
        tensors = _state(path, form=form)
        tensors, measured = _buffers(tensors) if form == "score-sde" else (tensors, {})
        preset, settings, thirds, called = _published(path, form, network, tensors, measured, changes)
    tensors = _without_classes(path, form, tensors, label)
    settings = _changed(settings, changes)
    if settings.get("variance", PRESETS[preset]["variance"]) != "learned":
        tensors = _without_variance(tensors, form, settings["channels"])
    with torch.device("meta"):
        method = build(preset=preset, config=settings)
    own = from_official(tensors, method.network, form=form, source=path, thirds=thirds)
    if _exploding(form, settings):
        # For them the network says -eps: theirs is divided by the noise level and is the score.
        own = {key: -tensor if key in _last(method) else tensor for key, tensor in own.items()}
    card = method.describe().model_copy(
        update={"name": name or called or path.stem, "licence": licence or "not stated", "steps_default": 100}
    )
    return Converted({f"network.{key}": tensor for key, tensor in own.items()}, card)


def load_folder(path: str | Path) -> tuple[ForeignPrior, weights.Card]:
    """The prior of a diffusers folder and its card, without a file of ours; raises as `convert`."""
    return _module(convert(path, form="diffusers"), path)


def is_diffusers(path: str | Path) -> bool:
    """Whether a path is a folder of diffusers: it has a configuration, and no file of weights of ours."""
    path = Path(path)
    if not path.is_dir() or (path / weights.FILE_NAME).is_file():
        return False
    return any((path / place).is_file() for place in ("model_index.json", _CONFIG, f"unet/{_CONFIG}"))


def _module(converted: Converted, source: str | Path) -> tuple[ForeignPrior, weights.Card]:
    with torch.device("meta"):
        method = build(preset=converted.card.preset, config=converted.card.config)
    weights.restore(method, converted.tensors, source=source)
    return method.eval(), converted.card


# -- diffusers --------------------------------------------------------------------------------------------------------


def _diffusers(path: Path) -> tuple[str, dict[str, Any], dict[str, Tensor]]:
    """Preset, settings and official tensors of a folder: of a model, or of a whole pipeline with `unet`."""
    if not path.is_dir():
        raise WeightsError(f"{path}: diffusers keeps models in folders: name the folder that has {_CONFIG}")
    index = _json(path / "model_index.json") if (path / "model_index.json").is_file() else {}
    parent = path.parent / "model_index.json"
    if not index and path.name == "unet" and parent.is_file():
        index = _json(parent)
    for part in ("vae", "vqvae", "movq", "text_encoder"):
        if part in index:
            raise WeightsError(
                f"{path}: a model of latents ({part} in model_index.json), and a prior is one of pictures: use a model "
                "that was trained on pixels, such as google/ddpm-celebahq-256"
            )
    folder = path if (path / _CONFIG).is_file() else path / "unet"
    if not (folder / _CONFIG).is_file():
        raise WeightsError(f"{path}: a folder without {_CONFIG}: name the folder of a UNet2DModel or of its pipeline")
    settings = {**_unet2d(folder / _CONFIG), **_scheduler(path, folder)}
    for name in _TENSORS:
        if (folder / name).is_file():
            tensors = {legacy(key): tensor for key, tensor in _read(folder / name).items()}
            break
    else:
        raise WeightsError(f"{folder}: neither {_TENSORS[0]} nor {_TENSORS[1]} is there: copy the whole folder")
    outputs = tensors["conv_out.weight"].shape[0] if "conv_out.weight" in tensors else settings["channels"]
    if settings.get("variance") == "learned" and outputs != 2 * settings["channels"]:
        raise WeightsError(f"{folder}: a learned variance needs {2 * settings['channels']} channels out, not {outputs}")
    if outputs == 2 * settings["channels"]:
        settings["variance"] = "learned"
    return "unet2d", settings, tensors


def _unet2d(path: Path) -> dict[str, Any]:
    """Settings of `UNet2D` from the configuration of a UNet2DModel; WeightsError for what that does not have."""
    config = _json(path)
    called = config.get("_class_name", "UNet2DModel")
    if called not in ("UNet2DModel", "UNetUnconditionalModel"):
        raise WeightsError(
            f"{path}: a {called}, and a prior is a UNet2DModel: models with conditions or of latents are none"
        )
    channels = config.get("in_channels", 3)
    _check_channels(path, channels)
    widths = tuple(config.get("block_out_channels", (224, 448, 672, 896)))
    down = config.get("down_block_types", ("DownBlock2D", *("AttnDownBlock2D",) * 3))
    up = config.get("up_block_types", (*("AttnUpBlock2D",) * 3, "UpBlock2D"))
    for key, blocks, plain in (("down_block_types", down, "DownBlock2D"), ("up_block_types", up, "UpBlock2D")):
        for block in blocks:
            if block not in (plain, f"Attn{plain}"):
                hint = "; NCSN++ is converted from its own checkpoint, --from score-sde" if "Skip" in block else ""
                raise WeightsError(f"{path}: {key} names {block}, and {plain} or Attn{plain} can be read{hint}")
        if len(blocks) != len(widths):
            raise WeightsError(f"{path}: {key} names {len(blocks)} depths, block_out_channels {len(widths)}")
    fixed = {
        "time_embedding_type": "positional", "center_input_sample": False, "downsample_type": "conv",
        "upsample_type": "conv", "resnet_time_scale_shift": "default", "act_fn": "silu", "mid_block_scale_factor": 1,
        "class_embed_type": None, "attn_norm_num_groups": None, "mid_block_type": "UNetMidBlock2D",
    }  # fmt: skip
    for key, wanted in fixed.items():
        if config.get(key, wanted) != wanted:
            raise WeightsError(f"{path}: {key} is {config[key]!r}, and only {wanted!r} can be read")
    if config.get("time_embedding_dim") not in (None, 4 * widths[0]):
        raise WeightsError(f"{path}: time_embedding_dim is {config['time_embedding_dim']}, not {4 * widths[0]}")
    shift, padding = config.get("freq_shift", 0), config.get("downsample_padding", 1)
    for key, value in (("freq_shift", shift), ("downsample_padding", padding)):
        if value not in (0, 1):
            raise WeightsError(f"{path}: {key} is {value!r}, and 0 and 1 can be read")
    return {
        "channels": channels,
        "network": {
            "widths": widths,
            "blocks": config.get("layers_per_block", 2),
            "down_attention": [depth for depth, block in enumerate(down) if block.startswith("Attn")],
            "up_attention": sorted(len(up) - 1 - depth for depth, block in enumerate(up) if block.startswith("Attn")),
            "middle_attention": config.get("add_attention", True),
            "head": config.get("attention_head_dim", 8),
            "closed": shift == 1,
            "cosines_first": config.get("flip_sin_to_cos", True),
            "around": padding == 1,
            "groups": config.get("norm_num_groups", 32),
            "epsilon": config.get("norm_eps", 1e-5),
            "dropout": config.get("dropout", 0.0),
        },
    }


def _scheduler(path: Path, folder: Path) -> dict[str, Any]:
    """Settings of the process from the configuration of its scheduler; DDPM's where there is none."""
    places = [path / "scheduler", path, folder, folder.parent / "scheduler"]
    found = [place / "scheduler_config.json" for place in places if (place / "scheduler_config.json").is_file()]
    if not found:
        return {}
    config = _json(found[0])

    def known(key: str, default: str, names: Mapping[str, str]) -> str:
        value = config.get(key) or default
        if value not in names:
            raise WeightsError(f"{found[0]}: {key} is {value!r}, and {', '.join(names)} can be read")
        return names[value]

    alpha = config.get("trained_betas")
    if not alpha and "beta_schedule" not in config:
        raise WeightsError(
            f"{found[0]}: {config.get('_class_name', 'a scheduler')} states no added variances (beta_schedule, "
            "trained_betas), and a prior has those of DDPM's family"
        )
    fixed = {"rescale_betas_zero_snr": False, "thresholding": False, "clip_sample_range": 1.0}
    for key, wanted in fixed.items():
        if config.get(key, wanted) not in (wanted, None):
            raise WeightsError(f"{found[0]}: {key} is {config[key]!r}, and only {wanted!r} can be read")
    return {
        "predicts": known("prediction_type", "epsilon", _PREDICTS),
        "variance": known("variance_type", "fixed_small", _VARIANCES),
        "clip": bool(config.get("clip_sample", True)),
        "bridge": {
            "schedule": "table" if alpha else known("beta_schedule", "linear", _SCHEDULES),
            "steps": len(alpha) if alpha else config.get("num_train_timesteps", 1000),
            "low": config.get("beta_start", 1e-4),
            "high": config.get("beta_end", 0.02),
            "alpha": alpha,
        },
    }


# -- files ------------------------------------------------------------------------------------------------------------


def _published(
    path: Path,
    form: Form,
    name: str | None,
    tensors: Mapping[str, Tensor],
    measured: Mapping[str, Any],
    changes: Sequence[str],
) -> tuple[str, dict[str, Any], bool, str]:
    """Preset, settings, order of attention and name of a published network: the named one, or the one that fits.

    Without a name there is none, for networks of several data sets have the same tensors.
    """
    first = "input_blocks.0.0.weight" if form == "adm" else _first_convolution(tensors)
    if first in tensors:
        _check_channels(path, int(tensors[first].shape[1]))
    rows = PUBLISHED[form]
    if name is not None and name not in rows:
        raise UsageError(f"network {name!r} of {form} is unknown: {_meant(get_close_matches(name, rows, n=1), rows)}")
    channels = int(tensors[first].shape[1]) if first in tensors else 3
    changed = any(change.startswith("network.") for change in changes)
    row = rows[name or _fitting(path, form, tensors, channels, measured, changed=changed)]
    settings = {key: value for key, value in row.items() if key not in ("preset", "thirds")}
    settings["channels"] = channels
    if form == "adm" and "out.2.weight" in tensors:
        learned = tensors["out.2.weight"].shape[0] == 2 * channels
        settings["variance"] = "learned" if learned else "small"
    if _exploding(form, settings):
        settings["bridge"] = {**settings.get("bridge", {}), **measured}
    return row["preset"], settings, bool(row.get("thirds", False)), (name or "").rpartition("/")[2]


def _fitting(
    path: Path,
    form: Form,
    tensors: Mapping[str, Tensor],
    channels: int,
    measured: Mapping[str, Any],
    *,
    changed: bool,
) -> str:
    """The published network with exactly these tensors; WeightsError without one, UsageError where several differ."""
    rows = PUBLISHED[form]
    if changed:
        raise UsageError(f"--set changes a published network: name it too, --network with one of {', '.join(rows)}")
    found: dict[str, str] = {}
    reasons: dict[str, str] = {}
    held = {key: tensor for key, tensor in tensors.items() if key not in ("label_emb.weight", "sigmas")}
    classes = "label_emb.weight" in tensors
    outputs = int(tensors["out.2.weight"].shape[0]) if form == "adm" and "out.2.weight" in tensors else channels
    for name, row in rows.items():
        if form == "adm" and classes == name.endswith(("uncond", "ffhq-256")):
            continue
        problem = _misfit(held, _wanted(form, repr(row["network"]), channels, outputs), form)
        if problem is None:
            found.setdefault(repr({key: value for key, value in row.items() if key != "network"}), name)
        else:
            reasons[name] = problem
    if not found:
        near = min(reasons, key=lambda name: reasons[name].count("lacks"), default=next(iter(rows)))
        raise WeightsError(
            f"{path}: none of the known {form} networks ({', '.join(rows)}): name the nearest with --network, and what "
            f"differs with --set, as in --set network.channels=64 (for {near}: {reasons.get(near, 'other classes')})"
        )
    if len(found) == 1 or not _differ(found.values(), form, measured):
        return next(iter(found.values()))
    raise UsageError(
        f"{path}: {', '.join(found.values())} have these tensors and differ in their process: name one with --network"
    )


def _differ(names: Any, form: Form, measured: Mapping[str, Any]) -> bool:
    """Whether networks differ in more than the noise levels, which the checkpoint states."""
    kinds = set()
    for name in names:
        row = PUBLISHED[form][name]
        process = {**PRESETS[row["preset"]]["bridge"], **row.get("bridge", {})}
        if process["kind"] == "ve":
            process = {**process, **measured}
        kinds.add(repr({**row, "bridge": process, "network": None}))
    return len(kinds) > 1


def _misfit(tensors: Mapping[str, Tensor], wanted: Mapping[str, Tensor], form: Form) -> str | None:
    """What keeps tensors from being those that are wanted; None where they are."""
    try:
        compare(tensors, wanted, form=form, source="")
    except WeightsError as error:
        return str(error).removeprefix(": ").partition(": ")[0]
    return None


@cache
def _wanted(form: Form, settings: str, channels: int, outputs: int) -> dict[str, Tensor]:
    """The official tensors, without numbers, of a network whose settings are written as Python writes them."""
    with torch.device("meta"):
        network = networks.build(ast.literal_eval(settings), in_channels=channels, out_channels=outputs)
        return to_official(network, form=form)


def _state(path: Path, *, form: Form) -> dict[str, Tensor]:
    """The tensors of a file by official names: of score-SDE's checkpoints the moving averages."""
    content = _read(path)
    if form == "score-sde" and "ema" in content and "model" in content:
        return _averages(path, content)
    if "state_dict" in content and isinstance(content["state_dict"], Mapping):
        content = content["state_dict"]
    for key, value in content.items():
        if not isinstance(value, Tensor):
            raise WeightsError(
                f"{path}: {key!r} is no tensor: a checkpoint of a training run? Store the tensors of the model alone, "
                "torch.save(model.state_dict(), FILE)"
            )
    return {key.removeprefix("module."): tensor for key, tensor in content.items()}


def _averages(path: Path, content: Mapping[str, Any]) -> dict[str, Tensor]:
    """The weights that score-SDE samples with: a list in the order of the parameters that are learned."""
    model = content["model"]
    shadows = content["ema"].get("shadow_params") if isinstance(content["ema"], Mapping) else None
    if not isinstance(model, Mapping) or not isinstance(shadows, Sequence):
        raise WeightsError(f"{path}: no checkpoint of score-SDE: it has no model, or no shadow_params in ema")
    tensors = {key.removeprefix("module."): tensor for key, tensor in model.items()}
    learned = [key for key in tensors if key != "sigmas" and not _is_drawn(key, tensors[key])]
    if len(learned) != len(shadows):
        raise WeightsError(f"{path}: {len(shadows)} moving averages for {len(learned)} parameters: copy the file again")
    for key, shadow in zip(learned, shadows, strict=True):
        if shadow.shape != tensors[key].shape:
            raise WeightsError(f"{path}: the moving average of {key!r} has another shape: copy the file again")
        tensors[key] = shadow
    return tensors


def _is_drawn(key: str, tensor: Tensor) -> bool:
    """Whether a parameter is the random rates of the noise level, which are drawn once and never learned."""
    return key.endswith(".W") and tensor.dim() == 1


def _first_convolution(tensors: Mapping[str, Tensor]) -> str:
    """The name of score-SDE's first convolution: after two linear layers, and the random rates where they are."""
    return next((key for key in tensors if key.startswith("all_modules.") and tensors[key].dim() == 4), "")


def _buffers(tensors: dict[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, float]]:
    """The tensors without the table of noise levels, and its ends for pictures in [-1, 1]."""
    sigmas = tensors.pop("sigmas", None)
    if sigmas is None:
        return tensors, {}
    ends = {"low": float(sigmas.min()), "high": float(sigmas.max())}
    # Six digits: the table was computed in one precision and stored in another.
    return tensors, {key: 2.0 * float(f"{value:.6g}") for key, value in ends.items()}


def _without_classes(path: Path, form: Form, tensors: dict[str, Tensor], label: int | None) -> dict[str, Tensor]:
    """The tensors of a network of classes with one of them for good: its embedding is a bias of the time's."""
    key, bias = {
        "adm": ("label_emb.weight", "time_embed.2.bias"),
        "diffusers": ("class_embedding.weight", "time_embedding.linear_2.bias"),
    }.get(form, ("", ""))
    if key not in tensors:
        if label is not None:
            raise UsageError(f"{path}: this network knows no classes: leave class {label} out")
        return tensors
    rows = tensors[key]
    if label is None:
        raise UsageError(f"{path}: a network of {len(rows)} classes: name one, --class 0 to {len(rows) - 1}")
    if not 0 <= label < len(rows):
        raise UsageError(f"{path}: class {label} is outside 0 to {len(rows) - 1}")
    rest = {name: tensor for name, tensor in tensors.items() if name != key}
    if bias in rest and rows.shape[1:] != rest[bias].shape:
        raise WeightsError(f"{path}: tensor {key!r} does not fit {bias!r}: a {form} checkpoint of another network")
    if bias in rest:
        rest[bias] = rest[bias] + rows[label].to(rest[bias].dtype)
    return rest


def _without_variance(tensors: dict[str, Tensor], form: Form, channels: int) -> dict[str, Tensor]:
    """The tensors of a network of mean and variance without what makes the variance, which is not wanted."""
    last = {"adm": "out.2", "diffusers": "conv_out"}.get(form, "")
    names = [name for name in (f"{last}.weight", f"{last}.bias") if name in tensors]
    halved = {name: tensors[name][:channels] for name in names if len(tensors[name]) == 2 * channels}
    return {**tensors, **halved}


def _exploding(form: Form, settings: Mapping[str, Any]) -> bool:
    return form == "score-sde" and settings.get("bridge", {}).get("kind", "ve") == "ve"


def _last(method: ForeignPrior) -> set[str]:
    """Names of the layers whose sign is the sign of the prediction."""
    names = [name for name, _ in method.network.named_parameters()]
    pictures = [name for name in names if name.startswith("pictures.") and ".2." in name]
    return set(pictures or [name for name in names if name.startswith("last.2.")])


def _check_channels(path: Path, channels: Any) -> None:
    if channels not in (1, 3):
        reason = "latents, or of pictures with a condition" if channels in (4, 6, 7) else "no pictures"
        raise WeightsError(f"{path}: {channels} channels in: a model of {reason}; a prior has 1 or 3")


def _changed(settings: Mapping[str, Any], changes: Sequence[str]) -> dict[str, Any]:
    """The settings with changes "KEY=VALUE", KEY with a dot inside a table."""
    tree = {key: dict(value) if isinstance(value, Mapping) else value for key, value in settings.items()}
    for change in changes:
        key, separator, text = change.partition("=")
        if not separator or not key or key.count(".") > 1:
            raise UsageError(f"--set {change!r} is not KEY=VALUE: write for example --set network.channels=64")
        try:
            value = tomllib.loads(f"value = {text}")["value"]
        except tomllib.TOMLDecodeError:
            value = text.strip()
        table, _, inner = key.strip().partition(".")
        if inner:
            tree[table] = {**tree.get(table, {}), inner: value}
        else:
            tree[table] = value
    return tree


def _read(path: Path) -> dict[str, Any]:
    """What a file of tensors holds: safetensors, or a pickle of tensors and plain values."""
    if not path.is_file():
        raise WeightsError(f"{path}: no such file of weights")
    if path.suffix == ".safetensors":
        try:
            return dict(safetensors.load_file(path))
        except (SafetensorError, OSError) as error:
            raise WeightsError(f"{path}: damaged ({error}); copy the file again") from error
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise WeightsError(
            f"{path}: a pickle that is damaged or would run a program when opened, so it is refused: if you trust it, "
            "open it once with torch.load(FILE, weights_only=False) and store its tensors with safetensors"
        ) from error
    except (OSError, RuntimeError, EOFError, ValueError, KeyError, TypeError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise WeightsError(f"{path}: cannot be read as a checkpoint of PyTorch ({reason}): copy it again") from error
    if not isinstance(content, Mapping):
        raise WeightsError(f"{path}: holds a {type(content).__name__}, not tensors by name")
    return dict(content)


def _json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise WeightsError(f"{path}: cannot be read: {error}") from error
    if not isinstance(content, dict):
        raise WeightsError(f"{path}: no table of settings: copy the folder again")
    return content


def _meant(near: Sequence[str], names: Any) -> str:
    return f"did you mean {near[0]!r}?" if near else f"use one of {', '.join(names)}"
