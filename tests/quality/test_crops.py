from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from PIL import Image

from mezzotint.errors import InputError
from mezzotint.quality.crops import Crop, choose_crops, find_picture, load_crops, read_crops


def read(path) -> np.ndarray:
    return np.asarray(Image.open(path))


def test_the_list_has_34_crops():
    crops = read_crops()
    assert Counter(crop.benchmark for crop in crops) == {"Set14": 14, "BSD100": 20}
    assert len({crop.name for crop in crops}) == 34
    assert all(crop.side == 128 and crop.row % 4 == 0 and crop.column % 4 == 0 for crop in crops)


def test_the_list_is_what_the_rule_chooses(shared_data):
    bench = shared_data / "bench"
    crops = read_crops()
    assert choose_crops((crop.benchmark, crop.picture, read(find_picture(bench, crop))) for crop in crops) == crops


def test_every_fifth_picture_of_bsd100_is_on_the_list(shared_data):
    numbers = sorted(int(file.stem) for file in (shared_data / "bench" / "BSD100").iterdir())
    assert [int(crop.picture) for crop in read_crops() if crop.benchmark == "BSD100"] == numbers[::5]


def test_crops_are_read_as_they_are_listed(shared_data):
    loaded = list(load_crops(shared_data / "bench", read=read))
    assert [name for name, _ in loaded] == [crop.name for crop in read_crops()]
    assert {pixels.shape[:2] for _, pixels in loaded} == {(128, 128)}
    first = read_crops()[0]
    picture = read(find_picture(shared_data / "bench", first))
    assert np.array_equal(loaded[0][1], picture[first.row : first.row + 128, first.column : first.column + 128])


def brute_force(pixels: np.ndarray) -> tuple[int, int]:
    """The rule, window by window."""
    luma = pixels[..., 0].astype(float)
    windows = []
    for row in range(0, pixels.shape[0] - 127, 4):
        for column in range(0, pixels.shape[1] - 127, 4):
            window = luma[row : row + 128, column : column + 128]
            energy = np.square(np.diff(window, axis=0)).sum() + np.square(np.diff(window, axis=1)).sum()
            windows.append((np.isin(window, (0, 255)).mean(), -round(energy, 3), row, column))
    limit = max(0.05, np.quantile([window[0] for window in windows], 0.25, method="lower"))
    return min(window[1:] for window in windows if window[0] <= limit)[1:]


@pytest.mark.parametrize("seed", range(3))
def test_the_rule_equals_brute_force(seed):
    generator = np.random.default_rng(seed)
    coarse = generator.uniform(-60, 320, (20, 22))
    grain = generator.standard_normal((160, 176)) * np.kron(generator.uniform(0, 40, (10, 11)), np.ones((16, 16)))
    pixels = np.clip(np.kron(coarse, np.ones((8, 8))) + grain, 0, 255).astype(np.uint8)[..., None]
    (crop,) = choose_crops([("set", "name", pixels)])
    assert (crop.row, crop.column) == brute_force(pixels)


def test_a_flat_picture_gives_the_first_window():
    (crop,) = choose_crops([("set", "flat", np.full((140, 150, 3), 90, np.uint8))])
    assert (crop.row, crop.column) == (0, 0)


def test_other_pictures_are_refused(tmp_path):
    with pytest.raises(InputError, match="smaller than 128x128"):
        choose_crops([("set", "small", np.zeros((127, 200, 3), np.uint8))])
    with pytest.raises(InputError, match="ends before row 136, column 128"):
        Crop("set", "name", 8, 0).cut(np.zeros((128, 128, 3), np.uint8))
    with pytest.raises(InputError, match="holds no picture baboon"):
        load_crops(tmp_path, read=read)
