"""Text files that commands write: whole or not at all."""

from __future__ import annotations

import os
from pathlib import Path

from mezzotint.errors import InputError


def write_text(path: Path, text: str) -> None:
    """Write a text file through a temporary neighbour, so that a reader never sees half of it."""
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        partial.write_text(text, encoding="utf-8")
        partial.replace(path)
    except OSError as error:
        raise InputError(f"{path} cannot be written: {error.strerror or error}") from None
    finally:
        partial.unlink(missing_ok=True)


def emit_text(destination: str, text: str) -> None:
    """Write text to a file, or to stdout where the destination is `-`."""
    if destination == "-":
        print(text)
    else:
        write_text(Path(destination), text + "\n")
