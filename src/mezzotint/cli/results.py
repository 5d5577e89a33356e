"""One input of `upscale`: read, enlarged, measured, written; or found to be done already."""

from __future__ import annotations

import dataclasses
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mezzotint.cli import outputs
from mezzotint.cli.asked import SPREAD_GAIN, Files, Settings
from mezzotint.cli.messages import Messages
from mezzotint.errors import InputError, MezzotintError

if TYPE_CHECKING:
    from mezzotint.cli.batch import Entry
    from mezzotint.images import Picture
    from mezzotint.record import Record, Request, Saved
    from mezzotint.upscaler import Job, Upscaler
    from mezzotint.upscaler.samples import Coding

DEFAULT_QUALITY = 95
# A deadline that is missed by more than this share is said to be.
_TOLERANCE = 0.2


@dataclass(frozen=True)
class Target:
    """A file to be written: how it holds the samples, and in words what it changes about the picture."""

    path: Path
    saved: Saved
    lossless: bool
    exact: bool
    notes: tuple[str, ...]


@dataclass(frozen=True)
class Maker:
    """Makes the results of one input after the other, all with the same settings."""

    upscaler: Upscaler
    settings: Settings
    files: Files

    def make(self, job: outputs.Job, entry: Entry, messages: Messages, *, description: str) -> list[Record]:
        """Make the results of an input and return their records, those of results that were there included.

        Raises what is wrong with the input, or with a target.
        """
        from mezzotint import images
        from mezzotint.record import source_of

        started = time.perf_counter()
        folder = job.targets[0].parent
        picture = images.read(job.source, spool=folder)
        prepared = self.settings.prepare(self.upscaler, picture, file=job.source)
        targets = [self.target(path, picture, prepared.coding) for path in job.targets]
        wanted = [_with_seed(prepared.request, k) for k in range(self.settings.samples)]
        found = [self._found(entry, one, request) for one, request in zip(targets, wanted, strict=True)]
        pending = [k for k, record in enumerate(found) if record is None]
        if not pending:
            messages.say(f"{job.source}: skipped, {_names(job.targets)} exists with the same record")
            return [record for record in found if record is not None]
        if self.upscaler.chooses:
            messages.chose(prepared.request.method, prepared.reason, source=job.source)
        height, width = prepared.request.output_size
        for k in pending:
            images.check_output(job.targets[k], inputs=[job.source], overwrite=self.files.overwrite)
            images.check_size(job.targets[k], width=width, height=height)
        reading = time.perf_counter() - started
        deadline = None
        if self.settings.deadline is not None:
            spent = time.perf_counter() - started
            prepared, deadline = self.upscaler.within(prepared, self.settings.deadline, spent=spent)

        made = self._enlarge(
            prepared, picture, targets, folder=folder, pending=pending, messages=messages, description=description,
            facts={**source_of(job.source), "deadline": deadline}, reading=reading, entry=entry, source=job.source,
        )  # fmt: skip
        seconds = time.perf_counter() - started
        chosen = "" if deadline is None else f", {deadline.chosen}"
        messages.say(f"{job.source} -> {_names(job.targets)} ({width}x{height}, {seconds:.1f} s{chosen})")
        if deadline is not None and seconds > deadline.seconds * (1 + _TOLERANCE):
            over = 100 * (seconds / deadline.seconds - 1)
            messages.warn(
                f"mezzotint: {job.source}: took {seconds:.1f} s, {over:.0f} % over the deadline of "
                f"{deadline.seconds:g} s"
            )
        return [made[k] if record is None else record for k, record in enumerate(found)]

    def target(self, path: Path, picture: Picture, coding: Coding) -> Target:
        """Return how the file `path` will hold a result of `picture`, of a coding; InputError where it cannot."""
        import numpy as np

        from mezzotint import images
        from mezzotint.images.capabilities import TABLE
        from mezzotint.record import Saved

        kind = images.format_of(path)
        choice = TABLE[kind].lossless
        lossless = choice == "always" or (choice == "choice" and picture.lossless and self.files.quality is None)
        sample = np.zeros((1, 1, coding.channels + coding.alpha), picture.dtype)
        made = made_picture(picture, sample, coding=coding)
        bits, notes = images.changes(made, fmt=kind, convert=True, name=os.fspath(path))
        if picture.bits == 32 != bits and self.settings.range is not None:
            low, high = self.settings.range
            raise InputError(
                f"{path}: values from {low:g} to {high:g} are written as floats alone: write .tif or .pfm instead"
            )
        if self.files.in_picture and not images.can_hold_record(kind):
            notes = (*notes, f"the record is left out: {TABLE[kind].title} has no place for it (--record keeps it)")
        quality = None if lossless else self.files.quality or DEFAULT_QUALITY
        exact = lossless and (bits == picture.bits or bits == 16 and picture.bits in (10, 12))
        return Target(path, Saved(format=kind, quality=quality, bits=bits), lossless, exact, notes)

    def _found(self, entry: Entry, target: Target, request: Request) -> Record | None:
        """Return the record of an existing target, if it was made by this very request and saved in this very way."""
        if not os.path.exists(target.path):
            return None
        seconds = self.settings.deadline
        found = entry.known(target.path, request=request, saved=target.saved, deadline=seconds)
        if found is not None or not entry.in_picture:
            return found
        for record in _records_in_metadata(target.path):
            asked = record.request
            if seconds is not None:
                if record.deadline is None or record.deadline.seconds != seconds:
                    continue
                asked = asked.model_copy(update={"steps": request.steps})
            if asked == request and record.saved == target.saved:
                return record
        return None

    def _enlarge(
        self,
        prepared: Job,
        picture: Picture,
        targets: Sequence[Target],
        *,
        folder: Path,
        pending: Sequence[int],
        messages: Messages,
        description: str,
        facts: dict[str, Any],
        reading: float,
        entry: Entry,
        source: Path,
    ) -> dict[int, Record]:
        """Draw the samples, write those that are pending, and return their records by number."""
        import numpy as np

        from mezzotint import images
        from mezzotint.upscaler import Moments

        def sink(shape: tuple[int, int, int], dtype: np.dtype) -> Any:
            return images.rows_for(shape, dtype, folder=folder)

        moments = None if self.files.spread is None else Moments(prepared, sink)
        numbers = pending if moments is None else range(self.settings.samples)
        records: dict[int, Record] = {}
        with messages.progress(description) as progress:
            samples = self.upscaler.enlarge(prepared, sink=sink, progress=progress, which=numbers)
            for k, sample in zip(numbers, samples, strict=True):
                if moments is not None:
                    moments.add(sample.rows)
                if k not in pending:
                    continue
                target, made = targets[k], made_picture(picture, sample.rows, coding=prepared.coding)
                timings = dict(sample.record.timings)
                timings["reading"] = round(timings.get("reading", 0.0) + reading, 3)
                record = sample.record.model_copy(
                    update={
                        **facts,
                        "output": target.path.name,
                        "saved": target.saved,
                        "adapted": (*picture.notes, *sample.record.adapted, *target.notes),
                        "seconds": round(sample.record.seconds + reading, 3),
                        "timings": timings,
                    }
                )
                if not target.exact:
                    record = self._measured(prepared, made, target, record, folder=folder)
                entry.expect(target.path, record)
                self._write(made, target, record, source=source, scale=_scale(record))
                records[k] = record
        for note in prepared.estimates:
            messages.say(f"{source}: {note}")
        for note in dict.fromkeys(note for k in pending for note in targets[k].notes):
            messages.say(f"{targets[pending[0]].path}: {note}")
        if moments is not None and self.files.spread is not None:
            _write_spread(self.files.spread, moments.deviation(), overwrite=self.files.overwrite, folder=folder)
        return records

    def _measured(self, prepared: Job, made: Picture, target: Target, record: Record, *, folder: Path) -> Record:
        """Return the record with the certificate of the samples that the file will hold, coded and decoded."""
        from mezzotint import images

        began = time.perf_counter()
        coded = images.encode(
            images.strip(made), fmt=target.saved.format, quality=target.saved.quality or DEFAULT_QUALITY,
            lossless=target.lossless, convert=True, name=os.fspath(target.path),
        )  # fmt: skip
        held = images.decode(coded, name=os.fspath(target.path), spool=folder)
        assert record.consistency is not None
        consistency = self.upscaler.in_file(prepared, record.consistency, held.rows)
        took = time.perf_counter() - began
        timings = {**record.timings, "measuring the file": round(took, 3)}
        seconds = round(record.seconds + took, 3)
        return record.model_copy(update={"consistency": consistency, "timings": timings, "seconds": seconds})

    def _write(self, made: Picture, target: Target, record: Record, *, source: Path, scale: float) -> None:
        from mezzotint import images
        from mezzotint.record import to_json

        held = self.files.in_picture and images.can_hold_record(target.saved.format)
        images.write(
            images.strip(made) if self.files.strip else made,
            target.path,
            quality=target.saved.quality or DEFAULT_QUALITY,
            lossless=target.lossless,
            overwrite=self.files.overwrite,
            inputs=[source],
            record=to_json(record) if held else None,
            scale=scale,
            convert=True,
        )


