"""Tiles against the whole picture, by real convolutions."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from mezzotint.errors import UsageError
from mezzotint.images import tiles
from mezzotint.noise import Noise

RADIUS = 5  # of `network`: 2 + 1 + 1 at full size, and half a pixel of the last one after the shuffle


def network(*, scale: int, padding: str, dtype: torch.dtype) -> nn.Module:
    """A local network: convolutions of 5, 3 and 3, up by `scale`, one more of 3."""
    torch.manual_seed(0)
    width = 6
    layers = [
        nn.Conv2d(3, width, 5, padding=2, padding_mode=padding),
        nn.Tanh(),
        nn.Conv2d(width, width, 3, padding=1, padding_mode=padding),
        nn.SiLU(),
        nn.Conv2d(width, 4 * scale**2, 3, padding=1, padding_mode=padding),
        nn.PixelShuffle(scale),
        nn.Conv2d(4, 2, 3, padding=1, padding_mode=padding),
    ]
    return nn.Sequential(*layers).to(dtype).requires_grad_(False)


def without_origin(module: nn.Module) -> tiles.WindowFunction:
    def function(window: Tensor, /, *, origin: tuple[int, int]) -> Tensor:
        assert min(origin) >= 0
        return module(window)

    return function


NETWORKS = {
    (scale, padding, dtype): network(scale=scale, padding=padding, dtype=dtype)
    for scale in (1, 2, 3)
    for padding in ("zeros", "replicate")
    for dtype in (torch.float32, torch.float64)
}

SIZES = st.integers(1, 70)


@settings(max_examples=150, deadline=None)
@given(
    height=SIZES, width=SIZES, tile=st.integers(16, 80) | st.none(), halo=st.integers(0, 30), cell=st.integers(1, 20)
)
def test_cores_cover_every_pixel_once(height: int, width: int, tile: int | None, halo: int, cell: int) -> None:
    count = np.zeros((height, width), int)
    cores = set()
    for part in tiles.plan(height, width, tile=tile, halo=halo, cell=cell):
        assert part.rows.start < part.rows.stop and part.columns.start < part.columns.stop
        count[part.rows, part.columns] += 1
        for core, window, size in (
            (part.rows, part.window_rows, height),
            (part.columns, part.window_columns, width),
        ):
            assert core.start % cell == window.start % cell == 0
            assert 0 <= window.start <= max(0, core.start - halo)
            assert min(size, core.stop + halo) <= window.stop <= size
            assert window.start > core.start - halo - cell and window.stop < core.stop + halo + cell
            if tile is not None:
                assert core.stop - core.start <= max(tile, cell)
            cores.add((size, core.stop - core.start))
        assert part.origin == (part.window_rows.start, part.window_columns.start)
    assert (count == 1).all()
    if cell == 1:
        for size in (height, width):
            lengths = [length for whole, length in cores if whole == size]
            assert max(lengths) - min(lengths) <= 1


@settings(max_examples=60, deadline=None)
@given(
    height=SIZES,
    width=SIZES,
    tile=st.integers(16, 72),
    halo=st.integers(RADIUS, RADIUS + 4),
    scale=st.sampled_from([1, 2, 3]),
    padding=st.sampled_from(["zeros", "replicate"]),
    dtype=st.sampled_from([torch.float32, torch.float64]),
    cell=st.sampled_from([1, 1, 2, 8]),
)
def test_tiled_equals_whole(
    height: int, width: int, tile: int, halo: int, scale: int, padding: str, dtype: torch.dtype, cell: int
) -> None:
    module = NETWORKS[scale, padding, dtype]
    x = torch.randn(1, 3, height, width, dtype=dtype, generator=torch.Generator().manual_seed(height * 71 + width))
    whole = module(x)
    tiled = tiles.run(without_origin(module), x, tile=tile, halo=halo, scale=scale, cell=cell)
    assert tiled.shape == whole.shape and tiled.dtype == dtype
    assert (tiled - whole).abs().max() <= (1e-5 if dtype is torch.float32 else 1e-12)


@pytest.mark.parametrize("padding", ["zeros", "replicate"])
def test_a_halo_that_is_too_small_shows(padding: str) -> None:
    """The equality above is not for free: with less than the network sees, the seams differ."""
    module = NETWORKS[2, padding, torch.float64]
    x = torch.randn(1, 3, 40, 40, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    whole = module(x)
    for halo in range(RADIUS + 1):
        tiled = tiles.run(without_origin(module), x, tile=16, halo=halo, scale=2)
        error = float((tiled - whole).abs().max())
        assert (error > 1e-6) if halo < RADIUS else (error <= 1e-12), (halo, error)


def test_a_batch_equals_single_pictures_and_tiles_of_each() -> None:
    module = NETWORKS[2, "zeros", torch.float64]
    x = torch.randn(3, 3, 33, 50, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    batch = tiles.run(without_origin(module), x, tile=20, halo=RADIUS, scale=2)
    for index in range(3):
        single = tiles.run(without_origin(module), x[index : index + 1], tile=17, halo=RADIUS, scale=2)
        assert (batch[index] - single[0]).abs().max() <= 1e-12


def test_noise_by_origin_is_that_of_the_whole_picture() -> None:
    """A function that draws noise where it is told that it stands draws what the whole picture would."""
    source, scale = Noise(3), 4

    def function(window: Tensor, /, *, origin: tuple[int, int]) -> Tensor:
        shape = (window.shape[0], 3, window.shape[2] * scale, window.shape[3] * scale)
        return source.normal("start", 0, shape, origin=(origin[0] * scale, origin[1] * scale))

    x = torch.zeros(1, 3, 37, 21)
    assert torch.equal(tiles.run(function, x, tile=16, halo=3, scale=scale), function(x, origin=(0, 0)))


def test_none_and_a_large_tile_are_one_call_on_the_picture_itself() -> None:
    calls = []

    def function(window: Tensor, /, *, origin: tuple[int, int]) -> Tensor:
        calls.append((tuple(window.shape), origin))
        return window.clone()

    x = torch.rand(2, 3, 20, 30)
    for tile in (None, 30, 1000):
        assert torch.equal(tiles.run(function, x, tile=tile, halo=9, scale=1), x)
    assert calls == [((2, 3, 20, 30), (0, 0))] * 3


def test_gradients_pass_and_progress_is_told() -> None:
    module = NETWORKS[2, "zeros", torch.float64]
    x = torch.randn(1, 3, 35, 18, dtype=torch.float64, generator=torch.Generator().manual_seed(4)).requires_grad_()
    told: list[tuple[int, int]] = []
    tiled = tiles.run(
        without_origin(module),
        x,
        tile=16,
        halo=RADIUS,
        scale=2,
        progress=lambda done, total: told.append((done, total)),
    )
    weights = torch.randn_like(tiled)
    (of_tiles,) = torch.autograd.grad((tiled * weights).sum(), x)
    (of_whole,) = torch.autograd.grad((module(x) * weights).sum(), x)
    assert (of_tiles - of_whole).abs().max() <= 1e-12
    assert told == [(done, 6) for done in range(1, 7)]


@settings(max_examples=100, deadline=None)
@given(
    height=st.integers(1, 3000),
    width=st.integers(1, 3000),
    halo=st.integers(0, 40),
    pixels=st.integers(1, 2_000_000),
    batch=st.integers(1, 4),
)
def test_auto_is_the_largest_tile_that_fits(height: int, width: int, halo: int, pixels: int, batch: int) -> None:
    each, memory = 100.0, pixels * 100

    def needed(side: int) -> float:
        return (side + 2 * halo) ** 2 * each * batch

    try:
        tile = tiles.choose(height, width, halo=halo, bytes_per_pixel=each, memory=memory, batch=batch)
    except UsageError:
        assert needed(tiles.SMALLEST) > memory and height * width * each * batch > memory
        return
    if tile is None:
        assert height * width * each * batch <= memory
    else:
        assert tile >= tiles.SMALLEST
        assert needed(tile) <= memory < needed(tile + 1)
        for part in tiles.plan(height, width, tile=tile, halo=halo)[:50]:
            rows, columns = part.window_rows, part.window_columns
            assert (rows.stop - rows.start) * (columns.stop - columns.start) * each * batch <= memory


def test_auto_keeps_within_its_memory() -> None:
    sizes = []

    def function(window: Tensor, /, *, origin: tuple[int, int]) -> Tensor:
        sizes.append(window.shape[2] * window.shape[3])
        return window.clone()

    x = torch.rand(1, 1, 100, 90)
    result = tiles.run(function, x, tile="auto", halo=4, scale=1, memory=40_000, bytes_per_pixel=16)
    assert torch.equal(result, x)
    assert max(sizes) * 16 <= 40_000 and len(sizes) > 1
    sizes.clear()
    tiles.run(function, x, tile="auto", halo=4, scale=1, bytes_per_pixel=16)
    assert sizes == [9000]


def test_errors_name_the_value_the_limit_and_the_way_out() -> None:
    x = torch.rand(1, 1, 40, 40)
    identity = without_origin(nn.Identity())
    with pytest.raises(UsageError) as caught:
        tiles.run(identity, x, tile=8, halo=2, scale=1)
    assert str(caught.value) == (
        "tile 8 is smaller than the smallest, 16 input pixels: use --tile 16 or larger, or --tile auto"
    )
    with pytest.raises(UsageError, match=r"tile of 16 input pixels with a halo of 100 needs 45 MiB, and 1 MiB"):
        tiles.choose(4000, 4000, halo=100, bytes_per_pixel=1000, memory=2**20)
    with pytest.raises(ValueError, match="must be 1 x channels x 80 x 80"):
        tiles.run(identity, x, tile=None, halo=0, scale=2)
    with pytest.raises(ValueError, match="bytes_per_pixel"):
        tiles.run(identity, x, tile="auto", halo=0, scale=1)
    with pytest.raises(ValueError, match="halo -1"):
        tiles.plan(4, 4, tile=None, halo=-1)
    with pytest.raises(ValueError, match="0 x 4"):
        tiles.plan(0, 4, tile=None, halo=1)
