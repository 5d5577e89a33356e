"""Priors of others: what their authors' code computes, any bridge at the same noise level, conversion and refusals."""

from __future__ import annotations

import importlib.util
import json
import math
import pickle
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from mezzotint import methods, schedules, weights
from mezzotint.bridges import VE, VP, InDI
from mezzotint.errors import UsageError, WeightsError
from mezzotint.methods.foreign_files import convert, is_diffusers, load_folder
from mezzotint.methods.foreign_prior import PUBLISHED, build, respaced
from mezzotint.networks.official_keys import from_official, to_official
from mezzotint.networks.table import build as build_network
from mezzotint.noise import Noise, SequentialNoise
from mezzotint.samplers import ancestral
from mezzotint.samplers.coordinates import noise_level, score
from mezzotint.zero_shot.kernels import kernel

OFFICIAL = Path(__file__).parents[1] / "networks" / "official_keys"
_spec = importlib.util.spec_from_file_location("official_cases", OFFICIAL / "cases.py")
assert _spec is not None and _spec.loader is not None
cases = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(cases)
SMALL_ADM = [
    "network.channels=32", "network.multipliers=[1,2]", "network.blocks=1", "network.attention=[1]", "network.head=16",
]  # fmt: skip
SMALL_SCORE = ["network.channels=16", "network.multipliers=[1,2]", "network.blocks=1"]


def computed(form: str) -> dict[str, Any]:
    return json.loads((OFFICIAL / f"{form}.json").read_text())


def official(form: str, network: dict[str, Any], *, out: int = 3) -> dict[str, Tensor]:
    """The tensors of a network under official names, with weights by formula."""
    with torch.device("meta"):
        made = build_network(network, in_channels=3, out_channels=out)
        wanted = to_official(made, form=form)  # pyright: ignore[reportArgumentType]
    return {key: cases.weight(key, tuple(tensor.shape)).float() for key, tensor in wanted.items()}


def adm(folder: Path, **changes: Tensor | None) -> Path:
    """A checkpoint of a small ADM."""
    tensors = {**official("adm", cases.CASES["adm"]["heads of 16"]["ours"], out=6), **changes}
    torch.save({key: tensor for key, tensor in tensors.items() if tensor is not None}, folder / "adm.pt")
    return folder / "adm.pt"


def prior_of(converted, *, double: bool = True):
    method = build(preset=converted.card.preset, config=converted.card.config)
    weights.restore(method, converted.tensors, source="x")
    return (method.double() if double else method).eval()


def score_sde(folder: Path, content: dict[str, Any], name: str):
    """A checkpoint of a small network of score-SDE, converted."""
    torch.save(content, folder / "score.pth")
    return convert(folder / "score.pth", form="score-sde", network=name, changes=SMALL_SCORE)


def adm_prior(folder: Path, *changes: str):
    return prior_of(convert(adm(folder), form="adm", network="imagenet-256-uncond", changes=[*SMALL_ADM, *changes]))


def close(got: Tensor, wanted: list[float], *, share: float) -> bool:
    target = torch.tensor(wanted, dtype=torch.float64)
    return bool((torch.tensor(cases.kept(got), dtype=torch.float64) - target).abs().max() < share * target.abs().max())


# -- what the authors' code computes ----------------------------------------------------------------------------------


@pytest.mark.parametrize(("respacing", "index"), cases.STEPS)
def test_mean_and_variance_of_a_step_are_those_of_guided_diffusion(tmp_path, respacing, index):
    """p_mean_variance of openai/guided-diffusion (commit 22e0df8), learned variance, clipped, in float32.

    The network's numbers go below -1 here and there, where theirs is less than the small variance, and ours is not.
    """
    method = adm_prior(tmp_path)
    grid = respaced(respacing or "1000", nodes=1000)
    z, t = cases.picture(), (index + 1) / 1000
    r = max(time for time in grid if time < t)
    estimate = method.of(method.native, like=z, grid=grid)(z, t)
    mean, _ = ancestral(method.native, z, estimate, None, t, r, torch.zeros_like(z))
    moved, _ = ancestral(method.native, z, estimate, None, t, r, torch.ones_like(z))
    steps = computed("adm")["steps"]
    assert close(mean, steps[f"mean {respacing} {index}"], share=1e-5)
    wanted = [max(value, method.native.variance(r, t)) for value in steps[f"variance {respacing} {index}"]]
    assert close((moved - mean) ** 2, wanted, share=1e-5)
    assert max(wanted) > 1.1 * min(wanted) or index > 400


