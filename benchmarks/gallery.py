"""Where mezzotint-x4 invents, and what: crops of openly licensed photographs at every realism, for the eye.

    python -m benchmarks.gallery --data FOLDER [--method NAME] [--limit N] [--threads 1]
    python -m benchmarks.gallery --page-only
    python -m benchmarks.gallery --data FOLDER --sheet FILE

FOLDER holds the folder GB82 (CC0), no picture of which is in training. A window of 128 pixels and a margin of 64 is
reduced by 4 with MATLAB's bicubic, where a crop says so also written as JPEG, and enlarged by NAME (mezzotint-x4, or a
file or folder of its weights) at realism 0, at the default and at realism 1. Writes one sheet a crop to docs/images,
PSNR and LPIPS of the crops to benchmarks/results/gallery.json, and docs/gallery.md. What the page says of a crop was
written by looking at it, for the weights in `SEEN`; the page says if these are others. `--sheet` writes all of GB82 at
the default instead, to look at whole pictures, and nothing else.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from benchmarks.robustness import BICUBIC, SCALE, bicubic, by_degradation, default_of, label

from mezzotint import images, quality, upscaler
from mezzotint.data.benchmarks import find_pictures
from mezzotint.errors import MezzotintError
from mezzotint.images import atomic, sheets
from mezzotint.quality.crops import Crop, find_picture
from mezzotint.upscaler import Upscaler

ROOT = Path(__file__).resolve().parents[1]
SET = "GB82"
MARGIN = 64
"""Large pixels around a crop that are enlarged with it."""
SAMPLES = 4
SPREAD_GAIN = 8
ZOOM = 2
ROW = 4
QUALITY = 90
"""Of the sheets as WebP, whose halved colour loses nothing where every pixel is repeated; figures are of the pixels."""
SEEN = "d67d6f29"
"""The weights whose results the sentences were written on, as their digest begins."""


@dataclass(frozen=True)
class Shown:
    """A crop of the gallery: `jpeg` is the quality at which its small picture was stored, `says` what an eye sees."""

    name: str
    title: str
    crop: Crop
    says: str
    jpeg: int | None = None

    @property
    def file(self) -> str:
        return f"gallery-{self.name}.webp"


GALLERY = (
    Shown(
        "text",
        "Text",
        Crop(SET, "night", 332, 348),
        "The sign reads KRYOLAN, and its letters are three to four small pixels high. Realism 0 gives them soft "
        "edges and no meaning: one reads other letters. From the default on, strokes break into black blocks with "
        "white gaps, much the same for both seeds. The fainter line under the name is gone everywhere; a drawing "
        "that the shop does not have comes and goes beside the ceiling, and upright bars stand below it, with every "
        "seed others.",
    ),
    Shown(
        "face",
        "A face",
        Crop(SET, "girl", 164, 344),
        "Realism 0 is soft and still a face: the teeth are one band, the lashes a dark rim. The default sharpens "
        "eyes and lips and leaves the skin alone; on a closer look the eyes have specks and streaks, and not both "
        "the same. At realism 1 each seed has different eyes, dark and crumbled, the rim of the lower lip frays, and "
        "crumbs lie beside a corner of the mouth. Nobody should be recognised by any of these.",
    ),
    Shown(
        "windows",
        "Rows of windows",
        Crop(SET, "city", 128, 448),
        "On the right a row of windows is wider than a small pixel and realism 0 keeps it; on the left rows and "
        "windows are finer, the small picture holds their moire, and realism 0 draws that as slanted streaks that "
        "the house does not have. More realism roughens what is there, like weathered stone, and divides some rows "
        "by upright bars, others for each seed; at realism 1 dark and bright crumbs cover the front. It is not this "
        "house.",
    ),
    Shown(
        "town",
        "A town from above",
        Crop(SET, "nyc", 420, 200),
        "Nothing here is larger than a few small pixels. Realism 0 makes rounded shapes, like pebbles, out of "
        "houses; more realism makes rubble of them, with bundles of short upright and level strokes that suggest "
        "fronts from afar. No straight wall comes back at any realism.",
    ),
    Shown(
        "jpeg",
        "A small picture stored as JPEG",
        Crop(SET, "guitar", 240, 280),
        "JPEG of quality 75 has halved the colour and set waves beside the edges; they are stripes on the red wood, "
        "and realism 0 sharpens them. The strings are gone, and the red of the guitar has run over its rim. The "
        "default and realism 1 take the waves for texture and draw more of them: upright and level strokes on the "
        "wood and beside the rim, crumbs where the red has run.",
        jpeg=75,
    ),
    Shown(
        "fur",
        "Fur",
        Crop(SET, "dog", 280, 400),
        "A success in part: at the default the coat has texture where light and dark meet, and some of it follows "
        "the hair. At realism 1 it is grain and short upright strokes where the true hair is long and bent. The fine "
        "hairs that cross the picture are gone at every realism. By LPIPS the default is the nearest, and realism 1 "
        "is further off than the mean.",
    ),
    Shown(
        "grass",
        "Grass",
        Crop(SET, "grass", 300, 200),
        "Realism 0 has the strong blades and a blur between them. The default fills it with upright lines, "
        "straighter than the truth has, and moss between them; at realism 1 the moss is coarse and bright, and the "
        "strong blades break into beads.",
    ),
    Shown(
        "water",
        "Water",
        Crop(SET, "waves", 360, 260),
        "The true foam is full of small dark bubbles; realism 0 wipes most of them off. From the default on some of "
        "the foam has a texture again, coarser and paler than the true one and in other places with another seed; "
        "the brightest part stays smooth. Along the crests fine level strokes appear where the water is smooth.",
    ),
)


@dataclass(frozen=True)
class Made:
    """What became of a crop: pictures uint8 (h, w, 1 or 3) by label, and their figures."""

    pictures: dict[str, np.ndarray]
    figures: dict[str, dict[str, float]]
    spread: float


def make(shown: Shown, pixels: np.ndarray, loaded: Upscaler) -> Made:
    """Enlarge one crop of a picture uint8 (h, w, 3) at every realism; `spread` in grey levels, a mean over pixels."""
    window, top, left = around(shown.crop, pixels)
    x = by_degradation(jpeg=shown.jpeg)(window)
    side = shown.crop.side

    def cut(y: np.ndarray, scale: int = 1) -> np.ndarray:
        return y[top // scale : (top + side) // scale, left // scale : (left + side) // scale]

    samples = loaded(x, realism=1.0, samples=SAMPLES, spread=True)
    assert samples.spread is not None
    deviation = cut(samples.spread)
    default = default_of(loaded)
    made = {
        BICUBIC: cut(bicubic(x, 0)),
        label(0): cut(loaded(x, realism=0.0).image),
        f"{label(default)}, the default": cut(loaded(x).image),
        label(1): cut(samples.images[0]),
        f"{label(1)}, seed 1": cut(samples.images[1]),
    }
    truth = shown.crop.cut(pixels)
    figures = {
        name: {"psnr": round(quality.psnr(truth, y), 2), "lpips": round(quality.lpips(truth, y), 4)}
        for name, y in made.items()
    }
    bright = (deviation * 255 * SPREAD_GAIN).clip(0, 255).round().astype(np.uint8)[..., None]
    pictures = {
        "truth": truth, "small picture": cut(x, SCALE), **made, f"spread, times {SPREAD_GAIN}": bright,
    }  # fmt: skip
    return Made(pictures, figures, round(255 * float(deviation.mean()), 2))


def around(crop: Crop, pixels: np.ndarray) -> tuple[np.ndarray, int, int]:
    """The crop with its margin, as far as the picture goes, and where the crop begins in it; multiples of 4."""
    top, left = max(0, crop.row - MARGIN), max(0, crop.column - MARGIN)
    height, width = (n // SCALE * SCALE for n in pixels.shape[:2])
    bottom, right = min(height, crop.row + crop.side + MARGIN), min(width, crop.column + crop.side + MARGIN)
    return pixels[top:bottom, left:right].copy(), crop.row - top, crop.column - left


def sheet(pictures: dict[str, np.ndarray]) -> np.ndarray:
    """One sheet of a crop, rows of four under their labels, every pixel repeated: uint8 (h, w, 3)."""
    side = max(y.shape[0] for y in pictures.values())
    large = [(name, y.repeat(ZOOM * side // y.shape[0], 0).repeat(ZOOM * side // y.shape[0], 1))
             for name, y in pictures.items()]  # fmt: skip
    rows = [large[start : start + ROW] for start in range(0, len(large), ROW)]
    parts = [sheets.contact_sheet([[y for _, y in row]], labels=[name for name, _ in row]) for row in rows]
    width = max(part.shape[1] for part in parts)
    return np.concatenate([np.pad(p, ((0, 0), (0, width - p.shape[1]), (0, 0)), constant_values=255) for p in parts])


def whole_set(files: Sequence[Path], loaded: Upscaler, *, report: Callable[[str], None] = print) -> np.ndarray:
    """All pictures, reduced by 4 and enlarged at the default, five a row: uint8 (h, w, 3)."""
    reduce, made = by_degradation(), []
    for file in files:
        made.append(np.asarray(loaded(reduce(images.read_plain(file).pixels)).image))
        report(file.stem)
    return sheets.contact_sheet([made[start : start + 5] for start in range(0, len(made), 5)], gap=4)


# -- the page ----------------------------------------------------------------------------------------------------------


def page(content: dict[str, Any], every: Sequence[Shown] = GALLERY) -> str:
    """The page of the documentation, from the figures and what was written of the crops."""
    lines = [
        f"# What {content['method']} invents, to look at",
        "",
        f"Crops of 128x128 pixels of photographs of {SET} (CC0), none of them in training, shown with every pixel "
        f"repeated {ZOOM} x {ZOOM}. Reduced by {SCALE} with MATLAB's bicubic and enlarged again, corrected as by "
        f"default. Realism 0 is the mean, realism 1 a sample; the spread is that of {SAMPLES} samples at each pixel as "
        f"`--spread` writes it, the error to expect times {SPREAD_GAIN}: bright where detail is a guess. "
        "LPIPS is that of AlexNet (lower looks nearer). Made by `python -m benchmarks.gallery`, with figures in "
        f"`benchmarks/results/gallery.json`; weights {content['weights'][:8]}.",
        "",
    ]
    if not content["weights"].startswith(SEEN):
        lines += [f"The sentences were written of the weights {SEEN}: pictures and figures are newer than they.", ""]
    for shown in every:
        if (found := content["crops"].get(shown.name)) is None:
            continue
        names = list(found["figures"])
        drawn = f"![{shown.title}: true, small, and enlarged at every realism](images/{shown.file})"
        lines += [f"## {shown.title}", "", drawn, ""]
        lines += ["| | " + " | ".join(names) + " |", "|---|" + "--:|" * len(names)]
        for measure, heading, digits in (("psnr", "PSNR, dB", 2), ("lpips", "LPIPS", 3)):
            cells = (f"{found['figures'][name][measure]:.{digits}f}" for name in names)
            lines.append(f"| {heading} | " + " | ".join(cells) + " |")
        lines += ["", f"`{shown.crop.picture}`, spread {found['spread']:.1f} grey levels. {shown.says}", ""]
    return "\n".join(lines).rstrip() + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, help=f"the folder that holds {SET}")
    parser.add_argument("--method", default="mezzotint-x4", metavar="NAME")
    parser.add_argument("--limit", type=int, help="the first crops alone, or pictures of --sheet")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--page-only", action="store_true", help="write the page anew from the figures that are there")
    parser.add_argument("--sheet", type=Path, help=f"write all of {SET} at the default into this file, nothing else")
    parser.add_argument("--images", type=Path, default=ROOT / "docs" / "images", metavar="FOLDER")
    parser.add_argument("-o", "--output", type=Path, default=ROOT / "benchmarks" / "results" / "gallery.json")
    parser.add_argument("--page", type=Path, default=ROOT / "docs" / "gallery.md")
    options = parser.parse_args()
    if options.limit is not None and options.limit < 1:
        parser.error(f"--limit {options.limit} is below 1")
    if not options.page_only:
        if options.data is None:
            parser.error("name --data")
        torch.set_num_threads(options.threads)
        try:
            loaded = upscaler.load(options.method)
            if options.sheet is not None:
                files = find_pictures(options.data / SET)[: options.limit]
                pixels = whole_set(files, loaded, report=lambda text: print(text, flush=True))
                images.write(images.Picture(pixels), options.sheet, overwrite=True)
                return
            content: dict[str, Any] = {"method": loaded.name, "weights": loaded.weights, "crops": {}}
            for shown in GALLERY[: options.limit]:
                made = make(shown, images.read_plain(find_picture(options.data, shown.crop)).pixels, loaded)
                drawn = images.Picture(sheet(made.pictures))
                images.write(drawn, options.images / shown.file, lossless=False, quality=QUALITY, overwrite=True)
                content["crops"][shown.name] = {
                    "picture": f"{SET}/{shown.crop.picture}", "row": shown.crop.row, "column": shown.crop.column,
                    "jpeg": shown.jpeg, "spread": made.spread, "figures": made.figures,
                }  # fmt: skip
                print(f"{shown.name}: {made.figures}", flush=True)
        except MezzotintError as error:
            parser.error(str(error))
        atomic.write_bytes(options.output, (json.dumps(content, indent=1) + "\n").encode(), overwrite=True)
    text = page(json.loads(options.output.read_text(encoding="utf-8")))
    atomic.write_bytes(options.page, text.encode(), overwrite=True)
    print(options.page)


if __name__ == "__main__":
    main()
