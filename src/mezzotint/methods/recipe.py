"""A method as one value on each axis: the module that holds the parts, trains their network and samples with it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from mezzotint import prediction, weights
from mezzotint.bridges import Bridge
from mezzotint.conditioning.low_resolution import LowResolution
from mezzotint.domains.domain import Domain
from mezzotint.errors import UsageError
from mezzotint.methods.stage import Stage
from mezzotint.noise import Noise, NoiseSource
from mezzotint.objectives import Norm, Objective
from mezzotint.samplers import Denoiser, Estimate, Move, ancestral, sample
from mezzotint.samplers.loop import Step


class Recipe(nn.Module):
    """Diffuse the state of a domain over a bridge with one network that sees the small picture.

    network: maps (input b c' H W, noise level b) to a prediction shaped like the state; the level is the bridge's
        amplitude a of the clean state, sqrt(gamma) for a variance-preserving bridge.
    bridge: the process of training. `walk(steps)` gives the process and the grid of times of sampling, which may
        have a schedule of its own.
    large_variance: steps assume c2 = s^2 / (a^2 + s^2) for the estimate (DDPM's large variance), else 0.
    clip: the estimate is clipped to [-1, 1] before the step, for states that are pictures.
    config: whatever rebuilds the recipe through `methods.build(name, scale=, preset=, config=)`.
    """

    def __init__(
        self,
        *,
        name: str,
        scale: float,
        preset: str,
        config: Mapping[str, Any],
        network: nn.Module,
        bridge: Bridge,
        domain: Domain,
        conditioning: LowResolution,
        objective: Objective,
        walk: Callable[[int], tuple[Bridge, Sequence[float]]],
        step: Step = ancestral,
        large_variance: bool = False,
        clip: bool = False,
        channels: int = 3,
        steps_default: int = 20,
    ) -> None:
        super().__init__()
        if not 0 < scale < float("inf"):
            raise UsageError(f"scale {scale} is not a positive number: use for example 4")
        self.name, self.preset, self.config = name, preset, dict(config)
        self.scale, self.channels, self.steps_default = scale, channels, steps_default
        self.network, self.bridge, self.domain = network, bridge, domain
        self.conditioning, self.objective = conditioning, objective
        self.walk, self.step, self.large_variance, self.clip = walk, step, large_variance, clip

    @property
    def stages(self) -> tuple[Stage, ...]:
        """The one stage, `denoiser`."""
        groups, losses = {"denoiser": self.network}, {"denoiser": self.loss}
        return (Stage("denoiser", groups, losses, preview=self._preview),)

    def loss(self, y: Tensor, x: Tensor, *, noise: NoiseSource, norm: Norm | None = None) -> Tensor:
        """The training loss, a scalar, for y b c H W and x b c h w in [-1, 1].

        `noise`: a source whose fields differ between batch items and steps, `SequentialNoise(seed, step=...)`. Its
        streams are `time` and `noise`. `norm` overrides the objective's. UsageError for pictures of other shapes.
        """
        size = (int(y.shape[-2]), int(y.shape[-1]))
        self._check(x, size)
        context = self.domain.context(x, size=size)
        clean = self.domain.encode(y, context)
        x_state = self.domain.lift(x, context) if self.bridge.needs_x else None
        u = noise.uniform("time", 0, len(y))
        t = self.objective.draw_times(u, bridge=self.bridge)
        eps = noise.normal("noise", 0, clean.shape, dtype=clean.dtype, device=clean.device)
        z = self.bridge.q_sample(clean, x_state, t, eps)
        condition = self.conditioning.prepare(x, size=(int(clean.shape[-2]), int(clean.shape[-1])))
        level = self.bridge.coefficients(t)[0].to(z)
        out = self.network(self.conditioning.join(z, condition), level)
        kind = self.objective.kind
        wanted = prediction.target(clean, x_state, z, eps, bridge=self.bridge, t=t, kind=kind)
        # Under autocast the network answers in a short type; the loss is added up in the type of the pictures.
        return self.objective.compare(out.to(wanted.dtype), wanted, norm=norm)

    def sample(
        self,
        x: Tensor,
        *,
        steps: int | None = None,
        noise: NoiseSource,
        size: tuple[int, int] | None = None,
        start: Tensor | None = None,
        origin: tuple[int, int] = (0, 0),
        differentiable: bool = False,
        callback: Callable[[Move], None] | None = None,
    ) -> Tensor:
        """Draw large pictures y_hat b c H W for x b c h w in [-1, 1], in x's type and not clipped at the end.

        Args:
            x: the small pictures, on the device of the network.
            steps: intervals of the grid of times, which is also the number of network evaluations; `steps_default`
                unless given.
            noise: `Noise(seed)` gives every picture the same fields; `Noise(seed, pictures=...)` names them.
            size: H and W; `scale` times x, rounded, unless given.
            start: the state at t = 1 instead of the bridge's own start, shaped like the state.
            origin: row and column of the state on the noise's lattice, for pieces of a larger picture.
            differentiable: record gradients through the walk.
            callback: gets one `samplers.Move` after each step.

        Raises:
            UsageError: steps below 1, a size without pixels, or x of other channels than the network's.
        """
        steps = self.steps_default if steps is None else steps
        if isinstance(steps, bool) or int(steps) != steps or steps < 1:
            raise UsageError(f"steps {steps} is not a whole number of 1 or more")
        if size is None:
            size = (max(1, round(x.shape[-2] * self.scale)), max(1, round(x.shape[-1] * self.scale)))
        self._check(x, size)
        bridge, grid = self.walk(int(steps))
        context = self.domain.context(x, size=size)
        shape = self.domain.shape(context)
        z = sample(
            self.denoiser(x, context=context, bridge=bridge),
            bridge=bridge,
            noise=noise,
            grid=grid,
            x_state=self.domain.lift(x, context) if bridge.needs_x else None,
            shape=shape,
            step=self.step,
            start=start,
            callback=callback,
            origin=origin,
            device=x.device,
            differentiable=differentiable,
        )
        return self.domain.decode(z, context, size=size).to(x.dtype)

    def denoiser(self, x: Tensor, *, context: Any, bridge: Bridge) -> Denoiser:
        """The function (z, t) -> Estimate that the samplers call, for the pictures x and their domain context."""
        shape = self.domain.shape(context)
        condition = self.conditioning.prepare(x, size=shape[-2:])
        x_state = self.domain.lift(x, context) if bridge.needs_x else None

        def denoise(z: Tensor, t: float) -> Estimate:
            level = torch.full((len(z),), bridge.coefficients(t)[0], dtype=x.dtype, device=x.device)
            out = self.network(self.conditioning.join(z.to(x.dtype), condition), level)
            y = prediction.convert(out, z, x_state, bridge=bridge, t=t, kind=self.objective.kind)
            c2 = prediction.large_variance(bridge, t) if self.large_variance else 0.0
            return Estimate(y.clamp(-1, 1) if self.clip else y, c2=c2)

        return denoise

    def describe(self) -> weights.Card:
        """The card of this method as far as it knows itself; training fills in the rest by `model_copy`."""
        return weights.Card(
            name=f"{self.name}-{self.preset}",
            method=self.name,
            preset=self.preset,
            config=self.config,
            scale=self.scale,
            channels=self.channels,
            steps_default=self.steps_default,
        )

    def save_pretrained(
        self,
        folder: str | Path,
        *,
        card: weights.Card | None = None,
        precision: Literal["float16", "float32"] = "float32",
    ) -> Path:
        """Write the weights with their card into a folder, which is made, and return the file.

        `mezzotint.load(folder)` gives the method back; with precision float32 it computes exactly the same.
        """
        return weights.save_folder(folder, self.state_dict(), card or self.describe(), precision=precision)

    def _preview(self, x: Tensor) -> Tensor:
        # Pictures of one sheet differ in their noise, so that a flaw of one field is not taken for one of the method;
        # few steps, because training waits for the sheet.
        return self.sample(x, steps=min(20, self.steps_default), noise=Noise(0, pictures=tuple(range(len(x)))))

    def _check(self, x: Tensor, size: tuple[int, int]) -> None:
        if x.dim() != 4 or x.shape[1] != self.channels or not x.is_floating_point():
            raise UsageError(
                f"x of shape {tuple(x.shape)} and type {x.dtype}: {self.name} takes float pictures b c h w with "
                f"c = {self.channels}"
            )
        if min(*size, *x.shape[-2:]) < 1:
            raise UsageError(f"x of {x.shape[-2]}x{x.shape[-1]} pixels to {size[0]}x{size[1]}: each needs one at least")