def test_the_variance_is_that_of_the_next_node_without_a_walk(tmp_path):
    method = adm_prior(tmp_path)
    z, t = cases.picture(), 0.5
    plain = method.of(method.native, like=z)(z, t).c2
    assert torch.equal(plain, method.of(method.native, like=z, grid=(0.5, 0.499, 0.0))(z, t).c2)
    assert not torch.allclose(plain, method.of(method.native, like=z, grid=(0.5, 0.4, 0.0))(z, t).c2)


def test_a_learned_variance_counts_in_the_kernel_of_ddpm_alone(tmp_path):
    method, z, one = adm_prior(tmp_path), cases.picture(), torch.ones(2, 3, 16, 16)
    estimate = method.of(method.native, like=z)(z, 0.5)
    for name, counts in (("ddpm", True), ("ddim", False), ("ddrm", False)):
        step = kernel(name, eta=0.85)
        moved, plain = (step(method.native, z, found, None, 0.5, 0.4, one, None)[0] for found in (
            estimate, replace(estimate, c2=0.0)
        ))  # fmt: skip
        assert torch.equal(moved, plain) != counts


def test_respacing_is_that_of_guided_diffusion():
    for text, indices in computed("adm")["respacings"].items():
        assert respaced(text, nodes=1000) == (*((index + 1) / 1000 for index in reversed(indices)), 0.0), text
    for text, message in (("ddim600", "no whole stride takes 600"), ("600,600", "600 of a part"), ("x", "N, ddimN")):
        with pytest.raises(UsageError, match=message):
            respaced(text, nodes=1000)


def test_the_cosine_schedule_is_that_of_guided_diffusion():
    assert build(preset="adm", config={"bridge": {"schedule": "cosine"}, **_few()}).native == VP(schedules.cosine(1000))
    assert schedules.cosine(1000).alpha[::111] == pytest.approx(computed("adm")["cosine"], rel=1e-12)


def _few() -> dict[str, Any]:
    return {"network": {"channels": 32, "multipliers": (1,), "blocks": 1, "attention": (), "head": 32}}


@pytest.mark.parametrize("name", cases.SCORES)
@pytest.mark.parametrize("time", cases.TIMES)
def test_scores_are_those_of_score_sde(tmp_path, name, time):
    """get_score_fn of yang-song/score_sde_pytorch (commit cb1f359) in float32, of pictures in [0, 1] or [-1, 1]."""
    row = PUBLISHED["score-sde"][cases.SCORES[name]]
    small = {"channels": 16, "multipliers": (1, 2), "blocks": 1}
    tensors = official("score-sde", {**row["network"], **small})
    tensors["sigmas"] = torch.logspace(math.log10(50), -2, 1000)
    method = prior_of(score_sde(tmp_path, tensors, cases.SCORES[name]))
    z = cases.picture()
    got = score(method.native, z, method.of(method.native, like=z)(z, time), None, time)
    exploding = cases.SCORES[name].startswith("ve")
    assert close(2.0 * got if exploding else got, computed("score-sde")["scores"][f"{name} {time}"], share=1e-4)


# -- any bridge at the same noise level -------------------------------------------------------------------------------


def test_a_state_of_another_bridge_is_asked_at_its_noise_level(tmp_path):
    method, y, t = adm_prior(tmp_path), cases.picture(), 0.3
    z = method.native.q_sample(y, None, t, cases.numbers("eps", y.numel()).reshape(y.shape))
    sigma = noise_level(method.native, t)
    other = VE(schedules.LevelTable((sigma, 2 * sigma)))
    a = method.native.coefficients(t)[0]
    there = method.of(other, like=y)(z / a, 0.5)
    here = method.of(method.native, like=y)(z, t)
    assert (there.y - here.y).abs().max() < 1e-9
    assert there.c2 == 0.0 and isinstance(here.c2, Tensor)


