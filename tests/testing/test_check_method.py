from __future__ import annotations

import pytest
import torch

from mezzotint import methods
from mezzotint.noise import Noise
from mezzotint.testing import check_method


@pytest.mark.parametrize("card", [c for c in methods.cards() if "check_method" in c.checks], ids=lambda card: card.name)
def test_every_method_that_claims_it_passes(card) -> None:
    torch.manual_seed(0)
    # A random last layer: the zeros that training starts from would let a wrong conditioning pass.
    scale = 4 if 4 in card.scales else card.scales[0]
    method = methods.build(card.name, scale=scale, preset="small")
    for parameter in method.parameters():
        parameter.data = parameter.data + 0.02 * torch.randn_like(parameter)
    errors = check_method(method, scale=scale, deterministic=card.deterministic)
    assert "saved and loaded" in errors


def test_a_method_that_mixes_its_batch_fails() -> None:
    method = methods.build("mezzotint-x4", scale=4, preset="small")
    plain = method.sample

    def mixed(x: torch.Tensor, *, steps: int, noise: Noise) -> torch.Tensor:
        y = plain(x, steps=steps, noise=noise)
        return y + 0.1 * y.mean(dim=0, keepdim=True)

    method.sample = mixed
    with pytest.raises(AssertionError, match="batch equals"):
        check_method(method)
