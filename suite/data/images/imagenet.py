"""`imagenet:PATH`: ImageNet-1k in synset folders, prepared as each backbone was published."""

from __future__ import annotations

import re
from pathlib import Path

from backbones.common.errors import UserError
from suite.data.base import Request
from suite.data.images.imagefolder import ImageFolder, class_folders, existing_folder, split_folder
from suite.data.loading.preprocess import overrides_in

CLASSES = 1000
_SYNSET = re.compile(r"n\d{8}")


def check_synsets(root: Path) -> None:
    """UserError unless `root` has the 1,000 synset folders."""
    names = [folder.name for folder in class_folders(root)]
    strangers = [name for name in names if not _SYNSET.fullmatch(name)]
    if not names:
        raise UserError(
            f"{root} is flat, without class folders: sort its images into synset folders "
            f"(n01440764, ...), as the usual valprep script does"
        )
    if strangers:
        raise UserError(
            f"{root} has the folder '{strangers[0]}', which is no synset: "
            f"use imagefolder: for other data"
        )
    # The heads number the synsets in sorted order: with one missing, later labels would shift.
    if len(names) != CLASSES:
        raise UserError(
            f"{root} has {len(names)} of ImageNet's {CLASSES} synset folders, so labels would not "
            f"fit the head: add the missing folders (they may be empty), or use imagefolder: "
            f"with a head of {len(names)} classes"
        )


def open_imagenet(request: Request) -> ImageFolder:
    """Open ``imagenet:PATH``; the usual split is `val`, which also answers to `test`."""
    root = existing_folder(request.path, "imagenet")
    split = request.split or "val"
    # The labels of ImageNet's test split are secret: evaluations read `val` for it.
    if split == "test" and not (root / "test").is_dir():
        split = "val"
    folder, split = split_folder(root, split)
    check_synsets(folder)
    # The published accuracies were measured without applying the EXIF orientation.
    return ImageFolder("imagenet", split, folder, overrides_in(request), upright=False)
