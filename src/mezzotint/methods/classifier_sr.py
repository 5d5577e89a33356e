"""Super-resolution by classifier guidance: an unconditional DDPM, led by a network that knows x from noisy pictures.

Dhariwal and Nichol, "Diffusion Models Beat GANs on Image Synthesis", arXiv 2105.05233, section 4: the estimate moves by
lambda (s^2 / a) grad log q(x | z_t), lambda the survey's (`guidance`), 0 an unconditional picture, 1 Bayes' rule. The
stages `classifier` and `denoiser` are trained one after the other, each alone and in any order (the survey's
"simultaneously" is an error). Late in a walk the state all but tells x and each estimate moves by lambda times what is
missing of it, so strengths above 2 overshoot where steps are few. Differs from the authors' code in the classifier,
which has a Gaussian of the small picture in the place of classes (`networks.classifier`), in the estimate, which is
moved instead of the mean of the step, and clipped afterwards, in weights of both that are averaged, and in the
denoiser's U-Net.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from mezzotint import samplers, schedules
from mezzotint.bridges import VP, Bridge
from mezzotint.conditioning.nothing import Nothing
from mezzotint.domains.pixel import Pixel
from mezzotint.errors import UsageError
from mezzotint.guidance import classifier
from mezzotint.methods.presets import SMALL_UNET, pick, settle
from mezzotint.methods.recipe import Recipe, log_ratio, node, on_grid
from mezzotint.methods.stage import Stage
from mezzotint.networks import table as networks
from mezzotint.networks.classifier import NoisyClassifier
from mezzotint.noise import NoiseSource
from mezzotint.objectives import Norm, Objective
from mezzotint.samplers import Denoiser

PRESETS: dict[str, dict[str, Any]] = {
    "small": {
        "channels": 3, "sampler": "ancestral", "variance": "large", "norm": "l2", "network": SMALL_UNET,
        "classifier": {"width": 32, "multipliers": (1, 1), "blocks": 1, "groups": 8, "deviation": 0.5, "floor": 0.05},
    },
}  # fmt: skip


class ClassifierGuided(Recipe):
    """A recipe whose network does not see x, and a classifier that leads its samples to x.

    classifier: maps (a state b c H W, log(s / a) / 4 b) to mean and logarithm of the variance of x, b c h w each.
    """

    def __init__(self, *, classifier: nn.Module, **parts: Any) -> None:
        super().__init__(**parts)
        self.classifier = classifier

    @property
    def guidable(self) -> bool:
        """Always: guidance is how this method sees x at all."""
        return True

    @property
    def stages(self) -> tuple[Stage, ...]:
        """`classifier`, then `denoiser`; samples need both, so the last one shows them."""
        return (
            Stage("classifier", {"classifier": self.classifier}, {"classifier": self.classifier_loss}),
            Stage("denoiser", {"denoiser": self.network}, {"denoiser": self.loss}, preview=self._preview),
        )

    @property
    def networks(self) -> tuple[nn.Module, ...]:
        """The denoiser and the classifier."""
        return (self.network, self.classifier)

    @property
    def differentiates(self) -> bool:
        """Always: the classifier leads by its gradient."""
        return True

    def classifier_loss(self, y: Tensor, x: Tensor, *, noise: NoiseSource, norm: Norm | None = None) -> Tensor:
        """-log q(x | z_t) a value of x, without its constant log(2 pi) / 2: a scalar, for y b c H W and x b c h w.

        Times are those of the denoiser. Streams `time` and `noise`. UsageError for a `norm`: a likelihood has none.
        """
        if norm is not None:
            raise UsageError(f"norm {norm!r}: the classifier's loss is a likelihood, leave objective.norm out")
        self._check(x, (int(y.shape[-2]), int(y.shape[-1])))
        t = self.objective.draw_times(noise.uniform("time", 0, len(y)), bridge=self.bridge)
        eps = noise.normal("noise", 0, y.shape, dtype=y.dtype, device=y.device)
        z = self.bridge.q_sample(y, None, t, eps)
        return -self._log_density(z, log_ratio(self.bridge, t).to(z), x).sum() / x.numel()

    def log_likelihood(self, x: Tensor, *, bridge: Bridge) -> Callable[[Tensor, float], Tensor]:
        """log q(x | z, t) up to a constant as a function of a state and its time: (b,); for x b c h w in [-1, 1]."""

        def value(z: Tensor, t: float) -> Tensor:
            level = torch.full((len(z),), float(log_ratio(bridge, t)), dtype=x.dtype, device=x.device)
            return self._log_density(z.to(x.dtype), level, x).sum(dim=(1, 2, 3))

        return value

    def cost(self, guidance: float) -> int:
        """How often an estimate at this strength of guidance asks a network."""
        return 1 if guidance == 0.0 else 2

    def _guided(self, x: Tensor, *, context: Any, bridge: Bridge, guidance: float) -> Denoiser:
        free = self._conditional(x, context=context, bridge=bridge)
        return classifier(free, self.log_likelihood(x, bridge=bridge), bridge=bridge, strength=guidance)

    def _log_density(self, z: Tensor, level: Tensor, x: Tensor) -> Tensor:
        mean, log_variance = self.classifier(z, level)
        if mean.shape != x.shape:
            raise UsageError(
                f"a picture of {z.shape[-1]}x{z.shape[-2]} for x of {x.shape[-1]}x{x.shape[-2]}: this {self.name} "
                f"makes pictures of exactly {self.scale:g} times the size"
            )
        return -0.5 * ((x - mean) ** 2 * torch.exp(-log_variance) + log_variance)


def build(*, scale: float = 4, preset: str = "small", config: Mapping[str, Any] | None = None) -> Recipe:
    """Return the method untrained; `config` changes settings of the preset.

    UsageError for settings that it does not have, and for a scale that is no whole number.
    """
    settings = settle(PRESETS, method="classifier-sr", preset=preset, changes=config)
    channels, bridge = settings["channels"], VP(schedules.linear(1000))
    return ClassifierGuided(
        name="classifier-sr",
        scale=scale,
        preset=preset,
        config=settings,
        network=networks.build(settings["network"], in_channels=channels, out_channels=channels),
        classifier=NoisyClassifier(scale=scale, channels=channels, **settings["classifier"]),  # pyright: ignore
        bridge=bridge,
        domain=Pixel(),
        conditioning=Nothing(),
        objective=Objective(norm=settings["norm"], times="discrete"),
        walk=on_grid(bridge, spacing="trailing"),
        step=samplers.build(settings["sampler"], bridge=bridge),
        level=node,
        large_variance=pick("variance", settings["variance"], {"large": True, "small": False}),
        clip=True,
        channels=channels,
        steps_default=100,
    )
