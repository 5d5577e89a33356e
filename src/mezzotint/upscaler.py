"""The front door: a picture in, the same picture larger out, and a record of what was done."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from mezzotint import __version__, methods
from mezzotint.errors import InputError, UsageError
from mezzotint.methods.mezzotint_x4 import PredictRefine
from mezzotint.noise import Noise, picture_id
from mezzotint.operators.bicubic import BicubicDown
from mezzotint.operators.resize import imresize
from mezzotint.record import Consistency, Record, Request
from mezzotint.samplers import Move

Picture = np.ndarray | Tensor | str | Path
Progress = Callable[[int, int], None]

DEFAULT = "mezzotint-x4"
SCALE_LIMIT = 64.0
SMALLEST_TILE = 16
# Larger pictures than this are refused before any work: an intermediate pass has to fit into memory.
PIXEL_LIMIT = 2**30


@dataclass(frozen=True)
class Settings:
    """The resolved settings of one pass."""

    steps: int | None
    realism: float | None
    tile: int | None


class Engine(Protocol):
    """What makes a picture larger: x (1, c, h, w) in [0, 1] to y (1, c, H, W), not clipped."""

    @property
    def scale(self) -> int | None:
        """The one scale of a model; None for an engine that makes any size at once."""
        ...

    def __call__(
        self, x: Tensor, *, size: tuple[int, int], noise: Noise, settings: Settings, progress: Progress
    ) -> Tensor: ...

    def evaluations(self, settings: Settings) -> int:
        """Network evaluations of one pass."""
        ...


@dataclass(frozen=True)
class Interpolation:
    """A baseline: a function of the small picture and a size, without weights or noise."""

    run: Callable[..., Tensor]
    scale: int | None = None

    def __call__(
        self, x: Tensor, *, size: tuple[int, int], noise: Noise, settings: Settings, progress: Progress
    ) -> Tensor:
        factor = self.scale if self.scale is not None else max(size[0] / x.shape[-2], size[1] / x.shape[-1])
        y = self.run(x, scale=factor, size=size)
        progress(1, 1)
        return y

    def evaluations(self, settings: Settings) -> int:
        return 0 if self.scale is None else 1


@dataclass(frozen=True)
class Diffusion:
    """A method of the survey, trained for one scale; the whole picture at once."""

    method: nn.Module
    scale: int | None

    def __call__(
        self, x: Tensor, *, size: tuple[int, int], noise: Noise, settings: Settings, progress: Progress
    ) -> Tensor:
        def moved(move: Move) -> None:
            progress(move.index + 1, move.count)

        y = self.method.sample(  # pyright: ignore
            _rgb(x) * 2 - 1, steps=settings.steps, noise=noise, size=size, callback=moved
        )
        return _like(y * 0.5 + 0.5, x)

    def evaluations(self, settings: Settings) -> int:
        return settings.steps or 0


@dataclass(frozen=True)
class Refinement:
    """Our own predict-and-refine models: realism, tiles, local."""

    method: PredictRefine

    @property
    def scale(self) -> int:
        return self.method.scale

    def __call__(
        self, x: Tensor, *, size: tuple[int, int], noise: Noise, settings: Settings, progress: Progress
    ) -> Tensor:
        assert settings.steps is not None and settings.realism is not None
        y = self.method.sample(
            _rgb(x) * 2 - 1,
            steps=settings.steps,
            noise=noise,
            size=size,
            realism=settings.realism,
            tile=settings.tile,
            progress=progress,
        )
        return _like(y * 0.5 + 0.5, x)

    def evaluations(self, settings: Settings) -> int:
        return 1 + (settings.steps or 0) * (settings.realism != 0)


@dataclass(frozen=True)
class Result:
    """One picture made larger.

    `image` has the kind of the input (numpy h w c or h w of the same dtype, torch b c H W in [0, 1]; numpy uint8 for a
    path); `images` and `records` hold all samples (of a batch, `records` holds one a picture).
    `floats` holds every sample of a single picture as h w c float32 in [0, 1] before it was rounded to the input's
    kind. `spread` is the standard deviation over the samples, one value a pixel (h w float32, 1 = the whole range),
    None where it was not asked for.
    """

    image: Any
    images: tuple[Any, ...]
    record: Record
    records: tuple[Record, ...]
    floats: tuple[np.ndarray, ...] = ()
    spread: np.ndarray | None = None


def load(name: str | Path = "auto", *, device: str = "auto") -> Upscaler:
    """Return the upscaler of a shipped model, a file or folder of weights, a hub id or any name of `methods`.

    Raises UsageError for an unknown name (with the nearest ones) or a recipe that has no weights yet, WeightsError for
    a damaged file.
    """
    where = _device(device)
    reason = ""
    if name == "auto":
        name, reason = DEFAULT, f"{DEFAULT} is the only shipped model"
    spec = methods.resolve(str(name))
    if spec.card is not None and spec.card.family == "baseline":
        scale = 4 if spec.card.weights == "shipped" else None
        engine: Engine = Interpolation(methods.resolve_function(spec.card)(), scale=scale)
        return Upscaler(spec.card.name, engine, local=spec.card.local, reason=reason, device=where)
    method, card = methods.load_with_card(str(name))
    method.eval().requires_grad_(False).to(where)
    engine = Refinement(method) if isinstance(method, PredictRefine) else Diffusion(method, int(card.scale))
    return Upscaler(
        card.name,
        engine,
        weights=card.digest,
        local=card.local,
        steps=card.steps_default,
        realism=card.realism_default,
        consistent=card.consistent_default,
        reason=reason,
        device=where,
        card=card,
    )


@dataclass(frozen=True)
class Upscaler:
    """Make pictures larger with one engine and its defaults. Build it with `load`."""

    name: str
    engine: Engine
    weights: str = ""
    local: bool = False
    steps: int | None = None
    realism: float | None = None
    consistent: bool = False
    reason: str = ""
    device: torch.device = torch.device("cpu")
    card: Any = None

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
        consistent: bool | None = None,
        colour: str = "none",
        tile: int | str | None = "auto",
    ) -> Request:
        """Return the request that the first sample of a call with these arguments carries; sample k has seed + k.

        Nothing is computed; every UsageError that the call would raise is raised here.
        """
        pixels, _ = _pixels(picture)
        return self._request(
            pixels,
            size=target_size(
                pixels.shape[0], pixels.shape[1], scale=scale, width=width, height=height, long_side=long_side
            ),
            seed=_seed(seed, samples),
            settings=self._settings(
                steps=steps, realism=realism, samples=samples, tile=tile, colour=colour, size=pixels.shape[:2]
            ),
            consistent=self.consistent if consistent is None else consistent,
            colour=colour,
        )

    @torch.no_grad()
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
        consistent: bool | None = None,
        colour: str = "none",
        tile: int | str | None = "auto",
        spread: bool = False,
        progress: Progress | None = None,
    ) -> Result:
        """Make `picture` larger: numpy h w (c) uint8, uint16 or float in [0, 1], torch (b) c h w in [0, 1], or a path.

        One of `scale` (default 4; 1 < scale <= 64), `width`, `height`, `long_side` names the size. Sample k uses
        seed + k. Every picture of a torch batch gets the noise of its own pixels, so it comes out as it does alone.
        Raises UsageError for a wrong option, InputError for a picture that cannot be used.
        """
        if isinstance(picture, Tensor) and picture.ndim == 4:
            if len(picture) == 0:
                raise InputError("the batch holds no picture")
            parts = [
                self(
                    one, scale=scale, width=width, height=height, long_side=long_side, seed=seed, steps=steps,
                    samples=samples, realism=realism, consistent=consistent, colour=colour, tile=tile,
                    progress=progress,
                )
                for one in picture
            ]  # fmt: skip
            images = tuple(torch.stack([part.images[k] for part in parts]) for k in range(samples))
            return Result(images[0], images, parts[0].record, tuple(part.record for part in parts))
        pixels, kind = _pixels(picture)
        settings = self._settings(
            steps=steps, realism=realism, samples=samples, tile=tile, colour=colour, size=pixels.shape[:2]
        )
        size = target_size(
            pixels.shape[0], pixels.shape[1], scale=scale, width=width, height=height, long_side=long_side
        )
        consistent = self.consistent if consistent is None else consistent
        first = _seed(seed, samples)
        x = _unit(pixels).to(self.device)
        images, records, outs = [], [], []
        for k in range(samples):
            request = self._request(
                pixels, size=size, seed=first + k, settings=settings, consistent=consistent, colour=colour
            )
            began = time.perf_counter()

            def tell(done: int, total: int, k: int = k) -> None:
                if progress is not None:
                    progress(k * total + done, samples * total)

            y, certificate = self._run(x, request=request, settings=settings, progress=tell)
            record = Record(
                request=request,
                libraries={"torch": torch.__version__, "numpy": np.__version__},
                reason=self.reason,
                adapted=self._adapted(pixels, request),
                evaluations=self.engine.evaluations(settings) * self._passes(request),
                tile=settings.tile,
                seconds=round(time.perf_counter() - began, 3),
                consistency=certificate,
            )
            images.append(_as_kind(y, pixels, kind))
            records.append(record)
            outs.append(y.clamp(0, 1))
        deviation = None
        if spread and samples > 1:
            deviation = torch.stack(outs).std(dim=0, unbiased=True).square().mean(dim=1).sqrt()[0]
            deviation = deviation.float().cpu().numpy()
        floats = tuple(y[0].permute(1, 2, 0).cpu().numpy() for y in outs)
        return Result(images[0], tuple(images), records[0], tuple(records), floats, deviation)

    # -- one picture ------------------------------------------------------------------------------------------------

    def _run(
        self, x: Tensor, *, request: Request, settings: Settings, progress: Progress
    ) -> tuple[Tensor, Consistency | None]:
        passes = self._passes(request)
        size = request.output_size
        y = x
        before = None
        operator = ""
        for index in range(passes):
            source = y
            m = self.engine.scale
            goal = size if m is None else (source.shape[-2] * m, source.shape[-1] * m)
            # A second pass must not reuse the first one's field, so it counts as another picture.
            noise = Noise(request.seed, pictures=((int(request.picture, 16) + index) % 2**64,))

            def tell(done: int, total: int, index: int = index) -> None:
                progress(index * total + done, passes * total)

            y = self.engine(source, size=goal, noise=noise, settings=settings, progress=tell).clamp(0, 1)
            if request.consistent:
                plain = y
                down, operator = _down(source, goal)
                y = _project(down, y, source)
                before = plain if index == 0 and goal == size else before
        if tuple(y.shape[-2:]) != size:
            y = imresize(y, size=size)
        return y, _certificate(x, before if before is not None else y, y, operator)

    def _passes(self, request: Request) -> int:
        return sum(not step.startswith("bicubic to") for step in request.chain) if self.engine.scale else 1

    def _request(
        self, pixels: np.ndarray, *, size: tuple[int, int], seed: int, settings: Settings, consistent: bool, colour: str
    ) -> Request:
        h, w = pixels.shape[:2]
        m = self.engine.scale
        chain = [self.name]
        if m is not None:
            reached = m
            while h * reached < size[0] or w * reached < size[1]:
                chain.append(self.name)
                reached *= m
            if h * w * reached**2 > PIXEL_LIMIT:
                raise UsageError(
                    f"{len(chain)} passes of {self.name} make {h * reached}x{w * reached} pixels, the limit is "
                    f"{PIXEL_LIMIT} in all: use a smaller --scale"
                )
            if (h * reached, w * reached) != size:
                chain.append(f"bicubic to {size[0]}x{size[1]}")
        elif consistent and (size[0] % h or size[1] % w or size[0] // h != size[1] // w):
            raise UsageError(
                f"--consistent needs a whole scale, {size[0]}x{size[1]} is none of {h}x{w}: use --no-consistent"
            )
        return Request(
            version=__version__,
            method=self.name,
            weights=self.weights,
            picture=f"{picture_id(pixels):016x}",
            input_size=(h, w),
            channels=pixels.shape[2],
            output_size=size,
            chain=tuple(chain),
            seed=seed,
            steps=settings.steps,
            realism=settings.realism,
            consistent=consistent,
            colour=colour,
        )

    def _adapted(self, pixels: np.ndarray, request: Request) -> tuple[str, ...]:
        adapted = []
        if pixels.shape[2] == 1 and not isinstance(self.engine, Interpolation):
            adapted.append("grey: worked on as three equal channels, their mean kept")
        if len(request.chain) > 1:
            adapted.append("size: " + ", then ".join(request.chain))
        return tuple(adapted)

    def _settings(
        self,
        *,
        steps: int | None,
        realism: float | None,
        samples: int,
        tile: int | str | None,
        colour: str,
        size: tuple[int, int],
    ) -> Settings:
        if isinstance(self.engine, Interpolation) and steps is not None:
            raise UsageError(f"{self.name} takes no steps: leave --steps out")
        if steps is not None and (isinstance(steps, bool) or int(steps) != steps or not 1 <= steps <= 4000):
            raise UsageError(f"steps {steps} is not a whole number from 1 to 4000")
        if realism is not None and self.realism is None:
            raise UsageError(f"{self.name} has no realism: leave --realism out, or use --method {DEFAULT}")
        if realism is not None and not 0 <= realism <= 1:
            raise UsageError(f"realism {realism:g} lies outside 0 (the mean) to 1 (a sample)")
        if isinstance(samples, bool) or int(samples) != samples or not 1 <= samples <= 1000:
            raise UsageError(f"samples {samples} is not a whole number from 1 to 1000")
        if colour != "none":
            raise UsageError(f"colour {colour!r} is unknown: use none")
        return Settings(
            steps=self.steps if steps is None else int(steps),
            realism=self.realism if realism is None else float(realism),
            tile=self._tile(tile, size),
        )

    def _tile(self, tile: int | str | None, size: tuple[int, int]) -> int | None:
        if tile is None or tile == "none":
            return None
        if tile == "auto":
            return AUTO_TILE if self.local and isinstance(self.engine, Refinement) and max(size) > AUTO_TILE else None
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


# Small enough that a tile's activations stay in the caches of a common processor.
AUTO_TILE = 160


def target_size(
    h: int,
    w: int,
    *,
    scale: float | None = None,
    width: int | None = None,
    height: int | None = None,
    long_side: int | None = None,
) -> tuple[int, int]:
    """Return (height, width) of the result; raises UsageError for a scale or size that cannot be meant."""
    named = {"scale": scale, "width": width, "height": height, "long-side": long_side}
    given = [name for name, value in named.items() if value is not None]
    if len(given) > 1:
        raise UsageError(f"--{given[0]} and --{given[1]} both name the size: use one of them")
    if scale is None and not given:
        scale = 4.0
    if scale is not None:
        if isinstance(scale, bool) or not math.isfinite(scale) or not 1 < scale <= SCALE_LIMIT:
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
        if not 1 < factor <= SCALE_LIMIT:
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


def _pixels(picture: Picture) -> tuple[np.ndarray, Literal["numpy", "torch"]]:
    """Return the pixels as h w c and the kind to give back; raises InputError for what is no picture."""
    kind: Literal["numpy", "torch"] = "numpy"
    if isinstance(picture, str | Path):
        from mezzotint import images

        return images.read(Path(picture)).pixels, kind
    if isinstance(picture, Tensor):
        kind = "torch"
        if picture.ndim != 3 or not picture.is_floating_point():
            raise InputError(
                f"a torch picture is float b c h w or c h w in [0, 1], not {picture.dtype} {tuple(picture.shape)}"
            )
        pixels = picture.detach().cpu().float().permute(1, 2, 0).numpy()
    elif isinstance(picture, np.ndarray):
        pixels = picture[:, :, None] if picture.ndim == 2 else picture
    else:
        raise InputError(f"a picture is a numpy array, a torch tensor or a path, not {type(picture).__name__}")
    if pixels.ndim != 3 or pixels.shape[2] not in (1, 3) or 0 in pixels.shape:
        raise InputError(f"a picture of shape {pixels.shape} cannot be used: h w c with 1 or 3 channels is needed")
    if pixels.dtype in (np.uint8, np.uint16):
        return pixels, kind
    if not np.issubdtype(pixels.dtype, np.floating):
        raise InputError(f"a picture of {pixels.dtype} cannot be used: uint8, uint16 or float in [0, 1] is needed")
    if not np.isfinite(pixels).all():
        raise InputError("the picture holds values that are not finite")
    low, high = float(pixels.min()), float(pixels.max())
    if low < 0 or high > 1:
        raise InputError(f"a float picture lies in [0, 1], this one in [{low:g}, {high:g}]: scale it first")
    return pixels, kind


def _unit(pixels: np.ndarray) -> Tensor:
    """The one place where pixels become model input: h w c to (1, c, h, w) float32 in [0, 1]."""
    x = torch.from_numpy(np.ascontiguousarray(pixels, dtype=np.float32)).permute(2, 0, 1)[None]
    peak = {np.dtype(np.uint8): 255.0, np.dtype(np.uint16): 65535.0}.get(pixels.dtype, 1.0)
    return x / peak


def _as_kind(y: Tensor, pixels: np.ndarray, kind: str) -> Any:
    """The one place where output becomes pixels again, rounded half up and clipped."""
    y = y[0].clamp(0, 1).cpu()
    if kind == "torch":
        return y
    out = y.permute(1, 2, 0).numpy()
    peak = {np.dtype(np.uint8): 255, np.dtype(np.uint16): 65535}.get(pixels.dtype)
    if peak is None:
        return np.ascontiguousarray(out, dtype=pixels.dtype)
    return np.floor(out.astype(np.float64 if peak > 255 else np.float32) * peak + 0.5).astype(pixels.dtype)


def _rgb(x: Tensor) -> Tensor:
    return x.expand(-1, 3, -1, -1) if x.shape[1] == 1 else x


def _like(y: Tensor, x: Tensor) -> Tensor:
    return y.mean(dim=1, keepdim=True) if x.shape[1] == 1 else y


def _down(x: Tensor, size: tuple[int, int]) -> tuple[BicubicDown, str]:
    scale = size[0] // x.shape[-2]
    return BicubicDown(scale=scale, height=size[0], width=size[1]), f"MATLAB bicubic 1/{scale}"


def _project(down: BicubicDown, y: Tensor, x: Tensor) -> Tensor:
    """Return the picture in [0, 1] near y that shrinks to x.

    The correction alone leaves [0, 1] beside saturated areas and the clip undoes it there, so the two alternate
    (projections onto convex sets); where nothing overshoots the first round is exact.
    """
    for _ in range(8):
        y = down.consistent(y, x)
        overshoot = float(torch.maximum(y.amax() - 1, -y.amin()))
        y = y.clamp(0, 1)
        if overshoot < 1e-4:
            break
    return y


def _certificate(x: Tensor, before: Tensor, after: Tensor, operator: str) -> Consistency:
    """Measure how well results shrink back to x by MATLAB's bicubic, in float and after rounding to 8 bits."""
    saved = torch.floor(after.clamp(0, 1) * 255 + 0.5) / 255
    figures: list[float] = []
    size = (x.shape[-2], x.shape[-1])
    for y in (before, after, saved):
        error = (imresize(y.double(), size=size) - x.double()) * 255
        figures += [round(float(error.square().mean().sqrt()), 6), round(float(error.abs().max()), 6)]
    return Consistency(
        operator=operator or "MATLAB bicubic to the input's size",
        before_rms=figures[0],
        before_max=figures[1],
        after_rms=figures[2],
        after_max=figures[3],
        saved_rms=figures[4],
        saved_max=figures[5],
    )
