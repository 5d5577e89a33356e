"""The benchmark of the zero-shot solvers: what is measured, that it goes on where it stopped, and the page."""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks import zero_shot as bench
from mezzotint import methods
from mezzotint.noise import Noise, picture_id
from mezzotint.quality import lpips, psnr
from mezzotint.zero_shot import SOLVERS

SIDE = 32
BICUBIC, NOISY, POOLED = bench.SETTINGS
REFUSING = {name for name, row in SOLVERS.items() if not row.noise}


def save_prior(folder: Path, *, seed: int = 0, measured: bool = True) -> str:
    """A tiny prior with random weights in a folder, its errors measured on random pictures."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        prior = methods.build("prior", scale=1, config={"network": {"widths": (4,), "blocks": 1, "embedding": 4}})
        for parameter in prior.parameters():
            torch.nn.init.normal_(parameter, std=0.05)
    if measured:
        pictures = torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(0)) * 2 - 1
        prior.measure_errors([(pictures, pictures)])
    prior.save_pretrained(folder)
    return str(folder)


@pytest.fixture(scope="module")
def prior(tmp_path_factory: pytest.TempPathFactory) -> str:
    return save_prior(tmp_path_factory.mktemp("prior"))


def crop(name: str, seed: int, side: int = SIDE) -> bench.Crop:
    """Smooth colours with a little texture, away from black and white."""
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[0:side, 0:side] / side
    waves = [np.sin(2 * math.pi * (rows * a + columns * b)) for a, b in rng.uniform(-2, 2, (3, 2))]
    return bench.Crop(name, (128 + 60 * np.stack(waves, -1) + rng.uniform(-20, 20, (side, side, 3))).astype(np.uint8))


CROPS = [crop("Set14/baboon", 0), crop("BSD100/3096", 1), crop("BSD100/other", 2)]


def run(prior: str, output: Path, **changes):
    """The rows that say most of two quick solvers, quietly."""
    settings = {
        "only": ["ddrm", "ccdf"], "counts": (2, 4), "batch": 2, "memory": False, "report": lambda text: None, **changes
    }  # fmt: skip
    return bench.run(prior, settings.pop("crops", CROPS), output=output, **settings)


@pytest.fixture(scope="module")
def figures(prior: str, tmp_path_factory: pytest.TempPathFactory) -> dict:
    output = tmp_path_factory.mktemp("figures") / "zero_shot.json"
    assert run(prior, output)
    return json.loads(output.read_text())


# -- what is measured ------------------------------------------------------------------------------------------------


def test_small_pictures_are_means_of_cells_and_noise_of_the_stated_deviation():
    large = [crop("a", 3, 128), crop("b", 4, 128)]
    cells = np.stack([c.pixels.reshape(32, 4, 32, 4, 3).mean((1, 3)) for c in large]).transpose(0, 3, 1, 2) / 255
    off = POOLED.small(large).numpy() - cells
    assert abs(off.std() - bench.NOISE) < 0.05 * bench.NOISE
    assert abs(off.mean()) < 4 * bench.NOISE / off.size**0.5
    assert np.abs(np.corrcoef(off[0].ravel(), off[1].ravel())[0, 1]) < 0.1
    assert torch.equal(POOLED.small(large)[1:], POOLED.small(large[1:]))


def test_measures_are_those_of_a_file_and_the_distance_to_the_small_picture():
    one = CROPS[0]
    truth = bench.score(one.unit, NOISY, one)
    assert truth is not None
    field = Noise(bench.MEASURED, pictures=(picture_id(one.pixels),)).normal("degradation", 0, (1, 3, 8, 8))
    assert truth[0] == math.inf and truth[1] == 1.0 and truth[2] == 0.0
    assert truth[3] == pytest.approx(-10 * math.log10(bench.NOISE**2 * float(field.square().mean())), abs=1e-4)
    other = np.clip(one.pixels.astype(int) + np.random.default_rng(0).integers(-9, 9, one.pixels.shape), 0, 255)
    found = bench.score(torch.from_numpy(other).permute(2, 0, 1) / 255 + 0.4 / 255, BICUBIC, one)
    assert found is not None
    assert found[0] == pytest.approx(psnr(one.pixels, other.astype(np.uint8)), abs=1e-4)
    assert found[2] == pytest.approx(lpips(one.pixels, other.astype(np.uint8)), abs=1e-4)
    assert bench.score(torch.full((3, SIDE, SIDE), math.nan), BICUBIC, one) is None


@pytest.mark.parametrize("setting", bench.SETTINGS, ids=lambda setting: setting.name)
@pytest.mark.parametrize("name", list(SOLVERS))
def test_a_batch_equals_its_crops_alone_and_the_stated_evaluations_are_made(name, setting, prior):
    loaded, _ = bench.load_prior(prior)
    restorer = bench.build_all(loaded, [name])[name]
    if setting.noise > 0 and name in REFUSING:
        pytest.skip(f"{name} refuses noise")
    steps = bench.steps_for(restorer, 5)
    work = bench.Work(name, setting, steps, restorer.evaluations(steps), 5, tuple(CROPS))
    calls = []
    handle = loaded.get_submodule("network").register_forward_hook(lambda *_: calls.append(1))
    together = bench.restore(work, restorer, CROPS)
    handle.remove()
    assert len(calls) == work.evaluations
    alone = torch.cat([bench.restore(work, restorer, [one]) for one in CROPS])
    assert (together - alone).abs().max() < 1e-4 * max(1.0, float(alone.abs().max()))


@pytest.mark.parametrize(
    ("name", "count", "wanted"),
    [
        ("ddrm", 20, 20), ("daps", 20, 20), ("snips", 100, 100), ("repaint", 20, 10), ("repaint", 100, 101),
        ("ccdf", 100, 100), ("daps", 10, 8),
    ],
)  # fmt: skip
def test_steps_are_those_of_the_nearest_count(name, count, wanted, prior):
    restorer = bench.build_all(bench.load_prior(prior)[0], [name])[name]
    steps = bench.steps_for(restorer, count)
    assert restorer.evaluations(steps) == wanted
    gaps = [abs(restorer.evaluations(other) - count) for other in range(1, count + 1)]
    assert min(gaps) == abs(wanted - count) and gaps.index(min(gaps)) == steps - 1


def test_the_linear_estimate_is_wieners(prior):
    """On pooled cells of a white spectrum the best linear estimate repeats cells, shrunk by their signal's share."""
    loaded, _ = bench.load_prior(prior)
    with torch.no_grad():
        loaded.get_buffer("error_logs")[0] = math.log(0.3)
    found = bench.plain("wiener", POOLED, CROPS, loaded)
    noise, signal = (2 * bench.NOISE) ** 2, 0.3 / 16
    x = 2 * POOLED.small(CROPS) - 1
    wanted = x.repeat_interleave(4, -1).repeat_interleave(4, -2) * signal / (signal + noise)
    assert (2 * found - 1 - wanted).abs().max() < 1e-5


