"""Options as text, checked: every refusal names the value, the limit and the way out."""

from __future__ import annotations

import math
from pathlib import Path

from mezzotint.errors import UsageError

LARGEST_SCALE = 64
LARGEST_SEED = 2**64 - 1001
LARGEST_STEPS = 4000
SMALLEST_TILE = 16
LARGEST_GUIDANCE = 100
LARGEST_NOISE = 1000
OPERATORS = "bicubic, lanczos, average, gaussian:SIGMA, mask:FILE, grey, identity or FILE.toml"
COLOURS = ("none", "mean-std", "wavelet")
DEVICES = ("auto", "cpu", "cuda", "mps")
ENGINES = ("eager", "compile", "openvino")
ENGINES_HELP = f"What computes the networks: {', '.join(ENGINES)} (docs/engines.md)."


def integer(text: str, *, option: str, low: int, high: int | None = None) -> int:
    """Return the whole number that an option was given, between `low` and `high`."""
    try:
        value = int(text)
    except ValueError:
        raise UsageError(f"{option} {text!r} is not a whole number: use for example {option} {low}") from None
    if value < low:
        raise UsageError(f"{option} {value} is below the smallest, {low}: use {option} {low} or more")
    if high is not None and value > high:
        raise UsageError(f"{option} {value} is above the largest, {high}: use {option} {high} or less")
    return value


def real(text: str, *, option: str, low: float, high: float) -> float:
    """Return the finite number that an option was given, between `low` and `high`."""
    try:
        value = float(text)
    except ValueError:
        raise UsageError(f"{option} {text!r} is not a number: use one from {low:g} to {high:g}") from None
    if not math.isfinite(value) or not low <= value <= high:
        raise UsageError(f"{option} {text} is not in the range {low:g} to {high:g}")
    return value


def reals(text: str, *, option: str, low: float, high: float) -> tuple[float, ...]:
    """Return the numbers of a list such as `0,0.5,1`."""
    return tuple(real(part.strip(), option=option, low=low, high=high) for part in text.split(","))


def integers(text: str, *, option: str, low: int, high: int | None = None) -> tuple[int, ...]:
    """Return the whole numbers of a list such as `1,4,16`."""
    return tuple(integer(part.strip(), option=option, low=low, high=high) for part in text.split(","))


def scale(text: str, *, keeps: bool = False) -> float:
    """Return the magnification, high-resolution over low-resolution size: above 1, at most 64; `keeps` allows 1."""
    try:
        value = float(text)
    except ValueError:
        raise UsageError(f"--scale {text!r} is not a number: use for example --scale 4") from None
    if not math.isfinite(value) or not (1 < value <= LARGEST_SCALE or (keeps and value == 1)):
        raise UsageError(f"--scale {text} is not above 1 and at most {LARGEST_SCALE}: use for example --scale 4")
    return value


def restores(*methods: str) -> bool:
    """Whether one of the methods is a zero-shot solver, which may leave the size of a picture as it is."""
    from mezzotint.methods.table import resolve

    for method in methods:
        try:
            card = resolve(method).card
        except UsageError:
            continue  # said when it is loaded
        if card is not None and card.family == "zero-shot":
            return True
    return False


def seed(text: str) -> int:
    return integer(text, option="--seed", low=0, high=LARGEST_SEED)


def seconds(text: str, *, option: str) -> float:
    """Return the positive, finite number of seconds that an option was given."""
    try:
        value = float(text)
    except ValueError:
        raise UsageError(f"{option} {text!r} is not a number of seconds: use for example {option} 60") from None
    if not math.isfinite(value) or value <= 0:
        raise UsageError(f"{option} {text} is not a positive number of seconds: use for example {option} 60")
    return value


def range_of_values(text: str) -> tuple[float, float]:
    """Return the two numbers of a range such as `0,255`, the smaller first."""
    try:
        low, high = (float(part) for part in text.split(","))
    except ValueError:
        raise UsageError(f"--range {text!r} is not two numbers: use for example --range 0,255") from None
    if not (math.isfinite(low) and math.isfinite(high) and low < high):
        raise UsageError(f"--range {text} is no range: name a smaller and a larger value, as in --range 0,255")
    return low, high


def noise(text: str | None) -> float | str | None:
    """Return the standard deviation in grey levels that an option was given, "auto", or None where it was left out."""
    return text if text in (None, "auto") else real(text, option="--noise", low=0, high=LARGEST_NOISE)


def tile(text: str) -> int | str | None:
    """Return the side of a tile in input pixels, "auto", or None for the whole picture at once."""
    if text == "auto":
        return "auto"
    if text == "none":
        return None
    try:
        value = int(text)
    except ValueError:
        raise UsageError(f"--tile {text!r} is neither a number of pixels nor auto nor none: use --tile auto") from None
    if value < SMALLEST_TILE:
        raise UsageError(
            f"tile {value} is smaller than the smallest, {SMALLEST_TILE} input pixels: "
            f"use --tile {SMALLEST_TILE} or larger, or --tile auto"
        )
    return value


def one_of(text: str, *, option: str, choices: tuple[str, ...]) -> str:
    """Return the text if it is one of the choices."""
    if text not in choices:
        raise UsageError(f"{option} {text!r} is unknown: use one of {', '.join(choices)}")
    return text


def existing_folder(path: Path, *, option: str) -> Path:
    """Return the path if it is a folder."""
    if not path.is_dir():
        reason = "is not a folder" if path.exists() else "does not exist"
        raise UsageError(f"{option} {str(path)!r} {reason}: name a folder of pictures")
    return path


def output_file(path: Path, *, option: str) -> Path:
    """Return the path if a file can be made there: its folder exists and it is no folder itself."""
    if path.is_dir():
        raise UsageError(f"{option} {str(path)!r} is a folder: name a file")
    if not path.parent.is_dir():
        raise UsageError(f"{option} {str(path)!r}: the folder {str(path.parent)!r} does not exist: make it first")
    return path
