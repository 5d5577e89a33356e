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
    config = _configured(case)
    definition = importlib.import_module(f"models.{config.model.name}")
    model = _fill(getattr(definition, _CLASSES[config.model.name])(config))
    if "sigma" in case:
        return model(0.5 * (z + 1.0), torch.full((2,), case["sigma"]))
    return model(z, torch.full((2,), int(cases.TIME)))


def _steps(z: Tensor) -> dict[str, list[float]]:
    """Means and variances of ADM's steps: p_mean_variance of the respaced process, linear, of 1000 nodes."""
    from guided_diffusion.script_util import create_gaussian_diffusion  # pyright: ignore[reportMissingImports]
    from guided_diffusion.unet import UNetModel  # pyright: ignore[reportMissingImports]

    model = _fill(UNetModel(**cases.CASES["adm"]["heads of 16"]["theirs"]))
    outputs = {}
    for respacing, index in cases.STEPS:
        process = create_gaussian_diffusion(learn_sigma=True, timestep_respacing=respacing)
        place = torch.full((2,), process.timestep_map.index(index))
        step = process.p_mean_variance(model, z, place, clip_denoised=True)
        outputs[f"mean {respacing} {index}"] = cases.kept(step["mean"])
        outputs[f"variance {respacing} {index}"] = cases.kept(step["variance"])
    return outputs


def _respacings() -> dict[str, list[int]]:
    from guided_diffusion.respace import space_timesteps  # pyright: ignore[reportMissingImports]

    texts = ("250", "100", "27", "1000", "ddim25", "ddim50", "10,15,20", "1", "3,1,1")
    return {text: sorted(space_timesteps(1000, text)) for text in texts}


def _cosine() -> list[float]:
    from guided_diffusion.gaussian_diffusion import get_named_beta_schedule  # pyright: ignore[reportMissingImports]

    return [float(value) for value in get_named_beta_schedule("cosine", 1000)[::111]]


def _scores(z: Tensor) -> dict[str, list[float]]:
    """Score functions of score-SDE: of pictures in [0, 1] where its processes explode, else in [-1, 1]."""
    from models.utils import get_score_fn  # pyright: ignore[reportMissingImports]

    sde_lib = importlib.import_module("sde_lib")
    outputs = {}
    for name, file in cases.SCORES.items():
        config = _configured({"file": file, "theirs": cases.SCORE})
        definition = importlib.import_module(f"models.{config.model.name}")
        model = _fill(getattr(definition, _CLASSES[config.model.name])(config))
        kind, m = config.training.sde, config.model
        if kind == "vesde":
            sde = sde_lib.VESDE(sigma_min=m.sigma_min, sigma_max=m.sigma_max, N=m.num_scales)
        else:
            process = {"vpsde": sde_lib.VPSDE, "subvpsde": sde_lib.subVPSDE}[kind]
            sde = process(beta_min=m.beta_min, beta_max=m.beta_max, N=m.num_scales)
        score = get_score_fn(sde, model, train=False, continuous=config.training.continuous)
        for time in cases.TIMES:
            where = torch.full((2,), time)
            if not config.training.continuous:
                # The node of that number: theirs are at i / 999, ours at (i + 1) / 1000.
                where = torch.full((2,), (1000 * time - 1) / 999, dtype=torch.float64)
                where = where if kind == "vpsde" else where.float()
            state = 0.5 * (z + 1.0) if kind == "vesde" else z
            outputs[f"{name} {time}"] = cases.kept(score(state, where.float()))
    return outputs


def _configured(case: dict[str, Any]) -> Any:
    config = importlib.import_module("configs." + case["file"].replace("/", ".")).get_config()
    for key, value in case["theirs"].items():
        part, _, name = key.partition(".")
        setattr(getattr(config, part), name, value)
    return config


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
        z = cases.picture().float()
        outputs: dict[str, Any] = {name: cases.kept(_RUN[form](case, z)) for name, case in cases.CASES[form].items()}
        if form == "adm":
            outputs |= {"steps": _steps(z), "respacings": _respacings(), "cosine": _cosine()}
        if form == "score-sde":
            outputs["scores"] = _scores(z)
    (FOLDER / f"{form}.json").write_text(json.dumps(outputs, separators=(",", ":")) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
