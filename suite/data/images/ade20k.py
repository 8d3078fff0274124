"""`ade20k:PATH`: ADE20K as in the Scene Parsing Challenge of 2016, 150 classes.

PATH is the folder ADEChallengeData2016: ``images/training`` and ``images/validation``, and the same
below ``annotations`` (Zhou et al., CVPR 2017). In an annotation 1 to 150 are the classes 0 to 149,
and 0 is of none.

A picture is seen as in `suite.data.images.masks`.
"""

from __future__ import annotations

from pathlib import Path

from backbones.common.errors import UserError
from backbones.common.registry import nearest
from suite.data.base import Request
from suite.data.images.imagefolder import existing_folder
from suite.data.images.masks import IMAGES, MaskedPictures, Values
from suite.data.loading.preprocess import overrides_in

CLASSES = 150
ANNOTATIONS = "annotations"
NAMES = "objectInfo150.txt"
SPLITS = ("training", "validation")
# The labels of the challenge's own test split were never published.
ALIASES = {"train": "training", "val": "validation", "valid": "validation", "test": "validation"}


def class_names(root: Path) -> list[str]:
    """Names of the 150 classes, of synonyms the first; their values where the file is not there."""
    numbers = [str(value) for value in range(1, CLASSES + 1)]
    try:
        # Text that is not UTF-8 is of another file; so are rows that lack a column.
        lines = (root / NAMES).read_text(encoding="utf-8").splitlines()
        column = lines[0].split("\t").index("Name")
        rows = [line.split("\t") for line in lines[1:] if line.strip()]
        names = [row[column].split(",")[0].strip() for row in rows]
    except (OSError, UnicodeDecodeError, ValueError, IndexError):
        return numbers
    return names if len(names) == CLASSES else numbers


def open_ade20k(request: Request) -> MaskedPictures:
    """Open ``ade20k:PATH``; the usual split is `validation`, which also answers to `test`."""
    root = existing_folder(request.path, "ade20k")
    split = request.split or "validation"
    split = ALIASES.get(split, split)
    if split not in SPLITS:
        raise UserError(f"no split '{split}': {nearest(split, SPLITS)}")
    folders = [root / kind / split for kind in (IMAGES, ANNOTATIONS)]
    for folder in folders:
        if not folder.is_dir():
            raise UserError(f"{folder} is not there: give the folder ADEChallengeData2016 itself")
    images, annotations = folders
    values = Values(1, (0,))
    return MaskedPictures(
        "ade20k", split, images, annotations, class_names(root), values, overrides_in(request)
    )
