"""`--method auto`: whether a picture was made small cleanly, or carries blur, noise and JPEG that must not be enlarged.

The choice is a function of six figures, each with a limit. A limit was set on the training pictures, reduced by
MATLAB's bicubic and degraded as Real-ESRGAN's are: `python -m benchmarks.choice` measures it again, and how often the
choice is right on pictures that no limit was set on (docs/choice.md).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from mezzotint.data.jpeg_history import trace
from mezzotint.data.resolution import LUMA, luma, power, true_resolution
from mezzotint.operators.estimate import blur_width, noise_level
from mezzotint.upscaler.samples import Coding
from mezzotint.upscaler.work import Rows

CLEAN, TWICE, REAL = "mezzotint-x4", "mezzotint-x2", "mezzotint-x4-real"
"""The methods between which is chosen: the first two for clean pictures, by how much larger they become."""
LARGEST_SCALE = 4
"""Above it a model runs again on its own result, which is clean whatever the picture was."""
LEAST_QUALITY = 50
"""Quality of a JPEG file from which on compression does not decide: of clean small pictures that were compressed so,
mezzotint-x4 makes what is nearer to the truth, in LPIPS and PSNR (docs/choice.md)."""
LEAST_TRACED = 90
"""The same of a JPEG whose traces other pixels show: they have a history, of which compression is seldom all."""
LARGEST_FACTOR = 1.3
"""How many times smaller a clean picture could be without losing detail."""
LARGEST_BLUR = 0.6
"""Standard deviation, in pixels of the picture, of the blur that a clean reduction looks like."""
LARGEST_NOISE = 11.0
"""Grey levels that pass for noise in the texture of a clean picture, in the channel that has least."""
LARGEST_COLOUR_NOISE = 4.5
"""The same of the colours, which have less texture: noise that differs between the channels shows there."""
SMALLEST_SIDE = 64
"""Pixels a side of a picture that says enough of its making: a window of its spectrum."""
_SIDE, _EACH, _PLACES = 256, 2, 6


@dataclass(frozen=True)
class Figures:
    """What a picture tells of its making.

    quality: of the JPEG file that it is, traces: of the JPEG that it came out of, None where nothing speaks for one.
    factor: how many times smaller it could be without losing detail (`data.resolution.true_resolution`). blur: the
    standard deviation of the Gaussian that it seems to be blurred by, in its own pixels. noise: the standard deviation
    of white noise, in grey levels, in the channel that has least. colour_noise: that of noise which is independent in
    the channels, by the power of the differences of channels and luma at the highest frequencies; 0 for a grey picture.
    """

    quality: int | None = None
    traces: int | None = None
    factor: float = 1.0
    blur: float = 0.0
    noise: float = 0.0
    colour_noise: float = 0.0


def signs(figures: Figures) -> tuple[str, ...]:
    """Return in words what speaks for a real degradation, none for a picture that was made small cleanly."""
    found = []
    if figures.quality is not None and figures.quality < LEAST_QUALITY:
        found.append(f"JPEG quality {figures.quality}, below {LEAST_QUALITY}")
    if figures.traces is not None and figures.traces < LEAST_TRACED:
        found.append(f"traces of JPEG quality {figures.traces}, below {LEAST_TRACED}")
    if figures.factor > LARGEST_FACTOR:
        found.append(f"detail of a picture {figures.factor:.1f} times smaller, above {LARGEST_FACTOR:g}")
    if figures.blur > LARGEST_BLUR:
        found.append(f"blur of {figures.blur:.2f} pixels, above {LARGEST_BLUR:g}")
    if figures.noise > LARGEST_NOISE:
        found.append(f"noise of {figures.noise:.1f} grey levels, above {LARGEST_NOISE:g}")
    elif figures.colour_noise > LARGEST_COLOUR_NOISE:
        found.append(f"colour noise of {figures.colour_noise:.1f} grey levels, above {LARGEST_COLOUR_NOISE:g}")
    return tuple(found)


def describe_clean(figures: Figures) -> str:
    """Return in words why a picture without `signs` counts as made small cleanly."""
    known = (("JPEG quality", figures.quality), ("traces of JPEG quality", figures.traces))
    jpeg = ", ".join(f"{name} {value}" for name, value in known if value is not None) or "no JPEG"
    return (
        f"{jpeg}, detail of a picture {figures.factor:.1f} times smaller, blur of {figures.blur:.2f} pixels and "
        f"noise of {figures.noise:.1f} and {figures.colour_noise:.1f} grey levels, all within their limits"
    )


def measure(rows: Rows, coding: Coding, *, quality: int | None = None) -> Figures | None:
    """Return the figures of a picture h w n, None for sides below SMALLEST_SIDE.

    `quality`: what the header of its JPEG file states; without it the pixels are searched for the traces of one. Of a
    large picture the four sharpest of up to 36 squares of 256 pixels are looked at: what made it small is everywhere in
    it, and a background out of focus hides it.
    """
    if min(rows.shape[:2]) < SMALLEST_SIDE:
        return None if quality is None else Figures(quality)
    if max(rows.shape[:2]) <= _SIDE * _EACH:
        squares = [_colours(rows, coding, (0, 0), (int(rows.shape[0]), int(rows.shape[1])))]
        sheet = squares[0]
    else:
        squares = _sharpest(rows, coding)
        sheet = np.block([squares[k : k + _EACH] for k in range(0, len(squares), _EACH)])
    levels = luma(sheet.transpose(1, 2, 0))
    found = trace(levels) if quality is None else None
    resolution = true_resolution(levels)
    return Figures(
        quality=quality,
        traces=None if found is None else found.quality,
        factor=1.0 if resolution is None else resolution.factor,
        blur=float(blur_width(torch.from_numpy(np.stack(squares)) / 255).median()),
        noise=float(noise_level(torch.from_numpy(sheet)[None] / 255).min()),
        colour_noise=_colour_noise(sheet, levels),
    )


def _colour_noise(colours: np.ndarray, levels: np.ndarray) -> float:
    """Return the deviation of noise, independent in the channels c h w, that explains the least of the powers which
    red and blue have beside luma h w in the last quarter of the frequencies."""
    if len(colours) != 3:
        return 0.0
    variances = []
    for channel in (0, 2):
        weights = np.eye(3)[channel] - LUMA
        spectrum = power(colours[channel] - levels, window=SMALLEST_SIDE)
        variances.append(float(spectrum[3 * len(spectrum) // 4 :].mean() / np.square(weights).sum()))
    return min(variances) ** 0.5


def _sharpest(rows: Rows, coding: Coding) -> list[np.ndarray]:
    """Return the colours of the four squares with the largest differences of neighbours, equal sizes, corners on the
    8 x 8 grid of JPEG."""
    height, width = (min(int(n), _SIDE) for n in rows.shape[:2])
    size = (height, width)
    places = [(top, left) for top in _places(rows.shape[0], height) for left in _places(rows.shape[1], width)]
    squares = [_colours(rows, coding, place, size) for place in places]
    sharpness = [float(np.abs(np.diff(s, axis=1)).mean() + np.abs(np.diff(s, axis=2)).mean()) for s in squares]
    order = np.argsort(sharpness, kind="stable")[::-1][: min(_EACH**2, len(squares) // _EACH * _EACH)]
    return [squares[k] for k in sorted(int(k) for k in order)]


def _places(end: int, side: int) -> list[int]:
    count = min(_PLACES, max(1, end // side))
    return [int(place) // 8 * 8 for place in np.linspace(0, end - side, count)]


def _colours(rows: Rows, coding: Coding, corner: tuple[int, int], size: tuple[int, int]) -> np.ndarray:
    """Return a part of a picture, c h w float64 in grey levels; of CMYK its C, M and Y."""
    part = rows[corner[0] : corner[0] + size[0]][:, corner[1] : corner[1] + size[1]]
    return coding.decode(part)[0, coding.groups[0]].double().numpy() * 255
