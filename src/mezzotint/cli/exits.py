"""From a command to its exit status: 0 done, 1 an input failed, 2 wrong usage, 130 interrupted."""

from __future__ import annotations

import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import TypeVar

from mezzotint.cli.messages import Messages, one_line
from mezzotint.errors import MezzotintError

Job = TypeVar("Job")

DONE, FAILED, USAGE, INTERRUPTED = 0, 1, 2, 130

_debug = False
_interrupts = 0


def show_tracebacks() -> None:
    """From now on print the whole traceback of an unexpected error."""
    global _debug
    _debug = True


def traceback_wanted() -> bool:
    return _debug or os.environ.get("MEZZOTINT_DEBUG", "") not in ("", "0")


def stop_if_interrupted() -> None:
    """Raise KeyboardInterrupt if Ctrl-C was pressed since the command began; to be called between pieces of work."""
    if _interrupts:
        raise KeyboardInterrupt


@contextmanager
def _counting_interrupts() -> Iterator[None]:
    """Note every Ctrl-C within the block, and raise KeyboardInterrupt at once where that can be caught.

    An exception in a callback of the picture library or in a finaliser is printed and lost; `stop_if_interrupted`
    raises it a little later.
    """
    global _interrupts

    def note(number: int, frame: FrameType | None) -> None:
        global _interrupts
        _interrupts += 1
        while frame is not None:
            if frame.f_code.co_name == "__del__" or frame.f_globals.get("__name__", "").partition(".")[0] == "pyvips":
                return
            frame = frame.f_back
        raise KeyboardInterrupt

    _interrupts = 0
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    previous = signal.signal(signal.SIGINT, note)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, previous)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit status; `arguments` are those of the process unless given.

    Every error becomes one line on stderr. A MezzotintError that reaches this place was known before the first
    picture (commands name failed inputs themselves and go on), so it is wrong usage.
    """
    # Read when torch is imported. Threads that wait by spinning stall a machine whose other processors are busy;
    # threads that sleep at once lose time on an idle one. A thousand turns is what the library itself takes where it
    # knows that processors are short. Measured on two of them, 120x120 pixels, realism 0: idle 0.26 s (sleeping at
    # once 0.68 s, its own choice 0.32 s), beside another busy process 1.6 s (0.79 s; 100,000 turns: 5 to 8 s).
    os.environ.setdefault("GOMP_SPINCOUNT", "1000")
    from mezzotint.cli.app import app

    words = list(sys.argv[1:] if arguments is None else arguments)
    try:
        with _counting_interrupts():
            status = app(args=words or ["--help"], prog_name="mezzotint", standalone_mode=False)
            sys.stdout.flush()
        if status == INTERRUPTED:  # what typer makes of a KeyboardInterrupt, or an Abort in older versions
            return _interrupted()
        return status if isinstance(status, int) else DONE
    except KeyboardInterrupt:
        return _interrupted()
    except BrokenPipeError:
        # The reader of stdout went away (`mezzotint methods | head`): say nothing, now and at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED
    except MezzotintError as error:
        print(f"mezzotint: {one_line(error)}", file=sys.stderr)
        return USAGE
    except Exception as error:
        describe = getattr(error, "format_message", None)
        if describe is not None:  # what the parser of options raises, in every version of typer
            print(f"mezzotint: {one_line(describe())}", file=sys.stderr)
            return USAGE
        if type(error).__name__ == "Exit":
            return int(getattr(error, "exit_code", DONE))
        if type(error).__name__ == "Abort":
            return _interrupted()
        report_unexpected(error)
        return FAILED


def _interrupted() -> int:
    print("mezzotint: interrupted; every finished file is whole", file=sys.stderr)
    return INTERRUPTED


def report_unexpected(error: Exception, *, about: str = "mezzotint") -> str:
    """Name an error that is no MezzotintError in one line, with its traceback only where it was asked for.

    Returns the line without `about`.
    """
    if traceback_wanted():
        traceback.print_exception(error)
    hint = "" if traceback_wanted() else " (MEZZOTINT_DEBUG=1 shows where)"
    text = f"unexpected {type(error).__name__}: {one_line(error)}"
    print(f"{about}: {text}{hint}", file=sys.stderr)
    return text


def attempt(work: Callable[[], None], *, name: str, messages: Messages) -> str | None:
    """Do the work on the input `name`; name a failure in one line and return it, None if there was none.

    What is no failure of an input goes on: Ctrl-C, and the end of whoever reads stdout.
    """
    try:
        work()
    except MezzotintError as error:
        text = one_line(error)
        if name not in text:
            text = f"{name}: {text}"
        messages.warn(f"mezzotint: {text}")
        return text
    except BrokenPipeError:
        raise
    except Exception as error:
        return f"{name}: {report_unexpected(error, about=f'mezzotint: {name}')}"
    return None


def do_all(
    jobs: Sequence[Job], work: Callable[[Job], None], *, source: Callable[[Job], Path], messages: Messages
) -> int:
    """Work on every job and return the exit status; a job that fails is named and does not stop the rest."""
    from mezzotint.images.atomic import shown

    failures = 0
    for job in jobs:
        failed = attempt(lambda job=job: work(job), name=shown(source(job)), messages=messages)
        failures += failed is not None
        stop_if_interrupted()
    return FAILED if failures else DONE
