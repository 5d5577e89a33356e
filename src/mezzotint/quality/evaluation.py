"""Evaluation of methods on pictures: small pictures by a protocol, every measure, seeds, intervals, calibration.

Pictures stream: one is held at a time, with what is computed once for it (its small picture, its luma, its LPIPS
features), while every method and seed is measured against it. Measures of whole sets keep their features alone.
"""

from __future__ import annotations

import itertools
import json
import math
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import Any, Literal, NotRequired, TypedDict

import numpy as np
import torch
from torch import Tensor

from mezzotint.errors import InputError, UsageError
from mezzotint.quality import protocols, statistics
from mezzotint.quality.colour_shift import colour_shift
from mezzotint.quality.consistency import consistency, lr_psnr, lr_psnr_float
from mezzotint.quality.dists import load_network as load_dists
from mezzotint.quality.diversity import BestOfSamples
from mezzotint.quality.frechet import Features, frechet_distance_of_features, kernel_distance
from mezzotint.quality.inception import inception_features
from mezzotint.quality.inception import load_network as load_inception
from mezzotint.quality.levels import Picture, to_levels, to_unit
from mezzotint.quality.lpips import Net, load_network, prepare
from mezzotint.quality.niqe import load_model, niqe
from mezzotint.quality.protocols import Pair, Protocol
from mezzotint.quality.psnr import psnr_of_planes
from mezzotint.quality.ssim import SMALLEST_MULTISCALE, WINDOW, ms_ssim_of_planes, ssim_of_planes


@dataclass(frozen=True)
class Output:
    """What a method returns where it has more to tell than the picture.

    image: float or uint8 (h, w, c), or a tensor (c, h, w); [0, 1] if float, clipped before it is measured.
    figures: further numbers of this run, averaged like the measures, for example {"nfe": 20}.
    """

    image: Picture
    figures: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Candidate:
    """One method with its settings, as an evaluation sees it.

    upscale: called with the small picture, uint8 (h, w, 3), and a seed; returns the enlargement.
    one_channel: `upscale` also takes luma, float64 (h, w, 1), and gets it where the protocol has it.
    deterministic: seeds do not matter, one run is enough.
    settings: what stands in the result under `settings`; any values that JSON can hold.
    spread_factor: what the method multiplies the deviation of its samples by where it states the error to expect.
    """

    name: str
    upscale: Callable[[np.ndarray, int], Picture | Output]
    one_channel: bool = False
    deterministic: bool = False
    settings: Mapping[str, Any] = field(default_factory=dict)
    spread_factor: float = 1.0


@dataclass(frozen=True)
class Scored:
    """One run that has been measured: handed to `progress`, to show it or to save the picture.

    image: what was measured, uint8 (H, W, c); reference: what it was compared with, uint8 (H, W, 1 or 3).
    """

    picture: str
    method: str
    seed: int
    image: np.ndarray
    figures: Mapping[str, float | None]
    reference: np.ndarray


@dataclass(frozen=True)
class Measure:
    """One measure: its heading, the digits to print, and whether larger is better (None: neither).

    of: what has one figure. A set has no figures of its pictures and no interval; those of "samples" stand under
    `calibration` and need several seeds.
    """

    name: str
    heading: str
    digits: int
    larger_is_better: bool | None
    of: Literal["picture", "set", "samples"] = "picture"


MEASURES: tuple[Measure, ...] = (
    Measure("psnr", "PSNR dB", 4, True),
    Measure("ssim", "SSIM", 5, True),
    Measure("lpips", "LPIPS-AlexNet", 4, False),
    Measure("lpips_vgg", "LPIPS-VGG16", 4, False),
    Measure("lr_psnr", "LR-PSNR dB", 2, True),
    Measure("lr_psnr_float", "LR-PSNR float dB", 2, True),
    Measure("consistency", "consistency", 8, False),
    Measure("ms_ssim", "MS-SSIM", 5, True),
    Measure("dists", "DISTS", 4, False),
    Measure("niqe", "NIQE", 3, False),
    Measure("colour_shift", "colour shift", 3, False),
    Measure("fid", "FID", 3, False, "set"),
    Measure("kid", "KID", 5, False, "set"),
    Measure("frechet_alex", "Fréchet AlexNet", 3, False, "set"),
    Measure("lpips_diversity", "LPIPS between samples", 4, None, "samples"),
    Measure("diversity_score", "diversity score %", 2, None, "samples"),
)
SMALLEST_PATCH = 32
DEFAULT_MEASURES = ("psnr", "ssim", "lpips", "lr_psnr", "lr_psnr_float")
_NETS: dict[str, Net] = {"lpips": "alex", "lpips_vgg": "vgg"}
# Measures of sets: whose features, and the distance of two sets of them.
_OF_SETS: dict[str, tuple[str, Callable[[np.ndarray, np.ndarray], float]]] = {
    "fid": ("inception", frechet_distance_of_features),
    "kid": ("inception", kernel_distance),
    "frechet_alex": ("alex", frechet_distance_of_features),
}


