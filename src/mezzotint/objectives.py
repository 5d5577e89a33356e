"""What a network is trained towards: which times, which target, which weight, which norm.

Weights are those of ||y_hat - y||^2, float64, so that they mean the same for every kind of prediction: an error of kind
K is multiplied by weight / `prediction.implied_weight(kind=K)`. The weights in use, with SNR = a^2 / s^2:

| name         | weight of the error of y         | source                                               |
|--------------|----------------------------------|------------------------------------------------------|
| `none`       | that of the kind itself          | Ho et al. 2020, L_simple for `eps`                   |
| `y`          | 1                                | Salimans and Ho 2022; ResShift                       |
| `vlb`        | (a_r - k a_t)^2 / (2 v), a table | Ho et al. 2020, equation 8; ResShift, equation 9     |
| `likelihood` | -SNR' / 2 = g^2 a^2 / (2 s^4)    | Song et al. 2021 (likelihood weighting); VDM         |
| `p2`         | SNR / (1 + SNR)                  | Choi et al. 2022, k = gamma = 1                      |
| `min-snr`    | min(SNR, 5)                      | Hang et al. 2023                                     |

EDM's and DDBM's weight 1 / c_out^2 is that of their own kind, a `prediction.Preconditioning`, with `none`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal, Protocol, TypeVar, get_args

import torch
from torch import Tensor

from mezzotint.bridges import Bridge, MeanReverting
from mezzotint.errors import UsageError
from mezzotint.prediction import (
    Kind,
    Preconditioning,
    convert,
    implied_weight,
    learned_log_variance,
    min_snr_weight,
    target,
)

Norm = Literal["l1", "l2"]
Times = Literal["uniform", "uniform-power", "discrete", "log-normal"]
Sample = TypeVar("Sample")
Weight = Literal["none", "y", "vlb", "likelihood", "p2", "min-snr"]


class TimeDistribution(Protocol):
    """A distribution of training times, drawn from uniform numbers so that a seed stays in its caller's hand."""

    def draw(self, u: Tensor, *, bridge: Bridge) -> Tensor:
        """Turn uniform numbers in (0, 1), float64 (b,), into times."""
        ...


@dataclass(frozen=True)
class Uniform:
    """Uniform in time above `low`; the SDEs of Song et al. 2021 are trained above 1e-5, where their scores are finite.

    `last`: the odds of t = 1 exactly against any other time; InDI trains its first step more often that way (Delbracio
    and Milanfar 2023, a mixture with share last / (1 + last)).
    """

    low: float = 0.0
    last: float = 0.0

    def __post_init__(self) -> None:
        if not 0.0 <= self.low < 1.0:
            raise UsageError(f"low {self.low}, the smallest time, must lie in [0, 1)")
        if not 0.0 <= self.last < math.inf:
            raise UsageError(f"last {self.last}, the odds of the last time, must be 0 or more and finite")

    def draw(self, u: Tensor, *, bridge: Bridge) -> Tensor:
        if self.last:
            # The upper part of u is the last time, the rest is stretched over all of them.
            u = (u * (1.0 + self.last)).clamp(max=1.0)
        return self.low + (1.0 - self.low) * u


@dataclass(frozen=True)
class Discrete:
    """Uniform among the nodes 1..T of the bridge's table (DDPM, ResShift, I2SB)."""

    def draw(self, u: Tensor, *, bridge: Bridge) -> Tensor:
        nodes = _nodes(bridge, "discrete")
        return ((u * nodes).floor().clamp(max=nodes - 1) + 1.0) / nodes


@dataclass(frozen=True)
class UniformPower:
    """Uniform among the nodes of the bridge's table, then uniform in the signal power gamma between two neighbours
    (SR3, arXiv 2104.07636, section 2.4). On a table whose sqrt(gamma) is linear between nodes the `uniform` times are
    the rule of WaveGrad and of SR3's PyTorch reimplementation.
    """

    def draw(self, u: Tensor, *, bridge: Bridge) -> Tensor:
        nodes = _nodes(bridge, "uniform-power")
        node = (u * nodes).floor().clamp(max=nodes - 1)
        weight = u * nodes - node
        upper = bridge.coefficients(node / nodes)[0]
        lower = bridge.coefficients((node + 1) / nodes)[0]
        # gamma = a^2 is uniform; the time is where a, linear between two nodes, has that square.
        amplitude = (upper**2 + weight * (lower**2 - upper**2)).sqrt()
        return (node + (upper - amplitude) / (upper - lower)).clamp(max=nodes) / nodes


