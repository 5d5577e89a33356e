"""What holds for the project as a whole: budgets, start-up, pins, and what must not be there."""

from __future__ import annotations

import csv
import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

REPOSITORY = Path(__file__).resolve().parents[1]
PACKAGE = REPOSITORY / "src" / "mezzotint"

# Megabytes that the weights of the package may take, by the start of the file's name.
BUDGET = {
    "mezzotint-x4-real": 3.0,
    "mezzotint-x4": 3.0,
    "mezzotint-x2": 2.0,
    "prior": 6.0,
    "lpips": 5.0,
    "dictionary": 4.0,
    "span": 1.0,
}
BUDGET_IN_ALL = 24.0
# Python's own start takes part in both sides of the ratio; the least of several runs is taken of each.
IMPORT_RATIO = 1.3


def _pyproject() -> dict:
    return tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))


def _run(code: str) -> str:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout


def _imported(code: str) -> set[str]:
    """The modules that a fresh interpreter has imported after some code."""
    probe = f"import contextlib, io, json, sys\nwith contextlib.redirect_stdout(io.StringIO()):\n    {code}\n"
    return set(json.loads(_run(probe + "print(json.dumps(sorted(sys.modules)))")))


def test_weights_in_the_package_stay_within_their_budget() -> None:
    sizes = {path.name: path.stat().st_size / 1e6 for path in (PACKAGE / "shipped").iterdir()}
    assert sizes, "the package holds no weights"
    assert sum(sizes.values()) <= BUDGET_IN_ALL, sizes
    for name, size in sizes.items():
        limits = [limit for start, limit in BUDGET.items() if name.startswith(start)]
        assert limits and size <= limits[0], f"{name} takes {size:.2f} MB of {limits}"


def test_weights_in_the_package_say_what_they_are() -> None:
    from mezzotint import weights

    for item in weights.shipped():
        if item.card is not None:
            assert "not stated" not in (item.card.data, item.card.data_licence, item.card.licence), item.name
            assert item.card.figures, f"{item.name} has no figures on its card"


def test_no_file_imports_torchvision() -> None:
    # In two parts, or this line would find itself.
    pattern = re.compile(r"^\s*(?:import|from)\s+torch" + r"vision\b", re.MULTILINE)
    files = [p for folder in ("src", "tests", "examples", "benchmarks") for p in (REPOSITORY / folder).rglob("*.py")]
    assert len(files) > 30
    assert [str(path) for path in files if pattern.search(path.read_text(encoding="utf-8"))] == []
    requirements = (REPOSITORY / "pyproject.toml").read_text().split("[tool.importlinter]")[0]
    assert "torchvision" not in requirements
    assert "torchvision" not in (REPOSITORY / "constraints.txt").read_text()


def test_every_module_imports_where_torchvision_cannot() -> None:
    result = subprocess.run(
        [sys.executable, str(REPOSITORY / ".ci" / "no_torchvision.py")], capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stdout + result.stderr


def test_help_imports_neither_torch_nor_pydantic() -> None:
    imported = _imported("from mezzotint.cli import main; main(['--help'])")
    assert "mezzotint.cli.app" in imported
    assert imported.isdisjoint({"torch", "pydantic", "numpy", "pyvips"})


@pytest.mark.parametrize("arguments", [["methods"], ["methods", "--json"], ["methods", "sr3"]])
def test_methods_are_listed_without_torch(arguments: list[str]) -> None:
    imported = _imported(f"from mezzotint.cli import main; assert main({arguments}) == 0")
    assert "mezzotint.methods.table" in imported
    assert "torch" not in imported


def test_importing_the_package_costs_little_more_than_torch() -> None:
    def seconds(module: str) -> float:
        code = f"import time; t = time.perf_counter(); import {module}; print(time.perf_counter() - t)"
        return min(float(_run(code)) for _ in range(3))

    assert seconds("mezzotint") <= IMPORT_RATIO * seconds("torch")


def test_pins_cover_every_requirement_and_satisfy_it() -> None:
    lines = [line for line in (REPOSITORY / "constraints.txt").read_text().splitlines() if not line.startswith("#")]
    pins = {}
    for line in lines:
        requirement = Requirement(line)
        (specifier,) = requirement.specifier
        assert specifier.operator == "==", line
        pins[canonicalize_name(requirement.name)] = Version(specifier.version)
    project = _pyproject()["project"]
    wanted = [*project["dependencies"], *(r for extra in project["optional-dependencies"].values() for r in extra)]
    for text in wanted:
        requirement = Requirement(text)
        name = canonicalize_name(requirement.name)
        assert name in pins, f"{name} has no pin"
        assert requirement.specifier.contains(pins[name]), f"{name} {pins[name]} is outside {requirement.specifier}"
    assert not [name for name in pins if name.startswith(("nvidia", "triton"))], "CUDA libraries are left to torch"


def test_version_is_the_same_everywhere() -> None:
    import mezzotint

    version = _pyproject()["project"]["version"]
    assert mezzotint.__version__ == version
    assert f"## {version}" in (REPOSITORY / "CHANGELOG.md").read_text(encoding="utf-8")


def test_notice_names_every_picture_in_the_repository() -> None:
    notice = (REPOSITORY / "NOTICE").read_text(encoding="utf-8")
    pictures = [
        path
        for folder in ("examples", "docs", "tests", "src")
        for path in (REPOSITORY / folder).rglob("*")
        if path.suffix.lower() in (".png", ".jpg", ".jpeg", ".webp")
    ]
    assert pictures
    for path in pictures:
        assert str(path.relative_to(REPOSITORY)) in notice, f"NOTICE does not name {path}"


def test_notice_names_every_author_of_a_training_picture() -> None:
    notice = " ".join((REPOSITORY / "NOTICE").read_text(encoding="utf-8").split())
    rows = [
        row
        for name in ("pictures.csv", "pictures-large.csv")
        for row in csv.DictReader((REPOSITORY / "training" / name).open(encoding="utf-8", newline=""))
    ]
    assert len(rows) > 100
    assert [row["author"] for row in rows if " ".join(row["author"].split()) not in notice] == []
    assert {row["licence"] for row in rows if f"{row['licence']}:" not in notice} <= {"public-domain"}
