"""What a picture tells of how it was made: the width of its blur, the level of its noise, the quality of its JPEG file.

Estimates serve solvers that need an operator and a noise level, and the choice of a method. They take pictures b c h w,
uint8 or float in [0, 1], and give grey levels and pixels.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from mezzotint.errors import InputError, UsageError
from mezzotint.operators.diagonal import LUMINANCE
from mezzotint.operators.jpeg import quantisation_table

_PATCH = 8
_PATCHES = 20000
"""Patches a channel: enough for a covariance of 64 numbers, few enough for a tenth of a second."""
_TILE = 64
_BINS = 32
_LOWEST = 0.25
"""Radians a pixel: below, a window of 64 pixels mixes what lies there."""
_SLOPE, _SLOPE_SPREAD = 2.0, 0.3
_OWN = (0.13, 0.12)
"""Squared pixels that photographs have of their own, and for each square of the scale: a spectrum bends by itself."""
_TAIL_PARTS = (0.1, 0.25, 0.5, 0.75, 0.9, 1.0)
"""Which parts of the power at the highest frequencies may be noise."""
_SLOPES = torch.linspace(1.2, 2.8, 9, dtype=torch.float64)
_WIDTHS = torch.cat([torch.arange(0, 160) / 40, torch.arange(40, 121) / 10]).double()


# --- noise


def noise_level(picture: Tensor) -> Tensor:
    """The standard deviation of white noise in every channel, (b, c), float64, in grey levels.

    From the eigenvalues of the covariance of 8x8 patches: structure lies in a few of them, and noise in all. The
    largest are dropped until mean and median of the others agree (Chen, Zhu and Heng, ICCV 2015); then again over the
    patches whose gradients noise of that level explains, and whose mean is far enough from black and white for noise
    not to be clipped (weak texture: Liu, Tanaka and Okutomi 2013), until the level stands still. Below about 2 grey
    levels, fine texture passes for noise. InputError for sides below 8 pixels.
    """
    levels = _grey_levels(picture)
    if min(levels.shape[-2:]) < _PATCH:
        raise InputError(
            f"a picture of {levels.shape[-2]}x{levels.shape[-1]} pixels is too small to find its noise: "
            f"both sides must be at least {_PATCH}"
        )
    found = [[_channel_noise(channel) for channel in one] for one in levels]
    return torch.tensor(found, dtype=torch.float64)


def _channel_noise(channel: Tensor) -> float:
    height, width = channel.shape
    step = max(1, math.ceil(math.sqrt((height - _PATCH + 1) * (width - _PATCH + 1) / _PATCHES)))
    patches = channel.float().unfold(0, _PATCH, step).unfold(1, _PATCH, step).reshape(-1, _PATCH**2)
    means = patches.mean(1)
    form = _gradient_form()
    texture = ((patches @ form.float()) * patches).sum(1)
    expected, spread = float(form.trace()), math.sqrt(2 * float(form.square().sum()))

    def away_from_clipping(margin: float) -> Tensor:
        return (means > margin) & (means < 255 - margin)

    def enough(chosen: Tensor) -> bool:
        return int(chosen.sum()) >= 4 * _PATCH**2

    chosen = away_from_clipping(2.0)
    variance = _trailing_variance(patches[chosen] if enough(chosen) else patches)
    for _ in range(8):
        inside = away_from_clipping(max(2.0, min(2.5 * math.sqrt(variance), 110.0)))
        inside = inside if enough(inside) else torch.ones_like(inside)
        weak = inside & (texture < variance * (expected + 3 * spread))
        new = _trailing_variance(patches[weak if enough(weak) else inside])
        done = abs(new - variance) <= 1e-4 * variance
        variance = new
        if done:
            break
    return math.sqrt(variance)


@lru_cache(maxsize=1)
def _gradient_form() -> Tensor:
    """The matrix M of p^T M p = sum of squared differences of neighbours in a patch p, float64."""
    differences = torch.diff(torch.eye(_PATCH, dtype=torch.float64), dim=0)
    one, eye = differences.T @ differences, torch.eye(_PATCH, dtype=torch.float64)
    return torch.kron(one, eye) + torch.kron(eye, one)


def _trailing_variance(patches: Tensor) -> float:
    centred = patches - patches.mean(0)
    values = torch.linalg.eigvalsh((centred.T @ centred / len(patches)).double()).flip(0).clamp_min(0)
    for first in range(len(values)):
        rest = values[first:]
        mean = rest.mean()
        if 2 * int((rest >= mean).sum()) >= len(rest):
            return float(mean)
    return float(values[-1])


# --- blur


def blur_width(picture: Tensor, *, scale: int = 1) -> Tensor:
    """The standard deviation of the Gaussian that blurred each picture, (b,), float64, in large pixels.

    `scale` is the whole factor by which the picture was reduced after the blur, 1 where it was not. The mean power
    spectrum of windowed tiles is compared with that of natural pictures, f^-a exp(-(sigma^2 + own) f^2) with a about 2,
    folded at the frequencies of the small picture, over white noise; a, sigma, the contrast and the noise are fitted to
    the logarithm. Pictures are rounded to grey levels first, so that what leaks through a window is below the noise.
    Other kernels give the sigma of the Gaussian that passes as much; widths below half a small pixel and above 4 are
    uncertain. InputError for sides below 16 pixels, UsageError for a scale that is not a whole number from 1 to 16.
    """
    if isinstance(scale, bool) or int(scale) != scale or not 1 <= scale <= 16:
        raise UsageError(f"scale {scale} is not a whole number from 1 to 16: use the factor of the reduction")
    levels = _grey_levels(picture)
    side = min(_TILE, *levels.shape[-2:])
    if side < 16:
        raise InputError(
            f"a picture of {levels.shape[-2]}x{levels.shape[-1]} pixels is too small to find its blur: "
            "both sides must be at least 16"
        )
    side -= side % 2
    found = [_one_width(_luminance(one), side, int(scale)) for one in torch.round(levels)]
    return torch.tensor(found, dtype=torch.float64)


def _one_width(luminance: Tensor, side: int, scale: int) -> float:
    spectrum = _radial(_power(luminance, side), side)
    model, best, width = _model(side, scale), math.inf, 0.0
    prior = ((_SLOPES - _SLOPE) / _SLOPE_SPREAD).square()[:, None] / len(spectrum)
    tail = max(float(spectrum[-3:].mean()), 1e-6)
    for noise in (tail * part for part in _TAIL_PARTS):
        usable = spectrum > 3 * noise
        if int(usable.sum()) < 3:
            continue
        contrast = (torch.log(spectrum[usable] - noise) - model[..., usable]).mean(-1, keepdim=True)
        rest = torch.log(spectrum) - torch.logaddexp(model + contrast, torch.tensor(math.log(noise)).double())
        misfit = rest.square().mean(-1) + prior
        lowest = float(misfit.min())
        if lowest < best:
            best, width = lowest, float(_WIDTHS[int(misfit.amin(0).argmin())])
    return math.sqrt(max(width**2 - _OWN[0] - _OWN[1] * scale**2, 0.0))


def _power(luminance: Tensor, side: int) -> Tensor:
    """The mean power (side, side // 2 + 1) of tiles under a Hann window; white noise of variance v has power v."""
    line = torch.hann_window(side, periodic=False, dtype=torch.float64)
    window = line[:, None] * line
    tiles = luminance.unfold(0, side, max(1, side // 2)).unfold(1, side, max(1, side // 2)).reshape(-1, side, side)
    tiles = tiles - (tiles * window).sum((-2, -1), keepdim=True) / window.sum()
    return torch.fft.rfft2(tiles * window).abs().square().mean(0) / window.square().sum()


@lru_cache(maxsize=16)
def _rings(side: int) -> tuple[Tensor, Tensor, Tensor]:
    """Frequencies (radians a pixel) down and right, and the ring of each (-1 outside), of `_power`'s grid."""
    down = (2 * math.pi * torch.fft.fftfreq(side, dtype=torch.float64))[:, None]
    right = (2 * math.pi * torch.fft.rfftfreq(side, dtype=torch.float64))[None]
    radius = torch.sqrt(down.square() + right.square())
    ring = torch.floor((radius - _LOWEST) / (math.pi - _LOWEST) * _BINS).to(torch.int64)
    return down, right, torch.where((radius >= _LOWEST) & (radius < math.pi), ring, -1)


def _radial(power: Tensor, side: int) -> Tensor:
    """Means over the rings that hold anything, in order of frequency."""
    ring = _rings(side)[2]
    inside = ring >= 0
    sums = torch.zeros(*power.shape[:-2], _BINS, dtype=torch.float64)
    sums.index_add_(-1, ring[inside], power[..., inside])
    counts = torch.bincount(ring[inside], minlength=_BINS)
    return sums[..., counts > 0] / counts[counts > 0]


@lru_cache(maxsize=8)
def _model(side: int, scale: int) -> Tensor:
    """The logarithm of the spectrum of natural pictures, blurred and folded: (slopes, widths, rings)."""
    down, right, _ = _rings(side)
    total = torch.zeros(len(_SLOPES), len(_WIDTHS), side, side // 2 + 1, dtype=torch.float64)
    widths = _WIDTHS.square()[:, None, None]
    for i in range(scale):
        for j in range(scale):
            y, x = _alias(down, i, scale).square(), _alias(right, j, scale).square()
            squares = (y + x).clamp_min((0.5 * math.pi / (side * scale)) ** 2)
            falling = squares[None].pow(-_SLOPES[:, None, None] / 2)
            total.addcmul_(falling[:, None], (torch.exp(-widths * y) * torch.exp(-widths * x))[None])
    # Widths whose spectrum underflows are told apart by nothing, and refused by every spectrum.
    return torch.log(_radial(total, side).clamp_min(1e-300))


def _alias(frequency: Tensor, index: int, scale: int) -> Tensor:
    """The large picture's frequency, between -pi and pi, that is seen as this one; the first is itself."""
    large = (frequency + 2 * math.pi * index) / scale
    return torch.remainder(large + math.pi, 2 * math.pi) - math.pi


# --- JPEG


@dataclass(frozen=True)
class JpegFile:
    """What the header of a JPEG file says.

    quality: libjpeg's, from 1 to 100, whose tables are nearest to those of the file. exact: whether they are equal.
    chroma: "4:2:0", "4:2:2", "4:4:4", "grey" or "other". tables: the file's, (8, 8), rows vertical frequencies.
    """

    quality: int
    exact: bool
    chroma: str
    tables: tuple[Tensor, ...]


def jpeg_quality(data: bytes) -> JpegFile:
    """The quality of a JPEG file from its quantisation tables; only its header needs to be there.

    Tables that are not libjpeg's (Photoshop's, cameras') give the quality whose tables are nearest in their logarithm.
    InputError for data that is no JPEG file or has no table.
    """
    tables, chroma = _header(data)
    used = [tables[key] for key in sorted(tables)][:2]
    names = ("luminance", "chrominance")[: len(used)]
    errors = []
    for quality in range(1, 101):
        wanted = [quantisation_table(quality, of=of) for of in names]  # pyright: ignore[reportArgumentType]
        pairs = list(zip(used, wanted, strict=True))
        exact = all(torch.equal(a, b) for a, b in pairs)
        distance = sum(float((torch.log(a) - torch.log(b)).square().sum()) for a, b in pairs)
        errors.append((not exact, distance, -quality))
    inexact, _, quality = min(errors)
    return JpegFile(-quality, not inexact, chroma, tuple(used))


@lru_cache(maxsize=1)
def _zigzag() -> Tensor:
    """The place in a block, by rows, of every coefficient in the order of the file."""
    places = sorted(
        ((row, column) for row in range(8) for column in range(8)),
        key=lambda p: (p[0] + p[1], p[0] if (p[0] + p[1]) % 2 else -p[0]),
    )
    return torch.tensor([8 * row + column for row, column in places])


def _header(data: bytes) -> tuple[dict[int, Tensor], str]:
    """The tables by number, float64, and the name of the sampling."""
    if data[:2] != b"\xff\xd8":
        raise InputError("this is no JPEG file: it does not begin with its mark (FF D8)")
    tables: dict[int, Tensor] = {}
    chroma, at = "other", 2
    while at + 4 <= len(data) and data[at] == 0xFF:
        marker = data[at + 1]
        if marker == 0xFF:  # a byte of filling
            at += 1
            continue
        if marker in (0xD9, 0xDA):  # the end, or the picture itself
            break
        length = int.from_bytes(data[at + 2 : at + 4], "big")
        body = data[at + 4 : at + 2 + length]
        if length < 2 or len(body) < length - 2:
            break
        if marker == 0xDB:
            tables.update(_tables(body))
        elif 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            chroma = _sampling(body)
        at += 2 + length
    if not tables:
        raise InputError("this JPEG file has no quantisation table in its header: it is damaged or abbreviated")
    return tables, chroma


def _tables(body: bytes) -> dict[int, Tensor]:
    found: dict[int, Tensor] = {}
    at = 0
    while at < len(body):
        wide, number = body[at] >> 4, body[at] & 15
        size = 128 if wide else 64
        values = body[at + 1 : at + 1 + size]
        if len(values) < size:
            raise InputError("a quantisation table of this JPEG file is cut: the file is damaged")
        step = 2 if wide else 1
        numbers = [int.from_bytes(values[i : i + step], "big") for i in range(0, size, step)]
        if 0 in numbers:
            raise InputError("a quantisation table of this JPEG file holds 0: the file is damaged")
        table = torch.zeros(64, dtype=torch.float64)
        table[_zigzag()] = torch.tensor(numbers, dtype=torch.float64)
        found[number] = table.reshape(8, 8)
        at += 1 + size
    return found


def _sampling(body: bytes) -> str:
    if len(body) < 6:
        return "other"
    factors = [body[7 + 3 * i] for i in range(body[5]) if 7 + 3 * i < len(body)]
    if len(factors) == 1:
        return "grey"
    names = {0x22: "4:2:0", 0x21: "4:2:2", 0x11: "4:4:4"}
    return names.get(factors[0], "other") if factors and set(factors[1:]) == {0x11} else "other"


# --- pictures


def _grey_levels(picture: Tensor) -> Tensor:
    if picture.ndim != 4 or not (picture.dtype == torch.uint8 or picture.is_floating_point()):
        raise UsageError(f"estimates take b c h w uint8 or float, got {picture.dtype} of shape {tuple(picture.shape)}")
    levels = picture.detach().to(device="cpu", dtype=torch.float64)
    levels = levels if picture.dtype == torch.uint8 else 255 * levels
    if not bool(torch.isfinite(levels).all()):
        raise InputError("the picture holds values that are not numbers: check where it was made")
    return levels


def _luminance(one: Tensor) -> Tensor:
    """The luminance (h, w) of a picture (c, h, w): of colour by BT.601, else the mean of the channels."""
    if len(one) != 3:
        return one.mean(0)
    return torch.einsum("c,chw->hw", torch.tensor(LUMINANCE, dtype=torch.float64), one)
