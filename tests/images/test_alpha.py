from __future__ import annotations

import torch

from mezzotint.images.alpha import REACH, bleed


def _picture(seed: int, height: int, width: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    colour = torch.rand(1, 3, height, width, generator=generator)
    alpha = (torch.rand(1, 1, height, width, generator=generator) > 0.97).float()
    return colour, alpha


def test_visible_colours_stay_and_hidden_ones_do_not_matter() -> None:
    colour, alpha = _picture(0, 60, 50)
    other = torch.where(alpha > 0, colour, torch.rand(1, 3, 60, 50))
    filled = bleed(colour, alpha)
    assert torch.equal(torch.where(alpha > 0, filled, 0.0), torch.where(alpha > 0, colour, 0.0))
    # Every pixel is near a visible one here, so nothing of the hidden colours is left.
    assert torch.allclose(filled, bleed(other, alpha), atol=1e-6)


def test_a_ring_takes_the_mean_of_its_visible_neighbours() -> None:
    colour, alpha = torch.zeros(1, 1, 5, 5), torch.zeros(1, 1, 5, 5)
    colour[..., 2, 1], colour[..., 2, 3] = 0.2, 0.8
    alpha[..., 2, 1] = alpha[..., 2, 3] = 0.01
    filled = bleed(colour, alpha)[0, 0]
    assert torch.allclose(filled[1:4, 2], torch.full((3,), 0.5))
    assert torch.allclose(filled[1:4, 0], torch.full((3,), 0.2))
    assert torch.allclose(filled[1:4, 4], torch.full((3,), 0.8))


def test_far_away_colours_are_kept_and_pictures_without_an_edge_unchanged() -> None:
    colour = torch.rand(1, 3, 4, 80, generator=torch.Generator().manual_seed(1))
    alpha = torch.zeros(1, 1, 4, 80)
    assert bleed(colour, alpha) is colour and bleed(colour, alpha + 0.5) is colour
    alpha[..., :10] = 1
    filled = bleed(colour, alpha)
    assert torch.equal(filled[..., 10 + REACH :], colour[..., 10 + REACH :])
    assert not torch.allclose(filled[..., 10 : 10 + REACH], colour[..., 10 : 10 + REACH])


def test_a_window_with_its_reach_equals_the_whole() -> None:
    colour, _ = _picture(2, 40, 120)
    alpha = torch.zeros(1, 1, 40, 120)
    alpha[..., 10:14, 50:55] = 1
    alpha[..., 30, 100] = 1
    whole = bleed(colour, alpha)
    left, right = 40 - REACH, 70 + REACH
    part = bleed(colour[..., left:right], alpha[..., left:right])
    assert torch.allclose(part[..., REACH:-REACH], whole[..., 40:70], atol=1e-6)
