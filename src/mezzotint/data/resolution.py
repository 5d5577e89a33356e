"""The true resolution of a picture: how many times smaller it could be without losing detail, from its spectrum.

A picture that was enlarged k times has the spectrum of the small one, repeated k times over, under the Fourier
transform of the kernel that enlarged it: below 1 / 2k cycles a pixel it is the picture's, above it are its weak images,
and at multiples of 1 / k there are zeros. The power of a natural picture falls as a power of the frequency (Field
1987), so the whole curve is known but for a few numbers, and k is read off by fitting it: `true_resolution` does so for
the usual kernels. A picture that is soft as if it had been enlarged is treated as one that was: neither holds more
detail.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import numpy as np

from mezzotint.errors import UsageError

Kernel = Literal["none", "linear", "cubic", "lanczos3"]
_KERNELS: tuple[Kernel, ...] = ("linear", "cubic", "lanczos3")

LUMA = np.array([0.299, 0.587, 0.114])
# Power of rounding to whole levels, in each of three channels that are added up to luma.
_ROUNDING = float((LUMA**2).sum()) / 12
_BLOCKS = 64
_WINDOW = 128
_LARGEST = 8.0
_STEP = 1.02
# How much better an enlarged picture must fit than an untouched one: decibels of the error, and its ratio; and the
# least factor that is told. The second pair is for pictures with an error of JPEG on top.
_GAIN, _LEAST, _RATIO = 0.6, 1.3, 1.6
_GAIN_ABOVE, _LEAST_ABOVE = 1.2, 1.8


@dataclass(frozen=True)
class Resolution:
    """What `true_resolution` found.

    `factor`: the picture holds the detail of one so many times smaller a side, 1 where it uses its pixels. `kernel`:
    the enlargement that the spectrum looks like. `cutoff`: the frequency up to which it holds detail, as a share of the
    highest that its pixels can hold, 1 / factor. `error`, `plain_error`: weighted root mean square of the spectrum's
    difference from the best enlarged and from an untouched picture, in decibels.
    """

    factor: float
    kernel: Kernel
    error: float
    plain_error: float

    @property
    def cutoff(self) -> float:
        return 1 / self.factor


def luma(pixels: np.ndarray) -> np.ndarray:
    """Return luma (h, w) float64 in grey levels of 8-bit pixels (h, w, c), c 1 or 3 (ITU-R BT.601, full range)."""
    return pixels[..., 0].astype(np.float64) if pixels.shape[2] == 1 else pixels[..., :3] @ LUMA


def power(levels: np.ndarray, *, window: int) -> np.ndarray:
    """Return the power of luma (h, w) at frequencies 0 to 1/2 in steps of 1 / window cycles a pixel.

    White noise of variance v has power v at every frequency. Up to 64 squares of `window` pixels, spread over the
    picture, under a Hann window, along rows and columns; the geometric mean of the two directions.
    """
    tops = _spread(levels.shape[0], window)
    lefts = _spread(levels.shape[1], window)
    squares = np.stack([levels[t : t + window, s : s + window] for t in tops for s in lefts])
    taper = np.sin(np.pi * np.arange(window) / window) ** 2
    powers = []
    for axis in (1, 2):
        centred = squares - squares.mean(axis=axis, keepdims=True)
        shaped = centred * (taper[:, None] if axis == 1 else taper)
        spectrum = np.abs(np.fft.rfft(shaped, axis=axis)) ** 2
        powers.append(spectrum.mean(axis=(0, 3 - axis)) / (taper**2).sum())
    return np.sqrt(powers[0] * powers[1])


def octave_fall(levels: np.ndarray) -> float:
    """Return by how many decibels the power of luma (h, w), in grey levels, falls from the last octave but one to the
    last: from 1/8..1/4 to 1/4..1/2 cycles a pixel.

    White noise has 0 dB, power that falls with the square of the frequency 6 dB. It says how sharp a picture is in
    terms of its own pixels where `true_resolution` only says yes or no: of the 100 test pictures of BSD100 half have
    less than 5.8 dB and 95 less than 8.3 dB. Raises UsageError below 128 pixels a side.
    """
    if min(levels.shape) < _WINDOW:
        raise UsageError(f"a picture of {levels.shape[1]}x{levels.shape[0]} pixels is too small: use {_WINDOW} or more")
    spectrum = power(levels, window=_WINDOW)
    eighth = _WINDOW // 8
    below, above = spectrum[eighth : 2 * eighth].mean(), spectrum[2 * eighth : 4 * eighth].mean()
    return float(10 * np.log10(below / above)) if above > 0 else np.inf


def _spread(side: int, window: int) -> np.ndarray:
    count = min(int(_BLOCKS**0.5), side // window)
    return np.round(np.linspace(0, side - window, count)).astype(int)


def response(kernel: Kernel, frequency: np.ndarray) -> np.ndarray:
    """Return the Fourier transform of an interpolation kernel at cycles a pixel of the small picture, up to 4.

    Closed for the linear one; summed over 1000 points a pixel and interpolated between 200 frequencies a cycle, to
    1e-4, for Keys' cubic with a = -1/2 and Lanczos of three lobes.
    """
    if kernel == "none":
        return np.ones_like(frequency)
    if kernel == "linear":
        return np.sinc(frequency) ** 2
    known, values = _transform(kernel)
    return np.interp(np.abs(frequency), known, values)


@lru_cache(maxsize=2)
def _transform(kernel: Kernel) -> tuple[np.ndarray, np.ndarray]:
    t = (np.arange(3000) + 0.5) / 1000
    if kernel == "cubic":
        inner, outer = (1.5 * t - 2.5) * t * t + 1, ((-0.5 * t + 2.5) * t - 4) * t + 2
        shape = np.where(t <= 1, inner, np.where(t <= 2, outer, 0))
    else:
        shape = np.sinc(t) * np.sinc(t / 3)
    known = np.linspace(0, 4.25, 851)
    return known, np.cos(2 * np.pi * known[:, None] * t) @ shape / 500


@dataclass(frozen=True, eq=False)
class _Curves:
    """Curves of every kernel and factor: `gain` (n, f) in decibels and the terms (n, f, 3) that are fitted."""

    factors: np.ndarray
    kernels: tuple[Kernel, ...]
    gain: np.ndarray
    terms: np.ndarray
    weights: np.ndarray


@lru_cache(maxsize=2)
def _curves(window: int) -> _Curves:
    """The untouched picture first, then every kernel at factors from 1.2 to 8."""
    frequency = np.arange(2, window // 2 + 1) / window
    steps = int(np.log(_LARGEST / 1.2) / np.log(_STEP)) + 1
    grid = 1.2 * _STEP ** np.arange(steps)
    kernels: list[Kernel] = ["none"]
    factors: list[np.ndarray] = [np.ones(1)]
    gains: list[np.ndarray] = [np.zeros((1, len(frequency)))]
    for kernel in _KERNELS:
        kernels.extend(kernel for _ in grid)
        factors.append(grid)
        gains.append(10 * np.log10(response(kernel, grid[:, None] * frequency) ** 2 + 1e-6))
    every = np.concatenate(factors)
    x = every[:, None] * frequency
    folded = np.maximum(np.abs(x - np.round(x)), every[:, None] / (2 * window))
    terms = np.stack([np.ones_like(folded), -10 * np.log10(folded), -10 * folded], axis=-1)
    return _Curves(every, tuple(kernels), np.concatenate(gains), terms, 1 / frequency)


# What is known of untouched pictures before one is looked at: the power falls with the square of the frequency.
_PRIOR = np.array([0.0, 2.0, 0.0])
_STIFFNESS = np.array([1e-6, 0.05, 0.05])
_LOW, _HIGH = np.array([-np.inf, 0.5, -3.0]), np.array([np.inf, 4.0, 4.0])


def fit(spectrum: np.ndarray, *, window: int, floor: float = _ROUNDING) -> np.ndarray:
    """Return the error of every curve against a spectrum from `power`, in decibels.

    `floor` is the power of what was added after the enlargement. Where the curve and the spectrum are both below it,
    they agree.
    """
    curves = _curves(window)
    lowest = 10 * np.log10(floor / 2)
    measured = 10 * np.log10(np.maximum(spectrum[2:] - 0.9 * floor, floor / 2))
    wanted = measured - curves.gain
    used = np.ones_like(wanted)
    curve = wanted
    for _ in range(3):
        w = used * curves.weights
        normal = np.einsum("nf,nfi,nfj->nij", w, curves.terms, curves.terms) + np.diag(_STIFFNESS)
        right = np.einsum("nf,nfi,nf->ni", w, curves.terms, wanted) + _STIFFNESS * _PRIOR
        found = np.clip(np.linalg.solve(normal, right[..., None])[..., 0], _LOW, _HIGH)
        rest = wanted - np.einsum("nfi,ni->nf", curves.terms[..., 1:], found[:, 1:])
        found[:, 0] = (w * rest).sum(1) / np.maximum(w.sum(1), 1e-12)
        curve = np.maximum(curves.gain + np.einsum("nfi,ni->nf", curves.terms, found), lowest)
        used = ((measured > lowest + 0.1) | (curve > lowest + 0.1)).astype(float)
    return np.sqrt(((measured - curve) ** 2 * curves.weights).sum(1) / curves.weights.sum())


def true_resolution(levels: np.ndarray) -> Resolution | None:
    """Return how many times smaller a picture of luma (h, w), in grey levels, could be; None below 64 pixels a side.

    Factors up to 8. A picture counts as enlarged only where the fit gains enough. For bicubic, Lanczos and bilinear
    enlargement by 2 to 4 the factor is off by 6 % at most where the spectrum is a power law, and on two in three
    photographs; more than four in five are found. Below 2 the kernel hides the cut-off: enlargement by 1.5 may be
    missed, or told as up to 1.9. JPEG on top hides it too, at quality 80 in every second picture that was enlarged 4
    times. docs/data.md has the figures.
    """
    side = min(levels.shape)
    if side < 64:
        return None
    window = _WINDOW if side >= _WINDOW else 64
    spectrum, curves = power(levels, window=window), _curves(window)
    errors = fit(spectrum, window=window)
    plain = float(errors[0])
    found = _judge(errors, plain, curves, least=_LEAST, gain=_GAIN)
    # JPEG after the enlargement fills what the kernel left empty with an error of its own, about as strong at all of
    # these frequencies. A picture of which as much could be said by chance is not among those with a gain this large.
    tail = float(np.median(spectrum[-(len(spectrum) // 4) :]))
    if tail > 1.5 * _ROUNDING:
        above = _judge(fit(spectrum, window=window, floor=tail), plain, curves, least=_LEAST_ABOVE, gain=_GAIN_ABOVE)
        if above.factor > 1 and (found.factor == 1 or above.error < 0.7 * found.error):
            return above
    return found


def _judge(errors: np.ndarray, plain: float, curves: _Curves, *, least: float, gain: float) -> Resolution:
    best = int(errors.argmin())
    error, factor = float(errors[best]), float(curves.factors[best])
    if plain - error < gain or plain < _RATIO * error or factor < least:
        return Resolution(1.0, "none", min(error, plain), plain)
    return Resolution(factor, curves.kernels[best], error, plain)