# -- the order, resuming, and the time ---------------------------------------------------------------------------------


def test_rows_come_by_count_then_setting_and_the_own_counts_last(prior):
    restorers = bench.build_all(bench.load_prior(prior)[0])
    works = list(bench.plan(restorers, CROPS, 2))
    assert set(restorers) == set(bench.RUNS) and [w.wanted for w in works] == sorted(
        (w.wanted for w in works), key=lambda count: (count is None, count)
    )
    shared = [w for w in works if w.wanted == 20]
    assert [w.setting for w in shared] == [BICUBIC] * 16 + [NOISY] * 12 + [POOLED] * 12
    assert all(w.setting is BICUBIC for w in works if w.solver in REFUSING)
    assert {len(w.crops) for w in shared} == {3} and {len(w.crops) for w in works if w.wanted == 100} == {2}
    own = {w.solver: w for w in works if w.wanted is None}
    assert {w.evaluations for w in own.values()} == {2410, 100, 20, 2500, 1000, 800} and len(own) == 14
    assert [c.name for c in own["dps"].crops] == list(bench.OWN_CROPS)


def test_runs_of_one_prior_are_merged_and_the_longer_row_stays():
    def row(wanted=20, own=False, **crops):
        return {"crops": crops, "wanted": wanted, "own": own}

    one = {"weights": "a", "memory": {"ddrm": 1}, "rows": {"x": row(p=1), "y": row(p=1, q=2)}}
    rows = {"x": row(p=5, q=6), "y": row(None, True, p=7), "z": row(None, True, p=8)}
    other = {"weights": "a", "memory": {"ddrm": 2, "dps": 3}, "rows": rows}
    bench.merge(one, other)
    assert {key: len(row["crops"]) for key, row in one["rows"].items()} == {"x": 2, "y": 2, "z": 1}
    assert one["rows"]["y"]["crops"]["p"] == 1 and one["memory"] == {"ddrm": 1, "dps": 3}
    # A row that one run made for a count and another for the authors' own is both.
    assert {key: (row["wanted"], row["own"]) for key, row in one["rows"].items()} == {
        "x": (20, False), "y": (20, True), "z": (None, True)
    }  # fmt: skip
    with pytest.raises(SystemExit, match="one prior"):
        bench.merge(one, {**other, "weights": "b"})


