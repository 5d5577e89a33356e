"""MATLAB's imresize: files that MATLAB wrote, exact weights, published values, independent libraries."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from skimage import data as skimage_data
from skimage import transform
from torch import Tensor

from mezzotint.errors import UsageError
from mezzotint.operators.resize import Border, Kernel, fold, imresize, imresize_uint8, modcrop, resize_matrix, taps


def read(path: Path) -> Tensor:
    """Read a picture as uint8 c h w."""
    pixels = np.asarray(Image.open(path))
    return (
        torch.from_numpy(pixels.copy()).movedim(-1, 0) if pixels.ndim == 3 else torch.from_numpy(pixels)[None]
    )


def camera() -> Tensor:
    return torch.from_numpy(skimage_data.camera().copy())


def round_half_up(picture: Tensor) -> Tensor:
    return torch.floor(picture + 0.5).clamp(0, 255).to(torch.uint8)


# --- files written by MATLAB


@pytest.mark.parametrize("scale", [2, 3, 4])
@pytest.mark.parametrize("name", ["baby", "bird", "butterfly", "head", "woman"])
def test_uint8_equals_matlab(shared_data: Path, name: str, scale: int) -> None:
    bench = shared_data / "bench"
    y = modcrop(read(bench / "Set5" / f"{name}.png"), multiple=scale)
    x = read(bench / "matlab_lr" / f"Set5_X{scale}" / f"{name}x{scale}.png")
    assert torch.equal(imresize_uint8(y, scale=1 / scale), x)


@pytest.mark.parametrize("name", ["baby", "bird", "butterfly", "head", "woman"])
def test_float_equals_matlab_at_x8(shared_data: Path, name: str) -> None:
    bench = shared_data / "bench"
    y = modcrop(read(bench / "Set5" / f"{name}.png"), multiple=8)
    x = read(bench / "matlab_lr" / "Set5_X8" / f"{name}x8.png")
    assert torch.equal(round_half_up(imresize(y.double(), scale=1 / 8)), x)


def test_float_equals_matlab_on_the_files_of_resshift(shared_data: Path) -> None:
    folder = shared_data / "bench" / "matlab_lr" / "ResShift_x4"
    paths = sorted((folder / "gt").glob("*.png"))
    assert len(paths) == 16
    differing = 0
    for path in paths:
        made = round_half_up(imresize(read(path).double(), scale=1 / 4)).int()
        difference = (made - read(folder / "lq_matlab" / path.name).int()).abs()
        assert difference.max() <= 1
        differing += int((difference > 0).sum())
    assert differing <= 1


# --- exact weights


INTERIOR = {
    2: (4096, [-48, -144, 464, 1776, 1776, 464, -144, -48]),
    3: (81, [-1, -2, 0, 9, 21, 27, 21, 9, 0, -2, -1]),
    4: (8192, [-14, -90, -150, -98, 186, 798, 1490, 1974, 1974, 1490, 798, 186, -98, -150, -90, -14]),
}


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_interior_weights_are_the_exact_fractions(scale: int) -> None:
    denominator, numerators = INTERIOR[scale]
    row = resize_matrix(16 * scale, 16, ratio=1 / scale)[8]
    expected = torch.zeros_like(row)
    start = 8 * scale + (scale - len(numerators)) // 2
    expected[start : start + len(numerators)] = torch.tensor(numerators, dtype=torch.float64) / denominator
    torch.testing.assert_close(row, expected, rtol=0, atol=1e-15)


def test_weights_of_enlarging_four_times() -> None:
    rows = resize_matrix(16, 64, ratio=4)
    zero = [-0.0439453125, 0.3896484375, 0.7275390625, -0.0732421875]
    one = [-0.0068359375, 0.0908203125, 0.9638671875, -0.0478515625]
    expected = {
        32: (6, zero),
        33: (6, one),
        34: (7, one[::-1]),
        35: (7, zero[::-1]),
    }
    for row, (start, weights) in expected.items():
        assert rows[row].nonzero().flatten().tolist() == list(range(start, start + 4))
        assert rows[row, start : start + 4].tolist() == pytest.approx(weights, abs=1e-15)


def test_a_ramp_is_bent_only_at_the_border() -> None:
    ramp = torch.arange(64, dtype=torch.float64)[None, :].expand(8, 64)
    x = imresize(ramp, size=(2, 16))
    assert x[0, :4].tolist() == pytest.approx([1.359863, 5.483887, 9.5, 13.5], abs=1e-6)
    torch.testing.assert_close(x[0, 2:-2], 9.5 + 4 * torch.arange(12, dtype=torch.float64))


@given(
    n=st.integers(1, 24),
    m=st.integers(1, 40),
    kernel=st.sampled_from(["cubic", "lanczos3", "linear", "box"]),
    border=st.sampled_from(["symmetric", "replicate"]),
    antialias=st.booleans(),
)
@settings(max_examples=60, deadline=None)
def test_constants_are_kept_at_every_size(
    n: int, m: int, kernel: Kernel, border: Border, antialias: bool
) -> None:
    matrix = resize_matrix(n, m, ratio=m / n, kernel=kernel, border=border, antialias=antialias)
    torch.testing.assert_close(matrix.sum(1), torch.ones(m, dtype=torch.float64), rtol=0, atol=1e-14)


@pytest.mark.parametrize("scale", [2, 3, 4, 8])
@pytest.mark.parametrize("n", [1, 2, 5, 16])
def test_every_large_pixel_weighs_the_same_so_the_mean_is_kept(n: int, scale: int) -> None:
    columns = resize_matrix(n * scale, n, ratio=1 / scale).sum(0)
    torch.testing.assert_close(columns, torch.full_like(columns, 1 / scale), rtol=0, atol=1e-14)


def test_fold_mirrors_with_the_edge_repeated() -> None:
    positions = torch.arange(-7, 8)
    assert fold(positions, 3).tolist() == [0, 0, 1, 2, 2, 1, 0, 0, 1, 2, 2, 1, 0, 0, 1]
    assert fold(positions, 1).tolist() == [0] * 15
    assert fold(positions, 3, border="replicate").tolist() == [0] * 8 + [1] + [2] * 6


# --- published values


def test_camera_in_float() -> None:
    x = imresize(camera().double(), scale=1 / 4)
    assert x[0, :4].tolist() == pytest.approx([199.58531, 199.28027, 198.74542, 198.40088], abs=1e-5)
    assert x[64, 64:68].tolist() == pytest.approx([8.67623, 6.71994, 6.47468, 6.54999], abs=1e-5)
    assert float(x.mean()) == pytest.approx(float(camera().double().mean()), abs=1e-10)


def test_camera_in_uint8() -> None:
    y = camera()
    x = imresize_uint8(y, scale=1 / 4)
    assert x[64, 64:72].tolist() == [9, 7, 6, 6, 3, 48, 207, 136]
    back = imresize_uint8(x, scale=4)
    error = (back.double() - y.double())[4:-4, 4:-4].square().mean()
    assert float(10 * torch.log10(255**2 / error)) == pytest.approx(26.1666, abs=5e-5)


@pytest.mark.parametrize(
    ("library", "decibels"), [("exact", 64.95), ("plain", 28.05)], ids=["torch antialiased", "torch plain"]
)
def test_distance_to_the_resizing_of_torch(library: str, decibels: float) -> None:
    y = camera().double()
    x = imresize(y, scale=1 / 4)
    other = torch.nn.functional.interpolate(
        y[None, None], size=(128, 128), mode="bicubic", antialias=library == "exact"
    )[0, 0]
    assert float(10 * torch.log10(255**2 / (x - other).square().mean())) == pytest.approx(decibels, abs=0.01)


def test_distance_to_the_resizing_of_pillow_and_scikit_image() -> None:
    """Pillow in 8 bits, and splines after a Gaussian: the specification's figures."""
    y = camera()
    x = imresize(y.double(), scale=1 / 4).numpy()
    pillow = np.asarray(Image.fromarray(y.numpy()).resize((128, 128), Image.Resampling.BICUBIC), dtype=float)
    spline = transform.resize(y.double().numpy(), (128, 128), order=3, anti_aliasing=True, preserve_range=True)
    for other, decibels in ((pillow, 57.1), (spline, 42.5)):
        assert 10 * np.log10(255**2 / np.square(x - other).mean()) == pytest.approx(decibels, abs=0.05)


