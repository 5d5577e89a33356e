"""What a network predicts, and how it becomes an estimate of the clean sample.

On any scalar bridge z = a y + b x_state + s eps. With n^2 = a^2 + s^2, f the variance that the bridge's
Brownian motion has gathered since the clean end, and g = s' / s, the kinds of prediction are

| kind       | target             | estimate of y                          | error, in units of y's   |
|------------|--------------------|----------------------------------------|--------------------------|
| `y`        | y                  | p                                      | 1                        |
| `eps`      | eps                | (z - b x - s p) / a                    | a^2 / s^2                |
| `v`        | (a eps - s y) / n  | (a (z - b x) - s n p) / n^2            | n^2 / s^2                |
| `score`    | -eps / s           | (z - b x + s^2 p) / a                  | a^2 / s^4                |
| `residual` | x - y              | x - p                                  | 1                        |
| `change`   | y - z              | z + p                                  | 1                        |
| `i2sb`     | (z - y) / sqrt(f)  | z - sqrt(f) p                          | 1 / f                    |
| `flow`     | a' y + b' x + s' eps | (p - b' x - g (z - b x)) / (a' - g a) | (a' - g a)^2            |

where the last column is the squared error of the prediction over that of the estimate. On a bridge without noise
`flow` takes x from the state, (b' z - b p) / (a b' - a' b): z - t p on a straight line, whose weight is 1 / t^2. A
`Preconditioning` is a kind of its own: EDM's and DDBM's.

`eps` and `score` follow Ho et al. 2020 and Song et al. 2021; `v` is Salimans and Ho 2022 (appendix D),
written for any bridge by scaling a and s to unit power; `i2sb` is Liu et al. 2023, equation 12; `flow` is Lipman et al.
2023 and Liu et al. 2023 (rectified flow); `change` is what Soft Score Matching's network adds to its input. Fields are
b c h w; times are floats or float64 tensors (b,), and the results have the fields' type. x_state is needed
where b or the kind asks for it. On a bridge whose mean is an operator only `y`, `residual` and `change` exist.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor

from mezzotint.bridges import Bridge, Time

Kind = Literal["y", "eps", "v", "score", "residual", "change", "i2sb", "flow"]
KINDS: tuple[Kind, ...] = get_args(Kind)


def convert(
    prediction: Tensor,
    z: Tensor,
    x_state: Tensor | None,
    *,
    bridge: Bridge,
    t: float | Tensor,
    kind: Kind | Preconditioning,
) -> Tensor:
    """The estimate of the clean sample from what the network predicted at (z, t), b c h w in z's type.

    ValueError where the kind does not determine the clean sample: `eps` and `score` where a = 0, `v` where
    a = s = 0, `flow` where its rates are unbounded, `i2sb` on a bridge without a Brownian clock; and for an unknown
    kind or a missing x_state.
    """
    p = prediction.to(z.dtype)
    if isinstance(kind, Preconditioning):
        _, skip, out = kind.scales(bridge, t)
        return _field(skip, z) * z + _field(out, z) * p
    _check_kind(kind, bridge)
    if kind == "y":
        return p
    if kind == "change":
        return z + p
    if kind == "residual":
        return _lift(x_state, z, kind) - p
    if kind == "i2sb":
        return z - _field(_brownian(bridge, t).sqrt(), z) * p
    if kind == "flow":
        of_z, of_x, of_p = (_field(scale, z) for scale in _flow(bridge, t))
        y_hat = of_z * z + of_p * p
        return y_hat + of_x * _lift(x_state, z, kind) if bridge.needs_x and _is_noisy(bridge) else y_hat
    a, b, s = _coefficients(bridge, t)
    shifted = z - _field(b, z) * _lift(x_state, z, kind) if bridge.needs_x else z
    if kind == "v":
        power = a**2 + s**2
        _refuse(power == 0.0, bridge, t, kind)
        return _field(a / power, z) * shifted - _field(s / power.sqrt(), z) * p
    _refuse(a == 0.0, bridge, t, kind)
    gain = s if kind == "eps" else -(s**2)
    return _field(1.0 / a, z) * shifted - _field(gain / a, z) * p


def target(
    y: Tensor,
    x_state: Tensor | None,
    z: Tensor,
    eps: Tensor,
    *,
    bridge: Bridge,
    t: float | Tensor,
    kind: Kind | Preconditioning,
) -> Tensor:
    """What a perfect network would predict for z = bridge.q_sample(y, x_state, t, eps), in y's type.

    ValueError where the target is unbounded (`score` where s = 0, `i2sb` at t = 0, `flow` where s' is, a
    preconditioned one where c_out = 0) or does not exist.
    """
    if isinstance(kind, Preconditioning):
        _, skip, out = kind.scales(bridge, t)
        _refuse(out == 0.0, bridge, t, "preconditioned")
        return (y - _field(skip, y) * z.to(y.dtype)) / _field(out, y)
    _check_kind(kind, bridge)
    if kind == "y":
        return y
    if kind == "eps":
        return eps.to(y.dtype)
    if kind == "residual":
        return _lift(x_state, y, kind) - y
    if kind == "change":
        return y - z.to(y.dtype)
    if kind == "i2sb":
        clock = _brownian(bridge, t)
        _refuse(clock == 0.0, bridge, t, kind)
        return (z.to(y.dtype) - y) / _field(clock.sqrt(), y)
    a, _, s = _coefficients(bridge, t)
    if kind == "score":
        _refuse(s == 0.0, bridge, t, kind)
        return -eps.to(y.dtype) / _field(s, y)
    if kind == "flow":
        a_rate, b_rate, s_rate = _rates(bridge, t)
        _refuse(~s_rate.isfinite() | ~b_rate.isfinite(), bridge, t, kind)
        moved = _field(a_rate, y) * y + _field(s_rate, y) * eps.to(y.dtype)
        return moved + _field(b_rate, y) * _lift(x_state, y, kind) if bridge.needs_x else moved
    n = (a**2 + s**2).sqrt()
    _refuse(n == 0.0, bridge, t, kind)
    return _field(a / n, y) * eps.to(y.dtype) - _field(s / n, y) * y


def express(
    y_hat: Tensor,
    z: Tensor,
    x_state: Tensor | None,
    *,
    bridge: Bridge,
    t: float | Tensor,
    kind: Kind | Preconditioning,
) -> Tensor:
    """The prediction of a kind that amounts to an estimate at (z, t): the inverse of `convert`, in z's type.

    ValueError where no or every prediction does (s = 0 for `eps`, `score` and `v`; the targets that `target` refuses).
    """
    y_hat = y_hat.to(z.dtype)
    if kind == "flow" and not _is_noisy(bridge):
        of_z, _, of_p = (_field(scale, z) for scale in _flow(bridge, t))
        _refuse(_flow(bridge, t)[2] == 0.0, bridge, t, "flow")
        return (y_hat - of_z * z) / of_p
    if isinstance(kind, Preconditioning) or kind not in ("eps", "score", "v", "flow"):
        return target(y_hat, x_state, z, z, bridge=bridge, t=t, kind=kind)
    _check_kind(kind, bridge)
    _refuse(_coefficients(bridge, t)[2] == 0.0, bridge, t, kind)
    eps = noise_of(y_hat, z, x_state, bridge=bridge, t=t)
    return target(y_hat, x_state, z, eps, bridge=bridge, t=t, kind=kind)


def usable_kinds(bridge: Bridge, t: float) -> tuple[Kind, ...]:
    """The kinds whose prediction determines the clean sample at t, and is itself determined by it."""
    return tuple(kind for kind in KINDS if _usable(bridge, t, kind))


def _usable(bridge: Bridge, t: float, kind: Kind) -> bool:
    if kind in ("y", "residual", "change"):
        return True
    try:
        weight = float(implied_weight(bridge, t, kind=kind))
    except ValueError:
        return False
    return math.isfinite(weight) and weight > 0.0


def noise_of(y_hat: Tensor, z: Tensor, x_state: Tensor | None, *, bridge: Bridge, t: float | Tensor) -> Tensor:
    """The noise (z - a y_hat - b x_state) / s that an estimate implies; ValueError where s = 0."""
    _, _, s = _coefficients(bridge, t)
    _refuse(s == 0.0, bridge, t, "eps")
    return (z - bridge.mean(y_hat.to(z.dtype), x_state, t)) / _field(s, z)  # pyright: ignore[reportArgumentType]


def implied_weight(bridge: Bridge, t: float | Tensor, *, kind: Kind | Preconditioning) -> Tensor:
    """The weight of ||y_hat - y||^2 that an unweighted squared error of this kind amounts to, float64.

    The last column of the table above; infinite where the target is. To weight a loss of one kind like
    another, multiply by the quotient of their implied weights.
    """
    if isinstance(kind, Preconditioning):
        return 1.0 / kind.scales(bridge, t)[2] ** 2
    _check_kind(kind, bridge)
    if kind == "i2sb":
        return 1.0 / _brownian(bridge, t)
    if kind == "flow":
        return 1.0 / _flow(bridge, t)[2] ** 2
    a, _, s = _coefficients(bridge, t)
    if kind == "eps":
        return a**2 / s**2
    if kind == "score":
        return a**2 / s**4
    if kind == "v":
        return (a**2 + s**2) / s**2
    return torch.ones_like(a)


def min_snr_weight(bridge: Bridge, t: float | Tensor, *, limit: float = 5.0) -> Tensor:
    """min(a^2 / s^2, limit), the weight of a squared error of y, float64 (Hang et al. 2023, min-SNR)."""
    if not limit > 0.0:
        raise ValueError(f"limit {limit} of the signal-to-noise ratio must be positive")
    a, _, s = _coefficients(bridge, t)
    return (a**2 / s**2).clamp(max=limit)


def large_variance(bridge: Bridge, t: Time) -> Time:
    """c2 = s^2 / (a^2 + s^2): the variance of a clean sample of unit variance about its posterior mean.

    Assumed by a step of a VP bridge it gives DDPM's large variance 1 - gamma_t / gamma_r, which SR3's paper
    uses; c2 = 0 gives the small one. The variance is for `mezzotint.samplers.Estimate`.
    """
    a, _, s = bridge.coefficients(t)
    if isinstance(a, float) and a == 0.0:
        # Nothing of y is left in the state, whether or not noise is.
        return 1.0
    return s**2 / (a**2 + s**2)


def learned_variance(fraction: Tensor, *, bridge: Bridge, r: float, t: float) -> Tensor:
    """c2 of a step from t to r whose variance is interpolated by the network (Nichol and Dhariwal 2021, eq.
    15).

    `fraction`: 1 is the large, 0 the small variance of that step, interpolated in the logarithm. The small
    one is floored at 1e-20 as it vanishes at r = 0.
    """
    k, small = bridge.carry(r, t), bridge.variance(r, t)
    gain = (bridge.coefficients(r)[0] - k * bridge.coefficients(t)[0]) ** 2
    if gain == 0.0:
        return torch.zeros_like(fraction)
    floor = max(small, 1e-20)
    large = max(small + gain * large_variance(bridge, t), floor)
    value = floor * torch.exp(fraction * torch.log(torch.tensor(large / floor, dtype=torch.float64, device="cpu")))
    return ((value - small) / gain).clamp(min=0.0).to(fraction.dtype)


def learned_log_variance(fraction: Tensor, *, bridge: Bridge, r: float | Tensor, t: float | Tensor) -> Tensor:
    """log of the variance of a step from t to r, interpolated between the small and the large one, fraction's type.

    Nichol and Dhariwal 2021, equation 15: f log(large) + (1 - f) log(small), f = `fraction` b c h w, (u + 1) / 2 for
    a network's u in [-1, 1]. On VP the large one is the added variance. At r = 0, where the small one vanishes, that of
    the step before it, from 2 t to t, stands in, as in the authors' code. r and t are floats or float64 (b,).
    """
    _check_kind("eps", bridge)
    r, t = _tensor(r), _tensor(t)
    small = bridge.variance(r, t)
    gain = (bridge.coefficients(r)[0] - bridge.carry(r, t) * bridge.coefficients(t)[0]) ** 2
    a, _, s = bridge.coefficients(t)
    large = small + gain * s**2 / (a**2 + s**2)
    # At t = 1, one step in all, there is no step before; half a step is there.
    before = torch.where(t < 1.0, t, 0.5)
    floor = torch.where(r > 0.0, small, torch.minimum(bridge.variance(before, (2.0 * before).clamp(max=1.0)), large))
    low, high = floor.clamp(min=1e-20).log(), large.clamp(min=1e-20).log()
    return _field(low, fraction) + fraction * _field(high - low, fraction)


@dataclass(frozen=True)
class Preconditioning:
    """Scales of a network whose input and target have unit variance on any bridge (Karras et al. 2022,
    table 1; Zhou et al. 2023, DDBM).

    y_hat = c_skip z + c_out F(c_in z, ...), where c_skip makes c_out least. `var_y`, `var_x`: variances of
    y and of x_state; `cov`: their covariance. For super-resolution the covariance is close to var_y, and 0
    is wrong. With b = 0 and var_y = sigma_data^2 this is EDM's; with var_y = var_x = cov = 1 its c_in is ResShift's.
    `var_y` must be that of what is diffused: the square of about 0.05 to 0.15 for residuals, not of EDM's 0.5.
    """

    var_y: float = 1.0
    var_x: float = 1.0
    cov: float = 0.0

    def __post_init__(self) -> None:
        if not (self.var_y > 0.0 and self.var_x >= 0.0 and self.cov**2 <= self.var_y * self.var_x * (1 + 1e-12)):
            raise ValueError(
                f"variances {self.var_y}, {self.var_x} and covariance {self.cov} belong to no two variables"
            )

    def scales(self, bridge: Bridge, t: float | Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(c_in, c_skip, c_out) in float64; 1 / c_out^2 weights the squared error of F like that of y."""
        a, b, s = _coefficients(bridge, t)
        total = a**2 * self.var_y + b**2 * self.var_x + 2.0 * a * b * self.cov + s**2
        lost = b**2 * max(self.var_y * self.var_x - self.cov**2, 0.0) + self.var_y * s**2
        return total.rsqrt(), (a * self.var_y + b * self.cov) / total, (lost / total).sqrt()

    def noise_input(self, bridge: Bridge, t: float | Tensor) -> Tensor:
        """c_noise = log(s / a) / 4, what EDM's networks see of the time, float64; infinite where a or s is 0."""
        return noise_input(bridge, t)


