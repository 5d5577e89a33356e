"""Files of weights: safetensors with a card in the header, checked when read, replaced whole when written.

Weights come from a path, from a folder that `save_pretrained` wrote, from the package itself (`shipped`), or
from the Hugging Face hub (`hub`, behind an extra). Pickles are refused: opening one can run a program.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Literal

import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator
from safetensors import SafetensorError
from safetensors import torch as safetensors
from torch import Tensor, nn

from mezzotint import __version__
from mezzotint.errors import UsageError, WeightsError

FORMAT = 1
FILE_NAME = "model.safetensors"
SHIPPED_FOLDER = Path(__file__).parent / "shipped"
_HEADER_KEY = "mezzotint"
_HALF_LIMIT = 65504.0


class Card(BaseModel):
    """What a file of weights is, what it was trained on, and how it wants to be used.

    `config` rebuilds network and recipe: `methods.build(method, scale=scale, preset=preset, config=config)`.
    `receptive_field` counts the input pixels on each side that an output pixel depends on, where `local` is
    true. `figures` are measured values by name, protocol in the name (`"Set5 y-modern psnr"`). `digest` is
    the SHA-256 of the tensors and is filled in by `save`. `spread_factor` makes of the deviation between samples (at
    realism 1) the error to expect of their mean, found on pictures that are not in training (variance scaling).
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: int = FORMAT
    version: str = __version__
    name: str = Field(min_length=1)
    method: str = Field(min_length=1)
    preset: str = "small"
    config: dict[str, Any] = {}
    scale: float = Field(default=4, gt=0, allow_inf_nan=False)
    channels: int = Field(default=3, ge=1)
    local: bool = False
    receptive_field: int | None = Field(default=None, ge=0)
    data: str = "not stated"
    data_licence: str = "not stated"
    authors: tuple[str, ...] = ()
    licence: str = "not stated"
    hours: float = Field(default=0.0, ge=0, allow_inf_nan=False)
    iterations: int = Field(default=0, ge=0)
    commit: str = ""
    figures: dict[str, float] = {}
    steps_default: int | None = Field(default=None, ge=1)
    consistent_default: bool = False
    realism_default: float | None = Field(default=None, ge=0, le=1)
    spread_factor: float = Field(default=1.0, gt=0, allow_inf_nan=False)
    digest: str = ""

    @field_validator("config")
    @classmethod
    def _as_json(cls, config: dict[str, Any]) -> dict[str, Any]:
        """The configuration as it is when it was read back: lists for tuples."""
        return json.loads(json.dumps(config))


@dataclass(frozen=True)
class Shipped:
    """One file of weights of the package; `card` is None for the network of a quality metric."""

    name: str
    path: Path
    card: Card | None


@dataclass(frozen=True)
class Verification:
    """The outcome of checking one file: its SHA-256, and what is wrong with it or None."""

    name: str
    path: Path
    sha256: str
    problem: str | None


def save(
    path: str | Path,
    tensors: Mapping[str, Tensor],
    card: Card,
    *,
    precision: Literal["float16", "float32"] = "float16",
    keep_float32: Sequence[str] = (),
) -> Path:
    """Write tensors and their card to one file, replacing an older one only when the new one is complete.

    Args:
        path: the file to write; its folder must exist.
        tensors: named tensors of any device; floating ones are stored in `precision`, others as they are.
        card: the card; its digest is computed here.
        precision: float16 halves the file; float32 keeps every bit of a float32 network.
        keep_float32: names, or patterns such as "last.*", of tensors that stay float32 under float16.

    Raises:
        WeightsError: a value is not finite or too large for float16, or the file cannot be written.
        UsageError: a pattern matches no tensor.
    """
    path = Path(path)
    for pattern in keep_float32:
        if not any(fnmatchcase(name, pattern) for name in tensors):
            raise UsageError(f"keep_float32 {pattern!r} matches none of the {len(tensors)} tensors")
    stored = {
        name: _as_stored(
            name, tensor, half=precision == "float16" and not any(fnmatchcase(name, p) for p in keep_float32)
        )
        for name, tensor in tensors.items()
    }
    card = card.model_copy(update={"digest": _digest(stored)})
    # One metadata key: safetensors writes several in no fixed order, and equal weights should be equal files.
    content = safetensors.save(stored, {_HEADER_KEY: card.model_dump_json()})
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        with partial.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, path)
    except OSError as error:
        raise WeightsError(f"{path}: cannot be written: {error.strerror or error}") from error
    finally:
        partial.unlink(missing_ok=True)
    return path