def test_times_between_the_nodes_are_refused_or_interpolated(tmp_path):
    z = cases.picture()
    method = adm_prior(tmp_path)
    with pytest.raises(UsageError, match="between the nodes 300 and 301 of 1000.*--set between=nearest"):
        method.of(method.native, like=z)(z, 0.3005)
    with pytest.raises(UsageError, match="between the nodes"):
        method.of(VP(schedules.cosine(777)), like=z)(z, 0.5)
    nearest = adm_prior(tmp_path, "between=nearest", "clip=false")
    for t, index in ((0.3004, 299), (0.3006, 300), (0.0012, 0)):
        a, _, s = nearest.native.coefficients(t)
        eps = nearest.network(z, torch.full((2,), float(index)).double())[:, :3]
        assert (nearest.of(nearest.native, like=z)(z, t).y - (z - s * eps) / a).abs().max() < 1e-9
    method = adm_prior(tmp_path, "between=interpolate", "clip=false")
    low, inside, high = (method.of(method.native, like=z)(z, t).y for t in (0.3, 0.3005, 0.301))
    assert 0.0 < (inside - low).abs().max() < (high - low).abs().max() + 1e-3


def test_levels_that_the_network_never_saw_are_refused(tmp_path):
    z, method = cases.picture(), adm_prior(tmp_path)
    with pytest.raises(UsageError, match=r"noise level 200 at time 1 of VE lies outside 0.0100\d* to 157"):
        method.of(VE(schedules.LevelTable((1.0, 200.0))), like=z)(z, 1.0)
    with pytest.raises(UsageError, match="noise level 0.001"):
        method.of(VE(schedules.LevelTable((0.001, 1.0))), like=z)(z, 0.5)
    with pytest.raises(UsageError, match="InDI leads to the small picture"):
        method.of(InDI(), like=z)
    clean = method.of(method.native, like=z)(z, 0.0)
    assert torch.equal(clean.y, z) and clean.c2 == 0.0


def test_continuous_networks_serve_every_level(tmp_path):
    """The exploding one on the linear schedule of DDPM, at times between its nodes too."""
    tensors = official("score-sde", {**PUBLISHED["score-sde"]["ve/cifar10_ncsnpp_continuous"]["network"],
                                     "channels": 16, "multipliers": (1, 2), "blocks": 1})  # fmt: skip
    method = prior_of(score_sde(tmp_path, tensors, "ve/cifar10_ncsnpp_continuous"))
    y, bridge, t = cases.picture(), VP(schedules.linear(1000)), 0.43219
    a, _, s = bridge.coefficients(t)
    own = math.log(s / a / 0.02) / math.log(100.0 / 0.02)
    here = method.of(bridge, like=y)(a * y, t).y
    assert (here - method.of(method.native, like=y)(y, own).y).abs().max() < 1e-9


def test_clipping_and_kinds_of_prediction(tmp_path):
    z = cases.picture()
    clipped, free = (adm_prior(tmp_path, f"clip={value}") for value in ("true", "false"))
    y = free.of(free.native, like=z)(z, 0.9).y
    assert y.abs().max() > 1.0
    assert torch.equal(clipped.of(clipped.native, like=z)(z, 0.9).y, y.clamp(-1, 1))
    out = free.network(z, torch.full((2,), 899.0, dtype=torch.float64))[:, :3]
    a, _, s = free.native.coefficients(0.9)
    assert (y - (z - s * out) / a).abs().max() < 1e-10 * y.abs().max()
    velocity = adm_prior(tmp_path, "predicts=v", "clip=false")
    assert (velocity.of(velocity.native, like=z)(z, 0.9).y - (a * z - s * out)).abs().max() < 1e-12
    picture = adm_prior(tmp_path, "predicts=y", "clip=false")
    assert torch.equal(picture.of(picture.native, like=z)(z, 0.9).y, out)
    large = build(preset="unet2d", config={"variance": "large", **_narrow()})
    assert large.of(large.native, like=z.float())(z, 0.9).c2 == pytest.approx(s**2)