def test_a_further_call_does_what_is_missing(prior, tmp_path):
    output = tmp_path / "zero_shot.json"
    assert run(prior, output, crops=CROPS[:1], only=["ddrm"])
    first = json.loads(output.read_text())
    assert run(prior, output, only=["ddrm"])
    second = json.loads(output.read_text())
    key = next(key for key in second["rows"] if key.startswith("ddrm | bicubic | 2"))
    assert first["rows"][key]["crops"].items() <= second["rows"][key]["crops"].items()
    assert [n for n, *_ in second["rows"][key]["timing"]] == [1, 2]
    before = output.read_bytes()
    assert run(prior, output, only=["ddrm"]) and output.read_bytes() == before
    assert run(prior, output, only=["ccdf"])
    third = json.loads(output.read_text())
    assert second["rows"].items() <= third["rows"].items() and not list(tmp_path.glob(".*"))


def test_an_engine_gives_the_same_figures_and_the_first_crops_alone_are_timed(prior, tmp_path):
    pytest.importorskip("openvino")
    found = {}
    for engine in ("eager", "openvino"):
        assert run(prior, tmp_path / engine, only=["ddrm"], batch=1, engine=engine)
        found[engine] = json.loads((tmp_path / engine).read_text())["rows"]
    for key, row in found["eager"].items():
        other = found["openvino"][key]
        for name, figures in row["crops"].items():
            assert other["crops"][name] == pytest.approx(figures, rel=1e-3, abs=1e-3)
        if row["timing"]:
            assert len(row["timing"]) == len(row["crops"]) > 1 and len(other["timing"]) == 1


def test_another_prior_or_other_settings_start_anew(prior, tmp_path):
    output = tmp_path / "zero_shot.json"
    assert run(prior, output, crops=CROPS[:1])
    first = json.loads(output.read_text())
    content = json.loads(output.read_text())
    key = next(key for key in content["rows"] if key.startswith("ddrm"))
    content["rows"][key]["config"]["eta"] = 0.5
    content["rows"][key]["crops"]["Set14/baboon"] = [0, 0, 0, 0]
    bench.write(output, content)
    assert json.loads(output.read_text()) == content
    assert run(prior, output, crops=CROPS[:1])
    again = json.loads(output.read_text())
    assert {k: row["crops"] for k, row in again["rows"].items()} == {k: r["crops"] for k, r in first["rows"].items()}
    assert run(save_prior(tmp_path / "other", seed=1), output, only=["ddrm"], crops=CROPS[:1])
    other = json.loads(output.read_text())
    assert other["weights"] != first["weights"] and not any(key.startswith("ccdf") for key in other["rows"])


def test_the_minutes_are_kept_and_what_was_made_stays(prior, tmp_path):
    ticks = iter(range(10**6))
    clock = bench.Clock(4 / 60, now=lambda: float(next(ticks)))
    output = tmp_path / "zero_shot.json"
    assert not run(prior, output, clock=clock)
    part = json.loads(output.read_text())
    done = [row for row in part["rows"].values() if row["preset"] and row["crops"]]
    # Three looks at the clock before it reached the end: two batches of the first row, one of the second.
    assert [(row["solver"], len(row["crops"])) for row in done] == [("ccdf", 3), ("ddrm", 2)]
    assert "2 of 3 crops" in bench.page(part)
    assert run(prior, output)
    whole = json.loads(output.read_text())
    assert all(row["crops"].items() <= whole["rows"][key]["crops"].items() for key, row in part["rows"].items())


def test_without_a_measured_spectrum_there_is_no_spectral_row(tmp_path):
    folder = save_prior(tmp_path / "prior", measured=False)
    output = tmp_path / "zero_shot.json"
    assert run(folder, output, only=["spectral", "ddrm"], crops=CROPS[:1], counts=(2,))
    rows = json.loads(output.read_text())["rows"].values()
    assert {row["solver"] for row in rows} == {"bicubic", "ddrm"}


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs the resident set of /proc")
def test_memory_is_that_of_a_process_of_its_own(prior):
    kept = bytearray(200 * 2**20)
    grown = bench.measure_memory(prior, "ddrm", SIDE)
    assert len(kept) and grown is not None and 0 < grown < 150


# -- the page --------------------------------------------------------------------------------------------------------


def rows_of(text: str, title: str) -> dict[str, list[str]]:
    """The cells of the first table after a title, by name."""
    lines = text.split(title, 1)[1].splitlines()
    first = next(i for i, line in enumerate(lines) if line.startswith("|"))
    table = []
    for line in lines[first + 2 :]:
        if not line.startswith("|"):
            break
        table.append([cell.strip() for cell in line.strip("|").split("|")])
    return {row[0]: row[1:] for row in table}


