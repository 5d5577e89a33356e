"""Every format, depth, colour space and alpha, there and back, judged by Pillow and tifffile."""

from __future__ import annotations

import dataclasses
import io
import itertools
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageCms

from mezzotint import images
from mezzotint.errors import InputError
from mezzotint.images import Picture, Spool
from mezzotint.images.capabilities import SPACES, TABLE

RNG = np.random.default_rng(11)
_TYPES = {8: np.uint8, 10: np.uint16, 12: np.uint16, 16: np.uint16, 32: np.float32}


def samples(height: int, width: int, *, bits: int, channels: int, alpha: bool = False) -> np.ndarray:
    """Noise in every level of the depth, fully transparent in places."""
    shape = (height, width, channels + alpha)
    if bits == 32:
        rows = RNG.random(shape, dtype=np.float32) * 3 - 1
    else:
        levels = RNG.integers(0, 2**bits, shape)
        peak = 2**bits - 1
        full = 255 if bits == 8 else 65535
        rows = ((levels * 2 * full + peak) // (2 * peak)).astype(_TYPES[bits])
    if alpha:
        rows[: height // 2, :, -1] = 0
        if bits == 32:
            rows[..., -1] = rows[..., -1].clip(0, 1)
    return rows


def combinations() -> list[tuple[str, int, str, bool]]:
    """Format, depth, space and alpha of every picture that some format holds exactly."""
    found = []
    for kind, form in TABLE.items():
        for bits, space, alpha in itertools.product(form.bits, form.spaces, (False, True)):
            if (form.alpha or not alpha) and not (bits == 32 and space == "cmyk"):
                found.append((kind, bits, space, alpha))
    return found


@pytest.mark.parametrize(("kind", "bits", "space", "alpha"), combinations())
@pytest.mark.parametrize("spooled", [False, True])
def test_a_lossless_file_gives_back_every_sample(
    tmp_path: Path, kind: str, bits: int, space: str, alpha: bool, spooled: bool
) -> None:
    form = TABLE[kind]
    if form.lossless == "never":
        pytest.skip("no file of this format holds every sample")
    rows = samples(23, 17, bits=bits, channels=SPACES[space], alpha=alpha)
    picture = Picture(rows, space=space, alpha=alpha, bits=bits, format=kind, lossless=True)
    spools = []
    if spooled:
        spool = Spool(rows.shape, rows.dtype, folder=tmp_path)
        spool[0:23] = rows
        picture = dataclasses.replace(picture, rows=spool)
        spools.append(spool)
    path = tmp_path / f"a{form.extensions[0]}"
    notes = images.write(picture, path)
    back = images.read(path, spool=tmp_path, memory=0 if spooled else 1 << 30)
    assert isinstance(back.rows, Spool) is spooled
    assert back.id == back.id and (back.format, back.bits, back.lossless) == (kind, bits, True)
    if space == "grey" and form.grey_as_rgb:
        assert len(notes) == 1 and "grey stored as RGB" in notes[0]
        if back.space == "rgb":
            assert np.array_equal(back.pixels, back.pixels[..., :1].repeat(3, axis=2))
            rows = np.concatenate([rows[..., :1].repeat(3, axis=2), rows[..., 1:]], axis=2)
            picture = dataclasses.replace(picture, rows=rows, space="rgb")
    else:
        assert notes == ()
    assert np.array_equal(back.rows[0:23], rows)
    assert back.is_same(picture) and back.id == picture.id
    images.write(back, tmp_path / f"b{form.extensions[0]}")
    assert images.read(tmp_path / f"b{form.extensions[0]}").is_same(picture)
    _judge(path, picture, rows)
    for held in (back.rows, *spools):
        if isinstance(held, Spool):
            held.close()
    assert sorted(file.name for file in tmp_path.iterdir()) == [f"a{form.extensions[0]}", f"b{form.extensions[0]}"]


def _judge(path: Path, picture: Picture, rows: np.ndarray) -> None:
    """What another library sees in the file."""
    kind = path.suffix
    if kind == ".tif":
        with tifffile.TiffFile(path) as file:
            (page,) = file.pages
            wanted = rows.copy()
            if picture.space == "cmyk":
                wanted[..., :4] = ~wanted[..., :4]
            assert np.array_equal(page.asarray().reshape(rows.shape), wanted)
            assert [extra.name for extra in page.extrasamples] == ["UNASSALPHA"] * picture.alpha
            expected = {"grey": "MINISBLACK", "rgb": "RGB", "cmyk": "SEPARATED"}[picture.space]
            assert page.photometric.name == expected
        return
    if kind == ".pfm" or (picture.bits != 8 and not (picture.space == "grey" and not picture.alpha)):
        return  # Pillow reads no more than 8 bits of these
    with Image.open(path) as image:
        seen = np.asarray(image)
    assert np.array_equal(seen.reshape(rows.shape), rows)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.data())
def test_all_sizes_and_depths_come_back(data: st.DataObject) -> None:
    kind, bits, space, alpha = data.draw(st.sampled_from(combinations()))
    form = TABLE[kind]
    if form.lossless == "never" or (form.grey_as_rgb and space == "grey"):
        return
    height, width = data.draw(st.integers(1, 70)), data.draw(st.integers(1, 70))
    rows = samples(height, width, bits=bits, channels=SPACES[space], alpha=alpha)
    picture = Picture(rows, space=space, alpha=alpha, bits=bits)
    back = images.decode(images.encode(picture, fmt=kind, lossless=True), name="a")
    assert back.is_same(picture)


@pytest.mark.parametrize("space", ["grey", "rgb", "cmyk"])
def test_a_jpeg_is_what_pillow_makes_of_the_same_samples(space: str) -> None:
    rows, columns = np.mgrid[0:48, 0:40]
    planes = [128 + 80 * np.sin(rows / (6 + c)) * np.cos(columns / 9) for c in range(SPACES[space])]
    pixels = np.stack(planes, axis=2).astype(np.uint8)
    data = images.encode(Picture(pixels, space=space), fmt="jpeg")
    with Image.open(io.BytesIO(data)) as image:
        assert image.mode == {"grey": "L", "rgb": "RGB", "cmyk": "CMYK"}[space]
        seen = np.asarray(image).reshape(pixels.shape).astype(int)
    seen = 255 - seen if space == "cmyk" else seen
    assert np.abs(seen - pixels).max() <= 4
    back = images.decode(data, name="a")
    assert back.space == space and not back.lossless
    assert np.abs(back.pixels.astype(int) - seen).max() <= 1
    # Read and written again, the ink stays where it was.
    again = images.decode(images.encode(back, fmt="jpeg", quality=100), name="b")
    assert np.abs(again.pixels.astype(int) - back.pixels).mean() < 1


def test_cmyk_of_other_programs_is_inverted_ink(tmp_path: Path) -> None:
    ink = RNG.integers(0, 256, (16, 24, 4), dtype=np.uint8)
    Image.fromarray(ink, "CMYK").save(tmp_path / "a.tif")
    assert np.array_equal(images.read(tmp_path / "a.tif").rows[:], 255 - ink)
    flat = np.full((16, 24, 4), (10, 60, 120, 200), np.uint8)
    Image.fromarray(flat, "CMYK").save(tmp_path / "a.jpg", quality=100)
    assert np.abs(images.read(tmp_path / "a.jpg").pixels.astype(int) - (255 - flat)).max() <= 1
    # Without Adobe's mark the samples are ink themselves; Pillow and we must agree.
    data = (tmp_path / "a.jpg").read_bytes()
    at = data.index(b"\xff\xee")
    (length,) = struct.unpack(">H", data[at + 2 : at + 4])
    bare = data[:at] + data[at + 2 + length :]
    with Image.open(io.BytesIO(bare)) as image:
        seen = np.asarray(image)
    assert np.array_equal(images.decode(bare, name="bare").pixels, 255 - seen)


# TIFF


LAYOUTS: list[dict[str, object]] = [
    {},
    {"tile": (16, 16)},
    {"rowsperstrip": 3},
    {"planarconfig": "separate"},
    {"compression": "zlib"},
    {"compression": "zlib", "predictor": True},
    {"byteorder": ">"},
    {"bigtiff": True},
    {"compression": "zlib", "tile": (32, 16), "bigtiff": True, "byteorder": ">"},
]


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize("space", ["grey", "rgb", "cmyk"])
@pytest.mark.parametrize("alpha", [False, True])
def test_tiffs_of_tifffile_are_read_as_they_are(
    tmp_path: Path, layout: dict[str, object], dtype: type, space: str, alpha: bool
) -> None:
    bits = {np.uint8: 8, np.uint16: 16, np.float32: 32}[dtype]
    if layout.get("predictor") and bits == 32:
        pytest.skip("tifffile has no predictor for floats here")
    rows = samples(37, 29, bits=bits, channels=SPACES[space], alpha=alpha)
    stored = np.moveaxis(rows, 2, 0) if "planarconfig" in layout else rows
    options = dict(layout)
    if "planarconfig" not in layout:
        options["planarconfig"] = "contig"
    if space == "grey" and not alpha:
        stored = rows[..., 0]
        options.pop("planarconfig")
    tifffile.imwrite(
        tmp_path / "a.tif",
        stored,
        photometric={"grey": "minisblack", "rgb": "rgb", "cmyk": "separated"}[space],
        extrasamples=["unassalpha"] if alpha else None,
        metadata=None,
        **options,  # type: ignore[arg-type]
    )
    if (space == "cmyk" and bits == 32) or (space == "grey" and alpha and "planarconfig" in layout):
        with pytest.raises(InputError, match="CMYK picture of floats|grey and alpha one after the other"):
            images.read(tmp_path / "a.tif")
        return
    picture = images.read(tmp_path / "a.tif")
    if space == "cmyk":
        rows[..., :4] = ~rows[..., :4]
    assert (picture.space, picture.alpha, picture.bits, picture.notes) == (space, alpha, bits, ())
    assert np.array_equal(picture.rows[:], rows)


@pytest.mark.parametrize("mode", ["1", "P", "L", "RGB", "RGBA", "CMYK", "YCbCr", "I;16", "F"])
@pytest.mark.parametrize("compression", [None, "tiff_lzw", "tiff_adobe_deflate", "packbits", "group4", "jpeg"])
def test_tiffs_of_pillow_are_read_as_pillow_does(tmp_path: Path, mode: str, compression: str | None) -> None:
    if (compression == "group4") != (mode == "1" and compression == "group4") or (
        compression == "jpeg" and mode not in ("L", "RGB", "CMYK", "YCbCr")
    ):
        pytest.skip("no such TIFF")
    soft = np.add.outer(np.arange(24) * 4, np.arange(40) * 3).astype(np.uint8)
    image = Image.fromarray(np.stack([soft, soft[::-1], soft[:, ::-1]], axis=2))
    if mode == "I;16":
        image = Image.fromarray(soft.astype(np.uint16) * 257)
    else:
        image = image.convert("L").convert(mode) if mode == "F" else image.convert(mode)
    image.save(tmp_path / "a.tif", compression=compression)
    with Image.open(tmp_path / "a.tif") as saved:
        wanted = {"1": "L", "P": "RGB", "YCbCr": "RGB"}.get(mode, mode)
        seen = np.asarray(saved.convert(wanted) if saved.mode != wanted else saved)
    seen = seen.reshape(24, 40, -1)
    if mode == "YCbCr" and compression != "jpeg":
        with pytest.raises(InputError, match="YCbCr samples without JPEG"):
            images.read(tmp_path / "a.tif")
        return
    picture = images.read(tmp_path / "a.tif")
    if mode == "CMYK":
        seen = 255 - seen
    close = 3 if compression == "jpeg" or mode == "YCbCr" else 0
    assert np.abs(picture.rows[:].astype(float) - seen).max() <= close
    notes = {"1": ("1-bit grey expanded to 8 bits",), "P": ("palette expanded to RGB",)}
    assert picture.notes == notes.get(mode, ())
    assert picture.lossless is (compression != "jpeg")


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize("channels", [1, 3])
def test_premultiplied_alpha_comes_out_straight(tmp_path: Path, dtype: type, channels: int) -> None:
    peak = 1.0 if dtype == np.float32 else float(np.iinfo(dtype).max)
    straight = RNG.random((20, 30, channels))
    alpha = RNG.random((20, 30, 1)) * 0.8 + 0.2
    both = np.concatenate([straight * alpha, alpha], axis=2) * peak
    stored = both.astype(np.float32) if dtype == np.float32 else np.round(both).astype(dtype)
    tifffile.imwrite(
        tmp_path / "a.tif",
        stored,
        photometric="rgb" if channels == 3 else "minisblack",
        planarconfig="contig",
        extrasamples=["assocalpha"],
        metadata=None,
    )
    picture = images.read(tmp_path / "a.tif")
    assert "premultiplied alpha made straight" in picture.notes and picture.alpha
    # One level of the file is up to five of the straight colour where alpha is 0.2, and the division rounds.
    tolerance = 1e-5 if dtype == np.float32 else 6 / peak
    assert np.abs(picture.pixels / peak - straight).max() <= tolerance
    assert np.array_equal(picture.rows[..., -1], stored[..., -1])


def test_a_grey_tiff_that_counts_from_white_is_turned(tmp_path: Path) -> None:
    for dtype in (np.uint8, np.uint16):
        values = RNG.integers(0, np.iinfo(dtype).max + 1, (9, 8)).astype(dtype)
        tifffile.imwrite(tmp_path / "a.tif", values, photometric="miniswhite")
        assert np.array_equal(images.read(tmp_path / "a.tif").rows[..., 0], ~values)


def test_half_floats_are_expanded(tmp_path: Path) -> None:
    values = RNG.random((9, 8, 3)).astype(np.float16)
    tifffile.imwrite(tmp_path / "a.tif", values, photometric="rgb")
    picture = images.read(tmp_path / "a.tif")
    assert np.array_equal(picture.rows[:], values.astype(np.float32))
    assert picture.notes == ("16-bit floats expanded to 32 bits",)


def test_other_tiffs_are_refused_in_one_line(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"

    def refused(match: str, values: np.ndarray, **options: object) -> None:
        tifffile.imwrite(path, values, **options)  # type: ignore[arg-type]
        with pytest.raises(InputError, match=match) as caught:
            images.read(path)
        assert "\n" not in str(caught.value) and str(path) in str(caught.value)

    grey = np.arange(64).reshape(8, 8)
    refused("unsigned integers of 32 bits", grey.astype(np.uint32))
    refused("signed integers of 32 bits", grey.astype(np.int32))
    refused("signed integers of 16 bits", grey.astype(np.int16))
    refused("floats of 64 bits", grey.astype(np.float64))
    refused("complex", grey.astype(np.complex64))
    refused("holds 3 pages.*magick", np.zeros((3, 8, 8), np.uint8), photometric="minisblack")
    six = np.zeros((8, 8, 6), np.uint8)
    refused("6 samples a pixel", six, photometric="rgb", planarconfig="contig")
    refused(
        "separate tiles", np.zeros((3, 32, 32), np.uint8), photometric="rgb", planarconfig="separate", tile=(16, 16)
    )
    for value in (np.nan, np.inf):
        refused("not finite", np.full((4, 4), value, np.float32))
    Image.new("LAB", (4, 4)).save(path)
    with pytest.raises(InputError, match="photometric 8"):
        images.read(path)


def test_a_tiff_of_one_large_strip_is_read(tmp_path: Path) -> None:
    rows = np.broadcast_to(samples(1, 7000, bits=8, channels=3), (3000, 7000, 3))
    tifffile.imwrite(tmp_path / "a.tif", rows, photometric="rgb", rowsperstrip=3000, compression="zlib", metadata=None)
    assert np.array_equal(images.read(tmp_path / "a.tif").rows[:], rows)


def test_float_samples_have_no_limits(tmp_path: Path) -> None:
    values = np.array([[-1e30, 0.0, 1e-40, 3.5]], np.float32)[..., None]
    for name in ("a.tif", "a.pfm"):
        images.write(Picture(values), tmp_path / name)
        assert np.array_equal(images.read(tmp_path / name).rows[:], values)


# PPM and PFM


def test_netpbm_files_are_read_as_pillow_does(tmp_path: Path) -> None:
    grey = RNG.integers(0, 256, (7, 11), dtype=np.uint8)
    for mode in ("1", "L", "RGB"):
        image = Image.fromarray(np.stack([grey] * 3, axis=2)).convert(mode)
        image.save(tmp_path / "a.ppm")
        picture = images.read(tmp_path / "a.ppm")
        assert np.array_equal(np.squeeze(picture.rows[:]), np.asarray(image.convert("L" if mode == "1" else mode)))
        assert picture.notes == (("1-bit grey expanded to 8 bits",) if mode == "1" else ())
    Image.fromarray(grey.astype(np.float32)).save(tmp_path / "a.pfm")
    assert np.array_equal(images.read(tmp_path / "a.pfm").rows[..., 0], grey)


@pytest.mark.parametrize(
    ("data", "values", "note"),
    [
        (b"P2 # words\n3 1\n# more 7\n15\n0 7 15\n", [0, 119, 255], "samples of 0 to 15 scaled to 8 bits"),
        (b"P2\n3 1\n255\n0 7 # x\n255", [0, 7, 255], None),
        (b"P1\n3 1\n101", [0, 255, 0], "1-bit grey expanded to 8 bits"),
        (b"P4\n3 1\n\xa0", [0, 255, 0], "1-bit grey expanded to 8 bits"),
        (b"P5\n3 1\n1\n\0\1\0", [0, 255, 0], "samples of 0 to 1 scaled to 8 bits"),
        (b"P5 3 1 1023 \0\0\1\0\3\xff", [0, 16400, 65535], "samples of 0 to 1023 scaled to 16 bits"),
        (b"P5\n3 1\n65535\n\0\0\1\0\xff\xff", [0, 256, 65535], None),
        (b"Pf\n3 1\n1.0\n" + struct.pack(">3f", 0, 0.5, -2), [0, 0.5, -2], None),
        (b"Pf\n3 1\n-1.0\n" + struct.pack("<3f", 0, 0.5, -2), [0, 0.5, -2], None),
    ],
)
def test_small_netpbm_files(data: bytes, values: list[float], note: str | None) -> None:
    picture = images.decode(data, name="a")
    assert picture.rows[:].ravel().tolist() == values
    assert picture.notes == (() if note is None else (note,))


@pytest.mark.parametrize(
    ("data", "what"),
    [
        (b"P5\n3 1\n255\n\0\1", "its end is missing"),
        (b"P5\n0 1\n255\n", "0 x 1 pixels"),
        (b"P5\n3 x\n255\n\0\1\2", "height is 'x'"),
        (b"P5\n3 1\n70000\n", "largest value is 70000"),
        (b"P5\n3 1\n7\n\0\1\x09", "holds the value 9"),
        (b"P2\n3 1\n7\n0 1 z", "other than numbers"),
        (b"P2\n3 1\n7\n0 1     ", "its end is missing"),
        (b"P1\n3 1\n129", "beyond its largest value"),
        (b"Pf\n3 1\n0\n" + bytes(12), "scale is 0"),
        (b"P6\n99999 99999\n255\n", "more than the limit"),
        (b"P6\n9999 9999\n255\n", "its end is missing"),
        (b"P5\n1 1\n255\n\0P5\n1 1\n255\n\0", "several pictures"),
        (b"P6\n" + b"9" * 5000, "width is"),
    ],
)
def test_damaged_netpbm_files(data: bytes, what: str) -> None:
    with pytest.raises(InputError, match=what) as caught:
        images.decode(data, name="a.ppm")
    assert "\n" not in str(caught.value) and str(caught.value).startswith("a.ppm")


def test_long_plain_files_are_read_in_portions(tmp_path: Path) -> None:
    values = RNG.integers(0, 65536, (300, 700, 3))
    text = "P3\n700 300\n65535\n" + "\n".join(" ".join(map(str, row)) for row in values.reshape(300, -1))
    assert len(text) > 3 << 20
    (tmp_path / "a.ppm").write_text(text)
    assert np.array_equal(images.read(tmp_path / "a.ppm").rows[:], values)


# What a format cannot hold


@pytest.mark.parametrize("kind", list(TABLE))
def test_what_a_format_cannot_hold_is_refused_or_converted_openly(tmp_path: Path, kind: str) -> None:
    form = TABLE[kind]
    for bits, space, alpha in itertools.product(_TYPES, SPACES, (False, True)):
        if bits == 32 and space == "cmyk":
            continue
        rows = samples(5, 6, bits=bits, channels=SPACES[space], alpha=alpha)
        picture = Picture(rows, space=space, alpha=alpha, bits=bits)
        path = tmp_path / f"a{form.extensions[0]}"
        held = space in form.spaces and (form.alpha or not alpha)
        exact = bits in form.bits or (bits in (10, 12) and 16 in form.bits)
        if not held or not exact:
            with pytest.raises(InputError) as caught:
                images.write(picture, path, overwrite=True, lossless=True)
            message = str(caught.value)
            assert form.title in message and ("write ." in message) and "\n" not in message
            # What it names as a way out is one.
            named = [word for word in message.split() if word.startswith(".")]
            assert named
            for suffix in named:
                images.write(picture, tmp_path / f"other{suffix}", overwrite=True)
        if not held:
            with pytest.raises(InputError):
                images.write(picture, path, overwrite=True, convert=True)
        elif not exact:
            notes = images.write(picture, path, overwrite=True, lossless=True, convert=True)
            assert any("became" in note for note in notes)
            back = images.read(path)
            most = 1.0 if bits == 32 else 255.0 if bits == 8 else 65535.0
            values = rows.astype(np.float64).clip(0, most) / most
            if form.lossless != "never" and back.space == space:
                peak = 1.0 if back.bits == 32 else 2.0**back.bits - 1
                wanted = values if back.bits == 32 else np.floor(values * peak + 0.5) / peak
                full = 1.0 if back.bits == 32 else 255.0 if back.bits == 8 else 65535.0
                assert np.abs(back.rows[:] / full - wanted).max() <= 1e-5


def test_16_bits_become_8_rounded_half_up() -> None:
    every = np.arange(65536, dtype=np.uint16).reshape(256, 256, 1)
    back = images.decode(images.encode(Picture(every), fmt="webp", lossless=True, convert=True), name="a")
    assert np.array_equal(back.pixels[..., 0].ravel(), (np.arange(65536) * 255 * 2 + 65535) // (65535 * 2))


def test_a_record_goes_where_there_is_a_place(tmp_path: Path) -> None:
    for kind, form in TABLE.items():
        path = tmp_path / f"a{form.extensions[0]}"
        rows = samples(8, 8, bits=32 if kind == "pfm" else 8, channels=3)
        assert images.can_hold_record(kind) is (kind not in ("ppm", "pfm"))
        if images.can_hold_record(kind):
            images.write(Picture(rows), path, record='{"seed": 0}')
            assert images.read_record(path) == '{"seed": 0}'
            assert images.read(path).xmp is None
        else:
            with pytest.raises(InputError, match="--record"):
                images.write(Picture(rows), path, record="{}")
            images.write(Picture(rows), path)
            assert images.read_record(path) is None


def test_the_extension_fits_the_picture(tmp_path: Path) -> None:
    colour, grey = Picture(samples(4, 4, bits=8, channels=3)), Picture(samples(4, 4, bits=8, channels=1))
    with pytest.raises(InputError, match="write .ppm instead"):
        images.write(colour, tmp_path / "a.pgm")
    with pytest.raises(InputError, match="write .pgm instead"):
        images.write(grey, tmp_path / "a.pbm")
    images.write(grey, tmp_path / "a.pgm")
    assert (tmp_path / "a.pgm").read_bytes().startswith(b"P5\n4 4\n255\n")
    assert images.output_path("scan.pbm", scale=4) == Path("scan_x4.pgm")


# Orientation, resolution and metadata of the new formats


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("spooled", [False, True])
def test_the_orientation_is_applied_in_a_spool_as_in_memory(
    tmp_path: Path, orientation: int, spooled: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = samples(31, 17, bits=16, channels=3)
    tifffile.imwrite(
        tmp_path / "a.tif", rows, photometric="rgb", metadata=None, extratags=[(274, "H", 1, orientation, True)]
    )
    # Strips of a few rows, so that there are several.
    monkeypatch.setattr(
        "mezzotint.images.reading.strips",
        lambda shape, dtype, **_: (slice(top, min(shape[0], top + 4)) for top in range(0, shape[0], 4)),
    )
    picture = images.read(tmp_path / "a.tif", spool=tmp_path, memory=0 if spooled else 1 << 30)
    turned = {
        1: rows,
        2: rows[:, ::-1],
        3: rows[::-1, ::-1],
        4: rows[::-1],
        5: rows.transpose(1, 0, 2),
        6: np.rot90(rows, -1),
        7: np.rot90(rows.transpose(1, 0, 2), 2),
        8: np.rot90(rows),
    }[orientation]
    assert isinstance(picture.rows, Spool) is spooled
    assert np.array_equal(picture.rows[0 : picture.height], turned)
    images.write(picture, tmp_path / "b.tif")
    with tifffile.TiffFile(tmp_path / "b.tif") as file:
        assert file.pages[0].tags[274].value == 1


def test_the_resolution_of_a_tiff(tmp_path: Path) -> None:
    rows = samples(6, 5, bits=8, channels=3)
    for unit, factor in ((2, 1.0), (3, 2.54)):
        tifffile.imwrite(tmp_path / "a.tif", rows, photometric="rgb", resolution=(300, 150), resolutionunit=unit)
        picture = images.read(tmp_path / "a.tif")
        assert picture.resolution == pytest.approx((300 * factor, 150 * factor))
        images.write(picture, tmp_path / "b.tif", scale=4, overwrite=True)
        with Image.open(tmp_path / "b.tif") as image:
            assert image.info["dpi"] == pytest.approx((1200 * factor, 600 * factor), rel=1e-3)
    images.write(Picture(rows), tmp_path / "c.tif")
    assert images.read(tmp_path / "c.tif").resolution is None
    with tifffile.TiffFile(tmp_path / "c.tif") as file:
        assert file.pages[0].tags["ResolutionUnit"].value == 1


PACKET = (
    '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?><x:xmpmeta xmlns:x="adobe:ns:meta/">'
    '<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description rdf:about="" '
    'xmlns:xmp="http://ns.adobe.com/xap/1.0/" xmp:CreateDate="2020-01-02"/></rdf:RDF></x:xmpmeta><?xpacket end="w"?>'
).encode()


def profile(curve: bytes, space: bytes = b"RGB ") -> bytes:
    """The smallest profile with `curve` for every channel."""
    curve += bytes(-len(curve) % 4)
    names = (b"kTRC",) if space == b"GRAY" else (b"rTRC", b"gTRC", b"bTRC")
    at = 132 + 12 * len(names)
    table = b"".join(struct.pack(">4sII", name, at, len(curve)) for name in names)
    head = bytearray(128)
    head[0:4], head[8:12] = struct.pack(">I", at + len(curve)), b"\x04\0\0\0"
    head[12:16], head[16:20], head[20:24], head[36:40] = b"mntr", space, b"XYZ ", b"acsp"
    return bytes(head) + struct.pack(">I", len(names)) + table + curve


@pytest.mark.parametrize(
    ("curve", "linear"),
    [
        (b"curv\0\0\0\0" + struct.pack(">I", 0), True),
        (b"curv\0\0\0\0" + struct.pack(">IH", 1, 0x0100), True),
        (b"curv\0\0\0\0" + struct.pack(">IH", 1, 0x0233), False),
        (b"curv\0\0\0\0" + struct.pack(">IHH", 2, 0, 65535), False),
        (b"para\0\0\0\0" + struct.pack(">HHI", 0, 0, 0x10000), True),
        (b"para\0\0\0\0" + struct.pack(">HHI", 0, 0, 0x23333), False),
        (b"para\0\0\0\0" + struct.pack(">HHI", 3, 0, 0x10000), False),
        (b"", False),
    ],
)
def test_linear_light_is_what_the_profile_says(tmp_path: Path, curve: bytes, linear: bool) -> None:
    for channels, space, kind in ((3, b"RGB ", "rgb"), (1, b"GRAY", "minisblack")):
        icc = profile(curve, space)
        for bits in (16, 32):
            rows = samples(6, 5, bits=bits, channels=channels)
            tifffile.imwrite(tmp_path / "a.tif", np.squeeze(rows), photometric=kind, iccprofile=icc, metadata=None)
            picture = images.read(tmp_path / "a.tif")
            assert picture.icc == icc and picture.linear is (linear and bits == 32)
            images.write(picture, tmp_path / "b.tif", overwrite=True)
            assert images.read(tmp_path / "b.tif").is_same(picture)


@pytest.mark.parametrize("kind", ["tiff", "avif", "webp", "png", "jpeg"])
def test_metadata_of_every_format(tmp_path: Path, kind: str) -> None:
    form = TABLE[kind]
    block = Image.Exif()
    block[0x010F], block[0x0112], block[0x0132] = "A maker", 1, "2020:01:02 03:04:05"
    block.get_ifd(0x8769)[0xA002], block.get_ifd(0x8769)[0xA003] = 7, 9
    with Image.open(io.BytesIO(images.encode(Picture(samples(8, 8, bits=8, channels=3)), fmt="png"))) as image:
        stream = io.BytesIO()
        image.save(stream, "PNG", exif=block.tobytes(), dpi=(300, 150))
    source = images.decode(stream.getvalue(), name="in")
    icc = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    source = dataclasses.replace(source, icc=icc, xmp=PACKET)
    path = tmp_path / f"a{form.extensions[0]}"
    images.write(source, path, scale=2, record='{"a": 1}')
    back = images.read(path)
    assert back.icc == icc and back.xmp == PACKET
    assert back.resolution == pytest.approx((600, 300), rel=1e-3)
    assert images.read_record(path) == '{"a": 1}'
    if "exif" in form.metadata:
        with Image.open(path) as image:
            found = image.getexif()
            assert (found[0x010F], found[0x0132]) == ("A maker", "2020:01:02 03:04:05")
            assert (found.get_ifd(0x8769)[0xA002], found.get_ifd(0x8769)[0xA003]) == (8, 8)
    # EXIF gains the tags that it must have, and their order, at first; what is coded with loss changes its samples.
    again = images.decode(images.encode(back, fmt=kind), name="b")
    last = images.decode(images.encode(again, fmt=kind), name="c")
    assert last.is_same(dataclasses.replace(again, rows=last.rows))
    assert again.is_same(dataclasses.replace(back, rows=again.rows, exif=again.exif))


def test_a_profile_with_mistakes_does_not_stop_a_png(tmp_path: Path) -> None:
    broken = Picture(samples(8, 8, bits=8, channels=3), icc=profile(b"curv\0\0\0\0" + bytes(4)) + b"odd")
    notes = images.write(broken, tmp_path / "a.png")
    assert notes == ("colour profile left out: it has mistakes, and a PNG takes none of those",)
    assert np.array_equal(images.read(tmp_path / "a.png").rows[:], broken.rows[:])
    assert images.write(broken, tmp_path / "a.tif") == ()
    assert images.read(tmp_path / "a.tif").icc == broken.icc


def test_avif_of_pillow_and_its_kinds(tmp_path: Path) -> None:
    rows, columns = np.mgrid[0:40, 0:56]
    soft = np.stack([rows * 4, columns * 3, rows + columns], axis=2).astype(np.uint8)
    Image.fromarray(soft).save(tmp_path / "a.avif", quality=95, subsampling="4:4:4")
    picture = images.read(tmp_path / "a.avif")
    with Image.open(tmp_path / "a.avif") as image:
        assert np.abs(picture.rows[:].astype(int) - np.asarray(image)).max() <= 1
    assert (picture.format, picture.bits, picture.lossless) == ("avif", 8, False)
    Image.fromarray(soft[..., 0]).save(tmp_path / "g.avif", quality=100)
    grey = images.read(tmp_path / "g.avif")
    assert grey.space == "grey" and np.abs(grey.rows[..., 0].astype(int) - soft[..., 0]).max() <= 2
    Image.fromarray(soft).save(tmp_path / "m.avif", save_all=True, append_images=[Image.fromarray(soft[::-1])])
    with pytest.raises(InputError, match="animated"):
        images.read(tmp_path / "m.avif")
    lossy = images.encode(picture, fmt="avif", quality=40)
    assert len(lossy) < len(images.encode(picture, fmt="avif", lossless=True)) / 2


def test_png_keeps_transparency_of_every_kind(tmp_path: Path) -> None:
    soft = np.add.outer(np.arange(24) * 4, np.arange(40) * 3).astype(np.uint8)
    palette = Image.fromarray(np.stack([soft] * 3, axis=2)).quantize(9)
    cases = {
        "palette": (palette, {"transparency": bytes([0, 128, *[255] * 7])}, "RGBA"),
        "grey": (Image.fromarray(soft), {"transparency": 12}, "LA"),
        "rgb": (Image.fromarray(np.stack([soft] * 3, axis=2)), {"transparency": (12, 12, 12)}, "RGBA"),
    }
    for image, options, mode in cases.values():
        image.save(tmp_path / "a.png", **options)
        with Image.open(tmp_path / "a.png") as saved:
            wanted = np.asarray(saved.convert(mode))
        picture = images.read(tmp_path / "a.png")
        assert picture.alpha and np.array_equal(picture.rows[:], wanted)


def test_the_time_of_a_png_is_kept_and_stripped(tmp_path: Path) -> None:
    picture = Picture(
        samples(4, 4, bits=8, channels=3), chunks=((b"tIME", struct.pack(">HBBBBB", 2020, 1, 2, 3, 4, 5)),)
    )
    back = images.decode(images.encode(picture, fmt="png"), name="a")
    assert back.chunks == picture.chunks
    assert images.strip(back).chunks == ()


def test_what_is_unfolded_whole_has_a_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mezzotint.images.reading.MAX_WHOLE_PIXELS", 500)
    soft = Image.fromarray(samples(20, 30, bits=8, channels=3))
    for name, options, way in (
        ("a.jpg", {"progressive": True}, "save it as a plain JPEG"),
        ("a.webp", {}, "convert it to TIFF or PNG"),
        ("a.avif", {}, "convert it to TIFF or PNG"),
    ):
        soft.save(tmp_path / name, **options)
        with pytest.raises(InputError, match=f"600 pixels.*up to 500 pixels: {way}") as caught:
            images.read(tmp_path / name)
        assert "\n" not in str(caught.value)
    data = bytearray(images.encode(Picture(samples(20, 30, bits=8, channels=3)), fmt="png"))
    data[28] = 1
    data[29:33] = struct.pack(">I", zlib.crc32(data[12:29]))
    with pytest.raises(InputError, match="an interlaced PNG of 600 pixels"):
        images.decode(bytes(data), name="a.png")
    for name in ("b.jpg", "b.png", "b.tif"):
        soft.save(tmp_path / name)
        assert images.read(tmp_path / name).width == 30
    with pytest.raises(InputError, match="WebP files are made of at most 100,000,000 pixels.*write .png"):
        images.check_size("c.webp", width=16_000, height=16_000)
