"""Bands and tiles against the whole picture, by real convolutions."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from mezzotint.images import bands
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


def without_origin(module: nn.Module) -> bands.WindowFunction:
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


def run(
    function: bands.WindowFunction, x: Tensor, *, halo: int, scale: int, band: int, tile: int | None = None
) -> Tensor:
    source = bands.of_tensor(x, band=max(1, band - 3))
    return bands.whole(
        bands.local(function, source, width=x.shape[-1], halo=halo, scale=scale, band=band, tile=tile)
    )


@settings(max_examples=60, deadline=None)
@given(
    height=SIZES,
    width=SIZES,
    band=st.integers(1, 72),
    tile=st.integers(16, 72) | st.none(),
    halo=st.integers(RADIUS, RADIUS + 4),
    scale=st.sampled_from([1, 2, 3]),
    padding=st.sampled_from(["zeros", "replicate"]),
    dtype=st.sampled_from([torch.float32, torch.float64]),
)
def test_bands_and_tiles_equal_the_whole(
    height: int, width: int, band: int, tile: int | None, halo: int, scale: int, padding: str, dtype: torch.dtype
) -> None:
    module = NETWORKS[scale, padding, dtype]
    x = torch.randn(1, 3, height, width, dtype=dtype, generator=torch.Generator().manual_seed(height * 71 + width))
    expected = module(x)
    result = run(without_origin(module), x, halo=halo, scale=scale, band=band, tile=tile)
    assert result.shape == expected.shape and result.dtype == dtype
    assert (result - expected).abs().max() <= (1e-5 if dtype is torch.float32 else 1e-12)


@pytest.mark.parametrize("padding", ["zeros", "replicate"])
def test_a_halo_that_is_too_small_shows(padding: str) -> None:
    """The equality above is not for free: with less than the network sees, the seams differ."""
    module = NETWORKS[2, padding, torch.float64]
    x = torch.randn(1, 3, 40, 40, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    expected = module(x)
    for band, tile in ((16, None), (40, 16)):
        for halo in range(RADIUS + 1):
            result = run(without_origin(module), x, halo=halo, scale=2, band=band, tile=tile)
            error = float((result - expected).abs().max())
            assert (error > 1e-6) if halo < RADIUS else (error <= 1e-12), (halo, error)


def test_noise_by_origin_is_that_of_the_whole_picture() -> None:
    """A function that draws noise where it is told that it stands draws what the whole picture would."""
    source, scale = Noise(3), 4

    def function(window: Tensor, /, *, origin: tuple[int, int]) -> Tensor:
        shape = (window.shape[0], 3, window.shape[2] * scale, window.shape[3] * scale)
        return source.normal("start", 0, shape, origin=(origin[0] * scale, origin[1] * scale))

    x = torch.zeros(1, 3, 37, 21)
    assert torch.equal(run(function, x, halo=3, scale=scale, band=10, tile=16), function(x, origin=(0, 0)))


def test_stages_behind_each_other_compute_every_band_once_and_keep_few() -> None:
    module = NETWORKS[1, "zeros", torch.float64]
    narrow = nn.Conv2d(2, 3, 1).double().requires_grad_(False)
    calls: list[int] = []
    held: list[int] = []

    def source(start: int, stop: int) -> tuple[Tensor, ...]:
        calls.append(start)
        return (x[..., start:stop, :],)

    x = torch.randn(1, 3, 400, 12, dtype=torch.float64, generator=torch.Generator().manual_seed(5))
    chain = [bands.Stage(source, height=400, band=8)]
    expected = x
    for _ in range(4):
        expected = narrow(module(expected))
        chain.append(
            bands.local(
                lambda window, *, origin: narrow(module(window)), chain[-1], width=12, halo=RADIUS, scale=1, band=8,
                done=lambda: held.append(max(len(stage._kept) for stage in chain)),
            )
        )  # fmt: skip
    assert (bands.whole(chain[-1]) - expected).abs().max() < 1e-12
    assert calls == list(range(0, 400, 8))
    assert len(held) == 4 * 50 and max(held) <= 4
    assert all(not stage._kept for stage in chain)


def test_two_readers_at_different_places_both_get_their_rows() -> None:
    x = torch.arange(40.0).reshape(1, 1, 40, 1)
    stage = bands.of_tensor(x, band=6)
    ahead, behind = stage.reader(), stage.reader()
    assert torch.equal(ahead.window(10, 20, halo=3)[0], x[..., 7:23, :])
    assert torch.equal(behind.take(0, 9), x[..., 0:9, :])
    assert torch.equal(ahead.window(20, 40, halo=3)[0], x[..., 17:40, :])
    assert torch.equal(behind.take(2, 40), x[..., 2:40, :])
    with pytest.raises(ValueError, match="read down to 2"):
        behind.take(1, 3)
    with pytest.raises(ValueError, match="before that"):
        stage.reader()


def test_outputs_of_one_stage_have_scales_of_their_own() -> None:
    x = torch.randn(1, 1, 23, 5)
    stage = bands.Stage(
        lambda a, b: (x[..., a:b, :].repeat_interleave(3, dim=-2), -x[..., a:b, :]), height=23, band=4, scales=(3, 1)
    )
    large, small = stage.reader(0), stage.reader(1)
    assert torch.equal(large.take(5, 11), x[..., 5:11, :].repeat_interleave(3, dim=-2))
    assert torch.equal(small.take(0, 23), -x)


def test_what_makes_no_sense_is_refused() -> None:
    with pytest.raises(ValueError, match="0 rows"):
        bands.of_tensor(torch.zeros(1, 1, 0, 4), band=4)
    with pytest.raises(ValueError, match="rows 0 to 9"):
        bands.of_tensor(torch.zeros(1, 1, 8, 4), band=4).reader().take(0, 9)
    with pytest.raises(ValueError, match="at scale 2"):
        run(without_origin(nn.Identity()), torch.zeros(1, 1, 8, 4), halo=0, scale=2, band=4)
