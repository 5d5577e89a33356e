"""The data sets of super-resolution: their official splits, how they lie on the disk, whose they are.

A `DataSet` says where the pictures of each split lie under a folder; `read` finds them, pairs large and small ones by
name and says what is missing. Nothing is downloaded: none of these sets may be passed on, and none is in a registry.

Facts are those of the sets' own pages where the table says so in `source`; the counts of DRealSR and of the subsets of
ImageNet are quoted from papers that use them and were not checked against the files.
"""

from __future__ import annotations

import csv
import difflib
import os
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Literal

from mezzotint.data.benchmarks import all_benchmarks, find_pictures, natural_key
from mezzotint.data.pairs import PairFile, by_name, match, some
from mezzotint.errors import InputError, UsageError
from mezzotint.images import WRITABLE

ON_THE_FLY = "none"
"""The track without shipped small pictures: they are made while training."""


@dataclass(frozen=True)
class Side:
    """Where the large or the small pictures lie.

    `folder`: below the set's folder, "." for itself; upper and lower case are not told apart. `stem`: a regular
    expression that the whole name without extension must match; its group `name` is the picture's. In both, "{scale}"
    stands for the scale. `deep`: whether subfolders are searched. `scales`: those that it is there for, () for all.
    """

    folder: str
    stem: str = "(?P<name>.+)"
    deep: bool = False
    scales: tuple[int, ...] = ()

    def place(self, scale: int) -> str:
        return self.folder.replace("{scale}", str(scale))

    def pattern(self, scale: int) -> re.Pattern[str]:
        return re.compile(self.stem.replace("{scale}", str(scale)), re.IGNORECASE)


@dataclass(frozen=True)
class Part:
    """A folder of large pictures, and by track the folders of small ones that may belong to it.

    Of the folders of a track the first that is there is read. `numbers`: (first, last) of those that belong to the
    split, where the names are numbers.
    """

    y: Side
    x: Mapping[str, tuple[Side, ...]] = field(default_factory=lambda: MappingProxyType({}))
    numbers: tuple[int, int] | None = None


@dataclass(frozen=True)
class Split:
    """An official split: `pictures` of it, 0 where nobody says; `forms` are the layouts that it is met in.

    A form is the parts that make it up together; the first one that is there is read. `members` names those that
    belong to the split, where a file of the set says so.
    """

    name: str
    pictures: int
    forms: tuple[tuple[Part, ...], ...]
    members: Callable[[Path], frozenset[str]] | None = None


@dataclass(frozen=True)
class DataSet:
    """A named data set: `purpose` "training", "benchmark" or "both"; `address` is where its authors hand it out."""

    name: str
    purpose: Literal["training", "benchmark", "both"]
    licence: str
    address: str
    summary: str
    splits: tuple[Split, ...]
    source: str = ""
    caution: str = ""
    aliases: tuple[str, ...] = ()

    def split(self, name: str | None) -> Split:
        """Return the split of a name, the first one for None; UsageError names those there are."""
        if name is None:
            return self.splits[0]
        for split in self.splits:
            if split.name == name.lower():
                return split
        raise UsageError(f"{self.name} has no split {name!r}: use one of {', '.join(s.name for s in self.splits)}")

    @property
    def tracks(self) -> tuple[str, ...]:
        """The kinds of small pictures that are shipped in any split."""
        return tuple(dict.fromkeys(t for split in self.splits for form in split.forms for part in form for t in part.x))

    @property
    def pictures(self) -> int:
        """Pictures of all splits that do not overlap: the largest one, or the sum of train, validation and test."""
        parts = {s.name: s.pictures for s in self.splits}
        return max(sum(parts.get(n, 0) for n in ("train", "validation", "test")), *parts.values())


@dataclass(frozen=True)
class Found:
    """What lies in a folder: the pairs in a fixed order, the official count (0: unknown), and what is worth knowing."""

    dataset: str
    split: str
    pairs: tuple[PairFile, ...]
    official: int
    notes: tuple[str, ...]


