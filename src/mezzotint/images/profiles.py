"""What a colour profile says about the samples: their colour space, and whether they are linear light."""

from __future__ import annotations

import struct

_SPACES = {b"GRAY": "grey", b"RGB ": "rgb", b"CMYK": "cmyk"}
_CURVES = {"grey": (b"kTRC",), "rgb": (b"rTRC", b"gTRC", b"bTRC")}


def space_of(icc: bytes) -> str:
    """The colour space of the profile: "grey", "rgb", "cmyk", or what it calls another one."""
    return _SPACES.get(icc[16:20], icc[16:20].decode("latin-1").strip())


def is_linear(icc: bytes) -> bool:
    """Whether the profile's tone curves are straight lines (ICC.1:2022, 10.6 and 10.18): linear light.

    A `curv` of no entries, or of one entry of gamma 1.0, or a `para` of type 0 with g = 1. A profile that is
    damaged or has tables instead is not.
    """
    curves = _CURVES.get(space_of(icc))
    if curves is None or len(icc) < 132:
        return False
    (count,) = struct.unpack_from(">I", icc, 128)
    tags = {}
    for index in range(min(count, 200)):
        at = 132 + 12 * index
        if at + 12 > len(icc):
            return False
        name, start, size = struct.unpack_from(">4sII", icc, at)
        tags[name] = icc[start : start + size]
    return all(_is_straight(tags.get(name, b"")) for name in curves)


def _is_straight(curve: bytes) -> bool:
    if curve[:4] == b"curv" and len(curve) >= 12:
        (count,) = struct.unpack_from(">I", curve, 8)
        if count == 0:
            return True
        return count == 1 and len(curve) >= 14 and curve[12:14] == b"\x01\x00"
    if curve[:4] == b"para" and len(curve) >= 16:
        kind, _, gamma = struct.unpack_from(">HHI", curve, 8)
        return kind == 0 and gamma == 0x10000
    return False
