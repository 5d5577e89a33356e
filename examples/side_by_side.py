"""Put a small picture, its bicubic enlargement and the result of Mezzotint beside each other.

    python examples/side_by_side.py small.png large.png sheet.png
"""

from __future__ import annotations

import sys

import torch

from mezzotint import images
from mezzotint.images.sheets import side_by_side
from mezzotint.operators.resize import imresize_uint8


def main(small: str, large: str, sheet: str) -> None:
    x, result = images.read_plain(small).pixels, images.read_plain(large).pixels
    planes = torch.from_numpy(x).permute(2, 0, 1)
    bicubic = imresize_uint8(planes, size=(result.shape[0], result.shape[1])).permute(1, 2, 0).numpy()
    side_by_side([x, bicubic, result], labels=["input, pixels repeated", "bicubic", "mezzotint"], path=sheet)


if __name__ == "__main__":
    main(*sys.argv[1:])
