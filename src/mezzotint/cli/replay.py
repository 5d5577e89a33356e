"""`mezzotint replay`: make a result again from its record, and see whether it comes out the same."""

from __future__ import annotations

import dataclasses
import json
import math
import re
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mezzotint.cli import exits, options
from mezzotint.cli.messages import Messages, one_line
from mezzotint.cli.records import is_json, records_in
from mezzotint.errors import InputError, MezzotintError, UsageError

if TYPE_CHECKING:
    import numpy as np

    from mezzotint.images import Picture
    from mezzotint.record import Record, Request
    from mezzotint.upscaler import Upscaler


@dataclasses.dataclass(frozen=True)
class Tolerance:
    """How far a result may lie from the picture that is made again, on another machine; on the same one it is equal.

    levels: the largest difference, in grey levels of 255. share: of the samples that may differ at all.
    """

    levels: float
    share: float

    def holds(self, difference: Difference) -> bool:
        return difference.largest <= self.levels and difference.differing <= self.share * difference.samples

    def describe(self) -> str:
        share = "any share" if self.share == 1 else f"{self.share * 100:g} %"
        return f"at most {_levels(self.levels)} in {share} of the samples"


# Sums in another order change a value by about 1e-6, which now and then rounds to the next grey level.
EIGHT_BITS = Tolerance(levels=1, share=1e-4)
# Finer samples show the change itself.
FINE = Tolerance(levels=255e-4, share=1)
# A sample that rounds otherwise changes the whole block that a lossy format codes, 8 x 8 pixels of 3 channels.
LOSSY = Tolerance(levels=4, share=0.02)


@dataclasses.dataclass(frozen=True)
class Difference:
    """How two pictures of one shape differ: number of samples, of those that differ, and the largest difference and
    the PSNR, on the scale on which white is 255 levels from black."""

    samples: int
    differing: int
    largest: float
    psnr: float

    @classmethod
    def between(cls, old: np.ndarray, new: np.ndarray, *, span: float = 1.0) -> Difference:
        """Compare samples of one shape and type; `span`: how far white is from black in float samples."""
        import numpy as np

        peak = float(np.iinfo(old.dtype).max) if np.issubdtype(old.dtype, np.integer) else span
        error = np.abs(old.astype(np.float64) - new.astype(np.float64)) * (255 / peak)
        mean = float(np.square(error).mean())
        return cls(
            samples=old.size,
            differing=int(np.count_nonzero(old != new)),
            largest=round(float(error.max()), 6),
            psnr=round(10 * math.log10(255**2 / mean), 4) if mean > 0 else math.inf,
        )

    def describe(self) -> str:
        if not self.differing:
            return f"equal in all {self.samples} samples"
        share = 100 * self.differing / self.samples
        return (
            f"{self.differing} of {self.samples} samples differ ({share:.3g} %), by at most {_levels(self.largest)}; "
            f"PSNR {self.psnr:.2f} dB"
        )

    def as_row(self) -> dict[str, Any]:
        return {**dataclasses.asdict(self), "psnr": self.psnr if math.isfinite(self.psnr) else "inf"}


def _levels(value: float) -> str:
    return f"{value:.3g} grey level{'' if value == 1 else 's'} of 255"


def replay(
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="A result with its record inside, or a file of records.")
    ],
    given: Annotated[
        Path | None,
        typer.Option(
            "--input",
            metavar="PICTURE",
            help="The picture that it was made from; looked for beside FILE and here if left out.",
        ),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", metavar="FILE", help="The result that a file of records is about."),
    ] = None,
    pick: Annotated[
        str | None, typer.Option(metavar="N", help="Which record of a file with several, counted from 1.")
    ] = None,
    weights: Annotated[
        str | None,
        typer.Option(metavar="FILE|FOLDER", help="The weights that were used, where they are not in the package."),
    ] = None,
    operator: Annotated[
        str | None,
        typer.Option(
            metavar="mask:FILE|FILE.toml",
            help="The file of the operator that was used, where it is neither beside FILE nor here.",
        ),
    ] = None,
    device: Annotated[
        str | None, typer.Option(metavar="NAME", help=f"{', '.join(options.DEVICES)}; that of the record if left out.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the findings as JSON.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Show no progress.")] = False,
) -> int:
    """Make a result again from its record and compare. Exit status 0 if it matches, 1 if not."""
    if device is not None:
        options.one_of(device, option="--device", choices=options.DEVICES)
        if not _is_usable(device):
            raise UsageError(f"--device {device} is not available here: use --device cpu or auto")
    number = None if pick is None else options.integer(pick, option="--pick", low=1)
    messages = Messages(quiet=quiet)
    try:
        record, result = _chosen(file, output=output, number=number)
        findings = _replay(
            record, result, given=given, weights=weights, operator=operator, device=device, messages=messages, file=file
        )
    except InputError as error:
        messages.warn(f"mezzotint: {one_line(error)}")
        return exits.FAILED
    print(json.dumps(findings, indent=2) if as_json else "\n".join(_lines(findings)))
    return exits.DONE if findings["matches"] else exits.FAILED