_PLAIN = Side(".", deep=True)
_NUMBER4, _NUMBER6 = r"(?P<name>\d{4})", r"(?P<name>\d{6})"
_LARGE = r"(?P<name>.+?)(?:_HR|_GT)?"
_SMALL = r"(?P<name>.+?)(?:_?x{scale}|_LR{scale}|_LR)?"


def _div2k(kind: str) -> dict[str, tuple[Side, ...]]:
    usual = (2, 3, 4)
    x8 = (Side(f"DIV2K_{kind}_LR_x8", r"(?P<name>\d{4})x8", scales=(8,)),)
    tracks: dict[str, tuple[Side, ...]] = {
        track: (Side(f"DIV2K_{kind}_LR_{track}/X{{scale}}", r"(?P<name>\d{4})x{scale}", scales=usual),)
        for track in ("bicubic", "unknown")
    }
    tracks["bicubic"] += x8
    for track in ("mild", "difficult"):
        stem = rf"(?P<name>\d{{4}})x4{track[0]}"
        tracks[track] = (Side(f"DIV2K_{kind}_LR_{track}", stem, scales=(4,)),)
    # Training pictures of this track come in four versions, 0001x4w1 to 0001x4w4, those of validation in one.
    tracks["wild"] = (Side(f"DIV2K_{kind}_LR_wild", r"(?P<name>\d{4})x4w1?", scales=(4,)),)
    for version in (2, 3, 4) if kind == "train" else ():
        tracks[f"wild{version}"] = (Side(f"DIV2K_{kind}_LR_wild", rf"(?P<name>\d{{4}})x4w{version}", scales=(4,)),)
    return tracks


def _div2k_part(kind: str, numbers: tuple[int, int]) -> Part:
    return Part(Side(f"DIV2K_{kind}_HR", _NUMBER4), _div2k(kind), numbers)


_FLICKR2K = Part(
    Side("Flickr2K_HR", _NUMBER6),
    {
        track: (Side(f"Flickr2K_LR_{track}/X{{scale}}", r"(?P<name>\d{6})x{scale}", scales=(2, 3, 4)),)
        for track in ("bicubic", "unknown")
    },
)
_DF2K = Part(
    Side("DF2K_train_HR"),
    {
        track: (Side(f"DF2K_train_LR_{track}/X{{scale}}", r"(?P<name>.+)x{scale}", scales=(2, 3, 4)),)
        for track in ("bicubic", "unknown")
    },
)


def _inside(folder: str, part: Part) -> Part:
    """The same part one folder deeper."""

    def deeper(side: Side) -> Side:
        return Side(f"{folder}/{side.folder}", side.stem, side.deep, side.scales)

    return Part(deeper(part.y), {t: tuple(deeper(s) for s in sides) for t, sides in part.x.items()}, part.numbers)


def _benchmark(name: str) -> tuple[tuple[Part, ...], ...]:
    """The layouts of test sets: EDSR's, BasicSR's, RCAN's, that of SelfExSR, and a folder of large pictures."""
    return (
        (
            Part(
                Side(f"HR/{name}/x{{scale}}", r"(?P<name>.+?)(?:_HR_x{scale})?"),
                {"bicubic": (Side(f"LR/LRBI/{name}/x{{scale}}", r"(?P<name>.+?)(?:_LRBI_x{scale})?"),)},
            ),
        ),
        (Part(Side("HR", _LARGE), {"bicubic": (Side("LR_bicubic/X{scale}", _SMALL),)}),),
        (Part(Side("GTmod12", _LARGE), {"bicubic": (Side("LRbicx{scale}", _SMALL),)}),),
        (
            Part(
                Side("image_SRF_{scale}", r"(?P<name>.+)_SRF_{scale}_HR"),
                {"bicubic": (Side("image_SRF_{scale}", r"(?P<name>.+)_SRF_{scale}_LR"),)},
            ),
        ),
        (Part(Side(".", _LARGE)),),
    )


