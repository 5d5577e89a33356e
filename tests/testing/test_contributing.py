"""The examples of CONTRIBUTING.md run: each is taken out of the page, and put where it says that it belongs."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

from mezzotint import methods
from mezzotint.bridges import NAMED, VP
from mezzotint.methods import citations, table
from mezzotint.methods.table import Axes, MethodCard
from mezzotint.noise import Noise
from mezzotint.samplers import SAMPLERS, Sampler, count_evaluations, ddim
from mezzotint.schedules import LinearSDE
from mezzotint.testing import (
    GaussianPrior,
    check_bridge,
    check_method,
    check_prediction,
    check_sampler,
    propagate,
)

REPOSITORY = Path(__file__).resolve().parents[2]
PAGE = (REPOSITORY / "CONTRIBUTING.md").read_text(encoding="utf-8")


def examples(title: str) -> dict[str, str]:
    """The code of a section by the place that the comment in its first line names."""
    section = re.split(r"^## ", PAGE.split(f"\n## {title}\n")[1], maxsplit=1, flags=re.MULTILINE)[0]
    blocks = re.findall(r"^```python\n# (.+?)\n(.*?)^```$", section, flags=re.MULTILINE | re.DOTALL)
    assert len(blocks) == section.count("```python")
    return dict(blocks)


def installed(monkeypatch: pytest.MonkeyPatch, place: str, code: str) -> ModuleType:
    """The module that a file of the package would be; the file must not exist, or the example would be old."""
    assert not (REPOSITORY / place).exists(), f"{place} is in the package by now: show another example"
    name = place.removeprefix("src/").removesuffix(".py").replace("/", ".")
    module = ModuleType(name)
    monkeypatch.setitem(sys.modules, name, module)
    exec(compile(code, place, "exec"), module.__dict__)
    assert all(len(line) <= 120 for line in code.splitlines())
    return module


def row(code: str, **names: Any) -> Any:
    """What the table gets: a mapping of one name, or a tuple of one value."""
    return eval("{" + code + "}" if re.match(r'"[^"]+":', code) else "(" + code + ")", names)


def test_a_process(monkeypatch):
    found = examples("Adding a process")
    (file, code), (place, line), (test, check) = found.items()
    assert place == "a row of NAMED in src/mezzotint/bridges/table.py" and test == "tests/test_bridges.py"
    module = installed(monkeypatch, file, code)
    ((name, build),) = row(line, **vars(module)).items()
    assert name not in NAMED
    errors = check_bridge(build())
    assert "rate of s^2" in errors and max(check_prediction(build()).values()) < 1e-6
    for sampler in ("ancestral", "ddim", "heun", "dpm++2m"):
        check_sampler(SAMPLERS[sampler].build(), bridge=build(), converges=False)
    scope = {**vars(module), "ddim": ddim, "propagate": propagate, "GaussianPrior": GaussianPrior, "pytest": pytest}
    exec(check, scope)
    (run,) = [value for name, value in scope.items() if name.startswith("test_")]
    run()


def test_a_sampler(monkeypatch):
    (file, code), (place, line) = examples("Adding a sampler").items()
    assert place == "a row of SAMPLERS in src/mezzotint/samplers/table.py"
    module = installed(monkeypatch, file, code)
    ((name, card),) = row(line, Sampler=Sampler, **vars(module)).items()
    assert name not in SAMPLERS and isinstance(card, Sampler)
    bridge = VP(LinearSDE())
    errors = check_sampler(card.build(), bridge=bridge, steps=(24, 96), order=card.order, stochastic=card.stochastic)
    assert errors["order of convergence"] == pytest.approx(card.order, abs=0.16)
    grid = (0.9, 0.6, 0.4, 0.2)
    assert count_evaluations(grid, step=card.build(), bridge=bridge) == 3 * card.evaluations
    for build in NAMED.values():
        if card.can_serve(build()):
            check_sampler(card.build(), bridge=build(), converges=False)
    # A point mass is reached in any number of steps.
    end = propagate(card.build(), bridge=bridge, grid=(1.0, 0.5, 0.0), prior=GaussianPrior(0.3, 0.0))
    assert end == pytest.approx((0.3, 0.0), abs=1e-12)


def test_a_method(monkeypatch):
    (file, code), (place, card_code), (line_place, line) = examples("Adding a method").items()
    assert place == "a row of _ROWS in src/mezzotint/methods/table.py"
    assert line_place == "a line of METHODS in src/mezzotint/methods/citations.py" and line.count("\n") == 1
    assert len(code.splitlines()) < 60
    installed(monkeypatch, file, code)
    (card,) = row(card_code, MethodCard=MethodCard, Axes=Axes)
    assert card.name not in {known.name for known in methods.cards()}
    monkeypatch.setattr(table, "_ROWS", (*table.cards(), card))
    ((name, papers),) = row(line).items()
    assert name == card.name and set(papers) <= set(citations.ENTRIES)
    monkeypatch.setattr(citations, "METHODS", {**citations.METHODS, name: papers})
    assert set(papers) < {citation.entry.key for citation in citations.of_method(name)}

    method = methods.build(name, scale=4, preset="small")
    with torch.no_grad():
        for number, parameter in enumerate(method.parameters()):
            shape = (1, 1, 1, parameter.numel())
            parameter += 0.02 * Noise(0).normal("step", number, shape, dtype=parameter.dtype).reshape(parameter.shape)
    errors = check_method(method, deterministic=card.deterministic)
    assert {"saved and loaded", "a batch equals its pictures alone"} <= set(errors)


def test_every_example_is_tried():
    titles = ("Adding a process", "Adding a sampler", "Adding a method")
    assert sum(len(examples(title)) for title in titles) == PAGE.count("```python") == 8