# -- which result ---------------------------------------------------------------------------------------------------


def _chosen(file: Path, *, output: Path | None, number: int | None) -> tuple[Record, Path]:
    """Return the record and the result that is meant."""
    if not is_json(file):
        for option, value in (("--output", output), ("--pick", number)):
            if value is not None:
                raise UsageError(f"{option} goes with a file of records, and {file} is a picture: leave {option} out")
        return records_in(file)[0], file
    records = records_in(file)
    record = _picked(records, file=file, output=output, number=number)
    if output is not None:
        return record, output
    places = _beside(record.output, file)
    if not places:
        named = f"{record.output}, which is neither beside it nor here" if record.output else "no result"
        raise UsageError(f"{file} names {named}: name the result with --output")
    return record, places[0]


def _picked(records: tuple[Record, ...], *, file: Path, output: Path | None, number: int | None) -> Record:
    if number is not None:
        if number > len(records):
            raise UsageError(f"--pick {number} is above the number of records in {file}, {len(records)}: use less")
        return records[number - 1]
    if len(records) == 1:
        return records[0]
    fitting = [record for record in records if output is not None and record.output == output.name]
    if len(fitting) == 1:
        return fitting[0]
    why = f"{len(fitting)} of them name {output.name}" if output is not None else "none is named"
    shown = "; ".join(f"{k}: {_title(record)}" for k, record in enumerate(records[:4], start=1))
    more = "" if len(records) <= 4 else "; ..."
    raise UsageError(
        f"{file} holds {len(records)} records and {why}: add --pick 1 to {len(records)} ({shown}{more}), and --output"
    )


def _title(record: Record) -> str:
    height, width = record.request.output_size
    words = [record.source, f"{width}x{height}", record.request.method, f"seed {record.request.seed}"]
    return " ".join(word for word in words if word)


def _beside(name: str, file: Path) -> list[Path]:
    """Return the files of a name in the folder of `file` and in the current one, `file` itself left out."""
    places = [file.parent / name, Path(name)] if name else []
    found: list[Path] = []
    for place in places:
        if place.is_file() and not any(place.samefile(other) for other in (file, *found)):
            found.append(place)
    return found


# -- making it again ------------------------------------------------------------------------------------------------


def _replay(
    record: Record,
    result: Path,
    *,
    file: Path,
    given: Path | None,
    weights: str | None,
    operator: str | None,
    device: str | None,
    messages: Messages,
) -> dict[str, Any]:
    """Make the result of a record again and return what was found, as JSON holds it."""
    from mezzotint import __version__, images
    from mezzotint.record import Machine, libraries

    request = record.request
    before = images.read(result)
    source, how = _source(request, record.source, given=given, file=file, result=result)
    device = device or _recorded_device(record)
    upscaler = _loaded(request, weights=weights, device=device, engine=_recorded_engine(record, device=device))
    arguments = _arguments(record) | _told(request, given=operator, file=file, result=result)
    try:
        picture = images.read(source)
        # The path, not the samples: it says more, such as CMYK.
        now = upscaler.request(source, **arguments)
        if now.operator_sha256 != request.operator_sha256:
            raise InputError(
                f"{arguments['operator']} is not the operator of {result}: the digest of what it says is "
                f"{now.operator_sha256 or 'none'}, recorded {request.operator_sha256 or 'none'}"
            )
        warnings = _warnings(request, now, result=result)
        for warning in warnings:
            messages.warn(f"mezzotint: warning: {one_line(warning)}")
        began = time.perf_counter()
        with messages.progress(source.name) as progress:
            made = upscaler(source, **arguments, progress=progress).image
        seconds = time.perf_counter() - began
    except UsageError as error:
        raise InputError(f"{result}: the record asks for what this version cannot do: {one_line(error)}") from error
    here = Machine.here(device=str(upscaler.device), engine=upscaler.engine)
    return {
        "result": str(result),
        "input": str(source),
        "input_found": how,
        "method": request.method,
        "request": request.model_dump(mode="json"),
        "version": {"recorded": request.version, "here": __version__},
        "weights": request.weights,
        "seconds": round(seconds, 3),
        **_compared(record, before=before, source=picture, made=made, result=result),
        "environment": _environment(record, here=here, libraries=libraries(engine=here.engine)),
        "warnings": warnings,
    }


