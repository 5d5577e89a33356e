"""Which files a command makes of which inputs, known and checked before any work."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mezzotint.errors import InputError, UsageError


@dataclass(frozen=True)
class Size:
    """The size of results: exactly one is set."""

    scale: float | None = None
    width: int | None = None
    height: int | None = None
    long_side: int | None = None


@dataclass(frozen=True)
class Job:
    """One input and the files to be made of it, one per sample; or what is wrong with the input."""

    source: Path
    targets: tuple[Path, ...]
    problem: InputError | None = None


def expand(inputs: Sequence[str], *, output: str | None) -> list[Path]:
    """Replace each folder among the inputs by the pictures in it, in natural order; files stay as they are.

    Raises UsageError for an empty name, a folder that holds no picture, and a folder whose results would lie in it:
    they would be inputs of the next run.
    """
    from mezzotint.data.benchmarks import find_pictures

    if "" in inputs:
        raise UsageError("an INPUT is empty: name a picture")
    paths = [Path(text) for text in inputs]
    folder = next((path for path in paths if path.is_dir()), None)
    if folder is not None and (output is None or _same(Path(output), folder)):
        raise UsageError(f"INPUT {folder} is a folder: name another folder for its results with -o")
    try:
        return [source for path in paths for source in (find_pictures(path) if path.is_dir() else (path,))]
    except InputError as error:
        raise UsageError(str(error)) from None


def _same(path: Path, other: Path) -> bool:
    return path.exists() and path.samefile(other)


def plan(sources: Sequence[Path], *, output: str | None, size: Size, samples: int, format: str | None) -> list[Job]:
    """Return one job per source; makes the folder that `output` names.

    Raises UsageError for what no source could be written to: several sources for one file, a missing folder, two
    formats at once, two sources with the same target. What is wrong with one source alone stands in its job.
    """
    from mezzotint import images

    if output == "":
        raise UsageError("-o is empty: name a file or a folder")
    jobs: list[Job] = []
    for source in sources:
        try:
            targets = tuple(
                images.output_path(
                    source,
                    output,
                    scale=size.scale,
                    width=size.width,
                    height=size.height,
                    long_side=size.long_side,
                    sample_index=k if samples > 1 else None,
                    fmt=format,
                    source_format=_format(source),
                    make_folder=False,
                )
                for k in range(samples)
            )
            jobs.append(Job(source, targets))
        except InputError as error:
            jobs.append(Job(source, (), problem=error))
    pairs = [(job.source, target) for job in jobs for target in job.targets]
    if output is not None and len(sources) > 1 and any(target == Path(output) for _, target in pairs):
        raise UsageError(f"-o {output} is one file for {len(sources)} inputs: name a folder")
    images.check_collisions(pairs)
    if output is not None and pairs and pairs[0][1].parent == Path(output):
        make_folder(Path(output))
    return jobs


def make_folder(folder: Path) -> None:
    """Make the folder of `-o`, with its parents; UsageError where the system refuses."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"-o {folder} cannot be made: {error.strerror}: choose another folder") from None


def _format(source: Path) -> str | None:
    """Return the format that the content of a file shows, or None."""
    from mezzotint.images.containers import recognise

    try:
        with source.open("rb") as file:
            return recognise(file.read(4096))
    except (OSError, ValueError):
        return None
