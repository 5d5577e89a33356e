from __future__ import annotations

import gzip
import hashlib
import io
import lzma
import struct
import sys
import tarfile
import threading
import zipfile
import zlib
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from mezzotint.data.packages import Package, default_cache, obtain, read_files, read_qt_resource
from mezzotint.errors import InputError

FILES = {"usr/share/a.txt": b"first", "usr/share/b/c.bin": bytes(range(256)) * 40}


def make_tar(files: dict[str, bytes], *, link: str | None = None) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tree:
        for name, data in files.items():
            entry = tarfile.TarInfo("./" + name)
            entry.size = len(data)
            tree.addfile(entry, io.BytesIO(data))
        if link is not None:
            entry = tarfile.TarInfo("./" + link)
            entry.type, entry.linkname = tarfile.SYMTYPE, "/etc/passwd"
            tree.addfile(entry)
    return out.getvalue()


def make_ar(members: dict[str, bytes]) -> bytes:
    out = [b"!<arch>\n"]
    for name, data in members.items():
        out.append(f"{name:<16}{0:<12}{0:<6}{0:<6}{'100644':<8}{len(data):<10}`\n".encode())
        out.append(data + b"\n" * (len(data) % 2))
    return b"".join(out)


def make_deb(tree: bytes, *, member: str = "data.tar.xz") -> bytes:
    pack = {"data.tar.xz": lzma.compress, "data.tar.gz": gzip.compress, "data.tar": bytes}.get(member, bytes)
    control = lzma.compress(make_tar({"x": b"odd"}))
    return make_ar({"debian-binary": b"2.0\n", "control.tar.xz": control, member: pack(tree)})


def make_wheel(files: dict[str, bytes]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return out.getvalue()


def make_rcc(files: dict[str, bytes], *, version: int = 3, packed: bool = False, flag: int | None = None) -> bytes:
    """Write a Qt resource file of one folder level a path part, breadth first, as `rcc --binary` lays it out."""
    names, contents, name_at = b"", b"", {}
    for part in sorted({part for path in files for part in path.split("/")}):
        name_at[part] = len(names)
        names += struct.pack(">HI", len(part), 0) + part.encode("utf-16-be")
    children: dict[str, list[str]] = {"": []}
    for path in files:
        parts = path.split("/")
        for depth in range(len(parts)):
            parent, child = "/".join(parts[:depth]), "/".join(parts[: depth + 1])
            if child not in children.setdefault(parent, []):
                children[parent].append(child)
    order, nodes = [""], b""
    for path in order:
        order += children.get(path, [])
    for path in order:
        name = name_at[path.rpartition("/")[2]] if path else 0
        if path in files:
            data = files[path]
            if packed:
                data = struct.pack(">I", len(data)) + zlib.compress(data)
            node = struct.pack(">IHHHI", name, (1 if packed else 0) if flag is None else flag, 0, 0, len(contents))
            contents += struct.pack(">I", len(data)) + data
        else:
            first = order.index(children[path][0])
            node = struct.pack(">IHII", name, 2, len(children[path]), first)
        nodes += node + (b"" if version < 2 else bytes(8))
    tree = 20
    content = tree + len(nodes)
    header = b"qres" + struct.pack(">4I", version, tree, content, content + len(contents))
    return header + nodes + contents + names


def put(folder: Path, name: str, data: bytes) -> Path:
    path = folder / name
    path.write_bytes(data)
    return path


def listed(data: bytes, *, source: str = "apt:tiny", archive: str = "tiny_1_all.deb", address: str = "") -> Package:
    return Package(source, "1", archive, hashlib.sha256(data).hexdigest(), len(data), address or "file:///nowhere")


def give_tools(folder: Path, monkeypatch: pytest.MonkeyPatch, **scripts: str) -> None:
    """Put shell scripts on the PATH, and nothing else."""
    tools = folder / "tools"
    tools.mkdir()
    for name, text in scripts.items():
        script = put(tools, name.replace("_", "-"), f"#!/bin/sh\n{text}\n".encode())
        script.chmod(0o755)
    monkeypatch.setenv("PATH", str(tools))


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Path, str]]:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    folder = tmp_path / "served"
    folder.mkdir()
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=str(folder))) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        yield folder, f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.mark.parametrize("member", ["data.tar.xz", "data.tar.gz", "data.tar"])
def test_files_are_read_out_of_a_debian_package(tmp_path: Path, member: str) -> None:
    archive = put(tmp_path, "a.deb", make_deb(make_tar(FILES), member=member))
    assert read_files(archive, FILES) == FILES
    assert read_files(archive, ["usr/share/a.txt"]) == {"usr/share/a.txt": b"first"}


def test_files_are_read_out_of_a_wheel(tmp_path: Path) -> None:
    assert read_files(put(tmp_path, "a.whl", make_wheel(FILES)), FILES) == FILES


