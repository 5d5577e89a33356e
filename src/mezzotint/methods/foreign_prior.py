"""Unconditional diffusion models of others as priors of the zero-shot solvers: ADM, diffusers, score-SDE.

Our networks (`networks.adm`, `unet2d`, `ncsnpp`) compute what the official ones do; what differs between the families
is said here, in the settings of a preset, which a card holds:

- `bridge`: the process of training, in units of pictures in [-1, 1]. `kind` vp, subvp or ve; `schedule` linear,
  sqrt-linear and cosine with `steps` nodes (`low` and `high` are the first and the last added variance), table (`alpha`
  lists the added variances), sde (rates `low` to `high`, Song et al. 2021, no nodes), or of ve geometric (levels `low`
  to `high`, `steps` nodes, or none where it is null).
- `time`: what the network is told. `index`: nodes counted from 0 (ADM, diffusers and the discrete models of score-SDE).
  `reversed`: nodes counted from the noisiest, 0 (NCSN's order). `scaled`: 999 t (score-SDE, continuous). `level`: the
  noise level of pictures in [0, 1], half that of ours (the exploding SDE).
- `predicts`: eps, v or y. `variance`: small, large, or learned (six channels out: the prediction, and u in [-1, 1]
  which interpolates the logarithm of a step's variance, Nichol and Dhariwal 2021, equation 15; u below -1 is taken for
  -1, unlike in the authors' code). `clip`: the estimate is clipped to [-1, 1], as the official samplers of ADM and DDPM
  do, and DPS with them.
- `between`: what networks that were trained at nodes only are told of times between them. `refuse` is an error,
  `nearest` the nearest node, for the state as it is (DAPS's released code), `interpolate` a fraction.

The estimate depends on a state's signal-to-noise ratio alone, so that `of` serves any scalar bridge that does not lead
to x: a state z = a y + s eps is scaled to the state of the native bridge with its ratio s / a.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from mezzotint import prediction, schedules
from mezzotint.bridges import VE, VP, Bridge, SubVP, Time
from mezzotint.conditioning.nothing import Nothing
from mezzotint.domains.pixel import Pixel
from mezzotint.errors import UsageError
from mezzotint.methods.presets import pick, settle
from mezzotint.methods.recipe import Recipe
from mezzotint.networks import table as networks
from mezzotint.noise import NoiseSource
from mezzotint.objectives import Norm, Objective, Uniform
from mezzotint.samplers import Denoiser, Estimate

# A state a little beyond the levels of training is told as the last of them, up to this share.
_SLACK = 0.05
# Song et al. 2021 train their equations above this time.
_EARLIEST = 1e-5
_ON_NODE = 1e-6

_LINEAR = {"kind": "vp", "schedule": "linear", "steps": 1000, "low": 1e-4, "high": 0.02, "alpha": None}
_OPTIONS = {"channels": 3, "predicts": "eps", "variance": "small", "time": "index", "clip": False, "between": "refuse"}
PRESETS: dict[str, dict[str, Any]] = {
    "adm": {
        **_OPTIONS, "variance": "learned", "clip": True, "bridge": _LINEAR, "network": networks.published("adm"),
    },
    "unet2d": {**_OPTIONS, "clip": True, "bridge": _LINEAR, "network": networks.published("unet2d")},
    "ncsnpp": {
        **_OPTIONS,
        "time": "level",
        "bridge": {**_LINEAR, "kind": "ve", "schedule": "geometric", "steps": None, "low": 0.02, "high": 100.0},
        "network": networks.published("ncsnpp"),
    },
}  # fmt: skip
"""Settings by name of the network; a converted checkpoint changes them by its card."""


class ForeignPrior(Recipe):
    """The prior. `native` is the process of its training, which solvers should walk; `of` gives its denoiser."""

    def __init__(self, *, time: str, variance: str, between: str, **parts: Any) -> None:
        super().__init__(**parts)
        self.time, self.variance, self.between = time, variance, between

    @property
    def native(self) -> Bridge:
        """The process that the network was trained on."""
        return self.bridge

    def of(self, bridge: Bridge, *, like: Tensor, grid: Sequence[float] | None = None) -> Denoiser:
        """The function (z, t) -> Estimate of states shaped like b c H W, on any scalar bridge that does not lead to x.

        On the native bridge a learned variance is the estimate's c2, that of the step to the next node below t, or to
        the next time below t in `grid`, the walk, as ADM's released code interpolates it on a respaced schedule. On
        other bridges c2 is that of the small or the large variance. UsageError for a bridge that leads to x; when
        called, for a noise level outside those of the training, and for a time between the nodes where `between` is
        "refuse".
        """
        if bridge.needs_x or not bridge.scalar:
            raise UsageError(
                f"{type(bridge).__name__} leads to the small picture: a prior diffuses to noise (VP, SubVP, VE)"
            )
        native = bridge == self.bridge
        walk = sorted(set(grid or ()))

        def denoise(z: Tensor, t: float) -> Estimate:
            a, _, s = bridge.coefficients(t)
            if s == 0.0:
                return Estimate(z / a)
            own, told = self._nodes(t if native else self._time(bridge, t))
            gain = self.bridge.coefficients(own)[0] / a
            seen = (z if gain == 1.0 else gain * z).to(like.dtype)
            level = torch.full((len(z),), float(_told(self.time, self.bridge, told)), dtype=like.dtype, device=z.device)
            out = self.network(seen, level)
            y = prediction.convert(out[:, : self.channels], z, None, bridge=bridge, t=t, kind=self.objective.kind)
            y = y.clamp(-1.0, 1.0) if self.clip else y
            if native and self.variance == "learned":
                below = [r for r in walk if r < t]
                r = below[-1] if below else max(0.0, t - 1.0 / (self.bridge.nodes or 1000))
                fraction = 0.5 * (out[:, self.channels :].detach().to(z.dtype) + 1.0)
                return Estimate(y, c2=prediction.learned_variance(fraction, bridge=bridge, r=r, t=t))
            return Estimate(y, c2=prediction.large_variance(bridge, t) if self.variance == "large" else 0.0)

        return denoise

    def denoiser(self, x: Tensor, *, context: Any, bridge: Bridge, guidance: float = 1.0) -> Denoiser:
        """`of`, for pictures as large as x; UsageError for guidance, which a prior has not."""
        self.check_guidance(guidance)
        return self.of(bridge, like=x)

    def loss(self, y: Tensor, x: Tensor, *, noise: NoiseSource, norm: Norm | None = None) -> Tensor:
        """The training loss, a scalar, of its prediction; UsageError where a variance is learned beside it."""
        if self.variance == "learned":
            raise UsageError("a learned variance cannot be trained on here: set variance to small, with a new network")
        return super().loss(y, x, noise=noise, norm=norm)

    def _time(self, bridge: Bridge, t: float) -> float:
        """The native time with the noise level s / a of another bridge."""
        a, _, s = bridge.coefficients(t)
        level = s / a if a > 0.0 else math.inf
        first = 1.0 / self.bridge.nodes if self.bridge.nodes else _EARLIEST
        low, high = (math.exp(-0.5 * self.bridge.log_snr(end)) for end in (first, 1.0))
        if not low * (1.0 - _SLACK) <= level <= high * (1.0 + _SLACK):
            raise UsageError(
                f"noise level {level:.5g} at time {t:.6g} of {type(bridge).__name__} lies outside {low:.5g} to "
                f"{high:.5g}, on which this prior was trained: walk its own process, prior.native, or "
                "times within these levels"
            )
        if not low < level < high:
            return first if level <= low else 1.0
        return self.bridge.time_at(-2.0 * math.log(level), low=first)

    def _nodes(self, t: float) -> tuple[float, float]:
        """The native time, at nodes exactly, and the time that is told; UsageError between nodes where that is so."""
        nodes = self.bridge.nodes
        if nodes is None:
            return t, t
        place = t * nodes
        nearest = round(place)
        if abs(place - nearest) <= _ON_NODE and nearest >= 1:
            return nearest / nodes, nearest / nodes
        if self.between == "refuse":
            raise UsageError(
                f"time {t:.6g} lies between the nodes {math.floor(place)} and {math.floor(place) + 1} of {nodes} on "
                "which this prior was trained: use a solver and steps whose times are nodes "
                "(spacing 'trailing' or 'nodes'), or convert the prior with --set between=nearest"
            )
        own = max(t, 1.0 / nodes)
        return own, max(nearest, 1) / nodes if self.between == "nearest" else own


def respaced(text: str, *, nodes: int) -> tuple[float, ...]:
    """The grid of times of a respacing of guided-diffusion: "250", "ddim25", or "10,15,20" for parts of equal length.

    N nodes evenly from the first to the last of a part; "ddimN" every k-th node from the first up, with the whole k
    that leaves N. Falls from the last of them to 0. UsageError for other texts, and where parts or strides do not come
    out.
    """
    if text.startswith("ddim"):
        count = _whole(text.removeprefix("ddim"), text)
        stride = next((k for k in range(1, nodes) if len(range(0, nodes, k)) == count), None)
        if stride is None:
            raise UsageError(f"respacing {text!r}: no whole stride takes {count} of {nodes} nodes: use a divisor of it")
        return tuple((i + 1) / nodes for i in reversed(range(0, nodes, stride))) + (0.0,)
    counts = [_whole(part, text) for part in text.split(",")]
    taken: list[int] = []
    start = 0
    for index, count in enumerate(counts):
        size = nodes // len(counts) + (index < nodes % len(counts))
        if count > size:
            raise UsageError(f"respacing {text!r}: {count} of a part of {size} nodes: use at most {size}")
        stride = (size - 1) / (count - 1) if count > 1 else 1.0
        taken += [start + round(i * stride) for i in range(count)]
        start += size
    return tuple((i + 1) / nodes for i in reversed(taken)) + (0.0,)


def build(*, preset: str, config: Mapping[str, Any] | None = None) -> ForeignPrior:
    """The prior of a preset, untrained; `config` changes its settings, UsageError for those it does not have."""
    settings = settle(PRESETS, method="prior", preset=preset, changes=config)
    bridge = _bridge(settings["bridge"])
    channels = settings["channels"]
    time = pick("time", settings["time"], {name: name for name in ("index", "reversed", "scaled", "level")})
    variance = pick("variance", settings["variance"], {name: name for name in ("small", "large", "learned")})
    between = pick("between", settings["between"], {name: name for name in ("refuse", "nearest", "interpolate")})
    if bridge.nodes is None and time in ("index", "reversed"):
        raise UsageError(f"time {time!r} counts nodes, which the schedule does not have: use scaled or level")
    if variance == "learned" and bridge.nodes is None:
        raise UsageError("a learned variance is that of the step between two nodes, which the schedule does not have")

    def walk(steps: int) -> tuple[Bridge, Sequence[float]]:
        return bridge, bridge.grid(steps, spacing="trailing" if bridge.nodes else "uniform")

    return ForeignPrior(
        name="prior",
        scale=1,
        preset=preset,
        config=settings,
        network=networks.build(
            settings["network"], in_channels=channels, out_channels=channels * (2 if variance == "learned" else 1)
        ),
        bridge=bridge,
        domain=Pixel(),
        conditioning=Nothing(),
        objective=Objective(
            kind=pick("predicts", settings["predicts"], {"eps": "eps", "v": "v", "y": "y"}),  # pyright: ignore
            norm="l2",
            times="discrete" if bridge.nodes else Uniform(low=_EARLIEST),
        ),
        walk=walk,
        level=lambda bridge, t: _told(time, bridge, t),
        clip=settings["clip"],
        channels=channels,
        steps_default=100,
        time=time,
        variance=variance,
        between=between,
    )


def _told(time: str, bridge: Bridge, t: Time) -> Time:
    """What the network is told at a native time."""
    if time == "index":
        return (bridge.nodes or 0) * t - 1.0
    if time == "reversed":
        return (bridge.nodes or 0) * (1.0 - t)
    if time == "scaled":
        return 999.0 * t
    # A quarter of the logarithm is what `NoiseWaves` takes; pictures in [0, 1] have half our noise.
    return -0.125 * bridge.log_snr(t) - 0.25 * math.log(2.0)


def _bridge(settings: Mapping[str, Any]) -> Bridge:
    kind, steps, low, high = (settings[key] for key in ("kind", "steps", "low", "high"))
    makers: dict[str, Callable[[], Any]] = {
        "linear": lambda: schedules.linear(steps, start=low, end=high),
        "sqrt-linear": lambda: schedules.sqrt_linear(steps, start=low, end=high),
        "cosine": lambda: schedules.cosine(steps),
        "table": lambda: schedules.Table(tuple(settings["alpha"] or ())),
        "sde": lambda: schedules.LinearSDE(low, high),
    }
    levels: dict[str, Callable[[], Any]] = {
        "geometric": lambda: (
            schedules.Geometric(low, high) if steps is None else schedules.geometric(steps, low=low, high=high)
        )
    }
    process = pick("kind", kind, {"vp": VP, "subvp": SubVP, "ve": VE})
    try:
        return process(pick("schedule", settings["schedule"], levels if kind == "ve" else makers)())
    except (TypeError, ValueError) as error:
        raise error if isinstance(error, UsageError) else UsageError(f"bridge {dict(settings)}: {error}") from error


def _whole(part: str, text: str) -> int:
    if not part.strip().isdecimal() or int(part) < 1:
        raise UsageError(f"respacing {text!r} is none of N, ddimN and N,N,...: use for example 250 or ddim25")
    return int(part)


# -- the published networks -------------------------------------------------------------------------------------------

_ADM = networks.published("adm")
_SDE = {"kind": "vp", "schedule": "sde", "steps": None, "low": 0.1, "high": 20.0}
_SCORE = networks.published("ncsnpp")
_PLUS = {**_SCORE, "told": "time"}
_DDPMPP = {**_PLUS, "filtered": False, "pyramid": False}
_SUMMED = {**_SCORE, "pyramid": False, "skips": True}
_256 = {**_SUMMED, "multipliers": (1, 1, 2, 2, 2, 2, 2), "blocks": 2, "attention": (4,)}
_1024 = {
    **_SUMMED, "channels": 16, "multipliers": (1, 2, 4, 8, 16, 32, 32, 32), "blocks": 1, "attention": (6,),
}  # fmt: skip
_DDPM = {**networks.published("unet2d"), "once": True}
_DDPM_CIFAR = {**_DDPM, "widths": (128, 256, 256, 256), "down_attention": (1,), "up_attention": (1,)}


def _exploding(network: Mapping[str, Any], *, high: float) -> dict[str, Any]:
    return {"preset": "ncsnpp", "network": network, "bridge": {"low": 0.02, "high": 2.0 * high}}


def _preserving(network: Mapping[str, Any], *, kind: str = "vp", continuous: bool = True) -> dict[str, Any]:
    process = {**_SDE, "kind": kind} if continuous else _LINEAR
    time = "scaled" if continuous else "index"
    return {"preset": network["kind"], "network": network, "bridge": process, "time": time, "clip": False}


def _nodes(network: Mapping[str, Any], *, high: float) -> dict[str, Any]:
    process = {"kind": "ve", "schedule": "geometric", "steps": 1000, "low": 0.02, "high": 2.0 * high}
    return {"preset": network["kind"], "network": network, "bridge": process, "time": "reversed", "clip": False}


PUBLISHED: dict[str, dict[str, dict[str, Any]]] = {
    "adm": {
        "imagenet-64": {
            "preset": "adm",
            "thirds": True,
            "network": {**_ADM, "channels": 192, "multipliers": (1, 2, 3, 4), "blocks": 3, "attention": (1, 2, 3)},
            "bridge": {"schedule": "cosine"},
        },
        "imagenet-128": {
            "preset": "adm",
            "network": {**_ADM, "multipliers": (1, 1, 2, 3, 4), "attention": (2, 3, 4), "heads": 4},
        },
        "imagenet-256": {"preset": "adm", "network": _ADM},
        "imagenet-256-uncond": {"preset": "adm", "network": _ADM},
        "imagenet-512": {
            "preset": "adm",
            "network": {**_ADM, "multipliers": (0.5, 1, 1, 2, 2, 4, 4), "attention": (4, 5, 6)},
        },
        "ffhq-256": {"preset": "adm", "network": {**_ADM, "channels": 128, "blocks": 1, "attention": (4,)}},
    },
    "diffusers": {},
    "score-sde": {
        "ve/bedroom_ncsnpp_continuous": _exploding(_256, high=378.0),
        "ve/church_ncsnpp_continuous": _exploding(_256, high=380.0),
        "ve/celebahq_256_ncsnpp_continuous": _exploding(_256, high=348.0),
        "ve/ffhq_256_ncsnpp_continuous": _exploding(_256, high=348.0),
        "ve/celebahq_ncsnpp_continuous": _exploding(_1024, high=1348.0),
        "ve/ffhq_ncsnpp_continuous": _exploding(_1024, high=1348.0),
        "ve/cifar10_ncsnpp_continuous": _exploding(_SCORE, high=50.0),
        "ve/cifar10_ncsnpp_deep_continuous": _exploding({**_SCORE, "blocks": 8}, high=50.0),
        "ve/cifar10_ncsnpp": _nodes(_PLUS, high=50.0),
        "ve/celeba_ncsnpp": _nodes({**_PLUS, "attention": (2,)}, high=90.0),
        "ve/cifar10_ddpm": _nodes(_DDPM_CIFAR, high=50.0),
        "vp/cifar10_ncsnpp": _preserving(_PLUS, continuous=False),
        "vp/cifar10_ncsnpp_continuous": _preserving(_PLUS),
        "vp/cifar10_ncsnpp_deep_continuous": _preserving({**_PLUS, "blocks": 8}),
        "vp/cifar10_ddpmpp": _preserving(_DDPMPP, continuous=False),
        "vp/cifar10_ddpmpp_continuous": _preserving(_DDPMPP),
        "vp/cifar10_ddpmpp_deep_continuous": _preserving({**_DDPMPP, "blocks": 8}),
        "vp/ddpm/cifar10": _preserving(_DDPM_CIFAR, continuous=False),
        "vp/ddpm/cifar10_continuous": _preserving(_DDPM_CIFAR),
        "vp/ddpm/church": _preserving(_DDPM, continuous=False),
        "vp/ddpm/bedroom": _preserving(_DDPM, continuous=False),
        "vp/ddpm/celebahq": _preserving(_DDPM, continuous=False),
        "subvp/cifar10_ncsnpp_continuous": _preserving(_PLUS, kind="subvp"),
        "subvp/cifar10_ncsnpp_deep_continuous": _preserving({**_PLUS, "blocks": 8}, kind="subvp"),
        "subvp/cifar10_ddpmpp_continuous": _preserving(_DDPMPP, kind="subvp"),
        "subvp/cifar10_ddpmpp_deep_continuous": _preserving({**_DDPMPP, "blocks": 8}, kind="subvp"),
        "subvp/cifar10_ddpm_continuous": _preserving(_DDPM_CIFAR, kind="subvp"),
    },
}
"""Settings of the published networks by form and name: `preset`, changes of it, and `thirds`
(`networks.official_keys`).

Those of ADM are in its README, ffhq-256 is DPS's (configs/model_config.yaml) and imagenet-256-uncond serves its LSUN
networks too; score-SDE's are named as its configuration files. The noise levels of exploding networks are read from the
checkpoint. Differs from the authors' code in the discrete schedule of score-SDE's preserving networks, which they give
as 20 / 1000 for the last added variance and 0.1 / 1000 for the first: the same numbers.
"""
