"""List the tensors of score-SDE's networks: python tools/official_keys/score_sde.py CHECKOUT

CHECKOUT is a clone of github.com/yang-song/score_sde_pytorch; needs `pip install ml_collections`. Its definitions are
made on the meta device, with its own configuration files; nothing is downloaded. Its compiled filters are not built,
for they hold no tensors.
"""

from __future__ import annotations

import importlib
import sys
import types
from pathlib import Path

import torch
from writing import write


def main(checkout: str) -> None:
    sys.path.insert(0, checkout)
    compiled = types.ModuleType("op")
    compiled.upfirdn2d = None  # pyright: ignore[reportAttributeAccessIssue]
    sys.modules["op"] = compiled
    definitions = {name: importlib.import_module(f"models.{name}") for name in ("ncsnpp", "ddpm")}
    # The initial values are drawn on a device that is named there.
    layers = importlib.import_module("models.layers")
    layers.__dict__["variance_scaling"] = lambda *_, **__: lambda shape, *_, **__: torch.empty(tuple(shape))
    networks = {}
    for path in sorted(Path(checkout, "configs").rglob("*.py")):
        place = path.relative_to(checkout).with_suffix("")
        if len(place.parts) < 3 or place.parts[2] in ("ncsn", "ncsnv2"):
            continue
        config = importlib.import_module(".".join(place.parts)).get_config()
        if not config.model.conditional:
            continue
        network = getattr(definitions[config.model.name], {"ncsnpp": "NCSNpp", "ddpm": "DDPM"}[config.model.name])
        with torch.device("meta"):
            model = network(config)
        networks["/".join(place.parts[1:])] = {key: tuple(t.shape) for key, t in model.state_dict().items()}
    write("score-sde", networks)


if __name__ == "__main__":
    main(sys.argv[1])
