"""`mezzotint weights add` of diffusion models of others, and the solvers on what it makes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from mezzotint import images, weights
from mezzotint.networks.official_keys import to_official
from mezzotint.networks.table import build

Command = Callable[..., Any]
Save = Callable[..., Path]
SMALL = (
    "--set", "network.channels=32", "--set", "network.multipliers=[1]", "--set", "network.blocks=1",
    "--set", "network.attention=[]", "--set", "network.head=16",
)  # fmt: skip


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    """A small checkpoint of guided-diffusion, untrained: it says that there is no noise."""
    settings = {"kind": "adm", "channels": 32, "multipliers": (1,), "blocks": 1, "attention": (), "head": 16}
    torch.save(to_official(build(settings, in_channels=3, out_channels=6), form="adm"), tmp_path / "adm.pt")
    return tmp_path / "adm.pt"


def test_a_checkpoint_becomes_a_prior_that_solvers_take(
    command: Command, save: Save, checkpoint: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "prior"
    added = command(
        "weights", "add", checkpoint, "--from", "adm", "--network", "imagenet-256-uncond", *SMALL, "-o", folder,
        "--licence", "MIT",
    )  # fmt: skip
    assert (added.status, added.out.strip()) == (0, str(folder)), added.lines
    card = weights.read_card(folder)
    assert (card.name, card.method, card.preset, card.licence) == ("imagenet-256-uncond", "prior", "adm", "MIT")
    assert command("weights", "verify", folder).status == 0
    small = save(tmp_path / "small.png", height=4, width=5)
    large = tmp_path / "large.png"
    outcome = command("upscale", small, "-o", large, "--method", f"ddnm:{folder}", "--steps", "2", "-q")
    assert outcome.status == 0, outcome.lines
    assert images.read_plain(large).pixels.shape == (16, 20, 3)


def test_priors_without_a_folder_are_kept_and_listed(
    command: Command, checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MEZZOTINT_HOME", str(tmp_path / "home"))
    words = ("weights", "add", checkpoint, "--from", "adm", "--network", "ffhq-256", *SMALL)
    assert command(*words).out.strip() == str(tmp_path / "home" / "weights" / "ffhq-256")
    line = next(line for line in command("weights", "list").out.splitlines() if line.startswith("ffhq-256"))
    assert "prior (adm)" in line and str(tmp_path / "home") in line
    assert "model  good" in command("weights", "verify").out


def test_wrong_words_are_refused(command: Command, checkpoint: Path, tmp_path: Path) -> None:
    for words, message in (
        ((checkpoint, "--from", "adm"), "none of the known adm networks"),
        ((checkpoint, "--from", "adm", "--network", "imagenet"), "did you mean"),
        ((checkpoint, checkpoint, "--from", "adm"), "takes one file or folder, 2 are named"),
        ((checkpoint, "--from", "diffusers"), "diffusers keeps models in folders"),
        ((checkpoint, "--from", "niqe", "--licence", "MIT"), "--licence is for priors"),
        ((tmp_path / "no.pt", "--from", "score-sde"), "no such file of weights"),
    ):
        output = () if "niqe" in words else ("-o", tmp_path / "p")
        outcome = command("weights", "add", *words, *output)
        assert outcome.status == 2 and message in outcome.line, outcome.lines
    assert not (tmp_path / "p").exists()
