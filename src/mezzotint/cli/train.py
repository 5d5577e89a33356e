"""`mezzotint train`: a run file in, weights out."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mezzotint.cli import exits
from mezzotint.cli.messages import Messages

if TYPE_CHECKING:
    from mezzotint.training import Moment


def train(
    run_file: Annotated[Path, typer.Argument(metavar="RUN.toml", help="The run file.")],
    changes: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Change a key of the run file, as in optimiser.rate=2e-4."),
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the last checkpoint.")] = False,
    check: Annotated[
        bool, typer.Option("--check", help="Only see whether the method learns: overfit eight crops, in minutes.")
    ] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Name failures only.")] = False,
) -> int:
    """Train one stage of a method. Ctrl-C saves a checkpoint first; --resume goes on from it."""
    from mezzotint import training

    messages = Messages(quiet=quiet)
    run = training.read_run(run_file, changes=tuple(changes or ()))
    if check:
        checked = training.check(run, report=_reporter(messages))
        messages.say(f"overfits eight crops to {checked.psnr:.2f} dB in {checked.seconds:.0f} s: {checked.picture}")
        return exits.DONE if checked.passed else exits.FAILED
    with _interrupts() as interrupted:
        trained = training.start(run, resume=resume, report=_reporter(messages), stop=interrupted)
    if interrupted():
        messages.warn(f"mezzotint: interrupted at step {trained.step} of {run.steps}: --resume goes on from there")
        return exits.INTERRUPTED
    messages.say(f"trained {trained.step} steps in {_duration(trained.seconds)}: {trained.folder}")
    return exits.DONE


def _reporter(messages: Messages) -> Callable[[Moment], None]:
    """Return what prints a moment of a run: over the last line on a terminal, on its own line elsewhere."""
    live = sys.stderr.isatty()

    def report(moment: Moment) -> None:
        text = (
            f"step {moment.step}/{moment.steps}  loss {moment.loss:.5f}  rate {moment.rate:.2e}  "
            f"{_duration(moment.seconds)} spent, {_duration(moment.left)} left"
        )
        if live and not messages.quiet:
            end = "\n" if moment.step >= moment.steps else ""
            print(f"\r\x1b[K{text}", end=end, file=sys.stderr, flush=True)
        else:
            messages.say(text)

    return report


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


@contextmanager
def _interrupts() -> Iterator[Callable[[], bool]]:
    """Turn the first Ctrl-C within the block into an answer; a second one interrupts as ever."""
    seen = False

    def note(number: int, frame: object) -> None:
        nonlocal seen
        seen = True
        signal.signal(signal.SIGINT, previous)

    previous = signal.signal(signal.SIGINT, note)
    try:
        yield lambda: seen
    finally:
        signal.signal(signal.SIGINT, previous)
