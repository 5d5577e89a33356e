"""Where reading and writing were before they had files of their own; kept for those who import from here."""

from __future__ import annotations

from mezzotint.images.paths import format_of
from mezzotint.images.picture import Picture, strip
from mezzotint.images.reading import MAX_PIXELS, decode, read, read_record
from mezzotint.images.writing import encode, write

__all__ = ["MAX_PIXELS", "Picture", "decode", "encode", "format_of", "read", "read_record", "strip", "write"]
