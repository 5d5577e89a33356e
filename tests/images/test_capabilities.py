"""The table of formats in the documentation is the one that the code follows."""

from __future__ import annotations

from pathlib import Path

from mezzotint.images import FORMATS, WRITABLE
from mezzotint.images.capabilities import TABLE, Format

DOCS = Path(__file__).parents[2] / "docs" / "formats.md"


def row(form: Format) -> str:
    """One line of the table."""
    depths = ", ".join("32 float" if bits == 32 else str(bits) for bits in form.bits)
    titles = {"grey": "grey as RGB" if form.grey_as_rgb else "grey", "rgb": "RGB", "cmyk": "CMYK"}
    kinds = {"icc": "ICC", "exif": "EXIF", "xmp": "XMP", "iptc": "IPTC", "text": "PNG text", "resolution": "resolution"}
    cells = (
        form.title,
        " ".join(form.extensions),
        depths,
        ", ".join(titles[space] for space in form.spaces),
        "kept" if form.alpha else "refused",
        {"always": "yes", "never": "no", "choice": "as the input, or asked for"}[form.lossless],
        ", ".join(kinds[kind] for kind in form.metadata) or "none",
        "yes" if form.record else "no, use --record",
        f"{form.side:,}",
    )
    return f"| {' | '.join(cells)} |"


def test_the_documentation_has_the_table_of_the_code() -> None:
    text = DOCS.read_text(encoding="utf-8")
    missing = [line for line in map(row, TABLE.values()) if line not in text]
    assert not missing, "docs/formats.md lacks:\n" + "\n".join(missing)


def test_every_extension_leads_to_its_format() -> None:
    assert all(FORMATS[suffix] == kind for kind, form in TABLE.items() for suffix in form.extensions)
    assert set(FORMATS) - set(WRITABLE) == {".pbm"}
