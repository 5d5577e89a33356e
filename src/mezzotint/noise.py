"""Noise as a function of what it is used for and where it lies, not of what was drawn before it."""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

BLOCK = 64
_WORD = 1 << 64
_HALF_WORD = 1 << 32
_UNIFORM_CHANNEL = _WORD - 1
_STRIP = 16


class NoiseSource(Protocol):
    """What samplers and losses ask of a source of randomness; `Noise` and `SequentialNoise` are two."""

    def normal(
        self,
        stream: str,
        draw: int,
        shape: Sequence[int],
        *,
        origin: tuple[int, int] = (0, 0),
        dtype: torch.dtype = torch.float64,
        device: torch.device | str = "cpu",
    ) -> Tensor:
        """A standard normal field of shape b c h w."""
        ...

    def uniform(self, stream: str, draw: int, count: int) -> Tensor:
        """`count` uniform numbers in (0, 1), one a batch item, float64 on the CPU."""
        ...


@dataclass(frozen=True)
class Noise:
    """Standard normal fields that depend only on (seed, stream, picture, draw, channel, row, column).

    The plane of every channel is an absolute lattice of 64x64 blocks. A block is 4096 numbers of one
    Philox4x64-10 stream (Salmon et al., SC 2011) with key (seed, hash of stream and picture) and counter
    (0, draw, channel, block), turned into normal numbers by Box and Muller (1958) in float64. A crop, a tile
    or a batch therefore holds the same numbers as the whole picture.

    `seed`: 0 to 2^64 - 1. `pictures`: one number from 0 to 2^64 - 1 a batch item (see `picture_id`);
    None means picture 0 for every item, so all items of a batch get the same field.
    Raises ValueError for numbers out of range.
    """

    seed: int
    pictures: tuple[int, ...] | None = None

    def __post_init__(self) -> None:
        _check_word("seed", self.seed)
        if self.pictures is not None:
            object.__setattr__(self, "pictures", tuple(int(picture) for picture in self.pictures))
            for picture in self.pictures:
                _check_word("picture", picture)

    def for_pictures(self, pictures: Sequence[int]) -> Noise:
        """The same source for a batch of the named pictures."""
        return replace(self, pictures=tuple(pictures))

    def normal(
        self,
        stream: str,
        draw: int,
        shape: Sequence[int],
        *,
        origin: tuple[int, int] = (0, 0),
        dtype: torch.dtype = torch.float64,
        device: torch.device | str = "cpu",
    ) -> Tensor:
        """The field of `stream` and `draw` on a rectangle of the lattice, b c h w.

        `stream` names the use (start, step, ...), `draw` counts the draws of that stream from 0, `origin` is
        the row and column of the first sample and may be negative. Values are computed in float64 on the CPU
        and then cast. Raises ValueError where the batch and `pictures` disagree.
        """
        batch, channels, height, width = _check_shape(shape)
        _check_word("draw", draw)
        pictures = self._pictures(batch)
        planes: dict[int, np.ndarray] = {}
        for picture in pictures:
            if picture not in planes:
                planes[picture] = _field(
                    (self.seed, _stream_key(stream, picture)), draw, channels, height, width, origin
                )
        if len(planes) == 1:
            field = torch.from_numpy(planes[pictures[0]]).to(dtype).to(device)
            # A copy for a real batch: an expanded view would let an in-place operation reach every item.
            return field.expand(batch, channels, height, width).clone() if batch > 1 else field[None]
        return torch.from_numpy(np.stack([planes[picture] for picture in pictures])).to(dtype).to(device)

    def uniform(self, stream: str, draw: int, count: int) -> Tensor:
        """One uniform number in (0, 1) a batch item, float64 (count,); items of one picture get the same."""
        _check_word("draw", draw)
        values = []
        for picture in self._pictures(count):
            words = _Philox((self.seed, _stream_key(stream, picture))).words(
                1, draw=draw, channel=_UNIFORM_CHANNEL, block=0
            )
            values.append((float(words[0] >> np.uint64(11)) + 0.5) * 2.0**-53)
        return torch.tensor(values, dtype=torch.float64)

    def _pictures(self, batch: int) -> tuple[int, ...]:
        if self.pictures is None:
            return (0,) * batch
        if len(self.pictures) != batch:
            raise ValueError(
                f"noise for {len(self.pictures)} pictures was asked for a batch of {batch}: "
                "use noise.for_pictures(...) with one number a batch item"
            )
        return self.pictures


@dataclass(frozen=True)
class SequentialNoise:
    """Noise for training: PyTorch's own generator, seeded anew from (seed, step, stream, draw).

    Cheap and without state, but a field depends on its whole shape, device and type: there is no lattice,
    and a crop of a field is not the field of the crop. Every batch item is different. `seed` and `step`
    (the global training step): 0 to 2^64 - 1.
    """

    seed: int
    step: int = 0

    def __post_init__(self) -> None:
        _check_word("seed", self.seed)
        _check_word("step", self.step)

    def normal(
        self,
        stream: str,
        draw: int,
        shape: Sequence[int],
        *,
        origin: tuple[int, int] = (0, 0),
        dtype: torch.dtype = torch.float64,
        device: torch.device | str = "cpu",
    ) -> Tensor:
        """A standard normal field b c h w, drawn on `device` in `dtype`; ValueError for an origin."""
        if tuple(origin) != (0, 0):
            raise ValueError(f"SequentialNoise has no lattice, origin {tuple(origin)}: use Noise for tiles")
        generator = self._generator(stream, draw, device)
        return torch.randn(_check_shape(shape), generator=generator, dtype=dtype, device=device)

    def uniform(self, stream: str, draw: int, count: int) -> Tensor:
        """`count` independent uniform numbers in (0, 1), float64 (count,)."""
        # Another purpose than normal(): the same generator state would tie the two to each other.
        values = torch.rand(count, generator=self._generator(f"uniform {stream}", draw, "cpu"), dtype=torch.float64)
        return values.clamp(min=2.0**-54)

    def _generator(self, stream: str, draw: int, device: torch.device | str) -> torch.Generator:
        _check_word("draw", draw)
        name = f"{self.seed}/{self.step}/{draw}/{stream}".encode()
        # manual_seed takes at most 63 bits without a sign.
        seed = int.from_bytes(hashlib.sha256(name).digest()[:8], "big") >> 1
        return torch.Generator(device=device).manual_seed(seed)


