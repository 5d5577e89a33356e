"""`mezzotint upscale`: pictures in, larger pictures out."""

from __future__ import annotations

import dataclasses
import json
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mezzotint.cli import exits, options, outputs
from mezzotint.cli.messages import Messages
from mezzotint.errors import MezzotintError, UsageError

if TYPE_CHECKING:
    import numpy as np

    from mezzotint.cli.batch import Entry
    from mezzotint.images import Picture
    from mezzotint.record import Record, Request, Saved
    from mezzotint.upscaler import Result, Upscaler

# Standard deviations are small: a picture of them shows eight grey levels for each one.
SPREAD_GAIN = 8.0
DEFAULT_QUALITY = 95


@dataclass(frozen=True)
class Settings:
    """What the upscaler is asked to do with every input."""

    size: outputs.Size
    seed: int
    steps: int | None
    samples: int
    realism: float | None
    consistent: bool | None
    tile: int | str | None
    spread: bool

    def request(self, upscaler: Upscaler, pixels: np.ndarray) -> Request:
        """Return the request that the first sample of this picture would carry in its record, before any work."""
        return upscaler.request(
            pixels,
            scale=self.size.scale,
            width=self.size.width,
            height=self.size.height,
            long_side=self.size.long_side,
            seed=self.seed,
            steps=self.steps,
            samples=self.samples,
            realism=self.realism,
            consistent=self.consistent,
            tile=self.tile,
        )

    def check(self, upscaler: Upscaler) -> None:
        """Raise UsageError for what this upscaler refuses about any picture."""
        import numpy as np

        anything = dataclasses.replace(self, size=outputs.Size(scale=self.size.scale or 4.0))
        anything.request(upscaler, np.zeros((16, 16, 3), dtype=np.uint8))

    def run(self, upscaler: Upscaler, pixels: np.ndarray, *, progress: Callable[[int, int], None]) -> Result:
        return upscaler(
            pixels,
            scale=self.size.scale,
            width=self.size.width,
            height=self.size.height,
            long_side=self.size.long_side,
            seed=self.seed,
            steps=self.steps,
            samples=self.samples,
            realism=self.realism,
            consistent=self.consistent,
            tile=self.tile,
            spread=self.spread,
            progress=progress,
        )


@dataclass(frozen=True)
class Files:
    """How results are written; `entry` is what the batch knows of those of the present input."""

    quality: int | None
    strip: bool
    overwrite: bool
    spread: Path | None
    record: Path | None
    entry: Entry | None = None


def upscale(
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
    seed: Annotated[str, typer.Option(metavar="N", help="The same seed makes the same picture.")] = "0",
    samples: Annotated[str, typer.Option(metavar="K", help="How many different results to draw of each input.")] = "1",
    spread: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help=f"Write where the samples differ: their standard deviation, times {SPREAD_GAIN:g}.",
        ),
    ] = None,
    realism: Annotated[
        str | None,
        typer.Option(metavar="0..1", help="0 is the safest picture, smooth; 1 has all the invented detail."),
    ] = None,
    consistent: Annotated[
        bool | None,
        typer.Option(
            "--consistent/--no-consistent", help="Make the result shrink back to the input.", show_default=False
        ),
    ] = None,
    tile: Annotated[
        str, typer.Option(metavar="PIXELS|auto|none", help="Side of the tiles of the input worked on at a time.")
    ] = "auto",
    device: Annotated[str, typer.Option(metavar="NAME", help=f"{', '.join(options.DEVICES)}.")] = "auto",
    format: Annotated[str | None, typer.Option(metavar="EXT", help="Format of the results: png, jpg or webp.")] = None,
    quality: Annotated[
        str | None, typer.Option(metavar="1..100", help="Quality of JPEG, 95 if left out, and of lossy WebP.")
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
) -> int:
    """Make pictures larger."""
    settings = _settings(
        scale=scale,
        width=width,
        height=height,
        long_side=long_side,
        seed=seed,
        steps=steps,
        samples=samples,
        realism=realism,
        consistent=consistent,
        tile=tile,
        spread=spread,
    )
    options.one_of(device, option="--device", choices=options.DEVICES)
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
    size = outputs.Size(scale=4.0) if settings.size == outputs.Size() else settings.size
    jobs = outputs.plan(sources, output=output, size=size, samples=settings.samples, format=format)

    from mezzotint.upscaler import load

    try:
        upscaler = load(method, device=device)
    except MezzotintError as error:
        raise UsageError(str(error)) from None
    settings.check(upscaler)
    messages = Messages(quiet=quiet)
    return _upscale_all(upscaler, jobs, settings=settings, files=files, messages=messages, output=output, events=events)


