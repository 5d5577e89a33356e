"""The lists of openly licensed training pictures, and the folders that are rebuilt from them exactly.

A row names the package and version that ship a picture, its author and licence, how far it was shrunk, and three
SHA-256: of the file as shipped (`source_sha256`), of the pixels that train (`pixels_sha256`: rows of RGB bytes from
the top left), and of the JPEG that weights were first trained from (`stored_sha256`). Rebuilding repeats the steps
that made that JPEG: decode, `shrink`, JPEG of quality 94 without chroma subsampling, decode.

`training` is the list that the weights in this package were trained on. `training-large` holds more pictures, and
larger ones: `training/README.md` says how they were chosen.
"""

from __future__ import annotations

import csv
import dataclasses
import hashlib
import io
import os
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mezzotint.data.packages import Package, default_cache, file_sha256, obtain, read_files
from mezzotint.data.shrink import shrink
from mezzotint.errors import InputError, UsageError
from mezzotint.images import Picture, decode, encode, plain
from mezzotint.images.atomic import write_bytes

OPEN_LICENCES = frozenset(
    ["CC0-1.0", "public-domain", *(f"CC-BY-{n}" for n in ("1.0", "2.0", "2.5", "3.0", "4.0"))]
    + [f"CC-BY-SA-{n}" for n in ("1.0", "2.0", "2.5", "3.0", "4.0")]
)
"""The licences that a row may carry: SPDX names, and `public-domain`."""

QUALITY = 94
"""Quality of the JPEG that rebuilding goes through."""

TRAINING = "training"
LISTS = {TRAINING: ("pictures.csv", "packages.csv"), "training-large": ("pictures-large.csv", "packages-large.csv")}
"""The shipped lists: name -> (pictures, packages that they come in), files in `list_folder`."""

_SUFFIXES = frozenset([".jpg", ".jpeg", ".png", ".webp"])
_HEX = re.compile(r"[0-9a-f]{64}\Z")
_FACTOR = re.compile(r"[0-9]{1,3}(\.[0-9]{1,2})?\Z")


@dataclass(frozen=True)
class Row:
    """One training picture.

    `file`: its name in the rebuilt folder. `source`, `version`: the package (see `packages.Package`).
    `source_file`: the path in the package; `A!B` is file B in the Qt resource file A. `shrink`: the factor, a multiple
    of 1/4. `height`, `width`: pixels after shrinking. `author`, `licence`: of this picture, as `evidence` (a file of
    the package, or an address) states them. `origin`: where the picture was first published. `note`: what else
    somebody who passes it on must know.
    """

    file: str
    source: str
    version: str
    source_file: str
    source_sha256: str
    shrink: float
    height: int
    width: int
    pixels_sha256: str
    stored_sha256: str
    licence: str
    author: str
    origin: str
    evidence: str
    note: str

    @property
    def megapixels(self) -> float:
        return self.height * self.width / 1e6


@dataclass(frozen=True)
class Fetched:
    """What `fetch` did: file names by how each picture came, and (file, reason) for those that could not be had."""

    folder: Path
    kept: tuple[str, ...]
    copied: tuple[str, ...]
    rebuilt: tuple[str, ...]
    missing: tuple[tuple[str, str], ...]

    @property
    def is_complete(self) -> bool:
        return not self.missing


def list_folder() -> Path:
    """Return the folder of the shipped lists: in an installed package, or training/ of a checkout."""
    here = Path(__file__).resolve().parent
    folders = (here / "lists", here.parents[2] / "training")
    for folder in folders:
        if (folder / "pictures.csv").is_file():
            return folder
    raise InputError(f"the list of training pictures is neither in {folders[0]} nor in {folders[1]}: install again")


def list_files(name: str = TRAINING) -> tuple[Path, Path]:
    """Return the shipped list of pictures of a set and that of its packages; UsageError for another name."""
    if name not in LISTS:
        raise UsageError(f"there is no list of pictures {name!r}: use one of {', '.join(LISTS)}")
    pictures, packages = LISTS[name]
    return list_folder() / pictures, list_folder() / packages


