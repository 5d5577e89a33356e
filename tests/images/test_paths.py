"""Names of outputs, and what is refused before any work."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mezzotint import images as files
from mezzotint.errors import InputError, MezzotintError, UsageError
from mezzotint.images import Picture
from mezzotint.images.paths import check_collisions, check_output, check_size, limits, output_path

SMALL = Picture(np.zeros((2, 3, 3), np.uint8))


@pytest.mark.parametrize(
    ("source", "options", "expected"),
    [
        ("a/photo.jpg", {"scale": 4}, "a/photo_x4.jpg"),
        ("photo.jpg", {"scale": 4.0}, "photo_x4.jpg"),
        ("photo.png", {"scale": 2.5}, "photo_x2.5.png"),
        ("photo.JPG", {"width": 1600}, "photo_w1600.JPG"),
        ("photo.webp", {"height": 900}, "photo_h900.webp"),
        ("photo.webp", {"long_side": 2000}, "photo_l2000.webp"),
        ("photo.png", {"scale": 4, "sample_index": 0}, "photo_x4_s0.png"),
        ("photo.png", {"width": 7, "sample_index": 12}, "photo_w7_s12.png"),
        ("my photo v1.2.png", {"scale": 4}, "my photo v1.2_x4.png"),
        ("\u5317\u4eac caf\u00e9 \U0001f5bc.png", {"scale": 4}, "\u5317\u4eac caf\u00e9 \U0001f5bc_x4.png"),
        ("photo.jpg", {"scale": 4, "fmt": "png"}, "photo_x4.png"),
        ("photo.jpg", {"scale": 4, "fmt": ".WebP"}, "photo_x4.webp"),
        ("photo.jpg", {"scale": 4, "fmt": "jpeg"}, "photo_x4.jpg"),
        ("photo.png", {"scale": 4, "fmt": "jpeg"}, "photo_x4.jpeg"),
        ("photo.jpg", {"scale": 4, "source_format": "png"}, "photo_x4.png"),
        ("photo.jpeg", {"scale": 4, "source_format": "jpeg"}, "photo_x4.jpeg"),
        ("photo.png", {"scale": 4, "source_format": "jpeg"}, "photo_x4.jpg"),
        ("photo.png", {"scale": 4, "source_format": "jpeg", "fmt": "png"}, "photo_x4.png"),
        ("photo", {"scale": 4, "source_format": "webp"}, "photo_x4.webp"),
        ("photo.v2", {"scale": 4, "source_format": "png"}, "photo.v2_x4.png"),
        ("photo.tiff", {"scale": 4, "source_format": "png"}, "photo_x4.png"),
        (".png", {"scale": 4, "source_format": "png"}, ".png_x4.png"),
    ],
)
def test_the_name_beside_the_input(source: str, options: dict[str, object], expected: str) -> None:
    assert output_path(source, **options) == Path(expected)  # type: ignore[arg-type]


def test_a_size_is_given_exactly_once() -> None:
    for options in ({}, {"scale": 4, "width": 9}):
        with pytest.raises(UsageError, match=f"{len(options)} of scale"):
            output_path("a.png", **options)  # type: ignore[arg-type]


def test_output_with_an_extension_is_a_file(tmp_path: Path) -> None:
    assert output_path("a.jpg", tmp_path / "b.png", scale=4) == tmp_path / "b.png"
    assert output_path("a.jpg", tmp_path / "b.png", scale=4, sample_index=2) == tmp_path / "b_s2.png"
    assert output_path("a.jpg", tmp_path / "b.png", scale=4, fmt="png", source_format="jpeg").name == "b.png"
    assert output_path("a.png", "b.webp", scale=4) == Path("b.webp")
    with pytest.raises(UsageError, match="--format jpeg name two formats"):
        output_path("a.jpg", tmp_path / "b.png", scale=4, fmt="jpeg")
    with pytest.raises(UsageError, match="does not exist: make it first"):
        output_path("a.jpg", tmp_path / "none" / "b.png", scale=4)
    assert not (tmp_path / "none").exists()
    (tmp_path / "folder.png").mkdir()
    with pytest.raises(UsageError, match="is a folder"):
        output_path("a.jpg", tmp_path / "folder.png", scale=4)
    for name in ("b.bmp", "b.GIF", "b.heic"):
        with pytest.raises(UsageError, match="files are not written"):
            output_path("a.jpg", tmp_path / name, scale=4)


def test_any_other_output_is_a_folder_and_is_made(tmp_path: Path) -> None:
    folder = tmp_path / "new" / "and newer"
    assert output_path("x/a.jpg", folder, scale=4, make_folder=False) == folder / "a_x4.jpg"
    assert not folder.exists()
    assert output_path("x/a.jpg", folder, scale=4, sample_index=1) == folder / "a_x4_s1.jpg"
    assert folder.is_dir()
    assert output_path("a.jpg", f"{tmp_path}/folder.png/", scale=4) == tmp_path / "folder.png" / "a_x4.jpg"
    (tmp_path / "results").write_text("a file")
    with pytest.raises(UsageError, match="is a file, not a folder"):
        output_path("a.jpg", tmp_path / "results", scale=4)
    with pytest.raises(InputError, match="cannot be made: not a directory"):
        output_path("a.jpg", tmp_path / "results" / "below", scale=4)
    with pytest.raises(InputError, match="cannot be made: file name too long"):
        output_path("a.jpg", tmp_path / ("n" * 300), scale=4)


def test_a_format_must_be_one_that_is_written() -> None:
    for fmt in ("bmp", "", "exe", "pbm"):
        with pytest.raises(UsageError, match="is not written: use one of .png"):
            output_path("a.png", scale=4, fmt=fmt)
    with pytest.raises(InputError, match="gives no format.*--format"):
        output_path("a.bmp", scale=4)


@given(st.text(st.characters(exclude_characters="/\0"), min_size=1, max_size=40).filter(lambda n: n not in (".", "..")))
def test_any_name_gives_a_name_in_the_same_folder(name: str) -> None:
    path = output_path(f"folder/{name}", scale=4, source_format="png")
    assert path.parent == Path("folder")
    assert path.name != name
    assert path.suffix.lower() == ".png"


def test_sizes_that_a_format_cannot_hold() -> None:
    for name, side in (("a.jpg", 65_500), ("a.JPEG", 65_500), ("a.webp", 16_383), ("a.png", 100_000_000)):
        check_size(name, width=side, height=1)
        check_size(name, width=1, height=side)
        for width, height in ((side + 1, 1), (1, side + 1)):
            with pytest.raises(InputError) as caught:
                check_size(name, width=width, height=height)
            assert f"{side:,}" in str(caught.value) and f"{width} x {height}" in str(caught.value)
    with pytest.raises(InputError, match="write .png or .tif or .jpg instead"):
        check_size("a.webp", width=20_000, height=1)
    with pytest.raises(InputError, match="write .png or .tif instead"):
        check_size("a.webp", width=70_000, height=1)
    with pytest.raises(InputError, match="use one of"):
        check_size("a.gif", width=1, height=1)
    assert (limits("jpg"), limits(".webp")) == (65_500, 16_383)


@pytest.mark.parametrize("name", ["a.jpg", "a.webp"])
def test_the_limits_are_those_of_the_encoders(tmp_path: Path, name: str) -> None:
    side = limits(Path(name).suffix)
    files.write(Picture(np.zeros((1, side, 1), np.uint8)), tmp_path / name)
    assert files.read(tmp_path / name).width == side
    over = Picture(np.zeros((side + 1, 1, 1), np.uint8))
    with pytest.raises(InputError, match="holds at most"):
        files.write(over, tmp_path / f"over{name}")
    with pytest.raises(InputError, match="cannot be written as"):
        files.encode(over, fmt=files.format_of(name))
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_the_input_is_never_the_output(tmp_path: Path) -> None:
    source = tmp_path / "in.png"
    files.write(SMALL, source)
    kept = source.read_bytes()
    (tmp_path / "soft.png").symlink_to(source)
    os.link(source, tmp_path / "hard.png")
    (tmp_path / "sub").mkdir()
    for path in (source, tmp_path / "soft.png", tmp_path / "hard.png", tmp_path / "sub" / ".." / "in.png"):
        for overwrite in (False, True):
            with pytest.raises(InputError, match="is the input .* itself"):
                files.write(SMALL, path, inputs=["none.png", source], overwrite=overwrite)
    # A name that leads to an input that is not there (yet) counts as well.
    (tmp_path / "later.png").symlink_to(tmp_path / "future.png")
    with pytest.raises(InputError, match="itself"):
        check_output(tmp_path / "later.png", inputs=[tmp_path / "future.png"], overwrite=True)
    assert source.read_bytes() == kept
    files.write(SMALL, tmp_path / "out.png", inputs=[source])


def test_outputs_that_cannot_be_are_refused_before_any_work(tmp_path: Path) -> None:
    cases = [
        (tmp_path / "none" / "a.png", "does not exist"),
        (tmp_path / "file" / "a.png", "is not a folder"),
        (tmp_path / "a.gif", "are not written"),
        (tmp_path / "a", "no extension"),
        (tmp_path / "dir.png", "is a folder"),
        (tmp_path / "dangling.png", "exists"),
        (tmp_path / ("n" * 252 + ".png"), "256 bytes long, and the limit here is 255"),
        (tmp_path / ("\u5317" * 84 + ".png"), "256 bytes long"),
    ]
    (tmp_path / "file").write_text("")
    (tmp_path / "dir.png").mkdir()
    (tmp_path / "dangling.png").symlink_to("nowhere")
    for path, fact in cases:
        for act in (lambda at: check_output(at), lambda at: files.write(SMALL, at)):
            with pytest.raises(InputError) as caught:
                act(path)
            assert fact in str(caught.value) and "\n" not in str(caught.value)
    longest = tmp_path / ("n" * 251 + ".png")
    files.write(SMALL, longest)
    assert np.array_equal(files.read(longest).pixels, SMALL.pixels)


def test_a_folder_without_permission(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Root may write anywhere, so the answer of the system is given instead of provoked.
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    with pytest.raises(InputError, match="is not writable: choose another"):
        check_output(tmp_path / "a.png")
    monkeypatch.undo()

    def refuse(*arguments: object) -> int:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(InputError, match="cannot be written: permission denied"):
        files.write(SMALL, tmp_path / "a.png")


@pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="no folder that refuses even root")
def test_a_folder_that_takes_no_files() -> None:
    with pytest.raises(InputError, match="cannot be written|is not writable"):
        files.write(SMALL, "/proc/self/a.png")


def test_two_inputs_with_one_output(tmp_path: Path) -> None:
    check_collisions([("a/x.png", "out/x_x4.png"), ("a/y.png", "out/y_x4.png")])
    with pytest.raises(UsageError, match="a/x.png and b/x.png would both be written to out/../out/x_x4.png"):
        check_collisions([("a/x.png", "out/x_x4.png"), ("b/x.png", "out/../out/x_x4.png")])


def test_names_that_are_not_utf8_or_have_line_breaks(tmp_path: Path) -> None:
    for name in (os.fsdecode(b"caf\xe9.png"), "line\nbreak.png", " .png", "-o.png", "%s{}.png", "~.png"):
        path = tmp_path / name
        files.write(SMALL, path)
        assert np.array_equal(files.read(path).pixels, SMALL.pixels)
        with pytest.raises(MezzotintError) as caught:
            files.write(SMALL, path)
        assert "\n" not in str(caught.value)
        str(caught.value).encode()
        assert output_path(path, scale=4).name == path.stem + "_x4.png"
