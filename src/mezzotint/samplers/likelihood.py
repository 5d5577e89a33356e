"""The exact log-likelihood of a picture under the probability-flow ODE."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal, get_args

import torch
from torch import Tensor

from mezzotint.bridges import Bridge
from mezzotint.noise import NoiseSource
from mezzotint.samplers.adaptive import integrate
from mezzotint.samplers.coordinates import check_scalar
from mezzotint.samplers.loop import Denoiser

Trace = Literal["rademacher", "gaussian", "exact"]


def log_likelihood(
    denoise: Denoiser,
    z: Tensor,
    *,
    bridge: Bridge,
    noise: NoiseSource,
    x_state: Tensor | None = None,
    first: float = 1e-5,
    last: float = 1.0,
    prior: Callable[[Tensor], Tensor] | None = None,
    trace: Trace = "rademacher",
    probes: int = 1,
    rtol: float = 1e-5,
    atol: float = 1e-5,
) -> Tensor:
    """log p of the states z at time `first`, float64 (b,), in nats (Song et al. 2021, appendix D.2).

    log p_first(z) = prior(z_last) + the integral of the divergence of the probability-flow ODE from `first` to `last`.
    z: b c h w; at a small `first` the clean picture stands for its state, the convention of the authors. `denoise`
    must be differentiable in z. `prior`: log density of the state at `last`, (b,); the default is the bridge's own
    start, N(start without noise, start's own deviation), which differs from the true marginal by what is left of the
    signal.

    `trace`: how the trace of the denoiser's Jacobian J is found: e^T J e averaged over `probes` fields e of signs
    (`rademacher`, Hutchinson; the smaller variance) or of normal numbers (`gaussian`), drawn once for the whole
    integral from the stream `trace`; or `exact`, one derivative a value of an item, for small states. Raises ValueError
    where the bridge has no noise at one of the two times, for times that do not rise, and for unknown options.
    """
    if trace not in get_args(Trace):
        raise ValueError(f"trace {trace!r} is none of {', '.join(get_args(Trace))}")
    if isinstance(probes, bool) or int(probes) != probes or probes < 1:
        raise ValueError(f"probes {probes} is not a whole number of 1 or more")
    if not 0.0 < first < last <= 1.0:
        raise ValueError(f"the ODE runs from a time above 0 up to 1 at most, not from {first} to {last}")
    check_scalar(bridge, name="the flow")
    for t in (first, last):
        if bridge.coefficients(t)[2] == 0.0:
            raise ValueError(f"{type(bridge).__name__} has no noise at {t}, so no density: use times inside its ends")
    if x_state is not None and x_state.shape != z.shape:
        raise ValueError(f"x_state has shape {tuple(x_state.shape)}, the state has {tuple(z.shape)}")
    kind = torch.float32 if z.device.type == "mps" else torch.float64
    state = z.detach().to(kind)
    lifted = None if x_state is None else x_state.to(state)
    count = state[0].numel()
    fields = [_probe(noise, trace, draw, state) for draw in range(0 if trace == "exact" else probes)]

    def slope(packed: Tensor, t: float) -> Tensor:
        current = packed[:, :count].reshape(state.shape)
        y, diverging = _estimate_and_trace(denoise, current, t, fields)
        (a, _, s), (rate_a, _, rate_power) = bridge.coefficients(t), bridge.derivatives(t)
        growth = 0.5 * rate_power / s**2
        speed = bridge.velocity(current, y, lifted, t)
        spread = count * growth + (rate_a - a * growth) * diverging
        return torch.cat([speed.flatten(1), spread[:, None]], dim=1)

    packed = torch.cat([state.flatten(1), state.new_zeros(len(state), 1)], dim=1)
    packed = integrate(slope, packed, first=first, last=last, rtol=rtol, atol=atol)
    end = packed[:, :count].reshape(state.shape)
    density = _start_density(bridge, end, lifted) if prior is None else prior(end)
    return density + packed[:, count]


def bits_per_dimension(
    log_density: Tensor, *, dimensions: int, levels: int = 256, low: float = -1.0, high: float = 1.0
) -> Tensor:
    """Bits per value from a log density in nats of pictures in [low, high], shaped like `log_density`.

    -log_density / (dimensions ln 2) + log2(levels / (high - low)): the probability of a grey level is the density times
    the width of its bin. The offset is 7 for 256 levels in [-1, 1] and 8 in [0, 1]. It is a bound on the code length
    of the picture only where the density was taken at uniformly dequantised pixels, see `dequantise`.
    """
    if isinstance(dimensions, bool) or dimensions < 1 or levels < 1 or not low < high:
        raise ValueError(f"{dimensions} dimensions of {levels} levels in {low} to {high} is no picture")
    return -log_density / (dimensions * math.log(2.0)) + math.log2(levels / (high - low))


def dequantise(indices: Tensor, eps: Tensor, *, levels: int = 256, low: float = -1.0, high: float = 1.0) -> Tensor:
    """Pictures in [low, high] whose values lie anywhere in the bin of their grey level, in eps's type.

    `indices`: whole numbers 0 to levels - 1; `eps`: a standard normal field of that shape, whose distribution function
    is uniform. Level i becomes low + (i + u) (high - low) / levels: the bins fill the range, and i itself lies at the
    lower edge, where ordinary pictures put level 0 and 255 at the ends of the range.
    """
    if indices.shape != eps.shape:
        raise ValueError(f"grey levels of shape {tuple(indices.shape)} need noise of it, not {tuple(eps.shape)}")
    uniform = torch.special.ndtr(eps)
    return low + (indices.to(eps.dtype) + uniform) * ((high - low) / levels)


def _probe(noise: NoiseSource, trace: Trace, draw: int, like: Tensor) -> Tensor:
    field = noise.normal("trace", draw, like.shape, dtype=like.dtype, device=like.device)
    return torch.where(field < 0.0, -1.0, 1.0).to(like.dtype) if trace == "rademacher" else field


def _estimate_and_trace(denoise: Denoiser, z: Tensor, t: float, probes: list[Tensor]) -> tuple[Tensor, Tensor]:
    """The estimate and the trace of its Jacobian (b,): by probes, or exactly where there are none."""
    with torch.enable_grad():
        z = z.detach().requires_grad_()
        y = denoise(z, t).y.to(z.dtype)
        if y.shape != z.shape:
            raise ValueError(f"the estimate has shape {tuple(y.shape)}, the state {tuple(z.shape)}")
        if not y.requires_grad:
            # A constant estimate.
            return y, z.new_zeros(len(z)).detach()
        if probes:
            found = [(_pull(y, z, probe) * probe).flatten(1).sum(dim=1) for probe in probes]
            return y.detach(), torch.stack(found).mean(dim=0)
        total = z.new_zeros(len(z)).detach()
        for index in range(z[0].numel()):
            unit = torch.zeros_like(z).flatten(1)
            unit[:, index] = 1.0
            total = total + _pull(y, z, unit.reshape(z.shape)).flatten(1)[:, index]
        return y.detach(), total


def _pull(y: Tensor, z: Tensor, direction: Tensor) -> Tensor:
    (found,) = torch.autograd.grad(y, z, direction.detach(), retain_graph=True)
    return found


def _start_density(bridge: Bridge, z: Tensor, x_state: Tensor | None) -> Tensor:
    zero = torch.zeros_like(z)
    mean = bridge.start(x_state, zero)
    std = bridge.start(x_state, torch.ones_like(z)) - mean
    if not bool((std > 0.0).all()):
        raise ValueError(f"{type(bridge).__name__} starts without noise: give the density of its state as prior")
    return (-0.5 * ((z - mean) / std) ** 2 - std.log() - 0.5 * math.log(2.0 * math.pi)).flatten(1).sum(dim=1)
