"""The record of a run: what was asked for, with which parts, what was adapted and what came out.

A record is JSON in the metadata of a result or in a file of its own. It names files without their folders, and neither
a user nor a computer by name.
"""

from __future__ import annotations

import json
import os
import platform
import re
from collections.abc import Callable, Mapping
from functools import lru_cache
from importlib import metadata
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_serializer, field_validator, model_validator

from mezzotint import __version__
from mezzotint.errors import InputError

FORMAT = 5
"""The format that is written; older ones are read as well."""

Side = Annotated[int, Field(ge=1)]
Size = tuple[Side, Side]


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Request(_Strict):
    """Everything that the pixels of a result depend on. Equal requests make equal pictures on one machine.

    Sizes are (height, width) in pixels; `weights` is the digest of the tensors, a SHA-256, "" for a method without;
    `chain` lists the passes ("mezzotint-x4", "bicubic to 300x400"); `picture` is the number of the input picture, 16
    hexadecimal digits; `guidance` is the survey's lambda, 1 without; `coding` is what its samples stand for ("uint8
    rgb", "float32 grey alpha linear"). `operator` names what a zero-shot solver took the picture to be made small by,
    files without their folders, "" for other methods; `operator_sha256` is the digest of what those files say; `noise`
    is the standard deviation of the noise that it expected, in grey levels of 255.
    """

    version: str
    method: str
    weights: str
    picture: str = Field(pattern=r"^[0-9a-f]{16}$")
    input_size: Size
    channels: int = Field(ge=1)
    output_size: Size
    chain: tuple[str, ...]
    seed: int = Field(ge=0, lt=2**64)
    steps: int | None = Field(default=None, ge=1)
    realism: float | None = Field(default=None, ge=0, le=1)
    consistent: bool = False
    guidance: float = 1.0
    colour: str = "none"
    coding: str = ""
    operator: str = ""
    operator_sha256: str = Field(default="", pattern=r"^([0-9a-f]{64})?$")
    noise: float = Field(default=0.0, ge=0)


class Consistency(_Strict):
    """Root mean square and largest difference to the input, in grey levels of 255, of a result made small again."""

    operator: str
    before_rms: float
    before_max: float
    after_rms: float
    after_max: float
    saved_rms: float
    saved_max: float


class Saved(_Strict):
    """How a result was written: format ("png", "jpeg", ...), quality, None where nothing was lost but bits, and `bits`
    a sample, 32 for floats, None where it was not noted."""

    format: str
    quality: int | None = None
    bits: int | None = None


class Machine(_Strict):
    """What a result was computed on and in: enough to explain a last bit that differs, nothing that names a computer.

    `device` as PyTorch names its kind ("cpu", "cuda", "mps"), `dtype` of the network ("float32"), `threads` of one
    operation, `platform` is system and processor ("Linux x86_64"), `python` its version. `engine` computed the networks
    ("eager", "compile", "openvino").
    """

    device: str
    dtype: str
    threads: int = Field(ge=1)
    platform: str
    python: str
    engine: str = "eager"

    @classmethod
    def here(cls, *, device: str = "cpu", dtype: str = "float32", engine: str = "eager") -> Machine:
        """Return what this process runs on; `device` and `dtype` may be given as PyTorch prints them."""
        import torch

        return cls(
            device=device.partition(":")[0],
            dtype=dtype.removeprefix("torch."),
            threads=torch.get_num_threads(),
            platform=f"{platform.system()} {platform.machine()}",
            python=platform.python_version(),
            engine=engine,
        )


class Deadline(_Strict):
    """The seconds that a run was given, and in words what was chosen to keep to them."""

    seconds: float = Field(gt=0)
    chosen: str = ""


