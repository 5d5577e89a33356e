from __future__ import annotations

import csv
import dataclasses
import hashlib
import io
import lzma
import tarfile
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mezzotint import images
from mezzotint.data import pictures
from mezzotint.data.packages import Package, file_sha256
from mezzotint.data.pictures import Row, credits, fetch, rebuild, verify
from mezzotint.data.shrink import shrink
from mezzotint.errors import InputError, UsageError


def _sha(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _photograph(seed: int, height: int, width: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    coarse = Image.fromarray(rng.integers(0, 256, (8, 8, 3), dtype=np.uint8))
    return np.asarray(coarse.resize((width, height), Image.Resampling.BICUBIC))


def _file(pixels: np.ndarray, kind: str) -> bytes:
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, kind, quality=90)
    return out.getvalue()


def _deb(files: dict[str, bytes]) -> bytes:
    tree = io.BytesIO()
    with tarfile.open(fileobj=tree, mode="w") as tar:
        for name, data in files.items():
            entry = tarfile.TarInfo("./" + name)
            entry.size = len(data)
            tar.addfile(entry, io.BytesIO(data))
    members = {"debian-binary": b"2.0\n", "data.tar.xz": lzma.compress(tree.getvalue())}
    out = b"!<arch>\n"
    for name, data in members.items():
        out += f"{name:<16}{0:<12}{0:<6}{0:<6}{'100644':<8}{len(data):<10}`\n".encode() + data + b"\n" * (len(data) % 2)
    return out


class Shelf:
    """Three tiny pictures: two in a Debian package that lies in a cache, one in a git source that is a folder."""

    def __init__(self, folder: Path) -> None:
        self.cache, self.checkout, self.finished = folder / "cache", folder / "checkout", folder / "finished"
        for made in (self.cache, self.checkout, self.finished):
            made.mkdir()
        self.sources: dict[str, bytes] = {}
        rows = []
        for index, (kind, source, factor) in enumerate([("PNG", "apt", 2), ("WEBP", "apt", 1.5), ("JPEG", "git", 1)]):
            pixels = _photograph(index, 40 + index, 61)
            data = _file(pixels, kind)
            path = f"usr/p{index}.{kind.lower()}"
            self.sources[path] = data
            small = shrink(np.asarray(Image.open(io.BytesIO(data)).convert("RGB")), factor=factor)
            stored = io.BytesIO()
            Image.fromarray(small).save(stored, "JPEG", quality=94, subsampling=0)
            decoded = np.asarray(Image.open(io.BytesIO(stored.getvalue())))
            name = f"picture{index}.jpg"
            (self.finished / name).write_bytes(stored.getvalue())
            rows.append(
                Row(
                    file=name,
                    source="apt:tiny" if source == "apt" else "git:https://example.org/tiny",
                    version="1",
                    source_file=path,
                    source_sha256=_sha(data),
                    shrink=factor,
                    height=small.shape[0],
                    width=small.shape[1],
                    pixels_sha256=_sha(decoded.tobytes()),
                    stored_sha256=_sha(stored.getvalue()),
                    licence="CC0-1.0",
                    author=f"Author {index}",
                    origin="",
                    evidence="README",
                    note="",
                )
            )
        (self.checkout / "deep").mkdir()
        (self.checkout / "deep" / "renamed.jpg").write_bytes(self.sources["usr/p2.jpeg"])
        archive = _deb({name: data for name, data in self.sources.items() if not name.endswith("jpeg")})
        (self.cache / "tiny.deb").write_bytes(archive)
        self.rows = tuple(rows)
        self.packages = (
            Package("apt:tiny", "1", "tiny.deb", _sha(archive), len(archive), "file:///nowhere"),
            Package("git:https://example.org/tiny", "1", "", "", 0, "https://example.org/tiny"),
        )

    def fetch(self, folder: Path, **options: object) -> pictures.Fetched:
        settings = {"rows": self.rows, "packages": self.packages, "cache": self.cache} | options
        return fetch(folder, **settings)  # type: ignore[arg-type]


@pytest.fixture
def shelf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shelf:
    monkeypatch.setenv("PATH", str(tmp_path))
    return Shelf(tmp_path)


def test_the_pixels_are_those_of_an_independent_library(shelf: Shelf) -> None:
    for row in shelf.rows:
        data = rebuild(row, shelf.sources[row.source_file])
        theirs = np.asarray(Image.open(shelf.finished / row.file))
        assert np.array_equal(np.asarray(Image.open(io.BytesIO(data))), theirs)


def test_packages_and_a_checkout_give_every_picture(shelf: Shelf, tmp_path: Path) -> None:
    steps: list[tuple[int, int]] = []
    fetched = shelf.fetch(
        tmp_path / "out", source_folder=shelf.checkout, progress=lambda done, total: steps.append((done, total))
    )
    assert fetched.is_complete and fetched.folder == tmp_path / "out"
    assert sorted(fetched.rebuilt) == [row.file for row in shelf.rows]
    assert verify(fetched.folder, rows=shelf.rows) == ()
    assert steps == [(1, 3), (2, 3), (3, 3)]
    assert pictures.read_pictures(fetched.folder / "pictures.csv") == shelf.rows
    assert sorted(path.name for path in fetched.folder.iterdir()) == [
        "picture0.jpg", "picture1.jpg", "picture2.jpg", "pictures.csv"
    ]  # fmt: skip


def test_finished_pictures_are_copied_by_hash_alone(shelf: Shelf, tmp_path: Path) -> None:
    for index, path in enumerate(sorted(shelf.finished.iterdir())):
        path.rename(shelf.finished / f"{9 - index} ünnamed.JPG")
    fetched = shelf.fetch(tmp_path / "out", source_folder=shelf.finished, cache=tmp_path / "no cache")
    assert fetched.is_complete and sorted(fetched.copied) == [row.file for row in shelf.rows]
    assert [file_sha256(fetched.folder / row.file) for row in shelf.rows] == [row.stored_sha256 for row in shelf.rows]
    assert not (tmp_path / "no cache").exists()


def test_what_no_registry_has_is_reported_and_the_rest_is_there(shelf: Shelf, tmp_path: Path) -> None:
    fetched = shelf.fetch(tmp_path / "out")
    ((file, reason),) = fetched.missing
    assert file == "picture2.jpg" and "--from" in reason and "https://example.org/tiny" in reason
    assert fetched.folder == tmp_path / "out"
    assert verify(fetched.folder, rows=shelf.rows) == (("picture2.jpg", "missing"),)
    assert pictures.read_pictures(fetched.folder / "pictures.csv") == shelf.rows[:2]
    again = shelf.fetch(tmp_path / "out", source_folder=shelf.checkout)
    assert again.is_complete and again.kept == ("picture0.jpg", "picture1.jpg") and again.rebuilt == ("picture2.jpg",)
    assert pictures.read_pictures(fetched.folder / "pictures.csv") == shelf.rows


def test_an_unreachable_package_leaves_a_partial_folder_that_the_next_call_finishes(
    shelf: Shelf, tmp_path: Path
) -> None:
    away = shelf.cache / "tiny.deb"
    away.rename(shelf.cache / "away")
    fetched = shelf.fetch(tmp_path / "out", source_folder=shelf.checkout)
    assert [file for file, _ in fetched.missing] == ["picture0.jpg", "picture1.jpg"]
    assert "apt-get is not on this machine" in fetched.missing[0][1]
    assert fetched.folder == tmp_path / ".out.partial" and not (tmp_path / "out").exists()
    (shelf.cache / "away").rename(away)
    again = shelf.fetch(tmp_path / "out", source_folder=shelf.checkout)
    assert again.is_complete and again.kept == ("picture2.jpg",)
    assert verify(tmp_path / "out", rows=shelf.rows) == () and not (tmp_path / ".out.partial").exists()


def test_a_damaged_picture_is_replaced_and_a_right_one_is_not_touched(shelf: Shelf, tmp_path: Path) -> None:
    shelf.fetch(tmp_path / "out", source_folder=shelf.finished)
    damaged, right = tmp_path / "out" / "picture0.jpg", tmp_path / "out" / "picture1.jpg"
    damaged.write_bytes(damaged.read_bytes()[:200])
    before = right.stat().st_mtime_ns
    fetched = shelf.fetch(tmp_path / "out")
    assert fetched.rebuilt == ("picture0.jpg",) and fetched.kept == ("picture1.jpg", "picture2.jpg")
    assert right.stat().st_mtime_ns == before


def test_the_same_pixels_in_another_file_are_right(shelf: Shelf, tmp_path: Path) -> None:
    row = shelf.rows[0]
    pixels = images.read(shelf.finished / row.file).pixels
    copy = tmp_path / "copy.jpg"
    Image.fromarray(pixels).save(copy, "PNG")
    assert pictures.is_right(row, copy)
    changed = pixels.copy()
    changed[3, 4, 1] ^= 1
    Image.fromarray(changed).save(copy, "PNG")
    assert not pictures.is_right(row, copy)


def test_verify_names_wrong_pixels(shelf: Shelf) -> None:
    swapped = (shelf.finished / "picture1.jpg").read_bytes()
    (shelf.finished / "picture0.jpg").write_bytes(swapped)
    assert verify(shelf.finished, rows=shelf.rows) == (("picture0.jpg", "other pixels than listed"),)


def test_another_source_file_is_refused(shelf: Shelf) -> None:
    with pytest.raises(InputError, match="usr/p0.png of apt:tiny has SHA-256"):
        rebuild(shelf.rows[0], shelf.sources["usr/p1.webp"])


def test_another_result_is_refused(shelf: Shelf) -> None:
    row = dataclasses.replace(shelf.rows[0], pixels_sha256="0" * 64)
    with pytest.raises(InputError, match="picture0.jpg comes out with other pixels here than listed"):
        rebuild(row, shelf.sources["usr/p0.png"])


def test_one_bad_row_does_not_stop_the_others(shelf: Shelf, tmp_path: Path) -> None:
    bad = dataclasses.replace(shelf.rows[0], source_sha256="0" * 64)
    fetched = shelf.fetch(tmp_path / "out", rows=(bad, *shelf.rows[1:]), source_folder=shelf.checkout)
    assert [file for file, _ in fetched.missing] == ["picture0.jpg"]
    assert sorted(fetched.rebuilt) == ["picture1.jpg", "picture2.jpg"]


def test_a_package_that_is_not_listed_is_reported(shelf: Shelf, tmp_path: Path) -> None:
    fetched = shelf.fetch(tmp_path / "out", packages=shelf.packages[1:], source_folder=shelf.checkout)
    assert "apt:tiny 1 is not in the list of packages" in fetched.missing[0][1]


def test_bad_folders_are_refused(shelf: Shelf, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(InputError, match="is not a folder"):
        shelf.fetch(tmp_path / "file")
    with pytest.raises(InputError, match="cannot be made"):
        shelf.fetch(tmp_path / "file" / "out")
    with pytest.raises(InputError, match="is not a folder: name one that holds the pictures"):
        shelf.fetch(tmp_path / "out", source_folder=tmp_path / "absent")


@pytest.mark.parametrize(
    ("column", "value", "complaint"),
    [
        ("licence", "GPL-2.0-or-later", "licence 'GPL-2.0-or-later' is not a known open one"),
        ("author", " ", "picture1.jpg has no author"),
        ("file", "../picture1.jpg", "not a plain name"),
        ("file", "picture0.jpg", "picture0.jpg is listed twice"),
        ("shrink", "0", "shrink '0' is not a multiple of 1/4 from 1 on"),
        ("shrink", "0.75", "shrink '0.75' is not a multiple of 1/4 from 1 on"),
        ("shrink", "1.3", "shrink '1.3' is not a multiple of 1/4 from 1 on"),
        ("shrink", "nan", "shrink 'nan' is not a multiple of 1/4 from 1 on"),
        ("height", "-4", "height '-4' is not a positive whole number"),
        ("stored_sha256", "12ab", "not 64 hexadecimal digits"),
    ],
)
def test_a_bad_row_of_a_list_is_named_with_its_line(
    shelf: Shelf, tmp_path: Path, column: str, value: str, complaint: str
) -> None:
    path = tmp_path / "list.csv"
    pictures.write_list(path, shelf.rows)
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    rows[1][column] = value
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    with pytest.raises(InputError, match=f"list.csv, line 3: .*{complaint}"):
        pictures.read_pictures(path)


def test_a_list_that_is_no_list_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "list.csv"
    with pytest.raises(InputError, match="cannot be read: No such file"):
        pictures.read_pictures(path)
    path.write_text("file,licence\nx,y\n")
    with pytest.raises(InputError, match="has the columns"):
        pictures.read_pictures(path)
    pictures.write_list(path, [])
    with pytest.raises(InputError, match="lists no pictures"):
        pictures.read_pictures(path)
    path.write_text(path.read_text() + "a.jpg,b\n")
    with pytest.raises(InputError, match="line 2: it has not 15 cells"):
        pictures.read_pictures(path)


@pytest.mark.parametrize("name", pictures.LISTS)
def test_a_shipped_list_is_sound(name: str) -> None:
    listed, archives = pictures.list_files(name)
    rows, packages = pictures.read_pictures(listed), pictures.read_packages(archives)
    assert len(rows) >= 150
    known = {(package.source, package.version) for package in packages}
    assert {(row.source, row.version) for row in rows} == known
    assert len({row.pixels_sha256 for row in rows}) == len({row.source_sha256 for row in rows}) == len(rows)
    assert not {row.file for row in rows if row.file.startswith(("mate_", "plasma_"))}
    assert Counter(package.kind for package in packages)["apt"] >= 4
    assert all(row.evidence and row.origin.startswith("http") for row in rows)
    unnamed = {row.licence for row in rows if row.author.startswith("unnamed")}
    assert unnamed <= {"public-domain"}


def test_the_large_list_needs_no_source_that_is_in_no_registry() -> None:
    listed, archives = pictures.list_files("training-large")
    rows, packages = pictures.read_pictures(listed), pictures.read_packages(archives)
    assert {package.kind for package in packages} == {"apt", "pip"}
    assert all("/pool/main/" in package.address for package in packages if package.kind == "apt")
    assert sum(package.size for package in packages) < 1.5e9
    assert sum(row.megapixels for row in rows) > 2 * sum(row.megapixels for row in pictures.read_pictures())
    assert max(max(row.height, row.width) for row in rows) <= 2600


def test_a_list_of_no_such_name_is_refused() -> None:
    with pytest.raises(UsageError, match="no list of pictures 'large': use one of training, training-large"):
        pictures.list_files("large")


def test_the_pictures_that_a_list_was_rewritten_from_are_the_same(tmp_path: Path) -> None:
    for listed, _ in map(pictures.list_files, pictures.LISTS):
        pictures.write_list(tmp_path / "copy.csv", pictures.read_pictures(listed))
        assert (tmp_path / "copy.csv").read_bytes() == listed.read_bytes()


def test_credits_name_author_licence_and_change() -> None:
    lines = dict(line.split(": ", 1) for line in credits())
    rows = {row.file: row for row in pictures.read_pictures()}
    assert lines.keys() == rows.keys()
    for file, line in lines.items():
        assert rows[file].author in line and rows[file].licence in line
    assert "Aitzol Berasategi, CC-BY-4.0" in lines["lomiri_life_by_Aitzol_Berasategi.jpg"]
    assert "shrunk 3 times" in lines["lomiri_life_by_Aitzol_Berasategi.jpg"]


def test_the_stored_pictures_are_the_listed_ones(shared_data: Path) -> None:
    folder = shared_data / "train" / "open"
    if not folder.is_dir():
        pytest.skip(f"no training pictures in {folder}")
    rows = pictures.read_pictures()
    assert [row.file for row in rows if file_sha256(folder / row.file) != row.stored_sha256] == []
    for row in rows[::12]:
        pixels = images.read(folder / row.file).pixels
        assert pixels.shape == (row.height, row.width, 3)
        assert pictures.pixels_sha256(pixels) == row.pixels_sha256
