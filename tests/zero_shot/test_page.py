"""docs/zero-shot.md says what the table says."""

from __future__ import annotations

from pathlib import Path

import torch

from mezzotint import methods
from mezzotint.methods.restorer import build_restorer
from mezzotint.zero_shot import SOLVERS

PAGE = Path(__file__).resolve().parents[2] / "docs" / "zero-shot.md"


def test_the_table_of_solvers_is_that_of_the_code():
    lines = [line for line in PAGE.read_text(encoding="utf-8").splitlines() if line.startswith("| `")]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    rows = {row[0].strip("`"): row[2:] for row in cells}
    assert list(rows) == list(SOLVERS)
    prior = methods.build("prior", scale=1, config={"network": {"widths": (4,), "blocks": 1, "embedding": 4}})
    pictures = torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(0)) * 2 - 1
    prior.measure_errors([(pictures, pictures)])
    for name, row in rows.items():
        card = methods.find(name)
        assert card.solver is not None
        built = build_restorer(name, scale=4, preset=card.presets[0], config=None, prior=prior)
        facts = (card.solver.gradients, card.solver.noise, card.solver.fits)
        wanted = [str(built.steps_default), str(built.evaluations()), *("yes" if fact else "no" for fact in facts)]
        assert row == [*wanted, ", ".join(card.presets)], name