def _settings(
    *,
    scale: str | None,
    width: str | None,
    height: str | None,
    long_side: str | None,
    seed: str,
    steps: str | None,
    samples: str,
    realism: str | None,
    consistent: bool | None,
    tile: str,
    spread: Path | None,
) -> Settings:
    sizes = {"--scale": scale, "--width": width, "--height": height, "--long-side": long_side}
    given = [option for option, text in sizes.items() if text is not None]
    if len(given) > 1:
        raise UsageError(f"{' and '.join(given)} exclude each other: keep one of them")
    count = options.integer(samples, option="--samples", low=1, high=1000)
    if spread is not None and count < 2:
        raise UsageError("--spread needs several samples: add for example --samples 8")
    return Settings(
        size=outputs.Size(
            scale=None if scale is None else options.scale(scale),
            width=_side(width, option="--width"),
            height=_side(height, option="--height"),
            long_side=_side(long_side, option="--long-side"),
        ),
        seed=options.seed(seed),
        steps=None if steps is None else options.integer(steps, option="--steps", low=1, high=options.LARGEST_STEPS),
        samples=count,
        realism=None if realism is None else options.real(realism, option="--realism", low=0, high=1),
        consistent=consistent,
        tile=options.tile(tile),
        spread=spread is not None,
    )


def _side(text: str | None, *, option: str) -> int | None:
    return None if text is None else options.integer(text, option=option, low=1, high=1_000_000)


def _upscale_all(
    upscaler: Upscaler,
    jobs: list[outputs.Job],
    *,
    settings: Settings,
    files: Files,
    messages: Messages,
    output: str | None,
    events: bool,
) -> int:
    """Do every job; a failed one is named and does not stop the rest."""
    from mezzotint.cli.batch import Batch, Events, fingerprint
    from mezzotint.images.atomic import shown

    earlier = [] if files.record is None else _records_in_file(files.record)
    records: dict[int, list[Record]] = {}
    numbers = {id(job): f"{number}/{len(jobs)} " for number, job in enumerate(jobs, start=1)}

    def work(job: outputs.Job, entry: Entry, messages: Messages) -> None:
        records[id(job)] = _upscale_one(
            upscaler,
            job,
            settings=settings,
            files=dataclasses.replace(files, entry=entry),
            messages=messages,
            description=(numbers[id(job)] if len(jobs) > 1 else "") + shown(job.source.name),
        )

    batch = Batch(
        jobs,
        messages,
        Events(events),
        overwrite=files.overwrite,
        strip=files.strip,
        in_picture=not files.strip and files.record is None,
        earlier={fingerprint(record.request, record.saved): record for record in earlier},
        settings={
            "method": upscaler.name,
            "output": output,
            **dataclasses.asdict(settings),
            **{key: getattr(files, key) for key in ("quality", "strip", "overwrite")},
        },
    )
    status = exits.INTERRUPTED
    try:
        status = batch.run(work)
    finally:
        if files.record is not None:
            made = [record for job in jobs for record in records.get(id(job), [])]
            # What is not there yet may be there from an earlier run, and its record with it.
            new = {fingerprint(record.request, record.saved) for record in made}
            kept = [r for r in earlier if fingerprint(r.request, r.saved) not in new] if status != exits.DONE else []
            status = _write_records(files.record, [*made, *kept], messages=messages) or status
    return status


