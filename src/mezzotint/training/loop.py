"""The training loop: one stage of one method, on one or several devices, resumable to the same numbers."""

from __future__ import annotations

import csv
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from mezzotint.errors import MezzotintError, UsageError
from mezzotint.methods.stage import Stage
from mezzotint.noise import SequentialNoise
from mezzotint.training.average import Average
from mezzotint.training.checkpoints import read_state, write_state
from mezzotint.training.crops import Source, batch
from mezzotint.training.run_file import Run


@dataclass(frozen=True)
class Moment:
    """What a run tells about itself after a step: mean loss since the last report, seconds spent and left."""

    step: int
    steps: int
    loss: float
    gradient: float
    rate: float
    seconds: float
    left: float


@dataclass(frozen=True)
class Trained:
    """The end of a run: the last step, the seconds spent in all sessions, and the folder of the weights."""

    step: int
    seconds: float
    folder: Path


class DivergedError(MezzotintError):
    """The loss was not a number; the batch that did it has been saved."""


class _Objective(nn.Module):
    """A loss as a module, so that wrappers for several devices see one forward pass."""

    def __init__(self, group: nn.Module, loss: Callable[..., Tensor]) -> None:
        super().__init__()
        self.group = group
        self._loss = loss

    def forward(self, y: Tensor, x: Tensor, noise: SequentialNoise, options: dict[str, str | float]) -> Tensor:
        return self._loss(y, x, noise=noise, **options)


def find_stage(stages: tuple[Stage, ...], name: str | None) -> Stage:
    """Return the stage of that name, or the last one for None; raises UsageError naming the stages there are."""
    for stage in stages:
        if stage.name == name:
            return stage
    if name is None:
        return stages[-1]
    raise UsageError(f"stage {name!r} is unknown: this method has {', '.join(stage.name for stage in stages)}")


def learning_rate(run: Run, step: int) -> float:
    """Return the rate of step 0..steps-1: a linear warm-up, then a cosine from `rate` to `final_rate`."""
    o = run.optimiser
    warm = max(1, round(o.warmup * run.steps))
    if step < warm:
        return o.rate * (step + 1) / warm
    u = (step - warm) / max(1, run.steps - warm)
    return o.final_rate + (o.rate - o.final_rate) * 0.5 * (1 + math.cos(math.pi * u))


def _options(run: Run, step: int) -> dict[str, str | float]:
    """Return the keywords of the loss that the run file sets for this step."""
    o, share = run.objective, step / run.steps
    norm = o.final_norm if o.final_norm is not None and share >= o.final_from else o.norm
    options: dict[str, str | float] = {} if norm is None else {"norm": norm}
    if o.perceptual > 0 and share >= o.perceptual_from:
        options["perceptual"] = o.perceptual
    if o.adversarial != 1:
        options["adversarial"] = o.adversarial
    if o.spread != 1:
        options["spread"] = o.spread
    if o.perceptual_spread is not None:
        options["perceptual_spread"] = o.perceptual_spread
    return options


def _accelerator(run: Run) -> Any:
    try:
        from accelerate import Accelerator
    except ImportError:
        raise UsageError('training needs accelerate: install it with pip install "mezzotint[train]"') from None
    return Accelerator(mixed_precision="bf16" if run.precision == "bfloat16" else "no")


