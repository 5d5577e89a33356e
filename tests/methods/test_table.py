from __future__ import annotations

import json
import subprocess
import sys

import pytest
import torch

from mezzotint import methods, testing
from mezzotint.errors import UsageError
from mezzotint.methods import table
from mezzotint.methods.table import Spec
from mezzotint.zero_shot import SOLVERS

AXES = {"bridge", "domain", "conditioning", "guidance", "network", "sampler", "corrector", "colour"}
KEYS = {
    "name",
    "family",
    "survey_section",
    "paper",
    "year",
    "axes",
    "weights",
    "scales",
    "local",
    "deterministic",
    "checks",
}


def test_listing_the_methods_needs_neither_torch_nor_pydantic():
    program = (
        "import sys, mezzotint.methods.table as t; t.find('sr3').as_row(); t.resolve('sr3@official')\n"
        "print([name for name in ('torch', 'pydantic', 'numpy') if name in sys.modules])"
    )
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"


def test_names_are_distinct():
    names = [card.name for card in table.cards()]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("card", table.cards(), ids=lambda card: card.name)
def test_every_row_is_whole(card):
    row = card.as_row()
    assert row.keys() >= KEYS
    assert row["axes"].keys() == AXES
    assert json.loads(json.dumps(row)) == row
    assert callable(table.resolve_function(card))
    assert card.scales and all(scale >= 2 or card.family in ("prior", "zero-shot") for scale in card.scales)
    assert (card.solver is not None) == (card.family == "zero-shot") == (card.weights == "prior")
    assert card.presets or card.family == "baseline"
    assert card.year is None or 1900 < card.year < 2100
    assert (card.year is None) == (card.paper == "")


def test_rows_of_solvers_are_those_of_the_solvers():
    rows = {card.name: card for card in table.cards() if card.family == "zero-shot"}
    assert list(rows) == list(SOLVERS)
    for name, solver in SOLVERS.items():
        facts = rows[name].solver
        assert facts is not None
        assert list(rows[name].presets) == list(solver.presets)
        assert (facts.cost, facts.gradients, facts.singular) == (solver.cost, solver.gradients, solver.singular)
        assert (facts.noise, facts.fits) == (solver.noise, solver.fits)
        assert rows[name].axes.guidance == "gradient" or not solver.gradients
        assert solver.paper in rows[name].paper or name == "pigdm"


@pytest.mark.parametrize("card", [card for card in table.cards() if card.weights == "none"], ids=lambda card: card.name)
def test_what_needs_no_weights_runs_as_built(card):
    run, x = methods.load(card.name), torch.rand(1, 3, 5, 4)
    assert run(x, scale=4).shape == (1, 3, 20, 16)
    assert torch.equal(methods.build(card.name)(x, scale=4, size=(13, 9)), run(x, scale=4, size=(13, 9)))


@pytest.mark.parametrize("card", table.cards(), ids=lambda card: card.name)
def test_checks_are_public_ones(card):
    assert all(callable(getattr(testing, check)) for check in card.checks)


def test_find():
    assert table.find("sr3").name == "sr3"
    with pytest.raises(UsageError, match="did you mean 'sr3'"):
        table.find("sr4")
    with pytest.raises(UsageError, match="did you mean 'sr3'"):
        table.find("SR3")
    with pytest.raises(UsageError, match="use one of .*sr3"):
        table.find("xyzzy")


@pytest.mark.parametrize(
    ("text", "spec"),
    [
        ("sr3", Spec(method="sr3")),
        ("sr3@official", Spec(method="sr3", preset="official")),
        ("sr3:runs/best.safetensors", Spec(method="sr3", weights="runs/best.safetensors")),
        ("sr3@small:a b/c:d.safetensors", Spec(method="sr3", preset="small", weights="a b/c:d.safetensors")),
        ("best.safetensors", Spec(method=None, weights="best.safetensors")),
        ("net.pth", Spec(method=None, weights="net.pth")),
        ("C:\\weights\\best.safetensors", Spec(method=None, weights="C:\\weights\\best.safetensors")),
        ("./runs/sr3", Spec(method=None, weights="./runs/sr3")),
        ("a/b/c", Spec(method=None, weights="a/b/c")),
        ("anna/portraits-x4", Spec(method=None, weights="anna/portraits-x4", from_hub=True)),
        ("hub:anna/portraits-x4", Spec(method=None, weights="anna/portraits-x4", from_hub=True)),
    ],
)
def test_forms_of_a_method(text, spec):
    assert table.resolve(text) == spec


def test_existing_files_and_folders_are_weights(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("anna", "sr3", "odd:name"):
        (tmp_path / name).mkdir()
    (tmp_path / "anna" / "portraits").touch()
    assert table.resolve("anna") == Spec(method=None, weights="anna")
    assert table.resolve("anna/portraits") == Spec(method=None, weights="anna/portraits")
    assert table.resolve("anna/portrait") == Spec(method=None, weights="anna/portrait")
    assert table.resolve("odd:name") == Spec(method=None, weights="odd:name")
    assert table.resolve("sr3") == Spec(method="sr3")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("sr4", "did you mean 'sr3'"),
        ("sr4:best.safetensors", "did you mean 'sr3'"),
        ("sr4@official", "did you mean 'sr3'"),
        ("sr3@offical", "use one of small, official"),
        ("sr3:", "no file of weights"),
        ("", "empty"),
        (" sr3", "blanks"),
    ],
)
def test_what_cannot_be_meant(text, words):
    with pytest.raises(UsageError, match=words) as caught:
        table.resolve(text)
    assert "\n" not in str(caught.value)


def test_card_of_a_spec():
    assert table.resolve("sr3@official").card is table.find("sr3")
    assert table.resolve("best.safetensors").card is None


def test_build_refuses_weights_and_contradictions():
    with pytest.raises(UsageError, match="mezzotint.load"):
        methods.build("sr3:best.safetensors")
    with pytest.raises(UsageError, match="contradicts"):
        methods.build("sr3@official", preset="small")
    with pytest.raises(UsageError, match="'tiny'"):
        methods.build("sr3", preset="tiny")
    with pytest.raises(UsageError, match="did you mean 'variance'"):
        methods.build("sr3", config={"varience": "paper"})
    with pytest.raises(UsageError, match="did you mean 'groups'"):
        methods.build("sr3", config={"network": {"group": 4}})
    with pytest.raises(UsageError, match="network"):
        methods.build("sr3", config={"network": 3})
    with pytest.raises(UsageError, match="'large'"):
        methods.build("sr3", config={"variance": "large"})


@pytest.mark.parametrize("text", ["sr3", "sr3@official"])
def test_a_recipe_without_weights_says_how_to_train(text):
    with pytest.raises(UsageError, match="mezzotint train") as caught:
        methods.load(text)
    assert str(caught.value).startswith(text + " ")