def _source(request: Request, name: str, *, given: Path | None, file: Path, result: Path) -> tuple[Path, str]:
    """Return the input and how it was found; raises InputError where none has the recorded pixels."""
    from mezzotint import images

    height, width = request.input_size
    wanted = f"the input has {width}x{height} pixels and the number {request.picture}"
    if given is not None:
        problem = _mismatch(images.read(given), request)
        if problem is not None:
            raise InputError(f"{given} is not the input of {result}: {problem}, and {wanted}")
        return given, "given"
    if not name:
        raise InputError(f"the record of {result} does not name its input: name it with --input ({wanted})")
    places = _beside(name, file)
    problems = []
    for place in places:
        try:
            problem = _mismatch(images.read(place), request)
        except InputError as error:
            problem = one_line(error)
        if problem is None:
            return place, "beside the record" if place.parent == file.parent else "in the current folder"
        problems.append(f"{place} is another picture ({problem})")
    found = "; ".join(problems) or f"{name} is neither beside {file} nor in the current folder"
    raise InputError(f"the input of {result} is missing: {found}: name it with --input ({wanted})")


def _told(request: Request, *, given: str | None, file: Path, result: Path) -> dict[str, Any]:
    """Return what a solver is told of the input; raises InputError where a file of the operator cannot be found, and
    UsageError for one that is named and was not recorded.

    That it is the recorded one is seen by the request that it makes.
    """
    if not request.operator:
        if given is not None:
            raise UsageError(f"--operator {given}: the record of {result} has no operator: leave it out")
        return {}
    kind, colon, name = request.operator.rpartition(":")
    told: dict[str, Any] = {"operator": given or request.operator, "noise": request.noise}
    if given is not None or not request.operator_sha256:
        return told
    places = _beside(name, file)
    if not places:
        raise InputError(
            f"the operator {request.operator} of {result} is neither beside {file} nor in the current folder: name its "
            f"file with --operator {kind}{colon}FILE"
        )
    return {**told, "operator": f"{kind}{colon}{places[0]}"}


def _mismatch(picture: Picture, request: Request) -> str | None:
    """Return what tells a picture from the recorded input, or None."""
    height, width = request.input_size
    if (picture.height, picture.width) != (height, width):
        return f"it has {picture.width}x{picture.height} pixels"
    number = f"{picture.id:016x}"
    return None if number == request.picture else f"its pixels have the number {number}"


def _loaded(request: Request, *, weights: str | None, device: str, engine: str) -> Upscaler:
    """Return the upscaler of the recorded method; raises InputError where its weights are not the recorded ones."""
    from mezzotint.upscaler import load

    try:
        upscaler = load(_place(request, weights), device=device, engine=engine)
    except MezzotintError as error:
        if weights is not None:
            raise UsageError(str(error)) from None
        raise InputError(
            f"the recorded method {request.method!r} cannot be loaded: {error}: or add --weights"
        ) from None
    if upscaler.weights != request.weights:
        raise InputError(
            f"the weights differ: recorded {request.weights or 'none'}, {weights or upscaler.name} has "
            f"{upscaler.weights or 'none'}: name the recorded ones with --weights"
        )
    return upscaler


def _place(request: Request, weights: str | None) -> str:
    """Return what to load: of a solver, `weights` are those of its prior."""
    from mezzotint.methods import cards, resolve

    name = request.method.partition("@")[0]
    solvers = [card.name for card in cards() if card.family == "zero-shot"]
    if weights is not None and name in solvers and resolve(weights).method is None:
        return f"{request.method}:{weights}"
    return weights or request.method