def picture_id(pixels: np.ndarray | Tensor) -> int:
    """The number of a picture: the first 8 bytes (big-endian) of the SHA-256 of its decoded pixels.

    `pixels`: h w c as decoded, any integer or float type; hashed row by row, little-endian.
    """
    array = pixels.detach().cpu().numpy() if isinstance(pixels, Tensor) else np.asarray(pixels)
    array = np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<"))
    return int.from_bytes(hashlib.sha256(array.tobytes()).digest()[:8], "big")


class _Philox:
    """One bit generator whose counter is moved: building one costs as much as filling a block."""

    def __init__(self, key: tuple[int, int]) -> None:
        self._generator = np.random.Philox(key=np.array(key, dtype=np.uint64))
        self._state = self._generator.state

    def words(self, count: int, *, draw: int, channel: int, block: int, first: int = 0) -> np.ndarray:
        """`count` words of the block's stream from word `first` on, which is a multiple of 4."""
        self._state["state"]["counter"][:] = (first // 4, draw, channel, block)
        self._state["buffer_pos"] = 4
        self._generator.state = self._state
        return self._generator.random_raw(count)


@lru_cache(maxsize=4096)
def _stream_key(stream: str, picture: int) -> int:
    digest = hashlib.sha256(struct.pack(">Q", picture) + stream.encode()).digest()
    return int.from_bytes(digest[:8], "big")


def _field(
    key: tuple[int, int], draw: int, channels: int, height: int, width: int, origin: tuple[int, int]
) -> np.ndarray:
    """The numbers of one picture on a rectangle of the lattice, c h w."""
    out = np.empty((channels, height, width))
    if out.size == 0:
        return out
    generator = _Philox(key)
    top, left = int(origin[0]), int(origin[1])
    first_column = left // BLOCK
    columns = range(first_column, (left + width - 1) // BLOCK + 1)
    offset = left - first_column * BLOCK
    for block_row in range(top // BLOCK, (top + height - 1) // BLOCK + 1):
        # Rows of a block are independent of each other, so rows outside the rectangle are never computed.
        lower = max(top, block_row * BLOCK)
        upper = min(top + height, (block_row + 1) * BLOCK)
        rows = upper - lower
        first_word = (lower - block_row * BLOCK) * BLOCK
        tasks = [(channel, column) for channel in range(channels) for column in columns]
        # A few blocks at a time stay in the processor's cache.
        per_strip = max(1, _STRIP // len(columns)) * len(columns)
        for begin in range(0, len(tasks), per_strip):
            strip = tasks[begin : begin + per_strip]
            words = np.empty((len(strip), rows * BLOCK), dtype=np.uint64)
            for index, (channel, column) in enumerate(strip):
                words[index] = generator.words(
                    rows * BLOCK,
                    draw=draw,
                    channel=channel,
                    block=_block(block_row, column),
                    first=first_word,
                )
            normal = _box_muller(words.reshape(-1, len(columns), rows, BLOCK))
            plane = normal.transpose(0, 2, 1, 3).reshape(-1, rows, len(columns) * BLOCK)
            channel = strip[0][0]
            out[channel : channel + plane.shape[0], lower - top : upper - top] = plane[:, :, offset : offset + width]
    return out


def _box_muller(words: np.ndarray) -> np.ndarray:
    """Standard normal numbers from words (..., 64): a row's first half gives radii, the second angles."""
    uniform = (words >> np.uint64(11)).astype(np.float64)
    half = BLOCK // 2
    # PyTorch's logarithm, cosine and sine take half of NumPy's time, and give a number the same bits wherever it lies.
    radius = torch.from_numpy(uniform[..., :half] + 1.0)
    radius.mul_(2.0**-53).log_().mul_(-2.0).sqrt_()
    angle = torch.from_numpy(uniform[..., half:] * (2.0 * np.pi * 2.0**-53))
    normal = torch.from_numpy(uniform)
    torch.mul(angle.cos(), radius, out=normal[..., :half])
    torch.mul(angle.sin_(), radius, out=normal[..., half:])
    return uniform


def _block(row: int, column: int) -> int:
    """Row and column of a block, each as 32 bits with sign, in one word."""
    if not (-(_HALF_WORD // 2) <= row < _HALF_WORD // 2 and -(_HALF_WORD // 2) <= column < _HALF_WORD // 2):
        raise ValueError(f"block ({row}, {column}) lies outside the lattice of 2^32 blocks a side")
    return (row % _HALF_WORD) * _HALF_WORD + column % _HALF_WORD


def _check_shape(shape: Sequence[int]) -> tuple[int, int, int, int]:
    if len(shape) != 4 or any(int(side) < 0 for side in shape):
        raise ValueError(f"shape {tuple(shape)} is not b c h w: give four sizes of 0 or more")
    batch, channels, height, width = (int(side) for side in shape)
    return batch, channels, height, width


def _check_word(name: str, value: int) -> None:
    if isinstance(value, bool) or int(value) != value or not 0 <= value < _WORD:
        raise ValueError(f"{name} {value} is not a whole number from 0 to 2^64 - 1")