class _Group:
    """One trained module with its optimiser and average."""

    def __init__(self, name: str, module: nn.Module, loss: Callable[..., Tensor], run: Run, accelerator: Any) -> None:
        self.name = name
        self.parameters = {n: p for n, p in module.named_parameters() if p.requires_grad}
        decay = run.objective.regulariser_weight if run.objective.regulariser == "weight-decay" else 0.0
        optimiser = torch.optim.AdamW(
            self.parameters.values(), lr=run.optimiser.rate, betas=run.optimiser.betas, weight_decay=decay
        )
        self.objective, self.optimiser = accelerator.prepare(_Objective(module, loss), optimiser)
        self.average = Average(self.parameters, decay=run.optimiser.ema)

    def tensors(self) -> dict[str, Tensor]:
        out: dict[str, Tensor] = {"updates/" + self.name: torch.tensor(self.average.updates)}
        inner = getattr(self.optimiser, "optimizer", self.optimiser)
        for n, p in self.parameters.items():
            out[f"weight/{self.name}/{n}"] = p
            out[f"average/{self.name}/{n}"] = self.average.values[n]
            state = inner.state.get(p, {})
            if state:
                out[f"moment1/{self.name}/{n}"] = state["exp_avg"]
                out[f"moment2/{self.name}/{n}"] = state["exp_avg_sq"]
                out[f"steps/{self.name}/{n}"] = state["step"]
        return out

    @torch.no_grad()
    def restore(self, tensors: dict[str, Tensor]) -> None:
        inner = getattr(self.optimiser, "optimizer", self.optimiser)
        self.average.updates = int(tensors["updates/" + self.name])
        for n, p in self.parameters.items():
            average = tensors[f"average/{self.name}/{n}"]
            self.average.values[n].copy_(average)
            # A compact state of a large network has no weights and no first moments.
            p.copy_(tensors.get(f"weight/{self.name}/{n}", average))
            if f"moment2/{self.name}/{n}" in tensors:
                second = tensors[f"moment2/{self.name}/{n}"].to(p).clone()
                first = tensors.get(f"moment1/{self.name}/{n}")
                inner.state[p] = {
                    "step": tensors[f"steps/{self.name}/{n}"].clone(),
                    "exp_avg": torch.zeros_like(second) if first is None else first.to(p).clone(),
                    "exp_avg_sq": second,
                }


