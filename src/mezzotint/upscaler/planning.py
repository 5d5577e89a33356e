"""What a job will take, from one small part of it that is done and timed; and how many steps a deadline allows."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch

from mezzotint.errors import UsageError
from mezzotint.images import tiles
from mezzotint.record import Deadline, Request
from mezzotint.upscaler import passes
from mezzotint.upscaler.enlargers import Enlarger, Layout, Settings
from mezzotint.upscaler.restoration import Restoration
from mezzotint.upscaler.work import Job

# Side of the part that is timed, in input pixels.
_PROBE = 128
# Bytes a sample that windows and conversions hold beside the rows of the stages.
_BESIDE = 24


@dataclass(frozen=True)
class Plan:
    """What is about to be done.

    sizes: (height, width) that each link of the chain reaches. layouts: rows and columns at a time of each pass.
    evaluations: of the network, all passes, one sample. memory: bytes above the import of PyTorch, about, the input
    and the result not counted. seconds: of all samples, about. reasons: one line for each choice.
    """

    chain: tuple[str, ...]
    sizes: tuple[tuple[int, int], ...]
    layouts: tuple[Layout, ...]
    evaluations: int
    memory: int
    seconds: float
    steps: int | None
    samples: int
    reasons: tuple[str, ...]


@dataclass(frozen=True)
class Pace:
    """Seconds of one sample as a straight line in the steps: `base` and, for each step, `step`.

    `count`: what there is a `step` for where that is not each step, such as evaluations of walks that go up again.
    """

    base: float
    step: float
    count: Callable[[int], int] | None = None

    def seconds(self, steps: int | None) -> float:
        return self.base + self.step * (steps or 0 if self.count is None or steps is None else self.count(steps))


def plan(job: Job, *, enlarger: Enlarger, device: torch.device, pace: Pace | None = None) -> Plan:
    """Return the plan of a job; `pace` as `measure` returns it, which is asked unless given."""
    pace = pace or measure(job, enlarger=enlarger, device=device)
    request, settings = job.request, job.settings
    layouts, memory = [], 0
    reasons = []
    h, w = request.input_size
    for index in range(passes.passes(request, enlarger)):
        layout = enlarger.layout(h, w, settings=settings)
        layouts.append(layout)
        goal = request.output_size if enlarger.scale is None else (h * enlarger.scale, w * enlarger.scale)
        memory += enlarger.memory(w, settings=settings, layout=layout)
        rows = layout.band * goal[0] / h
        memory += int(_BESIDE * rows * goal[1] * job.coding.channels)
        if request.consistent:
            memory += passes.consistency_memory(goal, h)
        memory += passes.colour_memory(request, goal, (h, w), band=int(rows), channels=job.coding.channels)
        reasons.append(f"pass {index + 1}: {_why(enlarger, layout, h, w, settings)}")
        h, w = goal
    groups = len(job.coding.groups)
    if groups > 1:
        reasons.append(f"{groups} groups of channels, each worked on as a picture of its own")
    evaluations = enlarger.evaluations(settings) * len(layouts) * groups
    return Plan(
        chain=request.chain,
        sizes=passes.sizes(request, enlarger),
        layouts=tuple(layouts),
        evaluations=evaluations,
        memory=memory,
        seconds=pace.seconds(settings.steps) * job.samples,
        steps=settings.steps,
        samples=job.samples,
        reasons=tuple(reasons),
    )


def within(
    job: Job,
    seconds: float,
    *,
    enlarger: Enlarger,
    device: torch.device,
    pace: Pace | None = None,
    spent: float = 0.0,
) -> tuple[Job, Deadline]:
    """Return the job with the most steps, at most those it has, that keep to `seconds`, and what was chosen, in words.

    `spent` of the seconds are over already; so is what measuring the pace takes.

    Where even one step takes longer, one step is chosen and the words say so. Raises UsageError for seconds that are
    not positive.
    """
    if not 0 < seconds < float("inf"):
        raise UsageError(f"deadline {seconds:g} is not a positive number of seconds: use for example --deadline 60")
    began = time.perf_counter()
    pace = pace or measure(job, enlarger=enlarger, device=device)
    left = seconds - spent - (time.perf_counter() - began)
    most, samples = job.settings.steps, job.samples
    if most is None or pace.step <= 0:
        needed = pace.seconds(most) * samples
        verdict = "in time" if needed <= left else f"over the {seconds:g} s"
        return job, Deadline(seconds=seconds, chosen=f"nothing to choose: about {needed:.3g} s, {verdict}")
    steps = max((n for n in range(1, most + 1) if pace.seconds(n) * samples <= left), default=1)
    needed = pace.seconds(steps) * samples
    words = f"{steps} of {most} steps: about {needed:.3g} s"
    if needed > left:
        words += f", over the {seconds:g} s: fewer steps there are not; use --realism 0 or a faster method"
    settings = dataclasses.replace(job.settings, steps=steps)
    request = job.request.model_copy(update={"steps": steps})
    return dataclasses.replace(job, settings=settings, request=request), Deadline(seconds=seconds, chosen=words)


@torch.no_grad()
def measure(job: Job, *, enlarger: Enlarger, device: torch.device) -> Pace:
    """Do a part from the middle of the picture, with all that belongs to it, and scale its time up.

    The first run is not counted; with steps, one and two of them give the line.
    """
    h, w = job.request.input_size
    side = (min(h, _PROBE), min(w, _PROBE))
    top, left = (h - side[0]) // 2, (w - side[1]) // 2
    part = job.rows[top : top + side[0]][:, left : left + side[1]]
    ratio = (job.request.output_size[0] / h, job.request.output_size[1] / w)
    goal = (max(1, round(side[0] * ratio[0])), max(1, round(side[1] * ratio[1])))
    if enlarger.scale is None and job.request.consistent:
        goal = (side[0] * round(ratio[0]), side[1] * round(ratio[1]))
    chain = tuple(step for step in job.request.chain if not step.startswith("bicubic to"))
    m = enlarger.scale
    if m is not None and (side[0] * m ** len(chain), side[1] * m ** len(chain)) != goal:
        chain = (*chain, f"bicubic to {goal[0]}x{goal[1]}")
    request = job.request.model_copy(update={"input_size": side, "output_size": goal, "chain": chain})
    share = _work(enlarger, job.request, job.settings) / _work(enlarger, request, job.settings)
    asked = enlarger.part(job.settings) if isinstance(enlarger, Restoration) else job.settings

    def run(steps: int | None) -> float:
        settings = dataclasses.replace(asked, steps=steps)
        began = time.perf_counter()
        work = passes.prepare(
            lambda start, stop: job.coding.decode(part[start:stop]), coding=job.coding, survey=job.survey,
            request=request.model_copy(update={"steps": steps}), enlarger=enlarger, settings=settings, device=device,
            clock=passes.Clock(), callback=lambda: None,
        )  # fmt: skip
        for start, stop in work.bands():
            job.coding.encode(work.rows.take(start, stop, keep=stop))
        return (time.perf_counter() - began) * share

    if job.settings.steps is None or enlarger.evaluations(job.settings) <= 1:
        run(job.settings.steps)
        return Pace(run(job.settings.steps), 0.0)
    run(1)
    one, two = run(1), run(2)
    if isinstance(enlarger, Restoration):
        count = enlarger.method.evaluations
        step = max(two - one, 1e-9) / (count(2) - count(1))
        return Pace(max(0.0, one - step * count(1)), step, count)
    step = max(two - one, 1e-9)
    return Pace(max(0.0, one - step), step)


def _work(enlarger: Enlarger, request: Request, settings: Settings) -> float:
    """Pixels that the networks see in all passes, halos included: what the time is proportional to."""
    h, w = request.input_size
    if isinstance(enlarger, Restoration):
        return enlarger.work(request.output_size)
    total = 0.0
    for _ in range(passes.passes(request, enlarger)):
        layout = enlarger.layout(h, w, settings=settings)
        for start in range(0, h, layout.band):
            stop = min(h, start + layout.band)
            for tile in tiles.plan(h, w, tile=layout.tile, halo=enlarger.halo, rows=(start, stop)):
                rows, columns = tile.window_rows, tile.window_columns
                total += (rows.stop - rows.start) * (columns.stop - columns.start)
        h, w = h * (enlarger.scale or 1), w * (enlarger.scale or 1)
    return total if enlarger.scale is not None else total * request.output_size[0] * request.output_size[1] / (h * w)


def _why(enlarger: Enlarger, layout: Layout, h: int, w: int, settings: Settings) -> str:
    if not enlarger.streams:
        return f"the whole {w}x{h} at once: the method looks at all of it"
    cut = f"{layout.band} of {h} rows at a time"
    if layout.tile is not None:
        cut += f", in tiles {layout.tile} wide"
    if settings.tile == "auto":
        return cut + (": tiles that suit the processor, bands that fit the memory" if layout.band < h else "")
    return cut + ": as --tile says"
