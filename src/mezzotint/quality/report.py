"""Evaluations as a table for a text, and as one HTML page that needs nothing but itself."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape

from mezzotint.quality import protocols
from mezzotint.quality.evaluation import MEASURES, Evaluation, Measure, MethodFigures

_OTHER = {
    "seconds": Measure("seconds", "s a picture", 2, False),
    "nfe": Measure("nfe", "network calls", 0, None),
    "steps": Measure("steps", "steps", 0, None),
}

_STABILITY = Measure("stability", "stability (levels²)", 2, None, "samples")

_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 72rem; padding: 0 1rem; color: #222; }
table { border-collapse: collapse; margin: 1rem 0; font-variant-numeric: tabular-nums; }
th, td { padding: .25rem .7rem; border-bottom: 1px solid #ddd; text-align: right; white-space: nowrap; }
th:first-child, td:first-child { text-align: left; }
td small { color: #666; }
.best { font-weight: 700; }
svg { max-width: 40rem; display: block; }
svg text { font: 12px system-ui, sans-serif; fill: #222; }
"""


def to_markdown(evaluation: Evaluation) -> str:
    """Return the means as a Markdown table, one row a method, with protocol, scale and set above it.

    Standard deviations over seeds follow a mean as "± s" where there are several seeds. The best mean of a column is
    set in bold.
    """
    columns = _columns(evaluation)
    best = _best(evaluation, columns)
    lines = [
        _headline(evaluation),
        "",
        "| method | " + " | ".join(column.heading for column in columns) + " |",
        "|---|" + "--:|" * len(columns),
    ]
    for name, figures in evaluation["methods"].items():
        cells = []
        for column in columns:
            text = _mean(figures, column, plus_minus=" ± ")
            cells.append(f"**{text}**" if name in best[column.name] else text)
        lines.append(f"| {_cell(name)} | " + " | ".join(cells) + " |")
    rows = _calibration_rows(evaluation)
    if rows:
        lines += ["", "| " + " | ".join(rows[0]) + " |", "|---|" + "--:|" * (len(rows[0]) - 1)]
        lines += ["| " + " | ".join([_cell(row[0]), *row[1:]]) + " |" for row in rows[1:]]
    for name, figures in evaluation["methods"].items():
        lines += [f"\n{_cell(name)}: {note}." for note in figures.get("notes", [])]
    return "\n".join(lines) + "\n"


def to_html(evaluation: Evaluation, *, title: str = "Evaluation") -> str:
    """Return one HTML page: means with 95 % intervals, calibration, PSNR against LPIPS, every picture's figures.

    The page holds its style and its drawing, loads nothing and runs nothing.
    """
    parts = [
        "<!doctype html>",
        '<html lang="en"><head><meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<title>{escape(title)}</title><style>{_STYLE}</style></head><body>",
        f"<h1>{escape(title)}</h1>",
        f"<p>{escape(_headline(evaluation))}</p>",
        "<ol>",
        *(
            f"<li>{escape(step)}</li>"
            for step in protocols.find(evaluation["protocol"]).steps(scale=evaluation["scale"])
        ),
        "</ol>",
        _mean_table(evaluation),
    ]
    rows = _calibration_rows(evaluation)
    if rows:
        parts += ["<h2>Calibration of the samples</h2>", _table(rows[0], rows[1:])]
    parts.append(_scatter(evaluation))
    notes = [
        f"<li>{escape(name)}: {escape(note)}.</li>"
        for name, figures in evaluation["methods"].items()
        for note in figures.get("notes", [])
    ]
    if notes:
        parts += ["<h2>Notes</h2><ul>", *notes, "</ul>"]
    parts.append("<h2>Pictures</h2>")
    parts += [_picture_table(evaluation, column) for column in _columns(evaluation) if column.of == "picture"]
    parts.append("<h2>Settings</h2>")
    parts.append(_settings_table(evaluation))
    parts.append("</body></html>")
    return "\n".join(part for part in parts if part) + "\n"


