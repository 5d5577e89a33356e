"""`mezzotint methods`: what can be named with --method."""

from __future__ import annotations

import json
from typing import Annotated

import typer


def methods(
    name: Annotated[str | None, typer.Argument(metavar="[NAME]", help="Show only this one, in full.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the list as JSON.")] = False,
) -> None:
    """List the methods, or show one of them."""
    from mezzotint.methods import table

    cards = [table.find(name)] if name is not None else list(table.cards())
    if as_json:
        print(json.dumps([card.as_row() for card in cards], indent=2))
    elif name is not None:
        _show(cards[0].as_row())
    else:
        _list([card.as_row() for card in cards])


def _show(row: dict[str, object]) -> None:
    width = max(len(key) for key in row)
    for key, value in row.items():
        if key == "solver":
            if value is None:
                continue
            assert isinstance(value, dict)
            value = "; ".join(_facts(value))
        elif isinstance(value, dict):
            value = ", ".join(f"{k} {v}" for k, v in value.items() if v)
        elif isinstance(value, (list, tuple)):
            value = ", ".join(str(v) for v in value)
        print(f"{key.replace('_', ' '):<{width}}  {value}")


def _facts(solver: dict[str, object]) -> list[str]:
    """What a solver takes and gives, in words."""
    return [
        f"evaluations a step: {solver['cost']}",
        "looks through the network" if solver["gradients"] else "needs no gradients",
        "needs singular vectors, which every named operator has" if solver["singular"] else "any operator",
        "for pictures with noise too" if solver["noise"] else "for pictures without noise",
        "fits them exactly where there is none" if solver["fits"] else "fits them approximately",
    ]


def _list(rows: list[dict[str, object]]) -> None:
    columns = ("name", "family", "scales", "weights", "paper")
    cells = [[_cell(row[column]) for column in columns] for row in rows]
    widths = [max(len(line[k]) for line in [list(columns), *cells]) for k in range(len(columns))]
    for line in [list(columns), *cells]:
        print("  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)).rstrip())


def _cell(value: object) -> str:
    if isinstance(value, (list, tuple)):
        return ", ".join(str(v) for v in value)
    return "" if value is None else str(value)
