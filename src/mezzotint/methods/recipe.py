"""A method as one value on each axis: the module that holds the parts, trains their network and samples with it."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, Protocol

import torch
from torch import Tensor, nn

from mezzotint import prediction, weights
from mezzotint.bridges import Bridge, Spacing, Time
from mezzotint.conditioning.droppable import Droppable
from mezzotint.domains.domain import Domain
from mezzotint.errors import UsageError
from mezzotint.guidance import Conditional, classifier_free
from mezzotint.methods.stage import Stage
from mezzotint.noise import Noise, NoiseSource
from mezzotint.objectives import Norm, Objective
from mezzotint.prediction import Preconditioning
from mezzotint.samplers import Denoiser, Estimate, Move, ancestral, sample
from mezzotint.samplers.loop import After, Staged, Step

Level = Callable[[Bridge, Time], Time]


class Conditioning(Protocol):
    """How the network sees the small picture. `lifted`: it gets the domain's lift of x instead of x itself."""

    @property
    def lifted(self) -> bool: ...

    def prepare(self, x: Tensor, *, size: tuple[int, int]) -> Tensor:
        """What every step needs, computed once a picture, for states of `size`."""
        ...

    def join(self, z: Tensor, condition: Tensor) -> Tensor:
        """The network's input from a state and the condition, in the state's type."""
        ...


def amplitude(bridge: Bridge, t: Time) -> Time:
    """a_t, for a variance-preserving bridge sqrt(gamma): SR3's noise level."""
    return bridge.coefficients(t)[0]


def node(bridge: Bridge, t: Time) -> Time:
    """The number of the node on the bridge's table, 1000 t without one: DDPM's time."""
    return (bridge.nodes or 1000) * t


def log_ratio(bridge: Bridge, t: Time) -> Time:
    """log(s_t / a_t) / 4: EDM's noise level (Karras et al. 2022, table 1)."""
    return -0.125 * bridge.log_snr(t)


LEVELS: dict[str, Level] = {"amplitude": amplitude, "node": node, "log-ratio": log_ratio}
"""What a network can be told of the time, by the name in a preset."""


def shrink_noise(bridge: Bridge, t: Time) -> Time:
    """1 / sqrt(s_t^2 + 1): the input scale of states whose noise is larger than the picture (ResShift, EDM)."""
    variance: Any = bridge.coefficients(t)[2] ** 2
    return (variance + 1.0) ** -0.5


def on_grid(bridge: Bridge, *, spacing: Spacing = "uniform") -> Callable[[int], tuple[Bridge, Sequence[float]]]:
    """The walk that samples the process of training on its own grid; see `Bridge.grid`."""
    return lambda steps: (bridge, bridge.grid(steps, spacing=spacing))


def made_anew(make: Callable[[int], Bridge]) -> Callable[[int], tuple[Bridge, Sequence[float]]]:
    """The walk over all nodes of a process that `make` makes for its number of steps (NCSN)."""

    def walk(steps: int) -> tuple[Bridge, Sequence[float]]:
        bridge = make(steps)
        return bridge, bridge.grid(steps)

    return walk