def _realsr(camera: str, kind: str) -> Part:
    place = f"{camera}/{kind}/{{scale}}"
    return Part(
        Side(place, r"(?P<name>.+)_HR", scales=(2, 3, 4)),
        {"real": (Side(place, r"(?P<name>.+)_LR{scale}", scales=(2, 3, 4)),)},
    )


def _drealsr(kind: str) -> tuple[tuple[Part, ...], ...]:
    # Large and small files end in the focal length that they were taken at, or in nothing.
    stem, scales = r"(?P<name>.+?)(?:_x[1-4])?", (2, 3, 4)
    return tuple(
        (
            Part(
                Side(f"{place}/{kind}_HR", stem, scales=scales),
                {"real": (Side(f"{place}/{kind}_LR", stem, scales=scales),)},
            ),
        )
        for place in (f"{kind}_x{{scale}}", f"x{{scale}}/{kind}_x{{scale}}", "x{scale}")
    )


def _faces(numbers: tuple[int, int]) -> tuple[tuple[Part, ...], ...]:
    stem = r"(?P<name>\d{5})"
    thumbnails = {"thumbnails": (Side("thumbnails128x128", stem, deep=True, scales=(8,)),)}
    return ((Part(Side("images1024x1024", stem, deep=True), thumbnails, numbers),),)


def _thumbnails(numbers: tuple[int, int]) -> tuple[tuple[Part, ...], ...]:
    return ((Part(Side("thumbnails128x128", r"(?P<name>\d{5})", deep=True), numbers=numbers),),)


_CELEBA_HQ = tuple(
    (Part(Side(place, r"0*(?P<name>\d+)", deep=deep)),)
    for place, deep in (("CelebA-HQ-img", False), ("data1024x1024", False), ("celeba_hq_256", False), (".", True))
)
_CELEBA_MAP = "CelebA-HQ-to-CelebA-mapping.txt"


def _celeba(first: int, last: int) -> Callable[[Path], frozenset[str]]:
    """Return what names the pictures of CelebA-HQ that CelebA's partition puts at files `first` to `last`.

    The map is CelebAMask-HQ's: a line a picture, its number, the number in CelebA from 0, the file in CelebA.
    """

    def members(folder: Path) -> frozenset[str]:
        path = folder / _CELEBA_MAP
        try:
            lines = path.read_text(encoding="utf-8").splitlines()[1:]
        except OSError:
            raise InputError(
                f"{folder} holds no {_CELEBA_MAP}, which says what was train, validation and test in CelebA: get it "
                "with CelebAMask-HQ, or use split all"
            ) from None
        names = set()
        for number, line in enumerate(lines, 2):
            cells = line.split()
            if not cells:
                continue
            if len(cells) != 3 or not cells[0].isdecimal() or not cells[2].partition(".")[0].isdecimal():
                raise InputError(f"{path}, line {number}: {line!r} is not 'number number file': get the map again")
            if first <= int(cells[2].partition(".")[0]) <= last:
                names.add(str(int(cells[0])))
        return frozenset(names)

    return members


_VALIDATION = tuple(
    (Part(Side(place, r"(?P<name>ILSVRC2012_val_\d{8})", deep=True)),)
    for place in ("ILSVRC2012_img_val", "val", "ILSVRC/Data/CLS-LOC/val", ".")
)
_IMAGENET = tuple(
    (Part(Side(place, r"(?P<name>n\d{8}_\d+)", deep=True)),)
    for place in ("ILSVRC2012_img_train", "train", "ILSVRC/Data/CLS-LOC/train")
)
_PAIRED = tuple(
    (Part(Side(y, _LARGE), {"shipped": (Side(f"{x}/X{{scale}}", _SMALL), Side(x, _SMALL))}),)
    for y, x in (("HR", "LR"), ("GT", "LQ"), ("GT", "LR"), ("high", "low"), ("target", "input"))
)