def load(path: str | Path, *, method: str | None = None) -> tuple[dict[str, Tensor], Card]:
    """Read tensors (float ones as float32, on the CPU) and the card of a file, or of a folder that has one.

    Raises:
        WeightsError: the file is missing, empty, damaged, a pickle, without a card, with a card of a newer
            version or with unknown keys, or (where `method` is given) of another method.
    """
    path = resolve(path)
    card = read_card(path)
    if method is not None and card.method != method:
        raise WeightsError(f"{path}: weights of {card.method!r}, not of {method!r}: use --method {card.method}:{path}")
    tensors = _read_tensors(path)
    if card.digest and _digest(tensors) != card.digest:
        raise WeightsError(f"{path}: damaged: the tensors do not match the digest on the card; copy the file again")
    # Copies: tensors that stay in the mapped file differ in alignment, by which convolutions choose their algorithm,
    # and they would follow the file when it is replaced.
    kinds = {name: torch.float32 if t.is_floating_point() else t.dtype for name, t in tensors.items()}
    return {name: t.to(kinds[name], copy=True) for name, t in tensors.items()}, card


def read_card(path: str | Path) -> Card:
    """Read the card alone, without the tensors; raises WeightsError as `load` does."""
    path = resolve(path)
    content = _read_card_table(path)
    if _is_metric(content):
        raise WeightsError(f"{path}: the network of a quality metric, not weights of a method")
    version = content.get("version", "an unknown version")
    if isinstance(content.get("format"), int) and content["format"] > FORMAT:
        raise WeightsError(
            f"{path}: written by a newer Mezzotint ({version}, card format {content['format']}; this one "
            f"reads up to {FORMAT}): upgrade Mezzotint"
        )
    unknown = sorted(set(content) - set(Card.model_fields))
    if unknown:
        raise WeightsError(
            f"{path}: the card has the unknown key {unknown[0]!r}: it was written by another version of "
            f"Mezzotint ({version}; this is {__version__}); use that version or upgrade"
        )
    try:
        return Card.model_validate(content)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        raise WeightsError(f"{path}: the card's {place!r} is wrong: {first['msg']}") from error


def restore(module: nn.Module, tensors: Mapping[str, Tensor], *, source: str | Path) -> None:
    """Put tensors into a module, which may lie on the meta device; `source` names them in errors.

    Raises:
        WeightsError: a tensor is missing, unknown or of another shape; the message names it.
    """
    wanted = module.state_dict()
    absent = [name for name in wanted if name not in tensors]
    foreign = [name for name in tensors if name not in wanted]
    for names, problem in ((absent, "lacks the tensor"), (foreign, "has the unknown tensor")):
        if names:
            more = f" and {len(names) - 1} more" if len(names) > 1 else ""
            raise WeightsError(f"{source}: {problem} {names[0]!r}{more}: weights of another configuration")
    for name, tensor in wanted.items():
        if tensor.shape != tensors[name].shape:
            raise WeightsError(
                f"{source}: tensor {name!r} has shape {_sides(tensors[name])}, the network needs "
                f"{_sides(tensor)}: weights of another configuration"
            )
    module.load_state_dict(dict(tensors), assign=True)


def resolve(path: str | Path) -> Path:
    """Return the file that a path means: itself, or the file of weights in a folder.

    Raises:
        WeightsError: there is no such file, or the folder holds no weights.
    """
    path = Path(path)
    if path.is_dir():
        if not (path / FILE_NAME).is_file():
            raise WeightsError(f"{path}: a folder without {FILE_NAME}: name the file, or a folder of save_pretrained")
        return path / FILE_NAME
    if not path.is_file():
        raise WeightsError(f"{path}: no such file of weights")
    return path


def shipped() -> list[Shipped]:
    """List the weights that lie in the package, by file name; raises WeightsError for a damaged one."""
    found = []
    for path in sorted(SHIPPED_FOLDER.glob("*.safetensors")):
        card = None if _is_metric(_read_card_table(path)) else read_card(path)
        found.append(Shipped(name=card.name if card else path.stem, path=path, card=card))
    return found


def verify(paths: Sequence[str | Path] | None = None) -> list[Verification]:
    """Check files of weights (those of the package unless given): structure, card, digest of the tensors."""
    if paths is None:
        paths = sorted(SHIPPED_FOLDER.glob("*.safetensors"))
    return [_verify(Path(path)) for path in paths]


