"""The bridges by name: what tests, documentation and methods iterate over. A new bridge is one file and one row."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping
from types import MappingProxyType

from mezzotint import schedules
from mezzotint.bridges.bridge import Bridge
from mezzotint.bridges.operators import Animorphosis, Cold, Pixelate, SoftBlur
from mezzotint.bridges.pinned import DDBM, Pinned
from mezzotint.bridges.resshift import ResShift
from mezzotint.bridges.shifted import Shifted
from mezzotint.bridges.straight import Flow, InDI
from mezzotint.bridges.ve import VE
from mezzotint.bridges.vp import VP, MeanReverting, SubVP

NAMED: Mapping[str, Callable[[], Bridge]] = MappingProxyType(
    {
        "ddpm": lambda: VP(schedules.linear(1000)),
        "sr3": lambda: VP(schedules.sr3()),
        "improved-ddpm": lambda: VP(schedules.cosine(1000)),
        "latent-diffusion": lambda: VP(schedules.sqrt_linear(1000, start=0.0015, end=0.0155)),
        "jsd": lambda: VP(schedules.jsd(1000)),
        "vp-sde": lambda: VP(schedules.LinearSDE()),
        "simple-diffusion": lambda: VP(schedules.ShiftedCosine(0.5)),
        "sub-vp-sde": lambda: SubVP(schedules.LinearSDE()),
        "ncsn": lambda: VE(schedules.geometric(10)),
        "ve-sde": lambda: VE(schedules.Geometric()),
        "edm": lambda: VE(schedules.Proportional()),
        "flow-matching": Flow,
        "diffusevae-shifted": lambda: Shifted(VP(schedules.linear(1000))),
        "srdiff": lambda: MeanReverting(schedules.cosine(100), noise=0.5),
        "stochastic-refinement": lambda: MeanReverting(schedules.linear(1000, start=1e-6, end=1e-2)),
        "ir-sde": lambda: MeanReverting.ir_sde(max_sigma=30.0),
        "refusion": MeanReverting.ir_sde,
        "resshift": ResShift,
        "resshift-4": lambda: ResShift(4, min_noise=0.2),
        "i2sb": Pinned.i2sb,
        "ot-ode": lambda: Pinned(0.0),
        "ddbm-ve": lambda: DDBM(VE(schedules.Proportional())),
        "ddbm-vp": lambda: DDBM(VP(schedules.LinearSDE(0.1, 2.1))),
        "goub": lambda: DDBM(MeanReverting.ir_sde()),
        "indi": InDI,
        "indi-brownian": lambda: InDI(0.1, decay=0.5),
        "animorphosis": lambda: Animorphosis(schedules.cosine(200)),
        "cold-diffusion": lambda: Cold(Pixelate(3)),
        "soft-score-matching": SoftBlur,
    }
)


def named(name: str) -> Bridge:
    """The bridge of that name in its published configuration; ValueError with the nearest name for another."""
    if name not in NAMED:
        near = difflib.get_close_matches(name, NAMED, n=1, cutoff=0.0)[0]
        raise ValueError(f"bridge {name!r} is unknown; did you mean {near!r}? All: {', '.join(NAMED)}")
    return NAMED[name]()
