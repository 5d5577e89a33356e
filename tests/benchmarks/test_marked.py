from __future__ import annotations

import pytest

from benchmarks import marked


def test_lines_replace_what_stood_between_the_marks_and_nothing_else(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("a\n<!-- written by p.py -->\nold\n\nold\n<!-- end of p.py -->\nb\n")
    marked.write(page, "p.py", ["| new |", ""])
    marked.write(page, "p.py", ["| new |"])
    assert page.read_text() == "a\n<!-- written by p.py -->\n| new |\n<!-- end of p.py -->\nb\n"


def test_a_page_without_the_marks_is_left_alone(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("a\n")
    with pytest.raises(SystemExit, match="needs one line"):
        marked.write(page, "p.py", [])
    assert page.read_text() == "a\n"
