"""Drawings for reports, as SVG and PNG text that stands inside a page."""

from __future__ import annotations

import base64
import math
import struct
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

import numpy as np

WIDTH, HEIGHT, MARGIN = 640.0, 400.0, 60.0
LINE, LETTER = 14.0, 6.8
"""Height of a line of text, and about what a letter of it is wide at most, in units of the drawing."""
_COLOURS = ("#1f5fa8", "#b3541e", "#2f7d4f", "#7b3fa0", "#9a8700", "#a8324a", "#4d4d4d")


@dataclass(frozen=True)
class Point:
    """A point of a drawing: its place, and the interval up and down where there is one."""

    x: float
    y: float
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class _Axes:
    across: tuple[float, float]
    up: tuple[float, float]
    reversed: bool = False

    def place(self, x: float, y: float) -> tuple[float, float]:
        """Return where a value stands; y grows upwards, or downwards if it is reversed."""
        right = MARGIN + (x - self.across[0]) / (self.across[1] - self.across[0]) * (WIDTH - 2 * MARGIN)
        share = (y - self.up[0]) / (self.up[1] - self.up[0])
        return right, HEIGHT - MARGIN - share * (HEIGHT - 2 * MARGIN)


def scatter(points: Mapping[str, Point], *, label: str, across: str, up: str, digits: tuple[int, int]) -> str:
    """Return an SVG of named points; digits: of the numbers at the ends of both axes."""
    axes = _axes(list(points.values()))
    shapes = _frame(axes, across=across, up=up, digits=digits)
    taken: list[tuple[float, float, float]] = []
    for name, point in points.items():
        x, y = axes.place(point.x, point.y)
        anchor, shift = ("end", -8) if x > WIDTH / 2 else ("start", 8)
        shapes.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4" fill="{_COLOURS[0]}"/>')
        width = LETTER * len(name) + 8
        left = x - width if anchor == "end" else x
        line = _free_line(taken, left, left + width, y)
        taken.append((left, left + width, line))
        if line != y:
            path = f"M{x:.1f} {y:.1f} L{x + shift:.1f} {line:.1f}"
            shapes.append(f'<path d="{path}" fill="none" stroke="{_COLOURS[0]}" stroke-opacity=".5"/>')
        shapes.append(f'<text x="{x + shift:.1f}" y="{line + 4:.1f}" text-anchor="{anchor}">{escape(name)}</text>')
    return _svg(shapes, label)


def _free_line(taken: Sequence[tuple[float, float, float]], left: float, right: float, y: float) -> float:
    """Return the height nearest to y at which a name from left to right lies on no other one (left, right, height)."""
    steps = sorted(range(-len(taken), len(taken) + 1), key=abs)
    for line in (y + LINE * step for step in steps):
        apart = all(right <= a or b <= left or abs(line - height) >= LINE for a, b, height in taken)
        if apart and LINE <= line <= HEIGHT - LINE:
            return line
    return y


def lines(series: Mapping[str, Sequence[Point]], *, label: str, across: str, up: str, digits: tuple[int, int]) -> str:
    """Return an SVG with a line through the points of each series, their intervals as bars, and a legend."""
    axes = _axes([point for points in series.values() for point in points])
    shapes = _frame(axes, across=across, up=up, digits=digits)
    for number, (name, points) in enumerate(series.items()):
        colour = _COLOURS[number % len(_COLOURS)]
        places = [axes.place(point.x, point.y) for point in points]
        path = " L".join(f"{x:.1f} {y:.1f}" for x, y in places)
        shapes.append(f'<path d="M{path}" fill="none" stroke="{colour}"/>')
        for point, (x, y) in zip(points, places, strict=True):
            shapes.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{colour}"/>')
            if point.low is not None and point.high is not None:
                top, bottom = axes.place(point.x, point.high)[1], axes.place(point.x, point.low)[1]
                shapes.append(f'<path d="M{x:.1f} {top:.1f} V{bottom:.1f}" stroke="{colour}" stroke-opacity=".4"/>')
        place = f'x="{WIDTH - MARGIN + 12}" y="{MARGIN + 16 * number + 4}"'
        shapes.append(f'<text {place} style="fill:{colour}">{escape(name)}</text>')
    # The legend stands beside the axes, or it would lie on the lines.
    return _svg(shapes, label, width=max(WIDTH, WIDTH - MARGIN + 12 + LETTER * max(map(len, series))))


def png(pixels: np.ndarray) -> str:
    """Return uint8 pixels (h, w, 3), or (h, w) of grey, as the address of a PNG inside a page."""
    rows = np.ascontiguousarray(pixels, dtype=np.uint8).reshape(pixels.shape[0], -1)
    height, width = pixels.shape[:2]
    head = struct.pack(">IIBBBBB", width, height, 8, 2 if pixels.ndim == 3 else 0, 0, 0, 0)
    # Each row begins with the number of its filter: 0, none.
    body = zlib.compress(np.pad(rows, ((0, 0), (1, 0))).tobytes(), 9)
    chunks = b"".join(_chunk(kind, data) for kind, data in ((b"IHDR", head), (b"IDAT", body), (b"IEND", b"")))
    return "data:image/png;base64," + base64.b64encode(b"\x89PNG\r\n\x1a\n" + chunks).decode()


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def _axes(points: Sequence[Point]) -> _Axes:
    ends = [value for point in points for value in (point.y, point.low, point.high) if value is not None]
    return _Axes(_axis([point.x for point in points]), _axis([value for value in ends if math.isfinite(value)]))


def _axis(values: Sequence[float]) -> tuple[float, float]:
    """Return the ends of an axis with a tenth of room on either side, never empty."""
    low, high = min(values), max(values)
    room = 0.1 * (high - low) or 0.05 * abs(high) or 1.0
    return low - room, high + room


def _frame(axes: _Axes, *, across: str, up: str, digits: tuple[int, int]) -> list[str]:
    base, end = HEIGHT - MARGIN, WIDTH - MARGIN
    shapes = [
        f'<path d="M{MARGIN} {MARGIN} V{base} H{end}" fill="none" stroke="#888"/>',
        f'<text x="{end}" y="{base + 36}" text-anchor="end">{escape(across)}</text>',
        f'<text x="{MARGIN}" y="{MARGIN - 16}">{escape(up)}</text>',
    ]
    for value in axes.across:
        x, _ = axes.place(value, axes.up[0])
        shapes.append(f'<text x="{x:.1f}" y="{base + 18}" text-anchor="middle">{value:.{digits[0]}f}</text>')
    for value in axes.up:
        _, y = axes.place(axes.across[0], value)
        shapes.append(f'<text x="{MARGIN - 6}" y="{y + 4:.1f}" text-anchor="end">{value:.{digits[1]}f}</text>')
    return shapes


def _svg(shapes: Sequence[str], label: str, *, width: float = WIDTH) -> str:
    size = f'viewBox="0 0 {width:g} {HEIGHT:g}" style="max-width: {width:g}px"'
    return f'<svg {size} role="img" aria-label="{escape(label)}">{"".join(shapes)}</svg>'
