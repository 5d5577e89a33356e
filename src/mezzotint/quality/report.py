"""Evaluations as a table for a text, and as one HTML page that needs nothing but itself."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from html import escape
from typing import Any

import numpy as np

from mezzotint.quality import charts, protocols
from mezzotint.quality.charts import Point
from mezzotint.quality.evaluation import MEASURES, Evaluation, Measure, MethodFigures
from mezzotint.quality.gallery import ERROR_GAIN, Gallery, Shown, error_map, perceptual_map

EXTREMES = 3
"""How many of the worst and how many of the best pictures a report shows."""

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
.wide { overflow-x: auto; }
.settings td:last-child, .settings th:last-child { text-align: left; white-space: normal; overflow-wrap: anywhere; }
svg { width: 100%; display: block; }
img { image-rendering: pixelated; display: block; }
.crops { overflow-x: auto; }
.crops td, .crops th { padding: .15rem; border: 0; text-align: left; }
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


def to_html(evaluation: Evaluation, *, title: str = "Evaluation", gallery: Gallery | None = None) -> str:
    """Return one HTML page: means with 95 % intervals, calibration, PSNR against LPIPS, every picture's figures.

    Methods that were run with several steps or realisms get curves. gallery: crops that were kept while the evaluation
    ran; the page then shows the worst and the best pictures of all methods beside their errors. The page holds its
    style, drawings and pictures, loads nothing and runs nothing.
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
    parts += [_scatter(evaluation), _curves(evaluation)]
    if gallery is not None:
        parts.append(_gallery(evaluation, gallery))
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
                    _number(calibration["stated_ratio"], 3),
                    _number(calibration["ideal_ratio"], 3),
                    _number(calibration["rank_correlation"], 3),
                    _number(calibration["diversity"], 2),
                    _number(calibration["sample_mean"].get("psnr"), 4),
                    *(_number(calibration.get(measure.name), measure.digits) for measure in extra),
                ]
            )
    heading = ["method", "samples", "spread² / error²", "95 %", "as stated", "ideal", "rank correlation"]
    heading += ["diversity (levels)", "PSNR dB of the mean"]
    return [[*heading, *(measure.heading for measure in extra)], *rows] if rows else []


