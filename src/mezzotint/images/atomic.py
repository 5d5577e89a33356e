"""Files that are either whole or not there."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
from pathlib import Path

from mezzotint.errors import InputError


def shown(path: str | os.PathLike[str]) -> str:
    """`path` for a message: on one line, with what cannot be printed escaped."""
    return "".join(
        letter if letter.isprintable() else letter.encode("unicode_escape").decode("ascii")
        for letter in os.fspath(path)
    )


def reason(error: OSError) -> str:
    """What the operating system says, in lower case."""
    return (error.strerror or type(error).__name__).lower()


def write_bytes(path: str | os.PathLike[str], data: bytes, *, overwrite: bool = False) -> None:
    """Put `data` into the file `path`: another process sees the old state or the whole file, never a part.

    The bytes go to a hidden file in the same folder, to the disk, and then to their name. The hidden file is
    removed whatever happens, Ctrl-C included. A new file gets the usual permissions, a replaced one keeps
    its own; a link with that name is replaced, not followed. Raises InputError where the system refuses, and
    where the file exists unless `overwrite`.
    """
    path = Path(path)
    part = path.parent / f".mezzotint-{secrets.token_hex(8)}.part"
    try:
        try:
            # Not tempfile: its files are readable by their owner only, and would stay so.
            with open(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666), "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
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
        raise InputError(
            f"{shown(path)} cannot be written: {reason(error)} ({len(data)} bytes): "
            "choose another folder with -o, or make room"
        ) from error
    _flush_folder(path.parent)


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
