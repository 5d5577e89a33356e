"""One sample of one picture as a chain of stages: passes of an enlarger, corrections, the exact size, measurements."""

from __future__ import annotations

import dataclasses
import functools
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from mezzotint.colour import REACH as COLOUR_REACH
from mezzotint.colour import Moments, match_low_frequencies, moved
from mezzotint.images import bands
from mezzotint.images.alpha import REACH, bleed
from mezzotint.images.spool import MEMORY_LIMIT
from mezzotint.noise import Noise
from mezzotint.operators.bicubic import MARGIN, REDUCTION_MARGIN, BicubicDown
from mezzotint.record import Consistency, Request
from mezzotint.upscaler.enlargers import Enlarger, Settings
from mezzotint.upscaler.restoration import Restoration
from mezzotint.upscaler.samples import Coding, Survey
from mezzotint.upscaler.work import Rows, RowSink, Sink

ROUNDS = 4
"""How often the correction and the clip to [0, 1] alternate at most."""

_RELAXATION = 1.6
"""By how much the rounds after the first correct more than is missing: they converge about twice as fast."""

# A round leaves out rows from which nothing is missing by more than this, a fortieth of a grey level.
_MISSING = 1e-4
# Input rows that a round works on at a time: fewer read more rows twice, more are held between rounds, which is
# to stay below so many bytes.
_ROUND_ROWS, _FEWEST_ROWS, _ROUND_MEMORY = 64, 16, 384 << 20
_READ_ROWS = 256