def _upscale_one(
    upscaler: Upscaler,
    job: outputs.Job,
    *,
    settings: Settings,
    files: Files,
    messages: Messages,
    description: str,
) -> list[Record]:
    """Read one input, make its results and write them; return their records."""
    from mezzotint import images

    started = time.monotonic()
    if job.problem is not None:
        raise job.problem
    picture = images.read(job.source)
    first = settings.request(upscaler, picture.pixels)
    wanted = [first.model_copy(update={"seed": first.seed + k}) for k in range(settings.samples)]
    saved = [_saved(target, lossless=picture.lossless, files=files) for target in job.targets]
    found = [_matching(wanted[k], saved[k], target=job.targets[k], files=files) for k in range(settings.samples)]
    pending = [k for k, record in enumerate(found) if record is None]
    if not pending:
        messages.say(f"{job.source}: skipped, {_names(job.targets)} exists with the same record")
        return [record for record in found if record is not None]
    height, width = first.output_size
    for k in pending:
        images.check_output(job.targets[k], inputs=[job.source], overwrite=files.overwrite)
        images.check_size(job.targets[k], width=width, height=height)

    with messages.progress(description) as progress:
        result = settings.run(upscaler, picture.pixels, progress=progress)
    records = [
        record.model_copy(update={"saved": saved[k], "adapted": (*picture.notes, *record.adapted)})
        for k, record in enumerate(result.records)
    ]
    for k in pending:
        made = dataclasses.replace(picture, rows=result.images[k])
        assert files.entry is not None
        files.entry.expect(job.targets[k], records[k])
        _write_picture(made, job, number=k, record=records[k], scale=width / picture.width, files=files)
    if files.spread is not None:
        assert result.spread is not None
        _write_spread(files.spread, result.spread, overwrite=files.overwrite)
    seconds = time.monotonic() - started
    messages.say(f"{job.source} -> {_names(job.targets)} ({width}x{height}, {seconds:.1f} s)")
    return records


def _write_picture(
    picture: Picture, job: outputs.Job, *, number: int, record: Record, scale: float, files: Files
) -> None:
    from mezzotint import images
    from mezzotint.record import to_json

    images.write(
        images.strip(picture) if files.strip else picture,
        job.targets[number],
        quality=DEFAULT_QUALITY if files.quality is None else files.quality,
        lossless=None if files.quality is None else False,
        overwrite=files.overwrite,
        inputs=[job.source],
        record=None if files.strip or files.record is not None else to_json(record),
        scale=scale,
    )


def _names(targets: tuple[Path, ...]) -> str:
    return str(targets[0]) if len(targets) == 1 else f"{targets[0]} ... {targets[-1].name}"


def _saved(target: Path, *, lossless: bool, files: Files) -> Saved:
    """Return how a file will hold its pixels; WebP is lossless where the input was and no quality was asked for."""
    from mezzotint.images.files import format_of
    from mezzotint.record import Saved

    kind = format_of(target)
    exact = kind == "png" or (kind == "webp" and lossless and files.quality is None)
    return Saved(format=kind, quality=None if exact else files.quality or DEFAULT_QUALITY)


def _matching(request: Request, saved: Saved, *, target: Path, files: Files) -> Record | None:
    """Return the record of an existing target, if it was made by this very request and saved in this very way."""
    assert files.entry is not None
    if not os.path.exists(target):
        return None
    found = files.entry.known(target, request=request, saved=saved)
    if found is not None or not files.entry.in_picture:
        return found
    known = _records_in_metadata(target)
    return next((record for record in known if record.request == request and record.saved == saved), None)


def _records_in_metadata(target: Path) -> list[Record]:
    """Return the record in a picture's metadata, none for something that is no picture or has no record."""
    from mezzotint import images
    from mezzotint.record import from_json

    try:
        text = images.read_record(target)
        return [] if text is None else [from_json(text)]
    except MezzotintError:
        return []


def _records_in_file(path: Path) -> list[Record]:
    """Return the records that `--record` wrote earlier, none for a file that is missing or something else."""
    from mezzotint.record import from_json

    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        return [from_json(json.dumps(record)) for record in (content if isinstance(content, list) else [content])]
    except (OSError, ValueError):
        return []


def _write_records(path: Path, records: list[Record], *, messages: Messages) -> int:
    """Write one record as an object and several as a list, none not at all; return the exit status."""
    from mezzotint.images.atomic import shown, write_bytes

    if not records:
        return exits.DONE
    content = [record.model_dump(mode="json") for record in records]
    text = json.dumps(content[0] if len(content) == 1 else content, indent=2) + "\n"

    def write() -> None:
        write_bytes(path, text.encode(), overwrite=True)

    return exits.DONE if exits.attempt(write, name=shown(path), messages=messages) is None else exits.FAILED


def _write_spread(path: Path, spread: np.ndarray, *, overwrite: bool) -> None:
    """Write the standard deviation of samples (h w, 1 is the whole range), amplified, in 8 bits, clipped."""
    import numpy as np

    from mezzotint import images

    levels = np.clip(np.floor(spread[..., None] * (255 * SPREAD_GAIN) + 0.5), 0, 255).astype(np.uint8)
    images.write(images.Picture(levels), path, overwrite=overwrite)
