"""The report of `evaluate` as a browser shows it: nothing is asked for, nothing complains, everything is seen."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from skimage import data

from mezzotint.cli import main

sys.path.insert(0, str(Path(__file__).parent))
from browser import Page, find_browser  # noqa: E402

pytestmark = pytest.mark.slow

NAME = "mezzotint-x4 steps {} realism {}"

# Every element of a kind: its box, whether it holds something, and where it begins.
BOXES = """
Array.from(document.querySelectorAll(SELECTOR), element => {
    const box = element.getBoundingClientRect();
    const style = getComputedStyle(element);
    return {
        width: box.width, height: box.height, left: box.left, right: box.right, top: box.top, bottom: box.bottom,
        seen: element.checkVisibility({opacityProperty: true, visibilityProperty: true}),
        text: element.textContent, image: element.naturalWidth ?? null, alt: element.alt ?? "",
    };
})
"""


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A report with all that a report can have: several steps and realisms, samples, pictures in three sizes."""
    folder = tmp_path_factory.mktemp("report")
    pictures = folder / "pictures"
    pictures.mkdir()
    for name, picture in (("cat", data.chelsea()), ("cup", data.coffee()), ("eye", data.retina())):
        Image.fromarray(picture[100:292, 100:260]).save(pictures / f"{name}.png")
    path = folder / "report.html"
    arguments = ["--scale", "4", "--method", "bicubic", "--method", "mezzotint-x4", "--realism", "0,0.5,1"]
    arguments += ["--steps", "2,4", "--samples", "2", "--quiet", "--report", str(path)]
    assert main(["evaluate", str(pictures), *arguments]) == 0
    return path


@pytest.fixture(scope="module")
def page(report: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    browser = find_browser()
    if browser is None:
        pytest.skip("no Chromium is installed: apt-get install chromium, or name one in MEZZOTINT_TEST_BROWSER")
    with Page(browser, tmp_path_factory.mktemp("browser")) as page:
        page.open(report.as_uri())
        yield page


def boxes(page: Page, selector: str) -> list[dict]:
    return page.ask(BOXES.replace("SELECTOR", repr(selector)))


def overlap(a: dict, b: dict) -> bool:
    across = min(a["right"], b["right"]) - max(a["left"], b["left"])
    down = min(a["bottom"], b["bottom"]) - max(a["top"], b["top"])
    # Boxes of text are taller than the letters: a line may touch the next.
    return across > 1 and down > 4


def test_nothing_is_asked_for_but_the_page(page: Page, report: Path):
    assert report.as_uri() in page.requests
    other = [address for address in page.requests if not address.startswith("data:") and address != report.as_uri()]
    assert other == []


def test_the_browser_finds_a_request_and_a_complaint(page: Page, report: Path, tmp_path: Path):
    """The checks of this file can fail: a page with a picture from elsewhere and an error is told from the report."""
    browser = find_browser()
    assert browser is not None
    bad = tmp_path / "bad.html"
    bad.write_text('<p>x</p><img src="http://example.invalid/a.png"><script>console.error("wrong"); missing()</script>')
    with Page(browser, tmp_path) as other:
        other.open(bad.as_uri())
        assert "http://example.invalid/a.png" in other.requests
        assert any("wrong" in text for text in other.said) and any("missing" in text for text in other.said)
        assert [box["image"] for box in boxes(other, "img")] == [0]


def test_nothing_is_said_in_the_console(page: Page):
    assert page.said == []
    assert page.ask("document.compatMode") == "CSS1Compat"  # the standard's way to show, not that of old pages


def test_tables_and_headings_are_seen(page: Page):
    headings = [box["text"] for box in boxes(page, "h1, h2")]
    wanted = ["Evaluation", "Calibration of the samples", "Distortion and perception", "Over the steps"]
    wanted += ["Over the realism", "Worst and best pictures", "Pictures", "Settings"]
    assert headings == wanted
    cells = boxes(page, ".wide > table:first-child td:first-child")
    names = {NAME.format(steps, realism) for steps in (2, 4) for realism in ("0", "0.5", "1")}
    assert names | {"bicubic"} <= {cell["text"] for cell in cells if cell["seen"] and cell["width"] > 50}
    for box in boxes(page, "body > .wide table, .settings table, h1, h2, h3, li"):
        assert box["seen"] and box["width"] > 20 and box["height"] > 10, box


def test_drawings_are_seen_and_their_texts_lie_inside_and_apart(page: Page):
    drawings = page.ask("document.querySelectorAll('svg').length")
    # PSNR against LPIPS, and five measures over the steps and over the realism.
    assert drawings == 11
    for number in range(drawings):
        page.ask(f"document.querySelectorAll('svg').forEach((svg, k) => svg.id = k == {number} ? 'asked' : '')")
        (svg,) = boxes(page, "#asked")
        assert svg["seen"] and svg["width"] > 400 and svg["height"] > 250
        texts = boxes(page, "#asked text")
        assert len(texts) >= 7  # six of the axes, and one series or more: infinite figures are not drawn
        for text in texts:
            assert text["seen"] and text["width"] > 3 and text["height"] > 8, text
            assert svg["left"] <= text["left"] and text["right"] <= svg["right"], text
            assert svg["top"] <= text["top"] and text["bottom"] <= svg["bottom"], text
        crossing = [(a["text"], b["text"]) for k, a in enumerate(texts) for b in texts[:k] if overlap(a, b)]
        assert crossing == []
        assert len(boxes(page, "#asked circle")) >= 2
        assert all(box["width"] > 4 for box in boxes(page, "#asked circle"))


def test_crops_and_maps_are_seen(page: Page):
    pictures = boxes(page, ".crops img")
    # Three pictures; each the true crop, and seven methods' crops, errors and LPIPS maps.
    assert len(pictures) == 3 * (1 + 3 * 7)
    for box in pictures:
        assert box["seen"] and box["image"] >= 64 and box["width"] == 2 * box["image"], box
        assert box["alt"]
    kinds = {word: sum(box["alt"].startswith(word) for box in pictures) for word in ("true", "error of", "LPIPS of")}
    assert kinds == {"true": 3, "error of": 21, "LPIPS of": 21}


@pytest.mark.parametrize("width", [1280, 800, 390])
def test_the_page_does_not_scroll_sideways(page: Page, width: int):
    page.resize(width, 900)
    try:
        assert page.ask("document.documentElement.scrollWidth") <= width
        assert page.ask("Array.from(document.querySelectorAll('svg'), s => s.getBoundingClientRect().right)") != []
    finally:
        page.resize(1280, 900)


def test_folded_tables_open(page: Page):
    hidden = boxes(page, "details table")
    assert hidden and not any(box["seen"] for box in hidden)
    page.ask("document.querySelectorAll('details').forEach(one => one.open = true)")
    opened = boxes(page, "details table")
    assert all(box["seen"] and box["height"] > 60 for box in opened)
    assert page.ask("document.documentElement.scrollWidth") <= 1280


def test_the_picture_of_the_page_is_not_blank(page: Page, tmp_path: Path):
    path = tmp_path / "page.png"
    path.write_bytes(page.picture())
    pixels = np.asarray(Image.open(path).convert("RGB"))
    assert pixels.shape[0] > 3000 and pixels.shape[1] >= 1280
    assert 0.005 < (pixels.min(axis=2) < 128).mean() < 0.9
