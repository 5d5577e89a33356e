"""docs/oracles.md is what the code says: same tables, rows and columns, and every figure within its limit."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import re
from pathlib import Path

import pytest

from mezzotint import operators
from mezzotint.testing import oracles

PAGE = Path(__file__).resolve().parents[2] / "docs" / "oracles.md"
TABLES = oracles.tables()
STALE = f"docs/oracles.md is not what the code says: run {oracles.COMMAND}"


def cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip("|").split("|")]


def committed() -> dict[str, list[list[str]]]:
    """The rows of every table of the committed page, the head first, by the title of its section."""
    found: dict[str, list[list[str]]] = {}
    title = ""
    for line in PAGE.read_text(encoding="utf-8").splitlines():
        if line.startswith("## "):
            title = line.removeprefix("## ")
            found[title] = []
        elif line.startswith("|") and not line.startswith("|---"):
            found[title].append(cells(line))
    return found


def test_the_words_of_the_page_are_those_of_the_code() -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert list(committed()) == [table.title for table in TABLES], STALE
    for table in TABLES:
        text = "\n".join(oracles.wrapped(table.text))
        assert f"## {table.title}\n\n{text}\n\n|" in page, STALE
    assert oracles.COMMAND in page


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.title)
def test_rows_columns_and_figures(table: oracles.Table) -> None:
    head, *rows = committed()[table.title]
    assert head == [table.part, *map(oracles.heading, table.columns)], STALE
    assert [row[0] for row in rows] == list(table.rows), STALE
    for name, *figures in rows:
        for column, text in zip(table.columns, figures, strict=True):
            reason = table.absent(name, column.name)
            if reason:
                assert text == reason, f"{STALE} ({name}, {column.name})"
            else:
                assert re.fullmatch(r"0|\d\.\d\d|\d\.\de-\d\d", text), f"{STALE} ({name}, {column.name})"
                assert 0.0 <= float(text) <= column.threshold, (name, column.name, text)


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.title)
def test_a_sample_of_the_figures_is_measured_again(table: oracles.Table) -> None:
    """The last row and others: the figures that the page has, within their limits here too."""
    for row in {table.rows[len(table.rows) // 2], table.rows[-1]}:
        found = table.measure(row)
        assert set(found) == {column.name for column in table.columns if not table.absent(row, column.name)}
        for column in table.columns:
            assert column.name not in found or 0.0 <= found[column.name] <= column.threshold, (row, column.name)


def test_every_linear_operator_has_a_row() -> None:
    measured = {type(build()) for build in oracles.OPERATORS.values()}
    found = set()
    for module in pkgutil.iter_modules(operators.__path__, f"{operators.__name__}."):
        for _, part in inspect.getmembers(importlib.import_module(module.name), inspect.isclass):
            is_linear = all(hasattr(part, name) for name in ("A", "At", "pinv", "project_null"))
            if is_linear and part.__module__ == module.name and not inspect.isabstract(part):
                found.add(part)
    assert found and found == measured, "a linear operator has no row in mezzotint.testing.oracles.OPERATORS"


def test_a_cell_that_is_neither_figure_nor_reason_is_refused() -> None:
    column = oracles.Column("error", 1e-9)
    nothing = oracles.Table("T", "", "part", ("p",), (column,), lambda row: {})
    with pytest.raises(AssertionError, match="T: p, error: a figure is stated"):
        list(nothing.lines())
    both = oracles.Table("T", "", "part", ("p",), (column,), lambda row: {"error": 0.0}, lambda row, column: "-")
    with pytest.raises(AssertionError, match="T: p, error: - is stated"):
        list(both.lines())
    right = oracles.Table("T", "", "part", ("p",), (column,), lambda row: {"error": 2.34e-12})
    assert list(right.lines()) == ["| part | error ≤ 1e-09 |", "|---|--:|", "| p | 2.3e-12 |"]
