"""Every data set on a small folder of its official layout, and what is said of folders with another one."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mezzotint.data import sets
from mezzotint.data.pairs import PairFile, fit, measure
from mezzotint.data.sets import all_sets, find_set, layout, read, read_names
from mezzotint.data.sizes import picture_size
from mezzotint.errors import InputError, UsageError


def _make(folder: Path, *names: str, size: tuple[int, int] = (24, 16)) -> None:
    """Write small pictures (width, height), each its own colour; the kind follows from the name."""
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", size, (len(name) % 256, sum(name.encode()) % 256, 7)).save(path)


def _div2k(root: Path) -> Path:
    _make(root / "DIV2K_train_HR", "0001.png", "0002.png", "0800.png")
    _make(root / "DIV2K_valid_HR", "0801.png", "0900.png")
    for kind, names in (("train", ("0001", "0002", "0800")), ("valid", ("0801", "0900"))):
        for track in ("bicubic", "unknown"):
            for s in (2, 3, 4):
                place = root / f"DIV2K_{kind}_LR_{track}" / f"X{s}"
                _make(place, *(f"{n}x{s}.png" for n in names), size=(24 // s, 16 // s))
        _make(root / f"DIV2K_{kind}_LR_x8", *(f"{n}x8.png" for n in names), size=(3, 2))
        _make(root / f"DIV2K_{kind}_LR_mild", *(f"{n}x4m.png" for n in names), size=(6, 4))
        _make(root / f"DIV2K_{kind}_LR_difficult", *(f"{n}x4d.png" for n in names), size=(6, 4))
    _make(root / "DIV2K_train_LR_wild", *(f"{n}x4w{k}.png" for n in ("0001", "0002", "0800") for k in (1, 2, 3, 4)))
    return root


def _names(found: sets.Found) -> list[str]:
    return [pair.name for pair in found.pairs]


def _files(found: sets.Found, root: Path) -> list[tuple[str, str | None]]:
    return [
        (p.y.relative_to(root).as_posix(), None if p.x is None else p.x.relative_to(root).as_posix())
        for p in found.pairs
    ]


def test_div2k(tmp_path: Path) -> None:
    root = _div2k(tmp_path / "DIV2K")
    found = read("div2k", root, scale=4, track="bicubic")
    assert _files(found, root) == [
        (f"DIV2K_train_HR/{n}.png", f"DIV2K_train_LR_bicubic/X4/{n}x4.png") for n in ("0001", "0002", "0800")
    ]
    assert found.official == 800 and "not there: 0003, 0004, 0005 and 794 more" in found.notes
    assert _files(read("DIV2K", root, scale=8, track="bicubic", split="validation"), root)[1] == (
        "DIV2K_valid_HR/0900.png", "DIV2K_valid_LR_x8/0900x8.png"
    )  # fmt: skip
    for track, end in (("mild", "x4m"), ("difficult", "x4d"), ("wild", "x4w1"), ("wild3", "x4w3")):
        place = f"DIV2K_train_LR_{track.rstrip('3')}/0001{end}.png"
        assert _files(read("DIV2K", root, track=track), root)[0][1] == place
    # The folder above serves as well, and so does one written in other letters.
    assert _names(read("DIV2K", tmp_path, scale=3, track="unknown")) == ["0001", "0002", "0800"]
    (root / "DIV2K_train_HR").rename(root / "div2k_TRAIN_hr")
    assert [p.x for p in read("DIV2K", root).pairs] == [None] * 3


def test_a_validation_picture_in_the_training_folder_is_left_out(tmp_path: Path) -> None:
    root = _div2k(tmp_path)
    _make(root / "DIV2K_train_HR", "0801.png")
    _make(root / "DIV2K_train_LR_bicubic" / "X4", "0801x4.png")
    assert _names(read("DIV2K", root, track="bicubic")) == ["0001", "0002", "0800"]


def test_flickr2k_and_df2k(tmp_path: Path) -> None:
    flickr = tmp_path / "Flickr2K"
    _make(flickr / "Flickr2K_HR", "000001.png", "002650.png")
    _make(flickr / "Flickr2K_LR_bicubic" / "X2", "000001x2.png", "002650x2.png", size=(12, 8))
    assert _names(read("Flickr2K", flickr, scale=2, track="bicubic")) == ["000001", "002650"]
    with pytest.raises(InputError, match="looked for DF2K_train_HR or DIV2K/DIV2K_train_HR \\+ Flickr2K/Flickr2K_HR"):
        read("DF2K", tmp_path)
    _div2k(tmp_path / "DIV2K")
    both = read("DF2K", tmp_path, scale=2, track="bicubic")
    assert _names(both) == ["000001", "0001", "0002", "0800", "002650"] and both.official == 3450
    merged = tmp_path / "merged"
    _make(merged / "DF2K_train_HR", "0001.png", "000001.png")
    _make(merged / "DF2K_train_LR_bicubic" / "X4", "0001x4.png", "000001x4.png", size=(6, 4))
    assert len(read("DF2K", merged, track="bicubic").pairs) == 2


def test_ffhq(tmp_path: Path) -> None:
    names = ("00000/00000.png", "00000/00042.png", "59000/59999.png", "60000/60000.png", "69000/69999.png")
    _make(tmp_path / "images1024x1024", *names, size=(64, 64))
    _make(tmp_path / "thumbnails128x128", *names, size=(8, 8))
    assert _names(read("FFHQ", tmp_path)) == ["00000", "00042", "59999"]
    assert _names(read("FFHQ", tmp_path, split="validation")) == ["60000", "69999"]
    found = read("FFHQ", tmp_path, split="all", scale=8, track="thumbnails")
    assert _files(found, tmp_path)[1] == ("images1024x1024/00000/00042.png", "thumbnails128x128/00000/00042.png")
    assert len(measure(found.pairs, scale=8, crop=8)) == 5
    assert _names(read("FFHQ", tmp_path, split="thumbnails-train")) == ["00000", "00042", "59999"]
    with pytest.raises(UsageError, match="at scales 8, not 4"):
        read("FFHQ", tmp_path, track="thumbnails", scale=4)


def test_celeba_hq_is_split_by_celebas_partition(tmp_path: Path) -> None:
    _make(tmp_path / "CelebA-HQ-img", "0.jpg", "1.jpg", "2.jpg", "29999.jpg")
    assert _names(read("CelebA-HQ", tmp_path)) == ["0", "1", "2", "29999"]
    with pytest.raises(InputError, match="holds no CelebA-HQ-to-CelebA-mapping.txt.*use split all"):
        read("CelebA-HQ", tmp_path, split="train")
    rows = [(0, 162770), (1, 162771), (2, 182637), (3, 182638), (29999, 202599)]
    text = "idx\torig_idx\torig_file\n" + "".join(f"{i}\t{n - 1}\t{n:06d}.jpg\n" for i, n in rows)
    (tmp_path / "CelebA-HQ-to-CelebA-mapping.txt").write_text(text)
    assert _names(read("CelebA-HQ", tmp_path, split="train")) == ["0"]
    assert _names(read("CelebA-HQ", tmp_path, split="validation")) == ["1", "2"]
    test = read("CelebA-HQ", tmp_path, split="test")
    assert _names(test) == ["29999"] and test.official == 2 and "3" in test.notes[0]
    (tmp_path / "CelebA-HQ-to-CelebA-mapping.txt").write_text("idx\n0 zero file\n")
    with pytest.raises(InputError, match="line 2: '0 zero file'"):
        read("CelebA-HQ", tmp_path, split="train")
    padded = tmp_path / "other"
    _make(padded / "data1024x1024", "00000.jpg", "00012.jpg")
    assert _names(read("CelebA-HQ", padded)) == ["0", "12"]


@pytest.mark.parametrize(
    "y, x",
    [
        ("HR/{}.png", "LR_bicubic/X4/{}x4.png"),
        ("GTmod12/{}.png", "LRbicx4/{}.png"),
        ("HR/BSD100/x4/{}_HR_x4.png", "LR/LRBI/BSD100/x4/{}_LRBI_x4.png"),
        ("HR/B100/x4/{}_HR_x4.png", "LR/LRBI/B100/x4/{}_LRBI_x4.png"),
        ("image_SRF_4/{}_SRF_4_HR.png", "image_SRF_4/{}_SRF_4_LR.png"),
    ],
)
def test_test_sets_in_the_layouts_that_they_are_handed_out_in(tmp_path: Path, y: str, x: str) -> None:
    for name in ("3096", "101085"):
        _make(tmp_path, y.format(name))
        _make(tmp_path, x.format(name), size=(6, 4))
    found = read("BSD100", tmp_path, track="bicubic")
    assert _files(found, tmp_path) == [(y.format(n), x.format(n)) for n in ("3096", "101085")]
    assert len(measure(found.pairs, scale=4, crop=4)) == 2
    assert _names(read("B100", tmp_path)) == ["3096", "101085"]


def test_test_sets_as_plain_folders(tmp_path: Path) -> None:
    _make(tmp_path / "B100", "3096.png", "101085_GT.png")
    found = read("BSD100", tmp_path)
    assert _names(found) == ["3096", "101085"] and found.notes[0] == "2 pictures, BSD100 has 100 in split test"
    for name in ("Set5", "Set14", "Manga109"):
        _make(tmp_path / name, "baby.png", "ARMS.png")
        assert len(read(name, tmp_path / name).pairs) == 2


def test_the_halved_pictures_of_urban100_are_refused(tmp_path: Path) -> None:
    for s in (2, 4):
        _make(tmp_path / f"image_SRF_{s}", f"img_001_SRF_{s}_HR.png")
        _make(tmp_path / f"image_SRF_{s}", f"img_001_SRF_{s}_LR.png", size=(24 // s, 16 // s))
    assert _names(read("Urban100", tmp_path, track="bicubic", scale=4)) == ["img_001"]
    for track in ("bicubic", "none"):
        with pytest.raises(InputError, match="were halved themselves: use the large ones of image_SRF_4"):
            read("Urban100", tmp_path, track=track, scale=2)


def test_realsr(tmp_path: Path) -> None:
    taken = (("Canon", "Train", 1), ("Canon", "Test", 2), ("Nikon", "Train", 3), ("Nikon", "Test", 4))
    for camera, kind, number in taken:
        place = tmp_path / "RealSR(V3)" / camera / kind / "4"
        _make(place, f"{camera}_{number:03d}_HR.png")
        _make(place, f"{camera}_{number:03d}_LR4.png", size=(6, 4))
    found = read("RealSR", tmp_path, track="real")
    root = tmp_path / "RealSR(V3)"
    assert _files(found, root) == [
        (f"{n}_HR.png", f"{n}_LR4.png") for n in ("Canon/Train/4/Canon_001", "Nikon/Train/4/Nikon_003")
    ]
    assert _names(read("RealSR", tmp_path, track="real", split="nikon-test")) == ["Nikon_004"]
    with pytest.raises(UsageError, match="at scales 2, 3, 4, not 8"):
        read("RealSR", tmp_path, track="real", scale=8)
    # Versions 1 and 2: the small pictures have the size of the large ones.
    _make(root / "Canon" / "Test" / "4", "Canon_002_LR4.png")
    pairs = read("RealSR", tmp_path, track="real", split="canon-test").pairs
    with pytest.raises(InputError, match="were enlarged to the size of the large ones; use scale 1"):
        measure(pairs, scale=4, crop=2)


@pytest.mark.parametrize("place", ["Test_x4", "x4/Test_x4", "x4"])
def test_drealsr(tmp_path: Path, place: str) -> None:
    _make(tmp_path / place / "test_HR", "DSC_1412_x4.png", "sony_2.png")
    _make(tmp_path / place / "test_LR", "DSC_1412_x1.png", "sony_2.png", size=(6, 4))
    found = read("DRealSR", tmp_path, track="real", split="test")
    assert _names(found) == ["DSC_1412", "sony_2"] and found.pairs[0].x is not None
    assert found.pairs[0].x.name == "DSC_1412_x1.png"


def test_imagenet_and_its_subsets_by_a_list(tmp_path: Path) -> None:
    flat, sorted_ = tmp_path / "flat", tmp_path / "sorted"
    _make(flat / "ILSVRC2012_img_val", *(f"ILSVRC2012_val_0000000{k}.JPEG" for k in (1, 2, 3)))
    _make(sorted_ / "val", "n01440764/ILSVRC2012_val_00000293.JPEG", "n02119789/ILSVRC2012_val_00000004.JPEG")
    assert _names(read("ImageNet", flat)) == [f"ILSVRC2012_val_0000000{k}" for k in (1, 2, 3)]
    assert _names(read("imagenet", sorted_)) == ["ILSVRC2012_val_00000004", "ILSVRC2012_val_00000293"]
    listed = tmp_path / "subset.txt"
    listed.write_text("n01440764/ILSVRC2012_val_00000293.JPEG\n\n")
    assert _names(read("ImageNet", sorted_, names=read_names(listed))) == ["ILSVRC2012_val_00000293"]
    listed.write_text("ILSVRC2012_val_00000293\nILSVRC2012_val_00000999.JPEG\n")
    with pytest.raises(InputError, match="1 of 2 listed pictures are not in ImageNet.*ILSVRC2012_val_00000999"):
        read("ImageNet", sorted_, names=read_names(listed))
    _make(tmp_path / "train" / "n01440764", "n01440764_18.JPEG")
    assert _names(read("ImageNet", tmp_path, split="train")) == ["n01440764_18"]


def test_plain_folders_and_plain_pairs(tmp_path: Path) -> None:
    _make(tmp_path / "plain", "b10.png", "b9.jpg", "sub/b10.png", ".hidden.png")
    assert _names(read("folder", tmp_path / "plain")) == ["b9.jpg", "b10.png", "sub/b10.png"]
    listed = tmp_path / "list.csv"
    listed.write_text("file,other\nsub/b10.png,1\n")
    assert _names(read("folder", tmp_path / "plain", names=read_names(listed))) == ["sub/b10.png"]
    for y, x, end in (("HR", "LR", ""), ("gt", "lq", ""), ("GT", "LR/X4", "x4")):
        root = tmp_path / x.replace("/", "") / y
        _make(root / y, "photox4.png", "b.png")
        _make(root / x, f"photox4{end}.png", f"b{end}.png", size=(6, 4))
        assert _names(read("pairs", root, track="shipped")) == ["b", "photox4"]


def test_another_layout_an_empty_folder_and_another_content_are_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="does not exist: get the set from https://data.vision.ee.ethz.ch"):
        read("DIV2K", tmp_path / "absent")
    _make(tmp_path / "photos", "a.png")
    with pytest.raises(InputError, match="not the layout of DIV2K, split train: looked for DIV2K_train_HR; name the"):
        read("DIV2K", tmp_path / "photos")
    (tmp_path / "photos" / "DIV2K_train_HR").mkdir()
    with pytest.raises(InputError, match="DIV2K_train_HR holds no picture"):
        read("DIV2K", tmp_path / "photos")
    _make(tmp_path / "photos" / "DIV2K_train_HR", "holiday.png")
    with pytest.raises(InputError, match=r"named as those of DIV2K \(0001.png\), the first is holiday.png"):
        read("DIV2K", tmp_path / "photos")
    with pytest.raises(InputError, match="holds no picture|not the layout"):
        read("pairs", tmp_path / "photos")


def test_small_pictures_that_are_missing_or_too_many_are_named(tmp_path: Path) -> None:
    root = _div2k(tmp_path)
    small = root / "DIV2K_train_LR_bicubic" / "X4"
    (small / "0002x4.png").unlink()
    with pytest.raises(InputError, match="1 of 3 large pictures have no small one in .*X4: 0002; complete"):
        read("DIV2K", root, track="bicubic")
    (root / "DIV2K_train_HR" / "0002.png").unlink()
    (root / "DIV2K_train_HR" / "0800.png").unlink()
    with pytest.raises(InputError, match="1 of 2 small pictures have no large one"):
        read("DIV2K", root, track="bicubic")
    shutil.rmtree(small)
    with pytest.raises(InputError, match="lacks the small pictures of DIV2K, track bicubic, scale 4.*use track none"):
        read("DIV2K", root, track="bicubic")
    _make(root / "DIV2K_train_HR", "0001.jpg")
    with pytest.raises(InputError, match="are both picture 0001"):
        read("DIV2K", root)


def test_sets_splits_and_tracks_that_do_not_exist(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="'div2' is unknown: did you mean DIV2K"):
        find_set("div2")
    with pytest.raises(UsageError, match="no split 'val': use one of train, validation"):
        read("DIV2K", tmp_path, split="val")
    with pytest.raises(UsageError, match="track 'wlid' in split train: use one of bicubic, unknown, mild"):
        read("DIV2K", tmp_path, track="wlid")
    with pytest.raises(UsageError, match="no small pictures of track 'bicubic' in split validation: use none"):
        read("ImageNet", tmp_path, track="bicubic")


def test_counts_of_the_official_splits() -> None:
    """Figures of the sets' own pages."""
    counts = {(s.name, p.name): p.pictures for s in all_sets() for p in s.splits}
    assert (counts["DIV2K", "train"], counts["DIV2K", "validation"]) == (800, 100)
    assert counts["DF2K", "train"] == counts["DIV2K", "train"] + counts["Flickr2K", "train"] == 3450
    assert (counts["FFHQ", "train"], counts["FFHQ", "validation"], counts["FFHQ", "all"]) == (60000, 10000, 70000)
    assert (counts["RealSR", "train"], counts["RealSR", "test"]) == (459, 100)
    assert find_set("RealSR").pictures == 559 and find_set("CelebA-HQ").pictures == 30000
    tests = [s.name for s in all_sets() if s.purpose == "benchmark"]
    assert tests == ["Set5", "Set14", "BSD100", "Urban100", "Manga109"]
    for one in all_sets():
        assert one.licence and one.address and one.summary and all(layout(split) for split in one.splits)


