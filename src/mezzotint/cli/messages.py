"""What a person reads while a command runs: lines and a progress bar, all on stderr."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path


def one_line(text: object) -> str:
    """Return the text with every run of white space, line breaks included, as one space."""
    return " ".join(str(text).split())


@dataclass(frozen=True)
class Messages:
    """Lines on stderr; `quiet` keeps back everything but failures."""

    quiet: bool = False

    def say(self, text: str) -> None:
        if not self.quiet:
            print(text, file=sys.stderr, flush=True)

    def warn(self, text: str) -> None:
        print(text, file=sys.stderr, flush=True)

    def chose(self, method: str, reason: str, *, source: Path) -> None:
        """Say which method was chosen for an input, and why."""
        self.say(f"{source}: {method}, {reason}")

    @contextmanager
    def progress(self, description: str) -> Iterator[Callable[[int, int], None]]:
        """Show a bar with the time left while the block runs; the block calls the yielded (done, total).

        Where stderr is no terminal, nothing is drawn.
        """
        if self.quiet or not sys.stderr.isatty():
            yield lambda done, total: None
            return
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

        columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
        with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
            task = bar.add_task(_escaped(description), total=None)
            yield lambda done, total: bar.update(task, completed=done, total=total)


def _escaped(text: str) -> str:
    from rich.markup import escape

    return escape(text)
