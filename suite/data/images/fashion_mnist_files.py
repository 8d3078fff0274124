"""The four files of the full Fashion-MNIST: finding, checking, reading and downloading them."""

from __future__ import annotations

import gzip
import hashlib
import os
import tempfile
import zlib
from collections.abc import Collection
from pathlib import Path

import numpy as np

from backbones.common.errors import UserError
from backbones.common.paths import cache_home
from suite.data.base import Pixels, one_line
from suite.data.images.sources import (
    PUBLISHED,
    SIDE,
    UNBUNDLED,
    Garments,
    Sizes,
    check_split,
    from_arrays,
    without_bundled,
)

DEBIAN = Path("/usr/share/datasets/fashion-mnist")
FOLDER_VARIABLE = "MAMBA_TOKEN_SUITE_FASHION_MNIST"
# SHA-256 of each file's content. torchvision has the MD5 of the authors' gzip files, but Debian's
# hold the same content behind another gzip header, and its own folder is not compressed.
SHA256 = {
    "train-images-idx3-ubyte": "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
    "train-labels-idx1-ubyte": "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
    "t10k-images-idx3-ubyte": "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
    "t10k-labels-idx1-ubyte": "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
}
# Four times the largest file's content, since a few bytes of gzip could swell to anything.
MAX_BYTES = 1 << 28


def cache_folder() -> Path | None:
    """Folder of a download: as the environment says, else in the user's cache, if there is one."""
    # An empty variable counts as none: its path would be the working folder.
    if named := os.environ.get(FOLDER_VARIABLE):
        return Path(named)
    cache = cache_home()
    return cache and cache / "mamba-token-suite" / "fashion-mnist"


def _file_in(folder: Path, name: str) -> Path | None:
    """The file called `name` in `folder` or in torchvision's place below it, gzipped or not."""
    for place in (folder, folder / "FashionMNIST" / "raw"):
        for path in (place / f"{name}.gz", place / name):
            if path.is_file():
                return path
    return None


def find_folder(folder: Path | None = None, names: Collection[str] = SHA256) -> Path:
    """The folder of the files called `names`: `folder` if given, else the cache, else Debian's.

    UserError if a file is missing.
    """
    places = [folder] if folder else [cache_folder(), DEBIAN]
    candidates = [place for place in places if place]
    for candidate in candidates:
        if all(_file_in(candidate, name) for name in names):
            return candidate
    named = " and ".join(str(candidate) for candidate in candidates)
    raise UserError(
        f"the full Fashion-MNIST is not in {named}: apt-get install dataset-fashion-mnist, "
        f"or name its folder with --source, or run python -m suite fetch"
    )


def read_array(folder: Path, name: str, shape: tuple[int, ...]) -> Pixels:
    """The items (N, *shape) of one file in `folder`; UserError unless it is the published data."""
    path = _file_in(folder, name)
    assert path is not None  # `find_folder` has seen it
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise UserError(f"{path} cannot be read ({one_line(error)}): fetch it again") from error
    if len(content) > MAX_BYTES:
        raise UserError(f"{path} holds more than {MAX_BYTES >> 20} MB: fetch it again")
    if hashlib.sha256(content).hexdigest() != SHA256[name]:
        raise UserError(
            f"{path} is not Fashion-MNIST's (checksum differs): remove it and fetch it again"
        )
    # The content is known, so the IDX header need not be parsed: a word, and one a dimension.
    header = 4 + 4 * (1 + len(shape))
    return np.frombuffer(content, np.uint8, offset=header).reshape(-1, *shape)


def load_full(split: str, folder: Path | None = None, sizes: Sizes = PUBLISHED) -> Garments:
    """All garments of `split` from the original files; UserError unless these are as published."""
    prefix = "t10k" if check_split(split) in ("test", UNBUNDLED) else "train"
    # Those of the other splits may be elsewhere: they are large.
    pictures, classes = f"{prefix}-images-idx3-ubyte", f"{prefix}-labels-idx1-ubyte"
    folder = find_folder(folder, (pictures, classes))
    images = read_array(folder, pictures, (SIDE, SIDE))
    labels = read_array(folder, classes, ())
    if split == UNBUNDLED:
        return without_bundled(from_arrays(images, labels, "test", sizes), sizes)
    return from_arrays(images, labels, split, sizes)


def download(folder: Path | None = None) -> Path:
    """Fetch the missing files (30 MB in all) into `folder`, by default the cache, and return it.

    UserError if a file cannot be fetched or has not the published MD5; it is not kept.
    """
    from torchvision.datasets import FashionMNIST
    from torchvision.datasets.utils import download_url

    folder = folder or cache_folder()
    if folder is None:
        raise UserError("there is no home folder to keep it in: name a folder with --folder")
    folder.mkdir(parents=True, exist_ok=True)
    for name, md5 in FashionMNIST.resources:
        if _file_in(folder, name.removesuffix(".gz")):
            continue
        url = FashionMNIST.mirrors[0] + name
        # Beside its place and then moved there: an interrupted download leaves nothing.
        with tempfile.TemporaryDirectory(dir=folder) as temporary:
            try:
                download_url(url, temporary, name, md5)
            except (RuntimeError, OSError, ValueError) as error:
                problem = f"cannot be fetched ({one_line(error)})"
                # torchvision raises no other RuntimeError, and words it for its own files.
                if isinstance(error, RuntimeError):
                    problem = "does not have the published checksum, so nothing was kept"
                raise UserError(
                    f"{url} {problem}: apt-get install dataset-fashion-mnist instead"
                ) from error
            (Path(temporary) / name).replace(folder / name)
    return folder
