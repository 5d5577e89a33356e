"""`mezzotint opinions`: what people said of pictures, with intervals."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mezzotint.cli import options
from mezzotint.cli.messages import Messages, one_line
from mezzotint.errors import InputError, UsageError

if TYPE_CHECKING:
    from mezzotint.quality.opinions import Ratings, SubjectModel

MODELS = ("mean", "p913", "p910")
TABLES = ("stimulus", "method", "observer")


def opinions(
    file: Annotated[Path, typer.Argument(metavar="FILE.csv", help="Ratings, pairs, or choices of real or generated.")],
    grades: Annotated[
        str, typer.Option("--grades", metavar="LOW,HIGH", help="Ratings: the ends of the scale.")
    ] = "1,5",
    model: Annotated[
        str, typer.Option(metavar="NAME", help="Ratings: mean, p913 (bias of observers), p910 (and inconsistency).")
    ] = "mean",
    screen: Annotated[bool, typer.Option("--screen", help="Ratings: leave out whom ITU-R BT.500 rejects.")] = False,
    reference: Annotated[
        str | None, typer.Option(metavar="METHOD", help="Ratings: scores against this hidden reference.")
    ] = None,
    by: Annotated[
        str | None, typer.Option(metavar="NAME", help="Ratings: a row a stimulus, method or observer.")
    ] = None,
    prior: Annotated[str, typer.Option(metavar="N", help="Pairs: wins that each pair gets beforehand.")] = "0",
    catch: Annotated[
        str | None, typer.Option(metavar="METHOD", help="Choices: what nobody attentive takes for a photograph.")
    ] = None,
    level: Annotated[str, typer.Option(metavar="SHARE", help="Level of the intervals.")] = "0.95",
    output: Annotated[Path | None, typer.Option("-o", "--output", metavar="FILE.csv", help="Write the table.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the table as JSON.")] = False,
) -> None:
    """Print mean opinion scores, strengths of paired comparison or fool rates, with 95 % intervals."""
    options.one_of(model, option="--model", choices=MODELS)
    if by is not None:
        options.one_of(by, option="--by", choices=TABLES)
    share = options.real(level, option="--level", low=0.01, high=0.9999)
    wins = options.real(prior, option="--prior", low=0, high=1e6)
    lowest, highest = _grades(grades)
    if output is not None:
        options.output_file(output, option="--output")

    from mezzotint.images.atomic import write_bytes
    from mezzotint.quality import opinions as study

    try:
        kind = study.kind(file)
        given = {
            "ratings": {
                "--model": model != "mean",
                "--screen": screen,
                "--reference": reference is not None,
                "--by": by is not None,
                "--grades": grades != "1,5",
            },
            "pairs": {"--prior": wins != 0},
            "choices": {"--catch": catch is not None},
        }
        _check_used(given, kind, file)
        if kind == "ratings":
            ratings = study.read_ratings(file, lowest=lowest, highest=highest)
            table, notes = _ratings(ratings, model=model, screen=screen, reference=reference, by=by, level=share)
        elif kind == "pairs":
            table = [asdict(row) for row in study.bradley_terry(study.read_pairs(file), level=share, prior=wins)]
            table, notes = sorted(table, key=lambda row: -row["strength"]), []
        else:
            choices = study.read_choices(file)
            table = [asdict(row) for row in study.fool_rates(choices, level=share, catch=catch)]
            left_out = study.inattentive(choices, catch=catch) if catch is not None else ()
            notes = [f"left out as inattentive: {', '.join(left_out)}"] if left_out else []
        if output is not None:
            write_bytes(output, study.write_rows(table).encode(), overwrite=True)
    except InputError as error:
        raise UsageError(one_line(error)) from None
    if as_json:
        print(json.dumps({"kind": kind, "rows": table, "notes": notes}, indent=2, ensure_ascii=False))
        return
    print(_markdown(table))
    for note in notes:
        Messages().say(f"mezzotint: {note}")


def _grades(text: str) -> tuple[float, float]:
    values = options.reals(text, option="--grades", low=-1e6, high=1e6)
    if len(values) != 2 or not values[0] < values[1]:
        raise UsageError(f"--grades {text} is no scale: name its lower and its upper end, as in --grades 1,5")
    return values[0], values[1]


def _check_used(given: Mapping[str, Mapping[str, bool]], kind: str, file: Path) -> None:
    """Refuse an option that is for another kind of file."""
    for other, names in given.items():
        wrong = next((name for name, is_given in names.items() if is_given and other != kind), None)
        if wrong is not None:
            raise UsageError(f"{wrong} is for {other}, and {file} holds {kind}: leave it out")


def _ratings(
    ratings: Ratings, *, model: str, screen: bool, reference: str | None, by: str | None, level: float
) -> tuple[list[dict[str, Any]], list[str]]:
    """Return the table of ratings and what a reader should know."""
    from mezzotint.quality import opinions as study

    notes: list[str] = []
    bias = dict.fromkeys(ratings.observers, 0.0)
    if reference is not None:
        ratings = study.against_reference(ratings, reference)
    if model == "p913":
        ratings, biases = study.remove_bias(ratings)
        bias = dict(zip(ratings.observers, biases, strict=True))
    found = study.screen(ratings)
    notes += found.notes
    if screen and found.rejected:
        ratings = ratings.without(found.rejected)
        notes.append(f"left out by the screening of BT.500: {', '.join(found.rejected)}")
    fitted = study.fit_subjects(ratings, level=level) if model == "p910" else None
    if fitted is not None:
        notes += fitted.notes
    table = by if by is not None else "method" if ratings.methods and fitted is None else "stimulus"
    if table == "observer":
        return _observers(found, bias=bias, fitted=fitted), notes
    if table == "stimulus":
        opinions = study.mean_opinions(ratings, level=level) if fitted is None else fitted.opinions
    elif fitted is not None:
        raise UsageError("--model p910 has one figure a stimulus: use --by stimulus, or another model")
    else:
        opinions = study.method_opinions(ratings, level=level)
    return [asdict(opinion) for opinion in opinions], notes


def _observers(found: Any, *, bias: Mapping[str, float], fitted: SubjectModel | None) -> list[dict[str, Any]]:
    fits = (
        {}
        if fitted is None
        else {
            name: (one, other)
            for name, one, other in zip(fitted.observers, fitted.bias, fitted.inconsistency, strict=True)
        }
    )
    return [
        {
            "name": name,
            "bias": fits[name][0] if name in fits else bias[name],
            "inconsistency": fits[name][1] if name in fits else None,
            "above": above,
            "below": below,
            "rejected": name in found.rejected,
        }
        for name, above, below in zip(found.observers, found.above, found.below, strict=True)
    ]


def _markdown(table: Sequence[Mapping[str, Any]]) -> str:
    heading = list(table[0])
    lines = ["| " + " | ".join(heading) + " |", "|---|" + "--:|" * (len(heading) - 1)]
    lines += ["| " + " | ".join(_cell(row[key]) for key in heading) + " |" for row in table]
    return "\n".join(lines)


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.4f}" if not math.isclose(value, round(value), abs_tol=1e-12) else f"{value:.0f}"
    return str(value).replace("|", "\\|")
