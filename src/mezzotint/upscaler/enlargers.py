"""What makes a picture larger, behind one face: interpolation, regression, our own models, methods of the survey."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from torch import Tensor, nn

from mezzotint.baselines.regression import Predictor
from mezzotint.images import bands, tiles
from mezzotint.methods.mezzotint_x4 import PredictRefine
from mezzotint.noise import Noise
from mezzotint.samplers import Move

if TYPE_CHECKING:
    from mezzotint.upscaler.restoration import Known

# Small enough that a tile's activations stay in the caches of a common processor, large enough that its surroundings,
# which are computed again for the next tile, are a fifth to a third of the work.
AUTO_TILE = 256

MEMORY = 2**30
"""Bytes that the rows held between the stages of one pass may take, where the user names no tile."""

Callback = Callable[[], None]


@dataclass(frozen=True)
class Settings:
    """The resolved settings of one pass; `tile` is the side of tiles in pixels of x, None for none, "auto" for ours;
    `guidance` is the survey's lambda, 1 without; `known` is what a solver is told of the picture."""

    steps: int | None
    realism: float | None
    tile: int | str | None
    guidance: float = 1.0
    known: Known | None = None


@dataclass(frozen=True)
class Layout:
    """How a pass cuts a picture: rows of x at a time, columns of x at a time (None: all)."""

    band: int
    tile: int | None


class Enlarger(Protocol):
    """What makes a picture larger: a stage of rows of x (1, c, h, w) in [0, 1] to one of rows of y, not clipped."""

    @property
    def scale(self) -> int | None:
        """The one scale of a model; None for an enlarger that makes any size at once."""
        ...

    @property
    def streams(self) -> bool:
        """Whether a picture may be larger than memory: rows depend on rows near them only."""
        ...

    @property
    def halo(self) -> int:
        """Pixels of x around a tile that one network evaluation looks at."""
        ...

    def stream(
        self, x: bands.Stage, *, channels: int, width: int, size: tuple[int, int], noise: Noise, settings: Settings,
        layout: Layout, callback: Callback,
    ) -> bands.Stage:  # fmt: skip
        """The stage of y, (height, width) `size`, from x with 1 or 3 `channels`; `callback` is called `calls` times."""
        ...

    def layout(self, height: int, width: int, *, settings: Settings) -> Layout:
        """How a picture of this size is cut."""
        ...

    def calls(self, height: int, *, settings: Settings, layout: Layout) -> int:
        """How often one pass over a picture of this height calls back."""
        ...

    def memory(self, width: int, *, settings: Settings, layout: Layout) -> int:
        """Bytes, about, that the rows between the stages of one pass take."""
        ...

    def evaluations(self, settings: Settings) -> int:
        """Network evaluations of one pass."""
        ...

    @property
    def guidable(self) -> bool:
        """Whether guidance other than 1 is possible."""
        ...