def _table(heading: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return an HTML table of plain texts."""
    head = "".join(f"<th>{escape(text)}</th>" for text in heading)
    body = "".join("<tr>" + "".join(f"<td>{escape(text)}</td>" for text in row) + "</tr>" for row in rows)
    return f'<div class="wide"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'


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
        f'<div class="wide"><table><thead><tr>{head}</tr></thead><tbody>{"".join(rows)}</tbody></table></div>'
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
    rows = []
    for name, figures in evaluation["methods"].items():
        given = [f"{key} {value}" for key, value in figures.get("settings", {}).items() if value is not None]
        rows.append([name, ", ".join(given) or "-"])
    return f'<div class="settings">{_table(["method", "settings"], rows)}</div>'


def _scatter(evaluation: Evaluation) -> str:
    """Return a drawing of PSNR against LPIPS with the methods' names; nothing with fewer than two such methods."""
    points = {}
    for name, figures in evaluation["methods"].items():
        distortion, perception = figures.get("mean", {}).get("psnr"), figures.get("mean", {}).get("lpips")
        if distortion is not None and perception is not None and math.isfinite(distortion):
            points[name] = Point(distortion, perception)
    if len(points) < 2:
        return ""
    drawing = charts.scatter(
        points,
        label="PSNR against LPIPS",
        across="PSNR dB, better to the right",
        up="LPIPS-AlexNet, better downwards",
        digits=(2, 3),
    )
    return "<h2>Distortion and perception</h2>" + drawing


def _curves(evaluation: Evaluation) -> str:
    """Return drawings of the measures over the steps and over the realism, for methods that were run with several."""
    parts = []
    for setting in ("steps", "realism"):
        families = _families(evaluation, setting)
        drawings = [_curve(evaluation, families, setting, measure) for measure in MEASURES if measure.of != "samples"]
        drawings = [drawing for drawing in drawings if drawing]
        if drawings:
            parts += [f"<h2>Over the {setting}</h2>", *drawings]
    return "".join(parts)


def _families(evaluation: Evaluation, setting: str) -> dict[str, list[tuple[float, str]]]:
    """Return the methods that differ in one setting alone, each family under its name, in the setting's order."""
    families: dict[str, list[tuple[float, str]]] = {}
    for name, figures in evaluation["methods"].items():
        value = figures.get("settings", {}).get(setting)
        if isinstance(value, int | float):
            family = re.sub(rf" {setting} [^ ]+", "", name)
            families.setdefault(family, []).append((float(value), name))
    return {name: sorted(rows) for name, rows in families.items() if len({value for value, _ in rows}) > 1}


def _curve(evaluation: Evaluation, families: dict[str, list[tuple[float, str]]], setting: str, measure: Measure) -> str:
    series = {}
    for family, rows in families.items():
        points = []
        for value, name in rows:
            figures = evaluation["methods"][name]
            mean, bounds = figures.get("mean", {}).get(measure.name), figures.get("ci95", {}).get(measure.name)
            if mean is not None and math.isfinite(mean):
                low, high = bounds if bounds is not None and all(map(math.isfinite, bounds)) else (None, None)
                points.append(Point(value, mean, low, high))
        if len(points) > 1:
            series[family] = points
    if not series:
        return ""
    better = {True: ", better upwards", False: ", better downwards", None: ""}[measure.larger_is_better]
    return charts.lines(
        series,
        label=f"{measure.heading} over the {setting}",
        across=setting,
        up=measure.heading + better,
        digits=(2 if setting == "realism" else 1, measure.digits),
    )


def _gallery(evaluation: Evaluation, gallery: Gallery) -> str:
    """Return the worst and the best pictures of the best method: crops of all methods, their errors, LPIPS maps."""
    ranked = _ranked(evaluation)
    if ranked is None:
        return ""
    method, measure, names = ranked
    names = [name for name in names if name in gallery.pictures]
    count = min(EXTREMES, (len(names) + 1) // 2)
    groups = (("worst", names[:count]), ("best", [name for name in names[::-1][:count] if name not in names[:count]]))
    parts = [
        "<h2>Worst and best pictures</h2>",
        f"<p>By {escape(measure.heading)} of {escape(method)}. Crops where the true picture has most detail, the first "
        f"seed of each method; below them the error, white from {255 // ERROR_GAIN} levels, and where LPIPS sees it, "
        "white from 1.</p>",
    ]
    for word, group in groups:
        for name in group:
            figures = {key: rows.get("images", {}).get(name, {}) for key, rows in evaluation["methods"].items()}
            parts.append(f"<h3>{escape(name)}, {word}</h3>")
            parts.append(_crops(gallery.pictures[name], figures))
    return "".join(parts) if names else ""


def _ranked(evaluation: Evaluation) -> tuple[str, Measure, list[str]] | None:
    """Return the best method by LPIPS, or by PSNR without it, that measure, and its pictures from worst to best."""
    for key in ("lpips", "psnr"):
        measure = next(measure for measure in MEASURES if measure.name == key)
        sign = 1 if measure.larger_is_better else -1
        means = {
            name: sign * value
            for name, figures in evaluation["methods"].items()
            if (value := figures.get("mean", {}).get(key)) is not None
        }
        if means:
            method = max(means, key=means.__getitem__)
            images = evaluation["methods"][method].get("images", {})
            found = {name: sign * row[key] for name, row in images.items() if row.get(key) is not None}
            return method, measure, sorted(found, key=found.__getitem__)
    return None


def _crops(shown: Shown, figures: dict[str, dict[str, Any]]) -> str:
    """Return a table of crops: a column for the true picture and for each method, rows of pictures and of maps."""
    head, pictures, errors, maps = ["true"], [_image(shown.reference, "true")], [""], [""]
    for name, result in shown.results.items():
        numbers = [
            f"{measure.heading} {_number(figures.get(name, {}).get(measure.name), measure.digits)}"
            for measure in MEASURES
            if measure.name in ("psnr", "lpips")
        ]
        head.append(f"{escape(name)}<br><small>{', '.join(numbers)}</small>")
        pictures.append(_image(result, name))
        errors.append(_image(error_map(shown.reference, result), f"error of {name}"))
        found = perceptual_map(shown.reference, result)
        maps.append("" if found is None else _image(found, f"LPIPS of {name}"))
    rows = [pictures, errors, *([maps] if any(maps) else [])]
    body = "".join("<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>" for row in rows)
    return (
        '<div class="crops"><table><thead><tr>'
        + "".join(f"<th>{text}</th>" for text in head)
        + f"</tr></thead><tbody>{body}</tbody></table></div>"
    )


def _image(pixels: np.ndarray, text: str) -> str:
    height, width = pixels.shape[:2]
    return f'<img src="{charts.png(pixels)}" width="{2 * width}" height="{2 * height}" alt="{escape(text)}">'
