"""Gaussian bridges: how a picture is corrupted, and the exact way back.

The type is `Bridge`; every forward process of the literature is an instance. `NAMED` lists them by name.
"""

from mezzotint.bridges.bridge import Bridge, Spacing
from mezzotint.bridges.formulas import Time
from mezzotint.bridges.operators import Animorphosis, Cold, Corruption, Pixelate, SoftBlur
from mezzotint.bridges.pinned import DDBM, Pinned
from mezzotint.bridges.resshift import ResShift
from mezzotint.bridges.shifted import Shifted
from mezzotint.bridges.straight import Flow, InDI
from mezzotint.bridges.table import NAMED, named
from mezzotint.bridges.ve import VE
from mezzotint.bridges.vp import VP, MeanReverting, SubVP

__all__ = [
    "DDBM",
    "NAMED",
    "VE",
    "VP",
    "Animorphosis",
    "Bridge",
    "Cold",
    "Corruption",
    "Flow",
    "InDI",
    "MeanReverting",
    "Pinned",
    "Pixelate",
    "ResShift",
    "Shifted",
    "SoftBlur",
    "Spacing",
    "SubVP",
    "Time",
    "named",
]
