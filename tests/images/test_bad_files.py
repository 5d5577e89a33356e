"""Damaged, absurd and hostile files: each is a picture or one line, quickly, quietly and without much memory."""

from __future__ import annotations

import io
import json
import struct
import subprocess
import sys
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from mezzotint import images
from mezzotint.images import Picture

_PROGRAM = """
import json, os, resource, sys, time
from mezzotint import images
from mezzotint.errors import InputError
from mezzotint.images.libvips import libvips
libvips()

def peak():
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("VmHWM")) / 1024

before = peak()
for path in json.load(sys.stdin):
    print("begin", json.dumps(path), flush=True)
    start = time.monotonic()
    try:
        picture = images.read(path, max_pixels=int(sys.argv[1]), spool=sys.argv[2])
        said = f"{type(picture.rows).__name__} {picture.rows.shape}"
        if hasattr(picture.rows, "close"):
            picture.rows.close()
    except InputError as error:
        said = "InputError " + str(error)
    print("end", json.dumps([path, said, time.monotonic() - start, peak() - before]), flush=True)
"""


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png(width: int, height: int, *, bits: int = 8, colour: int = 0, data: bytes = b"", interlace: int = 0) -> bytes:
    header = struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, interlace)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def tiff(width: int, height: int, **tags: int) -> bytes:
    """A TIFF of one strip that holds 8 bytes, with any tags."""
    numbers = {256: width, 257: height, 258: 8, 259: 1, 262: 1, 273: 8, 277: 1, 278: height, 279: 8}
    numbers |= {int(name[1:]): value for name, value in tags.items()}
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in sorted(numbers.items()))
    return b"II*\0" + struct.pack("<I", 16) + bytes(8) + struct.pack("<H", len(numbers)) + entries + bytes(4)


def seeds() -> dict[str, bytes]:
    """Small good files of every format."""
    rng = np.random.default_rng(5)
    soft = np.add.outer(np.arange(20) * 6, np.arange(28) * 4).astype(np.uint8)
    colour = np.stack([soft, soft[::-1], soft[:, ::-1]], axis=2)
    found = {}
    for kind in ("png", "jpeg", "tiff", "webp", "avif", "ppm"):
        found[kind] = images.encode(Picture(colour, resolution=(300.0, 300.0)), fmt=kind, record=None)
    found["pfm"] = images.encode(Picture(colour.astype(np.float32) / 255), fmt="pfm")
    alpha = np.concatenate([colour, soft[..., None]], axis=2)
    for kind in ("png", "tiff", "webp", "avif"):
        found[f"{kind}-alpha"] = images.encode(Picture(alpha, alpha=True), fmt=kind, lossless=True)
    found["png-16"] = images.encode(Picture(rng.integers(0, 65536, (9, 11, 3)).astype(np.uint16)), fmt="png")
    found["avif-10"] = images.encode(Picture(colour.astype(np.uint16) * 257, bits=10), fmt="avif")
    found["jpeg-cmyk"] = images.encode(Picture(alpha, space="cmyk"), fmt="jpeg")
    picture = Image.fromarray(colour)
    options: dict[str, tuple[str, dict[str, object]]] = {
        "jpeg-progressive": ("JPEG", {"progressive": True}),
        "tiff-jpeg": ("TIFF", {"compression": "jpeg"}),
        "tiff-lzw": ("TIFF", {"compression": "tiff_lzw"}),
        "webp-lossy": ("WEBP", {"quality": 50}),
        "ppm-plain": ("PPM", {}),
    }
    for name, (form, how) in options.items():
        stream = io.BytesIO()
        picture.save(stream, form, **how)
        found[name] = stream.getvalue()
    for name, image in (("png-palette", picture.quantize(7)), ("tiff-bilevel", picture.convert("1"))):
        stream = io.BytesIO()
        image.save(stream, name.split("-")[0].upper())
        found[name] = stream.getvalue()
    for name, how in (
        ("tiles", {"tile": (16, 16)}),
        ("planes", {"planarconfig": "separate"}),
        ("big", {"bigtiff": True}),
    ):
        stream = io.BytesIO()
        values = colour.transpose(2, 0, 1) if name == "planes" else colour
        tifffile.imwrite(stream, values, photometric="rgb", **how)  # type: ignore[arg-type]
        found[f"tiff-{name}"] = stream.getvalue()
    found["ppm-plain"] = b"P3\n28 20\n255\n" + b" ".join(b"%d" % value for value in colour.ravel())
    return found