class MethodFigures(TypedDict, total=False):
    """The figures of one method: `mean` over pictures, `std` over seeds, `ci95` over pictures, and each picture's.

    None stands where a measure is not defined. `calibration` is there for methods with a seed, from two seeds on.
    """

    settings: dict[str, Any]
    mean: dict[str, float | None]
    std: dict[str, float | None]
    ci95: dict[str, list[float] | None]
    images: dict[str, dict[str, Any]]
    calibration: dict[str, Any]
    notes: list[str]


class Data(TypedDict):
    """What was evaluated: the folder's name as given, and the number of pictures."""

    folder: str | None
    images: int


class SetData(TypedDict):
    """What measures of sets saw: the side of the patches, None for whole pictures, and how many of them."""

    patch: int | None
    count: int


class Evaluation(TypedDict):
    """The result of `evaluate`, as `mezzotint evaluate --json` prints it; `sets` with a measure of sets only."""

    protocol: str
    scale: float
    seeds: list[int]
    data: Data
    methods: dict[str, MethodFigures]
    sets: NotRequired[SetData]


def evaluate(
    pictures: Iterable[tuple[str, np.ndarray]],
    methods: Sequence[Candidate],
    *,
    scale: float = 4,
    protocol: str = protocols.DEFAULT,
    seeds: Sequence[int] = (0,),
    measures: Sequence[str] = DEFAULT_MEASURES,
    patch: int | None = None,
    folder: str | None = None,
    reduce: Callable[[np.ndarray], np.ndarray] | None = None,
    progress: Callable[[Scored], None] | None = None,
) -> Evaluation:
    """Measure methods on pictures and return every figure, with its spread over seeds and its interval over pictures.

    pictures: names and true pictures (h, w, 1 or 3), uint8, uint16 or float in [0, 1]; a generator keeps one in memory.
    scale, protocol: how the small pictures are made and the large ones measured, see `quality.protocols`.
    seeds: every method that has one runs with each; their standard deviation, and from two on the calibration of
    the spread over seeds against the error of the mean of the samples, stand in the result.
    measures: names out of `MEASURES`; seconds and what the methods report themselves are always there.
    patch: measures of sets (FID, KID, `frechet_alex`) see all whole patches of this side, from the upper left corner,
    instead of whole pictures: figures of few large pictures need them, and none compares with one of other patches.
    reduce: makes the small picture, uint8 (h, w, 3), of a reference, uint8 (H, W, 1 or 3), in place of the protocol.
    progress: called after every run.

    A float result is clipped to [0, 1] and rounded to 8 bits for all measures but `lr_psnr_float` and `consistency`.
    NIQE leaves out the border that the protocol cuts off; LPIPS, DISTS, colour and sets see the whole picture.
    `frechet_alex` is a Fréchet distance of the mean features of AlexNet's last layer in LPIPS, 256 numbers a picture;
    it is not FID. Raises UsageError for a bad option, InputError for a picture or a result that cannot be measured,
    WeightsError where published weights are missing.
    """
    rules = protocols.find(protocol)
    protocols.check_scale(scale)
    _check_options(methods, seeds, measures, patch)
    _load_weights(measures)
    tables = [_Table(method) for method in methods]
    names: set[str] = set()
    sets: dict[str, Features] = {}
    for name, picture in pictures:
        if name in names:
            raise InputError(f"two pictures are called {name}: names must differ")
        names.add(name)
        subject = _Subject(name, picture, rules, scale, patch, reduce)
        for source in _sources(measures):
            sets.setdefault(source, Features()).add(subject.features(subject.pair.reference, source))
        for table in tables:
            _measure_method(table, subject, seeds, measures, progress)
        del picture, subject  # or they would live on while the next picture is read
    if not names:
        raise InputError(f"there are no pictures to evaluate in {folder or 'the list'}")
    result = Evaluation(
        protocol=rules.name,
        scale=float(scale),
        seeds=[int(seed) for seed in seeds],
        data=Data(folder=folder, images=len(names)),
        methods={table.method.name: table.summary(sets, measures) for table in tables},
    )
    if sets:
        result["sets"] = SetData(patch=patch, count=len(next(iter(sets.values()))))
    return result


