"""What a data set is: labels without decoding, images decoded once, and a manifest that names its content."""

from __future__ import annotations

import hashlib
import json
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from backbones.common.errors import UserError
from backbones.preprocessing import Preprocessing

Manifest = dict[str, Any]
Grid = tuple[int, int]
MAX_CLASSES = 1_000_000
WHOLE = "all"  # the split of a data set that is not divided


def one_line(error: Exception) -> str:
    """What `error` says, on one line; its kind if it says nothing."""
    return " ".join(str(error).split()) or type(error).__name__


def digest(content: Any) -> str:
    """SHA-256 of the canonical JSON text of `content`."""
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


@dataclass(frozen=True)
class Request:
    """What a user asked `open_dataset` for; each kind of data set takes from it what concerns it.

    `path` is the text after the colon, `source` where generated data takes its originals from
    (``bundled``, ``full`` or a folder), `crop` the share of the resized short side that the centre
    crop keeps, `interpolation` the filter of that resize, `views` how often a video is looked at
    (``4x3``). None means the data set's own default.
    """

    path: str | None = None
    split: str | None = None
    source: str | None = None
    crop: float | None = None
    interpolation: str | None = None
    views: str | None = None


class Dataset(ABC):
    """Labelled images, or videos. Subclasses set the attributes and give `image`, `sample` and `identity`.

    ``name``     as asked for, e.g. ``fashion-clutter`` or ``imagefolder``
    ``split``    which part of it, `WHOLE` if it is not divided
    ``classes``  names; the label is the index
    ``labels``   (N,) int64, known without decoding an image
    ``mean``, ``std``  what samples are normalised by, a channel each, for pixels in 0..1
    ``stored``   whether a sample is decoded from a file, which worker processes then do (see `suite.data.loading.loader`)
    ``kind``     images or videos; a model's answers to the ``views`` of one video are averaged
    """

    kind: ClassVar[Literal["images", "videos"]] = "images"
    stored: ClassVar[bool] = False
    views: int = 1
    name: str
    split: str
    classes: tuple[str, ...]
    labels: NDArray[np.int64]
    mean: tuple[float, float, float]
    std: tuple[float, float, float]

    def __len__(self) -> int:
        """Number of images."""
        return len(self.labels)

    @abstractmethod
    def image(self, index: int) -> NDArray[np.uint8]:
        """The original pixels of one image, (H, W, 3), for people to look at."""

    @abstractmethod
    def sample(self, index: int, image_size: int) -> NDArray[np.float32]:
        """One image as a model takes it: resized, cropped, normalised, (3, image_size, image_size)."""

    def view(self, index: int, image_size: int) -> NDArray[np.uint8]:
        """What the model sees of one image, (S, S, 3): resized and cropped, the normalisation undone."""
        return self.pixels(self.sample(index, image_size).transpose(1, 2, 0))

    def pixels(self, normalised: NDArray[np.float32]) -> NDArray[np.uint8]:
        """Pixels (H, W, 3) of what was `normalised` (H, W, 3)."""
        std, mean = np.array(self.std, np.float32), np.array(self.mean, np.float32)
        return (255 * (normalised * std + mean).clip(0, 1)).round().astype(np.uint8)

    def in_frames(self, frames: int) -> Dataset:
        """The data in samples of `frames` frames, as a model takes them; images have one."""
        if frames != 1:
            raise ValueError(f"an image has one frame, not {frames}")
        return self

    def prepared_as(self, usual: Preprocessing) -> Dataset:
        """The data prepared as a model's published accuracy wants it; data with a form of its own keeps that."""
        return self

    def once(self) -> Dataset:
        """The data with one view an item, for pictures of it."""
        return self

    def samples(self, indices: NDArray[np.int64], image_size: int) -> NDArray[np.float32]:
        """Several images as a model takes them, (B, 3, S, S); each is what `sample` gives, to the bit.

        Of videos all clips, item by item: (B x views, 3, T, S, S).
        """
        return np.stack([self.sample(int(index), image_size) for index in indices])

    def foreground(self, index: int, grid: Grid) -> NDArray[np.bool_] | None:
        """Which cells of a `grid` (rows, columns) of tokens show the object, or None where that is not known."""
        return None

    def samples_with_foreground(
        self, indices: NDArray[np.int64], image_size: int, grid: Grid | None
    ) -> tuple[NDArray[np.float32], NDArray[np.bool_] | None]:
        """`samples` and `foreground` (B, rows, columns) of several images, from one decoding where both need it."""
        masks = [self.foreground(int(index), grid) for index in indices] if grid else []
        known = [mask for mask in masks if mask is not None]
        return self.samples(indices, image_size), np.stack(known) if masks and len(known) == len(
            masks
        ) else None

    @abstractmethod
    def identity(self) -> Manifest:
        """All that decides which pixels and labels come out: checksums, versions, preprocessing."""

    def manifest(self) -> Manifest:
        """`identity` with name, split, number of images, classes, and the ``hash`` over all of it."""
        content = {
            "name": self.name,
            "split": self.split,
            "images": len(self),
            "classes": list(self.classes),
            **self.identity(),
        }
        return {**content, "hash": digest(content)}


def check_labels(dataset: Dataset, num_classes: int, mend: str | None = None) -> None:
    """UserError unless every label of `dataset` fits a head of `num_classes` classes; `mend` in place of the usual."""
    if len(dataset) == 0:
        raise UserError(
            f"data set '{dataset.name}' ({dataset.split}) has no images: give a path that holds some"
        )
    for name in dataset.classes:
        try:
            name.encode()
        except UnicodeEncodeError:
            raise UserError(
                f"'{dataset.name}' has a class whose name is no text ({name!a}): rename it"
            ) from None
    low, high = int(dataset.labels.min()), int(dataset.labels.max())
    if low < 0:
        row = int(dataset.labels.argmin())
        raise UserError(
            f"image {row} of '{dataset.name}' has label {low}, so it is unlabelled: choose a split that has labels"
        )
    if high >= num_classes or len(dataset.classes) != num_classes:
        count = max(high + 1, len(dataset.classes))
        raise UserError(
            f"'{dataset.name}' has {count} class{'' if count == 1 else 'es'} but the model's head has {num_classes}: "
            + (
                mend
                or f"choose a checkpoint trained on this data, or a data set with its {num_classes} classes"
            )
        )


def numbered(labels: NDArray[np.int64], name: str) -> tuple[str, ...]:
    """The classes of `labels` that have no names: their numbers, from 0 to the largest there is."""
    largest = int(labels.max(initial=-1))
    if largest >= MAX_CLASSES:
        raise UserError(
            f"{name} has the label {largest}: number its classes from 0, at most {MAX_CLASSES:,} of them"
        )
    return tuple(str(label) for label in range(largest + 1))


def check_index(index: int, length: int) -> int:
    """`index` if it is in 0..length-1; IndexError otherwise (negative indices would hide mistakes)."""
    if not 0 <= index < length:
        raise IndexError(f"image {index} of {length}")
    return index
