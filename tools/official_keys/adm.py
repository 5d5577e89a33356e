"""List the tensors of guided-diffusion's networks: python tools/official_keys/adm.py CHECKOUT

CHECKOUT is a clone of github.com/openai/guided-diffusion. Its definitions are made on the meta device, with the flags
of its README and of DPS's configs/model_config.yaml (ffhq-256); nothing is downloaded.
"""

from __future__ import annotations

import sys

import torch
from writing import write

_LARGE = {"attention_resolutions": "32,16,8", "num_channels": 256, "num_head_channels": 64, "num_res_blocks": 2}
FLAGS = {
    "imagenet-64": {
        **_LARGE, "image_size": 64, "num_channels": 192, "num_res_blocks": 3, "class_cond": True, "dropout": 0.1,
        "use_new_attention_order": True,
    },
    "imagenet-128": {**_LARGE, "image_size": 128, "class_cond": True, "num_heads": 4, "num_head_channels": -1},
    "imagenet-256": {**_LARGE, "image_size": 256, "class_cond": True},
    "imagenet-256-uncond": {**_LARGE, "image_size": 256},
    "imagenet-512": {**_LARGE, "image_size": 512, "class_cond": True},
    "ffhq-256": {
        "image_size": 256, "num_channels": 128, "num_res_blocks": 1, "attention_resolutions": "16", "num_heads": 4,
        "num_head_channels": 64,
    },
}  # fmt: skip


def main(checkout: str) -> None:
    sys.path.insert(0, checkout)
    from guided_diffusion.script_util import create_model  # pyright: ignore[reportMissingImports]

    networks = {}
    for name, flags in FLAGS.items():
        with torch.device("meta"):
            model = create_model(**flags, learn_sigma=True, resblock_updown=True, use_scale_shift_norm=True)
        networks[name] = {key: tuple(tensor.shape) for key, tensor in model.state_dict().items()}
    write("adm", networks)


if __name__ == "__main__":
    main(sys.argv[1])
