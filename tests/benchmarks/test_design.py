"""The search of designs runs, goes on where it stopped, and writes its page."""

from __future__ import annotations

import json
import sys

import pytest
import torch
from PIL import Image

from benchmarks import design


@pytest.fixture
def pictures(tmp_path):
    generator = torch.Generator().manual_seed(0)
    for folder, side in (("Set14", 64), ("BSD100", 64), ("train", 112)):
        (tmp_path / folder).mkdir()
        coarse = torch.rand(1, 3, side // 8, side // 8, generator=generator)
        fine = torch.nn.functional.interpolate(coarse, size=(side, side), mode="bicubic").clamp(0, 1)
        Image.fromarray((fine[0].permute(1, 2, 0) * 255).byte().numpy()).save(tmp_path / folder / "a.png")
    return tmp_path


def test_rows_are_trained_once_measured_and_shown(pictures, monkeypatch):
    output, page = pictures / "design.json", pictures / "design.md"

    def call(only: str, *more: str) -> dict:
        given = ["--data", str(pictures), "--pictures", str(pictures / "train"), "--work", str(pictures / "work")]
        given += ["--only", only, "--steps", "2", "-o", str(output), "--page", str(page), *more]
        monkeypatch.setattr(sys, "argv", ["design", *given])
        design.main()
        return json.loads(output.read_text())

    first = call("plain")
    second = call("plain,bands scored", "--seeds", "0")
    assert second["rows"]["plain | 0"] == first["rows"]["plain | 0"]
    assert set(first["rows"]["plain | 0"]["figures"]) == {"1", "2", "4", "8"}
    scored = second["rows"]["bands scored | 0"]
    # Half the operations for each stage, and a scored step costs less here: its batch is smaller, VGG16 is not asked.
    assert len(scored["trained"]) == 2 and scored["trained"][0] == 1 and scored["trained"][1] >= 1
    table = [line for line in page.read_text().splitlines() if line.startswith("| ")]
    assert len(table) == 2 + 4 + 1 - 1


def test_larger_networks_get_fewer_steps():
    by_name = {made.name: made for made in design.DESIGNS}
    cost = {name: design.operations(made, made.phases[0]) for name, made in by_name.items()}
    assert cost["narrow"] < cost["plain"] < cost["wide"] and cost["plain"] < cost["deep"]
    assert cost["flow"] == cost["plain"]
    # A critic costs operations of its own, few beside VGG16's.
    scored, judged = (design.operations(by_name[name], by_name[name].phases[1]) for name in ("scored 2", "critic"))
    assert scored < judged < 1.5 * scored
