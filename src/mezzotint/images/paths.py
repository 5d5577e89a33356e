"""Where an output goes, what it is called, and what can be refused before any work is done."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from mezzotint.errors import InputError, UsageError
from mezzotint.images.atomic import already_there, reason, shown
from mezzotint.images.capabilities import TABLE

FORMATS = {suffix: kind for kind, form in TABLE.items() for suffix in form.extensions}
"""Extension -> format, of what can be read and written."""

_READ_ONLY = {".pbm": ".pgm"}
"""Extensions of what is read only -> of what it becomes: an enlarged bitmap has greys."""

WRITABLE = tuple(suffix for suffix in FORMATS if suffix not in _READ_ONLY)

SIDE_LIMITS = {kind: form.side for kind, form in TABLE.items()}
"""Pixels a side of each format."""

MAX_WHOLE_PIXELS = 100_000_000
"""The most pixels of a file that its library can only read or write whole. The hungriest, AVIF, was measured to take 20
bytes of memory a pixel for reading and 25 for writing, so that this is 2.5 gigabytes at most."""

_OTHER_PICTURES = frozenset(
    (
        *(".apng", ".arw", ".bmp", ".cr2", ".cr3", ".dng", ".eps", ".exr", ".gif", ".hdr", ".heic", ".heif", ".ico"),
        *(".j2k", ".jp2", ".jpx", ".jxl", ".nef", ".pam", ".pdf", ".psd", ".raw", ".svg", ".tga"),
    )
)


def limits(kind: str) -> int:
    """The most pixels a side of the format or extension `kind`; UsageError if it is not written."""
    return SIDE_LIMITS[_format_named(kind)]


def format_of(path: str | os.PathLike[str]) -> str:
    """The format that the extension of `path` asks for; InputError if it is not one that is written."""
    suffix = Path(path).suffix.lower()
    if suffix in _READ_ONLY:
        raise InputError(f"{shown(path)}: {suffix} holds black and white only: write {_READ_ONLY[suffix]} instead")
    if suffix in FORMATS:
        return FORMATS[suffix]
    named = f"{suffix} files are not written" if suffix else "its name has no extension"
    raise InputError(f"{shown(path)}: {named}: use one of {' '.join(WRITABLE)}")


def check_size(path: str | os.PathLike[str], *, width: int, height: int) -> None:
    """Refuse, before any work, a picture of `width` x `height` pixels that the format of `path` cannot hold.

    Raises InputError with the limit and a format that holds it.
    """
    kind = format_of(path)
    form, longest = TABLE[kind], max(width, height)
    if longest > form.side:
        said = f"{form.title} holds at most {form.side:,} a side"
    elif form.whole and width * height > MAX_WHOLE_PIXELS:
        said = f"{form.title} files are made of at most {MAX_WHOLE_PIXELS:,} pixels here, since they are made in memory"
    else:
        return
    fitting = [TABLE[other].extensions[0] for other in ("png", "tiff", "jpeg") if longest <= TABLE[other].side]
    way = f"write {' or '.join(fitting)} instead" if fitting else "use a smaller scale"
    raise InputError(f"{shown(path)} would be {width} x {height} pixels, and {said}: {way}")


def output_path(
    source: str | os.PathLike[str],
    output: str | os.PathLike[str] | None = None,
    *,
    scale: float | None = None,
    width: int | None = None,
    height: int | None = None,
    long_side: int | None = None,
    sample_index: int | None = None,
    fmt: str | None = None,
    source_format: str | None = None,
    make_folder: bool = True,
) -> Path:
    """The path of the picture made from `source`.

    Without `output`: NAME_x4.EXT beside the input, NAME_w1600.EXT for a width (h: height, l: long side), and
    NAME_x4_s0.EXT for sample 0 of several. An `output` with the extension of a picture is a file whose folder
    must exist; any other is a folder, made (parents too) if `make_folder`, for files of those names.

    `fmt` is the format that the user asked for; without it the extension of the input is kept, unless
    `source_format`, what the input's content is, says that it is wrong or there is none.
    Exactly one of `scale`, `width`, `height`, `long_side` is given. Raises UsageError where `output` and
    `fmt` contradict each other or the file system; InputError where the input's name gives no format.
    """
    source = Path(source)
    label = _label(scale=scale, width=width, height=height, long_side=long_side)
    sample = "" if sample_index is None else f"_s{sample_index}"
    if output is not None and _names_a_file(output):
        return _output_file(Path(output), sample=sample, fmt=fmt)
    stem, suffix = _stem_and_suffix(source, fmt=fmt, source_format=source_format)
    folder = source.parent if output is None else Path(output)
    if output is not None:
        _check_folder(folder, make=make_folder)
    return folder / f"{stem}_{label}{sample}{suffix}"


def check_output(
    path: str | os.PathLike[str], *, inputs: Iterable[str | os.PathLike[str]] = (), overwrite: bool = False
) -> None:
    """Refuse, before any work, an output that could not or must not be written.

    Raises InputError if the format is unknown, the name is too long, the folder is missing or not writable,
    the output is one of `inputs` (by another name or through links, too), or it exists and `overwrite` is
    not set.
    """
    path = Path(path)
    format_of(path)
    folder = path.parent
    if not os.path.isdir(folder):
        what = "is not a folder" if os.path.lexists(folder) else "does not exist"
        raise InputError(f"{shown(path)} cannot be written: the folder {shown(folder)} {what}: make it first")
    _check_name_length(path)
    for source in inputs:
        if _is_same_file(path, source):
            raise InputError(
                f"{shown(path)} is the input {shown(source)} itself, which is never overwritten: "
                "give another name or folder with -o"
            )
    if os.path.isdir(path):
        raise InputError(f"{shown(path)} is a folder: give another name with -o")
    if os.path.lexists(path) and not overwrite:
        raise already_there(path)
    if not os.access(folder, os.W_OK | os.X_OK):
        raise InputError(
            f"{shown(path)} cannot be written: the folder {shown(folder)} is not writable: choose another with -o"
        )


def check_collisions(pairs: Iterable[tuple[str | os.PathLike[str], str | os.PathLike[str]]]) -> None:
    """Refuse a batch of (input, output) in which two inputs lead to one output; UsageError names both."""
    seen: dict[str, str | os.PathLike[str]] = {}
    for source, output in pairs:
        key = os.path.normcase(os.path.realpath(output))
        if key in seen:
            raise UsageError(
                f"{shown(seen[key])} and {shown(source)} would both be written to {shown(output)}: "
                "give them to separate commands with separate folders"
            )
        seen[key] = source


def _label(*, scale: float | None, width: int | None, height: int | None, long_side: int | None) -> str:
    given = [
        f"{letter}{value:g}" if letter == "x" else f"{letter}{value}"
        for letter, value in (("x", scale), ("w", width), ("h", height), ("l", long_side))
        if value is not None
    ]
    if len(given) != 1:
        raise UsageError(
            f"{len(given)} of scale, width, height and long side were given: exactly one says the size of the output"
        )
    return given[0]


def _format_named(name: str) -> str:
    suffix = "." + name.lower().lstrip(".")
    if suffix not in WRITABLE:
        raise UsageError(f"format {shown(name)} is not written: use one of {' '.join(WRITABLE)}")
    return FORMATS[suffix]


def _names_a_file(output: str | os.PathLike[str]) -> bool:
    text = os.fspath(output)
    if text.endswith(tuple(filter(None, (os.sep, os.altsep)))):
        return False
    suffix = Path(text).suffix.lower()
    if suffix in _OTHER_PICTURES and not os.path.isdir(text):
        raise UsageError(f"-o {shown(text)}: {suffix} files are not written: use one of {' '.join(WRITABLE)}")
    return suffix in FORMATS


def _output_file(path: Path, *, sample: str, fmt: str | None) -> Path:
    if fmt is not None and _format_named(fmt) != FORMATS[path.suffix.lower()]:
        raise UsageError(f"-o {shown(path)} and --format {shown(fmt)} name two formats: leave one out")
    if not os.path.isdir(path.parent):
        raise UsageError(
            f"-o {shown(path)} names a file, and its folder {shown(path.parent)} does not exist: "
            "make it first, or name a folder, which is made"
        )
    if os.path.isdir(path):
        raise UsageError(
            f"-o {shown(path)} is a folder, and its name ends like a picture's: write {shown(path)}{os.sep} "
            "to use it as a folder"
        )
    return path.with_name(f"{path.stem}{sample}{path.suffix}")


def _stem_and_suffix(source: Path, *, fmt: str | None, source_format: str | None) -> tuple[str, str]:
    suffix = source.suffix
    known = suffix.lower() in FORMATS
    stem = source.stem if known or suffix.lower() in _OTHER_PICTURES else source.name
    wanted = fmt if fmt is not None else source_format
    if wanted is None:
        if not known:
            raise InputError(f"{shown(source)}: its name gives no format for the output: add --format png")
        return stem, _READ_ONLY.get(suffix.lower(), suffix)
    kind = _format_named(wanted)
    if known and FORMATS[suffix.lower()] == kind:
        return stem, _READ_ONLY.get(suffix.lower(), suffix)
    return stem, TABLE[kind].extensions[0] if fmt is None else "." + fmt.lower().lstrip(".")


def _check_folder(folder: Path, *, make: bool) -> None:
    if os.path.isdir(folder):
        return
    if os.path.lexists(folder):
        raise UsageError(f"-o {shown(folder)} is a file, not a folder, and not named like a picture: name either")
    if not make:
        return
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(
            f"the folder {shown(folder)} cannot be made: {reason(error)}: choose another with -o"
        ) from error


def _check_name_length(path: Path) -> None:
    try:
        limit = os.pathconf(path.parent, "PC_NAME_MAX")
    except (AttributeError, ValueError, OSError):
        limit = 255
    length = len(os.fsencode(path.name))
    if length > limit:
        raise InputError(
            f"{shown(path)} cannot be written: its name is {length} bytes long, and the limit here is "
            f"{limit}: give a shorter name with -o"
        )


def _is_same_file(path: Path, other: str | os.PathLike[str]) -> bool:
    try:
        return os.path.samefile(path, other)
    except OSError:
        return os.path.normcase(os.path.realpath(path)) == os.path.normcase(os.path.realpath(other))