@dataclass(frozen=True)
class LogNormal:
    """The logarithm of the noise level s / a is normal (Karras et al. 2022, table 1: N(-1.2, 1.2^2)).

    Levels beyond those of the bridge between its `first` time and t = 1 are moved to the nearer of the two.
    """

    mean: float = -1.2
    std: float = 1.2

    def __post_init__(self) -> None:
        if not (math.isfinite(self.mean) and 0.0 < self.std < math.inf):
            raise UsageError(f"N({self.mean}, {self.std}^2) is not a normal distribution with a positive deviation")

    def draw(self, u: Tensor, *, bridge: Bridge) -> Tensor:
        goal = -2.0 * (self.mean + self.std * torch.special.ndtri(u))
        low, high = torch.full_like(u, bridge.first), torch.ones_like(u)
        # log-SNR falls with time; 60 halvings leave nothing of float64.
        for _ in range(60):
            middle = 0.5 * (low + high)
            above = bridge.log_snr(middle) > goal
            low, high = torch.where(above, middle, low), torch.where(above, high, middle)
        return high


_TIMES: dict[str, TimeDistribution] = {
    "uniform": Uniform(),
    "uniform-power": UniformPower(),
    "discrete": Discrete(),
    "log-normal": LogNormal(),
}


@dataclass(frozen=True)
class Objective:
    """Distribution of the training times, target of the network, norm and weight of its error.

    kind: what the network predicts (`mezzotint.prediction`), or a `Preconditioning`.
    norm: `l1`, the mean absolute error over all values, or `l2`, the mean squared one.
    times: `uniform` in time; `uniform-power`, SR3's; `discrete`, the nodes of the table; `log-normal`, EDM's; or a
    distribution with settings of its own (`Uniform`, `LogNormal`, ...).
    weight: a name of the table above, or a function of (bridge, t) that gives weights of the squared error of y.
    Weights other than `none` are for `l2` and for `loss`.
    Raises UsageError for other values.
    """

    kind: Kind | Preconditioning = "eps"
    norm: Norm = "l1"
    times: Times | TimeDistribution = "uniform"
    weight: Weight | Callable[[Bridge, Tensor], Tensor] = "none"

    def __post_init__(self) -> None:
        for name, value, allowed in (("norm", self.norm, Norm), ("times", self.times, Times)):
            if isinstance(value, str) and value not in get_args(allowed):
                raise UsageError(f"{name} {value!r} is unknown: use one of {', '.join(get_args(allowed))}")
        if isinstance(self.weight, str) and self.weight not in get_args(Weight):
            raise UsageError(f"weight {self.weight!r} is unknown: use one of {', '.join(get_args(Weight))}")
        if self.weight != "none" and self.norm != "l2":
            raise UsageError("weights are for squared errors: use norm 'l2', or weight 'none'")

    def draw_times(self, u: Tensor, *, bridge: Bridge) -> Tensor:
        """Turn uniform numbers in (0, 1), float64 (b,), into times."""
        distribution = _TIMES[self.times] if isinstance(self.times, str) else self.times
        return distribution.draw(u, bridge=bridge)

    def compare(self, prediction: Tensor, target: Tensor, *, norm: Norm | None = None) -> Tensor:
        """The loss, a scalar, of a prediction and its target of one shape; `norm` overrides that of the objective.

        UsageError for an objective with a weight, which depends on the times: use `loss`.
        """
        if self.weight != "none":
            raise UsageError("a weighted objective needs the times of its errors: use loss instead of compare")
        error = prediction - target
        if (norm or self.norm) == "l1":
            return error.abs().mean()
        if (norm or self.norm) == "l2":
            return torch.square(error).mean()
        raise UsageError(f"norm {norm!r} is unknown: use one of {', '.join(get_args(Norm))}")

    def weights(self, t: Tensor, *, bridge: Bridge) -> Tensor:
        """What multiplies the squared error of a prediction of this kind at times (b,), float64."""
        if self.weight == "none":
            return torch.ones_like(t, dtype=torch.float64)
        if callable(self.weight):
            wanted = self.weight(bridge, t)
        else:
            wanted = _WEIGHTS[self.weight](bridge, t)
        return wanted / implied_weight(bridge, t, kind=self.kind)

    def loss(
        self,
        prediction: Tensor,
        y: Tensor,
        x_state: Tensor | None,
        z: Tensor,
        eps: Tensor,
        *,
        bridge: Bridge,
        t: Tensor,
    ) -> Tensor:
        """The weighted loss, a scalar, of a prediction b c h w at z = bridge.q_sample(y, x_state, t, eps), t (b,)."""
        wanted = target(y, x_state, z, eps, bridge=bridge, t=t, kind=self.kind)
        error = prediction.to(wanted.dtype) - wanted
        if self.norm == "l1":
            return error.abs().mean()
        return (_column(self.weights(t, bridge=bridge), error) * torch.square(error)).mean()