def absurd() -> dict[str, bytes]:
    """Headers that claim what no file holds, and streams that unfold without end."""
    bomb = zlib.compress(bytes(30_000_000), 9)
    huge = 100_000
    found = {
        "png huge": png(huge, huge),
        "png wide": png(2**31 - 1, 1),
        "png tall": png(1, 2**31 - 1),
        "png none": png(0, 0),
        "png bits": png(9, 9, bits=7),
        "png colour": png(9, 9, colour=5),
        "png under the limit": png(30_000, 30_000),
        "png interlaced": png(15_000, 15_000, interlace=1, data=bomb),
        "png bomb": png(10, 10, data=bomb),
        "png longer than it says": png(30_000, 1000, data=bomb),
        "png text bomb": png(9, 9, data=zlib.compress(bytes(90))).replace(
            b"\0\0\0Z", chunk(b"zTXt", b"a\0\0" + bomb) + b"\0\0\0Z", 1
        ),
        "png profile bomb": png(9, 9)[:33]
        + chunk(b"iCCP", b"a\0\0" + bomb)
        + png(9, 9, data=zlib.compress(bytes(90)))[33:],
        "tiff huge": tiff(huge, huge),
        "tiff under the limit": tiff(30_000, 30_000),
        "tiff deflate": tiff(30_000, 30_000, t259=8),
        "tiff fax": tiff(30_000, 30_000, t259=4, t258=1),
        "tiff tiles": tiff(64, 64, t322=2**31 - 16, t323=2**31 - 16),
        "tiff wide tiles": tiff(64, 64, t322=1_000_000, t323=16),
        "tiff samples": tiff(8, 1, t277=65535),
        "tiff bits": tiff(8, 1, t258=12),
        "tiff offset": tiff(8, 1, t273=2**32 - 1),
        "tiff bytes": tiff(8, 1, t279=2**32 - 1),
        "tiff rows": tiff(8, 1, t278=2**32 - 1),
        "tiff none": tiff(0, 0),
        "tiff loop": b"II*\0\x08\0\0\0" + struct.pack("<HHHII", 1, 256, 4, 1, 8) + struct.pack("<I", 8),
        "tiff nowhere": b"II*\0\xff\xff\xff\xff",
        "big tiff nowhere": b"II+\0\x08\0\0\0" + b"\xff" * 8,
        "ppm huge": b"P6\n100000 100000\n255\n",
        "ppm digits": b"P6\n" + b"9" * 4000 + b" 9\n255\n",
        "ppm under the limit": b"P6\n20000 20000\n255\n" + bytes(99),
        "ppm plain": b"P3\n20000 20000\n255\n" + b"1 " * 99,
        "pfm nan": b"PF\n1 1\n-1.0\n" + struct.pack("<3f", float("nan"), 0, 0),
        "jpeg huge": b"\xff\xd8\xff\xc0\0\x11\x08\xff\xff\xff\xff\3\1\x11\0\2\x11\0\3\x11\0\xff\xd9",
        "webp huge": b"RIFF\x1e\0\0\0WEBPVP8L\x11\0\0\0\x2f\xff\xff\xff\x0f" + bytes(16),
        "avif boxes": b"\0\0\0\x1cftypavif\0\0\0\0avifmif1miaf" + b"\xff\xff\xff\xffmeta" + bytes(40),
        "avif empty": b"\0\0\0\x1cftypavif\0\0\0\0avifmif1miaf",
        "empty": b"",
        "zeros": bytes(5000),
        "text": b"hello",
        "gif": b"GIF89a" + bytes(40),
    }
    return found


def damaged(*, every: int, mutations: int) -> Iterator[tuple[str, bytes]]:
    """Good files cut at every `every`th byte, and with bytes changed, most of them in the head."""
    rng = np.random.default_rng(8)
    for name, data in seeds().items():
        for end in range(1, len(data), every):
            yield f"{name} cut {end}", data[:end]
        for turn in range(mutations):
            changed = bytearray(data)
            for _ in range(rng.integers(1, 6)):
                reach = min(len(data), 400) if turn % 4 else len(data)
                changed[rng.integers(0, reach)] = rng.integers(0, 256)
            yield f"{name} changed {turn}", bytes(changed)


def lay_out(folder: Path, files: dict[str, bytes]) -> list[str]:
    """Write the files, half of them under another format's extension, and some that are no files; all their paths."""
    endings = (".png", ".jpg", ".tif", ".webp", ".avif", ".ppm", ".pfm", "")
    paths = []
    for index, (name, data) in enumerate(files.items()):
        path = folder / f"{name}{endings[index % len(endings)]}"
        path.write_bytes(data)
        paths.append(str(path))
    (folder / "a folder.png").mkdir()
    (folder / "dangling.png").symlink_to("nowhere.png")
    (folder / "itself.png").symlink_to("itself.png")
    (folder / "to a link.png").symlink_to("dangling.png")
    (folder / "to a folder.png").symlink_to("a folder.png")
    (folder / "line\nbreak.png").write_bytes(b"x")
    names = (
        "a folder.png",
        "dangling.png",
        "itself.png",
        "to a link.png",
        "to a folder.png",
        "line\nbreak.png",
        "none.png",
    )
    return paths + [str(folder / name) for name in names]


