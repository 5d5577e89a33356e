from __future__ import annotations

import pytest
import torch
from torch import Tensor

from mezzotint.bridges import VP, Pinned, ResShift
from mezzotint.noise import Noise, SequentialNoise
from mezzotint.samplers import Estimate, Move, ancestral, count_evaluations, ddim, sample
from mezzotint.schedules import LinearSDE

SHAPE = (2, 3, 12, 10)


def local(z: Tensor, t: float) -> Estimate:
    """A small denoiser that looks at neighbours, at a network's precision; exact whatever the batch is."""
    z = z.float()
    around = z.roll(1, dims=-1) + z.roll(1, dims=-2) - 0.5 * z.roll(1, dims=1)
    return Estimate(torch.tanh(0.4 * z + 0.2 * around) * (1.0 - 0.5 * t))


def pointwise(z: Tensor, t: float) -> Estimate:
    return Estimate(torch.tanh(0.7 * z.float() + t))


def lifted(shape: tuple[int, ...] = SHAPE) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(4))


BRIDGES = [VP(LinearSDE()), ResShift(), Pinned(0.141)]


@pytest.mark.parametrize("bridge", BRIDGES)
@pytest.mark.parametrize("step", [ancestral, ddim])
def test_a_batch_equals_its_pictures_one_by_one(bridge, step):
    x, noise = lifted(), Noise(1)
    whole = sample(local, bridge=bridge, x_state=x, noise=noise.for_pictures((5, 6)), grid=bridge.grid(6), step=step)
    for i, picture in enumerate((5, 6)):
        single = sample(
            local,
            bridge=bridge,
            x_state=x[i : i + 1],
            noise=noise.for_pictures((picture,)),
            grid=bridge.grid(6),
            step=step,
        )
        assert torch.equal(whole[i : i + 1], single)
    assert not torch.equal(whole[0], whole[1])


@pytest.mark.parametrize("bridge", BRIDGES)
def test_a_tile_at_its_origin_equals_the_whole(bridge):
    x = lifted((1, 3, 150, 140))
    whole = sample(pointwise, bridge=bridge, x_state=x, noise=Noise(1), grid=bridge.grid(4))
    tile = sample(
        pointwise,
        bridge=bridge,
        x_state=x[..., 50:131, 7:100],
        noise=Noise(1),
        grid=bridge.grid(4),
        origin=(50, 7),
    )
    assert torch.equal(whole[..., 50:131, 7:100], tile)


def test_one_seed_one_picture():
    bridge = ResShift()
    run = [sample(local, bridge=bridge, x_state=lifted(), noise=Noise(seed), grid=bridge.grid(4)) for seed in (0, 0, 1)]
    assert torch.equal(run[0], run[1]) and not torch.allclose(run[0], run[2], atol=1e-3)


def test_the_state_is_float64_and_the_shape_is_that_of_the_state():
    seen = []

    def watch(z: Tensor, t: float) -> Estimate:
        seen.append((z.dtype, type(t)))
        return local(z, t)

    y = sample(watch, bridge=ResShift(), x_state=lifted(), noise=Noise(0), grid=(1.0, 0.4, 0.0))
    assert y.dtype == torch.float64 and y.shape == SHAPE and set(seen) == {(torch.float64, float)}
    half = sample(local, bridge=ResShift(), x_state=lifted(), noise=Noise(0), grid=(1.0, 0.4, 0.0), dtype=torch.float32)
    assert half.dtype == torch.float32 and torch.allclose(half.double(), y, atol=1e-5)


def test_draws_are_counted_by_stream_and_only_where_used():
    class Counting:
        def __init__(self) -> None:
            self.drawn: list[tuple[str, int]] = []

        def normal(self, stream, draw, shape, *, origin=(0, 0), dtype=torch.float64, device="cpu"):
            self.drawn.append((stream, draw))
            return Noise(0).normal(stream, draw, shape, origin=origin, dtype=dtype, device=device)

        def uniform(self, stream, draw, count):
            raise AssertionError("the loop draws no uniform numbers")

    noise = Counting()
    sample(local, bridge=ResShift(), x_state=lifted(), noise=noise, grid=(1.0, 0.6, 0.8, 0.3, 0.0))
    assert noise.drawn == [("start", 0), ("step", 0), ("step", 1), ("step", 2)]
    noise = Counting()
    sample(local, bridge=ResShift(), x_state=lifted(), noise=noise, grid=(1.0, 0.6, 0.3, 0.0), step=ddim)
    assert noise.drawn == [("start", 0)]


