"""Pictures made small by an operator with noise: the enlarger of the solvers, and what it is told or finds itself."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from mezzotint.errors import InputError, UsageError
from mezzotint.images import bands
from mezzotint.methods.restorer import DEFAULT_OPERATOR, Restorer, read_mask
from mezzotint.noise import Noise
from mezzotint.operators.diagonal import Identity
from mezzotint.operators.estimate import blur_width, noise_level
from mezzotint.operators.linear import LinearOperator
from mezzotint.operators.named import NamedOperator, named_operator
from mezzotint.samplers import Move
from mezzotint.upscaler.enlargers import Callback, Layout, Settings
from mezzotint.upscaler.samples import Coding
from mezzotint.upscaler.work import Rows

NOISE_LIMIT = 1000.0
AUTO = "auto"
SMALLEST_SIDE = 16
"""Pixels a side of a picture that says something of its making."""
SMALLEST_NOISE = 2.0
"""Grey levels below which noise that was found counts as none: the texture of sharp photographs passes for as much."""
SMALLEST_WIDTH = 0.75
"""Small pixels up to which a blur that was found counts as that of a plain reduction: soft photographs reach it."""
_SEEN = 1024
"""Pixels a side of the middle of a large picture, which says as much as the whole."""


@dataclass(frozen=True, eq=False)
class Known:
    """What is known of how a picture was made small.

    operator: for pictures of any size. noise: the deviation of what was added, in grey levels of 255. name: of the
    operator without folders, as a record holds it. sha256: of the files that it was read from, "" for none. found: what
    was estimated from the picture, in words.
    """

    operator: NamedOperator
    noise: float
    name: str
    sha256: str = ""
    found: tuple[str, ...] = ()

    @property
    def sigma(self) -> float:
        """The noise for pictures in [-1, 1]."""
        return 2.0 * self.noise / 255.0

    def bind(self, small: tuple[int, int], size: tuple[int, int], *, method: Restorer) -> LinearOperator:
        """The operator from pictures of `size` to `small` ones, (height, width); UsageError where it is none."""
        return method.operator_for(self.operator, small, size)


def known(
    operator: str | NamedOperator | None, noise: float | None, *, small: tuple[int, int], size: tuple[int, int]
) -> Known:
    """What the options say of pictures of (height, width) `small` whose large ones have `size`.

    Raises UsageError for an unknown operator, one of another scale, and a noise that is no deviation; InputError for a
    file that cannot be read.
    """
    noise = 0.0 if noise is None else noise
    if isinstance(noise, bool) or not 0 <= noise <= NOISE_LIMIT:
        raise UsageError(f"noise {noise:g} is no standard deviation in grey levels: use 0 to {NOISE_LIMIT:g}")
    if isinstance(operator, NamedOperator):
        return Known(operator, float(noise), _plain(operator.name))
    text = DEFAULT_OPERATOR if operator is None else operator
    digest = hashlib.sha256()
    if text.lower().endswith(".toml"):
        try:
            digest.update(Path(text).read_bytes())
        except OSError as error:
            reason = (error.strerror or str(error)).lower()
            raise InputError(f"operator {text}: cannot be read ({reason}): name a file in TOML") from error
    read = text.lower().endswith(".toml")

    def reading(path: str) -> Tensor:
        nonlocal read
        read = True
        mask = read_mask(path)
        digest.update(repr(tuple(mask.shape)).encode() + (mask != 0).to(torch.uint8).numpy().tobytes())
        return mask

    found = named_operator(text, scale=_factor(small, size), read_mask=reading)
    return Known(found, float(noise), _plain(text), digest.hexdigest() if read else "")


def estimated(
    rows: Rows, coding: Coding, operator: str | NamedOperator | None, noise: float | str | None, *,
    size: tuple[int, int],
) -> Known:  # fmt: skip
    """What the options say of a picture h w n whose large one has `size`, with what is AUTO estimated from its middle.

    A blur of at most SMALLEST_WIDTH small pixels is that of "bicubic" ("identity" at scale 1), a wider one is
    "gaussian:SIGMA"; noise below SMALLEST_NOISE is 0. Raises what `known` raises, UsageError for the noise of a picture
    with holes, InputError for pictures with a side below SMALLEST_SIDE.
    """
    small = (int(rows.shape[0]), int(rows.shape[1]))
    if isinstance(noise, str) and noise != AUTO:
        raise UsageError(f"noise {noise!r} is no standard deviation in grey levels: use a number or {AUTO}")
    asked = [option for option, value in (("--operator", operator), ("--noise", noise)) if value == AUTO]
    if asked and min(small) < SMALLEST_SIDE:
        raise InputError(
            f"{' and '.join(asked)} {AUTO}: a picture of {small[1]}x{small[0]} pixels says too little of its making, "
            f"which takes {SMALLEST_SIDE} a side: say it"
        )
    found: tuple[str, ...] = ()
    if operator == AUTO:
        factor = _factor(small, size)
        width = float(blur_width(_middle(rows, coding), scale=factor)[0])
        plain = DEFAULT_OPERATOR if factor > 1 else "identity"
        operator = f"gaussian:{width:.2f}" if width > SMALLEST_WIDTH * factor else plain
        found = (f"operator: {operator}, by a blur that looks {width:.2f} pixels wide",)
    told = known(operator, None if isinstance(noise, str) else noise, small=small, size=size)
    if noise == AUTO:
        if told.operator.size is not None:
            raise UsageError(f"--noise {AUTO}: the noise of a picture with holes cannot be estimated: name it, or 0")
        level = round(float(noise_level(_middle(rows, coding)).mean()), 2)
        told = replace(told, noise=level if level >= SMALLEST_NOISE else 0.0)
        found += (f"noise: {told.noise:g} grey levels, estimated as {level:g}",)
    return replace(told, found=found)


def _middle(rows: Rows, coding: Coding) -> Tensor:
    """The colours of the middle of a picture, (1, c, h, w) in [0, 1]."""
    top, left = (max(0, (n - _SEEN) // 2) for n in rows.shape[:2])
    part = rows[slice(top, top + _SEEN)][:, left : left + _SEEN]
    return coding.decode(part)[:, : coding.channels]


def _factor(small: tuple[int, int], size: tuple[int, int]) -> int:
    """The whole scale from one (height, width) to the other; UsageError where there is none."""
    factor = size[0] // small[0]
    if (small[0] * factor, small[1] * factor) != size:
        raise UsageError(
            f"a solver takes whole scales, and {size[1]}x{size[0]} is none of {small[1]}x{small[0]}: use for example "
            "--scale 4"
        )
    return factor


def _plain(name: str) -> str:
    """A name of an operator without the folders of its file."""
    if name.lower().endswith(".toml"):
        return Path(name).name
    kind, colon, setting = name.partition(":")
    return f"mask:{Path(setting).name}" if kind == "mask" and colon else name


@dataclass(frozen=True)
class Restoration:
    """A zero-shot solver on a prior: the whole picture at once, of which the prior sees tiles."""

    method: Restorer
    scale = None
    streams = False
    halo = 0
    guidable = False

    def bound(self, settings: Settings, small: tuple[int, int], size: tuple[int, int]) -> LinearOperator:
        """The operator of the settings for these sizes."""
        return _known_of(settings).bind(small, size, method=self.method)

    def stream(
        self, x: bands.Stage, *, channels: int, width: int, size: tuple[int, int], noise: Noise, settings: Settings,
        layout: Layout, callback: Callback,
    ) -> bands.Stage:  # fmt: skip
        operator, told = self.bound(settings, (x.height, width), size), _known_of(settings)
        reader = x.reader()

        def moved(move: Move) -> None:
            callback()

        def compute(start: int, stop: int) -> tuple[Tensor, ...]:
            rows = reader.take(0, x.height, keep=x.height)
            y = self.method.sample(
                self._seen(rows, operator) * 2 - 1, steps=settings.steps, noise=noise, operator=operator,
                sigma=told.sigma, callback=moved,
            )  # fmt: skip
            y = y * 0.5 + 0.5
            return (y.mean(dim=1, keepdim=True) if channels == 1 < y.shape[1] else y,)

        return bands.Stage(compute, height=size[0], band=size[0])

    def layout(self, height: int, width: int, *, settings: Settings) -> Layout:
        return Layout(height, None)

    def calls(self, height: int, *, settings: Settings, layout: Layout) -> int:
        return self.method.moves(settings.steps)

    def memory(self, width: int, *, settings: Settings, layout: Layout) -> int:
        ratio = 1.0 if settings.known is None else settings.known.operator.scale
        pixels = width * layout.band * ratio**2
        # A dozen float64 states, and the prior's activations on a tile; with gradients they wait for their way back.
        seen = min(pixels, float(getattr(self.method.prior, "tile", 512) + 192) ** 2)
        return int(12 * 8 * self.method.channels * pixels + (2000 if self.method.solver.gradients else 400) * seen)

    def work(self, size: tuple[int, int]) -> float:
        """What the time for a result of (height, width) `size` is proportional to: pixels that the prior sees."""
        seen = getattr(self.method.prior, "pixels_seen", None)
        return float(size[0] * size[1] if seen is None else seen(*size))

    def evaluations(self, settings: Settings) -> int:
        return self.method.evaluations(settings.steps)

    def check(self, settings: Settings, *, channels: int, small: tuple[int, int], size: tuple[int, int]) -> None:
        """UsageError for what cannot be done, before anything is computed; `channels` of a group of the picture."""
        told = _known_of(settings)
        self.method.check(
            self.bound(settings, small, size), channels=channels, sigma=told.sigma, steps=settings.steps
        )

    def part(self, settings: Settings) -> Settings:
        """Settings that take as long for a part of a picture: a mask is of the whole."""
        told = _known_of(settings)
        if told.operator.size is None:
            return settings
        other = NamedOperator("identity", 1, lambda height, width: Identity(height=height, width=width))
        return replace(settings, known=replace(told, operator=other))

    def observed(
        self, settings: Settings, *, small: tuple[int, int], size: tuple[int, int]
    ) -> tuple[Callable[[Tensor], Tensor], Callable[[Tensor], Tensor]]:
        """(A y, what x says of it): functions of pictures in [0, 1] whose results are equal where y fits x."""
        operator = self.bound(settings, small, size)

        def of_large(y: Tensor) -> Tensor:
            return operator.A(self._wide(y, operator))

        def of_small(x: Tensor) -> Tensor:
            seen = self._seen(x, operator)
            model = self.method.measured(seen * 2 - 1, operator)
            ones = torch.ones(1, operator.channels_in(model.shape[1]), *size, dtype=x.dtype, device=x.device)
            return (model + operator.A(ones)) / 2

        return of_large, of_small

    def _seen(self, rows: Tensor, operator: LinearOperator) -> Tensor:
        """The picture as the prior takes it: grey as three equal channels where it knows colours."""
        return rows.expand(-1, 3, -1, -1) if rows.shape[1] == 1 and self.method.channels == 3 else rows

    def _wide(self, y: Tensor, operator: LinearOperator) -> Tensor:
        return y.expand(-1, self.method.channels, -1, -1) if y.shape[1] == 1 else y


def _known_of(settings: Settings) -> Known:
    assert settings.known is not None, "a restoration is told the operator"
    return settings.known


@dataclass(frozen=True)
class InColour:
    """Rows of a grey picture, with alpha or not, as rows of three equal channels: what is to be coloured."""

    rows: Rows
    coding: Coding

    @property
    def shape(self) -> tuple[int, ...]:
        h, w, n = self.rows.shape
        return h, w, n + 2

    @property
    def dtype(self) -> np.dtype:
        return self.rows.dtype

    def __getitem__(self, rows: slice, /) -> np.ndarray:
        part = self.rows[rows]
        return np.concatenate([part[..., :1].repeat(3, axis=-1), part[..., 1:]], axis=-1)
