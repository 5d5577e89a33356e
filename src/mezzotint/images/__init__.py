"""Pictures in files, in parts and on sheets; the only room that opens picture files."""

from __future__ import annotations

from mezzotint.images.files import (
    WRITABLE,
    Picture,
    check_collisions,
    check_output,
    check_size,
    decode,
    encode,
    limits,
    output_path,
    read,
    read_record,
    strip,
    write,
)

__all__ = [
    "WRITABLE",
    "Picture",
    "check_collisions",
    "check_output",
    "check_size",
    "decode",
    "encode",
    "limits",
    "output_path",
    "read",
    "read_record",
    "strip",
    "write",
]
