"""Conformance of the kinds of prediction on a bridge: conversions, inverses and weights."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch

from mezzotint.bridges import Bridge
from mezzotint.prediction import (
    Kind,
    Preconditioning,
    convert,
    express,
    implied_weight,
    target,
    usable_kinds,
)
from mezzotint.testing.identities import Identities

_TIMES = (0.02, 0.1, 0.37, 0.5, 0.81, 0.97)
# How far a prediction is pushed to measure its weight, and how well rounding lets one measure.
_PUSH = 1e-2
_RATIO = 1e-6


def check_prediction(
    bridge: Bridge,
    *,
    kinds: Sequence[Kind | Preconditioning] | None = None,
    times: Sequence[float] = _TIMES,
    tolerance: float = 1e-10,
) -> dict[str, float]:
    """The largest error of every identity between the kinds of prediction on a bridge, by name.

    `kinds`: all that determine the clean sample at a time (`prediction.usable_kinds`) and two preconditionings, unless
    given. Checked at `times` inside (0, 1), in float64 and in units of the fields' size: the target gives the clean
    sample back; an estimate, expressed in the kind and converted, is itself, and so is a prediction the other way
    round; the implied weight is the ratio of the squared errors, to 1e-6; a batch of times equals its items; float32 in
    and out. Raises AssertionError naming the identity, the kind and the time.
    """
    record, weights = Identities(type(bridge).__name__, tolerance), Identities(type(bridge).__name__, _RATIO)
    generator = torch.Generator().manual_seed(0)
    y, x, eps, other = (torch.randn(2, 3, 4, 5, generator=generator, dtype=torch.float64) for _ in range(4))
    if not bridge.scalar:
        y, x, eps, other = (torch.randn(2, 3, 8, 16, generator=generator, dtype=torch.float64) for _ in range(4))
    for t in times:
        z = bridge.q_sample(y, x, t, eps)
        found = usable_kinds(bridge, t)
        record.true("the clean sample itself is a kind", "y" in found, at=t)
        chosen: list[Kind | Preconditioning] = list(kinds if kinds is not None else found)
        if kinds is None and bridge.scalar:
            chosen += [Preconditioning(0.25), Preconditioning(1.0, 1.0, 0.9)]
        for kind in chosen:
            place = (kind, t)
            weight = implied_weight(bridge, t, kind=kind).item()
            if isinstance(kind, Preconditioning) and not math.isfinite(weight):
                continue
            p = target(y, x, z, eps, bridge=bridge, t=t, kind=kind)
            # Errors count in units of what is converted: a prediction of y from much noise loses what the noise hides.
            size = max(1.0, weight**-0.5) * (1.0 + p.abs().max().item())
            given = convert(p, z, x, bridge=bridge, t=t, kind=kind)
            record.equal("the target gives the clean sample", given / size, y / size, at=place)
            p = express(other, z, x, bridge=bridge, t=t, kind=kind)
            again = convert(p, z, x, bridge=bridge, t=t, kind=kind)
            size = max(1.0, weight**-0.5) * (1.0 + p.abs().max().item())
            record.equal("an estimate comes back", again / size, other / size, at=place)
            back = express(again, z, x, bridge=bridge, t=t, kind=kind)
            size = 1.0 + p.abs().max().item()
            scale = max(1.0, weight**0.5)
            record.equal("a prediction comes back", back / size / scale, p / size / scale, at=place)
            pushed = convert(p + _PUSH, z, x, bridge=bridge, t=t, kind=kind) - again
            ratio = pushed.square().mean().item() * weight / _PUSH**2
            weights.equal("implied weight", ratio, 1.0, at=place)
            batch = torch.tensor([t, t], dtype=torch.float64)
            items = convert(p, z, x, bridge=bridge, t=batch, kind=kind)
            record.equal("a batch of times", items / (1.0 + again.abs()), again / (1.0 + again.abs()), at=place)
            single = convert(p.float(), z.float(), x.float(), bridge=bridge, t=t, kind=kind)
            record.true("float32 stays float32", single.dtype == torch.float32, at=place)
    return {**record.errors, **weights.errors}
