"""Our solvers beside deepinv's: operators and rules that both sides mean, and the page; without deepinv itself."""

from __future__ import annotations

import itertools
import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from benchmarks.zero_shot_peers import environment, ours
from benchmarks.zero_shot_peers import page as pages
from benchmarks.zero_shot_peers.__main__ import main
from benchmarks.zero_shot_peers.cases import CASES, DIFFPIR, DPS
from benchmarks.zero_shot_peers.problems import KNOWN, TASKS, filter_of
from benchmarks.zero_shot_peers.worker import figures
from scipy import ndimage

from mezzotint import methods
from mezzotint.noise import Noise
from mezzotint.operators.separable import Separable, gaussian, resize

REPOSITORY = Path(__file__).resolve().parents[2]
RESULTS = REPOSITORY / "benchmarks" / "results" / "deepinv.json"


def tiny():
    prior = methods.build("prior", scale=1, config={"network": {"widths": (4,), "blocks": 1, "embedding": 4}})
    return prior.eval().requires_grad_(False)


@pytest.mark.parametrize(
    "operator",
    [
        resize(height=32, width=48, scale=4, border="circular"),
        resize(height=24, width=18, scale=3, border="circular"),
        gaussian(height=32, width=32, scale=4, sigma=1.2, shift=(0.3, -1.0), border="circular"),
    ],
    ids=["bicubic 4", "bicubic 3", "gaussian, shifted"],
)
def test_the_filter_is_the_operator(operator: Separable):
    """scipy convolves on the torus with the centre in the middle of an odd filter, as deepinv does."""
    y = torch.randn(*operator.shape_in, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    weights = filter_of(operator)
    assert weights.shape[:2] == (1, 1) and weights.shape[2] % 2 == weights.shape[3] % 2 == 1
    scale = operator.shape_in[0] // operator.shape_out[0]
    wanted = ndimage.convolve(y.numpy(), weights[0, 0].numpy(), mode="wrap")[::scale, ::scale]
    assert np.abs(operator.A(y[None, None])[0, 0].numpy() - wanted).max() < 1e-12


def test_measurements_have_the_noise_of_their_task():
    u = torch.full((1, 3, 96, 96), 0.4, dtype=torch.float64)
    for task in TASKS.values():
        operator = task.operator(96, 96)
        off = task.measure(u, seed=3) - operator.A(u)
        seen = operator.A(torch.ones_like(u)) > 0.5
        assert float(off[~seen].abs().sum()) == 0.0
        assert float(off[seen].std()) == pytest.approx(task.sigma, rel=0.1)
    known = TASKS["inpainting"].operator(96, 96).A(torch.ones_like(u)).mean()
    assert float(known) == pytest.approx(KNOWN, abs=0.03)


def test_steps_in_the_score_are_together_as_long_as_those_of_the_published_rule():
    numbers = 3 * 32 * 32
    weight = ours.score_weight({"as_far_as": 2.0}, numbers)
    made = ours.ScoreGuided(weight)
    total = 0.0
    for t, r in itertools.pairwise(made.grid(ours.CONTINUOUS, DPS)):
        # What the ancestral step makes of a change of the estimate: a_r - k a_t.
        a_t, _, s_t = ours.CONTINUOUS.coefficients(t)
        k, _ = ours.CONTINUOUS.transition(r, t)
        total += (ours.CONTINUOUS.coefficients(r)[0] - k * a_t) * 0.5 * weight * s_t**2 / a_t
    assert total == pytest.approx(1000 * 2.0 * math.sqrt(numbers / (3 * 64 * 64)), rel=1e-9)
    assert ours.score_weight({"weight": 7}, numbers) == 7.0


def test_the_walks_of_deepinv():
    # deepinv 0.5.0 counts from the noisy end, and asks at the last node but one in place of at 0.
    places = np.sqrt(np.linspace(0.0, 1000.0**2, DIFFPIR)).astype(int)
    places[-1] -= 1
    row = next(case for case in CASES if case.solver == "DiffPIR").settings[0]
    assert ours.planned("DiffPIR", row.values, 1)[2] == (*(float(1000 - place) / 1000 for place in places), 0.0)
    levels = ours.published_levels(20)
    assert len(levels) == 20 and all(after < before for before, after in itertools.pairwise(levels))
    # The first node of DDPM's schedule has the variance 1e-4; levels of [0, 1] are half of those of [-1, 1].
    assert levels[-1] == pytest.approx(0.5 * math.sqrt(1e-4 / (1 - 1e-4)), rel=1e-9)
    even = next(row for case in CASES for row in case.settings if row.values.get("levels") == "even")
    _, bridge, grid = ours.planned("DDRM", even.values, 1)
    asked = [bridge.coefficients(t)[2] / 2 for t in grid[:-1]]
    assert asked == pytest.approx(np.linspace(1, 0, even.evaluations)[:-1].tolist(), abs=1e-12)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_every_row_of_ours_runs_and_asks_as_often_as_it_says(case):
    size, task, asked = (16, 24), TASKS[case.task], 0
    x = task.measure(torch.rand(1, 3, *size, generator=torch.Generator().manual_seed(0)), seed=0)
    prior = tiny()

    def count(*_):
        nonlocal asked
        asked += 1

    prior.network.register_forward_hook(count)
    for row in case.settings:
        if "mezzotint" in row.sides:
            asked = 0
            y = ours.Side(prior).prepare(case.solver, row.values, task, x, size=size)(0)
            assert y.shape == (1, 3, *size) and bool(torch.isfinite(y).all())
            # The last of the even levels is 0, where there is nothing to ask.
            assert asked == row.evaluations - (row.values.get("levels") == "even")


def test_draws_are_scaled():
    plain, half = Noise(1).normal("step", 2, (1, 3, 8, 8)), ours.Scaled(Noise(1), 0.5).normal("step", 2, (1, 3, 8, 8))
    assert torch.equal(half, 0.5 * plain)


def test_figures_of_a_picture():
    u, operator = torch.full((1, 3, 8, 8), 0.5), TASKS["denoising"].operator(8, 8)
    found = figures(u + 0.1, u, u, operator)
    assert found["psnr"] == pytest.approx(20.0, abs=1e-4) and found["misfit"] == pytest.approx(25.5, rel=1e-5)
    # Clipped for the one, as it is for the other.
    assert figures(torch.full_like(u, 2.0), u, u, operator)["psnr"] == pytest.approx(-20 * math.log10(0.5), abs=1e-4)


def results(other_work: float = 0.0) -> dict:
    runs = [
        {
            "case": case.name, "settings": row.label, "side": side, "picture": picture, "psnr": 20.0 + picture,
            "misfit": 12.0, "seconds": 2.0 + picture if side == "deepinv" else 1.0, "other_work": other_work,
        }
        for case in CASES for row in case.settings for side in row.sides for picture in range(3)
    ]  # fmt: skip
    return {
        "agreement": {**{name: {"A": 4e-7, "At": 0.0} for name in TASKS}, "DPS": {"picture": 1e-7}},
        "runs": runs, "outside": {CASES[0].name: {"mezzotint": 3.0, "deepinv": 4.0}}, "pictures": ["a", "b", "c"],
        "prior": {"sha256": "0" * 64},
        "machine": {"processor": "P", "threads": 2, "torch": "2", "torchvision": "0", "deepinv": "1", "numpy": "2"},
    }  # fmt: skip


def test_the_page_prints_means_medians_and_ratios():
    text = pages.page(results())
    # Seconds 1 against 2, 3 and 4: the median of the ratios is a third.
    assert f"| {CASES[0].settings[0].label} | 100 | 21.00 | 21.00 | 12.0 | 12.0 | 1.00 | 3.00 | 0.33 |" in text
    assert f"| {CASES[1].settings[0].label} | {DPS} | 21.00 | - | 12.0 | - | 1.00 | - | - |" in text
    assert f"| {CASES[0].name} | 3.0 | 4.0 |" in text and "| inpainting | 4.0e-07 | 0.0e+00 |" in text
    assert "*" not in text
    assert "*: measured beside other work" in pages.page(results(other_work=0.5))


@pytest.mark.skipif(not RESULTS.exists(), reason="not measured yet")
def test_the_page_in_the_repository_is_that_of_the_results():
    text = (REPOSITORY / "docs" / "zero-shot-peers.md").read_text(encoding="utf-8")
    assert text == pages.page(json.loads(RESULTS.read_text())), "python -m benchmarks.zero_shot_peers --page-only"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "needs FOLDER"),
        (["FOLDER", "--prior", "nowhere"], "nowhere"),
        (["FOLDER", "--prior", "nowhere", "--threads", "0"], "--threads 0 is below 1"),
    ],
)
def test_wrong_usage_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture, arguments: list[str], said: str):
    given = [str(tmp_path) if argument == "FOLDER" else argument for argument in arguments]
    output = tmp_path / "out.json"
    assert main([*given, "--cache", str(tmp_path / "cache"), "-o", str(output), "--page", str(tmp_path / "p.md")]) == 2
    assert said in capsys.readouterr().err
    assert not output.exists() and not (tmp_path / "cache").exists()


def test_an_environment_that_has_no_room_is_not_begun(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(environment.shutil, "disk_usage", lambda path: type("Usage", (), {"free": 3e9}))
    with pytest.raises(environment.NotInstalled, match="has 3.0 GB left, the environment of deepinv may need 12"):
        environment.python_of(tmp_path)
    assert not list(tmp_path.iterdir())


def test_an_environment_that_is_there_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(environment.venv, "create", lambda folder, **_: (folder / "bin").mkdir(parents=True))
    monkeypatch.setattr(environment.subprocess, "run", lambda *_, **__: type("Done", (), {"returncode": 0}))
    python = environment.python_of(tmp_path)
    monkeypatch.setattr(environment.venv, "create", lambda folder, **_: pytest.fail("made twice"))
    assert environment.python_of(tmp_path) == python and python.parent.parent.parent == tmp_path
