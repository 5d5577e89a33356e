"""mezzotint-x4, -x2 and -x4-real: predict the mean, then refine the residual's Haar bands by a few steps.

Bridge VP, domain sub-band residual, conditioning the predictor's features, network local, sampler ancestral with a
learned variance. Predict-and-refine after Whang et al. 2022 (arXiv 2112.02475) with a frozen predictor; wavelet
residual after DiWa (Moser et al. 2023, arXiv 2304.01994); the variance of the estimate is learned per band and
position and enters the reverse step as c^2, so that few steps keep the spread of the posterior. mezzotint-x2 is the
same for twice the size, mezzotint-x4-real for pictures that were made small in unknown ways.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from mezzotint import prediction, weights
from mezzotint.bridges import VP, Bridge, Flow
from mezzotint.domains.subband import SubBand, Transform
from mezzotint.errors import UsageError
from mezzotint.images import bands, tiles
from mezzotint.methods.stage import Stage
from mezzotint.networks.collapsed import fuse
from mezzotint.networks.critic import BandCritic
from mezzotint.networks.predictors import PREDICTORS, Kind, make_predictor
from mezzotint.networks.refiner import Refiner
from mezzotint.networks.span import Span
from mezzotint.networks.widened import widen
from mezzotint.noise import Noise, NoiseSource
from mezzotint.objectives import energy_score, relativistic_loss, zero_centred_penalty
from mezzotint.quality.lpips import load_network
from mezzotint.samplers import Estimate, ancestral, sample
from mezzotint.schedules import ShiftedCosine

Name = Literal["mezzotint-x4", "mezzotint-x2", "mezzotint-x4-real"]
# The half log-SNR that the refiner is told saturates here: beyond it nothing changes that it could use.
_LEVEL_LIMIT = 6.0


class PredictRefine(nn.Module):
    """Predictor and refiner of one scale: small pictures x (b, 3, h, w) in [-1, 1] to y_hat (b, 3, s h, s w).

    Both networks are local: y_hat at a position depends on `reach(steps)` pixels of x to each side and on the noise at
    the same places. `mean` is the predictor alone, the posterior mean; `predictor` names its network. `transform` (of
    the domain), `bridge` and `target` (what the refiner predicts; "eps" not with "flow", which starts without signal)
    are what `benchmarks/design.py` compares; UsageError for others. `steps`, those of sampling where none are named,
    are what the stage "scored" trains for: it may change from stage to stage. So may `fine_gain`, which multiplies the
    finest octave of a sample's bands (`SubBand.finest`), and `gain`, which multiplies those of luminance: after a score
    with a spread below 1, samples are short of both, and what is short is scattered as it should be.
    """

    def __init__(
        self,
        *,
        name: Name = "mezzotint-x4",
        scale: int = 4,
        preset: str = "shipped",
        predictor: Kind = "edsr",
        channels: int = 48,
        blocks: int = 8,
        refiner_channels: int = 64,
        refiner_blocks: int = 10,
        transform: Transform = "haar",
        bridge: Literal["cosine", "flow"] = "cosine",
        target: Literal["v", "y", "eps"] = "v",
        steps: int = 4,
        fine_gain: float = 1.0,
        gain: float = 1.0,
        collapsed: bool = False,
    ) -> None:
        super().__init__()
        for key, value, known in (
            ("predictor", predictor, tuple(PREDICTORS)), ("bridge", bridge, tuple(_BRIDGES)),
            ("target", target, ("v", "y", "eps")),
        ):  # fmt: skip
            if value not in known:
                raise UsageError(f"{key} {value!r} of {name} is unknown: use one of {', '.join(known)}")
        if steps < 1:
            raise UsageError(f"steps {steps} of {name} is below 1")
        for key, factor in (("fine_gain", fine_gain), ("gain", gain)):
            if not 0 < factor < math.inf:
                raise UsageError(f"{key} {factor} of {name} is not a positive number: 1 leaves samples as they are")
        if (bridge, target) == ("flow", "eps"):
            raise UsageError("bridge flow starts without signal, which target eps divides by: use target v or y")
        self.config: dict[str, Any] = {
            "predictor": predictor,
            "channels": channels,
            "blocks": blocks,
            "refiner_channels": refiner_channels,
            "refiner_blocks": refiner_blocks,
            "collapsed": collapsed,
        }
        others: dict[str, tuple[str | float, str | float]] = {
            "transform": (transform, "haar"), "bridge": (bridge, "cosine"), "target": (target, "v"),
            "steps": (steps, 4), "fine_gain": (fine_gain, 1.0), "gain": (gain, 1.0),
        }  # fmt: skip
        self.config |= {key: value for key, (value, usual) in others.items() if value != usual}
        self.target: prediction.Kind = target
        self.name: Name = name
        self.preset, self.steps_default = preset, steps
        self.scale = scale
        self.domain = SubBand(scale, transform)
        self.bridge = _BRIDGES[bridge]()
        self.predictor = make_predictor(self.config, scale=scale)
        bands = self.domain.channels
        self.refiner = Refiner(
            bands=bands, guide=channels + bands + 3, channels=refiner_channels, blocks=refiner_blocks
        )
        self.register_buffer("deviations", torch.ones(bands))
        self._gains: Tensor | None = None
        for factor, key in ((fine_gain, "finest"), (gain, "luminance")):
            if factor != 1:
                gains = torch.where(getattr(self.domain, key), factor, 1.0)[:, None, None]
                self._gains = gains if self._gains is None else self._gains * gains
        # In a list, so that no weights of it are saved or loaded.
        self._critics: list[BandCritic] = []

    deviations: Tensor
    free_settings = ("steps", "fine_gain", "gain")
    growing_settings = (
        "predictor", "channels", "blocks", "transform", "target", "refiner_channels", "refiner_blocks"
    )  # fmt: skip

    def grow_from(self, other: PredictRefine) -> None:
        """Take over what another method computes, as far as the networks are of one kind.

        A predictor of the same size is taken over, a SPAN also by one with more channels (`Span.grow_from`). Behind
        another predictor the refiner is taken over all the same, and its features say nothing to it at first. Blocks
        that the other refiner does not have come last and begin as the identity. A refiner with fewer blocks, other
        channels, domain or target is left as it is, untrained. Of a method of another scale only those weights are
        taken over that have the same name and shape here: a start, which computes nothing yet.
        """
        if self.scale != other.scale:
            own = self.state_dict()
            theirs = other.state_dict()
            same = {key: value for key, value in theirs.items() if key in own and own[key].shape == value.shape}
            self.load_state_dict({**own, **same})
            return
        sizes = ("predictor", "channels", "blocks", "collapsed")
        if all(self.config[key] == other.config[key] for key in sizes):
            self.predictor.load_state_dict(other.predictor.state_dict())
        elif isinstance(self.predictor, Span) and isinstance(other.predictor, Span):
            self.predictor.grow_from(other.predictor)
        elif type(self.predictor) is type(other.predictor):
            raise UsageError("only a predictor of kind span grows from one of its kind: leave channels and blocks out")
        own, given = ({**m.config, "domain": m.domain, "target": m.target} for m in (self, other))
        if any(own[key] != given[key] for key in ("domain", "target", "refiner_channels")):
            return
        if own["refiner_blocks"] < given["refiner_blocks"]:
            return
        known, narrow = self.refiner.guide[0], other.refiner.guide[0]
        assert isinstance(known, nn.Conv2d) and isinstance(narrow, nn.Conv2d)
        told = self.domain.channels + 3
        widen(known, narrow, inputs=[(other.predictor.channels, self.predictor.channels), (told, told)])
        if type(self.predictor) is not type(other.predictor):
            with torch.no_grad():
                known.weight[:, : self.predictor.channels] = 0
        same = {"guide.0.weight": known.weight.detach().clone()}
        self.refiner.load_state_dict({**self.refiner.state_dict(), **other.refiner.state_dict(), **same})
        self.deviations.copy_(other.deviations)

    def reach(self, steps: int) -> int:
        """Pixels of x to each side that an output pixel depends on after `steps` steps."""
        return self.predictor.reach + 1 + steps * self.refiner.reach

    @property
    def networks(self) -> tuple[nn.Module, ...]:
        """What an engine may compute (`networks.engines`): the predictor, what the refiner is told, the refiner."""
        return (self.predictor, self.refiner.guide, self.refiner)

    @property
    def differentiates(self) -> bool:
        """Whether sampling asks for gradients of a network."""
        return False

    # -- training ---------------------------------------------------------------------------------------------------

    @property
    def stages(self) -> tuple[Stage, ...]:
        return (
            Stage("predictor", {"predictor": self.predictor}, {"predictor": self.predictor_loss}, preview=self.mean),
            Stage(
                "refiner",
                {"refiner": self.refiner},
                {"refiner": self.loss},
                prepare=self.measure,
                preview=self._preview,
            ),
            Stage("scored", {"refiner": self.refiner}, {"refiner": self.score}, preview=self._preview),
            Stage(
                "adversarial",
                {"refiner": self.refiner, "critic": self.critic},
                {"refiner": self.contest, "critic": self.criticise},
                preview=self._preview,
            ),
        )

    def predictor_loss(self, y: Tensor, x: Tensor, *, noise: NoiseSource | None = None, norm: str = "l1") -> Tensor:
        """Mean absolute ("l1") or squared ("l2") error of the predictor; the second gives the posterior mean."""
        error = self.predictor(_channels_last(x))[0] - y
        return error.abs().mean() if norm == "l1" else error.square().mean()

    @torch.no_grad()
    def measure(self, batches: Iterable[tuple[Tensor, Tensor]]) -> None:
        """Set `deviations`, the root mean square of every band of the residual, from pairs (y, x)."""
        total, count = torch.zeros_like(self.deviations), 0
        unit = torch.ones_like(self.deviations)
        for y, x in batches:
            bands = self.domain.encode(y - self.predictor(x)[0], unit)
            total += bands.square().mean(dim=(0, 2, 3))
            count += 1
        if count == 0:
            raise UsageError("the residual's bands cannot be measured on no pictures")
        self.deviations.copy_((total / count).sqrt().clamp_min(1e-4))

    def loss(self, y: Tensor, x: Tensor, *, noise: NoiseSource, perceptual: float = 0.0) -> Tensor:
        """Squared error of v or another target, bands weighted by their deviation, plus the likelihood of its variance
        (weight 0.05).

        The variance head sees the error as data (Nichol and Dhariwal 2021 detach the mean likewise).
        `perceptual` weighs LPIPS with VGG16 between the decoded estimate and y, on a quarter of the batch and with the
        signal power a^2, so that estimates out of noise stay means (ResShift's journal form weighs all times alike).
        """
        with torch.no_grad():
            y0, guide = self._guide(_channels_last(x))
        clean = self._bands(y, y0)
        t = noise.uniform("time", 0, len(y))
        eps = noise.normal("noise", 0, clean.shape, dtype=clean.dtype, device=clean.device)
        z = self.bridge.q_sample(clean, None, t, eps)
        predicted, log_variance = self.refiner(z, self.refiner.condition(guide), self._level(t))
        predicted, log_variance = predicted.float(), log_variance.float().clamp(-10, 6)
        wanted = prediction.target(clean, None, z, eps, bridge=self.bridge, t=t, kind=self.target)
        error = (predicted - wanted).square()
        weight = (self.deviations / self.deviations.mean())[:, None, None]
        likelihood = 0.5 * (error.detach() * torch.exp(-log_variance) + log_variance)
        total = (weight * error).mean() + 0.05 * likelihood.mean()
        if perceptual > 0:
            part = slice(0, max(1, len(y) // 4))
            detail = prediction.convert(predicted[part], z[part], None, bridge=self.bridge, t=t[part], kind=self.target)
            estimate = y0[part] + self.domain.decode(detail, self.deviations)
            judge = load_network("vgg").to(y.device)
            with torch.no_grad():
                truth = judge.describe(y[part] * 0.5 + 0.5)
            distance = judge.distance(judge.describe(estimate * 0.5 + 0.5), truth)
            power = self.bridge.coefficients(t[part])[0].to(distance).square()
            total = total + perceptual * (power * distance).mean()
        return total

    def score(
        self, y: Tensor, x: Tensor, *, noise: NoiseSource, perceptual: float = 0.0, spread: float = 1.0,
        perceptual_spread: float | None = None,
    ) -> Tensor:  # fmt: skip
        """Energy score of two whole samples of each x, drawn in `steps_default` steps.

        It is proper: a spread too small costs as one too large does. Of every band alone, weighted by its deviation,
        and, times `perceptual`, of VGG16's features at every position of five layers, with the weights of LPIPS but not
        brought to unit length, which would ask for grain where the picture is flat: there a likely texture scores
        better than a blur (Gneiting and Raftery 2007, doi 10.1198/016214506000001437, equation 21). `spread` is that of
        `energy_score`: below 1 the draws are nearer to each other, and each to y; `perceptual_spread` is that of the
        features where it is another one. The gradient goes through all steps.
        """
        y0, _, z = self._drawn(_channels_last(x).repeat(2, 1, 1, 1), noise)
        return self._scored(y, y0, z, perceptual=perceptual, spreads=(spread, perceptual_spread or spread))

    def _scored(
        self, y: Tensor, y0: Tensor, z: Tensor, *, perceptual: float, spreads: tuple[float, float]
    ) -> Tensor:
        """`score` of two samples of each y: the first of all, then the second of all."""
        clean = self._bands(y, y0[: len(y)])
        weight = (self.deviations / self.deviations.mean())[:, None, None]
        total = energy_score(
            z[: len(y)], z[len(y) :], clean, distance=lambda a, b: weight * (a - b).abs(), spread=spreads[0]
        ).mean()
        if perceptual > 0:
            judge = load_network("vgg").to(y.device)
            drawn = judge.describe((y0 + self.domain.decode(z, self.deviations)) * 0.5 + 0.5, unit=False)
            with torch.no_grad():
                truth = judge.describe(y * 0.5 + 0.5, unit=False)
            first, second = ([part[half] for part in drawn] for half in (slice(len(y)), slice(len(y), None)))
            score = energy_score(first, second, truth, distance=judge.metric, spread=spreads[1])
            total = total + perceptual * score.mean()
        return total

    @property
    def critic(self) -> BandCritic:
        """What the stage "adversarial" trains against: made when it is first asked for, and no part of the weights."""
        if not self._critics:
            bands = self.domain.channels
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(0)
                made = BandCritic(bands=bands, guide=self.predictor.channels + bands + 3)
            self._critics.append(made.to(self.deviations.device))
        return self._critics[0]

    def contest(
        self, y: Tensor, x: Tensor, *, noise: NoiseSource, perceptual: float = 0.0, adversarial: float = 1.0,
        spread: float = 1.0, perceptual_spread: float | None = None,
    ) -> Tensor:  # fmt: skip
        """`score`, and `adversarial` times how well the critic tells the two samples from y (`relativistic_loss`)."""
        y0, guide, z = self._drawn(_channels_last(x).repeat(2, 1, 1, 1), noise)
        true = self._bands(y, y0[: len(y)]).to(z).repeat(2, 1, 1, 1)
        lead = relativistic_loss(self.critic(z, guide), self.critic(true, guide))
        spreads = (spread, perceptual_spread or spread)
        return self._scored(y, y0, z, perceptual=perceptual, spreads=spreads) + adversarial * lead

    def criticise(self, y: Tensor, x: Tensor, *, noise: NoiseSource, penalty: float = 0.1, **_: float) -> Tensor:
        """The loss of the critic: that it does not tell a sample from y, and `penalty` times its squared gradient."""
        with torch.no_grad():
            y0, guide, z = self._drawn(_channels_last(x), noise)
            true = self._bands(y, y0).to(z)
        # Copies: PyTorch's counter of operations cannot follow a gradient by a leaf.
        pair = [state.requires_grad_().clone() for state in (true, z)]
        judged = [self.critic(state, guide) for state in pair]
        smooth = zero_centred_penalty(judged[0], pair[0]) + zero_centred_penalty(judged[1], pair[1])
        return relativistic_loss(judged[0], judged[1]) + penalty * smooth

    @torch.no_grad()
    def _bands(self, y: Tensor, y0: Tensor) -> Tensor:
        """The bands of what y0 lacks of y."""
        return self.domain.encode(y - y0, self.deviations)

    def _drawn(self, x: Tensor, noise: NoiseSource) -> tuple[Tensor, Tensor, Tensor]:
        """Return y0, the guide and the bands of a sample for whole pictures x; only the refiner has gradients."""
        with torch.no_grad():
            y0, guide = self._guide(x)
        condition = self.refiner.condition(guide)
        shape = (len(x), self.domain.channels, *x.shape[-2:])
        z = noise.normal("start", 0, shape, dtype=torch.float32, device=x.device)
        grid, variance = self.bridge.grid(self.steps_default), None
        for index, t in enumerate(grid[:-1]):
            predicted, log_variance = self.refiner(z, condition, self._level(torch.full((1,), t, dtype=torch.float64)))
            estimate, error = self._judged(predicted.float(), log_variance.float(), z, t, variance)
            variance = error if variance is None else variance
            z, _ = ancestral(
                self.bridge, z, Estimate(estimate, c2=error), None, t, grid[index + 1],
                lambda: noise.normal("step", index, shape, dtype=torch.float32, device=x.device),  # noqa: B023
            )  # fmt: skip
        return y0, guide, self._amplified(z)

    def _amplified(self, z: Tensor) -> Tensor:
        """The bands of a sample, of the clean state z that its last step drew."""
        return z if self._gains is None else z * self._gains.to(z)

    # -- sampling ---------------------------------------------------------------------------------------------------

    def mean(self, x: Tensor, *, tile: int | None = None) -> Tensor:
        """The posterior mean y0 (b, 3, s h, s w) of x (b, 3, h, w): the predictor alone."""
        return self.sample(x, noise=Noise(0), realism=0.0, tile=tile)

    @torch.no_grad()
    def sample(
        self,
        x: Tensor,
        *,
        steps: int = 4,
        noise: NoiseSource,
        size: tuple[int, int] | None = None,
        start: Tensor | None = None,
        realism: float = 1.0,
        tile: int | None = None,
        callback: Callable[[], None] | None = None,
    ) -> Tensor:
        """Draw y_hat = y0 + realism (sample - y0) for x in [-1, 1], not clipped.

        `tile` (pixels of x) bounds the working memory and changes nothing else; `start` is a state at
        t = 1 (b, 3 s^2, h, w) instead of noise; `size` may only be the size that the scale gives. Raises UsageError.
        """
        h, w = x.shape[-2:]
        if size is not None and tuple(size) != (h * self.scale, w * self.scale):
            raise UsageError(f"size {size} is not {self.scale} times {(h, w)}, the only size this method makes")
        band = h if tile is None else min(h, max(tile, tiles.SMALLEST))
        source = bands.of_tensor(x, band=band)
        y = self.stream(
            source, batch=len(x), width=w, steps=steps, noise=noise, start=start, realism=realism, tile=tile, band=band,
            callback=callback,
        )  # fmt: skip
        return bands.whole(y)

    def evaluations(self, steps: int, realism: float) -> int:
        """Network evaluations of one picture: the predictor once, the refiner once a step."""
        return 1 + steps * (realism > 0)

    def memory(self, width: int, *, steps: int, realism: float, band: int) -> int:
        """Bytes that `stream` holds at its peak for pictures x of `width` pixels, about: float32 rows of all stages."""
        y, c = self.domain.channels, self.config["refiner_channels"] * (realism > 0)
        ahead = band + self.predictor.reach + 1
        rows = (y + c) * ahead + 3 * ahead
        if realism > 0:
            # The features and y0 wait for the last step, which is `steps` halos behind the predictor.
            lag = steps * (band + self.refiner.reach)
            rows += (c + 2 * y) * lag + y * steps * (band + 2 * self.refiner.reach)
        return 4 * width * rows

    def stream(
        self,
        x: bands.Stage,
        *,
        batch: int = 1,
        width: int,
        steps: int,
        noise: NoiseSource,
        realism: float,
        tile: int | None,
        band: int,
        start: Tensor | None = None,
        callback: Callable[[], None] | None = None,
    ) -> bands.Stage:
        """`sample` for pictures that are handed out by rows: the stage whose one output is y_hat.

        `x` hands out b 3 h w in [-1, 1], `width` pixels wide. Predictor and steps go down the picture one behind the
        other, each `band` rows at a time, so that memory grows with the width alone. `callback` is called after every
        band of every network evaluation. Raises UsageError.
        """
        if not 0 <= realism <= 1:
            raise UsageError(f"realism {realism} lies outside 0 (the mean) to 1 (a sample)")
        if steps < 1:
            raise UsageError(f"steps {steps} is below 1")
        size = _Size(batch, x.height, width, band, tile)
        predicted = self._predicted(x, size, conditioned=realism > 0, callback=callback)
        if realism == 0:
            return predicted
        states = (batch, self.domain.channels, x.height, width)

        def noises(top: int, bottom: int) -> tuple[Tensor, ...]:
            rows = (batch, self.domain.channels, bottom - top, width)
            return (noise.normal("start", 0, rows, origin=(top, 0), dtype=torch.float32),)

        if start is not None and tuple(start.shape) != states:
            raise UsageError(f"start has shape {tuple(start.shape)}, the state has {states}")
        z = (
            bands.of_tensor(start.float(), band=band)
            if start is not None
            else bands.Stage(noises, height=x.height, band=band)
        )
        # At t = 1 the state says nothing, so the variance found there is that of the residual given x.
        first: bands.Stage | None = None
        grid = self.bridge.grid(steps)
        for index in range(steps):
            z = self._step(
                z, predicted, first, size, move=grid[index : index + 2], draw=index, noise=noise, callback=callback
            )
            first = first or z
        mean, state = predicted.reader(0), z.reader(0)

        def compose(top: int, bottom: int) -> tuple[Tensor, ...]:
            y0, rows = mean.take(top, bottom, keep=bottom), state.take(top, bottom, keep=bottom)
            return (y0 + realism * self.domain.decode(self._amplified(rows), self.deviations).to(y0),)

        return bands.Stage(compose, height=x.height, band=band, scales=(self.scale,))

    def _preview(self, x: Tensor) -> Tensor:
        return self.sample(x, steps=self.steps_default, noise=Noise(0, pictures=tuple(range(len(x)))))

    def _step(
        self,
        z: bands.Stage,
        predicted: bands.Stage,
        first: bands.Stage | None,
        size: _Size,
        *,
        move: Sequence[float],
        draw: int,
        noise: NoiseSource,
        callback: Callable[[], None] | None,
    ) -> bands.Stage:
        """One move of the walk, from the states of stage `z`: the states behind it, and the variance of the estimate.

        `first` is the stage of the first move, whose variance is that of the clean state given x alone; None there.
        """
        states, conditions = z.reader(), predicted.reader(1)
        variances = None if first is None else first.reader(1)
        halo = self.refiner.reach

        def compute(top: int, bottom: int) -> tuple[Tensor, ...]:
            state, above = states.window(top, bottom, halo=halo)
            condition, _ = conditions.window(top, bottom, halo=halo)
            variance = None if variances is None else variances.take(top, bottom, keep=bottom)
            core = state[..., top - above : bottom - above, :]
            estimate = self._estimate(
                state, move[0], condition, core, size, rows=(top, bottom), above=above, variance=variance
            )
            moved = sample(
                lambda z, t: estimate, bridge=self.bridge, noise=noise, grid=move, start=core, draw=draw,
                origin=(top, 0), dtype=torch.float32, device=state.device,
            )  # fmt: skip
            return (moved,) if first is not None else (moved, torch.as_tensor(estimate.c2))

        scales = (1, 1) if first is None else (1,)
        return bands.Stage(compute, height=size.height, band=size.band, scales=scales, done=callback)

    def _estimate(
        self,
        state: Tensor,
        t: float,
        condition: Tensor,
        core: Tensor,
        size: _Size,
        *,
        rows: tuple[int, int],
        above: int,
        variance: Tensor | None,
    ) -> Estimate:
        """Return the clean state and its variance for the rows `core` of `state`, whose first row is number `above`."""
        level = self._level(torch.full((1,), t, dtype=torch.float64))
        y, c2 = torch.empty_like(core), torch.empty_like(core)
        for part in tiles.plan(size.height, size.width, tile=size.tile, halo=self.refiner.reach, rows=rows):
            window = (..., part.window_columns)
            predicted, log_variance = self.refiner(
                _channels_last(state[window]), _channels_last(condition[window]), level
            )
            inner, here = (..., *part.inner), (..., part.columns)
            y[here], c2[here] = self._judged(
                predicted[inner], log_variance[inner], core[here], t, None if variance is None else variance[here]
            )
        return Estimate(y, c2=c2)

    def _judged(
        self, predicted: Tensor, log_variance: Tensor, z: Tensor, t: float, variance: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """Return the clean state and its variance that the step at t goes on with, from what the refiner says of z.

        `variance` is that of the clean state given x alone. It gives a second estimate, the best linear one, and each
        band at each position takes the estimate of the smaller variance: where the picture is flat, that is the
        linear one, and no error of the network is left as grain.
        """
        estimate = prediction.convert(predicted, z, None, bridge=self.bridge, t=t, kind=self.target)
        weight = float(prediction.implied_weight(self.bridge, t, kind=self.target))
        error = torch.exp(log_variance.clamp(-10, 6)) / weight
        if variance is None:
            return estimate, error
        a, _, s = self.bridge.coefficients(t)
        gain = variance / (a * a * variance + s * s)
        linear = s * s * gain
        # A steep blend, not a switch: rounding, which differs between tiles, must not decide.
        share = torch.sigmoid(32 * torch.log(error / linear))
        return estimate + share * (a * gain * z - estimate), torch.minimum(linear, error)

    def _level(self, t: Tensor) -> Tensor:
        return (0.5 * self.bridge.log_snr(t)).clamp(-_LEVEL_LIMIT, _LEVEL_LIMIT)

    def _guide(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return y0 and what the refiner is told: the features, the detail that y0 added, and x."""
        y0, features = self.predictor(x)
        detail = self.domain.encode(y0 - self.predictor.skip(x), self.deviations)
        return y0, torch.cat([features.to(y0), detail, x], dim=1)

    def _predicted(
        self, x: bands.Stage, size: _Size, *, conditioned: bool, callback: Callable[[], None] | None
    ) -> bands.Stage:
        """The stage of y0 and, where `conditioned`, of the refiner's features of x."""
        reader, halo, scale = x.reader(), self.predictor.reach + 1, self.scale

        def compute(top: int, bottom: int) -> tuple[Tensor, ...]:
            rows, _ = reader.window(top, bottom, halo=halo)
            y0 = rows.new_empty(size.batch, 3, (bottom - top) * scale, size.width * scale)
            channels = self.config["refiner_channels"] if conditioned else 0
            condition = rows.new_empty(size.batch, channels, bottom - top, size.width)
            for part in tiles.plan(size.height, size.width, tile=size.tile, halo=halo, rows=(top, bottom)):
                y, guide = self._guide(_channels_last(rows[..., part.window_columns]))
                inner = (slice(scale * s.start, scale * s.stop) for s in part.inner)
                y0[..., scale * part.columns.start : scale * part.columns.stop] = y[(..., *inner)]
                if conditioned:
                    condition[..., part.columns] = self.refiner.condition(guide)[(..., *part.inner)]
            return y0, condition

        return bands.Stage(compute, height=size.height, band=size.band, scales=(scale, 1), done=callback)

    def describe(self) -> weights.Card:
        """The card as far as the method knows itself; training fills in the rest by `model_copy`."""
        return weights.Card(
            name=self.name,
            method=self.name,
            preset=self.preset,
            config=self.config,
            scale=self.scale,
            local=True,
            receptive_field=self.reach(self.steps_default),
            steps_default=self.steps_default,
            realism_default=1.0,
            # What made a real picture small is unknown, so there is nothing to be consistent with.
            consistent_default=self.name != "mezzotint-x4-real",
        )

    def save_pretrained(
        self,
        folder: str | Path,
        *,
        card: weights.Card | None = None,
        precision: Literal["float16", "float32"] = "float32",
    ) -> Path:
        """Write fused weights with their card into a folder, which is made, and return the file."""
        plain = self.fused()
        card = (card or plain.describe()).model_copy(update={"config": plain.config})
        return weights.save_folder(folder, plain.state_dict(), card, precision=precision, keep_float32=("deviations",))

    def fused(self) -> PredictRefine:
        """Return a copy whose predictor is made of plain convolutions; itself where it already is."""
        if not self.config["collapsed"]:
            return self
        settings = {**self.config, "collapsed": False}
        plain = PredictRefine(name=self.name, scale=self.scale, preset=self.preset, **settings)
        copied = make_predictor(self.config, scale=self.scale)
        copied.load_state_dict(self.predictor.state_dict())
        plain.predictor.load_state_dict(fuse(copied).state_dict())
        plain.refiner.load_state_dict(self.refiner.state_dict())
        plain.deviations.copy_(self.deviations)
        return plain


@dataclass(frozen=True)
class _Size:
    """A batch of pictures and the parts it is worked on in, in pixels of x."""

    batch: int
    height: int
    width: int
    band: int
    tile: int | None


def _channels_last(x: Tensor) -> Tensor:
    return x.contiguous(memory_format=torch.channels_last)


_BRIDGES: dict[str, Callable[[], Bridge]] = {"cosine": lambda: VP(ShiftedCosine(log_snr_min=-10.0)), "flow": Flow}

_PRESETS: dict[str, dict[str, Any]] = {
    "shipped": {},
    "small": {
        "predictor": "span", "channels": 16, "blocks": 2, "refiner_channels": 16, "refiner_blocks": 2,
        "collapsed": True,
    },
}  # fmt: skip

# What a preset has otherwise under one of the names.
_OWN: dict[tuple[Name, str], dict[str, Any]] = {("mezzotint-x2", "shipped"): {"refiner_blocks": 6, "steps": 2}}


def build(*, scale: float = 4, preset: str = "shipped", config: Mapping[str, Any] | None = None) -> PredictRefine:
    """Build the method untrained; `config` of a card or run file changes the preset."""
    return _build("mezzotint-x4", scale=scale, preset=preset, config=config)


def build_x2(*, scale: float = 2, preset: str = "shipped", config: Mapping[str, Any] | None = None) -> PredictRefine:
    """`build` for pictures twice as large, with a smaller refiner: less is left to invent."""
    return _build("mezzotint-x2", scale=scale, preset=preset, config=config)


def build_real(*, scale: float = 4, preset: str = "shipped", config: Mapping[str, Any] | None = None) -> PredictRefine:
    """`build` for pictures of real degradations: the same networks, without a correction by default."""
    return _build("mezzotint-x4-real", scale=scale, preset=preset, config=config)


def _build(name: Name, *, scale: float, preset: str, config: Mapping[str, Any] | None) -> PredictRefine:
    if name == "mezzotint-x2" and scale != 2:
        raise UsageError(f"{name} with scale {scale:g}: it is for scale 2, use mezzotint-x4")
    if scale not in (2, 4, 8):
        raise UsageError(f"{name} with scale {scale:g}: its bands need 2, 4 or 8")
    if preset not in _PRESETS:
        raise UsageError(f"{name} has no preset {preset!r}: use one of {', '.join(_PRESETS)}")
    try:
        settings = {**_PRESETS[preset], **_OWN.get((name, preset), {}), **(config or {})}
        return PredictRefine(name=name, scale=int(scale), preset=preset, **settings)
    except TypeError as error:
        raise UsageError(f"configuration of {name}: {error}") from None