def _read_table(path: Path, columns: Sequence[str]) -> Iterator[tuple[int, dict[str, str]]]:
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path} cannot be read: {getattr(error, 'strerror', None) or error}") from None
    reader = csv.DictReader(io.StringIO(text))
    if tuple(reader.fieldnames or ()) != tuple(columns):
        raise InputError(f"{path} has the columns {reader.fieldnames}, expected are {', '.join(columns)}")
    for row in reader:
        if None in row or None in row.values():
            raise InputError(f"{path}, line {reader.line_num}: it has not {len(columns)} cells")
        yield reader.line_num, row


def _check(good: bool, path: Path, line: int, complaint: str) -> None:
    if not good:
        raise InputError(f"{path}, line {line}: {complaint}")


def read_pictures(path: Path | None = None) -> tuple[Row, ...]:
    """Read a list of pictures, that of `training` without `path`; InputError names the line at fault.

    Every row must have an author, an open licence (`OPEN_LICENCES`), whole SHA-256 and a name of its own.
    """
    path = path or list_files()[0]
    rows: dict[str, Row] = {}
    for line, cells in _read_table(path, [field.name for field in dataclasses.fields(Row)]):
        numbers = {name: cells[name] for name in ("height", "width")}
        for name, text in numbers.items():
            _check(text.isdecimal() and int(text) > 0, path, line, f"{name} {text!r} is not a positive whole number")
        factor = cells["shrink"]
        good = bool(_FACTOR.match(factor)) and float(factor) >= 1 and float(factor) * 4 % 1 == 0
        _check(good, path, line, f"shrink {factor!r} is not a multiple of 1/4 from 1 on")
        for name in ("source_sha256", "pixels_sha256", "stored_sha256"):
            _check(bool(_HEX.match(cells[name])), path, line, f"{name} {cells[name]!r} is not 64 hexadecimal digits")
        file = cells["file"]
        plain = file == Path(file).name and not file.startswith(".") and Path(file).suffix == ".jpg"
        _check(plain, path, line, f"file {file!r} is not a plain name that ends in .jpg")
        _check(file not in rows, path, line, f"{file} is listed twice")
        _check(cells["licence"] in OPEN_LICENCES, path, line, f"licence {cells['licence']!r} is not a known open one")
        _check(bool(cells["author"].strip()), path, line, f"{file} has no author")
        values: dict[str, Any] = {**cells, **{name: int(text) for name, text in numbers.items()}}
        values["shrink"] = float(factor)
        rows[file] = Row(**values)
    if not rows:
        raise InputError(f"{path} lists no pictures")
    return tuple(rows.values())


def read_packages(path: Path | None = None) -> tuple[Package, ...]:
    """Read the list of packages that belongs to a list of pictures, that of `training` without `path`."""
    path = path or list_files()[1]
    packages = []
    for line, cells in _read_table(path, [field.name for field in dataclasses.fields(Package)]):
        kind = cells["source"].partition(":")[0]
        _check(kind in ("apt", "pip", "git"), path, line, f"source {cells['source']!r} is not apt:, pip: or git:")
        if kind != "git":
            archive = cells["archive"]
            _check(archive == Path(archive).name != "", path, line, f"archive {archive!r} is not a plain name")
            _check(bool(_HEX.match(cells["sha256"])), path, line, f"sha256 {cells['sha256']!r} is not whole")
        _check(cells["size"].isdecimal(), path, line, f"size {cells['size']!r} is not a whole number")
        values: dict[str, Any] = {**cells, "size": int(cells["size"])}
        packages.append(Package(**values))
    return tuple(packages)


def pixels_sha256(pixels: np.ndarray) -> str:
    """Return the SHA-256 of 8-bit pixels (h, w, c): rows from the top, pixels from the left, channels R G B."""
    return hashlib.sha256(np.ascontiguousarray(pixels).tobytes()).hexdigest()