def test_the_page_holds_the_means_of_the_figures(figures):
    text = bench.page(figures)
    row = figures["rows"]["ddrm | bicubic, noise | 4"]
    mean = np.mean(list(row["crops"].values()), axis=0)
    cells = rows_of(text.split(f"## {NOISY.title}")[1], "About 4 evaluations")["`ddrm`"]
    assert cells[:6] == ["4", "4", f"{mean[0]:.2f}", f"{mean[1]:.4f}", f"{mean[2]:.4f}", f"{mean[3]:.1f}"]
    seconds = sum(t[1] for t in row["timing"]) / 3
    network = sum(t[0] * t[2] for t in row["timing"]) / 3
    assert cells[6:8] == [f"{seconds / network:.1f}", f"{seconds:.2f}"]
    assert set(rows_of(text, f"## {POOLED.title}")) == {"bicubic enlargement", "linear estimate", "`ddrm`"}
    assert "12.75 grey levels" in text and f"value is {-20 * math.log10(0.05):.1f}" in text
    assert text == bench.page(json.loads(json.dumps(figures)))


def invented(gaps: dict[str, tuple[float, float]]) -> dict:
    """Figures of solvers that are so far from bicubic in LPIPS and PSNR, give or take a little on three crops."""
    names, rows = [one.name for one in CROPS], {}
    for setting in bench.SETTINGS:
        base = {"setting": setting.name, "evaluations": 20, "steps": 20, "own": False, "timing": []}
        plain = {name: [25.0 + i, 0.7, 0.4, 30.0] for i, name in enumerate(names)}
        rows[f"bicubic | {setting.name} | 0"] = {**base, "solver": "bicubic", "preset": "", "wanted": 0, "crops": plain}
        for solver, (lpips_gap, psnr_gap) in gaps.items():
            crops = {n: [25.0 + i + psnr_gap * (1 + i), 0.7, 0.4 + lpips_gap * (1 + i), 30.0]
                     for i, n in enumerate(names)}  # fmt: skip
            rows[f"{solver} | {setting.name} | 20"] = {
                **base, "solver": solver, "preset": "paper", "wanted": 20, "crops": crops
            }  # fmt: skip
    return {
        "weights": "0" * 64, "iterations": 5, "hours": 0.1, "threads": 1, "batch": 2, "memory": {}, "rows": rows,
        "crops": names,
    }  # fmt: skip


def test_who_beats_bicubic_is_computed():
    content = invented({"ddrm": (-0.05, 0.1), "ddnm": (-0.05, -0.1), "dps": (0.01, 0.5), "spectral": (-0.1, 0.0)})
    found = rows_of(bench.page(content), "Against the bicubic enlargement")
    assert found["`ddrm`"][0] == "yes* at 20 (-0.100, +0.20)"
    assert found["`ddnm`"][0] == "no at 20 (-0.100, -0.20)"
    assert found["`dps`"][0].startswith("no at 20") and "`pigdm`" not in found
    assert found["`spectral`"][0] == "yes at 20 (-0.200, +0.00)"
    assert f"- {NOISY.title}: better than bicubic `ddrm`, `spectral`; than the linear estimate none." in (
        " ".join(bench.page(content).split("\n"))
    )


def test_results_that_are_not_finite_are_said():
    content = invented({"snips": (0.1, 0.1)})
    content["rows"]["snips | bicubic | 20"]["crops"]["BSD100/3096"] = None
    assert rows_of(bench.page(content), f"## {BICUBIC.title}")["`snips`"][2] == "not finite"


def test_denoising_stands_on_the_page_where_it_is_of_the_same_weights():
    content, row = invented({}), {"noisy": 20.17, "denoised": 29.5, "target": 29.8, "goal": 30.3}
    denoising = {"weights": content["weights"], "pictures": 100, "levels": {"25": row}}
    text = bench.page(content, denoising)
    assert "| 25 | 20.17 | 29.50 | 29.8 | 30.3 |" in text and "Below what was wanted at: 25." in text
    assert "Denoising" not in bench.page(content, {**denoising, "weights": "1" * 64})


# -- the command -------------------------------------------------------------------------------------------------------


def test_what_the_command_refuses(monkeypatch, capsys):
    for arguments, said in ((["--only", "ddrn"], "'ddrn' is no solver"), ([], "name PRIOR and --data")):
        monkeypatch.setattr(sys, "argv", ["zero_shot.py", *arguments])
        with pytest.raises(SystemExit):
            bench.main()
        assert said in capsys.readouterr().err


def test_weights_of_a_method_are_no_prior(tmp_path):
    method = methods.build("sr3", scale=4)
    method.save_pretrained(tmp_path)
    with pytest.raises(SystemExit, match="sr3: name those of a prior"):
        bench.load_prior(str(tmp_path))
