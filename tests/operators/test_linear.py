"""Every operator against dense matrices, the equations of Penrose and its own singular vectors: one table of all."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from mezzotint.errors import UsageError
from mezzotint.operators.bicubic import BicubicDown
from mezzotint.operators.blur import Blur, CircularBlur, hartley
from mezzotint.operators.composed import Chain, Stack, chain
from mezzotint.operators.diagonal import LUMINANCE, Average, Grey, Identity, Mask
from mezzotint.operators.iterative import least_squares
from mezzotint.operators.kernels import GaussianKernel, GivenKernel, PlateauKernel
from mezzotint.operators.linear import CUTOFF, LinearOperator
from mezzotint.operators.resize import BORDERS, Border, imresize
from mezzotint.operators.separable import Separable, average, gaussian, matrix, resize
from mezzotint.testing import check_operator

SLANTED = GaussianKernel(size=7, sigmas=(1.1, 0.5), angle=0.6)
LOPSIDED = GivenKernel(((0.0, 0.1, 0.0), (0.0, 1.0, 0.7), (0.2, 0.3, 0.0)))


def up(n: int, scale: int) -> int:
    """The next multiple of the scale."""
    return -(-n // scale) * scale


def holes(height: int, width: int) -> Mask:
    values = torch.rand(height, width, generator=torch.Generator().manual_seed(3)) > 0.4
    values[0, 0] = True
    return Mask(values)


def burst(height: int, width: int) -> Stack:
    shifts = ((-0.5, -0.5), (-0.5, 0.5), (0.5, -0.5), (0.5, 0.5), (0.25, 0.0))
    return Stack(tuple(gaussian(height=height, width=width, scale=2, sigma=0.5, shift=s) for s in shifts))


ANY_SIZE: dict[str, Callable[[int, int], LinearOperator]] = {
    "bicubic 4/3": lambda h, w: resize(height=h, width=w, scale=4 / 3),
    "bicubic 2.5": lambda h, w: resize(height=h, width=w, scale=2.5),
    "bicubic 4": lambda h, w: resize(height=h, width=w, scale=4),
    "bicubic 1/2": lambda h, w: resize(height=h, width=w, scale=0.5),
    "lanczos 3": lambda h, w: resize(height=h, width=w, scale=3, kernel="lanczos3"),
    "lanczos 1.7 reflect": lambda h, w: resize(height=h, width=w, scale=1.7, kernel="lanczos3", border="reflect"),
    "average 3": lambda h, w: average(height=h, width=w, scale=3),
    "gaussian 2": lambda h, w: gaussian(height=h, width=w, scale=2, sigma=0.9),
    "gaussian 3 reflect": lambda h, w: gaussian(height=h, width=w, scale=3, sigma=1.2, border="reflect"),
    "gaussian 4 circular": lambda h, w: gaussian(height=h, width=w, scale=4, sigma=1.6, border="circular"),
    "gaussian 1 shifted": lambda h, w: gaussian(height=h, width=w, scale=1, sigma=0.5, shift=(0.3, -0.2)),
    "slanted 2 torus": lambda h, w: CircularBlur(kernel=SLANTED, height=up(h, 2), width=up(w, 2), scale=2),
    "lopsided 3 torus": lambda h, w: CircularBlur(kernel=LOPSIDED, height=up(h, 3), width=up(w, 3), scale=3),
    "slanted 2 reflect": lambda h, w: Blur(kernel=SLANTED, height=h, width=w, scale=2),
    "lopsided 3 symmetric": lambda h, w: Blur(kernel=LOPSIDED, height=h, width=w, scale=3, border="symmetric"),
    "mask": holes,
    "stride 2": lambda h, w: Mask.of_stride(height=h, width=w, scale=2, phase=(0, 0)),
    "grey": lambda h, w: Grey(height=h, width=w),
    "identity": lambda h, w: Identity(height=h, width=w),
    "bicubic down": lambda h, w: BicubicDown(scale=4, height=up(h, 4), width=up(w, 4)),
    "average exact": lambda h, w: Average(scale=3, height=up(h, 3), width=up(w, 3)),
    "blur then bicubic": lambda h, w: chain(
        gaussian(height=h, width=w, scale=1, sigma=0.6), resize(height=h, width=w, scale=2)
    ),
    "grey of bicubic": lambda h, w: chain(resize(height=h, width=w, scale=2), grey_of(h, w)),
    "holes then average": lambda h, w: Chain(
        holes(up(h, 2), up(w, 2)), Average(scale=2, height=up(h, 2), width=up(w, 2))
    ),
    "average then holes": lambda h, w: Chain(
        Average(scale=2, height=up(h, 2), width=up(w, 2)), holes(up(h, 2) // 2, up(w, 2) // 2)
    ),
    "burst": burst,
}  # fmt: skip
# These do not see some of the small pictures: holes, and small pictures larger than the large one.
DEFICIENT = {"mask", "stride 2", "holes then average", "average then holes", "bicubic 1/2", "burst"}
NAMES = tuple(ANY_SIZE)
ITERATED = {"burst", "slanted 2 reflect", "lopsided 3 symmetric", "holes then average"}
F32, F64 = torch.float32, torch.float64
TOLERANCE = {F64: 2e-9, F32: 2e-4}

Build = Callable[[int, int, float, Border], LinearOperator]
BORDERED: dict[str, tuple[tuple[float, ...], Build]] = {
    "bicubic": ((4 / 3, 2, 3, 4), lambda h, w, s, b: resize(height=h, width=w, scale=s, border=b)),
    "lanczos": (
        (1.5, 2, 3, 4), lambda h, w, s, b: resize(height=h, width=w, scale=s, kernel="lanczos3", border=b)
    ),
    "gaussian": (
        (1, 2, 3, 4), lambda h, w, s, b: gaussian(height=h, width=w, scale=int(s), sigma=0.3 + 0.4 * s, border=b)
    ),
    "slanted": (
        (2, 3), lambda h, w, s, b: Blur(kernel=SLANTED, height=h, width=w, scale=int(s), border=b)
    ),
}  # fmt: skip


def channels_of(name: str) -> int:
    """Those that the operator needs: more would only cost time."""
    return 3 if "grey" in name else 2 if name == "mask" else 1


def grey_of(height: int, width: int) -> Grey:
    return Grey(height=-(-height // 2), width=-(-width // 2))


def dense(operator: LinearOperator, channels: int) -> Tensor:
    """The matrix of A, its columns the images of single pixels."""
    shape = (channels, *operator.shape_in)
    basis = torch.eye(math.prod(shape), dtype=torch.float64).reshape(-1, *shape)
    return operator.A(basis).flatten(1).T


def normal(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(*shape, dtype=dtype, generator=torch.Generator().manual_seed(seed))


def is_deficient(name: str, operator: LinearOperator) -> bool:
    # A picture of few pixels folds onto itself: the rank may fall below the number of small pixels.
    return name in DEFICIENT or min(operator.shape_in) < 12


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("size", [(13, 12), (12, 14), (15, 13)])
def test_passes_every_check(name: str, size: tuple[int, int]) -> None:
    """Odd and even sides; where a size is no multiple of the scale and the operator needs one, the next multiple."""
    operator = ANY_SIZE[name](*size)
    errors = check_operator(
        operator, channels=channels_of(name), full_rank=not is_deficient(name, operator), tolerance=TOLERANCE[F64]
    )
    assert ("U sv V^T = A" in errors) == operator.has_svd


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("size", [(12, 14), (15, 13)])
def test_passes_every_check_in_float32(name: str, size: tuple[int, int]) -> None:
    check_operator(
        ANY_SIZE[name](*size), channels=channels_of(name), full_rank=False, tolerance=TOLERANCE[F32], dtype=F32
    )


@pytest.mark.parametrize("dtype", [F64, F32])
@pytest.mark.parametrize("border", BORDERS)
@pytest.mark.parametrize("kind", list(BORDERED))
def test_passes_every_check_at_every_border_and_scale(kind: str, border: Border, dtype: torch.dtype) -> None:
    scales, build = BORDERED[kind]
    for scale in scales:
        operator = build(16, 13, scale, border)
        assert operator.shape_out == (math.ceil(16 / scale), math.ceil(13 / scale))
        check_operator(operator, channels=1, full_rank=False, tolerance=TOLERANCE[dtype], dtype=dtype)


@pytest.mark.parametrize("name", NAMES)
def test_any_size_passes(name: str) -> None:
    """A few sizes of 1 to 70 pixels a side for every operator, in one type or the other."""

    @given(height=st.integers(1, 70), width=st.integers(1, 70), dtype=st.sampled_from([F64, F32]))
    @settings(max_examples=1 if name in ITERATED else 6, deadline=None)
    def holds(height: int, width: int, dtype: torch.dtype) -> None:
        operator = ANY_SIZE[name](height, width)
        # Small singular values of some sizes are far from the largest, and their part of A^+ x is as inexact.
        tolerance = 2e-6 if dtype == F64 else 5e-3
        check_operator(operator, channels=channels_of(name), full_rank=False, tolerance=tolerance, dtype=dtype)

    holds()


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("size", [(1, 1), (5, 2), (7, 8)])
def test_equals_dense_matrices(name: str, size: tuple[int, int]) -> None:
    operator = ANY_SIZE[name](*size)
    channels = 3 if "grey" in name else 1
    a = dense(operator, channels)
    x = normal(1, operator.channels_out(channels), *operator.shape_out, seed=1)
    y = normal(1, channels, *operator.shape_in, seed=2)
    flat = x.flatten()
    assert float((operator.A(y).flatten() - a @ y.flatten()).abs().max()) < 1e-12
    assert float((operator.At(x).flatten() - a.T @ flat).abs().max()) < 1e-12
    inverse = torch.linalg.pinv(a, rtol=CUTOFF)
    torch.testing.assert_close(operator.pinv(x).flatten(), inverse @ flat, rtol=1e-7, atol=1e-7)
    square = a @ a.T + 0.3 * torch.eye(len(a), dtype=torch.float64)
    torch.testing.assert_close(operator.solve(x, rho=0.3).flatten(), torch.linalg.solve(square, flat))
    largest = torch.linalg.svdvals(a)
    assert operator.norm >= float(largest[0]) * (1 - 1e-12)
    if operator.has_svd:
        sv = operator.svd().sv
        assert operator.norm == pytest.approx(float(largest[0]), rel=1e-12)
        count = max(1, channels // (3 if "grey" in name else 1))
        found = sv.expand(count, *sv.shape[1:]).flatten().sort(descending=True).values
        kept = found[found > 0]
        torch.testing.assert_close(kept, largest[: len(kept)], rtol=1e-6, atol=1e-9)
        assert bool((largest[len(kept) :] <= 2 * CUTOFF * largest[0]).all())


@pytest.mark.parametrize("name", NAMES)
def test_halves_come_back_as_halves(name: str) -> None:
    operator = ANY_SIZE[name](12, 12)
    y = normal(1, 3, *operator.shape_in)
    half = operator.A(y.half())
    assert half.dtype == torch.float16
    torch.testing.assert_close(half.double(), operator.A(y), rtol=5e-3, atol=5e-3)


@pytest.mark.parametrize("name", NAMES)
def test_devices_are_those_of_the_pictures(name: str) -> None:
    """On a device of no values, where a tensor from elsewhere would be refused."""
    operator = ANY_SIZE[name](12, 14)
    y = torch.empty(1, 3, *operator.shape_in, device="meta")
    x = operator.A(y)
    made = [x, operator.At(x)]
    if operator.has_svd:  # iterations look at values
        svd = operator.svd()
        made += [operator.pinv(x), operator.solve(x, rho=0.1), svd.V(svd.Vt(y)), svd.U(svd.Ut(x))]
    assert {v.device.type for v in made} == {"meta"}


# --- closed forms and other ways to compute the same


@pytest.mark.parametrize(("scale", "low", "high"), [(2, 0.486, 0.707), (4, 0.349, 0.500), (8, 0.247, 0.354)])
def test_singular_values_of_bicubic(scale: int, low: float, high: float) -> None:
    """The specification's figures at 256 pixels: 1-D values, well conditioned at every scale."""
    operator = resize(height=256, width=256, scale=scale)
    sv = torch.linalg.svdvals(matrix(operator.rows))
    assert float(sv.min()) == pytest.approx(low, abs=5e-4) and float(sv.max()) == pytest.approx(high, abs=5e-4)
    assert operator.norm == pytest.approx(1 / scale, rel=1e-12)
    squares = BicubicDown(scale=scale, height=256, width=256).svd().sv.square()
    assert float(squares.max() / squares.min()) == pytest.approx((high / low) ** 4, rel=0.01)


