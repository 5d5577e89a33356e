"""Which files a command makes of which inputs, known and checked before any work."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
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
class Source:
    """An input: `folder` is the folder it was found in or below, None for a file that was named itself.

    `problem`: what is wrong with it, where that was seen while looking for it.
    """

    path: Path
    folder: Path | None = None
    problem: InputError | None = None

    @property
    def subfolder(self) -> Path:
        """The folder of the input, seen from the folder that was named; `Path()` for that folder itself."""
        return Path() if self.folder is None else self.path.parent.relative_to(self.folder)


@dataclass(frozen=True)
class Job:
    """One input and the files to be made of it, one per sample; or what is wrong with the input.

    `folder` is where the state of the batch lies, None for a job that is alone.
    """

    source: Path
    targets: tuple[Path, ...]
    problem: InputError | None = None
    folder: Path | None = None


def expand(inputs: Sequence[str], *, output: str | None) -> list[Path]:
    """Replace each folder among the inputs by the pictures in it, as `find` does, subfolders left out."""
    return [source.path for source in find(inputs, output=output)]


def find(inputs: Sequence[str], *, output: str | None, recursive: bool = False) -> list[Source]:
    """Replace each folder among the inputs by the pictures in it, in natural order; files stay as they are.

    Of a folder are taken the files with the extension of a picture that is read and those without extension whose
    content is one; of its subfolders too if `recursive`. Hidden files and folders are left out, and so are the folder
    `output`, results that earlier batches left in subfolders, and links to folders, which might lead back.
    A subfolder that cannot be read becomes an input with a problem.
    Raises UsageError for an empty name, a folder that cannot be read or holds no picture, and a folder whose results
    would lie in it: they would be inputs of the next run.
    """
    if "" in inputs:
        raise UsageError("an INPUT is empty: name a picture")
    sources: list[Source] = []
    for path in map(Path, inputs):
        if not path.is_dir():
            sources.append(Source(path))
        elif output is None or _same(Path(output), path):
            raise UsageError(f"INPUT {_shown(path)} is a folder: name another folder for its results with -o")
        else:
            sources.extend(_pictures(path, leave_out=None if output == "" else Path(output), recursive=recursive))
    return sources


def _pictures(folder: Path, *, leave_out: Path | None, recursive: bool) -> list[Source]:
    from mezzotint.cli.state import State
    from mezzotint.data.benchmarks import natural_key
    from mezzotint.images import WRITABLE

    found: list[Source] = []
    results: set[Path] = set()
    subfolders = False
    waiting = [folder]
    while waiting:
        place = waiting.pop()
        try:
            with os.scandir(place) as listed:
                paths = [place / entry.name for entry in listed if not entry.name.startswith(".")]
            if place != folder:
                results |= State(place).results()
        except OSError as error:
            problem = InputError(
                f"the folder {_shown(place)} cannot be read: {(error.strerror or 'unknown error').lower()}: change its "
                "permissions, or leave it out"
            )
            if place == folder:
                raise UsageError(str(problem)) from None
            found.append(Source(place, folder, problem))
            continue
        except InputError as error:
            raise UsageError(str(error)) from None
        for path in paths:
            if not os.path.isdir(path):
                if path not in results and _is_picture(path):
                    found.append(Source(path, folder))
            elif not os.path.islink(path):
                subfolders = True
                if recursive and not (leave_out is not None and _same(leave_out, path)):
                    waiting.append(path)
    if not found:
        way = "take its subfolders too with --recursive" if subfolders and not recursive else "name another"
        raise UsageError(f"folder {_shown(folder)} holds no picture ({' '.join(WRITABLE)}): {way}")
    return sorted(found, key=lambda source: natural_key(source.path.relative_to(folder).as_posix()))


def _is_picture(path: Path) -> bool:
    """Whether the name is a picture's, or says nothing and the content is."""
    from mezzotint.images import WRITABLE

    return path.suffix.lower() in WRITABLE or (path.suffix == "" and _format(path) is not None)


def _same(path: Path, other: Path) -> bool:
    try:
        return path.samefile(other)
    except OSError:
        return False


def _shown(path: Path) -> str:
    from mezzotint.images.atomic import shown

    return shown(path)