def hub(identifier: str, *, revision: str | None = None, cache: str | Path | None = None) -> Path:
    """Fetch `model.safetensors` of the Hugging Face repository `owner/name` and return its local path.

    A file that was fetched before is used without a network, as huggingface_hub does. `cache` is its folder.

    Raises:
        UsageError: the identifier is not of that form, or the extra `hub` is not installed.
        WeightsError: the repository or the file cannot be had.
    """
    if not is_hub_id(identifier):
        raise UsageError(f"hub id {identifier!r} is not of the form owner/name")
    try:
        import huggingface_hub
    except ImportError as error:
        raise UsageError(
            f"hub id {identifier!r} needs the extra `hub`: pip install 'mezzotint[hub]', or give a file"
        ) from error
    try:
        return Path(
            huggingface_hub.hf_hub_download(
                identifier, FILE_NAME, revision=revision, cache_dir=None if cache is None else str(cache)
            )
        )
    except (OSError, ValueError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise WeightsError(f"hub id {identifier!r}: {FILE_NAME} cannot be fetched: {reason}") from error


def is_hub_id(text: str) -> bool:
    """Tell whether a text has the form `owner/name` of a hub repository."""
    return re.fullmatch(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*", text) is not None


def sha256(path: str | Path) -> str:
    """Return the SHA-256 of a file in hexadecimal."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _verify(path: Path) -> Verification:
    problem = None
    try:
        path = resolve(path)
        if _is_metric(_read_card_table(path)):
            _read_tensors(path)
        else:
            load(path)
    except WeightsError as error:
        problem = str(error)
    return Verification(name=path.stem, path=path, sha256=sha256(path) if path.is_file() else "", problem=problem)


def _is_metric(card: dict[str, Any]) -> bool:
    return card.get("kind") == "metric"


def _read_card_table(path: Path) -> dict[str, Any]:
    table = _read_header(path).get("__metadata__")
    text = table.get(_HEADER_KEY) if isinstance(table, dict) else None
    if not isinstance(text, str):
        raise WeightsError(f"{path}: safetensors without a Mezzotint card: it was written by another program")
    try:
        content = json.loads(text)
    except ValueError as error:
        raise WeightsError(f"{path}: the card is not readable ({error}); copy the file again") from error
    if not isinstance(content, dict):
        raise WeightsError(f"{path}: the card is not readable (no table of keys); copy the file again")
    return content


def save_folder(
    folder: str | Path,
    tensors: Mapping[str, Tensor],
    card: Card,
    *,
    precision: Literal["float16", "float32"] = "float32",
    keep_float32: Sequence[str] = (),
) -> Path:
    """Write tensors and their card into a folder, which is made, and return the file; see `save`.

    Raises:
        UsageError: the folder cannot be made.
    """
    folder = Path(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"{folder}: cannot be made a folder: {error.strerror or error}") from error
    return save(folder / FILE_NAME, tensors, card, precision=precision, keep_float32=keep_float32)


def _as_stored(name: str, tensor: Tensor, *, half: bool) -> Tensor:
    tensor = tensor.detach().to("cpu")
    if not tensor.is_floating_point():
        return tensor.clone(memory_format=torch.contiguous_format)
    if not torch.isfinite(tensor).all():
        raise WeightsError(f"tensor {name!r} holds NaN or infinity: training went wrong, nothing was written")
    if half and tensor.numel() and tensor.abs().max() > _HALF_LIMIT:
        largest = float(tensor.abs().max())
        raise WeightsError(
            f"tensor {name!r} reaches {largest:.3g}, above float16's {_HALF_LIMIT:.0f}: name it in keep_float32"
        )
    return tensor.to(torch.float16 if half else torch.float32).clone(memory_format=torch.contiguous_format)


def _digest(tensors: Mapping[str, Tensor]) -> str:
    digest = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name]
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _read_header(path: Path) -> dict[str, Any]:
    """Parse the JSON header: its length in 8 bytes, little-endian, then the text, then the tensors."""
    try:
        with path.open("rb") as file:
            start = file.read(9)
            size = file.seek(0, os.SEEK_END)
            length = int.from_bytes(start[:8], "little")
            # A header of 640 bytes begins as a pickle does, so the brace decides, not the first bytes.
            if len(start) < 9 or start[8:] != b"{" or length < 2:
                raise WeightsError(f"{path}: {_what_else(path, start)}")
            file.seek(8)
            text = file.read(min(length, size - 8))
    except OSError as error:
        raise WeightsError(f"{path}: cannot be read: {error.strerror or error}") from error
    if len(text) < length:
        raise WeightsError(f"{path}: truncated at {size} bytes, inside its header: copy the file again")
    try:
        header = json.loads(text)
        ends = [entry["data_offsets"][1] for name, entry in header.items() if name != "__metadata__"]
    except (ValueError, TypeError, LookupError, AttributeError) as error:
        raise WeightsError(f"{path}: damaged: its header is not readable; copy the file again") from error
    whole = 8 + length + max(ends, default=0)
    if size < whole:
        raise WeightsError(f"{path}: truncated: {size} of {whole} bytes are there; copy the file again")
    return header


def _read_tensors(path: Path) -> dict[str, Tensor]:
    try:
        return safetensors.load_file(path)
    except (SafetensorError, OSError) as error:
        raise WeightsError(f"{path}: damaged ({error}); copy the file again") from error


def _what_else(path: Path, start: bytes) -> str:
    if not start:
        return "an empty file"
    # PK, a zip: torch.save since 1.6. 80 and the protocol, 2 to 5: a bare pickle.
    if start[:2] == b"PK" or (start[0] == 0x80 and 2 <= start[1] <= 5) or path.suffix in _PICKLE_SUFFIXES:
        return (
            "a pickle, which can run a program when opened, so it is refused: read it once with "
            "torch.load(file, weights_only=True) and store the tensors with mezzotint.weights.save"
        )
    if start.startswith(b"version "):
        return "a Git LFS pointer, not the file itself: run `git lfs pull`"
    return "not a safetensors file"


_PICKLE_SUFFIXES = {".pt", ".pth", ".ckpt", ".bin", ".pkl", ".pickle"}


def _sides(tensor: Tensor) -> str:
    return "x".join(str(side) for side in tensor.shape) or "scalar"
