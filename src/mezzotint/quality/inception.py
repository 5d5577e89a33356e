"""The Inception network of FID and KID: the one of 2015 that the published figures use, ported from TensorFlow.

Its weights are no part of any package. The user converts pytorch-fid's port of them, once, with `mezzotint weights
add`. ImageNet classifiers of the same shape that other libraries offer give other figures.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mezzotint.errors import InputError, WeightsError
from mezzotint.quality import published
from mezzotint.quality.frechet import frechet_distance_of_features, kernel_distance
from mezzotint.quality.levels import Picture, to_levels

SIDE = 299
_FILE = "pt_inception-2015-12-05-6726825d.pth"
_SHA256_START = "6726825d"
WAY = (
    f"get {_FILE} from the releases of mseitzer/pytorch-fid on GitHub, then "
    f"`mezzotint weights add {_FILE} --from pytorch-fid`"
)


class _Convolution(nn.Module):
    """Convolution, normalisation with the moments of training, ReLU."""

    def __init__(
        self,
        channels: int,
        width: int,
        size: int | tuple[int, int],
        *,
        stride: int = 1,
        padding: int | tuple[int, int] = 0,
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, width, size, stride=stride, padding=padding, bias=False)
        self.bn = nn.BatchNorm2d(width, eps=0.001)

    def forward(self, state: Tensor) -> Tensor:
        return F.relu(self.bn(self.conv(state)))


def _average(state: Tensor) -> Tensor:
    """Average of 3x3 that leaves out the padding, as TensorFlow's does and PyTorch's does not."""
    return F.avg_pool2d(state, 3, stride=1, padding=1, count_include_pad=False)


class _BlockA(nn.Module):
    def __init__(self, channels: int, pooled: int) -> None:
        super().__init__()
        self.branch1x1 = _Convolution(channels, 64, 1)
        self.branch5x5_1 = _Convolution(channels, 48, 1)
        self.branch5x5_2 = _Convolution(48, 64, 5, padding=2)
        self.branch3x3dbl_1 = _Convolution(channels, 64, 1)
        self.branch3x3dbl_2 = _Convolution(64, 96, 3, padding=1)
        self.branch3x3dbl_3 = _Convolution(96, 96, 3, padding=1)
        self.branch_pool = _Convolution(channels, pooled, 1)

    def forward(self, state: Tensor) -> Tensor:
        five = self.branch5x5_2(self.branch5x5_1(state))
        three = self.branch3x3dbl_3(self.branch3x3dbl_2(self.branch3x3dbl_1(state)))
        return torch.cat([self.branch1x1(state), five, three, self.branch_pool(_average(state))], dim=1)


class _BlockB(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.branch3x3 = _Convolution(channels, 384, 3, stride=2)
        self.branch3x3dbl_1 = _Convolution(channels, 64, 1)
        self.branch3x3dbl_2 = _Convolution(64, 96, 3, padding=1)
        self.branch3x3dbl_3 = _Convolution(96, 96, 3, stride=2)

    def forward(self, state: Tensor) -> Tensor:
        twice = self.branch3x3dbl_3(self.branch3x3dbl_2(self.branch3x3dbl_1(state)))
        return torch.cat([self.branch3x3(state), twice, F.max_pool2d(state, 3, stride=2)], dim=1)


class _BlockC(nn.Module):
    def __init__(self, channels: int, inner: int) -> None:
        super().__init__()
        self.branch1x1 = _Convolution(channels, 192, 1)
        self.branch7x7_1 = _Convolution(channels, inner, 1)
        self.branch7x7_2 = _Convolution(inner, inner, (1, 7), padding=(0, 3))
        self.branch7x7_3 = _Convolution(inner, 192, (7, 1), padding=(3, 0))
        self.branch7x7dbl_1 = _Convolution(channels, inner, 1)
        self.branch7x7dbl_2 = _Convolution(inner, inner, (7, 1), padding=(3, 0))
        self.branch7x7dbl_3 = _Convolution(inner, inner, (1, 7), padding=(0, 3))
        self.branch7x7dbl_4 = _Convolution(inner, inner, (7, 1), padding=(3, 0))
        self.branch7x7dbl_5 = _Convolution(inner, 192, (1, 7), padding=(0, 3))
        self.branch_pool = _Convolution(channels, 192, 1)

    def forward(self, state: Tensor) -> Tensor:
        once = self.branch7x7_3(self.branch7x7_2(self.branch7x7_1(state)))
        twice = self.branch7x7dbl_3(self.branch7x7dbl_2(self.branch7x7dbl_1(state)))
        twice = self.branch7x7dbl_5(self.branch7x7dbl_4(twice))
        return torch.cat([self.branch1x1(state), once, twice, self.branch_pool(_average(state))], dim=1)


class _BlockD(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.branch3x3_1 = _Convolution(channels, 192, 1)
        self.branch3x3_2 = _Convolution(192, 320, 3, stride=2)
        self.branch7x7x3_1 = _Convolution(channels, 192, 1)
        self.branch7x7x3_2 = _Convolution(192, 192, (1, 7), padding=(0, 3))
        self.branch7x7x3_3 = _Convolution(192, 192, (7, 1), padding=(3, 0))
        self.branch7x7x3_4 = _Convolution(192, 192, 3, stride=2)

    def forward(self, state: Tensor) -> Tensor:
        three = self.branch3x3_2(self.branch3x3_1(state))
        seven = self.branch7x7x3_4(self.branch7x7x3_3(self.branch7x7x3_2(self.branch7x7x3_1(state))))
        return torch.cat([three, seven, F.max_pool2d(state, 3, stride=2)], dim=1)


class _BlockE(nn.Module):
    """pooling: "average", or "maximum" in the last block, a slip of the network of 2015 that every figure has in it."""

    def __init__(self, channels: int, pooling: str) -> None:
        super().__init__()
        self.pooling = pooling
        self.branch1x1 = _Convolution(channels, 320, 1)
        self.branch3x3_1 = _Convolution(channels, 384, 1)
        self.branch3x3_2a = _Convolution(384, 384, (1, 3), padding=(0, 1))
        self.branch3x3_2b = _Convolution(384, 384, (3, 1), padding=(1, 0))
        self.branch3x3dbl_1 = _Convolution(channels, 448, 1)
        self.branch3x3dbl_2 = _Convolution(448, 384, 3, padding=1)
        self.branch3x3dbl_3a = _Convolution(384, 384, (1, 3), padding=(0, 1))
        self.branch3x3dbl_3b = _Convolution(384, 384, (3, 1), padding=(1, 0))
        self.branch_pool = _Convolution(channels, 192, 1)

    def forward(self, state: Tensor) -> Tensor:
        three = self.branch3x3_1(state)
        twice = self.branch3x3dbl_2(self.branch3x3dbl_1(state))
        pooled = _average(state) if self.pooling == "average" else F.max_pool2d(state, 3, stride=1, padding=1)
        branches = [
            self.branch1x1(state),
            self.branch3x3_2a(three),
            self.branch3x3_2b(three),
            self.branch3x3dbl_3a(twice),
            self.branch3x3dbl_3b(twice),
            self.branch_pool(pooled),
        ]
        return torch.cat(branches, dim=1)


class Inception(nn.Module):
    """Inception v3 as of December 2015 up to its global average, with the parameter names of pytorch-fid's file.

    Weights are random until loaded: `load_network` returns the published ones.
    """

    def __init__(self) -> None:
        super().__init__()
        self.Conv2d_1a_3x3 = _Convolution(3, 32, 3, stride=2)
        self.Conv2d_2a_3x3 = _Convolution(32, 32, 3)
        self.Conv2d_2b_3x3 = _Convolution(32, 64, 3, padding=1)
        self.Conv2d_3b_1x1 = _Convolution(64, 80, 1)
        self.Conv2d_4a_3x3 = _Convolution(80, 192, 3)
        self.Mixed_5b = _BlockA(192, 32)
        self.Mixed_5c = _BlockA(256, 64)
        self.Mixed_5d = _BlockA(288, 64)
        self.Mixed_6a = _BlockB(288)
        self.Mixed_6b = _BlockC(768, 128)
        self.Mixed_6c = _BlockC(768, 160)
        self.Mixed_6d = _BlockC(768, 160)
        self.Mixed_6e = _BlockC(768, 192)
        self.Mixed_7a = _BlockD(768)
        self.Mixed_7b = _BlockE(1280, "average")
        self.Mixed_7c = _BlockE(2048, "maximum")

    def forward(self, picture: Tensor) -> Tensor:
        """Return the features (b, 2048) of pictures (b, 3, 299, 299) with levels less 128, over 128."""
        state = self.Conv2d_2b_3x3(self.Conv2d_2a_3x3(self.Conv2d_1a_3x3(picture)))
        state = self.Conv2d_4a_3x3(self.Conv2d_3b_1x1(F.max_pool2d(state, 3, stride=2)))
        state = F.max_pool2d(state, 3, stride=2)
        for name, block in self.named_children():
            if name.startswith("Mixed"):
                state = block(state)
        return state.mean(dim=(2, 3))


def resized(picture: Picture, *, name: str = "picture") -> Tensor:
    """Return pictures as the network takes them: float32 (b, 3, 299, 299) with levels less 128, over 128.

    The 8-bit levels of each channel are resized in float by the antialiased bicubic of Pillow and clipped, not rounded:
    the "clean" way of Parmar et al. 2022, arXiv 2104.11222. Grey is taken as RGB.
    """
    levels = torch.from_numpy(to_levels(picture, name=name)).expand(-1, 3, -1, -1)
    levels = F.interpolate(levels, size=(SIDE, SIDE), mode="bicubic", antialias=True, align_corners=False)
    return ((levels.clamp(0.0, 255.0) - 128.0) / 128.0).to(torch.float32)


def inception_features(picture: Picture, *, path: str | os.PathLike[str] | None = None) -> np.ndarray:
    """Return the features of pictures, float32 (b, 2048), with which `frechet_distance` is FID.

    picture: as `psnr` takes it. path: weights elsewhere. Raises InputError for unusable pictures, WeightsError without
    the published weights.
    """
    network = load_network(path=path)
    with torch.no_grad():
        return network(resized(picture)).numpy()


def fid(
    reference: Sequence[Picture], candidate: Sequence[Picture], *, path: str | os.PathLike[str] | None = None
) -> float:
    """Return the Fréchet Inception distance of two sets of pictures, each of any size.

    Differs from clean-fid in the port of the weights only. To compare with published figures, use their sets and crops
    and at least 10,000 pictures. Errors are those of `inception_features` and `frechet_distance`.
    """
    return frechet_distance_of_features(*_features(reference, candidate, path))


def kid(
    reference: Sequence[Picture], candidate: Sequence[Picture], *, path: str | os.PathLike[str] | None = None
) -> float:
    """Return the kernel Inception distance of two sets of pictures; arguments and errors as `fid`."""
    return kernel_distance(*_features(reference, candidate, path))


def _features(
    reference: Sequence[Picture], candidate: Sequence[Picture], path: str | os.PathLike[str] | None
) -> list[np.ndarray]:
    for pictures in (reference, candidate):
        if len(pictures) < 2:
            raise InputError(f"a set of {len(pictures)} pictures has no distribution: give at least two")
    return [np.concatenate([inception_features(one, path=path) for one in group]) for group in (reference, candidate)]


def weights_file() -> Path:
    """Return where the weights lie; raises WeightsError, with the way to get them, where there are none."""
    return published.require("inception", measure="FID and KID", way=WAY)


def load_network(*, path: str | os.PathLike[str] | None = None) -> Inception:
    """Return the network with the published weights, frozen; it is kept and shared. Raises WeightsError."""
    found = Path(path) if path is not None else weights_file()
    return _load(found, found.stat().st_mtime_ns if found.is_file() else 0)


@lru_cache(maxsize=1)
def _load(path: Path, changed: int) -> Inception:
    del changed  # part of the cache key only
    return _filled(published.read(path, name="inception"), str(path))


def _filled(tensors: dict[str, Tensor], source: str) -> Inception:
    with torch.device("meta"):
        network = Inception()
    # The number of batches seen in training plays no part; ports of TensorFlow lack it.
    counts = {key: torch.zeros((), dtype=torch.int64) for key in network.state_dict() if key.endswith("tracked")}
    try:
        network.load_state_dict({**counts, **tensors}, assign=True)
    except RuntimeError as error:
        raise WeightsError(f"weights {source} do not fit the Inception network of 2015: {WAY}") from error
    return network.eval().requires_grad_(False)


def convert(sources: Sequence[str | os.PathLike[str]]) -> dict[str, Tensor]:
    """Return the float32 weights out of pytorch-fid's file, without the classifier.

    sources: the one file, whose SHA-256 must begin as its name says. It is read as tensors only. Raises WeightsError.
    """
    if len(sources) != 1 or not Path(sources[0]).is_file():
        raise WeightsError(f"{', '.join(map(str, sources)) or 'nothing'} is not one file: {WAY}")
    path = Path(sources[0])
    digest = published.file_sha256(path)
    if not digest.startswith(_SHA256_START):
        raise WeightsError(f"{path} is not {_FILE}: its SHA-256 is {digest}, it must begin with {_SHA256_START}")
    return _converted(path)


def _converted(path: Path) -> dict[str, Tensor]:
    try:
        table = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged pickle can raise nearly anything
        raise WeightsError(f"{path} cannot be read as tensors: {error}") from error
    tensors = {key: value.detach().clone() for key, value in table.items() if key.startswith(("Conv2d", "Mixed"))}
    _filled(tensors, str(path))
    return tensors


def save_weights(tensors: dict[str, Tensor], path: str | os.PathLike[str]) -> Path:
    """Write the weights as safetensors in float32; the header says where they come from and under which terms."""
    card = {
        "name": "inception",
        "source": f"{_FILE}, releases of mseitzer/pytorch-fid",
        "checkpoint_sha256": _SHA256_START,
        "licence": "Apache-2.0, as TensorFlow's network and pytorch-fid declare",
        "data": "ImageNet",
        "citation": "Szegedy et al. 2015, arXiv 1512.00567; Heusel et al. 2017, arXiv 1706.08500",
    }
    return published.write(tensors, path, card=card)
