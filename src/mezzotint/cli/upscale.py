"""`mezzotint upscale`: pictures in, larger pictures out."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import TYPE_CHECKING

from mezzotint.cli import exits, outputs
from mezzotint.cli.asked import Asked, command
from mezzotint.cli.messages import Messages

if TYPE_CHECKING:
    from mezzotint.cli.batch import Entry
    from mezzotint.record import Record


@command
def upscale(asked: Asked) -> int:
    """Make pictures larger."""
    from mezzotint.cli.batch import Batch, Events, fingerprint
    from mezzotint.cli.results import Maker
    from mezzotint.images.atomic import shown

    jobs, files, settings = asked.jobs, asked.files, asked.settings
    maker = Maker(asked.upscaler(), settings, files)
    outputs.make_output(jobs, output=asked.output)
    messages = Messages(quiet=asked.quiet)
    earlier = [] if files.record is None else _records_in_file(files.record)
    records: dict[int, list[Record]] = {}
    numbers = {id(job): f"{number}/{len(jobs)} " for number, job in enumerate(jobs, start=1)}

    def work(job: outputs.Job, entry: Entry, messages: Messages) -> None:
        description = (numbers[id(job)] if len(jobs) > 1 else "") + shown(job.source.name)
        records[id(job)] = maker.make(job, entry, messages, description=description)

    batch = Batch(
        jobs,
        messages,
        Events(asked.events),
        overwrite=files.overwrite,
        strip=files.strip,
        in_picture=files.in_picture,
        earlier={fingerprint(record): record for record in earlier},
        settings={
            "method": "auto" if maker.upscaler.chooses else maker.upscaler.name,
            "output": asked.output,
            **dataclasses.asdict(settings),
            **{key: getattr(files, key) for key in ("quality", "strip", "overwrite")},
            "spread": files.spread is not None,
        },
    )
    status = exits.INTERRUPTED
    try:
        status = batch.run(work)
    finally:
        if files.record is not None:
            made = [record for job in jobs for record in records.get(id(job), [])]
            # What is not there yet may be there from an earlier run, and its record with it.
            new = {fingerprint(record) for record in made}
            kept = [record for record in earlier if fingerprint(record) not in new] if status != exits.DONE else []
            status = _write_records(files.record, [*made, *kept], messages=messages) or status
    return status


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