def plan(sources: Sequence[Source], *, output: str | None, size: Size, samples: int, format: str | None) -> list[Job]:
    """Return one job per source; nothing is made.

    The subfolders that sources were found in are repeated under that folder. Raises UsageError for what no source
    could be written to: several sources for one file, a missing folder, two formats at once, two sources with the
    same target, a target among the pictures of an input folder. What is wrong with one source alone stands in its job.
    """
    from mezzotint import images

    if output == "":
        raise UsageError("-o is empty: name a file or a folder")
    several = len(sources) > 1 or any(source.folder is not None for source in sources)
    jobs: list[Job] = []
    for source in sources:
        place = output
        if output is not None and source.subfolder != Path():
            # The separator at its end says that this is a folder, whatever it is called.
            place = str(Path(output) / source.subfolder) + os.sep
        try:
            if source.problem is not None:
                raise source.problem
            targets = tuple(
                images.output_path(
                    source.path,
                    place,
                    scale=size.scale,
                    width=size.width,
                    height=size.height,
                    long_side=size.long_side,
                    sample_index=k if samples > 1 else None,
                    fmt=format,
                    source_format=_format(source.path),
                    make_folder=False,
                )
                for k in range(samples)
            )
            folder = _state_folder(targets[0], output=output) if several else None
            jobs.append(Job(source.path, targets, folder=folder))
        except InputError as error:
            jobs.append(Job(source.path, (), problem=error))
    pairs = [(job.source, target) for job in jobs for target in job.targets]
    if output is not None and len(sources) > 1 and any(target == Path(output) for _, target in pairs):
        raise UsageError(f"-o {output} is one file for {len(sources)} inputs: name a folder")
    images.check_collisions(pairs)
    _check_inputs_stay_apart(sources, pairs, output=output)
    return jobs


def make_output(jobs: Sequence[Job], *, output: str | None) -> None:
    """Make the folder that `output` names, if it names one; UsageError where the system refuses."""
    if output is not None and any(_lies_in(target, Path(output)) for job in jobs for target in job.targets):
        make_folder(Path(output))


def _state_folder(target: Path, *, output: str | None) -> Path:
    """The folder that `output` names, or the one of the target where it names a file or nothing."""
    return Path(output) if output is not None and _lies_in(target, Path(output)) else target.parent


def _lies_in(path: Path, folder: Path) -> bool:
    return folder in path.parents


def _check_inputs_stay_apart(
    sources: Iterable[Source], pairs: Iterable[tuple[Path, Path]], *, output: str | None
) -> None:
    """Refuse targets within an input folder; but the folder `output` inside it is not searched for inputs."""
    folders = {source.folder: Path(os.path.realpath(source.folder)) for source in sources if source.folder is not None}
    if output is None:
        return
    places = {target.parent: (source, target) for source, target in pairs}
    for place, (source, target) in places.items():
        real = Path(os.path.realpath(place))
        for folder, inside in folders.items():
            searched = not (_lies_in(target, Path(output)) and _lies_in(Path(os.path.realpath(output)), inside))
            if searched and (real == inside or _lies_in(real, inside)):
                raise UsageError(
                    f"the result of {_shown(source)} would be {_shown(target)}, among the pictures of the INPUT "
                    f"{_shown(folder)}: name another folder with -o"
                )


def make_folder(folder: Path) -> None:
    """Make the folder of `-o`, with its parents; UsageError where the system refuses."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"-o {folder} cannot be made: {error.strerror}: choose another folder") from None


def make_parents(job: Job) -> None:
    """Make the folders of the job's targets; InputError where the system refuses."""
    for place in {target.parent for target in job.targets}:
        try:
            place.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(
                f"the folder {_shown(place)} cannot be made: {(error.strerror or 'unknown error').lower()}: "
                "choose another with -o"
            ) from None


def _format(source: Path) -> str | None:
    """Return the format that the content of a file shows, or None."""
    from mezzotint.images.containers import recognise

    try:
        # Opening a pipe would wait for somebody to write into it.
        if not source.is_file():
            return None
        with source.open("rb") as file:
            return recognise(file.read(4096))
    except (OSError, ValueError):
        return None
