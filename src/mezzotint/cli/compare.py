"""`mezzotint compare`: how near one picture is to another."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mezzotint.cli import exits, options
from mezzotint.cli.messages import Messages, one_line
from mezzotint.errors import InputError

if TYPE_CHECKING:
    import numpy as np

# A shift of the candidate that lowers the squared error by less than this share is chance, not misalignment.
_SHIFT_GAIN = 0.1
_LARGEST_SHIFT = 2


def compare(
    reference: Annotated[Path, typer.Argument(metavar="REFERENCE", help="The true picture.")],
    candidate: Annotated[Path, typer.Argument(metavar="CANDIDATE", help="The picture to judge, of the same size.")],
    scale: Annotated[
        str, typer.Option(metavar="NUMBER", help="Magnification that made the candidate; decides the border cut off.")
    ] = "4",
    protocol: Annotated[str, typer.Option(metavar="NAME", help="y-modern, y-classic, rgb or rgb-full.")] = "y-modern",
    explain: Annotated[
        bool,
        typer.Option(
            "--explain", help="Compare under every protocol, say what the one asked for does, and what may be wrong."
        ),
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the figures as JSON.")] = False,
) -> int:
    """Print PSNR, SSIM, LPIPS and LR-PSNR of a picture against the true one."""
    factor = options.real(scale, option="--scale", low=1, high=options.LARGEST_SCALE)

    from mezzotint import images
    from mezzotint.quality import protocols

    rules = protocols.find(protocol)
    try:
        true, judged = images.read_plain(reference), images.read_plain(candidate)
        if true.pixels.shape[:2] != judged.pixels.shape[:2]:
            raise InputError(
                f"{candidate} has {judged.width}x{judged.height} pixels, {reference} has {true.width}x{true.height}: "
                "only pictures of one size can be compared"
            )
        note = _channels(reference, true.pixels, candidate, judged.pixels, one_channel=rules.one_channel)
        figures = _figures(true.pixels, judged.pixels, protocol=rules.name, scale=factor)
    except InputError as error:
        Messages().warn(f"mezzotint: {one_line(error)}")
        return exits.FAILED
    if note:
        Messages().warn(f"mezzotint: {note}")
    notes = _findings(true.pixels, judged.pixels, scale=factor) if explain else []
    table = _by_protocol(true.pixels, judged.pixels, scale=factor) if explain else {}
    if as_json:
        result = {"protocol": rules.name, "scale": factor, **{key: _storable(value) for key, value in figures.items()}}
        if explain:
            stored = {name: {key: _storable(value) for key, value in row.items()} for name, row in table.items()}
            result |= {"protocols": stored, "steps": list(rules.steps(scale=factor)), "findings": notes}
        print(json.dumps(result, indent=2))
        return exits.DONE
    for name, value in figures.items():
        print(f"{name:<8} {'not defined for this size' if value is None else format(value, _DIGITS[name])}")
    print(f"protocol {rules.name}, scale {factor:g}")
    if explain:
        print("under every protocol:")
        print(f"  {'':<10}" + "".join(f"{key:>12}" for key in next(iter(table.values()))))
        for name, row in table.items():
            print(f"  {name:<10}" + "".join(f"{_text(value, _DIGITS[key]):>12}" for key, value in row.items()))
    for line in [*rules.steps(scale=factor), *notes] if explain else []:
        print(f"- {line}")
    return exits.DONE


def _channels(
    reference: Path, true: np.ndarray, candidate: Path, judged: np.ndarray, *, one_channel: bool
) -> str:
    """What is to be said where one picture is grey and the other is not; InputError where they cannot be compared."""
    if true.shape[2] == judged.shape[2]:
        return ""
    if true.shape[2] == 1:
        return f"{reference} is grey: {candidate} is compared with three equal channels, under y-classic by its luma"
    if not one_channel and bool((true != true[..., :1]).any()):
        raise InputError(
            f"{candidate} is grey and {reference} has colours: give it three channels, or use --protocol y-classic, "
            "which takes one channel for the luma"
        )
    return f"{candidate} is grey: it counts as three equal channels, under y-classic as the luma"


_DIGITS = {
    "psnr": ".4f",
    "ssim": ".6f",
    "lpips": ".4f",
    "lr_psnr": ".2f",
    "ms_ssim": ".6f",
    "luminance": ".6f",
    "contrast": ".6f",
    "structure": ".6f",
}


def _text(value: float | None, digits: str) -> str:
    return "-" if value is None else format(value, digits)


def _by_protocol(true: np.ndarray, judged: np.ndarray, *, scale: float) -> dict[str, dict[str, float | None]]:
    """Return what each protocol says of the pair: PSNR, SSIM, its three factors' means, and MS-SSIM."""
    from mezzotint import quality
    from mezzotint.quality import protocols

    table: dict[str, dict[str, float | None]] = {}
    for name in protocols.names():
        row: dict[str, float | None] = dict.fromkeys(("psnr", "ssim", "luminance", "contrast", "structure", "ms_ssim"))
        row["psnr"] = _defined(lambda name=name: quality.psnr(true, judged, protocol=name, scale=scale))
        row["ssim"] = _defined(lambda name=name: quality.ssim(true, judged, protocol=name, scale=scale))
        if row["ssim"] is not None:
            maps = quality.ssim_maps(true, judged, protocol=name, scale=scale)
            for key in ("luminance", "contrast", "structure"):
                row[key] = float(getattr(maps, key).mean())
        row["ms_ssim"] = _defined(lambda name=name: quality.ms_ssim(true, judged, protocol=name, scale=scale))
        table[name] = row
    return table