def test_the_callback_gets_one_record_a_move():
    moves: list[Move] = []
    grid = (1.0, 0.5, 0.75, 0.25, 0.0)
    y = sample(local, bridge=ResShift(), x_state=lifted(), noise=Noise(0), grid=grid, callback=moves.append)
    assert [(m.t, m.r) for m in moves] == [(1.0, 0.5), (0.5, 0.75), (0.75, 0.25), (0.25, 0.0)]
    assert [m.index for m in moves] == [0, 1, 2, 3] and {m.count for m in moves} == {4}
    assert moves[1].estimate is None and all(m.estimate is not None for m in moves if m.index != 1)
    assert torch.equal(moves[-1].z, y) and count_evaluations(grid) == 3


def test_after_follows_each_move_down_and_carries():
    """A hook that pins half of the picture to a noised reference, as RePaint does, and counts in its carry."""
    bridge, x = VP(LinearSDE()), None
    known = torch.full(SHAPE, 0.25, dtype=torch.float64)
    seen = []

    def after(z, r, denoise, noise, carry):
        count = (carry or 0) + 1
        seen.append((r, count))
        noised = bridge.q_sample(known, None, r, noise())
        return torch.cat([noised[..., :6, :], z[..., 6:, :]], dim=-2), count

    y = sample(
        local,
        bridge=bridge,
        x_state=x,
        shape=SHAPE,
        noise=Noise(0),
        grid=(1.0, 0.5, 0.8, 0.2, 0.0),
        after=after,
    )
    assert seen == [(0.5, 1), (0.2, 2), (0.0, 3)]
    assert torch.equal(y[..., :6, :], known[..., :6, :]) and not torch.equal(y[..., 6:, :], known[..., 6:, :])


def test_a_given_start_is_used_and_kept():
    start = lifted().double()
    kept = start.clone()
    bridge = VP(LinearSDE())
    from_start = sample(local, bridge=bridge, noise=Noise(0), grid=(0.4, 0.2, 0.0), start=start)
    assert torch.equal(start, kept) and from_start.shape == SHAPE
    same = sample(local, bridge=bridge, noise=Noise(0), grid=(1.0, 0.0), start=Noise(0).normal("start", 0, SHAPE))
    own = sample(local, bridge=bridge, noise=Noise(0), grid=(1.0, 0.0), shape=SHAPE)
    assert torch.equal(same, own)


def test_gradients_only_on_request():
    weight = torch.tensor(0.3, dtype=torch.float64, requires_grad=True)

    def denoise(z: Tensor, t: float) -> Estimate:
        return Estimate(weight * z)

    arguments = {
        "bridge": VP(LinearSDE()),
        "noise": SequentialNoise(0),
        "grid": (1.0, 0.5, 0.0),
        "shape": (1, 1, 4, 4),
    }
    assert not sample(denoise, **arguments).requires_grad
    y = sample(denoise, **arguments, differentiable=True)
    (gradient,) = torch.autograd.grad(y.sum(), weight)
    with torch.no_grad():
        weight += 1e-6
        moved = sample(denoise, **arguments).sum()
    assert gradient.item() == pytest.approx((moved - y.sum()).item() / 1e-6, rel=1e-3)


def test_a_denoiser_may_use_gradients_of_its_own():
    """Guidance differentiates inside the loop, which therefore never runs in inference mode."""

    def guided(z: Tensor, t: float) -> Estimate:
        with torch.enable_grad():
            z = z.detach().requires_grad_()
            (pull,) = torch.autograd.grad((z**2).sum(), z)
        return Estimate(z.detach() - 0.1 * pull)

    y = sample(guided, bridge=VP(LinearSDE()), noise=Noise(0), grid=(1.0, 0.5, 0.0), shape=(1, 1, 4, 4))
    assert torch.isfinite(y).all()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"grid": (1.0,)}, "two or more times"),
        ({"grid": (1.0, -0.1)}, "in \\[0, 1\\]"),
        ({"grid": (1.0, float("nan"), 0.0)}, "in \\[0, 1\\]"),
        ({"grid": (1.0, 0.5, 0.5, 0.0)}, "stand still"),
        ({"grid": (0.5, 0.0)}, "give start"),
        ({"x_state": None}, "size of the state is unknown"),
        ({"shape": (1, 3, 12, 10)}, "the state has"),
        ({"start": torch.zeros(1, 3, 12, 10)}, "the state has"),
    ],
)
def test_wrong_walks_are_refused(changes, message):
    arguments = {"bridge": ResShift(), "x_state": lifted(), "noise": Noise(0), "grid": (1.0, 0.5, 0.0)}
    with pytest.raises(ValueError, match=message):
        sample(local, **{**arguments, **changes})
