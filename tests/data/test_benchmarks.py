from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mezzotint import images
from mezzotint.data import benchmarks, catalogue, pictures, sets
from mezzotint.data.benchmarks import all_benchmarks, compare, find, find_pictures, natural_key, recognise
from mezzotint.errors import InputError, UsageError


def _touch(folder: Path, *names: str) -> None:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")


def test_names_sort_as_a_person_sorts_them(tmp_path: Path) -> None:
    names = ["img2.png", "img10.png", "Img1.png", "a 3.webp", "a 20.jpg", "ü.JPEG", "007.png", "8.png", "7.png"]
    _touch(tmp_path, *names)
    found = [path.name for path in find_pictures(tmp_path)]
    assert found == ["007.png", "7.png", "8.png", "a 3.webp", "a 20.jpg", "Img1.png", "img2.png", "img10.png", "ü.JPEG"]


@given(st.lists(st.text(alphabet="aB1209²٣_é", max_size=8)))
def test_the_order_is_total_and_does_not_depend_on_the_start(names: list[str]) -> None:
    assert sorted(names, key=natural_key) == sorted(reversed(names), key=natural_key)
    assert len({natural_key(name) for name in names}) == len(set(names))


def test_hidden_files_other_kinds_and_folders_are_left_out(tmp_path: Path) -> None:
    _touch(tmp_path, "a.png", ".b.png", "notes.txt", "list.csv", "sub/c.png", ".hidden/d.png")
    (tmp_path / "folder.png").mkdir()
    assert find_pictures(tmp_path) == (tmp_path / "a.png",)
    assert find_pictures(tmp_path, recursive=True) == (tmp_path / "a.png", tmp_path / "sub" / "c.png")


def test_folders_without_pictures_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds no picture"):
        find_pictures(tmp_path)
    with pytest.raises(InputError, match="does not exist"):
        find_pictures(tmp_path / "absent")
    _touch(tmp_path, "a.png")
    with pytest.raises(InputError, match="is not a folder"):
        find_pictures(tmp_path / "a.png")


def test_the_known_sets_have_their_official_numbers() -> None:
    assert {b.name: len(b.sizes) for b in all_benchmarks()} == {"Set5": 5, "Set14": 14, "BSD100": 100, "GB82": 25}
    assert find("set5").sizes["woman"] == (344, 228)
    assert {tuple(sorted(size)) for size in find("BSD100").sizes.values()} == {(321, 481)}
    with pytest.raises(UsageError, match="Urban100.*use one of Set5, Set14"):
        find("Urban100")


def test_a_whole_set_is_recognised_under_its_usual_names() -> None:
    files = [Path(f"/x/{name}.png") for name in find("Set5").sizes]
    assert recognise(files) == find("Set5")
    assert recognise([Path(f"/x/{name.upper()}_HR.png") for name in find("Set14").sizes]) == find("Set14")
    assert recognise([Path("/x/holiday.png"), Path("/x/dog.png"), Path("/x/me.png")]) is None
    assert recognise([]) is None


def test_differences_from_a_set_are_named() -> None:
    benchmark = find("Set5")
    right = {Path(f"{name}.png"): size for name, size in benchmark.sizes.items()}
    assert compare(benchmark, right).is_none and compare(benchmark, right).report() == ""
    changed = {path: size for path, size in right.items() if path.stem != "baby"}
    changed[Path("head.png")] = (140, 140)
    changed |= {Path("extra.png"): (5, 5), Path("bird_GT.webp"): (288, 288)}
    found = compare(benchmark, changed)
    assert found.missing == ("baby",) and found.extra == (Path("extra.png"), Path("bird_GT.webp"))
    assert found.other_size == ((Path("head.png"), (140, 140), (280, 280)),)
    assert found.report() == (
        "1 missing: baby; 2 not part of it: extra.png, bird_GT.webp; 1 of another size: head.png (140x140, not 280x280)"
    )


@pytest.mark.parametrize("name", ["Set5", "Set14", "BSD100", "GB82"])
def test_the_folders_beside_the_checkout_are_whole(shared_data: Path, name: str) -> None:
    files = find_pictures(shared_data / "bench" / name)
    assert recognise(files) == find(name)
    some = {path: images.read(path).pixels.shape[:2] for path in files[::20]}
    found = compare(find(name), {**{path: find(name).sizes[path.stem] for path in files}, **some})
    assert found.is_none


def test_the_catalogue_lists_the_training_pictures_and_the_benchmarks() -> None:
    listed = catalogue.collections()
    names = [c.name for c in listed]
    own = ["training", "training-large"]
    assert names[:6] == [*own, "Set5", "Set14", "BSD100", "GB82"] and len(set(names)) == len(names)
    assert set(names) == {*own, "GB82"} | {s.name for s in sets.all_sets()}
    training = catalogue.find("Training")
    assert training.fetchable and training.pictures == len(pictures.read_pictures()) == len(catalogue.rows("training"))
    assert training.megapixels is not None and 30 < training.megapixels < 200 and "CC-BY-SA-4.0" in training.licence
    large = pictures.read_pictures(pictures.list_files("training-large")[0])
    assert [row["file"] for row in catalogue.rows("Training-Large")] == [row.file for row in large]
    assert catalogue.rows("set5")[0] == {"file": "baby", "height": 512, "width": 512}
    assert catalogue.rows("DIV2K") == () and catalogue.describe("training") is None
    known = catalogue.describe("div2k")
    assert known is not None and known["splits"][0]["pictures"] == 800 and "bicubic" in known["tracks"]


def test_unknown_sets_and_sets_without_a_package_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="'trainig' is unknown: did you mean training"):
        catalogue.find("trainig")
    with pytest.raises(UsageError, match="use one of training, training-large, Set5"):
        catalogue.rows("zzz")
    with pytest.raises(UsageError, match="Set5 is in no package registry"):
        catalogue.fetch("Set5", tmp_path / "out")
    with pytest.raises(UsageError, match="academic research only.*get it from https://data.vision.ee.ethz.ch/cvl/DIV2K/"):
        catalogue.fetch("div2k", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_the_catalogue_fetches_from_a_folder(shared_data: Path, tmp_path: Path) -> None:
    source = shared_data / "train" / "open"
    if not source.is_dir():
        pytest.skip(f"no training pictures in {source}")
    fetched = catalogue.fetch("training", tmp_path / "out", source_folder=source, cache=tmp_path / "cache")
    assert fetched.is_complete and len(fetched.copied) == catalogue.find("training").pictures
    assert not (tmp_path / "cache").exists()


def test_the_room_needs_no_torch() -> None:
    code = "import sys, mezzotint.data.catalogue as c; c.collections(); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_endings_that_mean_the_true_picture_are_no_part_of_a_name() -> None:
    assert benchmarks.picture_name(Path("a/img_001_HR.png")) == "img_001"
    assert benchmarks.picture_name(Path("baby_GT.bmp")) == "baby"