_BENCHMARK_FACTS = (
    ("Set5", 5, "", "five pictures of Bevilacqua et al. 2012"),
    ("Set14", 14, "", "fourteen pictures of Zeyde et al. 2010; bridge is grey"),
    ("BSD100", 100, "https://www2.eecs.berkeley.edu/Research/Projects/CS/vision/bsds/", "the test pictures of BSDS300"),
    ("Urban100", 100, "https://github.com/jbhuang0604/SelfExSR", "buildings, Huang et al. 2015"),
    ("Manga109", 109, "http://www.manga109.org/en/", "a page of each of 109 manga; handed out on application"),
)
_ALIASES = {"BSD100": ("B100", "BSDS100")}
_LICENCES = {
    "Set5": "none stated, used for research by custom",
    "Set14": "none stated, used for research by custom",
    "BSD100": "non-commercial research and education",
    "Urban100": "Creative Commons, by picture, from Flickr",
    "Manga109": "academic use only, not to be passed on",
}


@cache
def all_sets() -> tuple[DataSet, ...]:
    """Return the data sets that have a reader, training sets first."""
    training = (
        DataSet(
            "DIV2K",
            "both",
            "academic research only; the pictures stay with their owners",
            "https://data.vision.ee.ethz.ch/cvl/DIV2K/",
            "photographs of two megapixels and more, Agustsson and Timofte 2017",
            (
                Split("train", 800, ((_div2k_part("train", (1, 800)),),)),
                Split("validation", 100, ((_div2k_part("valid", (801, 900)),),)),
            ),
            source="its page",
            caution="the 100 test pictures (0901 to 1000) were never handed out in full size",
        ),
        DataSet(
            "Flickr2K",
            "training",
            "pictures of Flickr, for research",
            "https://cv.snu.ac.kr/research/EDSR/Flickr2K.tar",
            "2650 photographs of 2K from Flickr, Lim et al. 2017 (EDSR)",
            (Split("train", 2650, ((_FLICKR2K,),)),),
            source="EDSR's page",
        ),
        DataSet(
            "DF2K",
            "training",
            "those of DIV2K and Flickr2K",
            "https://data.vision.ee.ethz.ch/cvl/DIV2K/ and https://cv.snu.ac.kr/research/EDSR/Flickr2K.tar",
            "the training pictures of DIV2K and Flickr2K together",
            (
                Split(
                    "train",
                    3450,
                    (
                        (_DF2K,),
                        (_inside("DIV2K", _div2k_part("train", (1, 800))), _inside("Flickr2K", _FLICKR2K)),
                        (_div2k_part("train", (1, 800)), _FLICKR2K),
                    ),
                ),
            ),
        ),
        DataSet(
            "FFHQ",
            "training",
            "CC BY-NC-SA 4.0; the pictures CC BY 2.0, CC BY-NC 2.0 or public domain, as its list says",
            "https://github.com/NVlabs/ffhq-dataset",
            "aligned faces of 1024x1024 and thumbnails of 128x128, Karras et al. 2019",
            (
                Split("train", 60000, _faces((0, 59999))),
                Split("validation", 10000, _faces((60000, 69999))),
                Split("all", 70000, _faces((0, 69999))),
                Split("thumbnails-train", 60000, _thumbnails((0, 59999))),
                Split("thumbnails-validation", 10000, _thumbnails((60000, 69999))),
                Split("thumbnails-all", 70000, _thumbnails((0, 69999))),
            ),
            source="its page",
            caution="most papers train on all of it",
        ),
        DataSet(
            "CelebA-HQ",
            "both",
            "CelebA's: non-commercial research",
            "https://github.com/switchablenorms/CelebAMask-HQ",
            "faces of 1024x1024 made from CelebA, Karras et al. 2018",
            (
                Split("all", 30000, _CELEBA_HQ),
                Split("train", 0, _CELEBA_HQ, _celeba(1, 162770)),
                Split("validation", 0, _CELEBA_HQ, _celeba(162771, 182637)),
                Split("test", 0, _CELEBA_HQ, _celeba(182638, 202599)),
            ),
            caution="a model that was trained on FFHQ is tested on all of it (SR3, IDM)",
        ),
        DataSet(
            "RealSR",
            "both",
            "for research",
            "https://github.com/csjcai/RealSR",
            "scenes at two focal lengths, Canon 5D3 and Nikon D810, Cai et al. 2019, version 3",
            tuple(
                Split(
                    name + kind.lower(),
                    count if not name else 0,
                    tuple(
                        tuple(_inside(root, _realsr(c, kind)) if root else _realsr(c, kind) for c in cameras)
                        for root in ("", "RealSR(V3)")
                    ),
                )
                for name, cameras in (("", ("Canon", "Nikon")), ("canon-", ("Canon",)), ("nikon-", ("Nikon",)))
                for kind, count in (("Train", 459), ("Test", 100))
            ),
            source="its page",
            caution="versions 1 and 2 have small pictures that were enlarged to the size of the large ones",
        ),
        DataSet(
            "DRealSR",
            "both",
            "for research",
            "https://github.com/xiezw5/Component-Divide-and-Conquer-for-Real-World-Image-Super-Resolution",
            "five cameras at two focal lengths, Wei et al. 2020 (CDC)",
            (Split("train", 0, _drealsr("train")), Split("test", 0, _drealsr("test"))),
            caution="papers count 93 test pairs at scale 4",
        ),
        DataSet(
            "ImageNet",
            "both",
            "non-commercial research",
            "https://image-net.org/",
            "photographs of 1000 classes, Russakovsky et al. 2015; subsets by a list of names",
            (Split("validation", 50000, _VALIDATION), Split("train", 1281167, _IMAGENET)),
            caution="papers name subsets of 1000 (DDRM, DDNM) and 3000 (ResShift) validation pictures by lists of "
            "their own; some training pictures are CMYK or PNG under a wrong name",
        ),
    )
    tests = tuple(
        DataSet(
            name,
            "benchmark",
            _LICENCES[name],
            address or "the copies that papers on super-resolution hand out with their code",
            summary,
            (Split("test", count, tuple(form for n in (name, *_ALIASES.get(name, ())) for form in _benchmark(n))),),
            aliases=_ALIASES.get(name, ()),
        )
        for name, count, address, summary in _BENCHMARK_FACTS
    )
    plain = (
        DataSet(
            "folder",
            "both",
            "that of your pictures",
            "your disk",
            "any folder of pictures, with its subfolders",
            (Split("all", 0, ((Part(_PLAIN),),)),),
        ),
        DataSet(
            "pairs",
            "both",
            "that of your pictures",
            "your disk",
            "a folder HR and a folder LR (or GT and LQ, GT and LR, high and low, target and input) of equal names",
            (Split("all", 0, _PAIRED),),
        ),
    )
    return (*training, *tests, *plain)