def vlb_weight(
    bridge: Bridge, r: float | Tensor, t: float | Tensor, *, variance: Literal["small", "large"] = "small"
) -> Tensor:
    """(a_r - k a_t)^2 / (2 v): the divergence of two steps from t to r whose estimates differ by 1, float64.

    `variance` v is that of the posterior, or DDPM's larger one; infinite for the small one at r = 0, where the term is
    the likelihood of the data instead (`discretised_log_likelihood`). For `eps` on VP this is the weight
    alpha^2 / (2 v (1 - alpha) (1 - gamma)) of Ho et al. 2020, equation 12, with alpha the added variance.
    """
    r, t = (value if isinstance(value, Tensor) else torch.tensor(value, dtype=torch.float64) for value in (r, t))
    gain = (bridge.coefficients(r)[0] - bridge.carry(r, t) * bridge.coefficients(t)[0]) ** 2
    total = bridge.variance(r, t)
    if variance == "large":
        a, _, s = bridge.coefficients(t)
        total = total + gain * s**2 / (a**2 + s**2)
    return gain / (2.0 * total)


def likelihood_weight(bridge: Bridge, t: float | Tensor) -> Tensor:
    """-SNR' / 2 = g^2 a^2 / (2 s^4), float64: the continuous `vlb_weight`, and likelihood weighting of the score
    (Song et al. 2021, Maximum likelihood training; Kingma et al. 2021, VDM, equation 13).
    """
    t = t if isinstance(t, Tensor) else torch.tensor(t, dtype=torch.float64)
    a, _, s = bridge.coefficients(t)
    a_rate, _, v_rate = bridge.derivatives(t)
    return 0.5 * a * (a * v_rate - 2.0 * a_rate * s**2) / s**4


def p2_weight(bridge: Bridge, t: float | Tensor, *, k: float = 1.0, gamma: float = 1.0) -> Tensor:
    """SNR / (k + SNR)^gamma, float64: that of the squared error of `eps` is 1 / (k + SNR)^gamma (Choi et al. 2022, P2,
    equation 8; gamma there is an exponent).
    """
    if not (k >= 0.0 and gamma >= 0.0):
        raise ValueError(f"k {k} and gamma {gamma} must be 0 or more; 1 and 0.5 to 1 are the paper's")
    snr = implied_weight(bridge, t, kind="eps")
    return snr / (k + snr) ** gamma


def _table_vlb(bridge: Bridge, t: Tensor) -> Tensor:
    nodes = _nodes(bridge, "vlb")
    before = ((t * nodes - 1e-9 * nodes).ceil() - 1.0).clamp(min=0.0) / nodes
    weight = vlb_weight(bridge, before, t)
    # The first step ends in the data: the weight of its own large variance, as in a model with that output.
    return torch.where(before > 0.0, weight, vlb_weight(bridge, before, t, variance="large"))


_WEIGHTS: dict[str, Callable[[Bridge, Tensor], Tensor]] = {
    "y": lambda bridge, t: torch.ones_like(t, dtype=torch.float64),
    "vlb": _table_vlb,
    "likelihood": likelihood_weight,
    "p2": p2_weight,
    "min-snr": min_snr_weight,
}


