"""Write the authors of the training pictures into NOTICE, by licence, from the lists of `training`.

    python training/notice.py
"""

from __future__ import annotations

import textwrap
from pathlib import Path

from mezzotint.data import pictures

NOTICE = Path(__file__).resolve().parents[1] / "NOTICE"
BEFORE = "Their authors:\n"
PUBLIC_DOMAIN = "public-domain"


def authors() -> str:
    """The end of NOTICE: a paragraph a licence, public domain last, authors in the order of the alphabet."""
    found: dict[str, set[str]] = {}
    for name in pictures.LISTS:
        for row in pictures.read_pictures(pictures.list_files(name)[0]):
            found.setdefault(row.licence, set()).add(" ".join(row.author.split()))
    order = sorted(found, key=lambda licence: (licence == PUBLIC_DOMAIN, licence))
    paragraphs = []
    for licence in order:
        title = "Public domain" if licence == PUBLIC_DOMAIN else licence
        text = f"{title}: {'; '.join(sorted(found[licence], key=str.casefold))}."
        paragraphs.append(textwrap.fill(text, width=118, subsequent_indent="  ", break_on_hyphens=False))
    return "\n".join(paragraphs) + "\n"


def main() -> None:
    text = NOTICE.read_text(encoding="utf-8")
    if text.count(BEFORE) != 1:
        raise SystemExit(f"NOTICE needs one line that ends in {BEFORE.strip()!r}, behind which the authors stand")
    NOTICE.write_text(text[: text.index(BEFORE) + len(BEFORE)] + "\n" + authors(), encoding="utf-8")


if __name__ == "__main__":
    main()
