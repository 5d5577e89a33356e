"""The front door: a picture in, the same picture larger out, and a record of what was done."""

from __future__ import annotations

import builtins
import dataclasses
import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mezzotint import __version__, methods, weights
from mezzotint.baselines.regression import Predictor
from mezzotint.colour import NAMES as COLOURS
from mezzotint.data.jpeg_history import read_header
from mezzotint.errors import InputError, UsageError
from mezzotint.methods.mezzotint_x4 import PredictRefine
from mezzotint.methods.restorer import Restorer
from mezzotint.networks.engines import check as check_engine
from mezzotint.networks.engines import use as use_engine
from mezzotint.operators.named import NamedOperator
from mezzotint.record import Consistency, Deadline, Machine, Record, Request, libraries
from mezzotint.upscaler import choice, passes, planning
from mezzotint.upscaler.enlargers import Diffusion, Enlarger, Interpolation, Refinement, Regression, Settings
from mezzotint.upscaler.planning import Plan
from mezzotint.upscaler.restoration import AUTO, InColour, Restoration, estimated, known
from mezzotint.upscaler.samples import Coding, survey
from mezzotint.upscaler.work import Job, Moments, Rows, RowSink, Sink

__all__ = ["Interpolation", "Job", "Moments", "Result", "Sample", "Upscaler", "load", "target_size"]

Picture = np.ndarray | Tensor | str | Path
Progress = Callable[[int, int], None]

DEFAULT = choice.CLEAN
SCALE_LIMIT = 64.0
SMALLEST_TILE = 16
GUIDANCE_LIMIT = 100.0
# Larger pictures than this are refused before any work: with rows that come and go the disk is the limit, a method
# that needs the whole picture has to hold it.
PIXEL_LIMIT = 2**38
WHOLE_PIXEL_LIMIT = 2**28


@dataclass(frozen=True)
class Result:
    """One picture made larger.

    `image` has the kind of the input (numpy h w c or h w of the same dtype, torch b c H W in [0, 1]; numpy of the
    file's depth for a path); `images` and `records` hold all samples (of a batch, `records` holds one a picture).
    `floats` holds, where asked for, every sample of a single picture as h w c float32 in [0, 1] before it was rounded
    to the input's kind, without alpha. `spread` is the standard deviation over the samples times
    `Upscaler.spread_factor`, one value a pixel (h w float32, 1 = the whole range): the error to expect, where the card
    has a measured factor and not 1; None where it was not asked for.
    """

    image: Any
    images: tuple[Any, ...]
    record: Record
    records: tuple[Record, ...]
    floats: tuple[np.ndarray, ...] = ()
    spread: np.ndarray | None = None


@dataclass(frozen=True)
class Sample:
    """One sample of a picture: rows h w n of the picture's type, its record, and where asked for the colours before
    rounding, h w c float32 in [0, 1]."""

    rows: RowSink
    record: Record
    floats: np.ndarray | None = None