def _narrow() -> dict[str, Any]:
    return {"network": {"widths": (8,), "blocks": 1, "down_attention": (), "up_attention": (), "groups": 4}}


def test_a_prior_is_a_method(tmp_path):
    """It draws pictures of any size, trains on where no variance is learned, and is saved and loaded."""
    method = build(preset="unet2d", config=_narrow()).eval()
    y = method.sample(torch.zeros(2, 3, 5, 7), steps=2, noise=Noise(0))
    assert y.shape == (2, 3, 5, 7) and torch.isfinite(y).all()
    assert method.loss(y, y, noise=SequentialNoise(seed=0)) > 0
    with pytest.raises(UsageError, match="learned variance cannot be trained"):
        adm_prior(tmp_path).loss(y, y, noise=SequentialNoise(seed=0))
    method.save_pretrained(tmp_path / "prior")
    back = methods.load(tmp_path / "prior")
    assert torch.equal(back.sample(torch.zeros(2, 3, 5, 7), steps=2, noise=Noise(0)), y)


def test_settings_that_contradict_each_other():
    for preset, config, message in (
        ("ncsnpp", {"time": "index"}, "counts nodes"),
        ("ncsnpp", {"variance": "learned"}, "between two nodes"),
        ("unet2d", {"bridge": {"schedule": "geometric"}}, "geometric"),
        ("unet2d", {"bridge": {"steps": 0}}, "bridge"),
        ("unet2d", {"time": "seconds"}, "time 'seconds' is unknown"),
        ("unet2d", {"sigma": 1}, "no setting 'sigma'"),
    ):
        with pytest.raises(UsageError, match=message):
            build(preset=preset, config={**_narrow(), **config} if preset == "unet2d" else config)


# -- files ------------------------------------------------------------------------------------------------------------


UNET2D = cases.CASES["diffusers"]["ddpm"]
SCHEDULER = {
    "_class_name": "DDPMScheduler", "beta_end": 0.02, "beta_schedule": "linear", "beta_start": 0.0001,
    "clip_sample": True, "num_train_timesteps": 1000, "trained_betas": None, "variance_type": "fixed_small",
}  # fmt: skip


def diffusers(
    folder: Path, *, old_names: bool = False, pickled: bool = False, scheduler: Any = None, **changes: Any
) -> Path:
    """A folder as diffusers writes it, of a model alone or, with `scheduler`, of a pipeline."""
    unet = folder / "unet" if scheduler else folder
    unet.mkdir(parents=True, exist_ok=True)
    config = {"_class_name": "UNet2DModel", "_diffusers_version": "0.42.1", "in_channels": 3, "out_channels": 3}
    (unet / "config.json").write_text(json.dumps({**config, **UNET2D["theirs"], **changes}))
    tensors = official("diffusers", UNET2D["ours"])
    if old_names:
        for old, new in (("query", "to_q"), ("key", "to_k"), ("value", "to_v"), ("proj_attn", "to_out.0")):
            tensors = {key.replace(f".{new}.", f".{old}."): tensor for key, tensor in tensors.items()}
    if pickled:
        torch.save(tensors, unet / "diffusion_pytorch_model.bin")
    else:
        save_file({key: t.contiguous() for key, t in tensors.items()}, unet / "diffusion_pytorch_model.safetensors")
    if scheduler:
        (folder / "scheduler").mkdir()
        (folder / "scheduler" / "scheduler_config.json").write_text(json.dumps(scheduler))
        index = {"_class_name": "DDPMPipeline", "unet": ["diffusers", "UNet2DModel"]}
        (folder / "model_index.json").write_text(json.dumps(index))
    return folder


