from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Command = Callable[..., Any]


def _keys(text: str) -> set[str]:
    return set(re.findall(r"^@\w+\{(\w+),$", text, re.MULTILINE))


def test_a_name_prints_bibtex(command: Command) -> None:
    outcome = command("cite", "span")
    assert (outcome.status, outcome.lines) == (0, ())
    assert _keys(outcome.out) == {"moser2025survey", "mezzotint", "wan2023span"}
    assert command("cite", "sr3@official").out == command("cite", "sr3").out != outcome.out


def test_json_names_the_parts(command: Command) -> None:
    rows = json.loads(command("cite", "bicubic", "--json").out)
    assert {row["key"]: row["parts"] for row in rows}["keys1981cubic"] == ["method bicubic"]


def test_results_and_records_of_them_are_cited(command: Command, photo: Path, tmp_path: Path) -> None:
    command("upscale", photo, "--method", "lanczos", "-o", tmp_path / "a.png")
    command("upscale", photo, "--method", "bicubic", "-o", tmp_path / "b.webp", "--record", tmp_path / "b.json")
    wanted = {"moser2025survey", "mezzotint"}
    assert _keys(command("cite", tmp_path / "a.png").out) == wanted | {"duchon1979lanczos"}
    assert _keys(command("cite", tmp_path / "b.json").out) == wanted | {"keys1981cubic"}
    outcome = command("cite", tmp_path / "b.webp")
    assert outcome.status == 1 and "b.webp holds no record" in outcome.line and "--record" in outcome.line


def test_figures_are_cited_with_their_measures(command: Command, save: Callable[..., Path], tmp_path: Path) -> None:
    (tmp_path / "set").mkdir()
    save(tmp_path / "set" / "a.png", height=48, width=48)
    command("evaluate", tmp_path / "set", "--method", "lanczos", "--json", tmp_path / "figures.json")
    found = _keys(command("cite", tmp_path / "figures.json").out)
    assert {"duchon1979lanczos", "wang2004ssim", "zhang2018lpips", "lugmayr2021ntire"} <= found


def test_a_name_wins_over_a_file_of_that_name(
    command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "span").write_text("[]")
    monkeypatch.chdir(tmp_path)
    assert "wan2023span" in command("cite", "span").out


@pytest.mark.parametrize(
    "name, content, named",
    [
        ("a.json", "[]", "a.json: this is no record of mezzotint: the list is empty"),
        ("a.json", "{}", "a.json: this is no record"),
        ("a.json", "{", "a.json: this is no record of mezzotint: it is no JSON"),
        ("a.json", "[" * 100_000, "nested too deeply"),
        ("a.json", '{"protocol": "rgb", "methods": {"x": {}}}', "a.json: the method 'x'"),
        ("a.json", b"{\xff}", "a.json is no text in UTF-8"),
        ("a.png", "text", "a.png is not a picture"),
        ("gone.png", None, "gone.png does not exist"),
    ],
)
def test_what_has_no_record_is_one_line(
    command: Command, tmp_path: Path, name: str, content: str | bytes | None, named: str
) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content.encode() if isinstance(content, str) else content)
    outcome = command("cite", tmp_path / name)
    assert (outcome.status, outcome.out) == (1, "") and named in outcome.line


@pytest.mark.parametrize("name, named", [("sr4", "did you mean 'sr3'"), ("sr3@huge", "no preset"), ("a/b", "neither")])
def test_unknown_names_are_wrong_usage(command: Command, name: str, named: str) -> None:
    outcome = command("cite", name)
    assert (outcome.status, outcome.out) == (2, "") and named in outcome.line
