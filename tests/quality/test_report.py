from __future__ import annotations

import base64
import io
import itertools
import math
import re
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image
from skimage import data

from mezzotint.errors import UsageError
from mezzotint.quality import Candidate, Scored, evaluate, lpips_map
from mezzotint.quality.charts import png
from mezzotint.quality.evaluation import Evaluation, MethodFigures
from mezzotint.quality.gallery import Gallery, error_map, perceptual_map
from mezzotint.quality.psnr import psnr_of_planes
from mezzotint.quality.report import to_html, to_markdown


def method(psnr: float, lpips: float | None, **more) -> MethodFigures:
    mean = {"psnr": psnr, "lpips": lpips, "seconds": 1.0}
    return MethodFigures(
        settings={"steps": 4},
        mean=mean,
        std={"psnr": 0.0125, "lpips": None, "seconds": None},
        ci95={"psnr": [psnr - 1, psnr + 1], "lpips": None, "seconds": None},
        images={"a.png": dict(mean), "b.png": dict(mean)},
        notes=["measure half only"],
        **more,
    )


CALIBRATION = {
    "samples": 4,
    "ratio": 0.7,
    "ratio_ci95": [0.5, 0.9],
    "stated_ratio": 0.75,
    "ideal_ratio": 0.8,
    "rank_correlation": 0.6,
    "diversity": 3.0,
    "sample_mean": {"psnr": 29.0},
}


def evaluation(**methods: MethodFigures) -> Evaluation:
    return Evaluation(
        protocol="y-modern", scale=4.0, seeds=[0, 1], data={"folder": "Set5", "images": 2}, methods=methods
    )


EXAMPLE = evaluation(bicubic=method(28.4290, 0.34), ours=method(30.3, 0.25, calibration=CALIBRATION))


def test_markdown_is_a_table_with_the_best_in_bold():
    lines = to_markdown(EXAMPLE).splitlines()
    assert lines[0] == "2 pictures of Set5, x4, protocol y-modern, 2 seeds"
    assert lines[2] == "| method | PSNR dB | LPIPS-AlexNet | s a picture |"
    assert lines[4] == "| bicubic | 28.4290 ± 0.0125 | 0.3400 | **1.00** |"
    assert lines[5] == "| ours | **30.3000 ± 0.0125** | **0.2500** | **1.00** |"
    rows = [line for line in lines if line.startswith("|")]
    assert "| ours | 4 | 0.700 | 0.500 to 0.900 | 0.750 | 0.800 | 0.600 | 3.00 | 29.0000 |" in rows


def test_undefined_and_infinite_figures_are_printed():
    text = to_markdown(evaluation(oracle=method(math.inf, None)))
    assert "| oracle | inf ± 0.0125 | - | 1.00 |" in text


def test_names_cannot_break_the_table_or_the_page():
    hostile = evaluation(**{"a|b<script>": method(28, 0.3), "c": method(29, 0.2)})
    assert "| a\\|b<script> |" in to_markdown(hostile)
    page = to_html(hostile, title="<&>")
    assert "<script" not in page
    assert "a|b&lt;script&gt;" in page and "<title>&lt;&amp;&gt;</title>" in page


class Balance(HTMLParser):
    """Checks that every element is closed where it was opened."""

    VOID = {"meta", "br", "img"}

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []

    def handle_starttag(self, tag, attrs):
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        pass

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def test_html_is_one_whole_page():
    page = to_html(EXAMPLE)
    parser = Balance()
    parser.feed(page)
    assert parser.open == []
    assert not re.search(r"(?:src|href)=|url\(|@import|<script", page)
    assert page.count("a.png") == 3  # once for each measure
    assert "27.4290 to 29.4290" in page and "steps 4" in page and "measure half only" in page


def test_html_draws_methods_where_they_belong():
    page = to_html(EXAMPLE)
    points = [tuple(map(float, point)) for point in re.findall(r'cx="([\d.]+)" cy="([\d.]+)"', page)]
    (bicubic_x, bicubic_y), (ours_x, ours_y) = points
    assert ours_x > bicubic_x  # the larger PSNR to the right
    assert ours_y > bicubic_y  # the smaller LPIPS farther down
    assert all(0 <= x <= 640 and 0 <= y <= 400 for x, y in points)


