"""Dots an inch: which of them make sense."""

from __future__ import annotations

MM_PER_INCH = 25.4
DEFAULT_DPI = 72.0
# Beyond this a resolution is a slip, and libvips complains on stderr about far larger ones.
_LEAST_DPI, _MOST_DPI = 0.1, 1e6


def is_credible(resolution: tuple[float, float]) -> bool:
    """Whether (across, down) dots an inch can be meant."""
    return all(_LEAST_DPI <= dots <= _MOST_DPI for dots in resolution)


def scaled(resolution: tuple[float, float] | None, scale: float) -> tuple[float, float] | None:
    """`resolution` of a picture `scale` times as fine; None where there is none that can be meant."""
    if resolution is None:
        return None
    result = (resolution[0] * scale, resolution[1] * scale)
    return result if is_credible(result) else None
