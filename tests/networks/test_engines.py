from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch._inductor import cpp_builder

from mezzotint import methods
from mezzotint.cli import options
from mezzotint.errors import UsageError
from mezzotint.methods import mezzotint_x4
from mezzotint.methods.mezzotint_x4 import PredictRefine
from mezzotint.networks import engines
from mezzotint.noise import Noise
from mezzotint.upscaler import Upscaler, load

needs_openvino = pytest.mark.skipif(
    importlib.util.find_spec("openvino") is None, reason="openvino is not installed: pip install '.[fast]'"
)
FAST = pytest.param("openvino", marks=needs_openvino)
TOLERANCE = 1e-3
"""Of [0, 1], how far an engine may be from PyTorch."""


def _method() -> PredictRefine:
    torch.manual_seed(0)
    method = mezzotint_x4.build(preset="small").fused()
    for parameter in method.refiner.parameters():
        parameter.data = 0.06 * torch.randn_like(parameter)
    method.deviations.uniform_(0.02, 0.1)
    return method.eval().requires_grad_(False)


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("weights")
    _method().save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def eager(weights: Path) -> Upscaler:
    return load(weights)


@pytest.fixture(scope="module")
def fast(weights: Path) -> Upscaler:
    return load(weights, engine="openvino")


@pytest.fixture
def one_thread_after() -> Iterator[None]:
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