def test_names_of_methods_at_one_place_lie_apart():
    page = to_html(evaluation(**{f"method {number}": method(28.0, 0.3) for number in range(5)}))
    rows = [float(y) for y in re.findall(r'<text x="[\d.]+" y="([\d.]+)" text-anchor="\w+">method \d</text>', page)]
    assert len(rows) == 5
    assert min(b - a for a, b in itertools.pairwise(sorted(rows))) >= 14
    assert len(set(re.findall(r'cx="([\d.]+)" cy="([\d.]+)"', page))) == 1


def test_settings_that_were_not_given_are_left_out():
    figures = method(28.0, 0.3)
    figures["settings"] = {"steps": 4, "guidance": None}
    page = to_html(evaluation(ours=figures))
    assert "steps 4" in page and "None" not in page


@pytest.mark.parametrize(
    "example", [evaluation(one=method(28, 0.3)), evaluation(a=method(28, None), b=method(29, None))]
)
def test_html_draws_nothing_without_two_points(example):
    assert "<svg" not in to_html(example)


def test_equal_methods_are_drawn_too():
    assert to_html(evaluation(a=method(28, 0.3), b=method(28, 0.3))).count("<circle") == 2


def grid_of_steps() -> Evaluation:
    methods = {"bicubic": method(28.0, 0.4)}
    for steps, psnr in ((2, 29.0), (4, 30.0), (10, 30.5)):
        methods[f"ours steps {steps} realism 1"] = {
            **method(psnr, 0.3 - steps / 100),
            "settings": {"steps": steps, "realism": 1.0},
        }
    methods["ours steps 4 realism 0.5"] = {**method(31.0, 0.3), "settings": {"steps": 4, "realism": 0.5}}
    methods["theirs"] = {**method(27.0, 0.2), "settings": {"steps": None}}
    return evaluation(**methods)


def test_settings_that_vary_alone_are_drawn_as_curves():
    page = to_html(grid_of_steps())
    steps, realism = page.split("<h2>Over the steps</h2>")[1].split("<h2>Over the realism</h2>")
    realism = realism.split("<h2>")[0]
    assert [drawing for drawing in re.findall('aria-label="([^"]+)"', steps)] == [
        "PSNR dB over the steps",
        "LPIPS-AlexNet over the steps",
    ]
    psnr = steps.split("</svg>")[0]
    points = [tuple(map(float, point)) for point in re.findall(r'cx="([\d.]+)" cy="([\d.]+)"', psnr)]
    assert len(points) == 3 and points == sorted(points)  # three steps from left to right
    assert [y for _, y in points] == sorted((y for _, y in points), reverse=True)  # PSNR grows upwards
    assert points[1][0] - points[0][0] == pytest.approx((points[2][0] - points[0][0]) / 4, abs=0.2)  # 2, 4 and 10
    assert ">ours realism 1</text>" in psnr and "bicubic" not in psnr and "theirs" not in psnr
    assert psnr.count("stroke-opacity") == 3  # an interval at each
    assert ">ours steps 4</text>" in realism and realism.count("<circle") == 4


def test_one_value_of_a_setting_is_no_curve():
    page = to_html(evaluation(a={**method(28, 0.3), "settings": {"steps": 4}}, b=method(29, 0.2)))
    assert "Over the" not in page


def shown_evaluation(count: int = 5):
    """An evaluation of two methods, with the gallery of its crops."""
    pictures = [(f"{k}.png", data.astronaut()[40 * k : 40 * k + 136, 100:240]) for k in range(count)]

    def noisy(x: np.ndarray, seed: int) -> np.ndarray:
        large = x.repeat(4, axis=0).repeat(4, axis=1).astype(int)
        return np.clip(large + np.random.default_rng(seed).integers(-40, 41, large.shape), 0, 255).astype(np.uint8)

    def repeated(x: np.ndarray, seed: int) -> np.ndarray:
        return x.repeat(4, axis=0).repeat(4, axis=1)

    gallery = Gallery()
    methods = [Candidate("noisy", noisy), Candidate("plain", repeated, deterministic=True)]
    result = evaluate(pictures, methods, seeds=(0, 1), progress=gallery.add)
    return result, gallery


