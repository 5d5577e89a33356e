"""The record of a run: what was asked for, with which parts, what was adapted and what came out."""

from __future__ import annotations

import json
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from mezzotint.errors import InputError


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Request(_Strict):
    """Everything that the pixels of a result depend on. Equal requests make equal pictures on one machine.

    Sizes are (height, width) in pixels; `chain` lists the passes ("mezzotint-x4", "bicubic to 300x400");
    `picture` is the number of the input picture, 16 hexadecimal digits.
    """

    version: str
    method: str
    weights: str
    picture: str
    input_size: tuple[int, int]
    channels: int
    output_size: tuple[int, int]
    chain: tuple[str, ...]
    seed: int
    steps: int | None = None
    realism: float | None = None
    consistent: bool = False
    colour: str = "none"


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
    """How a result was written: format ("png", "jpeg", "webp") and quality, None where the format has none."""

    format: str
    quality: int | None = None


class Record(_Strict):
    """The record that is written into the result's metadata or beside it."""

    format: int = 1
    request: Request
    libraries: dict[str, str]
    reason: str = ""
    adapted: tuple[str, ...] = ()
    evaluations: int = 0
    tile: int | None = None
    seconds: float = 0.0
    consistency: Consistency | None = None
    saved: Saved | None = None


def to_json(record: Record) -> str:
    """Return the record as one line of JSON."""
    return record.model_dump_json()


def from_json(text: str) -> Record:
    """Read a record; raises InputError when the text is no record of this format."""
    try:
        return Record.model_validate_json(text)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"]) or "the text"
        raise InputError(f"this is no record of mezzotint: {place}: {first['msg']}") from None


def same_request(text: str, request: Request) -> bool:
    """Return whether a record found in a file was made by exactly this request."""
    try:
        found: Any = json.loads(text)
        return Request.model_validate(found["request"]) == request
    except (ValueError, KeyError, TypeError):
        return False