def find_set(name: str) -> DataSet:
    """Return the data set of a name, upper or lower case; UsageError suggests the nearest name."""
    known = {n.lower(): s for s in all_sets() for n in (s.name, *s.aliases)}
    if name.lower() in known:
        return known[name.lower()]
    near = difflib.get_close_matches(name.lower(), known, n=1)
    hint = f"did you mean {known[near[0]].name}?" if near else f"use one of {', '.join(s.name for s in all_sets())}"
    raise UsageError(f"data set {name!r} is unknown: {hint}")


def layout(split: Split) -> tuple[str, ...]:
    """Return a line for each form of a split: the folders that it is looked for in, with "{scale}" as it stands."""
    lines = []
    for form in split.forms:
        places: list[str] = []
        for part in form:
            small = dict.fromkeys(s.folder for sides in part.x.values() for s in sides)
            places.append(part.y.folder + "".join(f", {place}" for place in small if place != part.y.folder))
        lines.append(" + ".join(places))
    return tuple(dict.fromkeys(lines))


def read(
    name: str,
    folder: Path,
    *,
    split: str | None = None,
    scale: int = 4,
    track: str = ON_THE_FLY,
    names: frozenset[str] | None = None,
) -> Found:
    """Find the pictures of a set in its official layout below `folder`, or below a folder of the set's name in it.

    `track`: the kind of small pictures that are taken from the set, as "bicubic", "unknown" or "real";
    `ON_THE_FLY` takes large pictures only. `names`: those that are wanted, with or without extension, all
    for None; in a plain folder they are paths below it, with extension.
    The pairs come in natural order of their names. `notes` of the result say which official pictures are not there.
    Raises UsageError for an unknown set, split or track, and InputError where the layout is another one, a folder is
    empty, or large and small pictures are not the same ones: each names what was looked for.
    """
    chosen = find_set(name)
    part = chosen.split(split)
    _check_track(chosen, part, track, scale)
    if not folder.is_dir():
        fact = "is not a folder" if folder.exists() else "does not exist"
        raise InputError(
            f"folder {folder} of {chosen.name} {fact}: get the set from {chosen.address} and name its folder"
        )
    root, form = _form(chosen, part, folder, scale, track)
    pairs: dict[str, PairFile] = {}
    for piece in form:
        for pair in _read_part(chosen, root, piece, scale, track):
            if pair.name in pairs:
                raise InputError(f"{chosen.name}: {pair.y} and {pairs[pair.name].y} have one name: keep one of them")
            pairs[pair.name] = pair
    _refuse_traps(chosen, form, scale)
    wanted = part.members(root) if part.members is not None else None
    if wanted is not None:
        pairs = {n: p for n, p in pairs.items() if n in wanted}
    official = part.pictures
    if names is not None:
        names = frozenset(n if chosen.name == "folder" else _bare(n) for n in names)
        missing = sorted(names - pairs.keys(), key=natural_key)
        if missing:
            raise InputError(
                f"{len(missing)} of {len(names)} listed pictures are not in {chosen.name} under {root}: "
                f"{some(missing)}; mend the list or complete the folder"
            )
        pairs = {n: p for n, p in pairs.items() if n in names}
        official = len(names)
    if not pairs:
        raise InputError(f"no picture in {root} belongs to split {part.name} of {chosen.name}: name another split")
    ordered = tuple(pairs[n] for n in sorted(pairs, key=natural_key))
    notes = _notes(chosen, part, form, pairs, official, listed=names is not None, wanted=wanted)
    return Found(chosen.name, part.name, ordered, official or len(wanted or ()), notes)


