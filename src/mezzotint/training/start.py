"""Start a training run from its run file: pictures, method, loop, sample sheets, and the check before a long run."""

from __future__ import annotations

import csv
import hashlib
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, cast

import numpy as np
import torch
from torch import Tensor, nn

from mezzotint import methods, weights
from mezzotint.data import sets
from mezzotint.data.crops import Blur
from mezzotint.data.pairs import PairFile
from mezzotint.data.stream import Making, Stream
from mezzotint.errors import InputError, UsageError, WeightsError
from mezzotint.methods.stage import Stage
from mezzotint.noise import NoiseSource
from mezzotint.operators.degradation import AddNoise, Degradation, EightBit, Jpeg, reduction
from mezzotint.operators.presets import preset as preset_named
from mezzotint.training.crops import Pairs, batch
from mezzotint.training.loop import Moment, Trained, find_stage, train
from mezzotint.training.run_file import Run

CHECK_CROPS = 8
CHECK_DECIBELS = 35.0
CHECK_SECONDS = 180.0


@dataclass(frozen=True)
class Checked:
    """The outcome of `check`: PSNR reached on the crops (RGB), steps, seconds, the picture written."""

    psnr: float
    steps: int
    seconds: float
    picture: Path

    @property
    def passed(self) -> bool:
        return self.psnr >= CHECK_DECIBELS


def picture_files(run: Run) -> list[Path]:
    """Return the run's pictures in a fixed order; raises InputError for a missing folder, list or picture."""
    from mezzotint import images

    folder = run.pictures.folder
    if not folder.is_dir():
        raise InputError(
            f"folder of training pictures {folder} does not exist: mezzotint data fetch training -o {folder}"
        )
    if run.pictures.names is None:
        files = sorted(p for p in folder.rglob("*") if p.suffix.lower() in images.WRITABLE)
        if not files:
            raise InputError(f"folder of training pictures {folder} holds no picture")
        return files
    try:
        text = run.pictures.names.read_text(encoding="utf-8")
    except OSError as error:
        raise InputError(f"list of pictures {run.pictures.names} cannot be read: {error.strerror}") from None
    if run.pictures.names.suffix.lower() == ".csv":
        names = [row["file"] for row in csv.DictReader(text.splitlines())]
    else:
        names = [line.strip() for line in text.splitlines() if line.strip()]
    missing = [name for name in names if not (folder / name).is_file()]
    if missing:
        raise InputError(
            f"{len(missing)} of {len(names)} listed pictures are not in {folder}, the first is {missing[0]}"
        )
    return [folder / name for name in sorted(names)]


@dataclass(frozen=True)
class Drawn:
    """A preset of `operators.presets`, drawn anew for every picture b c h w (grey levels) and its noise."""

    preset: str
    scale: int

    def apply(self, picture: Tensor, *, noise: NoiseSource) -> Tensor:
        size = (int(picture.shape[-2]), int(picture.shape[-1]))
        chain = preset_named(self.preset).chain(noise, size=size, scale=self.scale)
        return chain.apply(picture.to(torch.float32), noise=noise)


def making(run: Run) -> Making:
    """Return how the small pictures of a run come about; UsageError for settings that exclude each other."""
    p = run.pictures
    own = p.operator != "bicubic" or p.noise > 0 or p.jpeg is not None
    if (own or p.preset is not None) and p.track != sets.ON_THE_FLY:
        raise UsageError(
            f"pictures.track {p.track!r} takes the small pictures of {p.dataset}, pictures.preset, operator, noise and "
            "jpeg make others: leave out one or the other"
        )
    if own and p.preset is not None:
        raise UsageError(
            f"pictures.preset {p.preset!r} has its own operator, noise and JPEG: leave out pictures.operator, noise "
            "and jpeg, or the preset"
        )
    blur = None if p.blur is None else Blur(*p.blur, share=p.blur_share)
    if p.preset is not None and p.preset != "bicubic":
        preset_named(p.preset).check_scale(run.scale)
        return Making(degradation=Drawn(p.preset, run.scale), blur=blur, reuse=p.reuse)
    if not own:
        return Making(blur=blur, reuse=p.reuse)
    stages = list(reduction(p.operator, scale=run.scale, rounded=True))
    if p.noise > 0:
        stages.append(AddNoise(sigma=p.noise))
    stages.append(EightBit())
    if p.jpeg is not None:
        stages.append(Jpeg(quality=p.jpeg))
    return Making(degradation=Degradation(stages=tuple(stages)), blur=blur, reuse=p.reuse)


def find_pairs(run: Run) -> sets.Found:
    """Return the pictures of a run, those of its data set or of its plain folder, in a fixed order.

    Raises InputError for a missing folder, list or picture and for another layout, UsageError for keys that need a data
    set where none is named.
    """
    p = run.pictures
    if p.dataset is None:
        for key, given in (("split", p.split is not None), ("track", p.track != sets.ON_THE_FLY)):
            if given:
                raise UsageError(
                    f"pictures.{key} belongs to a data set: name it with pictures.dataset, or leave {key} out"
                )
        files = picture_files(run)
        return sets.Found("", "", tuple(PairFile(file.name, file) for file in files), len(files), ())
    names = None if p.names is None else sets.read_names(p.names)
    return sets.read(p.dataset, p.folder, split=p.split, scale=run.scale, track=p.track, names=names)


