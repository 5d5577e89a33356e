"""Near duplicates: pictures that were changed a little are found, other pictures are not."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageEnhance, ImageFilter

from mezzotint.data.fingerprints import TURNS, _distances, _shrink, fingerprint, near, turned, turned_bits
from mezzotint.data.resolution import luma

Landscape = Callable[..., np.ndarray]
Compressed = Callable[[np.ndarray, int], np.ndarray]


def test_shrinking_is_the_mean_over_equal_parts() -> None:
    """A whole ratio against the mean over cells, any ratio against the integral of the steps."""
    picture = np.random.default_rng(0).uniform(0, 255, 96)
    assert np.allclose(_shrink(96, 32) @ picture, picture.reshape(32, 3).mean(axis=1))
    for side in (7, 33, 100):
        matrix = _shrink(side, 32)
        assert np.allclose(matrix.sum(axis=1), 1) and np.allclose(matrix.sum(axis=0), 32 / side)
        ramp = np.arange(side) + 0.5
        if side == 33:
            assert np.all(np.diff(matrix @ ramp) > 0)


@pytest.mark.parametrize("turn", range(8))
def test_bits_of_a_turned_picture(landscape: Landscape, turn: int) -> None:
    levels = luma(landscape(1, 150, 200))
    changed = fingerprint(turned(levels, turn)).bits
    assert bin(turned_bits(fingerprint(levels).bits, turn) ^ changed).count("1") <= 1


@pytest.mark.parametrize("native", [True, False])
def test_distances_count_bits(monkeypatch: pytest.MonkeyPatch, native: bool) -> None:
    if not native:
        monkeypatch.delattr(np, "bitwise_count", raising=False)
    rng = np.random.default_rng(0)
    many, one = rng.integers(0, 1 << 63, 50, dtype=np.uint64), int(rng.integers(0, 1 << 63))
    assert _distances(one, many).tolist() == [bin(int(m) ^ one).count("1") for m in many]


def test_the_names_of_the_turns() -> None:
    picture = np.arange(6).reshape(2, 3)
    wanted = {
        "as it is": picture,
        "mirrored": picture[:, ::-1],
        "turned by 180 degrees": np.rot90(picture, 2),
        "turned by 90 degrees": np.rot90(picture),
        "turned by 270 degrees": np.rot90(picture, 3),
        "transposed": picture.T,
    }
    for name, expected in wanted.items():
        assert np.array_equal(turned(picture, TURNS.index(name)), expected)
    assert len({turned(picture, k).tobytes() + bytes(turned(picture, k).shape) for k in range(8)}) == 8


def test_changed_copies_are_found_and_others_are_not(landscape: Landscape, compressed: Compressed) -> None:
    pictures = [landscape(seed) for seed in range(12)]
    image = Image.fromarray(pictures[3])
    copies = {
        "jpeg": compressed(pictures[3], 20),
        "half": np.asarray(image.resize((160, 128), Image.Resampling.BICUBIC)),
        "larger": np.asarray(image.resize((437, 350), Image.Resampling.LANCZOS)),
        "blurred": np.asarray(image.filter(ImageFilter.GaussianBlur(2))),
        "brighter": np.asarray(ImageEnhance.Brightness(image).enhance(1.15)),
        "flatter": np.asarray(ImageEnhance.Contrast(image).enhance(0.8)),
        "mirrored": pictures[3][:, ::-1],
        "turned by 90 degrees": np.rot90(pictures[3]),
    }
    prints = [fingerprint(luma(p)) for p in (*pictures, *copies.values())]
    found = near(prints)
    with_original = {n.second: n for n in found if n.first == 3}
    assert set(with_original) == set(range(12, 12 + len(copies)))
    for place, name in enumerate(copies, 12):
        expected = name if name in TURNS else "as it is"
        assert TURNS[with_original[place].turn] == expected and with_original[place].distance <= 6
    assert all(n.first == 3 or n.first >= 12 for n in found)
    assert near(prints[:12]) == () and near([]) == () and near(prints[:1]) == ()


def test_flat_pictures_are_no_duplicates() -> None:
    assert near([fingerprint(np.full((64, 64), level)) for level in (10.0, 200.0, 90.0)]) == ()


def test_photographs(shared_data: Path) -> None:
    files = [f for name in ("Set5", "Set14") for f in sorted((shared_data / "bench" / name).glob("*.png"))]
    prints = [fingerprint(luma(np.asarray(Image.open(f).convert("RGB")))) for f in files]
    # One photograph is in both sets, as `head` and as `face`, coded in another way.
    assert [(files[n.first].stem, files[n.second].stem, n.turn) for n in near(prints)] == [("head", "face", 0)]
    halves = [fingerprint(luma(np.asarray(Image.open(f).convert("RGB").reduce(2)))) for f in files]
    found = near([*prints, *halves])
    assert {(k, k + len(files)) for k in range(len(files))} < {(n.first, n.second) for n in found}
    assert len(found) == len(files) + 4
