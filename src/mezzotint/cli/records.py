"""Records as a person names them: inside a result, or in a file of their own."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from mezzotint.errors import InputError

if TYPE_CHECKING:
    from mezzotint.record import Record


def is_json(path: Path) -> bool:
    """Return whether a file holds JSON rather than a picture, by how it begins; False for one that cannot be read."""
    try:
        with path.open("rb") as file:
            head = file.read(4096)
    except OSError:
        return False
    return head.removeprefix(b"\xef\xbb\xbf").lstrip()[:1] in (b"{", b"[")


def json_text(path: Path) -> str:
    """Return the text of a file of JSON; raises InputError where it cannot be read."""
    try:
        return path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise InputError(f"{path} cannot be read: {(error.strerror or str(error)).lower()}: check the name") from error
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is no text in UTF-8 (byte {error.start}): copy it again") from error


def records_in(path: Path) -> tuple[Record, ...]:
    """Return the records of a file of JSON, or the one in the metadata of a picture.

    Raises InputError, with the path, for anything else.
    """
    from mezzotint import images
    from mezzotint.record import all_from_json, from_json

    try:
        if is_json(path):
            return all_from_json(json_text(path))
        text = images.read_record(path)
        if text is None:
            raise InputError(
                f"{path} holds no record of mezzotint: it is no result of `upscale`, or was stripped, or its record is "
                "in the file that --record named"
            )
        return (from_json(text),)
    except InputError as error:
        message = str(error)
        raise error if str(path) in message else InputError(f"{path}: {message}") from error