@pytest.mark.parametrize("how", [{}, {"old_names": True}, {"pickled": True}, {"scheduler": SCHEDULER}])
def test_a_folder_of_diffusers_is_a_prior(tmp_path, how):
    """Measured once with three small pipelines that diffusers 0.42.1 saved (linear, cosine and scaled-linear variances,
    eps and v, clipped and not, small and large variance): what DDPMScheduler.step makes of a picture of 16 x 16 at step
    500 has the same estimate to 6e-6 of 1 and the same variance to 7e-6 of itself, in float32.
    """
    folder = diffusers(tmp_path / "church", **how)
    assert is_diffusers(folder)
    method, card = load_folder(folder)
    assert (card.method, card.preset, card.name, card.licence) == ("prior", "unet2d", "church", "not stated")
    assert method.native == VP(schedules.linear(1000)) and method.clip
    with torch.no_grad():
        out = method.double().network(cases.picture(), torch.full((2,), cases.TIME, dtype=torch.float64))
    assert close(out, computed("diffusers")["ddpm"], share=1e-5)
    solver = methods.load(f"ddnm:{folder}")
    assert solver.bridge == method.native
    y = solver.sample(torch.zeros(1, 3, 3, 4), noise=Noise(0), steps=3)
    assert y.shape == (1, 3, 12, 16) and torch.isfinite(y).all()


def test_the_process_is_that_of_the_scheduler(tmp_path):
    other = {**SCHEDULER, "beta_schedule": "squaredcos_cap_v2", "prediction_type": "v_prediction", "clip_sample": False}
    method, card = load_folder(diffusers(tmp_path / "a", scheduler=other))
    assert method.native == VP(schedules.cosine(1000)) and not method.clip
    assert card.config["predicts"] == "v"
    alpha = [0.01, 0.02, 0.5]
    table = {**SCHEDULER, "trained_betas": alpha, "num_train_timesteps": 3, "variance_type": "fixed_large"}
    method, _ = load_folder(diffusers(tmp_path / "b", scheduler=table))
    assert method.native == VP(schedules.Table(tuple(alpha))) and method.variance == "large"
    flow = {"_class_name": "FlowMatchEulerDiscreteScheduler", "num_train_timesteps": 1000}
    with pytest.raises(WeightsError, match="FlowMatchEulerDiscreteScheduler states no added variances"):
        load_folder(diffusers(tmp_path / "flow", scheduler=flow))
    for key, value in (("rescale_betas_zero_snr", True), ("thresholding", True), ("clip_sample_range", 2.0)):
        with pytest.raises(WeightsError, match=f"{key} is {value!r}, and only"):
            load_folder(diffusers(tmp_path / key, scheduler={**SCHEDULER, key: value}))
    for key, value in (("beta_schedule", "sigmoid"), ("variance_type", "learned"), ("prediction_type", "flow")):
        with pytest.raises(WeightsError, match=f"{key} is '{value}', and"):
            load_folder(diffusers(tmp_path / key, scheduler={**SCHEDULER, key: value}))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"in_channels": 4}, "4 channels in: a model of latents"),
        ({"_class_name": "UNet2DConditionModel"}, "a UNet2DConditionModel, and a prior is a UNet2DModel"),
        ({"down_block_types": ["SkipDownBlock2D"] * 2}, "names SkipDownBlock2D.*--from score-sde"),
        ({"resnet_time_scale_shift": "scale_shift"}, "resnet_time_scale_shift is 'scale_shift'"),
        ({"downsample_padding": 2}, "downsample_padding is 2"),
        ({"norm_num_groups": 5}, "do not divide into 5 groups"),
        ({"layers_per_block": 2}, "lacks the tensor 'down_blocks.0.resnets.1"),
        ({"block_out_channels": [16, 64]}, "has shape 32x16x3x3, the network needs 64x16x3x3"),
    ],
)
def test_folders_that_are_no_prior(tmp_path, changes, message):
    with pytest.raises((WeightsError, UsageError), match=message):
        load_folder(diffusers(tmp_path, **changes))


def test_pipelines_of_latents_are_refused(tmp_path):
    folder = diffusers(tmp_path / "ldm", scheduler=SCHEDULER)
    index = {"unet": ["diffusers", "UNet2DModel"], "vqvae": ["diffusers", "VQModel"]}
    (folder / "model_index.json").write_text(json.dumps(index))
    for place in (folder, folder / "unet"):
        with pytest.raises(WeightsError, match="a model of latents .vqvae in model_index.json."):
            load_folder(place)