def test_sizes_that_are_a_pair_and_sizes_that_are_none() -> None:
    pair = PairFile("p", Path("y.png"), Path("x.png"))
    assert fit((17, 24), (4, 6), scale=4, pair=pair) == (4, 6)
    assert fit((17, 24), (5, 6), scale=4, pair=pair) == (4, 6)  # MATLAB's ceil(17 / 4)
    assert fit((17, 24), None, scale=4, pair=pair) == (4, 6)
    with pytest.raises(InputError, match="24x16 and x.png is 12x8 pixels, which are no pair at scale 4: use scale 2"):
        fit((16, 24), (8, 12), scale=4, pair=pair)
    with pytest.raises(InputError, match="no pair at scale 4: name the folder"):
        fit((16, 24), (4, 7), scale=4, pair=pair)
    sizes = {Path("y.png"): (16, 24), Path("x.png"): (4, 6)}
    assert measure([pair], scale=4, crop=4, size=sizes.__getitem__)[0].size == (4, 6)
    with pytest.raises(InputError, match="none of 1 pictures has sides of at least 20 pixels"):
        measure([pair], scale=4, crop=5, size=sizes.__getitem__)
    with pytest.raises(InputError, match="no pictures to train on"):
        measure([], scale=4, crop=4)


@pytest.mark.parametrize("kind", ["png", "jpeg", "webp", "progressive", "turned", "turned-png"])
def test_sizes_from_heads_are_those_of_the_decoded_picture(tmp_path: Path, kind: str) -> None:
    from mezzotint import images

    picture = Image.fromarray(np.random.default_rng(0).integers(0, 256, (21, 34, 3), dtype=np.uint8))
    path = tmp_path / {"jpeg": "a.jpg", "progressive": "a.jpg", "turned": "a.jpg", "webp": "a.webp"}.get(kind, "a.png")
    exif = Image.Exif()
    turned = kind.startswith("turned")
    if turned:
        exif[0x0112] = 6
    picture.save(path, progressive=kind == "progressive", exif=exif)
    read_ = images.read(path)
    assert picture_size(path) == (read_.height, read_.width) == ((34, 21) if turned else (21, 34))


def test_heads_that_are_cut_off_or_missing(tmp_path: Path) -> None:
    _make(tmp_path, "a.png", "b.jpg")
    (tmp_path / "a.png").write_bytes((tmp_path / "a.png").read_bytes()[:20])
    (tmp_path / "b.jpg").write_bytes((tmp_path / "b.jpg").read_bytes()[:30])
    for name in ("a.png", "b.jpg"):
        with pytest.raises(InputError, match=name):
            picture_size(tmp_path / name)
    with pytest.raises(InputError, match="cannot be read"):
        picture_size(tmp_path / "absent.png")


def test_lists_that_cannot_be_used(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be read"):
        read_names(tmp_path / "absent.txt")
    (tmp_path / "list.csv").write_text("name\na\n")
    with pytest.raises(InputError, match="has no column file"):
        read_names(tmp_path / "list.csv")
    (tmp_path / "list.txt").write_text("\n\n")
    with pytest.raises(InputError, match="is empty"):
        read_names(tmp_path / "list.txt")
