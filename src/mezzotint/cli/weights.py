"""`mezzotint weights`: the weights in the package, and checks of files of weights."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mezzotint.cli import exits

app = typer.Typer(help="List and verify weights.", no_args_is_help=False)


@app.callback(invoke_without_command=True)
def default(context: typer.Context) -> None:
    if context.invoked_subcommand is None:
        list_weights()


@app.command("list")
def list_weights() -> None:
    """List the weights in the package: name, size, method, training data and licence."""
    from mezzotint import weights

    for item in weights.shipped():
        size = item.path.stat().st_size / 1e6
        if item.card is None:
            print(f"{item.name}  {size:.2f} MB  a network that measures quality")
        else:
            card = item.card
            print(f"{item.name}  {size:.2f} MB  {card.method} x{card.scale:g}  data: {card.data} ({card.data_licence})")


@app.command("verify")
def verify(
    files: Annotated[
        list[Path] | None, typer.Argument(metavar="[FILE...]", help="Files of weights; those of the package if none.")
    ] = None,
) -> int:
    """Check files of weights: structure, card, digest. Exit status 1 if one is damaged."""
    import sys

    from mezzotint import weights

    results = weights.verify(files or None)
    for result in results:
        if result.problem is None:
            print(f"{result.name}  good  sha256 {result.sha256}")
        else:
            print(f"mezzotint: {result.problem}", file=sys.stderr)
    return exits.FAILED if any(result.problem for result in results) else exits.DONE