def test_folders_with_something_missing(tmp_path):
    with pytest.raises(WeightsError, match="a folder without config.json"):
        convert(tmp_path, form="diffusers")
    (tmp_path / "config.json").write_text(json.dumps(UNET2D["theirs"]))
    with pytest.raises(WeightsError, match="neither diffusion_pytorch_model.safetensors nor"):
        convert(tmp_path, form="diffusers")
    (tmp_path / "config.json").write_text("[")
    with pytest.raises(WeightsError, match="config.json: cannot be read"):
        convert(tmp_path, form="diffusers")
    with pytest.raises(WeightsError, match="diffusers keeps models in folders"):
        convert(tmp_path / "config.json", form="diffusers")
    with pytest.raises(UsageError, match="form 'admm' is unknown: did you mean 'adm'"):
        convert(tmp_path, form="admm")  # pyright: ignore[reportArgumentType]


def test_grey_priors_take_grey_pictures(tmp_path):
    network = {**UNET2D["ours"]}
    made = build_network(network, in_channels=1, out_channels=1)
    tensors = {key: tensor.contiguous() for key, tensor in to_official(made, form="diffusers").items()}
    save_file(tensors, tmp_path / "diffusion_pytorch_model.safetensors")
    (tmp_path / "config.json").write_text(json.dumps({**UNET2D["theirs"], "in_channels": 1, "out_channels": 1}))
    solver = methods.load(f"ddnm:{tmp_path}")
    assert solver.sample(torch.zeros(1, 1, 4, 4), noise=Noise(0), steps=2).shape == (1, 1, 16, 16)
    with pytest.raises(UsageError, match="knows pictures of 1 channels, this one has 3"):
        solver.sample(torch.zeros(1, 3, 4, 4), noise=Noise(0), steps=2)


def test_published_networks_are_known_by_their_tensors(tmp_path):
    """The tensors of DPS's network for faces, on the meta device but for its file's sake of one number each."""
    row = PUBLISHED["adm"]["ffhq-256"]["network"]
    with torch.device("meta"):
        wanted = to_official(build_network(row, in_channels=3, out_channels=6), form="adm")
    # Stored as one number that is repeated.
    torch.save({key: torch.zeros(()).expand(tensor.shape) for key, tensor in wanted.items()}, tmp_path / "ffhq_10m.pt")
    assert (tmp_path / "ffhq_10m.pt").stat().st_size < 2e6
    card = convert(tmp_path / "ffhq_10m.pt", form="adm", licence="MIT", changes=["clip=false"]).card
    assert (card.name, card.preset, card.licence, card.channels) == ("ffhq_10m", "adm", "MIT", 3)
    assert card.config["network"]["channels"] == 128 and card.config["variance"] == "learned"
    assert card.config["clip"] is False


def test_networks_of_the_same_tensors_are_told_apart_by_the_user(tmp_path):
    """ "DDPM++" of VP, sub-VP and of nodes differ in nothing that is stored; exploding ones in the levels that are."""
    for name, several in (("vp/cifar10_ddpmpp_continuous", True), ("ve/church_ncsnpp_continuous", False)):
        with torch.device("meta"):
            network = build_network(PUBLISHED["score-sde"][name]["network"], in_channels=3, out_channels=3)
            wanted = to_official(network, form="score-sde")
        tensors = {key: torch.zeros(()).expand(tensor.shape) for key, tensor in wanted.items()}
        tensors["sigmas"] = torch.logspace(math.log10(380), -2, 2000)
        torch.save(tensors, tmp_path / "church.pth")
        if several:
            with pytest.raises(UsageError, match="subvp/cifar10_ddpmpp_continuous.*name one with --network"):
                convert(tmp_path / "church.pth", form="score-sde")
        else:
            card = convert(tmp_path / "church.pth", form="score-sde").card
            assert card.name == "church"
            assert (card.config["bridge"]["low"], card.config["bridge"]["high"]) == (0.02, 760.0)


