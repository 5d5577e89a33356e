from __future__ import annotations

import numpy as np
import pytest
import torch

from mezzotint.networks.extension import extend, mirror_edges


@pytest.mark.parametrize(("size", "multiple"), [(7, 4), (13, 8), (5, 4), (2, 8), (3, 16), (8, 4), (1, 4)])
def test_extension_mirrors_at_the_far_edges(size, multiple):
    z = torch.arange(2.0 * 3 * size).reshape(1, 2, 3, size)
    out = extend(z, multiple)
    wanted = np.pad(z.numpy(), ((0, 0), (0, 0), (0, -3 % multiple), (0, -size % multiple)), mode="reflect")
    assert np.array_equal(out.numpy(), wanted)


@pytest.mark.parametrize("size", [(3, 4), (2, 2), (1, 4), (5, 1), (1, 1)])
def test_edges_are_mirrored_and_single_pixels_repeated(size):
    h = torch.arange(2.0 * size[0] * size[1]).reshape(1, 2, *size)
    wanted = h.numpy()
    for axis in (2, 3):
        pad = [(0, 0)] * 4
        pad[axis] = (1, 1)
        wanted = np.pad(wanted, pad, mode="reflect" if h.shape[axis] > 1 else "edge")
    assert np.array_equal(mirror_edges(h).numpy(), wanted)
