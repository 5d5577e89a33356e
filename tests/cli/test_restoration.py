"""The zero-shot solvers as a user meets them: operators, noise, records, replay, plans and figures."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

import mezzotint
from mezzotint import images, methods
from mezzotint.operators.named import named_operator
from mezzotint.record import FORMAT

Command = Callable[..., "object"]


@pytest.fixture(scope="session")
def prior(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with weights of an untrained prior, which is small and not zero."""
    folder = tmp_path_factory.mktemp("prior")
    with torch.random.fork_rng():
        torch.manual_seed(0)
        config = {"network": {"widths": (8, 12), "blocks": 1, "embedding": 8}}
        method = mezzotint.build("prior", scale=1, config=config)
        for parameter in method.parameters():
            torch.nn.init.normal_(parameter, std=0.05)
    method.save_pretrained(folder, card=method.describe().model_copy(update={"local": True}))
    return folder


def _record(path: Path) -> dict:
    return json.loads(images.read_record(path) or "")


def test_the_prior_of_the_package_is_taken_unless_another_is_named(command, photo: Path, tmp_path: Path) -> None:
    made = tmp_path / "made.png"
    outcome = command("upscale", photo, "--method", "ddnm", "--scale", 2, "--steps", 1, "-o", made)
    assert outcome.status == 0
    assert _record(made)["request"]["weights"] == methods.load_with_card("prior")[1].digest


@pytest.mark.parametrize("options", [("--operator", "average"), ("--noise", "5")])
def test_other_methods_refuse_what_solvers_are_told(command, photo: Path, options: tuple[str, str]) -> None:
    for name in ("bicubic", "mezzotint-x4"):
        outcome = command("upscale", photo, "--method", name, *options)
        assert outcome.status == 2
        assert options[0] in outcome.line and "ddnm:FOLDER" in outcome.line
    assert command("plan", photo, "--method", "bicubic", *options).status == 2
    outcome = command("upscale", photo, "--method", "bicubic", "--scale", 1)
    assert outcome.status == 2 and "above 1" in outcome.line


@pytest.mark.parametrize(
    ("operator", "scale"),
    [("bicubic", 2), ("bicubic", 3), ("average", 4), ("gaussian:1.2", 2), ("identity", 1), ("lanczos", 2)],
)
def test_a_picture_is_restored_and_fits_its_input(
    command, photo: Path, prior: Path, tmp_path: Path, operator: str, scale: int
) -> None:
    target = tmp_path / "out.tif"
    words = ("upscale", photo, "-o", target, "--method", f"ddnm:{prior}", "--scale", scale, "--operator", operator)
    assert command(*words, "--steps", 3).status == 0
    made, record = images.read(target), _record(target)
    assert made.rows.shape == (12 * scale, 16 * scale, 3)
    request = record["request"]
    assert (request["operator"], request["noise"], request["method"]) == (operator, 0.0, "ddnm@released")
    assert record["format"] == FORMAT and record["recipe"] == "ddnm" and record["evaluations"] == 3
    assert record["consistency"]["operator"].startswith(operator)
    # What was clipped to [0, 1] may be missing; the record says how much.
    small = named_operator(operator, scale=scale).for_small(12, 16).A(
        torch.from_numpy(np.array(made.rows)).permute(2, 0, 1)[None].double() / 255
    )
    x = torch.from_numpy(np.array(images.read(photo).rows)).permute(2, 0, 1)[None].double() / 255
    rms = float((255 * (small - x)).square().mean().sqrt())
    assert rms == pytest.approx(record["consistency"]["saved_rms"], abs=1e-3)
    if operator == "identity":
        assert rms == 0


@pytest.mark.parametrize(("operator", "scale"), [("average", 2), ("bicubic", 3), ("grey", 1)])
def test_what_the_clip_takes_is_put_back(
    command, photo: Path, prior: Path, tmp_path: Path, operator: str, scale: int
) -> None:
    words = ("--method", f"ddnm:{prior}", "--scale", scale, "--operator", operator, "--steps", 3)
    found = {}
    for option in ("--no-consistent", "--consistent"):
        target = tmp_path / f"out{option}.png"
        assert command("upscale", photo, "-o", target, *words, option).status == 0
        found[option] = _record(target)["consistency"]
    plain, fitted = found["--no-consistent"], found["--consistent"]
    assert fitted["before_rms"] == plain["after_rms"] > 0.5
    assert fitted["after_rms"] < 0.35 * fitted["before_rms"]
    assert fitted["saved_rms"] < 0.35 * plain["saved_rms"] + 0.3


