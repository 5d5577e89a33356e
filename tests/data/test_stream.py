"""Batches from files: the numbers of pictures in memory, whatever the memory, the workers and what was asked before."""

from __future__ import annotations

import hashlib
import math
import os
import signal
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from torch import Tensor

from mezzotint.data.crops import Blur, Place, blurred, cut, draw, gather, turned
from mezzotint.data.pairs import PairFile, Sized
from mezzotint.data.stream import Cache, Maker, Making, Stream, _Job, _Piece
from mezzotint.data.unpacked import Unpacked, decoded
from mezzotint.errors import InputError, UsageError
from mezzotint.noise import NoiseSource
from mezzotint.operators.degradation import AddNoise, Average, Degradation, EightBit, Gaussian, degrade, reduction
from mezzotint.operators.resize import imresize_uint8
from mezzotint.training.crops import Pairs, batch, load_pairs, pair


def _noise(seed: int, channels: int, height: int, width: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return (torch.rand(channels, height, width, generator=generator) * 256).to(torch.uint8)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four pictures of noise, one of them grey, with sides that are no multiples of anything."""
    made = tmp_path_factory.mktemp("pictures")
    for k in range(4):
        pixels = _noise(k, 3 if k else 1, 61 + 7 * k, 95 - 9 * k).permute(1, 2, 0).numpy()
        Image.fromarray(pixels.squeeze()).save(made / f"p{k}.png")
    return made


def _files(folder: Path) -> tuple[PairFile, ...]:
    return tuple(PairFile(path.name, path) for path in sorted(folder.glob("*.png")))


ASKED: dict[str, Any] = {"seed": 5, "size": 6, "crop": 8}


def _same(a: tuple[Tensor, Tensor], b: tuple[Tensor, Tensor]) -> bool:
    return all(torch.equal(one, other) for one, other in zip(a, b, strict=True))


@pytest.mark.parametrize(
    "scale, options, expected",
    [
        (2, {}, "b8417722063fced8"),
        (3, {"flips": False}, "d4e79c77c4e5d136"),
        (4, {}, "fd932c5a568ec975"),
        (4, {"flips": False}, "d4ee9388e87770d3"),
        (4, {"rotations": False}, "0132ca005c231b38"),
    ],
)
def test_batches_are_those_of_the_first_version(scale: int, options: dict[str, bool], expected: str) -> None:
    """Digests of batches that the code before this room drew: shipped weights were trained on such."""
    generator = torch.Generator().manual_seed(11)
    made = []
    for k in range(4):
        pixels = (torch.rand(3 if k else 1, 61 + 7 * k, 95 - 9 * k, generator=generator) * 256).to(torch.uint8)
        made.append(pair(pixels, scale=scale))
    pairs = Pairs(tuple(y for y, _ in made), tuple(x for _, x in made), scale, ("a", "b", "c", "d"))
    digest = hashlib.sha256()
    for step in (0, 7, 123456):
        for side in batch(pairs, step=step, **ASKED, **options):
            digest.update(side.numpy().tobytes())
    assert digest.hexdigest()[:16] == expected


@pytest.mark.parametrize("scale", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("memory", [None, 0, 30_000])
def test_files_give_the_batches_of_pictures_in_memory(folder: Path, scale: int, memory: int | None) -> None:
    files = _files(folder)
    pairs = load_pairs([f.y for f in files], scale=scale, crop=8)
    stream = Stream(files, scale=scale, crop=8, memory=memory)
    assert stream.names == pairs.names and stream.megapixels == pytest.approx(pairs.megapixels)
    for step in (3, 0, 99):
        assert _same(batch(stream, step=step, **ASKED), batch(pairs, step=step, **ASKED))


@pytest.mark.parametrize("scale", [2, 3, 5])
def test_decoded_files_give_the_same_batches(folder: Path, tmp_path: Path, scale: int) -> None:
    files = _files(folder)
    memory = Stream(files, scale=scale, crop=8)
    for _ in range(2):  # made, and found
        disk = Stream(files, scale=scale, crop=8, unpacked=tmp_path / "unpacked")
        assert all(_same(disk.batch(step=k, **ASKED), memory.batch(step=k, **ASKED)) for k in range(3))
    assert len(list((tmp_path / "unpacked").iterdir())) == len(files) and len(disk._maker.cache) == 0


def test_decoded_files_follow_their_pictures(tmp_path: Path) -> None:
    path, where = tmp_path / "a.png", Unpacked(tmp_path / "unpacked")
    for seed, channels in ((0, 3), (1, 1)):
        pixels = _noise(seed, channels, 20, 24 + seed)
        Image.fromarray(pixels.permute(1, 2, 0).numpy().squeeze()).save(path)
        opened = where.open(path)
        assert torch.equal(opened, decoded(path)) and torch.equal(opened, pixels.expand(3, -1, -1))
        opened[0, 0, 0] ^= 255  # stays in this process
        assert torch.equal(where.open(path), pixels.expand(3, -1, -1))
    file = where.file(path)
    for damage in (b"", b"nonsense", file.read_bytes()[:-5]):
        file.write_bytes(damage)
        with pytest.raises(InputError, match="is damaged .*: delete it"):
            where.open(path)
    np.save(file, np.zeros((3, 4, 3)))
    with pytest.raises(InputError, match="holds no decoded picture"):
        where.open(path)
    with pytest.raises(InputError, match="absent.png cannot be read"):
        where.open(tmp_path / "absent.png")
    with pytest.raises(InputError, match="cannot be made"):
        Unpacked(path / "inside").open(path)


@settings(max_examples=40, deadline=None)
@given(
    scale=st.sampled_from([2, 3, 4, 8, 16]), height=st.integers(6, 14), width=st.integers(6, 14), data=st.data(),
    seed=st.integers(0, 99),
)  # fmt: skip
def test_a_window_is_made_small_as_the_whole_picture_is(
    scale: int, height: int, width: int, data: st.DataObject, seed: int
) -> None:
    y = _noise(seed, 3, height * scale, width * scale)
    side = data.draw(st.integers(1, min(height, width)))
    place = Place(0, data.draw(st.integers(0, height - side)), data.draw(st.integers(0, width - side)), side, 0)
    picture = Sized(PairFile("p", Path("p")), (height, width))
    maker = Maker([picture], scale=scale, making=Making(), limit=None, whole=False)
    maker.cache.put(0, (y,))
    piece = _Piece.around(place, (height, width), by=0, seed=0, step=0, item=0)
    _, x = maker.make(_Job(place, 0, piece, 0.0))
    assert torch.equal(x, cut(imresize_uint8(y, scale=1 / scale), place))


def test_pieces_are_degraded_once_and_cut_in_as_many_batches(folder: Path) -> None:
    files, asked = _files(folder), []

    @dataclass(frozen=True)
    class Counting:
        """Means of 2 x 2 pixels under a level of noise that is one for the whole piece; notes what it was asked."""

        def apply(self, picture: Tensor, *, noise: NoiseSource) -> Tensor:
            asked.append(tuple(picture.shape[-2:]))
            return Average(scale=2).apply(picture, noise=noise) + 1000 * noise.uniform("degradation", 0, 1).double()

    making = Making(degradation=Counting(), margin=4, reuse=3)
    with Stream(files, scale=2, crop=8, making=making) as stream:
        batches = [stream.batch(seed=5, step=k, size=6, crop=8) for k in range(2, 12)]
        # Two pieces a step, and the four of the two steps before the first one; at most the crop, half of it and the
        # margin on both sides.
        assert len(asked) == 2 * len(batches) + 4
        assert max(max(size) for size in asked) <= 2 * (8 + 2 * (4 + 4))
        # Any batch alone is the batch in a row, in any order: it is a function of seed and step.
        for k in (7, 2, 11):
            with Stream(files, scale=2, crop=8, making=making) as other:
                assert _same(other.batch(seed=5, step=k, size=6, crop=8), batches[k - 2])
        assert _same(stream.batch(seed=5, step=3, size=6, crop=8), batches[1])
        # x fits y up to the level of its piece: no two crops of a batch share one, three batches do.
        levels = []
        for y, x in batches:
            difference = (x - torch.nn.functional.avg_pool2d(y, 2)) * 127.5
            assert float(difference.std(dim=(1, 2, 3)).max()) < 1e-3
            levels.append([round(float(d), 1) for d in difference.mean(dim=(1, 2, 3))])
    assert all(len(set(found)) == 6 for found in levels)
    counts = [sum(level in found for found in levels) for level in levels[4]]
    assert counts == [3] * 6
    # A batch whose size is no multiple takes of some pieces fewer crops.
    with Stream(files, scale=2, crop=8, making=making) as stream:
        assert stream.batch(seed=5, step=0, size=4, crop=8)[0].shape == (4, 3, 16, 16)
        assert stream.batch(seed=5, step=0, size=1, crop=8)[0].shape == (1, 3, 16, 16)


def test_reuse_needs_a_degradation() -> None:
    with pytest.raises(UsageError, match="reuse of 2 is for a preset"):
        Making(reuse=2)
    with pytest.raises(UsageError, match="use 1 or more"):
        Making(degradation=Average(scale=2), reuse=0)


def test_workers_give_the_same_batches_in_any_order(folder: Path, tmp_path: Path) -> None:
    files = _files(folder)
    chain = Degradation(stages=(*reduction("gaussian:1.2", scale=2), AddNoise(sigma=3.0), EightBit()))
    making = Making(degradation=chain, blur=Blur(), reuse=2)
    here = Stream(files, scale=2, crop=8, making=making, memory=20_000)
    with Stream(files, scale=2, crop=8, making=making, unpacked=tmp_path / "unpacked", workers=2) as there:
        assert len(list((tmp_path / "unpacked").iterdir())) == len(files)
        # Steps in a row, a jump, every third as one of three devices asks, another size, and back.
        for step in (0, 1, 2, 40, 43, 46, 49, 1):
            asked = {**ASKED, "size": 3 if step == 40 else 6}
            assert _same(there.batch(step=step, **asked), here.batch(step=step, **asked))
        assert there._stride == 3 and len(there._pending) == 2
        processes = [p for pool in there._pools for p in pool._processes.values()]
    assert len(processes) == 2 and not any(p.is_alive() for p in processes)


def test_errors_of_a_worker_and_its_loss_are_named(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "bad.png").write_bytes((folder / "p3.png").read_bytes()[:-300])
    files = (PairFile("bad", tmp_path / "bad.png"),)
    with Stream(files, scale=2, crop=8, workers=3) as stream:
        assert stream.workers == 1  # one picture keeps one of them busy
        with pytest.raises(InputError, match="bad.png is a damaged or incomplete PNG"):
            stream.batch(step=0, **ASKED)
        (process,) = stream._pools[0]._processes.values()
        assert process.pid is not None
        os.kill(process.pid, signal.SIGKILL)
        with pytest.raises(InputError, match="one of 1 workers that make training crops is gone.*pictures.workers"):
            stream.batch(step=9, **ASKED)
    with pytest.raises(InputError, match="bad.png is a damaged or incomplete PNG"):
        Stream((*_files(folder), *files), scale=2, crop=8, unpacked=tmp_path / "unpacked")
    assert len(list((tmp_path / "unpacked").iterdir())) == 4


def test_shipped_small_pictures_are_cut_where_the_large_ones_are(tmp_path: Path) -> None:
    """The small picture numbers its pixels, each large cell repeats its number: a crop must agree with itself."""
    height, width, s = 11, 14, 3
    numbers = np.arange(height * width, dtype=np.uint8).reshape(height, width)
    y = numbers.repeat(s, 0).repeat(s, 1)
    y = np.pad(y, ((0, 2), (0, 1)), constant_values=255)  # what no cell covers
    for name, pixels in (("y.png", y), ("x.png", numbers)):
        Image.fromarray(np.stack([pixels] * 3, 2)).save(tmp_path / name)
    files = (PairFile("p", tmp_path / "y.png", tmp_path / "x.png"),)
    for memory in (None, 0):
        stream = Stream(files, scale=s, crop=5, memory=memory)
        seen = set()
        for step in range(30):
            ys, xs = stream.batch(seed=0, step=step, size=2, crop=5)
            assert torch.equal(ys[..., ::s, ::s], xs) and torch.equal(ys[..., s - 1 :: s, s - 1 :: s], xs)
            seen.update(((xs + 1) * 127.5).round().int().flatten().tolist())
        assert seen == set(range(height * width))


@pytest.mark.parametrize("stage", [Average(scale=4), Gaussian(scale=4, sigma=1.7)])
def test_a_degradation_of_a_window_is_that_of_the_whole_picture(folder: Path, stage: Any) -> None:
    files = _files(folder)[1:]
    chain = Degradation(stages=(stage, EightBit()))
    stream = Stream(files, scale=4, crop=8, making=Making(degradation=chain))
    operator = "average" if isinstance(stage, Average) else f"gaussian:{stage.sigma}"
    whole = []
    for f in files:
        y, _ = pair(torch.from_numpy(np.asarray(Image.open(f.y)).copy()).permute(2, 0, 1), scale=4)
        whole.append((y, degrade(y[None], scale=4, operator=operator)[0][0]))
    for step in range(4):
        places = draw(stream.sizes, step=step, **ASKED)
        expected = gather((cut(whole[p.index][0], p, scale=4), cut(whole[p.index][1], p)) for p in places)
        assert _same(stream.batch(step=step, **ASKED), expected)


def test_noise_of_a_degradation_belongs_to_seed_step_and_item(folder: Path) -> None:
    chain = Degradation(stages=(Average(scale=2), AddNoise(sigma=10.0)))
    noisy = Stream(_files(folder), scale=2, crop=8, making=Making(degradation=chain))
    clean = Stream(_files(folder), scale=2, crop=8, making=Making(degradation=Average(scale=2)))
    asked: dict[str, Any] = {"size": 64, "crop": 8}
    fields = {}
    for seed, step in ((1, 2), (1, 3), (2, 2)):
        (y, x), (same, without) = (s.batch(seed=seed, step=step, **asked) for s in (noisy, clean))
        assert torch.equal(y, same)
        fields[seed, step] = (x - without) * 127.5
        assert float(fields[seed, step].std()) == pytest.approx(10, rel=0.02)
        assert abs(float(fields[seed, step].mean())) < 4 * 10 / math.sqrt(x.numel())
        assert torch.equal(x, noisy.batch(seed=seed, step=step, **asked)[1])
    # Crops of one batch have fields of their own, whatever picture they come from.
    flat = fields[1, 2].reshape(64, -1)
    correlation = torch.corrcoef(flat) - torch.eye(64)
    assert float(correlation.abs().max()) < 5 / math.sqrt(flat.shape[1])
    assert not torch.equal(fields[1, 2], fields[1, 3])


def test_a_degradation_of_another_scale_is_refused(folder: Path) -> None:
    @dataclass(frozen=True)
    class Same:
        def apply(self, picture: Tensor, *, noise: NoiseSource) -> Tensor:
            return picture

    stream = Stream(_files(folder), scale=2, crop=8, making=Making(degradation=Same()))
    with pytest.raises(UsageError, match="belong to scale 2: use one that was made for"):
        stream.batch(step=0, **ASKED)


def test_blur_is_the_gaussian_and_hits_its_share() -> None:
    """The kernel is separable, sums to 1 and has the ratio exp(-1 / 2 sigma^2) of neighbours."""
    impulse = torch.zeros(1, 7, 7, dtype=torch.float64)
    impulse[0, 3, 3] = 1
    for sigma in (0.4, 0.6, 1.0):
        kernel = blurred(impulse, sigma=sigma)[0]
        assert float(kernel.sum()) == pytest.approx(1, abs=1e-12) and int((kernel > 0).sum()) == 9
        ratio = math.exp(-0.5 / sigma**2)
        assert float(kernel[3, 2] / kernel[3, 3]) == pytest.approx(ratio, abs=1e-12)
        assert float(kernel[2, 2] / kernel[3, 3]) == pytest.approx(ratio**2, abs=1e-12)
    flat = torch.full((3, 5, 6), 77.0)
    assert torch.allclose(blurred(flat, sigma=0.5), flat, atol=1e-4)
    drawn = torch.tensor([Blur(0.4, 0.6, 0.3).deviations(seed=1, step=k, size=100) for k in range(100)])
    hit = drawn[drawn > 0]
    assert len(hit) / drawn.numel() == pytest.approx(0.3, abs=4 * math.sqrt(0.21 / drawn.numel()))
    assert 0.4 <= float(hit.min()) < 0.402 and 0.598 < float(hit.max()) <= 0.6
    assert float(hit.mean()) == pytest.approx(0.5, abs=4 * 0.2 / math.sqrt(12 * len(hit)))


def test_blur_changes_the_small_picture_alone(folder: Path) -> None:
    files = _files(folder)
    blur = Blur(0.4, 0.6)
    plain, soft = (Stream(files, scale=2, crop=8, making=Making(blur=b)) for b in (None, blur))
    (y, x), (same, changed) = (s.batch(seed=1, step=4, size=40, crop=8) for s in (plain, soft))
    assert torch.equal(y, same)
    for item, sigma in enumerate(blur.deviations(seed=1, step=4, size=40)):
        expected = x[item] if sigma == 0 else blurred(x[item], sigma=sigma)
        assert torch.allclose(changed[item], expected, atol=1e-5)


@pytest.mark.parametrize("words", [{"low": 0.0}, {"low": 0.7}, {"high": 11.0}, {"share": 1.5}, {"low": math.nan}])
def test_blurs_that_make_no_sense(words: dict[str, float]) -> None:
    with pytest.raises(UsageError, match="use two deviations|use 0 to 1"):
        Blur(**words)


def test_the_cache_keeps_what_was_used_last_within_its_limit() -> None:
    cache = Cache(25)
    for key in (1, 2):
        cache.put(key, (torch.zeros(10, dtype=torch.uint8),))
    assert cache.get(1) is not None
    cache.put(3, (torch.zeros(4, dtype=torch.uint8), torch.zeros(6, dtype=torch.uint8)))
    assert (cache.get(2), cache.size, len(cache)) == (None, 20, 2) and cache.get(1) is not None
    cache.put(4, (torch.zeros(26, dtype=torch.uint8),))
    assert cache.get(4) is None and cache.size == 20
    unlimited = Cache(None)
    for key in range(50):
        unlimited.put(key, (torch.zeros(1000),))
    assert len(unlimited) == 50


def test_memory_stays_within_the_limit(folder: Path) -> None:
    stream = Stream(_files(folder), scale=2, crop=8, memory=40_000)
    kept = set()
    for step in range(20):
        stream.batch(step=step, **ASKED)
        assert stream._maker.cache.size <= 40_000
        kept |= set(stream._maker.cache._kept)
    assert kept == {0, 1, 2, 3}


def test_areas_turns_and_places_are_drawn_evenly() -> None:
    sizes = [(10, 10), (20, 15)]
    places = [p for step in range(200) for p in draw(sizes, seed=0, step=step, size=20, crop=8)]
    count = len(places)

    def near(share: float, expected: float) -> bool:
        return abs(share - expected) < 5 * math.sqrt(expected * (1 - expected) / count)

    assert near(sum(p.index == 1 for p in places) / count, 0.75)
    for turn in range(8):
        assert near(sum(p.turn == turn for p in places) / count, 1 / 8)
    first = [p for p in places if p.index == 0]
    assert {(p.row, p.column) for p in first} == {(r, c) for r in range(3) for c in range(3)}


def test_turns_are_the_symmetries_of_the_square() -> None:
    picture = torch.arange(9).reshape(1, 3, 3)
    seen = {tuple(turned(picture, code).flatten().tolist()) for code in range(8)}
    assert len(seen) == 8
    assert torch.equal(turned(picture, 7), picture.flip(-1).flip(-2).transpose(-1, -2))


def test_what_cannot_be_drawn_is_refused(folder: Path) -> None:
    with pytest.raises(UsageError, match="crops of 9 pixels from a picture of 12x8"):
        draw([(8, 12)], seed=0, step=0, size=1, crop=9)
    with pytest.raises(UsageError, match="both must be at least 1"):
        draw([(8, 12)], seed=0, step=0, size=0, crop=8)
    with pytest.raises(UsageError, match="neither may be negative"):
        Stream(_files(folder), scale=2, crop=8, workers=-1)
    with pytest.raises(InputError, match="none of 4 pictures has sides of at least 1600 pixels"):
        Stream(_files(folder), scale=2, crop=800)


def test_a_damaged_picture_is_named_before_the_first_step_or_when_it_is_drawn(folder: Path, tmp_path: Path) -> None:
    data = (folder / "p3.png").read_bytes()
    (tmp_path / "bad.png").write_bytes(data[:-300])
    files = (PairFile("bad", tmp_path / "bad.png"),)
    with pytest.raises(InputError, match="bad.png is a damaged or incomplete PNG"):
        Stream(files, scale=2, crop=8)
    stream = Stream(files, scale=2, crop=8, memory=0)
    with pytest.raises(InputError, match="bad.png is a damaged or incomplete PNG"):
        stream.batch(step=0, **ASKED)
    # A picture that was replaced by a smaller one since its size was read.
    Image.new("RGB", (64, 64)).save(tmp_path / "bad.png")
    stream = Stream(files, scale=2, crop=8, memory=0)
    Image.new("RGB", (40, 40)).save(tmp_path / "bad.png")
    with pytest.raises(InputError, match="bad.png is 40x40 pixels and was larger when the run began"):
        stream.batch(step=0, **ASKED)