def load(name: str | Path = "auto", *, device: str = "auto", engine: str = "eager") -> Upscaler:
    """Return the upscaler of a shipped model, a file or folder of weights, a hub id or any name of `methods`.

    "auto" chooses for every picture between the shipped models (`mezzotint.upscaler.choice`).
    `engine`: what computes its networks, one of `mezzotint.networks.engines.NAMES`; "openvino" is for the processor.
    Raises UsageError for an unknown name (with the nearest ones), a recipe that has no weights yet or an engine that
    cannot work here, WeightsError for a damaged file.
    """
    if name == "auto":
        return _automatic(device=device, engine=engine)
    where = _device("cpu" if (device, engine) == ("auto", "openvino") else device)
    check_engine(engine, device=where.type)
    spec = methods.resolve(str(name))
    if spec.card is not None and spec.card.family == "baseline":
        run = methods.resolve_function(spec.card)()
        if isinstance(run, Predictor):
            use_engine(engine, run.networks, device=where.type)
        elif engine != "eager":
            raise UsageError(f"{spec.card.name} has no network for --engine {engine}: leave --engine out")
        baseline: Enlarger = Regression(run) if isinstance(run, Predictor) else Interpolation(run)
        return Upscaler(
            spec.card.name, baseline, local=spec.card.local, device=where, engine=engine
        )
    method, card = methods.load_with_card(str(name))
    if methods.find(card.method).family == "prior":
        place = spec.weights or name
        raise UsageError(f"{card.method} makes nothing larger, it is the prior of a solver: use --method ddnm:{place}")
    method.eval().requires_grad_(False).to(where)
    use_engine(engine, method.networks, device=where.type, gradients=method.differentiates)  # pyright: ignore
    enlarger: Enlarger
    if isinstance(method, PredictRefine):
        enlarger = Refinement(method)
    else:
        enlarger = Restoration(method) if isinstance(method, Restorer) else Diffusion(method, int(card.scale))
    return Upscaler(
        card.name,
        enlarger,
        weights=card.digest,
        # The prior of a solver may be local, the solver never is.
        local=card.local and not isinstance(enlarger, Restoration),
        steps=card.steps_default,
        realism=card.realism_default,
        consistent=card.consistent_default,
        device=where,
        card=card,
        engine=engine,
    )


def _automatic(*, device: str, engine: str) -> Upscaler:
    """The upscaler that chooses for every picture, among the weights that are in the package."""
    clean = load(choice.CLEAN, device=device, engine=engine)
    there = {entry.card.method for entry in weights.shipped() if entry.card is not None}
    twice, real = (
        load(name, device=device, engine=engine) if name in there else None for name in (choice.TWICE, choice.REAL)
    )
    reason = f"{choice.CLEAN} is the only shipped model" if twice is None and real is None else ""
    return dataclasses.replace(clean, reason=reason, twice=twice, alternative=real)