def check(
    paths: list[str], *, spool: Path, max_pixels: int = images.MAX_PIXELS, seconds: float = 20.0
) -> dict[str, str]:
    """What reading said of each path, in one process that must not crash, hang, print or grow by a gigabyte."""
    spool.mkdir()
    done = subprocess.run(
        [sys.executable, "-c", _PROGRAM, str(max_pixels), str(spool)],
        input=json.dumps(paths),
        capture_output=True,
        text=True,
        timeout=60 + seconds * 20,
        check=False,
    )
    assert done.returncode == 0, (done.stdout[-400:], done.stderr[-2000:])
    assert done.stderr == ""
    assert not list(spool.iterdir())
    said = {}
    for line in done.stdout.splitlines():
        word, _, rest = line.partition(" ")
        assert word in ("begin", "end"), line
        if word == "end":
            path, what, took, grown = json.loads(rest)
            assert took < seconds, (path, took)
            assert grown < 1024, (path, grown)
            assert what.startswith(("ndarray ", "Spool ", "InputError ")) and "\n" not in what, what
            said[path] = what
    assert list(said) == paths
    return said


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="memory is watched through /proc")
def test_absurd_and_odd_files_are_one_line_each(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    paths = lay_out(tmp_path / "in", absurd())
    said = check(paths, spool=tmp_path / "spool")
    fine = {path: what for path, what in said.items() if not what.startswith("InputError")}
    # What these claim beyond their pixels is not looked at.
    assert {Path(path).stem for path in fine} <= {"png bomb", "png text bomb", "png profile bomb", "tiff rows"}, fine
    assert len(said) >= 45


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="memory is watched through /proc")
def test_some_damaged_files(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    some = dict(list(damaged(every=977, mutations=2)))
    said = check(lay_out(tmp_path / "in", some), spool=tmp_path / "spool")
    assert len(said) >= 60
    assert sum(what.startswith("InputError") for what in said.values()) >= 30


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="memory is watched through /proc")
def test_thousands_of_damaged_files(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    many = dict(list(damaged(every=97, mutations=80)))
    said = check(lay_out(tmp_path / "in", many), spool=tmp_path / "spool")
    assert len(said) >= 1000
    assert sum(what.startswith("InputError") for what in said.values()) >= 500


_COMMAND = """
import resource, sys
import torch
from mezzotint.cli import main
base = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
status = main(sys.argv[1:])
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - base) // 1024, file=sys.stderr)
sys.exit(status)
"""


def enlarge(folder: Path, output: Path, *, timeout: float) -> dict[str, dict[str, object]]:
    """`upscale` over a folder of bad files: what the events say of each input, after the checks that hold for all."""
    words = ["upscale", str(folder), "-o", str(output), "--method", "nearest", "--scale", "2", "--events", "--quiet"]
    done = subprocess.run(
        [sys.executable, "-c", _COMMAND, *words], capture_output=True, text=True, timeout=timeout, check=False
    )
    assert done.returncode == 1, done.stderr[-2000:]
    *lines, grown = done.stderr.splitlines()
    assert int(grown) < 1024, grown
    events = [json.loads(line) for line in done.stdout.splitlines()]
    ended = {event["input"]: event for event in events if event["event"] in ("file-done", "file-failed")}
    failed = [event for event in ended.values() if event["event"] == "file-failed"]
    # Each failure is named once, in one line; nothing else is said.
    assert len(lines) == len(failed) and all(line.startswith("mezzotint: ") for line in lines), lines[:5]
    assert not any("Traceback" in line or "unexpected" in line for line in lines)
    assert events[-1]["failed"] == len(failed) and len(ended) == events[0]["inputs"]
    hidden = {path.name for path in output.iterdir() if path.name.startswith(".")}
    assert hidden == {".mezzotint-batch.sqlite"}, hidden
    results = [path for path in output.iterdir() if not path.name.startswith(".")]
    assert len(results) == len(ended) - len(failed)
    for path in results:
        images.read(path, spool=output)
    return ended


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs ru_maxrss in KiB")
def test_a_batch_of_bad_files_names_each(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    lay_out(tmp_path / "in", dict(list(damaged(every=977, mutations=1))))
    assert len(enlarge(tmp_path / "in", tmp_path / "out", timeout=120)) >= 30


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs ru_maxrss in KiB")
def test_a_batch_of_thousands_of_bad_files_names_each(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    lay_out(tmp_path / "in", absurd() | dict(list(damaged(every=97, mutations=80))))
    assert len(enlarge(tmp_path / "in", tmp_path / "out", timeout=1200)) >= 1000