def decoded(data: bytes, name: str) -> np.ndarray:
    """Return the pixels (h, w, 3) uint8 of a picture file, turned upright; no colour profile is applied."""
    pixels = plain(decode(data, name=name), name=name).pixels
    return np.repeat(pixels, 3, axis=2) if pixels.shape[2] == 1 else pixels


def stored(pixels: np.ndarray, *, name: str) -> bytes:
    """Return the JPEG in which pixels (h, w, 3) uint8 are kept; `name` is for messages."""
    return encode(Picture(pixels, format="jpeg"), fmt="jpeg", quality=QUALITY, name=name)


def rebuild(row: Row, source: bytes) -> bytes:
    """Return the JPEG of a row, made from the bytes of its file as shipped.

    Raises InputError where `source` is another file, and where this machine's libraries decode to other pixels.
    """
    found = hashlib.sha256(source).hexdigest()
    if found != row.source_sha256:
        raise InputError(
            f"{row.source_file} of {row.source} has SHA-256 {found[:12]}..., listed is {row.source_sha256[:12]}..."
        )
    data = stored(shrink(decoded(source, row.source_file), factor=row.shrink), name=row.file)
    if pixels_sha256(decoded(data, row.file)) != row.pixels_sha256:
        raise InputError(
            f"{row.file} comes out with other pixels here than listed: the picture libraries of this machine decode "
            "differently; give a folder that holds the finished pictures"
        )
    return data


def is_right(row: Row, path: Path) -> bool:
    """Say whether a file holds exactly the listed pixels of a row: by its bytes, else by decoding it."""
    try:
        if file_sha256(path) == row.stored_sha256:
            return True
        return pixels_sha256(decoded(path.read_bytes(), path.name)) == row.pixels_sha256
    except (OSError, InputError):
        return False


def verify(folder: Path, *, rows: Iterable[Row] | None = None) -> tuple[tuple[str, str], ...]:
    """Return (file, what is wrong) for every listed picture that a folder lacks or holds with other pixels."""
    wrong = []
    for row in read_pictures() if rows is None else rows:
        path = folder / row.file
        if not path.is_file():
            wrong.append((row.file, "missing"))
        elif not is_right(row, path):
            wrong.append((row.file, "other pixels than listed"))
    return tuple(wrong)