def _recorded_device(record: Record) -> str:
    """Return the kind of device of the record where this machine has it, else "auto"."""
    kind = "auto" if record.machine is None else record.machine.device
    return kind if kind in options.DEVICES and _is_usable(kind) else "auto"


def _recorded_engine(record: Record, *, device: str) -> str:
    """Return the engine of the record where it works here, else "eager"."""
    from mezzotint.networks import engines

    engine = "eager" if record.machine is None else record.machine.engine
    try:
        engines.check(engine, device="cpu" if device == "auto" else device)
    except UsageError:
        return "eager"
    return engine


def _is_usable(device: str) -> bool:
    import torch

    available = {"cuda": torch.cuda.is_available, "mps": torch.backends.mps.is_available}
    return available.get(device, lambda: True)()


def _warnings(request: Request, now: Request, *, result: Path) -> list[str]:
    """Return what may explain other pixels: another version, and whatever that version asks for differently."""
    from mezzotint.record import differences

    # Records of the first format do not say what the samples stood for.
    known = now.model_copy(update={"version": request.version, "coding": request.coding and now.coding})
    lines = [f"this version asks for something else: {line}" for line in differences(request, known)]
    if request.version != now.version:
        lines.insert(0, f"{result} was made by mezzotint {request.version}, this is {now.version}: pixels may differ")
    return lines


def _arguments(record: Record) -> dict[str, Any]:
    """Return what an upscaler is called with to carry the recorded request."""
    request = record.request
    arguments: dict[str, Any] = {
        "scale": scale_between(request.input_size, request.output_size, keeps=bool(request.operator)),
        "seed": request.seed,
        "steps": request.steps,
        "realism": request.realism,
        "guidance": request.guidance,
        "consistent": request.consistent,
        "colour": request.colour,
        # A record does not tell the whole picture that was asked for from the one that needed no tiles.
        "tile": record.tile or "auto",
    }
    bounds = range_of(request)
    return arguments if bounds is None else {**arguments, "range": bounds}


def range_of(request: Request) -> tuple[float, float] | None:
    """Return the values of a float picture that stood for black and white, None where they were 0 and 1."""
    match = re.search(r"(\S+)\.\.(\S+)", request.coding)
    try:
        return None if match is None else (float(match[1]), float(match[2]))
    except ValueError:
        raise InputError(f"the record's coding {request.coding!r} names no range of numbers") from None


def scale_between(small: tuple[int, int], large: tuple[int, int], *, keeps: bool = False) -> float:
    """Return a scale that makes exactly `large` of `small`, (height, width) each; `keeps` allows 1.

    Raises InputError where there is none: for sizes whose sides do not grow alike.
    """
    from mezzotint.upscaler import target_size

    ratios = [b / a for a, b in zip(small, large, strict=True)]
    # A side b rounds from every scale between (b - 1/2) / a and (b + 1/2) / a.
    low = max(1.0, *((b - 0.5) / a for a, b in zip(small, large, strict=True)))
    high = min((b + 0.5) / a for a, b in zip(small, large, strict=True))
    for scale in (*ratios, (low + high) / 2):
        try:
            if target_size(*small, scale=scale, keeps=keeps) == tuple(large):
                return scale
        except UsageError:
            continue
    raise InputError(
        f"the record's sizes do not fit: {large[1]}x{large[0]} is no enlargement of {small[1]}x{small[0]} by one scale"
    )


# -- comparing ------------------------------------------------------------------------------------------------------


