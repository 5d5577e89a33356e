from __future__ import annotations

import math
import re
from html.parser import HTMLParser

import pytest

from mezzotint.quality.evaluation import Evaluation, MethodFigures
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
    assert "| ours | 4 | 0.700 | 0.500 to 0.900 | 0.800 | 0.600 | 3.00 | 29.0000 |" in rows


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

    VOID = {"meta", "br"}

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


@pytest.mark.parametrize(
    "example", [evaluation(one=method(28, 0.3)), evaluation(a=method(28, None), b=method(29, None))]
)
def test_html_draws_nothing_without_two_points(example):
    assert "<svg" not in to_html(example)


def test_equal_methods_are_drawn_too():
    assert to_html(evaluation(a=method(28, 0.3), b=method(28, 0.3))).count("<circle") == 2
