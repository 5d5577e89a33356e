"""The table of names: every method that can be built or loaded, found without importing any of them.

A row's `target` is "module:function"; the function is imported when the method is built. Importing this module
imports neither PyTorch nor pydantic, so that listing the methods is quick.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from difflib import get_close_matches
from importlib import import_module
from typing import Any, Literal

from mezzotint.errors import UsageError

_WEIGHTS_SUFFIXES = (".safetensors", ".pt", ".pth", ".ckpt", ".bin", ".pkl")


@dataclass(frozen=True)
class Axes:
    """The point of the survey's space that a method stands at; "none" where an axis does not apply."""

    bridge: str = "none"
    domain: str = "none"
    conditioning: str = "none"
    guidance: str = "none"
    network: str = "none"
    sampler: str = "none"
    corrector: str = "none"
    colour: str = "none"


@dataclass(frozen=True)
class Solving:
    """What a zero-shot solver takes and gives.

    cost: evaluations of the prior a step. gradients: whether it differentiates the prior. singular: whether it needs an
    operator whose singular vectors are known. noise: whether it is for measurements with noise. fits: whether its
    result, with the default preset, meets a measurement without noise exactly.
    """

    cost: str
    gradients: bool
    singular: bool
    noise: bool
    fits: bool


@dataclass(frozen=True)
class MethodCard:
    """One method: where its code is, where it comes from, and what it can do.

    `survey_section` is the section of Moser et al. (arXiv 2401.00736) that it belongs to, "" where the survey does
    not treat it; `year` is None where no paper introduced it. `weights`: "shipped" in the package, "train" by the
    user, "prior" those of a prior, "none" needed. `scales` are the enlargements it is meant for; with `any_scale`
    others work too. `presets`: the first is the default. `local`: an output pixel depends on its surroundings only,
    so tiles equal the whole. `deterministic`: there is no noise, the seed changes nothing. `checks` names the
    public checks of `mezzotint.testing` that it passes. `solver` stands for solvers alone.
    """

    name: str
    target: str
    family: Literal["baseline", "diffusion", "zero-shot", "prior", "own"]
    survey_section: str
    paper: str
    year: int | None
    weights: Literal["shipped", "none", "train", "prior"]
    scales: tuple[int, ...]
    any_scale: bool
    local: bool
    deterministic: bool
    presets: tuple[str, ...] = ()
    axes: Axes = field(default_factory=Axes)
    checks: tuple[str, ...] = ()
    solver: Solving | None = None

    def as_row(self) -> dict[str, Any]:
        """The row as `mezzotint methods --json` prints it: plain lists, tables and values."""
        row = asdict(self)
        del row["target"]
        return {key: list(value) if isinstance(value, tuple) else value for key, value in row.items()}


@dataclass(frozen=True)
class Spec:
    """What `--method` and `load` were given: a method, a preset, a place of weights; None where not stated.

    `weights` is a file or a folder, or, with `from_hub`, the identifier of a repository. `card` is the row of the
    method, None where only weights are named, which know it themselves.
    """

    method: str | None
    preset: str | None = None
    weights: str | None = None
    from_hub: bool = False

    @property
    def card(self) -> MethodCard | None:
        return None if self.method is None else find(self.method)


def cards() -> tuple[MethodCard, ...]:
    """All rows, in the order of the table."""
    return _ROWS


def find(name: str) -> MethodCard:
    """The row of a name; raises UsageError with the nearest names."""
    for row in _ROWS:
        if row.name == name:
            return row
    names = [row.name for row in _ROWS]
    near = get_close_matches(_plain(name), names, n=2, cutoff=0.6)
    if near:
        raise UsageError(f"method {name!r} is unknown: did you mean {' or '.join(repr(n) for n in near)}?")
    raise UsageError(f"method {name!r} is unknown: use one of {', '.join(names)}")


def resolve_function(card: MethodCard) -> Callable[..., Any]:
    """Import the function of a row: `build(*, scale, preset, config)` of a method, `build()` of a baseline."""
    module, _, function = card.target.partition(":")
    return getattr(import_module(module), function)


