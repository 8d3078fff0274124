"""Data sets by name.

`open_dataset` opens images (`images`) and videos (`videos`); `loading` decodes them in batches
ahead of the model. Used by `suite.plan`, which chooses the images of a run, by `suite.evaluation`
and `suite.sensitivity`, which run models on them, and by `suite.training`.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable

from backbones.common.errors import UserError
from backbones.common.labels import data_parts
from backbones.common.registry import ADDED, BUILT_IN, Registry
from backbones.common.user_files import digest, in_file, load, source_digest
from suite.data.base import Dataset, IntArray, OtherTaskError, Request, TaskName, check_labels
from suite.data.plugins import opened
from suite.data.subset import pictured, stratified

__all__ = [
    "DATASETS",
    "Dataset",
    "Request",
    "check_labels",
    "content_of",
    "has_split",
    "open_dataset",
    "pictured",
    "stratified",
]

# Modules are named rather than imported, so that listing the names needs no PyTorch, numba or PIL.
DATASETS: Registry[Callable[[Request], Dataset]] = Registry(
    "data set",
    {
        "ade20k": "suite.data.images.ade20k:open_ade20k",
        "fashion-clutter": "suite.data.images.clutter:open_clutter",
        "fashion-mnist": "suite.data.images.fashion:open_fashion",
        "frames": "suite.data.videos.videos:open_frames",
        "imagefolder": "suite.data.images.imagefolder:open_imagefolder",
        "imagenet": "suite.data.images.imagenet:open_imagenet",
        "masks": "suite.data.images.masks:open_masks",
        "parquet": "suite.data.images.parquet:open_parquet",
        "tiny-imagenet": "suite.data.images.tiny_imagenet:open_tiny_imagenet",
        "tiny-imagenet-50": "suite.data.images.tiny_imagenet:open_quarter",
        "video": "suite.data.videos.videos:open_video",
    },
    "suite.datasets",
)

# Data whose pixels have classes, as they are written.
SEGMENTED = ("fashion-clutter", "ade20k:PATH", "masks:PATH")
# Data in class folders, whose order can be set.
FOLDERS = ("frames", "imagefolder", "video")
SETTING = re.compile(r"(.+)\[(\w+)=(\w+)\]")


def open_dataset(
    spec: str,
    split: str | None = None,
    *,
    source: str | None = None,
    crop: float | None = None,
    interpolation: str | None = None,
    views: str | None = None,
    task: TaskName = "classification",
) -> Dataset:
    """Open ``NAME`` or ``NAME:PATH``, such as ``fashion-clutter`` or ``imagefolder:photos``.

    ``FILE.py:NAME``, with ``:PATH`` or without, is one of a user's file, whose variable holds the
    function or class that opens it.

    `split` None is the usual one for evaluation. For the other options see `Request`. UserError if
    there is no such data set, or an option does not fit it.
    """
    name, colon, path = data_parts(spec)
    if colon and not path:
        raise UserError(f"'{spec}' has no path after the colon: write {name}:PATH")
    named = in_file(name)
    # os.path.isdir, unlike Path.is_dir, answers for texts that cannot be paths.
    if not named and name not in DATASETS and os.path.isdir(spec):
        raise UserError(
            f"'{spec}' is a folder, not a data set: "
            f"write imagefolder:{spec} for images in class folders"
        )
    order = None
    match = SETTING.fullmatch(path)
    if match and not os.path.exists(path):
        path, setting, order = match.groups()
        if name not in FOLDERS or setting != "order":
            fix = "write [order=natural]" if name in FOLDERS else "leave the brackets out"
            raise UserError(f"{name} has no setting '{setting}': {fix}")
    request = Request(path or None, split, source, crop, interpolation, views, order, task)
    if named:
        called = f"data set '{named.variable}' ({named.file})"
        dataset = opened(called, load(named), request, mend="correct the file")
        dataset.code = digest(named)
    else:
        dataset = _registered(name, request)
    if views and dataset.kind == "images":
        raise UserError(f"'{name}' has images, which are seen once: leave --views out")
    if dataset.task != task:
        raise _without_truth(name, task)
    return dataset


def _without_truth(name: str, task: TaskName) -> OtherTaskError:
    """What to say of a data set that has no truth for `task`."""
    if task == "classification":
        return OtherTaskError(
            f"'{name}' has classes of pixels, not of images", "add --task segmentation"
        )
    return OtherTaskError(
        f"'{name}' has no class for each pixel, which segmentation needs",
        f"use --data {', '.join(SEGMENTED[:-1])} or {SEGMENTED[-1]}",
    )


def _registered(name: str, request: Request) -> Dataset:
    factory, origin = DATASETS[name], DATASETS.origin(name)
    if origin == BUILT_IN:
        return factory(request)
    dataset = opened(f"data set '{name}' ({origin})", factory, request)
    if origin != ADDED:
        dataset.code = source_digest(factory)
    return dataset


def without_path(spec: str) -> str:
    """A data set without its path, such as ``imagefolder[order=natural]``."""
    name, _, path = data_parts(spec)
    match = SETTING.fullmatch(path)
    return f"{name}[{match[2]}={match[3]}]" if match and not os.path.exists(path) else name


def content_of(
    spec: str,
    split: str,
    source: str | None,
    views: str | None,
    images: IntArray,
    task: TaskName = "classification",
) -> str | None:
    """Hash of what `images` of a split hold; None if the split is not there, "" without them."""
    dataset = _if_there(spec, split, source, views, task)
    if dataset is None:
        return None
    try:
        for image in (images.min(), images.max()):
            dataset.check_index(int(image))
        return dataset.content(images)
    except (UserError, OSError, IndexError):
        return ""


def has_split(
    spec: str,
    split: str,
    source: str | None,
    views: str | None = None,
    task: TaskName = "classification",
) -> bool:
    """Whether the data have this split, as data without splits have any."""
    return _if_there(spec, split, source, views, task) is not None


def _if_there(
    spec: str, split: str, source: str | None, views: str | None, task: TaskName
) -> Dataset | None:
    try:
        return open_dataset(spec, split, source=source, views=views, task=task)
    except (UserError, OSError):
        return None