def to_json(evaluation: Evaluation) -> str:
    """Return an evaluation as JSON text; infinite figures become the strings "inf" and "-inf", which JSON lacks."""
    return json.dumps(_finite(evaluation), indent=2, ensure_ascii=False, allow_nan=False)


def _finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value


def _sources(measures: Sequence[str]) -> list[str]:
    """Return the networks whose features the measures of sets need."""
    return list(dict.fromkeys(_OF_SETS[measure][0] for measure in measures if measure in _OF_SETS))


def _load_weights(measures: Sequence[str]) -> None:
    """Load what the measures need, so that a missing file is known before the first picture."""
    for measure in measures:
        if measure in _NETS:
            load_network(_NETS[measure])
    if "dists" in measures:
        load_dists()
    if "niqe" in measures:
        load_model()
    for source in _sources(measures):
        _ = load_inception() if source == "inception" else load_network("alex")


def _check_options(
    methods: Sequence[Candidate], seeds: Sequence[int], measures: Sequence[str], patch: int | None
) -> None:
    if not methods:
        raise UsageError("there is no method to evaluate: name at least one")
    names = [method.name for method in methods]
    double = next((name for name in names if names.count(name) > 1), None)
    if double is not None:
        raise UsageError(f"two methods are called {double}: give each setting its own name")
    if not seeds:
        raise UsageError("there is no seed: give at least one")
    if len(set(seeds)) != len(seeds):
        raise UsageError(f"seeds {', '.join(map(str, seeds))} repeat one: a repeated sample would hide the spread")
    known = [measure.name for measure in MEASURES]
    unknown = next((name for name in measures if name not in known), None)
    if unknown is not None:
        raise UsageError(f"measure {unknown!r} is unknown: use {', '.join(known)}")
    of_samples = [measure.name for measure in MEASURES if measure.of == "samples" and measure.name in measures]
    if of_samples and (len(seeds) < 2 or all(method.deterministic for method in methods)):
        raise UsageError(f"{of_samples[0]} compares samples: give several seeds and a method that draws them")
    if patch is not None and not _sources(measures):
        raise UsageError(f"patch {patch} is for measures of sets: leave it out, or add one of {', '.join(_OF_SETS)}")
    if patch is not None and patch < SMALLEST_PATCH:
        raise UsageError(f"patch {patch} is below the smallest, {SMALLEST_PATCH} pixels: use {SMALLEST_PATCH} or more")


