"""A batch: one input after the other, beside other processes, with a state, events and a summary."""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mezzotint import __version__
from mezzotint.cli import exits, outputs
from mezzotint.cli.messages import Messages
from mezzotint.cli.state import Claim, State, Watch, beating
from mezzotint.errors import InputError, UsageError
from mezzotint.images import can_hold_record, format_of
from mezzotint.images.atomic import announced, remove_stale, shown

if TYPE_CHECKING:
    from mezzotint.record import Record, Request, Saved

SCHEMA = 1
"""Of the events; it grows when one of them changes in a way that a reader may notice."""
POLL_SECONDS = 0.5
PROGRESS_SECONDS = 0.25
MOST_FAILURES_SHOWN = 20


@dataclass
class Events:
    """What happens in a batch, for programs: one JSON object a line on stdout, nothing unless `wanted`."""

    wanted: bool = False
    last_progress: float = -PROGRESS_SECONDS

    def emit(self, event: str, facts: Mapping[str, Any]) -> None:
        if self.wanted:
            # Escaped to ASCII: names of files may hold bytes that are no text.
            print(json.dumps({"event": event, **facts}, default=str), flush=True)

    def progress(self, facts: Mapping[str, Any]) -> None:
        """An event of progress, unless there was one less than a quarter of a second ago."""
        now = time.monotonic()
        if now - self.last_progress >= PROGRESS_SECONDS:
            self.last_progress = now
            self.emit("progress", facts)


@dataclass(frozen=True)
class Reporting(Messages):
    """Messages about one input, one line each whatever it is called; its progress and its method are events too."""

    events: Events = field(default_factory=Events)
    facts: Mapping[str, Any] = field(default_factory=dict)

    def say(self, text: str) -> None:
        super().say(shown(text))

    def warn(self, text: str) -> None:
        super().warn(shown(text))

    def chose(self, method: str, reason: str, *, source: Path) -> None:
        super().chose(method, reason, source=source)
        self.events.emit("method", {**self.facts, "method": method, "reason": reason})

    @contextmanager
    def progress(self, description: str) -> Iterator[Callable[[int, int], None]]:
        with super().progress(description) as draw:

            def report(done: int, total: int) -> None:
                draw(done, total)
                self.events.progress({**self.facts, "done": done, "total": total})

            yield report


@dataclass(frozen=True)
class Entry:
    """What one job learns from the state of its batch and adds to it; without a state it notes what it writes.

    `strip`: results carry no metadata. `in_picture`: they carry their record. `earlier`: records of an earlier run,
    by `fingerprint`. `recipes`: those of the results that are known or were written; `made`: records of the latter.
    """

    state: State | None = None
    strip: bool = False
    in_picture: bool = True
    earlier: Mapping[str, Record] = field(default_factory=dict)
    recipes: dict[Path, str] = field(default_factory=dict)
    made: dict[Path, Record] = field(default_factory=dict)

    def known(self, target: Path, *, request: Request, saved: Saved, deadline: float | None = None) -> Record | None:
        """The record of `target` if it was made by this request and saved like this, as far as is known beside it.

        With a `deadline` in seconds, by this request in whatever steps the same deadline allowed.
        """
        from mezzotint.record import from_json

        mark = _fingerprint(request, saved, deadline)
        recipe = self._recipe(mark)
        text = None if self.state is None else self.state.known(target, recipe=recipe)
        if text is None:
            return self.earlier.get(mark)
        self.recipes[target] = recipe
        return from_json(text)

    def expect(self, target: Path, record: Record) -> None:
        """Say that `target` is about to be written, with this record."""
        self.made[target] = record
        self.recipes[target] = self._recipe(fingerprint(record))

    def tell(self, part: Path, path: Path) -> None:
        """Note in the state what a result holds, before it has its name: killed in between, it is known or absent."""
        record = self.made.get(path)
        if self.state is None or record is None:
            return
        text = None if self.in_picture and can_hold_record(format_of(path)) else record.model_dump_json()
        self.state.finish(path, recipe=self.recipes[path], content=part, record=text)

    def _recipe(self, fingerprint: str) -> str:
        text = f"{fingerprint} {'stripped' if self.strip else 'with metadata'}"
        return hashlib.sha256(text.encode()).hexdigest()


def fingerprint(record: Record) -> str:
    """What two records share exactly when they are of one request, saved in one way.

    Steps that a deadline chose do not count, the deadline does.
    """
    return _fingerprint(record.request, record.saved, None if record.deadline is None else record.deadline.seconds)


def _fingerprint(request: Request, saved: Saved | None, deadline: float | None) -> str:
    asked = request if deadline is None else request.model_copy(update={"steps": None})
    content = [asked.model_dump(mode="json"), None if saved is None else saved.model_dump(mode="json"), deadline]
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


Work = Callable[[outputs.Job, Entry, Messages], None]
"""Makes the results of one job, or finds them made; raises what is wrong with it."""