def _headline(evaluation: Evaluation) -> str:
    data, seeds = evaluation["data"], evaluation["seeds"]
    count = data["images"]
    text = f"{count} {'picture' if count == 1 else 'pictures'}"
    if data["folder"]:
        text += f" of {data['folder']}"
    text += f", x{evaluation['scale']:g}, protocol {evaluation['protocol']}, "
    text += f"seed {seeds[0]}" if len(seeds) == 1 else f"{len(seeds)} seeds"
    sets = evaluation.get("sets")
    if sets:
        side = sets["patch"]
        text += f"; sets of {sets['count']} {'whole pictures' if side is None else f'patches of {side}x{side} pixels'}"
    return text


def _columns(evaluation: Evaluation) -> list[Measure]:
    """Return the measures that occur, in the order of `MEASURES`, then seconds, then what methods report themselves."""
    present = list(dict.fromkeys(key for figures in evaluation["methods"].values() for key in figures.get("mean", {})))
    known = [measure for measure in MEASURES if measure.name in present]
    names = {measure.name for measure in known}
    rest = [key for key in present if key not in names]
    return known + [_OTHER.get(key, Measure(key, key, 4, None)) for key in rest]


def _best(evaluation: Evaluation, columns: Sequence[Measure]) -> dict[str, set[str]]:
    """Return, for each measure, the methods with the best mean as it is printed; none where only one is measured."""
    best: dict[str, set[str]] = {}
    for column in columns:
        best[column.name] = set()
        if column.larger_is_better is None:
            continue
        values = {name: figures.get("mean", {}).get(column.name) for name, figures in evaluation["methods"].items()}
        defined = {name: round(value, column.digits) for name, value in values.items() if value is not None}
        if len(defined) > 1:
            top = max(defined.values()) if column.larger_is_better else min(defined.values())
            best[column.name] = {name for name, value in defined.items() if value == top}
    return best


def _number(value: float | None, digits: int) -> str:
    if value is None:
        return "-"
    return f"{value:.{digits}f}" if math.isfinite(value) else "inf"


def _mean(figures: MethodFigures, column: Measure, *, plus_minus: str) -> str:
    text = _number(figures.get("mean", {}).get(column.name), column.digits)
    deviation = figures.get("std", {}).get(column.name)
    return f"{text}{plus_minus}{_number(deviation, column.digits)}" if deviation else text


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def _calibration_rows(evaluation: Evaluation) -> list[list[str]]:
    """Return a heading and one row a method that drew several samples; nothing where there is none."""
    rows = []
    present = {key for figures in evaluation["methods"].values() for key in figures.get("calibration", {})}
    extra = [measure for measure in (_STABILITY, *MEASURES) if measure.name in present]
    for name, figures in evaluation["methods"].items():
        calibration = figures.get("calibration")
        if calibration:
            bounds = calibration["ratio_ci95"]
            rows.append(
                [
                    name,
                    str(calibration["samples"]),
                    _number(calibration["ratio"], 3),
                    "-" if bounds is None else f"{_number(bounds[0], 3)} to {_number(bounds[1], 3)}",
                    _number(calibration["ideal_ratio"], 3),
                    _number(calibration["rank_correlation"], 3),
                    _number(calibration["diversity"], 2),
                    _number(calibration["sample_mean"].get("psnr"), 4),
                    *(_number(calibration.get(measure.name), measure.digits) for measure in extra),
                ]
            )
    heading = ["method", "samples", "spread² / error²", "95 %", "ideal", "rank correlation", "diversity (levels)"]
    return [[*heading, "PSNR dB of the mean", *(measure.heading for measure in extra)], *rows] if rows else []


