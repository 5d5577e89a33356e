"""Presets: named settings of a method, which a card or a run file may change key by key."""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any, TypeVar

from mezzotint.errors import UsageError

Choice = TypeVar("Choice")

SMALL_UNET: dict[str, Any] = {
    "channels": 48, "multipliers": (1, 1, 1), "blocks": 1, "groups": 8, "middle_attention": False, "patch": 4,
}  # fmt: skip
"""The U-Net of every small preset, so that methods are compared with the same network."""


def settle(
    presets: Mapping[str, Mapping[str, Any]], *, method: str, preset: str, changes: Mapping[str, Any] | None
) -> dict[str, Any]:
    """Return the settings of a preset with changes applied; tables are changed key by key, one level deep.

    Raises UsageError for an unknown preset, and for a key that the preset does not have.
    """
    if preset not in presets:
        raise UsageError(f"{method} has no preset {preset!r}: use one of {', '.join(presets)}")
    settings: dict[str, Any] = {}
    for key, value in presets[preset].items():
        settings[key] = dict(value) if isinstance(value, Mapping) else value
    for key, value in (changes or {}).items():
        _check_key(key, settings, method)
        table = settings[key]
        if not isinstance(table, dict):
            settings[key] = value
        elif isinstance(value, Mapping):
            for inner in value:
                _check_key(inner, table, f"{method}, {key}")
            table.update(value)
        else:
            raise UsageError(f"{method}: setting {key!r} is a table of {', '.join(table)}, not {value!r}")
    return settings


def pick(name: str, value: Any, options: Mapping[Any, Choice]) -> Choice:
    """Return what a setting's value stands for; raises UsageError with the values that there are."""
    if value not in options:
        raise UsageError(f"{name} {value!r} is unknown: use one of {', '.join(map(str, options))}")
    return options[value]


def _check_key(key: str, known: Mapping[str, Any], method: str) -> None:
    if key not in known:
        near = get_close_matches(key, known, n=1)
        way = f"did you mean {near[0]!r}?" if near else f"use one of {', '.join(known)}"
        raise UsageError(f"{method} has no setting {key!r}: {way}")
