from __future__ import annotations

import torch

from mezzotint.conditioning.low_resolution import LowResolution
from mezzotint.operators.resize import imresize


def test_enlarged_picture_comes_before_the_state():
    conditioning = LowResolution()
    x, z = torch.rand(2, 3, 4, 5), torch.randn(2, 3, 17, 20)
    condition = conditioning.prepare(x, size=(17, 20))
    joined = conditioning.join(z, condition)
    assert joined.shape[1] == conditioning.channels(3) == 6
    assert torch.equal(joined[:, :3], imresize(x, size=(17, 20)))
    assert torch.equal(joined[:, 3:], z)


def test_the_state_decides_the_type():
    conditioning = LowResolution()
    z = torch.randn(1, 1, 8, 8, dtype=torch.float64)
    joined = conditioning.join(z, conditioning.prepare(torch.rand(1, 1, 2, 2), size=(8, 8)))
    assert joined.dtype == torch.float64
