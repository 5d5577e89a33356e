"""The record of a run inside an XMP packet: the one text field that JPEG and WebP both hold."""

from __future__ import annotations

import re
from xml.sax.saxutils import escape, unescape

_NAMESPACE = "urn:mezzotint:1.0:"
_EMPTY = (
    '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>\n'
    '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">\n'
    '</rdf:RDF></x:xmpmeta>\n<?xpacket end="w"?>'
).encode()
_RECORD = re.compile(
    rb"<rdf:Description[^<>]*\bxmlns:mezzotint=[^<>]*>\s*<mezzotint:record>(.*?)</mezzotint:record>\s*"
    rb"</rdf:Description>\s*",
    re.DOTALL,
)
_CLOSE = re.compile(rb"</rdf:RDF\s*>")
_ORIENTATION = re.compile(rb"(tiff:Orientation\s*=\s*[\"']|<tiff:Orientation\s*>)\s*[1-8]\s*(?=[\"'<])")


def is_extensible(packet: bytes) -> bool:
    """Whether a record can be added to `packet` without harm: UTF-8 with one closed RDF element."""
    try:
        packet.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return len(_CLOSE.findall(packet)) == 1


def with_record(packet: bytes | None, record: str) -> bytes:
    """`packet` (None: an empty one) with `record`, any text, in place of an earlier record."""
    packet = without_record(packet) or _EMPTY
    description = (
        f'<rdf:Description rdf:about="" xmlns:mezzotint="{_NAMESPACE}">'
        f"<mezzotint:record>{escape(record)}</mezzotint:record></rdf:Description>\n"
    ).encode()
    end = [match.start() for match in _CLOSE.finditer(packet)][-1]
    return packet[:end] + description + packet[end:]


def without_record(packet: bytes | None) -> bytes | None:
    """`packet` without a record of ours; None if nothing else was in it."""
    if packet is None:
        return None
    rest = _RECORD.sub(b"", packet)
    return None if rest == _EMPTY else rest


def record_in(packet: bytes) -> str | None:
    """The record that `with_record` put into `packet`, or None."""
    match = _RECORD.search(packet)
    return unescape(match.group(1).decode("utf-8", "replace")) if match else None


def upright(packet: bytes) -> bytes:
    """`packet` with its copy of the orientation tag, if any, set to 1."""
    return _ORIENTATION.sub(rb"\g<1>1", packet)
