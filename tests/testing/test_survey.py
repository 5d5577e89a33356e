"""docs/survey.md is what the table says, and the table names only what exists."""

from __future__ import annotations

import ast
from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest

from mezzotint import methods
from mezzotint.testing import survey
from mezzotint.testing.survey import IDEAS, Idea

REPOSITORY = Path(__file__).resolve().parents[2]


@cache
def found_in(path: str) -> set[str]:
    file = REPOSITORY / path
    if not file.is_file():
        return set()
    return {node.name for node in ast.parse(file.read_text(encoding="utf-8")).body if isinstance(node, ast.FunctionDef)}


def faults(idea: Idea) -> list[str]:
    """What is wrong with a row, its tests included."""
    missing = []
    for place in idea.tests:
        path, _, name = place.partition("::")
        if not name.startswith("test_") or name not in found_in(path):
            missing.append(f"test {place!r} does not exist")
    return survey.faults(idea) + missing


@pytest.mark.parametrize("idea", IDEAS, ids=lambda idea: f"{idea.section} {idea.name}")
def test_a_row_names_what_exists(idea: Idea) -> None:
    assert faults(idea) == []


def test_the_page_is_that_of_the_table() -> None:
    page = (REPOSITORY / "docs" / "survey.md").read_text(encoding="utf-8")
    assert page == "\n".join(survey.page()) + "\n", f"docs/survey.md is old: run {survey.COMMAND}"
    assert all(page.count(f"\n| {idea.name.replace('|', chr(92) + '|')} |") == 1 for idea in IDEAS)


def test_every_chapter_has_rows() -> None:
    for chapter in survey.SECTIONS:
        assert any(idea.section == chapter for idea in IDEAS), chapter


def test_every_method_of_the_survey_has_one_row() -> None:
    named = [method for idea in IDEAS for method in idea.methods]
    assert len(named) == len(set(named))
    assert {card.name for card in methods.cards() if card.survey_section} <= set(named)


SOUND = next(idea for idea in IDEAS if idea.methods == ("sr3",))
LATER = Idea("5", "Later", methods=("a-method-to-come",), not_yet="5")


@pytest.mark.parametrize(
    ("idea", "fault"),
    [
        (replace(SOUND, functions=(), tests=()), "neither a function and a test"),
        (replace(SOUND, functions=()), "neither a function and a test"),
        (replace(SOUND, tests=()), "neither a function and a test"),
        (replace(SOUND, functions=("mezzotint.bridges:Nothing",)), "'mezzotint.bridges:Nothing' does not exist"),
        (replace(SOUND, functions=("mezzotint.bridges:VP.nothing",)), "'mezzotint.bridges:VP.nothing' does not exist"),
        (replace(SOUND, functions=("mezzotint.nothing.here:f",)), "'mezzotint.nothing.here:f' does not exist"),
        (replace(SOUND, tests=("tests/test_bridges.py::test_nothing",)), "test_nothing' does not exist"),
        (replace(SOUND, tests=("tests/test_nothing.py::test_a",)), "test_a' does not exist"),
        (replace(SOUND, tests=("tests/test_bridges.py::posterior",)), "posterior' does not exist"),
        (replace(SOUND, methods=("sr33",)), "'sr33' is not in the table"),
        (replace(SOUND, section="4.3"), "belongs to section 4.4"),
        (replace(SOUND, section="7"), "section '7' is no chapter"),
        (replace(LATER, methods=("sr3",)), "sr3 exists by now"),
        (replace(LATER, functions=("mezzotint.guidance",)), "mezzotint.guidance exists by now"),
        (replace(LATER, functions=("mezzotint.guidance:classifier",)), "classifier exists by now"),
        (replace(LATER, methods=()), "names the function or the method to come"),
        (replace(LATER, tests=SOUND.tests), "and no tests"),
        (replace(LATER, not_yet="6"), "chapter '6' is none of"),
    ],
)
def test_a_wrong_row_is_found(idea: Idea, fault: str) -> None:
    assert any(fault in found for found in faults(idea)), faults(idea)


def test_a_row_to_come_is_sound_while_it_is_not_there() -> None:
    assert faults(LATER) == []
    assert faults(replace(LATER, functions=("mezzotint.guidance:nothing", "mezzotint.no.such"))) == []