class Clock:
    """Seconds spent in named parts of the work; a part within another counts for itself alone."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._open: list[str] = []
        self._since = time.perf_counter()

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        self._pass()
        self._open.append(name)
        try:
            yield
        finally:
            self._pass()
            self._open.pop()

    def stage(self, stage: bands.Stage, name: str) -> bands.Stage:
        """The same stage, whose computation counts as `name`."""
        compute = stage.compute

        def timed(start: int, stop: int) -> tuple[Tensor, ...]:
            with self.part(name):
                return compute(start, stop)

        stage.compute = timed
        return stage

    def _pass(self) -> None:
        now = time.perf_counter()
        if self._open:
            self.seconds[self._open[-1]] = self.seconds.get(self._open[-1], 0.0) + now - self._since
        self._since = now


@dataclass
class Deviation:
    """Root mean square and largest absolute difference, in grey levels of 255, added up over parts."""

    squares: float = 0.0
    count: int = 0
    largest: float = 0.0

    def add(self, difference: Tensor) -> None:
        if not difference.numel():
            return
        levels = difference.double() * 255
        self.squares += float(levels.square().sum())
        self.count += levels.numel()
        self.largest = max(self.largest, float(levels.abs().max()))

    @property
    def rms(self) -> float:
        return (self.squares / max(1, self.count)) ** 0.5


@dataclass
class _Measure:
    """Rows of a result made small again against those of the small picture, as they become known; or, without
    `small`, rows of their difference."""

    reduced: bands.Reader
    small: bands.Reader | None
    deviation: Deviation

    def advance(self, stop: int) -> None:
        start = self.reduced.position
        if stop > start:
            rows = self.reduced.take(start, stop, keep=stop)
            self.deviation.add(rows if self.small is None else rows - self.small.take(start, stop, keep=stop))


@dataclass
class Work:
    """One sample of one picture, ready to be read row by row from `rows`: (1, n, rows, W), n channels with alpha.

    Values are those that the file will hold, in [0, 1] (see `Coding.levels`). `certificate` is complete when all rows
    were read and `finish` was called.
    """

    rows: bands.Reader
    floats: bands.Reader | None
    height: int
    band: int
    operator: str
    measures: list[_Measure] = field(default_factory=list)
    kinds: dict[str, Deviation] = field(default_factory=dict)
    small_height: int = 1

    def bands(self) -> Iterator[tuple[int, int]]:
        """(first, one past the last) row of each band, in order; what is measured keeps up with them."""
        for start in range(0, self.height, self.band):
            stop = min(self.height, start + self.band)
            yield start, stop
            # A few rows behind, so that measuring asks for no rows that are not made yet.
            seen = self.small_height if stop == self.height else stop * self.small_height // self.height - 4
            for measure in self.measures:
                measure.advance(seen)

    def certificate(self) -> Consistency:
        before = self.kinds.get("before", self.kinds["after"])
        figures: dict[str, float] = {}
        for name, deviation in (("before", before), ("after", self.kinds["after"]), ("saved", self.kinds["saved"])):
            figures |= {
                f"{name}_rms": round(deviation.rms, 6),
                f"{name}_max": round(deviation.largest, 6),
            }
        return Consistency(operator=self.operator, **figures)


def prepare(
    read: Callable[[int, int], Tensor],
    *,
    coding: Coding,
    survey: Survey,
    request: Request,
    enlarger: Enlarger,
    settings: Settings,
    device: torch.device,
    clock: Clock,
    callback: Callable[[], None],
    floats: bool = False,
    hold: Sink = np.empty,
) -> Work:
    """Chain the stages of one sample; nothing is computed before the first row is read.

    `read(start, stop)`: rows of the small picture, (1, n, rows, w) in [0, 1] with alpha last. `callback` is called
    `calls(...)` times while rows are read. `floats`: a second reader of the colours before they were rounded. `hold`
    makes what a whole picture waits in, h w n float32, until its colours are known (colour "mean-std").
    """
    h, w = request.input_size
    band = enlarger.layout(h, w, settings=settings).band
    source = bands.Stage(lambda start, stop: (read(start, stop).to(device),), height=h, band=min(band, _READ_ROWS))
    clock.stage(source, "reading")
    c = coding.channels
    visible = source
    if survey.is_transparent():

        def bled(window: Tensor, /, *, origin: tuple[int, int]) -> Tensor:
            return bleed(window[:, :c], window[:, c:])

        visible = bands.local(bled, source, width=w, halo=REACH, scale=1, band=source.band)
    kinds = {"after": Deviation(), "saved": Deviation()}
    measures: list[_Measure] = []
    groups, operator = [], ""
    for number, channels in enumerate(coding.groups):
        x = bands.mapped(visible, lambda rows, channels=channels: rows[:, channels])
        y, before, operator = _passes(
            x, channels=channels.stop - channels.start, group=number, request=request, enlarger=enlarger,
            settings=settings, clock=clock, callback=callback, hold=hold,
        )  # fmt: skip
        final = bands.mapped(y, lambda rows: rows.clamp(0, 1))
        saved = bands.mapped(final, coding.levels)
        groups.append((final, saved))
        if before is not None:
            measures.append(_Measure(before.reader(), None, kinds.setdefault("before", Deviation())))
        if isinstance(enlarger, Restoration):
            told = settings.known
            assert told is not None
            operator = told.name if told.operator.scale == 1 else f"{told.name} 1/{told.operator.scale:g}"
            of_large, of_small = enlarger.observed(settings, small=(h, w), size=request.output_size)
            for kind, stage in (("after", final), ("saved", saved)):
                reduced = clock.stage(_at_once(stage, of_large, height=h), "measuring")
                measures.append(_Measure(reduced.reader(), _at_once(x, of_small, height=h).reader(), kinds[kind]))
            continue
        for kind, stage in (("after", final), ("saved", saved)):
            reduced = clock.stage(_reduced(stage, size=request.output_size, small=(h, w)), "measuring")
            measures.append(_Measure(reduced.reader(), x.reader(), kinds[kind]))
    rows = _joined(
        [saved for _, saved in groups], source, coding=coding, survey=survey, shape=(h, w), size=request.output_size
    )
    return Work(
        rows=rows.reader(),
        floats=bands.regrouped(groups[0][0], rows=1, band=rows.band).reader() if floats else None,
        height=request.output_size[0],
        band=rows.band,
        operator=operator or "MATLAB bicubic to the input's size",
        measures=measures,
        kinds=kinds,
        small_height=h,
    )


def calls(request: Request, *, coding: Coding, enlarger: Enlarger, settings: Settings) -> int:
    """How often `prepare` will call back."""
    h, w = request.input_size
    total = 0
    for _ in range(passes(request, enlarger)):
        total += enlarger.calls(h, settings=settings, layout=enlarger.layout(h, w, settings=settings))
        h, w = h * (enlarger.scale or 1), w * (enlarger.scale or 1)
    return total * len(coding.groups)


def passes(request: Request, enlarger: Enlarger) -> int:
    """How often the enlarger runs."""
    return sum(not step.startswith("bicubic to") for step in request.chain) if enlarger.scale else 1


def sizes(request: Request, enlarger: Enlarger) -> tuple[tuple[int, int], ...]:
    """The size (height, width) that each link of the chain reaches."""
    h, w = request.input_size
    m = enlarger.scale
    reached = [] if m is None else [(h * m**k, w * m**k) for k in range(1, passes(request, enlarger) + 1)]
    return tuple([*reached, request.output_size][: len(request.chain)])


def _passes(
    x: bands.Stage,
    *,
    channels: int,
    group: int,
    request: Request,
    enlarger: Enlarger,
    settings: Settings,
    clock: Clock,
    callback: Callable[[], None],
    hold: Sink,
) -> tuple[bands.Stage, bands.Stage | None, str]:
    """The result at the exact size; what was missing before its correction, x - A y, where that has the size of the
    result; the operator."""
    size, m = request.output_size, enlarger.scale
    h, w = request.input_size
    before, operator = None, ""
    y = x
    for index in range(passes(request, enlarger)):
        goal = size if m is None else (h * m, w * m)
        layout = enlarger.layout(h, w, settings=settings)
        # A second pass, or a second group of channels, must not reuse the first one's field.
        noise = Noise(request.seed, pictures=((int(request.picture, 16) + index + 64 * group) % 2**64,))
        small = bands.regrouped(y, rows=1, band=layout.band) if index else y
        large = enlarger.stream(
            small, channels=channels, width=w, size=goal, noise=noise, settings=settings, layout=layout,
            callback=callback,
        )  # fmt: skip
        clock.stage(large, "network")
        if request.colour != "none":
            match = _moved if request.colour == "mean-std" else _recoloured
            large = match(large, small, width=w, size=goal, channels=channels, clock=clock, hold=hold)
        y = bands.mapped(large, lambda rows: rows.clamp(0, 1))
        if request.consistent and isinstance(enlarger, Restoration):
            y, before = _fitted(y, small, enlarger=enlarger, settings=settings, width=w, size=goal, clock=clock)
        elif request.consistent:
            scale = goal[0] // h
            down = BicubicDown(scale=scale, height=goal[0], width=goal[1])
            operator = f"MATLAB bicubic 1/{scale}"
            cells = bands.regrouped(y, rows=scale, band=min(layout.band, _round_rows(goal, h)))
            y, missing = _consistent(cells, small, down=down, clock=clock)
            before = missing if index == 0 and goal == size else before
        h, w = goal
    if (h, w) != size:
        ratio = max(1.0, size[0] / h)
        y = bands.resized(y, width=w, size=size, band=max(1, round(y.band * y.scales[0] * ratio)))
    return y, before, operator


def _recoloured(
    y: bands.Stage, x: bands.Stage, *, width: int, size: tuple[int, int], channels: int, clock: Clock, hold: Sink
) -> bands.Stage:
    """y of (height, width) `size` with the low frequencies of x, `width` pixels wide; see `mezzotint.colour`."""
    own, wanted = _large_pair(y, x, width=width, size=size)

    def beside(start: int, stop: int) -> tuple[Tensor, ...]:
        return (torch.cat([reader.take(start, stop, keep=stop) for reader in (own, wanted)], dim=1),)

    def match(window: Tensor, /, *, origin: tuple[int, int]) -> Tensor:
        return match_low_frequencies(window[:, :channels], window[:, channels:])

    both = bands.Stage(beside, height=size[0], band=own.stage.band)
    return clock.stage(
        bands.local(match, both, width=size[1], halo=COLOUR_REACH, scale=1, band=both.band), "colour"
    )


def _moved(
    y: bands.Stage, x: bands.Stage, *, width: int, size: tuple[int, int], channels: int, clock: Clock, hold: Sink
) -> bands.Stage:
    """y of (height, width) `size` with the mean and deviation of x, enlarged; see `mezzotint.colour`.

    The moments are those of the whole picture, so all of y is made, and kept in what `hold` makes, before its first row
    is given; meanwhile the rows of x wait for their other readers in memory.
    """
    own, wanted = _large_pair(y, x, width=width, size=size)
    band = own.stage.band

    @functools.cache
    def look() -> tuple[RowSink, Moments, Moments]:
        held = hold((*size, channels), np.dtype(np.float32))
        before, after = [], []
        for start in range(0, size[0], band):
            stop = min(size[0], start + band)
            rows = own.take(start, stop, keep=stop)
            before.append(Moments.of(rows))
            after.append(Moments.of(wanted.take(start, stop, keep=stop)))
            held[start:stop] = rows[0].permute(1, 2, 0).cpu().numpy()
        return held, sum(before[1:], before[0]), sum(after[1:], after[0])

    def compute(start: int, stop: int) -> tuple[Tensor, ...]:
        held, before, after = look()
        rows = torch.from_numpy(np.ascontiguousarray(held[start:stop])).permute(2, 0, 1)[None]
        return (moved(rows.to(before.mean.device), before, after),)

    return clock.stage(bands.Stage(compute, height=size[0], band=band), "colour")


def _large_pair(
    y: bands.Stage, x: bands.Stage, *, width: int, size: tuple[int, int]
) -> tuple[bands.Reader, bands.Reader]:
    """Readers of y and of x enlarged to its size, row by row."""
    band = min(size[0], max(1, y.band * y.scales[0]))
    return bands.regrouped(y, rows=1, band=band).reader(), bands.resized(x, width=width, size=size, band=band).reader()


def _consistent(
    y: bands.Stage, x: bands.Stage, *, down: BicubicDown, clock: Clock
) -> tuple[bands.Stage, bands.Stage]:
    """The picture in [0, 1] near y that shrinks to x, and what was missing from y, x - A y.

    The correction alone, y + A^+ (x - A y), leaves [0, 1] beside saturated areas and the clip undoes it there, so the
    two alternate (projections onto convex sets, relaxed); where nothing overshoots the first round is exact and the
    others are left out.
    """
    first = None
    for index in range(ROUNDS):
        missing = clock.stage(_missing(y, x, down=down), "consistency")
        first = first or missing
        weight = 1.0 if index == 0 else _RELAXATION
        y = clock.stage(_corrected(y, missing, down=down, weight=weight), "consistency")
    assert first is not None
    return y, first


def _fitted(
    y: bands.Stage, x: bands.Stage, *, enlarger: Restoration, settings: Settings, width: int, size: tuple[int, int],
    clock: Clock,
) -> tuple[bands.Stage, bands.Stage]:  # fmt: skip
    """As `_consistent`, by the operator that a solver was told: what it found fits until it is clipped to [0, 1]."""
    small = (x.height, width)
    of_large, of_small = enlarger.observed(settings, small=small, size=size)
    back = enlarger.bound(settings, small, size).pinv
    # Two readers of each: what is missing is measured before it is put in.
    first, second = (y.reader(), x.reader()), (y.reader(), x.reader())

    def whole(readers: tuple[bands.Reader, bands.Reader]) -> tuple[Tensor, Tensor]:
        rows, near = (readers[0].take(0, size[0], keep=size[0]), readers[1].take(0, x.height, keep=x.height))
        return rows, of_small(near)

    def missing(start: int, stop: int) -> tuple[Tensor, ...]:
        rows, seen = whole(first)
        return (seen - of_large(rows),)

    def corrected(start: int, stop: int) -> tuple[Tensor, ...]:
        rows, seen = whole(second)
        for index in range(ROUNDS):
            residual = seen - of_large(rows)
            if float(residual.abs().max()) < _MISSING:
                break
            rows = torch.add(rows, back(residual), alpha=1.0 if index == 0 else _RELAXATION).clamp_(0, 1)
        return (rows,)

    return (
        clock.stage(bands.Stage(corrected, height=size[0], band=size[0]), "consistency"),
        clock.stage(bands.Stage(missing, height=x.height, band=x.height), "consistency"),
    )


def consistency_memory(size: tuple[int, int], small_height: int) -> int:
    """Bytes, about, that the rounds hold of a picture of (height, width) `size`: the rows between one and the next."""
    return _held(size, small_height, _round_rows(size, small_height))


def _round_rows(size: tuple[int, int], small_height: int) -> int:
    rows = _ROUND_ROWS
    while rows > _FEWEST_ROWS and _held(size, small_height, rows) > _ROUND_MEMORY:
        rows //= 2
    return rows


def _held(size: tuple[int, int], small_height: int, band: int) -> int:
    rows = min(MARGIN + REDUCTION_MARGIN + 3 * band, small_height) * size[0] // small_height
    return 4 * 3 * size[1] * rows * (ROUNDS + 1)


def _missing(y: bands.Stage, x: bands.Stage, *, down: BicubicDown) -> bands.Stage:
    """x - A y."""
    large, small = y.reader(), x.reader()

    def compute(start: int, stop: int) -> tuple[Tensor, ...]:
        rows, above = large.window(start, stop, halo=REDUCTION_MARGIN)
        near = small.take(start, stop, keep=stop)
        return (near - down.A_tile(rows, origin=(above, 0), rows=(start, stop), columns=(0, down.shape_out[1])),)

    return bands.Stage(compute, height=y.height, band=y.band)


def _corrected(y: bands.Stage, missing: bands.Stage, *, down: BicubicDown, weight: float) -> bands.Stage:
    """y + weight A^+ missing, clipped to [0, 1]."""
    large, small = y.reader(), missing.reader()

    def compute(start: int, stop: int) -> tuple[Tensor, ...]:
        rows = large.take(start, stop, keep=stop)
        residual, top = small.window(start, stop, halo=MARGIN)
        if float(residual.abs().max()) < _MISSING:
            return (rows,)
        change = down.pinv_tile(residual, origin=(top, 0), rows=(start, stop), columns=(0, down.shape_out[1]))
        return (torch.add(rows, change, alpha=weight).clamp_(0, 1),)

    return bands.Stage(compute, height=y.height, band=y.band, scales=y.scales)


def colour_memory(request: Request, size: tuple[int, int], small: tuple[int, int], *, band: int, channels: int) -> int:
    """Bytes, about, that the correction of colour holds in a pass from `small` to (height, width) `size`."""
    if request.colour == "wavelet":
        # Both pictures with their surroundings, and the two copies that a blur makes of their difference.
        return 4 * channels * size[1] * 5 * (band + 2 * COLOUR_REACH)
    if request.colour == "mean-std":
        return 4 * channels * small[0] * small[1] + min(MEMORY_LIMIT, 4 * channels * size[0] * size[1])
    return 0


def deviation_of(
    rows: Rows, small: Rows, *, coding: Coding, survey: Survey, request: Request, enlarger: Enlarger, settings: Settings
) -> Deviation:
    """How far a result, `rows` h w n as a file holds them, is from its input `small` when it is made small again.

    Colours alone count, and of a transparent picture what no fully transparent pixel has a share in: files may hold
    anything there. Rows of another depth than the input's stand for the same values; three channels of a grey picture
    for their mean.
    """
    size, c, extra = request.output_size, coding.channels, int(coding.alpha)
    hidden = survey.is_transparent()

    def read(start: int, stop: int) -> tuple[Tensor, ...]:
        part = rows[start:stop]
        if part.dtype != coding.dtype:
            part = part / np.float32(np.iinfo(part.dtype).max if np.issubdtype(part.dtype, np.integer) else 1)
        own = coding if part.dtype == coding.dtype else dataclasses.replace(coding, dtype=np.dtype(np.float32))
        values = own.decode(part)
        colour = values[:, : values.shape[1] - extra]
        if c == 1:
            colour = colour.mean(dim=1, keepdim=True)
        return (torch.cat([colour, (values[:, -1:] == 0).float()], dim=1) if hidden else colour,)

    if isinstance(enlarger, Restoration):
        large = read(0, size[0])[0]
        return _deviation_at_once(large, small, coding=coding, request=request, enlarger=enlarger, own=settings)
    large = bands.Stage(read, height=size[0], band=min(size[0], _READ_ROWS))
    reduced = _reduced(large, size=size, small=request.input_size).reader()
    deviation = Deviation()
    for start in range(0, request.input_size[0], _READ_ROWS):
        stop = min(request.input_size[0], start + _READ_ROWS)
        made = reduced.take(start, stop, keep=stop)
        difference = made[:, :c] - coding.decode(small[start:stop])[:, :c]
        if hidden:
            difference = difference[(made[:, c:] == 0).expand_as(difference)]
        deviation.add(difference)
    return deviation


def _deviation_at_once(
    large: Tensor, small: Rows, *, coding: Coding, request: Request, enlarger: Restoration, own: Settings
) -> Deviation:
    """`deviation_of` by the operator that a solver was told; `large` (1, c or c + 1, H, W), last what is hidden."""
    of_large, of_small = enlarger.observed(own, small=request.input_size, size=request.output_size)
    x = coding.decode(small[0 : request.input_size[0]])[:, : coding.channels]
    deviation = Deviation()
    for group in coding.groups:
        difference = of_large(large[:, group]) - of_small(x[:, group])
        if large.shape[1] > coding.channels:
            seen = of_large(large[:, coding.channels :].expand(-1, group.stop - group.start, -1, -1))
            difference = difference[(seen.abs() < 1e-9).expand_as(difference)]
        deviation.add(difference)
    return deviation


def _at_once(x: bands.Stage, function: Callable[[Tensor], Tensor], *, height: int) -> bands.Stage:
    """The stage of a function of the whole picture."""
    reader = x.reader()

    def compute(start: int, stop: int) -> tuple[Tensor, ...]:
        return (function(reader.take(0, x.height * x.scales[0], keep=x.height * x.scales[0])),)

    return bands.Stage(compute, height=height, band=height)


def _reduced(y: bands.Stage, *, size: tuple[int, int], small: tuple[int, int]) -> bands.Stage:
    """The picture y of (height, width) `size` made small again, to the size of the input."""
    scale = size[0] // small[0]
    if (small[0] * scale, small[1] * scale) != size:
        return bands.resized(y, width=size[1], size=small, band=max(1, y.band * y.scales[0] * small[0] // size[0]))
    down = BicubicDown(scale=scale, height=size[0], width=size[1])
    cells = bands.regrouped(y, rows=scale, band=max(1, y.band * y.scales[0] // scale))
    reader = cells.reader()

    def compute(start: int, stop: int) -> tuple[Tensor, ...]:
        rows, above = reader.window(start, stop, halo=REDUCTION_MARGIN)
        return (down.A_tile(rows, origin=(above, 0), rows=(start, stop), columns=(0, small[1])),)

    return bands.Stage(compute, height=small[0], band=cells.band)


def _joined(
    colours: list[bands.Stage],
    source: bands.Stage,
    *,
    coding: Coding,
    survey: Survey,
    shape: tuple[int, int],
    size: tuple[int, int],
) -> bands.Stage:
    """All channels of the result, alpha last: bicubic and clipped, with the input's own colours where it is 0."""
    first = colours[0]
    band = min(size[0], max(1, first.band * first.scales[0]))
    readers = [bands.regrouped(stage, rows=1, band=band).reader() for stage in colours]
    c = coding.channels
    alpha = hidden = None
    if survey.alpha is not None and not survey.constant_alpha():
        plane = bands.mapped(source, lambda rows: rows[:, c:])
        alpha = bands.resized(plane, width=shape[1], size=size, band=band).reader()
    if survey.is_transparent():
        own = bands.mapped(source, lambda rows: rows[:, :c])
        hidden = bands.resized(own, width=shape[1], size=size, band=band, kernel="nearest").reader()
    constant = None
    if survey.alpha is not None and alpha is None:
        constant = coding.opacity(survey.alpha[0])

    def compute(start: int, stop: int) -> tuple[Tensor, ...]:
        colour = torch.cat([reader.take(start, stop, keep=stop) for reader in readers], dim=1)
        if alpha is not None:
            a = coding.levels(alpha.take(start, stop, keep=stop).clamp(0, 1))
            if hidden is not None:
                colour = torch.where(a == 0, hidden.take(start, stop, keep=stop), colour)
            return (torch.cat([colour, a], dim=1),)
        if constant is not None:
            colour = torch.cat([colour, torch.full_like(colour[:, :1], constant)], dim=1)
        return (colour,)

    return bands.Stage(compute, height=size[0], band=band)