def _layout(enlarger: Enlarger, height: int, width: int, settings: Settings) -> Layout:
    """The layout of an enlarger that streams: what the user asked for, or tiles of a size that suits the processor, in
    bands as tall as a tile or less where the picture is so wide that they would not fit."""
    if settings.tile is None:
        return Layout(height, None)
    if settings.tile != "auto":
        side = int(settings.tile)
        return Layout(min(height, side), side if width > side else None)
    tile = AUTO_TILE if width > AUTO_TILE else None
    band = min(height, AUTO_TILE)
    while band > tiles.SMALLEST and enlarger.memory(width, settings=settings, layout=Layout(band, tile)) > MEMORY:
        band = max(tiles.SMALLEST, band * 3 // 4)
    return Layout(band, tile)


def _whole(
    x: bands.Stage, run: Callable[[Tensor], Tensor], *, size: tuple[int, int], callback: Callback | None = None
) -> bands.Stage:
    """The stage of a function that needs the whole picture."""
    reader = x.reader()

    def compute(start: int, stop: int) -> tuple[Tensor, ...]:
        return (run(reader.take(0, x.height, keep=x.height)),)

    return bands.Stage(compute, height=size[0], band=size[0], done=callback)


@dataclass(frozen=True)
class Interpolation:
    """A baseline: a function of the small picture and a size, without weights or noise."""

    run: Callable[..., Tensor]
    scale: int | None = None
    halo = 0
    guidable = False

    @property
    def kernel(self) -> Any:
        return getattr(self.run, "kernel", None)

    @property
    def streams(self) -> bool:
        return self.kernel is not None

    def stream(
        self, x: bands.Stage, *, channels: int, width: int, size: tuple[int, int], noise: Noise, settings: Settings,
        layout: Layout, callback: Callback,
    ) -> bands.Stage:  # fmt: skip
        if self.kernel is not None:
            rows = max(1, round(layout.band * size[0] / x.height))
            return bands.resized(x, width=width, size=size, band=rows, kernel=self.kernel)
        factor = max(size[0] / x.height, size[1] / width)
        return _whole(x, lambda rows: self.run(rows, scale=factor, size=size), size=size)

    def layout(self, height: int, width: int, *, settings: Settings) -> Layout:
        return _layout(self, height, width, settings) if self.streams else Layout(height, None)

    def calls(self, height: int, *, settings: Settings, layout: Layout) -> int:
        return 0

    def memory(self, width: int, *, settings: Settings, layout: Layout) -> int:
        return 4 * 3 * 17 * width * layout.band

    def evaluations(self, settings: Settings) -> int:
        return 0


@dataclass(frozen=True)
class Regression:
    """A local network that gives the mean picture alone."""

    predictor: Predictor
    streams = True
    guidable = False

    @property
    def halo(self) -> int:
        return self.predictor.reach

    @property
    def scale(self) -> int:
        return self.predictor.scale

    def stream(
        self, x: bands.Stage, *, channels: int, width: int, size: tuple[int, int], noise: Noise, settings: Settings,
        layout: Layout, callback: Callback,
    ) -> bands.Stage:  # fmt: skip
        def predict(window: Tensor, /, *, origin: tuple[int, int]) -> Tensor:
            return self.predictor(window)

        return bands.local(
            predict, x, width=width, halo=self.predictor.reach, scale=self.scale, band=layout.band, tile=layout.tile,
            done=callback,
        )  # fmt: skip

    def layout(self, height: int, width: int, *, settings: Settings) -> Layout:
        return _layout(self, height, width, settings)

    def calls(self, height: int, *, settings: Settings, layout: Layout) -> int:
        return -(-height // layout.band)

    def memory(self, width: int, *, settings: Settings, layout: Layout) -> int:
        return 4 * 3 * (self.scale**2 + 1) * width * (layout.band + self.predictor.reach)

    def evaluations(self, settings: Settings) -> int:
        return 1


@dataclass(frozen=True)
class Diffusion:
    """A method of the survey, trained for one scale; the whole picture at once."""

    method: nn.Module
    scale: int | None
    streams = False
    halo = 0

    @property
    def guidable(self) -> bool:
        return bool(getattr(self.method, "guidable", False))

    def check_guidance(self, strength: float) -> None:
        """UsageError for a strength that the method does not have, with the way to it."""
        if strength != 1.0:
            self.method.check_guidance(strength)  # pyright: ignore

    def stream(
        self, x: bands.Stage, *, channels: int, width: int, size: tuple[int, int], noise: Noise, settings: Settings,
        layout: Layout, callback: Callback,
    ) -> bands.Stage:  # fmt: skip
        def moved(move: Move) -> None:
            callback()

        guided = {} if settings.guidance == 1.0 else {"guidance": settings.guidance}

        def run(rows: Tensor) -> Tensor:
            y = self.method.sample(  # pyright: ignore
                _rgb(rows) * 2 - 1, steps=settings.steps, noise=noise, size=size, callback=moved, **guided
            )
            return _like(y * 0.5 + 0.5, rows)

        return _whole(x, run, size=size)

    def layout(self, height: int, width: int, *, settings: Settings) -> Layout:
        return Layout(height, None)

    def calls(self, height: int, *, settings: Settings, layout: Layout) -> int:
        return settings.steps or 0

    def memory(self, width: int, *, settings: Settings, layout: Layout) -> int:
        scale = self.scale or 4
        # A U-Net at the size of the result holds some hundred channels at a time.
        return 4 * 128 * scale**2 * width * layout.band

    def evaluations(self, settings: Settings) -> int:
        each = self.method.cost(settings.guidance) if self.guidable else 1  # pyright: ignore
        return each * (settings.steps or 0)


@dataclass(frozen=True)
class Refinement:
    """Our own predict-and-refine models: realism, tiles, local."""

    method: PredictRefine
    streams = True
    guidable = False

    @property
    def halo(self) -> int:
        return self.method.refiner.reach

    @property
    def scale(self) -> int:
        return self.method.scale

    def stream(
        self, x: bands.Stage, *, channels: int, width: int, size: tuple[int, int], noise: Noise, settings: Settings,
        layout: Layout, callback: Callback,
    ) -> bands.Stage:  # fmt: skip
        def out(rows: Tensor) -> Tensor:
            y = rows * 0.5 + 0.5
            return y.mean(dim=1, keepdim=True) if channels == 1 else y

        steps, realism = self._values(settings)
        y = self.method.stream(
            bands.mapped(x, lambda rows: _rgb(rows) * 2 - 1), width=width, steps=steps, noise=noise, realism=realism,
            tile=layout.tile, band=layout.band, callback=callback,
        )  # fmt: skip
        return bands.mapped(y, out)

    def layout(self, height: int, width: int, *, settings: Settings) -> Layout:
        return _layout(self, height, width, settings)

    def calls(self, height: int, *, settings: Settings, layout: Layout) -> int:
        return self.evaluations(settings) * -(-height // layout.band)

    def memory(self, width: int, *, settings: Settings, layout: Layout) -> int:
        steps, realism = self._values(settings)
        return self.method.memory(width, steps=steps, realism=realism, band=layout.band)

    def evaluations(self, settings: Settings) -> int:
        return self.method.evaluations(*self._values(settings))

    def _values(self, settings: Settings) -> tuple[int, float]:
        assert settings.steps is not None and settings.realism is not None
        return settings.steps, settings.realism


def _rgb(x: Tensor) -> Tensor:
    return x.expand(-1, 3, -1, -1) if x.shape[1] == 1 else x


def _like(y: Tensor, x: Tensor) -> Tensor:
    return y.mean(dim=1, keepdim=True) if x.shape[1] == 1 else y