@pytest.mark.parametrize("version", [1, 2, 3])
@pytest.mark.parametrize("packed", [False, True])
def test_files_are_read_out_of_a_qt_resource_file(version: int, packed: bool) -> None:
    files = {"app/pictures/a.webp": b"A" * 300, "app/pictures/b.webp": b"bb", "app/README": "Größe".encode()}
    data = make_rcc(files, version=version, packed=packed)
    assert {name: read_qt_resource(data, name) for name in files} == files


def test_a_name_with_an_exclamation_mark_goes_into_the_resource_file(tmp_path: Path) -> None:
    inner = make_rcc({"x/y.webp": b"picture", "x/z.webp": b"other"})
    archive = put(tmp_path, "a.deb", make_deb(make_tar({"usr/r.rcc": inner, "usr/plain": b"p"})))
    assert read_files(archive, ["usr/r.rcc!x/y.webp", "usr/plain", "usr/r.rcc!x/z.webp"]) == {
        "usr/r.rcc!x/y.webp": b"picture",
        "usr/plain": b"p",
        "usr/r.rcc!x/z.webp": b"other",
    }


@pytest.mark.parametrize("path", ["x/absent", "x", "x/y.webp/z"])
def test_a_path_that_is_no_file_of_the_resource_file_is_named(path: str) -> None:
    with pytest.raises(InputError, match=path):
        read_qt_resource(make_rcc({"x/y.webp": b"picture"}), path)


def test_zstd_inside_a_resource_file_is_refused() -> None:
    with pytest.raises(InputError, match="zstd"):
        read_qt_resource(make_rcc({"x": b"picture"}, flag=4), "x")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    for archive in (put(tmp_path, "a.deb", make_deb(make_tar(FILES))), put(tmp_path, "a.whl", make_wheel(FILES))):
        with pytest.raises(InputError, match="does not hold usr/absent"):
            read_files(archive, ["usr/share/a.txt", "usr/absent"])


def test_links_in_a_package_are_not_followed(tmp_path: Path) -> None:
    archive = put(tmp_path, "a.deb", make_deb(make_tar(FILES, link="usr/link")))
    with pytest.raises(InputError, match="does not hold usr/link"):
        read_files(archive, ["usr/link"])


@pytest.mark.parametrize("name", ["a.deb", "a.whl"])
@pytest.mark.parametrize("share", [0.0, 0.01, 0.3, 0.6, 0.9])
def test_a_cut_off_archive_is_said_to_be_damaged(tmp_path: Path, name: str, share: float) -> None:
    whole = make_deb(make_tar(FILES)) if name == "a.deb" else make_wheel(FILES)
    archive = put(tmp_path, name, whole[: int(share * len(whole))])
    with pytest.raises(InputError, match="damaged .*fetch again"):
        read_files(archive, FILES)


def test_a_cut_off_resource_file_is_said_to_be_damaged(tmp_path: Path) -> None:
    whole = make_rcc({"x/y.webp": b"picture" * 20})
    for size in (4, 19, 30, 60, 120):
        archive = put(tmp_path, "a.whl", make_wheel({"r.rcc": whole[:size]}))
        with pytest.raises(InputError, match="r.rcc is a damaged Qt resource file|does not hold x/y.webp"):
            read_files(archive, ["r.rcc!x/y.webp"])


def test_other_kinds_of_archive_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="neither a .deb nor a .whl"):
        read_files(put(tmp_path, "a.rar", b""), ["x"])
    with pytest.raises(InputError, match="does not start as an ar archive"):
        read_files(put(tmp_path, "b.deb", b"PK\3\4" * 30), ["x"])
    with pytest.raises(InputError, match="no data.tar"):
        read_files(put(tmp_path, "c.deb", make_ar({"debian-binary": b"2.0\n"})), ["x"])


@pytest.mark.skipif(sys.version_info >= (3, 14), reason="Python reads zstd itself")
def test_zstd_needs_dpkg_deb_and_uses_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    archive = put(tmp_path, "a.deb", make_deb(b"(zstd)", member="data.tar.zst"))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(InputError, match="zstd.*install dpkg"):
        read_files(archive, FILES)
    tree = put(tmp_path, "tree.tar", make_tar(FILES))
    monkeypatch.undo()
    give_tools(tmp_path, monkeypatch, dpkg_deb=f'[ "$1" = --fsys-tarfile ] && exec /bin/cat "{tree}"')
    assert read_files(archive, FILES) == FILES


def test_a_whole_file_in_the_cache_is_used_without_any_tool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = make_deb(make_tar(FILES))
    path = put(tmp_path, "tiny_1_all.deb", data)
    give_tools(tmp_path, monkeypatch)
    assert obtain(listed(data), cache=tmp_path) == path


