from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mezzotint.quality import opinions

Command = Callable[..., Any]
STUDY = Path(__file__).parents[1] / "quality" / "opinions"

RATINGS = """observer,method,source,score
anna,hr,dog,5
anna,sr3,dog,4
anna,bicubic,dog,2
ben,hr,dog,4
ben,sr3,dog,4
ben,bicubic,dog,1
"""
PAIRS = "observer,first,second,choice\nanna,sr3,bicubic,first\nben,sr3,bicubic,first\nben,bicubic,sr3,tie\n"
CHOICES = "observer,method,stimulus,choice\nanna,sr3,dog,generated\nben,sr3,dog,real\nanna,noise,dog,real\n"


@pytest.fixture
def study(tmp_path: Path) -> Callable[[str], Path]:
    def save(text: str) -> Path:
        path = tmp_path / "study.csv"
        path.write_text(text)
        return path

    return save


def test_methods_have_mean_opinions(command: Command, study: Callable[[str], Path]) -> None:
    outcome = command("opinions", study(RATINGS), "--json")
    assert outcome.status == 0
    found = json.loads(outcome.out)
    assert found["kind"] == "ratings"
    assert {row["name"]: row["mean"] for row in found["rows"]} == {"hr": 4.5, "sr3": 4, "bicubic": 1.5}
    lines = command("opinions", study(RATINGS)).out.splitlines()
    assert lines[0] == "| name | mean | deviation | count | low | high |" and "| sr3 | 4 |" in lines[3]
    rows = json.loads(command("opinions", study(RATINGS), "--by", "stimulus", "--json").out)["rows"]
    assert [row["name"] for row in rows] == ["hr/dog", "sr3/dog", "bicubic/dog"]
    rows = json.loads(command("opinions", study(RATINGS), "--reference", "hr", "--json").out)["rows"]
    assert {row["name"]: row["mean"] for row in rows} == {"sr3": 4.5, "bicubic": 2}


def test_tables_are_written(command: Command, study: Callable[[str], Path], tmp_path: Path) -> None:
    assert command("opinions", study(RATINGS), "-o", tmp_path / "mos.csv").status == 0
    with (tmp_path / "mos.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert rows[1]["name"] == "sr3" and float(rows[1]["mean"]) == 4


def test_models_of_observers(command: Command) -> None:
    sample = STUDY / "p910_sample.csv"
    rows = json.loads(command("opinions", sample, "--model", "p910", "--json").out)["rows"]
    assert rows[0]["mean"] == pytest.approx(4.926232, abs=1e-6)
    observers = json.loads(command("opinions", sample, "--model", "p910", "--by", "observer", "--json").out)["rows"]
    assert observers[0]["bias"] == pytest.approx(-0.189852, abs=1e-6)
    assert observers[0]["inconsistency"] == pytest.approx(1.833936, abs=1e-6)
    assert [row["name"] for row in observers if row["rejected"]] == ["o00", "o01"]
    screened = command("opinions", sample, "--screen")
    assert "left out by the screening of BT.500: o00, o01" in screened.line
    kept = opinions.mean_opinions(opinions.read_ratings(sample).without(["o00", "o01"]))
    assert f"{kept[0].mean:.4f}" in screened.out
    biased = json.loads(
        command("opinions", STUDY / "nflx_public.csv", "--model", "p913", "--by", "observer", "--json").out
    )
    assert biased["rows"][0]["bias"] == pytest.approx(-0.190360, abs=1e-6)


def test_pairs_and_choices(command: Command, study: Callable[[str], Path]) -> None:
    found = json.loads(command("opinions", study(PAIRS), "--json").out)
    assert found["kind"] == "pairs" and [row["name"] for row in found["rows"]] == ["sr3", "bicubic"]
    assert found["rows"][0]["wins"] == 2.5
    found = json.loads(command("opinions", study(CHOICES), "--catch", "noise", "--json").out)
    assert found["kind"] == "choices" and found["rows"][0]["share"] == 0.5
    assert 0 < found["rows"][0]["low"] < 0.5 < found["rows"][0]["high"] < 1


@pytest.mark.parametrize(
    ("text", "words", "named"),
    [
        (RATINGS, ["--model", "p900"], "p900"),
        (RATINGS, ["--by", "country"], "country"),
        (RATINGS, ["--by", "method", "--model", "p910"], "--by stimulus"),
        (RATINGS, ["--grades", "5"], "--grades"),
        (RATINGS, ["--grades", "1,3"], "from 1 to 3"),
        (RATINGS, ["--level", "95"], "--level"),
        (RATINGS, ["--reference", "original"], "'original'"),
        (RATINGS, ["--prior", "1"], "--prior is for pairs"),
        (PAIRS, ["--screen"], "--screen is for ratings"),
        (PAIRS, ["--prior", "-1"], "--prior"),
        (PAIRS.replace("tie", "second"), [], "prior"),
        (CHOICES, ["--model", "p910"], "--model is for ratings"),
        (CHOICES, ["--catch", "blur"], "'blur'"),
        (RATINGS.replace(",5", ",x"), [], "line 2"),
        ("observer\nanna\n", [], "study.csv"),
        (RATINGS, ["-o", "no/such/file.csv"], "no/such"),
    ],
)
def test_wrong_usage_is_one_line(
    command: Command, study: Callable[[str], Path], text: str, words: list[str], named: str
) -> None:
    outcome = command("opinions", study(text), *words)
    assert outcome.status == 2 and named in outcome.line and outcome.out == ""


def test_missing_files_are_named(command: Command) -> None:
    outcome = command("opinions", "nowhere.csv")
    assert outcome.status == 2 and "nowhere.csv" in outcome.line
