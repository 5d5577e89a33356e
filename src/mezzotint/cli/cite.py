"""`mezzotint cite`: what to cite for a method, a result or figures, as BibTeX."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mezzotint.cli import exits
from mezzotint.cli.messages import Messages, one_line
from mezzotint.errors import InputError, UsageError

if TYPE_CHECKING:
    from mezzotint.methods.citations import Citation


def cite(
    what: Annotated[
        str,
        typer.Argument(
            metavar="FILE|NAME",
            help="A result with its record, a file of records or of figures (evaluate --json), or a name of `methods`.",
        ),
    ],
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the entries as JSON, with the parts that each stands for.")
    ] = False,
) -> int:
    """Print BibTeX of the works that a method or a result is made of: exactly the parts that were used."""
    from mezzotint.methods import citations

    try:
        found = _citations(what)
    except InputError as error:
        Messages().warn(f"mezzotint: {one_line(error)}")
        return exits.FAILED
    print(json.dumps(citations.as_rows(found), indent=2) if as_json else citations.as_bibtex(found))
    return exits.DONE


def _citations(what: str) -> tuple[Citation, ...]:
    """A name of the table is that name, even where a file is called so."""
    from mezzotint.methods import citations, resolve, table

    path = Path(what)
    if what not in [card.name for card in table.cards()] and (path.exists() or path.suffix):
        return _of_file(path)
    spec = resolve(what)
    if spec.method is None:
        raise UsageError(f"{what!r} is neither a file nor a method: see `mezzotint methods` for the names")
    return citations.of_method(spec.method)


def _of_file(path: Path) -> tuple[Citation, ...]:
    from mezzotint.cli.records import is_json, json_text, records_in
    from mezzotint.methods import citations

    try:
        evaluation = _evaluation(json_text(path)) if is_json(path) else None
        return citations.of_records(records_in(path)) if evaluation is None else citations.of_evaluation(evaluation)
    except InputError as error:
        text = str(error)
        raise error if str(path) in text else InputError(f"{path}: {text}") from error


def _evaluation(text: str) -> dict[str, Any] | None:
    """Return the table of an evaluation, None for other JSON and for what is none."""
    try:
        content = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return content if isinstance(content, dict) and {"protocol", "methods"} <= set(content) else None
