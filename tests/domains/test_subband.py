from __future__ import annotations

import numpy as np
import pytest
import pywt
import torch

from mezzotint.domains.subband import SubBand, cell_transform, haar_matrix
from mezzotint.errors import UsageError


@pytest.mark.parametrize("scale", [2, 4, 8])
def test_the_transform_is_orthonormal(scale: int) -> None:
    matrix = cell_transform(scale).flatten(1)
    assert torch.allclose(matrix @ matrix.T, torch.eye(3 * scale**2, dtype=torch.float64), atol=1e-12)


@pytest.mark.parametrize("n", [2, 4, 8])
def test_haar_equals_pywavelets(n: int) -> None:
    signal = np.random.default_rng(0).normal(size=n)
    expected = np.concatenate(pywt.wavedec(signal, "haar", mode="periodization"))
    assert np.allclose(haar_matrix(n).numpy() @ signal, expected, atol=1e-12)


def test_round_trip_and_unit_scaling() -> None:
    domain = SubBand(4)
    deviations = torch.rand(48, dtype=torch.float64) + 0.1
    residual = torch.randn(2, 3, 8, 12, dtype=torch.float64)
    z = domain.encode(residual, deviations)
    assert z.shape == (2, 48, 2, 3)
    assert torch.allclose(domain.decode(z, deviations), residual, atol=1e-12)
    assert torch.allclose((z * deviations[:, None, None]).square().sum(), residual.square().sum())


def test_a_grey_residual_lives_in_the_first_colour() -> None:
    grey = torch.randn(1, 1, 4, 4).expand(1, 3, 4, 4)
    z = SubBand(4).encode(grey, torch.ones(48))
    assert z[:, 16:].abs().max() < 1e-6 < z[:, :16].abs().max()


def test_sizes_that_do_not_divide_are_refused() -> None:
    with pytest.raises(UsageError, match="cells of 4"):
        SubBand(4).encode(torch.zeros(1, 3, 6, 8), torch.ones(48))
    with pytest.raises(UsageError, match="power of two"):
        haar_matrix(3)


def test_cells_are_pixels_regrouped() -> None:
    picture = torch.rand(2, 3, 8, 12, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    domain, ones = SubBand(4, "cells"), torch.ones(48, dtype=torch.float64)
    assert torch.equal(domain.encode(picture, ones), torch.nn.functional.pixel_unshuffle(picture, 4))
    assert torch.equal(domain.decode(domain.encode(picture, ones), ones), picture)