def _bare(name: str) -> str:
    """The name of a picture without its folders and its extension."""
    path = Path(name)
    return path.stem if path.suffix.lower() in WRITABLE else path.name


def _check_track(chosen: DataSet, split: Split, track: str, scale: int) -> None:
    if track == ON_THE_FLY:
        return
    known: dict[str, set[int]] = {}
    for form in split.forms:
        for part in form:
            for kind, sides in part.x.items():
                known.setdefault(kind, set()).update(s for side in sides for s in side.scales)
    if track not in known:
        way = f"use one of {', '.join((*known, ON_THE_FLY))}" if known else f"use {ON_THE_FLY}"
        raise UsageError(f"{chosen.name} has no small pictures of track {track!r} in split {split.name}: {way}")
    if known[track] and scale not in known[track]:
        raise UsageError(
            f"{chosen.name} has small pictures of track {track} at scales {', '.join(map(str, sorted(known[track])))}, "
            f"not {scale}: use one of these or track {ON_THE_FLY}"
        )


def _refuse_traps(chosen: DataSet, form: tuple[Part, ...], scale: int) -> None:
    if chosen.name == "Urban100" and scale == 2 and form[0].y.folder == "image_SRF_{scale}":
        raise InputError(
            "image_SRF_2 of Urban100 holds large pictures that were halved themselves: use the large ones of "
            "image_SRF_4 in a folder of their own"
        )