def test_a_class_is_drawn_for_good(tmp_path):
    """The embedding of a class is added to that of the time: theirs of class 3 is ours without classes."""
    case = cases.CASES["adm"]["two heads, class 3"]
    classes = {"label_emb.weight": cases.weight("label_emb.weight", (5, 128)).float()}
    torch.save({**official("adm", case["ours"], out=6), **classes}, tmp_path / "classes.pt")
    changes = [*SMALL_ADM[:-1], "network.heads=2"]
    method = prior_of(convert(tmp_path / "classes.pt", form="adm", network="imagenet-256", changes=changes, label=3))
    with torch.no_grad():
        out = method.network(cases.picture(), torch.full((2,), cases.TIME, dtype=torch.float64))
    assert close(out, computed("adm")["two heads, class 3"], share=1e-5)
    for label, message in ((None, "of 5 classes: name one, --class 0 to 4"), (5, "class 5 is outside 0 to 4")):
        with pytest.raises(UsageError, match=message):
            convert(tmp_path / "classes.pt", form="adm", network="imagenet-256", changes=changes, label=label)
    with pytest.raises(UsageError, match="knows no classes: leave class 1 out"):
        convert(adm(tmp_path), form="adm", network="imagenet-256", changes=SMALL_ADM, label=1)


def test_a_class_of_diffusers_is_drawn_for_good(tmp_path):
    folder = diffusers(tmp_path, num_class_embeds=4)
    file = folder / "diffusion_pytorch_model.safetensors"
    classes = cases.weight("class_embedding.weight", (4, 64)).float()
    save_file({**load_file(file), "class_embedding.weight": classes}, file)
    with pytest.raises(UsageError, match="a network of 4 classes: name one, --class 0 to 3"):
        load_folder(folder)
    plain, _ = load_folder(diffusers(tmp_path / "plain"))
    own = convert(folder, form="diffusers", label=2).tensors
    bias = "network.embedding.layers.2.bias"
    assert torch.equal(own[bias], plain.state_dict()[bias] + classes[2])
    save_file({**load_file(file), "class_embedding.weight": classes[:, :5].contiguous()}, file)
    with pytest.raises(WeightsError, match="'class_embedding.weight' does not fit"):
        convert(folder, form="diffusers", label=2)


def test_checkpoints_of_score_sde_give_their_moving_averages(tmp_path):
    row = PUBLISHED["score-sde"]["ve/cifar10_ncsnpp_continuous"]
    averages = official("score-sde", {**row["network"], "channels": 16, "multipliers": (1, 2), "blocks": 1})
    trained = {f"module.{key}": tensor + 1.0 for key, tensor in averages.items()}
    trained["module.all_modules.0.W"] = averages["all_modules.0.W"]
    shadows = [tensor for key, tensor in averages.items() if key != "all_modules.0.W"]
    content = {
        "model": {"module.sigmas": torch.logspace(math.log10(50), -2, 1000), **trained},
        "ema": {"decay": 0.999, "num_updates": 1, "shadow_params": shadows}, "optimizer": {"state": {}}, "step": 7,
    }  # fmt: skip
    method = prior_of(score_sde(tmp_path, content, "ve/cifar10_ncsnpp_continuous"))
    level = torch.full((2,), 0.25 * math.log(3.5), dtype=torch.float64)
    with torch.no_grad():
        out = -method.network(cases.picture(), level) / 3.5
    assert close(out, computed("score-sde")["ncsn++"], share=1e-5)
    content["ema"]["shadow_params"] = shadows[1:]
    with pytest.raises(WeightsError, match=f"{len(shadows) - 1} moving averages for {len(shadows)} parameters"):
        score_sde(tmp_path, content, "ve/cifar10_ncsnpp_continuous")


class Program:
    """A pickle that runs something when it is opened."""

    def __reduce__(self):
        return print, ("run",)


