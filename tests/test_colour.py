from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from mezzotint.colour import REACH, Moments, low, match_low_frequencies, match_moments, moved


def picture(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def bands(y: Tensor) -> tuple[Tensor, Tensor]:
    """The five bands added up, and what is left, from 3x3 convolutions as the transform is written down."""
    kernel = torch.tensor([1.0, 2.0, 1.0], dtype=torch.float64)
    kernel = (torch.outer(kernel, kernel) / 16).expand(y.shape[1], 1, 3, 3)
    high = torch.zeros_like(y)
    for level in range(5):
        step = 2**level
        blurred = F.conv2d(F.pad(y, (step,) * 4, mode="replicate"), kernel, groups=y.shape[1], dilation=step)
        high, y = high + y - blurred, blurred
    return high, y


# -- wavelets ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [(1, 1), (1, 9), (7, 5), (40, 33), (80, 70)])
def test_the_transform_is_the_written_one_and_adds_up(size):
    y = picture(2, 3, *size)
    high, left = bands(y)
    assert (low(y) - left).abs().max() < 1e-15
    assert (high + left - y).abs().max() < 1e-15
    other = picture(2, 3, *size, seed=1)
    assert (match_low_frequencies(y, other) - (high + bands(other)[1])).abs().max() < 1e-15
    assert torch.equal(match_low_frequencies(y, y), y)


def test_the_impulse_has_the_figures_of_the_sheet():
    """Reach 31 pixels, sum 1, centre 9.765625e-4, variance along an axis 170.5."""
    impulse = torch.zeros(1, 1, 81, 81, dtype=torch.float64)
    impulse[..., 40, 40] = 1.0
    answer = low(impulse)[0, 0]
    rows = answer.sum(dim=1)
    place = torch.arange(81, dtype=torch.float64) - 40
    assert REACH == 31 and int((rows > 0).sum()) == 63 and rows[40 - REACH] > 0 and rows[40 - REACH - 1] == 0
    assert answer.sum().item() == pytest.approx(1.0, abs=1e-14)
    assert answer[40, 40].item() == 9.765625e-4
    assert (rows * place**2).sum().item() == pytest.approx(170.5, abs=1e-10)


def test_an_offset_is_removed_exactly_and_detail_stays():
    reference, detail = picture(1, 3, 40, 50), picture(1, 3, 40, 50, seed=3) - 0.5
    y = reference + detail - low(detail)
    cast = torch.tensor([0.1, -0.05, 0.3], dtype=torch.float64).reshape(1, 3, 1, 1)
    plain, corrected = match_low_frequencies(y, reference), match_low_frequencies(y + cast, reference)
    assert (plain - corrected).abs().max() < 1e-15
    assert ((corrected - corrected.mean()) - (y - y.mean())).abs().max() < 0.05


# -- moments ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_moments_are_those_of_the_reference(channels):
    y, reference = picture(2, channels, 20, 30), 0.3 + 0.4 * picture(2, channels, 10, 15, seed=1)
    out = match_moments(y, reference)
    assert (out.mean(dim=(2, 3)) - reference.mean(dim=(2, 3))).abs().max() < 1e-14
    # Of deviations of 0.1 and more the 1e-5 in both variances is less than a thousandth.
    assert (out.std(dim=(2, 3)) / reference.std(dim=(2, 3)) - 1).abs().max() < 1e-3
    assert (match_moments(y, y) - y).abs().max() < 1e-15


def test_the_formula_is_the_authors():
    y, reference = picture(1, 3, 9, 8), picture(1, 3, 9, 8, seed=1)

    def statistics(x: Tensor) -> tuple[Tensor, Tensor]:
        flat = x.flatten(2)
        return flat.mean(dim=2)[..., None, None], (flat.var(dim=2) + 1e-5).sqrt()[..., None, None]

    (mean, std), (wanted_mean, wanted_std) = statistics(y), statistics(reference)
    expected = (y - mean) / std * wanted_std + wanted_mean
    assert (match_moments(y, reference) - expected).abs().max() < 1e-14


def test_casts_of_a_channel_are_undone():
    """Any offset and gain of a channel of y leaves the result as it is, up to the 1e-5."""
    y, reference = picture(1, 3, 30, 30), picture(1, 3, 30, 30, seed=1)
    gain = torch.tensor([1.3, 0.8, 1.0], dtype=torch.float64).reshape(1, 3, 1, 1)
    offset = torch.tensor([0.1, 0.0, -0.2], dtype=torch.float64).reshape(1, 3, 1, 1)
    assert (match_moments(y, reference) - match_moments(gain * y + offset, reference)).abs().max() < 1e-4
    shifted = match_moments(y + offset, reference)
    assert (shifted - match_moments(y, reference)).abs().max() < 1e-14


def test_flat_and_single_pixels():
    flat = torch.full((1, 3, 4, 4), 0.5, dtype=torch.float64)
    out = match_moments(flat, torch.full_like(flat, 0.25))
    assert torch.allclose(out, torch.full_like(flat, 0.25), atol=1e-15)
    assert torch.allclose(match_moments(flat[..., :1, :1], flat + 0.1), flat[..., :1, :1] + 0.1, atol=1e-15)


@settings(max_examples=30, deadline=None)
@given(cuts=st.lists(st.integers(1, 22), max_size=5), seed=st.integers(0, 99))
def test_moments_of_parts_add_up(cuts: list[int], seed: int):
    y = picture(2, 3, 23, 4, seed=seed) + 100.0
    edges = [0, *sorted(set(cuts)), 23]
    parts = [Moments.of(y[..., a:b, :]) for a, b in zip(edges, edges[1:], strict=False)]
    total = sum(parts[1:], parts[0])
    assert total.count == 92 and (total.mean[..., 0, 0] - y.mean(dim=(2, 3))).abs().max() < 1e-12
    assert (total.std[..., 0, 0] ** 2 - 1e-5 - y.var(dim=(2, 3))).abs().max() < 1e-12
    reference = Moments.of(picture(2, 3, 5, 5))
    assert torch.equal(moved(y, total, reference)[..., :7, :], moved(y[..., :7, :], total, reference))


def test_the_type_is_kept_and_other_shapes_are_refused():
    y = picture(1, 3, 8, 8).float()
    assert match_moments(y, y.double()).dtype == match_low_frequencies(y, y).dtype == torch.float32
    with pytest.raises(ValueError, match="reference .* of other channels"):
        match_moments(y, y[:, :1])
    with pytest.raises(ValueError, match="enlarge it first"):
        match_low_frequencies(y, y[..., :4, :4])
