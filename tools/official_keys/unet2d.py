"""List the tensors of diffusers' UNet2DModel: python tools/official_keys/unet2d.py

Needs `pip install diffusers` (0.42.1 was used). The models are made on the meta device, with the configuration of
google/ddpm-celebahq-256 (that of -church, -bedroom and -cat too), of google/ddpm-cifar10-32, and the class's own
defaults and those of diffusers' training example; nothing is downloaded.
"""

from __future__ import annotations

import torch
from writing import write

_DDPM = {
    "attention_head_dim": None, "downsample_padding": 0, "flip_sin_to_cos": False, "freq_shift": 1, "norm_eps": 1e-6,
}  # fmt: skip
CONFIGS = {
    "ddpm-celebahq-256": {
        **_DDPM,
        "sample_size": 256,
        "block_out_channels": (128, 128, 256, 256, 512, 512),
        "down_block_types": ("DownBlock2D",) * 4 + ("AttnDownBlock2D", "DownBlock2D"),
        "up_block_types": ("UpBlock2D", "AttnUpBlock2D") + ("UpBlock2D",) * 4,
    },
    "ddpm-cifar10-32": {
        **_DDPM,
        "sample_size": 32,
        "block_out_channels": (128, 256, 256, 256),
        "down_block_types": ("DownBlock2D", "AttnDownBlock2D", "DownBlock2D", "DownBlock2D"),
        "up_block_types": ("UpBlock2D", "UpBlock2D", "AttnUpBlock2D", "UpBlock2D"),
    },
    "defaults": {},
    "training-example": {
        "sample_size": 64,
        "block_out_channels": (128, 128, 256, 256, 512, 512),
        "down_block_types": ("DownBlock2D",) * 4 + ("AttnDownBlock2D", "DownBlock2D"),
        "up_block_types": ("UpBlock2D", "AttnUpBlock2D") + ("UpBlock2D",) * 4,
    },
}


def main() -> None:
    from diffusers import UNet2DModel  # pyright: ignore[reportMissingImports]

    networks = {}
    for name, config in CONFIGS.items():
        with torch.device("meta"):
            model = UNet2DModel(**config)
        networks[name] = {key: tuple(tensor.shape) for key, tensor in model.state_dict().items()}
    write("diffusers", networks)


if __name__ == "__main__":
    main()
