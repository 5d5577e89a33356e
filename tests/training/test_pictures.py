"""What run files say of pictures: data sets, small pictures made while training, memory, workers."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from mezzotint.errors import InputError, UsageError
from mezzotint.methods import load_with_card
from mezzotint.operators.degradation import degrade
from mezzotint.training import Run, check, read_run, start
from mezzotint.training.crops import batch, load_pairs
from mezzotint.training.start import _data, find_pairs, making, open_pictures

RUN = """
method = "ddpm-sr"
steps = 2
batch = 2
seed = 4
output = "{output}"
[config.network]
channels = 8
multipliers = [1, 2]
groups = 4
[pictures]
folder = "{folder}"
crop = 8
"""


def _picture(path: Path, height: int, width: int, seed: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)


@pytest.fixture(scope="module")
def div2k(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three training pictures of DIV2K, with small ones of noise that no reduction would give."""
    root = tmp_path_factory.mktemp("DIV2K")
    for k, (height, width) in enumerate([(40, 52), (61, 44), (48, 48)]):
        _picture(root / "DIV2K_train_HR" / f"000{k + 1}.png", height, width, k)
        _picture(root / "DIV2K_train_LR_unknown" / "X4" / f"000{k + 1}x4.png", height // 4, width // 4, 10 + k)
    return root


@pytest.fixture
def run(tmp_path: Path, div2k: Path) -> Any:
    file = tmp_path / "run.toml"
    file.write_text(RUN.format(output=tmp_path / "out", folder=div2k))

    def read(*changes: str) -> Run:
        return read_run(file, changes=changes)

    return read


def test_a_plain_folder_gives_the_batches_that_it_always_gave(run: Any, div2k: Path) -> None:
    plain = run(f"pictures.folder='{div2k / 'DIV2K_train_HR'}'")
    pairs = load_pairs(sorted((div2k / "DIV2K_train_HR").glob("*.png")), scale=4, crop=8)
    for changes in ((), ("pictures.cache_mb=0",)):
        with open_pictures(run(f"pictures.folder='{div2k / 'DIV2K_train_HR'}'", *changes)) as stream:
            for step in (0, 5):
                asked = {"seed": plain.seed, "step": step, "size": 3, "crop": 8}
                a, b = batch(stream, **asked), batch(pairs, **asked)
                assert torch.equal(a[0], b[0]) and torch.equal(a[1], b[1])


def test_a_data_set_gives_its_shipped_small_pictures(run: Any, div2k: Path) -> None:
    asked = run("pictures.dataset=div2k", "pictures.track=unknown")
    assert [p.name for p in find_pairs(asked).pairs] == ["0001", "0002", "0003"]
    shipped = {
        tuple(pixel)
        for path in (div2k / "DIV2K_train_LR_unknown" / "X4").glob("*.png")
        for pixel in np.asarray(Image.open(path)).reshape(-1, 3).tolist()
    }
    with open_pictures(asked) as stream:
        _, x = batch(stream, seed=0, step=0, size=4, crop=8)
    pixels = ((x + 1) * 127.5).round().to(torch.uint8).permute(0, 2, 3, 1).reshape(-1, 3).tolist()
    assert all(tuple(pixel) in shipped for pixel in pixels)
    listed = run("pictures.dataset=div2k", f"pictures.names='{div2k / 'names.txt'}'")
    (div2k / "names.txt").write_text("0003.png\n")
    assert [p.name for p in find_pairs(listed).pairs] == ["0003"]


def test_small_pictures_are_made_as_degrade_makes_them(run: Any, div2k: Path) -> None:
    """One picture that is one crop: the window is the whole picture, and so is JPEG's grid."""
    folder = f"pictures.folder='{div2k / 'one'}'"
    _picture(div2k / "one" / "a.png", 32, 32, 7)
    y = torch.from_numpy(np.asarray(Image.open(div2k / "one" / "a.png")).copy()).permute(2, 0, 1)[None]
    words = ("pictures.flips=false", "pictures.rotations=false")
    for changes, expected in (
        (("pictures.jpeg=30",), degrade(y, jpeg=30)),
        (("pictures.operator=average",), degrade(y, operator="average")),
        (("pictures.operator='gaussian:1.6'", "pictures.jpeg=80"), degrade(y, operator="gaussian:1.6", jpeg=80)),
    ):
        asked = run(folder, *words, *changes)
        with open_pictures(asked) as stream:
            _, x = batch(stream, seed=0, step=0, size=1, crop=8, flips=False, rotations=False)
        assert torch.equal(x, expected[0].float() / 127.5 - 1)
    assert making(run(folder)).degradation is None
    noisy = making(run(folder, "pictures.noise=3", "pictures.blur=[0.4, 0.6]", "pictures.blur_share=0.25"))
    assert noisy.degradation is not None and noisy.blur is not None
    assert (noisy.blur.low, noisy.blur.high, noisy.blur.share) == (0.4, 0.6, 0.25)


@pytest.mark.parametrize("preset", ["bsrgan", "real-esrgan", "bicubic"])
def test_a_preset_is_drawn_anew_for_every_crop(run: Any, div2k: Path, preset: str) -> None:
    """One picture of one crop: what differs between crops and steps was drawn; MATLAB's bicubic draws nothing."""
    _picture(div2k / "one" / "a.png", 32, 32, 7)
    words = ("pictures.flips=false", "pictures.rotations=false", f"pictures.folder='{div2k / 'one'}'")
    with open_pictures(run(*words, f"pictures.preset={preset}")) as stream:
        asked: dict[str, Any] = {"seed": 1, "size": 3, "crop": 8, "flips": False, "rotations": False}
        (y, x), (_, later), (_, again) = (batch(stream, step=step, **asked) for step in (0, 1, 0))
    assert y.shape == (3, 3, 32, 32) and x.shape == (3, 3, 8, 8) and torch.equal(x, again)
    levels = (x + 1) * 127.5
    assert torch.allclose(levels, levels.round(), atol=1e-3) and levels.min() >= 0 and levels.max() <= 255
    drawn = [*x, *later]
    assert len({picture.numpy().tobytes() for picture in drawn}) == (1 if preset == "bicubic" else 6)


@pytest.mark.parametrize(
    "changes, words",
    [
        (["pictures.preset=bsgan"], "preset 'bsgan' is unknown"),
        (["pictures.preset=bsrgan", "scale=8"], "preset bsrgan has no scale 8"),
        (["pictures.preset=bsrgan", "pictures.jpeg=50"], "has its own operator, noise and JPEG"),
        (["pictures.dataset=div2k", "pictures.track=unknown", "pictures.preset=bsrgan"], "leave out one or the other"),
        (["pictures.dataset=div3k"], "'div3k' is unknown: did you mean DIV2K"),
        (["pictures.dataset=div2k", "pictures.split=val"], "has no split 'val'"),
        (["pictures.dataset=div2k", "pictures.track=bicubic"], "lacks the small pictures of DIV2K"),
        (["pictures.track=bicubic"], "pictures.track belongs to a data set"),
        (["pictures.split=train"], "pictures.split belongs to a data set"),
        (["pictures.dataset=div2k", "pictures.track=unknown", "pictures.noise=2"], "leave out one or the other"),
        (["pictures.dataset=div2k", "pictures.operator=cubic"], "operator 'cubic' is unknown"),
        (["pictures.dataset=div2k", "pictures.blur=[0.6, 0.4]"], "use two deviations above 0"),
        (["pictures.dataset=div2k", "scale=3", "pictures.track=unknown"], "looked for DIV2K_train_LR_unknown/X3"),
        (["pictures.dataset=div2k", "pictures.crop=100"], "none of 3 pictures has sides of at least 400"),
    ],
)
def test_settings_that_cannot_be_met_are_named_before_the_first_step(run: Any, changes: list[str], words: str) -> None:
    with pytest.raises((UsageError, InputError), match=words):
        open_pictures(run(*changes))


@pytest.mark.parametrize("change", ["pictures.workers=-1", "pictures.cache_mb=1.5", "pictures.jpeg=0", "pictures.x=1"])
def test_keys_are_strict(run: Any, change: str) -> None:
    with pytest.raises(UsageError, match=change.partition("=")[0]):
        run(change)


def test_a_run_on_a_data_set_says_so_on_its_card(run: Any, tmp_path: Path) -> None:
    asked = run("pictures.dataset=div2k", "pictures.track=unknown", "pictures.blur=[0.4, 0.6]")
    assert start(asked).step == 2
    _, card = load_with_card(str(tmp_path / "out"))
    assert card.data == (
        "DIV2K, split train, track unknown: 3 pictures, 0.0 megapixels, 50% blurred by 0.4 to 0.6 small pixels"
    )
    assert card.data_licence.startswith("academic research only")


@pytest.mark.parametrize(
    "changes, words",
    [
        ([], ""),
        (["pictures.preset=bicubic"], ""),
        (["pictures.preset=bsrgan"], ", made small by bsrgan"),
        (["pictures.jpeg=40"], ", made small by bicubic, JPEG 40"),
        (["pictures.operator=average", "pictures.noise=2.5"], ", made small by average, noise 2.5"),
    ],
)
def test_cards_say_how_small_pictures_were_made(run: Any, div2k: Path, changes: list[str], words: str) -> None:
    asked = run("pictures.dataset=div2k", *changes)
    with open_pictures(asked) as stream:
        assert _data(asked, stream)["data"] == f"DIV2K, split train: 3 pictures, 0.0 megapixels{words}"


def test_the_check_takes_a_data_set(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.modules[check.__module__], "CHECK_SECONDS", 0.0)
    checked = check(run("pictures.dataset=div2k", "pictures.workers=2"))
    assert checked.picture.is_file() and checked.steps == 1
