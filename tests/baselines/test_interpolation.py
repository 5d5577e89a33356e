"""Nearest, bicubic and Lanczos against other libraries and closed forms."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from torch import Tensor

from mezzotint.baselines.back_projection import BackProjection
from mezzotint.baselines.interpolation import Bicubic, Lanczos, Nearest
from mezzotint.errors import UsageError
from mezzotint.operators.resize import Kernel, imresize, imresize_uint8

ALL: list[Callable[..., Tensor]] = [Nearest(), Bicubic(), Lanczos(), BackProjection()]
EVERY = pytest.mark.parametrize("run", ALL, ids=lambda run: type(run).__name__)


def picture(*shape: int) -> Tensor:
    return torch.rand(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("scale", [2, 3, 4, 8])
def test_nearest_repeats_pixels(scale: int) -> None:
    x = picture(2, 3, 5, 4)
    assert torch.equal(Nearest()(x, scale=scale), x.repeat_interleave(scale, -2).repeat_interleave(scale, -1))


@pytest.mark.parametrize("size", [(7, 9), (13, 21), (5, 4), (3, 2), (50, 33)])
def test_nearest_equals_torch_at_any_size(size: tuple[int, int]) -> None:
    x = picture(1, 2, 5, 8)
    expected = torch.nn.functional.interpolate(x, size=size, mode="nearest-exact")
    assert torch.equal(Nearest()(x, scale=4, size=size), expected)


def test_nearest_takes_the_right_pixel_on_an_edge() -> None:
    x = torch.arange(4.0).reshape(1, 1, 1, 4)
    assert Nearest()(x, scale=1.5)[0, 0, 0].tolist() == [0, 1, 1, 2, 3, 3]


def test_bicubic_is_matlabs() -> None:
    x = picture(1, 3, 6, 7)
    assert torch.equal(Bicubic()(x, scale=4), imresize(x, scale=4))
    assert torch.equal(Bicubic()(x, scale=2.5), imresize(x, scale=2.5))
    assert torch.equal(Bicubic()(x, scale=4, size=(20, 30)), imresize(x, size=(20, 30)))


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_lanczos_equals_pillow_but_for_the_border(scale: int) -> None:
    x = picture(1, 1, 16, 19)
    made = Lanczos()(x, scale=scale)[0, 0].numpy()
    source = Image.fromarray(x[0, 0].float().numpy())
    pillow = np.asarray(source.resize((19 * scale, 16 * scale), Image.Resampling.LANCZOS))
    edge = 3 * scale
    difference = np.abs(made - pillow)
    assert difference[edge:-edge, edge:-edge].max() < 1e-6
    assert difference.max() > 1e-3  # Pillow cuts the kernel at the border, we mirror the picture


def test_lanczos_weights_are_the_closed_form() -> None:
    x = torch.zeros(1, 1, 1, 21, dtype=torch.float64)
    x[..., 10] = 1
    made = Lanczos()(x, scale=4, size=(1, 84))[0, 0, 0]
    for j in range(40, 44):
        centre = (j + 0.5) / 4 - 0.5

        def weight(i: int, centre: float = centre) -> float:
            u = math.pi * (centre - i)
            return 1.0 if u == 0 else math.sin(u) / u * math.sin(u / 3) / (u / 3) if abs(u) < 3 * math.pi else 0.0

        assert float(made[j]) == pytest.approx(weight(10) / sum(weight(i) for i in range(21)), abs=1e-14)


@EVERY
@given(h=st.integers(1, 9), w=st.integers(1, 9), scale=st.sampled_from([1, 1.5, 2, 3, 3.7, 4, 8]))
@settings(max_examples=20, deadline=None)
def test_constants_and_sizes(run: Callable[..., Tensor], h: int, w: int, scale: float) -> None:
    x = torch.full((1, 2, h, w), 0.3, dtype=torch.float64)
    y = run(x, scale=scale)
    assert y.shape == (1, 2, math.ceil(h * scale), math.ceil(w * scale))
    torch.testing.assert_close(y, torch.full_like(y, 0.3), rtol=0, atol=1e-13)


@EVERY
def test_a_size_wins_over_the_scale(run: Callable[..., Tensor]) -> None:
    assert run(picture(1, 1, 5, 7), scale=4, size=(11, 30)).shape == (1, 1, 11, 30)


@EVERY
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_batch_equals_its_pictures_and_the_input_is_kept(run: Callable[..., Tensor], dtype: torch.dtype) -> None:
    x = picture(3, 3, 8, 9).to(dtype)
    before = x.clone()
    y = run(x, scale=4)
    assert y.dtype == dtype and torch.equal(x, before)
    for index in range(3):
        assert torch.equal(run(x[index : index + 1], scale=4)[0], y[index])


@EVERY
def test_mirrored_pictures_give_mirrored_results(run: Callable[..., Tensor]) -> None:
    x = picture(1, 1, 7, 6)
    torch.testing.assert_close(run(x.flip(-1), scale=3).flip(-1), run(x, scale=3), rtol=0, atol=1e-13)
    torch.testing.assert_close(run(x.mT, scale=3).mT, run(x, scale=3), rtol=0, atol=1e-13)


@EVERY
def test_ranges_do_not_matter_and_nothing_is_clipped(run: Callable[..., Tensor]) -> None:
    x = picture(1, 1, 7, 6)
    torch.testing.assert_close(run(x * 510 - 255, scale=4), run(x, scale=4) * 510 - 255, rtol=0, atol=1e-10)
    step = (torch.arange(12) > 5).double().expand(1, 1, 6, 12)
    if not isinstance(run, Nearest):
        y = run(step, scale=4)
        assert float(y.max()) > 1.01 and float(y.min()) < -0.01


@EVERY
@pytest.mark.parametrize("scale", [0, -2, float("nan"), float("inf")])
def test_bad_scales_are_refused(run: Callable[..., Tensor], scale: float) -> None:
    with pytest.raises(UsageError, match=str(scale)):
        run(picture(1, 1, 4, 4), scale=scale)


@EVERY
def test_empty_sizes_are_refused(run: Callable[..., Tensor]) -> None:
    with pytest.raises(UsageError, match="0x8"):
        run(picture(1, 1, 4, 4), scale=4, size=(0, 8))


@pytest.mark.parametrize("run, kernel", [(Bicubic(), "cubic"), (Lanczos(), "lanczos3")])
def test_eight_bits_stay_eight_bits(run: Callable[..., Tensor], kernel: Kernel) -> None:
    x = (picture(1, 3, 9, 7) * 255).to(torch.uint8)
    assert torch.equal(run(x, scale=3), imresize_uint8(x, scale=3, kernel=kernel))
    assert torch.equal(run(x, scale=3, size=(20, 30)), imresize_uint8(x, size=(20, 30), kernel=kernel))