def _figures(true: np.ndarray, judged: np.ndarray, *, protocol: str, scale: float) -> dict[str, float | None]:
    from mezzotint import quality
    from mezzotint.quality.protocols import find

    small = find("rgb").pair(true, scale=scale)
    height, width = small.reference.shape[:2]
    reduced = judged[:height, :width]
    if reduced.shape[2] == 1:
        reduced = reduced.repeat(3, axis=2)
    return {
        "psnr": quality.psnr(true, judged, protocol=protocol, scale=scale),
        "ssim": _defined(lambda: quality.ssim(true, judged, protocol=protocol, scale=scale)),
        "lpips": _defined(lambda: quality.lpips(true, judged)),
        "lr_psnr": quality.lr_psnr(reduced, small.x, scale=scale),
    }


def _defined(measure: Callable[[], float]) -> float | None:
    """Return what a measure gives, or None where the pictures are too small for it."""
    try:
        return measure()
    except InputError:
        return None


def _findings(true: np.ndarray, judged: np.ndarray, *, scale: float) -> list[str]:
    """Return what often explains a low figure: a colour cast, a shift, a bad border."""
    import numpy as np

    from mezzotint import quality

    found = []
    a, b = (np.repeat(p, 3 // p.shape[2], axis=2).astype(np.float64) for p in (true, judged))
    cast = quality.colour_difference(true, judged)[0]
    found.append(f"mean difference in grey levels: red {cast[0]:+.2f}, green {cast[1]:+.2f}, blue {cast[2]:+.2f}")
    errors = _errors_by_shift(a, b)
    if len(errors) > 1:
        best = min(errors, key=errors.__getitem__)
        if errors[best] < (1 - _SHIFT_GAIN) * errors[0, 0]:
            gain = 10 * math.log10(errors[0, 0] / max(errors[best], 1e-12))
            found.append(f"moved by {best[1]} pixels across and {best[0]} down it would score {gain:.2f} dB more")
        else:
            found.append(f"no shift of up to {_LARGEST_SHIFT} pixels would score more")
    border = math.ceil(scale)
    if min(a.shape[:2]) > 2 * border:
        squares = np.square(a - b)
        inner = squares[border:-border, border:-border]
        outer = (squares.sum() - inner.sum()) / (squares.size - inner.size)
        found.append(
            f"root mean square error in grey levels: {math.sqrt(outer):.2f} within {border} pixels of the border, "
            f"{math.sqrt(inner.mean()):.2f} elsewhere"
        )
    return found


def _errors_by_shift(a: np.ndarray, b: np.ndarray) -> dict[tuple[int, int], float]:
    """Return the mean squared error for each shift (down, across) of b, over the part that all shifts share."""
    import numpy as np

    reach = _LARGEST_SHIFT
    if min(a.shape[:2]) <= 2 * reach:
        return {(0, 0): float(np.square(a - b).mean())}
    height, width = a.shape[0] - 2 * reach, a.shape[1] - 2 * reach
    inner = a[reach : reach + height, reach : reach + width]
    return {
        (down, across): float(np.square(inner - b[reach - down :][:height, reach - across :][:, :width]).mean())
        for down in range(-reach, reach + 1)
        for across in range(-reach, reach + 1)
    }


def _storable(value: float | None) -> float | str | None:
    """Return a figure as JSON can hold it: infinity becomes the string "inf"."""
    return value if value is None or math.isfinite(value) else str(value)
