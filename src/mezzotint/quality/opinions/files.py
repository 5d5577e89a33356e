"""Opinions as CSV files, UTF-8 with a heading: what comes in from a study, and the tables that go out.

Ratings, long: `observer,stimulus,score`, or `observer,method,source,score`, one row a score; or wide: `stimulus` (or
`method` and `source`) and one column for each observer, empty where one did not rate. Pairs: `observer,first,second,
choice`, the choice `first`, `second` or `tie`; the observer may be left out. Forced choice: `observer,method,stimulus,
choice`, the choice `generated` or `real`. Further columns are refused: they might be meant.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, is_dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mezzotint.errors import InputError
from mezzotint.quality.opinions.choices import Choice, Choices
from mezzotint.quality.opinions.pairs import Pairs
from mezzotint.quality.opinions.ratings import Ratings

_SHARES = {"first": 1.0, "second": 0.0, "tie": 0.5}
_CHOICES = {"generated": True, "real": False}


def kind(path: str | Path) -> str:
    """Return "ratings", "pairs" or "choices" as the heading of a file says; raises InputError for another file."""
    heading = set(_read(Path(path))[0])
    if "choice" in heading:
        return "pairs" if "first" in heading else "choices"
    return "ratings"


def read_ratings(path: str | Path, *, lowest: float = 1, highest: float = 5) -> Ratings:
    """Return the ratings of a file, long or wide, on the scale from lowest to highest.

    Raises InputError, with the line, for a score that is no number and for two scores of one stimulus by one observer;
    and what `Ratings` refuses.
    """
    path = Path(path)
    heading, rows = _read(path)
    long = {"observer", "score"} <= set(heading)
    named = ("method", "source") if "method" in heading or "source" in heading else ("stimulus",)
    fixed = (*named, "observer", "score") if long else named
    _check_heading(path, heading, fixed, more=not long)
    observers = () if long else tuple(name for name in heading if name not in named)
    found: dict[tuple[str, ...], dict[str, float]] = {}
    for line, row in rows:
        key = tuple(row[name] for name in named)
        given = {row["observer"]: row["score"]} if long else {name: row[name] for name in observers}
        if not long and key in found:
            raise InputError(f"{path}, line {line}: {' '.join(key)!r} is there twice: names must differ")
        of_stimulus = found.setdefault(key, {})
        for observer, text in given.items():
            if not long and text.lower() in ("", "nan"):
                continue
            if observer in of_stimulus:
                raise InputError(
                    f"{path}, line {line}: {observer!r} has rated {' '.join(key)!r} twice: keep one score, or give "
                    "the second showing a name of its own"
                )
            of_stimulus[observer] = _number(path, line, text)
    observers = observers or tuple(dict.fromkeys(name for scores in found.values() for name in scores))
    table = np.array([[scores.get(name, math.nan) for name in observers] for scores in found.values()])
    pictured = named == ("method", "source")
    try:
        return Ratings(
            stimuli=tuple("/".join(key) for key in found),
            observers=observers,
            scores=table.reshape(len(found), len(observers)),
            lowest=lowest,
            highest=highest,
            methods=tuple(key[0] for key in found) if pictured else (),
            sources=tuple(key[1] for key in found) if pictured else (),
        )
    except InputError as error:
        raise InputError(f"{path}: {error}") from None


def read_pairs(path: str | Path) -> Pairs:
    """Return the comparisons of a file; raises InputError, with the line, for a choice that is none."""
    path = Path(path)
    heading, rows = _read(path)
    _check_heading(path, heading, ("first", "second", "choice"), optional=("observer",))
    shares = []
    for line, row in rows:
        share = _one_of(path, line, row["choice"], _SHARES)
        if row["first"] == row["second"]:
            raise InputError(f"{path}, line {line}: {row['first']!r} was compared with itself: leave that row out")
        shares.append((row["first"], row["second"], share))
    return Pairs.of(shares)


def read_choices(path: str | Path) -> Choices:
    """Return the trials of a file; raises InputError, with the line, for a choice that is none."""
    path = Path(path)
    heading, rows = _read(path)
    _check_heading(path, heading, ("observer", "method", "stimulus", "choice"))
    return Choices(
        tuple(
            Choice(row["observer"], row["method"], row["stimulus"], _one_of(path, line, row["choice"], _CHOICES))
            for line, row in rows
        )
    )


def write_rows(rows: Sequence[Any]) -> str:
    """Return dataclasses, or mappings, of one kind as the text of a CSV file: a heading, then a row each.

    None is an empty field; numbers are written so that they read back as they were.
    """
    tables = [_fields(row) for row in rows]
    if not tables:
        return ""
    text = io.StringIO()
    writer = csv.DictWriter(text, fieldnames=list(tables[0]), lineterminator="\n")
    writer.writeheader()
    for table in tables:
        writer.writerow({key: "" if value is None else value for key, value in table.items()})
    return text.getvalue()


def _fields(row: Any) -> Mapping[str, Any]:
    if is_dataclass(row) and not isinstance(row, type):
        return asdict(row)
    assert isinstance(row, Mapping)
    return row


def _read(path: Path) -> tuple[list[str], list[tuple[int, dict[str, str]]]]:
    """Return the heading and the rows with the numbers of their lines; fields without the space around them."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file, strict=True)
            lines = [(reader.line_num, [field.strip() for field in fields]) for fields in reader if any(fields)]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        reason = getattr(error, "strerror", None) or error
        raise InputError(f"{path} cannot be read as CSV: {reason}") from None
    if len(lines) < 2:
        raise InputError(f"{path} holds no rows: give a heading and at least one row")
    heading = lines[0][1]
    double = next((name for name in heading if heading.count(name) > 1), None)
    if double is not None:
        raise InputError(f"{path} has two columns {double!r}: names must differ")
    rows = []
    for number, fields in lines[1:]:
        if len(fields) != len(heading):
            raise InputError(f"{path}, line {number}: {len(fields)} fields where the heading has {len(heading)}")
        rows.append((number, dict(zip(heading, fields, strict=True))))
    return heading, rows


def _check_heading(
    path: Path, heading: Sequence[str], wanted: Sequence[str], *, optional: Sequence[str] = (), more: bool = False
) -> None:
    missing = next((name for name in wanted if name not in heading), None)
    if missing is not None or (more and len(heading) == len(wanted)):
        columns = ", ".join(wanted) + (" and one for each observer" if more else "")
        raise InputError(
            f"{path} has the columns {', '.join(heading)}, without {missing or 'observers'}: give {columns}"
        )
    extra = next((name for name in heading if name not in (*wanted, *optional)), None)
    if extra is not None and not more:
        raise InputError(f"{path} has the unknown column {extra!r}: use {', '.join((*wanted, *optional))}")


def _number(path: Path, line: int, text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise InputError(f"{path}, line {line}: the score {text!r} is not a number: correct it, or leave the row out")
    return value


def _one_of(path: Path, line: int, text: str, known: Mapping[str, Any]) -> Any:
    if text not in known:
        raise InputError(f"{path}, line {line}: the choice {text!r} is unknown: use {', '.join(known)}")
    return known[text]
