"""Files that are either whole or not there."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import secrets
import time
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from pathlib import Path

from mezzotint.errors import InputError
from mezzotint.images import owners

_HIDDEN = re.compile(r"\.mezzotint-(?:(?P<owner>.+)-)?[0-9a-f]+\.(?:part|spool)")
_FORGOTTEN_SECONDS = 24 * 3600.0

Tell = Callable[[Path, Path], None]
_tell: ContextVar[Tell | None] = ContextVar("tell", default=None)


def shown(path: str | os.PathLike[str]) -> str:
    """`path` for a message: on one line, with what cannot be printed escaped."""
    return "".join(
        letter if letter.isprintable() else letter.encode("unicode_escape").decode("ascii")
        for letter in os.fspath(path)
    )


def reason(error: OSError) -> str:
    """What the operating system says, in lower case."""
    return (error.strerror or type(error).__name__).lower()


def hidden_name(kind: str = "part") -> str:
    """A new name for a hidden file that is not finished ("part") or never will be ("spool"); it tells its owner."""
    return f".mezzotint-{owners.mark()}-{secrets.token_hex(8)}.{kind}"


def remove_stale(folder: str | os.PathLike[str]) -> int:
    """Remove the hidden files that processes which have ended left in `folder`, and return how many.

    Where it cannot be known whether the owner lives (another machine, an earlier start of this one), a file goes
    when nothing was written to it for a day. What the system does not let go stays.
    """
    removed = 0
    try:
        names = os.listdir(folder)
    except OSError:
        return 0  # no folder, or one that cannot be read: whoever works in it says so
    for name in names:
        found = _HIDDEN.fullmatch(name)
        if found is None:
            continue
        path = Path(folder, name)
        alive = owners.lives(found["owner"] or "")
        with contextlib.suppress(OSError):
            if alive is False or (alive is None and time.time() - path.lstat().st_mtime > _FORGOTTEN_SECONDS):
                path.unlink()
                removed += 1
    return removed


@contextlib.contextmanager
def announced(tell: Tell) -> Iterator[None]:
    """Within the block, call `tell(part, path)` for every file that is complete in `part`, before it is named `path`.

    An error that `tell` raises keeps the file from being named.
    """
    before = _tell.set(tell)
    try:
        yield
    finally:
        _tell.reset(before)


@contextlib.contextmanager
def whole(path: str | os.PathLike[str], *, overwrite: bool = False, size: int | None = None) -> Iterator[Path]:
    """Yield a hidden name in the folder of `path`; the file that the block makes there becomes `path`.

    Another process sees the old state or the whole file, never a part: the file goes to the disk, and then to its
    name. The hidden file is removed whatever happens, Ctrl-C included. A new file gets the usual permissions, a
    replaced one keeps its own; a link with that name is replaced, not followed. `size`: its bytes, for the message.
    Raises InputError where the system refuses, and where the file exists unless `overwrite`.
    """
    path = Path(path)
    part = path.parent / hidden_name()
    try:
        try:
            yield part
            _flush(part)
            tell = _tell.get()
            if tell is not None:
                tell(part, path)
            if overwrite:
                with contextlib.suppress(OSError):
                    os.chmod(part, os.stat(path).st_mode & 0o777)
                os.replace(part, path)
            else:
                _give_new_name(part, path)
        finally:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(part)
    except FileExistsError as error:
        raise already_there(path) from error
    except OSError as error:
        bytes_of = "" if size is None else f" ({size} bytes)"
        raise InputError(
            f"{shown(path)} cannot be written: {reason(error)}{bytes_of}: choose another folder with -o, or make room"
        ) from error
    _flush_folder(path.parent)


def write_bytes(path: str | os.PathLike[str], data: bytes, *, overwrite: bool = False) -> None:
    """Put `data` into the file `path`, whole or not at all, as `whole` does."""
    # Not tempfile: its files are readable by their owner only, and would stay so.
    with (
        whole(path, overwrite=overwrite, size=len(data)) as part,
        open(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), 0o666), "wb") as file,
    ):
        file.write(data)


def already_there(path: str | os.PathLike[str]) -> InputError:
    """The error for an output that exists."""
    return InputError(f"{shown(path)} exists: give --overwrite to replace it, or another name with -o")


def _give_new_name(part: Path, path: Path) -> None:
    try:
        # A hard link fails where the name is taken, even if it was taken a moment ago; a rename does not.
        os.link(part, path)
    except FileExistsError:
        raise
    except OSError as error:
        if error.errno not in (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK, errno.EINVAL):
            raise
        if os.path.lexists(path):
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(path)) from error
        os.replace(part, path)


def _flush_folder(folder: Path) -> None:
    """Make the new name itself last; not every system can, and the file is whole either way."""
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def _flush(path: Path) -> None:
    """Have the system write the file to the disk."""
    handle = os.open(path, os.O_RDWR)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
