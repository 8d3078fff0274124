"""`imagefolder:PATH`: a folder per class, PATH/CLASS/**/IMAGE or PATH/SPLIT/CLASS/**/IMAGE."""

from __future__ import annotations

import copy
import os
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np

from backbones.common.errors import UserError
from backbones.common.paths import local_path
from backbones.preprocessing import Preprocessing
from suite.data.base import UNDIVIDED, IntArray, Manifest, Request, digest
from suite.data.loading.decode import SUFFIXES, glance, read_stamped, stamp
from suite.data.loading.preprocess import Photographs, overrides_in

# Folders are walked recursively: deeper ones would end in Python's limit of recursion.
MAX_DEPTH = 64
SPLIT_NAMES = ("train", "val", "valid", "validation", "dev", "test")


def check_link(path: Path, root: Path) -> None:
    """UserError if the link `path` leads to a folder or out of `root`."""
    # A folder could hold itself. A shared data set must not read other files of its user.
    if path.is_dir():
        raise UserError(
            f"{path} is a link to a folder, which is not followed: put the folder itself there"
        )
    if not path.resolve().is_relative_to(root.resolve()):
        raise UserError(
            f"{path} leads out of {root}: copy the file there, or open the folder it lies in"
        )


def list_files(folder: Path, root: Path, suffixes: Collection[str] = SUFFIXES) -> list[Path]:
    """Sorted files at or below `folder` with one of `suffixes`, except hidden ones.

    Links to files within `root` are followed; any other link is a UserError.
    """
    if len(folder.relative_to(root).parts) > MAX_DEPTH:
        raise UserError(
            f"{folder} lies more than {MAX_DEPTH} folders below {root}: move its files up"
        )
    try:
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except OSError as error:
        raise UserError(
            f"{folder} cannot be read ({error.strerror}): allow reading it, or take it out"
        ) from error
    files: list[Path] = []
    for entry in entries:
        path = Path(entry.path)
        if entry.name.startswith("."):
            continue
        if entry.is_symlink():
            check_link(path, root)
        if entry.is_dir(follow_symlinks=False):
            files += list_files(path, root, suffixes)
        elif path.suffix.lower() in suffixes and entry.is_file():
            files.append(path)
    return files


def class_folders(root: Path) -> list[Path]:
    """The visible folders in `root`, sorted by name; each is a class, even if it is empty."""
    folders = []
    for path in sorted(root.iterdir()):
        if not path.name.startswith(".") and path.is_dir():
            if path.is_symlink():
                check_link(path, root)
            folders.append(path)
    return folders


def list_classes(
    root: Path, find: Callable[[Path, Path], list[Path]]
) -> tuple[list[Path], IntArray, tuple[str, ...]]:
    """Items that `find` (folder, root) finds in each class folder, their labels, and class names.

    A label is the number of its folder in the order of names.
    """
    folders = class_folders(root)
    paths: list[Path] = []
    counts = []
    for folder in folders:
        items = find(folder, root)
        paths += items
        counts.append(len(items))
    # An empty folder keeps its number, so that a part of ImageNet still fits an ImageNet head.
    labels = np.repeat(np.arange(len(folders)), counts)
    return paths, labels, tuple(folder.name for folder in folders)


def relative(root: Path, paths: Sequence[Path]) -> list[str]:
    """The `paths` below `root`, so that a data set is the same wherever it lies."""
    return [path.relative_to(root).as_posix() for path in paths]


def listing_digest(names: Sequence[str], sizes: Sequence[int], labels: IntArray) -> str:
    """Hash of the names, sizes and labels of files, which are not read."""
    return digest(list(zip(names, sizes, labels.tolist(), strict=True)))


def existing_folder(path: str | None, name: str) -> Path:
    """The folder `path` for the data set `name`; UserError if there is none."""
    if path is None:
        raise UserError(f"{name} needs a folder: write {name}:PATH")
    folder = local_path(path)
    if not folder.is_dir():
        raise UserError(f"{folder} is not a folder: check the path after {name}:")
    return folder


def split_folder(root: Path, split: str | None) -> tuple[Path, str]:
    """Folder of the classes of `split`, and its name: `root`/`split`, or `root` without splits."""
    if split is not None:
        # The split is a folder's name: with a path in it, it could lead out of `root`.
        if Path(split).name != split:
            raise UserError(
                f"split '{split}' is not the name of a folder in {root}: give the name alone"
            )
        folder = root / split
        if split != ".." and folder.is_dir():
            if folder.is_symlink():
                check_link(folder, root)
            return folder, split
    present = [name for name in SPLIT_NAMES if (root / name).is_dir()]
    if present:
        problem = f"no split '{split}'" if split else "several splits"
        raise UserError(f"{root} has {problem}: choose {' or '.join(present)} with --split")
    return root, UNDIVIDED


class ImageFolder(Photographs):
    """Image files in class folders; a label is the number of its folder in the order of names.

    `overrides` are the user's settings of the preprocessing.
    """

    def __init__(
        self,
        name: str,
        split: str,
        root: Path,
        overrides: dict[str, Any],
        upright: bool = True,
    ) -> None:
        self.name, self.split, self.root, self.upright = name, split, root, upright
        self.prepare(Preprocessing(), overrides)
        self.paths, self.labels, self.classes = list_classes(root, list_files)
        if not self.paths:
            fix = "give a folder of class folders"
            if any(path.suffix.lower() in SUFFIXES for path in root.iterdir()):
                fix = "sort its images into one folder a class"
            raise UserError(f"{root} has no images in class folders: {fix}")

    def fetch(self, index: int) -> tuple[bytes, str, str]:
        """The bytes of a file, its path, and its stamp; UserError if it cannot be read."""
        path = self.paths[index]
        content, seen = read_stamped(path)
        return content, str(path), seen

    def stamp(self, index: int) -> str:
        """The present stamp of a file."""
        return stamp(self.paths[index].stat())

    def glance(self, index: int) -> None:
        """UserError if a file is damaged, as far as its header and its end tell."""
        glance(self.paths[index])

    @property
    def names(self) -> list[str]:
        """The paths below the folder of the classes."""
        return relative(self.root, self.paths)

    def reordered(self, order: IntArray) -> Self:
        """The same files under other numbers."""
        other = copy.copy(self)
        other.paths = [self.paths[place] for place in order]
        other.labels = self.labels[order]
        return other

    def listing(self) -> str:
        """Hash of names, sizes and labels of the files."""
        sizes = [path.stat().st_size for path in self.paths]
        return listing_digest(self.names, sizes, self.labels)

    def settings(self) -> Manifest:
        """The preprocessing, and whether EXIF orientations are applied."""
        return {**super().settings(), "upright": self.upright}

    def identity(self) -> Manifest:
        """Files, settings, and the classes without images."""
        present = set(self.labels.tolist())
        empty = [name for label, name in enumerate(self.classes) if label not in present]
        return {**super().identity(), "empty_classes": empty}


def open_imagefolder(request: Request) -> ImageFolder:
    """Open ``imagefolder:PATH``; a split must be chosen if PATH has several."""
    root, split = split_folder(existing_folder(request.path, "imagefolder"), request.split)
    return ImageFolder("imagefolder", split, root, overrides_in(request))
