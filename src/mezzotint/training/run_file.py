"""The run file: everything that a training run depends on, in one strict TOML document."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from mezzotint.errors import UsageError


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Pictures(_Strict):
    """Where the pictures come from, how they are cut, and how the small ones come about."""

    folder: Path
    names: Path | None = Field(
        None, description="a CSV with a column `file`, or one name a line; all pictures without it"
    )
    dataset: str | None = Field(default=None, description="a set of `mezzotint data list`; a plain folder without it")
    split: str | None = Field(default=None, description="a split of the data set; its first one without it")
    track: str = Field(default="none", description="shipped small pictures of the data set; none: made while training")
    crop: int = Field(default=32, ge=8, description="side of a crop in low-resolution pixels")
    flips: bool = True
    rotations: bool = True
    preset: str | None = Field(
        default=None, description="a degradation that draws anew for each crop, as bsrgan, in place of the next three"
    )
    reuse: int = Field(
        default=1, ge=1, le=64, description="crops cut out of each piece that a preset made small, in as many batches"
    )
    operator: str = Field(default="bicubic", description="how pictures are made small, as `mezzotint degrade` says it")
    noise: float = Field(default=0.0, ge=0, le=1000, description="deviation of noise on the small ones, in grey levels")
    jpeg: int | None = Field(default=None, ge=1, le=100, description="quality of JPEG that the small ones pass through")
    blur: tuple[float, float] | None = Field(
        default=None, description="least and largest deviation, in small pixels, of a blur of the small ones"
    )
    blur_share: float = Field(default=0.5, ge=0, le=1, description="share of the crops that are blurred")
    cache_mb: int | None = Field(
        default=None, ge=0, description="megabytes that decoded pictures may take; all are kept without it"
    )
    unpacked: Path | None = Field(
        default=None, description="a folder for decoded pictures, where a data set is larger than memory"
    )
    workers: int = Field(default=0, ge=0, le=64, description="processes that make crops ahead")


class Optimiser(_Strict):
    """Adam with warm-up, a cosine decay and clipped gradients."""

    rate: float = Field(default=1e-3, gt=0)
    final_rate: float = Field(default=1e-6, ge=0)
    warmup: float = Field(default=0.03, ge=0, lt=1, description="share of the steps")
    betas: tuple[float, float] = (0.9, 0.99)
    clip: float = Field(default=1.0, gt=0, description="limit of the gradient's norm")
    ema: float = Field(default=0.999, ge=0, lt=1)


class Objective(_Strict):
    """The loss, and how it changes near the end."""

    norm: Literal["l1", "l2"] | None = Field(default=None, description="norm of the loss; the method's own without it")
    final_norm: Literal["l1", "l2"] | None = Field(default=None, description="norm from `final_from` on")
    final_from: float = Field(default=0.7, ge=0, le=1, description="share of the steps")
    perceptual: float = Field(default=0.0, ge=0, description="weight of LPIPS with VGG16, where the method takes it")
    perceptual_from: float = Field(default=0.7, ge=0, le=1, description="share of the steps")
    adversarial: float = Field(default=1.0, ge=0, description="weight of a critic, where the stage has one")
    spread: float = Field(default=1.0, gt=0, le=1, description="of an energy score, where the method takes it")
    perceptual_spread: float | None = Field(
        default=None, gt=0, le=1, description="that of the perceptual part of the score; `spread` without it"
    )
    regulariser: Literal["none", "weight-decay"] = "none"
    regulariser_weight: float = Field(default=0.0, ge=0)


class Run(_Strict):
    """One training run of one stage of one method."""

    method: str
    preset: str = "small"
    config: dict[str, Any] = Field(default={}, description="settings of the preset that are changed, key by key")
    stage: str | None = Field(default=None, description="name of the stage; the method's last one without it")
    scale: int = Field(default=4, ge=1, le=16)
    initial: Path | None = Field(default=None, description="weights to start from (a folder or file of this method)")
    output: Path = Path("runs/run")
    steps: int = Field(..., ge=1)
    batch: int = Field(default=16, ge=1)
    seed: int = Field(default=0, ge=0)
    precision: Literal["float32", "bfloat16"] = "float32"
    threads: int | None = Field(default=None, ge=1)
    save_minutes: float = Field(default=10.0, gt=0)
    sheet_minutes: float = Field(default=20.0, gt=0, description="a sheet of samples every so often")
    pictures: Pictures
    optimiser: Optimiser = Optimiser()
    objective: Objective = Objective()


def _assign(tree: dict[str, Any], key: str, value: str) -> None:
    *path, last = key.split(".")
    for part in path:
        tree = tree.setdefault(part, {})
        if not isinstance(tree, dict):
            raise UsageError(f"--set {key}: {part} is a value, not a table of the run file")
    try:
        tree[last] = tomllib.loads(f"value = {value}")["value"]
    except tomllib.TOMLDecodeError:
        tree[last] = value


def read_run(path: str | Path, *, changes: tuple[str, ...] = ()) -> Run:
    """Read a run file and apply `changes` ("optimiser.rate=2e-4"); raises UsageError that names the key at fault."""
    path = Path(path)
    try:
        tree = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"run file {path} cannot be read: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"run file {path} is not TOML: {error}") from None
    for change in changes:
        key, separator, value = change.partition("=")
        if not separator or not key:
            raise UsageError(f"--set {change!r} is not KEY=VALUE: write for example --set optimiser.rate=2e-4")
        _assign(tree, key.strip(), value.strip())
    try:
        return Run.model_validate(tree)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"]) or "the file"
        raise UsageError(f"run file {path}: {place}: {first['msg']}") from None
