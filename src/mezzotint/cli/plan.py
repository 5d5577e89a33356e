"""`mezzotint plan`: what `upscale` with the same words would do, and how long it would take."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from mezzotint.cli import exits, outputs
from mezzotint.cli.asked import Asked, command
from mezzotint.cli.messages import Messages

if TYPE_CHECKING:
    from mezzotint.cli.results import Maker


@command
def plan(asked: Asked) -> int:
    """Say what `upscale` with the same options would do and take, after timing a small part of each picture."""
    from mezzotint.cli.batch import Events
    from mezzotint.cli.results import Maker

    maker, events = Maker(asked.upscaler(), asked.settings, asked.files), Events(asked.events)

    def work(job: outputs.Job) -> None:
        if job.problem is not None:
            raise job.problem
        facts = _facts(maker, job)
        if asked.events:
            events.emit("plan", facts)
        else:
            print("\n".join(_lines(facts)), flush=True)

    return exits.do_all(asked.jobs, work, source=lambda job: job.source, messages=Messages(quiet=asked.quiet))


def _facts(maker: Maker, job: outputs.Job) -> dict[str, Any]:
    """Return what is planned for an input, as JSON holds it; raises what would stop it."""
    from mezzotint import images

    began = time.perf_counter()
    upscaler, settings = maker.upscaler, maker.settings
    # Beside the results, if their folder is there already: a plan makes none.
    folder = job.targets[0].parent
    picture = images.read(job.source, spool=folder if folder.is_dir() else None)
    prepared = settings.prepare(upscaler, picture, file=job.source)
    targets = [maker.target(path, picture, prepared.coding) for path in job.targets]
    height, width = prepared.request.output_size
    for target in targets:
        if folder.is_dir():
            images.check_output(target.path, inputs=[job.source], overwrite=True)
        images.check_size(target.path, width=width, height=height)
    deadline = None
    if settings.deadline is not None:
        spent = time.perf_counter() - began
        prepared, deadline = upscaler.within(prepared, settings.deadline, spent=spent)
    found, request = upscaler.plan(prepared), prepared.request
    return {
        "input": str(job.source),
        "outputs": [str(target.path) for target in targets],
        "input_size": list(request.input_size),
        "output_size": list(request.output_size),
        "coding": request.coding,
        "method": request.method,
        "reason": prepared.reason,
        "engine": upscaler.engine,
        "steps": found.steps,
        "realism": request.realism,
        "guidance": request.guidance,
        "consistent": request.consistent,
        "colour": request.colour,
        "operator": request.operator,
        "noise": request.noise,
        "samples": found.samples,
        "seed": request.seed,
        "chain": [{"pass": name, "size": list(size)} for name, size in zip(found.chain, found.sizes, strict=True)],
        "layouts": [{"rows": layout.band, "columns": layout.tile} for layout in found.layouts],
        "reasons": list(found.reasons),
        "evaluations": found.evaluations * found.samples,
        "memory": found.memory,
        "seconds": round(found.seconds, 3),
        "deadline": None if deadline is None else deadline.chosen,
        "notes": list(dict.fromkeys([*picture.notes, *prepared.estimates, *(n for t in targets for n in t.notes)])),
        "exists": [str(target.path) for target in targets if target.path.exists()],
    }


def _lines(facts: dict[str, Any]) -> list[str]:
    """Return the plan for a person, one fact a line."""
    (h, w), (height, width) = facts["input_size"], facts["output_size"]
    words = [facts["method"]]
    words += [f"{name} {facts[name]:g}" for name in ("steps", "realism") if facts[name] is not None]
    words += [f"guidance {facts['guidance']:g}"] * (facts["guidance"] != 1)
    words += ["consistent"] * facts["consistent"]
    words += [f"colour {facts['colour']}"] * (facts["colour"] != "none")
    words += [f"operator {facts['operator']}, noise {facts['noise']:g}"] * (facts["operator"] != "")
    words += [f"seed {facts['seed']}"]
    outputs_ = facts["outputs"]
    lines = [
        ("output", outputs_[0] if len(outputs_) == 1 else f"{outputs_[0]} and {len(outputs_) - 1} more"),
        ("size", f"{w}x{h} to {width}x{height}, {facts['coding']}"),
        ("method", ", ".join(words) + (f" ({facts['reason']})" if facts["reason"] else "")),
    ]
    if len(facts["chain"]) > 1:
        steps = (f"{one['pass']} ({one['size'][1]}x{one['size'][0]})" for one in facts["chain"])
        lines.append(("chain", ", then ".join(steps)))
    lines += [("tiles", reason) for reason in facts["reasons"]]
    lines += [
        ("network", f"{facts['evaluations']} evaluations, engine {facts['engine']}"),
        ("memory", f"about {facts['memory'] / 2**20:.0f} MiB beside PyTorch, the input and the result"),
        ("time", f"about {facts['seconds']:.3g} s"),
    ]
    if facts["deadline"] is not None:
        lines.append(("deadline", facts["deadline"]))
    lines += [("note", note) for note in facts["notes"]]
    lines += [("exists", f"{path}: the same record is skipped, another refused") for path in facts["exists"]]
    return [facts["input"], *(f"  {name:<9} {text}" for name, text in lines)]
