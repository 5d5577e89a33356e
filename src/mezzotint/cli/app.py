"""The table of commands."""

from __future__ import annotations

from typing import Annotated

import typer

from mezzotint.cli import exits
from mezzotint.cli.cite import cite
from mezzotint.cli.compare import compare
from mezzotint.cli.data import app as data
from mezzotint.cli.degrade import degrade
from mezzotint.cli.doctor import doctor
from mezzotint.cli.evaluate import evaluate
from mezzotint.cli.methods import methods
from mezzotint.cli.opinions import opinions
from mezzotint.cli.plan import plan
from mezzotint.cli.replay import replay
from mezzotint.cli.train import train
from mezzotint.cli.upscale import upscale
from mezzotint.cli.weights import app as weights

app = typer.Typer(
    name="mezzotint",
    help="Make photographs larger with diffusion models, and measure how well that went.",
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback(invoke_without_command=True)
def options(
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
    debug: Annotated[
        bool, typer.Option("--debug", help="Show the traceback of an unexpected error (or MEZZOTINT_DEBUG=1).")
    ] = False,
) -> None:
    if debug:
        exits.show_tracebacks()
    if version:
        from importlib import metadata

        print(f"mezzotint {metadata.version('mezzotint')}")
        raise typer.Exit(exits.DONE)


for command in (upscale, plan, methods, evaluate, compare, opinions, degrade, train, replay, cite, doctor):
    app.command()(command)
app.add_typer(data, name="data")
app.add_typer(weights, name="weights")