def _below(root: Path, place: str) -> Path | None:
    """Return the folder `place` below `root`, whatever the case of its letters, or None."""
    here = root
    for part in Path(place).parts:
        if (here / part).is_dir():
            here = here / part
            continue
        try:
            fitting = sorted(e.name for e in os.scandir(here) if e.is_dir() and e.name.lower() == part.lower())
        except OSError as error:
            raise InputError(f"folder {here} cannot be read: {error.strerror}") from None
        if not fitting:
            return None
        here = here / fitting[0]
    return here


def _side(root: Path, sides: tuple[Side, ...], scale: int) -> tuple[Side, Path] | None:
    for side in sides:
        if side.scales and scale not in side.scales:
            continue
        place = _below(root, side.place(scale))
        if place is not None:
            return side, place
    return None


def _is_there(root: Path, form: tuple[Part, ...], scale: int, track: str, *, whole: bool) -> bool:
    """Whether the folders of a form are there; `whole` asks for its pictures and the folders of small ones too."""
    for part in form:
        found = _side(root, (part.y,), scale)
        if found is None:
            return False
        if (whole or part.y.folder == ".") and not any(True for _ in _fitting(*found, scale)):
            return False
        if whole and track != ON_THE_FLY and _side(root, part.x[track], scale) is None:
            return False
    return True


def _form(chosen: DataSet, split: Split, folder: Path, scale: int, track: str) -> tuple[Path, tuple[Part, ...]]:
    inner = [_below(folder, n) for n in (chosen.name, *chosen.aliases)]
    forms = [f for f in split.forms if track == ON_THE_FLY or all(track in part.x for part in f)]
    # One that is there in parts is read only to say what it lacks.
    for whole in (True, False):
        for root in (folder, *(place for place in inner if place is not None)):
            for form in forms:
                if _is_there(root, form, scale, track, whole=whole):
                    return root, form
    looked = dict.fromkeys(" + ".join(part.y.place(scale) for part in form) for form in forms)
    raise InputError(
        f"{folder} has not the layout of {chosen.name}, split {split.name}"
        f"{'' if track == ON_THE_FLY else f', track {track}'}: looked for {' or '.join(looked)}; name the folder that "
        f"holds {'it' if len(looked) == 1 else 'one of them'} (mezzotint data show {chosen.name})"
    )


def _fitting(side: Side, folder: Path, scale: int) -> Iterator[tuple[str, Path]]:
    """Yield (name, file) of the pictures whose names fit, in no order."""
    pattern = side.pattern(scale)
    try:
        for path in folder.rglob("*") if side.deep else folder.iterdir():
            inside = path.relative_to(folder)
            if path.suffix.lower() not in WRITABLE or any(p.startswith(".") for p in inside.parts):
                continue
            fitting = pattern.fullmatch(path.stem)
            if fitting is not None and path.is_file():
                # A picture of a plain folder is named by its place, others by what their set calls them.
                yield inside.as_posix() if side == _PLAIN else fitting["name"], path
    except OSError as error:
        raise InputError(f"folder {folder} cannot be read: {error.strerror}") from None


def _files(side: Side, folder: Path, scale: int) -> list[tuple[str, Path]]:
    """Return (name, file) of the pictures whose names fit, sorted by path."""
    return sorted(_fitting(side, folder, scale), key=lambda found: found[1])


