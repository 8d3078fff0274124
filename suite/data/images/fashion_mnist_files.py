"""The full Fashion-MNIST: where it is looked for, how it is checked, and how it is fetched when asked to."""

from __future__ import annotations

import hashlib
import os
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from backbones.common.errors import UserError
from suite.data.base import one_line
from suite.data.images.idx import gunzip, parse_idx
from suite.data.images.sources import Garments, Sizes, check_split, from_arrays
from suite.system.atomic_files import replacing

DEBIAN = Path("/usr/share/datasets/fashion-mnist")
FOLDER_VARIABLE = "MAMBA_TOKEN_SUITE_FASHION_MNIST"
MIRROR = "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com"
_TIMEOUT_SECONDS = 60
_MAX_BYTES = 64 << 20


@dataclass(frozen=True)
class Original:
    """One of the four files: MD5 as its authors publish it (of the gzip), SHA-256 of the content inside.

    The content counts: Debian's copies carry the same data behind another gzip header.
    """

    name: str
    md5: str
    sha256: str


ORIGINALS = {
    original.name: original
    for original in (
        Original(
            "train-images-idx3-ubyte",
            "8d4fb7e6c68d591d4c3dfef9ec88bf0d",
            "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
        ),
        Original(
            "train-labels-idx1-ubyte",
            "25c81989df183df01b3e8a0aad5dffbe",
            "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
        ),
        Original(
            "t10k-images-idx3-ubyte",
            "bef4ecab320f06d8554ea6380940ec79",
            "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
        ),
        Original(
            "t10k-labels-idx1-ubyte",
            "bb300cfdad3c16e7a12a480ee83cd310",
            "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
        ),
    )
}


def cache_folder() -> Path:
    """Where a download goes and is looked for: the folder the environment names, else the user's cache."""
    named = os.environ.get(FOLDER_VARIABLE)
    if named:
        return Path(named)
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "mamba-token-suite" / "fashion-mnist"


def _file_in(folder: Path, name: str) -> Path | None:
    """The file called `name` in `folder`, gzipped or not."""
    return next((path for path in (folder / f"{name}.gz", folder / name) if path.is_file()), None)


def find_folder(folder: Path | None = None) -> Path:
    """The folder of the four files: `folder` if given, else the cache, else Debian's; UserError names the mend."""
    candidates = [folder] if folder else [cache_folder(), DEBIAN]
    for candidate in candidates:
        if all(_file_in(candidate, name) for name in ORIGINALS):
            return candidate
    looked = " and ".join(str(candidate) for candidate in candidates)
    raise UserError(
        f"the full Fashion-MNIST is not in {looked}: apt-get install dataset-fashion-mnist, or name its folder with "
        f"--data-dir, or run python -m suite fetch"
    )


def read_original(folder: Path, original: Original) -> bytes:
    """The IDX content of one file in `folder`; UserError if it is absent or not the published data."""
    path = _file_in(folder, original.name)
    if path is None:
        raise UserError(
            f"{folder} has no {original.name}.gz: name another folder, or run python -m suite fetch"
        )
    content = gunzip(path)
    if hashlib.sha256(content).hexdigest() != original.sha256:
        raise UserError(
            f"{path} is not Fashion-MNIST's (checksum differs): remove it and fetch it again"
        )
    return content


def load_full(
    split: str,
    folder: Path | None = None,
    sizes: Sizes | None = None,
    originals: Mapping[str, Original] = ORIGINALS,
) -> Garments:
    """All garments of `split` from the original files, checked against their published content."""
    prefix = "t10k" if check_split(split) == "test" else "train"
    folder = find_folder(folder)
    images, labels = (
        parse_idx(read_original(folder, originals[name]), str(folder / name))
        for name in (f"{prefix}-images-idx3-ubyte", f"{prefix}-labels-idx1-ubyte")
    )
    return from_arrays(images, labels, split, sizes)


def _fetch(url: str) -> bytes:
    """The bytes at `url`; UserError if it cannot be reached or is larger than any of the files can be."""
    try:
        with urllib.request.urlopen(url, timeout=_TIMEOUT_SECONDS) as answer:  # noqa: S310 - the caller's own mirror
            content: bytes = answer.read(_MAX_BYTES + 1)
    except (urllib.error.URLError, OSError, ValueError) as error:
        reason = one_line(error)
        raise UserError(
            f"{url} cannot be fetched ({reason}): apt-get install dataset-fashion-mnist instead"
        ) from error
    if len(content) > _MAX_BYTES:
        raise UserError(
            f"{url} is larger than {_MAX_BYTES} bytes, so it is not Fashion-MNIST: check the mirror"
        )
    return content


def download(
    folder: Path | None = None, mirror: str = MIRROR, originals: Mapping[str, Original] = ORIGINALS
) -> Path:
    """Fetch what `folder` (default: the cache) lacks of the four files (30 MB) and return the folder.

    Called only when a user asks for it. A file whose MD5 is not the published one is refused and
    nothing is kept.
    """
    folder = folder or cache_folder()
    folder.mkdir(parents=True, exist_ok=True)
    for original in originals.values():
        if _file_in(folder, original.name):
            continue
        url = f"{mirror}/{original.name}.gz"
        content = _fetch(url)
        if hashlib.md5(content, usedforsecurity=False).hexdigest() != original.md5:
            raise UserError(
                f"{url} does not have the published checksum: nothing was kept, try another mirror"
            )
        with replacing(folder / f"{original.name}.gz") as temporary:
            temporary.write_bytes(content)
    return folder