def test_apt_get_fetches_the_pinned_version(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = make_deb(make_tar(FILES))
    original = put(tmp_path, "original", data)
    give_tools(
        tmp_path, monkeypatch, apt_get=f'[ "$*" = "download tiny=1" ] && /bin/cp "{original}" tiny_0%3a1_all.deb'
    )
    cache = tmp_path / "new" / "cache"
    path = obtain(listed(data), cache=cache)
    assert path == cache / "tiny_1_all.deb" and path.read_bytes() == data
    assert [entry.name for entry in cache.iterdir()] == ["tiny_1_all.deb"]


def test_a_partial_download_is_fetched_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = make_deb(make_tar(FILES))
    original = put(tmp_path, "original", data)
    put(tmp_path, "tiny_1_all.deb", data[:100])
    give_tools(tmp_path, monkeypatch, apt_get=f'/bin/cp "{original}" tiny.deb')
    assert obtain(listed(data), cache=tmp_path).read_bytes() == data


def test_another_package_under_the_same_name_is_not_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    give_tools(tmp_path, monkeypatch, apt_get="echo other > tiny.deb")
    cache = tmp_path / "cache"
    with pytest.raises(InputError, match="6 bytes and SHA-256 .*by hand and save it as .*tiny_1_all.deb"):
        obtain(listed(make_deb(make_tar(FILES))), cache=cache)
    assert list(cache.iterdir()) == []


def test_the_address_is_used_where_apt_get_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, server: tuple[Path, str]
) -> None:
    folder, address = server
    data = make_deb(make_tar(FILES))
    put(folder, "tiny.deb", data)
    give_tools(tmp_path, monkeypatch, apt_get='echo "E: Version 1 for tiny was not found" >&2; exit 100')
    package = listed(data, address=f"{address}/tiny.deb")
    assert obtain(package, cache=tmp_path / "cache").read_bytes() == data


def test_a_mirror_is_asked_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, server: tuple[Path, str]
) -> None:
    folder, address = server
    data = make_deb(make_tar(FILES))
    place = folder / "copy" / "pool" / "t"
    place.mkdir(parents=True)
    put(place, "tiny.deb", data)
    give_tools(tmp_path, monkeypatch, apt_get="exit 1")
    package = listed(data, address="https://deb.example.org/debian/pool/t/tiny.deb")
    for mirror in (f"{address}/copy", f"{address}/copy/"):
        cache = tmp_path / str(len(mirror))
        assert obtain(package, cache=cache, mirror=mirror).read_bytes() == data
    with pytest.raises(InputError, match=f"cannot be fetched .{address}/absent/pool/t/tiny.deb: "):
        obtain(package, cache=tmp_path / "other", mirror=f"{address}/absent")
    with pytest.raises(InputError, match="file:///nowhere has no /pool/"):
        obtain(listed(data), cache=tmp_path / "other", mirror=address)


def test_every_answer_is_told_where_nothing_works(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, server: tuple[Path, str]
) -> None:
    give_tools(tmp_path, monkeypatch, apt_get='echo "E: Version 1 for tiny was not found" >&2; exit 100')
    package = listed(b"x", address=f"{server[1]}/absent.deb")
    with pytest.raises(InputError, match="status 100, E: Version 1 for tiny was not found; .*absent.deb: .*by hand"):
        obtain(package, cache=tmp_path / "cache")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(InputError, match="apt-get is not on this machine") as caught:
        obtain(package, cache=tmp_path / "cache")
    assert "\n" not in str(caught.value)


def test_pip_fetches_wheels_from_an_index(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, server: tuple[Path, str]
) -> None:
    pytest.importorskip("pip")
    folder, address = server
    name = "tiny-1-cp311-cp311-manylinux_2_28_x86_64.whl"
    info = {"tiny-1.dist-info/METADATA": b"Metadata-Version: 2.1\nName: tiny\nVersion: 1\n"}
    info |= {"tiny-1.dist-info/WHEEL": b"Wheel-Version: 1.0\n", "tiny-1.dist-info/RECORD": b""}
    data = make_wheel({**FILES, **info})
    put(folder, name, data)
    (folder / "tiny").mkdir()
    put(folder / "tiny", "index.html", f'<a href="../{name}">{name}</a>'.encode())
    monkeypatch.setenv("PIP_INDEX_URL", address)
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("PIP_NO_CACHE_DIR", "1")
    monkeypatch.delenv("PIP_EXTRA_INDEX_URL", raising=False)
    path = obtain(listed(data, source="pip:tiny", archive=name), cache=tmp_path / "cache")
    assert read_files(path, ["usr/share/a.txt"]) == {"usr/share/a.txt": b"first"}


def test_missing_pip_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    python = put(tmp_path, "python", b'#!/bin/sh\necho "No module named pip" >&2\nexit 1\n')
    python.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(python))
    with pytest.raises(InputError, match="No module named pip.*by hand"):
        obtain(listed(b"x", source="pip:tiny", archive="tiny.whl"), cache=tmp_path / "cache")


def test_a_cache_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    blocked = put(tmp_path, "file", b"") / "cache"
    with pytest.raises(InputError, match="folder for packages .* cannot be written"):
        obtain(listed(b"x"), cache=blocked)


def test_git_sources_are_in_no_registry(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="not in a registry"):
        obtain(listed(b"x", source="git:https://example.org/x"), cache=tmp_path)


def test_the_cache_follows_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MEZZOTINT_CACHE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", "/x/cache")
    assert default_cache() == Path("/x/cache/mezzotint")
    monkeypatch.setenv("MEZZOTINT_CACHE", "/y")
    assert default_cache() == Path("/y")
