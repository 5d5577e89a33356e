"""What computes a network: PyTorch as it is, PyTorch compiled, or OpenVINO; the same pictures to 1e-3 of [0, 1].

`use` puts an engine in the place of `forward` of a module, so that whoever holds the module calls it as before, and its
weights and attributes stay what they are. All engines take the threads that PyTorch has (OMP_NUM_THREADS,
`torch.set_num_threads`) and compute in float32 on the processor.
"""

from __future__ import annotations

import functools
import importlib
import importlib.util
import sys
import threading
import warnings
from collections import OrderedDict
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.jit._trace import TracerWarning

from mezzotint.errors import UsageError

NAMES = ("eager", "compile", "openvino")
"""`eager` is PyTorch as it is."""

# Compiled networks that one module keeps, of those that have to be compiled for every size of a picture.
_KEPT = 8
# One for every remainder of the sides of a picture, for networks that extend it to a multiple of 16.
_RECOMPILATIONS = 4 * 16**2

Outputs = Tensor | tuple[Tensor, ...]


def check(name: str, *, device: str = "cpu", gradients: bool = False) -> None:
    """Raise UsageError where this engine cannot work here; `device` as PyTorch names its kind.

    `gradients`: whether the network has to be differentiated.
    """
    if name not in NAMES:
        raise UsageError(f"engine {name!r} is unknown: use one of {', '.join(NAMES)}")
    if name == "openvino":
        if importlib.util.find_spec("openvino") is None:
            raise UsageError(
                "--engine openvino needs a package that is not installed: pip install 'mezzotint[fast]', or use "
                "--engine eager"
            )
        if device != "cpu":
            raise UsageError(f"--engine openvino is for the processor, not for {device}: use --device cpu")
        if gradients:
            raise UsageError(
                "--engine openvino computes no gradients, and this method differentiates its network: use --engine "
                "eager or compile"
            )
    if name == "compile" and device == "cpu":
        _check_compiler()


def use(name: str, networks: Iterable[nn.Module], *, device: str = "cpu", gradients: bool = False) -> None:
    """Let this engine compute the networks from now on, in place; raises what `check` raises.

    Networks take tensors and give a tensor or a tuple of tensors. They are compiled at their first call, once where
    they treat all sizes alike, otherwise for every size. UsageError at that call for a network that the engine cannot
    compile: no part of it is computed by another one instead.
    """
    check(name, device=device, gradients=gradients)
    make: Callable[[nn.Module], Any] = _OpenVino if name == "openvino" else _Compiled
    for network in networks:
        network.__dict__.pop("forward", None)
        if name != "eager":
            network.forward = make(network)
        elif device == "cpu":
            # Its convolutions then keep the channels of a pixel together too, which takes a tenth less time.
            network.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]


class _Compiled:
    """`torch.compile`; the whole network or an error, with open sizes where that compiles, else for each size."""

    def __init__(self, network: nn.Module) -> None:
        self._name, self._forward = type(network).__name__, network.forward
        self._run = torch.compile(self._forward, fullgraph=True, dynamic=True)
        self._any_size = True

    def __call__(self, *inputs: Tensor) -> Outputs:
        from torch._dynamo import config
        from torch._dynamo.exc import TorchDynamoException
        from torch._inductor.exc import InductorError

        try:
            with config.patch(recompile_limit=_RECOMPILATIONS, accumulated_recompile_limit=_RECOMPILATIONS):
                return self._run(*inputs)
        except (TorchDynamoException, InductorError) as error:
            if not self._any_size:
                raise _refusal("compile", self._name, error) from error
            self._any_size = False
            self._run = torch.compile(self._forward, fullgraph=True, dynamic=False)
            return self(*inputs)


