"""Parts of pages that benchmarks write, between two marks that name the program."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from mezzotint.images import atomic


def write(page: Path, program: str, lines: Sequence[str]) -> None:
    """Put `lines` between `<!-- written by PROGRAM -->` and `<!-- end of PROGRAM -->`; SystemExit without the marks."""
    begin, end = f"<!-- written by {program} -->", f"<!-- end of {program} -->"
    text = page.read_text(encoding="utf-8")
    if text.count(begin) != 1 or text.count(end) != 1 or text.index(begin) > text.index(end):
        raise SystemExit(f"{page.name} needs one line '{begin}' and below it one line '{end}'")
    before, after = text[: text.index(begin)], text[text.index(end) :]
    atomic.write_bytes(page, "\n".join([f"{before}{begin}", *lines, after]).encode(), overwrite=True)