class Recipe(nn.Module):
    """Diffuse the state of a domain over a bridge with one network that sees the small picture.

    network: maps (input b c' H W, noise level b) to a prediction shaped like the state.
    level: what the network is told of the time, a function of (bridge, t): `amplitude`, `node` or `log_ratio`.
    input_scale: what the state is multiplied by before the network sees it, a function of (bridge, t); by default 1, or
        that of the objective's `Preconditioning`.
    bridge: the process of training. `walk(steps)` gives the process and the grid of times of sampling, which may
        have a schedule of its own.
    domain, conditioning: modules where they learn something; their parameters are then trained with the network. A
        `Droppable` conditioning is left out at times in training, which makes classifier-free guidance possible. That
        needs a state which has a distribution of its own without x: UsageError for a bridge that leads to x. A
        residual has one, and is guided towards x as a picture is; the enlargement is added to it either way.
    step: the reverse step, any of `samplers.SAMPLERS`. `after(bridge, x_state, steps)` makes what follows each step.
    loop: a sampler that owns its loop (`samplers.LOOPS`), called in the place of `samplers.sample`.
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
        conditioning: Conditioning,
        objective: Objective,
        walk: Callable[[int], tuple[Bridge, Sequence[float]]],
        step: Step | Staged = ancestral,
        after: Callable[[Bridge, Tensor | None, int], After] | None = None,
        loop: Callable[..., Tensor] | None = None,
        level: Level = amplitude,
        input_scale: Level | None = None,
        large_variance: bool = False,
        clip: bool = False,
        channels: int = 3,
        steps_default: int = 20,
    ) -> None:
        super().__init__()
        if not 0 < scale < float("inf"):
            raise UsageError(f"scale {scale} is not a positive number: use for example 4")
        if isinstance(conditioning, Droppable) and bridge.needs_x:
            raise UsageError(
                f"{name}: drop {conditioning.drop} leaves x out, but every state of {type(bridge).__name__} holds it: "
                "use drop = 0"
            )
        self.name, self.preset, self.config = name, preset, dict(config)
        self.scale, self.channels, self.steps_default = scale, channels, steps_default
        self.network, self.bridge, self.domain = network, bridge, domain
        self.conditioning, self.objective = conditioning, objective
        self.walk, self.step, self.large_variance, self.clip = walk, step, large_variance, clip
        self.after, self.loop, self.level, self.input_scale = after, loop, level, input_scale

    @property
    def stages(self) -> tuple[Stage, ...]:
        """The one stage, `denoiser`."""
        parts = [part for part in (self.domain, self.conditioning) if isinstance(part, nn.Module)]
        learned = [part for part in parts if any(True for _ in part.parameters())]
        group = nn.ModuleList([self.network, *learned]) if learned else self.network
        groups, losses = {"denoiser": group}, {"denoiser": self.loss}
        return (Stage("denoiser", groups, losses, preview=self._preview),)

    @property
    def networks(self) -> tuple[nn.Module, ...]:
        """What an estimate asks, and an engine may compute (`networks.engines`)."""
        return (self.network,)

    @property
    def differentiates(self) -> bool:
        """Whether sampling asks for gradients of a network."""
        return False

    def loss(self, y: Tensor, x: Tensor, *, noise: NoiseSource, norm: Norm | None = None) -> Tensor:
        """The training loss, a scalar, for y b c H W and x b c h w in [-1, 1].

        `noise`: a source whose fields differ between batch items and steps, `SequentialNoise(seed, step=...)`. Its
        streams are `time` and `noise`, and `drop` where the condition is dropped. `norm` overrides the objective's.
        UsageError for pictures of other shapes.
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
        condition = self._condition(x, context, size=(int(clean.shape[-2]), int(clean.shape[-1])))
        if isinstance(self.conditioning, Droppable):
            condition = self.conditioning.dropped(condition, noise=noise)
        seen = z if (scale := self._input_scale(self.bridge, t)) is None else z * scale.to(z)[:, None, None, None]
        out = self.network(self.conditioning.join(seen, condition), self.level(self.bridge, t).to(z))
        objective = self.objective if norm is None else replace(self.objective, norm=norm)
        # Under autocast the network answers in a short type; the loss is added up in the type of the pictures.
        return objective.loss(out, clean, x_state, z, eps, bridge=self.bridge, t=t)

    def sample(
        self,
        x: Tensor,
        *,
        steps: int | None = None,
        noise: NoiseSource,
        guidance: float = 1.0,
        size: tuple[int, int] | None = None,
        start: Tensor | None = None,
        origin: tuple[int, int] = (0, 0),
        differentiable: bool = False,
        callback: Callable[[Move], None] | None = None,
    ) -> Tensor:
        """Draw large pictures y_hat b c H W for x b c h w in [-1, 1], in x's type and not clipped at the end.

        Args:
            x: the small pictures, on the device of the network.
            steps: intervals of the grid of times, for a plain one-step sampler also the number of network
                evaluations; `steps_default` unless given.
            noise: `Noise(seed)` gives every picture the same fields; `Noise(seed, pictures=...)` names them.
            guidance: the survey's lambda, how strongly the picture must obey x: 0 not at all, 1 as it was trained, more
                than 1 more than that. Other values than 0 and 1 ask the network twice an estimate.
            size: H and W; `scale` times x, rounded, unless given.
            start: the state at t = 1 instead of the bridge's own start, shaped like the state.
            origin: row and column of the state on the noise's lattice, for pieces of a larger picture.
            differentiable: record gradients through the walk.
            callback: gets one `samplers.Move` after each step.

        Raises:
            UsageError: steps below 1 or more than the schedule has, a size without pixels, x of other channels than
                the network's, or guidance that the method does not have (`check_guidance`).
        """
        steps = self.steps_default if steps is None else steps
        if isinstance(steps, bool) or int(steps) != steps or steps < 1:
            raise UsageError(f"steps {steps} is not a whole number of 1 or more")
        if size is None:
            size = (max(1, round(x.shape[-2] * self.scale)), max(1, round(x.shape[-1] * self.scale)))
        self._check(x, size)
        try:
            bridge, grid = self.walk(int(steps))
        except ValueError as error:
            raise UsageError(f"{self.name}: {error}") from error
        with contextlib.nullcontext() if differentiable else torch.no_grad():
            context = self.domain.context(x, size=size)
            x_state = self.domain.lift(x, context) if bridge.needs_x else None
            own: dict[str, Any] = {}
            if self.loop is None:
                after = None if self.after is None else self.after(bridge, x_state, int(steps))
                own = {"step": self.step, "after": after}
            z = (self.loop or sample)(
                self.denoiser(x, context=context, bridge=bridge, guidance=guidance),
                bridge=bridge,
                noise=noise,
                grid=grid,
                x_state=x_state,
                shape=self.domain.shape(context),
                start=start,
                callback=callback,
                origin=origin,
                device=x.device,
                differentiable=differentiable,
                **own,
            )
            return self.domain.decode(z, context, size=size).to(x.dtype)

    def denoiser(self, x: Tensor, *, context: Any, bridge: Bridge, guidance: float = 1.0) -> Denoiser:
        """The function (z, t) -> Estimate that the samplers call, for the pictures x and their domain context.

        An estimate that is clipped is clipped after it was guided. UsageError for guidance that the method has not.
        """
        self.check_guidance(guidance)
        return self._clipped(self._guided(x, context=context, bridge=bridge, guidance=guidance))

    @property
    def guidable(self) -> bool:
        """Whether the network knows states without x too, so that guidance other than 1 is possible."""
        return isinstance(self.conditioning, Droppable)

    def check_guidance(self, strength: float) -> None:
        """UsageError for a strength of guidance that this method does not have; 1, plainly trained, each has."""
        if isinstance(strength, bool) or not math.isfinite(strength):
            raise UsageError(f"guidance {strength} is not a finite number: 1 is as trained, 2 obeys x more strongly")
        if strength != 1.0 and not self.guidable:
            if "drop" in self.config:
                way = "train it with drop = 0.1 under [config] in the run file"
            else:
                way = "only methods with a setting `drop` can be trained for it, as ddpm-sr"
            raise UsageError(
                f"guidance {strength:g} needs a network that also knows states without x, which this {self.name} was "
                f"not trained for: leave guidance at 1, or {way}"
            )

    def cost(self, guidance: float) -> int:
        """How often an estimate at this strength of guidance asks a network."""
        return 1 if guidance in (0.0, 1.0) else 2

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

    def _condition(self, x: Tensor, context: Any, *, size: tuple[int, int]) -> Tensor:
        return self.conditioning.prepare(self.domain.lift(x, context) if self.conditioning.lifted else x, size=size)

    def _guided(self, x: Tensor, *, context: Any, bridge: Bridge, guidance: float) -> Denoiser:
        return classifier_free(self._conditional(x, context=context, bridge=bridge), strength=guidance)

    def _conditional(self, x: Tensor, *, context: Any, bridge: Bridge) -> Conditional[Tensor]:
        shape = self.domain.shape(context)
        condition = self._condition(x, context, size=shape[-2:])
        null = self.conditioning.null(condition) if isinstance(self.conditioning, Droppable) else condition
        x_state = self.domain.lift(x, context) if bridge.needs_x else None

        def predict(z: Tensor, t: float, condition: Tensor) -> Estimate:
            level = torch.full((len(z),), float(self.level(bridge, t)), dtype=x.dtype, device=x.device)
            scale = self._input_scale(bridge, t)
            seen = (z if scale is None else scale * z).to(x.dtype)
            out = self.network(self.conditioning.join(seen, condition), level)
            y = prediction.convert(out, z, x_state, bridge=bridge, t=t, kind=self.objective.kind)
            return Estimate(y, c2=prediction.large_variance(bridge, t) if self.large_variance else 0.0)

        return Conditional(predict, condition, null)

    def _clipped(self, denoise: Denoiser) -> Denoiser:
        if not self.clip:
            return denoise

        def clipped(z: Tensor, t: float) -> Estimate:
            estimate = denoise(z, t)
            return replace(estimate, y=estimate.y.clamp(-1, 1))

        return clipped

    def _input_scale(self, bridge: Bridge, t: Time) -> Any:
        if self.input_scale is not None:
            return self.input_scale(bridge, t)
        kind = self.objective.kind
        return kind.scales(bridge, t)[0] if isinstance(kind, Preconditioning) else None

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