def fetch(
    folder: Path,
    *,
    rows: Sequence[Row] | None = None,
    packages: Sequence[Package] | None = None,
    source_folder: Path | None = None,
    cache: Path | None = None,
    mirror: str | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Fetched:
    """Rebuild the listed pictures in `folder` and check every pixel.

    What lies in `source_folder` (searched with its subfolders, by SHA-256, whatever the names) is taken from
    there: finished pictures are copied, files as shipped are rebuilt. The rest comes from the registries' packages
    in `cache`, fetched where needed, Debian's from the address `mirror` if given (see `packages.obtain`). Pictures of
    git sources come from `source_folder` only.

    Until everything that registries have is there, the work lies in `.NAME.partial` beside the folder and
    the next call goes on with it; then it takes the folder's name. A folder that exists is completed in place,
    every file written whole or not at all. `pictures.csv` in it lists what it holds. `progress` gets (done, total).
    Raises InputError where nothing can be written; a picture that cannot be had is reported, not raised.
    """
    rows = read_pictures() if rows is None else rows
    known = {(package.source, package.version): package for package in packages or read_packages()}
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{folder} is not a folder: name another")
    work = folder if folder.is_dir() else folder.with_name(f".{folder.name}.partial")
    try:
        work.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"folder {work} cannot be made: {error.strerror}") from None
    report = progress or (lambda done, total: None)
    done = 0

    def count() -> None:
        nonlocal done
        done += 1
        report(done, len(rows))

    kept, copied, rebuilt = [], [], []
    missing: dict[str, str] = {}
    offered = _offered(source_folder, rows) if source_folder is not None else {}
    waiting: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        path = work / row.file
        if path.is_file() and is_right(row, path):
            kept.append(row.file)
        elif found := offered.get(row.stored_sha256):
            write_bytes(path, found.read_bytes(), overwrite=True)
            copied.append(row.file)
        elif found := offered.get(row.source_sha256):
            try:
                write_bytes(path, rebuild(row, found.read_bytes()), overwrite=True)
                rebuilt.append(row.file)
            except InputError as error:
                missing[row.file] = str(error)
        else:
            waiting.setdefault((row.source, row.version), []).append(row)
            continue
        count()
    can_go_on = False
    for key, group in waiting.items():
        try:
            archive = obtain(_package(known, key), cache=cache or default_cache(), mirror=mirror)
            sources = read_files(archive, [row.source_file for row in group])
        except InputError as error:
            missing.update((row.file, str(error)) for row in group)
            can_go_on |= not key[0].startswith("git:")
            for _ in group:
                count()
            continue
        for row in group:
            try:
                write_bytes(work / row.file, rebuild(row, sources[row.source_file]), overwrite=True)
                rebuilt.append(row.file)
            except InputError as error:
                missing[row.file] = str(error)
            count()
    write_list(work / "pictures.csv", [row for row in rows if row.file not in missing])
    if work != folder and not can_go_on:
        try:
            os.rename(work, folder)
        except OSError as error:
            raise InputError(f"{work} cannot be renamed to {folder.name}: {error.strerror}") from None
    return Fetched(
        folder if work == folder or not can_go_on else work,
        tuple(kept),
        tuple(copied),
        tuple(rebuilt),
        tuple((row.file, missing[row.file]) for row in rows if row.file in missing),
    )


def _package(known: dict[tuple[str, str], Package], key: tuple[str, str]) -> Package:
    if key not in known:
        raise InputError(f"{key[0]} {key[1]} is not in the list of packages")
    package = known[key]
    if package.kind == "git":
        raise InputError(
            f"{package.name} is in no registry: get commit {package.version[:12]} of it (or the finished pictures) "
            "and give that folder with --from"
        )
    return package


def _offered(folder: Path, rows: Sequence[Row]) -> dict[str, Path]:
    """Return SHA-256 -> path of the pictures under a folder that a row asks for."""
    if not folder.is_dir():
        raise InputError(f"{folder} is not a folder: name one that holds the pictures")
    wanted = {sha for row in rows for sha in (row.stored_sha256, row.source_sha256)}
    found: dict[str, Path] = {}
    for path in sorted(folder.rglob("*")):
        if path.suffix.lower() in _SUFFIXES and path.is_file():
            try:
                sha = file_sha256(path)
            except OSError as error:
                raise InputError(f"{path} cannot be read: {error.strerror}") from None
            if sha in wanted:
                found.setdefault(sha, path)
    return found


def write_list(path: Path, rows: Iterable[Row]) -> None:
    """Write a list of pictures as CSV; the file is there whole or not at all."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([field.name for field in dataclasses.fields(Row)])
    for row in rows:
        writer.writerow((dataclasses.asdict(row) | {"shrink": f"{row.shrink:g}"}).values())
    write_bytes(path, text.getvalue().encode(), overwrite=True)


def credits(rows: Iterable[Row] | None = None) -> tuple[str, ...]:
    """Return one line of attribution a picture: file, author, licence, where it comes from and how it was changed."""
    lines = []
    for row in read_pictures() if rows is None else rows:
        change = f"shrunk {row.shrink:g} times" if row.shrink > 1 else "coded again as JPEG"
        where = row.origin or f"{row.source} {row.version}"
        note = f"; {row.note}" if row.note else ""
        lines.append(f"{row.file}: {row.author}, {row.licence}, {where} ({change}{note})")
    return tuple(lines)