def open_pictures(run: Run, *, workers: int | None = None) -> Stream:
    """Return the batches of a run, with its own number of workers or another; close them afterwards."""
    p = run.pictures
    return Stream(
        find_pairs(run).pairs,
        scale=run.scale,
        crop=p.crop,
        making=making(run),
        memory=None if p.cache_mb is None else p.cache_mb * 1_000_000,
        workers=p.workers if workers is None else workers,
        unpacked=p.unpacked,
    )


def _data(run: Run, pairs: Stream) -> dict[str, str]:
    """Return what the card of the weights says of the pictures."""
    p = run.pictures
    size = f"{len(pairs.names)} pictures, {pairs.megapixels:.1f} megapixels{_reduced(run)}"
    if p.dataset is None:
        return {"data": size}
    known = sets.find_set(p.dataset)
    track = "" if p.track == sets.ON_THE_FLY else f", track {p.track}"
    return {"data": f"{known.name}, split {known.split(p.split).name}{track}: {size}", "data_licence": known.licence}


def _reduced(run: Run) -> str:
    """Return how the small pictures were made and changed, "" for MATLAB's bicubic and for shipped ones."""
    p = run.pictures
    if p.preset is not None and p.preset != "bicubic":
        parts = [p.preset]
    else:
        parts = [] if p.operator == "bicubic" and not p.noise and p.jpeg is None else [p.operator]
        parts += [f"noise {p.noise:g}"] if p.noise else []
        parts += [f"JPEG {p.jpeg}"] if p.jpeg is not None else []
    text = f", made small by {', '.join(parts)}" if parts else ""
    if p.blur is None:
        return text
    return f"{text}, {p.blur_share:.0%} blurred by {p.blur[0]:g} to {p.blur[1]:g} small pixels"


def build_method(run: Run) -> nn.Module:
    """Return the method of a run: loaded from `initial`, or new with weights that depend on the seed alone.

    `initial` may be of a method with the same networks under another name, as mezzotint-x4 for mezzotint-x4-real, and
    the method's `free_settings`, which no weight depends on, may differ. Its `growing_settings` may differ too, and
    with them the scale: then it takes over what it can (`grow_from`), and the weights of the rest depend on the seed
    alone.
    Raises UsageError for settings that the method does not have, or that `initial` has otherwise.
    """
    if run.initial is not None:
        method, card = methods.load_with_card(str(run.initial))
        if card.method != run.method and not _same_networks(card.method, run.method):
            raise WeightsError(f"{run.initial} holds weights of {card.method}, the run trains {run.method}")
        free = {key: run.config[key] for key in getattr(method, "free_settings", ()) if key in run.config}
        grown = {
            key: run.config[key] for key in getattr(method, "growing_settings", ())
            if run.config.get(key, card.config.get(key)) != card.config.get(key)
        }  # fmt: skip
        grows = bool(grown)
        if run.scale != card.scale:
            grows = hasattr(method, "growing_settings")
            if not grows:
                raise UsageError(
                    f"scale is {run.scale}, {run.initial} was made for {card.scale:g}: use that, or leave initial out"
                )
        config = {**card.config, **free, **grown}
        if card.method != run.method or free or grows:
            made = _build(run, scale=run.scale, preset=card.preset, config=config)
            if grows:
                cast(_Growing, made).grow_from(method)
            else:
                weights.restore(made, method.state_dict(), source=run.initial)
            method = made.eval()
        _check_settings(run, config)
        return method
    return _build(run, scale=run.scale, preset=run.preset, config=run.config)


def _build(run: Run, *, scale: float, preset: str, config: Mapping[str, Any]) -> nn.Module:
    """The method of a run with weights that depend on the seed alone."""
    digest = hashlib.sha256(f"weights {run.seed}".encode()).digest()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(int.from_bytes(digest[:8], "little") >> 1)
        return methods.build(run.method, scale=scale, preset=preset, config=config)


class _Growing(Protocol):
    """A method whose networks may take over what others compute."""

    def grow_from(self, other: nn.Module) -> None: ...


def _same_networks(one: str, other: str) -> bool:
    """Whether two methods are one recipe for two kinds of pictures: both are built by the same module."""
    modules = {methods.find(name).target.partition(":")[0] for name in (one, other)}
    return len(modules) == 1 and all(methods.find(name).family == "own" for name in (one, other))


