"""Read a checkpoint file without executing anything in it.

Only tensors and plain containers are unpickled, and `argparse.Namespace`, which the published Vim
files contain.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import io
import pickletools
import re
import warnings
import zipfile
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import IO, Any

import torch
from safetensors.torch import load_file

from backbones.common.documents import read_json
from backbones.common.errors import UserError, hint

INDEX = ".index.json"
LFS_POINTER = b"version https://git-lfs"
ZIP_MAGIC = b"PK\x03\x04"
PICKLE_MAGIC = b"\x80"  # of protocol 2 and above
GLOBAL_NAME = re.compile(r"GLOBAL (\w+(?:\.\w+)*)")
# The names that a state dict and the training state beside it look up.
PLAIN = re.compile(
    r"collections\.(OrderedDict|Counter|defaultdict)|argparse\.Namespace|_codecs\.encode|"
    r"builtins\.(set|complex)|torch\._utils\._rebuild_\w+|"
    r"torch\._tensor\._rebuild_from_type_v2|torch\.serialization\._get_layout|"
    r"torch\.nn\.parameter\.Parameter|torch\.(\w+\.)*\w+Storage|torch\.(Size|Tensor|device)|"
    r"torch\.[a-z]\w*"
)
PICKLES = 5  # at the head of a file in PyTorch's format before zip
MOST_PICKLE = 1 << 28


def read(path: Path) -> tuple[Any, str]:
    """The content of the checkpoint at `path`, and its format: ``safetensors`` or ``torch``.

    Tensors of a zipped torch file are mapped, not read. UserError for a file that is missing,
    empty, truncated, not a checkpoint, or that would execute code.
    """
    head = _head(path)
    if not head:
        raise UserError(f"checkpoint {path} is empty (0 bytes): download or copy it again")
    if head.startswith(LFS_POINTER):
        raise UserError(
            f"checkpoint {path} is a Git LFS pointer, not the weights: run 'git lfs pull' beside it"
        )
    # By content before the suffix: files are renamed.
    zipped = head.startswith(ZIP_MAGIC)
    torch_file = zipped or head.startswith(PICKLE_MAGIC)
    if head[8:9] == b"{" or (path.suffix == ".safetensors" and not torch_file):
        return _read_safetensors(path), "safetensors"
    return _read_torch(path, zipped=zipped), "torch"


def shards(index: Path) -> dict[str, list[str]]:
    """The names of tensors in each file that an index of sharded weights lists.

    UserError for anything but plain names of files beside it.
    """
    _head(index)
    try:
        content = read_json(index)
        files: dict[str, list[str]] = {}
        for name, file in content["weight_map"].items():
            files.setdefault(file, []).append(name)
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise UserError(
            f"checkpoint {index} is no index of sharded weights ({' '.join(str(error).split())}): "
            "give the index.json beside the shards, or one file of weights"
        ) from error
    for file in files:
        if not isinstance(file, str) or file != Path(file).name:
            raise UserError(
                f"checkpoint {index} lists '{file}', which is no file beside it: "
                "put the shards beside their index"
            )
    return files


def sha256(path: Path) -> str:
    """Hex digest of the file's bytes, cached until the file changes."""
    status = path.stat()
    return _digest(path, status.st_size, status.st_mtime_ns)


@cache
def _digest(path: Path, size: int, changed: int) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _head(path: Path) -> bytes:
    try:
        if not path.exists():
            raise UserError(
                f"checkpoint {path} does not exist: give a file, hf://owner/repo/file, or 'bundled'"
            )
        if path.is_dir():
            raise UserError(f"checkpoint {path} is a folder: name the file in it")
        if not path.is_file():  # a pipe would block, and a device never ends
            raise UserError(
                f"checkpoint {path} is a pipe or a device: copy the weights into a file"
            )
        with path.open("rb") as file:
            return file.read(32)
    except OSError as error:
        raise UserError(
            f"checkpoint {path} cannot be read ({error.strerror}): {hint(error)}"
        ) from error


def _read_safetensors(path: Path) -> Any:
    try:
        return load_file(path)
    # An unknown dtype, a size that overflows: each has its own exception.
    except Exception as error:
        reason = " ".join(str(error).split())[:120] or type(error).__name__
        raise UserError(
            f"checkpoint {path} is truncated or not safetensors ({reason}): download it again"
        ) from error


def _read_torch(path: Path, *, zipped: bool) -> Any:
    # PyTorch's own unpickler runs nothing foreign, but takes any size for ``bytearray`` or an empty
    # tensor: the names are checked before it sees the file.
    for name in _names_in_zip(path) if zipped else _names_in_file(path):
        if not PLAIN.fullmatch(name):
            raise UserError(_refused(path, name))
    try:
        with torch.serialization.safe_globals([argparse.Namespace]), warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)
            # By its path, which mapping needs, torch would judge the file by its suffix.
            if path.suffix == ".safetensors":
                with path.open("rb") as file:
                    return torch.load(file, map_location="cpu", weights_only=True)
            return torch.load(path, map_location="cpu", weights_only=True, mmap=zipped)
    # The unpickler answers foreign bytes with almost any exception.
    except Exception as error:
        raise UserError(_why_unreadable(path, error)) from error


def _names_in_zip(path: Path) -> list[str]:
    """The names that the pickles in a zip look up; UserError for a damaged or excessive zip."""
    names: list[str] = []
    try:
        with zipfile.ZipFile(path) as archive:
            members = [entry for entry in archive.infolist() if entry.filename.endswith(".pkl")]
            # The size after decompression: a small zip can contain gigabytes of zeros.
            if sum(entry.file_size for entry in members) > MOST_PICKLE:
                raise UserError(
                    f"checkpoint {path} has pickles beyond {MOST_PICKLE >> 20} MB: "
                    "give plain weights"
                )
            for entry in members:
                names += _names(io.BytesIO(archive.read(entry)))
    except UserError:
        raise
    # A damaged zip raises many kinds of exceptions.
    except Exception as error:
        raise UserError(
            f"checkpoint {path} is truncated or a damaged zip: download or copy it again"
        ) from error
    return names


def _names_in_file(path: Path) -> Iterator[str]:
    """The names that the pickles at the head of a file look up."""
    with path.open("rb") as file:
        for _ in range(PICKLES):
            yield from _names(file)


def _names(file: IO[bytes]) -> Iterator[str]:
    """The names that one pickle looks up, read without running it."""
    # A malformed pickle ends the list early; PyTorch's loader will refuse it.
    with contextlib.suppress(Exception):
        for operation, argument, _ in pickletools.genops(file):
            if operation.name == "GLOBAL":
                yield str(argument).replace(" ", ".").replace("__builtin__.", "builtins.")


def _refused(path: Path, name: str) -> str:
    return (
        f"checkpoint {path} asks to run {name.removeprefix('builtins.')}, which plain weights do "
        "not need, and was not loaded: ask its author for plain weights, or convert it to "
        "safetensors where you trust it"
    )


def _why_unreadable(path: Path, error: Exception) -> str:
    refused = GLOBAL_NAME.search(str(error))
    if refused:
        return _refused(path, refused[1])
    return (
        f"checkpoint {path} is truncated or not a PyTorch file ({type(error).__name__}): "
        "download it again or give another file"
    )
