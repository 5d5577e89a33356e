"""The benchmark of denoising: closed forms for denoisers that are known."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from benchmarks import denoising as bench
from mezzotint import methods
from mezzotint.noise import Noise, picture_id
from mezzotint.quality import psnr

GREY = np.full((64, 96, 3), 128, np.uint8)


def identity(z, level):
    return z


@pytest.mark.parametrize("sigma", [5, 15, 25])
def test_leaving_the_noise_gives_its_own_psnr(sigma):
    """20 log10(255 / sigma) up to the drawing; rounding adds a twelfth of a squared level."""
    field = Noise(0, pictures=(picture_id(GREY),)).normal(f"denoising {sigma}", 0, (1, 3, 64, 96))
    power = sigma**2 * float(field.square().mean())
    noisy, denoised = bench.compare(GREY, sigma, identity)
    assert noisy == pytest.approx(10 * math.log10(255**2 / power), abs=1e-9)
    assert noisy == pytest.approx(20 * math.log10(255 / sigma), abs=0.1)
    assert denoised == pytest.approx(10 * math.log10(255**2 / (power + 1 / 12)), abs=0.01)


def test_a_denoiser_gets_unrounded_noise_of_its_level_and_its_answer_is_a_file():
    seen = {}

    def known(z, level):
        seen["z"], seen["level"] = z, level
        return torch.full_like(z, (131.4 / 127.5) - 1)

    _, denoised = bench.compare(GREY, 50, known)
    assert seen["level"] == pytest.approx(50 / 127.5)
    off = (seen["z"] + 1) * 127.5 - 128
    assert float(off.std()) == pytest.approx(50, rel=0.02) and float(off.abs().max()) > 128
    assert float((off - off.round()).abs().max()) > 0.4
    assert denoised == pytest.approx(20 * math.log10(255 / 3))


def test_the_prior_is_asked_once_at_the_level():
    """An untrained prior is the best denoiser of N(0, deviation^2 I): y_hat = z d^2 / (d^2 + level^2)."""
    prior = methods.build("prior", scale=1, config={"network": {"widths": (4,), "blocks": 1, "embedding": 4}}).eval()
    calls, z = [], torch.randn(1, 3, 16, 24, generator=torch.Generator().manual_seed(0))
    prior.network.register_forward_hook(lambda *_: calls.append(1))
    found = bench.denoiser(prior)(z, 25 / 127.5)
    assert len(calls) == 1
    assert torch.allclose(found, z * 0.25 / (0.25 + (25 / 127.5) ** 2), atol=1e-5)


def test_means_are_over_pictures_and_grey_ones_are_taken_as_colour():
    rng = np.random.default_rng(0)
    pictures = [rng.integers(90, 160, (32, 40, 3), np.uint8), rng.integers(90, 160, (40, 32, 1), np.uint8)]
    content = bench.measure(pictures, identity, levels=(15,), report=lambda text: None)
    each = [bench.compare(np.repeat(p, 3 // p.shape[2], axis=2), 15, identity) for p in pictures]
    assert content["pictures"] == 2
    row, (noisy, denoised) = content["levels"]["15"], np.mean(each, axis=0)
    assert row == {
        "noisy": pytest.approx(noisy, abs=1e-4), "denoised": pytest.approx(denoised, abs=1e-4), "target": 32.5,
        "goal": 33.0,
    }  # fmt: skip
    with pytest.raises(SystemExit, match="no pictures"):
        bench.measure([], identity)


def test_the_command_writes_what_it_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    prior = methods.build("prior", scale=1, config={"network": {"widths": (4,), "blocks": 1, "embedding": 4}})
    prior.save_pretrained(tmp_path / "prior")
    (tmp_path / "BSD100").mkdir()
    for name in ("a", "b"):
        Image.fromarray(GREY).save(tmp_path / "BSD100" / f"{name}.png")
    output = tmp_path / "denoising.json"
    arguments = [str(tmp_path / "prior"), "--data", str(tmp_path), "--limit", "1", "-o", str(output)]
    monkeypatch.setattr("sys.argv", ["denoising.py", *arguments])
    bench.main()
    content = bench.json.loads(output.read_text())
    assert content["pictures"] == 1 and set(content["levels"]) == {"15", "25", "50"} and len(content["weights"]) == 64
    assert psnr(GREY, GREY) == math.inf and content["levels"]["15"]["denoised"] > content["levels"]["15"]["noisy"]
