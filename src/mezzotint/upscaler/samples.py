"""From the samples of a picture to model input in [0, 1] and back: depth, range, transfer function, transparency."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mezzotint.errors import InputError, UsageError

_PEAK = {np.dtype(np.uint8): 255.0, np.dtype(np.uint16): 65535.0}
_ROWS = 256


@dataclass(frozen=True)
class Coding:
    """How the samples of a picture stand for values in [0, 1].

    dtype: uint8 and uint16 are divided by their peak, floats are taken as they are.
    space: "grey", "rgb" or "cmyk" (inverted ink, so that all four planes look like grey pictures).
    alpha: the last channel is straight alpha, which has no range and no transfer function.
    low, high: the values of a float picture that become 0 and 1.
    linear: a float picture holds linear light; the model sees it encoded as sRGB is.
    """

    dtype: np.dtype
    space: str = "rgb"
    alpha: bool = False
    low: float = 0.0
    high: float = 1.0
    linear: bool = False

    @classmethod
    def of(
        cls,
        dtype: np.dtype,
        space: str,
        *,
        alpha: bool = False,
        linear: bool = False,
        range: tuple[float, float] | None = None,
    ) -> Coding:
        """The coding of such samples; raises UsageError for a `range` of integers, or one that makes no sense."""
        low, high = check_range(range, np.dtype(dtype) not in _PEAK)
        return cls(np.dtype(dtype), space, alpha, low, high, linear)

    @property
    def channels(self) -> int:
        """Colour channels."""
        return {"grey": 1, "rgb": 3, "cmyk": 4}[self.space]

    @property
    def is_float(self) -> bool:
        return self.dtype not in _PEAK

    def describe(self) -> str:
        """In words, as the record holds it: "uint8 rgb", "float32 grey alpha linear 0..255"."""
        words = [str(self.dtype), self.space]
        words += ["alpha"] * self.alpha + ["linear"] * self.linear
        if (self.low, self.high) != (0.0, 1.0):
            words.append(f"{self.low:g}..{self.high:g}")
        return " ".join(words)

    @property
    def groups(self) -> tuple[slice, ...]:
        """The colour channels that the model sees as one picture: CMYK is one of C, M and Y, and one of K."""
        return (slice(0, 3), slice(3, 4)) if self.space == "cmyk" else (slice(0, self.channels),)

    def decode(self, rows: np.ndarray) -> Tensor:
        """Rows h w n to (1, n, h, w) float32, all in [0, 1]. The one place where samples become model input."""
        x = torch.from_numpy(np.ascontiguousarray(rows, dtype=np.float32)).permute(2, 0, 1)[None]
        peak = _PEAK.get(self.dtype)
        if peak is not None:
            return x / peak
        if (self.low, self.high, self.linear) == (0.0, 1.0, False):
            return x
        x = x.clone()
        colour = x[:, : self.channels]
        colour.sub_(self.low).div_(self.high - self.low)
        if self.linear:
            colour.copy_(_encoded(colour))
        return x

    def opacity(self, sample: float) -> float:
        """A sample of alpha as a value in [0, 1]."""
        return sample / _PEAK.get(self.dtype, 1.0)

    def levels(self, y: Tensor) -> Tensor:
        """Values in [0, 1] as the file will hold them, still in [0, 1]: rounded half up for integers."""
        peak = _PEAK.get(self.dtype)
        return y if peak is None else torch.floor(y * peak + 0.5).div_(peak)

    def encode(self, y: Tensor) -> np.ndarray:
        """(1, n, h, w) from `levels` to rows h w n of the picture's type. Here alone output becomes samples."""
        peak = _PEAK.get(self.dtype)
        if peak is not None:
            y = (y * peak).round_()
        elif (self.low, self.high, self.linear) != (0.0, 1.0, False):
            y = y.clone()
            colour = y[:, : self.channels]
            if self.linear:
                colour.copy_(_decoded(colour))
            colour.mul_(self.high - self.low).add_(self.low)
        return np.ascontiguousarray(y[0].permute(1, 2, 0).cpu().numpy().astype(self.dtype))


@dataclass(frozen=True)
class Survey:
    """What one look at all samples says: the picture's number, the extremes of its colours and of its alpha.

    Extremes are samples; `alpha` is None for a picture without.
    """

    number: int
    low: float
    high: float
    alpha: tuple[float, float] | None

    def constant_alpha(self) -> bool:
        return self.alpha is not None and self.alpha[0] == self.alpha[1]

    def is_transparent(self) -> bool:
        """Whether some pixels, not all, are fully transparent."""
        return self.alpha is not None and self.alpha[0] == 0 < self.alpha[1]


def survey(rows: Any, coding: Coding) -> Survey:
    """Look at all samples once, some rows at a time.

    `rows`: h w n. Raises InputError for values that are not finite, or, of a float picture, outside its range.
    """
    digest = hashlib.sha256()
    low, high, alpha = np.inf, -np.inf, (np.inf, -np.inf)
    little = coding.dtype.newbyteorder("<")
    for part in parts(rows):
        digest.update(np.ascontiguousarray(part, dtype=little).tobytes())
        colour = part[..., : coding.channels]
        low, high = min(low, colour.min()), max(high, colour.max())
        if coding.alpha:
            alpha = (min(alpha[0], part[..., -1].min()), max(alpha[1], part[..., -1].max()))
    if not np.isfinite([low, high]).all() or (coding.alpha and not np.isfinite(alpha).all()):
        raise InputError("the picture holds values that are not finite: mend it first")
    if coding.is_float:
        if low < coding.low or high > coding.high:
            raise InputError(
                f"a float picture lies in [{coding.low:g}, {coding.high:g}], this one in [{low:g}, {high:g}]: name its "
                f"range with --range {low:g},{high:g}, or scale it first"
            )
        if coding.alpha and (alpha[0] < 0 or alpha[1] > 1):
            raise InputError(f"alpha of a float picture lies in [0, 1], this one in [{alpha[0]:g}, {alpha[1]:g}]")
    number = int.from_bytes(digest.digest()[:8], "big")
    return Survey(number, float(low), float(high), (float(alpha[0]), float(alpha[1])) if coding.alpha else None)


def parts(rows: Any) -> Iterator[np.ndarray]:
    """The rows h w n, some at a time."""
    for top in range(0, rows.shape[0], _ROWS):
        yield rows[top : min(rows.shape[0], top + _ROWS)]


def check_range(bounds: tuple[float, float] | None, coding_is_float: bool) -> tuple[float, float]:
    """The values that become 0 and 1; raises UsageError for a range that makes no sense."""
    if bounds is None:
        return 0.0, 1.0
    low, high = (float(value) for value in bounds)
    if not (np.isfinite([low, high]).all() and low < high):
        raise UsageError(f"range {low:g},{high:g} is no range: name a smaller and a larger value, as in --range 0,1")
    if not coding_is_float:
        raise UsageError(f"range {low:g},{high:g} is for float pictures, and this one is not: leave --range out")
    return low, high


def _encoded(linear: Tensor) -> Tensor:
    """IEC 61966-2-1: linear light in [0, 1] to sRGB."""
    return torch.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear.clamp_min(1e-9) ** (1 / 2.4) - 0.055)


def _decoded(encoded: Tensor) -> Tensor:
    return torch.where(encoded <= 0.04045, encoded / 12.92, ((encoded + 0.055) / 1.055) ** 2.4)
