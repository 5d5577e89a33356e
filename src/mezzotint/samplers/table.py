"""Every sampler by name: how to build it, what it costs, and what it is for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Literal

from mezzotint.bridges import Bridge
from mezzotint.samplers.adaptive import adaptive
from mezzotint.samplers.cold_diffusion import cold
from mezzotint.samplers.dpm_solver import DPMSolver, DPMSolverSDE
from mezzotint.samplers.heun import Heun
from mezzotint.samplers.indi import indi
from mezzotint.samplers.langevin import annealed_langevin
from mezzotint.samplers.loop import Staged, Step
from mezzotint.samplers.sde import euler_maruyama, reverse_diffusion
from mezzotint.samplers.soft_score_matching import momentum
from mezzotint.samplers.step import ancestral, carry_step, ddim
from mezzotint.samplers.unipc import UniPC

Serves = Literal["any", "noisy", "rising-noise", "straight", "noise-free"]

# What a bridge must be like, in the words of the error that says so.
_NEEDS = {
    "any": "any bridge",
    "noisy": "a scalar bridge with noise between its ends",
    "rising-noise": "a bridge whose noise rises with time and is not 0 at its end",
    "straight": "a bridge with a = 1 - b that ends at the small picture",
    "noise-free": "a bridge without noise",
}
_BETWEEN = (0.1, 0.3, 0.5, 0.7, 0.9)


@dataclass(frozen=True)
class Sampler:
    """One row of the table.

    build: makes the step with its defaults; further settings are arguments of what it makes.
    evaluations: of the network a step, apart from the steps at the ends.
    order: of convergence, of the state for a deterministic and of the moments for a stochastic sampler, with the mean
        as the estimate; None where the samples do not converge to the prior when the grid is refined, or where the
        step belongs to one path of corruption. The low-order steps that a multistep sampler starts with are not
        counted: they leave an error of second order (3M) or third (UniPC), small where they lie in the noise.
    stochastic: whether steps add noise on a bridge that has some.
    multistep: builds on earlier states, so bears no `after` and no moves up.
    serves: which bridges, see `check`.
    paper: where it comes from.
    """

    build: Callable[[], Step | Staged]
    evaluations: int
    order: int | None
    stochastic: bool
    serves: Serves
    paper: str
    multistep: bool = False

    def can_serve(self, bridge: Bridge) -> bool:
        """Whether the sampler can walk from t = 1 to 0 on this bridge."""
        inside = [bridge.coefficients(t) for t in _BETWEEN]
        noise = [s for _, _, s in inside]
        if self.serves == "noisy":
            return bridge.scalar and all(s > 0.0 for s in noise)
        if self.serves == "rising-noise":
            levels = [*noise, bridge.coefficients(1.0)[2]]
            return levels[0] > 0.0 and all(low < high for low, high in zip(levels, levels[1:], strict=False))
        if self.serves == "straight":
            return bridge.scalar and all(abs(a + b - 1.0) < 1e-9 < b for a, b, _ in inside)
        return all(s == 0.0 for s in noise) if self.serves == "noise-free" else True

    def check(self, bridge: Bridge) -> None:
        """ValueError where the sampler cannot serve the bridge, naming samplers that can."""
        if not self.can_serve(bridge):
            able = ", ".join(name for name, row in SAMPLERS.items() if row.serves != "any" and row.can_serve(bridge))
            raise ValueError(
                f"the sampler needs {_NEEDS[self.serves]}, and {type(bridge).__name__} is not one: use ancestral, ddim"
                + (f" or one of {able}" if able else "")
            )


SAMPLERS: dict[str, Sampler] = {
    "ancestral": Sampler(lambda: ancestral, 1, 1, True, "any", "Ho et al. 2020"),
    "ddim": Sampler(lambda: ddim, 1, 1, False, "any", "Song, Meng and Ermon 2021"),
    "renoise": Sampler(lambda: partial(carry_step, k=0.0), 1, None, True, "any", "Daras et al. 2022"),
    "euler-maruyama": Sampler(lambda: euler_maruyama, 1, 1, True, "noisy", "Song et al. 2021"),
    "reverse-diffusion": Sampler(lambda: reverse_diffusion, 1, 1, True, "noisy", "Song et al. 2021"),
    "heun": Sampler(lambda: Heun(), 2, 2, False, "noisy", "Karras et al. 2022"),
    "dpm++2m": Sampler(lambda: DPMSolver(order=2), 1, 2, False, "noisy", "Lu et al. 2022", multistep=True),
    "dpm++3m": Sampler(lambda: DPMSolver(order=3), 1, 3, False, "noisy", "Lu et al. 2022", multistep=True),
    "dpm++3m-released": Sampler(
        lambda: DPMSolver(order=3, released=True), 1, 2, False, "noisy", "Lu et al. 2022, code", multistep=True
    ),
    "dpm++2m-sde": Sampler(lambda: DPMSolverSDE(), 1, 2, True, "noisy", "Lu et al. 2022; k-diffusion", multistep=True),
    "unipc2": Sampler(lambda: UniPC(order=2), 1, 3, False, "noisy", "Zhao et al. 2023", multistep=True),
    "unipc3": Sampler(lambda: UniPC(order=3), 1, 4, False, "noisy", "Zhao et al. 2023", multistep=True),
    "cold1": Sampler(lambda: partial(cold, algorithm=1), 1, None, False, "noise-free", "Bansal et al. 2022"),
    "cold2": Sampler(lambda: cold, 1, None, False, "noise-free", "Bansal et al. 2022"),
    "momentum": Sampler(lambda: momentum, 1, 1, True, "rising-noise", "Daras et al. 2022"),
    "indi": Sampler(lambda: indi, 1, 1, True, "straight", "Delbracio and Milanfar 2023"),
}
"""The samplers that are a step of the one loop, `mezzotint.samplers.sample`. Predictor-corrector is any of its one-step
rows with `LangevinCorrector` as `after`; EDM's stochastic sampler is `heun` on the walk of `churn`."""

LOOPS: dict[str, Callable] = {"adaptive": adaptive, "annealed-langevin": annealed_langevin}
"""The samplers that own their loop. Called as `sample` is, without `step`, `after` and `draw`."""


def build(name: str, *, bridge: Bridge | None = None) -> Step | Staged:
    """The step of a name of `SAMPLERS`; ValueError for another name, or one that cannot serve the given bridge."""
    if name not in SAMPLERS:
        where = f": call mezzotint.samplers.LOOPS[{name!r}] instead of sample" if name in LOOPS else ""
        raise ValueError(f"sampler {name!r} is none of {', '.join(SAMPLERS)}{where}")
    row = SAMPLERS[name]
    if bridge is not None:
        row.check(bridge)
    return row.build()