class Record(_Strict):
    """The record that is written into the result's metadata or beside it.

    format: of this record.
    request: what the pixels depend on.
    libraries: version by name, see `libraries`.
    reason: why the method was chosen.
    adapted: one line for everything that was converted on the way.
    evaluations: of the network.
    tile: side of the tiles in input pixels, None for the whole picture.
    seconds: of the whole run; `timings` are its parts by name: "reading", "network", "consistency", "writing". A
        record inside a picture was finished before the picture was written, so it has no "writing".
    consistency, saved: measured and written, None where not.
    source, source_sha256: name of the input file, and SHA-256 of its bytes; "" for a picture that came from no file.
    output: name of the result's file.
    recipe: name of the method in the table where `request.method` is the name on a card of weights.
    sizes: the size (height, width) that each pass of the chain reached, one for each.
    machine: what it ran on.
    deadline, plan: the deadline if one was given; what was planned before the run, by name.

    Names of files lose their folders when they are read and written, whoever fills them in.
    """

    format: int = FORMAT
    request: Request
    libraries: dict[str, str]
    reason: str = ""
    adapted: tuple[str, ...] = ()
    evaluations: int = Field(default=0, ge=0)
    tile: int | None = Field(default=None, ge=1)
    seconds: float = Field(default=0.0, ge=0)
    consistency: Consistency | None = None
    saved: Saved | None = None
    source: str = ""
    source_sha256: str = Field(default="", pattern=r"^([0-9a-f]{64})?$")
    output: str = ""
    recipe: str = ""
    sizes: tuple[Size, ...] = ()
    timings: dict[str, Annotated[float, Field(ge=0)]] = {}
    machine: Machine | None = None
    deadline: Deadline | None = None
    plan: dict[str, bool | int | float | str | None] = {}

    @field_validator("source", "output", mode="before")
    @classmethod
    def _read_name(cls, name: Any) -> Any:
        return _without_folder(name) if isinstance(name, str | os.PathLike) else name

    # Again when written: `model_copy` checks nothing.
    @field_serializer("source", "output")
    def _written_name(self, name: str) -> str:
        return _without_folder(name)

    @field_serializer("libraries", "timings", "plan")
    def _in_order(self, table: dict[str, Any]) -> dict[str, Any]:
        """Equal records are equal text, in whatever order they were filled."""
        return {key: table[key] for key in sorted(table)}

    @model_validator(mode="after")
    def _one_size_a_pass(self) -> Record:
        if self.sizes and len(self.sizes) != len(self.request.chain):
            raise ValueError(f"{len(self.sizes)} sizes for {len(self.request.chain)} passes")
        if self.sizes and self.sizes[-1] != self.request.output_size:
            raise ValueError(f"the last size {self.sizes[-1]} is not that of the result, {self.request.output_size}")
        return self


def to_json(record: Record) -> str:
    """Return the record as one line of JSON; equal records give equal lines."""
    return record.model_dump_json()


def from_json(text: str) -> Record:
    """Read a record of this format or an older one.

    Raises InputError for a text that is no record, with the place of the first mistake, and for a record of a newer
    format.
    """
    return _record(_parsed(text))


def all_from_json(text: str) -> tuple[Record, ...]:
    """Read one record or a list of them, as `upscale --record` writes; raises InputError as `from_json` does."""
    content = _parsed(text)
    if not isinstance(content, list):
        return (_record(content),)
    if not content:
        raise InputError("this is no record of mezzotint: the list is empty")
    return tuple(_record(one, place=f"record {number}: ") for number, one in enumerate(content, start=1))


def same_request(text: str, request: Request) -> bool:
    """Return whether a record found in a file was made by exactly this request."""
    try:
        found: Any = json.loads(text)
        return Request.model_validate(found["request"]) == request
    except (ValueError, KeyError, TypeError, RecursionError):
        return False


def differences(first: Request, second: Request) -> tuple[str, ...]:
    """Return in words what differs, one line a field in the order of the fields: "seed 0 against 1"."""
    lines = []
    for name in Request.model_fields:
        one, other = getattr(first, name), getattr(second, name)
        if one != other:
            lines.append(f"{name.replace('_', ' ')} {_shown(name, one)} against {_shown(name, other)}")
    return tuple(lines)


@lru_cache(maxsize=1)
def _libraries() -> Mapping[str, str]:
    import numpy
    import pyvips
    import torch

    return {
        "libvips": ".".join(str(pyvips.version(part)) for part in range(3)),
        "numpy": numpy.__version__,
        "pyvips": metadata.version("pyvips"),
        "torch": str(torch.__version__),
    }