class _OpenVino:
    """A network traced, converted in memory and compiled by OpenVINO; no file is written and nothing is reported."""

    def __init__(self, network: nn.Module) -> None:
        self._network = _Traceable(network)
        self._name = type(network).__name__
        self._requests: OrderedDict[tuple[Any, ...], Any] = OrderedDict()
        # Whether the sizes of a picture may vary, by what is fixed.
        self._any_size: dict[tuple[Any, ...], bool] = {}
        self._lock = threading.Lock()

    def __call__(self, *inputs: Tensor) -> Outputs:
        self._check(inputs)
        with self._lock:
            request = self._request(inputs)
            arrays = [value.detach().contiguous().numpy() for value in inputs]
            found = request.infer(arrays, share_inputs=True, share_outputs=True)
            # The request keeps its results until it is asked again.
            outputs = tuple(torch.from_numpy(found[k].copy()) for k in range(len(found)))
        return outputs[0] if self._network.single else outputs

    def _check(self, inputs: tuple[Tensor, ...]) -> None:
        for value in inputs:
            # A level may be a double: networks round it themselves.
            if value.device.type != "cpu" or (value.dim() == 4 and value.dtype != torch.float32):
                raise UsageError(
                    f"--engine openvino takes float32 on the processor, not {value.dtype} on {value.device.type}: use "
                    "--engine eager"
                )
            if value.requires_grad and torch.is_grad_enabled():
                raise UsageError("--engine openvino computes no gradients: use --engine eager or compile")

    def _request(self, inputs: tuple[Tensor, ...]) -> Any:
        """What computes inputs of these shapes with the threads of now."""
        fixed = (torch.get_num_threads(), *(_fixed(value) for value in inputs))
        sizes = tuple(tuple(value.shape) for value in inputs)
        key = (fixed, ()) if self._any_size.get(fixed) else (fixed, sizes)
        if key not in self._requests:
            try:
                model, any_size = self._convert(inputs)
            except (RuntimeError, TypeError, ValueError) as error:
                raise _refusal("openvino", self._name, error) from error
            self._any_size[fixed] = any_size
            key = (fixed, ()) if any_size else (fixed, sizes)
            self._requests[key] = _compile(model, threads=fixed[0])
            while len(self._requests) > _KEPT:
                self._requests.popitem(last=False)
        self._requests.move_to_end(key)
        return self._requests[key]

    def _convert(self, inputs: tuple[Tensor, ...]) -> tuple[Any, bool]:
        """The network as OpenVINO has it, and whether it may be given pictures of any size.

        Tracing records what was computed for these inputs. It warns of every decision that was taken by a size, which
        another size might take differently; where there was none, the record is right for all sizes.
        """
        openvino = _openvino()
        decoder_of = importlib.import_module("openvino.frontend.pytorch.ts_decoder").TorchScriptPythonDecoder
        with warnings.catch_warnings(record=True) as caught, torch.no_grad():
            warnings.simplefilter("always")
            traced = torch.jit.trace(self._network, inputs, check_trace=False)
            # Held until the conversion is over: the frontend does not.
            decoder = decoder_of(traced, shared_memory=False)
            frontend = openvino.frontend.FrontEndManager().load_by_framework("pytorch")
            loaded = frontend.load(decoder)
            model = frontend.convert(loaded)
        any_size = not any(issubclass(warning.category, TracerWarning) for warning in caught)
        for place, value in zip(model.inputs, inputs, strict=True):
            shape = _fixed(value) if any_size else tuple(value.shape)
            place.get_node().set_partial_shape(openvino.PartialShape(list(shape)))
        model.validate_nodes_and_infer_types()
        return model, any_size


class _Traceable(nn.Module):
    """A network whose own `forward` an engine has replaced; `single`: whether it gave one tensor."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network, self._run = network, network.forward
        self.single = True
        self.train(network.training)

    def forward(self, *inputs: Tensor) -> Outputs:
        outputs = self._run(*inputs)
        self.single = isinstance(outputs, Tensor)
        return outputs


def _fixed(value: Tensor) -> tuple[int, ...]:
    """The shape of an input, -1 for height and width of a picture."""
    return (*value.shape[:2], -1, -1) if value.dim() == 4 else tuple(value.shape)


def _compile(model: Any, *, threads: int) -> Any:
    settings = {
        # bfloat16 is the default where a processor has it.
        "INFERENCE_PRECISION_HINT": "f32",
        "PERFORMANCE_HINT": "LATENCY",
        "NUM_STREAMS": "1",
        "INFERENCE_NUM_THREADS": threads,
        # Several processes on one folder would all be bound to the first processors.
        "ENABLE_CPU_PINNING": False,
    }
    return _core().compile_model(model, "CPU", settings).create_infer_request()


@functools.cache
def _core() -> Any:
    return _openvino().Core()


def _openvino() -> Any:
    """The package. Imported as it comes it sends a report to its makers, unless what sends it is missing, and leaves a
    number for this user in the home folder; so it is missing while the package is imported. What converts networks
    without a report is its frontend, used here in the place of `openvino.convert_model`."""
    if "openvino" in sys.modules:
        return sys.modules["openvino"]
    name = "openvino_telemetry"
    before = sys.modules.get(name)
    sys.modules[name] = None  # pyright: ignore
    try:
        return importlib.import_module("openvino")
    finally:
        del sys.modules[name]
        if before is not None:
            sys.modules[name] = before


def _check_compiler() -> None:
    from torch._inductor.cpp_builder import get_cpp_compiler
    from torch._inductor.exc import InvalidCxxCompiler

    try:
        get_cpp_compiler()
    except (InvalidCxxCompiler, RuntimeError, OSError):
        raise UsageError(
            "--engine compile needs a C++ compiler, and none is found: install g++ (clang++ on a Mac), name one in the "
            "environment variable CXX, or use --engine eager"
        ) from None


def _refusal(engine: str, network: str, error: Exception) -> UsageError:
    reason = " ".join([line.strip() for line in str(error).splitlines() if line.strip()][:2]) or type(error).__name__
    return UsageError(f"--engine {engine} cannot compile the network {network} ({reason[:200]}): use --engine eager")