def _table(heading: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return an HTML table of plain texts."""
    head = "".join(f"<th>{escape(text)}</th>" for text in heading)
    body = "".join("<tr>" + "".join(f"<td>{escape(text)}</td>" for text in row) + "</tr>" for row in rows)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def _mean_table(evaluation: Evaluation) -> str:
    columns = _columns(evaluation)
    best = _best(evaluation, columns)
    head = "".join(f"<th>{escape(text)}</th>" for text in ["method", *(column.heading for column in columns)])
    rows = []
    for name, figures in evaluation["methods"].items():
        cells = [f"<td>{escape(name)}</td>"]
        for column in columns:
            bounds = figures.get("ci95", {}).get(column.name)
            text = _mean(figures, column, plus_minus=" ± ")
            if bounds is not None:
                low, high = (_number(bound, column.digits) for bound in bounds)
                text += f"<br><small>{low} to {high}</small>"
            mark = ' class="best"' if name in best[column.name] else ""
            cells.append(f"<td{mark}>{text}</td>")
        rows.append("<tr>" + "".join(cells) + "</tr>")
    return (
        f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table>"
        "<p>Under each mean: its 95 % interval by bootstrap over the pictures. ±: standard deviation over seeds.</p>"
    )


def _picture_table(evaluation: Evaluation, column: Measure) -> str:
    """Return one measure's figures of every picture, a row a picture and a column a method."""
    methods = evaluation["methods"]
    names = list(dict.fromkeys(name for figures in methods.values() for name in figures.get("images", {})))
    rows = [
        [
            name,
            *(
                _number(figures.get("images", {}).get(name, {}).get(column.name), column.digits)
                for figures in methods.values()
            ),
        ]
        for name in names
    ]
    summary = f"<summary>{escape(column.heading)}</summary>"
    return f"<details>{summary}{_table(['picture', *methods], rows)}</details>"


def _settings_table(evaluation: Evaluation) -> str:
    rows = [
        [name, ", ".join(f"{key} {value}" for key, value in figures.get("settings", {}).items()) or "-"]
        for name, figures in evaluation["methods"].items()
    ]
    return _table(["method", "settings"], rows)


def _scatter(evaluation: Evaluation) -> str:
    """Return a drawing of PSNR against LPIPS with the methods' names; nothing with fewer than two such methods."""
    points = []
    for name, figures in evaluation["methods"].items():
        distortion, perception = figures.get("mean", {}).get("psnr"), figures.get("mean", {}).get("lpips")
        if distortion is not None and perception is not None and math.isfinite(distortion):
            points.append((name, distortion, perception))
    if len(points) < 2:
        return ""
    width, height, margin = 640.0, 400.0, 60.0
    across, down = _axis([point[1] for point in points]), _axis([point[2] for point in points])

    def place(value: float, axis: tuple[float, float], length: float) -> float:
        return margin + (value - axis[0]) / (axis[1] - axis[0]) * (length - 2 * margin)

    base, end = height - margin, width - margin
    shapes = [
        f'<path d="M{margin} {margin} V{base} H{end}" fill="none" stroke="#888"/>',
        f'<text x="{end}" y="{base + 36}" text-anchor="end">PSNR dB, better to the right</text>',
        f'<text x="{margin}" y="{margin - 16}">LPIPS-AlexNet, better downwards</text>',
    ]
    for value in across:
        shapes.append(
            f'<text x="{place(value, across, width):.1f}" y="{base + 18}" text-anchor="middle">{value:.2f}</text>'
        )
    for value in down:
        y = height - place(value, down, height)
        shapes.append(f'<text x="{margin - 6}" y="{y + 4:.1f}" text-anchor="end">{value:.3f}</text>')
    for name, distortion, perception in points:
        x, y = place(distortion, across, width), height - place(perception, down, height)
        anchor, shift = ("end", -8) if x > width / 2 else ("start", 8)
        shapes.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4" fill="#1f5fa8"/>')
        shapes.append(f'<text x="{x + shift:.1f}" y="{y + 4:.1f}" text-anchor="{anchor}">{escape(name)}</text>')
    return (
        "<h2>Distortion and perception</h2>"
        f'<svg viewBox="0 0 {width:g} {height:g}" role="img" aria-label="PSNR against LPIPS">{"".join(shapes)}</svg>'
    )


def _axis(values: Sequence[float]) -> tuple[float, float]:
    """Return the ends of an axis with a tenth of room on either side, never empty."""
    low, high = min(values), max(values)
    room = 0.1 * (high - low) or 0.05 * abs(high) or 1.0
    return low - room, high + room
