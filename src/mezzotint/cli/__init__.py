"""The command `mezzotint`: options in, one-line messages and an exit status out.

Importing it costs neither torch nor pydantic; each command imports what it needs when it runs.
"""

from __future__ import annotations

from mezzotint.cli.exits import main

__all__ = ["main"]