def test_a_lossy_file_and_a_transparent_one_say_how_far_they_are(
    command, save, prior: Path, tmp_path: Path
) -> None:
    rows = np.array(images.read(save(tmp_path / "colour.png", channels=3, height=16)).rows)
    alpha = np.full((16, 16, 1), 255, np.uint8)
    alpha[:8, :8] = 0
    images.write(images.Picture(rows), tmp_path / "a.jpg")
    images.write(images.Picture(np.concatenate([rows, alpha], 2), alpha=True), tmp_path / "b.png")
    words = ("--method", f"ddnm:{prior}", "--scale", 2, "--operator", "average", "--steps", 3)
    assert command("upscale", tmp_path / "a.jpg", tmp_path / "b.png", "-o", tmp_path / "out", *words).status == 0
    # As the JPEG is read again.
    x, y = (np.array(images.read(path).rows, float) for path in (tmp_path / "a.jpg", tmp_path / "out" / "a_x2.jpg"))
    off = y.reshape(16, 2, 16, 2, 3).mean((1, 3)) - x
    found = _record(tmp_path / "out" / "a_x2.jpg")["consistency"]
    assert found["saved_rms"] == pytest.approx(float(np.sqrt(np.square(off).mean())), abs=1e-3)
    assert found["saved_max"] == pytest.approx(float(np.abs(off).max()), abs=1e-3)
    made = np.array(images.read(tmp_path / "out" / "b_x2.png").rows)
    assert made.shape == (32, 32, 4) and (made[:15, :15, 3] == 0).all() and (made[20:, 20:, 3] == 255).all()
    # Where alpha is 0 the input's own colours stay.
    assert np.array_equal(made[:14, :14, :3], rows[:7, :7].repeat(2, 0).repeat(2, 1))


def test_inpainting_with_a_mask(command, photo: Path, prior: Path, tmp_path: Path) -> None:
    mask = np.zeros((12, 16, 1), np.uint8)
    mask[:, :9] = 255
    images.write(images.Picture(mask), tmp_path / "mask.png")
    target = tmp_path / "out.png"
    words = ("upscale", photo, "-o", target, "--method", f"repaint:{prior}", "--scale", 1, "--steps", 4)
    assert command(*words, "--operator", f"mask:{tmp_path / 'mask.png'}").status == 0
    before, after = np.array(images.read(photo).rows), np.array(images.read(target).rows)
    assert np.array_equal(after[:, :9], before[:, :9])
    assert not np.array_equal(after[:, 9:], before[:, 9:])
    text = images.read_record(target) or ""
    request = json.loads(text)["request"]
    assert request["operator"] == "mask:mask.png" and len(request["operator_sha256"]) == 64
    assert str(tmp_path) not in text

    # Replayed with the mask beside it, refused with another one or none.
    outcome = command("replay", target, "--weights", prior, "--json")
    assert outcome.status == 0 and json.loads(outcome.out)["difference"]["differing"] == 0
    other = tmp_path / "other.png"
    images.write(images.Picture(255 - mask), other)
    outcome = command("replay", target, "--weights", f"repaint:{prior}", "--operator", f"mask:{other}")
    assert outcome.status == 1 and "not the operator" in outcome.line
    (tmp_path / "mask.png").unlink()
    outcome = command("replay", target, "--weights", prior)
    assert outcome.status == 1 and "--operator mask:FILE" in outcome.line
    # A mask of another size is refused before anything is computed.
    images.write(images.Picture(mask[:5]), other, overwrite=True)
    outcome = command("upscale", photo, "-o", tmp_path / "b.png", *words[4:], "--operator", f"mask:{other}")
    assert outcome.status == 1 and "5x16 pixels" in outcome.line


def test_a_grey_picture_is_coloured(command, prior: Path, save, tmp_path: Path) -> None:
    source, target = save(tmp_path / "grey.png", channels=1), tmp_path / "out.png"
    words = ("upscale", source, "-o", target, "--method", f"ddnm:{prior}", "--scale", 1, "--steps", 3)
    assert command(*words, "--operator", "grey").status == 0
    made, record = images.read(target), _record(target)
    assert made.space == "rgb" and made.rows.shape == (12, 16, 3)
    assert any("coloured" in line for line in record["adapted"])
    assert record["request"]["coding"] == "uint8 rgb"
    outcome = command("replay", target, "--weights", prior, "--json")
    assert outcome.status == 0 and json.loads(outcome.out)["equal"] is True
    # Other operators leave a grey picture grey.
    assert command(*words[:2], "-o", tmp_path / "b.png", *words[4:], "--operator", "identity").status == 0
    assert images.read(tmp_path / "b.png").space == "grey"
    assert _record(tmp_path / "b.png")["consistency"]["saved_max"] < 1e-4


