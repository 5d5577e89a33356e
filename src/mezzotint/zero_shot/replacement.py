"""What ILVR, CCDF, RePaint and MCG share: after a step the measured part of the state is replaced by that of the
measurement, noised to the level of the state (Choi et al. 2021, equation 8; Lugmayr et al. 2022, equation 8)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from mezzotint.bridges import Bridge
from mezzotint.samplers.loop import Denoiser
from mezzotint.zero_shot.measurement import Measurement

Blend = Callable[[Tensor, float, Tensor], Tensor]


@dataclass(frozen=True, eq=False)
class Replace:
    """(I - P) z + P (a A^+ x + s eps) with the orthogonal P = A^+ A: at t = 0 the picture fits the measurement."""

    known: Measurement
    bridge: Bridge

    def __call__(self, z: Tensor, t: float, eps: Tensor) -> Tensor:
        a, _, s = self.bridge.coefficients(t)
        reference = a * self.known.seen.to(z.dtype) + s * eps.to(z.dtype)
        return z + self.known.range_part(reference - z)


@dataclass(frozen=True, eq=False)
class After:
    """The blend as what follows a step, at times from `until` on; below it the step is left as it is."""

    blend: Blend
    until: float = 0.0

    def __call__(
        self, z: Tensor, r: float, denoise: Denoiser, noise: Callable[[], Tensor], carry: Any = None, /
    ) -> tuple[Tensor, Any]:
        return (z if r < self.until else self.blend(z, r, noise())), carry
