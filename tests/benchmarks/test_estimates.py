"""The page of the estimates is that of its figures, and the figures hold what the documentation says of them."""

from __future__ import annotations

import json
from pathlib import Path

from benchmarks import estimates

ROOT = Path(__file__).resolve().parents[2]
RESULT = json.loads((ROOT / "benchmarks" / "results" / "estimates.json").read_text(encoding="utf-8"))


def test_the_page_is_written_from_the_figures() -> None:
    assert (ROOT / "docs" / "estimates.md").read_text(encoding="utf-8") == estimates.page(RESULT)


def test_blur_is_found_where_a_reduction_does_not_hide_it() -> None:
    """From more than half a small pixel on; at scale 2 a sigma of 1, just half of one, is 19 % off."""
    seen = [line for line in RESULT["blur"] if line["noise"] == 0 and line["sigma"] > 0.5 * line["scale"]]
    assert {line["scale"] for line in seen} == {1, 2, 3, 4}
    assert all(line["median_error"] <= estimates.BLUR_LIMIT for line in seen)


def test_noise_is_found_from_5_levels_on_and_quality_always() -> None:
    assert all(line["median_error"] <= estimates.NOISE_LIMIT for line in RESULT["noise"] if line["sigma"] >= 5)
    assert all(line["right"] == RESULT["pictures"] for line in RESULT["jpeg"])