def _picture(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(height * width).random((height, width, 3)).astype(np.float32)


def _apart(first: np.ndarray, second: np.ndarray) -> float:
    assert first.shape == second.shape
    return float(np.abs(first.astype(np.float64) - second.astype(np.float64)).max())


def test_the_command_line_names_the_engines() -> None:
    assert options.ENGINES == engines.NAMES


# -- the invariants of a method, with another engine ------------------------------------------------------------------


@needs_openvino
@pytest.mark.parametrize(("height", "width"), [(1, 1), (1, 23), (19, 2), (16, 16), (33, 41)])
def test_openvino_makes_the_pictures_of_pytorch(eager: Upscaler, fast: Upscaler, height: int, width: int) -> None:
    picture = _picture(height, width)
    for settings in ({"realism": 0.0}, {"realism": 1.0, "steps": 2, "seed": 3}, {"scale": 2.5}):
        expected, found = eager(picture, **settings), fast(picture, **settings)
        assert _apart(found.image, expected.image) < TOLERANCE
        assert found.record.request == expected.record.request
        again = fast(picture, **settings)
        np.testing.assert_array_equal(again.image, found.image)


@needs_openvino
def test_openvino_in_tiles_equals_the_whole(fast: Upscaler) -> None:
    picture = _picture(45, 50)
    whole = fast(picture, tile="none", steps=2).image
    assert _apart(fast(picture, tile=16, steps=2).image, whole) < TOLERANCE
    eight_bits = (picture * 255).astype(np.uint8)
    one, other = (fast(eight_bits, tile=tile, steps=2).image for tile in ("none", 16))
    different = one != other
    assert different.mean() <= 1e-4 and np.abs(one.astype(int) - other)[different].max(initial=0) <= 1


@needs_openvino
def test_the_record_names_engine_and_version(eager: Upscaler, fast: Upscaler) -> None:
    picture = _picture(6, 5)
    record = fast(picture).record
    assert record.machine is not None and record.machine.engine == "openvino"
    assert record.libraries["openvino"] == metadata.version("openvino")
    plain = eager(picture).record
    assert plain.machine is not None and plain.machine.engine == "eager" and "openvino" not in plain.libraries


@needs_openvino
@pytest.mark.parametrize(
    "name",
    [
        "shared",
        "resshift",
        *(pytest.param(name, marks=pytest.mark.slow) for name in ("sr3", "ncsn-sr", "srdiff", "diwa", "indi", "i2sb")),
    ],
)
def test_methods_of_the_survey_run_in_openvino(name: str) -> None:
    """Their networks extend pictures to a multiple: every size has a compilation of its own."""
    torch.manual_seed(0)
    method = methods.build(name).eval().requires_grad_(False)
    for parameter in method.parameters():
        parameter.add_(0.01 * torch.randn_like(parameter))
    pictures = [2 * torch.rand(1, 3, *size) - 1 for size in ((8, 8), (5, 7))]
    expected = [method.sample(x, steps=2, noise=Noise(0)) for x in pictures]
    engines.use("openvino", method.networks)
    for x, y in zip(pictures, expected, strict=True):
        reached = float(y.abs().max())
        found = method.sample(x, steps=2, noise=Noise(0))
        assert float((found - y).abs().max()) / 2 < TOLERANCE * max(1.0, reached)
    engines.use("eager", method.networks)
    again = method.sample(pictures[0], steps=2, noise=Noise(0))
    # New networks enlarge what the order of a sum changes: not even PyTorch repeats itself to the last bits.
    assert float((again - expected[0]).abs().max()) / 2 < TOLERANCE * max(1.0, float(expected[0].abs().max()))


# -- one network ------------------------------------------------------------------------------------------------------


class _BySize(nn.Module):
    """Doubles what is wide and halves the rest: a decision that tracing one size would fix for all."""

    def forward(self, h: Tensor) -> Tensor:
        return 2 * h if h.shape[-1] > 8 else h / 2


class _Convolved(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Conv2d(3, 5, 3, padding=1)

    def forward(self, h: Tensor, level: Tensor) -> tuple[Tensor, Tensor]:
        h = self.inner(h) + level[:, None, None, None].float()
        return h, h.sum(dim=1, keepdim=True)


@needs_openvino
def test_a_network_that_looks_at_sizes_is_compiled_for_each() -> None:
    network = _BySize()
    engines.use("openvino", [network])
    for width in (4, 12, 4, 9, 8):
        h = torch.rand(1, 3, 5, width)
        torch.testing.assert_close(network(h), 2 * h if width > 8 else h / 2)


@needs_openvino
def test_a_network_that_does_not_is_compiled_once(monkeypatch: pytest.MonkeyPatch) -> None:
    compiled = []
    compile_ = engines._compile
    monkeypatch.setattr(engines, "_compile", lambda *given, **named: compiled.append(1) or compile_(*given, **named))
    network = _Convolved().requires_grad_(False)
    for size in ((5, 6), (1, 1), (7, 30)):
        h, level = torch.randn(2, 3, *size), torch.rand(2, dtype=torch.float64)
        engines.use("eager", [network])
        expected = network(h, level)
        if size == (5, 6):
            fast = _Convolved().requires_grad_(False)
            fast.load_state_dict(network.state_dict())
            engines.use("openvino", [fast])
        for one, other in zip(fast(h, level), expected, strict=True):
            torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)
    assert len(compiled) == 1
    first, _ = fast(torch.zeros(2, 3, 4, 4), torch.zeros(2))
    kept = first.clone()
    fast(torch.ones(2, 3, 4, 4), torch.ones(2))
    torch.testing.assert_close(first, kept, rtol=0, atol=0)


@needs_openvino
def test_the_threads_of_pytorch_are_those_of_openvino(monkeypatch: pytest.MonkeyPatch, one_thread_after: None) -> None:
    found: list[tuple[int, int]] = []
    compile_ = engines._compile
    processors = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1

    def noted(model: object, *, threads: int) -> object:
        request = compile_(model, threads=threads)
        found.append((threads, request.get_compiled_model().get_property("INFERENCE_NUM_THREADS")))
        return request

    monkeypatch.setattr(engines, "_compile", noted)
    network = _BySize()
    engines.use("openvino", [network])
    for threads in (1, 2):
        torch.set_num_threads(threads)
        network(torch.rand(1, 3, 4, 4))
    # It takes no more of them than there are processors.
    assert found == [(threads, min(threads, processors)) for threads in (1, 2)]


@needs_openvino
def test_gradients_are_refused_by_openvino() -> None:
    network = _BySize()
    engines.use("openvino", [network])
    with pytest.raises(UsageError, match="no gradients: use --engine eager or compile"):
        network(torch.rand(1, 3, 4, 4, requires_grad=True))
    with pytest.raises(UsageError, match="takes float32 on the processor, not torch.float64"):
        network(torch.rand(1, 3, 4, 4, dtype=torch.float64))
    for name in ("dps", "classifier-sr"):
        method = methods.build(name)
        with pytest.raises(UsageError, match="differentiates its network: use --engine eager or compile"):
            engines.check("openvino", gradients=method.differentiates)
    assert not methods.build("ddnm").differentiates


@needs_openvino
def test_openvino_reports_nothing_and_leaves_no_file(tmp_path: Path, weights: Path) -> None:
    script = f"""
import os, socket, sys
import numpy as np
def refuse(*given, **named):
    print("CONNECTS", given, flush=True)
    raise OSError("no network here")
socket.socket.connect = socket.getaddrinfo = socket.create_connection = refuse
import mezzotint
upscaler = mezzotint.load({str(weights)!r}, engine="openvino")
upscaler(np.full((8, 8, 3), 99, np.uint8), steps=1)
assert "openvino" in sys.modules and "openvino_telemetry" not in sys.modules
"""
    home, work = tmp_path / "home", tmp_path / "work"
    for folder in (home, work):
        folder.mkdir()
    before = set(weights.iterdir())
    environment = {**os.environ, "HOME": str(home), "TMPDIR": str(work), "OMP_NUM_THREADS": "1"}
    environment.pop("CI", None)
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=work, env=environment, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
    assert not list(home.iterdir()) and not list(work.iterdir()) and set(weights.iterdir()) == before


# -- torch.compile ----------------------------------------------------------------------------------------------------


def _has_compiler() -> bool:
    try:
        engines.check("compile")
    except UsageError:
        return False
    return True


@pytest.mark.slow
@pytest.mark.skipif(not _has_compiler(), reason="there is no C++ compiler")
def test_torch_compile_makes_the_pictures_of_pytorch(weights: Path, eager: Upscaler) -> None:
    compiled = load(weights, engine="compile")
    for size in ((9, 14), (20, 20), (1, 3)):
        picture = _picture(*size)
        found = compiled(picture, steps=2)
        assert _apart(found.image, eager(picture, steps=2).image) < TOLERANCE
        np.testing.assert_array_equal(compiled(picture, steps=2).image, found.image)
        assert found.record.machine is not None and found.record.machine.engine == "compile"
    picture = _picture(20, 37)
    assert _apart(compiled(picture, steps=2, tile=16).image, compiled(picture, steps=2).image) < TOLERANCE


class _Breaking(nn.Module):
    def forward(self, h: Tensor) -> Tensor:
        return h if h.sum() > 0 else -h


def test_what_cannot_be_compiled_whole_is_refused() -> None:
    network = _Breaking()
    engines.use("compile", [network])
    with pytest.raises(UsageError, match="cannot compile the network _Breaking .*: use --engine eager"):
        network(torch.zeros(1, 3, 4, 4))


def test_eager_undoes_another_engine_and_computes_the_same() -> None:
    network = _Convolved().requires_grad_(False)
    h, level = torch.randn(2, 3, 9, 7), torch.rand(2)
    expected = network(h, level)
    engines.use("compile", [network])
    assert "forward" in vars(network)
    engines.use("eager", [network])
    assert "forward" not in vars(network)
    for one, other in zip(network(h, level), expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-6)


# -- wrong use --------------------------------------------------------------------------------------------------------


def test_without_a_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    # It remembers what it found.
    cpp_builder.cpp_compiler_search.cache_clear()
    monkeypatch.setenv("PATH", "")
    with pytest.raises(UsageError, match="needs a C\\+\\+ compiler.*use --engine eager"):
        engines.check("compile")


def test_without_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UsageError, match=r"pip install 'mezzotint\[fast\]'"):
        load("mezzotint-x4", engine="openvino")


@pytest.mark.parametrize("name", ["", "tensorrt", "Eager"])
def test_unknown_engines(name: str) -> None:
    with pytest.raises(UsageError, match=f"engine '{name}' is unknown: use one of eager, compile, openvino"):
        load("mezzotint-x4", engine=name)


@needs_openvino
def test_openvino_is_for_the_processor() -> None:
    with pytest.raises(UsageError, match="not for cuda: use --device cpu"):
        engines.check("openvino", device="cuda")


@pytest.mark.parametrize("engine", [FAST, "compile"])
def test_interpolation_has_no_network(engine: str) -> None:
    with pytest.raises(UsageError, match=f"bicubic has no network for --engine {engine}: leave --engine out"):
        load("bicubic", engine=engine)
