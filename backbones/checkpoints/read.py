"""Reading a checkpoint file without ever running what is in it.

Only tensors and plain containers are unpickled, and `argparse.Namespace`, which the published Vim
files hold.
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

from backbones.common.errors import UserError, mend

LFS_POINTER = b"version https://git-lfs"
ZIP_MAGIC = b"PK\x03\x04"
GLOBAL_NAME = re.compile(r"GLOBAL (\w+(?:\.\w+)*)")
# What a state dict and the training state beside it are made of.
PLAIN = re.compile(
    r"collections\.(OrderedDict|Counter|defaultdict)|argparse\.Namespace|_codecs\.encode|builtins\.(set|complex)|"
    r"torch\._utils\._rebuild_\w+|torch\._tensor\._rebuild_from_type_v2|torch\.serialization\._get_layout|"
    r"torch\.nn\.parameter\.Parameter|torch\.(\w+\.)*\w+Storage|torch\.(Size|Tensor|device)|torch\.[a-z]\w*"
)
PICKLES = 5  # at the head of a file in the form before zip
MOST_PICKLE = 1 << 28


def read(path: Path) -> tuple[Any, str]:
    """What the file at `path` holds, and its format: ``safetensors`` or ``torch``.

    Tensors of a zipped torch file are mapped, not read. Raises UserError for a file that is
    missing, empty, truncated, not a checkpoint, or that asks for code to be run.
    """
    head = _head(path)
    if not head:
        raise UserError(f"checkpoint {path} is empty (0 bytes): download or copy it again")
    if head.startswith(LFS_POINTER):
        raise UserError(
            f"checkpoint {path} is a Git LFS pointer, not the weights: run 'git lfs pull' beside it"
        )
    if path.suffix == ".safetensors" or head[8:9] == b"{":
        return _read_safetensors(path), "safetensors"
    return _read_torch(path, zipped=head.startswith(ZIP_MAGIC)), "torch"


def sha256(path: Path) -> str:
    """Hex digest of the file's bytes, worked out once as long as the file stays as it is."""
    found = path.stat()
    return _digest(path, found.st_size, found.st_mtime_ns)


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
        if not path.is_file():  # a pipe would wait, a device has no end
            raise UserError(
                f"checkpoint {path} is a pipe or a device: copy the weights into a file"
            )
        with path.open("rb") as file:
            return file.read(32)
    except OSError as error:
        raise UserError(
            f"checkpoint {path} cannot be read ({error.strerror}): {mend(error)}"
        ) from error


def _read_safetensors(path: Path) -> Any:
    try:
        return load_file(path)
    except Exception as error:  # an unknown dtype, a size that overflows: each its own exception
        reason = " ".join(str(error).split())[:120] or type(error).__name__
        raise UserError(
            f"checkpoint {path} is truncated or not safetensors ({reason}): download it again"
        ) from error


def _read_torch(path: Path, *, zipped: bool) -> Any:
    looked_up = _asked_in_zip(path) if zipped else _asked_for(path)
    if foreign := next((name for name in looked_up if not PLAIN.fullmatch(name)), ""):
        raise UserError(_refused(path, foreign))
    try:
        with torch.serialization.safe_globals([argparse.Namespace]), warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)
            return torch.load(path, map_location="cpu", weights_only=True, mmap=zipped)
    except Exception as error:  # the unpickler answers foreign bytes with almost any exception
        raise UserError(_why_unreadable(path, error)) from error


def _asked_in_zip(path: Path) -> list[str]:
    """The names that the pickles in a zip look up; UserError for a zip that cannot be read or is beyond reason."""
    try:
        with zipfile.ZipFile(path) as archive:
            members = [entry for entry in archive.infolist() if entry.filename.endswith(".pkl")]
            if sum(entry.file_size for entry in members) > MOST_PICKLE:
                raise UserError(
                    f"checkpoint {path} has pickles beyond {MOST_PICKLE >> 20} MB: give plain weights"
                )
            return [name for entry in members for name in _globals(io.BytesIO(archive.read(entry)))]
    except UserError:
        raise
    except Exception as error:  # a damaged zip is answered in many ways
        raise UserError(
            f"checkpoint {path} is truncated or a damaged zip: download or copy it again"
        ) from error


def _asked_for(path: Path) -> Iterator[str]:
    """The names that the pickles at the head of a file look up, read without running them.

    PyTorch's own unpickler runs nothing foreign, but takes any size for ``bytearray`` or an empty
    tensor.
    """
    with path.open("rb") as file:
        for _ in range(PICKLES):
            yield from _globals(file)


def _globals(file: IO[bytes]) -> Iterator[str]:
    """The names that one pickle looks up, as far as it can be read: what is malformed the loader answers."""
    with contextlib.suppress(Exception):
        for operation, argument, _ in pickletools.genops(file):
            if operation.name == "GLOBAL":
                yield str(argument).replace(" ", ".").replace("__builtin__.", "builtins.")


def _refused(path: Path, name: str) -> str:
    return (
        f"checkpoint {path} asks to run {name.removeprefix('builtins.')}, which plain weights do not need, and was not "
        "loaded: ask its author for plain weights, or convert it to safetensors where you trust it"
    )


def _why_unreadable(path: Path, error: Exception) -> str:
    wanted = GLOBAL_NAME.search(str(error))
    if wanted:
        return _refused(path, wanted[1])
    kind = type(error).__name__
    return f"checkpoint {path} is truncated or not a PyTorch file ({kind}): download it again or give another file"