def score_matching_loss(
    score: Tensor,
    eps: Tensor,
    *,
    bridge: Bridge,
    t: float | Tensor,
    weight: Literal["variance", "likelihood"] | Callable[[Bridge, Tensor], Tensor] = "variance",
) -> Tensor:
    """Denoising score matching, lambda(t) / 2 ||score + eps / s_t||^2 summed over values and averaged over the batch.

    Vincent 2011; Song and Ermon 2019, equation 5; Song et al. 2021, equation 7. `score` b c h w is that at the sample
    with noise `eps`; lambda is s^2 (`variance`), g^2 (`likelihood`) or a function of (bridge, t). Its minimiser is the
    score of the noised marginal. With s^2 it is half the summed squared error of eps = -s score. ValueError where
    s_t = 0.
    """
    times = t if isinstance(t, Tensor) else torch.full((len(score),), t, dtype=torch.float64)
    s = bridge.coefficients(times)[2]
    if s.device.type == "cpu" and bool((s == 0.0).any()):
        raise ValueError(f"the score of {type(bridge).__name__} is unbounded where s = 0: train at other times")
    scale = s**2 if weight == "variance" else bridge.diffusion(times)[1] if weight == "likelihood" else None
    if scale is None:
        if not callable(weight):
            raise ValueError(f"weight {weight!r} is none of variance, likelihood, or a function of (bridge, t)")
        scale = weight(bridge, times)
    error = score + eps.to(score.dtype) / _column(s, score)
    return 0.5 * (_column(scale, score) * torch.square(error)).flatten(1).sum(1).mean()


def mean_matching_loss(
    noise: Tensor,
    y: Tensor,
    x_state: Tensor,
    z: Tensor,
    *,
    bridge: MeanReverting,
    r: float | Tensor,
    t: float | Tensor,
) -> Tensor:
    """IR-SDE's objective: the mean absolute difference of a reverse Euler step and the exact posterior mean at r.

    Luo et al. 2023, equation 17, and released code. `noise` b c h w is the network's; the step is
    z - theta (x - z) + 2 lambda^2 theta score with score = -noise / s_t and theta = log(a_r / a_t), the rate gathered
    from r to t. It is an L1 on noise with gain 2 lambda^2 theta / s_t and a slightly biased target, which makes that
    step land on the optimum; a network trained so belongs to its own grid.
    """
    times = [value if isinstance(value, Tensor) else torch.tensor(value, dtype=torch.float64) for value in (r, t)]
    (a_r, _, _), (a_t, _, s_t) = (bridge.coefficients(time) for time in times)
    theta = (a_r / a_t).log()
    drift = _column(theta, z) * (x_state.to(z.dtype) - z)
    pull = _column(2.0 * bridge.noise**2 * theta / s_t, z)
    mean, _ = bridge.posterior(z, y, x_state, times[0], times[1])
    return (z - drift - pull * noise.to(z.dtype) - mean).abs().mean()


def corrupted_loss(
    y_hat: Tensor,
    y: Tensor,
    x_state: Tensor | None,
    *,
    bridge: Bridge,
    t: float | Tensor,
    weight: Callable[[Bridge, Tensor], Tensor] | None = None,
) -> Tensor:
    """Soft Score Matching's objective, w(t) ||D_t(y_hat) - D_t(y)||^2, the mean over all values (Daras et al. 2022).

    What D_t destroys has no gradient at that t. `weight` of (bridge, t (b,)) is 1 unless given; 1 / s^2 is denoising
    score matching where D_t is the identity.
    """
    times = t if isinstance(t, Tensor) else torch.full((len(y),), t, dtype=torch.float64)
    error = bridge.mean(y_hat.to(y.dtype), x_state, times) - bridge.mean(y, x_state, times)
    scale = torch.ones_like(times) if weight is None else weight(bridge, times)
    return (_column(scale, error) * torch.square(error)).mean()


def energy_score(
    first: Sample, second: Sample, truth: Sample, *, distance: Callable[[Sample, Sample], Tensor], spread: float = 1.0
) -> Tensor:
    """Energy score of a forecast known by two independent draws: (d(a, y) + d(b, y) - spread d(a, b)) / 2, unbiased.

    Lower is better. With `distance` the power 0 < p < 2 of a Euclidean distance, the length itself for one, its mean is
    least where draws and truth have one law: a spread too small costs as one too large does. With one number and its
    absolute value it is the CRPS. Gneiting and Raftery 2007, doi 10.1198/016214506000001437, equations 20 to 22.
    A `spread` below 1 asks for draws that lie closer together: the best normal forecast of a normal truth then has
    spread^2 / (2 - spread^2) of its variance. `distance` may give a tensor of any shape.
    """
    return 0.5 * (distance(first, truth) + distance(second, truth) - spread * distance(first, second))


