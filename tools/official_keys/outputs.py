"""Run the official definitions of small networks: python tools/official_keys/outputs.py FORM [CHECKOUT]

FORM is adm, diffusers or score-sde, CHECKOUT as for the lists of tensors. The weights are formulas
(tests/networks/official_keys/cases.py), the type is float32; outputs are written beside them.
"""

from __future__ import annotations

import importlib
import json
import sys
from typing import Any

import torch
from torch import Tensor, nn
from writing import FOLDER

sys.path.insert(0, str(FOLDER))
import cases  # noqa: E402  # pyright: ignore[reportMissingImports]


def _fill(model: nn.Module) -> nn.Module:
    for name, tensor in model.state_dict().items():
        if name != "sigmas":
            tensor.copy_(cases.weight(name, tuple(tensor.shape)))
    return model.eval()


def _adm(case: dict[str, Any], z: Tensor) -> Tensor:
    from guided_diffusion.unet import UNetModel  # pyright: ignore[reportMissingImports]

    model = UNetModel(**case["theirs"])
    label = {"y": torch.full((2,), case["label"])} if "label" in case else {}
    return _fill(model)(z, torch.full((2,), cases.TIME), **label)


def _diffusers(case: dict[str, Any], z: Tensor) -> Tensor:
    from diffusers import UNet2DModel  # pyright: ignore[reportMissingImports]

    return _fill(UNet2DModel(**case["theirs"]))(z, cases.TIME).sample


def _score_sde(case: dict[str, Any], z: Tensor) -> Tensor:
    config = importlib.import_module("configs." + case["file"].replace("/", ".")).get_config()
    for key, value in case["theirs"].items():
        part, _, name = key.partition(".")
        setattr(getattr(config, part), name, value)
    definition = importlib.import_module(f"models.{config.model.name}")
    model = _fill(getattr(definition, _CLASSES[config.model.name])(config))
    if "sigma" in case:
        return model(0.5 * (z + 1.0), torch.full((2,), case["sigma"]))
    return model(z, torch.full((2,), int(cases.TIME)))


_CLASSES = {"ncsnpp": "NCSNpp", "ddpm": "DDPM"}
_RUN = {"adm": _adm, "diffusers": _diffusers, "score-sde": _score_sde}


def main(form: str, checkout: str | None = None) -> None:
    if checkout is not None:
        sys.path.insert(0, checkout)
    if form == "score-sde":
        # Without a graphics card its filters are plain PyTorch; what is compiled is left out.
        extensions = importlib.import_module("torch.utils.cpp_extension")
        extensions.__dict__["load"] = lambda *_, **__: None
    with torch.no_grad():
        outputs = {
            name: cases.kept(_RUN[form](case, cases.picture().float())) for name, case in cases.CASES[form].items()
        }
    (FOLDER / f"{form}.json").write_text(json.dumps(outputs, indent=1) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
