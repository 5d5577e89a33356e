"""`mezzotint evaluate`: how good methods are on a folder of pictures."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mezzotint.cli import exits, options
from mezzotint.cli.messages import Messages, one_line
from mezzotint.errors import InputError, MezzotintError, UsageError

if TYPE_CHECKING:
    import numpy as np

    from mezzotint.quality import Candidate, Output, Scored
    from mezzotint.quality.gallery import Gallery
    from mezzotint.upscaler import Interpolation, Upscaler


def evaluate(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="The true pictures.")],
    method: Annotated[
        list[str], typer.Option("--method", metavar="NAME", help="A name of `mezzotint methods`; may be repeated.")
    ],
    scale: Annotated[str, typer.Option(metavar="NUMBER", help="Large size over small size.")] = "4",
    steps: Annotated[
        str | None, typer.Option(metavar="A,B,C", help="Steps of the sampler; each number is a row of its own.")
    ] = None,
    realism: Annotated[
        str | None, typer.Option(metavar="A,B,C", help="Realism; each number is a row of its own.")
    ] = None,
    guidance: Annotated[
        str | None, typer.Option(metavar="A,B,C", help="Strengths of guidance; each number is a row of its own.")
    ] = None,
    consistent: Annotated[
        bool | None,
        typer.Option(
            "--consistent/--no-consistent", help="Make results shrink back to the small picture.", show_default=False
        ),
    ] = None,
    colour: Annotated[
        str,
        typer.Option(
            metavar="NAME",
            help=f"Give results of learned methods the colours of the small picture: {', '.join(options.COLOURS)}.",
        ),
    ] = "none",
    operator: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help=f"What makes the small pictures, which zero-shot solvers are told: {options.OPERATORS}.",
        ),
    ] = None,
    noise: Annotated[
        str | None,
        typer.Option(
            metavar="SIGMA", help="Standard deviation of noise added to the small pictures, in grey levels; as above."
        ),
    ] = None,
    protocol: Annotated[str, typer.Option(metavar="NAME", help="y-modern, y-classic, rgb or rgb-full.")] = "y-modern",
    measure: Annotated[
        list[str] | None,
        typer.Option(
            "--measure",
            metavar="NAME",
            help="A further measure, may be repeated: ms_ssim, lpips_vgg, dists, niqe, colour_shift, consistency; "
            "of sets fid, kid, frechet_alex; of samples lpips_diversity, diversity_score.",
        ),
    ] = None,
    patch: Annotated[
        str | None, typer.Option(metavar="N", help="Measures of sets see patches of NxN pixels, not whole pictures.")
    ] = None,
    limit: Annotated[str | None, typer.Option(metavar="N", help="Only the first N pictures.")] = None,
    seed: Annotated[str, typer.Option(metavar="N[,N...]", help="Each method with a seed runs once with each.")] = "0",
    samples: Annotated[
        str, typer.Option(metavar="K", help="K seeds from the given one on: for the spread and its calibration.")
    ] = "1",
    device: Annotated[str, typer.Option(metavar="NAME", help=f"{', '.join(options.DEVICES)}.")] = "auto",
    engine: Annotated[str, typer.Option(metavar="NAME", help=options.ENGINES_HELP)] = "eager",
    as_json: Annotated[
        str | None, typer.Option("--json", metavar="FILE|-", help="Write every figure; - is stdout.")
    ] = None,
    report: Annotated[Path | None, typer.Option(metavar="FILE.html", help="Write a page to read.")] = None,
    save: Annotated[Path | None, typer.Option(metavar="FOLDER", help="Write the results as PNG.")] = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Name failures only.")] = False,
) -> int:
    """Measure methods on a folder of true pictures, whose small versions are made here."""
    factor = options.scale(scale, keeps=options.restores(*method))
    seeds = _seeds(seed, samples)
    options.one_of(colour, option="--colour", choices=options.COLOURS)
    options.one_of(device, option="--device", choices=options.DEVICES)
    options.one_of(engine, option="--engine", choices=options.ENGINES)
    values = Grid(
        steps=(None,)
        if steps is None
        else options.integers(steps, option="--steps", low=1, high=options.LARGEST_STEPS),
        realism=(None,) if realism is None else options.reals(realism, option="--realism", low=0, high=1),
        guidance=(None,)
        if guidance is None
        else options.reals(guidance, option="--guidance", low=0, high=options.LARGEST_GUIDANCE),
    )
    count = None if limit is None else options.integer(limit, option="--limit", low=1)
    side = None if patch is None else options.integer(patch, option="--patch", low=1)
    for path, option in ((None if as_json in (None, "-") else Path(as_json), "--json"), (report, "--report")):
        if path is not None:
            options.output_file(path, option=option)
    options.existing_folder(folder, option="FOLDER")
    told = Told(
        operator, None if noise is None else options.real(noise, option="--noise", low=0, high=options.LARGEST_NOISE)
    )

    from mezzotint import quality
    from mezzotint.data import benchmarks
    from mezzotint.images.atomic import write_bytes
    from mezzotint.quality import evaluation, protocols
    from mezzotint.quality import report as reports
    from mezzotint.quality.gallery import Gallery

    if told.is_given and protocols.find(protocol).one_channel:
        raise UsageError(f"protocol {protocol} makes its own small pictures: leave --operator and --noise out")
    protocols.find(protocol)
    defaults = told.measures(evaluation.DEFAULT_MEASURES)
    try:
        files = benchmarks.find_pictures(folder)[:count]
        candidates = [
            candidate
            for name in method
            for candidate in _candidates(
                name, values, scale=factor, consistent=consistent, colour=colour, told=told, device=device,
                engine=engine,
            )  # fmt: skip
        ]
    except MezzotintError as error:
        raise UsageError(str(error)) from None
    _check_used(values, candidates)
    if engine != "eager" and all("engine" not in candidate.settings for candidate in candidates):
        raise UsageError(f"none of the methods has a network for --engine {engine}: leave it out")
    messages = Messages(quiet=quiet)
    gallery = None if report is None else Gallery()
    total = len(files) * sum(1 if candidate.deterministic else len(seeds) for candidate in candidates)
    try:
        if save is not None:
            save.mkdir(parents=True, exist_ok=True)
        with messages.progress(folder.name) as progress:
            result = quality.evaluate(
                _read(files, whole=count is None, messages=messages),
                candidates,
                scale=factor,
                protocol=protocol,
                seeds=seeds,
                measures=list(dict.fromkeys((*defaults, *(measure or ())))),
                patch=side,
                folder=str(folder),
                reduce=told.reduce(scale=factor, seed=seeds[0]),
                progress=_counted(progress, total=total, save=save, several=len(seeds) > 1, gallery=gallery),
            )
        if as_json not in (None, "-"):
            write_bytes(as_json, (evaluation.to_json(result) + "\n").encode(), overwrite=True)
        if report is not None:
            write_bytes(report, reports.to_html(result, gallery=gallery).encode(), overwrite=True)
    except InputError as error:
        messages.warn(f"mezzotint: {one_line(error)}")
        return exits.FAILED
    print(evaluation.to_json(result) if as_json == "-" else reports.to_markdown(result))
    return exits.DONE


@dataclass(frozen=True)
class Told:
    """How small pictures are made where not by the protocol, which solvers are told: `noise` in grey levels."""

    operator: str | None
    noise: float | None

    @property
    def is_given(self) -> bool:
        return self.operator is not None or bool(self.noise)

    def measures(self, defaults: Sequence[str]) -> tuple[str, ...]:
        """The measures without those that shrink by MATLAB's bicubic, where another operator made the pictures."""
        other = self.operator not in (None, "bicubic")
        return tuple(name for name in defaults if not (other and name.startswith("lr_psnr")))

    def reduce(self, *, scale: float, seed: int) -> Callable[[np.ndarray], np.ndarray] | None:
        """What makes the small picture of a true one, uint8 (H, W, c); raises UsageError for an unknown operator."""
        if not self.is_given:
            return None
        import numpy as np
        import torch

        from mezzotint.methods.restorer import read_mask
        from mezzotint.noise import picture_id
        from mezzotint.operators.degradation import degrade, reduction

        operator = self.operator or "bicubic"
        reduction(operator, scale=scale, read_mask=read_mask)

        def make(picture: np.ndarray) -> np.ndarray:
            y = torch.from_numpy(np.array(np.broadcast_to(picture, (*picture.shape[:2], 3))))
            x, _ = degrade(
                y.permute(2, 0, 1)[None], scale=scale, operator=operator, noise=self.noise or 0.0, seed=seed,
                pictures=(picture_id(picture),), read_mask=read_mask,
            )  # fmt: skip
            return np.ascontiguousarray(x[0].expand(3, -1, -1).permute(1, 2, 0).numpy())

        return make


