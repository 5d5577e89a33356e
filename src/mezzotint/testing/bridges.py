"""Conformance of a bridge: the identities that samplers and losses rely on."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import get_args

import torch
from torch import Tensor

from mezzotint.bridges import Bridge, Spacing
from mezzotint.testing.identities import Identities

_TIMES = (0.0, 0.013, 0.1, 0.25, 0.4, 0.61, 0.75, 0.9, 0.987, 1.0)


# How far from a node the finite differences reach, and the tolerance that their rounding asks for.
_REACH = 2e-5
_RATES = 1e-7


def check_bridge(bridge: Bridge, *, times: Sequence[float] | None = None, tolerance: float = 1e-9) -> dict[str, float]:
    """The largest error of every identity that a bridge must hold, by name.

    Checked on all pairs and triples of `times` (rising, from 0 to 1; the nodes for an operator with a table, else ten
    times): the clean end; a falling signal-to-noise ratio; carries inside [0, s_r / s_t], 0 at r = 0, that compose as
    their variances do; the way back from t = 1 for a known clean sample against every marginal; eta-steps and `renoise`
    against the marginals; `q_sample`, `posterior` and `mean` against the coefficients, or against `mean` and its
    linearity where that is an operator; the posterior in the Brownian clock where there is one; derivatives, where
    given, against finite differences (to 1e-7 at least), with `diffusion` and `velocity`; floats against tensors of
    times, float32 in and out, untouched arguments, a missing x_state, `start` and every spacing of `grid`. Raises
    AssertionError naming the identity and the times.
    """
    if times is None:
        nodes = bridge.nodes
        times = [i / nodes for i in range(nodes + 1)] if nodes and not bridge.scalar else _TIMES
    times = tuple(float(t) for t in times)
    if times[0] != 0.0 or times[-1] != 1.0 or any(t <= r for r, t in itertools.pairwise(times)):
        raise ValueError(f"times {times} must rise from 0 to 1")
    record = Identities(type(bridge).__name__, tolerance)
    _check_scalars(bridge, times, record)
    _check_chain(bridge, times, record)
    _check_fields(bridge, times, record)
    _check_clock(bridge, times, record)
    _check_ends(bridge, record)
    rates = Identities(type(bridge).__name__, max(tolerance, _RATES))
    if bridge.scalar and type(bridge).derivatives is not Bridge.derivatives:
        _check_rates(bridge, rates)
    return {**record.errors, **rates.errors}


def _check_scalars(bridge: Bridge, times: tuple[float, ...], record: Identities) -> None:
    for value, wanted in zip(bridge.coefficients(0.0), (1.0, 0.0, 0.0), strict=True):
        record.equal("clean end", value, wanted)
    table = torch.tensor(times, dtype=torch.float64)
    for column, name in enumerate("abs"):
        values = bridge.coefficients(table)[column]
        record.true("tensors of times give float64", values.dtype == torch.float64, at=name)
        for t, value in zip(times, values.tolist(), strict=True):
            record.equal("floats equal tensors", bridge.coefficients(t)[column], value, at=(name, t))
            record.true("a and s are not negative", name == "b" or value >= 0.0, at=(name, t))
    for r, t in itertools.combinations(times, 2):
        (a_r, _, s_r), (a_t, _, s_t) = bridge.coefficients(r), bridge.coefficients(t)
        k, v = bridge.carry(r, t), bridge.variance(r, t)
        record.equal("signal to noise falls", max(a_t * s_r - a_r * s_t, 0.0), 0.0, at=(r, t))
        record.true("carry is not negative", k >= 0.0, at=(r, t))
        record.equal("carry is at most s_r / s_t", max(k * s_t - s_r, 0.0), 0.0, at=(r, t))
        record.equal("posterior variance", v, s_r**2 - k**2 * s_t**2, at=(r, t))
        for eta in (0.0, 0.3, 1.0):
            carried, std = bridge.transition(r, t, eta=eta)
            record.equal("eta keeps the marginal", carried**2 * s_t**2 + std**2, s_r**2, at=(r, t, eta))
        if r == 0.0:
            record.equal("carry to the clean end", k, 0.0, at=t)
    for r, u, t in itertools.combinations(times, 3):
        k_ru, k_ut = bridge.carry(r, u), bridge.carry(u, t)
        record.equal("carries compose", k_ru * k_ut, bridge.carry(r, t), at=(r, u, t))
        composed = bridge.variance(r, u) + k_ru**2 * bridge.variance(u, t)
        record.equal("variances compose", composed, bridge.variance(r, t), at=(r, u, t))


def _check_chain(bridge: Bridge, times: tuple[float, ...], record: Identities) -> None:
    """Walk back from t = 1 with the clean sample known, as mean and variance."""
    y, x = _constant(0.7), _constant(-0.4)
    _, _, s = bridge.coefficients(1.0)
    mean, variance = bridge.mean(y, x, 1.0), s**2
    for r, t in itertools.pairwise(times):
        r, t = 1.0 - t, 1.0 - r
        offset, std = bridge.posterior(_constant(0.0), y, x, r, t)
        gain = (bridge.posterior(_constant(1.0), y, x, r, t)[0] - offset).mean().item()
        mean, variance = offset + gain * mean, gain**2 * variance + float(std) ** 2
        record.equal("backward chain, mean", mean, bridge.mean(y, x, r), at=r)
        record.equal("backward chain, variance", variance, bridge.coefficients(r)[2] ** 2, at=r)


def _check_fields(bridge: Bridge, times: tuple[float, ...], record: Identities) -> None:
    generator = torch.Generator().manual_seed(0)
    shape = (len(times), 2, 3, 5) if bridge.scalar else (len(times), 2, 8, 16)
    y, x, eps = (torch.randn(shape, generator=generator, dtype=torch.float64) for _ in range(3))
    kept = [field.clone() for field in (y, x, eps)]
    batch = torch.tensor(times, dtype=torch.float64)
    z = bridge.q_sample(y, x, batch, eps)
    for item, t in enumerate(times):
        a, b, s = bridge.coefficients(t)
        mean = bridge.mean(y, x, t)
        record.equal("q_sample", z[item], mean[item] + s * eps[item], at=t)
        if bridge.scalar:
            record.equal("mean", mean, a * y + b * x, at=t)
        else:
            other = bridge.mean(eps, x, t)
            record.equal("the operator is linear", bridge.mean(2 * y - 3 * eps, x, t), 2 * mean - 3 * other, at=t)
    record.equal("the mean at the clean end", bridge.mean(y, x, 0.0), y)
    single = bridge.q_sample(y.float(), x.float(), batch, eps.float())
    record.true("float32 stays float32", single.dtype == torch.float32)
    record.true("float32 is close", bool((single - z).abs().max() < 1e-4 * (1.0 + z.abs().max())))
    for r, t in itertools.combinations(times, 2):
        s_r, s_t = bridge.coefficients(r)[2], bridge.coefficients(t)[2]
        before, now = bridge.mean(y, x, r), bridge.mean(y, x, t)
        k = bridge.carry(r, t)
        mean, std = bridge.posterior(now + s_t * eps, y, x, r, t)
        record.equal("posterior mean", mean, before + k * s_t * eps, at=(r, t))
        record.equal("posterior deviation", float(std), bridge.variance(r, t) ** 0.5, at=(r, t))
        zero, one = torch.zeros_like(y), torch.ones_like(y)
        lifted = bridge.renoise(before, x, r, t, zero)
        record.equal("renoise keeps the mean", lifted, now, at=(r, t))
        gain = (bridge.renoise(one, zero, r, t, zero)).mean()
        added = (bridge.renoise(zero, zero, r, t, one)).mean()
        record.equal("renoise keeps the variance", gain**2 * s_r**2 + added**2, s_t**2, at=(r, t))
    for field, copy in zip((y, x, eps), kept, strict=True):
        record.true("arguments stay untouched", torch.equal(field, copy))
    if bridge.needs_x:
        use = (lambda: bridge.mean(y, None, times[-2])) if bridge.scalar else (lambda: bridge.start(None, eps))
        _check_refused(use, record, "a missing x_state is refused")
    else:
        record.equal("x_state may be missing", bridge.mean(y, None, times[-2]), bridge.mean(y, x, times[-2]))


def _check_refused(call: Callable[[], object], record: Identities, identity: str) -> None:
    try:
        call()
    except ValueError:
        record.true(identity, True)
    else:
        record.true(identity, False)


def _check_clock(bridge: Bridge, times: tuple[float, ...], record: Identities) -> None:
    """Given the present, a Brownian path back to y does not care what comes after: one posterior in one clock."""
    try:
        clock = [bridge.brownian_variance(t) for t in times]
    except ValueError:
        return
    record.equal("Brownian clock starts at 0", clock[0], 0.0)
    for (r, f_r), (t, f_t) in itertools.combinations(zip(times, clock, strict=True), 2):
        if f_t > 0.0:
            record.equal("carry in the Brownian clock", bridge.carry(r, t), f_r / f_t, at=(r, t))
            record.equal("variance in the Brownian clock", bridge.variance(r, t), f_r * (1.0 - f_r / f_t), at=(r, t))


def _check_rates(bridge: Bridge, record: Identities) -> None:
    nodes = bridge.nodes
    if nodes and nodes > 1:
        # Between nodes, where a table is smooth.
        times = sorted({(min(int(t * nodes), nodes - 1) + 0.5) / nodes for t in _TIMES})
    else:
        times = list(_TIMES[1:-1])
    table = torch.tensor(times, dtype=torch.float64)
    columns = bridge.derivatives(table)
    generator = torch.Generator().manual_seed(1)
    y, x, z = (torch.randn(3, 1, 2, 2, generator=generator, dtype=torch.float64) for _ in range(3))
    for item, t in enumerate(times):
        values = bridge.coefficients(t)
        a, b, s = values
        steps = [bridge.coefficients(t + i * _REACH) for i in (-2, -1, 1, 2)]
        squares = [(at[0], at[1], at[2] ** 2) for at in steps]
        rates = bridge.derivatives(t)
        for name, column, rate, far, near, after, beyond, size in zip(
            ("a", "b", "s^2"), columns, rates, *squares, (a, b, s**2), strict=True
        ):
            scale = 1.0 + abs(size)
            measured = (8.0 * (after - near) - (beyond - far)) / (12.0 * _REACH)
            record.equal(f"rate of {name}", rate / scale, measured / scale, at=t)
            record.equal("rates of floats equal those of tensors", rate / scale, column[item] / scale, at=t)
        if a > 0.0:
            f, g2 = bridge.diffusion(t)
            scale = 1.0 + s**2
            record.true("diffusion is not negative", g2 >= 0.0, at=t)
            record.equal("drift of z - b x", f * a, rates[0], at=t)
            record.equal("diffusion of z - b x", g2 / scale, (rates[2] - 2.0 * f * s**2) / scale, at=t)
        if s > 0.0:
            noise = (z - a * y - b * x) / s
            wanted = rates[0] * y + rates[1] * x + 0.5 * rates[2] / s * noise
            record.equal("velocity", bridge.velocity(z, y, x, t), wanted, at=t)


def _check_ends(bridge: Bridge, record: Identities) -> None:
    x, eps = _constant(-0.4).float(), _constant(1.3).float()
    start = bridge.start(x, eps)
    record.true("start keeps shape and type", start.shape == eps.shape and start.dtype == eps.dtype)
    record.true("start is a new tensor", start.data_ptr() not in (x.data_ptr(), eps.data_ptr()))
    for steps in (1, 2, 7, 50):
        grid = bridge.grid(steps)
        falls = all(r < t for t, r in itertools.pairwise(grid))
        ends = len(grid) == steps + 1 and grid[0] == 1.0 and grid[-1] == 0.0
        record.true("grid falls from 1 to 0", falls and ends, at=steps)
    for spacing in get_args(Spacing):
        try:
            grid = bridge.grid(3, spacing=spacing)
        except ValueError:
            continue
        falls = all(r < t for t, r in itertools.pairwise(grid))
        record.true("every spacing falls from 1 to 0", falls and (grid[0], grid[-1]) == (1.0, 0.0), at=spacing)


def _constant(value: float) -> Tensor:
    return torch.full((1, 1, 8, 8), value, dtype=torch.float64)
