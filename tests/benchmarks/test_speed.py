from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from benchmarks import speed


def _rows(power: float) -> list[dict[str, float]]:
    sizes = (0.25, 1.0, 4.0)
    return [
        {
            "megapixels": size,
            "width": 100,
            "height": 10,
            "seconds": 2 * size**power,
            "microseconds_per_pixel": 2 * size ** (power - 1),
            "peak_mib_above_import": 7.0,
        }
        for size in sizes
    ]


def test_the_exponent_of_a_power_law() -> None:
    assert speed.exponent(_rows(1.25)) == pytest.approx(1.25)
    assert speed.exponent(_rows(1.25)[:1]) is None


def test_engines_are_compared_in_the_same_turn() -> None:
    """A machine that slows down by the turn changes no ratio."""
    seconds = {"eager": [1.0, 2.0, 8.0], "openvino": [0.5, 1.0, 4.0]}
    assert speed._against(seconds, "openvino") == 0.5 and speed._against(seconds, "eager") == 1.0


def test_turns_alternate() -> None:
    order: list[str] = []
    rates: list[float] = []
    runs = {name: (lambda name=name: (order.append(name), time.sleep(0.01))) for name in ("eager", "openvino")}
    seconds = speed._turns(runs, repeats=3, rates=rates)
    assert order == ["eager", "openvino"] * 3 and len(rates) == 3
    assert all(second >= 0.01 for each in seconds.values() for second in each)


@pytest.mark.slow
def test_engines_are_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    import importlib.util

    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    found = speed.measure_engines(["eager", "openvino"], 0.02, 1, repeats=1)
    assert "pip install" in found["missing"]["openvino"] and list(found["engines"]) == ["eager"]
    row = found["engines"]["eager"]
    for part in ("predictor", "refiner"):
        assert 0 < row[part]["share_without_surroundings"] < row[part]["share_of_matrix_rate"] < 1.2
        assert row[part]["ratio_to_eager"] == 1
    assert "| eager | refiner | 1.00 |" in speed.page({"series": {}, "engines": found})


def test_the_page_says_how_even_the_time_is(tmp_path: Path) -> None:
    text = speed.page({"series": {"realism-0": {"exponent": 1.25, "rows": _rows(1.25)}}})
    # 4^0.25 / 0.25^0.25 = 2.
    assert "power of 1.25" in text and "is 2.00 times the smallest" in text
    assert "| 100x10 | 4.00 | 11.31 | 2.83 | 7 |" in text
    kept = json.loads(speed.RESULTS.read_text())
    assert speed.page(kept).count("\n| ") > 10