@dataclass
class Tally:
    """How the inputs fared so far."""

    done: int = 0
    skipped: int = 0
    failures: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Batch:
    """The jobs of one command and how their results are written; `settings` are told to readers of the events."""

    jobs: Sequence[outputs.Job]
    messages: Messages
    events: Events
    overwrite: bool = False
    strip: bool = False
    in_picture: bool = True
    earlier: Mapping[str, Record] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)
    watch: Watch = field(default_factory=Watch)

    @cached_property
    def states(self) -> dict[Path, State]:
        """The state of each folder that has one; one token stands for this batch in all of them."""
        folders = dict.fromkeys(job.folder for job in self.jobs if job.folder is not None)
        first = State(Path())
        return {folder: State(folder, token=first.token) for folder in folders}

    def run(self, work: Work) -> int:
        """Do every job and return the exit status; a failed one is named and does not stop the rest.

        A job that another living process has claimed comes at the end, and is waited for. Raises UsageError where
        the one state of all jobs cannot be used.
        """
        started = time.monotonic()
        self._prepare()
        tally, status = Tally(), exits.INTERRUPTED
        self.events.emit(
            "start",
            {"version": __version__, "schema": SCHEMA, "inputs": len(self.jobs), "settings": dict(self.settings)},
        )
        try:
            self._do_all(work, tally=tally)
            status = exits.FAILED if tally.failures else exits.DONE
        finally:
            counts = {"done": tally.done, "skipped": tally.skipped, "failed": len(tally.failures)}
            seconds = round(time.monotonic() - started, 3)
            self.events.emit("end", {**counts, "seconds": seconds, "status": status})
        self._sum_up(tally)
        return status

    def _prepare(self) -> None:
        for folder in {target.parent for job in self.jobs for target in job.targets}:
            remove_stale(folder)
        if len(self.states) == 1:
            (state,) = self.states.values()
            try:
                state.prepare()
            except InputError as error:
                raise UsageError(str(error)) from None

    def _do_all(self, work: Work, *, tally: Tally) -> None:
        waiting = list(enumerate(self.jobs, start=1))
        first, told = True, False
        while waiting:
            left: list[tuple[int, outputs.Job]] = []
            claim = None
            for number, job in waiting:
                found = self._do(job, work, number=number, tally=tally)
                exits.stop_if_interrupted()
                if found is not None:
                    claim = found
                    left.append((number, job))
            if claim is not None and not first and len(left) == len(waiting):
                if not told:
                    what = shown(left[0][1].source) if len(left) == 1 else f"{len(left)} inputs"
                    self.messages.say(f"waiting for {what}: {claim} works on it")
                    told = True
                time.sleep(POLL_SECONDS)
            waiting, first = left, False

    def _do(self, job: outputs.Job, work: Work, *, number: int, tally: Tally) -> Claim | None:
        """Do a job and count it; or leave it and return the claim that a living process has on its results."""
        state = None if job.folder is None else self.states[job.folder]
        entry = Entry(state, strip=self.strip, in_picture=self.in_picture, earlier=self.earlier)
        facts = {"input": str(job.source), "number": number}
        paths = [str(target) for target in job.targets]
        started = time.monotonic()
        claim: Claim | None = None

        def attempt() -> None:
            nonlocal claim
            if job.problem is not None:
                raise job.problem
            # Where all is there, nothing will be written: it is found to be the same, or refused.
            complete = not self.overwrite and all(map(os.path.lexists, job.targets))
            held = None if complete else state
            if held is not None:
                claim = held.claim(job.targets, watch=self.watch)
                if claim is not None:
                    return
            self.events.emit("file-start", {**facts, "outputs": paths})
            outputs.make_parents(job)
            messages = Reporting(self.messages.quiet, events=self.events, facts=facts)
            with nullcontext() if held is None else beating(held, job.targets), announced(entry.tell):
                work(job, entry, messages)
            if held is not None:
                held.settle(job.targets, recipes=entry.recipes)

        try:
            reason = exits.attempt(attempt, name=shown(job.source), messages=self.messages)
            if reason is not None and state is not None and job.targets:
                # The failure was named; if it cannot be noted as well, the claim ends with this process.
                with suppress(InputError):
                    state.fail(job.targets, source=job.source, reason=reason)
        except BaseException:
            if state is not None and job.targets:
                with suppress(InputError):  # what stops us matters more, and a claim of a dead process is void
                    state.release(job.targets)
            raise
        if claim is not None:
            return claim
        if reason is not None:
            tally.failures.append(reason)
            self.events.emit("file-failed", {**facts, "reason": reason})
            return None
        skipped = not entry.made
        tally.skipped += skipped
        tally.done += not skipped
        seconds = round(time.monotonic() - started, 3)
        self.events.emit("file-done", {**facts, "outputs": paths, "seconds": seconds, "skipped": skipped})
        return None

    def _sum_up(self, tally: Tally) -> None:
        """Name the failures of several jobs again, where they cannot be overlooked."""
        if not tally.failures or len(self.jobs) < 2:
            return
        self.messages.say(f"{tally.done} done, {tally.skipped} skipped, {len(tally.failures)} failed:")
        for reason in tally.failures[:MOST_FAILURES_SHOWN]:
            self.messages.say(f"  {reason}")
        more = len(tally.failures) - MOST_FAILURES_SHOWN
        if more > 0:
            self.messages.say(f"  and {more} more")
