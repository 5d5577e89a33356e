"""Methods: recipes that pick one value on each axis, found by name in one table.

`build` gives an untrained module, `load` one with weights. PyTorch is imported when one of them is called.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mezzotint.errors import MezzotintError, UsageError, WeightsError
from mezzotint.methods.table import Axes, MethodCard, Spec, cards, find, resolve, resolve_function

if TYPE_CHECKING:
    from torch import nn

    from mezzotint.weights import Card

__all__ = [
    "Axes",
    "MethodCard",
    "Spec",
    "build",
    "cards",
    "find",
    "load",
    "load_with_card",
    "resolve",
    "resolve_function",
]


def build(name: str, *, scale: float = 4, preset: str | None = None, config: Mapping[str, Any] | None = None) -> Any:
    """Return the method of a name, untrained; `name` may carry the preset, `sr3@official`.

    `config` changes settings of the preset, as a card or a run file states them. A baseline has neither: what comes
    back is its function. Raises UsageError for an unknown name, preset or setting, and for a scale that the method
    cannot do.
    """
    spec = resolve(name)
    if spec.card is None or spec.weights is not None:
        raise UsageError(f"{name!r} names weights: give them to mezzotint.load, build takes the name of a method")
    if preset is not None and spec.preset not in (None, preset):
        raise UsageError(f"preset {preset!r} contradicts the name {name!r}: give it once")
    return _build(spec.card, scale=scale, preset=preset or spec.preset, config=config)


def load(text: str | Path) -> Any:
    """Return the method that a text means (`resolve`), with its weights and in evaluation mode.

    Raises as `load_with_card`; a baseline comes back as its function.
    """
    spec = _resolve_place(text)
    if spec.card is not None and spec.card.family == "baseline":
        return resolve_function(spec.card)()
    return load_with_card(text)[0]


def load_with_card(text: str | Path) -> tuple[nn.Module, Card]:
    """Return the method that a text means (`resolve`), in evaluation mode, and the card of its weights.

    Raises:
        UsageError: an unknown name, a baseline, or a method that has to be trained first.
        WeightsError: the weights are missing, damaged, or of another method; see `mezzotint.weights.load`.
    """
    import torch

    from mezzotint import weights

    spec = _resolve_place(text)
    if spec.card is not None and spec.card.family == "zero-shot":
        return _restorer(spec, spec.card)
    if spec.weights is not None and not spec.from_hub and spec.method in (None, "prior"):
        from mezzotint.methods import foreign_files

        if foreign_files.is_diffusers(spec.weights):
            return foreign_files.load_folder(spec.weights)
    if spec.weights is None:
        path = _shipped(spec)
    elif spec.from_hub:
        try:
            path = weights.hub(spec.weights)
        except MezzotintError as error:
            raise type(error)(f"there is no file or folder {spec.weights}, and {error}") from error
    else:
        path = weights.resolve(spec.weights)
    tensors, card = weights.load(path, method=spec.method)
    if spec.preset not in (None, card.preset):
        raise WeightsError(f"{path}: weights of the preset {card.preset!r}, not {spec.preset!r}: leave the preset out")
    try:
        row = find(card.method)
    except UsageError as error:
        raise WeightsError(f"{path}: weights of {card.method!r}, unknown to this version: upgrade Mezzotint") from error
    try:
        scale = int(card.scale) if card.scale.is_integer() else card.scale
        # Networks of others have up to half a billion numbers, which need not be drawn to be replaced.
        with torch.device("meta" if row.family == "prior" else "cpu"):
            method = _build(row, scale=scale, preset=card.preset, config=card.config)
    except (UsageError, TypeError, ValueError) as error:
        raise WeightsError(f"{path}: the card does not describe a {row.name} of this version: {error}") from error
    weights.restore(method, tensors, source=path)
    return method.eval(), card


def _restorer(spec: Spec, row: MethodCard) -> tuple[nn.Module, Card]:
    """A zero-shot solver on a prior, the one in the package unless another is named, and the prior's card in the name
    of the solver."""
    from mezzotint.methods.restorer import build_restorer

    if spec.weights is None:
        prior, card = load_with_card("prior")
    else:
        prior, card = load_with_card(f"hub:{spec.weights}" if spec.from_hub else Path(spec.weights))
        if find(card.method).family != "prior":
            raise UsageError(
                f"{spec.weights} holds weights of {card.method}, and {row.name} needs a prior, which knows no small "
                "picture: train one with `mezzotint train training/prior.toml`"
            )
    preset = spec.preset or row.presets[0]
    method = build_restorer(row.name, scale=4, preset=preset, config=None, prior=prior)
    own = {
        "name": f"{row.name}@{preset}", "method": row.name, "preset": preset, "config": method.config,
        "steps_default": method.steps_default,
    }  # fmt: skip
    return method.eval(), card.model_copy(update=own)


def _resolve_place(text: str | Path) -> Spec:
    return resolve(text) if isinstance(text, str) else Spec(method=None, weights=str(text))


def _build(card: MethodCard, *, scale: float, preset: str | None, config: Mapping[str, Any] | None) -> Any:
    if card.family == "baseline":
        if preset is not None or config:
            raise UsageError(f"{card.name} has no presets and no settings")
        return resolve_function(card)()
    chosen = preset if preset is not None else card.presets[0]
    if chosen not in card.presets:
        raise UsageError(f"{card.name} has no preset {chosen!r}: use one of {', '.join(card.presets)}")
    return resolve_function(card)(scale=scale, preset=chosen, config=config)


def _shipped(spec: Spec) -> Path:
    from mezzotint import weights

    assert spec.card is not None
    name = spec.card.name
    if spec.card.weights == "train":
        preset = f"@{spec.preset}" if spec.preset else ""
        raise UsageError(
            f"{name}{preset} has no weights in the package: train it with `mezzotint train RUN.toml` "
            f'(method = "{name}"), then name the folder of the run, {name}:FOLDER'
        )
    if spec.card.family == "baseline":
        raise UsageError(f"{name} is a baseline without weights of its own: mezzotint.load gives it")
    for entry in weights.shipped():
        if entry.card is not None and entry.card.method == name:
            return entry.path
    raise WeightsError(
        f"the weights of {name} are missing from the package: install Mezzotint again, or name a file or folder of "
        f"them, {name}:FOLDER"
    )
