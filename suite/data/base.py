"""The interface of a data set: labels, decoded images, and a manifest that identifies them."""

from __future__ import annotations

import hashlib
import json
from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from backbones.common.errors import UserError
from backbones.dense.windows import Layout
from backbones.preprocessing import Inference, Preprocessing
from suite.config.run_spec import NOT_TRAINED
from suite.stats.correctness import UNDIVIDED as UNDIVIDED  # of a data set without splits
from suite.stats.metric import TaskName as TaskName  # of a data set or a backbone

Pixels = NDArray[np.uint8]  # (..., H, W, 3), or without the 3 for grey
Samples = NDArray[np.float32]  # a model's input, (..., 3, S, S)
IntArray = NDArray[np.int64]
Mask = NDArray[np.bool_]
Truth = NDArray[np.uint8]  # (..., S, S): the class of every pixel, or IGNORED
Manifest = dict[str, Any]
Grid = tuple[int, int]
Decoded = tuple[Samples, Mask | None]  # samples, and the cells of each that show the object


class OtherTaskError(UserError):
    """Data or a model of the other task: the `problem`, and how to run it all the same."""

    def __init__(self, problem: str, mend: str) -> None:
        """Both are parts of the one line."""
        self.problem = problem
        super().__init__(f"{problem}: {mend}")


class Seen(NamedTuple):
    """What an image was decoded from.

    ``content``  hash of its bytes and its label
    ``stamp``    size, times and place of its file then; empty if these say nothing
    """

    content: str
    stamp: str


IGNORED = 255  # in a truth: a pixel that belongs to no class and does not count
# A label is a row of every table of classes, so a damaged one must not ask for gigabytes.
MAX_CLASSES = 1_000_000


def one_line(error: Exception) -> str:
    """The message of `error` on one line, or its type if the message is empty."""
    return " ".join(str(error).split()) or type(error).__name__


def digest(content: Any) -> str:
    """SHA-256 of the canonical JSON text of `content`."""
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


@dataclass(frozen=True)
class Request:
    """The arguments of `open_dataset`, of which each kind of data set uses its own.

    ``path``           the text after the colon
    ``source``         origin of generated data: ``bundled``, ``full`` or a folder
    ``crop``           share of the resized short side that the centre crop keeps
    ``interpolation``  filter of that resize
    ``views``          views of a video, CLIPSxCROPS such as ``4x3``
    ``order``          of class folders, written ``[order=natural]`` after the path
    ``task``           what the truth is of: an image (classification) or its pixels (segmentation)

    None is the data set's own default.
    """

    path: str | None = None
    split: str | None = None
    source: str | None = None
    crop: float | None = None
    interpolation: str | None = None
    views: str | None = None
    order: str | None = None
    task: TaskName = "classification"


