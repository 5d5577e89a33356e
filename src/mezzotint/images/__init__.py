"""Pictures in files, in parts and on sheets; the only room that opens picture files."""

from __future__ import annotations

from mezzotint.images.capabilities import can_hold_record
from mezzotint.images.paths import (
    FORMATS,
    WRITABLE,
    check_collisions,
    check_output,
    check_size,
    format_of,
    limits,
    output_path,
)
from mezzotint.images.picture import Picture, strip
from mezzotint.images.reading import MAX_PIXELS, decode, plain, read, read_plain, read_record
from mezzotint.images.spool import Spool, rows_for
from mezzotint.images.writing import changes, encode, write

__all__ = [
    "FORMATS",
    "MAX_PIXELS",
    "WRITABLE",
    "Picture",
    "Spool",
    "can_hold_record",
    "changes",
    "check_collisions",
    "check_output",
    "check_size",
    "decode",
    "encode",
    "format_of",
    "limits",
    "output_path",
    "plain",
    "read",
    "read_plain",
    "read_record",
    "rows_for",
    "strip",
    "write",
]