@pytest.fixture(scope="module")
def shown():
    return shown_evaluation()


def test_worst_and_best_pictures_are_shown_beside_their_errors(shown):
    result, gallery = shown
    page = to_html(result, gallery=gallery)
    parser = Balance()
    parser.feed(page)
    assert parser.open == []
    addresses = re.findall(r'src="([^"]+)"', page)
    assert all(address.startswith("data:image/png;base64,") for address in addresses)
    assert not re.search(r"href=|url\(|@import|<script", page)
    lpips = {name: figures["mean"]["lpips"] for name, figures in result["methods"].items()}
    best = min(lpips, key=lpips.__getitem__)
    order = sorted(
        result["methods"][best]["images"], key=lambda name: -result["methods"][best]["images"][name]["lpips"]
    )
    assert f"By LPIPS-AlexNet of {best}." in page
    headings = re.findall(r"<h3>([^<]+)</h3>", page)
    assert headings == [f"{name}, worst" for name in order[:3]] + [f"{name}, best" for name in order[:2:-1]]
    # for each picture the true one and two methods, an error map and an LPIPS map of each method
    assert len(addresses) == 5 * (3 + 2 + 2)


def test_crops_are_those_of_the_pictures(shown):
    _, gallery = shown
    for k, (name, crops) in enumerate(gallery.pictures.items()):
        assert name == f"{k}.png"
        picture = data.astronaut()[40 * k : 40 * k + 136, 100:240]
        part = picture[crops.row : crops.row + 128, crops.column : crops.column + 128]
        assert np.array_equal(crops.reference, part) and list(crops.results) == ["noisy", "plain"]
        assert all(one.shape == (128, 128, 3) for one in crops.results.values())
    first = gallery.pictures["0.png"]
    assert psnr_of_planes(*(one.astype(np.float64) for one in (first.reference, first.results["plain"]))) > 15


def test_pictures_that_are_shown_decode_to_themselves():
    for pixels in (data.astronaut()[:33, :20], data.camera()[:7, :50]):
        address = png(pixels)
        decoded = Image.open(io.BytesIO(base64.b64decode(address.partition(",")[2])))
        assert np.array_equal(np.asarray(decoded), pixels)


def test_maps_are_the_errors_amplified():
    a, b = np.random.default_rng(0).integers(0, 256, (2, 40, 40, 3), dtype=np.uint8)
    expected = np.minimum(np.round(np.abs(a.astype(int) - b).mean(axis=2) * 4), 255)
    assert np.array_equal(error_map(a, b), expected)
    found = perceptual_map(a, b)
    assert found is not None and np.array_equal(found, np.clip(np.round(lpips_map(a, b) * 255), 0, 255))
    assert not error_map(a, a).any() and not perceptual_map(a, a).any()
    assert perceptual_map(a[:20], b[:20]) is None


def test_small_and_grey_pictures_are_kept_whole():
    gallery = Gallery(side=16)
    grey = data.camera()[:12, :20, None]
    gallery.add(Scored("a", "m", 0, grey, {}, grey))
    gallery.add(Scored("a", "m", 1, 255 - grey, {}, grey))  # a second seed
    crops = gallery.pictures["a"]
    assert crops.reference.shape == (12, 16, 3) and np.array_equal(crops.results["m"], crops.reference)
    with pytest.raises(UsageError, match="0 pixels show nothing"):
        Gallery(side=0)


def test_few_pictures_are_not_shown_twice():
    result, gallery = shown_evaluation(1)
    page = to_html(result, gallery=gallery)
    assert re.findall(r"<h3>([^<]+)</h3>", page) == ["0.png, worst"]
    assert "<h3>" not in to_html(result, gallery=Gallery())
