"""Batches of crops from pictures on the disk: decoded once where memory allows, made small on the way, in workers.

A batch depends on (seed, step) and on the list of pictures alone: not on the memory limit, not on the number of
workers, not on what was asked before. So a run that was stopped goes on with the batches that it would have had.
"""

from __future__ import annotations

import hashlib
import multiprocessing
import os
import signal
import threading
from collections import OrderedDict
from collections.abc import Hashable, Sequence
from concurrent.futures import BrokenExecutor, Future, ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from mezzotint.data.crops import Blur, Place, areas, blurred, cut, draw, gather, generator, turn_of, turned
from mezzotint.data.pairs import PairFile, Sized, measure
from mezzotint.data.unpacked import Unpacked, decoded
from mezzotint.errors import InputError, UsageError
from mezzotint.noise import Noise, NoiseSource
from mezzotint.operators.resize import imresize_uint8

# Small pixels around a crop that are made small with it. Bicubic reduction sees 2 cells and a half of them.
_BICUBIC_MARGIN = 3
_MARGIN = 16
# At these scales a window and the whole picture have the same weights to the last digit that rounding can see: they are
# dyadic, or, at 3, never bring a pixel half-way between two levels.
_WINDOWED = (1, 2, 3, 4, 8, 16)
_AHEAD = 2
# Bytes of degraded pieces that wait for their next crop: those of a batch of 1000 crops of 32 pixels.
_PIECES = 64_000_000


class Applicable(Protocol):
    """What makes large pictures small: `operators.degradation.Degradation` and its stages are such."""

    def apply(self, picture: Tensor, *, noise: NoiseSource) -> Tensor:
        """Return small pictures b c h w from large ones b c H W, both in float grey levels."""
        ...


@dataclass(frozen=True)
class Making:
    """How the small pictures come about.

    `degradation`: None takes the shipped small pictures, or MATLAB's bicubic of 8-bit pictures where none are shipped;
    anything else is applied to the large pixels around each crop, `margin` small pixels on every side where the picture
    has them, with noise that is a function of (seed, step, place in the batch). What sees the whole picture (JPEG's
    grid, an average over it) sees that window instead. `blur` comes last.

    `reuse`: so many crops are cut out of each piece that is degraded, one in each of as many batches behind each other,
    where a degradation costs as much as a step of training. A piece has up to twice the side of a crop, and every crop
    of a batch has a degradation of its own. Raises UsageError for less than 1, and for more without a degradation.
    """

    degradation: Applicable | None = None
    blur: Blur | None = None
    margin: int = _MARGIN
    reuse: int = 1

    def __post_init__(self) -> None:
        if self.reuse < 1:
            raise UsageError(f"{self.reuse} crops of each degraded piece: use 1 or more")
        if self.reuse > 1 and self.degradation is None:
            raise UsageError(f"reuse of {self.reuse} is for a preset or an operator with noise or JPEG: leave it out")


@dataclass(frozen=True)
class _Piece:
    """What is degraded at once: rows and columns, from and to, in small pixels of picture `index`, with the noise of
    number `item` of step `step`."""

    index: int
    rows: tuple[int, int]
    columns: tuple[int, int]
    seed: int
    step: int
    item: int

    @classmethod
    def around(cls, place: Place, size: tuple[int, int], *, by: int, seed: int, step: int, item: int) -> _Piece:
        """The piece of a picture of `size` (height, width) that is a place and `by` pixels on every side of it."""
        rows, columns = (
            (max(first - by, 0), min(first + place.side + by, end))
            for first, end in zip((place.row, place.column), size, strict=True)
        )
        return cls(place.index, rows, columns, seed, step, item)


@dataclass(frozen=True)
class _Job:
    """A crop to make: its place, its number in the batch, the piece that it is cut out of where one is degraded, and
    the blur that is drawn for it."""

    place: Place
    item: int
    piece: _Piece
    sigma: float


