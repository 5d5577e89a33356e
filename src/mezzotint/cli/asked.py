"""What `upscale` and `plan` are asked for: their options, checked and gathered before the first picture is read."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mezzotint.cli import options, outputs
from mezzotint.errors import MezzotintError, UsageError

if TYPE_CHECKING:
    from mezzotint.images import Picture
    from mezzotint.upscaler import Job, Upscaler

# Standard deviations are small: a picture of them shows eight grey levels for each one.
SPREAD_GAIN = 8.0


@dataclass(frozen=True)
class Settings:
    """What the upscaler is asked to do with every input."""

    size: outputs.Size
    seed: int
    steps: int | None
    samples: int
    realism: float | None
    guidance: float
    consistent: bool | None
    colour: str
    operator: str | None
    noise: float | str | None
    tile: int | str | None
    range: tuple[float, float] | None
    deadline: float | None

    def prepare(self, upscaler: Upscaler, picture: Picture, *, file: Path | None = None) -> Job:
        """Return the job of one picture, read from `file`, its deadline left out; raises what is wrong with it."""
        from mezzotint.upscaler.samples import Coding

        return upscaler.prepare(
            picture.rows,
            Coding.of(picture.dtype, picture.space, alpha=picture.alpha, linear=picture.linear, range=self.range),
            scale=self.size.scale,
            width=self.size.width,
            height=self.size.height,
            long_side=self.size.long_side,
            seed=self.seed,
            steps=self.steps,
            samples=self.samples,
            realism=self.realism,
            guidance=self.guidance,
            consistent=self.consistent,
            colour=self.colour,
            operator=self.operator,
            noise=self.noise,
            tile=self.tile,
            file=file,
        )

    def check(self, upscaler: Upscaler) -> None:
        """Raise UsageError for what this upscaler refuses about any picture."""
        from mezzotint.images import Picture

        # Where a size is asked for its scale is not known yet, and an operator has one alone.
        scales = (4.0, 1.0) if self.size.scale is None else (self.size.scale,)
        for scale in scales:
            anything = dataclasses.replace(self, size=outputs.Size(scale=scale), range=None)
            try:
                anything.prepare(upscaler, Picture(upscaler.trial(self.operator, scale)))
                return
            except UsageError:
                if scale == scales[-1]:
                    raise


@dataclass(frozen=True)
class Files:
    """How results are written."""

    quality: int | None
    strip: bool
    overwrite: bool
    spread: Path | None
    record: Path | None

    @property
    def in_picture(self) -> bool:
        """Whether results carry their record, where their format can."""
        return not self.strip and self.record is None


@dataclass(frozen=True)
class Asked:
    """All that a command was asked for; `jobs` are found, none of them is done."""

    jobs: list[outputs.Job]
    method: str
    device: str
    engine: str
    output: str | None
    settings: Settings
    files: Files
    events: bool
    quiet: bool

    def upscaler(self) -> Upscaler:
        """Load what makes the pictures larger; raises UsageError where it cannot do what is asked of it."""
        from mezzotint.upscaler import load

        try:
            upscaler = load(self.method, device=self.device, engine=self.engine)
        except MezzotintError as error:
            raise UsageError(str(error)) from None
        self.settings.check(upscaler)
        return upscaler


def asked(
    inputs: Annotated[list[str], typer.Argument(metavar="INPUT", help="Pictures, or folders of pictures.")],
    output: Annotated[
        str | None,
        typer.Option("--output", "-o", metavar="FILE|FOLDER", help="Where to write; beside the input if left out."),
    ] = None,
    scale: Annotated[
        str | None, typer.Option(metavar="NUMBER", help="How many times larger; 4 unless a size is given.")
    ] = None,
    width: Annotated[str | None, typer.Option(metavar="PIXELS", help="Width of the result instead.")] = None,
    height: Annotated[str | None, typer.Option(metavar="PIXELS", help="Height of the result instead.")] = None,
    long_side: Annotated[str | None, typer.Option(metavar="PIXELS", help="Longer side of the result instead.")] = None,
    method: Annotated[
        str, typer.Option(metavar="NAME", help="A name of `mezzotint methods`, a file of weights, or auto.")
    ] = "auto",
    steps: Annotated[str | None, typer.Option(metavar="N", help="Steps of the sampler; more cost more time.")] = None,
    deadline: Annotated[
        str | None,
        typer.Option(metavar="SECONDS", help="Take as many steps for each picture as this time allows."),
    ] = None,
    seed: Annotated[str, typer.Option(metavar="N", help="The same seed makes the same picture.")] = "0",
    samples: Annotated[str, typer.Option(metavar="K", help="How many different results to draw of each input.")] = "1",
    spread: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help=f"Write where samples differ: their deviation, by the factor of the card, times {SPREAD_GAIN:g}.",
        ),
    ] = None,
    realism: Annotated[
        str | None,
        typer.Option(metavar="0..1", help="0 is the safest picture, smooth; 1 has all the invented detail."),
    ] = None,
    guidance: Annotated[
        str, typer.Option(metavar="LAMBDA", help="How strongly a method trained for it obeys the input; 1 as trained.")
    ] = "1",
    consistent: Annotated[
        bool | None,
        typer.Option(
            "--consistent/--no-consistent", help="Make the result shrink back to the input.", show_default=False
        ),
    ] = None,
    colour: Annotated[
        str,
        typer.Option(metavar="NAME", help=f"Give the result the colours of the input: {', '.join(options.COLOURS)}."),
    ] = "none",
    operator: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help=f"What made the input small, for zero-shot solvers: auto, {options.OPERATORS}; bicubic if left out.",
        ),
    ] = None,
    noise: Annotated[
        str | None,
        typer.Option(
            metavar="SIGMA|auto",
            help="Standard deviation of the input's noise in grey levels, for solvers; 0 if left out.",
        ),
    ] = None,
    tile: Annotated[
        str, typer.Option(metavar="PIXELS|auto|none", help="Side of the tiles of the input worked on at a time.")
    ] = "auto",
    range: Annotated[
        str | None,
        typer.Option(
            metavar="LOW,HIGH", help="The values of a float picture that are black and white; 0,1 if left out."
        ),
    ] = None,
    device: Annotated[str, typer.Option(metavar="NAME", help=f"{', '.join(options.DEVICES)}.")] = "auto",
    engine: Annotated[str, typer.Option(metavar="NAME", help=options.ENGINES_HELP)] = "eager",
    format: Annotated[
        str | None,
        typer.Option(metavar="EXT", help="Format of the results: png, jpg, tif, webp, avif, ppm or pfm."),
    ] = None,
    quality: Annotated[
        str | None, typer.Option(metavar="1..100", help="Quality of JPEG, 95 if left out, and of lossy WebP and AVIF.")
    ] = None,
    strip: Annotated[
        bool, typer.Option("--strip", help="Leave out the input's metadata and the record of the run.")
    ] = False,
    record: Annotated[
        Path | None,
        typer.Option(metavar="FILE.json", help="Write the record of the run here, not into the picture."),
    ] = None,
    recursive: Annotated[
        bool, typer.Option("--recursive", "-r", help="Take subfolders too, and repeat them in the output.")
    ] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace existing results.")] = False,
    events: Annotated[
        bool, typer.Option("--events", help="Print what happens as JSON, one object a line (docs/events.md).")
    ] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Name failures only.")] = False,
) -> Asked:
    """Check every option and find the inputs; raises UsageError."""
    sizes = {"--scale": scale, "--width": width, "--height": height, "--long-side": long_side}
    given = [option for option, text in sizes.items() if text is not None]
    if len(given) > 1:
        raise UsageError(f"{' and '.join(given)} exclude each other: keep one of them")
    if deadline is not None and steps is not None:
        raise UsageError("--deadline and --steps exclude each other: a deadline chooses the steps")
    count = options.integer(samples, option="--samples", low=1, high=1000)
    if spread is not None and count < 2:
        raise UsageError("--spread needs several samples: add for example --samples 8")
    size = outputs.Size(
        scale=options.scale(scale, keeps=options.restores(method)) if scale is not None else None if given else 4.0,
        width=_side(width, option="--width"),
        height=_side(height, option="--height"),
        long_side=_side(long_side, option="--long-side"),
    )
    settings = Settings(
        size=size,
        seed=options.seed(seed),
        steps=None if steps is None else options.integer(steps, option="--steps", low=1, high=options.LARGEST_STEPS),
        samples=count,
        realism=None if realism is None else options.real(realism, option="--realism", low=0, high=1),
        guidance=options.real(guidance, option="--guidance", low=0, high=options.LARGEST_GUIDANCE),
        consistent=consistent,
        colour=options.one_of(colour, option="--colour", choices=options.COLOURS),
        operator=operator,
        noise=options.noise(noise),
        tile=options.tile(tile),
        range=None if range is None else options.range_of_values(range),
        deadline=None if deadline is None else options.seconds(deadline, option="--deadline"),
    )
    options.one_of(device, option="--device", choices=options.DEVICES)
    options.one_of(engine, option="--engine", choices=options.ENGINES)
    files = Files(
        quality=None if quality is None else options.integer(quality, option="--quality", low=1, high=100),
        strip=strip,
        overwrite=overwrite,
        spread=None if spread is None else options.output_file(spread, option="--spread"),
        record=None if record is None else options.output_file(record, option="--record"),
    )
    sources = outputs.find(inputs, output=output, recursive=recursive)
    if spread is not None and len(sources) > 1:
        raise UsageError(f"--spread writes one file for {len(sources)} inputs: name one input")
    jobs = outputs.plan(sources, output=output, size=size, samples=count, format=format)
    return Asked(jobs, method, device, engine, output, settings, files, events, quiet)


def command(work: Callable[[Asked], int]) -> Callable[..., int]:
    """A command that takes all these options, and does `work` with them."""

    @functools.wraps(asked)
    def run(**values: object) -> int:
        return work(asked(**values))  # pyright: ignore[reportArgumentType]

    run.__name__, run.__doc__ = work.__name__, work.__doc__
    return run


def _side(text: str | None, *, option: str) -> int | None:
    return None if text is None else options.integer(text, option=option, low=1, high=1_000_000)
