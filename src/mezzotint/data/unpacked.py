"""Decoded pictures in files that are read in parts, for data sets that are larger than memory.

A crop of a PNG costs the decoding of the whole PNG; a crop of a decoded file costs the rows that it has. What was read
lately the operating system keeps in memory by itself, for all processes together.
"""

from __future__ import annotations

import hashlib
import io
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from mezzotint import images
from mezzotint.errors import InputError
from mezzotint.images.atomic import write_bytes


def decoded(path: Path) -> Tensor:
    """Return the pixels of a picture, 3 h w uint8, grey as three equal channels; InputError where it cannot be read."""
    return _as_three(images.read_plain(path).pixels.copy())


def _as_three(pixels: np.ndarray) -> Tensor:
    tensor = torch.from_numpy(pixels).permute(2, 0, 1)
    return tensor.expand(3, -1, -1) if tensor.shape[0] == 1 else tensor


@dataclass(frozen=True)
class Unpacked:
    """A folder of decoded pictures, NumPy files of uint8 (h, w, c), three bytes a pixel or one of a grey picture.

    A file is found by path, size and time of change of its picture: a picture that was changed is decoded anew, and
    what belonged to the old one stays until somebody deletes it. Processes may share the folder.
    """

    folder: Path

    def file(self, path: Path) -> Path:
        """Return where a picture's pixels are or will be; InputError where the picture is missing."""
        try:
            state = path.stat()
        except OSError as error:
            raise InputError(f"{path} cannot be read ({error.strerror}): check the name and its permissions") from None
        key = f"{path.resolve()}\0{state.st_size}\0{state.st_mtime_ns}"
        return self.folder / f"{hashlib.sha256(os.fsencode(key)).hexdigest()[:32]}.npy"

    def prepare(self, path: Path) -> None:
        """Decode a picture into the folder unless it is there; InputError where it cannot be read or written."""
        file = self.file(path)
        if file.is_file():
            return
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(f"folder {self.folder} for decoded pictures cannot be made: {error.strerror}") from None
        data = io.BytesIO()
        np.save(data, np.ascontiguousarray(images.read_plain(path).pixels))
        write_bytes(file, data.getvalue(), overwrite=True)

    def open(self, path: Path) -> Tensor:
        """Return the pixels of a picture, 3 h w uint8, of which only what is used is read from the disk.

        Nothing written to the tensor reaches the file. Raises InputError where `prepare` does, and for a damaged file.
        """
        self.prepare(path)
        file = self.file(path)
        try:
            pixels = np.load(file, mmap_mode="c", allow_pickle=False)
        except (OSError, EOFError, ValueError) as error:
            raise InputError(f"{file} is damaged ({error}): delete it") from None
        if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] not in (1, 3):
            raise InputError(f"{file} holds no decoded picture ({pixels.dtype}, {pixels.shape}): delete it")
        return _as_three(pixels)