class Cache:
    """The pictures that were used last, up to `limit` bytes; None keeps all of them."""

    def __init__(self, limit: int | None) -> None:
        self.limit = limit
        self.size = 0
        self._kept: OrderedDict[Hashable, tuple[Tensor, ...]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._kept)

    def get(self, key: Hashable) -> tuple[Tensor, ...] | None:
        found = self._kept.get(key)
        if found is not None:
            self._kept.move_to_end(key)
        return found

    def put(self, key: Hashable, value: tuple[Tensor, ...]) -> None:
        """Keep a value that fits, in place of those that were used longest ago."""
        size = sum(t.numel() * t.element_size() for t in value)
        if self.limit is not None and size > self.limit:
            return
        self._kept[key] = value
        self.size += size
        while self.limit is not None and self.size > self.limit:
            _, gone = self._kept.popitem(last=False)
            self.size -= sum(t.numel() * t.element_size() for t in gone)


class Maker:
    """Makes crops of a list of pictures in one process."""

    def __init__(
        self,
        pictures: Sequence[Sized],
        *,
        scale: int,
        making: Making,
        limit: int | None,
        whole: bool,
        unpacked: Unpacked | None = None,
    ) -> None:
        self.pictures = pictures
        self.scale = scale
        self.making = making
        self.whole = whole or scale not in _WINDOWED
        self.unpacked = unpacked
        # The operating system keeps what was read of decoded files; an open one costs a descriptor.
        self.cache = Cache(limit if unpacked is None else 0)
        self.pieces = Cache(_PIECES if making.reuse > 1 else 0)

    def pair(self, index: int) -> tuple[Tensor, ...]:
        """Return picture `index`, 3 h w uint8 with sides that are multiples of the scale, and its small one if kept."""
        found = self.cache.get(index)
        if found is None:
            found = self._load(self.pictures[index])
            self.cache.put(index, found)
        return found

    def _load(self, picture: Sized) -> tuple[Tensor, ...]:
        height, width = picture.size
        s, files = self.scale, picture.files
        read = decoded if self.unpacked is None else self.unpacked.open
        y = read(files.y)
        found = [y]
        if self.making.degradation is None:
            if files.x is not None:
                found.append(read(files.x))
            elif self.whole:
                y = y[:, : height * s, : width * s].contiguous()
                found.append(imresize_uint8(y, scale=1 / s) if s > 1 else y)
        for path, tensor, factor in zip((files.y, files.x), found, (s, 1), strict=False):
            if tensor.shape[1] < height * factor or tensor.shape[2] < width * factor:
                raise InputError(
                    f"{path} is {tensor.shape[2]}x{tensor.shape[1]} pixels and was larger when the run began: "
                    "leave the pictures alone while they train"
                )
        cut_off = (t[:, : height * f, : width * f] for t, f in zip(found, (s, 1), strict=False))
        return tuple(cut_off) if self.unpacked is not None else tuple(t.contiguous() for t in cut_off)

    def prepare(self, index: int) -> None:
        """Decode picture `index`: into the folder of decoded pictures if there is one, else into the cache."""
        if self.unpacked is None:
            self.pair(index)
            return
        files = self.pictures[index].files
        for path in (files.y, files.x):
            if path is not None:
                self.unpacked.prepare(path)

    def make(self, job: _Job) -> tuple[Tensor, Tensor]:
        """Return the crops (y, x) of a job, c h w in grey levels, uint8 where nothing made them float."""
        place, s = job.place, self.scale
        pair = self.pair(place.index)
        y = cut(pair[0], place, scale=s)
        if self.making.degradation is not None:
            x = turned(self._degraded(pair[0], job), place.turn)
        elif len(pair) == 2:
            x = cut(pair[1], place)
        else:
            window, rows, columns = self._window(pair[0], job.piece, _BICUBIC_MARGIN)
            small = imresize_uint8(window, scale=1 / s) if s > 1 else window
            x = turned(small[:, rows, columns], place.turn)
        if job.sigma > 0:
            x = blurred(x.to(torch.float32), sigma=job.sigma)
        return y, x

    def _window(self, y: Tensor, piece: _Piece, margin: int) -> tuple[Tensor, slice, slice]:
        """Return the large pixels around a piece, and where the piece is in the small picture of these."""
        s = self.scale
        large, inner = [], []
        for (start, stop), end in zip((piece.rows, piece.columns), self.pictures[piece.index].size, strict=True):
            first = max(start - margin, 0)
            large.append(slice(first * s, min(stop + margin, end) * s))
            inner.append(slice(start - first, stop - first))
        return y[:, large[0], large[1]], inner[0], inner[1]

    def _degraded(self, y: Tensor, job: _Job) -> Tensor:
        """Return the small pixels c h w of a job's place, cut out of its piece."""
        kept = self.pieces.get(job.piece)
        if kept is None:
            kept = (self._small(y, job.piece),)
            self.pieces.put(job.piece, kept)
        top, left = job.place.row - job.piece.rows[0], job.place.column - job.piece.columns[0]
        return kept[0][:, top : top + job.place.side, left : left + job.place.side]

    def _small(self, y: Tensor, piece: _Piece) -> Tensor:
        degradation = self.making.degradation
        assert degradation is not None
        window, rows, columns = self._window(y, piece, self.making.margin)
        digest = hashlib.sha256(f"degradation {piece.seed} {piece.step}".encode()).digest()
        noise = Noise(int.from_bytes(digest[:8], "little"), (piece.item,))
        small = degradation.apply(window[None].to(torch.float64), noise=noise)[0]
        (channels, height, width), (colours, high, wide) = window.shape, small.shape
        if (colours, high, wide) != (channels, height // self.scale, width // self.scale):
            raise UsageError(
                f"the degradation made {wide}x{high} pixels of {colours} channels from {width}x{height} of {channels}, "
                f"{width // self.scale}x{height // self.scale} of {channels} belong to scale {self.scale}: use one "
                "that was made for this scale and keeps colour"
            )
        return small[:, rows, columns].to(torch.float32)


_MAKER: Maker | None = None


def _begin(maker: Maker) -> None:
    """Prepare a worker: one thread, no Ctrl-C of its own, and an end when the process that began it is gone."""
    global _MAKER
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    torch.set_num_threads(1)
    parent = multiprocessing.parent_process()

    def watch() -> None:
        assert parent is not None
        parent.join()
        os._exit(0)

    if parent is not None:
        threading.Thread(target=watch, daemon=True).start()
    _MAKER = maker


def _work(jobs: tuple[_Job, ...]) -> list[tuple[int, np.ndarray, np.ndarray]]:
    assert _MAKER is not None
    made = []
    for job in jobs:
        y, x = _MAKER.make(job)
        made.append((job.item, y.contiguous().numpy(), x.contiguous().numpy()))
    return made


def _prepare(indices: tuple[int, ...]) -> None:
    assert _MAKER is not None
    for index in indices:
        _MAKER.prepare(index)


class Stream:
    """Batches of crops of a list of pictures, as `batch` describes; close it, or use it in a `with` statement.

    `files`: pairs as `sets.read` finds them; those that do not hold a crop of `crop` small pixels a side are left out.
    `memory`: bytes that decoded pictures may take, over all workers; None keeps every picture that was decoded.
    `workers`: processes that make crops ahead; 0 makes them here. They are spawned, never forked, because libvips hangs
    in a fork: a script that trains with workers keeps what it does under `if __name__ == "__main__":`. Each worker
    decodes and keeps its own share of the pictures. `unpacked`: a folder for decoded pictures, three bytes a pixel;
    crops are read from there, and `memory` is not used. It pays where a data set is larger than memory: each crop of a
    picture that is not kept costs the decoding of all of it. At scales other than 1, 2, 3, 4, 8 and 16 bicubic small
    pictures are made of whole pictures, and it does not pay.

    With `unpacked`, and without workers where everything fits into `memory`, all pictures are decoded at once and a
    damaged one is named before the first step; otherwise when it is drawn for the first time.
    `names` and `sizes` (height, width of the small pictures) are those of the pictures that are used.
    Raises InputError for pairs whose sizes disagree, and where no picture is large enough.
    """

    def __init__(
        self,
        files: Sequence[PairFile],
        *,
        scale: int,
        crop: int,
        making: Making | None = None,
        memory: int | None = None,
        workers: int = 0,
        unpacked: Path | None = None,
    ) -> None:
        if workers < 0 or (memory is not None and memory < 0):
            raise UsageError(f"{workers} workers and {memory} bytes of memory: neither may be negative")
        making = making or Making()
        self.scale = scale
        self.pictures = measure(files, scale=scale, crop=crop)
        self.names = tuple(p.files.name for p in self.pictures)
        self.sizes = tuple(p.size for p in self.pictures)
        self._areas = areas(self.sizes)
        self.workers = min(workers, len(self.pictures))
        self._making = making
        fits = unpacked is None and (memory is None or self._bytes_of_all() <= memory)
        share = None if memory is None else memory // max(self.workers, 1)
        settings: dict[str, Any] = {"scale": scale, "making": making, "limit": share, "whole": fits}
        settings["unpacked"] = None if unpacked is None else Unpacked(unpacked)
        self._maker = Maker(self.pictures, **settings)
        self._pools: list[ProcessPoolExecutor] = []
        self._pending: dict[tuple[int | bool, ...], list[Future[list[tuple[int, np.ndarray, np.ndarray]]]]] = {}
        self._last: int | None = None
        self._stride = 1
        if self.workers == 0 and (fits or unpacked is not None):
            for index in range(len(self.pictures)):
                self._maker.prepare(index)
        context = multiprocessing.get_context("spawn")
        for _ in range(self.workers):
            maker = Maker(self.pictures, **settings)
            self._pools.append(ProcessPoolExecutor(1, mp_context=context, initializer=_begin, initargs=(maker,)))
        if self._pools and unpacked is not None:
            self._prepare_all()

    def _prepare_all(self) -> None:
        shares = [tuple(range(k, len(self.pictures), self.workers)) for k in range(self.workers)]
        waiting = [pool.submit(_prepare, share) for pool, share in zip(self._pools, shares, strict=True)]
        try:
            for future in waiting:
                future.result()
        except BrokenExecutor:
            self.close()
            raise self._lost() from None
        except InputError:
            self.close()
            raise

    def _lost(self) -> InputError:
        return InputError(
            f"one of {self.workers} workers that make training crops is gone (out of memory, or begun by a script "
            'without `if __name__ == "__main__":`): use fewer pictures.workers or 0, or a smaller pictures.cache_mb'
        )

    @property
    def megapixels(self) -> float:
        """Pixels of the large pictures, in millions."""
        return sum(h * w for h, w in self.sizes) * self.scale**2 / 1e6

    def _bytes_of_all(self) -> int:
        small = self._making.degradation is None
        return sum(3 * h * w * (self.scale**2 + small) for h, w in self.sizes)

    def batch(
        self, *, seed: int, step: int, size: int, crop: int, flips: bool = True, rotations: bool = True
    ) -> tuple[Tensor, Tensor]:
        """Return batch `step`: y (size, 3, crop * scale, crop * scale) and x (size, 3, crop, crop), float32 in [-1, 1].

        Raises UsageError for a crop that a picture does not hold, InputError for a picture that cannot be decoded and
        where a worker was lost.
        """
        key = (seed, step, size, crop, flips, rotations)
        if not self._pools:
            return gather(self._maker.make(job) for job in self._jobs(key))
        if self._last is not None and step > self._last:
            self._stride = step - self._last
        self._last = step
        try:
            futures = self._pending.pop(key, None) or self._submit(key)
            wanted = {(seed, step + k * self._stride, size, crop, flips, rotations) for k in range(1, _AHEAD + 1)}
            for stale in self._pending.keys() - wanted:
                for future in self._pending.pop(stale):
                    future.cancel()
            for ahead in sorted(wanted - self._pending.keys()):
                self._pending[ahead] = self._submit(ahead)
            made = {item: (y, x) for future in futures for item, y, x in future.result()}
        except BrokenExecutor:
            self.close()
            raise self._lost() from None
        return gather((torch.from_numpy(y), torch.from_numpy(x)) for _, (y, x) in sorted(made.items()))

    def _jobs(self, key: tuple[Any, ...]) -> tuple[_Job, ...]:
        seed, step, size = key[:3]
        pairs = self._reusing(key) if self._making.reuse > 1 else self._drawn(key)
        blur = self._making.blur
        sigmas = (0.0,) * size if blur is None else blur.deviations(seed=seed, step=step, size=size)
        return tuple(_Job(place, k, piece, s) for k, ((place, piece), s) in enumerate(zip(pairs, sigmas, strict=True)))

    def _drawn(self, key: tuple[Any, ...]) -> list[tuple[Place, _Piece]]:
        """Return the places of a batch, each with a piece that is no larger."""
        seed, step, size, crop, flips, rotations = key
        turns: dict[str, bool] = {"flips": flips, "rotations": rotations}
        places = draw(self.sizes, seed=seed, step=step, size=size, crop=crop, weights=self._areas, **turns)
        return [
            (place, _Piece.around(place, self.sizes[place.index], by=0, seed=seed, step=step, item=item))
            for item, place in enumerate(places)
        ]

    def _reusing(self, key: tuple[Any, ...]) -> list[tuple[Place, _Piece]]:
        """Return the places of a batch in the pieces that were drawn for this step and the ones before it.

        Crop i of a batch lies in piece i // reuse of the step i % reuse earlier, evenly, and is turned by this step.
        """
        seed, step, size, crop, flips, rotations = key
        reuse = self._making.reuse
        number = -(-size // reuse)
        turns: dict[str, bool] = {"flips": flips, "rotations": rotations}
        fresh = torch.rand(size, 3, generator=generator("crops of pieces", seed, step)).tolist()
        origins = [
            draw(self.sizes, seed=seed, step=step - age, size=number, crop=crop, weights=self._areas, **turns)
            for age in range(min(reuse, size))
        ]
        found = []
        for k, (u, v, w) in enumerate(fresh):
            age, item = k % reuse, k // reuse
            origin = origins[age][item]
            piece = _Piece.around(
                origin, self.sizes[origin.index], by=crop // 2, seed=seed, step=step - age, item=item
            )
            row, column = (
                start + int(share * (stop - start - crop + 1))
                for share, (start, stop) in zip((u, v), (piece.rows, piece.columns), strict=True)
            )
            found.append((Place(origin.index, row, column, crop, turn_of(w, flips=flips, rotations=rotations)), piece))
        return found

    def _submit(self, key: tuple[Any, ...]) -> list[Future[list[tuple[int, np.ndarray, np.ndarray]]]]:
        shares: dict[int, list[_Job]] = {}
        for job in self._jobs(key):
            shares.setdefault(job.place.index % self.workers, []).append(job)
        return [self._pools[worker].submit(_work, tuple(jobs)) for worker, jobs in shares.items()]

    def close(self) -> None:
        """End the workers; what is asked for afterwards is made here."""
        pools, self._pools, self._pending = self._pools, [], {}
        for pool in pools:
            pool.shutdown(wait=True, cancel_futures=True)

    def __enter__(self) -> Stream:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