def relativistic_loss(better: Tensor, worse: Tensor) -> Tensor:
    """How little `better` leads `worse`, judgements of a critic in pairs: the mean of log(1 + exp(worse - better)).

    The critic lowers it with what is true as `better`, what draws with its own (Jolicoeur-Martineau 2018, arXiv
    1807.00734).
    """
    return torch.nn.functional.softplus(worse - better).mean()


def zero_centred_penalty(judgements: Tensor, at: Tensor) -> Tensor:
    """Squared length of the gradient of a critic's `judgements` (b, 1, h, w) by its input `at` (b, c, h, w), per place.

    On true pictures it is R1, on drawn ones R2; with both, relativistic pairs converge (Huang et al. 2024, arXiv
    2501.05441). `at` must require a gradient.
    """
    (gradient,) = torch.autograd.grad(judgements.sum(), at, create_graph=True)
    return gradient.square().sum(dim=1).mean()


def discretised_log_likelihood(y: Tensor, mean: Tensor, log_std: Tensor) -> Tensor:
    """log of the probability that N(mean, exp(log_std)^2) gives each of the 256 values of y in [-1, 1], in nats.

    Ho et al. 2020, equation 13: bins of 1/255 to either side, the outermost open. Differs from the authors' code in
    that the normal distribution is exact, and nothing is cut at 1e-12: tails are added up as logarithms.
    """
    scale = torch.exp(-log_std)
    upper, lower = (y - mean + 1.0 / 255.0) * scale, (y - mean - 1.0 / 255.0) * scale
    upper = torch.where(y > 0.999, math.inf, upper)
    lower = torch.where(y < -0.999, -math.inf, lower)
    # On the side of the lower tail both probabilities are small, and their logarithms have the digits.
    turned = upper + lower > 0.0
    high, low = torch.where(turned, -lower, upper), torch.where(turned, -upper, lower)
    log_high = torch.special.log_ndtr(high)
    # exp(-inf) of an open end is 0; a finite stand-in keeps its gradient from being inf - inf.
    log_low = torch.special.log_ndtr(low.clamp(min=-1e10))
    return log_high + torch.log1p(-torch.exp((log_low - log_high).clamp(max=-1e-15)))


def variational_term(
    y: Tensor, y_hat: Tensor, log_variance: Tensor, *, bridge: Bridge, r: float | Tensor, t: float | Tensor
) -> Tensor:
    """The term of a step from t to r in the bound on -log p(y), in bits a value, (b,).

    The divergence of the step with the known y from the one with `y_hat` and exp(log_variance) (Ho et al. 2020,
    equation 5), all b c h w; where r = 0 the negative `discretised_log_likelihood` of y in [-1, 1]. r and t are floats
    or float64 tensors (b,).
    """
    r, t = (
        value if isinstance(value, Tensor) else torch.full((len(y),), value, dtype=torch.float64) for value in (r, t)
    )
    known = bridge.variance(r, t)
    gain = (bridge.coefficients(r)[0] - bridge.carry(r, t) * bridge.coefficients(t)[0]) ** 2
    # The two steps start from one state, so their means differ by gain's root times the estimates' difference.
    moved = (_column(known, y) + _column(gain, y) * torch.square(y_hat - y)) * torch.exp(-log_variance)
    logs = _column(known.clamp(min=1e-300).log(), y)
    divergence = 0.5 * (log_variance - logs + moved - 1.0)
    data = -discretised_log_likelihood(y, y_hat, 0.5 * log_variance)
    return torch.where(_column(r, y) == 0.0, data, divergence).flatten(1).mean(1) / math.log(2.0)


