"""The cost of operators and solvers: closed forms against the dense decomposition, limits, and the page."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from benchmarks import operator_cost as cost
from mezzotint.zero_shot import SOLVERS

REPOSITORY = Path(__file__).resolve().parents[2]
RESULTS = REPOSITORY / "benchmarks" / "results" / "operator_cost.json"


@pytest.mark.parametrize("name", cost.OPERATORS)
def test_closed_forms_are_those_of_the_dense_matrix(name: str):
    found = cost.differences(cost.OPERATORS[name](16))
    assert set(found) == {"correction", "pinv", "sv"} and max(found.values()) < cost.TOLERANCE


def test_the_dense_matrix_is_that_of_the_operator():
    operator = cost.OPERATORS["bicubic, 2"](12)
    y = torch.randn(1, 1, 12, 12, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    assert (cost.dense_matrix(operator) @ y.flatten() - operator.A(y).flatten()).abs().max() < 1e-13


def content() -> dict:
    form = {"decompose": 0.001, "correct": 0.002, "project": 0.003, "added_mib": 1.0}
    row = {"closed": form, "dense": {**form, "decompose": 2.0}, "other_work": 0.0}
    row["differences"] = {"correction": 1e-12, "pinv": 2e-12, "sv": 0.0}
    peaks = {probe: {"peak_mib": 700.0, "added_mib": 400.0} for probe in cost.PROBES}
    return {
        "operators": {"bicubic, 4": row},
        "solvers": {"dps": peaks},
        "machine": {"processor": "P", "threads": 2, "torch": "2"},
    }


def test_the_page_prints_milliseconds_memory_and_marks():
    text = cost.page(content())
    assert "| bicubic, 4 | 1 | 2e+03 | 2 | 2 | 3 | 3 | 1.0 | 1.0 | 2.0e-12 |" in text
    assert "| `dps` | yes | 300 | 700 | 700 | 700 |" in text and "*" not in text.replace("A^T", "")
    assert "Not measured yet: `repaint`, `ilvr`," in text
    loud = content()
    loud["operators"]["bicubic, 4"]["other_work"] = 0.7
    assert "| bicubic, 4* |" in cost.page(loud) and "*: measured beside other work" in cost.page(loud)


def test_limits_that_are_broken_are_named():
    assert cost.broken_limits(content()) == []
    wrong = content()
    wrong["operators"]["bicubic, 4"]["differences"]["pinv"] = float("nan")
    wrong["solvers"]["dps"] = {**wrong["solvers"]["dps"], "peak": {"peak_mib": 5000.0}, "many": {"peak_mib": 900.0}}
    assert [line.split(":")[0] for line in cost.broken_limits(wrong)] == ["bicubic, 4", "dps", "dps"]


@pytest.mark.parametrize("name", ["ddnm", "spectral", "dps"])
def test_solvers_run_at_the_smallest_size(name: str):
    found = cost.measure_solver(name, 2, size=32)
    assert 0.0 <= found["added_mib"] <= found["peak_mib"] < cost.LIMIT_MIB


@pytest.mark.skipif(not RESULTS.exists(), reason="not measured yet")
def test_the_page_in_the_repository_is_that_of_the_results_and_no_limit_is_broken():
    found = json.loads(RESULTS.read_text())
    assert (REPOSITORY / "docs" / "zero-shot-cost.md").read_text(encoding="utf-8") == cost.page(found)
    assert set(found["solvers"]) <= set(SOLVERS) and list(found["operators"]) == list(cost.OPERATORS)
    assert cost.broken_limits(found) == []