@pytest.mark.parametrize(("sigma", "low"), [(1.6, 0.32), (3.0, 0.044)])
def test_singular_values_of_gaussian_reduction(sigma: float, low: float) -> None:
    operator = gaussian(height=256, width=256, scale=4, sigma=sigma)
    sv = torch.linalg.svdvals(matrix(operator.rows))
    assert float(sv.max()) == pytest.approx(0.5, abs=5e-3)
    assert float(sv.min()) == pytest.approx(low, rel=0.02)


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_resize_is_imresize_and_bicubic_down(scale: int) -> None:
    y = normal(2, 3, 12 * scale, 9 * scale)
    operator = resize(height=12 * scale, width=9 * scale, scale=scale)
    fast = BicubicDown(scale=scale, height=12 * scale, width=9 * scale)
    x = operator.A(y)
    torch.testing.assert_close(x, imresize(y, scale=1 / scale), rtol=0, atol=1e-13)
    torch.testing.assert_close(x, fast.A(y), rtol=0, atol=1e-13)
    torch.testing.assert_close(operator.pinv(x), fast.pinv(x), rtol=0, atol=1e-11)


@pytest.mark.parametrize("scale", [4 / 3, 2.5, 3.7])
@pytest.mark.parametrize("size", [(40, 31), (7, 70), (1, 5)])
def test_resize_by_real_scales_is_imresize(scale: float, size: tuple[int, int]) -> None:
    y = normal(1, 2, *size)
    operator = resize(height=size[0], width=size[1], scale=scale)
    torch.testing.assert_close(operator.A(y), imresize(y, scale=1 / scale), rtol=0, atol=1e-13)


