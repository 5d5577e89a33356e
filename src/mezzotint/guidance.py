"""Guidance: how strongly a sample must obey its condition (survey, section 4.2).

A guide wraps the function `denoise(z, t) -> Estimate` that samplers call and gives another one. Strength is the
survey's lambda everywhere: the guided score is (1 - lambda) score(z) + lambda score(z | x), so 0 is unconditional, 1
plainly conditional and more than 1 emphasises the condition. Other conventions are converted by `lambda_of`. The
guided field is not the diffusion of any density for other values than 0 and 1 (the score of its tilted density at t = 0
is guided, that of a noised one is not).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import torch
from torch import Tensor

from mezzotint.bridges import Bridge
from mezzotint.noise import NoiseSource

if TYPE_CHECKING:
    from mezzotint.samplers.loop import Denoiser
    from mezzotint.samplers.step import Estimate

Condition = TypeVar("Condition")


@dataclass(frozen=True)
class Convention:
    """A number that means strength elsewhere: lambda = number + offset, and where it is used so."""

    formula: str
    offset: float
    used_by: str

    def to_lambda(self, number: float) -> float:
        """The survey's lambda of a number of this convention."""
        return number + self.offset

    def from_lambda(self, strength: float) -> float:
        """The number of this convention for the survey's lambda."""
        return strength - self.offset


CONVENTIONS: dict[str, Convention] = {
    "lambda": Convention("(1 - lambda) e0 + lambda ex", 0.0, "the survey"),
    "scale": Convention("e0 + scale (ex - e0)", 0.0, "Imagen, DPM-Solver and diffusers' guidance_scale"),
    "w": Convention("(1 + w) ex - w e0", 1.0, "Ho and Salimans 2022, DiffuseVAE's guidance_weight"),
    "classifier-unconditional": Convention("e0 + s classifier", 0.0, "ADM's classifier scale, unconditional network"),
    "classifier-conditional": Convention("ex + s classifier", 1.0, "ADM's classifier scale, conditional network"),
}


def lambda_of(number: float, *, convention: str) -> float:
    """The survey's lambda of a strength in another convention; ValueError for an unknown one or an infinite number."""
    if convention not in CONVENTIONS:
        raise ValueError(f"convention {convention!r} of guidance is none of {', '.join(CONVENTIONS)}")
    if not math.isfinite(number):
        raise ValueError(f"strength {number} of guidance must be a finite number")
    return CONVENTIONS[convention].to_lambda(number)


@dataclass(frozen=True, eq=False)
class Conditional(Generic[Condition]):
    """One network that knows a null condition, as two denoisers.

    denoise: (z, t, condition) -> Estimate. Called with (z, t) it uses `condition`; `unconditional` uses `null`, which
    replaces every path of the condition: features, latent codes and, where they carry it, concatenated pictures.
    """

    denoise: Callable[[Tensor, float, Condition], Estimate]
    condition: Condition
    null: Condition

    def __call__(self, z: Tensor, t: float) -> Estimate:
        return self.denoise(z, t, self.condition)

    def unconditional(self, z: Tensor, t: float) -> Estimate:
        """The estimate without the condition."""
        return self.denoise(z, t, self.null)


def classifier_free(conditional: Denoiser, unconditional: Denoiser | None = None, *, strength: float) -> Denoiser:
    """The denoiser (1 - lambda) D(z) + lambda D(z | x) (Ho and Salimans 2022, in the survey's lambda = `strength`).

    `unconditional` may be left out for a `Conditional`, which has its own. The formula is the same for estimates,
    noise, v and scores, which are affine in each other at one state. The assumed variance is that of the conditional
    estimate: only means are guided. lambda = 1 calls `conditional` alone, lambda = 0 `unconditional` alone.
    Raises ValueError for a strength that is not finite, and without an unconditional denoiser unless lambda is
    1.
    """
    if not math.isfinite(strength):
        raise ValueError(f"strength {strength} of guidance must be a finite number, 1 is the plain condition")
    if strength == 1.0:
        return conditional
    if unconditional is None:
        if not isinstance(conditional, Conditional):
            raise ValueError(
                f"strength {strength} needs an estimate without the condition: give a second denoiser, or a "
                "guidance.Conditional with its null condition"
            )
        unconditional = conditional.unconditional
    if strength == 0.0:
        return unconditional
    free = unconditional

    def denoise(z: Tensor, t: float) -> Estimate:
        with_x, without = conditional(z, t), free(z, t)
        y = _mix(without.y, with_x.y, strength)
        if with_x.y_carry is None and without.y_carry is None:
            return replace(with_x, y=y)
        kept_x = with_x.y if with_x.y_carry is None else with_x.y_carry
        kept = without.y if without.y_carry is None else without.y_carry
        return replace(with_x, y=y, y_carry=_mix(kept, kept_x, strength))

    return denoise