class _Subject:
    """One picture, with what is computed once for all methods."""

    def __init__(
        self,
        name: str,
        picture: np.ndarray,
        protocol: Protocol,
        scale: float,
        patch: int | None = None,
        reduce: Callable[[np.ndarray], np.ndarray] | None = None,
    ) -> None:
        self.name, self.picture, self.protocol, self.scale, self.patch = name, picture, protocol, scale, patch
        self.pair = protocol.pair(picture, scale=scale)
        if reduce is not None:
            self.pair = Pair(reference=self.pair.reference, x=reduce(self.pair.reference))
        self._descriptions: dict[Net, list[Tensor]] = {}

    @cached_property
    def luma_pair(self) -> Pair:
        return self.protocol.pair(self.picture, scale=self.scale, one_channel=True)

    @cached_property
    def levels(self) -> np.ndarray:
        return to_levels(self.pair.reference)

    @cached_property
    def unit(self) -> np.ndarray:
        """The reference as float64 (h, w, 3) in [0, 1]."""
        unit = self.pair.reference / 255.0
        return np.repeat(unit, 3 // unit.shape[2], axis=2)

    def described(self, net: Net) -> list[Tensor]:
        """Return the LPIPS features of the reference."""
        if net not in self._descriptions:
            with torch.no_grad():
                self._descriptions[net] = load_network(net).describe(prepare(self.pair.reference))
        return self._descriptions[net]

    @cached_property
    def dists_stages(self) -> list[Tensor]:
        with torch.no_grad():
            return load_dists().describe(prepare(self.pair.reference))

    def features(self, image: np.ndarray, source: str) -> np.ndarray:
        """Return what measures of sets see of an 8-bit picture, (patches, d), by one of the networks."""
        side = self.patch
        height, width = image.shape[:2]
        if side is None:
            parts = [image]
        elif min(height, width) < side:
            raise InputError(f"{self.name} has {width}x{height} pixels and no patch of {side}: use a smaller patch")
        else:
            corners = itertools.product(range(0, height - side + 1, side), range(0, width - side + 1, side))
            parts = [image[top : top + side, left : left + side] for top, left in corners]
        if source == "alex":
            with torch.no_grad():
                pooled = [load_network("alex").last(prepare(part)).mean(dim=(2, 3)) for part in parts]
            return torch.cat(pooled).numpy()
        return np.concatenate([inception_features(part) for part in parts])


@dataclass
class _Table:
    """The figures of one method while they are collected: for each picture and each measure one value a seed."""

    method: Candidate
    images: dict[str, dict[str, list[float | None]]] = field(default_factory=dict)
    samples: dict[str, dict[str, Any]] = field(default_factory=dict)
    features: dict[str, dict[int, Features]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def note(self, text: str) -> None:
        if text not in self.notes:
            self.notes.append(text)

    def summary(self, sets: Mapping[str, Features], wanted: Sequence[str]) -> MethodFigures:
        """Return the figures of the method; `sets`: the features of the references by network."""
        measures = list(dict.fromkeys(key for row in self.images.values() for key in row))
        per_image = {
            name: {measure: statistics.mean(row.get(measure, ())) for measure in measures}
            for name, row in self.images.items()
        }
        runs = max(len(values) for row in self.images.values() for values in row.values())
        mean: dict[str, float | None] = {}
        std: dict[str, float | None] = {}
        interval: dict[str, list[float] | None] = {}
        for measure in measures:
            values = [figures[measure] for figures in per_image.values()]
            mean[measure] = statistics.mean(values)
            of_seeds = [
                statistics.mean([row[measure][run] for row in self.images.values() if run < len(row.get(measure, ()))])
                for run in range(runs)
            ]
            fixed = self.method.deterministic and measure != "seconds" and mean[measure] is not None
            std[measure] = 0.0 if fixed else statistics.deviation(of_seeds)
            bounds = statistics.bootstrap_interval(values)
            interval[measure] = list(bounds) if bounds is not None else None
        for measure in (name for name in wanted if name in _OF_SETS):
            source, distance = _OF_SETS[measure]
            figures: list[float | None] = [None]
            if len(sets[source]) < 2:
                self.note(f"one picture is no set: {measure} is not defined")
            elif source in self.features:
                reference = sets[source].array()
                figures = [distance(reference, found.array()) for found in self.features[source].values()]
            mean[measure] = statistics.mean(figures)
            std[measure] = 0.0 if self.method.deterministic else statistics.deviation(figures)
            interval[measure] = None
        images: dict[str, dict[str, Any]] = {name: dict(figures) for name, figures in per_image.items()}
        if runs > 1:
            for name, row in self.images.items():
                images[name]["seeds"] = row
        for name, calibration in self.samples.items():
            images[name]["samples"] = calibration
        result = MethodFigures(
            settings=dict(self.method.settings), mean=mean, std=std, ci95=interval, images=images, notes=self.notes
        )
        if self.samples:
            result["calibration"] = _calibration(list(self.samples.values()), self.method.spread_factor)
        return result


_SAMPLE_FIGURES = ("diversity", "stability", "lpips_diversity", "diversity_score")


def _calibration(rows: list[dict[str, Any]], factor: float) -> dict[str, Any]:
    """Return the calibration over pictures.

    ratio: mean spread^2 over mean squared error of the mean of the samples; mean_ratio: the mean of the pictures'
    ratios; ideal_ratio: what samples of the true posterior would give, n / (n + 1) for n samples. stated_ratio: the
    ratio of the error that the method states, which is `factor` times the spread, squared; its ideal is the same.
    """
    spread, error = [row["spread2"] for row in rows], [row["error2"] for row in rows]
    bounds = statistics.ratio_interval(spread, error)
    count = rows[0]["count"]
    total = float(np.mean(error))
    return {
        "samples": count,
        "spread2": float(np.mean(spread)),
        "error2": total,
        "ratio": float(np.mean(spread)) / total if total > 0 else math.inf,
        "ratio_ci95": list(bounds) if bounds is not None else None,
        "spread_factor": factor,
        "stated_ratio": factor**2 * float(np.mean(spread)) / total if total > 0 else math.inf,
        "mean_ratio": statistics.mean([row["ratio"] for row in rows]),
        "ideal_ratio": count / (count + 1),
        "rank_correlation": statistics.mean([row["rank_correlation"] for row in rows]),
        **{key: statistics.mean([row[key] for row in rows]) for key in _SAMPLE_FIGURES if key in rows[0]},
        "sample_mean": {
            key: statistics.mean([row["sample_mean"][key] for row in rows]) for key in rows[0]["sample_mean"]
        },
    }


def _measure_method(
    table: _Table,
    subject: _Subject,
    seeds: Sequence[int],
    measures: Sequence[str],
    progress: Callable[[Scored], None] | None,
) -> None:
    method = table.method
    luma = method.one_channel and subject.protocol.one_channel
    if subject.protocol.one_channel and not luma:
        table.note(f"measure half only: the method got the {protocols.DEFAULT} picture")
    if luma:
        table.note("one channel: the method got the unrounded luma; LPIPS and 8-bit LR-PSNR are not defined")
    x = (subject.luma_pair if luma else subject.pair).x
    samples = _Samples()
    row: dict[str, list[float | None]] = {}
    for seed in seeds[:1] if method.deterministic else seeds:
        start = time.perf_counter()
        output = method.upscale(x.copy(), int(seed))
        seconds = time.perf_counter() - start
        output = output if isinstance(output, Output) else Output(output)
        raw = _result(output.image, subject, method, channels=x.shape[2])
        image = np.floor(np.clip(raw, 0.0, 1.0) * 255.0 + 0.5).astype(np.uint8)
        figures = _figures(raw, image, x, subject, measures, luma=luma, note=table.note)
        for source in () if luma else _sources(measures):
            of_seed = table.features.setdefault(source, {}).setdefault(int(seed), Features())
            of_seed.add(subject.features(image, source))
        figures["seconds"] = seconds
        figures.update({key: float(value) for key, value in output.figures.items()})
        for key, value in figures.items():
            row.setdefault(key, []).append(value)
        if not (luma or method.deterministic) and len(seeds) > 1:
            samples.add(raw, image, subject, measures)
        if progress is not None:
            reference = subject.pair.reference
            progress(Scored(subject.name, method.name, int(seed), image, figures, reference))
    table.images[subject.name] = row
    if samples.spread.count > 1:
        table.samples[subject.name] = samples.figures(subject, measures, note=table.note)


class _Samples:
    """What the samples of one picture tell together, one at a time."""

    def __init__(self) -> None:
        self.spread = statistics.Spread()
        self.best = BestOfSamples()
        self.descriptions: list[list[Tensor]] = []

    def add(self, raw: np.ndarray, image: np.ndarray, subject: _Subject, measures: Sequence[str]) -> None:
        self.spread.add(np.clip(raw, 0.0, 1.0))
        wanted = {"lpips_diversity", "diversity_score"} & set(measures)
        if not wanted:
            return
        network = load_network("alex")
        if min(image.shape[:2]) < network.smallest:
            return
        with torch.no_grad():
            description = network.describe(prepare(image))
            if "lpips_diversity" in wanted:
                self.descriptions.append(description)
            if "diversity_score" in wanted:
                size = (image.shape[0], image.shape[1])
                found = network.distance_map(subject.described("alex"), description, size=size)
                self.best.add(found[0].numpy())

    def figures(self, subject: _Subject, measures: Sequence[str], *, note: Callable[[str], None]) -> dict[str, Any]:
        """Return the calibration of one picture, how much its samples differ, and how good their mean is."""
        calibration = self.spread.calibration(subject.unit)
        image = np.floor(self.spread.mean * 255.0 + 0.5).astype(np.uint8)
        figures = {"count": self.spread.count, **asdict(calibration), "ratio": calibration.ratio}
        figures["stability"] = self.spread.stability
        if "lpips_diversity" in measures:
            network = load_network("alex")
            pairs = itertools.combinations(self.descriptions, 2)
            figures["lpips_diversity"] = statistics.mean([float(network.distance(a, b)[0]) for a, b in pairs])
        if "diversity_score" in measures:
            figures["diversity_score"] = self.best.score() if self.best.count and self.best.least_mean else None
        return {**figures, "sample_mean": _compared(image, subject, measures, note=note)}


def _result(image: Picture, subject: _Subject, method: Candidate, *, channels: int) -> np.ndarray:
    """Return a method's result as float64 (H, W, c), c that of the small picture; refuse what cannot be measured."""
    where = f"the result of {method.name} for {subject.name}"
    # Overshoot is clipped as a file would clip it; far outside is a wrong range, not overshoot.
    values = to_unit(image, name=where, slack=0.5)
    height, width = subject.pair.reference.shape[:2]
    if values.shape[0] != 1 or values.shape[2:] != (height, width):
        raise InputError(
            f"{where} has {values.shape[3]}x{values.shape[2]} pixels, the true picture {width}x{height}: "
            f"the method must enlarge exactly by {subject.scale:g}"
        )
    values = values[0].transpose(1, 2, 0)
    if values.shape[2] == 1 and channels == 3:
        return np.repeat(values, 3, axis=2)
    if values.shape[2] != channels:
        raise InputError(f"{where} has {values.shape[2]} channels: it got {channels} and must return as many")
    return values


def _figures(
    raw: np.ndarray,
    image: np.ndarray,
    x: np.ndarray,
    subject: _Subject,
    measures: Sequence[str],
    *,
    luma: bool,
    note: Callable[[str], None],
) -> dict[str, float | None]:
    figures: dict[str, float | None] = {}
    if {"psnr", "ssim", "ms_ssim"} & set(measures):
        figures.update(_compared(image, subject, measures, note=note))
    for measure in measures:
        if measure in _NETS:
            figures[measure] = None if luma else _distance(image, subject, _NETS[measure], note=note)
        elif measure in _WHOLE:
            figures[measure] = None if luma else _WHOLE[measure](image, subject, note)
        elif measure == "lr_psnr":
            figures[measure] = None if luma else lr_psnr(image, x, scale=subject.scale)
        elif measure == "lr_psnr_float":
            figures[measure] = lr_psnr_float(raw, x, scale=subject.scale)
        elif measure == "consistency":
            figures[measure] = consistency(raw, x, scale=subject.scale)
    return figures


def _compared(
    image: np.ndarray, subject: _Subject, measures: Sequence[str], *, note: Callable[[str], None]
) -> dict[str, float | None]:
    """Return PSNR, SSIM and MS-SSIM, as far as they are asked for, on the planes of the protocol."""
    first, second = subject.protocol.planes(subject.levels, to_levels(image), scale=subject.scale)
    figures: dict[str, float | None] = {}
    if "psnr" in measures:
        figures["psnr"] = psnr_of_planes(first[0], second[0])
    if "ssim" in measures:
        small = min(first.shape[2:]) < WINDOW
        if small:
            note(f"{subject.name} is too small for SSIM")
        figures["ssim"] = None if small else ssim_of_planes(first[0], second[0])
    if "ms_ssim" in measures:
        small = min(first.shape[2:]) < SMALLEST_MULTISCALE
        if small:
            note(f"{subject.name} is too small for MS-SSIM")
        figures["ms_ssim"] = None if small else ms_ssim_of_planes(first[0], second[0])
    return figures


def _distance(image: np.ndarray, subject: _Subject, net: Net, *, note: Callable[[str], None]) -> float | None:
    if min(image.shape[:2]) < load_network(net).smallest:
        note(f"{subject.name} is too small for LPIPS-{net}")
        return None
    network = load_network(net)
    with torch.no_grad():
        return float(network.distance(subject.described(net), network.describe(prepare(image)))[0])


def _dists(image: np.ndarray, subject: _Subject, note: Callable[[str], None]) -> float:
    network = load_dists()
    with torch.no_grad():
        return float(network.distance(subject.dists_stages, network.describe(prepare(image)))[0])


def _niqe(image: np.ndarray, subject: _Subject, note: Callable[[str], None]) -> float | None:
    border = math.ceil(subject.scale) if subject.protocol.cut_border else 0
    try:
        return niqe(image, crop=border)
    except InputError:
        note(f"{subject.name} is too small or too flat for NIQE")
        return None


def _colour_shift(image: np.ndarray, subject: _Subject, note: Callable[[str], None]) -> float:
    return float(colour_shift(subject.pair.reference, image))


_WHOLE: dict[str, Callable[[np.ndarray, _Subject, Callable[[str], None]], float | None]] = {
    "dists": _dists,
    "niqe": _niqe,
    "colour_shift": _colour_shift,
}