def resolve(text: str) -> Spec:
    """Understand `sr3`, `sr3@official`, `sr3:weights.safetensors`, a file, a folder, or a hub id `owner/name`.

    A text that is a name of the table is that name, even where a file is called so. Raises UsageError for an
    unknown name or preset; whether the weights exist is seen when they are read.
    """
    if not text or text != text.strip():
        raise UsageError(f"method {text!r} is empty or has blanks around it: see `mezzotint methods` for the names")
    if _is_known(text):
        return Spec(method=text)
    if text.startswith("hub:"):
        return Spec(method=None, weights=text.removeprefix("hub:"), from_hub=True)
    head, colon, path = text.partition(":")
    name, at, preset = head.partition("@")
    if _is_known(name) or ((colon or at) and _is_name(name) and not os.path.exists(text)):
        return _resolve_named(find(name), text, preset=preset if at else None, path=path if colon else None)
    if os.path.exists(text) or text.endswith(_WEIGHTS_SUFFIXES):
        return Spec(method=None, weights=text)
    # A misspelt path into a folder that is here must not be sent to the hub.
    if re.fullmatch(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*", text) and not os.path.isdir(text.partition("/")[0]):
        return Spec(method=None, weights=text, from_hub=True)
    if "/" in text or os.sep in text:
        return Spec(method=None, weights=text)
    return Spec(method=find(text).name)


def _resolve_named(card: MethodCard, text: str, *, preset: str | None, path: str | None) -> Spec:
    if preset is not None and preset not in card.presets:
        way = f"use one of {', '.join(card.presets)}" if card.presets else "it has none"
        raise UsageError(f"{card.name} has no preset {preset!r}: {way}")
    if path == "":
        raise UsageError(f"method {text!r} names no file of weights after the colon")
    if path is not None and card.family == "baseline":
        raise UsageError(f"{card.name} takes no weights: leave {path!r} out")
    return Spec(method=card.name, preset=preset, weights=path)


def _is_known(name: str) -> bool:
    return any(row.name == name for row in _ROWS)


def _is_name(text: str) -> bool:
    # One letter before a colon is a drive, not a method.
    return re.fullmatch(r"[A-Za-z][A-Za-z0-9_-]+", text) is not None


def _plain(name: str) -> str:
    return name.strip().lower().replace("_", "-")


_SCALES = (2, 3, 4, 8)

_ZERO_SHOT: tuple[tuple[str, str, int | None, tuple[str, ...], str, str, bool, Solving], ...] = (
    (
        "repaint",
        "Lugmayr et al., RePaint: Inpainting using Denoising Diffusion Probabilistic Models, arXiv 2201.09865",
        2022, ("paper", "released"), "none", "ancestral", True,
        Solving(cost="about `passes`", gradients=False, singular=False, noise=False, fits=True),
    ),
    (
        "ilvr",
        "Choi et al., ILVR: Conditioning Method for Denoising Diffusion Probabilistic Models, arXiv 2108.02938",
        2021, ("paper", "low-pass", "released"), "none", "ancestral", True,
        Solving(cost="1", gradients=False, singular=False, noise=False, fits=True),
    ),
    (
        "ccdf",
        "Chung et al., Come-Closer-Diffuse-Faster, arXiv 2112.05146",
        2022, ("paper",), "none", "ancestral", True,
        Solving(cost="1", gradients=False, singular=False, noise=False, fits=True),
    ),
    (
        "snips",
        "Kawar et al., SNIPS: Solving Noisy Inverse Problems Stochastically, arXiv 2105.14951",
        2021, ("paper",), "none", "annealed-langevin", True,
        Solving(cost="`repeats`", gradients=False, singular=True, noise=True, fits=False),
    ),
    (
        "ddrm",
        "Kawar et al., Denoising Diffusion Restoration Models, arXiv 2201.11793",
        2022, ("paper", "released"), "none", "ddrm", True,
        Solving(cost="1", gradients=False, singular=True, noise=True, fits=True),
    ),
    (
        "ddnm",
        "Wang et al., Zero-Shot Image Restoration Using Denoising Diffusion Null-Space Model, arXiv 2212.00490",
        2023, ("released", "paper"), "none", "ddrm", True,
        Solving(cost="1", gradients=False, singular=False, noise=True, fits=True),
    ),
    (
        "dps",
        "Chung et al., Diffusion Posterior Sampling for General Noisy Inverse Problems, arXiv 2209.14687",
        2023, ("paper", "released", "likelihood"), "gradient", "ancestral", True,
        Solving(cost="1 and its gradient", gradients=True, singular=False, noise=True, fits=False),
    ),
    (
        "gdp",
        "Fei et al., Generative Diffusion Prior for Unified Image Restoration and Enhancement, arXiv 2304.01247",
        2023, ("released", "paper", "state", "blind"), "gradient", "ancestral", True,
        Solving(cost="1", gradients=False, singular=False, noise=True, fits=False),
    ),
    (
        "mcg",
        "Chung et al., Improving Diffusion Models for Inverse Problems using Manifold Constraints, arXiv 2206.00941",
        2022, ("paper",), "gradient", "ancestral", False,
        Solving(cost="1 and its gradient", gradients=True, singular=False, noise=False, fits=True),
    ),
    (
        "pigdm",
        "Song et al., Pseudoinverse-Guided Diffusion Models for Inverse Problems, ICLR 2023",
        2023, ("released", "theory"), "gradient", "ddim", False,
        Solving(cost="1 and its gradient", gradients=True, singular=False, noise=True, fits=False),
    ),
    (
        "diffpir",
        "Zhu et al., Denoising Diffusion Models for Plug-and-Play Image Restoration, arXiv 2305.08995",
        2023, ("paper", "released", "fresh"), "none", "ddrm", False,
        Solving(cost="1", gradients=False, singular=False, noise=True, fits=True),
    ),
    (
        "red-diff",
        "Mardani et al., A Variational Perspective on Solving Inverse Problems with Diffusion Models, arXiv 2305.04391",
        2024, ("released",), "none", "none", False,
        Solving(cost="1", gradients=False, singular=False, noise=True, fits=False),
    ),
    (
        "daps",
        "Zhang et al., Improving Diffusion Inverse Problem Solving with Decoupled Noise Annealing, arXiv 2407.01521",
        2025, ("exact", "mean"), "none", "none", False,
        Solving(cost="`inner`", gradients=False, singular=False, noise=True, fits=True),
    ),
    (
        "spectral",
        "",
        None, ("draws", "means"), "none", "ancestral", False,
        Solving(cost="1", gradients=False, singular=False, noise=True, fits=True),
    ),
)  # fmt: skip
"""Name, paper, year, variants, guidance, sampler, whether the survey names it, what it takes: the rest is the same."""

_ROWS: tuple[MethodCard, ...] = (
    MethodCard(
        name="nearest",
        target="mezzotint.baselines.interpolation:Nearest",
        family="baseline",
        survey_section="2",
        paper="",
        year=None,
        weights="none",
        scales=_SCALES,
        any_scale=True,
        local=True,
        deterministic=True,
    ),
    MethodCard(
        name="bicubic",
        target="mezzotint.baselines.interpolation:Bicubic",
        family="baseline",
        survey_section="2",
        paper="Keys, Cubic Convolution Interpolation for Digital Image Processing, IEEE TASSP 29",
        year=1981,
        weights="none",
        scales=_SCALES,
        any_scale=True,
        local=True,
        deterministic=True,
    ),
    MethodCard(
        name="lanczos",
        target="mezzotint.baselines.interpolation:Lanczos",
        family="baseline",
        survey_section="2",
        paper="Duchon, Lanczos Filtering in One and Two Dimensions, J. Applied Meteorology 18",
        year=1979,
        weights="none",
        scales=_SCALES,
        any_scale=True,
        local=True,
        deterministic=True,
    ),
    MethodCard(
        name="back-projection",
        target="mezzotint.baselines.back_projection:BackProjection",
        family="baseline",
        survey_section="2",
        paper="Irani and Peleg, Improving Resolution by Image Registration, CVGIP 53",
        year=1991,
        weights="none",
        scales=_SCALES,
        any_scale=True,
        local=False,
        deterministic=True,
    ),
    MethodCard(
        name="span",
        target="mezzotint.baselines.regression:build_span",
        family="baseline",
        survey_section="2",
        paper="Wan et al., Swift Parameter-free Attention Network for Efficient Super-Resolution, arXiv 2311.12770",
        year=2023,
        weights="shipped",
        scales=(4,),
        any_scale=False,
        local=True,
        deterministic=True,
        axes=Axes(network="span"),
    ),
    MethodCard(
        name="sr3",
        target="mezzotint.methods.sr3:build",
        family="diffusion",
        survey_section="4.4",
        paper="Saharia et al., Image Super-Resolution via Iterative Refinement, arXiv 2104.07636",
        year=2021,
        weights="train",
        scales=_SCALES,
        any_scale=True,
        local=False,
        deterministic=False,
        presets=("small", "official", "official-512"),
        axes=Axes(
            bridge="vp",
            domain="pixel",
            conditioning="low-resolution",
            network="unet",
            sampler="ancestral",
        ),
        checks=("check_bridge", "check_sampler", "check_method"),
    ),
    MethodCard(
        name="ddpm-sr",
        target="mezzotint.methods.ddpm_sr:build",
        family="diffusion",
        survey_section="3.1",
        paper="Ho et al., Denoising Diffusion Probabilistic Models, arXiv 2006.11239",
        year=2020,
        weights="train",
        scales=_SCALES,
        any_scale=True,
        local=False,
        deterministic=False,
        presets=("small", "official", "official-256"),
        axes=Axes(
            bridge="vp",
            domain="pixel",
            conditioning="low-resolution",
            guidance="classifier-free",
            network="unet",
            sampler="ancestral",
        ),
        checks=("check_bridge", "check_method"),
    ),
    MethodCard(
        name="classifier-sr",
        target="mezzotint.methods.classifier_sr:build",
        family="diffusion",
        survey_section="4.2",
        paper="Dhariwal and Nichol, Diffusion Models Beat GANs on Image Synthesis, arXiv 2105.05233",
        year=2021,
        weights="train",
        scales=_SCALES,
        any_scale=False,
        local=False,
        deterministic=False,
        presets=("small",),
        axes=Axes(bridge="vp", domain="pixel", guidance="classifier", network="unet", sampler="ancestral"),
        checks=("check_bridge", "check_method"),
    ),
    MethodCard(
        name="ncsn-sr",
        target="mezzotint.methods.ncsn_sr:build",
        family="diffusion",
        survey_section="3.2",
        paper="Song and Ermon, Generative Modeling by Estimating Gradients of the Data Distribution, arXiv 1907.05600",
        year=2019,
        weights="train",
        scales=_SCALES,
        any_scale=True,
        local=False,
        deterministic=False,
        presets=("small", "official"),
        axes=Axes(
            bridge="ve",
            domain="pixel",
            conditioning="low-resolution",
            network="unet",
            sampler="annealed-langevin",
        ),
        checks=("check_bridge", "check_method"),
    ),
    MethodCard(
        name="sde-sr",
        target="mezzotint.methods.sde_sr:build",
        family="diffusion",
        survey_section="3.3",
        paper="Song et al., Score-Based Generative Modeling through Stochastic Differential Equations, arXiv "
        "2011.13456",
        year=2021,
        weights="train",
        scales=_SCALES,
        any_scale=True,
        local=False,
        deterministic=False,
        presets=("small", "official", "official-ve"),
        axes=Axes(
            bridge="vp",
            domain="pixel",
            conditioning="low-resolution",
            network="unet",
            sampler="reverse-diffusion",
        ),
        checks=("check_bridge", "check_method"),
    ),
    MethodCard(
        name="srdiff",
        target="mezzotint.methods.srdiff:build",
        family="diffusion",
        survey_section="4.3",
        paper="Li et al., SRDiff: Single Image Super-Resolution with Diffusion Probabilistic Models, arXiv 2104.14951",
        year=2022,
        weights="train",
        scales=(2, 4, 8),
        any_scale=False,
        local=False,
        deterministic=False,
        presets=("small", "official", "official-faces"),
        axes=Axes(
            bridge="vp",
            domain="residual",
            conditioning="rrdb",
            network="unet",
            sampler="ancestral",
        ),
        checks=("check_bridge", "check_method"),
    ),
    MethodCard(
        name="diwa",
        target="mezzotint.methods.diwa:build",
        family="diffusion",
        survey_section="4.3",
        paper="Moser et al., Waving Goodbye to Low-Res, arXiv 2304.01994",
        year=2024,
        weights="train",
        scales=_SCALES,
        any_scale=True,
        local=False,
        deterministic=False,
        presets=("small", "official", "official-faces"),
        axes=Axes(
            bridge="vp",
            domain="wavelet",
            conditioning="lifted",
            network="unet",
            sampler="ancestral",
        ),
        checks=("check_bridge", "check_method"),
    ),
    MethodCard(
        name="resshift",
        target="mezzotint.methods.resshift:build",
        family="diffusion",
        survey_section="4.3",
        paper="Yue et al., ResShift: Efficient Diffusion Model for Image Super-resolution, arXiv 2307.12348",
        year=2023,
        weights="train",
        scales=_SCALES,
        any_scale=True,
        local=False,
        deterministic=False,
        presets=("small", "official"),
        axes=Axes(
            bridge="resshift",
            domain="pixel",
            conditioning="low-resolution",
            network="unet",
            sampler="ancestral",
        ),
        checks=("check_bridge", "check_method"),
    ),
    MethodCard(
        name="cold-diffusion",
        target="mezzotint.methods.cold_diffusion:build",
        family="diffusion",
        survey_section="4.5",
        paper="Bansal et al., Cold Diffusion: Inverting Arbitrary Image Transforms Without Noise, arXiv 2208.09392",
        year=2023,
        weights="train",
        scales=(2, 4, 8, 16),
        any_scale=False,
        local=False,
        deterministic=True,
        presets=("small", "official"),
        axes=Axes(
            bridge="cold-diffusion",
            domain="pixel",
            network="unet",
            sampler="cold2",
        ),
        checks=("check_bridge", "check_method"),
    ),
    MethodCard(
        name="i2sb",
        target="mezzotint.methods.i2sb:build",
        family="diffusion",
        survey_section="4.5",
        paper="Liu et al., I2SB: Image-to-Image Schrödinger Bridge, arXiv 2302.05872",
        year=2023,
        weights="train",
        scales=_SCALES,
        any_scale=True,
        local=False,
        deterministic=False,
        presets=("small", "official"),
        axes=Axes(
            bridge="i2sb",
            domain="pixel",
            network="unet",
            sampler="ancestral",
        ),
        checks=("check_bridge", "check_method"),
    ),
    MethodCard(
        name="indi",
        target="mezzotint.methods.indi:build",
        family="diffusion",
        survey_section="4.5",
        paper="Delbracio and Milanfar, Inversion by Direct Iteration, arXiv 2303.11435",
        year=2023,
        weights="train",
        scales=_SCALES,
        any_scale=True,
        local=False,
        deterministic=False,
        presets=("small",),
        axes=Axes(
            bridge="indi",
            domain="pixel",
            network="unet",
            sampler="indi",
        ),
        checks=("check_bridge", "check_method"),
    ),
    MethodCard(
        name="shared",
        target="mezzotint.methods.shared:build",
        family="diffusion",
        survey_section="3.4",
        paper="Karras et al., Elucidating the Design Space of Diffusion-Based Generative Models, arXiv 2206.00364",
        year=2022,
        weights="train",
        scales=(4,),
        any_scale=False,
        local=False,
        deterministic=False,
        presets=("small",),
        axes=Axes(
            bridge="vp",
            domain="pixel",
            conditioning="low-resolution",
            network="unet",
            sampler="ancestral",
        ),
        checks=("check_bridge", "check_sampler", "check_method"),
    ),
    *(
        MethodCard(
            name=name,
            target=f"mezzotint.methods.restorer:{name.replace('-', '_')}",
            family="zero-shot",
            survey_section="5" if named else "",
            paper=paper,
            year=year,
            weights="prior",
            scales=(1, 2, 3, 4, 8),
            any_scale=True,
            local=False,
            deterministic=False,
            presets=presets,
            axes=Axes(bridge="vp", domain="pixel", guidance=guidance, sampler=sampler, corrector=name),
            solver=solver,
        )
        for name, paper, year, presets, guidance, sampler, named, solver in _ZERO_SHOT
    ),
    MethodCard(
        name="prior",
        target="mezzotint.methods.prior:build",
        family="prior",
        survey_section="5",
        paper="Karras et al., Elucidating the Design Space of Diffusion-Based Generative Models, arXiv 2206.00364",
        year=2022,
        weights="shipped",
        scales=(1,),
        any_scale=False,
        local=False,
        deterministic=False,
        presets=("small", "adm", "unet2d", "ncsnpp"),
        axes=Axes(bridge="vp", domain="pixel", network="local-unet", sampler="ancestral"),
        checks=("check_bridge", "check_sampler", "check_method"),
    ),
    *(
        MethodCard(
            name=name,
            target=f"mezzotint.methods.mezzotint_x4:{function}",
            family="own",
            survey_section="4.3",
            paper=(
                "Predict and refine: Whang et al., Deblurring via Stochastic Refinement, arXiv 2112.02475; Moser et "
                "al., Waving Goodbye to Low-Res, arXiv 2304.01994"
            ),
            year=2026,
            weights="shipped",
            scales=(scale,),
            any_scale=False,
            local=True,
            deterministic=False,
            presets=("shipped", "small"),
            axes=Axes(
                bridge="vp",
                domain="subband",
                conditioning="features",
                network="refiner",
                sampler="ancestral",
            ),
            checks=("check_bridge", "check_sampler", "check_method"),
        )
        for name, function, scale in (
            ("mezzotint-x4", "build", 4), ("mezzotint-x2", "build_x2", 2), ("mezzotint-x4-real", "build_real", 4)
        )  # fmt: skip
    ),
)
