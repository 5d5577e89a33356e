"""DiffPIR: a proximal step on the measurement, then noise that is part old and part new.

Zhu et al., "Denoising Diffusion Models for Plug-and-Play Image Restoration", arXiv 2305.08995, algorithm 1: y_c =
argmin |x - A u|^2 / noise^2 + `weight` |u - y_hat|^2 / level^2 with level = s / a, which is `Measurement.correct` of
variance level^2 / weight; eps from y_c; z_r = a_r y_c + s_r (sqrt(1 - zeta) eps + sqrt(zeta) fresh). 100 steps, short
next to the clean end; y_hat is clipped to [-1, 1] before the proximal step (`clip`), as in the release. Units: noise
and level are those of one range here; the released code divides levels of [-1, 1] by noise of [0, 1], so that its
lambda is four times ours (its 2 to 12 are 0.5 to 3). The release returns the network's last estimate without the
proximal step (`last` False), which then does not fit the measurement. The variant "fresh", ours, keeps nothing of the
old noise (zeta 1): nearer to the mean picture, with more PSNR and less detail.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from torch import Tensor

from mezzotint.bridges import Bridge
from mezzotint.errors import UsageError
from mezzotint.samplers.step import Estimate
from mezzotint.zero_shot.kernels import kernel
from mezzotint.zero_shot.solver import Plan, Problem


@dataclass(frozen=True)
class DiffPIR:
    """The solver. UsageError for a weight that is not positive, and zeta outside 0 to 1."""

    weight: float = 1.0
    zeta: float = 0.25
    last: bool = True
    clip: bool = True
    steps: int = 100
    gradients: bool = False

    def __post_init__(self) -> None:
        if not 0.0 < self.weight < float("inf") or not 0.0 <= self.zeta <= 1.0:
            raise UsageError(f"weight {self.weight} and zeta {self.zeta} of diffpir: above 0, and from 0 to 1")

    def grid(self, bridge: Bridge, steps: int) -> tuple[float, ...]:
        """The release's: the i-th of the times is 1 - sqrt(i / (steps - 1)), on nodes where the bridge has a table."""
        nodes = bridge.nodes
        if nodes is None:
            # One step more in the count: the walk of the release ends a node above the clean end, at which none is.
            return tuple(1.0 - (i / steps) ** 0.5 for i in range(steps + 1))
        if steps > nodes:
            raise UsageError(f"{steps} steps on a table of {nodes}: use at most {nodes}")
        low, places = 0, []
        for i in reversed(range(steps)):
            low = max(low + 1, nodes - int(nodes * (i / max(steps - 1, 1)) ** 0.5))
            places.append(low)
        # Where many steps crowd next to the clean end they may not pass the last node.
        places = [min(place, nodes - (steps - 1 - i)) for i, place in enumerate(places)]
        return (*(place / nodes for place in reversed(places)), 0.0)

    def plan(self, problem: Problem, grid: Sequence[float]) -> Plan:
        final = min(t for t in grid if t > 0.0)

        def denoise(z: Tensor, t: float) -> Estimate:
            found = problem.denoise(z, t)
            if self.clip:
                found = replace(found, y=found.y.clamp(-1.0, 1.0))
            if t == final and not self.last:
                return found
            variance = problem.level(t) ** 2 / self.weight
            return replace(found, y=problem.measurement.correct(found.y, variance=variance), y_carry=None)

        return Plan(grid, denoise, kernel("ddrm", eta=self.zeta**0.5))