@dataclass(frozen=True)
class Grid:
    """The settings that are gone through; None is a method's own default."""

    steps: tuple[int | None, ...]
    realism: tuple[float | None, ...]
    guidance: tuple[float | None, ...]


def _seeds(seed: str, samples: str) -> tuple[int, ...]:
    seeds = options.integers(seed, option="--seed", low=0, high=options.LARGEST_SEED)
    count = options.integer(samples, option="--samples", low=1, high=1000)
    first = seeds[0]
    if count > 1 and len(seeds) > 1:
        raise UsageError(f"--samples {count} and {len(seeds)} seeds exclude each other: keep one of them")
    return seeds if count == 1 else tuple(range(first, first + count))


def _candidates(
    name: str,
    values: Grid,
    *,
    scale: float,
    consistent: bool | None,
    colour: str,
    told: Told,
    device: str,
    engine: str,
) -> Iterator[Candidate]:
    """Yield a method with each of the settings that it takes."""
    from mezzotint.upscaler import Interpolation, load

    upscaler = load(name, device=device)
    if isinstance(upscaler.enlarger, Interpolation):
        yield _baseline(name, upscaler.enlarger, scale=scale)
        return
    if engine != "eager":
        upscaler = load(name, device=device, engine=engine)
    realisms = values.realism if upscaler.realism is not None else (None,)
    strengths = values.guidance if upscaler.enlarger.guidable else (None,)
    for steps, realism, guidance in itertools.product(values.steps, realisms, strengths):
        yield _diffusion(
            name, upscaler, steps=steps, realism=realism, guidance=guidance, consistent=consistent, colour=colour,
            told=told, scale=scale,
        )  # fmt: skip


