"""Small networks in the terms of their authors and in ours, and weights that need no file: formulas of name and index.

tools/official_keys/outputs.py runs the authors' definitions on these; the tests run ours.
"""

from __future__ import annotations

import math
import zlib
from typing import Any

import torch
from torch import Tensor

_ADM = {
    "image_size": 16, "in_channels": 3, "model_channels": 32, "out_channels": 6, "num_res_blocks": 1,
    "attention_resolutions": (2,), "channel_mult": (1, 2), "resblock_updown": True, "use_scale_shift_norm": True,
}  # fmt: skip
_OUR_ADM = {"kind": "adm", "channels": 32, "multipliers": (1, 2), "blocks": 1, "attention": (1,), "head": 16}
_UNET2D = {
    "sample_size": 16, "block_out_channels": (16, 32), "layers_per_block": 1, "norm_num_groups": 8,
    "down_block_types": ("DownBlock2D", "AttnDownBlock2D"), "up_block_types": ("AttnUpBlock2D", "UpBlock2D"),
}  # fmt: skip
_DDPM = {
    "attention_head_dim": None, "downsample_padding": 0, "flip_sin_to_cos": False, "freq_shift": 1, "norm_eps": 1e-6,
}  # fmt: skip
_OUR_UNET2D = {
    "kind": "unet2d", "widths": (16, 32), "blocks": 1, "down_attention": (1,), "up_attention": (1,), "groups": 8,
}  # fmt: skip
_SCORE = {"model.nf": 16, "model.ch_mult": (1, 2), "model.num_res_blocks": 1, "model.attn_resolutions": (8,),
          "data.image_size": 16}  # fmt: skip
_OUR_SCORE = {"kind": "ncsnpp", "channels": 16, "multipliers": (1, 2), "blocks": 1, "attention": (1,)}

CASES: dict[str, dict[str, dict[str, Any]]] = {
    "adm": {
        "heads of 16": {"theirs": {**_ADM, "num_head_channels": 16}, "ours": _OUR_ADM},
        "two heads, class 3": {
            "theirs": {**_ADM, "num_heads": 2, "num_classes": 5}, "ours": {**_OUR_ADM, "heads": 2}, "label": 3,
        },
        "new order": {
            "theirs": {**_ADM, "num_head_channels": 16, "use_new_attention_order": True}, "ours": _OUR_ADM,
            "thirds": True,
        },
        "half a width": {
            "theirs": {**_ADM, "channel_mult": (0.5, 1), "model_channels": 64, "num_head_channels": 16},
            "ours": {**_OUR_ADM, "channels": 64, "multipliers": (0.5, 1)},
        },
    },
    "diffusers": {
        "ddpm": {"theirs": {**_UNET2D, **_DDPM}, "ours": _OUR_UNET2D},
        "defaults": {
            "theirs": _UNET2D,
            "ours": {**_OUR_UNET2D, "head": 8, "closed": False, "cosines_first": True, "around": True, "epsilon": 1e-5},
        },
        "no attention, two blocks": {
            "theirs": {
                **_UNET2D, **_DDPM, "layers_per_block": 2, "add_attention": False, "down_block_types":
                ("DownBlock2D", "DownBlock2D"), "up_block_types": ("UpBlock2D", "UpBlock2D"),
            },
            "ours": {**_OUR_UNET2D, "blocks": 2, "down_attention": (), "up_attention": (), "middle_attention": False},
        },
    },
    "score-sde": {
        "ncsn++": {"file": "ve/cifar10_ncsnpp_continuous", "theirs": _SCORE, "ours": _OUR_SCORE, "sigma": 3.5},
        "ncsn++ of pictures": {
            "file": "ve/church_ncsnpp_continuous", "theirs": _SCORE,
            "ours": {**_OUR_SCORE, "pyramid": False, "skips": True}, "sigma": 3.5,
        },
        "ddpm++": {
            "file": "vp/cifar10_ddpmpp_continuous", "theirs": _SCORE,
            "ours": {**_OUR_SCORE, "pyramid": False, "filtered": False, "told": "time"},
        },
        "ddpm": {
            "file": "vp/ddpm/cifar10", "theirs": {**_SCORE, "model.nf": 32},
            "ours": {**_OUR_UNET2D, "widths": (32, 64), "once": True, "groups": 32},
        },
    },
}  # fmt: skip
"""`theirs`: arguments of the official definition, or changes of its configuration `file`. `label`: the class asked for.
`sigma`: the noise level that the network is told, of pictures in [0, 1]; without it the time 871."""
TIME = 871.0

STEPS = (("", 999), ("", 500), ("", 1), ("ddim25", 480), ("250", 497))
"""Respacing and index of the node of a step of ADM's "heads of 16"."""
TIMES = (0.02, 0.5, 1.0)
"""Times at which the score functions of score-SDE are asked."""
SCORES = {
    "ncsn++": "ve/cifar10_ncsnpp_continuous",
    "ddpm++": "vp/cifar10_ddpmpp_continuous",
    "ddpm++ of sub-VP": "subvp/cifar10_ddpmpp_continuous",
    "ddpm++ at nodes": "vp/cifar10_ddpmpp",
    "ncsn++ at nodes": "ve/cifar10_ncsnpp",
}
"""Configurations whose score functions are asked, with the changes of `CASES`."""
SCORE = _SCORE


def numbers(name: str, count: int) -> Tensor:
    """`count` numbers, spread evenly over [-1, 1], that depend on the name, float64."""
    phase = zlib.crc32(name.encode()) / 2**32
    values = torch.sin(12.9898 * (torch.arange(count, dtype=torch.float64) + 1.0) + 78.233 * phase) * 43758.5453
    return 2.0 * (values - values.floor()) - 1.0


def weight(name: str, shape: tuple[int, ...]) -> Tensor:
    """The tensor of that official name: of unit gain for layers, about 1 for what scales."""
    values = numbers(name, math.prod(shape)).reshape(shape)
    if len(shape) == 1:
        return 3.0 * values if name.endswith(".W") else 0.1 * values + float(name.endswith("weight"))
    return math.sqrt(3.0 * shape[0] / math.prod(shape)) * values


def picture(channels: int = 3, size: int = 16) -> Tensor:
    """A noisy picture 2 c H W in about [-2, 2]."""
    return 2.0 * numbers("picture", 2 * channels * size * size).reshape(2, channels, size, size)


def kept(out: Tensor) -> list[float]:
    """What is compared: every 97th value."""
    return [float(value) for value in out.detach().reshape(-1)[::97]]
