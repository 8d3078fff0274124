"""`imagefolder:PATH`: a folder per class, PATH/CLASS/**/IMAGE or PATH/SPLIT/CLASS/**/IMAGE."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from backbones.common.errors import UserError, printable
from backbones.common.paths import local_path
from backbones.common.registry import nearest
from backbones.preprocessing import Preprocessing
from suite.data.base import UNDIVIDED, IntArray, Manifest, Request, digest
from suite.data.loading.decode import glance, is_picture
from suite.data.loading.preprocess import PhotographFiles, overrides_in

# Folders are walked recursively: deeper ones would end in Python's limit of recursion.
MAX_DEPTH = 64
SPLIT_NAMES = ("train", "val", "valid", "validation", "dev", "test")
LIKE_SPLITS = {*SPLIT_NAMES, "training", "testing", "eval", "evaluation"}
# Folders that a NAS, an archiver or a system leaves, with thumbnails or what was deleted.
NOBODYS = {"@eadir", "@tmp", "@recycle", "#recycle", "#snapshot", "__macosx", "$recycle.bin"}
NOBODYS |= {"lost+found", "system volume information"}
# Orders of class folders: as Python sorts texts, as numbers, as timm does.
ORDERS = ("name", "number", "natural")
IMAGENET_CLASSES = 1000
SHOWN = 6  # names in a note
# (folder, root, passed) -> the items at or below a folder; what is none is counted in `passed`.
FindFiles = Callable[..., list[Path]]


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


def is_nobodys(name: str) -> bool:
    """Whether a file or folder of this name is hidden, or one of `NOBODYS`."""
    return name.startswith(".") or name.casefold() in NOBODYS


def list_files(
    folder: Path,
    root: Path,
    passed: Counter[str] | None = None,
    suffixes: Collection[str] | None = None,
) -> list[Path]:
    """Sorted files at or below `folder` with one of `suffixes`, None: images; not `is_nobodys`.

    Others are counted in `passed`. Links to files within `root` are followed; any other link is a
    UserError.
    """
    passed = Counter() if passed is None else passed
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
        suffix = path.suffix.lower()
        if is_nobodys(entry.name):
            passed["hidden" if entry.name.startswith(".") else entry.name] += 1
            continue
        if entry.is_symlink():
            check_link(path, root)
        if entry.is_dir(follow_symlinks=False):
            files += list_files(path, root, passed, suffixes)
        elif entry.is_file() and (suffix in suffixes if suffixes else is_picture(path)):
            files.append(path)
        else:
            passed[suffix or "without suffix"] += 1
    return files


def class_folders(root: Path) -> list[Path]:
    """The folders in `root` by name, but for `is_nobodys`; each is a class, even if empty."""
    folders = []
    for path in sorted(root.iterdir()):
        if not is_nobodys(path.name) and path.is_dir():
            if path.is_symlink():
                check_link(path, root)
            folders.append(path)
    return folders


def natural(name: str) -> list[tuple[int, str]]:
    """A sort key under which frame_10 comes after frame_9."""
    key = []
    for part in re.split(r"(\d+)", name):
        # Text before numbers, since tuples of both kinds must be comparable.
        key.append((int(part), "") if part.isdecimal() else (-1, part))
    return key


def in_order(names: Sequence[str], order: str | None) -> tuple[list[str], str]:
    """Names of class folders in the order of their labels, and what to say of it; maybe nothing.

    By default by name, and whole numbers by number. UserError for an order that does not exist.
    """
    numbers = all(name.isascii() and name.isdecimal() for name in names)
    if order is not None and order not in ORDERS:
        raise UserError(f"class folders have no order '{order}': {nearest(order, ORDERS)}")
    if order == "number" and not numbers:
        raise UserError("not all class folders are whole numbers: write [order=natural]")
    by_name = sorted(names)
    by_number = sorted(names, key=lambda name: (natural(name.casefold()), name))
    chosen = order or ("number" if numbers else "name")
    taken, other = (by_name, by_number) if chosen == "name" else (by_number, by_name)
    if taken == other or order:
        return taken, ""
    first = next(place for place in range(len(taken)) if taken[place] != other[place])
    shown = [", ".join(part[first : first + 3]) for part in (taken, other)]
    alternative = "name" if numbers else "natural"
    one, two = ("by number", "by name") if numbers else ("by name", "as timm does, naturally")
    note = (
        f"class folders are taken {one} (from class {first}: {shown[0]}, ...), not {two} "
        f"({shown[1]}, ...): [order={alternative}] after the path chooses that"
    )
    if numbers and int(taken[0]) == 1 and len(taken) == IMAGENET_CLASSES:
        note += "; folder 1 is class 0"
    return taken, note


def list_classes(
    root: Path, find: FindFiles, order: str | None = None
) -> tuple[list[Path], IntArray, tuple[str, ...], tuple[str, ...]]:
    """Items that `find` (folder, root, passed) finds in each class folder, labels, names, notes.

    A label is the number of its folder in the `order`, None: the usual one.
    """
    names, note = in_order([folder.name for folder in class_folders(root)], order)
    passed: Counter[str] = Counter()
    paths: list[Path] = []
    counts = []
    for name in names:
        items = find(root / name, root, passed)
        paths += items
        counts.append(len(items))
    # An empty folder keeps its number, so that a part of ImageNet still fits an ImageNet head.
    labels = np.repeat(np.arange(len(names)), counts)
    notes = [note] if note else []
    empty = [name for name, count in zip(names, counts, strict=True) if not count]
    if empty and paths:
        notes.append(f"classes without images: {len(empty):,} of {len(names):,} ({listed(empty)})")
    for path in root.iterdir():
        if is_nobodys(path.name) or not path.is_dir():
            passed[f"{path.name} beside the classes"] += 1
    if passed:
        kinds = [f"{count:,} {kind}" for kind, count in passed.most_common()]
        total = f"{passed.total():,} ({listed(kinds)})"
        notes.append(f"passed over as no images of a class: {total}")
    return paths, labels, tuple(names), tuple(map(printable, notes))


def listed(names: Sequence[str]) -> str:
    """Some of `names`, and how many more there are."""
    more = f" and {len(names) - SHOWN:,} more" if len(names) > SHOWN else ""
    return f"{', '.join(names[:SHOWN])}{more}"


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


def folders_like_splits(root: Path) -> list[Path]:
    """The folders in `root` that are named like splits, such as val or Test_Set.

    Among folders of other names, one without folders is a class, such as the trains of CIFAR-100.
    """
    folders = class_folders(root)
    like = []
    for folder in folders:
        if re.sub("[^a-z]", "", folder.name.casefold()).removesuffix("set") in LIKE_SPLITS:
            like.append(folder)
    holding = [folder for folder in like if class_folders(folder)]
    return like if len(like) == len(folders) else holding


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
    present = [path.name for path in folders_like_splits(root)]
    if present:
        problem = f"no split '{split}'" if split else "several splits"
        raise UserError(f"{root} has {problem}: choose {' or '.join(present)} with --split")
    folders = class_folders(root)
    if len(folders) == 1 and folders_like_splits(folders[0]):
        raise UserError(f"{root} has its splits in its one folder: give {folders[0]}")
    return root, UNDIVIDED


class ImageFolder(PhotographFiles):
    """Image files in class folders; a label is the number of its folder in the `order`.

    `overrides` are the user's settings of the preprocessing.
    """

    def __init__(
        self,
        name: str,
        split: str,
        root: Path,
        overrides: dict[str, Any],
        upright: bool = True,
        order: str | None = None,
    ) -> None:
        self.name, self.split, self.root, self.upright = name, split, root, upright
        self.prepare(Preprocessing(), overrides)
        self.paths, self.labels, self.classes, self.notes = list_classes(root, list_files, order)
        if not self.paths:
            fix = "give a folder of class folders"
            if any(path.is_file() and is_picture(path) for path in root.iterdir()):
                fix = "sort its images into one folder a class"
            raise UserError(f"{root} has no images in class folders: {fix}")

    def glance(self, index: int) -> None:
        """UserError if a file is damaged, as far as its header and its end tell."""
        glance(self.paths[index])

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
    return ImageFolder("imagefolder", split, root, overrides_in(request), order=request.order)