def classifier(
    denoise: Denoiser, log_likelihood: Callable[[Tensor, float], Tensor], *, bridge: Bridge, strength: float
) -> Denoiser:
    """The denoiser guided by any differentiable log q(x | z, t) (Dhariwal and Nichol 2021; survey's lambda).

    score(z) + lambda grad log q(x | z), so y_hat + lambda (s^2 / a) grad; with an unconditional `denoise` lambda is
    `strength`, with a conditional one lambda = 1 + `strength`. `log_likelihood(z, t)`: (b,), or their sum, in any type;
    of x given the noisy state, so a classifier trained on noisy pictures, a regressor of x, or a Gaussian likelihood of
    the estimate. It must not mix the items of a batch: the gradient is that of the sum. Gradients for guiding do not
    reach further back unless they are recorded around the call. This is the form for every sampler, deterministic ones
    included; the shifted mean of the authors' ancestral sampler is, to first order in the step, the same. Where a = 0
    the state says nothing of x and nothing is added. strength 0 calls `denoise` alone. Raises ValueError for a strength
    that is not finite and a likelihood that does not depend on z.
    """
    if not math.isfinite(strength):
        raise ValueError(f"strength {strength} of guidance must be a finite number, 0 is without guidance")
    if strength == 0.0:
        return denoise

    def guided(z: Tensor, t: float) -> Estimate:
        estimate = denoise(z, t)
        a, _, s = bridge.coefficients(t)
        if a == 0.0:
            return estimate
        shift = (strength * s**2 / a) * gradient(log_likelihood, z, t).to(estimate.y.dtype)
        carried = None if estimate.y_carry is None else estimate.y_carry + shift
        return replace(estimate, y=estimate.y + shift, y_carry=carried)

    return guided


def gradient(log_likelihood: Callable[[Tensor, float], Tensor], z: Tensor, t: float) -> Tensor:
    """The gradient of a log-likelihood with respect to the state z, b c h w.

    ValueError where the answer is neither (b,) nor a scalar, or does not depend on z.
    """
    outer = torch.is_grad_enabled() and z.requires_grad
    with torch.enable_grad():
        point = z if outer else z.detach().requires_grad_()
        value = log_likelihood(point, t)
        if value.shape not in ((), (len(z),)):
            raise ValueError(f"a log-likelihood of shape {tuple(value.shape)}: give one number a picture, ({len(z)},)")
        if not value.requires_grad:
            raise ValueError("the log-likelihood does not depend on the state: compute it from z with gradients on")
        (found,) = torch.autograd.grad(value.sum(), point, create_graph=outer, allow_unused=True)
    if found is None:
        raise ValueError("the log-likelihood does not depend on the state: compute it from z with gradients on")
    return found


def draw_drops(noise: NoiseSource, count: int, *, probability: float, draw: int = 0) -> Tensor:
    """Which of `count` pictures lose their condition in a training step: bool (count,), one draw a picture.

    From the uniform stream `drop` of a source whose items differ (`SequentialNoise`, or a `Noise` with pictures).
    `probability`: 0.1 to 0.2 in the literature. DiffuseVAE's code draws once a batch instead, which makes the gradient
    noisier. ValueError for a probability outside 0 to 1.
    """
    if not 0.0 <= probability <= 1.0:
        raise ValueError(f"probability {probability} of dropping the condition lies outside 0 to 1")
    return noise.uniform("drop", draw, count) < probability


def drop_condition(mask: Tensor, condition: Any, null: Any) -> Any:
    """The condition with `null` in place of it for the pictures where `mask`, bool (b,), is true.

    condition: a tensor b ..., or a mapping, tuple or list of conditions of any depth: every path is dropped, or the
    network would find the condition on the one that is left. null: of the same structure; its tensors broadcast to an
    item (a learned constant c 1 1, for one) or to the batch. None stands for a path that is not there, in both alike.
    Zeros are a legitimate grey picture in [-1, 1]: a learned constant, or zeros with a channel that says so, is the
    better null of a concatenated picture. Raises ValueError for a mask that is not bool (b,), and where the structures
    differ, naming the path.
    """
    if mask.dtype != torch.bool or mask.dim() != 1:
        raise ValueError(f"mask of type {mask.dtype} and shape {tuple(mask.shape)}: give one bool a picture, (b,)")
    return _drop(mask, condition, null, path="condition")


def _drop(mask: Tensor, condition: Any, null: Any, *, path: str) -> Any:
    if condition is None and null is None:
        return None
    if isinstance(condition, Tensor) and isinstance(null, Tensor):
        if condition.dim() == 0 or len(condition) != len(mask):
            raise ValueError(f"{path} has shape {tuple(condition.shape)}, the mask is of {len(mask)} pictures")
        try:
            filler = null.to(condition).expand(condition.shape)
        except RuntimeError:
            raise ValueError(
                f"the null of {path} has shape {tuple(null.shape)}, which does not fit {tuple(condition.shape)}"
            ) from None
        return torch.where(mask.to(condition.device).reshape(-1, *([1] * (condition.dim() - 1))), filler, condition)
    if isinstance(condition, Mapping) and isinstance(null, Mapping):
        if condition.keys() != null.keys():
            raise ValueError(f"{path} has the paths {sorted(condition)}, its null {sorted(null)}: make them the same")
        return {key: _drop(mask, condition[key], null[key], path=f"{path}.{key}") for key in condition}
    if isinstance(condition, (tuple, list)) and isinstance(null, (tuple, list)):
        if len(condition) != len(null):
            raise ValueError(f"{path} has {len(condition)} paths, its null {len(null)}: make them the same")
        parts = [_drop(mask, *pair, path=f"{path}[{i}]") for i, pair in enumerate(zip(condition, null, strict=True))]
        return parts if isinstance(condition, list) else tuple(parts)
    raise ValueError(
        f"{path} is a {type(condition).__name__}, its null a {type(null).__name__}: give tensors, mappings, tuples or "
        "lists of one structure, None where a path is missing in both"
    )


def _mix(without: Tensor, with_x: Tensor, strength: float) -> Tensor:
    return without + strength * (with_x - without)