def _check_settings(run: Run, trained: Mapping[str, Any]) -> None:
    for key, value in run.config.items():
        found = trained.get(key)
        pairs = [(value, found)]
        if isinstance(value, Mapping) and isinstance(found, Mapping):
            pairs = [(value[name], found.get(name)) for name in value]
        # Through JSON, as the card went: tuples are lists there.
        if any(json.dumps(one) != json.dumps(other) for one, other in pairs):
            raise UsageError(
                f"config.{key} is {json.dumps(value)}, {run.initial} was made with {json.dumps(found)}: leave it out, "
                "or train without `initial`"
            )


def start(
    run: Run,
    *,
    resume: bool = False,
    report: Callable[[Moment], None] | None = None,
    stop: Callable[[], bool] | None = None,
) -> Trained:
    """Train as the run file says; the averaged weights lie in the run's output folder at the end.

    Raises UsageError, InputError or WeightsError before the first step where something is missing, and DivergedError.
    """
    method = build_method(run)
    stages = getattr(method, "stages")  # noqa: B009
    find_stage(stages, run.stage)
    with open_pictures(run) as pairs:
        return _train(method, pairs, run, resume=resume, report=report, stop=stop)


def _train(
    method: nn.Module,
    pairs: Stream,
    run: Run,
    *,
    resume: bool,
    report: Callable[[Moment], None] | None,
    stop: Callable[[], bool] | None,
) -> Trained:
    seen = batch(pairs, seed=run.seed, step=run.steps + 100, size=4, crop=run.pictures.crop)

    def save(folder: Path, step: int, seconds: float) -> None:
        card = method.describe()  # pyright: ignore
        card = card.model_copy(
            update={
                **_data(run, pairs),
                "hours": round(seconds / 3600, 3),
                "iterations": step,
            }
        )
        method.save_pretrained(folder, card=card)  # pyright: ignore

    def sheet(stage: Stage, path: Path) -> None:
        if stage.preview is not None:
            draw_sheet(stage.preview, *seen, path)

    return train(method, pairs, run, resume=resume, report=report, sheet=sheet, stop=stop, save=save)


def check(run: Run, *, report: Callable[[Moment], None] | None = None) -> Checked:
    """Overfit eight fixed crops for at most three minutes: a model and a loss that cannot do this are broken.

    Writes `check.png` (small picture, result, truth) into the output folder and ends as soon as 35 dB are reached.
    """
    method = build_method(run)
    stage = find_stage(getattr(method, "stages"), run.stage)  # noqa: B009
    if stage.preview is None:
        raise UsageError(f"stage {stage.name} has no preview: --check cannot judge it")
    crop = min(run.pictures.crop, 16)
    with open_pictures(run, workers=0) as pairs:
        y, x = batch(pairs, seed=run.seed, step=run.steps + 200, size=CHECK_CROPS, crop=crop)
    fixed = Pairs(
        tuple(((y + 1) * 127.5).round().to(torch.uint8)), tuple(((x + 1) * 127.5).round().to(torch.uint8)),
        run.scale, tuple(str(i) for i in range(CHECK_CROPS)),
    )  # fmt: skip
    pictures = run.pictures.model_copy(update={"crop": crop, "flips": False, "rotations": False})
    small = run.model_copy(
        update={
            "steps": 100_000, "batch": CHECK_CROPS, "pictures": pictures, "output": run.output / "check",
            "save_minutes": 1e9, "sheet_minutes": 1e9, "precision": "float32",
            "optimiser": run.optimiser.model_copy(
                update={"ema": 0.9, "warmup": 0.0005, "rate": max(run.optimiser.rate, 1e-3)}
            ),
        }
    )  # fmt: skip
    began = time.monotonic()
    best, asked = 0.0, began

    def psnr() -> float:
        assert stage.preview is not None
        with torch.no_grad():
            error = (stage.preview(x).clamp(-1, 1) - y).double().square().mean()
        return float(10 * torch.log10(4 / error.clamp_min(1e-12)))

    def stop() -> bool:
        nonlocal best, asked
        now = time.monotonic()
        if now - asked > 10:
            best = max(best, psnr())
            asked = time.monotonic()
        return best >= CHECK_DECIBELS or now - began > CHECK_SECONDS

    trained = train(method, fixed, small, report=report, stop=stop)
    run.output.mkdir(parents=True, exist_ok=True)
    picture = run.output / "check.png"
    draw_sheet(stage.preview, y, x, picture)
    return Checked(max(best, psnr()), trained.step, time.monotonic() - began, picture)


def draw_sheet(preview: Callable[[Tensor], Tensor], y: Tensor, x: Tensor, path: Path) -> None:
    """Write a sheet: a row a picture, with the small picture enlarged by repetition, the result and the truth."""
    from mezzotint import images
    from mezzotint.images import sheets

    with torch.no_grad():
        made = preview(x)

    def pixels(batch: Tensor) -> list[np.ndarray]:
        levels = ((batch.clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8)
        return [picture.permute(1, 2, 0).cpu().numpy() for picture in levels]

    rows = list(zip(pixels(x), pixels(made), pixels(y), strict=True))
    sheet = sheets.contact_sheet(rows, labels=("small", "made", "truth"))
    images.write(images.Picture(sheet), path, overwrite=True)