def noise_input(bridge: Bridge, t: float | Tensor) -> Tensor:
    """c_noise = log(s / a) / 4 of Karras et al. 2022, table 1, float64; infinite where a or s is 0."""
    a, _, s = _coefficients(bridge, t)
    return 0.25 * (s.log() - a.log())


def _tensor(t: float | Tensor) -> Tensor:
    return t if isinstance(t, Tensor) else torch.tensor(t, dtype=torch.float64, device="cpu")


def _coefficients(bridge: Bridge, t: float | Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The coefficients as float64 tensors, whether t is a float or a tensor."""
    return bridge.coefficients(_tensor(t))


def _rates(bridge: Bridge, t: float | Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """(a', b', s'); s' = (s^2)' / (2 s) is 0 where there is no noise at all, infinite where s vanishes with it."""
    a_rate, b_rate, v_rate = bridge.derivatives(_tensor(t))
    s = _coefficients(bridge, t)[2]
    if not _is_noisy(bridge):
        return a_rate, b_rate, torch.zeros_like(s)
    return a_rate, b_rate, torch.where(s > 0.0, 0.5 * v_rate / torch.where(s > 0.0, s, 1.0), math.inf)


def _is_noisy(bridge: Bridge) -> bool:
    return bridge.coefficients(0.5)[2] > 0.0


def _flow(bridge: Bridge, t: float | Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """What z, x_state and the velocity count in the estimate of y; x counts nothing on a bridge without noise."""
    a, b, s = _coefficients(bridge, t)
    a_rate, b_rate, s_rate = _rates(bridge, t)
    if not _is_noisy(bridge):
        determinant = a * b_rate - a_rate * b
        _refuse(~(determinant.isfinite() & (determinant != 0.0)), bridge, t, "flow")
        return b_rate / determinant, torch.zeros_like(b), -b / determinant
    # Times s, so that nothing is divided by a small s.
    determinant = s * a_rate - s_rate * a
    _refuse(~(determinant.isfinite() & (determinant != 0.0)), bridge, t, "flow")
    return -s_rate / determinant, (s_rate * b - s * b_rate) / determinant, s / determinant


def _brownian(bridge: Bridge, t: float | Tensor) -> Tensor:
    return bridge.brownian_variance(_tensor(t))


def _field(scalar: Tensor, like: Tensor) -> Tensor:
    """A scalar, or one a batch item, ready to meet a field, in its type and on its device."""
    shape = (-1, *([1] * (like.dim() - 1))) if scalar.dim() else ()
    return scalar.to(device=like.device, dtype=like.dtype).reshape(shape)


def _lift(x_state: Tensor | None, like: Tensor, kind: str) -> Tensor:
    if x_state is None:
        raise ValueError(f"kind {kind!r} needs x_state here, the small picture shaped like the state")
    return x_state.to(like.dtype)


def _refuse(bad: Tensor, bridge: Bridge, t: float | Tensor, kind: str) -> None:
    # Reading a value back from a graphics card would stall training for a check of the caller's own times.
    if bad.device.type == "cpu" and bool(bad.any()):
        time = t if isinstance(t, float) else float(_tensor(t)[bad][0] if _tensor(t).dim() else t)
        # The kind itself is left out, which its own weight would ask again.
        names: tuple[Kind, ...] = ("v", "eps", "i2sb")
        others = [name for name in names if name != kind and _usable(bridge, time, name)]
        raise ValueError(
            f"kind {kind!r} is undefined at {time} of {type(bridge).__name__}: use "
            f"{' or '.join(repr(name) for name in ('y', *others))} there, or other times"
        )


def _check_kind(kind: str, bridge: Bridge) -> None:
    if kind not in KINDS:
        raise ValueError(f"prediction {kind!r} is none of {', '.join(KINDS)}")
    if not bridge.scalar and kind not in ("y", "residual", "change"):
        raise ValueError(
            f"the mean of {type(bridge).__name__} is an operator, which {kind!r} cannot undo: use 'y', 'residual' or "
            "'change'"
        )