def train(
    method: nn.Module,
    pairs: Source,
    run: Run,
    *,
    resume: bool = False,
    report: Callable[[Moment], None] | None = None,
    report_every: int = 50,
    sheet: Callable[[Stage, Path], None] | None = None,
    stop: Callable[[], bool] | None = None,
    save: Callable[[Path, int, float], None] | None = None,
) -> Trained:
    """Train one stage of `method` in place and return where its averaged weights lie.

    Batches and noise are functions of (seed, step), so a run that was stopped and resumed gives the numbers of one that
    was not. `save(folder, step, seconds)` writes the method's weights (the average is applied while it runs; the
    seconds are those of all sessions); `sheet` draws a sheet of samples; `stop` is asked after each step. Raises
    DivergedError at the first loss that is not finite, after
    saving the batch to `diverged.safetensors`; UsageError for an unknown stage or when accelerate is missing.
    """
    if run.threads is not None:
        torch.set_num_threads(run.threads)
    stage = find_stage(getattr(method, "stages"), run.stage)  # noqa: B009
    accelerator = _accelerator(run)
    method.requires_grad_(False)
    method.eval()
    for module in stage.groups.values():
        module.requires_grad_(True)
        module.train()
    method.to(accelerator.device)
    if stage.prepare is not None:
        stage.prepare(_measuring(pairs, run, accelerator.device))
    groups = [_Group(name, module, stage.losses[name], run, accelerator) for name, module in stage.groups.items()]
    output, state_file = run.output, run.output / "state.safetensors"
    start, spent = 0, 0.0
    if resume:
        tensors, meta = read_state(state_file)
        for group in groups:
            group.restore(tensors)
        start, spent = int(meta["step"]), float(meta["seconds"])
    output.mkdir(parents=True, exist_ok=True)
    main = accelerator.is_main_process
    began = saved = drawn = time.monotonic()

    def seconds() -> float:
        return spent + time.monotonic() - began

    def averaged(action: Callable[[], None]) -> None:
        for module in stage.groups.values():
            module.eval()
        contexts = [group.average.applied(group.parameters) for group in groups]
        for context in contexts:
            context.__enter__()
        try:
            action()
        finally:
            for context in contexts:
                context.__exit__(None, None, None)
            for module in stage.groups.values():
                module.train()

    def keep(step: int) -> None:
        if not main:
            return
        tensors = {key: value for group in groups for key, value in group.tensors().items()}
        write_state(state_file, tensors, run=run, step=step, seconds=seconds())
        if step >= run.steps:
            write_state(output / "resume.safetensors", tensors, run=run, step=step, seconds=seconds(), compact=True)
        if save is not None:
            writer_of_weights = save
            averaged(lambda: writer_of_weights(output, step, seconds()))

    step, gathered, count, gradient = start, 0.0, 0, 0.0
    log = (output / "log.csv").open("a", newline="", encoding="utf-8") if main else None
    writer = csv.writer(log) if log is not None else None
    try:
        while step < run.steps:
            rate, options = learning_rate(run, step), _options(run, step)
            part = step * accelerator.num_processes + accelerator.process_index
            p = run.pictures
            y, x = batch(
                pairs, seed=run.seed, step=part, size=run.batch, crop=p.crop, flips=p.flips, rotations=p.rotations
            )
            y, x = y.to(accelerator.device), x.to(accelerator.device)
            for group in groups:
                for settings in group.optimiser.param_groups:
                    settings["lr"] = rate
                # Dropout draws from PyTorch's global generator: a state of its own for each step, put back after it.
                with accelerator.autocast(), torch.random.fork_rng(devices=_devices(accelerator.device)):
                    torch.manual_seed(1_000_003 * run.seed + part)
                    loss = group.objective(y, x, SequentialNoise(seed=run.seed, step=part), options)
                value = float(loss.detach())
                if not math.isfinite(value):
                    _keep_batch(output / "diverged.safetensors", y, x, run, step, seconds())
                    raise DivergedError(
                        f"the loss of {group.name} is {value} at step {step}: its batch is in "
                        f"{output / 'diverged.safetensors'}; resume from the last state with a lower optimiser.rate"
                    )
                group.optimiser.zero_grad(set_to_none=True)
                accelerator.backward(loss)
                gradient = float(accelerator.clip_grad_norm_(group.parameters.values(), run.optimiser.clip))
                group.optimiser.step()
                group.average.update(group.parameters)
                gathered, count = gathered + value, count + 1
            step += 1
            now = time.monotonic()
            if step % report_every == 0 or step == run.steps:
                left = (now - began) / (step - start) * (run.steps - step)
                moment = Moment(step, run.steps, gathered / count, gradient, rate, seconds(), left)
                gathered, count = 0.0, 0
                if writer is not None and log is not None:
                    writer.writerow(
                        [moment.step, f"{moment.seconds:.1f}", f"{moment.loss:.6g}", f"{gradient:.4g}", rate]
                    )
                    log.flush()
                if report is not None and main:
                    report(moment)
            if now - saved > 60 * run.save_minutes:
                keep(step)
                saved = time.monotonic()
            if sheet is not None and main and now - drawn > 60 * run.sheet_minutes:
                averaged(lambda: sheet(stage, output / "sheet.png"))
                drawn = time.monotonic()
            if stop is not None and stop():
                break
        keep(step)
        if sheet is not None and main:
            averaged(lambda: sheet(stage, output / "sheet.png"))
    except KeyboardInterrupt:
        keep(step)
        raise
    finally:
        if log is not None:
            log.close()
    with torch.no_grad():
        for group in groups:
            for n, parameter in group.parameters.items():
                parameter.copy_(group.average.values[n])
    method.eval()
    if stage.finish is not None and step >= run.steps:
        stage.finish(_measuring(pairs, run, accelerator.device))
        if save is not None and main:
            save(output, step, seconds())
    return Trained(step, seconds(), output)


def _devices(device: torch.device) -> list[torch.device]:
    return [device] if device.type == "cuda" else []


def _measuring(pairs: Source, run: Run, device: torch.device) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield 16 batches that no step of the run uses."""
    for k in range(16):
        y, x = batch(pairs, seed=run.seed, step=run.steps + 1 + k, size=run.batch, crop=run.pictures.crop)
        yield y.to(device), x.to(device)


def _keep_batch(path: Path, y: Tensor, x: Tensor, run: Run, step: int, seconds: float) -> None:
    write_state(path, {"y": y, "x": x}, run=run, step=step, seconds=seconds)
