from __future__ import annotations

import dataclasses
import time

import numpy as np
import pytest
import torch

from mezzotint.errors import UsageError
from mezzotint.methods import mezzotint_x4
from mezzotint.upscaler import Upscaler, load, planning
from mezzotint.upscaler.enlargers import AUTO_TILE
from mezzotint.upscaler.planning import Pace
from mezzotint.upscaler.samples import Coding


@pytest.fixture(scope="module")
def refined(tmp_path_factory: pytest.TempPathFactory) -> Upscaler:
    folder = tmp_path_factory.mktemp("weights")
    torch.manual_seed(0)
    mezzotint_x4.build(preset="small").save_pretrained(folder)
    return load(folder)


def _job(upscaler: Upscaler, h: int, w: int, channels: int = 3, **options):
    rows = np.random.default_rng(0).integers(0, 255, (h, w, channels)).astype(np.uint8)
    space = "cmyk" if channels == 4 else "rgb"
    return upscaler.prepare(rows, Coding(rows.dtype, space), **options)


def _plan(upscaler: Upscaler, job, pace: Pace) -> planning.Plan:
    return planning.plan(job, enlarger=upscaler.enlarger, device=upscaler.device, pace=pace)


def test_a_plan_says_what_is_done(refined: Upscaler) -> None:
    job = _job(refined, 40, 70, scale=10, samples=3)
    plan = _plan(refined, job, Pace(1.0, 0.5))
    assert plan.chain == ("mezzotint-x4", "mezzotint-x4", "bicubic to 400x700")
    assert plan.sizes == ((160, 280), (640, 1120), (400, 700))
    assert plan.evaluations == 2 * 5 and plan.seconds == 3 * (1.0 + 4 * 0.5)
    assert next(refined.enlarge(job, sink=np.empty)).record.evaluations == plan.evaluations
    assert len(plan.reasons) == 2 and plan.layouts[1].tile == AUTO_TILE


def test_memory_grows_with_the_width_alone(refined: Upscaler) -> None:
    shapes = ((400, 400), (900, 400), (400, 900))
    flat, tall, wide = (_plan(refined, _job(refined, *shape), Pace(1, 1)) for shape in shapes)
    assert flat.memory == tall.memory
    assert 1.5 * flat.memory < wide.memory < 3 * flat.memory
    # A very wide picture gets lower bands instead of more memory than there is.
    settings = _job(refined, 400, 400).settings
    assert refined.enlarger.layout(400, 20_000, settings=settings).band < AUTO_TILE
    whole = _plan(refined, _job(refined, 900, 400, tile="none"), Pace(1, 1))
    assert whole.memory > 1.5 * tall.memory and whole.layouts[0].band == 900


def test_groups_of_channels_cost_each(refined: Upscaler) -> None:
    plan = _plan(refined, _job(refined, 20, 20, 4), Pace(1, 1))
    assert plan.evaluations == 10 and any("2 groups" in reason for reason in plan.reasons)


@pytest.mark.parametrize(("seconds", "steps"), [(100.0, 4), (3.1, 4), (2.9, 3), (1.6, 1), (0.1, 1)])
def test_a_deadline_chooses_steps(refined: Upscaler, seconds: float, steps: int) -> None:
    job = _job(refined, 20, 20)
    within = planning.within
    chosen, deadline = within(job, seconds, enlarger=refined.enlarger, device=refined.device, pace=Pace(1.0, 0.5))
    assert chosen.settings.steps == chosen.request.steps == steps
    assert f"{steps} of 4 steps" in deadline.chosen
    assert ("over the" in deadline.chosen) == (seconds < 1.5)
    assert job.settings.steps == 4


def test_a_deadline_with_nothing_to_choose_says_so() -> None:
    bicubic = load("bicubic")
    job, deadline = planning.within(
        _job(bicubic, 20, 20), 5, enlarger=bicubic.enlarger, device=bicubic.device, pace=Pace(9.0, 0.0)
    )
    assert "nothing to choose" in deadline.chosen and "over the 5 s" in deadline.chosen
    for bad in (0, -1, float("nan"), float("inf")):
        with pytest.raises(UsageError, match="positive number of seconds"):
            bicubic.within(job, bad)


def test_the_timed_part_stands_for_the_whole(refined: Upscaler) -> None:
    """Loose, because machines are busy: the order of magnitude, and that steps and pixels count."""
    job = _job(refined, 300, 310)
    pace = planning.measure(job, enlarger=refined.enlarger, device=refined.device)
    began = time.perf_counter()
    list(refined.enlarge(job, sink=np.empty))
    took = time.perf_counter() - began
    assert 0.2 < pace.seconds(4) / took < 5
    larger = dataclasses.replace(job, request=job.request.model_copy(update={"input_size": (900, 310)}))
    assert planning._work(refined.enlarger, larger.request, job.settings) == pytest.approx(
        3 * planning._work(refined.enlarger, job.request, job.settings), rel=0.15
    )


@pytest.mark.parametrize("name", ["bicubic", "back-projection", "span"])
@pytest.mark.parametrize("size", [{"scale": 4}, {"width": 71}])
def test_every_engine_can_be_timed(name: str, size: dict) -> None:
    upscaler = load(name)
    plan = upscaler.plan(_job(upscaler, 20, 17, consistent=False, **size))
    assert plan.seconds > 0 and plan.sizes[-1] == plan.sizes[-1] and plan.memory > 0
    assert plan.sizes[-1] == ((80, 68) if "scale" in size else (84, 71))