def _baseline(name: str, engine: Interpolation, *, scale: float) -> Candidate:
    """Return a method without a seed; one that takes any channel also gets luma where the protocol has it."""
    import torch

    from mezzotint.baselines.interpolation import Bicubic, Lanczos, Nearest
    from mezzotint.quality import Candidate

    one_channel = engine.scale is None
    eight_bits = isinstance(engine.run, Nearest | Bicubic | Lanczos)

    def upscale(x: np.ndarray, seed: int) -> np.ndarray:
        # Straight to the function: the protocols' float pictures may leave [0, 1], which the front door refuses, and
        # the published figures of interpolation are those of 8-bit arithmetic.
        planes = torch.from_numpy(x).permute(2, 0, 1)[None]
        if planes.dtype == torch.uint8 and not eight_bits:
            planes = planes.to(torch.float64 if one_channel else torch.float32) / 255
        return engine.run(planes, scale=scale)[0].permute(1, 2, 0).numpy()

    return Candidate(name, upscale, one_channel=one_channel, deterministic=True, settings={"scale": scale})


def _diffusion(
    name: str,
    upscaler: Upscaler,
    *,
    steps: int | None,
    realism: float | None,
    guidance: float | None,
    consistent: bool | None,
    colour: str,
    told: Told,
    scale: float,
) -> Candidate:
    from mezzotint.quality import Candidate, Output
    from mezzotint.upscaler.restoration import Restoration

    restores = isinstance(upscaler.enlarger, Restoration)
    options_ = {"operator": told.operator, "noise": told.noise} if restores else {}
    # What the method refuses about any picture is said before the first one.
    upscaler.request(
        upscaler.trial(told.operator, scale), scale=scale, steps=steps, realism=realism, consistent=consistent,
        **options_,
    )  # fmt: skip

    def upscale(x: np.ndarray, seed: int) -> Output:
        result = upscaler(
            x, scale=scale, seed=seed, steps=steps, realism=realism, guidance=1.0 if guidance is None else guidance,
            consistent=consistent, colour=colour, floats=True, **options_,
        )  # fmt: skip
        figures = {"nfe": float(result.record.evaluations)}
        if restores and result.record.consistency is not None:
            figures["misfit"] = result.record.consistency.after_rms
        return Output(result.floats[0], figures)

    given = {"steps": steps, "realism": realism, "guidance": guidance}
    label = " ".join([name, *(f"{key} {value:g}" for key, value in given.items() if value is not None)])
    settings = {
        "steps": upscaler.steps if steps is None else steps,
        "realism": upscaler.realism if realism is None else realism,
        "guidance": (1.0 if guidance is None else guidance) if upscaler.enlarger.guidable else None,
        "consistent": upscaler.consistent if consistent is None else consistent,
        "colour": colour,
        "weights": upscaler.weights,
        "engine": upscaler.engine,
        **({"operator": told.operator or "bicubic", "noise": told.noise or 0.0} if restores else {}),
    }
    fixed = settings["realism"] == 0
    factor = upscaler.spread_factor(settings["realism"])
    return Candidate(label, upscale, deterministic=fixed, settings=settings, spread_factor=factor)


