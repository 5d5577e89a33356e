"""The one door to libvips: what it may do in this process is settled here."""

from __future__ import annotations

import os
from functools import lru_cache
from types import ModuleType

from mezzotint.errors import InputError


@lru_cache(maxsize=1)
def _load() -> tuple[ModuleType, int]:
    import pyvips

    # The operation cache is keyed by arguments, not by content: it returns old pixels of a replaced file.
    pyvips.cache_set_max(0)
    # Loaders that libvips itself calls unfit for files of unknown origin.
    pyvips.block_untrusted_set(True)
    return pyvips, os.getpid()


def libvips() -> ModuleType:
    """The module `pyvips` with its cache off and its untrusted loaders blocked; loaded on the first call.

    Raises InputError in a process that was forked after the first call: the worker threads of libvips do
    not survive a fork, and the next picture would wait for them for ever.
    """
    pyvips, process = _load()
    if os.getpid() != process:
        raise InputError(
            f"process {os.getpid()} was forked from process {process} after that one had opened pictures, "
            "and libvips would hang here: start workers by spawn, or open pictures before the fork only"
        )
    return pyvips


def one_line(error: Exception) -> str:
    """The telling part of an error of libvips, on one line."""
    lines = [line.strip() for line in str(error).splitlines()]
    for line in lines:
        if line and not line.startswith("unable to ") and "load error" not in line:
            return line
    return lines[0] if lines and lines[0] else type(error).__name__
