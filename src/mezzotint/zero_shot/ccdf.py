"""CCDF: come closer first, then diffuse faster - the walk starts half way, from a noised first guess.

Chung, Sim and Ye, "Come-Closer-Diffuse-Faster", arXiv 2112.05146, algorithms 1 to 3: z at `begin` is a y_init + s eps,
then steps of a kernel, each followed by the replacement of the measured part. y_init: A^+ x, or `guess`, such as the
output of a regression network. For a Gaussian prior of variance c an error of the guess is multiplied by a^2 c / (a^2 c
+ s^2) at `begin`, for any respacing, so that fine structure forgets its start at once and coarse structure does not.
The paper's begin for super-resolution could not be checked; 0.2 forgets nine tenths of what has variance 0.01.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from mezzotint.bridges import Bridge
from mezzotint.errors import UsageError
from mezzotint.zero_shot.kernels import Kernel, kernel
from mezzotint.zero_shot.replacement import After, Replace
from mezzotint.zero_shot.solver import Plan, Problem, even_grid


@dataclass(frozen=True, eq=False)
class CCDF:
    """The solver. `steps` are those from `begin` to 0. UsageError for a begin outside (0, 1] and a guess of another
    shape than the picture's. begin 1 is ILVR's walk.
    """

    begin: float = 0.2
    guess: Tensor | None = None
    kernel: Kernel = "ddpm"
    eta: float = 1.0
    steps: int = 20
    gradients: bool = False

    def __post_init__(self) -> None:
        if not 0.0 < self.begin <= 1.0:
            raise UsageError(f"begin {self.begin} of ccdf is no time in (0, 1]: 1 starts from noise")

    def grid(self, bridge: Bridge, steps: int) -> tuple[float, ...]:
        """So many steps from `begin`: those of the even grid of steps / begin ones that lie below it."""
        whole = max(steps, round(steps / self.begin))
        if bridge.nodes is not None:
            whole = min(whole, bridge.nodes)
        return even_grid(bridge, whole)

    def plan(self, problem: Problem, grid: Sequence[float]) -> Plan:
        known, bridge = problem.measurement, problem.bridge
        walk = tuple(t for t in grid if t <= self.begin + 1e-9)
        if len(walk) < 2:
            raise UsageError(f"no step of the grid lies below begin {self.begin} of ccdf: take more steps")
        if self.guess is not None and tuple(self.guess.shape) != problem.shape:
            raise UsageError(f"the guess of ccdf has shape {tuple(self.guess.shape)}, the picture {problem.shape}")
        a, _, s = bridge.coefficients(walk[0])

        def start(eps: Tensor) -> Tensor:
            guess = known.seen if self.guess is None else self.guess
            return a * guess.to(eps) + s * eps

        return Plan(
            walk,
            problem.denoise,
            kernel(self.kernel, eta=self.eta),
            after=After(Replace(known, bridge)),
            start=start,
        )