@pytest.mark.parametrize("shape", [(64, 48), (40, 100)])
@pytest.mark.parametrize("size", [(16, 12), (10, 7), (23, 31)])
def test_interior_equals_pillow(shape: tuple[int, int], size: tuple[int, int]) -> None:
    y = torch.rand(shape, generator=torch.Generator().manual_seed(0))
    pillow = Image.fromarray(y.numpy()).resize(size[::-1], Image.Resampling.BICUBIC)
    inside = (slice(2, -2), slice(2, -2))
    made = imresize(y, size=size)
    torch.testing.assert_close(
        made[inside], torch.from_numpy(np.asarray(pillow).copy())[inside], rtol=0, atol=2e-6
    )


def test_lanczos_enlarging_equals_pillow_in_the_interior() -> None:
    x = torch.rand(20, 17, generator=torch.Generator().manual_seed(0))
    pillow = Image.fromarray(x.numpy()).resize((51, 60), Image.Resampling.LANCZOS)
    inside = (slice(9, -9), slice(9, -9))
    made = imresize(x, size=(60, 51), kernel="lanczos3")
    torch.testing.assert_close(
        made[inside], torch.from_numpy(np.asarray(pillow).copy())[inside], rtol=0, atol=2e-6
    )


# --- sizes, order, gradients, errors


