"""Large pictures and the small ones that belong to them: which files are a pair, and whether their sizes agree."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from mezzotint.data.benchmarks import natural_key
from mezzotint.data.sizes import picture_size
from mezzotint.errors import InputError

_SHOWN = 3


@dataclass(frozen=True)
class PairFile:
    """A large picture `y` and the small one `x` that was shipped with it, None where it is made while training."""

    name: str
    y: Path
    x: Path | None = None


@dataclass(frozen=True)
class Sized:
    """A pair of files; `size` (height, width) is what is used of the small picture, of the large one `scale` times."""

    files: PairFile
    size: tuple[int, int]


def some(names: Iterable[str]) -> str:
    """Return the first three names, and how many more there are."""
    names = list(names)
    return ", ".join(names[:_SHOWN]) + (f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else "")


def by_name(files: Iterable[tuple[str, Path]], *, what: str) -> dict[str, Path]:
    """Return {name: file}; InputError where two files have one name."""
    found: dict[str, Path] = {}
    for name, path in files:
        if name in found:
            raise InputError(
                f"{what}: {path} and {found[name]} are both picture {name}: keep one of them in the folder"
            )
        found[name] = path
    return found


def match(ys: dict[str, Path], xs: dict[str, Path], *, what: str) -> tuple[PairFile, ...]:
    """Return the pairs of large and small pictures of the same name, in natural order of the names.

    Every large picture needs its small one and the other way round; InputError names those without.
    """
    for these, others, kind, missing in ((ys, xs, "large", "small"), (xs, ys, "small", "large")):
        alone = sorted(these.keys() - others.keys(), key=natural_key)
        if alone:
            place = next(iter(others.values())).parent if others else None
            raise InputError(
                f"{what}: {len(alone)} of {len(these)} {kind} pictures have no {missing} one"
                f"{f' in {place}' if place else ''}: {some(alone)}; complete or thin out the folders so that the "
                "names agree"
            )
    return tuple(PairFile(name, ys[name], xs[name]) for name in sorted(ys, key=natural_key))


def fit(y: tuple[int, int], x: tuple[int, int] | None, *, scale: int, pair: PairFile) -> tuple[int, int]:
    """Return the size (height, width) of the small picture that both sides of a pair cover.

    `y` and `x`: sizes of the files. MATLAB's reduction of a side n gives ceil(n / scale) pixels and many scripts cut
    to floor(n / scale); both are aligned at the top left, so either is taken, and its whole cells are used.
    Raises InputError for other sizes.
    """
    size = (y[0] // scale, y[1] // scale)
    if x is None:
        return size
    if all(small in (large // scale, -(-large // scale)) for small, large in zip(x, y, strict=True)):
        return size
    shown = f"{pair.y.name} is {y[1]}x{y[0]} and {(pair.x or pair.y).name} is {x[1]}x{x[0]} pixels"
    if x == y and scale > 1:
        raise InputError(
            f"{shown}: the small pictures were enlarged to the size of the large ones; use scale 1, or get the small "
            f"pictures of scale {scale} at their own size"
        )
    ratio = y[0] / x[0]
    near = ratio == y[1] / x[1] and ratio == int(ratio)
    way = f"use scale {int(ratio)}" if near else "name the folder of small pictures made at this scale"
    raise InputError(f"{shown}, which are no pair at scale {scale}: {way}")


def measure(
    files: Sequence[PairFile], *, scale: int, crop: int, size: Callable[[Path], tuple[int, int]] = picture_size
) -> tuple[Sized, ...]:
    """Return the pairs that hold a crop of `crop` small pixels a side, with their sizes from the files' heads.

    Raises InputError where the sizes of a pair disagree and where no picture is large enough.
    """
    if not files:
        raise InputError("there are no pictures to train on: name a folder that holds some")
    kept = []
    for pair in files:
        small = fit(size(pair.y), None if pair.x is None else size(pair.x), scale=scale, pair=pair)
        if min(small) >= crop:
            kept.append(Sized(pair, small))
    if not kept:
        raise InputError(
            f"none of {len(files)} pictures has sides of at least {crop * scale} pixels: "
            "name another folder or a smaller pictures.crop"
        )
    return tuple(kept)