@dataclass(frozen=True)
class Upscaler:
    """Make pictures larger with one method and its defaults. Build it with `load`.

    `engine` says what computes the networks (`mezzotint.networks.engines`). Where each picture decides
    (`mezzotint.upscaler.choice`), `alternative` is the method for those with real degradations and `twice` that for
    results at most twice as large; None where nothing is open.
    """

    name: str
    enlarger: Enlarger
    weights: str = ""
    local: bool = False
    steps: int | None = None
    realism: float | None = None
    consistent: bool = False
    reason: str = ""
    device: torch.device = torch.device("cpu")
    card: Any = None
    engine: str = "eager"
    alternative: Upscaler | None = None
    twice: Upscaler | None = None

    @property
    def chooses(self) -> bool:
        """Whether each picture decides what makes it larger."""
        return self.alternative is not None or self.twice is not None

    def request(
        self,
        picture: Picture,
        *,
        scale: float | None = None,
        width: int | None = None,
        height: int | None = None,
        long_side: int | None = None,
        seed: int = 0,
        steps: int | None = None,
        samples: int = 1,
        realism: float | None = None,
        guidance: float = 1.0,
        consistent: bool | None = None,
        colour: str = "none",
        operator: str | NamedOperator | None = None,
        noise: float | str | None = None,
        tile: int | str | None = "auto",
        range: tuple[float, float] | None = None,
    ) -> Request:
        """Return the request that the first sample of a call with these arguments carries; sample k has seed + k.

        Nothing is computed; every UsageError that the call would raise is raised here.
        """
        pixels, coding, _ = _array(picture, range)
        return self.prepare(
            pixels, coding, scale=scale, width=width, height=height, long_side=long_side, seed=seed, steps=steps,
            samples=samples, realism=realism, guidance=guidance, consistent=consistent, colour=colour,
            operator=operator, noise=noise, tile=tile, file=_file(picture),
        ).request  # fmt: skip

    def prepare(
        self,
        rows: Rows,
        coding: Coding,
        *,
        scale: float | None = None,
        width: int | None = None,
        height: int | None = None,
        long_side: int | None = None,
        seed: int = 0,
        steps: int | None = None,
        samples: int = 1,
        realism: float | None = None,
        guidance: float = 1.0,
        consistent: bool | None = None,
        colour: str = "none",
        operator: str | NamedOperator | None = None,
        noise: float | str | None = None,
        tile: int | str | None = "auto",
        file: Path | None = None,
    ) -> Job:
        """Return what `enlarge` takes: every option checked, and one look at all samples `rows` (h w n).

        `operator` and `noise`, in grey levels, are what a zero-shot solver is told of how the picture was made; "auto"
        is estimated from it, and stands in the request as what was found. `file` is where the picture was read from,
        which tells "auto" the quality of a JPEG. Raises UsageError for a wrong option, InputError for samples that
        cannot be used.
        """
        settings = self._settings(
            steps=steps, realism=realism, guidance=guidance, samples=samples, tile=tile, colour=colour
        )
        h, w = int(rows.shape[0]), int(rows.shape[1])
        restores = isinstance(self.enlarger, Restoration)
        size = target_size(
            h, w, scale=scale, width=width, height=height, long_side=long_side, keeps=restores
        )
        first = _seed(seed, samples)
        self._check_told(operator, noise, consistent=self.consistent if consistent is None else consistent)
        told = estimated(rows, coding, operator, noise, size=size) if restores else None
        seen = survey(rows, coding)
        chosen, reason = self._chosen(rows, coding, size=size, consistent=consistent, file=file)
        if chosen is not self:
            settings = chosen._settings(
                steps=steps, realism=realism, guidance=guidance, samples=samples, tile=tile, colour=colour
            )
        consistent = chosen.consistent if consistent is None else consistent
        settings = dataclasses.replace(settings, known=told)
        chain = chosen._chain(h, w, size, consistent=consistent)
        if isinstance(self.enlarger, Restoration):
            rows, coding = self._coloured(rows, coding, settings, size=size)
        request = Request(
            version=__version__,
            method=chosen.name,
            weights=chosen.weights,
            picture=f"{seen.number:016x}",
            input_size=(h, w),
            channels=int(rows.shape[2]),
            output_size=size,
            chain=chain,
            seed=first,
            steps=settings.steps,
            realism=settings.realism,
            consistent=consistent,
            guidance=settings.guidance,
            colour=colour,
            coding=coding.describe(),
            **({} if told is None else {"operator": told.name, "operator_sha256": told.sha256, "noise": told.noise}),
        )
        return Job(rows, coding, seen, request, settings, samples, reason, chosen.spread_factor(settings.realism))

    @torch.no_grad()
    def enlarge(
        self,
        job: Job,
        *,
        sink: Sink,
        floats: bool = False,
        which: Sequence[int] | None = None,
        progress: Progress | None = None,
    ) -> Iterator[Sample]:
        """Do a job row by row and give one sample after the other: memory grows with the width of the picture, not
        with its height.

        `sink(shape, dtype)` makes what each is written to, rows h w n. `floats`: keep the colours before rounding.
        `which`: the numbers of the samples that are wanted, all if left out.
        `progress(done, all)` is called now and then.
        """
        chosen = self._of(job)
        each = passes.calls(job.request, coding=job.coding, enlarger=chosen.enlarger, settings=job.settings)
        numbers = range(job.samples) if which is None else which
        total, done = max(1, each) * len(numbers), 0

        def tell() -> None:
            nonlocal done
            done += 1
            if progress is not None:
                progress(min(done, total), total)

        for k in numbers:
            request = job.request.model_copy(update={"seed": job.request.seed + k})
            yield chosen._sample(job, request, sink=sink, floats=floats, tell=tell)
            if not each:
                tell()

    def _sample(self, job: Job, request: Request, *, sink: Sink, floats: bool, tell: Callable[[], None]) -> Sample:
        began, clock = time.perf_counter(), passes.Clock()
        size = request.output_size
        work = passes.prepare(
            lambda start, stop: job.coding.decode(job.rows[start:stop]), coding=job.coding, survey=job.survey,
            request=request, enlarger=self.enlarger, settings=job.settings, device=self.device, clock=clock,
            callback=tell, floats=floats, hold=sink,
        )  # fmt: skip
        out = sink((*size, int(job.rows.shape[2])), job.coding.dtype)
        whole = np.empty((*size, job.coding.groups[0].stop), np.float32) if floats else None
        for start, stop in work.bands():
            rows = work.rows.take(start, stop, keep=stop)
            with clock.part("writing"):
                out[start:stop] = job.coding.encode(rows)
            if whole is not None and work.floats is not None:
                exact = work.floats.take(start, stop, keep=stop)
                whole[start:stop] = exact[0].permute(1, 2, 0).cpu().numpy()
        record = Record(
            request=request,
            libraries=libraries(engine=self.engine),
            reason=job.reason,
            adapted=self._adapted(job, request),
            evaluations=self.enlarger.evaluations(job.settings)
            * passes.passes(request, self.enlarger)
            * len(job.coding.groups),
            tile=self.enlarger.layout(*request.input_size, settings=job.settings).tile,
            seconds=round(time.perf_counter() - began, 3),
            consistency=work.certificate(),
            recipe=self.name if self.card is None else self.card.method,
            sizes=passes.sizes(request, self.enlarger),
            timings={name: round(value, 3) for name, value in clock.seconds.items()},
            machine=Machine.here(device=str(self.device), engine=self.engine),
        )
        return Sample(out, record, whole)

    @torch.no_grad()
    def in_file(self, job: Job, consistency: Consistency, rows: Rows) -> Consistency:
        """Return the certificate with the figures of a file that changed the samples: `rows` h w n as it holds them,
        in a type of `Coding`, with alpha where the job has it; grey may have become three equal channels."""
        found = passes.deviation_of(
            rows, job.rows, coding=job.coding, survey=job.survey, request=job.request,
            enlarger=self._of(job).enlarger, settings=job.settings,
        )  # fmt: skip
        return consistency.model_copy(update={"saved_rms": round(found.rms, 6), "saved_max": round(found.largest, 6)})

    def plan(self, job: Job) -> Plan:
        """Return what a job will take, after timing a small part of it."""
        return planning.plan(job, enlarger=self._of(job).enlarger, device=self.device)

    def within(self, job: Job, seconds: float, *, spent: float = 0.0) -> tuple[Job, Deadline]:
        """Return the job with as many of its steps as `seconds`, of which `spent` are over, allow, and what was chosen.

        Raises UsageError for seconds that are not positive.
        """
        return planning.within(job, seconds, enlarger=self._of(job).enlarger, device=self.device, spent=spent)

    def __call__(
        self,
        picture: Picture,
        *,
        scale: float | None = None,
        width: int | None = None,
        height: int | None = None,
        long_side: int | None = None,
        seed: int = 0,
        steps: int | None = None,
        samples: int = 1,
        realism: float | None = None,
        guidance: float = 1.0,
        consistent: bool | None = None,
        colour: str = "none",
        operator: str | NamedOperator | None = None,
        noise: float | str | None = None,
        tile: int | str | None = "auto",
        range: tuple[float, float] | None = None,
        spread: bool = False,
        floats: bool = False,
        progress: Progress | None = None,
    ) -> Result:
        """Make `picture` larger: numpy h w (c) uint8, uint16 or float, torch (b) c h w in [0, 1], or a path.

        c is 1 or 3, or 2 or 4 with alpha last. One of `scale` (default 4; 1 < scale <= 64), `width`, `height`,
        `long_side` names the size. Sample k uses seed + k. `guidance` is the survey's lambda, how strongly a method
        that was trained for it obeys the picture: 1 as trained, more is more. `colour` "mean-std" or "wavelet" gives
        the result the colours of the picture (`mezzotint.colour`). `operator` and `noise` tell a zero-shot solver how
        the picture was made: a name of `operators.named` ("bicubic" unless given), and a standard deviation in grey
        levels, or "auto" to estimate them; a scale of 1 is for them. Every picture of a torch batch gets the noise of
        its own pixels, so it comes out as it does alone. A float picture lies in [0, 1] unless `range` names the
        values that are black and white. Raises UsageError for a wrong option, InputError for a picture that cannot be
        used.
        """
        if isinstance(picture, Tensor) and picture.ndim == 4:
            if len(picture) == 0:
                raise InputError("the batch holds no picture")
            alone = [
                self(
                    one, scale=scale, width=width, height=height, long_side=long_side, seed=seed, steps=steps,
                    samples=samples, realism=realism, guidance=guidance, consistent=consistent, colour=colour,
                    operator=operator, noise=noise, tile=tile, range=range, progress=progress,
                )
                for one in picture
            ]  # fmt: skip
            images = tuple(torch.stack([part.images[k] for part in alone]) for k in builtins.range(samples))
            return Result(images[0], images, alone[0].record, tuple(part.record for part in alone))
        pixels, coding, finish = _array(picture, range)
        job = self.prepare(
            pixels, coding, scale=scale, width=width, height=height, long_side=long_side, seed=seed, steps=steps,
            samples=samples, realism=realism, guidance=guidance, consistent=consistent, colour=colour,
            operator=operator, noise=noise, tile=tile, file=_file(picture),
        )  # fmt: skip
        moments = Moments(job, np.empty) if spread and samples > 1 else None
        made: list[Any] = []
        records: list[Record] = []
        exact: list[np.ndarray] = []
        for sample in self.enlarge(job, sink=np.empty, floats=floats, progress=progress):
            if moments is not None:
                moments.add(sample.rows)
            made.append(finish(np.asarray(sample.rows)))
            records.append(sample.record)
            exact += [] if sample.floats is None else [sample.floats]
        deviation = None if moments is None else np.asarray(moments.deviation())[..., 0]
        return Result(made[0], tuple(made), records[0], tuple(records), tuple(exact), deviation)

    # -- the method ---------------------------------------------------------------------------------------------------

    def spread_factor(self, realism: float | None) -> float:
        """What makes of the deviation between samples at that realism the error to expect of their mean.

        That of the card is for realism 1; with less, samples lie nearer to each other and err about as much.
        """
        factor = 1.0 if self.card is None else float(self.card.spread_factor)
        return factor / realism if realism else factor

    def _chosen(
        self, rows: Rows, coding: Coding, *, size: tuple[int, int], consistent: bool | None, file: Path | None
    ) -> tuple[Upscaler, str]:
        """Return what makes this picture larger, to (height, width) `size`, and in words why."""
        if not self.chooses:
            return self, self.reason
        h, w = int(rows.shape[0]), int(rows.shape[1])
        clean, larger = self, ""
        reach = 1 if self.twice is None else self.twice.enlarger.scale or 1
        if self.twice is not None and size[0] <= reach * h and size[1] <= reach * w:
            clean, larger = self.twice, ", at most twice as large"
        if self.alternative is None:
            return clean, f"auto: {larger[2:] or 'more than twice as large'}"
        if consistent:
            return clean, f"auto: --consistent keeps what the picture holds{larger}"
        if size[0] > h * choice.LARGEST_SCALE or size[1] > w * choice.LARGEST_SCALE:
            return clean, f"auto: more than {choice.LARGEST_SCALE} times larger"
        header = None if file is None else read_header(file)
        figures = choice.measure(rows, coding, quality=None if header is None else header.quality)
        if figures is None:
            return clean, f"auto: {w}x{h} pixels say too little of the picture's making{larger}"
        signs = choice.signs(figures)
        if signs:
            return self.alternative, f"auto: {', '.join(signs)}"
        return clean, f"auto: {choice.describe_clean(figures)}{larger}"

    def _of(self, job: Job) -> Upscaler:
        """What was chosen for a job."""
        others = (other for other in (self.alternative, self.twice) if other is not None)
        return next((other for other in others if other.name == job.request.method), self)

    # -- options ----------------------------------------------------------------------------------------------------

    def _check_told(
        self, operator: str | NamedOperator | None, noise: float | str | None, *, consistent: bool
    ) -> None:
        """Raise UsageError where something is said of the picture that this method does not take."""
        if isinstance(self.enlarger, Restoration):
            if consistent and noise:
                level = f"{noise:g} grey levels" if isinstance(noise, float | int) else "the picture"
                raise UsageError(f"--consistent would bring the noise of {level} into the result: leave one out")
            return
        for option, value in (("operator", operator), ("noise", noise)):
            if value is not None:
                raise UsageError(
                    f"{self.name} takes no --{option}, which is for the zero-shot solvers: leave it out, or use for "
                    "example --method ddnm:FOLDER with the folder of a prior"
                )

    def _coloured(
        self, rows: Rows, coding: Coding, settings: Settings, *, size: tuple[int, int]
    ) -> tuple[Rows, Coding]:
        """The rows to work on: of a grey picture that is to be coloured, three equal channels. Raises UsageError for
        what the solver and its prior cannot do with such a picture."""
        enlarger, small = self.enlarger, (int(rows.shape[0]), int(rows.shape[1]))
        assert isinstance(enlarger, Restoration)
        grey = enlarger.bound(settings, small, size).mixes_channels
        if grey and coding.space == "cmyk":
            raise UsageError("a CMYK picture has no grey to be coloured: convert it to RGB first")
        if grey and coding.space == "grey" and enlarger.method.channels == 3:
            rows, coding = InColour(rows, coding), dataclasses.replace(coding, space="rgb")
        for group in coding.groups:
            enlarger.check(settings, channels=group.stop - group.start, small=small, size=size)
        return rows, coding

    def trial(self, operator: str | None, scale: float) -> np.ndarray:
        """A picture h w c without content that this method could be asked to enlarge by `scale`, to check options with.

        Raises UsageError for an operator that is unknown or has another scale.
        """
        if not isinstance(self.enlarger, Restoration):
            return np.zeros((16, 16, 3), dtype=np.uint8)
        side = 16 * max(1, round(scale)) if scale == round(scale) else 16
        told = known(None if operator == AUTO else operator, None, small=(16, 16), size=(side, side)).operator
        h, w = (16, 16) if told.size is None else told.size_out(told.size)
        return np.zeros((h, w, min(3, self.enlarger.method.channels)), dtype=np.uint8)

    def _chain(self, h: int, w: int, size: tuple[int, int], *, consistent: bool) -> tuple[str, ...]:
        m = self.enlarger.scale
        chain, reached = [self.name], m or 1
        if m is not None:
            while h * reached < size[0] or w * reached < size[1]:
                chain.append(self.name)
                reached *= m
            if (h * reached, w * reached) != size:
                chain.append(f"bicubic to {size[0]}x{size[1]}")
        elif consistent and (size[0] % h or size[1] % w or size[0] // h != size[1] // w):
            raise UsageError(
                f"--consistent needs a whole scale, {size[0]}x{size[1]} is none of {h}x{w}: use --no-consistent"
            )
        limit = PIXEL_LIMIT if self.enlarger.streams else WHOLE_PIXEL_LIMIT
        pixels = max(h * w * reached**2, size[0] * size[1])
        if pixels > limit:
            raise UsageError(
                f"{self.name} would make {pixels:,} pixels on the way, its limit is {limit:,}: use a smaller --scale"
                + ("" if self.enlarger.streams else f", or --method {DEFAULT}, which works row by row")
            )
        return tuple(chain)

    def _adapted(self, job: Job, request: Request) -> tuple[str, ...]:
        adapted = []
        plain = isinstance(self.enlarger, Interpolation)
        if job.coding.space == "grey" and not plain:
            adapted.append("grey: worked on as three equal channels, their mean kept")
        if isinstance(job.rows, InColour):
            adapted.append("grey: coloured, the result has three channels and no profile of its grey")
        if job.coding.space == "cmyk" and not plain:
            adapted.append("CMYK: inverted C, M and Y worked on as one picture, K as another")
        if job.coding.linear:
            adapted.append("linear light: worked on in the transfer function of sRGB, written in linear light")
        if (job.coding.low, job.coding.high) != (0.0, 1.0):
            adapted.append(f"range: {job.coding.low:g} to {job.coding.high:g} worked on as 0 to 1")
        if job.survey.is_transparent():
            adapted.append("transparency: colours bled under it for the method, the input's own kept where alpha is 0")
        if job.survey.alpha is not None and not job.survey.constant_alpha():
            adapted.append("alpha: enlarged by bicubic interpolation, clipped")
        adapted += job.estimates
        if len(request.chain) > 1:
            adapted.append("size: " + ", then ".join(request.chain))
        return tuple(adapted)

    def _settings(
        self,
        *,
        steps: int | None,
        realism: float | None,
        guidance: float,
        samples: int,
        tile: int | str | None,
        colour: str,
    ) -> Settings:
        if isinstance(self.enlarger, Interpolation | Regression) and steps is not None:
            raise UsageError(f"{self.name} takes no steps: leave --steps out")
        if steps is not None and (isinstance(steps, bool) or int(steps) != steps or not 1 <= steps <= 4000):
            raise UsageError(f"steps {steps} is not a whole number from 1 to 4000")
        if realism is not None and self.realism is None:
            raise UsageError(f"{self.name} has no realism: leave --realism out, or use --method {DEFAULT}")
        if realism is not None and not 0 <= realism <= 1:
            raise UsageError(f"realism {realism:g} lies outside 0 (the mean) to 1 (a sample)")
        if isinstance(samples, bool) or int(samples) != samples or not 1 <= samples <= 1000:
            raise UsageError(f"samples {samples} is not a whole number from 1 to 1000")
        if colour not in COLOURS:
            raise UsageError(f"colour {colour!r} is unknown: use one of {', '.join(COLOURS)}")
        return Settings(
            steps=self.steps if steps is None else int(steps),
            realism=self.realism if realism is None else float(realism),
            tile=self._tile(tile),
            guidance=self._guidance(guidance),
        )

    def _guidance(self, strength: float) -> float:
        if isinstance(strength, bool) or not 0 <= strength <= GUIDANCE_LIMIT:
            raise UsageError(f"guidance {strength:g} lies outside 0 to {GUIDANCE_LIMIT:g}: 1 is as trained")
        if isinstance(self.enlarger, Diffusion):
            self.enlarger.check_guidance(strength)
        elif strength != 1:
            raise UsageError(f"{self.name} has no guidance: leave --guidance out, or use a method trained for it")
        return float(strength)

    def _tile(self, tile: int | str | None) -> int | str | None:
        if tile is None or tile == "none":
            return None
        if tile == "auto":
            return "auto"
        if isinstance(tile, str | bool) or int(tile) != tile:
            raise UsageError(
                f"tile {tile!r} is no number of pixels: use --tile {SMALLEST_TILE} or larger, auto or none"
            )
        if tile < SMALLEST_TILE:
            raise UsageError(
                f"tile {tile} is smaller than the smallest, {SMALLEST_TILE} input pixels: "
                f"use --tile {SMALLEST_TILE} or larger, or --tile auto"
            )
        if not self.local:
            raise UsageError(f"{self.name} is not local, tiles would show: use --tile auto or none")
        return int(tile)


def target_size(
    h: int,
    w: int,
    *,
    scale: float | None = None,
    width: int | None = None,
    height: int | None = None,
    long_side: int | None = None,
    keeps: bool = False,
) -> tuple[int, int]:
    """Return (height, width) of the result; raises UsageError for a scale or size that cannot be meant.

    `keeps`: the size may stay as it is, as of a picture that is inpainted.
    """
    named = {"scale": scale, "width": width, "height": height, "long-side": long_side}
    given = [name for name, value in named.items() if value is not None]
    if len(given) > 1:
        raise UsageError(f"--{given[0]} and --{given[1]} both name the size: use one of them")
    if scale is None and not given:
        scale = 4.0
    if scale is not None:
        allowed = 1 < scale <= SCALE_LIMIT or (keeps and scale == 1)
        if isinstance(scale, bool) or not math.isfinite(scale) or not allowed:
            raise UsageError(
                f"scale {scale:g} cannot be used: it must be above 1 and at most {SCALE_LIMIT:g}"
                " (mezzotint degrade makes pictures smaller)"
            )
        size = (_round(h * scale), _round(w * scale))
    else:
        value = named[given[0]]
        assert value is not None
        if isinstance(value, bool) or int(value) != value or value < 1:
            raise UsageError(f"{given[0]} {value} is not a whole number of pixels from 1")
        reference = {"width": w, "height": h, "long-side": max(h, w)}[given[0]]
        factor = value / reference
        if not (1 < factor <= SCALE_LIMIT or (keeps and factor == 1)):
            raise UsageError(
                f"{given[0]} {value} is {factor:.3g} times the input's {reference}: "
                f"it must be above 1 time and at most {SCALE_LIMIT:g} times"
            )
        size = (_round(h * factor), _round(w * factor))
    if size[0] * size[1] > PIXEL_LIMIT:
        raise UsageError(f"a result of {size[0]}x{size[1]} pixels is above the limit of {PIXEL_LIMIT} in all")
    return size


def _round(value: float) -> int:
    return max(1, math.floor(value + 0.5))


def _seed(seed: int, samples: int) -> int:
    if isinstance(seed, bool) or int(seed) != seed or not 0 <= seed < 2**64 - samples:
        raise UsageError(f"seed {seed} is not a whole number from 0 to 2^64 - 1")
    return int(seed)


def _device(name: str) -> torch.device:
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if name == "cuda" and not torch.cuda.is_available():
        raise UsageError("device cuda is not available here: use --device cpu or auto")
    if name == "mps" and not torch.backends.mps.is_available():
        raise UsageError("device mps is not available here: use --device cpu or auto")
    try:
        return torch.device(name)
    except RuntimeError:
        raise UsageError(f"device {name!r} is unknown: use auto, cpu, cuda or mps") from None


def _file(picture: Picture) -> Path | None:
    return Path(picture) if isinstance(picture, str | Path) else None


def _array(
    picture: Picture, bounds: tuple[float, float] | None
) -> tuple[np.ndarray, Coding, Callable[[np.ndarray], Any]]:
    """Return the samples as h w n, what they stand for, and how to give results back in the kind of the input.

    Raises InputError for what is no picture.
    """
    if isinstance(picture, str | Path):
        from mezzotint import images

        read = images.read(Path(picture))
        coding = Coding.of(read.dtype, read.space, alpha=read.alpha, linear=read.linear, range=bounds)
        return np.asarray(read.rows[0 : read.height]), coding, lambda rows: rows
    if isinstance(picture, Tensor):
        if picture.ndim != 3 or not picture.is_floating_point():
            raise InputError(
                f"a torch picture is float b c h w or c h w in [0, 1], not {picture.dtype} {tuple(picture.shape)}"
            )
        pixels = picture.detach().cpu().float().permute(1, 2, 0).numpy()
    elif isinstance(picture, np.ndarray):
        pixels = picture[:, :, None] if picture.ndim == 2 else picture
    else:
        raise InputError(f"a picture is a numpy array, a torch tensor or a path, not {type(picture).__name__}")
    if pixels.ndim != 3 or pixels.shape[2] not in (1, 2, 3, 4) or 0 in pixels.shape:
        raise InputError(
            f"a picture of shape {pixels.shape} cannot be used: h w c with 1 or 3 channels is needed, 2 or 4 with alpha"
        )
    kind = pixels.dtype
    if kind not in (np.uint8, np.uint16):
        if not np.issubdtype(kind, np.floating):
            raise InputError(f"a picture of {kind} cannot be used: uint8, uint16 or float in [0, 1] is needed")
        pixels = pixels.astype(np.float32)
    space = "grey" if pixels.shape[2] < 3 else "rgb"
    coding = Coding.of(pixels.dtype, space, alpha=pixels.shape[2] in (2, 4), range=bounds)
    if isinstance(picture, Tensor):
        return pixels, coding, lambda rows: torch.from_numpy(rows).permute(2, 0, 1).contiguous()
    return pixels, coding, lambda rows: rows.astype(kind, copy=False)