def _check_used(values: Grid, candidates: Sequence[Candidate]) -> None:
    """Refuse a list of settings that none of the methods takes."""
    for option, given in (("realism", values.realism), ("steps", values.steps), ("guidance", values.guidance)):
        if given != (None,) and all(candidate.settings.get(option) is None for candidate in candidates):
            raise UsageError(f"none of the methods takes --{option}: leave it out")


def _read(files: Sequence[Path], *, whole: bool, messages: Messages) -> Iterator[tuple[str, np.ndarray]]:
    """Yield name and pixels of each picture; at the end say where a known benchmark differs from the official one."""
    from mezzotint import images
    from mezzotint.data import benchmarks

    sizes = {}
    for file in files:
        pixels = images.read_plain(file).pixels
        sizes[file] = (pixels.shape[0], pixels.shape[1])
        yield file.name, pixels
    benchmark = benchmarks.recognise(files) if whole else None
    if benchmark is not None:
        differences = benchmarks.compare(benchmark, sizes)
        if not differences.is_none:
            messages.warn(f"mezzotint: not the official {benchmark.name}: {differences.report()}")


def _counted(
    progress: Callable[[int, int], None],
    *,
    total: int,
    save: Path | None,
    several: bool,
    gallery: Gallery | None,
) -> Callable[[Scored], None]:
    """Return what moves the bar, saves the pictures and keeps crops for the report if asked to, after each run."""
    done = 0

    def take(scored: Scored) -> None:
        nonlocal done
        exits.stop_if_interrupted()
        done += 1
        progress(done, total)
        if gallery is not None:
            gallery.add(scored)
        if save is not None:
            from mezzotint import images

            folder = save / re.sub(r"[^\w.-]+", "_", scored.method)
            folder.mkdir(exist_ok=True)
            name = Path(scored.picture).stem + (f"_s{scored.seed}" if several else "")
            images.write(images.Picture(scored.image), folder / f"{name}.png", overwrite=True)

    return take
