"""Mezzotint: image super-resolution with diffusion models.

    upscaler = mezzotint.load("mezzotint-x4")
    result = upscaler("photo.png", scale=4, seed=0)

Importing the package imports nothing heavy; its parts load at first use.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mezzotint import noise, quality, testing
    from mezzotint.methods import build
    from mezzotint.upscaler import load

__version__ = "0.1.0"

__all__ = ["__version__", "build", "load", "noise", "quality", "testing"]

_PARTS = {"load": "mezzotint.upscaler", "build": "mezzotint.methods"}
_MODULES = ("noise", "quality", "testing")


def __getattr__(name: str) -> Any:
    if name in _PARTS:
        return getattr(import_module(_PARTS[name]), name)
    if name in _MODULES:
        return import_module(f"mezzotint.{name}")
    raise AttributeError(f"module 'mezzotint' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