def test_files_that_are_refused(tmp_path, capsys):
    file = tmp_path / "model.pt"
    named = {"form": "adm", "network": "imagenet-256-uncond", "changes": SMALL_ADM}
    with pytest.raises(WeightsError, match="no such file of weights"):
        convert(file, **named)
    torch.save({"model": Program()}, file)
    with pytest.raises(WeightsError, match="would run a program when opened, so it is refused"):
        convert(file, **named)
    file.write_bytes(pickle.dumps(Program()))
    with pytest.raises(WeightsError, match="refused|cannot be read"):
        convert(file, **named)
    assert "run" not in capsys.readouterr().out
    file.write_bytes(b"<html>")
    with pytest.raises(WeightsError, match="refused|cannot be read"):
        convert(file, **named)
    torch.save([1, 2], file)
    with pytest.raises(WeightsError, match="holds a list, not tensors by name"):
        convert(file, **named)
    torch.save({"epoch": 3}, file)
    with pytest.raises(WeightsError, match="'epoch' is no tensor"):
        convert(file, **named)


def test_tensors_that_do_not_fit(tmp_path):
    named = {"form": "adm", "network": "imagenet-256-uncond", "changes": SMALL_ADM}
    with pytest.raises(WeightsError, match="lacks the tensor 'out.0.bias'"):
        convert(adm(tmp_path, **{"out.0.bias": None}), **named)
    with pytest.raises(WeightsError, match="has the unknown tensor 'low_res.weight'"):
        convert(adm(tmp_path, **{"low_res.weight": torch.zeros(1)}), **named)
    with pytest.raises(WeightsError, match="6 channels in: a model of latents, or of pictures with a condition"):
        convert(adm(tmp_path, **{"input_blocks.0.0.weight": torch.zeros(32, 6, 3, 3)}), **named)
    with pytest.raises(WeightsError, match="none of the known adm networks .imagenet-64.*--network.*--set"):
        convert(adm(tmp_path), form="adm")
    with pytest.raises(UsageError, match="--set changes a published network: name it too"):
        convert(adm(tmp_path), form="adm", changes=SMALL_ADM)
    with pytest.raises(UsageError, match="did you mean 'imagenet-256'"):
        convert(adm(tmp_path), form="adm", network="imagenet256")
    with pytest.raises(UsageError, match="--set 'clip' is not KEY=VALUE"):
        convert(adm(tmp_path), form="adm", network="imagenet-256-uncond", changes=["clip"])


def test_what_is_converted_computes_the_same_from_a_file_of_ours(tmp_path):
    converted = convert(adm(tmp_path), form="adm", network="imagenet-256-uncond", changes=SMALL_ADM)
    weights.save_folder(tmp_path / "prior", converted.tensors, converted.card)
    assert not is_diffusers(tmp_path / "prior")
    back, z = methods.load(tmp_path / "prior"), cases.picture().float()
    own = prior_of(converted, double=False)
    with torch.no_grad():
        assert torch.equal(back.of(back.native, like=z)(z, 0.7).y, own.of(own.native, like=z)(z, 0.7).y)
    solver = methods.load(f"dps:{tmp_path / 'prior'}")
    assert solver.bridge == back.native
    y = solver.sample(torch.zeros(1, 3, 2, 2), noise=Noise(0), steps=4)
    assert y.shape == (1, 3, 8, 8) and torch.isfinite(y).all()


def test_a_variance_that_is_not_wanted_is_left_out(tmp_path):
    z = cases.picture()
    with_it, without = adm_prior(tmp_path), adm_prior(tmp_path, "variance=small")
    level = torch.full((2,), cases.TIME, dtype=torch.float64)
    assert (without.network(z, level) - with_it.network(z, level)[:, :3]).abs().max() < 1e-12
    assert without.of(without.native, like=z)(z, 0.5).c2 == 0.0


def test_from_official_needs_no_memory():
    """Networks of the size of ADM's are compared without being made."""
    with torch.device("meta"):
        network = build_network(PUBLISHED["adm"]["imagenet-256"]["network"], in_channels=3, out_channels=6)
        tensors = to_official(network, form="adm")
    assert all(tensor.is_meta for tensor in from_official(tensors, network, form="adm", source="x").values())