def libraries(*, engine: str = "eager") -> dict[str, str]:
    """Return the versions of the libraries that a result may depend on, where this engine computed the networks."""
    found = dict(_libraries())
    if engine == "openvino":
        found["openvino"] = metadata.version("openvino")
    return dict(sorted(found.items()))


def source_of(path: str | os.PathLike[str]) -> dict[str, str]:
    """Return the fields `source` and `source_sha256` of a record for an input file; raises InputError if it is gone."""
    from mezzotint.weights import sha256

    try:
        return {"source": Path(path).name, "source_sha256": sha256(Path(path))}
    except OSError as error:
        raise InputError(f"{path} cannot be read: {(error.strerror or str(error)).lower()}: check the name") from error


def _without_folder(name: str | os.PathLike[str]) -> str:
    # A name that is no text keeps what can be read of it.
    return re.split(r"[/\\]", os.fsencode(name).decode("utf-8", "replace"))[-1]


def _parsed(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        fact = "it is nested too deeply" if isinstance(error, RecursionError) else error
        raise InputError(f"this is no record of mezzotint: it is no JSON text ({fact})") from None


def _record(content: Any, *, place: str = "") -> Record:
    if not isinstance(content, dict):
        raise InputError(f"this is no record of mezzotint: {place}no table of fields, but {_kind(content)}")
    content = _migrated(content, place=place)
    try:
        # From text again: a tuple is a list in JSON, and only that reading knows it.
        return Record.model_validate_json(json.dumps(content))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "the fields"
        if first["type"] == "extra_forbidden":
            raise InputError(
                f"this is no record of this version of mezzotint: {place}the field {where!r} is unknown to "
                f"{__version__}, the record is by {_version(content)}: use that version, or remove the field"
            ) from None
        raise InputError(
            f"this is no record of mezzotint: {place}{where}: {first['msg'].removeprefix('Value error, ')}"
        ) from None


def _migrated(content: dict[str, Any], *, place: str) -> dict[str, Any]:
    """Return the fields in the newest format; raises InputError for a format that is newer still, or none at all."""
    found = content.get("format", 1)
    if isinstance(found, bool) or not isinstance(found, int) or found < 1:
        raise InputError(f"this is no record of mezzotint: {place}format {found!r} is not a number from 1 to {FORMAT}")
    if found > FORMAT:
        raise InputError(
            f"{place}the record has format {found}, written by mezzotint {_version(content)}; this is {__version__} "
            f"and reads up to format {FORMAT}: upgrade mezzotint"
        )
    for step in _MIGRATIONS[found - 1 :]:
        content = step(content)
    return {**content, "format": FORMAT}


def _from_1(content: dict[str, Any]) -> dict[str, Any]:
    """Format 2 adds fields that have defaults: source to plan."""
    return content


def _from_2(content: dict[str, Any]) -> dict[str, Any]:
    """Format 3 adds guidance to the request, 1 by default."""
    return content


def _from_3(content: dict[str, Any]) -> dict[str, Any]:
    """Format 4 adds operator and noise to the request, none by default."""
    return content


def _from_4(content: dict[str, Any]) -> dict[str, Any]:
    """Format 5 adds the engine to the machine, eager by default."""
    return content


# How a record of format k + 1 becomes one of format k + 2.
_MIGRATIONS: tuple[Callable[[dict[str, Any]], dict[str, Any]], ...] = (_from_1, _from_2, _from_3, _from_4)


def _version(content: dict[str, Any]) -> str:
    request = content.get("request")
    version = request.get("version") if isinstance(request, dict) else None
    return version if isinstance(version, str) and version else "an unknown version"


def _kind(content: Any) -> str:
    names = {list: "a list", str: "a text", bool: "a truth value", int: "a number", float: "a number"}
    return names.get(type(content), "nothing")


def _shown(name: str, value: Any) -> str:
    if value is None or value == "":
        return "none"
    if isinstance(value, bool):
        return "on" if value else "off"
    if name in ("input_size", "output_size"):
        return f"{value[1]}x{value[0]}"
    if name == "chain":
        return f"({', then '.join(value)})"
    if name in ("weights", "operator_sha256"):
        return f"{value[:12]}..." if len(value) > 12 else value
    return f"{value:g}" if isinstance(value, float) else str(value)
