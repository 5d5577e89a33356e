from __future__ import annotations

import csv
import io
from pathlib import Path

import numpy as np
import pytest

from mezzotint.errors import InputError
from mezzotint.quality.opinions import (
    bradley_terry,
    kind,
    mean_opinions,
    read_choices,
    read_pairs,
    read_ratings,
    write_rows,
)

LONG = "observer,stimulus,score\nanna,a,4\nben,a,3\nanna,b, 2 \n"
WIDE = "stimulus,anna,ben\na,4,3\nb,2,\n"
PICTURED = "observer,method,source,score\nanna,sr3,dog,4\nanna,hr,dog,5\n"
PAIRS = "observer,first,second,choice\nanna,x,y,first\nben,x,y,tie\nben,y,x,first\n"
CHOICES = "observer,method,stimulus,choice\nanna,sr3,dog,generated\nanna,sr3,cat,real\n"


@pytest.fixture
def save(tmp_path: Path):
    def write(text: str) -> Path:
        path = tmp_path / "study.csv"
        path.write_text(text, encoding="utf-8")
        return path

    return write


@pytest.mark.parametrize(
    "text", [LONG, WIDE, "\ufeff" + WIDE, LONG.replace("\n", "\r\n"), WIDE.replace(",\n", ",nan\n")]
)
def test_long_and_wide_tables_are_the_same(save, text):
    ratings = read_ratings(save(text))
    assert ratings.stimuli == ("a", "b") and ratings.observers == ("anna", "ben")
    assert ratings.scores[0].tolist() == [4, 3] and ratings.scores[1, 0] == 2 and np.isnan(ratings.scores[1, 1])
    assert ratings.methods == ()


def test_pictures_have_methods_and_sources(save):
    ratings = read_ratings(save(PICTURED))
    assert ratings.stimuli == ("sr3/dog", "hr/dog")
    assert ratings.methods == ("sr3", "hr") and ratings.sources == ("dog", "dog")
    wide = read_ratings(save("method,source,anna\nsr3,dog,4\nhr,dog,5\n"))
    assert (wide.methods, wide.sources) == (ratings.methods, ratings.sources)
    assert wide.scores.tolist() == ratings.scores.tolist()


def test_scales_are_the_callers(save):
    assert read_ratings(save("stimulus,anna\na,87.5\n"), lowest=0, highest=100).scores.tolist() == [[87.5]]


def test_pairs_and_choices(save):
    pairs = read_pairs(save(PAIRS))
    assert pairs.names == ("x", "y") and pairs.wins.tolist() == [[0, 1.5], [1.5, 0]]
    assert read_pairs(save("first,second,choice\nx,y,second\n")).wins.tolist() == [[0, 0], [1, 0]]
    choices = read_choices(save(CHOICES))
    assert [(trial.stimulus, trial.fooled) for trial in choices.trials] == [("dog", True), ("cat", False)]


def test_the_heading_tells_what_a_file_holds(save):
    for text, expected in ((LONG, "ratings"), (WIDE, "ratings"), (PAIRS, "pairs"), (CHOICES, "choices")):
        assert kind(save(text)) == expected


def test_tables_are_written_as_they_are_read(save):
    opinions = mean_opinions(read_ratings(save(LONG)))
    rows = list(csv.DictReader(io.StringIO(write_rows(opinions))))
    assert [row["name"] for row in rows] == ["a", "b"]
    assert float(rows[0]["high"]) == opinions[0].high and rows[1]["high"] == ""
    strengths = write_rows(bradley_terry(read_pairs(save(PAIRS))))
    assert strengths.splitlines()[0] == "name,strength,error,low,high,wins,comparisons"
    assert write_rows([]) == ""


@pytest.mark.parametrize(
    ("read", "text", "words"),
    [
        (read_ratings, LONG.replace("ben,a,3", "ben,a,x"), "line 3: the score 'x' is not a number"),
        (read_ratings, LONG.replace("ben,a,3", "ben,a,inf"), "line 3: the score 'inf'"),
        (read_ratings, LONG.replace("ben,a,3", "anna,a,3"), "line 3: 'anna' has rated 'a' twice"),
        (read_ratings, LONG.replace("ben,a,3", "ben,a"), "line 3: 2 fields where the heading has 3"),
        (read_ratings, LONG.replace(",4", ",7"), "study.csv: the score 7 of 'a' by 'anna'"),
        (read_ratings, WIDE.replace("b,2", "a,2"), "line 3: 'a' is there twice"),
        (read_ratings, "observer,score\nanna,3\n", "without stimulus: give stimulus, observer, score"),
        (read_ratings, "stimulus\na\n", "without observers"),
        (read_ratings, LONG.replace("score", "score,age").replace("4", "4,30"), "unknown column 'age'|line 3"),
        (read_ratings, "stimulus,anna,anna\na,3,4\n", "two columns 'anna'"),
        (read_ratings, "stimulus,anna\n", "holds no rows"),
        (read_ratings, "method,anna\nsr3,3\n", "without source"),
        (read_pairs, PAIRS.replace("tie", "both"), "line 3: the choice 'both' is unknown: use first, second, tie"),
        (read_pairs, PAIRS.replace("ben,x,y,tie", "ben,x,x,tie"), "line 3: 'x' was compared with itself"),
        (read_choices, CHOICES.replace("real", "photo"), "line 3: the choice 'photo' is unknown: use generated, real"),
        (read_choices, "observer,method,choice\na,m,real\n", "without stimulus"),
    ],
)
def test_bad_files_are_refused_with_the_line(save, read, text, words):
    with pytest.raises(InputError, match=words):
        read(save(text))


def test_files_that_are_no_csv_are_refused(tmp_path):
    with pytest.raises(InputError, match="cannot be read as CSV: No such file"):
        read_ratings(tmp_path / "none.csv")
    (tmp_path / "picture.csv").write_bytes(b"\x89PNG\xff\xfe")
    with pytest.raises(InputError, match="cannot be read as CSV"):
        read_ratings(tmp_path / "picture.csv")