def test_average_repeats_and_equals_its_matrices() -> None:
    operator, general = Average(scale=3, height=12, width=9), average(height=12, width=9, scale=3)
    y, x = normal(1, 2, 12, 9), normal(1, 2, 4, 3)
    torch.testing.assert_close(operator.A(y), general.A(y))
    torch.testing.assert_close(operator.pinv(x), general.pinv(x))
    assert torch.equal(operator.pinv(x), torch.nn.functional.interpolate(x, scale_factor=3, mode="nearest"))
    assert bool((operator.svd().sv == 1 / 3).all())


@pytest.mark.parametrize("scale", [1, 2, 3, 4])
def test_torus_separable_and_iterated_blurs_agree(scale: int) -> None:
    """One isotropic Gaussian three ways: small matrices, Fourier blocks, convolution with conjugate gradients."""
    h, w, sigma = 6 * scale, 5 * scale, 0.8
    kernel = GaussianKernel(size=2 * math.ceil(4 * sigma) + 1, sigmas=(sigma, sigma))
    settings_ = {"height": h, "width": w, "scale": scale}
    a = gaussian(**settings_, sigma=sigma, radius=(kernel.size - 1) / 2, border="circular")
    b = CircularBlur(kernel=kernel, **settings_)
    c = Blur(kernel=kernel, **settings_, border="circular")
    y, x = normal(1, 2, h, w), normal(1, 2, h // scale, w // scale)
    for other in (b, c):
        torch.testing.assert_close(other.A(y), a.A(y), rtol=0, atol=1e-13)
        torch.testing.assert_close(other.At(x), a.At(x), rtol=0, atol=1e-13)
        torch.testing.assert_close(other.pinv(x), a.pinv(x), rtol=1e-8, atol=1e-8)
        torch.testing.assert_close(other.solve(x, rho=0.01), a.solve(x, rho=0.01), rtol=1e-10, atol=1e-10)
    assert b.norm == pytest.approx(a.norm, rel=1e-12) and c.norm == pytest.approx(a.norm * scale, rel=1)
    torch.testing.assert_close(b.svd().sv.flatten().sort().values, a.svd().sv.flatten().sort().values)


def test_squares_of_singular_values_on_the_torus_are_means_of_aliases() -> None:
    """1/s^2 sum over the s^2 aliases of |k^|^2: 1 for decimation alone, the closed form of (1 2 1) / 4 with it."""
    decimation = CircularBlur(kernel=GivenKernel(((1.0,),)), height=6, width=9, scale=3)
    torch.testing.assert_close(decimation.svd().sv, torch.ones(1, 2, 3, dtype=torch.float64))
    kernel = GivenKernel(((1.0, 2.0, 1.0), (2.0, 4.0, 2.0), (1.0, 2.0, 1.0)))
    squares = CircularBlur(kernel=kernel, height=15, width=9, scale=3).svd().sv.square()[0]

    def axis(n: int) -> torch.Tensor:
        # The transform of (1 2 1) / 4 is cos^2 of half the frequency, its square the fourth power.
        return (torch.cos(math.pi * torch.arange(n, dtype=torch.float64) / n) ** 4).reshape(3, n // 3).mean(0)

    torch.testing.assert_close(squares, axis(15)[:, None] * axis(9))


def test_hartley_is_its_own_inverse_and_orthonormal() -> None:
    v = normal(2, 3, 7, 6)
    torch.testing.assert_close(hartley(hartley(v)), v)
    n, m = torch.meshgrid(torch.arange(7.0), torch.arange(6.0), indexing="ij")
    angle = 2 * math.pi * (3 * n / 7 + 2 * m / 6)
    wave = (torch.cos(angle) + torch.sin(angle)).double() / math.sqrt(42)
    expected = torch.zeros(7, 6, dtype=torch.float64)
    expected[3, 2] = 1
    torch.testing.assert_close(hartley(wave), expected, rtol=0, atol=1e-6)


def test_blur_is_a_convolution_and_not_a_correlation() -> None:
    from scipy import ndimage

    y = normal(1, 1, 9, 11)
    values = np.array(LOPSIDED.values) / np.sum(LOPSIDED.values)
    modes = {"reflect": "mirror", "symmetric": "reflect", "circular": "wrap", "replicate": "nearest"}
    for border, mode in modes.items():
        made = Blur(kernel=LOPSIDED, height=9, width=11, border=border).A(y)  # type: ignore[arg-type]
        expected = ndimage.convolve(y[0, 0].numpy(), values, mode=mode)
        torch.testing.assert_close(made[0, 0], torch.from_numpy(expected), rtol=0, atol=1e-13)


@pytest.mark.parametrize("size", [5, 21, 41])
@pytest.mark.parametrize("scale", [1, 2, 4])
def test_direct_and_fourier_convolution_agree(size: int, scale: int) -> None:
    """Large filters go through a Fourier transform, small ones do not: a torus knows both."""
    kernel = PlateauKernel(size=size, sigmas=(3.0, 1.5), angle=0.4, beta=1.5)
    h, w = 44, 56
    a = Blur(kernel=kernel, height=h, width=w, scale=scale, border="circular")
    b = CircularBlur(kernel=kernel, height=h, width=w, scale=scale)
    y, x = normal(1, 1, h, w), normal(1, 1, h // scale, w // scale)
    torch.testing.assert_close(a.A(y), b.A(y), rtol=0, atol=1e-13)
    torch.testing.assert_close(a.At(x), b.At(x), rtol=0, atol=1e-13)


# --- alignment


REDUCTIONS: dict[str, Callable[[int, int, int], LinearOperator]] = {
    "bicubic": lambda h, w, s: resize(height=h, width=w, scale=s),
    "bicubic down": lambda h, w, s: BicubicDown(height=h, width=w, scale=s),
    "lanczos": lambda h, w, s: resize(height=h, width=w, scale=s, kernel="lanczos3"),
    "average": lambda h, w, s: Average(height=h, width=w, scale=s),
    "gaussian": lambda h, w, s: gaussian(height=h, width=w, scale=s, sigma=1.4),
    "slanted": lambda h, w, s: Blur(kernel=SLANTED, height=h, width=w, scale=s),
    "given": lambda h, w, s: Blur(kernel=GivenKernel(((1.0, 2.0, 1.0),) * 3), height=h, width=w, scale=s),
    "torus": lambda h, w, s: CircularBlur(kernel=SLANTED, height=h, width=w, scale=s),
}


@pytest.mark.parametrize("scale", [1, 2, 3, 4])
@pytest.mark.parametrize("name", list(REDUCTIONS))
def test_small_pixels_lie_in_the_middle_of_their_cells(name: str, scale: int) -> None:
    """Of a plane, every interior pixel is the value at s i + (s - 1) / 2: the shift of (s - 1) / 2 is in the kernel."""
    h, w = 16 * scale, 18 * scale
    plane = 0.3 * torch.arange(h, dtype=torch.float64)[:, None] - 0.7 * torch.arange(w, dtype=torch.float64)
    x = REDUCTIONS[name](h, w, scale).A(plane[None, None])[0, 0]
    middles = [scale * torch.arange(n, dtype=torch.float64) + (scale - 1) / 2 for n in (16, 18)]
    expected = 0.3 * middles[0][:, None] - 0.7 * middles[1]
    torch.testing.assert_close(x[6:-6, 6:-6], expected[6:-6, 6:-6], rtol=0, atol=1e-10)


def test_a_shift_moves_the_point_that_is_seen() -> None:
    plane = torch.arange(40, dtype=torch.float64)[:, None] + 10 * torch.arange(40, dtype=torch.float64)
    moved = gaussian(height=40, width=40, scale=2, sigma=1.0, radius=5.5, shift=(0.5, -1.5)).A(plane[None, None])[0, 0]
    middle = 2 * torch.arange(20, dtype=torch.float64) + 0.5
    expected = middle[:, None] + 0.5 + 10 * (middle - 1.5)
    torch.testing.assert_close(moved[5:-5, 5:-5], expected[5:-5, 5:-5], rtol=0, atol=1e-9)


# --- compositions


def test_all_shifts_of_a_stack_give_the_scene_back() -> None:
    """Four pictures decimated by two at the four phases hold every pixel: A^+ A = I."""
    tiny = 1e-3
    shifts = [(i - 0.5, j - 0.5) for i in (0, 1) for j in (0, 1)]
    stack = Stack(tuple(gaussian(height=12, width=10, scale=2, sigma=tiny, shift=s) for s in shifts))
    y = normal(2, 3, 12, 10)
    x = stack.A(y)
    assert torch.equal(x[:, :3], y[..., ::2, ::2]) and torch.equal(x[:, 9:], y[..., 1::2, 1::2])
    torch.testing.assert_close(stack.pinv(x), y)
    one = stack.members[0].project_range(y)
    assert float((one - y).abs().max()) > 0.5


def test_the_pseudo_inverse_of_a_chain_is_not_the_product() -> None:
    """Mask, then means: the product of pseudo-inverses scales cells with a hole by the part that is known."""
    mask = Mask.of_stride(height=8, width=8, scale=2)
    operator = Chain(mask, Average(scale=4, height=8, width=8))
    x = normal(1, 1, 2, 2)
    torch.testing.assert_close(operator.A(operator.pinv(x)), x)
    product = mask.pinv(operator.second.pinv(x))
    torch.testing.assert_close(operator.A(product), x / 4)


def test_grey_of_a_reduction_has_the_product_of_both_as_pseudo_inverse() -> None:
    down, grey = resize(height=8, width=12, scale=2), Grey(height=4, width=6)
    operator = chain(down, grey)
    assert operator.has_svd
    x, y = normal(2, 1, 4, 6), normal(2, 3, 8, 12)
    torch.testing.assert_close(operator.A(y), grey.A(down.A(y)))
    torch.testing.assert_close(operator.pinv(x), down.pinv(grey.pinv(x)))
    assert operator.norm == pytest.approx(0.5 * math.hypot(*LUMINANCE))


def test_chains_are_written_as_simply_as_they_can_be() -> None:
    blur, down = gaussian(height=8, width=8, scale=1, sigma=1.0), resize(height=8, width=8, scale=2)
    whole = chain(Identity(height=8, width=8), blur, down, Identity(height=4, width=4))
    assert isinstance(whole, Separable)
    y = normal(1, 1, 8, 8)
    torch.testing.assert_close(whole.A(y), down.A(blur.A(y)))
    coloured = chain(blur, Grey(height=8, width=8), down)
    assert isinstance(coloured, Chain) and isinstance(coloured.second, Separable)


def test_grey_weights_are_those_of_bt601_and_ddnms_repeat() -> None:
    grey = Grey(height=1, width=1)
    colour = torch.tensor([1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0]).reshape(3, 3, 1, 1)
    assert grey.A(colour).flatten().tolist() == pytest.approx([0.299, 0.587, 0.114])
    mean = Grey(height=2, width=2, weights=(1 / 3, 1 / 3, 1 / 3))
    x = normal(1, 1, 2, 2)
    torch.testing.assert_close(mean.pinv(x), x.expand(1, 3, 2, 2))


def test_gradients_of_iterated_inverses_are_those_of_the_solution() -> None:
    operator = Blur(kernel=SLANTED, height=6, width=5, scale=2)
    x = normal(1, 1, 3, 3).requires_grad_()
    assert torch.autograd.gradcheck(operator.pinv, (x,), atol=1e-6)
    assert torch.autograd.gradcheck(lambda v: operator.solve(v, rho=0.2), (x,), atol=1e-6)


def test_a_batch_is_solved_as_its_pictures_alone() -> None:
    operator = Blur(kernel=SLANTED, height=20, width=21, scale=2)
    x = normal(3, 1, 10, 11, dtype=torch.float32) * torch.tensor([1.0, 100.0, 0.0])[:, None, None, None]
    together = operator.pinv(x)
    alone = torch.cat([operator.pinv(one[None]) for one in x])
    torch.testing.assert_close(together, alone, rtol=1e-5, atol=1e-5)
    assert not bool(together[2].any())


# --- refusals


@cache
def small() -> LinearOperator:
    return gaussian(height=8, width=8, scale=2, sigma=1.0)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: resize(height=0, width=4, scale=2), "0x4"),
        (lambda: resize(height=4, width=4, scale=-1), "scale -1"),
        (lambda: resize(height=4, width=4, scale=2, kernel="square"), "square.*lanczos3"),  # type: ignore[arg-type]
        (lambda: resize(height=4, width=4, scale=2, border="zero"), "zero.*reflect"),  # type: ignore[arg-type]
        (lambda: gaussian(height=4, width=4, scale=2, sigma=0), "sigma 0.*1.6"),
        (lambda: gaussian(height=4, width=4, scale=2, sigma=1, radius=0.1), "radius 0.1"),
        (lambda: gaussian(height=4, width=4, scale=2, sigma=1, shift=(math.inf, 0)), "inf"),
        (lambda: average(height=4, width=4, scale=1.5), "scale 1.5.*whole"),  # type: ignore[arg-type]
        (lambda: Average(scale=4, height=10, width=8), "10x8.*scale 4.*modcrop"),
        (lambda: CircularBlur(kernel=SLANTED, height=5, width=4, scale=2), "5x4.*Blur"),
        (lambda: Blur(kernel=SLANTED, height=5, width=4, border="mirror"), "mirror.*symmetric"),  # type: ignore[arg-type]
        (lambda: Mask(torch.zeros(3, 3)), "nothing would be known"),
        (lambda: Mask(torch.full((3, 3), math.nan)), "finite"),
        (lambda: Mask(torch.ones(3)), r"\(3,\)"),
        (lambda: Mask.of_stride(height=4, width=4, scale=2, phase=(2, 0)), "phase"),
        (lambda: Grey(height=2, width=2, weights=(0, 0, 0)), "0.299"),
        (lambda: Grey(height=2, width=2).A(torch.zeros(1, 4, 2, 2)), "3 channels, got 4"),
        (lambda: Grey(height=2, width=2).At(torch.zeros(1, 3, 2, 2)), "one channel, got 3"),
        (lambda: Stack(()), "at least one"),
        (lambda: Stack((small(), Identity(height=8, width=8))), "different sizes"),
        (lambda: Stack((small(), small())).At(torch.zeros(1, 3, 4, 4)), "3 channels"),
        (lambda: chain(), "at least one"),
        (lambda: Chain(small(), small()), "8x8.*4x4"),
        (lambda: small().A(torch.zeros(1, 1, 4, 4)), "4x4.*8x8"),
        (lambda: small().A(torch.zeros(1, 1, 8, 8, dtype=torch.uint8)), "uint8"),
        (lambda: small().solve(torch.zeros(1, 1, 4, 4), rho=0.0), "rho 0.0.*pinv"),
        (lambda: Blur(kernel=SLANTED, height=5, width=4).svd(), "pinv"),
        (lambda: Identity(height=True, width=4).A(torch.zeros(1, 1, 4, 4)), "Truex4"),
    ],
)
def test_refuses(build: Callable[[], object], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        build()


def test_gradients_pass_where_singular_values_are_zero() -> None:
    """A reduction with a coefficient that passes nothing: its pseudo-inverse has finite gradients."""
    operator = resize(height=18, width=9, scale=1.7, kernel="lanczos3", border="reflect")
    svd = operator.svd()
    assert not bool((svd.sv > 0).all())
    errors = check_operator(operator, full_rank=False)
    assert errors["gradient of A+"] < 1e-9
    assert bool(torch.isfinite(svd.inverse).all()) and bool(((svd.inverse == 0) == (svd.sv == 0)).all())


# --- what the specification says of reductions


def camera() -> Tensor:
    from skimage import data

    return torch.from_numpy(data.camera().copy()).double()[None, None]


@pytest.mark.parametrize(
    ("other", "decibels", "digits"),
    [
        (Average(scale=4, height=512, width=512), 41.05, 0.005),
        (resize(height=512, width=512, scale=4, kernel="lanczos3"), 44.5, 0.05),
    ],
    ids=["average", "lanczos"],
)
def test_distances_of_other_reductions_of_the_camera_to_bicubic(
    other: LinearOperator, decibels: float, digits: float
) -> None:
    exact = resize(height=512, width=512, scale=4).A(camera())
    error = (exact - other.A(camera())).square().mean()
    assert float(10 * torch.log10(255**2 / error)) == pytest.approx(decibels, abs=digits)


def test_bicubic_enlarging_is_not_the_inverse_and_nearest_not_the_transpose() -> None:
    """At scale 4 and 256 pixels: eigenvalues of D U in [0.49, 1], |A U - I| = 0.51, |phi^2 - phi| = 0.25, phi = U A."""
    down = matrix(resize(height=256, width=256, scale=4).rows)
    up_ = matrix(resize(height=64, width=64, scale=1 / 4).rows)
    values = torch.linalg.eigvals(down @ up_).real
    assert float(values.min()) == pytest.approx(0.49, abs=0.005) and float(values.max()) == pytest.approx(1, abs=1e-9)
    there = down @ up_ - torch.eye(64, dtype=torch.float64)
    assert float(torch.linalg.matrix_norm(there, 2)) == pytest.approx(0.51, abs=0.005)
    phi = up_ @ down
    assert float(torch.linalg.matrix_norm(phi @ phi - phi, 2)) == pytest.approx(0.25, abs=0.005)
    nearest = torch.eye(64, dtype=torch.float64).repeat_interleave(4, 0)
    away = torch.eye(64, dtype=torch.float64) - down @ nearest
    assert float(torch.linalg.matrix_norm(away, 2)) == pytest.approx(0.355, abs=0.005)


def test_conjugate_gradients_need_ten_steps_for_bicubic() -> None:
    """The condition of D D^T is 4.2 at every scale."""
    operator = BicubicDown(scale=4, height=64, width=64)
    x, asked = normal(1, 1, 16, 16, dtype=torch.float32), 0

    def forward(y: Tensor) -> Tensor:
        nonlocal asked
        asked += 1
        return operator.A(y)

    y = least_squares(forward, operator.At, x)
    torch.testing.assert_close(y, operator.pinv(x), rtol=1e-4, atol=1e-4)
    assert asked <= 30  # ten bring the error below a grey level, the others to rounding