def hybrid_loss(
    prediction: Tensor,
    fraction: Tensor,
    y: Tensor,
    x_state: Tensor | None,
    z: Tensor,
    eps: Tensor,
    *,
    bridge: Bridge,
    r: float | Tensor,
    t: float | Tensor,
    kind: Kind = "eps",
    weight: float = 1e-3,
) -> Tensor:
    """L_simple + weight * L_vlb, (b,), for a network that also learns its variance (Nichol and Dhariwal 2021, eq. 16).

    `prediction` and `fraction` b c h w are the halves of its output, `fraction` = (u + 1) / 2 the share of the large
    variance (`prediction.learned_log_variance`). The variational term, in bits a value, sees the estimate without
    gradient, so that it trains the variance alone. `weight` 1e-3 is for 1000 steps; the authors' `rescale` makes it
    T / 1000 times as large.
    """
    wanted = target(y, x_state, z, eps, bridge=bridge, t=t, kind=kind)
    simple = torch.square(prediction.to(wanted.dtype) - wanted).flatten(1).mean(1)
    y_hat = convert(prediction.detach(), z, x_state, bridge=bridge, t=t, kind=kind)
    log_variance = learned_log_variance(fraction, bridge=bridge, r=r, t=t)
    return simple + weight * variational_term(y, y_hat, log_variance, bridge=bridge, r=r, t=t)


@dataclass(frozen=True, eq=False)
class LossHistory:
    """The last losses at every node of a table, for times drawn by importance (Nichol and Dhariwal 2021, eq. 18).

    `losses` nodes k, float64, newest last; `counts` nodes, how many of them there are yet. Nothing changes in place:
    `record` returns the next history, which a checkpoint can hold. `mix`: the share of uniform times.
    """

    losses: Tensor
    counts: Tensor
    mix: float = 0.001

    @classmethod
    def empty(cls, nodes: int, *, size: int = 10, mix: float = 0.001) -> LossHistory:
        """A history of `size` losses a node with none of them seen yet."""
        if nodes < 1 or size < 1 or not 0.0 < mix <= 1.0:
            raise UsageError(f"nodes {nodes} and size {size} must be 1 or more, mix {mix} in (0, 1]")
        return cls(torch.zeros(nodes, size, dtype=torch.float64), torch.zeros(nodes, dtype=torch.long), mix)

    @property
    def is_warm(self) -> bool:
        """Whether every node has all its losses; until then times are uniform."""
        return bool((self.counts == self.losses.shape[1]).all())

    def probabilities(self) -> Tensor:
        """The probability of every node, proportional to the root of the mean squared loss, float64."""
        nodes = len(self.losses)
        uniform = torch.full((nodes,), 1.0 / nodes, dtype=torch.float64)
        size = torch.square(self.losses).mean(1).sqrt()
        if not self.is_warm or not bool(size.sum() > 0.0):
            return uniform
        return (1.0 - self.mix) * size / size.sum() + self.mix * uniform

    def draw(self, u: Tensor) -> tuple[Tensor, Tensor]:
        """Times (b,), nodes of the table, and weights (b,) that keep the mean loss unbiased, from uniform numbers."""
        p = self.probabilities()
        index = torch.searchsorted(p.cumsum(0), u, right=True).clamp(max=len(p) - 1)
        return (index + 1.0).to(torch.float64) / len(p), 1.0 / (len(p) * p[index])

    def record(self, t: Tensor, losses: Tensor) -> LossHistory:
        """The history after the losses (b,), unweighted, at times (b,) that `draw` gave. ValueError for other times."""
        nodes, size = self.losses.shape
        position = t.to("cpu", torch.float64) * nodes
        index = position.round().long() - 1
        if bool(((position - index - 1.0).abs() > 1e-6).any()) or bool((index < 0).any() | (index >= nodes).any()):
            raise ValueError(f"a time is none of the {nodes} nodes of this history: record times that draw gave")
        kept, counts = self.losses.clone(), self.counts.clone()
        for node, loss in zip(index.tolist(), losses.detach().to("cpu", torch.float64).tolist(), strict=True):
            kept[node] = torch.cat([kept[node, 1:], torch.tensor([loss], dtype=torch.float64)])
            counts[node] = min(int(counts[node]) + 1, size)
        return replace(self, losses=kept, counts=counts)


def _nodes(bridge: Bridge, name: str) -> int:
    if bridge.nodes is None:
        raise UsageError(f"{name!r} needs a schedule with a table: use times 'uniform' and weight 'likelihood'")
    return bridge.nodes


def _column(scale: Tensor, like: Tensor) -> Tensor:
    """A scalar, or one a batch item, ready to meet a field, in its type and on its device."""
    shape = (-1, *([1] * (like.dim() - 1))) if scale.dim() else ()
    return scale.to(device=like.device, dtype=like.dtype).reshape(shape)
