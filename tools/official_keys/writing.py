"""How lists of official tensors are written: network, key and shape a line, compressed without a time stamp."""

from __future__ import annotations

import csv
import gzip
import io
from collections.abc import Mapping
from pathlib import Path

FOLDER = Path(__file__).resolve().parents[2] / "tests" / "networks" / "official_keys"


def write(name: str, networks: Mapping[str, Mapping[str, tuple[int, ...]]]) -> None:
    """Write the tensors of several networks, in the order of their definition, to `name`.csv.gz of the tests."""
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(("network", "key", "shape"))
    for network, tensors in networks.items():
        for key, shape in tensors.items():
            rows.writerow((network, key, "x".join(map(str, shape))))
    path = FOLDER / f"{name}.csv.gz"
    path.write_bytes(gzip.compress(text.getvalue().encode(), 9, mtime=0))
    print(f"{path.name}: {len(networks)} networks, {path.stat().st_size} bytes")
