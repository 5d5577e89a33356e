"""Samples of pictures that are larger than memory should hold: a hidden file instead of an array."""

from __future__ import annotations

import contextlib
import errno
import math
import os
import tempfile
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

import numpy as np

from mezzotint.errors import InputError
from mezzotint.images.atomic import hidden_name, reason, shown

MEMORY_LIMIT = 256 << 20
"""Bytes of samples that are held in memory; a picture of more goes into a spool."""

# Bytes that a strip of rows should have where samples pass through memory.
_STRIP = 16 << 20


class Samples(Protocol):
    """Samples h w n of a picture, in memory or in a file: a numpy array is one, a `Spool` the other."""

    @property
    def shape(self) -> tuple[int, ...]: ...
    @property
    def dtype(self) -> np.dtype: ...
    def __getitem__(self, rows: slice, /) -> np.ndarray: ...
    def __setitem__(self, rows: slice, samples: np.ndarray, /) -> None: ...


class Spool:
    """A file of raw samples, h w n, in machine order, that is read and written by rows: `spool[top:stop]`.

    shape: (height, width, samples a pixel). dtype: of the samples. folder: where the hidden file lies, None for the
    system's folder for temporary files. The file goes on `close`, when the object is forgotten and at the end of the
    process; what a killed process leaves, `atomic.remove_stale` removes. Rows not yet written are 0. Nothing is mapped
    into memory, so that memory stays flat. The space is reserved at once where the system can.
    Raises InputError where the folder cannot be used or the disk is too full, with the missing bytes.
    """

    def __init__(
        self, shape: tuple[int, ...], dtype: np.dtype | type, *, folder: str | os.PathLike[str] | None = None
    ) -> None:
        if len(shape) != 3 or min(shape) < 1:
            raise ValueError(f"a spool of shape {shape}: height, width and samples a pixel, each at least 1")
        self.shape = tuple(int(side) for side in shape)
        self.dtype = np.dtype(dtype)
        self.path = Path(tempfile.gettempdir() if folder is None else folder, hidden_name("spool"))
        self._row_bytes = self.shape[1] * self.shape[2] * self.dtype.itemsize
        try:
            self._file = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), 0o600)
        except OSError as error:
            raise InputError(
                f"{shown(self.path.parent)} cannot hold the samples of a large picture: {reason(error)}: "
                "name another folder, or set TMPDIR"
            ) from error
        self._remove = weakref.finalize(self, _remove, self._file, self.path)
        try:
            self._reserve()
        except BaseException:
            self.close()
            raise

    @property
    def nbytes(self) -> int:
        """Bytes of all samples."""
        return self.shape[0] * self._row_bytes

    def close(self) -> None:
        """Remove the file; a second call does nothing."""
        self._remove()

    def __enter__(self) -> Spool:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: slice, /) -> np.ndarray:
        """The rows as a new array h w n. Raises InputError where the disk fails."""
        top, stop = self._range(rows)
        result = np.empty((stop - top, *self.shape[1:]), self.dtype)
        view = result.reshape(-1).view(np.uint8).data
        at = 0
        while at < len(view):
            part = self.raw(top * self._row_bytes + at, min(len(view) - at, _STRIP))
            if not part:
                raise InputError(f"{shown(self.path)} is shorter than it was: the disk or another program failed")
            view[at : at + len(part)] = part
            at += len(part)
        return result

    def raw(self, offset: int, count: int) -> bytes:
        """Up to `count` bytes of the samples from `offset` on. Raises InputError where the disk fails."""
        try:
            os.lseek(self._file, offset, os.SEEK_SET)
            return os.read(self._file, count)
        except OSError as error:
            raise self._failed(error) from error

    def __setitem__(self, rows: slice, samples: np.ndarray, /) -> None:
        """Write rows h w n. Raises InputError where the disk is full or fails, ValueError for another shape."""
        top, stop = self._range(rows)
        expected = (stop - top, *self.shape[1:])
        if tuple(samples.shape) != expected:
            raise ValueError(f"samples of shape {tuple(samples.shape)} for rows of shape {expected}")
        if len(samples):
            self._put(top * self._row_bytes, np.ascontiguousarray(samples, dtype=self.dtype))

    def put_columns(self, left: int, samples: np.ndarray) -> None:
        """Write columns from `left` on, h k n: what a turned strip of rows is. Slow for narrow strips."""
        if samples.shape[0] != self.shape[0] or left + samples.shape[1] > self.shape[1]:
            raise ValueError(f"columns {tuple(samples.shape)} from {left} on in a spool of {self.shape}")
        step = self.shape[2] * self.dtype.itemsize
        for part in strips(samples.shape, self.dtype):
            for row, pixels in enumerate(np.ascontiguousarray(samples[part], dtype=self.dtype), part.start):
                self._put(row * self._row_bytes + left * step, pixels)

    def _range(self, rows: slice) -> tuple[int, int]:
        if not isinstance(rows, slice):
            raise TypeError(f"a spool is read and written by rows, spool[top:stop], not by {rows!r}")
        top, stop, step = rows.indices(self.shape[0])
        if step != 1:
            raise ValueError(f"rows of a spool are taken one after the other, not in steps of {step}")
        return top, max(top, stop)

    def _put(self, offset: int, samples: np.ndarray) -> None:
        view = samples.reshape(-1).view(np.uint8).data
        at = 0
        try:
            while at < len(view):
                os.lseek(self._file, offset + at, os.SEEK_SET)
                at += os.write(self._file, view[at : at + _STRIP])
        except OSError as error:
            raise self._failed(error) from error

    def _reserve(self) -> None:
        try:
            if hasattr(os, "posix_fallocate"):
                try:
                    os.posix_fallocate(self._file, 0, self.nbytes)
                    return
                except OSError as error:
                    if error.errno not in (errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS):
                        raise
            os.ftruncate(self._file, self.nbytes)
        except OSError as error:
            raise self._failed(error) from error

    def _failed(self, error: OSError) -> InputError:
        folder = self.path.parent
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            return InputError(
                f"{shown(folder)} fails to hold the samples of a large picture: {reason(error)}: name another folder"
            )
        missing = self.nbytes
        with contextlib.suppress(OSError, AttributeError):
            disk = os.statvfs(folder)
            # What of the file is there already counts as available.
            available = disk.f_bavail * disk.f_frsize + os.fstat(self._file).st_blocks * 512
            missing = max(0, self.nbytes - available) or self.nbytes
        return InputError(
            f"{shown(folder)} has no room for the {self.nbytes:,} bytes of a large picture's samples, "
            f"{missing:,} are missing ({reason(error)}): make room, name another folder, or set TMPDIR"
        )


def rows_for(
    shape: tuple[int, ...],
    dtype: np.dtype | type,
    *,
    folder: str | os.PathLike[str] | None = None,
    limit: int = MEMORY_LIMIT,
) -> np.ndarray | Spool:
    """Room for samples h w n: an array if they fit into `limit` bytes, else a `Spool` in `folder`."""
    if math.prod(shape) * np.dtype(dtype).itemsize <= limit:
        return np.zeros(shape, dtype)
    return Spool(shape, dtype, folder=folder)


def strips(shape: tuple[int, ...], dtype: np.dtype | type, *, size: int = _STRIP) -> Iterator[slice]:
    """The rows of samples h w n in slices of about `size` bytes, at least one row each, from the top."""
    step = max(1, size // max(1, math.prod(shape[1:]) * np.dtype(dtype).itemsize))
    for top in range(0, shape[0], step):
        yield slice(top, min(shape[0], top + step))


def _remove(file: int, path: Path) -> None:
    with contextlib.suppress(OSError):
        os.close(file)
    with contextlib.suppress(OSError):
        path.unlink()