def test_depth_alpha_and_arrays(prior: Path) -> None:
    upscaler = mezzotint.load(f"ddnm:{prior}")
    values = np.random.default_rng(0).random((6, 5, 4))
    picture = (values * 65535).astype(np.uint16)
    result = upscaler(picture, scale=2, steps=2, operator="average")
    assert result.image.dtype == np.uint16 and result.image.shape == (12, 10, 4)
    assert result.record.request.operator == "average"
    grey = upscaler(picture[..., :2], scale=1, steps=2, operator="grey")
    assert grey.image.shape == (6, 5, 4)
    batch = torch.rand(2, 3, 5, 4, generator=torch.Generator().manual_seed(0))
    both = upscaler(batch, scale=2, steps=2, operator="average", noise=3.0)
    alone = upscaler(batch[1], scale=2, steps=2, operator="average", noise=3.0)
    assert torch.equal(both.image[1], alone.image)
    same = upscaler(batch[1], scale=2, steps=2, operator=named_operator("average", scale=2), noise=3.0)
    assert torch.equal(same.image, alone.image)
    assert upscaler(batch[1], scale=2, steps=2).record.request.operator == "bicubic"


@pytest.mark.parametrize(
    ("method", "options", "words"),
    [
        ("repaint", ("--noise", "5"), "5 grey levels"),
        ("ddnm", ("--operator", "nonsense"), "nonsense"),
        ("ddnm", ("--operator", "grey"), "scale 4"),
        ("ddnm", ("--operator", "mask:none.png", "--scale", "1"), "none.png"),
        ("ddnm", ("--operator", "none.toml"), "none.toml"),
        ("ddnm", ("--noise", "-1"), "--noise"),
        ("ddnm", ("--noise", "x"), "--noise"),
        ("ddnm", ("--scale", "2.5"), "whole"),
        ("ddnm", ("--consistent", "--noise", "5"), "--consistent"),
        ("ddnm", ("--steps", "2000"), "2000"),
        ("ddnm", ("--realism", "0.5"), "realism"),
        ("ddnm", ("--tile", "64"), "not local"),
        ("ddnm", ("--guidance", "2"), "guidance"),
        ("ddrm", ("--operator", "kernel.toml", "--scale", "2"), "singular"),
        ("ddnm", ("--operator", "kernel.toml", "--scale", "2", "--noise", "3"), "ddnm@paper"),
        ("dps@likelihood", (), "steep"),
    ],
)
def test_what_cannot_be_done_is_said_before_the_first_picture(
    command, photo: Path, prior: Path, tmp_path: Path, monkeypatch, method: str, options: tuple[str, ...], words: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("kernel.toml").write_text(
        '[[step]]\noperator = "blur"\nscale = 2\n'
        'kernel = { family = "gaussian", size = 5, sigmas = [1.2, 0.7], angle = 0.5 }\n'
    )
    outcome = command("upscale", photo, "-o", "out.png", "--method", f"{method}:{prior}", *options)
    assert outcome.status == 2, outcome
    assert words in outcome.line
    assert not Path("out.png").exists()


def test_a_prior_of_other_channels_or_without_gradients(command, save, tmp_path: Path) -> None:
    config = {"channels": 1, "network": {"widths": (8,), "blocks": 1, "embedding": 8}}
    method = mezzotint.build("prior", scale=1, config=config)
    method.save_pretrained(tmp_path / "one")
    colour, grey = save(tmp_path / "colour.png"), save(tmp_path / "grey.png", channels=1)
    words = ("--method", f"ddnm:{tmp_path / 'one'}", "--steps", 2, "--scale", 2)
    outcome = command("upscale", colour, "-o", tmp_path / "a.png", *words)
    assert outcome.status == 1 and "1 channels" in outcome.line
    assert command("upscale", grey, "-o", tmp_path / "b.png", *words).status == 0

    class Opaque(torch.nn.Module):
        channels = 3

        def of(self, bridge, *, like):
            from mezzotint.samplers.step import Estimate

            return lambda z, t: Estimate(0 * z.detach())

    from mezzotint.errors import UsageError
    from mezzotint.methods.restorer import build_restorer
    from mezzotint.operators.diagonal import Average

    operator = Average(height=8, width=8, scale=2)
    build_restorer("ddnm", scale=2, preset="paper", config=None, prior=Opaque()).check(operator, channels=3, sigma=0.0)
    with pytest.raises(UsageError, match="no gradients"):
        build_restorer("dps", scale=2, preset="released", config=None, prior=Opaque()).check(
            operator, channels=3, sigma=0.0
        )


def test_noise_is_told_and_recorded(command, photo: Path, prior: Path, tmp_path: Path) -> None:
    made = {}
    for noise in ("0", "10"):
        target = tmp_path / f"{noise}.png"
        words = ("upscale", photo, "-o", target, "--method", f"ddrm:{prior}", "--scale", 2, "--operator", "average")
        assert command(*words, "--noise", noise, "--steps", 3).status == 0
        made[noise] = np.array(images.read(target).rows)
        assert _record(target)["request"]["noise"] == float(noise)
    assert not np.array_equal(made["0"], made["10"])
    # A second run with the same words is skipped, one with another noise is not the same record.
    outcome = command(*words, "--noise", "10", "--steps", 3)
    assert outcome.status == 0 and any("skipped" in line for line in outcome.lines)
    assert command(*words, "--noise", "11", "--steps", 3).status == 1
    cited = command("cite", target)
    assert cited.status == 0
    assert {"kawar2022ddrm", "karras2022elucidating"} <= {key for key in cited.out.split("{") for key in key.split(",")}


def test_a_plan_counts_the_evaluations_of_a_walk_that_goes_up_again(command, photo: Path, prior: Path) -> None:
    outcome = command("plan", photo, "--method", f"repaint:{prior}", "--operator", "average", "--events")
    assert outcome.status == 0
    facts = json.loads(outcome.out)
    assert facts["evaluations"] == 2410 and facts["operator"] == "average" and facts["noise"] == 0
    assert facts["seconds"] > 0 and facts["memory"] > 0
    mask = np.full((12, 16, 1), 255, np.uint8)
    mask[3:5] = 0
    images.write(images.Picture(mask), photo.parent / "mask.png")
    masked = ("--method", f"ddnm:{prior}", "--scale", 1, "--operator", f"mask:{photo.parent / 'mask.png'}")
    assert command("plan", photo, *masked).status == 0
    assert command("upscale", photo, "-o", photo.parent / "deadline.png", *masked, "--deadline", 20).status == 0
    assert _record(photo.parent / "deadline.png")["request"]["steps"] >= 1
    text = command("plan", photo, "--method", f"ddnm:{prior}", "--scale", 1, "--operator", "identity", "--noise", 2)
    assert text.status == 0 and "operator identity, noise 2" in text.out and "16x12 to 16x12" in text.out


def test_figures_of_solvers_and_of_others_on_the_same_small_pictures(
    command, save, prior: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "true"
    folder.mkdir()
    for seed in range(2):
        save(folder / f"{seed}.png", height=24, width=20, seed=seed)
    words = ("evaluate", folder, "--scale", 2, "--operator", "average", "--json", "-", "--quiet", "--steps", 3)
    methods_ = ("--method", f"ddnm:{prior}", "--method", "nearest")
    outcome = command(*words, *methods_)
    assert outcome.status == 0
    found = json.loads(outcome.out)["methods"]
    solver, nearest = found[f"ddnm:{prior} steps 3"], found["nearest"]
    assert solver["settings"]["operator"] == "average" and solver["settings"]["noise"] == 0
    assert "lr_psnr" not in solver["mean"] and solver["mean"]["nfe"] == 3 and solver["mean"]["misfit"] >= 0
    # Nearest is A^+ of the average: it fits what was made by it, and more noise makes it worse.
    assert nearest["mean"]["psnr"] == "inf"
    psnr = []
    for noise in (5, 20, 20):
        noisy = command(*words, "--noise", noise, "--method", "nearest", "--method", f"ddrm:{prior}")
        psnr.append(json.loads(noisy.out)["methods"]["nearest"]["mean"]["psnr"])
    assert psnr[1] < psnr[0] - 8 and psnr[1] == psnr[2]
    for wrong in (("--protocol", "y-classic"), ("--noise", "-3")):
        assert command(*words, *methods_, *wrong).status == 2
    outcome = command("evaluate", folder, "--scale", 2, "--operator", "nonsense", "--method", "nearest")
    assert outcome.status == 2 and "nonsense" in outcome.line
