"""`imagefolder:PATH`: one folder a class, PATH/CLASS/**/IMAGE, or PATH/SPLIT/CLASS/**/IMAGE."""

from __future__ import annotations

import os
from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from backbones.common.errors import UserError
from backbones.preprocessing import Preprocessing
from suite.data.base import WHOLE, Manifest, Request, check_index, digest
from suite.data.loading.decode import SUFFIXES, decode, read_bytes
from suite.data.loading.preprocess import Photographs, asked_of

MOST_LEVELS = 64
SPLIT_NAMES = ("train", "val", "valid", "validation", "dev", "test")


def check_link(path: Path, root: Path) -> None:
    """UserError if the link `path` leads to a folder or out of `root`."""
    if path.is_dir():
        raise UserError(
            f"{path} is a link to a folder, which is not followed: put the folder itself there"
        )
    if not path.resolve().is_relative_to(root.resolve()):
        raise UserError(
            f"{path} leads out of {root}: copy the file there, or open the folder it lies in"
        )


def list_files(folder: Path, root: Path, suffixes: Collection[str] = SUFFIXES) -> list[Path]:
    """All files at or below `folder` with one of these suffixes, sorted; hidden ones and others are passed over.

    Links to files within `root` are followed; any other link is a UserError.
    """
    found: list[Path] = []
    if len(folder.relative_to(root).parts) > MOST_LEVELS:
        raise UserError(
            f"{folder} lies more than {MOST_LEVELS} folders below {root}: move its files up"
        )
    try:
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except OSError as error:
        raise UserError(
            f"{folder} cannot be read ({error.strerror}): allow reading it, or take it out"
        ) from error
    for entry in entries:
        path = Path(entry.path)
        if entry.name.startswith("."):
            continue
        if entry.is_symlink():
            check_link(path, root)
        if entry.is_dir(follow_symlinks=False):
            found.extend(list_files(path, root, suffixes))
        elif path.suffix.lower() in suffixes and entry.is_file():
            found.append(path)
    return found


def class_folders(root: Path) -> list[Path]:
    """The folders in `root`, sorted by name, hidden ones passed over; each is a class, empty or not."""
    folders = [
        path for path in sorted(root.iterdir()) if not path.name.startswith(".") and path.is_dir()
    ]
    for path in folders:
        if path.is_symlink():
            check_link(path, root)
    return folders


def existing_folder(path: str | None, name: str) -> Path:
    """The folder a user gave for the data set `name`; UserError if there is none."""
    if path is None:
        raise UserError(f"{name} needs a folder: write {name}:PATH")
    folder = Path(path).expanduser()
    if not folder.is_dir():
        raise UserError(f"{folder} is not a folder: check the path after {name}:")
    return folder


def split_folder(root: Path, split: str | None) -> tuple[Path, str]:
    """Where the classes of `split` lie, and the split's name: `root`/`split`, or undivided `root`, called ``all``."""
    if split is not None:
        if Path(split).name != split:
            raise UserError(
                f"split '{split}' is not the name of a folder in {root}: give the name alone"
            )
        if split != ".." and (root / split).is_dir():
            if (root / split).is_symlink():
                check_link(root / split, root)
            return root / split, split
    present = [name for name in SPLIT_NAMES if (root / name).is_dir()]
    if present:
        asked = f"no split '{split}'" if split else "several splits"
        raise UserError(f"{root} has {asked}: choose {' or '.join(present)} with --split")
    return root, WHOLE


class ImageFolder(Photographs):
    """Image files by class folder; labels count the folders in the order of their names, empty ones included."""

    def __init__(
        self,
        name: str,
        split: str,
        root: Path,
        asked: dict[str, Any] | None = None,
        upright: bool = True,
    ) -> None:
        """`asked` is what the user wants of the preprocessing; `upright` turns pictures as their EXIF says."""
        self.name = name
        self.split = split
        self.root = root
        self.prepare(Preprocessing(), asked or {})
        self.upright = upright
        folders = class_folders(root)
        listed = [list_files(folder, root) for folder in folders]
        self.paths = [path for paths in listed for path in paths]
        self.classes = tuple(folder.name for folder in folders)
        self.empty = tuple(
            folder.name for folder, paths in zip(folders, listed, strict=True) if not paths
        )
        self.labels: NDArray[np.int64] = np.repeat(
            np.arange(len(folders)), [len(paths) for paths in listed]
        )
        if not self.paths:
            loose = any(path.suffix.lower() in SUFFIXES for path in root.iterdir())
            mend = (
                "sort its images into one folder a class"
                if loose
                else "give a folder of class folders"
            )
            raise UserError(f"{root} has no images in class folders: {mend}")

    def image(self, index: int) -> NDArray[np.uint8]:
        """The pixels of one file; UserError naming it if it cannot be decoded."""
        path = self.paths[check_index(index, len(self))]
        return decode(read_bytes(path), str(path), self.upright)

    def sample(self, index: int, image_size: int) -> NDArray[np.float32]:
        """The image resized, cropped and normalised."""
        return self.preprocess(self.image(index), image_size)

    def identity(self) -> Manifest:
        """Names and sizes of the files with their labels (not their bytes), and the preprocessing."""
        files = [
            [path.relative_to(self.root).as_posix(), path.stat().st_size, int(label)]
            for path, label in zip(self.paths, self.labels, strict=True)
        ]
        return {
            "files": digest(files),
            "empty_classes": list(self.empty),
            "preprocess": self.preprocess.identity(),
            "upright": self.upright,
        }


def open_imagefolder(request: Request) -> ImageFolder:
    """Open ``imagefolder:PATH``; without a split, PATH must not be divided into splits."""
    root, split = split_folder(existing_folder(request.path, "imagefolder"), request.split)
    return ImageFolder("imagefolder", split, root, asked_of(request))
