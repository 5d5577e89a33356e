"""What every measure of a pair has in common: identity, symmetry, and the pictures that it refuses."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
import pytest
import torch
from skimage import data

from mezzotint.errors import InputError
from mezzotint.quality import colour_shift, dists, lpips, lpips_map, ms_ssim, psnr, ssim
from mezzotint.quality.dists import DistsNetwork, save_weights

Measure = Callable[..., float]
MEASURES: dict[str, tuple[Measure, float]] = {
    "psnr": (partial(psnr, protocol="rgb-full"), np.inf),
    "ssim": (partial(ssim, protocol="rgb-full"), 1.0),
    "ssim exponents": (partial(ssim, protocol="rgb-full", exponents=(1, 2, 3)), 1.0),
    "ms_ssim": (partial(ms_ssim, protocol="rgb-full"), 1.0),
    "lpips": (lpips, 0.0),
    "lpips_map": (lambda a, b: np.asarray(lpips_map(a, b)).mean(), 0.0),
    "dists": (dists, 0.0),
    "colour_shift": (colour_shift, 0.0),
}


@pytest.fixture(scope="module", autouse=True)
def any_dists_weights(tmp_path_factory):
    """DISTS with weights that are not the published ones: what is tested here holds with any."""
    home = tmp_path_factory.mktemp("home")
    with torch.random.fork_rng():
        torch.manual_seed(0)
        tensors = DistsNetwork().state_dict()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MEZZOTINT_HOME", str(home))
        save_weights(tensors, home / "weights" / "dists.safetensors")
        yield


def size_for(name: str) -> tuple[int, int]:
    """Height and width that the measure can do with; small, because DISTS is slow."""
    return (170, 180) if name == "ms_ssim" else (50, 64)


@pytest.fixture
def pair(name: str) -> tuple[np.ndarray, np.ndarray]:
    height, width = size_for(name)
    picture = data.astronaut()[60 : 60 + height, 180 : 180 + width]
    noise = np.random.default_rng(0).integers(-30, 31, picture.shape)
    return picture, np.clip(picture + noise, 0, 255).astype(np.uint8)


@pytest.mark.parametrize("name", MEASURES)
def test_equal_pictures_are_best_and_order_does_not_matter(name, pair):
    measure, best = MEASURES[name]
    a, b = pair
    assert measure(a, a) == pytest.approx(best, abs=2e-6)
    assert measure(a, b) == pytest.approx(measure(b, a), rel=1e-4)
    assert abs(measure(a, b) - best) > 1e-3 or np.isinf(best)


@pytest.mark.parametrize("name", MEASURES)
def test_flat_pictures_have_finite_figures(name):
    measure, best = MEASURES[name]
    grey, lighter = (np.full((*size_for(name), 3), level, np.uint8) for level in (100, 110))
    assert measure(grey, grey) == pytest.approx(best, abs=2e-6)
    assert np.isfinite(measure(grey, lighter))


@pytest.mark.parametrize("name", MEASURES)
def test_grey_is_the_same_as_three_equal_channels(name, pair):
    measure, _ = MEASURES[name]
    grey = pair[0][..., 1]
    assert measure(grey, pair[1]) == pytest.approx(measure(np.stack([grey] * 3, axis=2), pair[1]), rel=1e-6)


@pytest.mark.parametrize("name", MEASURES)
def test_arrays_tensors_and_types_agree(name, pair):
    measure, _ = MEASURES[name]
    value = measure(*pair)
    tensors = [torch.from_numpy(picture.copy()).permute(2, 0, 1) for picture in pair]
    assert float(measure(*tensors)) == pytest.approx(value, rel=1e-6)
    assert measure(*(picture / 255 for picture in pair)) == pytest.approx(value, rel=1e-6)
    assert measure(*(picture.astype(np.uint16) * 257 for picture in pair)) == pytest.approx(value, rel=1e-6)


BAD = {
    "differ in size": lambda a: (a, a[:, :-1]),
    "differ in length": lambda a: (_batch(a, 1), _batch(a, 2)),
    r"lie in \[0, 1\]": lambda a: (a / 255, a / 127.5 - 1),
    "not finite": lambda a: (a / 255, np.where(a > 200, np.nan, a / 255)),
    "uint8, uint16 or float": lambda a: (a, a.astype(np.int64)),
    "alpha": lambda a: (a, np.concatenate([a, a[..., :1]], axis=2)),
    "no pixels": lambda a: (a, a[:0]),
    "is a list": lambda a: (a, a.tolist()),
}


def _batch(a: np.ndarray, count: int) -> torch.Tensor:
    return torch.from_numpy(a.copy()).permute(2, 0, 1).expand(count, -1, -1, -1)


@pytest.mark.parametrize("words", BAD)
@pytest.mark.parametrize("name", MEASURES)
def test_bad_pictures_are_refused(name, words, pair):
    measure, _ = MEASURES[name]
    with pytest.raises(InputError, match=words):
        measure(*BAD[words](pair[0]))
