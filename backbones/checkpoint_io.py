"""Reading a checkpoint file without ever running what is in it.

Only tensors and plain containers are unpickled, and `argparse.Namespace`, which the published Vim files hold.
"""

from __future__ import annotations

import argparse
import hashlib
import re
import warnings
import zipfile
from functools import cache
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from backbones.errors import UserError

LFS_POINTER = b"version https://git-lfs"
ZIP_MAGIC = b"PK\x03\x04"
GLOBAL_NAME = re.compile(r"GLOBAL (\w+(?:\.\w+)*)")


def read(path: Path) -> tuple[Any, str]:
    """What the file at `path` holds, and its format: ``safetensors`` or ``torch``.

    Tensors of a zipped torch file are mapped, not read. Raises UserError for a file that is missing, empty,
    truncated, not a checkpoint, or that asks for code to be run.
    """
    head = _head(path)
    if not head:
        raise UserError(f"checkpoint {path} is empty (0 bytes): download or copy it again")
    if head.startswith(LFS_POINTER):
        raise UserError(f"checkpoint {path} is a Git LFS pointer, not the weights: run 'git lfs pull' beside it")
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
        with path.open("rb") as file:
            return file.read(32)
    except FileNotFoundError:
        raise UserError(f"checkpoint {path} does not exist: give a file, hf://owner/repo/file, or 'bundled'") from None
    except IsADirectoryError:
        raise UserError(f"checkpoint {path} is a folder: name the file in it") from None
    except OSError as error:
        raise UserError(f"checkpoint {path} cannot be read ({error.strerror}): mend its permissions") from error


def _read_safetensors(path: Path) -> Any:
    try:
        return load_file(path)
    except SafetensorError as error:
        raise UserError(f"checkpoint {path} is truncated or not safetensors ({error}): download it again") from error


def _read_torch(path: Path, *, zipped: bool) -> Any:
    if zipped and not zipfile.is_zipfile(path):
        raise UserError(f"checkpoint {path} is truncated (its end is missing): download or copy it again")
    try:
        with torch.serialization.safe_globals([argparse.Namespace]), warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)
            return torch.load(path, map_location="cpu", weights_only=True, mmap=zipped)
    except Exception as error:  # the unpickler answers foreign bytes with almost any exception
        raise UserError(_why_unreadable(path, error)) from error


def _why_unreadable(path: Path, error: Exception) -> str:
    wanted = GLOBAL_NAME.search(str(error))
    if wanted:
        return (
            f"checkpoint {path} asks to run {wanted[1]}, which plain weights do not need, and was not loaded: "
            "ask its author for plain weights, or convert it to safetensors where you trust it"
        )
    kind = type(error).__name__
    return f"checkpoint {path} is truncated or not a PyTorch file ({kind}): download it again or give another file"