@pytest.mark.parametrize(
    ("n", "scale", "m"),
    [(10, 1 / 3, 4), (9, 1 / 3, 3), (7, 2.5, 18), (100, 0.37, 37), (1, 4, 4), (1, 0.25, 1)],
)
def test_length_is_rounded_up(n: int, scale: float, m: int) -> None:
    assert imresize(torch.rand(n, n), scale=scale).shape == (m, m)
    assert imresize_uint8(torch.zeros(2, n, n, dtype=torch.uint8), scale=scale).shape == (2, m, m)


@pytest.mark.parametrize("scale", [0.3, 0.77, 1.0, 1.5, 3.21])
def test_float_scale_equals_the_product_of_the_two_matrices(scale: float) -> None:
    y = torch.rand(2, 13, 29, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    x = imresize(y, scale=scale)
    rows = resize_matrix(13, x.shape[-2], ratio=scale)
    columns = resize_matrix(29, x.shape[-1], ratio=scale)
    torch.testing.assert_close(x, rows @ y @ columns.T, rtol=0, atol=1e-13)
    if scale == 1.0:
        torch.testing.assert_close(x, y, rtol=0, atol=0)


def test_uint8_takes_the_smaller_ratio_first_and_rows_on_a_tie() -> None:
    y = torch.randint(0, 256, (48, 48), dtype=torch.uint8, generator=torch.Generator().manual_seed(2))

    def one_axis(picture: Tensor, axis: int, m: int) -> Tensor:
        matrix = resize_matrix(picture.shape[axis], m, ratio=m / picture.shape[axis])
        passed = matrix @ picture.double() if axis == 0 else picture.double() @ matrix.T
        return round_half_up(passed)

    rows_first = {
        size: one_axis(one_axis(y, 0, size[0]), 1, size[1]) for size in [(12, 12), (12, 16), (16, 12)]
    }
    columns_first = {size: one_axis(one_axis(y, 1, size[1]), 0, size[0]) for size in rows_first}
    for size, expected in [
        ((12, 12), rows_first),
        ((12, 16), rows_first),
        ((16, 12), columns_first),
    ]:
        assert torch.equal(imresize_uint8(y, size=size), expected[size])
        assert not torch.equal(rows_first[size], columns_first[size])  # the order shows


def test_uint8_rounds_half_up_and_clips() -> None:
    y = torch.tensor([[0, 1], [0, 1]], dtype=torch.uint8)
    assert imresize_uint8(y, size=(1, 1), kernel="box").tolist() == [[1]]  # 0.5
    edge = torch.tensor([[0] * 8 + [255] * 8], dtype=torch.uint8).expand(4, 16).contiguous()
    x = imresize_uint8(edge, scale=4).double()
    overshoot = imresize(edge.double(), scale=4)
    assert overshoot.max() > 260 and overshoot.min() < -5
    assert (x - overshoot.clamp(0, 255)).abs().max() <= 1


@pytest.mark.parametrize("size", [(3, 4), (11, 9)])
def test_gradients(size: tuple[int, int]) -> None:
    y = torch.rand(1, 2, 6, 7, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda v: imresize(v, size=size), (y,))


def test_batches_and_single_pictures_agree_and_inputs_are_kept() -> None:
    y = torch.rand(3, 2, 12, 10, generator=torch.Generator().manual_seed(3))
    before = y.clone()
    whole = imresize(y, scale=0.5)
    assert torch.equal(y, before)
    for picture, x in zip(y, whole, strict=True):
        assert torch.equal(imresize(picture, scale=0.5), x)


def test_errors_say_the_value_and_the_way_out() -> None:
    y = torch.rand(8, 8)
    for scale in (0.0, -1.0, float("nan"), float("inf")):
        with pytest.raises(UsageError, match=str(scale)):
            imresize(y, scale=scale)
    with pytest.raises(UsageError, match="either"):
        imresize(y)
    with pytest.raises(UsageError, match="imresize_uint8"):
        imresize(y.to(torch.uint8), scale=0.5)
    with pytest.raises(UsageError, match="float32"):
        imresize_uint8(y, scale=0.5)
    with pytest.raises(UsageError, match="0x4"):
        imresize(y, size=(0, 4))


def test_modcrop_keeps_the_top_left() -> None:
    y = torch.arange(35).reshape(5, 7)
    assert torch.equal(modcrop(y, multiple=3), y[:3, :6])
    assert torch.equal(modcrop(y, multiple=1), y)


@pytest.mark.parametrize("ratio", [1 / 2, 1 / 3, 1 / 4, 1 / 8, 0.37, 2, 3, 1.7])
@pytest.mark.parametrize("kind", ["noise", "checkers", "ramp"])
def test_uint8_rounds_what_is_summed_tap_by_tap(ratio: float, kind: str) -> None:
    """The quick product decides only where it is sure; checkers and ramps are full of halves."""
    generator = torch.Generator().manual_seed(0)
    y = {
        "noise": torch.randint(0, 256, (2, 64, 81), generator=generator),
        "checkers": (torch.arange(64)[:, None] + torch.arange(81)).remainder(2).expand(2, -1, -1) * 255,
        "ramp": (torch.arange(64)[:, None] * 3 + torch.arange(81)).remainder(256).expand(2, -1, -1),
    }[kind].to(torch.uint8)
    expected = y
    for axis in (-2, -1):
        n = expected.shape[axis]
        weights, indices = taps(n, math.ceil(n * ratio - 1e-9), ratio=ratio)
        v = expected.double().movedim(axis, 0)
        total = torch.zeros(len(weights), *v.shape[1:], dtype=torch.float64)
        for k in range(weights.shape[1]):
            total = torch.addcmul(total, v[indices[:, k]], weights[:, k, None, None])
        expected = round_half_up(total).movedim(0, axis)
    assert torch.equal(imresize_uint8(y, scale=ratio), expected)


def test_a_batch_has_the_values_of_its_pictures_to_the_bit() -> None:
    y = torch.rand(3, 3, 130, 97, generator=torch.Generator().manual_seed(0))
    assert imresize(y[:0], scale=0.5).shape == (0, 3, 65, 49)
    for ratio in (0.25, 0.4, 3, 0.7, 1.3):
        x = imresize(y, scale=ratio)
        for index in range(3):
            assert torch.equal(imresize(y[index : index + 1], scale=ratio), x[index : index + 1])
            assert torch.equal(imresize(y[index, :1], scale=ratio), x[index, :1])