def _compared(record: Record, *, before: Picture, source: Picture, made: np.ndarray, result: Path) -> dict[str, Any]:
    """Compare the result's pixels with the new ones; of a lossy file, with the new ones coded in the same way."""
    from mezzotint import images

    saved = record.saved
    if saved is not None and saved.format != before.format:
        raise InputError(
            f"{result} is a {before.format} file, its record says {saved.format}: another program wrote it anew"
        )
    old = _samples(before)
    if old.shape[:2] != made.shape[:2]:
        raise InputError(
            f"{result} has {old.shape[1]}x{old.shape[0]} pixels, its record says {made.shape[1]}x{made.shape[0]}: "
            "it was changed after it was made"
        )
    lossless = before.lossless if saved is None else saved.quality is None
    if lossless and old.shape == made.shape and old.dtype == made.dtype:
        difference = Difference.between(old, made, span=_span(record))
        tolerance = EIGHT_BITS if old.dtype.itemsize == 1 else FINE
        return _verdict(difference, tolerance, lossless=True)
    if saved is None:
        raise InputError(f"the record of {result} does not say how it was written: only a lossless file can be judged")
    coded = images.encode(
        images.strip(_shaped(source, made)),
        fmt=saved.format,
        quality=saved.quality or 95,
        lossless=saved.quality is None,
        convert=True,
        name=str(result),
    )
    new = _samples(images.decode(coded, name=f"{result}, made again"))
    if new.shape != old.shape:
        raise InputError(f"{result} has {old.shape[2]} channels, made again it has {new.shape[2]}: it was changed")
    span = _span(record)
    found = _verdict(Difference.between(old, new, span=span), EIGHT_BITS if lossless else LOSSY, lossless=lossless)
    if made.shape == old.shape and made.dtype == old.dtype:
        found["to_uncoded"] = Difference.between(old, made, span=span).as_row()
    return found


def _shaped(source: Picture, made: np.ndarray) -> Picture:
    """The source with the samples that were made of it, which may be coloured where it is grey."""
    if source.space != "grey" or made.shape[2] - source.alpha == 1:
        return dataclasses.replace(source, rows=made)
    return dataclasses.replace(source, rows=made, space="rgb", icc=None)


def _verdict(difference: Difference, tolerance: Tolerance, *, lossless: bool) -> dict[str, Any]:
    return {
        "lossless": lossless,
        "matches": tolerance.holds(difference),
        "equal": difference.differing == 0,
        "difference": difference.as_row(),
        "found": difference.describe(),
        "tolerance": {**dataclasses.asdict(tolerance), "in_words": tolerance.describe()},
    }


def _samples(picture: Picture) -> np.ndarray:
    """Return all samples h w n, alpha included."""
    return picture.rows[0 : picture.height]


def _span(record: Record) -> float:
    """Return the distance from black to white of float samples."""
    low, high = range_of(record.request) or (0.0, 1.0)
    return high - low


def _environment(record: Record, *, here: Any, libraries: dict[str, str]) -> list[str]:
    """Return in words in what the machine of the record differs from this one, as far as the record says."""
    lines = []
    if record.machine is not None:
        for name in type(record.machine).model_fields:
            one, other = getattr(record.machine, name), getattr(here, name)
            if one != other:
                lines.append(f"{name} {one} against {other}")
    for name, version in record.libraries.items():
        if libraries.get(name, version) != version:
            lines.append(f"{name} {version} against {libraries[name]}")
    return lines


def _lines(findings: dict[str, Any]) -> list[str]:
    """Return the findings for a person, one a line."""
    request = findings["request"]
    words = [findings["method"], f"seed {request['seed']}"]
    words += [f"{name} {request[name]:g}" for name in ("steps", "realism") if request[name] is not None]
    words += [f"guidance {request['guidance']:g}"] * (request["guidance"] != 1)
    words += ["consistent"] * request["consistent"]
    words += [f"colour {request['colour']}"] * (request["colour"] != "none")
    words += [f"operator {request['operator']}, noise {request['noise']:g}"] * (request["operator"] != "")
    lines = [
        ("result", f"{findings['result']}, by mezzotint {findings['version']['recorded']}"),
        ("input", f"{findings['input']}, {findings['input_found']}: its pixels are the recorded ones"),
        ("made again", f"{', '.join(words)}, in {findings['seconds']:.1f} s"),
    ]
    if "to_uncoded" in findings:
        uncoded = findings["to_uncoded"]
        apart = f"PSNR {uncoded['psnr']} dB, at most {_levels(uncoded['largest'])}"
        lines.append(("coding", f"took it from the new picture by {apart}"))
    lines.append(("compared", findings["found"] + ("" if findings["lossless"] else ", coded in the same way")))
    if findings["environment"] and not findings["equal"]:
        lines.append(("recorded", "; ".join(findings["environment"])))
    if findings["equal"]:
        verdict = "matches: the pixels are equal"
    else:
        verdict = f"{'matches' if findings['matches'] else 'DIFFERS'}: allowed is {findings['tolerance']['in_words']}"
    lines.append(("verdict", verdict))
    return [f"{name:<10}  {text}" for name, text in lines]