class Dataset(ABC):
    """Labelled images or videos. Subclasses set the attributes and define the abstract methods.

    ``name``     as in the specification, e.g. ``fashion-clutter`` or ``imagefolder``
    ``split``    name of the split, `UNDIVIDED` for data without splits
    ``classes``  names; the label is the index
    ``labels``   (N,) int64, available without decoding an image
    ``mean``, ``std``  of the normalisation, per channel, for pixels in 0..1
    ``stored``   whether samples are decoded from files, by worker processes where there are many
    ``inference``  what a model is shown of a picture (`shown_as`)
    ``notes``    what is not as a user may think: files passed over, another order of classes
    ``kind``     images or videos; the outputs for the ``views`` of one video are averaged
    ``views``    of an item; of pictures in windows no item has more
    ``code``     hash of the file of a third party's data set, which `open_dataset` sets
    ``task``     ``segmentation`` if it was opened so: it then has a `truth`, whose values index
                 ``classes``, and a label only spreads samples evenly over kinds of images
    """

    kind: ClassVar[Literal["images", "videos"]] = "images"
    stored: ClassVar[bool] = False
    views: int = 1
    inference: Inference = "centre"
    notes: tuple[str, ...] = ()
    code: str | None = None
    task: TaskName = "classification"
    name: str
    split: str
    classes: tuple[str, ...]
    labels: IntArray
    mean: tuple[float, float, float]
    std: tuple[float, float, float]

    def __len__(self) -> int:
        """Number of images."""
        return len(self.labels)

    @abstractmethod
    def image(self, index: int) -> Pixels:
        """The original pixels of one image, (H, W, 3), for display."""

    @abstractmethod
    def sample(self, index: int, image_size: int) -> Samples:
        """One image resized, cropped and normalised, (3, image_size, image_size)."""

    @abstractmethod
    def identity(self) -> Manifest:
        """All that determines pixels and labels: checksums, versions, preprocessing."""

    def view(self, index: int, image_size: int) -> Pixels:
        """One image as the model sees it, (S, S, 3): resized and cropped, not normalised."""
        return self.pixels(self.sample(index, image_size).transpose(1, 2, 0))

    def pixels(self, normalised: Samples) -> Pixels:
        """Undo the normalisation of (H, W, 3)."""
        std, mean = np.array(self.std, np.float32), np.array(self.mean, np.float32)
        return (255 * (normalised * std + mean).clip(0, 1)).round().astype(np.uint8)

    def in_frames(self, frames: int) -> Dataset:
        """The data in samples of `frames` frames, as a model takes them; images have one."""
        if frames != 1:
            raise ValueError(f"an image has one frame, not {frames}")
        return self

    def prepared_as(self, preprocessing: Preprocessing) -> Dataset:
        """The data under a model's published `preprocessing`; data of fixed form stay as is."""
        return self

    def once(self) -> Dataset:
        """The data with one view an item, for display."""
        return self

    def shown_as(self, inference: Inference, multiple: int = 1) -> Dataset | None:
        """The data with all of every picture: in sliding windows, each a view, or whole.

        `samples` are then all windows, picture by picture, as `layout` lays them, and the truth is
        `whole_truth`. The sides of whole pictures are multiples of `multiple`; their samples differ
        in size, so that they are asked for one by one. None if no picture is larger than what a
        model sees of it.
        """
        return None

    def layout(self, index: int, image_size: int) -> Layout | None:
        """How the windows of an item lie; None where its centre is seen, or all is a square."""
        return None

    def layouts(self, indices: IntArray, image_size: int) -> list[Layout]:
        """The layouts of several items that can be read; none where items have none."""
        return []

    def mean_views(self, indices: IntArray, image_size: int) -> float:
        """The views of an item, mean over several."""
        return float(self.views)

    def whole_truth(self, index: int) -> Truth:
        """The class of every pixel of a whole picture, (H, W), `IGNORED` where none."""
        raise NotImplementedError(f"'{self.name}' has no truth for each pixel")

    def samples(self, indices: IntArray, image_size: int) -> Samples:
        """Several samples, (B, 3, S, S), each equal to that of `sample` to the bit.

        Of videos all clips, item by item: (B x views, 3, T, S, S); of pictures all windows.
        """
        return np.stack([self.sample(int(index), image_size) for index in indices])

    def truth(self, index: int, image_size: int) -> Truth:
        """The class of each pixel of `sample`, (image_size, image_size), `IGNORED` where none."""
        raise NotImplementedError(f"'{self.name}' has no truth for each pixel")

    def truths(self, indices: IntArray, image_size: int) -> Truth:
        """The `truth` of several images, (B, image_size, image_size)."""
        return np.stack([self.truth(int(index), image_size) for index in indices])

    def foreground(self, index: int, grid: Grid) -> Mask | None:
        """Cells of a token `grid` (rows, columns) that show the object; None where unknown."""
        return None

    def samples_with_foreground(
        self, indices: IntArray, image_size: int, grid: Grid | None
    ) -> Decoded:
        """`samples` and `foreground` (B, rows, columns) of several images.

        Generated data override this to draw each image once for both.
        """
        samples = self.samples(indices, image_size)
        if grid is None:
            return samples, None
        masks = []
        for index in indices:
            mask = self.foreground(int(index), grid)
            if mask is None:
                return samples, None
            masks.append(mask)
        return samples, np.stack(masks)

    @cached_property
    def seen(self) -> dict[int, Seen]:
        """By number, what was decoded since the loader last took it, of data in files."""
        return {}

    def task_rule(self) -> Manifest:
        """The task, if it is not classification, whose manifests have never named it."""
        return {} if self.task == "classification" else {"task": self.task}

    def rules(self) -> Manifest:
        """What outcomes depend on, beside the images where these are known by their bytes."""
        return self.manifest()

    def content(self, indices: IntArray) -> str:
        """Hash of what these images hold, as far as the data set tells them apart."""
        return digest([self.manifest()["hash"], indices.tolist()])

    def check_index(self, index: int) -> int:
        """`index` if there is such an image; IndexError otherwise."""
        # A negative index would count from the end, as in a list, and hide a mistake.
        if not 0 <= index < len(self):
            raise IndexError(f"image {index} of {len(self)}")
        return index

    def manifest(self) -> Manifest:
        """`identity`, name, split, number of images and classes, and the ``hash`` of all this."""
        content = {
            "name": self.name,
            "split": self.split,
            "images": len(self),
            "classes": list(self.classes),
            **self.task_rule(),
            **self.identity(),
        }
        return {**content, "hash": digest(content)}


def check_labels(dataset: Dataset, num_classes: int, fix: str | None = None) -> None:
    """UserError unless every label fits a head of `num_classes`; `fix` replaces the usual hint."""
    name = dataset.name
    if len(dataset) == 0:
        raise UserError(
            f"data set '{name}' ({dataset.split}) has no images: give a path that holds some"
        )
    for class_name in dataset.classes:
        try:
            class_name.encode()
        except UnicodeEncodeError:
            raise UserError(
                f"'{name}' has a class whose name is no text ({class_name!a}): rename it"
            ) from None
    low, high = int(dataset.labels.min()), int(dataset.labels.max())
    if low < 0:
        row = int(dataset.labels.argmin())
        raise UserError(
            f"image {row} of '{name}' has label {low}, so it is unlabelled: "
            f"choose a split that has labels"
        )
    # A margin needs a second class.
    if len(dataset.classes) == num_classes == 1:
        raise UserError(
            f"'{name}' has a single class ({dataset.classes[0]}), so every answer is right: give "
            "data of several"
        )
    # Fewer classes are refused too: accuracy over a part of the head would not be comparable.
    if high >= num_classes or len(dataset.classes) != num_classes:
        count = max(high + 1, len(dataset.classes))
        fitting = f"or a data set with its {num_classes} classes"
        usual = f"choose a checkpoint trained on this data, {fitting}"
        if dataset.task == "segmentation":
            usual = f"{NOT_TRAINED}: choose weights trained on this data elsewhere, {fitting}"
        fix = fix or usual
        raise UserError(
            f"'{name}' has {count} class{'' if count == 1 else 'es'} "
            f"but the model's head has {num_classes}: {'; '.join([fix, *dataset.notes])}"
        )


def numbered_classes(labels: IntArray, name: str) -> tuple[str, ...]:
    """Class names for `labels` without names: the numbers from 0 to the largest label."""
    largest = int(labels.max(initial=-1))
    if largest >= MAX_CLASSES:
        raise UserError(
            f"{name} has the label {largest}: number its classes from 0, "
            f"at most {MAX_CLASSES:,} of them"
        )
    return tuple(map(str, range(largest + 1)))
