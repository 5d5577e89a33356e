"""Luma of RGB pictures in 8-bit levels, as the field's tables use it (BT.601)."""

from __future__ import annotations

import numpy as np

_WEIGHTS = (65.481, 128.553, 24.966)  # of R, G, B in levels 0..255; they sum to 219


def studio_luma(rgb: np.ndarray) -> np.ndarray:
    """Return Y = 16 + (65.481 R + 128.553 G + 24.966 B) / 255, not rounded: black is 16, white 235.

    rgb: float64 (..., 3, h, w) in levels 0..255. Returns (..., 1, h, w). MATLAB's rgb2ycbcr rounds this to
    whole numbers for 8-bit pictures.
    """
    red, green, blue = (rgb[..., channel : channel + 1, :, :] for channel in range(3))
    return 16.0 + (_WEIGHTS[0] * red + _WEIGHTS[1] * green + _WEIGHTS[2] * blue) / 255.0


def full_luma(rgb: np.ndarray) -> np.ndarray:
    """Return the same luma stretched to 0..255, so that a grey picture keeps its levels.

    Figures on it lie 20 log10(255 / 219) = 1.3219 dB below those on studio luma.
    """
    return (studio_luma(rgb) - 16.0) * (255.0 / 219.0)