def _read_part(chosen: DataSet, root: Path, part: Part, scale: int, track: str) -> tuple[PairFile, ...]:
    what = chosen.name
    place = _side(root, (part.y,), scale)
    assert place is not None
    side, folder = place
    ys = by_name(_files(side, folder, scale), what=what)
    if not ys:
        # Says what is wrong with a folder that holds none, or that there are other ones.
        others = find_pictures(folder, recursive=side.deep)
        raise InputError(
            f"no picture in {folder} is named as those of {what} ({_example(side, scale)}), the first is "
            f"{others[0].name}: name the set's own folder, or use data set folder"
        )
    if part.numbers is not None:
        ys = {n: p for n, p in ys.items() if part.numbers[0] <= int(n) <= part.numbers[1]}
    if track == ON_THE_FLY:
        return tuple(PairFile(n, ys[n]) for n in sorted(ys, key=natural_key))
    found = _side(root, part.x[track], scale)
    if found is None:
        looked = " or ".join(s.place(scale) for s in part.x[track] if not s.scales or scale in s.scales)
        raise InputError(
            f"{root} lacks the small pictures of {what}, track {track}, scale {scale}: looked for {looked}; get them, "
            f"or use track {ON_THE_FLY} to make them while training"
        )
    # A name that is a large picture's as it stands is that picture's, even where it ends as names of small ones do.
    listed = _files(*found, scale)
    xs = by_name(((p.stem if p.stem in ys and p != ys[p.stem] else n, p) for n, p in listed), what=what)
    if not xs:
        find_pictures(found[1], recursive=found[0].deep)
        raise InputError(
            f"no picture in {found[1]} is named as a small one of {what} ({_example(found[0], scale)}): name the set's "
            "own folder"
        )
    if part.numbers is not None:
        xs = {n: p for n, p in xs.items() if part.numbers[0] <= int(n) <= part.numbers[1]}
    return match(ys, xs, what=what)


def _example(side: Side, scale: int) -> str:
    """Return a name that fits, for a message."""
    text = side.stem.replace("{scale}", str(scale))
    for pattern, shown in ((r"(?P<name>\d{4})", "0001"), (r"(?P<name>\d{5})", "00001"), (r"(?P<name>\d{6})", "000001")):
        text = text.replace(pattern, shown)
    text = re.sub(r"\(\?P<name>ILSVRC2012_val_.*?\)", "ILSVRC2012_val_00000001", text)
    text = re.sub(r"\(\?P<name>n.*?\)", "n01440764_18", text)
    text = re.sub(r"0\*\(\?P<name>.*?\)", "0", text)
    text = re.sub(r"\(\?P<name>.*?\)", "NAME", text)
    return re.sub(r"\(\?:.*?\)\??|1\?$", "", text) + ".png"


def _notes(
    chosen: DataSet,
    split: Split,
    form: tuple[Part, ...],
    pairs: Mapping[str, PairFile],
    official: int,
    *,
    listed: bool,
    wanted: frozenset[str] | None,
) -> tuple[str, ...]:
    if listed:
        return ()
    if wanted is not None:
        missing = sorted(wanted - pairs.keys(), key=natural_key)
        return (f"{len(missing)} pictures of split {split.name} are not there: {some(missing)}",) if missing else ()
    if not official or len(pairs) == official:
        return ()
    notes = [f"{len(pairs)} pictures, {chosen.name} has {official} in split {split.name}"]
    if len(form) == 1 and form[0].numbers is not None:
        first, last = form[0].numbers
        width = len(next(iter(pairs)))
        missing = [n for n in (f"{i:0{width}d}" for i in range(first, last + 1)) if n not in pairs]
        notes.append(f"not there: {some(missing)}")
    known = {b.name: b for b in all_benchmarks()}.get(chosen.name)
    if known is not None:
        there = {n.lower() for n in pairs}
        missing = [n for n in known.sizes if n.lower() not in there]
        if missing and len(missing) < len(known.sizes):
            notes.append(f"not there: {some(missing)}")
    return tuple(notes)


def read_names(path: Path) -> frozenset[str]:
    """Return the names of a list of pictures as they stand there: a CSV with a column `file`, or one name a line.

    Raises InputError for a list that cannot be read, has no such column or is empty.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        fact = getattr(error, "strerror", None) or "it is not UTF-8"
        raise InputError(f"list of pictures {path} cannot be read: {fact}") from None
    if path.suffix.lower() == ".csv":
        rows = csv.DictReader(text.splitlines())
        if "file" not in (rows.fieldnames or ()):
            raise InputError(f"list of pictures {path} has no column file: give it one, or one name a line in a .txt")
        names = [row["file"] for row in rows]
    else:
        names = [line.strip() for line in text.splitlines()]
    kept = frozenset(name for name in names if name)
    if not kept:
        raise InputError(f"list of pictures {path} is empty: name a picture a line")
    return kept