def made_picture(picture: Picture, rows: Any, *, coding: Coding) -> Picture:
    """The picture with other rows, h w n of a coding: one that was coloured loses the profile of its grey."""
    if coding.space == picture.space:
        return dataclasses.replace(picture, rows=rows)
    return dataclasses.replace(picture, rows=rows, space=coding.space, icc=None)


def _with_seed(request: Request, number: int) -> Request:
    return request.model_copy(update={"seed": request.seed + number})


def _scale(record: Record) -> float:
    """By how much the pixels are finer than the input's."""
    return record.request.output_size[1] / record.request.input_size[1]


def _names(targets: tuple[Path, ...]) -> str:
    return str(targets[0]) if len(targets) == 1 else f"{targets[0]} ... {targets[-1].name}"


def _records_in_metadata(target: Path) -> list[Record]:
    """Return the record in a picture's metadata, none for something that is no picture or has no record."""
    from mezzotint import images
    from mezzotint.record import from_json

    try:
        text = images.read_record(target)
        return [] if text is None else [from_json(text)]
    except MezzotintError:
        return []


def _write_spread(path: Path, spread: Any, *, overwrite: bool, folder: Path) -> None:
    """Write the error to expect (rows h w 1, 1 is the whole range), amplified, in 8 bits, clipped."""
    import numpy as np

    from mezzotint import images
    from mezzotint.images.spool import strips

    levels = images.rows_for(spread.shape, np.uint8, folder=folder)
    for part in strips(spread.shape, np.float32):
        levels[part] = np.clip(np.floor(spread[part] * (255 * SPREAD_GAIN) + 0.5), 0, 255).astype(np.uint8)
    images.write(images.Picture(levels), path, overwrite=overwrite)
